//! Everything that answers HTTP: the drain endpoint, the JSON API, the pages. The only crate that knows HTML. Decisions are
//! the engine's; what is shown is read through the store.
//!
//! [`server`] owns the port and sends each request its way: deliveries to [`drain`], all else to the axum router made by
//! [`router()`], whose whole URL surface stands in `router.rs`. `auth` decides who may ask, `api` is the JSON API with a
//! module per resource, `pages` the HTML, `health` and `metrics` what machines look at. `show` turns decisions and
//! other people's bytes into what may be shown.

mod api;
mod auth;
pub mod drain;
mod health;
mod metrics;
mod pages;
mod router;
pub mod server;

pub use axum::Router;
mod show;

pub use auth::token_hash;
pub use router::{ReloadRequest, WebOptions, router};
