//! Errors of the API: one form for all, `{"error": {"code", "message", "detail"?}}`. `code` is for programs and stable,
//! `message` for people. What only an operator may know goes to the log.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dynowatch_engine::checks::operate::CheckProblem;
use dynowatch_engine::operate::OperateError;
use dynowatch_store::StoreError;
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every answer that is not 2xx.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    error: ErrorInfo,
}

/// What went wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorInfo {
    /// One of `bad_request`, `unauthorized`, `forbidden`, `not_found`, `method_not_allowed`, `conflict`,
    /// `too_large`, `too_many_requests`, `config_invalid`, `store_away`, `store_full`, `busy`, `internal`, `no_heroku_key`,
    /// `fir`, `heroku`, `two_factor`.
    code: &'static str,
    /// In words.
    message: String,
    /// More, where there is more, such as the errors of a configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}

/// An answer that says why not.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    info: ErrorInfo,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: &str) -> Self {
        Self { status, info: ErrorInfo { code, message: message.to_owned(), detail: None } }
    }

    pub(crate) fn with_detail(mut self, detail: String) -> Self {
        self.info.detail = Some(detail);
        self
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_found(message: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(ErrorBody { error: self.info })).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound(_) => Self::not_found(&error.to_string()),
            StoreError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", &error.to_string()),
            StoreError::Unavailable(_) => {
                tracing::warn!(%error, "a request could not be answered");
                Self::new(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "store_away",
                    "the store does not answer; nothing was changed, or it is not known to be: look, then try again",
                )
            }
            StoreError::Full(_) => {
                tracing::error!(%error, "a request could not be answered");
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "store_full", "the store is full; nothing was changed")
            }
            error => {
                tracing::error!(%error, "a request could not be answered");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "a fault in dynowatch; its log says more")
            }
        }
    }
}

impl From<CheckProblem> for ApiError {
    fn from(error: CheckProblem) -> Self {
        match error {
            CheckProblem::NoCheck { .. } => Self::not_found(&error.to_string()),
            CheckProblem::Store(error) => error.into(),
        }
    }
}

impl From<OperateError> for ApiError {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::NoApp { .. } | OperateError::NoRule { .. } | OperateError::NoReceiver { .. } => {
                Self::not_found(&error.to_string())
            }
            OperateError::BadName(_) | OperateError::BadKey(_) => Self::bad_request(&error.to_string()),
            OperateError::Store(error) => error.into(),
        }
    }
}
