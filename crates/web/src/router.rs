//! The whole URL surface.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use dynowatch_engine::Engine;
use secrecy::SecretString;
use tokio::sync::{mpsc, oneshot};

use crate::drain::Drain;

/// What the router is made of.
pub struct WebOptions {
    /// The engine behind all answers.
    pub engine: Engine,
    /// The drain endpoint, for its state.
    pub drain: Arc<Drain>,
    /// Tokens from the environment, besides those in the store.
    pub api_tokens: Vec<SecretString>,
    /// Where to ask for the configuration to be read again.
    pub reload: mpsc::Sender<ReloadRequest>,
}

/// Someone asked for the configuration to be read again.
pub struct ReloadRequest {
    /// Takes the outcome; an error is what is wrong with the new configuration.
    pub reply: oneshot::Sender<Result<(), String>>,
}

/// Everything but the drain endpoint.
pub fn router(options: WebOptions) -> Router {
    let _options = options;
    Router::new().route("/healthz", get(|| async { "ok" }))
}
