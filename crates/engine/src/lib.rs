//! Everything between bytes and the store: reading batches, evaluating rules, sending messages, and the timers of all
//! that. Decisions are `domain`'s, SQL is `store`'s, HTTP is `web`'s and the receivers' is `notify`'s.
//!
//! One [`Engine`] per process. A batch enters through [`Engine::take`] ([`ingest`]); if something in it must be kept it
//! waits for the group commit (`commit`), where rules meet keys (`evaluate`) inside the store's transaction. Timers,
//! ratios and absences come round in [`timers`], messages leave by [`sender`], operators speak through [`operate`], the
//! Heroku account is kept in step by [`heroku`]. What lines say in numbers goes its own way ([`metrics`]), and so do lines to
//! people who watch them ([`tail`]). [`replay`] runs the same rules over a file, with its stamps as the clock; [`backtest`]
//! one rule over what is known.

mod adapter;
pub mod apps;
pub mod backtest;
#[cfg(test)]
mod bed;
pub mod checks;
mod commit;
mod evaluate;
mod findings;
mod frames;
mod groups;
pub mod heroku;
pub mod ingest;
pub mod metrics;
mod notices;
pub mod objects;
pub mod operate;
mod outages;
mod pieces;
pub mod random;
pub mod remote_write;
mod repeats;
pub mod replay;
mod ring;
pub mod rules;
mod run;
pub mod sender;
mod sharing;
pub mod stats;
pub mod tail;
mod thresholds;
pub mod timers;
pub mod totals;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use dynowatch_domain::blind::Blind;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::release::Release;
use dynowatch_domain::rule::Rule;
use dynowatch_domain::{AppId, Clock, Timestamp};
use dynowatch_notify::Receivers;
use dynowatch_store::{Store, StoreError};
use tokio::sync::{Notify, mpsc};

pub use apps::{App, Directory};
pub use commit::COMMIT_PAUSE_MAX;
pub use ingest::{PendingBatch, Refused, Taken};
pub use metrics::Latest;
pub use notices::test_notice;
pub use run::{Loops, StartError};
pub use sharing::{MARK_BYTES_MAX, MARK_PARAM};

use apps::{Apps, lock};
use commit::{Evaluator, Submission};
use frames::FrameRing;
use ingest::Reader;
use rules::RuleBook;
use stats::Stats;

/// How long blind times are looked back at in memory: the longest window and the longest lateness.
const BLINDS_KEPT: Duration = Duration::from_secs(26 * 3_600);
/// Blind times kept in memory. The store has them all.
const BLINDS_MAX: usize = 2_000;
/// Two blind times of one reason and app this close are one.
const BLINDS_JOIN: Duration = Duration::from_secs(10);
/// Releases kept in memory for each app.
const RELEASES_PER_APP_MAX: usize = 8;

/// A blind time and the app it concerns; `None` for all.
pub(crate) type BlindOf = (Option<AppId>, Blind);

/// What may grow only so far.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Groups of one rule in one app. Later ones are counted in the group "other".
    pub groups_per_rule: usize,
    /// Apps. Lines of later ones are counted for the app "other".
    pub apps: usize,
    /// Batches that may wait in the queue of the commit.
    pub commit_queue: usize,
    /// Batches that may wait for a place in that queue, for as long as a batch may wait at all. More are refused at once.
    pub commit_waiters: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { groups_per_rule: 1_000, apps: 10_000, commit_queue: 1_024, commit_waiters: 1_024 }
    }
}

/// The part of the configuration that may change while running.
pub struct Settings {
    /// All rules, built-in and from the file.
    pub rules: Vec<Rule>,
    /// Apps of the file with their drain tokens.
    pub apps: Vec<(String, Vec<String>)>,
    /// Where messages go.
    pub receivers: Receivers,
    /// What must never leave.
    pub masker: Masker,
    /// The address people reach this instance at, for links.
    pub public_url: Option<String>,
    /// Checks, maintenance windows, control targets.
    pub checks: checks::ChecksConfig,
    /// What puts objects of the console beside the file; none: the file alone counts.
    pub compose: Option<Arc<dyn objects::Compose>>,
}

/// What an engine is made of.
pub struct EngineOptions {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Where things are kept.
    pub store: Store,
    /// What may change while running.
    pub settings: Settings,
    /// What may grow only so far.
    pub limits: Limits,
    /// Where commits are worked out. Beside the requests that wait for them they cost the fewest thread switches.
    pub commits: tokio::runtime::Handle,
}

/// The running engine. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) store: Store,
    pub(crate) limits: Limits,
    /// This process, among those on the same store.
    pub(crate) process: uuid::Uuid,
    pub(crate) started_at: Timestamp,
    pub(crate) book: ArcSwap<RuleBook>,
    pub(crate) apps: Apps,
    pub(crate) receivers: ArcSwap<Receivers>,
    pub(crate) masker: ArcSwap<Masker>,
    pub(crate) public_url: ArcSwap<Option<String>>,
    pub(crate) evaluator: tokio::sync::Mutex<Evaluator>,
    pub(crate) submissions: mpsc::Sender<Submission>,
    /// Places for those who wait until the queue of submissions has room.
    pub(crate) waiters: tokio::sync::Semaphore,
    pub(crate) reader: Mutex<Reader>,
    /// One change of the rules at a time.
    pub(crate) configuring: tokio::sync::Mutex<objects::Composition>,
    /// One look at the apps at a time: an older one must not replace a newer.
    pub(crate) loading: tokio::sync::Mutex<()>,
    pub(crate) frames: Mutex<FrameRing>,
    /// Batches without a Frame-Id.
    pub(crate) answered: Mutex<repeats::Answered>,
    /// Some of them were answered.
    pub(crate) repeats_due: Notify,
    pub(crate) releases: Mutex<HashMap<AppId, VecDeque<Release>>>,
    pub(crate) blinds: Mutex<Vec<BlindOf>>,
    /// Refused batches that are still to be written down.
    pub(crate) gaps: Mutex<Vec<BlindOf>>,
    /// Hosts of adopted apps that are still to be written down.
    pub(crate) hints: Mutex<HashMap<AppId, String>>,
    pub(crate) deliveries_due: Notify,
    pub(crate) sending: sender::Sending,
    pub(crate) timers: timers::TimerState,
    pub(crate) metrics: metrics::Flushes,
    pub(crate) thresholds: thresholds::Thresholds,
    pub(crate) checks: checks::Checks,
    pub(crate) sharing: sharing::Drains,
    pub(crate) heroku: heroku::Connection,
    pub(crate) rejected_noted_at: Mutex<Timestamp>,
    pub(crate) limited_noted_at: Mutex<Timestamp>,
    pub(crate) stats: Stats,
    /// People who watch the log.
    pub(crate) tail: tail::Tail,
    pub(crate) outages: Mutex<outages::Outages>,
}

impl Engine {
    /// The rules in force.
    #[must_use]
    pub fn rules(&self) -> Arc<RuleBook> {
        self.shared.book.load_full()
    }

    /// The apps known.
    #[must_use]
    pub fn apps(&self) -> arc_swap::Guard<Arc<Directory>> {
        self.shared.apps.load()
    }

    /// The store, for reading.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.shared.store
    }

    /// The present moment, by the engine's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    /// When this process began.
    #[must_use]
    pub fn started_at(&self) -> Timestamp {
        self.shared.started_at
    }

    /// Numbers about ourselves.
    #[must_use]
    pub fn stats(&self) -> &Stats {
        &self.shared.stats
    }

    /// The receivers in force.
    #[must_use]
    pub fn receivers(&self) -> Arc<Receivers> {
        self.shared.receivers.load_full()
    }

    /// The address people reach this instance at, if it is known.
    #[must_use]
    pub fn public_url(&self) -> Arc<Option<String>> {
        self.shared.public_url.load_full()
    }

    /// What must never leave, for pages and the API.
    #[must_use]
    pub fn masker(&self) -> Arc<Masker> {
        self.shared.masker.load_full()
    }

    /// The counts of one app since the process began.
    pub fn totals<T>(&self, app: &App, read: impl FnOnce(&totals::AppTotals) -> T) -> T {
        read(&lock(&app.live.totals))
    }

    /// What the store did not take since the process began, by kind of work.
    #[must_use]
    pub fn store_failures(&self) -> Vec<(&'static str, u64)> {
        lock(&self.shared.outages).totals()
    }

    /// What met a limit since the process began, by what it was: lines, deliveries and values that were counted under
    /// "other" or not kept. `docs/metrics.md` explains each.
    #[must_use]
    pub fn overflows(&self) -> [(&'static str, u64); 11] {
        let stats = self.stats();
        let (mut level_groups, mut series, mut late) = (0, 0, 0);
        for app in self.apps().iter() {
            level_groups += lock(&app.live.totals).level_overflow;
            let bounds = self.series_bounds(app);
            series += bounds.refused;
            late += bounds.late;
        }
        [
            ("groups", stats.groups_overflowed.get()),
            ("level_groups", level_groups),
            ("apps", stats.apps_overflowed.get()),
            ("series", series),
            ("late_lines", late),
            ("metric_values", stats.metric_values_dropped.get()),
            ("gaps", stats.gaps_overflowed.get()),
            ("api_callers", stats.api_callers_overflowed.get()),
            ("tail_lines", self.watchers().1),
            ("check_results", stats.check_results_dropped.get()),
            ("check_failures", stats.check_results_lost.get()),
        ]
    }
}

impl Shared {
    /// Says that the store failed, and at what; not more often than is good for a log.
    pub(crate) fn store_failed(&self, work: &'static str, error: &StoreError) {
        if let Some(times) = lock(&self.outages).note(work, self.clock.now()) {
            tracing::error!(work, times, %error, retryable = error.is_retryable(), "the store did not take it");
        }
    }

    /// Takes note of whether the store had room for what must be kept.
    pub(crate) fn note_room(&self, failed: Option<&StoreError>) {
        match failed {
            None => self.stats.store_full.set(0),
            Some(StoreError::Full(_)) => self.stats.store_full.set(1),
            Some(_) => {}
        }
    }

    /// Adds the values of a batch that counts.
    pub(crate) fn record(&self, app: &App, values: &metrics::BatchMetrics, now: Timestamp) {
        let crowded = lock(&app.live.recorder).apply(values, now);
        if crowded {
            self.metrics.crowded.notify_one();
        }
    }

    /// Notes a host of an app that was named after its token.
    pub(crate) fn hint(&self, app: &App, host: String) {
        if app.origin == dynowatch_store::apps::AppOrigin::Adopted {
            let mut hints = lock(&self.hints);
            if hints.len() < 1_000 {
                hints.entry(app.id).or_insert(host);
            }
        }
    }

    /// Keeps a gap until it can be written, joined with its neighbour.
    pub(crate) fn remember_gap(&self, app: AppId, gap: Blind) {
        let mut gaps = lock(&self.gaps);
        let room = gaps.len() < BLINDS_MAX;
        match gaps.iter_mut().find(|(of, known)| *of == Some(app) && joins(known, &gap)) {
            Some((_, known)) => join(known, &gap),
            None if room => gaps.push((Some(app), gap.clone())),
            None => {
                self.stats.gaps_overflowed.up();
                if lock(&self.outages).note("remember gaps", self.clock.now()).is_some() {
                    tracing::warn!(
                        "too many gaps to remember them all; counts may miss their mark of being lower bounds"
                    );
                }
            }
        }
        drop(gaps);
        self.learn(Vec::new(), vec![(Some(app), gap)], self.clock.now());
    }

    /// Takes over what was stored about releases and blind times.
    pub(crate) fn learn(&self, releases: Vec<(AppId, Release)>, blinds: Vec<BlindOf>, now: Timestamp) {
        if !releases.is_empty() {
            let mut known = lock(&self.releases);
            for (app, release) in releases {
                merge_release(known.entry(app).or_default(), release);
            }
        }
        if !blinds.is_empty() {
            learn_blinds(&mut lock(&self.blinds), blinds, now);
        }
    }

    /// Of new blind times, all of them for memory, and those that no longer one of the same app and reason covers for the
    /// store.
    pub(crate) fn unwritten(&self, blinds: Vec<BlindOf>) -> (Vec<BlindOf>, Vec<BlindOf>) {
        let known = lock(&self.blinds);
        let written = blinds
            .iter()
            .filter(|(app, blind)| {
                !known.iter().any(|(of, k)| {
                    of == app
                        && k.reason == blind.reason
                        && k.from <= blind.from
                        && k.until >= blind.until
                        && k.until.since(blind.until) > Duration::ZERO
                })
            })
            .cloned()
            .collect();
        (blinds, written)
    }

    /// Whether a refusal of ours may be written down now: one a second is enough to know. `noted_at` is when the last of
    /// its kind was.
    pub(crate) fn may_note(noted_at: &Mutex<Timestamp>, now: Timestamp) -> bool {
        let mut at = lock(noted_at);
        let may = now.since(*at) >= Duration::from_secs(1) || now < *at;
        if may {
            *at = now;
        }
        may
    }
}

/// Adds blind times to those known: neighbours are one, old ones go, and there is a bound.
pub(crate) fn learn_blinds(known: &mut Vec<BlindOf>, blinds: Vec<BlindOf>, now: Timestamp) {
    for (app, blind) in blinds {
        match known.iter_mut().rev().find(|(of, known)| *of == app && joins(known, &blind)) {
            Some((_, known)) => join(known, &blind),
            None => known.push((app, blind)),
        }
    }
    known.retain(|(_, blind)| now.since(blind.until) < BLINDS_KEPT);
    let surplus = known.len().saturating_sub(BLINDS_MAX);
    known.drain(..surplus);
}

fn joins(a: &Blind, b: &Blind) -> bool {
    a.reason == b.reason && b.from <= a.until + BLINDS_JOIN && a.from <= b.until + BLINDS_JOIN
}

fn join(into: &mut Blind, other: &Blind) {
    // What is known already is read again and again; its losses count once.
    if into.from <= other.from && other.until <= into.until {
        return;
    }
    into.from = into.from.min(other.from);
    into.until = into.until.max(other.until);
    into.lines_lost = into.lines_lost.zip(other.lines_lost).map(|(a, b)| a.saturating_add(b));
}

/// Adds what a line told of a release to those known.
pub(crate) fn merge_release(known: &mut VecDeque<Release>, release: Release) {
    match known.iter().position(|k| k.at == release.at) {
        Some(i) => {
            if let Some(k) = known.get_mut(i) {
                *k = k.clone().merge(release);
            }
        }
        None => {
            if known.len() == RELEASES_PER_APP_MAX {
                known.pop_front();
            }
            known.push_back(release);
        }
    }
}
