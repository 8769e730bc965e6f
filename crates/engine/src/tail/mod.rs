//! The log as it comes, for people who watch it: accepted bodies are read once more, masked, and handed to each watcher
//! through a filter. Owns what that may cost. Nobody watches: one atomic read per batch. Somebody does: bodies wait in
//! bounded queues, one for each app, and every [`PASS_EVERY`] one pass looks at a bounded number of lines and hands each
//! watcher a bounded batch; both numbers are shared out so that a loud app does not drown a quiet one, and what was not
//! looked at or not shown is counted by app. Ingest never waits for any of this.
//!
//! What stood in the log before somebody came is read from the apps' rings (`recent`); how a line looks is [`line`]'s.

mod line;
mod recent;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use dynowatch_domain::drain_rotation::Share;
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::fair::shares;
use dynowatch_domain::line_filter::LineFilter;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::{AlertId, AppId};
use dynowatch_logplex::{Frame, StampCache, frames, message};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::apps::lock;
use crate::{Engine, Shared};

pub(crate) use line::RawLine;
pub use line::{LineId, SHOWN_BYTES_MAX, SeenLine};
use line::{Torn, know_neighbours};
pub use recent::{FoundLine, RECENT_APPS_MAX, Recent};

/// How often watchers are told.
pub const PASS_EVERY: Duration = Duration::from_millis(300);
/// Lines in one batch of one watcher: more than a hundred a second nobody reads.
pub const BATCH_LINES_MAX: usize = 40;
/// People who watch at a time. Who comes later is told to reload by hand.
pub const WATCHERS_MAX: usize = 200;
/// How long lines go on being read after the last watcher left: a page that lost its connection comes back for them.
const LINGER: Duration = Duration::from_secs(30);
/// Lines looked at in one pass, of all apps. Masking is what costs.
const LOOKED_AT_MAX: usize = 2_000;
/// Bytes that wait for the next pass: of one app, and of all.
const APP_BYTES_MAX: usize = 512 * 1024;
const WAITING_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Batches that wait for a slow watcher. While they do, what would come next is counted and not kept.
const BATCHES_WAITING_MAX: usize = 4;
/// Lines kept for who comes back, and for who wants to see one of them whole.
const KEPT_LINES_MAX: usize = 4_000;
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Apps of which pieces of long lines are held until their next piece comes.
const TORN_APPS_MAX: usize = 32;
/// Lines that caused alerts and are remembered as such.
const MARKS_MAX: usize = 4_096;
/// How long after a watcher was shown the newest lines these may still arrive: a batch may wait four seconds for its commit.
const SETTLING: Duration = Duration::from_secs(10);

/// What one watcher gets at a time.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// Lines that fit, oldest first.
    pub lines: Vec<Arc<SeenLine>>,
    /// Lines that were not shown, by the app's name: those that fitted and found no room, and those nobody looked at.
    pub missed: Vec<(String, u64)>,
    /// Lines that turned out to have caused an alert, perhaps after they were shown.
    pub marks: Vec<(LineId, AlertId)>,
    /// Where the log stands after this batch: say it when coming back.
    pub seq: u64,
}

/// Accepted bodies of one app that wait for the next pass.
#[derive(Default)]
struct Waiting {
    name: String,
    /// With which of their lines count: while a drain is replaced, two deliver the same lines.
    bodies: Vec<(Bytes, Share)>,
    bytes: usize,
    missed: u64,
}

#[derive(Default)]
struct Inbox {
    apps: HashMap<AppId, Waiting>,
    bytes: usize,
}

struct Watcher {
    /// From this place on every line that it may want was looked at.
    from: u64,
    filter: Arc<LineFilter>,
    out: mpsc::Sender<Batch>,
    missed: BTreeMap<String, u64>,
}

/// A watcher that left and may come back: until then its lines are looked at, too.
struct Away {
    filter: Arc<LineFilter>,
    from: u64,
    /// Passes since it left.
    passes: u32,
}

/// A new line, and its bytes where they say more than what is shown.
type Fresh = (Arc<SeenLine>, Option<Box<[u8]>>);

/// A line that is kept, with its bytes where they say more than what is shown.
struct Kept {
    seq: u64,
    line: Arc<SeenLine>,
    raw: Option<Box<[u8]>>,
}

#[derive(Default)]
struct State {
    watchers: HashMap<u64, Watcher>,
    /// Those that left lately, the oldest first.
    away: VecDeque<Away>,
    next_watcher: u64,
    seq: u64,
    /// Up to here lines are no longer kept.
    forgotten: u64,
    /// Up to here some lines were not looked at, because nobody wanted any of their writers.
    narrowed: u64,
    kept: VecDeque<Kept>,
    kept_bytes: usize,
    /// Lines that pages were loaded with: a busy app's ring forgets them within seconds, people do not press a link that
    /// fast. Bounded as what is kept.
    shown: HashMap<LineId, Kept>,
    shown_order: VecDeque<LineId>,
    shown_bytes: usize,
    idle_passes: u32,
    /// Whether passes are being made.
    running: bool,
}

/// A place among the watchers.
struct Joined {
    id: u64,
    batches: mpsc::Receiver<Batch>,
    /// Whether it goes on where it was.
    resumed: bool,
    /// Whether nobody makes passes yet.
    is_first: bool,
}

#[derive(Default)]
struct Marks {
    alerts: HashMap<LineId, AlertId>,
    order: VecDeque<LineId>,
    /// Those of which watchers were not told yet.
    news: Vec<(LineId, AlertId)>,
}

/// The hub of one process.
pub(crate) struct Tail {
    key: [u8; 16],
    watched: AtomicBool,
    inbox: Mutex<Inbox>,
    /// Pieces of long lines, by app, whose next piece may come with the next pass.
    torn: Mutex<HashMap<AppId, Vec<Torn>>>,
    state: Mutex<State>,
    marks: Mutex<Marks>,
    /// Lines that no watcher was shown although one wanted its app.
    pub(crate) missed: AtomicU64,
}

impl Tail {
    /// A hub whose line names are made with `key`; its places begin at `seq`, which must grow from process to process.
    pub(crate) fn new(key: [u8; 16], seq: u64) -> Self {
        let state = State { seq, forgotten: seq, narrowed: seq, ..State::default() };
        Self {
            key,
            watched: AtomicBool::new(false),
            inbox: Mutex::default(),
            torn: Mutex::default(),
            state: Mutex::new(state),
            marks: Mutex::default(),
            missed: AtomicU64::new(0),
        }
    }

    /// Whether bodies are wanted.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Relaxed)
    }

    /// Takes an accepted body in which `lines` lines count. What finds no room is counted.
    pub(crate) fn offer(&self, app: AppId, name: &str, share: Share, body: &Bytes, lines: u64) {
        let mut inbox = lock(&self.inbox);
        let has_room = inbox.bytes + body.len() <= WAITING_BYTES_MAX;
        let waiting = inbox.apps.entry(app).or_default();
        if waiting.name.is_empty() {
            name.clone_into(&mut waiting.name);
        }
        if !has_room || (waiting.bytes > 0 && waiting.bytes + body.len() > APP_BYTES_MAX) {
            waiting.missed += lines;
            return;
        }
        waiting.bytes += body.len();
        waiting.bodies.push((body.clone(), share));
        inbox.bytes += body.len();
    }

    /// Remembers that these lines belong to an alert. Costs a hash for each; called where rules meet matches.
    pub(crate) fn mark(&self, app: AppId, lines: &[EvidenceLine], alert: AlertId) {
        let mut marks = lock(&self.marks);
        for line in lines {
            let id = RawLine::of_evidence(line).id(&self.key, app);
            if marks.alerts.insert(id, alert) == Some(alert) {
                continue;
            }
            marks.order.push_back(id);
            if marks.order.len() > MARKS_MAX
                && let Some(oldest) = marks.order.pop_front()
            {
                marks.alerts.remove(&oldest);
            }
            if self.is_watched() && marks.news.len() < MARKS_MAX {
                marks.news.push((id, alert));
            }
        }
    }

    fn alert_of(&self, id: LineId) -> Option<AlertId> {
        lock(&self.marks).alerts.get(&id).copied()
    }

    /// A place among the watchers; `None` when there are too many. `after` is where a watcher that comes back was: what it
    /// missed since is its first batch, if that is still known.
    fn join(&self, filter: LineFilter, after: Option<u64>) -> Option<Joined> {
        let mut state = lock(&self.state);
        if state.watchers.len() >= WATCHERS_MAX {
            return None;
        }
        let (out, batches) = mpsc::channel(BATCHES_WAITING_MAX);
        let filter = Arc::new(filter);
        let first = after.and_then(|after| state.since(after, &filter));
        let resumed = first.is_some();
        if let Some(first) = first.filter(|first| !first.lines.is_empty() || !first.missed.is_empty()) {
            let _room = out.try_send(first);
        }
        state.next_watcher += 1;
        let id = state.next_watcher;
        let from = after.filter(|_| resumed).unwrap_or(state.seq);
        let watcher = Watcher { from, filter, out, missed: BTreeMap::new() };
        state.watchers.insert(id, watcher);
        state.idle_passes = 0;
        let is_first = !std::mem::replace(&mut state.running, true);
        self.watched.store(true, Ordering::Relaxed);
        Some(Joined { id, batches, resumed, is_first })
    }

    fn leave(&self, watcher: u64) {
        let mut state = lock(&self.state);
        if let Some(watcher) = state.watchers.remove(&watcher) {
            state.left(watcher);
        }
    }

    /// Looks at what waits and tells every watcher. Returns whether anybody may still want to be told.
    pub(crate) fn pass(&self, masker: &Masker) -> bool {
        let waiting = {
            let mut inbox = lock(&self.inbox);
            inbox.bytes = 0;
            std::mem::take(&mut inbox.apps)
        };
        let mut state = lock(&self.state);
        state.round();
        let mut missed: BTreeMap<String, u64> = BTreeMap::new();
        let (fresh, narrowed) = self.look(&state, &waiting, masker, &mut missed);
        let news = std::mem::take(&mut lock(&self.marks).news);
        let fresh = state.keep(fresh);
        if narrowed {
            // A place of its own: whoever was at the one before has missed something.
            state.seq += 1;
            state.narrowed = state.seq;
        }
        let seq = state.seq;
        let mut not_shown = 0;
        for watcher in state.watchers.values_mut() {
            not_shown += watcher.tell(&fresh, &missed, &news, seq);
        }
        self.missed.fetch_add(not_shown, Ordering::Relaxed);
        state.idle_passes = if state.watchers.is_empty() { state.idle_passes + 1 } else { 0 };
        let goes_on = PASS_EVERY * state.idle_passes < LINGER;
        if !goes_on {
            state.running = false;
            self.watched.store(false, Ordering::Relaxed);
            *lock(&self.inbox) = Inbox::default();
            lock(&self.torn).clear();
            // From now on nothing is looked at: nobody goes on from a place before this one.
            state.seq += 1;
            state.forgotten = state.seq;
        }
        goes_on
    }

    /// The lines that some watcher may want by who wrote them, as people may see them; of each app the newest of its share.
    /// Also whether others were left out.
    fn look(
        &self,
        state: &State,
        waiting: &HashMap<AppId, Waiting>,
        masker: &Masker,
        missed: &mut BTreeMap<String, u64>,
    ) -> (Vec<Fresh>, bool) {
        let mut cache = StampCache::default();
        let mut apps: Vec<(AppId, &Waiting, Vec<RawLine<'_>>)> = Vec::new();
        let earlier = std::mem::take(&mut *lock(&self.torn));
        let mut torn = HashMap::new();
        let mut narrowed = false;
        for (id, of_app) in waiting {
            // Those who left lately may come back. Where nobody else is known, all lines count: who comes may want any.
            let filters: Vec<&LineFilter> =
                state.filters().map(|filter| &**filter).filter(|filter| filter.wants_app(&of_app.name)).collect();
            if filters.is_empty() && !state.watchers.is_empty() {
                narrowed = true;
                continue;
            }
            let frames = of_app.bodies.iter().flat_map(|(body, share)| frames(body).map(move |frame| (frame, share)));
            let lines = frames.filter_map(|(frame, share)| match frame {
                Frame::Message(raw) => message(raw, &mut cache).ok().map(|message| (RawLine::of(&message), share)),
                Frame::Bad(_) => None,
            });
            let lines = lines.filter(|(line, share)| share.counts(line.at)).map(|(line, _)| line);
            let mut wanted: Vec<RawLine<'_>> = lines.collect();
            let open = know_neighbours(&mut wanted, earlier.get(id).map(Vec::as_slice).unwrap_or_default());
            if !open.is_empty() && torn.len() < TORN_APPS_MAX {
                torn.insert(*id, open);
            }
            let all = wanted.len();
            wanted.retain(|line| {
                filters.is_empty() || filters.iter().any(|filter| filter.wants_writer(line.source, line.process))
            });
            narrowed |= wanted.len() < all;
            if of_app.missed > 0 {
                *missed.entry(of_app.name.clone()).or_default() += of_app.missed;
            }
            apps.push((*id, of_app, wanted));
        }
        let room = shares(&apps.iter().map(|(.., lines)| lines.len()).collect::<Vec<_>>(), LOOKED_AT_MAX);
        let mut fresh = Vec::new();
        for ((id, of_app, lines), share) in apps.iter().zip(room) {
            let surplus = lines.len() - share;
            if surplus > 0 {
                *missed.entry(of_app.name.clone()).or_default() += surplus as u64;
            }
            fresh.extend(lines.iter().skip(surplus).map(|raw| {
                let line_id = raw.id(&self.key, *id);
                let mut line = raw.see(line_id, *id, &of_app.name, masker, SHOWN_BYTES_MAX);
                line.alert = self.alert_of(line_id);
                let says_more = line.is_masked || line.cut_bytes > 0;
                (Arc::new(line), says_more.then(|| raw.text.into()))
            }));
        }
        // Of the others nothing came: their next piece may come with the next pass.
        for (id, open) in earlier.into_iter().filter(|(id, _)| !waiting.contains_key(id)) {
            let open: Vec<Torn> = open.into_iter().filter_map(Torn::later).collect();
            if !open.is_empty() && torn.len() < TORN_APPS_MAX {
                torn.insert(id, open);
            }
        }
        *lock(&self.torn) = torn;
        fresh.sort_by_key(|(line, _)| line.at);
        (fresh, narrowed)
    }
}

impl State {
    /// The filters of those who watch and of those who may come back.
    fn filters(&self) -> impl Iterator<Item = &Arc<LineFilter>> {
        self.watchers.values().map(|watcher| &watcher.filter).chain(self.away.iter().map(|away| &away.filter))
    }

    /// A watcher left and may come back.
    fn left(&mut self, Watcher { filter, from, .. }: Watcher) {
        self.away.push_back(Away { filter, from, passes: 0 });
        if self.away.len() > WATCHERS_MAX {
            self.away.pop_front();
        }
    }

    /// Sees who is gone, and who has not come back for too long.
    fn round(&mut self) {
        let gone: Vec<u64> =
            self.watchers.iter().filter(|(_, watcher)| watcher.out.is_closed()).map(|(id, _)| *id).collect();
        let gone: Vec<Watcher> = gone.iter().filter_map(|id| self.watchers.remove(id)).collect();
        self.away.iter_mut().for_each(|away| away.passes += 1);
        self.away.retain(|away| PASS_EVERY * away.passes < LINGER);
        gone.into_iter().for_each(|watcher| self.left(watcher));
    }

    /// Gives new lines their places and keeps the newest.
    fn keep(&mut self, fresh: Vec<Fresh>) -> Vec<Arc<SeenLine>> {
        let mut lines = Vec::with_capacity(fresh.len());
        for (line, raw) in fresh {
            self.seq += 1;
            self.kept_bytes += weight(&line, raw.as_deref());
            lines.push(Arc::clone(&line));
            self.kept.push_back(Kept { seq: self.seq, line, raw });
        }
        while self.kept.len() > KEPT_LINES_MAX || self.kept_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.kept.pop_front() else { break };
            self.forgotten = oldest.seq;
            self.kept_bytes -= weight(&oldest.line, oldest.raw.as_deref());
        }
        lines
    }

    /// Keeps lines that a page was loaded with; the oldest go.
    fn remember(&mut self, lines: &[Arc<SeenLine>], raws: &mut HashMap<LineId, Box<[u8]>>) {
        for line in lines {
            if self.shown.contains_key(&line.id) {
                continue;
            }
            let raw = raws.remove(&line.id);
            self.shown_bytes += weight(line, raw.as_deref());
            self.shown.insert(line.id, Kept { seq: 0, line: Arc::clone(line), raw });
            self.shown_order.push_back(line.id);
        }
        while self.shown_order.len() > KEPT_LINES_MAX || self.shown_bytes > KEPT_BYTES_MAX {
            let Some(oldest) = self.shown_order.pop_front().and_then(|id| self.shown.remove(&id)) else { break };
            self.shown_bytes -= weight(&oldest.line, oldest.raw.as_deref());
        }
    }

    /// Whether all lines that this filter may want were looked at from there on: for one who watches or who left.
    fn was_looked_at(&self, after: u64, filter: &LineFilter) -> bool {
        let watching = self.watchers.values().map(|watcher| (&watcher.filter, watcher.from));
        let mut known = watching.chain(self.away.iter().map(|away| (&away.filter, away.from)));
        known.any(|(known, from)| from <= after && known.wants_same_writers(filter))
    }

    /// A line of this app that somebody was shown.
    fn find(&self, app: AppId, id: LineId) -> Option<&Kept> {
        let kept = self.kept.iter().rev().find(|kept| kept.line.id == id).or_else(|| self.shown.get(&id));
        kept.filter(|kept| kept.line.app == app)
    }

    /// What came after a place; `None` when that is not known whole any more.
    fn since(&self, after: u64, filter: &LineFilter) -> Option<Batch> {
        if after > self.seq || after < self.forgotten || (after < self.narrowed && !self.was_looked_at(after, filter)) {
            return None;
        }
        let lines: Vec<Arc<SeenLine>> =
            self.kept.iter().filter(|kept| kept.seq > after).map(|kept| Arc::clone(&kept.line)).collect();
        let mut missed = BTreeMap::new();
        let lines = choose(lines.into_iter().filter(|line| fits(filter, line)), 5 * BATCH_LINES_MAX, &mut missed);
        Some(Batch { lines, missed: missed.into_iter().collect(), marks: Vec::new(), seq: self.seq })
    }
}

fn weight(line: &SeenLine, raw: Option<&[u8]>) -> usize {
    size_of::<SeenLine>() + line.text.len() + line.process.len() + line.app_name.len() + raw.map_or(0, <[u8]>::len)
}

fn fits(filter: &LineFilter, line: &SeenLine) -> bool {
    filter.wants_app(&line.app_name)
        && filter.wants_writer(line.source, line.process.as_bytes())
        && filter.wants_text(line.level, &line.text)
}

/// The newest of each app's share, in their order; the others are counted.
fn choose(
    lines: impl Iterator<Item = Arc<SeenLine>>,
    room: usize,
    missed: &mut BTreeMap<String, u64>,
) -> Vec<Arc<SeenLine>> {
    let mut apps: BTreeMap<AppId, Vec<Arc<SeenLine>>> = BTreeMap::new();
    lines.for_each(|line| apps.entry(line.app).or_default().push(line));
    let room = shares(&apps.values().map(Vec::len).collect::<Vec<_>>(), room);
    let mut chosen = Vec::new();
    for (of_app, share) in apps.into_values().zip(room) {
        let surplus = of_app.len() - share;
        if let Some(line) = of_app.first().filter(|_| surplus > 0) {
            *missed.entry(line.app_name.clone()).or_default() += surplus as u64;
        }
        chosen.extend(of_app.into_iter().skip(surplus));
    }
    chosen.sort_by_key(|line| line.at);
    chosen
}

impl Watcher {
    /// Hands over what fits. Returns how many lines it was not shown and has not been told of before.
    fn tell(
        &mut self,
        fresh: &[Arc<SeenLine>],
        missed: &BTreeMap<String, u64>,
        news: &[(LineId, AlertId)],
        seq: u64,
    ) -> u64 {
        let before: u64 = self.missed.values().sum();
        for (app, n) in missed.iter().filter(|(app, _)| self.filter.wants_app(app)) {
            *self.missed.entry(app.clone()).or_default() += n;
        }
        let wanted = fresh.iter().filter(|line| fits(&self.filter, line)).cloned();
        let lines = choose(wanted, BATCH_LINES_MAX, &mut self.missed);
        let not_shown = |missed: &BTreeMap<String, u64>| missed.values().sum::<u64>().saturating_sub(before);
        if lines.is_empty() && self.missed.is_empty() && news.is_empty() {
            return 0;
        }
        let Ok(place) = self.out.try_reserve() else {
            // It reads too slowly, or is about to leave: what it does not get is told with what it gets next.
            for line in lines {
                *self.missed.entry(line.app_name.clone()).or_default() += 1;
            }
            return not_shown(&self.missed);
        };
        let not_shown = not_shown(&self.missed);
        place.send(Batch {
            lines,
            missed: std::mem::take(&mut self.missed).into_iter().collect(),
            marks: news.to_vec(),
            seq,
        });
        not_shown
    }
}

/// Somebody who watches. Leaves when it is dropped.
pub struct Watch {
    id: u64,
    batches: mpsc::Receiver<Batch>,
    shared: Arc<Shared>,
    resumed: bool,
    /// Lines that the watcher sees already, and until when they may still arrive.
    known: HashSet<LineId>,
    known_until: Instant,
}

impl Watch {
    /// The next batch; waits for as long as nothing fits. `None` when there are no more.
    pub async fn next(&mut self) -> Option<Batch> {
        let mut batch = self.batches.recv().await?;
        if !self.known.is_empty() {
            batch.lines.retain(|line| !self.known.remove(&line.id));
            if Instant::now() > self.known_until {
                self.known = HashSet::new();
            }
        }
        Some(batch)
    }

    /// Whether the watcher came back and goes on where it was.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.resumed
    }

    /// Takes note of lines that the watcher sees already, so that they are not handed to it once more: between its joining
    /// and its reading of the rings the same lines may have come both ways.
    pub fn knows(&mut self, lines: &[SeenLine]) {
        self.known = lines.iter().map(|line| line.id).collect();
        self.known_until = Instant::now() + SETTLING;
    }

    /// Where the log stands now.
    #[must_use]
    pub fn seq(&self) -> u64 {
        lock(&self.shared.tail.state).seq
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.tail.leave(self.id);
    }
}

impl Engine {
    /// Watches the log as it comes; `None` when [`WATCHERS_MAX`] do already. `after` is [`Batch::seq`] of the last batch of
    /// a watcher that comes back. To be called inside a runtime, which the passes then run on.
    #[must_use]
    pub fn watch(&self, filter: LineFilter, after: Option<u64>) -> Option<Watch> {
        let shared = &self.shared;
        let Joined { id, batches, resumed, is_first } = shared.tail.join(filter, after)?;
        if is_first {
            tokio::spawn(run(Arc::downgrade(shared)));
        }
        let (known, known_until) = (HashSet::new(), Instant::now());
        Some(Watch { id, batches, shared: Arc::clone(shared), resumed, known, known_until })
    }

    /// How many people watch, and how many lines they were not shown since the process began.
    #[must_use]
    pub fn watchers(&self) -> (usize, u64) {
        (lock(&self.shared.tail.state).watchers.len(), self.shared.tail.missed.load(Ordering::Relaxed))
    }
}

/// Passes until nobody has watched for a while, or the engine is gone.
async fn run(shared: std::sync::Weak<Shared>) {
    let mut ticks = tokio::time::interval(PASS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let masker = shared.masker.load_full();
        // Masking and everyone's filters take their time: not that of the threads that answer.
        let passed = tokio::task::spawn_blocking(move || shared.tail.pass(&masker)).await;
        if matches!(passed, Ok(false)) {
            return;
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
