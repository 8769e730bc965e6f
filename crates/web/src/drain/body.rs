//! Reading the body of a delivery: within its bound, within its time, and without a copy where it came in one piece.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use tokio::time::Instant;

/// Why a body was not read to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unread {
    TooLong,
    Incomplete,
}

impl Unread {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "the body is longer than drain.body_bytes_max: answered 413, Logplex drops it for good",
            Self::Incomplete => {
                "the body broke off, or was not there within 4 s: answered 503, Logplex tries twice more"
            }
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// Reads a whole body. One that came in one piece is not copied.
pub(super) async fn read_body(mut body: Incoming, bytes_max: u64, until: Instant) -> Result<Bytes, Unread> {
    let said = body.size_hint().exact();
    if said.is_some_and(|said| said > bytes_max) {
        return Err(Unread::TooLong);
    }
    let read = async {
        let mut first = Bytes::new();
        let mut rest: Option<BytesMut> = None;
        while let Some(frame) = body.frame().await {
            // The sender went away: whatever we answer, nobody reads it, and it will send the batch again.
            let Ok(data) = frame.map_err(|_| Unread::Incomplete)?.into_data() else { continue };
            if first.is_empty() && rest.is_none() {
                first = data;
                continue;
            }
            let all = rest.get_or_insert_with(|| {
                let room = said.unwrap_or(0).min(bytes_max);
                let mut all = BytesMut::with_capacity(usize::try_from(room).unwrap_or(0).max(first.len() + data.len()));
                all.extend_from_slice(&first);
                all
            });
            if (all.len() + data.len()) as u64 > bytes_max {
                return Err(Unread::TooLong);
            }
            all.extend_from_slice(&data);
        }
        if first.len() as u64 > bytes_max { Err(Unread::TooLong) } else { Ok(rest.map_or(first, BytesMut::freeze)) }
    };
    let mut read = pin!(read);
    // Mostly it is all there already, and no timer is needed.
    if let Some(read) = poll_fn(|context| Poll::Ready(now(read.as_mut().poll(context)))).await {
        return read;
    }
    tokio::time::timeout_at(until, read).await.unwrap_or(Err(Unread::Incomplete))
}

fn now<T>(poll: Poll<T>) -> Option<T> {
    match poll {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}
