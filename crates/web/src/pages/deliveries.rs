//! The messages as they were sent, newest first: state, attempts, the provider's answers. In `demo` this is where
//! messages are read.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_store::StoreError;
use dynowatch_store::deliveries::{Attempt, Delivery, DeliveryFilter};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::overview::{distinct, state_class};
use super::{layout, moment, moment_ago, outside};
use crate::api::deliveries::{cursor_of, page as page_of};
use crate::router::Web;
use crate::show::{ago, message, visible};

/// Messages on one page.
const PAGE_MAX: u32 = 20;

/// Which page.
#[derive(Deserialize)]
pub(crate) struct PageQuery {
    cursor: Option<String>,
    state: Option<String>,
}

/// A message with its attempts.
pub(super) struct Message {
    delivery: Delivery,
    attempts: Vec<Attempt>,
}

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let bad = |what| PageError::new(StatusCode::BAD_REQUEST, what);
    let Query(query) = query.map_err(|_| bad("The link to this page is cut off or was changed."))?;
    let state = query
        .state
        .as_deref()
        .map(|name| DeliveryState::named(name).ok_or_else(|| bad("There is no such state of a message.")))
        .transpose()?;
    let before =
        cursor_of(query.cursor.as_deref()).map_err(|_| bad("The link to this page is cut off or was changed."))?;
    let filter = DeliveryFilter { state, before, limit: PAGE_MAX + 1, ..DeliveryFilter::default() };
    let (rows, next) = page_of(web.engine.store().deliveries(&filter).await?, PAGE_MAX);
    let messages = with_attempts(&web, &rows, PAGE_MAX as usize).await?;
    let now = web.engine.now();
    let receivers = distinct(rows.iter().map(|row| row.receiver.as_str()));
    Ok(layout(
        "Messages",
        "/deliveries",
        Some(now),
        &html! {
            h1 { "Messages" }
            nav.filter aria-label="Filter" {
                a href="/deliveries" aria-current=[state.is_none().then_some("page")] { "All" }
                @for one in [DeliveryState::Pending, DeliveryState::Sent, DeliveryState::Failed] {
                    a href={ "/deliveries?state=" (one.as_str()) } aria-current=[(state == Some(one)).then_some("page")] { (one.as_str()) }
                }
            }
            @if messages.is_empty() { p { "No message here. An alert of a rule with a receiver sends one; " code { "dynowatch receiver test NAME" } " tries one out." } }
            @else { p.quiet { "To " (receivers.join(", ")) ", newest first." } }
            @for message in &messages { (message_card(&web, message, now, true)) }
            @if let Some(next) = next {
                p { a.next rel="next" href={ "/deliveries?cursor=" (next) @if let Some(state) = state { "&state=" (state.as_str()) } } { "Older messages" } }
            }
        },
    ))
}

/// The first `max` deliveries with their attempts.
pub(super) async fn with_attempts(web: &Web, deliveries: &[Delivery], max: usize) -> Result<Vec<Message>, PageError> {
    let mut messages = Vec::new();
    for delivery in deliveries.iter().take(max) {
        match web.engine.store().delivery(delivery.id).await {
            Ok((delivery, attempts)) => messages.push(Message { delivery, attempts }),
            // Swept since it was listed.
            Err(StoreError::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(messages)
}

/// One message. `links` says what it tells and leads to its alert, where the page is not the alert's own.
pub(super) fn message_card(web: &Web, one: &Message, now: Timestamp, links: bool) -> Markup {
    let delivery = &one.delivery;
    let title = outside(web, &delivery.notice.title());
    html! {
        article.message id=(delivery.id) {
            @if links { p.title { @match delivery.alert { Some(alert) => a href={ "/alerts/" (alert) } { (title) }, None => (title) } } }
            p {
                span.tag.(state_class(delivery.state)) { (delivery.state.as_str()) }
                " to " strong { (visible(&delivery.receiver)) } " " span.quiet { (moment_ago(delivery.intended_at, now)) }
            }
            @if let Some(detail) = &delivery.detail { p.bad { "Given up: " (outside(web, detail)) } }
            @if delivery.state == DeliveryState::Pending { p { "Next attempt " (ago(delivery.next_attempt_at, now)) "." } }
            @if delivery.state != DeliveryState::Sent { (attempts(web, one)) }
            details {
                summary { @if delivery.state == DeliveryState::Sent { "The message and the answer" } @else { "The message" } }
                pre { (message(&web.engine, &delivery.notice)) }
                @if delivery.state == DeliveryState::Sent { (attempts(web, one)) }
            }
        }
    }
}

fn attempts(web: &Web, one: &Message) -> Markup {
    html! {
        @if one.attempts.is_empty() { p.quiet { "Not attempted yet." } } @else { ol.attempts { @for attempt in &one.attempts { (attempt_row(web, attempt)) } } }
    }
}

fn attempt_row(web: &Web, attempt: &Attempt) -> Markup {
    html! {
        li {
            "Attempt " (attempt.number) ", " (moment(attempt.started_at)) ": "
            (attempt.outcome.as_deref().unwrap_or("no outcome known"))
            @if let Some(detail) = attempt.detail.as_deref().filter(|detail| !detail.is_empty()) { ", " q { (outside(web, detail)) } }
        }
    }
}
