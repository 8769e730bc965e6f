//! The client's part of a router line: read from the left as far as the order is strict, `fwd`, `request_id` and `host` from the
//! right. Both readings must agree on where the path ends, or else nobody can tell what the client wrote where.

use crate::bytes::{last_token, token};

/// The client's part of a router line, and the words before it. Absent fields are `None`; so are those that cannot be
/// told apart from an imitation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RouterFields<'a> {
    /// Which side broke off: `client` or `backend`.
    pub sock: Option<&'a [u8]>,
    /// `info`, `warning` or `error`.
    pub at: Option<&'a [u8]>,
    /// The code's title.
    pub desc: Option<&'a [u8]>,
    /// H26: what was wrong with the request.
    pub cause: Option<&'a [u8]>,
    /// H31: the client's `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// The request's method.
    pub method: Option<&'a [u8]>,
    /// The request's path with its query. When the line is ambiguous, a prefix of it.
    pub path: Option<&'a [u8]>,
    /// The `Host` header.
    pub host: Option<&'a [u8]>,
    /// The id that apps may log as `X-Request-ID`.
    pub request_id: Option<&'a [u8]>,
    /// `X-Forwarded-For`; the client controls all but the last address.
    pub fwd: Option<&'a [u8]>,
    /// Whether the client's part can be read in more than one way, as when a path holds `" host=`.
    pub ambiguous: bool,
}

/// Reads everything in front of the router's last part.
pub(super) fn read(region: &[u8]) -> RouterFields<'_> {
    let (mut fields, rest) = head_fields(region);
    let Some((method, rest)) = rest.strip_prefix(b"method=").map(token) else {
        return fields;
    };
    fields.method = Some(method);
    let Some(rest) = rest.strip_prefix(b"path=") else {
        return fields;
    };
    let (path, after) = match rest.strip_prefix(b"\"") {
        Some(quoted) => match leftmost_path_end(quoted) {
            Some(end) => (&quoted[..end], &quoted[end + 1..]),
            None => {
                return RouterFields { path: Some(quoted), ambiguous: true, ..fields };
            }
        },
        None => {
            let (path, _) = token(rest);
            (path, &rest[path.len()..])
        }
    };
    fields.path = Some(path);
    let right = from_the_right(region);
    // The left reading takes the first end that a path may have, the right reading the last.
    if right.path_end != region.len() - after.len() || agent_is_unclear(&fields, region) {
        fields.ambiguous = true;
        return fields;
    }
    RouterFields { host: right.host, request_id: right.request_id, fwd: right.fwd, ..fields }
}

/// `sock`, `at`, `code`, `desc`, `cause` and `agent`, strictly in this order, and what follows them.
fn head_fields(region: &[u8]) -> (RouterFields<'_>, &[u8]) {
    let mut fields = RouterFields::default();
    let mut rest = region;
    if let Some(after) = rest.strip_prefix(b"sock=") {
        let (sock, after) = token(after);
        (fields.sock, rest) = (Some(sock), after);
    }
    if let Some(after) = rest.strip_prefix(b"at=") {
        let (at, after) = token(after);
        (fields.at, rest) = (Some(at), after);
    }
    if let Some(after) = rest.strip_prefix(b"code=") {
        rest = token(after).1;
    }
    // The router writes `desc` and `cause` from its own tables, without quotes inside.
    for (key, slot) in [(&b"desc=\""[..], &mut fields.desc), (b"cause=\"", &mut fields.cause)] {
        if let Some(after) = rest.strip_prefix(key)
            && let Some(end) = memchr::memchr(b'"', after)
        {
            *slot = Some(&after[..end]);
            rest = after[end + 1..].strip_prefix(b" ").unwrap_or(&after[end + 1..]);
        }
    }
    if let Some(after) = rest.strip_prefix(b"agent=\"")
        && let Some(end) = memchr::memmem::find(after, b"\" method=")
    {
        (fields.agent, rest) = (Some(&after[..end]), &after[end + 2..]);
    }
    (fields, rest)
}

/// An agent is the client's and stands before everything else of the client's, so a second `" method=` may be the true one.
fn agent_is_unclear(fields: &RouterFields<'_>, region: &[u8]) -> bool {
    fields.agent.is_some() && memchr::memmem::find_iter(region, b"\" method=").nth(1).is_some()
}

/// The first place where a quoted path may end. `b` begins inside the quote.
fn leftmost_path_end(b: &[u8]) -> Option<usize> {
    memchr::memmem::find(b, b"\" host=").or_else(|| memchr::memchr(b'"', b))
}

/// The client's fields as read from the right.
struct FromTheRight<'a> {
    fwd: Option<&'a [u8]>,
    request_id: Option<&'a [u8]>,
    host: Option<&'a [u8]>,
    /// Where the path ends, its closing quote included.
    path_end: usize,
}

fn from_the_right(region: &[u8]) -> FromTheRight<'_> {
    let mut right = FromTheRight { fwd: None, request_id: None, host: None, path_end: region.len() };
    let mut rest = region;
    if let Some(inner) = rest.strip_suffix(b"\"") {
        if let Some(open) = memchr::memrchr(b'"', inner)
            && let Some(before) = inner[..open].strip_suffix(b" fwd=")
        {
            (right.fwd, rest) = (Some(&inner[open + 1..]), before);
        }
    } else if let (Some(before), last) = last_token(rest)
        && let Some(fwd) = last.strip_prefix(b"fwd=")
    {
        (right.fwd, rest) = (Some(fwd), before);
    }
    for (key, slot) in [(&b"request_id="[..], &mut right.request_id), (b"host=", &mut right.host)] {
        if let (Some(before), last) = last_token(rest)
            && let Some(value) = last.strip_prefix(key)
        {
            (*slot, rest) = (Some(value), before);
        }
    }
    right.path_end = rest.len();
    right
}
