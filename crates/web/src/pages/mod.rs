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
use dynowatch_domain::notice::group_in_words;
use dynowatch_store::alerts::AlertRow;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::health::VERSION;
use crate::router::Web;
use crate::show::{ago, masked, visible};

/// The pages that the head of each leads to.
const PLACES: [(&str, &str); 2] = [("/", "Now"), ("/deliveries", "Messages")];

/// A whole page. `here` is its path where it is one of [`PLACES`], `now` says how old it is.
fn layout(title: &str, here: &str, now: Option<Timestamp>, content: &Markup) -> Html<String> {
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
                    a.brand href="/" { (PreEscaped(assets::ICON_SVG)) "dynowatch" }
                    nav aria-label="Pages" {
                        @for (path, name) in PLACES { a href=(path) aria-current=[(path == here).then_some("page")] { (name) } }
                    }
                }
                main { (content) }
                footer {
                    @if let Some(now) = now { p { "As of " (moment(now)) ". " a href="" { "Reload" } } }
                    nav aria-label="For machines" { a href="/readyz" { "Readiness" } a href="/metrics" { "Metrics" } a href="/api/v1/openapi.json" { "API" } }
                    p { "dynowatch " (VERSION) }
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
    html! { (moment(at)) " " span.ago { "(" (ago(at, now)) ")" } }
}

/// A command to be copied. Its words stay whole where lines wrap: `--source` is no `--` and a `source`.
fn command(text: &str) -> Markup {
    let shown = visible(text);
    html! { pre.command { code { @for (i, word) in shown.split(' ').enumerate() { @if i > 0 { " " } span { (word) } } } } }
}

/// A sentence of ours in which backticks set off what is typed.
fn prose(text: &str) -> Markup {
    html! { @for (i, part) in text.split('`').enumerate() { @if i % 2 == 1 { code { (visible(part)) } } @else { (visible(part)) } } }
}

/// An alert's name for people: the rule, the app, and the group where there is one.
fn alert_name(web: &Web, row: &AlertRow) -> Markup {
    let group = outside(web, &group_in_words(row.key.group.pairs()));
    html! { (visible(&row.key.rule)) " on " (outside(web, &row.app_name)) @if !group.is_empty() { " " span.group { (group) } } }
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
    fn backticks_set_off_what_is_typed() {
        assert_eq!(
            prose("a bad release: `heroku rollback`").into_string(),
            "a bad release: <code>heroku rollback</code>"
        );
        assert_eq!(prose("<b>`").into_string(), "&lt;b&gt;<code></code>");
    }

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
