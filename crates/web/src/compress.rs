//! Compression on the way out: pages, their data and the API, for who takes gzip. Streams are left alone, and so is what
//! is small or is compressed already.
//!
//! A page may hold a form's token beside text of others. That is safe to compress here: cookies are `SameSite=Lax`, so no
//! other site can make a browser load a page again and again with its own text in it and watch the length.

use std::io::Write as _;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

/// What is shorter gains nothing.
const BYTES_MIN: u64 = 1_024;
/// Fast and nearly as small as the best.
const LEVEL: u32 = 5;

/// Whether a request says that its answer may be compressed.
pub(crate) fn takes_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        parts.next() == Some("gzip") && parts.all(|part| part.replace(' ', "") != "q=0")
    })
}

/// Compresses what is worth it.
pub(crate) async fn compressed(request: Request, next: Next) -> Response {
    let wanted = takes_gzip(request.headers());
    let response = next.run(request).await;
    if !wanted || !is_worth_it(&response) {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    // Bodies of this kind are whole in memory already.
    let Ok(plain) = body.collect().await.map(|whole| whole.to_bytes()) else {
        return Response::from_parts(parts, Body::empty());
    };
    let Some(zipped) = gzip(&plain) else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(zipped))
}

fn is_worth_it(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let text = ["text/html", "text/csv", "application/json", "text/plain", "application/openmetrics-text"];
    let long = response.body().size_hint().exact().is_some_and(|bytes| bytes >= BYTES_MIN);
    long && !response.headers().contains_key(header::CONTENT_ENCODING) && text.iter().any(|text| kind.starts_with(text))
}

fn gzip(plain: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::new(LEVEL));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_takes_gzip_gets_it() {
        for (accepts, want) in [
            ("gzip", true),
            ("br, gzip;q=0.8", true),
            ("gzip;q=0", false),
            ("gzip; q=0", false),
            ("br", false),
            ("", false),
            ("x-gzip", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, accepts.parse().unwrap());
            assert_eq!(takes_gzip(&headers), want, "{accepts}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }
}
