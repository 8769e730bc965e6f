//! What happens when nothing arrives: due keys are woken, ten-second buckets are flushed and judged, switched-off rules
//! are seen, old rows go. Each is a pass that may be made at any time and as often as one likes; the loops in `crate::run`
//! only decide when, and tests make them by hand.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::alert::{ResolveReason, Verdict};
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rollup::{self, Bucket};
use dynowatch_domain::rule::{Condition, GroupBy, Rule};
use dynowatch_domain::signal::Kind;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::levels::LevelRow;

use crate::apps::lock;
use crate::evaluate::{Input, gone};
use crate::operate::is_stand_in;
use crate::rules::RuleBook;
use crate::{Engine, Shared};

/// How often buckets are flushed and ratios and absences judged.
pub const LEVEL_PASS_EVERY: Duration = rollup::BUCKET;
/// The pause between two flushes of metrics ahead of their time.
pub const CROWDED_PAUSE: Duration = Duration::from_secs(5);
/// How often due keys are looked for.
pub const WAKE_PASS_EVERY: Duration = Duration::from_secs(1);
/// How often the process says that it lives and looks for what others have changed.
pub const REFRESH_PASS_EVERY: Duration = Duration::from_secs(2);
/// How often old rows are removed.
pub const HOUSEKEEPING_EVERY: Duration = Duration::from_secs(600);
/// Keys woken in one transaction.
const WAKE_KEYS_MAX: u32 = 200;
/// Who judges ratios and absences holds this lease; another process takes over when it runs out.
const LEVELS_LEASE: &str = "levels";
const LEVELS_LEASE_TTL: Duration = Duration::from_secs(25);
/// Who removes old rows holds this one, until some time after its next turn.
const HOUSEKEEPING_LEASE: &str = "housekeeping";
const HOUSEKEEPING_LEASE_TTL: Duration = Duration::from_secs(HOUSEKEEPING_EVERY.as_secs() * 3 / 2);
/// Buckets that may wait for a store that is away, over all apps. Older ones are dropped, and counted.
const WAITING_BUCKETS_MAX: usize = 100_000;
/// While metrics are not written this is noted for other processes, and for the next one, so often.
const UNWRITTEN_STORED_EVERY: Duration = Duration::from_secs(600);

/// Rule, app, group and beginning of a bucket.
type BucketKey = (String, AppId, Group, Timestamp);

/// What the passes remember between rounds.
#[derive(Default)]
pub(crate) struct TimerState {
    /// Flushed buckets that the store did not take.
    waiting: Mutex<HashMap<BucketKey, (u64, u64)>>,
    /// Since when each level rule has been looking.
    armed: Mutex<HashMap<String, Timestamp>>,
    /// Metrics are not written at the moment.
    metrics_failing: AtomicBool,
    /// Since when what ratios, absences and rules on metrics rest on was not written for lack of room.
    unwritten: Mutex<Option<Unwritten>>,
}

/// A time in which metrics were not written.
#[derive(Debug, Clone, Copy)]
struct Unwritten {
    since: Timestamp,
    /// Up to when the store knows of it.
    stored_until: Option<Timestamp>,
}

impl Engine {
    /// Wakes every key that is due. Returns how many.
    ///
    /// # Errors
    /// When the store does not answer. Nothing is lost: what was due still is.
    pub async fn wake_pass(&self) -> Result<usize, StoreError> {
        let shared = &*self.shared;
        let mut woken = 0;
        loop {
            let keys = shared.store.due_keys(shared.clock.now(), WAKE_KEYS_MAX).await?;
            let full = keys.len() >= WAKE_KEYS_MAX as usize;
            let book = shared.book.load_full();
            let inputs: Vec<_> = keys.into_iter().map(|key| wake(&book, key)).collect();
            woken += inputs.len();
            apply_in_pieces(shared, inputs).await?;
            if !full {
                return Ok(woken);
            }
        }
    }

    /// Closes what is open under rules that are no longer in force. Returns how many keys were looked at.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn close_orphans(&self) -> Result<usize, StoreError> {
        let shared = &*self.shared;
        let book = shared.book.load_full();
        let of_checks = shared.checks.rule_names();
        let of_rules = book.iter().filter(|rule| book.active(&rule.name).is_some()).map(|rule| rule.name.as_str());
        let active: Vec<&str> = of_rules.chain(of_checks.iter().map(String::as_str)).collect();
        let keys = shared.store.open_tracks_of_rules_not_in(&active).await?;
        let inputs: Vec<_> = keys.into_iter().map(|key| wake(&book, key)).collect();
        let looked_at = inputs.len();
        apply_in_pieces(shared, inputs).await?;
        Ok(looked_at)
    }

    /// Sees what other processes and the CLI have changed: apps, tokens, switched-off rules, objects of the console, blind
    /// times.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh_pass(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        let beat = shared.store.beat_process(shared.process, now).await;
        shared.note_room(beat.as_ref().err());
        beat?;
        self.mourn(false).await?;
        let configuring = shared.configuring.lock().await;
        let quieted: BTreeSet<String> =
            shared.store.disabled_rules(now).await?.into_iter().map(|over| over.rule).collect();
        let book = shared.book.load_full();
        if *book.quieted() != quieted {
            match book.quiet(quieted) {
                Ok(next) => {
                    arm(&shared.timers, &book, &next, now);
                    shared.book.store(Arc::new(next));
                }
                Err(error) => {
                    tracing::error!(%error, "rules that compiled before do not compile now; they stay as they are")
                }
            }
        }
        drop(configuring);
        self.apply_objects(false).await?;
        self.close_orphans().await?;
        let hints = std::mem::take(&mut *lock(&shared.hints));
        for (app, hint) in hints {
            shared.store.set_host_hint(app, &hint).await?;
        }
        self.load_apps().await?;
        self.note_drain_deliveries().await?;
        self.load_sharing().await?;
        let gaps = shared.store.all_blinds_between(now - crate::BLINDS_KEPT, now).await?;
        let releases = shared.store.releases_since(now - dynowatch_domain::release::LOOK_BACK).await?;
        shared.learn(releases, gaps, now);
        Ok(())
    }

    /// Stores what this process holds of metrics, ratios and absences, as before its end.
    pub(crate) async fn flush(&self) -> Result<(), StoreError> {
        let values = crate::metrics::flush(&self.shared, self.now(), true).await;
        flush_gaps(&self.shared).await?;
        flush(&self.shared).await.and(values)
    }

    pub(crate) async fn load_apps(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let _one_at_a_time = shared.loading.lock().await;
        let (apps, tokens) = (shared.store.apps().await?, shared.store.drain_tokens(None).await?);
        shared.apps.replace(apps, tokens, &shared.book.load_full());
        Ok(())
    }

    /// Flushes the buckets of this process, says that it lives, and judges ratios and absences if it is this process's turn.
    ///
    /// # Errors
    /// When the store does not answer; buckets wait for the next flush.
    pub async fn level_pass(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        // What one of them cannot write does not keep the other back, nor the looks: without room these say "unknown".
        let flushed = flush(shared).await;
        let values = crate::metrics::flush(shared, now, false).await;
        let written = flushed.and(values);
        self.note_unwritten(&written, now).await;
        let lines: Vec<(AppId, Timestamp)> = shared
            .apps
            .load()
            .iter()
            .map(|app| (app.id, lock(&app.live.totals).newest_at))
            .filter(|(_, at)| *at > Timestamp::UNIX_EPOCH)
            .collect();
        shared.store.touch_apps(&lines).await?;
        flush_gaps(shared).await?;
        if written.as_ref().is_err_and(StoreError::is_retryable) {
            // The store is away: what it does not take waits, and what it does not give cannot be judged.
            return written;
        }
        if shared.store.acquire_lease(LEVELS_LEASE, &shared.process.to_string(), now, LEVELS_LEASE_TTL).await?.is_some()
        {
            judge(shared, now).await?;
            crate::thresholds::judge(shared, now).await?;
        }
        written
    }

    /// Remembers since when metrics are not written for lack of room: a blind time of what rests on them, which rules then
    /// judge as unknown, and a signal of our own, which tells operators.
    async fn note_unwritten(&self, written: &Result<(), StoreError>, now: Timestamp) {
        let shared = &*self.shared;
        let known = *lock(&shared.timers.unwritten);
        let blind = |from| Blind { reason: BlindReason::Unwritten, from, until: now, lines_lost: None };
        let next = match written {
            Err(error) if !error.is_retryable() => {
                let fresh = Unwritten { since: now - rollup::BUCKET, stored_until: None };
                let mut next = known.unwrap_or(fresh);
                shared.learn(Vec::new(), vec![(None, blind(next.since))], now);
                if next.stored_until.is_none_or(|until| now.since(until) >= UNWRITTEN_STORED_EVERY) {
                    let stored = shared.store.record_blind(None, &blind(next.stored_until.unwrap_or(next.since))).await;
                    next.stored_until = if stored.is_ok() { Some(now) } else { next.stored_until };
                }
                self.note_own(Kind::MetricsUnwritten, None, &format!("metrics could not be written: {error}")).await;
                Some(next)
            }
            Err(_) => known,
            Ok(()) => {
                if let Some(Unwritten { since, stored_until }) = known
                    && let Err(error) = shared.store.record_blind(None, &blind(stored_until.unwrap_or(since))).await
                {
                    tracing::warn!(%error, "that metrics were not written until now could not be stored");
                }
                None
            }
        };
        *lock(&shared.timers.unwritten) = next;
    }

    /// At the end of a process: what it could not write is gone, which the next one must know.
    pub(crate) async fn store_unwritten(&self) {
        let now = self.now();
        let known = *lock(&self.shared.timers.unwritten);
        let from = known.map_or(now - rollup::BUCKET, |known| known.stored_until.unwrap_or(known.since));
        let blind = Blind { reason: BlindReason::Unwritten, from, until: now, lines_lost: None };
        if let Err(error) = self.shared.store.record_blind(None, &blind).await {
            tracing::warn!(%error, "that metrics were not written until now could not be stored");
        }
    }

    /// Since when ratios, absences and rules on metrics are unknown, because metrics cannot be written.
    #[must_use]
    pub fn levels_unknown_since(&self) -> Option<Timestamp> {
        lock(&self.shared.timers.unwritten).map(|unwritten| unwritten.since)
    }

    /// Waits until the open slots of some app take so much that further ones would be late before they are flushed.
    pub async fn crowded(&self) {
        self.shared.metrics.crowded.notified().await;
    }

    /// Stores the values of metrics ahead of their time.
    ///
    /// # Errors
    /// When the store does not answer; the values wait.
    pub async fn crowded_pass(&self) -> Result<(), StoreError> {
        crate::metrics::flush_crowded(&self.shared, self.now()).await
    }

    /// Forgets what is too old to matter: in memory, and in the store if it is this process's turn.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn housekeeping_pass(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        shared.evaluator.lock().await.forget_idle(now);
        let me = shared.process.to_string();
        if shared.store.acquire_lease(HOUSEKEEPING_LEASE, &me, now, HOUSEKEEPING_LEASE_TTL).await?.is_none() {
            return Ok(());
        }
        shared.store.sweep(now).await?;
        let horizon = shared.book.load().iter().map(|rule| rollup::horizon(&rule.condition)).max().unwrap_or_default();
        shared.store.prune_levels(now - horizon - Duration::from_secs(3_600)).await.map(drop)
    }

    /// Whether metrics are being written; `false` while the disk or the database is too full for them.
    #[must_use]
    pub fn metrics_written(&self) -> bool {
        !self.shared.timers.metrics_failing.load(Relaxed) && !self.shared.metrics.is_failing()
    }
}

fn wake(book: &RuleBook, key: Key) -> (Key, Arc<Rule>, Input) {
    match book.active(&key.rule) {
        Some(rule) => (key, Arc::clone(rule), Input::Wake),
        None => {
            let rule = book.get(&key.rule).cloned().unwrap_or_else(|| gone(&key));
            (key, rule, Input::Close(ResolveReason::RuleGone))
        }
    }
}

/// Gives each key its input, some at a time. What cannot be stored is left, logged, and does not hold up the others.
pub(crate) async fn apply_in_pieces(
    shared: &Shared,
    mut inputs: Vec<(Key, Arc<Rule>, Input)>,
) -> Result<(), StoreError> {
    while !inputs.is_empty() {
        let rest = inputs.split_off(inputs.len().min(WAKE_KEYS_MAX as usize));
        let again: Vec<_> =
            inputs.iter().map(|(key, rule, input)| (key.clone(), Arc::clone(rule), input.again())).collect();
        // Not in the `match` itself: its arms lock again, and a guard there would live as long as they do.
        let outcome = shared.evaluator.lock().await.apply(shared, inputs, Vec::new()).await;
        match outcome {
            Ok(_) => {}
            Err(error) if error.is_retryable() => return Err(error),
            Err(_) => {
                for (key, rule, input) in again {
                    let name = rule.name.clone();
                    if let Err(error) =
                        shared.evaluator.lock().await.apply(shared, vec![(key, rule, input)], Vec::new()).await
                    {
                        tracing::error!(rule = name, %error, "the state of one key cannot be stored; it is tried again later");
                    }
                }
            }
        }
        inputs = rest;
    }
    Ok(())
}

async fn flush(shared: &Shared) -> Result<(), StoreError> {
    let rows: Vec<LevelRow> = {
        let mut waiting = lock(&shared.timers.waiting);
        for app in shared.apps.load().iter() {
            for ((_, group, at), sum) in std::mem::take(&mut lock(&app.live.totals).levels) {
                for (rule, total, matched) in sum.by_rule().filter(|(rule, ..)| rule.wants_app(&app.name)) {
                    let sum = waiting.entry((rule.name.clone(), app.id, group.clone(), at)).or_default();
                    sum.0 += total;
                    sum.1 += matched;
                }
            }
        }
        waiting
            .drain()
            .map(|((rule, app, group, at), (total, matched))| LevelRow {
                rule,
                app,
                group,
                bucket: Bucket { at, total, matched },
            })
            .collect()
    };
    if rows.is_empty() {
        return Ok(());
    }
    let outcome = shared.store.add_levels(&rows).await;
    if let Err(error) = &outcome {
        shared.stats.level_flush_failures.up();
        if !shared.timers.metrics_failing.swap(true, Relaxed) {
            tracing::error!(%error, "metrics are not written; alerts on counts go on, ratios and absences are unknown");
        }
        let mut waiting = lock(&shared.timers.waiting);
        let room = WAITING_BUCKETS_MAX.saturating_sub(waiting.len());
        shared.stats.level_buckets_dropped.add(rows.len().saturating_sub(room) as u64);
        // What is dropped was not seen.
        for row in rows.iter().skip(room) {
            let until = row.bucket.at + rollup::BUCKET;
            shared.remember_gap(
                row.app,
                Blind { reason: BlindReason::Refused, from: row.bucket.at, until, lines_lost: None },
            );
        }
        for row in rows.into_iter().take(room) {
            waiting.insert((row.rule, row.app, row.group, row.bucket.at), (row.bucket.total, row.bucket.matched));
        }
    } else if shared.timers.metrics_failing.swap(false, Relaxed) {
        tracing::info!("metrics are written again");
    }
    outcome
}

/// Writes down which batches were turned away, for processes that come after. What is not written waits.
async fn flush_gaps(shared: &Shared) -> Result<(), StoreError> {
    loop {
        let Some((app, gap)) = lock(&shared.gaps).pop() else { return Ok(()) };
        if let Err(error) = shared.store.record_blind(app, &gap).await {
            lock(&shared.gaps).push((app, gap));
            return Err(error);
        }
    }
}

/// Judges every ratio and absence whose alert is open or whose condition holds.
async fn judge(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let book = shared.book.load_full();
    let levels: Vec<Arc<Rule>> = book
        .iter()
        .filter(|rule| book.active(&rule.name).is_some() && rule.condition.reads_buckets())
        .cloned()
        .collect();
    let Some(horizon) = levels.iter().map(|rule| rollup::horizon(&rule.condition)).max() else { return Ok(()) };
    let names: Vec<&str> = levels.iter().map(|rule| rule.name.as_str()).collect();
    let mut by_key: BTreeMap<Key, Vec<Bucket>> = BTreeMap::new();
    for row in shared.store.load_levels(&names, now - horizon).await? {
        by_key.entry(Key { app: row.app, rule: row.rule, group: row.group }).or_default().push(row.bucket);
    }
    let open: BTreeSet<Key> = shared
        .store
        .load_open()
        .await?
        .into_iter()
        .map(|(key, ..)| key)
        .filter(|key| names.contains(&key.rule.as_str()))
        .collect();
    for key in &open {
        by_key.entry(key.clone()).or_default();
    }
    add_silent_apps(shared, &levels, &mut by_key);
    // A process that died had up to a bucket that it had not flushed.
    let unflushed = |blind: &Blind| if blind.reason == BlindReason::Down { rollup::BUCKET } else { Duration::ZERO };
    let blinds: Vec<_> = lock(&shared.blinds)
        .iter()
        .map(|(app, blind)| (*app, Blind { from: blind.from - unflushed(blind), ..blind.clone() }))
        .collect();
    let directory = shared.apps.load_full();
    let mut inputs = Vec::new();
    for (key, buckets) in by_key {
        let Some(rule) = book.active(&key.rule) else { continue };
        let of_app: Vec<Blind> = blinds
            .iter()
            .filter(|(app, _)| app.is_none_or(|app| app == key.app))
            .map(|(_, blind)| blind.clone())
            .collect();
        let app = directory.by_id(key.app);
        if !app.is_some_and(|app| rule.wants_app(&app.name)) {
            // The rule is no longer for this app.
            inputs.extend(open.contains(&key).then(|| (key, Arc::clone(rule), Input::Close(ResolveReason::RuleGone))));
            continue;
        }
        let known_since = app.map_or(shared.started_at, |app| app.known_since);
        let armed_at = *lock(&shared.timers.armed).entry(rule.name.clone()).or_insert(shared.started_at);
        let armed_at = armed_at.max(known_since);
        let verdict = rollup::judge(rule, &buckets, &of_app, armed_at, open.contains(&key), now);
        // A key at rest whose condition does not hold stays at rest: nothing to store.
        if open.contains(&key) || matches!(verdict, Verdict::Holds { .. }) {
            inputs.push((key, Arc::clone(rule), Input::Verdict(verdict)));
        }
    }
    apply_in_pieces(shared, inputs).await
}

/// An absence without a precondition is also judged where there is not a single bucket. The silence of a stand-in means nothing.
fn add_silent_apps(shared: &Shared, levels: &[Arc<Rule>], by_key: &mut BTreeMap<Key, Vec<Bucket>>) {
    let by_app_alone = |rule: &Rule| rule.group_by.iter().all(|by| *by == GroupBy::App);
    for rule in levels
        .iter()
        .filter(|rule| by_app_alone(rule) && matches!(rule.condition, Condition::Absence { lively: None, .. }))
    {
        for app in shared.apps.load().iter().filter(|app| rule.wants_app(&app.name) && !is_stand_in(&app.name)) {
            by_key.entry(Key { app: app.id, rule: rule.name.clone(), group: Group::default() }).or_default();
        }
    }
}

/// Notes since when rules look that were not there before.
pub(crate) fn arm(state: &TimerState, before: &RuleBook, after: &RuleBook, now: Timestamp) {
    let mut armed = lock(&state.armed);
    for rule in after.iter().filter(|rule| after.active(&rule.name).is_some()) {
        if before.active(&rule.name).is_none_or(|old| old.condition != rule.condition) {
            armed.insert(rule.name.clone(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bed::Bed;

    #[tokio::test]
    async fn a_key_that_cannot_be_stored_holds_up_no_other() {
        let bed = Bed::new().await;
        let engine = &bed.engine;
        let shop = engine.apps().by_name("shop").unwrap().id;
        let unknown = AppId(uuid::Uuid::from_u128(7));
        let condition = Condition::Absence { fewer_than: 1, window: Duration::from_secs(60), lively: None };
        let rule = Arc::new(Rule::new("silent", dynowatch_domain::rule::MatchSpec::default(), condition));
        let holds = |app| {
            let facts = dynowatch_domain::alert::Facts::default();
            let verdict = Verdict::Holds { facts, until: engine.now(), fresh: false };
            (Key { app, rule: rule.name.clone(), group: Group::default() }, Arc::clone(&rule), Input::Verdict(verdict))
        };
        let pieces = apply_in_pieces(&engine.shared, vec![holds(unknown), holds(shop)]);
        tokio::time::timeout(Duration::from_secs(20), pieces).await.expect("no lock is held for ever").unwrap();
        let open = engine.store().load_open().await.unwrap();
        assert_eq!(open.iter().map(|(key, ..)| key.app).collect::<Vec<_>>(), [shop]);
    }
}
