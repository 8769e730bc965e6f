//! All receivers by name: made once from their specifications, checked as a whole, and each attempt held to the same
//! time limit and the same redaction.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{ATTEMPT_TIMEOUT, Outcome, Outgoing};
use secrecy::SecretString;

use crate::channel::Channel;
use crate::http;
use crate::log::Log;
use crate::redact::Redactor;
use crate::slack::Slack;
use crate::spec::{ReceiverKind, ReceiverSpec};
use crate::webhook::Webhook;

/// A name and the channel behind it.
#[derive(Clone)]
pub struct Receiver {
    /// The name that rules use.
    pub name: String,
    channel: Arc<dyn Channel>,
}

impl Receiver {
    /// The kind's name in the configuration file, metrics and the API.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        self.channel.kind()
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.kind())
    }
}

/// What is wrong with one receiver. Names the thing to change, never a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Rules could not tell them apart.
    #[error("the name is used twice")]
    DuplicateName,
    /// A channel id is needed.
    #[error("`channel` is empty; it is an id such as C0123456789 or D0123456789")]
    EmptyChannel,
    /// A token is needed.
    #[error("the Slack token is empty; set SLACK_BOT_TOKEN")]
    EmptyToken,
    /// Line breaks and the like, usually from a copied file.
    #[error("the Slack token holds characters that no token has, such as a line break")]
    InvalidToken,
    /// Neither `http` nor `https`, or no URL at all.
    #[error("`{key}` is not a URL with http or https: {reason}")]
    InvalidUrl {
        /// The key of the configuration.
        key: &'static str,
        /// What the parser says; without the URL.
        reason: String,
    },
    /// Nobody could have made this signature by accident.
    #[error("`secret` is empty; leave it out to send without a signature")]
    EmptySecret,
}

/// Why there are no receivers.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// What is wrong, by receiver, all at once.
    #[error("{}", list(.0))]
    Receivers(Vec<(String, Problem)>),
    /// The process forgot to choose one at its start.
    #[error("no TLS provider is installed in this process")]
    NoTlsProvider,
    /// TLS could not be set up, for example for want of any root certificate.
    #[error("the HTTP client cannot be made")]
    Client(#[source] reqwest::Error),
}

fn list(problems: &[(String, Problem)]) -> String {
    let lines: Vec<_> = problems.iter().map(|(name, problem)| format!("receiver {name:?}: {problem}")).collect();
    lines.join("; ")
}

/// All receivers by name. Cheap to clone.
#[derive(Clone)]
pub struct Receivers(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    by_name: BTreeMap<String, Receiver>,
    redactor: Redactor,
    attempt_timeout: Duration,
}

impl Receivers {
    /// Makes every receiver. What must never leave in a message are the specifications' own secrets and
    /// `known_secrets`: whatever else this process holds (drain secrets, API tokens).
    ///
    /// # Errors
    /// Every receiver that cannot work, all at once; or that TLS cannot be set up in this process.
    pub fn build(specs: &[ReceiverSpec], known_secrets: &[SecretString]) -> Result<Self, BuildError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(BuildError::NoTlsProvider);
        }
        let client = http::client().map_err(BuildError::Client)?;
        let mut by_name = BTreeMap::new();
        let mut problems = Vec::new();
        for spec in specs {
            match channel(&spec.kind, &client) {
                Ok(channel) => {
                    let receiver = Receiver { name: spec.name.clone(), channel };
                    if by_name.insert(spec.name.clone(), receiver).is_some() {
                        problems.push((spec.name.clone(), Problem::DuplicateName));
                    }
                }
                Err(problem) => problems.push((spec.name.clone(), problem)),
            }
        }
        if !problems.is_empty() {
            return Err(BuildError::Receivers(problems));
        }
        let own = specs.iter().flat_map(|spec| secrets(&spec.kind));
        Ok(Self(Arc::new(Inner {
            by_name,
            redactor: Redactor::new(own.chain(known_secrets.iter().cloned())),
            attempt_timeout: ATTEMPT_TIMEOUT,
        })))
    }

    /// The same with another time limit than [`ATTEMPT_TIMEOUT`].
    #[must_use]
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        inner.attempt_timeout = attempt_timeout;
        Self(Arc::new(inner))
    }

    /// The receiver of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Receiver> {
        self.0.by_name.get(name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.by_name.keys().map(String::as_str)
    }

    /// All receivers, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Receiver> {
        self.0.by_name.values()
    }

    /// Makes one attempt, for as long as an attempt may take, and says what came of it. A receiver that is not there
    /// (any more) rejects. No detail of any outcome holds a known secret.
    pub async fn deliver(&self, outgoing: &Outgoing, now: Timestamp) -> Outcome {
        let Some(receiver) = self.get(&outgoing.receiver) else {
            return self.unknown(&outgoing.receiver);
        };
        let outgoing = Outgoing { notice: self.0.redactor.notice(&outgoing.notice), ..outgoing.clone() };
        let attempt = receiver.channel.deliver(&outgoing, now);
        let outcome = tokio::time::timeout(self.0.attempt_timeout, attempt).await.unwrap_or_else(|_elapsed| {
            let detail = format!("no answer within {:?}", self.0.attempt_timeout);
            Outcome::Unknown { detail }
        });
        self.0.redactor.outcome(outcome)
    }

    fn unknown(&self, name: &str) -> Outcome {
        let known: Vec<_> = self.names().collect();
        let detail = match known.as_slice() {
            [] => format!("there is no receiver {name:?}; none is configured"),
            known => format!("there is no receiver {name:?}; configured are: {}", known.join(", ")),
        };
        Outcome::Rejected { detail }
    }
}

impl fmt::Debug for Receivers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

fn channel(kind: &ReceiverKind, client: &reqwest::Client) -> Result<Arc<dyn Channel>, Problem> {
    Ok(match kind {
        ReceiverKind::Slack { channel, token, api_url } => {
            Arc::new(Slack::new(client.clone(), channel, token, api_url)?)
        }
        ReceiverKind::Webhook { url, secret } => Arc::new(Webhook::new(client.clone(), url, secret.clone())?),
        ReceiverKind::Log { path } => Arc::new(Log::new(path.clone())),
    })
}

/// What a receiver itself must keep to itself. A webhook's whole URL counts: many carry their token in the path.
fn secrets(kind: &ReceiverKind) -> Vec<SecretString> {
    match kind {
        ReceiverKind::Slack { token, .. } => vec![token.clone()],
        ReceiverKind::Webhook { url, secret } => {
            secret.iter().cloned().chain([SecretString::from(url.as_str())]).collect()
        }
        ReceiverKind::Log { .. } => Vec::new(),
    }
}

/// Reads a URL that requests can be sent to.
pub(crate) fn parse_url(key: &'static str, url: &str) -> Result<reqwest::Url, Problem> {
    let invalid = |reason: String| Problem::InvalidUrl { key, reason };
    let url = reqwest::Url::parse(url).map_err(|error| invalid(error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(invalid(format!("its scheme is {:?}", url.scheme())));
    }
    Ok(url)
}
