//! The two schemas agree, and a newer one is refused.

use dynowatch_testkit::postgres::TestDatabase;

use super::*;
use crate::db::change;
use crate::{Store, StoreOptions};

/// Table, column, type, whether it may be empty, whether it is part of the key.
pub(super) type Shape = Vec<(String, String, String, bool, bool)>;

/// Of what both engines have: the journal of evaluations is SQLite's alone, and no backup holds it.
pub(super) async fn sqlite_shape(db: &Db) -> Shape {
    let sql = "SELECT m.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0, c.pk > 0 FROM sqlite_master AS m, pragma_table_info(m.name) AS c \
               WHERE m.type = 'table' AND m.name NOT LIKE '\\_%' ESCAPE '\\' AND m.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' \
               AND m.name <> 'evaluations'";
    let Db::Lite { r, .. } = db else { panic!("not SQLite") };
    sqlx::query_as(sql).fetch_all(r).await.unwrap()
}

pub(super) async fn postgres_shape(db: &Db) -> Shape {
    let sql = "SELECT c.table_name::text, c.column_name::text, c.data_type::text, c.is_nullable = 'YES', EXISTS (SELECT 1 \
               FROM information_schema.key_column_usage AS k JOIN information_schema.table_constraints AS t USING (constraint_name) \
               WHERE t.constraint_type = 'PRIMARY KEY' AND k.table_name = c.table_name AND k.column_name = c.column_name) \
               FROM information_schema.columns AS c WHERE c.table_schema = 'public' AND c.table_name <> '_sqlx_migrations'";
    let Db::Pg(pool) = db else { panic!("not Postgres") };
    sqlx::query_as(sql).fetch_all(pool).await.unwrap()
}

async fn indexes(db: &Db) -> Vec<String> {
    let mut names: Vec<String> = match db {
        Db::Lite { r, .. } => {
            let sql = "SELECT name FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL";
            sqlx::query_scalar(sql).fetch_all(r).await.unwrap()
        }
        Db::Pg(pool) => {
            let sql =
                "SELECT indexname::text FROM pg_indexes WHERE schemaname = 'public' AND indexname LIKE '%\\_by\\_%'";
            sqlx::query_scalar(sql).fetch_all(pool).await.unwrap()
        }
    };
    names.sort();
    names
}

/// The one word both engines' types stand for.
pub(super) fn neutral(shape: Shape) -> Shape {
    let word = |kind: String| {
        let word = match kind.as_str() {
            "INTEGER" | "bigint" | "boolean" => "integer",
            "TEXT" | "text" | "jsonb" => "text",
            "BLOB" | "bytea" | "uuid" => "bytes",
            other => panic!("a type that is not one of ours: {other}"),
        };
        word.to_owned()
    };
    let mut shape: Shape =
        shape.into_iter().map(|(table, column, kind, null, key)| (table, column, word(kind), null, key)).collect();
    shape.sort();
    shape
}

async fn open(url: &str) -> Store {
    Store::open(&StoreOptions::new(url)).await.unwrap()
}

#[tokio::test]
async fn both_engines_have_the_same_tables() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    let lite = open(&format!("sqlite://{}", folder.path().join("a.db").display())).await;
    let pg = open(database.url()).await;
    let on_sqlite = [sqlite_shape(&lite.state).await, sqlite_shape(&lite.metrics).await].concat();
    let on_postgres = postgres_shape(&pg.state).await;
    assert_eq!(neutral(on_sqlite.clone()), neutral(on_postgres.clone()));
    let on_sqlite_indexes = [indexes(&lite.state).await, indexes(&lite.metrics).await].concat();
    // On SQLite memory knows the frames, and they lie in the order of arrival: see `frames.rs`.
    let mut sorted = [on_sqlite_indexes, ["frames_by_frame_id", "frames_by_seen"].map(str::to_owned).to_vec()].concat();
    sorted.sort();
    assert_eq!(sorted, indexes(&pg.state).await);

    // The list that backup goes by names every column with its type.
    let mut listed: Vec<(String, String, &str)> = Vec::new();
    for table in STATE_TABLES.iter().chain(METRICS_TABLES) {
        listed.extend(table.columns.iter().map(|&(column, kind)| {
            let kind = match kind {
                Uuid => "uuid",
                Text => "text",
                Int | Serial => "bigint",
                Bool => "boolean",
                Json => "jsonb",
                Bytes => "bytea",
            };
            (table.name.to_owned(), column.to_owned(), kind)
        }));
    }
    listed.sort();
    let mut there: Vec<(String, String, &str)> =
        on_postgres.iter().map(|(table, column, kind, ..)| (table.clone(), column.clone(), kind.as_str())).collect();
    there.sort();
    assert_eq!(listed, there);
}

#[tokio::test]
async fn both_engines_are_at_one_version() {
    assert_eq!(Set::SqliteState.newest(), Set::Postgres.newest());
}

/// Several processes start at once on an empty database: one migrates, all come up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrations_run_once_under_races() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    for url in [format!("sqlite://{}", folder.path().join("a.db").display()), database.url().to_owned()] {
        let starting: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { open(&url).await.schema_version().await.unwrap() })
            })
            .collect();
        for start in starting {
            assert_eq!(start.await.unwrap(), Set::Postgres.newest(), "{url}");
        }
    }
}

/// A migration that stops half-way leaves the schema as it was, rows and all.
#[tokio::test]
async fn a_broken_migration_leaves_a_filled_store_as_it_was() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    for url in [format!("sqlite://{}", folder.path().join("a.db").display()), database.url().to_owned()] {
        let store = open(&url).await;
        let fill = "INSERT INTO leases (name, holder, until_at, fence) VALUES ('a', 'b', 1, 1)";
        let _done = change!(&store.state, sqlx::query(fill)).unwrap();
        let broken =
            "ALTER TABLE leases ADD COLUMN more BIGINT; UPDATE leases SET fence = 7; SELECT no_such_function(1);";
        let step = |version, sql: &'static str| {
            Migration::new(version, "x".into(), MigrationType::Simple, sql.into_sql_str(), false)
        };
        let set = if store.engine() == crate::Engine::Sqlite { Set::SqliteState } else { Set::Postgres };
        let mut steps: Vec<Migration> = set.migrator().iter().cloned().collect();
        steps.push(step(set.newest() + 1, broken));
        let migrator = Migrator::with_migrations(steps);
        match &store.state {
            Db::Lite { w, .. } => migrator.run(&mut w.hold().await.unwrap().conn).await.unwrap_err(),
            Db::Pg(pool) => migrator.run(pool).await.unwrap_err(),
        };
        assert_eq!(version(&store.state).await.unwrap(), set.newest());
        let fence: i64 =
            read!(&store.state, |pool| sqlx::query_scalar("SELECT fence FROM leases").fetch_one(pool)).unwrap();
        assert_eq!(fence, 1);
        assert!(!neutral_columns(&store).await.contains(&"more".to_owned()));
    }
}

async fn neutral_columns(store: &Store) -> Vec<String> {
    let shape = match &store.state {
        Db::Lite { .. } => sqlite_shape(&store.state).await,
        Db::Pg(_) => postgres_shape(&store.state).await,
    };
    shape.into_iter().map(|(_, column, ..)| column).collect()
}
