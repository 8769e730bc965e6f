//! L codes: what Logplex and log-shuttle say about lines they could not carry.

use super::code::{Code, Letter};
use crate::bytes::{leading_number, split_once};
use crate::stamp::StampCache;

/// A note about lost or refused lines. While one is fresh, every count over that time is a lower bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLoss {
    /// L10 to L13 report a loss; others (L14, L15, L20) a refusal.
    pub code: Code,
    /// Lines dropped or lost, where the note says how many.
    pub dropped: Option<u64>,
    /// Since when, where the note says: microseconds since 1970, UTC.
    pub since_us: Option<i64>,
}

impl LogLoss {
    /// Whether lines are missing for it (L10 to L13). The others tell of a refusal, and of no line that was to come here.
    pub fn lost_lines(&self) -> bool {
        matches!(self.code.number(), 10..=13)
    }

    /// Reads `[Error ]Lnn[ (title)](:| ->) …`; `None` for anything else.
    pub fn parse(text: &[u8]) -> Option<LogLoss> {
        let rest = text.strip_prefix(b"Error ").unwrap_or(text);
        let code_len = rest.iter().take(5).position(|c| matches!(c, b' ' | b':'))?;
        let code = Code::parse(&rest[..code_len]).filter(|code| code.letter() == Letter::L)?;
        let mut rest = &rest[code_len..];
        if let Some(titled) = rest.strip_prefix(b" (") {
            rest = &titled[memchr::memchr(b')', titled)? + 1..];
        }
        let detail = rest.strip_prefix(b":").or(rest.strip_prefix(b" ->"))?;
        Some(LogLoss { code, dropped: dropped(detail), since_us: since(detail) })
    }
}

/// The number in front of ` messages dropped since` or ` messages lost since`, or between `dropped ` and ` messages`.
fn dropped(detail: &[u8]) -> Option<u64> {
    let (before, _) = split_once(detail, b" messages ")?;
    let digits = before.rsplit(|&c| c == b' ').next()?;
    let (n, len) = leading_number(digits);
    (len > 0 && len == digits.len()).then_some(n)
}

/// The stamp behind ` since `, which a full stop may follow.
fn since(detail: &[u8]) -> Option<i64> {
    let (_, stamp) = split_once(detail, b" since ")?;
    let stamp = stamp.trim_ascii_end();
    StampCache::default().stamp(stamp.strip_suffix(b".").unwrap_or(stamp))
}
