//! Masks secrets in everything that leaves: messages, the API, error texts (contract C37). Log lines carry tokens, passwords
//! and cookies, and only the store keeps their bytes whole.
//!
//! Two ways to know a secret: by its shape or by the words before it ([`mask`]), and by being one of the instance's own
//! values ([`Masker`]). What helps the reader stays: key names, hosts, users. In doubt `password`-like words mask, while
//! weaker ones (`token`, `session`) mask only what looks random, so that `unexpected token: else` stays readable.
//!
//! One pass and linear time: one regex finds where secrets begin; where each ends is decided by a scan from there, and the
//! search goes on behind it.

mod shapes;
mod values;

use std::borrow::Cow;
use std::ops::Range;

use aho_corasick::{AhoCorasick, MatchKind};

/// What stands where a secret was.
pub const MASKED: &str = "[masked]";

/// Of a word that was torn at its end so much is masked.
const TORN_BYTES_MAX: usize = 256;

/// A shorter value is not looked for: it would mask ordinary words.
const VALUE_BYTES_MIN: usize = 6;

/// Masks every known shape of a secret in `text`. Text without one is returned as it is.
#[must_use]
pub fn mask(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let (mut copied, mut at) = (0, 0);
    while let Some(secret) = shapes::next(text, at) {
        out.push_str(text.get(copied..secret.start).unwrap_or(""));
        out.push_str(MASKED);
        copied = secret.end;
        at = secret.end;
    }
    if copied == 0 && out.is_empty() {
        return Cow::Borrowed(text);
    }
    out.push_str(text.get(copied..).unwrap_or(""));
    Cow::Owned(out)
}

/// Where known shapes of secrets lie in a text.
fn shapes_in(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let secret = shapes::next(text, at)?;
        at = secret.end;
        Some(secret)
    })
}

/// Masks known values besides known shapes.
#[derive(Debug, Clone, Default)]
pub struct Masker {
    /// `None` when no value is known.
    values: Option<AhoCorasick>,
}

impl Masker {
    /// A masker that knows the instance's own secrets: its Slack token, HMAC secrets, passwords of its database. Values
    /// shorter than six bytes are left out.
    #[must_use]
    pub fn with_values(known: Vec<String>) -> Self {
        let known: Vec<String> = known.into_iter().filter(|value| value.len() >= VALUE_BYTES_MIN).collect();
        if known.is_empty() {
            return Self::default();
        }
        // The longest, so that one secret which begins like another leaves no tail.
        let built = AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(known);
        Self { values: built.ok() }
    }

    /// Masks known values and every known shape of a secret in `text`.
    #[must_use]
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some(values) = self.values.as_ref().filter(|values| values.is_match(text)) else {
            return mask(text);
        };
        let mut out = String::new();
        values.replace_all_with(text, &mut out, |_, _, out| {
            out.push_str(MASKED);
            true
        });
        Cow::Owned(mask(&out).into_owned())
    }

    /// Masks a part of a text that was cut: a secret may begin in what lies before it and end in what lies behind it. Where
    /// the text goes on and nobody knows how, its last word is masked, too.
    #[must_use]
    pub fn mask_part(&self, before: &str, text: &str, after: Behind<'_>) -> String {
        let behind = if let Behind::Known(behind) = after { behind } else { "" };
        let whole = [before, text, behind].concat();
        let part = before.len()..before.len() + text.len();
        let values = self.values.iter().flat_map(|values| values.find_iter(&whole).map(|found| found.range()));
        let mut secrets: Vec<Range<usize>> = values.chain(shapes_in(&whole)).collect();
        if after == Behind::Unknown {
            let word = text.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
            let mut begin = word.max(text.len().saturating_sub(TORN_BYTES_MAX));
            while !text.is_char_boundary(begin) {
                begin += 1;
            }
            secrets.push(part.start + begin..part.end);
        }
        secrets.sort_unstable_by_key(|secret| secret.start);
        let (mut out, mut copied) = (String::with_capacity(text.len()), part.start);
        for secret in secrets {
            let (start, end) = (secret.start.max(part.start), secret.end.min(part.end));
            if start >= end || end <= copied {
                continue;
            }
            if start >= copied {
                out.push_str(whole.get(copied..start).unwrap_or_default());
                out.push_str(MASKED);
            }
            copied = end;
        }
        out.push_str(whole.get(copied..part.end).unwrap_or_default());
        // What stands alone is masked as it always is.
        self.mask(&out).into_owned()
    }
}

/// What lies behind a part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behind<'a> {
    /// This, or nothing.
    Known(&'a str),
    /// The text goes on.
    Unknown,
}

#[cfg(test)]
mod tests;
