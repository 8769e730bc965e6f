//! The whole URL surface, and what every answer carries. Deliveries (`POST /drain`, `POST /drain/{app}`,
//! `POST /api/internal/heroku-log-drain`) never come here: [`crate::server`] takes them first.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, delete, get, patch, post, put};
use dynowatch_engine::Engine;
use secrecy::SecretString;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use crate::accounts::client::client_known;
use crate::accounts::{AccountOptions, Accounts, audit_page, oidc, security, setup, sign_in, tokens, users};
use crate::api::error::ApiError;
use crate::api::{
    alerts, apps, backtest, checks, config, deliveries, drain, heroku, maintenance, openapi, receivers, rules, series,
};
use crate::auth::{Tokens, reader_required, scraper_required, token_required};
use crate::compress::compressed;
use crate::drain::Drain;
use crate::events::Hub;
use crate::explain::Explains;
use crate::flood::{ApiLimits, Flood, address_limited};
use crate::health::{Outbox, Recent};
use crate::pages::app::board::{Boards, boards};
use crate::pages::checks::{Pasts, pasts};
use crate::pages::plain::surrounded;
use crate::pages::standing::Standing;
use crate::viewer::{forms_guarded, is_unsafe, own_forms, uploads_guarded};
use crate::{badge, events, faults, health, metrics, pages, ping};

/// The longest body of a request to the API.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The longest log that is tried a rule on, as it is sent.
pub(crate) const UPLOAD_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long one may take to arrive: meanwhile it holds a place.
pub(crate) const UPLOAD_WAIT_MAX: Duration = Duration::from_secs(60);
/// Logs that are held at a time.
const UPLOADS_MAX: usize = 2;

/// What the router is made of.
pub struct WebOptions {
    /// The engine behind all answers.
    pub engine: Engine,
    /// The drain endpoint, for its state.
    pub drain: Arc<Drain>,
    /// Tokens from the environment, besides those in the store.
    pub api_tokens: Vec<SecretString>,
    /// How often the API may be asked.
    pub api_limits: ApiLimits,
    /// Where to ask for the configuration to be read again.
    pub reload: mpsc::Sender<ReloadRequest>,
    /// What this instance is to its team (`production`, `staging`, `demo`): the banner of every page.
    pub environment: Option<String>,
    /// Becomes true when the process stops: then what never ends by itself ends.
    pub stop: watch::Receiver<bool>,
    /// Whether the numbers of all apps are read before anybody looks; it needs a tokio runtime.
    pub read_ahead: bool,
    /// How people sign in.
    pub accounts: AccountOptions,
}

/// Someone asked for the configuration to be read again.
pub struct ReloadRequest {
    /// Takes the outcome; an error is what is wrong with the new configuration.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// What handlers share.
pub(crate) struct Web {
    pub(crate) engine: Engine,
    pub(crate) drain: Arc<Drain>,
    pub(crate) tokens: Tokens,
    pub(crate) flood: Flood,
    pub(crate) outbox: Recent<Outbox>,
    pub(crate) reload: mpsc::Sender<ReloadRequest>,
    pub(crate) environment: Option<String>,
    pub(crate) events: Hub,
    pub(crate) accounts: Accounts,
    pub(crate) boards: Boards,
    pub(crate) standing: Standing,
    /// The last week of the checks.
    pub(crate) check_pasts: Pasts,
    /// Places for those who try rules: what they bring is held whole.
    pub(crate) uploads: Arc<Semaphore>,
    /// Places for those who have a check explained.
    pub(crate) explains: Explains,
    /// What badges said a moment ago.
    pub(crate) badges: badge::Badges,
}

type Route = (&'static str, &'static str, MethodRouter<Arc<Web>>);

/// The API, behind a bearer token. A test holds the OpenAPI document against this table.
#[rustfmt::skip]
pub(crate) fn api_routes() -> Vec<Route> {
    vec![
        ("GET",   "/api/v1/apps",                    get(apps::list)),
        ("GET",   "/api/v1/apps/{name}",             get(apps::show)),
        ("PATCH", "/api/v1/apps/{name}",             patch(apps::rename)),
        ("GET",   "/api/v1/apps/{name}/metrics",     get(series::names)),
        ("GET",   "/api/v1/apps/{name}/paths",       get(series::paths)),
        ("GET",   "/api/v1/apps/{name}/events",      get(series::events)),
        ("GET",   "/api/v1/apps/{name}/dynos",       get(series::dynos)),
        ("GET",   "/api/v1/series",                  get(series::show)),
        ("GET",   "/api/v1/apps/{name}/drains",      get(heroku::drains)),
        ("POST",  "/api/v1/apps/{name}/drains",      post(heroku::add)),
        ("POST",  "/api/v1/apps/{name}/drains/rotate",          post(heroku::rotate)),
        ("POST",  "/api/v1/apps/{name}/drains/rotate/abandon",  post(heroku::abandon)),
        ("POST",  "/api/v1/apps/{name}/drains/rotate/proceed",  post(heroku::proceed)),
        ("DELETE", "/api/v1/apps/{name}/drains/{id}",           delete(heroku::remove)),
        ("POST",  "/api/v1/apps/{name}/runtime-metrics",        post(heroku::runtime_metrics)),
        ("GET",   "/api/v1/heroku",                  get(heroku::status)),
        ("POST",  "/api/v1/heroku/sync",             post(heroku::sync)),
        ("GET",   "/api/v1/alerts",                  get(alerts::list)),
        ("GET",   "/api/v1/alerts/{id}",             get(alerts::show)),
        ("POST",  "/api/v1/alerts/resolve",          post(alerts::resolve)),
        ("GET",   "/api/v1/deliveries",              get(deliveries::list)),
        ("GET",   "/api/v1/deliveries/{id}",         get(deliveries::show)),
        ("GET",   "/api/v1/rules",                   get(rules::list)),
        ("GET",   "/api/v1/rules/{name}",            get(rules::show)),
        ("POST",  "/api/v1/rules/{name}/disable",    post(rules::disable)),
        ("POST",  "/api/v1/rules/{name}/enable",     post(rules::enable)),
        ("POST",  "/api/v1/backtest",                post(backtest::run).layer(DefaultBodyLimit::max(UPLOAD_BYTES_MAX))),
        ("GET",   "/api/v1/receivers",               get(receivers::list)),
        ("POST",  "/api/v1/receivers/{name}/test",   post(receivers::test)),
        ("GET",   "/api/v1/checks",                  get(checks::list)),
        ("POST",  "/api/v1/explain",                 post(checks::trial::explain_draft)),
        ("GET",   "/api/v1/checks/{name}",           get(checks::show)),
        ("PUT",   "/api/v1/checks/{name}",           put(checks::put)),
        ("DELETE", "/api/v1/checks/{name}",          delete(checks::delete)),
        ("POST",  "/api/v1/checks/{name}/explain",   post(checks::trial::explain)),
        ("POST",  "/api/v1/checks/{name}/run",       post(checks::run)),
        ("POST",  "/api/v1/checks/{name}/pause",     post(checks::pause)),
        ("POST",  "/api/v1/checks/{name}/resume",    post(checks::resume)),
        ("POST",  "/api/v1/checks/{name}/accept-pin", post(checks::accept_pin)),
        ("GET",   "/api/v1/checks/{name}/history",   get(checks::past::history)),
        ("GET",   "/api/v1/checks/{name}/failures",  get(checks::past::failures)),
        ("GET",   "/api/v1/checks/{name}/outages",   get(checks::past::outages)),
        ("GET",   "/api/v1/checks/{name}/uptime",    get(checks::past::uptime)),
        ("GET",   "/api/v1/checks/{name}/days",      get(checks::past::days)),
        ("POST",  "/api/v1/checks/{name}/replay",    post(checks::trial::replay)),
        ("GET",   "/api/v1/maintenance",             get(maintenance::list)),
        ("GET",   "/api/v1/maintenance/{name}",      get(maintenance::show)),
        ("PUT",   "/api/v1/maintenance/{name}",      put(maintenance::put)),
        ("DELETE", "/api/v1/maintenance/{name}",     delete(maintenance::delete)),
        ("GET",   "/api/v1/drain",                   get(drain::show)),
        ("POST",  "/api/v1/config/reload",           post(config::reload)),
    ]
}

/// Open to everyone: what machines ask before they have a token, and what holds no secret.
#[rustfmt::skip]
pub(crate) fn open_routes() -> Vec<Route> {
    vec![
        ("GET", "/api/v1/openapi.json", get(openapi::document)),
        ("GET", "/healthz",             get(health::healthz)),
        ("GET", "/readyz",              get(health::readyz)),
        ("GET", "/assets/{file}",       get(pages::assets::file)),
        ("POST", "/preferences",        post(pages::look::save)),
        ("GET", "/badge/checks/{file}", get(badge::check)),
        // The token is the credential; GET is HEAD, too.
        ("GET", "/ping/{token}",        get(ping::plain).post(ping::plain)),
        ("GET", "/ping/{token}/{word}", get(ping::word).post(ping::word)),
    ]
}

/// By which people come in. Open to everyone; forms are taken from our own pages only.
#[rustfmt::skip]
fn door_routes() -> Vec<Route> {
    vec![
        ("GET",  "/sign-in",               get(sign_in::show).post(sign_in::submit)),
        ("POST", "/sign-in/code",          post(sign_in::code)),
        ("GET",  "/sign-in/oidc",          get(oidc::leave)),
        ("GET",  oidc::CALLBACK,           get(oidc::come_back)),
        ("GET",  "/setup/{token}",         get(setup::show).post(setup::submit)),
    ]
}

/// For people who are signed in; a look is also open on this machine while nobody has an account. Which role a page asks
/// for stands in its handler (`OperatorOnly`, `SuperadminOnly`, `Changing`).
#[rustfmt::skip]
fn page_routes() -> Vec<Route> {
    vec![
        ("GET",  "/",            get(pages::overview::show)),
        ("GET",  "/apps",                      get(pages::apps::show)),
        ("GET",  "/apps/{name}",               get(pages::app::show)),
        ("GET",  "/apps/{name}/charts/{file}", get(pages::app::values)),
        ("GET",  "/apps/{name}/dynos/{dyno}",  get(pages::app::dyno)),
        ("GET",  "/apps/{name}/drains",                get(pages::drains::show)),
        ("POST", "/apps/{name}/drains",                post(pages::drains::change::add)),
        ("POST", "/apps/{name}/drains/read",           post(pages::drains::change::read)),
        ("GET",  "/apps/{name}/drains/rotate",         get(pages::drains::change::ask_rotate)),
        ("POST", "/apps/{name}/drains/rotate",         post(pages::drains::change::rotate)),
        ("POST", "/apps/{name}/drains/rotate/abandon", post(pages::drains::change::abandon)),
        ("POST", "/apps/{name}/drains/rotate/proceed", post(pages::drains::change::proceed)),
        ("GET",  "/apps/{name}/drains/{drain}/remove", get(pages::drains::change::ask_remove)),
        ("POST", "/apps/{name}/drains/{drain}/remove", post(pages::drains::change::remove)),
        ("POST", "/apps/{name}/runtime-metrics",       post(pages::drains::change::runtime_metrics)),
        ("POST", "/heroku/sync",                       post(pages::drains::change::sync)),
        ("GET",  "/live",        get(pages::live::show)),
        ("GET",  "/lines",        get(pages::line::show)),
        ("POST", "/lines/reveal", post(pages::line::reveal)),
        ("GET",  "/alerts",      get(pages::alerts::show)),
        ("GET",  "/alerts/{id}", get(pages::alert::show)),
        ("POST", "/alerts/{id}/resolve", post(pages::alert::resolve)),
        ("GET",  "/deliveries",  get(pages::deliveries::show)),
        ("GET",  "/checks",                       get(pages::checks::list)),
        ("GET",  "/checks/new",                   get(pages::checks::edit::new)),
        ("POST", "/checks/new",                   post(pages::checks::edit::create)),
        ("GET",  "/checks/maintenance",           get(pages::checks::maintenance::list)),
        ("GET",  "/checks/maintenance/new",       get(pages::checks::maintenance::new)),
        ("POST", "/checks/maintenance/new",       post(pages::checks::maintenance::create)),
        ("GET",  "/checks/maintenance/{name}/edit",   get(pages::checks::maintenance::edit)),
        ("POST", "/checks/maintenance/{name}/edit",   post(pages::checks::maintenance::change)),
        ("POST", "/checks/maintenance/{name}/end",    post(pages::checks::maintenance::end)),
        ("POST", "/checks/maintenance/{name}/delete", post(pages::checks::maintenance::delete)),
        ("GET",  "/checks/{name}",                get(pages::checks::one::show)),
        ("GET",  "/checks/{name}/charts/{file}",  get(pages::checks::one::values)),
        ("POST", "/checks/{name}/run",            post(pages::checks::act::run)),
        ("POST", "/checks/{name}/explain",        post(pages::checks::act::explain)),
        ("POST", "/checks/{name}/pause",          post(pages::checks::act::pause)),
        ("POST", "/checks/{name}/resume",         post(pages::checks::act::resume)),
        ("POST", "/checks/{name}/pin",            post(pages::checks::act::pin)),
        ("GET",  "/checks/{name}/edit",           get(pages::checks::edit::edit)),
        ("POST", "/checks/{name}/edit",           post(pages::checks::edit::change)),
        ("POST", "/checks/{name}/delete",         post(pages::checks::act::delete)),
        ("GET",  "/rules",                   get(pages::rules::list)),
        ("GET",  "/rules/new",               get(pages::rules::edit::new)),
        ("POST", "/rules/new",               post(pages::rules::edit::create)),
        ("GET",  "/rules/{name}",            get(pages::rules::show)),
        ("POST", "/rules/{name}/switch",     post(pages::rules::switch)),
        ("GET",  "/rules/{name}/edit",       get(pages::rules::edit::edit)),
        ("POST", "/rules/{name}/edit",       post(pages::rules::edit::change)),
        ("POST", "/rules/{name}/delete",     post(pages::rules::edit::delete)),
        ("GET",  "/receivers",               get(pages::receivers::list)),
        ("GET",  "/receivers/new",           get(pages::receivers::new)),
        ("POST", "/receivers/new",           post(pages::receivers::create)),
        ("GET",  "/receivers/{name}",        get(pages::receivers::show)),
        ("POST", "/receivers/{name}/test",   post(pages::receivers::test)),
        ("GET",  "/receivers/{name}/edit",   get(pages::receivers::edit)),
        ("POST", "/receivers/{name}/edit",   post(pages::receivers::change)),
        ("POST", "/receivers/{name}/delete", post(pages::receivers::delete)),
        ("GET",  "/connect",                 get(pages::connect::show)),
        ("GET",  "/settings",                get(pages::settings::index)),
        ("GET",  "/settings/health",         get(pages::settings::health)),
        ("GET",  "/settings/data",           get(pages::settings::data)),
        ("GET",  "/events",                  get(events::stream)),
        ("GET",  "/palette",     get(pages::palette::list)),
        ("POST", "/sign-out",                                 post(sign_in::out)),
        ("GET",  "/step-up",                                  get(sign_in::again).post(sign_in::renew)),
        ("GET",  "/settings/security",                        get(security::show)),
        ("POST", "/settings/security/password",               post(security::password)),
        ("POST", "/settings/security/preferences",            post(security::preferences)),
        ("POST", "/settings/security/sessions/end-others",    post(security::end_others)),
        ("POST", "/settings/security/sessions/{id}/end",      post(security::end_session)),
        ("POST", "/settings/security/authenticator",          post(security::begin_authenticator)),
        ("POST", "/settings/security/authenticator/confirm",  post(security::confirm_authenticator)),
        ("POST", "/settings/security/authenticator/codes",    post(security::new_codes)),
        ("POST", "/settings/security/authenticator/remove",   post(security::remove_authenticator)),
        ("GET",  "/settings/users",                           get(users::show).post(users::invite)),
        ("POST", "/settings/users/{id}/role",                 post(users::set_role)),
        ("POST", "/settings/users/{id}/disable",              post(users::disable)),
        ("POST", "/settings/users/{id}/enable",               post(users::enable)),
        ("POST", "/settings/users/{id}/reset",                post(users::reset)),
        ("POST", "/settings/users/{id}/authenticator",        post(users::remove_authenticator)),
        ("GET",  "/settings/tokens",                          get(tokens::show).post(tokens::create)),
        ("POST", "/settings/tokens/revoke",                   post(tokens::revoke)),
        ("GET",  "/settings/audit",                           get(audit_page::show)),
    ]
}

/// Forms that carry a file. Guarded as those of pages are, with more room.
fn upload_routes() -> Vec<Route> {
    vec![("POST", "/rules/new/backtest", post(pages::rules::backtest::run))]
}

fn table(routes: Vec<Route>) -> Router<Arc<Web>> {
    routes.into_iter().fold(Router::new(), |router, (_, path, handler)| router.route(path, handler))
}

/// Everything but the drain endpoint.
pub fn router(options: WebOptions) -> Router {
    let WebOptions { engine, drain, api_tokens, api_limits, reload, environment, stop, read_ahead, accounts } = options;
    let (tokens, flood) = (Tokens::new(&api_tokens), Flood::new(api_limits));
    let (outbox, events) = (Recent::default(), Hub::new(stop.clone()));
    let accounts = Accounts::new(accounts);
    let (boards, standing) = (boards(), Standing::default());
    let uploads = Arc::new(Semaphore::new(UPLOADS_MAX));
    let check_pasts = pasts();
    let (explains, badges) = (Explains::default(), badge::badges());
    let web = Web {
        engine,
        drain,
        tokens,
        flood,
        outbox,
        reload,
        environment,
        events,
        accounts,
        boards,
        standing,
        check_pasts,
        uploads,
        explains,
        badges,
    };
    let web = Arc::new(web);
    if read_ahead {
        tokio::spawn(pages::standing::keep_read(Arc::clone(&web), stop));
    }
    let metrics = Router::new().route("/metrics", get(metrics::show));
    Router::new()
        .merge(table(api_routes()).route_layer(from_fn_with_state(Arc::clone(&web), token_required)))
        .merge(
            table(page_routes())
                .route_layer(from_fn_with_state(Arc::clone(&web), forms_guarded))
                .route_layer(from_fn_with_state(Arc::clone(&web), surrounded))
                .route_layer(from_fn_with_state(Arc::clone(&web), reader_required)),
        )
        .merge(
            table(upload_routes())
                .route_layer(from_fn_with_state(Arc::clone(&web), uploads_guarded))
                .route_layer(from_fn_with_state(Arc::clone(&web), surrounded))
                .route_layer(from_fn_with_state(Arc::clone(&web), reader_required)),
        )
        .merge(metrics.route_layer(from_fn_with_state(Arc::clone(&web), scraper_required)))
        .merge(
            table(door_routes())
                .route_layer(from_fn_with_state(Arc::clone(&web), own_forms))
                .route_layer(from_fn_with_state(Arc::clone(&web), surrounded)),
        )
        .merge(table(open_routes()))
        .fallback(nowhere)
        .method_not_allowed_fallback(not_that_way)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&web), faults::answered))
        .layer(from_fn_with_state(Arc::clone(&web), pages::error::dressed))
        .layer(from_fn_with_state(Arc::clone(&web), address_limited))
        // Once more, for those two.
        .layer(from_fn_with_state(Arc::clone(&web), faults::answered))
        .layer(map_response(guarded))
        .layer(from_fn(compressed))
        .layer(from_fn_with_state(Arc::clone(&web), client_known))
        .with_state(web)
}

async fn nowhere(request: Request) -> Response {
    if request.uri().path().starts_with("/api/") {
        return ApiError::not_found("there is nothing here; GET /api/v1/openapi.json lists what there is")
            .into_response();
    }
    pages::error::PageError::not_found("There is no such page.").into_response()
}

async fn not_that_way(request: Request) -> Response {
    if request.uri().path().starts_with("/api/") {
        let message = format!("{} is not possible here; GET /api/v1/openapi.json lists what is", request.method());
        return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &message).into_response();
    }
    let what = if is_unsafe(request.method()) {
        "This page can only be read."
    } else {
        "This is the address of a form: there is nothing to read."
    };
    pages::error::PageError::new(StatusCode::METHOD_NOT_ALLOWED, what).into_response()
}

/// Headers of every answer. Nothing is loaded from elsewhere, no inline script or style runs, nobody frames us, and
/// what was shown is not kept, unless the answer said so itself.
async fn guarded(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 7] = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; object-src 'none'; script-src 'self'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
