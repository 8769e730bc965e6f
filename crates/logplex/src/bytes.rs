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

/// Leading decimal digits as a number and how many there were; saturates instead of wrapping.
#[inline(always)]
pub(crate) fn leading_number(b: &[u8]) -> (u64, usize) {
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
