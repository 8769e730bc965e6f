//! Slack: `chat.postMessage` with a bot token. Owns the request and what Slack's answers mean; how a message looks is
//! `slack_message`'s.
//!
//! Slack answers 200 even when it refuses, with `ok: false` and a reason; the reason decides whether trying again can
//! help. `client_msg_id` and the header `Idempotency-Key` carry the delivery's id on every attempt.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{Outcome, Outgoing};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;

use crate::channel::{Attempt, Channel};
use crate::receivers::{Problem, parse_url};
use crate::{http, slack_message};

/// One channel or direct message.
pub(crate) struct Slack {
    client: Client,
    url: reqwest::Url,
    channel: String,
    authorization: HeaderValue,
}

/// The parts of an answer that matter here.
#[derive(Debug, Deserialize)]
struct Answer {
    ok: bool,
    error: Option<String>,
    channel: Option<String>,
    ts: Option<String>,
    /// The scope that `missing_scope` misses.
    needed: Option<String>,
}

impl Slack {
    pub(crate) fn new(client: Client, channel: &str, token: &SecretString, api_url: &str) -> Result<Self, Problem> {
        if channel.trim().is_empty() {
            return Err(Problem::EmptyChannel);
        }
        let token = token.expose_secret().trim();
        if token.is_empty() {
            return Err(Problem::EmptyToken);
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| Problem::InvalidToken)?;
        authorization.set_sensitive(true);
        let url = parse_url("api_url", &format!("{}/chat.postMessage", api_url.trim_end_matches('/')))?;
        Ok(Self { client, url, channel: channel.trim().to_owned(), authorization })
    }

    async fn attempt(&self, outgoing: &Outgoing, now: Timestamp) -> Outcome {
        let message = slack_message::message(&self.channel, outgoing);
        match self.post(outgoing, &message, now).await {
            // Our layout must not cost a page its delivery: the same in plain text.
            Err(Refusal::Layout(reason)) => {
                let plain = slack_message::plain_message(&self.channel, outgoing);
                match self.post(outgoing, &plain, now).await {
                    Ok(Outcome::Accepted { detail }) => {
                        Outcome::Accepted { detail: format!("{detail}, in plain text: the layout met {reason}") }
                    }
                    Ok(outcome) => outcome,
                    Err(Refusal::Layout(reason)) => Outcome::Rejected { detail: refused(&reason, None) },
                }
            }
            Ok(outcome) => outcome,
        }
    }

    async fn post(&self, outgoing: &Outgoing, message: &Value, now: Timestamp) -> Result<Outcome, Refusal> {
        let request = self
            .client
            .post(self.url.clone())
            .header(AUTHORIZATION, self.authorization.clone())
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .header("Idempotency-Key", outgoing.id.to_string())
            .body(message.to_string());
        let mut response = match http::send(request).await {
            Ok(response) => response,
            Err(outcome) => return Ok(outcome),
        };
        let retry_after = http::retry_after(response.headers(), now);
        match http::read_capped(&mut response).await {
            Ok(body) => judge(response.status().as_u16(), retry_after, &body),
            Err(error) => Ok(http::failure(error)),
        }
    }
}

impl Channel for Slack {
    fn kind(&self) -> &'static str {
        "slack"
    }

    fn deliver<'a>(&'a self, outgoing: &'a Outgoing, now: Timestamp) -> Attempt<'a> {
        Box::pin(self.attempt(outgoing, now))
    }
}

/// A refusal that another message could avoid.
#[derive(Debug, PartialEq)]
enum Refusal {
    /// Slack did not like how the message is built.
    Layout(String),
}

/// What an answer of Slack means.
fn judge(status: u16, retry_after: Option<Duration>, body: &[u8]) -> Result<Outcome, Refusal> {
    let answer: Option<Answer> = serde_json::from_slice(body).ok();
    let Some(answer) = answer.filter(|_| (200..300).contains(&status)) else {
        let detail = format!("Slack answered HTTP {status}: {}", http::excerpt(body));
        // A 200 that is not Slack's comes from something in between, which may go away.
        return Ok(if (200..300).contains(&status) {
            Outcome::Retry { detail: format!("{detail} (not Slack's JSON)"), retry_after }
        } else {
            Outcome::of_status(status, retry_after, detail)
        });
    };
    if answer.ok {
        let place = http::excerpt(answer.channel.unwrap_or_default().as_bytes());
        let ts = http::excerpt(answer.ts.unwrap_or_default().as_bytes());
        return Ok(Outcome::Accepted { detail: format!("channel {place}, ts {ts}") });
    }
    let reason = http::excerpt(answer.error.unwrap_or_else(|| "no reason given".to_owned()).as_bytes());
    match reason.as_str() {
        "ratelimited"
        | "rate_limited"
        | "message_limit_exceeded"
        | "internal_error"
        | "fatal_error"
        | "service_unavailable"
        | "request_timeout"
        | "timeout"
        | "team_added_to_org"
        | "org_login_required"
        | "duplicate_message_not_found" => Ok(Outcome::Retry { detail: format!("Slack: {reason}"), retry_after }),
        "invalid_blocks"
        | "invalid_blocks_format"
        | "invalid_attachments"
        | "attachment_payload_limit_exceeded"
        | "msg_blocks_too_long"
        | "msg_too_long"
        | "metadata_too_large" => Err(Refusal::Layout(reason)),
        _ => Ok(Outcome::Rejected { detail: refused(&reason, answer.needed.as_deref()) }),
    }
}

/// Slack's reason, and what to do about it.
fn refused(reason: &str, needed: Option<&str>) -> String {
    let hint = match reason {
        "invalid_auth" | "not_authed" | "account_inactive" | "token_revoked" | "token_expired" => {
            "the token is wrong or no longer valid: reinstall the Slack app and set SLACK_BOT_TOKEN anew"
        }
        "channel_not_found" | "duplicate_channel_not_found" => {
            "check the channel's id; a bot sees private channels and direct messages only as a member"
        }
        "not_in_channel" => "invite the bot into the channel with /invite",
        "is_archived" => "the channel is archived: choose another",
        "missing_scope" | "no_permission" | "not_allowed_token_type" => {
            "give the Slack app the scope chat:write, reinstall it, and use its bot token"
        }
        "ekm_access_denied" | "access_denied" | "accesslimited" | "enterprise_is_restricted" => {
            "the workspace's administrators do not allow it"
        }
        reason if reason.starts_with("restricted_action") => "a setting of the workspace forbids posting there",
        "unknown_method" => "check the base URL of the Slack API",
        reason if reason.starts_with("invalid_") || reason.starts_with("msg_") || reason == "no_text" => {
            "the request itself is at fault: please report it"
        }
        _ => "see the errors of chat.postMessage in Slack's documentation",
    };
    match needed {
        Some(scope) => format!("Slack: {reason} (needs {}); {hint}", http::excerpt(scope.as_bytes())),
        None => format!("Slack: {reason}; {hint}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, want: &str) {
        let outcome = match judge(status, Some(Duration::from_secs(7)), body.as_bytes()) {
            Ok(outcome) => outcome,
            Err(Refusal::Layout(reason)) => return assert_eq!(format!("layout: {reason}"), want, "{body}"),
        };
        let after = match &outcome {
            Outcome::Retry { retry_after: Some(after), .. } => format!(" after {after:?}"),
            _ => String::new(),
        };
        assert_eq!(format!("{}{after}: {}", outcome.as_str(), outcome.detail()), want, "{status} {body}");
    }

    #[test]
    fn answers_and_what_they_mean() {
        let no = |reason: &str| format!(r#"{{"ok":false,"error":"{reason}"}}"#);
        check(200, r#"{"ok":true,"channel":"D1","ts":"1.2","message":{}}"#, "accepted: channel D1, ts 1.2");
        for reason in ["ratelimited", "internal_error", "fatal_error", "service_unavailable", "request_timeout"] {
            check(200, &no(reason), &format!("retry after 7s: Slack: {reason}"));
        }
        check(200, &no("invalid_blocks"), "layout: invalid_blocks");
        check(
            200,
            &no("not_in_channel"),
            "rejected: Slack: not_in_channel; invite the bot into the channel with /invite",
        );
        check(
            200,
            r#"{"ok":false,"error":"missing_scope","needed":"chat:write"}"#,
            "rejected: Slack: missing_scope (needs chat:write); give the Slack app the scope chat:write, reinstall it, and use its bot token",
        );
        check(
            200,
            &no("brand_new"),
            "rejected: Slack: brand_new; see the errors of chat.postMessage in Slack's documentation",
        );
        check(
            200,
            r#"{"ok":false}"#,
            "rejected: Slack: no reason given; see the errors of chat.postMessage in Slack's documentation",
        );
        check(200, "<html>", "retry after 7s: Slack answered HTTP 200: <html> (not Slack's JSON)");
        check(200, "", "retry after 7s: Slack answered HTTP 200:  (not Slack's JSON)");
        check(
            429,
            &no("ratelimited"),
            r#"retry after 7s: Slack answered HTTP 429: {"ok":false,"error":"ratelimited"}"#,
        );
        check(503, "busy\u{1b}[0m", "retry after 7s: Slack answered HTTP 503: busy\\x1b[0m");
        check(302, "", "rejected: Slack answered HTTP 302: ");
        check(404, r#"{"ok":true}"#, r#"rejected: Slack answered HTTP 404: {"ok":true}"#);
    }
}
