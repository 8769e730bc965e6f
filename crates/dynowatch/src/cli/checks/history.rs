//! `checks history`: uptime with its coverage, outages, runs and failures of a time.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::state::Held;
use dynowatch_domain::check::uptime::Spent;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::parse::show_duration;
use dynowatch_engine::checks::CheckUptime;
use dynowatch_store::checks::{Failure as FailedRun, OutageRow};
use serde_json::{Value, json};

use super::{known, moment, phases, run_json, took};
use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::out::{Out, plural, when};
use crate::config::Config;
use crate::server::masker;

/// Outages and failures that are printed at most.
const SHOWN_MAX: u32 = 200;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Its name
    name: String,
    /// From when: a moment such as 2026-05-07T08:00:00Z, or how long ago, as in 7d
    #[arg(long, value_name = "WHEN", default_value = "24h")]
    from: String,
    /// Until when, likewise; else now
    #[arg(long, value_name = "WHEN")]
    until: Option<String>,
    /// How many runs at most, the newest; they are kept for 7 days
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    runs: u32,
    /// With everything that each failed run did; failures are kept for 90 days
    #[arg(long)]
    full: bool,
}

/// What there is of a time.
struct Found {
    from: Timestamp,
    until: Timestamp,
    uptime: CheckUptime,
    outages: Vec<OutageRow>,
    runs: Vec<Run>,
    /// How many runs there were, those among them that are not printed.
    runs_all: usize,
    failures: Vec<FailedRun>,
}

pub(super) async fn run(ctx: &mut Context, config: &Config, args: &Args) -> Result<(), Failure> {
    let now = ctx.now();
    let from = moment(&args.from, now)?;
    let until = args.until.as_deref().map_or(Ok(now), |text| moment(text, now))?;
    if from >= until {
        return Err(Failure::wrong("--from must be before --until, and in the past"));
    }
    let engine = ctx.engine(config).await?;
    let name = &args.name;
    known(&engine, name)?;
    let uptime = engine.check_uptime(name, from, until).await?;
    let mut outages = engine.check_outages(name, until, SHOWN_MAX).await?;
    outages.retain(|outage| outage.ended_at.is_none_or(|ended_at| ended_at >= from));
    let mut runs = engine.check_history(name, from, until).await?;
    let runs_all = runs.len();
    let shown = usize::try_from(args.runs).unwrap_or(usize::MAX);
    runs.drain(..runs_all.saturating_sub(shown));
    let mut failures = engine.check_failures(name, until, SHOWN_MAX).await?;
    failures.retain(|failure| failure.observation.started_at >= from);
    engine.store().close().await;
    let found = Found { from, until, uptime, outages, runs, runs_all, failures };
    let masker = masker(config);
    if ctx.json { ctx.out.json(&as_json(name, &found, &masker)) } else { print(&mut ctx.out, args, &found, &masker) }
}

fn print(out: &mut Out, args: &Args, found: &Found, masker: &Masker) -> Result<(), Failure> {
    out.line(format!("{}, {} to {} UTC", args.name, when(found.from), when(found.until)))?;
    out.line(format!("uptime  {}", found.uptime.spent.show()))?;
    out.line(format!("time    {}", spent(&found.uptime.spent)))?;
    out.line("")?;
    out.line(if found.outages.is_empty() { "Outages: none" } else { "Outages (UTC)" })?;
    for outage in &found.outages {
        let lasted = match outage.ended_at {
            Some(ended_at) => format!("for {}", seconds(ended_at.since(outage.began_at))),
            None => "goes on".to_owned(),
        };
        out.line(format!("  {}  {lasted}; {}; {}", when(outage.began_at), told(outage), outage.id))?;
    }
    out.line("")?;
    out.line(match (found.runs_all, found.runs.len()) {
        (0, _) => "Runs: none".to_owned(),
        (all, shown) if all == shown => "Runs (UTC)".to_owned(),
        (all, shown) => format!("Runs (UTC), the newest {shown} of {all}"),
    })?;
    for run in &found.runs {
        let why = run.reason.map(|reason| format!(" {}", reason.code())).unwrap_or_default();
        let during = if run.maintenance { ", in maintenance" } else { "" };
        out.line(format!(
            "  {}  {}{why}, {}{}{during}",
            when(run.at),
            run.outcome,
            took(run.phases.total_us),
            phases(run)
        ))?;
    }
    out.line("")?;
    out.line(if found.failures.is_empty() { "Failures: none" } else { "Failures (UTC)" })?;
    for failure in &found.failures {
        let seen = &failure.observation;
        let reason = seen.reason.map(|reason| reason.code()).unwrap_or_default();
        let detail = masker.mask(&seen.detail);
        out.line(format!("  {}  {} {reason}: {detail}", when(seen.started_at), seen.outcome))?;
        if args.full {
            masker.mask(&failure.transcript).lines().try_for_each(|line| out.line(format!("      {line}")))?;
        }
    }
    Ok(())
}

fn told(outage: &OutageRow) -> String {
    let what = if outage.flapping { "flapping, " } else { "" };
    match (&outage.opened_at, &outage.held) {
        (Some(at), _) => format!("{what}told at {}", when(*at)),
        (None, Some(Held::Maintenance)) => format!("{what}told nobody: maintenance"),
        (None, Some(Held::Parent { name })) => format!("{what}told nobody: {name} failed"),
        (None, None) => format!("{what}told nobody"),
    }
}

/// To the second: parts of one say nothing of an outage.
fn seconds(lasting: Duration) -> String {
    show_duration(Duration::from_secs(lasting.as_secs()))
}

fn spent(spent: &Spent) -> String {
    let parts = [
        ("up", spent.up_us),
        ("degraded", spent.degraded_us),
        ("down", spent.down_us),
        ("unknown", spent.unknown_us),
        ("maintenance", spent.maintenance_us),
    ];
    let parts = parts.iter().filter(|(_, micros)| *micros > 0);
    let parts: Vec<_> =
        parts.map(|(name, micros)| format!("{name} {}", seconds(Duration::from_micros(*micros)))).collect();
    if parts.is_empty() { plural(0, "second") } else { parts.join(", ") }
}

fn as_json(name: &str, found: &Found, masker: &Masker) -> Value {
    let spent = &found.uptime.spent;
    json!({
        "check": name,
        "from": found.from.to_string(),
        "until": found.until.to_string(),
        "uptime": spent.uptime(2).map(|percent| percent.to_string()),
        "coverage": spent.coverage(2).map(|percent| percent.to_string()),
        "spent": spent,
        "flips": found.uptime.flips,
        "outages": found.outages.iter().map(|outage| json!({
            "id": outage.id,
            "began_at": outage.began_at.to_string(),
            "ended_at": outage.ended_at.map(|at| at.to_string()),
            "opened_at": outage.opened_at.map(|at| at.to_string()),
            "flapping": outage.flapping,
            "held": outage.held,
        })).collect::<Vec<_>>(),
        "runs_all": found.runs_all,
        "runs": found.runs.iter().map(run_json).collect::<Vec<_>>(),
        "failures": found.failures.iter().map(|failure| json!({
            "observation": failure.observation,
            "transcript": masker.mask(&failure.transcript),
        })).collect::<Vec<_>>(),
    })
}
