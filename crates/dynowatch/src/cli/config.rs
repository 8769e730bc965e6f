//! `config check|reload`: what a configuration says, where each value comes from, and what will surprise somebody.

use std::path::PathBuf;
use std::time::Duration;

use dynowatch_domain::check::target::shown_target;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_notify::ReceiverKind;
use dynowatch_store::Store;
use dynowatch_store::deliveries::{Delivery, DeliveryFilter};
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::checks::looks_at;
use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use super::out::{Out, plural, when};
use crate::config::{self, Config};
use crate::server;

/// Deliveries that failed within this time are told.
const FAILED_WITHIN: Duration = Duration::from_secs(86_400);
/// The most of them that are told.
const FAILED_SHOWN_MAX: u32 = 10;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check a configuration: every value with its origin, rules, receivers, warnings; exit code 1 on errors
    ///
    /// Messages that failed for good within the last day are told, too, when the store is at hand.
    Check {
        /// The file; else as for every command
        file: Option<PathBuf>,
        /// A secret that is not set is a warning only
        #[arg(long)]
        offline: bool,
        /// Also open the store, which migrates it; fail when it cannot be reached
        #[arg(long)]
        store: bool,
    },
    /// Have a running server read its configuration again, as SIGHUP does
    Reload {
        /// Where the server is
        #[arg(long, value_name = "URL")]
        url: String,
        /// A token of the API; else the first of $DYNOWATCH_API_TOKEN
        #[arg(long, value_name = "TOKEN")]
        token: Option<String>,
    },
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Check { file, offline, store } => check(ctx, file, offline, store).await,
        Command::Reload { url, token } => reload(ctx, &url, token).await,
    }
}

async fn check(ctx: &mut Context, file: Option<PathBuf>, offline: bool, with_store: bool) -> Result<(), Failure> {
    let file = file.or_else(|| ctx.file());
    let load = if offline { config::load_offline } else { config::load };
    let config = match load(file.as_deref(), &ctx.env) {
        Ok(config) => config,
        Err(errors) => {
            if ctx.json {
                ctx.out.json(&json!({ "ok": false, "errors": errors }))?;
            } else {
                ctx.out.line(format!("{}:", plural(errors.all().len(), "error")))?;
                errors.all().iter().try_for_each(|error| ctx.out.line(error.to_string()))?;
            }
            return Err(Failure::Said);
        }
    };
    let problems = config.serve_problems();
    let near = with_store || (!config.database_url.is_postgres() && missing_sqlite(&config).is_none());
    let seen = if near { Some(look(ctx, &config).await) } else { None };
    let ok = problems.is_empty() && !(with_store && seen.as_ref().is_some_and(Result::is_err));
    if ctx.json {
        print_json(ctx, &config, ok, &problems, seen.as_ref())?;
    } else {
        print(&mut ctx.out, &config, &problems)?;
        print_store(&mut ctx.out, &config, seen.as_ref())?;
    }
    if ok { Ok(()) } else { Err(Failure::Said) }
}

/// What the store says.
struct Seen {
    schema: i64,
    failed: Vec<Delivery>,
}

async fn look(ctx: &Context, config: &Config) -> Result<Seen, String> {
    let store = server::open_store(config, false).await.map_err(|error| format!("{error:#}"))?;
    let seen = ask(ctx, &store).await.map_err(|error| error.to_string());
    store.close().await;
    seen
}

async fn ask(ctx: &Context, store: &Store) -> dynowatch_store::Result<Seen> {
    let schema = store.schema_version().await?;
    let filter =
        DeliveryFilter { state: Some(DeliveryState::Failed), limit: FAILED_SHOWN_MAX, ..DeliveryFilter::default() };
    let since = ctx.now() - FAILED_WITHIN;
    let mut failed = store.deliveries(&filter).await?;
    failed.retain(|delivery| delivery.finished_at.is_some_and(|at| at >= since));
    Ok(Seen { schema, failed })
}

fn print(out: &mut Out, config: &Config, problems: &[String]) -> Result<(), Failure> {
    out.line(format!("file: {}", config.file.as_deref().unwrap_or("none; defaults and the environment")))?;
    out.line("")?;
    let settings: Vec<_> = config
        .provenance()
        .iter()
        .map(|setting| vec![setting.key.to_owned(), setting.value.clone(), setting.from.to_string()])
        .collect();
    out.table(&["KEY", "VALUE", "FROM"], &settings)?;
    out.line("")?;
    let on = config.rules.iter().filter(|rule| rule.enabled).count();
    let told = config.rules.iter().filter(|rule| rule.enabled && !rule.receivers.is_empty()).count();
    out.line(format!("rules: {on} on, {} off; {told} of those on tell somebody", config.rules.len() - on))?;
    let names: Vec<&str> = config.apps.iter().map(|app| app.name.as_str()).collect();
    out.line(format!(
        "apps: {}",
        if names.is_empty() { "none named; every valid drain is adopted".to_owned() } else { names.join(", ") }
    ))?;
    if config.receivers.is_empty() {
        out.line("receivers: NONE; alerts are recorded and shown, but sent to nobody")?;
    } else {
        let shown = config.receivers.iter().map(|receiver| format!("{} ({})", receiver.name, kind(&receiver.kind)));
        out.line(format!("receivers: {}", shown.collect::<Vec<_>>().join(", ")))?;
    }
    print_checks(out, config)?;
    for warning in &config.warnings {
        out.line(format!("WARNING: {warning}"))?;
    }
    for problem in problems {
        out.line(format!("ERROR: {problem}"))?;
    }
    Ok(())
}

/// Checks by kind, windows, and where checks go.
fn print_checks(out: &mut Out, whole: &Config) -> Result<(), Failure> {
    let config = &whole.checks;
    if config.checks.is_empty() {
        out.line("checks: none")?;
    } else {
        let shown = config.checks.iter().map(|check| format!("{} ({})", check.name, looks_at(whole, check)));
        out.line(format!("checks: {}", shown.collect::<Vec<_>>().join(", ")))?;
        let controls: Vec<String> = config.controls.iter().map(|control| shown_target(&control.kind)).collect();
        out.line(format!("control targets: {}", or_none(&controls)))?;
        let allowed: Vec<String> = config.allowed.iter().map(ToString::to_string).collect();
        out.line(format!("addresses that are not public and that checks may reach: {}", or_none(&allowed)))?;
    }
    if !config.windows.is_empty() {
        let shown = config.windows.iter().map(|window| window.name.as_str()).collect::<Vec<_>>();
        out.line(format!("maintenance windows: {}", shown.join(", ")))?;
    }
    Ok(())
}

fn or_none(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

fn print_store(out: &mut Out, config: &Config, seen: Option<&Result<Seen, String>>) -> Result<(), Failure> {
    match seen {
        None if config.database_url.is_postgres() => {
            out.line(format!("store: {}, not looked at (--store does)", config.database_url))
        }
        None => out.line(format!("store: {}, made at the first start", config.database_url)),
        Some(Err(problem)) => out.line(format!("ERROR: {problem}")),
        Some(Ok(seen)) => {
            out.line(format!("store: {}, schema {}", config.database_url, seen.schema))?;
            for delivery in &seen.failed {
                let at = delivery.finished_at.map(when).unwrap_or_default();
                let why = delivery.detail.as_deref().unwrap_or("no reason known");
                out.line(format!(
                    "WARNING: a message to {:?} failed for good at {at} UTC: {why} (delivery {})",
                    delivery.receiver, delivery.id
                ))?;
            }
            Ok(())
        }
    }
}

fn print_json(
    ctx: &mut Context,
    config: &Config,
    ok: bool,
    problems: &[String],
    seen: Option<&Result<Seen, String>>,
) -> Result<(), Failure> {
    let store = seen.map(|seen| match seen {
        Ok(seen) => json!({
            "reachable": true,
            "schema": seen.schema,
            "failed_deliveries": seen.failed.iter().map(|delivery| json!({
                "id": delivery.id, "receiver": delivery.receiver, "at": delivery.finished_at.map(|at| at.to_string()), "detail": delivery.detail,
            })).collect::<Vec<_>>(),
        }),
        Err(problem) => json!({ "reachable": false, "problem": problem }),
    });
    let receivers: Vec<_> = config
        .receivers
        .iter()
        .map(|receiver| json!({ "name": receiver.name, "kind": receiver.kind.as_str() }))
        .collect();
    let value = json!({
        "ok": ok,
        "file": config.file,
        "settings": config.provenance(),
        "rules_on": config.rules.iter().filter(|rule| rule.enabled).count(),
        "rules_off": config.rules.iter().filter(|rule| !rule.enabled).count(),
        "apps": config.apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(),
        "receivers": receivers,
        "checks": config.checks.checks.iter().map(|check| json!({
            "name": check.name, "kind": check.kind.name(), "target": shown_target(&check.kind),
        })).collect::<Vec<_>>(),
        "maintenance": config.checks.windows.iter().map(|window| window.name.as_str()).collect::<Vec<_>>(),
        "control_targets": config.checks.controls.iter().map(|control| shown_target(&control.kind)).collect::<Vec<_>>(),
        "allow_networks": config.checks.allowed.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "warnings": config.warnings,
        "problems": problems,
        "store": store,
    });
    ctx.out.json(&value)
}

/// The kind and the target of a receiver, without secrets.
pub(crate) fn kind(kind: &ReceiverKind) -> String {
    match kind {
        ReceiverKind::Slack { channel, .. } => format!("slack {channel}"),
        ReceiverKind::Webhook { secret, .. } => {
            format!("webhook, {}", if secret.is_some() { "signed" } else { "not signed" })
        }
        ReceiverKind::Log { path: Some(path) } => format!("log {}", path.display()),
        ReceiverKind::Log { path: None } => "log on standard output".to_owned(),
    }
}

async fn reload(ctx: &mut Context, url: &str, token: Option<String>) -> Result<(), Failure> {
    let from_env = || ctx.load_offline().ok()?.api_tokens.first().map(|token| token.expose_secret().to_owned());
    let token = token.or_else(from_env).ok_or_else(|| {
        Failure::wrong(
            "--token is missing, and DYNOWATCH_API_TOKEN is not set: make a token with `dynowatch token create NAME`",
        )
    })?;
    let client =
        reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().map_err(anyhow::Error::from)?;
    let url = format!("{}/api/v1/config/reload", url.trim_end_matches('/'));
    let answer = client.post(url).bearer_auth(token).send().await;
    let answer =
        answer.map_err(|error| Failure::failed(format!("the server does not answer: {}", error.without_url())))?;
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    if status.is_success() {
        return if ctx.json {
            ctx.out.json(&json!({ "ok": true }))
        } else {
            ctx.out.line("the configuration was read again")
        };
    }
    let said: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
    let said =
        ["/error/detail", "/error/message"].iter().find_map(|at| said.pointer(at)?.as_str()).unwrap_or(text.trim());
    Err(Failure::Failed(match status.as_u16() {
        401 | 403 => "the server does not know this token".to_owned(),
        _ => format!("the server answered {status}; what was in force stays: {}", said.replace('\n', "; ")),
    }))
}
