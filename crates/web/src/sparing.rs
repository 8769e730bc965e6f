//! What strangers can make happen as often as they like is logged now and then, with how often it was: a log that grows with
//! every request of theirs would be theirs to fill, and where dynowatch drains its own log it would never end.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dynowatch_domain::Timestamp;

/// Between two lines of one sort.
const EVERY: Duration = Duration::from_secs(10);

/// One sort of happening.
#[derive(Default)]
pub(crate) struct Sparing(Mutex<Since>);

#[derive(Default)]
struct Since {
    count: u64,
    logged_at: Option<Timestamp>,
}

impl Sparing {
    /// Counts it. When it is to be logged: how often it was since the last time, this one included.
    pub(crate) fn note(&self, now: Timestamp) -> Option<u64> {
        let mut since = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        since.count += 1;
        // A clock that was set back holds up nothing.
        let due = since.logged_at.is_none_or(|at| now < at || now.since(at) >= EVERY);
        due.then(|| std::mem::replace(&mut *since, Since { count: 0, logged_at: Some(now) }).count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_ten_seconds_says_how_many() {
        let (sparing, t) = (Sparing::default(), |n: i64| Timestamp::from_seconds(1_000 + n));
        let logged: Vec<_> = (0..25).filter_map(|n| sparing.note(t(n))).collect();
        assert_eq!(logged, [1, 10, 10]);
        assert_eq!(sparing.note(t(-500)), Some(5));
    }
}
