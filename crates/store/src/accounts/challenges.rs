//! Questions that wait for their answer for a few minutes, in the store, so that any process may take the answer. Each is
//! answered once, by whom it was put to.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::session::FAILURES_MAX;
use uuid::Uuid;

use super::authenticators::{Factor, use_factor};
use super::exec;
use crate::db::{CALL_MAX, Tx, change, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time};

/// Open questions at most; beyond that the oldest are forgotten. They are put to who knows a password, or by strangers at
/// the sign-in elsewhere.
const OPEN_MAX: i64 = 10_000;

/// A question to be put.
#[derive(Debug, Clone)]
pub struct NewChallenge {
    /// The SHA-256 of its token, which only who is asked holds.
    pub token_hash: [u8; 32],
    /// What it is about, as in `sign_in` or `confirm`.
    pub kind: &'static str,
    /// Whom it is put to, where that is known.
    pub user: Option<Uuid>,
    /// In which sign-in.
    pub session: Option<Uuid>,
    /// What is to be confirmed, digested.
    pub digest: Option<[u8; 32]>,
    /// What else is needed with the answer.
    pub detail: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A question that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Whom it was put to.
    pub user: Option<Uuid>,
    /// In which sign-in.
    pub session: Option<Uuid>,
    /// What is to be confirmed, digested.
    pub digest: Option<Vec<u8>>,
    /// What else is needed with the answer.
    pub detail: String,
    /// Until when.
    pub expires_at: Timestamp,
}

/// A change that was confirmed: by whom, in which sign-in, exactly which change, with what. Used up in the transaction of
/// the change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confirmed {
    /// The hash of the challenge's token.
    pub token_hash: [u8; 32],
    /// Who confirmed.
    pub user: Uuid,
    /// In which sign-in.
    pub session: Uuid,
    /// The digest of the change.
    pub digest: [u8; 32],
    /// What with.
    pub factor: Factor,
}

impl Confirmed {
    /// Uses it up; none (a command at the machine) asks nothing.
    pub(crate) async fn consume(confirmed: Option<&Self>, tx: &mut Tx, now: Timestamp) -> Result<()> {
        let Some(confirmed) = confirmed else { return Ok(()) };
        let sql = "DELETE FROM challenges WHERE token_hash = $1 AND kind = 'confirm' AND user_id = $2 AND session_id = $3 AND digest = $4 \
                   AND expires_at > $5 AND failures < $6";
        let done = exec!(
            tx,
            sqlx::query(sql)
                .bind(&confirmed.token_hash[..])
                .bind(confirmed.user)
                .bind(confirmed.session)
                .bind(&confirmed.digest[..])
                .bind(now.as_micros())
                .bind(i64::from(FAILURES_MAX))
        );
        if done != 1 {
            return Err(StoreError::Conflict("this confirmation was used or ran out: begin again".to_owned()));
        }
        use_factor(tx, confirmed.user, &confirmed.factor).await
    }
}

type Row = (Option<Uuid>, Option<Uuid>, Option<Vec<u8>>, String, i64);

fn challenge((user, session, digest, detail, expires_at): Row) -> Challenge {
    Challenge { user, session, digest, detail, expires_at: time(expires_at) }
}

impl Store {
    /// Puts a question.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn put_challenge(&self, new: &NewChallenge, now: Timestamp) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let old = "DELETE FROM challenges WHERE expires_at <= $1";
            exec!(&mut tx, sqlx::query(old).bind(now.as_micros()));
            let surplus = "DELETE FROM challenges WHERE token_hash IN \
                           (SELECT token_hash FROM challenges ORDER BY expires_at DESC LIMIT 1000 OFFSET $1)";
            exec!(&mut tx, sqlx::query(surplus).bind(OPEN_MAX));
            let sql = "INSERT INTO challenges (token_hash, kind, user_id, session_id, digest, detail, failures, expires_at) \
                       VALUES ($1, $2, $3, $4, $5, $6, 0, $7)";
            exec!(
                &mut tx,
                sqlx::query(sql)
                    .bind(&new.token_hash[..])
                    .bind(new.kind)
                    .bind(new.user)
                    .bind(new.session)
                    .bind(new.digest.as_ref().map(|digest| &digest[..]))
                    .bind(clean(&new.detail))
                    .bind(new.expires_at.as_micros())
            );
            tx.commit().await
        })
        .await
    }

    /// The question of that token, while it waits.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn challenge(&self, token_hash: &[u8; 32], kind: &str, now: Timestamp) -> Result<Option<Challenge>> {
        let sql = "SELECT user_id, session_id, digest, detail, expires_at FROM challenges \
                   WHERE token_hash = $1 AND kind = $2 AND expires_at > $3 AND failures < $4";
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(&token_hash[..])
            .bind(kind)
            .bind(now.as_micros())
            .bind(i64::from(FAILURES_MAX))
            .fetch_optional(pool))?;
        Ok(row.map(challenge))
    }

    /// Takes the question of that token away and returns it, if it waits: whoever comes second gets nothing.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn take_challenge(&self, token_hash: &[u8; 32], kind: &str, now: Timestamp) -> Result<Option<Challenge>> {
        let Some(found) = self.challenge(token_hash, kind, now).await? else { return Ok(None) };
        let sql = "DELETE FROM challenges WHERE token_hash = $1 AND kind = $2";
        let done = change!(&self.state, sqlx::query(sql).bind(&token_hash[..]).bind(kind))?;
        Ok((done == 1).then_some(found))
    }

    /// Counts a wrong answer; after too many the question is dead.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn fail_challenge(&self, token_hash: &[u8; 32]) -> Result<()> {
        let sql = "UPDATE challenges SET failures = failures + 1 WHERE token_hash = $1";
        let _done = change!(&self.state, sqlx::query(sql).bind(&token_hash[..]))?;
        Ok(())
    }
}
