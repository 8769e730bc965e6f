//! What the forms of rules, receivers, checks and maintenance windows share: who may change an object of the console, which
//! one it is, what could not be done to it, and how it is forgotten. What each kind holds is its own page's.

use axum::http::StatusCode;
use axum::response::Redirect;
use dynowatch_domain::account::Role;
use dynowatch_engine::objects::ObjectError;
use dynowatch_store::StoreError;
use dynowatch_store::objects::{Object, ObjectKind};
use maud::{Markup, html};

use super::error::PageError;
use super::form::{Typed, typed};
use super::palette::encoded;
use super::view::View;
use crate::router::Web;
use crate::show::visible;
use crate::viewer::Viewer;

/// The page that lists objects of a kind; below it are their own.
const fn place(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rule => "/rules",
        ObjectKind::Receiver => "/receivers",
        ObjectKind::Check => "/checks",
        ObjectKind::Maintenance => "/checks/maintenance",
    }
}

/// What an object of a kind is called.
const fn noun(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rule => "rule",
        ObjectKind::Receiver => "receiver",
        ObjectKind::Check => "check",
        ObjectKind::Maintenance => "window",
    }
}

/// The form is only for who may send it.
pub(super) fn may_edit(view: &View) -> Result<(), PageError> {
    if view.viewer.may(Role::Operator) {
        return Ok(());
    }
    Err(PageError::needs(Role::Operator, &view.viewer, "Rules, checks and receivers are changed by operators."))
}

/// The object of that name of the console, if there is one.
pub(super) async fn find(web: &Web, kind: ObjectKind, name: &str) -> Result<Option<Object>, StoreError> {
    let objects = web.engine.store().objects(kind).await?;
    Ok(objects.into_iter().find(|object| object.name == name))
}

/// The object of that name of the console, or a page that says there is none.
pub(super) async fn named(web: &Web, kind: ObjectKind, name: &str) -> Result<Object, PageError> {
    find(web, kind, name).await?.ok_or_else(|| {
        let noun = noun(kind);
        PageError::not_found(&format!(
            "There is no {noun} of that name in the console; one of the file is edited there."
        ))
    })
}

/// What could not be done to an object, as a page.
pub(super) fn failed(error: ObjectError) -> PageError {
    match error {
        ObjectError::Store(error) => error.into(),
        ObjectError::Wrong(problems) => {
            let what = problems.iter().map(|problem| problem.text.as_str()).collect::<Vec<_>>().join("; ");
            PageError::new(StatusCode::CONFLICT, &format!("Nothing was changed: {what}."))
        }
        error => PageError::new(StatusCode::CONFLICT, &error.to_string()),
    }
}

/// Deleting asks for the name: it is far from what is pressed often, and says what it does first.
pub(super) fn delete_form(view: &View, kind: ObjectKind, name: &str, effect: &str) -> Markup {
    html! {
        details {
            summary { "Delete it…" }
            form.form method="post" action={ (place(kind)) "/" (encoded(name)) "/delete" } {
                (view.viewer.csrf_field())
                p { "It is gone at once and everywhere. " (effect) }
                div.field { label for="confirm" { "Type " code { (visible(name)) } " to confirm" } input #confirm type="text" name="confirm" autocomplete="off" required; }
                div.buttons { button.danger type="submit" { "Delete" } }
            }
        }
    }
}

/// Forgets an object whose name was typed into [`delete_form`], and leads to the list.
pub(super) async fn forget(
    web: &Web,
    viewer: &Viewer,
    kind: ObjectKind,
    name: &str,
    all: &Typed,
) -> Result<Redirect, PageError> {
    if typed(all, "confirm") != name {
        return Err(PageError::new(
            StatusCode::BAD_REQUEST,
            "Nothing was deleted: the name that was typed is another.",
        ));
    }
    web.engine.delete_object(kind, name, &viewer.actor()).await.map_err(failed)?;
    Ok(Redirect::to(place(kind)))
}
