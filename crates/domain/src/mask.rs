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

use aho_corasick::{AhoCorasick, MatchKind};

/// What stands where a secret was.
pub const MASKED: &str = "[masked]";

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
}

#[cfg(test)]
mod tests;
