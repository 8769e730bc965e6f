//! The outbox: messages from intent to an end (contract C22-C26). Owns the claim, its fence and its lease, what became of
//! attempts, and who is told that an alert is over. When to try again is `domain`'s decision, sending is `notify`'s.
//!
//! A claim writes the attempt before it is made. Whoever finishes it must still hold the claim: its number is the fence,
//! and a process that was presumed dead changes nothing any more.

use dynowatch_domain::account::audit::Act;
use dynowatch_domain::alert::NoticeKind;
use dynowatch_domain::delivery::{DeliveryState, LEASE, Next, Outcome, Outgoing};
use dynowatch_domain::notice::Notice;
use dynowatch_domain::{AlertId, DeliveryId, Timestamp};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use crate::audit::append;
use crate::db::{CALL_MAX, Engine, Tx, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::evaluate::{NewDelivery, ResolveNotice};
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{clean, count, json, time, word};

mod list;

pub use list::{Attempt, Delivery, DeliveryCount, DeliveryCursor, DeliveryFilter};

/// A delivery to attempt now.
#[derive(Debug, Clone, PartialEq)]
pub struct Claimed {
    /// The message. A firing notice says that its alert is over already, where it is (C23).
    pub outgoing: Outgoing,
    /// The number of this attempt, from 1. Also the fence: [`Store::finish_attempt`] asks for it.
    pub attempts: u32,
    /// Since when it is to be sent.
    pub intended_at: Timestamp,
}

/// Writes intents. One that is there already stays as it is.
pub(crate) async fn insert(tx: &mut Tx, deliveries: &[NewDelivery]) -> Result<()> {
    let rows = deliveries.iter().map(|new| Ok((new, json(&new.notice)?))).collect::<Result<Vec<_>>>()?;
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO deliveries (id, alert_id, receiver, kind, notice, state, attempts, intended_at, next_attempt_at, send_resolved) ",
            );
            query.push_values(piece, |mut row, (new, notice)| {
                let due = new.intended_at.as_micros();
                row.push_bind(new.id.0)
                    .push_bind(new.alert.map(|id| id.0))
                    .push_bind(clean(&new.receiver))
                    .push_bind(new.kind.as_str());
                row.push_bind(notice.clone()).push_bind(DeliveryState::Pending.as_str()).push_bind(0_i64);
                row.push_bind(due).push_bind(due).push_bind(new.send_resolved);
            });
            query.push(" ON CONFLICT DO NOTHING");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

/// Tells the end of alerts to those who accepted their beginning and have nothing more on its way.
pub(crate) async fn insert_resolve_notices(tx: &mut Tx, notices: &[ResolveNotice]) -> Result<()> {
    let mut new = Vec::new();
    for piece in pieces(notices) {
        let told: Vec<(Uuid, String)> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("SELECT d.alert_id, d.receiver FROM (");
            query.push_values(piece, |mut row, notice| {
                row.push_bind(notice.alert.0);
            });
            query.push(
                ") AS v CROSS JOIN deliveries AS d WHERE d.alert_id = v.column1 AND d.kind IN ('firing', 'still_firing') AND d.send_resolved \
                 GROUP BY d.alert_id, d.receiver \
                 HAVING MAX(CASE WHEN d.state = 'sent' THEN 1 ELSE 0 END) = 1 AND MAX(CASE WHEN d.state = 'pending' THEN 1 ELSE 0 END) = 0 \
                 ORDER BY d.alert_id, d.receiver",
            );
            query.build_query_as().fetch_all(conn).await?
        });
        for (alert, receiver) in told {
            if let Some(notice) = piece.iter().find(|notice| notice.alert.0 == alert) {
                new.push(resolve_delivery(notice.alert, receiver, notice.notice.clone(), notice.at));
            }
        }
    }
    insert(tx, &new).await
}

/// The one message that tells a receiver of an alert's end.
fn resolve_delivery(alert: AlertId, receiver: String, notice: Notice, at: Timestamp) -> NewDelivery {
    let id = resolve_id(alert, &receiver);
    let notice = Notice { kind: NoticeKind::Resolved, ..notice };
    NewDelivery {
        id,
        alert: Some(alert),
        receiver,
        kind: NoticeKind::Resolved,
        notice,
        send_resolved: true,
        intended_at: at,
    }
}

/// An id that alert and receiver give: the alert's, with its random half replaced by a hash (FNV-1a, then mixed) of both.
fn resolve_id(alert: AlertId, receiver: &str) -> DeliveryId {
    let hashed = alert.0.as_bytes().iter().chain(b"resolved:").chain(receiver.as_bytes());
    let fnv =
        hashed.fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let low = ((mixed ^ (mixed >> 29)) & (u64::MAX >> 2)) | (1 << 63);
    DeliveryId(Uuid::from_u64_pair(alert.0.as_u64_pair().0, low))
}

type ClaimRow = (Uuid, String, Json<Notice>, i64, i64, Option<i64>);

impl Store {
    /// Takes up to `limit` due deliveries for `worker`, oldest first and one receiver after the other, so that a backlog of
    /// one delays no other. `places` names receivers that get fewer than `limit`, since some are on their way to them. A
    /// claim holds for [`LEASE`]; then another may take the delivery over.
    ///
    /// # Errors
    /// When the store is away; nothing is claimed then.
    pub async fn claim_deliveries(
        &self,
        now: Timestamp,
        worker: &str,
        limit: u32,
        places: &[(String, u32)],
    ) -> Result<Vec<Claimed>> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let rows = due(&mut tx, now, limit, places).await?;
            if rows.is_empty() {
                tx.rollback().await?;
                return Ok(Vec::new());
            }
            let ids: Vec<Uuid> = rows.iter().map(|row| row.0).collect();
            let unknown = attempts_without_outcome(&mut tx, &ids).await?;
            mark_claimed(&mut tx, &ids, now).await?;
            insert_attempts(&mut tx, &rows, worker, now).await?;
            tx.commit().await?;
            Ok(rows.into_iter().map(|row| claimed(row, &unknown)).collect())
        })
        .await
    }

    /// Records what came of an attempt and what follows. `attempts` is the number that the claim gave. Returns `false`
    /// when the claim was lost meanwhile: the outcome is recorded, but what follows is the new owner's business.
    ///
    /// A firing notice that was accepted after its alert was over, without saying so, is followed by the notice of its end
    /// where that is wanted; so is one that failed for good, where the receiver has accepted an earlier one.
    ///
    /// # Errors
    /// When the store is away; the attempt then counts as one without an outcome.
    pub async fn finish_attempt(
        &self,
        id: DeliveryId,
        attempts: u32,
        outcome: &Outcome,
        next: &Next,
        now: Timestamp,
    ) -> Result<bool> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            // The alert first, as an evaluation does: either it sees this outcome, or we see its resolution.
            let alert = lock_alert(&mut tx, id).await?;
            record_outcome(&mut tx, id, attempts, outcome, now).await?;
            let held = settle(&mut tx, id, attempts, next, now).await?;
            if held && let Some((alert, Some(resolved_at))) = alert {
                tell_the_end(&mut tx, id, attempts, alert, resolved_at, now).await?;
            }
            tx.commit().await?;
            Ok(held)
        })
        .await
    }

    /// Gives up the claims of a worker, or of all when `None`: for an orderly end, and for the start of the only process on
    /// a SQLite file, which then takes over at once. Returns how many.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn release_leases(&self, worker: Option<&str>) -> Result<u64> {
        // CAST: Postgres must know the type of a parameter that is compared with NULL.
        let sql = "UPDATE deliveries SET lease_until = NULL WHERE state = 'pending' AND lease_until IS NOT NULL AND (CAST($1 AS TEXT) IS NULL \
                   OR EXISTS (SELECT 1 FROM attempts AS a WHERE a.delivery_id = deliveries.id AND a.number = deliveries.attempts AND a.worker = $1))";
        let done: u64 = change!(&self.state, sqlx::query(sql).bind(worker))?;
        Ok(done)
    }

    /// When the next delivery is due, if any is pending. The past when one is overdue.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn next_delivery_at(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT MIN(CASE WHEN lease_until > next_attempt_at THEN lease_until ELSE next_attempt_at END) FROM deliveries WHERE state = 'pending'";
        let due: Option<i64> = read!(&self.state, |pool| sqlx::query_scalar(sql).fetch_one(pool))?;
        Ok(due.map(time))
    }

    /// Writes a test message, apart from any alert.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn insert_test_delivery(
        &self,
        id: DeliveryId,
        receiver: &str,
        notice: &Notice,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        let receiver = receiver.to_owned();
        let kind = NoticeKind::Test;
        let new = NewDelivery {
            id,
            alert: None,
            receiver,
            kind,
            notice: notice.clone(),
            send_resolved: false,
            intended_at: now,
        };
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            insert(&mut tx, &[new]).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }
}

/// Finds due rows and, on Postgres, locks them; those another process is just claiming are skipped.
async fn due(tx: &mut Tx, now: Timestamp, limit: u32, places: &[(String, u32)]) -> Result<Vec<ClaimRow>> {
    let now = now.as_micros();
    let suffix = if tx.engine() == Engine::Postgres { " FOR UPDATE OF d SKIP LOCKED" } else { "" };
    let rows = on!(tx, Engine, conn, {
        let mut query = QueryBuilder::<Engine>::new(
            "SELECT d.id, d.receiver, d.notice, d.attempts, d.intended_at, (SELECT a.resolved_at FROM alerts AS a WHERE a.id = d.alert_id) \
             FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY receiver ORDER BY intended_at, id) AS place FROM deliveries \
             WHERE state = 'pending' AND next_attempt_at <= ",
        );
        query.push_bind(now).push(" AND (lease_until IS NULL OR lease_until <= ").push_bind(now).push(")");
        // The conditions again, on the row itself: after waiting for a lock, Postgres checks these and no others.
        query
            .push(") AS due JOIN deliveries AS d ON d.id = due.id WHERE d.state = 'pending' AND d.next_attempt_at <= ")
            .push_bind(now);
        query.push(" AND (d.lease_until IS NULL OR d.lease_until <= ").push_bind(now);
        query.push(")");
        for (receiver, places) in places {
            query.push(" AND (d.receiver <> ").push_bind(receiver.as_str());
            query.push(" OR due.place <= ").push_bind(i64::from(*places)).push(")");
        }
        query.push(" ORDER BY due.place, d.intended_at, d.id LIMIT ").push_bind(i64::from(limit)).push(suffix);
        query.build_query_as().fetch_all(conn).await?
    });
    Ok(rows)
}

/// Which of these have an earlier attempt that may have been accepted.
async fn attempts_without_outcome(tx: &mut Tx, ids: &[Uuid]) -> Result<Vec<Uuid>> {
    let mut unknown = Vec::new();
    for piece in pieces(ids) {
        let rows: Vec<Uuid> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT DISTINCT delivery_id FROM attempts WHERE (outcome IS NULL OR outcome = 'unknown') AND delivery_id IN ",
            );
            query.push_tuples(piece, |mut row, id| {
                row.push_bind(*id);
            });
            query.build_query_scalar().fetch_all(conn).await?
        });
        unknown.extend(rows);
    }
    Ok(unknown)
}

async fn mark_claimed(tx: &mut Tx, ids: &[Uuid], now: Timestamp) -> Result<()> {
    for piece in pieces(ids) {
        on!(tx, Engine, conn, {
            let mut query =
                QueryBuilder::<Engine>::new("UPDATE deliveries SET attempts = attempts + 1, lease_until = ");
            query.push_bind((now + LEASE).as_micros()).push(" WHERE id IN ");
            query.push_tuples(piece, |mut row, id| {
                row.push_bind(*id);
            });
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

async fn insert_attempts(tx: &mut Tx, rows: &[ClaimRow], worker: &str, now: Timestamp) -> Result<()> {
    for piece in pieces(rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO attempts (delivery_id, number, worker, started_at, said_resolved) ",
            );
            query.push_values(piece, |mut row, (id, _, _, attempts, _, resolved_at)| {
                row.push_bind(*id)
                    .push_bind(attempts + 1)
                    .push_bind(clean(worker))
                    .push_bind(now.as_micros())
                    .push_bind(resolved_at.is_some());
            });
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

fn claimed(
    (id, receiver, Json(mut notice), attempts, intended_at, resolved_at): ClaimRow,
    unknown: &[Uuid],
) -> Claimed {
    if matches!(notice.kind, NoticeKind::Firing | NoticeKind::StillFiring) {
        notice.resolved_at = resolved_at.map(time);
    }
    let outgoing = Outgoing { id: DeliveryId(id), receiver, notice, possible_duplicate: unknown.contains(&id) };
    Claimed { outgoing, attempts: u32::try_from(attempts + 1).unwrap_or(u32::MAX), intended_at: time(intended_at) }
}

/// The delivery's alert, if it has one, and when that was resolved; locked until the transaction ends.
async fn lock_alert(tx: &mut Tx, id: DeliveryId) -> Result<Option<(AlertId, Option<Timestamp>)>> {
    const LITE: &str = "SELECT id, resolved_at FROM alerts WHERE id = (SELECT alert_id FROM deliveries WHERE id = $1)";
    const PG: &str = "SELECT id, resolved_at FROM alerts WHERE id = (SELECT alert_id FROM deliveries WHERE id = $1) FOR NO KEY UPDATE";
    let sql = if tx.engine() == Engine::Postgres { PG } else { LITE };
    let row: Option<(Uuid, Option<i64>)> =
        on!(tx, Engine, conn, sqlx::query_as(sql).bind(id.0).fetch_optional(conn).await?);
    Ok(row.map(|(alert, resolved_at)| (AlertId(alert), resolved_at.map(time))))
}

async fn record_outcome(tx: &mut Tx, id: DeliveryId, number: u32, outcome: &Outcome, now: Timestamp) -> Result<()> {
    let sql = "UPDATE attempts SET finished_at = $1, outcome = $2, detail = $3 WHERE delivery_id = $4 AND number = $5 AND outcome IS NULL";
    let (at, word, detail) = (now.as_micros(), outcome.as_str(), clean(outcome.detail()));
    on!(tx, Engine, conn, {
        sqlx::query(sql).bind(at).bind(word).bind(detail).bind(id.0).bind(i64::from(number)).execute(conn).await?;
    });
    Ok(())
}

/// Moves the delivery on, if the claim still holds.
async fn settle(tx: &mut Tx, id: DeliveryId, attempts: u32, next: &Next, now: Timestamp) -> Result<bool> {
    let sql = "UPDATE deliveries SET state = $1, finished_at = $2, detail = $3, next_attempt_at = COALESCE($4, next_attempt_at), lease_until = NULL \
               WHERE id = $5 AND attempts = $6 AND state = 'pending'";
    let (state, finished_at, detail, at) = match next {
        Next::Sent => (DeliveryState::Sent, Some(now.as_micros()), None, None),
        Next::Failed(why) => (DeliveryState::Failed, Some(now.as_micros()), Some(clean(why)), None),
        Next::At(at) => (DeliveryState::Pending, None, None, Some(at.as_micros())),
    };
    let done = on!(tx, Engine, conn, {
        let query = sqlx::query(sql)
            .bind(state.as_str())
            .bind(finished_at)
            .bind(detail)
            .bind(at)
            .bind(id.0)
            .bind(i64::from(attempts));
        query.execute(conn).await?.rows_affected()
    });
    Ok(done == 1)
}

/// After a delivery about a resolved alert has come to an end: tells the receiver that it is over, where it was told that
/// it began, was not told that it ended, and nothing else will tell it.
async fn tell_the_end(
    tx: &mut Tx,
    id: DeliveryId,
    attempts: u32,
    alert: AlertId,
    resolved_at: Timestamp,
    now: Timestamp,
) -> Result<()> {
    let sql = "SELECT d.receiver, d.notice FROM deliveries AS d JOIN attempts AS a ON a.delivery_id = d.id AND a.number = $2 \
               WHERE d.id = $1 AND d.send_resolved AND d.kind IN ('firing', 'still_firing') AND \
               ((d.state = 'sent' AND NOT a.said_resolved) OR (d.state = 'failed' AND EXISTS (SELECT 1 FROM deliveries AS o \
               WHERE o.alert_id = d.alert_id AND o.receiver = d.receiver AND o.kind IN ('firing', 'still_firing') AND o.state = 'sent'))) \
               AND NOT EXISTS (SELECT 1 FROM deliveries AS p WHERE p.alert_id = d.alert_id AND p.receiver = d.receiver \
               AND p.kind IN ('firing', 'still_firing') AND p.state = 'pending')";
    let row: Option<(String, Json<Notice>)> =
        on!(tx, Engine, conn, sqlx::query_as(sql).bind(id.0).bind(i64::from(attempts)).fetch_optional(conn).await?);
    let Some((receiver, Json(notice))) = row else {
        return Ok(());
    };
    let notice = Notice { resolved_at: Some(resolved_at), suppressed: 0, ..notice };
    insert(tx, &[resolve_delivery(alert, receiver, notice, now)]).await
}

/// Reads a kind as it is stored.
fn kind(text: &str) -> Result<NoticeKind> {
    let kinds = [NoticeKind::Firing, NoticeKind::StillFiring, NoticeKind::Resolved, NoticeKind::Test];
    word("a delivery's kind", text, |name| kinds.into_iter().find(|kind| kind.as_str() == name))
}

fn attempts_of(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_has_one_id_per_alert_and_receiver() {
        let alert = |n: u128| AlertId(Uuid::from_u128(0x0198_0000_0000_7000_8000_0000_0000_0000 + n));
        let mut ids: Vec<DeliveryId> =
            (0..100).flat_map(|n| ["ops", "dev", "dev2"].map(|name| resolve_id(alert(n), name))).collect();
        assert!(ids.iter().all(|id| id.0.get_version_num() == 7 && id.0.get_variant() == uuid::Variant::RFC4122));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 300);
        assert_eq!(resolve_id(alert(7), "ops"), resolve_id(alert(7), "ops"));
    }
}
