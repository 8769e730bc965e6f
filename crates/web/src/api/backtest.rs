//! A rule on the past, by the API: what would it have told? Nothing is saved or sent.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use bytes::Buf as _;
use dynowatch_engine::backtest::{Backtest, BacktestError};
use dynowatch_engine::objects::ObjectError;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::bounded::Bounded;
use super::error::{ApiError, ErrorBody};
use super::{Sent, Time};
use crate::pages::rules::backtest::TRIAL;
use crate::router::{UPLOAD_WAIT_MAX, Web};

/// A rule, and what it is to be tried on.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The rule, with the keys of `[[rules]]` in the configuration file but for its name.
    #[schema(value_type = Object)]
    rule: Bounded,
    /// A log to try it on, as text: what `heroku logs`, a drain or Papertrail gives. Without a log the rule is tried on the
    /// lines that this instance has.
    log: Option<String>,
    /// The same in base64, for what is packed with gzip or no UTF-8.
    log_base64: Option<String>,
    /// Whose log it is: groups and messages name it.
    app: Option<String>,
}

/// What the rule would have done.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BacktestInfo {
    /// Lines that it takes.
    matched: u64,
    /// Alerts that would have fired.
    fired: u64,
    /// Messages to each of its receivers.
    messages: u64,
    /// The first of what would have happened, at most a hundred.
    happenings: Vec<HappeningInfo>,
    /// What this rests on.
    coverage: CoverageInfo,
}

/// An alert that would have fired, or been over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HappeningInfo {
    /// `firing`, `fired_silently` (inside the cool-down of the one before) or `resolved`.
    what: &'static str,
    /// When.
    at: Time,
    /// The app and the group, as in `shop-web/path_prefix=/orders`.
    on: String,
    /// What was measured, with its unit.
    measured: Option<String>,
    /// The lines it rests on and those around them, masked.
    evidence: Vec<String>,
}

/// What an answer rests on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CoverageInfo {
    /// `stored`: what this instance has; `log`: what was sent.
    of: &'static str,
    /// Lines that were looked at.
    lines: u64,
    /// Values of metrics that were looked at, of ten seconds each: what a rule on a metric is tried on.
    values: u64,
    /// Lines that could not be read.
    malformed: u64,
    /// The stamp of the oldest.
    from: Option<Time>,
    /// The stamp of the newest.
    until: Option<Time>,
    /// The apps they are of.
    apps: Vec<String>,
    /// Since when all lines of an app were there; before, only those that rules took and those around alerts.
    whole_since: Vec<WholeSince>,
    /// What is missing, in sentences.
    missing: Vec<String>,
}

/// Since when all lines of an app were there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WholeSince {
    /// The app.
    app: String,
    /// The oldest line in memory.
    since: Time,
}

/// Tries a rule on the past. Nothing is saved or sent. The body may be 16 MiB long, the rule in it 64 KiB. Two are tried at a time; who finds no place is told so before the body is read.
#[utoipa::path(post, path = "/api/v1/backtest", tag = "rules", request_body = Asked, responses(
    (status = 200, description = "What it would have done, and what that rests on.", body = BacktestInfo),
    (status = 400, description = "Something is wrong with the rule or the log.", body = ErrorBody),
    (status = 408, description = "The body did not arrive in time.", body = ErrorBody),
    (status = 413, description = "The log is too long.", body = ErrorBody),
    (status = 503, description = "Others are trying rules.", body = ErrorBody)))]
pub(crate) async fn run(State(web): State<Arc<Web>>, request: Request) -> Result<Json<BacktestInfo>, ApiError> {
    // Before anything of the body is held.
    let Ok(place) = Arc::clone(&web.uploads).try_acquire_owned() else { return Err(busy()) };
    let sent = tokio::time::timeout(UPLOAD_WAIT_MAX, Sent::<Asked>::from_request(request, &()));
    let Sent(asked) = sent.await.map_err(|_elapsed| {
        ApiError::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time: pack the log with gzip")
    })??;
    // A task of its own: who hangs up gives the place back when the work is done, not before.
    let trial = tokio::spawn(async move {
        let _place = place;
        tried(&web, asked).await
    });
    trial.await.map_err(|error| failed(&BacktestError::Log(error.to_string())))?.map(Json)
}

async fn tried(web: &Web, asked: Asked) -> Result<BacktestInfo, ApiError> {
    let log = match (asked.log, asked.log_base64) {
        (Some(_), Some(_)) => return Err(ApiError::bad_request("send log or log_base64, not both")),
        (Some(text), None) => Some(text.into_bytes()),
        (None, Some(text)) => {
            let decoded = data_encoding::BASE64.decode(text.as_bytes());
            Some(decoded.map_err(|error| ApiError::bad_request(&format!("log_base64 is no base64: {error}")))?)
        }
        (None, None) => None,
    };
    let engine = web.engine.clone();
    let rule = engine.rule_of(TRIAL, &asked.rule.0).await.map_err(refused)?;
    let tried = match log {
        None => engine.backtest_stored(&rule).await.map_err(|error| failed(&error))?,
        Some(log) => {
            let app = asked.app.filter(|app| !app.is_empty()).unwrap_or_else(|| "the-log".to_owned());
            let tried =
                tokio::task::spawn_blocking(move || engine.backtest_log(&rule, &app, bytes::Bytes::from(log).reader()));
            let tried = tried.await.map_err(|error| failed(&BacktestError::Log(error.to_string())))?;
            tried.map_err(|error| failed(&error))?
        }
    };
    Ok(info(tried))
}

/// Too many try rules at once.
pub(crate) fn busy() -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", "others are trying rules: try again in a few seconds")
}

fn refused(error: ObjectError) -> ApiError {
    match error {
        ObjectError::Store(error) => error.into(),
        error => ApiError::bad_request(&format!("rule: {error}")),
    }
}

fn failed(error: &BacktestError) -> ApiError {
    ApiError::bad_request(&error.to_string())
}

fn info(tried: Backtest) -> BacktestInfo {
    let coverage = tried.coverage;
    BacktestInfo {
        matched: tried.matched,
        fired: tried.fired,
        messages: tried.messages,
        happenings: tried
            .happenings
            .into_iter()
            .map(|one| HappeningInfo {
                what: one.what,
                at: one.at.into(),
                on: one.key.split_once('/').map_or(one.key.clone(), |(_, on)| on.to_owned()),
                measured: one.measured,
                evidence: one.evidence,
            })
            .collect(),
        coverage: CoverageInfo {
            of: coverage.of.as_str(),
            lines: coverage.lines,
            values: coverage.values,
            malformed: coverage.malformed,
            from: coverage.from.map(Time),
            until: coverage.until.map(Time),
            apps: coverage.apps,
            whole_since: coverage
                .whole_since
                .into_iter()
                .map(|(app, since)| WholeSince { app, since: since.into() })
                .collect(),
            missing: coverage.missing,
        },
    }
}
