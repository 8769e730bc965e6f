//! What a check counted as, and when it did not work: kept for ever, so that uptime can be walked over any time.

use std::collections::BTreeMap;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::state::Held;
use dynowatch_domain::check::uptime::{Flip, Standing};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::states::CheckChange;
use crate::db::{Tx, on, read};
use crate::error::Result;
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{count, int, json, time};

/// The most flips of one answer, the newest: a flip a minute for a month.
const FLIPS_MAX: i64 = 50_000;

/// The most flips of one answer about all checks.
const ALL_FLIPS_MAX: i64 = 200_000;

/// A time of not working.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutageRow {
    /// Its id, the alert's too if there is one.
    pub id: Uuid,
    /// The first failure.
    pub began_at: Timestamp,
    /// The first success; none while it goes on.
    pub ended_at: Option<Timestamp>,
    /// When somebody was told; none: nobody was.
    pub opened_at: Option<Timestamp>,
    /// Whether it was one of flapping.
    pub flapping: bool,
    /// Why nobody was told.
    pub held: Option<Held>,
}

impl Store {
    /// From when on a check counted as what, in order: the last flip at or before `from`, and those after it before `until`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_flips(&self, number: u64, from: Timestamp, until: Timestamp) -> Result<Vec<Flip>> {
        let sql = "SELECT at, standing FROM (SELECT at, standing FROM check_flips WHERE number = $1 AND at < $2 AND at >= \
                   COALESCE((SELECT MAX(at) FROM check_flips WHERE number = $1 AND at <= $3), $3) ORDER BY at DESC LIMIT $4) AS newest ORDER BY at";
        let rows: Vec<(i64, i64)> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(int(number))
            .bind(until.as_micros())
            .bind(from.as_micros())
            .bind(FLIPS_MAX)
            .fetch_all(pool))?;
        Ok(rows.into_iter().map(|(at, standing)| Flip { at: time(at), standing: standing_of(standing) }).collect())
    }

    /// From when on every check counted as what, in order, by its number: the last flip at or before `from`, and those after
    /// it before `until`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn all_check_flips(&self, from: Timestamp, until: Timestamp) -> Result<BTreeMap<u64, Vec<Flip>>> {
        let sql = "SELECT f.number, f.at, f.standing FROM check_states s JOIN check_flips f ON f.number = s.number AND f.at < $1 \
                   AND f.at >= COALESCE((SELECT MAX(b.at) FROM check_flips b WHERE b.number = s.number AND b.at <= $2), $2) \
                   ORDER BY f.number, f.at LIMIT $3";
        let rows: Vec<(i64, i64, i64)> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(until.as_micros())
            .bind(from.as_micros())
            .bind(ALL_FLIPS_MAX)
            .fetch_all(pool))?;
        let mut found: BTreeMap<u64, Vec<Flip>> = BTreeMap::new();
        for (number, at, standing) in rows {
            found.entry(count(number)).or_default().push(Flip { at: time(at), standing: standing_of(standing) });
        }
        Ok(found)
    }

    /// Outages of a check, newest first, that began before `before`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn check_outages(&self, number: u64, before: Timestamp, limit: u32) -> Result<Vec<OutageRow>> {
        let sql = "SELECT id, began_at, ended_at, opened_at, flapping, held FROM check_outages WHERE number = $1 AND began_at < $2 \
                   ORDER BY began_at DESC, id DESC LIMIT $3";
        type Row = (Uuid, i64, Option<i64>, Option<i64>, bool, Option<Json<Held>>);
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(int(number))
            .bind(before.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        let outage = |(id, began_at, ended_at, opened_at, flapping, held): Row| OutageRow {
            id,
            began_at: time(began_at),
            ended_at: ended_at.map(time),
            opened_at: opened_at.map(time),
            flapping,
            held: held.map(|Json(held)| held),
        };
        Ok(rows.into_iter().map(outage).collect())
    }
}

/// A standing of a newer version is taken for unknown.
fn standing_of(number: i64) -> Standing {
    u8::try_from(number).ok().and_then(Standing::at).unwrap_or(Standing::Unknown)
}

pub(super) async fn save_flips(tx: &mut Tx, changes: &[CheckChange]) -> Result<()> {
    // The last word about a moment counts; one statement takes each moment once.
    let mut flips: BTreeMap<(i64, i64), i64> = BTreeMap::new();
    for change in changes {
        for flip in &change.flips {
            flips.insert((int(change.number), flip.at.as_micros()), i64::from(flip.standing.index()));
        }
    }
    let rows: Vec<_> = flips.into_iter().collect();
    for piece in pieces(&rows) {
        on!(&mut *tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("INSERT INTO check_flips (number, at, standing) ");
            query.push_values(piece, |mut row, ((number, at), standing)| {
                row.push_bind(*number).push_bind(*at).push_bind(*standing);
            });
            query.push(" ON CONFLICT (number, at) DO UPDATE SET standing = excluded.standing");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

pub(super) async fn save_outages(tx: &mut Tx, changes: &[CheckChange]) -> Result<()> {
    let mut outages: BTreeMap<Uuid, (u64, &OutageRow)> = BTreeMap::new();
    for change in changes {
        outages.extend(change.outages.iter().map(|outage| (outage.id, (change.number, outage))));
    }
    let mut rows = Vec::with_capacity(outages.len());
    for (number, outage) in outages.into_values() {
        rows.push((int(number), outage, outage.held.as_ref().map(json).transpose()?));
    }
    for piece in pieces(&rows) {
        on!(&mut *tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO check_outages (id, number, began_at, ended_at, opened_at, flapping, held) ",
            );
            query.push_values(piece, |mut row, (number, outage, held)| {
                row.push_bind(outage.id).push_bind(*number).push_bind(outage.began_at.as_micros());
                row.push_bind(outage.ended_at.map(Timestamp::as_micros));
                row.push_bind(outage.opened_at.map(Timestamp::as_micros));
                row.push_bind(outage.flapping).push_bind(held.clone());
            });
            query.push(
                " ON CONFLICT (id) DO UPDATE SET ended_at = excluded.ended_at, \
                 opened_at = COALESCE(check_outages.opened_at, excluded.opened_at), \
                 flapping = (check_outages.flapping OR excluded.flapping), held = COALESCE(excluded.held, check_outages.held)",
            );
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}
