//! When a check runs: slots on a grid of its own, one run at a time. Owns the grid, what becomes of slots that fell due
//! during a run, and the recognition of a clock that jumped; who may run now is the shell's business (contract: catalog
//! 2.3).
//!
//! The grid is `offset + k * interval` since 1970. The offset follows from the check's number alone, so it is the same
//! after a restart and in every process, and numbers given in a row spread evenly over any interval.

use std::time::Duration;

use crate::Timestamp;
use crate::time::micros;

/// A jump of at least this many intervals is a gap: nobody measured, nothing is caught up on.
pub const GAP_INTERVALS: u32 = 2;

/// The golden section of 2^64: multiples of it, modulo 2^64, never crowd.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Where in its interval the check of that number starts.
#[must_use]
pub fn offset(number: u64, interval: Duration) -> Duration {
    let share = u128::from(number.wrapping_mul(GOLDEN));
    let interval = u128::try_from(micros(interval)).unwrap_or(0);
    Duration::from_micros(u64::try_from((share * interval) >> 64).unwrap_or(0))
}

/// One check's grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    interval: i64,
    offset: i64,
}

/// Where the next run stands, and what was lost on the way there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// The slot.
    pub slot: Timestamp,
    /// When to start: the slot, or later for a run that starts late.
    pub at: Timestamp,
    /// Slots that fell due during the last run and are not made up for.
    pub missed: u64,
    /// It starts late on purpose: the run after it starts on the grid.
    pub late: bool,
}

/// What a scheduler that looks at the clock finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Not before then.
    At(Timestamp),
    /// Now, this long after its slot.
    Now {
        /// How late it starts.
        lag: Duration,
    },
    /// The clock jumped, or the machine slept: nobody measured, and the next run is this one.
    Jumped {
        /// The slot to wait for.
        next: Timestamp,
        /// Slots that nobody took.
        missed: u64,
    },
}

impl Grid {
    /// The grid of the check of that number. An interval of nothing counts as one second.
    #[must_use]
    pub fn new(number: u64, interval: Duration) -> Self {
        let interval = if interval.is_zero() { Duration::from_secs(1) } else { interval };
        Self { interval: micros(interval), offset: micros(offset(number, interval)) }
    }

    /// The first slot after `after`.
    #[must_use]
    pub fn after(&self, after: Timestamp) -> Timestamp {
        let turns = after.as_micros().saturating_sub(self.offset).div_euclid(self.interval);
        Timestamp::from_micros(turns.saturating_add(1).saturating_mul(self.interval).saturating_add(self.offset))
    }

    /// Whether a moment is a slot.
    #[must_use]
    pub fn is_slot(&self, at: Timestamp) -> bool {
        at.as_micros().saturating_sub(self.offset).rem_euclid(self.interval) == 0
    }

    /// How many slots lie in `(from, until]`.
    #[must_use]
    pub fn slots(&self, from: Timestamp, until: Timestamp) -> u64 {
        let turns = |at: Timestamp| at.as_micros().saturating_sub(self.offset).div_euclid(self.interval);
        u64::try_from(turns(until) - turns(from)).unwrap_or(0)
    }

    /// What follows a run for `slot` that ended at `ended`. A slot that fell due meanwhile is missed, save one: where a run
    /// took a little longer than the interval, its successor starts at once, since else every other sample were lost.
    #[must_use]
    pub fn follow(&self, slot: Timestamp, was_late: bool, ended: Timestamp) -> Next {
        let due = self.slots(slot, ended);
        let first = self.after(slot);
        let half = u64::try_from(self.interval / 2).unwrap_or(0);
        if due == 1 && !was_late && ended.since(first) < Duration::from_micros(half) {
            return Next { slot: first, at: ended, missed: 0, late: ended > first };
        }
        let next = self.after(slot.max(ended));
        Next { slot: next, at: next, missed: due, late: false }
    }

    /// Looks at the clock while `slot` is waited for.
    #[must_use]
    pub fn look(&self, slot: Timestamp, now: Timestamp) -> Due {
        let gap = Duration::from_micros(u64::try_from(self.interval).unwrap_or(0)) * GAP_INTERVALS;
        if now < slot {
            // Further away than a whole interval: the clock went back.
            let jumped = slot.since(now) > gap / GAP_INTERVALS;
            return if jumped { Due::Jumped { next: self.after(now), missed: 0 } } else { Due::At(slot) };
        }
        let lag = now.since(slot);
        if lag >= gap {
            Due::Jumped { next: self.after(now), missed: self.slots(slot, now) + 1 }
        } else {
            Due::Now { lag }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn s(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn ms(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn starts_are_spread_and_stay_where_they_are() {
        for first in [0, 1, 977, 4_000_000_000] {
            let mut buckets: BTreeMap<i64, u32> = BTreeMap::new();
            for number in first..first + 60 {
                let grid = Grid::new(number, Duration::from_secs(60));
                *buckets.entry(grid.after(s(1_000_000)).as_seconds()).or_default() += 1;
                assert_eq!(grid, Grid::new(number, Duration::from_secs(60)));
            }
            assert!(buckets.values().all(|&starts| starts <= 4), "{buckets:?}");
        }
    }

    #[test]
    fn what_follows_a_run() {
        let grid = Grid { interval: 1_000_000, offset: 0 };
        #[track_caller]
        fn check(grid: Grid, was_late: bool, ended_ms: i64, want: Next) {
            assert_eq!(grid.follow(s(10), was_late, ms(ended_ms)), want, "ended at {ended_ms} ms");
        }
        let on_grid = |slot, missed| Next { slot, at: slot, missed, late: false };
        check(grid, false, 10_200, on_grid(s(11), 0));
        // Just over the interval: one late start, and then the grid again.
        check(grid, false, 11_050, Next { slot: s(11), at: ms(11_050), missed: 0, late: true });
        check(grid, true, 11_050, on_grid(s(12), 1));
        check(grid, false, 11_600, on_grid(s(12), 1));
        // Exactly at the slot is not late.
        check(grid, false, 11_000, Next { slot: s(11), at: s(11), missed: 0, late: false });
        // Five seconds: the slots are missed, the next start is on the grid.
        check(grid, false, 15_003, on_grid(s(16), 5));
    }

    #[test]
    fn looking_at_the_clock() {
        let grid = Grid { interval: 10_000_000, offset: 3_000_000 };
        let cases = [
            (s(13), s(9), Due::At(s(13))),
            (s(13), s(13), Due::Now { lag: Duration::ZERO }),
            (s(13), s(32), Due::Now { lag: Duration::from_secs(19) }),
            (s(13), s(33), Due::Jumped { next: s(43), missed: 3 }),
            (s(13), s(100), Due::Jumped { next: s(103), missed: 9 }),
            (s(13), s(1), Due::Jumped { next: s(3), missed: 0 }),
        ];
        for (slot, now, want) in cases {
            assert_eq!(grid.look(slot, now), want, "{slot} at {now}");
        }
    }

    proptest! {
        #[test]
        fn slots_lie_on_the_grid(number: u64, interval_ms in 1_u64..100_000_000, after in -4_000_000_000_000_i64..4_000_000_000_000_000) {
            let grid = Grid::new(number, Duration::from_millis(interval_ms));
            let after = Timestamp::from_micros(after);
            let slot = grid.after(after);
            prop_assert!(grid.is_slot(slot) && slot > after && slot.since(after) <= Duration::from_millis(interval_ms));
            prop_assert_eq!(grid.slots(after, slot), 1);
            prop_assert!(offset(number, Duration::from_millis(interval_ms)) < Duration::from_millis(interval_ms));
        }

        /// However long runs take: one at a time, never early, every slot is taken or missed, and never two late starts in
        /// a row.
        #[test]
        fn every_slot_is_accounted_for(lengths in prop::collection::vec(0_u64..60_000, 1..80), number: u64) {
            let grid = Grid::new(number, Duration::from_secs(10));
            let begin = grid.after(s(1_000));
            let (mut slot, mut at, mut late, mut taken, mut missed) = (begin, begin, false, 1, 0);
            for length in lengths {
                let ended = at + Duration::from_millis(length);
                let next = grid.follow(slot, late, ended);
                prop_assert!(next.at >= ended && next.at >= next.slot && next.slot > slot);
                prop_assert!(!(late && next.late));
                prop_assert!(next.late || next.at == next.slot);
                missed += next.missed;
                taken += 1;
                (slot, at, late) = (next.slot, next.at, next.late);
                prop_assert_eq!(grid.slots(begin, slot) + 1, taken + missed);
            }
        }
    }
}
