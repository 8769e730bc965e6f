//! What operators do to a check: run it now, have a run explained, pause it and go on, accept its server's new key, delete it.
//! Each stands in the audit log; what it led to shows on the check's page.

use std::sync::Arc;

use axum::extract::{Path, State as Shared};
use axum::response::{Html, Redirect};
use dynowatch_engine::checks::Explanation;
use dynowatch_store::objects::ObjectKind;
use maud::{Markup, html};

use super::super::error::PageError;
use super::super::form::Typed;
use super::super::object;
use super::super::palette::encoded;
use super::super::parts::verdict;
use super::super::shell::Head;
use super::super::view::View;
use super::words::of_outcome;
use super::{refused, run as run_parts};
use crate::router::Web;
use crate::show::visible;
use crate::viewer::OperatorOnly;

fn back(name: &str) -> Redirect {
    Redirect::to(&format!("/checks/{}", encoded(name)))
}

/// Has it run at once, besides its schedule.
pub(crate) async fn run(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    web.engine.ask_check_run(&name, &viewer.actor()).await.map_err(refused)?;
    Ok(back(&name))
}

/// Switches it off.
pub(crate) async fn pause(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    web.engine.pause_check(&name, &viewer.actor()).await.map_err(refused)?;
    Ok(back(&name))
}

/// Switches it on again.
pub(crate) async fn resume(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    web.engine.resume_check(&name, &viewer.actor()).await.map_err(refused)?;
    Ok(back(&name))
}

/// Expects the key that its server shows from now on.
pub(crate) async fn pin(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Redirect, PageError> {
    web.engine.accept_check_pin(&name, &viewer.actor()).await.map_err(refused)?;
    Ok(back(&name))
}

/// Runs it once and tells everything; the result counts nowhere.
pub(crate) async fn explain(
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
) -> Result<Html<String>, PageError> {
    let status = view.web.engine.check_status(&name).await.map_err(refused)?;
    let told = view.web.explains.run(&view.web.engine, status.check, &viewer.actor()).await?;
    let (href, shown) = (format!("/checks/{}", encoded(&name)), visible(&name));
    let title = format!("One run of {shown}");
    let crumbs = [("/checks", "Checks"), (href.as_str(), shown.as_str())];
    let head = Head::new(&title, "/checks").below(&crumbs);
    let sentence = html! { "One run of " (shown) ": " (told.observation.outcome.name()) };
    let below =
        html! { p.quiet { "Made just now, besides the schedule. It counts nowhere: no state, no alert, no uptime." } };
    Ok(view.page(
        &head,
        &html! {
            (verdict(of_outcome(told.observation.outcome), &sentence, &below))
            (explained(&view, &told))
            div.buttons {
                (super::one::button(&view, &format!("{href}/explain"), "Once more", ""))
                a.button href=(href) { "Back to the check" }
            }
        },
    ))
}

/// A run told in full.
pub(super) fn explained(view: &View, told: &Explanation) -> Markup {
    html! {
        section.flow { h2 { "What it found" } (run_parts::found(view, &told.observation)) }
        @let transcript = told.transcript.to_string();
        @if !transcript.is_empty() { section { h2 { "What it did" } (run_parts::transcript(view, &transcript)) } }
    }
}

/// Forgets one of the console; its name must be typed.
pub(crate) async fn delete(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    Path(name): Path<String>,
    axum::Form(all): axum::Form<Typed>,
) -> Result<Redirect, PageError> {
    object::forget(&web, &viewer, ObjectKind::Check, &name, &all).await
}
