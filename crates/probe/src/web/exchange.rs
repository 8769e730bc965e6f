//! One request and its answer over one connection of its own, in HTTP/1.1 or HTTP/2. Owns the wire; which request is made,
//! and what its answer means, is the parent's.
//!
//! hyper speaks HTTP/1.1 and h2 HTTP/2, both over a connection that we have dialled: a whole client would hide the phases,
//! choose among addresses, and keep connections.

use std::error::Error;
use std::io;

use bytes::Bytes;
use data_encoding::BASE64;
use dynowatch_domain::check::kind::{HttpVersion, WebCheck};
use dynowatch_domain::check::target::Target;
use dynowatch_domain::check::{Phase, Reason, Secret};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::task::JoinSet;

use crate::Prober;
use crate::connection::Connection;
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// The longest head of an answer.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// The most headers of an answer.
const HEADERS_MAX: usize = 200;
const USER_AGENT: &str = concat!("dynowatch/", env!("CARGO_PKG_VERSION"), " (status check)");

/// What is asked.
pub(super) struct Question<'c> {
    pub(super) target: &'c Target,
    pub(super) method: &'c Method,
    pub(super) headers: Vec<(&'c str, &'c Secret)>,
    pub(super) body: Option<&'c Secret>,
    /// Whether user and password of the target are sent.
    pub(super) credentials: bool,
    pub(super) check: &'c WebCheck,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// The body went on after what the check reads.
    pub(super) is_cut: bool,
    pub(super) protocol: &'static str,
}

pub(super) async fn run(prober: &Prober, question: &Question<'_>, trace: &mut Trace) -> Result<Answer, Failure> {
    let (target, check) = (question.target, question.check);
    let stream = prober.outbound.dial(&target.host, target.port, check.family, trace).await?;
    let connection = if target.tls {
        let alpn: &[&[u8]] = match check.version {
            HttpVersion::Any => &[b"h2", b"http/1.1"],
            HttpVersion::Http1 => &[b"http/1.1"],
            HttpVersion::Http2 => &[b"h2"],
        };
        prober.tls.handshake(stream, &target.host, &check.tls, alpn, trace).await?
    } else {
        Connection::Plain(stream)
    };
    let is_http2 = match (&connection, check.version) {
        (Connection::Tls(_), HttpVersion::Http2) if connection.alpn() != Some(b"h2") => {
            return Err(Failure::new(Reason::BadReply, "the server does not offer HTTP/2"));
        }
        (Connection::Plain(_), version) => version == HttpVersion::Http2,
        (Connection::Tls(_), _) => connection.alpn() == Some(b"h2"),
    };
    trace.enter(Phase::FirstByte);
    trace.sent(format!("{} {} as {}", question.method, target.shown, if is_http2 { "HTTP/2" } else { "HTTP/1.1" }));
    let request = request(question, is_http2)?;
    // Ended when this function ends, whichever way: no connection outlives its run.
    let mut driver = JoinSet::new();
    let answer = if is_http2 {
        http2(connection, request, check, &mut driver, trace).await
    } else {
        http1(connection, request, check, &mut driver, trace).await
    }?;
    let cut = if answer.is_cut { ", and more" } else { "" };
    trace.received(format!("{} bytes of body{cut}", answer.body.len()));
    Ok(answer)
}

/// Host and port as they stand in a URL; the scheme's own port is left out.
pub(super) fn authority(target: &Target) -> String {
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    let usual = if target.tls { 443 } else { 80 };
    if target.port == usual { host } else { format!("{host}:{}", target.port) }
}

fn request(question: &Question<'_>, is_http2: bool) -> Result<Request<Bytes>, Failure> {
    let invalid = |what: &str| Failure::new(Reason::TargetInvalid, format!("{what} cannot be sent"));
    let target = question.target;
    let (authority, path) = (authority(target), target.path_and_query.expose());
    let uri = if is_http2 {
        let scheme = if target.tls { "https" } else { "http" };
        Uri::builder().scheme(scheme).authority(authority.as_str()).path_and_query(path).build().ok()
    } else {
        path.parse().ok()
    };
    let mut headers = HeaderMap::new();
    if !is_http2 {
        headers.insert(header::HOST, HeaderValue::try_from(authority).map_err(|_| invalid("the host"))?);
    }
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    headers.insert(header::ACCEPT, HeaderValue::from_static("*/*"));
    // What is compressed cannot be compared, and what expands cannot be capped.
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if question.credentials {
        let password = target.password.as_ref().map(Secret::expose).unwrap_or_default();
        let basic = BASE64.encode(format!("{}:{password}", target.user).as_bytes());
        headers.insert(
            header::AUTHORIZATION,
            sensitive(&format!("Basic {basic}")).ok_or_else(|| invalid("the password"))?,
        );
    }
    for (name, value) in &question.headers {
        let name = header::HeaderName::try_from(*name).map_err(|_| invalid("a header"))?;
        if is_http2 && name == header::HOST {
            continue;
        }
        headers.insert(name, sensitive(value.expose()).ok_or_else(|| invalid("the value of a header"))?);
    }
    let body = question.body.map(|body| Bytes::copy_from_slice(body.expose().as_bytes())).unwrap_or_default();
    let mut request = Request::new(body);
    *request.method_mut() = question.method.clone();
    *request.uri_mut() = uri.ok_or_else(|| invalid("the path of the URL"))?;
    *request.headers_mut() = headers;
    Ok(request)
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::try_from(value).ok()?;
    value.set_sensitive(true);
    Some(value)
}

async fn http1(
    connection: Connection,
    request: Request<Bytes>,
    check: &WebCheck,
    driver: &mut JoinSet<()>,
    trace: &mut Trace,
) -> Result<Answer, Failure> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(|error| hyper_failure(&error))?;
    // Its error reaches us through the request or the body.
    driver.spawn(async move { _ = connection.await });
    let response = sender.send_request(request.map(Full::new)).await.map_err(|error| hyper_failure(&error))?;
    let (head, body) = response.into_parts();
    begin_body(head.status, &head.headers, "HTTP/1.1", trace);
    let (body, is_cut) = read_http1(body, cap(check)).await?;
    Ok(Answer { status: head.status, headers: head.headers, body, is_cut, protocol: "HTTP/1.1" })
}

async fn read_http1(mut body: Incoming, cap: usize) -> Result<(Vec<u8>, bool), Failure> {
    let mut read = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| hyper_failure(&error))?;
        if let Ok(data) = frame.into_data()
            && add(&mut read, &data, cap)
        {
            return Ok((read, true));
        }
    }
    Ok((read, false))
}

async fn http2(
    connection: Connection,
    request: Request<Bytes>,
    check: &WebCheck,
    driver: &mut JoinSet<()>,
    trace: &mut Trace,
) -> Result<Answer, Failure> {
    let mut builder = h2::client::Builder::new();
    builder.enable_push(false).max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX));
    let (sender, connection) = builder.handshake(connection).await.map_err(|error| h2_failure(&error))?;
    driver.spawn(async move { _ = connection.await });
    let mut sender = sender.ready().await.map_err(|error| h2_failure(&error))?;
    let (head, body) = request.into_parts();
    let (answer, mut stream) =
        sender.send_request(Request::from_parts(head, ()), body.is_empty()).map_err(|error| h2_failure(&error))?;
    if !body.is_empty() {
        // It is short (10 kB at most) and may be queued whole.
        stream.send_data(body, true).map_err(|error| h2_failure(&error))?;
    }
    let (head, mut body) = answer.await.map_err(|error| h2_failure(&error))?.into_parts();
    begin_body(head.status, &head.headers, "HTTP/2", trace);
    let (mut read, mut is_cut) = (Vec::new(), false);
    while let Some(data) = body.data().await {
        let data = data.map_err(|error| h2_failure(&error))?;
        // It fails only if more is given back than was received.
        _ = body.flow_control().release_capacity(data.len());
        if add(&mut read, &data, cap(check)) {
            is_cut = true;
            break;
        }
    }
    Ok(Answer { status: head.status, headers: head.headers, body: read, is_cut, protocol: "HTTP/2" })
}

fn begin_body(status: StatusCode, headers: &HeaderMap, protocol: &'static str, trace: &mut Trace) {
    trace.enter(Phase::Body);
    trace.protocol(protocol);
    let kind = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    trace.received(format!("{protocol} {} {}", status.as_u16(), kind.unwrap_or_default()));
}

fn cap(check: &WebCheck) -> usize {
    usize::try_from(check.body_bytes_max).unwrap_or(usize::MAX)
}

/// Whether the cap was passed; nothing beyond it is kept.
fn add(read: &mut Vec<u8>, data: &[u8], cap: usize) -> bool {
    let room = cap.saturating_sub(read.len());
    read.extend_from_slice(data.get(..room.min(data.len())).unwrap_or_default());
    data.len() > room
}

fn hyper_failure(error: &hyper::Error) -> Failure {
    if error.is_incomplete_message() {
        return Failure::new(Reason::ClosedEarly, "the server closed the connection before the answer was complete");
    }
    match cause::<io::Error>(error) {
        Some(error) => io_failure(error, "the connection"),
        None if error.is_parse_too_large() => {
            Failure::new(Reason::ReplyTooLarge, "the head of the answer is too large")
        }
        None => Failure::new(Reason::BadReply, format!("the answer is not HTTP: {error}")),
    }
}

fn h2_failure(error: &h2::Error) -> Failure {
    match error.get_io() {
        Some(error) => io_failure(error, "the connection"),
        None => Failure::new(Reason::BadReply, format!("HTTP/2: {error}")),
    }
}

fn cause<E: Error + 'static>(error: &dyn Error) -> Option<&E> {
    let mut next = error.source();
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
