//! What is forgotten, and when: everything here is bounded. Deletes go in slices of 5,000 rows, each a statement of its own,
//! so that no lock is held for long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use dynowatch_domain::Timestamp;

use crate::checks::pings::PINGS_KEPT;
use crate::checks::results::{FAILURES_KEPT, RESULTS_KEPT};
use crate::db::{Db, change, read};
use crate::error::Result;
use crate::open::Store;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// Frames count once for at least an hour (C3).
pub const FRAMES_KEPT: Duration = Duration::from_secs(2 * 3_600);
/// What rules counted: enough to try a rule against last week.
pub const MATCHES_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// At most this many rows of what rules counted, the newest.
pub const MATCHES_MAX: i64 = 500_000;
/// At most this many of them with their lines: lines are most of the bytes, alerts keep their own.
pub const MATCHES_WITH_LINES_MAX: i64 = 50_000;
/// Alerts, from their end, with their decisions and deliveries.
pub const ALERTS_KEPT: Duration = Duration::from_secs(400 * 86_400);
/// Messages, from their end; those given up stay with their alert.
pub const DELIVERIES_KEPT: Duration = Duration::from_secs(90 * 86_400);

const SLICE: i64 = 5_000;
/// A run that finds more leaves it to the next.
const SLICES_MAX: u32 = 200;

/// How many rows a run removed, by what they were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Frames.
    pub frames: u64,
    /// Rows of what rules counted.
    pub matches: u64,
    /// Keys at rest.
    pub tracks: u64,
    /// Alerts.
    pub alerts: u64,
    /// Deliveries.
    pub deliveries: u64,
    /// Releases, blind times, processes, quieted rules.
    pub others: u64,
}

impl Store {
    /// Forgets what is old. Meant to run every few minutes, in one process at a time; a run that breaks off goes on the
    /// next time.
    ///
    /// # Errors
    /// When the store is away; what was removed stays removed.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept> {
        self.fold_journal().await?;
        let before = |age: Duration| (now - age).as_micros();
        let month = before(30 * DAY);
        let mut swept = Swept {
            frames: self.slices(self.old_frames(), before(FRAMES_KEPT)).await?,
            matches: self.sweep_matches(before(MATCHES_KEPT)).await?,
            // A key at rest for a week has no window and no cool-down any more; it starts anew.
            tracks: self
                .slices(
                    "DELETE FROM tracks WHERE (app_id, rule, grp) IN (SELECT app_id, rule, grp FROM tracks \
                     WHERE phase = 'quiet' AND next_wake_at IS NULL AND changed_at < $1 LIMIT $2)",
                    before(7 * DAY),
                )
                .await?,
            alerts: self.slices("DELETE FROM alerts WHERE id IN (SELECT id FROM alerts WHERE resolved_at < $1 LIMIT $2)", before(ALERTS_KEPT)).await?,
            deliveries: self
                .slices(
                    "DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries WHERE (state = 'sent' OR (state = 'failed' AND alert_id IS NULL)) \
                     AND finished_at < $1 LIMIT $2)",
                    before(DELIVERIES_KEPT),
                )
                .await?,
            others: 0,
        };
        let old_releases =
            "DELETE FROM releases WHERE (app_id, at) IN (SELECT app_id, at FROM releases WHERE at < $1 LIMIT $2)";
        swept.others += self.slices(old_releases, before(ALERTS_KEPT)).await?;
        swept.others += self
            .slices("DELETE FROM blinds WHERE id IN (SELECT id FROM blinds WHERE until_at < $1 LIMIT $2)", month)
            .await?;
        swept.others += self
            .slices("DELETE FROM processes WHERE id IN (SELECT id FROM processes WHERE seen_at < $1 LIMIT $2)", month)
            .await?;
        let old_overrides = "DELETE FROM rule_overrides WHERE rule IN (SELECT rule FROM rule_overrides WHERE disabled_until < $1 LIMIT $2)";
        swept.others += self.slices(old_overrides, before(HOUR)).await?;
        // One that was left has a drain that must not count for as long as it delivers.
        let old_rotations = "DELETE FROM drain_rotations WHERE id IN (SELECT id FROM drain_rotations \
                             WHERE next_at IS NULL AND state <> 'left' AND changed_at < $1 LIMIT $2)";
        swept.others += self.slices(old_rotations, month).await?;
        swept.others += self.sweep_checks(&before).await?;
        if let Db::Lite { .. } = &self.state {
            let _done = change!(&self.state, sqlx::query("PRAGMA optimize"))?;
        }
        Ok(swept)
    }

    fn old_frames(&self) -> &'static str {
        match self.state {
            // In the order of arrival: those that may go are the first.
            Db::Lite { .. } => {
                "DELETE FROM frames WHERE rowid IN (SELECT place FROM (SELECT rowid AS place, seen_at FROM frames ORDER BY rowid LIMIT $2) AS first \
                 WHERE seen_at < $1)"
            }
            Db::Pg(_) => {
                "DELETE FROM frames WHERE (app_id, frame_id) IN (SELECT app_id, frame_id FROM frames WHERE seen_at < $1 LIMIT $2)"
            }
        }
    }

    /// Runs, failures and pings by age; checks that nobody has wanted for as long as alerts are kept, with their history.
    async fn sweep_checks(&self, before: &impl Fn(Duration) -> i64) -> Result<u64> {
        let mut swept = 0;
        let pings = "DELETE FROM check_pings WHERE id IN (SELECT id FROM check_pings WHERE at < $1 LIMIT $2)";
        swept += self.slices(pings, before(PINGS_KEPT)).await?;
        let gone =
            "DELETE FROM check_states WHERE number IN (SELECT number FROM check_states WHERE seen_at < $1 LIMIT $2)";
        swept += self.slices(gone, before(ALERTS_KEPT)).await?;
        let flips = "DELETE FROM check_flips WHERE (number, at) IN (SELECT number, at FROM check_flips \
                     WHERE at < $1 AND number NOT IN (SELECT number FROM check_states) LIMIT $2)";
        swept += self.slices(flips, before(ALERTS_KEPT)).await?;
        let outages = "DELETE FROM check_outages WHERE id IN (SELECT id FROM check_outages \
                       WHERE began_at < $1 AND number NOT IN (SELECT number FROM check_states) LIMIT $2)";
        swept += self.slices(outages, before(ALERTS_KEPT)).await?;
        let results = "DELETE FROM check_results WHERE (number, from_at) IN (SELECT number, from_at FROM check_results WHERE from_at < $1 LIMIT $2)";
        swept += slices_of(&self.metrics, results, before(RESULTS_KEPT)).await?;
        let failures = "DELETE FROM check_failures WHERE id IN (SELECT id FROM check_failures WHERE at < $1 LIMIT $2)";
        swept += slices_of(&self.metrics, failures, before(FAILURES_KEPT)).await?;
        Ok(swept)
    }

    async fn slices(&self, sql: &'static str, before: i64) -> Result<u64> {
        slices_of(&self.state, sql, before).await
    }
}

async fn slices_of(db: &Db, sql: &'static str, before: i64) -> Result<u64> {
    let mut total = 0;
    for _ in 0..SLICES_MAX {
        let done = change!(db, sqlx::query(sql).bind(before).bind(SLICE))?;
        total += done;
        if done < SLICE.unsigned_abs() {
            break;
        }
    }
    Ok(total)
}

impl Store {
    /// By age and by number; the lines go earlier than the counts.
    async fn sweep_matches(&self, before: i64) -> Result<u64> {
        let newest: Option<i64> =
            read!(&self.state, |pool| sqlx::query_scalar("SELECT MAX(id) FROM matches").fetch_one(pool))?;
        let Some(newest) = newest else { return Ok(0) };
        // Rows lie in the order of arrival: the old ones are the first. The last row stays, however old, for SQLite would give
        // its number out again, and keys point to their rows by number.
        let old = "DELETE FROM matches WHERE id <= (SELECT MAX(id) FROM (SELECT id, arrived_at FROM matches ORDER BY id LIMIT $2) AS oldest \
                   WHERE arrived_at < $1) AND id < (SELECT MAX(id) FROM matches)";
        let surplus = "DELETE FROM matches WHERE id IN (SELECT id FROM matches WHERE id <= $1 ORDER BY id LIMIT $2)";
        let removed = self.slices(old, before).await? + self.slices(surplus, newest - MATCHES_MAX).await?;
        let (from, until) =
            (self.lines_swept.load(Ordering::Relaxed).max(newest - MATCHES_MAX), newest - MATCHES_WITH_LINES_MAX);
        let mut at = from;
        while at < until {
            let end = until.min(at + SLICE);
            let sql = "UPDATE matches SET lines = '[]' WHERE id > $1 AND id <= $2 AND lines <> '[]'";
            let _done: u64 = change!(&self.state, sqlx::query(sql).bind(at).bind(end))?;
            at = end;
        }
        self.lines_swept.fetch_max(at, Ordering::Relaxed);
        Ok(removed)
    }
}

#[cfg(test)]
#[path = "housekeeping_tests.rs"]
mod tests;
