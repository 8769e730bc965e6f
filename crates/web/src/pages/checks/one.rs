//! One check: how it stands and why, with the value that each assertion saw, what comes next; its states, its phases, its
//! days, its outages and its failures; what it looks at and who is told. What changes while people look is the head; the
//! past is as old as the page.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use dynowatch_domain::account::Role;
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::uptime::{self, Spent};
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_domain::parse::show_duration;
use dynowatch_engine::checks::{CheckStatus, CheckUptime};
use dynowatch_store::alerts::{AlertFilter, AlertRow};
use dynowatch_store::checks::{CheckRow, Failure};
use maud::{Markup, html};

use super::super::chart::{Data, Figure};
use super::super::error::PageError;
use super::super::palette::encoded;
use super::super::partial;
use super::super::parts::{Stat, copyable, reference, state, verdict};
use super::super::range::{self, Range};
use super::super::shell::Head;
use super::super::view::View;
use super::words::{self, found, next, open_window, shown, state_of, target, took};
use super::{history, is_of_console, refused, run};
use crate::events::Topic;
use crate::show::{shell_word, visible};

/// The range when none is asked for.
const RANGE: &str = "24h";
/// Days of the bars.
const DAYS: u16 = 90;
const DAY: Duration = Duration::from_secs(86_400);
/// Failures, outages and alerts on the page.
const FAILURES_MAX: u32 = 10;
const OUTAGES_MAX: u32 = 20;
const ALERTS_MAX: usize = 5;
/// Alerts that outages may lead to.
const KNOWN_ALERTS_MAX: u32 = 100;
/// Outages that may be marks of a chart.
const MARKS_MAX: u32 = 200;

type AskedFor = Result<Query<range::Asked>, QueryRejection>;

fn name_of(path: Result<Path<String>, PathRejection>) -> Result<String, PageError> {
    path.map(|Path(name)| name)
        .map_err(|_| PageError::not_found("There is no such check: its address is not readable."))
}

fn range_of(query: AskedFor, view: &View) -> Result<Range, PageError> {
    let bad = |_| PageError::new(StatusCode::BAD_REQUEST, "The link to this page is cut off or was changed.");
    let Query(asked) = query.map_err(bad)?;
    Ok(Range::of(&asked, RANGE, view.now))
}

/// The page.
pub(crate) async fn show(
    view: View,
    path: Result<Path<String>, PathRejection>,
    query: AskedFor,
) -> Result<Html<String>, PageError> {
    let (name, range) = (name_of(path)?, range_of(query, &view)?);
    let engine = &view.web.engine;
    let status = engine.check_status(&name).await.map_err(refused)?;
    let href = format!("/checks/{}", encoded(&name));
    let back = (view.now - DAY * (u32::from(DAYS) + 1)).min(range.from);
    let past = engine.check_uptime(&name, back, view.now).await.map_err(refused)?;
    let failures = engine.check_failures(&name, view.now + DAY, FAILURES_MAX).await.map_err(refused)?;
    let outages = engine.check_outages(&name, view.now + DAY, OUTAGES_MAX).await.map_err(refused)?;
    let rule = dynowatch_engine::checks::alerts::rule_name(&name);
    let filter = AlertFilter { rule: Some(rule), limit: KNOWN_ALERTS_MAX, ..AlertFilter::default() };
    let alerts = engine.store().alerts(&filter).await?;
    let of_console = is_of_console(&view.web, &name).await?;
    let topics = [Topic::Check(name.clone())];
    let title = format!("{} · {}", shown(&status).as_str(), visible(&name));
    let head = Head::new(&title, "/checks").below(&[("/checks", "Checks")]).live(&topics).charts();
    let stretches = uptime::stretches(&past.flips, past.known_until, range.from, range.to.min(view.now));
    let spent = uptime::spent(&past.flips, past.known_until, range.from, range.to.min(view.now));
    let days = uptime::days(&past.flips, past.known_until, view.look.zone.rules(), view.now, DAYS);
    let phases = phases(&view, &status, &range).await?;
    Ok(view.page(
        &head,
        &html! {
            div #check-head.flow { (top(&view, &status)) }
            (buttons(&view, &status, of_console))
            (uptimes(&view, &status, &past))
            div.columns {
                div.main-column {
                    section aria-label="History" {
                        div.title-row { h2 { "History" } (range.picker(&view, &href, "")) }
                        div.flow {
                            (history::timeline(&view, &stretches, &spent, &range))
                            @if let Some((data, title)) = &phases { (figure(&view, &href, &range, data, title)) }
                            (history::days(&view, &days))
                        }
                    }
                    section #outages { h2 { "Outages" } (history::outages(&view, &outages, &alerts)) }
                    section #failures { h2 { "Last failures" } (self::failures(&view, &failures)) }
                }
                aside aria-label="About this check" {
                    (pin(&view, &status))
                    (heartbeat(&view, &status))
                    (about(&view, &status.check, of_console))
                    (alerts_card(&view, &name, &alerts))
                }
            }
        },
    ))
}

/// The values of its chart, as JSON or CSV by the ending.
pub(crate) async fn values(
    view: View,
    path: Result<Path<(String, String)>, PathRejection>,
    query: AskedFor,
) -> Result<Response, PageError> {
    let missing = || PageError::not_found("There is no such chart (any more).");
    let Path((name, file)) = path.map_err(|_| missing())?;
    let range = range_of(query, &view)?;
    let status = view.web.engine.check_status(&name).await.map_err(refused)?;
    let (data, _) = phases(&view, &status, &range).await?.ok_or_else(missing)?;
    match file.as_str() {
        "phases.json" => Ok(Json(&data).into_response()),
        "phases.csv" => {
            let headers = [
                (header::CONTENT_TYPE, "text/csv; charset=utf-8".to_owned()),
                (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{}-phases.csv\"", encoded(&name))),
            ];
            Ok((headers, data.csv()).into_response())
        }
        _ => Err(missing()),
    }
}

/// What changes of it, for pages that are open.
pub(crate) async fn live(view: &View, name: &str) -> Result<Markup, PageError> {
    let status = view.web.engine.check_status(name).await.map_err(refused)?;
    Ok(partial("check-head", &top(view, &status)))
}

/// How it stands and why, what comes next, what its last run saw.
fn top(view: &View, status: &CheckStatus) -> Markup {
    let (check, row, now_shown) = (&status.check, status.row.as_ref(), shown(status));
    let last = row.and_then(|row| row.last.as_ref());
    let undecided = row.map_or(0, |row| row.state.undecided_runs());
    let reason = last.and_then(|last| last.reason);
    let sentence = html! { span.eyebrow { (check.kind.name()) " check" @if let Some(app) = &check.app { " of " (visible(app)) } } " " (visible(&check.name)) " is " (words::being(now_shown)) };
    let below = html! {
        @let why = match now_shown { Shown::Maintenance | Shown::Paused | Shown::New => words::why(view, status), _ => last.map_or_else(String::new, |last| found(view, last)) };
        @if !why.is_empty() { p.measured { (why) } }
        p.quiet {
            @if let Some(since) = row.and_then(|row| row.state.since()) { "since " (view.moment_ago(since)) }
            @if let Some(at) = row.and_then(|row| row.last_run_at) { " · last run " (view.ago(at)) @if let Some(last) = last.filter(|last| last.phases.total_us > 0) { ", took " (took(last.phases.total_us)) } }
        }
        (words::sentences(&next(check, now_shown, undecided, reason)))
    };
    html! {
        (words::blind(view))
        (verdict(state_of(now_shown), &sentence, &below))
        @if let Some(last) = last.filter(|last| !last.assertions.is_empty()) {
            section #check-saw { h2 { "What the last run saw" } (run::assertions(view, last)) }
        }
    }
}

/// What may be done, for who may do it.
fn buttons(view: &View, status: &CheckStatus, of_console: bool) -> Markup {
    let base = format!("/checks/{}", encoded(&status.check.name));
    let is_heartbeat = matches!(status.check.kind, CheckKind::Heartbeat(_));
    let paused_here = status.row.as_ref().is_some_and(|row| row.paused.is_some());
    html! {
        @if view.viewer.may(Role::Operator) {
            div.buttons #check-acts {
                @if !is_heartbeat {
                    (button(view, &format!("{base}/run"), "Run now", "primary"))
                    (button(view, &format!("{base}/explain"), "Explain", ""))
                }
                @if paused_here { (button(view, &format!("{base}/resume"), "Resume", "primary")) }
                @else if !status.check.paused { (button(view, &format!("{base}/pause"), "Pause", "")) }
                a.button href={ (base) "/edit" } { @if of_console { "Edit" } @else { "Thresholds" } }
                a.button href={ "/checks/maintenance/new?check=" (encoded(&status.check.name)) } { "Plan maintenance" }
            }
        }
    }
}

/// A form that is one button.
pub(super) fn button(view: &View, action: &str, words: &str, class: &str) -> Markup {
    html! { form.one-button method="post" action=(action) { (view.viewer.csrf_field()) button.(class) type="submit" { (words) } } }
}

/// Uptime over several times, and the last run.
fn uptimes(view: &View, status: &CheckStatus, past: &CheckUptime) -> Markup {
    let spans =
        [("Uptime 24 h", 1_u32), ("Uptime 7 days", 7), ("Uptime 30 days", 30), ("Uptime 90 days", u32::from(DAYS))];
    let of = |days: u32| uptime::spent(&past.flips, past.known_until, view.now - DAY * days, view.now);
    let missed = status.row.as_ref().map_or(0, |row| row.missed);
    html! {
        div.stats {
            @for (label, days) in spans { (uptime_stat(label, &of(days))) }
        }
        @if missed > 0 { p.quiet { (crate::show::grouped(missed)) " runs were skipped because the one before had not ended." } }
    }
}

fn uptime_stat(label: &str, spent: &Spent) -> Markup {
    let observed = spent
        .coverage(1)
        .filter(|coverage| spent.known_us() > 0 && !coverage.is_at_least(999))
        .map(|coverage| format!("of {coverage} observed"));
    let value = spent.uptime(2).map(|uptime| uptime.to_string());
    let (value, unit) = match &value {
        Some(text) => (Some(text.trim_end_matches(" %").to_owned()), "%"),
        None => (None, ""),
    };
    Stat { label, value, unit, limit: observed.as_deref(), ..Stat::default() }.markup()
}

async fn phases(view: &View, status: &CheckStatus, range: &Range) -> Result<Option<(Data, String)>, PageError> {
    if matches!(status.check.kind, CheckKind::Heartbeat(_)) {
        return Ok(None);
    }
    let (name, engine) = (&status.check.name, &view.web.engine);
    let runs = engine.check_history(name, range.from, range.to).await.map_err(refused)?;
    let marks = engine.check_outages(name, range.to, MARKS_MAX).await.map_err(refused)?;
    Ok(Some((history::phases(&status.check, &runs, range, &marks), history::phases_title(&runs))))
}

fn figure(view: &View, href: &str, range: &Range, data: &Data, title: &str) -> Markup {
    let address = |file: &str| format!("{href}/charts/{file}?{}", range.query());
    let summary = format!("How long runs took, phase by phase: {title}. Single runs are kept for seven days.");
    let (json, csv) = (address("phases.json"), address("phases.csv"));
    Figure {
        id: "phases",
        about: "Phases of a run, on average",
        title: title.to_owned(),
        summary,
        json,
        csv,
        group: "page",
    }
    .markup(view, data)
}

fn failures(view: &View, failures: &[Failure]) -> Markup {
    html! {
        @if failures.is_empty() { p.quiet { "None is kept. Failed runs are kept whole for 90 days." } }
        @for Failure { observation, transcript } in failures {
            details.failure {
                summary {
                    (state(words::of_outcome(observation.outcome), observation.outcome.name()))
                    " " (view.moment(observation.started_at)) " "
                    span.why { (found(view, observation)) }
                }
                div.flow { (run::found(view, observation)) (run::transcript(view, transcript)) }
            }
        }
    }
}

/// The key that a server shows, where it is pinned.
fn pin(view: &View, status: &CheckStatus) -> Markup {
    let memory = status.row.as_ref().map(|row| &row.memory);
    let (pinned, offered) =
        (memory.and_then(|memory| memory.pin.as_ref()), memory.and_then(|memory| memory.pin_offered.as_ref()));
    html! {
        @if let Some(pinned) = pinned {
            section.card #pin {
                h2 { @if offered.is_some() { "The server shows another key" } @else { "Pinned key" } }
                dl.facts {
                    dt { "Expected" } dd { code { (visible(&pinned.key_sha256)) } " since " (view.moment(pinned.first_seen_at)) }
                    @if let Some(offered) = offered { dt { "Shown now" } dd { code { (visible(&offered.key_sha256)) } " since " (view.moment(offered.first_seen_at)) } }
                }
                @if offered.is_some() && view.viewer.may(Role::Operator) {
                    p { "Accept it only if the server's key was rotated on purpose: from then on, passwords go to whoever has it." }
                    (button(view, &format!("/checks/{}/pin", encoded(&status.check.name)), "Accept the new key", "danger"))
                }
            }
        }
    }
}

/// Where a job reports, for who may know it, and what it said last.
fn heartbeat(view: &View, status: &CheckStatus) -> Markup {
    let (CheckKind::Heartbeat(heartbeat), Some(row)) = (&status.check.kind, &status.row) else { return html! {} };
    html! {
        section.card #ping {
            h2 { "Where the job reports" }
            @match (&row.ping_token, view.viewer.may(Role::Operator)) {
                (Some(token), true) => {
                    @let url = ping_url(view, token);
                    p { "At the end of the job:" }
                    (copyable(&format!("curl -fsS -m 10 --retry 5 {}", shell_word(&url))))
                    p { "At its beginning, with " code { "/start" } " behind the address; if it failed, with " code { "/fail" } ". Runs that overlap are told apart by " code { "?run=ID" } "." }
                    @if view.web.engine.public_url().is_none() { p { "For " code { "https://DYNOWATCH" } " stands this instance's own address: set " code { "server.public_url" } "." } }
                    p.quiet { "Whoever has this address can report for the job." }
                }
                (Some(_), false) => p { "The address is a secret; operators see it here." },
                (None, _) => p { "Its address is made with its first look, within seconds." },
            }
            (said(view, row))
            dl.facts { dt { "Expected" } dd { (heartbeat.expected) } dt { "Grace" } dd { (show_duration(heartbeat.grace)) } }
        }
    }
}

fn ping_url(view: &View, token: &str) -> String {
    let base = view.web.engine.public_url();
    let base = (*base).as_deref().unwrap_or("https://DYNOWATCH");
    format!("{}/ping/{token}", base.trim_end_matches('/'))
}

/// What the job said last.
fn said(view: &View, row: &CheckRow) -> Markup {
    let heard = &row.heartbeat;
    html! {
        dl.facts {
            @if let Some(last) = &heard.last {
                dt { "Last report" } dd { (last.kind.as_str()) @if let Some(run) = &last.run { " of run " (view.outside(run)) } ", " (view.moment_ago(last.at)) @if !last.note.is_empty() { ": " span.said { (view.outside(&last.note)) } } }
            } @else { dt { "Last report" } dd { "none yet" } }
            @if let Some(took) = heard.took { dt { "It took" } dd { (history::lasted(took)) } }
            @for running in &heard.running { dt { "Runs now" } dd { @if let Some(run) = &running.run { (view.outside(run)) " " } "since " (view.moment_ago(running.since)) } }
        }
    }
}

fn about(view: &View, check: &Check, of_console: bool) -> Markup {
    let thresholds = &check.thresholds;
    let book = view.web.engine.check_book();
    let open = open_window(&book.windows, check, view.now);
    let coming = book.windows.iter().filter(|window| window.is_for(&check.name, check.app.as_deref()));
    let coming =
        coming.filter_map(|window| Some((window, window.next_after(view.now)?))).min_by_key(|(_, span)| span.from);
    html! {
        section.card {
            h2 { "What it looks at" }
            p.release { (target(view, check)) }
            dl.facts {
                @if !matches!(check.kind, CheckKind::Heartbeat(_)) { dt { "Every" } dd { (show_duration(check.interval)) ", at most " (show_duration(check.timeout)) } }
                @if let Some(tls) = check.kind.tls() { dt { "Certificate" } dd { "judged by " (tls.name()) } }
                @if !check.assertions.is_empty() { dt { "Demands" } dd { @for assertion in &check.assertions { code { (view.outside(assertion.as_str())) } br; } } }
                dt { "Down after" } dd { (thresholds.failures) " failed in a row" @if let Some(time) = thresholds.failing_for { ", or failing for " (show_duration(time)) } }
                dt { "Up after" } dd { (thresholds.recoveries) " good in a row" @if let Some(time) = thresholds.recovering_for { " over " (show_duration(time)) } }
                @if let Some(parent) = &check.parent { dt { "Not told while" } dd { a href={ "/checks/" (encoded(parent)) } { (visible(parent)) } " fails" } }
                dt { "Tells" } dd { @if check.receivers.is_empty() { "nobody" } @else { (visible(&check.receivers.join(", "))) } ", " (check.severity.as_str()) }
                @if let Some(runbook) = &check.runbook { dt { "Runbook" } dd { (reference(runbook)) } }
                @if let Some(app) = &check.app { dt { "App" } dd { a href={ "/apps/" (encoded(app)) } { (visible(app)) } } }
            }
        }
        @if open.is_some() || coming.is_some() {
            section.card #maintenance {
                h2 { "Maintenance" }
                @if let Some((window, span)) = &open { p { "In force: " a href="/checks/maintenance" { (visible(&window.name)) } " until " (view.moment_ago(span.until)) @if !window.reason.is_empty() { ". " (view.outside(&window.reason)) } } }
                @if let Some((window, span)) = &coming { p.quiet { "Next: " (visible(&window.name)) ", " (view.moment(span.from)) " for " (history::lasted(span.until.since(span.from))) } }
            }
        }
        section.card {
            h2 { "From the " @if of_console { "console" } @else { "file" } }
            @if of_console { p { "It was made in the console and lives in the database." } }
            @else { p { "It stands in the configuration file under " code { "[[checks]]" } " and is edited there." } }
            p { "From a terminal:" }
            (copyable(&format!("dynowatch checks explain {}", shell_word(&check.name))))
        }
    }
}

fn alerts_card(view: &View, name: &str, rows: &[AlertRow]) -> Markup {
    let rule = dynowatch_engine::checks::alerts::rule_name(name);
    html! {
        section.card {
            h2 { "Alerts" }
            @if rows.is_empty() { p { "None is kept." } } @else {
                ul.plain {
                    @for row in rows.iter().take(ALERTS_MAX) {
                        li { (state(super::super::alerts::state_of(row), row.state.as_str())) " " @match row.id { Some(id) => a href={ "/alerts/" (id) } { (view.look.zone.short(row.since)) }, None => (view.look.zone.short(row.since)) } }
                    }
                }
                p { a href={ "/alerts?rule=" (encoded(&rule)) } { "All its alerts" } }
            }
        }
    }
}
