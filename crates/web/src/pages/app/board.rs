//! An app's charts over a span with everything that stands around them, read in few queries and kept for a few seconds: the
//! page, each chart's JSON and each CSV are answered from the same board, so they cannot differ.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::metric::query::SeriesData;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::metrics::query::{Asked, MetricOfApp};
use dynowatch_engine::metrics::strip::Happening;
use dynowatch_store::StoreError;

use super::plan::{Named, Part, Plan, Scope, Span, What, charts, process_types};
use super::words;
use crate::cached::Cached;
use crate::pages::chart::{Data, Drawn, Event, Series};
use crate::pages::happenings;
use crate::router::Web;
use crate::show::{masked, visible};

/// How long a board is good for. Lines are flushed every ten seconds.
const GOOD_FOR: Duration = Duration::from_secs(8);
/// Series of one chart: the highest.
const SERIES_MAX: usize = 24;
/// Series in colour; the rest is grey.
const COLOURED_MAX: usize = 6;
/// Happenings that charts know of.
const EVENTS_MAX: usize = 200;

/// Which board.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) app: AppId,
    pub(crate) span: Span,
    pub(crate) scope: Scope,
}

/// A chart with its words.
pub(crate) struct Chart {
    pub(crate) id: String,
    what: What,
    pub(crate) about: String,
    pub(crate) title: String,
    pub(crate) summary: String,
    pub(crate) data: Data,
    pub(crate) addon: Option<String>,
}

/// All of an app's charts over a span.
pub(crate) struct Board {
    pub(crate) span: Span,
    pub(crate) charts: Vec<Chart>,
    pub(crate) happenings: Vec<Happening>,
    pub(crate) process_types: Vec<String>,
    /// Whether anything is known of the app at all.
    pub(crate) has_metrics: bool,
    pub(crate) blind: Vec<(Timestamp, Timestamp)>,
}

impl Board {
    pub(crate) fn chart(&self, id: &str) -> Option<&Chart> {
        self.charts.iter().find(|chart| chart.id == id)
    }
}

/// Boards that were asked for lately.
pub(crate) type Boards = Cached<Key, Board>;

pub(crate) fn boards() -> Boards {
    Cached::new(GOOD_FOR)
}

/// The board of an app, from what was read lately or from the store.
pub(crate) async fn board(web: &Web, key: Key, now: Timestamp) -> Result<Arc<Board>, StoreError> {
    // Boxed: what is read for a board is a large future, and everyone who waits for it would be as large.
    web.boards.get(key.clone(), now, Box::pin(read(web, key, now))).await
}

async fn read(web: &Web, key: Key, now: Timestamp) -> Result<Board, StoreError> {
    let Key { app, span, mut scope } = key;
    let known: Vec<MetricOfApp> = web.engine.metric_names(app, span.from).await?;
    let process_types = process_types(&known);
    if !process_types.contains(&scope.process) {
        let web_first = process_types.iter().find(|name| *name == "web").or(process_types.first());
        scope.process = web_first.cloned().unwrap_or_else(|| "web".to_owned());
    }
    let plans = charts(span, &scope, &known);
    let queries: Vec<_> = plans.iter().flat_map(|plan| &plan.parts).map(|part| part.query.clone()).collect();
    let mut answers = web.engine.series_all(app, &queries).await?;
    let happenings = web.engine.app_events(app, span.from, span.until).await?;
    let events: Vec<Event> = happenings::events(web, &web_app_name(web, app), &happenings, EVENTS_MAX);
    let blind = answers.first().map(|asked| asked.blind.clone()).unwrap_or_default();
    let mut charts = Vec::with_capacity(plans.len());
    for plan in plans {
        let rest = answers.split_off(plan.parts.len().min(answers.len()));
        let mine = std::mem::replace(&mut answers, rest);
        charts.push(chart(web, span, now, plan, mine, &events));
    }
    none_is_zero(&mut charts);
    idle_times(&mut charts);
    let has_metrics = !known.is_empty();
    Ok(Board { span, charts, happenings, process_types, has_metrics, blind })
}

fn web_app_name(web: &Web, app: AppId) -> String {
    web.engine.apps().by_id(app).map(|app| app.name.clone()).unwrap_or_default()
}

fn chart(web: &Web, span: Span, now: Timestamp, plan: Plan, answers: Vec<Asked>, events: &[Event]) -> Chart {
    let step_s = i64::try_from(span.step.as_secs()).unwrap_or(i64::MAX).max(1);
    // What lies ahead is not unknown, it is not yet.
    let shown_until = span.until.min(now.floor(span.step) + span.step).max(span.from);
    let slots = (shown_until.as_seconds() - span.from.as_seconds()) / step_s;
    let mut series: Vec<Series> = Vec::new();
    for (part, asked) in plan.parts.iter().zip(answers) {
        series.extend(drawn(web, part, asked.answer.series));
    }
    for series in &mut series {
        let slots = usize::try_from(slots).unwrap_or(0);
        series.values.truncate(slots);
        if let Some(samples) = &mut series.samples {
            samples.truncate(slots);
        }
    }
    if plan.what == What::Response {
        series.sort_by_key(|series| series.samples.is_none());
    }
    let mut data = Data {
        x: (0..slots).map(|i| span.from.as_seconds() + i * step_s).collect(),
        step_s,
        unit: if plan.what.is_count() { per(step_s) } else { plan.unit },
        log: false,
        series,
        events: events.to_vec(),
        shades: plan.shades,
        incomplete: shown_until > now,
        idle: Vec::new(),
    };
    // What comes once now and then would press everything else to the ground.
    data.log = plan.what == What::Response && words::is_wide(&data);
    let (title, summary) = words::words(plan.what, &data);
    let (about, addon) = (visible(&masked(&web.engine, &plan.about)), plan.addon);
    Chart { id: plan.id, what: plan.what, about, title, summary, data, addon }
}

/// What a count of a bucket is, as a unit: buckets grow with the range.
fn per(step_s: i64) -> &'static str {
    match step_s {
        60 => "a minute",
        300 => "in 5 min",
        600 => "in 10 min",
        1_800 => "in 30 min",
        3_600 => "an hour",
        14_400 => "in 4 h",
        21_600 => "in 6 h",
        43_200 => "in 12 h",
        86_400 => "a day",
        _ => "",
    }
}

/// The series of one part: named, masked, the highest in colour.
fn drawn(web: &Web, part: &Part, answered: Vec<SeriesData>) -> Vec<Series> {
    let mut all = answered;
    let many = all.len() > COLOURED_MAX && part.named != Named::Class;
    if many {
        let highest = |series: &SeriesData| series.points.iter().flatten().copied().fold(f64::MIN, f64::max);
        all.sort_by(|a, b| highest(b).total_cmp(&highest(a)));
        all.truncate(SERIES_MAX);
    }
    let is_latency = part.query.metric == "router.service_ms";
    all.into_iter()
        .enumerate()
        .map(|(i, series)| {
            let name = match part.named {
                Named::This(name) => name.to_owned(),
                Named::Source => visible(&masked(&web.engine, &series.source)),
                Named::Class | Named::Label => visible(&masked(&web.engine, &series.label)),
            };
            let state = (part.named == Named::Class).then(|| class_state(&series.label));
            let scaled = |point: Option<f64>| point.map(|value| value * part.factor);
            Series {
                name,
                drawn: part.drawn,
                values: series.points.into_iter().map(scaled).collect(),
                samples: is_latency.then_some(series.n),
                state,
                dim: many && i >= COLOURED_MAX,
            }
        })
        .collect()
}

fn class_state(class: &str) -> &'static str {
    match class {
        "2xx" => "up",
        "4xx" => "degraded",
        "5xx" => "down",
        "3xx" | "1xx" => "maintenance",
        _ => "unknown",
    }
}

/// Where the app was seen and nothing of a kind was counted, there was none of it: the counts of restarts know where that is.
fn none_is_zero(charts: &mut [Chart]) {
    let counted = charts.iter().find(|chart| chart.what == What::Restarts).and_then(|chart| chart.data.series.first());
    let Some(zeros) = counted.map(|series| series.values.iter().map(|value| value.map(|_| 0.0)).collect::<Vec<_>>())
    else {
        return;
    };
    for chart in charts.iter_mut().filter(|chart| chart.data.series.is_empty()) {
        let (name, drawn) = match chart.what {
            What::Errors => ("errors", Drawn::Bars),
            What::Throughput => ("requests", Drawn::Stacked),
            _ => continue,
        };
        let (name, values) = (name.to_owned(), zeros.clone());
        chart.data.series.push(Series { name, drawn, values, samples: None, state: None, dim: false });
        (chart.title, chart.summary) = words::words(chart.what, &chart.data);
    }
}

/// While it is known that nobody asked, there is no response time to know.
fn idle_times(charts: &mut [Chart]) {
    let Some(throughput) = charts.iter().find(|chart| chart.id == "throughput") else { return };
    let parts: Vec<&Series> = throughput.data.series.iter().filter(|s| s.drawn == Drawn::Stacked).collect();
    let at = |i: usize| -> bool {
        let values: Vec<f64> = parts.iter().filter_map(|series| series.values.get(i).copied().flatten()).collect();
        !values.is_empty() && values.iter().sum::<f64>() == 0.0
    };
    let idle: Vec<bool> = (0..throughput.data.x.len()).map(at).collect();
    if let Some(response) = charts.iter_mut().find(|chart| chart.id == "response") {
        response.data.idle = idle;
    }
}
