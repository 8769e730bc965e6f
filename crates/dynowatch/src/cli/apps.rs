//! `apps list|rename|sync|runtime-metrics`.

use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::{plural, when_any};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// All apps with their drains
    List,
    /// Give an app another name; its alerts, windows and drains stay its own
    Rename {
        /// The name now
        old: String,
        /// The name from now on
        new: String,
    },
    /// Read the Heroku account anew: apps, process types, dynos, add-ons, releases, drains
    ///
    /// A running server does so by itself; this is for now, and for where none runs. Needs HEROKU_API_KEY.
    Sync {
        /// A code of the account's second factor, if Heroku asks for one
        #[arg(long, value_name = "CODE")]
        two_factor_code: Option<String>,
    },
    /// Have Heroku write each dyno's memory and load into the app's log (log-runtime-metrics)
    ///
    /// It takes effect at the next restart of each dyno. Needs HEROKU_API_KEY.
    RuntimeMetrics {
        /// The app's name
        #[arg(long, value_name = "NAME")]
        app: String,
        /// Switch it off instead
        #[arg(long)]
        off: bool,
        /// A code of the account's second factor, if Heroku asks for one
        #[arg(long, value_name = "CODE")]
        two_factor_code: Option<String>,
    },
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(ctx).await,
        Command::Rename { old, new } => rename(ctx, &old, &new).await,
        Command::Sync { two_factor_code } => sync(ctx, two_factor_code).await,
        Command::RuntimeMetrics { app, off, two_factor_code } => {
            runtime_metrics(ctx, &app, !off, two_factor_code).await
        }
    }
}

async fn list(ctx: &mut Context) -> Result<(), Failure> {
    let store = ctx.store(&ctx.load_offline()?).await?;
    let (apps, tokens) = (store.apps().await?, store.drain_tokens(None).await?);
    let tokens_of =
        |id| tokens.iter().filter(move |token| token.app == id).map(|token| token.token.clone()).collect::<Vec<_>>();
    if ctx.json {
        let apps: Vec<_> = apps
            .iter()
            .map(|app| {
                json!({
                    "id": app.id, "name": app.name, "origin": app.origin, "host_hint": app.host_hint,
                    "created_at": app.created_at.to_string(), "last_line_at": app.last_line_at.map(|at| at.to_string()),
                    "drain_tokens": tokens_of(app.id),
                })
            })
            .collect();
        return ctx.out.json(&apps);
    }
    if apps.is_empty() {
        return ctx.out.line("no apps yet; the first delivery of a drain makes one");
    }
    let rows: Vec<_> = apps
        .iter()
        .map(|app| {
            let hint = app.host_hint.as_deref().map(|host| format!(" ({host})")).unwrap_or_default();
            let drains = tokens_of(app.id).len().to_string();
            vec![when_any(app.last_line_at), app.origin.as_str().to_owned(), drains, format!("{}{hint}", app.name)]
        })
        .collect();
    ctx.out.table(&["LAST LINE (UTC)", "FROM", "DRAINS", "APP"], &rows)
}

async fn rename(ctx: &mut Context, old: &str, new: &str) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let engine = ctx.engine(&config).await?;
    engine.rename_app(old, new, &ctx.actor()).await?;
    engine.store().close().await;
    if ctx.json {
        return ctx.out.json(&json!({ "old": old, "new": new }));
    }
    ctx.out.line(format!("{old} is now {new}"))?;
    if config.apps.iter().any(|app| app.name == old) {
        let file = config.file.as_deref().unwrap_or("the configuration");
        ctx.out.line(format!(
            "{file} still names {old}: rename it there too, else the next start makes a new app of that name"
        ))?;
    }
    Ok(())
}

async fn sync(ctx: &mut Context, code: Option<String>) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let engine = ctx.heroku_engine(&config, code).await?;
    let report = engine.heroku_sync_now().await;
    engine.store().close().await;
    let report = report?;
    if ctx.json {
        ctx.out.json(&json!({
            "apps": report.apps, "new": report.new, "gone": report.gone, "problems": report.problems,
            "renamed": report.renamed.iter().map(|(from, to)| json!({ "from": from, "to": to })).collect::<Vec<_>>(),
            "put_off": report.put_off, "requests": report.requests,
        }))?;
    } else {
        ctx.out.line(format!(
            "{} in the account, {} made",
            plural(report.apps, "app"),
            plural(usize::try_from(report.requests).unwrap_or(usize::MAX), "request")
        ))?;
        report.new.iter().try_for_each(|name| ctx.out.line(format!("new: {name}")))?;
        report.renamed.iter().try_for_each(|(from, to)| ctx.out.line(format!("renamed: {from} is now {to}")))?;
        report.gone.iter().try_for_each(|name| ctx.out.line(format!("gone: {name}")))?;
        report.problems.iter().try_for_each(|problem| ctx.out.line(format!("PROBLEM: {problem}")))?;
        if report.put_off > 0 {
            ctx.out.line(format!(
                "{} left for later, so that requests are left to the account; a running server goes on with them",
                plural(report.put_off, "app")
            ))?;
        }
    }
    if report.problems.is_empty() { Ok(()) } else { Err(Failure::Said) }
}

async fn runtime_metrics(ctx: &mut Context, app: &str, on: bool, code: Option<String>) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let engine = ctx.heroku_engine(&config, code).await?;
    let done = engine.set_runtime_metrics(app, on, &ctx.actor()).await;
    engine.store().close().await;
    let on = done?.facts.runtime_metrics.unwrap_or(on);
    if ctx.json {
        return ctx.out.json(&json!({ "app": app, "runtime_metrics": on }));
    }
    let state = if on { "on" } else { "off" };
    ctx.out.line(format!("log-runtime-metrics of {app} is {state}; each dyno follows at its next restart (`heroku ps:restart --app {app}`)"))
}
