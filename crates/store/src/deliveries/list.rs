//! The outbox as people see it: lists, counts, one delivery with its attempts.

use super::{
    AlertId, DeliveryId, DeliveryState, Json, Notice, NoticeKind, Timestamp, Uuid, attempts_of, count, kind, time, word,
};
use super::{QueryBuilder, Result, Store, StoreError, read};
use crate::db::{CALL_MAX, Db, within};

/// A delivery as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its id.
    pub id: DeliveryId,
    /// The alert it tells of; none for a test.
    pub alert: Option<AlertId>,
    /// To whom.
    pub receiver: String,
    /// What kind of message.
    pub kind: NoticeKind,
    /// What it says.
    pub notice: Notice,
    /// Where it stands.
    pub state: DeliveryState,
    /// How many attempts were begun.
    pub attempts: u32,
    /// Since when it is to be sent.
    pub intended_at: Timestamp,
    /// When the next attempt is due, while it is pending.
    pub next_attempt_at: Timestamp,
    /// When it was sent or given up.
    pub finished_at: Option<Timestamp>,
    /// Why it was given up.
    pub detail: Option<String>,
}

/// One attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// From 1.
    pub number: u32,
    /// The process that made it.
    pub worker: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When its outcome was known.
    pub finished_at: Option<Timestamp>,
    /// `accepted`, `unknown`, `retry`, `misconfigured`, `rejected`; none when no process is left to say.
    pub outcome: Option<String>,
    /// What the receiver said, or what happened.
    pub detail: Option<String>,
}

/// How many deliveries one receiver has in one state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryCount {
    /// To whom.
    pub receiver: String,
    /// Where they stand.
    pub state: DeliveryState,
    /// How many.
    pub count: u64,
}

/// Where a page of a list ends: the next one begins after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveryCursor {
    /// The last row's time.
    pub intended_at: Timestamp,
    /// The last row's id.
    pub id: DeliveryId,
}

/// Which deliveries to list, newest first.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only to this receiver.
    pub receiver: Option<String>,
    /// Only in this state.
    pub state: Option<DeliveryState>,
    /// Only of this alert.
    pub alert: Option<AlertId>,
    /// Only those before this.
    pub before: Option<DeliveryCursor>,
    /// How many at most.
    pub limit: u32,
}

const COLUMNS: &str = "SELECT id, alert_id, receiver, kind, notice, state, attempts, intended_at, next_attempt_at, finished_at, detail FROM deliveries";

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    alert_id: Option<Uuid>,
    receiver: String,
    kind: String,
    notice: Json<Notice>,
    state: String,
    attempts: i64,
    intended_at: i64,
    next_attempt_at: i64,
    finished_at: Option<i64>,
    detail: Option<String>,
}

impl Row {
    fn read(self) -> Result<Delivery> {
        Ok(Delivery {
            id: DeliveryId(self.id),
            alert: self.alert_id.map(AlertId),
            receiver: self.receiver,
            kind: kind(&self.kind)?,
            notice: self.notice.0,
            state: word("a delivery's state", &self.state, DeliveryState::named)?,
            attempts: attempts_of(self.attempts),
            intended_at: time(self.intended_at),
            next_attempt_at: time(self.next_attempt_at),
            finished_at: self.finished_at.map(time),
            detail: self.detail,
        })
    }
}

impl Store {
    /// Deliveries, newest intent first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>> {
        macro_rules! fetch {
            ($engine:ty, $pool:expr) => {{
                let mut query = QueryBuilder::<$engine>::new(COLUMNS);
                query.push(" WHERE 1 = 1");
                if let Some(receiver) = &filter.receiver {
                    query.push(" AND receiver = ").push_bind(receiver.as_str());
                }
                if let Some(state) = filter.state {
                    query.push(" AND state = ").push_bind(state.as_str());
                }
                if let Some(alert) = filter.alert {
                    query.push(" AND alert_id = ").push_bind(alert.0);
                }
                if let Some(before) = filter.before {
                    query
                        .push(" AND (intended_at, id) < (")
                        .push_bind(before.intended_at.as_micros())
                        .push(", ")
                        .push_bind(before.id.0)
                        .push(")");
                }
                query.push(" ORDER BY intended_at DESC, id DESC LIMIT ").push_bind(i64::from(filter.limit));
                query.build_query_as::<Row>().fetch_all($pool).await?
            }};
        }
        let rows = within(CALL_MAX, async {
            Ok(match &self.state {
                Db::Lite { r, .. } => fetch!(sqlx::Sqlite, r),
                Db::Pg(pool) => fetch!(sqlx::Postgres, pool),
            })
        })
        .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// One delivery with its attempts, the first first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is away.
    pub async fn delivery(&self, id: DeliveryId) -> Result<(Delivery, Vec<Attempt>)> {
        const ATTEMPTS: &str = "SELECT number, worker, started_at, finished_at, outcome, detail FROM attempts WHERE delivery_id = $1 ORDER BY number";
        const ONE: &str = "SELECT id, alert_id, receiver, kind, notice, state, attempts, intended_at, next_attempt_at, finished_at, detail \
                           FROM deliveries WHERE id = $1";
        type AttemptRow = (i64, String, i64, Option<i64>, Option<String>, Option<String>);
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(ONE).bind(id.0).fetch_optional(pool))?;
        let delivery = row.ok_or_else(|| StoreError::NotFound(format!("delivery {id}")))?.read()?;
        let rows: Vec<AttemptRow> = read!(&self.state, |pool| sqlx::query_as(ATTEMPTS).bind(id.0).fetch_all(pool))?;
        let attempts = rows.into_iter().map(|(number, worker, started_at, finished_at, outcome, detail)| Attempt {
            number: attempts_of(number),
            worker,
            started_at: time(started_at),
            finished_at: finished_at.map(time),
            outcome,
            detail,
        });
        Ok((delivery, attempts.collect()))
    }

    /// How many deliveries each receiver has in each state.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn delivery_counts(&self) -> Result<Vec<DeliveryCount>> {
        let sql = "SELECT receiver, state, COUNT(*) FROM deliveries GROUP BY receiver, state ORDER BY receiver, state";
        let rows: Vec<(String, String, i64)> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        rows.into_iter()
            .map(|(receiver, state, n)| {
                let state = word("a delivery's state", &state, DeliveryState::named)?;
                Ok(DeliveryCount { receiver, state, count: count(n) })
            })
            .collect()
    }

    /// Since when the oldest pending delivery waits.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn oldest_pending_delivery(&self) -> Result<Option<Timestamp>> {
        let sql = "SELECT MIN(intended_at) FROM deliveries WHERE state = 'pending'";
        let at: Option<i64> = read!(&self.state, |pool| sqlx::query_scalar(sql).fetch_one(pool))?;
        Ok(at.map(time))
    }

    /// How many deliveries were given up since then.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn failed_deliveries_since(&self, since: Timestamp) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM deliveries WHERE state = 'failed' AND finished_at >= $1";
        let n: i64 = read!(&self.state, |pool| sqlx::query_scalar(sql).bind(since.as_micros()).fetch_one(pool))?;
        Ok(count(n))
    }
}
