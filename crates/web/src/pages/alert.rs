//! The page that a message links to. Made for a phone at night: what is wrong and how badly, since when, the proof, what
//! changed, what to type first; then why it fired, and why it was or was not sent.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::Html;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::{AlertId, Timestamp};
use dynowatch_store::alerts::{Alert, AlertRow, AlertState};
use maud::{Markup, html};

use super::deliveries::{Message, message_card, with_attempts};
use super::error::PageError;
use super::{alert_name, command, layout, moment, moment_ago, outside, prose, reference};
use crate::router::Web;
use crate::show::{decision, measured, resolved_because, shell_word, visible};

/// Messages whose attempts are shown; a long storm has many.
const MESSAGES_MAX: usize = 20;

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Html<String>, PageError> {
    let id: Option<AlertId> = id.ok().and_then(|Path(id)| id.parse().ok());
    let id = id.ok_or_else(|| PageError::not_found("There is no such alert: the link is cut off or was changed."))?;
    let alert = web.engine.store().alert(id).await?;
    let messages = with_attempts(&web, &alert.deliveries, MESSAGES_MAX).await?;
    let now = web.engine.now();
    let title = outside(&web, &alert.row.key.show(&alert.row.app_name).to_string());
    Ok(layout(
        &format!("{} · {title}", alert.row.state.as_str()),
        "",
        Some(now),
        &page(&web, &alert, &messages, &title, now),
    ))
}

fn page(web: &Web, alert: &Alert, messages: &[Message], title: &str, now: Timestamp) -> Markup {
    let row = &alert.row;
    let details = &row.details;
    html! {
        (headline(web, row, now))
        @if !details.meaning.is_empty() { p.lead { (prose(&details.meaning)) } }
        (facts(web, row, now))
        @if !details.first_command.is_empty() { section { h2 { "First command" } (command(&details.first_command)) } }
        @if !details.usual_causes.is_empty() { section { h2 { "Usual causes" } ul { @for cause in &details.usual_causes { li { (prose(cause)) } } } } }
        (evidence(web, &alert.evidence))
        section {
            h2 { "Why" }
            @if alert.decisions.is_empty() { p.quiet { "No decision is kept." } } @else {
                ol.decisions {
                    @for (at, effect) in &alert.decisions {
                        li { p { (moment(*at)) } p { (outside(web, &decision(effect, &details.condition, &details.receivers))) } }
                    }
                }
            }
        }
        section {
            h2 { "Messages" }
            @if messages.is_empty() { p { (unsent(row)) } }
            @for message in messages { (message_card(web, message, now, false)) }
            @if alert.deliveries.len() > messages.len() { p { "The newest " (messages.len()) " are shown; " a href="/deliveries" { "all messages" } "." } }
        }
        @if row.state == AlertState::Firing {
            section {
                h2 { "Close it" }
                p { "It closes by itself when its condition has been false for long enough. To close it now:" }
                (command(&format!("dynowatch alerts resolve {}", shell_word(title))))
            }
        }
    }
}

/// The verdict: state, what, how badly, since when.
fn headline(web: &Web, row: &AlertRow, now: Timestamp) -> Markup {
    let severity = row.severity.map_or("unknown", |severity| severity.as_str());
    let class = if row.state == AlertState::Resolved { "good" } else { severity };
    let details = &row.details;
    html! {
        div.verdict.(class) {
            p { (row.state.as_str()) " · " (severity) }
            h1 { (alert_name(web, row)) }
            p.measured { (measured(&details.condition, &row.facts)) " in " (details.window) " (threshold " (details.threshold) ")" }
            p.quiet {
                @match row.resolved_at {
                    Some(at) => { "over since " (moment_ago(at, now)) },
                    None => { "since " (moment_ago(row.since, now)) },
                }
            }
        }
    }
}

fn facts(web: &Web, row: &AlertRow, now: Timestamp) -> Markup {
    let details = &row.details;
    let measured = measured(&details.condition, &row.facts);
    let grew = row.state != AlertState::Resolved && !details.measured.is_empty() && details.measured != measured;
    html! {
        dl.facts {
            @if details.app_name != row.app_name { dt { "App" } dd { (outside(web, &row.app_name)) ", then named " (outside(web, &details.app_name)) } }
            @if row.resolved_at.is_some() { dt { "Fired" } dd { (moment_ago(row.since, now)) } }
            @if grew { dt { "Fired with" } dd { (details.measured) } }
            dt { "First event" } dd { (moment_ago(row.facts.first_at, now)) }
            dt { "Newest event" } dd { (moment_ago(row.facts.last_at, now)) }
            @if let Some(at) = row.resolved_at { dt { "Over" } dd { (moment_ago(at, now)) @if let Some(reason) = &row.resolve_reason { ": " (visible(&resolved_because(reason))) } } }
            @if !details.lower_bound.is_empty() { dt { "Lower bound" } dd { (details.lower_bound.join("; ")) } }
            dt { "Release" } dd { (outside(web, &details.release_sentence)) }
            @if let Some(runbook) = &details.runbook { dt { "Runbook" } dd { (reference(runbook)) } }
            @if let Some(previous) = row.previous { dt { "Before it" } dd { a href={ "/alerts/" (previous) } { "the alert before" } } }
        }
    }
}

fn evidence(web: &Web, lines: &[EvidenceLine]) -> Markup {
    let (matches, around): (Vec<_>, Vec<_>) = lines.iter().partition(|line| line.role == Role::Match);
    html! {
        section {
            h2 { "Evidence" }
            @if lines.is_empty() { p { "No line: it is their absence or their share that counts." } }
            @if !matches.is_empty() { ol.lines { @for line in matches { (log_line(web, line)) } } }
            @if !around.is_empty() { h3 { "Around it" } ol.lines { @for line in around { (log_line(web, line)) } } }
        }
    }
}

fn log_line(web: &Web, line: &EvidenceLine) -> Markup {
    let process = String::from_utf8_lossy(&line.process);
    let text = String::from_utf8_lossy(&line.text);
    html! {
        li {
            div.from {
                time datetime=(line.at) { (line.at) } " " span { (line.source.as_str()) "[" (outside(web, &process)) "]" }
                @match line.role {
                    Role::Match => {},
                    Role::SameDyno => { " · same dyno" },
                    Role::SameRequest => { " " span.tag.same { "same request" } },
                }
            }
            code { (outside(web, &text)) @if line.cut_bytes > 0 { " … [" (line.cut_bytes) " bytes cut]" } }
        }
    }
}

fn unsent(row: &AlertRow) -> &'static str {
    if row.details.receivers.is_empty() {
        "None: the rule has no receiver, so the alert is recorded and shown, but sent to nobody."
    } else if row.told {
        "None is kept any more."
    } else {
        "None yet: see above for why."
    }
}
