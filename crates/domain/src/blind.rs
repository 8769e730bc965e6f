//! Times we did not see everything: our own downtime, batches we had to refuse, lines that Heroku says it lost. They
//! turn counts into lower bounds and make shares and silences unknown (contract C38, promise 6).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// A restart that is shorter than this costs no line: who finds nobody at the drain comes again, and what was answered is
/// kept. Rollups are another matter: a killed process takes its last ten seconds of them along.
const RESTART_UNNOTICED: Duration = Duration::from_secs(1);

/// Why we were blind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlindReason {
    /// dynowatch was not running.
    Down,
    /// A batch was answered 503 because of too much load or a store that was away.
    Refused,
    /// Heroku's log router says that it dropped lines (`L10` and kin).
    LogLoss,
    /// Metrics could not be written, as when there is no room: lines were seen and counted, but what ratios, absences and
    /// rules on metrics rest on was not at hand.
    Unwritten,
}

impl BlindReason {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "down",
            Self::Refused => "refused",
            Self::LogLoss => "log_loss",
            Self::Unwritten => "unwritten",
        }
    }

    /// The reason of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Down, Self::Refused, Self::LogLoss, Self::Unwritten].into_iter().find(|reason| reason.as_str() == name)
    }
}

/// A time of blindness, closed at both ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blind {
    /// Why.
    pub reason: BlindReason,
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub until: Timestamp,
    /// How many lines were lost, where it is known.
    pub lines_lost: Option<u64>,
}

impl Blind {
    /// Whether it meets the time `(from, until]`.
    #[must_use]
    pub fn meets(&self, from: Timestamp, until: Timestamp) -> bool {
        self.from <= until && self.until > from
    }

    /// Whether lines may be missing, so that counts over it are lower bounds. If not, only what rests on rollups is unknown.
    #[must_use]
    pub fn hides_lines(&self) -> bool {
        match self.reason {
            BlindReason::Down => self.until.since(self.from) >= RESTART_UNNOTICED,
            BlindReason::Unwritten => false,
            BlindReason::Refused | BlindReason::LogLoss => true,
        }
    }

    /// For people: `blind 14:02:00-14:03:10 UTC (log_loss, 112 lines lost)`.
    #[must_use]
    pub fn show(&self) -> String {
        let lost = self.lines_lost.map(|n| format!(", {n} lines lost")).unwrap_or_default();
        format!("blind {}-{} UTC ({}{lost})", self.from.time_of_day(), self.until.time_of_day(), self.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meets_a_window_open_at_its_start() {
        let t = Timestamp::from_seconds;
        let blind = Blind { reason: BlindReason::LogLoss, from: t(10), until: t(20), lines_lost: Some(7) };
        for (from, until, want) in [(0, 9, false), (0, 10, true), (19, 30, true), (20, 30, false), (12, 13, true)] {
            assert_eq!(blind.meets(t(from), t(until)), want, "{from}..{until}");
        }
        assert_eq!(blind.show(), "blind 00:00:10-00:00:20 UTC (log_loss, 7 lines lost)");
    }

    #[test]
    fn not_every_blindness_costs_a_count_its_lines() {
        let blind = |reason, millis: i64| {
            let until = Timestamp::from_micros(millis * 1_000);
            Blind { reason, from: Timestamp::from_micros(0), until, lines_lost: None }
        };
        for (reason, millis, want) in [
            (BlindReason::Down, 0, false),
            (BlindReason::Down, 999, false),
            (BlindReason::Down, 1_000, true),
            (BlindReason::Refused, 1, true),
            (BlindReason::LogLoss, 0, true),
            (BlindReason::Unwritten, 60_000, false),
        ] {
            assert_eq!(blind(reason, millis).hides_lines(), want, "{reason:?} {millis}");
            assert_eq!(BlindReason::named(reason.as_str()), Some(reason));
        }
    }
}
