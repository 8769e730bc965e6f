//! Receivers: their names and kinds, how their messages fare, and trying one out. Their secrets are not known here.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_store::deliveries::DeliveryCount;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::{ApiError, ErrorBody};
use super::{Asked, Named, Page, by_name};
use crate::auth::Actor;
use crate::router::Web;

/// A receiver.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReceiverInfo {
    /// The name that rules use.
    name: String,
    /// `slack`, `webhook` or `log`.
    kind: &'static str,
    /// Messages on their way.
    pending: u64,
    /// Messages it accepted, as far as they are kept.
    sent: u64,
    /// Messages given up, as far as they are kept.
    failed: u64,
}

/// Which receivers.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReceiversQuery {
    /// Items at most, 1 to 200; 50 when not given.
    limit: Option<u32>,
    /// What `next_cursor` gave.
    cursor: Option<String>,
}

/// A test message on its way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Testing {
    /// Its delivery; what came of it is at `GET /api/v1/deliveries/{id}`.
    delivery: String,
}

/// Receivers, by name.
#[utoipa::path(get, path = "/api/v1/receivers", tag = "receivers", params(ReceiversQuery), responses(
    (status = 200, description = "A page of receivers.", body = Page<ReceiverInfo>),
    (status = 400, description = "A parameter is wrong.", body = ErrorBody)))]
pub(crate) async fn list(
    State(web): State<Arc<Web>>,
    Asked(query): Asked<ReceiversQuery>,
) -> Result<Json<Page<ReceiverInfo>>, ApiError> {
    let counts = web.engine.store().delivery_counts().await?;
    let receivers = web.engine.receivers();
    let (page, next_cursor) =
        by_name(receivers.iter(), |receiver| &receiver.name, query.limit, query.cursor.as_deref())?;
    let items = page.into_iter().map(|receiver| ReceiverInfo {
        name: receiver.name.clone(),
        kind: receiver.kind(),
        pending: count(&counts, &receiver.name, DeliveryState::Pending),
        sent: count(&counts, &receiver.name, DeliveryState::Sent),
        failed: count(&counts, &receiver.name, DeliveryState::Failed),
    });
    Ok(Json(Page { items: items.collect(), next_cursor }))
}

fn count(counts: &[DeliveryCount], receiver: &str, state: DeliveryState) -> u64 {
    counts.iter().filter(|count| count.receiver == receiver && count.state == state).map(|count| count.count).sum()
}

/// Puts a marked test message into the outbox, where it takes the way of every message.
#[utoipa::path(post, path = "/api/v1/receivers/{name}/test", tag = "receivers", params(("name" = String, Path, description = "The receiver's name.")), responses(
    (status = 202, description = "It is on its way.", body = Testing),
    (status = 404, description = "No receiver of that name.", body = ErrorBody)))]
pub(crate) async fn test(
    State(web): State<Arc<Web>>,
    actor: Actor,
    Named(name): Named,
) -> Result<(StatusCode, Json<Testing>), ApiError> {
    let delivery = web.engine.test_receiver(&name, &actor.0).await?;
    tracing::info!(actor = actor.0.name, receiver = name, %delivery, "test message intended");
    Ok((StatusCode::ACCEPTED, Json(Testing { delivery: delivery.to_string() })))
}
