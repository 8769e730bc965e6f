//! Start and stop. Owns the order: first what the store knows is loaded and the time we were away is written down, then the
//! loops begin; at the end nothing new is taken, what was accepted is finished, buckets are flushed, and the loops end.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::matcher::MatcherError;
use dynowatch_domain::{AppId, NewId, Timestamp};
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::{Engine as StoreEngine, StoreError};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::apps::{Apps, lock};
use crate::commit::{SUBMISSIONS_MAX, Submission};
use crate::random::RandomIds;
use crate::rules::RuleBook;
use crate::timers::{self, HOUSEKEEPING_EVERY, LEVEL_PASS_EVERY, REFRESH_PASS_EVERY, WAKE_PASS_EVERY};
use crate::{Engine, EngineOptions, Settings, Shared, commit, sender};

/// A shorter absence than this is a restart that no window notices.
const BLIND_MIN: Duration = Duration::from_secs(1);
/// On Postgres other processes may be alive, which say so every [`REFRESH_PASS_EVERY`]: only a longer silence is absence.
const BLIND_MIN_SHARED: Duration = Duration::from_secs(5);

/// Apps of the file with their drain tokens.
type FileApps = Vec<(String, Vec<String>)>;

/// Why an engine did not start, or did not take a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store did not answer or did not agree.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A rule's pattern does not compile.
    #[error(transparent)]
    Matcher(#[from] MatcherError),
}

/// The loops of a running engine. Whoever started it waits for them.
pub struct Loops {
    engine: Engine,
    commits: JoinHandle<()>,
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
}

impl Engine {
    /// Loads what the store knows and begins to take batches. Timers and messages begin with [`Loops::run`].
    ///
    /// # Errors
    /// When the store does not answer or a rule does not compile.
    pub async fn start(options: EngineOptions) -> Result<(Self, Loops), StartError> {
        let now = options.clock.now();
        let process = RandomIds.new_id(now);
        let commits = options.commits.clone();
        let last_seen = options.store.start_process(process, now).await?;
        if options.store.engine() == StoreEngine::Sqlite {
            // No other process can be sending: what was on its way is taken over at once.
            options.store.release_leases(None).await?;
        }
        let (engine, apps, queue) = Self::build(options, process, now).await?;
        engine.load(apps, last_seen, now).await?;
        let loops = Loops::new(engine.clone(), queue, &commits);
        Ok((engine, loops))
    }

    /// An engine for one command beside the running ones: it knows what the store knows and can do what operators ask
    /// for, but takes no batch, sends nothing, watches no timer, and leaves no trace of having been here. The apps of
    /// the settings are not written down either.
    ///
    /// # Errors
    /// When the store does not answer or a rule does not compile.
    pub async fn attach(options: EngineOptions) -> Result<Self, StartError> {
        let now = options.clock.now();
        let (engine, _apps, _queue) = Self::build(options, RandomIds.new_id(now), now).await?;
        engine.load_apps().await?;
        engine.learn_stored(now).await?;
        Ok(engine)
    }

    /// The engine itself, with nothing loaded but the rules; also the apps of the file and the queue of batches.
    async fn build(options: EngineOptions, process: uuid::Uuid, now: Timestamp) -> Result<(Self, FileApps, mpsc::Receiver<Submission>), StartError> {
        let EngineOptions { clock, store, settings, limits, commits: _ } = options;
        let quieted = store.disabled_rules(now).await?.into_iter().map(|over| over.rule).collect();
        let Settings { rules, apps, receivers, masker, public_url } = settings;
        let book = RuleBook::new(rules.into_iter().map(Arc::new), quieted)?;
        let (submissions, queue) = mpsc::channel(SUBMISSIONS_MAX);
        let shared = Arc::new(Shared {
            clock,
            store,
            limits,
            process,
            started_at: now,
            book: ArcSwap::from_pointee(book),
            apps: Apps::default(),
            receivers: ArcSwap::from_pointee(receivers),
            masker: ArcSwap::from_pointee(masker),
            public_url: ArcSwap::from_pointee(public_url),
            evaluator: tokio::sync::Mutex::default(),
            submissions,
            reader: Mutex::default(),
            frames: Mutex::default(),
            releases: Mutex::default(),
            blinds: Mutex::default(),
            gaps: Mutex::default(),
            hints: Mutex::default(),
            deliveries_due: tokio::sync::Notify::new(),
            sending: sender::Sending::default(),
            timers: timers::TimerState::default(),
            rejected_noted_at: Mutex::default(),
            stats: crate::stats::Stats::default(),
        });
        Ok((Self { shared }, apps, queue))
    }

    async fn load(&self, apps: FileApps, last_seen: Option<Timestamp>, now: Timestamp) -> Result<(), StartError> {
        let shared = &*self.shared;
        let blind_min = if shared.store.engine() == StoreEngine::Sqlite { BLIND_MIN } else { BLIND_MIN_SHARED };
        if let Some(seen) = last_seen.filter(|seen| now.since(*seen) >= blind_min) {
            let away = Blind { reason: BlindReason::Down, from: seen, until: now, lines_lost: None };
            shared.store.record_blind(None, &away).await?;
        }
        self.ensure_apps(apps).await?;
        self.load_apps().await?;
        self.learn_stored(now).await?;
        self.close_orphans().await?;
        Ok(())
    }

    /// Takes over what the store knows of releases and blind times.
    async fn learn_stored(&self, now: Timestamp) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let blinds = shared.store.all_blinds_between(now - crate::BLINDS_KEPT, now).await?;
        let releases = shared.store.releases_since(now - Duration::from_secs(7 * 86_400)).await?;
        shared.learn(releases, blinds, now);
        Ok(())
    }

    async fn ensure_apps(&self, apps: FileApps) -> Result<(), StoreError> {
        let shared = &*self.shared;
        for (name, tokens) in apps {
            let now = shared.clock.now();
            let app = shared.store.ensure_app(AppId(RandomIds.new_id(now)), &name, AppOrigin::File, now).await?;
            for token in tokens {
                shared.store.assign_token(&token, app.id, AppOrigin::File, now).await?;
            }
        }
        Ok(())
    }

    /// Takes a new configuration. Windows, tracks and cool-downs stay; what is open under rules that are gone is closed.
    ///
    /// # Errors
    /// When a rule does not compile or the store does not answer; the rules in force then stay.
    pub async fn reconfigure(&self, settings: Settings) -> Result<(), StartError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        let Settings { rules, apps, receivers, masker, public_url } = settings;
        let before = shared.book.load_full();
        let quieted: BTreeSet<String> = before.quieted().clone();
        let book = RuleBook::new(rules.into_iter().map(Arc::new), quieted)?;
        timers::arm(&shared.timers, &before, &book, now);
        self.ensure_apps(apps).await?;
        shared.book.store(Arc::new(book));
        shared.receivers.store(Arc::new(receivers));
        shared.masker.store(Arc::new(masker));
        shared.public_url.store(Arc::new(public_url));
        self.load_apps().await?;
        self.close_orphans().await?;
        shared.deliveries_due.notify_one();
        Ok(())
    }
}

impl Loops {
    fn new(engine: Engine, queue: mpsc::Receiver<Submission>, runtime: &tokio::runtime::Handle) -> Self {
        let commits = runtime.spawn(commit::run(Arc::clone(&engine.shared), queue));
        Self { engine, commits, stop: watch::channel(false).0, loops: JoinSet::new() }
    }

    /// Begins the timers and the sender.
    pub fn run(&mut self) {
        let engine = &self.engine;
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), WAKE_PASS_EVERY, "wake", async |engine| engine.wake_pass().await.map(drop)));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), REFRESH_PASS_EVERY, "refresh", async |engine| engine.refresh_pass().await));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), LEVEL_PASS_EVERY, "levels", async |engine| engine.level_pass().await));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), HOUSEKEEPING_EVERY, "housekeeping", async |engine| engine.housekeeping_pass().await));
        self.loops.spawn(send(engine.clone(), self.stop.subscribe()));
    }

    /// Ends the loops in order: timers and sender finish what they do, buckets are flushed, the process signs off.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.loops.join_next().await {
            sender::joined(Some(ended));
        }
        if let Err(error) = self.engine.level_pass().await {
            tracing::error!(%error, "the last ten seconds of ratios and absences were not stored");
        }
        if let Err(error) = self.engine.shared.store.end_process(self.engine.shared.process, self.engine.now()).await {
            tracing::warn!(%error, "the end of this process was not stored");
        }
        // Requests are over by now; a commit in progress has answered its waiters.
        self.commits.abort();
    }
}

async fn every(engine: Engine, mut stop: watch::Receiver<bool>, period: Duration, work: &'static str, pass: impl AsyncFn(&Engine) -> Result<(), StoreError>) {
    let mut ticks = tokio::time::interval(period);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = pass(&engine).await {
            engine.shared.store_failed(work, &error);
        }
    }
}

async fn send(engine: Engine, mut stop: watch::Receiver<bool>) {
    let mut tasks = JoinSet::new();
    loop {
        let claimed = engine.spawn_due(&mut tasks).await.unwrap_or_else(|error| {
            engine.shared.store_failed("send", &error);
            0
        });
        if claimed > 0 {
            continue;
        }
        tokio::select! {
            _ = stop.changed() => break,
            () = engine.shared.deliveries_due.notified() => {}
            () = tokio::time::sleep(sender::SEND_PASS_EVERY) => {}
            ended = tasks.join_next(), if !tasks.is_empty() => sender::joined(ended),
        }
    }
    // What is on its way is given the time of one attempt.
    let rest = async { while let Some(ended) = tasks.join_next().await { sender::joined(Some(ended)) } };
    if tokio::time::timeout(Duration::from_secs(5), rest).await.is_err() {
        tracing::warn!("messages on their way were left without a result; they are sent again after the restart");
    }
}

impl Engine {
    /// The newest apps and rules are in force and the store answers: for `/readyz`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.shared.store.ping().await
    }

    /// How many gaps are still to be written.
    #[must_use]
    pub fn gaps_waiting(&self) -> usize {
        lock(&self.shared.gaps).len()
    }
}
