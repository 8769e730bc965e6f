//! What can go wrong in the store, in words that callers act on: try again, say that the disk is full, stop.

use std::time::Duration;

use sqlx::error::ErrorKind;

/// An error of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached, is locked by someone else or did not answer in time. Nothing was changed, or the
    /// answer to a commit was lost; trying again is right.
    #[error("the store is away: {0}")]
    Unavailable(String),
    /// The disk or the database has no room left. Postgres plans that take away the right to write when they are over
    /// their size are meant, too.
    #[error("the store is full: {0}")]
    Full(String),
    /// A newer dynowatch has written this store.
    #[error("the store has schema {found}, this dynowatch knows {known}: install the newer version again")]
    NewerSchema {
        /// The schema version found.
        found: i64,
        /// The newest version this binary knows.
        known: i64,
    },
    /// There is no such row.
    #[error("{0} not found")]
    NotFound(String),
    /// The change is at odds with what is stored, such as a name that is taken.
    #[error("{0}")]
    Conflict(String),
    /// A row, a file or a backup does not hold what it must.
    #[error("the store holds something unreadable: {what}")]
    Corrupt {
        /// Where, and what is wrong.
        what: String,
    },
    /// A file beside the database could not be used.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// Why. It stands in the text already, so it is no source of its own: chains would say it twice.
        reason: std::io::Error,
    },
    /// Any other error of the database: a fault in dynowatch.
    #[error("the store failed: {0}")]
    Sql(sqlx::Error),
}

impl StoreError {
    /// Whether trying the same again may work without anyone mending anything.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }

    /// Whether a row broke a rule of its table, save the one that what it refers to must be there.
    pub(crate) fn is_constraint(&self) -> bool {
        let Self::Sql(sqlx::Error::Database(error)) = self else { return false };
        matches!(error.kind(), ErrorKind::UniqueViolation | ErrorKind::NotNullViolation)
    }

    pub(crate) fn too_slow(limit: Duration) -> Self {
        Self::Unavailable(format!("no answer within {} ms", limit.as_millis()))
    }

    pub(crate) fn corrupt(what: impl Into<String>) -> Self {
        Self::Corrupt { what: what.into() }
    }

    pub(crate) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        if source.kind() == std::io::ErrorKind::StorageFull {
            return Self::Full(format!("{}: {source}", path.display()));
        }
        Self::File { path: path.display().to_string(), reason: source }
    }
}

/// The result of everything here.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        use sqlx::Error as E;
        let text = error.to_string();
        match &error {
            E::Database(database) if database.is_foreign_key_violation() => {
                // The database's words name tables; whoever asked is told that it is not there.
                tracing::debug!(error = text, "a new row refers to nothing");
                Self::NotFound("what this refers to".to_owned())
            }
            E::Database(database) => match class(database.as_ref()) {
                Class::Away => Self::Unavailable(text),
                Class::Full => Self::Full(text),
                Class::Corrupt => Self::corrupt(text),
                Class::Fault => Self::Sql(error),
            },
            E::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::Full(text),
            E::Io(_) | E::Tls(_) | E::Protocol(_) | E::PoolTimedOut | E::PoolClosed | E::WorkerCrashed => {
                Self::Unavailable(text)
            }
            E::ColumnDecode { .. } | E::Decode(_) => Self::corrupt(text),
            _ => Self::Sql(error),
        }
    }
}

enum Class {
    Away,
    Full,
    Corrupt,
    Fault,
}

/// SQLite answers with a number (its low byte is the class), Postgres with five characters.
fn class(error: &dyn sqlx::error::DatabaseError) -> Class {
    let code = error.code().unwrap_or_default();
    if error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>().is_some() {
        return match code.as_ref() {
            // disk_full; read-only by the plan's size limit: Heroku revokes INSERT.
            "53100" | "42501" => Class::Full,
            // Serialisation, deadlock, lock timeout; a standby; the whole classes of connections, resources, operators.
            "40001" | "40P01" | "55P03" | "25006" | "3D000" => Class::Away,
            other if ["08", "53", "57", "58"].iter().any(|class| other.starts_with(class)) => Class::Away,
            other if other.starts_with("XX") => Class::Corrupt,
            _ => Class::Fault,
        };
    }
    match code.parse::<i32>().unwrap_or(0) & 0xff {
        // BUSY, LOCKED, IOERR, CANTOPEN, PROTOCOL
        5 | 6 | 10 | 14 | 15 => Class::Away,
        13 => Class::Full,
        11 | 26 => Class::Corrupt,
        _ => Class::Fault,
    }
}
