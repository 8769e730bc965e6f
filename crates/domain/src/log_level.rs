//! How bad a line says it is. Heroku's own priority says nothing (every line of an app is "info"), so it is read from the
//! text, in the forms that loggers write. A line that does not say is of no level: unknown is not "info".

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::Invalid;

/// How far into a line its level is looked for: loggers write it before the message.
const LOOK_BYTES: usize = 256;
/// The keys before a level, as in `level=error` and `"severity": "ERROR"`.
const KEYS: [&str; 5] = ["level", "lvl", "severity", "loglevel", "at"];

/// From the least to the most important.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For who wrote the code; `trace`, too.
    Debug,
    /// What happens in good order; `notice`, too.
    Info,
    /// May become trouble.
    Warning,
    /// Something failed.
    Error,
    /// It cannot go on; `fatal`, `panic`, `emergency`, too.
    Critical,
}

impl LogLevel {
    /// All, from the least.
    pub const ALL: [Self; 5] = [Self::Debug, Self::Info, Self::Warning, Self::Error, Self::Critical];

    /// The name used in addresses and on pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }

    /// The level that a line says it has, if it says one.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let mut end = text.len().min(LOOK_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let head = text.get(..end)?;
        // The platform's own form: `Error R14 (Memory quota exceeded)`.
        if let Some(code) = head.strip_prefix("Error ")
            && matches!(code.as_bytes(), [b'R' | b'L', b'0'..=b'9', ..])
        {
            return Some(Self::Error);
        }
        words(head).find_map(|(at, word)| Self::stated(head, at, word))
    }

    /// Whether this word, at this place, states a level rather than being one of the message's words.
    fn stated(head: &str, at: usize, word: &str) -> Option<Self> {
        let before = head.get(..at)?.trim_end_matches(['"', ' ', '\'']);
        let keyed = before.strip_suffix(['=', ':']).is_some_and(is_key);
        if keyed && word.bytes().all(|b| b.is_ascii_digit()) {
            return Self::of_number(word);
        }
        let level = Self::word(word)?;
        let after = head.get(at + word.len()..)?;
        let bracketed = before.ends_with(['[', '<', '(']) && after.starts_with([']', '>', ')']);
        let shouted = word.bytes().all(|b| b.is_ascii_uppercase());
        let begins = after.starts_with(": ") && before.is_empty();
        (keyed || bracketed || shouted || begins).then_some(level)
    }

    fn word(word: &str) -> Option<Self> {
        let names: [(&str, Self); 18] = [
            ("trace", Self::Debug),
            ("debug", Self::Debug),
            ("dbug", Self::Debug),
            ("info", Self::Info),
            ("notice", Self::Info),
            ("log", Self::Info),
            ("warn", Self::Warning),
            ("warning", Self::Warning),
            ("err", Self::Error),
            ("error", Self::Error),
            ("eror", Self::Error),
            ("severe", Self::Error),
            ("crit", Self::Critical),
            ("critical", Self::Critical),
            ("fatal", Self::Critical),
            ("panic", Self::Critical),
            ("alert", Self::Critical),
            ("emergency", Self::Critical),
        ];
        names.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| level)
    }

    /// The numbers of pino and bunyan: 10 trace to 60 fatal.
    fn of_number(digits: &str) -> Option<Self> {
        match digits {
            "10" | "20" => Some(Self::Debug),
            "30" => Some(Self::Info),
            "40" => Some(Self::Warning),
            "50" => Some(Self::Error),
            "60" => Some(Self::Critical),
            _ => None,
        }
    }
}

impl FromStr for LogLevel {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL
            .into_iter()
            .find(|level| level.as_str() == text)
            .ok_or_else(|| Invalid(format!("{text:?} is not a level: write debug, info, warning, error or critical")))
    }
}

/// Whether the text ends in one of the keys before a level.
fn is_key(before: &str) -> bool {
    let before = before.trim_end_matches(['"', ' ', '\'']);
    let begin = before.rfind(|c: char| !c.is_ascii_alphabetic()).map_or(0, |at| at + 1);
    before.get(begin..).is_some_and(|key| KEYS.iter().any(|known| known.eq_ignore_ascii_case(key)))
}

/// Runs of letters and digits, with where they begin.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest = 0;
    std::iter::from_fn(move || {
        let tail = text.get(rest..)?;
        let begin = rest + tail.find(|c: char| c.is_ascii_alphanumeric())?;
        let word = text.get(begin..)?;
        let end = word.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(word.len());
        rest = begin + end;
        Some((begin, word.get(..end)?))
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_loggers_write() {
        for (text, want) in [
            ("[2026-05-07 08:06:12 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:17)", Some(LogLevel::Critical)),
            ("ERROR -- : checkout failed", Some(LogLevel::Error)),
            ("E, [2026-05-07T08:06:12 #4] ERROR -- : no such table", Some(LogLevel::Error)),
            ("level=warning msg=\"slow query\"", Some(LogLevel::Warning)),
            ("ts=1 lvl=dbug msg=x", Some(LogLevel::Debug)),
            (r#"{"time":1,"level":"error","msg":"x"}"#, Some(LogLevel::Error)),
            (r#"{"severity": "INFO", "message": "error"}"#, Some(LogLevel::Info)),
            (r#"{"level":50,"time":1,"msg":"x"}"#, Some(LogLevel::Error)),
            ("[error] 4#0: upstream timed out", Some(LogLevel::Error)),
            ("warn: deprecated", Some(LogLevel::Warning)),
            ("at=error code=H12 desc=\"Request timeout\"", Some(LogLevel::Error)),
            ("at=info method=GET path=\"/error\"", Some(LogLevel::Info)),
            ("Error R14 (Memory quota exceeded)", Some(LogLevel::Error)),
            ("[DATABASE] [7-1] LOG:  checkpoint complete", Some(LogLevel::Info)),
            ("panic: runtime error: index out of range", Some(LogLevel::Critical)),
            // Words of a message are no level.
            ("no error was found", None),
            ("Processing by ErrorsController#show as HTML", None),
            ("GET /warning/7 200", None),
            ("\"level\":70", None),
            ("", None),
        ] {
            assert_eq!(LogLevel::of(text), want, "{text}");
        }
        assert!(LogLevel::Debug < LogLevel::Critical);
        assert_eq!("error".parse(), Ok(LogLevel::Error));
        assert!("loud".parse::<LogLevel>().unwrap_err().0.contains("debug, info, warning"));
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".{0,400}") {
            let _level = LogLevel::of(&text);
        }
    }
}
