//! The console: pages rendered whole on the server, readable without scripts, kept true by [`crate::events`] where
//! scripts run. What came from a log line is masked and made visible by [`crate::show`], and escaped by maud. No script
//! and no style stands in a page: the content security policy would refuse it, and a test looks for it.
//!
//! **To make a page:** a module with a handler that takes a [`view::View`] and gives `view.page(&Head::new(title, place),
//! &content)`, a line in `router.rs`, and, if the navigation leads there, one in [`shell`]. Put it together from [`parts`];
//! a number does not stand alone ([`parts::Stat`]), a list has [`parts::filter_bar`] and [`parts::empty`], a time is
//! printed by `view.moment` or `view.ago`, foreign text by `view.outside`, a range of time is a [`range::Range`], a chart a
//! [`chart::Figure`] over [`chart::Data`]. What changes while people look is an element with an id and a
//! [`crate::events::Topic`] that renders the same function into [`partial`]. Errors are [`error::PageError`].

pub(crate) mod alert;
pub(crate) mod alerts;
pub(crate) mod app;
pub(crate) mod apps;
pub(crate) mod assets;
pub(crate) mod chart;
pub(crate) mod checks;
pub(crate) mod connect;
pub(crate) mod deliveries;
pub(crate) mod drains;
pub(crate) mod error;
pub(crate) mod form;
mod happenings;
pub(crate) mod heroku;
pub(crate) mod line;
pub(crate) mod live;
pub(crate) mod look;
mod object;
pub(crate) mod overview;
pub(crate) mod palette;
pub(crate) mod parts;
mod picture;
pub(crate) mod plain;
pub(crate) mod range;
pub(crate) mod receivers;
pub(crate) mod rules;
pub(crate) mod settings;
pub(crate) mod shell;
pub(crate) mod standing;
pub(crate) mod view;

pub(crate) use crate::events::partial;
