//! Numbers as few bytes: variable-length integers, columns of differences in which repetitions vanish, and decimals, which
//! is what metric lines hold, as whole numbers. Reading never fails otherwise than with `None`.

/// Powers of ten by which decimals become whole numbers.
const POWERS: [f64; 7] = [1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// The scale byte of numbers that are no decimals: eight bytes each.
pub(crate) const RAW: u8 = 7;
/// Whole numbers up to here are exact in a double.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

#[expect(clippy::cast_possible_truncation, reason = "LEB128 takes seven bits at a time")]
pub(crate) fn put(out: &mut Vec<u8>, mut bits: u64) {
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

#[expect(clippy::cast_sign_loss, reason = "zigzag is about bits")]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// Bytes being read.
#[derive(Clone, Copy)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

impl Bytes<'_> {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (&first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut bits = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            bits |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(bits);
            }
        }
        None
    }

    #[expect(clippy::cast_possible_wrap, reason = "zigzag is about bits")]
    pub(crate) fn signed(&mut self) -> Option<i64> {
        let bits = self.number()?;
        Some((bits >> 1) as i64 ^ -((bits & 1) as i64))
    }

    pub(crate) fn float(&mut self) -> Option<f64> {
        let (eight, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(f64::from_le_bytes(*eight))
    }
}

/// Writes a column: each value less the one before; a zero stands before the number of further repetitions.
pub(crate) fn put_column(out: &mut Vec<u8>, values: impl Iterator<Item = i64>) {
    let (mut last, mut same) = (0_i64, 0_u64);
    let end_run = |out: &mut Vec<u8>, same: &mut u64| {
        if *same > 0 {
            put(out, 0);
            put(out, *same - 1);
            *same = 0;
        }
    };
    for value in values {
        let step = value.wrapping_sub(last);
        last = value;
        if step == 0 {
            same += 1;
        } else {
            end_run(out, &mut same);
            put_signed(out, step);
        }
    }
    end_run(out, &mut same);
}

/// Reads a column of that many values.
pub(crate) fn column(from: &mut Bytes<'_>, len: usize) -> Option<Vec<i64>> {
    let (mut values, mut last) = (Vec::with_capacity(len), 0_i64);
    while values.len() < len {
        let step = from.signed()?;
        if step == 0 {
            let more = usize::try_from(from.number()?).ok()?;
            if more >= len - values.len() {
                return None;
            }
            values.extend(std::iter::repeat_n(last, more + 1));
        } else {
            last = last.wrapping_add(step);
            values.push(last);
        }
    }
    Some(values)
}

/// The least scale at which all these are whole numbers, or [`RAW`].
pub(crate) fn scale_of(values: impl Iterator<Item = f64> + Clone) -> u8 {
    (0..RAW).find(|&scale| values.clone().all(|value| fits(value, scale))).unwrap_or(RAW)
}

/// The same for values and sums of such values: a sum of decimals is one but for the last bits of a double.
pub(crate) fn scale_with_sums(
    values: impl Iterator<Item = f64> + Clone,
    sums: impl Iterator<Item = f64> + Clone,
) -> u8 {
    let close = |sum: f64, scale: u8| {
        let found = decimal(whole(sum, scale), scale);
        (sum * power(scale)).abs() < WHOLE_MAX && (found - sum).abs() <= 1e-9 * sum.abs()
    };
    let all = |scale: &u8| values.clone().all(|v| fits(v, *scale)) && sums.clone().all(|sum| close(sum, *scale));
    (0..RAW).find(all).unwrap_or(RAW)
}

fn power(scale: u8) -> f64 {
    POWERS.get(usize::from(scale)).copied().unwrap_or(1.0)
}

fn fits(value: f64, scale: u8) -> bool {
    let power = power(scale);
    let whole = (value * power).round();
    // Not zero with a sign: it would come back without.
    whole.abs() < WHOLE_MAX && whole / power == value && !(value == 0.0 && value.is_sign_negative())
}

/// The whole number of a decimal at a scale.
#[expect(clippy::cast_possible_truncation, reason = "values that do not fit have no scale")]
pub(crate) fn whole(value: f64, scale: u8) -> i64 {
    (value * power(scale)).round() as i64
}

/// The other way round.
#[expect(clippy::cast_precision_loss, reason = "whole numbers beyond 2^53 are not written")]
pub(crate) fn decimal(whole: i64, scale: u8) -> f64 {
    whole as f64 / power(scale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn columns_come_back(values in prop::collection::vec(prop_oneof![Just(5_i64), -3..3_i64, any::<i64>()], 0..80)) {
            let mut out = Vec::new();
            put_column(&mut out, values.iter().copied());
            let mut bytes = Bytes(&out);
            prop_assert_eq!(column(&mut bytes, values.len()), Some(values));
            prop_assert!(bytes.is_empty());
        }

        #[test]
        fn decimals_come_back(mantissa in -1_000_000_000_i64..1_000_000_000, scale in 0_u8..7) {
            let value = decimal(mantissa, scale);
            let found = scale_of([value].into_iter());
            prop_assert!(found <= scale);
            prop_assert_eq!(decimal(whole(value, found), found), value);
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60), len in 0_usize..80) {
            let _read = column(&mut Bytes(&bytes), len);
        }
    }

    #[test]
    fn repetitions_vanish() {
        let mut out = Vec::new();
        put_column(&mut out, std::iter::repeat_n(512, 60));
        assert_eq!(out.len(), 4);
        assert_eq!(scale_of([21.22, 5.0].into_iter()), 2);
        assert_eq!(scale_of([std::f64::consts::PI].into_iter()), RAW);
    }
}
