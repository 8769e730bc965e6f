//! Opening and closing a store: which engine, migrations, the lock that keeps two servers off one SQLite file.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use sqlx::sqlite::SqliteSynchronous;

use crate::db::{Db, Engine, Location, Tx, open_postgres, open_sqlite, read, sqlite_options};
use crate::error::{Result, StoreError};
use crate::levels::Room;
use crate::schema::{self, Set};

/// How often a SQLite file that is locked is tried again, and how long to wait in between.
const OPEN_TRIES: u32 = 20;
const OPEN_PAUSE: Duration = Duration::from_millis(50);

/// Where the store is and how much it may take.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// `sqlite://FILE` or `postgres://…`. A Postgres URL without `sslmode` is taken as "encrypted, not verified" (the
    /// only thing that works with Heroku's certificates), and as "encrypted if possible" on this very machine.
    pub url: String,
    /// The most that metrics may take, in bytes. At the limit they stop; state goes on.
    pub metrics_bytes_max: u64,
    /// Metrics stop when the disk has less room than this, in bytes, so that alerts can still be written (SQLite only).
    pub disk_reserve_bytes: u64,
    /// Whether this is the server: on SQLite there may be one only. Commands open the file beside it.
    pub exclusive: bool,
}

impl StoreOptions {
    /// At most 512 MiB of metrics, 64 MiB kept free, not exclusive.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), metrics_bytes_max: 512 << 20, disk_reserve_bytes: 64 << 20, exclusive: false }
    }
}

/// A handle to the store; cloning it is cheap.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) state: Db,
    pub(crate) metrics: Db,
    pub(crate) room: Arc<Room>,
    pub(crate) files: Option<Arc<Files>>,
    /// Up to which row housekeeping has taken the lines of matches.
    pub(crate) lines_swept: Arc<AtomicI64>,
}

/// The files of a SQLite store, and the lock that is held as long as any handle lives.
#[derive(Debug)]
pub(crate) struct Files {
    pub(crate) state: PathBuf,
    pub(crate) metrics: PathBuf,
    _lock: Option<File>,
}

impl Store {
    /// Opens the store, creating and migrating it as needed.
    ///
    /// # Errors
    /// [`StoreError::NewerSchema`] when a newer dynowatch wrote it, [`StoreError::Conflict`] for a URL that is none and
    /// for a SQLite file that another server has open, [`StoreError::Unavailable`] when it cannot be reached.
    pub async fn open(options: &StoreOptions) -> Result<Self> {
        match Location::parse(&options.url)? {
            Location::Sqlite { state, metrics } => Self::open_files(options, state, metrics).await,
            Location::Postgres(pg) => {
                let db = open_postgres(*pg).await?;
                schema::migrate(&db, Set::Postgres).await?;
                let room = Room::new(options.metrics_bytes_max, None);
                Ok(Self {
                    state: db.clone(),
                    metrics: db,
                    room: Arc::new(room),
                    files: None,
                    lines_swept: Arc::default(),
                })
            }
        }
    }

    async fn open_files(options: &StoreOptions, state: PathBuf, metrics: PathBuf) -> Result<Self> {
        let folder = state.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let folder = folder.canonicalize().map_err(|error| StoreError::file(folder, error))?;
        let lock = if options.exclusive { Some(lock(&state)?) } else { None };
        let mut tries = 1;
        let (state_db, metrics_db) = loop {
            match open_both(&state, &metrics, options.exclusive).await {
                // The first to open a new file changes its mode, and then nobody else gets in, nor waits.
                Err(error) if error.is_retryable() && tries < OPEN_TRIES => tries += 1,
                done => break done?,
            }
            tokio::time::sleep(OPEN_PAUSE).await;
        };
        if let (true, Db::Lite { w, .. }) = (options.exclusive, &state_db) {
            // The server will ask for them at its first commit, which has less time.
            let mut held = w.hold().await?;
            held.frames().await?;
            // Nobody holds keys in memory yet.
            let _nobody_to_tell = held.tell_others_wrote();
            held.keep();
        }
        let room = Room::new(options.metrics_bytes_max, Some((folder, options.disk_reserve_bytes)));
        let files = Some(Arc::new(Files { state, metrics, _lock: lock }));
        Ok(Self { state: state_db, metrics: metrics_db, room: Arc::new(room), files, lines_swept: Arc::default() })
    }

    /// Which engine it rests on.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.state.engine()
    }

    /// Asks the database for an answer, any answer.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn ping(&self) -> Result<()> {
        let _one: i64 = read!(&self.state, |pool| sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(pool))?;
        Ok(())
    }

    /// The schema version of the state tables.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn schema_version(&self) -> Result<i64> {
        schema::version(&self.state).await
    }

    /// Closes every connection, after what is under way. SQLite folds its log into the file.
    pub async fn close(&self) {
        if let Err(error) = self.fold_journal().await {
            tracing::warn!(%error, "the journal of evaluations is left for the next start");
        }
        self.metrics.close().await;
        self.state.close().await;
    }

    pub(crate) async fn begin(&self) -> Result<Tx> {
        self.state.begin().await
    }
}

/// Opens and migrates the two files of a SQLite store.
async fn open_both(state: &Path, metrics: &Path, exclusive: bool) -> Result<(Db, Db)> {
    // Log lines lie in them as they came, with whatever secrets are in those. What SQLite puts beside a file has its mode.
    make_private(state)?;
    make_private(metrics)?;
    let state = open_sqlite(sqlite_options(state, SqliteSynchronous::Full), 2, exclusive).await?;
    schema::migrate(&state, Set::SqliteState).await?;
    let metrics = open_sqlite(sqlite_options(metrics, SqliteSynchronous::Normal), 2, exclusive).await?;
    schema::migrate(&metrics, Set::SqliteMetrics).await?;
    Ok((state, metrics))
}

/// Makes the file, empty and for its owner alone, unless it is there.
fn make_private(path: &Path) -> Result<()> {
    match File::options().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(StoreError::file(path, error)),
        _made_or_there => Ok(()),
    }
}

/// Takes the server's lock on a SQLite file: a file beside it, so that SQLite's own locks stay out of it. The system
/// releases it when the process ends, however it ends.
fn lock(state: &Path) -> Result<File> {
    let mut name = state.as_os_str().to_owned();
    name.push(".lock");
    let path = PathBuf::from(name);
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .map_err(|error| StoreError::file(&path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Conflict(format!(
            "another dynowatch server has {} open; SQLite takes one server, Postgres any number",
            state.display()
        ))),
        Err(TryLockError::Error(error)) => Err(StoreError::file(&path, error)),
    }
}
