//! Who someone is elsewhere: an issuer and its own name for them. Mail addresses say nothing here, they change hands.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use uuid::Uuid;

use super::exec;
use super::users::{NewUser, User, insert};
use crate::audit::{append, serialise};
use crate::db::{CALL_MAX, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::clean;

impl Store {
    /// The person of an identity.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn user_of_identity(&self, issuer: &str, subject: &str) -> Result<Option<User>> {
        let sql = "SELECT user_id FROM identities WHERE issuer = $1 AND subject = $2";
        let (issuer, subject) = (clean(issuer), clean(subject));
        let id: Option<Uuid> = read!(&self.state, |pool| sqlx::query_scalar(sql)
            .bind(issuer.as_ref())
            .bind(subject.as_ref())
            .fetch_optional(pool))?;
        match id {
            Some(id) => self.user(id).await,
            None => Ok(None),
        }
    }

    /// Adds someone by their identity. A name that is taken gets a number.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the identity has an account already.
    pub async fn add_identity(
        &self,
        issuer: &str,
        subject: &str,
        new: &NewUser,
        act: &Act,
        now: Timestamp,
    ) -> Result<String> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            let mut name = new.name.clone();
            for number in 2..=100 {
                let sql = "SELECT COUNT(*) FROM users WHERE name = $1";
                let taken: i64 =
                    on!(&mut tx, Engine, conn, sqlx::query_scalar(sql).bind(name.as_str()).fetch_one(conn).await?);
                if taken == 0 {
                    break;
                }
                name = format!("{}-{number}", new.name);
            }
            insert(&mut tx, &NewUser { name: name.clone(), ..new.clone() }, now).await?;
            let sql = "INSERT INTO identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
            let done = exec!(
                &mut tx,
                sqlx::query(sql).bind(clean(issuer)).bind(clean(subject)).bind(new.id).bind(now.as_micros())
            );
            if done != 1 {
                return Err(StoreError::Conflict("this identity has an account already: sign in again".to_owned()));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await?;
            Ok(name)
        })
        .await
    }
}
