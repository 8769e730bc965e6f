//! Browsers in which someone is signed in. The token in the cookie is kept as a hash only; a sign-in takes a new one, and so
//! does every later proof of who one is.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::account::session::READING;
use uuid::Uuid;

use super::authenticators::{Factor, use_factor};
use super::exec;
use super::users::{User, by_id};
use crate::audit::append;
use crate::db::{CALL_MAX, Tx, change, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time};

/// The use of a session is noted at most this often, in microseconds: reading must not mean writing.
const TOUCH_EVERY_US: i64 = 300_000_000;
/// Sign-ins that a person has at most; the oldest one ends when another begins.
const PER_USER_MAX: i64 = 50;

/// A sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Its id, which is no secret.
    pub id: Uuid,
    /// Whose.
    pub user: Uuid,
    /// When it began.
    pub created_at: Timestamp,
    /// When its holder last proved who they are.
    pub signed_in_at: Timestamp,
    /// When it was last used, to five minutes.
    pub seen_at: Timestamp,
    /// From where it began.
    pub address: String,
    /// With which browser, as that says.
    pub agent: String,
}

/// A sign-in that begins.
#[derive(Debug, Clone)]
pub struct NewSession {
    /// Its id.
    pub id: Uuid,
    /// The SHA-256 of its token.
    pub token_hash: [u8; 32],
    /// From where.
    pub address: String,
    /// With which browser.
    pub agent: String,
}

type Row = (Uuid, Uuid, i64, i64, i64, String, String);

const COLUMNS: &str = "SELECT id, user_id, created_at, signed_in_at, seen_at, address, agent FROM sessions";

fn session((id, user, created_at, signed_in_at, seen_at, address, agent): Row) -> Session {
    Session {
        id,
        user,
        created_at: time(created_at),
        signed_in_at: time(signed_in_at),
        seen_at: time(seen_at),
        address,
        agent,
    }
}

/// Ends the sign-ins of someone, all but one. Answers that were waited for end with them.
pub(super) async fn end_all(tx: &mut Tx, user: Uuid, keep: Option<Uuid>) -> Result<()> {
    let keep = keep.unwrap_or(Uuid::nil());
    exec!(tx, sqlx::query("DELETE FROM sessions WHERE user_id = $1 AND id <> $2").bind(user).bind(keep));
    exec!(tx, sqlx::query("DELETE FROM challenges WHERE user_id = $1").bind(user));
    Ok(())
}

pub(super) async fn insert(tx: &mut Tx, user: Uuid, new: &NewSession, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO sessions (id, user_id, token_hash, created_at, signed_in_at, seen_at, address, agent) \
               VALUES ($1, $2, $3, $4, $4, $4, $5, $6)";
    exec!(
        tx,
        sqlx::query(sql)
            .bind(new.id)
            .bind(user)
            .bind(&new.token_hash[..])
            .bind(now.as_micros())
            .bind(clean(&new.address))
            .bind(clean(&new.agent))
    );
    let surplus = "DELETE FROM sessions WHERE user_id = $1 AND id IN \
                   (SELECT id FROM sessions WHERE user_id = $1 ORDER BY seen_at DESC, id LIMIT 1000 OFFSET $2)";
    exec!(tx, sqlx::query(surplus).bind(user).bind(PER_USER_MAX));
    let seen = "UPDATE users SET signed_in_at = $1 WHERE id = $2";
    exec!(tx, sqlx::query(seen).bind(now.as_micros()).bind(user));
    Ok(())
}

impl Store {
    /// Begins a sign-in; the one that the browser had before (by the hash of its token) ends with it. The factor is used up
    /// in the same transaction.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the factor was used meanwhile or the person was shut out; when the store is away.
    pub async fn begin_session(
        &self,
        user: Uuid,
        new: &NewSession,
        replaces: Option<[u8; 32]>,
        factor: &Factor,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            use_factor(&mut tx, user, factor).await?;
            if by_id(&mut tx, user).await?.disabled_at.is_some() {
                return Err(StoreError::Conflict("this person may not sign in".to_owned()));
            }
            if let Some(old) = replaces {
                exec!(&mut tx, sqlx::query("DELETE FROM sessions WHERE token_hash = $1").bind(&old[..]));
            }
            insert(&mut tx, user, new, now).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// The sign-in of a token and its person, unless it is over or the person is shut out. Notes its use.
    ///
    /// # Errors
    /// When the store is away. That the use could not be noted is no error.
    pub async fn session(&self, token_hash: &[u8; 32], now: Timestamp) -> Result<Option<(Session, User)>> {
        let sql = format!("{COLUMNS} WHERE token_hash = $1 AND signed_in_at > $2");
        let oldest = (now - READING).as_micros();
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(&token_hash[..])
            .bind(oldest)
            .fetch_optional(pool))?;
        let Some(found) = row.map(session) else { return Ok(None) };
        let Some(user) = self.user(found.user).await?.filter(|user| user.disabled_at.is_none()) else {
            return Ok(None);
        };
        if now.as_micros().saturating_sub(found.seen_at.as_micros()) >= TOUCH_EVERY_US {
            let sql = "UPDATE sessions SET seen_at = $1 WHERE id = $2";
            let noted: Result<u64> = change!(&self.state, sqlx::query(sql).bind(now.as_micros()).bind(found.id));
            if let Err(error) = noted {
                tracing::debug!(%error, "the use of a sign-in was not noted");
            }
        }
        Ok(Some((found, user)))
    }

    /// Makes a sign-in fresh again, under a new token. The factor is used up with it.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the factor was used meanwhile or the sign-in is over.
    pub async fn renew_session(
        &self,
        id: Uuid,
        user: Uuid,
        token_hash: [u8; 32],
        factor: &Factor,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            use_factor(&mut tx, user, factor).await?;
            let sql =
                "UPDATE sessions SET token_hash = $1, signed_in_at = $2, seen_at = $2 WHERE id = $3 AND user_id = $4";
            let done = exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(now.as_micros()).bind(id).bind(user));
            if done != 1 {
                return Err(StoreError::Conflict("this sign-in is over".to_owned()));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Someone's sign-ins that are not over, the newest used first.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn sessions_of(&self, user: Uuid, now: Timestamp) -> Result<Vec<Session>> {
        let sql = format!("{COLUMNS} WHERE user_id = $1 AND signed_in_at > $2 ORDER BY seen_at DESC, id");
        let oldest = (now - READING).as_micros();
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(user)
            .bind(oldest)
            .fetch_all(pool))?;
        Ok(rows.into_iter().map(session).collect())
    }

    /// Whether someone has signed in from this address within the time that a sign-in lasts.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn knows_address(&self, user: Uuid, address: &str, now: Timestamp) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM sessions WHERE user_id = $1 AND address = $2 AND signed_in_at > $3";
        let oldest = (now - READING).as_micros();
        let n: i64 =
            read!(&self.state, |pool| sqlx::query_scalar(sql).bind(user).bind(address).bind(oldest).fetch_one(pool))?;
        Ok(n > 0)
    }

    /// Ends one sign-in of someone. Returns whether it was theirs and not over.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_session(&self, user: Uuid, id: Uuid, act: &Act, now: Timestamp) -> Result<bool> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM sessions WHERE id = $1 AND user_id = $2";
            let done = exec!(&mut tx, sqlx::query(sql).bind(id).bind(user));
            if done == 0 {
                tx.rollback().await?;
                return Ok(false);
            }
            exec!(&mut tx, sqlx::query("DELETE FROM challenges WHERE session_id = $1").bind(id));
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(true)
        })
        .await
    }

    /// Ends all sign-ins of someone but one.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn end_other_sessions(&self, user: Uuid, keep: Option<Uuid>, act: &Act, now: Timestamp) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            end_all(&mut tx, user, keep).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }
}
