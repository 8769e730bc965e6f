//! People: their names, roles, and whether they may come in.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::account::{Role, Theme};
use uuid::Uuid;

use super::challenges::Confirmed;
use super::{exec, sessions};
use crate::audit::{append, serialise};
use crate::db::{CALL_MAX, Tx, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::text::{clean, time, word};

/// Someone who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Their id, for good.
    pub id: Uuid,
    /// What they are called; unique, lower case.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The hash of their password with its parameters; none for who was invited and has not come, or signs in elsewhere.
    pub password_hash: Option<String>,
    /// Their time zone, by its IANA name.
    pub zone: String,
    /// How pages look to them.
    pub theme: Theme,
    /// Since when they are known.
    pub created_at: Timestamp,
    /// Since when they may not come in.
    pub disabled_at: Option<Timestamp>,
    /// When they last proved who they are.
    pub signed_in_at: Option<Timestamp>,
    /// Since when an authenticator asks for codes.
    pub authenticator_at: Option<Timestamp>,
}

/// Someone new.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// Their id.
    pub id: Uuid,
    /// What they are called.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// The hash of their password, if they have one already.
    pub password_hash: Option<String>,
}

type Row = (Uuid, String, String, Option<String>, String, String, i64, Option<i64>, Option<i64>, Option<i64>);

/// What [`user`] reads, from `users AS u`.
const COLUMNS: &str = "SELECT u.id, u.name, u.role, u.password_hash, u.zone, u.theme, u.created_at, u.disabled_at, u.signed_in_at, a.confirmed_at \
                       FROM users AS u LEFT JOIN authenticators AS a ON a.user_id = u.id";

fn user(row: Row) -> Result<User> {
    let (id, name, role, password_hash, zone, theme, created_at, disabled_at, signed_in_at, authenticator_at) = row;
    Ok(User {
        id,
        name,
        role: word("a role", &role, Role::named)?,
        password_hash,
        zone,
        theme: word("a theme", &theme, Theme::named)?,
        created_at: time(created_at),
        disabled_at: disabled_at.map(time),
        signed_in_at: signed_in_at.map(time),
        authenticator_at: authenticator_at.map(time),
    })
}

/// Adds someone.
pub(super) async fn insert(tx: &mut Tx, new: &NewUser, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO users (id, name, role, password_hash, zone, theme, created_at) VALUES ($1, $2, $3, $4, 'UTC', 'system', $5) \
               ON CONFLICT (name) DO NOTHING";
    let done = exec!(
        tx,
        sqlx::query(sql)
            .bind(new.id)
            .bind(clean(&new.name))
            .bind(new.role.as_str())
            .bind(new.password_hash.as_deref())
            .bind(now.as_micros())
    );
    if done == 1 { Ok(()) } else { Err(StoreError::Conflict(format!("someone is called {:?} already", new.name))) }
}

pub(super) async fn by_id(tx: &mut Tx, id: Uuid) -> Result<User> {
    let sql = format!("{COLUMNS} WHERE u.id = $1");
    let row: Option<Row> =
        on!(tx, Engine, conn, sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(conn).await?);
    row.map(user).transpose()?.ok_or_else(|| StoreError::NotFound("this person".to_owned()))
}

pub(super) async fn count(tx: &mut Tx) -> Result<i64> {
    Ok(on!(tx, Engine, conn, sqlx::query_scalar("SELECT COUNT(*) FROM users").fetch_one(conn).await?))
}

/// Refuses what would leave nobody who can sign in by a password and may everything.
async fn keep_a_superadmin(tx: &mut Tx, without: Uuid) -> Result<()> {
    let sql = "SELECT COUNT(*) FROM users WHERE role = 'superadmin' AND disabled_at IS NULL AND password_hash IS NOT NULL AND id <> $1";
    let others: i64 = on!(tx, Engine, conn, sqlx::query_scalar(sql).bind(without).fetch_one(conn).await?);
    if others == 0 {
        return Err(StoreError::Conflict(
            "this is the last superadmin who can sign in with a password: make another one first".to_owned(),
        ));
    }
    Ok(())
}

impl Store {
    /// Whether anyone has an account.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn has_users(&self) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM (SELECT id FROM users LIMIT 1) AS one";
        let there: i64 = read!(&self.state, |pool| sqlx::query_scalar(sql).fetch_one(pool))?;
        Ok(there > 0)
    }

    /// All people, by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn users(&self) -> Result<Vec<User>> {
        let sql = format!("{COLUMNS} ORDER BY u.name");
        let rows: Vec<Row> =
            read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).fetch_all(pool))?;
        rows.into_iter().map(user).collect()
    }

    /// The person of that name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn user_by_name(&self, name: &str) -> Result<Option<User>> {
        let sql = format!("{COLUMNS} WHERE u.name = $1");
        let name = clean(name);
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str()))
            .bind(name.as_ref())
            .fetch_optional(pool))?;
        row.map(user).transpose()
    }

    /// The person of that id.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn user(&self, id: Uuid) -> Result<Option<User>> {
        let sql = format!("{COLUMNS} WHERE u.id = $1");
        let row: Option<Row> =
            read!(&self.state, |pool| sqlx::query_as(sqlx::AssertSqlSafe(sql.as_str())).bind(id).fetch_optional(pool))?;
        row.map(user).transpose()
    }

    /// Sets someone's password and ends their other sign-ins.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for nobody; when the store is away.
    pub async fn set_password(
        &self,
        id: Uuid,
        hash: &str,
        keep: Option<Uuid>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            put_password(&mut tx, id, hash).await?;
            sessions::end_all(&mut tx, id, keep).await?;
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Takes a better hash of the same password.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn rehash_password(&self, id: Uuid, old: &str, new: &str) -> Result<()> {
        let sql = "UPDATE users SET password_hash = $1 WHERE id = $2 AND password_hash = $3";
        let _done = change!(&self.state, sqlx::query(sql).bind(new).bind(id).bind(old))?;
        Ok(())
    }

    /// Sets how someone sees pages.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn set_preferences(&self, id: Uuid, zone: &str, theme: Theme) -> Result<()> {
        let sql = "UPDATE users SET zone = $1, theme = $2 WHERE id = $3";
        let _done = change!(&self.state, sqlx::query(sql).bind(clean(zone)).bind(theme.as_str()).bind(id))?;
        Ok(())
    }

    /// Gives someone another role.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for the last superadmin, or when the confirmation is not good (any more).
    pub async fn set_role(
        &self,
        id: Uuid,
        role: Role,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            let before = by_id(&mut tx, id).await?;
            if before.role == Role::Superadmin && role != Role::Superadmin {
                keep_a_superadmin(&mut tx, id).await?;
            }
            exec!(&mut tx, sqlx::query("UPDATE users SET role = $1 WHERE id = $2").bind(role.as_str()).bind(id));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }

    /// Shuts someone out, with all their sign-ins and tokens, at once; or lets them in again (their tokens stay revoked).
    ///
    /// # Errors
    /// [`StoreError::Conflict`] for the last superadmin, or when the confirmation is not good (any more).
    pub async fn set_disabled(
        &self,
        id: Uuid,
        disabled: bool,
        confirmed: Option<&Confirmed>,
        act: &Act,
        now: Timestamp,
    ) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            serialise(&mut tx).await?;
            Confirmed::consume(confirmed, &mut tx, now).await?;
            let before = by_id(&mut tx, id).await?;
            let at = disabled.then(|| now.as_micros());
            if disabled {
                if before.role == Role::Superadmin {
                    keep_a_superadmin(&mut tx, id).await?;
                }
                sessions::end_all(&mut tx, id, None).await?;
                let revoke = "UPDATE api_tokens SET revoked_at = $1 WHERE user_id = $2 AND revoked_at IS NULL";
                exec!(&mut tx, sqlx::query(revoke).bind(now.as_micros()).bind(id));
                exec!(&mut tx, sqlx::query("DELETE FROM links WHERE user_id = $1").bind(id));
                exec!(&mut tx, sqlx::query("DELETE FROM challenges WHERE user_id = $1").bind(id));
            }
            exec!(&mut tx, sqlx::query("UPDATE users SET disabled_at = $1 WHERE id = $2").bind(at).bind(id));
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await
    }
}

pub(super) async fn put_password(tx: &mut Tx, id: Uuid, hash: &str) -> Result<()> {
    let done = exec!(tx, sqlx::query("UPDATE users SET password_hash = $1 WHERE id = $2").bind(hash).bind(id));
    if done == 1 { Ok(()) } else { Err(StoreError::NotFound("this person".to_owned())) }
}
