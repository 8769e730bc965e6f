//! Heroku's Platform API v3, as far as dynowatch needs it: apps, formation, dynos, add-ons, releases, slugs' commits, log
//! drains and one app feature. Owns the protocol (the `Accept` version, lists by `Range`, `RateLimit-Remaining`, errors by
//! their `id`, second factors, which failures are tried again) and what may be kept of an answer. What is asked when, and
//! what follows from it, is the engine's.
//!
//! Source of the format: <https://devcenter.heroku.com/articles/platform-api-reference> and the schema it is made from.
//!
//! Three rules hold throughout. Config vars are asked for by name alone, for a check whose target is one; the value is kept
//! in memory and nowhere else. Of an answer only named fields are read, so that commands,
//! signed URLs and the like are dropped while parsing. And nothing secret (the key, a drain's URL) is in an error or a
//! `Debug` form.

mod calls;
mod client;
mod error;
mod list;
mod types;

pub use client::{API_URL, Client, ClientOptions};
pub use error::{Error, ErrorId};
pub use types::{AddOn, App, DrainPlace, Dyno, Feature, Formation, Generation, LogDrain, Release, Slug};

/// The feature that makes Heroku write memory and load of each dyno into the log.
pub const LOG_RUNTIME_METRICS: &str = "log-runtime-metrics";
