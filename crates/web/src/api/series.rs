//! Metrics over time, and what goes with them on one page: which metrics an app has, its most frequent paths, what
//! happened to it, the states of its dynos.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::query::{Aggregation, Grouping, Labels, Sources};
use dynowatch_domain::metric::{SeriesData, SeriesQuery, catalogue};
use dynowatch_domain::parse;
use dynowatch_engine::App;
use dynowatch_engine::metrics::query::{Asked as Answered, StepChoice, slots};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::{Asked, Named, Time};
use crate::router::Web;
use crate::show::masked;

/// The span when nobody says one.
const SPAN: Duration = Duration::from_secs(3_600);
/// A metric that an app has not had for this long is not listed.
const METRICS_SHOWN: Duration = Duration::from_secs(30 * 86_400);

/// Which values.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SeriesParams {
    /// The app's name.
    app: String,
    /// The metric, as in `router.requests`; `GET /api/v1/apps/{name}/metrics` lists them.
    metric: String,
    /// Whose: empty for the whole app, a process type, a dyno or an add-on; `*` for each type and add-on, `web.*` for each
    /// dyno of a type, `*.*` for each dyno.
    #[serde(default)]
    source: String,
    /// Which labels: empty for all, `503`, `5xx`, `H*`, or several with commas between.
    #[serde(default)]
    label: String,
    /// From when: RFC 3339, or a time before now as in `-3h`. An hour ago when not given.
    from: Option<String>,
    /// Until when, in the same form; now when not given.
    until: Option<String>,
    /// The length of a slot: `10s`, `1m`, `10m`, `1h`, another multiple of ten seconds, or `auto`.
    step: Option<String>,
    /// What becomes of the values of a slot: `avg`, `min`, `max`, `last`, `sum`, `rate`, `count`, `p50`, `p95`, `p99` or any
    /// `pNN`. When not given, the metric's own: counters `sum`, levels `avg`, distributions `p95`.
    aggregation: Option<String>,
    /// What stays apart: `source`, `label`, `class` (`5xx` for `503`), several with commas between, or `none`.
    #[serde(default)]
    by: String,
    /// `json`, or `csv` for a table with a line per slot and series.
    format: Option<String>,
}

/// Values over time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SeriesAnswer {
    /// The app's name.
    app: String,
    /// The metric.
    metric: String,
    /// `counter`, `gauge` or `distribution`; `null` for a metric that nobody has seen.
    kind: Option<&'static str>,
    /// The unit of the values; empty for plain numbers.
    unit: &'static str,
    /// What became of the values of a slot.
    aggregation: Option<String>,
    /// When the first slot begins.
    from: Time,
    /// When the last one ends.
    until: Time,
    /// The length of a slot, in seconds.
    step_s: u64,
    /// Times in which not everything was seen: what was counted there is a lower bound.
    blind: Vec<BlindSpan>,
    /// Whether there were more series than one answer holds.
    truncated: bool,
    /// The series, by source and label.
    series: Vec<OneSeries>,
}

/// A time in which not everything was seen.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlindSpan {
    /// Its beginning.
    from: Time,
    /// Its end.
    until: Time,
}

/// One series.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneSeries {
    /// Whose, if asked apart; else empty.
    source: String,
    /// Which label or class, if asked apart; else empty.
    label: String,
    /// A value per slot; `null` where nobody knows.
    points: Vec<Option<f64>>,
    /// How many observations each rests on.
    n: Vec<u64>,
}

/// A metric that an app has.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MetricInfo {
    /// Its name.
    name: String,
    /// `counter`, `gauge` or `distribution`.
    kind: &'static str,
    /// Its unit; empty for plain numbers.
    unit: &'static str,
    /// What it means; empty for the team's own.
    help: &'static str,
    /// The aggregation when none is asked for.
    aggregation: String,
    /// Whose series there are: dynos, process types, add-ons.
    sources: Vec<String>,
    /// Its labels.
    labels: Vec<String>,
}

/// A span of time.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct SpanParams {
    /// From when: RFC 3339, or a time before now as in `-3h`.
    from: Option<String>,
    /// Until when, in the same form; now when not given.
    until: Option<String>,
}

/// Which paths.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct PathsParams {
    /// From when: RFC 3339, or a time before now as in `-3h`; an hour ago when not given. Counts are kept by the hour.
    from: Option<String>,
    /// Until when, in the same form; now when not given.
    until: Option<String>,
    /// Only requests that failed: 5xx, or with an H code.
    #[serde(default)]
    errors: bool,
}

/// The most frequent paths.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PathsAnswer {
    /// When the first hour begins.
    from: Time,
    /// When the last one ends.
    until: Time,
    /// Whether only failed requests were counted.
    errors: bool,
    /// When there are many requests at a time, one looked at stands for up to so many; few are all looked at.
    sampled_one_in_max: u32,
    /// The most frequent first, at most 50.
    paths: Vec<PathCount>,
}

/// A path and how often it was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PathCount {
    /// The path without its query, numbers and ids as `:id`.
    path: String,
    /// At most this many requests, as far as they were looked at.
    requests: u64,
    /// And at least this many fewer: what rarer paths had before it in the same place.
    over: u64,
}

/// Something that happened to an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventInfo {
    /// When.
    at: Time,
    /// `release`, `config`, `scale`, `restart`, `crash` or `alert`.
    kind: &'static str,
    /// The dyno or process type it concerns; empty for the app.
    source: String,
    /// Who did it.
    actor: Option<String>,
    /// In words.
    what: String,
    /// The release, as in `124` of `v124`.
    version: Option<u32>,
    /// The alert's id.
    alert: Option<String>,
}

/// What happened to an app.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventsAnswer {
    /// From when.
    from: Time,
    /// Until when.
    until: Time,
    /// The newest first, at most 1,000.
    items: Vec<EventInfo>,
}

/// The newest state of a dyno.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DynoInfo {
    /// As in `web.1`.
    dyno: String,
    /// As Heroku says it: `starting`, `up`, `crashed`, `down`, `idle`.
    state: String,
    /// Since when.
    since: Time,
}

/// Values of one metric over time.
#[utoipa::path(get, path = "/api/v1/series", tag = "metrics", params(SeriesParams), responses(
    (status = 200, description = "The values; `null` where nobody knows. With `format=csv`, a table.", body = SeriesAnswer),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    Asked(params): Asked<SeriesParams>,
) -> Result<Response, ApiError> {
    let csv = match params.format.as_deref() {
        None | Some("json") => false,
        Some("csv") => true,
        Some(other) => return Err(ApiError::bad_request(&format!("format is {other:?}: write json or csv"))),
    };
    let app = app_named(&web, &params.app)?;
    let query = query(&params, web.engine.now())?;
    let answered = web.engine.series(app.id, &query).await?;
    if csv {
        let headers = [(header::CONTENT_TYPE, "text/csv; charset=utf-8")];
        return Ok((headers, table(&web, &answered)).into_response());
    }
    let Answered { from, until, step, unit, blind, answer } = answered;
    Ok(Json(SeriesAnswer {
        app: app.name.clone(),
        metric: masked(&web.engine, &query.metric),
        kind: answer.kind.map(|kind| kind.as_str()),
        unit,
        aggregation: answer.aggregation.map(|aggregation| aggregation.to_string()),
        from: from.into(),
        until: until.into(),
        step_s: step.as_secs(),
        blind: blind.into_iter().map(|(from, until)| BlindSpan { from: from.into(), until: until.into() }).collect(),
        truncated: answer.left_out > 0,
        series: answer.series.into_iter().map(|series| one(&web, series)).collect(),
    })
    .into_response())
}

/// The metrics that an app has had in the last 30 days.
#[utoipa::path(get, path = "/api/v1/apps/{name}/metrics", tag = "metrics", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "Its metrics, by name.", body = Vec<MetricInfo>),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn names(State(web): State<Arc<Web>>, Named(name): Named) -> Result<Json<Vec<MetricInfo>>, ApiError> {
    let app = app_named(&web, &name)?;
    let metrics = web.engine.metric_names(app.id, web.engine.now() - METRICS_SHOWN).await?;
    let mask = |text: &String| masked(&web.engine, text);
    let info = |metric: dynowatch_engine::metrics::query::MetricOfApp| MetricInfo {
        aggregation: catalogue::default_aggregation(&metric.name, metric.kind).to_string(),
        name: mask(&metric.name),
        kind: metric.kind.as_str(),
        unit: metric.unit,
        help: metric.help,
        sources: metric.sources.iter().map(mask).collect(),
        labels: metric.labels.iter().map(mask).collect(),
    };
    Ok(Json(metrics.into_iter().map(info).collect()))
}

/// An app's most frequent request paths.
#[utoipa::path(get, path = "/api/v1/apps/{name}/paths", tag = "metrics", params(PathsParams, ("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "Its paths.", body = PathsAnswer),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn paths(
    State(web): State<Arc<Web>>,
    Named(name): Named,
    Asked(params): Asked<PathsParams>,
) -> Result<Json<PathsAnswer>, ApiError> {
    const HOUR: Duration = Duration::from_secs(3_600);
    let app = app_named(&web, &name)?;
    let (from, until) = span(params.from.as_deref(), params.until.as_deref(), SPAN, web.engine.now())?;
    let (from, until) = (from.floor(HOUR), (until - Duration::from_micros(1)).floor(HOUR) + HOUR);
    let top = web.engine.store().paths(app.id, params.errors, from, until).await?;
    let paths = top
        .top()
        .into_iter()
        .map(|(path, hits)| PathCount { path: masked(&web.engine, path), requests: hits.count, over: hits.over })
        .collect();
    Ok(Json(PathsAnswer {
        from: from.into(),
        until: until.into(),
        errors: params.errors,
        sampled_one_in_max: dynowatch_engine::metrics::PATH_EVERY,
        paths,
    }))
}

/// What happened to an app: releases, config changes, scaling, restarts, crashes, and the alerts that fired.
#[utoipa::path(get, path = "/api/v1/apps/{name}/events", tag = "metrics", params(SpanParams, ("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "Its events, a day's when no span is given.", body = EventsAnswer),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn events(
    State(web): State<Arc<Web>>,
    Named(name): Named,
    Asked(params): Asked<SpanParams>,
) -> Result<Json<EventsAnswer>, ApiError> {
    let app = app_named(&web, &name)?;
    let day = Duration::from_secs(86_400);
    let (from, until) = span(params.from.as_deref(), params.until.as_deref(), day, web.engine.now())?;
    let mask = |text: String| masked(&web.engine, &text);
    let items = web
        .engine
        .app_events(app.id, from, until)
        .await?
        .into_iter()
        .map(|event| EventInfo {
            at: event.at.into(),
            kind: event.kind.as_str(),
            source: mask(event.source),
            actor: event.actor.map(mask),
            what: mask(event.what),
            version: event.version,
            alert: event.alert.map(|id| id.to_string()),
        })
        .collect();
    Ok(Json(EventsAnswer { from: from.into(), until: until.into(), items }))
}

/// The newest state of each of an app's dynos, as its log told.
#[utoipa::path(get, path = "/api/v1/apps/{name}/dynos", tag = "metrics", params(("name" = String, Path, description = "The app's name.")), responses(
    (status = 200, description = "Its dynos, by name.", body = Vec<DynoInfo>),
    (status = 404, description = "No app of that name.", body = ErrorBody)))]
pub(crate) async fn dynos(State(web): State<Arc<Web>>, Named(name): Named) -> Result<Json<Vec<DynoInfo>>, ApiError> {
    let app = app_named(&web, &name)?;
    let mask = |text: &str| masked(&web.engine, text);
    let states = web.engine.store().dyno_states(app.id).await?;
    let info = |dyno: dynowatch_domain::app_event::DynoState| DynoInfo {
        dyno: mask(&dyno.dyno),
        state: mask(&dyno.state),
        since: dyno.at.into(),
    };
    Ok(Json(states.into_iter().map(info).collect()))
}

fn app_named(web: &Web, name: &str) -> Result<Arc<App>, ApiError> {
    let app = web.engine.apps().by_name(name).cloned();
    app.ok_or_else(|| ApiError::not_found(&format!("no app is named {name:?}")))
}

fn one(web: &Web, series: SeriesData) -> OneSeries {
    let SeriesData { source, label, points, n } = series;
    OneSeries { source: masked(&web.engine, &source), label: masked(&web.engine, &label), points, n }
}

/// Reads what is asked for.
fn query(params: &SeriesParams, now: Timestamp) -> Result<SeriesQuery, ApiError> {
    let bad = |why: String| ApiError::bad_request(&why);
    let (from, until) = span(params.from.as_deref(), params.until.as_deref(), SPAN, now)?;
    let choice = match params.step.as_deref() {
        None | Some("auto") => StepChoice::Auto,
        Some(text) => StepChoice::Length(parse::duration(text).map_err(|error| bad(format!("step: {error}")))?),
    };
    let (from, until, step) = slots(&params.metric, from, until, choice, now).map_err(bad)?;
    let aggregation = params.aggregation.as_deref().map(str::parse::<Aggregation>).transpose().map_err(bad)?;
    if let (Some(aggregation), Some(info)) = (aggregation, catalogue::info(&params.metric))
        && !aggregation.suits(info.kind)
    {
        let kind = info.kind.as_str();
        return Err(bad(format!("{} is a {kind}, of which there is no {aggregation}", info.name)));
    }
    Ok(SeriesQuery {
        sources: Sources::parse(&params.source),
        labels: Labels::parse(&params.label),
        aggregation,
        by: params.by.parse::<Grouping>().map_err(bad)?,
        ..SeriesQuery::new(&params.metric, from, until, step)
    })
}

/// A span from two moments, each absolute or before now.
pub(crate) fn span(
    from: Option<&str>,
    until: Option<&str>,
    length: Duration,
    now: Timestamp,
) -> Result<(Timestamp, Timestamp), ApiError> {
    let moment = |name: &str, text: &str| match text.strip_prefix('-') {
        Some(before) => parse::duration(before)
            .map(|before| now - before)
            .map_err(|error| ApiError::bad_request(&format!("{name}: {error}"))),
        None if text == "now" => Ok(now),
        None => Timestamp::parse(text)
            .map_err(|_| ApiError::bad_request(&format!("{name} is {text:?}: write 2026-05-07T08:06:12Z, -3h or now"))),
    };
    let until = until.map_or(Ok(now), |text| moment("until", text))?;
    let from = from.map_or(Ok(until - length), |text| moment("from", text))?;
    if from >= until {
        return Err(ApiError::bad_request("the span is empty: write a `from` before `until`"));
    }
    Ok((from, until))
}

/// A line per slot and series, empty where nobody knows.
fn table(web: &Web, answered: &Answered) -> String {
    let mut text = "time,source,label,value,n\r\n".to_owned();
    for series in &answered.answer.series {
        let (source, label) = (cell(web, &series.source), cell(web, &series.label));
        for (i, (point, n)) in series.points.iter().zip(&series.n).enumerate() {
            let at = answered.from + answered.step * u32::try_from(i).unwrap_or(u32::MAX);
            let value = point.map(|point| point.to_string()).unwrap_or_default();
            let _infallible = write!(text, "{at},{source},{label},{value},{n}\r\n");
        }
    }
    text
}

/// Text for a cell, quoted; never a formula to the program that opens the table.
fn cell(web: &Web, text: &str) -> String {
    let text = masked(&web.engine, text).replace('"', "\"\"");
    let guard = if text.starts_with(['=', '+', '-', '@', '\t']) { "'" } else { "" };
    if text.is_empty() { text } else { format!("\"{guard}{text}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans() {
        let now = Timestamp::parse("2026-05-07T08:00:00Z").unwrap();
        let read = |from, until| span(from, until, SPAN, now).map(|(a, b)| format!("{a} {b}")).ok();
        for (from, until, want) in [
            (None, None, Some("2026-05-07T07:00:00Z 2026-05-07T08:00:00Z")),
            (Some("-3h"), Some("-1h"), Some("2026-05-07T05:00:00Z 2026-05-07T07:00:00Z")),
            (Some("2026-05-06T00:00:00Z"), Some("now"), Some("2026-05-06T00:00:00Z 2026-05-07T08:00:00Z")),
            (Some("-1h"), Some("-3h"), None),
            (Some("yesterday"), None, None),
            (Some("-3"), None, None),
        ] {
            assert_eq!(read(from, until).as_deref(), want, "{from:?} {until:?}");
        }
    }
}
