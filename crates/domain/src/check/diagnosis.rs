//! One line of diagnosis: what a check found, seen beside what the app's own log says. Owns the truth table; where the
//! numbers come from is the engine's business.
//!
//! | check | drain | likely |
//! |---|---|---|
//! | fails | H10, H12 or kin rise | the app itself |
//! | fails | serves as usual | the way there: DNS, the edge, our own network |
//! | fails | silent | app and router are out of reach together, or nobody asks |
//! | fine | silent | the drain is broken |
//! | fine | H12 or kin rise | part of the app |
//!
//! It says what fits the evidence, and what the evidence is; it claims no more.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, Reason};
use crate::parse::show_duration;
use crate::signal::Code;

/// A drain that is lively says something this often.
pub const SILENT_AFTER: Duration = Duration::from_secs(120);
/// Fewer errors than this are no rise.
const RISE_MIN: u64 = 3;
/// The most codes that are named.
const NAMED_MAX: usize = 3;

/// What a check found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Active {
    /// What its run came to.
    pub outcome: Outcome,
    /// Why.
    pub reason: Option<Reason>,
}

/// What is known beside it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Passive {
    /// What the app's drain said lately; none without a drain, or when it was not watched for long enough.
    pub drain: Option<Drain>,
    /// Checks of the same app, this one not among them, and how many of them fail.
    pub siblings: Siblings,
}

/// What a drain said lately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Drain {
    /// How long back "lately" reaches, and how long the time before it was that it is compared with.
    pub window: Duration,
    /// How long ago its newest line came.
    pub silent_for: Duration,
    /// Requests served lately, and those answered with 5xx among them.
    pub requests: u64,
    /// Answered with 5xx.
    pub failed: u64,
    /// Errors of the platform: the code, how often lately, how often in the time before.
    pub codes: Vec<(Code, u64, u64)>,
}

/// Checks of the same app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Siblings {
    /// How many there are.
    pub of: u32,
    /// How many fail.
    pub failing: u32,
}

/// The line, or nothing where nothing can be said.
#[must_use]
pub fn line(active: Active, passive: &Passive) -> String {
    let mut text = match &passive.drain {
        Some(drain) => with_drain(active, drain),
        None => String::new(),
    };
    let Siblings { of, failing } = passive.siblings;
    if of > 0 && active.outcome == Outcome::Down {
        let others = match failing {
            0 => "no other check of this app fails".to_owned(),
            n if n == of && of > 1 => format!("all {of} other checks of this app fail, too"),
            n => format!("{n} of {of} other checks of this app fail{}", if n == 1 && of > 1 { "s" } else { "" }),
        };
        if text.is_empty() {
            text = capital(&others);
        } else {
            text.push_str("; ");
            text.push_str(&others);
        }
    }
    if !text.is_empty() {
        text.push('.');
    }
    text
}

fn with_drain(active: Active, drain: &Drain) -> String {
    let window = show_duration(drain.window);
    let mut rising: Vec<&(Code, u64, u64)> =
        drain.codes.iter().filter(|(_, now, before)| rises(*now, *before)).collect();
    rising.sort_by_key(|(code, now, _)| (std::cmp::Reverse(*now), *code));
    let named: Vec<String> = rising.iter().take(NAMED_MAX).map(|(code, now, _)| format!("{now} {code}")).collect();
    let rises = format!("{} in {window}", named.join(", "));
    let silent = drain.silent_for >= SILENT_AFTER;
    // The platform says that the app is shut on purpose.
    let shut = drain.codes.iter().any(|(code, now, _)| *now > 0 && Code::new(b'H', 80) == Some(*code));
    match active.outcome {
        Outcome::Down if shut => {
            "The check fails and the router answers H80: the app is in maintenance mode".to_owned()
        }
        Outcome::Down if !named.is_empty() => {
            format!("The check fails and the platform's errors rise ({rises}): the app itself")
        }
        Outcome::Down if silent => format!(
            "The check fails and the drain has been silent for {}: the app is out of reach altogether, or nobody asks for it",
            show_duration(whole_seconds(drain.silent_for))
        ),
        Outcome::Down if drain.requests > 0 && is_of_the_app(active.reason) => {
            format!(
                "The check fails while the router served {} requests in {window} ({} with 5xx): this page or what is behind it, not the whole app",
                drain.requests, drain.failed
            )
        }
        Outcome::Down if drain.requests > 0 => format!(
            "The check fails while the router served {} requests in {window} as usual: look at the way there (DNS, certificate, the edge, our own network), not at the app",
            drain.requests
        ),
        Outcome::Down => String::new(),
        Outcome::Up | Outcome::Degraded if !named.is_empty() => {
            format!("The check is fine, but the platform's errors rise ({rises}): a part of the app")
        }
        Outcome::Up | Outcome::Degraded if silent => format!(
            "The check is fine, but the drain has been silent for {}: the drain is broken",
            show_duration(whole_seconds(drain.silent_for))
        ),
        Outcome::Up | Outcome::Degraded | Outcome::Unknown => String::new(),
    }
}

/// Much more than before, and enough to be no accident.
fn rises(now: u64, before: u64) -> bool {
    now >= RISE_MIN && now > before.saturating_mul(2)
}

/// The app answered, but wrongly: the way to it is fine.
fn is_of_the_app(reason: Option<Reason>) -> bool {
    use Reason::{
        AssertionFailed, BodyNotJson, BodyNotText, HeaderMissing, PathMissing, RedirectToOtherHost, RedirectTooMany,
        RedirectUnexpected, ReplyTooLarge, StatusUnexpected,
    };
    matches!(
        reason,
        Some(
            AssertionFailed
                | BodyNotJson
                | BodyNotText
                | HeaderMissing
                | PathMissing
                | RedirectToOtherHost
                | RedirectTooMany
                | RedirectUnexpected
                | ReplyTooLarge
                | StatusUnexpected
        )
    )
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_uppercase().chain(chars).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(silent: u64, requests: u64, codes: &[(u16, u64, u64)]) -> Option<Drain> {
        let codes =
            codes.iter().map(|&(number, now, before)| (Code::new(b'H', number).unwrap(), now, before)).collect();
        Some(Drain {
            window: Duration::from_secs(300),
            silent_for: Duration::from_secs(silent),
            requests,
            failed: requests / 100,
            codes,
        })
    }

    #[track_caller]
    fn check(reason: Option<Reason>, drain: Option<Drain>, of: u32, failing: u32, want: &str) {
        let outcome = reason.map_or(Outcome::Up, Reason::outcome);
        let passive = Passive { drain, siblings: Siblings { of, failing } };
        let got = line(Active { outcome, reason }, &passive);
        assert!(if want.is_empty() { got.is_empty() } else { got.contains(want) }, "{got:?} has no {want:?}");
    }

    #[test]
    fn the_truth_table() {
        let timeout = Some(Reason::Timeout);
        check(timeout, drain(1, 500, &[(12, 40, 1), (10, 3, 0)]), 0, 0, "rise (40 H12, 3 H10 in 5m): the app itself.");
        check(
            timeout,
            drain(1, 500, &[(12, 40, 39)]),
            0,
            0,
            "served 500 requests in 5m as usual: look at the way there",
        );
        check(timeout, drain(1, 500, &[(12, 2, 0)]), 0, 0, "as usual");
        check(Some(Reason::StatusUnexpected), drain(1, 500, &[]), 0, 0, "(5 with 5xx): this page or what is behind it");
        check(timeout, drain(600, 0, &[]), 0, 0, "silent for 10m: the app is out of reach");
        check(timeout, drain(1, 0, &[]), 0, 0, "");
        check(timeout, drain(1, 90, &[(80, 1, 0)]), 0, 0, "maintenance mode");
        check(None, drain(600, 0, &[]), 0, 0, "the drain is broken.");
        check(None, drain(1, 500, &[(12, 40, 1)]), 0, 0, "a part of the app.");
        check(None, drain(1, 500, &[]), 0, 0, "");
        check(Some(Reason::NoPermission), drain(1, 500, &[(12, 40, 1)]), 0, 0, "");
    }

    #[test]
    fn other_checks_of_the_app() {
        let timeout = Some(Reason::Timeout);
        check(timeout, None, 0, 0, "");
        check(timeout, None, 3, 0, "No other check of this app fails.");
        check(timeout, None, 3, 3, "All 3 other checks of this app fail, too.");
        check(timeout, None, 3, 1, "1 of 3 other checks of this app fails.");
        check(timeout, drain(1, 500, &[]), 2, 2, "not at the app; all 2 other checks");
        check(None, None, 3, 1, "");
    }
}
