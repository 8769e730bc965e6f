//! Who looks at a page, as handlers see it, and what a page that changes something asks of them: a role, a sign-in that is
//! fresh, and a form that this instance wrote. Who a request comes from is found out by `auth`; this module only holds the
//! answer and the questions.
//!
//! A handler takes [`Viewer`] to know who looks, [`OperatorOnly`] or [`SuperadminOnly`] to be reached by nobody less.
//! Forms that post carry [`Viewer::csrf_field`]; scripts send the same token as `x-csrf-token`.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::account::{Role, Theme};
use http_body_util::{BodyExt, Limited};
use maud::{Markup, html};
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::accounts::client::Client;
use crate::faults::joined;
use crate::multipart::Multipart;
use crate::pages::error::PageError;
use crate::router::{UPLOAD_BYTES_MAX, UPLOAD_WAIT_MAX, Web};

/// The field of a form, and the header of a script, that proves where it comes from.
pub(crate) const CSRF_FIELD: &str = "csrf";
const CSRF_HEADER: &str = "x-csrf-token";
const NOT_OURS: &str = "This form was not sent by a page of this instance.";
const OUT_OF_DATE: &str = "This form is out of date: go back, load the page again, and send it once more.";
/// The longest form.
const FORM_BYTES_MAX: usize = 64 * 1024;

/// Who looks.
#[derive(Debug, Clone)]
pub(crate) struct Viewer {
    /// What they are called.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) role: Role,
    /// What forms and scripts must send along with a change.
    pub(crate) csrf: String,
    /// Their time zone, by its IANA name.
    pub(crate) zone: String,
    /// How pages look to them.
    pub(crate) theme: Theme,
    /// Whether they signed in lately enough to change things.
    pub(crate) is_fresh: bool,
    /// Whether nobody signed in: a look from this very machine before the first account exists. A guest changes nothing.
    pub(crate) is_guest: bool,
    /// Who they are in the store, and in which sign-in; none for a guest.
    pub(crate) signed_in: Option<SignedIn>,
    /// From where they look.
    pub(crate) address: String,
}

/// Someone in the store, in one of their sign-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SignedIn {
    /// Who.
    pub(crate) user: Uuid,
    /// In which sign-in.
    pub(crate) session: Uuid,
}

impl Viewer {
    /// Someone on this machine before the first account exists.
    pub(crate) fn guest() -> Self {
        Self {
            name: "guest".to_owned(),
            role: Role::Viewer,
            csrf: String::new(),
            zone: "UTC".to_owned(),
            theme: Theme::System,
            is_fresh: false,
            is_guest: true,
            signed_in: None,
            address: String::new(),
        }
    }

    /// Who they are in the store.
    pub(crate) fn signed_in(&self) -> Result<SignedIn, PageError> {
        self.signed_in.ok_or_else(PageError::signed_out)
    }

    /// Who does what they do, for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor { name: self.actor_name(), address: self.address.clone() }
    }

    /// What the audit log calls them.
    pub(crate) fn actor_name(&self) -> String {
        if self.is_guest { "guest".to_owned() } else { format!("user:{}", self.name) }
    }

    /// Whether pages should offer what needs this role.
    pub(crate) fn may(&self, role: Role) -> bool {
        !self.is_guest && self.role >= role
    }

    /// The hidden field that every form that posts must hold.
    pub(crate) fn csrf_field(&self) -> Markup {
        html! { input type="hidden" name=(CSRF_FIELD) value=(self.csrf); }
    }
}

/// Put there by the middleware of the pages.
impl<S: Send + Sync> FromRequestParts<S> for Viewer {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageError> {
        let viewer = parts.extensions.get::<Self>().cloned();
        viewer.ok_or_else(PageError::signed_out)
    }
}

/// Someone who signed in lately, whatever their role: for changes of their own account.
pub(crate) struct Changing(pub(crate) Viewer);

/// Someone who may operate; whoever changes something signed in lately.
pub(crate) struct OperatorOnly(pub(crate) Viewer);

/// Someone who may change who may do what; whoever changes something signed in lately.
pub(crate) struct SuperadminOnly(pub(crate) Viewer);

impl FromRequestParts<Arc<Web>> for Changing {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Web>) -> Result<Self, PageError> {
        let viewer = Viewer::from_request_parts(parts, state).await?;
        if viewer.is_guest {
            return Err(PageError::signed_out());
        }
        fresh(parts, viewer).map(Self)
    }
}

impl FromRequestParts<Arc<Web>> for OperatorOnly {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Web>) -> Result<Self, PageError> {
        at_least(parts, state, Role::Operator).await.map(Self)
    }
}

impl FromRequestParts<Arc<Web>> for SuperadminOnly {
    type Rejection = PageError;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<Web>) -> Result<Self, PageError> {
        at_least(parts, state, Role::Superadmin).await.map(Self)
    }
}

async fn at_least(parts: &mut Parts, web: &Arc<Web>, role: Role) -> Result<Viewer, PageError> {
    let viewer = Viewer::from_request_parts(parts, web).await?;
    if viewer.is_guest {
        return Err(PageError::signed_out());
    }
    if !viewer.may(role) {
        let client = Client::from_request_parts(parts, web).await?;
        let act = client.actor(viewer.actor_name()).did("request.denied", parts.uri.path());
        let act = act.with(format!("{} needs {}", parts.method, role.as_str()));
        web.accounts.denied(web.engine.store(), &viewer.actor_name(), &act, web.engine.now()).await?;
        return Err(PageError::needs(role, &viewer, ""));
    }
    fresh(parts, viewer)
}

fn fresh(parts: &Parts, viewer: Viewer) -> Result<Viewer, PageError> {
    if is_unsafe(&parts.method) && !viewer.is_fresh { Err(PageError::stale()) } else { Ok(viewer) }
}

/// Whether a method may change something.
pub(crate) fn is_unsafe(method: &Method) -> bool {
    !matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// Lets a form through that one of our own pages sent: the browser says so, and the form holds the viewer's token. For page
/// routes, behind the middleware that knows the viewer.
pub(crate) async fn forms_guarded(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    if !is_unsafe(request.method()) {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    if !is_own_page(&parts.headers) {
        return refused(&web, &parts, NOT_OURS).await;
    }
    let Ok(body) = Limited::new(body, FORM_BYTES_MAX).collect().await.map(|whole| whole.to_bytes()) else {
        return PageError::new(StatusCode::PAYLOAD_TOO_LARGE, "This form is too long.").into_response();
    };
    let good = parts.extensions.get::<Viewer>().is_some_and(|viewer| has_token(&parts.headers, &body, &viewer.csrf));
    if !good {
        return refused(&web, &parts, OUT_OF_DATE).await;
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// The same for forms that carry a file: they are read here, for their token stands among their parts, and handed on whole.
/// Nothing is read of those who may not send one.
pub(crate) async fn uploads_guarded(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let viewer = parts.extensions.get::<Viewer>();
    if !viewer.is_some_and(|viewer| viewer.may(Role::Operator) && viewer.is_fresh) {
        parts.extensions.insert(Multipart::default());
        return next.run(Request::from_parts(parts, Body::empty())).await;
    }
    let csrf = viewer.map(|viewer| viewer.csrf.clone()).unwrap_or_default();
    if !is_own_page(&parts.headers) {
        return refused(&web, &parts, NOT_OURS).await;
    }
    let Ok(place) = Arc::clone(&web.uploads).try_acquire_owned() else {
        let what = "Others are trying rules on logs: go back and try again in a few seconds.";
        return PageError::not_now(what).into_response();
    };
    let Ok(read) = tokio::time::timeout(UPLOAD_WAIT_MAX, Limited::new(body, UPLOAD_BYTES_MAX).collect()).await else {
        let what = "This log did not arrive in time: pack it with gzip, or try it with `dynowatch replay`.";
        return PageError::new(StatusCode::REQUEST_TIMEOUT, what).into_response();
    };
    let Ok(body) = read.map(|whole| whole.to_bytes()) else {
        let what =
            "This log is too long: at most 16 MiB are taken. Pack it with gzip, or try it with `dynowatch replay`.";
        return PageError::new(StatusCode::PAYLOAD_TOO_LARGE, what).into_response();
    };
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let Some(form) = Multipart::read(kind, &body) else {
        return PageError::new(StatusCode::BAD_REQUEST, "This form cannot be read: load the page again.")
            .into_response();
    };
    let given = form.only(CSRF_FIELD).unwrap_or_default();
    if csrf.is_empty() || !bool::from(given.ct_eq(csrf.as_bytes())) {
        return refused(&web, &parts, OUT_OF_DATE).await;
    }
    parts.extensions.insert(form);
    // A task of its own: who hangs up gives the place back when the work is done, not before.
    let answer = tokio::spawn(async move {
        let _place = place;
        next.run(Request::from_parts(parts, Body::empty())).await
    });
    joined(answer.await).unwrap_or_else(|| PageError::not_now("The trial did not end: try it again.").into_response())
}

/// The same for the forms that one signs in with: nobody has a token yet, so the browser's word must do.
pub(crate) async fn own_forms(State(web): State<Arc<Web>>, request: Request, next: Next) -> Response {
    if is_unsafe(request.method()) && !is_own_page(request.headers()) {
        let (parts, _unread) = request.into_parts();
        return refused(&web, &parts, NOT_OURS).await;
    }
    next.run(request).await
}

/// Refuses a form, and writes it down: a browser may have been turned against who uses it.
async fn refused(web: &Web, parts: &Parts, what: &str) -> Response {
    let address = parts.extensions.get::<Client>().map(|client| client.address.clone()).unwrap_or_default();
    let nobody = || Actor { name: "nobody".to_owned(), address };
    let actor = parts.extensions.get::<Viewer>().map_or_else(nobody, Viewer::actor);
    let act = actor.did("request.denied", parts.uri.path()).with(format!("{}: {what}", parts.method));
    match web.accounts.denied(web.engine.store(), &actor.name, &act, web.engine.now()).await {
        Ok(()) => PageError::new(StatusCode::FORBIDDEN, what).into_response(),
        Err(error) => PageError::from(error).into_response(),
    }
}

/// Whether a script of our own pages sent this: by the browser's word and the header with the viewer's token.
pub(crate) fn is_own_script(headers: &HeaderMap, viewer: &Viewer) -> bool {
    is_own_page(headers) && headers.contains_key(CSRF_HEADER) && has_token(headers, &Bytes::new(), &viewer.csrf)
}

/// Whether the browser says that one of our own pages sent this. Browsers that do not send `Sec-Fetch-Site` send `Origin`
/// with everything that posts; what sends neither is no browser, and has the API.
pub(crate) fn is_own_page(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site == "same-origin";
    }
    let text = |name| headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
    let (Some(origin), Some(host)) = (text(header::ORIGIN), text(header::HOST)) else { return false };
    let authority = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether the token of the form, or of the header, is this one. An empty token fits nothing.
fn has_token(headers: &HeaderMap, body: &Bytes, token: &str) -> bool {
    let same = |given: &[u8]| !token.is_empty() && bool::from(given.ct_eq(token.as_bytes()));
    if let Some(given) = headers.get(CSRF_HEADER) {
        return same(given.as_bytes());
    }
    // The token is hex: it stands in a form as it is, whatever else must be escaped.
    let mut fields = body.split(|&b| b == b'&').filter_map(|pair| pair.strip_prefix(b"csrf="));
    fields.next().is_some_and(same) && fields.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_pages_send_forms() {
        type Case<'a> = (&'a [(&'a str, &'a str)], bool);
        let cases: [Case<'_>; 12] = [
            (&[], false),
            (&[("host", "watch.example")], false),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "none")], false),
            (
                &[("sec-fetch-site", "cross-site"), ("origin", "https://watch.example"), ("host", "watch.example")],
                false,
            ),
            (&[("origin", "https://watch.example"), ("host", "watch.example")], true),
            (&[("origin", "http://localhost:8080"), ("host", "localhost:8080")], true),
            (&[("origin", "http://localhost:8081"), ("host", "localhost:8080")], false),
            (&[("origin", "https://watch.example.evil"), ("host", "watch.example")], false),
            (&[("origin", "null"), ("host", "watch.example")], false),
        ];
        for (headers, want) in cases {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(http::HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
            }
            assert_eq!(is_own_page(&map), want, "{headers:?}");
        }
    }

    #[test]
    fn the_token_must_be_there_once_and_the_same() {
        let no_header = HeaderMap::new();
        for (body, token, want) in [
            ("csrf=abc", "abc", true),
            ("name=x&csrf=abc&more=y", "abc", true),
            ("csrf=abd", "abc", false),
            ("csrf=ab", "abc", false),
            ("csrf=abc&csrf=abc", "abc", false),
            ("xcsrf=abc", "abc", false),
            ("csrf=", "", false),
            ("", "abc", false),
        ] {
            assert_eq!(has_token(&no_header, &Bytes::from_static(body.as_bytes()), token), want, "{body}");
        }
        let mut header = HeaderMap::new();
        header.insert(CSRF_HEADER, "abc".parse().unwrap());
        assert!(has_token(&header, &Bytes::new(), "abc"));
        assert!(!has_token(&header, &Bytes::from_static(b"csrf=abd"), "abd"), "the header counts");
    }
}
