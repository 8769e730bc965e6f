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
use dynowatch_store::leases::Lived;
use dynowatch_store::{Engine as StoreEngine, StoreError};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::JoinSet;

use crate::apps::{Apps, lock};
use crate::checks::LOOK_EVERY;
use crate::commit::Submission;
use crate::heroku::HEROKU_PASS_EVERY;
use crate::metrics::FOLD_EVERY;
use crate::objects::{Composed, Composition};
use crate::random::RandomIds;
use crate::remote_write::{RemoteWrite, WRITE_PASS_EVERY};
use crate::rules::RuleBook;
use crate::timers::{self, CROWDED_PAUSE, HOUSEKEEPING_EVERY, LEVEL_PASS_EVERY, REFRESH_PASS_EVERY, WAKE_PASS_EVERY};
use crate::{Engine, EngineOptions, Settings, Shared, commit, objects, sender};

/// A process says that it lives every [`REFRESH_PASS_EVERY`]; one that has not for this long is dead.
const DEAD_AFTER: Duration = Duration::from_secs(6);
/// Loops get this long to end a pass when the process stops.
const LOOP_STOP_MAX: Duration = Duration::from_secs(3);

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
    /// The file and the objects of the console cannot be put together.
    #[error("the configuration cannot be put together with what was made in the console: {0}")]
    Objects(String),
}

/// The loops of a running engine. Whoever started it waits for them.
pub struct Loops {
    engine: Engine,
    /// One task. In a set, for it holds the engine and would outlive a dropped handle.
    commits: JoinSet<()>,
    stop: watch::Sender<bool>,
    loops: JoinSet<()>,
    /// Runs of checks have a thread of their own.
    checks: Option<std::thread::JoinHandle<()>>,
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
        options.store.start_process(process, now).await?;
        if options.store.engine() == StoreEngine::Sqlite {
            // No other process can be sending: what was on its way is taken over at once.
            options.store.release_leases(None).await?;
            options.store.give_back_checks(None).await?;
        }
        let (engine, apps, queue) = Self::build(options, process, now).await?;
        engine.load(apps, now).await?;
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
        engine.apply_objects(true).await?;
        engine.load_apps().await?;
        engine.learn_stored(now).await?;
        Ok(engine)
    }

    /// The engine itself, with nothing loaded but the rules; also the apps of the file and the queue of batches.
    async fn build(
        options: EngineOptions,
        process: uuid::Uuid,
        now: Timestamp,
    ) -> Result<(Self, FileApps, mpsc::Receiver<Submission>), StartError> {
        let EngineOptions { clock, store, settings, limits, commits: _ } = options;
        let quieted = store.disabled_rules(now).await?.into_iter().map(|over| over.rule).collect();
        let Settings { rules, apps, receivers, masker, public_url, checks, compose } = settings;
        let book = RuleBook::new(rules.into_iter().map(Arc::new), quieted)?;
        let (submissions, queue) = mpsc::channel(limits.commit_queue.max(1));
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
            waiters: tokio::sync::Semaphore::new(limits.commit_waiters.min(tokio::sync::Semaphore::MAX_PERMITS)),
            reader: Mutex::default(),
            configuring: tokio::sync::Mutex::new(Composition { compose, ..Composition::default() }),
            loading: tokio::sync::Mutex::default(),
            frames: Mutex::default(),
            answered: Mutex::default(),
            repeats_due: Notify::new(),
            releases: Mutex::default(),
            blinds: Mutex::default(),
            gaps: Mutex::default(),
            hints: Mutex::default(),
            deliveries_due: tokio::sync::Notify::new(),
            sending: sender::Sending::default(),
            timers: timers::TimerState::default(),
            metrics: crate::metrics::Flushes::default(),
            thresholds: crate::thresholds::Thresholds::default(),
            checks: crate::checks::Checks::new(checks),
            sharing: crate::sharing::Drains::default(),
            heroku: crate::heroku::Connection::default(),
            rejected_noted_at: Mutex::default(),
            limited_noted_at: Mutex::default(),
            stats: crate::stats::Stats::default(),
            tail: crate::tail::Tail::new(crate::random::bytes(), u64::try_from(now.as_micros()).unwrap_or(0)),
            outages: Mutex::default(),
        });
        Ok((Self { shared }, apps, queue))
    }

    async fn load(&self, apps: FileApps, now: Timestamp) -> Result<(), StartError> {
        let shared = &*self.shared;
        self.mourn(true).await?;
        self.ensure_apps(apps).await?;
        // Before anything is judged, so that nothing is closed whose rule was made in the console.
        self.apply_objects(true).await?;
        self.load_apps().await?;
        self.load_sharing().await?;
        self.learn_stored(now).await?;
        let open = shared.store.load_open().await?.into_iter().map(|(key, ..)| key);
        shared.evaluator.lock().await.know(open);
        self.close_orphans().await?;
        Ok(())
    }

    /// Writes down what nobody saw because a process died.
    pub(crate) async fn mourn(&self, at_start: bool) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        // On SQLite there is no other server: whoever signed in before us is gone.
        let alone = at_start && shared.store.engine() == StoreEngine::Sqlite;
        let before = if alone { now + Duration::from_secs(86_400) } else { now - DEAD_AFTER };
        let (dead, mut watchers) = shared.store.take_dead_processes(shared.process, before).await?;
        watchers.push(Lived { started_at: shared.started_at, seen_at: now });
        watchers.extend_from_slice(&dead);
        let mut aways: Vec<Blind> = Vec::new();
        for one in &dead {
            let until = unwatched_until(one.seen_at, &watchers);
            // However short: what a killed process had not flushed is gone. One that ended in order had flushed all.
            let away = Blind { reason: BlindReason::Down, from: one.seen_at, until, lines_lost: None };
            let is_unknown = away.hides_lines() || !one.ended_in_order();
            if is_unknown && !aways.contains(&away) {
                aways.push(away);
            }
        }
        for away in aways {
            shared.store.record_blind(None, &away).await?;
            shared.learn(Vec::new(), vec![(None, away)], now);
        }
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
        let mut composition = shared.configuring.lock().await;
        let Settings { rules, apps, receivers, masker, public_url, checks, compose } = settings;
        // A rule of the file that does not compile is refused before anything changes.
        RuleBook::new(rules.iter().cloned().map(Arc::new), BTreeSet::new())?;
        let objects = objects::load(&shared.store).await?;
        let version = shared.store.objects_version().await?;
        let composed = match &compose {
            Some(compose) => compose.compose(&objects).map_err(StartError::Objects)?,
            None => Composed { rules, receivers, masker, checks, unusable: Vec::new() },
        };
        self.ensure_apps(apps).await?;
        // Nothing below fails: what needs the store and is not done now is done by the next pass.
        *composition = Composition { compose, version: Some(version), unusable: shared.put_in_force(composed) };
        drop(composition);
        shared.public_url.store(Arc::new(public_url));
        for (work, done) in [("apps", self.load_apps().await), ("orphans", self.close_orphans().await.map(drop))] {
            if let Err(error) = done {
                shared.store_failed(work, &error);
            }
        }
        shared.deliveries_due.notify_one();
        Ok(())
    }
}

/// Until when nobody saw what a process that was last seen at `seen` would have seen. Where another one watched, that is
/// what the dead one had not flushed; else the time until one started, however soon that was.
fn unwatched_until(seen: Timestamp, watchers: &[Lived]) -> Timestamp {
    if watchers.iter().any(|one| one.started_at < seen && one.seen_at > seen) {
        return seen + REFRESH_PASS_EVERY;
    }
    watchers.iter().map(|one| one.started_at).filter(|at| *at >= seen).min().unwrap_or(seen + REFRESH_PASS_EVERY)
}

impl Loops {
    fn new(engine: Engine, queue: mpsc::Receiver<Submission>, runtime: &tokio::runtime::Handle) -> Self {
        let shared = Arc::clone(&engine.shared);
        let mut commits = JoinSet::new();
        let run = async move {
            let _vital = Vital("commit");
            commit::run(shared, queue).await;
        };
        commits.spawn_on(run, runtime);
        Self { engine, commits, stop: watch::channel(false).0, loops: JoinSet::new(), checks: None }
    }

    /// Begins the timers and the sender.
    pub fn run(&mut self) {
        let engine = &self.engine;
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), WAKE_PASS_EVERY, "wake", async |engine| {
            engine.wake_pass().await.map(drop)
        }));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), REFRESH_PASS_EVERY, "refresh", async |engine| {
            engine.refresh_pass().await
        }));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), LEVEL_PASS_EVERY, "levels", async |engine| {
            engine.level_pass().await
        }));
        self.loops.spawn(every(
            engine.clone(),
            self.stop.subscribe(),
            HOUSEKEEPING_EVERY,
            "housekeeping",
            async |engine| engine.housekeeping_pass().await,
        ));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), FOLD_EVERY, "metrics", async |engine| {
            engine.fold_pass().await.map(drop)
        }));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), HEROKU_PASS_EVERY, "heroku", async |engine| {
            engine.heroku_pass().await
        }));
        self.loops.spawn(flush_crowded(engine.clone(), self.stop.subscribe()));
        self.loops.spawn(send(engine.clone(), self.stop.subscribe()));
        self.loops.spawn(forget_answered(engine.clone(), self.stop.subscribe()));
        self.loops.spawn(every(engine.clone(), self.stop.subscribe(), LOOK_EVERY, "checks", async |engine| {
            engine.check_passes().await
        }));
        self.loops.spawn(settle(engine.clone(), self.stop.subscribe()));
        self.checks = run_checks(engine.clone(), self.stop.subscribe());
    }

    /// Begins writing metrics elsewhere as well.
    pub fn remote_write(&mut self, remote: RemoteWrite) {
        self.loops.spawn(write(Arc::new(remote), self.stop.subscribe()));
    }

    /// Ends the loops in order: timers and sender finish what they do, buckets are flushed, the process signs off.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        let ended = tokio::time::timeout(LOOP_STOP_MAX, async {
            while let Some(ended) = self.loops.join_next().await {
                sender::joined(Some(ended));
            }
        });
        if ended.await.is_err() {
            tracing::warn!("a pass did not end in time and was broken off; the next start does it again");
            self.loops.shutdown().await;
        }
        // Runs on their way are not waited for: their checks run again after the restart.
        if let Some(thread) = self.checks.take() {
            let ended = tokio::task::spawn_blocking(move || thread.join().is_ok());
            if !matches!(tokio::time::timeout(LOOP_STOP_MAX, ended).await, Ok(Ok(true))) {
                tracing::warn!("the thread of checks did not end in time");
            }
        }
        let checks = async {
            self.engine.settle_checks().await?;
            self.engine.flush_checks(true).await?;
            self.engine.shared.store.give_back_checks(Some(&self.engine.shared.process.to_string())).await
        };
        if let Err(error) = checks.await {
            tracing::error!(%error, "the last results of checks were not stored");
        }
        if let Err(error) = self.engine.flush().await {
            tracing::error!(%error, "the last ten seconds of metrics, ratios and absences were not stored");
            // If the store is away, this process stays among the living there, and is known to have died.
            if !error.is_retryable() {
                self.engine.store_unwritten().await;
            }
        }
        if let Err(error) = self.engine.forget_answered().await {
            tracing::warn!(%error, "batches without a Frame-Id that were answered are still known for some seconds");
        }
        let (shared, now) = (&self.engine.shared, self.engine.now());
        if let Err(error) = shared.store.end_process(shared.process, now, now - DEAD_AFTER).await {
            tracing::warn!(%error, "the end of this process was not stored");
        }
        // Requests are over by now; a commit in progress has answered its waiters.
        self.commits.shutdown().await;
    }
}

/// Ends the process if the loop that holds it panics. A watcher that runs but no longer commits, sends or wakes is worse
/// than one that starts anew: everything it must do is in the store.
struct Vital(&'static str);

impl Drop for Vital {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!(
                work = self.0,
                "a loop that must not end has panicked; the process ends to be started again"
            );
            std::process::exit(70);
        }
    }
}

async fn every(
    engine: Engine,
    mut stop: watch::Receiver<bool>,
    period: Duration,
    work: &'static str,
    pass: impl AsyncFn(&Engine) -> Result<(), StoreError>,
) {
    let _vital = Vital(work);
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

/// The thread on which checks are run, so that neither requests nor the store hold them up.
fn run_checks(engine: Engine, stop: watch::Receiver<bool>) -> Option<std::thread::JoinHandle<()>> {
    let run = move || {
        let _vital = Vital("checks");
        match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime.block_on(engine.run_checks(stop)),
            Err(error) => tracing::error!(%error, "no runtime for checks: none are run by this process"),
        }
    };
    std::thread::Builder::new()
        .name("checks".to_owned())
        .spawn(run)
        .inspect_err(|error| tracing::error!(%error, "no thread for checks: none are run by this process"))
        .ok()
}

/// Settles results of checks as they come.
async fn settle(engine: Engine, mut stop: watch::Receiver<bool>) {
    let _vital = Vital("settle");
    tokio::select! {
        _ = stop.changed() => {}
        () = engine.settle_for_ever() => {}
    }
}

/// Collects and writes in turn. What the receiver did not take when the process stops is lost, as it is for a scrape.
async fn write(remote: Arc<RemoteWrite>, mut stop: watch::Receiver<bool>) {
    let _vital = Vital("remote_write");
    let mut ticks = tokio::time::interval(WRITE_PASS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            _ = ticks.tick() => {}
        }
        if let Err(error) = remote.collect().await {
            remote.store_failed(&error);
        }
        tokio::select! {
            _ = stop.changed() => return,
            _ = remote.send_due() => {}
        }
    }
}

/// Stores values ahead of their flush where lines of many minutes come in at once, as after an outage.
async fn flush_crowded(engine: Engine, mut stop: watch::Receiver<bool>) {
    let _vital = Vital("crowded");
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            () = engine.crowded() => {}
        }
        if let Err(error) = engine.crowded_pass().await {
            engine.shared.store_failed("crowded", &error);
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(CROWDED_PAUSE) => {}
        }
    }
}

/// Does so as soon as something was answered.
async fn forget_answered(engine: Engine, mut stop: watch::Receiver<bool>) {
    let _vital = Vital("repeats");
    loop {
        tokio::select! {
            _ = stop.changed() => return,
            () = engine.shared.repeats_due.notified() => {}
        }
        if let Err(error) = engine.forget_answered().await {
            engine.shared.store_failed("repeats", &error);
        }
    }
}

async fn send(engine: Engine, mut stop: watch::Receiver<bool>) {
    let _vital = Vital("send");
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
    let rest = async {
        while let Some(ended) = tasks.join_next().await {
            sender::joined(Some(ended))
        }
    };
    if tokio::time::timeout(LOOP_STOP_MAX / 2, rest).await.is_err() {
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

    /// Lets the store forget batches without a Frame-Id that were answered: an equal one is another batch.
    ///
    /// # Errors
    /// When the store does not answer. It then forgets them by their age.
    pub async fn forget_answered(&self) -> Result<(), StoreError> {
        let settled = lock(&self.shared.answered).take_settled();
        if settled.is_empty() { Ok(()) } else { self.shared.store.forget_frames(&settled).await }
    }

    /// How many gaps are still to be written.
    #[must_use]
    pub fn gaps_waiting(&self) -> usize {
        lock(&self.shared.gaps).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_unwatched_until_somebody_watches() {
        let t = Timestamp::from_seconds;
        let lived = |from, until| Lived { started_at: t(from), seen_at: t(until) };
        let cases: [(&str, i64, &[Lived], i64); 6] = [
            ("we took over at once", 10, &[lived(10, 10)], 10),
            ("we came three seconds later", 10, &[lived(13, 20)], 13),
            ("the first of two came sooner", 10, &[lived(13, 20), lived(12, 20)], 12),
            ("another was there", 10, &[lived(0, 20), lived(13, 20)], 12),
            ("another died before it", 10, &[lived(0, 8), lived(15, 20)], 15),
            ("another came and died, too", 10, &[lived(11, 14), lived(19, 20)], 11),
        ];
        for (name, seen, watchers, want) in cases {
            assert_eq!(unwatched_until(t(seen), watchers), t(want), "{name}");
        }
    }
}
