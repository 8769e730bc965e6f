//! `replay`: the rules over a file. Printing is [`report`]'s; reading in bounded pieces and deciding are the engine's.

mod report;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_engine::replay::Replay;
use dynowatch_engine::replay::input::{Input, Piece};
use tokio::time::Instant;

use super::context::Context;
use super::failure::Failure;
use crate::server::masker;
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
    let mut input = open(&args.file)?;
    let format = input.format();
    let mut report = Report::new(ctx.json, args.verbose);
    let cannot = |error: io::Error| Failure::failed(format!("{} cannot be read on: {error}", name_of(&args.file)));
    while let Some(piece) = input.next_piece().map_err(cannot)? {
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

/// Opens a file, or standard input for `-`.
fn open(path: &Path) -> Result<Input, Failure> {
    let fail = |error: io::Error| Failure::failed(format!("{} cannot be read: {error}", name_of(path)));
    let raw: Box<dyn Read> =
        if path == Path::new("-") { Box::new(io::stdin().lock()) } else { Box::new(File::open(path).map_err(fail)?) };
    Input::new(raw, u64::MAX).map_err(fail)
}

fn name_of(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}
