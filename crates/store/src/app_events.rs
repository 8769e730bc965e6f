//! What happened to an app that is no release and no alert (scaling, restarts, crashes), and the newest state of each of
//! its dynos. Written by the flush of metrics, so the last ten seconds may be lost; what is written twice is there once.

use dynowatch_domain::app_event::{AppEvent, DynoState, EventKind};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{CALL_MAX, change, on, read, within};
use crate::error::Result;
use crate::metrics::ROWS;
use crate::open::Store;
use crate::rows::pieces_of;
use crate::text::{clean, time, word};

/// The most events of one answer.
pub const EVENTS_MAX: u32 = 1_000;
/// Deletes go in slices.
const SLICE: i64 = 5_000;

type EventRow = (Uuid, i64, String, String, Option<String>, Option<String>);

impl Store {
    /// Writes down events and states of dynos, all or nothing. An event that is known is left as it is; a state gives way to
    /// a newer one only.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn add_app_events(&self, events: &[(AppId, AppEvent)], states: &[(AppId, DynoState)]) -> Result<()> {
        if events.is_empty() && states.is_empty() {
            return Ok(());
        }
        let mut events: Vec<&(AppId, AppEvent)> = events.iter().collect();
        events.sort_by(|a, b| (a.0, a.1.at, a.1.kind, &a.1.source).cmp(&(b.0, b.1.at, b.1.kind, &b.1.source)));
        events.dedup_by(|a, b| (a.0, a.1.at, a.1.kind, &a.1.source) == (b.0, b.1.at, b.1.kind, &b.1.source));
        let mut states: Vec<&(AppId, DynoState)> = states.iter().collect();
        // Of one dyno the newest.
        states.sort_by(|a, b| (a.0, &a.1.dyno, b.1.at).cmp(&(b.0, &b.1.dyno, a.1.at)));
        states.dedup_by(|a, b| (a.0, &a.1.dyno) == (b.0, &b.1.dyno));
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            for piece in pieces_of(&events, ROWS) {
                on!(&mut tx, Engine, conn, {
                    let mut query =
                        QueryBuilder::<Engine>::new("INSERT INTO app_events (app_id, at, kind, source, actor, what) ");
                    query.push_values(piece, |mut values, (app, event)| {
                        values.push_bind(app.0).push_bind(event.at.as_micros()).push_bind(event.kind.as_str());
                        values.push_bind(clean(&event.source).into_owned());
                        values.push_bind(event.actor.as_deref().map(|text| clean(text).into_owned()));
                        values.push_bind(event.what.as_deref().map(|text| clean(text).into_owned()));
                    });
                    query.push(" ON CONFLICT (app_id, at, kind, source) DO NOTHING");
                    query.build().execute(conn).await?;
                });
            }
            for piece in pieces_of(&states, ROWS) {
                on!(&mut tx, Engine, conn, {
                    let mut query = QueryBuilder::<Engine>::new("INSERT INTO dyno_states (app_id, dyno, state, at) ");
                    query.push_values(piece, |mut values, (app, state)| {
                        values.push_bind(app.0).push_bind(clean(&state.dyno).into_owned());
                        values.push_bind(clean(&state.state).into_owned()).push_bind(state.at.as_micros());
                    });
                    query.push(
                        " ON CONFLICT (app_id, dyno) DO UPDATE SET state = excluded.state, at = excluded.at \
                         WHERE dyno_states.at <= excluded.at",
                    );
                    query.build().execute(conn).await?;
                });
            }
            tx.commit().await
        })
        .await
    }

    /// Events between two moments, the newest first, at most [`EVENTS_MAX`].
    ///
    /// # Errors
    /// When the store is away.
    pub async fn app_events(&self, app: AppId, from: Timestamp, until: Timestamp) -> Result<Vec<AppEvent>> {
        let sql = "SELECT app_id, at, kind, source, actor, what FROM app_events WHERE app_id = $1 AND at >= $2 AND at < $3 \
                   ORDER BY at DESC LIMIT $4";
        let rows: Vec<EventRow> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(app.0)
            .bind(from.as_micros())
            .bind(until.as_micros())
            .bind(i64::from(EVENTS_MAX))
            .fetch_all(pool))?;
        rows.into_iter().map(|row| event(row).map(|(_, event)| event)).collect()
    }

    /// The newest events of all apps since a moment, the newest first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest_events(&self, since: Timestamp, limit: u32) -> Result<Vec<(AppId, AppEvent)>> {
        let sql =
            "SELECT app_id, at, kind, source, actor, what FROM app_events WHERE at >= $1 ORDER BY at DESC LIMIT $2";
        let rows: Vec<EventRow> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(since.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        rows.into_iter().map(event).collect()
    }

    /// The newest scaling of each app that was told after `since`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest_scalings(&self, since: Timestamp) -> Result<Vec<(AppId, AppEvent)>> {
        let sql = "SELECT e.app_id, e.at, e.kind, e.source, e.actor, e.what FROM app_events AS e JOIN \
                   (SELECT app_id, MAX(at) AS at FROM app_events WHERE kind = 'scale' AND at > $1 GROUP BY app_id) AS n \
                   ON n.app_id = e.app_id AND n.at = e.at WHERE e.kind = 'scale'";
        let rows: Vec<EventRow> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(since.as_micros()).fetch_all(pool))?;
        rows.into_iter().map(event).collect()
    }

    /// The newest state of every dyno of an app, by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn dyno_states(&self, app: AppId) -> Result<Vec<DynoState>> {
        let sql = "SELECT dyno, state, at FROM dyno_states WHERE app_id = $1 ORDER BY dyno";
        let rows: Vec<(String, String, i64)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(app.0).fetch_all(pool))?;
        Ok(rows.into_iter().map(|(dyno, state, at)| DynoState { dyno, state, at: time(at) }).collect())
    }

    /// Forgets events from before `events_before`, and dynos that have been in a state of rest since before
    /// `states_before`. Returns how many rows went.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_app_events(&self, events_before: Timestamp, states_before: Timestamp) -> Result<u64> {
        // The newest scaling of an app stays: it says how many dynos there are.
        let events = "DELETE FROM app_events WHERE (app_id, at, kind, source) IN (SELECT app_id, at, kind, source FROM app_events AS e \
                      WHERE at < $1 AND (kind <> 'scale' OR EXISTS (SELECT 1 FROM app_events AS n WHERE n.app_id = e.app_id \
                      AND n.kind = 'scale' AND n.at > e.at)) LIMIT $2)";
        let states = "DELETE FROM dyno_states WHERE (app_id, dyno) IN (SELECT app_id, dyno FROM dyno_states \
                      WHERE at < $1 AND state IN ('down', 'complete', 'idle') LIMIT $2)";
        let mut gone = 0;
        for (sql, before) in [(events, events_before), (states, states_before)] {
            gone += change!(&self.state, sqlx::query(sql).bind(before.as_micros()).bind(SLICE))?;
        }
        Ok(gone)
    }
}

fn event((app, at, kind, source, actor, what): EventRow) -> Result<(AppId, AppEvent)> {
    let kind = word("an event's kind", &kind, EventKind::named)?;
    Ok((AppId(app), AppEvent { at: time(at), kind, source, actor, what }))
}
