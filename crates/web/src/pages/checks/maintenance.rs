//! Maintenance windows: all of them with when they are open and for whom, and the form of one. Windows of the file are edited
//! there; those of the console here, and one that is open can be ended early.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dynowatch_domain::account::Role;
use dynowatch_domain::check::maintenance::{LASTS_MIN, MaintenanceWindow, Scope, When, time_of_day, weekdays};
use dynowatch_domain::parse::{Glob, show_duration};
use dynowatch_engine::objects::{ObjectError, Problem};
use dynowatch_store::objects::ObjectKind;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::PageError;
use super::super::form::{self, Field, Kind, Typed, chosen, other_problems, problems_at, typed};
use super::super::object::{self, delete_form, failed, may_edit};
use super::super::palette::encoded;
use super::super::parts::{State, empty, state};
use super::super::rules::make_button;
use super::super::shell::Head;
use super::super::view::View;
use super::history::lasted;
use super::one::button;
use crate::show::visible;
use crate::viewer::OperatorOnly;

const NAME: Field =
    Field { key: "name", label: "Name", hint: "a-z, 0-9, - _ and ., as in `database-upgrade`", kind: Kind::Text };
const CHECKS: Field =
    Field { key: "checks", label: "Checks", hint: "Names, with `*` and `?`, separated by commas", kind: Kind::Words };
const APPS: Field = Field { key: "apps", label: "Apps", hint: "Names, as in `shop, shop-*`", kind: Kind::Words };
const FOR: Field = Field {
    key: "for",
    label: "For",
    hint: "How long, as in `90m`; at most 31 days once, 7 days where it comes again",
    kind: Kind::Text,
};
const ZONE: Field =
    Field { key: "time_zone", label: "Time zone", hint: "As in `Europe/Berlin`; empty means UTC", kind: Kind::Text };
const REASON: Field =
    Field { key: "reason", label: "Why", hint: "Stands on the page of each check meanwhile", kind: Kind::Text };
const CRON: Field =
    Field { key: "cron", label: "Begins by cron", hint: "Five fields, as in `0 4 1 * *`", kind: Kind::Text };
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// The list.
pub(crate) async fn list(view: View) -> Result<Html<String>, PageError> {
    let book = view.web.engine.check_book();
    let objects = view.web.engine.store().objects(ObjectKind::Maintenance).await?;
    let unusable = view.web.engine.unusable_objects().await;
    let mut windows: Vec<&MaintenanceWindow> = book.windows.iter().collect();
    let place = |window: &MaintenanceWindow| {
        let next = window.next_after(view.now).map(|span| span.from);
        (window.open_at(view.now).is_none(), next.is_none(), next, window.name.clone())
    };
    windows.sort_by_cached_key(|window| place(window));
    Ok(view.page(&Head::new("Maintenance", "/checks").below(&[("/checks", "Checks")]), &html! {
        div.title-row { h1 { "Maintenance" } (make_button(&view, "/checks/maintenance/new", "New window")) }
        @for (_, name, problem) in unusable.iter().filter(|(kind, ..)| *kind == ObjectKind::Maintenance) {
            ul.warnings { li { "The window " a href={ "/checks/maintenance/" (encoded(name)) "/edit" } { (visible(name)) } " of the console cannot be used: " (view.outside(problem)) } }
        }
        p.quiet { "In a window checks run on and are recorded, and nobody is told. The time counts neither as up nor as down." }
        @if windows.is_empty() { (empty("No window is planned.", &html! { "One is made here, or stands in the configuration file under " code { "[[maintenance]]" } "." })) } @else {
            table.data.windows {
                thead { tr { th scope="col" { "State" } th scope="col" { "Window" } th.wide scope="col" { "When" } th.wide scope="col" { "From" } th scope="col" { span.visually-hidden { "What may be done" } } } }
                tbody { @for window in windows { (row(&view, window, objects.iter().any(|object| object.name == window.name))) } }
            }
        }
    }))
}

fn row(view: &View, window: &MaintenanceWindow, of_console: bool) -> Markup {
    let (open, next) = (window.open_at(view.now), window.next_after(view.now));
    let base = format!("/checks/maintenance/{}", encoded(&window.name));
    let when = html! {
        @if let Some(span) = &open { "until " (view.moment_ago(span.until)) }
        @else if let Some(span) = &next { "from " (view.moment(span.from)) " for " (lasted(span.until.since(span.from))) }
        @else if let When::Once { until, .. } = &window.when { "until " (view.moment(*until)) }
        @if !matches!(window.when, When::Once { .. }) { span.why { (again(&window.when)) } }
    };
    html! {
        tr {
            td.state-cell {
                @match (&open, &next) {
                    (Some(_), _) => (state(State::Maintenance, "in force")),
                    (None, Some(_)) => (state(State::Info, "planned")),
                    (None, None) => (state(State::Up, "over")),
                }
            }
            th scope="row" {
                @if of_console && view.viewer.may(Role::Operator) { a.row href={ (base) "/edit" } { (visible(&window.name)) } } @else { (visible(&window.name)) }
                span.why { "for " (scope(&window.scope)) @if !window.reason.is_empty() { " · " (view.outside(&window.reason)) } }
                div.narrow { (when) }
            }
            td.wide { (when) }
            td.wide.quiet { @if of_console { "console" } @else { "file" } }
            td { @if open.is_some() && of_console && view.viewer.may(Role::Operator) && matches!(window.when, When::Once { .. }) { (button(view, &format!("{base}/end"), "End it now", "")) } }
        }
    }
}

fn scope(scope: &Scope) -> String {
    let names = |names: &[Glob]| names.iter().map(|name| visible(name.as_str())).collect::<Vec<_>>().join(", ");
    match scope {
        Scope::All => "all checks".to_owned(),
        Scope::Checks(list) => format!("checks {}", names(list)),
        Scope::Apps(list) => format!("apps {}", names(list)),
    }
}

/// When a window comes again, in words.
fn again(when: &When) -> String {
    match when {
        When::Once { .. } => String::new(),
        When::Weekly { days, at, lasts, zone } => {
            let days: Vec<&str> = days.iter().map(|day| weekdays::name(*day)).collect();
            format!("each {} at {} for {} ({zone})", days.join(", "), time_of_day::show(*at), show_duration(*lasts))
        }
        When::Cron { cron, lasts, zone } => format!("cron {cron} for {} ({zone})", show_duration(*lasts)),
    }
}

/// For which check a window is to be.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Wanted {
    #[serde(default)]
    check: String,
}

/// A form that begins now, for an hour.
pub(crate) async fn new(view: View, query: Result<Query<Wanted>, QueryRejection>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let wanted = query.map(|Query(wanted)| wanted).unwrap_or_default();
    let mut body =
        json!({ "at": view.look.zone.local_minute(view.now), "for": "1h", "time_zone": view.look.zone.name() });
    if !wanted.check.is_empty() {
        form::put(&mut body, "checks", json!([wanted.check]));
    }
    Ok(page(&view, None, "", &body, &[]))
}

/// The form of a window of the console.
pub(crate) async fn edit(view: View, Path(name): Path<String>) -> Result<Html<String>, PageError> {
    may_edit(&view)?;
    let object = object::named(&view.web, ObjectKind::Maintenance, &name).await?;
    Ok(page(&view, Some(&name), &name, &object.body, &[]))
}

/// Keeps a new one.
pub(crate) async fn create(
    view: View,
    OperatorOnly(_): OperatorOnly,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    let name = typed(&all, "name").to_owned();
    save(&view, None, &name, body_of(&all)).await
}

/// Keeps a changed one.
pub(crate) async fn change(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Response, PageError> {
    object::named(&view.web, ObjectKind::Maintenance, &name).await?;
    save(&view, Some(&name), &name, body_of(&all)).await
}

async fn save(view: &View, old: Option<&str>, name: &str, body: Value) -> Result<Response, PageError> {
    let by = view.viewer.actor();
    match view.web.engine.save_object(ObjectKind::Maintenance, name, &body, &by, old.is_none()).await {
        Ok(()) => Ok(Redirect::to("/checks/maintenance").into_response()),
        Err(ObjectError::Wrong(problems)) => {
            Ok((StatusCode::UNPROCESSABLE_ENTITY, page(view, old, name, &body, &problems)).into_response())
        }
        Err(error) => Err(failed(error)),
    }
}

/// Ends one that is open now: it keeps its beginning. One that has just begun is forgotten.
pub(crate) async fn end(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    let mut object = object::named(&view.web, ObjectKind::Maintenance, &name).await?;
    let (engine, by) = (&view.web.engine, view.viewer.actor());
    let book = engine.check_book();
    let window = book.windows.iter().find(|window| window.name == name);
    let Some(MaintenanceWindow { when: When::Once { from, .. }, .. }) = window else {
        return Err(PageError::new(
            StatusCode::CONFLICT,
            "Only a window that comes once can be ended: one that comes again is changed or deleted.",
        ));
    };
    if window.and_then(|window| window.open_at(view.now)).is_none() {
        return Err(PageError::new(StatusCode::CONFLICT, "The window is not in force (any more)."));
    }
    let lasted = view.now.since(*from);
    let done = if lasted < LASTS_MIN {
        engine.delete_object(ObjectKind::Maintenance, &name, &by).await.map(drop)
    } else {
        form::put(&mut object.body, "for", format!("{}s", lasted.as_secs()).into());
        engine.save_object(ObjectKind::Maintenance, &name, &object.body, &by, false).await
    };
    done.map_err(failed)?;
    Ok(Redirect::to("/checks/maintenance"))
}

/// Forgets one; its name must be typed.
pub(crate) async fn delete(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Redirect, PageError> {
    object::forget(&view.web, &viewer, ObjectKind::Maintenance, &name, &all).await
}

/// What was typed, as the file would hold it: what belongs to another choice is dropped.
fn body_of(all: &Typed) -> Value {
    let mut body = json!({});
    match typed(all, "scope") {
        "all" => form::put(&mut body, "all", true.into()),
        "apps" => form::write(&mut body, &APPS, typed(all, APPS.key)),
        _ => form::write(&mut body, &CHECKS, typed(all, CHECKS.key)),
    }
    let put = |body: &mut Value, key: &str, value: &str| {
        form::put(body, key, if value.is_empty() { Value::Null } else { value.into() });
    };
    match typed(all, "when") {
        "weekly" => {
            let days: Vec<Value> = chosen(all, "weekly").map(Value::from).collect();
            form::put(&mut body, "weekly", days.into());
            put(&mut body, "at", typed(all, "time"));
        }
        "cron" => form::write(&mut body, &CRON, typed(all, CRON.key)),
        _ => put(&mut body, "at", typed(all, "at")),
    }
    for field in [FOR, ZONE, REASON] {
        form::write(&mut body, &field, typed(all, field.key));
    }
    body
}

fn page(view: &View, old: Option<&str>, name: &str, body: &Value, problems: &[Problem]) -> Html<String> {
    let title = old.map_or_else(|| "New maintenance window".to_owned(), |name| format!("Edit {name}"));
    let head = Head::new(&title, "/checks").below(&[("/checks", "Checks"), ("/checks/maintenance", "Maintenance")]);
    let action = old.map_or_else(
        || "/checks/maintenance/new".to_owned(),
        |name| format!("/checks/maintenance/{}/edit", encoded(name)),
    );
    let keys = ["name", "checks", "apps", "for", "time_zone", "reason", "cron", "at", "weekly"];
    let set = |field: &Field| form::field(field, &form::shown(body, field), problems);
    view.page(&head, &html! {
        h1 { (visible(&title)) }
        form.form method="post" action=(action) {
            (view.viewer.csrf_field())
            (other_problems(problems, &keys))
            @if old.is_none() { (form::field(&NAME, name, problems)) }
            fieldset {
                legend { "For whom" }
                (choice("scope", scope_of(body), &[("checks", "Checks"), ("apps", "Checks of apps"), ("all", "All checks")]))
                div.of-checks { (set(&CHECKS)) }
                div.of-apps { (set(&APPS)) }
            }
            (when(body, problems))
            div.pair { (set(&FOR)) (set(&ZONE)) (set(&REASON)) }
            div.buttons { button.primary type="submit" { @if old.is_some() { "Save" } @else { "Plan it" } } a href="/checks/maintenance" { "Cancel" } }
        }
        @if let Some(name) = old { (delete_form(view, ObjectKind::Maintenance, name, "If it is in force, it ends now.")) }
    })
}

fn scope_of(body: &Value) -> &'static str {
    match body {
        _ if body.get("all") == Some(&Value::Bool(true)) => "all",
        _ if body.get("apps").is_some() => "apps",
        _ => "checks",
    }
}

fn choice(name: &str, now: &str, of: &[(&str, &str)]) -> Markup {
    html! {
        div.field { div.choices role="radiogroup" aria-label=(name) {
            @for (value, words) in of { label { input type="radio" name=(name) value=(value) checked[*value == now]; (words) } }
        } }
    }
}

/// When it is open: once, each week, or by cron. What is typed for another choice than the one that is made does not count.
fn when(body: &Value, problems: &[Problem]) -> Markup {
    let now = if body.get("weekly").is_some() {
        "weekly"
    } else if body.get("cron").is_some() {
        "cron"
    } else {
        "once"
    };
    let text = |key: &str| body.get(key).and_then(Value::as_str).unwrap_or_default();
    let at = |of: &str| if now == of { text("at") } else { "" };
    let has = |day: &str| match body.get("weekly") {
        Some(Value::Array(days)) => days.iter().any(|one| one == day),
        Some(one) => one == day,
        None => false,
    };
    let wrong = |key: &'static str, of: &str| -> Vec<&Problem> {
        if now == of { problems_at(problems, key).collect() } else { Vec::new() }
    };
    html! {
        fieldset {
            legend { "When" }
            (choice("when", now, &[("once", "Once"), ("weekly", "Each week"), ("cron", "By cron")]))
            div.pair {
                div.field.of-once {
                    label for="at" { "Once, from" }
                    input #at type="datetime-local" name="at" value=(at("once")) aria-describedby="at-about" aria-invalid=[(!wrong("at", "once").is_empty()).then_some("true")];
                    div #at-about { (said(&wrong("at", "once"))) p.hint { "In the time zone below" } }
                }
                div.field.of-weekly {
                    label for="time" { "Each week, from" }
                    input #time type="text" name="time" value=(at("weekly")) autocomplete="off" aria-describedby="time-about" aria-invalid=[(!wrong("at", "weekly").is_empty()).then_some("true")];
                    div #time-about { (said(&wrong("at", "weekly"))) p.hint { "As in " code { "23:30" } } }
                }
            }
            div.field.of-weekly {
                span.label #weekly-label { "On" }
                div.choices role="group" aria-labelledby="weekly-label" {
                    @for day in DAYS { label { input type="checkbox" name="weekly" value=(day) checked[has(day)]; (day) } }
                }
                (said(&wrong("weekly", "weekly")))
            }
            div.of-cron { (form::field(&CRON, text("cron"), problems)) }
        }
    }
}

fn said(problems: &[&Problem]) -> Markup {
    html! { @for problem in problems { p.problem { span aria-hidden="true" { "✕" } (visible(&problem.text)) } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_chosen_counts() {
        let all = |pairs: &[(&str, &str)]| -> Typed {
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let common = [
            ("checks", "home, mail-*"),
            ("apps", "shop"),
            ("at", "2026-12-01T22:00"),
            ("time", "23:30"),
            ("cron", "0 4 1 * *"),
            ("for", "2h"),
            ("time_zone", ""),
        ];
        for (chosen, want) in [
            (
                vec![("scope", "checks"), ("when", "once")],
                json!({ "checks": ["home", "mail-*"], "at": "2026-12-01T22:00", "for": "2h" }),
            ),
            (
                vec![("scope", "apps"), ("when", "weekly"), ("weekly", "sat"), ("weekly", "sun")],
                json!({ "apps": ["shop"], "weekly": ["sat", "sun"], "at": "23:30", "for": "2h" }),
            ),
            (vec![("scope", "all"), ("when", "cron")], json!({ "all": true, "cron": "0 4 1 * *", "for": "2h" })),
        ] {
            assert_eq!(body_of(&all(&[&common[..], &chosen].concat())), want, "{chosen:?}");
        }
    }
}
