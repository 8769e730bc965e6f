//! Errors as pages: each says what happened and leads on.

use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use dynowatch_store::StoreError;
use maud::{Markup, html};

use super::layout;

/// A page that could not be shown, and why.
#[derive(Debug)]
pub(crate) struct PageError {
    status: StatusCode,
    what: String,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, what: &str) -> Self {
        Self { status, what: what.to_owned() }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => {
                Self::not_found("It is not here (any more): what is over is kept for a time only.")
            }
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
        let title = format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or_default());
        (self.status, page(&title, &self.what, &html! {})).into_response()
    }
}

/// Asks for a token.
pub(crate) fn sign_in() -> Response {
    let how = html! {
        p { "Sign in with any user name and an API token as the password. " code { "dynowatch token create NAME" } " makes one; tokens of " code { "DYNOWATCH_API_TOKEN" } " work, too." }
        p { "On the machine that runs dynowatch, no token is needed." }
    };
    (StatusCode::UNAUTHORIZED, page("Sign in", "This page is for people with a token.", &how)).into_response()
}

fn page(title: &str, what: &str, more: &Markup) -> Html<String> {
    layout(
        title,
        "",
        None,
        &html! {
            h1 { (title) }
            p { (what) }
            (more)
            p { a.next href="/" { "See what is wrong now" } }
        },
    )
}
