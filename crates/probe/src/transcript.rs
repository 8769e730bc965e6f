//! What a run did, line by line, for the one who asks why: what was looked up, dialled, sent, answered. Owns the lines and
//! their masking: credentials are never written into a line, and what servers echo is searched for them besides.

use std::fmt;

use dynowatch_domain::check::fact::bounded;
use dynowatch_domain::check::{Secret, fact};
use dynowatch_domain::mask::{MASKED, Masker};
use serde::{Deserialize, Serialize};

/// The most lines of one run; what comes after is counted.
pub const LINES_MAX: usize = 200;
/// A shorter secret would mask ordinary words; it stays out of the lines because nobody writes it there.
const SECRET_BYTES_MIN: usize = 3;

/// Who speaks in a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// We, to the reader.
    Note,
    /// We, to the server.
    Sent,
    /// The server.
    Received,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Microseconds since the run began.
    pub at_us: u64,
    /// Who speaks.
    pub side: Side,
    /// Masked and bounded.
    pub text: String,
}

/// The lines of one run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// In order; at most [`LINES_MAX`].
    pub lines: Vec<Line>,
    /// How many more there were.
    #[serde(default)]
    pub lines_left_out: u64,
}

impl Transcript {
    pub(crate) fn push(&mut self, at_us: u64, side: Side, text: String) {
        if self.lines.len() < LINES_MAX {
            self.lines.push(Line { at_us, side, text });
        } else {
            self.lines_left_out += 1;
        }
    }
}

/// `   12.345 ms  > PING`
impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            let sign = match line.side {
                Side::Note => '*',
                Side::Sent => '>',
                Side::Received => '<',
            };
            writeln!(f, "{:>7}.{:03} ms {sign} {}", line.at_us / 1000, line.at_us % 1000, line.text)?;
        }
        if self.lines_left_out > 0 {
            writeln!(f, "{} more lines", self.lines_left_out)?;
        }
        Ok(())
    }
}

/// Knows the secrets of one run.
pub(crate) struct Veil {
    short: Vec<String>,
    masker: Masker,
}

impl Veil {
    pub(crate) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        let mut known: Vec<String> = secrets.into_iter().map(|secret| secret.expose().to_owned()).collect();
        known.retain(|secret| secret.len() >= SECRET_BYTES_MIN);
        // What a server echoes in quotes has them and backslashes escaped.
        let escaped: Vec<String> = known.iter().map(|secret| secret.escape_default().to_string()).collect();
        known.extend(escaped);
        let (short, long) = known.into_iter().partition(|secret| secret.len() < 6);
        Self { short, masker: Masker::with_values(long) }
    }

    /// Masked, and cut to what is kept.
    pub(crate) fn text(&self, text: &str) -> String {
        let mut text = self.masker.mask(text).into_owned();
        for secret in &self.short {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), MASKED);
            }
        }
        bounded(&text)
    }
}

/// The most bytes of a line.
pub const LINE_BYTES_MAX: usize = fact::SHOWN_BYTES_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_counted() {
        let mut transcript = Transcript::default();
        for at in 0..LINES_MAX as u64 + 3 {
            transcript.push(at * 1_000, Side::Sent, "PING".to_owned());
        }
        assert_eq!((transcript.lines.len(), transcript.lines_left_out), (LINES_MAX, 3));
        let text = transcript.to_string();
        assert!(text.starts_with("      0.000 ms > PING\n      1.000 ms > PING\n"), "{text}");
        assert!(text.ends_with("3 more lines\n"));
    }

    #[test]
    fn secrets_are_masked_in_any_spelling() {
        let veil = Veil::new(["p@ss/w:rd", "p%40ss%2Fw%3Ard", "abc", "x", "quo\"te-secret"].map(Secret::new));
        let seen = "user p@ss/w:rd or p%40ss%2Fw%3Ard, abc, x, \"quo\\\"te-secret\"";
        assert_eq!(veil.text(seen), "user [masked] or [masked], [masked], x, \"[masked]\"");
        assert_eq!(veil.text("a\r\nb\u{1b}[31m"), "a  b [31m");
    }
}
