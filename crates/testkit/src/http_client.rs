//! The smallest HTTP client a test needs: one request, one connection, the whole answer, a deadline. It follows no
//! redirect and knows no TLS.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(30);

/// A whole answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status of the answer.
    pub status: StatusCode,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Body of the answer.
    pub body: Bytes,
}

impl Answer {
    /// The body as text, odd bytes replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{} is no JSON ({error}): {}", self.status, self.text()))
    }
}

/// `GET url`.
///
/// # Errors
/// When no whole answer arrives within 30 s.
pub async fn get(url: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    send(Method::GET, url, headers, Bytes::new()).await
}

/// `POST url`.
///
/// # Errors
/// When no whole answer arrives within 30 s.
pub async fn post(url: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Result<Answer> {
    send(Method::POST, url, headers, body.into()).await
}

/// Any request. A `user:password@` in the URL becomes basic auth only if the caller sends that header.
///
/// # Errors
/// When no whole answer arrives within 30 s.
pub async fn send(method: Method, url: &str, headers: &[(&str, &str)], body: Bytes) -> Result<Answer> {
    let uri: Uri = url.parse().with_context(|| format!("{url} is no URL"))?;
    let host = uri.host().context("a URL with a host")?.to_owned();
    let port = uri.port_u16().unwrap_or(80);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let mut request = Request::builder().method(method).uri(path).header("host", format!("{host}:{port}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body))?;

    let exchange = async {
        let stream = TcpStream::connect((host.as_str(), port)).await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(connection);
        let answer = async {
            let (parts, body) = sender.send_request(request).await?.into_parts();
            let body = body.collect().await?.to_bytes();
            anyhow::Ok(Answer { status: parts.status, headers: parts.headers, body })
        }
        .await;
        connection.abort();
        answer
    };
    tokio::time::timeout(DEADLINE, exchange).await.with_context(|| format!("no answer from {url} in {DEADLINE:?}"))?
}
