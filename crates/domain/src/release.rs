//! Releases as the drain tells of them, and which of them may have caused an alert (contract C39). Heroku's API says
//! more about a release than its log lines do; what it adds enters the same [`Release`] later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How long before the first evidence a release may lie and still be named.
pub const LOOK_BACK: Duration = Duration::from_secs(1_800);

/// What a release changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleaseKind {
    /// New code.
    Code,
    /// Config vars.
    Config,
    /// An add-on came, went or changed.
    AddOn,
    /// Back to an older release: code and config vars.
    Rollback,
    /// Not said.
    Unknown,
}

impl ReleaseKind {
    /// In words.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::Config => "config",
            Self::AddOn => "add-on",
            Self::Rollback => "rollback",
            Self::Unknown => "unknown change",
        }
    }
}

/// A release of an app. Heroku writes the cause and `Release vN created` as two lines with one identical stamp, in
/// either order, so a release is known by (app, stamp) and grows with [`Release::merge`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// When it was created.
    pub at: Timestamp,
    /// `124` of `v124`, once said.
    pub version: Option<u32>,
    /// What it changed.
    pub kind: ReleaseKind,
    /// Who made it.
    pub actor: Option<String>,
    /// The cause as Heroku said it, as in `Deploy 0a1b2c3d` or `Set LOG_LEVEL config vars`.
    pub what: Option<String>,
}

impl Release {
    /// Adds what another line with the same stamp said.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        Self {
            at: self.at,
            version: self.version.or(other.version),
            kind: if self.kind == ReleaseKind::Unknown { other.kind } else { self.kind },
            actor: self.actor.or(other.actor),
            what: self.what.or(other.what),
        }
    }

    /// For people: `v124 (code, Deploy 0a1b2c3d, by dev@example.com)`.
    #[must_use]
    pub fn show(&self) -> String {
        let version = self.version.map_or_else(|| "a release".to_owned(), |v| format!("v{v}"));
        let what = self.what.as_deref().map(|w| format!(", {w}")).unwrap_or_default();
        let actor = self.actor.as_deref().map(|a| format!(", by {a}")).unwrap_or_default();
        format!("{version} ({}{what}{actor})", self.kind.as_str())
    }
}

/// The sentence an alert carries about releases.
#[must_use]
pub fn sentence(newest: Option<&Release>, first_evidence: Timestamp) -> String {
    match newest.filter(|r| r.at <= first_evidence && first_evidence.since(r.at) <= LOOK_BACK) {
        Some(release) => {
            format!("{}, {} s before the first evidence", release.show(), first_evidence.since(release.at).as_secs())
        }
        None => format!("no release in the last {} min", LOOK_BACK.as_secs() / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release() -> Release {
        Release {
            at: Timestamp::from_seconds(1_000),
            version: None,
            kind: ReleaseKind::Code,
            actor: Some("dev@example.com".into()),
            what: Some("Deploy 0a1b2c3d".into()),
        }
    }

    #[test]
    fn names_the_release_or_says_there_is_none() {
        let created = Release { version: Some(124), kind: ReleaseKind::Unknown, actor: None, what: None, ..release() };
        let both = release().merge(created.clone());
        assert_eq!(both, created.merge(release()));
        assert_eq!(
            sentence(Some(&both), Timestamp::from_seconds(1_040)),
            "v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence"
        );
        for first in [999, 1_000 + 1_801] {
            assert_eq!(sentence(Some(&both), Timestamp::from_seconds(first)), "no release in the last 30 min");
        }
    }
}
