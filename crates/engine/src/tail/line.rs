//! One line of a log as people may see it: masked, bounded, with a name by which it can be found again.

use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::str::FromStr;

use dynowatch_domain::evidence::{EVIDENCE_LINE_BYTES_MAX, EvidenceLine};
use dynowatch_domain::log_level::LogLevel;
use dynowatch_domain::mask::{Behind, Masker};
use dynowatch_domain::signal::Source;
use dynowatch_domain::{AlertId, AppId, Timestamp};
use dynowatch_logplex::rejoin::PIECE_BYTES;

/// The longest text of a line in a list. A page about one line shows more.
pub const SHOWN_BYTES_MAX: usize = 2_048;
/// Lines of an app that wait for their next piece.
const OPEN_MAX: usize = 16;
/// Passes that one waits for: Heroku sends the pieces of a line together.
const TORN_PASSES_MAX: u32 = 30;
/// The longest process name that is looked at; evidence cuts there, too.
const PROCESS_BYTES_MAX: usize = 128;

/// The name of a line in this process: a hash of its bytes under a key that nobody is told, so that the name of a masked
/// line says nothing about what was masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LineId(pub(super) u64);

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for LineId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

/// A line, to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenLine {
    /// Its name, in this process.
    pub id: LineId,
    /// Whose it is.
    pub app: AppId,
    /// The app's name.
    pub app_name: String,
    /// Its own stamp.
    pub at: Timestamp,
    /// Who wrote it.
    pub source: Source,
    /// The name in brackets, masked.
    pub process: String,
    /// How bad it says it is.
    pub level: Option<LogLevel>,
    /// The text, masked, cut where it is longer than was asked for.
    pub text: String,
    /// Bytes of the masked text that were cut off.
    pub cut_bytes: usize,
    /// Whether something in the text was masked.
    pub is_masked: bool,
    /// Whether it is a part of a longer line, which Heroku cut.
    pub is_torn: bool,
    /// Whether what lay before it was known.
    pub is_continued: bool,
    /// The alert that it caused, or that was open when it matched.
    pub alert: Option<AlertId>,
}

/// The parts of a line, borrowed from wherever it lies.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RawLine<'a> {
    pub(crate) at: Timestamp,
    pub(crate) source: Source,
    pub(crate) process: &'a [u8],
    pub(crate) text: &'a [u8],
    /// What is known to lie before and behind the text, where it is a part of a longer line: a secret may lie across a cut.
    pub(crate) before: &'a [u8],
    pub(crate) behind: &'a [u8],
    /// Whether the line goes on behind the text.
    pub(crate) goes_on: bool,
}

impl<'a> RawLine<'a> {
    pub(crate) fn of(message: &dynowatch_logplex::Message<'a>) -> Self {
        Self {
            at: Timestamp::from_micros(message.at_us),
            source: crate::adapter::source(message),
            process: cut(message.proc_id, PROCESS_BYTES_MAX),
            text: cut(message.text, EVIDENCE_LINE_BYTES_MAX),
            before: &[],
            behind: cut(message.text.get(EVIDENCE_LINE_BYTES_MAX..).unwrap_or_default(), EVIDENCE_LINE_BYTES_MAX),
            goes_on: is_piece(message.text) && !message.newline || message.text.len() > EVIDENCE_LINE_BYTES_MAX,
        }
    }

    /// A line of which these parts are known.
    pub(crate) fn new(at: Timestamp, source: Source, process: &'a [u8], text: &'a [u8]) -> Self {
        let goes_on = is_piece(text) || text.len() >= EVIDENCE_LINE_BYTES_MAX;
        Self { at, source, process, text, before: &[], behind: &[], goes_on }
    }

    /// Whether it is a part of a longer line.
    pub(crate) fn is_torn(&self) -> bool {
        self.goes_on || !self.before.is_empty()
    }

    fn is_of_one_line(&self, other: &RawLine<'_>) -> bool {
        (self.at, self.source, self.process) == (other.at, other.source, other.process)
    }

    /// A line of evidence.
    pub(crate) fn of_evidence(line: &'a EvidenceLine) -> Self {
        Self::new(line.at, line.source, &line.process, &line.text)
    }

    /// The same line has the same name in the ring, in the tail and in evidence.
    pub(crate) fn id(&self, key: &[u8; 16], app: AppId) -> LineId {
        let mut hasher = DefaultHasher::new();
        hasher.write(key);
        hasher.write(app.0.as_bytes());
        hasher.write_i64(self.at.as_micros());
        hasher.write_u8(u8::from(self.source == Source::Heroku));
        hasher.write_usize(self.process.len());
        hasher.write(self.process);
        hasher.write(self.text);
        LineId(hasher.finish())
    }

    /// As people may see it. Masked whole and cut after, so that no part of a secret is left over.
    pub(crate) fn see(&self, id: LineId, app: AppId, app_name: &str, masker: &Masker, bytes_max: usize) -> SeenLine {
        let (process, text) = (String::from_utf8_lossy(self.process), String::from_utf8_lossy(self.text));
        let (shown_process, masked) = (masker.mask(&process), self.masked(masker, &text));
        let is_masked = masked != text;
        let mut end = bytes_max.min(masked.len());
        while !masked.is_char_boundary(end) {
            end -= 1;
        }
        SeenLine {
            id,
            app,
            app_name: app_name.to_owned(),
            at: self.at,
            source: self.source,
            level: LogLevel::of(&masked),
            cut_bytes: masked.len() - end,
            text: masked.get(..end).unwrap_or_default().to_owned(),
            process: shown_process.into_owned(),
            is_masked,
            is_torn: self.is_torn(),
            is_continued: !self.before.is_empty(),
            alert: None,
        }
    }

    fn masked<'t>(&self, masker: &Masker, text: &'t str) -> Cow<'t, str> {
        if !self.is_torn() {
            return masker.mask(text);
        }
        let (before, behind) = (String::from_utf8_lossy(self.before), String::from_utf8_lossy(self.behind));
        let unknown = self.goes_on && self.behind.is_empty();
        let behind = if unknown { Behind::Unknown } else { Behind::Known(&behind) };
        Cow::Owned(masker.mask_part(&before, text, behind))
    }
}

/// A piece of a long line whose next piece may still come.
#[derive(Debug)]
pub(crate) struct Torn {
    at: Timestamp,
    source: Source,
    process: Box<[u8]>,
    text: Box<[u8]>,
    /// Passes that it has waited for.
    waited: u32,
}

impl Torn {
    fn of(line: &RawLine<'_>, waited: u32) -> Option<Self> {
        let RawLine { at, source, process, text, .. } = *line;
        (waited < TORN_PASSES_MAX).then(|| Self { at, source, process: process.into(), text: text.into(), waited })
    }

    fn as_line(&self) -> RawLine<'_> {
        RawLine::new(self.at, self.source, &self.process, &self.text)
    }

    /// The same one pass later; `None` when its next piece does not come any more.
    pub(crate) fn later(mut self) -> Option<Self> {
        self.waited += 1;
        (self.waited < TORN_PASSES_MAX).then_some(self)
    }
}

/// Lets the pieces of long lines know of each other; `earlier` are pieces that came before all of these. Returns those whose
/// next piece may still come. The order of pieces is that of their arrival.
pub(crate) fn know_neighbours<'a>(lines: &mut [RawLine<'a>], earlier: &'a [Torn]) -> Vec<Torn> {
    // With the place among these lines, or with how long an earlier one has waited.
    let mut open: Vec<(RawLine<'a>, Result<usize, u32>)> =
        earlier.iter().map(|torn| (torn.as_line(), Err(torn.waited + 1))).collect();
    for at in 0..lines.len() {
        let Some(&line) = lines.get(at) else { break };
        if open.is_empty() && !line.goes_on {
            continue;
        }
        if let Some(place) = open.iter().position(|(before, _)| before.is_of_one_line(&line)) {
            let (before, stands) = open.remove(place);
            if let Some(piece) = lines.get_mut(at) {
                piece.before = before.text;
            }
            if let Some(piece) = stands.ok().and_then(|stands| lines.get_mut(stands)) {
                piece.behind = line.text;
            }
        }
        if is_piece(line.text) && line.goes_on {
            if open.len() >= OPEN_MAX {
                let _oldest = open.remove(0);
            }
            open.push((line, Ok(at)));
        }
    }
    open.iter().filter_map(|(line, stands)| Torn::of(line, stands.err().unwrap_or(0))).collect()
}

/// Heroku cuts lines into pieces of this length.
fn is_piece(text: &[u8]) -> bool {
    text.len() == PIECE_BYTES
}

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}
