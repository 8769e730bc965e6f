//! The web as others meet it: the API, the pages and the metrics in this process, the drain over real sockets.
#![expect(clippy::unwrap_used, clippy::panic, reason = "test code: a broken expectation ends the test")]

mod access;
mod accounts;
mod api;
mod backtest;
mod badges;
mod browser;
mod check_script;
mod checks;
mod checks_api;
mod composer;
mod console_app;
mod documented;
mod drain;
mod errors;
mod faults;
mod flood;
mod heroku;
mod hostile;
mod hostile_checks;
mod live;
mod oidc;
mod pages;
mod pings;
mod raw;
mod series;
mod site;
mod standing;
mod tail;
