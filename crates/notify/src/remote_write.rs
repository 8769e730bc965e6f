//! Prometheus remote write, version 1.0 of its specification: what a request holds and what an answer means. A request is
//! the message `prometheus.WriteRequest` in protobuf, compressed with Snappy's block format, sent by POST.
//!
//! [`Series`] keeps the promises that a receiver may rely on (valid names, sorted labels, none empty or twice), whatever
//! stands in a log line. When to send, what to keep meanwhile and what to drop is `engine`'s.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::{ATTEMPT_TIMEOUT, Outcome};
use prost::Message;
use reqwest::Client;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE};
use secrecy::{ExposeSecret, SecretString};

use crate::http;
use crate::inert::cut;
use crate::receivers::{Problem, parse_url};
use crate::spec::origin;

/// Says that a series has ended: a NaN of its own (specification, "Stale Markers").
pub const STALE: f64 = f64::from_bits(0x7ff0_0000_0000_0002);
/// The longest value of a label; longer ones are cut. Receivers commonly refuse more than 2,048.
pub const LABEL_VALUE_BYTES_MAX: usize = 256;
/// The label that holds a metric's name.
const NAME: &str = "__name__";

/// What proves to the receiver who we are.
#[derive(Clone)]
pub enum Credentials {
    /// Nothing.
    None,
    /// HTTP basic authentication.
    Basic {
        /// The user's name.
        username: String,
        /// The password.
        password: SecretString,
    },
    /// `Authorization: Bearer …`.
    Bearer(SecretString),
}

/// Where to write, as configured.
#[derive(Clone)]
pub struct RemoteWriteSpec {
    /// The whole URL of the endpoint, as in `https://prometheus.example.com/api/v1/write`.
    pub url: SecretString,
    /// What proves who we are.
    pub credentials: Credentials,
}

impl fmt::Debug for RemoteWriteSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = match &self.credentials {
            Credentials::None => "none",
            Credentials::Basic { .. } => "basic",
            Credentials::Bearer(_) => "bearer",
        };
        f.debug_struct("RemoteWriteSpec")
            .field("to", &origin(self.url.expose_secret()))
            .field("credentials", &credentials)
            .finish_non_exhaustive()
    }
}

/// One series with samples in the order of their time.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    labels: BTreeMap<String, String>,
    samples: Vec<(f64, i64)>,
}

impl Series {
    /// A series without samples. Characters that a name may not hold become `_`; a label without a value does not exist; of
    /// two labels of one name the later counts, and none can take the place of the metric's name.
    #[must_use]
    pub fn new<'a>(name: &str, labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all = BTreeMap::new();
        for (label, value) in labels {
            let value: String = value.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            let label = label_name(label);
            if !value.is_empty() && !label.is_empty() {
                all.insert(label, cut(&value, LABEL_VALUE_BYTES_MAX).into_owned());
            }
        }
        all.insert(NAME.to_owned(), metric_name(name));
        Self { labels: all, samples: Vec::new() }
    }

    /// Appends a sample, unless it is not later than the last one: receivers refuse those.
    pub fn push(&mut self, value: f64, at: Timestamp) {
        let at_ms = at.as_micros().div_euclid(1_000);
        if self.samples.last().is_none_or(|(_, last)| *last < at_ms) {
            self.samples.push((value, at_ms));
        }
    }

    /// The same with one sample.
    #[must_use]
    pub fn with(mut self, value: f64, at: Timestamp) -> Self {
        self.push(value, at);
        self
    }

    /// Labels by name, the metric's name among them as `__name__`: what tells series apart.
    #[must_use]
    pub fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// How many samples it holds.
    #[must_use]
    pub fn samples_len(&self) -> usize {
        self.samples.len()
    }
}

/// `[a-zA-Z_:][a-zA-Z0-9_:]*`.
fn metric_name(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | ':') { c } else { '_' }).collect();
    if plain.starts_with(|c: char| c.is_ascii_digit()) || plain.is_empty() { format!("_{plain}") } else { plain }
}

/// `[a-zA-Z_][a-zA-Z0-9_]*`, and not one of those that begin with `__`, which are reserved.
fn label_name(name: &str) -> String {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '_' }).collect();
    let plain = plain.trim_start_matches("__");
    if plain.starts_with(|c: char| c.is_ascii_digit()) { format!("_{plain}") } else { plain.to_owned() }
}

/// A request's body: the series as protobuf, compressed.
///
/// # Errors
/// When it is over 4 GiB, which Snappy cannot hold; callers send far less.
pub fn encode(series: &[Series]) -> Result<Bytes, snap::Error> {
    let request = WriteRequest { timeseries: series.iter().map(TimeSeries::of).collect() };
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec()).map(Bytes::from)
}

/// `prometheus.WriteRequest`.
#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

/// `prometheus.TimeSeries`.
#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Sample>,
}

/// `prometheus.Label`.
#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// `prometheus.Sample`.
#[derive(Clone, PartialEq, Message)]
struct Sample {
    #[prost(double, tag = "1")]
    value: f64,
    /// Milliseconds since 1970.
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

impl TimeSeries {
    fn of(series: &Series) -> Self {
        Self {
            labels: series
                .labels
                .iter()
                .map(|(name, value)| Label { name: name.clone(), value: value.clone() })
                .collect(),
            samples: series.samples.iter().map(|&(value, timestamp)| Sample { value, timestamp }).collect(),
        }
    }
}

/// The endpoint, ready to be written to.
pub struct RemoteWriteTarget {
    client: Client,
    url: reqwest::Url,
    credentials: Credentials,
    attempt_timeout: Duration,
}

impl RemoteWriteTarget {
    /// Makes the client.
    ///
    /// # Errors
    /// When the URL is none, or TLS cannot be set up in this process.
    pub fn new(spec: RemoteWriteSpec) -> Result<Self, RemoteWriteError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(RemoteWriteError::NoTlsProvider);
        }
        let url = parse_url("url", spec.url.expose_secret())?;
        Ok(Self { client: http::client()?, url, credentials: spec.credentials, attempt_timeout: ATTEMPT_TIMEOUT })
    }

    /// The same with another time limit than ten seconds.
    #[must_use]
    pub fn with_attempt_timeout(self, attempt_timeout: Duration) -> Self {
        Self { attempt_timeout, ..self }
    }

    /// Scheme, host and port: for logs.
    #[must_use]
    pub fn origin(&self) -> String {
        self.url.origin().ascii_serialization()
    }

    /// Makes one attempt with a body of [`encode`] and says what came of it.
    pub async fn write(&self, body: Bytes, now: Timestamp) -> Outcome {
        tokio::time::timeout(self.attempt_timeout, self.attempt(body, now)).await.unwrap_or_else(|_elapsed| {
            Outcome::Retry { detail: format!("no answer within {:?}", self.attempt_timeout), retry_after: None }
        })
    }

    async fn attempt(&self, body: Bytes, now: Timestamp) -> Outcome {
        let mut request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_ENCODING, "snappy")
            .header(CONTENT_TYPE, "application/x-protobuf")
            .header("X-Prometheus-Remote-Write-Version", "0.1.0");
        request = match &self.credentials {
            Credentials::None => request,
            Credentials::Basic { username, password } => request.basic_auth(username, Some(password.expose_secret())),
            Credentials::Bearer(token) => request.bearer_auth(token.expose_secret()),
        };
        let mut response = match http::send(request.body(body)).await {
            Ok(response) => response,
            Err(outcome) => return outcome,
        };
        let retry_after = http::retry_after(response.headers(), now);
        let status = response.status().as_u16();
        // Not interpreted, only told to the operator (specification, "Labels").
        let words = http::read_capped(&mut response).await.map(|body| http::excerpt(&body)).unwrap_or_default();
        outcome(status, retry_after, &self.without_secrets(&words))
    }

    /// An answer that quotes the request must not carry its credentials into a log.
    fn without_secrets(&self, words: &str) -> String {
        let secret = match &self.credentials {
            Credentials::None => None,
            Credentials::Basic { password, .. } => Some(password),
            Credentials::Bearer(token) => Some(token),
        };
        match secret.map(ExposeSecret::expose_secret).filter(|secret| !secret.is_empty()) {
            Some(secret) => words.replace(secret, "[secret]"),
            None => words.to_owned(),
        }
    }
}

/// 5xx must be tried again and 429 may be; no other 4xx (specification, "Retries & Backoff").
fn outcome(status: u16, retry_after: Option<Duration>, words: &str) -> Outcome {
    let mut detail = format!("HTTP {status}");
    if !words.is_empty() {
        detail = format!("{detail}: {words}");
    }
    match status {
        200..=299 => Outcome::Accepted { detail },
        429 | 500..=599 => Outcome::Retry { detail, retry_after },
        300..=399 => Outcome::Rejected { detail: format!("{detail} (redirects are not followed: set the final URL)") },
        _ => Outcome::Rejected { detail },
    }
}

/// Why nothing can be written.
#[derive(Debug, thiserror::Error)]
pub enum RemoteWriteError {
    /// The URL is none.
    #[error(transparent)]
    Url(#[from] Problem),
    /// The binary did not choose a TLS provider.
    #[error("no TLS provider is installed in this process")]
    NoTlsProvider,
    /// The HTTP client cannot be made.
    #[error("the HTTP client cannot be made: {0}")]
    Client(#[from] reqwest::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn answers_are_classed_as_the_specification_says() {
        let cases = [
            (200, "accepted"),
            (204, "accepted"),
            (301, "rejected"),
            (400, "rejected"),
            (401, "rejected"),
            (404, "rejected"),
            (408, "rejected"),
            (425, "rejected"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (599, "retry"),
        ];
        for (status, want) in cases {
            assert_eq!(outcome(status, None, "").as_str(), want, "{status}");
        }
    }

    #[test]
    fn a_request_is_the_documented_bytes() {
        let series = Series::new("up", [("job", "a"), ("app", "b")]).with(1.0, at(1));
        let bytes = snap::raw::Decoder::new().decompress_vec(&encode(&[series]).unwrap()).unwrap();
        let label = |name: &str, value: &str| {
            let body =
                [&[0x0a, name.len() as u8], name.as_bytes(), &[0x12, value.len() as u8], value.as_bytes()].concat();
            [&[0x0a, body.len() as u8], &body[..]].concat()
        };
        let sample = [&[0x12, 12, 0x09][..], &1.0_f64.to_le_bytes(), &[0x10, 0xe8, 0x07]].concat();
        let inner = [label("__name__", "up"), label("app", "b"), label("job", "a"), sample].concat();
        assert_eq!(bytes, [&[0x0a, inner.len() as u8], &inner[..]].concat());
    }

    #[test]
    fn names_are_made_to_fit() {
        let cases = [("dyno.memory-mb", "dyno_memory_mb"), ("5xx", "_5xx"), ("", "_"), ("a:b", "a:b"), ("é", "_")];
        for (name, want) in cases {
            assert_eq!(Series::new(name, []).labels()["__name__"], want, "{name}");
        }
        let hostile =
            Series::new("m", [("__name__", "evil"), ("a", ""), ("", "x"), ("b\n", "c\nd"), ("9", "1"), ("b_", "last")]);
        let labels: Vec<_> = hostile.labels().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(labels, [("_9", "1"), ("__name__", "m"), ("b_", "last"), ("name__", "evil")]);
    }

    #[test]
    fn samples_stay_in_order_and_the_stale_marker_keeps_its_bits() {
        let mut series = Series::new("m", []).with(1.0, at(10)).with(2.0, at(10)).with(3.0, at(9));
        series.push(STALE, at(11));
        assert_eq!(series.samples_len(), 2);
        let bytes = snap::raw::Decoder::new().decompress_vec(&encode(&[series]).unwrap()).unwrap();
        let marker = 0x7ff0_0000_0000_0002_u64.to_le_bytes();
        assert!(bytes.windows(8).any(|eight| eight == marker));
    }

    #[test]
    fn no_secret_is_shown() {
        let spec = RemoteWriteSpec {
            url: "https://user:hunter2@prometheus.example.com/write?key=abc".into(),
            credentials: Credentials::Bearer("t0ken".into()),
        };
        let shown = format!("{spec:?}");
        assert!(shown.contains("https://prometheus.example.com"), "{shown}");
        for secret in ["hunter2", "abc", "t0ken"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    proptest! {
        /// Whatever the names are, the labels are valid, sorted, without an empty one.
        #[test]
        fn labels_keep_the_promises(name in ".*", labels in prop::collection::vec((".*", ".*"), 0..6)) {
            let series = Series::new(&name, labels.iter().map(|(name, value)| (name.as_str(), value.as_str())));
            let names: Vec<&String> = series.labels().keys().collect();
            prop_assert!(names.is_sorted());
            for (label, value) in series.labels() {
                prop_assert!(!value.is_empty() && value.len() <= LABEL_VALUE_BYTES_MAX);
                prop_assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'));
                prop_assert!(!label.starts_with(|c: char| c.is_ascii_digit()) && !label.is_empty());
                prop_assert!(label == NAME || !label.starts_with("__"));
            }
        }
    }
}
