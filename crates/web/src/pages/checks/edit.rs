//! The form of a check: made, tried out, changed and deleted in the console. The kind is chosen by a link; what is right in a
//! field is said by the reader of the configuration file. "Try it now" makes one run of what stands in the form and saves
//! nothing.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dynowatch_domain::check::CheckKind;
use dynowatch_domain::check::kind::{self, DnsCheck, RecordType, WebCheck};
use dynowatch_domain::rule::Severity;
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_store::objects::{Object, ObjectKind};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::form::{self, Field, Typed, chosen, other_problems, typed};
use super::super::object::{delete_form, failed, find, may_edit};
use super::super::palette::encoded;
use super::super::parts::state;
use super::super::rules::edit::{receivers, severities};
use super::super::shell::Head;
use super::super::view::View;
use super::kinds::{APP, ASSERT, FLAPPING, KINDS, KindForm, MESSAGES, NAME, PACE, SUSPECT, THRESHOLDS, named};
use super::words::of_outcome;
use super::{act, refused, replay};
use crate::show::visible;
use crate::viewer::OperatorOnly;

/// The name that a check has while it is tried and has none yet.
const TRIAL: &str = "new-check";

/// What an address says of a new check.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    app: String,
}

/// The kinds to choose from, or the empty form of one.
pub(crate) async fn new(view: View, query: Result<Query<Wanted>, QueryRejection>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let wanted = query.map(|Query(wanted)| wanted).unwrap_or_default();
    let Some(kind) = named(&wanted.kind) else { return Ok(choose(&view, &wanted)) };
    let mut body = json!({ "kind": kind.name, "severity": Severity::Critical.as_str() });
    if !wanted.app.is_empty() {
        form::put(&mut body, "app", wanted.app.as_str().into());
    }
    Ok(page(&view, kind, &Draft { body: &body, ..Draft::default() }))
}

fn choose(view: &View, wanted: &Wanted) -> Html<String> {
    let app = if wanted.app.is_empty() { String::new() } else { format!("&app={}", encoded(&wanted.app)) };
    let head = Head::new("New check", "/checks").below(&[("/checks", "Checks")]);
    view.page(&head, &html! {
        h1 { "New check" }
        p { "What is to be looked at?" }
        ul.rows.kinds {
            @for kind in &KINDS { li { div { a href={ "/checks/new?kind=" (kind.name) (app) } { (kind.title) } p.quiet { (kind.what) } } } }
        }
    })
}

/// The form of a check of the console; of one of the file, what can be tried on its past.
pub(crate) async fn edit(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let Some(object) = object(&view, &name).await? else {
        return replay::of_file(&view, &name, &json!({}), &[], None).await;
    };
    let kind = kind_of(&object.body)?;
    Ok(page(&view, kind, &Draft { old: Some(&name), name: &name, body: &object.body, ..Draft::default() }))
}

fn kind_of(body: &Value) -> Result<&'static KindForm, PageError> {
    let name = body.get("kind").and_then(Value::as_str).unwrap_or_default();
    named(name).ok_or_else(|| {
        PageError::new(
            StatusCode::BAD_REQUEST,
            "There is no such kind of check. Checks, then New check, shows all of them.",
        )
    })
}

/// Keeps a new check, or only tries it.
pub(crate) async fn create(
    view: View,
    OperatorOnly(_): OperatorOnly,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let kind = kind_of(&json!({ "kind": typed(&all, "kind") }))?;
    let name = typed(&all, "name").to_owned();
    save(&view, kind, None, &name, body_of(kind, json!({}), &all), &all).await
}

/// Keeps a changed check, tries it, or tries its thresholds on the past.
pub(crate) async fn change(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let Some(object) = object(&view, &name).await? else {
        let mut body = json!({});
        write_thresholds(&mut body, &all);
        return match replay::run(&view, &name, &body).await? {
            Ok(told) => Ok(replay::of_file(&view, &name, &body, &[], Some(told)).await?.into_response()),
            Err(problems) => {
                let page = replay::of_file(&view, &name, &body, &problems, None).await?;
                Ok((StatusCode::UNPROCESSABLE_ENTITY, page).into_response())
            }
        };
    };
    let kind = kind_of(&object.body)?;
    save(&view, kind, Some(&name), &name, body_of(kind, object.body, &all), &all).await
}

async fn save(
    view: &View,
    kind: &'static KindForm,
    old: Option<&str>,
    name: &str,
    body: Value,
    all: &Typed,
) -> Result<Response, PageError> {
    let engine = &view.web.engine;
    let draft = Draft { old, name, body: &body, problems: &[], note: None };
    let wrong = |problems: &[Problem]| {
        let draft = Draft { problems, note: None, ..draft };
        (StatusCode::UNPROCESSABLE_ENTITY, page(view, kind, &draft)).into_response()
    };
    let tried = match typed(all, "do") {
        "try" => {
            let named = if name.is_empty() { TRIAL } else { name };
            match engine.draft_check(named, &body).await {
                Ok(check) => Ok(trial(view, &view.web.explains.run(engine, check, &view.viewer.actor()).await?)),
                Err(error) => Err(error),
            }
        }
        "replay" => match replay::run(view, name, &body).await? {
            Ok(told) => Ok(told),
            Err(problems) => Err(ObjectError::Wrong(problems)),
        },
        _ => {
            let by = view.viewer.actor();
            match engine.save_object(ObjectKind::Check, name, &body, &by, old.is_none()).await {
                Ok(()) => return Ok(Redirect::to(&format!("/checks/{}", encoded(name))).into_response()),
                Err(error) => Err(error),
            }
        }
    };
    match tried {
        Ok(note) => Ok(page(view, kind, &Draft { note: Some(note), ..draft }).into_response()),
        Err(ObjectError::Wrong(problems)) => Ok(wrong(&problems)),
        Err(error) => Err(failed(error)),
    }
}

/// What came of trying it.
fn trial(view: &View, told: &dynowatch_engine::checks::Explanation) -> Markup {
    html! {
        section #trial.card.flow role="status" {
            h2 { (state(of_outcome(told.observation.outcome), &format!("One run, made just now: {}", told.observation.outcome.name()))) }
            p.quiet { "Nothing is saved, and it counts nowhere." }
            (act::explained(view, told))
        }
    }
}

/// What was typed, as the file would hold it. Keys that the form does not know stay.
fn body_of(kind: &KindForm, mut body: Value, all: &Typed) -> Value {
    form::put(&mut body, "kind", Value::from(kind.name));
    let thresholds = [&THRESHOLDS[..], &FLAPPING[..]].concat();
    for field in kind.fields().filter(|field| !thresholds.iter().any(|other| other.key == field.key)) {
        form::write(&mut body, field, typed(all, field.key));
    }
    write_thresholds(&mut body, all);
    form::put(&mut body, "severity", Value::from(typed(all, "severity")));
    // Without a choice the defaults of the file hold.
    let receivers: Vec<Value> = chosen(all, "receivers").map(Value::from).collect();
    form::put(&mut body, "receivers", if receivers.is_empty() { Value::Null } else { receivers.into() });
    let is_on = |name| typed(all, name) == "yes";
    form::put(&mut body, "send_resolved", if is_on("send_resolved") { Value::Null } else { false.into() });
    form::put(&mut body, "public", if is_on("public") { true.into() } else { Value::Null });
    form::put(&mut body, "paused", if is_on("paused") { true.into() } else { Value::Null });
    body
}

/// The thresholds that were typed.
fn write_thresholds(body: &mut Value, all: &Typed) {
    for field in &THRESHOLDS {
        form::write(body, field, typed(all, field.key));
    }
    let is_on = |name| typed(all, name) == "yes";
    form::put(body, "tell_degraded", if is_on("tell_degraded") { true.into() } else { Value::Null });
    form::put(body, "flapping", Value::Null);
    if is_on("flapping_off") {
        form::put(body, "flapping", false.into());
    } else {
        for field in &FLAPPING {
            form::write(body, field, typed(all, field.key));
        }
    }
}

/// What a form without a check holds.
static NOTHING: Value = Value::Null;

/// A check that is not saved yet, or not as it stands.
struct Draft<'a> {
    /// Its name, where it is one of the console that is changed.
    old: Option<&'a str>,
    /// The name that was typed.
    name: &'a str,
    body: &'a Value,
    problems: &'a [Problem],
    /// What is to be said above the form.
    note: Option<Markup>,
}

impl Default for Draft<'_> {
    fn default() -> Self {
        Self { old: None, name: "", body: &NOTHING, problems: &[], note: None }
    }
}

fn set(fields: &[Field], body: &Value, problems: &[Problem]) -> Markup {
    html! { @for field in fields { (form::field(field, &form::shown(body, field), problems)) } }
}

fn flag(name: &str, words: &str, is_on: bool) -> Markup {
    html! { div.field { div.choices { label { input type="checkbox" name=(name) value="yes" checked[is_on]; (words) } } } }
}

/// The form.
fn page(view: &View, kind: &'static KindForm, draft: &Draft<'_>) -> Html<String> {
    let Draft { old, name, body, problems, note } = draft;
    let (old, name) = (*old, *name);
    let title = old.map_or_else(|| format!("New check: {}", kind.title), |name| format!("Edit {name}"));
    let head = Head::new(&title, "/checks").below(&[("/checks", "Checks")]);
    let action = old.map_or_else(|| "/checks/new".to_owned(), |name| format!("/checks/{}/edit", encoded(name)));
    let keys: Vec<&str> =
        kind.fields().map(|field| field.key).chain(["name", "severity", "receivers", "flapping"]).collect();
    let is_more_open = kind
        .more
        .iter()
        .any(|field| !form::shown(body, field).is_empty() || form::problems_at(problems, field.key).next().is_some());
    view.page(&head, &html! {
        h1 { (visible(&title)) }
        @if old.is_none() { p.quiet { (kind.what) " " a href="/checks/new" { "Another kind" } } }
        @if let Some(note) = note { (note) }
        form.form method="post" action=(action) {
            (view.viewer.csrf_field())
            input type="hidden" name="kind" value=(kind.name);
            (other_problems(problems, &keys))
            @if old.is_none() { (form::field(&NAME, name, problems)) }
            fieldset {
                legend { "What it looks at" }
                div.pair { (set(kind.target, body, problems)) (set(&[APP], body, problems)) }
                @if !kind.more.is_empty() { details open[is_more_open] { summary { "More about how it asks" } div.pair { (set(kind.more, body, problems)) } } }
            }
            @if kind.asserts { fieldset { legend { "What must hold" } (set(&[ASSERT], body, problems)) (subjects(kind)) } }
            @if kind.name != "heartbeat" { fieldset { legend { "How often" } div.pair { (set(&PACE, body, problems)) (set(&[SUSPECT], body, problems)) } } }
            (thresholds(body, problems))
            fieldset {
                legend { "Who is told" }
                (severities(body))
                (receivers(view, body))
                (flag("send_resolved", "Tell them when it is up again, too", body.get("send_resolved") != Some(&Value::Bool(false))))
                div.pair { (set(&MESSAGES, body, problems)) }
                (flag("public", "Everyone may see its badge, without signing in", body.get("public") == Some(&Value::Bool(true))))
                (flag("paused", "Paused: it does not run", body.get("paused") == Some(&Value::Bool(true))))
            }
            div.buttons {
                button.primary type="submit" { @if old.is_some() { "Save" } @else { "Make the check" } }
                @if kind.name != "heartbeat" { button type="submit" name="do" value="try" { "Try it now" } }
                @if old.is_some() { button type="submit" name="do" value="replay" { "Try its thresholds on the past" } }
                a href=(old.map_or_else(|| "/checks".to_owned(), |name| format!("/checks/{}", encoded(name)))) { "Cancel" }
            }
        }
        @if let Some(name) = old { (delete_form(view, ObjectKind::Check, name, "Its open alert is closed without a message. Its history stays in the store for a time, and comes back with a check of the same name.")) }
    })
}

/// What it takes to change the state.
pub(super) fn thresholds(body: &Value, problems: &[Problem]) -> Markup {
    let flapping = body.get("flapping");
    html! {
        fieldset {
            legend { "When it is down" }
            div.pair { (set(&THRESHOLDS, body, problems)) }
            (flag("tell_degraded", "Degraded counts as failed, so that somebody is told", body.get("tell_degraded") == Some(&Value::Bool(true))))
            details open[flapping.is_some()] {
                summary { "Flapping" }
                div.pair { (set(&FLAPPING, body, problems)) }
                (flag("flapping_off", "Never call it flapping: tell every change", flapping == Some(&Value::Bool(false))))
            }
        }
    }
}

/// The values that assertions of a kind may speak of.
fn subjects(kind: &KindForm) -> Markup {
    let Some(of) = example(kind.name) else { return html! {} };
    html! {
        p.hint { "One to a line, all of them must hold, as in " code { (kind.example) } ". An end in " code { "else degraded" } " makes its failure mean degraded." }
        details {
            summary { "Values to speak of" }
            dl.facts { @for subject in of.subjects() { dt { code { (subject.name) } } dd { (subject.meaning) } } }
        }
    }
}

/// A check of a kind, to ask what can be said of it.
fn example(kind: &str) -> Option<CheckKind> {
    let url = || dynowatch_domain::check::Source::ConfigVar { app: String::new(), name: String::new() };
    let (family, tls) = (kind::Family::Any, kind::TlsMode::Verify);
    Some(match kind {
        "web" => CheckKind::Web(WebCheck::get("")),
        "redis" => CheckKind::Redis(kind::RedisCheck { url: url(), key: None, family, tls }),
        "postgres" => CheckKind::Postgres(kind::PostgresCheck {
            url: url(),
            table: None,
            query: None,
            role: kind::PostgresRole::Any,
            family,
            tls,
        }),
        "tcp" => CheckKind::Tcp(kind::TcpCheck { host: String::new(), port: 0, family }),
        "tls" => CheckKind::Tls(kind::TlsCheck { host: String::new(), port: 0, family, tls }),
        "dns" => CheckKind::Dns(DnsCheck { name: String::new(), record: RecordType::A, server: None }),
        _ => return None,
    })
}

/// The check of that name of the console; none for one of the file.
async fn object(view: &View, name: &str) -> Result<Option<Object>, PageError> {
    let found = find(&view.web, ObjectKind::Check, name).await?;
    if found.is_none() {
        // One of the file, or none at all.
        view.web.engine.check_status(name).await.map_err(refused)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pairs: &[(&str, &str)]) -> Typed {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_typed_becomes_what_the_file_would_hold() {
        let web = named("web").unwrap();
        let typed = all(&[
            ("url", "https://shop.example/health"),
            ("method", "GET"),
            ("headers", "accept: application/json"),
            ("assert", "status = 200\r\nresponse < 2 s"),
            ("every", "30s"),
            ("failures", "3"),
            ("severity", "warning"),
            ("receivers", "ops"),
            ("send_resolved", "yes"),
        ]);
        let want = json!({
            "kind": "web", "url": "https://shop.example/health", "method": "GET", "headers": { "accept": "application/json" },
            "assert": ["status = 200", "response < 2 s"], "every": "30s", "failures": 3, "severity": "warning",
            "receivers": ["ops"], "labels": "kept",
        });
        assert_eq!(body_of(web, json!({ "labels": "kept", "flapping": false, "paused": true }), &typed), want);
    }

    #[test]
    fn flapping_is_off_or_a_table() {
        let mut body = json!({ "flapping": { "quiet": "1m" } });
        write_thresholds(&mut body, &all(&[("flapping_off", "yes"), ("flapping.window", "5m")]));
        assert_eq!(body, json!({ "flapping": false }));
        write_thresholds(&mut body, &all(&[("flapping.window", "5m"), ("tell_degraded", "yes")]));
        assert_eq!(body, json!({ "flapping": { "window": "5m" }, "tell_degraded": true }));
        write_thresholds(&mut body, &all(&[]));
        assert_eq!(body, json!({}));
    }

    #[test]
    fn every_kind_that_asserts_says_of_what() {
        for kind in KINDS.iter().filter(|kind| kind.asserts) {
            assert!(!example(kind.name).unwrap().subjects().is_empty(), "{}", kind.name);
        }
    }
}
