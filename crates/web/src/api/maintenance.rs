//! Maintenance windows: planned times in which checks run and are recorded, and nobody is told.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Scope, Span, When, time_of_day, weekdays};
use dynowatch_domain::parse::{Glob, show_duration};
use dynowatch_store::objects::ObjectKind;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::objects::{self, Body, Names};
use super::{Asked, Named, Page, Sent, Time, by_name};
use crate::auth::Actor;
use crate::router::Web;

/// A maintenance window.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowInfo {
    /// Its name.
    name: String,
    /// `file` or `store`: where it is changed.
    origin: &'static str,
    /// Why, for whoever wonders.
    reason: String,
    /// Whether it is for every check.
    all: bool,
    /// Names of the apps whose checks it is for, with `*`.
    apps: Vec<String>,
    /// Names of the checks it is for, with `*`.
    checks: Vec<String>,
    /// `once`, `weekly` or `cron`.
    kind: &'static str,
    /// When it is open, in words.
    when: String,
    /// The zone of its times of day; `null` for a window that is open once.
    time_zone: Option<String>,
    /// Whether it is in force now.
    open: bool,
    /// The opening that goes on.
    present: Option<SpanInfo>,
    /// The next one.
    next: Option<SpanInfo>,
    /// Checks that it is for, as they are now, by name; at most 200.
    concerns: Vec<String>,
}

/// An opening.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SpanInfo {
    /// Its first moment.
    from: Time,
    /// The first moment after it.
    until: Time,
}

/// Which windows.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowsQuery {
    /// `true`: only those in force now; `false`: only the others.
    open: Option<bool>,
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// What became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowGone {
    /// The window's name.
    name: String,
}

/// Checks of a window that are named.
const CONCERNS_MAX: usize = 200;

/// Maintenance windows, by name.
#[utoipa::path(get, path = "/api/v1/maintenance", tag = "checks", params(WindowsQuery), responses(
    (status = 200, description = "A page of windows.", body = Page<WindowInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    Asked(query): Asked<WindowsQuery>,
) -> Result<Json<Page<WindowInfo>>, ApiError> {
    let made = Names::of(&web, ObjectKind::Maintenance).await?;
    let (book, now) = (web.engine.check_book(), web.engine.now());
    let mut windows: Vec<&MaintenanceWindow> = book.windows.iter().collect();
    windows.retain(|window| query.open.is_none_or(|open| window.open_at(now).is_some() == open));
    windows.sort_by(|a, b| a.name.cmp(&b.name));
    let (windows, next_cursor) = by_name(windows, |window| &window.name, query.limit, query.cursor.as_deref())?;
    Ok(Json(Page { items: windows.into_iter().map(|window| info(&web, window, &made)).collect(), next_cursor }))
}

/// One maintenance window.
#[utoipa::path(get, path = "/api/v1/maintenance/{name}", tag = "checks", params(("name" = String, Path, description = "The window's name.")), responses(
    (status = 200, description = "The window.", body = WindowInfo),
    (status = 404, description = "No window of that name.", body = ErrorBody)))]
pub(crate) async fn show(State(web): State<Arc<Web>>, Named(name): Named) -> Result<Json<WindowInfo>, ApiError> {
    one(&web, &name).await.map(Json)
}

/// Makes a maintenance window, or gives it another definition. The body has the keys of `[[maintenance]]` in the
/// configuration file but for its name. A window of the file is changed there.
#[utoipa::path(put, path = "/api/v1/maintenance/{name}", tag = "checks", request_body = Body, params(("name" = String, Path, description = "The window's name.")), responses(
    (status = 200, description = "The window, changed.", body = WindowInfo),
    (status = 201, description = "The window, new.", body = WindowInfo),
    (status = 400, description = "Something is wrong with it: each key, and what would be right.", body = ErrorBody),
    (status = 409, description = "It stands in the file.", body = ErrorBody)))]
pub(crate) async fn put(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
    Sent(body): Sent<Body>,
) -> Result<(StatusCode, Json<WindowInfo>), ApiError> {
    let made = objects::put(&web, ObjectKind::Maintenance, &name, body, in_force(&web, &name), &actor.0).await?;
    Ok((made, Json(one(&web, &name).await?)))
}

/// Deletes a maintenance window. If it is open, it ends now.
#[utoipa::path(delete, path = "/api/v1/maintenance/{name}", tag = "checks", params(("name" = String, Path, description = "The window's name.")), responses(
    (status = 200, description = "It is gone.", body = WindowGone),
    (status = 404, description = "No window of that name.", body = ErrorBody),
    (status = 409, description = "It stands in the file.", body = ErrorBody)))]
pub(crate) async fn delete(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<Json<WindowGone>, ApiError> {
    objects::delete(&web, ObjectKind::Maintenance, &name, in_force(&web, &name), &actor.0).await?;
    Ok(Json(WindowGone { name }))
}

fn in_force(web: &Web, name: &str) -> bool {
    web.engine.check_book().windows.iter().any(|window| window.name == name)
}

async fn one(web: &Web, name: &str) -> Result<WindowInfo, ApiError> {
    let made = Names::of(web, ObjectKind::Maintenance).await?;
    let book = web.engine.check_book();
    let window = book.windows.iter().find(|window| window.name == name);
    let window = window.ok_or_else(|| ApiError::not_found(&format!("no maintenance window is named {name:?}")))?;
    Ok(info(web, window, &made))
}

fn info(web: &Web, window: &MaintenanceWindow, made: &Names) -> WindowInfo {
    let now = web.engine.now();
    let book = web.engine.check_book();
    let words = |globs: &[Glob]| globs.iter().map(|glob| glob.as_str().to_owned()).collect();
    let (all, apps, checks) = match &window.scope {
        Scope::All => (true, Vec::new(), Vec::new()),
        Scope::Apps(names) => (false, words(names), Vec::new()),
        Scope::Checks(names) => (false, Vec::new(), words(names)),
    };
    let span = |span: Span| SpanInfo { from: span.from.into(), until: span.until.into() };
    let present = window.open_at(now);
    let concerned = book.checks.values().filter(|check| window.is_for(&check.name, check.app.as_deref()));
    let (kind, when, time_zone) = when(&window.when);
    WindowInfo {
        name: window.name.clone(),
        origin: made.origin(&window.name),
        reason: window.reason.clone(),
        all,
        apps,
        checks,
        kind,
        when,
        time_zone,
        open: present.is_some(),
        present: present.map(span),
        next: window.next_after(now).map(span),
        concerns: concerned.map(|check| check.name.clone()).take(CONCERNS_MAX).collect(),
    }
}

fn when(when: &When) -> (&'static str, String, Option<String>) {
    match when {
        When::Once { from, until } => ("once", format!("{} to {}", from.for_people(), until.for_people()), None),
        When::Weekly { days, at, lasts, zone } => {
            let days: Vec<&str> = days.iter().map(|day| weekdays::name(*day)).collect();
            let text = format!("{} at {} for {}", days.join(", "), time_of_day::show(*at), show_duration(*lasts));
            ("weekly", text, Some(zone.clone()))
        }
        When::Cron { cron, lasts, zone } => {
            ("cron", format!("{cron} for {}", show_duration(*lasts)), Some(zone.clone()))
        }
    }
}
