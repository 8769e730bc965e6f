//! Who may read and change. Machines send a bearer token that has scopes; people are signed in, or, while nobody has an
//! account, look from this very machine. The drain has its own credentials.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::account::audit;
use dynowatch_domain::account::role::Act;
use dynowatch_domain::account::{Role, Scope, Scopes};
use dynowatch_store::StoreError;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::accounts::client::Client;
use crate::accounts::current;
use crate::accounts::sign_in::lead_in;
use crate::api::error::ApiError;
use crate::flood::may_ask_with;
use crate::pages;
use crate::router::Web;
use crate::server::Peer;
use crate::viewer::{is_own_script, is_unsafe};

/// A longer token is none of ours; it is not hashed.
const TOKEN_BYTES_MAX: usize = 512;
/// Who acts with a token of the configuration.
const ENVIRONMENT: &str = "environment";
/// Headers that only a proxy writes: with one of them, the peer is not the one who asks.
const FORWARDING: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// What the store keeps of an API token: its SHA-256. Tokens are long random texts, so no slow hash is needed.
#[must_use]
pub fn token_hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

/// Tokens of the configuration, hashed, so that comparing takes the same time whatever is sent.
pub(crate) struct Tokens(Vec<[u8; 32]>);

impl Tokens {
    pub(crate) fn new(tokens: &[SecretString]) -> Self {
        let usable = tokens.iter().map(|token| token.expose_secret()).filter(|token| !token.is_empty());
        Self(usable.map(token_hash).collect())
    }

    fn contains(&self, hash: &[u8; 32]) -> bool {
        self.0.iter().fold(Choice::from(0), |found, known| found | known[..].ct_eq(&hash[..])).into()
    }
}

/// Who asks: a token (`api:deploy-bot`) or a person (`user:ada`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor(pub(crate) audit::Actor);

/// What who asks may, and for which apps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach(pub(crate) Scopes);

impl Reach {
    /// Refuses an app that the token is not for.
    pub(crate) fn app(&self, name: &str) -> Result<(), ApiError> {
        if self.0.covers(name) {
            Ok(())
        } else {
            Err(denied(&format!("this token is only for {}", self.0.apps.join(", "))))
        }
    }

    /// Refuses a token for some apps where more than one app may be concerned.
    pub(crate) fn all(&self) -> Result<(), ApiError> {
        if self.0.apps.is_empty() {
            return Ok(());
        }
        Err(denied(&format!("this concerns more than the apps that the token is for: {}", self.0.apps.join(", "))))
    }

    /// The app of a question that may leave it out: a token for some apps must name one.
    pub(crate) fn asked(&self, name: Option<&str>) -> Result<(), ApiError> {
        match name {
            Some(name) => self.app(name),
            None if self.0.apps.is_empty() => Ok(()),
            None => {
                Err(denied(&format!("this token is only for {}: name one of them with `app`", self.0.apps.join(", "))))
            }
        }
    }
}

/// Who asks and what they may.
struct Caller {
    name: String,
    scopes: Scopes,
}

/// Finds the holder of a token. The store is asked by hash, so what it leaks by its timing is of no use. Tokens of the
/// environment may everything.
async fn holder(web: &Web, token: &[u8]) -> Result<Option<Caller>, StoreError> {
    let Some(token) = std::str::from_utf8(token).ok().filter(|t| !t.is_empty() && t.len() <= TOKEN_BYTES_MAX) else {
        return Ok(None);
    };
    let hash = token_hash(token);
    if web.tokens.contains(&hash) {
        return Ok(Some(Caller { name: format!("api:{ENVIRONMENT}"), scopes: Scopes::all() }));
    }
    let found = web.engine.store().find_api_token(&hash, web.engine.now()).await?;
    Ok(found.map(|token| Caller { name: format!("api:{}", token.name), scopes: token.scopes }))
}

/// The credential of a scheme, such as `Bearer`.
fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// Whether a request comes from this very machine: its peer is loopback, no proxy stands between, and it was sent to a
/// name of this machine. The last keeps out a web page elsewhere that lets its own name resolve to 127.0.0.1.
pub(crate) fn is_local(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<Peer>().is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback());
    peer && !FORWARDING.iter().any(|name| parts.headers.contains_key(*name)) && is_local_host(&parts.headers)
}

pub(crate) fn is_local_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(header::HOST) else { return true };
    let Ok(host) = host.to_str() else { return false };
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let loopback = name.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback());
    loopback || name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost")
}

/// Whether this instance is reached from elsewhere. Then a proxy stands before it, and one that says nothing of itself
/// (nginx, unless it is told to) would make every visitor look local.
pub(crate) fn is_published(web: &Web) -> bool {
    let url = web.engine.public_url();
    let host = url.as_ref().as_ref().and_then(|url| url.parse::<http::Uri>().ok()?.host().map(str::to_owned));
    host.is_some_and(|host| {
        let mut headers = HeaderMap::new();
        http::HeaderValue::from_str(&host).is_ok_and(|host| headers.insert(header::HOST, host).is_none())
            && !is_local_host(&headers)
    })
}

/// Whether a request may read what people read: it is local, brings a token that may read, or someone is signed in.
pub(crate) async fn may_read(web: &Web, parts: &Parts) -> Result<bool, StoreError> {
    if is_local(parts) && !is_published(web) {
        return Ok(true);
    }
    match credential(&parts.headers, "Bearer") {
        Some(token) => Ok(holder(web, token).await?.is_some_and(|caller| caller.scopes.may(Scope::Read))),
        None => Ok(current::viewer(web, parts).await?.is_some()),
    }
}

/// What a token for some apps only may ask for at all; the handlers look at the app.
const APP_PATHS: [&str; 17] = [
    "/api/v1/apps",
    "/api/v1/apps/{name}",
    "/api/v1/alerts",
    "/api/v1/alerts/{id}",
    "/api/v1/alerts/resolve",
    "/api/v1/checks",
    "/api/v1/checks/{name}",
    "/api/v1/checks/{name}/history",
    "/api/v1/checks/{name}/failures",
    "/api/v1/checks/{name}/outages",
    "/api/v1/checks/{name}/uptime",
    "/api/v1/checks/{name}/days",
    "/api/v1/checks/{name}/run",
    "/api/v1/checks/{name}/pause",
    "/api/v1/checks/{name}/resume",
    "/api/v1/checks/{name}/explain",
    "/api/v1/checks/{name}/replay",
];

/// The scope that a request of the API needs.
fn needed(method: &Method, path: &str) -> Scope {
    match (is_unsafe(method), path) {
        (false, _) => Scope::Read,
        (true, "/api/v1/config/reload") => Scope::Admin,
        (true, _) => Scope::Operate,
    }
}

/// For the API: a bearer token, or someone signed in whose own page asks. Never both: a token counts alone.
pub(crate) async fn token_required(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str).to_owned();
    let caller = match caller(&web, &parts).await {
        Ok(caller) => caller,
        Err(refusal) => return refusal,
    };
    let scope = needed(&parts.method, &path);
    let address = parts.extensions.get::<Client>().map(|client| client.address.clone()).unwrap_or_default();
    let actor = audit::Actor { name: caller.name, address };
    let why = if !caller.scopes.may(scope) {
        Some(format!("this needs the scope {}; {} may {}", scope.as_str(), actor.name, caller.scopes))
    } else if !caller.scopes.apps.is_empty() && !APP_PATHS.contains(&path.as_str()) {
        Some(format!("this concerns more than the apps that the token is for: {}", caller.scopes.apps.join(", ")))
    } else {
        None
    };
    if let Some(why) = why {
        let act = actor.did("request.denied", parts.uri.path()).with(format!("{}: {why}", parts.method));
        return match web.accounts.denied(web.engine.store(), &actor.name, &act, web.engine.now()).await {
            Ok(()) => denied(&why).into_response(),
            Err(error) => ApiError::from(error).into_response(),
        };
    }
    parts.extensions.insert(Actor(actor));
    parts.extensions.insert(Reach(caller.scopes));
    next.run(Request::from_parts(parts, body)).await
}

async fn caller(web: &Web, parts: &Parts) -> Result<Caller, Response> {
    if parts.headers.contains_key(header::AUTHORIZATION) {
        let found = match credential(&parts.headers, "Bearer") {
            Some(token) => holder(web, token).await.map_err(|error| ApiError::from(error).into_response())?,
            None => None,
        };
        let found = found.ok_or_else(|| unauthorized("the token is unknown, revoked or over"))?;
        let token = credential(&parts.headers, "Bearer").unwrap_or_default();
        may_ask_with(web, Sha256::digest(token).into(), &found.name)?;
        return Ok(found);
    }
    let found = current::viewer(web, parts).await.map_err(|error| ApiError::from(error).into_response())?;
    let how = "send a token: `Authorization: Bearer TOKEN`; `dynowatch token create` makes one";
    let viewer = found.ok_or_else(|| unauthorized(how))?;
    if is_unsafe(&parts.method) {
        if viewer.is_guest {
            return Err(unauthorized(how));
        }
        let is_json = parts.headers.get(header::CONTENT_TYPE).is_none_or(|value| {
            value
                .to_str()
                .is_ok_and(|text| text.split(';').next().is_some_and(|kind| kind.trim() == "application/json"))
        });
        if !is_json || !is_own_script(&parts.headers, &viewer) {
            let why = "without a token, only pages of this instance may change something";
            let act = viewer.actor().did("request.denied", parts.uri.path()).with(format!("{}: {why}", parts.method));
            let noted = web.accounts.denied(web.engine.store(), &viewer.actor_name(), &act, web.engine.now()).await;
            return Err(noted.map_or_else(ApiError::from, |()| denied(why)).into_response());
        }
        if !viewer.is_fresh {
            return Err(denied("you signed in more than twelve hours ago: sign in again at /step-up").into_response());
        }
    }
    // A guest has the role of a viewer.
    let scopes = Scope::ALL.into_iter().filter(|scope| viewer.role >= least(*scope)).collect();
    let scopes = Scopes { scopes, apps: Vec::new() };
    Ok(Caller { name: viewer.actor_name(), scopes })
}

/// The least role of a person for what a token needs a scope for.
fn least(scope: Scope) -> Role {
    match scope {
        Scope::Read => Act::Read.needs(),
        Scope::Operate => Act::Operate.needs(),
        Scope::Admin => Act::Configure.needs(),
    }
}

fn unauthorized(message: &str) -> Response {
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    ([(header::WWW_AUTHENTICATE, "Bearer realm=\"dynowatch\"")], error).into_response()
}

fn denied(message: &str) -> ApiError {
    ApiError::new(StatusCode::FORBIDDEN, "forbidden", message)
}

/// For pages: someone signed in; or, while nobody has an account, a look from this very machine.
pub(crate) async fn reader_required(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match current::viewer(&web, &parts).await {
        Ok(Some(viewer)) => {
            parts.extensions.insert(viewer.clone());
            let mut response = next.run(Request::from_parts(parts, body)).await;
            pages::error::keep_viewer(&mut response, viewer);
            response
        }
        // What a script asks for in the background is no place to come back to.
        Ok(None) if is_unsafe(&parts.method) || matches!(parts.uri.path(), "/events" | "/palette") => {
            pages::error::PageError::signed_out().into_response()
        }
        Ok(None) => lead_in(&Request::from_parts(parts, body)),
        Err(error) => pages::error::PageError::from(error).into_response(),
    }
}

/// For `/metrics`: local, a token that may read, or someone signed in.
pub(crate) async fn scraper_required(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match may_read(&web, &parts).await {
        Ok(true) => next.run(Request::from_parts(parts, body)).await,
        Ok(false) => unauthorized("from elsewhere, metrics need a token: `Authorization: Bearer TOKEN`"),
        Err(error) => ApiError::from(error).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(peer: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        parts
    }

    #[test]
    fn local_is_this_machine_and_no_proxy() {
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], bool);
        let cases: [Case<'_>; 14] = [
            ("127.0.0.1:4000", &[], true),
            ("[::1]:4000", &[], true),
            ("[::ffff:127.0.0.1]:4000", &[("host", "[::1]:8080")], true),
            ("127.0.0.1:4000", &[("host", "localhost:8080")], true),
            ("127.0.0.1:4000", &[("host", "127.0.0.1:8080")], true),
            ("127.0.0.1:4000", &[("host", "watch.localhost")], true),
            ("127.0.0.1:4000", &[("host", "evil.example:8080")], false),
            ("127.0.0.1:4000", &[("host", "localhost.evil.example")], false),
            ("127.0.0.1:4000", &[("host", "127.0.0.1.evil.example")], false),
            ("127.0.0.1:4000", &[("x-forwarded-for", "10.0.0.1")], false),
            ("127.0.0.1:4000", &[("forwarded", "for=127.0.0.1")], false),
            ("127.0.0.1:4000", &[("via", "1.1 vegur")], false),
            ("10.1.2.3:4000", &[("host", "localhost")], false),
            ("203.0.113.9:4000", &[("x-forwarded-for", "127.0.0.1")], false),
        ];
        for (peer, headers, want) in cases {
            assert_eq!(is_local(&parts(peer, headers)), want, "{peer} {headers:?}");
        }
        assert!(!is_local(&Request::builder().body(()).unwrap().into_parts().0), "no peer is no local peer");
    }

    #[test]
    fn credentials() {
        let of = |value: &str| parts("127.0.0.1:1", &[("authorization", value)]).headers;
        assert_eq!(credential(&of("Bearer abc"), "Bearer"), Some(&b"abc"[..]));
        assert_eq!(credential(&of("bearer  abc "), "Bearer"), Some(&b"abc"[..]));
        for wrong in ["Bearerabc", "Basic abc", "Bea", ""] {
            assert_eq!(credential(&of(wrong), "Bearer"), None, "{wrong}");
        }
    }

    #[test]
    fn configured_tokens() {
        let tokens = Tokens::new(&["first".into(), "".into(), "second".into()]);
        for (token, want) in [("first", true), ("second", true), ("third", false), ("", false)] {
            assert_eq!(tokens.contains(&token_hash(token)), want, "{token}");
        }
    }
}
