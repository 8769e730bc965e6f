//! The sliding window of a count rule, exact over event time.
//!
//! A condition such as "more than 3 in 5 minutes" is true at `t` when more than three events are stamped in
//! `(t - window, t]`. Events arrive late and out of order, so the window keeps the stamps themselves, sorted, and a late
//! one is counted where it belongs: it may make the condition true for a moment that has passed.
//!
//! Kept is what a late line could still meet: events that arrived within `window` plus [`LATE_MAX`], and at most
//! [`Window::events_max`] of them. Beyond that the oldest stamps go, and counts that would have reached them are marked
//! as lower bounds. Whether an alert fires on it is [`crate::alert`]'s business.

use std::collections::VecDeque;
use std::time::Duration;

use crate::Timestamp;

/// A line that arrives later than this after its neighbours may no longer be counted with them.
pub const LATE_MAX: Duration = Duration::from_secs(3_600);
/// A stamp further ahead of its arrival than this counts as arrived now.
pub const AHEAD_MAX: Duration = Duration::from_secs(300);

/// One counted event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    /// The line's own stamp.
    pub at: Timestamp,
    /// When it reached us.
    pub arrived: Timestamp,
}

/// The condition as it stands with some event in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Events in the fullest window that holds the event.
    pub count: usize,
    /// Whether some of that window's events were no longer kept.
    pub lower_bound: bool,
    /// When the condition holds: the moment, in event time, until which it does (exclusive).
    pub holds_until: Option<Timestamp>,
}

/// Stamps, oldest first.
#[derive(Debug, Clone, Default)]
pub struct Window {
    events: VecDeque<Counted>,
    /// Stamps up to here may have been dropped for room.
    dropped_until: Option<Timestamp>,
}

impl Window {
    /// How many events are kept for a condition that needs `needed` of them.
    #[must_use]
    pub fn events_max(needed: usize) -> usize {
        needed.saturating_mul(4).max(1_024)
    }

    /// Counts an event and reads the condition "at least `needed` in `length`" in every window that holds it.
    pub fn push(&mut self, event: Counted, needed: usize, length: Duration) -> Reading {
        let at = self.events.partition_point(|e| e.at <= event.at);
        self.events.insert(at, event);
        self.forget(event.arrived, needed, length);
        self.read(event.at, needed, length)
    }

    fn forget(&mut self, now: Timestamp, needed: usize, length: Duration) {
        let keep_from = now - length - LATE_MAX;
        while self.events.front().is_some_and(|e| e.arrived < keep_from && e.at < keep_from) {
            self.events.pop_front();
        }
        while self.events.len() > Self::events_max(needed) {
            self.dropped_until = self.events.pop_front().map(|e| e.at);
        }
    }

    /// The fullest window holding an event stamped `at`: each such window ends at an event in `[at, at + length)`.
    fn read(&self, at: Timestamp, needed: usize, length: Duration) -> Reading {
        let (mut best, mut best_end, mut holds_until) = (0, at, None);
        // Of equal stamps the last has the fullest window.
        let first_end = self.events.partition_point(|e| e.at <= at).saturating_sub(1);
        let mut begin = self.events.partition_point(|e| e.at <= at - length);
        for (end, last) in self.events.iter().enumerate().skip(first_end) {
            if last.at >= at + length {
                break;
            }
            while self.events.get(begin).is_some_and(|e| e.at <= last.at - length) {
                begin += 1;
            }
            let count = end + 1 - begin;
            if count > best {
                (best, best_end) = (count, last.at);
            }
            // With `needed` events ending here, the condition is true until the oldest of them leaves.
            if count >= needed
                && let Some(oldest) = self.events.get(end + 1 - needed)
            {
                holds_until = Some(oldest.at + length);
            }
        }
        let lower_bound = self.dropped_until.is_some_and(|dropped| dropped > best_end - length);
        Reading { count: best, lower_bound, holds_until }
    }

    /// Forgets what an alert that has resolved at `now` was about, so that a late line cannot fire it again.
    pub fn consume(&mut self, now: Timestamp, length: Duration) {
        self.events.retain(|e| e.at > now - length);
    }

    /// When the newest kept event arrived, as far as the newest stamps tell.
    #[must_use]
    pub fn newest_arrival(&self) -> Option<Timestamp> {
        self.events.back().map(|e| e.arrived)
    }

    /// The oldest kept stamp after `from`.
    #[must_use]
    pub fn first_after(&self, from: Timestamp) -> Option<Timestamp> {
        self.events.get(self.events.partition_point(|e| e.at <= from)).map(|e| e.at)
    }

    /// Events kept, oldest stamp first.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &Counted> {
        self.events.iter()
    }

    /// The window that holds these events, as after a restart.
    #[must_use]
    pub fn restore(events: impl IntoIterator<Item = Counted>, needed: usize) -> Self {
        let mut events: Vec<Counted> = events.into_iter().collect();
        events.sort_by_key(|e| (e.at, e.arrived));
        let surplus = events.len().saturating_sub(Self::events_max(needed));
        let dropped_until = surplus.checked_sub(1).and_then(|last| events.get(last)).map(|e| e.at);
        Self { events: events.split_off(surplus).into(), dropped_until }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn fill(stamps: &[i64], needed: usize, length_s: u64) -> Vec<Reading> {
        let mut window = Window::default();
        let mut newest = i64::MIN;
        stamps
            .iter()
            .map(|&s| {
                newest = newest.max(s);
                window.push(Counted { at: t(s), arrived: t(newest) }, needed, Duration::from_secs(length_s))
            })
            .collect()
    }

    #[test]
    fn the_window_is_open_at_its_start_and_closed_at_its_end() {
        assert!(fill(&[0, 1, 2, 299], 4, 300)[3].holds_until.is_some());
        assert!(fill(&[0, 1, 2, 300], 4, 300)[3].holds_until.is_none());
    }

    #[test]
    fn late_lines_count_at_their_own_stamp() {
        let readings = fill(&[10, 40, 20, 30], 4, 300);
        assert_eq!(readings.iter().map(|r| r.holds_until.is_some()).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(readings[3].holds_until, Some(t(310)));
        assert!(fill(&[0, 360, 720, 180], 4, 300).iter().all(|r| r.holds_until.is_none()));
    }

    #[test]
    fn a_late_line_makes_a_past_window_true() {
        let last = fill(&[0, 10, 20, 1_000, 15], 4, 300)[4];
        assert_eq!((last.count, last.holds_until), (4, Some(t(300))));
    }

    #[test]
    fn over_the_limit_counts_are_lower_bounds() {
        let stamps: Vec<i64> = (0..1_100).map(|i| i / 10).collect();
        let readings = fill(&stamps, 4, 300);
        assert!(!readings[1_023].lower_bound);
        assert_eq!((readings[1_099].count, readings[1_099].lower_bound), (1_024, true));
    }

    #[test]
    fn what_resolved_is_forgotten() {
        let mut window = Window::default();
        for s in [0, 1, 2, 400] {
            window.push(Counted { at: t(s), arrived: t(s) }, 4, Duration::from_secs(300));
        }
        window.consume(t(610), Duration::from_secs(300));
        assert_eq!(window.events().map(|e| e.at).collect::<Vec<_>>(), [t(400)]);
    }

    /// The definition, read aloud: some `t` has at least `needed` stamps, `at` among them, in `(t - length, t]`.
    fn naive(stamps: &[i64], at: i64, needed: usize, length: i64) -> (usize, bool) {
        let count_at = |end: i64| stamps.iter().filter(|&&s| s > end - length && s <= end).count();
        let counts: Vec<usize> =
            stamps.iter().filter(|&&end| end >= at && end < at + length).map(|&end| count_at(end)).collect();
        let best = counts.into_iter().max().unwrap_or(0);
        (best, best >= needed)
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(stamps in prop::collection::vec(0_i64..600, 1..60), needed in 1_usize..8, length in 1_i64..400) {
            let readings = fill(&stamps, needed, length as u64);
            for (i, reading) in readings.iter().enumerate() {
                prop_assert_eq!((reading.count, reading.holds_until.is_some()), naive(&stamps[..=i], stamps[i], needed, length));
            }
        }

        #[test]
        fn order_of_arrival_does_not_matter_in_the_end(mut stamps in prop::collection::vec(0_i64..600, 1..60), needed in 1_usize..8, length in 1_i64..400) {
            let fired = |s: &[i64]| fill(s, needed, length as u64).iter().any(|r| r.holds_until.is_some());
            let disordered = fired(&stamps);
            stamps.sort_unstable();
            prop_assert_eq!(disordered, fired(&stamps));
        }
    }
}
