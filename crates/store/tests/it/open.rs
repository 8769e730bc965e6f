//! Opening: engines, schema, the lock of the server.

use std::os::unix::fs::PermissionsExt as _;

use dynowatch_domain::AlertId;
use dynowatch_store::alerts::AlertFilter;
use dynowatch_store::deliveries::DeliveryFilter;
use dynowatch_store::{Engine, Store, StoreError, StoreOptions};
use sqlx::{Connection, PgConnection, SqliteConnection};

use crate::bed::{Bed, id, t};

pub(crate) async fn answers_and_reopens(bed: &Bed) {
    bed.store.ping().await.unwrap();
    let engine = if bed.options.url.starts_with("sqlite") { Engine::Sqlite } else { Engine::Postgres };
    assert_eq!(bed.store.engine(), engine);
    let app = bed.app("shop").await;
    let again = bed.again().await;
    assert!(again.schema_version().await.unwrap() >= 3);
    assert_eq!(again.app_by_name("shop").await.unwrap().unwrap().id, app);
    again.close().await;
    bed.store.ping().await.unwrap();
}

pub(crate) async fn a_newer_schema_is_refused(bed: &Bed) {
    bed.store.close().await;
    let newer = "UPDATE _sqlx_migrations SET version = 999 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    if bed.store.engine() == Engine::Sqlite {
        let mut conn = SqliteConnection::connect(&bed.options.url).await.unwrap();
        sqlx::query(newer).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    } else {
        let mut conn = PgConnection::connect(&bed.options.url).await.unwrap();
        sqlx::query(newer).execute(&mut conn).await.unwrap();
        conn.close().await.unwrap();
    }
    let error = Store::open(&bed.options).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 999, .. }), "{error}");
    assert!(error.to_string().contains("999"));
}

/// Each of the two files has a schema of its own.
#[tokio::test]
async fn newer_metrics_are_refused_too() {
    let bed = Bed::sqlite().await;
    bed.store.close().await;
    let url = bed.options.url.replace(".db", ".metrics.db");
    let mut conn = SqliteConnection::connect(&url).await.unwrap();
    let newer = "UPDATE _sqlx_migrations SET version = 999 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)";
    assert_eq!(sqlx::query(newer).execute(&mut conn).await.unwrap().rows_affected(), 1);
    conn.close().await.unwrap();
    let error = Store::open(&bed.options).await.unwrap_err();
    assert!(matches!(error, StoreError::NewerSchema { found: 999, .. }), "{error}");
}

#[tokio::test]
async fn one_server_per_sqlite_file() {
    let bed = Bed::sqlite().await;
    let server = StoreOptions { exclusive: true, ..bed.options.clone() };
    let first = Store::open(&server).await.unwrap();
    let error = Store::open(&server).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("another dynowatch server")), "{error}");
    // Commands work beside it, and the next server may start when it has ended.
    bed.again().await.ping().await.unwrap();
    drop(first);
    Store::open(&server).await.unwrap();
}

/// Log lines lie in it as they came, so it is for its owner alone, also what SQLite puts beside it.
#[tokio::test]
async fn a_sqlite_store_is_private() {
    let bed = Bed::sqlite().await;
    bed.app("shop").await;
    let mut seen = 0;
    for entry in std::fs::read_dir(bed.folder.path()).unwrap().map(Result::unwrap) {
        let name = entry.file_name().into_string().unwrap();
        if name.contains(".db") && !name.ends_with(".lock") {
            assert_eq!(entry.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{name}");
            seen += 1;
        }
    }
    assert!(seen >= 4, "state and metrics, each with its log");
}

#[tokio::test]
async fn urls_that_are_none() {
    for url in ["sqlite://", "sqlite::memory:", "mysql://u:secret@h/d", "", "postgres://h:port/d"] {
        let error = Store::open(&StoreOptions::new(url)).await.unwrap_err();
        assert!(matches!(error, StoreError::Conflict(_)), "{url}: {error}");
        assert!(!error.to_string().contains("secret"));
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_away() {
    let url = "postgres://postgres@127.0.0.1:1/postgres";
    let error = Store::open(&StoreOptions::new(url)).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("refused"), "{error}");
}

/// Callers spawn these.
#[tokio::test]
async fn futures_may_move_between_threads() {
    fn moves<F: Future + Send>(_future: F) {}
    let bed = Bed::sqlite().await;
    let path = bed.folder.path().join("x");
    moves(Store::open(&bed.options));
    moves(Store::restore(&path, &bed.options));
    moves(bed.store.backup(&path));
    moves(bed.store.sweep(t(0)));
    moves(bed.store.alerts(&AlertFilter::default()));
    moves(bed.store.alert(AlertId(id())));
    moves(bed.store.deliveries(&DeliveryFilter::default()));
    moves(bed.store.start_process(id(), t(0)));
    moves(bed.store.load_levels(&[], t(0)));
    moves(bed.store.prune_levels(t(0)));
}
