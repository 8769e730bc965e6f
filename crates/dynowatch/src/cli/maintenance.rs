//! `maintenance list`: the windows in which nobody is told of checks.

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Scope};
use dynowatch_domain::parse::Glob;
use serde_json::{Value, json};

use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use super::out::when;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All windows: for whom they are, and whether they are open or when they open next
    List,
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    let Command::List = command;
    let config = ctx.load_offline()?;
    let windows = if missing_sqlite(&config).is_some() {
        config.checks.windows.clone()
    } else {
        let engine = ctx.engine(&config).await?;
        let windows = engine.check_book().windows.clone();
        engine.store().close().await;
        windows
    };
    let now = ctx.now();
    if ctx.json {
        return ctx.out.json(&windows.iter().map(|window| as_json(window, now)).collect::<Vec<_>>());
    }
    if windows.is_empty() {
        return ctx.out.line("no maintenance windows");
    }
    let rows: Vec<_> = windows
        .iter()
        .map(|window| vec![opens(window, now), window.name.clone(), scope(&window.scope), window.reason.clone()])
        .collect();
    ctx.out.table(&["OPEN (UTC)", "WINDOW", "FOR", "REASON"], &rows)
}

fn opens(window: &MaintenanceWindow, now: Timestamp) -> String {
    match (window.open_at(now), window.next_after(now)) {
        (Some(span), _) => format!("until {}", when(span.until)),
        (None, Some(span)) => format!("from {}", when(span.from)),
        (None, None) => "over".to_owned(),
    }
}

fn scope(scope: &Scope) -> String {
    let names = |globs: &[Glob]| globs.iter().map(Glob::as_str).collect::<Vec<_>>().join(", ");
    match scope {
        Scope::All => "every check".to_owned(),
        Scope::Apps(globs) => format!("checks of {}", names(globs)),
        Scope::Checks(globs) => names(globs),
    }
}

fn as_json(window: &MaintenanceWindow, now: Timestamp) -> Value {
    json!({
        "name": window.name,
        "scope": window.scope,
        "when": window.when,
        "reason": window.reason,
        "open_until": window.open_at(now).map(|span| span.until.to_string()),
        "next_at": window.next_after(now).map(|span| span.from.to_string()),
    })
}
