//! Drains being replaced. What may happen to one is `domain::drain_rotation`'s; here a step is written if nobody else made
//! one meanwhile.

use dynowatch_domain::drain_rotation::{DrainRef, Rotation, State};
use dynowatch_domain::{AppId, Timestamp};
use uuid::Uuid;

use crate::db::{change, read};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time, word};

#[derive(sqlx::FromRow)]
struct Row {
    id: Uuid,
    app_id: Uuid,
    version: i64,
    state: String,
    mark: String,
    old_drain: Uuid,
    old_token: String,
    old_mark: Option<String>,
    new_drain: Option<Uuid>,
    new_token: Option<String>,
    old_delivered_at: Option<i64>,
    new_delivered_at: Option<i64>,
    cutover_at: Option<i64>,
    next_at: Option<i64>,
    attempts: i64,
    problem: Option<String>,
    by_whom: String,
    created_at: i64,
    changed_at: i64,
}

impl Row {
    fn read(self) -> Result<Rotation> {
        Ok(Rotation {
            id: self.id,
            app: AppId(self.app_id),
            version: self.version,
            state: word("a rotation's state", &self.state, State::named)?,
            mark: self.mark,
            old: DrainRef { id: self.old_drain, token: self.old_token },
            old_mark: self.old_mark,
            new: self.new_drain.zip(self.new_token).map(|(id, token)| DrainRef { id, token }),
            old_delivered_at: self.old_delivered_at.map(time),
            new_delivered_at: self.new_delivered_at.map(time),
            cutover_at: self.cutover_at.map(time),
            next_at: self.next_at.map(time),
            attempts: u32::try_from(self.attempts).unwrap_or(0),
            problem: self.problem,
            by: self.by_whom,
            created_at: time(self.created_at),
            changed_at: time(self.changed_at),
        })
    }
}

impl Store {
    /// Writes down a rotation that begins.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a drain of the app is being replaced already.
    pub async fn begin_rotation(&self, rotation: &Rotation) -> Result<()> {
        let sql = "INSERT INTO drain_rotations (id, app_id, version, state, mark, old_drain, old_token, old_mark, next_at, attempts, by_whom, \
                   created_at, changed_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13 \
                   WHERE NOT EXISTS (SELECT 1 FROM drain_rotations WHERE app_id = $2 AND next_at IS NOT NULL)";
        let by = clean(&rotation.by);
        let old_token = clean(&rotation.old.token);
        let done = change!(
            &self.state,
            sqlx::query(sql)
                .bind(rotation.id)
                .bind(rotation.app.0)
                .bind(rotation.version)
                .bind(rotation.state.as_str())
                .bind(rotation.mark.as_str())
                .bind(rotation.old.id)
                .bind(old_token.as_ref())
                .bind(rotation.old_mark.as_deref())
                .bind(rotation.next_at.map(Timestamp::as_micros))
                .bind(i64::from(rotation.attempts))
                .bind(by.as_ref())
                .bind(rotation.created_at.as_micros())
                .bind(rotation.changed_at.as_micros())
        );
        let taken = || StoreError::Conflict("a drain of this app is being replaced already".to_owned());
        match done {
            Ok(1) => Ok(()),
            Ok(_) => Err(taken()),
            // Two at the same moment: the index decides.
            Err(StoreError::Sql(sqlx::Error::Database(error))) if error.is_unique_violation() => Err(taken()),
            Err(error) => Err(error),
        }
    }

    /// Writes a step of a rotation. `false`: somebody else made one meanwhile; read it again.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn save_rotation(&self, rotation: &Rotation) -> Result<bool> {
        let sql = "UPDATE drain_rotations SET version = $3, state = $4, new_drain = $5, new_token = $6, cutover_at = $7, \
                   next_at = $8, attempts = $9, problem = $10, changed_at = $11 WHERE id = $1 AND version = $2";
        let new = rotation.new.as_ref();
        let (token, problem) = (new.map(|new| clean(&new.token)), rotation.problem.as_deref().map(clean));
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        let done = change!(
            &self.state,
            sqlx::query(sql)
                .bind(rotation.id)
                .bind(rotation.version - 1)
                .bind(rotation.version)
                .bind(rotation.state.as_str())
                .bind(new.map(|new| new.id))
                .bind(token.as_deref())
                .bind(micros(rotation.cutover_at))
                .bind(micros(rotation.next_at))
                .bind(i64::from(rotation.attempts))
                .bind(problem.as_deref())
                .bind(rotation.changed_at.as_micros())
        )?;
        Ok(done == 1)
    }

    /// Every rotation that is kept: open ones, those that ended in the last 30 days, and those that were left. By time.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn rotations(&self) -> Result<Vec<Rotation>> {
        let sql = "SELECT * FROM drain_rotations ORDER BY created_at, id";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Open rotations whose time has come, the longest due first; at most 100.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn due_rotations(&self, now: Timestamp) -> Result<Vec<Rotation>> {
        let sql = "SELECT * FROM drain_rotations WHERE next_at <= $1 ORDER BY next_at, id LIMIT 100";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(now.as_micros()).fetch_all(pool))?;
        rows.into_iter().map(Row::read).collect()
    }

    /// The newest rotation of an app.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest_rotation(&self, app: AppId) -> Result<Option<Rotation>> {
        let sql = "SELECT * FROM drain_rotations WHERE app_id = $1 ORDER BY created_at DESC, id DESC LIMIT 1";
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(app.0).fetch_optional(pool))?;
        row.map(Row::read).transpose()
    }

    /// Notes that the drain of this token or mark has delivered, for the rotations that wait to see it.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn note_drain_delivery(&self, token_or_mark: &str, at: Timestamp) -> Result<()> {
        let new = "UPDATE drain_rotations SET new_delivered_at = $2 \
                   WHERE (mark = $1 OR new_token = $1) AND next_at IS NOT NULL AND new_delivered_at IS NULL";
        let _done: u64 = change!(&self.state, sqlx::query(new).bind(token_or_mark).bind(at.as_micros()))?;
        let old = "UPDATE drain_rotations SET old_delivered_at = $2 WHERE (old_token = $1 OR old_mark = $1) AND next_at IS NOT NULL";
        let _done: u64 = change!(&self.state, sqlx::query(old).bind(token_or_mark).bind(at.as_micros()))?;
        Ok(())
    }
}
