//! Names: what they may be made of, and which known one an unknown one was meant to be.

use dynowatch_domain::rule::NAME_BYTES_MAX;

/// This many known names are listed in an error; of more, the first.
const LISTED_MAX: usize = 40;
/// The least likeness (Jaro-Winkler, 0 to 1) at which a known name is offered.
const LIKENESS_MIN: f64 = 0.7;

/// The known name that is most like `word`, if any is.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let likeness = |name: &str| strsim::jaro_winkler(&word.to_lowercase(), &name.to_lowercase());
    known
        .iter()
        .map(|name| (likeness(name), *name))
        .filter(|(score, _)| *score >= LIKENESS_MIN)
        .reduce(|best, next| if next.0 > best.0 { next } else { best })
        .map(|(_, name)| name)
}

/// `did you mean "count"? Known are: count, ratio, …`
pub(super) fn did_you_mean(word: &str, known: &[&str]) -> String {
    let listed = known.get(..LISTED_MAX.min(known.len())).unwrap_or(known).join(", ");
    let more = match known.len().saturating_sub(LISTED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    match (known, nearest(word, known)) {
        ([], _) => "none is known".to_owned(),
        (_, Some(name)) => format!("did you mean {name:?}? Known are: {listed}{more}"),
        (_, None) => format!("known are: {listed}{more}"),
    }
}

/// Whether the text can be the name of an app, a receiver or a rule. Names stand in keys, URLs and metrics, so they
/// are kept plain; `.` and `..` vanish from URLs.
pub(super) fn is_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(plain)
        && name.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// Whether the text can be the name of an environment variable. Long runs without an underscore are refused, too: they
/// are rather a secret that was put where the name of its variable belongs.
pub(super) fn is_variable_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
    text.bytes().next().is_some_and(|b| b.is_ascii_uppercase() || b == b'_')
        && text.bytes().all(plain)
        && text.len() <= 64
        && (text.len() <= 24 || text.contains('_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name() {
        let known = ["window", "count", "cooldown", "receivers"];
        let cases =
            [("windw", Some("window")), ("Count", Some("count")), ("reciever", Some("receivers")), ("zzz", None)];
        for (word, want) in cases {
            assert_eq!(nearest(word, &known), want, "{word}");
        }
        assert_eq!(did_you_mean("x", &[]), "none is known");
    }

    #[test]
    fn variables_and_secrets_are_told_apart() {
        for name in ["SLACK_BOT_TOKEN", "TOKEN2", "_X"] {
            assert!(is_variable_name(name), "{name}");
        }
        for secret in ["xoxb-1-2", "", "2TOKEN", "AAAABBBBCCCCDDDDEEEEFFFF00001111", "two words"] {
            assert!(!is_variable_name(secret), "{secret}");
        }
    }
}
