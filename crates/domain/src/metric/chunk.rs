//! What one flush saw of one app as bytes: ten-second values of many series. A chunk is written once and never changed;
//! chunks of a slot add up, however many there are and in whatever order.
//!
//! Layout: a version byte, the first slot, then per value its series less the one before and its kind, its slot less the
//! first, and the value.

use std::borrow::Borrow;

use super::codec::{Bytes, RAW, decimal, put, put_signed, scale_of, scale_with_sums, whole};
use super::{Gauge, Kind, SLOT, Sketch, Value};
use crate::Timestamp;

const VERSION: u8 = 1;

/// One value of a chunk.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry<V = Value> {
    /// The series' number in the store.
    pub series: u64,
    /// When its slot begins.
    pub at: Timestamp,
    /// The value, or a reference to it.
    pub value: V,
}

fn slot(at: Timestamp) -> i64 {
    at.floor(SLOT).as_seconds() / 10
}

/// Packs entries, in any order.
#[must_use]
pub fn pack<V: Borrow<Value>>(entries: &mut [Entry<V>]) -> Vec<u8> {
    entries.sort_by_key(|entry| (entry.series, entry.at));
    let first = entries.iter().map(|entry| slot(entry.at)).min().unwrap_or_default();
    let mut out = Vec::with_capacity(16 + 8 * entries.len());
    out.push(VERSION);
    put_signed(&mut out, first);
    let mut before = 0;
    for Entry { series, at, value } in entries {
        let value = V::borrow(value);
        let kind = match value.kind() {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Distribution => 2,
        };
        put(&mut out, (*series - before) << 2 | kind);
        before = *series;
        put(&mut out, (slot(*at) - first).unsigned_abs());
        match value {
            Value::Counter(value) => put_decimal(&mut out, *value),
            Value::Gauge(gauge) => put_gauge(&mut out, gauge),
            Value::Distribution(sketch) => sketch.put(&mut out),
        }
    }
    out
}

/// Hands out the entries of a chunk that are wanted; `None` when it is not one.
pub fn unpack(
    bytes: &[u8],
    mut wanted: impl FnMut(u64) -> bool,
    mut each: impl FnMut(u64, Timestamp, Value),
) -> Option<()> {
    let mut from = Bytes(bytes);
    if from.byte()? != VERSION {
        return None;
    }
    let (first, mut series) = (from.signed()?, 0_u64);
    while !from.is_empty() {
        let head = from.number()?;
        series = series.checked_add(head >> 2)?;
        let slot = first.checked_add(i64::try_from(from.number()?).ok()?)?;
        let value = match head & 3 {
            0 => Value::Counter(read_decimal(&mut from)?),
            1 => Value::Gauge(read_gauge(&mut from)?),
            2 => Value::Distribution(Sketch::read(&mut from)?),
            _ => return None,
        };
        if wanted(series) {
            each(series, Timestamp::from_seconds(slot.saturating_mul(10)), value);
        }
    }
    Some(())
}

/// A byte for the scale, then the number.
fn put_decimal(out: &mut Vec<u8>, value: f64) {
    let scale = scale_of([value].into_iter());
    out.push(scale);
    put_at(out, value, scale);
}

fn put_at(out: &mut Vec<u8>, value: f64, scale: u8) {
    if scale == RAW {
        out.extend_from_slice(&value.to_le_bytes());
    } else {
        put_signed(out, whole(value, scale));
    }
}

fn read_at(from: &mut Bytes<'_>, scale: u8) -> Option<f64> {
    if scale == RAW { from.float() } else { Some(decimal(from.signed()?, scale)) }
}

fn read_decimal(from: &mut Bytes<'_>) -> Option<f64> {
    let scale = from.byte().filter(|scale| *scale <= RAW)?;
    read_at(from, scale)
}

/// Mostly a level was seen once in ten seconds: then it is one number. The sign of the scale byte says so.
fn put_gauge(out: &mut Vec<u8>, gauge: &Gauge) {
    let levels = [gauge.min, gauge.max, gauge.last].into_iter();
    let scale = if gauge.n == 1 { scale_of(levels) } else { scale_with_sums(levels, [gauge.sum].into_iter()) };
    if gauge.n == 1 {
        out.push(scale);
        put_at(out, gauge.last, scale);
        return;
    }
    out.push(scale | 0x80);
    put(out, gauge.n);
    [gauge.min, gauge.max, gauge.last, gauge.sum].into_iter().for_each(|value| put_at(out, value, scale));
}

fn read_gauge(from: &mut Bytes<'_>) -> Option<Gauge> {
    let head = from.byte()?;
    let scale = Some(head & 0x7f).filter(|scale| *scale <= RAW)?;
    if head < 0x80 {
        return read_at(from, scale).map(Gauge::once);
    }
    let n = from.number()?;
    let (min, max) = (read_at(from, scale)?, read_at(from, scale)?);
    let (last, sum) = (read_at(from, scale)?, read_at(from, scale)?);
    Some(Gauge { n, sum, min, max, last, last_at: 0 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::pack::tests::{assert_same, kind, value};
    use super::*;

    fn entry() -> impl Strategy<Value = Entry> {
        (0_u64..50, 0_i64..20, kind().prop_flat_map(value)).prop_map(|(series, slot, value)| Entry {
            series,
            at: Timestamp::from_seconds(1_780_000_000 + 10 * slot),
            value: value.placed(0),
        })
    }

    proptest! {
        #[test]
        fn entries_come_back(mut entries in prop::collection::vec(entry(), 0..60)) {
            let bytes = pack(&mut entries);
            let mut found = Vec::new();
            unpack(&bytes, |_| true, |series, at, value| found.push(Entry { series, at, value })).unwrap();
            prop_assert_eq!(found.len(), entries.len());
            for (entry, found) in entries.iter().zip(&found) {
                prop_assert_eq!((entry.series, entry.at), (found.series, found.at));
                assert_same(&entry.value, &found.value);
            }
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _read = unpack(&[&[VERSION], &bytes[..]].concat(), |_| true, |_, _, _| {});
        }
    }

    #[test]
    fn a_level_seen_once_is_small() {
        let at = Timestamp::from_seconds(1_780_000_000);
        let one = |series| Entry { series, at, value: Value::Gauge(Gauge::once(312.25)) };
        let mut entries: Vec<Entry> = (100..200).map(one).collect();
        assert!(pack(&mut entries).len() <= 100 * 6 + 16);
    }
}
