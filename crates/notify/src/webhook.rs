//! Webhooks: one JSON object by POST, signed. Its shape is a promise, described in docs/webhook.md; a change that a
//! reader could stumble over raises [`VERSION`].
//!
//! The signature is over the body alone, and the body holds the delivery's id and the moment of sending: a reader that
//! checks the signature can trust both, and refuse what is old or was seen before.

use std::collections::BTreeMap;

use data_encoding::HEXLOWER;
use dynowatch_domain::Timestamp;
use dynowatch_domain::alert::NoticeKind;
use dynowatch_domain::delivery::{Outcome, Outgoing};
use dynowatch_domain::rule::Severity;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sha2::Sha256;

use crate::channel::{Attempt, Channel};
use crate::http;
use crate::receivers::{Problem, parse_url};

/// Of the body's shape.
const VERSION: u32 = 1;
/// Carries [`signature`].
pub const SIGNATURE_HEADER: &str = "X-Dynowatch-Signature";

/// One URL.
pub(crate) struct Webhook {
    client: Client,
    url: reqwest::Url,
    secret: Option<SecretString>,
}

impl Webhook {
    pub(crate) fn new(client: Client, url: &str, secret: Option<SecretString>) -> Result<Self, Problem> {
        if secret.as_ref().is_some_and(|secret| secret.expose_secret().is_empty()) {
            return Err(Problem::EmptySecret);
        }
        Ok(Self { client, url: parse_url("url", url)?, secret })
    }

    async fn attempt(&self, outgoing: &Outgoing, now: Timestamp) -> Outcome {
        let body = match body(outgoing, now) {
            Ok(body) => body,
            Err(error) => {
                return Outcome::Rejected { detail: format!("cannot be written as JSON: {error}") };
            }
        };
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("Idempotency-Key", outgoing.id.to_string());
        if let Some(secret) = &self.secret {
            request = request.header(SIGNATURE_HEADER, signature(secret, body.as_bytes()));
        }
        let mut response = match http::send(request.body(body)).await {
            Ok(response) => response,
            Err(outcome) => return outcome,
        };
        let retry_after = http::retry_after(response.headers(), now);
        let status = response.status();
        // The status decides; the body, if it arrives, only adds words.
        let words = http::read_capped(&mut response).await.map(|body| http::excerpt(&body)).unwrap_or_default();
        let mut detail = format!("HTTP {}", status.as_u16());
        if !words.is_empty() {
            detail = format!("{detail}: {words}");
        }
        if status.is_redirection() {
            detail.push_str(" (redirects are not followed: set the final URL)");
        }
        Outcome::of_status(status.as_u16(), retry_after, detail)
    }
}

impl Channel for Webhook {
    fn kind(&self) -> &'static str {
        "webhook"
    }

    fn deliver<'a>(&'a self, outgoing: &'a Outgoing, now: Timestamp) -> Attempt<'a> {
        Box::pin(self.attempt(outgoing, now))
    }
}

/// `sha256=` and the lower-case hex HMAC-SHA256 of the body's bytes.
#[must_use]
pub fn signature(secret: &SecretString, body: &[u8]) -> String {
    // A key of any length is taken; the error exists for other algorithms' sake, and an empty signature fails safe.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()) else {
        return String::new();
    };
    mac.update(body);
    format!("sha256={}", HEXLOWER.encode(&mac.finalize().into_bytes()))
}

/// The body, in the order of docs/webhook.md.
#[derive(Serialize)]
struct Body<'a> {
    version: u32,
    delivery_id: String,
    receiver: &'a str,
    sent_at: String,
    possible_duplicate: bool,
    kind: &'static str,
    status: &'static str,
    alert_id: Option<String>,
    key: &'a str,
    rule: &'a str,
    severity: Severity,
    app: &'a str,
    group: BTreeMap<&'a str, &'a str>,
    title: String,
    meaning: &'a str,
    measured: &'a str,
    threshold: &'a str,
    window: &'a str,
    at: String,
    first_at: String,
    last_at: String,
    resolved_at: Option<String>,
    suppressed: u64,
    lower_bound: &'a [String],
    evidence: &'a [String],
    release: &'a str,
    runbook: Option<&'a str>,
    link: Option<&'a str>,
    text: String,
}

fn body(outgoing: &Outgoing, now: Timestamp) -> serde_json::Result<String> {
    let notice = &outgoing.notice;
    let status = match notice.kind {
        NoticeKind::Test => "test",
        NoticeKind::Resolved => "resolved",
        NoticeKind::Firing | NoticeKind::StillFiring if notice.resolved_at.is_some() => "resolved",
        NoticeKind::Firing | NoticeKind::StillFiring => "firing",
    };
    serde_json::to_string(&Body {
        version: VERSION,
        delivery_id: outgoing.id.to_string(),
        receiver: &outgoing.receiver,
        sent_at: now.to_string(),
        possible_duplicate: outgoing.possible_duplicate,
        kind: notice.kind.as_str(),
        status,
        alert_id: notice.alert.map(|id| id.to_string()),
        key: &notice.key,
        rule: &notice.rule,
        severity: notice.severity,
        app: &notice.app,
        group: notice.group.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
        title: notice.title(),
        meaning: &notice.meaning,
        measured: &notice.measured,
        threshold: &notice.threshold,
        window: &notice.window,
        at: notice.at.to_string(),
        first_at: notice.first_at.to_string(),
        last_at: notice.last_at.to_string(),
        resolved_at: notice.resolved_at.map(|at| at.to_string()),
        suppressed: notice.suppressed,
        lower_bound: &notice.lower_bound,
        evidence: &notice.evidence,
        release: &notice.release,
        runbook: notice.runbook.as_deref(),
        link: notice.link.as_deref(),
        text: notice.text(),
    })
}

#[cfg(test)]
#[path = "webhook_tests.rs"]
mod tests;
