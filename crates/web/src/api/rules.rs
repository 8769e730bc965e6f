//! Rules: all of them, what each means, and switching one off for a while. They are written in the file, not here.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::Timestamp;
use dynowatch_domain::blind::BlindReason;
use dynowatch_domain::parse::{duration, show_duration};
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_engine::operate::OperateError;
use dynowatch_store::rules::RuleOverride;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::{Asked, Named, Page, Sent, Time, by_name};
use crate::auth::Actor;
use crate::router::Web;

/// The longest time a rule may be switched off for: who wants longer writes it into the file.
const DISABLE_MAX: Duration = Duration::from_secs(30 * 86_400);

/// A rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RuleInfo {
    /// Its name.
    name: String,
    /// `built_in`, `file` or `store`.
    origin: &'static str,
    /// Whether the configuration has it switched on.
    enabled: bool,
    /// Whether it is in force: enabled, and not switched off for a while.
    active: bool,
    /// Until when it is switched off, and by whom.
    quieted: Option<Quieted>,
    /// Why it cannot be judged at present, so that it neither fires nor resolves; `null` when it is judged.
    unknown: Option<UnknownInfo>,
    /// `info`, `warning` or `critical`.
    severity: &'static str,
    /// `count`, `ratio`, `absence` or `threshold`.
    kind: &'static str,
    /// In words, as in `> 3 in 5m`.
    condition: String,
    /// Which lines it takes.
    matches: MatchInfo,
    /// What separates its alerts, besides the app.
    group_by: Vec<&'static str>,
    /// How long the condition must hold before an alert fires, as in `0s`.
    pending_for: String,
    /// After a message, how long without another.
    cooldown: String,
    /// How long the condition must be false before an alert resolves.
    resolve_after: String,
    /// Who is told. None: alerts are recorded and shown, not sent.
    receivers: Vec<String>,
    /// Whether they are told of an alert's end.
    send_resolved: bool,
    /// Names of its apps, with `*`; none means all.
    apps: Vec<String>,
    /// Where to read on.
    runbook: Option<String>,
    /// Help for whoever is woken.
    guidance: GuidanceInfo,
}

/// Why a rule cannot be judged.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnknownInfo {
    /// Since when.
    since: Time,
    /// `unwritten`: the metrics that it rests on cannot be written, mostly for lack of room.
    reason: &'static str,
}

/// A rule that is switched off for a while.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Quieted {
    /// Until when.
    until: Time,
    /// Who wanted it.
    by: String,
    /// Since when.
    since: Time,
}

/// Which lines a rule takes; an empty part asks nothing.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MatchInfo {
    /// Codes of Heroku.
    code: Vec<String>,
    /// Parsed kinds.
    kind: Vec<&'static str>,
    /// `app` or `heroku`.
    source: Option<&'static str>,
    /// Process types, with `*`.
    process: Vec<String>,
    /// Dynos, with `*`.
    dyno: Vec<String>,
    /// Texts, any of them.
    text: Vec<String>,
    /// A regular expression.
    regex: Option<String>,
    /// Statuses, as in `503` and `5xx`.
    status: Vec<String>,
    /// Beginnings of a path.
    path_prefix: Vec<String>,
}

/// Help for whoever is woken.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GuidanceInfo {
    /// What it means when this fires.
    meaning: String,
    /// The first command to type; `{app}` stands for the app's name.
    first_command: String,
    /// What it usually was.
    usual_causes: Vec<String>,
}

/// Which rules.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct RulesQuery {
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// For how long.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Disable {
    /// As in `2h`; at most `30d`.
    #[serde(rename = "for")]
    lasting: String,
}

/// Rules, by name; switched-off ones too.
#[utoipa::path(get, path = "/api/v1/rules", tag = "rules", params(RulesQuery), responses(
    (status = 200, description = "A page of rules.", body = Page<RuleInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    Asked(query): Asked<RulesQuery>,
) -> Result<Json<Page<RuleInfo>>, ApiError> {
    let overrides = web.engine.store().disabled_rules(web.engine.now()).await?;
    let book = web.engine.rules();
    let (rules, next_cursor) = by_name(book.iter(), |rule| &rule.name, query.limit, query.cursor.as_deref())?;
    Ok(Json(Page { items: rules.into_iter().map(|rule| info(&web, rule, &overrides)).collect(), next_cursor }))
}

/// One rule.
#[utoipa::path(get, path = "/api/v1/rules/{name}", tag = "rules", params(("name" = String, Path, description = "The rule's name.")), responses(
    (status = 200, description = "The rule.", body = RuleInfo),
    (status = 404, description = "No rule of that name.", body = ErrorBody)))]
pub(crate) async fn show(State(web): State<Arc<Web>>, Named(name): Named) -> Result<Json<RuleInfo>, ApiError> {
    one(&web, &name).await.map(Json)
}

/// Switches a rule off for a while. What is open under it is closed without a message. A second word replaces the first.
#[utoipa::path(post, path = "/api/v1/rules/{name}/disable", tag = "rules", request_body = Disable, params(("name" = String, Path, description = "The rule's name.")), responses(
    (status = 200, description = "The rule, switched off.", body = RuleInfo),
    (status = 400, description = "Not a duration, or too long.", body = ErrorBody),
    (status = 404, description = "No rule of that name.", body = ErrorBody)))]
pub(crate) async fn disable(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
    Sent(asked): Sent<Disable>,
) -> Result<Json<RuleInfo>, ApiError> {
    let lasting = duration(&asked.lasting).map_err(|error| ApiError::bad_request(&format!("for: {}", error.0)))?;
    if lasting.is_zero() || lasting > DISABLE_MAX {
        return Err(ApiError::bad_request(&format!(
            "for: a rule can be switched off for more than 0s and at most {}; for good, set `enabled = false` in the file",
            show_duration(DISABLE_MAX)
        )));
    }
    let until = web.engine.disable_rule(&name, lasting, &actor.0).await?;
    tracing::info!(actor = actor.0.name, rule = name, %until, "rule switched off for a while");
    one(&web, &name).await.map(Json)
}

/// Switches a rule on again before its time. One that is on stays so; one that the file switches off stays off.
#[utoipa::path(post, path = "/api/v1/rules/{name}/enable", tag = "rules", params(("name" = String, Path, description = "The rule's name.")), responses(
    (status = 200, description = "The rule.", body = RuleInfo),
    (status = 404, description = "No rule of that name.", body = ErrorBody)))]
pub(crate) async fn enable(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<Json<RuleInfo>, ApiError> {
    let was_off = web.engine.enable_rule(&name, &actor.0).await?;
    tracing::info!(actor = actor.0.name, rule = name, was_off, "rule switched on again");
    one(&web, &name).await.map(Json)
}

async fn one(web: &Web, name: &str) -> Result<RuleInfo, ApiError> {
    let overrides = web.engine.store().disabled_rules(web.engine.now()).await?;
    let book = web.engine.rules();
    let rule = book.get(name).ok_or_else(|| OperateError::NoRule { name: name.to_owned() })?;
    Ok(info(web, rule, &overrides))
}

/// Since when a rule cannot be judged, because what it rests on cannot be written. A count rests on lines alone.
pub(crate) fn unknown_since(web: &Web, rule: &Rule) -> Option<Timestamp> {
    let rests_on_metrics = rule.condition.reads_buckets() || matches!(rule.condition, Condition::Threshold(_));
    web.engine.levels_unknown_since().filter(|_| rests_on_metrics)
}

fn info(web: &Web, rule: &Rule, overrides: &[RuleOverride]) -> RuleInfo {
    let (m, guidance) = (&rule.matches, &rule.guidance);
    let words = |globs: &[dynowatch_domain::parse::Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    RuleInfo {
        name: rule.name.clone(),
        origin: rule.origin.as_str(),
        enabled: rule.enabled,
        active: web.engine.rules().active(&rule.name).is_some(),
        quieted: overrides.iter().find(|over| over.rule == rule.name).map(|over| Quieted {
            until: over.disabled_until.into(),
            by: over.by_whom.clone(),
            since: over.created_at.into(),
        }),
        unknown: unknown_since(web, rule)
            .map(|since| UnknownInfo { since: since.into(), reason: BlindReason::Unwritten.as_str() }),
        severity: rule.severity.as_str(),
        kind: rule.condition.name(),
        condition: rule.condition.to_string(),
        matches: MatchInfo {
            code: m.code.iter().map(ToString::to_string).collect(),
            kind: m.kind.iter().map(|kind| kind.as_str()).collect(),
            source: m.source.map(|source| source.as_str()),
            process: words(&m.process),
            dyno: words(&m.dyno),
            text: m.text.clone(),
            regex: m.regex.clone(),
            status: m.status.iter().map(ToString::to_string).collect(),
            path_prefix: m.path_prefix.clone(),
        },
        group_by: rule.group_by.iter().map(|by| by.as_str()).collect(),
        pending_for: show_duration(rule.pending_for),
        cooldown: show_duration(rule.cooldown),
        resolve_after: show_duration(rule.resolve_after),
        receivers: rule.receivers.clone(),
        send_resolved: rule.send_resolved,
        apps: words(&rule.apps),
        runbook: rule.runbook.clone(),
        guidance: GuidanceInfo {
            meaning: guidance.meaning.clone(),
            first_command: guidance.first_command.clone(),
            usual_causes: guidance.usual_causes.clone(),
        },
    }
}
