//! Answers from what is stored: which step a question is read in, and how rows of several steps and chunks that are in no
//! row yet make one answer without counting anything twice.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::metric::query::{Answer, Merger, Origin, POINTS_MAX, Place, SEEN_METRIC, Window};
use dynowatch_domain::metric::{Kind, SeriesKey, SeriesQuery, Step, Value, catalogue, chunk, pack};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::metric_values::{Chunks, Found, Packed, Wanted};

use super::recorder::Latest;
use crate::apps::lock;
use crate::{App, Engine};

/// Points of a chart when nobody says how many.
const POINTS_AIM: i64 = 400;
/// Series note that they are alive this often at least; those not seen since before a span have nothing in it.
const NOTED_EVERY: Duration = Duration::from_secs(26 * 3_600);
/// A process that was killed had up to this much in memory.
const UNFLUSHED: Duration = Duration::from_secs(10);

/// How long the slots of an answer shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StepChoice {
    /// As long as needed for a chart of some hundreds of points.
    #[default]
    Auto,
    /// Exactly so long; a multiple of ten seconds.
    Length(Duration),
}

/// An answer and the question as it was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Where the first slot begins.
    pub from: Timestamp,
    /// Where the last one ends.
    pub until: Timestamp,
    /// The length of a slot.
    pub step: Duration,
    /// The unit of the values; empty for plain numbers.
    pub unit: &'static str,
    /// Times within the span in which not everything was seen: what was counted there is a lower bound.
    pub blind: Vec<(Timestamp, Timestamp)>,
    /// The series.
    pub answer: Answer,
}

/// A value of ten seconds, of which series and from when on.
pub(crate) type SlotValue = (SeriesKey, Timestamp, Value);

/// A metric that an app has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricOfApp {
    /// Its name.
    pub name: String,
    /// What its values are.
    pub kind: Kind,
    /// Its unit; empty for plain numbers.
    pub unit: &'static str,
    /// What it means; empty for the team's own.
    pub help: &'static str,
    /// Whose series there are.
    pub sources: Vec<String>,
    /// Which labels.
    pub labels: Vec<String>,
}

/// The steps of packed rows that answer a question in this one, shorter ones first.
fn steps(step: Step) -> &'static [(Step, bool)] {
    match step {
        Step::TenSeconds => &[],
        Step::Minute => &[(Step::Minute, false)],
        Step::TenMinutes => &[(Step::Minute, true), (Step::TenMinutes, false)],
        Step::Hour => &[(Step::Minute, true), (Step::TenMinutes, true), (Step::Hour, false)],
    }
}

/// The longest step whose slots fit into those of a question.
fn step_read(query: &SeriesQuery) -> Step {
    let fits = |step: &&Step| {
        let seconds = step.seconds();
        let whole = |micros: i64| micros % (seconds * 1_000_000) == 0;
        whole(dynowatch_domain::time::micros(query.step)) && whole(query.from.as_micros())
    };
    Step::ALL.iter().rev().find(fits).copied().unwrap_or(Step::TenSeconds)
}

/// The slots of a chart over a span: how long, and where they begin and end. `Err` says what would be right.
///
/// # Errors
/// When the slots are no multiple of ten seconds, or too many.
pub fn slots(
    metric: &str,
    from: Timestamp,
    until: Timestamp,
    choice: StepChoice,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp, Duration), String> {
    if until <= from {
        return Err("the span is empty: `from` lies before `until`".to_owned());
    }
    let seconds = i64::try_from(until.since(from).as_secs()).unwrap_or(i64::MAX);
    let step = match choice {
        StepChoice::Length(step) => i64::try_from(step.as_secs()).unwrap_or(0),
        StepChoice::Auto => {
            let finest = catalogue::finest(metric);
            let kept = |step: &Step| *step >= finest && now.since(from) <= step.kept();
            let fine = Step::ALL.iter().find(|step| kept(step)).unwrap_or(&Step::Hour).seconds();
            const ROUND: [i64; 12] = [10, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 43_200, 86_400];
            let fits = |step: &i64| *step >= fine && *step % fine == 0 && seconds / *step <= POINTS_AIM;
            ROUND.into_iter().find(fits).unwrap_or(86_400)
        }
    };
    if step < 10 || step % 10 != 0 {
        return Err("the step is not a multiple of ten seconds: write 10s, 1m, 10m, 1h or auto".to_owned());
    }
    let length = Duration::from_secs(step.unsigned_abs());
    let from = from.floor(length);
    let until = (until + length - Duration::from_micros(1)).floor(length);
    let points = until.since(from).as_secs() / step.unsigned_abs();
    if points > POINTS_MAX as u64 {
        return Err(format!("{points} points are more than {POINTS_MAX}: ask for a longer step or a shorter span"));
    }
    Ok((from, until, length))
}

impl Engine {
    /// Answers a question about one app from what is stored: of the last ten seconds, what was flushed.
    ///
    /// # Errors
    /// When the store does not answer or holds something unreadable.
    pub async fn series(&self, app: AppId, query: &SeriesQuery) -> Result<Asked, StoreError> {
        let all = self.series_all(app, std::slice::from_ref(query)).await?;
        let none = || StoreError::Corrupt { what: "an answer about metrics".to_owned() };
        all.into_iter().next().ok_or_else(none)
    }

    /// Answers several questions about one app, reading what is stored once. All of them have the span and the step of the
    /// first.
    ///
    /// # Errors
    /// When the store does not answer or holds something unreadable.
    pub async fn series_all(&self, app: AppId, queries: &[SeriesQuery]) -> Result<Vec<Asked>, StoreError> {
        Ok(self.series_of_apps(&[app], queries).await?.remove(&app).unwrap_or_default())
    }

    /// Answers the same questions about several apps, reading what is stored once for all of them. All questions have the
    /// span and the step of the first. What is read is in memory at one time: ask about some dozens of apps, not thousands.
    ///
    /// # Errors
    /// When the store does not answer or holds something unreadable.
    pub async fn series_of_apps(
        &self,
        apps: &[AppId],
        queries: &[SeriesQuery],
    ) -> Result<HashMap<AppId, Vec<Asked>>, StoreError> {
        let Some(first) = queries.first() else { return Ok(HashMap::new()) };
        let (from, until, step) = (first.from, first.until, first.step);
        let queries: Vec<SeriesQuery> =
            queries.iter().map(|query| SeriesQuery { from, until, step, ..query.clone() }).collect();
        let (store, read) = (self.store(), step_read(first));
        let mut metrics: Vec<&str> = queries.iter().map(|query| &*query.metric).chain([SEEN_METRIC]).collect();
        metrics.sort_unstable();
        metrics.dedup();
        let mut answers = Answers::new(apps, &queries);
        for (app, id, key) in &store.series_named(apps, &metrics, from - NOTED_EVERY).await? {
            answers.know(*app, *id, key);
        }
        let series = answers.packed_series();
        let chunks = if read == Step::TenSeconds { Chunks::All } else { Chunks::Unfolded };
        let wanted = Wanted { apps, from, until, series: &series, steps: steps(read), chunks };
        let mut spoken_for = SpokenFor::default();
        let take = |found| match found {
            Found::Packed(row) => answers.add_packed(&mut spoken_for, &row),
            Found::Chunk(body) => answers.add_chunk(&body),
        };
        store.metric_values(&wanted, take).await?;
        let blinds = store.all_blinds_between(from, until).await?;
        let finish = |(app, mergers): (AppId, Vec<Merger<'_>>)| {
            let blind = blind_of(app, &blinds);
            let one = |(query, merger): (&SeriesQuery, Merger<'_>)| {
                let unit = catalogue::info(&query.metric).map_or("", |info| info.unit);
                Asked { from, until, step, unit, blind: blind.clone(), answer: merger.finish(&blind) }
            };
            (app, queries.iter().zip(mergers).map(one).collect())
        };
        Ok(answers.by_app(apps).map(finish).collect())
    }

    /// Ten-second values of an app of at most the last two hours, read once to be asked often.
    ///
    /// # Errors
    /// When the store does not answer or holds something unreadable.
    pub async fn metrics_window(&self, app: AppId, from: Timestamp, until: Timestamp) -> Result<Window, StoreError> {
        let store = self.store();
        let keys: HashMap<u64, SeriesKey> = store.series_of(app, from - NOTED_EVERY).await?.into_iter().collect();
        let wanted = Wanted { apps: &[app], from, until, series: &[], steps: &[], chunks: Chunks::All };
        let mut window = Window::default();
        let take = |found| {
            let Found::Chunk(body) = found else { return Ok(()) };
            unpack_chunk(
                &body,
                |series| keys.contains_key(&series),
                |series, at, value| {
                    if let Some(key) = keys.get(&series).filter(|_| at >= from && at < until) {
                        window.add(key, at, value);
                    }
                },
            )
        };
        store.metric_values(&wanted, take).await?;
        Ok(window)
    }

    /// Ten-second values of some metrics of an app of at most the last two hours, oldest first and no more than `most`: as
    /// rules on them were judged by.
    ///
    /// # Errors
    /// When the store does not answer or holds something unreadable.
    pub(crate) async fn ten_second_values(
        &self,
        app: AppId,
        metrics: &[&str],
        from: Timestamp,
        until: Timestamp,
        most: usize,
    ) -> Result<Vec<SlotValue>, StoreError> {
        let store = self.store();
        let keys = store.series_of(app, from - NOTED_EVERY).await?.into_iter();
        let keys: HashMap<u64, SeriesKey> = keys.filter(|(_, key)| metrics.contains(&&*key.metric)).collect();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let wanted = Wanted { apps: &[app], from, until, series: &[], steps: &[], chunks: Chunks::All };
        let mut values: Vec<SlotValue> = Vec::new();
        let take = |found| {
            let Found::Chunk(body) = found else { return Ok(()) };
            unpack_chunk(
                &body,
                |series| keys.contains_key(&series),
                |series, at, value| {
                    let key = keys.get(&series).filter(|_| at >= from && at < until && values.len() < most);
                    values.extend(key.map(|key| (key.clone(), at, value)));
                },
            )
        };
        store.metric_values(&wanted, take).await?;
        values.sort_by_key(|(_, at, _)| *at);
        Ok(values)
    }

    /// The times of a span in which not everything of an app was seen.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn blind_times(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<(Timestamp, Timestamp)>, StoreError> {
        Ok(blind_of(app, &self.store().all_blinds_between(from, until).await?))
    }

    /// The metrics that an app has had since a moment, by name.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn metric_names(&self, app: AppId, since: Timestamp) -> Result<Vec<MetricOfApp>, StoreError> {
        let mut found: BTreeMap<(String, Kind), MetricOfApp> = BTreeMap::new();
        for (_, key) in self.store().series_of(app, since - NOTED_EVERY).await? {
            let info = catalogue::info(&key.metric);
            let metric = found.entry((key.metric.to_string(), key.kind)).or_insert_with(|| MetricOfApp {
                name: key.metric.to_string(),
                kind: key.kind,
                unit: info.map_or("", |info| info.unit),
                help: info.map_or("", |info| info.help),
                sources: Vec::new(),
                labels: Vec::new(),
            });
            for (list, text) in [(&mut metric.sources, &key.source), (&mut metric.labels, &key.label)] {
                if !text.is_empty() && !list.iter().any(|known| **known == **text) {
                    list.push(text.to_string());
                }
            }
        }
        Ok(found.into_values().collect())
    }

    /// The newest value of every series that this process has seen of an app, by key. Of counters of platform lines and of
    /// the team's own, the sum since the process began; requests are in [`Engine::totals`].
    #[must_use]
    pub fn latest(&self, app: &App) -> Vec<Latest> {
        let (keys, newest) = lock(&app.live.recorder).latest();
        let mut all: Vec<Latest> = keys
            .iter()
            .zip(newest)
            .filter(|(_, (_, at))| *at > Timestamp::from_micros(i64::MIN))
            .map(|(key, (value, at))| Latest { key: key.clone(), value, at })
            .collect();
        all.sort_by(|a, b| {
            (&a.key.source, &a.key.metric, &a.key.label).cmp(&(&b.key.source, &b.key.metric, &b.key.label))
        });
        all
    }

    /// How many series of an app this process holds, how many values found no room, and how many lines were too late.
    #[must_use]
    pub fn series_bounds(&self, app: &App) -> SeriesBounds {
        let recorder = lock(&app.live.recorder);
        SeriesBounds { series: recorder.series_count(), refused: recorder.refused, late: recorder.late }
    }
}

/// How an app stands against the bounds of metrics, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SeriesBounds {
    /// Series known.
    pub series: usize,
    /// Values of series that found no room.
    pub refused: u64,
    /// Lines too old for any slot.
    pub late: u64,
}

/// The times among these in which not everything of an app was seen.
fn blind_of(app: AppId, blinds: &[(Option<AppId>, Blind)]) -> Vec<(Timestamp, Timestamp)> {
    let of_app = blinds.iter().filter(|(of, _)| of.is_none_or(|of| of == app)).map(|(_, blind)| {
        // A process that died had up to ten seconds that it had not flushed.
        let lost = if blind.reason == BlindReason::Down { UNFLUSHED } else { Duration::ZERO };
        (blind.from - lost, blind.until)
    });
    of_app.collect()
}

/// Answers in the making: those of one app lie together, in the order of the questions.
struct Answers<'q> {
    questions: usize,
    /// Where those of an app begin.
    begins: HashMap<AppId, usize>,
    mergers: Vec<Merger<'q>>,
    in_chunks: Places,
    in_packs: HashMap<u64, Destination>,
}

impl<'q> Answers<'q> {
    fn new(apps: &[AppId], queries: &'q [SeriesQuery]) -> Self {
        Self {
            questions: queries.len(),
            begins: apps.iter().enumerate().map(|(at, app)| (*app, at * queries.len())).collect(),
            mergers: apps.iter().flat_map(|_| queries.iter().map(Merger::new)).collect(),
            in_chunks: Places::new(),
            in_packs: HashMap::new(),
        }
    }

    /// A series of an app: its values go where somebody asks for them.
    fn know(&mut self, app: AppId, id: u64, key: &SeriesKey) {
        let Some(&begin) = self.begins.get(&app) else { return };
        let mut places = |origin| -> Vec<(usize, Place)> {
            let of_app = self.mergers.iter_mut().enumerate().skip(begin).take(self.questions);
            of_app.filter_map(|(at, merger)| Some((at, merger.place(key, origin)?))).collect()
        };
        let (of_chunks, of_packs) = (places(Origin::Chunk), places(Origin::Packed));
        if !of_chunks.is_empty() {
            self.in_chunks.insert(id, of_chunks);
        }
        if !of_packs.is_empty() {
            self.in_packs.insert(id, (of_packs, key.kind));
        }
    }

    /// The series whose packed rows are wanted, in order.
    fn packed_series(&self) -> Vec<u64> {
        let mut series: Vec<u64> = self.in_packs.keys().copied().collect();
        series.sort_unstable();
        series
    }

    fn add_chunk(&mut self, body: &[u8]) -> Result<(), StoreError> {
        let Self { mergers, in_chunks, .. } = self;
        unpack_chunk(
            body,
            |series| in_chunks.contains_key(&series),
            |series, at, value| add(mergers, in_chunks.get(&series), at, &value),
        )
    }

    /// Adds a row; rows of shorter steps come first. Where a shorter step has what a longer one does not know yet, it speaks
    /// for the whole row.
    fn add_packed(&mut self, spoken_for: &mut SpokenFor, row: &Packed) -> Result<(), StoreError> {
        const HOUR: Duration = Step::Hour.length();
        const DAY: Duration = Duration::from_secs(86_400);
        let Packed { series, step, from, pending, ref body } = *row;
        let Some((places, kind)) = self.in_packs.get(&series) else { return Ok(()) };
        let slots = pack::unpack(*kind, body)
            .ok_or_else(|| StoreError::Corrupt { what: "a packed row of metrics".to_owned() })?;
        let SpokenFor { hours, days } = spoken_for;
        for (at, value) in &slots {
            let at = step.at(from, *at);
            let known = step > Step::Minute && hours.contains(&(series, at.floor(HOUR)))
                || step > Step::TenMinutes && days.contains(&(series, at.floor(DAY)));
            if !known {
                add(&mut self.mergers, Some(places), at, value);
            }
        }
        match step {
            Step::Minute if pending => drop(hours.insert((series, from))),
            Step::TenMinutes if pending => drop(days.insert((series, from))),
            _ => {}
        }
        Ok(())
    }

    /// The answers of each app.
    fn by_app(self, apps: &[AppId]) -> impl Iterator<Item = (AppId, Vec<Merger<'q>>)> {
        let mut mergers = self.mergers.into_iter();
        apps.iter().map(move |app| (*app, mergers.by_ref().take(self.questions).collect()))
    }
}

/// Where the values of each series go: in which answers, and where there.
type Places = HashMap<u64, Vec<(usize, Place)>>;

fn add(mergers: &mut [Merger<'_>], places: Option<&Vec<(usize, Place)>>, at: Timestamp, value: &Value) {
    for (of, place) in places.into_iter().flatten() {
        if let Some(merger) = mergers.get_mut(*of) {
            merger.add(*place, at, value);
        }
    }
}

/// Where the values of a series go, and of which kind they are.
type Destination = (Vec<(usize, Place)>, Kind);

/// Hours and days of a series of which rows of a shorter step have told already.
#[derive(Default)]
struct SpokenFor {
    hours: HashSet<(u64, Timestamp)>,
    days: HashSet<(u64, Timestamp)>,
}

fn unpack_chunk(
    body: &[u8],
    wanted: impl FnMut(u64) -> bool,
    each: impl FnMut(u64, Timestamp, Value),
) -> Result<(), StoreError> {
    chunk::unpack(body, wanted, each).ok_or_else(|| StoreError::Corrupt { what: "a chunk of metrics".to_owned() })
}
