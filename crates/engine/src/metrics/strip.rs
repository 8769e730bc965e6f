//! The strip beneath every chart: what changed and what went wrong, from all the places it is kept in.

use dynowatch_domain::app_event::{AppEvent, EventKind};
use dynowatch_domain::release::{Release, ReleaseKind};
use dynowatch_domain::{AlertId, AppId, Timestamp};
use dynowatch_store::StoreError;

use crate::Engine;

/// The most happenings of one answer.
pub const HAPPENINGS_MAX: usize = 1_000;

/// What kind of thing happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HappeningKind {
    /// New code, a rollback, an add-on.
    Release,
    /// Config vars.
    Config,
    /// The formation.
    Scale,
    /// Dynos restarted.
    Restart,
    /// A dyno crashed.
    Crash,
    /// An alert fired.
    Alert,
    /// An alert is over.
    Resolved,
}

impl HappeningKind {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Release => "release",
            Self::Config => "config",
            Self::Scale => "scale",
            Self::Restart => "restart",
            Self::Crash => "crash",
            Self::Alert => "alert",
            Self::Resolved => "resolved",
        }
    }
}

/// Something that happened to an app.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What kind.
    pub kind: HappeningKind,
    /// The dyno or process type; empty for the app.
    pub source: String,
    /// Who did it.
    pub actor: Option<String>,
    /// In words. Text from log lines: mask it.
    pub what: String,
    /// The release.
    pub version: Option<u32>,
    /// The alert.
    pub alert: Option<AlertId>,
}

impl From<Release> for Happening {
    fn from(release: Release) -> Self {
        let kind = if release.kind == ReleaseKind::Config { HappeningKind::Config } else { HappeningKind::Release };
        let what = release.what.unwrap_or_else(|| "a release".to_owned());
        let (source, actor) = (String::new(), release.actor);
        Self { at: release.at, kind, source, actor, what, version: release.version, alert: None }
    }
}

impl From<AppEvent> for Happening {
    fn from(event: AppEvent) -> Self {
        let (kind, what) = match event.kind {
            EventKind::Scale => (HappeningKind::Scale, format!("Scaled to {}", event.what.unwrap_or_default())),
            EventKind::Restart => (HappeningKind::Restart, format!("{} restarted", event.source)),
            EventKind::Crash => (HappeningKind::Crash, format!("{} crashed", event.source)),
        };
        let AppEvent { at, source, actor, .. } = event;
        Self { at, kind, source, actor, what, version: None, alert: None }
    }
}

impl Engine {
    /// What happened to an app between two moments, the newest first, at most [`HAPPENINGS_MAX`].
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn app_events(
        &self,
        app: AppId,
        from: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Happening>, StoreError> {
        let store = self.store();
        let mut all = Vec::new();
        all.extend(store.releases_between(app, from, until).await?.into_iter().map(Happening::from));
        all.extend(store.app_events(app, from, until).await?.into_iter().map(Happening::from));
        for (alert, at, rule, severity) in store.alerts_fired_between(app, from, until).await? {
            let what = format!("{rule} fired ({severity})");
            let kind = HappeningKind::Alert;
            let source = String::new();
            all.push(Happening { at, kind, source, actor: None, what, version: None, alert: Some(alert) });
        }
        all.sort_by_key(|happening| std::cmp::Reverse(happening.at));
        all.truncate(HAPPENINGS_MAX);
        Ok(all)
    }
}
