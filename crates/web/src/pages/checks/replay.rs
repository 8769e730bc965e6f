//! Other thresholds on the past of a check: what they would have told, beside what the present ones do. From the form of a
//! check of the console, and on a page of its own for one of the file, which is edited there.

use std::time::Duration;

use axum::response::Html;
use dynowatch_domain::check::replay::Replay;
use dynowatch_engine::checks::CheckReplay;
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_store::checks::results::RESULTS_KEPT;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::form::other_problems;
use super::super::object::failed;
use super::super::palette::encoded;
use super::super::parts::{State, state};
use super::super::shell::Head;
use super::super::view::View;
use super::kinds::{FLAPPING, THRESHOLDS};
use super::{edit, history, refused};
use crate::show::{grouped, visible};

/// Pages that are listed.
const PAGES_MAX: usize = 50;
/// The name under which thresholds are read, as those of a check that is nowhere.
const READ_AS: &str = "these-thresholds";

/// Tries the thresholds of a form on the stored runs, or says what is wrong with them.
pub(super) async fn run(view: &View, name: &str, body: &Value) -> Result<Result<Markup, Vec<Problem>>, PageError> {
    let engine = &view.web.engine;
    let mut alone = json!({ "kind": "web", "url": "https://example.com/" });
    for key in THRESHOLDS.iter().map(|field| field.key).chain(["tell_degraded", "flapping"]) {
        if let Some(value) = body.get(key) {
            super::super::form::put(&mut alone, key, value.clone());
        }
    }
    let thresholds = match engine.draft_check(READ_AS, &alone).await {
        Ok(check) => check.thresholds.clone(),
        Err(ObjectError::Wrong(problems)) => return Ok(Err(problems)),
        Err(error) => return Err(failed(error)),
    };
    let told = engine.replay_check(name, &thresholds, view.now - RESULTS_KEPT, view.now).await.map_err(refused)?;
    Ok(Ok(results(view, &told)))
}

fn results(view: &View, told: &CheckReplay) -> Markup {
    let zone = view.look.zone.rules();
    let CheckReplay { from, until, other, present } = told;
    let worse = other.pages.len() > present.pages.len();
    html! {
        section #trial.card.flow role="status" {
            h2 { (state(if worse { State::Degraded } else { State::Info }, &format!("These thresholds {}", other.show(zone)))) }
            p { "The present ones " (present.show(zone)) "." @if other.untold > 0 { " Of " (grouped(other.untold)) " short or held outages nobody would have been told." } }
            @if !other.pages.is_empty() { (pages(view, other)) }
            h3 { "What this rests on" }
            p.quiet {
                @if other.runs == 0 { "No run is stored yet. Runs are kept for seven days." }
                @else { (grouped(other.runs)) " stored runs, from " (view.moment(*from)) " to " (view.moment(*until)) ", " (history::lasted(until.since(*from))) ". Runs are kept for seven days. Working hours are Monday to Friday, 9 to 18 (" (view.look.zone.name()) "). Nothing is saved." }
            }
        }
    }
}

fn pages(view: &View, told: &Replay) -> Markup {
    let zone = view.look.zone.rules();
    html! {
        div.sideways tabindex="0" role="region" aria-label="Messages" {
            table.data {
                thead { tr { th scope="col" { "Would have told" } th scope="col" { "When" } th.number scope="col" { "Outage" } } }
                tbody {
                    @for page in told.pages.iter().rev().take(PAGES_MAX) {
                        tr {
                            th scope="row" { (view.moment(page.at)) }
                            td { @if page.is_after_hours(zone) { "after hours" } @else { "working hours" } }
                            td.number { @match page.lasted() { Some(time) => (history::lasted(time)), None => "goes on" } }
                        }
                    }
                }
            }
        }
        @if told.pages.len() > PAGES_MAX { p.quiet { "The newest " (PAGES_MAX) " of " (told.pages.len()) "." } }
    }
}

/// The page of a check of the file: where it is edited, and its thresholds to be tried.
pub(super) async fn of_file(
    view: &View,
    name: &str,
    body: &Value,
    problems: &[Problem],
    told: Option<Markup>,
) -> Result<Html<String>, PageError> {
    let status = view.web.engine.check_status(name).await.map_err(refused)?;
    let is_fresh = body.as_object().is_none_or(serde_json::Map::is_empty) && told.is_none();
    let present = if is_fresh { present(&status.check.thresholds) } else { body.clone() };
    let (shown, href) = (visible(name), format!("/checks/{}", encoded(name)));
    let title = format!("Thresholds of {shown}");
    let crumbs = [("/checks", "Checks"), (href.as_str(), shown.as_str())];
    let keys: Vec<&str> = THRESHOLDS.iter().chain(&FLAPPING).map(|field| field.key).chain(["flapping"]).collect();
    let head = Head::new(&title, "/checks").below(&crumbs);
    Ok(view.page(&head, &html! {
        h1 { (title) }
        p { "This check stands in the configuration file under " code { "[[checks]]" } " and is edited there. Here its thresholds can be tried on its stored runs; nothing is saved." }
        @if let Some(told) = told { (told) }
        form.form method="post" action={ (href) "/edit" } {
            (view.viewer.csrf_field())
            (other_problems(problems, &keys))
            (edit::thresholds(&present, problems))
            div.buttons { button.primary type="submit" name="do" value="replay" { "Try them on the past" } a href=(href) { "Back to the check" } }
        }
    }))
}

/// Thresholds as the file would hold them.
fn present(thresholds: &dynowatch_domain::check::Thresholds) -> Value {
    let time = |time: Duration| Value::from(dynowatch_domain::parse::show_duration(time));
    let mut body = json!({ "failures": thresholds.failures, "recoveries": thresholds.recoveries });
    for (key, value) in [("failing_for", thresholds.failing_for), ("recovering_for", thresholds.recovering_for)] {
        super::super::form::put(&mut body, key, value.map_or(Value::Null, time));
    }
    let flapping = thresholds.flapping.map_or(Value::Bool(false), |flapping| {
        json!({ "transitions": flapping.transitions, "window": time(flapping.window), "quiet": time(flapping.quiet) })
    });
    super::super::form::put(&mut body, "flapping", flapping);
    super::super::form::put(
        &mut body,
        "tell_degraded",
        if thresholds.tell_degraded { true.into() } else { Value::Null },
    );
    body
}
