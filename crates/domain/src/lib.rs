//! What dynowatch decides, as data and functions: which lines a rule wants, whether its condition holds, when an
//! alert fires, repeats and resolves, what a message says, and what happens after an attempt to deliver it.
//!
//! This crate reads no clock, draws no random number and performs no input or output: `now`, ids and bytes come in,
//! new state and effects go out. `engine` saves both in one transaction and carries the effects out. It knows
//! nothing of Logplex either: `engine` turns a log record into a [`signal::Signal`].
//!
//! Where to look: a rule's meaning is in [`rule`], which lines it takes in [`matcher`], its window in [`window`], the
//! life of its alert in [`alert`], shares and silences over ten-second buckets in [`rollup`], limits of metrics in
//! [`threshold`], the message in [`notice`], series and their slots in [`metric`], what may not leave the house in
//! [`mask`], attempts and retries in [`delivery`], people in [`account`], what somebody who reads the log wants to see in
//! [`line_filter`], checks of web, data services and certificates in [`check`], addresses that nothing is sent to in
//! [`address`].

pub mod account;
pub mod address;
pub mod alert;
pub mod app_event;
pub mod app_name;
pub mod blind;
pub mod check;
pub mod delivery;
pub mod drain_rotation;
pub mod evidence;
pub mod fair;
pub mod ids;
pub mod key;
pub mod line_filter;
pub mod line_rule;
pub mod log_level;
pub mod mask;
pub mod matcher;
pub mod metric;
pub mod notice;
pub mod parse;
pub mod release;
pub mod rollup;
pub mod rule;
pub mod rule_pack;
pub mod signal;
pub mod threshold;
pub mod time;
pub mod window;
pub mod zone;

pub use ids::{AlertId, AppId, DeliveryId, NewId};
pub use time::{Clock, Timestamp};
