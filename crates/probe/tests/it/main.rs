//! Checks run against servers: real ones, and hostile ones that drip, reset and lie.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a broken expectation ends the test")]

mod common;
mod data_tls;
mod dns;
mod hostile;
mod http2;
mod outbound;
mod postgres;
mod redis;
mod tls;
mod web;
