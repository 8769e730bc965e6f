//! Points in time and where they come from. Owns the one representation of time (microseconds since 1970, UTC) and
//! the [`Clock`] that shells read; no function of this crate reads a clock itself.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment in UTC, in microseconds since 1970-01-01T00:00:00Z. Arithmetic saturates: a hostile stamp can make a
/// comparison useless, never a panic.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const UNIX_EPOCH: Self = Self(0);

    /// From microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_seconds(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z, rounded down.
    #[must_use]
    pub const fn as_seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time from `earlier` to `self`; zero when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The latest multiple of `step` that is not after `self` (ten-second buckets are such floors).
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step = micros(step).max(1);
        Self(self.0.div_euclid(step).saturating_mul(step))
    }

    /// Reads RFC 3339, as in `2026-05-07T08:06:12.25Z`.
    ///
    /// # Errors
    /// When the text is not a date and time with an offset.
    pub fn parse(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(|t| Self(t.as_microsecond()))
    }

    fn display(self) -> Option<jiff::Timestamp> {
        jiff::Timestamp::from_microsecond(self.0).ok()
    }

    /// `14:02:07`, UTC, for places that print the date beside it.
    #[must_use]
    pub fn time_of_day(self) -> String {
        let seconds = self.as_seconds().rem_euclid(86_400);
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// `2026-05-07 08:06:12 UTC`: whole seconds, the zone always printed. For people.
    #[must_use]
    pub fn for_people(self) -> String {
        match self.display() {
            Some(t) => format!("{} UTC", t.strftime("%Y-%m-%d %H:%M:%S")),
            None => format!("{} µs after 1970", self.0),
        }
    }
}

/// RFC 3339 in UTC with as many fractional digits as needed: `2026-05-07T08:06:12.25Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.display() {
            Some(t) => write!(f, "{t}"),
            None => write!(f, "{} µs after 1970", self.0),
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A duration in whole microseconds; beyond 292,000 years it is the greatest number.
#[must_use]
pub fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self(self.0.saturating_add(micros(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self(self.0.saturating_sub(micros(rhs)))
    }
}

/// Where a shell reads the time. The binary has the wall clock, tests one that is moved by hand, `replay` the log's
/// own stamps.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_and_reads_rfc_3339() {
        for text in ["2026-05-07T08:06:12Z", "2026-05-07T08:06:12.25Z", "1969-12-31T23:59:59.000001Z"] {
            assert_eq!(Timestamp::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Timestamp::parse("2010-10-06T21:51:12-07:00").unwrap().to_string(), "2010-10-07T04:51:12Z");
    }

    #[test]
    fn floors_before_1970_too() {
        let ten = Duration::from_secs(10);
        assert_eq!(Timestamp::from_seconds(19).floor(ten), Timestamp::from_seconds(10));
        assert_eq!(Timestamp::from_seconds(-1).floor(ten), Timestamp::from_seconds(-10));
    }

    #[test]
    fn arithmetic_saturates() {
        let end = Timestamp::from_micros(i64::MAX);
        assert_eq!(end + Duration::from_secs(1), end);
        assert_eq!(Timestamp::UNIX_EPOCH.since(end), Duration::ZERO);
        assert_eq!(end.to_string(), "9223372036854775807 µs after 1970");
    }
}
