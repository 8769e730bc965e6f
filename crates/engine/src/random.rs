//! The one place that may be random: ids, jitter and secrets. Everything else is handed a [`NewId`] or a number.

use std::sync::atomic::{AtomicU16, Ordering};

use dynowatch_domain::{NewId, Timestamp};
use uuid::Uuid;

/// Counts ids, so that those of one millisecond sort in the order they were made in.
static MADE: AtomicU16 = AtomicU16::new(0);

/// Version 7 UUIDs from the operating system's random source, with twelve bits of counter behind the time (RFC 9562,
/// section 6.2, method 1).
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomIds;

impl NewId for RandomIds {
    fn new_id(&mut self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_micros().div_euclid(1_000)).unwrap_or(0);
        let mut random: [u8; 10] = bytes();
        let [high, low] = MADE.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        (random[0], random[1]) = (high, low);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }
}

/// Bytes nobody can guess.
///
/// # Panics
/// When the operating system has no random bytes. Ids that repeat and secrets that can be guessed are worse than a stop.
#[must_use]
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    #[expect(
        clippy::disallowed_methods,
        clippy::expect_used,
        reason = "this is the one place, and there is no safe way on"
    )]
    getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
    bytes
}

/// A text nobody can guess: 32 hexadecimal digits.
#[must_use]
pub fn token() -> String {
    format!("{:032x}", u128::from_le_bytes(bytes()))
}

/// A number in `[0, 1)`, for spreading retries.
#[must_use]
pub fn jitter() -> f64 {
    f64::from(u32::from_le_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_never_repeat() {
        let mut ids = RandomIds;
        let early = ids.new_id(Timestamp::from_seconds(1_000));
        let late = ids.new_id(Timestamp::from_seconds(1_001));
        assert!(early < late && late != ids.new_id(Timestamp::from_seconds(1_001)));
        assert_eq!(early.get_version_num(), 7);
        let of_one_moment: Vec<Uuid> = (0..100).map(|_| ids.new_id(Timestamp::from_seconds(1_002))).collect();
        assert!(of_one_moment.is_sorted());
    }
}
