//! The parts of the `dynowatch` binary that tests and benches reach, too.

pub mod config;
pub mod clock;
pub mod server;
pub mod traffic;
