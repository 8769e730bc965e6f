//! The form of a rule: made, changed, checked and deleted in the console. What is right is said by the reader of the
//! configuration file, at the field it concerns.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dynowatch_domain::line_rule::Suggestion;
use dynowatch_domain::rule::{GroupBy, Severity};
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_engine::tail::FoundLine;
use dynowatch_store::objects::ObjectKind;
use maud::{Markup, html};
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::form::{self, Field, Kind, Typed, chosen, other_problems, typed};
use super::super::line::Wanted;
use super::super::object::{self, delete_form, failed, may_edit};
use super::super::palette::encoded;
use super::super::shell::Head;
use super::super::view::View;
use crate::router::Web;
use crate::show::visible;
use crate::viewer::OperatorOnly;

const fn text(key: &'static str, label: &'static str, hint: &'static str) -> Field {
    Field { key, label, hint, kind: Kind::Text }
}

const fn words(key: &'static str, label: &'static str, hint: &'static str) -> Field {
    Field { key, label, hint, kind: Kind::Words }
}

const NAME: Field = text("name", "Name", "a-z, 0-9, - _ and .; it stands in every message, as in `slow-checkout`");

/// Which lines. All that is given must fit.
const MATCH: [Field; 8] = [
    Field {
        key: "match.text",
        label: "Texts",
        hint: "One to a line; a line of the log that holds any of them fits",
        kind: Kind::Lines,
    },
    text("match.regex", "Regular expression", "Instead of or besides texts, as in `took \\d{4,} ms`"),
    words("match.code", "Codes of Heroku", "As in `H12, R14`"),
    words("match.status", "Statuses", "Of requests, as in `503, 5xx`"),
    words("match.path_prefix", "Paths", "Beginnings, as in `/api/`"),
    words("match.process", "Process types", "As in `web, worker*`"),
    words("apps", "Apps", "As in `shop-*`; empty means all"),
    Field { key: "match.source", label: "Written by", hint: "", kind: Kind::One(&["", "app", "heroku"]) },
];

/// What must be true of them: one of the first four.
const CONDITION: [Field; 8] = [
    text("count", "Count", "So many lines in the window, as in `> 3`"),
    text("ratio", "Share", "Of the requests in the window, as in `> 5%`; needs a least number of requests"),
    Field {
        key: "requests_min",
        label: "Least number of requests",
        hint: "For a share: fewer say nothing",
        kind: Kind::Number,
    },
    text("absence", "Absence", "Fewer lines than this in the window, as in `< 1`"),
    text("metric", "Metric", "As in `dyno.memory_percent`"),
    text("value", "Its limit", "As in `> 85`"),
    text("window", "Window", "How long to look back, as in `5m`"),
    text("for", "Must hold for", "Before it fires, as in `2m`; empty means at once"),
];

const MESSAGES: [Field; 3] = [
    text("cooldown", "Quiet after a message", "As in `15m`; empty means as everywhere"),
    text("resolve_after", "Over after", "So long a calm, as in `5m`; empty means as everywhere"),
    text("runbook", "Runbook", "A URL, or a path in your repository"),
];

fn fields() -> impl Iterator<Item = Field> {
    MATCH.into_iter().chain(CONDITION).chain(MESSAGES)
}

/// A form that is empty, or filled in from a line.
pub(crate) async fn new(view: View, query: Result<Query<Wanted>, QueryRejection>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let wanted = query.map(|Query(wanted)| wanted).unwrap_or_default();
    if !wanted.is_named() {
        let body = json!({ "window": "5m", "severity": Severity::default().as_str() });
        return Ok(page(&view, &Draft { body: &body, ..Draft::default() }));
    }
    let line = wanted.find(&view.web).await?;
    let (name, body) = from_line(&line.found);
    Ok(page(&view, &Draft { name: &free_name(&view.web, &name), body: &body, ..Draft::default() }))
}

/// What a rule for lines like this one asks for, as the form holds it. One such line is reason enough, until whoever writes
/// the rule says more.
fn from_line(line: &FoundLine) -> (String, Value) {
    let Suggestion { name, code, status, path_prefix, text, source } = line.suggestion.clone();
    let mut body = json!({
        "apps": [line.seen.app_name],
        "count": ">= 1",
        "window": "5m",
        "severity": Severity::default().as_str(),
    });
    let list = |item: Option<String>| item.map_or(Value::Null, |item| json!([item]));
    for (key, value) in [
        ("match.code", list(code)),
        ("match.status", list(status.map(|status| status.to_string()))),
        ("match.path_prefix", list(path_prefix)),
        ("match.text", list(text)),
        ("match.source", source.map_or(Value::Null, |source| source.as_str().into())),
    ] {
        form::put(&mut body, key, value);
    }
    (name, body)
}

/// The name, with a number behind it where there is such a rule already.
fn free_name(web: &Web, name: &str) -> String {
    let rules = web.engine.rules();
    let numbered = (2..100).map(|n| format!("{name}-{n}"));
    std::iter::once(name.to_owned()).chain(numbered).find(|name| rules.get(name).is_none()).unwrap_or_default()
}

/// The form of a rule of the console.
pub(crate) async fn edit(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let object = object::named(&view.web, ObjectKind::Rule, &name).await?;
    Ok(page(&view, &Draft { old: Some(&name), name: &name, body: &object.body, ..Draft::default() }))
}

/// Keeps a new rule, or only checks it.
pub(crate) async fn create(
    view: View,
    OperatorOnly(_): OperatorOnly,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let name = typed(&all, "name").to_owned();
    save(&view, None, &name, body_of(json!({}), &all), &all).await
}

/// Keeps a changed rule, or only checks it.
pub(crate) async fn change(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let object = object::named(&view.web, ObjectKind::Rule, &name).await?;
    save(&view, Some(&name), &name, body_of(object.body, &all), &all).await
}

/// Forgets a rule; its name must be typed.
pub(crate) async fn delete(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Redirect, PageError> {
    object::forget(&web, &viewer, ObjectKind::Rule, &name, &all).await
}

async fn save(view: &View, old: Option<&str>, name: &str, body: Value, all: &Typed) -> Result<Response, PageError> {
    let engine = &view.web.engine;
    if typed(all, "do") == "check" {
        let problems = engine.object_problems(ObjectKind::Rule, name, &body).await.map_err(failed)?;
        let fine = html! { p role="status" { (super::state(super::State::Up, "Nothing is wrong with it. It is not saved yet.")) } };
        let note = problems.is_empty().then_some(fine);
        return Ok(page(view, &Draft { old, name, body: &body, problems: &problems, note }).into_response());
    }
    let by = view.viewer.actor();
    match engine.save_object(ObjectKind::Rule, name, &body, &by, old.is_none()).await {
        Ok(()) => Ok(Redirect::to(&format!("/rules/{}", encoded(name))).into_response()),
        Err(ObjectError::Wrong(problems)) => {
            let draft = Draft { old, name, body: &body, problems: &problems, note: None };
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(view, &draft)).into_response())
        }
        Err(error) => Err(failed(error)),
    }
}

pub(super) fn body_of(mut body: Value, all: &Typed) -> Value {
    for field in fields() {
        form::write(&mut body, &field, typed(all, field.key));
    }
    form::put(&mut body, "severity", Value::from(typed(all, "severity")));
    let several = |name: &'static str| chosen(all, name).map(Value::from).collect::<Vec<_>>();
    let group_by = several("group_by");
    form::put(&mut body, "group_by", if group_by.is_empty() { Value::Null } else { group_by.into() });
    // Without a choice the defaults of the file hold.
    let receivers = several("receivers");
    form::put(&mut body, "receivers", if receivers.is_empty() { Value::Null } else { receivers.into() });
    let tells = typed(all, "send_resolved") == "yes";
    form::put(&mut body, "send_resolved", if tells { Value::from(true) } else { Value::Null });
    body
}

/// What a form without a rule holds.
static NOTHING: Value = Value::Null;

/// A rule that is not saved yet, or not as it stands.
pub(super) struct Draft<'a> {
    /// Its name, where it is a rule of the console that is changed.
    pub(super) old: Option<&'a str>,
    /// The name that was typed.
    pub(super) name: &'a str,
    pub(super) body: &'a Value,
    pub(super) problems: &'a [Problem],
    /// What is to be said above the form.
    pub(super) note: Option<Markup>,
}

impl Default for Draft<'_> {
    fn default() -> Self {
        Self { old: None, name: "", body: &NOTHING, problems: &[], note: None }
    }
}

/// The form.
pub(super) fn page(view: &View, draft: &Draft<'_>) -> Html<String> {
    let Draft { old, name, body, problems, note } = draft;
    let (old, name) = (*old, *name);
    let title = old.map_or_else(|| "New rule".to_owned(), |name| format!("Edit {name}"));
    let head = Head::new(&title, "/rules").below(&[("/rules", "Rules")]);
    let keys: Vec<&str> =
        fields().map(|field| field.key).chain(["name", "severity", "group_by", "receivers", "log"]).collect();
    let set =
        |fields: &[Field]| html! { @for field in fields { (form::field(field, &form::shown(body, field), problems)) } };
    let action = old.map_or_else(|| "/rules/new".to_owned(), |name| format!("/rules/{}/edit", encoded(name)));
    view.page(&head, &html! {
        h1 { (visible(&title)) }
        @if let Some(note) = note { (note) }
        form.form method="post" action=(action) {
            (view.viewer.csrf_field())
            @if let Some(old) = old { input type="hidden" name="editing" value=(old); }
            (other_problems(problems, &keys))
            @if old.is_none() { (form::field(&NAME, name, problems)) }
            fieldset { legend { "Which lines" } div.pair { (set(&MATCH)) } }
            fieldset { legend { "Fires when" } p.hint { "One of count, share, absence and metric." } div.pair { (set(&CONDITION)) } }
            fieldset {
                legend { "Who is told" }
                (severities(body))
                (choices(view, body))
                div.pair { (set(&MESSAGES)) }
            }
            (super::backtest::fieldset(problems))
            div.buttons {
                button.primary type="submit" { @if old.is_some() { "Save" } @else { "Make the rule" } }
                button type="submit" name="do" value="check" { "Check it first" }
                a href="/rules" { "Cancel" }
            }
        }
        @if let Some(name) = old { (delete_form(view, ObjectKind::Rule, name, "Its open alerts are closed without a message.")) }
    })
}

pub(in super::super) fn severities(body: &Value) -> Markup {
    let now = body.get("severity").and_then(Value::as_str).unwrap_or_default();
    html! {
        div.field {
            span.label #severity-label { "Severity" }
            div.choices role="radiogroup" aria-labelledby="severity-label" {
                @for severity in Severity::ALL { label { input type="radio" name="severity" value=(severity.as_str()) checked[severity.as_str() == now]; (severity.as_str()) } }
            }
        }
    }
}

/// Whether a list of an object holds an item, or is just that.
fn has(body: &Value, key: &str, item: &str) -> bool {
    match body.get(key) {
        Some(Value::Array(items)) => items.iter().any(|one| one == item),
        Some(one) => one == item,
        None => false,
    }
}

/// Who is told.
pub(in super::super) fn receivers(view: &View, body: &Value) -> Markup {
    let receivers = view.web.engine.receivers();
    html! {
        div.field {
            span.label #receivers-label { "Receivers" }
            div.choices role="group" aria-labelledby="receivers-label" {
                @for name in receivers.names() { label { input type="checkbox" name="receivers" value=(name) checked[has(body, "receivers", name)]; (visible(name)) } }
            }
            p.hint { "None chosen: the default ones of the configuration file." }
        }
    }
}

fn choices(view: &View, body: &Value) -> Markup {
    html! {
        (receivers(view, body))
        div.field {
            div.choices { label { input type="checkbox" name="send_resolved" value="yes" checked[body.get("send_resolved") == Some(&Value::Bool(true))]; "Tell them when it is over, too" } }
        }
        div.field {
            span.label #group-label { "An alert of its own for each" }
            div.choices role="group" aria-labelledby="group-label" {
                @for by in GroupBy::ALL { label { input type="checkbox" name="group_by" value=(by.as_str()) checked[has(body, "group_by", by.as_str())]; (by.as_str().replace('_', " ")) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_form_does_not_know_stays() {
        let all: Typed = [
            ("match.text", "boom\r\nbang"),
            ("count", "> 3"),
            ("window", "5m"),
            ("severity", "critical"),
            ("receivers", "a"),
            ("receivers", "b"),
            ("send_resolved", "yes"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let old = json!({ "labels": "H12", "group_by": ["dyno"], "match": { "kind": "router" } });
        let want = json!({
            "labels": "H12", "match": { "kind": "router", "text": ["boom", "bang"] }, "count": "> 3", "window": "5m",
            "severity": "critical", "receivers": ["a", "b"], "send_resolved": true,
        });
        assert_eq!(body_of(old, &all), want);
    }
}
