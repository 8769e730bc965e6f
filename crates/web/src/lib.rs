//! Everything that answers HTTP: the drain endpoint, the JSON API, the pages. The only crate that knows HTML. Decisions are
//! the engine's; what is shown is read through the store.
//!
//! [`server`] owns the port and sends each request its way: deliveries to [`drain`], all else to the axum router made by
//! [`router()`], whose whole URL surface stands in `router.rs`. `auth` decides who may ask and `flood` how often,
//! `accounts` is signing in and who may, `viewer` is who looks at a page, `api` is the JSON API with a module per resource, `pages` the HTML, `events` the stream that
//! keeps open pages true, `ping` is where jobs report, `badge` a check in one word for everyone, `explain` a run for somebody who asks why, `faults` the answer when a handler panics, `compress` and `zone` what both need, `health` and `metrics` what machines look at. `show` turns decisions and
//! other people's bytes into what may be shown.

mod accounts;
mod api;
mod auth;
mod badge;
mod cached;
mod compress;
pub mod drain;
mod events;
mod explain;
mod faults;
mod flood;
mod health;
mod idle;
mod metrics;
mod multipart;
mod pages;
mod ping;
mod router;
pub mod server;

mod show;
mod sparing;
mod viewer;
mod zone;

pub use axum::Router;

pub use accounts::tokens::{TOKEN_DAYS, TOKEN_DAYS_MAX, new_token};
pub use accounts::{AccountOptions, OidcOptions, new_link};
pub use auth::token_hash;
pub use flood::ApiLimits;
pub use router::{ReloadRequest, WebOptions, router};
