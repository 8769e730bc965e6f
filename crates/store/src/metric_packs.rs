//! Packed rows: a series over an hour, a day or a month in one row, and the two ways into them. [`Store::fold`] takes
//! chunks into minutes, [`Store::roll`] shorter steps into longer ones. Both read, change and write in one transaction that
//! also notes what was done, so that breaking off at any point and doing it again counts everything once.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use dynowatch_domain::metric::fold::{self, Minutes};
use dynowatch_domain::metric::{DYNO_MINUTES_KEPT, Kind, SeriesKey, Step, Value, dyno_type, pack};
use dynowatch_domain::{AppId, Timestamp};
use sqlx::QueryBuilder;
use uuid::Uuid;

use crate::db::{Tx, change, on, read, within};
use crate::error::{Result, StoreError};
use crate::metrics::{ROWS, number, number_series};
use crate::open::Store;
use crate::rows::pieces_of;
use crate::text::{time, word};

/// The most that one fold may take. Slices are chosen to take far less.
const FOLD_MAX: Duration = Duration::from_secs(20);
/// Deletes go in slices, so that nothing waits for long.
const SLICE: i64 = 2_000;
/// One fold at a time on a database, whatever leases say.
const FOLD_LOCK: i64 = 0x6479_6e6f_666f_6c64;

/// What a row still owes to the next longer step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roll {
    Done = 0,
    Due = 1,
    Never = 2,
}

/// One row: series, beginning, slots.
type Row = (i64, i64, Vec<(u16, Value)>);

fn broken(what: &str) -> StoreError {
    StoreError::corrupt(format!("{what} of metrics"))
}

impl Store {
    /// The apps that have chunks flushed before that moment which are not in the packs.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn apps_to_fold(&self, before: Timestamp) -> Result<Vec<AppId>> {
        let sql =
            "SELECT app_id FROM metric_chunks WHERE folded = 0 GROUP BY app_id HAVING MIN(at) < $1 ORDER BY app_id";
        let apps: Vec<Uuid> =
            read!(&self.metrics, |pool| sqlx::query_scalar(sql).bind(before.as_micros()).fetch_all(pool))?;
        Ok(apps.into_iter().map(AppId).collect())
    }

    /// Takes the oldest chunks of an app, at most so many, into minutes. Returns how many it took.
    ///
    /// # Errors
    /// When the store is away or holds what is no chunk; nothing is changed then.
    pub async fn fold(&self, app: AppId, chunks_max: u32, now: Timestamp) -> Result<u32> {
        const TAKE: &str =
            "SELECT id, body FROM metric_chunks WHERE app_id = $1 AND folded = 0 ORDER BY at, id LIMIT $2";
        let keys: HashMap<u64, SeriesKey> =
            self.series_of(app, Timestamp::from_micros(i64::MIN)).await?.into_iter().collect();
        within(FOLD_MAX, async {
            let mut tx = self.metrics.begin().await?;
            lock(&mut tx).await?;
            let chunks: Vec<(i64, Vec<u8>)> = on!(
                &mut tx,
                Engine,
                conn,
                sqlx::query_as(TAKE).bind(app.0).bind(i64::from(chunks_max)).fetch_all(conn).await?
            );
            if chunks.is_empty() {
                tx.rollback().await?;
                return Ok(0);
            }
            let minutes = fold::minutes(chunks.iter().map(|(_, body)| body.as_slice()), &keys)
                .ok_or_else(|| broken("a chunk"))?;
            add_minutes(&mut tx, app, minutes, now).await?;
            let ids: Vec<i64> = chunks.iter().map(|(id, _)| *id).collect();
            mark_folded(&mut tx, &ids).await?;
            tx.commit().await?;
            Ok(u32::try_from(chunks.len()).unwrap_or(u32::MAX))
        })
        .await
    }

    /// Takes rows of a step that ended before `before` and have changed since into the next longer step, at most so many
    /// rows. Returns how many it took.
    ///
    /// # Errors
    /// When the store is away or holds what is no packed row; nothing is changed then.
    pub async fn roll(&self, fine: Step, coarse: Step, before: Timestamp, rows_max: u32) -> Result<u32> {
        const DUE: &str = "SELECT p.series, s.kind, p.from_at, p.body FROM metric_packs AS p JOIN metric_series AS s ON s.id = p.series \
                           WHERE p.step = $1 AND p.roll = 1 AND p.from_at < $2 ORDER BY p.from_at LIMIT $3";
        let before = before - Duration::from_secs(fine.row_seconds().unsigned_abs());
        within(FOLD_MAX, async {
            let mut tx = self.metrics.begin().await?;
            lock(&mut tx).await?;
            let due: Vec<(i64, String, i64, Vec<u8>)> = on!(&mut tx, Engine, conn, {
                let due = sqlx::query_as(DUE).bind(fine.seconds()).bind(before.as_micros());
                due.bind(i64::from(rows_max)).fetch_all(conn).await?
            });
            if due.is_empty() {
                tx.rollback().await?;
                return Ok(0);
            }
            let mut kinds = HashMap::new();
            let mut wanted: BTreeSet<(i64, i64)> = BTreeSet::new();
            for (series, kind, from, _) in &due {
                kinds.insert(*series, word("a series' kind", kind, Kind::named)?);
                wanted.insert((coarse.place(time(*from)).0.as_micros(), *series));
            }
            let mut into = load(&mut tx, coarse, &wanted, &kinds).await?;
            for (series, _, from, body) in &due {
                let kind = kinds.get(series).copied().unwrap_or(Kind::Counter);
                let slots = pack::unpack(kind, body).ok_or_else(|| broken("a packed row"))?;
                let row = (coarse.place(time(*from)).0.as_micros(), *series);
                fold::roll(fine, time(*from), &slots, coarse, into.entry(row).or_default());
            }
            let roll = if coarse == Step::Hour { Roll::Done } else { Roll::Due };
            let rows: Vec<Row> = into.into_iter().map(|((from, series), slots)| (series, from, slots)).collect();
            save(&mut tx, coarse, &rows, &kinds, |_| roll).await?;
            let done: Vec<(i64, i64)> = due.iter().map(|(series, _, from, _)| (*series, *from)).collect();
            mark_rolled(&mut tx, fine, &done).await?;
            tx.commit().await?;
            Ok(u32::try_from(done.len()).unwrap_or(u32::MAX))
        })
        .await
    }

    /// Forgets packed rows whose time is over, and series that have none left, a slice of each. Returns how many rows went;
    /// more may be left when it is not small.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_packs(&self, now: Timestamp) -> Result<u64> {
        const OLD: &str = "DELETE FROM metric_packs WHERE (series, step, from_at) IN (SELECT p.series, p.step, p.from_at \
                           FROM metric_series AS s JOIN metric_packs AS p ON p.series = s.id AND p.step = $1 AND p.from_at < $2 \
                           WHERE p.roll >= $3 LIMIT $4)";
        const UNUSED: &str = "DELETE FROM metric_series WHERE id IN (SELECT s.id FROM metric_series AS s WHERE s.seen_at < $1 \
                              AND NOT EXISTS (SELECT 1 FROM metric_packs AS p WHERE p.series = s.id) LIMIT $2)";
        let mut gone = 0;
        let never = Roll::Never as i64;
        let spans = [
            (Step::Minute, DYNO_MINUTES_KEPT, never),
            (Step::Minute, Step::Minute.kept(), 0),
            (Step::TenMinutes, Step::TenMinutes.kept(), 0),
            (Step::Hour, Step::Hour.kept(), 0),
        ];
        for (step, kept, roll) in spans {
            let before = (now - kept - Duration::from_secs(step.row_seconds().unsigned_abs())).as_micros();
            gone += change!(&self.metrics, sqlx::query(OLD).bind(step.seconds()).bind(before).bind(roll).bind(SLICE))?;
        }
        let idle = (now - Duration::from_secs(86_400)).as_micros();
        gone += change!(&self.metrics, sqlx::query(UNUSED).bind(idle).bind(SLICE))?;
        Ok(gone)
    }

    /// Forgets the oldest minutes, a slice of them, for when metrics take more room than they may. Those of the last day
    /// stay, and so do longer steps. Returns how many rows went.
    ///
    /// # Errors
    /// When the store is away.
    pub async fn prune_for_room(&self, now: Timestamp) -> Result<u64> {
        const OLDEST: &str = "DELETE FROM metric_packs WHERE (series, step, from_at) IN (SELECT series, step, from_at FROM metric_packs \
                              WHERE step = 60 AND roll <> 1 AND from_at < $1 ORDER BY from_at LIMIT $2)";
        // A late line would make the hour anew from itself alone.
        let before = (now - Duration::from_secs(86_400)).as_micros();
        change!(&self.metrics, sqlx::query(OLDEST).bind(before).bind(SLICE))
    }
}

/// One fold at a time.
async fn lock(tx: &mut Tx) -> Result<()> {
    if let Tx::Pg(tx) = tx {
        sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(FOLD_LOCK).execute(&mut **tx).await?;
    }
    Ok(())
}

async fn add_minutes(tx: &mut Tx, app: AppId, minutes: Minutes, now: Timestamp) -> Result<()> {
    let keys: Vec<&SeriesKey> = minutes.keys().map(|(key, _)| key).collect();
    let numbers = number_series(tx, app, &keys, now).await?;
    let mut kinds = HashMap::new();
    let mut dynos = BTreeSet::new();
    let mut wanted = BTreeSet::new();
    for (key, row) in minutes.keys() {
        let Some(id) = numbers.get(key).copied().map(number) else { continue };
        kinds.insert(id, key.kind);
        wanted.insert((row.as_micros(), id));
        if dyno_type(&key.source).is_some() {
            dynos.insert(id);
        }
    }
    let mut known = load(tx, Step::Minute, &wanted, &kinds).await?;
    let mut rows: Vec<Row> = Vec::with_capacity(minutes.len());
    for ((key, row), slots) in &minutes {
        let Some(id) = numbers.get(key).copied().map(number) else { continue };
        let mut all = known.remove(&(row.as_micros(), id)).unwrap_or_default();
        slots.iter().for_each(|(at, value)| pack::merge_into(&mut all, *at, value));
        rows.push((id, row.as_micros(), all));
    }
    rows.sort_by_key(|(series, from, _)| (*series, *from));
    save(tx, Step::Minute, &rows, &kinds, |series| if dynos.contains(&series) { Roll::Never } else { Roll::Due }).await
}

/// The rows that exist already, by beginning and series.
async fn load(
    tx: &mut Tx,
    step: Step,
    wanted: &BTreeSet<(i64, i64)>,
    kinds: &HashMap<i64, Kind>,
) -> Result<BTreeMap<(i64, i64), Vec<(u16, Value)>>> {
    let mut by_row: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (from, series) in wanted {
        by_row.entry(*from).or_default().push(*series);
    }
    let mut loaded = BTreeMap::new();
    for (from, series) in by_row {
        for piece in pieces_of(&series, ROWS) {
            let rows: Vec<(i64, Vec<u8>)> = on!(tx, Engine, conn, {
                let mut query = QueryBuilder::<Engine>::new("SELECT series, body FROM metric_packs WHERE step = ");
                query.push_bind(step.seconds()).push(" AND from_at = ").push_bind(from).push(" AND series IN (");
                let mut list = query.separated(", ");
                for series in piece {
                    list.push_bind(*series);
                }
                query.push(")");
                query.build_query_as().fetch_all(conn).await?
            });
            for (series, body) in rows {
                let kind = kinds.get(&series).copied().unwrap_or(Kind::Counter);
                let slots = pack::unpack(kind, &body).ok_or_else(|| broken("a packed row"))?;
                loaded.insert((from, series), slots);
            }
        }
    }
    Ok(loaded)
}

async fn save(
    tx: &mut Tx,
    step: Step,
    rows: &[Row],
    kinds: &HashMap<i64, Kind>,
    roll: impl Fn(i64) -> Roll,
) -> Result<()> {
    let roll = &roll;
    for piece in pieces_of(rows, ROWS) {
        on!(tx, Engine, conn, {
            let mut query =
                QueryBuilder::<Engine>::new("INSERT INTO metric_packs (series, step, from_at, roll, body) ");
            query.push_values(piece, |mut values, (series, from, slots)| {
                let kind = kinds.get(series).copied().unwrap_or(Kind::Counter);
                values.push_bind(*series).push_bind(step.seconds()).push_bind(*from);
                values.push_bind(roll(*series) as i64).push_bind(pack::pack(kind, slots));
            });
            query.push(" ON CONFLICT (series, step, from_at) DO UPDATE SET roll = excluded.roll, body = excluded.body");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

async fn mark_folded(tx: &mut Tx, ids: &[i64]) -> Result<()> {
    for piece in pieces_of(ids, ROWS) {
        on!(tx, Engine, conn, {
            let mut query = QueryBuilder::<Engine>::new("UPDATE metric_chunks SET folded = 1 WHERE id IN (");
            let mut list = query.separated(", ");
            for id in piece {
                list.push_bind(*id);
            }
            query.push(")");
            query.build().execute(conn).await?;
        });
    }
    Ok(())
}

async fn mark_rolled(tx: &mut Tx, step: Step, rows: &[(i64, i64)]) -> Result<()> {
    let mut by_row: BTreeMap<i64, Vec<i64>> = BTreeMap::new();
    for (series, from) in rows {
        by_row.entry(*from).or_default().push(*series);
    }
    for (from, series) in by_row {
        for piece in pieces_of(&series, ROWS) {
            on!(tx, Engine, conn, {
                let mut query = QueryBuilder::<Engine>::new("UPDATE metric_packs SET roll = 0 WHERE step = ");
                query.push_bind(step.seconds()).push(" AND from_at = ").push_bind(from).push(" AND series IN (");
                let mut list = query.separated(", ");
                for series in piece {
                    list.push_bind(*series);
                }
                query.push(")");
                query.build().execute(conn).await?;
            });
        }
    }
    Ok(())
}
