//! `replay`: the rules over a file. Reading in bounded pieces is [`input`]'s, printing [`report`]'s, deciding the engine's.

mod input;
mod report;

use std::path::PathBuf;

use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_engine::replay::Replay;
use tokio::time::Instant;

use super::context::Context;
use super::failure::Failure;
use crate::server::masker;
use input::{Input, Piece};
use report::Report;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The log; - is standard input
    file: PathBuf,
    /// Name of the app whose log it is: rules may be for some apps only
    #[arg(long, default_value = "replay", value_name = "NAME")]
    app: String,
    /// Print context lines and every decision, too
    #[arg(long)]
    verbose: bool,
}

/// Reads the file and prints what the rules made of it.
pub(crate) fn run(ctx: &mut Context, args: &Args) -> Result<(), Failure> {
    if args.app.is_empty() || args.app.len() > NAME_BYTES_MAX {
        return Err(Failure::wrong(format!("--app: a name has 1 to {NAME_BYTES_MAX} bytes")));
    }
    let config = ctx.load_offline()?;
    let mut replay = Replay::new(config.rules.clone(), &args.app, masker(&config), config.limits.groups_per_rule)
        .map_err(anyhow::Error::from)?;
    let begun = Instant::now();
    let mut input = Input::open(&args.file)?;
    let format = input.format();
    let mut report = Report::new(ctx.json, args.verbose);
    while let Some(piece) = input.next_piece()? {
        match piece {
            Piece::Entries(data) => replay.feed(format, data),
            Piece::LeftOut(reason) => replay.left_out(reason),
        }
        report.happenings(&mut ctx.out, replay.happenings())?;
    }
    let unreadable = input.unreadable_from();
    let (last, summary) = replay.finish();
    report.happenings(&mut ctx.out, last)?;
    let took = begun.elapsed();
    report.summary(&mut ctx.out, &report::Source { format, app: &args.app, unreadable, took }, &summary)
}
