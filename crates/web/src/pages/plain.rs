//! Pages that are written without knowing who looks, such as the forms of accounts: their content travels with the answer
//! and gets its surroundings where those are known.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use maud::{Markup, html};

use super::error::PageError;
use super::look::Look;
use super::shell::{self, Head};
use super::view::View;
use crate::router::Web;
use crate::viewer::Viewer;

/// The content of such a page.
#[derive(Clone)]
struct Plain {
    status: StatusCode,
    title: String,
    content: Markup,
}

/// An answer with such a page.
pub(crate) fn page(status: StatusCode, title: &str, content: &Markup) -> Response {
    let content = html! { h1 { (title) } (content) };
    let mut response = (status, at_the_door(&Look::default(), title, &content)).into_response();
    response.extensions_mut().insert(Plain { status, title: title.to_owned(), content });
    response
}

/// Gives such pages their surroundings: those of every page for who is in, nothing but a frame for who is at the door.
pub(crate) async fn surrounded(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let (look, is_in) = (Look::of(&parts), parts.extensions.get::<Viewer>().is_some());
    let is_stream = parts.uri.path() == "/events";
    let is_setting = parts.uri.path().starts_with("/settings/");
    // Making a view cannot fail.
    let view = if is_in { View::from_request_parts(&mut parts, &web).await.ok() } else { None };
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let Some(Plain { status, title, content }) = response.extensions_mut().remove::<Plain>() else {
        // The stream of an open page answers scripts, in text.
        return if !is_stream && is_unread(&response) { unread(response.status()) } else { response };
    };
    match view {
        Some(view) if is_setting => {
            let head = Head::new(&title, "/settings").below(&[("/settings", "Settings")]);
            (status, view.page(&head, &content)).into_response()
        }
        Some(view) => (status, view.page(&Head::new(&title, ""), &content)).into_response(),
        None => (status, at_the_door(&look, &title, &content)).into_response(),
    }
}

/// Whether the address or the form could not be read at all: then axum answers for the handler, with a line of text.
fn is_unread(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    response.status().is_client_error() && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"))
}

fn unread(status: StatusCode) -> Response {
    let what = "The address of this page, or what was sent to it, is cut off or was changed.";
    PageError::new(status, what).into_response()
}

fn at_the_door(look: &Look, title: &str, content: &Markup) -> Html<String> {
    shell::bare_page(look, title, &html! { div.door.flow { (content) } })
}
