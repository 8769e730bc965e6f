//! The two engines behind one face: pools, transactions and the macros that compile one body per engine.
//!
//! [`read!`] runs one statement outside a transaction, [`on!`] one inside; both hand the body a connection and the
//! engine's name, so that the same SQL text and the same binds serve SQLite and Postgres. Nothing waits for longer than
//! [`CALL_MAX`]: a store that is away must not hold up the drain.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions, PgSslMode};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, Postgres, Transaction};

use crate::error::{Result, StoreError};
use crate::writer::{LiteTx, Writer};

/// No call takes longer, save backup, restore, migration and housekeeping.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(10);
/// How long a call waits for a connection or for another writer.
pub(crate) const ACQUIRE_MAX: Duration = Duration::from_secs(3);
/// How long SQLite waits for another process's write, and Postgres works on one statement.
const STATEMENT_MAX_MS: u64 = 3_000;
/// Heroku's smallest plans allow 20 connections to all processes together.
const PG_CONNECTIONS_MAX: u32 = 8;
/// Statements differ by their number of rows (see [`crate::rows`]), so there are more of them than usual.
const STATEMENTS_CACHED: usize = 256;

/// Pages that a connection keeps, in KiB (negative is SQLite's way to say so). The writer comes back to the same ones with
/// every commit; readers mostly read a page once, and the system's cache has it anyway.
const WRITER_CACHE: &str = "-1024";
const READER_CACHE: &str = "-256";

/// Which database a store rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A file of our own.
    Sqlite,
    /// A server, shared by any number of processes.
    Postgres,
}

impl Engine {
    /// The name used in logs and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
        }
    }
}

/// Pools. On SQLite one writer and a few readers; on Postgres one pool for both.
#[derive(Clone, Debug)]
pub(crate) enum Db {
    Lite { w: Writer, r: SqlitePool },
    Pg(PgPool),
}

/// A transaction that may write. Dropped without [`Tx::commit`], it leaves nothing.
pub(crate) enum Tx {
    Lite(LiteTx),
    Pg(Transaction<'static, Postgres>),
}

/// Runs a future that yields `Result<T, sqlx::Error>` on a pool for reading: `read!(db, |pool| query.fetch_all(pool))`.
macro_rules! read {
    ($db:expr, |$pool:ident| $future:expr) => {
        $crate::db::within($crate::db::CALL_MAX, async {
            Ok(match $db {
                $crate::db::Db::Lite { r, .. } => {
                    let $pool = r;
                    $future.await?
                }
                $crate::db::Db::Pg(p) => {
                    let $pool = p;
                    $future.await?
                }
            })
        })
        .await
    };
}

/// The same for one writing statement of its own.
macro_rules! run {
    ($db:expr, |$pool:ident| $future:expr) => {
        $crate::db::within($crate::db::CALL_MAX, async {
            Ok(match $db {
                $crate::db::Db::Lite { w, .. } => {
                    let mut held = w.hold().await?;
                    let $pool = &mut held.conn;
                    let done = $future.await?;
                    held.keep();
                    done
                }
                $crate::db::Db::Pg(p) => {
                    let $pool = p;
                    $future.await?
                }
            })
        })
        .await
    };
}

/// Executes one writing statement of its own and says how many rows it changed: `change!(db, query)`.
macro_rules! change {
    ($db:expr, $query:expr) => {
        $crate::db::run!($db, |pool| async { $query.execute(pool).await.map(|done| done.rows_affected()) })
    };
}

/// Evaluates a body on a transaction's connection, once per engine: `on!(tx, Engine, conn, { … })`, in which `Engine`
/// names the driver (for `QueryBuilder::<Engine>`).
macro_rules! on {
    ($tx:expr, $engine:ident, $conn:ident, $body:expr) => {
        match $tx {
            $crate::db::Tx::Lite(t) => {
                #[allow(dead_code, reason = "not every body names its driver")]
                type $engine = sqlx::Sqlite;
                let $conn = &mut t.conn;
                $body
            }
            $crate::db::Tx::Pg(t) => {
                #[allow(dead_code, reason = "not every body names its driver")]
                type $engine = sqlx::Postgres;
                let $conn = &mut **t;
                $body
            }
        }
    };
}

pub(crate) use {change, on, read, run};

/// Awaits for at most `limit`. A future given up drops its transaction, which rolls back.
pub(crate) async fn within<T>(limit: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::time::timeout(limit, future).await.map_err(|_elapsed| StoreError::too_slow(limit))?
}

impl Tx {
    pub(crate) async fn commit(self) -> Result<()> {
        match self {
            Self::Lite(tx) => tx.commit().await?,
            Self::Pg(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Ends a transaction that changed nothing. Cheaper than dropping it, which costs SQLite its connection.
    pub(crate) async fn rollback(self) -> Result<()> {
        match self {
            Self::Lite(tx) => tx.rollback().await?,
            Self::Pg(tx) => tx.rollback().await?,
        }
        Ok(())
    }

    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Lite(_) => Engine::Sqlite,
            Self::Pg(_) => Engine::Postgres,
        }
    }
}

impl Db {
    pub(crate) fn engine(&self) -> Engine {
        match self {
            Self::Lite { .. } => Engine::Sqlite,
            Self::Pg(_) => Engine::Postgres,
        }
    }

    /// Begins a writing transaction. SQLite takes its write lock at once: a lock taken later fails without waiting when
    /// another writer was faster.
    pub(crate) async fn begin(&self) -> Result<Tx> {
        Ok(match self {
            Self::Lite { w, .. } => Tx::Lite(w.begin().await?),
            Self::Pg(pool) => Tx::Pg(pool.begin().await?),
        })
    }

    pub(crate) async fn close(&self) {
        match self {
            Self::Lite { w, r } => {
                r.close().await;
                w.close().await;
            }
            Self::Pg(pool) => pool.close().await,
        }
    }
}

/// Where a store lies, read from its URL.
#[derive(Debug, Clone)]
pub(crate) enum Location {
    Sqlite { state: PathBuf, metrics: PathBuf },
    Postgres(Box<PgConnectOptions>),
}

impl Location {
    pub(crate) fn parse(url: &str) -> Result<Self> {
        if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:")) {
            let path = path.split('?').next().unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                return Err(StoreError::Conflict(format!("{url:?} names no file: write sqlite://dynowatch.db")));
            }
            let state = PathBuf::from(path);
            let metrics = metrics_path(&state);
            return Ok(Self::Sqlite { state, metrics });
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(Box::new(pg_options(url)?)));
        }
        // The URL may hold a password: only its beginning is named.
        let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
        Err(StoreError::Conflict(format!(
            "the database URL has scheme {scheme:?}: write sqlite://FILE or postgres://…"
        )))
    }
}

/// `NAME.metrics.db` beside `NAME.db`.
fn metrics_path(state: &Path) -> PathBuf {
    let stem = state.file_stem().unwrap_or_default().to_string_lossy();
    state.with_file_name(format!("{stem}.metrics.db"))
}

/// Heroku's URLs say nothing of TLS, its servers refuse plain connections from outside, and their certificates are
/// signed by nobody one could know. So without an `sslmode` in the URL: encrypted but not verified, except on this very
/// machine, where a server without TLS is common. `sslmode=verify-full` in the URL verifies.
fn pg_options(url: &str) -> Result<PgConnectOptions> {
    let options = PgConnectOptions::from_str(url)
        .map_err(|error| StoreError::Conflict(format!("the Postgres URL is not one: {error}")))?;
    let options =
        options.application_name("dynowatch").statement_cache_capacity(STATEMENTS_CACHED).disable_statement_logging();
    if url.contains("sslmode=") || url.contains("ssl-mode=") {
        return Ok(options);
    }
    let host = options.get_host();
    let near = host == "localhost"
        || host.starts_with('/')
        || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    let near = near || options.get_socket().is_some();
    Ok(options.ssl_mode(if near { PgSslMode::Prefer } else { PgSslMode::Require }))
}

/// How one SQLite file is opened.
pub(crate) fn sqlite_options(path: &Path, synchronous: SqliteSynchronous) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(synchronous)
        .foreign_keys(true)
        .busy_timeout(Duration::from_millis(STATEMENT_MAX_MS))
        .statement_cache_capacity(STATEMENTS_CACHED)
        .pragma("cache_size", WRITER_CACHE)
        .pragma("temp_store", "MEMORY")
        .pragma("journal_size_limit", "16777216")
        // As long as that limit: a page that many commits change goes into the file once.
        .pragma("wal_autocheckpoint", "4000")
        .disable_statement_logging()
}

/// One writer, and readers that close when nobody reads. `exclusive`: no other server has the file open.
pub(crate) async fn open_sqlite(options: SqliteConnectOptions, readers: u32, exclusive: bool) -> Result<Db> {
    let writer = Writer::open(options.clone(), exclusive).await?;
    let readers = SqlitePoolOptions::new()
        .max_connections(readers)
        .idle_timeout(Duration::from_secs(60))
        .test_before_acquire(false)
        .acquire_timeout(ACQUIRE_MAX)
        .connect_lazy_with(options.read_only(true).create_if_missing(false).pragma("cache_size", READER_CACHE));
    Ok(Db::Lite { w: writer, r: readers })
}

/// A pool whose every statement and every wait for a lock ends in time.
pub(crate) async fn open_postgres(options: PgConnectOptions) -> Result<Db> {
    let opened = PgPoolOptions::new()
        .max_connections(PG_CONNECTIONS_MAX)
        .acquire_timeout(ACQUIRE_MAX)
        .idle_timeout(Duration::from_secs(300))
        .after_connect(|conn, _meta| {
            Box::pin(async move {
                // SET rather than start-up options: PgBouncer refuses those.
                let limits = "SELECT set_config('statement_timeout', $1, false), set_config('lock_timeout', $1, false), \
                              set_config('idle_in_transaction_session_timeout', '60s', false)";
                sqlx::query(limits).bind(format!("{STATEMENT_MAX_MS}ms")).execute(conn).await.map(|_done| ())
            })
        })
        .connect_with(options.clone())
        .await;
    match opened {
        Ok(pool) => Ok(Db::Pg(pool)),
        // The pool has tried all the while and does not say what it met. One more try does.
        Err(sqlx::Error::PoolTimedOut) => match tokio::time::timeout(ACQUIRE_MAX, options.connect()).await {
            Ok(Err(error)) => Err(error.into()),
            _connected_or_silent => Err(sqlx::Error::PoolTimedOut.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// Lifts the time limit of a transaction that takes long on purpose.
pub(crate) async fn without_limit(tx: &mut Tx) -> Result<()> {
    if let Tx::Pg(tx) = tx {
        sqlx::query("SET LOCAL statement_timeout = 0").execute(&mut **tx).await?;
    }
    Ok(())
}
