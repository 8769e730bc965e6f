//! Texts from log lines, made harmless for whoever prints them: control characters are written out, so that nothing
//! moves a terminal's cursor, forges a line or turns the reading direction. Markup is each channel's own business.

use std::borrow::Cow;
use std::fmt::Write as _;

use dynowatch_domain::notice::Notice;

/// Writes out every character that acts instead of showing itself. Tabs stay.
#[must_use]
pub fn inert(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            // Writing to a String cannot fail.
            c if acts(c) && c.is_ascii() => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if acts(c) => _ = write!(out, "\\u{{{:x}}}", u32::from(c)),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Control characters, line and paragraph separators, and the marks that change the reading direction.
fn acts(c: char) -> bool {
    (c.is_control() && c != '\t')
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// The notice with every text inert. Line breaks in the guidance are the rule author's own and become blanks.
pub(crate) fn inert_notice(notice: &Notice) -> Notice {
    let mut notice = notice.clone();
    notice.meaning = notice.meaning.split_whitespace().collect::<Vec<_>>().join(" ");
    map_texts(&mut notice, |text| {
        if let Cow::Owned(inert) = inert(text) {
            *text = inert;
        }
    });
    notice
}

/// Applies `change` to every text of a notice.
pub(crate) fn map_texts(notice: &mut Notice, mut change: impl FnMut(&mut String)) {
    let Notice {
        kind: _,
        alert: _,
        key,
        rule,
        severity: _,
        app,
        group,
        meaning,
        measured,
        threshold,
        window,
        at: _,
        first_at: _,
        last_at: _,
        suppressed: _,
        lower_bound,
        evidence,
        release,
        runbook,
        link,
        resolved_at: _,
    } = notice;
    [key, rule, app, meaning, measured, threshold, window, release]
        .into_iter()
        .chain(group.iter_mut().flat_map(|(name, value)| [name, value]))
        .chain(lower_bound)
        .chain(evidence)
        .chain(runbook)
        .chain(link)
        .for_each(&mut change);
}

/// The text up to `bytes_max`, cut between characters, with `…` where something is missing.
pub(crate) fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(bytes_max.saturating_sub('…'.len_utf8()));
    Cow::Owned(format!("{}…", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_acts() {
        let cases = [
            ("plain\ttext é 🚂", "plain\ttext é 🚂"),
            ("a\r\nb", "a\\r\\nb"),
            ("\u{1b}[2J\u{7}", "\\x1b[2J\\x07"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("exe\u{202e}txt\u{2028}x", "exe\\u{202e}txt\\u{2028}x"),
        ];
        for (text, want) in cases {
            assert_eq!(inert(text), want);
        }
    }

    #[test]
    fn cuts_between_characters() {
        for (text, max, want) in [("abc", 3, "abc"), ("abcdefg", 6, "abc…"), ("éééé", 7, "éé…"), ("abcd", 0, "…")]
        {
            assert_eq!(cut(text, max), want);
        }
    }
}
