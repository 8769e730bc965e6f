//! The group commit. Batches in which something matched wait here together: what they changed is worked out and stored in
//! one transaction, and only then are they answered. At once when it is quiet; under load at most one commit per
//! [`COMMIT_PAUSE_MAX`], unless for [`SETTLE`] every request in flight has been waiting for it anyway, or as many wait as
//! usually do.
//!
//! Owns the keys held in memory. They are a cache: each carries the version it had in the store, and the store returns
//! what another process has written since.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::account::audit::Act;
use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::key::Key;
use dynowatch_domain::release::Release;
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::window::{Counted, Window};
use dynowatch_domain::{AlertId, AppId, Timestamp};
use dynowatch_store::checks::CheckChange;
use dynowatch_store::{Changes, Engine, EvaluateRequest, Loaded, LoadedTrack, Saved, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::Shared;
use crate::apps::{App, lock};
use crate::evaluate::{self, Held, Input, NewMatches, Scene};
use crate::findings::KeyMatches;
use crate::groups::Groups;
use crate::ingest::{COMMIT_WAIT_MAX, Refused};
use crate::random::RandomIds;
use crate::ring::Wanted;
use crate::rules::RuleBook;
use crate::totals::BatchTotals;

/// The longest pause between two commits under load.
pub const COMMIT_PAUSE_MAX: Duration = Duration::from_millis(20);
/// How long every request in flight must have been waiting before a commit under load goes ahead of its pause. Between an
/// answer and its connection's next request nothing is in flight for a moment; a commit begun in it would miss that
/// request, and commits cost more than all else.
const SETTLE: Duration = Duration::from_millis(1);
/// Once so many wait as the commit before this one held, all that are in flight, nobody else is waited for: to fall idle each
/// time costs more than a commit that now and then holds fewer. One commit in so many waits all the same, to learn of more.
const LEARN_EVERY: u32 = 16;
/// Batches in one commit.
const COMMIT_BATCHES_MAX: usize = 256;
/// The pause before a commit is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(100);
/// Keys kept in memory while nothing is open on them.
const IDLE_KEYS_MAX: usize = 20_000;
/// A key at rest is forgotten, and its group's place is free, this long after its last match.
pub(crate) const IDLE_AFTER: Duration = Duration::from_secs(3_600);
/// How often, at most, they are looked through for what can go.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// A batch that must be kept.
pub(crate) struct Submission {
    pub(crate) app: Arc<App>,
    pub(crate) book: Arc<RuleBook>,
    /// What makes a repetition known.
    pub(crate) frame_ids: Vec<String>,
    pub(crate) keys: Vec<KeyMatches>,
    pub(crate) releases: Vec<Release>,
    pub(crate) losses: Vec<Blind>,
    pub(crate) totals: BatchTotals,
    pub(crate) arrived: Timestamp,
    /// When its wait began. The answer must not come later than [`COMMIT_WAIT_MAX`] after it.
    pub(crate) since: Instant,
    pub(crate) reply: oneshot::Sender<Result<(), Refused>>,
}

/// The keys in memory.
#[derive(Default)]
pub(crate) struct Evaluator {
    held: HashMap<Key, Held>,
    /// The groups of each (app, rule), those with something open among them from the start.
    groups: Groups,
    forgot_at: Timestamp,
}

/// By key: its rule, and its matches with the place of the batch each came in.
type Inputs<'a> = BTreeMap<Key, (Arc<Rule>, Vec<(usize, &'a KeyMatches)>)>;

/// Batches that are committed together.
struct Together<'a> {
    batch: &'a [Submission],
    /// What makes repetitions known: the place of the batch, the app and the id.
    frames: &'a [(usize, (AppId, String))],
    inputs: &'a Inputs<'a>,
}

impl Together<'_> {
    fn frame_ids(&self) -> Vec<(AppId, String)> {
        self.frames.iter().map(|(_, frame)| frame.clone()).collect()
    }

    /// What follows, given what the store had.
    fn decide(&self, shared: &Shared, view: &View<'_>, held: HashMap<Key, Held>, loaded: Loaded) -> (Changes, Done) {
        let mut duplicates = vec![false; self.batch.len()];
        for ((i, _), new) in self.frames.iter().zip(&loaded.new_frames) {
            if let Some(duplicate) = duplicates.get_mut(*i) {
                *duplicate |= !new;
            }
        }
        let mut work = Work::new(held, loaded, view);
        for (key, (rule, matches)) in self.inputs {
            let fresh = matches.iter().filter(|(i, _)| !duplicates.get(*i).copied().unwrap_or(false)).map(|(_, m)| *m);
            if let Some(matches) = gather(fresh) {
                work.apply(key, rule, Input::Matches(matches));
            }
        }
        let counted = self.batch.iter().zip(&duplicates).filter(|(_, duplicate)| !**duplicate);
        for (submission, _) in counted {
            let app = submission.app.id;
            work.changes.releases.extend(submission.releases.iter().map(|release| (app, release.clone())));
            work.blinds.extend(submission.losses.iter().map(|loss| (Some(app), loss.clone())));
        }
        work.finish(shared, duplicates)
    }
}

/// What one transaction did, besides what it stored.
struct Done {
    held: Vec<(Key, Held)>,
    duplicates: Vec<bool>,
    releases: Vec<(AppId, Release)>,
    blinds: Vec<(Option<AppId>, Blind)>,
    deliveries: bool,
    marks: Vec<Mark>,
}

/// Lines, whose they are, and the alert they belong to.
type Mark = (AppId, Vec<EvidenceLine>, AlertId);

/// Takes batches from the queue until it is closed, then returns.
pub(crate) async fn run(shared: Arc<Shared>, mut queue: mpsc::Receiver<Submission>) {
    let mut last_commit: Option<Instant> = None;
    let (mut usual, mut commits) = (0_usize, 0_u32);
    while let Some(first) = queue.recv().await {
        commits = commits.wrapping_add(1);
        // One alone tells nothing: the others may be on their way with what holds no match.
        let enough = if usual < 2 || commits.is_multiple_of(LEARN_EVERY) { COMMIT_BATCHES_MAX } else { usual };
        let mut batch = vec![first];
        gather_more(&shared, &mut queue, &mut batch, last_commit.map(|at| at + COMMIT_PAUSE_MAX), enough).await;
        usual = batch.len();
        commit_until_kept(&shared, batch).await;
        last_commit = Some(Instant::now());
    }
}

/// Adds what else waits, or comes before the pause after the last commit is over; with `enough` of them, all that are in
/// flight, the pause ends at once.
async fn gather_more(
    shared: &Shared,
    queue: &mut mpsc::Receiver<Submission>,
    batch: &mut Vec<Submission>,
    pause_until: Option<Instant>,
    enough: usize,
) {
    loop {
        while batch.len() < COMMIT_BATCHES_MAX
            && let Ok(next) = queue.try_recv()
        {
            batch.push(next);
        }
        let now = Instant::now();
        let Some(until) = pause_until.filter(|until| batch.len() < COMMIT_BATCHES_MAX && now < *until) else {
            return;
        };
        let all_wait = |batch: &[Submission]| batch.len() as u64 >= shared.stats.batches_in_progress.get();
        let settling = all_wait(batch);
        if settling && batch.len() >= enough {
            return;
        }
        match tokio::time::timeout_at(if settling { until.min(now + SETTLE) } else { until }, queue.recv()).await {
            Ok(Some(next)) => batch.push(next),
            Ok(None) => return,
            // Whoever came meanwhile and does not wait yet may bring something more; the pause still has its end.
            Err(_elapsed) if settling && !all_wait(batch) => {}
            Err(_elapsed) => return,
        }
    }
}

/// Commits a batch, again and again while the store is away, for as long as anyone waits for it.
async fn commit_until_kept(shared: &Shared, mut batch: Vec<Submission>) {
    let begun = Instant::now();
    loop {
        // What could end only after its requester has given up is not begun: it was told that nothing was counted.
        let worth = begun_before(Instant::now());
        batch.retain(|submission| !submission.reply.is_closed() && submission.since > worth);
        if batch.is_empty() {
            return;
        }
        // The oldest of them decides how long this may take. Ended half-way it leaves nothing behind, or what the same
        // frame ids make known when it is tried again.
        let until = batch.iter().map(|submission| submission.since).min().unwrap_or(begun) + COMMIT_WAIT_MAX;
        let outcome =
            tokio::time::timeout_at(until, async { shared.evaluator.lock().await.commit(shared, &batch).await }).await;
        let outcome =
            outcome.unwrap_or_else(|_elapsed| Err(StoreError::Unavailable("nobody waits for it any more".to_owned())));
        match outcome {
            Ok(duplicates) => {
                shared.stats.committed(begun.elapsed());
                shared.note_room(None);
                for (submission, duplicate) in batch.into_iter().zip(duplicates) {
                    settle(shared, submission, duplicate);
                }
                return;
            }
            Err(error) => {
                shared.stats.commit_failures.up();
                shared.store_failed("commit", &error);
                shared.note_room(Some(&error));
                if error.is_retryable() {
                    tokio::time::sleep(RETRY_PAUSE).await;
                } else if batch.len() > 1 {
                    // One of them cannot be stored; the others must not fail with it.
                    for submission in batch {
                        Box::pin(commit_until_kept(shared, vec![submission])).await;
                    }
                    return;
                } else {
                    batch.into_iter().for_each(refuse);
                    return;
                }
            }
        }
    }
}

/// Batches whose wait began before this have no time left for another try.
fn begun_before(now: Instant) -> Instant {
    now.checked_sub(COMMIT_WAIT_MAX.saturating_sub(RETRY_PAUSE)).unwrap_or(now)
}

fn refuse(submission: Submission) {
    let _gone = submission.reply.send(Err(Refused::StoreAway));
}

/// Counts a committed batch and lets it be answered.
fn settle(shared: &Shared, submission: Submission, duplicate: bool) {
    let mut totals = lock(&submission.app.live.totals);
    if duplicate {
        shared.stats.batches_duplicate.up();
        totals.counts.duplicates += 1;
    } else {
        totals.merge(&submission.totals, &submission.book.matcher);
        shared.record(&submission.app, &submission.totals.metrics, submission.arrived);
    }
    drop(totals);
    let mut frames = lock(&shared.frames);
    submission.frame_ids.iter().for_each(|id| frames.insert(submission.app.id, id));
    drop(frames);
    // A requester that gave up meanwhile will send the batch again, and it will be known.
    let _gone = submission.reply.send(Ok(()));
}

impl Evaluator {
    /// Works out and stores what a group of batches changes. Returns which of them had been counted before.
    async fn commit(&mut self, shared: &Shared, batch: &[Submission]) -> Result<Vec<bool>, StoreError> {
        let now = shared.clock.now();
        let mut inputs: Inputs<'_> = BTreeMap::new();
        let mut new_groups = Groups::default();
        for (i, submission) in batch.iter().enumerate() {
            for matches in &submission.keys {
                let rule = submission.book.matcher.rule(matches.rule);
                let key = Key { app: submission.app.id, rule: rule.name.clone(), group: matches.group.clone() };
                let admitted = self.groups.admit(key, shared.limits.groups_per_rule, &mut new_groups);
                let key = admitted.unwrap_or_else(|other| {
                    shared.stats.groups_overflowed.up();
                    other
                });
                inputs.entry(key).or_insert_with(|| (Arc::clone(rule), Vec::new())).1.push((i, matches));
            }
        }
        let frames: Vec<(usize, (AppId, String))> = batch
            .iter()
            .enumerate()
            .flat_map(|(i, s)| s.frame_ids.iter().map(move |id| (i, (s.app.id, id.clone()))))
            .collect();
        let group = Together { batch, frames: &frames, inputs: &inputs };
        if let Some(done) = self.commit_known(shared, &group, now).await? {
            return Ok(done);
        }
        let request = self.request(now, group.frame_ids(), inputs.keys().cloned().collect());
        let view = View::of(shared, now, &request, batch);
        let held = self.take(&request.keys);
        let done = shared.store.evaluate(request, |loaded| group.decide(shared, &view, held, loaded)).await?;
        let duplicates = done.duplicates.clone();
        self.keep(shared, done, now);
        Ok(duplicates)
    }

    /// The same in one trip to the store, on the assumption that every frame is new and every key as it is in memory: nearly
    /// always it is. `None`: it was not, or cannot be known in passing. What was in memory is then gone, and loaded again.
    async fn commit_known(
        &mut self,
        shared: &Shared,
        group: &Together<'_>,
        now: Timestamp,
    ) -> Result<Option<Vec<bool>>, StoreError> {
        if shared.store.engine() != Engine::Sqlite || !group.inputs.keys().all(|key| self.held.contains_key(key)) {
            return Ok(None);
        }
        let request = self.request(now, group.frame_ids(), group.inputs.keys().cloned().collect());
        let view = View::of(shared, now, &request, group.batch);
        let held = self.take(&request.keys);
        let tracks = request
            .known
            .iter()
            .map(|(key, version)| (key.clone(), LoadedTrack { version: *version, ..LoadedTrack::default() }));
        let loaded = Loaded { new_frames: vec![true; group.frames.len()], tracks: tracks.collect() };
        let (changes, done) = group.decide(shared, &view, held, loaded);
        match shared.store.save_known(&request, &changes).await? {
            Saved::Yes => {}
            Saved::Not => return Ok(None),
            Saved::OthersWrote => {
                self.held.clear();
                return Ok(None);
            }
        }
        let duplicates = done.duplicates.clone();
        self.keep(shared, done, now);
        Ok(Some(duplicates))
    }

    /// Gives each key one input and stores what follows, with what the audit log is to say of it.
    pub(crate) async fn apply(
        &mut self,
        shared: &Shared,
        inputs: Vec<(Key, Arc<Rule>, Input)>,
        acts: Vec<Act>,
    ) -> Result<usize, StoreError> {
        if inputs.is_empty() {
            return Ok(0);
        }
        let count = inputs.len();
        self.apply_beside(shared, inputs, |changes| changes.acts = acts).await?;
        Ok(count)
    }

    /// The same for checks, with what their runs changed beside it; all of it is stored, or nothing.
    pub(crate) async fn apply_checks(
        &mut self,
        shared: &Shared,
        inputs: Vec<(Key, Arc<Rule>, Input)>,
        checks: Vec<CheckChange>,
    ) -> Result<(), StoreError> {
        self.apply_beside(shared, inputs, |changes| changes.checks = checks).await
    }

    /// Steps keys and stores what follows, together with what `beside` adds to it.
    async fn apply_beside(
        &mut self,
        shared: &Shared,
        inputs: Vec<(Key, Arc<Rule>, Input)>,
        beside: impl FnOnce(&mut Changes) + Send,
    ) -> Result<(), StoreError> {
        let now = shared.clock.now();
        let request = self.request(now, Vec::new(), inputs.iter().map(|(key, ..)| key.clone()).collect());
        let view = View::of(shared, now, &request, &[]);
        let held = self.take(&request.keys);
        let done = shared
            .store
            .evaluate(request, |loaded| {
                let mut work = Work::new(held, loaded, &view);
                for (key, rule, input) in inputs {
                    work.apply(&key, &rule, input);
                }
                beside(&mut work.changes);
                work.finish(shared, Vec::new())
            })
            .await?;
        self.keep(shared, done, now);
        Ok(())
    }

    fn request(&self, now: Timestamp, frames: Vec<(AppId, String)>, mut keys: Vec<Key>) -> EvaluateRequest {
        keys.sort_unstable();
        keys.dedup();
        let known = keys.iter().filter_map(|key| Some((key.clone(), self.held.get(key)?.version))).collect();
        EvaluateRequest { now, frames, keys, known }
    }

    /// Takes keys out of memory for a transaction. They come back when it is stored; if it is not, the next one loads them.
    fn take(&mut self, keys: &[Key]) -> HashMap<Key, Held> {
        keys.iter().filter_map(|key| self.held.remove_entry(key)).collect()
    }

    /// Knows the groups that were open before this process began.
    pub(crate) fn know(&mut self, keys: impl IntoIterator<Item = Key>) {
        for key in keys {
            self.groups.know(&key);
        }
    }

    /// Takes over what was stored.
    fn keep(&mut self, shared: &Shared, done: Done, now: Timestamp) {
        for (key, held) in done.held {
            self.groups.know(&key);
            self.held.insert(key, held);
        }
        shared.learn(done.releases, done.blinds, now);
        for (app, lines, alert) in &done.marks {
            shared.tail.mark(*app, lines, *alert);
        }
        if done.deliveries {
            shared.deliveries_due.notify_one();
        }
        if self.held.len() > IDLE_KEYS_MAX && now.since(self.forgot_at) >= FORGET_EVERY {
            self.forget_idle(now);
        }
    }

    /// Drops keys with nothing open and nothing in their window; the store still has what matters.
    pub(crate) fn forget_idle(&mut self, now: Timestamp) {
        self.forgot_at = now;
        let groups = &mut self.groups;
        self.held.retain(|key, held| {
            let keep = !held.is_idle(now, IDLE_AFTER);
            if !keep {
                groups.forget(key);
            }
            keep
        });
    }
}

/// What a decision may look at, copied out of locks before the transaction begins.
struct View<'a> {
    shared: &'a Shared,
    now: Timestamp,
    releases: HashMap<AppId, std::collections::VecDeque<Release>>,
    blinds: Vec<(Option<AppId>, Blind)>,
}

impl<'a> View<'a> {
    fn of(shared: &'a Shared, now: Timestamp, request: &EvaluateRequest, batch: &[Submission]) -> Self {
        let apps: BTreeSet<AppId> = request.keys.iter().map(|key| key.app).collect();
        let mut releases: HashMap<_, _> = {
            let known = lock(&shared.releases);
            apps.iter().filter_map(|app| Some((*app, known.get(app)?.clone()))).collect()
        };
        let mut blinds: Vec<_> =
            lock(&shared.blinds).iter().filter(|(app, _)| app.is_none_or(|app| apps.contains(&app))).cloned().collect();
        for submission in batch {
            blinds.extend(submission.losses.iter().map(|loss| (Some(submission.app.id), loss.clone())));
            let known = releases.entry(submission.app.id).or_default();
            submission.releases.iter().for_each(|release| crate::merge_release(known, release.clone()));
        }
        Self { shared, now, releases, blinds }
    }
}

/// One transaction's work.
struct Work<'a> {
    /// What was in memory and has not been asked for yet.
    cache: HashMap<Key, Held>,
    loaded: Loaded,
    view: &'a View<'a>,
    held: HashMap<Key, Held>,
    changes: Changes,
    blinds: Vec<(Option<AppId>, Blind)>,
    marks: Vec<Mark>,
}

impl<'a> Work<'a> {
    fn new(cache: HashMap<Key, Held>, loaded: Loaded, view: &'a View<'a>) -> Self {
        Self {
            cache,
            loaded,
            view,
            held: HashMap::new(),
            changes: Changes::default(),
            blinds: Vec::new(),
            marks: Vec::new(),
        }
    }

    fn apply(&mut self, key: &Key, rule: &Rule, input: Input) {
        let (cache, loaded) = (&mut self.cache, &mut self.loaded);
        let held = self.held.entry(key.clone()).or_insert_with(|| match loaded.tracks.remove(key) {
            Some(LoadedTrack { version, track: Some(track), events, lines }) => {
                restore(rule, version, track, events, lines)
            }
            Some(LoadedTrack { version, track: None, .. }) => {
                cache.remove(key).unwrap_or(Held { version, ..Held::default() })
            }
            None => Held::default(),
        });
        let shared = self.view.shared;
        let directory = shared.apps.load();
        let masker = shared.masker.load();
        let public_url = shared.public_url.load();
        let scene = Scene {
            now: self.view.now,
            app_names: &|app| directory.by_id(app).map_or_else(|| app.to_string(), |app| app.name.clone()),
            releases: &self.view.releases,
            blinds: &self.view.blinds,
            context: &|app, matches, evidence| context(shared, app, matches, evidence),
            masker: &masker,
            public_url: public_url.as_deref(),
        };
        let matched = if let Input::Matches(matches) = &input { matches.lines.clone() } else { Vec::new() };
        let fired = self.changes.fired.len();
        evaluate::apply(held, key, rule, input, &scene, &mut RandomIds, &mut self.changes);
        // Those that came before the one that made it fire stand in its evidence.
        for fired in self.changes.fired.get(fired..).unwrap_or_default() {
            let matches = fired.evidence.iter().filter(|line| line.role == Role::Match).cloned();
            self.marks.push((key.app, matches.collect(), fired.id));
        }
        if let Some(firing) = held.track.firing().filter(|_| !matched.is_empty()) {
            self.marks.push((key.app, matched, firing.alert));
        }
    }

    fn finish(mut self, shared: &Shared, duplicates: Vec<bool>) -> (Changes, Done) {
        let (known, written) = shared.unwritten(self.blinds);
        self.changes.blinds = written;
        let done = Done {
            held: self.held.into_iter().chain(self.cache).collect(),
            duplicates,
            releases: self.changes.releases.clone(),
            blinds: known,
            marks: self.marks,
            deliveries: !self.changes.deliveries.is_empty() || !self.changes.resolve_notices.is_empty(),
        };
        (self.changes, done)
    }
}

fn restore(
    rule: &Rule,
    version: i64,
    track: dynowatch_domain::alert::Track,
    events: Vec<Counted>,
    lines: Vec<EvidenceLine>,
) -> Held {
    let needed = match &rule.condition {
        Condition::Count { threshold, .. } => threshold.needed(),
        Condition::Ratio { .. } | Condition::Absence { .. } | Condition::Threshold(_) | Condition::Check { .. } => 1,
    };
    Held { version, track, window: Window::restore(events, needed), lines: lines.into() }
}

/// One input from the matches of several batches.
fn gather<'a>(matches: impl Iterator<Item = &'a KeyMatches>) -> Option<NewMatches> {
    let mut all: Option<NewMatches> = None;
    for one in matches {
        let all = all.get_or_insert_with(|| NewMatches {
            events: Vec::new(),
            lines: Vec::new(),
            request_id: Vec::new(),
            dyno: Vec::new(),
        });
        all.events.extend_from_slice(&one.events);
        all.lines.extend_from_slice(&one.lines);
        all.request_id.clone_from(&one.request_id);
        all.dyno.clone_from(&one.dyno);
    }
    if let Some(all) = &mut all {
        let surplus = all.lines.len().saturating_sub(dynowatch_domain::evidence::EVIDENCE_LINES_MAX);
        all.lines.drain(..surplus);
    }
    all
}

fn context(shared: &Shared, app: AppId, matches: &NewMatches, evidence: &[EvidenceLine]) -> Vec<EvidenceLine> {
    let directory = shared.apps.load();
    let Some(app) = directory.by_id(app) else { return Vec::new() };
    lock(&app.live.ring).context(&Wanted { request_id: &matches.request_id, dyno: &matches.dyno, matches: evidence })
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::bed::Bed;

    /// Whether two batches, all that are in flight, are committed without waiting for others, when so many are enough.
    async fn is_at_once(enough: usize) -> bool {
        let bed = Bed::with(|_options| {}).await;
        let shared = &bed.engine.shared;
        let app = Arc::clone(bed.engine.apps().by_name("shop").unwrap());
        let submission = || Submission {
            app: Arc::clone(&app),
            book: Arc::clone(&app.book),
            frame_ids: Vec::new(),
            keys: Vec::new(),
            releases: Vec::new(),
            losses: Vec::new(),
            totals: BatchTotals::default(),
            arrived: bed.engine.now(),
            since: Instant::now(),
            reply: oneshot::channel().0,
        };
        shared.stats.batches_in_progress.up();
        shared.stats.batches_in_progress.up();
        let (sender, mut queue) = mpsc::channel(4);
        sender.send(submission()).await.unwrap();
        let mut batch = vec![submission()];
        let pause_until = Some(Instant::now() + Duration::from_secs(3_600));
        let at_once = {
            let mut gathering = pin!(gather_more(shared, &mut queue, &mut batch, pause_until, enough));
            gathering.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready()
        };
        assert_eq!(batch.len(), 2);
        at_once
    }

    #[tokio::test]
    async fn nobody_waits_for_more_than_there_usually_are() {
        for (enough, at_once) in [(1, true), (2, true), (3, false), (COMMIT_BATCHES_MAX, false)] {
            assert_eq!(is_at_once(enough).await, at_once, "{enough}");
        }
    }
}
