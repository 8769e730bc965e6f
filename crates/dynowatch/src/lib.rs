//! The parts of the `dynowatch` binary that tests and benches reach, too.

pub mod traffic;
