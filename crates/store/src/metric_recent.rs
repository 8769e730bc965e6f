//! The chunks of all apps that were written lately, for what follows values as they come: rules on metrics, and writing
//! them elsewhere.

use dynowatch_domain::{AppId, Timestamp};
use uuid::Uuid;

use crate::db::read;
use crate::error::Result;
use crate::open::Store;

/// The most chunks of one reading: ten minutes of a thousand apps. What is over it is read the next time.
pub const RECENT_MAX: u32 = 60_000;

/// A chunk with its number, which tells it from those that were read before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentChunk {
    /// Its number. Not in the order in which chunks become visible: two processes write at once.
    pub id: i64,
    /// Whose values it holds.
    pub app: AppId,
    /// When it was written.
    pub at: Timestamp,
    /// Packed by `dynowatch_domain::metric::chunk`.
    pub body: Vec<u8>,
}

impl Store {
    /// Chunks written at or after `since`, oldest first, at most [`RECENT_MAX`].
    ///
    /// # Errors
    /// When the store is away.
    pub async fn chunks_since(&self, since: Timestamp) -> Result<Vec<RecentChunk>> {
        let sql = "SELECT id, app_id, at, body FROM metric_chunks WHERE at >= $1 ORDER BY at, id LIMIT $2";
        let rows: Vec<(i64, Uuid, i64, Vec<u8>)> = read!(&self.metrics, |pool| sqlx::query_as(sql)
            .bind(since.as_micros())
            .bind(i64::from(RECENT_MAX))
            .fetch_all(pool))?;
        let chunk = |(id, app, at, body)| RecentChunk { id, app: AppId(app), at: crate::text::time(at), body };
        Ok(rows.into_iter().map(chunk).collect())
    }
}
