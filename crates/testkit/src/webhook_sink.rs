//! The far end of a webhook receiver: keeps bodies and headers, and checks signatures when it was given a secret.

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::http_fake::{Fake, Protocol, Reading, Received};

/// See [`Fake`] for scripts and assertions. Addresses are paths.
pub type WebhookSink = Fake<Webhook>;

/// Carries `sha256=` and the hex HMAC-SHA256 of the body's bytes.
pub const SIGNATURE_HEADER: &str = "x-dynowatch-signature";

/// The protocol of [`WebhookSink`].
pub struct Webhook {
    secret: Option<String>,
}

/// An accepted message.
#[derive(Clone, Debug)]
pub struct WebhookMessage {
    /// The body, which must be JSON.
    pub body: Value,
    /// The request it came with, body bytes and headers included.
    pub request: Received,
}

impl WebhookMessage {
    /// The `Idempotency-Key` header.
    #[must_use]
    pub fn idempotency_key(&self) -> Option<&str> {
        self.request.header("idempotency-key")
    }
}

impl WebhookSink {
    /// Takes everything that is JSON, signed or not.
    pub async fn start() -> Self {
        Self::serve(Webhook { secret: None }).await
    }

    /// Refuses with 401 what is not signed with this secret.
    pub async fn start_with_secret(secret: &str) -> Self {
        Self::serve(Webhook { secret: Some(secret.to_owned()) }).await
    }
}

impl Protocol for Webhook {
    type Message = WebhookMessage;

    const BASE_PATH: &'static str = "/hook";

    fn read(&self, request: &Received) -> Reading<WebhookMessage> {
        if let Some(secret) = &self.secret {
            let expected = signature(secret, &request.body);
            if request.header(SIGNATURE_HEADER) != Some(&expected) {
                return Reading::Reply((401, json!({"error": "wrong or missing signature"})));
            }
        }
        match serde_json::from_slice(&request.body) {
            Ok(body) => Reading::Message(request.path.clone(), WebhookMessage { body, request: request.clone() }),
            Err(error) => Reading::Reply((400, json!({"error": error.to_string()}))),
        }
    }

    fn accepted(&self, _message: &WebhookMessage, number: usize) -> (u16, Value) {
        (200, json!({"received": number}))
    }
}

/// The value of [`SIGNATURE_HEADER`], computed here a second time so that a test does not trust the sender's code.
///
/// # Panics
/// Never: HMAC takes keys of any length.
#[must_use]
pub fn signature(secret: &str, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::signature;

    #[test]
    fn signs_like_rfc_4231() {
        // Test case 2 of RFC 4231.
        assert_eq!(
            signature("Jefe", b"what do ya want for nothing?"),
            "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }
}
