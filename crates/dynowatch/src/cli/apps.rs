//! `apps list|rename`.

use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::when_any;

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
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::List => list(ctx).await,
        Command::Rename { old, new } => rename(ctx, &old, &new).await,
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
