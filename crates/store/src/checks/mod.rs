//! Checks as they are kept: where each stands ([`states`]), who runs it ([`shares`]), its history ([`history`]), its runs
//! ([`results`]), what jobs said ([`pings`]). What any of it means is `domain::check`'s.
//!
//! State, flips and outages are written with the alert they belong to, in the transaction of [`crate::Store::evaluate`]
//! or in one of their own. Runs lie with the metrics: they may lose their last seconds and stop first when room runs out.

pub mod history;
pub mod pings;
pub mod results;
pub mod shares;
pub mod states;

pub use history::OutageRow;
pub use pings::NewPing;
pub use results::{Failure, ResultRow};
pub use states::{CheckChange, CheckRow, Paused};
