//! A rule from a line: what of it is likely to stand in the next line of its kind, too. A beginning for whoever writes the
//! rule, to be corrected by them; the wording of the rule language is the configuration's.

use crate::log_level::LogLevel;
use crate::mask::MASKED;
use crate::signal::{Kind, Signal, Source};

/// The longest text that is proposed.
const TEXT_BYTES_MAX: usize = 80;
/// A shorter one would fit too much.
const TEXT_BYTES_MIN: usize = 4;
/// A longer word is an id, a path or a dump.
const WORD_BYTES_MAX: usize = 40;
/// The longest part of a name that is made from a text.
const NAME_BYTES_MAX: usize = 32;

/// What a rule for lines like this one may ask for. Without any part the line says nothing that lasts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion {
    /// A name, of letters, digits and `-`.
    pub name: String,
    /// Heroku's code, as in `H12`.
    pub code: Option<String>,
    /// The status of a request that failed.
    pub status: Option<u16>,
    /// The beginning of a request's path.
    pub path_prefix: Option<String>,
    /// A text of the line that does not change.
    pub text: Option<String>,
    /// Who wrote it, where the text is looked for.
    pub source: Option<Source>,
}

/// What lines like this have in common. `text` is the line's text as people see it: what is masked in it never becomes part
/// of a rule. The signal is read with its path.
#[must_use]
pub fn suggest(signal: &Signal<'_>, text: &str) -> Suggestion {
    if let Some(code) = signal.code {
        let code = code.to_string();
        return Suggestion { name: code.to_lowercase(), code: Some(code), ..Suggestion::default() };
    }
    if signal.kind == Kind::Router {
        return of_request(signal);
    }
    let text = constant_part(text);
    Suggestion {
        name: text.map(slug).filter(|name| !name.is_empty()).unwrap_or_else(|| "from-a-line".to_owned()),
        source: text.map(|_| signal.source),
        text: text.map(str::to_owned),
        ..Suggestion::default()
    }
}

fn of_request(signal: &Signal<'_>) -> Suggestion {
    let status = signal.status.filter(|status| (400..600).contains(status));
    let path = signal.path.and_then(|path| std::str::from_utf8(path).ok()).and_then(first_part);
    let name = match (status, path) {
        (Some(status), Some(path)) => format!("{status}-{}", slug(path)),
        (Some(status), None) => format!("{status}-answers"),
        (None, Some(path)) => format!("requests-{}", slug(path)),
        (None, None) => "requests".to_owned(),
    };
    Suggestion { name, status, path_prefix: path.map(str::to_owned), ..Suggestion::default() }
}

/// `/orders/` of `/orders/7?a=b`, if that first part is a word and no id.
fn first_part(path: &str) -> Option<&str> {
    let rest = path.strip_prefix('/')?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let word = rest.get(..end)?;
    let is_word =
        !word.is_empty() && word.len() <= NAME_BYTES_MAX && word.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
    let with_slash = if rest.as_bytes().get(end) == Some(&b'/') { end + 2 } else { end + 1 };
    is_word.then(|| path.get(..with_slash)).flatten()
}

/// The part of a text that has the most letters among its runs of words which look the same every time: no digits, no
/// addresses, nothing masked, no level; between quotes or outside of them, and no name of a JSON field.
#[must_use]
pub fn constant_part(text: &str) -> Option<&str> {
    let mut best: Option<(usize, &str)> = None;
    let mut quoted = text.split('"').peekable();
    while let Some(part) = quoted.next() {
        if quoted.peek().is_some_and(|next| next.starts_with(':')) {
            continue;
        }
        for found in runs(part) {
            let letters = found.chars().filter(|c| c.is_alphabetic()).count();
            if letters >= TEXT_BYTES_MIN && best.is_none_or(|(most, _)| letters > most) {
                best = Some((letters, found));
            }
        }
    }
    best.map(|(_, found)| found)
}

/// Runs of words that stay the same, as long as they may be.
fn runs(part: &str) -> impl Iterator<Item = &str> {
    let mut run: Option<(usize, usize)> = None;
    part.split_whitespace().filter_map(move |word| {
        let at = (word.as_ptr() as usize).saturating_sub(part.as_ptr() as usize);
        let end = at + word.len();
        run = match run {
            _ if !is_constant(word) => None,
            Some((begin, _)) if end - begin <= TEXT_BYTES_MAX => Some((begin, end)),
            _ => Some((at, end)),
        };
        let (begin, end) = run?;
        Some(part.get(begin..end)?.trim_matches(|c: char| !c.is_alphanumeric()))
    })
}

fn is_constant(word: &str) -> bool {
    let changes = |c: char| c.is_numeric() || c.is_control() || "@=`{}<>\\%*/".contains(c);
    word.len() <= WORD_BYTES_MAX
        && word.chars().any(char::is_alphabetic)
        && !word.contains(changes)
        && !word.starts_with('\'')
        && !word.ends_with('\'')
        && !word.contains(MASKED)
        && LogLevel::of(word).is_none()
}

/// A name from a text: its letters and digits in lower case, the rest as single `-`.
fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() >= NAME_BYTES_MAX {
            break;
        }
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    out.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Timestamp;
    use crate::signal::Code;

    fn signal<'a>(kind: Kind, text: &'a str) -> Signal<'a> {
        Signal {
            at: Timestamp::UNIX_EPOCH,
            source: Source::App,
            kind,
            process: b"web.1",
            dyno: b"web.1",
            code: None,
            status: None,
            path: None,
            text: text.as_bytes(),
        }
    }

    #[test]
    fn the_part_that_stays() {
        for (text, want) in [
            ("[2026-05-07 08:06:12 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:17)", Some("WORKER TIMEOUT")),
            ("ERROR payment of order 4711 was declined by the bank", Some("was declined by the bank")),
            ("user ada@example.com could not be found", Some("could not be found")),
            ("{\"level\":\"error\",\"msg\":\"card declined for order 17\"}", Some("card declined for order")),
            ("level=info msg=\"cannot reach the bank\" host=db-7", Some("cannot reach the bank")),
            ("user \"bob builder the third\" doesn't exist", Some("bob builder the third")),
            ("can't find 'thing' in stock", Some("can't find")),
            ("{\"request_identifier\":7,\"ok\":true}", None),
            ("login failed password=[masked] for good reasons", Some("for good reasons")),
            ("GET /orders/7 200 in 12ms", None),
            ("4711", None),
            ("", None),
        ] {
            assert_eq!(constant_part(text), want, "{text}");
        }
        let long = "word ".repeat(100);
        assert!(constant_part(&long).unwrap().len() <= TEXT_BYTES_MAX);
    }

    #[test]
    fn codes_and_requests_are_known_better() {
        let coded = Signal { code: Code::parse("H12"), ..signal(Kind::Router, "at=error code=H12") };
        let got = suggest(&coded, "at=error code=H12");
        assert_eq!((got.name.as_str(), got.code.as_deref(), got.text), ("h12", Some("H12"), None));
        for (status, path, name, wants_status, prefix) in [
            (Some(503), &b"/orders/7?x=1"[..], "503-orders", Some(503), Some("/orders/")),
            (Some(500), b"/7/x", "500-answers", Some(500), None),
            (Some(200), b"/health", "requests-health", None, Some("/health")),
            (None, b"/", "requests", None, None),
        ] {
            let request = Signal { status, path: Some(path), ..signal(Kind::Router, "") };
            let got = suggest(&request, "");
            assert_eq!((got.name.as_str(), got.status, got.path_prefix.as_deref()), (name, wants_status, prefix));
        }
        let said = suggest(&signal(Kind::App, ""), "ERROR Payment declined: order 7");
        assert_eq!(
            (said.name.as_str(), said.text.as_deref()),
            ("payment-declined-order", Some("Payment declined: order"))
        );
        assert_eq!(suggest(&signal(Kind::App, ""), "17").name, "from-a-line");
    }

    proptest! {
        /// Whatever stands in a line: what is proposed stands in it, is bounded, and holds nothing masked.
        #[test]
        fn it_stands_in_the_line(text in ".{0,300}") {
            if let Some(found) = constant_part(&text) {
                prop_assert!(text.contains(found) && found.len() <= TEXT_BYTES_MAX && !found.contains(MASKED));
            }
            let name = suggest(&signal(Kind::App, ""), &text).name;
            prop_assert!(!name.is_empty() && name.len() <= NAME_BYTES_MAX);
        }
    }
}
