//! `alerts list|show|resolve`.

use dynowatch_domain::AlertId;
use dynowatch_domain::alert::{Effect, ResolveReason};
use dynowatch_domain::evidence::Role;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::Severity;
use dynowatch_store::Store;
use dynowatch_store::alerts::{Alert, AlertFilter, AlertRow, AlertState};
use serde_json::{Value, json};

use super::context::Context;
use super::failure::Failure;
use super::out::{Out, when};
use crate::server::masker;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Newest first; pending ones before all others
    List {
        /// Only in this state
        #[arg(long, value_parser = ["pending", "firing", "resolved"])]
        state: Option<String>,
        /// Only of this app
        #[arg(long, value_name = "NAME")]
        app: Option<String>,
        /// Only of this rule
        #[arg(long, value_name = "NAME")]
        rule: Option<String>,
        /// How many at most
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// One alert: numbers, evidence with context, every decision, messages
    Show {
        /// Its id, or a key such as h12/shop-web for the newest one of that key
        id: String,
    },
    /// Close the alert that is open under a key; what is not open stays as it is
    Resolve {
        /// rule/app or rule/app/group, as the list prints it
        key: String,
    },
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let masker = masker(&config);
    match command {
        Command::List { state, app, rule, limit } => {
            let store = ctx.store(&config).await?;
            let app = match &app {
                Some(name) => Some(app_named(&store, name).await?),
                None => None,
            };
            let state = state.as_deref().and_then(AlertState::named);
            let alerts = store.alerts(&AlertFilter { state, app, rule, limit, ..AlertFilter::default() }).await?;
            list(ctx, &masker, &alerts)
        }
        Command::Show { id } => {
            let store = ctx.store(&config).await?;
            let id = find(&store, &id).await?;
            let alert = store.alert(id).await?;
            show(ctx, &masker, &alert)
        }
        Command::Resolve { key } => {
            let engine = ctx.engine(&config).await?;
            let was_open = engine.close_alert(&key, &ctx.actor()).await?;
            engine.store().close().await;
            match (ctx.json, was_open) {
                (true, _) => ctx.out.json(&json!({ "key": key, "was_open": was_open })),
                (false, true) => ctx.out.line(format!("{key} is closed")),
                (false, false) => ctx.out.line(format!("nothing is open under {key}")),
            }
        }
    }
}

async fn app_named(store: &Store, name: &str) -> Result<dynowatch_domain::AppId, Failure> {
    let app = store.app_by_name(name).await?;
    app.map(|app| app.id)
        .ok_or_else(|| Failure::failed(format!("no app is named {name:?}; `dynowatch apps list` shows all")))
}

/// The alert with this id, or the newest of this key.
async fn find(store: &Store, text: &str) -> Result<AlertId, Failure> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let mut parts = text.splitn(3, '/');
    let (Some(rule), Some(app)) = (parts.next(), parts.next()) else {
        return Err(Failure::wrong(format!(
            "{text:?} is neither an id nor a key such as h12/shop-web; `dynowatch alerts list` shows both"
        )));
    };
    let group = parts.next().unwrap_or_default();
    let filter = AlertFilter {
        app: Some(app_named(store, app).await?),
        rule: Some(rule.to_owned()),
        limit: 1_000,
        ..AlertFilter::default()
    };
    let alerts = store.alerts(&filter).await?;
    let found = alerts.iter().find_map(|alert| alert.id.filter(|_| alert.key.group.0 == group));
    found.ok_or_else(|| Failure::failed(format!("there has been no alert under {text}")))
}

fn key(alert: &AlertRow, masker: &Masker) -> String {
    masker.mask(&alert.key.show(&alert.app_name).to_string()).into_owned()
}

fn numbers(alert: &AlertRow) -> String {
    let count = match alert.facts.of {
        Some(of) => format!("{} of {of} requests", alert.facts.count),
        None => format!("{} events", alert.facts.count),
    };
    let count = if alert.facts.lower_bound { format!("at least {count}") } else { count };
    if alert.details.threshold.is_empty() {
        return count;
    }
    format!("{count} in {} (limit {})", alert.details.window, alert.details.threshold)
}

fn told(alert: &AlertRow) -> &'static str {
    match (alert.told, alert.details.receivers.is_empty()) {
        _ if alert.state == AlertState::Pending => "not fired yet",
        (true, false) => "told",
        (true, true) | (false, true) => "sent to nobody",
        (false, false) => "waits for the cool-down",
    }
}

fn list(ctx: &mut Context, masker: &Masker, alerts: &[AlertRow]) -> Result<(), Failure> {
    if ctx.json {
        return ctx.out.json(&alerts.iter().map(|alert| row_json(alert, masker)).collect::<Vec<_>>());
    }
    if alerts.is_empty() {
        return ctx.out.line("no alerts");
    }
    ctx.out.line("STATE     SINCE (UTC)          KEY")?;
    for alert in alerts {
        ctx.out.line(format!("{:<8}  {}  {}", alert.state.as_str(), when(alert.since), key(alert, masker)))?;
        let id = alert.id.map(|id| format!("; {id}")).unwrap_or_default();
        ctx.out.line(format!("          {}; {}{id}", numbers(alert), told(alert)))?;
    }
    Ok(())
}

fn row_json(alert: &AlertRow, masker: &Masker) -> Value {
    json!({
        "id": alert.id,
        "key": key(alert, masker),
        "rule": alert.key.rule,
        "app": alert.app_name,
        "group": masker.mask(&alert.key.group.0),
        "state": alert.state,
        "severity": alert.severity.map(Severity::as_str),
        "since": alert.since.to_string(),
        "resolved_at": alert.resolved_at.map(|at| at.to_string()),
        "resolve_reason": alert.resolve_reason,
        "count": alert.facts.count,
        "of": alert.facts.of,
        "lower_bound": alert.facts.lower_bound,
        "window": alert.details.window,
        "threshold": alert.details.threshold,
        "first_at": alert.facts.first_at.to_string(),
        "measured_at": alert.facts.at.to_string(),
        "last_at": alert.facts.last_at.to_string(),
        "told": alert.told,
        "receivers": alert.details.receivers,
        "release": masker.mask(&alert.details.release_sentence),
        "runbook": alert.details.runbook,
        "previous": alert.previous,
    })
}

fn show(ctx: &mut Context, masker: &Masker, alert: &Alert) -> Result<(), Failure> {
    if ctx.json {
        return ctx.out.json(&alert_json(alert, masker));
    }
    facts(&mut ctx.out, masker, &alert.row)?;
    let out = &mut ctx.out;
    out.line("")?;
    out.line("Evidence (> matched, others are context)")?;
    for line in &alert.evidence {
        let mark = if line.role == Role::Match { ">" } else { " " };
        out.line(format!("{mark} {}", masker.mask(&line.show())))?;
    }
    out.line("")?;
    out.line("Decisions")?;
    for (at, effect) in &alert.decisions {
        out.line(format!("  {}  {}", when(*at), decision(effect)))?;
    }
    out.line("")?;
    out.line(if alert.deliveries.is_empty() { "Messages: none" } else { "Messages" })?;
    for delivery in &alert.deliveries {
        let why = delivery.detail.as_deref().map(|why| format!(": {}", masker.mask(why))).unwrap_or_default();
        let (at, kind, state) = (when(delivery.intended_at), delivery.kind.as_str(), delivery.state.as_str());
        out.line(format!("  {at}  {kind} to {}, {state}{why}", delivery.receiver))?;
    }
    Ok(())
}

fn facts(out: &mut Out, masker: &Masker, alert: &AlertRow) -> Result<(), Failure> {
    let details = &alert.details;
    let resolved = alert
        .resolved_at
        .map(|at| format!("{} UTC, {}", when(at), alert.resolve_reason.as_ref().map(reason).unwrap_or_default()));
    let lines = [
        ("id", alert.id.map(|id| id.to_string()).unwrap_or_default()),
        ("key", key(alert, masker)),
        ("state", alert.state.as_str().to_owned()),
        ("severity", alert.severity.map(|severity| severity.as_str().to_owned()).unwrap_or_default()),
        ("since", format!("{} UTC", when(alert.since))),
        ("resolved", resolved.unwrap_or_default()),
        ("numbers", numbers(alert)),
        ("as of", format!("{} UTC", when(alert.facts.at))),
        ("first", format!("{} UTC", when(alert.facts.first_at))),
        ("last", format!("{} UTC", when(alert.facts.last_at))),
        ("too low", details.lower_bound.join("; ")),
        ("takes", details.matches.clone()),
        ("meaning", details.meaning.split_whitespace().collect::<Vec<_>>().join(" ")),
        ("do first", details.first_command.clone()),
        ("causes", details.usual_causes.join("; ")),
        ("runbook", details.runbook.clone().unwrap_or_default()),
        ("release", masker.mask(&details.release_sentence).into_owned()),
        (
            "told",
            if details.receivers.is_empty() {
                "nobody: the rule names no receiver".to_owned()
            } else {
                details.receivers.join(", ")
            },
        ),
        ("before it", alert.previous.map(|id| id.to_string()).unwrap_or_default()),
    ];
    lines.iter().filter(|(_, text)| !text.is_empty()).try_for_each(|(name, text)| out.line(format!("{name:<10}{text}")))
}

fn reason(reason: &ResolveReason) -> String {
    match reason {
        ResolveReason::ConditionFalse => "its condition was false for long enough".to_owned(),
        ResolveReason::ClosedByOperator { by } => format!("closed by {by}"),
        ResolveReason::RuleGone => "its rule was switched off, removed or changed".to_owned(),
    }
}

fn decision(effect: &Effect) -> String {
    match effect {
        Effect::PendingBegan { fires_at } => format!("pending; fires at {} if it lasts", when(*fires_at)),
        Effect::PendingDropped { at } => format!("pending ended at {}", when(*at)),
        Effect::Fired { silent_until: Some(until), .. } => {
            format!("fired, inside the cool-down of its predecessor: silent until {}", when(*until))
        }
        Effect::Fired { .. } => "fired".to_owned(),
        Effect::Notify { kind, suppressed, cooldown_until, .. } => {
            let held = if *suppressed > 0 { format!(", {suppressed} held back before") } else { String::new() };
            format!("message {:?}{held}; the next not before {}", kind.as_str(), when(*cooldown_until))
        }
        Effect::CooldownHeld { until, .. } => format!("held back: the cool-down lasts until {}", when(*until)),
        Effect::Merged { .. } => "further matches joined it although its condition no longer held".to_owned(),
        Effect::HeldUnknown { .. } => "stays as it is: we were blind and cannot judge".to_owned(),
        Effect::Resolved { reason: why, .. } => format!("resolved: {}", reason(why)),
    }
}

fn alert_json(alert: &Alert, masker: &Masker) -> Value {
    let mut value = row_json(&alert.row, masker);
    let evidence: Vec<_> =
        alert.evidence.iter().map(|line| json!({ "role": line.role, "line": masker.mask(&line.show()) })).collect();
    let decisions: Vec<_> = alert
        .decisions
        .iter()
        .map(|(at, effect)| json!({ "at": at.to_string(), "decision": decision(effect) }))
        .collect();
    let deliveries: Vec<_> =
        alert.deliveries.iter().map(|delivery| super::deliveries::as_json(delivery, masker)).collect();
    let details = &alert.row.details;
    if let Value::Object(map) = &mut value {
        map.extend([
            ("takes".to_owned(), details.matches.clone().into()),
            ("meaning".to_owned(), details.meaning.clone().into()),
            ("first_command".to_owned(), details.first_command.clone().into()),
            ("usual_causes".to_owned(), details.usual_causes.clone().into()),
            ("lower_bound_because".to_owned(), details.lower_bound.clone().into()),
            ("evidence".to_owned(), evidence.into()),
            ("decisions".to_owned(), decisions.into()),
            ("deliveries".to_owned(), deliveries.into()),
        ]);
    }
    value
}
