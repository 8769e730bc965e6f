//! `drain list|add|rotate|remove`: an app's log drains at Heroku. No URL is printed: it holds a password.

use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::drain_rotation::Rotation;
use dynowatch_engine::Engine;
use dynowatch_engine::heroku::HerokuProblem;
use dynowatch_engine::heroku::drains::AppDrains;
use dynowatch_store::heroku::Drain;
use serde_json::json;
use uuid::Uuid;

use crate::cli::context::Context;
use crate::cli::failure::Failure;
use crate::cli::out::{when, when_any};

/// Which app, and whose second factor.
#[derive(Debug, clap::Args)]
pub(crate) struct Target {
    /// The app's name, as in `heroku apps`. Needs HEROKU_API_KEY
    #[arg(long, value_name = "NAME")]
    app: String,
    /// A code of the account's second factor, if Heroku asks for one
    #[arg(long, value_name = "CODE")]
    two_factor_code: Option<String>,
}

/// Which drain of it.
#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    #[command(flatten)]
    target: Target,
    /// The drain's id, where several deliver here
    #[arg(long, value_name = "ID")]
    drain: Option<Uuid>,
}

/// What is to be done with the replacement.
#[derive(Debug, clap::Args)]
pub(crate) struct Rotate {
    #[command(flatten)]
    which: Which,
    /// End the replacement that is under way: the old drain stays
    #[arg(long, conflicts_with_all = ["drain", "proceed"])]
    abandon: bool,
    /// Do not wait for the new drain's first delivery, for an app that writes no log
    #[arg(long, conflicts_with = "drain")]
    proceed: bool,
}

/// `drain list`.
pub(crate) async fn list(ctx: &mut Context, target: Target) -> Result<(), Failure> {
    with(ctx, target, async |engine, app, _by| engine.drains(app).await).await
}

/// `drain add`.
pub(crate) async fn add(ctx: &mut Context, target: Target) -> Result<(), Failure> {
    with(ctx, target, async |engine, app, by| engine.add_drain(app, by).await).await
}

/// `drain rotate`.
pub(crate) async fn rotate(ctx: &mut Context, args: Rotate) -> Result<(), Failure> {
    let Rotate { which: Which { target, drain }, abandon, proceed } = args;
    with(ctx, target, async |engine, app, by| match (abandon, proceed) {
        (true, _) => engine.abandon_rotation(app, by).await,
        (_, true) => engine.proceed_rotation(app, by).await,
        _ => engine.rotate_drain(app, drain, by).await,
    })
    .await
}

/// `drain remove`.
pub(crate) async fn remove(ctx: &mut Context, which: Which) -> Result<(), Failure> {
    let Which { target, drain } = which;
    with(ctx, target, async |engine, app, by| engine.remove_drain(app, drain, by).await).await
}

async fn with(
    ctx: &mut Context,
    target: Target,
    act: impl AsyncFnOnce(&Engine, &str, &Actor) -> Result<AppDrains, HerokuProblem>,
) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let engine = ctx.heroku_engine(&config, target.two_factor_code).await?;
    let done = act(&engine, &target.app, &ctx.actor()).await;
    engine.store().close().await;
    show(ctx, &target.app, &done?)
}

fn show(ctx: &mut Context, app: &str, drains: &AppDrains) -> Result<(), Failure> {
    if ctx.json {
        return ctx.out.json(&json!({
            "app": app,
            "drains": drains.app.drains.iter().map(|drain| drain_json(drains, drain)).collect::<Vec<_>>(),
            "rotation": drains.rotation.as_ref().map(rotation_json),
            "counted_twice": drains.counted_twice(),
            "counts_nothing": drains.counts_nothing(),
        }));
    }
    let there: Vec<&Drain> = drains.app.drains.iter().filter(|drain| drain.gone_at.is_none()).collect();
    if there.is_empty() {
        ctx.out.line(format!("{app} has no log drain"))?;
    } else {
        let rows: Vec<_> = there.iter().map(|drain| row(drains, drain)).collect();
        ctx.out.table(&["SINCE (UTC)", "DELIVERS", "COUNTS", "TOKEN", "ID"], &rows)?;
    }
    if drains.counted_twice() {
        ctx.out.line(
            "WARNING: several drains deliver here, so every line is counted more than once: remove all but one",
        )?;
    }
    if drains.counts_nothing() {
        ctx.out.line(
            "WARNING: the drain that counted is gone and the one that is left does not count, so no line of this app is \
             counted: remove it, then add a new one",
        )?;
    }
    match &drains.rotation {
        Some(rotation) => ctx.out.line(said(rotation)),
        None => Ok(()),
    }
}

fn row(of: &AppDrains, drain: &Drain) -> Vec<String> {
    let to = match (&drain.addon, drain.ours) {
        (_, true) => "here".to_owned(),
        (Some(addon), _) => format!("to {} (add-on {addon})", drain.host),
        (None, _) => format!("to {}", drain.host),
    };
    let counts = of.counts(drain).map_or("", |counts| if counts { "yes" } else { "no" });
    vec![when_any(drain.created_at), to, counts.to_owned(), drain.token.clone(), drain.id.to_string()]
}

/// How a rotation stands, in a sentence.
fn said(rotation: &Rotation) -> String {
    let open = if rotation.next_at.is_some() { "; a running server goes on with it" } else { "" };
    format!("replacement: {}{open}", rotation.in_words(|at| format!("{} UTC", when(at))))
}

fn drain_json(of: &AppDrains, drain: &Drain) -> serde_json::Value {
    json!({
        "id": drain.id, "token": drain.token, "ours": drain.ours, "counts": of.counts(drain), "host": drain.host,
        "addon": drain.addon,
        "created_at": drain.created_at.map(|at| at.to_string()), "gone_at": drain.gone_at.map(|at| at.to_string()),
    })
}

fn rotation_json(rotation: &Rotation) -> serde_json::Value {
    let time = |at: Option<dynowatch_domain::Timestamp>| at.map(|at| at.to_string());
    json!({
        "state": rotation.state.as_str(), "old": rotation.old.id, "new": rotation.new.as_ref().map(|new| new.id),
        "new_delivered_at": time(rotation.new_delivered_at), "cutover_at": time(rotation.cutover_at),
        "next_at": time(rotation.next_at), "problem": rotation.problem, "by": rotation.by,
        "created_at": rotation.created_at.to_string(),
    })
}
