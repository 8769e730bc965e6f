//! Who does what only one process may do, and which processes live. A lease has a fence: a number that grows with every
//! owner, so that work begun under an older one can be told from the present owner's.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use uuid::Uuid;

use crate::db::{CALL_MAX, change, on, read, run, within};
use crate::error::Result;
use crate::open::Store;
use crate::text::time;

/// The most living processes that are told of.
const OTHERS_MAX: i64 = 1_000;

/// A process, and the time in which it is known to have watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lived {
    /// When it started.
    pub started_at: Timestamp,
    /// When it was last seen alive.
    pub seen_at: Timestamp,
}

impl Lived {
    /// Whether it ended in order, and so left nothing unwritten. The row says so by a start behind its end, which no process
    /// that runs has.
    #[must_use]
    pub fn ended_in_order(&self) -> bool {
        self.started_at > self.seen_at
    }
}

impl Store {
    /// Takes a lease that is free, over, or the holder's own; `None` when someone else has it. Returns the fence.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn acquire_lease(
        &self,
        name: &str,
        holder: &str,
        now: Timestamp,
        length: Duration,
    ) -> Result<Option<i64>> {
        let sql = "INSERT INTO leases (name, holder, until_at, fence) VALUES ($1, $2, $3, 1) ON CONFLICT (name) DO UPDATE \
                   SET holder = excluded.holder, until_at = excluded.until_at, fence = leases.fence + 1 \
                   WHERE leases.until_at <= $4 OR leases.holder = excluded.holder RETURNING fence";
        let until = (now + length).as_micros();
        run!(&self.state, |pool| sqlx::query_scalar(sql)
            .bind(name)
            .bind(holder)
            .bind(until)
            .bind(now.as_micros())
            .fetch_optional(pool))
    }

    /// Holds a lease for longer. `false`: it was lost; whoever held it must stop.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn renew_lease(
        &self,
        name: &str,
        holder: &str,
        fence: i64,
        now: Timestamp,
        length: Duration,
    ) -> Result<bool> {
        let sql = "UPDATE leases SET until_at = $1 WHERE name = $2 AND holder = $3 AND fence = $4";
        let until = (now + length).as_micros();
        let done = change!(&self.state, sqlx::query(sql).bind(until).bind(name).bind(holder).bind(fence))?;
        Ok(done == 1)
    }

    /// Gives a lease back, so that another need not wait for its end.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn release_lease(&self, name: &str, holder: &str, fence: i64) -> Result<()> {
        let sql = "UPDATE leases SET until_at = 0 WHERE name = $1 AND holder = $2 AND fence = $3";
        let _done = change!(&self.state, sqlx::query(sql).bind(name).bind(holder).bind(fence))?;
        Ok(())
    }

    /// Records that a process starts. Returns when any process was last seen alive before: what lies between, nobody saw.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn start_process(&self, id: Uuid, now: Timestamp) -> Result<Option<Timestamp>> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let last = "SELECT MAX(seen_at) FROM processes WHERE id <> $1";
            let last: Option<i64> = on!(&mut tx, Engine, conn, sqlx::query_scalar(last).bind(id).fetch_one(conn).await?);
            let new = "INSERT INTO processes (id, started_at, seen_at) VALUES ($1, $2, $2) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at";
            on!(&mut tx, Engine, conn, sqlx::query(new).bind(id).bind(now.as_micros()).execute(conn).await.map(|_done| ())?);
            tx.commit().await?;
            Ok(last.map(time))
        })
        .await
    }

    /// Records that a process lives. A clock that goes backwards changes nothing (C27).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn beat_process(&self, id: Uuid, now: Timestamp) -> Result<()> {
        let sql = "UPDATE processes SET seen_at = $1 WHERE id = $2 AND seen_at < $1";
        let _done = change!(&self.state, sqlx::query(sql).bind(now.as_micros()).bind(id))?;
        Ok(())
    }

    /// Records that a process ends in order. Where others live on, nothing is missed and it is forgotten; the last of them
    /// leaves a last beat, from which the next one knows how long nobody looked, and that it ended in order.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_process(&self, id: Uuid, now: Timestamp, alive_since: Timestamp) -> Result<()> {
        self.beat_process(id, now).await?;
        let sql = "DELETE FROM processes WHERE id = $1 AND EXISTS (SELECT 1 FROM processes AS o WHERE o.id <> $1 AND o.seen_at >= $2)";
        let _done = change!(&self.state, sqlx::query(sql).bind(id).bind(alive_since.as_micros()))?;
        let in_order = "UPDATE processes SET started_at = seen_at + 1 WHERE id = $1";
        let _done = change!(&self.state, sqlx::query(in_order).bind(id))?;
        Ok(())
    }

    /// Forgets the other processes that were last seen before `before`, and returns them, the oldest first. Each is told to
    /// one caller only. Also returns the others that are left.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take_dead_processes(&self, id: Uuid, before: Timestamp) -> Result<(Vec<Lived>, Vec<Lived>)> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let gone = "DELETE FROM processes WHERE id <> $1 AND seen_at < $2 RETURNING started_at, seen_at";
            let dead: Vec<(i64, i64)> = on!(
                &mut tx,
                Engine,
                conn,
                sqlx::query_as(gone).bind(id).bind(before.as_micros()).fetch_all(conn).await?
            );
            let left = "SELECT started_at, seen_at FROM processes WHERE id <> $1 ORDER BY seen_at DESC LIMIT $2";
            let left: Vec<(i64, i64)> =
                on!(&mut tx, Engine, conn, sqlx::query_as(left).bind(id).bind(OTHERS_MAX).fetch_all(conn).await?);
            tx.commit().await?;
            let lived = |(started_at, seen_at)| Lived { started_at: time(started_at), seen_at: time(seen_at) };
            let mut dead: Vec<Lived> = dead.into_iter().map(lived).collect();
            dead.sort_unstable_by_key(|one| one.seen_at);
            Ok((dead, left.into_iter().map(lived).collect()))
        })
        .await
    }

    /// When any process was last seen alive.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn last_seen(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> =
            read!(&self.state, |pool| sqlx::query_scalar("SELECT MAX(seen_at) FROM processes").fetch_one(pool))?;
        Ok(at.map(time))
    }
}
