//! What keeps open pages true: one stream of server-sent events per page, `/events?topics=a,b`. A topic is a piece of a
//! page, rendered once for everyone who looks at it in the same time zone, and sent whole whenever it changed; who is
//! slow gets the newest and misses what was between. Owns the rendering loop, who listens, and the bounds of both.
//!
//! A stream says every five seconds that it lives, which also keeps proxies from closing it: `event: beat` with the time,
//! the newest log line's stamp and a name of this process, from which a page knows that it talks to a new one. Event ids
//! name what was sent, as `topic~hash` for each topic, so that who comes back gets only what changed meanwhile.
//! A page of the log gets lines by the same stream (`lines`), as `event: lines`.
//! It ends when the process stops and when whoever looks may not any more.

mod lines;
mod topic;

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use uuid::Uuid;

use crate::accounts::client::Client;
use crate::accounts::current::viewer;
use crate::api::apps::newest_line_at;
use crate::flood::network;
use crate::pages::look::Look;
use crate::pages::view::View;
use crate::router::Web;
use crate::viewer::Viewer;
use crate::zone::Zone;
use lines::Lines;

pub(crate) use topic::{Topic, partial};

/// Streams at a time. Who comes later is told to load the page again by hand.
const STREAMS_MAX: usize = 1_000;
/// Streams of one account, and from one address (of IPv6, one /64 network), at a time: nobody takes all places. Behind an
/// address may be an office.
const STREAMS_PER_USER_MAX: usize = 50;
const STREAMS_PER_ADDRESS_MAX: usize = 300;
/// Pieces that are rendered, in all time zones together. A page beyond that only gets the beat.
const PIECES_MAX: usize = 512;
/// Topics of one page.
const TOPICS_PER_PAGE_MAX: usize = 8;
/// How often pieces are rendered.
const RENDER_EVERY: Duration = Duration::from_secs(2);
/// How often a stream says that it lives, whatever happens. Heroku's router closes what is silent for 55 s.
const BEAT_EVERY: Duration = Duration::from_secs(5);
/// How often it is asked anew whether the one who looks may look.
const ASKED_EVERY: Duration = Duration::from_secs(60);
/// Events that wait for a slow reader; then the newest state of everything is what comes next.
const WAITING_MAX: usize = 4;

/// A piece: what it shows, and in which zone's words.
type PieceKey = (Topic, &'static str);

/// One piece of pages, as it was rendered last.
struct Piece {
    zone: Zone,
    listeners: AtomicUsize,
    rendered: Mutex<Option<Arc<Rendered>>>,
}

/// A piece as HTML, and a hash of it in which ages do not count.
struct Rendered {
    html: String,
    hash: u64,
}

/// All streams and pieces of a process.
pub(crate) struct Hub {
    stop: watch::Receiver<bool>,
    streams: AtomicUsize,
    refused: AtomicUsize,
    /// Streams by whom and from where; an entry for each that has one.
    callers: Mutex<HashMap<Caller, usize>>,
    refused_to_one: AtomicUsize,
    pieces: Mutex<HashMap<PieceKey, Arc<Piece>>>,
    /// Counts renderings that changed something; streams wait for it to move.
    changed: watch::Sender<u64>,
    /// A piece wants to be rendered now.
    wanted: Notify,
    /// The rendering loop, begun by the first stream.
    rendering: Mutex<Option<tokio::task::JoinHandle<()>>>,
}

/// Whose streams are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Caller {
    User(Uuid),
    Address(IpAddr),
}

impl Caller {
    /// Whose stream this request is.
    fn of(parts: &Parts) -> Vec<Self> {
        let user =
            parts.extensions.get::<Viewer>().and_then(|viewer| viewer.signed_in).map(|known| Self::User(known.user));
        let address = parts.extensions.get::<Client>().and_then(|client| client.address.parse().ok());
        user.into_iter().chain(address.map(|address| Self::Address(network(address)))).collect()
    }

    fn most(self) -> usize {
        match self {
            Self::User(_) => STREAMS_PER_USER_MAX,
            Self::Address(_) => STREAMS_PER_ADDRESS_MAX,
        }
    }
}

/// What streams do, for the page about this instance.
pub(crate) struct HubStats {
    /// Open ones.
    pub(crate) streams: usize,
    /// Refused because there were too many.
    pub(crate) refused: usize,
    /// Refused because one account or one address had too many.
    pub(crate) refused_to_one: usize,
    /// Pieces being rendered.
    pub(crate) pieces: usize,
}

impl Hub {
    pub(crate) fn new(stop: watch::Receiver<bool>) -> Self {
        Self {
            stop,
            streams: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            callers: Mutex::default(),
            refused_to_one: AtomicUsize::new(0),
            pieces: Mutex::default(),
            changed: watch::channel(0).0,
            wanted: Notify::new(),
            rendering: Mutex::default(),
        }
    }

    pub(crate) fn stats(&self) -> HubStats {
        HubStats {
            streams: self.streams.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            refused_to_one: self.refused_to_one.load(Ordering::Relaxed),
            pieces: locked(&self.pieces).len(),
        }
    }

    /// Takes part in a piece; `None` when there are too many of them.
    fn listen(&self, topic: Topic, zone: &Zone) -> Option<Arc<Piece>> {
        let mut pieces = locked(&self.pieces);
        let full = pieces.len() >= PIECES_MAX;
        let key = (topic, zone.name());
        let piece = match pieces.get(&key) {
            Some(piece) => Arc::clone(piece),
            None if full => return None,
            None => {
                let new = Piece { zone: zone.clone(), listeners: AtomicUsize::new(0), rendered: Mutex::default() };
                let piece = Arc::new(new);
                pieces.insert(key, Arc::clone(&piece));
                piece
            }
        };
        piece.listeners.fetch_add(1, Ordering::Relaxed);
        drop(pieces);
        self.wanted.notify_one();
        Some(piece)
    }

    /// Counts a stream; `Err`: who has too many.
    fn enter(&self, callers: &[Caller]) -> Result<(), Caller> {
        let mut open = locked(&self.callers);
        if let Some(full) = callers.iter().find(|caller| open.get(caller).is_some_and(|open| *open >= caller.most())) {
            return Err(*full);
        }
        callers.iter().for_each(|caller| *open.entry(*caller).or_default() += 1);
        Ok(())
    }

    fn leave(&self, callers: &[Caller]) {
        let mut open = locked(&self.callers);
        for caller in callers {
            if let Some(left) = open.get_mut(caller) {
                *left -= 1;
                if *left == 0 {
                    open.remove(caller);
                }
            }
        }
    }

    fn begin_rendering(&self, web: &Arc<Web>) {
        let mut rendering = locked(&self.rendering);
        if rendering.as_ref().is_none_or(tokio::task::JoinHandle::is_finished) {
            *rendering = Some(tokio::spawn(render_loop(Arc::clone(web))));
        }
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn render_loop(web: Arc<Web>) {
    let hub = &web.events;
    let mut stop = hub.stop.clone();
    let mut ticks = interval(RENDER_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*stop.borrow() {
        render_all(&web).await;
        tokio::select! {
            _ = ticks.tick() => {}
            () = hub.wanted.notified() => {}
            ended = stop.changed() => if ended.is_err() { return },
        }
    }
}

/// Renders every piece that somebody listens to, and forgets the others.
async fn render_all(web: &Arc<Web>) {
    let hub = &web.events;
    let pieces: Vec<(PieceKey, Arc<Piece>)> = {
        let mut pieces = locked(&hub.pieces);
        pieces.retain(|_, piece| piece.listeners.load(Ordering::Relaxed) > 0);
        pieces.iter().map(|(key, piece)| (key.clone(), Arc::clone(piece))).collect()
    };
    let mut changed = false;
    for ((topic, _), piece) in pieces {
        let view = View::plain(web, piece.zone.clone());
        // What cannot be read now stays as it is on the pages; their freshness says the rest.
        let Ok(html) = topic.render(&view).await else { continue };
        let hash = hash_without_ages(&html);
        let mut rendered = locked(&piece.rendered);
        if rendered.as_ref().is_none_or(|before| before.hash != hash) {
            *rendered = Some(Arc::new(Rendered { html, hash }));
            changed = true;
        }
    }
    if changed {
        hub.changed.send_modify(|n| *n += 1);
    }
}

/// A hash of HTML that stays the same while only ages grow: what stands inside `<time>` is left out, its attributes count.
fn hash_without_ages(html: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (i, part) in html.split("<time ").enumerate() {
        if i == 0 {
            part.hash(&mut hasher);
            continue;
        }
        let (tag, rest) = part.split_once('>').unwrap_or((part, ""));
        tag.hash(&mut hasher);
        rest.split_once("</time>").map_or(rest, |(_age, rest)| rest).hash(&mut hasher);
    }
    hasher.finish()
}

/// The stream. For who may read; ends when they may not any more.
pub(crate) async fn stream(State(web): State<Arc<Web>>, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let hub = &web.events;
    if hub.streams.fetch_add(1, Ordering::Relaxed) >= STREAMS_MAX {
        hub.streams.fetch_sub(1, Ordering::Relaxed);
        hub.refused.fetch_add(1, Ordering::Relaxed);
        return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "30")], "too many pages are open\n")
            .into_response();
    }
    let callers = Caller::of(&parts);
    if let Err(full) = hub.enter(&callers) {
        hub.streams.fetch_sub(1, Ordering::Relaxed);
        hub.refused_to_one.fetch_add(1, Ordering::Relaxed);
        let whose = if matches!(full, Caller::User(_)) { "by this account" } else { "from this address" };
        let words = format!("{} pages are open {whose} already: close some, then load this one again\n", full.most());
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "30")], words).into_response();
    }
    hub.begin_rendering(&web);
    let (sender, receiver) = mpsc::channel::<Bytes>(WAITING_MAX);
    let look = Look::of(&parts);
    let listener = Listener::new(Arc::clone(&web), &parts, callers, &look.zone);
    tokio::spawn(listener.run(parts, sender));
    let body = Body::from_stream(stream::unfold(receiver, |mut receiver| async move {
        let event = receiver.recv().await?;
        Some((Ok::<_, Infallible>(event), receiver))
    }));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store, no-transform"),
        (header::HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

fn asked_topics(parts: &Parts) -> Vec<Topic> {
    let query = parts.uri.query().unwrap_or_default();
    let topics = query.split('&').find_map(|pair| pair.strip_prefix("topics=")).unwrap_or_default();
    topics.split(',').filter_map(Topic::named).take(TOPICS_PER_PAGE_MAX).collect()
}

fn last_event_id(parts: &Parts) -> &str {
    parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()).unwrap_or_default()
}

/// One stream's side: what it takes part in and what it was sent.
struct Listener {
    web: Arc<Web>,
    callers: Vec<Caller>,
    pieces: Vec<(Topic, Arc<Piece>)>,
    /// By the topic's name.
    sent: HashMap<String, u64>,
    /// Lines of the log, for a page that asks for them.
    lines: Option<Lines>,
}

/// When it was last asked whether the one who looks may look: by the engine's clock, and by one that nobody sets back.
struct Asked {
    at: Timestamp,
    instant: Instant,
}

impl Asked {
    fn now(web: &Web) -> Self {
        Self { at: web.engine.now(), instant: Instant::now() }
    }

    fn is_due(&self, web: &Web) -> bool {
        self.instant.elapsed() >= ASKED_EVERY || web.engine.now().since(self.at) >= ASKED_EVERY
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        for (_, piece) in &self.pieces {
            piece.listeners.fetch_sub(1, Ordering::Relaxed);
        }
        self.web.events.leave(&self.callers);
        self.web.events.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Listener {
    fn new(web: Arc<Web>, parts: &Parts, callers: Vec<Caller>, zone: &Zone) -> Self {
        let topics = asked_topics(parts);
        let mut pieces: Vec<(Topic, Arc<Piece>)> = Vec::with_capacity(topics.len());
        for topic in topics {
            if !pieces.iter().any(|(known, _)| *known == topic) {
                pieces.extend(web.events.listen(topic.clone(), zone).map(|piece| (topic, piece)));
            }
        }
        let sent = last_event_id(parts).split('!').filter_map(|one| {
            let (topic, hash) = one.rsplit_once('~')?;
            Some((topic.to_owned(), u64::from_str_radix(hash, 16).ok()?))
        });
        // The topics, and how far the log was read.
        let sent: HashMap<String, u64> = sent.take(TOPICS_PER_PAGE_MAX + 1).collect();
        let lines = Lines::asked(&web, parts, zone, sent.get(lines::PLACE).copied());
        Self { web, callers, pieces, sent, lines }
    }

    async fn run(mut self, parts: Parts, out: mpsc::Sender<Bytes>) {
        let mut stop = self.web.events.stop.clone();
        let mut changed = self.web.events.changed.subscribe();
        let mut beats = interval_at(Instant::now() + BEAT_EVERY, BEAT_EVERY);
        let mut asked = Asked::now(&self.web);
        if out.send(beat(&self.web)).await.is_err() {
            return;
        }
        // What others look at already is there at once.
        let mut waiting = self.news();
        loop {
            // A reader that takes nothing holds up nobody but itself.
            if let Some(event) = waiting.take()
                && out.send(event).await.is_err()
            {
                return;
            }
            waiting = tokio::select! {
                _ = async { stop.wait_for(|stopping| *stopping).await.is_ok() } => {
                    // Said so that pages know why; whether it still arrives is not important.
                    let _gone = out.try_send(Bytes::from_static(b"event: bye\ndata: stopping\n\n"));
                    return;
                }
                () = out.closed() => return,
                _ = beats.tick() => {
                    Some(beat(&self.web))
                }
                moved = changed.changed() => {
                    if moved.is_err() { return }
                    self.news()
                }
                (place, json) = next_lines(&mut self.lines) => {
                    self.sent.insert(lines::PLACE.to_owned(), place);
                    Some(format!("id: {}\nevent: lines\ndata: {json}\n\n", self.place()).into())
                }
            };
            if asked.is_due(&self.web) {
                if !viewer(&self.web, &parts).await.map_or(true, |viewer| viewer.is_some()) {
                    let _gone = out.try_send(Bytes::from_static(b"event: signed-out\ndata: signed out\n\n"));
                    return;
                }
                asked = Asked::now(&self.web);
            }
        }
    }

    /// What changed since it was sent, as one event.
    fn news(&mut self) -> Option<Bytes> {
        let mut html = String::new();
        for (topic, piece) in &self.pieces {
            let Some(rendered) = locked(&piece.rendered).clone() else { continue };
            if self.sent.insert(topic.name(), rendered.hash) != Some(rendered.hash) {
                html.push_str(&rendered.html);
            }
        }
        if html.is_empty() {
            return None;
        }
        let mut event = String::with_capacity(html.len() + 256);
        // Writing to a String does not fail.
        let _written = writeln!(event, "id: {}", self.place());
        for line in html.lines() {
            let _written = writeln!(event, "data: {line}");
        }
        event.push('\n');
        Some(event.into())
    }

    /// What was sent, as the id of an event.
    fn place(&self) -> String {
        let mut ids: Vec<String> = self.sent.iter().map(|(topic, hash)| format!("{topic}~{hash:x}")).collect();
        ids.sort_unstable();
        ids.join("!")
    }
}

/// Waits for lines, or for good where none were asked for.
async fn next_lines(lines: &mut Option<Lines>) -> (u64, String) {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}

/// What a beat says.
#[derive(Serialize)]
struct Beat {
    /// The present moment, in milliseconds since 1970.
    now_ms: i64,
    /// The newest stamp of any line, if there is one.
    line_ms: Option<i64>,
    /// When this process began: another value is another process.
    process: i64,
}

fn beat(web: &Web) -> Bytes {
    let ms = |at: Timestamp| at.as_micros() / 1_000;
    let beat = Beat {
        now_ms: ms(web.engine.now()),
        line_ms: newest_line_at(web).map(ms),
        process: web.engine.started_at().as_micros(),
    };
    // Numbers always become JSON.
    let data = serde_json::to_string(&beat).unwrap_or_default();
    format!("event: beat\ndata: {data}\n\n").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_no_news() {
        let page = |at: &str, age: &str| format!("<p>x <time datetime=\"{at}\" data-ago>{age}</time> y</p>");
        assert_eq!(hash_without_ages(&page("1", "2s ago")), hash_without_ages(&page("1", "3s ago")));
        assert_ne!(hash_without_ages(&page("1", "2s ago")), hash_without_ages(&page("2", "2s ago")));
        assert_ne!(hash_without_ages("<p>a</p>"), hash_without_ages("<p>b</p>"));
    }
}
