//! Values on their way into columns and back: text without NUL, JSON, numbers that fit. Postgres takes neither NUL in
//! text nor `\u0000` in JSON; domain code already sees to it, this is the fence behind it.

use std::borrow::Cow;

use dynowatch_domain::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::sqlite::{SqliteArgumentsBuffer, SqliteTypeInfo};
use sqlx::{Encode, Postgres, Sqlite, Type};

use crate::error::{Result, StoreError};

/// Text for a column, each NUL replaced.
pub(crate) fn clean(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// JSON on its way into a column: TEXT on SQLite, JSONB on Postgres.
#[derive(Debug, Clone)]
pub(crate) struct JsonText(String);

impl JsonText {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// What has been in a column before.
    pub(crate) fn raw(value: &RawValue) -> Self {
        Self(value.get().to_owned())
    }

    /// The array of values that have been in columns before.
    pub(crate) fn array(values: &[&RawValue]) -> Self {
        let mut text = String::with_capacity(2 + values.iter().map(|value| value.get().len() + 1).sum::<usize>());
        for value in values {
            text.push(if text.is_empty() { '[' } else { ',' });
            text.push_str(value.get());
        }
        text.push_str(if text.is_empty() { "[]" } else { "]" });
        Self(text)
    }
}

/// Serialises a value for a column.
pub(crate) fn json<T: Serialize + ?Sized>(value: &T) -> Result<JsonText> {
    let text = serde_json::to_string(value)
        .map_err(|error| StoreError::corrupt(format!("a value that is no JSON: {error}")))?;
    Ok(JsonText(if text.contains("\\u0000") { without_nul(&text) } else { text }))
}

/// Replaces each escaped NUL, but not the six characters `\u0000` behind an escaped backslash.
fn without_nul(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        if let Some(after) = escape.strip_prefix("\\u0000") {
            out.push_str("\\ufffd");
            rest = after;
        } else {
            // An escape is a backslash and one ASCII character, whatever follows.
            let (pair, after) = escape.split_at_checked(2).unwrap_or((escape, ""));
            out.push_str(pair);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

impl Type<Sqlite> for JsonText {
    fn type_info() -> SqliteTypeInfo {
        <String as Type<Sqlite>>::type_info()
    }
}

impl Encode<'_, Sqlite> for JsonText {
    fn encode(self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode(self.0, buffer)
    }

    fn encode_by_ref(&self, buffer: &mut SqliteArgumentsBuffer) -> Result<IsNull, BoxDynError> {
        <String as Encode<'_, Sqlite>>::encode_by_ref(&self.0, buffer)
    }
}

impl Type<Postgres> for JsonText {
    fn type_info() -> PgTypeInfo {
        PgTypeInfo::with_name("jsonb")
    }
}

impl Encode<'_, Postgres> for JsonText {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        // The binary form of jsonb: its version, then the text.
        buffer.push(1);
        buffer.extend(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// A count for a column; beyond 9·10¹⁸ it stays there.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A count from a column; below zero is zero.
pub(crate) fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A time from a column.
pub(crate) fn time(micros: i64) -> Timestamp {
    Timestamp::from_micros(micros)
}

/// A word from a column, read by an enum's own reader.
pub(crate) fn word<T>(what: &str, text: &str, named: impl FnOnce(&str) -> Option<T>) -> Result<T> {
    named(text).ok_or_else(|| StoreError::corrupt(format!("{what} {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_nul_reaches_a_column() {
        assert_eq!(clean("a\0b"), "a\u{fffd}b");
        for (value, want) in [
            ("a\0b", r#""a\ufffdb""#),
            (r"a\u0000b", r#""a\\u0000b""#),
            ("\\\0", r#""\\\ufffd""#),
            ("\"\0é\\", r#""\"\ufffdé\\""#),
        ] {
            assert_eq!(json(value).unwrap().0, want);
        }
    }
}
