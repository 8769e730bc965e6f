//! When somebody is warned that a certificate will end: 21, 7 and 1 days before, once each per certificate. Owns the days,
//! which of them a certificate is old enough for, and what is remembered; the words and the alert are `engine`'s.
//!
//! Only a path that was verified is looked at, as it ends and not as the presented chain does. What is not accepted is down
//! anyway. Several servers may answer under one name, with certificates of their own: each is warned of once, and the warning
//! is over when none that ends soon was seen for an hour.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observation::ChainFacts;
use crate::Timestamp;

/// So many days before its end a certificate is warned of.
pub const WARNED_AT_DAYS: [u64; 3] = [21, 7, 1];
/// A day counts only for a certificate that was made for more than so many times as long: one of six days is not
/// warned of on its first.
const LIFETIME_SHARE: u32 = 3;
/// The warning is over when no certificate that ends soon was seen for this long.
const OVER_AFTER: Duration = Duration::from_secs(3_600);
/// Certificates that are remembered; the one that ends first is forgotten first.
const REMEMBERED_MAX: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate that somebody was warned of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    ends_at: Timestamp,
    days: u64,
}

/// What is remembered of warnings from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Warnings {
    told: Vec<Told>,
    /// While a warning is open: when a certificate that ends soon was last seen.
    open_since: Option<Timestamp>,
    seen_at: Timestamp,
}

/// What is to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum News {
    /// It ends soon.
    Ends {
        /// When.
        ends_at: Timestamp,
        /// Which of [`WARNED_AT_DAYS`] was reached.
        days: u64,
        /// When the first of the warnings that are open was given; this one's moment if none was.
        since: Timestamp,
    },
    /// It was replaced.
    Replaced {
        /// Until when the new one holds.
        ends_at: Timestamp,
    },
    /// The check does not warn any more.
    Dropped,
}

impl Warnings {
    /// Nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.told.is_empty() && self.open_since.is_none()
    }

    /// Looks at a chain. `wanted`: whether this check warns at all.
    pub fn look(&mut self, chain: Option<&ChainFacts>, wanted: bool, now: Timestamp) -> Option<News> {
        if !wanted {
            self.told.clear();
            return self.open_since.take().map(|_| News::Dropped);
        }
        let (ends_at, lifetime) = verified_end(chain?)?;
        self.told.retain(|told| told.ends_at > now);
        if ends_at <= now {
            return None;
        }
        let left = ends_at.since(now);
        let reached = |days: &&u64| left <= days_long(**days) && lifetime > days_long(**days) * LIFETIME_SHARE;
        let Some(days) = WARNED_AT_DAYS.iter().filter(reached).min().copied() else {
            let over = self.open_since.is_some() && now.since(self.seen_at) >= OVER_AFTER;
            return over.then(|| self.open_since.take()).map(|_| News::Replaced { ends_at });
        };
        self.seen_at = now;
        let told = self.told.iter_mut().find(|told| told.ends_at == ends_at);
        match told {
            Some(told) if told.days <= days => return None,
            Some(told) => told.days = days,
            None => {
                if self.told.len() == REMEMBERED_MAX {
                    self.told.sort_unstable_by_key(|told| told.ends_at);
                    self.told.remove(0);
                }
                self.told.push(Told { ends_at, days });
            }
        }
        let since = *self.open_since.get_or_insert(now);
        Some(News::Ends { ends_at, days, since })
    }
}

/// When the verified path ends, and how long the certificate that ends it was made for.
fn verified_end(chain: &ChainFacts) -> Option<(Timestamp, Duration)> {
    let of_path = chain.verified_path.iter().filter_map(|place| chain.presented.get(*place));
    let first = of_path.min_by_key(|certificate| certificate.not_after)?;
    Some((first.not_after, first.not_after.since(first.not_before)))
}

fn days_long(days: u64) -> Duration {
    DAY * u32::try_from(days).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::check::observation::CertificateFacts;

    fn day(day: i64) -> Timestamp {
        Timestamp::from_seconds(day * 86_400)
    }

    /// A verified leaf from that day to that one.
    fn chain(from: i64, until: i64) -> ChainFacts {
        let leaf = CertificateFacts {
            subject: "CN=shop.example".to_owned(),
            issuer: "CN=ca".to_owned(),
            names: Vec::new(),
            not_before: day(from),
            not_after: day(until),
            key_sha256: "00".to_owned(),
        };
        let presented = vec![leaf.clone(), CertificateFacts { not_after: day(0), ..leaf }];
        ChainFacts { presented, verified_path: vec![0], ..ChainFacts::default() }
    }

    /// Looks on each of these days, and says on which something is told.
    #[track_caller]
    fn check(looks: &[(i64, ChainFacts)], want: &[&str]) {
        let mut warnings = Warnings::default();
        let mut told = Vec::new();
        for (at, chain) in looks {
            match warnings.look(Some(chain), true, day(*at)) {
                None => {}
                Some(News::Ends { days, since, .. }) => {
                    told.push(format!("{at}: {days} since {}", since.as_seconds() / 86_400))
                }
                Some(news) => told.push(format!("{at}: {news:?}")),
            }
        }
        assert_eq!(told, want);
    }

    #[test]
    fn once_each_at_21_7_and_1_days() {
        let looks: Vec<_> = (0..=101).map(|at| (at, chain(0, 100))).collect();
        check(&looks, &["79: 21 since 79", "93: 7 since 79", "99: 1 since 79"]);
        // Whoever begins to look late is told once.
        check(&looks[95..], &["95: 7 since 95", "99: 1 since 95"]);
    }

    #[test]
    fn a_new_certificate_ends_the_warning() {
        let renewed = |at| (at, chain(80, 170));
        let mut looks: Vec<_> = (70..=82).map(|at| (at, chain(0, 100))).collect();
        looks.extend((83..=150).map(renewed));
        let replaced = format!("83: {:?}", News::Replaced { ends_at: day(170) });
        check(&looks, &["79: 21 since 79", &replaced, "149: 21 since 149"]);
    }

    /// What a check is too short for: two of three servers may be new already, and one is not.
    #[test]
    fn servers_that_take_turns_are_warned_of_once() {
        let mut warnings = Warnings::default();
        let mut told = 0;
        for minute in 0..2_000 {
            let now = day(85) + Duration::from_secs(60 * minute);
            let chain = if minute % 3 == 0 { chain(0, 100) } else { chain(80, 170) };
            told += u64::from(warnings.look(Some(&chain), true, now).is_some());
        }
        assert_eq!(told, 1);
    }

    #[test]
    fn short_lives_are_warned_of_later() {
        check(&(0..=46).map(|at| (at, chain(0, 47))).collect::<Vec<_>>(), &["40: 7 since 40", "46: 1 since 40"]);
        check(&(0..=5).map(|at| (at, chain(0, 6))).collect::<Vec<_>>(), &["5: 1 since 5"]);
        check(&[(0, chain(0, 1)), (0, chain(-1, 1))], &[]);
    }

    #[test]
    fn what_was_not_verified_or_is_not_wanted_warns_nobody() {
        let mut warnings = Warnings::default();
        let unverified = ChainFacts { verified_path: Vec::new(), ..chain(0, 100) };
        assert_eq!(warnings.look(Some(&unverified), true, day(99)), None);
        assert_eq!(warnings.look(None, true, day(99)), None);
        assert!(warnings.look(Some(&chain(0, 100)), true, day(99)).is_some());
        assert!(!warnings.is_empty());
        assert_eq!(warnings.look(Some(&chain(0, 100)), false, day(99)), Some(News::Dropped));
        assert_eq!(warnings.look(None, false, day(99)), None);
        assert!(warnings.is_empty());
    }

    proptest! {
        /// However often and whatever it looks at, a certificate is told at most once for each of the days.
        #[test]
        fn no_day_is_told_twice(looks in prop::collection::vec((0_i64..200, prop::sample::select(vec![60_i64, 90, 95, 180])), 1..200)) {
            let mut looks = looks;
            looks.sort_unstable();
            let mut warnings = Warnings::default();
            let mut told = std::collections::BTreeSet::new();
            for (at, until) in looks {
                let stored = serde_json::to_string(&warnings).unwrap();
                warnings = serde_json::from_str(&stored).unwrap();
                if let Some(News::Ends { ends_at, days, .. }) = warnings.look(Some(&chain(0, until)), true, day(at)) {
                    prop_assert!(told.insert((ends_at, days)));
                    prop_assert!(ends_at.since(day(at)) <= days_long(days));
                }
            }
        }
    }
}
