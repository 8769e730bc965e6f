//! `checks list|show|run|explain|history|pause|resume|accept-pin`. What is asked goes through the store to whichever server
//! runs the check; `explain` alone makes a run, here and now, and needs no server.

mod explain;
mod history;

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::outcome::Outcome;
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::target::shown_target;
use dynowatch_domain::check::{Assertion, Check, CheckKind};
use dynowatch_domain::parse::{duration, show_duration};
use dynowatch_engine::Engine;
use dynowatch_engine::checks::CheckStatus;
use serde_json::{Value, json};

use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use super::out::{when, when_any};
use crate::config::Config;
use crate::server::masker;

/// A server takes a wish up within five seconds, and writes runs every ten.
const RUN_WAIT_DEFAULT: &str = "60s";
const RUN_WAIT_MAX: Duration = Duration::from_secs(600);
const RUN_LOOK_EVERY: Duration = Duration::from_millis(500);
/// How far back the last run before a wish is looked for.
const RUN_BEFORE: Duration = Duration::from_secs(86_400);

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All checks and how they stand
    List {
        /// Only of this app
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        /// Only in this state, such as down or paused
        #[arg(long, value_parser = state)]
        state: Option<Shown>,
    },
    /// One check: what it demands, how it stands, what its last run found
    Show {
        /// Its name
        name: String,
    },
    /// Have a check run at once by the server that runs it, and wait for what it finds; exit code 1 unless it is up
    Run {
        /// Its name
        name: String,
        /// How long to wait, as in 30s
        #[arg(long, value_name = "DURATION", default_value = RUN_WAIT_DEFAULT, value_parser = wait)]
        wait: Duration,
    },
    /// Run a check once from this machine and print everything it did; exit code 1 unless it is up
    ///
    /// Needs no server. The checks are those of the configuration and, where the store is at hand, those of the console. The
    /// run is kept nowhere and tells nobody.
    Explain {
        /// Its name
        name: String,
    },
    /// What a check found: uptime with its coverage, outages, runs, failures
    History(history::Args),
    /// Switch a check off until it is resumed; what is open under it is closed without a message
    Pause {
        /// Its name
        name: String,
    },
    /// Switch a check on again
    Resume {
        /// Its name
        name: String,
    },
    /// Accept the key that a check's server shows now instead of the one that was pinned
    AcceptPin {
        /// Its name
        name: String,
    },
}

fn state(text: &str) -> Result<Shown, String> {
    let names = || Shown::ALL.map(Shown::as_str).join(", ");
    Shown::named(text).ok_or_else(|| format!("write one of {}", names()))
}

fn wait(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Ok(lasting) if lasting <= RUN_WAIT_MAX => Ok(lasting),
        Ok(_) => Err(format!("at most {}", show_duration(RUN_WAIT_MAX))),
        Err(error) => Err(error.to_string()),
    }
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    match command {
        Command::List { app, state } => list(ctx, &config, app.as_deref(), state).await,
        Command::Show { name } => show(ctx, &config, &name).await,
        Command::Run { name, wait } => run_now(ctx, &config, &name, wait).await,
        Command::Explain { name } => explain::run(ctx, &config, &name).await,
        Command::History(args) => history::run(ctx, &config, &args).await,
        Command::Pause { name } => {
            let engine = ctx.engine(&config).await?;
            known(&engine, &name)?;
            let changed = engine.pause_check(&name, &ctx.actor()).await?;
            engine.store().close().await;
            let (did, was) = ("is paused", "was paused before");
            said(
                ctx,
                &name,
                json!({ "check": name, "paused": true, "changed": changed }),
                if changed { did } else { was },
            )
        }
        Command::Resume { name } => {
            let engine = ctx.engine(&config).await?;
            let check = known(&engine, &name)?;
            let changed = engine.resume_check(&name, &ctx.actor()).await?;
            engine.store().close().await;
            let text = match (changed, check.paused) {
                (_, true) => "is paused where it is written: change that",
                (true, false) => "runs again",
                (false, false) => "was not paused",
            };
            said(ctx, &name, json!({ "check": name, "paused": check.paused, "changed": changed }), text)
        }
        Command::AcceptPin { name } => accept_pin(ctx, &config, &name).await,
    }
}

fn said(ctx: &mut Context, name: &str, json: Value, text: &str) -> Result<(), Failure> {
    if ctx.json { ctx.out.json(&json) } else { ctx.out.line(format!("{name} {text}")) }
}

async fn accept_pin(ctx: &mut Context, config: &Config, name: &str) -> Result<(), Failure> {
    let engine = ctx.engine(config).await?;
    known(&engine, name)?;
    let memory = engine.check_status(name).await?.row.map(|row| row.memory).unwrap_or_default();
    let Some(offered) = memory.pin_offered else {
        return Err(Failure::failed(format!("the server of {name} shows no other key than the one that is pinned")));
    };
    engine.accept_check_pin(name, &ctx.actor()).await?;
    engine.store().close().await;
    let key = &offered.key_sha256;
    said(ctx, name, json!({ "check": name, "key_sha256": key }), &format!("will expect the key {key} within seconds"))
}

/// The check of that name, or the one that was meant.
fn known(engine: &Engine, name: &str) -> Result<Arc<Check>, Failure> {
    let book = engine.check_book();
    book.checks.get(name).cloned().ok_or_else(|| unknown(book.checks.keys().map(String::as_str), name))
}

fn unknown<'a>(names: impl Iterator<Item = &'a str>, name: &str) -> Failure {
    let likeness = |other: &str| strsim::jaro_winkler(other, name);
    let near = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let near = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    Failure::failed(format!("no check is named {name:?}{near} `dynowatch checks list` shows all"))
}

/// Every check and how it stands. Without a store, those of the file, none of which has run.
async fn statuses(ctx: &Context, config: &Config) -> Result<Vec<CheckStatus>, Failure> {
    if missing_sqlite(config).is_some() {
        let new = |check: &Check| CheckStatus { check: Arc::new(check.clone()), row: None };
        let mut statuses: Vec<CheckStatus> = config.checks.checks.iter().map(new).collect();
        statuses.sort_by(|a, b| a.check.name.cmp(&b.check.name));
        return Ok(statuses);
    }
    let engine = ctx.engine(config).await?;
    let statuses = engine.check_statuses().await?;
    engine.store().close().await;
    Ok(statuses)
}

fn shown(status: &CheckStatus) -> Shown {
    match &status.row {
        _ if status.check.paused => Shown::Paused,
        Some(row) if row.paused.is_some() => Shown::Paused,
        Some(row) => row.shown,
        None => Shown::New,
    }
}

async fn list(ctx: &mut Context, config: &Config, app: Option<&str>, state: Option<Shown>) -> Result<(), Failure> {
    let mut statuses = statuses(ctx, config).await?;
    statuses.retain(|status| app.is_none_or(|app| status.check.app.as_deref() == Some(app)));
    statuses.retain(|status| state.is_none_or(|state| shown(status) == state));
    if ctx.json {
        return ctx.out.json(&statuses.iter().map(|status| status_json(config, status)).collect::<Vec<_>>());
    }
    if statuses.is_empty() {
        return ctx.out.line("no checks");
    }
    let rows: Vec<_> = statuses
        .iter()
        .map(|status| {
            let last = status.row.as_ref().and_then(|row| row.last.as_ref());
            let why =
                last.and_then(|last| last.reason).map(|reason| format!("; {}", reason.code())).unwrap_or_default();
            vec![
                shown(status).as_str().to_owned(),
                when_any(status.row.as_ref().and_then(|row| row.last_run_at)),
                last.map_or_else(|| "-".to_owned(), |last| took(last.phases.total_us)),
                status.check.name.clone(),
                format!("{}{why}", looks_at(config, &status.check)),
            ]
        })
        .collect();
    ctx.out.table(&["STATE", "LAST RUN (UTC)", "TOOK", "CHECK", "LOOKS AT"], &rows)
}

/// `12.3 ms`.
fn took(micros: u64) -> String {
    if micros == 0 { "-".to_owned() } else { format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100) }
}

/// What a check looks at, as far as it is known here: the URL of a variable that is not set is not.
pub(super) fn looks_at(config: &Config, check: &Check) -> String {
    let target = match config.checks.unset.get(&check.name) {
        Some(variable) => format!("by {variable}, which is not set here"),
        None => shown_target(&check.kind),
    };
    format!("{} {target}", check.kind.name())
}

fn status_json(config: &Config, status: &CheckStatus) -> Value {
    let CheckStatus { check, row } = status;
    let masker = masker(config);
    let last = row.as_ref().and_then(|row| row.last.as_ref());
    json!({
        "name": check.name,
        "kind": check.kind.name(),
        "target": masker.mask(&shown_target(&check.kind)),
        "app": check.app,
        "state": shown(status).as_str(),
        "every": show_duration(check.interval),
        "timeout": show_duration(check.timeout),
        "assert": check.assertions.iter().map(Assertion::as_str).collect::<Vec<_>>(),
        "severity": check.severity.as_str(),
        "receivers": check.receivers,
        "parent": check.parent,
        "runbook": check.runbook,
        "last_run_at": row.as_ref().and_then(|row| row.last_run_at).map(|at| at.to_string()),
        "paused_by": row.as_ref().and_then(|row| row.paused.as_ref()).map(|paused| &paused.by),
        "missed": row.as_ref().map(|row| row.missed),
        "last": last,
    })
}

async fn show(ctx: &mut Context, config: &Config, name: &str) -> Result<(), Failure> {
    let statuses = statuses(ctx, config).await?;
    let Some(status) = statuses.iter().find(|status| status.check.name == name) else {
        return Err(unknown(statuses.iter().map(|status| status.check.name.as_str()), name));
    };
    if ctx.json {
        return ctx.out.json(&status_json(config, status));
    }
    let CheckStatus { check, row } = status;
    let masker = masker(config);
    let mut lines = definition(config, check);
    lines.push(("state", shown(status).as_str().to_owned()));
    if let Some(row) = row {
        let paused = row.paused.as_ref().map(|paused| format!("{} UTC by {}", when(paused.at), paused.by));
        lines.push(("paused", paused.unwrap_or_default()));
        lines.push(("last run", row.last_run_at.map(|at| format!("{} UTC", when(at))).unwrap_or_default()));
        lines.push(("missed", if row.missed == 0 { String::new() } else { format!("{} slots", row.missed) }));
        let ping = row
            .ping_token
            .as_ref()
            .map(|token| format!("{}/ping/{token}", config.public_url.as_deref().unwrap_or("http://this-instance")));
        lines.push(("ping URL", ping.filter(|_| matches!(check.kind, CheckKind::Heartbeat(_))).unwrap_or_default()));
        lines.push(("heard", row.heartbeat.heard_at.map(|at| format!("{} UTC", when(at))).unwrap_or_default()));
        if let Some(last) = &row.last {
            let why = last.reason.map(|reason| format!(": {} ({})", reason.code(), reason.sentence()));
            lines.push(("found", format!("{}{}", last.outcome, why.unwrap_or_default())));
            lines.push(("detail", masker.mask(&last.detail).into_owned()));
            let parts = last.phases.parts();
            let parts: Vec<_> = parts.iter().map(|(phase, us)| format!("{} {}", phase.name(), took(*us))).collect();
            lines.push(("phases", parts.join(", ")));
            for result in &last.assertions {
                let word = if result.reason.is_none() { "ok" } else { "FAIL" };
                lines.push((
                    "assertion",
                    masker.mask(&format!("{word} {} (seen: {})", result.text, result.seen)).into_owned(),
                ));
            }
            lines.extend(last.notes.iter().map(|note| ("note", note.sentence().to_owned())));
        }
    }
    let out = &mut ctx.out;
    lines.iter().filter(|(_, text)| !text.is_empty()).try_for_each(|(name, text)| out.line(format!("{name:<10}{text}")))
}

/// What a check is, line by line.
fn definition(config: &Config, check: &Check) -> Vec<(&'static str, String)> {
    let thresholds = &check.thresholds;
    let or_for = |runs: u32, lasting: Option<Duration>, word: &str| match lasting {
        Some(lasting) => format!("{runs} runs {word} {}", show_duration(lasting)),
        None => format!("{runs} runs"),
    };
    let mut lines = vec![
        ("check", check.name.clone()),
        ("looks at", looks_at(config, check)),
        ("app", check.app.clone().unwrap_or_default()),
    ];
    if !matches!(check.kind, CheckKind::Heartbeat(_)) {
        let suspect = check.suspect_interval.map(|every| format!(", every {} when suspect", show_duration(every)));
        let timeout = show_duration(check.timeout);
        let every = show_duration(check.interval);
        lines.push(("runs", format!("every {every}{}, for {timeout} at most", suspect.unwrap_or_default())));
    }
    lines.extend(check.assertions.iter().map(|assertion| ("demands", assertion.as_str().to_owned())));
    lines.extend([
        ("down", format!("after {}", or_for(thresholds.failures, thresholds.failing_for, "or"))),
        ("up again", format!("after {}", or_for(thresholds.recoveries, thresholds.recovering_for, "and"))),
        ("severity", check.severity.as_str().to_owned()),
        ("tells", if check.receivers.is_empty() { "nobody".to_owned() } else { check.receivers.join(", ") }),
        ("parent", check.parent.clone().unwrap_or_default()),
        ("runbook", check.runbook.clone().unwrap_or_default()),
    ]);
    lines
}

async fn run_now(ctx: &mut Context, config: &Config, name: &str, wait: Duration) -> Result<(), Failure> {
    let engine = ctx.engine(config).await?;
    let check = known(&engine, name)?;
    let status = engine.check_status(name).await?;
    if shown(&status) == Shown::Paused {
        return Err(Failure::failed(format!("{name} is paused and does not run: `dynowatch checks resume {name}`")));
    }
    let newest = async |engine: &Engine| -> Result<Option<Run>, Failure> {
        let now = ctx.now();
        Ok(engine.check_history(name, now - RUN_BEFORE, now + RUN_BEFORE).await?.last().copied())
    };
    let before = newest(&engine).await?.map(|run| run.at);
    engine.ask_check_run(name, &ctx.actor()).await?;
    let run = tokio::time::timeout(wait, async {
        loop {
            tokio::time::sleep(RUN_LOOK_EVERY).await;
            if let Some(run) = newest(&engine).await?.filter(|run| before.is_none_or(|before| run.at > before)) {
                return Ok::<Run, Failure>(run);
            }
        }
    })
    .await;
    let found = match run {
        Ok(run) => run?,
        Err(_elapsed) => {
            engine.store().close().await;
            let wait = show_duration(wait);
            return Err(Failure::failed(format!(
                "no run of {name} within {wait}: does a server run? `dynowatch checks explain {name}` makes one from here"
            )));
        }
    };
    let failure = match found.outcome {
        Outcome::Up => None,
        _ => engine.check_failures(name, found.at + Duration::from_secs(1), 1).await?.pop(),
    };
    engine.store().close().await;
    let detail = failure.filter(|failure| failure.observation.reason == found.reason);
    let detail =
        detail.map(|failure| masker(config).mask(&failure.observation.detail).into_owned()).unwrap_or_default();
    if ctx.json {
        let mut value = run_json(&found);
        value["check"] = json!(check.name);
        value["detail"] = json!(detail);
        ctx.out.json(&value)?;
    } else {
        ctx.out.line(format!("{name} is {}", run_line(&found)))?;
        if !detail.is_empty() {
            ctx.out.line(detail)?;
        }
    }
    if found.outcome == Outcome::Up { Ok(()) } else { Err(Failure::Said) }
}

/// `down connect_refused at 2026-05-07 08:06:12 UTC, 0.4 ms (dns 0.1 ms, connect 0.3 ms)`.
fn run_line(run: &Run) -> String {
    let why = run.reason.map(|reason| format!(" {}", reason.code())).unwrap_or_default();
    format!("{}{why} at {} UTC, {}{}", run.outcome, when(run.at), took(run.phases.total_us), phases(run))
}

fn phases(run: &Run) -> String {
    let parts: Vec<_> =
        run.phases.parts().iter().map(|(phase, us)| format!("{} {}", phase.name(), took(*us))).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}

fn run_json(run: &Run) -> Value {
    let phases: serde_json::Map<String, Value> =
        run.phases.parts().iter().map(|(phase, us)| (format!("{}_us", phase.name()), json!(us))).collect();
    json!({
        "at": run.at.to_string(),
        "outcome": run.outcome.name(),
        "reason": run.reason.map(dynowatch_domain::check::outcome::Reason::code),
        "maintenance": run.maintenance,
        "lag_ms": run.lag_ms,
        "total_us": run.phases.total_us,
        "phases": phases,
    })
}

/// A moment: itself, or so long ago.
fn moment(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    if let Ok(ago) = duration(text) {
        return Ok(now - ago);
    }
    Timestamp::parse(text).map_err(|_| {
        Failure::wrong(format!(
            "{text:?} is not a moment: write one such as 2026-05-07T08:00:00Z, or how long ago it was, as in 24h"
        ))
    })
}
