//! `checks explain`: one run from here, told in full. Owns what such a run is given: the check as it is written, the value of
//! its config var, what the check remembers in the store, such as its pin.

use std::sync::Arc;

use dynowatch_domain::check::observation::Memory;
use dynowatch_domain::check::outcome::Outcome;
use dynowatch_domain::check::{Check, CheckKind, Secret, Source};
use dynowatch_engine::Engine;
use dynowatch_probe::{Explanation, Prober, Request};
use secrecy::ExposeSecret as _;

use super::unknown;
use crate::cli::context::{Context, missing_sqlite};
use crate::cli::failure::Failure;
use crate::compose::Composer;
use crate::config::Config;
use crate::heroku;
use crate::server::surroundings;

pub(super) async fn run(ctx: &mut Context, config: &Config, name: &str) -> Result<(), Failure> {
    let engine = at_hand(ctx, config).await?;
    // With the checks of the console, where the store can be asked for them.
    let whole = match &engine {
        Some(engine) => Composer::new(config, true).whole(&engine.objects().await?).map_err(Failure::failed)?,
        None => config.clone(),
    };
    let checks = &whole.checks.checks;
    let Some(check) = checks.iter().find(|check| check.name == name) else {
        return Err(unknown(checks.iter().map(|check| check.name.as_str()), name));
    };
    if let Some(variable) = whole.checks.unset.get(name) {
        return Err(Failure::wrong(format!("the environment variable {variable} is not set, and {name} needs it")));
    }
    let explanation = match &check.kind {
        CheckKind::Heartbeat(_) => {
            return Err(Failure::wrong(format!(
                "a heartbeat is heard, not run: `dynowatch checks show {name}` says what was heard"
            )));
        }
        CheckKind::Heroku(_) => by_rows(config, engine.as_ref(), check).await?,
        _ => by_probe(ctx, &whole, engine.as_ref(), check).await?,
    };
    if let Some(engine) = &engine {
        engine.store().close().await;
    }
    if ctx.json {
        ctx.out.json(&explanation)?;
    } else {
        ctx.out.text(&explanation.to_string())?;
        ctx.out.line("")?;
        ctx.out.line("This run is kept nowhere and tells nobody.")?;
    }
    if explanation.observation.outcome == Outcome::Up { Ok(()) } else { Err(Failure::Said) }
}

/// The store, if it can be had. One that is away is no reason not to look at a target.
async fn at_hand(ctx: &Context, config: &Config) -> Result<Option<Engine>, Failure> {
    if missing_sqlite(config).is_some() {
        return Ok(None);
    }
    match ctx.engine(config).await {
        Ok(engine) => Ok(Some(engine)),
        Err(Failure::Failed(problem)) => {
            tracing::warn!(
                problem,
                "the store is not at hand: checks of the console and pinned keys are not known, only those of the file"
            );
            Ok(None)
        }
        Err(failure) => Err(failure),
    }
}

/// What Heroku says stands in the rows that a server keeps in step.
async fn by_rows(config: &Config, engine: Option<&Engine>, check: &Check) -> Result<Explanation, Failure> {
    let engine = engine.ok_or_else(|| {
        Failure::failed("what Heroku says is read from the store of a server, and there is none: run this beside one")
    })?;
    engine.connect_heroku(heroku::account(config).map_err(|error| Failure::wrong(error.to_string()))?);
    Ok(engine.explain_check(Arc::new(check.clone())).await)
}

async fn by_probe(
    ctx: &Context,
    config: &Config,
    engine: Option<&Engine>,
    check: &Check,
) -> Result<Explanation, Failure> {
    let url = match check.kind.source() {
        Some(Source::ConfigVar { app, name }) => config_var(config, app, name).await?,
        _ => None,
    };
    let row = match engine {
        Some(engine) => engine.check_status(&check.name).await?.row,
        None => None,
    };
    let memory = row.map_or_else(Memory::default, |row| row.memory);
    let request = Request { check, url: url.as_ref(), memory: &memory, now: ctx.now() };
    Ok(Prober::new(surroundings(config)).explain(&request).await)
}

async fn config_var(config: &Config, app: &str, name: &str) -> Result<Option<Secret>, Failure> {
    let account = heroku::account(config).map_err(|error| Failure::wrong(error.to_string()))?;
    let Some(account) = account else {
        return Err(Failure::wrong(format!(
            "HEROKU_API_KEY is not set, and the target stands in the config var {name} of {app}"
        )));
    };
    match account.client.config_var(app, name).await {
        Ok(value) => Ok(value.map(|value| Secret::new(value.expose_secret()))),
        Err(error) => Err(Failure::failed(format!("the config vars of {app} cannot be read: {error}"))),
    }
}
