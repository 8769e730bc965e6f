//! The evaluation transaction: load what a batch concerns, let the caller decide, save everything together.
//!
//! Within one app evaluations run one after the other, whatever the number of processes: SQLite has one writer, and on
//! Postgres the rows of the apps are locked first, in the order of their ids, so that nothing deadlocks. What the
//! closure returns is either all kept or not at all; an error, a panic and a dropped future leave nothing.

use std::collections::HashMap;
use std::time::Duration;

use dynowatch_domain::account::audit::Act;
use dynowatch_domain::alert::{Effect, Facts, NoticeKind, ResolveReason, Track};
use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::key::Key;
use dynowatch_domain::notice::Notice;
use dynowatch_domain::release::Release;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::window::Counted;
use dynowatch_domain::{AlertId, AppId, DeliveryId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::checks::CheckChange;
use crate::db::{CALL_MAX, Db, within};
use crate::error::Result;
use crate::open::Store;

pub(crate) mod journal;
mod load;
mod save;

/// The drain waits for at most 4 s before it answers 503; this is what the store may take of it.
pub const EVALUATE_MAX: Duration = Duration::from_millis(3_500);
/// The most events of one key that are loaded, the newest.
pub const EVENTS_LOADED_MAX: usize = 262_144;

/// A string of statements about more rows than this is not kept prepared.
const STATEMENT_ROWS_MAX: usize = 64;

/// What a batch concerns.
#[derive(Debug, Clone, Default)]
pub struct EvaluateRequest {
    /// The present moment.
    pub now: Timestamp,
    /// The frames of the batch that had an effect: app and Logplex's frame id.
    pub frames: Vec<(AppId, String)>,
    /// The keys to load. On Postgres every app whose keys change must appear here or in `frames`: these are locked.
    pub keys: Vec<Key>,
    /// The versions the caller has in memory; for these, nothing but the version is loaded when it is still current.
    pub known: HashMap<Key, i64>,
}

/// What the store had.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    /// For each frame of the request: whether it is new. `false` means that it was counted before.
    pub new_frames: Vec<bool>,
    /// What is stored of each key. A key that is absent is not stored: a copy in memory is out of date.
    pub tracks: HashMap<Key, LoadedTrack>,
}

/// One key as stored.
#[derive(Debug, Clone, Default)]
pub struct LoadedTrack {
    /// Its version.
    pub version: i64,
    /// Where it stands; `None` when the caller's copy is current, and then there are no events or lines either.
    pub track: Option<Track>,
    /// What was counted, in the order of arrival, as far as a window can reach; at most [`EVENTS_LOADED_MAX`].
    pub events: Vec<Counted>,
    /// The newest evidence lines, oldest first, at most [`dynowatch_domain::evidence::EVIDENCE_LINES_MAX`].
    pub lines: Vec<EvidenceLine>,
}

/// What follows from a batch. All of it is written, or none.
#[derive(Debug, Clone, Default)]
pub struct Changes {
    /// Keys that changed, each at most once.
    pub tracks: Vec<TrackChange>,
    /// New alerts.
    pub fired: Vec<FiredAlert>,
    /// What became known of open alerts.
    pub updates: Vec<AlertUpdate>,
    /// Alerts that are over. An alert that is over already stays as it is.
    pub resolved: Vec<ResolvedAlert>,
    /// Why things happened, in order. Effects without an alert are not kept.
    pub decisions: Vec<(AlertId, Timestamp, Effect)>,
    /// Messages to send. A repeated id is written once.
    pub deliveries: Vec<NewDelivery>,
    /// What to tell those who were told that it began.
    pub resolve_notices: Vec<ResolveNotice>,
    /// Releases seen, merged with what other lines said of them.
    pub releases: Vec<(AppId, Release)>,
    /// Times we did not see everything, of one app or of all.
    pub blinds: Vec<(Option<AppId>, Blind)>,
    /// Checks that changed, by their owner.
    pub checks: Vec<CheckChange>,
    /// Entries of the audit log about all of this.
    pub acts: Vec<Act>,
}

impl Changes {
    /// Whether nothing changes but keys: what nearly every commit of a storm is.
    fn is_tracks_alone(&self) -> bool {
        let Self {
            tracks: _,
            fired,
            updates,
            resolved,
            decisions,
            deliveries,
            resolve_notices,
            releases,
            blinds,
            checks,
            acts,
        } = self;
        fired.is_empty()
            && updates.is_empty()
            && resolved.is_empty()
            && decisions.is_empty()
            && deliveries.is_empty()
            && resolve_notices.is_empty()
            && releases.is_empty()
            && blinds.is_empty()
            && checks.is_empty()
            && acts.is_empty()
    }
}

/// A key's new state.
#[derive(Debug, Clone)]
pub struct TrackChange {
    /// Which key.
    pub key: Key,
    /// Its new version: greater than the one loaded, 1 for a new key.
    pub version: i64,
    /// Where it stands now.
    pub track: Track,
    /// Whether its phase or its alert is another than that of the version before; most matches leave both as they are.
    pub moved: bool,
    /// When it must be looked at again.
    pub next_wake_at: Option<Timestamp>,
    /// What was counted by this batch.
    pub events: Vec<Counted>,
    /// Evidence lines of this batch; the newest [`dynowatch_domain::evidence::EVIDENCE_LINES_MAX`] are kept.
    pub lines: Vec<EvidenceLine>,
    /// After a resolve: events stamped up to here that arrived before this batch are forgotten (`Window::consume`).
    pub consumed_before: Option<Timestamp>,
}

/// A new alert.
#[derive(Debug, Clone)]
pub struct FiredAlert {
    /// Its id.
    pub id: AlertId,
    /// Its key.
    pub key: Key,
    /// How urgent.
    pub severity: Severity,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Its numbers.
    pub facts: Facts,
    /// Whether anyone is told at once.
    pub told: bool,
    /// The alert of the same key before it.
    pub previous: Option<AlertId>,
    /// What else its page says.
    pub details: AlertDetails,
    /// The lines it rests on, and those around them.
    pub evidence: Vec<EvidenceLine>,
}

/// What an alert's page says besides its numbers, as it was when the alert fired: the rule may change later. Unknown
/// fields of other versions are skipped, missing ones empty.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AlertDetails {
    /// The app's name when it fired.
    pub app_name: String,
    /// `count`, `ratio`, `absence` or `threshold`.
    pub condition: String,
    /// What the rule looks for, in words.
    pub matches: String,
    /// As in `> 3`.
    pub threshold: String,
    /// As in `5m`.
    pub window: String,
    /// The count with its unit, as in `4 events`.
    pub measured: String,
    /// What it means.
    pub meaning: String,
    /// What to type first.
    pub first_command: String,
    /// What it usually comes from.
    pub usual_causes: Vec<String>,
    /// Where to read on.
    pub runbook: Option<String>,
    /// The sentence about the newest release.
    pub release_sentence: String,
    /// That release.
    pub release: Option<Release>,
    /// Why the count may be too low.
    pub lower_bound: Vec<String>,
    /// Who is told.
    pub receivers: Vec<String>,
    /// Whether they are told of its end.
    pub send_resolved: bool,
}

/// What became known of an open alert.
#[derive(Debug, Clone)]
pub struct AlertUpdate {
    /// Which.
    pub alert: AlertId,
    /// Its newest numbers.
    pub facts: Facts,
    /// Whether anyone was told, or is to be told.
    pub told: bool,
    /// All of its evidence, when there is more now.
    pub evidence: Option<Vec<EvidenceLine>>,
}

/// An alert that is over.
#[derive(Debug, Clone)]
pub struct ResolvedAlert {
    /// Which.
    pub alert: AlertId,
    /// When it was over.
    pub at: Timestamp,
    /// Why.
    pub reason: ResolveReason,
    /// Its last numbers.
    pub facts: Facts,
}

/// A message to send.
#[derive(Debug, Clone)]
pub struct NewDelivery {
    /// Its id, the idempotency key of every attempt.
    pub id: DeliveryId,
    /// The alert it tells of; none for a test.
    pub alert: Option<AlertId>,
    /// To whom.
    pub receiver: String,
    /// What kind.
    pub kind: NoticeKind,
    /// What it says.
    pub notice: Notice,
    /// Whether this receiver is to be told of the end, too.
    pub send_resolved: bool,
    /// Since when it is to be sent; also the first attempt's due time.
    pub intended_at: Timestamp,
}

/// What to tell those who were told that an alert began, now that it is over.
///
/// One message goes to each receiver that accepted a firing notice of this alert with `send_resolved` (C6). Where such a
/// notice is still on its way, it says itself that it is over (C23), and nothing is added. The messages' ids follow
/// from alert and receiver, so that no receiver gets two.
#[derive(Debug, Clone)]
pub struct ResolveNotice {
    /// Which alert.
    pub alert: AlertId,
    /// What to say.
    pub notice: Notice,
    /// Since when it is to be sent.
    pub at: Timestamp,
}

/// What became of an attempt to save without loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Saved {
    /// It is committed.
    Yes,
    /// Something of it is otherwise, or cannot be known in passing: nothing was changed, [`Store::evaluate`] says what is so.
    Not,
    /// Nothing was changed, and another process has changed keys: no copy in memory can be relied on.
    OthersWrote,
}

impl Store {
    /// Saves what follows from a batch without loading anything first, if the frames of the request are new and every key
    /// of it is stored in the version the caller knows. One trip to SQLite's thread instead of two, and one row instead of
    /// many where nothing changes but keys (`evaluate/journal.rs`), which is most of what a small commit costs. On Postgres
    /// it saves nothing.
    ///
    /// # Errors
    /// As those of [`Store::evaluate`].
    pub async fn save_known(&self, request: &EvaluateRequest, changes: &Changes) -> Result<Saved> {
        let Db::Lite { w, .. } = &self.state else { return Ok(Saved::Not) };
        within(EVALUATE_MAX, save::commit_known(w, request, changes)).await
    }

    /// Brings the tables of keys and what they counted up to what was committed, on SQLite: there, what commits of a storm
    /// change waits in a journal, until somebody looks.
    ///
    /// # Errors
    /// When the store is away, or takes no writes: then what is read of keys may be a second old.
    pub(crate) async fn fold_journal(&self) -> Result<()> {
        let Db::Lite { w, .. } = &self.state else { return Ok(()) };
        if !w.may_be_unfolded() {
            return Ok(());
        }
        within(CALL_MAX, async {
            let mut tx = w.hold().await?;
            if tx.journal().is_some_and(|journal| journal.rows == 0) {
                tx.keep();
                return Ok(());
            }
            tx.begin().await?;
            journal::fold(&mut tx).await?;
            Ok(tx.commit().await?)
        })
        .await
    }

    /// The same before reading. A store that takes no writes is read all the same; what it says of keys may be a second old.
    pub(crate) async fn fold_to_read(&self) {
        if let Err(error) = self.fold_journal().await {
            tracing::debug!(%error, "the journal of evaluations could not be folded");
        }
    }

    /// Loads what a batch concerns, hands it to `step`, and saves what `step` returns, in one transaction.
    ///
    /// # Errors
    /// [`crate::StoreError::Unavailable`] when it takes longer than [`EVALUATE_MAX`] or lost a conflict: nothing was changed
    /// (or the answer to the commit was lost; the frames then show what happened). [`crate::StoreError::Full`] when there is
    /// no room, [`crate::StoreError::NotFound`] for a key of an unknown app.
    pub async fn evaluate<T: Send>(
        &self,
        request: EvaluateRequest,
        step: impl FnOnce(Loaded) -> (Changes, T) + Send,
    ) -> Result<T> {
        within(EVALUATE_MAX, async {
            let now = request.now;
            let (tx, loaded, match_id) = load::begin(&self.state, request).await?;
            let (changes, out) = step(loaded);
            let newest = save::commit(tx, now, &changes, match_id).await?;
            if let (Db::Lite { w, .. }, Some(newest)) = (&self.state, newest) {
                w.saw_match(newest);
            }
            Ok(out)
        })
        .await
    }
}
