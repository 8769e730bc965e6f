//! The log: on standard error, as text or JSON. What is logged is chosen by `RUST_LOG`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;

use super::context::Context;
use crate::config::Env as _;

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Begins to log. `level` holds where `RUST_LOG` says nothing or nothing that can be read.
pub(crate) fn init(ctx: &Context, format: Format, level: &str) {
    let wanted = ctx.env.get("RUST_LOG").filter(|wanted| !wanted.trim().is_empty());
    let filter = wanted.map_or_else(
        || EnvFilter::new(level),
        |wanted| {
            EnvFilter::try_new(&wanted).unwrap_or_else(|error| {
                let _written =
                    writeln!(io::stderr(), "dynowatch: RUST_LOG is not understood ({error}); logging {level}");
                EnvFilter::new(level)
            })
        },
    );
    let builder =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    // A second logger can only be a test's own; then that one stays.
    let _set = match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    };
}
