//! Everything that answers HTTP: the drain endpoint, the JSON API, the pages. The only crate that knows HTML. Decisions are
//! the engine's; what is shown is read through the store.
//!
//! [`server`] owns the port and sends each request its way: deliveries to [`drain`], all else to the axum router made by
//! [`router()`], whose whole URL surface stands in `router.rs`.

mod auth;
pub mod drain;
mod router;
pub mod server;

pub use auth::token_hash;
pub use router::{ReloadRequest, WebOptions, router};
