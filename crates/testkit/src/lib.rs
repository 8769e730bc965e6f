//! For tests only: a clock that is moved by hand, databases of one's own, receivers that fail and lie, the real
//! program as a child process.
//!
//! Nothing here sleeps: waiting means waiting for an event, with a deadline that only a failing test meets. What is
//! needed and missing (the Postgres of `cargo xtask test`) fails the test and says how to get it.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a broken expectation ends the test, and the services' addresses come from the environment"
)]

pub mod certificates;
pub mod clock;
mod guardian;
pub mod heroku;
pub mod http_client;
pub mod http_fake;
pub mod issuer;
pub mod postgres;
pub mod postgres_server;
pub mod process;
pub mod prometheus;
pub mod proxy;
pub mod redis;
pub mod remote_write_sink;
pub mod slack;
pub mod stub_server;
pub mod webhook_sink;
