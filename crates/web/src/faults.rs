//! A panic in here ends one request and no more: who asked is answered all the same, in the form that they read, with
//! nothing of why; our own log has that, masked, with the id of the request. `/metrics` counts them.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::NewId as _;
use dynowatch_engine::Engine;
use dynowatch_engine::random::RandomIds;
use futures_util::FutureExt as _;

use crate::api::error::ApiError;
use crate::pages::error::PageError;
use crate::router::Web;
use crate::show::{masked, visible};

/// What is kept of the words of a panic.
const WORDS_CHARS_MAX: usize = 500;
/// The header in which Heroku's router names a request; it has 20 to 200 letters, digits and dashes.
const REQUEST_ID: &str = "x-request-id";
const REQUEST_ID_BYTES_MAX: usize = 200;
/// What programs ask, besides the API.
const FOR_PROGRAMS: [&str; 5] = ["/metrics", "/healthz", "/readyz", "/ping/", "/badge/"];

/// A panic that was caught, in its own words. They may hold anything: never to be shown, logged only by [`Self::words`].
pub(crate) struct Panicked(String);

impl Panicked {
    fn of(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().copied();
        let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        Self(text.unwrap_or("it said nothing").to_owned())
    }

    /// Its words for our own log.
    pub(crate) fn words(&self, engine: &Engine) -> String {
        // Masked whole: a secret that is cut in two is not found any more.
        visible(&masked(engine, &self.0)).chars().take(WORDS_CHARS_MAX).collect()
    }
}

/// Does the work, and catches a panic in it. What requests share is behind locks that are taken whether or not a holder
/// panicked, or in the store, whose transactions a panic rolls back.
pub(crate) async fn caught<T>(work: impl Future<Output = T>) -> Result<T, Panicked> {
    AssertUnwindSafe(work).catch_unwind().await.map_err(|payload| Panicked::of(&*payload))
}

/// The result of a task of its own; a panic in it goes on here.
pub(crate) fn joined<T>(result: Result<T, tokio::task::JoinError>) -> Option<T> {
    match result.map_err(tokio::task::JoinError::try_into_panic) {
        Ok(value) => Some(value),
        Err(Ok(payload)) => std::panic::resume_unwind(payload),
        // Nobody cancels such tasks but the end of the process.
        Err(Err(_cancelled)) => None,
    }
}

/// Answers for a handler that panicked.
pub(crate) async fn answered(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (uri, method) = (request.uri().clone(), request.method().clone());
    let (id, route) = (request_id(request.headers()), request.extensions().get::<MatchedPath>().cloned());
    let panicked = match caught(next.run(request)).await {
        Ok(response) => return response,
        Err(panicked) => panicked,
    };
    let id = id.unwrap_or_else(|| RandomIds.new_id(web.engine.now()).to_string());
    // Paths hold secrets, such as those of links; a route does not.
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let words = panicked.words(&web.engine);
    tracing::error!(request = id, %method, route, panic = words, "a request ended in a fault and was answered 500");
    let (path, stats) = (uri.path(), web.engine.stats());
    if path.starts_with("/api/") || FOR_PROGRAMS.iter().any(|top| path.starts_with(top)) {
        stats.faults_api.up();
        let message = "a fault in dynowatch; its log says more";
        let error = ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message);
        return error.with_detail(format!("request {id}")).into_response();
    }
    stats.faults_page.up();
    let what = format!("Something broke in dynowatch; its log says what, under the request {id}.");
    PageError::new(StatusCode::INTERNAL_SERVER_ERROR, &what).into_response()
}

/// What the router calls a request.
fn request_id(headers: &HeaderMap) -> Option<String> {
    let id = headers.get(REQUEST_ID)?.to_str().ok()?;
    let is_id = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    is_id.then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_be_an_id_is_one() {
        for (header, want) in [
            ("8f14e45f-ceea-467f-a0e6-2b1b1a9c0001", true),
            ("", false),
            ("<b>", false),
            ("a b", false),
            (&"x".repeat(201), false),
        ] {
            let headers = HeaderMap::from_iter([(REQUEST_ID.parse().unwrap(), header.parse().unwrap())]);
            assert_eq!(request_id(&headers).is_some(), want, "{header}");
        }
        assert_eq!(request_id(&HeaderMap::new()), None);
    }

    #[tokio::test]
    async fn a_panic_of_any_kind_is_caught() {
        assert_eq!(caught(async { 7 }).await.ok(), Some(7));
        let words = async |work: std::pin::Pin<Box<dyn Future<Output = ()>>>| caught(work).await.unwrap_err().0;
        assert_eq!(words(Box::pin(async { panic!("plain") })).await, "plain");
        assert_eq!(words(Box::pin(async { panic!("with {}", 1) })).await, "with 1");
        assert_eq!(words(Box::pin(async { std::panic::panic_any(7) })).await, "it said nothing");
        let task = tokio::spawn(async { panic!("elsewhere") });
        assert_eq!(words(Box::pin(async { joined::<()>(task.await).unwrap() })).await, "elsewhere");
    }
}
