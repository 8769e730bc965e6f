//! What an evaluation loads: which frames are new, and the keys whose copies in memory are not current.

use std::collections::{HashMap, HashSet};

use dynowatch_domain::alert::Track;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rule::WINDOW_MAX;
use dynowatch_domain::window::LATE_MAX;
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use sqlx::types::Json;
use uuid::Uuid;

use super::{EVENTS_LOADED_MAX, EvaluateRequest, Loaded, LoadedTrack};
use crate::db::{Tx, on};
use crate::error::{Result, StoreError};
use crate::packed;
use crate::rows::pieces;
use crate::text::{clean, time};

/// The most rows of one key that are loaded, the newest.
const ROWS_LOADED_MAX: i64 = 20_000;
/// Longer frame ids are cut; Logplex's have 25 characters.
const FRAME_ID_BYTES_MAX: usize = 100;

pub(super) async fn load(tx: &mut Tx, request: &EvaluateRequest) -> Result<Loaded> {
    lock_apps(tx, request).await?;
    let new_frames = take_frames(tx, request).await?;
    let (mut tracks, stale) = load_tracks(tx, request).await?;
    if !stale.is_empty() {
        load_matches(tx, request.now, &stale, &mut tracks).await?;
    }
    Ok(Loaded { new_frames, tracks })
}

/// On Postgres, lets one evaluation per app in at a time. Sorted, so that two never wait for each other.
async fn lock_apps(tx: &mut Tx, request: &EvaluateRequest) -> Result<()> {
    let Tx::Pg(tx) = tx else { return Ok(()) };
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

fn frame_id(text: &str) -> String {
    let end = text
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|end| *end <= FRAME_ID_BYTES_MAX)
        .last()
        .unwrap_or(0);
    clean(text.get(..end).unwrap_or(text)).into_owned()
}

/// Remembers the frames and says which were not known. The second of two equal ones in a request is not new.
async fn take_frames(tx: &mut Tx, request: &EvaluateRequest) -> Result<Vec<bool>> {
    let frames: Vec<(Uuid, String)> = request.frames.iter().map(|(app, frame)| (app.0, frame_id(frame))).collect();
    let now = request.now.as_micros();
    let mut new: HashSet<(Uuid, String)> = HashSet::new();
    for piece in pieces(&frames) {
        let rows: Vec<(Uuid, String)> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("INSERT INTO frames (app_id, frame_id, seen_at) ");
            query.push_values(piece, |mut row, (app, frame)| {
                row.push_bind(*app).push_bind(frame.as_str()).push_bind(now);
            });
            query.push(" ON CONFLICT DO NOTHING RETURNING app_id, frame_id");
            query.build_query_as().fetch_all(conn).await?
        });
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

type TrackRow = (Uuid, String, String, i64, Option<Json<Track>>, Option<i64>, Option<i64>, Option<i64>);

/// Loads versions, and the state of those that are not as the caller knows them.
async fn load_tracks(tx: &mut Tx, request: &EvaluateRequest) -> Result<(HashMap<Key, LoadedTrack>, Vec<Stale>)> {
    let mut tracks = HashMap::with_capacity(request.keys.len());
    let mut stale = Vec::new();
    for piece in pieces(&request.keys) {
        let rows: Vec<TrackRow> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "SELECT t.app_id, t.rule, t.grp, t.version, CASE WHEN t.version = v.column4 THEN NULL ELSE t.track END, \
                 t.last_match_id, t.consumed_stamp, t.consumed_at FROM (",
            );
            query.push_values(piece, |mut row, key| {
                let known = request.known.get(key).copied().unwrap_or(-1);
                row.push_bind(key.app.0).push_bind(key.rule.as_str()).push_bind(key.group.0.as_str()).push_bind(known);
            });
            // CROSS JOIN: SQLite keeps this order and looks each key up.
            query.push(
                ") AS v CROSS JOIN tracks AS t WHERE t.app_id = v.column1 AND t.rule = v.column2 AND t.grp = v.column3",
            );
            query.build_query_as().fetch_all(conn).await?
        });
        for (app, rule, group, version, track, last_match, stamp, at) in rows {
            let key = Key { app: AppId(app), rule, group: Group(group) };
            let track = track.map(|Json(track)| track);
            if track.is_some() {
                let consumed = stamp.zip(at).map(|(stamp, at)| (time(stamp), time(at)));
                stale.push(Stale { key: key.clone(), last_match, consumed });
            }
            tracks.insert(key, LoadedTrack { version, track, ..LoadedTrack::default() });
        }
    }
    Ok((tracks, stale))
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
