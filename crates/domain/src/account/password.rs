//! Passwords that are refused: too short, too long, or of those that are tried first. No rules about kinds of characters:
//! they make passwords worse, not better (ASVS 5.0, 6.2).
//!
//! What is tried first is judged by shape, not by a list of every spelling: `P@ssw0rd2024!` is `password` with digits for
//! letters and something at its end, so a word of the list is found behind all of that.

use std::collections::HashSet;
use std::sync::LazyLock;

/// Fewer characters are refused.
pub const CHARS_MIN: usize = 8;
/// Fewer are discouraged on the page.
pub const CHARS_GOOD: usize = 15;
/// More are refused: hashing must end.
pub const CHARS_MAX: usize = 128;

/// Words that people take and others try, in lower case.
static COMMON: LazyLock<HashSet<&'static str>> =
    LazyLock::new(|| include_str!("common_passwords.txt").split_whitespace().collect());

/// Rows of keyboards, for walks along them.
const ROWS: [&str; 6] =
    ["1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "abcdefghijklmnopqrstuvwxyz"];

/// Whether a password may be taken. `context` is what an attacker knows: the person's name, this instance's host.
///
/// # Errors
/// What is wrong with it, and what would be right. Never holds the password.
pub fn check(password: &str, context: &[&str]) -> Result<(), String> {
    let chars = password.chars().count();
    if chars < CHARS_MIN {
        return Err(format!(
            "a password has at least {CHARS_MIN} characters, and {CHARS_GOOD} are better: take four words"
        ));
    }
    if chars > CHARS_MAX {
        return Err(format!("a password has at most {CHARS_MAX} characters"));
    }
    let lower = password.to_lowercase();
    if is_walk(&lower) {
        return Err("this password is a row of keys or one thing again and again: take four words".to_owned());
    }
    if cores(&lower).iter().any(|core| is_common(core)) {
        return Err("this password is one of those that are tried first: take four words".to_owned());
    }
    let known = context.iter().flat_map(|text| words(text)).find(|word| lower_has_mostly(&lower, word));
    if known.is_some() {
        return Err("this password is mostly a name that everyone knows (yours, or this instance's): take four words"
            .to_owned());
    }
    Ok(())
}

/// Letters for the digits and signs that stand for them.
fn unleet(text: &str) -> String {
    let plain = |c| match c {
        '0' => 'o',
        '1' | '!' | '|' => 'i',
        '3' | '€' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' | '+' => 't',
        '8' => 'b',
        '9' => 'g',
        c => c,
    };
    text.chars().map(plain).collect()
}

/// What is left without what people put around a word.
fn cores(lower: &str) -> Vec<String> {
    let letters = |text: &str| text.trim_matches(|c: char| !c.is_alphabetic()).to_owned();
    let only: String = lower.chars().filter(|c| c.is_alphabetic()).collect();
    let inner = lower.trim_matches(|c: char| c.is_ascii_digit() || c.is_ascii_punctuation() || c.is_whitespace());
    let unleeted = unleet(inner);
    let only_unleeted: String = unleeted.chars().filter(|c| c.is_alphabetic()).collect();
    vec![lower.to_owned(), letters(lower), only, letters(&unleet(lower)), letters(&unleeted), only_unleeted]
}

/// A common word, or one twice over.
fn is_common(core: &str) -> bool {
    // A short word within a long password is not its whole worth, but here nothing else is left.
    if core.is_empty() || COMMON.contains(core) {
        return true;
    }
    let half = core.len() / 2;
    core.is_char_boundary(half)
        && core.split_at(half).0 == core.split_at(half).1
        && COMMON.contains(core.split_at(half).0)
}

/// One short piece again and again, or neighbours on a keyboard or in the alphabet from beginning to end.
fn is_walk(lower: &str) -> bool {
    let chars: Vec<char> = lower.chars().collect();
    let repeats = (1..=4).any(|n| chars.iter().zip(chars.iter().skip(n)).all(|(a, b)| a == b));
    let follows = |a: char, b: char| {
        a == b
            || ROWS.iter().any(|row| {
                let at = |c| row.chars().position(|known| known == c);
                at(a).zip(at(b)).is_some_and(|(a, b)| a.abs_diff(b) == 1)
            })
    };
    let steps = chars.windows(2).filter(|pair| matches!(pair, [a, b] if follows(*a, *b))).count();
    // One leap in eight characters is allowed: `qwer1234` is two walks.
    repeats || steps + 1 + chars.len() / 8 >= chars.len()
}

/// The parts of a name or host that are long enough to mean something.
fn words(text: &str) -> impl Iterator<Item = String> {
    let parts = text.split(|c: char| !c.is_alphanumeric()).filter(|part| part.chars().count() >= 4);
    parts.map(str::to_lowercase).collect::<Vec<_>>().into_iter()
}

/// Whether a word makes up more than half of a password.
fn lower_has_mostly(lower: &str, word: &str) -> bool {
    let long = word.chars().count() * 2 > lower.chars().count();
    long && (lower.contains(word) || unleet(lower).contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_that_are_tried_first_are_refused() {
        let context = ["ada.lovelace@example.com", "watch.example.org"];
        let bad = [
            "short",
            "1234567",
            "password",
            "Password1",
            "P@ssw0rd2024!",
            "passwordpassword",
            "12345678",
            "123456789",
            "87654321",
            "11111111",
            "abababab",
            "abcabcabc",
            "qwertyuiop",
            "qwer1234",
            "summer2026",
            "iloveyou",
            "M0nkey123",
            "dynowatch1",
            "dynowatch-2026",
            "Heroku2026!",
            "lovelace1815",
            "L0velace!!",
            "correcthorsebatterystaple",
            "20262026",
            "!!!!!!!!",
            "abcdefgh",
            "zyxwvuts",
        ];
        for password in bad {
            assert!(check(password, &context).is_err(), "{password}");
        }
        assert!(check(&"long ".repeat(40), &context).is_err());
    }

    #[test]
    fn all_else_is_taken() {
        for password in [
            "correct horse battery stapler",
            "vier Wörter sind gut",
            "x7#kQ2!vLp",
            "        spaces are fine too        ",
            "пароль из четырёх слов",
            "password manager wrote this",
            "ada likes engines a lot",
            "绿色的山和蓝色的海",
        ] {
            assert_eq!(check(password, &["ada.lovelace", "watch.example.org"]), Ok(()), "{password}");
        }
        assert!(check(&"ü".repeat(127).replacen("üü", "ab", 3), &[]).is_err(), "all one letter");
    }

    #[test]
    fn an_error_never_holds_the_password() {
        assert!(!check("hunter2", &[]).unwrap_err().contains("hunter2"));
    }
}
