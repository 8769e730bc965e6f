//! Receivers against real sockets: every way in which the far end can take, refuse, stall or lie.
#![expect(clippy::unwrap_used, reason = "test code: a broken expectation ends the test")]

mod deliver;
mod support;
mod tls;
mod wrong;
