//! One line of the log or of an alert's evidence, by itself: what is known of it, a way to make a rule of it, and the line
//! as it came for operators, once, in exchange for an entry in the audit log.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State as Shared};
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::AlertId;
use dynowatch_domain::account::Role;
use dynowatch_engine::tail::{FoundLine, LineId, SeenLine};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::palette::encoded;
use super::shell::Head;
use super::view::View;
use crate::router::Web;
use crate::show::visible;
use crate::viewer::OperatorOnly;

/// The longest reason.
const WHY_CHARS_MAX: usize = 200;

/// Which line: one of the log by app and name, or one of an alert's evidence by its place.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    app: Option<String>,
    line: Option<String>,
    alert: Option<String>,
    n: Option<usize>,
    /// Why somebody wants to see it as it came.
    why: String,
}

/// A line that was found, with the alert whose evidence it is.
pub(crate) struct Line {
    pub(crate) found: FoundLine,
    /// The alert and the place in its evidence.
    evidence: Option<(AlertId, usize)>,
}

impl Wanted {
    /// Whether a line is named at all.
    pub(crate) fn is_named(&self) -> bool {
        self.line.is_some() || self.alert.is_some()
    }

    /// Finds it.
    pub(crate) async fn find(&self, web: &Web) -> Result<Line, PageError> {
        match (&self.alert, &self.app, &self.line) {
            (Some(alert), ..) => self.find_evidence(web, alert).await,
            (None, Some(app), Some(line)) => find_in_log(web, app, line),
            _ => Err(PageError::not_found("There is no such line: the link is cut off or was changed.")),
        }
    }

    async fn find_evidence(&self, web: &Web, alert: &str) -> Result<Line, PageError> {
        let gone =
            || PageError::not_found("There is no such line: the link is cut off, or the alert is not kept any more.");
        let id: AlertId = alert.parse().map_err(|_wrong| gone())?;
        let place = self.n.ok_or_else(gone)?;
        let alert = web.engine.store().alert(id).await?;
        let line = alert.evidence.get(place).ok_or_else(gone)?;
        let found = web.engine.evidence_line(alert.row.key.app, &alert.row.app_name, line);
        let seen = SeenLine { alert: found.seen.alert.or(Some(id)), ..found.seen };
        Ok(Line { found: FoundLine { seen, ..found }, evidence: Some((id, place)) })
    }
}

fn find_in_log(web: &Web, app: &str, line: &str) -> Result<Line, PageError> {
    let directory = web.engine.apps();
    let app = directory.by_name(app).ok_or_else(|| PageError::not_found("There is no app of that name."))?;
    let id: Option<LineId> = line.parse().ok();
    let found = id.and_then(|id| web.engine.find_line(app, id));
    let found = found.ok_or_else(|| {
        PageError::not_found(
            "This line is gone. Lines are not archived: the newest of each app are held in memory, by the process they reached, for seconds or minutes. What caused an alert is kept with it.",
        )
    })?;
    Ok(Line { found, evidence: None })
}

impl Line {
    /// The names of the fields that lead to it, with their values.
    fn fields(&self) -> Vec<(&'static str, String)> {
        match self.evidence {
            Some((alert, place)) => vec![("alert", alert.to_string()), ("n", place.to_string())],
            None => vec![("app", self.found.seen.app_name.clone()), ("line", self.found.seen.id.to_string())],
        }
    }

    /// As part of an address.
    fn address(&self) -> String {
        let fields = self.fields();
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect::<Vec<_>>().join("&")
    }

    /// What the audit log calls it: never its text.
    fn subject(&self) -> String {
        let seen = &self.found.seen;
        format!("{} {}[{}] {}", seen.app_name, seen.source.as_str(), seen.process, seen.at)
    }

    fn place_in_words(&self) -> String {
        match self.evidence {
            Some((alert, place)) => format!("line {} of the evidence of alert {alert}", place + 1),
            None => format!("line {} of the log", self.found.seen.id),
        }
    }
}

/// The page about it.
pub(crate) async fn show(view: View, query: Result<Query<Wanted>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |_| PageError::not_found("There is no such line: the link is cut off or was changed.");
    let Query(wanted) = query.map_err(bad)?;
    let line = wanted.find(&view.web).await?;
    Ok(page(&view, &line, None))
}

/// The line as it came, once. Nothing is shown unless it is written down who saw it.
pub(crate) async fn reveal(
    Shared(web): Shared<Arc<Web>>,
    view: View,
    OperatorOnly(viewer): OperatorOnly,
    axum::Form(wanted): axum::Form<Wanted>,
) -> Result<Html<String>, PageError> {
    let line = wanted.find(&web).await?;
    if !line.found.seen.is_masked {
        return Err(PageError::new(StatusCode::CONFLICT, "Nothing in this line is masked: it is shown as it came."));
    }
    let why: String = web.engine.masker().mask(wanted.why.trim()).chars().take(WHY_CHARS_MAX).collect();
    let detail = line.place_in_words() + if why.is_empty() { "" } else { ": " } + &why;
    let act = viewer.actor().did("line.reveal", line.subject()).with(detail);
    web.engine.store().audit(&act, web.engine.now()).await?;
    tracing::info!(by = viewer.actor_name(), app = line.found.seen.app_name, "a line was revealed");
    let raw = String::from_utf8_lossy(&line.found.raw).into_owned();
    Ok(page(&view, &line, Some(&raw)))
}

fn page(view: &View, line: &Line, raw: Option<&str>) -> Html<String> {
    let seen = &line.found.seen;
    let back = match line.evidence {
        Some((alert, _)) => (format!("/alerts/{alert}"), "Alert"),
        None => (format!("/live?app={}", encoded(&seen.app_name)), "Live"),
    };
    let crumbs = [(back.0.as_str(), back.1)];
    let place = if line.evidence.is_some() { "/alerts" } else { "/live" };
    let head = Head::new("A line of the log", place).below(&crumbs);
    view.page(
        &head,
        &html! {
            div.title-row {
                h1 { "A line of " (visible(&seen.app_name)) }
                @if view.viewer.may(Role::Operator) { a.button.primary href={ "/rules/new?" (line.address()) } { "Make a rule" } }
            }
            pre.one-line { code { (visible(&seen.text)) @if seen.cut_bytes > 0 { " … [" (seen.cut_bytes) " bytes cut]" } } }
            @match raw {
                Some(raw) => section {
                    h2 { "As it came" }
                    pre.one-line.raw { code { (visible(raw)) } }
                    p.quiet role="status" { "Shown this once. The audit log says that you saw it." }
                },
                None if seen.is_masked => (reveal_form(view, line)),
                None => p.quiet { "Nothing in it is masked." },
            }
            section.card {
                dl.facts {
                    dt { "When" } dd { (view.moment_ago(seen.at)) }
                    dt { "Written by" } dd { (seen.source.as_str()) "[" (visible(&seen.process)) "]" }
                    dt { "Level" } dd { (seen.level.map_or("it says none", |level| level.as_str())) }
                    @if let Some(alert) = seen.alert { dt { "Caused" } dd { a href={ "/alerts/" (alert) } { "an alert" } } }
                }
            }
        },
    )
}

fn reveal_form(view: &View, line: &Line) -> Markup {
    html! {
        @if view.viewer.may(Role::Operator) {
            form.form method="post" action="/lines/reveal" {
                (view.viewer.csrf_field())
                @for (name, value) in line.fields() { input type="hidden" name=(name) value=(value); }
                div.field {
                    label for="why" { "Why" }
                    input #why type="text" name="why" maxlength=(WHY_CHARS_MAX) autocomplete="off" aria-describedby="why-about";
                    p.hint #why-about { "Need not be said. The audit log keeps it, with who saw which line and when." }
                }
                div.buttons { button type="submit" { "Reveal" } }
            }
        } @else {
            p.quiet { "What looks like a secret is masked. An operator can reveal it; the audit log says who did." }
        }
    }
}
