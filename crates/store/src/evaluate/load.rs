//! What an evaluation loads: which frames are new, and the keys whose copies in memory are not current.

use std::collections::{HashMap, HashSet};

use dynowatch_domain::alert::Track;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rule::WINDOW_MAX;
use dynowatch_domain::window::LATE_MAX;
use dynowatch_domain::{AppId, Timestamp};
use sqlx::types::Json;
use sqlx::{Postgres, QueryBuilder, Transaction};
use uuid::Uuid;

use super::{EVENTS_LOADED_MAX, EvaluateRequest, Loaded, LoadedTrack, STATEMENT_ROWS_MAX, journal};
use crate::db::{CALL_MAX, Db, Tx, on, within};
use crate::error::{Result, StoreError};
use crate::frames::Frame;
use crate::open::Store;
use crate::packed;
use crate::rows::{padded, pieces};
use crate::text::{clean, time};

/// The most rows of one key that are loaded, the newest.
const ROWS_LOADED_MAX: i64 = 20_000;
/// Longer frame ids are cut; Logplex's have 25 characters.
const FRAME_ID_BYTES_MAX: usize = 100;

/// Begins the transaction and loads. Returns the greatest id of a match, too, where SQLite told it in passing.
pub(super) async fn begin(db: &Db, request: EvaluateRequest) -> Result<(Tx, Loaded, Option<i64>)> {
    let frames = frames_of(&request);
    let (mut tx, new_frames, found, match_id) = match db {
        Db::Lite { w, .. } => {
            let lite::First { tx, new_frames, found, match_id } = lite::begin(w, &request, &frames).await?;
            (tx, new_frames, found, Some(match_id))
        }
        Db::Pg(pool) => {
            let mut tx = pool.begin().await?;
            lock_apps(&mut tx, &request).await?;
            let new_frames = take_frames(&mut tx, request.now, &frames).await?;
            let found = other_tracks(&mut tx, &request).await?;
            (Tx::Pg(tx), new_frames, found, None)
        }
    };
    let (mut tracks, stale) = merge(request.keys, &request.known, found);
    if !stale.is_empty() {
        load_matches(&mut tx, request.now, &stale, &mut tracks).await?;
    }
    Ok((tx, Loaded { new_frames, tracks }, match_id))
}

/// On Postgres, lets one evaluation per app in at a time. Sorted, so that two never wait for each other.
async fn lock_apps(tx: &mut Transaction<'static, Postgres>, request: &EvaluateRequest) -> Result<()> {
    let mut apps: Vec<Uuid> =
        request.frames.iter().map(|(app, _)| app.0).chain(request.keys.iter().map(|key| key.app.0)).collect();
    apps.sort_unstable();
    apps.dedup();
    if !apps.is_empty() {
        sqlx::query("SELECT id FROM apps WHERE id = ANY($1) ORDER BY id FOR NO KEY UPDATE")
            .bind(apps)
            .execute(&mut **tx)
            .await?;
    }
    Ok(())
}

pub(super) fn frames_of(request: &EvaluateRequest) -> Vec<Frame> {
    request.frames.iter().map(|(app, frame)| (app.0, frame_id(frame))).collect()
}

fn frame_id(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= FRAME_ID_BYTES_MAX)
        .last()
        .unwrap_or(0);
    clean(text.get(..end).unwrap_or(text)).into_owned()
}

impl Store {
    /// Forgets frames before their time: what comes under such an id is new again.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn forget_frames(&self, frames: &[(AppId, String)]) -> Result<()> {
        within(CALL_MAX, async {
            let mut tx = self.begin().await?;
            if let Tx::Lite(tx) = &mut tx {
                journal::fold(tx).await?;
            }
            for (app, frame) in frames {
                let frame = (app.0, frame_id(frame));
                match &mut tx {
                    // From the newest back, where it is: it was seen moments ago.
                    Tx::Lite(tx) => {
                        let forget = "DELETE FROM frames WHERE rowid = (SELECT rowid FROM frames WHERE app_id = $1 AND frame_id = $2 \
                                      ORDER BY rowid DESC LIMIT 1)";
                        let _done = sqlx::query(forget).bind(frame.0).bind(&frame.1).execute(&mut tx.conn).await?;
                        tx.forget_frame(&frame);
                    }
                    Tx::Pg(tx) => {
                        let forget = "DELETE FROM frames WHERE app_id = $1 AND frame_id = $2";
                        let _done = sqlx::query(forget).bind(frame.0).bind(&frame.1).execute(&mut **tx).await?;
                    }
                }
            }
            tx.commit().await
        })
        .await
    }
}

/// On Postgres, remembers the frames and says which were not known. The second of two equal ones in a request is not new.
async fn take_frames(tx: &mut Transaction<'static, Postgres>, now: Timestamp, frames: &[Frame]) -> Result<Vec<bool>> {
    let now = now.as_micros();
    let mut new: HashSet<Frame> = HashSet::new();
    for piece in pieces(frames) {
        let mut query = QueryBuilder::<Postgres>::new("INSERT INTO frames (app_id, frame_id, seen_at) ");
        query.push_values(piece, |mut row, (app, frame)| {
            row.push_bind(*app).push_bind(frame.as_str()).push_bind(now);
        });
        query.push(" ON CONFLICT DO NOTHING RETURNING app_id, frame_id");
        let rows: Vec<Frame> = query.build_query_as().fetch_all(&mut **tx).await?;
        new.extend(rows);
    }
    Ok(frames.iter().map(|frame| new.remove(frame)).collect())
}

/// A key that must be loaded whole: where its chain of matches begins, and what of them is over.
struct Stale {
    key: Key,
    last_match: Option<i64>,
    consumed: Option<(Timestamp, Timestamp)>,
}

/// A key of the request (by its place) that is not as the caller knows it; without a version it is not stored.
type TrackRow = (i64, Option<i64>, Option<Json<Track>>, Option<i64>, Option<i64>, Option<i64>);

/// What a caller knows of a key that it does not know. Versions begin at 1.
const UNKNOWN: i64 = -1;

/// Adds the question for [`TrackRow`]s. LEFT JOIN: SQLite keeps this order and looks each key up.
macro_rules! push_tracks {
    ($query:expr, $request:expr, $places:expr) => {{
        let request = $request;
        $query.push("SELECT v.column4, t.version, t.track, t.last_match_id, t.consumed_stamp, t.consumed_at FROM (");
        $query.push_values($places, |mut row, place: Option<usize>| {
            let key = place.and_then(|place| request.keys.get(place));
            row.push_bind(key.map(|key| key.app.0))
                .push_bind(key.map(|key| key.rule.as_str()))
                .push_bind(key.map(|key| key.group.0.as_str()))
                .push_bind(place.and_then(|place| i64::try_from(place).ok()))
                .push_bind(key.map(|key| request.known.get(key).copied().unwrap_or(UNKNOWN)));
        });
        $query.push(
            ") AS v LEFT JOIN tracks AS t ON t.app_id = v.column1 AND t.rule = v.column2 AND t.grp = v.column3 \
             WHERE t.version IS DISTINCT FROM v.column5",
        );
    }};
}

async fn other_tracks(tx: &mut Transaction<'static, Postgres>, request: &EvaluateRequest) -> Result<Vec<TrackRow>> {
    let mut found = Vec::new();
    let places: Vec<usize> = (0..request.keys.len()).collect();
    for piece in pieces(&places) {
        let mut query = QueryBuilder::<Postgres>::new("");
        push_tracks!(query, request, piece.iter().copied().map(Some));
        let rows: Vec<TrackRow> = query.build_query_as().fetch_all(&mut **tx).await?;
        found.extend(rows);
    }
    Ok(found)
}

/// Versions of all keys that are stored, and the state of those that are not as the caller knows them.
fn merge(keys: Vec<Key>, known: &HashMap<Key, i64>, found: Vec<TrackRow>) -> (HashMap<Key, LoadedTrack>, Vec<Stale>) {
    let mut found: HashMap<i64, TrackRow> = found.into_iter().map(|row| (row.0, row)).collect();
    let mut tracks = HashMap::with_capacity(keys.len());
    let mut stale = Vec::new();
    for (place, key) in (0..).zip(keys) {
        let Some((_, version, track, last_match, stamp, at)) = found.remove(&place) else {
            let version = known.get(&key).copied().unwrap_or(UNKNOWN);
            tracks.insert(key, LoadedTrack { version, ..LoadedTrack::default() });
            continue;
        };
        let (Some(version), Some(Json(track))) = (version, track) else { continue };
        let consumed = stamp.zip(at).map(|(stamp, at)| (time(stamp), time(at)));
        stale.push(Stale { key: key.clone(), last_match, consumed });
        tracks.insert(key, LoadedTrack { version, track: Some(track), ..LoadedTrack::default() });
    }
    (tracks, stale)
}

/// SQLite's way: one string of statements, which crosses to the connection's thread and back once.
pub(super) mod lite {
    use futures_util::TryStreamExt;
    use sqlx::{Either, Executor, FromRow, QueryBuilder, Row, Sqlite};

    use super::super::journal;
    use super::{EvaluateRequest, Frame, HashSet, Result, STATEMENT_ROWS_MAX, TrackRow, Tx, UNKNOWN, padded};
    use crate::writer::Writer;

    /// Adds the frames, the [`padded`] places left out.
    pub(in crate::evaluate) fn push_frames<'a>(
        query: &mut QueryBuilder<Sqlite>,
        now_us: i64,
        piece: impl Iterator<Item = Option<&'a Frame>>,
    ) {
        query.push("INSERT INTO frames (app_id, frame_id, seen_at) SELECT * FROM (");
        query.push_values(piece, |mut row, frame| {
            row.push_bind(frame.map(|frame| frame.0)).push_bind(frame.map(|frame| frame.1.as_str())).push_bind(now_us);
        });
        query.push(") AS v WHERE v.column1 IS NOT NULL");
    }

    pub(super) struct First {
        pub(super) tx: Tx,
        pub(super) new_frames: Vec<bool>,
        pub(super) found: Vec<TrackRow>,
        pub(super) match_id: i64,
    }

    /// Begins, takes the frames that are not known, and asks for the keys.
    pub(super) async fn begin(w: &Writer, request: &EvaluateRequest, frames: &[Frame]) -> Result<First> {
        let mut held = w.hold().await?;
        let mut new_frames = vec![true; frames.len()];
        let mut taken = Vec::with_capacity(frames.len());
        if !frames.is_empty() {
            let known = held.frames().await?;
            let mut seen = HashSet::with_capacity(frames.len());
            new_frames = frames.iter().map(|frame| !known.contains(frame) && seen.insert(frame)).collect();
            taken = frames.iter().zip(&new_frames).filter(|(_, new)| **new).map(|(frame, _)| frame.clone()).collect();
            held.take(&taken, request.now);
        }
        let places: Vec<usize> = (0..request.keys.len()).collect();
        let settled = held.journal().is_some_and(|journal| journal.rows == 0);
        if !settled {
            held.begin().await?;
            journal::fold(&mut held).await?;
        }
        let mut query = QueryBuilder::<Sqlite>::new(if settled { "BEGIN IMMEDIATE; " } else { "" });
        for piece in padded(&taken) {
            push_frames(&mut query, request.now.as_micros(), piece);
            query.push("; ");
        }
        for piece in padded(&places) {
            push_tracks!(query, request, piece.map(|place| place.copied()));
            query.push("; ");
        }
        query.push("SELECT COALESCE(MAX(id), 0) FROM matches");

        let (mut found, mut match_id) = (Vec::new(), 0);
        {
            let persistent = taken.len().max(places.len()) <= STATEMENT_ROWS_MAX;
            let mut answers = (&mut held.conn).fetch_many(query.build().persistent(persistent));
            while let Some(answer) = answers.try_next().await? {
                match answer {
                    Either::Left(_done) => {}
                    Either::Right(row) if row.len() == 1 => match_id = row.try_get(0)?,
                    Either::Right(row) => found.push(TrackRow::from_row(&row)?),
                }
            }
        }
        w.saw_match(match_id);
        Ok(First { tx: Tx::Lite(held), new_frames, found, match_id })
    }
}

type MatchRow = (Uuid, String, String, Vec<u8>, Option<Json<Vec<EvidenceLine>>>);

/// Loads what the keys counted, back along their chains as far as any window reaches.
async fn load_matches(
    tx: &mut Tx,
    now: Timestamp,
    stale: &[Stale],
    tracks: &mut HashMap<Key, LoadedTrack>,
) -> Result<()> {
    let from = (now - WINDOW_MAX - LATE_MAX).as_micros();
    let lines_max = i64::try_from(EVIDENCE_LINES_MAX).unwrap_or(i64::MAX);
    let newest: Vec<i64> = stale.iter().filter_map(|stale| stale.last_match).collect();
    for piece in pieces(&newest) {
        let rows: Vec<MatchRow> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "WITH RECURSIVE chain (id, previous_id, place) AS (SELECT m.id, m.previous_id, 1 FROM matches AS m WHERE m.arrived_at >= ",
            );
            query.push_bind(from).push(" AND m.id IN ");
            query.push_tuples(piece, |mut row, id| {
                row.push_bind(*id);
            });
            query.push(
                " UNION ALL SELECT m.id, m.previous_id, c.place + 1 FROM chain AS c CROSS JOIN matches AS m \
                 WHERE m.id = c.previous_id AND m.arrived_at >= ",
            );
            query.push_bind(from).push(" AND c.place < ").push_bind(ROWS_LOADED_MAX);
            query.push(") SELECT m.app_id, m.rule, m.grp, m.events, CASE WHEN c.place <= ").push_bind(lines_max);
            query.push(" THEN m.lines END FROM chain AS c CROSS JOIN matches AS m WHERE m.id = c.id ORDER BY m.id");
            query.build_query_as().fetch_all(conn).await?
        });
        for (app, rule, group, events, lines) in rows {
            let key = Key { app: AppId(app), rule, group: Group(group) };
            let Some(track) = tracks.get_mut(&key) else { continue };
            let events = packed::unpack(&events).ok_or_else(|| StoreError::corrupt("the events of a match"))?;
            track.events.extend(events);
            track.lines.extend(lines.map(|Json(lines)| lines).unwrap_or_default());
        }
    }
    for Stale { key, consumed, .. } in stale {
        let Some(track) = tracks.get_mut(key) else {
            continue;
        };
        if let Some((stamp, at)) = consumed {
            track.events.retain(|event| event.at > *stamp || event.arrived >= *at);
        }
        keep_last(&mut track.events, EVENTS_LOADED_MAX);
        keep_last(&mut track.lines, EVIDENCE_LINES_MAX);
    }
    Ok(())
}

fn keep_last<T>(items: &mut Vec<T>, max: usize) {
    items.drain(..items.len().saturating_sub(max));
}
