//! Checks: how each stands, making and deleting them, and what an operator asks of one. What they found before is in
//! [`past`], trying one out in [`trial`]. What the keys of a check mean is said by the reader of the configuration file.

pub(crate) mod past;
pub(crate) mod trial;
pub(crate) mod words;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dynowatch_domain::account::Scope;
use dynowatch_domain::check::state::Shown;
use dynowatch_engine::checks::CheckStatus;
use dynowatch_store::objects::ObjectKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::objects::{self, Body, Names};
use super::{Asked, Named, Page, Sent, Time, by_name};
use crate::auth::{Actor, Reach};
use crate::router::Web;
use words::{CheckDetail, CheckSummary, detail, summary};

/// Which checks.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ChecksQuery {
    /// `new`, `up`, `degraded`, `suspect`, `down`, `recovering`, `flapping`, `unknown`, `maintenance`, `blind`, `paused` or
    /// `misconfigured`.
    state: Option<String>,
    /// Only of the app of that name.
    app: Option<String>,
    /// Only of that kind: `web`, `redis`, `postgres`, `tcp`, `tls`, `dns`, `heartbeat` or `heroku`.
    kind: Option<String>,
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// What became of a wish.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckDone {
    /// The check's name.
    name: String,
    /// Whether anything changed: false where it was so already.
    changed: bool,
}

/// A wish that was passed on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckWish {
    /// The check's name.
    name: String,
    /// When it was asked. The process that runs the check does it within a few seconds; it is done when `last_run_at` is
    /// later than this.
    asked_at: Time,
}

/// Checks, by name.
#[utoipa::path(get, path = "/api/v1/checks", tag = "checks", params(ChecksQuery), responses(
    (status = 200, description = "A page of checks.", body = Page<CheckSummary>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Asked(query): Asked<ChecksQuery>,
) -> Result<Json<Page<CheckSummary>>, ApiError> {
    reach.asked(query.app.as_deref())?;
    let state = query.state.as_deref().map(state).transpose()?;
    if let Some(kind) = query.kind.as_deref().filter(|kind| !words::KINDS.contains(kind)) {
        return Err(ApiError::bad_request(&format!("kind is {kind:?}: write {}", words::KINDS.join(", "))));
    }
    let mut statuses = web.engine.check_statuses().await?;
    statuses.retain(|status| {
        state.is_none_or(|state| words::shown(status) == state)
            && query.app.as_deref().is_none_or(|app| status.check.app.as_deref() == Some(app))
            && query.kind.as_deref().is_none_or(|kind| status.check.kind.name() == kind)
    });
    let (statuses, next_cursor) = by_name(statuses, |status| &status.check.name, query.limit, query.cursor.as_deref())?;
    let made = Names::of(&web, ObjectKind::Check).await?;
    Ok(Json(Page { items: statuses.iter().map(|status| summary(&web, status, &made)).collect(), next_cursor }))
}

fn state(name: &str) -> Result<Shown, ApiError> {
    Shown::named(name).ok_or_else(|| {
        let names: Vec<&str> = Shown::ALL.into_iter().map(Shown::as_str).collect();
        ApiError::bad_request(&format!("state is {name:?}: write {}", names.join(", ")))
    })
}

/// One check: how it stands, what its last run found, and everything it was told to do.
#[utoipa::path(get, path = "/api/v1/checks/{name}", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "The check.", body = CheckDetail),
    (status = 404, description = "No check of that name.", body = ErrorBody)))]
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<CheckDetail>, ApiError> {
    let status = found(&web, &reach, &name).await?;
    Ok(Json(whole(&web, &reach, &status).await?))
}

/// Makes a check, or gives it another definition. The body has the keys of `[[checks]]` in the configuration file but for
/// its name. A check of the file is changed there.
#[utoipa::path(put, path = "/api/v1/checks/{name}", tag = "checks", request_body = Body, params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "The check, changed.", body = CheckDetail),
    (status = 201, description = "The check, new.", body = CheckDetail),
    (status = 400, description = "Something is wrong with it: each key, and what would be right.", body = ErrorBody),
    (status = 409, description = "It stands in the file.", body = ErrorBody)))]
pub(crate) async fn put(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
    Sent(body): Sent<Body>,
) -> Result<(StatusCode, Json<CheckDetail>), ApiError> {
    reach.all()?;
    let in_force = web.engine.check_book().checks.contains_key(&name);
    let made = objects::put(&web, ObjectKind::Check, &name, body, in_force, &actor.0).await?;
    let status = web.engine.check_status(&name).await?;
    Ok((made, Json(whole(&web, &reach, &status).await?)))
}

/// Deletes a check. What is open under it is closed without a message; its history stays as long as any.
#[utoipa::path(delete, path = "/api/v1/checks/{name}", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "It is gone.", body = CheckDone),
    (status = 400, description = "Other checks have it as their parent.", body = ErrorBody),
    (status = 404, description = "No check of that name.", body = ErrorBody),
    (status = 409, description = "It stands in the file.", body = ErrorBody)))]
pub(crate) async fn delete(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<CheckDone>, ApiError> {
    reach.all()?;
    let in_force = web.engine.check_book().checks.contains_key(&name);
    objects::delete(&web, ObjectKind::Check, &name, in_force, &actor.0).await?;
    Ok(Json(CheckDone { name, changed: true }))
}

/// Has a check run at once, besides its schedule.
#[utoipa::path(post, path = "/api/v1/checks/{name}/run", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 202, description = "It was passed on to the process that runs the check.", body = CheckWish),
    (status = 404, description = "No check of that name.", body = ErrorBody),
    (status = 409, description = "A heartbeat is not run.", body = ErrorBody)))]
pub(crate) async fn run(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
) -> Result<(StatusCode, Json<CheckWish>), ApiError> {
    let status = found(&web, &reach, &name).await?;
    if matches!(status.check.kind, dynowatch_domain::check::CheckKind::Heartbeat(_)) {
        return Err(conflict("a heartbeat is not run: it waits for the pings of its job"));
    }
    let asked_at = web.engine.now().into();
    web.engine.ask_check_run(&name, &actor.0).await?;
    Ok((StatusCode::ACCEPTED, Json(CheckWish { name, asked_at })))
}

/// Switches a check off until it is switched on again. What is open under it is closed without a message.
#[utoipa::path(post, path = "/api/v1/checks/{name}/pause", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "It is off.", body = CheckDone),
    (status = 404, description = "No check of that name, or it was never registered.", body = ErrorBody)))]
pub(crate) async fn pause(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<CheckDone>, ApiError> {
    found(&web, &reach, &name).await?;
    let changed = web.engine.pause_check(&name, &actor.0).await?;
    tracing::info!(actor = actor.0.name, check = name, changed, "check paused");
    Ok(Json(CheckDone { name, changed }))
}

/// Switches a check on again. One that its configuration pauses stays off.
#[utoipa::path(post, path = "/api/v1/checks/{name}/resume", tag = "checks", params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 200, description = "It is on.", body = CheckDone),
    (status = 404, description = "No check of that name, or it was never registered.", body = ErrorBody),
    (status = 409, description = "Its configuration pauses it.", body = ErrorBody)))]
pub(crate) async fn resume(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
) -> Result<Json<CheckDone>, ApiError> {
    let status = found(&web, &reach, &name).await?;
    if status.check.paused {
        return Err(conflict("its configuration says `paused = true`: change it there"));
    }
    let changed = web.engine.resume_check(&name, &actor.0).await?;
    tracing::info!(actor = actor.0.name, check = name, changed, "check resumed");
    Ok(Json(CheckDone { name, changed }))
}

/// Accepts the key that the check's server offers instead of the one that was pinned (reason `pin_changed`).
#[utoipa::path(post, path = "/api/v1/checks/{name}/accept-pin", tag = "checks", request_body = AcceptPin, params(("name" = String, Path, description = "The check's name.")), responses(
    (status = 202, description = "The process that runs the check takes it and runs it again.", body = CheckWish),
    (status = 404, description = "No check of that name.", body = ErrorBody),
    (status = 409, description = "The server offers no other key, or another one than this.", body = ErrorBody)))]
pub(crate) async fn accept_pin(
    State(web): State<Arc<Web>>,
    actor: Actor,
    reach: Reach,
    Named(name): Named,
    Sent(wanted): Sent<AcceptPin>,
) -> Result<(StatusCode, Json<CheckWish>), ApiError> {
    let status = found(&web, &reach, &name).await?;
    let offered = status.row.as_ref().and_then(|row| row.memory.pin_offered.as_ref());
    match offered {
        None => return Err(conflict("the server offers no other key than the pinned one")),
        Some(offered) if offered.key_sha256 != wanted.key_sha256 => {
            return Err(conflict("by now the server offers another key than this: look at `pin_offered` again"));
        }
        Some(_) => {}
    }
    let asked_at = web.engine.now().into();
    web.engine.accept_check_pin(&name, &actor.0).await?;
    tracing::info!(
        actor = actor.0.name,
        check = name,
        key_sha256 = wanted.key_sha256,
        "the key of a check's server was accepted"
    );
    Ok((StatusCode::ACCEPTED, Json(CheckWish { name, asked_at })))
}

/// Which key is accepted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AcceptPin {
    /// What `pin_offered` of the check says: whoever accepts a key has compared it.
    key_sha256: String,
}

/// The check, if who asks may know of it.
pub(crate) async fn found(web: &Web, reach: &Reach, name: &str) -> Result<CheckStatus, ApiError> {
    let book = web.engine.check_book();
    let check = book.checks.get(name).ok_or_else(|| ApiError::not_found(&format!("no check is named {name:?}")))?;
    reach.asked(check.app.as_deref())?;
    Ok(web.engine.check_status(name).await?)
}

async fn whole(web: &Web, reach: &Reach, status: &CheckStatus) -> Result<CheckDetail, ApiError> {
    let made = Names::of(web, ObjectKind::Check).await?;
    let diagnosis = web.engine.check_diagnosis(status).await;
    Ok(detail(web, status, &made, diagnosis, reach.0.may(Scope::Operate)))
}

fn conflict(why: &str) -> ApiError {
    ApiError::new(StatusCode::CONFLICT, "conflict", why)
}
