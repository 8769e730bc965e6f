//! Names of apps. They stand in keys (`rule/app/group`), URLs, metrics and command lines, so they are kept plain; owns
//! what a plain name is, and the plain name of a drain token that is none. Who has which name is the store's.

use crate::rule::NAME_BYTES_MAX;

/// What a name may be, for error texts that begin with the wrong one.
pub const APP_NAME_WANTED: &str = "1 to 100 letters, digits, -, _ or ., at least one of them a letter or digit";

/// Whether an app may be called that. `.` and `..` are no names: clients take them out of URLs.
#[must_use]
pub fn is_app_name(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(is_plain)
        && name.bytes().any(|b| b.is_ascii_alphanumeric())
}

/// The name that an app is adopted under: its drain token, where that is a name, as Logplex's tokens are. Else the
/// token with `-` for what cannot stand in a name, and a number made of the whole token at its end, so that two tokens
/// do not become one app.
#[must_use]
pub fn adopted_name(token: &str) -> String {
    if is_app_name(token) {
        return token.to_owned();
    }
    const NUMBER_BYTES: usize = "-0123456789abcdef".len();
    let kept = token.bytes().take(NAME_BYTES_MAX - NUMBER_BYTES);
    let plain: String = kept.map(|b| if is_plain(b) { char::from(b) } else { '-' }).collect();
    format!("{plain}-{:016x}", fnv1a(token.as_bytes()))
}

fn is_plain(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-_.".contains(&b)
}

/// FNV-1a, 64 bits: the same on every machine and in every version, which the standard library's hashes are not.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names() {
        let long = "x".repeat(NAME_BYTES_MAX);
        for name in ["shop", "Shop_2.eu-west", "d.01234567-89ab-4cde-8f01-23456789abcd", "0", &long] {
            assert!(is_app_name(name), "{name}");
        }
        let longer = "x".repeat(NAME_BYTES_MAX + 1);
        for name in ["", ".", "..", "-", "a/b", "a b", "a%2fb", "ü", "a?b", "a#b", "a\n", &longer] {
            assert!(!is_app_name(name), "{name}");
        }
    }

    #[test]
    fn names_of_odd_tokens() {
        let token = "d.01234567-89ab-4cde-8f01-23456789abcd";
        assert_eq!(adopted_name(token), token);
        assert_eq!(adopted_name("d/../x y"), "d-..-x-y-44e74ebe1b0968fc");
        assert_ne!(adopted_name("a/b"), adopted_name("a-b"));
        assert_ne!(adopted_name("a/b"), adopted_name("a?b"));
    }

    proptest! {
        #[test]
        fn every_token_gets_a_name(token in "\\PC{0,140}") {
            prop_assert!(is_app_name(&adopted_name(&token)));
        }
    }
}
