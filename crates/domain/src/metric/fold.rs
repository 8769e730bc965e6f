//! From chunks to packed minutes, and from shorter steps to longer ones. Chunks know single dynos only; what a process type
//! did is the sum of its dynos, written as a series of its own here, because single dynos are forgotten after a week.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;

use super::{SLOT, SeriesKey, Step, Value, chunk, dyno_type, pack};
use crate::Timestamp;

/// Minutes of many series, by series and beginning of the row.
pub type Minutes = BTreeMap<(SeriesKey, Timestamp), Vec<(u16, Value)>>;

/// Adds up the values of chunks by minute, of every series and of every process type. `None` when a chunk is unreadable.
#[must_use]
pub fn minutes<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, keys: &HashMap<u64, SeriesKey>) -> Option<Minutes> {
    let types: HashMap<u64, SeriesKey> = keys
        .iter()
        .filter_map(|(id, key)| Some((*id, SeriesKey { source: Arc::from(dyno_type(&key.source)?), ..key.clone() })))
        .collect();
    let mut minutes: HashMap<(bool, u64, Timestamp), Vec<(u16, Value)>> = HashMap::new();
    for bytes in chunks {
        chunk::unpack(
            bytes,
            |_| true,
            |series, at, value| {
                let (row, place) = Step::Minute.place(at);
                let value = value.placed(place_of_ten(at));
                pack::merge_into(minutes.entry((false, series, row)).or_default(), place, &value);
            },
        )?;
    }
    let mut folded = Minutes::new();
    for ((_, series, row), slots) in minutes.drain() {
        if let Some(of_type) = types.get(&series) {
            let sum = folded.entry((of_type.clone(), row)).or_default();
            slots.iter().for_each(|(at, value)| pack::merge_into(sum, *at, value));
        }
        if let Some(key) = keys.get(&series) {
            let own = folded.entry((key.clone(), row)).or_default();
            slots.iter().for_each(|(at, value)| pack::merge_into(own, *at, value));
        }
    }
    Some(folded)
}

/// The place of ten seconds in their minute.
fn place_of_ten(at: Timestamp) -> u16 {
    let slot = i64::try_from(SLOT.as_secs()).unwrap_or(10);
    u16::try_from(at.as_seconds().rem_euclid(60) / slot).unwrap_or(0)
}

/// Puts the slots of one finished row into the row of the next longer step that holds it, in place of what it had there
/// from that row before. Doing it again changes nothing.
pub fn roll(fine: Step, row: Timestamp, slots: &[(u16, Value)], coarse: Step, into: &mut Vec<(u16, Value)>) {
    let end = row + std::time::Duration::from_secs(fine.row_seconds().unsigned_abs());
    let into_row = coarse.place(row).0;
    into.retain(|(at, _)| {
        let at = coarse.at(into_row, *at);
        at < row || at >= end
    });
    for (at, value) in slots {
        let (_, place) = coarse.place(fine.at(row, *at));
        pack::merge_into(into, place, &value.clone().placed(0));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::chunk::Entry;
    use super::super::pack::tests::{assert_same, value};
    use super::super::{Gauge, Kind};
    use super::*;

    fn key(kind: Kind, source: &str) -> SeriesKey {
        SeriesKey { metric: "m".into(), kind, source: source.into(), label: "".into() }
    }

    fn keys() -> HashMap<u64, SeriesKey> {
        let sources = ["web.1", "web.2", "DATABASE"];
        let all = Kind::ALL.into_iter().flat_map(|kind| sources.map(|source| key(kind, source)));
        (1..).zip(all).collect()
    }

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (1_u64..10, 0_i64..720).prop_flat_map(|(series, slot)| {
            let kind = keys()[&series].kind;
            value(kind).prop_map(move |value| Entry {
                series,
                at: Timestamp::from_seconds(1_780_000_000 + slot * 10),
                value: value.placed(0),
            })
        });
        prop::collection::vec(entry, 0..60)
    }

    proptest! {
        /// However values are cut into chunks, and whichever way chunks come, the minutes are the same.
        #[test]
        fn chunks_add_up_in_any_order(entries in entries(), cut in 0_usize..60) {
            let (mut a, mut b) = (entries[..cut.min(entries.len())].to_vec(), entries[cut.min(entries.len())..].to_vec());
            let mut whole = entries.clone();
            let at_once = minutes([&chunk::pack(&mut whole)[..]], &keys()).unwrap();
            let (a, b) = (chunk::pack(&mut a), chunk::pack(&mut b));
            let in_order = minutes([&a[..], &b[..]], &keys()).unwrap();
            let turned = minutes([&b[..], &a[..]], &keys()).unwrap();
            for other in [&in_order, &turned] {
                prop_assert_eq!(at_once.len(), other.len());
                for ((key, slots), (other_key, others)) in at_once.iter().zip(other) {
                    prop_assert_eq!(key, other_key);
                    for ((at, value), (other_at, other)) in slots.iter().zip(others) {
                        prop_assert_eq!(at, other_at);
                        // The newest of ten seconds is whichever came last.
                        let level = |value: &Value| match value {
                            Value::Gauge(gauge) => Value::Gauge(Gauge { last: 0.0, ..*gauge }),
                            other => other.clone(),
                        };
                        assert_same(&level(value), &level(other));
                    }
                }
            }
        }

        /// A row rolled twice, or after more came, holds what a single rolling of the newest gives.
        #[test]
        fn rolling_again_changes_nothing(first in prop::collection::btree_map(0_u16..60, value(Kind::Counter), 0..60),
                                         second in prop::collection::btree_map(0_u16..60, value(Kind::Counter), 0..60)) {
            let (first, second): (Vec<_>, Vec<_>) = (first.into_iter().collect(), second.into_iter().collect());
            let row = Timestamp::from_seconds(1_780_002_000).floor(std::time::Duration::from_secs(3_600));
            let before = Step::TenMinutes.place(row - std::time::Duration::from_secs(600)).1;
            let mut day = vec![(before, Value::Counter(7.0))];
            roll(Step::Minute, row, &first, Step::TenMinutes, &mut day);
            roll(Step::Minute, row, &second, Step::TenMinutes, &mut day);
            roll(Step::Minute, row, &second, Step::TenMinutes, &mut day);
            let mut once = vec![(before, Value::Counter(7.0))];
            roll(Step::Minute, row, &second, Step::TenMinutes, &mut once);
            prop_assert_eq!(day, once);
        }
    }

    #[test]
    fn a_process_type_is_the_sum_of_its_dynos() {
        let at = Timestamp::from_seconds(1_780_000_000);
        let keys = keys();
        let counted = |series, n| Entry { series, at, value: Value::Counter(n) };
        let bytes = chunk::pack(&mut [counted(1, 2.0), counted(2, 3.0), counted(3, 4.0)]);
        let folded = minutes([&bytes[..]], &keys).unwrap();
        let found: Vec<(&str, &Value)> = folded.iter().map(|((key, _), slots)| (&*key.source, &slots[0].1)).collect();
        let want = [("DATABASE", 4.0), ("web", 5.0), ("web.1", 2.0), ("web.2", 3.0)];
        assert_eq!(
            found,
            want.map(|(source, n)| (source, Value::Counter(n))).iter().map(|(s, v)| (*s, v)).collect::<Vec<_>>()
        );
    }
}
