//! Maintenance windows: planned times in which checks are run and recorded, and nobody is told. Owns when a window is
//! open and for whom; what that does to a check is [`super::state`]'s (contract C19).

use std::time::Duration;

use jiff::civil::{Time, Weekday};
use serde::{Deserialize, Serialize};

use super::cron::Cron;
use crate::parse::{Glob, Invalid, show_duration};
use crate::{Timestamp, zone};

/// A longer window is a check to be paused, or deleted.
pub const LASTS_MAX: Duration = Duration::from_secs(31 * 86_400);
/// The longest of a window that comes again.
pub const LASTS_AGAIN_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The shortest.
pub const LASTS_MIN: Duration = Duration::from_secs(60);
/// The most windows of one instance.
pub const WINDOWS_MAX: usize = 500;
/// The longest reason.
pub const REASON_BYTES_MAX: usize = 500;
/// Starts of a cron window that are looked at for the one that is open; more than one a minute there cannot be.
const STARTS_MAX: usize = 7 * 1_440 + 2;

/// A planned time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceWindow {
    /// Unlike every other's.
    pub name: String,
    /// Whom it is for.
    pub scope: Scope,
    /// When it is open.
    pub when: When,
    /// Why, for whoever wonders.
    #[serde(default)]
    pub reason: String,
}

/// Whom a window is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Every check.
    All,
    /// Checks of apps of these names.
    Apps(Vec<Glob>),
    /// Checks of these names.
    Checks(Vec<Glob>),
}

/// When a window is open. Times of day are those of the zone (an IANA name); one that a change of the clock skips moves
/// to the first that exists, of one that exists twice it is the first. A window always lasts as long as it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum When {
    /// Once.
    Once {
        /// The first moment.
        from: Timestamp,
        /// The first moment that is outside.
        until: Timestamp,
    },
    /// On the same days of every week.
    Weekly {
        /// On which days it begins.
        #[serde(with = "weekdays")]
        days: Vec<Weekday>,
        /// At what time of day: `23:30`.
        #[serde(with = "time_of_day")]
        at: Time,
        /// For how long.
        lasts: Duration,
        /// In which zone.
        zone: String,
    },
    /// Whenever the expression says.
    Cron {
        /// When it begins.
        cron: Cron,
        /// For how long.
        lasts: Duration,
        /// In which zone.
        zone: String,
    },
}

/// One opening of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment that is outside.
    pub until: Timestamp,
}

impl MaintenanceWindow {
    /// What is wrong with it, and what would be right. Empty for a good one.
    #[must_use]
    pub fn problems(&self) -> Vec<Invalid> {
        let mut found = Vec::new();
        let mut problem = |text: String| found.push(Invalid(text));
        if self.name.is_empty() || self.name.len() > crate::rule::NAME_BYTES_MAX {
            problem(format!("name: 1 to {} bytes", crate::rule::NAME_BYTES_MAX));
        }
        if self.reason.len() > REASON_BYTES_MAX {
            problem(format!("reason: at most {REASON_BYTES_MAX} bytes"));
        }
        if matches!(&self.scope, Scope::Apps(names) | Scope::Checks(names) if names.is_empty()) {
            problem("scope: name at least one app or check, or write all".to_owned());
        }
        let (lasts, longest) = match &self.when {
            When::Once { from, until } => (until.since(*from), LASTS_MAX),
            When::Weekly { lasts, .. } | When::Cron { lasts, .. } => (*lasts, LASTS_AGAIN_MAX),
        };
        if lasts < LASTS_MIN || lasts > longest {
            problem(format!("a window lasts between {} and {}", show_duration(LASTS_MIN), show_duration(longest)));
        }
        if let When::Weekly { days, .. } = &self.when
            && days.is_empty()
        {
            problem("days: name at least one, as in [\"sat\", \"sun\"]".to_owned());
        }
        if let When::Weekly { zone: name, .. } | When::Cron { zone: name, .. } = &self.when
            && zone::named(name).is_none()
        {
            problem(format!("zone: {name:?} is no time zone: write an IANA name such as \"Europe/Berlin\" or \"UTC\""));
        }
        found
    }

    /// Whether it is for a check of that name, about that app.
    #[must_use]
    pub fn is_for(&self, check: &str, app: Option<&str>) -> bool {
        match &self.scope {
            Scope::All => true,
            Scope::Apps(names) => app.is_some_and(|app| names.iter().any(|name| name.matches(app.as_bytes()))),
            Scope::Checks(names) => names.iter().any(|name| name.matches(check.as_bytes())),
        }
    }

    /// The opening that `now` lies in.
    #[must_use]
    pub fn open_at(&self, now: Timestamp) -> Option<Span> {
        let lasts = match &self.when {
            When::Once { from, until } => {
                return (*from <= now && now < *until).then_some(Span { from: *from, until: *until });
            }
            When::Weekly { lasts, .. } | When::Cron { lasts, .. } => *lasts,
        };
        // The latest start that is not over.
        let mut found = None;
        let mut after = now - lasts;
        for _ in 0..STARTS_MAX {
            match self.next_start(after).filter(|start| *start <= now) {
                Some(start) => {
                    found = Some(start);
                    after = start;
                }
                None => break,
            }
        }
        found.map(|from| Span { from, until: from + lasts })
    }

    /// The first opening that begins after `after`.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Span> {
        match &self.when {
            When::Once { from, until } => (*from > after).then_some(Span { from: *from, until: *until }),
            When::Weekly { lasts, .. } | When::Cron { lasts, .. } => {
                self.next_start(after).map(|from| Span { from, until: from + *lasts })
            }
        }
    }

    fn next_start(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.when {
            When::Once { from, .. } => Some(*from).filter(|from| *from > after),
            When::Cron { cron, zone: name, .. } => cron.next(after, &zone::named(name)?),
            When::Weekly { days, at, zone: name, .. } => {
                let zone = zone::named(name)?;
                let mut date = zone::local(&zone, after)?.date().yesterday().ok()?;
                for _ in 0..10 {
                    let start = zone::moment(&zone, date.to_datetime(*at))?;
                    if days.contains(&date.weekday()) && start > after {
                        return Some(start);
                    }
                    date = date.tomorrow().ok()?;
                }
                None
            }
        }
    }
}

/// Reads a moment: a date and time with an offset is one by itself, one without is meant in the zone.
#[must_use]
pub fn moment(text: &str, zone: &str) -> Option<Timestamp> {
    Timestamp::parse(text).ok().or_else(|| zone::moment(&zone::named(zone)?, text.parse().ok()?))
}

/// A time of day as `23:30`.
pub mod time_of_day {
    use jiff::civil::Time;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Reads `23:30`.
    #[must_use]
    pub fn read(text: &str) -> Option<Time> {
        let (hour, minute) = text.split_once(':')?;
        let number = |digits: &str| {
            let plain = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| plain)
        };
        Time::new(number(hour)?, number(minute)?, 0, 0).ok()
    }

    /// Writes it.
    #[must_use]
    pub fn show(time: Time) -> String {
        format!("{:02}:{:02}", time.hour(), time.minute())
    }

    /// As text.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(time: &Time, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&show(*time))
    }

    /// From text.
    ///
    /// # Errors
    /// When it is no time of day.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
        let text = String::deserialize(deserializer)?;
        let wrong = || serde::de::Error::custom(format!("{text:?} is no time of day: write 23:30"));
        read(&text).ok_or_else(wrong)
    }
}

/// Days of the week by their names: `mon`, `tue`, …
pub mod weekdays {
    use jiff::civil::Weekday;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const NAMES: [(&str, Weekday); 7] = [
        ("mon", Weekday::Monday),
        ("tue", Weekday::Tuesday),
        ("wed", Weekday::Wednesday),
        ("thu", Weekday::Thursday),
        ("fri", Weekday::Friday),
        ("sat", Weekday::Saturday),
        ("sun", Weekday::Sunday),
    ];

    /// The day of that name.
    #[must_use]
    pub fn named(text: &str) -> Option<Weekday> {
        NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, day)| *day)
    }

    /// Its name.
    #[must_use]
    pub fn name(day: Weekday) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == day).map_or("", |(name, _)| name)
    }

    /// As names.
    ///
    /// # Errors
    /// The serializer's.
    pub fn serialize<S: Serializer>(days: &[Weekday], serializer: S) -> Result<S::Ok, S::Error> {
        days.iter().map(|day| name(*day)).collect::<Vec<_>>().serialize(serializer)
    }

    /// From names.
    ///
    /// # Errors
    /// When one is no day.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Weekday>, D::Error> {
        let names = Vec::<String>::deserialize(deserializer)?;
        let day = |text: String| {
            let wrong =
                || serde::de::Error::custom(format!("{text:?} is no day: write mon, tue, wed, thu, fri, sat or sun"));
            named(&text).ok_or_else(wrong)
        };
        names.into_iter().map(day).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    fn window(when: When) -> MaintenanceWindow {
        MaintenanceWindow { name: "night".into(), scope: Scope::All, when, reason: String::new() }
    }

    fn hours(n: u64) -> Duration {
        Duration::from_secs(n * 3_600)
    }

    #[track_caller]
    fn check(window: &MaintenanceWindow, now: &str, want: Option<(&str, &str)>) {
        let got = window.open_at(at(now)).map(|span| (span.from.to_string(), span.until.to_string()));
        assert_eq!(got, want.map(|(from, until)| (from.to_owned(), until.to_owned())), "at {now}");
    }

    #[test]
    fn openings() {
        let once = window(When::Once { from: at("2026-05-07T14:00:00Z"), until: at("2026-05-07T15:00:00Z") });
        check(&once, "2026-05-07T13:59:59Z", None);
        check(&once, "2026-05-07T14:00:00Z", Some(("2026-05-07T14:00:00Z", "2026-05-07T15:00:00Z")));
        check(&once, "2026-05-07T15:00:00Z", None);

        // Saturdays 23:30 in Berlin, for three hours: over midnight, and over the change of the clock.
        let days = vec![Weekday::Saturday];
        let weekly = window(When::Weekly {
            days,
            at: Time::constant(23, 30, 0, 0),
            lasts: hours(3),
            zone: "Europe/Berlin".into(),
        });
        check(&weekly, "2026-05-09T21:29:59Z", None);
        check(&weekly, "2026-05-10T00:29:59Z", Some(("2026-05-09T21:30:00Z", "2026-05-10T00:30:00Z")));
        check(&weekly, "2026-05-10T00:30:00Z", None);
        check(&weekly, "2026-03-29T00:45:00Z", Some(("2026-03-28T22:30:00Z", "2026-03-29T01:30:00Z")));

        let cron = window(When::Cron { cron: "0 2 1 * *".parse().unwrap(), lasts: hours(1), zone: "UTC".into() });
        check(&cron, "2026-06-01T02:59:59Z", Some(("2026-06-01T02:00:00Z", "2026-06-01T03:00:00Z")));
        check(&cron, "2026-06-01T03:00:00Z", None);
        assert_eq!(cron.next_after(at("2026-06-01T02:00:00Z")).unwrap().from, at("2026-07-01T02:00:00Z"));
        // Openings that meet are one after the other: the newest counts.
        let dense = window(When::Cron { cron: "*/30 * * * *".parse().unwrap(), lasts: hours(1), zone: "UTC".into() });
        check(&dense, "2026-06-01T03:10:00Z", Some(("2026-06-01T03:00:00Z", "2026-06-01T04:00:00Z")));
    }

    #[test]
    fn whom_it_is_for() {
        let scoped = |scope| MaintenanceWindow {
            scope,
            ..window(When::Once { from: at("2026-05-07T14:00:00Z"), until: at("2026-05-07T15:00:00Z") })
        };
        let glob = |text: &str| vec![text.parse::<Glob>().unwrap()];
        for (scope, check, app, want) in [
            (Scope::All, "home", None, true),
            (Scope::Apps(glob("shop-*")), "home", Some("shop-web"), true),
            (Scope::Apps(glob("shop-*")), "home", Some("mail"), false),
            (Scope::Apps(glob("*")), "home", None, false),
            (Scope::Checks(glob("home*")), "home-page", Some("mail"), true),
            (Scope::Checks(glob("home")), "away", None, false),
        ] {
            assert_eq!(scoped(scope.clone()).is_for(check, app), want, "{scope:?} {check} {app:?}");
        }
    }

    #[test]
    fn what_is_wrong() {
        let weekly =
            |days, lasts, zone: &str| window(When::Weekly { days, at: Time::midnight(), lasts, zone: zone.into() });
        let cases = [
            (weekly(vec![], hours(1), "UTC"), "at least one"),
            (weekly(vec![Weekday::Monday], hours(169), "UTC"), "between 1m and 7d"),
            (weekly(vec![Weekday::Monday], hours(1), "Mars"), "IANA"),
            (
                window(When::Once { from: at("2026-05-07T14:00:00Z"), until: at("2026-05-07T13:00:00Z") }),
                "between 1m and 31d",
            ),
            (
                MaintenanceWindow { scope: Scope::Checks(vec![]), ..weekly(vec![Weekday::Monday], hours(1), "UTC") },
                "name at least one app",
            ),
        ];
        for (window, want) in cases {
            let found = window.problems();
            assert!(found.len() == 1 && found[0].0.contains(want), "{found:?}");
        }
        assert_eq!(weekly(vec![Weekday::Monday], hours(1), "europe/berlin").problems(), []);
    }

    #[test]
    fn it_comes_back_from_json() {
        let whens = [
            When::Once { from: at("2026-05-07T14:00:00Z"), until: at("2026-05-07T15:00:00Z") },
            When::Weekly {
                days: vec![Weekday::Sunday, Weekday::Monday],
                at: Time::constant(3, 15, 0, 0),
                lasts: hours(1),
                zone: "UTC".into(),
            },
            When::Cron { cron: "0 2 1 * *".parse().unwrap(), lasts: hours(1), zone: "UTC".into() },
        ];
        for when in whens {
            let window = window(when);
            let json = serde_json::to_string(&window).unwrap();
            assert_eq!(serde_json::from_str::<MaintenanceWindow>(&json).unwrap(), window, "{json}");
        }
    }

    proptest! {
        /// Whatever opens is open from its first moment to its last and says so itself.
        #[test]
        fn openings_and_next_openings_agree(
            start in 1_760_000_000_i64..1_800_000_000, minutes in 1_u64..2_000, hour in 0..24_i8, day in 0..7_usize,
            name in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
        ) {
            let days = vec![Weekday::Monday.wrapping_add(i64::try_from(day).unwrap())];
            let lasts = Duration::from_secs(minutes * 60);
            let window = window(When::Weekly { days, at: Time::constant(hour, 0, 0, 0), lasts, zone: name.into() });
            let span = window.next_after(Timestamp::from_seconds(start)).unwrap();
            prop_assert!(span.from > Timestamp::from_seconds(start) && span.until.since(span.from) == lasts);
            let tick = Duration::from_micros(1);
            prop_assert_eq!(window.open_at(span.from), Some(span));
            prop_assert_eq!(window.open_at(span.until - tick), Some(span));
            prop_assert_eq!(window.open_at(span.until), None);
            prop_assert_eq!(window.open_at(span.from - tick), None);
        }
    }
}
