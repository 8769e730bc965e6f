//! Receivers: where messages go. One module per kind (Slack, webhook, log), one trait, and an answer that says what
//! to do next: [`Outcome`](dynowatch_domain::delivery::Outcome).
//!
//! A channel makes one attempt and judges the answer. When the next attempt is due, what is recorded before and after
//! it, and who is told that a receiver is broken, belong to `engine` and `domain`; what a message says belongs to
//! [`Notice`](dynowatch_domain::notice::Notice). Rendering is pure in every module; only the last step touches a
//! socket or a file.
//!
//! Everything in a notice that came from a log line is somebody else's bytes. Each channel makes them inert in its own
//! markup; known secrets are taken out once, here, before any channel sees the notice.

mod channel;
mod http;
mod inert;
mod log;
mod receivers;
mod redact;
pub mod remote_write;
#[cfg(test)]
mod samples;
mod slack;
mod slack_message;
mod spec;
mod webhook;

pub use channel::{Attempt, Channel};
pub use http::refused;
pub use inert::inert;
pub use receivers::{BuildError, Problem, Receiver, Receivers};
pub use spec::{ReceiverKind, ReceiverSpec, SLACK_API_URL};
pub use webhook::{SIGNATURE_HEADER, signature};
