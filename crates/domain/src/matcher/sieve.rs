//! A sieve before the automaton: whether any of the texts can stand in a line at all.
//!
//! Of every text, each `stride` neighbouring grams (runs of `gram` bytes) are marked in a table of bits. A text that stands
//! in a line covers, wherever it begins, one of the places 0, stride, 2 stride … with one of its marked grams. So it is
//! enough to look up the grams at these places: a dozen look-ups for an ordinary line, for one text or a thousand.
//! Lines that pass are few, and go through the automaton.

/// Eight bytes are read at once.
const GRAM_BYTES_MAX: usize = 8;
/// Below this, grams are so common and strides so short that the sieve spares nothing.
pub(super) const TEXT_BYTES_MIN: usize = 7;
/// Bits per marked gram: one look-up in 64 passes by chance.
const BITS_PER_GRAM: usize = 64;
/// 256 KiB.
const BITS_MAX: usize = 1 << 21;

#[derive(Debug)]
pub(super) struct Sieve {
    gram_mask: u64,
    gram_bytes: usize,
    stride: usize,
    bits: Box<[u64]>,
    /// How far a hash is shifted to be the place of a bit.
    shift: u32,
}

impl Sieve {
    /// A sieve for these texts; `None` where one of them is too short for it.
    pub(super) fn new<'t>(texts: impl Iterator<Item = &'t [u8]> + Clone) -> Option<Self> {
        let shortest = texts.clone().map(<[u8]>::len).min().filter(|bytes| *bytes >= TEXT_BYTES_MIN)?;
        let gram_bytes = shortest.div_ceil(2).min(GRAM_BYTES_MAX);
        let stride = shortest - gram_bytes + 1;
        let grams = texts.clone().count() * stride;
        let bits = (grams * BITS_PER_GRAM).next_power_of_two().clamp(1 << 12, BITS_MAX);
        let mut sieve = Self {
            gram_mask: u64::MAX >> (64 - 8 * gram_bytes),
            gram_bytes,
            stride,
            bits: vec![0; bits / 64].into(),
            shift: 64 - bits.trailing_zeros(),
        };
        for text in texts {
            let covered = gram_bytes + stride - 1;
            let rarest = text.windows(covered).max_by_key(|part| rarity(part)).unwrap_or(text);
            for gram in rarest.windows(gram_bytes) {
                let place = sieve.place(padded(gram));
                if let Some(word) = sieve.bits.get_mut(place / 64) {
                    *word |= 1 << (place % 64);
                }
            }
        }
        Some(sieve)
    }

    /// Whether `line` may hold one of the texts. Wrongly `true` now and then, never wrongly `false`.
    #[inline]
    pub(super) fn passes(&self, line: &[u8]) -> bool {
        let mut at = 0;
        while let Some(Ok(eight)) = line.get(at..at + 8).map(<[u8; 8]>::try_from) {
            if self.marked(u64::from_le_bytes(eight)) {
                return true;
            }
            at += self.stride;
        }
        while let Some(rest) = line.get(at..).filter(|rest| rest.len() >= self.gram_bytes) {
            if self.marked(padded(rest)) {
                return true;
            }
            at += self.stride;
        }
        false
    }

    #[inline]
    fn marked(&self, eight: u64) -> bool {
        let place = self.place(eight);
        self.bits.get(place / 64).is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    #[inline]
    fn place(&self, eight: u64) -> usize {
        // Fibonacci hashing: the high bits depend on all of the gram's.
        ((eight & self.gram_mask).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> self.shift) as usize
    }
}

/// Up to eight bytes as a number.
fn padded(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// How unlike ordinary words: letters and blanks stand in every line, digits and signs in fewer, capitals in few.
fn rarity(part: &[u8]) -> usize {
    part.iter()
        .map(|byte| match byte {
            b'a'..=b'z' | b' ' => 0,
            b'0'..=b'9' => 1,
            _ => 2,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_lines_do_not_pass() {
        let texts: Vec<String> = (0..1_000).map(|i| format!("refund {i:04} was rejected")).collect();
        let sieve = Sieve::new(texts.iter().map(|text| text.as_bytes())).unwrap();
        let lines =
            (0..1_000).map(|i| format!("Started GET \"/orders/{i}\" for 198.51.100.7 at 2026-05-07 08:06:12 +0000"));
        assert!(lines.filter(|line| sieve.passes(line.as_bytes())).count() < 200);
        assert!(sieve.passes(b"job: refund 0999 was rejected"));
    }

    #[test]
    fn short_texts_have_none() {
        assert!(Sieve::new([&b"OOM"[..], b"a long text"].into_iter()).is_none());
        assert!(Sieve::new(std::iter::empty()).is_none());
    }

    proptest! {
        #[test]
        fn no_text_is_held_back(
            texts in prop::collection::vec("[ab0A\u{e9}]{7,30}", 1..20),
            pick in any::<prop::sample::Index>(),
            before in "[ab0A]{0,40}",
            after in "[ab0A]{0,20}",
        ) {
            let sieve = Sieve::new(texts.iter().map(|text| text.as_bytes())).unwrap();
            let line = format!("{before}{}{after}", pick.get(&texts));
            prop_assert!(sieve.passes(line.as_bytes()));
        }
    }
}
