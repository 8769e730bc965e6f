//! What comes round: shares of checks and wishes of operators, windows that open and close, jobs that reported, control
//! targets, rows to be written. Each pass may be made at any time; the loop at the end only decides when.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::alert::{Facts, Verdict};
use dynowatch_domain::blind::BlindReason;
use dynowatch_domain::check::heartbeat::PingKind;
use dynowatch_domain::check::run::ROW;
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_domain::key::{Group, Key};
use dynowatch_store::StoreError;
use dynowatch_store::checks::states::CheckHead;
use tokio::sync::watch;

use super::runs::Finished;
use super::{alerts, heartbeats};
use crate::Engine;
use crate::apps::lock;
use crate::evaluate::Input;
use crate::operate::OWN_APP;
use crate::timers::REFRESH_PASS_EVERY;

/// How often shares are looked at, and wishes of operators.
pub const SHARE_EVERY: Duration = Duration::from_secs(5);
/// How often windows, jobs and control targets are looked at.
pub const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often runs are written.
pub const FLUSH_EVERY: Duration = Duration::from_secs(10);
/// Names are written down as wanted this often, changed or not.
const REGISTERED_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// A process that has not said for this long that it lives has no share.
const DEAD_AFTER: Duration = Duration::from_secs(6);
/// A loop without anything due looks this often.
const IDLE: Duration = Duration::from_millis(500);

/// When each pass was made, and what it knows.
#[derive(Default)]
pub(super) struct Passes {
    shared_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    flushed_at: Option<Timestamp>,
    registered: Option<(Timestamp, BTreeSet<String>)>,
    /// What the store was told of our blindness, and what the alert was told of anyone's.
    blind_written: Option<bool>,
    blind_told: Option<bool>,
}

impl Passes {
    /// The configuration changed: shares are looked at at once.
    pub(super) fn hurry(&mut self) {
        self.shared_at = None;
    }
}

fn due(at: Option<Timestamp>, every: Duration, now: Timestamp) -> bool {
    at.is_none_or(|at| now.since(at) >= every || now < at)
}

impl Engine {
    /// Makes the passes that are due.
    ///
    /// # Errors
    /// When the store does not answer; what was not done is done by the next call.
    pub async fn check_passes(&self) -> Result<(), StoreError> {
        let passes = &self.shared.checks.passes;
        let now = self.now();
        if due(lock(passes).shared_at, SHARE_EVERY, now) {
            self.share_pass().await?;
            lock(passes).shared_at = Some(now);
        }
        if due(lock(passes).looked_at, LOOK_EVERY, now) {
            self.look_pass().await?;
            lock(passes).looked_at = Some(now);
        }
        if due(lock(passes).flushed_at, FLUSH_EVERY, now) {
            // Whatever comes of it: what could not be written is tried again with what comes next.
            lock(passes).flushed_at = Some(now);
            self.flush_checks(false).await?;
        }
        Ok(())
    }

    /// Takes this process's share of the checks, gives back what is over it, and does what operators asked for.
    ///
    /// # Errors
    /// When the store does not answer: what this process holds goes on.
    pub async fn share_pass(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let (now, owner) = (self.now(), shared.process.to_string());
        self.register(now).await?;
        let book = shared.checks.book.load_full();
        let heads: BTreeMap<u64, CheckHead> =
            shared.store.check_heads().await?.into_iter().map(|head| (head.number, head)).collect();
        let can_run = lock(&shared.checks.probe).is_some();
        let mine: Vec<u64> = if can_run && !book.checks.is_empty() {
            let alive = shared.store.processes_alive(now - DEAD_AFTER).await?.max(1);
            let running = lock(&shared.checks.board).running();
            shared.store.share_checks(&owner, (heads.len() as u64).div_ceil(alive), &running, now).await?
        } else {
            shared.store.give_back_checks(Some(&owner)).await?;
            Vec::new()
        };
        self.take_over(&heads, &mine, now).await?;
        self.do_as_asked(&heads, now);
        // What others run is known by their rows.
        let failing = heads
            .values()
            .filter(|head| matches!(head.shown, Shown::Suspect | Shown::Down | Shown::Recovering | Shown::Flapping));
        let mut names: HashSet<String> = failing.map(|head| head.name.clone()).collect();
        for entry in lock(&shared.checks.board).entries() {
            if entry.live.state.is_failing() {
                names.insert(entry.check.name.clone());
            } else {
                names.remove(&entry.check.name);
            }
        }
        *lock(&shared.checks.failing) = names;
        self.tell_of_blindness(now).await?;
        shared.checks.changed.notify_one();
        Ok(())
    }

    /// Makes rows for checks that have none.
    pub(crate) async fn register(&self, now: Timestamp) -> Result<(), StoreError> {
        let checks = &self.shared.checks;
        let book = checks.book.load_full();
        let names: BTreeSet<String> = book.checks.keys().cloned().collect();
        let known = lock(&checks.passes)
            .registered
            .as_ref()
            .is_some_and(|(at, known)| *known == names && now.since(*at) < REGISTERED_EVERY && now >= *at);
        if known {
            return Ok(());
        }
        let token = |check: &Check| matches!(check.kind, CheckKind::Heartbeat(_)).then(crate::random::token);
        let rows: Vec<(String, Option<String>)> =
            book.checks.values().map(|check| (check.name.clone(), token(check))).collect();
        self.shared.store.register_checks(&rows, now).await?;
        lock(&checks.passes).registered = Some((now, names));
        Ok(())
    }

    /// Makes the board hold exactly what is this process's.
    async fn take_over(
        &self,
        heads: &BTreeMap<u64, CheckHead>,
        mine: &[u64],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let book = shared.checks.book.load_full();
        // What was taken a moment ago may have no head yet, and comes with the next pass.
        let wanted: BTreeMap<u64, &Arc<Check>> =
            mine.iter().filter_map(|number| Some((*number, book.checks.get(&heads.get(number)?.name)?))).collect();
        let held: HashSet<u64> = lock(&shared.checks.board).entries().map(|entry| entry.number).collect();
        for number in held.iter().filter(|number| !wanted.contains_key(*number)) {
            lock(&shared.checks.board).remove(*number);
        }
        let new: Vec<u64> = wanted.keys().filter(|number| !held.contains(*number)).copied().collect();
        if !new.is_empty() {
            let names: Vec<String> = new.iter().filter_map(|number| Some(heads.get(number)?.name.clone())).collect();
            let rows = shared.store.check_rows_named(&names).await?;
            let results = shared.store.check_result_rows(now.floor(ROW)).await.unwrap_or_default();
            let deaf_until = deaf_until(shared);
            let mut board = lock(&shared.checks.board);
            for row in rows {
                let (number, Some(check)) = (row.number, wanted.get(&row.number)) else { continue };
                board.insert(Arc::clone(check), row, now);
                let Some(entry) = board.entry(number) else { continue };
                if let Some(result) = results.iter().find(|result| result.number == number) {
                    entry.live.go_on(result.clone());
                }
                if let CheckKind::Heartbeat(heartbeat) = &check.kind {
                    let heard_at = entry.live.heartbeat.heard_at;
                    if let Some(until) = deaf_until.filter(|until| heard_at.is_some_and(|heard_at| heard_at < *until)) {
                        entry.live.heartbeat.deaf(until);
                    }
                    if let Some(at) = heartbeat.judge(&entry.live.heartbeat, now).look_at {
                        board.look_by(number, at);
                    }
                }
            }
        }
        let mut board = lock(&shared.checks.board);
        for (number, check) in wanted {
            board.redefine(number, Arc::clone(check), now);
        }
        Ok(())
    }

    /// Pauses, goes on, runs and takes pins as operators asked.
    fn do_as_asked(&self, heads: &BTreeMap<u64, CheckHead>, now: Timestamp) {
        let shared = &*self.shared;
        let mut look = Vec::new();
        let mut board = lock(&shared.checks.board);
        let numbers: Vec<u64> = board.entries().map(|entry| entry.number).collect();
        for number in numbers {
            let (Some(head), Some(entry)) = (heads.get(&number), board.entry(number)) else { continue };
            let paused = head.paused || entry.check.paused;
            if entry.paused != paused {
                entry.paused = paused;
                look.push(number);
            }
            // A check whose configuration says so is paused from its first moment, and says so.
            if paused && entry.live.state.shown() != Shown::Paused {
                look.push(number);
            }
            let asked = head.run_asked_at.max(head.pin_asked_at);
            if asked.is_some() && entry.live.asked_until < asked {
                entry.live.asked_until = asked;
                entry.live.unsaved_since = Some(Timestamp::UNIX_EPOCH);
                if head.pin_asked_at.is_some() {
                    entry.live.memory.accept_pin();
                }
                board.run_now(number, now);
            }
        }
        drop(board);
        look.dedup();
        look.into_iter().for_each(|number| shared.checks.look_at(shared, number));
    }

    /// One alert says that this instance is blind, whichever of its processes is.
    async fn tell_of_blindness(&self, now: Timestamp) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let since = shared.checks.control.since();
        if lock(&shared.checks.passes).blind_written != Some(since.is_some()) {
            shared.store.set_blind(shared.process, since).await?;
            lock(&shared.checks.passes).blind_written = Some(since.is_some());
        }
        // This process lives, whenever it said so last.
        let blind = shared.store.blind_processes(now - DEAD_AFTER).await?.or(since.map(|since| (since, 1)));
        if lock(&shared.checks.passes).blind_told == Some(blind.is_some()) {
            return Ok(());
        }
        if blind.is_none() && self.apps().by_name(OWN_APP).is_none() {
            // Nothing was ever told of us: an app of our own, made for this, would only be one that sends no line.
            lock(&shared.checks.passes).blind_told = Some(false);
            return Ok(());
        }
        let book = shared.checks.book.load_full();
        let app = self.app_named(OWN_APP).await?.id;
        let key = Key { app, rule: alerts::BLIND_RULE.to_owned(), group: Group::default() };
        let (measured, verdict) = match blind {
            Some((since, processes)) => {
                let controls: Vec<&str> = book.controls.iter().map(|check| check.name.as_str()).collect();
                let facts = Facts { count: processes, at: now, first_at: since, last_at: now, ..Facts::default() };
                let measured = format!("none of {} answers since {}", controls.join(", "), since.for_people());
                (measured, Verdict::Holds { facts, until: now + alerts::HOLDS, fresh: false })
            }
            None => ("a control target answers again".to_owned(), Verdict::Fails { matched: None }),
        };
        let rule = alerts::blind_rule(&book.blind_receivers, measured);
        let input = Input::Check { alert: None, verdict, lines: Vec::new() };
        shared.evaluator.lock().await.apply(shared, vec![(key, rule, input)], Vec::new()).await?;
        lock(&shared.checks.passes).blind_told = Some(blind.is_some());
        Ok(())
    }

    /// Looks at windows, jobs and control targets.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look_pass(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = self.now();
        self.look_at_windows(now);
        if lock(&shared.checks.board).entries().next().is_some() {
            shared.checks.control.look_if_due(shared).await;
        }
        self.hear_pings(now).await
    }

    fn look_at_windows(&self, now: Timestamp) {
        let shared = &*self.shared;
        let book = shared.checks.book.load();
        let open: Vec<_> = book.windows.iter().filter(|window| window.open_at(now).is_some()).cloned().collect();
        if **shared.checks.open.load() == open {
            return;
        }
        shared.checks.open.store(Arc::new(open));
        let changed: Vec<u64> = lock(&shared.checks.board)
            .entries()
            .filter(|entry| entry.live.maintenance != shared.checks.in_maintenance(&entry.check))
            .map(|entry| entry.number)
            .collect();
        changed.into_iter().for_each(|number| shared.checks.look_at(shared, number));
    }

    /// Takes in what jobs said to whichever process.
    async fn hear_pings(&self, now: Timestamp) -> Result<(), StoreError> {
        let shared = &*self.shared;
        if !lock(&shared.checks.board).entries().any(|entry| matches!(entry.check.kind, CheckKind::Heartbeat(_))) {
            return Ok(());
        }
        let pings = shared.store.new_pings(&shared.process.to_string()).await?;
        if pings.is_empty() {
            return Ok(());
        }
        // Steps that are being written know the state before these.
        let _queue = shared.checks.queue.lock().await;
        let mut heard = Vec::new();
        let mut board = lock(&shared.checks.board);
        for new in pings {
            let number = new.number;
            let Some(entry) = board.entry(number) else { continue };
            let CheckKind::Heartbeat(heartbeat) = &entry.check.kind else { continue };
            let heartbeat = heartbeat.clone();
            if entry.live.pings.contains(&new.id) {
                continue;
            }
            let kind = new.ping.kind;
            entry.live.pings.push(new.id);
            entry.live.heartbeat.take(new.ping);
            entry.live.unsaved_since.get_or_insert(now);
            let (observation, look_at) = heartbeats::heard(&heartbeat, &entry.live.heartbeat, now);
            if kind != PingKind::Start {
                let (observation, transcript) = (Some(observation), String::new());
                heard.push(Finished { number, observation, memory: None, transcript, lag: Duration::ZERO });
            }
            if let Some(at) = look_at {
                board.look_by(number, at);
            }
        }
        drop(board);
        heard.into_iter().for_each(|finished| shared.checks.hand_on(shared, finished));
        Ok(())
    }

    /// Runs checks until the process stops, on the runtime this is called on. Nothing here waits for the store.
    pub(crate) async fn run_checks(self, mut stop: watch::Receiver<bool>) {
        loop {
            for job in self.start_due_checks() {
                tokio::spawn(self.clone().run_check(job));
            }
            let now = self.now();
            let wait = self.next_check_at().map_or(IDLE, |at| at.since(now).min(IDLE));
            tokio::select! {
                _ = stop.changed() => return,
                () = self.shared.checks.changed.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

/// Until when nobody listened, lately.
fn deaf_until(shared: &crate::Shared) -> Option<Timestamp> {
    let blinds = lock(&shared.blinds);
    let away = blinds.iter().filter(|(app, blind)| {
        app.is_none() && blind.reason == BlindReason::Down && blind.until.since(blind.from) > REFRESH_PASS_EVERY
    });
    away.map(|(_, blind)| blind.until).max()
}
