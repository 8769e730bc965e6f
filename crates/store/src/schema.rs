//! Schema: migrations of both engines, the refusal of a newer one, and the list of tables that backup and tests use.
//!
//! Migrations only go forward and are never edited once released. Postgres holds all tables in one database; on SQLite
//! the metrics tables lie in a second file with migrations of its own.

use sqlx::SqlSafeStr;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};

use crate::db::{Db, read};
use crate::error::{Result, StoreError};

/// Which set of migrations a database gets.
#[derive(Clone, Copy)]
pub(crate) enum Set {
    SqliteState,
    SqliteMetrics,
    Postgres,
}

impl Set {
    /// Version, what it does, SQL.
    fn steps(self) -> &'static [(i64, &'static str, &'static str)] {
        match self {
            Self::SqliteState => &[
                (1, "state", include_str!("../migrations/sqlite/0001_state.sql")),
                (2, "accounts", include_str!("../migrations/sqlite/0002_accounts.sql")),
                (3, "heroku", include_str!("../migrations/sqlite/0003_heroku.sql")),
                (4, "metrics", include_str!("../migrations/sqlite/0004_metrics.sql")),
                (5, "objects", include_str!("../migrations/sqlite/0005_objects.sql")),
                (6, "checks", include_str!("../migrations/sqlite/0006_checks.sql")),
                (7, "frames", include_str!("../migrations/sqlite/0007_frames.sql")),
                (8, "evaluations", include_str!("../migrations/sqlite/0008_evaluations.sql")),
            ],
            Self::SqliteMetrics => &[
                (1, "metrics", include_str!("../migrations/sqlite_metrics/0001_metrics.sql")),
                (4, "series", include_str!("../migrations/sqlite_metrics/0004_metrics.sql")),
                (6, "checks", include_str!("../migrations/sqlite_metrics/0006_checks.sql")),
            ],
            Self::Postgres => &[
                (1, "state", include_str!("../migrations/postgres/0001_state.sql")),
                (2, "accounts", include_str!("../migrations/postgres/0002_accounts.sql")),
                (3, "heroku", include_str!("../migrations/postgres/0003_heroku.sql")),
                (4, "metrics", include_str!("../migrations/postgres/0004_metrics.sql")),
                (5, "objects", include_str!("../migrations/postgres/0005_objects.sql")),
                (6, "checks", include_str!("../migrations/postgres/0006_checks.sql")),
                (7, "frames", include_str!("../migrations/postgres/0007_frames.sql")),
                (8, "evaluations", include_str!("../migrations/postgres/0008_evaluations.sql")),
            ],
        }
    }

    pub(crate) fn newest(self) -> i64 {
        self.steps().iter().map(|(version, ..)| *version).max().unwrap_or(0)
    }

    fn migrator(self) -> Migrator {
        let steps = self.steps().iter();
        Migrator::with_migrations(
            steps
                .map(|&(version, what, sql)| {
                    Migration::new(version, what.into(), MigrationType::Simple, sql.into_sql_str(), false)
                })
                .collect(),
        )
    }
}

/// Brings a database to the newest schema; refuses one that is newer.
pub(crate) async fn migrate(db: &Db, set: Set) -> Result<()> {
    let mut found = version(db).await?;
    loop {
        if found == set.newest() {
            return Ok(());
        }
        refuse_newer(found, set)?;
        let Err(error) = run_all(db, set).await? else { return Ok(()) };
        // Another process may have migrated at the same time (SQLite has no lock for that); then the rest is tried again.
        let now = version(db).await?;
        if now <= found {
            return Err(explain(error));
        }
        found = now;
    }
}

async fn run_all(db: &Db, set: Set) -> Result<Result<(), MigrateError>> {
    Ok(match db {
        // `run_direct`, here and below: the future of `run` is not Send.
        Db::Lite { w, .. } => {
            let mut held = w.hold().await?;
            let done = set.migrator().run_direct(None, &mut held.conn, false).await;
            if done.is_ok() {
                held.keep();
            }
            done
        }
        Db::Pg(pool) => {
            let mut conn = pool.acquire().await.map_err(StoreError::from)?;
            // A migration of filled tables may take long.
            sqlx::query("SET statement_timeout = 0").execute(&mut *conn).await?;
            sqlx::query("SET lock_timeout = 0").execute(&mut *conn).await?;
            let done = set.migrator().run_direct(None, &mut *conn, false).await;
            // This connection's limits are gone; the pool makes a new one.
            let _closed = conn.close().await;
            done
        }
    })
}

fn refuse_newer(found: i64, set: Set) -> Result<()> {
    if found > set.newest() { Err(StoreError::NewerSchema { found, known: set.newest() }) } else { Ok(()) }
}

fn explain(error: MigrateError) -> StoreError {
    match error {
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        MigrateError::VersionMismatch(version) => {
            StoreError::corrupt(format!("migration {version} was another when it ran here"))
        }
        MigrateError::Dirty(version) => StoreError::corrupt(format!("migration {version} stopped half-way")),
        other => StoreError::corrupt(format!("migration: {other}")),
    }
}

/// The schema version of a database; 0 for an empty one.
pub(crate) async fn version(db: &Db) -> Result<i64> {
    let there: i64 = match db {
        Db::Lite { w, .. } => {
            let mut held = w.hold().await?;
            let there = sqlx::query_scalar("SELECT COUNT(*) FROM sqlite_master WHERE name = '_sqlx_migrations'")
                .fetch_one(&mut held.conn)
                .await?;
            held.keep();
            there
        }
        Db::Pg(pool) => sqlx::query_scalar("SELECT COUNT(to_regclass('_sqlx_migrations'))").fetch_one(pool).await?,
    };
    if there == 0 {
        return Ok(0);
    }
    read!(db, |pool| sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM _sqlx_migrations").fetch_one(pool))
}

/// What a column holds, in either engine's type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Column {
    Uuid,
    Text,
    Int,
    /// An integer that the database counts up by itself.
    Serial,
    Bool,
    Json,
    Bytes,
}

/// A table, as backup and restore see it.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) columns: &'static [(&'static str, Column)],
}

use Column::{Bool, Bytes, Int, Json, Serial, Text, Uuid};

/// The state tables, each after those it refers to.
pub(crate) const STATE_TABLES: &[Table] = &[
    Table {
        name: "apps",
        columns: &[
            ("id", Uuid),
            ("name", Text),
            ("origin", Text),
            ("host_hint", Text),
            ("created_at", Int),
            ("last_line_at", Int),
        ],
    },
    Table {
        name: "drain_tokens",
        columns: &[("token", Text), ("app_id", Uuid), ("origin", Text), ("created_at", Int), ("url_name", Text)],
    },
    Table { name: "frames", columns: &[("app_id", Uuid), ("frame_id", Text), ("seen_at", Int)] },
    Table {
        name: "tracks",
        columns: &[
            ("app_id", Uuid),
            ("rule", Text),
            ("grp", Text),
            ("version", Int),
            ("track", Json),
            ("phase", Text),
            ("alert_id", Uuid),
            ("next_wake_at", Int),
            ("changed_at", Int),
            ("consumed_stamp", Int),
            ("consumed_at", Int),
            ("last_match_id", Int),
        ],
    },
    Table {
        name: "matches",
        columns: &[
            ("id", Serial),
            ("app_id", Uuid),
            ("rule", Text),
            ("grp", Text),
            ("arrived_at", Int),
            ("count", Int),
            ("events", Bytes),
            ("lines", Json),
            ("previous_id", Int),
        ],
    },
    Table {
        name: "alerts",
        columns: &[
            ("id", Uuid),
            ("app_id", Uuid),
            ("rule", Text),
            ("grp", Text),
            ("severity", Text),
            ("fired_at", Int),
            ("resolved_at", Int),
            ("resolve_reason", Json),
            ("previous_id", Uuid),
            ("told", Bool),
            ("facts", Json),
            ("details", Json),
            ("evidence", Json),
        ],
    },
    Table { name: "decisions", columns: &[("alert_id", Uuid), ("number", Int), ("at", Int), ("effect", Json)] },
    Table {
        name: "deliveries",
        columns: &[
            ("id", Uuid),
            ("alert_id", Uuid),
            ("receiver", Text),
            ("kind", Text),
            ("notice", Json),
            ("state", Text),
            ("attempts", Int),
            ("intended_at", Int),
            ("next_attempt_at", Int),
            ("lease_until", Int),
            ("send_resolved", Bool),
            ("finished_at", Int),
            ("detail", Text),
        ],
    },
    Table {
        name: "attempts",
        columns: &[
            ("delivery_id", Uuid),
            ("number", Int),
            ("worker", Text),
            ("started_at", Int),
            ("said_resolved", Bool),
            ("finished_at", Int),
            ("outcome", Text),
            ("detail", Text),
        ],
    },
    Table {
        name: "releases",
        columns: &[
            ("app_id", Uuid),
            ("at", Int),
            ("version", Int),
            ("kind", Text),
            ("actor", Text),
            ("what", Text),
            ("release_id", Uuid),
            ("code_changed", Bool),
            ("commit_hash", Text),
            ("status", Text),
        ],
    },
    Table {
        name: "blinds",
        columns: &[
            ("id", Serial),
            ("app_id", Uuid),
            ("reason", Text),
            ("from_at", Int),
            ("until_at", Int),
            ("lines_lost", Int),
        ],
    },
    Table {
        name: "rule_overrides",
        columns: &[("rule", Text), ("disabled_until", Int), ("by_whom", Text), ("created_at", Int)],
    },
    Table {
        name: "rules",
        columns: &[("name", Text), ("body", Json), ("by_whom", Text), ("created_at", Int), ("changed_at", Int)],
    },
    Table {
        name: "receivers",
        columns: &[("name", Text), ("body", Json), ("by_whom", Text), ("created_at", Int), ("changed_at", Int)],
    },
    Table {
        name: "api_tokens",
        columns: &[
            ("id", Uuid),
            ("name", Text),
            ("token_hash", Bytes),
            ("created_at", Int),
            ("last_used_at", Int),
            ("revoked_at", Int),
            ("scopes", Text),
            ("apps", Text),
            ("expires_at", Int),
            ("user_id", Uuid),
        ],
    },
    Table {
        name: "users",
        columns: &[
            ("id", Uuid),
            ("name", Text),
            ("role", Text),
            ("password_hash", Text),
            ("zone", Text),
            ("theme", Text),
            ("created_at", Int),
            ("disabled_at", Int),
            ("signed_in_at", Int),
        ],
    },
    Table {
        name: "sessions",
        columns: &[
            ("id", Uuid),
            ("user_id", Uuid),
            ("token_hash", Bytes),
            ("created_at", Int),
            ("signed_in_at", Int),
            ("seen_at", Int),
            ("address", Text),
            ("agent", Text),
        ],
    },
    Table {
        name: "authenticators",
        columns: &[("user_id", Uuid), ("seed", Bytes), ("created_at", Int), ("confirmed_at", Int), ("last_step", Int)],
    },
    Table { name: "recovery_codes", columns: &[("user_id", Uuid), ("code_hash", Bytes)] },
    Table {
        name: "links",
        columns: &[("token_hash", Bytes), ("kind", Text), ("user_id", Uuid), ("created_at", Int), ("expires_at", Int)],
    },
    Table {
        name: "challenges",
        columns: &[
            ("token_hash", Bytes),
            ("kind", Text),
            ("user_id", Uuid),
            ("session_id", Uuid),
            ("digest", Bytes),
            ("detail", Text),
            ("failures", Int),
            ("expires_at", Int),
        ],
    },
    Table {
        name: "identities",
        columns: &[("issuer", Text), ("subject", Text), ("user_id", Uuid), ("created_at", Int)],
    },
    Table {
        name: "audit",
        columns: &[
            ("seq", Int),
            ("at", Int),
            ("actor", Text),
            ("address", Text),
            ("action", Text),
            ("subject", Text),
            ("detail", Text),
            ("previous", Bytes),
            ("hash", Bytes),
        ],
    },
    Table { name: "leases", columns: &[("name", Text), ("holder", Text), ("until_at", Int), ("fence", Int)] },
    Table {
        name: "app_events",
        columns: &[("app_id", Uuid), ("at", Int), ("kind", Text), ("source", Text), ("actor", Text), ("what", Text)],
    },
    Table { name: "dyno_states", columns: &[("app_id", Uuid), ("dyno", Text), ("state", Text), ("at", Int)] },
    Table { name: "processes", columns: &[("id", Uuid), ("started_at", Int), ("seen_at", Int)] },
    Table {
        name: "heroku_apps",
        columns: &[
            ("app_id", Uuid),
            ("heroku_id", Uuid),
            ("heroku_name", Text),
            ("facts", Json),
            ("formation", Json),
            ("dynos", Json),
            ("addons", Json),
            ("drains", Json),
            ("seen_at", Int),
            ("gone_at", Int),
            ("dynos_at", Int),
            ("drains_at", Int),
            ("releases_at", Int),
            ("next_dynos_at", Int),
            ("next_drains_at", Int),
            ("problem", Text),
        ],
    },
    Table { name: "heroku_sync", columns: &[("name", Text), ("next_at", Int), ("done_at", Int), ("problem", Text)] },
    Table {
        name: "drain_rotations",
        columns: &[
            ("id", Uuid),
            ("app_id", Uuid),
            ("version", Int),
            ("state", Text),
            ("mark", Text),
            ("old_drain", Uuid),
            ("old_token", Text),
            ("old_mark", Text),
            ("new_drain", Uuid),
            ("new_token", Text),
            ("old_delivered_at", Int),
            ("new_delivered_at", Int),
            ("cutover_at", Int),
            ("next_at", Int),
            ("attempts", Int),
            ("problem", Text),
            ("by_whom", Text),
            ("created_at", Int),
            ("changed_at", Int),
        ],
    },
    Table {
        name: "checks",
        columns: &[("name", Text), ("body", Json), ("by_whom", Text), ("created_at", Int), ("changed_at", Int)],
    },
    Table {
        name: "maintenance_windows",
        columns: &[("name", Text), ("body", Json), ("by_whom", Text), ("created_at", Int), ("changed_at", Int)],
    },
    Table {
        name: "check_states",
        columns: &[
            ("number", Serial),
            ("name", Text),
            ("version", Int),
            ("state", Json),
            ("memory", Json),
            ("heartbeat", Json),
            ("last", Json),
            ("shown", Text),
            ("last_run_at", Int),
            ("missed", Int),
            ("ping_token", Text),
            ("paused_at", Int),
            ("paused_by", Text),
            ("run_asked_at", Int),
            ("pin_asked_at", Int),
            ("owner", Text),
            ("lease_until", Int),
            ("created_at", Int),
            ("seen_at", Int),
        ],
    },
    Table { name: "check_flips", columns: &[("number", Int), ("at", Int), ("standing", Int)] },
    Table {
        name: "check_outages",
        columns: &[
            ("id", Uuid),
            ("number", Int),
            ("began_at", Int),
            ("ended_at", Int),
            ("opened_at", Int),
            ("flapping", Bool),
            ("held", Json),
        ],
    },
    Table {
        name: "check_pings",
        columns: &[
            ("id", Serial),
            ("number", Int),
            ("at", Int),
            ("kind", Text),
            ("run", Text),
            ("note", Text),
            ("taken", Bool),
        ],
    },
    Table { name: "check_blinds", columns: &[("process", Uuid), ("since_at", Int)] },
];

/// The metrics tables.
pub(crate) const METRICS_TABLES: &[Table] = &[
    Table {
        name: "level_buckets",
        columns: &[("rule", Text), ("app_id", Uuid), ("grp", Text), ("at", Int), ("total", Int), ("matched", Int)],
    },
    Table {
        name: "metric_series",
        columns: &[
            ("id", Serial),
            ("app_id", Uuid),
            ("metric", Text),
            ("kind", Text),
            ("source", Text),
            ("label", Text),
            ("seen_at", Int),
        ],
    },
    Table {
        name: "metric_chunks",
        columns: &[
            ("id", Serial),
            ("app_id", Uuid),
            ("process", Uuid),
            ("at", Int),
            ("from_at", Int),
            ("until_at", Int),
            ("folded", Int),
            ("body", Bytes),
        ],
    },
    Table {
        name: "metric_packs",
        columns: &[("series", Int), ("step", Int), ("from_at", Int), ("roll", Int), ("body", Bytes)],
    },
    Table { name: "metric_paths", columns: &[("app_id", Uuid), ("errors", Int), ("from_at", Int), ("body", Bytes)] },
    Table { name: "check_results", columns: &[("number", Int), ("from_at", Int), ("body", Bytes)] },
    Table {
        name: "check_failures",
        columns: &[("id", Serial), ("number", Int), ("at", Int), ("observation", Json), ("transcript", Text)],
    },
];

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "migration_tests.rs"]
mod migration_tests;
