//! How often the API may be asked (contract C36): so many requests a minute by one token, and by one address. Who asks more
//! is answered 429 with `Retry-After`; one alert (`api-limited`) says that it happens. Deliveries to the drain never
//! come here: they are bounded by places and answered 503.
//!
//! Each caller has an allowance of a minute's requests, which comes back evenly: a burst of all of it is fine, and who
//! keeps to the rate is never refused. What is kept of a caller is one number, the moment at which all of its allowance
//! is back; callers whose moment is past are forgotten without any difference.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use dynowatch_domain::signal::Kind;
use dynowatch_engine::stats::Counter;
use sha2::{Digest as _, Sha256};

use crate::api::error::ApiError;
use crate::router::Web;
use crate::server::Peer;

const MINUTE_US: i64 = 60_000_000;
/// Callers kept apart, of each sort. Further ones share one allowance until others are quiet.
const CALLERS_MAX: usize = 4_096;

/// Pings a minute by one job: a start and an end each second.
const PINGS_PER_TOKEN: u32 = 120;
/// Pings a minute from one address; a whole platform's jobs may share one.
const PINGS_PER_ADDRESS: u32 = 3_000;
/// Tokens of jobs that are known to be good. Beyond that they prove themselves anew.
const GOOD_TOKENS_MAX: usize = 5_000;

/// How often the API may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiLimits {
    /// Requests a minute with one token.
    pub per_token: u32,
    /// Requests a minute from one address (of IPv6, one /64 network), with whatever tokens or none.
    pub per_address: u32,
    /// Whether Heroku's router stands before this process. Then the caller's address is the last in `X-Forwarded-For`,
    /// which that router writes; anywhere else the header could say anything, and the connection's address counts.
    pub behind_heroku: bool,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self { per_token: 600, per_address: 3_000, behind_heroku: false }
    }
}

/// Who asked how much.
pub(crate) struct Flood {
    tokens: Mutex<Callers<[u8; 32]>>,
    addresses: Mutex<Callers<IpAddr>>,
    /// Jobs and where they report from, apart from those who use the API.
    jobs: Mutex<Callers<[u8; 32]>>,
    job_addresses: Mutex<Callers<IpAddr>>,
    good_jobs: Mutex<HashSet<[u8; 32]>>,
    behind_heroku: bool,
}

/// A job reports too often: for how long to wait.
pub(crate) struct PingOver(pub(crate) Duration);

impl Flood {
    pub(crate) fn new(limits: ApiLimits) -> Self {
        Self {
            tokens: Mutex::new(Callers::new(limits.per_token)),
            addresses: Mutex::new(Callers::new(limits.per_address)),
            jobs: Mutex::new(Callers::new(PINGS_PER_TOKEN)),
            job_addresses: Mutex::new(Callers::new(PINGS_PER_ADDRESS)),
            good_jobs: Mutex::default(),
            behind_heroku: limits.behind_heroku,
        }
    }

    /// Takes one ping from the allowance of its address.
    pub(crate) fn ping_from(&self, request: &Request, now: Timestamp, overflowed: &Counter) -> Result<(), PingOver> {
        let Some(caller) = self.caller(request) else { return Ok(()) };
        match lock(&self.job_addresses).ask(caller, now, overflowed) {
            Verdict::Within => Ok(()),
            Verdict::Over(wait) => Err(PingOver(wait)),
        }
    }

    /// Takes one ping from the allowance of its job. Tokens that nobody proved good have none: whoever makes some up must
    /// not crowd out those that are real, and is held by the address.
    pub(crate) fn ping_with(&self, token: &str, now: Timestamp, overflowed: &Counter) -> Result<(), PingOver> {
        let job: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if !lock(&self.good_jobs).contains(&job) {
            return Ok(());
        }
        match lock(&self.jobs).ask(job, now, overflowed) {
            Verdict::Within => Ok(()),
            Verdict::Over(wait) => Err(PingOver(wait)),
        }
    }

    /// Notes that a check has this token.
    pub(crate) fn ping_was_good(&self, token: &str) {
        let mut good = lock(&self.good_jobs);
        if good.len() >= GOOD_TOKENS_MAX {
            good.clear();
        }
        good.insert(Sha256::digest(token.as_bytes()).into());
    }

    fn caller(&self, request: &Request) -> Option<IpAddr> {
        let Peer(peer) = request.extensions().get::<Peer>()?;
        let forwarded = if self.behind_heroku { forwarded_for(request.headers()) } else { None };
        Some(network(forwarded.unwrap_or(peer.ip())))
    }
}

/// The last address of `X-Forwarded-For`.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back()?.to_str().ok()?;
    last.rsplit(',').next()?.trim().parse().ok()
}

/// What counts as one address: whoever has one IPv6 address has all of its /64.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

/// Allowances by caller. Times are microseconds of the engine's clock.
struct Callers<K> {
    /// How long one request takes to come back.
    interval_us: i64,
    /// When all of a caller's allowance is back.
    whole_at: HashMap<K, i64>,
    /// The same for all who found no room.
    others_whole_at: i64,
    swept_at: i64,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Within,
    /// Over, until this time has passed.
    Over(Duration),
}

impl<K: Hash + Eq> Callers<K> {
    fn new(per_minute: u32) -> Self {
        let interval_us = MINUTE_US / i64::from(per_minute.max(1));
        Self { interval_us, whole_at: HashMap::new(), others_whole_at: 0, swept_at: i64::MIN }
    }

    /// Takes one request from a caller's allowance. `overflowed` counts callers that find no room of their own.
    fn ask(&mut self, caller: K, now: Timestamp, overflowed: &Counter) -> Verdict {
        let now_us = now.as_micros();
        if self.whole_at.len() >= CALLERS_MAX && !self.whole_at.contains_key(&caller) {
            if now_us.abs_diff(self.swept_at) >= 1_000_000 {
                self.swept_at = now_us;
                self.whole_at.retain(|_, whole_at| (1..=MINUTE_US).contains(&whole_at.saturating_sub(now_us)));
            }
            if self.whole_at.len() >= CALLERS_MAX {
                overflowed.up();
                let (verdict, whole_at) = step(self.others_whole_at, now, self.interval_us);
                self.others_whole_at = whole_at;
                return verdict;
            }
        }
        let known = self.whole_at.entry(caller).or_insert(now_us);
        let (verdict, whole_at) = step(*known, now, self.interval_us);
        *known = whole_at;
        verdict
    }
}

/// The verdict on one more request, and when the allowance is whole again after it.
fn step(whole_at: i64, now: Timestamp, interval_us: i64) -> (Verdict, i64) {
    let now_us = now.as_micros();
    // Never more than a minute ahead, so that a clock set back locks nobody out for longer.
    let used_us = whole_at.saturating_sub(now_us).clamp(0, MINUTE_US);
    let over_us = used_us.saturating_add(interval_us).saturating_sub(MINUTE_US);
    if over_us > 0 {
        (Verdict::Over(Duration::from_micros(over_us.unsigned_abs())), now_us.saturating_add(used_us))
    } else {
        (Verdict::Within, now_us.saturating_add(used_us + interval_us))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// By address, before anything is looked up: the API and `/metrics`, and whatever else brings a credential. Health is
/// told to all, always.
pub(crate) async fn address_limited(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let counts = match path {
        "/healthz" | "/readyz" => false,
        "/metrics" => true,
        // Jobs have allowances of their own.
        _ if path.starts_with("/ping/") => false,
        _ if path.starts_with("/badge/") => true,
        _ => path.starts_with("/api/") || request.headers().contains_key(header::AUTHORIZATION),
    };
    if !counts {
        return next.run(request).await;
    }
    match may_ask_from(&web, &request) {
        Ok(()) => next.run(request).await,
        Err(refused) => refused,
    }
}

/// Takes one request from the allowance of its address.
#[expect(clippy::result_large_err, reason = "the answer is on its way out at once")]
pub(crate) fn may_ask_from(web: &Web, request: &Request) -> Result<(), Response> {
    let Some(caller) = web.flood.caller(request) else { return Ok(()) };
    let stats = web.engine.stats();
    match lock(&web.flood.addresses).ask(caller, web.engine.now(), &stats.api_callers_overflowed) {
        Verdict::Within => Ok(()),
        Verdict::Over(wait) => {
            stats.api_limited_address.up();
            Err(refused(web, &format!("the address {caller}"), wait))
        }
    }
}

/// Takes one request from the allowance of a token that has proved good; `actor` is its name.
#[expect(clippy::result_large_err, reason = "the answer is on its way out at once")]
pub(crate) fn may_ask_with(web: &Web, hash: [u8; 32], actor: &str) -> Result<(), Response> {
    let stats = web.engine.stats();
    match lock(&web.flood.tokens).ask(hash, web.engine.now(), &stats.api_callers_overflowed) {
        Verdict::Within => Ok(()),
        Verdict::Over(wait) => {
            stats.api_limited_token.up();
            Err(refused(web, &format!("the token {actor}"), wait))
        }
    }
}

/// 429, and a note for the rule that watches for it.
fn refused(web: &Web, who: &str, wait: Duration) -> Response {
    let seconds = wait.as_micros().div_ceil(1_000_000).max(1);
    if web.engine.may_note_limited() {
        tracing::warn!(who, "requests to the API came too fast and were answered 429");
        let (engine, text) = (web.engine.clone(), format!("requests to the API were answered 429: too many by {who}"));
        // The caller is answered at once; it is not to wait for our bookkeeping.
        tokio::spawn(async move { engine.note_own(Kind::ApiLimited, None, &text).await });
    }
    let message = format!("too many requests by {who}: wait {seconds} s, then ask less often");
    let error = ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", &message);
    ([(header::RETRY_AFTER, seconds.to_string())], error).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_778_141_172 + seconds)
    }

    fn over(seconds: u64) -> Verdict {
        Verdict::Over(Duration::from_secs(seconds))
    }

    #[test]
    fn an_allowance_comes_back_evenly() {
        let (mut callers, overflowed) = (Callers::new(3), Counter::default());
        let steps = [
            (0, Verdict::Within),
            (0, Verdict::Within),
            (0, Verdict::Within),
            (0, over(20)),
            (1, over(19)),
            (20, Verdict::Within),
            (20, over(20)),
            (60, Verdict::Within),
            (60, Verdict::Within),
            (60, over(20)),
            // Set back by an hour: within a minute all is well again.
            (-3_600, over(20)),
            (-3_540, Verdict::Within),
        ];
        for (n, (second, want)) in steps.into_iter().enumerate() {
            assert_eq!(callers.ask("a", at(second), &overflowed), want, "{n}");
        }
        assert_eq!(callers.ask("b", at(-3_540), &overflowed), Verdict::Within, "each has its own");
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused() {
        let (mut callers, overflowed) = (Callers::new(60), Counter::default());
        for second in 0..1_000 {
            assert_eq!(callers.ask("a", at(second), &overflowed), Verdict::Within, "{second}");
        }
    }

    #[test]
    fn callers_are_bounded_and_quiet_ones_forgotten() {
        let (mut callers, overflowed) = (Callers::new(2), Counter::default());
        for caller in 0..CALLERS_MAX {
            assert_eq!(callers.ask(caller, at(0), &overflowed), Verdict::Within);
        }
        let newcomers = [Verdict::Within, Verdict::Within, over(30)];
        for (n, want) in newcomers.into_iter().enumerate() {
            assert_eq!(callers.ask(CALLERS_MAX + n, at(0), &overflowed), want, "{n}");
        }
        assert_eq!((callers.whole_at.len(), overflowed.get()), (CALLERS_MAX, 3));
        assert_eq!(callers.ask(CALLERS_MAX, at(40), &overflowed), Verdict::Within, "the others are quiet by now");
        assert_eq!((callers.whole_at.len(), overflowed.get()), (1, 3));
    }

    #[test]
    fn addresses() {
        let of = |text: &str| network(text.parse().unwrap()).to_string();
        assert_eq!(of("203.0.113.9"), "203.0.113.9");
        assert_eq!(of("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        let mut headers = HeaderMap::new();
        assert_eq!(forwarded_for(&headers), None);
        for value in ["198.51.100.1", "10.0.0.1, 203.0.113.9"] {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        assert_eq!(forwarded_for(&headers), "203.0.113.9".parse().ok(), "what the caller wrote itself is not believed");
    }
}
