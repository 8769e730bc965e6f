//! Reading values: packed rows and chunks of one moment. A fold that runs meanwhile moves values from the one to the other;
//! read apart they would be there twice or not at all.

use dynowatch_domain::metric::Step;
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;

use crate::db::{CALL_MAX, Db, within};
use crate::error::Result;
use crate::metrics::{ROWS, number};
use crate::open::Store;
use crate::rows::pieces_of;
use crate::text::time;

/// What of an app's values is wanted.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// The app.
    pub app: AppId,
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

/// Values of one moment.
#[derive(Debug, Clone, Default)]
pub struct Values {
    /// Packed rows, in the order of the steps asked for.
    pub packed: Vec<Packed>,
    /// Chunks, packed by `dynowatch_domain::metric::chunk`, oldest first.
    pub chunks: Vec<Vec<u8>>,
}

macro_rules! read_values {
    ($name:ident, $driver:ty, $conn:ty) => {
        async fn $name(conn: &mut $conn, wanted: &Wanted<'_>) -> Result<Values> {
            const CHUNKS: &str = "SELECT body FROM metric_chunks WHERE app_id = $1 AND until_at > $2 AND from_at < $3 AND folded <= $4 ORDER BY id";
            let mut packed = Vec::new();
            for &(step, pending_only) in wanted.steps {
                let row = std::time::Duration::from_secs(step.row_seconds().unsigned_abs());
                let after = (wanted.from - row).as_micros();
                for piece in pieces_of(wanted.series, ROWS) {
                    let mut query =
                        QueryBuilder::<$driver>::new("SELECT series, from_at, roll, body FROM metric_packs WHERE step = ");
                    query.push_bind(step.seconds()).push(" AND roll >= ").push_bind(i64::from(pending_only));
                    query.push(" AND from_at > ").push_bind(after);
                    query.push(" AND from_at < ").push_bind(wanted.until.as_micros()).push(" AND series IN (");
                    let mut list = query.separated(", ");
                    for series in piece {
                        list.push_bind(number(*series));
                    }
                    query.push(") ORDER BY series, from_at");
                    let rows: Vec<(i64, i64, i64, Vec<u8>)> = query.build_query_as().fetch_all(&mut *conn).await?;
                    packed.extend(rows.into_iter().map(|(series, from, roll, body)| Packed {
                        series: u64::try_from(series).unwrap_or(0),
                        step,
                        from: time(from),
                        pending: roll > 0,
                        body,
                    }));
                }
            }
            let folded_max = i64::from(wanted.chunks == Chunks::All);
            let chunks = sqlx::query_scalar(CHUNKS)
                .bind(wanted.app.0)
                .bind(wanted.from.as_micros())
                .bind(wanted.until.as_micros())
                .bind(folded_max)
                .fetch_all(&mut *conn)
                .await?;
            Ok(Values { packed, chunks })
        }
    };
}

read_values!(read_lite, sqlx::Sqlite, sqlx::SqliteConnection);
read_values!(read_pg, sqlx::Postgres, sqlx::PgConnection);

impl Store {
    /// Values of one moment.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn metric_values(&self, wanted: &Wanted<'_>) -> Result<Values> {
        within(CALL_MAX, async {
            match &self.metrics {
                Db::Lite { r, .. } => {
                    let mut tx = r.begin().await?;
                    let values = read_lite(&mut tx, wanted).await?;
                    tx.rollback().await?;
                    Ok(values)
                }
                Db::Pg(pool) => {
                    let mut tx = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
                    let values = read_pg(&mut tx, wanted).await?;
                    tx.rollback().await?;
                    Ok(values)
                }
            }
        })
        .await
    }
}
