//! Codes of an authenticator app (RFC 6238): which step a code belongs to, and whether it may still be used. The code of a
//! step is worked out by the caller, who has the seed.

use crate::Timestamp;

/// A code is good for this long.
pub const STEP_SECONDS: i64 = 30;
/// Digits of a code.
pub const DIGITS: usize = 6;
/// Bytes of a seed: the 160 bits that RFC 4226 asks for.
pub const SEED_BYTES: usize = 20;
/// Recovery codes that a person gets.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code: 120 bits, so that a plain hash of it is enough.
pub const RECOVERY_BYTES: usize = 15;

/// The step that a moment lies in.
#[must_use]
pub fn step_of(now: Timestamp) -> i64 {
    now.as_micros().div_euclid(1_000_000 * STEP_SECONDS)
}

/// The step of the code that was given, if it may be used now: the present step or the one before, never one to come, and
/// only after the last one that was used. `code_of` works out the code of a step.
#[must_use]
pub fn accept(given: &str, now: Timestamp, last_step: Option<i64>, code_of: impl Fn(i64) -> String) -> Option<i64> {
    let given: String = given.chars().filter(|c| !c.is_whitespace()).collect();
    if given.len() != DIGITS || !given.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let present = step_of(now);
    // Both are worked out whatever is found, and compared whole.
    let fits = [present, present - 1].map(|step| (step, same(&code_of(step), &given)));
    fits.into_iter().find(|&(step, fits)| fits && last_step.is_none_or(|last| step > last)).map(|(step, _)| step)
}

/// Compares without stopping at the first difference.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |seen, (a, b)| seen | (a ^ b)) == 0
}

/// A recovery code as people type it back: without blanks and dashes, in capitals.
#[must_use]
pub fn recovery_code(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).take(64).collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(step: i64) -> String {
        format!("{:06}", step.rem_euclid(1_000_000))
    }

    #[test]
    fn the_present_code_and_the_one_before_each_once() {
        let now = Timestamp::from_seconds(30 * 100 + 7);
        assert_eq!(step_of(now), 100);
        for (given, last, want) in [
            ("000100", None, Some(100)),
            ("000 100", None, Some(100)),
            ("000099", None, Some(99)),
            ("000099", Some(98), Some(99)),
            ("000099", Some(99), None),
            ("000100", Some(99), Some(100)),
            ("000100", Some(100), None),
            ("000099", Some(100), None),
            ("000101", None, None),
            ("000098", None, None),
            ("", None, None),
            ("00100", None, None),
            ("0001000", None, None),
            ("００0100", None, None),
        ] {
            assert_eq!(accept(given, now, last, code), want, "{given} after {last:?}");
        }
    }

    #[test]
    fn recovery_codes_are_read_as_typed() {
        assert_eq!(recovery_code(" abcd-EFGH 2345\n"), "ABCDEFGH2345");
        assert_eq!(recovery_code("ü"), "");
    }
}
