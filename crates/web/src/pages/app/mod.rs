//! An app, and one of its dynos: how it stands, its charts over a range, what happened, its dynos, its databases, what a
//! release changed, its most frequent paths. [`plan`] says which charts there are, [`board`] reads them, [`words`] says what
//! they show, [`numbers`] holds the tables beside them, [`heroku`] what the account adds.

pub(crate) mod board;
pub(crate) mod heroku;
pub(crate) mod numbers;
pub(crate) mod plan;
pub(crate) mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::App;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};
use dynowatch_store::heroku::Wanted;
use maud::{Markup, html};
use serde::Deserialize;

use self::board::{Board, Chart, Key, board};
use self::plan::{Scope, Span};
use super::chart::Figure;
use super::error::PageError;
use super::happenings::strip;
use super::palette::encoded;
use super::partial;
use super::parts::{State, chips, empty, stale, state, verdict};
use super::range::{self, Range};
use super::shell::Head;
use super::view::View;
use crate::events::Topic;
use crate::show::coarse;

/// The range of an app's page when none is asked for, and of an app that is not known for long.
const RANGE: &str = "24h";
const RANGE_NEW: &str = "2h";
const NEW_MAX: Duration = Duration::from_secs(4 * 3_600);
/// Open alerts that an app's page names.
const ALERTS_MAX: u32 = 20;
/// After this long without a line it is not known how an app is.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(600);

/// What an address says besides the app.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    range: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
    /// The process type whose memory is shown.
    #[serde(default)]
    process: String,
    /// The dyno a chart is of; empty for the app.
    #[serde(default)]
    dyno: String,
    /// The release to compare, by its moment in seconds since 1970.
    release: Option<i64>,
}

impl Asked {
    fn range(&self, app: &App, now: Timestamp) -> Range {
        let asked = range::Asked { range: self.range.clone(), from: self.from, to: self.to };
        let is_new = now.since(app.known_since) < NEW_MAX;
        Range::of(&asked, if is_new { RANGE_NEW } else { RANGE }, now)
    }
}

type AskedFor = Result<Query<Asked>, QueryRejection>;

fn asked(query: AskedFor) -> Result<Asked, PageError> {
    let bad = |_| PageError::new(StatusCode::BAD_REQUEST, "The link to this page is cut off or was changed.");
    query.map(|Query(asked)| asked).map_err(bad)
}

fn app_of(view: &View, name: &str) -> Result<Arc<App>, PageError> {
    let app = view.web.engine.apps().by_name(name).cloned();
    app.ok_or_else(|| {
        PageError::not_found("No app has that name. It may have got another one: Apps shows all of them.")
    })
}

fn unreadable(_: PathRejection) -> PageError {
    PageError::not_found("There is no such app: its address is not readable.")
}

/// What the charts of a page have in common.
pub(super) struct Look<'a> {
    pub(super) app: &'a str,
    pub(super) scope: &'a Scope,
    /// The range as the end of an address.
    pub(super) range: String,
}

impl Look<'_> {
    fn href(&self, file: &str) -> String {
        let mut href = format!("/apps/{}/charts/{file}?{}", encoded(self.app), self.range);
        for (name, value) in [("dyno", &self.scope.dyno), ("process", &self.scope.process)] {
            if !value.is_empty() {
                href.push_str(&format!("&{name}={}", encoded(value)));
            }
        }
        href
    }

    /// A chart's figure.
    pub(super) fn figure(&self, view: &View, chart: &Chart) -> Markup {
        let (json, csv) = (self.href(&format!("{}.json", chart.id)), self.href(&format!("{}.csv", chart.id)));
        let (title, summary) = (chart.title.clone(), chart.summary.clone());
        let figure = Figure { id: &chart.id, about: &chart.about, title, summary, json, csv, group: "page" };
        figure.markup(view, &chart.data)
    }
}

/// A chart's values, as JSON or CSV by the ending.
pub(crate) async fn values(
    view: View,
    path: Result<Path<(String, String)>, PathRejection>,
    query: AskedFor,
) -> Result<Response, PageError> {
    let (Path((name, file)), asked) = (path.map_err(unreadable)?, asked(query)?);
    let app = app_of(&view, &name)?;
    let missing = || PageError::not_found("There is no such chart (any more).");
    let (id, ending) = file.rsplit_once('.').ok_or_else(missing)?;
    let span = Span::of(&asked.range(&app, view.now), view.now);
    let key = Key { app: app.id, span, scope: Scope { dyno: asked.dyno, process: asked.process } };
    let board = board(&view.web, key, view.now).await?;
    let chart = board.chart(id).ok_or_else(missing)?;
    match ending {
        "json" => Ok(Json(&chart.data).into_response()),
        "csv" => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
                (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{id}.csv\"")),
            ];
            Ok((headers, chart.data.csv()).into_response())
        }
        _ => Err(missing()),
    }
}

/// The page of an app.
pub(crate) async fn show(
    view: View,
    path: Result<Path<String>, PathRejection>,
    query: AskedFor,
) -> Result<Html<String>, PageError> {
    let (Path(name), asked) = (path.map_err(unreadable)?, asked(query)?);
    let app = app_of(&view, &name)?;
    let range = asked.range(&app, view.now);
    let scope = Scope { dyno: String::new(), process: asked.process.clone() };
    let key = Key { app: app.id, span: Span::of(&range, view.now), scope: scope.clone() };
    let board = board(&view.web, key, view.now).await?;
    let href = format!("/apps/{}", encoded(&app.name));
    let look = Look { app: &app.name, scope: &scope, range: range.query() };
    let head = standing(&view, app.id).await?;
    let at_heroku = heroku::of(&view, &app).await?;
    let topics = [Topic::App(app.id)];
    let shown = view.outside(&app.name);
    let rest = if scope.process.is_empty() { String::new() } else { format!("process={}&", encoded(&scope.process)) };
    let page = html! {
        div #app-state { (head) }
        section #app-checks { (super::checks::of_app(&view, &app.name).await?) }
        div.title-row { h2.visually-hidden { "Range" } (range.picker(&view, &href, &rest)) }
        @if board.has_metrics {
            (numbers::stats(&view, app.id).await?)
            (process_chips(&board, &scope, &href, &range))
            section aria-label="Charts" { div.charts { @for chart in board.charts.iter().filter(|chart| chart.addon.is_none()) { (look.figure(&view, chart)) } } }
            (strip(&view, &app.name, &board.happenings, board.span.from, board.span.until))
            (numbers::dynos(&view, &app).await?)
            (addons(&view, &board, &look))
            (numbers::compare(&view, &app, &board, asked.release, &href, &range).await?)
            (heroku::releases(&view, &app).await?)
            (numbers::paths(&view, app.id, &range).await?)
        } @else {
            (no_metrics(&board, at_heroku.as_ref().is_some_and(|at| at.facts.fir)))
            @if at_heroku.is_some() { (numbers::dynos(&view, &app).await?) }
            (heroku::releases(&view, &app).await?)
        }
        @if let Some(at) = &at_heroku { (heroku::section(&view, &app, at)) }
    };
    let head = Head::new(&shown, "/apps").live(&topics).below(&[("/apps", "Apps")]).charts();
    Ok(view.page(&head, &page))
}

/// The page of one dyno.
pub(crate) async fn dyno(
    view: View,
    path: Result<Path<(String, String)>, PathRejection>,
    query: AskedFor,
) -> Result<Html<String>, PageError> {
    let (Path((name, dyno)), asked) = (path.map_err(unreadable)?, asked(query)?);
    let app = app_of(&view, &name)?;
    let range = asked.range(&app, view.now);
    let scope = Scope { dyno: dyno.clone(), process: String::new() };
    let key = Key { app: app.id, span: Span::of(&range, view.now), scope: scope.clone() };
    let board = board(&view.web, key, view.now).await?;
    let known = view.web.engine.store().dyno_states(app.id).await?.into_iter().find(|known| known.dyno == dyno);
    let is_blank =
        board.charts.iter().all(|chart| chart.data.series.iter().all(|s| s.values.iter().all(Option::is_none)));
    let base = format!("/apps/{}", encoded(&app.name));
    let href = format!("{base}/dynos/{}", encoded(&dyno));
    let look = Look { app: &app.name, scope: &scope, range: range.query() };
    let (shown, title) = (view.outside(&dyno), format!("{} · {}", view.outside(&dyno), view.outside(&app.name)));
    let (standing, word) = known.as_ref().map_or((State::Unknown, "unknown".to_owned()), |known| {
        (numbers::dyno_state(&known.state), view.outside(&known.state))
    });
    let of_dyno: Vec<_> = board.happenings.iter().filter(|one| concerns(&one.source, &dyno)).cloned().collect();
    let app_name = view.outside(&app.name);
    let page = html! {
        (verdict(standing, &html! { (shown) ": " (word) }, &html! { @if let Some(known) = &known { p.quiet { "Since " (view.moment_ago(known.at)) } } }))
        (range.picker(&view, &href, ""))
        @if is_blank { (empty("Nothing is known of this dyno in this range.", &html! { "Single dynos are kept for seven days. " a href=(base) { "The whole app" } " goes further back." })) }
        @else {
            section aria-label="Charts" { div.charts { @for chart in &board.charts { (look.figure(&view, chart)) } } }
            (strip(&view, &app.name, &of_dyno, board.span.from, board.span.until))
        }
    };
    let crumbs = [("/apps", "Apps"), (base.as_str(), app_name.as_str())];
    Ok(view.page(&Head::new(&title, "/apps").below(&crumbs).charts(), &page))
}

/// What happened to the app, to a dyno's process type, or to the dyno.
fn concerns(source: &str, dyno: &str) -> bool {
    source.is_empty() || source == dyno || dynowatch_domain::metric::dyno_type(dyno) == Some(source)
}

/// How an app stands now, for pages that are open.
pub(crate) async fn live(view: &View, app: AppId) -> Result<Markup, PageError> {
    let state = partial("app-state", &standing(view, app).await?);
    let checks = match view.web.engine.apps().by_id(app) {
        Some(app) => partial("app-checks", &super::checks::of_app(view, &app.name).await?),
        None => html! {},
    };
    Ok(html! { (state) (checks) })
}

async fn standing(view: &View, id: AppId) -> Result<Markup, PageError> {
    let store = view.web.engine.store();
    let filter =
        AlertFilter { state: Some(AlertState::Firing), app: Some(id), limit: ALERTS_MAX, ..AlertFilter::default() };
    let mut firing = store.alerts(&filter).await?;
    firing.sort_by_key(|row| (std::cmp::Reverse(row.severity), std::cmp::Reverse(row.since)));
    let (name, newest) = match view.web.engine.apps().by_id(id) {
        Some(app) => (app.name.clone(), view.web.engine.totals(app, |totals| totals.newest_at)),
        None => return Err(PageError::not_found("This app is not here (any more).")),
    };
    let newest = Some(newest).filter(|at| *at > Timestamp::UNIX_EPOCH);
    let newest = match newest {
        Some(newest) => Some(newest),
        None => store.apps().await?.into_iter().find(|app| app.id == id).and_then(|app| app.last_line_at),
    };
    let (state_now, sentence) = sentence(view, &view.outside(&name), &firing, newest);
    let silent = newest.is_some_and(|at| view.now.since(at) > SILENCE_MAX);
    let at_heroku = store.heroku_apps(Wanted::App(id)).await?.pop();
    Ok(html! {
        (verdict(state_now, &sentence, &alert_links(view, &firing)))
        @if let Some(at) = &at_heroku { (heroku::notes(view, at, &name)) }
        @if let Some(at) = newest.filter(|_| silent) { (stale(&html! { "Last data " (view.moment_ago(at)) ". What has happened since is not known." })) }
    })
}

fn sentence(view: &View, name: &str, firing: &[AlertRow], newest: Option<Timestamp>) -> (State, Markup) {
    let since = firing.iter().map(|row| row.since).min();
    let silence = newest.map(|at| view.now.since(at)).filter(|silence| *silence > SILENCE_MAX);
    match (since, newest, silence) {
        (Some(since), ..) => {
            let critical = firing.iter().any(|row| row.severity == Some(Severity::Critical));
            let count = if firing.len() == 1 { "1 alert".to_owned() } else { format!("{} alerts", firing.len()) };
            let state = if critical { State::Down } else { State::Degraded };
            (state, html! { (name) " has " (count) " open since " (view.look.zone.short(since)) })
        }
        (None, None, _) => (State::Unknown, html! { (name) ": no line has arrived yet" }),
        (None, Some(_), Some(silence)) => {
            (State::Unknown, html! { (name) ": unknown, no line has arrived for " (coarse(silence)) })
        }
        (None, Some(at), None) => (State::Up, html! { (name) " is well; the last line came " (view.ago(at)) }),
    }
}

/// The open alerts, each a link.
pub(super) fn alert_links(view: &View, firing: &[AlertRow]) -> Markup {
    html! {
        @if !firing.is_empty() {
            ul.open-alerts {
                @for row in firing {
                    li {
                        (state(super::alerts::state_of(row), row.severity.map_or("pending", Severity::as_str))) " "
                        @match row.id { Some(id) => a href={ "/alerts/" (id) } { (view.alert_name(row)) }, None => (view.alert_name(row)) }
                        " " span.quiet { (view.ago(row.since)) }
                    }
                }
            }
        }
    }
}

fn process_chips(board: &Board, scope: &Scope, href: &str, range: &Range) -> Markup {
    let chosen = if board.process_types.contains(&scope.process) {
        &scope.process
    } else {
        board.process_types.iter().find(|name| *name == "web").or(board.process_types.first()).unwrap_or(&scope.process)
    };
    let choices = board.process_types.iter().take(12);
    let choices = choices
        .map(|name| (format!("{href}?process={}&{}", encoded(name), range.query()), name.as_str(), name == chosen));
    html! { @if board.process_types.len() > 1 { (chips("Memory of a process type", choices)) } }
}

/// Panels of databases and Redis, one heading for each add-on.
fn addons(view: &View, board: &Board, look: &Look<'_>) -> Markup {
    let mut sources: Vec<&str> = board.charts.iter().filter_map(|chart| chart.addon.as_deref()).collect();
    sources.dedup();
    html! {
        @for source in sources {
            section {
                h2 { (view.outside(source)) }
                div.charts { @for chart in board.charts.iter().filter(|chart| chart.addon.as_deref() == Some(source)) { (look.figure(view, chart)) } }
            }
        }
    }
}

fn no_metrics(board: &Board, is_fir: bool) -> Markup {
    html! {
        (empty("No metrics yet.", &html! {
            "They come with the app's log lines." @if !is_fir { " Memory and load of dynos need " code { "heroku labs:enable log-runtime-metrics" } " and a restart." }
            @if !board.blind.is_empty() { " Part of this range was not seen at all." }
        }))
    }
}
