//! How often one may guess. Counts live in memory, per process: a restart or a second process doubles them, which still
//! leaves guessing hopeless; a count in the database would let strangers write to it.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use dynowatch_domain::Timestamp;

/// Over which time guesses are counted.
const WINDOW: Duration = Duration::from_secs(15 * 60);
/// Keys counted at a time; beyond that the one that began first is forgotten.
const KEYS_MAX: usize = 20_000;

/// What is counted together, and how many guesses it has in [`WINDOW`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Guess {
    /// Passwords for one name from one address.
    Pair(String, String),
    /// Passwords from one address, whatever the name.
    Address(String),
    /// Passwords for one name, from everywhere. Whoever signed in from an address before is let in there all the same, so
    /// that strangers cannot lock someone out.
    Name(String),
    /// Codes of somebody at their sign-ins, from everywhere. From an address that they signed in from before they go on, so
    /// that whoever has learned their password cannot lock them out.
    Code(uuid::Uuid),
    /// The same from one address.
    CodeFrom(uuid::Uuid, String),
    /// Codes and passwords of somebody who is in, and is asked for one in between. Apart from those of sign-ins: an open
    /// browser in the wrong hands locks nobody out, and guessing at the door hinders nobody inside.
    Proof(uuid::Uuid),
    /// Entries of the audit log about failures of strangers.
    Audit,
    /// Such entries about what one person or token may not: whoever is let in could write to it for ever.
    Denied(String),
}

impl Guess {
    fn most(&self) -> u32 {
        match self {
            Self::Pair(..) | Self::Code(_) | Self::CodeFrom(..) | Self::Proof(_) => 10,
            Self::Address(_) => 50,
            Self::Name(_) | Self::Denied(_) => 100,
            Self::Audit => 1_000,
        }
    }
}

/// The counts.
#[derive(Default)]
pub(crate) struct Limits {
    counts: Mutex<HashMap<Guess, (Timestamp, u32)>>,
}

impl Limits {
    /// Counts a guess before it is judged, so that many at once count, too. Returns whether it may be made.
    pub(crate) fn take(&self, guess: &Guess, now: Timestamp) -> bool {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = |at: Timestamp| now.since(at) < WINDOW && at <= now;
        if !counts.contains_key(guess) && counts.len() >= KEYS_MAX {
            counts.retain(|_, (at, _)| begun(*at));
            if counts.len() >= KEYS_MAX {
                let oldest = counts.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| key.clone());
                if let Some(oldest) = oldest {
                    counts.remove(&oldest);
                    tracing::warn!("too many addresses and names are guessed with to count them all");
                }
            }
        }
        let (at, n) = counts.entry(guess.clone()).or_insert((now, 0));
        if !begun(*at) {
            (*at, *n) = (now, 0);
        }
        *n = n.saturating_add(1);
        *n <= guess.most()
    }

    /// Counts a guess from an address under two more keys; `None` when the address has guessed too often. Then it is counted
    /// no further: each name that it thinks of would take a place among the keys, until those of others are forgotten.
    pub(crate) fn take_from(&self, address: &Guess, more: [&Guess; 2], now: Timestamp) -> Option<[bool; 2]> {
        self.take(address, now).then(|| more.map(|guess| self.take(guess, now)))
    }

    /// Forgets the guesses of a key: it was the right one.
    pub(crate) fn clear(&self, guess: &Guess) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).remove(guess);
    }

    /// Takes one guess back: it was the right one, but others behind the same key count on.
    pub(crate) fn undo(&self, guess: &Guess) {
        if let Some((_, n)) = self.counts.lock().unwrap_or_else(PoisonError::into_inner).get_mut(guess) {
            *n = n.saturating_sub(1);
        }
    }
}

/// The key of an address: a whole /64 of IPv6, which is one customer's.
pub(crate) fn address_key(address: &str) -> String {
    match address.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V6(v6)) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
        _ => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_guesses_then_a_quarter_of_an_hour() {
        let (limits, start) = (Limits::default(), Timestamp::from_seconds(1_000_000));
        let pair = Guess::Pair("ada".into(), "203.0.113.9".into());
        for _ in 0..10 {
            assert!(limits.take(&pair, start));
        }
        assert!(!limits.take(&pair, start + Duration::from_secs(899)));
        assert!(limits.take(&Guess::Pair("ada".into(), "203.0.113.10".into()), start), "another address");
        assert!(limits.take(&pair, start + WINDOW));
        limits.clear(&pair);
        assert!(limits.take(&pair, start));
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let (limits, start) = (Limits::default(), Timestamp::from_seconds(1_000_000));
        for n in 0..KEYS_MAX + 100 {
            limits.take(&Guess::Address(n.to_string()), start);
        }
        assert_eq!(limits.counts.lock().unwrap().len(), KEYS_MAX);
    }

    #[test]
    fn whoever_guesses_too_often_takes_no_more_places() {
        let (limits, start) = (Limits::default(), Timestamp::from_seconds(1_000_000));
        let address = Guess::Address("203.0.113.9".into());
        let guess = |name: &str| {
            let pair = Guess::Pair(name.into(), "203.0.113.9".into());
            limits.take_from(&address, [&pair, &Guess::Name(name.into())], start)
        };
        for n in 0..11 {
            assert_eq!(guess("ada"), Some([n < 10, true]), "{n}");
        }
        let may = (0..2 * KEYS_MAX).filter(|n| guess(&format!("name-{n}")).is_some()).count();
        assert_eq!((may, limits.counts.lock().unwrap().len()), (39, 3 + 2 * 39));
        assert_eq!(guess("ada"), None);
    }

    #[test]
    fn neighbours_of_one_customer_count_together() {
        assert_eq!(address_key("2001:db8:1:2:3::1"), address_key("2001:db8:1:2:ffff::9"));
        assert_ne!(address_key("2001:db8:1:2::1"), address_key("2001:db8:1:3::1"));
        assert_eq!(address_key("203.0.113.9"), "203.0.113.9");
    }
}
