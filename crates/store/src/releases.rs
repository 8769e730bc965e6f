//! Releases as the drain told of them, and what the API adds. Written by [`crate::evaluate`]; read when an alert asks what
//! changed (C39).

use dynowatch_domain::release::{FromApi, Release, ReleaseKind};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::db::{CALL_MAX, Tx, on, read, within};
use crate::error::Result;
use crate::open::Store;
use crate::text::{clean, time, word};

const KINDS: [ReleaseKind; 5] =
    [ReleaseKind::Code, ReleaseKind::Config, ReleaseKind::AddOn, ReleaseKind::Rollback, ReleaseKind::Unknown];

/// The name in the column.
pub(crate) fn kind_name(kind: ReleaseKind) -> &'static str {
    match kind {
        ReleaseKind::Code => "code",
        ReleaseKind::Config => "config",
        ReleaseKind::AddOn => "add_on",
        ReleaseKind::Rollback => "rollback",
        ReleaseKind::Unknown => "unknown",
    }
}

/// The columns of a release, behind those that a caller puts first.
const COLUMNS: &str = "at, version, kind, actor, what, release_id, code_changed, commit_hash, status";

/// A release as Heroku's API tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRelease {
    /// Heroku's id of it.
    pub id: Uuid,
    /// What is known of it; `version` and `from_api` are set.
    pub release: Release,
}

#[derive(sqlx::FromRow)]
struct Row {
    at: i64,
    version: Option<i64>,
    kind: String,
    actor: Option<String>,
    what: Option<String>,
    release_id: Option<Uuid>,
    code_changed: Option<bool>,
    commit_hash: Option<String>,
    status: Option<String>,
}

#[derive(sqlx::FromRow)]
struct RowOf {
    app_id: Uuid,
    #[sqlx(flatten)]
    row: Row,
}

impl Store {
    /// The newest release of an app created at or before `before`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest_release(&self, app: AppId, before: Timestamp) -> Result<Option<Release>> {
        let sql = format!("SELECT {COLUMNS} FROM releases WHERE app_id = $1 AND at <= $2 ORDER BY at DESC LIMIT 1");
        let row: Option<Row> = read!(&self.state, |pool| sqlx::query_as(AssertSqlSafe(sql.as_str()))
            .bind(app.0)
            .bind(before.as_micros())
            .fetch_optional(pool))?;
        row.map(Row::read).transpose()
    }

    /// Releases created after `after`, of all apps, oldest first; at most 10,000, the newest.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn releases_since(&self, after: Timestamp) -> Result<Vec<(AppId, Release)>> {
        let sql = format!("SELECT app_id, {COLUMNS} FROM releases WHERE at > $1 ORDER BY at DESC LIMIT 10000");
        let rows: Vec<RowOf> = read!(&self.state, |pool| sqlx::query_as(AssertSqlSafe(sql.as_str()))
            .bind(after.as_micros())
            .fetch_all(pool))?;
        let mut all = rows.into_iter().map(|of| Ok((AppId(of.app_id), of.row.read()?))).collect::<Result<Vec<_>>>()?;
        all.reverse();
        Ok(all)
    }

    /// Whether the drain has told of releases of this app after `after` that the API was not asked about.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn has_unverified_releases(&self, app: AppId, after: Timestamp) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM releases WHERE app_id = $1 AND at > $2 AND version IS NOT NULL AND release_id IS NULL";
        let count: i64 =
            read!(&self.state, |pool| sqlx::query_scalar(sql).bind(app.0).bind(after.as_micros()).fetch_one(pool))?;
        Ok(count > 0)
    }

    /// Which of an app's releases the API was asked about, among these ids.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn verified_releases(&self, app: AppId) -> Result<Vec<Uuid>> {
        let sql = "SELECT release_id FROM releases WHERE app_id = $1 AND release_id IS NOT NULL AND status <> 'pending' \
                   ORDER BY at DESC LIMIT 200";
        read!(&self.state, |pool| sqlx::query_scalar(sql).bind(app.0).fetch_all(pool))
    }

    /// Adds what the API says to the releases that the drain told of, by version. Releases that the drain has not told of
    /// are written if they were created before `settled`: the drain's own line may still come, with a finer stamp.
    /// Returns how many rows changed.
    ///
    /// # Errors
    /// When the store is away or full.
    pub async fn save_api_releases(&self, app: AppId, releases: &[ApiRelease], settled: Timestamp) -> Result<u64> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            let mut changed = 0;
            for told in releases {
                changed += save_one(&mut tx, app, told, settled).await?;
            }
            tx.commit().await?;
            Ok(changed)
        })
        .await
    }

    /// The releases of an app created between two moments, the newest first; at most 1,000.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn releases_between(&self, app: AppId, from: Timestamp, until: Timestamp) -> Result<Vec<Release>> {
        let sql = format!(
            "SELECT {COLUMNS} FROM releases WHERE app_id = $1 AND at >= $2 AND at < $3 ORDER BY at DESC LIMIT 1000"
        );
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(AssertSqlSafe(sql.as_str()))
            .bind(app.0)
            .bind(from.as_micros())
            .bind(until.as_micros())
            .fetch_all(pool))?;
        rows.into_iter().map(Row::read).collect()
    }
}

async fn save_one(tx: &mut Tx, app: AppId, told: &ApiRelease, settled: Timestamp) -> Result<u64> {
    let release = &told.release;
    let (Some(version), Some(api)) = (release.version, &release.from_api) else { return Ok(0) };
    // Versions do not repeat, but an app may be made anew under its name: a day apart is another release.
    let known = "UPDATE releases SET release_id = $3, code_changed = $4, commit_hash = COALESCE($5, commit_hash), status = $6, \
                 actor = COALESCE($7, actor), what = COALESCE($8, what), \
                 kind = CASE WHEN $9 = 'unknown' THEN kind ELSE $9 END \
                 WHERE app_id = $1 AND version = $2 AND at > $10 AND at < $11";
    let day = std::time::Duration::from_secs(86_400);
    let (actor, what) = (release.actor.as_deref().map(clean), release.what.as_deref().map(clean));
    let (commit, status) = (api.commit.as_deref().map(clean), api.status.as_deref().map(clean));
    let done = on!(&mut *tx, Engine, conn, {
        sqlx::query(known)
            .bind(app.0)
            .bind(i64::from(version))
            .bind(told.id)
            .bind(api.code_changed)
            .bind(commit.as_deref())
            .bind(status.as_deref())
            .bind(actor.as_deref())
            .bind(what.as_deref())
            .bind(kind_name(release.kind))
            .bind((release.at - day).as_micros())
            .bind((release.at + day).as_micros())
            .execute(conn)
            .await?
            .rows_affected()
    });
    if done > 0 || release.at >= settled {
        return Ok(done);
    }
    let new = "INSERT INTO releases (app_id, at, version, kind, actor, what, release_id, code_changed, commit_hash, status) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (app_id, at) DO NOTHING";
    Ok(on!(tx, Engine, conn, {
        sqlx::query(new)
            .bind(app.0)
            .bind(release.at.as_micros())
            .bind(i64::from(version))
            .bind(kind_name(release.kind))
            .bind(actor.as_deref())
            .bind(what.as_deref())
            .bind(told.id)
            .bind(api.code_changed)
            .bind(commit.as_deref())
            .bind(status.as_deref())
            .execute(conn)
            .await?
            .rows_affected()
    }))
}

impl Row {
    fn read(self) -> Result<Release> {
        let kind =
            word("a release's kind", &self.kind, |name| KINDS.into_iter().find(|kind| kind_name(*kind) == name))?;
        let from_api = self.release_id.map(|_| FromApi {
            code_changed: self.code_changed,
            commit: self.commit_hash,
            status: self.status,
        });
        let version = self.version.and_then(|v| u32::try_from(v).ok());
        Ok(Release { at: time(self.at), version, kind, actor: self.actor, what: self.what, from_api })
    }
}
