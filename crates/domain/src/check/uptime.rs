//! How much of a time a check was up. Owns the arithmetic over flips: a flip is the moment from which a check counts as
//! something else. Which flips there are is decided by [`super::state`].
//!
//! Everything is weighted by time and carries its coverage: maintenance is on neither side, what nobody could measure
//! lowers the coverage and not the uptime, and a time without data has no uptime at all. Numbers shown are cut, never
//! rounded up: 99.999 % is 99.99 %.

use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::time::micros;
use crate::{Timestamp, zone};

/// What a moment counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It worked.
    Up,
    /// It worked, but not as it should. Counts as up.
    Degraded,
    /// It did not work.
    Down,
    /// Nobody could say.
    Unknown,
    /// Planned: counts on neither side.
    Maintenance,
    /// Switched off by an operator. Nobody measured, so it counts as unknown.
    Paused,
}

impl Standing {
    /// Each of them; the place is the number in the store.
    pub const ALL: [Self; 6] = [Self::Up, Self::Degraded, Self::Down, Self::Unknown, Self::Maintenance, Self::Paused];

    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Down => "down",
            Self::Unknown => "unknown",
            Self::Maintenance => "maintenance",
            Self::Paused => "paused",
        }
    }

    /// Its place in [`Standing::ALL`].
    #[must_use]
    pub fn index(self) -> u8 {
        self as u8
    }

    /// The one at that place.
    #[must_use]
    pub fn at(index: u8) -> Option<Self> {
        Self::ALL.get(usize::from(index)).copied()
    }
}

/// From this moment on a check counts as something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flip {
    /// Since when.
    pub at: Timestamp,
    /// As what.
    pub standing: Standing,
}

/// How long a check was what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Spent {
    /// Up, µs.
    pub up_us: u64,
    /// Degraded, µs.
    pub degraded_us: u64,
    /// Down, µs.
    pub down_us: u64,
    /// Unknown or paused, µs.
    pub unknown_us: u64,
    /// In maintenance, µs.
    pub maintenance_us: u64,
}

impl Spent {
    /// What was measured.
    #[must_use]
    pub fn known_us(&self) -> u64 {
        self.up_us.saturating_add(self.degraded_us).saturating_add(self.down_us)
    }

    /// Uptime with that many decimals, cut: `99.95 %`. `None` without data.
    #[must_use]
    pub fn uptime(&self, decimals: u32) -> Option<Percent> {
        Percent::of(self.up_us.saturating_add(self.degraded_us), self.known_us(), decimals)
    }

    /// How much of the time outside maintenance was measured. `None` when there was no such time.
    #[must_use]
    pub fn coverage(&self, decimals: u32) -> Option<Percent> {
        Percent::of(self.known_us(), self.known_us().saturating_add(self.unknown_us), decimals)
    }

    /// `99.95 %`, with its coverage where that is below 99.9 %: `99.95 % of 98.7 % observed`. `no data` without any.
    #[must_use]
    pub fn show(&self) -> String {
        let (Some(uptime), Some(coverage)) = (self.uptime(2), self.coverage(1)) else { return "no data".to_owned() };
        if coverage.is_at_least(999) { uptime.to_string() } else { format!("{uptime} of {coverage} observed") }
    }

    /// Adds another time's.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in [
            (&mut self.up_us, other.up_us),
            (&mut self.degraded_us, other.degraded_us),
            (&mut self.down_us, other.down_us),
            (&mut self.unknown_us, other.unknown_us),
            (&mut self.maintenance_us, other.maintenance_us),
        ] {
            *mine = mine.saturating_add(theirs);
        }
    }

    fn spend(&mut self, standing: Standing, time: Duration) {
        let time = u64::try_from(micros(time)).unwrap_or(0);
        let kind = match standing {
            Standing::Up => &mut self.up_us,
            Standing::Degraded => &mut self.degraded_us,
            Standing::Down => &mut self.down_us,
            Standing::Unknown | Standing::Paused => &mut self.unknown_us,
            Standing::Maintenance => &mut self.maintenance_us,
        };
        *kind = kind.saturating_add(time);
    }
}

/// A share in percent, cut at its last decimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent {
    /// 9995 with two decimals is 99.95 %.
    units: u64,
    decimals: u32,
}

/// More decimals mean nothing.
const DECIMALS_MAX: u32 = 5;

impl Percent {
    /// The share of `part` in `whole`; `None` of nothing.
    #[must_use]
    pub fn of(part: u64, whole: u64, decimals: u32) -> Option<Self> {
        let decimals = decimals.min(DECIMALS_MAX);
        let scale = 100 * u128::from(10_u64.pow(decimals));
        let units = (u128::from(part) * scale).checked_div(u128::from(whole))?;
        Some(Self { units: u64::try_from(units).ok()?, decimals })
    }

    /// Whether it is at least so many tenths of a percent.
    #[must_use]
    pub fn is_at_least(self, per_mille: u64) -> bool {
        self.units.saturating_mul(10) >= per_mille.saturating_mul(10_u64.pow(self.decimals))
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let one = 10_u64.pow(self.decimals);
        if self.decimals == 0 {
            return write!(f, "{} %", self.units);
        }
        let places = usize::try_from(self.decimals).unwrap_or(0);
        write!(f, "{}.{:0places$} %", self.units / one, self.units % one)
    }
}

/// A part of a time in which a check counted as one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// As what.
    pub standing: Standing,
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

/// What the check counted as in `[from, until)`, one part after the other. `flips` in order of time, with the last one at or
/// before `from` among them; what lies before the first is no time of this check. What lies after `known_until` nobody has
/// measured yet, or nobody did: it is unknown, save maintenance and pauses, which need no measuring.
#[must_use]
pub fn stretches(flips: &[Flip], known_until: Timestamp, from: Timestamp, until: Timestamp) -> Vec<Stretch> {
    let mut found: Vec<Stretch> = Vec::new();
    let mut add = |standing, from: Timestamp, until: Timestamp| {
        if from >= until {
            return;
        }
        match found.last_mut().filter(|last| last.standing == standing && last.until == from) {
            Some(last) => last.until = until,
            None => found.push(Stretch { standing, from, until }),
        }
    };
    for (place, flip) in flips.iter().enumerate() {
        let end = flips.get(place + 1).map_or(until, |next| next.at).min(until);
        let begin = flip.at.max(from);
        let planned = matches!(flip.standing, Standing::Maintenance | Standing::Paused);
        let is_last = place + 1 == flips.len();
        let measured = if is_last && !planned { end.min(known_until.max(begin)) } else { end };
        add(flip.standing, begin, measured);
        add(Standing::Unknown, measured.max(begin), end);
    }
    found
}

/// How long the check was what in `[from, until)`; see [`stretches`].
#[must_use]
pub fn spent(flips: &[Flip], known_until: Timestamp, from: Timestamp, until: Timestamp) -> Spent {
    let mut spent = Spent::default();
    for stretch in stretches(flips, known_until, from, until) {
        spent.spend(stretch.standing, stretch.until.since(stretch.from));
    }
    spent
}

/// A calendar day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Day {
    /// Its date in the zone asked for.
    pub date: Date,
    /// Its first moment.
    pub from: Timestamp,
    /// The first moment of the next day, 23 to 25 hours later, or the present for today.
    pub until: Timestamp,
    /// How long the check was what.
    pub spent: Spent,
}

/// The last `count` days of a zone up to `now`, today last.
#[must_use]
pub fn days(flips: &[Flip], known_until: Timestamp, zone: &TimeZone, now: Timestamp, count: u16) -> Vec<Day> {
    let mut days = Vec::new();
    let mut date = zone::local(zone, now).map(jiff::civil::DateTime::date);
    let mut until = now;
    for _ in 0..count {
        let Some(today) = date else { break };
        let Some(from) = zone::moment(zone, today.at(0, 0, 0, 0)) else { break };
        days.push(Day { date: today, from, until, spent: spent(flips, known_until, from, until) });
        until = from;
        date = today.yesterday().ok();
    }
    days.reverse();
    days
}

#[cfg(test)]
#[path = "uptime_tests.rs"]
mod tests;
