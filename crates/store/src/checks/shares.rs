//! Who runs which check. A check is held by one process at a time, for a while; one that dies loses its checks when that
//! is over, and the others take them. On SQLite there is one server, which holds all.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use uuid::Uuid;

use crate::db::{CALL_MAX, Tx, change, on, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::text::{clean, count, int, time};

/// For how long a process holds a check. With a look every few seconds, others take it over within 30 s of its end.
pub const SHARE: Duration = Duration::from_secs(20);
/// Checks that are taken or given back in one go.
const MOVED_MAX: u64 = 1_000;

impl Store {
    /// Holds what a process holds for longer, gives back what is over its share, and takes what is free up to it. Returns the
    /// numbers of what it holds now. `keep` are those it would rather not give back, because they run at the moment.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn share_checks(&self, owner: &str, share: u64, keep: &[u64], now: Timestamp) -> Result<Vec<u64>> {
        within(CALL_MAX, async {
            let (owner, now_us, until) = (clean(owner), now.as_micros(), (now + SHARE).as_micros());
            let mut tx = self.begin().await?;
            // What ran out may have been taken by another, who would have become its owner.
            let mine = "UPDATE check_states SET lease_until = $1 WHERE owner = $2 RETURNING number";
            let mine: Vec<i64> =
                on!(&mut tx, Engine, conn, sqlx::query_scalar(mine).bind(until).bind(&*owner).fetch_all(conn).await?);
            let mut mine: Vec<u64> = mine.into_iter().map(count).collect();
            mine.sort_unstable();
            let held = mine.len() as u64;
            if held > share {
                let surplus = held - share;
                // The highest numbers first: the same ones whoever asks.
                let back: Vec<u64> = mine.iter().rev().filter(|number| !keep.contains(number)).copied().collect();
                for number in back.into_iter().take(usize::try_from(surplus.min(MOVED_MAX)).unwrap_or(0)) {
                    let sql = "UPDATE check_states SET owner = NULL, lease_until = 0 WHERE number = $1 AND owner = $2";
                    on!(&mut tx, Engine, conn, {
                        sqlx::query(sql).bind(int(number)).bind(&*owner).execute(conn).await?;
                    });
                    mine.retain(|held| *held != number);
                }
            } else if held < share {
                let wanted = int((share - held).min(MOVED_MAX));
                let taken: Vec<i64> = match &mut tx {
                    Tx::Lite(tx) => {
                        let sql = "UPDATE check_states SET owner = $1, lease_until = $2 WHERE number IN \
                                   (SELECT number FROM check_states WHERE (owner IS NULL OR lease_until <= $3) ORDER BY number LIMIT $4) \
                                   RETURNING number";
                        let query = sqlx::query_scalar(sql).bind(&*owner).bind(until).bind(now_us).bind(wanted);
                        query.fetch_all(&mut tx.conn).await?
                    }
                    Tx::Pg(tx) => {
                        // What another is about to take is left to it.
                        let sql = "UPDATE check_states SET owner = $1, lease_until = $2 WHERE number IN \
                                   (SELECT number FROM check_states WHERE (owner IS NULL OR lease_until <= $3) ORDER BY number LIMIT $4 \
                                   FOR UPDATE SKIP LOCKED) RETURNING number";
                        let query = sqlx::query_scalar(sql).bind(&*owner).bind(until).bind(now_us).bind(wanted);
                        query.fetch_all(&mut **tx).await?
                    }
                };
                mine.extend(taken.into_iter().map(count));
            }
            tx.commit().await?;
            Ok(mine)
        })
        .await
    }

    /// Gives back what a process holds, or what anyone holds: at its end, and at the start of the only one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn give_back_checks(&self, owner: Option<&str>) -> Result<u64> {
        let sql = "UPDATE check_states SET owner = NULL, lease_until = 0 WHERE owner = COALESCE($1, owner)";
        change!(&self.state, sqlx::query(sql).bind(owner.map(clean)))
    }

    /// How many servers are alive, this one among them or not.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn processes_alive(&self, since: Timestamp) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM processes WHERE seen_at >= $1";
        let found: i64 = read!(&self.state, |pool| sqlx::query_scalar(sql).bind(since.as_micros()).fetch_one(pool))?;
        Ok(count(found))
    }

    /// Notes that a process cannot reach its control targets since then, or can again.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn set_blind(&self, process: Uuid, since: Option<Timestamp>) -> Result<()> {
        let _done = match since {
            Some(since) => {
                let sql =
                    "INSERT INTO check_blinds (process, since_at) VALUES ($1, $2) ON CONFLICT (process) DO NOTHING";
                change!(&self.state, sqlx::query(sql).bind(process).bind(since.as_micros()))?
            }
            None => {
                let sql = "DELETE FROM check_blinds WHERE process = $1";
                change!(&self.state, sqlx::query(sql).bind(process))?
            }
        };
        Ok(())
    }

    /// Since when one of the processes that are alive is blind, and how many are. `None`: none.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn blind_processes(&self, alive_since: Timestamp) -> Result<Option<(Timestamp, u64)>> {
        let sql = "SELECT MIN(b.since_at), COUNT(*) FROM check_blinds AS b JOIN processes AS p ON p.id = b.process WHERE p.seen_at >= $1";
        let (since, found): (Option<i64>, i64) =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(alive_since.as_micros()).fetch_one(pool))?;
        Ok(since.map(|since| (time(since), count(found))))
    }
}
