//! Tokens of the API. Only a hash is stored, made by the caller: who reads the database learns no token.

use dynowatch_domain::Timestamp;
use uuid::Uuid;

use crate::db::{change, read};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time};

/// The use of a token is noted at most this often, in microseconds: reading the API must not mean writing.
const TOUCH_EVERY_US: i64 = 60_000_000;

/// A token of the API, without its secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiToken {
    /// Its id.
    pub id: Uuid,
    /// What it was named.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

type Row = (Uuid, String, i64, Option<i64>, Option<i64>);

fn token((id, name, created_at, last_used_at, revoked_at): Row) -> ApiToken {
    ApiToken {
        id,
        name,
        created_at: time(created_at),
        last_used_at: last_used_at.map(time),
        revoked_at: revoked_at.map(time),
    }
}

impl Store {
    /// Keeps a new token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken (a revoked token keeps its name).
    pub async fn create_api_token(&self, id: Uuid, name: &str, hash: &[u8], now: Timestamp) -> Result<()> {
        let sql =
            "INSERT INTO api_tokens (id, name, token_hash, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
        let name = clean(name);
        let done =
            change!(&self.state, sqlx::query(sql).bind(id).bind(name.as_ref()).bind(hash).bind(now.as_micros()))?;
        if done == 1 {
            Ok(())
        } else {
            Err(StoreError::Conflict(format!("there is an API token named {name:?} already")))
        }
    }

    /// The token with this hash, unless it is unknown or revoked. Notes its use, at most once a minute.
    ///
    /// # Errors
    /// When the store is away. That the use could not be noted is no error.
    pub async fn find_api_token(&self, hash: &[u8], now: Timestamp) -> Result<Option<ApiToken>> {
        let sql = "SELECT id, name, created_at, last_used_at, revoked_at FROM api_tokens WHERE token_hash = $1 AND revoked_at IS NULL";
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(hash).fetch_optional(pool))?;
        let Some(found) = row.map(token) else {
            return Ok(None);
        };
        let now = now.as_micros();
        if found.last_used_at.is_none_or(|at| now.saturating_sub(at.as_micros()) >= TOUCH_EVERY_US) {
            let sql = "UPDATE api_tokens SET last_used_at = $1 WHERE id = $2";
            let noted: Result<u64> = change!(&self.state, sqlx::query(sql).bind(now).bind(found.id));
            if let Err(error) = noted {
                tracing::debug!(%error, token = %found.name, "the use of an API token was not noted");
            }
        }
        Ok(Some(found))
    }

    /// All tokens, revoked ones too, by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn api_tokens(&self) -> Result<Vec<ApiToken>> {
        let sql = "SELECT id, name, created_at, last_used_at, revoked_at FROM api_tokens ORDER BY name";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        Ok(rows.into_iter().map(token).collect())
    }

    /// Revokes a token for good. Returns whether there was one in force.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn revoke_api_token(&self, name: &str, now: Timestamp) -> Result<bool> {
        let sql = "UPDATE api_tokens SET revoked_at = $1 WHERE name = $2 AND revoked_at IS NULL";
        let done = change!(&self.state, sqlx::query(sql).bind(now.as_micros()).bind(name))?;
        Ok(done > 0)
    }
}
