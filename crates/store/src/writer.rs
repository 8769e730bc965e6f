//! The one connection that writes to a SQLite file. Held apart from the pools, because a pool crosses to the connection's
//! thread on every return, and so that `BEGIN` and `COMMIT` may travel in one string with other statements.
//!
//! The connection goes back to its place only when it is known to be outside of a transaction. Whoever gives up half-way
//! (an error, a panic, a dropped future, SQLite rolling back by itself) drops it: closing a connection rolls back, and
//! the next writer opens another.

use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;

use dynowatch_domain::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::db::ACQUIRE_MAX;
use crate::error::Result;
use crate::frames::{Frame, Frames};

/// The place of the writing connection.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    options: Box<SqliteConnectOptions>,
    place: Arc<Mutex<Place>>,
    /// The greatest id of a match as far as this process knows; 0 before it has looked.
    newest_match: Arc<AtomicI64>,
}

#[derive(Debug)]
enum Place {
    /// With the frames, once somebody has asked for them.
    Ready(SqliteConnection, Option<Box<Frames>>),
    /// In use, or given up by its last user.
    Empty,
    Closed,
}

/// The connection while somebody writes; in a transaction where [`Writer::begin`] made it.
pub(crate) struct LiteTx {
    // Closed before the place is free for another.
    pub(crate) conn: SqliteConnection,
    frames: Option<Box<Frames>>,
    /// Frames that are known once this is committed.
    taken: Vec<(u64, Timestamp)>,
    place: OwnedMutexGuard<Place>,
}

impl Writer {
    pub(crate) async fn open(options: SqliteConnectOptions) -> sqlx::Result<Self> {
        let conn = options.connect().await?;
        Ok(Self {
            options: Box::new(options),
            place: Arc::new(Mutex::new(Place::Ready(conn, None))),
            newest_match: Arc::default(),
        })
    }

    /// Waits for the connection, and takes it as it is: outside of a transaction.
    pub(crate) async fn hold(&self) -> sqlx::Result<LiteTx> {
        let mut place = match Arc::clone(&self.place).try_lock_owned() {
            Ok(place) => place,
            Err(_taken) => timeout(ACQUIRE_MAX, Arc::clone(&self.place).lock_owned())
                .await
                .map_err(|_elapsed| sqlx::Error::PoolTimedOut)?,
        };
        let (conn, frames) = match std::mem::replace(&mut *place, Place::Empty) {
            Place::Ready(conn, frames) => (conn, frames),
            Place::Empty => (self.options.connect().await?, None),
            Place::Closed => {
                *place = Place::Closed;
                return Err(sqlx::Error::PoolClosed);
            }
        };
        Ok(LiteTx { conn, frames, taken: Vec::new(), place })
    }

    /// The greatest id of a match that this process has seen, in a transaction that may have come to nothing.
    pub(crate) fn newest_match(&self) -> i64 {
        self.newest_match.load(Relaxed)
    }

    /// Notes the greatest id of a match. Ids only grow.
    pub(crate) fn saw_match(&self, id: i64) {
        self.newest_match.fetch_max(id, Relaxed);
    }

    /// Begins a transaction that has the write lock from its start: one taken later fails without waiting when another
    /// writer was faster.
    pub(crate) async fn begin(&self) -> sqlx::Result<LiteTx> {
        let mut tx = self.hold().await?;
        tx.begin().await?;
        Ok(tx)
    }

    /// Closes the connection, after what is under way.
    pub(crate) async fn close(&self) {
        let mut place = self.place.lock().await;
        if let Place::Ready(conn, _) = std::mem::replace(&mut *place, Place::Closed) {
            let _closed = conn.close().await;
        }
    }
}

impl LiteTx {
    /// Begins what [`Writer::begin`] begins.
    pub(crate) async fn begin(&mut self) -> sqlx::Result<()> {
        sqlx::query("BEGIN IMMEDIATE").execute(&mut self.conn).await.map(|_done| ())
    }

    /// Puts the connection back. Only for one that is outside of a transaction; what it took is committed.
    pub(crate) fn keep(self) {
        let Self { conn, mut frames, taken, mut place } = self;
        if let Some(frames) = &mut frames {
            taken.into_iter().for_each(|(hash, at)| frames.insert(hash, at));
        }
        *place = Place::Ready(conn, frames);
    }

    /// The frames that are known, without those of this transaction. To be asked for before it begins.
    pub(crate) async fn frames(&mut self) -> Result<&mut Frames> {
        let frames = match self.frames.take() {
            Some(frames) => frames,
            None => {
                // With the write lock: a transaction that was given up half-way may still be committing.
                self.begin().await?;
                let frames = Frames::load(&mut self.conn).await?;
                let _done = sqlx::query("COMMIT").execute(&mut self.conn).await?;
                Box::new(frames)
            }
        };
        Ok(self.frames.insert(frames))
    }

    /// Takes frames, whose rows the caller inserts: they are known once this is committed.
    pub(crate) fn take(&mut self, frames: &[Frame], now: Timestamp) {
        if let Some(known) = &self.frames {
            self.taken.extend(frames.iter().map(|frame| (known.hash(frame), now)));
        }
    }

    /// Forgets frames, whose rows the caller deletes. Right also when the transaction comes to nothing: what is forgotten
    /// too early is as new.
    pub(crate) fn forget(&mut self, frame: &Frame) {
        if let Some(known) = &mut self.frames {
            known.remove(frame);
        }
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        let _done = sqlx::query("COMMIT").execute(&mut self.conn).await?;
        self.keep();
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        let _done = sqlx::query("ROLLBACK").execute(&mut self.conn).await?;
        self.taken.clear();
        self.keep();
        Ok(())
    }
}
