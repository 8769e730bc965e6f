//! The chunks of all apps that were written lately, for what follows values as they come: rules on metrics, and writing
//! them elsewhere.

use std::collections::HashMap;

use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{CALL_MAX, Db, read, within};
use crate::error::Result;
use crate::metrics::{CHUNK_BYTES_AT_ONCE, ROWS};
use crate::open::Store;
use crate::rows::{pieces_of, pieces_within};
use crate::text::time;

/// The most chunks of one reading: ten minutes of a thousand apps. What is over it is read the next time.
pub const RECENT_MAX: u32 = 60_000;

macro_rules! bodies {
    ($driver:ty, $pool:expr, $chunks:expr) => {{
        let mut query = QueryBuilder::<$driver>::new("SELECT id, body FROM metric_chunks WHERE id IN (");
        let mut list = query.separated(", ");
        for chunk in $chunks {
            list.push_bind(chunk.id);
        }
        query.push(")");
        query.build_query_as().fetch_all($pool).await?
    }};
}

/// A chunk, but for its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecentChunk {
    /// Its number. Not in the order in which chunks become visible: two processes write at once.
    pub id: i64,
    /// Whose values it holds.
    pub app: AppId,
    /// When it was written.
    pub at: Timestamp,
    bytes: u64,
}

impl Store {
    /// Chunks written at or after `since`, oldest first, at most [`RECENT_MAX`].
    ///
    /// # Errors
    /// When the store is away.
    pub async fn chunks_since(&self, since: Timestamp) -> Result<Vec<RecentChunk>> {
        let sql = "SELECT id, app_id, at, CAST(octet_length(body) AS BIGINT) FROM metric_chunks \
                   WHERE at >= $1 ORDER BY at, id LIMIT $2";
        let rows: Vec<(i64, Uuid, i64, i64)> = read!(&self.metrics, |pool| sqlx::query_as(sql)
            .bind(since.as_micros())
            .bind(i64::from(RECENT_MAX))
            .fetch_all(pool))?;
        let chunk = |(id, app, at, bytes): (_, _, _, i64)| RecentChunk {
            id,
            app: AppId(app),
            at: time(at),
            bytes: bytes.unsigned_abs(),
        };
        Ok(rows.into_iter().map(chunk).collect())
    }

    /// The bodies of the first of these chunks, in their order: as many as should be in memory at one time, and at least one
    /// where there is one. Packed by `dynowatch_domain::metric::chunk`; `None` for a chunk that is gone.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn chunk_bodies(&self, chunks: &[RecentChunk]) -> Result<Vec<Option<Vec<u8>>>> {
        let first = pieces_within(chunks, CHUNK_BYTES_AT_ONCE, |chunk| chunk.bytes).next();
        let Some(piece) = first.and_then(|first| pieces_of(first, ROWS).next()) else { return Ok(Vec::new()) };
        let rows: Vec<(i64, Vec<u8>)> = within(CALL_MAX, async {
            Ok(match &self.metrics {
                Db::Lite { r, .. } => bodies!(sqlx::Sqlite, r, piece),
                Db::Pg(pool) => bodies!(sqlx::Postgres, pool, piece),
            })
        })
        .await?;
        let mut bodies: HashMap<i64, Vec<u8>> = rows.into_iter().collect();
        Ok(piece.iter().map(|chunk| bodies.remove(&chunk.id)).collect())
    }
}
