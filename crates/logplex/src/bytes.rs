//! Byte helpers for tokens of a few bytes, where a call into a vectorised search costs more than it saves.

const LOW: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Position of the first `needle`, eight bytes a step. For long haystacks `memchr` is faster.
#[inline(always)]
pub(crate) fn find_near(hay: &[u8], needle: u8) -> Option<usize> {
    let pattern = LOW * needle as u64;
    let mut at = 0;
    while let Some(chunk) = hay.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
        let x = u64::from_le_bytes(*chunk) ^ pattern;
        // The lowest set bit is exact; borrows can only set higher ones.
        let hit = x.wrapping_sub(LOW) & !x & HIGH;
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    hay.get(at..)?.iter().position(|&b| b == needle).map(|i| at + i)
}

/// Position of the first byte that is either of two, sixteen bytes a step.
#[inline(always)]
pub(crate) fn find_near2(hay: &[u8], first: u8, second: u8) -> Option<usize> {
    const LOW: u128 = u128::from_le_bytes([1; 16]);
    const HIGH: u128 = LOW << 7;
    let (p, q) = (LOW * first as u128, LOW * second as u128);
    let mut at = 0;
    while let Some(chunk) = hay.get(at..).and_then(|rest| rest.first_chunk::<16>()) {
        let (x, y) = (u128::from_le_bytes(*chunk) ^ p, u128::from_le_bytes(*chunk) ^ q);
        let hit = (x.wrapping_sub(LOW) & !x | y.wrapping_sub(LOW) & !y) & HIGH;
        if hit != 0 {
            return Some(at + (hit.trailing_zeros() / 8) as usize);
        }
        at += 16;
    }
    hay.get(at..)?.iter().position(|&b| b == first || b == second).map(|i| at + i)
}

/// The bytes before the first blank, and those after it (none when there is no blank).
#[inline(always)]
pub(crate) fn token(b: &[u8]) -> (&[u8], &[u8]) {
    match find_near(b, b' ') {
        Some(i) => (&b[..i], &b[i + 1..]),
        None => (b, &[]),
    }
}

/// The bytes after the last blank, and those before it (`None` when there is no blank).
pub(crate) fn last_token(b: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match memchr::memrchr(b' ', b) {
        Some(i) => (Some(&b[..i]), &b[i + 1..]),
        None => (None, b),
    }
}

/// The digits at the start of eight bytes: their value, and how many they are. Without a branch that depends on how many,
/// since a processor cannot guess that.
#[inline(always)]
pub(crate) fn digits8(chunk: &[u8; 8]) -> (u64, usize) {
    let x = u64::from_le_bytes(*chunk) ^ (LOW * b'0' as u64);
    // A byte above 9 gets its high bit set; carries only reach bytes behind the first such one.
    let mask = (x.wrapping_add(LOW * 0x76) | x) & HIGH;
    let len = (mask.trailing_zeros() / 8) as usize;
    // Moves the digits to the end, with zeros in front of them; in two steps, since a shift by 64 is none.
    let half = 4 * (8 - len);
    let x = x << half << half;
    let pairs = x.wrapping_mul(10).wrapping_add(x >> 8);
    let low = (pairs & 0x0000_00ff_0000_00ff).wrapping_mul(0x000f_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00ff_0000_00ff).wrapping_mul(0x0000_2710_0000_0001);
    (low.wrapping_add(high) >> 32, len)
}

/// Leading decimal digits as a number and how many there were; saturates instead of wrapping.
#[inline(always)]
pub(crate) fn leading_number(b: &[u8]) -> (u64, usize) {
    if let Some(chunk) = b.first_chunk::<8>() {
        let (n, len) = digits8(chunk);
        if len < 8 {
            return (n, len);
        }
    }
    leading_number_slow(b)
}

/// For numbers of eight digits and more, and at the end of a text.
fn leading_number_slow(b: &[u8]) -> (u64, usize) {
    let (mut n, mut i) = (0u64, 0);
    while let Some(d) = b.get(i).map(|c| c.wrapping_sub(b'0')).filter(|&d| d <= 9) {
        n = n.saturating_mul(10).saturating_add(d as u64);
        i += 1;
    }
    (n, i)
}

/// The whole slice as a decimal number: digits only, at least one, no overflow.
pub(crate) fn number(b: &[u8]) -> Option<u64> {
    if b.is_empty() || b.len() > 19 {
        return None;
    }
    let (n, len) = leading_number(b);
    (len == b.len()).then_some(n)
}

/// The slice without blanks at its end.
pub(crate) fn trim_end(b: &[u8]) -> &[u8] {
    b.trim_ascii_end()
}

/// Splits at the first occurrence of `needle`.
pub(crate) fn split_once<'a>(b: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let i = memchr::memmem::find(b, needle)?;
    Some((&b[..i], &b[i + needle.len()..]))
}

/// Splits at the last occurrence of `needle`.
pub(crate) fn rsplit_once<'a>(b: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let i = memchr::memmem::rfind(b, needle)?;
    Some((&b[..i], &b[i + needle.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn searches_equal_plain_ones(hay in prop::collection::vec(prop::sample::select(b"ab =\xa0\x80".to_vec()), 0..60)) {
            prop_assert_eq!(find_near(&hay, b' '), hay.iter().position(|&b| b == b' '));
            prop_assert_eq!(find_near2(&hay, b'=', b' '), hay.iter().position(|&b| b == b' ' || b == b'='));
        }

        #[test]
        fn numbers_equal_plain_ones(digits in "[0-9]{0,12}", rest in prop::collection::vec(any::<u8>(), 0..12)) {
            prop_assume!(!rest.first().is_some_and(u8::is_ascii_digit));
            let text = [digits.as_bytes(), &rest].concat();
            prop_assert_eq!(leading_number(&text), (digits.parse().unwrap_or(0), digits.len()));
        }
    }

    #[test]
    fn a_number_too_great_saturates() {
        assert_eq!(leading_number(b"99999999999999999999999 "), (u64::MAX, 23));
        assert_eq!(number(b"99999999999999999999999"), None);
        assert_eq!(number(b"18"), Some(18));
        assert_eq!(number(b"18ms"), None);
        assert_eq!(number(b""), None);
    }
}
