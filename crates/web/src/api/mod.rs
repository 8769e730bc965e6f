//! The JSON API under `/api/v1`: a module per resource, each with its types, its handlers and their description. What
//! they share is here: the form of times, pages of lists, and how a request is read. Errors are in [`error`].
//!
//! Conventions, also in `docs/api.md`: every field is always there (`null` when there is nothing to say), times are RFC
//! 3339 in UTC, ids are UUIDs, a list is a page with `items` and `next_cursor`, and text from log lines is masked.

pub(crate) mod alerts;
pub(crate) mod apps;
pub(crate) mod backtest;
mod bounded;
pub(crate) mod checks;
pub(crate) mod config;
pub(crate) mod deliveries;
pub(crate) mod drain;
pub(crate) mod error;
pub(crate) mod heroku;
pub(crate) mod maintenance;
pub(crate) mod objects;
pub(crate) mod openapi;
pub(crate) mod receivers;
pub(crate) mod rules;
pub(crate) mod series;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use dynowatch_domain::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::auth::{Actor, Reach};
use error::ApiError;

/// Items of a page, unless the request says otherwise.
pub(crate) const LIMIT_DEFAULT: u32 = 50;
/// Items of a page at most.
pub(crate) const LIMIT_MAX: u32 = 200;

/// A moment: RFC 3339 in UTC.
#[derive(Debug, Clone, Copy, ToSchema)]
#[schema(value_type = String, format = DateTime, examples("2026-05-07T08:06:12.25Z"))]
pub(crate) struct Time(pub(crate) Timestamp);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl From<Timestamp> for Time {
    fn from(at: Timestamp) -> Self {
        Self(at)
    }
}

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Page<T: ToSchema> {
    /// What was asked for.
    pub(crate) items: Vec<T>,
    /// Send it as `cursor` for the next page; `null` on the last.
    pub(crate) next_cursor: Option<String>,
}

/// The page size that a request asks for.
pub(crate) fn limit(asked: Option<u32>) -> Result<u32, ApiError> {
    match asked {
        None => Ok(LIMIT_DEFAULT),
        Some(n @ 1..=LIMIT_MAX) => Ok(n),
        Some(n) => Err(ApiError::bad_request(&format!("limit is {n}: write 1 to {LIMIT_MAX}"))),
    }
}

/// A cursor from what the next page begins after. Its form may change; only what `next_cursor` gave is good.
pub(crate) fn cursor(after: &str) -> String {
    data_encoding::BASE64URL_NOPAD.encode(after.as_bytes())
}

/// What a cursor stands for.
pub(crate) fn after(cursor: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(cursor) = cursor else { return Ok(None) };
    let text =
        data_encoding::BASE64URL_NOPAD.decode(cursor.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.map(Some).ok_or_else(bad_cursor)
}

fn bad_cursor() -> ApiError {
    ApiError::bad_request("cursor is not one: send back what `next_cursor` gave")
}

/// A cursor of lists ordered by time and id.
pub(crate) fn time_cursor(at: Timestamp, id: Uuid) -> String {
    cursor(&format!("{}.{id}", at.as_micros()))
}

/// What such a cursor stands for.
pub(crate) fn time_and_id(given: Option<&str>) -> Result<Option<(Timestamp, Uuid)>, ApiError> {
    let Some(text) = after(given)? else { return Ok(None) };
    let parts =
        text.split_once('.').and_then(|(at, id)| Some((Timestamp::from_micros(at.parse().ok()?), id.parse().ok()?)));
    parts.map(Some).ok_or_else(bad_cursor)
}

/// A page of a list that is in memory, sorted by name.
pub(crate) fn by_name<T>(
    sorted: impl IntoIterator<Item = T>,
    name: impl Fn(&T) -> &str,
    asked: Option<u32>,
    given: Option<&str>,
) -> Result<(Vec<T>, Option<String>), ApiError> {
    let (limit, after) = (limit(asked)? as usize, after(given)?);
    let rest = sorted.into_iter().filter(|item| after.as_deref().is_none_or(|after| name(item) > after));
    let mut items: Vec<T> = rest.take(limit + 1).collect();
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more).map(|last| cursor(name(last)));
    Ok((items, next))
}

/// Reads an id from a path; what is no id names nothing.
pub(crate) fn id(text: &str, what: &str) -> Result<Uuid, ApiError> {
    text.parse().map_err(|_| ApiError::not_found(&format!("{what} {text:?} not found: an id is a UUID")))
}

/// The query of a request; an error in the API's form.
pub(crate) struct Asked<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| Self(asked)).map_err(|error| ApiError::bad_request(&error.body_text()))
    }
}

/// The one variable part of a path.
pub(crate) struct Named(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        path.map(|Path(name)| Self(name)).map_err(|error| ApiError::bad_request(&error.body_text()))
    }
}

/// A JSON body. Its content type is not looked at: whoever sends a token means it, and without one `auth` looks.
pub(crate) struct Sent<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Sent<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        let bytes = Bytes::from_request(request, state).await.map_err(|error| match error {
            BytesRejection::FailedToBufferBody(error) if error.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body is too long")
            }
            error => ApiError::bad_request(&error.body_text()),
        })?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| ApiError::bad_request(&format!("the body is not what is needed: {error}")))
    }
}

/// Who asks; put there by [`crate::auth::token_required`].
impl<S: Send + Sync> FromRequestParts<S> for Actor {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "send a token"))
    }
}

/// What who asks may; put there by [`crate::auth::token_required`].
impl<S: Send + Sync> FromRequestParts<S> for Reach {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let found = parts.extensions.get::<Self>().cloned();
        found.ok_or_else(|| ApiError::new(StatusCode::UNAUTHORIZED, "unauthorized", "send a token"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_by_name_meet_everything_once() {
        let names = ["a", "b", "c", "d", "e"];
        for size in 1..=6 {
            let (mut seen, mut next) = (Vec::new(), None);
            loop {
                let (items, more) = by_name(names, |name| name, Some(size), next.as_deref()).unwrap();
                seen.extend(items);
                next = more;
                if next.is_none() {
                    break;
                }
            }
            assert_eq!(seen, names, "{size}");
        }
    }

    #[test]
    fn cursors_come_back() {
        let (at, id) = (Timestamp::from_micros(1_778_141_172_250_000), Uuid::from_u128(7));
        assert_eq!(time_and_id(Some(&time_cursor(at, id))).unwrap(), Some((at, id)));
        assert_eq!(time_and_id(None).unwrap(), None);
        for wrong in ["", "!", &cursor("x"), &cursor("1.x"), &cursor("x.00000000-0000-0000-0000-000000000007")] {
            assert!(time_and_id(Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn limits() {
        assert_eq!(limit(None).unwrap(), LIMIT_DEFAULT);
        assert_eq!(limit(Some(1)).unwrap(), 1);
        assert!(limit(Some(0)).is_err() && limit(Some(LIMIT_MAX + 1)).is_err());
    }
}
