//! Where jobs report: `/ping/TOKEN`, for a plain word that all went well, and `/ping/TOKEN/start`, `/fail`, `/finish` or an
//! exit code. Answers fast and in one word, since what asks is a `curl` at the end of somebody's job: taken is 200, a token
//! that is none 404 without telling more, a store that is away 503, so that the job may try again.
//!
//! A token is a secret: it is in no log, no metric and no error. What a job writes is its output: the end of it is kept,
//! masked. How often may be asked is bounded by address, and by token once it has proved good.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::{Buf as _, BytesMut};
use dynowatch_domain::check::heartbeat::{NOTE_BYTES_MAX, Ping, PingKind, RUN_ID_BYTES_MAX};
use http_body_util::BodyExt as _;
use serde::Deserialize;

use crate::flood::PingOver;
use crate::router::Web;
use crate::show::visible;

/// The longest token that is looked up.
const TOKEN_BYTES_MAX: usize = 64;
/// So much of a body is read; whoever sends more is answered all the same.
const BODY_BYTES_MAX: usize = 1 << 20;
/// The end of a body that is looked at for secrets; what is kept of it is shorter.
const TAIL_BYTES_MAX: usize = 16 << 10;
/// A body must come within this time; then what has come counts.
const BODY_TIME_MAX: Duration = Duration::from_secs(3);
/// The store must have taken the ping within this time: `curl -m 10` waits no longer for all of it.
const STORE_TIME_MAX: Duration = Duration::from_secs(5);

/// What may stand behind a `?`. Anything else is none of ours: a job's URL may carry what it likes.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct PingQuery {
    rid: Option<String>,
}

/// `/ping/TOKEN`: a run ended well.
pub(crate) async fn plain(State(web): State<Arc<Web>>, Path(token): Path<String>, request: Request) -> Response {
    take(&web, &token, "finish", request).await
}

/// `/ping/TOKEN/WORD`.
pub(crate) async fn word(
    State(web): State<Arc<Web>>,
    Path((token, word)): Path<(String, String)>,
    request: Request,
) -> Response {
    take(&web, &token, &word, request).await
}

/// The address of a job, as far as it is known where this instance is reached.
pub(crate) fn url(web: &Web, token: &str) -> String {
    let base = web.engine.public_url();
    let base = base.as_ref().as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
    format!("{base}/ping/{token}")
}

async fn take(web: &Web, token: &str, word: &str, request: Request) -> Response {
    let stats = web.engine.stats();
    if let Err(over) = web.flood.ping_from(&request, web.engine.now(), &stats.api_callers_overflowed) {
        stats.pings_limited_address.up();
        return limited(over);
    }
    let unknown = || {
        stats.pings_unknown.up();
        answer(StatusCode::NOT_FOUND, "not found\n")
    };
    let (Some((kind, code)), true) = (meaning(word), is_token(token)) else { return unknown() };
    if let Err(over) = web.flood.ping_with(token, web.engine.now(), &stats.api_callers_overflowed) {
        stats.pings_limited_token.up();
        return limited(over);
    }
    let run = rid(&request);
    let is_head = request.method() == Method::HEAD;
    let note = note(web, code, if is_head { String::new() } else { tail(request.into_body()).await });
    let ping = Ping { at: web.engine.now(), kind, run, note };
    match tokio::time::timeout(STORE_TIME_MAX, web.engine.ping(token, &ping)).await {
        Ok(Ok(Some(_name))) => {
            stats.pings_taken.up();
            web.flood.ping_was_good(token);
            answer(StatusCode::OK, "OK\n")
        }
        Ok(Ok(None)) => unknown(),
        Ok(Err(error)) => {
            tracing::warn!(%error, "a ping was not taken and answered 503");
            away(web)
        }
        Err(_elapsed) => {
            tracing::warn!("a ping was not taken and answered 503: the store did not answer in time");
            away(web)
        }
    }
}

fn away(web: &Web) -> Response {
    web.engine.stats().pings_failed.up();
    let answer = answer(StatusCode::SERVICE_UNAVAILABLE, "not taken: try again\n");
    ([(header::RETRY_AFTER, "10")], answer).into_response()
}

fn limited(PingOver(wait): PingOver) -> Response {
    let seconds = wait.as_micros().div_ceil(1_000_000).max(1).to_string();
    let answer = answer(StatusCode::TOO_MANY_REQUESTS, "too many pings: wait, then send fewer\n");
    ([(header::RETRY_AFTER, seconds)], answer).into_response()
}

fn answer(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// What the last part of a path says, and the exit code if it is one.
fn meaning(word: &str) -> Option<(PingKind, Option<u8>)> {
    if let Some(kind) = PingKind::named(word) {
        return Some((kind, None));
    }
    // What a shell knows as `$?`.
    let digits = (1..=3).contains(&word.len()) && word.bytes().all(|b| b.is_ascii_digit());
    let code: u8 = word.parse().ok().filter(|_| digits)?;
    Some((if code == 0 { PingKind::Finish } else { PingKind::Fail }, Some(code)))
}

/// Whether it can be a token of ours; anything else is not looked up.
fn is_token(token: &str) -> bool {
    (16..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The id that the job gave its run.
fn rid(request: &Request) -> Option<String> {
    let query = axum::extract::Query::<PingQuery>::try_from_uri(request.uri()).ok()?.0;
    let rid = visible(query.rid?.trim());
    let mut end = rid.len().min(RUN_ID_BYTES_MAX);
    while !rid.is_char_boundary(end) {
        end -= 1;
    }
    rid.get(..end).filter(|rid| !rid.is_empty()).map(str::to_owned)
}

/// The end of a body, as far as it came in time.
async fn tail(mut body: Body) -> String {
    let (mut tail, mut read, mut cut) = (BytesMut::new(), 0, false);
    let _in_time = tokio::time::timeout(BODY_TIME_MAX, async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(data) = frame.into_data() else { continue };
            read += data.len();
            tail.extend_from_slice(&data);
            if tail.len() > TAIL_BYTES_MAX {
                tail.advance(tail.len() - TAIL_BYTES_MAX);
                cut = true;
            }
            if read > BODY_BYTES_MAX {
                return;
            }
        }
    })
    .await;
    let text = String::from_utf8_lossy(&tail);
    // A word that was cut may be the end of a secret.
    let whole = if cut { text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest) } else { &text };
    whole.trim().to_owned()
}

/// What is kept of what a job wrote: masked first, then cut to its end.
fn note(web: &Web, code: Option<u8>, output: String) -> String {
    let masked = web.engine.masker().mask(&output).into_owned();
    let code = code.filter(|code| *code != 0).map(|code| format!("exit code {code}")).unwrap_or_default();
    let joint = if code.is_empty() || masked.is_empty() { "" } else { ": " };
    let room = NOTE_BYTES_MAX.saturating_sub(code.len() + joint.len());
    if masked.len() <= room {
        return format!("{code}{joint}{masked}");
    }
    let mut from = masked.len() - room.saturating_sub('…'.len_utf8());
    while !masked.is_char_boundary(from) {
        from += 1;
    }
    format!("{code}{joint}…{}", masked.get(from..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_path() {
        for (word, want) in [
            ("start", Some((PingKind::Start, None))),
            ("finish", Some((PingKind::Finish, None))),
            ("fail", Some((PingKind::Fail, None))),
            ("0", Some((PingKind::Finish, Some(0)))),
            ("1", Some((PingKind::Fail, Some(1)))),
            ("255", Some((PingKind::Fail, Some(255)))),
            ("256", None),
            ("-1", None),
            ("+1", None),
            ("0001", None),
            ("", None),
            ("Start", None),
            ("log", None),
        ] {
            assert_eq!(meaning(word), want, "{word}");
        }
    }

    #[test]
    fn tokens() {
        assert!(is_token(&"0f".repeat(16)));
        for wrong in ["", "short", &"x".repeat(65), "0123456789abcdef/", "0123456789abcdef\u{0}", "0123456789abcdefü"]
        {
            assert!(!is_token(wrong), "{wrong}");
        }
    }

    #[test]
    fn run_ids_are_bounded() {
        let of = |query: &str| rid(&Request::builder().uri(format!("/ping/x?{query}")).body(Body::empty()).unwrap());
        assert_eq!(of("rid=job-7").as_deref(), Some("job-7"));
        assert_eq!(of("x=1&rid=a%20b").as_deref(), Some("a b"));
        assert_eq!(of(&format!("rid={}", "ü".repeat(100))).unwrap().len(), 64);
        for none in ["", "rid=", "rid=%20", "other=1", "rid=a&rid=b"] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(of("rid=%00%0a").as_deref(), Some("␀"));
    }

    #[tokio::test]
    async fn the_end_of_a_body_is_kept() {
        assert_eq!(tail(Body::from("all is well\n")).await, "all is well");
        let long = format!("{} secret-that-is-cut end", "x".repeat(TAIL_BYTES_MAX));
        assert_eq!(tail(Body::from(long)).await, "secret-that-is-cut end");
        assert_eq!(tail(Body::from("x".repeat(3 * BODY_BYTES_MAX))).await, "");
        assert_eq!(tail(Body::from(vec![0xff, b'o', b'k'])).await, "\u{fffd}ok");
    }
}
