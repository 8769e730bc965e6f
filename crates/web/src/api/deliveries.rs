//! Deliveries: every message, where it stands, and every attempt.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use dynowatch_domain::DeliveryId;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_store::deliveries::{Attempt, Delivery, DeliveryCursor, DeliveryFilter};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::{Asked, Named, Page, Time, id, limit, time_and_id, time_cursor};
use crate::router::Web;
use crate::show::{masked, message};

/// A delivery in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliverySummary {
    /// Its id; also the idempotency key of every attempt.
    pub(crate) id: String,
    /// The alert it tells of; `null` for a test.
    alert: Option<String>,
    /// To whom.
    receiver: String,
    /// `firing`, `still_firing`, `resolved` or `test`.
    kind: &'static str,
    /// `pending`, `sent` or `failed`.
    state: &'static str,
    /// The message's first line.
    title: String,
    /// How many attempts were begun.
    attempts: u32,
    /// Since when it is to be sent.
    intended_at: Time,
    /// When the next attempt is due, while it is pending.
    next_attempt_at: Option<Time>,
    /// When it was sent or given up.
    finished_at: Option<Time>,
    /// Why it was given up.
    detail: Option<String>,
}

/// A delivery with its attempts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeliveryDetail {
    /// As in the list.
    #[serde(flatten)]
    summary: DeliverySummary,
    /// The whole message as plain text.
    text: String,
    /// Its attempts, the first first.
    attempt_log: Vec<AttemptInfo>,
}

/// One attempt.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AttemptInfo {
    /// From 1.
    number: u32,
    /// The process that made it.
    worker: String,
    /// When it began.
    started_at: Time,
    /// When its outcome was known.
    finished_at: Option<Time>,
    /// `accepted`, `unknown` (no answer: perhaps accepted), `retry`, `misconfigured` or `rejected`; `null` while it lasts,
    /// and when the process died meanwhile.
    outcome: Option<String>,
    /// What the receiver said, or what happened.
    detail: Option<String>,
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeliveriesQuery {
    /// Only to the receiver of that name.
    receiver: Option<String>,
    /// `pending`, `sent` or `failed`.
    state: Option<String>,
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// Deliveries, newest first.
#[utoipa::path(get, path = "/api/v1/deliveries", tag = "deliveries", params(DeliveriesQuery), responses(
    (status = 200, description = "A page of deliveries.", body = Page<DeliverySummary>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    Asked(query): Asked<DeliveriesQuery>,
) -> Result<Json<Page<DeliverySummary>>, ApiError> {
    let limit = limit(query.limit)?;
    let state = query
        .state
        .as_deref()
        .map(|name| {
            DeliveryState::named(name)
                .ok_or_else(|| ApiError::bad_request(&format!("state is {name:?}: write pending, sent or failed")))
        })
        .transpose()?;
    let before = cursor_of(query.cursor.as_deref())?;
    let filter = DeliveryFilter { receiver: query.receiver, state, alert: None, before, limit: limit + 1 };
    let (rows, next_cursor) = page(web.engine.store().deliveries(&filter).await?, limit);
    Ok(Json(Page { items: rows.iter().map(|row| summary(&web, row)).collect(), next_cursor }))
}

/// One delivery with its attempts.
#[utoipa::path(get, path = "/api/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path, description = "The delivery's id.")), responses(
    (status = 200, description = "The delivery.", body = DeliveryDetail),
    (status = 404, description = "No such delivery.", body = ErrorBody)))]
pub(crate) async fn show(State(web): State<Arc<Web>>, Named(given): Named) -> Result<Json<DeliveryDetail>, ApiError> {
    let (delivery, attempts) = web.engine.store().delivery(DeliveryId(id(&given, "delivery")?)).await?;
    Ok(Json(DeliveryDetail {
        summary: summary(&web, &delivery),
        text: message(&web.engine, &delivery.notice),
        attempt_log: attempts.into_iter().map(|attempt| self::attempt(&web, attempt)).collect(),
    }))
}

/// Where a page of deliveries begins.
pub(crate) fn cursor_of(given: Option<&str>) -> Result<Option<DeliveryCursor>, ApiError> {
    Ok(time_and_id(given)?.map(|(intended_at, id)| DeliveryCursor { intended_at, id: DeliveryId(id) }))
}

/// The first `limit` rows, and where the next page begins if there are more.
pub(crate) fn page(mut rows: Vec<Delivery>, limit: u32) -> (Vec<Delivery>, Option<String>) {
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows.last().filter(|_| more).map(|row| time_cursor(row.intended_at, row.id.0));
    (rows, next)
}

pub(crate) fn summary(web: &Web, delivery: &Delivery) -> DeliverySummary {
    DeliverySummary {
        id: delivery.id.to_string(),
        alert: delivery.alert.map(|id| id.to_string()),
        receiver: delivery.receiver.clone(),
        kind: delivery.kind.as_str(),
        state: delivery.state.as_str(),
        title: masked(&web.engine, &delivery.notice.title()),
        attempts: delivery.attempts,
        intended_at: delivery.intended_at.into(),
        next_attempt_at: Some(delivery.next_attempt_at.into()).filter(|_| delivery.state == DeliveryState::Pending),
        finished_at: delivery.finished_at.map(Time),
        detail: delivery.detail.as_deref().map(|text| masked(&web.engine, text)),
    }
}

fn attempt(web: &Web, attempt: Attempt) -> AttemptInfo {
    AttemptInfo {
        number: attempt.number,
        worker: attempt.worker,
        started_at: attempt.started_at.into(),
        finished_at: attempt.finished_at.map(Time),
        outcome: attempt.outcome,
        detail: attempt.detail.map(|text| masked(&web.engine, &text)),
    }
}
