//! Slots of one series as bytes: one row per series and hour instead of sixty. Columns of differences (see `codec`): a
//! level that does not move costs nothing, one that moves a few bytes a minute.
//!
//! Layout: a version byte; how many runs of filled slots there are and for each how many slots are skipped and how many
//! filled; then by kind: counters as one column of decimals, levels as columns of count, least, spread, surplus of the sum,
//! place of the last between least and greatest, and its time; distributions one after another.

use super::codec::{Bytes, RAW, column, decimal, put, put_column, scale_of, scale_with_sums, whole};
use super::{Gauge, Kind, Sketch, Value};

const VERSION: u8 = 1;
/// More slots than any row has.
const SLOTS_MAX: u64 = 1_024;

/// Packs slots: places in order without repetition, every value of that kind. Others are left out.
#[must_use]
pub fn pack(kind: Kind, slots: &[(u16, Value)]) -> Vec<u8> {
    let slots: Vec<&(u16, Value)> = slots.iter().filter(|(_, value)| value.kind() == kind).collect();
    let mut out = vec![VERSION];
    put_places(&mut out, &slots.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    match kind {
        Kind::Counter => {
            let values = slots.iter().filter_map(|(_, v)| if let Value::Counter(v) = v { Some(*v) } else { None });
            put_decimals(&mut out, values);
        }
        Kind::Gauge => {
            let gauges: Vec<Gauge> =
                slots.iter().filter_map(|(_, v)| if let Value::Gauge(v) = v { Some(*v) } else { None }).collect();
            put_gauges(&mut out, &gauges);
        }
        Kind::Distribution => {
            for (_, value) in slots {
                if let Value::Distribution(sketch) = value {
                    sketch.put(&mut out);
                }
            }
        }
    }
    out
}

/// Unpacks what [`pack`] made of that kind; `None` for anything else.
#[must_use]
pub fn unpack(kind: Kind, bytes: &[u8]) -> Option<Vec<(u16, Value)>> {
    let mut from = Bytes(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let places = places(&mut from)?;
    let values: Vec<Value> = match kind {
        Kind::Counter => decimals(&mut from, places.len())?.into_iter().map(Value::Counter).collect(),
        Kind::Gauge => gauges(&mut from, places.len())?.into_iter().map(Value::Gauge).collect(),
        Kind::Distribution => {
            places.iter().map(|_| Sketch::read(&mut from).map(Value::Distribution)).collect::<Option<_>>()?
        }
    };
    from.is_empty().then(|| places.into_iter().zip(values).collect())
}

/// Adds a value to slots that are in order.
pub fn merge_into(slots: &mut Vec<(u16, Value)>, at: u16, value: &Value) {
    match slots.binary_search_by_key(&at, |(at, _)| *at) {
        Ok(i) => {
            if let Some((_, known)) = slots.get_mut(i) {
                known.merge(value);
            }
        }
        Err(i) => slots.insert(i, (at, value.clone())),
    }
}

fn put_places(out: &mut Vec<u8>, places: &[u16]) {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &at in places {
        match runs.last_mut() {
            Some((from, len)) if *from + *len == at => *len += 1,
            _ => runs.push((at, 1)),
        }
    }
    put(out, runs.len() as u64);
    let mut end = 0;
    for (from, len) in runs {
        put(out, u64::from(from - end));
        put(out, u64::from(len - 1));
        end = from + len;
    }
}

fn places(from: &mut Bytes<'_>) -> Option<Vec<u16>> {
    let (runs, mut end, mut places) = (from.number()?, 0_u64, Vec::new());
    for _ in 0..runs {
        let first = end.checked_add(from.number()?)?;
        end = first.checked_add(from.number()?)?.checked_add(1)?;
        if end > SLOTS_MAX {
            return None;
        }
        places.extend((first..end).filter_map(|at| u16::try_from(at).ok()));
    }
    Some(places)
}

fn put_decimals(out: &mut Vec<u8>, values: impl Iterator<Item = f64> + Clone) {
    let scale = scale_of(values.clone());
    out.push(scale);
    if scale == RAW {
        values.for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
    } else {
        put_column(out, values.map(|value| whole(value, scale)));
    }
}

fn decimals(from: &mut Bytes<'_>, len: usize) -> Option<Vec<f64>> {
    match from.byte()? {
        RAW => (0..len).map(|_| from.float()).collect(),
        scale if scale < RAW => Some(column(from, len)?.into_iter().map(|value| decimal(value, scale)).collect()),
        _ => None,
    }
}

fn put_gauges(out: &mut Vec<u8>, gauges: &[Gauge]) {
    let scale = scale_with_sums(gauges.iter().flat_map(|g| [g.min, g.max, g.last]), gauges.iter().map(|g| g.sum));
    out.push(scale);
    put_column(out, gauges.iter().map(|g| i64::try_from(g.n).unwrap_or(i64::MAX)));
    put_column(out, gauges.iter().map(|g| i64::from(g.last_at)));
    if scale == RAW {
        for value in gauges.iter().flat_map(|g| [g.sum, g.min, g.max, g.last]) {
            out.extend_from_slice(&value.to_le_bytes());
        }
        return;
    }
    let of = |value: f64| whole(value, scale);
    put_column(out, gauges.iter().map(|g| of(g.min)));
    put_column(out, gauges.iter().map(|g| of(g.max).wrapping_sub(of(g.min))));
    put_column(out, gauges.iter().map(|g| of(g.last).wrapping_sub(of(g.min))));
    put_column(out, gauges.iter().map(|g| of(g.sum).wrapping_sub(least_sum(g.n, of(g.min)))));
}

/// What the sum is at least.
fn least_sum(n: u64, min: i64) -> i64 {
    min.wrapping_mul(i64::try_from(n).unwrap_or(i64::MAX))
}

fn gauges(from: &mut Bytes<'_>, len: usize) -> Option<Vec<Gauge>> {
    let scale = from.byte().filter(|scale| *scale <= RAW)?;
    let counts = column(from, len)?;
    let last_at = column(from, len)?;
    let head = counts.into_iter().zip(last_at).map(|(n, at)| Some((u64::try_from(n).ok()?, u16::try_from(at).ok()?)));
    let head: Vec<(u64, u16)> = head.collect::<Option<_>>()?;
    if scale == RAW {
        return head
            .into_iter()
            .map(|(n, last_at)| {
                let (sum, min, max, last) = (from.float()?, from.float()?, from.float()?, from.float()?);
                Some(Gauge { n, sum, min, max, last, last_at })
            })
            .collect();
    }
    let (min, spread) = (column(from, len)?, column(from, len)?);
    let (last, surplus) = (column(from, len)?, column(from, len)?);
    let of = |whole: i64| decimal(whole, scale);
    let mut levels = min.into_iter().zip(spread).zip(last.into_iter().zip(surplus));
    let gauge = |(n, last_at)| {
        let ((min, spread), (last, surplus)) = levels.next()?;
        let (max, last) = (of(min.wrapping_add(spread)), of(min.wrapping_add(last)));
        Some(Gauge { n, sum: of(least_sum(n, min).wrapping_add(surplus)), min: of(min), max, last, last_at })
    };
    head.into_iter().map(gauge).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Levels as metric lines write them: decimals, seen once or more often.
    fn level() -> impl Strategy<Value = Gauge> {
        (prop::collection::vec(-50_000_i64..5_000_000, 1..6), 0_i32..4, 0_u16..6).prop_map(|(seen, scale, last_at)| {
            let seen: Vec<f64> = seen.into_iter().map(|v| v as f64 / 10_f64.powi(scale)).collect();
            let mut gauge = Gauge::once(seen[0]);
            seen[1..].iter().for_each(|v| gauge.merge(&Gauge::once(*v)));
            Gauge { last_at, ..gauge }
        })
    }

    pub(in crate::metric) fn value(kind: Kind) -> BoxedStrategy<Value> {
        match kind {
            Kind::Counter => prop_oneof![
                (0_u32..5_000).prop_map(f64::from),
                any::<f32>().prop_filter_map("finite", |v| v.is_finite().then(|| f64::from(v)))
            ]
            .prop_map(Value::Counter)
            .boxed(),
            Kind::Gauge => level().prop_map(Value::Gauge).boxed(),
            Kind::Distribution => prop::collection::vec(0_u64..40_000, 1..40)
                .prop_map(|values| Value::Distribution(Sketch::of(values)))
                .boxed(),
        }
    }

    pub(in crate::metric) fn kind() -> impl Strategy<Value = Kind> {
        prop::sample::select(&Kind::ALL[..])
    }

    fn slots() -> impl Strategy<Value = (Kind, Vec<(u16, Value)>)> {
        kind().prop_flat_map(|kind| {
            prop::collection::btree_map(0_u16..720, value(kind), 0..70)
                .prop_map(move |slots: BTreeMap<u16, Value>| (kind, slots.into_iter().collect()))
        })
    }

    /// Equal but for the last bits of a sum.
    #[track_caller]
    pub(in crate::metric) fn assert_same(a: &Value, b: &Value) {
        match (a, b) {
            (Value::Gauge(a), Value::Gauge(b)) => {
                assert_eq!(Gauge { sum: 0.0, ..*a }, Gauge { sum: 0.0, ..*b });
                assert!((a.sum - b.sum).abs() <= 1e-6 * a.sum.abs().max(1.0), "{a:?} {b:?}");
            }
            (Value::Counter(a), Value::Counter(b)) => {
                assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{a} {b}");
            }
            (a, b) => assert_eq!(a, b),
        }
    }

    proptest! {
        #[test]
        fn slots_come_back((kind, slots) in slots()) {
            let found = unpack(kind, &pack(kind, &slots)).unwrap();
            prop_assert_eq!(found.len(), slots.len());
            for ((at, value), (found_at, found)) in slots.iter().zip(&found) {
                prop_assert_eq!(at, found_at);
                assert_same(value, found);
            }
        }

        #[test]
        fn no_bytes_break_it(kind in kind(), bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _read = unpack(kind, &[&[VERSION], &bytes[..]].concat());
        }
    }

    /// What was seen between the least and the greatest may have more decimals than either.
    #[test]
    fn a_mean_keeps_its_decimals() {
        let seen = [5.0, 5.5, 6.0].map(Gauge::once);
        let mut gauge = seen[0];
        seen[1..].iter().for_each(|more| gauge.merge(more));
        let slots = vec![(0, Value::Gauge(gauge))];
        assert_eq!(unpack(Kind::Gauge, &pack(Kind::Gauge, &slots)), Some(slots));
    }

    #[test]
    fn a_level_that_stays_is_small() {
        let quota =
            (0..60).map(|at| (at, Value::Gauge(Gauge { n: 3, sum: 1536.0, ..Gauge::once(512.0) }))).collect::<Vec<_>>();
        assert!(pack(Kind::Gauge, &quota).len() <= 30, "{}", pack(Kind::Gauge, &quota).len());
    }
}
