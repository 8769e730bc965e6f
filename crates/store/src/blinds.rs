//! Times we did not see everything.

use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{CALL_MAX, Tx, on, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{count, int, time, word};

/// The most that one question returns, the newest: more tell nothing new.
const BLINDS_MAX: i64 = 1_000;

pub(crate) async fn insert(tx: &mut Tx, blinds: &[(Option<AppId>, Blind)]) -> Result<()> {
    for piece in pieces(blinds) {
        on!(tx, Engine, conn, {
            let mut query =
                QueryBuilder::<Engine>::new("INSERT INTO blinds (app_id, reason, from_at, until_at, lines_lost) ");
            query.push_values(piece, |mut row, (app, blind)| {
                row.push_bind(app.map(|app| app.0)).push_bind(blind.reason.as_str());
                row.push_bind(blind.from.as_micros())
                    .push_bind(blind.until.as_micros())
                    .push_bind(blind.lines_lost.map(int));
            });
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

impl Store {
    /// Records a time of blindness of one app, or of all.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn record_blind(&self, app: Option<AppId>, blind: &Blind) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            insert(&mut tx, &[(app, blind.clone())]).await?;
            tx.commit().await
        })
        .await
    }

    /// The times of blindness that meet `(from, until]` of an app, its own and those of all, oldest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn blinds_between(&self, app: AppId, from: Timestamp, until: Timestamp) -> Result<Vec<Blind>> {
        let all = self.all_blinds_between(from, until).await?;
        Ok(all.into_iter().filter(|(of, _)| of.is_none_or(|of| of == app)).map(|(_, blind)| blind).collect())
    }

    /// The times of blindness that meet `(from, until]`, with the app they concern (`None`: all apps), oldest first; at
    /// most 1,000, the newest.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn all_blinds_between(&self, from: Timestamp, until: Timestamp) -> Result<Vec<(Option<AppId>, Blind)>> {
        type Row = (Option<Uuid>, String, i64, i64, Option<i64>);
        let sql = "SELECT app_id, reason, from_at, until_at, lines_lost FROM blinds WHERE until_at > $1 AND from_at <= $2 ORDER BY id DESC LIMIT $3";
        let (from, until) = (from.as_micros(), until.as_micros());
        let rows: Vec<Row> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(from).bind(until).bind(BLINDS_MAX).fetch_all(pool))?;
        let blinds = rows.into_iter().rev().map(|(app, reason, from, until, lost)| {
            let reason = word("a blind time's reason", &reason, BlindReason::named)?;
            Ok((app.map(AppId), Blind { reason, from: time(from), until: time(until), lines_lost: lost.map(count) }))
        });
        blinds.collect()
    }
}
