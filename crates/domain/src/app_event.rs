//! What happened to an app besides log lines that count: the strip beneath every chart. Releases and alerts are kept where
//! they live ([`crate::release`], [`crate::alert`]); the rest is here.

use crate::Timestamp;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// The formation was changed; [`AppEvent::what`] names every process type with its dynos.
    Scale,
    /// Dynos of a process type restart: a release, a config change, a person. Those within a minute are one event.
    Restart,
    /// A dyno crashed.
    Crash,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Scale, Self::Restart, Self::Crash];

    /// The name in tables and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::Restart => "restart",
            Self::Crash => "crash",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// Something that happened to an app. Known by app, moment, kind and source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppEvent {
    /// When.
    pub at: Timestamp,
    /// What.
    pub kind: EventKind,
    /// The dyno or process type; empty for the app.
    pub source: String,
    /// Who did it, where the line says so.
    pub actor: Option<String>,
    /// More, as Heroku said it.
    pub what: Option<String>,
}

/// The newest state of a dyno.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DynoState {
    /// As in `web.1`.
    pub dyno: String,
    /// As Heroku says it: `starting`, `up`, `crashed`, `down`, `idle`, …
    pub state: String,
    /// Since when.
    pub at: Timestamp,
}
