//! Metrics: from lines to slots ([`recorder`]), from slots to the store (`flush`), into longer steps (`fold`), and answers
//! to questions ([`query`]). What a series is and how slots merge is `domain::metric`'s, where bytes lie is `store`'s.
//!
//! A value is in three places one after another: in the open slots of a process for up to ten seconds, in a chunk that the
//! flush appends for two hours, in packed rows from the next fold on. A question reads what is stored, so every process
//! gives the same answer; the newest value of a series is in memory.

mod batch;
pub mod events;
mod flush;
mod fold;
mod names;
mod path_sample;
pub mod query;
pub mod recorder;
pub mod strip;
mod wants;

pub use fold::{FOLD_EVERY, ROOM_WARN_PERCENT};
pub use path_sample::PATH_EVERY;
pub use query::{Asked, StepChoice};
pub use recorder::{Latest, SERIES_MAX};

pub(crate) use batch::BatchMetrics;
pub(crate) use flush::{Flushes, Formation, add_formation, flush, flush_crowded};
pub(crate) use query::SlotValue;
pub(crate) use recorder::{Recorder, is_one_off};
