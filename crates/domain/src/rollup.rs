//! Shares and silences, judged over ten-second buckets. A bucket counts what a rule saw of one key in ten seconds of
//! event time; buckets are sums, so they merge across batches and processes, and may lose their last ten seconds when a
//! process is killed. What we did not see is unknown: it never fires an alert, and never resolves one.

use std::time::Duration;

use crate::Timestamp;
use crate::alert::{Facts, LOOK_HOLDS, Verdict};
use crate::blind::Blind;
use crate::rule::{Condition, Rule};

/// The length of a bucket.
pub const BUCKET: Duration = Duration::from_secs(10);

/// What one rule saw of one key in one bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// The bucket's beginning, a multiple of [`BUCKET`].
    pub at: Timestamp,
    /// Lines (absence) or requests (ratio).
    pub total: u64,
    /// For a ratio, the requests that fit.
    pub matched: u64,
}

/// Judges a ratio or an absence at `now` from the buckets of one key, those of its whole past that may matter.
/// `armed_at` is when the rule began to look (its start, or ours); `firing` says that its alert is open, for then the
/// silence alone decides: the life before it fades from view. A count is judged by its window and a threshold by its
/// reading, not here.
#[must_use]
pub fn judge(
    rule: &Rule,
    buckets: &[Bucket],
    blind: &[Blind],
    armed_at: Timestamp,
    firing: bool,
    now: Timestamp,
) -> Verdict {
    match &rule.condition {
        Condition::Count { .. } | Condition::Threshold(_) | Condition::Check { .. } => Verdict::Unknown,
        Condition::Ratio { threshold, requests_min, window } => {
            let from = now - *window;
            let (matched, total) = sum(buckets, from);
            if blind.iter().any(|b| b.meets(from, now)) {
                return Verdict::Unknown;
            }
            if total < (*requests_min).max(1) || !threshold.holds(matched, total) {
                return Verdict::Fails { matched: None };
            }
            let fresh = buckets.iter().any(|b| b.matched > 0 && b.at > now - BUCKET - BUCKET);
            // The first requests of the share are its first evidence: a release is looked for before them.
            let shared = buckets.iter().filter(|b| b.matched > 0 && b.at + BUCKET > from).map(|b| b.at.max(from));
            let first_at = shared.min().unwrap_or(from);
            let facts = Facts { first_at, ..facts(matched, Some(total), from, now) };
            Verdict::Holds { facts, until: now + LOOK_HOLDS, fresh }
        }
        Condition::Absence { fewer_than, window, lively } => {
            let from = now - *window;
            let (_, seen) = sum(buckets, from);
            // What we saw is enough to be sure, however much we missed.
            if seen >= *fewer_than {
                return Verdict::Fails { matched: None };
            }
            if armed_at > from || blind.iter().any(|b| b.meets(from, now)) {
                return Verdict::Unknown;
            }
            let was_lively = firing
                || lively.is_none_or(|lively| {
                    let before: u64 = buckets
                        .iter()
                        .filter(|b| b.at > from - lively.within && b.at + BUCKET <= from)
                        .map(|b| b.total)
                        .sum();
                    before >= lively.lines_min
                });
            if was_lively {
                Verdict::Holds { facts: facts(seen, None, from, now), until: now + LOOK_HOLDS, fresh: false }
            } else {
                Verdict::Fails { matched: None }
            }
        }
    }
}

/// How far back buckets can matter to a rule.
#[must_use]
pub fn horizon(condition: &Condition) -> Duration {
    match condition {
        Condition::Absence { window, lively: Some(lively), .. } => *window + lively.within + BUCKET,
        _ => condition.window() + BUCKET,
    }
}

/// Sums the buckets that reach into the time after `from`. The oldest may reach out of it: an absence is judged up to
/// ten seconds late rather than early.
fn sum(buckets: &[Bucket], from: Timestamp) -> (u64, u64) {
    buckets
        .iter()
        .filter(|b| b.at + BUCKET > from)
        .fold((0, 0), |(matched, total), b| (matched + b.matched, total + b.total))
}

fn facts(count: u64, of: Option<u64>, from: Timestamp, now: Timestamp) -> Facts {
    Facts { count, of, level: None, lower_bound: false, at: now, first_at: from, last_at: now }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blind::BlindReason;
    use crate::rule::{Lively, MatchSpec};

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn bucket(at: i64, total: u64, matched: u64) -> Bucket {
        Bucket { at: t(at), total, matched }
    }

    fn absence(lively: Option<Lively>) -> Rule {
        Rule::new(
            "silent",
            MatchSpec::default(),
            Condition::Absence { fewer_than: 2, window: Duration::from_secs(30), lively },
        )
    }

    fn word(verdict: &Verdict) -> &'static str {
        match verdict {
            Verdict::Holds { .. } => "holds",
            Verdict::Fails { .. } => "fails",
            Verdict::Unknown => "unknown",
        }
    }

    #[test]
    #[expect(clippy::type_complexity, reason = "a table")]
    fn an_absence_is_armed_when_it_is_enabled() {
        let down = Blind { reason: BlindReason::Down, from: t(35), until: t(38), lines_lost: None };
        let cases: [(&str, &[Bucket], Vec<Blind>, i64, &str); 6] = [
            ("before the first full window", &[], vec![], 29, "unknown"),
            ("after it", &[], vec![], 30, "holds"),
            ("with lines", &[bucket(30, 10, 0)], vec![], 40, "fails"),
            ("after the lines have left", &[bucket(30, 10, 0)], vec![], 70, "holds"),
            ("while we were blind", &[], vec![down.clone()], 60, "unknown"),
            ("blind, but enough was seen", &[bucket(50, 2, 0)], vec![down], 60, "fails"),
        ];
        for (name, buckets, blind, now, want) in cases {
            assert_eq!(word(&judge(&absence(None), buckets, &blind, t(0), false, t(now))), want, "{name}");
        }
    }

    #[test]
    fn silence_is_only_news_where_there_was_life() {
        let rule = absence(Some(Lively { lines_min: 100, within: Duration::from_secs(600) }));
        for (lines, want) in [(99, "fails"), (100, "holds")] {
            assert_eq!(word(&judge(&rule, &[bucket(500, lines, 0)], &[], t(0), false, t(600))), want);
        }
    }

    #[test]
    fn a_share_needs_enough_requests() {
        let condition =
            Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 50, window: Duration::from_secs(60) };
        let rule = Rule::new("share", MatchSpec::default(), condition);
        for (total, matched, want) in [(49, 49, "fails"), (50, 3, "holds"), (100, 5, "fails"), (0, 0, "fails")] {
            assert_eq!(
                word(&judge(&rule, &[bucket(0, total, matched)], &[], t(0), false, t(60))),
                want,
                "{matched} of {total}"
            );
        }
        let gap = Blind { reason: BlindReason::Refused, from: t(30), until: t(31), lines_lost: None };
        assert_eq!(word(&judge(&rule, &[bucket(0, 50, 50)], &[gap], t(0), false, t(60))), "unknown");
    }
}
