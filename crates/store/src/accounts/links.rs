//! Links that let someone set a password, once. Only a hash of what stands in them is kept.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use uuid::Uuid;

use super::challenges::Confirmed;
use super::sessions::{NewSession, end_all};
use super::users::{NewUser, User, by_id, count, put_password};
use super::{exec, sessions, users};
use crate::audit::{append, serialise};
use crate::db::{CALL_MAX, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::word;

/// What a link is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkKind {
    /// The first account.
    Setup,
    /// Someone who was invited.
    Invitation,
    /// A new password.
    Reset,
}

impl LinkKind {
    /// The name used in the store.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Invitation => "invitation",
            Self::Reset => "reset",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Setup, Self::Invitation, Self::Reset].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A link that is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// What for.
    pub kind: LinkKind,
    /// For whom; nobody yet for the first account.
    pub user: Option<User>,
}

fn spent() -> StoreError {
    StoreError::Conflict("this link was used or ran out".to_owned())
}

impl Store {
    /// Makes the link for the first account; an earlier one is no good any more.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when someone has an account already.
    pub async fn make_setup_link(
        &self,
        token_hash: [u8; 32],
        expires_at: Timestamp,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            if count(&mut tx).await? > 0 {
                return Err(StoreError::Conflict("there are accounts already".to_owned()));
            }
            exec!(&mut tx, sqlx::query("DELETE FROM links"));
            let sql = "INSERT INTO links (token_hash, kind, created_at, expires_at) VALUES ($1, 'setup', $2, $3)";
            let (at, until) = (now.as_micros(), expires_at.as_micros());
            exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(at).bind(until));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Adds someone, who comes in by a link.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the name is taken or the confirmation is not good (any more).
    pub async fn invite(
        &self,
        new: &NewUser,
        token_hash: [u8; 32],
        expires_at: Timestamp,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            users::insert(&mut tx, new, now).await?;
            let sql = "INSERT INTO links (token_hash, kind, user_id, created_at, expires_at) VALUES ($1, 'invitation', $2, $3, $4)";
            let (at, until) = (now.as_micros(), expires_at.as_micros());
            exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(new.id).bind(at).bind(until));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Makes a link by which someone sets a new password (or their first); their earlier links are no good any more. What
    /// they have stays as it is until the link is used, their authenticator even then.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for nobody, [`StoreError::Conflict`] when the confirmation is not good (any more).
    pub async fn make_reset_link(
        &self,
        user: Uuid,
        token_hash: [u8; 32],
        expires_at: Timestamp,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            let found = by_id(&mut tx, user).await?;
            if found.disabled_at.is_some() {
                return Err(StoreError::Conflict(format!("{} is switched off: switch them on first", found.name)));
            }
            let kind = if found.password_hash.is_some() { LinkKind::Reset } else { LinkKind::Invitation };
            exec!(&mut tx, sqlx::query("DELETE FROM links WHERE user_id = $1").bind(user));
            let sql =
                "INSERT INTO links (token_hash, kind, user_id, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)";
            let (at, until) = (now.as_micros(), expires_at.as_micros());
            exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(kind.as_str()).bind(user).bind(at).bind(until));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// The link of that hash, while it is good.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn link(&self, token_hash: &[u8; 32], now: Timestamp) -> Result<Option<Link>> {
        let sql = "SELECT kind, user_id FROM links WHERE token_hash = $1 AND expires_at > $2";
        let row: Option<(String, Option<Uuid>)> = read!(&self.state, |pool| sqlx::query_as(sql)
            .bind(&token_hash[..])
            .bind(now.as_micros())
            .fetch_optional(pool))?;
        let Some((kind, user)) = row else { return Ok(None) };
        let kind = word("a kind of link", &kind, LinkKind::named)?;
        let user = match user {
            Some(id) => self.user(id).await?.filter(|user| user.disabled_at.is_none()),
            None => None,
        };
        // A link for someone who is gone or shut out is no link.
        Ok(Some(Link { kind, user }).filter(|link| (link.kind == LinkKind::Setup) == link.user.is_none()))
    }

    /// Uses the link for the first account: makes it, and its first sign-in.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the link was used or ran out, or someone has an account already.
    pub async fn set_up(
        &self,
        token_hash: &[u8; 32],
        new: &NewUser,
        session: &NewSession,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            let sql = "DELETE FROM links WHERE token_hash = $1 AND kind = 'setup' AND expires_at > $2";
            if exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(now.as_micros())) != 1 {
                return Err(spent());
            }
            if count(&mut tx).await? > 0 {
                return Err(StoreError::Conflict("there are accounts already".to_owned()));
            }
            users::insert(&mut tx, new, now).await?;
            sessions::insert(&mut tx, new.id, session, now).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Uses a link of someone: sets their password and ends their sign-ins.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the link was used or ran out.
    pub async fn use_link(
        &self,
        token_hash: &[u8; 32],
        user: Uuid,
        password_hash: &str,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "DELETE FROM links WHERE token_hash = $1 AND user_id = $2 AND expires_at > $3";
            if exec!(&mut tx, sqlx::query(sql).bind(&token_hash[..]).bind(user).bind(now.as_micros())) != 1 {
                return Err(spent());
            }
            put_password(&mut tx, user, password_hash).await?;
            end_all(&mut tx, user, None).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }
}
