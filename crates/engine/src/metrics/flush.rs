//! From the open slots of this process to the store, every ten seconds, or sooner where an app has many of them open: one
//! chunk per app that had lines. Some apps at a time, so that memory holds the values of few twice. Values that the store
//! did not take wait in memory, bounded; those dropped at the bound are counted.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dynowatch_domain::app_event::{AppEvent, DynoState};
use dynowatch_domain::metric::chunk::{self, Entry};
use dynowatch_domain::metric::query::SEEN_METRIC;
use dynowatch_domain::metric::{Gauge, Kind, SLOT, SeriesKey, Value};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_logplex::formation;
use dynowatch_store::StoreError;
use dynowatch_store::heroku::Process;
use dynowatch_store::metrics::{Chunk, PathsOfHour};
use tokio::sync::Notify;

use super::path_sample::Paths;
use super::recorder::{LATE_MAX, Taken};
use crate::Shared;
use crate::apps::{App, lock};

/// Values that may wait for a store that is away, over all apps: about a quarter of an hour of 1,000 dynos.
const WAITING_MAX: usize = 1_000_000;
/// Apps are taken together until they have so many values: a transaction each would cost more than their rows. A
/// distribution may take several KiB.
const VALUES_AT_ONCE: usize = 2_000;
/// Most frequent paths are written this often; a killed process loses those of a minute.
const PATHS_EVERY: Duration = Duration::from_secs(60);
/// How often a series' row notes that it is alive.
const NOTE_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// Process types of an app that are counted.
const PROCESS_TYPES_MAX: usize = 100;
/// Events that may wait for a store that is away.
const EVENTS_WAITING_MAX: usize = 20_000;

/// What flushes remember.
#[derive(Default)]
pub(crate) struct Flushes {
    state: Mutex<State>,
    /// Held while values go to the store.
    writing: tokio::sync::Mutex<()>,
    /// Some app has so many slots open that they should not wait for the next flush.
    pub(crate) crowded: Notify,
    failing: AtomicBool,
    /// Room is running out, and it was said.
    pub(super) short: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: HashMap<AppId, Taken>,
    /// The numbers of series, and when they were last noted.
    numbers: HashMap<AppId, HashMap<SeriesKey, (u64, Timestamp)>>,
    events: Vec<(AppId, AppEvent)>,
    states: Vec<(AppId, DynoState)>,
    paths: HashMap<(AppId, bool, Timestamp), dynowatch_domain::metric::paths::TopPaths>,
    paths_written_at: Timestamp,
    /// Dynos per process type, as last scaled or as Heroku's API tells them, and up to when either is known.
    formations: HashMap<AppId, Formation>,
    scalings_known: Option<Timestamp>,
    read_known: Option<Timestamp>,
}

/// An app's formation.
pub(crate) struct Formation {
    /// Since when it is so, as far as is known.
    since: Timestamp,
    /// When it was last said to be so.
    told_at: Timestamp,
    dynos: Vec<(String, f64)>,
}

impl Formation {
    /// What is told later is in force; told again it is as old as before. `None` when something later is known.
    fn after(known: Option<&Self>, told_at: Timestamp, mut dynos: Vec<(String, f64)>) -> Option<Self> {
        dynos.sort_by(|a, b| a.0.cmp(&b.0));
        let since = match known {
            Some(known) if known.told_at > told_at => return None,
            Some(known) if known.dynos == dynos => known.since,
            _ => told_at.floor(SLOT),
        };
        Some(Self { since, told_at, dynos })
    }

    /// As a scaling leaves it; `None` when something later is known.
    pub(crate) fn scaled(known: Option<&Self>, scaling: &AppEvent) -> Option<Self> {
        let what = scaling.what.as_deref().unwrap_or_default();
        let dynos = formation(what.as_bytes())
            .take(PROCESS_TYPES_MAX)
            .map(|quantity| (dynowatch_domain::metric::name_of(quantity.process), count(quantity.dynos)))
            .collect();
        Self::after(known, scaling.at, dynos)
    }
}

impl Flushes {
    /// Whether the last values were not written.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Relaxed)
    }
}

/// Stores what every app has in its open slots. `last`: the process ends, paths are due as well.
pub(crate) async fn flush(shared: &Shared, now: Timestamp, last: bool) -> Result<(), StoreError> {
    collect(shared, now);
    let events = flush_events(shared).await;
    let outcome = async {
        flush_values(shared, now).await?;
        learn_formations(shared, now).await?;
        flush_paths(shared, now, last).await
    }
    .await;
    note(shared, &outcome);
    outcome.and(events)
}

/// Stores the values alone, ahead of their time.
pub(crate) async fn flush_crowded(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let outcome = flush_values(shared, now).await;
    note(shared, &outcome);
    outcome
}

fn note(shared: &Shared, outcome: &Result<(), StoreError>) {
    match outcome {
        Err(error) => {
            shared.stats.metric_flush_failures.up();
            if !shared.metrics.failing.swap(true, Relaxed) {
                tracing::error!(%error, "values of metrics are not written; they wait in memory as far as there is room");
            }
        }
        Ok(()) if shared.metrics.failing.swap(false, Relaxed) => tracing::info!("values of metrics are written again"),
        Ok(()) => {}
    }
}

/// Takes the paths and events of every app.
fn collect(shared: &Shared, now: Timestamp) {
    let mut state = lock(&shared.metrics.state);
    let state = &mut *state;
    for app in shared.apps.load().iter() {
        let (paths, (events, states)) = {
            let mut recorder = lock(&app.live.recorder);
            (std::mem::take(&mut recorder.paths), recorder.events.take())
        };
        let hour = now.floor(Duration::from_secs(3_600));
        let Paths { all, errors, .. } = paths;
        for (of_errors, paths) in [(false, all), (true, errors)] {
            if !paths.is_empty() {
                state.paths.entry((app.id, of_errors, hour)).or_default().merge(&paths);
            }
        }
        let room = EVENTS_WAITING_MAX.saturating_sub(state.events.len());
        state.events.extend(events.into_iter().take(room).map(|event| (app.id, event)));
        let room = EVENTS_WAITING_MAX.saturating_sub(state.states.len());
        state.states.extend(states.into_iter().take(room).map(|dyno| (app.id, dyno)));
    }
}

/// The number of dynos is a level that nobody repeats: it holds wherever the app was seen.
pub(crate) fn add_formation(formation: Option<&Formation>, taken: &mut Taken) {
    let Some(Formation { since, dynos, .. }) = formation else { return };
    let seen: Vec<Timestamp> =
        taken.iter().filter(|(key, at, _)| &*key.metric == SEEN_METRIC && at >= since).map(|(_, at, _)| *at).collect();
    for (process, count) in dynos {
        let key = SeriesKey {
            metric: "dyno.count".into(),
            kind: Kind::Gauge,
            source: process.as_str().into(),
            label: "".into(),
        };
        taken.extend(seen.iter().map(|at| (key.clone(), *at, Value::Gauge(Gauge::once(*count)))));
    }
}

/// Scalings that any process has written down are in force for all, and so is what Heroku's API told of process types.
async fn learn_formations(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let (scaled, read) = {
        let state = lock(&shared.metrics.state);
        (state.scalings_known, state.read_known)
    };
    let ever = Timestamp::from_micros(i64::MIN);
    let scalings = shared.store.newest_scalings(scaled.unwrap_or(ever)).await?;
    let told = shared.store.heroku_formations(read.unwrap_or(ever)).await?;
    let mut state = lock(&shared.metrics.state);
    for (app, event) in scalings {
        if let Some(formation) = Formation::scaled(state.formations.get(&app), &event) {
            state.formations.insert(app, formation);
        }
    }
    for (app, at, processes) in told {
        let there = processes.into_iter().filter(|process| process.gone_at.is_none()).take(PROCESS_TYPES_MAX);
        let named = |process: Process| {
            let dynos = u64::try_from(process.quantity).unwrap_or(0);
            (dynowatch_domain::metric::name_of(process.process_type.as_bytes()), count(dynos))
        };
        if let Some(formation) = Formation::after(state.formations.get(&app), at, there.map(named).collect()) {
            state.formations.insert(app, formation);
        }
    }
    // A line may come as late as any value is taken, and its stamp is older than its row; an answer is written after it was
    // asked for.
    state.scalings_known = Some(now - LATE_MAX - Duration::from_secs(120));
    state.read_known = Some(now - Duration::from_secs(120));
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "nobody has 2^53 dynos")]
fn count(dynos: u64) -> f64 {
    dynos as f64
}

async fn flush_values(shared: &Shared, now: Timestamp) -> Result<(), StoreError> {
    let _one_at_a_time = shared.metrics.writing.lock().await;
    let (mut together, mut values, mut outcome) = (Vec::new(), 0, Ok(()));
    let apps = shared.apps.load_full();
    for (app, taken) in apps.iter().map(|app| (app.id, take(shared, app))).filter(|(_, taken)| !taken.is_empty()) {
        values += taken.len();
        together.push((app, taken));
        if values >= VALUES_AT_ONCE && outcome.is_ok() {
            outcome = store(shared, &mut together, now).await;
            values = 0;
        }
        if outcome.is_err() {
            put_back(shared, &mut together);
        }
    }
    if outcome.is_ok() && !together.is_empty() {
        outcome = store(shared, &mut together, now).await;
        put_back(shared, &mut together);
    }
    outcome
}

/// The values of an app's open slots, after those that have been waiting.
fn take(shared: &Shared, app: &App) -> Taken {
    let mut opened = lock(&app.live.recorder).take();
    let mut state = lock(&shared.metrics.state);
    add_formation(state.formations.get(&app.id), &mut opened);
    let mut taken = state.waiting.remove(&app.id).unwrap_or_default();
    taken.append(&mut opened);
    taken
}

/// What the store did not take waits, as far as there is room.
fn put_back(shared: &Shared, together: &mut Vec<(AppId, Taken)>) {
    let mut state = lock(&shared.metrics.state);
    let waiting: usize = state.waiting.values().map(Vec::len).sum();
    let mut room = WAITING_MAX.saturating_sub(waiting);
    for (app, mut taken) in together.drain(..) {
        if taken.len() > room {
            shared.stats.metric_values_dropped.add((taken.len() - room) as u64);
            taken.truncate(room);
        }
        room -= taken.len();
        if !taken.is_empty() {
            state.waiting.entry(app).or_default().append(&mut taken);
        }
    }
}

/// Stores the values of some apps, and leaves them where they are when that fails.
async fn store(shared: &Shared, together: &mut Vec<(AppId, Taken)>, now: Timestamp) -> Result<(), StoreError> {
    let mut chunks = Vec::with_capacity(together.len());
    for (app, taken) in &*together {
        number(shared, *app, taken, now).await?;
        chunks.extend(pack(shared, *app, taken, now));
    }
    shared.store.add_chunks(shared.process, &chunks).await?;
    together.clear();
    Ok(())
}

/// Makes sure that every series has its number.
async fn number(shared: &Shared, app: AppId, taken: &Taken, now: Timestamp) -> Result<(), StoreError> {
    let unknown: Vec<SeriesKey> = {
        let mut state = lock(&shared.metrics.state);
        let known = state.numbers.entry(app).or_default();
        let fresh = |key: &SeriesKey| known.get(key).is_some_and(|(_, noted)| now.since(*noted) < NOTE_EVERY);
        let mut unknown: Vec<SeriesKey> =
            taken.iter().map(|(key, ..)| key).filter(|key| !fresh(key)).cloned().collect();
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    };
    if unknown.is_empty() {
        return Ok(());
    }
    let keys: Vec<&SeriesKey> = unknown.iter().collect();
    let numbers = shared.store.number_series(app, &keys, now).await?;
    let mut state = lock(&shared.metrics.state);
    let known = state.numbers.entry(app).or_default();
    known.extend(numbers.into_iter().map(|(key, number)| (key, (number, now))));
    // What was not seen for long is asked for again when it comes back.
    known.retain(|_, (_, noted)| now.since(*noted) < NOTE_EVERY);
    Ok(())
}

fn pack(shared: &Shared, app: AppId, taken: &Taken, now: Timestamp) -> Option<Chunk> {
    let state = lock(&shared.metrics.state);
    let numbers = state.numbers.get(&app)?;
    let mut entries: Vec<Entry<&Value>> = taken
        .iter()
        .filter_map(|(key, at, value)| Some(Entry { series: numbers.get(key)?.0, at: *at, value }))
        .collect();
    let (from, until) = (entries.iter().map(|entry| entry.at).min()?, entries.iter().map(|entry| entry.at).max()?);
    Some(Chunk { app, at: now, from, until: until + SLOT, body: chunk::pack(&mut entries) })
}

async fn flush_paths(shared: &Shared, now: Timestamp, last: bool) -> Result<(), StoreError> {
    let hours: Vec<PathsOfHour> = {
        let mut state = lock(&shared.metrics.state);
        if !last && now.since(state.paths_written_at) < PATHS_EVERY {
            return Ok(());
        }
        state.paths_written_at = now;
        let paths = std::mem::take(&mut state.paths);
        paths.into_iter().map(|((app, errors, from), paths)| PathsOfHour { app, errors, from, paths }).collect()
    };
    let outcome = shared.store.add_paths(&hours).await;
    if outcome.is_err() {
        let mut state = lock(&shared.metrics.state);
        for PathsOfHour { app, errors, from, paths } in hours {
            state.paths.entry((app, errors, from)).or_default().merge(&paths);
        }
    }
    outcome
}

async fn flush_events(shared: &Shared) -> Result<(), StoreError> {
    let (events, states) = {
        let mut state = lock(&shared.metrics.state);
        (std::mem::take(&mut state.events), std::mem::take(&mut state.states))
    };
    let outcome = shared.store.add_app_events(&events, &states).await;
    if outcome.is_err() {
        let mut state = lock(&shared.metrics.state);
        state.events.splice(0..0, events);
        state.states.splice(0..0, states);
    }
    outcome
}
