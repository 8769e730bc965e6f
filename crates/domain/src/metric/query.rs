//! Questions and their answers: which series, over which time, in which steps, aggregated how. [`Merger`] takes values from
//! wherever they lie (memory, chunks, packed rows) and merges before it aggregates, so that a percentile of ten dynos over
//! an hour is one of all their requests. Slots without a value are `None`; a counter is zero only where the app was seen.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::catalogue::{default_aggregation, info, resolution};
use super::{Kind, SeriesKey, Sketch, Value, dyno_type};
use crate::Timestamp;

/// The most points of one series in an answer.
pub const POINTS_MAX: usize = 5_000;
/// The most series in an answer; further ones are counted.
pub const SERIES_MAX: usize = 500;
/// The metric by which it is known that an app was seen.
pub const SEEN_METRIC: &str = "app.lines";
/// Two lines this close prove that the app was seen in between.
const SEEN_GAP_MAX_S: i64 = 120;

/// Whose series.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sources {
    /// The whole app: all process types, add-ons, and what belongs to none of them.
    #[default]
    App,
    /// Each process type and add-on, without single dynos: written `*`.
    Each,
    /// Single dynos, of one process type (`web.*`) or, if empty, of all (`*.*`).
    Dynos(String),
    /// One process type, dyno or add-on.
    Named(String),
}

impl Sources {
    /// Reads `""`, `*`, `web.*`, `*.*`, `web`, `web.1`, `DATABASE`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text {
            "" => Self::App,
            "*" => Self::Each,
            "*.*" => Self::Dynos(String::new()),
            _ => match text.strip_suffix(".*") {
                Some(process) => Self::Dynos(process.to_owned()),
                None => Self::Named(text.to_owned()),
            },
        }
    }
}

/// Which labels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Labels {
    /// All.
    #[default]
    Any,
    /// Statuses of a class, by its digit: written `5xx`.
    Class(u8),
    /// Those that begin so: written `H*`.
    Begin(String),
    /// These; written with commas between.
    These(Vec<String>),
}

impl Labels {
    /// Reads `""`, `5xx`, `H*`, `503`, `H12,H13`.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        match text.as_bytes() {
            b"" | b"*" => Self::Any,
            [digit @ b'1'..=b'5', b'x', b'x'] => Self::Class(digit - b'0'),
            _ => match text.strip_suffix('*') {
                Some(begin) => Self::Begin(begin.to_owned()),
                None => Self::These(text.split(',').map(|label| label.trim().to_owned()).collect()),
            },
        }
    }

    /// Whether a label is among them.
    #[must_use]
    pub fn takes(&self, label: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Class(class) => class_digit(label) == Some(*class),
            Self::Begin(begin) => label.starts_with(begin.as_str()),
            Self::These(these) => these.iter().any(|this| this == label),
        }
    }
}

fn class_digit(label: &str) -> Option<u8> {
    match label.as_bytes() {
        [digit @ b'1'..=b'9', b'0'..=b'9', b'0'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}

/// The class of a status: `5xx` of `503`; other labels are their own.
#[must_use]
pub fn class_of(label: &str) -> String {
    class_digit(label).map_or_else(|| label.to_owned(), |digit| format!("{digit}xx"))
}

/// Which series of the answer stay apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grouping {
    /// By source.
    pub source: bool,
    /// By label.
    pub label: bool,
    /// By the class of the label, `5xx` for `503`.
    pub class: bool,
}

impl FromStr for Grouping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut by = Self::default();
        for word in text.split(',').map(str::trim).filter(|word| !matches!(*word, "" | "none")) {
            match word {
                "source" => by.source = true,
                "label" => by.label = true,
                "class" => by.class = true,
                other => return Err(format!("{other:?} is nothing to group by: write source, label, class or none")),
            }
        }
        Ok(by)
    }
}

/// What becomes of the values of a slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Aggregation {
    /// The mean of all that was seen.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The newest.
    Last,
    /// Of counters the sum; of levels the sum over sources of each one's mean.
    Sum,
    /// A second: of counters and distributions how many, of levels how much the newest has grown (`None` when it fell:
    /// whatever counted was restarted).
    Rate,
    /// How many observations; of a counter its sum.
    Count,
    /// The value that this share does not exceed.
    Quantile(f64),
}

impl Aggregation {
    /// Whether it means something for that kind.
    #[must_use]
    pub fn suits(self, kind: Kind) -> bool {
        match kind {
            Kind::Counter => matches!(self, Self::Sum | Self::Rate | Self::Count),
            Kind::Gauge => !matches!(self, Self::Quantile(_)),
            Kind::Distribution => !matches!(self, Self::Last),
        }
    }
}

impl fmt::Display for Aggregation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Sum => "sum",
            Self::Rate => "rate",
            Self::Count => "count",
            Self::Quantile(q) => return write!(f, "p{}", (q * 1e6).round() / 1e4),
        })
    }
}

impl FromStr for Aggregation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is no aggregation: write avg, min, max, last, sum, rate, count, p50, p95, p99 or any pNN")
        };
        Ok(match text {
            "avg" => Self::Avg,
            "min" => Self::Min,
            "max" => Self::Max,
            "last" => Self::Last,
            "sum" => Self::Sum,
            "rate" => Self::Rate,
            "count" => Self::Count,
            _ => {
                let percent: f64 = text.strip_prefix('p').and_then(|p| p.parse().ok()).ok_or_else(wrong)?;
                if !(0.0..=100.0).contains(&percent) {
                    return Err(wrong());
                }
                Self::Quantile(percent / 100.0)
            }
        })
    }
}

/// A question about one metric of one app.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesQuery {
    /// The metric.
    pub metric: String,
    /// Whose.
    pub sources: Sources,
    /// Which labels.
    pub labels: Labels,
    /// From here; a multiple of the step that values are read in.
    pub from: Timestamp,
    /// Up to here; not included.
    pub until: Timestamp,
    /// The length of a slot of the answer; a multiple of ten seconds.
    pub step: Duration,
    /// What becomes of the values of a slot; `None` is what suits the metric.
    pub aggregation: Option<Aggregation>,
    /// What stays apart.
    pub by: Grouping,
}

impl SeriesQuery {
    /// A metric of the whole app in slots of that length, everything together.
    #[must_use]
    pub fn new(metric: &str, from: Timestamp, until: Timestamp, step: Duration) -> Self {
        Self {
            metric: metric.to_owned(),
            sources: Sources::App,
            labels: Labels::Any,
            from,
            until,
            step,
            aggregation: None,
            by: Grouping::default(),
        }
    }

    /// How many slots the answer has.
    #[must_use]
    pub fn points(&self) -> usize {
        let step = self.step.as_micros().max(1);
        usize::try_from(self.until.since(self.from).as_micros().div_ceil(step)).unwrap_or(usize::MAX)
    }

    fn place(&self, at: Timestamp) -> Option<usize> {
        if at < self.from || at >= self.until {
            return None;
        }
        usize::try_from(at.since(self.from).as_micros() / self.step.as_micros().max(1)).ok()
    }
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct SeriesData {
    /// Whose, if it was asked apart.
    pub source: String,
    /// Which label or class, if it was asked apart.
    pub label: String,
    /// A value per slot; `None` where nobody knows.
    pub points: Vec<Option<f64>>,
    /// How many observations each rests on.
    pub n: Vec<u64>,
}

/// An answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Its series, by source and label.
    pub series: Vec<SeriesData>,
    /// What the values are.
    pub kind: Option<Kind>,
    /// What became of the values of a slot.
    pub aggregation: Option<Aggregation>,
    /// Series that had no room.
    pub left_out: usize,
}

/// Where values come from: chunks know single dynos only, packed rows have process types as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Ten-second values.
    Chunk,
    /// Packed rows.
    Packed,
}

/// A series that a question asks for: where in the answer its values go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(PlaceKind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum PlaceKind {
    Seen,
    Member { group: usize, member: usize },
}

/// The values of one group, slot by slot. Where members must be aggregated one by one, each has its own.
#[derive(Debug, Default)]
struct Group {
    members: Vec<(SeriesKey, Vec<Option<Value>>)>,
}

/// Gathers values for one question.
#[derive(Debug)]
pub struct Merger<'q> {
    query: &'q SeriesQuery,
    points: usize,
    kind: Option<Kind>,
    aggregation: Option<Aggregation>,
    names: Vec<(String, String)>,
    groups: Vec<Group>,
    seen: Vec<bool>,
    left_out: usize,
}

impl<'q> Merger<'q> {
    /// An empty answer to that question, of at most [`POINTS_MAX`] slots.
    #[must_use]
    pub fn new(query: &'q SeriesQuery) -> Self {
        let points = query.points().min(POINTS_MAX);
        let mut merger = Self {
            query,
            points,
            kind: None,
            aggregation: None,
            names: Vec::new(),
            groups: Vec::new(),
            seen: vec![false; points],
            left_out: 0,
        };
        if let Some(info) = info(&query.metric) {
            merger.settle(info.kind);
        }
        merger
    }

    fn settle(&mut self, kind: Kind) {
        self.kind = Some(kind);
        self.aggregation =
            Some(self.query.aggregation.unwrap_or_else(|| default_aggregation(&self.query.metric, kind)));
    }

    /// Where a series' values go; `None` when it was not asked for. To be asked once per series and origin.
    pub fn place(&mut self, key: &SeriesKey, origin: Origin) -> Option<Place> {
        if &*key.metric == SEEN_METRIC && *key.metric != *self.query.metric {
            return Some(Place(PlaceKind::Seen));
        }
        if *key.metric != *self.query.metric || !self.query.labels.takes(&key.label) {
            return None;
        }
        let source = self.source(&key.source, origin)?;
        if self.kind.is_none() && self.query.aggregation.is_none_or(|wanted| wanted.suits(key.kind)) {
            self.settle(key.kind);
        }
        if self.kind != Some(key.kind) {
            return None;
        }
        let by = self.query.by;
        let label = match by {
            Grouping { class: true, .. } => class_of(&key.label),
            Grouping { label: true, .. } => key.label.to_string(),
            _ => String::new(),
        };
        let name = (if by.source { source.to_owned() } else { String::new() }, label);
        let group = match self.names.iter().position(|known| *known == name) {
            Some(at) => at,
            None if self.names.len() >= SERIES_MAX => {
                self.left_out += 1;
                return None;
            }
            None => {
                self.names.push(name);
                self.groups.push(Group::default());
                self.groups.len() - 1
            }
        };
        let member = self.member(group, key);
        Some(Place(PlaceKind::Member { group, member }))
    }

    fn member(&mut self, group: usize, key: &SeriesKey) -> usize {
        let apart =
            self.kind == Some(Kind::Gauge) && matches!(self.aggregation, Some(Aggregation::Sum | Aggregation::Rate));
        let points = self.points;
        let Some(group) = self.groups.get_mut(group) else { return 0 };
        let known = group.members.iter().position(|(known, _)| !apart || known == key);
        known.unwrap_or_else(|| {
            group.members.push((key.clone(), vec![None; points]));
            group.members.len() - 1
        })
    }

    /// The source under which a series counts for this question.
    fn source<'k>(&self, source: &'k str, origin: Origin) -> Option<&'k str> {
        let of_type = dyno_type(source);
        match (&self.query.sources, of_type, origin) {
            (Sources::App, None, _) => Some(source),
            (Sources::App | Sources::Each, Some(process), Origin::Chunk) => Some(process),
            (Sources::App | Sources::Each, Some(_), Origin::Packed) => None,
            (Sources::Each, None, _) => (!source.is_empty()).then_some(source),
            (Sources::Dynos(process), of_type, _) => {
                of_type.filter(|of_type| process.is_empty() || process == of_type).map(|_| source)
            }
            (Sources::Named(name), _, _) if name == source => Some(source),
            (Sources::Named(name), Some(process), Origin::Chunk) if name == process => Some(process),
            (Sources::Named(_), _, _) => None,
        }
    }

    /// Adds a value of a series that begins at that moment.
    pub fn add(&mut self, place: Place, at: Timestamp, value: &Value) {
        let Some(slot) = self.query.place(at) else { return };
        match place.0 {
            PlaceKind::Seen => {
                if let Some(seen) = self.seen.get_mut(slot) {
                    *seen = true;
                }
            }
            PlaceKind::Member { group, member } => {
                let member = self.groups.get_mut(group).and_then(|group| group.members.get_mut(member));
                let Some(held) = member.and_then(|(_, slots)| slots.get_mut(slot)) else { return };
                // The newest of a longer slot is the one whose own slot begins last.
                let value = value
                    .clone()
                    .placed(u16::try_from((at.since(self.query.from).as_secs() / 10) % 60_000).unwrap_or(0));
                match held {
                    Some(held) => held.merge(&value),
                    None => *held = Some(value),
                }
            }
        }
    }

    /// The answer. `blind` are the times in which not everything was seen: there, nothing counted is not zero.
    #[must_use]
    pub fn finish(mut self, blind: &[(Timestamp, Timestamp)]) -> Answer {
        let counter = self.kind == Some(Kind::Counter);
        if counter && self.names.is_empty() && self.query.by == Grouping::default() {
            self.names.push(Default::default());
            self.groups.push(Group::default());
        }
        let zero = if counter { self.zeros(blind) } else { Vec::new() };
        let mut series: Vec<SeriesData> = Vec::with_capacity(self.groups.len());
        for ((source, label), group) in self.names.iter().zip(&self.groups) {
            let mut data = SeriesData {
                source: source.clone(),
                label: label.clone(),
                points: vec![None; self.points],
                n: vec![0; self.points],
            };
            for (_, slots) in &group.members {
                self.aggregate(slots, &mut data);
            }
            for (point, zero) in data.points.iter_mut().zip(&zero) {
                if point.is_none() && *zero {
                    *point = Some(0.0);
                }
            }
            series.push(data);
        }
        series.sort_by(|a, b| (&a.source, &a.label).cmp(&(&b.source, &b.label)));
        Answer { series, kind: self.kind, aggregation: self.aggregation, left_out: self.left_out }
    }

    /// Adds one member's values to what its group has.
    fn aggregate(&self, slots: &[Option<Value>], data: &mut SeriesData) {
        let Some(aggregation) = self.aggregation else { return };
        let (step, scale) = (self.query.step.as_secs_f64(), resolution(&self.query.metric));
        let mut before: Option<(usize, f64)> = None;
        for (i, value) in slots.iter().enumerate() {
            let Some(value) = value else { continue };
            let point = match (value, aggregation) {
                (Value::Gauge(gauge), Aggregation::Rate) => {
                    let grown = before.and_then(|(at, last)| {
                        #[expect(clippy::cast_precision_loss, reason = "at most a few thousand slots")]
                        let passed = (i - at) as f64 * step;
                        (gauge.last >= last).then(|| (gauge.last - last) / passed)
                    });
                    before = Some((i, gauge.last));
                    grown
                }
                (value, aggregation) => aggregate(value, aggregation, step, scale),
            };
            if let Some((held, n)) = data.points.get_mut(i).zip(data.n.get_mut(i)) {
                *n += value.n();
                if let Some(point) = point.filter(|point| point.is_finite()) {
                    *held = Some(held.unwrap_or(0.0) + point);
                }
            }
        }
    }

    /// Where the app was seen and we were not blind: there, nothing is zero.
    fn zeros(&self, blind: &[(Timestamp, Timestamp)]) -> Vec<bool> {
        let step_s = i64::try_from(self.query.step.as_secs()).unwrap_or(i64::MAX).max(1);
        let reach = usize::try_from(SEEN_GAP_MAX_S / step_s).unwrap_or(0);
        let mut zero = self.seen.clone();
        if self.query.metric == SEEN_METRIC {
            return vec![false; self.points];
        }
        let mut last: Option<usize> = None;
        for (i, _) in self.seen.iter().enumerate().filter(|(_, seen)| **seen) {
            if let Some(from) = last.filter(|from| i - from <= reach) {
                zero.iter_mut().take(i).skip(from).for_each(|zero| *zero = true);
            }
            last = Some(i);
        }
        for (i, zero) in zero.iter_mut().enumerate().filter(|(_, zero)| **zero) {
            let from = self.query.from + self.query.step * u32::try_from(i).unwrap_or(u32::MAX);
            let until = from + self.query.step;
            *zero = !blind.iter().any(|(begin, end)| *begin < until && *end >= from);
        }
        zero
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen")]
fn aggregate(value: &Value, aggregation: Aggregation, step: f64, scale: f64) -> Option<f64> {
    match value {
        Value::Counter(sum) => match aggregation {
            Aggregation::Sum | Aggregation::Count => Some(*sum),
            Aggregation::Rate => Some(sum / step),
            _ => None,
        },
        Value::Gauge(gauge) => match aggregation {
            Aggregation::Avg | Aggregation::Sum => Some(gauge.sum / gauge.n as f64),
            Aggregation::Min => Some(gauge.min),
            Aggregation::Max => Some(gauge.max),
            Aggregation::Last => Some(gauge.last),
            Aggregation::Count => Some(gauge.n as f64),
            Aggregation::Rate | Aggregation::Quantile(_) => None,
        },
        Value::Distribution(sketch) => of_sketch(sketch, aggregation, step, scale),
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not happen")]
fn of_sketch(sketch: &Sketch, aggregation: Aggregation, step: f64, scale: f64) -> Option<f64> {
    let whole = |value: u64| value as f64 * scale;
    match aggregation {
        Aggregation::Avg => Some(whole(sketch.sum()) / sketch.n() as f64),
        Aggregation::Min => sketch.min().map(whole),
        Aggregation::Max => sketch.max().map(whole),
        Aggregation::Sum => Some(whole(sketch.sum())),
        Aggregation::Count => Some(sketch.n() as f64),
        Aggregation::Rate => Some(sketch.n() as f64 / step),
        Aggregation::Quantile(q) => sketch.quantile(q).map(whole),
        Aggregation::Last => None,
    }
}

/// Ten-second values in memory, for questions about the last minutes: of a replay, or read once and asked often.
#[derive(Debug, Clone, Default)]
pub struct Window {
    series: BTreeMap<SeriesKey, Vec<(Timestamp, Value)>>,
}

impl Window {
    /// Adds a value.
    pub fn add(&mut self, key: &SeriesKey, at: Timestamp, value: Value) {
        match self.series.get_mut(key) {
            Some(values) => values.push((at, value)),
            None => drop(self.series.insert(key.clone(), vec![(at, value)])),
        }
    }

    /// Forgets what lies before.
    pub fn forget_before(&mut self, before: Timestamp) {
        self.series.retain(|_, values| {
            values.retain(|(at, _)| *at >= before);
            !values.is_empty()
        });
    }

    /// Answers a question from what is here.
    #[must_use]
    pub fn answer(&self, query: &SeriesQuery, blind: &[(Timestamp, Timestamp)]) -> Answer {
        let mut merger = Merger::new(query);
        for (key, values) in &self.series {
            if let Some(place) = merger.place(key, Origin::Chunk) {
                values.iter().for_each(|(at, value)| merger.add(place, *at, value));
            }
        }
        merger.finish(blind)
    }

    /// The metrics that occur, with their kinds.
    pub fn metrics(&self) -> impl Iterator<Item = (Arc<str>, Kind)> + '_ {
        self.series.keys().map(|key| (Arc::clone(&key.metric), key.kind))
    }
}

#[cfg(test)]
#[path = "query_tests.rs"]
mod tests;
