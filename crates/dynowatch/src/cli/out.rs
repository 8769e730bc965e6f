//! Standard output. Whatever is printed here may hold bytes from a log line, so every line is made inert: control
//! characters are written out instead of moving somebody's terminal.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write as _};

use dynowatch_domain::Timestamp;
use dynowatch_notify::inert;
use serde::Serialize;

use super::failure::Failure;

/// Where a command prints. Buffered: a replay prints much.
pub(crate) struct Out {
    to: BufWriter<io::Stdout>,
}

impl Out {
    pub(crate) fn new() -> Self {
        Self { to: BufWriter::new(io::stdout()) }
    }

    /// One line; a line break in it is written out, too.
    pub(crate) fn line(&mut self, text: impl AsRef<str>) -> Result<(), Failure> {
        self.to.write_all(inert(text.as_ref()).as_bytes())?;
        self.to.write_all(b"\n")?;
        Ok(())
    }

    /// Lines of our own making, each made inert by itself.
    pub(crate) fn text(&mut self, text: &str) -> Result<(), Failure> {
        text.lines().try_for_each(|line| self.line(line))
    }

    /// One value as JSON on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.to.write_all(inert_json(&serde_json::to_string(value)?).as_bytes())?;
        self.to.write_all(b"\n")?;
        Ok(())
    }

    /// Rows below headings, columns aligned; the last one may be as long as it likes.
    pub(crate) fn table(&mut self, heads: &[&str], rows: &[Vec<String>]) -> Result<(), Failure> {
        let cells = |row: &[String]| row.iter().map(|cell| inert(cell).into_owned()).collect::<Vec<_>>();
        let heads: Vec<String> = heads.iter().map(|head| (*head).to_owned()).collect();
        let rows: Vec<Vec<String>> = std::iter::once(heads).chain(rows.iter().map(|row| cells(row))).collect();
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width =
            |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        for row in &rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                // Writing to a String cannot fail.
                _ = write!(line, "{cell:<width$}  ");
            }
            self.line(line.trim_end())?;
        }
        Ok(())
    }

    /// Hands over what was printed so far.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// JSON in which nothing acts on a terminal: what `serde_json` leaves as it is (DEL, C1 controls, marks of direction) is
/// escaped. Such characters stand in strings only, so the value stays the same.
fn inert_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut buffer = [0; 4];
    for c in json.chars() {
        let text: &str = c.encode_utf8(&mut buffer);
        if matches!(inert(text), std::borrow::Cow::Owned(_)) {
            _ = write!(out, "\\u{:04x}", u32::from(c));
        } else {
            out.push(c);
        }
    }
    out
}

/// `2026-05-07 08:06:12`, for columns whose heading says UTC.
pub(crate) fn when(at: Timestamp) -> String {
    at.for_people().trim_end_matches(" UTC").to_owned()
}

/// The same, or `-`.
pub(crate) fn when_any(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), when)
}

/// `1 rule`, `2 rules`.
pub(crate) fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

/// A number with thousands apart: `1,234,567`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_stays_the_same_value_and_becomes_harmless() {
        let text = "a\u{1b}[2J\u{9b}31m\u{7f}\u{202e}b\té";
        let json = inert_json(&serde_json::to_string(text).unwrap());
        assert_eq!(json, r#""a\u001b[2J\u009b31m\u007f\u202eb\té""#);
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, want) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), want);
        }
    }
}
