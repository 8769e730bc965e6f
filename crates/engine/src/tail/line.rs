//! One line of a log as people may see it: masked, bounded, with a name by which it can be found again.

use std::fmt;
use std::hash::{DefaultHasher, Hasher as _};
use std::str::FromStr;

use dynowatch_domain::evidence::{EVIDENCE_LINE_BYTES_MAX, EvidenceLine};
use dynowatch_domain::log_level::LogLevel;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::signal::Source;
use dynowatch_domain::{AlertId, AppId, Timestamp};

/// The longest text of a line in a list. A page about one line shows more.
pub const SHOWN_BYTES_MAX: usize = 2_048;
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
}

impl<'a> RawLine<'a> {
    pub(crate) fn of(message: &dynowatch_logplex::Message<'a>) -> Self {
        Self {
            at: Timestamp::from_micros(message.at_us),
            source: crate::adapter::source(message),
            process: cut(message.proc_id, PROCESS_BYTES_MAX),
            text: cut(message.text, EVIDENCE_LINE_BYTES_MAX),
        }
    }

    /// A line of evidence.
    pub(crate) fn of_evidence(line: &'a EvidenceLine) -> Self {
        Self { at: line.at, source: line.source, process: &line.process, text: &line.text }
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
        let (shown_process, masked) = (masker.mask(&process), masker.mask(&text));
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
            alert: None,
        }
    }
}

fn cut(bytes: &[u8], max: usize) -> &[u8] {
    bytes.get(..max).unwrap_or(bytes)
}
