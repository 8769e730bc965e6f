//! Reading values: packed rows and chunks of one moment. A fold that runs meanwhile moves values from the one to the other;
//! read apart they would be there twice or not at all.

use dynowatch_domain::metric::{SeriesKey, Step};
use dynowatch_domain::{AppId, Timestamp};
use futures_util::TryStreamExt as _;
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{CALL_MAX, Db, within};
use crate::error::Result;
use crate::metrics::{CHUNK_BYTES_AT_ONCE, ChunkSize, ROWS, chunk_bytes, number, series};
use crate::open::Store;
use crate::rows::{pieces_of, pieces_within};
use crate::text::time;

/// What of some apps' values is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The apps whose chunks are wanted.
    pub apps: &'a [AppId],
    /// Slots from here.
    pub from: Timestamp,
    /// To here.
    pub until: Timestamp,
    /// The series whose packed rows are wanted.
    pub series: &'a [u64],
    /// Steps of packed rows; `true` for those alone that longer steps do not know yet.
    pub steps: &'a [(Step, bool)],
    /// Chunks: all, or those alone that no packed row knows yet.
    pub chunks: Chunks,
}

/// Which chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chunks {
    /// All of the last two hours.
    All,
    /// Those that are in no packed row yet.
    Unfolded,
}

/// A packed row.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The series.
    pub series: u64,
    /// The length of its slots.
    pub step: Step,
    /// When its first slot begins.
    pub from: Timestamp,
    /// Whether it holds more than the rows of longer steps know.
    pub pending: bool,
    /// Packed by `dynowatch_domain::metric::pack`.
    pub body: Vec<u8>,
}

/// One row of what is wanted.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// A packed row. They come first, in the order of the steps asked for.
    Packed(Packed),
    /// A chunk, packed by `dynowatch_domain::metric::chunk`. Those of one app come oldest first.
    Chunk(Vec<u8>),
}

macro_rules! read_values {
    ($name:ident, $driver:ty, $conn:ty) => {
        async fn $name(
            conn: &mut $conn,
            wanted: &Wanted<'_>,
            take: &mut (dyn FnMut(Found) -> Result<()> + Send),
        ) -> Result<()> {
            for &(step, pending_only) in wanted.steps {
                let row = std::time::Duration::from_secs(step.row_seconds().unsigned_abs());
                let after = (wanted.from - row).as_micros();
                for piece in pieces_of(wanted.series, ROWS) {
                    let mut query = QueryBuilder::<$driver>::new(
                        "SELECT series, from_at, roll, body FROM metric_packs WHERE step = ",
                    );
                    query.push_bind(step.seconds()).push(" AND roll >= ").push_bind(i64::from(pending_only));
                    query.push(" AND from_at > ").push_bind(after);
                    query.push(" AND from_at < ").push_bind(wanted.until.as_micros()).push(" AND series IN (");
                    let mut list = query.separated(", ");
                    for series in piece {
                        list.push_bind(number(*series));
                    }
                    query.push(") ORDER BY series, from_at");
                    let mut rows = query.build_query_as::<(i64, i64, i64, Vec<u8>)>().fetch(&mut *conn);
                    while let Some((series, from, roll, body)) = rows.try_next().await? {
                        let series = u64::try_from(series).unwrap_or(0);
                        take(Found::Packed(Packed { series, step, from: time(from), pending: roll > 0, body }))?;
                    }
                }
            }
            let folded_max = i64::from(wanted.chunks == Chunks::All);
            let mut sizes: Vec<ChunkSize> = Vec::new();
            for piece in pieces_of(wanted.apps, ROWS) {
                let mut query = QueryBuilder::<$driver>::new(
                    "SELECT id, CAST(octet_length(body) AS BIGINT) FROM metric_chunks WHERE until_at > ",
                );
                query.push_bind(wanted.from.as_micros()).push(" AND from_at < ").push_bind(wanted.until.as_micros());
                query.push(" AND folded <= ").push_bind(folded_max).push(" AND app_id IN (");
                let mut list = query.separated(", ");
                for app in piece {
                    list.push_bind(app.0);
                }
                query.push(")");
                sizes.extend(query.build_query_as::<ChunkSize>().fetch_all(&mut *conn).await?);
            }
            sizes.sort_unstable();
            for together in pieces_within(&sizes, CHUNK_BYTES_AT_ONCE, chunk_bytes) {
                for piece in pieces_of(together, ROWS) {
                    let mut query = QueryBuilder::<$driver>::new("SELECT body FROM metric_chunks WHERE id IN (");
                    let mut list = query.separated(", ");
                    for (id, _) in piece {
                        list.push_bind(*id);
                    }
                    query.push(") ORDER BY id");
                    let mut bodies = query.build_query_scalar::<Vec<u8>>().fetch(&mut *conn);
                    while let Some(body) = bodies.try_next().await? {
                        take(Found::Chunk(body))?;
                    }
                }
            }
            Ok(())
        }
    };
}

read_values!(read_lite, sqlx::Sqlite, sqlx::SqliteConnection);
read_values!(read_pg, sqlx::Postgres, sqlx::PgConnection);

type NamedRow = (Uuid, i64, String, String, String, String);

macro_rules! series_named {
    ($driver:ty, $pool:expr, $apps:expr, $metrics:expr, $since:expr) => {{
        let mut rows: Vec<NamedRow> = Vec::new();
        for piece in pieces_of($apps, ROWS) {
            let mut query = QueryBuilder::<$driver>::new(
                "SELECT app_id, id, metric, kind, source, label FROM metric_series WHERE seen_at >= ",
            );
            query.push_bind($since.as_micros()).push(" AND metric IN (");
            let mut list = query.separated(", ");
            for metric in $metrics {
                list.push_bind(*metric);
            }
            query.push(") AND app_id IN (");
            let mut list = query.separated(", ");
            for app in piece {
                list.push_bind(app.0);
            }
            query.push(") ORDER BY app_id, metric, kind, source, label");
            rows.extend(query.build_query_as::<NamedRow>().fetch_all($pool).await?);
        }
        rows
    }};
}

impl Store {
    /// The series of these metrics that some apps have had at or after `since`, with the app of each; those of one app by
    /// metric, kind, source and label.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn series_named(
        &self,
        apps: &[AppId],
        metrics: &[&str],
        since: Timestamp,
    ) -> Result<Vec<(AppId, u64, SeriesKey)>> {
        let rows = within(CALL_MAX, async {
            Ok(match &self.metrics {
                Db::Lite { r, .. } => series_named!(sqlx::Sqlite, r, apps, metrics, since),
                Db::Pg(pool) => series_named!(sqlx::Postgres, pool, apps, metrics, since),
            })
        })
        .await?;
        let named = rows.into_iter().map(|(app, id, metric, kind, source, label)| {
            let (id, key) = series((id, metric, kind, source, label))?;
            Ok((AppId(app), id, key))
        });
        named.collect()
    }

    /// Hands over values of one moment, row by row: together they can be many times what is made of them.
    ///
    /// # Errors
    /// When the store is away, and what `take` returns.
    pub async fn metric_values(
        &self,
        wanted: &Wanted<'_>,
        mut take: impl FnMut(Found) -> Result<()> + Send,
    ) -> Result<()> {
        within(CALL_MAX, async {
            match &self.metrics {
                Db::Lite { r, .. } => {
                    let mut tx = r.begin().await?;
                    read_lite(&mut tx, wanted, &mut take).await?;
                    tx.rollback().await?;
                }
                Db::Pg(pool) => {
                    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                    read_pg(&mut tx, wanted, &mut take).await?;
                    tx.rollback().await?;
                }
            }
            Ok(())
        })
        .await
    }
}
