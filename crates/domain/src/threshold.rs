//! Thresholds on metrics: what a rule such as "memory over 90 % of the quota for five minutes" asks, and the judging of one
//! reading. Owns hysteresis and what missing data means; rates, shares of a quota and how a reading comes about are
//! `recent`'s; when it is looked at is `engine`'s business.
//!
//! A value that is not there is not zero: without data, and without word from the rule ([`NoData`]), nothing fires and
//! nothing resolves. While dynowatch itself was blind no rule is asked: that gap says nothing of the app.

mod recent;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use recent::{KNOWN_FOR, LOAD_LIMIT, Recent, Sign};

use crate::Timestamp;
use crate::alert::{Facts, LOOK_HOLDS, Verdict};
use crate::metric::{Kind, catalogue, query};
use crate::parse::{Comparison, Glob, Invalid, show_duration};

/// The longest window of a threshold: what is judged every ten seconds must be at hand.
pub const THRESHOLD_WINDOW_MAX: Duration = Duration::from_secs(3_600);
/// The window where a rule names none, unless its metric is told less often.
pub const THRESHOLD_WINDOW_DEFAULT: Duration = Duration::from_secs(60);

/// A number with up to six decimals, exact, so that equal texts are equal numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number {
    millionths: i64,
}

impl Number {
    /// The nearest number. `None` of what is no number or beyond nine trillion.
    #[must_use]
    pub fn from_f64(value: f64) -> Option<Self> {
        let millionths = (value * 1e6).round();
        #[expect(clippy::cast_possible_truncation, reason = "the line above keeps it within range")]
        (millionths.is_finite() && millionths.abs() < 9e18).then_some(Self { millionths: millionths as i64 })
    }

    /// A whole number.
    #[must_use]
    pub const fn whole(value: i32) -> Self {
        Self { millionths: value as i64 * 1_000_000 }
    }

    /// So many hundredths.
    #[must_use]
    pub const fn hundredths(value: i32) -> Self {
        Self { millionths: value as i64 * 10_000 }
    }

    /// As a float, to compare with what was measured.
    #[must_use]
    pub fn to_f64(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nobody measures to the sixteenth digit")]
        let millionths = self.millionths as f64;
        millionths / 1e6
    }
}

impl FromStr for Number {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let plain = text.trim().replace('_', "");
        let (whole, fraction) = plain.split_once('.').unwrap_or((&plain, "0"));
        let digits = |text: &str| !text.is_empty() && text.len() <= 13 && text.bytes().all(|b| b.is_ascii_digit());
        let written = digits(whole.strip_prefix('-').unwrap_or(whole)) && digits(fraction) && fraction.len() <= 6;
        let value = written.then(|| plain.parse::<f64>().ok().and_then(Self::from_f64)).flatten();
        value.ok_or_else(|| {
            Invalid(format!("{text:?} is not a number: write one such as 90, 0.95 or 1_000, with at most six decimals"))
        })
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, value) = (if self.millionths < 0 { "-" } else { "" }, self.millionths.unsigned_abs());
        let fraction = format!("{:06}", value % 1_000_000);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{}", value / 1_000_000),
            fraction => write!(f, "{sign}{}.{fraction}", value / 1_000_000),
        }
    }
}

/// A limit for a measured value: `> 90`, `<= 0.95`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// On which side of the number.
    pub comparison: Comparison,
    /// The number.
    pub number: Number,
}

impl Limit {
    /// Whether a value is on that side.
    #[must_use]
    pub fn holds(self, value: f64) -> bool {
        let number = self.number.to_f64();
        match self.comparison {
            Comparison::Above => value > number,
            Comparison::AtLeast => value >= number,
            Comparison::Below => value < number,
            Comparison::AtMost => value <= number,
        }
    }

    /// Whether it fires on much rather than on little.
    #[must_use]
    pub fn is_upper(self) -> bool {
        matches!(self.comparison, Comparison::Above | Comparison::AtLeast)
    }
}

impl FromStr for Limit {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong =
            || Invalid(format!("{text:?} is not a limit: write \"> 90\", \">= 90\", \"< 0.95\" or \"<= 0.95\""));
        let (comparison, number) = Comparison::split(text).ok_or_else(wrong)?;
        // A percentage sign says what the metric's unit says already.
        let number = number.strip_suffix('%').unwrap_or(number);
        Ok(Self { comparison, number: number.parse().map_err(|_: Invalid| wrong())? })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.comparison.sign(), self.number)
    }
}

/// How the values of a window become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The mean of all values.
    Avg,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The newest.
    Last,
    /// The sum of what was counted; of distributions the sum of what was observed.
    Sum,
    /// How many values there were.
    Count,
    /// A percentile, in parts per million: 950,000 is p95. Of distributions only.
    Quantile(u32),
}

impl Aggregate {
    /// Whether lost values make the result too small rather than less certain.
    #[must_use]
    pub fn adds_up(self) -> bool {
        matches!(self, Self::Sum | Self::Count)
    }
}

impl FromStr for Aggregate {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let quantile = || {
            let percent: Number = text.strip_prefix('p')?.parse().ok()?;
            let ppm = u32::try_from(percent.millionths / 100).ok()?;
            (1..1_000_000).contains(&ppm).then_some(Self::Quantile(ppm))
        };
        match text {
            "avg" => Ok(Self::Avg),
            "min" => Ok(Self::Min),
            "max" => Ok(Self::Max),
            "last" => Ok(Self::Last),
            "sum" => Ok(Self::Sum),
            "count" => Ok(Self::Count),
            _ => quantile().ok_or_else(|| {
                Invalid(format!(
                    "{text:?} is not an aggregation: write one of avg, min, max, last, sum, count, or a percentile such as p95 or p99.9"
                ))
            }),
        }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Last => "last",
            Self::Sum => "sum",
            Self::Count => "count",
            Self::Quantile(ppm) => return write!(f, "p{}", Number { millionths: i64::from(*ppm) * 100 }),
        })
    }
}

/// What a value is a percentage of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PercentOf {
    /// The newest value of another metric of the same source: a quota, a limit of the plan.
    Metric(String),
    /// A limit that no line tells.
    Number(Number),
}

impl fmt::Display for PercentOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metric(name) => f.write_str(name),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// What it means that there is no value in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoData {
    /// Nothing: an open alert stays open, none opens, and the alert's page says so.
    #[default]
    Unknown,
    /// That something is wrong: whoever should report has fallen silent.
    Fire,
    /// That all is well: what does not report is gone.
    Ok,
}

impl NoData {
    /// Every meaning.
    pub const ALL: [Self; 3] = [Self::Unknown, Self::Fire, Self::Ok];

    /// The name used in rules.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Fire => "fire",
            Self::Ok => "ok",
        }
    }
}

/// What must be true of a metric.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Threshold {
    /// Its name, as in `dyno.memory_percent`.
    pub metric: String,
    /// Sources: process types, dynos, databases. A process type means its dynos. None means all.
    pub sources: Vec<Glob>,
    /// Labels: statuses, codes. None means all.
    pub labels: Vec<Glob>,
    /// How the values of a window become one; `None` for the metric's own way.
    pub aggregation: Option<Aggregate>,
    /// The value as a percentage of this.
    pub percent_of: Option<PercentOf>,
    /// The change of the value in so much time, instead of the value.
    pub rate_per: Option<Duration>,
    /// The limit.
    pub fires: Limit,
    /// Once fired, the limit beyond which it is over; `None` for the other side of `fires`.
    pub clears: Option<Limit>,
    /// How long to look back.
    pub window: Duration,
    /// What it means that there is no value.
    pub no_data: NoData,
}

impl Threshold {
    /// A threshold with every default.
    #[must_use]
    pub fn new(metric: &str, fires: Limit) -> Self {
        Self {
            metric: metric.to_owned(),
            sources: Vec::new(),
            labels: Vec::new(),
            aggregation: None,
            percent_of: None,
            rate_per: None,
            fires,
            clears: None,
            window: THRESHOLD_WINDOW_DEFAULT,
            no_data: NoData::default(),
        }
    }

    /// Whether a series of that source and label is meant.
    #[must_use]
    pub fn wants(&self, source: &str, label: &str) -> bool {
        let fits = |globs: &[Glob], names: [&str; 2]| {
            globs.is_empty() || globs.iter().any(|glob| names.iter().any(|name| glob.matches(name.as_bytes())))
        };
        fits(&self.sources, [source, process_type(source)])
            && fits(&self.labels, [label, query::class_of(label).as_str()])
    }

    /// What cannot be true together: the key to blame and what would be right.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, String)> {
        let mut found = Vec::new();
        if self.window > THRESHOLD_WINDOW_MAX {
            found.push(("window", format!("a threshold looks back at most {}", show_duration(THRESHOLD_WINDOW_MAX))));
        }
        found.extend(self.clears_problem().map(|text| ("clear", text)));
        if self.rate_per.is_some_and(|per| per.is_zero()) {
            found.push(("rate_per", "no time has no rate: write a duration such as \"1m\"".to_owned()));
        }
        let kind = catalogue::info(&self.metric).map(|info| info.kind);
        let wrong = |kind: Kind, aggregation: Aggregate| match kind {
            Kind::Counter => (!aggregation.adds_up()).then_some("what is counted has a sum and a count only"),
            Kind::Gauge => matches!(aggregation, Aggregate::Quantile(_))
                .then_some("a level has no percentiles: write avg, min, max, last, sum or count"),
            Kind::Distribution => (aggregation == Aggregate::Last)
                .then_some("of many observations none is the last: write avg, min, max, count or a percentile"),
        };
        if let Some(text) = kind.zip(self.aggregation).and_then(|(kind, aggregation)| wrong(kind, aggregation)) {
            found.push(("aggregation", format!("{}: {text}", self.metric)));
        }
        found
    }

    /// What a measured value is counted in.
    #[must_use]
    pub fn unit(&self) -> String {
        let unit = catalogue::info(&self.metric).map_or("", |info| info.unit);
        let unit = match (&self.percent_of, self.aggregation) {
            (Some(_), _) => "%",
            (None, Some(Aggregate::Count)) => "",
            (None, _) => unit,
        };
        self.rate_per
            .map_or_else(|| unit.to_owned(), |per| format!("{unit} per {}", show_duration(per)).trim().to_owned())
    }

    /// What is wrong between the limits, if anything is.
    #[must_use]
    fn clears_problem(&self) -> Option<String> {
        let clears = self.clears?;
        let Limit { comparison, number } = self.fires;
        let apart = clears.is_upper() != self.fires.is_upper();
        let order = if self.fires.is_upper() { clears.number <= number } else { clears.number >= number };
        (!apart || !order).then(|| {
            let (sign, way) = if self.fires.is_upper() { ("<", "below") } else { (">", "above") };
            format!(
                "an alert that fires at \"{} {number}\" is over on the other side: write \"{sign} N\" with N {way} or at {number}",
                comparison.sign()
            )
        })
    }
}

/// The limit with what is measured: `max of dyno.memory_percent > 90, clears < 85`.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(aggregation) = self.aggregation {
            write!(f, "{aggregation} of ")?;
        }
        f.write_str(&self.metric)?;
        if let Some(of) = &self.percent_of {
            write!(f, " as % of {of}")?;
        }
        if let Some(per) = self.rate_per {
            write!(f, " per {}", show_duration(per))?;
        }
        write!(f, " {}", self.fires)?;
        match self.clears {
            Some(clears) => write!(f, ", clears {clears}"),
            None => Ok(()),
        }
    }
}

/// The window of a rule that names none: long enough that whoever reports on time is never missed.
#[must_use]
pub fn default_window(metric: &str) -> Duration {
    let every_s = catalogue::info(metric).map_or(60, |info| info.every_s);
    Duration::from_secs(3 * every_s).max(THRESHOLD_WINDOW_DEFAULT)
}

/// Whether a metric of that name can be: one of the catalogue, the team's own, or a new one of a data service.
#[must_use]
pub fn is_metric(name: &str) -> bool {
    let open = ["custom.", "postgres.", "pgbouncer.", "redis."];
    catalogue::info(name).is_some()
        || open.iter().any(|begin| name.strip_prefix(begin).is_some_and(|rest| !rest.is_empty()))
            && crate::metric::name_of(name.as_bytes()) == name
}

/// `web` of `web.1`, as `crate::key` has it; a name without a number is its own type.
#[must_use]
pub fn process_type(source: &str) -> &str {
    match source.rsplit_once('.') {
        Some((process, number)) if !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()) => process,
        _ => source,
    }
}

/// A measured value, as alerts and messages show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Level {
    /// Rounded to what a person reads.
    pub value: Number,
    /// `%`, `ms`; empty for plain numbers.
    pub unit: String,
}

impl Level {
    /// Rounds to four significant digits, but not to less than the unit.
    fn of(value: f64, unit: &str) -> Option<Self> {
        let digits = (3.0 - value.abs().max(1e-6).log10().floor()).clamp(0.0, 6.0);
        let scale = 10_f64.powf(digits);
        Some(Self { value: Number::from_f64((value * scale).round() / scale)?, unit: unit.to_owned() })
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gap = if self.unit.is_empty() { "" } else { " " };
        write!(f, "{}{gap}{}", self.value, self.unit)
    }
}

/// What the values of one key's window came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// The value; `None` when there was none.
    pub value: Option<f64>,
    /// The value is a sum, so that what nobody saw is missing from it.
    pub adds_up: bool,
    /// We ourselves were blind during a part of the window.
    pub blind: bool,
    /// The first value of the window, or its beginning.
    pub first_at: Timestamp,
}

/// Judges a reading at `now`. `firing` says that the key's alert has fired: only then does `clears` count, for `for` asks
/// that the limit itself is passed without a break.
#[must_use]
pub fn judge(threshold: &Threshold, reading: &Reading, firing: bool, now: Timestamp) -> Verdict {
    let holds = |level, lower_bound, fresh| Verdict::Holds {
        facts: Facts { level, lower_bound, at: now, first_at: reading.first_at, last_at: now, ..Facts::default() },
        until: now + LOOK_HOLDS,
        fresh,
    };
    let Some(value) = reading.value.filter(|value| value.is_finite()) else {
        return match threshold.no_data {
            _ if reading.blind => Verdict::Unknown,
            NoData::Unknown => Verdict::Unknown,
            NoData::Ok => Verdict::Fails { matched: None },
            NoData::Fire => holds(None, false, true),
        };
    };
    let level = Level::of(value, &threshold.unit());
    let beyond = threshold.fires.holds(value);
    if reading.blind && reading.adds_up {
        // More may have happened than was counted: enough is enough, too little is not known.
        let enough = beyond && threshold.fires.is_upper();
        return if enough { holds(level, true, true) } else { Verdict::Unknown };
    }
    let cleared = !beyond && threshold.clears.is_none_or(|clears| clears.holds(value));
    if beyond || (firing && !cleared) {
        // Inside the band it goes on, but nothing new happens that would be worth a message.
        holds(level, false, beyond)
    } else {
        Verdict::Fails { matched: None }
    }
}

#[cfg(test)]
mod tests;
