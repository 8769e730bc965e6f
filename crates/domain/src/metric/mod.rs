//! Metrics: what a series is, what it holds in one slot of time, how slots merge, how they are packed, and how a question
//! is answered from them. Pure: what a log line contributes is `engine`'s to say, where bytes lie is `store`'s.
//!
//! A *series* is (app, metric, source, label). The shortest *slot* is [`SLOT`] long; its value is a count, a level with its
//! count, sum, least, greatest and last, or a [`Sketch`]. All three merge, so that late lines, several processes and
//! longer steps are the same operation. What nobody wrote is absent, never zero.
//!
//! [`catalogue`] names the metrics, [`chunk`] packs what one flush saw, [`pack`] one series over an hour, a day or a
//! month, [`fold`] turns the one into the other, [`query`] asks, [`exposition`] names series for Prometheus, [`paths`] finds the most frequent request paths.

pub mod catalogue;
pub mod chunk;
pub(crate) mod codec;
pub mod exposition;
pub mod fold;
pub mod pack;
pub mod paths;
pub mod query;
mod sketch;

use std::sync::Arc;
use std::time::Duration;

pub use catalogue::MetricInfo;
pub use query::{Aggregation, Grouping, Labels, SeriesData, SeriesQuery, Sources};
pub use sketch::{Sketch, Tally};

use crate::Timestamp;

/// The length of the shortest slot.
pub const SLOT: Duration = Duration::from_secs(10);
/// The longest name, source or label, in bytes.
pub const NAME_BYTES_MAX: usize = 128;

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Increments, to be added up.
    Counter,
    /// A level that is looked at now and then.
    Gauge,
    /// Observations of which percentiles are asked.
    Distribution,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Counter, Self::Gauge, Self::Distribution];

    /// The name in tables and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Distribution => "distribution",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Which series of an app. Texts are printable ASCII without blanks, at most [`NAME_BYTES_MAX`] long: they may come from
/// log lines, see [`name_of`].
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SeriesKey {
    /// As in [`catalogue`], or `custom.NAME`.
    pub metric: Arc<str>,
    /// Part of the key, since an app may print one name as two kinds.
    pub kind: Kind,
    /// A dyno (`web.1`), a process type, an add-on; empty for what belongs to the app as a whole and to none of those.
    pub source: Arc<str>,
    /// What is counted apart, as in a status or an H code; mostly empty.
    pub label: Arc<str>,
}

/// Text of a log line as a name: printable ASCII, other bytes as `_`, cut at [`NAME_BYTES_MAX`].
#[must_use]
pub fn name_of(bytes: &[u8]) -> String {
    let plain =
        |b: &u8| if b.is_ascii_graphic() && !matches!(b, b'"' | b'*' | b'<' | b'>') { char::from(*b) } else { '_' };
    bytes.iter().take(NAME_BYTES_MAX).map(plain).collect()
}

/// The process type of a dyno's name: `web` of `web.1`. `None` of anything that is not the name of a single dyno.
#[must_use]
pub fn dyno_type(source: &str) -> Option<&str> {
    let (process, number) = source.rsplit_once('.')?;
    let digits = (1..=6).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    (digits && !process.is_empty()).then_some(process)
}

/// A level over one slot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauge {
    /// How often it was looked at.
    pub n: u64,
    /// The sum of what was seen.
    pub sum: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
    /// The newest.
    pub last: f64,
    /// When that was: the place of its ten seconds within the slot.
    pub last_at: u16,
}

impl Gauge {
    /// Seen once.
    #[must_use]
    pub fn once(value: f64) -> Self {
        Self { n: 1, sum: value, min: value, max: value, last: value, last_at: 0 }
    }

    /// Adds what was seen elsewhere or later; of the same ten seconds, the other is the newer.
    #[inline]
    pub fn merge(&mut self, other: &Self) {
        self.n = self.n.saturating_add(other.n);
        self.sum += other.sum;
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if other.last_at >= self.last_at {
            (self.last, self.last_at) = (other.last, other.last_at);
        }
    }
}

/// What a series holds in one slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// The sum of the increments.
    Counter(f64),
    /// A level.
    Gauge(Gauge),
    /// A distribution.
    Distribution(Sketch),
}

impl Value {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) => Kind::Counter,
            Self::Gauge(_) => Kind::Gauge,
            Self::Distribution(_) => Kind::Distribution,
        }
    }

    /// Adds what another process, another source or a later moment saw. Values of two kinds do not meet.
    pub fn merge(&mut self, other: &Self) {
        match (self, other) {
            (Self::Counter(a), Self::Counter(b)) => *a += b,
            (Self::Gauge(a), Self::Gauge(b)) => a.merge(b),
            (Self::Distribution(a), Self::Distribution(b)) => a.merge(b),
            _ => {}
        }
    }

    /// The same, whose newest moment lies at that place of a longer slot.
    #[must_use]
    pub fn placed(mut self, at: u16) -> Self {
        if let Self::Gauge(gauge) = &mut self {
            gauge.last_at = at;
        }
        self
    }

    /// How many observations it rests on; of a counter, its sum.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "below zero it is zero, far above the most"
    )]
    pub fn n(&self) -> u64 {
        match self {
            Self::Counter(sum) => *sum as u64,
            Self::Gauge(gauge) => gauge.n,
            Self::Distribution(sketch) => sketch.n(),
        }
    }
}

/// The steps in which values are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// Ten seconds, for two hours.
    TenSeconds,
    /// A minute, for 30 days; of single dynos for 7.
    Minute,
    /// Ten minutes, for 90 days.
    TenMinutes,
    /// An hour, for 400 days.
    Hour,
}

impl Step {
    /// All, the shortest first.
    pub const ALL: [Self; 4] = [Self::TenSeconds, Self::Minute, Self::TenMinutes, Self::Hour];

    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
            Self::TenMinutes => 600,
            Self::Hour => 3_600,
        }
    }

    /// Its length.
    #[must_use]
    pub const fn length(self) -> Duration {
        Duration::from_secs(self.seconds().unsigned_abs())
    }

    /// How long values of this step are kept.
    #[must_use]
    pub const fn kept(self) -> Duration {
        Duration::from_secs(match self {
            Self::TenSeconds => 2 * 3_600,
            Self::Minute => 30 * 86_400,
            Self::TenMinutes => 90 * 86_400,
            Self::Hour => 400 * 86_400,
        })
    }

    /// The seconds that one packed row holds: an hour of minutes, a day of ten minutes, 30 days of hours.
    #[must_use]
    pub const fn row_seconds(self) -> i64 {
        match self {
            Self::TenSeconds | Self::Minute => 3_600,
            Self::TenMinutes => 86_400,
            Self::Hour => 30 * 86_400,
        }
    }

    /// The beginning of the row that holds a moment, and the place of its slot there.
    #[must_use]
    pub fn place(self, at: Timestamp) -> (Timestamp, u16) {
        let row = at.floor(Duration::from_secs(self.row_seconds().unsigned_abs()));
        let place = (at.as_seconds() - row.as_seconds()).div_euclid(self.seconds());
        (row, u16::try_from(place).unwrap_or(0))
    }

    /// When the slot at that place of a row begins.
    #[must_use]
    pub fn at(self, row: Timestamp, place: u16) -> Timestamp {
        row + Duration::from_secs(self.seconds().unsigned_abs() * u64::from(place))
    }
}

/// How long minutes of single dynos are kept.
pub const DYNO_MINUTES_KEPT: Duration = Duration::from_secs(7 * 86_400);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_dynos() {
        for (source, process) in [
            ("web.1", Some("web")),
            ("worker.12", Some("worker")),
            ("web", None),
            ("DATABASE", None),
            ("a.b", None),
            (".1", None),
            ("web.", None),
            ("web.1234567", None),
        ] {
            assert_eq!(dyno_type(source), process, "{source}");
        }
        assert_eq!(name_of(b"a b\"\xff*c\n"), "a_b___c_");
    }

    #[test]
    fn slots_have_a_place_in_their_row() {
        let at = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
        for (step, row, place) in [
            (Step::Minute, "2026-05-07T08:00:00Z", 6),
            (Step::TenMinutes, "2026-05-07T00:00:00Z", 48),
            (Step::Hour, "2026-05-07T00:00:00Z", 8),
        ] {
            let found = step.place(at);
            assert_eq!((found.0.to_string().as_str(), found.1), (row, place));
            assert_eq!(step.at(found.0, found.1), at.floor(step.length()));
        }
    }
}
