//! Where secrets end: scans from the place where a value begins. Each looks at a byte a bounded number of times.

use std::ops::Range;

use super::shapes;

/// Which values of a key are secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    /// All but `null` and kin: the key says it.
    AnyValue,
    /// Not small numbers either: `session=17` is a count.
    NotANumber,
    /// Only what looks random: the key may be a word in a sentence.
    Random,
}

/// Values that are no secret, whatever the key: placeholders, and what other filters left.
const HARMLESS: &[&str] = &[
    "true",
    "false",
    "null",
    "nil",
    "none",
    "undefined",
    "missing",
    "invalid",
    "expired",
    "required",
    "present",
    "empty",
    "yes",
    "no",
    "bearer",
    "basic",
    "[masked]",
    "[filtered]",
    "[redacted]",
    "<redacted>",
    "[hidden]",
];

/// The value of a key, without its quotes.
pub(super) fn of_key(text: &str, at: usize, trust: Trust) -> Option<Range<usize>> {
    let range = quoted(text, at).unwrap_or_else(|| at..bare_end(text, at));
    let value = text.get(range.clone())?;
    let ended = value.trim_end_matches([',', ';', '.']);
    let bare = ended.trim_end_matches([',', ';', '.', ')', '}', ']']);
    let harmless = |text: &str| HARMLESS.iter().any(|word| text.eq_ignore_ascii_case(word));
    if bare.bytes().all(|b| b == b'*') || harmless(bare) || harmless(ended) {
        return None;
    }
    let secret = match trust {
        Trust::AnyValue => !value.starts_with('/'),
        Trust::NotANumber => !(bare.len() <= 6 && bare.bytes().all(|b| b.is_ascii_digit())),
        Trust::Random => looks_random(bare),
    };
    secret.then_some(range)
}

/// Inside quotes, which may be escaped themselves (JSON inside JSON). Without a closing quote, to the end of the line.
fn quoted(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let slashes = rest.bytes().take_while(|&b| b == b'\\').count();
    let quote = rest.as_bytes().get(slashes).copied().filter(|&b| b == b'"' || b == b'\'')?;
    let start = at + slashes + 1;
    let mut run = 0;
    for (i, byte) in text.bytes().enumerate().skip(start) {
        match byte {
            b'\\' => run += 1,
            // With as many backslashes as the opening one it closes; with more it is inside.
            _ if byte == quote && run <= slashes => return Some(start..i - run),
            b'\n' => return Some(start..i),
            _ => run = 0,
        }
    }
    Some(start..text.len())
}

/// The end of a value without quotes: at white space, and at a separator that is followed by something like the next
/// pair. Other punctuation may be part of a password.
fn bare_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    for (i, c) in rest.char_indices() {
        let behind = rest.get(i + c.len_utf8()..).unwrap_or("");
        let ends = match c {
            _ if c.is_whitespace() || c.is_control() => true,
            '&' | ',' | ';' => behind.is_empty() || behind.starts_with(char::is_whitespace) || begins_pair(behind),
            '"' | '\'' | '\\' | '>' | '<' => {
                behind.is_empty() || behind.starts_with([' ', ',', ';', ')', '}', ']', '"', '\'', '&', '\n'])
            }
            _ => false,
        };
        if ends {
            return at + i;
        }
    }
    text.len()
}

/// Whether `name=` or `"name":` stands here. Looks at 40 bytes at most.
fn begins_pair(text: &str) -> bool {
    let text = text.trim_start_matches(['"', '\'', ':']);
    let end = text.bytes().take(40).position(|b| !(b.is_ascii_alphanumeric() || b"_-.[]%".contains(&b)));
    end.is_some_and(|end| {
        end > 0 && text.get(end..).is_some_and(|rest| rest.trim_start_matches(['"', '\'']).starts_with(['=', ':']))
    })
}

/// A longer user and password is none. It bounds the work on a line that is all `a://b:`.
const USERINFO_CHARS_MAX: usize = 1_000;

/// The password between `://user:` and `@host`, or the whole `user:password` when the user may be a secret too.
pub(super) fn userinfo(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let ends = |c: char| c.is_whitespace() || c.is_control() || "\"'<>`|".contains(c);
    let mut chars = rest.char_indices().take(USERINFO_CHARS_MAX + 1);
    let end = chars
        .by_ref()
        .take(USERINFO_CHARS_MAX)
        .find(|(_, c)| ends(*c))
        .or_else(|| chars.next())
        .map_or(rest.len(), |(i, _)| i);
    let run = rest.get(..end)?;
    let authority = run.split(['/', '?', '#']).next().unwrap_or("");
    let colon = authority.find(':');
    let host_at = match authority.rfind('@') {
        Some(host_at) => host_at,
        // A password with an unescaped slash: `user:pa/ss@host`. `host:8080/x?by=a@b` is none.
        None if colon.is_some_and(|i| !port(authority.get(i + 1..).unwrap_or(""))) => run.rfind('@')?,
        None => return None,
    };
    let user = run.get(..colon.unwrap_or(host_at).min(host_at))?;
    let user_is_secret = user.len() >= 16 && is_mixed(user) || user.len() >= 32 || shapes::holds_secret(user);
    match colon.filter(|colon| *colon < host_at) {
        Some(colon) if !user_is_secret => Some(at + colon + 1..at + host_at),
        None if !user_is_secret => None,
        _ => Some(at..at + host_at),
    }
}

fn port(text: &str) -> bool {
    !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit())
}

/// The credentials of an `Authorization` header; its scheme stays.
pub(super) fn authorization(text: &str, lead: Range<usize>) -> Option<Range<usize>> {
    let value = header(text, lead)?;
    let scheme_end = run_end(text, value.start, |c| c.is_ascii_alphanumeric() || c == '-');
    let blank_end = run_end(text, scheme_end, |c| c == ' ' || c == '\t');
    let has_scheme =
        blank_end > scheme_end && scheme_end > value.start && scheme_end - value.start <= 16 && blank_end < value.end;
    Some(if has_scheme { blank_end..value.end } else { value })
}

/// The value of a header: to its quote's end, or to the end of the line, for it may hold blanks.
pub(super) fn header(text: &str, lead: Range<usize>) -> Option<Range<usize>> {
    if let Some(range) = quoted(text, lead.end) {
        return Some(range);
    }
    // `-H "Cookie: a=b"`: the quote before the header's name closes behind its value.
    let name_at =
        text.get(..lead.start)?.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_').len();
    let outer = text.get(..name_at)?.bytes().next_back().filter(|b| matches!(b, b'"' | b'\''));
    let end = run_end(text, lead.end, |c| c != '\n' && c != '\r' && outer.is_none_or(|quote| c != char::from(quote)));
    Some(lead.end..end)
}

/// To the end marker of a private key, or to the end of the text: without the marker all that follows may be key.
pub(super) fn pem_end(text: &str, at: usize) -> usize {
    let rest = text.get(at..).unwrap_or("");
    let Some(marker) = rest.find("-----END ") else {
        return text.len();
    };
    let behind = at + marker + "-----END ".len();
    let tail = text.get(behind..).unwrap_or("");
    tail.find("-----").map_or(text.len(), |i| behind + i + "-----".len())
}

/// The word that begins here, if it looks random.
pub(super) fn random_word(text: &str, at: usize) -> Option<Range<usize>> {
    let end = run_end(text, at, |c| c.is_ascii_alphanumeric() || "._~+/=-".contains(c));
    looks_random(text.get(at..end)?).then_some(at..end)
}

/// The UUID that begins here.
pub(super) fn uuid(text: &str, at: usize) -> Option<Range<usize>> {
    let end = run_end(text, at, |c| c.is_ascii_hexdigit() || c == '-');
    (end - at == 36).then_some(at..end)
}

/// Where the run of fitting characters that begins at `at` ends.
pub(super) fn run_end(text: &str, at: usize, fits: impl Fn(char) -> bool) -> usize {
    let rest = text.get(at..).unwrap_or("");
    at + rest.find(|c| !fits(c)).unwrap_or(rest.len())
}

/// Capitals, small letters and digits.
pub(super) fn is_mixed(text: &str) -> bool {
    let has = |class: fn(&u8) -> bool| text.bytes().any(|b| class(&b));
    has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit)
}

/// Not a word of a sentence: eight characters or more with a digit, a capital inside, or a sign of encodings.
fn looks_random(text: &str) -> bool {
    let inner_capital =
        text.bytes().skip(1).any(|b| b.is_ascii_uppercase()) && text.bytes().any(|b| b.is_ascii_lowercase());
    let sign = text.bytes().any(|b| b.is_ascii_digit() || b"+=".contains(&b));
    text.len() >= 8 && (inner_capital || sign) || text.len() >= 24 && !text.contains(char::is_whitespace)
}
