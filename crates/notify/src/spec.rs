//! What a receiver is made of, once the configuration file and the environment are read.

use std::fmt;
use std::path::PathBuf;

use secrecy::SecretString;

/// The base of Slack's Web API, unless a test says otherwise.
pub const SLACK_API_URL: &str = "https://slack.com/api";

/// A receiver as configured.
#[derive(Debug, Clone)]
pub struct ReceiverSpec {
    /// The name that rules use.
    pub name: String,
    /// Where its messages go.
    pub kind: ReceiverKind,
}

/// Where messages go. `Debug` shows neither secrets nor what follows the host of a URL, since tokens live there too.
#[derive(Clone)]
pub enum ReceiverKind {
    /// A Slack channel or direct message.
    Slack {
        /// The id (`C…`, `G…`, `D…`).
        channel: String,
        /// A bot token with the scope `chat:write`.
        token: SecretString,
        /// The base of the Web API: [`SLACK_API_URL`].
        api_url: String,
    },
    /// A program that takes JSON.
    Webhook {
        /// `http` or `https`; a user and password in it are sent as basic authentication.
        url: String,
        /// Signs the body; none leaves it unsigned.
        secret: Option<SecretString>,
    },
    /// A text file, or standard output. For demos, tests and as a last resort.
    Log {
        /// None: standard output.
        path: Option<PathBuf>,
    },
}

impl ReceiverKind {
    /// The kind's name in the configuration file, metrics and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Slack { .. } => "slack",
            Self::Webhook { .. } => "webhook",
            Self::Log { .. } => "log",
        }
    }
}

impl fmt::Debug for ReceiverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Slack { channel, api_url, .. } => {
                f.debug_struct("Slack").field("channel", channel).field("api", &origin(api_url)).finish_non_exhaustive()
            }
            Self::Webhook { url, secret } => f
                .debug_struct("Webhook")
                .field("to", &origin(url))
                .field("signed", &secret.is_some())
                .finish_non_exhaustive(),
            Self::Log { path } => f.debug_struct("Log").field("path", path).finish(),
        }
    }
}

/// Scheme, host and port of a URL: enough to tell receivers apart, never a token.
pub(crate) fn origin(url: &str) -> String {
    reqwest::Url::parse(url).map_or_else(|_| "not a URL".to_owned(), |url| url.origin().ascii_serialization())
}
