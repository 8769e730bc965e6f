//! From where and how a request came, and which cookie that allows. Headers of proxies count only where a proxy of ours
//! writes them; otherwise anyone could claim to be anywhere.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::account::session::READING;

use super::secret_hash;
use crate::auth::is_local_host;
use crate::pages::error::PageError;
use crate::router::Web;
use crate::server::Peer;

/// The cookie over https. Its prefix makes browsers refuse one that is not secure, not for the whole host, or set by a
/// neighbouring host.
const COOKIE_SECURE: &str = "__Host-dynowatch";
/// The cookie over plain http, on this very machine.
const COOKIE_LOCAL: &str = "dynowatch";
/// Behind the name of the cookie of a sign-in elsewhere that is under way.
const FLOW_SUFFIX: &str = "-elsewhere";
/// A longer cookie is none of ours.
const TOKEN_BYTES_MAX: usize = 128;
/// What is kept of a browser's description of itself.
const AGENT_CHARS_MAX: usize = 160;

/// From where and how a request came.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    /// The address of who asks; empty when nobody knows.
    pub(crate) address: String,
    /// Whether it came over https, as far as a proxy of ours says.
    pub(crate) is_https: bool,
    /// With which browser, as that says.
    pub(crate) agent: String,
    /// Which cookie may be used; none over plain http from elsewhere.
    cookie: Option<&'static str>,
}

impl Client {
    fn of(parts: &Parts, trust_forwarded: bool) -> Self {
        let last = |name: &str| {
            let value = parts.headers.get_all(name).iter().next_back().filter(|_| trust_forwarded)?.to_str().ok()?;
            Some(value.rsplit(',').next().unwrap_or_default().trim().to_owned())
        };
        let peer = parts.extensions.get::<Peer>().map(|Peer(peer)| peer.ip().to_canonical());
        // The last address was written by our proxy; those before it by whoever asked.
        let forwarded = last("x-forwarded-for").and_then(|text| text.parse::<IpAddr>().ok());
        let is_https = last("x-forwarded-proto").is_some_and(|proto| proto.eq_ignore_ascii_case("https"));
        let cookie = match (is_https, is_local_host(&parts.headers)) {
            (true, _) => Some(COOKIE_SECURE),
            (false, true) => Some(COOKIE_LOCAL),
            (false, false) => None,
        };
        let agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            address: forwarded.or(peer).map(|ip| ip.to_string()).unwrap_or_default(),
            is_https,
            agent: agent.chars().take(AGENT_CHARS_MAX).collect(),
            cookie,
        }
    }

    /// Whether one can sign in this way: over plain http from elsewhere everyone on the way would read the password.
    pub(crate) fn can_sign_in(&self) -> bool {
        self.cookie.is_some()
    }

    /// The secret of the cookie that came along, if it can be one of ours.
    pub(crate) fn token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.value(headers, self.cookie?)
    }

    fn value<'a>(&self, headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        let pairs = cookies.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let token = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).next()?;
        (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then_some(token)
    }

    /// The hash of that, for ending what the browser had before.
    pub(crate) fn token_hash(&self, headers: &HeaderMap) -> Option<[u8; 32]> {
        self.token(headers).map(secret_hash)
    }

    /// The header that gives a browser its cookie.
    pub(crate) fn set_cookie(&self, token: &str) -> Option<HeaderValue> {
        self.cookie_line(token, READING.as_secs())
    }

    /// The header that takes it away.
    pub(crate) fn drop_cookie(&self) -> Option<HeaderValue> {
        self.cookie_line("", 0)
    }

    /// The cookie that ties a sign-in elsewhere to the browser that began it.
    pub(crate) fn set_flow_cookie(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        self.line(&format!("{}{FLOW_SUFFIX}", self.cookie?), value, max_age)
    }

    /// Its value.
    pub(crate) fn flow_token<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        self.value(headers, &format!("{}{FLOW_SUFFIX}", self.cookie?))
    }

    fn cookie_line(&self, value: &str, max_age: u64) -> Option<HeaderValue> {
        self.line(self.cookie?, value, max_age)
    }

    fn line(&self, name: &str, value: &str, max_age: u64) -> Option<HeaderValue> {
        let secure = if self.is_https { "; Secure" } else { "" };
        let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Lax; Max-Age={max_age}{secure}");
        let mut line = HeaderValue::from_str(&line).ok()?;
        line.set_sensitive(true);
        Some(line)
    }

    /// Someone of that name, here.
    pub(crate) fn actor(&self, name: impl Into<String>) -> Actor {
        Actor { name: name.into(), address: self.address.clone() }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        let client = parts.extensions.get::<Self>().cloned();
        client.ok_or_else(|| PageError::new(StatusCode::INTERNAL_SERVER_ERROR, "Nobody knows where this came from."))
    }
}

/// Notes where each request came from, and tells browsers that came over https to stay there.
pub(crate) async fn client_known(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let client = Client::of(&parts, web.accounts.trust_forwarded);
    let is_https = client.is_https;
    parts.extensions.insert(client);
    let mut response = next.run(Request::from_parts(parts, body)).await;
    if is_https {
        let year = HeaderValue::from_static("max-age=31536000");
        response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trust: bool, peer: &str, headers: &[(&str, &str)]) -> (Client, HeaderMap) {
        let mut request = Request::builder().uri("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        (Client::of(&parts, trust), parts.headers)
    }

    #[test]
    fn addresses_and_cookies() {
        const XFF: &str = "x-forwarded-for";
        const XFP: &str = "x-forwarded-proto";
        type Case<'a> = (bool, &'a str, &'a [(&'a str, &'a str)], &'a str, Option<&'static str>);
        let cases: [Case<'_>; 8] = [
            (false, "127.0.0.1:1", &[("host", "localhost:8080")], "127.0.0.1", Some(COOKIE_LOCAL)),
            (false, "203.0.113.9:1", &[("host", "watch.example")], "203.0.113.9", None),
            (
                false,
                "203.0.113.9:1",
                &[("host", "watch.example"), (XFF, "10.0.0.1"), (XFP, "https")],
                "203.0.113.9",
                None,
            ),
            (
                true,
                "10.1.2.3:1",
                &[("host", "watch.example"), (XFF, "6.6.6.6, 203.0.113.9"), (XFP, "https")],
                "203.0.113.9",
                Some(COOKIE_SECURE),
            ),
            (
                true,
                "10.1.2.3:1",
                &[("host", "watch.example"), (XFF, "203.0.113.9"), (XFP, "http")],
                "203.0.113.9",
                None,
            ),
            (true, "10.1.2.3:1", &[("host", "watch.example"), (XFF, "nonsense")], "10.1.2.3", None),
            (true, "10.1.2.3:1", &[("host", "watch.example"), (XFP, "http, https")], "10.1.2.3", Some(COOKIE_SECURE)),
            (false, "127.0.0.1:1", &[("host", "evil.example")], "127.0.0.1", None),
        ];
        for (trust, peer, headers, address, cookie) in cases {
            let (client, _) = client(trust, peer, headers);
            assert_eq!((client.address.as_str(), client.cookie), (address, cookie), "{trust} {peer} {headers:?}");
        }
    }

    #[test]
    fn only_the_right_cookie_is_read() {
        let https: &[(&str, &str)] = &[("x-forwarded-proto", "https"), ("host", "watch.example")];
        let with = |cookie| {
            let (client, headers) = client(true, "10.1.2.3:1", &[https, &[("cookie", cookie)]].concat());
            client.token(&headers).map(str::to_owned)
        };
        assert_eq!(with("a=b; __Host-dynowatch=abc").as_deref(), Some("abc"));
        assert_eq!(with("dynowatch=abc"), None, "the plain one does not count over https");
        assert_eq!(with("__Host-dynowatch="), None);
        assert_eq!(with(&format!("__Host-dynowatch={}", "a".repeat(500))), None);
        let (local, headers) =
            client(false, "127.0.0.1:1", &[("host", "localhost"), ("cookie", "__Host-dynowatch=abc; dynowatch=def")]);
        assert_eq!(local.token(&headers), Some("def"));
    }

    #[test]
    fn attributes_of_cookies() {
        let (https, _) = client(true, "10.1.2.3:1", &[("x-forwarded-proto", "https"), ("host", "watch.example")]);
        let line = https.set_cookie("abc").unwrap();
        assert_eq!(
            line.to_str().unwrap(),
            "__Host-dynowatch=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000; Secure"
        );
        let (local, _) = client(false, "127.0.0.1:1", &[("host", "localhost")]);
        assert_eq!(
            local.set_cookie("abc").unwrap().to_str().unwrap(),
            "dynowatch=abc; Path=/; HttpOnly; SameSite=Lax; Max-Age=2592000"
        );
        assert!(local.drop_cookie().unwrap().to_str().unwrap().contains("Max-Age=0"));
    }
}
