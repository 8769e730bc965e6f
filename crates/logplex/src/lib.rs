//! Heroku's log formats, from bytes to records: octet framing, syslog headers, and the grammars of router, dyno,
//! data-service and API lines.
//!
//! The walk of one POST body is three steps, each of which borrows from the body and allocates nothing:
//!
//! 1. [`frames`] cuts the body by octet count into frames and names what is broken;
//! 2. [`message()`] reads a frame's header (stamp, source, process) and finds its text;
//! 3. [`record()`] decides by source and process which grammar may apply, and only then looks at the text.
//!
//! The order of step 3 is the crate's one security rule: everything in a text was possibly written by an attacker
//! (a request's path, a `User-Agent`, an app's output), while source and process were written by Heroku. An app line that
//! quotes `code=H12` or `Error R14` is an app line.
//!
//! Left to others: HTTP, which app a drain belongs to, windows, rules, storage, and any notion of "now".

mod bytes;
pub mod entries;
pub mod frame;
#[doc(hidden)]
pub mod fuzz;
pub mod message;
pub mod record;
pub mod rejoin;
pub mod stamp;

pub use entries::{Entries, Format, complete_prefix, detect, entries};
pub use frame::{FRAME_BYTES_MAX, Frame, Frames, Malformed, frames};
pub use message::{Message, message};
pub use record::api::{ApiEvent, ApiLine, Quantity, config_names, formation};
pub use record::app::{AppLine, Symptom};
pub use record::code::{Code, Letter};
pub use record::dyno::DynoEvent;
pub use record::kind::Kind;
pub use record::loss::LogLoss;
pub use record::postgres::{PostgresLevel, PostgresLine};
pub use record::router::{RouterFields, RouterLine};
pub use record::samples::{Feed, Sample, SampleKind, Samples, Unit};
pub use record::{Record, record};
pub use rejoin::{Joined, Now, Pushed, Rejoiner};
pub use stamp::StampCache;
