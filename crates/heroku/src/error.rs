//! What Heroku refuses and why, by the stable part of its answers: the status and the error's `id`. The message is for
//! people only, and may echo what was sent.

use std::time::Duration;

use dynowatch_domain::mask::mask;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

/// The longest message that is repeated.
const MESSAGE_CHARS_MAX: usize = 300;
/// The longest id or request id that is repeated.
const ID_CHARS_MAX: usize = 80;

/// The `id` of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorId {
    /// 400 `bad_request`.
    BadRequest,
    /// 401 `unauthorized`: the key is not, or no longer, one.
    Unauthorized,
    /// 402 `delinquent`: the account has unpaid bills.
    Delinquent,
    /// 403 `forbidden`: the key is good but may not do this.
    Forbidden,
    /// 403 `suspended`: the account is.
    Suspended,
    /// 403 `two_factor`: a code of the second factor is asked for.
    TwoFactor,
    /// 404 `not_found`.
    NotFound,
    /// 406 `not_acceptable`: no such version of the API.
    NotAcceptable,
    /// 412: somebody else was faster.
    PreconditionFailed,
    /// 416 `requested_range_not_satisfiable`.
    BadRange,
    /// 422 `invalid_params`.
    InvalidParams,
    /// 422 `verification_needed`: the account must be verified first.
    VerificationNeeded,
    /// 429 `rate_limit`: the account's requests of this hour are used up, by whomever.
    RateLimit,
    /// 5xx: Heroku's own trouble.
    Server,
    /// An id that was not known when this was written.
    Other,
}

impl ErrorId {
    /// The ids are stable, but a proxy in between writes none: then the status speaks.
    pub(crate) fn of(status: u16, id: &str) -> Self {
        match (status, id) {
            (_, "bad_request") => Self::BadRequest,
            (_, "unauthorized") => Self::Unauthorized,
            (_, "delinquent") => Self::Delinquent,
            (_, "suspended") => Self::Suspended,
            (_, "two_factor") => Self::TwoFactor,
            (_, "forbidden") => Self::Forbidden,
            (_, "not_found") => Self::NotFound,
            (_, "not_acceptable") => Self::NotAcceptable,
            (_, "requested_range_not_satisfiable") => Self::BadRange,
            (_, "verification_needed") => Self::VerificationNeeded,
            (_, "invalid_params") => Self::InvalidParams,
            (_, "rate_limit") => Self::RateLimit,
            (400, _) => Self::BadRequest,
            (401, _) => Self::Unauthorized,
            (402, _) => Self::Delinquent,
            (403, _) => Self::Forbidden,
            (404, _) => Self::NotFound,
            (406, _) => Self::NotAcceptable,
            (412, _) => Self::PreconditionFailed,
            (416, _) => Self::BadRange,
            (422, _) => Self::InvalidParams,
            (429, _) => Self::RateLimit,
            (500..=599, _) => Self::Server,
            _ => Self::Other,
        }
    }

    /// What the one who holds the key can do about it; empty where there is nothing to add to Heroku's own words.
    #[must_use]
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Unauthorized => "set HEROKU_API_KEY to a valid token: `heroku authorizations:create` makes one",
            Self::TwoFactor => {
                "this account asks for its second factor: give the code with --two-factor-code, or use a token made by \
                 `heroku authorizations:create`, which needs none"
            }
            Self::Forbidden => "the token's account or scope does not allow it: drains and features need `write`",
            Self::RateLimit => "the account's requests are used up for now; they come back at about 75 a minute",
            Self::Delinquent | Self::Suspended | Self::VerificationNeeded => {
                "Heroku wants something of the account's owner first: see https://dashboard.heroku.com/account"
            }
            _ => "",
        }
    }
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Heroku answered that it will not.
    #[error("Heroku answered {status} {id_text}: {message}{}{}", hint(*id), request(request_id))]
    Refused {
        /// The id.
        id: ErrorId,
        /// The status.
        status: u16,
        /// The id as Heroku wrote it.
        id_text: String,
        /// For people; masked and cut.
        message: String,
        /// Names the request to Heroku's support.
        request_id: Option<String>,
        /// When to come back, if Heroku said so.
        retry_after: Option<Duration>,
    },
    /// No answer: Heroku was not reached, or hung up.
    #[error("Heroku could not be reached: {detail}")]
    Unreachable {
        /// Why.
        detail: String,
        /// Whether the request may have been carried out all the same.
        maybe_done: bool,
    },
    /// No whole answer in time.
    #[error("Heroku did not answer within {} s", after.as_secs_f32())]
    TimedOut {
        /// How long was waited.
        after: Duration,
    },
    /// The answer is not what the API promises.
    #[error("Heroku's answer cannot be right: {what}{}", request(request_id))]
    Malformed {
        /// What is wrong with it.
        what: String,
        /// Names the request.
        request_id: Option<String>,
    },
    /// What was to be sent is none: a key that fits no header, a URL that is no base.
    #[error("{0}")]
    Unusable(String),
}

fn hint(id: ErrorId) -> String {
    match id.remedy() {
        "" => String::new(),
        remedy => format!(" ({remedy})"),
    }
}

fn request(id: &Option<String>) -> String {
    id.as_ref().map(|id| format!(" [request {id}]")).unwrap_or_default()
}

impl Error {
    /// Reads an answer that is not 2xx. `secrets` is what the request held and its answer may echo.
    pub(crate) fn refused(
        status: u16,
        body: &[u8],
        request_id: Option<String>,
        retry_after: Option<Duration>,
        secrets: &[&SecretString],
    ) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Body {
            id: String,
            message: String,
        }
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let id = ErrorId::of(status, &body.id);
        let id_text = if body.id.is_empty() { "without an id".to_owned() } else { cut(&body.id, ID_CHARS_MAX) };
        let message = if body.message.is_empty() { "no message".to_owned() } else { clean(&body.message, secrets) };
        Self::Refused { id, status, id_text, message, request_id, retry_after }
    }

    /// The id of a refusal.
    #[must_use]
    pub fn id(&self) -> Option<ErrorId> {
        match self {
            Self::Refused { id, .. } => Some(*id),
            _ => None,
        }
    }

    /// What was asked for does not exist, or not for this account.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.id() == Some(ErrorId::NotFound)
    }

    /// Another try later may go better without anybody doing anything.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused { id, .. } => matches!(id, ErrorId::RateLimit | ErrorId::Server),
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Malformed { .. } => true,
            Self::Unusable(_) => false,
        }
    }

    /// The request may have been carried out although there is no good answer.
    #[must_use]
    pub fn maybe_done(&self) -> bool {
        match self {
            Self::Refused { id, .. } => *id == ErrorId::Server,
            Self::Unreachable { maybe_done, .. } => *maybe_done,
            Self::TimedOut { .. } | Self::Malformed { .. } => true,
            Self::Unusable(_) => false,
        }
    }

    /// When Heroku wants to be asked again.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// Text of an answer, fit to be shown: no secret of ours, nothing that looks like one, no control characters, not long.
pub(crate) fn clean(text: &str, secrets: &[&SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in secrets.iter().map(|secret| secret.expose_secret()).filter(|secret| !secret.is_empty()) {
        text = text.replace(secret, "[masked]");
    }
    cut(&mask(&text), MESSAGE_CHARS_MAX)
}

/// The first characters, none of which moves a cursor.
pub(crate) fn cut(text: &str, chars_max: usize) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(chars_max).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_speak_first_and_statuses_without_them() {
        for (status, id, want) in [
            (403, "two_factor", ErrorId::TwoFactor),
            (403, "suspended", ErrorId::Suspended),
            (403, "forbidden", ErrorId::Forbidden),
            (403, "", ErrorId::Forbidden),
            (422, "verification_needed", ErrorId::VerificationNeeded),
            (422, "some_day", ErrorId::InvalidParams),
            (429, "", ErrorId::RateLimit),
            (503, "", ErrorId::Server),
            (412, "", ErrorId::PreconditionFailed),
            (418, "teapot", ErrorId::Other),
        ] {
            assert_eq!(ErrorId::of(status, id), want, "{status} {id}");
        }
    }

    #[test]
    fn an_echo_shows_no_secret() {
        let secret = SecretString::from("https://drain:s3cr3t-s3cr3t@ops.example/drain/shop");
        let body = format!(
            r#"{{"id":"invalid_params","message":"Url {} is\ntaken, bearer HRKU-0123456789abcdef0123456789abcdef"}}"#,
            secret.expose_secret()
        );
        let error = Error::refused(422, body.as_bytes(), Some("r-1".into()), None, &[&secret]);
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("s3cr3t") && !shown.contains("HRKU-0123456789") && !shown.contains('\n'), "{shown}");
        assert!(
            shown.contains("422 invalid_params: Url [masked] is taken") && shown.contains("[request r-1]"),
            "{shown}"
        );
    }

    #[test]
    fn an_answer_of_a_proxy_is_an_error_too() {
        let error = Error::refused(502, b"<html>bad gateway", None, None, &[]);
        assert_eq!(error.to_string(), "Heroku answered 502 without an id: no message");
        assert!(error.is_passing() && error.maybe_done());
    }
}
