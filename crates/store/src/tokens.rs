//! Tokens of the API. Only a hash is stored, made by the caller: who reads the database learns no token.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::Scopes;
use dynowatch_domain::account::audit::Act;
use uuid::Uuid;

use crate::accounts::{Confirmed, exec};
use crate::audit::append;
use crate::db::{CALL_MAX, change, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time};

/// The use of a token is noted at most this often, in microseconds: reading the API must not mean writing.
const TOUCH_EVERY_US: i64 = 60_000_000;

/// A token that ends within this time is said to end soon: long enough to make another and put it in its place.
const SOON: Duration = Duration::from_secs(7 * 86_400);

/// How a token stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    /// It opens what it may.
    Good,
    /// It still does, for a week at most.
    EndsSoon,
    /// Its time is over.
    Over,
    /// Somebody took it out of use.
    Revoked,
}

impl TokenState {
    /// The words of the pages and the CLI.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::EndsSoon => "ends soon",
            Self::Over => "over",
            Self::Revoked => "revoked",
        }
    }
}

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
    /// What it may.
    pub scopes: Scopes,
    /// Until when it is good; none for tokens of the time before tokens ended, and for those made to last.
    pub expires_at: Option<Timestamp>,
    /// Whose it is; none for those made at the machine. It ends with its owner.
    pub user: Option<Uuid>,
}

impl ApiToken {
    /// How it stands.
    #[must_use]
    pub fn state(&self, now: Timestamp) -> TokenState {
        match self.expires_at {
            _ if self.revoked_at.is_some() => TokenState::Revoked,
            Some(until) if until <= now => TokenState::Over,
            Some(until) if until.since(now) <= SOON => TokenState::EndsSoon,
            _ => TokenState::Good,
        }
    }

    /// Whether it opens anything.
    #[must_use]
    pub fn is_good(&self, now: Timestamp) -> bool {
        matches!(self.state(now), TokenState::Good | TokenState::EndsSoon)
    }
}

/// A token to be kept.
#[derive(Debug, Clone)]
pub struct NewApiToken {
    /// Its id.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// The SHA-256 of it.
    pub hash: [u8; 32],
    /// What it may.
    pub scopes: Scopes,
    /// Until when it is good.
    pub expires_at: Option<Timestamp>,
    /// Whose it is.
    pub user: Option<Uuid>,
}

type Row = (Uuid, String, i64, Option<i64>, Option<i64>, String, String, Option<i64>, Option<Uuid>);

const COLUMNS: &str =
    "SELECT id, name, created_at, last_used_at, revoked_at, scopes, apps, expires_at, user_id FROM api_tokens";

fn token(row: Row) -> Result<ApiToken> {
    let (id, name, created_at, last_used_at, revoked_at, scopes, apps, expires_at, user) = row;
    let scopes = Scopes::read(&scopes).map_err(|error| StoreError::corrupt(format!("scopes of a token: {error}")))?;
    let apps = serde_json::from_str(&apps).map_err(|error| StoreError::corrupt(format!("apps of a token: {error}")))?;
    Ok(ApiToken {
        id,
        name,
        created_at: time(created_at),
        last_used_at: last_used_at.map(time),
        revoked_at: revoked_at.map(time),
        scopes: Scopes { scopes, apps },
        expires_at: expires_at.map(time),
        user,
    })
}

impl Store {
    /// Keeps a new token.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken (a revoked token keeps its name) or the confirmation is not good.
    pub async fn create_api_token(
        &self,
        new: &NewApiToken,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        let sql = "INSERT INTO api_tokens (id, name, token_hash, created_at, scopes, apps, expires_at, user_id) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING";
        let apps = serde_json::to_string(&new.scopes.apps)
            .map_err(|error| StoreError::corrupt(format!("apps that are no JSON: {error}")))?;
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            let done = exec!(
                &mut tx,
                sqlx::query(sql)
                    .bind(new.id)
                    .bind(clean(&new.name))
                    .bind(&new.hash[..])
                    .bind(now.as_micros())
                    .bind(new.scopes.words())
                    .bind(apps.as_str())
                    .bind(new.expires_at.map(Timestamp::as_micros))
                    .bind(new.user)
            );
            if done != 1 {
                return Err(StoreError::Conflict(format!("there is an API token named {:?} already", new.name)));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// The token with this hash, unless it is unknown, revoked or over. Notes its use, at most once a minute.
    ///
    /// # Errors
    /// When the store is away. That the use could not be noted is no error.
    pub async fn find_api_token(&self, hash: &[u8], now: Timestamp) -> Result<Option<ApiToken>> {
        let sql = format!("{COLUMNS} WHERE token_hash = $1 AND revoked_at IS NULL");
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(hash)
            .fetch_optional(pool))?;
        let Some(found) = row.map(token).transpose()?.filter(|token| token.is_good(now)) else {
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
        let sql = format!("{COLUMNS} ORDER BY name");
        let rows: Vec<Row> =
            read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).fetch_all(pool))?;
        rows.into_iter().map(token).collect()
    }

    /// Revokes a token for good. Returns whether there was one in force.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn revoke_api_token(&self, name: &str, act: &Act, now: Timestamp) -> Result<bool> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "UPDATE api_tokens SET revoked_at = $1 WHERE name = $2 AND revoked_at IS NULL";
            if exec!(&mut tx, sqlx::query(sql).bind(now.as_micros()).bind(clean(name))) == 0 {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_soon_in_its_last_week() {
        let now = Timestamp::from_seconds(1_000_000);
        let in_s = |seconds: u64| Some(now + Duration::from_secs(seconds));
        for (expires_at, revoked_at, want) in [
            (None, None, TokenState::Good),
            (in_s(7 * 86_400 + 1), None, TokenState::Good),
            (in_s(7 * 86_400), None, TokenState::EndsSoon),
            (in_s(1), None, TokenState::EndsSoon),
            (in_s(0), None, TokenState::Over),
            (in_s(1), Some(now), TokenState::Revoked),
            (in_s(0), Some(now), TokenState::Revoked),
        ] {
            let token = ApiToken {
                id: Uuid::from_u128(1),
                name: "ci".into(),
                created_at: now,
                last_used_at: None,
                revoked_at,
                scopes: Scopes::all(),
                expires_at,
                user: None,
            };
            let opens = matches!(want, TokenState::Good | TokenState::EndsSoon);
            assert_eq!((token.state(now), token.is_good(now)), (want, opens), "{expires_at:?} {revoked_at:?}");
        }
    }
}
