//! Time and identities that a test decides: a clock that moves only when told, ids that count.

use std::sync::Mutex;
use std::time::Duration;

use dynowatch_domain::{Clock, NewId, Timestamp};
use uuid::Uuid;

/// A clock that stands still until it is moved. Share it in an `Arc`.
#[derive(Debug)]
pub struct TestClock(Mutex<Timestamp>);

impl TestClock {
    /// Stands at an RFC 3339 moment such as `2026-05-07T08:00:00Z`.
    ///
    /// # Panics
    /// When the text is no such moment.
    #[must_use]
    pub fn at(text: &str) -> Self {
        Self::at_time(moment(text))
    }

    /// Stands at `now`.
    #[must_use]
    pub fn at_time(now: Timestamp) -> Self {
        Self(Mutex::new(now))
    }

    /// Moves forward and returns the new moment.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let mut now = self.0.lock().unwrap();
        *now = *now + by;
        *now
    }

    /// Moves anywhere, backwards too: machines' clocks do.
    pub fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

/// Reads an RFC 3339 moment.
///
/// # Panics
/// When the text is no such moment.
#[must_use]
pub fn moment(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap_or_else(|error| panic!("{text:?} is no RFC 3339 moment: {error}"))
}

/// Ids in the order they were asked for: version 7, the milliseconds of `now`, then a count from 1.
#[derive(Debug, Default)]
pub struct CountingIds(u64);

impl NewId for CountingIds {
    fn new_id(&mut self, now: Timestamp) -> Uuid {
        self.0 += 1;
        let millis = u128::try_from(now.as_micros().max(0) / 1000).unwrap_or(0);
        Uuid::from_u128(millis << 80 | 0x7 << 76 | 0b10 << 62 | u128::from(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_moves_only_when_told() {
        let clock = TestClock::at("2026-05-07T08:00:00Z");
        assert_eq!(clock.now(), moment("2026-05-07T08:00:00Z"));
        assert_eq!(clock.advance(Duration::from_secs(1800)), moment("2026-05-07T08:30:00Z"));
        clock.set(moment("2026-05-07T07:59:59Z"));
        assert_eq!(clock.now().to_string(), "2026-05-07T07:59:59Z");
    }

    #[test]
    fn ids_are_version_7_and_ordered() {
        let mut ids = CountingIds::default();
        let now = moment("2026-05-07T08:00:00Z");
        let (first, second) = (ids.new_id(now), ids.new_id(now));
        let later = ids.new_id(now + Duration::from_secs(1));
        assert!(first < second && second < later);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(first.to_string(), "019e0173-6400-7000-8000-000000000001");
    }
}
