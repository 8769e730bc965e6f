//! The journal of evaluations, on SQLite: what nearly every commit of a storm changes (keys that stay in their phase, what
//! they counted, the frames it came in) is appended as one row, and folded into `tracks`, `matches` and `frames` for many
//! commits at once. Written there by each commit, it took four times as long.
//!
//! The server alone appends, and everything that reads or changes keys folds first, in its own transaction: the tables are
//! behind only for who reads them without asking (`Store::fold_journal`), by a second at most and never in what is open,
//! for a key that moves is not appended. A crash leaves rows that the next process folds.
//!
//! The newest row's id counts evaluations, and folds. Each one, of any process, counts it up, so that the server
//! sees in passing, or when it folds, that another process has been at the keys it holds in memory.

use std::collections::BTreeMap;

use data_encoding::BASE64;
use dynowatch_domain::Timestamp;
use dynowatch_domain::alert::Track;
use dynowatch_domain::evidence::EVIDENCE_LINES_MAX;
use dynowatch_domain::key::Key;
use dynowatch_domain::window::Counted;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sqlx::{QueryBuilder, Sqlite};

use super::save::lite::{Before, MatchRow, TrackRow, push_matches, push_tracks};
use super::save::{arrived, newest_lines};
use super::{STATEMENT_ROWS_MAX, Saved, TrackChange};
use crate::error::{Result, StoreError};
use crate::frames::Frame;
use crate::packed;
use crate::rows::pieces_of;
use crate::text::{JsonText, json, time};
use crate::writer::LiteTx;

/// Rows that wait to be folded: what a reader or a start may have to wait for.
const ROWS_MAX: u32 = 64;
/// Bytes of them.
const BYTES_MAX: usize = 512 << 10;

/// How the journal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Journal {
    /// The id of its newest row.
    pub(crate) newest: i64,
    /// Rows that are not folded yet.
    pub(crate) rows: u32,
    bytes: usize,
}

impl Journal {
    /// Whether another row may be appended before it is folded.
    pub(super) fn has_room(self) -> bool {
        self.rows < ROWS_MAX && self.bytes < BYTES_MAX
    }
}

/// What one evaluation changed.
#[derive(Serialize, Deserialize)]
struct Body<F, E> {
    frames: F,
    tracks: Vec<E>,
}

/// One key's part of it.
#[derive(Serialize, Deserialize)]
struct Entry<K, T, L> {
    key: K,
    version: i64,
    track: T,
    next_wake_at: Option<Timestamp>,
    arrived_at: Timestamp,
    /// As in `matches.events`, base64.
    events: String,
    lines: L,
}

/// As it is read back: what goes on as text is not taken apart.
type ReadEntry<'a> = Entry<Key, &'a RawValue, Vec<&'a RawValue>>;

/// Whether these changes can wait in the journal: keys that stay in their phase and forget nothing.
pub(super) fn takes(tracks: &[TrackChange]) -> bool {
    tracks.iter().all(|change| !change.moved && change.consumed_before.is_none())
}

/// Appends what an evaluation changed, provided that nobody else has evaluated anything since `journal`.
pub(super) async fn append(
    mut lite: LiteTx,
    journal: Journal,
    now: Timestamp,
    frames: &[Frame],
    tracks: &[TrackChange],
) -> Result<Saved> {
    let entries = tracks.iter().map(|change| Entry {
        key: &change.key,
        version: change.version,
        track: &change.track,
        next_wake_at: change.next_wake_at,
        arrived_at: arrived(change, now),
        events: BASE64.encode(&packed::pack(&change.events)),
        lines: newest_lines(change),
    });
    let body = json(&Body { frames, tracks: entries.collect() })?;
    let next =
        Journal { newest: journal.newest + 1, rows: journal.rows + 1, bytes: journal.bytes + body.as_str().len() };
    // No time, which the column refuses, if another evaluation was the last. With the lock from the start, and committed
    // apart: sqlx breaks a string off when nobody waits for it any more, and a row that came later would not be expected.
    let append = "BEGIN IMMEDIATE; INSERT INTO evaluations (id, at, body) \
                  SELECT $1, (SELECT $2 WHERE (SELECT MAX(id) FROM evaluations) = $1 - 1), $3; COMMIT";
    match sqlx::query(append).bind(next.newest).bind(now.as_micros()).bind(body).execute(&mut lite.conn).await {
        Ok(_done) => {
            lite.take(frames, now);
            lite.set_journal(next);
            lite.keep();
            Ok(Saved::Yes)
        }
        Err(error) => {
            let error = StoreError::from(error);
            if !error.is_constraint() {
                return Err(error);
            }
            lite.forget();
            lite.rollback().await?;
            Ok(Saved::OthersWrote)
        }
    }
}

/// Counts an evaluation that wrote to the tables, in the transaction of it: a statement for the string of its others, and
/// what is so afterwards.
pub(super) fn count(tx: &mut LiteTx) -> &'static str {
    if let Some(journal) = tx.journal() {
        tx.set_journal(Journal { newest: journal.newest + 1, ..journal });
    }
    "UPDATE evaluations SET id = id + 1; "
}

/// Brings the tables up to what the journal says, in a transaction that has begun.
pub(crate) async fn fold(tx: &mut LiteTx) -> Result<()> {
    if tx.journal().is_some_and(|journal| journal.rows == 0) {
        return Ok(());
    }
    // Boxed: it is rare, and a future is as large as the largest thing it may await.
    Box::pin(fold_rows(tx)).await
}

/// The same whatever is known of it.
pub(crate) async fn fold_rows(tx: &mut LiteTx) -> Result<()> {
    let rows: Vec<(i64, i64, Option<String>)> =
        sqlx::query_as("SELECT id, at, body FROM evaluations ORDER BY id").fetch_all(&mut tx.conn).await?;
    let newest = rows.last().map(|(id, ..)| *id).ok_or_else(|| StoreError::corrupt("evaluations: its last row"))?;
    if tx.journal().is_some_and(|known| known.newest != newest) {
        // From here on memory agrees with the table, and no append would notice.
        tx.saw_others_write();
    }
    let mut folded = Folded::default();
    for (id, at, body) in &rows {
        if let Some(body) = body {
            folded.add(time(*at), body).ok_or_else(|| StoreError::corrupt(format!("evaluation {id}")))?;
        }
    }
    let mut next = Journal { newest, rows: 0, bytes: 0 };
    if rows.iter().any(|(.., body)| body.is_some()) {
        folded.save(tx).await?;
        next.newest += 1;
        sqlx::query("DELETE FROM evaluations WHERE id < $1").bind(newest).execute(&mut tx.conn).await?;
        sqlx::query("UPDATE evaluations SET id = id + 1, body = NULL").execute(&mut tx.conn).await?;
    }
    tx.set_journal(next);
    Ok(())
}

/// What several evaluations changed, by key.
#[derive(Default)]
struct Folded<'a> {
    frames: Vec<(Frame, i64)>,
    keys: BTreeMap<Key, FoldedKey<'a>>,
}

struct FoldedKey<'a> {
    version: i64,
    track: &'a RawValue,
    next_wake_at: Option<Timestamp>,
    changed_at: Timestamp,
    /// What it counted, in the order of arrival.
    matches: Vec<FoldedMatches<'a>>,
}

struct FoldedMatches<'a> {
    arrived_at: Timestamp,
    events: Vec<Counted>,
    lines: Vec<&'a RawValue>,
}

impl<'a> Folded<'a> {
    /// Adds one evaluation; `None` if it cannot be read.
    fn add(&mut self, at: Timestamp, body: &'a str) -> Option<()> {
        let body: Body<Vec<Frame>, ReadEntry<'a>> = serde_json::from_str(body).ok()?;
        self.frames.extend(body.frames.into_iter().map(|frame| (frame, at.as_micros())));
        for Entry { key, version, track, next_wake_at, arrived_at, events, lines } in body.tracks {
            let events = packed::unpack(&BASE64.decode(events.as_bytes()).ok()?)?;
            let known = self.keys.entry(key).or_insert_with(|| FoldedKey {
                version,
                track,
                next_wake_at,
                changed_at: at,
                matches: Vec::new(),
            });
            (known.version, known.track, known.next_wake_at, known.changed_at) = (version, track, next_wake_at, at);
            match known.matches.last_mut() {
                // As many lines as one evaluation may have: who reads rows counts on it.
                Some(last) if last.lines.len() + lines.len() <= EVIDENCE_LINES_MAX => {
                    last.arrived_at = last.arrived_at.max(arrived_at);
                    last.events.extend(events);
                    last.lines.extend(lines);
                }
                _ if events.is_empty() && lines.is_empty() => {}
                _ => known.matches.push(FoldedMatches { arrived_at, events, lines }),
            }
        }
        Some(())
    }

    async fn save(&self, tx: &mut LiteTx) -> Result<()> {
        for piece in pieces_of(&self.frames, &[256, 64, 16]) {
            let mut query = QueryBuilder::<Sqlite>::new("INSERT INTO frames (app_id, frame_id, seen_at) ");
            query.push_values(piece, |mut row, ((app, frame), at)| {
                row.push_bind(*app).push_bind(frame.as_str()).push_bind(*at);
            });
            query.build().execute(&mut tx.conn).await?;
        }
        let mut match_id: i64 =
            sqlx::query_scalar("SELECT COALESCE(MAX(id), 0) FROM matches").fetch_one(&mut tx.conn).await?;
        let (mut matches, mut tracks) = (Vec::new(), Vec::with_capacity(self.keys.len()));
        for (key, folded) in &self.keys {
            let mut last_match_id = None;
            for FoldedMatches { arrived_at, events, lines } in &folded.matches {
                match_id += 1;
                matches.push(MatchRow {
                    id: match_id,
                    key,
                    arrived_at: *arrived_at,
                    events: packed::pack(events),
                    count: events.len(),
                    lines: JsonText::array(lines),
                    previous_id: last_match_id,
                });
                last_match_id = Some(match_id);
            }
            let track: Track = serde_json::from_str(folded.track.get())
                .map_err(|error| StoreError::corrupt(format!("the track of an evaluation: {error}")))?;
            let track = (&track, JsonText::raw(folded.track));
            let (wake_at, changed_at) = (folded.next_wake_at, folded.changed_at);
            tracks.push(TrackRow::new(key, folded.version, track, wake_at, changed_at, last_match_id));
        }
        tx.saw_match(match_id);
        for piece in matches.chunks(STATEMENT_ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new("");
            push_matches(&mut query, piece);
            query.build().execute(&mut tx.conn).await?;
        }
        for piece in tracks.chunks(STATEMENT_ROWS_MAX) {
            let mut query = QueryBuilder::<Sqlite>::new("");
            push_tracks(&mut query, piece, Before::Loaded);
            query.build().execute(&mut tx.conn).await?;
        }
        Ok(())
    }
}
