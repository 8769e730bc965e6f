//! Keys at rest: which are due, which are open, how many groups a rule has.

use dynowatch_domain::alert::Track;
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::read;
use crate::error::Result;
use crate::open::Store;
use crate::text::time;

type KeyRow = (Uuid, String, String);

fn key((app, rule, group): KeyRow) -> Key {
    Key { app: AppId(app), rule, group: Group(group) }
}

impl Store {
    /// Keys that must be looked at by now even if nothing arrives, the longest due first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn due_keys(&self, now: Timestamp, limit: u32) -> Result<Vec<Key>> {
        self.fold_to_read().await;
        // A key at rest waits for nothing, and the open ones have an index: one of the times would change with every commit.
        let sql = "SELECT app_id, rule, grp FROM tracks WHERE phase <> 'quiet' AND next_wake_at <= $1 \
                   ORDER BY next_wake_at, app_id, rule, grp LIMIT $2";
        let (now, limit) = (now.as_micros(), i64::from(limit));
        let rows: Vec<KeyRow> = read!(&self.state, |pool| sqlx::query_as(sql).bind(now).bind(limit).fetch_all(pool))?;
        Ok(rows.into_iter().map(key).collect())
    }

    /// When the next key is due.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn next_wake_at(&self) -> Result<Option<Timestamp>> {
        self.fold_to_read().await;
        let sql = "SELECT MIN(next_wake_at) FROM tracks WHERE phase <> 'quiet'";
        let at: Option<i64> = read!(&self.state, |pool| sqlx::query_scalar(sql).fetch_one(pool))?;
        Ok(at.map(time))
    }

    /// Every key that is pending or firing, with its version and state.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn load_open(&self) -> Result<Vec<(Key, i64, Track)>> {
        type Row = (Uuid, String, String, i64, Json<Track>);
        self.fold_to_read().await;
        let sql =
            "SELECT app_id, rule, grp, version, track FROM tracks WHERE phase <> 'quiet' ORDER BY app_id, rule, grp";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        Ok(rows
            .into_iter()
            .map(|(app, rule, group, version, Json(track))| (key((app, rule, group)), version, track))
            .collect())
    }

    /// Keys that are pending or firing although their rule is none of these: it was removed or switched off.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn open_tracks_of_rules_not_in(&self, names: &[&str]) -> Result<Vec<Key>> {
        let sql = "SELECT app_id, rule, grp FROM tracks WHERE phase <> 'quiet' ORDER BY app_id, rule, grp";
        let rows: Vec<KeyRow> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        Ok(rows.into_iter().filter(|(_, rule, _)| !names.contains(&rule.as_str())).map(key).collect())
    }
}
