//! Buckets of ratios and absences: sums over ten seconds, written in bulk. They may lose their last ten seconds, lie
//! apart from the state (on SQLite in a file of their own), and are the first to stop when room runs out, so that alerts
//! go on (contract: metrics stop first).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dynowatch_domain::key::Group;
use dynowatch_domain::rollup::Bucket;
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{Db, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::rows;
use crate::text::{count, int, time};

/// The most that one flush may take.
const FLUSH_MAX: Duration = Duration::from_secs(30);
/// Rows per statement: more make it no faster.
const PG_ROWS_MAX: usize = 5_000;
/// Deletes go in slices, so that nothing waits for long.
const PRUNE_SLICE: i64 = 5_000;

/// What one rule saw of one key in ten seconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelRow {
    /// The rule's name.
    pub rule: String,
    /// The app.
    pub app: AppId,
    /// The group within the rule.
    pub group: Group,
    /// When and how much.
    pub bucket: Bucket,
}

/// The room of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricsRoom {
    /// Bytes in use.
    pub bytes: u64,
    /// Bytes that may be used.
    pub bytes_max: u64,
}

impl MetricsRoom {
    /// Whether more than that many percent are in use.
    #[must_use]
    pub fn above(self, percent: u64) -> bool {
        self.bytes.saturating_mul(100) > self.bytes_max.saturating_mul(percent)
    }
}

/// How much room metrics have, and whether they had to stop.
#[derive(Debug)]
pub(crate) struct Room {
    stopped: AtomicBool,
    bytes_max: u64,
    /// What metrics took when they were last measured.
    bytes: AtomicU64,
    /// On Postgres, what of it are packed rows and chunks: to add them up takes too long for every flush.
    packed_bytes: AtomicU64,
    /// The folder whose disk must keep that many bytes free.
    disk: Option<(PathBuf, u64)>,
}

impl Room {
    pub(crate) fn new(bytes_max: u64, disk: Option<(PathBuf, u64)>) -> Self {
        Self {
            stopped: AtomicBool::new(false),
            bytes_max,
            bytes: AtomicU64::new(0),
            packed_bytes: AtomicU64::new(0),
            disk,
        }
    }

    /// Whether the disk has less room than metrics must leave.
    fn disk_is_short(&self) -> Option<String> {
        let (folder, reserve) = self.disk.as_ref()?;
        let disk = rustix::fs::statvfs(folder).ok()?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        (free < *reserve).then(|| {
            format!("{} MiB left on the disk of {}, metrics leave {}", free >> 20, folder.display(), reserve >> 20)
        })
    }
}

type Row = (String, Uuid, String, i64, i64, i64);

/// One row per key and time, sorted: Postgres changes no row twice in a statement, and two writers that go in one order
/// never wait for each other in a circle.
fn merge(rows: &[LevelRow]) -> Vec<Row> {
    let mut sorted: Vec<&LevelRow> = rows.iter().collect();
    sorted
        .sort_unstable_by(|a, b| (&a.rule, a.app, &a.group, a.bucket.at).cmp(&(&b.rule, b.app, &b.group, b.bucket.at)));
    let mut merged: Vec<Row> = Vec::with_capacity(sorted.len());
    for row in sorted {
        let (at, total, matched) = (row.bucket.at.as_micros(), int(row.bucket.total), int(row.bucket.matched));
        match merged.last_mut() {
            Some(last) if last.0 == row.rule && last.1 == row.app.0 && last.2 == row.group.0 && last.3 == at => {
                last.4 = last.4.saturating_add(total);
                last.5 = last.5.saturating_add(matched);
            }
            _ => merged.push((row.rule.clone(), row.app.0, row.group.0.clone(), at, total, matched)),
        }
    }
    merged
}

impl Store {
    /// Adds to the buckets, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk, the database or the metrics' share of them has no room; then
    /// [`Store::metrics_stopped`] says so until a later call succeeds.
    pub async fn add_levels(&self, rows: &[LevelRow]) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let done = within(FLUSH_MAX, async {
            self.check_room().await?;
            self.write_levels(&merge(rows)).await
        })
        .await;
        self.note_room(&done);
        done
    }

    /// Remembers whether the last write of metrics found room.
    pub(crate) fn note_room(&self, done: &Result<()>) {
        match done {
            Ok(()) => self.room.stopped.store(false, Ordering::Relaxed),
            Err(StoreError::Full(_)) => self.room.stopped.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
    }

    /// Whether metrics had to stop for lack of room, at the last attempt.
    #[must_use]
    pub fn metrics_stopped(&self) -> bool {
        self.room.stopped.load(Ordering::Relaxed)
    }

    /// The bytes that metrics take: what is in use of the file on SQLite, an estimate on Postgres (its statistics know how
    /// many rows there are; its files never shrink).
    ///
    /// # Errors
    /// When the store is away.
    pub async fn metrics_bytes(&self) -> Result<u64> {
        const LITE: &str = "SELECT (p.page_count - f.freelist_count) * s.page_size \
                            FROM pragma_page_count AS p, pragma_freelist_count AS f, pragma_page_size AS s";
        const PG: &str =
            "SELECT CAST(GREATEST(reltuples, 0) * 160 AS BIGINT) FROM pg_class WHERE oid = 'level_buckets'::regclass";
        let on_postgres = matches!(self.metrics, Db::Pg(_));
        let sql = if on_postgres { PG } else { LITE };
        let bytes: i64 = read!(&self.metrics, |pool| sqlx::query_scalar(sql).fetch_one(pool))?;
        let packed = if on_postgres { self.room.packed_bytes.load(Ordering::Relaxed) } else { 0 };
        let bytes = count(bytes).saturating_add(packed);
        self.room.bytes.store(bytes, Ordering::Relaxed);
        Ok(bytes)
    }

    /// Adds up anew what metrics take, which on Postgres reads every packed row's length; meant for every few minutes.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn measure_metrics(&self) -> Result<MetricsRoom> {
        // A row's head, its place in the page and its entries in the indexes are about 110 bytes.
        const PACKED: &str = "SELECT CAST((SELECT COALESCE(SUM(octet_length(body) + 110), 0) FROM metric_packs) \
                              + (SELECT COALESCE(SUM(octet_length(body) + 160), 0) FROM metric_chunks) \
                              + (SELECT COUNT(*) * 250 FROM metric_series) AS BIGINT)";
        if let Db::Pg(pool) = &self.metrics {
            let packed: i64 = within(FLUSH_MAX, async {
                let mut tx = pool.begin().await?;
                sqlx::query("SET LOCAL statement_timeout = '20s'").execute(&mut *tx).await?;
                let packed = sqlx::query_scalar(PACKED).fetch_one(&mut *tx).await?;
                tx.rollback().await?;
                Ok(packed)
            })
            .await?;
            self.room.packed_bytes.store(count(packed), Ordering::Relaxed);
        }
        self.metrics_bytes().await?;
        Ok(self.metrics_room())
    }

    /// The room that metrics took when it was last measured, and what they may take.
    #[must_use]
    pub fn metrics_room(&self) -> MetricsRoom {
        MetricsRoom { bytes: self.room.bytes.load(Ordering::Relaxed), bytes_max: self.room.bytes_max }
    }

    pub(crate) async fn check_room(&self) -> Result<()> {
        if let Some(short) = self.room.disk_is_short() {
            return Err(StoreError::Full(short));
        }
        let bytes = self.metrics_bytes().await?;
        if bytes > self.room.bytes_max {
            return Err(StoreError::Full(format!(
                "metrics take {} MiB, their limit is {}",
                bytes >> 20,
                self.room.bytes_max >> 20
            )));
        }
        Ok(())
    }

    async fn write_levels(&self, rows: &[Row]) -> Result<()> {
        const ADD: &str = " ON CONFLICT (rule, app_id, grp, at) DO UPDATE SET total = level_buckets.total + excluded.total, \
                           matched = level_buckets.matched + excluded.matched";
        const PG: &str = "INSERT INTO level_buckets (rule, app_id, grp, at, total, matched) \
                          SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::int8[], $5::int8[], $6::int8[]) \
                          ON CONFLICT (rule, app_id, grp, at) DO UPDATE SET total = level_buckets.total + excluded.total, \
                          matched = level_buckets.matched + excluded.matched";
        match &self.metrics {
            Db::Lite { .. } => {
                let mut tx = self.metrics.begin().await?;
                for piece in rows::pieces_of(rows, &[250, 64, 16]) {
                    on!(&mut tx, Engine, conn, {
                        let mut query = QueryBuilder::<Engine>::new(
                            "INSERT INTO level_buckets (rule, app_id, grp, at, total, matched) ",
                        );
                        query.push_values(piece, |mut values, row| {
                            values.push_bind(row.0.as_str()).push_bind(row.1).push_bind(row.2.as_str());
                            values.push_bind(row.3).push_bind(row.4).push_bind(row.5);
                        });
                        query.push(ADD);
                        query.build().execute(conn).await?;
                    });
                }
                tx.commit().await
            }
            Db::Pg(pool) => {
                let mut tx = pool.begin().await?;
                for piece in rows.chunks(PG_ROWS_MAX) {
                    let query = sqlx::query(PG)
                        .bind(piece.iter().map(|row| row.0.as_str()).collect::<Vec<_>>())
                        .bind(piece.iter().map(|row| row.1).collect::<Vec<_>>())
                        .bind(piece.iter().map(|row| row.2.as_str()).collect::<Vec<_>>())
                        .bind(piece.iter().map(|row| row.3).collect::<Vec<_>>())
                        .bind(piece.iter().map(|row| row.4).collect::<Vec<_>>())
                        .bind(piece.iter().map(|row| row.5).collect::<Vec<_>>());
                    query.execute(&mut *tx).await?;
                }
                tx.commit().await?;
                Ok(())
            }
        }
    }

    /// The buckets of these rules that begin at or after `from`, by rule, app, group and time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn load_levels(&self, rules: &[&str], from: Timestamp) -> Result<Vec<LevelRow>> {
        const ONE_RULE: &str = "SELECT app_id, grp, at, total, matched FROM level_buckets WHERE rule = $1 AND at >= $2 ORDER BY app_id, grp, at";
        let mut levels = Vec::new();
        for &rule in rules {
            let rows: Vec<(Uuid, String, i64, i64, i64)> = read!(&self.metrics, |pool| sqlx::query_as(ONE_RULE)
                .bind(rule)
                .bind(from.as_micros())
                .fetch_all(pool))?;
            levels.extend(rows.into_iter().map(|(app, group, at, total, matched)| LevelRow {
                rule: rule.to_owned(),
                app: AppId(app),
                group: Group(group),
                bucket: Bucket { at: time(at), total: count(total), matched: count(matched) },
            }));
        }
        Ok(levels)
    }

    /// Forgets the buckets that begin before `before`. Returns how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_levels(&self, before: Timestamp) -> Result<u64> {
        let sql = "DELETE FROM level_buckets WHERE (rule, app_id, grp, at) IN (SELECT rule, app_id, grp, at FROM level_buckets WHERE at < $1 LIMIT $2)";
        let mut pruned = 0;
        loop {
            let slice = change!(&self.metrics, sqlx::query(sql).bind(before.as_micros()).bind(PRUNE_SLICE))?;
            pruned += slice;
            if slice < count(PRUNE_SLICE) {
                return Ok(pruned);
            }
        }
    }
}

#[cfg(test)]
#[path = "levels_tests.rs"]
mod tests;
