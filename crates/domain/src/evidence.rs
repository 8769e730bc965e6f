//! Evidence: the lines that an alert rests on, and those around them. The bytes are kept as they came; masking is done
//! by [`crate::mask`] on the way out, never here.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::signal::Source;

/// The most lines of one alert that are kept as evidence, and as context around them.
pub const EVIDENCE_LINES_MAX: usize = 10;
/// A longer line is cut, and says so. Heroku itself cuts at 10,000 bytes.
pub const EVIDENCE_LINE_BYTES_MAX: usize = 10_240;

/// One line of a log, as it came.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvidenceLine {
    /// The line's own stamp.
    pub at: Timestamp,
    /// Who wrote it.
    pub source: Source,
    /// The name in brackets.
    #[serde(with = "as_bytes")]
    pub process: Vec<u8>,
    /// The text, byte for byte, up to [`EVIDENCE_LINE_BYTES_MAX`].
    #[serde(with = "as_bytes")]
    pub text: Vec<u8>,
    /// Bytes that were cut off.
    #[serde(default)]
    pub cut_bytes: u64,
    /// Why it is here.
    pub role: Role,
}

/// Why a line stands in the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The rule took it.
    Match,
    /// It came from the same dyno, shortly before or after.
    SameDyno,
    /// It speaks of the same request.
    SameRequest,
}

impl EvidenceLine {
    /// A line as it came, cut where it is too long.
    #[must_use]
    pub fn new(at: Timestamp, source: Source, process: &[u8], text: &[u8], role: Role) -> Self {
        let kept = text.get(..EVIDENCE_LINE_BYTES_MAX).unwrap_or(text);
        Self {
            at,
            source,
            process: process.get(..128).unwrap_or(process).to_vec(),
            text: kept.to_vec(),
            cut_bytes: (text.len() - kept.len()) as u64,
            role,
        }
    }

    /// As `heroku logs` prints it, with what is not UTF-8 replaced. Not masked.
    #[must_use]
    pub fn show(&self) -> String {
        let cut = if self.cut_bytes == 0 { String::new() } else { format!(" … [{} bytes cut]", self.cut_bytes) };
        format!(
            "{} {}[{}]: {}{cut}",
            self.at,
            self.source.as_str(),
            String::from_utf8_lossy(&self.process),
            String::from_utf8_lossy(&self.text)
        )
    }
}

/// Bytes as a JSON string where they are UTF-8 without NUL (nearly always), else as an array of numbers: Postgres
/// refuses NUL in text and JSON, and no byte may be lost.
mod as_bytes {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Form {
        Text(String),
        Bytes(Vec<u8>),
    }

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => serializer.serialize_str(text),
            _ => bytes.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::Text(text) => text.into_bytes(),
            Form::Bytes(bytes) => bytes,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for text in [&b"plain"[..], b"caf\xe9 \xff", b"a\0b", "№ ✓".as_bytes(), b""] {
            let line = EvidenceLine::new(Timestamp::UNIX_EPOCH, Source::App, b"web.1", text, Role::Match);
            let json = serde_json::to_string(&line).unwrap();
            assert!(!json.contains("\\u0000"));
            assert_eq!(serde_json::from_str::<EvidenceLine>(&json).unwrap(), line);
        }
    }

    #[test]
    fn long_lines_say_that_they_were_cut() {
        let line = EvidenceLine::new(Timestamp::UNIX_EPOCH, Source::App, b"web.1", &[b'x'; 10_250], Role::Match);
        assert!(line.show().ends_with("xxx … [10 bytes cut]"));
    }
}
