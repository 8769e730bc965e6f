//! The client against a Heroku that keeps state, fails, hangs and lies.
#![expect(clippy::unwrap_used, reason = "test code: a broken expectation ends the test")]

mod calls;
mod trouble;

/// The program does this once at its start.
fn with_tls() {
    _ = rustls::crypto::ring::default_provider().install_default();
}
