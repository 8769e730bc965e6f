//! A distribution that merges: counts in log-linear buckets of whole numbers, so that the percentiles of any span, dynos
//! and processes together come from the merged counts and never from averaged percentiles.
//!
//! Values below 128 have a bucket each; above, every power of two is cut into 64. The middle of a bucket is therefore off
//! by at most 1/128 (0.8 %) of the value. Count, sum, least and greatest are exact.

use super::codec::{Bytes, put, put_signed};

/// Buckets per power of two, as a power of two.
const SUB_BITS: u32 = 6;
/// Buckets of a dense tally: values up to 4 million.
const DENSE: usize = 1_024;
/// From this many values on a tally is dense.
const FEW_MAX: usize = 192;

/// The bucket of a value.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "there are 3,776 buckets")]
fn bucket(value: u64) -> u16 {
    let exponent = (63 - (value | 1).leading_zeros()).saturating_sub(SUB_BITS);
    ((exponent << SUB_BITS) as u64 + (value >> exponent)) as u16
}

/// The least value of a bucket and how many values it spans.
fn span(bucket: u16) -> (u64, u64) {
    let bucket = u64::from(bucket);
    let exponent = (bucket >> SUB_BITS).saturating_sub(1).min(57);
    let low = (bucket - (exponent << SUB_BITS)).checked_shl(u32::try_from(exponent).unwrap_or(0)).unwrap_or(u64::MAX);
    (low, 1 << exponent)
}

fn middle(bucket: u16) -> u64 {
    let (low, width) = span(bucket);
    low.saturating_add((width - 1) / 2)
}

/// A distribution, to be merged, asked and packed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sketch {
    /// Bucket and count, in order, no count zero.
    buckets: Vec<(u16, u64)>,
    n: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Sketch {
    /// The distribution of these values.
    #[must_use]
    pub fn of(values: impl IntoIterator<Item = u64>) -> Self {
        let mut tally = Tally::default();
        values.into_iter().for_each(|value| tally.add(value));
        tally.sketch()
    }

    /// That value so many times.
    #[must_use]
    pub fn repeated(value: u64, n: u64) -> Self {
        if n == 0 {
            return Self::default();
        }
        Self { buckets: vec![(bucket(value), n)], n, sum: value.saturating_mul(n), min: value, max: value }
    }

    /// How many values.
    #[must_use]
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The least.
    #[must_use]
    pub fn min(&self) -> Option<u64> {
        (self.n > 0).then_some(self.min)
    }

    /// The greatest.
    #[must_use]
    pub fn max(&self) -> Option<u64> {
        (self.n > 0).then_some(self.max)
    }

    /// The value that the share `q` of all values does not exceed, within 0.8 %; `None` of nothing.
    #[must_use]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank among counts"
    )]
    pub fn quantile(&self, q: f64) -> Option<u64> {
        let rank = ((q.clamp(0.0, 1.0) * self.n as f64).ceil() as u64).clamp(1, self.n.max(1));
        if rank == self.n {
            return self.max();
        }
        let mut below = 0;
        self.buckets.iter().find_map(|&(at, count)| {
            below += count;
            (below >= rank).then(|| middle(at).clamp(self.min, self.max))
        })
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        if other.n == 0 {
            return;
        }
        if self.n == 0 {
            self.clone_from(other);
            return;
        }
        (self.min, self.max) = (self.min.min(other.min), self.max.max(other.max));
        self.n = self.n.saturating_add(other.n);
        self.sum = self.sum.saturating_add(other.sum);
        let mine = std::mem::take(&mut self.buckets);
        self.buckets = merged(&mine, &other.buckets);
    }

    pub(super) fn put(&self, out: &mut Vec<u8>) {
        put(out, self.buckets.len() as u64);
        let mut before = 0_u64;
        for &(at, count) in &self.buckets {
            let step = u64::from(at) - before;
            before = u64::from(at);
            put(out, step << 1 | u64::from(count > 1));
            if count > 1 {
                put(out, count - 2);
            }
        }
        let (Some(&(first, _)), Some(&(last, _))) = (self.buckets.first(), self.buckets.last()) else { return };
        #[expect(clippy::cast_possible_wrap, reason = "a difference of sums, which wraps back")]
        put_signed(out, self.sum.wrapping_sub(self.middles()) as i64);
        put(out, self.min.wrapping_sub(span(first).0));
        put(out, self.max.wrapping_sub(span(last).0));
    }

    #[expect(clippy::cast_sign_loss, reason = "a difference of sums, which wraps back")]
    pub(super) fn read(from: &mut Bytes<'_>) -> Option<Self> {
        let len = usize::try_from(from.number()?).ok().filter(|len| *len <= 3_776)?;
        let mut sketch = Self { buckets: Vec::with_capacity(len), ..Self::default() };
        let mut at = 0_u64;
        for _ in 0..len {
            let step = from.number()?;
            at = at.checked_add(step >> 1)?;
            let count = if step & 1 == 1 { from.number()?.checked_add(2)? } else { 1 };
            sketch.n = sketch.n.checked_add(count)?;
            sketch.buckets.push((u16::try_from(at).ok()?, count));
        }
        let (Some(&(first, _)), Some(&(last, _))) = (sketch.buckets.first(), sketch.buckets.last()) else {
            return Some(sketch);
        };
        sketch.sum = sketch.middles().wrapping_add(from.signed()? as u64);
        sketch.min = span(first).0.wrapping_add(from.number()?);
        sketch.max = span(last).0.wrapping_add(from.number()?).max(sketch.min);
        Some(sketch)
    }

    /// What the sum would be if every value were its bucket's middle; wraps.
    fn middles(&self) -> u64 {
        self.buckets.iter().fold(0_u64, |sum, &(at, count)| sum.wrapping_add(middle(at).wrapping_mul(count)))
    }
}

fn merged(a: &[(u16, u64)], b: &[(u16, u64)]) -> Vec<(u16, u64)> {
    let mut all = Vec::with_capacity(a.len().max(b.len()) + 8);
    let (mut a, mut b) = (a.iter().copied().peekable(), b.iter().copied().peekable());
    loop {
        let next = match (a.peek(), b.peek()) {
            (Some(&(x, m)), Some(&(y, n))) if x == y => {
                b.next();
                a.next();
                (x, m.saturating_add(n))
            }
            (Some(&(x, _)), Some(&(y, n))) if y < x => {
                b.next();
                (y, n)
            }
            (Some(&one), _) => {
                a.next();
                one
            }
            (None, Some(&one)) => {
                b.next();
                one
            }
            (None, None) => return all,
        };
        all.push(next);
    }
}

/// A distribution being filled: adding a value costs a few nanoseconds and allocates rarely.
#[derive(Debug, Default)]
pub struct Tally {
    /// Buckets one by one: until they are too many, then those whose counter is full or that have none.
    few: Vec<u16>,
    dense: Option<Box<[u16; DENSE]>>,
    n: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Tally {
    /// Adds a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        (self.min, self.max) = if self.n == 0 { (value, value) } else { (self.min.min(value), self.max.max(value)) };
        self.n += 1;
        self.sum = self.sum.saturating_add(value);
        let at = bucket(value);
        match self.dense.as_mut().and_then(|dense| dense.get_mut(usize::from(at))) {
            Some(count) if *count < u16::MAX => *count += 1,
            _ => {
                self.few.push(at);
                if self.few.len() >= FEW_MAX && self.dense.is_none() {
                    self.thicken();
                }
            }
        }
    }

    #[cold]
    fn thicken(&mut self) {
        let mut dense = Box::new([0_u16; DENSE]);
        self.few.retain(|&at| match dense.get_mut(usize::from(at)) {
            Some(count) => {
                *count += 1;
                false
            }
            None => true,
        });
        self.dense = Some(dense);
    }

    /// What was added.
    #[must_use]
    pub fn sketch(mut self) -> Sketch {
        self.few.sort_unstable();
        let mut buckets: Vec<(u16, u64)> = Vec::with_capacity(self.few.len());
        for at in self.few {
            match buckets.last_mut() {
                Some((last, count)) if *last == at => *count += 1,
                _ => buckets.push((at, 1)),
            }
        }
        if let Some(dense) = self.dense {
            let filled: Vec<(u16, u64)> =
                (0_u16..).zip(dense.iter()).filter(|(_, n)| **n > 0).map(|(at, n)| (at, u64::from(*n))).collect();
            buckets = merged(&filled, &buckets);
        }
        Sketch { buckets, n: self.n, sum: self.sum, min: self.min, max: self.max }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values() -> impl Strategy<Value = Vec<u64>> {
        prop::collection::vec(
            prop_oneof![0_u64..50, 0_u64..40_000, any::<u32>().prop_map(u64::from), any::<u64>().prop_map(|v| v >> 8)],
            1..400,
        )
    }

    proptest! {
        #[test]
        fn quantiles_are_close(mut values in values(), q in 0.0_f64..1.0) {
            let sketch = Sketch::of(values.iter().copied());
            values.sort_unstable();
            let rank = ((q * values.len() as f64).ceil() as usize).clamp(1, values.len());
            let (exact, found) = (values[rank - 1] as f64, sketch.quantile(q).unwrap() as f64);
            prop_assert!((found - exact).abs() <= exact * 0.01, "{found} for {exact}");
            prop_assert_eq!((sketch.min(), sketch.max()), (values.first().copied(), values.last().copied()));
        }

        #[test]
        fn merging_is_adding(a in values(), b in values()) {
            let mut merged = Sketch::of(a.iter().copied());
            merged.merge(&Sketch::of(b.iter().copied()));
            prop_assert_eq!(merged, Sketch::of(a.into_iter().chain(b)));
        }

        #[test]
        fn a_tally_counts_the_same(values in values(), often in 0_u64..5_000, times in prop_oneof![0_usize..300, 65_500_usize..65_600]) {
            let mut tally = Tally::default();
            let all = values.into_iter().chain(std::iter::repeat_n(often, times));
            let all: Vec<u64> = all.collect();
            all.iter().for_each(|value| tally.add(*value));
            prop_assert_eq!(tally.sketch(), Sketch::of(all));
        }

        #[test]
        fn comes_back_from_bytes(values in values()) {
            let sketch = Sketch::of(values);
            let mut out = Vec::new();
            sketch.put(&mut out);
            prop_assert_eq!(Sketch::read(&mut Bytes(&out)), Some(sketch));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Some(sketch) = Sketch::read(&mut Bytes(&bytes)) {
                let _asked = (sketch.quantile(0.5), sketch.clone().merge(&sketch));
            }
        }
    }

    #[test]
    fn buckets_lie_side_by_side() {
        for at in 1..3_776_u16 {
            let ((low, width), (next, _)) = (span(at - 1), span(at));
            assert_eq!(low.saturating_add(width), next, "{at}");
            assert_eq!((bucket(next), bucket(next - 1)), (at, at - 1));
        }
        assert_eq!(bucket(u64::MAX), 3_775);
    }

    #[test]
    fn repeated_is_the_same_value_again() {
        assert_eq!(Sketch::repeated(300, 7), Sketch::of([300; 7]));
        assert_eq!(Sketch::repeated(300, 0), Sketch::default());
    }

    #[test]
    fn of_nothing_there_is_no_quantile() {
        assert_eq!((Sketch::default().quantile(0.5), Sketch::default().max()), (None, None));
    }
}
