//! A delivery: one message to one receiver, from intent to an end. Owns when the next attempt is due and when to give
//! up (contract C22-C25); sending belongs to `notify`, keeping to `store`.
//!
//! A delivery is written with the alert it tells of, in one transaction, before anything is sent. An attempt is
//! recorded before it is made, so that after a crash an attempt without an outcome means "perhaps accepted": it is made
//! again with the same idempotency key and marked as a possible duplicate.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::notice::Notice;

/// The first pause between attempts; it grows by half each time, up to [`BACKOFF_MAX`].
pub const BACKOFF_MIN: Duration = Duration::from_millis(500);
/// The longest pause between attempts, unless the receiver asks for more.
pub const BACKOFF_MAX: Duration = Duration::from_secs(60);
/// The longest pause that a receiver may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// After this long without success a delivery has failed for good.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(6 * 3_600);
/// An attempt that takes longer has timed out.
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);
/// For how long a process holds a delivery it is sending. Longer than an attempt, shorter than the 30 s within which
/// another process must take over (C26).
pub const LEASE: Duration = Duration::from_secs(20);

/// Where a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// To be attempted, or to be attempted again.
    Pending,
    /// Accepted by the receiver.
    Sent,
    /// Given up, with a reason. An operator sees it.
    Failed,
}

impl DeliveryState {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sent => "sent",
            Self::Failed => "failed",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Pending, Self::Sent, Self::Failed].into_iter().find(|state| state.as_str() == name)
    }
}

/// What came of one attempt. Details are for operators: they hold no secret and at most 500 bytes of the answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Outcome {
    /// The receiver has it.
    Accepted {
        /// What the receiver said, such as a message's id.
        detail: String,
    },
    /// No answer came, or only a part: a timeout, or a connection that broke after the message was sent. The receiver may
    /// have it. It is tried again like [`Outcome::Retry`], marked as a possible duplicate.
    Unknown {
        /// What happened.
        detail: String,
    },
    /// It may work later: no connection, 408, 425, 429 and 5xx.
    Retry {
        /// What happened.
        detail: String,
        /// What the receiver asked for.
        retry_after: Option<Duration>,
    },
    /// It may work once someone mends the configuration: TLS errors. Tried again slowly, and shown.
    Misconfigured {
        /// What happened.
        detail: String,
    },
    /// It will never work: every other 4xx, and Slack's `ok: false` with a reason that says so.
    Rejected {
        /// What the receiver said.
        detail: String,
    },
}

impl Outcome {
    /// What happened, in words.
    #[must_use]
    pub fn detail(&self) -> &str {
        match self {
            Self::Accepted { detail }
            | Self::Unknown { detail }
            | Self::Retry { detail, .. }
            | Self::Misconfigured { detail }
            | Self::Rejected { detail } => detail,
        }
    }

    /// The name used in the store, metrics and the API.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Accepted { .. } => "accepted",
            Self::Unknown { .. } => "unknown",
            Self::Retry { .. } => "retry",
            Self::Misconfigured { .. } => "misconfigured",
            Self::Rejected { .. } => "rejected",
        }
    }

    /// The outcome that an HTTP status stands for, where the body decides nothing.
    #[must_use]
    pub fn of_status(status: u16, retry_after: Option<Duration>, detail: String) -> Self {
        match status {
            200..=299 => Self::Accepted { detail },
            408 | 425 | 429 | 500..=599 => Self::Retry { detail, retry_after },
            _ => Self::Rejected { detail },
        }
    }
}

/// What to do after an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Sent,
    /// Given up, and why.
    Failed(String),
    /// Again, then.
    At(Timestamp),
}

/// Decides what follows from the outcome of attempt number `attempts` (from 1) of a delivery intended at `intended_at`.
/// `jitter` is in `[0, 1)` and spreads the pause over plus or minus a quarter, so that receivers recover one by one.
#[must_use]
pub fn next(outcome: &Outcome, attempts: u32, intended_at: Timestamp, now: Timestamp, jitter: f64) -> Next {
    let pause = match outcome {
        Outcome::Accepted { .. } => return Next::Sent,
        Outcome::Rejected { detail } => return Next::Failed(detail.clone()),
        Outcome::Misconfigured { .. } => BACKOFF_MAX,
        Outcome::Unknown { .. } => backoff(attempts, jitter),
        Outcome::Retry { retry_after, .. } => {
            let spread = backoff(attempts, jitter);
            retry_after.map_or(spread, |asked| asked.min(RETRY_AFTER_MAX).max(spread))
        }
    };
    let at = now + pause;
    if at.since(intended_at) > GIVE_UP_AFTER {
        let hours = GIVE_UP_AFTER.as_secs() / 3_600;
        return Next::Failed(format!(
            "given up after {attempts} attempts in {hours} h; the last: {}",
            outcome.detail()
        ));
    }
    Next::At(at)
}

fn backoff(attempts: u32, jitter: f64) -> Duration {
    let grown = BACKOFF_MIN
        .mul_f64(1.5_f64.powi(i32::try_from(attempts.saturating_sub(1).min(40)).unwrap_or(40)))
        .min(BACKOFF_MAX);
    grown.mul_f64(0.75 + 0.5 * jitter.clamp(0.0, 1.0))
}

/// One message to send now, as a sender gets it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The idempotency key of every attempt.
    pub id: crate::DeliveryId,
    /// The receiver's name.
    pub receiver: String,
    /// What to say; already masked.
    pub notice: Notice,
    /// Of an earlier attempt nobody knows what became of it, in this process or another, so the receiver may have it already.
    pub possible_duplicate: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn classes_of_answers() {
        let cases = [
            (200, "accepted"),
            (204, "accepted"),
            (408, "retry"),
            (425, "retry"),
            (429, "retry"),
            (500, "retry"),
            (503, "retry"),
            (400, "rejected"),
            (401, "rejected"),
            (404, "rejected"),
            (302, "rejected"),
        ];
        for (status, want) in cases {
            assert_eq!(Outcome::of_status(status, None, String::new()).as_str(), want, "{status}");
        }
    }

    #[test]
    fn pauses_grow_and_obey_the_receiver() {
        let retry = |after| Outcome::Retry { detail: "503".into(), retry_after: after };
        let at = |outcome: &Outcome, attempts| match next(outcome, attempts, t(0), t(0), 0.5) {
            Next::At(at) => at.as_micros() / 1_000,
            other => panic!("{other:?}"),
        };
        assert_eq!([1, 2, 3, 100].map(|n| at(&retry(None), n)), [500, 750, 1_125, 60_000]);
        assert_eq!(at(&retry(Some(Duration::from_secs(90))), 1), 90_000);
        assert_eq!(at(&retry(Some(Duration::from_secs(999_999))), 1), 3_600_000);
    }

    /// C22: those that failed together do not come back together.
    #[test]
    fn pauses_are_spread() {
        let retry = |after| Outcome::Retry { detail: "503".into(), retry_after: after };
        let unknown = Outcome::Unknown { detail: "no answer".into() };
        let at = |outcome: &Outcome, jitter| match next(outcome, 1, t(0), t(0), jitter) {
            Next::At(at) => at.as_micros() / 1_000,
            other => panic!("{other:?}"),
        };
        for outcome in [&retry(None), &unknown] {
            assert_eq!([0.0, 0.5, 1.0].map(|jitter| at(outcome, jitter)), [375, 500, 625], "{outcome:?}");
        }
        assert_eq!(at(&retry(Some(Duration::ZERO)), 0.0), 375, "a receiver that asks for no pause gets one");
    }

    #[test]
    fn it_gives_up_in_the_end_and_says_why() {
        let outcome = Outcome::Retry { detail: "503 from Slack".into(), retry_after: None };
        assert_eq!(
            next(&outcome, 400, t(0), t(6 * 3_600), 0.5),
            Next::Failed("given up after 400 attempts in 6 h; the last: 503 from Slack".into())
        );
    }
}
