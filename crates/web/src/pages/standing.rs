//! The numbers of all apps at once, for the first page and the list of apps: read in the background, a few seconds old, once
//! for however many look. What must not be old (open alerts, the newest line) is not among them.
//!
//! A reading is bounded, so that it never stands in the way of answers: the present of all apps in a few calls to the store,
//! and the day behind of those few apps whose day is oldest. [`keep_read`] begins with the process and goes on slowly
//! while nobody looks; so the first who looks finds numbers. They are at most two minutes old, and the pages say how old
//! once that matters ([`age_note`]); newer ones are read at once. Older numbers are not shown as the present: then,
//! which is where this process could not read, whoever looks waits for one reading.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynowatch_domain::metric::query::{Aggregation, Labels};
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::metrics::query::Asked;
use dynowatch_engine::metrics::strip::Happening;
use dynowatch_store::StoreError;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};
use maud::{Markup, html};
use tokio::sync::watch;

use super::app::SILENCE_MAX;
use super::app::numbers::{Few, few, few_queries};
use super::app::plan::{Span, number};
use super::parts::{State, stale};
use super::view::View;
use crate::router::Web;

/// How old numbers may be before they are read again.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How old they may be before pages say so.
const SAID_AFTER: Duration = Duration::from_secs(30);
/// How often they are read while nobody looks.
const IDLE_EVERY: Duration = Duration::from_secs(60);
/// How old they may be to be shown while they are read again; after that whoever looks waits.
const STALE_MAX: Duration = Duration::from_secs(120);
/// How often the day behind an app is read again, if there are few enough.
const DAY_EVERY: Duration = Duration::from_secs(60);
/// Days that one reading renews: a hundred apps have theirs renewed in the course of a minute.
const DAYS_AT_ONCE: usize = 20;
/// Of these, days that are read in one call: what they rest on lies in memory meanwhile.
const DAYS_TOGETHER: usize = 4;
/// Apps whose present is read in one call.
const APPS_AT_ONCE: usize = 25;
const DAY: Duration = Duration::from_secs(86_400);
/// A cell of a day.
const CELL: Duration = Duration::from_secs(1_800);
/// The present.
const NOW: Duration = Duration::from_secs(300);
/// How far back alerts may have begun that a day's strip shows.
const ALERTS_BACK: Duration = Duration::from_secs(3 * 86_400);
const ALERTS_MAX: u32 = 500;
/// Releases and events for the feed.
const EVENTS_MAX: u32 = 60;

/// A day of an app, as it was read.
#[derive(Debug, Clone, PartialEq)]
struct Day {
    /// Where its first cell begins.
    from: Timestamp,
    read_at: Timestamp,
    /// Whether anything was seen, cell by cell.
    seen: Vec<bool>,
    p95: Vec<Option<f64>>,
}

/// An app in numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppNumbers {
    /// How it stood over the last day, oldest first; empty when that was not read yet.
    pub(crate) strip: Vec<State>,
    /// The response time of nineteen of twenty requests over the day, in ms.
    pub(crate) spark: Vec<Option<f64>>,
    /// The last five minutes.
    pub(crate) now: Few,
    /// Requests a minute.
    pub(crate) rpm: Option<f64>,
    day: Option<Arc<Day>>,
}

/// All apps in numbers.
#[derive(Default)]
pub(crate) struct Numbers {
    read_at: Option<Timestamp>,
    pub(crate) apps: HashMap<AppId, AppNumbers>,
    /// Releases, scaling, restarts and crashes of the last day, the newest first.
    pub(crate) events: Vec<(AppId, Happening)>,
}

/// The numbers that were read last.
#[derive(Default)]
pub(crate) struct Standing {
    latest: Mutex<Option<Arc<Numbers>>>,
    reading: tokio::sync::Mutex<()>,
    in_background: AtomicBool,
}

impl Standing {
    fn latest(&self) -> Option<Arc<Numbers>> {
        self.latest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn younger_than(&self, age: Duration, now: Timestamp) -> Option<Arc<Numbers>> {
        let is_young = |at: Timestamp| at <= now && now.since(at) < age;
        self.latest().filter(|numbers| numbers.read_at.is_some_and(is_young))
    }
}

/// All apps in numbers, a few seconds old.
pub(crate) async fn numbers(web: &Arc<Web>, now: Timestamp) -> Result<Arc<Numbers>, StoreError> {
    let standing = &web.standing;
    if let Some(numbers) = standing.younger_than(GOOD_FOR, now) {
        return Ok(numbers);
    }
    if let Some(numbers) = standing.younger_than(STALE_MAX, now) {
        if !standing.in_background.swap(true, Ordering::AcqRel) {
            let web = Arc::clone(web);
            tokio::spawn(async move {
                if let Err(error) = read_again(&web, GOOD_FOR, now).await {
                    unread(&error);
                }
                web.standing.in_background.store(false, Ordering::Release);
            });
        }
        return Ok(numbers);
    }
    read_again(web, GOOD_FOR, now).await
}

/// What is said beside numbers that are old, until newer ones are there.
pub(crate) fn age_note(view: &View, numbers: &Numbers) -> Markup {
    let old = numbers.read_at.filter(|at| *at <= view.now && view.now.since(*at) >= SAID_AFTER);
    html! { @if let Some(at) = old { (stale(&html! { "These numbers were read " (view.ago(at)) "; newer ones are on their way." })) } }
}

/// Reads before anybody looks: every app's day at the start, then slowly, until the process stops.
pub(crate) async fn keep_read(web: Arc<Web>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let pause = match read_again(&web, Duration::ZERO, web.engine.now()).await {
            Ok(numbers) if numbers.apps.values().any(|app| app.day.is_none()) => Duration::ZERO,
            Ok(_) => IDLE_EVERY,
            Err(_) if *stop.borrow() => return,
            Err(error) => {
                unread(&error);
                IDLE_EVERY
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            ended = stop.changed() => if ended.is_err() { return },
        }
    }
}

fn unread(error: &StoreError) {
    tracing::warn!(%error, "the numbers of all apps could not be read");
}

/// One reading, unless there is one that is younger than so long.
async fn read_again(web: &Web, good_for: Duration, now: Timestamp) -> Result<Arc<Numbers>, StoreError> {
    let standing = &web.standing;
    let _alone = standing.reading.lock().await;
    if let Some(numbers) = standing.younger_than(good_for, now) {
        return Ok(numbers);
    }
    let read = Arc::new(read(web, standing.latest().unwrap_or_default(), now).await?);
    *standing.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
    Ok(read)
}

async fn read(web: &Web, before: Arc<Numbers>, now: Timestamp) -> Result<Numbers, StoreError> {
    let alerts = alerts(web, now).await?;
    let events = events(web, now).await?;
    let apps: Vec<(AppId, Timestamp)> = {
        let apps = web.engine.apps();
        apps.iter().map(|app| (app.id, web.engine.totals(app, |totals| totals.newest_at))).collect()
    };
    let ids: Vec<AppId> = apps.iter().map(|(app, _)| *app).collect();
    let from = (now - DAY).floor(CELL) + CELL;
    let mut days: HashMap<AppId, Arc<Day>> =
        before.apps.iter().filter_map(|(app, numbers)| Some((*app, Arc::clone(numbers.day.as_ref()?)))).collect();
    days.extend(read_days(web, &oldest_days(&ids, &days, from, now), from, now).await?);
    let mut present = present(web, &ids, now).await?;
    let in_numbers = |(app, newest): (AppId, Timestamp)| {
        let now_few = present.remove(&app).unwrap_or_default();
        let rpm = now_few.requests.map(|requests| requests * 60.0 / NOW.as_secs_f64());
        let mut numbers = AppNumbers { now: now_few, rpm, day: days.remove(&app), ..AppNumbers::default() };
        if let Some(day) = &numbers.day {
            let none = Vec::new();
            numbers.strip = strip(day, newest, alerts.get(&app).unwrap_or(&none), from, now);
            numbers.spark = cells().map(|i| day.at(from, i).and_then(|cell| *day.p95.get(cell)?)).collect();
        }
        (app, numbers)
    };
    Ok(Numbers { read_at: Some(now), apps: apps.into_iter().map(in_numbers).collect(), events })
}

/// Alerts that a day's strip may show, by app.
async fn alerts(web: &Web, now: Timestamp) -> Result<HashMap<AppId, Vec<AlertRow>>, StoreError> {
    let store = web.engine.store();
    let filter = AlertFilter { since: Some(now - ALERTS_BACK), limit: ALERTS_MAX, ..AlertFilter::default() };
    let mut alerts = store.alerts(&filter).await?;
    let open = AlertFilter { state: Some(AlertState::Firing), limit: ALERTS_MAX, ..AlertFilter::default() };
    alerts.extend(store.alerts(&open).await?);
    let mut by_app: HashMap<AppId, Vec<AlertRow>> = HashMap::new();
    for row in alerts.into_iter().filter(|row| row.severity.is_some()) {
        by_app.entry(row.key.app).or_default().push(row);
    }
    Ok(by_app)
}

/// What the feed shows besides alerts.
async fn events(web: &Web, now: Timestamp) -> Result<Vec<(AppId, Happening)>, StoreError> {
    let store = web.engine.store();
    let releases = store.releases_since(now - DAY).await?.into_iter().rev().take(EVENTS_MAX as usize);
    let mut events: Vec<(AppId, Happening)> = releases.map(|(app, release)| (app, Happening::from(release))).collect();
    let others = store.newest_events(now - DAY, EVENTS_MAX).await?;
    events.extend(others.into_iter().map(|(app, event)| (app, Happening::from(event))));
    events.sort_by_key(|(_, happening)| std::cmp::Reverse(happening.at));
    Ok(events)
}

/// The last five minutes of all apps.
async fn present(web: &Web, apps: &[AppId], now: Timestamp) -> Result<HashMap<AppId, Few>, StoreError> {
    let begin = (now - NOW).floor(Duration::from_secs(10));
    let queries = few_queries(Span { from: begin, until: begin + NOW, step: NOW });
    let mut present = HashMap::with_capacity(apps.len());
    for some in apps.chunks(APPS_AT_ONCE) {
        let answers = web.engine.series_of_apps(some, &queries).await?.into_iter();
        present.extend(answers.filter_map(|(app, answers)| Some((app, few(&answers).into_iter().next()?))));
        // Answers that wait for this thread go first.
        tokio::task::yield_now().await;
    }
    Ok(present)
}

/// The apps whose day is to be read now: those without one first, then those whose day ends before the newest cell, then
/// the others; the oldest first, and no more than a reading has room for.
fn oldest_days(apps: &[AppId], days: &HashMap<AppId, Arc<Day>>, from: Timestamp, now: Timestamp) -> Vec<AppId> {
    let order = |app: &AppId| match days.get(app) {
        None => Some((0, now, *app)),
        Some(day) if day.from != from || day.read_at > now => Some((1, day.read_at, *app)),
        Some(day) if now.since(day.read_at) >= DAY_EVERY => Some((2, day.read_at, *app)),
        Some(_) => None,
    };
    let mut due: Vec<_> = apps.iter().filter_map(order).collect();
    due.sort_unstable();
    due.into_iter().take(DAYS_AT_ONCE).map(|(_, _, app)| app).collect()
}

async fn read_days(
    web: &Web,
    apps: &[AppId],
    from: Timestamp,
    now: Timestamp,
) -> Result<Vec<(AppId, Arc<Day>)>, StoreError> {
    let span = Span { from, until: from + DAY, step: CELL };
    let queries = [
        number(span, "app.lines", Aggregation::Sum, Labels::Any),
        number(span, "router.service_ms", Aggregation::Quantile(0.95), Labels::Any),
    ];
    let day = |(app, answers): (AppId, Vec<_>)| {
        let mut points = answers.into_iter().map(only_points);
        let seen = points.next().unwrap_or_default().iter().map(Option::is_some).collect();
        (app, Arc::new(Day { from, read_at: now, seen, p95: points.next().unwrap_or_default() }))
    };
    let mut days = Vec::with_capacity(apps.len());
    for some in apps.chunks(DAYS_TOGETHER) {
        days.extend(web.engine.series_of_apps(some, &queries).await?.into_iter().map(day));
        tokio::task::yield_now().await;
    }
    Ok(days)
}

fn only_points(asked: Asked) -> Vec<Option<f64>> {
    asked.answer.series.into_iter().next().map(|series| series.points).unwrap_or_default()
}

/// The cells of a day.
fn cells() -> std::ops::Range<u32> {
    0..u32::try_from(DAY.as_secs() / CELL.as_secs()).unwrap_or(0)
}

impl Day {
    /// Which of its cells is the i-th of a day that begins at `from`; `None` for one that it does not reach to.
    fn at(&self, from: Timestamp, i: u32) -> Option<usize> {
        let begin = from + CELL * i;
        let cell = (begin >= self.from).then(|| begin.since(self.from).as_secs() / CELL.as_secs())?;
        usize::try_from(cell).ok().filter(|cell| *cell < cells().len())
    }
}

/// How an app stood, cell by cell: the worst alert that was open, else whether anything was seen. The newest line tells of its
/// cell, too: that may have begun, or have been empty still, when the day was read.
fn strip(day: &Day, newest: Timestamp, alerts: &[AlertRow], from: Timestamp, now: Timestamp) -> Vec<State> {
    let state = |i: u32| {
        let (begin, end) = (from + CELL * i, from + CELL * (i + 1));
        let was_open = |row: &&AlertRow| row.since < end && row.resolved_at.unwrap_or(now) >= begin;
        let was_read = day.at(from, i).and_then(|cell| day.seen.get(cell).copied()).unwrap_or(false);
        let was_seen = was_read || (newest >= begin && newest < end);
        match alerts.iter().filter(was_open).filter_map(|row| row.severity).max() {
            Some(Severity::Critical) => State::Down,
            Some(Severity::Warning) => State::Degraded,
            Some(_) => State::Info,
            None if was_seen => State::Up,
            None => State::Unknown,
        }
    };
    cells().map(state).collect()
}

/// A strip in words: `Last 24 h: well 22 h, degraded 1.5 h, unknown 30 min`.
pub(crate) fn strip_words(strip: &[State]) -> String {
    if strip.is_empty() {
        return "Last 24 h: not read yet".to_owned();
    }
    let of = [
        (State::Down, "down"),
        (State::Degraded, "degraded"),
        (State::Info, "alerts to know of"),
        (State::Up, "well"),
        (State::Unknown, "unknown"),
    ];
    let said = of.into_iter().filter_map(|(state, word)| {
        let cells = strip.iter().filter(|cell| **cell == state).count();
        let hours = cells as f64 * CELL.as_secs_f64() / 3_600.0;
        (cells > 0).then(|| format!("{word} {hours} h"))
    });
    format!("Last 24 h: {}", said.collect::<Vec<_>>().join(", "))
}

/// How an app stands now: open alerts first, then whether anything is seen.
pub(crate) fn state_now(worst: Option<Severity>, open: usize, newest: Option<Timestamp>, now: Timestamp) -> State {
    match (worst, newest) {
        (Some(Severity::Critical), _) => State::Down,
        _ if open > 0 => State::Degraded,
        (_, Some(at)) if now.since(at) <= SILENCE_MAX => State::Up,
        _ => State::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_data_is_unknown_never_green() {
        let now = Timestamp::from_seconds(1_000_000);
        let (fresh, old) = (Some(now - Duration::from_secs(5)), Some(now - Duration::from_secs(3_600)));
        for (worst, open, newest, want) in [
            (None, 0, fresh, State::Up),
            (None, 0, old, State::Unknown),
            (None, 0, None, State::Unknown),
            (Some(Severity::Info), 1, fresh, State::Degraded),
            (Some(Severity::Critical), 2, old, State::Down),
        ] {
            assert_eq!(state_now(worst, open, newest, now), want);
        }
        let day = day(now - DAY, now, &[true, false]);
        let strip = strip(&day, now - DAY, &[], now - DAY, now);
        assert_eq!((strip.len(), strip[0], strip[1], strip[47]), (48, State::Up, State::Unknown, State::Unknown));
        assert_eq!(strip_words(&strip), "Last 24 h: well 0.5 h, unknown 23.5 h");
        assert_eq!(strip_words(&[]), "Last 24 h: not read yet");
    }

    fn day(from: Timestamp, read_at: Timestamp, seen: &[bool]) -> Day {
        Day { from, read_at, seen: seen.to_vec(), p95: Vec::new() }
    }

    /// A new cell has begun since the day was read: what was seen stands one cell further left, and the newest line says
    /// whether anything was seen in the new one.
    #[test]
    fn a_day_that_was_read_in_another_cell() {
        let from = Timestamp::from_seconds(1_800_000);
        let now = from + DAY + CELL / 2;
        let read = day(from, from + DAY - CELL, &[[false].as_slice(), &[true; 47]].concat());
        let line = |at: Timestamp| strip(&read, at, &[], from + CELL, now);
        assert_eq!(line(now), [State::Up; 48]);
        let silent = line(from + DAY - Duration::from_secs(1));
        assert_eq!((silent[46], silent[47]), (State::Up, State::Unknown));
        assert_eq!([read.at(from, 0), read.at(from, 47), read.at(from + CELL, 47)], [Some(0), Some(47), None]);
        assert_eq!(read.at(from - CELL, 0), None);
    }

    /// A day is good for a minute. An app whose first line comes right after its day was read is not unknown for so long.
    #[test]
    fn a_day_that_was_read_before_the_first_line() {
        let from = Timestamp::from_seconds(1_800_000);
        let now = from + DAY - CELL / 2;
        let read = day(from, now, &[false; 48]);
        let line = |at: Timestamp| strip(&read, at, &[], from, now);
        assert_eq!(line(Timestamp::default()), [State::Unknown; 48], "nothing came");
        let first = line(now);
        assert_eq!((&first[..47], first[47]), (&[State::Unknown; 47][..], State::Up));
        let late = line(now - CELL);
        assert_eq!((late[46], late[47]), (State::Up, State::Unknown), "its own cell and no other");
    }

    #[test]
    fn the_oldest_days_are_read_first_and_never_many() {
        let (from, now) = (Timestamp::from_seconds(1_800_000), Timestamp::from_seconds(1_900_000));
        let ids: Vec<AppId> = (0..50).map(|n| AppId(uuid::Uuid::from_u128(n))).collect();
        let ago = Duration::from_secs;
        let mut days = HashMap::new();
        assert_eq!(oldest_days(&ids, &days, from, now), ids[..DAYS_AT_ONCE]);
        for (n, app) in (0..).zip(&ids) {
            days.insert(*app, Arc::new(day(from, now - ago(n), &[])));
        }
        assert_eq!(oldest_days(&ids, &days, from, now), []);
        // Ten seconds later none is a minute old; a minute after the newest was read all are.
        assert_eq!(oldest_days(&ids, &days, from, now + ago(10)), []);
        let mut oldest = ids[50 - DAYS_AT_ONCE..].to_vec();
        oldest.reverse();
        assert_eq!(oldest_days(&ids, &days, from, now + ago(60)), oldest);
        // A day of a former cell goes before them, an app without one before all.
        days.insert(ids[3], Arc::new(day(from - CELL, now, &[])));
        days.remove(&ids[7]);
        let due = oldest_days(&ids, &days, from, now + ago(60));
        assert_eq!((due[0], due[1], due[2], due.len()), (ids[7], ids[3], ids[49], DAYS_AT_ONCE));
    }
}
