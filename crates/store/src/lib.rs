//! Where dynowatch keeps what it must not forget: the only crate that knows SQL. SQLite and Postgres stand behind one
//! contract; one suite of tests runs on both.
//!
//! [`Store::open`] migrates and hands out a [`Store`], a cheap handle. The heart is [`Store::evaluate`]: one
//! transaction that loads what a batch concerns, lets the caller decide, and saves state, alerts and messages together.
//! Everything else is one module per concept: [`apps`], [`alerts`], [`deliveries`] (the outbox), [`levels`] (buckets of
//! ratios and absences), [`metrics`] and [`metric_packs`], [`app_events`], [`tracks`], [`releases`], [`blinds`], [`tokens`], [`rules`], [`objects`] (made in the
//! console), [`leases`], [`checks`], [`housekeeping`], [`backup`], [`accounts`], [`audit`].
//!
//! Not here: any decision. Rules, windows, retries and texts are `domain`'s; who calls when is `engine`'s. No clock is
//! read either, `now` comes in.
//!
//! Values of columns: times are microseconds since 1970 (UTC), ids version 7 UUIDs, what has a shape of its own is JSON.

pub mod accounts;
pub mod alerts;
pub mod app_events;
pub mod apps;
pub mod audit;
pub mod backup;
pub mod blinds;
pub mod checks;
mod db;
pub mod deliveries;
mod error;
pub mod evaluate;
mod frames;
pub mod heroku;
pub mod housekeeping;
pub mod leases;
pub mod levels;
pub mod metric_packs;
pub mod metric_recent;
pub mod metric_values;
pub mod metrics;
pub mod objects;
mod open;
mod packed;
pub mod releases;
pub mod rotations;
mod rows;
pub mod rules;
mod schema;
pub mod stored_lines;
mod text;
pub mod tokens;
pub mod tracks;
mod writer;

pub use db::Engine;
pub use error::{Result, StoreError};
pub use evaluate::{
    AlertDetails, AlertUpdate, Changes, EvaluateRequest, FiredAlert, Loaded, LoadedTrack, NewDelivery, ResolveNotice,
    ResolvedAlert, Saved, TrackChange,
};
pub use open::{Store, StoreOptions};

#[cfg(test)]
mod statement_tests;
