//! What is asked of the account when, and what becomes of the answers.
//!
//! | what | how often | requests |
//! |---|---|---|
//! | the list of apps | 5 min | one per 1,000 apps |
//! | the list of add-ons | 10 min | one per 1,000 add-ons |
//! | process types and dynos of an app | 60 s | 2 |
//! | releases of an app | when there is a new one | 1, and 1 per slug |
//! | drains and features of an app | 15 min | 2 |
//!
//! Where the budget does not suffice, the longest due goes first and all become rarer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::account::audit::{Act, Actor};
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_domain::{AppId, NewId};
use dynowatch_heroku::{self as api, LOG_RUNTIME_METRICS};
use dynowatch_store::StoreError;
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::heroku::{HerokuApp, Part, SyncState, Wanted};
use uuid::Uuid;

use super::{HerokuAccount, HerokuProblem, budget, concerns_all, merge};
use crate::Engine;
use crate::apps::lock;
use crate::random::RandomIds;
use crate::sharing::{MARK_BYTES_MAX, MARK_PARAM};

pub(super) const APPS: &str = "apps";
pub(super) const ADDONS: &str = "addons";
const APPS_EVERY: Duration = Duration::from_secs(300);
const ADDONS_EVERY: Duration = Duration::from_secs(600);
const DYNOS_EVERY: Duration = Duration::from_secs(60);
const DRAINS_EVERY: Duration = Duration::from_secs(900);
/// When some apps of the list had to wait for the budget.
const PUT_OFF_EVERY: Duration = Duration::from_secs(60);
/// Whoever asks for the lists again sooner gets what they said.
const LISTS_AGAIN_AFTER: Duration = Duration::from_secs(10);
/// The drains of an app that is not ours are looked through for an adopted app's this often.
const LOOK_AGAIN_AFTER: Duration = Duration::from_secs(3_600);
/// Such apps that are remembered; beyond that all are forgotten.
const LOOKED_MAX: usize = 10_000;
/// After a failure that concerns one app only.
const AFTER_FAILURE: Duration = Duration::from_secs(300);
/// Apps of one pass.
const APPS_PER_PASS: u32 = 10;
/// Missing apps that are asked for one by one in one pass, before they count as gone.
const CONFIRMED_MAX: usize = 20;
/// Releases that are looked at when there is a new one.
const RELEASES_MAX: u16 = 20;
/// Commits that are asked for at once.
const SLUGS_MAX: usize = 5;
/// How long the drain has to tell of a release before the API's word is taken for its time.
const SETTLED: Duration = Duration::from_secs(120);

/// What a sync found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncReport {
    /// Apps of the account.
    pub apps: usize,
    /// Names of apps that were not known.
    pub new: Vec<String>,
    /// Apps under another name than before: old and new.
    pub renamed: Vec<(String, String)>,
    /// Names of apps that are gone.
    pub gone: Vec<String>,
    /// What did not work, in words.
    pub problems: Vec<String>,
    /// Apps that are left for a later look, so that requests are left to the account.
    pub put_off: usize,
    /// Requests that were made.
    pub requests: u64,
}

impl Engine {
    /// Asks for everything now, whatever is due: four requests for each app, so not for a request that somebody waits for.
    /// Stops where the account has few requests left.
    ///
    /// # Errors
    /// Without a key, and when Heroku or the store does not answer. What concerns one app only is in the report.
    pub async fn heroku_sync_now(&self) -> Result<SyncReport, HerokuProblem> {
        let account = self.heroku()?;
        let before = account.client.sent();
        let mut report = SyncReport::default();
        self.sync_apps(&account, &mut report).await?;
        self.sync_addons(&account).await?;
        for app in self.store().heroku_apps(Wanted::All).await?.into_iter().filter(|app| app.gone_at.is_none()) {
            if account.client.remaining().is_some_and(budget::is_for_people) {
                report.put_off += 1;
                continue;
            }
            let name = app.name.clone();
            let done = async {
                let app = self.sync_dynos(&account, app).await?;
                self.sync_drains(&account, app).await
            };
            match done.await {
                Ok(_) => {}
                Err(HerokuProblem::Heroku(error)) if !concerns_all(&error) => {
                    report.problems.push(format!("{name}: {error}"))
                }
                Err(problem) => return Err(problem),
            }
        }
        report.requests = account.client.sent() - before;
        Ok(report)
    }

    /// The lists of apps and add-ons, whenever they are due; or what they said a moment ago.
    pub(super) async fn lists_again(&self, account: &HerokuAccount) -> Result<SyncReport, HerokuProblem> {
        let mut listed = self.shared.heroku.listed.lock().await;
        if let Some((at, report)) = &*listed
            && *at <= self.now()
            && self.now().since(*at) < LISTS_AGAIN_AFTER
        {
            return Ok(SyncReport { requests: 0, ..report.clone() });
        }
        let before = account.client.sent();
        let mut report = SyncReport::default();
        self.sync_apps(account, &mut report).await?;
        report
            .problems
            .iter()
            .for_each(|problem| tracing::warn!(problem, "an app of the Heroku account is not in step"));
        self.sync_addons(account).await?;
        report.requests = account.client.sent() - before;
        *listed = Some((self.now(), report.clone()));
        Ok(report)
    }

    /// What is due, as far as the budget goes.
    pub(super) async fn sync_due(&self, account: &HerokuAccount) -> Result<(), HerokuProblem> {
        if self.list_due(APPS).await? && self.may_ask(account, 1) {
            let mut report = SyncReport::default();
            self.sync_apps(account, &mut report).await?;
            report
                .problems
                .iter()
                .for_each(|problem| tracing::warn!(problem, "an app of the Heroku account is not in step"));
        }
        if self.list_due(ADDONS).await? && self.may_ask(account, 1) {
            self.sync_addons(account).await?;
        }
        let now = self.now();
        let dynos = self.store().heroku_apps(Wanted::DynosDue(now, APPS_PER_PASS)).await?;
        let drains = self.store().heroku_apps(Wanted::DrainsDue(now, APPS_PER_PASS)).await?;
        let dynos = dynos.into_iter().map(|app| (app.next_dynos_at, Part::Dynos, app));
        let mut due: Vec<_> =
            dynos.chain(drains.into_iter().map(|app| (app.next_drains_at, Part::Drains, app))).collect();
        // Together, so that what is due often does not keep back what is due seldom.
        due.sort_by_key(|(at, ..)| *at);
        for (_, part, app) in due {
            if !self.may_ask(account, 2) || !self.holds_heroku_lease().await? {
                return Ok(());
            }
            let known = app.clone();
            let done = match part {
                Part::Drains => self.sync_drains(account, app).await,
                _ => self.sync_dynos(account, app).await,
            };
            self.or_later(known, done).await?;
        }
        Ok(())
    }

    fn may_ask(&self, account: &HerokuAccount, requests: u32) -> bool {
        lock(&self.shared.heroku.budget).take(requests, account.client.remaining(), self.now())
    }

    async fn list_due(&self, name: &str) -> Result<bool, StoreError> {
        Ok(self.store().heroku_sync(name).await?.is_none_or(|list| list.next_at <= self.now()))
    }

    async fn list_done(&self, name: &str, every: Duration) -> Result<(), StoreError> {
        let now = self.now();
        let state = SyncState { next_at: now + every, done_at: Some(now), problem: None };
        self.store().save_heroku_sync(name, &state).await
    }

    /// What concerns one app only is written into its row, and that app is left alone for a while.
    async fn or_later(&self, app: HerokuApp, done: Result<HerokuApp, HerokuProblem>) -> Result<(), HerokuProblem> {
        match done {
            Ok(_) => Ok(()),
            Err(HerokuProblem::Heroku(error)) if !concerns_all(&error) => {
                let later = self.now() + AFTER_FAILURE;
                if error.is_not_found() {
                    // The next list of apps tells whether it is gone.
                    let state = SyncState { next_at: self.now(), done_at: None, problem: None };
                    self.store().save_heroku_sync(APPS, &state).await?;
                }
                let problem = Some(error.to_string());
                let app =
                    HerokuApp { problem, next_dynos_at: later, next_drains_at: app.next_drains_at.max(later), ..app };
                Ok(self.store().save_heroku_app(&app, Part::Schedule).await?)
            }
            Err(problem) => Err(problem),
        }
    }

    /// The list of apps: new ones, new names, and those that are gone.
    async fn sync_apps(&self, account: &HerokuAccount, report: &mut SyncReport) -> Result<(), HerokuProblem> {
        let listed = account.client.apps().await?;
        report.apps = listed.len();
        let known = self.store().heroku_apps(Wanted::All).await?;
        let known: HashMap<Uuid, HerokuApp> = known.into_iter().map(|app| (app.heroku_id, app)).collect();
        let adopted = self.adopted_tokens().await?;
        let ids: HashSet<Uuid> = listed.iter().map(|app| app.id).collect();
        for app in &listed {
            let done = match known.get(&app.id) {
                Some(row) => self.update(account, app, row.clone(), report).await,
                // Another app of ours may have been made for it: who cannot be asked is not made a second one.
                None if self.must_look(app, &adopted) && !self.may_ask(account, 1) => {
                    report.put_off += 1;
                    continue;
                }
                None => self.link(account, app, &adopted, report).await.map(drop),
            };
            match done {
                Ok(()) => {}
                Err(HerokuProblem::Heroku(error)) if !concerns_all(&error) => {
                    report.problems.push(format!("{}: {error}", short(&app.name)))
                }
                Err(HerokuProblem::Conflict(problem)) => report.problems.push(problem),
                Err(problem) => return Err(problem),
            }
        }
        let missing = known.into_values().filter(|row| row.gone_at.is_none() && !ids.contains(&row.heroku_id));
        for row in missing.take(CONFIRMED_MAX) {
            if self.may_ask(account, 1) {
                self.confirm_gone(account, row, report).await?;
            } else {
                report.put_off += 1;
            }
        }
        self.list_done(APPS, if report.put_off > 0 { PUT_OFF_EVERY } else { APPS_EVERY }).await?;
        self.load_apps().await?;
        Ok(())
    }

    /// A list can be wrong; that an app is gone is asked for once more.
    async fn confirm_gone(
        &self,
        account: &HerokuAccount,
        row: HerokuApp,
        report: &mut SyncReport,
    ) -> Result<(), HerokuProblem> {
        match account.client.app(&row.heroku_id.to_string()).await {
            Err(error) if matches!(error.id(), Some(api::ErrorId::NotFound | api::ErrorId::Forbidden)) => {
                tracing::info!(app = row.name, "an app is gone from the Heroku account");
                report.gone.push(row.name.clone());
                Ok(self.store().save_heroku_app(&HerokuApp { gone_at: Some(self.now()), ..row }, Part::App).await?)
            }
            Err(error) if concerns_all(&error) => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// An app that was known.
    async fn update(
        &self,
        account: &HerokuAccount,
        app: &api::App,
        row: HerokuApp,
        report: &mut SyncReport,
    ) -> Result<(), HerokuProblem> {
        let now = self.now();
        let mut next =
            HerokuApp { facts: merge::facts(app, Some(&row.facts)), seen_at: now, gone_at: None, ..row.clone() };
        if app.name != row.name {
            // The drains' URLs keep the old name: they must be known before it is gone.
            if !next.facts.fir {
                if !self.may_ask(account, 2) {
                    report.put_off += 1;
                    return Ok(());
                }
                next = self.sync_drains(account, next).await?;
            }
            next.name = self.renamed(app, &row).await?;
            report.renamed.push((row.name, next.name.clone()));
        }
        Ok(self.store().save_heroku_app(&next, Part::App).await?)
    }

    /// Our app takes Heroku's new name, unless the team gave it one of its own or the file names it.
    async fn renamed(&self, app: &api::App, row: &HerokuApp) -> Result<String, HerokuProblem> {
        check_name(&app.name)?;
        let ours = self.apps().by_id(row.app).cloned();
        if let Some(ours) = ours.filter(|ours| ours.name == row.name && ours.origin != AppOrigin::File) {
            match self
                .store()
                .rename_app(ours.id, &app.name, &renamed_by_heroku(&ours.name, &app.name), self.now())
                .await
            {
                Ok(()) => tracing::info!(from = row.name, to = app.name, "an app was renamed at Heroku"),
                Err(StoreError::Conflict(_)) => {
                    tracing::warn!(
                        from = row.name,
                        to = app.name,
                        "an app was renamed at Heroku; here the new name is taken"
                    )
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(app.name.clone())
    }

    /// An app that was not known: one of ours stands for it already, or a new one does.
    pub(super) async fn link(
        &self,
        account: &HerokuAccount,
        app: &api::App,
        adopted: &HashMap<String, AppId>,
        report: &mut SyncReport,
    ) -> Result<HerokuApp, HerokuProblem> {
        check_name(&app.name)?;
        let now = self.now();
        let facts = merge::facts(app, None);
        let id = match self.adopted_as(account, app, adopted).await? {
            Some(id) => id,
            None if self.apps().by_name(&app.name).is_none() && self.apps_are_full(report.new.len()) => {
                self.shared.stats.apps_overflowed.up();
                return Err(HerokuProblem::Conflict(format!("{}: limits.apps is reached; it is left out", app.name)));
            }
            None => self.store().ensure_app(AppId(RandomIds.new_id(now)), &app.name, AppOrigin::Heroku, now).await?.id,
        };
        let other = self.store().heroku_apps(Wanted::App(id)).await?.pop();
        if let Some(other) = other.filter(|other| other.gone_at.is_none() && other.heroku_id != app.id) {
            return Err(HerokuProblem::Conflict(format!(
                "{}: here that name stands for {} of Heroku; rename one of them with `dynowatch apps rename`",
                app.name, other.name
            )));
        }
        let row = HerokuApp {
            app: id,
            heroku_id: app.id,
            name: app.name.clone(),
            facts,
            formation: Vec::new(),
            dynos: Vec::new(),
            addons: Vec::new(),
            drains: Vec::new(),
            seen_at: now,
            gone_at: None,
            dynos_at: None,
            drains_at: None,
            releases_at: None,
            next_dynos_at: now,
            next_drains_at: now,
            problem: None,
        };
        self.store().save_heroku_app(&row, Part::All).await?;
        // The add-ons of all apps come in one list.
        let soon = SyncState { next_at: now, done_at: None, problem: None };
        self.store().save_heroku_sync(ADDONS, &soon).await?;
        report.new.push(app.name.clone());
        Ok(row)
    }

    /// Whether the drains of an app that is not known must be looked through: an app of ours may have been named after the
    /// token of one. Once an hour is enough for those that stay unknown, such as all beyond `limits.apps`.
    fn must_look(&self, app: &api::App, adopted: &HashMap<String, AppId>) -> bool {
        if adopted.is_empty() || merge::facts(app, None).fir || self.apps().by_name(&app.name).is_some() {
            return false;
        }
        let looked = lock(&self.shared.heroku.looked).get(&app.id).copied();
        looked.is_none_or(|at| self.now().since(at) >= LOOK_AGAIN_AFTER)
    }

    /// The app of ours that was named after the token of one of this app's drains; it gets the app's name.
    async fn adopted_as(
        &self,
        account: &HerokuAccount,
        app: &api::App,
        adopted: &HashMap<String, AppId>,
    ) -> Result<Option<AppId>, HerokuProblem> {
        if !self.must_look(app, adopted) {
            return Ok(None);
        }
        let drains = account.client.log_drains(&app.id.to_string()).await?;
        {
            let mut looked = lock(&self.shared.heroku.looked);
            if looked.len() >= LOOKED_MAX {
                looked.clear();
            }
            looked.insert(app.id, self.now());
        }
        let Some(&id) = drains.iter().find_map(|drain| adopted.get(&drain.token)) else { return Ok(None) };
        let ours = self.apps().by_id(id).map(|ours| ours.name.clone());
        if let Some(ours) = ours.filter(|ours| adopted.contains_key(ours)) {
            match self.store().rename_app(id, &app.name, &renamed_by_heroku(&ours, &app.name), self.now()).await {
                Ok(()) | Err(StoreError::Conflict(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(id))
    }

    /// Tokens that nobody has named, with the apps that were made for them.
    async fn adopted_tokens(&self) -> Result<HashMap<String, AppId>, StoreError> {
        let tokens = self.store().drain_tokens(None).await?;
        let adopted = tokens.into_iter().filter(|token| token.origin == AppOrigin::Adopted);
        Ok(adopted.map(|token| (token.token, token.app)).collect())
    }

    /// The add-ons of all apps.
    async fn sync_addons(&self, account: &HerokuAccount) -> Result<(), HerokuProblem> {
        let listed = account.client.addons().await?;
        let now = self.now();
        let mut by_app: HashMap<Uuid, Vec<_>> = HashMap::new();
        for addon in &listed {
            by_app.entry(addon.app_id()).or_default().push(merge::addon(addon));
        }
        for app in self.store().heroku_apps(Wanted::All).await?.into_iter().filter(|app| app.gone_at.is_none()) {
            let addons = merge::merge(app.addons.clone(), by_app.remove(&app.heroku_id).unwrap_or_default(), now);
            if addons != app.addons {
                self.store().save_heroku_app(&HerokuApp { addons, ..app }, Part::AddOns).await?;
            }
        }
        Ok(self.list_done(ADDONS, ADDONS_EVERY).await?)
    }

    /// Process types and dynos of an app, and its releases if there is a new one.
    async fn sync_dynos(&self, account: &HerokuAccount, app: HerokuApp) -> Result<HerokuApp, HerokuProblem> {
        let id = app.heroku_id.to_string();
        // The moment before the question: what a log line tells of later is newer than the answer.
        let now = self.now();
        let formation = merge::processes(account.client.formation(&id).await?);
        let dynos = merge::merge(app.dynos.clone(), merge::dynos(account.client.dynos(&id).await?), now);
        let states: Vec<_> = merge::states(&app.dynos, &dynos).into_iter().map(|state| (app.app, state)).collect();
        self.store().add_app_events(&[], &states).await?;
        let mut app = HerokuApp {
            formation: merge::merge(app.formation, formation, now),
            dynos,
            dynos_at: Some(now),
            next_dynos_at: now + DYNOS_EVERY,
            problem: None,
            ..app
        };
        if self.has_news(&app).await? {
            self.sync_releases(account, &app).await?;
            app.releases_at = Some(now);
        }
        self.store().save_heroku_app(&app, Part::Dynos).await?;
        Ok(app)
    }

    /// Whether Heroku's list or the drain has told of a release since the last look.
    async fn has_news(&self, app: &HerokuApp) -> Result<bool, StoreError> {
        let since = match app.releases_at {
            None => return Ok(true),
            Some(at) => at - SETTLED - DYNOS_EVERY,
        };
        // A release is looked at until it has settled.
        if app.facts.released_at.is_some_and(|at| at > since) {
            return Ok(true);
        }
        self.store().has_unverified_releases(app.app, since).await
    }

    async fn sync_releases(&self, account: &HerokuAccount, app: &HerokuApp) -> Result<(), HerokuProblem> {
        let id = app.heroku_id.to_string();
        let releases = account.client.newest_releases(&id, RELEASES_MAX).await?;
        let known: HashSet<Uuid> = self.store().verified_releases(app.app).await?.into_iter().collect();
        let mut told = merge::releases(&releases, releases.len() < usize::from(RELEASES_MAX));
        told.retain(|release| !known.contains(&release.id));
        let mut asked = 0;
        for one in &mut told {
            let slug = releases.iter().find(|release| release.id == one.id).and_then(api::Release::slug);
            let Some(from_api) = one.release.from_api.as_mut().filter(|api| api.code_changed == Some(true)) else {
                continue;
            };
            if let Some(slug) = slug.filter(|_| asked < SLUGS_MAX) {
                asked += 1;
                match account.client.slug(&id, slug).await {
                    Ok(slug) => from_api.commit = slug.commit.map(|commit| short(&commit)),
                    // Old slugs are removed; the release is worth knowing without.
                    Err(error) if !concerns_all(&error) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        self.store().save_api_releases(app.app, &told, self.now() - SETTLED).await?;
        Ok(())
    }

    /// Drains and features of an app.
    pub(super) async fn sync_drains(
        &self,
        account: &HerokuAccount,
        app: HerokuApp,
    ) -> Result<HerokuApp, HerokuProblem> {
        let id = app.heroku_id.to_string();
        let now = self.now();
        let mut app = HerokuApp { next_drains_at: now + DRAINS_EVERY, drains_at: Some(now), ..app };
        if !app.facts.fir {
            let listed = account.client.log_drains(&id).await?;
            let mut drains = Vec::with_capacity(listed.len());
            for drain in &listed {
                drains.push(self.learn_drain(drain, app.app).await?);
            }
            app.drains = merge::merge(app.drains, drains, now);
            app.facts.runtime_metrics = match account.client.feature(&id, LOG_RUNTIME_METRICS).await {
                Ok(feature) => Some(feature.enabled),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            };
        }
        self.store().save_heroku_app(&app, Part::Drains).await?;
        self.load_apps().await?;
        Ok(app)
    }

    /// A drain as Heroku tells it; whose token it is, if it delivers here.
    async fn learn_drain(
        &self,
        drain: &api::LogDrain,
        app: AppId,
    ) -> Result<dynowatch_store::heroku::Drain, HerokuProblem> {
        let place = drain.place();
        let base = self.public_url();
        let path = place.as_ref().zip(base.as_ref().as_deref()).and_then(|(place, base)| place.below(base));
        let url_name = path.and_then(|path| path.strip_prefix("/drain/")).filter(|name| check_name(name).is_ok());
        let here = url_name.is_some() || matches!(path, Some("/drain" | "/api/internal/heroku-log-drain"));
        let ours = here || self.apps().by_token(&drain.token).is_some();
        if ours {
            self.store().learn_token(&drain.token, app, url_name, self.now()).await?;
        }
        let mark = place
            .as_ref()
            .and_then(|place| place.query(MARK_PARAM))
            .filter(|mark| ours && mark.len() <= MARK_BYTES_MAX);
        Ok(merge::drain(drain, ours, mark))
    }

    /// The row of an app, by our name for it, else by Heroku's; asked for if it is not known.
    pub(super) async fn heroku_app(
        &self,
        account: &Arc<HerokuAccount>,
        name: &str,
    ) -> Result<HerokuApp, HerokuProblem> {
        if let Some(row) = self.known_heroku_app(name).await? {
            return Ok(row);
        }
        let app = match account.client.app(name).await {
            Err(error) if error.is_not_found() => return Err(HerokuProblem::NoApp(name.to_owned())),
            app => app?,
        };
        let adopted = self.adopted_tokens().await?;
        let row = self.link(account, &app, &adopted, &mut SyncReport::default()).await?;
        self.load_apps().await?;
        Ok(row)
    }

    /// What the account said of an app, by our name for it, else by Heroku's.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn known_heroku_app(&self, name: &str) -> Result<Option<HerokuApp>, StoreError> {
        if let Some(app) = self.store().app_by_name(name).await?
            && let Some(row) = self.store().heroku_apps(Wanted::App(app.id)).await?.pop()
        {
            return Ok(Some(row));
        }
        Ok(self.store().heroku_apps(Wanted::Named(name)).await?.pop())
    }
}

/// What the audit log says of a name that Heroku gave.
fn renamed_by_heroku(old: &str, new: &str) -> Act {
    Actor::here("system").did("app.rename", old).with(format!("now {new}, as at Heroku"))
}

/// Heroku's names are good; what lies in its place is not taken.
fn check_name(name: &str) -> Result<(), HerokuProblem> {
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if good { Ok(()) } else { Err(HerokuProblem::Conflict(format!("{:?} is not a name for an app", short(name)))) }
}

fn short(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}
