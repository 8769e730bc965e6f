//! The parts of the `dynowatch` binary that tests and benches reach, too.

pub mod cli;
pub mod clock;
mod compose;
pub mod config;
mod heroku;
pub mod key_file;
mod panics;
pub mod server;
pub mod traffic;
