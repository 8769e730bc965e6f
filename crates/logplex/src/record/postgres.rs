//! Log lines of a Heroku Postgres server (`app[postgres.N]`): `[COLOUR] [ENTRY-LINE]  sql_error_code = XXXXX … LEVEL:  text`.
//!
//! The text holds SQL with its literals, which is personal data: show it to operators, never send it out by default.

use crate::bytes::{find_near, leading_number};

/// Severity of a server message; the continuation levels carry more about the message before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are the server's own words")]
pub enum PostgresLevel {
    Debug,
    Info,
    Log,
    Notice,
    Warning,
    Error,
    Fatal,
    Panic,
    Detail,
    Hint,
    Context,
    Statement,
    Query,
    Location,
}

impl PostgresLevel {
    fn parse(word: &[u8]) -> Option<PostgresLevel> {
        Some(match word {
            b"LOG" => PostgresLevel::Log,
            b"ERROR" => PostgresLevel::Error,
            b"FATAL" => PostgresLevel::Fatal,
            b"PANIC" => PostgresLevel::Panic,
            b"WARNING" => PostgresLevel::Warning,
            b"NOTICE" => PostgresLevel::Notice,
            b"INFO" => PostgresLevel::Info,
            b"DEBUG" | b"DEBUG1" | b"DEBUG2" | b"DEBUG3" | b"DEBUG4" | b"DEBUG5" => PostgresLevel::Debug,
            b"DETAIL" => PostgresLevel::Detail,
            b"HINT" => PostgresLevel::Hint,
            b"CONTEXT" => PostgresLevel::Context,
            b"STATEMENT" => PostgresLevel::Statement,
            b"QUERY" => PostgresLevel::Query,
            b"LOCATION" => PostgresLevel::Location,
            _ => return None,
        })
    }

    /// Whether the server reports a failure (`ERROR`, `FATAL`, `PANIC`).
    pub fn is_failure(self) -> bool {
        matches!(self, PostgresLevel::Error | PostgresLevel::Fatal | PostgresLevel::Panic)
    }
}

/// One line of a server's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PostgresLine<'a> {
    /// The colour that Heroku names a database by (`YELLOW`); empty where the line has none.
    pub color: &'a [u8],
    /// Number of the entry within its server process. Lines of one entry share it and the process.
    pub entry: u64,
    /// Number of the line within its entry, from 1.
    pub line: u64,
    /// SQLSTATE of five characters, `00000` for none; absent on continuation lines.
    pub sql_error_code: Option<&'a [u8]>,
    /// Absent on continuation lines.
    pub level: Option<PostgresLevel>,
    /// The message, without level and header; on a continuation line what follows its tab.
    pub text: &'a [u8],
}

/// More header pairs than any server writes.
const PAIRS_MAX: usize = 32;

impl<'a> PostgresLine<'a> {
    /// Reads one line; `None` when it has no `[ENTRY-LINE]`.
    pub fn parse(text: &'a [u8]) -> Option<PostgresLine<'a>> {
        let (mut color, rest) = bracketed_word(text).unwrap_or((&[], text));
        let (entry, line, rest) = numbers(rest)?;
        let bare = PostgresLine { color, entry, line, sql_error_code: None, level: None, text: rest };
        // A further line of a statement begins with a tab. It is whatever somebody wrote in SQL, `ERROR:` included.
        if let Some(text) = rest.strip_prefix(b" \t").or(rest.strip_prefix(b"\t")) {
            return Some(PostgresLine { text, ..bare });
        }
        let mut rest = rest.trim_ascii_start();
        // Older lines name the colour behind the numbers.
        if color.is_empty()
            && let Some((word, after)) = bracketed_word(rest)
        {
            color = word;
            rest = after.trim_ascii_start();
        }
        let bare = PostgresLine { color, text: rest, ..bare };
        Some(header(bare).unwrap_or(bare))
    }
}

/// `[WORD] `, upper-case letters and underscores only.
fn bracketed_word(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let inner = b.strip_prefix(b"[")?;
    let end = inner.iter().take(32).position(|&c| c == b']')?;
    let word = &inner[..end];
    let letters = !word.is_empty() && word.iter().all(|c| c.is_ascii_uppercase() || *c == b'_');
    letters.then_some((word, inner[end + 1..].trim_ascii_start()))
}

/// `[n-m]`.
fn numbers(b: &[u8]) -> Option<(u64, u64, &[u8])> {
    let b = b.strip_prefix(b"[")?;
    let (entry, len) = leading_number(b);
    let b = b[len..].strip_prefix(b"-").filter(|_| len > 0)?;
    let (line, len) = leading_number(b);
    let b = b[len..].strip_prefix(b"]").filter(|_| len > 0)?;
    Some((entry, line, b))
}

/// Reads pairs `key = value` or `key="value"` up to `LEVEL:`, and takes them off the text. `None` when there is no level.
fn header(line: PostgresLine<'_>) -> Option<PostgresLine<'_>> {
    let (mut rest, mut sql_error_code) = (line.text, None);
    for _ in 0..PAIRS_MAX {
        let word_len = rest.iter().take(40).position(|c| !(c.is_ascii_alphanumeric() || *c == b'_'))?;
        let (word, after) = rest.split_at(word_len);
        if let Some(text) = after.strip_prefix(b":") {
            let level = Some(PostgresLevel::parse(word)?);
            return Some(PostgresLine { sql_error_code, level, text: text.trim_ascii_start(), ..line });
        }
        let value = after.strip_prefix(b" = ").or(after.strip_prefix(b"="))?;
        let (value, after) = match value.strip_prefix(b"\"") {
            Some(quoted) => {
                let end = memchr::memchr(b'"', quoted)?;
                (&quoted[..end], &quoted[end + 1..])
            }
            None => value.split_at(find_near(value, b' ')?),
        };
        if word == b"sql_error_code" {
            sql_error_code = Some(value).filter(|v| v.len() == 5 && v.iter().all(u8::is_ascii_alphanumeric));
        }
        rest = after.trim_ascii_start();
    }
    None
}
