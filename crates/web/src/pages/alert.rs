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
use super::{layout, moment, moment_ago, outside, reference};
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
        Some(now),
        &page(&web, &alert, &messages, &title, now),
    ))
}

fn page(web: &Web, alert: &Alert, messages: &[Message], title: &str, now: Timestamp) -> Markup {
    let row = &alert.row;
    let details = &row.details;
    html! {
        (headline(row, title))
        @if !details.meaning.is_empty() { p.lead { (details.meaning) } }
        (facts(web, row, now))
        @if !details.first_command.is_empty() { section { h2 { "First command" } pre.command { code { (visible(&details.first_command)) } } } }
        @if !details.usual_causes.is_empty() { section { h2 { "Usual causes" } ul { @for cause in &details.usual_causes { li { (cause) } } } } }
        (evidence(web, &alert.evidence))
        section {
            h2 { "Why" }
            @if alert.decisions.is_empty() { p { "No decision is kept." } }
            ol.decisions {
                @for (at, effect) in &alert.decisions {
                    li { (moment(*at)) br; (outside(web, &decision(effect, &details.condition, &details.receivers))) }
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
                pre.command { code { "dynowatch alerts resolve " (shell_word(title)) } }
            }
        }
    }
}

fn headline(row: &AlertRow, title: &str) -> Markup {
    let severity = row.severity.map_or("unknown", |severity| severity.as_str());
    let class = if row.state == AlertState::Resolved { "good" } else { severity };
    html! {
        p.tags { span.tag.(class) { (row.state.as_str()) } " " span.tag.(severity) { (severity) } }
        h1 { (title) }
    }
}

fn facts(web: &Web, row: &AlertRow, now: Timestamp) -> Markup {
    let details = &row.details;
    let measured = measured(&details.condition, &row.facts);
    let grew = row.state != AlertState::Resolved && !details.measured.is_empty() && details.measured != measured;
    html! {
        dl.facts {
            dt { "Condition" }
            dd { (measured) " in " (details.window) " (threshold " (details.threshold) ")" }
            @if grew { dt { "When it fired" } dd { (details.measured) } }
            dt { "App" } dd { (visible(&row.app_name)) @if details.app_name != row.app_name { ", then named " (visible(&details.app_name)) } }
            @for (name, value) in row.key.group.pairs() { dt { (name) } dd { (outside(web, value)) } }
            dt { "Fired" } dd { (moment_ago(row.since, now)) }
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
    let why = match line.role {
        Role::Match => None,
        Role::SameDyno => Some("same dyno"),
        Role::SameRequest => Some("same request"),
    };
    html! { li { @if let Some(why) = why { span.tag { (why) } " " } code { (outside(web, &line.show())) } } }
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
