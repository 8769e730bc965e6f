//! The last minutes of the metrics that rules ask for, and what they come to for each key of a rule. Values of dynos merge
//! before they are aggregated, so that a percentile of a process type is one of all its requests.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Aggregate, NoData, PercentOf, Reading, Threshold};
use crate::Timestamp;
use crate::key::Group;
use crate::metric::catalogue::{self, resolution};
use crate::metric::query::SEEN_METRIC;
use crate::metric::{Kind, SLOT, SeriesKey, Value};
use crate::rule::GroupBy;

/// A series is known for this long after its last value: so long can its silence be told from its never having been.
pub const KNOWN_FOR: Duration = Duration::from_secs(2 * 3_600);
/// The most series of one app that are looked at; the metrics themselves have no more.
const SERIES_MAX: usize = 10_000;
/// A metric that is none: the load that Heroku calls acceptable for a dyno of that size. Only to take a percentage of.
pub const LOAD_LIMIT: &str = "dyno.load_limit";
const QUOTA: &str = "dyno.memory_quota_mb";

/// The acceptable load by the memory of the dyno's size, in MB up to which it is so: Eco, Basic and Standard share their
/// CPUs; Performance-M has 2, -L 8, -L-RAM 4, -XL 8, -2XL 16 (Heroku's help page "What is an acceptable amount of Dyno
/// load?").
const LOAD_LIMITS: [(f64, f64); 6] =
    [(1_100.0, 1.0), (2_600.0, 2.0), (16_000.0, 8.0), (31_000.0, 4.0), (65_000.0, 8.0), (f64::INFINITY, 16.0)];
/// Of a dyno whose size no line has told: that of the smallest.
const LOAD_LIMIT_UNKNOWN: f64 = 1.0;

/// One app's values.
#[derive(Debug, Clone, Default)]
pub struct Recent {
    /// By metric.
    metrics: BTreeMap<Arc<str>, BTreeMap<SeriesKey, Tail>>,
    /// How many series there are in all.
    known: usize,
}

/// Of one series.
#[derive(Debug, Clone)]
struct Tail {
    newest_at: Timestamp,
    /// By the beginning of the slot, in order.
    values: Vec<(Timestamp, Value)>,
}

/// What a single value of a level must be like before anything can pass the limit. Where no value shows it, nothing is to be
/// worked out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sign {
    /// It is beyond the limit, when multiplied with this: no mean, least, greatest or newest value is beyond it otherwise.
    Beyond(f64),
    /// It differs from the one before it: what does not change has a rate of zero.
    Change,
}

impl Sign {
    /// Whether a value shows it, after the one before it of the same series.
    #[inline]
    #[must_use]
    pub fn shows(self, threshold: &Threshold, before: Option<f64>, value: f64) -> bool {
        match self {
            Self::Beyond(scale) => threshold.fires.holds(value * scale),
            #[expect(clippy::float_cmp, reason = "any change at all is one")]
            Self::Change => before.is_some_and(|before| before != value),
        }
    }
}

impl Threshold {
    /// By what a single value of a metric of that kind tells that the limit may be passed; `None` when single values do not
    /// tell, as where something is counted, or where silence is news.
    #[must_use]
    pub fn sign(&self, kind: Kind) -> Option<Sign> {
        let one = matches!(
            self.aggregation_of(Kind::Gauge),
            Aggregate::Avg | Aggregate::Min | Aggregate::Max | Aggregate::Last
        );
        if kind != Kind::Gauge || !one || self.no_data == NoData::Fire {
            return None;
        }
        match (&self.percent_of, self.rate_per) {
            (None, None) => Some(Sign::Beyond(1.0)),
            (None, Some(_)) if !self.fires.holds(0.0) => Some(Sign::Change),
            // No dyno has a lower limit than one.
            (Some(PercentOf::Metric(name)), None) if name == LOAD_LIMIT && self.fires.is_upper() => {
                Some(Sign::Beyond(100.0))
            }
            _ => None,
        }
    }

    /// The metrics that it reads.
    #[must_use]
    pub fn reads(&self) -> Vec<&str> {
        let of = match &self.percent_of {
            Some(PercentOf::Metric(name)) if name == LOAD_LIMIT => Some(QUOTA),
            Some(PercentOf::Metric(name)) => Some(name.as_str()),
            _ => None,
        };
        [self.metric.as_str(), SEEN_METRIC].into_iter().chain(of).collect()
    }

    fn aggregation_of(&self, kind: Kind) -> Aggregate {
        self.aggregation.unwrap_or(match kind {
            _ if self.metric == "dyno.count" => Aggregate::Sum,
            Kind::Counter => Aggregate::Sum,
            Kind::Gauge => Aggregate::Avg,
            Kind::Distribution => Aggregate::Quantile(950_000),
        })
    }
}

impl Recent {
    /// Adds a value of ten seconds; several of one slot add up.
    pub fn add(&mut self, key: &SeriesKey, at: Timestamp, value: &Value) {
        let Some(tail) = self.tail(key, at) else { return };
        match tail.values.binary_search_by_key(&at, |(at, _)| *at) {
            Ok(i) => {
                if let Some((_, known)) = tail.values.get_mut(i) {
                    known.merge(value);
                }
            }
            Err(i) => tail.values.insert(i, (at, value.clone())),
        }
    }

    /// Remembers that a series had a value then, whatever it was.
    pub fn know(&mut self, key: &SeriesKey, newest_at: Timestamp) {
        self.tail(key, newest_at);
    }

    /// A series, of which something was heard then; `None` when there is no room for another.
    fn tail(&mut self, key: &SeriesKey, heard_at: Timestamp) -> Option<&mut Tail> {
        let known = self.metrics.get(&*key.metric).is_some_and(|series| series.contains_key(key));
        if !known {
            if self.known >= SERIES_MAX {
                return None;
            }
            self.known += 1;
            let series = self.metrics.entry(Arc::clone(&key.metric)).or_default();
            series.insert(key.clone(), Tail { newest_at: heard_at, values: Vec::new() });
        }
        let tail = self.metrics.get_mut(&*key.metric)?.get_mut(key)?;
        tail.newest_at = tail.newest_at.max(heard_at);
        Some(tail)
    }

    /// Forgets values before that moment, and series that were silent for [`KNOWN_FOR`].
    pub fn forget_before(&mut self, before: Timestamp, now: Timestamp) {
        for series in self.metrics.values_mut() {
            series.retain(|_, tail| {
                let old = tail.values.partition_point(|(at, _)| *at + SLOT <= before);
                tail.values.drain(..old);
                tail.newest_at + KNOWN_FOR > now
            });
        }
        self.metrics.retain(|_, series| !series.is_empty());
        self.known = self.metrics.values().map(BTreeMap::len).sum();
    }

    /// Whether nothing is known of the app any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known == 0
    }

    /// Whether any key could pass the limit now. A quick look that errs on the side of yes.
    #[must_use]
    pub fn may_fire(&self, threshold: &Threshold, now: Timestamp) -> bool {
        let kind = self.kind_of(&threshold.metric);
        let Some(sign) = kind.and_then(|kind| threshold.sign(kind)) else { return true };
        let from = now - threshold.window;
        self.of_metric(&threshold.metric).any(|(_, tail)| {
            let mut before = None;
            tail.since(from).iter().any(|(_, value)| match value {
                Value::Gauge(gauge) => [gauge.min, gauge.max].into_iter().any(|value| {
                    let shown = sign.shows(threshold, before, value);
                    before = Some(value);
                    shown
                }),
                Value::Counter(_) | Value::Distribution(_) => true,
            })
        })
    }

    /// A reading for every key that has or had a value. `blind` says that we did not see everything in the window.
    #[must_use]
    pub fn readings(
        &self,
        threshold: &Threshold,
        group_by: &[GroupBy],
        blind: bool,
        now: Timestamp,
    ) -> BTreeMap<Group, Reading> {
        let from = now - threshold.window;
        let kind = self.kind_of(&threshold.metric);
        let mut groups: BTreeMap<Group, Vec<(&SeriesKey, &Tail)>> = BTreeMap::new();
        for (key, tail) in self.of_metric(&threshold.metric) {
            if Some(key.kind) == kind && threshold.wants(&key.source, &key.label) {
                groups.entry(Group::of_series(group_by, &key.source, &key.label)).or_default().push((key, tail));
            }
        }
        // What is counted for the whole app is zero where the app was seen, though nothing was ever counted.
        let counted = kind.or(catalogue::info(&threshold.metric).map(|info| info.kind)) == Some(Kind::Counter);
        if counted && groups.is_empty() && group_by.iter().all(|by| *by == GroupBy::App) {
            groups.insert(Group::default(), Vec::new());
        }
        let zero = (counted && !blind && self.seen_since(from)).then_some(0.0);
        let aggregation = threshold.aggregation_of(kind.unwrap_or(Kind::Counter));
        let adds_up = counted || aggregation.adds_up() && kind == Some(Kind::Distribution);
        groups
            .into_iter()
            .map(|(group, members)| {
                let first_at = members.iter().flat_map(|(_, tail)| tail.since(from)).map(|(at, _)| *at).min();
                let value = self.value(threshold, aggregation, &members, from).or(zero);
                (group, Reading { value, adds_up, blind, first_at: first_at.map_or(from, |at| at.max(from)) })
            })
            .collect()
    }

    fn of_metric<'a>(&'a self, metric: &str) -> impl Iterator<Item = (&'a SeriesKey, &'a Tail)> + use<'a> {
        self.metrics.get(metric).into_iter().flatten()
    }

    /// A team may print one name as two kinds; the first is meant.
    fn kind_of(&self, metric: &str) -> Option<Kind> {
        catalogue::info(metric).map(|info| info.kind).or_else(|| self.of_metric(metric).map(|(key, _)| key.kind).min())
    }

    fn seen_since(&self, from: Timestamp) -> bool {
        self.of_metric(SEEN_METRIC).any(|(_, tail)| tail.newest_at + SLOT > from)
    }

    fn value(
        &self,
        threshold: &Threshold,
        aggregation: Aggregate,
        members: &[(&SeriesKey, &Tail)],
        from: Timestamp,
    ) -> Option<f64> {
        let by_metric = match &threshold.percent_of {
            Some(PercentOf::Metric(name)) => Some(name.as_str()),
            Some(PercentOf::Number(_)) | None => None,
        };
        let value = if by_metric.is_none() && threshold.rate_per.is_none() {
            together(aggregation, &threshold.metric, members, from)
        } else {
            let each = members.iter().filter_map(|(key, tail)| {
                let value = match threshold.rate_per {
                    Some(per) => rate(tail, per, threshold.window, from),
                    None => together(aggregation, &threshold.metric, &[(*key, *tail)], from),
                }?;
                let of = by_metric.map_or(Some(100.0), |name| self.limit(name, &key.source));
                Some((tail.newest_at, value / of.filter(|of| *of > 0.0)? * 100.0))
            });
            one_of(aggregation, each.collect())
        };
        match &threshold.percent_of {
            Some(PercentOf::Number(number)) => value.map(|value| value / number.to_f64() * 100.0),
            _ => value,
        }
    }

    /// The newest value of a quota or limit of that source, however old: limits change by releases, not by the minute.
    fn limit(&self, metric: &str, source: &str) -> Option<f64> {
        if metric == LOAD_LIMIT {
            let quota = self.limit(QUOTA, source);
            return quota.map_or(Some(LOAD_LIMIT_UNKNOWN), |quota| {
                LOAD_LIMITS.into_iter().find(|(up_to, _)| quota <= *up_to).map(|(_, limit)| limit)
            });
        }
        let newest = self.of_metric(metric).filter(|(key, _)| *key.source == *source);
        newest.filter_map(|(_, tail)| tail.values.last()).max_by_key(|(at, _)| *at).and_then(|(_, value)| match value {
            Value::Gauge(gauge) => Some(gauge.last),
            Value::Counter(_) | Value::Distribution(_) => None,
        })
    }
}

impl Tail {
    /// The values whose slot reaches into the time after `from`.
    fn since(&self, from: Timestamp) -> &[(Timestamp, Value)] {
        let first = self.values.partition_point(|(at, _)| *at + SLOT <= from);
        self.values.get(first..).unwrap_or_default()
    }
}

/// All values of all members as one.
fn together(aggregation: Aggregate, metric: &str, members: &[(&SeriesKey, &Tail)], from: Timestamp) -> Option<f64> {
    let merged = |members: &[(&SeriesKey, &Tail)]| {
        let mut all: Vec<&(Timestamp, Value)> = members.iter().flat_map(|(_, tail)| tail.since(from)).collect();
        all.sort_by_key(|(at, _)| *at);
        let mut all = all.into_iter().enumerate();
        let (_, (_, first)) = all.next()?;
        let mut merged = first.clone().placed(0);
        // The later of two merges as the newer: its place is its rank.
        all.for_each(|(rank, (_, value))| merged.merge(&value.clone().placed(u16::try_from(rank).unwrap_or(u16::MAX))));
        Some(merged)
    };
    let is_gauge = members.first().is_some_and(|(key, _)| key.kind == Kind::Gauge);
    if is_gauge && aggregation == Aggregate::Sum {
        let means = members.iter().filter_map(|member| of(&merged(std::slice::from_ref(member))?, Aggregate::Avg, 1.0));
        return means.reduce(|a, b| a + b);
    }
    of(&merged(members)?, aggregation, resolution(metric))
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen")]
fn of(value: &Value, aggregation: Aggregate, scale: f64) -> Option<f64> {
    match (value, aggregation) {
        (Value::Counter(sum), Aggregate::Sum | Aggregate::Count) => Some(*sum),
        (Value::Counter(_), _) => None,
        (Value::Gauge(gauge), Aggregate::Avg | Aggregate::Sum) => Some(gauge.sum / gauge.n as f64),
        (Value::Gauge(gauge), Aggregate::Min) => Some(gauge.min),
        (Value::Gauge(gauge), Aggregate::Max) => Some(gauge.max),
        (Value::Gauge(gauge), Aggregate::Last) => Some(gauge.last),
        (Value::Gauge(gauge), Aggregate::Count) => Some(gauge.n as f64),
        (Value::Gauge(_), Aggregate::Quantile(_)) => None,
        (Value::Distribution(sketch), Aggregate::Avg) => Some(sketch.sum() as f64 * scale / sketch.n() as f64),
        (Value::Distribution(sketch), Aggregate::Sum) => Some(sketch.sum() as f64 * scale),
        (Value::Distribution(sketch), Aggregate::Min) => sketch.min().map(|value| value as f64 * scale),
        (Value::Distribution(sketch), Aggregate::Max) => sketch.max().map(|value| value as f64 * scale),
        (Value::Distribution(sketch), Aggregate::Count) => Some(sketch.n() as f64),
        (Value::Distribution(sketch), Aggregate::Quantile(ppm)) => {
            sketch.quantile(f64::from(ppm) / 1e6).map(|value| value as f64 * scale)
        }
        (Value::Distribution(_), Aggregate::Last) => None,
    }
}

/// How much it changes in so much time: of what is counted, what was counted over the window; of a level, its newest value
/// less its oldest, over the time between them.
#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen")]
fn rate(tail: &Tail, per: Duration, window: Duration, from: Timestamp) -> Option<f64> {
    let values = tail.since(from);
    let ((first_at, first), (last_at, last)) = (values.first()?, values.last()?);
    let counted = |value: &Value| match value {
        Value::Counter(sum) => *sum,
        Value::Distribution(sketch) => sketch.n() as f64,
        Value::Gauge(_) => 0.0,
    };
    let (change, passed) = match (first, last) {
        (Value::Gauge(first), Value::Gauge(last)) if last_at > first_at => {
            (last.last - first.last, last_at.since(*first_at))
        }
        (Value::Gauge(_), _) => return None,
        _ => (values.iter().map(|(_, value)| counted(value)).sum(), window),
    };
    Some(change * per.as_secs_f64() / passed.as_secs_f64())
}

/// The values of several members as one; of a percentile the worst.
fn one_of(aggregation: Aggregate, each: Vec<(Timestamp, f64)>) -> Option<f64> {
    let values = || each.iter().map(|(_, value)| *value);
    let (count, sum) = values().fold((0.0, 0.0), |(n, sum), value| (n + 1.0, sum + value));
    match aggregation {
        _ if each.is_empty() => None,
        Aggregate::Avg => Some(sum / count),
        Aggregate::Min => values().reduce(f64::min),
        Aggregate::Max | Aggregate::Quantile(_) => values().reduce(f64::max),
        Aggregate::Last => each.iter().max_by_key(|(at, _)| *at).map(|(_, value)| *value),
        Aggregate::Sum | Aggregate::Count => Some(sum),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::metric::{Gauge, Sketch};
    use crate::threshold::{Limit, judge};

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn key(metric: &str, kind: Kind, source: &str, label: &str) -> SeriesKey {
        SeriesKey { metric: Arc::from(metric), kind, source: Arc::from(source), label: Arc::from(label) }
    }

    /// Gauges of dynos: (metric, source, second, value).
    fn gauges(values: &[(&str, &str, i64, f64)]) -> Recent {
        let mut recent = Recent::default();
        for (metric, source, at, value) in values {
            recent.add(&key(metric, Kind::Gauge, source, ""), t(*at), &Value::Gauge(Gauge::once(*value)));
        }
        recent
    }

    fn rule(metric: &str) -> Threshold {
        Threshold::new(metric, "> 0".parse::<Limit>().unwrap())
    }

    fn read(recent: &Recent, threshold: &Threshold, by: &[GroupBy], now: i64) -> Vec<(String, Option<f64>)> {
        let readings = recent.readings(threshold, by, false, t(now));
        readings.into_iter().map(|(group, reading)| (group.0, reading.value)).collect()
    }

    fn one(recent: &Recent, threshold: &Threshold, now: i64) -> Option<f64> {
        read(recent, threshold, &[], now).first().and_then(|(_, value)| *value)
    }

    const MEMORY: &str = "dyno.memory_percent";

    proptest! {
        /// The quick look never says no where a whole one says yes.
        #[test]
        fn nothing_fires_that_a_quick_look_leaves_out(
            values in proptest::collection::vec((0..3_usize, 0..30_i64, -8..8_i32), 0..12),
            (aggregation, comparison, limit) in (0..7_usize, 0..4_usize, -8..8_i32),
            (of, rate, no_data) in (0..3_usize, any::<bool>(), 0..3_usize),
        ) {
            let named: Vec<(&str, &str, i64, f64)> = values
                .iter()
                .map(|(dyno, slot, value)| (MEMORY, ["web.1", "web.2", "worker.1"][*dyno], slot * 10, f64::from(*value)))
                .collect();
            let recent = gauges(&named);
            let comparison = [">", ">=", "<", "<="][comparison];
            let threshold = Threshold {
                aggregation: ["avg", "min", "max", "last", "sum", "count", "p95"][aggregation].parse().ok(),
                percent_of: [None, Some(PercentOf::Number("200".parse().unwrap())), Some(PercentOf::Metric(LOAD_LIMIT.into()))]
                    [of]
                .clone(),
                rate_per: rate.then(|| Duration::from_secs(60)),
                no_data: NoData::ALL[no_data],
                ..Threshold::new(MEMORY, format!("{comparison} {limit}").parse().unwrap())
            };
            for by in [vec![], vec![GroupBy::Dyno], vec![GroupBy::ProcessType]] {
                let fires = recent.readings(&threshold, &by, false, t(300)).values().any(|reading| {
                    matches!(judge(&threshold, reading, false, t(300)), crate::alert::Verdict::Holds { .. })
                });
                prop_assert!(!fires || recent.may_fire(&threshold, t(300)));
            }
        }
    }

    #[test]
    fn groups_and_aggregations() {
        let recent = gauges(&[
            (MEMORY, "web.1", 100, 50.0),
            (MEMORY, "web.1", 120, 60.0),
            (MEMORY, "web.2", 110, 90.0),
            (MEMORY, "worker.1", 110, 10.0),
            (MEMORY, "worker.1", 20, 99.0),
        ]);
        let with = |aggregation: &str| Threshold { aggregation: aggregation.parse().ok(), ..rule(MEMORY) };
        let web = |aggregation: &str| Threshold { sources: vec!["web".parse().unwrap()], ..with(aggregation) };
        let by_type = read(&recent, &with("max"), &[GroupBy::ProcessType], 130);
        assert_eq!(by_type, [("process_type=web".into(), Some(90.0)), ("process_type=worker".into(), Some(10.0))]);
        let by_dyno: Vec<_> = read(&recent, &with("avg"), &[GroupBy::Dyno], 130).into_iter().map(|(_, v)| v).collect();
        assert_eq!(by_dyno, [Some(55.0), Some(90.0), Some(10.0)]);
        for (aggregation, want) in
            [("avg", 200.0 / 3.0), ("min", 50.0), ("max", 90.0), ("last", 60.0), ("sum", 145.0), ("count", 3.0)]
        {
            assert_eq!(one(&recent, &web(aggregation), 130), Some(want), "{aggregation}");
        }
        // The window ends: the series is known and has no value.
        assert_eq!(
            read(&recent, &with("max"), &[GroupBy::Dyno], 200).iter().map(|(_, v)| *v).collect::<Vec<_>>(),
            [None; 3]
        );
    }

    #[test]
    fn percentages_of_a_limit() {
        let mut recent = gauges(&[
            ("postgres.connections_active", "DATABASE", 100, 18.0),
            ("postgres.connections_active", "RED", 100, 18.0),
            ("postgres.connections_max", "DATABASE", 40, 20.0),
            ("dyno.load_5m", "web.1", 100, 3.0),
            ("dyno.load_5m", "web.2", 100, 3.0),
            ("dyno.memory_quota_mb", "web.1", 100, 2560.0),
        ]);
        let of = |metric: &str, of: PercentOf| Threshold {
            aggregation: Some(Aggregate::Max),
            percent_of: Some(of),
            ..rule(metric)
        };
        let by_metric = of("postgres.connections_active", PercentOf::Metric("postgres.connections_max".into()));
        let want = [("source=DATABASE".into(), Some(90.0)), ("source=RED".into(), None)];
        assert_eq!(read(&recent, &by_metric, &[GroupBy::Source], 130), want, "an unknown limit gives no percentage");
        let by_number = of("postgres.connections_active", PercentOf::Number("40".parse().unwrap()));
        assert_eq!(one(&recent, &by_number, 130), Some(45.0));
        // web.2 has told no size: it is taken for the smallest.
        let load = of("dyno.load_5m", PercentOf::Metric(LOAD_LIMIT.into()));
        let want = [("dyno=web.1".into(), Some(150.0)), ("dyno=web.2".into(), Some(300.0))];
        assert_eq!(read(&recent, &load, &[GroupBy::Dyno], 130), want);
        for (quota, limit) in
            [(512.0, 1.0), (1024.0, 1.0), (14_336.0, 8.0), (30_720.0, 4.0), (63_488.0, 8.0), (129_024.0, 16.0)]
        {
            recent.add(&key(QUOTA, Kind::Gauge, "web.9", ""), t(100), &Value::Gauge(Gauge::once(quota)));
            assert_eq!(recent.limit(LOAD_LIMIT, "web.9"), Some(limit), "{quota}");
        }
    }

    #[test]
    fn rates_of_change() {
        let recent = gauges(&[
            ("postgres.db_size_bytes", "DATABASE", 0, 1000.0),
            ("postgres.db_size_bytes", "DATABASE", 60, 1600.0),
        ]);
        let rate = Threshold {
            rate_per: Some(Duration::from_secs(3_600)),
            window: Duration::from_secs(120),
            ..rule("postgres.db_size_bytes")
        };
        assert_eq!(one(&recent, &rate, 100), Some(36_000.0));
        assert_eq!(
            one(&recent, &Threshold { window: Duration::from_secs(30), ..rate }, 65),
            None,
            "one value has no rate"
        );
        let mut counted = Recent::default();
        for at in [0, 10, 20] {
            counted.add(&key("platform.errors", Kind::Counter, "web.1", "H12"), t(at), &Value::Counter(2.0));
        }
        let rate = Threshold { rate_per: Some(Duration::from_secs(60)), ..rule("platform.errors") };
        assert_eq!(one(&counted, &Threshold { window: Duration::from_secs(120), ..rate }, 30), Some(3.0));
    }

    #[test]
    fn what_is_counted_is_zero_only_where_the_app_was_seen() {
        let errors = rule("platform.errors");
        let mut recent = Recent::default();
        assert_eq!(one(&recent, &errors, 100), None);
        recent.add(&key(SEEN_METRIC, Kind::Counter, "", ""), t(90), &Value::Counter(5.0));
        assert_eq!(one(&recent, &errors, 100), Some(0.0));
        assert_eq!(recent.readings(&errors, &[], true, t(100))[&Group::default()].value, None, "blind");
        recent.add(&key("platform.errors", Kind::Counter, "web.1", "H12"), t(90), &Value::Counter(2.0));
        recent.add(&key("platform.errors", Kind::Counter, "web.2", "H13"), t(90), &Value::Counter(3.0));
        assert_eq!(one(&recent, &errors, 100), Some(5.0));
        let by_label = read(&recent, &errors, &[GroupBy::Label], 100);
        assert_eq!(by_label, [("label=H12".into(), Some(2.0)), ("label=H13".into(), Some(3.0))]);
        // No line for longer than the window: nobody knows.
        assert_eq!(one(&recent, &errors, 300), None);
        assert_eq!(one(&recent, &rule(MEMORY), 100), None, "a level is never zero by itself");
    }

    #[test]
    fn percentiles_are_of_all_requests() {
        let mut recent = Recent::default();
        for (dyno, service_ms) in [("web.1", 10), ("web.2", 1_000)] {
            let sketch = Value::Distribution(Sketch::of(std::iter::repeat_n(service_ms, 50)));
            recent.add(&key("router.service_ms", Kind::Distribution, dyno, ""), t(90), &sketch);
        }
        let p = |text: &str| Threshold { aggregation: text.parse().ok(), ..rule("router.service_ms") };
        assert!((one(&recent, &p("p25"), 100).unwrap() - 10.0).abs() < 0.5);
        assert!((one(&recent, &p("p95"), 100).unwrap() - 1_000.0).abs() < 15.0);
        assert_eq!(one(&recent, &p("count"), 100), Some(100.0));
    }

    #[test]
    fn what_is_old_is_forgotten() {
        let mut recent = gauges(&[(MEMORY, "web.1", 0, 1.0), (MEMORY, "web.2", 7_000, 1.0)]);
        recent.forget_before(t(7_100), t(7_190));
        assert_eq!(read(&recent, &rule(MEMORY), &[GroupBy::Dyno], 7_190).len(), 2);
        recent.forget_before(t(7_100), t(7_201));
        assert_eq!(read(&recent, &rule(MEMORY), &[GroupBy::Dyno], 7_201), [("dyno=web.2".into(), None)]);
        recent.know(&key(MEMORY, Kind::Gauge, "web.3", ""), t(7_150));
        assert_eq!(read(&recent, &rule(MEMORY), &[GroupBy::Dyno], 7_201).len(), 2);
    }
}
