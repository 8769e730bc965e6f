//! The counted events of a row of matches as bytes: one row instead of one per line. Written as differences in variable-length
//! integers, so that a line of a storm costs three to six bytes.
//!
//! Layout: a version byte, then per event the stamp less the stamp before it and the arrival less the stamp, each as a
//! zigzag LEB128 integer. Arithmetic wraps, so every stamp comes back whatever it is.

use dynowatch_domain::Timestamp;
use dynowatch_domain::window::Counted;

const VERSION: u8 = 1;

/// Packs events, in their order.
pub(crate) fn pack(events: &[Counted]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 + 6 * events.len());
    out.push(VERSION);
    let mut last = 0_i64;
    for event in events {
        let at = event.at.as_micros();
        put(&mut out, at.wrapping_sub(last));
        put(&mut out, event.arrived.as_micros().wrapping_sub(at));
        last = at;
    }
    out
}

/// Unpacks what [`pack`] made; `None` for anything else.
pub(crate) fn unpack(bytes: &[u8]) -> Option<Vec<Counted>> {
    let (&version, mut rest) = bytes.split_first()?;
    if version != VERSION {
        return None;
    }
    let mut events = Vec::with_capacity(rest.len() / 4);
    let mut last = 0_i64;
    while !rest.is_empty() {
        let at = last.wrapping_add(take(&mut rest)?);
        let arrived = at.wrapping_add(take(&mut rest)?);
        events.push(Counted { at: Timestamp::from_micros(at), arrived: Timestamp::from_micros(arrived) });
        last = at;
    }
    Some(events)
}

#[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "zigzag and LEB128 are about bits")]
fn put(out: &mut Vec<u8>, value: i64) {
    let mut bits = ((value << 1) ^ (value >> 63)) as u64;
    while bits >= 0x80 {
        out.push(bits as u8 | 0x80);
        bits >>= 7;
    }
    out.push(bits as u8);
}

#[expect(clippy::cast_possible_wrap, reason = "zigzag is about bits")]
fn take(rest: &mut &[u8]) -> Option<i64> {
    let mut bits = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        bits |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some((bits >> 1) as i64 ^ -((bits & 1) as i64));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn event(at: i64, arrived: i64) -> Counted {
        Counted { at: Timestamp::from_micros(at), arrived: Timestamp::from_micros(arrived) }
    }

    #[test]
    fn a_storm_is_small() {
        let events: Vec<Counted> =
            (0..1_000).map(|i| event(1_770_000_000_000_000 + i * 900, 1_770_000_000_020_000 + i * 900)).collect();
        assert!(pack(&events).len() < 6_000);
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [&b""[..], b"\x02", b"\x01\x80", b"\x01\x00", b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"]
        {
            assert_eq!(unpack(bytes), None);
        }
    }

    proptest! {
        #[test]
        fn every_event_comes_back(stamps in prop::collection::vec((any::<i64>(), any::<i64>()), 0..50)) {
            let events: Vec<Counted> = stamps.iter().map(|&(at, arrived)| event(at, arrived)).collect();
            prop_assert_eq!(unpack(&pack(&events)), Some(events));
        }

        #[test]
        fn no_bytes_break_it(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = unpack(&bytes);
        }
    }
}
