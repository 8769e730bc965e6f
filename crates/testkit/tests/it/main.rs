//! The fakes are believed by every other test, so they are tested themselves.
#![expect(clippy::unwrap_used, reason = "test code: a broken expectation ends the test")]

mod fakes;
mod heroku;
mod postgres;
mod process;
