//! Apps: what is known of each, and what was counted since this process began.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::Timestamp;
use dynowatch_domain::metric;
use dynowatch_domain::signal::Kind;
use dynowatch_engine::App;
use dynowatch_engine::totals::{AppTotals, Counts, Malformed};
use dynowatch_store::apps::App as Stored;
use dynowatch_store::heroku::Wanted;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::heroku::{AppAtHeroku, at_heroku};
use super::{Asked, Named, Page, Sent, Time, by_name};
use crate::auth::{Actor, Reach};
use crate::router::Web;
use crate::show::{masked, shortened};

/// How far back releases are listed.
const RELEASES_SHOWN: Duration = Duration::from_secs(7 * 86_400);
/// The most releases that are listed.
const RELEASES_MAX: usize = 20;

/// An app in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppSummary {
    /// Its id, for good.
    pub(crate) id: String,
    /// What the team calls it.
    pub(crate) name: String,
    /// Where it comes from: `file`, `adopted` (named after its drain token until it is renamed), `url` or `heroku`.
    pub(crate) origin: &'static str,
    /// A host that its router lines name.
    pub(crate) host_hint: Option<String>,
    /// Since when it is known.
    pub(crate) created_at: Time,
    /// The stamp of its newest line.
    pub(crate) last_line_at: Option<Time>,
    /// Lines since `counted_since`.
    pub(crate) lines: u64,
    /// Platform errors (H, R and L codes) since `counted_since`.
    pub(crate) platform_errors: u64,
    /// When this process began to count.
    pub(crate) counted_since: Time,
}

/// An app with its counts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppDetail {
    /// As in the list.
    #[serde(flatten)]
    summary: AppSummary,
    /// Lines by kind, only kinds that were seen.
    kinds: Vec<KindCount>,
    /// Platform errors by code.
    codes: Vec<CodeCount>,
    /// Requests by the class of their status.
    status_classes: Vec<StatusCount>,
    /// Frames that could not be read, by reason.
    malformed: Vec<ReasonCount>,
    /// Sum of the router's `service=`, in milliseconds.
    service_ms: u64,
    /// Sum of the router's `connect=`, in milliseconds.
    connect_ms: u64,
    /// Sum of the router's `bytes=`.
    bytes: u64,
    /// Batches (POSTs of Logplex).
    batches: u64,
    /// Batches that had been counted before.
    duplicates: u64,
    /// Lines with a stamp too far ahead, counted as arrived at once.
    lines_ahead: u64,
    /// Series that this process knows of it; at most 10,000.
    series: usize,
    /// Values of series that found no room.
    series_refused: u64,
    /// Lines too old for metrics: over two hours.
    lines_late: u64,
    /// The newest value of every level that its drain tells of.
    samples: Vec<Sample>,
    /// Its drain tokens, shortened.
    tokens: Vec<Token>,
    /// Its releases of the last seven days, as the drain told of them and the Heroku account adds, newest first; at most 20.
    releases: Vec<ReleaseInfo>,
    /// What the Heroku account says of it; `null` without a key, or where the account does not have it.
    heroku: Option<AppAtHeroku>,
}

/// How many lines of one kind.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KindCount {
    /// As in a rule's `match.kind`.
    kind: &'static str,
    /// How many.
    lines: u64,
}

/// How many errors of one code.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CodeCount {
    /// As in `H12`.
    code: String,
    /// How many.
    count: u64,
}

/// How many requests of one class.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusCount {
    /// `1xx` to `5xx`, or `none` for requests without a status.
    class: &'static str,
    /// How many.
    requests: u64,
}

/// How many frames for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReasonCount {
    /// As in `bad_count`.
    pub(crate) reason: &'static str,
    /// How many.
    pub(crate) frames: u64,
}

/// A metric's newest value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sample {
    /// What it is about: a dyno, a database, an add-on.
    source: String,
    /// The metric, as in `GET /api/v1/series`.
    name: String,
    /// Its value in the metric's unit; `null` when it is no number.
    value: Option<f64>,
    /// When it was so.
    at: Time,
}

/// A drain token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Token {
    /// Its beginning and its end.
    token: String,
    /// `file`, `adopted`, `url` or `heroku`.
    origin: &'static str,
    /// Since when it is known.
    created_at: Time,
}

/// A release.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReleaseInfo {
    /// When it was created.
    at: Time,
    /// `124` of `v124`.
    version: Option<u32>,
    /// What it changed, in words.
    kind: &'static str,
    /// Who made it.
    actor: Option<String>,
    /// The cause, as Heroku said it.
    what: Option<String>,
    /// Whether Heroku's API was asked about it: then `actor` is its true author.
    verified: bool,
    /// Whether it runs other code than the release before; `null` when that is not known.
    code_changed: Option<bool>,
    /// The commit its code was built from, where the code changed.
    commit: Option<String>,
    /// `pending`, `succeeded` or `failed`, where Heroku said so.
    status: Option<String>,
}

/// Which apps.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct AppsQuery {
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// A new name.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rename {
    /// 1 to 100 letters, digits, `-`, `_` or `.`.
    name: String,
}

/// The classes of statuses, in the order of the counters.
pub(crate) const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

/// Apps, by name.
#[utoipa::path(get, path = "/api/v1/apps", tag = "apps", params(AppsQuery), responses(
    (status = 200, description = "A page of apps.", body = Page<AppSummary>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Asked(query): Asked<AppsQuery>,
) -> Result<Json<Page<AppSummary>>, ApiError> {
    let mut stored = web.engine.store().apps().await?;
    stored.retain(|app| reach.app(&app.name).is_ok());
    let (apps, next_cursor) = by_name(stored, |app| &app.name, query.limit, query.cursor.as_deref())?;
    Ok(Json(Page { items: apps.iter().map(|app| summary(&web, app)).collect(), next_cursor }))
}

/// One app with its counts.
#[utoipa::path(get, path = "/api/v1/apps/{name}", tag = "apps", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "The app.", body = AppDetail),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<AppDetail>, ApiError> {
    reach.app(&name)?;
    detail(&web, &name).await.map(Json)
}

/// Gives an app another name. Its alerts, windows and drains stay its own.
#[utoipa::path(patch, path = "/api/v1/apps/{name}", tag = "apps", request_body = Rename, params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "The app under its new name.", body = AppDetail),
    (status = 400, description = "Not a name.", body = ErrorBody),
    (status = 404, description = "No app of that name.", body = ErrorBody),
    (status = 409, description = "Another app has that name.", body = ErrorBody)))]
pub(crate) async fn rename(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(from): Named,
    Sent(to): Sent<Rename>,
) -> Result<Json<AppDetail>, ApiError> {
    reach.app(&from)?;
    web.engine.rename_app(&from, &to.name, &actor.0).await?;
    tracing::info!(actor = actor.0.name, from, to = to.name, "app renamed");
    detail(&web, &to.name).await.map(Json)
}

async fn detail(web: &Web, name: &str) -> Result<AppDetail, ApiError> {
    let store = web.engine.store();
    let stored =
        store.app_by_name(name).await?.ok_or_else(|| ApiError::not_found(&format!("no app is named {name:?}")))?;
    let live = live(web, &stored);
    let (counts, codes) =
        live.as_ref().map(|app| web.engine.totals(app, |t| (t.counts.clone(), codes(t)))).unwrap_or_default();
    let bounds = live.as_ref().map(|app| web.engine.series_bounds(app)).unwrap_or_default();
    let latest = live.map(|app| web.engine.latest(&app)).unwrap_or_default();
    let tokens = store.drain_tokens(Some(stored.id)).await?;
    let mut releases: Vec<_> = store.releases_since(web.engine.now() - RELEASES_SHOWN).await?;
    releases.retain(|(app, _)| *app == stored.id);
    let heroku = store.heroku_apps(Wanted::App(stored.id)).await?.pop();
    Ok(AppDetail {
        summary: summary(web, &stored),
        kinds: Kind::ALL
            .iter()
            .zip(counts.kinds)
            .filter(|(_, n)| *n > 0)
            .map(|(kind, lines)| KindCount { kind: kind.as_str(), lines })
            .collect(),
        codes,
        status_classes: STATUS_CLASSES
            .into_iter()
            .zip(counts.status_classes)
            .filter(|(_, n)| *n > 0)
            .map(|(class, requests)| StatusCount { class, requests })
            .collect(),
        malformed: malformed(&counts),
        service_ms: counts.service_ms,
        connect_ms: counts.connect_ms,
        bytes: counts.bytes,
        batches: counts.batches,
        duplicates: counts.duplicates,
        lines_ahead: counts.ahead,
        series: bounds.series,
        series_refused: bounds.refused,
        lines_late: bounds.late,
        samples: latest
            .into_iter()
            .filter(|latest| latest.key.kind == metric::Kind::Gauge)
            .map(|latest| Sample {
                source: masked(&web.engine, &latest.key.source),
                name: masked(&web.engine, &latest.key.metric),
                value: Some(latest.value).filter(|v| v.is_finite()),
                at: latest.at.into(),
            })
            .collect(),
        tokens: tokens
            .iter()
            .map(|t| Token { token: shortened(&t.token), origin: t.origin.as_str(), created_at: t.created_at.into() })
            .collect(),
        releases: releases
            .into_iter()
            .rev()
            .take(RELEASES_MAX)
            .map(|(_, r)| ReleaseInfo {
                at: r.at.into(),
                version: r.version,
                kind: r.kind.as_str(),
                actor: r.actor.map(|text| masked(&web.engine, &text)),
                what: r.what.map(|text| masked(&web.engine, &text)),
                verified: r.from_api.is_some(),
                code_changed: r.from_api.as_ref().and_then(|api| api.code_changed),
                commit: r.from_api.as_ref().and_then(|api| api.commit.clone()),
                status: r.from_api.and_then(|api| api.status),
            })
            .collect(),
        heroku: heroku.map(|app| at_heroku(web, app)),
    })
}

fn codes(totals: &AppTotals) -> Vec<CodeCount> {
    totals.codes.iter().map(|(code, count)| CodeCount { code: code.to_string(), count: *count }).collect()
}

/// Frames that could not be read, by reason, only reasons that were met.
pub(crate) fn malformed(counts: &Counts) -> Vec<ReasonCount> {
    Malformed::ALL
        .iter()
        .zip(counts.malformed)
        .filter(|(_, n)| *n > 0)
        .map(|(reason, frames)| ReasonCount { reason: reason.as_str(), frames })
        .collect()
}

fn live(web: &Web, stored: &Stored) -> Option<Arc<App>> {
    web.engine.apps().by_id(stored.id).cloned()
}

/// Lines, platform errors and the newest stamp of an app in this process.
pub(crate) fn seen(web: &Web, stored: &Stored) -> (u64, u64, Option<Timestamp>) {
    let (lines, errors, newest) = live(web, stored)
        .map(|app| {
            web.engine.totals(&app, |t| {
                (t.counts.lines(), t.codes.values().sum(), Some(t.newest_at).filter(|at| *at > Timestamp::UNIX_EPOCH))
            })
        })
        .unwrap_or_default();
    (lines, errors, newest.max(stored.last_line_at))
}

/// The newest stamp of any line in this process.
pub(crate) fn newest_line_at(web: &Web) -> Option<Timestamp> {
    let apps = web.engine.apps();
    let newest = apps.iter().map(|app| web.engine.totals(app, |totals| totals.newest_at)).max();
    newest.filter(|at| *at > Timestamp::UNIX_EPOCH)
}

fn summary(web: &Web, stored: &Stored) -> AppSummary {
    let (lines, platform_errors, last_line_at) = seen(web, stored);
    AppSummary {
        id: stored.id.to_string(),
        name: stored.name.clone(),
        origin: stored.origin.as_str(),
        host_hint: stored.host_hint.as_deref().map(|host| masked(&web.engine, host)),
        created_at: stored.created_at.into(),
        last_line_at: last_line_at.map(Time),
        lines,
        platform_errors,
        counted_since: web.engine.started_at().into(),
    }
}
