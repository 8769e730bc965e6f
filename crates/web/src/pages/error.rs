//! Errors as pages: each says what happened and leads on. What went wrong travels with the answer as a [`PageError`], and
//! becomes a page where it is known how pages look to whoever asked.

use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use dynowatch_store::StoreError;
use maud::html;

use super::look::Look;
use super::parts::{self, State, glyph};
use super::shell;

/// A page that could not be shown, and why.
#[derive(Debug, Clone)]
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
        let mut response = (self.status, page(&Look::default(), &self)).into_response();
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
        Some(error) => (error.status, page(&look, error)).into_response(),
        None => response,
    }
}

fn page(look: &Look, error: &PageError) -> Html<String> {
    let title = format!("{} {}", error.status.as_u16(), error.status.canonical_reason().unwrap_or_default());
    let forbidden = error.status == StatusCode::FORBIDDEN;
    shell::bare_page(
        look,
        &title,
        &html! {
            div.nothing.error {
                (glyph(if error.status.is_server_error() { State::Down } else { State::Unknown }))
                h1 { (title) }
                @if forbidden { (parts::no_permission(&error.what)) } @else { p { (error.what) } }
                p { a.button href="/" { "See what is wrong now" } }
            }
        },
    )
}

/// Asks for a token.
pub(crate) fn sign_in() -> Response {
    let how = html! {
        div.nothing {
            h1 { "Sign in" }
            p { "This page is for people with a token." }
            p { "Sign in with any user name and an API token as the password. " code { "dynowatch token create NAME" } " makes one; tokens of " code { "DYNOWATCH_API_TOKEN" } " work, too." }
            p { "On the machine that runs dynowatch, no token is needed." }
        }
    };
    (StatusCode::UNAUTHORIZED, shell::bare_page(&Look::default(), "Sign in", &how)).into_response()
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
