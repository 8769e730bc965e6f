//! Rules, receivers, checks and maintenance windows that were made in the console, as JSON in the form of the configuration file. What they mean is
//! its reader's business; here they are kept, each under its name.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use serde_json::Value;
use sqlx::types::Json;

use crate::accounts::exec;
use crate::audit::append;
use crate::db::{CALL_MAX, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, count, json, time};

/// What kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// A rule.
    Rule,
    /// A receiver.
    Receiver,
    /// A check.
    Check,
    /// A maintenance window.
    Maintenance,
}

impl ObjectKind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Rule, Self::Receiver, Self::Check, Self::Maintenance];

    /// The word for one.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rule => "rule",
            Self::Receiver => "receiver",
            Self::Check => "check",
            Self::Maintenance => "maintenance window",
        }
    }
}

/// An object as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    /// Its name, unlike every other of its kind.
    pub name: String,
    /// What the file would hold in its table, without the name.
    pub body: Value,
    /// Who changed it last.
    pub by_whom: String,
    /// Since when it is there.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub changed_at: Timestamp,
}

/// From which it is seen that something changed: how many objects there are, and the newest change, of each kind.
pub type ObjectsVersion = [(u64, Timestamp); 4];

impl Store {
    /// All objects of a kind, by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn objects(&self, kind: ObjectKind) -> Result<Vec<Object>> {
        let sql = match kind {
            ObjectKind::Rule => "SELECT name, body, by_whom, created_at, changed_at FROM rules ORDER BY name",
            ObjectKind::Receiver => "SELECT name, body, by_whom, created_at, changed_at FROM receivers ORDER BY name",
            ObjectKind::Check => "SELECT name, body, by_whom, created_at, changed_at FROM checks ORDER BY name",
            ObjectKind::Maintenance => {
                "SELECT name, body, by_whom, created_at, changed_at FROM maintenance_windows ORDER BY name"
            }
        };
        type Row = (String, Json<Value>, String, i64, i64);
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        let object = |(name, Json(body), by_whom, created_at, changed_at)| Object {
            name,
            body,
            by_whom,
            created_at: time(created_at),
            changed_at: time(changed_at),
        };
        Ok(rows.into_iter().map(object).collect())
    }

    /// Whether something changed since.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn objects_version(&self) -> Result<ObjectsVersion> {
        let sql = "SELECT 0, COUNT(*), COALESCE(MAX(changed_at), 0) FROM rules UNION ALL \
                   SELECT 1, COUNT(*), COALESCE(MAX(changed_at), 0) FROM receivers UNION ALL \
                   SELECT 2, COUNT(*), COALESCE(MAX(changed_at), 0) FROM checks UNION ALL \
                   SELECT 3, COUNT(*), COALESCE(MAX(changed_at), 0) FROM maintenance_windows ORDER BY 1";
        let rows: Vec<(i32, i64, i64)> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        let mut version = ObjectsVersion::default();
        for (of, (_, objects, changed_at)) in version.iter_mut().zip(rows) {
            *of = (count(objects), time(changed_at));
        }
        Ok(version)
    }

    /// Keeps a new object.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when one of its name is there, or when the store is away or full.
    pub async fn create_object(&self, kind: ObjectKind, new: &Object, act: &Act) -> Result<()> {
        let sql = match kind {
            ObjectKind::Rule => {
                "INSERT INTO rules (name, body, by_whom, created_at, changed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
            }
            ObjectKind::Receiver => {
                "INSERT INTO receivers (name, body, by_whom, created_at, changed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
            }
            ObjectKind::Check => {
                "INSERT INTO checks (name, body, by_whom, created_at, changed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
            }
            ObjectKind::Maintenance => {
                "INSERT INTO maintenance_windows (name, body, by_whom, created_at, changed_at) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING"
            }
        };
        let (created_at, changed_at) = (new.created_at.as_micros(), new.changed_at.as_micros());
        let (name, body, by_whom) = (clean(&new.name), json(&new.body)?, clean(&new.by_whom));
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let made = exec!(
                &mut tx,
                sqlx::query(sql).bind(&*name).bind(body.clone()).bind(&*by_whom).bind(created_at).bind(changed_at)
            );
            if made == 0 {
                return Err(StoreError::Conflict(format!("there is a {} named {:?} already", kind.as_str(), new.name)));
            }
            append(&mut tx, act, new.created_at).await?;
            tx.commit().await
        })
        .await
    }

    /// Gives an object another body.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], or when the store is away or full.
    pub async fn change_object(
        &self,
        kind: ObjectKind,
        name: &str,
        body: &Value,
        by: &str,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        let sql = match kind {
            ObjectKind::Rule => "UPDATE rules SET body = $1, by_whom = $2, changed_at = $3 WHERE name = $4",
            ObjectKind::Receiver => "UPDATE receivers SET body = $1, by_whom = $2, changed_at = $3 WHERE name = $4",
            ObjectKind::Check => "UPDATE checks SET body = $1, by_whom = $2, changed_at = $3 WHERE name = $4",
            ObjectKind::Maintenance => {
                "UPDATE maintenance_windows SET body = $1, by_whom = $2, changed_at = $3 WHERE name = $4"
            }
        };
        let (body, by, name_of, at) = (json(body)?, clean(by), clean(name), now.as_micros());
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let changed = exec!(&mut tx, sqlx::query(sql).bind(body.clone()).bind(&*by).bind(at).bind(&*name_of));
            if changed == 0 {
                return Err(StoreError::NotFound(format!("{} {name}", kind.as_str())));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Forgets an object. Returns whether it was there.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn delete_object(&self, kind: ObjectKind, name: &str, act: &Act, now: Timestamp) -> Result<bool> {
        let sql = match kind {
            ObjectKind::Rule => "DELETE FROM rules WHERE name = $1",
            ObjectKind::Receiver => "DELETE FROM receivers WHERE name = $1",
            ObjectKind::Check => "DELETE FROM checks WHERE name = $1",
            ObjectKind::Maintenance => "DELETE FROM maintenance_windows WHERE name = $1",
        };
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            if exec!(&mut tx, sqlx::query(sql).bind(clean(name))) == 0 {
                tx.rollback().await?;
                return Ok(false);
            }
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }
}
