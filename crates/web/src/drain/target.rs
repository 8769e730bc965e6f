//! Which requests are deliveries, and of which app their path speaks.

use std::borrow::Cow;

use http::{Method, Request, header};

use super::CONTENT_TYPE;

/// Whether a request is a delivery by what Logplex alone says, wherever it goes. Answered "not found" it would be lost
/// without anybody knowing, so the drain refuses it where it can be counted, logged and told.
#[must_use]
pub fn is_astray<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    request.method() == Method::POST
        && (headers.contains_key("logplex-drain-token")
            || headers.contains_key("logplex-msg-count")
            || headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == CONTENT_TYPE))
        && !request.uri().path().starts_with("/api/v1/")
}

/// A path that belongs to the drain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// The app follows from the drain token.
    Token,
    /// The app stands in the path, whose percent signs are read.
    App(Cow<'a, str>),
}

impl<'a> Target<'a> {
    /// Whether a request is a delivery to the drain.
    #[must_use]
    pub fn of(method: &Method, path: &'a str) -> Option<Self> {
        if method != Method::POST {
            return None;
        }
        // With and without a slash at the end: a delivery that went astray over it would be dropped for good.
        match path.strip_suffix('/').unwrap_or(path) {
            "/drain" | "/api/internal/heroku-log-drain" => Some(Self::Token),
            path => path.strip_prefix("/drain/").map(|name| Self::App(unescaped(name))),
        }
    }
}

/// A part of a path with its percent signs read. What is not UTF-8 then is no name, and stays as it is.
fn unescaped(part: &str) -> Cow<'_, str> {
    let digit = |at: usize| part.as_bytes().get(at).and_then(|&b| char::from(b).to_digit(16));
    let mut bytes = Vec::new();
    let (mut at, mut copied) = (0, 0);
    while let Some(percent) = memchr::memchr(b'%', part.as_bytes().get(at..).unwrap_or_default()) {
        at += percent;
        match (digit(at + 1), digit(at + 2)) {
            (Some(high), Some(low)) => {
                bytes.extend_from_slice(part.as_bytes().get(copied..at).unwrap_or_default());
                bytes.extend(u8::try_from(high * 16 + low));
                at += 3;
                copied = at;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return Cow::Borrowed(part);
    }
    bytes.extend_from_slice(part.as_bytes().get(copied..).unwrap_or_default());
    String::from_utf8(bytes).map_or(Cow::Borrowed(part), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let app = |name: &'static str| Some(Target::App(Cow::Borrowed(name)));
        let cases = [
            ("/drain", Some(Target::Token)),
            ("/drain/", Some(Target::Token)),
            ("/api/internal/heroku-log-drain", Some(Target::Token)),
            ("/api/internal/heroku-log-drain/", Some(Target::Token)),
            ("/drain/shop", app("shop")),
            ("/drain/shop/", app("shop")),
            ("/drain/sh%6Fp", app("shop")),
            ("/drain/%73hop%2", app("shop%2")),
            ("/drain/a%2fb", app("a/b")),
            ("/drain/%c3%bc", app("ü")),
            ("/drain/%ff", app("%ff")),
            ("/drain/%zz%", app("%zz%")),
            ("/drains", None),
            ("/", None),
            ("/api/internal/heroku-log-drain/x", None),
        ];
        for (path, want) in cases {
            assert_eq!(Target::of(&Method::POST, path), want, "{path}");
            assert_eq!(Target::of(&Method::GET, path), None, "{path}");
        }
    }
}
