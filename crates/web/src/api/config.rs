//! Reading the configuration again. The file is the binary's; here it is only asked for.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use tokio::sync::oneshot;
use utoipa::ToSchema;

use super::error::{ApiError, ErrorBody};
use crate::auth::Actor;
use crate::router::{ReloadRequest, Web};

/// A reload that takes longer is still going on; its outcome is in the log.
const RELOAD_TIME_MAX: Duration = Duration::from_secs(20);

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// Always true: an error has another form.
    reloaded: bool,
}

/// Reads the configuration file again, as SIGHUP does. Windows, cool-downs and open alerts stay; with an error, all stays.
#[utoipa::path(post, path = "/api/v1/config/reload", tag = "config", responses(
    (status = 200, description = "The new configuration is in force.", body = Reloaded),
    (status = 422, description = "It has errors, all of them in `detail`; the old one stays in force.", body = ErrorBody),
    (status = 503, description = "It cannot be read now.", body = ErrorBody)))]
pub(crate) async fn reload(State(web): State<Arc<Web>>, actor: Actor) -> Result<Json<Reloaded>, ApiError> {
    tracing::info!(actor = actor.0.name, "the configuration is to be read again");
    web.engine.store().audit(&actor.0.did("config.reload", ""), web.engine.now()).await?;
    let (reply, outcome) = oneshot::channel();
    let busy = |message: &str| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "busy", message);
    web.reload
        .try_send(ReloadRequest { reply })
        .map_err(|_| busy("a reload is going on, or this process is stopping; try again"))?;
    match tokio::time::timeout(RELOAD_TIME_MAX, outcome).await {
        Ok(Ok(Ok(()))) => Ok(Json(Reloaded { reloaded: true })),
        Ok(Ok(Err(problems))) => {
            let error = ApiError::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "config_invalid",
                "the configuration has errors; the one in force stays",
            );
            Err(error.with_detail(problems))
        }
        Ok(Err(_)) => Err(busy("the reload was given up; this process is stopping")),
        Err(_) => Err(busy("the reload takes long and is still going on; its outcome will be in the log")),
    }
}
