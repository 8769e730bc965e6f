//! The one connection that writes to a SQLite file. Held apart from the pools, because a pool crosses to the connection's
//! thread on every return, and so that `BEGIN` and `COMMIT` may travel in one string with other statements.
//!
//! The connection goes back to its place only when it is known to be outside of a transaction. Whoever gives up half-way
//! (an error, a panic, a dropped future, SQLite rolling back by itself) drops it: closing a connection rolls back, and
//! the next writer opens another.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicI64};

use dynowatch_domain::Timestamp;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, OwnedMutexGuard};
use tokio::time::timeout;

use crate::db::ACQUIRE_MAX;
use crate::error::Result;
use crate::evaluate::journal::{self, Journal};
use crate::frames::{Frame, Frames};

/// The place of the writing connection.
#[derive(Clone, Debug)]
pub(crate) struct Writer {
    options: Box<SqliteConnectOptions>,
    place: Arc<Mutex<Place>>,
    seen: Arc<Seen>,
}

/// What this process has seen, whatever became of the connection it saw it by.
#[derive(Debug)]
struct Seen {
    /// The greatest id of a match; 0 before it has looked.
    newest_match: AtomicI64,
    /// Whether this is the server: what it alone may write, it need not read back.
    exclusive: bool,
    /// Whether the journal may hold something that the tables do not say.
    unfolded: AtomicBool,
    /// Whether keys may have changed that this process holds in memory, and nobody has told those who hold them.
    others_wrote: AtomicBool,
}

#[derive(Debug)]
enum Place {
    Ready(SqliteConnection, Memory),
    /// In use, or given up by its last user.
    Empty,
    Closed,
}

/// What is known of the file without looking, as long as every transaction's end was seen.
#[derive(Debug, Default)]
struct Memory {
    /// Once somebody has asked for them.
    frames: Option<Box<Frames>>,
    /// Only in the server: others may find what it has appended meanwhile.
    journal: Option<Journal>,
}

/// The connection while somebody writes; in a transaction where [`Writer::begin`] made it.
pub(crate) struct LiteTx {
    // Closed before the place is free for another.
    pub(crate) conn: SqliteConnection,
    memory: Memory,
    /// Frames that are known once this is committed.
    taken: Vec<(u64, Timestamp)>,
    /// How the journal stands once this is committed.
    next_journal: Option<Journal>,
    seen: Arc<Seen>,
    place: OwnedMutexGuard<Place>,
}

impl Writer {
    pub(crate) async fn open(options: SqliteConnectOptions, exclusive: bool) -> sqlx::Result<Self> {
        let conn = options.connect().await?;
        Ok(Self {
            options: Box::new(options),
            place: Arc::new(Mutex::new(Place::Ready(conn, Memory::default()))),
            seen: Arc::new(Seen {
                newest_match: AtomicI64::new(0),
                exclusive,
                unfolded: AtomicBool::new(true),
                others_wrote: AtomicBool::new(false),
            }),
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
        let (conn, memory) = match std::mem::replace(&mut *place, Place::Empty) {
            Place::Ready(conn, memory) => (conn, memory),
            Place::Empty => {
                // Nobody saw how the last transaction ended, nor what others did since.
                self.seen.others_wrote.store(true, Relaxed);
                (self.options.connect().await?, Memory::default())
            }
            Place::Closed => {
                *place = Place::Closed;
                return Err(sqlx::Error::PoolClosed);
            }
        };
        // Until it is back, and known to be otherwise.
        self.seen.unfolded.store(true, Relaxed);
        Ok(LiteTx { conn, memory, taken: Vec::new(), next_journal: None, seen: Arc::clone(&self.seen), place })
    }

    /// Whether the journal may hold something that the tables do not say. Other processes never know.
    pub(crate) fn may_be_unfolded(&self) -> bool {
        !self.seen.exclusive || self.seen.unfolded.load(Relaxed)
    }

    /// The greatest id of a match that this process has seen, in a transaction that may have come to nothing.
    pub(crate) fn newest_match(&self) -> i64 {
        self.seen.newest_match.load(Relaxed)
    }

    /// Notes the greatest id of a match. Ids only grow.
    pub(crate) fn saw_match(&self, id: i64) {
        self.seen.newest_match.fetch_max(id, Relaxed);
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
        let Self { conn, mut memory, taken, next_journal, seen, mut place } = self;
        if let Some(frames) = &mut memory.frames {
            taken.into_iter().for_each(|(hash, at)| frames.insert(hash, at));
        }
        memory.journal = next_journal.or(memory.journal).filter(|_| seen.exclusive);
        seen.unfolded.store(memory.journal.is_none_or(|journal| journal.rows > 0), Relaxed);
        *place = Place::Ready(conn, memory);
    }

    /// How the journal stands; `None` where it must be looked at.
    pub(crate) fn journal(&self) -> Option<Journal> {
        self.next_journal.or(self.memory.journal)
    }

    /// Notes how it stands once this is committed.
    pub(crate) fn set_journal(&mut self, journal: Journal) {
        self.next_journal = Some(journal);
    }

    /// Notes that others have changed keys since this process looked.
    pub(crate) fn saw_others_write(&self) {
        self.seen.others_wrote.store(true, Relaxed);
    }

    /// Whether others have, or may have; told once, to the one who then forgets the keys.
    pub(crate) fn tell_others_wrote(&self) -> bool {
        self.seen.others_wrote.swap(false, Relaxed)
    }

    /// Forgets all that is known without looking: somebody else has written. To be told to those who hold keys.
    pub(crate) fn forget(&mut self) {
        self.memory = Memory::default();
    }

    /// Notes the greatest id of a match, as [`Writer::saw_match`].
    pub(crate) fn saw_match(&self, id: i64) {
        self.seen.newest_match.fetch_max(id, Relaxed);
    }

    /// The frames that are known, without those of this transaction. To be asked for before it begins.
    pub(crate) async fn frames(&mut self) -> Result<&mut Frames> {
        let frames = match self.memory.frames.take() {
            Some(frames) => frames,
            None => {
                // With the write lock: a transaction that was given up half-way may still be committing.
                self.begin().await?;
                // Whatever is known of the journal: the frames in it must not be missed.
                journal::fold_rows(self).await?;
                let frames = Frames::load(&mut self.conn).await?;
                let _done = sqlx::query("COMMIT").execute(&mut self.conn).await?;
                self.committed();
                Box::new(frames)
            }
        };
        Ok(self.memory.frames.insert(frames))
    }

    /// Takes frames, whose rows the caller writes: they are known once this is committed.
    pub(crate) fn take(&mut self, frames: &[Frame], now: Timestamp) {
        if let Some(known) = &self.memory.frames {
            self.taken.extend(frames.iter().map(|frame| (known.hash(frame), now)));
        }
    }

    /// Forgets frames, whose rows the caller deletes. Right also when the transaction comes to nothing: what is forgotten
    /// too early is as new.
    pub(crate) fn forget_frame(&mut self, frame: &Frame) {
        if let Some(known) = &mut self.memory.frames {
            known.remove(frame);
        }
    }

    /// Takes note that a transaction has ended well, when another one follows.
    fn committed(&mut self) {
        self.memory.journal = self.next_journal.take().or(self.memory.journal).filter(|_| self.seen.exclusive);
    }

    pub(crate) async fn commit(mut self) -> sqlx::Result<()> {
        let _done = sqlx::query("COMMIT").execute(&mut self.conn).await?;
        self.keep();
        Ok(())
    }

    pub(crate) async fn rollback(mut self) -> sqlx::Result<()> {
        let _done = sqlx::query("ROLLBACK").execute(&mut self.conn).await?;
        self.taken.clear();
        self.next_journal = None;
        self.keep();
        Ok(())
    }
}
