//! The Heroku account and the log drains of its apps. What is read here was asked of Heroku before, by the loop; what is
//! changed is changed there at once. No URL of a drain is ever shown: it holds a password.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use dynowatch_domain::Timestamp;
use dynowatch_domain::drain_rotation::Rotation;
use dynowatch_engine::heroku::HerokuProblem;
use dynowatch_engine::heroku::drains::AppDrains;
use dynowatch_store::heroku::{AddOn, Drain, Dyno, HerokuApp, Process, SyncState};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use super::{Named, Sent, Time, id};
use crate::auth::Actor;
use crate::router::Web;
use crate::show::{masked, shortened};

/// What is said of an app that has no log drains.
pub(crate) const FIR_NOTICE: &str = "This app runs on Fir, where there are no Logplex drains: its logs leave by telemetry drains (OTLP), which dynowatch does not read yet.";

/// How the account stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HerokuInfo {
    /// Whether there is a key.
    connected: bool,
    /// How many apps of the account are known and not gone.
    apps: usize,
    /// How the list of apps stands; `null` when it was never read.
    app_list: Option<ListInfo>,
    /// How the list of add-ons stands.
    addon_list: Option<ListInfo>,
    /// Until when nothing is asked, because Heroku refused or did not answer.
    paused_until: Option<Time>,
    /// Why.
    paused_because: Option<String>,
    /// How many requests the account had left at this process's last one.
    requests_remaining: Option<u32>,
}

/// A list that is read as a whole.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListInfo {
    /// When it was last read.
    read_at: Option<Time>,
    /// When it is read next.
    next_at: Time,
    /// What went wrong last.
    problem: Option<String>,
}

/// What a sync found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SyncInfo {
    /// Apps of the account.
    apps: usize,
    /// Names of apps that were not known.
    new: Vec<String>,
    /// Apps under another name than before.
    renamed: Vec<RenamedInfo>,
    /// Names of apps that are gone.
    gone: Vec<String>,
    /// What did not work.
    problems: Vec<String>,
    /// Apps that are left for a later look, so that requests are left to the account.
    put_off: usize,
    /// Requests that were made.
    requests: u64,
}

/// An app under another name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RenamedInfo {
    /// The name before.
    from: String,
    /// The name now.
    to: String,
}

/// What the Heroku account says of an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AppAtHeroku {
    /// Heroku's id.
    id: String,
    /// Its name at Heroku.
    name: String,
    /// `cedar` or `fir`.
    generation: &'static str,
    /// What to know about log drains on this generation; `null` where there is nothing to say.
    notice: Option<&'static str>,
    /// As in `heroku-24`.
    stack: Option<String>,
    /// As in `eu`.
    region: Option<String>,
    /// The owner's e-mail address.
    owner: Option<String>,
    /// Its team.
    team: Option<String>,
    /// Its Private Space.
    space: Option<String>,
    /// Whether it is in maintenance mode.
    maintenance: bool,
    /// Whether Heroku writes each dyno's memory and load into its log; `null` until asked.
    runtime_metrics: Option<bool>,
    /// When its newest release became current.
    released_at: Option<Time>,
    /// Since when it is gone from the account.
    gone_at: Option<Time>,
    /// When process types and dynos were last read.
    read_at: Option<Time>,
    /// What went wrong last.
    problem: Option<String>,
    /// Its process types.
    formation: Vec<ProcessInfo>,
    /// Its dynos.
    dynos: Vec<DynoInfo>,
    /// Its add-ons.
    addons: Vec<AddOnInfo>,
}

/// A process type.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ProcessInfo {
    /// As in `web`.
    process_type: String,
    /// How many dynos there should be.
    quantity: i64,
    /// As in `Standard-1X`.
    size: String,
    /// Since when it is gone.
    gone_at: Option<Time>,
}

/// A dyno.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DynoInfo {
    /// As in `web.1`.
    name: String,
    /// As in `web`.
    process_type: String,
    /// As in `up`.
    state: String,
    /// As in `Standard-1X`.
    size: String,
    /// The version of the release it runs.
    release: Option<i64>,
    /// When its state last changed.
    changed_at: Option<Time>,
    /// Since when it is gone.
    gone_at: Option<Time>,
}

/// An add-on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddOnInfo {
    /// As in `postgresql-flat-1234`.
    name: String,
    /// As in `heroku-postgresql`.
    service: Option<String>,
    /// As in `heroku-postgresql:standard-0`.
    plan: Option<String>,
    /// As in `provisioned`.
    state: String,
    /// Names of the config vars it sets; values are never asked for.
    config_vars: Vec<String>,
    /// Since when it is gone.
    gone_at: Option<Time>,
}

/// An app's log drains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DrainsInfo {
    /// The drains, those that are gone behind.
    items: Vec<LogDrainInfo>,
    /// The newest replacement of a drain.
    rotation: Option<RotationInfo>,
    /// Whether several drains deliver here without one being replaced, so that every line counts more than once.
    counted_twice: bool,
    /// Whether no line of the app is counted although a drain delivers: the one that counted is gone.
    counts_nothing: bool,
    /// When they were last read of Heroku; `null` when never.
    read_at: Option<Time>,
    /// How long ago that is, in seconds.
    age_s: Option<u64>,
    /// What to know about log drains on this app's generation.
    notice: Option<&'static str>,
}

/// A log drain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LogDrainInfo {
    /// Heroku's id of it.
    id: String,
    /// Its Logplex token, shortened.
    token: String,
    /// Whether it delivers to this instance.
    ours: bool,
    /// Whether its lines count now: of two drains that deliver the same lines one does. `null` for one that is gone or
    /// delivers elsewhere.
    counts: Option<bool>,
    /// The host it delivers to.
    host: String,
    /// The add-on that made it.
    addon: Option<String>,
    /// Since when it exists.
    created_at: Option<Time>,
    /// Since when it is gone.
    gone_at: Option<Time>,
}

/// A drain being replaced by another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RotationInfo {
    /// `creating`, `proving` (its first delivery is waited for), `cutting` (the moment of the change is fixed), `removing`,
    /// `reverting`, or an end: `done`, `abandoned`, `failed`, `left`.
    state: &'static str,
    /// The drain that is replaced.
    old: String,
    /// The drain that replaces it, once there.
    new: Option<String>,
    /// When the new one first delivered.
    new_delivered_at: Option<Time>,
    /// Lines stamped from then on count where the new one delivers them.
    cutover_at: Option<Time>,
    /// When it goes on; `null` at its end.
    next_at: Option<Time>,
    /// What went wrong last.
    problem: Option<String>,
    /// Who asked for it.
    by: String,
    /// When.
    created_at: Time,
}

/// Which drain.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct WhichDrain {
    /// Its id; may be left out where only one delivers here.
    drain: Option<String>,
}

/// On or off.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Switch {
    /// Whether it is to be on.
    enabled: bool,
}

/// How the Heroku account stands.
#[utoipa::path(get, path = "/api/v1/heroku", tag = "heroku", responses((status = 200, description = "The account.", body = HerokuInfo)))]
pub(crate) async fn status(State(web): State<Arc<Web>>) -> Result<Json<HerokuInfo>, ApiError> {
    let status = web.engine.heroku_status().await?;
    let list = |list: Option<SyncState>| {
        list.map(|list| ListInfo {
            read_at: list.done_at.map(Time),
            next_at: list.next_at.into(),
            problem: list.problem.map(|text| masked(&web.engine, &text)),
        })
    };
    let (paused_until, paused_because) = status.paused.unzip();
    Ok(Json(HerokuInfo {
        connected: status.connected,
        apps: status.known,
        app_list: list(status.apps),
        addon_list: list(status.addons),
        paused_until: paused_until.map(Time),
        paused_because: paused_because.flatten().map(|text| masked(&web.engine, &text)),
        requests_remaining: status.remaining,
    }))
}

/// Asks the Heroku account for its lists of apps and add-ons now. Dynos, releases and drains of each app are due at once and follow as the budget of requests allows. Who asks again within ten seconds gets the same answer.
#[utoipa::path(post, path = "/api/v1/heroku/sync", tag = "heroku", responses(
    (status = 200, description = "What the lists say.", body = SyncInfo),
    (status = 409, description = "There is no key.", body = ErrorBody),
    (status = 502, description = "Heroku refused, or did not answer.", body = ErrorBody)))]
pub(crate) async fn sync(State(web): State<Arc<Web>>, actor: Actor) -> Result<Json<SyncInfo>, ApiError> {
    tracing::info!(actor = actor.0.name, "the Heroku account is read anew");
    let report = web.engine.heroku_lists_now(&actor.0).await?;
    Ok(Json(SyncInfo {
        apps: report.apps,
        new: report.new,
        renamed: report.renamed.into_iter().map(|(from, to)| RenamedInfo { from, to }).collect(),
        gone: report.gone,
        problems: report.problems.iter().map(|text| masked(&web.engine, text)).collect(),
        put_off: report.put_off,
        requests: report.requests,
    }))
}

/// The log drains of an app, as they were last read; nothing is asked of Heroku.
#[utoipa::path(get, path = "/api/v1/apps/{name}/drains", tag = "heroku", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "The drains.", body = DrainsInfo),
    (status = 404, description = "No such app of the account, as far as it was read.", body = ErrorBody),
    (status = 409, description = "Nothing is known of it, and there is no key.", body = ErrorBody)))]
pub(crate) async fn drains(State(web): State<Arc<Web>>, Named(name): Named) -> Result<Json<DrainsInfo>, ApiError> {
    let known = web.engine.known_heroku_app(&name).await?;
    let unknown = if web.engine.is_heroku_connected() { HerokuProblem::NoApp(name) } else { HerokuProblem::NoKey };
    let app = known.ok_or(unknown)?;
    Ok(Json(info(&web, &web.engine.stored_drains(app).await?)))
}

/// Adds a log drain of the app to this instance.
#[utoipa::path(post, path = "/api/v1/apps/{name}/drains", tag = "heroku", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 201, description = "The drains, the new one among them.", body = DrainsInfo),
    (status = 404, description = "No such app of the account.", body = ErrorBody),
    (status = 409, description = "It has one, or cannot have one, or there is no key.", body = ErrorBody),
    (status = 502, description = "Heroku refused, or did not answer.", body = ErrorBody)))]
pub(crate) async fn add(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<(StatusCode, Json<DrainsInfo>), ApiError> {
    let drains = web.engine.add_drain(&name, &actor.0).await?;
    Ok((StatusCode::CREATED, Json(info(&web, &drains))))
}

/// Begins to replace the app's drain to this instance: a second one is added, and the old one removed when the second delivers.
#[utoipa::path(post, path = "/api/v1/apps/{name}/drains/rotate", tag = "heroku", request_body = WhichDrain, params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 202, description = "It has begun; `rotation` says how it stands.", body = DrainsInfo),
    (status = 404, description = "No such app or drain.", body = ErrorBody),
    (status = 409, description = "One is being replaced already, or there is no key.", body = ErrorBody),
    (status = 502, description = "Heroku refused, or did not answer.", body = ErrorBody)))]
pub(crate) async fn rotate(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
    Sent(which): Sent<WhichDrain>,
) -> Result<(StatusCode, Json<DrainsInfo>), ApiError> {
    let drain = which.drain.map(|drain| id(&drain, "the drain")).transpose()?;
    let drains = web.engine.rotate_drain(&name, drain, &actor.0).await?;
    Ok((StatusCode::ACCEPTED, Json(info(&web, &drains))))
}

/// Ends the replacement of a drain: the old one stays. Where that is too late and a drain cannot be removed, nothing more is tried.
#[utoipa::path(post, path = "/api/v1/apps/{name}/drains/rotate/abandon", tag = "heroku", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "How it stands.", body = DrainsInfo),
    (status = 404, description = "No drain is being replaced.", body = ErrorBody),
    (status = 409, description = "Too late, or there is no key.", body = ErrorBody)))]
pub(crate) async fn abandon(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<Json<DrainsInfo>, ApiError> {
    Ok(Json(info(&web, &web.engine.abandon_rotation(&name, &actor.0).await?)))
}

/// Lets the new drain take over without waiting for its first delivery, for an app that is silent.
#[utoipa::path(post, path = "/api/v1/apps/{name}/drains/rotate/proceed", tag = "heroku", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "How it stands.", body = DrainsInfo),
    (status = 404, description = "No drain is being replaced.", body = ErrorBody),
    (status = 409, description = "Nothing is waited for, or there is no key.", body = ErrorBody)))]
pub(crate) async fn proceed(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<Json<DrainsInfo>, ApiError> {
    Ok(Json(info(&web, &web.engine.proceed_rotation(&name, &actor.0).await?)))
}

/// Removes a log drain of the app to this instance.
#[utoipa::path(delete, path = "/api/v1/apps/{name}/drains/{id}", tag = "heroku", params(("name" = String, Path, description = "The app's name."), ("id" = String, Path, description = "The drain's id.")), responses(
    (status = 200, description = "The drains that are left.", body = DrainsInfo),
    (status = 404, description = "No such app or drain.", body = ErrorBody),
    (status = 409, description = "It delivers elsewhere, is being replaced, or is the one that counts while another does not; or there is no key.", body = ErrorBody),
    (status = 502, description = "Heroku refused, or did not answer.", body = ErrorBody)))]
pub(crate) async fn remove(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Path((name, drain)): Path<(String, String)>,
) -> Result<Json<DrainsInfo>, ApiError> {
    let drain = id(&drain, "the drain")?;
    Ok(Json(info(&web, &web.engine.remove_drain(&name, Some(drain), &actor.0).await?)))
}

/// Switches `log-runtime-metrics` of an app: Heroku then writes each dyno's memory and load into its log. It takes effect at the next restart of each dyno.
#[utoipa::path(post, path = "/api/v1/apps/{name}/runtime-metrics", tag = "heroku", request_body = Switch, params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "The app.", body = AppAtHeroku),
    (status = 404, description = "No such app of the account.", body = ErrorBody),
    (status = 409, description = "It runs on Fir, or there is no key.", body = ErrorBody),
    (status = 502, description = "Heroku refused, or did not answer.", body = ErrorBody)))]
pub(crate) async fn runtime_metrics(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
    Sent(switch): Sent<Switch>,
) -> Result<Json<AppAtHeroku>, ApiError> {
    let app = web.engine.set_runtime_metrics(&name, switch.enabled, &actor.0).await?;
    Ok(Json(at_heroku(&web, app)))
}

fn maybe(at: Option<Timestamp>) -> Option<Time> {
    at.map(Time)
}

/// What the account says of an app.
pub(crate) fn at_heroku(web: &Web, app: HerokuApp) -> AppAtHeroku {
    let facts = app.facts;
    AppAtHeroku {
        id: app.heroku_id.to_string(),
        name: app.name,
        generation: if facts.fir { "fir" } else { "cedar" },
        notice: facts.fir.then_some(FIR_NOTICE),
        stack: facts.stack,
        region: facts.region,
        owner: facts.owner,
        team: facts.team,
        space: facts.space,
        maintenance: facts.maintenance,
        runtime_metrics: facts.runtime_metrics,
        released_at: maybe(facts.released_at),
        gone_at: maybe(app.gone_at),
        read_at: maybe(app.dynos_at),
        problem: app.problem.map(|text| masked(&web.engine, &text)),
        formation: app.formation.into_iter().map(process).collect(),
        dynos: app.dynos.into_iter().map(dyno).collect(),
        addons: app.addons.into_iter().map(addon).collect(),
    }
}

fn process(process: Process) -> ProcessInfo {
    let Process { process_type, quantity, size, gone_at } = process;
    ProcessInfo { process_type, quantity, size, gone_at: maybe(gone_at) }
}

fn dyno(dyno: Dyno) -> DynoInfo {
    let Dyno { name, process_type, state, size, release, changed_at, gone_at } = dyno;
    DynoInfo { name, process_type, state, size, release, changed_at: maybe(changed_at), gone_at: maybe(gone_at) }
}

fn addon(addon: AddOn) -> AddOnInfo {
    let AddOn { id: _, name, service, plan, state, config_vars, gone_at } = addon;
    AddOnInfo { name, service, plan, state, config_vars, gone_at: maybe(gone_at) }
}

fn info(web: &Web, drains: &AppDrains) -> DrainsInfo {
    DrainsInfo {
        items: drains.app.drains.iter().map(|one| drain(drains, one)).collect(),
        rotation: drains.rotation.as_ref().map(|rotation| rotation_info(web, rotation)),
        counted_twice: drains.counted_twice(),
        counts_nothing: drains.counts_nothing(),
        read_at: maybe(drains.app.drains_at),
        age_s: drains.app.drains_at.map(|at| web.engine.now().since(at).as_secs()),
        notice: drains.app.facts.fir.then_some(FIR_NOTICE),
    }
}

fn drain(of: &AppDrains, drain: &Drain) -> LogDrainInfo {
    LogDrainInfo {
        id: drain.id.to_string(),
        token: shortened(&drain.token),
        ours: drain.ours,
        counts: of.counts(drain),
        host: drain.host.clone(),
        addon: drain.addon.clone(),
        created_at: maybe(drain.created_at),
        gone_at: maybe(drain.gone_at),
    }
}

fn rotation_info(web: &Web, rotation: &Rotation) -> RotationInfo {
    RotationInfo {
        state: rotation.state.as_str(),
        old: rotation.old.id.to_string(),
        new: rotation.new.as_ref().map(|new| new.id.to_string()),
        new_delivered_at: maybe(rotation.new_delivered_at),
        cutover_at: maybe(rotation.cutover_at),
        next_at: maybe(rotation.next_at),
        problem: rotation.problem.as_ref().map(|text| masked(&web.engine, text)),
        by: rotation.by.clone(),
        created_at: rotation.created_at.into(),
    }
}

impl From<HerokuProblem> for ApiError {
    fn from(problem: HerokuProblem) -> Self {
        let (status, code) = match &problem {
            HerokuProblem::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            HerokuProblem::NoKey => (StatusCode::CONFLICT, "no_heroku_key"),
            HerokuProblem::Fir(_) => (StatusCode::CONFLICT, "fir"),
            HerokuProblem::NoDrainUrl(_) | HerokuProblem::Conflict(_) | HerokuProblem::Illegal(_) => {
                (StatusCode::CONFLICT, "conflict")
            }
            HerokuProblem::NoApp(_) | HerokuProblem::NotFound(_) => (StatusCode::NOT_FOUND, "not_found"),
            HerokuProblem::Heroku(_) if problem.is_two_factor() => (StatusCode::BAD_GATEWAY, "two_factor"),
            HerokuProblem::Heroku(_) => (StatusCode::BAD_GATEWAY, "heroku"),
        };
        match problem {
            HerokuProblem::Store(error) => error.into(),
            problem => Self::new(status, code, &problem.to_string()),
        }
    }
}
