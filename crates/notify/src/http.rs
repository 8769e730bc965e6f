//! What Slack and webhooks share: one client, where it never goes, how failures are classed (contract C22), `Retry-After`,
//! and answers of bounded size.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::address::forbidden;
use dynowatch_domain::delivery::Outcome;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Client, RequestBuilder, Response, Url, redirect};

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
        .dns_resolver(Lookup)
        .user_agent(concat!("dynowatch/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// An address that nothing is sent to: whoever may write a receiver could else read, in the answer that is shown, what the
/// metadata service of our machine says.
#[derive(Debug, thiserror::Error)]
#[error("{0} is {1}; nothing is ever sent there")]
struct Refused(IpAddr, &'static str);

impl Refused {
    fn of(address: IpAddr) -> Option<Self> {
        forbidden(address).map(|what| Self(address, what))
    }
}

/// Looks names up as the machine does, and judges what comes before it is dialled. A name of which one address is refused is
/// refused as a whole: which one comes first is in the hands of whoever answers.
struct Lookup;

impl Resolve for Lookup {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(look_up(name))
    }
}

async fn look_up(name: Name) -> Result<Addrs, Box<dyn Error + Send + Sync>> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
    match found.iter().find_map(|address| Refused::of(address.ip())) {
        Some(refused) => Err(refused.into()),
        None => Ok(Box::new(found.into_iter())),
    }
}

/// Why nothing is sent to this URL, if an address stands in it and that is so. Names are judged when they are looked up.
#[must_use]
pub fn refused(url: &str) -> Option<String> {
    Url::parse(url).ok().and_then(|url| refused_of(&url))
}

fn refused_of(url: &Url) -> Option<String> {
    let address = url.host_str()?.trim_matches(['[', ']']).parse().ok()?;
    Refused::of(address).map(|refused| refused.to_string())
}

/// Sends a request, unless it leads where nothing is ever sent.
pub(crate) async fn send(request: RequestBuilder) -> Result<Response, Outcome> {
    let (client, request) = request.build_split();
    let request = request.map_err(failure)?;
    if let Some(detail) = refused_of(request.url()) {
        return Err(Outcome::Misconfigured { detail });
    }
    client.execute(request).await.map_err(failure)
}

/// What a request without an answer stands for. The URL is left out: tokens live in URLs.
pub(crate) fn failure(error: reqwest::Error) -> Outcome {
    let error = error.without_url();
    let detail = with_causes(&error);
    if is_tls(&error) || is_refused(&error) || error.is_builder() {
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

fn is_refused(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| (*error).source()).any(|cause| cause.is::<Refused>())
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

    /// A name whose look-up was answered with an address inside.
    struct Inside;

    impl Resolve for Inside {
        fn resolve(&self, _name: Name) -> Resolving {
            Box::pin(look_up("169.254.169.254".parse().unwrap()))
        }
    }

    #[tokio::test]
    async fn a_name_is_judged_by_what_it_stands_for() {
        _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder().no_proxy().dns_resolver(Inside).build().unwrap();
        let outcome = send(client.post("http://hooks.example/")).await.unwrap_err();
        let Outcome::Misconfigured { detail } = &outcome else { panic!("{outcome:?}") };
        assert!(detail.contains("169.254.169.254 is link-local"), "{detail}");
        assert!(look_up("localhost".parse().unwrap()).await.unwrap().next().is_some());
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
