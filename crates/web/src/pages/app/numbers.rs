//! What stands beside an app's charts as numbers: the present against a week ago, the dynos, a release's hour before and
//! after, the most frequent paths.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::metric::query::{Aggregation, Grouping, Labels, Sources};
use dynowatch_domain::metric::{Kind, SeriesQuery, paths::TopPaths};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::App;
use dynowatch_engine::metrics::query::Asked;
use dynowatch_engine::metrics::strip::{Happening, HappeningKind};
use maud::{Markup, html};

use super::board::Board;
use super::plan::{Span, number};
use super::words::{percent, said};
use crate::pages::error::PageError;
use crate::pages::happenings::{label, shape};
use crate::pages::palette::encoded;
use crate::pages::parts::{Delta, Good, Stat, State, glyph, state};
use crate::pages::range::Range;
use crate::pages::view::View;
use crate::show::grouped;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const WEEK: Duration = Duration::from_secs(7 * 86_400);
/// The present: long enough for a percentile, short enough to be now.
const NOW: Duration = Duration::from_secs(600);
/// Dynos in the table.
const DYNOS_MAX: usize = 200;
/// Releases to choose from.
const RELEASES_MAX: usize = 8;
/// Paths of each table.
const PATHS_MAX: usize = 10;

/// A few numbers of an app over the slots of a span.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Few {
    pub(crate) p50: Option<f64>,
    pub(crate) p95: Option<f64>,
    pub(crate) requests: Option<f64>,
    pub(crate) failed: Option<f64>,
    pub(crate) memory: Option<f64>,
    pub(crate) errors: Option<f64>,
}

impl Few {
    /// Failed requests of a hundred; not known where nobody asked.
    pub(crate) fn failed_percent(&self) -> Option<f64> {
        let requests = self.requests.filter(|requests| *requests > 0.0)?;
        Some(self.failed.unwrap_or(0.0) / requests * 100.0)
    }
}

/// The questions behind [`Few`].
pub(crate) fn few_queries(span: Span) -> Vec<SeriesQuery> {
    let one = |metric, aggregation, labels| number(span, metric, aggregation, labels);
    vec![
        one("router.service_ms", Aggregation::Quantile(0.5), Labels::Any),
        one("router.service_ms", Aggregation::Quantile(0.95), Labels::Any),
        one("router.requests", Aggregation::Sum, Labels::Any),
        one("router.requests", Aggregation::Sum, Labels::Class(5)),
        one("dyno.memory_percent", Aggregation::Max, Labels::Any),
        one("platform.errors", Aggregation::Sum, Labels::Any),
    ]
}

/// The answers to [`few_queries`], slot by slot.
pub(crate) fn few(answers: &[Asked]) -> Vec<Few> {
    let points = |i: usize| answers.get(i).and_then(|asked| asked.answer.series.first()).map(|series| &series.points);
    let at = |i: usize, slot: usize| points(i).and_then(|points| points.get(slot).copied().flatten());
    let slots = (0..6).filter_map(points).map(Vec::len).max().unwrap_or(0);
    let one = |slot| Few {
        p50: at(0, slot),
        p95: at(1, slot),
        requests: at(2, slot),
        failed: at(3, slot),
        memory: at(4, slot),
        errors: at(5, slot),
    };
    (0..slots).map(one).collect()
}

/// The numbers of one stretch of time.
async fn over(view: &View, app: AppId, from: Timestamp, length: Duration) -> Result<Few, PageError> {
    let span = Span { from, until: from + length, step: length };
    let answers = view.web.engine.series_all(app, &few_queries(span)).await?;
    Ok(few(&answers).into_iter().next().unwrap_or_default())
}

/// The present in four numbers, each against the same hour a week ago.
pub(super) async fn stats(view: &View, app: AppId) -> Result<Markup, PageError> {
    let from = (view.now - NOW).floor(MINUTE);
    let now = over(view, app, from, NOW).await?;
    let before = over(view, app, (view.now - WEEK).floor(HOUR), HOUR).await?;
    let delta = |now: Option<f64>, before: Option<f64>, good| {
        let (now, before) = now.zip(before).filter(|(_, before)| *before > 0.0)?;
        Some(Delta { percent: (now / before - 1.0) * 100.0, against: "same hour last week", good })
    };
    // The newest minute is not over: minutes are those that have passed.
    let minutes = (view.now.since(from).as_secs_f64().min(NOW.as_secs_f64()) / 60.0).max(1.0);
    let rpm = now.requests.map(|requests| requests / minutes);
    let rpm_before = before.requests.map(|requests| requests / 60.0);
    let failed = (now.failed_percent(), before.failed_percent());
    let all = [
        ("Failed requests", failed.0.map(percent), "% 5xx", delta(failed.0, failed.1, Good::Less)),
        ("Requests", rpm.map(said), "a minute", delta(rpm, rpm_before, Good::Neither)),
        ("Response time, p95", now.p95.map(said), "ms", delta(now.p95, before.p95, Good::Less)),
        ("Memory, fullest dyno", now.memory.map(said), "% of quota", delta(now.memory, before.memory, Good::Less)),
    ];
    Ok(html! {
        section aria-label="The last ten minutes" {
            div.stats { @for (label, value, unit, delta) in all { (Stat { label, value, unit, delta, ..Stat::default() }.markup()) } }
            p.quiet { "The last ten minutes, against the same hour a week ago where that is known." }
        }
    })
}

/// How a dyno stands by the state Heroku names.
pub(super) fn dyno_state(word: &str) -> State {
    match word {
        "up" | "complete" => State::Up,
        "starting" | "idle" | "down" => State::Info,
        "crashed" => State::Down,
        _ => State::Unknown,
    }
}

#[derive(Default)]
struct DynoRow {
    state: Option<(String, Timestamp)>,
    memory: Option<f64>,
    load: Option<f64>,
    requests: Option<f64>,
    p95: Option<f64>,
}

/// The dynos, fullest first, each with a page of its own.
pub(super) async fn dynos(view: &View, app: &App) -> Result<Markup, PageError> {
    let mut rows: BTreeMap<String, DynoRow> = BTreeMap::new();
    for known in view.web.engine.store().dyno_states(app.id).await? {
        rows.entry(known.dyno).or_default().state = Some((known.state, known.at));
    }
    let recent = view.now - NOW;
    for latest in view.web.engine.latest(app).into_iter().filter(|one| one.at >= recent && one.key.kind == Kind::Gauge)
    {
        let is_dyno = dynowatch_domain::metric::dyno_type(&latest.key.source).is_some();
        let Some(row) = is_dyno.then(|| rows.entry(latest.key.source.to_string()).or_default()) else { continue };
        match &*latest.key.metric {
            "dyno.memory_percent" => row.memory = Some(latest.value),
            "dyno.load_1m" => row.load = Some(latest.value),
            _ => {}
        }
    }
    let from = view.now.floor(MINUTE) + MINUTE - HOUR;
    let span = Span { from, until: from + HOUR, step: HOUR };
    let by = Grouping { source: true, ..Grouping::default() };
    let of_dynos = |metric, aggregation| SeriesQuery {
        sources: Sources::Dynos(String::new()),
        by,
        ..number(span, metric, aggregation, Labels::Any)
    };
    let queries =
        [of_dynos("router.requests", Aggregation::Sum), of_dynos("router.service_ms", Aggregation::Quantile(0.95))];
    for (i, asked) in view.web.engine.series_all(app.id, &queries).await?.into_iter().enumerate() {
        for series in asked.answer.series {
            let value = series.points.first().copied().flatten();
            let Some(row) = value.map(|_| rows.entry(series.source).or_default()) else { continue };
            if i == 0 { row.requests = value } else { row.p95 = value }
        }
    }
    let mut rows: Vec<(String, DynoRow)> = rows.into_iter().collect();
    let is_crashed = |row: &DynoRow| row.state.as_ref().is_some_and(|(state, _)| state == "crashed");
    rows.sort_by(|(_, a), (_, b)| {
        is_crashed(b).cmp(&is_crashed(a)).then(b.memory.unwrap_or(-1.0).total_cmp(&a.memory.unwrap_or(-1.0)))
    });
    Ok(dyno_table(view, app, &rows))
}

fn dyno_table(view: &View, app: &App, rows: &[(String, DynoRow)]) -> Markup {
    let cell = |value: Option<f64>, unit: &str| html! { td.number { @match value { Some(value) => { (said(value)) @if !unit.is_empty() { " " span.unit { (unit) } } }, None => span.unknown { "–" } } } };
    html! {
        section #dynos {
            h2 { "Dynos" }
            @if rows.is_empty() { p.quiet { "No dyno is known yet: they show with their first lines." } } @else {
                div.sideways tabindex="0" role="region" aria-label="Dynos" {
                    table.data {
                        thead { tr { th scope="col" { "Dyno" } th scope="col" { "State" } th.number scope="col" { "Memory" } th.number scope="col" { "Load" } th.number.wide scope="col" { "Requests, 1 h" } th.number.wide scope="col" { "p95, 1 h" } th.when.wide scope="col" { "Since" } } }
                        tbody {
                            @for (dyno, row) in rows.iter().take(DYNOS_MAX) {
                                tr {
                                    th scope="row" { a.row href={ "/apps/" (encoded(&app.name)) "/dynos/" (encoded(dyno)) } { (view.outside(dyno)) } }
                                    td { @match &row.state { Some((word, _)) => (state(dyno_state(word), &view.outside(word))), None => (state(State::Unknown, "unknown")) } }
                                    td.number { @match row.memory { Some(value) => { @if value >= 100.0 { (glyph(State::Degraded)) " " } (said(value)) " " span.unit { "%" } }, None => span.unknown { "–" } } }
                                    (cell(row.load, ""))
                                    td.number.wide { @match row.requests { Some(value) => (said(value)), None => span.unknown { "–" } } }
                                    td.number.wide { @match row.p95 { Some(value) => { (said(value)) " " span.unit { "ms" } }, None => span.unknown { "–" } } }
                                    td.when.wide { @if let Some((_, at)) = &row.state { (view.ago(*at)) } }
                                }
                            }
                        }
                    }
                }
                @if rows.len() > DYNOS_MAX { p.quiet { (DYNOS_MAX) " of " (rows.len()) " dynos." } }
            }
        }
    }
}

/// A release's hour before and after.
pub(super) async fn compare(
    view: &View,
    app: &App,
    board: &Board,
    chosen: Option<i64>,
    href: &str,
    range: &Range,
) -> Result<Markup, PageError> {
    let is_release = |one: &&Happening| matches!(one.kind, HappeningKind::Release | HappeningKind::Config);
    let mut releases: Vec<Happening> = board.happenings.iter().filter(is_release).take(RELEASES_MAX).cloned().collect();
    if releases.is_empty() {
        releases.extend(view.web.engine.store().newest_release(app.id, view.now).await?.map(Happening::from));
    }
    let picked = chosen.and_then(|at| releases.iter().find(|one| one.at.as_seconds() == at));
    let Some(release) = picked.or(releases.first()) else {
        return Ok(
            html! { section #releases { h2 { "Releases" } p.quiet { "No release is known. They are read from the app's log, or from Heroku with an API key." } } },
        );
    };
    let at = release.at.floor(MINUTE);
    let span = Span { from: at - HOUR, until: at + HOUR, step: HOUR };
    let answers = view.web.engine.series_all(app.id, &few_queries(span)).await?;
    let mut hours = few(&answers).into_iter();
    let (before, after) = (hours.next().unwrap_or_default(), hours.next().unwrap_or_default());
    let passed = view.now.since(at).min(HOUR).max(MINUTE);
    let chips = releases.iter().map(|one| {
        let words = one.version.map_or_else(
            || format!("{} {}", shape(one.kind), view.look.zone.short(one.at)),
            |v| format!("{} v{v}", shape(one.kind)),
        );
        (format!("{href}?{}&release={}#releases", range.query(), one.at.as_seconds()), words, one.at == release.at)
    });
    let chips: Vec<(String, String, bool)> = chips.collect();
    Ok(html! {
        section #releases {
            h2 { "What a release changed" }
            (crate::pages::parts::chips("Releases", chips.iter().map(|(href, words, here)| (href.clone(), words.as_str(), *here))))
            p.said { strong { (label(&view.web, release)) } " " span.quiet { (view.moment_ago(release.at)) } }
            (compare_table(&before, &after, passed))
            @if passed < HOUR { p.quiet { "The hour after has run for " (passed.as_secs() / 60) " min; counts are put by the minute." } }
        }
    })
}

fn compare_table(before: &Few, after: &Few, passed: Duration) -> Markup {
    let by_minute = |count: Option<f64>, length: Duration| count.map(|count| count * 60.0 / length.as_secs_f64());
    let rows = [
        ("p50", before.p50, after.p50, "ms", Good::Less),
        ("p95", before.p95, after.p95, "ms", Good::Less),
        ("Failed requests", before.failed_percent(), after.failed_percent(), "% 5xx", Good::Less),
        ("Requests", by_minute(before.requests, HOUR), by_minute(after.requests, passed), "a minute", Good::Neither),
        ("Memory, fullest dyno", before.memory, after.memory, "% of quota", Good::Less),
        ("Platform errors", by_minute(before.errors, HOUR), by_minute(after.errors, passed), "a minute", Good::Less),
    ];
    let cell = |value: Option<f64>, unit: &str| match value {
        Some(value) => {
            html! { @if unit.ends_with("5xx") { (percent(value)) } @else { (said(value)) } " " span.unit { (unit) } }
        }
        None => html! { span.unknown { "unknown" } },
    };
    html! {
        table.data.compare {
            thead { tr { th scope="col" { "" span.visually-hidden { "Number" } } th.number scope="col" { "Hour before" } th.number scope="col" { "Hour after" } th.number scope="col" { "Change" } } }
            tbody {
                @for (name, before, after, unit, good) in rows {
                    tr {
                        th scope="row" { (name) }
                        td.number { (cell(before, unit)) }
                        td.number { (cell(after, unit)) }
                        td.number { (change(before, after, good)) }
                    }
                }
            }
        }
    }
}

fn change(before: Option<f64>, after: Option<f64>, good: Good) -> Markup {
    match before.zip(after) {
        None => html! { span.unknown { "unknown" } },
        Some((before, after)) if before == after => html! { span.delta.even { "=" } },
        Some((0.0, _)) => html! { span.delta.(if good == Good::Less { "worse" } else { "even" }) { "▲ from none" } },
        Some((before, after)) => {
            let percent = (after / before - 1.0) * 100.0;
            crate::pages::parts::change(&Delta { percent, against: "hour before", good })
        }
    }
}

/// The most frequent paths, and those that failed.
pub(super) async fn paths(view: &View, app: AppId, range: &Range) -> Result<Markup, PageError> {
    let (from, until) = (range.from.floor(HOUR), (range.to - Duration::from_micros(1)).floor(HOUR) + HOUR);
    let store = view.web.engine.store();
    let (all, failed) = (store.paths(app, false, from, until).await?, store.paths(app, true, from, until).await?);
    let sampled = "Each request is looked at while they are few; of many a sample is counted.";
    let all = path_table(view, "Top paths", &all, sampled);
    let failed = path_table(view, "Top failing paths", &failed, "5xx, or with an H code; of many a sample is counted.");
    Ok(html! {
        section #paths {
            div.pair.tables { (all) (failed) }
            p.quiet { "Numbers and ids in paths are written as " code { ":id" } ", queries are left out. By the hour, " (view.look.zone.short(from)) " to " (view.look.zone.short(until)) "." }
        }
    })
}

fn path_table(view: &View, title: &str, top: &TopPaths, note: &str) -> Markup {
    let rows = top.top();
    let most = rows.first().map_or(1, |(_, hits)| hits.count.max(1));
    html! {
        div {
            h2 { (title) }
            @if rows.is_empty() { p.quiet { "None in this range." } } @else {
                table.data {
                    thead { tr { th scope="col" { "Path" } th.number scope="col" { "Requests" } } }
                    tbody {
                        @for (path, hits) in rows.iter().take(PATHS_MAX) {
                            tr {
                                th.path scope="row" { code { (view.outside(path)) } svg.share viewBox="0 0 100 2" preserveAspectRatio="none" aria-hidden="true" { rect width=(hits.count * 100 / most) height="2" {} } }
                                td.number { (grouped(hits.count)) }
                            }
                        }
                    }
                }
                p.quiet { (note) }
            }
        }
    }
}
