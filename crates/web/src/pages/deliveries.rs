//! The deliveries, newest first: every message with its state, its attempts and the provider's answers. In `demo` this is
//! where messages are read.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_store::StoreError;
use dynowatch_store::deliveries::{Attempt, Delivery, DeliveryFilter};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::palette::encoded;
use super::partial;
use super::parts::{State, chips, empty, facet, filter_bar, glyph, older};
use super::shell::Head;
use super::view::View;
use crate::api::deliveries::{cursor_of, page as page_of};
use crate::events::Topic;
use crate::router::Web;
use crate::show::{ago, message, visible};

/// Deliveries on one page.
const PAGE_MAX: u32 = 20;

/// Which page.
#[derive(Deserialize)]
pub(crate) struct Asked {
    cursor: Option<String>,
    #[serde(default)]
    state: String,
    #[serde(default)]
    receiver: String,
}

impl Asked {
    fn href(&self, state: &str, cursor: Option<&str>) -> String {
        let mut parts = Vec::new();
        if !state.is_empty() {
            parts.push(format!("state={state}"));
        }
        if !self.receiver.is_empty() {
            parts.push(format!("receiver={}", encoded(&self.receiver)));
        }
        parts.extend(cursor.map(|cursor| format!("cursor={cursor}")));
        if parts.is_empty() { "/deliveries".to_owned() } else { format!("/deliveries?{}", parts.join("&")) }
    }
}

/// Attempts of a message that stand open, the newest.
const ATTEMPTS_SHOWN: usize = 2;

/// A message with its attempts.
pub(super) struct Message {
    delivery: Delivery,
    attempts: Vec<Attempt>,
}

/// The page.
pub(crate) async fn show(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |what| PageError::new(StatusCode::BAD_REQUEST, what);
    let Query(asked) = query.map_err(|_| bad("The link to this page is cut off or was changed."))?;
    let state = Some(asked.state.as_str())
        .filter(|name| !name.is_empty())
        .map(|name| DeliveryState::named(name).ok_or_else(|| bad("There is no such state of a delivery.")))
        .transpose()?;
    let before =
        cursor_of(asked.cursor.as_deref()).map_err(|_| bad("The link to this page is cut off or was changed."))?;
    let receiver = Some(asked.receiver.clone()).filter(|name| !name.is_empty());
    let is_live = state.is_none() && before.is_none() && receiver.is_none();
    let filter = DeliveryFilter { state, before, receiver, limit: PAGE_MAX + 1, ..DeliveryFilter::default() };
    let (rows, next) = page_of(view.web.engine.store().deliveries(&filter).await?, PAGE_MAX);
    let messages = with_attempts(&view.web, &rows, PAGE_MAX as usize).await?;
    let states = [("", "All"), ("pending", "Pending"), ("sent", "Sent"), ("failed", "Failed")]
        .map(|(name, words)| (asked.href(name, None), words, asked.state == name));
    let receivers: Vec<(String, String)> =
        view.web.engine.receivers().names().map(|name| (name.to_owned(), visible(name))).collect();
    let topics: &[Topic] = if is_live { &[Topic::Deliveries] } else { &[] };
    Ok(view.page(
        &Head::new("Deliveries", "/deliveries").live(topics),
        &html! {
            div.title-row { h1 { "Deliveries" } }
            (chips("State", states))
            (filter_bar("/deliveries", &html! {
                @if !asked.state.is_empty() { input type="hidden" name="state" value=(asked.state); }
                (facet("receiver", "Receiver", &receivers, &asked.receiver))
            }, !asked.receiver.is_empty()))
            div #newest-deliveries { (list(&view, &messages)) }
            (older(next.map(|next| asked.href(&asked.state, Some(&next))), "Older deliveries"))
        },
    ))
}

/// The newest deliveries, for pages that are open.
pub(crate) async fn live(view: &View) -> Result<Markup, PageError> {
    let filter = DeliveryFilter { limit: PAGE_MAX, ..DeliveryFilter::default() };
    let rows = view.web.engine.store().deliveries(&filter).await?;
    let messages = with_attempts(&view.web, &rows, PAGE_MAX as usize).await?;
    Ok(partial("newest-deliveries", &list(view, &messages)))
}

fn list(view: &View, messages: &[Message]) -> Markup {
    html! {
        @if messages.is_empty() {
            (empty("No delivery here.", &html! { "An alert of a rule with a receiver makes one; " code { "dynowatch receiver test NAME" } " tries one out." }))
        }
        @for message in messages { (message_card(view, message, true)) }
    }
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

/// How a delivery's state looks.
pub(super) fn state_of(state: DeliveryState) -> State {
    match state {
        DeliveryState::Pending => State::Unknown,
        DeliveryState::Sent => State::Up,
        DeliveryState::Failed => State::Down,
    }
}

/// One message. `links` says what it tells and leads to its alert, where the page is not the alert's own.
pub(super) fn message_card(view: &View, one: &Message, links: bool) -> Markup {
    let delivery = &one.delivery;
    let title = view.outside(&delivery.notice.title());
    html! {
        article.message id=(delivery.id) {
            p.line {
                span.state.(state_of(delivery.state).class()) { (glyph(state_of(delivery.state))) span { (delivery.state.as_str()) } }
                " to " strong { (visible(&delivery.receiver)) } " " span.quiet { (view.moment_ago(delivery.intended_at)) }
            }
            @if links { p.title { @match delivery.alert { Some(alert) => a href={ "/alerts/" (alert) } { (title) }, None => (title) } } }
            @if let Some(detail) = &delivery.detail { p.down { "Given up: " (view.outside(detail)) } }
            @if delivery.state == DeliveryState::Pending { p { "Next attempt " (ago(delivery.next_attempt_at, view.now)) "." } }
            @if delivery.state != DeliveryState::Sent { (attempts(view, one)) }
            details id={ "more-" (delivery.id) } {
                summary { @if delivery.state == DeliveryState::Sent { "The message and the answer" } @else { "The message" } }
                pre { (message(&view.web.engine, &delivery.notice)) }
                @if delivery.state == DeliveryState::Sent { (attempts(view, one)) }
            }
        }
    }
}

fn attempts(view: &View, one: &Message) -> Markup {
    // A receiver that is away for an hour has many, each with the same answer.
    let shown = if one.attempts.len() > ATTEMPTS_SHOWN + 1 { ATTEMPTS_SHOWN } else { one.attempts.len() };
    let (earlier, newest) = one.attempts.split_at(one.attempts.len() - shown);
    let list =
        |attempts: &[Attempt]| html! { ol.attempts { @for attempt in attempts { (attempt_row(view, attempt)) } } };
    html! {
        @if one.attempts.is_empty() { p.quiet { "Not attempted yet." } }
        @if !earlier.is_empty() { details { summary { (earlier.len()) " earlier attempts" } (list(earlier)) } }
        @if !newest.is_empty() { (list(newest)) }
    }
}

fn attempt_row(view: &View, attempt: &Attempt) -> Markup {
    html! {
        li {
            "Attempt " (attempt.number) ", " (view.moment(attempt.started_at)) ": "
            (attempt.outcome.as_deref().unwrap_or("no outcome known"))
            @if let Some(detail) = attempt.detail.as_deref().filter(|detail| !detail.is_empty()) { ", " q { (view.outside(detail)) } }
        }
    }
}
