//! Trying a rule on the past from its form, before it is saved: on what this instance still has, or on a log that is
//! uploaded. What came of it stands above the form, with what it rests on.

use axum::extract::Extension;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Buf as _;
use dynowatch_engine::backtest::{ALERTS_MAX, Backtest, BacktestError, Coverage, Tried};
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_engine::replay::Happening;
use dynowatch_store::objects::ObjectKind;
use maud::{Markup, html};
use serde_json::Value;

use super::super::error::PageError;
use super::super::form::{Typed, typed};
use super::super::object;
use super::super::parts::{State, state};
use super::super::view::View;
use super::edit::{self, Draft};
use crate::multipart::Multipart;
use crate::show::{grouped, visible};
use crate::viewer::OperatorOnly;

/// The name that a rule has while it is tried: a name that is taken must not get in its way.
pub(crate) const TRIAL: &str = "this-rule";
/// Apps that are named in a sentence.
const APPS_NAMED_MAX: usize = 5;

/// Tries the rule of the form.
pub(crate) async fn run(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Extension(form): Extension<Multipart>,
) -> Result<Response, PageError> {
    let all: Typed = form.texts();
    let editing = typed(&all, "editing").to_owned();
    let old = (!editing.is_empty()).then_some(editing.as_str());
    let base = match old {
        Some(name) => object::named(&view.web, ObjectKind::Rule, name).await?.body,
        None => Value::Null,
    };
    let (name, body) = (old.unwrap_or_else(|| typed(&all, "name")).to_owned(), edit::body_of(base, &all));
    let log = form.file("log");
    let tried = match (typed(&all, "try"), log) {
        ("log", None) => Err(BacktestError::Log("choose a log first".to_owned())),
        ("log", Some(log)) => on_log(&view, &body, app_of(&all), log).await,
        _ => on_stored(&view, &body).await,
    };
    let draft = Draft { old, name: &name, body: &body, ..Draft::default() };
    match tried {
        Ok(tried) => Ok(edit::page(&view, &Draft { note: Some(results(&view, &tried)), ..draft }).into_response()),
        Err(BacktestError::Rule(ObjectError::Wrong(problems))) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, edit::page(&view, &Draft { problems: &problems, ..draft }))
                .into_response())
        }
        Err(BacktestError::Rule(error)) => Err(object::failed(error)),
        Err(BacktestError::Log(text)) => {
            let problems = [Problem { key: "log".to_owned(), text }];
            Ok((StatusCode::UNPROCESSABLE_ENTITY, edit::page(&view, &Draft { problems: &problems, ..draft }))
                .into_response())
        }
    }
}

/// Whose log it is: what was typed, else the first app of the rule that is no pattern.
fn app_of(all: &Typed) -> String {
    let named = typed(all, "log_app").trim();
    let first = typed(all, "apps").split(',').map(str::trim).find(|app| !app.is_empty() && !app.contains(['*', '?']));
    let app = if named.is_empty() { first.unwrap_or("the-log") } else { named };
    app.chars().take(100).collect()
}

async fn on_stored(view: &View, body: &Value) -> Result<Backtest, BacktestError> {
    let engine = &view.web.engine;
    let rule = engine.rule_of(TRIAL, body).await?;
    engine.backtest_stored(&rule).await
}

async fn on_log(view: &View, body: &Value, app: String, log: bytes::Bytes) -> Result<Backtest, BacktestError> {
    let engine = view.web.engine.clone();
    let rule = engine.rule_of(TRIAL, body).await?;
    let tried = tokio::task::spawn_blocking(move || engine.backtest_log(&rule, &app, log.reader())).await;
    tried.map_err(|error| BacktestError::Log(format!("the trial broke off: {error}")))?
}

fn results(view: &View, tried: &Backtest) -> Markup {
    let alerts: Vec<&Happening> = tried.happenings.iter().filter(|happening| happening.what != "resolved").collect();
    let over = |fired: &Happening| {
        let after = |other: &&Happening| other.what == "resolved" && other.key == fired.key && other.at >= fired.at;
        tried.happenings.iter().find(after).map(|over| over.at)
    };
    let plural = |n: u64| if n == 1 { "" } else { "s" };
    html! {
        section #trial.card role="status" {
            h2 {
                @if tried.fired == 0 { (state(State::Info, "It would have raised no alert")) }
                @else { (state(State::Degraded, &format!("It would have raised {} alert{}", grouped(tried.fired), plural(tried.fired)))) }
            }
            p {
                @if tried.coverage.values == 0 { (grouped(tried.matched)) " line" (plural(tried.matched)) " fit" @if tried.matched == 1 { "s" } " it; " }
                (grouped(tried.messages)) " message" (plural(tried.messages)) " to each of its receivers. It is not saved yet."
            }
            @if !alerts.is_empty() {
                div.sideways {
                    table.data {
                        thead { tr { th scope="col" { "Would have fired" } th scope="col" { "On" } th scope="col" { "With" } th.wide scope="col" { "Over" } } }
                        tbody {
                            @for fired in alerts.iter().take(ALERTS_MAX) {
                                tr {
                                    th scope="row" { (view.moment(fired.at)) @if fired.what == "fired_silently" { " " span.quiet { "(in the cool-down)" } } }
                                    td { (visible(fired.key.split_once('/').map_or(fired.key.as_str(), |(_, on)| on))) }
                                    td { (fired.measured.as_deref().map(visible).unwrap_or_default()) }
                                    td.wide {
                                        @match over(fired).filter(|over| *over <= view.now) {
                                            Some(over) => (view.moment(over)),
                                            None => span.quiet { "not yet" },
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
                @if tried.fired > alerts.len().min(ALERTS_MAX) as u64 { p.quiet { "The first " (alerts.len().min(ALERTS_MAX)) " are shown." } }
            }
            h3 { "What this rests on" }
            (coverage(view, &tried.coverage))
        }
    }
}

fn coverage(view: &View, coverage: &Coverage) -> Markup {
    let (n, what) = match coverage.of {
        Tried::Stored if coverage.values > 0 => (coverage.values, "values of ten seconds that this instance has"),
        Tried::Stored => (coverage.lines, "lines that this instance has"),
        Tried::Log => (coverage.lines, "lines of the log"),
    };
    html! {
        p {
            @match (coverage.from, coverage.until) {
                (Some(from), Some(until)) => {
                    (grouped(n)) " " (what) ", from " (view.moment(from)) " to " (view.moment(until))
                    ", of " (named(&coverage.apps)) "."
                },
                _ => { "None: nothing of the rule's apps is there." },
            }
            @if coverage.malformed > 0 { " " (grouped(coverage.malformed)) " lines could not be read." }
        }
        @if !coverage.whole_since.is_empty() {
            p {
                "All lines are there "
                @for (i, (app, since)) in coverage.whole_since.iter().take(APPS_NAMED_MAX).enumerate() {
                    @if i > 0 { ", " } "of " (visible(app)) " since " (view.moment(*since))
                }
                @if coverage.whole_since.len() > APPS_NAMED_MAX { ", and of " (coverage.whole_since.len() - APPS_NAMED_MAX) " more apps for as short a time" }
                "."
            }
        }
        @if !coverage.missing.is_empty() { p { "What is missing:" } ul { @for what in &coverage.missing { li { (visible(what)) } } } }
    }
}

fn named(apps: &[String]) -> String {
    let names: Vec<String> = apps.iter().take(APPS_NAMED_MAX).map(|app| visible(app)).collect();
    let more = apps.len().saturating_sub(APPS_NAMED_MAX);
    if more == 0 { names.join(", ") } else { format!("{} and {more} more apps", names.join(", ")) }
}

/// The part of a rule's form that tries it.
pub(super) fn fieldset(problems: &[Problem]) -> Markup {
    let wrong: Vec<&Problem> = problems.iter().filter(|problem| problem.key == "log").collect();
    html! {
        fieldset #try-it {
            legend { "Try it on the past" }
            p.hint { "Nothing is saved or sent. What came of it, and what it rests on, is said above the form. A rule on a metric is tried on the values of the last two hours." }
            div.buttons {
                button type="submit" name="try" value="stored" formaction="/rules/new/backtest" formenctype="multipart/form-data" { "Try it on what is stored" }
            }
            div.pair {
                div.field {
                    label for="log" { "A log" }
                    input #log type="file" name="log" aria-describedby="log-about" aria-invalid=[(!wrong.is_empty()).then_some("true")];
                    div #log-about {
                        @for problem in wrong { p.problem { span aria-hidden="true" { "✕" } (visible(&problem.text)) } }
                        p.hint { "What " code { "heroku logs" } ", a drain or Papertrail gives; plain or packed with gzip, at most 16 MiB." }
                    }
                }
                div.field {
                    label for="log_app" { "Whose it is" }
                    input #log_app type="text" name="log_app" maxlength="100" autocomplete="off" aria-describedby="log_app-about";
                    p.hint #log_app-about { "The app's name; empty means the rule's first." }
                }
            }
            div.buttons {
                button type="submit" name="try" value="log" formaction="/rules/new/backtest" formenctype="multipart/form-data" { "Try it on this log" }
            }
        }
    }
}
