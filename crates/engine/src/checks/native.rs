//! Checks that look at what Heroku says of an app: its dynos beside its formation, its latest release, its maintenance mode.
//! Read from the rows that [`crate::heroku`] keeps in step; rows that are too old say nothing.

use std::time::Duration;

use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::check::{Check, CheckKind, kind::HerokuTarget};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::heroku::{HerokuApp, Wanted};

use crate::Engine;
use crate::apps::lock;

/// Dynos are asked for each minute; what is older than this is no evidence.
const DYNOS_FRESH: Duration = Duration::from_secs(240);
/// Apps are asked for every five minutes.
const APPS_FRESH: Duration = Duration::from_secs(900);
/// Dynos that are named in a sentence.
const NAMED_MAX: usize = 5;

type Said = (Option<Reason>, String);

impl Engine {
    /// What Heroku says of the check's app.
    pub(crate) async fn look_at_heroku(&self, check: &Check) -> Observation {
        let now = self.now();
        let (reason, detail) = self.heroku_says(check, now).await;
        Observation::bare(now, reason, detail)
    }

    async fn heroku_says(&self, check: &Check, now: Timestamp) -> Said {
        let CheckKind::Heroku(wanted) = &check.kind else {
            return (Some(Reason::ProberFailed), "this is no check of Heroku's API".to_owned());
        };
        if self.heroku().is_err() {
            return (
                Some(Reason::HerokuRefused),
                "HEROKU_API_KEY is not set: nothing can be asked of Heroku".to_owned(),
            );
        }
        let apps = match self.store().heroku_apps(Wanted::All).await {
            Ok(apps) => apps,
            Err(error) => {
                return (Some(Reason::ProberFailed), format!("the rows of the account cannot be read: {error}"));
            }
        };
        match apps.iter().find(|app| app.name == wanted.app) {
            Some(app) if app.gone_at.is_some() => {
                (Some(Reason::HerokuRefused), format!("the account does not see the app {} any more", wanted.app))
            }
            Some(app) => self.judge(app, &wanted.target, now),
            None if apps.is_empty() => {
                (Some(Reason::HerokuUnavailable), "the apps of the account were not read yet".to_owned())
            }
            None => (Some(Reason::HerokuRefused), format!("no app of the account is named {}", wanted.app)),
        }
    }

    fn judge(&self, app: &HerokuApp, target: &HerokuTarget, now: Timestamp) -> Said {
        let (read_at, fresh) = match target {
            HerokuTarget::Dynos { .. } => (app.dynos_at, DYNOS_FRESH),
            HerokuTarget::Release => (app.releases_at, DYNOS_FRESH),
            HerokuTarget::Maintenance => (Some(app.seen_at), APPS_FRESH),
        };
        if read_at.is_none_or(|at| now.since(at) > fresh) {
            let since = read_at.map_or_else(|| "never".to_owned(), |at| format!("at {}", at.for_people()));
            let problem = app.problem.as_deref().map(|problem| format!(": {problem}")).unwrap_or_default();
            return (Some(Reason::HerokuUnavailable), format!("Heroku was last heard {since}{problem}"));
        }
        match target {
            HerokuTarget::Dynos { process_type } => dynos(app, process_type),
            HerokuTarget::Release => self.release(app.app),
            HerokuTarget::Maintenance if app.facts.maintenance => {
                (Some(Reason::MaintenanceMode), "maintenance mode is on".to_owned())
            }
            HerokuTarget::Maintenance => (None, String::new()),
        }
    }

    fn release(&self, app: AppId) -> Said {
        let releases = lock(&self.shared.releases);
        let newest = releases.get(&app).and_then(|releases| {
            releases.iter().filter(|release| release.from_api.is_some()).max_by_key(|release| release.at)
        });
        match newest {
            Some(release) if release.from_api.as_ref().and_then(|api| api.status.as_deref()) == Some("failed") => {
                (Some(Reason::ReleaseFailed), release.show())
            }
            Some(_) => (None, String::new()),
            None => (Some(Reason::HerokuUnavailable), "no release of the app was read yet".to_owned()),
        }
    }
}

fn dynos(app: &HerokuApp, process_type: &str) -> Said {
    let wanted: i64 = app
        .formation
        .iter()
        .filter(|process| process.process_type == process_type && process.gone_at.is_none())
        .map(|process| process.quantity)
        .sum();
    if app.facts.maintenance {
        return (Some(Reason::MaintenanceMode), "maintenance mode is on".to_owned());
    }
    if wanted == 0 {
        return (Some(Reason::FormationEmpty), format!("the formation has no {process_type} dynos"));
    }
    let dynos: Vec<_> =
        app.dynos.iter().filter(|dyno| dyno.process_type == process_type && dyno.gone_at.is_none()).collect();
    let in_state = |state: &str| {
        dynos.iter().filter(|dyno| dyno.state == state).map(|dyno| dyno.name.as_str()).collect::<Vec<_>>()
    };
    let crashed = in_state("crashed");
    if !crashed.is_empty() {
        let named = crashed.iter().take(NAMED_MAX).copied().collect::<Vec<_>>().join(", ");
        return (Some(Reason::DynosCrashed), format!("{} of {wanted} crashed: {named}", crashed.len()));
    }
    // A dyno that sleeps wakes by itself.
    let up = in_state("up").len() + in_state("idle").len();
    if i64::try_from(up).unwrap_or(i64::MAX) < wanted {
        return (Some(Reason::DynosMissing), format!("{up} of {wanted} {process_type} dynos are up"));
    }
    (None, String::new())
}

#[cfg(test)]
mod tests {
    use dynowatch_store::heroku::{Dyno, Facts, Process};

    use super::*;

    #[track_caller]
    fn check(quantity: i64, states: &[&str], maintenance: bool, want: Option<Reason>) {
        let dyno = |(place, state): (usize, &&str)| Dyno {
            name: format!("web.{}", place + 1),
            process_type: "web".into(),
            state: (*state).to_owned(),
            size: "standard-1X".into(),
            release: None,
            changed_at: None,
            gone_at: None,
        };
        let at = Timestamp::UNIX_EPOCH;
        let app = HerokuApp {
            app: AppId(uuid::Uuid::from_u128(1)),
            heroku_id: uuid::Uuid::from_u128(2),
            name: "shop".into(),
            facts: Facts { maintenance, ..Facts::default() },
            formation: vec![Process {
                process_type: "web".into(),
                quantity,
                size: "standard-1X".into(),
                gone_at: None,
            }],
            dynos: states.iter().enumerate().map(dyno).collect(),
            addons: Vec::new(),
            drains: Vec::new(),
            seen_at: at,
            gone_at: None,
            dynos_at: Some(at),
            drains_at: None,
            releases_at: None,
            next_dynos_at: at,
            next_drains_at: at,
            problem: None,
        };
        assert_eq!(dynos(&app, "web").0, want, "{quantity} wanted, {states:?}");
    }

    #[test]
    fn dynos_beside_their_formation() {
        check(2, &["up", "up"], false, None);
        check(2, &["up", "idle"], false, None);
        check(2, &["up", "starting"], false, Some(Reason::DynosMissing));
        check(2, &["up"], false, Some(Reason::DynosMissing));
        check(2, &["up", "crashed"], false, Some(Reason::DynosCrashed));
        check(0, &[], false, Some(Reason::FormationEmpty));
        check(2, &["crashed", "crashed"], true, Some(Reason::MaintenanceMode));
    }
}
