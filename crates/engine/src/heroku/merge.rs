//! What was known of an app, and what Heroku says now, become what is known: what is gone stays for a while, marked.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::app_event::DynoState;
use dynowatch_domain::release::{FromApi, Release, ReleaseKind};
use dynowatch_heroku as api;
use dynowatch_store::heroku::{AddOn, Drain, Dyno, Facts, Process};
use dynowatch_store::releases::ApiRelease;
use uuid::Uuid;

use crate::metrics::is_one_off;

/// For how long what is gone is still shown.
const GONE_KEPT: Duration = Duration::from_secs(86_400);
/// How much of what is gone is kept of one kind and app: one-off dynos come and go by the hundred.
const GONE_MAX: usize = 100;
/// How much is kept of one kind and app. Heroku allows 100 dynos of a type, and fewer of everything else.
const ITEMS_MAX: usize = 1_000;
/// The longest text that is kept of Heroku's answers.
const CHARS_MAX: usize = 200;

/// Something that may be gone.
pub(super) trait Part {
    type Key: PartialEq;
    fn key(&self) -> Self::Key;
    fn gone_at(&self) -> Option<Timestamp>;
    fn gone(&mut self, at: Timestamp);
}

macro_rules! part {
    ($($name:ident: $field:ident: $key:ty;)*) => {$(
        impl Part for $name {
            type Key = $key;
            fn key(&self) -> $key {
                self.$field.clone()
            }
            fn gone_at(&self) -> Option<Timestamp> {
                self.gone_at
            }
            fn gone(&mut self, at: Timestamp) {
                self.gone_at.get_or_insert(at);
            }
        }
    )*};
}

part! {
    Process: process_type: String;
    Dyno: name: String;
    AddOn: id: Uuid;
    Drain: id: Uuid;
}

/// What is there now, and behind it what is gone.
pub(super) fn merge<T: Part>(known: Vec<T>, mut now_there: Vec<T>, now: Timestamp) -> Vec<T> {
    now_there.truncate(ITEMS_MAX);
    let mut gone: Vec<T> =
        known.into_iter().filter(|old| !now_there.iter().any(|new| new.key() == old.key())).collect();
    gone.iter_mut().for_each(|old| old.gone(now));
    gone.retain(|old| old.gone_at().is_some_and(|at| now.since(at) < GONE_KEPT));
    gone.sort_by_key(|old| std::cmp::Reverse(old.gone_at()));
    gone.truncate(GONE_MAX);
    now_there.extend(gone);
    now_there
}

fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(CHARS_MAX).collect()
}

fn maybe(optional: Option<&str>) -> Option<String> {
    optional.map(text)
}

pub(super) fn facts(app: &api::App, known: Option<&Facts>) -> Facts {
    Facts {
        fir: app.generation() == api::Generation::Fir,
        stack: maybe(app.stack()),
        region: maybe(app.region()),
        owner: maybe(app.owner()),
        team: maybe(app.team()),
        space: maybe(app.space()),
        maintenance: app.maintenance.unwrap_or(false),
        runtime_metrics: known.and_then(|known| known.runtime_metrics),
        released_at: app.released_at,
    }
}

pub(super) fn processes(formation: Vec<api::Formation>) -> Vec<Process> {
    let one = |process: api::Formation| Process {
        process_type: text(&process.process_type),
        quantity: process.quantity,
        size: text(&process.size),
        gone_at: None,
    };
    formation.into_iter().map(one).collect()
}

pub(super) fn dynos(dynos: Vec<api::Dyno>) -> Vec<Dyno> {
    let one = |dyno: api::Dyno| Dyno {
        release: dyno.release(),
        changed_at: dyno.updated_at,
        name: text(&dyno.name),
        process_type: text(&dyno.process_type),
        state: text(&dyno.state),
        size: text(&dyno.size),
        gone_at: None,
    };
    dynos.into_iter().map(one).collect()
}

/// What is new about dynos, for the table of their states: one that Heroku does not have any more is down. One-off dynos
/// come once and are left out, as in the log's telling.
pub(super) fn states(before: &[Dyno], after: &[Dyno]) -> Vec<DynoState> {
    let is_news = |dyno: &&Dyno| {
        let known = before.iter().find(|old| old.name == dyno.name);
        let is_same = |old: &Dyno| {
            (&old.state, old.changed_at, old.gone_at.is_some())
                == (&dyno.state, dyno.changed_at, dyno.gone_at.is_some())
        };
        !is_one_off(&dyno.process_type) && !known.is_some_and(is_same)
    };
    let state = |dyno: &Dyno| {
        let name = dynowatch_domain::metric::name_of(dyno.name.as_bytes());
        match dyno.gone_at {
            Some(at) => Some(DynoState { dyno: name, state: "down".to_owned(), at }),
            None => {
                let state = dynowatch_domain::metric::name_of(dyno.state.as_bytes());
                dyno.changed_at.filter(|_| !state.is_empty()).map(|at| DynoState { dyno: name, state, at })
            }
        }
    };
    after.iter().filter(is_news).filter_map(state).collect()
}

pub(super) fn addon(addon: &api::AddOn) -> AddOn {
    AddOn {
        id: addon.id,
        name: text(&addon.name),
        service: maybe(addon.service()),
        plan: maybe(addon.plan()),
        state: text(&addon.state),
        config_vars: addon.config_vars.iter().take(100).map(|name| text(name)).collect(),
        gone_at: None,
    }
}

pub(super) fn drain(drain: &api::LogDrain, ours: bool, mark: Option<String>) -> Drain {
    Drain {
        id: drain.id,
        token: text(&drain.token),
        ours,
        host: drain.place().map(|place| text(place.host())).unwrap_or_default(),
        addon: maybe(drain.addon()),
        mark,
        created_at: drain.created_at,
        gone_at: None,
    }
}

/// Releases, newest first, each compared with the one before it. `whole` says that there is none before the last.
pub(super) fn releases(releases: &[api::Release], whole: bool) -> Vec<ApiRelease> {
    let before = |i: usize| releases.get(i + 1);
    let one = |(i, release): (usize, &api::Release)| {
        let code_changed = match before(i) {
            Some(before) => Some(release.code() != before.code()),
            None if whole => Some(release.code().is_some()),
            None => return None,
        };
        let from_api = FromApi { code_changed, commit: None, status: maybe(release.status.as_deref()) };
        Some(ApiRelease {
            id: release.id,
            release: Release {
                at: release.created_at?,
                version: u32::try_from(release.version).ok(),
                kind: kind(&release.description, code_changed),
                actor: maybe(release.author()),
                what: Some(text(&release.description)).filter(|what| !what.is_empty()),
                from_api: Some(from_api),
            },
        })
    };
    releases.iter().enumerate().filter_map(one).collect()
}

/// A rollback is said; else the slug tells whether the code changed, and the description what else may have.
fn kind(description: &str, code_changed: Option<bool>) -> ReleaseKind {
    let any = |words: &[&str]| words.iter().any(|word| description.contains(word));
    if description.starts_with("Rollback to") {
        ReleaseKind::Rollback
    } else if code_changed == Some(true) {
        ReleaseKind::Code
    } else if any(&["config var"]) {
        ReleaseKind::Config
    } else if any(&["Attach ", "Detach ", "add-on", "addon"]) {
        ReleaseKind::AddOn
    } else {
        ReleaseKind::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn t(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn dyno(name: &str, gone_at: Option<Timestamp>) -> Dyno {
        let (process_type, state, size) = (String::new(), "up".to_owned(), String::new());
        Dyno { name: name.to_owned(), process_type, state, size, release: None, changed_at: None, gone_at }
    }

    #[test]
    fn what_is_gone_stays_for_a_while() {
        let known =
            vec![dyno("web.1", None), dyno("web.2", None), dyno("run.1", Some(t(0))), dyno("run.2", Some(t(50)))];
        let merged = merge(known, vec![dyno("web.2", None), dyno("web.3", None)], t(86_400));
        let seen: Vec<_> = merged.iter().map(|dyno| (dyno.name.as_str(), dyno.gone_at)).collect();
        assert_eq!(seen, [("web.2", None), ("web.3", None), ("web.1", Some(t(86_400))), ("run.2", Some(t(50)))]);
        // Back again, it is not gone.
        assert_eq!(merge(merged, vec![dyno("web.1", None)], t(86_401))[0].gone_at, None);
        let many: Vec<Dyno> = (0..500).map(|i| dyno(&format!("run.{i}"), Some(t(i)))).collect();
        let kept = merge(many, Vec::new(), t(600));
        assert_eq!((kept.len(), kept[0].name.as_str()), (GONE_MAX, "run.499"));
    }

    #[test]
    fn states_that_are_news() {
        let up = |name: &str, at: i64| Dyno {
            process_type: name.split('.').next().unwrap().to_owned(),
            changed_at: Some(t(at)),
            ..dyno(name, None)
        };
        let before = [up("web.1", 5), up("web.2", 5), up("web.3", 5)];
        let crashed = Dyno { state: "crashed".to_owned(), ..up("web.2", 9) };
        let gone = Dyno { gone_at: Some(t(20)), ..up("web.3", 5) };
        let after = [up("web.1", 5), crashed, gone.clone(), up("worker.1", 7), up("run.77", 7), dyno("web.9", None)];
        let told: Vec<_> = states(&before, &after).into_iter().map(|one| (one.dyno, one.state, one.at)).collect();
        let want = [("web.2", "crashed", t(9)), ("web.3", "down", t(20)), ("worker.1", "up", t(7))];
        assert_eq!(told, want.map(|(dyno, state, at)| (dyno.to_owned(), state.to_owned(), at)));
        assert_eq!(states(std::slice::from_ref(&gone), std::slice::from_ref(&gone)), []);
    }

    #[test]
    fn kinds_by_description_and_slug() {
        for (description, code_changed, want) in [
            ("Deploy 0a1b2c3d", Some(true), ReleaseKind::Code),
            ("Promote shop-staging v7 0a1b", Some(true), ReleaseKind::Code),
            ("Set LOG_LEVEL config vars", Some(false), ReleaseKind::Config),
            ("Rollback to v3", Some(true), ReleaseKind::Rollback),
            ("Attach DATABASE (@ref:postgresql-flat-1)", Some(false), ReleaseKind::AddOn),
            ("Enable Logplex", Some(false), ReleaseKind::Unknown),
        ] {
            assert_eq!(kind(description, code_changed), want, "{description}");
        }
    }
}
