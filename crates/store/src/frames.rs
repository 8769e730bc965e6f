//! Which batches had an effect, on SQLite: their rows in the order of arrival, and a set in memory that says what is
//! known. An index by id would do without the set, but ids are random: it would cost a page of the log for every batch,
//! which was half of what a commit wrote.
//!
//! The set goes with the writing connection ([`crate::writer`]): a transaction whose outcome nobody saw takes both, and
//! the next writer reads the set back from the rows. So one process alone may take frames, which is the server, the only
//! one that opens the file for good. On Postgres a unique index does this work for any number of processes.

use std::collections::HashSet;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use futures_util::TryStreamExt;
use sqlx::SqliteConnection;
use uuid::Uuid;

use crate::error::Result;
use crate::housekeeping::FRAMES_KEPT;

/// An app and the id of one of its batches.
pub(crate) type Frame = (Uuid, String);

/// A generation lasts so long, and is known for as long again: contract C3 asks for an hour.
const GENERATION: Duration = Duration::from_secs(FRAMES_KEPT.as_secs() / 2);
/// Frames of one generation. More than 63 batches a second with an effect, all through an hour, begin the next one early:
/// of such a flood the newest of this many are known. Takes 2.4 MB, and fills a table of 2^18 places to its limit.
const GENERATION_MAX: usize = (1 << 18) / 8 * 7;

/// The frames of the last hours, as hashes under a key that is drawn at start: a sender cannot aim for a collision.
#[derive(Debug)]
pub(crate) struct Frames {
    hasher: RandomState,
    newer: HashSet<u64>,
    older: HashSet<u64>,
    /// When the newer generation began.
    begun_at: Timestamp,
    generation_max: usize,
}

impl Frames {
    fn new(begun_at: Timestamp, generation_max: usize) -> Self {
        Self { hasher: RandomState::new(), newer: HashSet::new(), older: HashSet::new(), begun_at, generation_max }
    }

    /// Reads back what is known: the newest, by the time of the very newest.
    pub(crate) async fn load(conn: &mut SqliteConnection) -> Result<Self> {
        let mut frames = Self::new(Timestamp::UNIX_EPOCH, GENERATION_MAX);
        let newest = "SELECT app_id, frame_id, seen_at FROM frames ORDER BY rowid DESC LIMIT $1";
        let limit = i64::try_from(2 * GENERATION_MAX).unwrap_or(i64::MAX);
        let mut rows = sqlx::query_as(newest).bind(limit).fetch(conn);
        let mut newest_at = None;
        while let Some((app, frame, seen_at)) = rows.try_next().await? {
            let seen_at = Timestamp::from_micros(seen_at);
            let age = newest_at.get_or_insert(seen_at).since(seen_at);
            if age >= FRAMES_KEPT {
                break;
            }
            let hash = frames.hash(&(app, frame));
            if age < GENERATION && frames.newer.len() < frames.generation_max {
                frames.newer.insert(hash);
                frames.begun_at = seen_at;
            } else {
                frames.older.insert(hash);
            }
        }
        Ok(frames)
    }

    /// Whether a batch was counted before.
    pub(crate) fn contains(&self, frame: &Frame) -> bool {
        let hash = self.hash(frame);
        self.newer.contains(&hash) || self.older.contains(&hash)
    }

    /// What stands for a frame here.
    pub(crate) fn hash(&self, (app, id): &Frame) -> u64 {
        self.hasher.hash_one((app.as_bytes(), id.as_str()))
    }

    /// Knows a frame that was committed at `now`.
    pub(crate) fn insert(&mut self, hash: u64, now: Timestamp) {
        let age = now.since(self.begun_at);
        if age >= GENERATION || self.newer.len() >= self.generation_max {
            self.older = std::mem::take(&mut self.newer);
            if age >= 2 * GENERATION {
                self.older = HashSet::new();
            }
            self.begun_at = now;
        }
        self.newer.insert(hash);
    }

    /// Knows it no longer.
    pub(crate) fn remove(&mut self, frame: &Frame) {
        let hash = self.hash(frame);
        self.newer.remove(&hash);
        self.older.remove(&hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(minutes: u64) -> Timestamp {
        Timestamp::from_micros(1_770_000_000_000_000) + Duration::from_secs(60 * minutes)
    }

    fn frame(n: usize) -> Frame {
        (Uuid::from_u128(1), format!("f{n}"))
    }

    fn insert(frames: &mut Frames, n: usize, at: Timestamp) {
        frames.insert(frames.hash(&frame(n)), at);
    }

    #[test]
    fn known_for_an_hour_at_least_and_two_at_most() {
        let mut frames = Frames::new(t(0), 1_000);
        for (n, minute) in [0, 59, 60, 119, 120].into_iter().enumerate() {
            insert(&mut frames, n, t(minute));
        }
        let known = |frames: &Frames| (0..6).filter(|n| frames.contains(&frame(*n))).collect::<Vec<_>>();
        assert_eq!(known(&frames), [2, 3, 4]);
        // Nothing for a while: what was is gone with the next.
        insert(&mut frames, 5, t(300));
        assert_eq!(known(&frames), [5]);
        assert!(!frames.contains(&(Uuid::from_u128(2), "f5".to_owned())), "another app's");
        frames.remove(&frame(5));
        assert_eq!(known(&frames), [0; 0]);
    }

    #[test]
    fn a_flood_is_bounded_and_its_newest_are_known() {
        let mut frames = Frames::new(t(0), 100);
        for n in 0..1_050 {
            insert(&mut frames, n, t(1));
            assert!(frames.newer.len() + frames.older.len() <= 200);
        }
        let known: Vec<usize> = (0..1_050).filter(|n| frames.contains(&frame(*n))).collect();
        assert_eq!(known, (900..1_050).collect::<Vec<_>>());
    }
}
