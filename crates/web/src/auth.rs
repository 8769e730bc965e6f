//! Who may read and change. Machines send a bearer token; people on this very machine need nothing, people elsewhere a
//! token as the password of basic authentication, until there are accounts. The drain has its own credentials.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dynowatch_store::StoreError;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

use crate::api::error::ApiError;
use crate::flood::may_ask_with;
use crate::pages;
use crate::router::Web;
use crate::server::Peer;
use crate::viewer::Viewer;

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

/// Who asks, by the name of their token: `api:deploy-bot`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Actor(pub(crate) String);

/// Finds the holder of a token. The store is asked by hash, so what it leaks by its timing is of no use.
async fn holder(web: &Web, token: &[u8]) -> Result<Option<Actor>, StoreError> {
    let Some(token) = std::str::from_utf8(token).ok().filter(|t| !t.is_empty() && t.len() <= TOKEN_BYTES_MAX) else {
        return Ok(None);
    };
    let hash = token_hash(token);
    if web.tokens.contains(&hash) {
        return Ok(Some(Actor(format!("api:{ENVIRONMENT}"))));
    }
    let found = web.engine.store().find_api_token(&hash, web.engine.now()).await?;
    Ok(found.map(|token| Actor(format!("api:{}", token.name))))
}

/// The credential of a scheme, such as `Bearer`.
fn credential<'a>(headers: &'a HeaderMap, scheme: &str) -> Option<&'a [u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (given, rest) = value.split_at_checked(scheme.len())?;
    let rest = rest.strip_prefix(b" ")?;
    given.eq_ignore_ascii_case(scheme.as_bytes()).then(|| rest.trim_ascii())
}

/// The password of basic authentication; the user's name means nothing yet.
fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let encoded = credential(headers, "Basic").filter(|encoded| encoded.len() <= 2 * TOKEN_BYTES_MAX)?;
    let decoded = data_encoding::BASE64.decode(encoded).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    Some(decoded.get(colon + 1..)?.to_vec())
}

/// Whether a request comes from this very machine: its peer is loopback, no proxy stands between, and it was sent to a
/// name of this machine. The last keeps out a web page elsewhere that lets its own name resolve to 127.0.0.1.
pub(crate) fn is_local(parts: &Parts) -> bool {
    let peer = parts.extensions.get::<Peer>().is_some_and(|Peer(peer)| peer.ip().to_canonical().is_loopback());
    peer && !FORWARDING.iter().any(|name| parts.headers.contains_key(*name)) && is_local_host(&parts.headers)
}

fn is_local_host(headers: &HeaderMap) -> bool {
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
fn is_published(web: &Web) -> bool {
    let url = web.engine.public_url();
    let host = url.as_ref().as_ref().and_then(|url| url.parse::<http::Uri>().ok()?.host().map(str::to_owned));
    host.is_some_and(|host| {
        let mut headers = HeaderMap::new();
        http::HeaderValue::from_str(&host).is_ok_and(|host| headers.insert(header::HOST, host).is_none())
            && !is_local_host(&headers)
    })
}

/// Whether a request may read what people read: it is local or brings a token, as bearer or as password.
pub(crate) async fn may_read(web: &Web, parts: &Parts) -> Result<bool, StoreError> {
    if is_local(parts) && !is_published(web) {
        return Ok(true);
    }
    let token = credential(&parts.headers, "Bearer").map(<[u8]>::to_vec).or_else(|| basic_password(&parts.headers));
    match token {
        Some(token) => Ok(holder(web, &token).await?.is_some()),
        None => Ok(false),
    }
}

/// For the API: a bearer token, always.
pub(crate) async fn token_required(State(web): State<Arc<Web>>, mut request: Request, next: Next) -> Response {
    let token = credential(request.headers(), "Bearer").map(<[u8]>::to_vec);
    let Some(token) = token else {
        return unauthorized("send a token: `Authorization: Bearer TOKEN`; `dynowatch token create` makes one");
    };
    match holder(&web, &token).await {
        Ok(Some(actor)) => {
            if let Err(refused) = may_ask_with(&web, Sha256::digest(&token).into(), &actor.0) {
                return refused;
            }
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Ok(None) => unauthorized("the token is unknown or revoked"),
        Err(error) => ApiError::from(error).into_response(),
    }
}

fn unauthorized(message: &str) -> Response {
    let error = ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    ([(header::WWW_AUTHENTICATE, "Bearer realm=\"dynowatch\"")], error).into_response()
}

/// For pages: local, or basic authentication.
pub(crate) async fn reader_required(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    match may_read(&web, &parts).await {
        Ok(true) => {
            parts.extensions.insert(Viewer::guest());
            next.run(Request::from_parts(parts, body)).await
        }
        Ok(false) => {
            let challenge = [(header::WWW_AUTHENTICATE, "Basic realm=\"dynowatch\", charset=\"UTF-8\"")];
            (challenge, pages::error::sign_in()).into_response()
        }
        Err(error) => pages::error::PageError::from(error).into_response(),
    }
}

/// For `/metrics`: local, or a token.
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
        let basic =
            |plain: &str| basic_password(&of(&format!("Basic {}", data_encoding::BASE64.encode(plain.as_bytes()))));
        assert_eq!(basic("anyone:s3:cret"), Some(b"s3:cret".to_vec()));
        assert_eq!(basic("no colon"), None);
        assert_eq!(basic_password(&of("Basic !!!")), None);
    }

    #[test]
    fn configured_tokens() {
        let tokens = Tokens::new(&["first".into(), "".into(), "second".into()]);
        for (token, want) in [("first", true), ("second", true), ("third", false), ("", false)] {
            assert_eq!(tokens.contains(&token_hash(token)), want, "{token}");
        }
    }
}
