//! Rules on metrics, looked at every ten seconds by whichever process holds the lease of levels. What was flushed since the
//! last look is read from the store, so that values which other processes took count as well; the last minutes of the
//! metrics that rules ask for stay in memory. Judging is `domain::threshold`'s.
//!
//! A process that takes the lease over, or a rule that asks for a metric nobody asked for before, reads the last minutes
//! anew: nothing here must survive. What one rule says of one app is a [`Look`], the same for `serve` and `replay`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::alert::{ResolveReason, Verdict};
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::key::Key;
use dynowatch_domain::metric::{SLOT, SeriesKey, chunk};
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::threshold::{self, KNOWN_FOR, NoData, Reading, Recent, Threshold};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::metric_recent::{RECENT_MAX, RecentChunk};

use crate::Shared;
use crate::apps::lock;
use crate::evaluate::Input;
use crate::timers::apply_in_pieces;

/// A chunk may become visible this much after one that was written later.
const OVERLAP: Duration = Duration::from_secs(30);
/// Lines that come this late still count in their window.
const LATE: Duration = Duration::from_secs(60);
/// Series note that they are alive this often at least.
const NOTED_EVERY: Duration = Duration::from_secs(26 * 3_600);

/// The values that rules ask for, as far as they were read.
#[derive(Default)]
pub(crate) struct Thresholds(tokio::sync::Mutex<State>);

/// What a set of rules needs to know.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The metrics.
    pub(crate) metrics: BTreeSet<String>,
    /// For how long their values are kept.
    pub(crate) horizon: Duration,
}

impl Asked {
    pub(crate) fn by<'a>(thresholds: impl Iterator<Item = &'a Threshold>) -> Self {
        let mut asked = Self::default();
        for threshold in thresholds {
            asked.metrics.extend(threshold.reads().into_iter().map(str::to_owned));
            // Whose silence is news must have been heard before.
            let known_for = if threshold.no_data == NoData::Fire { KNOWN_FOR } else { Duration::ZERO };
            asked.horizon = asked.horizon.max(threshold.window + LATE).max(known_for);
        }
        asked
    }
}

#[derive(Default)]
struct State {
    /// What was kept; where rules ask for something else, all is read anew.
    asked: Asked,
    apps: HashMap<AppId, OfApp>,
    /// Up to when chunks were read, and which of the last ones.
    read_until: Option<Timestamp>,
    read: BTreeMap<i64, Timestamp>,
}

#[derive(Default)]
struct OfApp {
    recent: Recent,
    /// The dictionary: `None` for series of metrics that nobody asks for.
    series: HashMap<u64, Option<SeriesKey>>,
}

/// Judges every threshold whose alert is open or whose limit is passed.
pub(crate) async fn judge(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let book = shared.book.load_full();
    let rules: Vec<(&Arc<Rule>, &Threshold)> = book
        .iter()
        .filter(|rule| book.active(&rule.name).is_some())
        .filter_map(|rule| match &rule.condition {
            Condition::Threshold(threshold) => Some((rule, threshold)),
            _ => None,
        })
        .collect();
    let mut state = shared.thresholds.0.lock().await;
    if rules.is_empty() {
        *state = State::default();
        return Ok(());
    }
    state.ask_for(Asked::by(rules.iter().map(|(_, threshold)| *threshold)));
    state.read(shared, now).await?;
    let open = shared.store.load_open().await?.into_iter();
    let mut open: BTreeMap<Key, bool> = open
        .filter(|(key, ..)| rules.iter().any(|(rule, _)| rule.name == key.rule))
        .map(|(key, _, track)| (key, track.firing().is_some()))
        .collect();
    let (blinds, room) = (blinds(shared), shared.limits.groups_per_rule);
    let mut inputs = Vec::new();
    for app in shared.apps.load_full().iter() {
        let recent = state.apps.get(&app.id).map(|of_app| &of_app.recent);
        for (rule, threshold) in rules.iter().filter(|(rule, _)| rule.wants_app(&app.name)) {
            let look = Look { app: app.id, rule, threshold, recent, blinds: &blinds, room, now };
            let input = |key, verdict| inputs.push((key, Arc::clone(*rule), Input::Verdict(verdict)));
            shared.stats.groups_overflowed.add(look.verdicts(&mut open, input));
        }
    }
    drop(state);
    // What is left is of apps that the rule is no longer for.
    let gone =
        |key: Key| Some((key.clone(), Arc::clone(book.active(&key.rule)?), Input::Close(ResolveReason::RuleGone)));
    inputs.extend(open.into_keys().filter_map(gone));
    apply_in_pieces(shared, inputs).await
}

/// One rule, one app, and all that is known of both.
pub(crate) struct Look<'a> {
    pub(crate) app: AppId,
    pub(crate) rule: &'a Rule,
    pub(crate) threshold: &'a Threshold,
    /// The app's last minutes; `None` when nothing is known of it.
    pub(crate) recent: Option<&'a Recent>,
    /// Blind times of all apps.
    pub(crate) blinds: &'a [(Option<AppId>, Blind)],
    /// The most groups of a rule in one app.
    pub(crate) room: usize,
    pub(crate) now: Timestamp,
}

impl Look<'_> {
    /// Gives what the rule says of each key with something open or whose limit is passed. Takes the app's open keys out of
    /// `open`, which knows whether their alert has fired. Returns how many groups found no room.
    pub(crate) fn verdicts(&self, open: &mut BTreeMap<Key, bool>, mut each: impl FnMut(Key, Verdict)) -> u64 {
        let (threshold, now) = (self.threshold, self.now);
        let of_rule = |key: &Key| key.app == self.app && key.rule == self.rule.name;
        let opened: Vec<Key> = open.keys().filter(|key| of_rule(key)).cloned().collect();
        if opened.is_empty() && !self.recent.is_some_and(|recent| recent.may_fire(threshold, now)) {
            return 0;
        }
        let from = now - threshold.window;
        let blind = self.blinds.iter().any(|(of, blind)| of.is_none_or(|of| of == self.app) && blind.meets(from, now));
        let readings = self.recent.map(|recent| recent.readings(threshold, &self.rule.group_by, blind, now));
        let mut readings = readings.unwrap_or_default();
        // What was forgotten, or never read by this process, is without data.
        let nothing = Reading { value: None, adds_up: false, blind, first_at: from };
        for key in opened {
            readings.entry(key.group).or_insert(nothing);
        }
        let (mut room, mut overflowed) = (self.room, 0);
        for (group, reading) in readings {
            let key = Key { app: self.app, rule: self.rule.name.clone(), group };
            let fired = open.remove(&key);
            let verdict = threshold::judge(threshold, &reading, fired == Some(true), now);
            // A key at rest whose limit is not passed stays at rest: nothing to store.
            if fired.is_none() {
                if !matches!(verdict, Verdict::Holds { .. }) {
                    continue;
                }
                if room == 0 {
                    overflowed += 1;
                    continue;
                }
            }
            room = room.saturating_sub(1);
            each(key, verdict);
        }
        overflowed
    }
}

/// Our blind times. A process that died had up to ten seconds that it had not flushed.
fn blinds(shared: &Shared) -> Vec<(Option<AppId>, Blind)> {
    lock(&shared.blinds).iter().map(|(app, blind)| (*app, unflushed(blind.clone()))).collect()
}

/// The same time with what was not flushed then.
pub(crate) fn unflushed(blind: Blind) -> Blind {
    let lost = if blind.reason == BlindReason::Down { SLOT } else { Duration::ZERO };
    Blind { from: blind.from - lost, ..blind }
}

impl State {
    /// Begins anew when rules ask for other metrics or look back further than before.
    fn ask_for(&mut self, asked: Asked) {
        if asked.metrics != self.asked.metrics || asked.horizon > self.asked.horizon {
            *self = Self { asked, ..Self::default() };
        }
    }

    /// Reads what was flushed since the last time.
    async fn read(&mut self, shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
        let horizon = now - self.asked.horizon;
        let mut since = self.read_until.map_or(horizon, |until| (until - OVERLAP).max(horizon));
        loop {
            let chunks = shared.store.chunks_since(since).await?;
            let full = chunks.len() >= RECENT_MAX as usize;
            let last = chunks.last().map(|chunk| chunk.at);
            let unread: Vec<RecentChunk> =
                chunks.into_iter().filter(|chunk| !self.read.contains_key(&chunk.id)).collect();
            let mut unread = unread.as_slice();
            while !unread.is_empty() {
                let bodies = shared.store.chunk_bodies(unread).await?;
                let (first, rest) = unread.split_at(bodies.len().clamp(1, unread.len()));
                for (chunk, body) in first.iter().zip(bodies) {
                    if let Some(body) = body {
                        self.take(shared, chunk.app, &body, now).await?;
                    }
                    self.read.insert(chunk.id, chunk.at);
                }
                unread = rest;
            }
            match last.filter(|last| full && *last > since) {
                Some(last) => since = last,
                None => break,
            }
        }
        self.read_until = Some(now);
        self.read.retain(|_, at| *at + OVERLAP + OVERLAP > now);
        for of_app in self.apps.values_mut() {
            of_app.recent.forget_before(horizon, now);
        }
        self.apps.retain(|_, of_app| !of_app.recent.is_empty());
        Ok(())
    }

    async fn take(&mut self, shared: &Shared, app: AppId, body: &[u8], now: Timestamp) -> Result<(), StoreError> {
        let of_app = self.apps.entry(app).or_default();
        let mut unknown = false;
        let look = |unknown: &mut bool, of_app: &OfApp| {
            chunk::unpack(
                body,
                |series| {
                    *unknown |= !of_app.series.contains_key(&series);
                    false
                },
                |_, _, _| {},
            )
        };
        look(&mut unknown, of_app).ok_or_else(corrupt)?;
        if unknown {
            for (id, key) in shared.store.series_of(app, now - NOTED_EVERY).await? {
                let wanted = self.asked.metrics.contains(&*key.metric);
                of_app.series.insert(id, wanted.then_some(key));
            }
        }
        let OfApp { recent, series } = of_app;
        let mut values = Vec::new();
        chunk::unpack(
            body,
            |id| series.get(&id).is_some_and(Option::is_some),
            |id, at, value| values.push((id, at, value)),
        )
        .ok_or_else(corrupt)?;
        for (id, at, value) in values {
            if let Some(Some(key)) = series.get(&id) {
                recent.add(key, at, &value);
            }
        }
        Ok(())
    }
}

fn corrupt() -> StoreError {
    StoreError::Corrupt { what: "a chunk of metrics".to_owned() }
}
