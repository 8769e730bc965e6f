//! One request and its answer: headers, limits, and which failures are tried again. Owns the key.

use std::error::Error as _;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{Method, Response, Url, redirect};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, clean, cut};

/// Where the API is.
pub const API_URL: &str = "https://api.heroku.com";
/// The version this was written for.
const VERSION: &str = "application/vnd.heroku+json; version=3";
const NEXT_RANGE: HeaderName = HeaderName::from_static("next-range");
const REMAINING: HeaderName = HeaderName::from_static("ratelimit-remaining");
const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const TWO_FACTOR: HeaderName = HeaderName::from_static("heroku-two-factor-code");
/// An answer of more bytes is refused. A page of 1,000 apps has about 1.5 MB.
const ANSWER_BYTES_MAX: usize = 8 << 20;
/// How often a request is made in all.
const TRIES_MAX: u32 = 3;
/// A `Retry-After` up to this is waited for here; a longer one is the caller's.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// What a client is made of.
pub struct ClientOptions {
    /// Where the API is; [`API_URL`] except in tests.
    pub base_url: String,
    /// The account's token.
    pub key: SecretString,
    /// One request, its answer included, takes at most this long.
    pub request_max: Duration,
    /// How long to wait before the second try; longer before each further one.
    pub retry_wait: Duration,
    /// Any number: spreads the waits of several processes.
    pub seed: u64,
}

impl ClientOptions {
    /// A client of the real API.
    #[must_use]
    pub fn new(key: SecretString) -> Self {
        Self {
            base_url: API_URL.to_owned(),
            key,
            request_max: Duration::from_secs(15),
            retry_wait: Duration::from_millis(500),
            seed: 1,
        }
    }
}

/// A client of one account. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
    two_factor: Option<SecretString>,
}

struct Shared {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
    request_max: Duration,
    retry_wait: Duration,
    jitter: AtomicU64,
    remaining: AtomicI64,
    sent: AtomicU64,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("host", &self.shared.base.host_str()).finish_non_exhaustive()
    }
}

/// A request to be made.
pub(crate) struct Request<'a> {
    method: Method,
    path: &'a [&'a str],
    range: Option<&'a str>,
    body: Option<serde_json::Value>,
    /// What it holds that its answer may echo.
    secrets: Vec<&'a SecretString>,
    /// Made twice, it does what it does made once.
    idempotent: bool,
}

impl<'a> Request<'a> {
    pub(crate) fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, range: None, body: None, secrets: Vec::new(), idempotent: true }
    }

    pub(crate) fn delete(path: &'a [&'a str]) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    pub(crate) fn patch(path: &'a [&'a str], body: serde_json::Value) -> Self {
        Self { method: Method::PATCH, body: Some(body), ..Self::get(path) }
    }

    pub(crate) fn post(path: &'a [&'a str], body: serde_json::Value, secret: &'a SecretString) -> Self {
        let base = Self::get(path);
        Self { method: Method::POST, body: Some(body), secrets: vec![secret], idempotent: false, ..base }
    }

    pub(crate) fn range(self, range: &'a str) -> Self {
        Self { range: Some(range), ..self }
    }
}

/// A good answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) next_range: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Client {
    /// A client. Nothing is asked yet. The process must have chosen its TLS provider.
    ///
    /// # Errors
    /// [`Error::Unusable`] when the address is no base URL or the key fits no header. Neither is repeated.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let ClientOptions { base_url, key, request_max, retry_wait, seed } = options;
        let base = Url::parse(&base_url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let base = base.ok_or_else(|| {
            Error::Unusable(
                "the address of Heroku's API is no URL: write one such as https://api.heroku.com".to_owned(),
            )
        })?;
        if bearer(&key).is_none() {
            return Err(Error::Unusable("HEROKU_API_KEY holds a character that no token has".to_owned()));
        }
        // Redirects are not followed: they would carry the key to a place nobody named. Proxies of the environment are not
        // used: only the binary reads the environment.
        let http = reqwest::Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .connect_timeout(Duration::from_secs(5))
            .pool_idle_timeout(Duration::from_secs(30))
            .user_agent(concat!("dynowatch/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Unusable(format!("no HTTP client: {}", error.without_url())))?;
        let shared = Shared {
            http,
            base,
            key,
            request_max,
            retry_wait,
            jitter: AtomicU64::new(seed | 1),
            remaining: AtomicI64::new(-1),
            sent: AtomicU64::new(0),
        };
        Ok(Self { shared: Arc::new(shared), two_factor: None })
    }

    /// The same client, with a code of the second factor on every request. Codes hold for one request or for half a minute.
    #[must_use]
    pub fn with_two_factor_code(&self, code: SecretString) -> Self {
        Self { shared: Arc::clone(&self.shared), two_factor: Some(code) }
    }

    /// How many requests the account has left, as the newest answer said; `None` before the first. The account shares them
    /// with the people and programs that use it elsewhere.
    #[must_use]
    pub fn remaining(&self) -> Option<u32> {
        u32::try_from(self.shared.remaining.load(Relaxed)).ok()
    }

    /// How many requests were sent, tries included.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }

    /// Sends a request until it is answered, as long as trying again may help and can do no harm.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Answer, Error> {
        let mut tries = 0;
        loop {
            tries += 1;
            let error = match self.try_once(&request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // A request that was refused for its number was not carried out, whatever it is.
            let limited = matches!(&error, Error::Refused { status: 429, .. });
            let again = limited || (error.is_passing() && (request.idempotent || !error.maybe_done()));
            let wait = match error.retry_after() {
                Some(wait) if wait <= WAIT_MAX => Some(wait + self.jittered(1)),
                Some(_) => None,
                None if limited => None,
                None => Some(self.jittered(tries)),
            };
            match wait.filter(|_| again && tries < TRIES_MAX) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    async fn try_once(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let after = self.shared.request_max;
        tokio::time::timeout(after, self.exchange(request)).await.unwrap_or(Err(Error::TimedOut { after }))
    }

    async fn exchange(&self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut response =
            self.built(request)?.send().await.map_err(|error| unreachable(error, !request.idempotent))?;
        self.shared.sent.fetch_add(1, Relaxed);
        let headers = response.headers();
        if let Some(remaining) = header(headers, &REMAINING).and_then(|text| text.parse::<u32>().ok()) {
            self.shared.remaining.store(remaining.into(), Relaxed);
        }
        let request_id = header(headers, &REQUEST_ID).map(|id| cut(id, 80));
        let next_range = header(headers, &NEXT_RANGE).filter(|range| range.len() <= 1_000).map(str::to_owned);
        let retry_after =
            header(headers, &RETRY_AFTER).and_then(|text| text.trim().parse().ok()).map(Duration::from_secs);
        let status = response.status().as_u16();
        let body = read_capped(&mut response, &request_id).await?;
        if response.status().is_success() {
            return Ok(Answer { status, next_range, request_id, body });
        }
        let mut secrets = vec![&self.shared.key];
        secrets.extend(&self.two_factor);
        secrets.extend(&request.secrets);
        Err(Error::refused(status, &body, request_id, retry_after, &secrets))
    }

    fn built(&self, request: &Request<'_>) -> Result<reqwest::RequestBuilder, Error> {
        let unusable = |what: &str| Error::Unusable(what.to_owned());
        let mut url = self.shared.base.clone();
        url.path_segments_mut()
            .map_err(|()| unusable("the address of Heroku's API is no base URL"))?
            .pop_if_empty()
            .extend(request.path);
        let key = bearer(&self.shared.key).ok_or_else(|| unusable("the key fits no header"))?;
        let mut built =
            self.shared.http.request(request.method.clone(), url).header(ACCEPT, VERSION).header(AUTHORIZATION, key);
        if let Some(range) = request.range {
            built = built.header(RANGE, range);
        }
        if let Some(code) = &self.two_factor {
            let mut code = HeaderValue::from_str(code.expose_secret())
                .map_err(|_| unusable("the code of the second factor is none: write the digits"))?;
            code.set_sensitive(true);
            built = built.header(TWO_FACTOR, code);
        }
        Ok(match &request.body {
            Some(body) => built.json(body),
            None => built,
        })
    }

    /// A wait before try `n + 1`: doubling, and up to half more or less.
    fn jittered(&self, n: u32) -> Duration {
        // Waits need to differ, not to be unpredictable: a step of xorshift is enough.
        let mut x = self.shared.jitter.load(Relaxed);
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.shared.jitter.store(x, Relaxed);
        let percent = u32::try_from(50 + x % 100).unwrap_or(100);
        self.shared.retry_wait * 2_u32.pow(n.clamp(1, 8) - 1) * percent / 100
    }
}

fn bearer(key: &SecretString) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("Bearer {}", key.expose_secret())).ok()?;
    value.set_sensitive(true);
    Some(value)
}

fn header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

async fn read_capped(response: &mut Response, request_id: &Option<String>) -> Result<Vec<u8>, Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| unreachable(error, true))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            let what = format!("more than {ANSWER_BYTES_MAX} bytes");
            return Err(Error::Malformed { what, request_id: request_id.clone() });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn unreachable(error: reqwest::Error, changes: bool) -> Error {
    let maybe_done = changes && !error.is_connect();
    let error = error.without_url();
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let words = next.to_string();
        if !detail.contains(&words) {
            detail = format!("{detail}: {words}");
        }
        cause = next.source();
    }
    Error::Unreachable { detail: clean(&detail, &[]), maybe_done }
}
