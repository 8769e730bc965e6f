//! How many requests the loop may make: a part of the account's allowance, for people and their programs share it.

use dynowatch_domain::Timestamp;

/// The account regains about 75 requests a minute; of these the loop takes so many.
const PER_MINUTE: f64 = 45.0;
/// The most that is saved up.
const BURST: f64 = 90.0;
/// With fewer left to the account, half as many.
const SPARING_BELOW: u32 = 1_500;
/// With fewer left, none: they are for people.
const NONE_BELOW: u32 = 500;

/// Whether so few are left to the account that they are for people.
pub(super) fn is_for_people(remaining: u32) -> bool {
    remaining < NONE_BELOW
}

/// A bucket that fills with time.
#[derive(Debug)]
pub(super) struct Budget {
    left: f64,
    filled_at: Option<Timestamp>,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: BURST, filled_at: None }
    }
}

impl Budget {
    /// Takes `requests` out of the bucket, if they are there. `remaining` is what the account has left, if it is known.
    pub(super) fn take(&mut self, requests: u32, remaining: Option<u32>, now: Timestamp) -> bool {
        let passed = self.filled_at.map_or(0.0, |at| now.since(at).as_secs_f64());
        let rate = match remaining {
            Some(left) if is_for_people(left) => 0.0,
            Some(left) if left < SPARING_BELOW => PER_MINUTE / 2.0,
            _ => PER_MINUTE,
        };
        self.left = (self.left + passed * rate / 60.0).min(BURST);
        self.filled_at = Some(now);
        let enough = rate > 0.0 && self.left >= f64::from(requests);
        if enough {
            self.left -= f64::from(requests);
        }
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests an hour are made with so many left.
    fn an_hour(remaining: Option<u32>) -> u32 {
        let mut budget = Budget::default();
        (0..3_600)
            .map(|second| {
                let now = Timestamp::from_seconds(second);
                (0..10).filter(|_| budget.take(1, remaining, now)).count()
            })
            .sum::<usize>()
            .try_into()
            .unwrap()
    }

    #[test]
    fn the_account_is_not_used_up() {
        for (remaining, want) in
            [(None, 2_785..=2_795), (Some(4_000), 2_785..=2_795), (Some(1_000), 1_435..=1_445), (Some(499), 0..=0)]
        {
            let made = an_hour(remaining);
            assert!(want.contains(&made), "{remaining:?}: {made}");
        }
    }

    #[test]
    fn a_pair_of_requests_is_made_whole_or_not() {
        let mut budget = Budget::default();
        let now = Timestamp::from_seconds(0);
        assert!(budget.take(89, None, now));
        assert!(!budget.take(2, None, now) && budget.take(1, None, now));
    }
}
