//! Router lines, of the legacy router, Router 2.0 and Private Spaces.
//!
//! A line has three parts of different trust:
//!
//! ```text
//! at=error code=H12 desc="Request timeout"                                  the router's words
//! method=GET path="/…" host=… request_id=… fwd="…"                          the client's words
//! dyno=web.1 connect=1ms service=30000ms status=503 bytes=0 protocol=…      the router's words
//! ```
//!
//! Router 2.0 decodes the path, and a client writes most of `X-Forwarded-For`, so the middle may hold quotes, blanks, `=` and
//! whole imitations of the other parts. Hence the first part is read only at the very beginning, and the last only behind
//! the line's *last* quote, which closes `fwd` and which nothing from the client can follow. What a line does not have there
//! is unknown; it is never looked for elsewhere.
//!
//! The middle is read by [`RouterLine::fields`], for the rare lines that need it. Where it can be read in two ways
//! ([`RouterFields::ambiguous`]), its fields are unknown too.

mod fields;

pub use fields::RouterFields;

use super::code::{Code, Letter};
use crate::bytes::{find_near, last_token, leading_number, token};

/// A router line. Both ends are read once, when it is made; the middle on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouterLine<'a> {
    text: &'a [u8],
    tail: Tail,
    code: Option<Code>,
}

/// The fields behind `fwd`. Kept small, since one is written for nearly every line of a busy app.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tail {
    /// Where the last part begins.
    at: u32,
    /// [`NONE_MS`] for none.
    connect_ms: u32,
    /// [`NONE_MS`] for none.
    service_ms: u32,
    /// 0 for none.
    status: u16,
    tls: Option<bool>,
    /// `u64::MAX` for none.
    bytes: u64,
    dyno: Span,
    protocol: Span,
    tls_version: Span,
}

/// A value's place in the text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    at: u32,
    len: u32,
}

const NONE_MS: u32 = u32::MAX;
const NONE_BYTES: u64 = u64::MAX;

impl Span {
    #[inline(always)]
    fn new(at: usize, end: usize) -> Span {
        Span { at: at as u32, len: (end - at) as u32 }
    }

    #[inline(always)]
    fn of(self, text: &[u8]) -> &[u8] {
        text.get(self.at as usize..(self.at + self.len) as usize).unwrap_or(&[])
    }
}

impl Tail {
    const UNKNOWN: Tail = Tail {
        at: 0,
        connect_ms: NONE_MS,
        service_ms: NONE_MS,
        status: 0,
        tls: None,
        bytes: NONE_BYTES,
        dyno: Span { at: 0, len: 0 },
        protocol: Span { at: 0, len: 0 },
        tls_version: Span { at: 0, len: 0 },
    };
}

impl<'a> RouterLine<'a> {
    /// Reads both ends of a router line. Never fails: what is missing or malformed is unknown.
    #[inline]
    pub fn parse(text: &'a [u8]) -> RouterLine<'a> {
        // Places are kept in 32 bits. A text of 4 GiB is no router line.
        let text = &text[..text.len().min(u32::MAX as usize)];
        let code = if text.starts_with(b"at=info method=") { None } else { head_code(text) };
        let usual = memchr::memrchr(b'"', text).and_then(|quote| usual_tail(text, quote + 1));
        let tail = match usual {
            Some(tail) => tail,
            None => any_tail(text),
        };
        RouterLine { text, tail, code }
    }

    /// The whole text.
    pub fn text(&self) -> &'a [u8] {
        self.text
    }

    /// The H code; `None` for a normal request.
    pub fn code(&self) -> Option<Code> {
        self.code
    }

    /// The status sent to the client. H24 and others have none.
    pub fn status(&self) -> Option<u16> {
        Some(self.tail.status).filter(|&status| status != 0)
    }

    /// Time from the dyno's accepting to the end of the answer. H10 and others have none.
    pub fn service_ms(&self) -> Option<u32> {
        Some(self.tail.service_ms).filter(|&ms| ms != NONE_MS)
    }

    /// Time to connect to the dyno.
    pub fn connect_ms(&self) -> Option<u32> {
        Some(self.tail.connect_ms).filter(|&ms| ms != NONE_MS)
    }

    /// Bytes sent to the client.
    pub fn bytes(&self) -> Option<u64> {
        Some(self.tail.bytes).filter(|&bytes| bytes != NONE_BYTES)
    }

    /// The dyno (`web.1`); empty when no dyno was reached.
    pub fn dyno(&self) -> &'a [u8] {
        self.tail.dyno.of(self.text)
    }

    /// `http`, `https` (legacy router) or `http1.1`, `http2.0` (Router 2.0); empty in old lines.
    pub fn protocol(&self) -> &'a [u8] {
        self.tail.protocol.of(self.text)
    }

    /// Whether the request came by TLS. The legacy router says so in `protocol`.
    pub fn tls(&self) -> Option<bool> {
        self.tail.tls.or(match self.protocol() {
            b"https" => Some(true),
            b"http" => Some(false),
            _ => None,
        })
    }

    /// `tls1.3`, `unknown`, …; empty when the line has none.
    pub fn tls_version(&self) -> &'a [u8] {
        self.tail.tls_version.of(self.text)
    }

    /// The request's method.
    pub fn method(&self) -> Option<&'a [u8]> {
        self.fields().method
    }

    /// The request's path; see [`RouterFields::path`].
    pub fn path(&self) -> Option<&'a [u8]> {
        self.fields().path
    }

    /// The `Host` header.
    pub fn host(&self) -> Option<&'a [u8]> {
        self.fields().host
    }

    /// The request's id.
    pub fn request_id(&self) -> Option<&'a [u8]> {
        self.fields().request_id
    }

    /// Reads the client's part: the fields from the left as far as their order is strict, `fwd`, `request_id` and `host` from the
    /// right, and both must agree on where the path ends.
    pub fn fields(&self) -> RouterFields<'a> {
        fields::read(&self.text[..self.tail.at as usize])
    }
}

/// The code at the very beginning: `[sock=… ]at=… code=Hnn `, or `Error Hnn (` in lines of before 2013.
#[cold]
fn head_code(text: &[u8]) -> Option<Code> {
    if let Some((code, ..)) = super::error_text(text, Letter::H) {
        return Some(code);
    }
    let rest = match text.strip_prefix(b"sock=") {
        Some(rest) => token(rest).1,
        None => text,
    };
    let (_, rest) = token(rest.strip_prefix(b"at=")?);
    let (code, _) = token(rest.strip_prefix(b"code=")?);
    Code::parse(code).filter(|code| code.letter() == Letter::H)
}

/// A number with or without `ms`, up to the next blank or the end: the value ([`NONE_BYTES`] for an empty one) and where the next
/// field begins. `None` when it is anything else.
#[inline(always)]
fn leading_value(text: &[u8], at: usize) -> Option<(u64, usize)> {
    let (n, len) = leading_number(text.get(at..)?);
    let (n, mut at) = (if len == 0 { NONE_BYTES } else { n }, at + len);
    if len > 0 && text.get(at) == Some(&b'm') && text.get(at + 1) == Some(&b's') {
        at += 2;
    }
    match text.get(at) {
        Some(b' ') => Some((n, at + 1)),
        Some(_) => None,
        None => Some((n, at)),
    }
}

/// The same for a value that is already cut out; anything unreadable is none.
fn value(b: &[u8]) -> u64 {
    leading_value(b, 0).filter(|&(_, end)| end == b.len() && !b.ends_with(b" ")).map_or(NONE_BYTES, |(n, _)| n)
}

/// What does not fit is none.
#[inline(always)]
fn milliseconds(n: u64) -> u32 {
    n.min(NONE_MS as u64) as u32
}

#[inline(always)]
fn status(n: u64) -> u16 {
    if n.wrapping_sub(100) < 900 { n as u16 } else { 0 }
}

fn tls(value: &[u8]) -> Option<bool> {
    match value {
        b"true" => Some(true),
        b"false" => Some(false),
        _ => None,
    }
}

/// Steps over `key` at `at`.
#[inline(always)]
fn after<const N: usize>(text: &[u8], at: usize, key: &[u8; N]) -> Option<usize> {
    (text.get(at..)?.first_chunk::<N>()? == key).then_some(at + N)
}

/// The end of the value at `at`, and where the next field begins.
#[inline(always)]
fn value_end(text: &[u8], at: usize) -> (usize, usize) {
    match find_near(&text[at..], b' ') {
        Some(len) => (at + len, at + len + 1),
        None => (text.len(), text.len()),
    }
}

// The three below look for the usual form at fixed places first. A guess that the processor gets right costs nothing, while a
// length that it must compute holds up everything behind it.

/// The length of the dyno's name in front of a blank.
#[inline(always)]
fn dyno_len(b: &[u8]) -> Option<usize> {
    match b {
        [b'w', b'e', b'b', b'.', b'0'..=b'9', b' ', ..] => Some(5),
        _ => find_near(b, b' '),
    }
}

/// As [`leading_value`]; connecting mostly takes a few milliseconds.
#[inline(always)]
fn connect_value(text: &[u8], at: usize) -> Option<(u64, usize)> {
    match text.get(at..)? {
        [digit @ b'0'..=b'9', b'm', b's', b' ', ..] => Some(((digit - b'0') as u64, at + 4)),
        _ => leading_value(text, at),
    }
}

/// As [`leading_value`]; a status has three digits.
#[inline(always)]
fn status_value(text: &[u8], at: usize) -> Option<(u64, usize)> {
    match text.get(at..)? {
        [a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ', ..] => {
            let digit = |c: &u8| (c - b'0') as u64;
            Some((digit(a) * 100 + digit(b) * 10 + digit(c), at + 4))
        }
        _ => leading_value(text, at),
    }
}

/// The tail as every router of today writes it, in its fixed order. `at` is just behind the line's last quote. `None` for
/// any other order, unknown keys, repeated keys: [`any_tail`] reads those and must agree on all that pass here.
#[inline(always)]
fn usual_tail(text: &[u8], tail_at: usize) -> Option<Tail> {
    let dyno_at = after(text, tail_at, b" dyno=")?;
    let dyno_end = dyno_at + dyno_len(&text[dyno_at..])?;
    let (connect_ms, at) = connect_value(text, after(text, dyno_end, b" connect=")?)?;
    let (service_ms, at) = leading_value(text, after(text, at, b"service=")?)?;
    let (status_code, at) = status_value(text, after(text, at, b"status=")?)?;
    let (bytes, mut at) = leading_value(text, after(text, at, b"bytes=")?)?;
    let mut tail = Tail {
        at: tail_at as u32,
        dyno: Span::new(dyno_at, dyno_end),
        connect_ms: milliseconds(connect_ms),
        service_ms: milliseconds(service_ms),
        status: status(status_code),
        bytes,
        ..Tail::UNKNOWN
    };
    // The router of Private Spaces writes the version first.
    let mut version = false;
    if let Some(value_at) = after(text, at, b"tls_version=") {
        let end;
        (end, at) = value_end(text, value_at);
        (tail.tls_version, version) = (Span::new(value_at, end), true);
    }
    if let Some(next) = after(text, at, b"protocol=https ") {
        tail.protocol = Span::new(next - 6, next - 1);
        at = next;
    } else if let Some(value_at) = after(text, at, b"protocol=") {
        let end;
        (end, at) = value_end(text, value_at);
        tail.protocol = Span::new(value_at, end);
    }
    if let Some(next) = after(text, at, b"tls=true ") {
        (tail.tls, at) = (Some(true), next);
    } else if let Some(value_at) = after(text, at, b"tls=") {
        let end;
        (end, at) = value_end(text, value_at);
        tail.tls = tls(&text[value_at..end]);
    }
    if !version && let Some(value_at) = after(text, at, b"tls_version=") {
        let end;
        (end, at) = match &text[value_at..] {
            b"tls1.3" | b"tls1.2" | b"unknown" => (text.len(), text.len()),
            _ => value_end(text, value_at),
        };
        tail.tls_version = Span::new(value_at, end);
    }
    (at == text.len()).then_some(tail)
}

/// More trailing fields than any router writes.
const TAIL_FIELDS_MAX: usize = 64;

/// The tail in any order, read backwards from the end of the line, and where it begins.
///
/// The walk passes over `key=value` without quotes, unknown keys included, and ends at the client's part: at a token that
/// ends in a quote, or at an unquoted `fwd=`, `request_id=`, `host=` or `path=` of old lines. Of a repeated key the rightmost counts,
/// since the router writes behind everything that a client can. When the walk ends anywhere else the line was cut or
/// is none, and no field of it is believed.
#[cold]
fn any_tail(text: &[u8]) -> Tail {
    let unknown = Tail { at: text.len() as u32, ..Tail::UNKNOWN };
    let mut tail = Tail::UNKNOWN;
    let mut seen = [false; 8];
    let mut end = text.trim_ascii_end().len();
    for _ in 0..TAIL_FIELDS_MAX {
        let (before, last) = last_token(&text[..end]);
        let found = Tail { at: end as u32, ..tail };
        if last.ends_with(b"\"") {
            return found;
        }
        let eq = last.iter().position(|&c| c == b'=');
        let Some(eq) = eq.filter(|&eq| is_key(&last[..eq])) else {
            return if is_very_old(text) { very_old(found) } else { unknown };
        };
        match &last[..eq] {
            b"fwd" | b"request_id" | b"host" | b"path" => {
                // An open quote before this point means that it lies inside a client's value.
                let open = memchr::memchr_iter(b'"', &text[..end]).count() % 2 == 1;
                return if open { unknown } else { found };
            }
            b"at" | b"code" | b"desc" | b"sock" | b"method" | b"cause" | b"agent" => return unknown,
            key => take(&mut tail, &mut seen, key, text, end - (last.len() - eq - 1)..end),
        }
        let Some(before) = before else { return unknown };
        end = before.trim_ascii_end().len();
    }
    unknown
}

/// `Error H10 (App crashed) -> GET host/ dyno=web.1 queue=0 wait=0ms service=0ms bytes=0`: no quotes anywhere.
fn is_very_old(text: &[u8]) -> bool {
    text.starts_with(b"Error H") && memchr::memchr(b'"', text).is_none()
}

/// That layout has three of our fields. Others of their names are part of the client's path.
fn very_old(found: Tail) -> Tail {
    Tail { at: found.at, dyno: found.dyno, service_ms: found.service_ms, bytes: found.bytes, ..Tail::UNKNOWN }
}

/// Stores a trailing field unless one of its name stood further right.
fn take(tail: &mut Tail, seen: &mut [bool; 8], key: &[u8], text: &[u8], place: std::ops::Range<usize>) {
    let slot = match key {
        b"dyno" => 0,
        b"connect" => 1,
        b"service" => 2,
        b"status" => 3,
        b"bytes" => 4,
        b"protocol" => 5,
        b"tls" => 6,
        b"tls_version" => 7,
        _ => return,
    };
    if std::mem::replace(&mut seen[slot], true) {
        return;
    }
    let (span, text) = (Span::new(place.start, place.end), &text[place]);
    match slot {
        0 => tail.dyno = span,
        1 => tail.connect_ms = milliseconds(value(text)),
        2 => tail.service_ms = milliseconds(value(text)),
        3 => tail.status = status(value(text)),
        4 => tail.bytes = value(text),
        5 => tail.protocol = span,
        6 => tail.tls = tls(text),
        _ => tail.tls_version = span,
    }
}

fn is_key(b: &[u8]) -> bool {
    !b.is_empty() && b.iter().all(|&c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'_')
}
