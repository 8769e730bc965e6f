//! The log of all apps as it comes, narrowed in the address. Owns the page, how one line of it looks, and what the stream
//! sends of it; the stream itself is [`crate::events`]', the lines are `engine::tail`'s. Without scripts the page shows the
//! newest lines and is loaded again by hand; with them it goes on by itself.
//!
//! Everything in a line is somebody else's: it comes masked, and is written out by `visible` and escaped by maud.

use std::fmt::Write as _;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::line_filter::{Expression, LineFilter, LineQuery, QUERY_BYTES_MAX, QueryProblem};
use dynowatch_domain::log_level::LogLevel;
use dynowatch_engine::tail::{Batch, Recent, SeenLine};
use dynowatch_store::Engine as StoreEngine;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::error::PageError;
use super::palette::encoded;
use super::parts::{empty, facet, filter_bar};
use super::shell::Head;
use super::view::View;
use crate::show::{grouped, visible};

/// Lines that the page begins with.
pub(crate) const LINES_MAX: usize = 200;
/// Apps in the list to choose from; any other is typed into the address.
const APPS_MAX: usize = 500;
/// Apps that a sentence about lines that are not shown names.
const MISSED_NAMED_MAX: usize = 3;

/// Which lines.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    app: String,
    source: String,
    process: String,
    level: String,
    /// A text, or an expression between slashes.
    q: String,
    /// What is to be marked, besides what was asked for; the same forms.
    highlight: String,
}

impl Asked {
    pub(crate) fn query(&self) -> LineQuery {
        LineQuery {
            app: self.app.clone(),
            source: self.source.clone(),
            process: self.process.clone(),
            level: self.level.clone(),
            text: self.q.clone(),
        }
    }

    /// What is asked for, for where the fields are folded away.
    fn in_words(&self) -> String {
        let parts = [
            ("app", &self.app),
            ("source", &self.source),
            ("process", &self.process),
            ("level", &self.level),
            ("text", &self.q),
            ("highlight", &self.highlight),
        ];
        let asked = parts.iter().filter(|(_, value)| !value.is_empty());
        let asked: Vec<String> = asked.map(|(name, value)| format!("{name} {}", visible(value))).collect();
        if asked.is_empty() { "Narrow the lines".to_owned() } else { format!("Narrowed: {}", asked.join(", ")) }
    }

    /// As part of an address, with the parts that ask something.
    fn address(&self) -> String {
        let parts = [
            ("app", &self.app),
            ("source", &self.source),
            ("process", &self.process),
            ("level", &self.level),
            ("q", &self.q),
            ("highlight", &self.highlight),
        ];
        parts.iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut out, (name, value)| {
            // Writing to a String does not fail.
            let _written = write!(out, "&{name}={}", encoded(value));
            out
        })
    }
}

/// How lines are written: for whom, and what is marked in them.
pub(crate) struct Pen {
    view: View,
    marks: Vec<Expression>,
}

impl Pen {
    /// For this view; marks what the filter looks for and what `highlight` says, if that can be read.
    pub(crate) fn new(view: View, asked: &Asked) -> Self {
        let marks = [&asked.q, &asked.highlight].into_iter().filter_map(|text| Expression::read(text).ok().flatten());
        Self { view, marks: marks.collect() }
    }

    fn line(&self, line: &SeenLine) -> Markup {
        let zone = &self.view.look.zone;
        let app = encoded(&line.app_name);
        let level = line.level.filter(|level| *level >= LogLevel::Warning);
        html! {
            li.matched[line.alert.is_some()] data-line=(line.id) data-level=[level.map(LogLevel::as_str)] {
                span.from {
                    time datetime=(line.at) title=(zone.full(line.at)) { (zone.precise(line.at)) } " "
                    a.app href={ "/live?app=" (app) } { (visible(&line.app_name)) } " "
                    span.process { (line.source.as_str()) "[" (visible(&line.process)) "]" }
                }
                code { (self.text(&line.text)) @if line.cut_bytes > 0 { " … [" (line.cut_bytes) " bytes cut]" } }
                span.about {
                    @if let Some(alert) = line.alert { a.caused href={ "/alerts/" (alert) } { "alert" } " " }
                    a.line href={ "/lines?app=" (app) "&line=" (line.id) } aria-label="About this line" { "⋯" }
                }
            }
        }
    }

    /// The text with what was looked for set off.
    fn text(&self, text: &str) -> Markup {
        html! {
            @for (part, is_marked) in self.parts(text) { @if is_marked { mark { (visible(part)) } } @else { (visible(part)) } }
        }
    }

    /// The text in pieces, each with whether it was looked for.
    fn parts<'t>(&self, text: &'t str) -> Vec<(&'t str, bool)> {
        let mut ranges: Vec<_> = self.marks.iter().flat_map(|wanted| wanted.found_in(text)).collect();
        ranges.sort_by_key(|range| (range.start, std::cmp::Reverse(range.end)));
        let (mut parts, mut at) = (Vec::new(), 0);
        for range in ranges {
            if range.start < at {
                continue;
            }
            parts.extend(text.get(at..range.start).map(|part| (part, false)));
            parts.extend(text.get(range.clone()).map(|part| (part, true)));
            at = range.end;
        }
        parts.extend(text.get(at..).map(|part| (part, false)));
        parts
    }
}

/// What the stream sends.
#[derive(Serialize)]
struct Sent<'a> {
    /// Whether it stands in the place of all that is there.
    replace: bool,
    html: String,
    /// How many lines it holds.
    lines: usize,
    /// Lines that are not shown.
    missed: u64,
    /// Lines and the alerts they caused.
    marks: Vec<(String, String)>,
    /// Why there is nothing, if that is so.
    problem: Option<&'a str>,
}

impl Sent<'_> {
    fn json(&self) -> String {
        // Text and numbers always become JSON.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// A batch, as the stream sends it.
pub(crate) fn batch_json(pen: &Pen, batch: &Batch) -> String {
    let html = html! {
        @if !batch.missed.is_empty() { li.gap { (missed_words(&batch.missed)) } }
        @for line in &batch.lines { (pen.line(line)) }
    };
    let marks = batch.marks.iter().map(|(line, alert)| (line.to_string(), alert.to_string())).collect();
    let missed = batch.missed.iter().map(|(_, n)| n).sum();
    let html = html.into_string();
    Sent { replace: false, html, lines: batch.lines.len(), missed, marks, problem: None }.json()
}

/// Where a stream begins: in the place of what the page was loaded with.
pub(crate) fn recent_json(pen: &Pen, recent: &Recent) -> String {
    let html = list_items(pen, recent).into_string();
    Sent { replace: true, html, lines: recent.lines.len(), missed: 0, marks: Vec::new(), problem: None }.json()
}

/// Why a stream of lines does not begin.
pub(crate) fn refused_json(problem: &str) -> String {
    let problem = Some(problem);
    Sent { replace: false, html: String::new(), lines: 0, missed: 0, marks: Vec::new(), problem }.json()
}

fn list_items(pen: &Pen, recent: &Recent) -> Markup {
    html! {
        @if !recent.missed.is_empty() { li.gap { (missed_words(&recent.missed)) } }
        @for line in &recent.lines { (pen.line(line)) }
    }
}

/// How many lines of which apps are not shown; the loudest by name.
fn missed_words(missed: &[(String, u64)]) -> String {
    let mut missed: Vec<&(String, u64)> = missed.iter().collect();
    missed.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
    let all: u64 = missed.iter().map(|(_, n)| n).sum();
    let named = missed.iter().take(MISSED_NAMED_MAX).map(|(app, n)| format!("{} of {}", grouped(*n), visible(app)));
    let mut named: Vec<String> = named.collect();
    if missed.len() > MISSED_NAMED_MAX {
        named.push(format!("others of {} more apps", missed.len() - MISSED_NAMED_MAX));
    }
    format!("{} more line{} not shown: {}", grouped(all), if all == 1 { "" } else { "s" }, named.join(", "))
}

/// The newest lines, read where it holds up nobody.
pub(crate) async fn recent(view: &View, filter: LineFilter) -> Result<Recent, PageError> {
    let engine = view.web.engine.clone();
    let read = tokio::task::spawn_blocking(move || engine.recent_lines(&filter, LINES_MAX)).await;
    read.map_err(|error| {
        tracing::error!(%error, "the newest lines could not be read");
        PageError::new(StatusCode::INTERNAL_SERVER_ERROR, "The newest lines could not be read.")
    })
}

/// The page.
pub(crate) async fn show(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |_| PageError::new(StatusCode::BAD_REQUEST, "The link to this page is cut off or was changed.");
    let Query(asked) = query.map_err(bad)?;
    let mut problems = Vec::new();
    if let Err(problem) = Expression::read(&asked.highlight) {
        problems.push(QueryProblem { part: "highlight", text: problem });
    }
    let filter = asked.query().read().map_err(|more| problems.extend(more)).ok();
    let recent = match filter {
        Some(filter) => Some(recent(&view, filter).await?),
        None => None,
    };
    let stream = format!("&live=1{}", asked.address());
    let head = Head::new("Live", "/live").tail(recent.is_some().then_some(stream.as_str()));
    let pen = Pen::new(view.clone(), &asked);
    Ok(view.page(
        &head,
        &html! {
            div.title-row {
                h1 { "Live" }
                div.buttons {
                    a.button href=(view.here) data-tail-refresh { "Refresh" }
                    button type="button" data-tail-pause data-key="p" aria-pressed="false" hidden { "Pause" }
                }
            }
            details.fold open[!problems.is_empty()] {
                summary { (asked.in_words()) }
                (filter_bar("/live", &filters(&view, &asked, &problems), asked.query() != LineQuery::default()))
            }
            @match &recent {
                Some(recent) => (lines(&view, &pen, recent)),
                None => p.problem role="alert" { "Nothing is shown: what was asked for cannot be read. It is said at the field what is wrong." },
            }
        },
    ))
}

fn lines(view: &View, pen: &Pen, recent: &Recent) -> Markup {
    html! {
        p #tail-status.quiet role="status" { (status(view, recent)) }
        @if recent.apps == 0 && recent.lines.is_empty() {
            div data-tail-empty { (empty("No line yet.", &html! { "What arrives from now on stands here. " a href="/connect" { "Connect an app" } })) }
        } @else if recent.lines.is_empty() {
            div data-tail-empty { (empty("None of the newest lines fits.", &html! { "What fits from now on stands here. " a href="/live" { "Show all lines" } })) }
        }
        div #tail.tail tabindex="0" role="log" aria-live="off" aria-label="Lines of the log, the newest last" {
            ol.log { (list_items(pen, recent)) }
        }
        @if view.web.engine.store().engine() == StoreEngine::Postgres {
            p.quiet { "Where several processes share a database, each shows the lines that reached it." }
        }
    }
}

fn status(view: &View, recent: &Recent) -> Markup {
    let n = recent.lines.len();
    html! {
        "The newest " (n) " line" @if n != 1 { "s" } " that fit, of " (recent.apps) " app" @if recent.apps != 1 { "s" }
        @if let Some(from) = recent.from { ", looked for back to " (view.look.zone.clock(from)) }
        ". Secrets are masked."
        @if recent.apps_left_out > 0 { " " (recent.apps_left_out) " more apps have lines: choose one." }
    }
}

fn filters(view: &View, asked: &Asked, problems: &[QueryProblem]) -> Markup {
    let mut apps: Vec<String> = view.web.engine.apps().iter().map(|app| app.name.clone()).collect();
    apps.sort_unstable();
    let apps: Vec<_> = apps.into_iter().take(APPS_MAX).map(|name| (name.clone(), view.outside(&name))).collect();
    let sources = ["app", "heroku"].map(|name| (name.to_owned(), name.to_owned()));
    let levels = LogLevel::ALL.map(|level| (level.as_str().to_owned(), at_least(level)));
    html! {
        (facet("app", "App", &apps, &asked.app))
        (facet("source", "Source", &sources, &asked.source))
        (text_facet(&TextFacet { name: "process", label: "Process", hint: "web or worker.2", size: 12, of: "process" }, &asked.process, problems))
        (facet("level", "Level", &levels, &asked.level))
        (text_facet(&TextFacet { name: "q", label: "Text or /expression/", hint: "timeout or /took \\d{4} ms/", size: 26, of: "text" }, &asked.q, problems))
        (text_facet(&TextFacet { name: "highlight", label: "Highlight", hint: "request_id", size: 16, of: "highlight" }, &asked.highlight, problems))
        @for part in ["app", "source", "level"] { @for problem in problems.iter().filter(|problem| problem.part == part) { p.problem { "✕ " (visible(&problem.text)) } } }
    }
}

fn at_least(level: LogLevel) -> String {
    if level == LogLevel::Critical { level.as_str().to_owned() } else { format!("{} or worse", level.as_str()) }
}

/// A field of the filter that is typed into.
struct TextFacet {
    name: &'static str,
    label: &'static str,
    hint: &'static str,
    size: u8,
    /// The part of the filter it fills.
    of: &'static str,
}

fn text_facet(facet: &TextFacet, value: &str, problems: &[QueryProblem]) -> Markup {
    let problem = problems.iter().find(|problem| problem.part == facet.of);
    let about = format!("{}-problem", facet.name);
    html! {
        label.facet {
            span { (facet.label) }
            input type="search" name=(facet.name) value=(value) size=(facet.size) maxlength=(QUERY_BYTES_MAX) placeholder=(facet.hint) autocomplete="off" spellcheck="false" aria-invalid=[problem.map(|_| "true")] aria-describedby=[problem.map(|_| &about)];
            @if let Some(problem) = problem { small.problem id=(about) { "✕ " (visible(&problem.text)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_said_in_words() {
        let of = |list: &[(&str, u64)]| {
            missed_words(&list.iter().map(|(app, n)| ((*app).to_owned(), *n)).collect::<Vec<_>>())
        };
        assert_eq!(of(&[("shop", 1)]), "1 more line not shown: 1 of shop");
        assert_eq!(
            of(&[("a", 1), ("b", 2_000), ("c", 3), ("d", 4), ("e<b>", 5)]),
            "2\u{202f}013 more lines not shown: 2\u{202f}000 of b, 5 of e<b>, 4 of d, others of 2 more apps"
        );
    }

    #[test]
    fn the_address_holds_what_was_asked_for() {
        let asked = Asked { app: "shop".into(), q: "/a&b/".into(), ..Asked::default() };
        assert_eq!(asked.address(), "&app=shop&q=%2Fa%26b%2F");
        assert_eq!(Asked::default().address(), "");
    }
}
