//! Releases as the drain told of them. Written by [`crate::evaluate`]; read when an alert asks what changed (C39).

use dynowatch_domain::release::{Release, ReleaseKind};
use dynowatch_domain::{AppId, Timestamp};

use uuid::Uuid;

use crate::db::read;
use crate::error::Result;
use crate::open::Store;
use crate::text::{time, word};

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

impl Store {
    /// The newest release of an app created at or before `before`.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn newest_release(&self, app: AppId, before: Timestamp) -> Result<Option<Release>> {
        type Row = (i64, Option<i64>, String, Option<String>, Option<String>);
        let sql = "SELECT at, version, kind, actor, what FROM releases WHERE app_id = $1 AND at <= $2 ORDER BY at DESC LIMIT 1";
        let row: Option<Row> =
            read!(&self.state, |pool| sqlx::query_as(sql).bind(app.0).bind(before.as_micros()).fetch_optional(pool))?;
        row.map(|(at, version, kind, actor, what)| release(at, version, &kind, actor, what)).transpose()
    }

    /// Releases created after `after`, of all apps, oldest first; at most 10,000, the newest.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn releases_since(&self, after: Timestamp) -> Result<Vec<(AppId, Release)>> {
        type Row = (Uuid, i64, Option<i64>, String, Option<String>, Option<String>);
        let sql =
            "SELECT app_id, at, version, kind, actor, what FROM releases WHERE at > $1 ORDER BY at DESC LIMIT 10000";
        let rows: Vec<Row> = read!(&self.state, |pool| sqlx::query_as(sql).bind(after.as_micros()).fetch_all(pool))?;
        let mut all = rows
            .into_iter()
            .map(|(app, at, version, kind, actor, what)| Ok((AppId(app), release(at, version, &kind, actor, what)?)))
            .collect::<Result<Vec<_>>>()?;
        all.reverse();
        Ok(all)
    }
}

fn release(at: i64, version: Option<i64>, kind: &str, actor: Option<String>, what: Option<String>) -> Result<Release> {
    let kind = word("a release's kind", kind, |name| KINDS.into_iter().find(|kind| kind_name(*kind) == name))?;
    Ok(Release { at: time(at), version: version.and_then(|v| u32::try_from(v).ok()), kind, actor, what })
}
