//! What Slack and webhooks share: one client, how failures are classed (contract C22), `Retry-After`, and answers of
//! bounded size.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::Outcome;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, redirect};

use crate::inert::{cut, inert};

/// More of an answer is not read.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 10;
/// How much of an answer goes into a detail.
const EXCERPT_BYTES_MAX: usize = 400;

/// The client of all receivers. Redirects are not followed: they would carry a token or a signed alert to a place
/// nobody configured. Proxies of the environment are not used: only the binary reads the environment.
pub(crate) fn client() -> reqwest::Result<Client> {
    Client::builder()
        .redirect(redirect::Policy::none())
        .no_proxy()
        .user_agent(concat!("dynowatch/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// What a request without an answer stands for. The URL is left out: tokens live in URLs.
pub(crate) fn failure(error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let detail = with_causes(&error);
    if is_tls(&error) || error.is_builder() {
        Outcome::Misconfigured { detail }
    } else if error.is_connect() {
        Outcome::Retry { detail, retry_after: None }
    } else {
        // The message was on its way, or was there already: only the answer is missing.
        Outcome::Unknown { detail }
    }
}

/// The error and its causes in one line; a cause that its parent already quotes is left out.
fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.contains(&words) {
            // Writing to a String cannot fail.
            _ = write!(text, ": {words}");
        }
        next = cause.source();
    }
    cut(&inert(&text), EXCERPT_BYTES_MAX).into_owned()
}

/// Whether TLS refused. It travels inside of an `io::Error`, which does not show its content as a source.
fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(cause) = next {
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if cause.is::<rustls::Error>() || inner.is_some_and(|inner| inner.is::<rustls::Error>() || is_tls(inner)) {
            return true;
        }
        next = cause.source();
    }
    false
}

/// The first [`ANSWER_BYTES_MAX`] of an answer's body.
pub(crate) async fn read_capped(response: &mut Response) -> reqwest::Result<Vec<u8>> {
    let mut body = Vec::new();
    while body.len() < ANSWER_BYTES_MAX
        && let Some(chunk) = response.chunk().await?
    {
        let room = ANSWER_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(body)
}

/// A few words of a body, for an operator.
pub(crate) fn excerpt(body: &[u8]) -> String {
    let start = &body[..body.len().min(EXCERPT_BYTES_MAX)];
    let text = String::from_utf8_lossy(start);
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&inert(&text), EXCERPT_BYTES_MAX).into_owned()
}

/// How long the receiver asks us to stay away: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match value.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => http_date(value).map(|date| date.since(now)),
    }
}

/// Reads `Sun, 06 Nov 1994 08:49:37 GMT`, the one form that senders may write (RFC 9110, 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_weekday, date) = text.split_once(", ")?;
    let mut parts = date.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    if parts.next() != Some("GMT") || parts.next().is_some() {
        return None;
    }
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_in_both_forms() {
        let now = Timestamp::parse("1994-11-06T08:49:00Z").unwrap();
        let cases = [
            ("30", Some(30)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(37)),
            ("Sun, 06 Nov 1994 08:48:37 GMT", Some(0)),
            ("Sun, 06 Nov 1994 08:49:37 CET", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("Sun, é", None),
            ("-1", None),
            ("soon", None),
            ("", None),
        ];
        for (value, want) in cases {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, value.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), want.map(Duration::from_secs), "{value}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn tls_errors_are_found_inside_io_errors() {
        let tls = || rustls::Error::General("x".into());
        assert!(is_tls(&tls()));
        assert!(is_tls(&io::Error::other(tls())));
        assert!(is_tls(&io::Error::other(io::Error::other(tls()))));
        assert!(!is_tls(&io::Error::other("x")));
    }
}
