//! The header of one frame or line: when, from which source and process, and where the text starts.
//!
//! Four layouts, told apart by fields that Heroku writes, never by the text:
//!
//! | layout | form |
//! |---|---|
//! | HTTPS drain | `<PRI>1 TS host APP PROC - TEXT`: RFC 5424 *without* structured data |
//! | syslog drain | `<PRI>1 TS d.<uuid> APP PROC - - TEXT`: real RFC 5424, the drain token as host |
//! | old drain | `<PRI>1 TS APP PROC d.<uuid> - TEXT`: the token where the process should be |
//! | `heroku logs` | `TS APP[PROC]: TEXT` |
//!
//! Structured data is taken off only where the host says that it must be there (a drain token, or a foreign host in a form
//! that Heroku never sends). Behind the literal host `host` a leading `- ` or `[…]` belongs to the app: gunicorn and Postgres
//! begin their lines with `[`.

use crate::bytes::{find_near, token};
use crate::frame::Malformed;
use crate::stamp::{StampCache, begins_like_stamp};

/// A frame's header and text, borrowed from the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Message<'a> {
    /// The line's own stamp: microseconds since 1970, UTC.
    pub at_us: i64,
    /// APPNAME: `app` (your code, add-ons, the API) or `heroku` (the platform).
    pub app_name: &'a [u8],
    /// PROCID: `router`, `web.1`, `heroku-postgres`, `api`, …
    pub proc_id: &'a [u8],
    /// The drain token, in the two layouts that carry it. Not a secret and not proof of anything.
    pub drain_token: Option<&'a [u8]>,
    /// PRI as written. Heroku sends router errors as "info": show it, never decide by it.
    pub pri: Option<u16>,
    /// The text, without one `\n` or `\r\n` at its end. May be empty, hold NUL, escapes and invalid UTF-8.
    pub text: &'a [u8],
    /// Whether the raw message ended in a newline. A line cut at 10,000 bytes has none; see [`crate::rejoin`].
    pub newline: bool,
}

/// Length of `d.` and a UUID.
const DRAIN_TOKEN_LEN: usize = 38;

/// Reads one frame's header.
///
/// # Errors
///
/// [`Malformed::BadTimestamp`] when everything but the stamp has the right shape, [`Malformed::NotSyslog`] for any other
/// octets, [`Malformed::Empty`] for none.
#[inline]
pub fn message<'a>(raw: &'a [u8], cache: &mut StampCache) -> Result<Message<'a>, Malformed> {
    let (line, newline) = match raw {
        [line @ .., b'\r', b'\n'] => (line, true),
        [line @ .., b'\n'] => (line, true),
        line => (line, false),
    };
    match line.first() {
        Some(b'<') => syslog(line, newline, cache),
        Some(b'0'..=b'9') => bare(line, newline, cache),
        Some(_) => Err(Malformed::NotSyslog),
        None if newline => Err(Malformed::NotSyslog),
        None => Err(Malformed::Empty),
    }
}

/// `<PRI>1 ` and what follows it.
#[inline(always)]
fn pri(line: &[u8]) -> Option<(u16, &[u8])> {
    if let [b'<', a @ b'0'..=b'9', b @ b'0'..=b'9', c @ b'0'..=b'9', b'>', b'1', b' ', rest @ ..] = line {
        let digit = |c: &u8| (c - b'0') as u16;
        return Some((digit(a) * 100 + digit(b) * 10 + digit(c), rest));
    }
    let (mut n, mut i) = (0u16, 1);
    while let Some(d) = line.get(i).map(|c| c.wrapping_sub(b'0')).filter(|&d| d <= 9) {
        if i > 3 {
            return None;
        }
        n = n * 10 + d as u16;
        i += 1;
    }
    if i == 1 {
        return None;
    }
    Some((n, line.get(i..)?.strip_prefix(b">1 ")?))
}

/// The first token, where the stamp must be. Logplex writes 32 bytes: six digits of fraction and the zone in numbers.
#[inline(always)]
fn stamp_token(b: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(head) = b.first_chunk::<33>()
        && head[19] == b'.'
        && head[26] == b'+'
        && head[32] == b' '
    {
        return Some((&b[..32], &b[33..]));
    }
    // The longest valid stamp has 35 bytes.
    let end = find_near(&b[..b.len().min(40)], b' ')?;
    Some((&b[..end], &b[end + 1..]))
}

#[inline(always)]
fn syslog<'a>(line: &'a [u8], newline: bool, cache: &mut StampCache) -> Result<Message<'a>, Malformed> {
    let (pri, rest) = pri(line).ok_or(Malformed::NotSyslog)?;
    let (stamp, rest) = stamp_token(rest).ok_or(Malformed::NotSyslog)?;
    let Some(fields) = rest.strip_prefix(b"host ") else {
        return other_layouts(pri, stamp, rest, newline, cache);
    };
    let (app_name, proc_id, text) = match fields.strip_prefix(b"heroku router - ") {
        // Two lines of three are of this kind, and a fixed prefix is cheaper than looking for blanks.
        Some(text) => (&fields[..6], &fields[7..13], text),
        None => {
            let (app_name, fields) = field(fields)?;
            let (proc_id, fields) = field(fields)?;
            match fields.strip_prefix(b"- ") {
                Some(text) => (app_name, proc_id, text),
                None => (app_name, proc_id, msgid(fields)?),
            }
        }
    };
    let at_us = cache.stamp(stamp).ok_or(Malformed::BadTimestamp)?;
    Ok(Message { at_us, app_name, proc_id, drain_token: None, pri: Some(pri), text, newline })
}

/// The old drain's and the syslog drain's layouts, and RFC 5424 from a foreign host.
#[cold]
fn other_layouts<'a>(
    pri: u16,
    stamp: &'a [u8],
    rest: &'a [u8],
    newline: bool,
    cache: &mut StampCache,
) -> Result<Message<'a>, Malformed> {
    let (host, rest) = field(rest)?;
    let (app, rest) = field(rest)?;
    let (proc, rest) = field(rest)?;
    let text = msgid(rest)?;
    let at_us = cache.stamp(stamp).ok_or(Malformed::BadTimestamp)?;
    let make = |app_name, proc_id, drain_token, text| Message {
        at_us,
        app_name,
        proc_id,
        drain_token,
        pri: Some(pri),
        text,
        newline,
    };
    Ok(if is_drain_token(proc) {
        make(host, app, Some(proc), text)
    } else if is_drain_token(host) {
        make(app, proc, Some(host), without_structured_data(text))
    } else {
        make(app, proc, None, without_structured_data(text))
    })
}

/// A header field: not empty, and a blank after it.
#[inline(always)]
fn field(b: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    match find_near(b, b' ') {
        Some(i) if i > 0 => Ok((&b[..i], &b[i + 1..])),
        _ => Err(Malformed::NotSyslog),
    }
}

/// What follows MSGID. A message with an empty text may end right behind it.
fn msgid(b: &[u8]) -> Result<&[u8], Malformed> {
    let (id, text) = token(b);
    if id.is_empty() { Err(Malformed::NotSyslog) } else { Ok(text) }
}

/// Whether `b` is `d.` and a UUID.
pub(crate) fn is_drain_token(b: &[u8]) -> bool {
    b.len() == DRAIN_TOKEN_LEN
        && b.starts_with(b"d.")
        && b[2..].iter().enumerate().all(|(i, c)| match i {
            8 | 13 | 18 | 23 => *c == b'-',
            _ => c.is_ascii_hexdigit(),
        })
}

/// Takes `- ` or `[id name="value" …] ` off. An element without a parameter is left alone: `[2] [INFO]` is an app's text.
fn without_structured_data(text: &[u8]) -> &[u8] {
    match text {
        [b'-'] => &[],
        [b'-', b' ', rest @ ..] => rest,
        [b'[', ..] => {
            let mut rest = text;
            while let Some(after) = structured_element(rest) {
                rest = after;
            }
            match rest {
                [] => rest,
                [b' ', after @ ..] if rest.len() < text.len() => after,
                _ => text,
            }
        }
        _ => text,
    }
}

/// One `[id name="value" …]` with at least one parameter, by RFC 5424's grammar; what follows it.
fn structured_element(b: &[u8]) -> Option<&[u8]> {
    let name_len = |b: &[u8]| {
        let len = b.iter().take_while(|c| c.is_ascii_graphic() && !matches!(c, b'=' | b']' | b'"')).count();
        (1..=32).contains(&len).then_some(len)
    };
    let mut rest = b.strip_prefix(b"[")?;
    rest = &rest[name_len(rest)?..];
    let mut params = 0;
    while let Some(param) = rest.strip_prefix(b" ") {
        rest = param[name_len(param)?..].strip_prefix(b"=\"")?;
        loop {
            match rest {
                [b'\\', b'"' | b'\\' | b']', after @ ..] => rest = after,
                [b'"', after @ ..] => {
                    rest = after;
                    break;
                }
                [b']', ..] | [] => return None,
                [_, after @ ..] => rest = after,
            }
        }
        params += 1;
    }
    (params > 0).then_some(())?;
    rest.strip_prefix(b"]")
}

/// Stamp, name, process and text of `TS NAME[PROC]: TEXT`.
#[inline(always)]
fn split_bare(line: &[u8]) -> Option<[&[u8]; 4]> {
    let (stamp, rest) = stamp_token(line)?;
    let name_end = find_near(rest, b'[')?;
    let (name, rest) = (&rest[..name_end], &rest[name_end + 1..]);
    let proc_end = find_near(rest, b']')?;
    let (proc, rest) = (&rest[..proc_end], &rest[proc_end + 1..]);
    let text = match rest {
        [b':', b' ', text @ ..] => text,
        b":" => &[],
        _ => return None,
    };
    (is_name(name) && is_name(proc)).then_some([stamp, name, proc, text])
}

/// What Heroku names sources and processes with. Keeps a text with brackets from passing as a header.
#[inline(always)]
fn is_name(b: &[u8]) -> bool {
    !b.is_empty() && b.iter().all(|&c| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_'))
}

fn bare<'a>(line: &'a [u8], newline: bool, cache: &mut StampCache) -> Result<Message<'a>, Malformed> {
    if !begins_like_stamp(line) {
        return Err(Malformed::NotSyslog);
    }
    let [stamp, app_name, proc_id, text] = split_bare(line).ok_or(Malformed::NotSyslog)?;
    let at_us = cache.stamp(stamp).ok_or(Malformed::BadTimestamp)?;
    Ok(Message { at_us, app_name, proc_id, drain_token: None, pri: None, text, newline })
}

/// Whether `b` begins as a line of `heroku logs` does. The stamp's values are not checked here.
pub(crate) fn looks_bare(b: &[u8]) -> bool {
    if !begins_like_stamp(b) {
        return false;
    }
    let line = memchr::memchr(b'\n', b).map_or(b, |i| &b[..i]);
    split_bare(line.strip_suffix(b"\r").unwrap_or(line)).is_some()
}
