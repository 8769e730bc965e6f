//! Metrics: the dictionary of series, the ten-second chunks that each process appends, and the most frequent paths.
//! Packed rows, and the way from chunks to them, are [`crate::metric_packs`]'s. Like the buckets of ratios they lie apart
//! from the state, may lose their last ten seconds, and stop first when room runs out.

use std::collections::HashMap;
use std::time::Duration;

use dynowatch_domain::metric::paths::TopPaths;
use dynowatch_domain::metric::{Kind, SeriesKey};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{Tx, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::rows::pieces_of;
use crate::text::{time, word};

/// The most that one flush may take.
const FLUSH_MAX: Duration = Duration::from_secs(30);
/// Deletes go in slices, so that nothing waits for long.
const SLICE: i64 = 2_000;
/// Chunks of an app with much traffic are large, and a question may be about many: those that are in memory at one time hold
/// so many bytes, or are one.
pub(crate) const CHUNK_BYTES_AT_ONCE: u64 = 256 << 10;
/// Rows per statement.
pub(crate) const ROWS: &[usize] = &[200, 50, 10];

/// A chunk by its id, and the size of its body in bytes.
pub(crate) type ChunkSize = (i64, i64);

pub(crate) fn chunk_bytes((_, bytes): &ChunkSize) -> u64 {
    bytes.unsigned_abs()
}

/// A series and its number.
pub type SeriesNumbers = HashMap<SeriesKey, u64>;

/// What one process saw of one app between two flushes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The app.
    pub app: AppId,
    /// When it was flushed.
    pub at: Timestamp,
    /// Where its first slot begins.
    pub from: Timestamp,
    /// Where its last slot ends.
    pub until: Timestamp,
    /// Packed by `dynowatch_domain::metric::chunk`.
    pub body: Vec<u8>,
}

/// Requests by path in one hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathsOfHour {
    /// The app.
    pub app: AppId,
    /// Of failed requests alone.
    pub errors: bool,
    /// When the hour begins.
    pub from: Timestamp,
    /// The paths.
    pub paths: TopPaths,
}

pub(crate) type SeriesRow = (i64, String, String, String, String);

/// A row of the dictionary as number and key.
pub(crate) fn series(row: SeriesRow) -> Result<(u64, SeriesKey)> {
    let (id, metric, kind, source, label) = row;
    let kind = word("a series' kind", &kind, Kind::named)?;
    let id = u64::try_from(id).map_err(|_| StoreError::corrupt(format!("a series has number {id}")))?;
    Ok((id, SeriesKey { metric: metric.into(), kind, source: source.into(), label: label.into() }))
}

/// A series' number as the column has it.
pub(crate) fn number(series: u64) -> i64 {
    i64::try_from(series).unwrap_or(i64::MAX)
}

/// Gives each series its number, new ones among them, inside a transaction.
pub(crate) async fn number_series(
    tx: &mut Tx,
    app: AppId,
    keys: &[&SeriesKey],
    now: Timestamp,
) -> Result<SeriesNumbers> {
    // In one order, so that two writers never wait for each other in a circle.
    let mut sorted = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let mut numbers = HashMap::with_capacity(sorted.len());
    for piece in pieces_of(&sorted, ROWS) {
        let rows: Vec<SeriesRow> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO metric_series (app_id, metric, kind, source, label, seen_at) ",
            );
            query.push_values(piece, |mut values, key| {
                values.push_bind(app.0).push_bind(&*key.metric).push_bind(key.kind.as_str());
                values.push_bind(&*key.source).push_bind(&*key.label).push_bind(now.as_micros());
            });
            query.push(
                " ON CONFLICT (app_id, metric, kind, source, label) DO UPDATE SET seen_at = excluded.seen_at \
                 RETURNING id, metric, kind, source, label",
            );
            query.build_query_as().fetch_all(conn).await?
        });
        for row in rows {
            let (id, key) = series(row)?;
            numbers.insert(key, id);
        }
    }
    Ok(numbers)
}

impl Store {
    /// Gives each series of an app its number, and notes that it was seen.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn number_series(&self, app: AppId, keys: &[&SeriesKey], now: Timestamp) -> Result<SeriesNumbers> {
        within(FLUSH_MAX, async {
            let mut tx = self.metrics.begin().await?;
            let numbers = number_series(&mut tx, app, keys, now).await?;
            tx.commit().await?;
            Ok(numbers)
        })
        .await
    }

    /// The dictionary of an app, or what of it was seen at or after `since`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn series_of(&self, app: AppId, since: Timestamp) -> Result<Vec<(u64, SeriesKey)>> {
        let sql = "SELECT id, metric, kind, source, label FROM metric_series WHERE app_id = $1 AND seen_at >= $2 \
                   ORDER BY metric, kind, source, label";
        let rows: Vec<SeriesRow> =
            read!(&self.metrics, |pool| sqlx::query_as(sql).bind(app.0).bind(since.as_micros()).fetch_all(pool))?;
        rows.into_iter().map(series).collect()
    }

    /// Appends chunks, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Full`] when there is no room; [`Store::metrics_stopped`] says so until a later call succeeds.
    pub async fn add_chunks(&self, process: Uuid, chunks: &[Chunk]) -> Result<()> {
        if chunks.is_empty() {
            return Ok(());
        }
        let done = within(FLUSH_MAX, async {
            self.check_room().await?;
            let mut tx = self.metrics.begin().await?;
            for piece in pieces_of(chunks, ROWS) {
                on!(&mut tx, Engine, conn, {
                    let mut query = QueryBuilder::<Engine>::new(
                        "INSERT INTO metric_chunks (app_id, process, at, from_at, until_at, folded, body) ",
                    );
                    query.push_values(piece, |mut values, chunk| {
                        values.push_bind(chunk.app.0).push_bind(process).push_bind(chunk.at.as_micros());
                        values.push_bind(chunk.from.as_micros()).push_bind(chunk.until.as_micros());
                        values.push_bind(0_i64).push_bind(chunk.body.as_slice());
                    });
                    query.build().execute(conn).await?;
                });
            }
            tx.commit().await
        })
        .await;
        self.note_room(&done);
        done
    }

    /// Adds to the most frequent paths of hours.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn add_paths(&self, hours: &[PathsOfHour]) -> Result<()> {
        if hours.is_empty() {
            return Ok(());
        }
        within(FLUSH_MAX, async {
            let mut tx = self.metrics.begin().await?;
            let mut sorted: Vec<&PathsOfHour> = hours.iter().collect();
            sorted.sort_by_key(|hour| (hour.app, hour.errors, hour.from));
            for hour in sorted {
                add_paths(&mut tx, hour).await?;
            }
            tx.commit().await
        })
        .await
    }

    /// The most frequent paths of an app in hours that begin between two moments, added up.
    ///
    /// # Errors
    /// When the store is away or a row is unreadable.
    pub async fn paths(&self, app: AppId, errors: bool, from: Timestamp, until: Timestamp) -> Result<TopPaths> {
        const SQL: &str = "SELECT body FROM metric_paths WHERE app_id = $1 AND errors = $2 AND from_at >= $3 AND from_at < $4 ORDER BY from_at";
        let rows: Vec<Vec<u8>> = read!(&self.metrics, |pool| sqlx::query_scalar(SQL)
            .bind(app.0)
            .bind(i64::from(errors))
            .bind(from.as_micros())
            .bind(until.as_micros())
            .fetch_all(pool))?;
        let mut sum = TopPaths::default();
        for row in rows {
            sum.merge(&TopPaths::unpack(&row).ok_or_else(|| StoreError::corrupt("paths of an hour"))?);
        }
        Ok(sum)
    }

    /// Forgets chunks flushed before `chunks_before` that are in the packs, and paths of hours before `paths_before`, a slice
    /// of each. Returns how many rows went; more may be left when it is not small.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_chunks(&self, chunks_before: Timestamp, paths_before: Timestamp) -> Result<u64> {
        let chunks = "DELETE FROM metric_chunks WHERE id IN (SELECT id FROM metric_chunks WHERE at < $1 AND folded = 1 LIMIT $2)";
        let paths = "DELETE FROM metric_paths WHERE (app_id, errors, from_at) IN (SELECT app_id, errors, from_at FROM metric_paths WHERE from_at < $1 LIMIT $2)";
        let mut gone = 0;
        for (sql, before) in [(chunks, chunks_before), (paths, paths_before)] {
            gone += change!(&self.metrics, sqlx::query(sql).bind(before.as_micros()).bind(SLICE))?;
        }
        Ok(gone)
    }

    /// When the oldest chunk that is not in the packs was flushed.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn oldest_unfolded(&self) -> Result<Option<Timestamp>> {
        let at: Option<i64> =
            read!(&self.metrics, |pool| sqlx::query_scalar("SELECT MIN(at) FROM metric_chunks WHERE folded = 0")
                .fetch_one(pool))?;
        Ok(at.map(time))
    }
}

async fn add_paths(tx: &mut Tx, hour: &PathsOfHour) -> Result<()> {
    // Locks the row on Postgres, for another process adds to it as well.
    let known = match tx.engine() {
        crate::Engine::Sqlite => "SELECT body FROM metric_paths WHERE app_id = $1 AND errors = $2 AND from_at = $3",
        crate::Engine::Postgres => {
            "SELECT body FROM metric_paths WHERE app_id = $1 AND errors = $2 AND from_at = $3 FOR UPDATE"
        }
    };
    let first = "INSERT INTO metric_paths (app_id, errors, from_at, body) VALUES ($1, $2, $3, $4) ON CONFLICT (app_id, errors, from_at) DO NOTHING";
    let (errors, from) = (i64::from(hour.errors), hour.from.as_micros());
    let empty = TopPaths::default().pack();
    on!(tx, Engine, conn, {
        let insert = sqlx::query(first).bind(hour.app.0).bind(errors).bind(from).bind(empty);
        insert.execute(conn).await.map(|_done| ())?;
    });
    let body: Vec<u8> = on!(
        tx,
        Engine,
        conn,
        sqlx::query_scalar(known).bind(hour.app.0).bind(errors).bind(from).fetch_one(conn).await?
    );
    let mut sum = TopPaths::unpack(&body).unwrap_or_default();
    sum.merge(&hour.paths);
    let body = sum.pack();
    let update = "UPDATE metric_paths SET body = $4 WHERE app_id = $1 AND errors = $2 AND from_at = $3";
    on!(tx, Engine, conn, {
        let update = sqlx::query(update).bind(hour.app.0).bind(errors).bind(from).bind(body);
        update.execute(conn).await.map(|_done| ())?;
    });
    Ok(())
}
