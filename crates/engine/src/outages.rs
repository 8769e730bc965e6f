//! A store that is away fails many times a second. The log says so at once, then once per [`LOG_EVERY`] and kind of work,
//! with how often it was; `/metrics` has every failure.

use std::collections::HashMap;
use std::time::Duration;

use dynowatch_domain::Timestamp;

/// How often a failure that goes on is logged.
pub(crate) const LOG_EVERY: Duration = Duration::from_secs(60);

/// Failures by kind of work. The kinds are words of the source code, so they are few.
#[derive(Debug, Default)]
pub(crate) struct Outages(HashMap<&'static str, Outage>);

#[derive(Debug)]
struct Outage {
    logged_at: Timestamp,
    since_logged: u64,
    total: u64,
}

impl Outages {
    /// Counts a failure. Returns how many there were since the last one that was logged, this one among them, if it is to
    /// be logged.
    pub(crate) fn note(&mut self, work: &'static str, now: Timestamp) -> Option<u64> {
        let outage = self.0.entry(work).or_insert(Outage { logged_at: now, since_logged: 0, total: 0 });
        outage.total += 1;
        outage.since_logged += 1;
        // A clock that was set back must not silence the log until it has caught up.
        let due = now.since(outage.logged_at) >= LOG_EVERY || now < outage.logged_at;
        (outage.total == 1 || due).then(|| {
            outage.logged_at = now;
            std::mem::take(&mut outage.since_logged)
        })
    }

    /// All failures since the process began, by kind of work, sorted.
    pub(crate) fn totals(&self) -> Vec<(&'static str, u64)> {
        let mut all: Vec<_> = self.0.iter().map(|(work, outage)| (*work, outage.total)).collect();
        all.sort_unstable();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_then_one_a_minute_with_their_number() {
        let t = Timestamp::from_seconds;
        let mut outages = Outages::default();
        let said: Vec<_> = (0..=130).filter_map(|s| Some((s, outages.note("commit", t(s))?))).collect();
        assert_eq!(said, [(0, 1), (60, 60), (120, 60)]);
        assert_eq!(outages.note("send", t(130)), Some(1), "other work is another matter");
        assert_eq!(outages.note("commit", t(100)), Some(11), "the clock was set back");
        assert_eq!(outages.totals(), [("commit", 132), ("send", 1)]);
    }
}
