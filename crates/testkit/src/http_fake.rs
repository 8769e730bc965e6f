//! Receivers that fail and lie: a small HTTP server on loopback whose behaviour a test scripts call by call, and
//! which remembers every request. What is sent to it and how it answers is the [`Protocol`]'s: see `slack` and
//! `webhook_sink`.
//!
//! A message no test expected is a failure like a missing one: [`Fake::expect_no_more`], [`Fake::finish`].

use std::collections::{HashMap, VecDeque};
use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);
const BODY_BYTES_MAX: usize = 4 << 20;

/// What a fake does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Accepts and says so.
    Ok,
    /// Refuses with this status; with `retry_after_seconds` also says when to come back.
    Status {
        /// Any status, 2xx excepted.
        code: u16,
        /// The `Retry-After` header.
        retry_after_seconds: Option<u64>,
    },
    /// Status 200, and a body that says it did not work: Slack's way.
    OkFalse(String),
    /// Neither accepts nor answers until [`Fake::release`]; then like [`Behaviour::Ok`].
    Hang,
    /// Accepts, then closes the connection without an answer: the sender cannot know.
    DropAfterAccept,
    /// Refuses with status 200 and a body that is no answer of this protocol, as a proxy's login page would be.
    Garbage,
}

impl Behaviour {
    /// Refuses with a status and nothing else.
    #[must_use]
    pub fn status(code: u16) -> Self {
        Self::Status { code, retry_after_seconds: None }
    }

    /// 429 with a `Retry-After`.
    #[must_use]
    pub fn too_many(retry_after_seconds: u64) -> Self {
        Self::Status { code: 429, retry_after_seconds: Some(retry_after_seconds) }
    }
}

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The body's bytes.
    pub body: Bytes,
}

impl Received {
    /// A header as text, if it is there.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// A status and a JSON body.
pub type Reply = (u16, serde_json::Value);

/// What a protocol makes of a request.
pub enum Reading<M> {
    /// Something to deliver: a behaviour decides. The text is its address (a channel, a path), see
    /// [`Fake::script_for`].
    Message(String, M),
    /// Answered at once, no behaviour used up.
    Reply(Reply),
}

/// How a kind of receiver reads requests and answers.
pub trait Protocol: Send + Sync + 'static {
    /// What is kept of an accepted request.
    type Message: Clone + Debug + Send + 'static;

    /// Appended to the server's address in [`Fake::url`].
    const BASE_PATH: &'static str;

    /// Checks and reads one request.
    fn read(&self, request: &Received) -> Reading<Self::Message>;

    /// The answer to the `number`th accepted message, counted from 1.
    fn accepted(&self, message: &Self::Message, number: usize) -> Reply;
}

/// A running fake. Dropping it closes the port and every connection.
pub struct Fake<P: Protocol> {
    shared: Arc<Shared<P>>,
    address: SocketAddr,
    server: AbortHandle,
}

struct Shared<P: Protocol> {
    protocol: P,
    state: Mutex<State<P::Message>>,
    /// Sent to whenever `state` changed.
    changed: watch::Sender<()>,
    /// How often [`Fake::release`] was called.
    releases: watch::Sender<u64>,
}

struct State<M> {
    script: VecDeque<Behaviour>,
    scripts_by_address: HashMap<String, VecDeque<Behaviour>>,
    otherwise: Behaviour,
    requests: Vec<Received>,
    accepted: Vec<M>,
    expected: usize,
}

impl<P: Protocol> Fake<P> {
    /// Listens on a free port of 127.0.0.1 and accepts everything until told otherwise.
    ///
    /// # Panics
    /// When there is no free port, or outside of a tokio runtime.
    pub async fn serve(protocol: P) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a listener");
        let state = State {
            script: VecDeque::new(),
            scripts_by_address: HashMap::new(),
            otherwise: Behaviour::Ok,
            requests: Vec::new(),
            accepted: Vec::new(),
            expected: 0,
        };
        let shared = Arc::new(Shared {
            protocol,
            state: Mutex::new(state),
            changed: watch::Sender::new(()),
            releases: watch::Sender::new(0),
        });
        let server = tokio::spawn(accept_loop(listener, Arc::clone(&shared))).abort_handle();
        Self { shared, address, server }
    }

    /// Where to send to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}{}", self.address, P::BASE_PATH)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The behaviours of the next messages, one each, in order; appended to what is left of earlier calls.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state().script.extend(behaviours);
    }

    /// The same for one address only (a Slack channel, a webhook's path). Goes before [`Self::script`].
    pub fn script_for(&self, address: &str, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.state().scripts_by_address.entry(address.to_owned()).or_default().extend(behaviours);
    }

    /// What happens to messages that no script speaks of. [`Behaviour::Ok`] at first.
    pub fn otherwise(&self, behaviour: Behaviour) {
        self.state().otherwise = behaviour;
    }

    /// Lets every message that hangs now go on. Later ones hang again.
    pub fn release(&self) {
        self.shared.releases.send_modify(|count| *count += 1);
    }

    /// Every accepted message, in the order of acceptance.
    #[must_use]
    pub fn messages(&self) -> Vec<P::Message> {
        self.state().accepted.clone()
    }

    /// Every request, refused and hanging ones too, in the order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.state().requests.clone()
    }

    /// Waits until `count` messages in all were accepted, and marks that many as expected. Returns all of them.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for(&self, count: usize) -> Vec<P::Message> {
        self.wait_until(&format!("{count} accepted messages"), |state| state.accepted.len() >= count).await;
        let mut state = self.state();
        state.expected = state.expected.max(count);
        state.accepted.clone()
    }

    /// Waits for the first message that was not expected yet, and marks it as expected.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn next(&self) -> P::Message {
        let index = self.state().expected;
        self.wait_for(index + 1).await.swap_remove(index)
    }

    /// Waits until `count` requests in all came in, whatever became of them.
    ///
    /// # Panics
    /// After 20 s.
    pub async fn wait_for_requests(&self, count: usize) -> Vec<Received> {
        self.wait_until(&format!("{count} requests"), |state| state.requests.len() >= count).await;
        self.requests()
    }

    /// No message beyond the expected ones was accepted so far. Call it when the sender has nothing left to do.
    ///
    /// # Panics
    /// When there is a surplus; shows it.
    #[track_caller]
    pub fn expect_no_more(&self) {
        let state = self.state();
        let surplus = state.accepted.get(state.expected..).unwrap_or_default();
        assert!(
            surplus.is_empty(),
            "{} messages were expected, {} more came: {surplus:#?}",
            state.expected,
            surplus.len()
        );
    }

    /// The end of a test: no surplus, and every scripted behaviour was met.
    ///
    /// # Panics
    /// When either is not so.
    #[track_caller]
    pub fn finish(self) {
        self.expect_no_more();
        let state = self.state();
        let by_address = state.scripts_by_address.values().flatten();
        let left: Vec<&Behaviour> = state.script.iter().chain(by_address).collect();
        assert!(left.is_empty(), "behaviours that no message met: {left:?}");
    }

    fn state(&self) -> MutexGuard<'_, State<P::Message>> {
        self.shared.state()
    }

    async fn wait_until(&self, what: &str, done: impl Fn(&State<P::Message>) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        let waiting = async {
            while !done(&self.state()) {
                changed.changed().await.expect("the sender lives as long as we do");
            }
        };
        if tokio::time::timeout(DEADLINE, waiting).await.is_err() {
            let state = self.state();
            panic!(
                "waited {DEADLINE:?} for {what}: {} requests, {} accepted: {:#?}",
                state.requests.len(),
                state.accepted.len(),
                state.accepted
            );
        }
    }
}

impl<P: Protocol> Drop for Fake<P> {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl<P: Protocol> Shared<P> {
    fn state(&self) -> MutexGuard<'_, State<P::Message>> {
        // A failed assertion elsewhere must not hide behind a poisoned lock.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// `None`: close the connection without an answer.
    async fn answer(&self, request: Received) -> Option<Response<Full<Bytes>>> {
        let (reading, behaviour) = {
            let reading = self.protocol.read(&request);
            let mut state = self.state();
            state.requests.push(request);
            let behaviour = match &reading {
                Reading::Message(address, _) => state.next_behaviour(address),
                Reading::Reply(_) => Behaviour::Ok,
            };
            (reading, behaviour)
        };
        // Before anybody can know of the request, so that no release is missed.
        let mut releases = self.releases.subscribe();
        self.changed.send_replace(());

        let message = match reading {
            Reading::Message(_, message) => message,
            Reading::Reply(reply) => return Some(respond(&reply)),
        };
        match behaviour {
            Behaviour::Ok => Some(self.accept(message)),
            Behaviour::Hang => {
                releases.changed().await.ok()?;
                Some(self.accept(message))
            }
            Behaviour::DropAfterAccept => {
                let _never_sent = self.accept(message);
                None
            }
            Behaviour::OkFalse(error) => Some(respond(&(200, serde_json::json!({"ok": false, "error": error})))),
            Behaviour::Garbage => Some(Response::new(Full::from("<html><title>Sign in</title>"))),
            Behaviour::Status { code, retry_after_seconds } => {
                let mut response =
                    respond(&(code, serde_json::json!({"ok": false, "error": format!("status_{code}")})));
                if let Some(seconds) = retry_after_seconds {
                    response.headers_mut().insert("retry-after", seconds.into());
                }
                Some(response)
            }
        }
    }

    fn accept(&self, message: P::Message) -> Response<Full<Bytes>> {
        let number = {
            let mut state = self.state();
            state.accepted.push(message.clone());
            state.accepted.len()
        };
        self.changed.send_replace(());
        respond(&self.protocol.accepted(&message, number))
    }
}

impl<M> State<M> {
    fn next_behaviour(&mut self, address: &str) -> Behaviour {
        let by_address = self.scripts_by_address.get_mut(address).and_then(VecDeque::pop_front);
        by_address.or_else(|| self.script.pop_front()).unwrap_or_else(|| self.otherwise.clone())
    }
}

fn respond((status, body): &Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body.to_string()));
    *response.status_mut() = StatusCode::from_u16(*status).expect("a status between 100 and 999");
    response.headers_mut().insert("content-type", http::HeaderValue::from_static("application/json; charset=utf-8"));
    response
}

async fn accept_loop<P: Protocol>(listener: TcpListener, shared: Arc<Shared<P>>) {
    // Ends with this task, and every connection with it.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        connections.spawn(async move {
            let service = service_fn(|request| serve_one(&shared, request));
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Fails when the peer goes away or a behaviour closes the connection: both are part of the play.
            let _ended = connection.await;
        });
    }
}

async fn serve_one<P: Protocol>(
    shared: &Shared<P>,
    request: http::Request<Incoming>,
) -> std::io::Result<Response<Full<Bytes>>> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await.map_err(std::io::Error::other)?.to_bytes();
    let received = Received { method: parts.method, path: parts.uri.path().to_owned(), headers: parts.headers, body };
    shared.answer(received).await.ok_or_else(|| std::io::Error::other("closed on purpose"))
}
