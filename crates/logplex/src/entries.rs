//! Files of log lines: telling the three formats apart, and walking each. For replaying what was captured; a POST body is
//! walked by [`crate::frames`].

use crate::frame::{FRAME_BYTES_MAX, Frame, Malformed, Step, step};
use crate::message::looks_bare;

/// How a file holds its lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Octet-counted frames, as POST bodies and syslog drains carry them; bodies back to back.
    Logplex,
    /// `heroku logs` output: `TS name[proc]: text` per line.
    HerokuLogs,
    /// Syslog lines, `<PRI>1 …` per line.
    Syslog,
}

impl Format {
    /// The format's name, as shown to people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Logplex => "logplex",
            Format::HerokuLogs => "heroku-logs",
            Format::Syslog => "syslog",
        }
    }
}

/// How many lines are looked at before giving up on finding a telling one.
const LINES_LOOKED_AT_MAX: usize = 20;

/// Tells the format of a file from its first bytes (a few KiB are plenty).
///
/// The first line that has the shape of one format decides, since a captured file may begin with a shell prompt or a
/// heading. Without any, the file is taken as `heroku logs` output, whose every line then counts as malformed.
pub fn detect(first_bytes: &[u8]) -> Format {
    let text = first_bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(first_bytes);
    for line in text.split(|&c| c == b'\n').take(LINES_LOOKED_AT_MAX) {
        let line = line.trim_ascii();
        if looks_bare(line) {
            return Format::HerokuLogs;
        }
        if begins_with_pri(line) {
            return Format::Syslog;
        }
        let digits = line.iter().take_while(|c| c.is_ascii_digit()).count();
        if (1..=8).contains(&digits) && line[digits..].strip_prefix(b" ").is_some_and(begins_with_pri) {
            return Format::Logplex;
        }
    }
    Format::HerokuLogs
}

/// `<PRI>1 `.
fn begins_with_pri(b: &[u8]) -> bool {
    let Some(b) = b.strip_prefix(b"<") else {
        return false;
    };
    let digits = b.iter().take(4).take_while(|c| c.is_ascii_digit()).count();
    (1..=3).contains(&digits) && b[digits..].starts_with(b">1 ")
}

/// The entries of a file or of a chunk of one. See [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    format: Format,
    data: &'a [u8],
    at: usize,
    lost: bool,
}

/// Walks the entries of `data`, which begins at the start of an entry.
///
/// In [`Format::Logplex`] line breaks between frames are passed over, since files are often joined with them; a broken count
/// still makes the rest of the data one bad frame. In the line formats every line but an empty one is an entry.
///
/// To walk a file in chunks, give [`complete_prefix`] of what is at hand and carry the remainder over.
pub fn entries(format: Format, data: &[u8]) -> Entries<'_> {
    Entries { format, data, at: 0, lost: false }
}

/// How many bytes at the start of `data` are whole entries. Whatever follows must be offered again with more data behind it;
/// at the end of a file, walk it as it is.
pub fn complete_prefix(format: Format, data: &[u8]) -> usize {
    match format {
        Format::HerokuLogs | Format::Syslog => memchr::memrchr(b'\n', data).map_or(0, |i| i + 1),
        Format::Logplex => {
            let mut at = 0;
            loop {
                let next = at + line_breaks(&data[at..]);
                if next == data.len() {
                    return at;
                }
                match step(data, next) {
                    Step::Whole { end, .. } | Step::Skip { end, .. } => at = end,
                    Step::Lost(Malformed::Truncated) => return at,
                    // It stays broken whatever follows.
                    Step::Lost(_) => return data.len(),
                }
            }
        }
    }
}

fn line_breaks(b: &[u8]) -> usize {
    b.iter().take_while(|c| matches!(c, b'\n' | b'\r')).count()
}

impl<'a> Entries<'a> {
    /// Bytes walked so far. After a truncated frame this is where that frame began.
    pub fn consumed(&self) -> usize {
        self.at
    }

    fn next_frame(&mut self) -> Option<Frame<'a>> {
        self.at += line_breaks(self.data.get(self.at..)?);
        if self.at >= self.data.len() {
            return None;
        }
        Some(match step(self.data, self.at) {
            Step::Whole { start, end } => {
                self.at = end;
                Frame::Message(&self.data[start..end])
            }
            Step::Skip { reason, end } => {
                self.at = end;
                Frame::Bad(reason)
            }
            Step::Lost(reason) => {
                self.lost = true;
                if reason != Malformed::Truncated {
                    self.at = self.data.len();
                }
                Frame::Bad(reason)
            }
        })
    }

    fn next_line(&mut self) -> Option<Frame<'a>> {
        loop {
            let rest = self.data.get(self.at..).filter(|rest| !rest.is_empty())?;
            let len = memchr::memchr(b'\n', rest).map_or(rest.len(), |i| i + 1);
            self.at += len;
            let line = &rest[..len];
            if line.trim_ascii_start().is_empty() {
                continue;
            }
            return Some(if len > FRAME_BYTES_MAX { Frame::Bad(Malformed::Oversized) } else { Frame::Message(line) });
        }
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Frame<'a>;

    #[inline]
    fn next(&mut self) -> Option<Frame<'a>> {
        if self.lost {
            return None;
        }
        match self.format {
            Format::Logplex => self.next_frame(),
            Format::HerokuLogs | Format::Syslog => self.next_line(),
        }
    }
}

impl std::iter::FusedIterator for Entries<'_> {}
