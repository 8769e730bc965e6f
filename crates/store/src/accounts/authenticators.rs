//! Authenticators and recovery codes. A code is used up in the transaction of what it allows: a crash burns none, and no
//! race uses one twice.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use uuid::Uuid;

use super::challenges::Confirmed;
use super::exec;
use crate::audit::{append, serialise};
use crate::db::{CALL_MAX, Tx, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::time;

/// What someone proved themselves with, besides a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Factor {
    /// Nothing: no authenticator asks.
    None,
    /// The code of that step.
    Step(i64),
    /// The recovery code of that hash.
    Recovery([u8; 32]),
}

/// Someone's authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticator {
    /// Its seed, sealed.
    pub seed: Vec<u8>,
    /// Since when it asks; none while it waits for its first code.
    pub confirmed_at: Option<Timestamp>,
    /// The last step whose code was used.
    pub last_step: Option<i64>,
}

/// What takes an authenticator into use.
#[derive(Debug, Clone, Copy)]
pub struct FirstCode<'a> {
    /// The seed that the code was made from, sealed as it is kept.
    pub seed: &'a [u8],
    /// The step of the code.
    pub step: i64,
    /// The hashes of the recovery codes that the person gets.
    pub codes: &'a [[u8; 32]],
}

/// Uses a factor up. Whoever comes second with the same one is refused.
pub(super) async fn use_factor(tx: &mut Tx, user: Uuid, factor: &Factor) -> Result<()> {
    let done = match factor {
        Factor::None => return Ok(()),
        Factor::Step(step) => {
            let sql =
                "UPDATE authenticators SET last_step = $1 WHERE user_id = $2 AND (last_step IS NULL OR last_step < $1)";
            exec!(tx, sqlx::query(sql).bind(*step).bind(user))
        }
        Factor::Recovery(hash) => {
            let sql = "DELETE FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
            exec!(tx, sqlx::query(sql).bind(user).bind(&hash[..]))
        }
    };
    if done == 1 { Ok(()) } else { Err(StoreError::Conflict("this code was used already".to_owned())) }
}

async fn put_codes(tx: &mut Tx, user: Uuid, codes: &[[u8; 32]]) -> Result<()> {
    exec!(tx, sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user));
    for code in codes {
        let sql = "INSERT INTO recovery_codes (user_id, code_hash) VALUES ($1, $2)";
        exec!(tx, sqlx::query(sql).bind(user).bind(&code[..]));
    }
    Ok(())
}

impl Store {
    /// Someone's authenticator, confirmed or not.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn authenticator(&self, user: Uuid) -> Result<Option<Authenticator>> {
        let sql = "SELECT seed, confirmed_at, last_step FROM authenticators WHERE user_id = $1";
        let row: Option<(Vec<u8>, Option<i64>, Option<i64>)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(user).fetch_optional(pool))?;
        Ok(row.map(|(seed, confirmed_at, last_step)| Authenticator {
            seed,
            confirmed_at: confirmed_at.map(time),
            last_step,
        }))
    }

    /// Whether a recovery code of that hash is left to someone.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn has_recovery_code(&self, user: Uuid, hash: &[u8; 32]) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1 AND code_hash = $2";
        let n: i64 = read!(&self.state, |pool| sqlx::query_scalar(sql).bind(user).bind(&hash[..]).fetch_one(pool))?;
        Ok(n > 0)
    }

    /// How many recovery codes are left to someone.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn recovery_codes_left(&self, user: Uuid) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM recovery_codes WHERE user_id = $1";
        read!(&self.state, |pool| sqlx::query_scalar(sql).bind(user).fetch_one(pool))
    }

    /// Keeps a new seed that waits for its first code. One that waited before is replaced, one in use is not.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when an authenticator is in use.
    pub async fn begin_authenticator(&self, user: Uuid, seed: &[u8], act: &Act, now: Timestamp) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "INSERT INTO authenticators (user_id, seed, created_at) VALUES ($1, $2, $3) ON CONFLICT (user_id) DO UPDATE \
                       SET seed = excluded.seed, created_at = excluded.created_at WHERE authenticators.confirmed_at IS NULL";
            let done = exec!(&mut tx, sqlx::query(sql).bind(user).bind(seed).bind(now.as_micros()));
            if done != 1 {
                return Err(StoreError::Conflict("an authenticator is in use: remove it first".to_owned()));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Takes an authenticator into use, with its first code and its recovery codes. All other sign-ins end.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when another seed took its place or it is in use already.
    pub async fn confirm_authenticator(
        &self,
        user: Uuid,
        session: Uuid,
        first: &FirstCode<'_>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        let FirstCode { seed, step, codes } = *first;
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "UPDATE authenticators SET confirmed_at = $1, last_step = $2 WHERE user_id = $3 AND seed = $4 AND confirmed_at IS NULL";
            let done =
                exec!(&mut tx, sqlx::query(sql).bind(now.as_micros()).bind(step).bind(user).bind(seed));
            if done != 1 {
                return Err(StoreError::Conflict("another authenticator took its place: begin again".to_owned()));
            }
            put_codes(&mut tx, user, codes).await?;
            super::sessions::end_all(&mut tx, user, Some(session)).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Gives someone new recovery codes; the old ones are gone.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the factor was used meanwhile.
    pub async fn replace_recovery_codes(
        &self,
        user: Uuid,
        factor: &Factor,
        codes: &[[u8; 32]],
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            use_factor(&mut tx, user, factor).await?;
            put_codes(&mut tx, user, codes).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Takes someone's authenticator and recovery codes away: by a code of it, or by a superadmin.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the factor was used meanwhile or the confirmation is not good (any more).
    pub async fn remove_authenticator(
        &self,
        user: Uuid,
        factor: &Factor,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            use_factor(&mut tx, user, factor).await?;
            exec!(&mut tx, sqlx::query("DELETE FROM authenticators WHERE user_id = $1").bind(user));
            exec!(&mut tx, sqlx::query("DELETE FROM recovery_codes WHERE user_id = $1").bind(user));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }
}
