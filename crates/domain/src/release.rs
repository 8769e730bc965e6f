//! Releases as the drain tells of them, and which of them may have caused an alert (contract C39). Heroku's API says
//! more about a release than its log lines do; what it adds enters the same [`Release`] later.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// How long before the first evidence a release may lie and still be named.
pub const LOOK_BACK: Duration = Duration::from_secs(1_800);

/// Names of config vars that are read of one release.
const CONFIG_VARS_MAX: usize = 50;

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
    /// What Heroku's API says of it, once asked. Its author and cause then stand above, in place of the log's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from_api: Option<FromApi>,
}

/// What only Heroku's API says of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromApi {
    /// Whether it runs other code (another slug or image) than the release before; `None` when that is not known.
    pub code_changed: Option<bool>,
    /// The commit its code was built from.
    pub commit: Option<String>,
    /// `pending`, `succeeded`, `failed`; old releases have none.
    pub status: Option<String>,
}

impl Release {
    /// Adds what another source with the same stamp said. The API has the last word over log lines.
    #[must_use]
    pub fn merge(self, other: Self) -> Self {
        let api_is_second = self.from_api.is_none() && other.from_api.is_some();
        let (first, second) = if api_is_second { (other, self) } else { (self, other) };
        Self {
            at: first.at,
            version: first.version.or(second.version),
            kind: if first.kind == ReleaseKind::Unknown { second.kind } else { first.kind },
            actor: first.actor.or(second.actor),
            what: first.what.or(second.what),
            from_api: first.from_api.or(second.from_api),
        }
    }

    /// The names of the config vars that it set or removed, as its cause says them; values are never said.
    #[must_use]
    pub fn config_vars(&self) -> Vec<&str> {
        let what = self.what.as_deref().unwrap_or_default();
        let names = what.strip_suffix(" config vars").or(what.strip_suffix(" config var"));
        let names = names.and_then(|names| names.strip_prefix("Set ").or(names.strip_prefix("Remove ")));
        let is_name = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        names.map(|names| names.split(", ").filter(is_name).take(CONFIG_VARS_MAX).collect()).unwrap_or_default()
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
            from_api: None,
        }
    }

    #[test]
    fn the_api_has_the_last_word_in_either_order() {
        let told = FromApi { code_changed: Some(true), commit: Some("0a1b2c3d4e5f".into()), status: None };
        let api = Release { actor: Some("true@example.com".into()), from_api: Some(told), ..release() };
        for merged in [release().merge(api.clone()), api.clone().merge(release())] {
            assert_eq!((merged.actor.as_deref(), &merged.from_api), (Some("true@example.com"), &api.from_api));
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

    #[test]
    fn config_vars_by_name_only() {
        for (what, want) in [
            (Some("Set LOG_LEVEL config vars"), &["LOG_LEVEL"][..]),
            (Some("Set A, B_2 config vars"), &["A", "B_2"]),
            (Some("Remove A config var"), &["A"]),
            (Some("Set A=secret, B config vars"), &["B"]),
            (Some("Deploy 0a1b2c3d"), &[]),
            (Some("Set  config vars"), &[]),
            (None, &[]),
        ] {
            let release = Release { what: what.map(str::to_owned), ..release() };
            assert_eq!(release.config_vars(), want, "{what:?}");
        }
    }
}
