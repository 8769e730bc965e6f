//! What an evaluation saves: one statement per table, see [`crate::rows`].

use std::collections::{BTreeMap, HashMap, HashSet};

use dynowatch_domain::alert::Phase;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::release::Release;
use dynowatch_domain::{AlertId, AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use super::{AlertUpdate, Changes, EvaluateRequest, FiredAlert, ResolvedAlert, Saved, TrackChange, journal, load};
use crate::db::{Tx, on};
use crate::error::Result;
use crate::rows::pieces;
use crate::text::{JsonText, clean, int, json};
use crate::writer::Writer;
use crate::{audit, blinds, checks, deliveries, packed, releases};

/// Saves and commits. `match_id` is the greatest id of a match, where it is known; returns what it is from now on.
pub(super) async fn commit(
    mut tx: Tx,
    now: Timestamp,
    changes: &Changes,
    match_id: Option<i64>,
) -> Result<Option<i64>> {
    save_rest(&mut tx, now, changes).await?;
    match (tx, match_id) {
        (Tx::Lite(lite), Some(match_id)) => Ok(Some(lite::commit(lite, now, &changes.tracks, match_id).await?)),
        (mut tx, _) => {
            let newest = save_matches(&mut tx, now, &changes.tracks).await?;
            save_tracks(&mut tx, now, &changes.tracks, &newest).await?;
            tx.commit().await?;
            Ok(None)
        }
    }
}

/// All but keys and what they counted.
async fn save_rest(tx: &mut Tx, now: Timestamp, changes: &Changes) -> Result<()> {
    save_fired(tx, &changes.fired).await?;
    save_updates(tx, &changes.updates).await?;
    save_resolved(tx, &changes.resolved).await?;
    save_decisions(tx, changes).await?;
    deliveries::insert(tx, &changes.deliveries).await?;
    deliveries::insert_resolve_notices(tx, &changes.resolve_notices).await?;
    save_releases(tx, changes).await?;
    blinds::insert(tx, &changes.blinds).await?;
    if !changes.checks.is_empty() {
        checks::states::save(tx, &changes.checks).await?;
    }
    for act in &changes.acts {
        audit::append(tx, act, now).await?;
    }
    Ok(())
}

/// Saves and commits as if all of it were as the request says; see [`crate::Store::save_known`]. A key of another version
/// has none then, which breaks a constraint.
pub(super) async fn commit_known(w: &Writer, request: &EvaluateRequest, changes: &Changes) -> Result<Saved> {
    let frames = load::frames_of(request);
    let distinct = frames.iter().collect::<HashSet<_>>().len() == frames.len();
    let known = changes.tracks.iter().all(|change| request.known.get(&change.key) == Some(&(change.version - 1)));
    if !distinct || !known || w.newest_match() == 0 {
        return Ok(Saved::Not);
    }
    let mut lite = w.hold().await?;
    let known = lite.frames().await?;
    let counted_before = frames.iter().any(|frame| known.contains(frame));
    if lite.tell_others_wrote() {
        lite.keep();
        return Ok(Saved::OthersWrote);
    }
    if counted_before {
        lite.keep();
        return Ok(Saved::Not);
    }
    let alone = changes.is_tracks_alone();
    let journal = lite.journal();
    if let Some(journal) = journal.filter(|journal| alone && journal.has_room() && journal::takes(&changes.tracks)) {
        return journal::append(lite, journal, request.now, &frames, &changes.tracks).await;
    }
    let begun = !alone || journal.is_none_or(|journal| journal.rows > 0);
    if begun {
        lite.begin().await?;
        journal::fold(&mut lite).await?;
        let mut tx = Tx::Lite(lite);
        save_rest(&mut tx, request.now, changes).await?;
        let Tx::Lite(held) = tx else { return Ok(Saved::Not) };
        lite = held;
    }
    lite.take(&frames, request.now);
    lite::commit_known(w, lite, begun, request.now, &frames, &changes.tracks).await
}

/// SQLite's way: the keys, what they counted and the commit in one string of statements.
pub(super) mod lite {
    use dynowatch_domain::alert::Track;
    use dynowatch_domain::key::Key;
    use sqlx::{QueryBuilder, Sqlite};
    use uuid::Uuid;

    use super::super::load::lite::push_frames;
    use super::super::{STATEMENT_ROWS_MAX, Saved, journal};
    use super::{Result, Timestamp, TrackChange, arrived, counted_any, int, json, newest_lines, packed, phase};
    use crate::frames::Frame;
    use crate::rows::padded;
    use crate::text::JsonText;
    use crate::writer::{LiteTx, Writer};

    /// Which versions the keys must have had.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(in crate::evaluate) enum Before {
        /// Whatever: they were looked at in this transaction.
        Loaded,
        /// The one before the new one.
        Known,
    }

    /// A row of `matches`.
    pub(in crate::evaluate) struct MatchRow<'a> {
        pub(in crate::evaluate) id: i64,
        pub(in crate::evaluate) key: &'a Key,
        pub(in crate::evaluate) arrived_at: Timestamp,
        pub(in crate::evaluate) count: usize,
        pub(in crate::evaluate) events: Vec<u8>,
        pub(in crate::evaluate) lines: JsonText,
        /// The row before it of its key; none: the one that the key names as its last.
        pub(in crate::evaluate) previous_id: Option<i64>,
    }

    /// A row of `tracks`.
    pub(in crate::evaluate) struct TrackRow<'a> {
        pub(in crate::evaluate) key: &'a Key,
        pub(in crate::evaluate) version: i64,
        pub(in crate::evaluate) track: JsonText,
        pub(in crate::evaluate) phase: &'static str,
        pub(in crate::evaluate) alert: Option<Uuid>,
        pub(in crate::evaluate) next_wake_at: Option<Timestamp>,
        pub(in crate::evaluate) changed_at: Timestamp,
        pub(in crate::evaluate) consumed_before: Option<Timestamp>,
        pub(in crate::evaluate) last_match_id: Option<i64>,
        /// Whether phase and alert are others than before.
        pub(in crate::evaluate) moved: bool,
    }

    pub(super) async fn commit(mut tx: LiteTx, now: Timestamp, tracks: &[TrackChange], match_id: i64) -> Result<i64> {
        let mut query = QueryBuilder::<Sqlite>::new("");
        let newest = push_changes(&mut query, now, tracks, match_id, Before::Loaded)?;
        finish(&mut tx, query, tracks.len()).await?;
        tx.keep();
        Ok(newest)
    }

    /// `begun`: the transaction has begun.
    pub(super) async fn commit_known(
        w: &Writer,
        mut tx: LiteTx,
        begun: bool,
        now: Timestamp,
        frames: &[Frame],
        tracks: &[TrackChange],
    ) -> Result<Saved> {
        let mut query = QueryBuilder::<Sqlite>::new(if begun { "" } else { "BEGIN IMMEDIATE; " });
        for piece in padded(frames) {
            push_frames(&mut query, now.as_micros(), piece);
            query.push("; ");
        }
        let newest = push_changes(&mut query, now, tracks, w.newest_match(), Before::Known)?;
        match finish(&mut tx, query, tracks.len().max(frames.len())).await {
            Ok(()) => {
                w.saw_match(newest);
                tx.keep();
                Ok(Saved::Yes)
            }
            Err(error) if error.is_constraint() => {
                tx.rollback().await?;
                Ok(Saved::Not)
            }
            Err(error) => Err(error),
        }
    }

    async fn finish(tx: &mut LiteTx, mut query: QueryBuilder<Sqlite>, rows: usize) -> Result<()> {
        query.push(journal::count(tx)).push("COMMIT");
        let _done = query.build().persistent(rows <= STATEMENT_ROWS_MAX).execute(&mut tx.conn).await?;
        Ok(())
    }

    /// Adds what changed, with ids of our own for the rows of what was counted: nobody else writes now. Returns the newest.
    fn push_changes(
        query: &mut QueryBuilder<Sqlite>,
        now: Timestamp,
        tracks: &[TrackChange],
        mut match_id: i64,
        before: Before,
    ) -> Result<i64> {
        let (mut counted, mut rows) = (Vec::with_capacity(tracks.len()), Vec::with_capacity(tracks.len()));
        for change in tracks {
            let counts = counted_any(change);
            if counts {
                match_id += 1;
                counted.push(MatchRow {
                    id: match_id,
                    key: &change.key,
                    arrived_at: arrived(change, now),
                    count: change.events.len(),
                    events: packed::pack(&change.events),
                    lines: json(newest_lines(change))?,
                    previous_id: None,
                });
            }
            rows.push(TrackRow {
                consumed_before: change.consumed_before,
                moved: change.moved,
                ..TrackRow::new(
                    &change.key,
                    change.version,
                    (&change.track, json(&change.track)?),
                    change.next_wake_at,
                    now,
                    counts.then_some(match_id),
                )
            });
        }
        push_matches(query, &counted);
        push_tracks(query, &rows, before);
        Ok(match_id)
    }

    impl<'a> TrackRow<'a> {
        /// The row of a key that has forgotten nothing and stays in its phase. The track comes with its text.
        pub(in crate::evaluate) fn new(
            key: &'a Key,
            version: i64,
            (track, text): (&Track, JsonText),
            next_wake_at: Option<Timestamp>,
            changed_at: Timestamp,
            last_match_id: Option<i64>,
        ) -> Self {
            Self {
                key,
                version,
                track: text,
                phase: phase(&track.phase),
                alert: track.firing().map(|firing| firing.alert.0),
                next_wake_at,
                changed_at,
                consumed_before: None,
                last_match_id,
                moved: false,
            }
        }
    }

    pub(in crate::evaluate) fn push_matches(query: &mut QueryBuilder<Sqlite>, rows: &[MatchRow<'_>]) {
        for piece in padded(rows) {
            query.push(
                "INSERT INTO matches (id, app_id, rule, grp, arrived_at, count, events, lines, previous_id) \
                 SELECT v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, v.column8, \
                 COALESCE(v.column9, (SELECT t.last_match_id FROM tracks AS t \
                 WHERE t.app_id = v.column2 AND t.rule = v.column3 AND t.grp = v.column4)) FROM (",
            );
            query.push_values(piece, |mut row, new| {
                row.push_bind(new.map(|new| new.id))
                    .push_bind(new.map(|new| new.key.app.0))
                    .push_bind(new.map(|new| new.key.rule.as_str()))
                    .push_bind(new.map(|new| new.key.group.0.as_str()))
                    .push_bind(new.map(|new| new.arrived_at.as_micros()))
                    .push_bind(new.map(|new| int(new.count as u64)))
                    .push_bind(new.map(|new| new.events.clone()))
                    .push_bind(new.map(|new| new.lines.clone()))
                    .push_bind(new.and_then(|new| new.previous_id));
            });
            query.push(") AS v WHERE v.column1 IS NOT NULL; ");
        }
    }

    /// Phase and alert apart, and only where they change: SQLite rewrites the index entries of every column that an update
    /// names, and most commits move no key.
    pub(in crate::evaluate) fn push_tracks(query: &mut QueryBuilder<Sqlite>, rows: &[TrackRow<'_>], before: Before) {
        for piece in padded(rows) {
            query.push(
                "INSERT INTO tracks (app_id, rule, grp, version, track, phase, alert_id, next_wake_at, changed_at, consumed_stamp, \
                 consumed_at, last_match_id) SELECT v.column1, v.column2, v.column3, ",
            );
            query.push(match before {
                Before::Loaded => "v.column4",
                // None, which the column refuses, if it was another.
                Before::Known => {
                    "(SELECT v.column4 FROM tracks AS t WHERE t.app_id = v.column1 AND t.rule = v.column2 AND \
                     t.grp = v.column3 AND t.version = v.column4 - 1)"
                }
            });
            query.push(
                ", v.column5, v.column6, v.column7, v.column8, v.column9, v.column10, v.column11, v.column12 FROM (",
            );
            query.push_values(piece, |mut row, new| {
                let consumed = new.and_then(|new| new.consumed_before);
                let changed_at = new.map(|new| new.changed_at.as_micros());
                row.push_bind(new.map(|new| new.key.app.0))
                    .push_bind(new.map(|new| new.key.rule.as_str()))
                    .push_bind(new.map(|new| new.key.group.0.as_str()))
                    .push_bind(new.map(|new| new.version))
                    .push_bind(new.map(|new| new.track.clone()))
                    .push_bind(new.map(|new| new.phase))
                    .push_bind(new.and_then(|new| new.alert))
                    .push_bind(new.and_then(|new| new.next_wake_at).map(Timestamp::as_micros))
                    .push_bind(changed_at)
                    .push_bind(consumed.map(Timestamp::as_micros))
                    .push_bind(consumed.and(changed_at))
                    .push_bind(new.and_then(|new| new.last_match_id));
            });
            query.push(
                ") AS v WHERE v.column1 IS NOT NULL ON CONFLICT (app_id, rule, grp) DO UPDATE SET version = excluded.version, \
                 track = excluded.track, next_wake_at = excluded.next_wake_at, changed_at = excluded.changed_at, \
                 consumed_stamp = COALESCE(excluded.consumed_stamp, tracks.consumed_stamp), \
                 consumed_at = COALESCE(excluded.consumed_at, tracks.consumed_at), \
                 last_match_id = COALESCE(excluded.last_match_id, tracks.last_match_id); ",
            );
        }
        let moved: Vec<&TrackRow<'_>> = rows.iter().filter(|row| row.moved).collect();
        for piece in padded(&moved) {
            query.push("UPDATE tracks SET phase = v.column4, alert_id = v.column5 FROM (");
            query.push_values(piece, |mut row, new| {
                row.push_bind(new.map(|new| new.key.app.0))
                    .push_bind(new.map(|new| new.key.rule.as_str()))
                    .push_bind(new.map(|new| new.key.group.0.as_str()))
                    .push_bind(new.map(|new| new.phase))
                    .push_bind(new.and_then(|new| new.alert));
            });
            query.push(
                ") AS v WHERE tracks.app_id = v.column1 AND tracks.rule = v.column2 AND tracks.grp = v.column3 \
                 AND (tracks.phase IS NOT v.column4 OR tracks.alert_id IS NOT v.column5); ",
            );
        }
    }
}

/// Whether there is anything to append to the key's matches.
pub(super) fn counted_any(change: &TrackChange) -> bool {
    !change.events.is_empty() || !change.lines.is_empty()
}

pub(super) fn newest_lines(change: &TrackChange) -> &[EvidenceLine] {
    let kept = change.lines.len().saturating_sub(EVIDENCE_LINES_MAX);
    change.lines.get(kept..).unwrap_or_default()
}

pub(super) fn arrived(change: &TrackChange, now: Timestamp) -> Timestamp {
    change.events.iter().map(|event| event.arrived).max().unwrap_or(now)
}

fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Quiet => "quiet",
        Phase::Pending { .. } => "pending",
        Phase::Firing(_) => "firing",
    }
}

/// `newest` holds the last match of the keys that have a new one.
async fn save_tracks(tx: &mut Tx, now: Timestamp, tracks: &[TrackChange], newest: &HashMap<Key, i64>) -> Result<()> {
    let now = now.as_micros();
    let rows = tracks.iter().map(|change| Ok((change, json(&change.track)?))).collect::<Result<Vec<_>>>()?;
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO tracks (app_id, rule, grp, version, track, phase, alert_id, next_wake_at, changed_at, consumed_stamp, \
                 consumed_at, last_match_id) ",
            );
            query.push_values(piece, |mut row, (change, track)| {
                row.push_bind(change.key.app.0)
                    .push_bind(change.key.rule.as_str())
                    .push_bind(change.key.group.0.as_str());
                row.push_bind(change.version).push_bind(track.clone()).push_bind(phase(&change.track.phase));
                row.push_bind(change.track.firing().map(|firing| firing.alert.0));
                row.push_bind(change.next_wake_at.map(Timestamp::as_micros)).push_bind(now);
                row.push_bind(change.consumed_before.map(Timestamp::as_micros))
                    .push_bind(change.consumed_before.map(|_| now));
                row.push_bind(newest.get(&change.key).copied());
            });
            query.push(
                " ON CONFLICT (app_id, rule, grp) DO UPDATE SET version = excluded.version, track = excluded.track, phase = excluded.phase, \
                 alert_id = excluded.alert_id, next_wake_at = excluded.next_wake_at, changed_at = excluded.changed_at, \
                 consumed_stamp = COALESCE(excluded.consumed_stamp, tracks.consumed_stamp), \
                 consumed_at = COALESCE(excluded.consumed_at, tracks.consumed_at), \
                 last_match_id = COALESCE(excluded.last_match_id, tracks.last_match_id)",
            );
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

/// Appends what was counted, each row pointing to the one before it of its key. Returns the new rows by key.
async fn save_matches(tx: &mut Tx, now: Timestamp, tracks: &[TrackChange]) -> Result<HashMap<Key, i64>> {
    let counted = tracks.iter().filter(|change| counted_any(change));
    let rows = counted.map(|change| Ok((change, json(newest_lines(change))?))).collect::<Result<Vec<_>>>()?;
    let mut newest = HashMap::with_capacity(rows.len());
    for piece in pieces(&rows) {
        let new: Vec<(i64, Uuid, String, String)> = on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO matches (app_id, rule, grp, arrived_at, count, events, lines, previous_id) \
                 SELECT v.column1, v.column2, v.column3, v.column4, v.column5, v.column6, v.column7, (SELECT t.last_match_id FROM tracks AS t \
                 WHERE t.app_id = v.column1 AND t.rule = v.column2 AND t.grp = v.column3) FROM (",
            );
            query.push_values(piece, |mut row, (change, lines)| {
                row.push_bind(change.key.app.0)
                    .push_bind(change.key.rule.as_str())
                    .push_bind(change.key.group.0.as_str());
                row.push_bind(arrived(change, now).as_micros()).push_bind(int(change.events.len() as u64));
                row.push_bind(packed::pack(&change.events)).push_bind(lines.clone());
            });
            query.push(") AS v RETURNING id, app_id, rule, grp");
            query.build_query_as().fetch_all(conn).await?
        });
        newest.extend(
            new.into_iter().map(|(id, app, rule, group)| (Key { app: AppId(app), rule, group: Group(group) }, id)),
        );
    }
    Ok(newest)
}

async fn save_fired(tx: &mut Tx, fired: &[FiredAlert]) -> Result<()> {
    let rows = fired
        .iter()
        .map(|alert| Ok((alert, json(&alert.facts)?, json(&alert.details)?, json(&alert.evidence)?)))
        .collect::<Result<Vec<_>>>()?;
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO alerts (id, app_id, rule, grp, severity, fired_at, previous_id, told, facts, details, evidence) ",
            );
            query.push_values(piece, |mut row, (alert, facts, details, evidence)| {
                row.push_bind(alert.id.0)
                    .push_bind(alert.key.app.0)
                    .push_bind(alert.key.rule.as_str())
                    .push_bind(alert.key.group.0.as_str());
                row.push_bind(alert.severity.as_str())
                    .push_bind(alert.fired_at.as_micros())
                    .push_bind(alert.previous.map(|id| id.0));
                row.push_bind(alert.told)
                    .push_bind(facts.clone())
                    .push_bind(details.clone())
                    .push_bind(evidence.clone());
            });
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

async fn save_updates(tx: &mut Tx, updates: &[AlertUpdate]) -> Result<()> {
    let rows = updates
        .iter()
        .map(|update| Ok((update, json(&update.facts)?, update.evidence.as_deref().map(json).transpose()?)))
        .collect::<Result<Vec<(&AlertUpdate, JsonText, Option<JsonText>)>>>()?;
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "UPDATE alerts SET told = v.column2, facts = v.column3, evidence = COALESCE(v.column4, evidence) FROM (",
            );
            query.push_values(piece, |mut row, (update, facts, evidence)| {
                row.push_bind(update.alert.0)
                    .push_bind(update.told)
                    .push_bind(facts.clone())
                    .push_bind(evidence.clone());
            });
            query.push(") AS v WHERE alerts.id = v.column1");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

async fn save_resolved(tx: &mut Tx, resolved: &[ResolvedAlert]) -> Result<()> {
    let rows = resolved
        .iter()
        .map(|alert| Ok((alert, json(&alert.reason)?, json(&alert.facts)?)))
        .collect::<Result<Vec<_>>>()?;
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "UPDATE alerts SET resolved_at = v.column2, resolve_reason = v.column3, facts = v.column4 FROM (",
            );
            query.push_values(piece, |mut row, (alert, reason, facts)| {
                row.push_bind(alert.alert.0)
                    .push_bind(alert.at.as_micros())
                    .push_bind(reason.clone())
                    .push_bind(facts.clone());
            });
            query.push(") AS v WHERE alerts.id = v.column1 AND alerts.resolved_at IS NULL");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

/// Numbers go on from what the alert has.
async fn save_decisions(tx: &mut Tx, changes: &Changes) -> Result<()> {
    let mut places: HashMap<AlertId, i64> = HashMap::new();
    let mut rows = Vec::with_capacity(changes.decisions.len());
    for (alert, at, effect) in &changes.decisions {
        rows.push((alert.0, at.as_micros(), json(effect)?));
    }
    for piece in pieces(&rows) {
        places.clear();
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new(
                "INSERT INTO decisions (alert_id, number, at, effect) SELECT v.column1, v.column2 + \
                 (SELECT COALESCE(MAX(d.number), 0) FROM decisions AS d WHERE d.alert_id = v.column1), v.column3, v.column4 FROM (",
            );
            query.push_values(piece, |mut row, (alert, at, effect)| {
                let place = places.entry(AlertId(*alert)).or_default();
                *place += 1;
                row.push_bind(*alert).push_bind(*place).push_bind(*at).push_bind(effect.clone());
            });
            query.push(") AS v");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

/// Two lines tell of one release; whichever comes second adds to the first (`Release::merge`).
async fn save_releases(tx: &mut Tx, changes: &Changes) -> Result<()> {
    let mut merged: BTreeMap<(Uuid, i64), Release> = BTreeMap::new();
    for (app, release) in &changes.releases {
        let key = (app.0, release.at.as_micros());
        let known = merged.remove(&key);
        merged.insert(key, known.map_or_else(|| release.clone(), |known| known.merge(release.clone())));
    }
    let rows: Vec<_> = merged.into_iter().collect();
    for piece in pieces(&rows) {
        on!(tx, Engine, conn, {
            let mut query =
                QueryBuilder::<Engine>::new("INSERT INTO releases (app_id, at, version, kind, actor, what) ");
            query.push_values(piece, |mut row, ((app, at), release)| {
                row.push_bind(*app)
                    .push_bind(*at)
                    .push_bind(release.version.map(i64::from))
                    .push_bind(releases::kind_name(release.kind));
                row.push_bind(release.actor.as_deref().map(clean)).push_bind(release.what.as_deref().map(clean));
            });
            query.push(
                " ON CONFLICT (app_id, at) DO UPDATE SET version = COALESCE(releases.version, excluded.version), \
                 kind = CASE WHEN releases.kind = 'unknown' THEN excluded.kind ELSE releases.kind END, \
                 actor = COALESCE(releases.actor, excluded.actor), what = COALESCE(releases.what, excluded.what)",
            );
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}
