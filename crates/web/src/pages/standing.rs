//! The numbers of all apps at once, for the first page and the list of apps: read in the background, a few seconds old, once
//! for however many look. What must not be old (open alerts, the newest line) is not among them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynowatch_domain::metric::query::{Aggregation, Labels};
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::metrics::strip::Happening;
use dynowatch_store::StoreError;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};

use super::app::SILENCE_MAX;
use super::app::numbers::{Few, few, few_queries};
use super::app::plan::{Span, number};
use super::parts::State;
use crate::router::Web;

/// How old numbers may be before they are read again.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// How old they may be to be shown while they are read again; after that whoever looks waits.
const STALE_MAX: Duration = Duration::from_secs(60);
/// How often the day behind is read again.
const DAY_EVERY: Duration = Duration::from_secs(60);
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

/// A day of an app.
#[derive(Debug, Clone, Default)]
struct Day {
    /// Whether anything was seen, cell by cell.
    seen: Vec<bool>,
    p95: Vec<Option<f64>>,
}

/// An app in numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct AppNumbers {
    /// How it stood over the last day, oldest first.
    pub(crate) strip: Vec<State>,
    /// The response time of nineteen of twenty requests over the day, in ms.
    pub(crate) spark: Vec<Option<f64>>,
    /// The last five minutes.
    pub(crate) now: Few,
    /// Requests a minute.
    pub(crate) rpm: Option<f64>,
    day: Day,
}

/// All apps in numbers.
#[derive(Default)]
pub(crate) struct Numbers {
    read_at: Option<Timestamp>,
    day_at: Option<Timestamp>,
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
                if let Err(error) = read_again(&web, now).await {
                    tracing::warn!(%error, "the numbers of all apps could not be read");
                }
                web.standing.in_background.store(false, Ordering::Release);
            });
        }
        return Ok(numbers);
    }
    read_again(web, now).await
}

async fn read_again(web: &Web, now: Timestamp) -> Result<Arc<Numbers>, StoreError> {
    let standing = &web.standing;
    let _alone = standing.reading.lock().await;
    if let Some(numbers) = standing.younger_than(GOOD_FOR, now) {
        return Ok(numbers);
    }
    let read = Arc::new(read(web, standing.latest().unwrap_or_default(), now).await?);
    *standing.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&read));
    Ok(read)
}

async fn read(web: &Web, before: Arc<Numbers>, now: Timestamp) -> Result<Numbers, StoreError> {
    let store = web.engine.store();
    let filter = AlertFilter { since: Some(now - ALERTS_BACK), limit: ALERTS_MAX, ..AlertFilter::default() };
    let mut alerts = store.alerts(&filter).await?;
    let open = AlertFilter { state: Some(AlertState::Firing), limit: ALERTS_MAX, ..AlertFilter::default() };
    alerts.extend(store.alerts(&open).await?);
    let releases = store.releases_since(now - DAY).await?.into_iter().rev().take(EVENTS_MAX as usize);
    let mut events: Vec<(AppId, Happening)> = releases.map(|(app, release)| (app, Happening::from(release))).collect();
    let others = store.newest_events(now - DAY, EVENTS_MAX).await?;
    events.extend(others.into_iter().map(|(app, event)| (app, Happening::from(event))));
    events.sort_by_key(|(_, happening)| std::cmp::Reverse(happening.at));
    let from = (now - DAY).floor(CELL) + CELL;
    let keep_day =
        before.day_at.filter(|at| *at <= now && now.since(*at) < DAY_EVERY && at.floor(CELL) == now.floor(CELL));
    let ids: Vec<AppId> = web.engine.apps().iter().map(|app| app.id).collect();
    let mut apps = HashMap::with_capacity(ids.len());
    for app in ids {
        let kept = before.apps.get(&app).filter(|_| keep_day.is_some()).map(|numbers| numbers.day.clone());
        let day = match kept {
            Some(day) => day,
            None => day(web, app, from).await?,
        };
        let begin = (now - NOW).floor(Duration::from_secs(10));
        let span = Span { from: begin, until: begin + NOW, step: NOW };
        let answers = web.engine.series_all(app, &few_queries(span)).await?;
        let few = few(&answers).into_iter().next().unwrap_or_default();
        let rpm = few.requests.map(|requests| requests * 60.0 / NOW.as_secs_f64());
        let mine: Vec<&AlertRow> = alerts.iter().filter(|row| row.key.app == app && row.severity.is_some()).collect();
        let strip = strip(&day.seen, &mine, from, now);
        apps.insert(app, AppNumbers { strip, spark: day.p95.clone(), now: few, rpm, day });
    }
    Ok(Numbers { read_at: Some(now), day_at: keep_day.or(Some(now)), apps, events })
}

async fn day(web: &Web, app: AppId, from: Timestamp) -> Result<Day, StoreError> {
    let span = Span { from, until: from + DAY, step: CELL };
    let queries = [
        number(span, "app.lines", Aggregation::Sum, Labels::Any),
        number(span, "router.service_ms", Aggregation::Quantile(0.95), Labels::Any),
    ];
    let mut answers = web.engine.series_all(app, &queries).await?.into_iter();
    let mut next =
        || answers.next().and_then(|asked| asked.answer.series.into_iter().next()).map(|series| series.points);
    let seen = next().unwrap_or_default().iter().map(Option::is_some).collect();
    Ok(Day { seen, p95: next().unwrap_or_default() })
}

/// How an app stood, cell by cell: the worst alert that was open, else whether anything was seen.
fn strip(seen: &[bool], alerts: &[&AlertRow], from: Timestamp, now: Timestamp) -> Vec<State> {
    let cells = u32::try_from(DAY.as_secs() / CELL.as_secs()).unwrap_or(0);
    let cell = |i: u32| {
        let (begin, end) = (from + CELL * i, from + CELL * (i + 1));
        let was_open = |row: &&&AlertRow| row.since < end && row.resolved_at.unwrap_or(now) >= begin;
        match alerts.iter().filter(was_open).filter_map(|row| row.severity).max() {
            Some(Severity::Critical) => State::Down,
            Some(Severity::Warning) => State::Degraded,
            Some(_) => State::Info,
            None if seen.get(i as usize).copied().unwrap_or(false) => State::Up,
            None => State::Unknown,
        }
    };
    (0..cells).map(cell).collect()
}

/// A strip in words: `last 24 h: well 22 h, degraded 1.5 h, unknown 30 min`.
pub(crate) fn strip_words(strip: &[State]) -> String {
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
        let strip = strip(&[true, false], &[], now - DAY, now);
        assert_eq!((strip.len(), strip[0], strip[1], strip[47]), (48, State::Up, State::Unknown, State::Unknown));
        assert_eq!(strip_words(&strip), "Last 24 h: well 0.5 h, unknown 23.5 h");
    }
}
