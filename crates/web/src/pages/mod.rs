//! The few pages there are: an overview, an alert (what a message links to, read on a phone at night), and the messages
//! as they were sent. Rendered whole on the server; no script, no inline style, one small style sheet. What came from a
//! log line is masked and made visible by [`crate::show`], and escaped by maud.

pub(crate) mod alert;
pub(crate) mod assets;
pub(crate) mod deliveries;
pub(crate) mod error;
pub(crate) mod overview;

use axum::response::Html;
use dynowatch_domain::Timestamp;
use maud::{DOCTYPE, Markup, html};

use crate::health::VERSION;
use crate::router::Web;
use crate::show::{ago, masked, visible};

/// A whole page. `now` says how old it is.
fn layout(title: &str, now: Option<Timestamp>, content: &Markup) -> Html<String> {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (title) " · dynowatch" }
                link rel="icon" href=(assets::icon_url()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::style_url());
            }
            body {
                header {
                    a.brand href="/" { "dynowatch" }
                    nav aria-label="Pages" {
                        a href="/" { "Overview" }
                        a href="/deliveries" { "Messages" }
                    }
                }
                main { (content) }
                footer {
                    @if let Some(now) = now { p { "As of " (moment(now)) ". " a href="" { "Reload" } } }
                    p { "dynowatch " (VERSION) " · " a href="/readyz" { "readiness" } " · " a href="/metrics" { "metrics" } " · " a href="/api/v1/openapi.json" { "API" } }
                }
            }
        }
    };
    Html(page.into_string())
}

/// Text that came from outside: masked, with nothing hidden in it.
fn outside(web: &Web, text: &str) -> String {
    visible(&masked(&web.engine, text))
}

/// A moment, for people and machines.
fn moment(at: Timestamp) -> Markup {
    html! { time datetime=(at) { (at.for_people()) } }
}

/// A moment and how long ago it was.
fn moment_ago(at: Timestamp, now: Timestamp) -> Markup {
    html! { (moment(at)) " (" (ago(at, now)) ")" }
}

/// A link, if that is what it is: only http and https lead anywhere from here.
fn reference(text: &str) -> Markup {
    let lower = text.to_ascii_lowercase();
    let is_url = (lower.starts_with("https://") || lower.starts_with("http://"))
        && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    html! {
        @if is_url { a href=(text) rel="noreferrer noopener" { (visible(text)) } } @else { code { (visible(text)) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_become_links() {
        let cases = [
            ("https://wiki.example/h12", true),
            ("HTTP://wiki.example/h12", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("docs/ops/runbook.md", false),
            ("https://a b", false),
            ("//evil.example", false),
            ("", false),
        ];
        for (text, want) in cases {
            assert_eq!(reference(text).into_string().contains("<a "), want, "{text}");
        }
        assert!(!reference("https://x/\"onmouseover=\"y").into_string().contains("\"onmouseover"));
    }
}
