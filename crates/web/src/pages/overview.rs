//! The first page: how everything stands in one sentence, the apps, worst first, one of them closer, what happened lately,
//! and whether we ourselves can be believed. What changes while people look is sent in four pieces; the charts look after
//! themselves.

use std::sync::Arc;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_engine::checks::CheckStatus;
use dynowatch_engine::metrics::strip::{Happening, HappeningKind};
use dynowatch_engine::operate::OWN_APP;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};
use dynowatch_store::apps::App;
use maud::{Markup, html};
use serde::Deserialize;

use super::app::board::{Key, board};
use super::app::plan::{Scope, Span};
use super::app::words::{percent, said};
use super::app::{Look, SILENCE_MAX, alert_links};
use super::error::PageError;
use super::happenings::{self, feed};
use super::heroku::is_unconnected;
use super::palette::encoded;
use super::partial;
use super::parts::{self, State, empty, glyph, sparkline, state, verdict as verdict_box};
use super::range::{self, Range};
use super::shell::Head;
use super::standing::{AppNumbers, Numbers, age_note, numbers, state_now, strip_words};
use super::view::View;
use crate::api::apps::seen;
use crate::api::drain::all_counts;
use crate::events::Topic;
use crate::health::Report;
use crate::show::{coarse, grouped};

/// Open alerts that are looked at.
const OPEN_MAX: u32 = 200;
/// Open alerts that are named below the verdict.
const NAMED_MAX: usize = 6;
/// Alerts among what happened lately.
const RECENT_MAX: u32 = 30;
/// Entries of the feed.
const FEED_MAX: usize = 24;
/// Apps that are listed.
const APPS_MAX: usize = 200;
/// The charts of the app that is looked at, and the range they begin with.
const CHARTS: [&str; 4] = ["response", "throughput", "share", "load"];
const RANGE: &str = "2h";

/// What the address says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    app: String,
    range: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

/// One app's row.
pub(super) struct AppRow {
    pub(super) app: App,
    pub(super) last_line_at: Option<Timestamp>,
    pub(super) open: usize,
    since: Option<Timestamp>,
    pub(super) state: State,
    pub(super) numbers: AppNumbers,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    state: State,
    sentence: String,
    /// The moment that the sentence ends with, as in `the last line came 4s ago`.
    last_line: Option<Timestamp>,
}

/// Everything the page is made from.
struct Now {
    rows: Vec<AppRow>,
    firing: Vec<AlertRow>,
    numbers: Arc<Numbers>,
    report: Report,
    verdict: Verdict,
    recent: Vec<AlertRow>,
    /// Checks that need somebody, and how many there are in all.
    checks: (Vec<CheckStatus>, usize),
}

/// The page.
pub(crate) async fn show(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |_| PageError::new(StatusCode::BAD_REQUEST, "The link to this page is cut off or was changed.");
    let Query(asked) = query.map_err(bad)?;
    let now = look(&view).await?;
    let chosen = now.rows.iter().find(|row| row.app.name == asked.app).or(now.rows.first());
    let id = chosen.map(|row| row.app.id);
    let closer = match chosen {
        Some(row) => closer(&view, row, &now, &asked).await?,
        None => html! {},
    };
    let title = now.verdict.sentence.clone();
    Ok(view.page(&Head::new(&title, "/").live(&[Topic::Now(id)]).charts(), &html! {
        div #now-verdict { (verdict_part(&view, &now)) }
        div #now-checks { (checks_part(&view, &now)) }
        @if chosen.is_some() {
            div.now {
                section.now-apps aria-label="Apps, worst first" { div #now-apps { (apps_part(&view, &now, id)) } }
                section.now-app aria-label="The app that is looked at" { (closer) }
                section.now-feed aria-label="What happened" { h2 { "What happened" } div #now-feed { (feed_part(&view, &now)) } }
            }
        }
        div #now-foot { (foot_part(&view, &now)) }
    }))
}

/// What changes, for pages that are open.
pub(crate) async fn live(view: &View, chosen: Option<AppId>) -> Result<Markup, PageError> {
    let now = look(view).await?;
    Ok(html! {
        (partial("now-verdict", &verdict_part(view, &now)))
        (partial("now-checks", &checks_part(view, &now)))
        (partial("now-apps", &apps_part(view, &now, chosen)))
        (partial("now-feed", &feed_part(view, &now)))
        (partial("now-foot", &foot_part(view, &now)))
    })
}

async fn look(view: &View) -> Result<Now, PageError> {
    let store = view.web.engine.store();
    let list = |state, limit| AlertFilter { state, limit, ..AlertFilter::default() };
    let mut firing = store.alerts(&list(Some(AlertState::Firing), OPEN_MAX)).await?;
    firing.sort_by_key(|row| (std::cmp::Reverse(row.severity), std::cmp::Reverse(row.since)));
    let recent = store.alerts(&list(None, RECENT_MAX)).await?;
    let counts = store.alert_counts().await?;
    let numbers = numbers(&view.web, view.now).await?;
    let mut rows = rows(view, store.apps().await?, &firing, &numbers);
    // That an app of the Heroku account has no drain is said on the page of apps; it is no news here.
    // Nor is our own app, which exists for alerts about us and about checks without an app, while none is open.
    rows.retain(|row| !is_unconnected(row) && (row.open > 0 || !has_no_drain(row)));
    let report = Report::of(&view.web).await;
    let verdict = verdict(view, &rows, counts.pending, &report);
    let checks = super::checks::needing(view).await?;
    Ok(Now { rows, firing, numbers, report, verdict, recent, checks })
}

/// Whether it is our own, which has no log.
fn has_no_drain(row: &AppRow) -> bool {
    row.app.name == OWN_APP && row.last_line_at.is_none()
}

/// The apps, worst first, then by name.
pub(super) fn rows(view: &View, apps: Vec<App>, firing: &[AlertRow], numbers: &Numbers) -> Vec<AppRow> {
    let row = |app: App| {
        let (_, _, last_line_at) = seen(&view.web, &app);
        let mine = || firing.iter().filter(|row| row.key.app == app.id);
        let worst: Option<Severity> = mine().filter_map(|row| row.severity).max();
        let (open, since) = (mine().count(), mine().map(|row| row.since).min());
        let state = state_now(worst, open, last_line_at, view.now);
        let numbers = numbers.apps.get(&app.id).cloned().unwrap_or_default();
        AppRow { app, last_line_at, open, since, state, numbers }
    };
    let mut rows: Vec<AppRow> = apps.into_iter().map(row).collect();
    rows.sort_by(|a, b| (b.state, b.open).cmp(&(a.state, a.open)).then_with(|| a.app.name.cmp(&b.app.name)));
    rows
}

fn verdict(view: &View, rows: &[AppRow], pending: u64, report: &Report) -> Verdict {
    let say = |state, sentence: String| Verdict { state, sentence, last_line: None };
    let apps = |n: usize| if n == 1 { "1 app".to_owned() } else { format!("{n} apps") };
    let newest = rows.iter().filter_map(|row| row.last_line_at).max();
    let ill: Vec<&AppRow> = rows.iter().filter(|row| row.open > 0).collect();
    if let Some(since) = ill.iter().filter_map(|row| row.since).min() {
        let state = ill.iter().map(|row| row.state).max().unwrap_or(State::Degraded);
        let open: usize = ill.iter().map(|row| row.open).sum();
        let who = match ill.as_slice() {
            [one] if open == 1 => format!("{} has an open alert", view.outside(&one.app.name)),
            [one] => format!("{} has {open} open alerts", view.outside(&one.app.name)),
            many => format!("{} have open alerts", apps(many.len())),
        };
        return say(state, format!("{who} since {}", view.look.zone.short(since)));
    }
    let silence = newest.map(|at| view.now.since(at)).filter(|silence| *silence > SILENCE_MAX);
    let silent = rows.iter().filter(|row| row.state == State::Unknown).count();
    match (report.drain_on, newest, silence) {
        (false, ..) => say(State::Unknown, "Unknown: the drain is off, nothing is seen".to_owned()),
        (true, None, _) => say(State::Unknown, "Nothing is connected yet".to_owned()),
        (true, _, Some(silence)) => {
            say(State::Unknown, format!("Unknown: no line has arrived for {}", coarse(silence)))
        }
        _ if silent > 0 => {
            let words = format!(
                "{} of {} apps are well; nothing is known of {}",
                rows.len() - silent,
                rows.len(),
                apps(silent)
            );
            say(State::Unknown, words)
        }
        _ if pending > 0 => {
            let alerts =
                if pending == 1 { "1 alert is pending".to_owned() } else { format!("{pending} alerts are pending") };
            say(State::Degraded, format!("{alerts}, none is firing"))
        }
        _ => {
            let who = if rows.len() == 1 {
                "The app is well".to_owned()
            } else {
                format!("All {} apps are well", rows.len())
            };
            Verdict { state: State::Up, sentence: who, last_line: newest }
        }
    }
}

fn verdict_part(view: &View, now: &Now) -> Markup {
    let sentence = html! { (now.verdict.sentence) @if let Some(at) = now.verdict.last_line { "; the last line came " (view.ago(at)) } };
    let named = now.firing.get(..NAMED_MAX).unwrap_or(&now.firing);
    let more = now.firing.len() - named.len();
    let below = html! {
        (alert_links(view, named))
        @if more > 0 { p { a href="/alerts?state=firing" { (more) " more" } } }
    };
    let warnings = now.report.warnings();
    html! {
        (verdict_box(now.verdict.state, &sentence, &below))
        @if !warnings.is_empty() { ul.warnings { @for warning in warnings { li { (warning) } } } }
        @if now.rows.is_empty() || now.rows.iter().all(|row| row.last_line_at.is_none()) { (connect()) }
    }
}

/// Checks that are not up; nothing where there is no check.
fn checks_part(view: &View, now: &Now) -> Markup {
    let (needing, all) = &now.checks;
    let named: Vec<&CheckStatus> = needing.iter().take(NAMED_MAX).collect();
    let more = needing.len() - named.len();
    html! {
        (super::checks::words::blind(view))
        @if !named.is_empty() {
            section.checks-now aria-label="Checks that are not up" {
                h2 { a href="/checks" { (needing.len()) " of " (all) " checks" } @if needing.len() == 1 { " is not up" } @else { " are not up" } }
                (super::checks::words::links(view, &named))
                @if more > 0 { p { a href="/checks" { (more) " more" } } }
            }
        } @else if *all > 0 {
            p.quiet { a href="/checks" { @if *all == 1 { "1 check" } @else { (all) " checks" } } ": none needs anybody." }
        }
    }
}

/// The shortest way to a first line.
fn connect() -> Markup {
    empty(
        "Connect an app",
        &html! {
            "A Heroku app sends its log here once it has a drain: one command, and the first line shows on this page."
            br; a.button.primary href="/connect" { "Connect an app" }
        },
    )
}

fn apps_part(view: &View, now: &Now, chosen: Option<AppId>) -> Markup {
    html! {
        ol.apps {
            @for row in now.rows.iter().take(APPS_MAX) {
                li.chosen[chosen == Some(row.app.id)] {
                    a.row href={ "/?app=" (encoded(&row.app.name)) } aria-current=[(chosen == Some(row.app.id)).then_some("true")] {
                        (state(row.state, &view.outside(&row.app.name)))
                        span.visually-hidden { ": " (word(row.state)) @if row.open > 0 { ", " (row.open) " open" } }
                    }
                    (sparkline(&row.numbers.spark, "p95 in ms over 24 h"))
                    span.p95 { (number(row.numbers.now.p95, "ms")) }
                    (parts::strip(&row.numbers.strip, &strip_words(&row.numbers.strip)))
                    span.rates { (number(row.numbers.rpm, "rpm")) " " (failed(row.numbers.now.failed_percent())) }
                }
            }
        }
        (age_note(view, &now.numbers))
        @if now.rows.len() > APPS_MAX { p.quiet { (APPS_MAX) " of " (now.rows.len()) " apps. " a href="/apps" { "All apps" } } }
    }
}

/// A state of an app in a word.
pub(super) fn word(state: State) -> &'static str {
    match state {
        State::Up | State::Info => "well",
        State::Unknown => "unknown",
        State::Down => "down",
        _ => "degraded",
    }
}

/// A number with its unit, or a dash that says that it is not known.
pub(super) fn number(value: Option<f64>, unit: &str) -> Markup {
    html! { @match value { Some(value) => { (said(value)) " " span.unit { (unit) } }, None => span.unknown title="not known" { "–" span.visually-hidden { " " (unit) " unknown" } } } }
}

/// The share of failed requests.
pub(super) fn failed(share: Option<f64>) -> Markup {
    html! { @if let Some(share) = share { span.failed.down[share >= 1.0] { (percent(share)) " " span.unit { "% 5xx" } } } }
}

/// The app that is looked at: its numbers, four charts, what happened.
async fn closer(view: &View, row: &AppRow, now: &Now, asked: &Asked) -> Result<Markup, PageError> {
    let asked = range::Asked { range: asked.range.clone(), from: asked.from, to: asked.to };
    let range = Range::of(&asked, RANGE, view.now);
    let scope = Scope { dyno: String::new(), process: String::new() };
    let key = Key { app: row.app.id, span: Span::of(&range, view.now), scope: scope.clone() };
    let board = board(&view.web, key, view.now).await?;
    let name = &row.app.name;
    let charts = Look { app: name, scope: &scope, range: range.query() };
    let next = now.firing.iter().find(|alert| alert.key.app == row.app.id);
    let rest = format!("app={}&", encoded(name));
    Ok(html! {
        div.closer-head {
            h2 { (glyph(row.state)) " " a href={ "/apps/" (encoded(name)) } { (view.outside(name)) } }
            p.now-numbers {
                span { "p95 " (number(row.numbers.now.p95, "ms")) } span { (number(row.numbers.rpm, "a minute")) }
                span { (failed(row.numbers.now.failed_percent())) }
                @if let Some(at) = row.last_line_at { span.quiet { "last line " (view.ago(at)) } }
            }
            (range.picker(view, "/", &rest))
        }
        @if let Some(alert) = next { @if let Some(id) = alert.id { p.next-action { strong { "Next: " } a href={ "/alerts/" (id) } { "look at " (view.alert_name(alert)) } } } }
        @if board.has_metrics {
            div.charts { @for chart in CHARTS.iter().filter_map(|id| board.chart(id)) { (charts.figure(view, chart)) } }
            (happenings::strip(view, name, &board.happenings, board.span.from, board.span.until))
        } @else { (empty("No metrics yet.", &html! { "They come with the app's log lines." })) }
        p { a.next href={ "/apps/" (encoded(name)) } { "Everything about " (view.outside(name)) } }
    })
}

fn feed_part(view: &View, now: &Now) -> Markup {
    let name = |id: AppId| now.rows.iter().find(|row| row.app.id == id).map(|row| row.app.name.clone());
    let of_alert = |row: &AlertRow, at, kind, what| {
        let happening = Happening { at, kind, source: String::new(), actor: None, what, version: None, alert: row.id };
        (row.app_name.clone(), happening)
    };
    let fired = |row: &AlertRow| {
        let what = format!("{} fired ({})", row.key.rule, row.severity?.as_str());
        Some(of_alert(row, row.since, HappeningKind::Alert, what))
    };
    let resolved = |row: &AlertRow| {
        let what = format!("{} resolved", row.key.rule);
        Some(of_alert(row, row.resolved_at?, HappeningKind::Resolved, what))
    };
    let mut items: Vec<(String, Happening)> = now.recent.iter().filter_map(fired).collect();
    items.extend(now.recent.iter().filter_map(resolved));
    items.extend(now.numbers.events.iter().filter_map(|(app, happening)| Some((name(*app)?, happening.clone()))));
    items.sort_by_key(|(_, happening)| std::cmp::Reverse(happening.at));
    items.truncate(FEED_MAX);
    feed(view, &items)
}

/// Whether what is above can be believed: the drains, the store, the messages.
fn foot_part(view: &View, now: &Now) -> Markup {
    let delivering =
        now.rows.iter().filter(|row| row.last_line_at.is_some_and(|at| view.now.since(at) <= SILENCE_MAX)).count();
    let is_well = |well: bool| if well { State::Up } else { State::Degraded };
    let drained = now.rows.iter().filter(|row| !has_no_drain(row)).count();
    let report = &now.report;
    let messages = match report.outbox {
        None => (State::Down, "store does not answer".to_owned()),
        Some(_) if report.store_full => (State::Down, "store is full".to_owned()),
        Some(outbox) if outbox.failed_24h > 0 => {
            (State::Degraded, format!("{} messages failed in 24 h", outbox.failed_24h))
        }
        Some(_) if report.receivers == 0 => (State::Unknown, "no receiver".to_owned()),
        Some(_) => (State::Up, "messages go out".to_owned()),
    };
    let drains = if drained == 0 { State::Unknown } else { is_well(delivering == drained && report.drain_on) };
    let metrics = if report.metrics_written { "metrics are written" } else { "metrics are not written" };
    html! {
        div.health-line {
            span { (state(drains, &format!("drains {delivering}/{drained} delivering"))) }
            a href="/deliveries" { (state(messages.0, &messages.1)) }
            span { (state(is_well(report.metrics_written), metrics)) }
            span.quiet { "dynowatch started " (view.ago(report.started_at)) }
        }
        details.instance { summary { "The drain in numbers" } (drain_health(view)) }
    }
}

fn drain_health(view: &View) -> Markup {
    let (stats, counts) = (view.web.engine.stats(), all_counts(&view.web.engine));
    let malformed: u64 = counts.malformed.iter().sum();
    let rows = [
        ("Batches accepted", stats.batches_accepted.get(), false),
        ("Refused with 401 (lost)", stats.batches_unauthorized.get(), true),
        ("Refused with 503 or 500 (sent again)", stats.batches_sent_again(), true),
        ("Refused with 413 (lost)", stats.batches_too_large.get(), true),
        ("Lines", counts.lines(), false),
        ("Frames that could not be read", malformed, true),
    ];
    html! {
        p.quiet { @if view.web.drain.is_on() { "The drain is on." } @else { "The drain is off." } " Counted since this process began." }
        dl.numbers { @for (name, n, bad) in rows { div.down[bad && n > 0] { dt { (name) } dd { (grouped(n)) } } } }
    }
}
