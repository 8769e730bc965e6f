//! Every migration on filled tables, whatever tables there are by then: before each step, rows are put into every table
//! that the schema has, found by asking the database itself; after it, they are still there, and both engines agree.
//! Nobody has to add anything here for a new migration, unless it means to change what is stored: see [`CHANGED`].

use std::collections::{BTreeMap, BTreeSet};

use dynowatch_testkit::postgres::TestDatabase;
use sqlx::AssertSqlSafe;
use sqlx::migrate::{Migration, Migrator};
use sqlx::sqlite::SqliteSynchronous;

use super::tests::{Shape, neutral, postgres_shape, sqlite_shape};
use super::*;
use crate::db::{open_postgres, open_sqlite, sqlite_options};

/// Columns whose values a migration means to change: version, table, column.
const CHANGED: &[(i64, &str, &str)] = &[];
/// Values for columns that take only certain ones (`CHECK`): table, column, value.
const ONLY: &[(&str, &str, &str)] = &[];
/// Rows that each filling adds to each table.
const ROWS: i64 = 3;

/// Table, column, the table that the column refers to, and the column there.
type Reference = (String, String, String, String);
/// Each row as text, by the columns that were asked for.
type Rows = BTreeSet<String>;

async fn execute(db: &Db, sql: String) {
    let shown = sql.clone();
    let done = match db {
        Db::Lite { w, .. } => {
            let mut held = w.hold().await.unwrap();
            let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut held.conn).await.map(|_done| ());
            held.keep();
            done
        }
        Db::Pg(pool) => sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.map(|_done| ()),
    };
    done.unwrap_or_else(|error| panic!("{error}\n{shown}\nA column that takes only certain values stands in ONLY."));
}

async fn shape(db: &Db) -> Shape {
    match db {
        Db::Lite { .. } => sqlite_shape(db).await,
        Db::Pg(_) => postgres_shape(db).await,
    }
}

async fn references(db: &Db) -> Vec<Reference> {
    match db {
        Db::Lite { r, .. } => {
            let sql = "SELECT m.name, f.\"from\", f.\"table\", COALESCE(f.\"to\", 'id') FROM sqlite_master AS m, \
                       pragma_foreign_key_list(m.name) AS f WHERE m.type = 'table'";
            sqlx::query_as(sql).fetch_all(r).await.unwrap()
        }
        Db::Pg(pool) => {
            let sql = "SELECT c.conrelid::regclass::text, a.attname::text, c.confrelid::regclass::text, b.attname::text \
                       FROM pg_constraint AS c CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS k (here, there) \
                       JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND a.attnum = k.here \
                       JOIN pg_attribute AS b ON b.attrelid = c.confrelid AND b.attnum = k.there WHERE c.contype = 'f'";
            sqlx::query_as(sql).fetch_all(pool).await.unwrap()
        }
    }
}

/// The tables, each after those it refers to.
fn in_order(shape: &Shape, references: &[Reference]) -> Vec<String> {
    let mut left: BTreeSet<String> = shape.iter().map(|(table, ..)| table.clone()).collect();
    let mut ordered = Vec::new();
    while !left.is_empty() {
        let waits = |table: &String| references.iter().any(|(t, _, to, _)| t == table && to != t && left.contains(to));
        let free: Vec<String> = left.iter().filter(|table| !waits(table)).cloned().collect();
        assert!(!free.is_empty(), "these tables refer to each other in a circle: {left:?}");
        left.retain(|table| !free.contains(table));
        ordered.extend(free);
    }
    ordered
}

/// A value of a column's type, made of the row's number alone, so that a reference finds what it refers to.
fn value(table: &str, column: &str, kind: &str, n: i64) -> String {
    if let Some((.., only)) = ONLY.iter().find(|(t, c, _)| (*t, *c) == (table, column)) {
        return format!("'{only}'");
    }
    match kind {
        "INTEGER" | "bigint" | "integer" | "smallint" => n.to_string(),
        "REAL" | "double precision" => format!("{n}.5"),
        "boolean" => (n % 2 == 0).to_string(),
        "TEXT" | "text" => format!("'[{n}]'"),
        "jsonb" => format!("'[{n}]'::jsonb"),
        "BLOB" => format!("x'{n:032x}'"),
        "bytea" => format!("'\\x{n:032x}'::bytea"),
        "uuid" => format!("'{}'::uuid", uuid::Uuid::from_u128(n.unsigned_abs().into())),
        other => panic!("{table}.{column}: say here how a value of type {other} is written"),
    }
}

/// Puts rows with these numbers into every table.
async fn fill(db: &Db, numbers: std::ops::Range<i64>) {
    let (shape, references) = (shape(db).await, references(db).await);
    for table in in_order(&shape, &references) {
        let columns: Vec<_> = shape.iter().filter(|(t, ..)| *t == table).collect();
        let names: Vec<String> = columns.iter().map(|(_, column, ..)| format!("\"{column}\"")).collect();
        let rows: Vec<String> = numbers
            .clone()
            .map(|n| {
                let values = columns.iter().map(|(_, column, kind, ..)| {
                    let referred = references.iter().find(|(t, c, ..)| (t, c) == (&table, column));
                    let (of, named) = referred.map_or((&table, column), |(_, _, to, there)| (to, there));
                    value(of, named, kind, n)
                });
                format!("({})", values.collect::<Vec<_>>().join(", "))
            })
            .collect();
        execute(db, format!("INSERT INTO \"{table}\" ({}) VALUES {}", names.join(", "), rows.join(", "))).await;
    }
}

/// All rows of a table, of the columns named.
async fn rows(db: &Db, table: &str, columns: &[String]) -> Rows {
    let text = |column: &String| match db {
        Db::Lite { .. } => format!("quote(\"{column}\")"),
        Db::Pg(_) => format!("COALESCE(\"{column}\"::text, 'NULL')"),
    };
    let all = columns.iter().map(text).collect::<Vec<_>>().join(" || '|' || ");
    let sql = format!("SELECT {all} FROM \"{table}\"");
    let found: Vec<String> = match db {
        Db::Lite { r, .. } => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(r).await.unwrap(),
        Db::Pg(pool) => sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(pool).await.unwrap(),
    };
    found.into_iter().collect()
}

/// Columns by table.
fn columns(shape: &Shape) -> BTreeMap<String, Vec<String>> {
    let mut columns: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (table, column, ..) in shape {
        columns.entry(table.clone()).or_default().push(column.clone());
    }
    columns
}

async fn apply(db: &Db, steps: Vec<Migration>) {
    let migrator = Migrator::with_migrations(steps);
    match db {
        Db::Lite { w, .. } => {
            let mut held = w.hold().await.unwrap();
            migrator.run_direct(None, &mut held.conn, false).await.unwrap();
            held.keep();
        }
        Db::Pg(pool) => {
            migrator.run_direct(None, &mut *pool.acquire().await.unwrap(), false).await.unwrap();
        }
    }
}

/// Goes up step by step over filled tables, and returns the shape after each.
async fn climb(db: &Db, steps: &[Migration]) -> BTreeMap<i64, Shape> {
    let mut shapes = BTreeMap::new();
    for (n, step) in steps.iter().enumerate() {
        let first = 1 + ROWS * i64::try_from(n).unwrap();
        if n > 0 {
            fill(db, first..first + ROWS).await;
        }
        let before = columns(&shape(db).await);
        let mut kept = BTreeMap::new();
        for (table, columns) in &before {
            kept.insert(table, rows(db, table, columns).await);
        }
        apply(db, steps.iter().take(n + 1).cloned().collect()).await;
        assert_eq!(version(db).await.unwrap(), step.version);
        let shape = shape(db).await;
        let after = columns(&shape);
        for (table, columns) in &before {
            let changed = |column: &&String| {
                CHANGED
                    .iter()
                    .any(|(version, t, c)| (*version, *t, *c) == (step.version, table.as_str(), column.as_str()))
            };
            let there = after.get(table).unwrap_or_else(|| panic!("migration {} drops {table}", step.version));
            let unchanged: Vec<String> =
                columns.iter().filter(|column| there.contains(column) && !changed(column)).cloned().collect();
            let now = rows(db, table, &unchanged).await;
            assert_eq!(now.len(), kept[table].len(), "rows of {table} after migration {}", step.version);
            if unchanged.len() == columns.len() {
                assert_eq!(now, kept[table], "{table} after migration {}", step.version);
            }
        }
        shapes.insert(step.version, shape);
    }
    // What the last step made can be filled, too.
    let first = 1 + ROWS * i64::try_from(steps.len()).unwrap();
    fill(db, first..first + ROWS).await;
    shapes
}

async fn sqlite(folder: &tempfile::TempDir, name: &str) -> Db {
    open_sqlite(sqlite_options(&folder.path().join(name), SqliteSynchronous::Off), 1, true).await.unwrap()
}

async fn postgres(database: &TestDatabase) -> Db {
    open_postgres(database.url().parse().unwrap()).await.unwrap()
}

fn steps(set: Set) -> Vec<Migration> {
    set.migrator().iter().cloned().collect()
}

#[tokio::test]
async fn every_migration_keeps_what_is_there() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    let state = climb(&sqlite(&folder, "state.db").await, &steps(Set::SqliteState)).await;
    let metrics = climb(&sqlite(&folder, "metrics.db").await, &steps(Set::SqliteMetrics)).await;
    let on_postgres = climb(&postgres(&database).await, &steps(Set::Postgres)).await;
    assert_eq!(state.keys().collect::<Vec<_>>(), on_postgres.keys().collect::<Vec<_>>(), "numbers of migrations");
    for (version, shape) in state {
        let tables: BTreeSet<String> = shape.iter().map(|(table, ..)| table.clone()).collect();
        let same: Shape = on_postgres[&version].iter().filter(|(table, ..)| tables.contains(table)).cloned().collect();
        assert_eq!(neutral(shape), neutral(same), "the engines differ after migration {version}");
    }
    let (_, metrics) = metrics.last_key_value().unwrap();
    let (_, on_postgres) = on_postgres.last_key_value().unwrap();
    let tables = columns(metrics);
    let same: Shape = on_postgres.iter().filter(|(table, ..)| tables.contains_key(table)).cloned().collect();
    assert_eq!(neutral(metrics.clone()), neutral(same), "the engines differ in their metrics");
}

/// The harness itself sees what a bad migration does.
#[tokio::test]
async fn a_migration_that_loses_something_is_seen() {
    let bad = ["DELETE FROM attempts", "UPDATE leases SET fence = -1", "DROP TABLE rule_overrides", "DELETE FROM apps"];
    for (n, sql) in bad.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let database = TestDatabase::create().await;
        for (db, set) in
            [(sqlite(&folder, &format!("{n}.db")).await, Set::SqliteState), (postgres(&database).await, Set::Postgres)]
        {
            let mut all = steps(set);
            all.push(Migration::new(1_000_000, "bad".into(), MigrationType::Simple, sql.into_sql_str(), false));
            let climbing = tokio::spawn(async move { climb(&db, &all).await });
            assert!(climbing.await.is_err(), "{sql} went by unseen");
        }
    }
}
