//! Changes of an app's log drains, by operators who signed in lately. Each is written into the audit log before it is asked
//! of Heroku. What Heroku refuses is told on the page of drains, in words, with its error id and the id of the request.

use std::sync::Arc;

use axum::Form;
use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use dynowatch_engine::heroku::HerokuProblem;
use maud::{Markup, html};
use serde::Deserialize;
use uuid::Uuid;

use super::page;
use crate::pages::error::PageError;
use crate::pages::form::{Typed, typed};
use crate::pages::palette::encoded;
use crate::pages::shell::Head;
use crate::pages::view::View;
use crate::router::Web;
use crate::viewer::OperatorOnly;

/// Which drain, in an address.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Which {
    drain: Option<Uuid>,
}

/// Where a change leads to: back to the drains, or to the page that began it.
async fn done<T>(view: &View, name: &str, done: Result<T, HerokuProblem>) -> Result<Response, PageError> {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/apps/{}/drains", encoded(name))).into_response()),
        Err(problem) => page(view, name, Some(problem)).await,
    }
}

/// Asks Heroku for the drains now.
pub(crate) async fn read(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let read = view.web.engine.drains(&name).await;
    done(&view, &name, read).await
}

/// Adds the drain.
pub(crate) async fn add(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    Form(all): Form<Typed>,
) -> Result<Response, PageError> {
    let added = view.web.engine.add_drain(&name, &viewer.actor()).await;
    if added.is_ok() && typed(&all, "back") == "connect" {
        return Ok(Redirect::to(&format!("/connect?app={}", encoded(&name))).into_response());
    }
    done(&view, &name, added).await
}

/// What replacing a drain will do.
pub(crate) async fn ask_rotate(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path(name): Path<String>,
    Query(Which { drain }): Query<Which>,
) -> Result<Html<String>, PageError> {
    let at = at_heroku(&view, &name).await?;
    let what = html! {
        ol.timeline {
            li { code { "POST /apps/" (at) "/log-drains" } p { "A second drain to here, with a URL signed with the newest secret." } }
            li { p { "Both deliver every line, and only the first one counts. When the second has delivered, a moment 15 seconds ahead is written down: from then on the second one counts. No line is lost and none is counted twice." } }
            li { code { "DELETE /apps/" (at) "/log-drains/" @if let Some(drain) = drain { (drain) } @else { "…" } } p { "A minute later the first one is removed." } }
        }
        p { "If the second does not deliver within a quarter of an hour although the first does, it is taken back. Until it takes over, the replacement can be ended." }
    };
    let hidden = html! { @if let Some(drain) = drain { input type="hidden" name="drain" value=(drain); } };
    let action = format!("/apps/{}/drains/rotate", encoded(&name));
    let button = html! { button.primary type="submit" { "Replace it" } };
    Ok(question(&view, &name, "Replace the drain", &what, &action, &hidden, &button))
}

/// Begins to replace a drain.
pub(crate) async fn rotate(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    Form(all): Form<Typed>,
) -> Result<Response, PageError> {
    let drain = Some(typed(&all, "drain")).filter(|drain| !drain.is_empty());
    let drain = drain.map(|drain| drain.parse().map_err(|_| no_drain())).transpose()?;
    let begun = view.web.engine.rotate_drain(&name, drain, &viewer.actor()).await;
    done(&view, &name, begun).await
}

/// Ends a replacement.
pub(crate) async fn abandon(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let ended = view.web.engine.abandon_rotation(&name, &viewer.actor()).await;
    done(&view, &name, ended).await
}

/// Lets the new drain take over at once.
pub(crate) async fn proceed(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Response, PageError> {
    let gone_on = view.web.engine.proceed_rotation(&name, &viewer.actor()).await;
    done(&view, &name, gone_on).await
}

/// What removing a drain will do.
pub(crate) async fn ask_remove(
    view: View,
    OperatorOnly(_): OperatorOnly,
    Path((name, drain)): Path<(String, String)>,
) -> Result<Html<String>, PageError> {
    let drain: Uuid = drain.parse().map_err(|_| no_drain())?;
    let (shown, at) = (view.outside(&name), at_heroku(&view, &name).await?);
    let what = html! {
        p { code { "DELETE /apps/" (at) "/log-drains/" (drain) } }
        p { "Heroku stops delivering at once. No line of " (shown) " is seen here any more: no alert, no metric. What is stored stays." }
    };
    let field = html! {
        div.field { label for="confirm" { "Type " code { (shown) } " to confirm" } input #confirm type="text" name="confirm" autocomplete="off" spellcheck="false" required; }
    };
    let action = format!("/apps/{}/drains/{drain}/remove", encoded(&name));
    let button = html! { button.danger type="submit" { "Remove the drain" } };
    Ok(question(&view, &name, "Remove the drain", &what, &action, &field, &button))
}

/// Removes a drain; the app's name must be typed.
pub(crate) async fn remove(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path((name, drain)): Path<(String, String)>,
    Form(all): Form<Typed>,
) -> Result<Response, PageError> {
    let drain: Uuid = drain.parse().map_err(|_| no_drain())?;
    if typed(&all, "confirm") != name {
        return Err(PageError::new(
            StatusCode::BAD_REQUEST,
            "Nothing was removed: the name that was typed is another.",
        ));
    }
    let removed = view.web.engine.remove_drain(&name, Some(drain), &viewer.actor()).await;
    done(&view, &name, removed).await
}

/// Switches `log-runtime-metrics`.
pub(crate) async fn runtime_metrics(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    Form(all): Form<Typed>,
) -> Result<Response, PageError> {
    let on = typed(&all, "enabled") == "true";
    let switched = view.web.engine.set_runtime_metrics(&name, on, &viewer.actor()).await;
    done(&view, &name, switched).await
}

/// Asks for the whole account now.
pub(crate) async fn sync(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
) -> Result<Redirect, PageError> {
    web.engine.heroku_lists_now(&viewer.actor()).await?;
    Ok(Redirect::to("/apps#heroku"))
}

/// What Heroku calls the app.
async fn at_heroku(view: &View, name: &str) -> Result<String, PageError> {
    let known = view.web.engine.known_heroku_app(name).await?;
    let known = known.ok_or_else(|| PageError::not_found("The Heroku account does not have an app of that name."))?;
    Ok(view.outside(&known.name))
}

fn no_drain() -> PageError {
    PageError::not_found("There is no such drain: its address is not readable.")
}

/// A page that shows what a change will do, and the form that does it.
fn question(
    view: &View,
    name: &str,
    title: &str,
    what: &Markup,
    action: &str,
    fields: &Markup,
    button: &Markup,
) -> Html<String> {
    let shown = view.outside(name);
    let (app, drains) = (format!("/apps/{}", encoded(name)), format!("/apps/{}/drains", encoded(name)));
    let crumbs = [("/apps", "Apps"), (app.as_str(), shown.as_str()), (drains.as_str(), "Log drains")];
    let title = format!("{title} of {shown}");
    view.page(
        &Head::new(&title, "/apps").below(&crumbs),
        &html! {
            h1 { (title) }
            section { h2 { "What will be done" } (what) }
            form.form method="post" action=(action) {
                (view.viewer.csrf_field())
                (fields)
                div.buttons { (button) a href=(drains) { "Do nothing" } }
            }
        },
    )
}
