//! Errors as pages: each says what happened and leads on. What went wrong travels with the answer as a [`PageError`], and
//! becomes a page where it is known how pages look to whoever asked.

use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use dynowatch_store::StoreError;
use maud::html;

use super::look::Look;
use super::parts::{self, State, glyph};
use super::shell;
use crate::accounts::password::Busy;
use crate::accounts::seal::SealError;
use crate::explain::NotExplained;

/// A page that could not be shown, and why.
#[derive(Debug, Clone)]
pub(crate) struct PageError {
    status: StatusCode,
    what: String,
    /// Where to go on, and what that is called.
    lead: Option<(&'static str, &'static str)>,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, what: &str) -> Self {
        Self { status, what: what.to_owned(), lead: None }
    }

    /// Nobody is signed in.
    pub(crate) fn signed_out() -> Self {
        let what = "Nobody is signed in (any more).";
        Self { lead: Some(("/sign-in", "Sign in")), ..Self::new(StatusCode::UNAUTHORIZED, what) }
    }

    /// Signed in too long ago to change something.
    pub(crate) fn stale() -> Self {
        let what = "You signed in more than twelve hours ago. Before you change something, sign in again; then send the form once more.";
        Self { lead: Some(("/step-up", "Sign in again")), ..Self::new(StatusCode::FORBIDDEN, what) }
    }

    /// Signed in elsewhere, and not just now.
    pub(crate) fn not_just_in() -> Self {
        let what = "You signed in elsewhere, and more than five minutes ago. Before you set up an authenticator, sign in again.";
        Self {
            lead: Some(("/sign-in/oidc?next=/settings/security", "Sign in again")),
            ..Self::new(StatusCode::FORBIDDEN, what)
        }
    }

    /// Guessed too often.
    pub(crate) fn too_many() -> Self {
        let what = "There were too many attempts. Wait a quarter of an hour, then try again.";
        Self::new(StatusCode::TOO_MANY_REQUESTS, what)
    }

    fn answer(&self, look: &Look) -> Response {
        let mut response = (self.status, page(look, self)).into_response();
        if self.status == StatusCode::TOO_MANY_REQUESTS {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("900"));
        }
        response
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }
}

impl From<NotExplained> for PageError {
    fn from(error: NotExplained) -> Self {
        match error {
            NotExplained::Store(error) => error.into(),
            error => Self::new(StatusCode::SERVICE_UNAVAILABLE, &format!("Not now: {error}.")),
        }
    }
}

impl From<Busy> for PageError {
    fn from(error: Busy) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, &format!("Not now: {error}."))
    }
}

impl From<SealError> for PageError {
    fn from(error: SealError) -> Self {
        tracing::error!(%error, "a secret cannot be sealed or opened");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, &format!("Not now: {error}."))
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => {
                Self::not_found("It is not here (any more): what is over is kept for a time only.")
            }
            StoreError::Conflict(what) => Self::new(StatusCode::CONFLICT, &format!("Not done: {what}.")),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a page could not be shown");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "The store does not answer. Log deliveries in which something matters are refused meanwhile, and Logplex sends them twice more.",
                )
            }
            error => {
                tracing::error!(%error, "a page could not be shown");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something broke in dynowatch; its log says what.")
            }
        }
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.answer(&Look::default());
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives errors the looks of whoever asked.
pub(crate) async fn dressed(request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let look = Look::of(&parts);
    let response = next.run(Request::from_parts(parts, body)).await;
    match response.extensions().get::<PageError>() {
        Some(error) => error.answer(&look),
        None => response,
    }
}

fn page(look: &Look, error: &PageError) -> Html<String> {
    let title = format!("{} {}", error.status.as_u16(), error.status.canonical_reason().unwrap_or_default());
    let forbidden = error.status == StatusCode::FORBIDDEN && error.lead.is_none();
    shell::bare_page(
        look,
        &title,
        &html! {
            div.nothing.error {
                (glyph(if error.status.is_server_error() { State::Down } else { State::Unknown }))
                h1 { (title) }
                @if forbidden { (parts::no_permission(&error.what)) } @else { p { (error.what) } }
                @if let Some((path, name)) = error.lead { p { a.button href=(path) { (name) } } }
                p { a.button href="/" { "See what is wrong now" } }
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_leads_on() {
        let error = PageError::not_found("There is no such <b>.");
        let Html(page) = page(&Look::default(), &error);
        for part in ["404 Not Found", "There is no such &lt;b&gt;.", "href=\"/\""] {
            assert!(page.contains(part), "{part}");
        }
    }
}
