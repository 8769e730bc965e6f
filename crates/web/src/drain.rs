//! The drain endpoint: authenticate a POST, hand its body to the engine, answer so that Logplex does the right thing. A
//! router of its own, below axum: no cookies, no compression, no allocation it can do without.
//!
//! What each answer makes Logplex do is in `docs/drain.md`; in short: 2xx is delivered, 4xx drops the batch for good, 5xx
//! is tried twice more. So one odd line never costs a batch, and "later" is always 503.
//!
//! Which requests are deliveries is `target`'s, who may deliver `credentials`', reading what they sent `body`'s.

mod body;
mod credentials;
mod target;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use dynowatch_domain::drain_rotation::Share;
use dynowatch_domain::signal::Kind;
use dynowatch_engine::ingest::COMMIT_WAIT_MAX;
use dynowatch_engine::stats::Counter;
use dynowatch_engine::{App, Engine, MARK_BYTES_MAX, MARK_PARAM, Refused, Taken};
use dynowatch_store::StoreError;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use secrecy::SecretString;
use tokio::time::Instant;

use self::body::{Unread, read_body};
pub use self::credentials::{DRAIN_USER, TOKEN_BYTES_MAX, app_subject, credential_text};
use self::credentials::{Denied, Keys, Subject, header_text, token_of};
pub use self::target::{Target, is_astray};
use crate::faults::{Panicked, caught};
use crate::show::visible;
use crate::sparing::Sparing;

/// The longest Frame-Id that is read; Logplex writes 32 digits.
const FRAME_ID_BYTES_MAX: usize = 100;
/// What Logplex says that a delivery is.
const CONTENT_TYPE: &[u8] = b"application/logplex-1";

/// What the endpoint needs to know.
#[derive(Debug, Default)]
pub struct DrainSettings {
    /// Whether the endpoint takes anything.
    pub enabled: bool,
    /// Secrets that credentials are made with, newest first.
    pub secrets: Vec<SecretString>,
    /// The longest body.
    pub body_bytes_max: u64,
    /// Deliveries worked on at once. Further ones wait for up to [`COMMIT_WAIT_MAX`], then are refused.
    pub requests_max: usize,
    /// Whether this process runs on a dyno, and so may be draining its own log.
    pub on_dyno: bool,
}

/// The endpoint.
pub struct Drain {
    engine: Engine,
    settings: ArcSwap<Keys>,
    rejected: Sparing,
    /// Deliveries whose credential was good and that were answered 503 or 413 all the same.
    turned_away: Sparing,
    faults: Sparing,
    own_app: ArcSwap<Option<Arc<App>>>,
    lines: AtomicU64,
    deliveries: AtomicU64,
}

impl Drain {
    /// The endpoint of an engine.
    #[must_use]
    pub fn new(engine: Engine, settings: DrainSettings) -> Self {
        Self {
            engine,
            settings: ArcSwap::from_pointee(Keys::new(settings)),
            rejected: Sparing::default(),
            turned_away: Sparing::default(),
            faults: Sparing::default(),
            own_app: ArcSwap::default(),
            lines: AtomicU64::new(0),
            deliveries: AtomicU64::new(0),
        }
    }

    /// Takes other settings. Requests in progress go on under the old ones.
    pub fn reconfigure(&self, settings: DrainSettings) {
        self.settings.store(Arc::new(Keys::new(settings)));
    }

    /// Whether the endpoint would take a delivery at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.settings.load().is_on()
    }

    /// The password of a subject, made with the newest secret; `None` while the drain is closed.
    pub(crate) fn credential(&self, subject: &str) -> Option<String> {
        let keys = self.settings.load();
        keys.settings
            .secrets
            .first()
            .filter(|_| keys.settings.enabled)
            .and_then(|secret| credential_text(secret, subject))
    }

    /// Answers one delivery.
    pub async fn handle(&self, request: Request<Incoming>) -> StatusCode {
        let stats = self.engine.stats();
        let _in_progress = InProgress::new(&stats.batches_in_progress);
        let (known, frame) = (OnceLock::new(), request.headers().get("logplex-frame-id").cloned());
        let status = match caught(self.answer(request, &known)).await {
            Ok(status) => status,
            Err(panicked) => self.broke(known.get(), frame.as_ref(), &panicked),
        };
        match status {
            StatusCode::NO_CONTENT => stats.batches_accepted.up(),
            StatusCode::UNAUTHORIZED => stats.batches_unauthorized.up(),
            StatusCode::PAYLOAD_TOO_LARGE => stats.batches_too_large.up(),
            StatusCode::NOT_IMPLEMENTED => stats.batches_disabled.up(),
            StatusCode::INTERNAL_SERVER_ERROR => stats.batches_faulty.up(),
            _ => {}
        }
        status
    }

    /// A delivery that ended in a panic was not taken, whatever of it was counted: Logplex sends it twice more, and if all
    /// of them break, what it held is missing.
    fn broke(&self, app: Option<&Arc<App>>, frame: Option<&HeaderValue>, panicked: &Panicked) -> StatusCode {
        if let Some(app) = app {
            self.engine.refuse(app);
        }
        if let Some(count) = self.faults.note(self.engine.now()) {
            let frame = frame.and_then(|frame| frame.to_str().ok()).filter(|id| id.len() <= FRAME_ID_BYTES_MAX);
            tracing::error!(
                app = app.map(|app| app.name.as_str()),
                frame = frame.map(visible),
                panic = panicked.words(&self.engine),
                count,
                "deliveries ended in a fault and were answered 500"
            );
        }
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// The answer; `known` takes the app as soon as it is known.
    async fn answer(&self, request: Request<Incoming>, known: &OnceLock<Arc<App>>) -> StatusCode {
        // One deadline for all of it: Logplex hangs up after five seconds.
        let begun = Instant::now();
        let keys = self.settings.load_full();
        if !keys.is_on() {
            return StatusCode::NOT_IMPLEMENTED;
        }
        let (head, body) = request.into_parts();
        let Some(target) = Target::of(&head.method, head.uri.path()) else {
            self.denied(Denied::WrongPath, &Target::Token, token_of(&head.headers));
            return StatusCode::UNAUTHORIZED;
        };
        let subject = match keys.authenticate(&target, head.uri.query(), &head.headers) {
            Ok(subject) => subject,
            Err(denied) => {
                self.denied(denied, &target, token_of(&head.headers));
                return StatusCode::UNAUTHORIZED;
            }
        };
        let token = token_of(&head.headers);
        let mark = mark_of(head.uri.query());
        let app = match self.known_app(&subject, token) {
            Some(app) => Ok(app),
            // Boxed, like all that is rare here: a request's future is as large as the largest thing it may await.
            None => Box::pin(tokio::time::timeout_at(begun + COMMIT_WAIT_MAX, self.new_app(&subject)))
                .await
                .unwrap_or_else(|_elapsed| Err(StoreError::Unavailable("it did not answer in time".to_owned()))),
        };
        let app = match app {
            Ok(app) => app,
            Err(error) => {
                if let Some(count) = self.turned_away.note(self.engine.now()) {
                    tracing::error!(%error, count, "a delivery's app could not be looked up; it was answered 503");
                }
                self.engine.stats().batches_store_away.up();
                return StatusCode::SERVICE_UNAVAILABLE;
            }
        };
        let app = known.get_or_init(|| app);
        let Some(share) = self.share(app, token, mark, begun).await else {
            self.engine.refuse(app);
            self.engine.stats().batches_store_away.up();
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        let Some(_place) = keys.place(begun + COMMIT_WAIT_MAX).await else {
            self.engine.refuse(app);
            self.engine.stats().batches_overloaded.up();
            self.turned_away(app, "too many deliveries are worked on at once (limits.drain_requests)");
            return StatusCode::SERVICE_UNAVAILABLE;
        };
        match read_body(body, keys.settings.body_bytes_max, begun + COMMIT_WAIT_MAX).await {
            Ok(body) => {
                let status = self.take(app, share, &keys, &head.headers, &body, begun).await;
                if status == StatusCode::NO_CONTENT {
                    self.engine.delivered(app.id, token, mark);
                }
                status
            }
            Err(unread) => {
                self.engine.refuse(app);
                self.turned_away(app, unread.as_str());
                if unread == Unread::Incomplete {
                    self.engine.stats().batches_incomplete.up();
                }
                unread.status()
            }
        }
    }

    /// Logs now and then that deliveries were refused although their credential was good.
    fn turned_away(&self, app: &App, why: &str) {
        if let Some(count) = self.turned_away.note(self.engine.now()) {
            tracing::warn!(app = app.name, why, count, "deliveries were turned away");
        }
    }

    fn known_app(&self, subject: &Subject<'_>, token: Option<&str>) -> Option<Arc<App>> {
        let apps = self.engine.apps();
        match subject {
            Subject::Token(token) => apps.by_token(token).cloned(),
            Subject::App(name) => apps.by_url(name, token).cloned(),
        }
    }

    /// Which lines of this drain count, while another one of its app delivers as well. `None`: the store must be asked and
    /// does not answer.
    async fn share(&self, app: &App, token: Option<&str>, mark: Option<&str>, begun: Instant) -> Option<Share> {
        if let Some(share) = self.engine.share(app.id, token, mark) {
            return Some(share);
        }
        let learnt = async { self.engine.learn_mark(mark.unwrap_or_default()).await };
        match Box::pin(tokio::time::timeout_at(begun + COMMIT_WAIT_MAX, learnt)).await {
            Ok(Ok(())) => self.engine.share(app.id, token, mark),
            Ok(Err(error)) => {
                if let Some(count) = self.turned_away.note(self.engine.now()) {
                    tracing::error!(%error, count, "a drain could not be looked up; its delivery was answered 503");
                }
                None
            }
            Err(_elapsed) => {
                self.turned_away(app, "the store did not say in time which drain it is");
                None
            }
        }
    }

    async fn new_app(&self, subject: &Subject<'_>) -> Result<Arc<App>, StoreError> {
        match subject {
            Subject::Token(token) => self.engine.app_of_token(token).await,
            Subject::App(name) => self.engine.app_named(name).await,
        }
    }

    async fn take(
        &self,
        app: &Arc<App>,
        share: Share,
        keys: &Keys,
        headers: &HeaderMap,
        body: &Bytes,
        begun: Instant,
    ) -> StatusCode {
        let frame_id = header_text(headers, "logplex-frame-id", FRAME_ID_BYTES_MAX);
        let (lines, frames) = match self.engine.take_share(app, share, frame_id, body) {
            Taken::Done { lines, frames } => (lines, frames),
            Taken::Pending(pending) => {
                let frames = pending.frames();
                match Box::pin(self.engine.keep(pending.since(begun))).await {
                    Ok(lines) => (lines, Some(frames)),
                    Err(refused) => {
                        let stats = self.engine.stats();
                        match refused {
                            Refused::Overloaded => stats.batches_overloaded.up(),
                            Refused::StoreAway => stats.batches_store_away.up(),
                        }
                        self.turned_away(app, &refused.to_string());
                        return StatusCode::SERVICE_UNAVAILABLE;
                    }
                }
            }
        };
        self.count_oddities(headers, frames);
        if !(keys.settings.on_dyno && self.is_own_log(app, body)) {
            self.lines.fetch_add(lines, Relaxed);
            self.deliveries.fetch_add(1, Relaxed);
            tracing::debug!(
                app = app.name,
                bytes = body.len(),
                "heroku_log_drain: processed {lines} lines from logplex delivery"
            );
        }
        StatusCode::NO_CONTENT
    }

    /// Counts what Logplex would have written otherwise. It is no reason to lose a line, but what stands between Logplex and
    /// here may be worth a look.
    fn count_oddities(&self, headers: &HeaderMap, frames: Option<u64>) {
        let stats = self.engine.stats();
        if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind.as_bytes() != CONTENT_TYPE) {
            stats.batches_odd_content_type.up();
        }
        let said = headers.get("logplex-msg-count").map(|said| said.to_str().ok().and_then(|said| said.parse().ok()));
        if let (Some(said), Some(frames)) = (said, frames)
            && said != Some(frames)
        {
            stats.batches_odd_msg_count.up();
        }
    }

    /// Whether this is the log that our own words go to. Writing a line for each delivery of it would never end.
    fn is_own_log(&self, app: &Arc<App>, body: &[u8]) -> bool {
        let own = self.own_app.load();
        if own.as_ref().as_ref().is_some_and(|own| own.id == app.id) {
            return true;
        }
        let found = memchr::memmem::find(body, b"heroku_log_drain: processed").is_some();
        if found {
            self.own_app.store(Arc::new(Some(Arc::clone(app))));
            tracing::info!(
                app = app.name,
                "dynowatch drains its own log; its own deliveries are not logged one by one"
            );
        }
        found
    }

    /// Logs a summary of what arrived since the last call, if anything did.
    pub fn log_summary(&self) {
        let (lines, deliveries) = (self.lines.swap(0, Relaxed), self.deliveries.swap(0, Relaxed));
        if deliveries > 0 {
            tracing::info!(deliveries, "heroku_log_drain: processed {lines} lines from logplex delivery");
        }
    }

    /// Counts a refused credential, logs it now and then, and lets rules see it.
    fn denied(&self, denied: Denied, target: &Target<'_>, token: Option<&str>) {
        if let Some(count) = self.rejected.note(self.engine.now()) {
            tracing::warn!(
                why = denied.as_str(),
                count,
                "log deliveries were refused with 401; Logplex drops them for good"
            );
        }
        let apps = self.engine.apps();
        let app = match target {
            Target::Token => token.and_then(|token| apps.by_token(token).cloned()),
            Target::App(name) => apps.by_name(name).cloned(),
        };
        // The sender is answered at once; it is not to wait for our bookkeeping.
        if self.engine.may_note_rejected() {
            let engine = self.engine.clone();
            let text = format!("a log delivery was refused: {}", denied.as_str());
            tokio::spawn(async move { engine.note_own(Kind::DrainRejected, app, &text).await });
        }
    }
}

/// A delivery being worked on, counted until it ends in whatever way.
struct InProgress<'a>(&'a Counter);

impl<'a> InProgress<'a> {
    fn new(counter: &'a Counter) -> Self {
        counter.up();
        Self(counter)
    }
}

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.down();
    }
}

/// What tells this drain from another one of its app, if its URL has it.
fn mark_of(query: Option<&str>) -> Option<&str> {
    let values = query?.split('&').filter_map(|pair| pair.strip_prefix(MARK_PARAM)?.strip_prefix('='));
    values
        .into_iter()
        .find(|mark| (1..=MARK_BYTES_MAX).contains(&mark.len()) && mark.bytes().all(|b| b.is_ascii_alphanumeric()))
}

/// An answer without a body, plain enough for Logplex's client.
#[must_use]
pub fn plain<B: Default>(status: StatusCode) -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = status;
    response
}
