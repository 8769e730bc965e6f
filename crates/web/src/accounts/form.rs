//! Forms: reading them, and the pieces they are built from.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Form;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use maud::{Markup, html};

use crate::pages::error::PageError;
use crate::pages::plain;
use crate::router::Web;
use crate::show::{masked, percent_encoded, visible};
use crate::zone::Zone;

/// Fields of a form.
const FIELDS_MAX: usize = 64;

/// The fields of a form that was sent.
#[derive(Debug, Default)]
pub(crate) struct Fields(BTreeMap<String, String>);

impl Fields {
    /// A field's text; empty when it was not sent.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A field that was sent and is not empty.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|text| !text.trim().is_empty())
    }
}

impl FromRequest<Arc<Web>> for Fields {
    type Rejection = PageError;

    async fn from_request(request: Request, state: &Arc<Web>) -> Result<Self, PageError> {
        let bad =
            |_| PageError::new(StatusCode::BAD_REQUEST, "This form cannot be read: go back and send it once more.");
        let Form(pairs) = Form::<Vec<(String, String)>>::from_request(request, state).await.map_err(bad)?;
        Ok(Self(pairs.into_iter().take(FIELDS_MAX).collect()))
    }
}

/// A field with its label, what helps to fill it, and what was wrong with it.
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    /// As in `text`, `password`.
    pub(crate) kind: &'a str,
    pub(crate) value: &'a str,
    /// As in `username`, `current-password`.
    pub(crate) autocomplete: &'a str,
    pub(crate) help: &'a str,
    pub(crate) error: Option<&'a str>,
}

impl<'a> Field<'a> {
    pub(crate) fn new(name: &'a str, label: &'a str, kind: &'a str) -> Self {
        Self { name, label, kind, value: "", autocomplete: "off", help: "", error: None }
    }

    pub(crate) fn show(&self) -> Markup {
        let (help, error) = (format!("{}-help", self.name), format!("{}-error", self.name));
        let mut described = Vec::new();
        if !self.help.is_empty() {
            described.push(help.as_str());
        }
        if self.error.is_some() {
            described.push(error.as_str());
        }
        let described = (!described.is_empty()).then(|| described.join(" "));
        let is_code = self.autocomplete == "one-time-code";
        html! {
            p.field {
                label for=(self.name) { (self.label) }
                input id=(self.name) name=(self.name) type=(self.kind) value=(self.value) required
                    autocomplete=(self.autocomplete) autocapitalize="none" spellcheck="false"
                    inputmode=[is_code.then_some("numeric")]
                    aria-describedby=[described.as_deref()] aria-invalid=[self.error.is_some().then_some("true")];
                @if !self.help.is_empty() { small.help id=(help) { (self.help) } }
                @if let Some(text) = self.error { strong.error id=(error) role="alert" { (text) } }
            }
        }
    }
}

/// A page about accounts.
pub(crate) fn page_with(status: StatusCode, title: &str, content: &Markup) -> Response {
    plain::page(status, title, content)
}

/// The same, with nothing wrong.
pub(crate) fn page(title: &str, content: &Markup) -> Response {
    page_with(StatusCode::OK, title, content)
}

/// A moment in the reader's zone.
pub(crate) fn moment(zone: &Zone, at: Timestamp) -> Markup {
    html! { time datetime=(at) title=(at.for_people()) { (zone.full(at)) } }
}

/// Text that came from outside: masked, with nothing hidden in it.
pub(crate) fn outside(web: &Web, text: &str) -> String {
    visible(&masked(&web.engine, text))
}

/// The places of the settings, with the one that is shown.
pub(crate) fn places(here: &str, is_superadmin: bool) -> Markup {
    let all = [
        ("/settings/security", "Your account", false),
        ("/settings/users", "People", true),
        ("/settings/tokens", "Tokens", true),
        ("/settings/audit", "Audit log", true),
    ];
    html! {
        nav.chips aria-label="Settings" {
            @for (path, name, only) in all { @if is_superadmin || !only { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } } }
        }
    }
}

/// On to another page of ours, as a GET.
pub(crate) fn see_other(path: &str) -> Response {
    let place = HeaderValue::from_str(&own_path(path)).unwrap_or(HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, place)]).into_response()
}

/// The same, with a cookie set or taken away.
pub(crate) fn see_other_with(path: &str, cookie: Option<HeaderValue>) -> Response {
    let mut response = see_other(path);
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A path on this instance, or `/`: what stands in a link must not lead people elsewhere.
pub(crate) fn own_path(text: &str) -> String {
    let good = text.starts_with('/')
        && !text.starts_with("//")
        && !text.contains('\\')
        && text.bytes().all(|b| b.is_ascii_graphic())
        && text.len() <= 1_024;
    if good { text.to_owned() } else { "/".to_owned() }
}

/// Text as part of a query.
pub(crate) fn escaped(text: &str) -> String {
    percent_encoded(text, b"-_.~/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_nowhere_else() {
        for (text, want) in [
            ("/alerts/1?a=b#c", "/alerts/1?a=b#c"),
            ("", "/"),
            ("https://evil.example/", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("/a\r\nset-cookie: x", "/"),
            ("javascript:alert(1)", "/"),
        ] {
            assert_eq!(own_path(text), want, "{text}");
        }
        assert_eq!(escaped("/a b?c=d&é"), "/a%20b%3Fc%3Dd%26%C3%A9");
    }
}
