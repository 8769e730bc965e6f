//! What the Heroku account says of its apps: one row per app, whose parts (formation, dynos, add-ons, drains) are JSON,
//! since they are always read and replaced together. What is gone at Heroku stays for a while with the time it was missed.
//! When each is asked for next stands in the row, so that any process may go on.

use dynowatch_domain::{AppId, Timestamp};
use serde::{Deserialize, Serialize};
use sqlx::AssertSqlSafe;
use sqlx::types::Json;
use uuid::Uuid;

use crate::db::{CALL_MAX, change, on, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::text::{clean, json, time};

/// What rarely changes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Whether it runs on Fir, where there are no log drains.
    pub fir: bool,
    /// As in `heroku-24`.
    pub stack: Option<String>,
    /// As in `eu`.
    pub region: Option<String>,
    /// The owner's e-mail address.
    pub owner: Option<String>,
    /// Its team.
    pub team: Option<String>,
    /// Its Private Space.
    pub space: Option<String>,
    /// Whether it is in maintenance mode.
    pub maintenance: bool,
    /// Whether Heroku writes each dyno's memory and load into its log; `None` until asked.
    #[serde(default)]
    pub runtime_metrics: Option<bool>,
    /// When its newest release became current.
    pub released_at: Option<Timestamp>,
}

/// A process type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// As in `web`.
    pub process_type: String,
    /// How many dynos there should be.
    pub quantity: i64,
    /// As in `Standard-1X`.
    pub size: String,
    /// Since when it is gone.
    pub gone_at: Option<Timestamp>,
}

/// A dyno.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dyno {
    /// As in `web.1`.
    pub name: String,
    /// As in `web`.
    pub process_type: String,
    /// As in `up`.
    pub state: String,
    /// As in `Standard-1X`.
    pub size: String,
    /// The version of the release it runs.
    pub release: Option<i64>,
    /// When its state last changed.
    pub changed_at: Option<Timestamp>,
    /// Since when it is gone.
    pub gone_at: Option<Timestamp>,
}

/// An add-on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddOn {
    /// Heroku's id of it.
    pub id: Uuid,
    /// As in `postgresql-flat-1234`.
    pub name: String,
    /// As in `heroku-postgresql`.
    pub service: Option<String>,
    /// As in `heroku-postgresql:standard-0`.
    pub plan: Option<String>,
    /// As in `provisioned`.
    pub state: String,
    /// Names of the config vars it sets; never a value.
    pub config_vars: Vec<String>,
    /// Since when it is gone.
    pub gone_at: Option<Timestamp>,
}

/// A log drain, without its URL: that holds the password of whoever receives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drain {
    /// Heroku's id of it.
    pub id: Uuid,
    /// What Logplex sends with its deliveries.
    pub token: String,
    /// Whether it delivers to this instance.
    pub ours: bool,
    /// The host it delivers to.
    pub host: String,
    /// The add-on that made it.
    pub addon: Option<String>,
    /// Tells drains of one app to this instance apart.
    pub mark: Option<String>,
    /// Since when it exists.
    pub created_at: Option<Timestamp>,
    /// Since when it is gone.
    pub gone_at: Option<Timestamp>,
}

/// An app of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HerokuApp {
    /// Our id.
    pub app: AppId,
    /// Heroku's id.
    pub heroku_id: Uuid,
    /// Its name at Heroku.
    pub name: String,
    /// What rarely changes.
    pub facts: Facts,
    /// Its process types.
    pub formation: Vec<Process>,
    /// Its dynos.
    pub dynos: Vec<Dyno>,
    /// Its add-ons.
    pub addons: Vec<AddOn>,
    /// Its log drains.
    pub drains: Vec<Drain>,
    /// When it was last in the account's list.
    pub seen_at: Timestamp,
    /// Since when it is not.
    pub gone_at: Option<Timestamp>,
    /// When its process types and dynos were last read.
    pub dynos_at: Option<Timestamp>,
    /// When its drains were last read.
    pub drains_at: Option<Timestamp>,
    /// When its releases were last read.
    pub releases_at: Option<Timestamp>,
    /// When its process types and dynos are read next.
    pub next_dynos_at: Timestamp,
    /// When its drains are read next.
    pub next_drains_at: Timestamp,
    /// What went wrong last, in words.
    pub problem: Option<String>,
}

/// A list that is read as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncState {
    /// When it is read next.
    pub next_at: Timestamp,
    /// When it was last read.
    pub done_at: Option<Timestamp>,
    /// What went wrong last, in words.
    pub problem: Option<String>,
}

/// What of an app's row is written. Each part has its own calls to Heroku; what another call told meanwhile stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of it: an app that was not known, or one that is looked at as a whole.
    All,
    /// What the list of apps tells: name, facts, whether it is there.
    App,
    /// Process types, dynos, and when releases were read.
    Dynos,
    /// Add-ons.
    AddOns,
    /// Drains and features.
    Drains,
    /// When it is asked for next, and what went wrong last.
    Schedule,
}

impl Part {
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::All => &[
                "heroku_id",
                "heroku_name",
                "facts",
                "formation",
                "dynos",
                "addons",
                "drains",
                "seen_at",
                "gone_at",
                "dynos_at",
                "drains_at",
                "releases_at",
                "next_dynos_at",
                "next_drains_at",
                "problem",
            ],
            Self::App => &["heroku_id", "heroku_name", "facts", "seen_at", "gone_at"],
            Self::Dynos => &["formation", "dynos", "dynos_at", "releases_at", "next_dynos_at", "problem"],
            Self::AddOns => &["addons"],
            Self::Drains => &["facts", "drains", "drains_at", "next_drains_at", "problem"],
            Self::Schedule => &["next_dynos_at", "next_drains_at", "problem"],
        }
    }
}

/// Process types of an app as they were read at a moment.
pub type FormationOf = (AppId, Timestamp, Vec<Process>);

/// Which apps are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// All of them.
    All,
    /// The one of our id.
    App(AppId),
    /// The one of that name at Heroku.
    Named(&'a str),
    /// Those whose dynos are to be read by then, the longest due first; at most so many.
    DynosDue(Timestamp, u32),
    /// The same for drains.
    DrainsDue(Timestamp, u32),
}

#[derive(sqlx::FromRow)]
struct Row {
    app_id: Uuid,
    heroku_id: Uuid,
    heroku_name: String,
    facts: Json<Facts>,
    formation: Json<Vec<Process>>,
    dynos: Json<Vec<Dyno>>,
    addons: Json<Vec<AddOn>>,
    drains: Json<Vec<Drain>>,
    seen_at: i64,
    gone_at: Option<i64>,
    dynos_at: Option<i64>,
    drains_at: Option<i64>,
    releases_at: Option<i64>,
    next_dynos_at: i64,
    next_drains_at: i64,
    problem: Option<String>,
}

impl From<Row> for HerokuApp {
    fn from(row: Row) -> Self {
        Self {
            app: AppId(row.app_id),
            heroku_id: row.heroku_id,
            name: row.heroku_name,
            facts: row.facts.0,
            formation: row.formation.0,
            dynos: row.dynos.0,
            addons: row.addons.0,
            drains: row.drains.0,
            seen_at: time(row.seen_at),
            gone_at: row.gone_at.map(time),
            dynos_at: row.dynos_at.map(time),
            drains_at: row.drains_at.map(time),
            releases_at: row.releases_at.map(time),
            next_dynos_at: time(row.next_dynos_at),
            next_drains_at: time(row.next_drains_at),
            problem: row.problem,
        }
    }
}

impl Store {
    /// Apps of the account, by name where no order is asked for.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heroku_apps(&self, wanted: Wanted<'_>) -> Result<Vec<HerokuApp>> {
        let rows: Vec<Row> = match wanted {
            Wanted::All => read!(&self.state, |pool| sqlx::query_as("SELECT * FROM heroku_apps ORDER BY heroku_name")
                .fetch_all(pool))?,
            Wanted::App(app) => {
                let sql = "SELECT * FROM heroku_apps WHERE app_id = $1";
                read!(&self.state, |pool| sqlx::query_as(sql).bind(app.0).fetch_all(pool))?
            }
            Wanted::Named(name) => {
                // One that was removed may have had the name before.
                let sql = "SELECT * FROM heroku_apps WHERE heroku_name = $1 AND gone_at IS NULL";
                read!(&self.state, |pool| sqlx::query_as(sql).bind(name).fetch_all(pool))?
            }
            Wanted::DynosDue(by, limit) => self.heroku_due("next_dynos_at", by, limit).await?,
            Wanted::DrainsDue(by, limit) => self.heroku_due("next_drains_at", by, limit).await?,
        };
        Ok(rows.into_iter().map(HerokuApp::from).collect())
    }

    async fn heroku_due(&self, column: &str, by: Timestamp, limit: u32) -> Result<Vec<Row>> {
        let sql = format!(
            "SELECT * FROM heroku_apps WHERE gone_at IS NULL AND {column} <= $1 ORDER BY {column}, app_id LIMIT $2"
        );
        read!(&self.state, |pool| sqlx::query_as(AssertSqlSafe(sql.as_str()))
            .bind(by.as_micros())
            .bind(i64::from(limit))
            .fetch_all(pool))
    }

    /// Makes every app of the account due now.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn heroku_apps_due(&self, now: Timestamp) -> Result<()> {
        let sql = "UPDATE heroku_apps SET next_dynos_at = $1, next_drains_at = $1 WHERE gone_at IS NULL";
        change!(&self.state, sqlx::query(sql).bind(now.as_micros())).map(drop)
    }

    /// Process types of the apps that were read after a moment.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heroku_formations(&self, after: Timestamp) -> Result<Vec<FormationOf>> {
        let sql = "SELECT app_id, dynos_at, formation FROM heroku_apps WHERE dynos_at > $1 AND gone_at IS NULL";
        let rows: Vec<(Uuid, i64, Json<Vec<Process>>)> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(after.as_micros()).fetch_all(pool))?;
        Ok(rows.into_iter().map(|(app, at, formation)| (AppId(app), time(at), formation.0)).collect())
    }

    /// Writes an app of the account, or a part of it, as it now is. An app of ours that stood for another of Heroku's
    /// gives way.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn save_heroku_app(&self, app: &HerokuApp, part: Part) -> Result<()> {
        let set: Vec<String> = part.columns().iter().map(|column| format!("{column} = excluded.{column}")).collect();
        let sql = format!(
            "INSERT INTO heroku_apps (app_id, heroku_id, heroku_name, facts, formation, dynos, addons, drains, seen_at, \
             gone_at, dynos_at, drains_at, releases_at, next_dynos_at, next_drains_at, problem) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
             ON CONFLICT (app_id) DO UPDATE SET {}",
            set.join(", ")
        );
        let (facts, formation, dynos) = (json(&app.facts)?, json(&app.formation)?, json(&app.dynos)?);
        let (addons, drains) = (json(&app.addons)?, json(&app.drains)?);
        let name = clean(&app.name);
        let problem = app.problem.as_deref().map(clean);
        let micros = |at: Option<Timestamp>| at.map(Timestamp::as_micros);
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            on!(&mut tx, Engine, conn, {
                let other = "DELETE FROM heroku_apps WHERE heroku_id = $1 AND app_id <> $2";
                sqlx::query(other).bind(app.heroku_id).bind(app.app.0).execute(&mut *conn).await?;
                sqlx::query(AssertSqlSafe(sql.as_str()))
                    .bind(app.app.0)
                    .bind(app.heroku_id)
                    .bind(name.as_ref())
                    .bind(facts)
                    .bind(formation)
                    .bind(dynos)
                    .bind(addons)
                    .bind(drains)
                    .bind(app.seen_at.as_micros())
                    .bind(micros(app.gone_at))
                    .bind(micros(app.dynos_at))
                    .bind(micros(app.drains_at))
                    .bind(micros(app.releases_at))
                    .bind(app.next_dynos_at.as_micros())
                    .bind(app.next_drains_at.as_micros())
                    .bind(problem.as_deref())
                    .execute(conn)
                    .await?;
            });
            tx.commit().await
        })
        .await
    }

    /// How a list stands; `None` when it was never read.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn heroku_sync(&self, name: &str) -> Result<Option<SyncState>> {
        type Row = (i64, Option<i64>, Option<String>);
        let sql = "SELECT next_at, done_at, problem FROM heroku_sync WHERE name = $1";
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(name).fetch_optional(pool))?;
        Ok(row.map(|(next, done, problem)| SyncState { next_at: time(next), done_at: done.map(time), problem }))
    }

    /// Writes how a list stands. Without a `done_at` the one that is there stays.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn save_heroku_sync(&self, name: &str, state: &SyncState) -> Result<()> {
        let sql = "INSERT INTO heroku_sync (name, next_at, done_at, problem) VALUES ($1, $2, $3, $4) \
                   ON CONFLICT (name) DO UPDATE SET next_at = excluded.next_at, \
                   done_at = COALESCE(excluded.done_at, heroku_sync.done_at), problem = excluded.problem";
        let problem = state.problem.as_deref().map(clean);
        let _done = change!(
            &self.state,
            sqlx::query(sql)
                .bind(name)
                .bind(state.next_at.as_micros())
                .bind(state.done_at.map(Timestamp::as_micros))
                .bind(problem.as_deref())
        )?;
        Ok(())
    }
}
