//! Errors as pages: each says what happened, what would be right, and leads on. What went wrong travels with the answer as a
//! [`PageError`], and becomes a page where it is known who asked: with the navigation of all other pages for who may read,
//! plain for strangers.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{Html, IntoResponse, Response};
use dynowatch_domain::account::Role;
use dynowatch_store::StoreError;
use maud::{Markup, html};

use super::look::Look;
use super::parts::{self, State as Shape, glyph};
use super::shell::{self, Head, Place};
use super::view::View;
use crate::accounts::current;
use crate::accounts::password::Busy;
use crate::accounts::seal::SealError;
use crate::explain::NotExplained;
use crate::router::Web;
use crate::viewer::{Viewer, is_unsafe};

/// Whoever asked is looked up within this time, or the page does without.
const VIEWER_TIME_MAX: Duration = Duration::from_secs(2);
/// When to ask again after what passes by itself.
const RETRY_SOON: Duration = Duration::from_secs(10);
/// When to try again after guessing too often.
const RETRY_AFTER_GUESSES: Duration = Duration::from_secs(15 * 60);

/// A page that could not be shown, and why.
#[derive(Debug, Clone)]
pub(crate) struct PageError {
    status: StatusCode,
    what: String,
    /// Where to go on, and what that is called.
    lead: Option<(&'static str, &'static str)>,
    /// The role that it needs, where that is why.
    needs: Option<Role>,
    /// When asking again may help.
    retry_after: Option<Duration>,
    /// Whether the store is away: then nobody asks it who looks.
    store_away: bool,
}

impl PageError {
    pub(crate) fn new(status: StatusCode, what: &str) -> Self {
        let what = what.to_owned();
        Self { status, what, lead: None, needs: None, retry_after: None, store_away: false }
    }

    /// Not now, but soon.
    pub(crate) fn not_now(what: &str) -> Self {
        Self { retry_after: Some(RETRY_SOON), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, what) }
    }

    /// When to ask again.
    pub(crate) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// Leads to that page first: its address and what that is called.
    pub(crate) fn leading(self, path: &'static str, name: &'static str) -> Self {
        Self { lead: Some((path, name)), ..self }
    }

    /// Nobody is signed in.
    pub(crate) fn signed_out() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Nobody is signed in (any more).").leading("/sign-in", "Sign in")
    }

    /// For people of a higher role. `what` says for what, where the address does not.
    pub(crate) fn needs(role: Role, viewer: &Viewer, what: &str) -> Self {
        let now =
            if viewer.is_guest { "are a guest".to_owned() } else { format!("have the role {}", viewer.role.as_str()) };
        let what = format!("{what} This needs the role {}; you {now}.", role.as_str());
        Self { needs: Some(role), ..Self::new(StatusCode::FORBIDDEN, what.trim_start()) }
    }

    /// Signed in too long ago to change something.
    pub(crate) fn stale() -> Self {
        let what = "You signed in more than twelve hours ago. Before you change something, sign in again; then send the form once more.";
        Self::new(StatusCode::FORBIDDEN, what).leading("/step-up", "Sign in again")
    }

    /// Signed in elsewhere, and not just now.
    pub(crate) fn not_just_in() -> Self {
        let what = "You signed in elsewhere, and more than five minutes ago. Before you set up an authenticator, sign in again.";
        Self::new(StatusCode::FORBIDDEN, what).leading("/sign-in/oidc?next=/settings/security", "Sign in again")
    }

    /// Guessed too often.
    pub(crate) fn too_many() -> Self {
        let what = "There were too many attempts. Wait a quarter of an hour, then try again.";
        Self { retry_after: Some(RETRY_AFTER_GUESSES), ..Self::new(StatusCode::TOO_MANY_REQUESTS, what) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, what)
    }

    fn title(&self) -> String {
        format!("{} {}", self.status.as_u16(), self.status.canonical_reason().unwrap_or_default())
    }

    /// What would be right, where the sentence on what happened does not say it.
    fn right(&self, way: &Way<'_>) -> Option<&'static str> {
        match self.status {
            _ if self.lead.is_some() || self.needs.is_some() => None,
            StatusCode::NOT_FOUND if way.place.is_some() => {
                Some("It may be over, renamed or deleted, or its address is cut off. The list shows what there is.")
            }
            StatusCode::CONFLICT => Some("Look how it stands now, then do it again if it is still right."),
            StatusCode::INTERNAL_SERVER_ERROR if way.is_form => {
                Some("Whether anything was changed is not known: look before you send the form again.")
            }
            StatusCode::SERVICE_UNAVAILABLE if way.is_form && self.store_away => {
                Some("Nothing was changed, or it is not known to be: look before you send the form again.")
            }
            StatusCode::INTERNAL_SERVER_ERROR => {
                Some("Load it again. If that does not help, whoever runs dynowatch finds more in its log.")
            }
            _ if self.retry_after == Some(RETRY_SOON) && !way.is_form => {
                Some("Wait a few seconds, then load it again.")
            }
            _ => None,
        }
    }
}

impl From<NotExplained> for PageError {
    fn from(error: NotExplained) -> Self {
        match error {
            NotExplained::Store(error) => error.into(),
            error => Self::not_now(&format!("Not now: {error}.")),
        }
    }
}

impl From<Busy> for PageError {
    fn from(error: Busy) -> Self {
        Self::not_now(&format!("Not now: {error}."))
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
                let what = "The store does not answer. Log deliveries in which something matters are refused meanwhile, and Logplex sends them twice more.";
                Self { store_away: true, ..Self::not_now(what) }
            }
            StoreError::Full(_) => {
                tracing::error!(%error, "a page could not be shown");
                let what = "The store is full: nothing was changed. It goes on by itself once there is room.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, what).leading("/settings/health", "Health")
            }
            error => {
                tracing::error!(%error, "a page could not be shown");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "Something broke in dynowatch; its log says what.")
            }
        }
    }
}

impl IntoResponse for PageError {
    /// A page for nobody in particular; [`dressed`] makes it one for whoever asked.
    fn into_response(self) -> Response {
        let mut response = (self.status, bare(&Look::default(), &self, None)).into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(after.as_secs()));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives errors the looks of whoever asked, and what stands around all other pages if that is somebody who may read. The
/// store is asked for that only where nobody has asked it yet, and without its answer the page is a plain one.
pub(crate) async fn dressed(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut asked = parts.clone();
    let mut response = next.run(Request::from_parts(parts, body)).await;
    let Some(error) = response.extensions_mut().remove::<PageError>() else { return response };
    let viewer = match response.extensions_mut().remove::<Viewer>() {
        Some(viewer) => Some(viewer),
        None => who_asked(&web, &asked, &error).await,
    };
    let Html(page) = match viewer {
        Some(viewer) => {
            asked.extensions.insert(viewer);
            framed(&web, asked, &error).await
        }
        None => bare(&Look::of(&asked), &error, Some(&asked)),
    };
    response.headers_mut().remove(header::CONTENT_LENGTH);
    *response.body_mut() = Body::from(page);
    response
}

/// Keeps who looks with an answer that is an error, for [`dressed`].
pub(crate) fn keep_viewer(response: &mut Response, viewer: Viewer) {
    if response.extensions().get::<PageError>().is_some() {
        response.extensions_mut().insert(viewer);
    }
}

async fn who_asked(web: &Web, parts: &Parts, error: &PageError) -> Option<Viewer> {
    if error.store_away || error.status == StatusCode::UNAUTHORIZED {
        return None;
    }
    tokio::time::timeout(VIEWER_TIME_MAX, current::viewer(web, parts)).await.ok()?.ok()?
}

/// The page for who may read: with the navigation, and where to go from here.
async fn framed(web: &Arc<Web>, mut asked: Parts, error: &PageError) -> Html<String> {
    let is_form = is_unsafe(&asked.method);
    let place = shell::place_of(asked.uri.path());
    let Ok(mut view) = View::from_request_parts(&mut asked, web).await;
    if is_form {
        // A form's address cannot be loaded again: what leads back here leads to the list instead.
        view.here = place.map_or("/", |place| place.path).to_owned();
    }
    let more = error.needs.map(|role| who_gives(&view, role)).unwrap_or_default();
    let again = (!is_form).then_some(view.here.as_str());
    let content = content(error, &Way { place, again, is_form }, &more);
    view.page(&Head::new(&error.title(), place.map_or("", |place| place.path)), &content)
}

/// The page for strangers, and for when nobody knows who asked.
fn bare(look: &Look, error: &PageError, asked: Option<&Parts>) -> Html<String> {
    let is_form = asked.is_some_and(|asked| is_unsafe(&asked.method));
    let again = asked.filter(|_| !is_form).and_then(|asked| asked.uri.path_and_query()).map(|path| path.as_str());
    shell::bare_page(look, &error.title(), &content(error, &Way { place: None, again, is_form }, &html! {}))
}

/// Where the error happened, and what leads on from there.
struct Way<'a> {
    /// The page of the navigation that the address stands below.
    place: Option<&'static Place>,
    /// The address, where it can be loaded again.
    again: Option<&'a str>,
    /// Whether something was sent that may have changed something.
    is_form: bool,
}

fn content(error: &PageError, way: &Way<'_>, more: &Markup) -> Markup {
    let may_pass = error.status == StatusCode::INTERNAL_SERVER_ERROR || error.retry_after == Some(RETRY_SOON);
    html! {
        div.nothing.error {
            (glyph(if error.status.is_server_error() { Shape::Down } else { Shape::Unknown }))
            h1 { (error.title()) }
            @if error.needs.is_some() { (parts::no_permission(&error.what, more)) } @else { p { (error.what) } }
            @if let Some(right) = error.right(way) { p { (right) } }
            p.ways {
                @if let Some((path, name)) = error.lead { a.button href=(path) { (name) } }
                @if let Some(again) = way.again.filter(|_| may_pass && error.lead.is_none()) { a.button href=(again) { "Load it again" } }
                @if let Some(place) = way.place.filter(|place| place.path != "/") { a.button href=(place.path) { (place.name) } }
                a.button href="/" { "See what is wrong now" }
            }
        }
    }
}

/// Who can give somebody a role, and where.
fn who_gives(view: &View, role: Role) -> Markup {
    if view.viewer.is_guest {
        return html! {
            p { "While nobody has an account, nobody changes anything. " code { "dynowatch setup-link" } " prints a link that makes the first one." }
        };
    }
    let base = view.web.engine.public_url();
    let people = format!("{}/settings/users", base.as_deref().unwrap_or_default());
    html! {
        p { "A superadmin can make you " (role.as_str()) " at " code { (people) } ". Send them this address and your name, " strong { (view.viewer.name) } "." }
        @if let Some(oidc) = view.web.accounts.oidc.as_ref().filter(|oidc| oidc.gives_roles()) {
            p { "Who signs in with " (oidc.name()) " has the role that their groups there stand for: then ask whoever looks after those." }
        }
        p { a href="/settings/security" { "Your account" } " says who you are here." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_and_leads_on() {
        let error = PageError::not_found("There is no such <b>.");
        let Html(page) = bare(&Look::default(), &error, None);
        for part in ["404 Not Found", "There is no such &lt;b&gt;.", "href=\"/\""] {
            assert!(page.contains(part), "{part}");
        }
    }
}
