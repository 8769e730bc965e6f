//! The page that a message links to. Made for a phone at night: what is wrong and how badly, since when, what to do, the
//! proof, what changed; then why it fired, why it was or was not sent, and what became of each message.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State as Shared};
use axum::response::{Html, Redirect};
use dynowatch_domain::AlertId;
use dynowatch_domain::account::Role;
use dynowatch_domain::evidence::{EvidenceLine, Role as LineRole};
use dynowatch_domain::rule::Severity;
use dynowatch_engine::checks::alerts::RULE_PREFIX;
use dynowatch_store::alerts::{Alert, AlertRow, AlertState};
use maud::{Markup, html};

use super::alerts::state_of;
use super::deliveries::{Message, message_card, with_attempts};
use super::error::PageError;
use super::palette::encoded;
use super::partial;
use super::parts::{copyable, is_link, prose, reference, verdict};
use super::rules::refused;
use super::shell::Head;
use super::view::View;
use crate::events::Topic;
use crate::router::Web;
use crate::show::{decision, measured, resolved_because, shell_word, visible};
use crate::viewer::OperatorOnly;

/// Messages whose attempts are shown; a long storm has many.
const MESSAGES_MAX: usize = 20;
/// Lines around the matches that are shown at once; the others are one tap away.
const AROUND_SHOWN: usize = 6;

/// The page.
pub(crate) async fn show(
    Shared(web): Shared<Arc<Web>>,
    view: View,
    id: Result<Path<String>, PathRejection>,
) -> Result<Html<String>, PageError> {
    let id = alert_id(id)?;
    let alert = web.engine.store().alert(id).await?;
    let messages = with_attempts(&web, &alert.deliveries, MESSAGES_MAX).await?;
    let row = &alert.row;
    let title = view.outside(&row.key.show(&row.app_name).to_string());
    let page_title = format!("{} · {title}", row.state.as_str());
    // What is over does not change; its messages may still.
    let topics = [Topic::Alert(id)];
    let head = Head::new(&page_title, "/alerts").below(&[("/alerts", "Alerts")]).live(&topics);
    Ok(view.page(
        &head,
        &html! {
            div #alert-head { (top(&view, row)) }
            div.columns {
                div.main-column {
                    div #alert-evidence { (evidence(&view, id, &alert.evidence)) }
                    div #alert-why { (why(&view, &alert)) }
                    div #alert-messages { (messages_section(&view, &alert, &messages)) }
                }
                aside aria-label="About this alert" {
                    div #alert-facts { (facts(&view, row)) }
                    div #alert-guidance { (guidance(row)) }
                    div #alert-close { (close_it(&view, row)) }
                }
            }
        },
    ))
}

/// What of it changes while people look.
pub(crate) async fn live(view: &View, id: AlertId) -> Result<Markup, PageError> {
    let alert = view.web.engine.store().alert(id).await?;
    let messages = with_attempts(&view.web, &alert.deliveries, MESSAGES_MAX).await?;
    Ok(html! {
        (partial("alert-head", &top(view, &alert.row)))
        (partial("alert-facts", &facts(view, &alert.row)))
        (partial("alert-evidence", &evidence(view, id, &alert.evidence)))
        (partial("alert-why", &why(view, &alert)))
        (partial("alert-messages", &messages_section(view, &alert, &messages)))
        // What changes is made once for all who look; the way to close it is each one's own, until there is nothing to close.
        @if alert.row.state != AlertState::Firing { (partial("alert-close", &html! {})) }
    })
}

/// Closes it, whatever its condition says. One that is over stays as it is, and what has fired since under its key is not
/// touched: who pressed had not seen it.
pub(crate) async fn resolve(
    Shared(web): Shared<Arc<Web>>,
    OperatorOnly(viewer): OperatorOnly,
    id: Result<Path<String>, PathRejection>,
) -> Result<Redirect, PageError> {
    let id = alert_id(id)?;
    let AlertRow { key, app_name, state, .. } = web.engine.store().alert(id).await?.row;
    if state == AlertState::Firing {
        let by = viewer.actor();
        let was_open = web.engine.close_alert(&key.show(&app_name).to_string(), &by).await.map_err(refused)?;
        tracing::info!(by = by.name, alert = %id, was_open, "alert closed");
    }
    Ok(Redirect::to(&format!("/alerts/{id}")))
}

fn alert_id(id: Result<Path<String>, PathRejection>) -> Result<AlertId, PageError> {
    let id = id.ok().and_then(|Path(id)| id.parse().ok());
    id.ok_or_else(|| PageError::not_found("There is no such alert: the link is cut off or was changed."))
}

/// The verdict, and below it what a thumb reaches for.
fn top(view: &View, row: &AlertRow) -> Markup {
    let details = &row.details;
    let severity = row.severity.map_or("unknown", Severity::as_str);
    let below = html! {
        p.measured { strong { (measured(&details.condition, &row.facts)) } @if !details.window.is_empty() { " in " (details.window) } " · limit " (details.threshold) @if row.state == AlertState::Firing { " · as of " (view.moment_ago(row.facts.at)) } }
        p.quiet {
            @match row.resolved_at {
                Some(at) => { "over since " (view.moment_ago(at)) },
                None => { "since " (view.moment_ago(row.since)) },
            }
        }
        @if !details.meaning.is_empty() { p.meaning { (prose(&details.meaning)) } }
    };
    let sentence = html! { span.eyebrow { (row.state.as_str()) " · " (severity) } " " (view.alert_name(row)) };
    html! {
        (verdict(state_of(row), &sentence, &below))
        nav.actions aria-label="What to do" {
            @if let Some(runbook) = details.runbook.as_ref().filter(|runbook| is_link(runbook)) { a.button.primary href=(runbook) rel="noreferrer noopener" { "Runbook" } }
            a.button href="#evidence" { "Evidence" }
            a.button href="#why" { "Why" }
            @if row.state == AlertState::Firing { a.button href="#alert-close" { "Close it" } }
            @if let Some(check) = row.key.rule.strip_prefix(RULE_PREFIX) { a.button href={ "/checks/" (encoded(check)) } { "The check" } }
            a.button href={ "/alerts?app=" (encoded(&row.app_name)) } { "This app" }
        }
    }
}

fn facts(view: &View, row: &AlertRow) -> Markup {
    let details = &row.details;
    let measured = measured(&details.condition, &row.facts);
    let grew = row.state != AlertState::Resolved && !details.measured.is_empty() && details.measured != measured;
    html! {
        section.card {
            h2 { "What changed" }
            p.release { (view.outside(&details.release_sentence)) }
            dl.facts {
                @if details.app_name != row.app_name { dt { "App" } dd { (view.outside(&row.app_name)) ", then named " (view.outside(&details.app_name)) } }
                @if row.resolved_at.is_some() { dt { "Fired" } dd { (view.moment_ago(row.since)) } }
                @if grew { dt { "Fired with" } dd { (details.measured) } }
                dt { "First event" } dd { (view.moment_ago(row.facts.first_at)) }
                dt { "Newest event" } dd { (view.moment_ago(row.facts.last_at)) }
                @if let Some(at) = row.resolved_at { dt { "Over" } dd { (view.moment_ago(at)) @if let Some(reason) = &row.resolve_reason { ": " (visible(&resolved_because(reason))) } } }
                @if !details.lower_bound.is_empty() { dt { "Lower bound" } dd { (details.lower_bound.join("; ")) } }
                @if let Some(runbook) = &details.runbook { dt { "Runbook" } dd { (reference(runbook)) } }
                @if let Some(previous) = row.previous { dt { "Before it" } dd { a href={ "/alerts/" (previous) } { "the alert before" } } }
                dt { "Alike" } dd { a href={ "/alerts?rule=" (encoded(&row.key.rule)) } { "alerts of this rule" } }
            }
        }
    }
}

fn guidance(row: &AlertRow) -> Markup {
    let details = &row.details;
    html! {
        @if !details.first_command.is_empty() || !details.usual_causes.is_empty() {
            section.card {
                @if !details.first_command.is_empty() { h2 { "First command" } (copyable(&details.first_command)) }
                @if !details.usual_causes.is_empty() { h2 { "Usual causes" } ul { @for cause in &details.usual_causes { li { (prose(cause)) } } } }
            }
        }
    }
}

fn close_it(view: &View, row: &AlertRow) -> Markup {
    let told = row.told && row.details.send_resolved;
    html! {
        @if let (AlertState::Firing, Some(id)) = (row.state, row.id) {
            section.card {
                h2 { "Close it" }
                p { "It closes by itself when its condition has been false for long enough. Closed now, it opens again when its rule fires anew." }
                @if view.viewer.may(Role::Operator) {
                    div.buttons {
                        form method="post" action={ "/alerts/" (id) "/resolve" } {
                            (view.viewer.csrf_field())
                            button type="submit" { "Close this alert" }
                        }
                    }
                    p.quiet { @if told { "Who was told of it is told that it is over." } @else { "Nobody is told." } }
                } @else {
                    p { "From a terminal:" }
                    (copyable(&format!("dynowatch alerts resolve {}", shell_word(&view.outside(&row.key.show(&row.app_name).to_string())))))
                }
            }
        }
    }
}

fn evidence(view: &View, alert: AlertId, lines: &[EvidenceLine]) -> Markup {
    let (matches, around): (Vec<_>, Vec<_>) =
        lines.iter().enumerate().partition(|(_, line)| line.role == LineRole::Match);
    let log_line = |(place, line): &(usize, &EvidenceLine)| log_line(view, alert, *place, line);
    html! {
        section #evidence {
            h2 { "Evidence" }
            @if lines.is_empty() { p { "No line: it is their absence or their share that counts." } }
            @if !matches.is_empty() { ol.lines { @for line in &matches { (log_line(line)) } } }
            @if !around.is_empty() {
                h3 { "Around it" }
                ol.lines { @for line in around.iter().take(AROUND_SHOWN) { (log_line(line)) } }
                @if around.len() > AROUND_SHOWN {
                    details #around-more {
                        summary { (around.len() - AROUND_SHOWN) " more lines around it" }
                        ol.lines { @for line in around.iter().skip(AROUND_SHOWN) { (log_line(line)) } }
                    }
                }
            }
        }
    }
}

fn log_line(view: &View, alert: AlertId, place: usize, line: &EvidenceLine) -> Markup {
    let process = String::from_utf8_lossy(&line.process);
    let text = String::from_utf8_lossy(&line.text);
    html! {
        li.matched[line.role == LineRole::Match] {
            div.from {
                time datetime=(line.at) title=(line.at) { (view.look.zone.clock(line.at)) } " " span { (line.source.as_str()) "[" (view.outside(&process)) "]" }
                @match line.role {
                    LineRole::Match => {},
                    LineRole::SameDyno => { " · same dyno" },
                    LineRole::SameRequest => { " " span.tag.info { "same request" } },
                }
                a.about href={ "/lines?alert=" (alert) "&n=" (place) } aria-label="About this line" { "⋯" }
            }
            code { (view.outside(&text)) @if line.cut_bytes > 0 { " … [" (line.cut_bytes) " bytes cut]" } }
        }
    }
}

fn why(view: &View, alert: &Alert) -> Markup {
    let details = &alert.row.details;
    html! {
        section #why {
            h2 { "Why" }
            @if alert.decisions.is_empty() { p.quiet { "No decision is kept." } } @else {
                ol.timeline {
                    @for (at, effect) in &alert.decisions {
                        li { p.when { (view.moment(*at)) } p { (view.outside(&decision(effect, &details.condition, &details.receivers))) } }
                    }
                }
            }
        }
    }
}

fn messages_section(view: &View, alert: &Alert, messages: &[Message]) -> Markup {
    html! {
        section {
            h2 { "Deliveries" }
            @if messages.is_empty() { p { (unsent(&alert.row)) } }
            @for message in messages { (message_card(view, message, false)) }
            @if alert.deliveries.len() > messages.len() { p { "The newest " (messages.len()) " are shown; " a href="/deliveries" { "all deliveries" } "." } }
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
