//! A Heroku that speaks HTTP and keeps state: apps, formation, dynos, add-ons, releases with slugs, log drains, features.
//! Point `HEROKU_API_URL` at [`FakeHeroku::url`].
//!
//! It changes only by what is asked of it over HTTP and by what a test does to its [`Account`]. It can fail, hang, lie,
//! page and limit ([`Trouble`]). Every request and every answer is held against Heroku's own schema
//! (`data/heroku-schema.json`, which names its source); a violation fails the test that made it, when the fake is dropped.
//! Of config vars it tells all values, as the real one does: who asks for one must drop the others.

mod account;
mod answers;
mod schema;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::{AbortHandle, JoinSet};

pub use account::{Account, FakeAddOn, FakeApp, FakeDrain, FakeDyno, FakeProcess, FakeRelease};
use answers::Reply;
use schema::Schema;

/// The key of the account.
pub const KEY: &str = "HRKU-fake-0123456789abcdef0123456789abcdef";
/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// What happens to one request instead of its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Refused with this status and error id; nothing is done.
    Refuse {
        /// Any status but 2xx.
        status: u16,
        /// As in `rate_limit`; empty: a body that is no JSON.
        id: &'static str,
        /// The `Retry-After` header, in seconds.
        retry_after: Option<u64>,
    },
    /// Neither done nor answered, until the client goes away.
    Hang,
    /// Done and answered once [`FakeHeroku::let_go`] lets it.
    Wait,
    /// Not done; the connection is closed without an answer.
    Drop,
    /// Done; the connection is closed without an answer: the client cannot know.
    DropAfterDone,
    /// Not done; status 200 and this body, whatever was asked.
    Lie(&'static str),
    /// Status 206 without a `Next-Range`.
    HalfList,
    /// Status 206 whose `Next-Range` is the range that was asked for.
    SameRange,
}

impl Trouble {
    /// Refused with a status and an id.
    #[must_use]
    pub fn refuse(status: u16, id: &'static str) -> Self {
        Self::Refuse { status, id, retry_after: None }
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `GET`, …
    pub method: Method,
    /// Without a query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body; null without one.
    pub body: Value,
}

impl Asked {
    /// `GET /apps`.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A running fake. Dropping it closes the port and every connection, and fails the test if the schema was violated.
pub struct FakeHeroku {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: AbortHandle,
}

struct Shared {
    schema: Schema,
    state: Mutex<State>,
    changed: watch::Sender<()>,
    /// Turns of those that wait.
    turns: Semaphore,
}

#[derive(Default)]
struct State {
    account: Account,
    troubles: VecDeque<(String, Trouble)>,
    asked: Vec<Asked>,
    violations: Vec<String>,
    two_factor: Option<String>,
    page_max: Option<usize>,
    remaining: Option<u32>,
}

impl FakeHeroku {
    /// Listens on a free port of 127.0.0.1, with an account without apps.
    ///
    /// # Panics
    /// When there is no free port, or outside of a tokio runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a listener");
        let shared = Arc::new(Shared {
            schema: Schema::load(),
            state: Mutex::new(State { remaining: Some(4_500), ..State::default() }),
            changed: watch::Sender::new(()),
            turns: Semaphore::new(0),
        });
        let server = tokio::spawn(accept_loop(listener, Arc::clone(&shared))).abort_handle();
        Self { shared, address, server }
    }

    /// Where to send to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Looks at the account or changes it, as its owner would.
    pub fn account<T>(&self, with: impl FnOnce(&mut Account) -> T) -> T {
        with(&mut self.state().account)
    }

    /// The next request whose line (`POST /apps/…`) contains `line` meets this trouble. Each trouble is met once, in order.
    pub fn trouble(&self, line: &str, trouble: Trouble) {
        self.state().troubles.push_back((line.to_owned(), trouble));
    }

    /// Takes back the troubles that no request has met. Returns how many.
    #[must_use]
    pub fn untrouble(&self) -> usize {
        std::mem::take(&mut self.state().troubles).len()
    }

    /// One request that meets [`Trouble::Wait`], now or later, is answered.
    pub fn let_go(&self) {
        self.shared.turns.add_permits(1);
    }

    /// From now on every request without this code is refused with 403 `two_factor`.
    pub fn demand_two_factor(&self, code: &str) {
        self.state().two_factor = Some(code.to_owned());
    }

    /// Pages hold at most this many items, whatever is asked for.
    pub fn page_by(&self, items: usize) {
        self.state().page_max = Some(items);
    }

    /// How many requests are left before 429; every answer says it. `None`: as many as one likes, and no answer says.
    pub fn allow(&self, remaining: Option<u32>) {
        self.state().remaining = remaining;
    }

    /// Every request so far.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.state().asked.clone()
    }

    /// The lines of every request so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.state().asked.iter().map(Asked::line).collect()
    }

    /// How many requests had a line that contains this.
    #[must_use]
    pub fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|asked| asked.contains(line)).count()
    }

    /// Waits until so many requests have come in.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            while self.state().asked.len() < count {
                changed.changed().await.expect("the sender lives as long as we do");
            }
        };
        let waited = tokio::time::timeout(DEADLINE, waiting).await;
        assert!(waited.is_ok(), "waited {DEADLINE:?} for {count} requests: {:?}", self.lines());
    }

    /// What did not fit the schema so far. Reading it takes it away: for tests of the fake itself.
    #[must_use]
    pub fn violations(&self) -> Vec<String> {
        std::mem::take(&mut self.state().violations)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state()
    }
}

impl Drop for FakeHeroku {
    fn drop(&mut self) {
        self.server.abort();
        let violations = std::mem::take(&mut self.state().violations);
        if !std::thread::panicking() {
            assert!(violations.is_empty(), "against Heroku's schema: {violations:#?}");
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `None`: close the connection without an answer.
    async fn answer(&self, asked: Asked) -> Option<Response<Full<Bytes>>> {
        let trouble = {
            let mut state = self.state();
            state.asked.push(asked.clone());
            let line = asked.line();
            let at = state.troubles.iter().position(|(wanted, _)| line.contains(wanted.as_str()));
            at.and_then(|at| state.troubles.remove(at)).map(|(_, trouble)| trouble)
        };
        self.changed.send_replace(());
        match trouble {
            None => Some(self.respond(self.reply(&asked))),
            Some(Trouble::Refuse { status, id, retry_after }) => {
                let mut reply = Reply::error(status, id, "this was meant to fail");
                if id.is_empty() {
                    reply.raw = Some("<html>no JSON</html>");
                }
                reply.headers.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
                Some(self.respond(reply))
            }
            Some(Trouble::Hang) => std::future::pending().await,
            Some(Trouble::Wait) => {
                self.turns.acquire().await.ok()?.forget();
                Some(self.respond(self.reply(&asked)))
            }
            Some(Trouble::Drop) => None,
            Some(Trouble::DropAfterDone) => {
                let _never_sent = self.reply(&asked);
                None
            }
            Some(Trouble::Lie(body)) => {
                let mut reply = Reply::ok(200, Value::Null);
                reply.raw = Some(body);
                Some(self.respond(reply))
            }
            Some(kind @ (Trouble::HalfList | Trouble::SameRange)) => {
                let mut reply = self.reply(&asked);
                reply.status = 206;
                reply.headers.retain(|(name, _)| *name != "next-range");
                if kind == Trouble::SameRange {
                    let range = asked.headers.get("range").and_then(|range| range.to_str().ok()).unwrap_or("id ..");
                    reply.headers.push(("next-range", range.to_owned()));
                }
                Some(self.respond(reply))
            }
        }
    }

    /// The true answer, held against the schema.
    fn reply(&self, asked: &Asked) -> Reply {
        let mut state = self.state();
        if let Some(refused) = state.refused(asked) {
            return refused;
        }
        let mut violations = self.schema.check_request(asked);
        let page_max = state.page_max.unwrap_or(1_000);
        let reply = answers::reply(&mut state.account, asked, page_max);
        if reply.status == 501 {
            violations.push(format!("{}: the fake knows no such call", asked.line()));
        }
        if (200..300).contains(&reply.status) {
            violations.extend(self.schema.check_answer(asked, &reply.body));
        }
        state.violations.extend(violations);
        reply
    }

    fn respond(&self, reply: Reply) -> Response<Full<Bytes>> {
        let (remaining, number) = {
            let state = self.state();
            (state.remaining, state.asked.len())
        };
        let body = reply.raw.map_or_else(|| reply.body.to_string(), str::to_owned);
        let mut response = Response::new(Full::from(body));
        *response.status_mut() = StatusCode::from_u16(reply.status).expect("a status between 100 and 999");
        let mut set = |name: &'static str, value: &str| {
            response.headers_mut().insert(name, value.parse().expect("a header value"));
        };
        set("content-type", "application/json;charset=utf-8");
        set("request-id", &format!("fake-request-{number}"));
        set("etag", "\"0123\"");
        if let Some(remaining) = remaining {
            set("ratelimit-remaining", &remaining.to_string());
        }
        for (name, value) in &reply.headers {
            set(name, value);
        }
        response
    }
}

impl State {
    /// What is refused before anybody looks at the path.
    fn refused(&mut self, asked: &Asked) -> Option<Reply> {
        let header = |name: &str| asked.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if header("accept") != "application/vnd.heroku+json; version=3" {
            return Some(Reply::error(406, "not_acceptable", "no version of the API is named"));
        }
        if header("user-agent").is_empty() {
            self.violations.push(format!("{}: no User-Agent", asked.line()));
        }
        if header("authorization") != format!("Bearer {KEY}") {
            return Some(Reply::error(401, "unauthorized", "Invalid credentials provided."));
        }
        if self.two_factor.as_deref().is_some_and(|code| header("heroku-two-factor-code") != code) {
            let message = "A second authentication factor or pre-authorization is required for this request.";
            return Some(Reply::error(403, "two_factor", message));
        }
        if asked.path == "/account/rate-limits" {
            return Some(Reply::ok(200, json!({ "remaining": self.remaining.unwrap_or(4_500) })));
        }
        match &mut self.remaining {
            Some(0) => Some(Reply::error(429, "rate_limit", "Your account reached the API rate limit.")),
            Some(left) => {
                *left -= 1;
                None
            }
            None => None,
        }
    }
}

async fn accept_loop(listener: TcpListener, shared: Arc<Shared>) {
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| serve_one(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Fails when the peer goes away or a trouble closes the connection: both are part of the play.
            let _ended = connection.await;
        });
    }
}

async fn serve_one(shared: &Shared, request: http::Request<Incoming>) -> std::io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, 1 << 20).collect().await.map_err(std::io::Error::other)?.to_bytes();
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, body };
    shared.answer(asked).await.ok_or_else(|| std::io::Error::other("closed on purpose"))
}
