//! The lines that are kept, for trying a rule on the past: those that rules took, and the evidence of alerts with the lines
//! around it. No other line is stored.

use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::{AlertId, AppId};
use sqlx::types::Json;
use uuid::Uuid;

use crate::alerts::AlertCursor;
use crate::db::read;
use crate::error::Result;
use crate::open::Store;
use crate::text::time;

/// Rows of one page at most: with the longest lines that is about 20 MB.
pub const STORED_LINES_PAGE_MAX: u32 = 200;

/// A page of lines by app, newest rows first, and where the next one begins; none after the last.
pub type LinesPage<C> = (Vec<(AppId, Vec<EvidenceLine>)>, Option<C>);

impl Store {
    /// Lines that rules took, of at most `limit` rows. Of each key and commit the newest ten are kept (a row may be of several
    /// commits, with ten lines together), and of the newest 50,000 rows in all.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn matched_lines(&self, before: Option<i64>, limit: u32) -> Result<LinesPage<i64>> {
        self.fold_to_read().await;
        let sql = "SELECT id, app_id, lines FROM matches WHERE id < $1 AND lines <> '[]' ORDER BY id DESC LIMIT $2";
        let (before, limit) = (before.unwrap_or(i64::MAX), i64::from(limit.min(STORED_LINES_PAGE_MAX)));
        let rows: Vec<(i64, Uuid, Json<Vec<EvidenceLine>>)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(before).bind(limit).fetch_all(pool))?;
        let next = rows.last().map(|(id, ..)| *id);
        Ok((rows.into_iter().map(|(_, app, Json(lines))| (AppId(app), lines)).collect(), next))
    }

    /// Lines of the evidence of at most `limit` alerts, and those around them.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn evidence_lines(&self, before: Option<AlertCursor>, limit: u32) -> Result<LinesPage<AlertCursor>> {
        let sql = "SELECT id, app_id, fired_at, evidence FROM alerts WHERE (fired_at, id) < ($1, $2) \
                   ORDER BY fired_at DESC, id DESC LIMIT $3";
        let (at, id) = before.map_or((i64::MAX, Uuid::max()), |before| (before.fired_at.as_micros(), before.id.0));
        let limit = i64::from(limit.min(STORED_LINES_PAGE_MAX));
        let rows: Vec<(Uuid, Uuid, i64, Json<Vec<EvidenceLine>>)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(at).bind(id).bind(limit).fetch_all(pool))?;
        let next = rows.last().map(|(id, _, at, _)| AlertCursor { fired_at: time(*at), id: AlertId(*id) });
        Ok((rows.into_iter().map(|(_, app, _, Json(lines))| (AppId(app), lines)).collect(), next))
    }
}
