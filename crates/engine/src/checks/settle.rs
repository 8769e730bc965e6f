//! What becomes of results: each is one step of its check's state machine; what must not be lost is written at once, with
//! the alert it belongs to, in one transaction; the rest is written every few seconds. While the store is away results wait
//! in their queue, and runs go on.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::alert::{Facts, ResolveReason, Verdict};
use dynowatch_domain::check::certificate;
use dynowatch_domain::check::observation::{Memory, Observation};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::state::{Around, Effect, Ran, Why};
use dynowatch_domain::check::uptime::Flip;
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rule::Rule;
use dynowatch_domain::{AlertId, AppId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::checks::{CheckChange, Failure, OutageRow, ResultRow};

use super::board::{Entry, Live};
use super::runs::Finished;
use super::{alerts, certificates, evidence};
use crate::apps::lock;
use crate::evaluate::Input;
use crate::operate::OWN_APP;
use crate::random::RandomIds;
use crate::{Engine, Shared};

/// Results worked out in one go.
pub(crate) const SETTLED_MAX: usize = 256;
/// Before a write that the store did not take is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);
/// State that only counts on is written after this long.
const SAVED_EVERY: Duration = Duration::from_secs(30);
/// A failure that goes on unchanged is kept whole this often.
const KEPT_EVERY: Duration = Duration::from_secs(600);
/// The longest validity of a heartbeat's last word: until its deadline, however far that is.
const HEARTBEAT_VALID: Duration = Duration::from_secs(400 * 86_400);
/// Failures that wait to be written.
const FAILURES_MAX: usize = 5_000;

/// What one step asks for.
struct Work {
    change: CheckChange,
    alerts: Vec<(Key, Arc<Rule>, Input)>,
}

/// What the step of one check found out, before its alert has words.
struct Stepped {
    check: Arc<Check>,
    change: CheckChange,
    news: Option<News>,
    certificate: Option<certificate::News>,
    lines: Vec<EvidenceLine>,
    observation: Option<Observation>,
}

/// What is to be told.
enum News {
    Opened { id: AlertId, why: Why, began_at: Timestamp },
    Again { id: AlertId, why: Why, began_at: Timestamp },
    Resolved { began_at: Timestamp, ended_at: Timestamp, settled: bool },
    Dropped,
}

impl Engine {
    /// Works out results that wait, and writes what must not be lost. Returns how many there were.
    ///
    /// # Errors
    /// When the store does not answer. Nothing is lost: the next call goes on where this one broke off.
    pub async fn settle_checks(&self) -> Result<usize, StoreError> {
        let shared = &*self.shared;
        let mut queue = shared.checks.queue.lock().await;
        let mut settled = 0;
        loop {
            self.write_unwritten(&mut queue.unwritten).await?;
            let mut batch = std::mem::take(&mut queue.next);
            let mut seen: HashSet<u64> = batch.iter().map(|finished| finished.number).collect();
            // One step of a check in each transaction.
            while batch.len() < SETTLED_MAX
                && let Ok(finished) = queue.results.try_recv()
            {
                if seen.insert(finished.number) {
                    batch.push(finished);
                } else {
                    queue.next.push(finished);
                    break;
                }
            }
            if batch.is_empty() {
                return Ok(settled);
            }
            settled += batch.len();
            let (now, told_by) = (shared.clock.now(), tokio::time::Instant::now() + evidence::WAIT_MAX);
            for finished in batch {
                if let Some(stepped) = step(shared, finished, now) {
                    let app = self.app_named(stepped.check.app.as_deref().unwrap_or(OWN_APP)).await;
                    let app = app.ok().map(|app| app.id);
                    let diagnosis = match (&stepped.news, &stepped.observation) {
                        (Some(_), Some(observation)) => {
                            Box::pin(self.diagnose(&stepped.check, app, observation, told_by)).await
                        }
                        _ => String::new(),
                    };
                    queue.unwritten.push(Pending { stepped, app, diagnosis, now });
                }
            }
        }
    }

    /// Writes steps that are not written yet. What another process runs by now is given up.
    async fn write_unwritten(&self, unwritten: &mut Vec<Pending>) -> Result<(), StoreError> {
        let shared = &*self.shared;
        for pending in unwritten.iter_mut().filter(|pending| pending.app.is_none()) {
            pending.app = Some(self.app_named(pending.stepped.check.app.as_deref().unwrap_or(OWN_APP)).await?.id);
        }
        let works: Vec<Work> = unwritten.iter().filter_map(Pending::work).collect();
        if works.is_empty() {
            unwritten.clear();
            return Ok(());
        }
        let numbers: Vec<u64> = works.iter().map(|work| work.change.number).collect();
        match write(shared, works).await {
            Ok(()) => saved(shared, &numbers),
            Err(error) if error.is_retryable() => return Err(error),
            // One of them cannot be written; the others must not fail with it.
            Err(_) => {
                for pending in unwritten.iter() {
                    let number = pending.stepped.change.number;
                    match write(shared, pending.work().into_iter().collect()).await {
                        Ok(()) => saved(shared, &[number]),
                        Err(error) if error.is_retryable() => return Err(error),
                        Err(error) => {
                            tracing::warn!(check = pending.stepped.check.name, %error, "a step of a check was not written; the check is taken up anew");
                            lock(&shared.checks.board).remove(number);
                        }
                    }
                }
            }
        }
        unwritten.clear();
        Ok(())
    }

    /// Waits for results and settles them, until the process stops.
    pub(crate) async fn settle_for_ever(&self) {
        loop {
            match self.settle_checks().await {
                Ok(_) => self.shared.checks.handed_on.notified().await,
                Err(error) => {
                    self.shared.store_failed("checks", &error);
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    /// Writes runs, failures, and state that only counts on.
    ///
    /// # Errors
    /// When the store does not answer; runs and failures of the last seconds may then be lost, state never is.
    pub async fn flush_checks(&self, all: bool) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        let mut rows: Vec<ResultRow> = std::mem::take(&mut *lock(&shared.checks.full_rows));
        rows.extend(lock(&shared.checks.board).entries_mut().filter_map(|entry| entry.live.take_row()));
        let failures = std::mem::take(&mut *lock(&shared.checks.failures));
        let written = shared.store.write_check_results(&rows, &failures).await;
        if written.is_err() {
            shared.stats.check_results_lost.add(failures.len() as u64);
        }
        // Steps that are being written count versions on; nothing may come between.
        let queue = shared.checks.queue.lock().await;
        let unwritten: HashSet<u64> = queue.unwritten.iter().map(|pending| pending.stepped.change.number).collect();
        let changes: Vec<CheckChange> = lock(&shared.checks.board)
            .entries()
            .filter(|entry| !unwritten.contains(&entry.number))
            .filter(|entry| entry.live.unsaved_since.is_some_and(|since| all || now.since(since) >= SAVED_EVERY))
            .map(|entry| change_of(shared, entry.number, &entry.live))
            .collect();
        let kept: Vec<u64> = changes.iter().map(|change| change.number).collect();
        match shared.store.save_checks(&changes).await {
            Ok(()) => saved(shared, &kept),
            Err(StoreError::Conflict(_)) => {
                for change in &changes {
                    match shared.store.save_checks(std::slice::from_ref(change)).await {
                        Ok(()) => saved(shared, &[change.number]),
                        Err(StoreError::Conflict(_)) => lock(&shared.checks.board).remove(change.number),
                        Err(error) => return Err(error),
                    }
                }
            }
            Err(error) => return Err(error),
        }
        written
    }
}

/// A step that is to be written.
pub(crate) struct Pending {
    stepped: Stepped,
    app: Option<AppId>,
    /// What its alert says of the cause.
    diagnosis: String,
    now: Timestamp,
}

async fn write(shared: &Shared, works: Vec<Work>) -> Result<(), StoreError> {
    let (mut changes, mut inputs) = (Vec::new(), Vec::new());
    for work in works {
        changes.push(work.change);
        inputs.extend(work.alerts);
    }
    if inputs.is_empty() {
        return shared.store.save_checks(&changes).await;
    }
    shared.evaluator.lock().await.apply_checks(shared, inputs, changes).await
}

/// What was written is known under its new version.
fn saved(shared: &Shared, numbers: &[u64]) {
    let mut board = lock(&shared.checks.board);
    for number in numbers {
        if let Some(entry) = board.entry(*number) {
            entry.live.version += 1;
            entry.live.unsaved_since = None;
            entry.live.asked_until = None;
            entry.live.pings.clear();
        }
    }
}

fn change_of(shared: &Shared, number: u64, live: &Live) -> CheckChange {
    CheckChange {
        number,
        owner: shared.process.to_string(),
        version: live.version,
        state: live.state.clone(),
        memory: live.memory.clone(),
        heartbeat: live.heartbeat.clone(),
        last: live.last.clone(),
        missed: live.missed,
        asked_until: live.asked_until,
        pings: live.pings.clone(),
        flips: Vec::new(),
        outages: Vec::new(),
    }
}

/// One step of one check. Returns what must be written at once, if anything.
fn step(shared: &Shared, finished: Finished, now: Timestamp) -> Option<Stepped> {
    let mut board = lock(&shared.checks.board);
    let mut around = around(shared, &mut board, finished.number)?;
    let entry = board.entry(finished.number)?;
    // The board's word is newer than the look that was asked for.
    around.paused = entry.paused;
    let check = Arc::clone(&entry.check);
    let live = &mut entry.live;
    live.maintenance = around.maintenance;
    let mut effects = Vec::new();
    let (shown, phase) = (live.state.shown(), live.state.phase());
    let validity = validity(&check);
    if let Some(at) = live.lost_at.take() {
        let ran = Ran { at, outcome: Outcome::Unknown, misconfigured: false, decisive: false };
        effects.extend(live.state.step(&check.thresholds, validity, Some(ran), &around, &mut RandomIds, now));
    }
    let ran = finished.observation.as_ref().map(|observation| Ran {
        at: observation.started_at,
        outcome: observation.outcome,
        misconfigured: observation.reason.is_some_and(Reason::is_misconfigured),
        decisive: observation.reason.is_some_and(Reason::is_decisive),
    });
    effects.extend(live.state.step(&check.thresholds, validity, ran, &around, &mut RandomIds, now));
    if let Some(memory) = finished.memory {
        // What was told is known here, and not to a run that began before it was.
        let certificates = std::mem::take(&mut live.memory.certificates);
        live.memory = Memory { certificates, ..memory };
    }
    let seen = finished.observation.as_ref().filter(|_| !is_held(&around));
    let certificate = seen
        .and_then(|seen| live.memory.certificates.look(seen.certificate.as_ref(), check.warns_of_certificates(), now));
    if let Some(observation) = &finished.observation {
        note(shared, entry, observation, finished.transcript, around.maintenance, finished.lag);
    }
    let live = &mut entry.live;
    let urgent =
        !effects.is_empty() || certificate.is_some() || live.state.shown() != shown || live.state.phase() != phase;
    live.unsaved_since.get_or_insert(now);
    let failing = live.state.is_failing();
    let stepped = urgent.then(|| stepped(shared, entry, check, (effects, certificate), finished.observation, now));
    board.regrid(finished.number, now);
    if let Some(stepped) = &stepped {
        shared.checks.note_failing(&stepped.check.name, failing);
    }
    stepped
}

/// For how long a result speaks for the present.
pub(crate) fn validity(check: &Check) -> Duration {
    match check.kind {
        CheckKind::Heartbeat(_) => HEARTBEAT_VALID,
        _ => check.validity(),
    }
}

/// Whether nobody is to be told anything now.
fn is_held(around: &Around) -> bool {
    around.maintenance || around.blind || around.paused || around.failing_parent.is_some()
}

/// What surrounds a check now.
fn around(shared: &Shared, board: &mut super::board::Board, number: u64) -> Option<Around> {
    let entry = board.entry(number)?;
    let (check, paused) = (Arc::clone(&entry.check), entry.paused);
    let failing_parent = check.parent.clone().filter(|parent| match board.by_name(parent) {
        Some(parent) => parent.live.state.is_failing(),
        None => lock(&shared.checks.failing).contains(parent),
    });
    Some(Around {
        maintenance: shared.checks.in_maintenance(&check),
        blind: shared.checks.control.is_blind() && !matches!(check.kind, CheckKind::Heartbeat(_)),
        paused,
        failing_parent,
    })
}

/// Keeps what a run found.
fn note(
    shared: &Shared,
    entry: &mut Entry,
    observation: &Observation,
    transcript: String,
    maintenance: bool,
    lag: Duration,
) {
    let (number, live) = (entry.number, &mut entry.live);
    if let Some(full) = live.add_run(number, Run::of(observation, maintenance, lag)) {
        lock(&shared.checks.full_rows).push(full);
    }
    match observation.outcome {
        Outcome::Up => {
            live.lines.clear();
            live.kept = None;
        }
        Outcome::Degraded | Outcome::Down => live.add_line(alerts::line(&entry.check, observation)),
        Outcome::Unknown => {}
    }
    if observation.outcome != Outcome::Up {
        let what = alerts::seen(observation);
        let again = live
            .kept
            .as_ref()
            .is_none_or(|(at, before)| *before != what || observation.started_at.since(*at) >= KEPT_EVERY);
        if again {
            live.kept = Some((observation.started_at, what));
            let mut failures = lock(&shared.checks.failures);
            if failures.len() < FAILURES_MAX {
                failures.push((number, Failure { observation: observation.clone(), transcript }));
            } else {
                shared.stats.check_results_lost.up();
            }
        }
    }
    live.last = Some(observation.clone());
}

/// Splits what follows from a step into what is written and what is told.
fn stepped(
    shared: &Shared,
    entry: &mut Entry,
    check: Arc<Check>,
    (effects, certificate): (Vec<Effect>, Option<certificate::News>),
    observation: Option<Observation>,
    now: Timestamp,
) -> Stepped {
    let mut change = change_of(shared, entry.number, &entry.live);
    let mut news = None;
    let outage =
        |id, began_at| OutageRow { id, began_at, ended_at: None, opened_at: None, flapping: false, held: None };
    for effect in effects {
        match effect {
            Effect::Flip(Flip { at, standing }) => change.flips.push(Flip { at, standing }),
            Effect::Opened { id, why, began_at } => {
                let flapping = why == Why::Flapping;
                change.outages.push(OutageRow { opened_at: Some(now), flapping, ..outage(id, began_at) });
                news = Some(News::Opened { id: AlertId(id), why, began_at });
            }
            Effect::Again { id, why } => {
                let began_at = entry.live.state.outage().map_or(now, |outage| outage.began_at);
                change.outages.push(OutageRow { opened_at: Some(now), flapping: true, ..outage(id, began_at) });
                news = Some(News::Again { id: AlertId(id), why, began_at });
            }
            Effect::Held { id, began_at, by } => {
                change.outages.push(OutageRow { held: Some(by), ..outage(id, began_at) });
            }
            Effect::Resolved { id, began_at, ended_at, settled } => {
                let (opened_at, ended) = (Some(now), Some(ended_at));
                change.outages.push(OutageRow {
                    opened_at,
                    ended_at: ended,
                    flapping: settled,
                    ..outage(id, began_at)
                });
                news = Some(News::Resolved { began_at, ended_at, settled });
            }
            Effect::Suppressed { id, began_at, ended_at, by } => {
                change.outages.push(OutageRow { ended_at: Some(ended_at), held: by, ..outage(id, began_at) });
            }
            Effect::Dropped { id } => {
                change.outages.push(OutageRow { opened_at: Some(now), ended_at: Some(now), ..outage(id, now) });
                news = Some(News::Dropped);
            }
        }
    }
    let lines = entry.live.lines.iter().cloned().collect();
    let observation = observation.or_else(|| entry.live.last.clone());
    Stepped { check, change, news, certificate, lines, observation }
}

impl Pending {
    /// The step in the words of its alert.
    fn work(&self) -> Option<Work> {
        let Stepped { check, change, news, certificate, lines, observation } = &self.stepped;
        let app = self.app?;
        let nothing = Observation::bare(self.now, None, String::new());
        let observation = observation.as_ref().unwrap_or(&nothing);
        let key = Key { app, rule: alerts::rule_name(&check.name), group: Group::default() };
        let facts = |began_at: Timestamp| Facts {
            count: lines.len() as u64,
            at: observation.started_at,
            first_at: began_at,
            last_at: observation.started_at.max(began_at),
            ..Facts::default()
        };
        let holds = |began_at, fresh| Verdict::Holds { facts: facts(began_at), until: self.now + alerts::HOLDS, fresh };
        let rule = |measured| alerts::rule_of(check, measured, self.diagnosis.clone());
        let alert = match news {
            None => None,
            Some(News::Opened { id, why, began_at }) => Some((
                rule(alerts::measured(*why, observation)),
                Input::Check { alert: Some(*id), verdict: holds(*began_at, false), lines: lines.clone() },
            )),
            Some(News::Again { id, why, began_at }) => Some((
                rule(alerts::measured(*why, observation)),
                Input::Check { alert: Some(*id), verdict: holds(*began_at, true), lines: lines.clone() },
            )),
            Some(News::Resolved { began_at, ended_at, settled }) => {
                let lasted =
                    dynowatch_domain::parse::show_duration(Duration::from_secs(ended_at.since(*began_at).as_secs()));
                let settled = if *settled { "flapping is over, and it is up: " } else { "" };
                Some((
                    rule(format!("{settled}up again after {lasted}")),
                    Input::Check { alert: None, verdict: Verdict::Fails { matched: None }, lines: Vec::new() },
                ))
            }
            Some(News::Dropped) => Some((rule("paused".to_owned()), Input::Close(ResolveReason::RuleGone))),
        };
        let of_certificate = certificate.map(|news| {
            let (rule, input) = certificates::told(check, news, observation, self.now);
            (Key { group: Group(certificates::GROUP.to_owned()), ..key.clone() }, rule, input)
        });
        let alerts = alert.map(|(rule, input)| (key, rule, input)).into_iter().chain(of_certificate).collect();
        Some(Work { change: change.clone(), alerts })
    }
}
