//! Heartbeats: jobs that report by themselves. Owns when the next word of a job is due and what its silence means; how a
//! ping comes in over HTTP is `web`'s business.
//!
//! A job is expected every so often or when a cron expression says, with some grace. It may say that it started and then
//! that it finished or failed, under a run id of its own, so that runs that overlap are told apart; a plain ping is a
//! finish. A heartbeat is armed by its first ping (contract C28): what never reported is not missed.
//!
//! What we could not hear, because we were not running, is not held against a job: a deadline that fell into such a time
//! is unknown until the next one.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::cron::Cron;
use super::outcome::Reason;
use crate::parse::{Invalid, show_duration};
use crate::{Timestamp, zone};

/// Runs that are remembered as started; a job that starts more at once loses its oldest.
pub const RUNS_MAX: usize = 16;
/// The longest run id.
pub const RUN_ID_BYTES_MAX: usize = 64;
/// The longest text that a ping may bring along.
pub const NOTE_BYTES_MAX: usize = 1_000;
/// The longest interval, grace and run.
pub const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The shortest grace.
pub const GRACE_MIN: Duration = Duration::from_secs(1);

/// When a job is expected to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// This long after its last report.
    Every(Duration),
    /// When the expression says.
    Cron {
        /// The expression.
        cron: Cron,
        /// In which zone: an IANA name.
        zone: String,
    },
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Every(every) => write!(f, "every {}", show_duration(*every)),
            Self::Cron { cron, zone } => write!(f, "{cron} ({zone})"),
        }
    }
}

/// What is expected of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// When it is to report.
    pub expected: Expected,
    /// How late it may be.
    pub grace: Duration,
    /// How long a run may take from its start to its end; `None`: as long as the grace.
    #[serde(default)]
    pub run_max: Option<Duration>,
}

/// A word of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PingKind {
    /// A run begins.
    Start,
    /// A run ended well. A plain ping is this.
    Finish,
    /// A run failed.
    Fail,
}

impl PingKind {
    /// The name in URLs, the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Finish => "finish",
            Self::Fail => "fail",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Start, Self::Finish, Self::Fail].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A ping as it came in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// When.
    pub at: Timestamp,
    /// What it says.
    pub kind: PingKind,
    /// Of which run; none where the job has one run at a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// More, as the job said it; bounded, to be masked on its way out.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// A run that has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// Its id.
    pub run: Option<String>,
    /// When it said so.
    pub since: Timestamp,
}

/// What is remembered of a job.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HeartbeatState {
    /// The last finish or failure.
    pub last: Option<Ping>,
    /// The last word of any kind.
    pub heard_at: Option<Timestamp>,
    /// Runs that have begun, oldest first.
    pub running: Vec<Running>,
    /// How long the last run took, where its start was told.
    pub took: Option<Duration>,
    /// Until then we may have missed what it said.
    pub deaf_until: Option<Timestamp>,
}

/// What a look at a job says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// What is wrong; none: nothing.
    pub reason: Option<Reason>,
    /// Nothing can be said: never armed, or not heard by our own fault.
    pub unknown: bool,
    /// In words.
    pub detail: String,
    /// When it must be looked at again although nothing came.
    pub look_at: Option<Timestamp>,
}

impl Heartbeat {
    /// What is wrong with it, and what would be right.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, Invalid)> {
        let mut found = Vec::new();
        let mut within = |name: &'static str, value: Duration, least: Duration| {
            if value < least || value > LONGEST {
                let (least, most) = (show_duration(least), show_duration(LONGEST));
                found.push((name, Invalid(format!("between {least} and {most}"))));
            }
        };
        within("grace", self.grace, GRACE_MIN);
        if let Some(run_max) = self.run_max {
            within("run_max", run_max, GRACE_MIN);
        }
        match &self.expected {
            Expected::Every(every) => within("every", *every, GRACE_MIN),
            Expected::Cron { cron, zone: name } => match zone::named(name) {
                None => found.push((
                    "zone",
                    Invalid(format!(
                        "{name:?} is no time zone: write an IANA name such as \"Europe/Berlin\" or \"UTC\""
                    )),
                )),
                Some(zone) if cron.next(Timestamp::UNIX_EPOCH, &zone).is_none() => {
                    found.push(("cron", Invalid(format!("{:?} never comes", cron.to_string()))));
                }
                Some(_) => {}
            },
        }
        found
    }

    /// When a job that reported at `after` is to report next, grace not counted.
    #[must_use]
    pub fn next_due(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.expected {
            Expected::Every(every) => Some(after + *every),
            Expected::Cron { cron, zone: name } => cron.next(after, &zone::named(name)?),
        }
    }

    /// Looks at a job.
    #[must_use]
    pub fn judge(&self, state: &HeartbeatState, now: Timestamp) -> Judged {
        let Some(heard_at) = state.heard_at else {
            return Judged { reason: None, unknown: true, detail: "no ping has come yet".to_owned(), look_at: None };
        };
        let wrong = |reason, detail: String| Judged { reason: Some(reason), unknown: false, detail, look_at: None };
        // A run that takes too long is known to, unless its end may have gone unheard.
        let run_max = self.run_max.unwrap_or(self.grace);
        let heard = |from: Timestamp| state.deaf_until.is_none_or(|until| until <= from);
        let oldest = state.running.iter().find(|running| heard(running.since));
        if let Some(running) = oldest.filter(|running| running.since + run_max <= now) {
            let run = running.run.as_deref().map(|run| format!(" {run}")).unwrap_or_default();
            let detail = format!("run{run} started at {} and is not finished", running.since.for_people());
            return wrong(Reason::HeartbeatUnfinished, detail);
        }
        let run_ends = oldest.map(|running| running.since + run_max);
        // What is due follows the last end of a run; a job that has only ever started is held to its start.
        let reported_at = state.last.as_ref().map_or(heard_at, |last| last.at);
        let deadline = |after| self.next_due(after).map(|due| due + self.grace);
        let due = deadline(reported_at);
        let deaf = state.deaf_until.filter(|until| *until > reported_at);
        let earliest = |look: Option<Timestamp>| look.into_iter().chain(run_ends).min();
        match (due, deaf) {
            (Some(due), Some(until)) if due <= now => {
                // It may have reported while we were away, and is due again after that.
                let next = deadline(until);
                if next.is_some_and(|next| next <= now) {
                    return wrong(Reason::HeartbeatMissed, self.missed(reported_at, next));
                }
                let detail = format!("a ping may have come before {}, when nobody listened", until.for_people());
                return Judged { reason: None, unknown: true, detail, look_at: earliest(next) };
            }
            (Some(due), _) if due <= now => return wrong(Reason::HeartbeatMissed, self.missed(reported_at, Some(due))),
            _ => {}
        }
        match &state.last {
            Some(Ping { kind: PingKind::Fail, at, note, .. }) => {
                let note = if note.is_empty() { String::new() } else { format!(": {note}") };
                let detail = format!("the job said at {} that it failed{note}", at.for_people());
                Judged { look_at: earliest(due), ..wrong(Reason::HeartbeatFailed, detail) }
            }
            _ => Judged { reason: None, unknown: false, detail: String::new(), look_at: earliest(due) },
        }
    }

    fn missed(&self, reported_at: Timestamp, deadline: Option<Timestamp>) -> String {
        let due = deadline.map(|deadline| format!(", due by {}", deadline.for_people())).unwrap_or_default();
        format!("no ping since {}{due} (grace {})", reported_at.for_people(), show_duration(self.grace))
    }
}

impl HeartbeatState {
    /// Takes a ping. One that is older than the last word of its kind changes nothing that came after it.
    pub fn take(&mut self, ping: Ping) {
        self.heard_at = self.heard_at.max(Some(ping.at));
        match ping.kind {
            PingKind::Start => {
                self.running.retain(|running| running.run != ping.run);
                if self.running.len() == RUNS_MAX {
                    self.running.remove(0);
                }
                self.running.push(Running { run: ping.run, since: ping.at });
            }
            PingKind::Finish | PingKind::Fail => {
                // A word without an id is about the run without one; if there is none, about the only one there is.
                let place = self.running.iter().position(|running| running.run == ping.run);
                let place = place.or_else(|| (ping.run.is_none() && self.running.len() == 1).then_some(0));
                if let Some(place) = place {
                    let running = self.running.remove(place);
                    self.took = Some(ping.at.since(running.since));
                }
                if self.last.as_ref().is_none_or(|last| last.at <= ping.at) {
                    self.last = Some(ping);
                }
            }
        }
    }

    /// Notes that nobody listened until then.
    pub fn deaf(&mut self, until: Timestamp) {
        self.deaf_until = self.deaf_until.max(Some(until));
    }
}

#[cfg(test)]
#[path = "heartbeat_tests.rs"]
mod tests;
