//! The neutral record that rules and metrics speak of: one thing that happened, borrowed from whatever carried it. The
//! engine makes signals from Logplex lines today; other carriers enter by other adapters. No wire format here.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// Who wrote the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Code the team ships, add-ons, and Heroku's API (`app` in `heroku logs`).
    App,
    /// The platform: router, dyno manager, log router (`heroku` in `heroku logs`).
    Heroku,
    /// No line of a log: what dynowatch itself saw, as in a run of a check.
    Dynowatch,
}

impl Source {
    /// As `heroku logs` prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::Heroku => "heroku",
            Self::Dynowatch => "dynowatch",
        }
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// What a signal is about. The names are stable: they stand in rules, metrics and the API.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum Kind { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Kind {
            /// Every kind, in the order of [`Kind::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name used in rules, metrics and the API.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

kinds! {
    /// A request, as the router logged it.
    Router = "router",
    /// `Error R14 (…)` and kin, said by the dyno manager.
    DynoError = "dyno_error",
    /// A dyno changed state, but did not crash.
    DynoState = "dyno_state",
    /// A dyno's state became `crashed`.
    DynoCrash = "dyno_crash",
    /// A process ended, with its status.
    DynoExit = "dyno_exit",
    /// Starting, cycling, stopping and the like.
    DynoEvent = "dyno_event",
    /// Memory and load of a dyno.
    RuntimeMetrics = "runtime_metrics",
    /// Samples of a Heroku Postgres database.
    PostgresMetrics = "postgres_metrics",
    /// Samples of PgBouncer.
    PgbouncerMetrics = "pgbouncer_metrics",
    /// Samples of a Heroku Key-Value Store.
    RedisMetrics = "redis_metrics",
    /// `sample#`, `measure#` or `count#` values that the team's own code wrote.
    CustomMetrics = "custom_metrics",
    /// A release, a deploy or a roll-back.
    Release = "release",
    /// Config vars were set or removed.
    ConfigChange = "config_change",
    /// The formation was scaled.
    Scale = "scale",
    /// A build started, succeeded or failed.
    Build = "build",
    /// Anything else said by Heroku's API, add-on changes among it.
    Api = "api",
    /// The log router lost lines (`L10` and kin).
    LogLoss = "log_loss",
    /// A Postgres server's ERROR, FATAL or PANIC.
    PostgresError = "postgres_error",
    /// Any other line of a Postgres server.
    PostgresLog = "postgres_log",
    /// Gunicorn killed a worker that did not answer in time.
    WorkerTimeout = "worker_timeout",
    /// Gunicorn's worker was killed, perhaps out of memory.
    WorkerKilled = "worker_killed",
    /// A runtime of the app ran out of memory (a Node heap, for one).
    OutOfMemory = "out_of_memory",
    /// Any other line of the app's own code.
    App = "app",
    /// Any other line of the platform.
    HerokuOther = "heroku_other",
    /// Not a line: dynowatch itself refused a delivery whose token was wrong or missing.
    DrainRejected = "drain_rejected",
    /// Not a line: dynowatch itself refused requests to its API because one caller sent too many.
    ApiLimited = "api_limited",
    /// Not a line: dynowatch could not write metrics, for lack of room.
    MetricsUnwritten = "metrics_unwritten",
}

impl Kind {
    /// The place in [`Kind::ALL`], for counters kept in arrays.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name)
    }
}

/// A Heroku error code: a letter (H router, R dyno, L log) and up to three digits, as in `H12`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Code {
    letter: u8,
    number: u16,
}

impl Code {
    /// `Code::new(b'H', 12)` is H12. `None` for another letter or a number over 999.
    #[must_use]
    pub fn new(letter: u8, number: u16) -> Option<Self> {
        (matches!(letter, b'H' | b'R' | b'L') && number <= 999).then_some(Self { letter, number })
    }

    /// Reads `H12`, `R151`, `L10`; exactly that, in capitals.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (letter, digits) = (*text.as_bytes().first()?, text.get(1..)?);
        let plain = (2..=3).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
        Self::new(letter, digits.parse().ok().filter(|_| plain)?)
    }

    /// `H`, `R` or `L`.
    #[must_use]
    pub fn letter(self) -> u8 {
        self.letter
    }

    /// The digits as a number.
    #[must_use]
    pub fn number(self) -> u16 {
        self.number
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:02}", char::from(self.letter), self.number)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a code such as H12")))
    }
}

/// One thing that happened, borrowed. All bytes come from outside and may hold anything.
#[derive(Debug, Clone, Copy)]
pub struct Signal<'a> {
    /// The line's own stamp.
    pub at: Timestamp,
    /// Who wrote it.
    pub source: Source,
    /// What it is about.
    pub kind: Kind,
    /// The name in brackets of `heroku logs`: `web.1`, `router`, `heroku-postgres`.
    pub process: &'a [u8],
    /// The dyno it concerns: `process` for a dyno's own lines, the serving dyno for a request. Empty when none.
    pub dyno: &'a [u8],
    /// The error code, where Heroku itself says one.
    pub code: Option<Code>,
    /// The answer's status, for requests.
    pub status: Option<u16>,
    /// The request's path, for requests, when some rule asks for it.
    pub path: Option<&'a [u8]>,
    /// The text after the header, without its line end.
    pub text: &'a [u8],
}

impl<'a> Signal<'a> {
    /// `web` of `web.1`; a name without a dot is its own type.
    #[must_use]
    pub fn process_type(name: &'a [u8]) -> &'a [u8] {
        name.iter().position(|&b| b == b'.').and_then(|dot| name.get(..dot)).unwrap_or(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes() {
        for text in ["H12", "R14", "L10", "R151"] {
            assert_eq!(Code::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "H", "H1", "h12", "X12", "H1234", "H+1", "H1a", "é12"] {
            assert_eq!(Code::parse(text), None, "{text}");
        }
    }

    #[test]
    fn kinds_are_found_by_name_and_index() {
        for (i, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!((kind.index(), Kind::named(kind.as_str())), (i, Some(*kind)));
        }
    }
}
