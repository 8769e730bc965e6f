//! Cron expressions: five fields, in a zone. Owns reading them and finding the next moment; what happens then is the
//! business of whoever asked.
//!
//! Minute, hour, day of the month, month, day of the week, as in crontab(5): lists, ranges, steps, names of months and
//! days, `@hourly` and kin. When both days are restricted, either is enough. On days with a change of the clock, what
//! is meant for a fixed hour happens once (contract C29), what is meant for every hour follows the hours as they pass.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::parse::Invalid;
use crate::{Timestamp, zone};

/// The longest expression.
const CRON_BYTES_MAX: usize = 120;
/// Days that are looked at for the next moment: `0 0 29 2 *` may take eight years.
const DAYS_MAX: u32 = 8 * 366 + 1;

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cron {
    text: String,
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Both kinds of days are restricted: then either is enough.
    either_day: bool,
    /// Hours are not chosen one by one: it follows the hours as they pass.
    every_hour: bool,
}

/// A field: its name for errors, its least and greatest number, and names that stand for numbers.
struct Field {
    name: &'static str,
    least: u32,
    greatest: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, greatest: 59, names: &[] },
    Field { name: "hour", least: 0, greatest: 23, names: &[] },
    Field { name: "day of the month", least: 1, greatest: 31, names: &[] },
    Field { name: "month", least: 1, greatest: 12, names: MONTHS },
    Field { name: "day of the week", least: 0, greatest: 7, names: WEEKDAYS },
];

impl Cron {
    /// The first moment after `after`. `None` when there is none within eight years, as for 30 February.
    #[must_use]
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut date = zone::local(zone, after)?.date();
        // The day before, too: a local time that was moved or exists twice may lie on the other side of midnight.
        date = date.yesterday().ok()?;
        for _ in 0..DAYS_MAX {
            if self.is_on(date)
                && let Some(found) = self.first_of_day(date, after, zone)
            {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    fn is_on(&self, date: Date) -> bool {
        let has = |set: u64, number: i8| u32::try_from(number).is_ok_and(|number| set & (1 << number) != 0);
        let day = has(self.days, date.day());
        let weekday = has(self.weekdays, date.weekday().to_sunday_zero_offset());
        has(self.months, date.month()) && if self.either_day { day || weekday } else { day && weekday }
    }

    /// The first moment of a day that is after `after`.
    fn first_of_day(&self, date: Date, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let mut first: Option<Timestamp> = None;
        let mut offer = |found: Option<Timestamp>| {
            first = found.filter(|found| *found > after).into_iter().chain(first).min();
        };
        for hour in (0..24_i8).filter(|hour| self.hours & (1 << hour) != 0) {
            for minute in (0..60_i8).filter(|minute| self.minutes & (1 << minute) != 0) {
                let local: DateTime = date.at(hour, minute, 0, 0);
                if self.every_hour {
                    if !zone::is_skipped(zone, local) {
                        offer(zone::moment(zone, local));
                        offer(zone::second_moment(zone, local));
                    }
                } else {
                    offer(zone::moment(zone, local));
                }
            }
        }
        first
    }
}

impl FromStr for Cron {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if text.len() > CRON_BYTES_MAX {
            return Err(Invalid(format!("a cron expression has at most {CRON_BYTES_MAX} bytes")));
        }
        let trimmed = text.trim();
        let spelled = match trimmed {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let parts: Vec<&str> = spelled.split_ascii_whitespace().collect();
        let &[minute, hour, day, month, weekday] = parts.as_slice() else {
            return Err(Invalid(format!(
                "{text:?} has {} fields: a cron expression has five, minute hour day month weekday, as in \"30 2 * * *\"",
                parts.len()
            )));
        };
        let [minutes, hours, days, months, mut weekdays] = {
            let mut sets = [0; 5];
            for ((set, field), part) in sets.iter_mut().zip(&FIELDS).zip([minute, hour, day, month, weekday]) {
                *set = field.read(part, text)?;
            }
            sets
        };
        // 7 is Sunday, as 0 is.
        if weekdays & (1 << 7) != 0 {
            weekdays = (weekdays | 1) & !(1 << 7);
        }
        let either_day = !day.starts_with('*') && !weekday.starts_with('*');
        let every_hour = hour.starts_with('*');
        Ok(Self { text: trimmed.to_owned(), minutes, hours, days, months, weekdays, either_day, every_hour })
    }
}

impl Field {
    fn read(&self, part: &str, whole: &str) -> Result<u64, Invalid> {
        let wrong = |piece: &str| {
            Invalid(format!(
                "{whole:?}: {piece:?} is no {}: write {} to {}, a list 1,5, a range 1-5, a step */15 or *",
                self.name, self.least, self.greatest
            ))
        };
        let mut set = 0;
        for piece in part.split(',') {
            let (range, step) = piece.split_once('/').map_or((piece, None), |(range, step)| (range, Some(step)));
            let by = step.map_or(Some(1), |step| plain(step).filter(|step| (1..=self.greatest).contains(step)));
            let by = by.ok_or_else(|| wrong(piece))?;
            let (from, to) = match range.split_once('-') {
                _ if range == "*" => (
                    self.least,
                    self.greatest.min(if self.least == 0 && self.greatest == 7 { 6 } else { self.greatest }),
                ),
                Some((from, to)) => {
                    (self.number(from).ok_or_else(|| wrong(piece))?, self.number(to).ok_or_else(|| wrong(piece))?)
                }
                None => {
                    let from = self.number(range).ok_or_else(|| wrong(piece))?;
                    (from, if step.is_some() { self.greatest } else { from })
                }
            };
            if from > to {
                return Err(wrong(piece));
            }
            let mut number = from;
            while number <= to {
                set |= 1 << number;
                number += by;
            }
        }
        Ok(set)
    }

    fn number(&self, text: &str) -> Option<u32> {
        let named = self.names.iter().position(|name| name.eq_ignore_ascii_case(text));
        let number = match named {
            Some(place) => u32::try_from(place).ok()? + self.least,
            None => plain(text)?,
        };
        (self.least..=self.greatest).contains(&number).then_some(number)
    }
}

/// Digits alone: no sign.
fn plain(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TryFrom<String> for Cron {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Cron> for String {
    fn from(cron: Cron) -> Self {
        cron.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(cron: &str, zone_name: &str, after: &str, want: &[&str]) {
        let (cron, zone) = (cron.parse::<Cron>().unwrap(), zone::named(zone_name).unwrap());
        let mut at = Timestamp::parse(after).unwrap();
        let mut got = Vec::new();
        for _ in want {
            at = cron.next(at, &zone).unwrap();
            got.push(at.to_string());
        }
        assert_eq!(got, want, "{cron} in {zone_name} after {after}");
    }

    #[test]
    fn next_moments() {
        check("30 2 * * *", "UTC", "2026-05-07T02:29:59Z", &["2026-05-07T02:30:00Z", "2026-05-08T02:30:00Z"]);
        check("*/20 8-9 * * mon-fri", "UTC", "2026-05-08T09:40:00Z", &["2026-05-11T08:00:00Z", "2026-05-11T08:20:00Z"]);
        check("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00:00Z", "2032-02-29T00:00:00Z"]);
        check("@weekly", "UTC", "2026-05-07T00:00:00Z", &["2026-05-10T00:00:00Z", "2026-05-17T00:00:00Z"]);
        check("0 12 13 * 5", "UTC", "2026-05-07T00:00:00Z", &["2026-05-08T12:00:00Z", "2026-05-13T12:00:00Z"]);
        check("0 6 * * 7", "UTC", "2026-05-07T00:00:00Z", &["2026-05-10T06:00:00Z"]);
        check("5/20 0 * jan *", "UTC", "2026-05-07T00:00:00Z", &["2027-01-01T00:05:00Z", "2027-01-01T00:25:00Z"]);
    }

    #[test]
    fn when_the_clock_changes() {
        // A fixed time that does not exist moves to the first that does; one that exists twice happens once.
        check("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", &["2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"]);
        check("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
        // What comes every hour comes every hour.
        check(
            "0 * * * *",
            "Europe/Berlin",
            "2026-10-24T23:30:00Z",
            &["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"],
        );
        check(
            "0 * * * *",
            "Europe/Berlin",
            "2026-03-28T23:30:00Z",
            &["2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T02:00:00Z"],
        );
    }

    #[test]
    fn what_is_no_cron_expression() {
        let cases = [
            ("", "five"),
            ("* * * *", "has 4 fields"),
            ("* * * * * *", "has 6 fields"),
            ("60 * * * *", "no minute"),
            ("* 24 * * *", "no hour"),
            ("* * 0 * *", "day of the month"),
            ("* * * 13 *", "no month"),
            ("* * * * 8", "day of the week"),
            ("*/0 * * * *", "no minute"),
            ("5-1 * * * *", "no minute"),
            ("+5 * * * *", "no minute"),
            ("@often", "has 1 fields"),
        ];
        for (text, want) in cases {
            let error = text.parse::<Cron>().unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert_eq!("0 0 30 2 *".parse::<Cron>().unwrap().next(Timestamp::UNIX_EPOCH, &TimeZone::UTC), None);
    }

    proptest! {
        /// Against minute by minute.
        #[test]
        fn as_a_naive_search_finds_it(
            minute in 0..60_u32, step in 1..13_u32, weekday in 0..7_u32, start in 1_767_225_600_i64..1_798_761_600,
        ) {
            for text in [format!("{minute} */{step} * * *"), format!("{minute} {} * * {weekday}", step % 24)] {
                let cron: Cron = text.parse().unwrap();
                let after = Timestamp::from_seconds(start);
                let mut at = Timestamp::from_seconds(start - start.rem_euclid(60) + 60);
                let naive = loop {
                    let local = zone::local(&TimeZone::UTC, at).unwrap();
                    let hour_fits = cron.hours & (1 << local.hour()) != 0;
                    if hour_fits && cron.minutes & (1 << local.minute()) != 0 && cron.is_on(local.date()) {
                        break at;
                    }
                    at = at + std::time::Duration::from_secs(60);
                };
                prop_assert_eq!(cron.next(after, &TimeZone::UTC), Some(naive), "{} after {}", text, after);
            }
        }
    }
}
