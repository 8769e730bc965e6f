//! Alerts: what is and was wrong, with its proof and every decision about it.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::AlertId;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_engine::operate::OperateError;
use dynowatch_store::alerts::{AlertCursor, AlertFilter, AlertRow, AlertState};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::deliveries::{DeliverySummary, summary as delivery_summary};
use super::error::{ApiError, ErrorBody};
use super::{Asked, Named, Page, Sent, Time, id, limit, time_and_id, time_cursor};
use crate::auth::{Actor, Reach};
use crate::router::Web;
use crate::show::{decision, decision_name, masked, masked_bytes, measured, resolved_because};

/// An alert in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertSummary {
    /// Its id; `null` while it is pending.
    pub(crate) id: Option<String>,
    /// `rule/app` or `rule/app/group`; closes it at `POST /api/v1/alerts/resolve`.
    pub(crate) key: String,
    /// The rule's name.
    pub(crate) rule: String,
    /// The app's name today.
    pub(crate) app: String,
    /// The parts of its group.
    pub(crate) group: Vec<GroupPart>,
    /// `pending`, `firing` or `resolved`.
    pub(crate) state: &'static str,
    /// `info`, `warning` or `critical`.
    pub(crate) severity: Option<&'static str>,
    /// When it fired, or since when it is pending.
    pub(crate) since: Time,
    /// When it was over.
    pub(crate) resolved_at: Option<Time>,
    /// Why it is over.
    pub(crate) resolved_because: Option<String>,
    /// The newest count with its unit, as in `4 events`.
    pub(crate) measured: String,
    /// When that was: with the newest event, or at the last look. An open alert's window may hold less by now.
    pub(crate) measured_at: Time,
    /// The newest count.
    pub(crate) count: u64,
    /// For a ratio, all requests of the window.
    pub(crate) of: Option<u64>,
    /// The count may be too low: lines are missing.
    pub(crate) lower_bound: bool,
    /// The limit, as in `> 3`.
    pub(crate) threshold: String,
    /// The window, as in `5m`.
    pub(crate) window: String,
    /// The first event of the episode.
    pub(crate) first_at: Time,
    /// The newest event.
    pub(crate) last_at: Time,
    /// Whether anyone was told, or is to be told.
    pub(crate) told: bool,
    /// The alert of the same key before it.
    pub(crate) previous: Option<String>,
}

/// A part of a group.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct GroupPart {
    /// As in `dyno`.
    pub(crate) name: String,
    /// As in `web.1`.
    pub(crate) value: String,
}

/// An alert with its proof, as of when it fired.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertDetail {
    /// As in the list.
    #[serde(flatten)]
    summary: AlertSummary,
    /// What it means.
    meaning: String,
    /// What to type first.
    first_command: String,
    /// What it usually comes from.
    usual_causes: Vec<String>,
    /// Where to read on: a URL, or a path in the team's repository.
    runbook: Option<String>,
    /// The sentence about the newest release.
    release: String,
    /// Why the count may be too low.
    lower_bound_because: Vec<String>,
    /// Who is told.
    receivers: Vec<String>,
    /// Whether they are told of its end.
    send_resolved: bool,
    /// The lines it rests on and those around them, masked.
    evidence: Vec<Line>,
    /// What was decided, when and why, oldest first; at most 1,000, the newest.
    decisions: Vec<Decision>,
    /// Its messages, newest first; at most 1,000.
    deliveries: Vec<DeliverySummary>,
}

/// A line of a log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Line {
    /// Its own stamp.
    pub(crate) at: Time,
    /// `app` or `heroku`.
    pub(crate) source: &'static str,
    /// The name in brackets.
    pub(crate) process: String,
    /// The text, masked.
    pub(crate) text: String,
    /// Bytes that were cut off its end.
    pub(crate) cut_bytes: u64,
    /// Why it is here: `match`, `same_dyno` or `same_request`.
    pub(crate) role: &'static str,
}

/// A decision.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Decision {
    /// When.
    at: Time,
    /// `fired`, `notify`, `cooldown_held`, `merged`, `held_unknown` or `resolved`.
    decision: &'static str,
    /// What was decided and why.
    because: String,
}

/// Which alerts.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AlertsQuery {
    /// `pending`, `firing` or `resolved`.
    state: Option<String>,
    /// Only of the app of that name.
    app: Option<String>,
    /// Only of the rule of that name.
    rule: Option<String>,
    /// Items at most, 1 to 200; 50 when not given. Pending ones stand before them on the first page.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// Which alert to close.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resolve {
    /// `rule/app` or `rule/app/group`.
    key: String,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Resolved {
    /// The key.
    key: String,
    /// Whether something was open under it.
    was_open: bool,
}

/// Alerts, newest first.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "alerts", params(AlertsQuery), responses(
    (status = 200, description = "A page of alerts.", body = Page<AlertSummary>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Asked(query): Asked<AlertsQuery>,
) -> Result<Json<Page<AlertSummary>>, ApiError> {
    reach.asked(query.app.as_deref())?;
    let limit = limit(query.limit)?;
    let state = query
        .state
        .as_deref()
        .map(|name| {
            AlertState::named(name)
                .ok_or_else(|| ApiError::bad_request(&format!("state is {name:?}: write pending, firing or resolved")))
        })
        .transpose()?;
    let app = match &query.app {
        None => None,
        Some(name) => match web.engine.store().app_by_name(name).await? {
            Some(app) => Some(app.id),
            None => return Err(ApiError::not_found(&format!("no app is named {name:?}"))),
        },
    };
    let before = time_and_id(query.cursor.as_deref())?.map(|(fired_at, id)| AlertCursor { fired_at, id: AlertId(id) });
    // One more than asked for tells whether there is a next page.
    let mut rows = web
        .engine
        .store()
        .alerts(&AlertFilter { state, app, rule: query.rule, before, limit: limit + 1, ..AlertFilter::default() })
        .await?;
    let pending = rows.iter().filter(|row| row.id.is_none()).count();
    let more = rows.len() - pending > limit as usize;
    rows.truncate(pending + limit as usize);
    let next_cursor = rows.last().filter(|_| more).and_then(|row| Some(time_cursor(row.since, row.id?.0)));
    Ok(Json(Page { items: rows.iter().map(|row| summary(&web, row)).collect(), next_cursor }))
}

/// One alert with its proof.
#[utoipa::path(get, path = "/api/v1/alerts/{id}", tag = "alerts", params(("id" = String, Path, description = "The alert's id.")), responses(
    (status = 200, description = "The alert.", body = AlertDetail),
    (status = 404, description = "No such alert.", body = ErrorBody)))]
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(given): Named,
) -> Result<Json<AlertDetail>, ApiError> {
    let alert = web.engine.store().alert(AlertId(id(&given, "alert")?)).await?;
    reach.app(&alert.row.app_name)?;
    let details = &alert.row.details;
    let mask = |text: &str| masked(&web.engine, text);
    Ok(Json(AlertDetail {
        summary: summary(&web, &alert.row),
        meaning: details.meaning.clone(),
        first_command: details.first_command.clone(),
        usual_causes: details.usual_causes.clone(),
        runbook: details.runbook.clone(),
        release: mask(&details.release_sentence),
        lower_bound_because: details.lower_bound.clone(),
        receivers: details.receivers.clone(),
        send_resolved: details.send_resolved,
        evidence: alert.evidence.iter().map(|line| self::line(&web, line)).collect(),
        decisions: alert
            .decisions
            .iter()
            .map(|(at, effect)| Decision {
                at: (*at).into(),
                decision: decision_name(effect),
                because: decision(effect, &details.condition, &details.receivers),
            })
            .collect(),
        deliveries: alert.deliveries.iter().map(|delivery| delivery_summary(&web, delivery)).collect(),
    }))
}

/// Closes the alert that is open under a key, whatever its condition says. Closing what is not open does nothing.
#[utoipa::path(post, path = "/api/v1/alerts/resolve", tag = "alerts", request_body = Resolve, responses(
    (status = 200, description = "Nothing is open under it any more.", body = Resolved),
    (status = 400, description = "Not a key.", body = ErrorBody)))]
pub(crate) async fn resolve(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Sent(Resolve { key }): Sent<Resolve>,
) -> Result<Json<Resolved>, ApiError> {
    let meant = unmasked(&web, &key).await?;
    reach.asked(meant.split('/').nth(1))?;
    let was_open = match web.engine.close_alert(&meant, &actor.0).await {
        Err(OperateError::BadKey(_)) => return Err(OperateError::BadKey(key).into()),
        outcome => outcome?,
    };
    tracing::info!(actor = actor.0.name, key, was_open, "alert closed by key");
    Ok(Json(Resolved { key, was_open }))
}

/// The key that is meant by a shown one. A group may hold what looks like a secret, and is shown masked.
async fn unmasked(web: &Web, shown: &str) -> Result<String, ApiError> {
    if !shown.contains(dynowatch_domain::mask::MASKED) {
        return Ok(shown.to_owned());
    }
    for state in [AlertState::Firing, AlertState::Pending] {
        let filter = AlertFilter { state: Some(state), limit: 1_000, ..AlertFilter::default() };
        let open = web.engine.store().alerts(&filter).await?;
        let mut keys = open.iter().map(|row| row.key.show(&row.app_name).to_string());
        if let Some(key) = keys.find(|key| masked(&web.engine, key) == shown) {
            return Ok(key);
        }
    }
    Ok(shown.to_owned())
}

/// The limit and the window of an alert: as of when it fired, or of the rule in force while it is pending.
pub(crate) fn limits(web: &Web, row: &AlertRow) -> (String, String, String) {
    let details = &row.details;
    if !details.condition.is_empty() {
        return (details.condition.clone(), details.threshold.clone(), details.window.clone());
    }
    let rules = web.engine.rules();
    rules.get(&row.key.rule).map(|rule| &rule.condition).map_or_else(Default::default, |condition| {
        (condition.name().to_owned(), condition.threshold(), dynowatch_domain::parse::show_duration(condition.window()))
    })
}

pub(crate) fn summary(web: &Web, row: &AlertRow) -> AlertSummary {
    let (condition, threshold, window) = limits(web, row);
    let mask = |text: &str| masked(&web.engine, text);
    AlertSummary {
        id: row.id.map(|id| id.to_string()),
        key: mask(&row.key.show(&row.app_name).to_string()),
        rule: row.key.rule.clone(),
        app: row.app_name.clone(),
        group: row
            .key
            .group
            .pairs()
            .map(|(name, value)| GroupPart { name: name.to_owned(), value: mask(value) })
            .collect(),
        state: row.state.as_str(),
        severity: row.severity.map(|severity| severity.as_str()),
        since: row.since.into(),
        resolved_at: row.resolved_at.map(Time),
        resolved_because: row.resolve_reason.as_ref().map(resolved_because),
        // A check's alert has found something, not counted.
        measured: match condition.as_str() {
            "check" => mask(&row.details.measured),
            _ => measured(&condition, &row.facts),
        },
        measured_at: row.facts.at.into(),
        count: row.facts.count,
        of: row.facts.of,
        lower_bound: row.facts.lower_bound,
        threshold,
        window,
        first_at: row.facts.first_at.into(),
        last_at: row.facts.last_at.into(),
        told: row.told,
        previous: row.previous.map(|id| id.to_string()),
    }
}

pub(crate) fn line(web: &Web, line: &EvidenceLine) -> Line {
    Line {
        at: line.at.into(),
        source: line.source.as_str(),
        process: masked_bytes(&web.engine, &line.process),
        text: masked_bytes(&web.engine, &line.text),
        cut_bytes: line.cut_bytes,
        role: match line.role {
            Role::Match => "match",
            Role::SameDyno => "same_dyno",
            Role::SameRequest => "same_request",
        },
    }
}
