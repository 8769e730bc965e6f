//! From a POST body to what it means. Reads a batch without allocating per line, answers at once when nothing in it must be
//! kept, and otherwise hands it to the group commit. The HTTP side is `web`'s; what rules do with matches is
//! `crate::evaluate`'s.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::drain_rotation::Share;
use dynowatch_domain::signal::Kind;
use dynowatch_domain::{AppId, NewId, Timestamp};
use dynowatch_logplex::{Frame, Message, Record, StampCache, frames, message};
use dynowatch_store::apps::AppOrigin;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::apps::{App, lock};
use crate::commit::Submission;
use crate::findings::{Findings, Reading};
use crate::operate::OWN_APP;
use crate::pieces::Pieces;
use crate::random::RandomIds;
use crate::repeats::Unnamed;
use crate::rules::RuleBook;
use crate::{Engine, Shared};

/// How long a batch may wait for its commit. Logplex waits five seconds in all.
pub const COMMIT_WAIT_MAX: Duration = Duration::from_secs(4);

/// Why a batch was not taken. Nothing of it was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Too many batches wait for their commit.
    #[error("too many batches wait to be committed")]
    Overloaded,
    /// The store did not take it, or not in time.
    #[error("the store did not take it within {} s", COMMIT_WAIT_MAX.as_secs())]
    StoreAway,
}

/// What became of a batch.
pub enum Taken {
    /// It is counted and may be answered.
    Done {
        /// Lines in it.
        lines: u64,
        /// Frames in its body, those that could not be read included. Not known of a repetition, which is not read.
        frames: Option<u64>,
    },
    /// It must be committed before it is answered: see [`Engine::keep`].
    Pending(Box<PendingBatch>),
}

/// A batch that waits for its commit.
pub struct PendingBatch {
    submission: Submission,
    unnamed: Option<Unnamed>,
    done: oneshot::Receiver<Result<(), Refused>>,
    lines: u64,
    frames: u64,
    /// The body, where somebody watches the log; shown once it is kept, for one that is refused comes again.
    watched: Option<(Arc<App>, Bytes, Share)>,
}

/// Scratch room for reading batches, kept between them.
#[derive(Default)]
pub(crate) struct Reader {
    findings: Findings,
    cache: StampCache,
}

impl PendingBatch {
    /// The same batch, whose requester has been waiting since then.
    #[must_use]
    pub fn since(mut self: Box<Self>, begun: tokio::time::Instant) -> Box<Self> {
        self.submission.since = begun;
        self
    }

    /// Frames in its body, those that could not be read included.
    #[must_use]
    pub fn frames(&self) -> u64 {
        self.frames
    }
}

impl Engine {
    /// Reads one batch of `app`. `frame_id` is what makes a repetition of it known.
    #[must_use]
    pub fn take(&self, app: &Arc<App>, frame_id: Option<&str>, body: &Bytes) -> Taken {
        self.take_share(app, Share::ALL, frame_id, body)
    }

    /// The same for a drain of which only some lines count, because another one delivers them as well.
    #[must_use]
    pub fn take_share(&self, app: &Arc<App>, share: Share, frame_id: Option<&str>, body: &Bytes) -> Taken {
        let shared = &*self.shared;
        if frame_id.is_some_and(|id| lock(&shared.frames).contains(app.id, id)) {
            shared.stats.batches_duplicate.up();
            lock(&app.live.totals).counts.duplicates += 1;
            return Taken::Done { lines: 0, frames: None };
        }
        let book = Arc::clone(&app.book);
        let now = shared.clock.now();
        let mut reader = lock(&shared.reader);
        let Reader { findings, cache } = &mut *reader;
        findings.clear();
        findings.want_host = app.origin == AppOrigin::Adopted && app.host_hint.is_none();
        findings.totals.counts.batches = 1;
        let frames = {
            let mut recorder = lock(&app.live.recorder);
            let mut with = Reading { matcher: &book.matcher, app: &app.rules, now, recorder: Some(&mut recorder) };
            read_body(body, share, findings, cache, &mut with, app)
        };
        findings.totals.close_bucket();
        if let Some(host) = findings.host.take() {
            shared.hint(app, host);
        }
        let lines = findings.totals.counts.lines();
        if !findings.must_commit() {
            lock(&app.live.totals).merge(&findings.totals, &book.matcher);
            shared.record(app, &findings.totals.metrics, now);
            if let Some(id) = frame_id {
                lock(&shared.frames).insert(app.id, id);
            }
            if shared.tail.is_watched() {
                shared.tail.offer(app.id, &app.name, share, body, lines);
            }
            return Taken::Done { lines, frames: Some(frames) };
        }
        let unnamed = frame_id.is_none().then(|| lock(&shared.answered).begin(app.id, body, now));
        let frame_ids = match (frame_id, &unnamed) {
            (Some(id), _) => vec![id.to_owned()],
            (None, Some(unnamed)) => unnamed.frame_ids(now),
            (None, None) => Vec::new(),
        };
        let mut pending = pending(findings, app, &book, (frame_ids, unnamed), now, (lines, frames));
        pending.watched = shared.tail.is_watched().then(|| (Arc::clone(app), body.clone(), share));
        Taken::Pending(pending)
    }

    /// Waits until a batch is committed.
    ///
    /// # Errors
    /// When it is not, within [`COMMIT_WAIT_MAX`]; the gap is remembered, so that counts over it are lower bounds.
    pub async fn keep(&self, pending: Box<PendingBatch>) -> Result<u64, Refused> {
        let PendingBatch { submission, unnamed, done, lines, frames: _, watched } = *pending;
        let shared = &*self.shared;
        // If the requester goes away meanwhile, this future is dropped, and the gap must be remembered all the same.
        let (app, arrived) = (submission.app.id, submission.arrived);
        let mut waiting = Waiting { shared, app, arrived, lines, unnamed, kept: false };
        shared.stats.commit_queue.up();
        let until = submission.since + COMMIT_WAIT_MAX;
        let outcome = match shared.submissions.try_send(submission) {
            Ok(()) => answer(until, done).await,
            // Boxed: it is rare, and a future is as large as the largest thing it may await.
            Err(TrySendError::Full(submission)) => match Box::pin(submit_later(shared, submission, until)).await {
                Ok(()) => answer(until, done).await,
                Err(refused) => Err(refused),
            },
            Err(TrySendError::Closed(_)) => Err(Refused::StoreAway),
        };
        waiting.kept = outcome.is_ok();
        if let (true, Some(unnamed)) = (waiting.kept, unnamed) {
            lock(&shared.answered).answered(unnamed, arrived);
            shared.repeats_due.notify_one();
        }
        if let (true, Some((app, body, share))) = (waiting.kept, watched) {
            shared.tail.offer(app.id, &app.name, share, &body, lines);
        }
        outcome.map(|()| lines)
    }

    /// Remembers that a batch of this app was turned away unread.
    pub fn refuse(&self, app: &App) {
        let now = self.now();
        self.shared
            .remember_gap(app.id, Blind { reason: BlindReason::Refused, from: now, until: now, lines_lost: None });
    }

    /// Whether a refused delivery may be taken note of now: one a second is enough to know.
    #[must_use]
    pub fn may_note_rejected(&self) -> bool {
        Shared::may_note(&self.shared.rejected_noted_at, self.now())
    }

    /// Whether a limited caller of the API may be taken note of now: one a second is enough to know.
    #[must_use]
    pub fn may_note_limited(&self) -> bool {
        Shared::may_note(&self.shared.limited_noted_at, self.now())
    }

    /// Takes note of something that dynowatch itself refused, for the rules that watch for its kind; of this instance
    /// where no app is known. To be called only when [`Engine::may_note_rejected`] and kin say so.
    pub async fn note_own(&self, kind: Kind, app: Option<Arc<App>>, text: &str) {
        let app = match app {
            Some(app) => Ok(app),
            None => self.app_named(OWN_APP).await,
        };
        let app = match app {
            Ok(app) => app,
            Err(error) => return tracing::warn!(kind = kind.as_str(), %error, "a refusal could not be recorded"),
        };
        let now = self.now();
        let book = Arc::clone(&app.book);
        let pending = {
            let mut findings = Findings::default();
            let with = Reading { matcher: &book.matcher, app: &app.rules, now, recorder: None };
            findings.own(&with, kind, text);
            // It has no sender that would repeat it; with an id, trying its commit again cannot count it twice.
            let ids = (vec![RandomIds.new_id(now).to_string()], None);
            findings.must_commit().then(|| pending(&mut findings, &app, &book, ids, now, (0, 0)))
        };
        if let Some(pending) = pending
            && let Err(refused) = self.keep(pending).await
        {
            tracing::warn!(kind = kind.as_str(), %refused, "a refusal could not be recorded");
        }
    }
}

/// Waits until the queue of the commit has room. Those who wait are bounded, too.
async fn submit_later(shared: &Shared, submission: Submission, until: Instant) -> Result<(), Refused> {
    let _place = shared.waiters.try_acquire().map_err(|_none_left| Refused::Overloaded)?;
    match tokio::time::timeout_at(until, shared.submissions.reserve()).await {
        Ok(Ok(room)) => {
            room.send(submission);
            Ok(())
        }
        Ok(Err(_closed)) => Err(Refused::StoreAway),
        Err(_elapsed) => Err(Refused::Overloaded),
    }
}

async fn answer(until: Instant, done: oneshot::Receiver<Result<(), Refused>>) -> Result<(), Refused> {
    tokio::time::timeout_at(until, done)
        .await
        .map_or(Err(Refused::StoreAway), |done| done.unwrap_or(Err(Refused::StoreAway)))
}

/// A batch that waits for its commit: counted while it does, and remembered as a gap unless it was kept.
struct Waiting<'a> {
    shared: &'a Shared,
    app: AppId,
    arrived: Timestamp,
    lines: u64,
    unnamed: Option<Unnamed>,
    kept: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.shared.stats.commit_queue.down();
        if !self.kept {
            if let Some(unnamed) = self.unnamed {
                lock(&self.shared.answered).unanswered(unnamed);
            }
            let until = self.shared.clock.now();
            self.shared.remember_gap(
                self.app,
                Blind { reason: BlindReason::Refused, from: self.arrived, until, lines_lost: Some(self.lines) },
            );
        }
    }
}

fn pending(
    findings: &mut Findings,
    app: &Arc<App>,
    book: &Arc<RuleBook>,
    (frame_ids, unnamed): (Vec<String>, Option<Unnamed>),
    now: Timestamp,
    (lines, frames): (u64, u64),
) -> Box<PendingBatch> {
    let (reply, done) = oneshot::channel();
    let submission = Submission {
        app: Arc::clone(app),
        book: Arc::clone(book),
        frame_ids,
        keys: std::mem::take(&mut findings.keys),
        releases: std::mem::take(&mut findings.releases),
        losses: std::mem::take(&mut findings.losses),
        totals: std::mem::take(&mut findings.totals),
        arrived: now,
        since: tokio::time::Instant::now(),
        reply,
    };
    Box::new(PendingBatch { submission, unnamed, done, lines, frames, watched: None })
}

/// Walks a body. The ring gets it whole when it is sound, else message by message.
/// Of a share only the lines that count are read at all, and kept. Returns how many frames there were.
fn read_body(
    body: &Bytes,
    share: Share,
    findings: &mut Findings,
    cache: &mut StampCache,
    with: &mut Reading<'_>,
    app: &App,
) -> u64 {
    let whole_body = share == Share::ALL;
    let mut sound = true;
    let mut pieces = Pieces::default();
    let walk = frames(body);
    let bare = walk.is_bare();
    let mut count = 0;
    for frame in walk {
        count += 1;
        let raw = match frame {
            Frame::Message(raw) => raw,
            Frame::Bad(reason) => {
                if share.counts(with.now) {
                    findings.malformed(reason);
                }
                sound = false;
                continue;
            }
        };
        match message(raw, cache) {
            Ok(message) if !whole_body && !counts(share, &message) => {}
            Ok(message) => pieces.line(findings, with, &message),
            Err(reason) if share.counts(with.now) => findings.malformed(reason),
            Err(_) => {}
        }
    }
    // Heroku sends the pieces of a line together; what has not ended by now is looked at as it is, since it must be
    // kept before the batch is answered.
    pieces.end(findings, with, i64::MAX);
    let mut ring = lock(&app.live.ring);
    if sound && !bare && whole_body {
        ring.push_body(body);
    } else {
        frames(body)
            .filter_map(|frame| if let Frame::Message(raw) = frame { Some(raw) } else { None })
            .filter(|raw| whole_body || message(raw, cache).is_ok_and(|message| counts(share, &message)))
            .for_each(|raw| ring.push_message(raw));
    }
    count
}

/// Whether a line is this drain's to count. A drain tells of its own losses late: what it lost while it counted is news.
fn counts(share: Share, message: &Message<'_>) -> bool {
    if share.counts(Timestamp::from_micros(message.at_us)) {
        return true;
    }
    match dynowatch_logplex::record(message) {
        Record::Loss(loss) => loss.since_us.is_some_and(|since| share.counts(Timestamp::from_micros(since))),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use dynowatch_domain::rule::{Condition, MatchSpec, Rule};

    use super::*;
    use crate::Limits;
    use crate::bed::Bed;

    fn batch(engine: &Engine, id: &str) -> Box<PendingBatch> {
        let line = "<158>1 2026-05-07T08:00:00Z host app web.1 - boom\n";
        let app = Arc::clone(engine.apps().by_name("shop").unwrap());
        match engine.take(&app, Some(id), &Bytes::from(format!("{} {line}", line.len()))) {
            Taken::Pending(pending) => pending,
            Taken::Done { .. } => panic!("a match must be kept"),
        }
    }

    /// DESIGN: an overloaded drain waits for up to 4 s before it says 503; how many may wait is bounded.
    #[tokio::test]
    async fn a_full_queue_is_waited_for() {
        let matches = MatchSpec { text: vec!["boom".to_owned()], ..MatchSpec::default() };
        let condition = Condition::Count { threshold: "> 100".parse().unwrap(), window: Duration::from_secs(60) };
        let bed = Bed::with(|options| {
            options.limits = Limits { commit_queue: 2, commit_waiters: 2, ..Limits::default() };
            options.settings.rules.push(Rule::new("boom", matches, condition));
        })
        .await;
        let engine = &bed.engine;
        let shared = &engine.shared;
        let busy = shared.evaluator.lock().await;
        let keep = |id: &str| {
            let (engine, batch) = (engine.clone(), batch(engine, id));
            tokio::spawn(async move { engine.keep(batch).await })
        };
        // The first is in the hands of the commit, two are in its queue, two wait for a place there.
        let mut kept = vec![keep("1")];
        until(|| shared.stats.commit_queue.get() == 1 && shared.submissions.capacity() == 2).await;
        kept.extend([keep("2"), keep("3")]);
        until(|| shared.submissions.capacity() == 0).await;
        kept.push(keep("4"));
        until(|| shared.waiters.available_permits() == 1).await;
        let begun = Instant::now().checked_sub(COMMIT_WAIT_MAX).unwrap();
        assert_eq!(engine.keep(batch(engine, "too late").since(begun)).await, Err(Refused::Overloaded));
        kept.push(keep("5"));
        until(|| shared.waiters.available_permits() == 0).await;
        assert_eq!(engine.keep(batch(engine, "one too many")).await, Err(Refused::Overloaded));
        drop(busy);
        for kept in kept {
            assert_eq!(kept.await.unwrap(), Ok(1));
        }
        assert_eq!(shared.waiters.available_permits(), 2);
        assert_eq!(engine.gaps_waiting(), 1, "what was refused is remembered");
    }

    async fn until(mut done: impl FnMut() -> bool) {
        while !done() {
            tokio::task::yield_now().await;
        }
    }
}
