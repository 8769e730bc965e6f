//! Apps and the drain tokens that stand for them. An app comes from the file, from the first delivery of an unknown token
//! (adopted), from the name in a drain's URL, or from the Heroku account; it keeps its id whatever it is called.

use dynowatch_domain::account::audit::Act;
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::accounts::exec;
use crate::audit::append;
use crate::db::{CALL_MAX, Tx, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::open::Store;
use crate::rows::pieces;
use crate::text::{clean, time, word};

/// Where an app or a token comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AppOrigin {
    /// The configuration file names it.
    File,
    /// A valid delivery came from a token that nobody had named.
    Adopted,
    /// A drain's URL names it.
    Url,
    /// The Heroku account has it.
    Heroku,
}

impl AppOrigin {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Adopted => "adopted",
            Self::Url => "url",
            Self::Heroku => "heroku",
        }
    }

    fn read(text: &str) -> Result<Self> {
        word("an origin", text, |name| {
            [Self::File, Self::Adopted, Self::Url, Self::Heroku].into_iter().find(|origin| origin.as_str() == name)
        })
    }
}

/// An app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Its id, for good.
    pub id: AppId,
    /// What the team calls it; unique.
    pub name: String,
    /// Where it comes from.
    pub origin: AppOrigin,
    /// A host that its router lines name: a hint for whoever is to name an adopted app.
    pub host_hint: Option<String>,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// When its last line arrived, to within a few seconds.
    pub last_line_at: Option<Timestamp>,
}

/// A drain token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainToken {
    /// As Logplex sends it in `Logplex-Drain-Token`.
    pub token: String,
    /// The app it stands for.
    pub app: AppId,
    /// Where it comes from.
    pub origin: AppOrigin,
    /// Since when it is known.
    pub created_at: Timestamp,
    /// The name in the path of the drain's URL, where the Heroku account told it. It stays when the app is renamed.
    pub url_name: Option<String>,
}

type Row = (Uuid, String, String, Option<String>, i64, Option<i64>);

fn app((id, name, origin, host_hint, created_at, last_line_at): Row) -> Result<App> {
    let origin = AppOrigin::read(&origin)?;
    Ok(App {
        id: AppId(id),
        name,
        origin,
        host_hint,
        created_at: time(created_at),
        last_line_at: last_line_at.map(time),
    })
}

const BY_NAME: &str = "SELECT id, name, origin, host_hint, created_at, last_line_at FROM apps WHERE name = $1";
const BY_TOKEN: &str = "SELECT a.id, a.name, a.origin, a.host_hint, a.created_at, a.last_line_at FROM apps AS a \
                        JOIN drain_tokens AS t ON t.app_id = a.id WHERE t.token = $1";

/// Inserts an app unless the name is there, and returns the one of that name.
async fn ensure(tx: &mut Tx, id: AppId, name: &str, origin: AppOrigin, now: Timestamp) -> Result<App> {
    let sql = "INSERT INTO apps (id, name, origin, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO NOTHING";
    on!(tx, Engine, conn, {
        sqlx::query(sql).bind(id.0).bind(name).bind(origin.as_str()).bind(now.as_micros()).execute(conn).await?;
    });
    let row: Row = on!(tx, Engine, conn, sqlx::query_as(BY_NAME).bind(name).fetch_one(conn).await?);
    app(row)
}

impl Store {
    /// All apps by name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn apps(&self) -> Result<Vec<App>> {
        let sql = "SELECT id, name, origin, host_hint, created_at, last_line_at FROM apps ORDER BY name";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        rows.into_iter().map(app).collect()
    }

    /// The app of that name.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn app_by_name(&self, name: &str) -> Result<Option<App>> {
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(BY_NAME).bind(name).fetch_optional(pool))?;
        row.map(app).transpose()
    }

    /// What an app is called.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn app_name(&self, id: AppId) -> Result<Option<String>> {
        let sql = "SELECT name FROM apps WHERE id = $1";
        read!(&self.state, |pool| sqlx::query_scalar(sql).bind(id.0).fetch_optional(pool))
    }

    /// The app of that name, created with `id` if there is none. Safe against races: all get the same app.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn ensure_app(&self, id: AppId, name: &str, origin: AppOrigin, now: Timestamp) -> Result<App> {
        let name = clean(name);
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let app = ensure(&mut tx, id, &name, origin, now).await?;
            tx.commit().await?;
            Ok(app)
        })
        .await
    }

    /// The app that a drain token stands for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn app_of_token(&self, token: &str) -> Result<Option<App>> {
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(BY_TOKEN).bind(token).fetch_optional(pool))?;
        row.map(app).transpose()
    }

    /// The app of a token that nobody has named: the one it stands for already, else one called `name`, created with `id`
    /// if need be. Safe against races: all get the same app.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn adopt_app(
        &self,
        id: AppId,
        token: &str,
        name: &str,
        origin: AppOrigin,
        now: Timestamp,
    ) -> Result<App> {
        let (token, name) = (clean(token), clean(name));
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let known: Option<Row> = on!(&mut tx, Engine, conn, sqlx::query_as(BY_TOKEN).bind(token.as_ref()).fetch_optional(conn).await?);
            if let Some(row) = known {
                tx.rollback().await?;
                return app(row);
            }
            let new = ensure(&mut tx, id, &name, origin, now).await?;
            let sql = "INSERT INTO drain_tokens (token, app_id, origin, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (token) DO NOTHING";
            on!(&mut tx, Engine, conn, {
                let query = sqlx::query(sql).bind(token.as_ref()).bind(new.id.0).bind(origin.as_str()).bind(now.as_micros());
                query.execute(conn).await?;
            });
            let row: Row = on!(&mut tx, Engine, conn, sqlx::query_as(BY_TOKEN).bind(token.as_ref()).fetch_one(conn).await?);
            tx.commit().await?;
            app(row)
        })
        .await
    }

    /// Renames an app. Its alerts and tokens stay with it.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] for an unknown app, [`StoreError::Conflict`] when the name is taken.
    pub async fn rename_app(&self, id: AppId, name: &str, act: &Act, now: Timestamp) -> Result<()> {
        let name = clean(name);
        let done = within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let sql = "UPDATE apps SET name = $1 WHERE id = $2";
            if exec!(&mut tx, sqlx::query(sql).bind(name.as_ref()).bind(id.0)) == 0 {
                return Err(StoreError::NotFound(format!("app {id}")));
            }
            append(&mut tx, act, now).await?;
            tx.commit().await
        })
        .await;
        match done {
            Ok(()) => Ok(()),
            Err(StoreError::Sql(sqlx::Error::Database(error))) if error.is_unique_violation() => {
                Err(StoreError::Conflict(format!("there is an app named {name:?} already")))
            }
            Err(error) => Err(error),
        }
    }

    /// Notes a host that the app's router lines name.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn set_host_hint(&self, id: AppId, host: &str) -> Result<()> {
        let host = clean(host);
        let _done = change!(
            &self.state,
            sqlx::query("UPDATE apps SET host_hint = $1 WHERE id = $2").bind(host.as_ref()).bind(id.0)
        )?;
        Ok(())
    }

    /// Notes when each app's last line arrived; an older time changes nothing.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn touch_apps(&self, seen: &[(AppId, Timestamp)]) -> Result<()> {
        let mut seen = seen.to_vec();
        // Sorted as evaluations lock them; of one app the newest.
        seen.sort_unstable_by_key(|&(app, at)| (app, std::cmp::Reverse(at)));
        seen.dedup_by_key(|(app, _)| *app);
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            if let Tx::Pg(tx) = &mut tx {
                let ids: Vec<Uuid> = seen.iter().map(|(app, _)| app.0).collect();
                sqlx::query("SELECT id FROM apps WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE").bind(ids).execute(&mut **tx).await?;
            }
            for piece in pieces(&seen) {
                on!(&mut tx, Engine, conn, {
                    let mut query = QueryBuilder::<Engine>::new("UPDATE apps SET last_line_at = v.column2 FROM (");
                    query.push_values(piece, |mut row, (app, at)| {
                        row.push_bind(app.0).push_bind(at.as_micros());
                    });
                    query.push(") AS v WHERE apps.id = v.column1 AND (apps.last_line_at IS NULL OR apps.last_line_at < v.column2)");
                    query.build().execute(conn).await?;
                });
            }
            tx.commit().await
        })
        .await
    }

    /// All drain tokens, those of one app or of all.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn drain_tokens(&self, app: Option<AppId>) -> Result<Vec<DrainToken>> {
        type Row = (String, Uuid, String, i64, Option<String>);
        let sql = "SELECT token, app_id, origin, created_at, url_name FROM drain_tokens ORDER BY created_at, token";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).fetch_all(pool))?;
        let tokens = rows.into_iter().filter(|(_, of, ..)| app.is_none_or(|app| app.0 == *of));
        tokens
            .map(|(token, app, origin, at, url_name)| {
                let origin = AppOrigin::read(&origin)?;
                Ok(DrainToken { token, app: AppId(app), origin, created_at: time(at), url_name })
            })
            .collect()
    }

    /// Lets a token stand for an app, whatever it stood for before: the file has the last word over an adoption.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn assign_token(&self, token: &str, app: AppId, origin: AppOrigin, now: Timestamp) -> Result<()> {
        let sql = "INSERT INTO drain_tokens (token, app_id, origin, created_at) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (token) DO UPDATE SET app_id = excluded.app_id, origin = excluded.origin";
        let token = clean(token);
        let _done = change!(
            &self.state,
            sqlx::query(sql).bind(token.as_ref()).bind(app.0).bind(origin.as_str()).bind(now.as_micros())
        )?;
        Ok(())
    }

    /// Lets a token stand for an app as the Heroku account says. The file keeps the last word.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn learn_token(&self, token: &str, app: AppId, url_name: Option<&str>, now: Timestamp) -> Result<()> {
        let sql = "INSERT INTO drain_tokens (token, app_id, origin, created_at, url_name) VALUES ($1, $2, 'heroku', $3, $4) \
                   ON CONFLICT (token) DO UPDATE SET app_id = CASE WHEN drain_tokens.origin = 'file' THEN drain_tokens.app_id \
                   ELSE excluded.app_id END, url_name = excluded.url_name";
        let token = clean(token);
        let url_name = url_name.map(clean);
        let _done = change!(
            &self.state,
            sqlx::query(sql).bind(token.as_ref()).bind(app.0).bind(now.as_micros()).bind(url_name.as_deref())
        )?;
        Ok(())
    }

    /// Forgets a token. Returns whether it was known.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn remove_token(&self, token: &str) -> Result<bool> {
        let done = change!(&self.state, sqlx::query("DELETE FROM drain_tokens WHERE token = $1").bind(token))?;
        Ok(done > 0)
    }
}
