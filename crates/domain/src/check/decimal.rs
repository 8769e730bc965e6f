//! Decimal numbers as they were written. Owns reading, exact comparison and the little arithmetic that facts need; nothing
//! here passes through a binary float, so `0.97` is never `0` and never `0.96999`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::parse::Invalid;

/// The longest number that is read. It bounds the work of a comparison; longer ones are no numbers to us.
pub const DECIMAL_BYTES_MAX: usize = 100;
/// The greatest power of ten that an exponent may name, either way.
const EXPONENT_MAX: i64 = 100_000;

/// An exact decimal number of any size up to [`DECIMAL_BYTES_MAX`] characters. Shown as it was written, compared by value:
/// `0.10` prints so and equals `1e-1`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Decimal {
    written: String,
    negative: bool,
    /// Without zeros at either end; empty for zero. The value is `0.digits` times ten to the `exponent`.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// `units` divided by ten to the `decimals`: `(1234, 3)` is 1.234, without needless zeros.
    #[must_use]
    pub fn scaled(units: i128, decimals: u32) -> Self {
        let (sign, digits) = (if units < 0 { "-" } else { "" }, units.unsigned_abs().to_string());
        let decimals = usize::try_from(decimals).unwrap_or(usize::MAX).min(DECIMAL_BYTES_MAX / 3);
        let digits = format!("{digits:0>width$}", width = decimals + 1);
        let (whole, fraction) = digits.split_at(digits.len() - decimals);
        let written = match fraction.trim_end_matches('0') {
            "" => format!("{sign}{whole}"),
            fraction => format!("{sign}{whole}.{fraction}"),
        };
        // Digits with a sign and a point are always a number.
        written.parse().unwrap_or_else(|_| Self::zero())
    }

    /// `part` of `whole` in percent with two decimals, rounded down. `None` of nothing.
    #[must_use]
    pub fn percent(part: u64, whole: u64) -> Option<Self> {
        let hundredths = u128::from(part).checked_mul(10_000)?.checked_div(u128::from(whole))?;
        Some(Self::scaled(i128::try_from(hundredths).ok()?, 2))
    }

    /// Multiplied by a power of ten, exactly.
    #[must_use]
    pub fn times_ten_to(&self, power: i64) -> Self {
        let mut other = self.clone();
        if !other.digits.is_empty() {
            other.exponent += power;
            other.written = other.plain();
        }
        other
    }

    /// Multiplied by a small whole number, exactly. Beyond [`DECIMAL_BYTES_MAX`] digits the rest is cut off.
    #[must_use]
    pub fn times(&self, factor: u32) -> Self {
        let (mut carry, mut digits) = (0_u64, Vec::with_capacity(self.digits.len() + 10));
        for digit in self.digits.bytes().rev() {
            let product = u64::from(digit - b'0') * u64::from(factor) + carry;
            digits.push(char::from(b'0' + u8::try_from(product % 10).unwrap_or(0)));
            carry = product / 10;
        }
        while carry > 0 {
            digits.push(char::from(b'0' + u8::try_from(carry % 10).unwrap_or(0)));
            carry /= 10;
        }
        let grown = i64::try_from(digits.len().saturating_sub(self.digits.len())).unwrap_or(0);
        let digits: String = digits.into_iter().rev().take(DECIMAL_BYTES_MAX).collect();
        let mut product = Self {
            written: String::new(),
            negative: self.negative,
            digits: digits.trim_end_matches('0').to_owned(),
            exponent: self.exponent + grown,
        };
        if product.digits.is_empty() {
            return Self::zero();
        }
        product.written = product.plain();
        product
    }

    fn zero() -> Self {
        Self { written: "0".to_owned(), negative: false, digits: String::new(), exponent: 0 }
    }

    /// The value in plain digits; with an exponent where that would be long.
    fn plain(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        let length = i64::try_from(self.digits.len()).unwrap_or(0);
        if self.exponent > 30 || self.exponent < -10 {
            return format!("{sign}0.{}e{}", self.digits, self.exponent);
        }
        let at = usize::try_from(self.exponent).unwrap_or(0);
        if self.exponent <= 0 {
            let zeros = "0".repeat(usize::try_from(-self.exponent).unwrap_or(0));
            format!("{sign}0.{zeros}{}", self.digits)
        } else if self.exponent >= length {
            format!("{sign}{:0<at$}", self.digits)
        } else {
            let (whole, fraction) = self.digits.split_at(at);
            format!("{sign}{whole}.{fraction}")
        }
    }
}

impl FromStr for Decimal {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = || {
            let start: String = text.chars().take(40).collect();
            Invalid(format!(
                "{start:?} is not a number: write one such as 90, -1, 0.95 or 1e6, in at most {DECIMAL_BYTES_MAX} characters"
            ))
        };
        if text.len() > DECIMAL_BYTES_MAX {
            return Err(wrong());
        }
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().map_err(|_| wrong())?),
            None => (text, 0),
        };
        if exponent.abs() > EXPONENT_MAX {
            return Err(wrong());
        }
        let negative = mantissa.starts_with('-');
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (whole, fraction) = match unsigned.split_once('.') {
            Some((_, "")) => return Err(wrong()),
            Some(parts) => parts,
            None => (unsigned, ""),
        };
        if whole.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let all = format!("{whole}{fraction}");
        let leading = all.len() - all.trim_start_matches('0').len();
        let digits = all.trim_matches('0').to_owned();
        if digits.is_empty() {
            return Ok(Self { written: text.to_owned(), ..Self::zero() });
        }
        let shift = i64::try_from(whole.len()).unwrap_or(0) - i64::try_from(leading).unwrap_or(0);
        Ok(Self { written: text.to_owned(), negative, digits, exponent: exponent + shift })
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = |a: &Self, b: &Self| a.exponent.cmp(&b.exponent).then_with(|| a.digits.cmp(&b.digits));
        sign(self).cmp(&sign(other)).then_with(|| match sign(self) {
            0 => Ordering::Equal,
            1 => size(self, other),
            _ => size(other, self),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Decimal {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Decimal {}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::scaled(i128::from(value), 0)
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::scaled(i128::from(value), 0)
    }
}

impl TryFrom<String> for Decimal {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        text.parse()
    }
}

impl From<Decimal> for String {
    fn from(number: Decimal) -> Self {
        number.written
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Decimal {
        text.parse().unwrap()
    }

    #[test]
    fn compares_by_value_and_prints_as_written() {
        let ordered =
            ["-1e400", "-10", "-9.99", "-0.5", "0", "1e-400", "0.10", "0.5", "0.97", "1", "9.99", "10", "1e3", "1e400"];
        for (low, high) in ordered.iter().zip(&ordered[1..]) {
            assert!(number(low) < number(high), "{low} < {high}");
            assert_eq!(number(low).to_string(), *low);
        }
        for (a, b) in [("0.10", "1e-1"), ("-0", "0.000"), ("1E3", "1000"), ("007", "7"), ("0.1e1", "1.0")] {
            assert_eq!(number(a), number(b));
        }
        // What doubles cannot tell apart.
        assert!(number("9007199254740993") > number("9007199254740992"));
        assert!(number("0.1000000000000000055511151231257827") > number("0.1"));
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "", "-", ".5", "5.", "1e", "e5", "1e1e1", "+1", "0x10", "NaN", "1,5", " 1", "1e100001", "--1", "1.2.3", "é",
        ] {
            assert!(text.parse::<Decimal>().is_err(), "{text}");
        }
        assert!("1".repeat(DECIMAL_BYTES_MAX + 1).parse::<Decimal>().is_err());
    }

    #[test]
    fn scales_exactly() {
        for (units, decimals, text) in
            [(1234, 3, "1.234"), (-5, 2, "-0.05"), (1000, 3, "1"), (0, 6, "0"), (-1_500_000, 6, "-1.5")]
        {
            assert_eq!(Decimal::scaled(units, decimals).to_string(), text);
        }
        assert_eq!(number("1.5").times_ten_to(3).to_string(), "1500");
        assert_eq!(number("2").times_ten_to(-3).to_string(), "0.002");
        assert_eq!(number("2.5").times(60_000).to_string(), "150000");
        assert_eq!(number("-0.1").times(0).to_string(), "0");
        assert_eq!(Decimal::percent(1, 3).unwrap().to_string(), "33.33");
        assert_eq!(Decimal::percent(1, 0), None);
    }

    proptest! {
        #[test]
        fn agrees_with_whole_numbers(a: i64, b: i64, factor: u32, decimals in 0_u32..20) {
            prop_assert_eq!(Decimal::from(a).cmp(&Decimal::from(b)), a.cmp(&b));
            let (x, y) = (Decimal::scaled(a.into(), decimals), Decimal::scaled(b.into(), decimals));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(x.times(factor), Decimal::scaled(i128::from(a) * i128::from(factor), decimals));
            prop_assert_eq!(&x.to_string().parse::<Decimal>().unwrap(), &x);
        }

        #[test]
        fn reads_any_text_without_panic(text in ".{0,120}") {
            _ = text.parse::<Decimal>();
        }
    }
}
