//! The rules: all of them with where they come from and what became of them, and one rule in words. Those of the file say
//! where to edit them; those of the console are edited in [`edit`].

pub(crate) mod backtest;
pub(crate) mod edit;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Path, Query, State as Shared};
use axum::response::{Html, Redirect};
use dynowatch_domain::account::Role;
use dynowatch_domain::parse::{Glob, show_duration};
use dynowatch_domain::rule::{Origin, Rule};
use dynowatch_engine::operate::OperateError;
use dynowatch_store::alerts::{AlertFilter, AlertState};
use dynowatch_store::objects::ObjectKind;
use dynowatch_store::rules::RuleOverride;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::palette::encoded;
use super::parts::{State, chips, copyable, empty, facet, filter_bar, prose, reference, stale, state};
use super::shell::Head;
use super::view::View;
use crate::api::rules::unknown_since;
use crate::router::Web;
use crate::show::{shell_word, visible};
use crate::viewer::OperatorOnly;

/// Alerts of one rule that its page shows.
const ALERTS_MAX: u32 = 10;
/// How long a rule is switched off by one press.
const QUIET_TIME: Duration = Duration::from_secs(3_600);

/// Which rules.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    origin: String,
    #[serde(default)]
    on: String,
}

/// The list.
pub(crate) async fn list(view: View, Query(asked): Query<Asked>) -> Result<Html<String>, PageError> {
    let book = view.web.engine.rules();
    let store = view.web.engine.store();
    let firing =
        store.alerts(&AlertFilter { state: Some(AlertState::Firing), limit: 1_000, ..AlertFilter::default() }).await?;
    let overrides = store.disabled_rules(view.now).await?;
    let unusable = view.web.engine.unusable_objects().await;
    let wanted = |rule: &&Arc<Rule>| {
        let active = book.active(&rule.name).is_some();
        (asked.origin.is_empty() || rule.origin.as_str() == asked.origin)
            && (asked.on.is_empty() || active == (asked.on == "yes"))
    };
    let rules: Vec<&Arc<Rule>> = book.iter().filter(wanted).collect();
    let origins = [Origin::Store, Origin::File, Origin::BuiltIn]
        .map(|origin| (origin.as_str().to_owned(), origin_words(origin).to_owned()));
    let state_chips = [("", "All"), ("yes", "On"), ("no", "Off")].map(|(on, words)| {
        let origin =
            if asked.origin.is_empty() { String::new() } else { format!("&origin={}", encoded(&asked.origin)) };
        (format!("/rules?on={on}{origin}"), words, asked.on == on)
    });
    Ok(view.page(&Head::new("Rules", "/rules"), &html! {
        div.title-row { h1 { "Rules" } (make_button(&view, "/rules/new", "New rule")) }
        @for (_, name, problem) in unusable.iter().filter(|(kind, ..)| *kind == ObjectKind::Rule) {
            ul.warnings { li { "The rule " a href={ "/rules/" (encoded(name)) "/edit" } { (visible(name)) } " of the console cannot be used: " (view.outside(problem)) } }
        }
        (chips("State", state_chips))
        (filter_bar("/rules", &html! {
            @if !asked.on.is_empty() { input type="hidden" name="on" value=(asked.on); }
            (facet("origin", "From", &origins, &asked.origin))
        }, !asked.origin.is_empty()))
        @if rules.is_empty() { (empty("No rule fits.", &html! { a href="/rules" { "Show all rules" } })) } @else {
            table.data.rules {
                thead { tr { th scope="col" { "Rule" } th.wide scope="col" { "Means" } th scope="col" { "Condition" } th.wide scope="col" { "Sends to" } th.wide scope="col" { "From" } th scope="col" { "State" } } }
                tbody {
                    @for rule in rules {
                        @let open = firing.iter().filter(|row| row.key.rule == rule.name).count();
                        tr {
                            th scope="row" { a.row href={ "/rules/" (encoded(&rule.name)) } { (visible(&rule.name)) } @if open > 0 { " " span.tag.down { (open) " firing" } } }
                            td.wide.means { (prose(first_sentence(&rule.guidance.meaning))) }
                            td { (breakable(&rule.condition.to_string())) " " span.quiet { (rule.severity.as_str()) } }
                            td.wide { (sends_to(rule)) }
                            td.wide.quiet { (origin_words(rule.origin)) }
                            td { (state_of(&view, rule, &overrides)) }
                        }
                    }
                }
            }
        }
    }))
}

/// One rule.
pub(crate) async fn show(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    let book = view.web.engine.rules();
    let rule = book.get(&name).ok_or_else(|| PageError::not_found("There is no rule of that name."))?;
    let store = view.web.engine.store();
    let overrides = store.disabled_rules(view.now).await?;
    let filter = AlertFilter { rule: Some(name.clone()), limit: ALERTS_MAX, ..AlertFilter::default() };
    let alerts = store.alerts(&filter).await?;
    let head = Head::new(&name, "/rules").below(&[("/rules", "Rules")]);
    Ok(view.page(&head, &html! {
        div.title-row { h1 { (visible(&name)) " " (state_of(&view, rule, &overrides)) } (actions(&view, rule, &overrides)) }
        @if let Some(since) = unknown_since(&view.web, rule) {
            (stale(&html! { "It cannot be judged since " (view.moment(since)) ": the metrics that it rests on cannot be written, mostly for lack of room. Until they are, it neither fires nor resolves." }))
        }
        @if !rule.guidance.meaning.is_empty() { p { (prose(&rule.guidance.meaning)) } }
        div.columns {
            div.main-column {
                section {
                    h2 { "Alerts" }
                    @if alerts.is_empty() { p.quiet { "None is kept." } }
                    @else { (super::alerts::table(&view, &alerts.iter().collect::<Vec<_>>())) p { a href={ "/alerts?rule=" (encoded(&name)) } { "All alerts of this rule" } } }
                }
                @if !rule.guidance.usual_causes.is_empty() { section { h2 { "Usual causes" } ul { @for cause in &rule.guidance.usual_causes { li { (prose(cause)) } } } } }
                @if !rule.guidance.first_command.is_empty() { section { h2 { "First command" } (copyable(&rule.guidance.first_command)) } }
            }
            aside aria-label="What the rule says" { (in_words(&view, rule)) (where_from(rule)) }
        }
    }))
}

/// Enough of a text for a list.
fn first_sentence(text: &str) -> &str {
    text.split_inclusive(". ").next().unwrap_or(text).trim_end()
}

fn in_words(view: &View, rule: &Rule) -> Markup {
    let matches = &rule.matches;
    let globs = |globs: &[Glob]| globs.iter().map(|glob| visible(glob.as_str())).collect::<Vec<_>>().join(", ");
    let list = |items: Vec<String>| items.iter().map(|item| visible(item)).collect::<Vec<_>>().join(", ");
    let rows: [(&str, String); 13] = [
        ("Codes", list(matches.code.iter().map(ToString::to_string).collect())),
        ("Kinds", list(matches.kind.iter().map(|kind| kind.as_str().to_owned()).collect())),
        ("Written by", matches.source.map(|source| source.as_str().to_owned()).unwrap_or_default()),
        ("Processes", globs(&matches.process)),
        ("Dynos", globs(&matches.dyno)),
        ("Texts", list(matches.text.clone())),
        ("Expression", matches.regex.as_deref().map(visible).unwrap_or_default()),
        ("Statuses", list(matches.status.iter().map(ToString::to_string).collect())),
        ("Paths", list(matches.path_prefix.clone())),
        ("Apps", globs(&rule.apps)),
        ("Apart by", list(rule.group_by.iter().map(|by| by.as_str().to_owned()).collect())),
        ("Must hold for", if rule.pending_for.is_zero() { String::new() } else { show_duration(rule.pending_for) }),
        ("Tells of its end", if rule.send_resolved { "yes".to_owned() } else { String::new() }),
    ];
    html! {
        section.card {
            h2 { "Fires when" }
            p.release { (breakable(&rule.condition.to_string())) }
            dl.facts {
                @for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) { dt { (name) } dd { (view.outside(value)) } }
                dt { "Severity" } dd { (rule.severity.as_str()) }
                dt { "Sends to" } dd { (sends_to(rule)) }
                dt { "Quiet after a message" } dd { (show_duration(rule.cooldown)) }
                dt { "Over after" } dd { (show_duration(rule.resolve_after)) " of calm" }
                @if let Some(runbook) = &rule.runbook { dt { "Runbook" } dd { (reference(runbook)) } }
            }
        }
    }
}

fn where_from(rule: &Rule) -> Markup {
    html! {
        section.card {
            h2 { @match rule.origin { Origin::BuiltIn => "Comes with dynowatch", Origin::File => "From the file", Origin::Store => "From the console" } }
            @match rule.origin {
                Origin::File => { p { "It stands in the configuration file under " code { "[[rules]]" } " and is edited there. " code { "SIGHUP" } " or " code { "POST /api/v1/config/reload" } " puts the change in force." } },
                Origin::BuiltIn => {
                    p { "To change single keys of it, write into the configuration file:" }
                    (copyable(&format!("[rule_pack.rules.{}]", rule.name)))
                    p { "A rule of the same name, there or in the console, replaces it whole." }
                },
                Origin::Store => p { "It was made in the console and lives in the database." },
            }
            @if rule.enabled { p { "To switch it off for an hour from a terminal:" } (copyable(&format!("dynowatch rules disable {} --for 1h", shell_word(&rule.name)))) }
        }
    }
}

fn actions(view: &View, rule: &Rule, overrides: &[RuleOverride]) -> Markup {
    let quieted = overrides.iter().any(|over| over.rule == rule.name);
    let name = encoded(&rule.name);
    html! {
        @if view.viewer.may(Role::Operator) {
            div.buttons {
                @if rule.origin == Origin::Store { a.button href={ "/rules/" (name) "/edit" } { "Edit" } }
                form method="post" action={ "/rules/" (name) "/switch" } {
                    (view.viewer.csrf_field())
                    @if quieted { button type="submit" name="to" value="on" { "Switch on again" } }
                    @else if rule.enabled { button type="submit" name="to" value="off" { "Switch off for 1 h" } }
                }
            }
        }
    }
}

/// Which way a rule is switched.
#[derive(Deserialize)]
pub(crate) struct Switch {
    to: String,
}

/// Switches a rule off for an hour, or on again.
pub(crate) async fn switch(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(asked): axum::Form<Switch>,
) -> Result<Redirect, PageError> {
    let by = viewer.actor();
    let done = match asked.to.as_str() {
        "off" => web.engine.disable_rule(&name, QUIET_TIME, &by).await.map(drop),
        _ => web.engine.enable_rule(&name, &by).await.map(drop),
    };
    done.map_err(refused)?;
    tracing::info!(by = by.name, rule = name, to = asked.to, "rule switched");
    Ok(Redirect::to(&format!("/rules/{}", encoded(&name))))
}

/// What an operator asked for and cannot have, as a page.
pub(super) fn refused(error: OperateError) -> PageError {
    match error {
        OperateError::Store(error) => error.into(),
        error => PageError::not_found(&error.to_string()),
    }
}

/// How a rule stands, in shape and words.
fn state_of(view: &View, rule: &Rule, overrides: &[RuleOverride]) -> Markup {
    match (rule.enabled, overrides.iter().any(|over| over.rule == rule.name)) {
        (_, true) => state(State::Maintenance, "switched off"),
        (true, false) if unknown_since(&view.web, rule).is_some() => state(State::Unknown, "unknown"),
        (true, false) => state(State::Up, "on"),
        (false, false) => html! { span.quiet { "off" } },
    }
}

/// Names of metrics may be broken where their words end, not within one.
fn breakable(condition: &str) -> Markup {
    html! { @for part in condition.split_inclusive(['.', '_']) { (visible(part)) @if part.ends_with(['.', '_']) { wbr; } } }
}

fn sends_to(rule: &Rule) -> Markup {
    html! { @if rule.receivers.is_empty() { span.quiet { "nobody" } } @else { (visible(&rule.receivers.join(", "))) } }
}

/// The words for where an object was written.
pub(super) fn origin_words(origin: Origin) -> &'static str {
    match origin {
        Origin::File => "file",
        Origin::BuiltIn => "built in",
        Origin::Store => "console",
    }
}

/// Leads to a form, for who may use it.
pub(super) fn make_button(view: &View, href: &str, words: &str) -> Markup {
    html! { @if view.viewer.may(Role::Operator) { a.button.primary href=(href) { (words) } } }
}
