//! Octet framing of one POST body: `COUNT SP MESSAGE`, no separators. Owns where a frame begins and ends and the names of
//! what can be wrong with one; what is inside a frame belongs to [`mod@crate::message`].
//!
//! The walk never looks for newlines: they occur inside messages, and the loss notes that Logplex writes itself have none.
//! A broken count makes everything after it unreadable, because whatever looks like the next frame may be text that an
//! app printed. So nothing is searched for and nothing guessed: the rest of that body counts as one bad frame.

use crate::message::looks_bare;

/// The longest frame that is taken, in octets. Heroku cuts lines at 10,000 bytes, so this leaves room for other senders.
pub const FRAME_BYTES_MAX: usize = 2 << 20;

/// Digits of the longest count that is read as one: 99,999,999 octets, far beyond any body limit.
const COUNT_DIGITS_MAX: usize = 8;

/// Why something was not taken. One per frame or, after a broken count, one for the rest of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Malformed {
    /// No octet count where one must stand: not a digit, a leading zero, more than eight digits, or no blank after it.
    BadCount,
    /// The body ends before the counted octets do, or inside a count.
    Truncated,
    /// Longer than [`FRAME_BYTES_MAX`]; skipped, and the walk goes on behind it.
    Oversized,
    /// A whole frame (or line) without a syslog header and not in the `heroku logs` form.
    NotSyslog,
    /// A header whose time stamp is not a valid RFC 3339 one.
    BadTimestamp,
    /// A frame of zero octets.
    Empty,
}

impl Malformed {
    /// Every reason, in the order of [`Malformed::index`].
    pub const ALL: &'static [Malformed] = &[
        Malformed::BadCount,
        Malformed::Truncated,
        Malformed::Oversized,
        Malformed::NotSyslog,
        Malformed::BadTimestamp,
        Malformed::Empty,
    ];

    /// The reason's stable name, as metrics and summaries print it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Malformed::BadCount => "bad_count",
            Malformed::Truncated => "truncated",
            Malformed::Oversized => "oversized",
            Malformed::NotSyslog => "not_syslog",
            Malformed::BadTimestamp => "bad_timestamp",
            Malformed::Empty => "empty",
        }
    }

    /// Position in [`Malformed::ALL`], for counters in an array.
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One step of the walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// The counted octets, exactly as sent (with their newline, if they have one).
    Message(&'a [u8]),
    /// Something that could not be taken, and why.
    Bad(Malformed),
}

/// What a count at the start of a slice says.
pub(crate) enum Step {
    /// The frame's octets lie in `start..end`.
    Whole { start: usize, end: usize },
    /// One unusable frame that ends at `end`.
    Skip { reason: Malformed, end: usize },
    /// Nothing after this point can be read.
    Lost(Malformed),
}

/// Reads the count at `at` and finds the frame's bounds. `at` must lie inside `body`.
#[inline(always)]
pub(crate) fn step(body: &[u8], at: usize) -> Step {
    let (mut count, mut i) = (0usize, at);
    loop {
        let Some(&c) = body.get(i) else {
            return Step::Lost(Malformed::Truncated);
        };
        let digit = c.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        if i - at == COUNT_DIGITS_MAX {
            return Step::Lost(Malformed::BadCount);
        }
        count = count * 10 + digit as usize;
        i += 1;
    }
    let digits = i - at;
    if digits == 0 || body[i] != b' ' || (body[at] == b'0' && digits > 1) {
        return Step::Lost(Malformed::BadCount);
    }
    let (start, end) = (i + 1, i + 1 + count);
    if end > body.len() {
        return Step::Lost(Malformed::Truncated);
    }
    if count == 0 {
        return Step::Skip { reason: Malformed::Empty, end };
    }
    if count > FRAME_BYTES_MAX {
        return Step::Skip { reason: Malformed::Oversized, end };
    }
    Step::Whole { start, end }
}

/// The frames of one POST body. See [`frames`].
#[derive(Debug, Clone)]
pub struct Frames<'a> {
    body: &'a [u8],
    at: usize,
    bare: bool,
}

/// Walks the frames of one POST body.
///
/// A body that begins as a line of `heroku logs` does (`2026-05-07T08:06:12Z heroku[router]: …`) is taken as such lines,
/// one per newline: people test a drain by posting one. That is decided by the body's first bytes alone, which Logplex
/// writes and no app can, so the text of a framed message is never read as lines of its own.
pub fn frames(body: &[u8]) -> Frames<'_> {
    Frames { body, at: 0, bare: looks_bare(body) }
}

impl<'a> Frames<'a> {
    /// Whether the body holds bare lines rather than counted frames.
    pub fn is_bare(&self) -> bool {
        self.bare
    }

    fn next_bare(&mut self) -> Option<Frame<'a>> {
        loop {
            let rest = self.body.get(self.at..).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
            self.at += len;
            let line = &rest[..len];
            if line.trim_ascii().is_empty() {
                continue;
            }
            return Some(if len > FRAME_BYTES_MAX {
                Frame::Bad(Malformed::Oversized)
            } else if looks_bare(line) {
                Frame::Message(line)
            } else {
                Frame::Bad(Malformed::NotSyslog)
            });
        }
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        if self.at >= self.body.len() {
            return None;
        }
        if self.bare {
            return self.next_bare();
        }
        match step(self.body, self.at) {
            Step::Whole { start, end } => {
                self.at = end;
                Some(Frame::Message(&self.body[start..end]))
            }
            Step::Skip { reason, end } => {
                self.at = end;
                Some(Frame::Bad(reason))
            }
            Step::Lost(reason) => {
                self.at = self.body.len();
                Some(Frame::Bad(reason))
            }
        }
    }
}

impl std::iter::FusedIterator for Frames<'_> {}
