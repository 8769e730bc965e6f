//! Rules on metrics over a log: the values that some rule asks for, gathered by the recorder that `serve` uses and judged by
//! the same looks, without a store between. Where no rule asks for a metric, nothing here exists.
//!
//! A log has many levels and few that are news. So a level's values wait in a row, untouched, until one of them shows that a
//! limit may be passed ([`Sign`]), or something is open; only then they become slots. Every ten seconds of the log's time
//! the rules that have a reason look at the last minutes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dynowatch_domain::alert::Verdict;
use dynowatch_domain::app_event::EventKind;
use dynowatch_domain::blind::Blind;
use dynowatch_domain::key::Key;
use dynowatch_domain::metric::catalogue;
use dynowatch_domain::metric::{Gauge, Kind, SLOT, SeriesKey, Value};
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::threshold::{Recent, Sign, Threshold};
use dynowatch_domain::{AppId, Timestamp};

use crate::metrics::{BatchMetrics, Formation, Recorder, add_formation};
use crate::thresholds::{Asked, Look};

/// Values of one metric that wait; when there are more, all become slots.
const WAITING_MAX: usize = 100_000;
/// A series whose values do not wait.
const AT_ONCE: u32 = u32::MAX;

/// The values that rules ask for, of one app.
pub(super) struct Metrics {
    watched: Vec<Watched>,
    asked: Asked,
    recorder: Recorder,
    recent: Recent,
    formation: Option<Formation>,
    levels: Levels,
}

/// A rule, and until when it has a reason to look.
struct Watched {
    rule: Arc<Rule>,
    threshold: Threshold,
    /// By what a level tells that it may be passed; `None`: it always looks.
    sign: Option<Sign>,
    look_until: Timestamp,
}

/// Levels as they came.
#[derive(Default)]
struct Levels {
    /// By the series' place in the recorder.
    series: Vec<Series>,
    metrics: Vec<OfMetric>,
}

/// The levels of one metric.
struct OfMetric {
    metric: Arc<str>,
    /// The places of the rules about it.
    rules: Vec<usize>,
    waiting: VecDeque<Waiting>,
}

struct Series {
    key: Option<SeriesKey>,
    /// The place of its metric, or [`AT_ONCE`].
    metric: u32,
    last: Option<f64>,
}

#[derive(Clone, Copy)]
struct Waiting {
    series: u32,
    slot: Timestamp,
    value: f64,
}

/// What the rules say, and how many groups found no room.
pub(super) struct Looked {
    pub(super) verdicts: Vec<(Key, Arc<Rule>, Verdict)>,
    pub(super) overflowed: u64,
}

impl Metrics {
    /// For these rules; `None` when none of them asks for a metric.
    pub(super) fn of<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>) -> Option<Self> {
        let watched: Vec<Watched> = rules
            .filter_map(|rule| {
                let Condition::Threshold(threshold) = &rule.condition else { return None };
                // Of the team's own metrics nobody knows the kind beforehand.
                let sign = catalogue::info(&threshold.metric).and_then(|info| threshold.sign(info.kind));
                let look_until = Timestamp::from_micros(i64::MIN);
                Some(Watched { rule: Arc::clone(rule), threshold: threshold.clone(), sign, look_until })
            })
            .collect();
        let asked = Asked::by(watched.iter().map(|one| &one.threshold));
        let recorder = Recorder::only(&asked.metrics);
        let (recent, levels) = (Recent::default(), Levels::default());
        (!watched.is_empty()).then(|| Self { watched, asked, recorder, recent, formation: None, levels })
    }

    /// What lines are read with.
    #[inline]
    pub(super) fn recorder(&mut self) -> &mut Recorder {
        &mut self.recorder
    }

    /// Whether it is one of these rules.
    pub(super) fn has(&self, rule: &str) -> bool {
        self.watched.iter().any(|known| known.rule.name == rule)
    }

    /// Takes what lines told.
    pub(super) fn take(&mut self, batch: &mut BatchMetrics, now: Timestamp) {
        let (levels, watched) = (&mut self.levels, &mut self.watched);
        self.recorder.apply_rest(batch, now, |series, key, slot, value| levels.take(series, key, slot, value, watched));
        batch.clear();
    }

    /// Takes a value as it was stored.
    pub(super) fn know(&mut self, key: &SeriesKey, at: Timestamp, value: &Value) {
        if self.asked.metrics.contains(&*key.metric) {
            self.recent.add(key, at, value);
            self.watched
                .iter_mut()
                .filter(|one| *one.threshold.metric == *key.metric)
                .for_each(|one| one.has_reason(at));
        }
    }

    /// Looks. `open` holds the keys with something open and whether their alert has fired, `room` is the most groups of a
    /// rule.
    pub(super) fn look(
        &mut self,
        app: AppId,
        blinds: &[(Option<AppId>, Blind)],
        open: &mut BTreeMap<Key, bool>,
        room: usize,
        now: Timestamp,
    ) -> Looked {
        self.close_slots();
        let mut looked = Looked { verdicts: Vec::new(), overflowed: 0 };
        for Watched { rule, threshold, sign, look_until } in &self.watched {
            let reason = sign.is_none() || *look_until > now || open.keys().any(|key| key.rule == rule.name);
            if !reason {
                continue;
            }
            self.levels.settle(|metric| threshold.reads().contains(&metric), &mut self.recent);
            let look = Look { app, rule, threshold, recent: Some(&self.recent), blinds, room, now };
            looked.overflowed +=
                look.verdicts(open, |key, verdict| looked.verdicts.push((key, Arc::clone(rule), verdict)));
        }
        let before = now - self.asked.horizon;
        self.recent.forget_before(before, now);
        self.levels.forget_before(before, &mut self.recent);
        looked
    }

    /// Takes what does not wait: what is counted, and where the app was seen.
    fn close_slots(&mut self) {
        let mut taken = self.recorder.take();
        add_formation(self.formation.as_ref(), &mut taken);
        // As in `serve`, a scaling is in force from the next slots on.
        for event in self.recorder.events.take().0 {
            if event.kind == EventKind::Scale
                && let Some(formation) = Formation::scaled(self.formation.as_ref(), &event)
            {
                self.formation = Some(formation);
            }
        }
        for (key, at, value) in taken.iter().filter(|(key, ..)| self.asked.metrics.contains(&*key.metric)) {
            self.recent.add(key, *at, value);
            self.watched
                .iter_mut()
                .filter(|one| *one.threshold.metric == *key.metric)
                .for_each(|one| one.has_reason(*at));
        }
    }
}

impl Watched {
    /// What lies in that slot may pass its limit.
    fn has_reason(&mut self, slot: Timestamp) {
        self.look_until = self.look_until.max(slot + SLOT + self.threshold.window);
    }
}

impl Levels {
    /// Takes a value if it is a level's. What it shows gives rules a reason to look.
    #[inline]
    fn take(&mut self, series: u32, key: &SeriesKey, slot: Timestamp, value: f64, watched: &mut [Watched]) -> bool {
        if series as usize >= self.series.len() || self.series.get(series as usize).is_some_and(|one| one.key.is_none())
        {
            self.learn(series, key, watched);
        }
        let Some(known) = self.series.get_mut(series as usize) else { return false };
        let Some(metric) = self.metrics.get_mut(known.metric as usize) else { return false };
        for rule in &metric.rules {
            if let Some(one) = watched.get_mut(*rule)
                && one.sign.is_some_and(|sign| sign.shows(&one.threshold, known.last, value))
            {
                one.has_reason(slot);
            }
        }
        known.last = Some(value);
        metric.waiting.push_back(Waiting { series, slot, value });
        true
    }

    #[cold]
    fn learn(&mut self, series: u32, key: &SeriesKey, watched: &[Watched]) {
        while self.series.len() <= series as usize {
            self.series.push(Series { key: None, metric: AT_ONCE, last: None });
        }
        let metric = if key.kind == Kind::Gauge {
            let known = self.metrics.iter().position(|known| known.metric == key.metric);
            let place = known.unwrap_or_else(|| {
                let about = |one: &Watched| *one.threshold.metric == *key.metric;
                let rules = watched.iter().enumerate().filter(|(_, one)| about(one)).map(|(place, _)| place).collect();
                self.metrics.push(OfMetric { metric: Arc::clone(&key.metric), rules, waiting: VecDeque::new() });
                self.metrics.len() - 1
            });
            u32::try_from(place).unwrap_or(AT_ONCE)
        } else {
            AT_ONCE
        };
        if let Some(one) = self.series.get_mut(series as usize) {
            (one.key, one.metric) = (Some(key.clone()), metric);
        }
    }

    /// Makes slots of the values of these metrics.
    fn settle(&mut self, wanted: impl Fn(&str) -> bool, recent: &mut Recent) {
        for of_metric in self.metrics.iter_mut().filter(|of| wanted(&of.metric)) {
            for Waiting { series, slot, value } in of_metric.waiting.drain(..) {
                if let Some(key) = self.series.get(series as usize).and_then(|one| one.key.as_ref()) {
                    recent.add(key, slot, &Value::Gauge(Gauge::once(value)));
                }
            }
        }
    }

    /// Forgets what no rule looks back at. Where too much waits for that, it becomes slots.
    fn forget_before(&mut self, before: Timestamp, recent: &mut Recent) {
        for OfMetric { waiting, .. } in &mut self.metrics {
            while waiting.front().is_some_and(|first| first.slot + SLOT <= before) {
                waiting.pop_front();
            }
        }
        while let Some(full) = self.metrics.iter().find(|of| of.waiting.len() > WAITING_MAX) {
            let full = Arc::clone(&full.metric);
            self.settle(|metric| *metric == *full, recent);
        }
    }
}
