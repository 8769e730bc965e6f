//! What operators ask of an app's log drains and features. The CLI and the API say the same things through here.

use std::sync::Arc;

use dynowatch_domain::NewId;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::drain_rotation::{DrainRef, Event, Rotation};
use dynowatch_heroku::LOG_RUNTIME_METRICS;
use dynowatch_store::StoreError;
use dynowatch_store::heroku::{Drain, HerokuApp, Part, SyncState};
use uuid::Uuid;

use super::sync::SyncReport;
use super::{HerokuAccount, HerokuProblem, PAUSE, in_time, merge};
use crate::Engine;
use crate::random::{RandomIds, bytes};
use crate::sharing::silent;

/// An app's drains, and the newest replacement of one.
#[derive(Debug, Clone)]
pub struct AppDrains {
    /// The app with its drains.
    pub app: HerokuApp,
    /// The newest rotation, if there is one.
    pub rotation: Option<Rotation>,
    /// The drains that deliver here and do not count now, because another one does.
    pub silent: Vec<Uuid>,
}

impl AppDrains {
    /// The drains that are there and deliver to this instance.
    pub fn ours(&self) -> impl Iterator<Item = &Drain> {
        self.app.drains.iter().filter(|drain| drain.ours && drain.gone_at.is_none())
    }

    /// The drains among them whose lines count now.
    pub fn counting(&self) -> impl Iterator<Item = &Drain> {
        self.ours().filter(|drain| !self.silent.contains(&drain.id))
    }

    /// Whether the lines of a drain count now; `None` for one that is gone or delivers elsewhere.
    #[must_use]
    pub fn counts(&self, drain: &Drain) -> Option<bool> {
        (drain.ours && drain.gone_at.is_none()).then(|| !self.silent.contains(&drain.id))
    }

    /// Whether lines of this app are counted more than once: several drains deliver here, and no rotation tells them apart.
    #[must_use]
    pub fn counted_twice(&self) -> bool {
        self.counting().count() > 1
    }

    /// Whether no line of this app is counted although a drain delivers: the one that counts is gone.
    #[must_use]
    pub fn counts_nothing(&self) -> bool {
        !self.silent.is_empty() && self.counting().next().is_none()
    }

    /// Whether this is the one drain that counts, and another is there that does not.
    #[must_use]
    pub fn must_stay(&self, drain: &Drain) -> bool {
        !self.silent.is_empty() && self.counting().map(|one| one.id).eq([drain.id])
    }
}

impl Engine {
    /// The drains of an app, as Heroku tells them now.
    ///
    /// # Errors
    /// Without a key, for an app that is not there or runs on Fir, and when Heroku or the store does not answer.
    pub async fn drains(&self, name: &str) -> Result<AppDrains, HerokuProblem> {
        let account = self.heroku()?;
        in_time(self.fresh(&account, name)).await
    }

    async fn fresh(&self, account: &Arc<HerokuAccount>, name: &str) -> Result<AppDrains, HerokuProblem> {
        let app = self.heroku_app(account, name).await?;
        if app.facts.fir {
            return Err(HerokuProblem::Fir(name.to_owned()));
        }
        let app = self.sync_drains(account, app).await?;
        Ok(self.stored_drains(app).await?)
    }

    /// The drains of an app as they were last read: nothing is asked of Heroku.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn stored_drains(&self, app: HerokuApp) -> Result<AppDrains, StoreError> {
        let mut rotations = self.store().rotations().await?;
        rotations.retain(|rotation| rotation.app == app.app);
        let silent = silent(&app, &rotations, self.now());
        Ok(AppDrains { rotation: rotations.pop(), silent, app })
    }

    /// The drains after a change that Heroku has made: as it tells them now, or, if it does not, as they must be. What was
    /// done is no failure because a second look failed.
    async fn look_after(
        &self,
        account: &Arc<HerokuAccount>,
        name: &str,
        app: HerokuApp,
    ) -> Result<AppDrains, HerokuProblem> {
        let app = HerokuApp { next_drains_at: self.now(), ..app };
        self.store().save_heroku_app(&app, Part::Drains).await?;
        match self.fresh(account, name).await {
            Err(HerokuProblem::Heroku(error)) => {
                tracing::warn!(%error, app = name, "the drains could not be read after a change");
                Ok(self.stored_drains(app).await?)
            }
            drains => drains,
        }
    }

    /// Adds a drain of an app to this instance.
    ///
    /// # Errors
    /// As [`Engine::drains`]; also when there is one already, or no URL can be made.
    pub async fn add_drain(&self, name: &str, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        in_time(self.add_now(name, by)).await
    }

    async fn add_now(&self, name: &str, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        let account = self.heroku()?;
        let before = self.fresh(&account, name).await?;
        if before.counts_nothing() {
            let ids: Vec<String> = before.silent.iter().map(Uuid::to_string).collect();
            return Err(HerokuProblem::Conflict(format!(
                "{name} has a drain to this instance whose lines do not count ({}): remove it first, with `dynowatch drain \
                 remove --app {name}`",
                ids.join(", ")
            )));
        }
        if let Some(drain) = before.ours().next() {
            return Err(HerokuProblem::Conflict(format!(
                "{name} has a drain to this instance already ({}): a second one would count every line twice; \
                 `dynowatch drain rotate --app {name}` replaces it",
                drain.id
            )));
        }
        let ours = self.store().app_name(before.app.app).await?.unwrap_or_else(|| name.to_owned());
        // From a Private Space a drain without a mark cannot be told from the one that was there before, which counts no more.
        let mark = (before.rotation.is_some() || before.app.facts.space.is_some()).then(fresh_mark);
        let url = (account.drain_url)(&ours, mark.as_deref()).map_err(HerokuProblem::NoDrainUrl)?;
        self.store().audit(&by.did("drain.add", name), self.now()).await?;
        let drain = account.client.create_log_drain(&before.app.heroku_id.to_string(), &url).await?;
        self.store().learn_token(&drain.token, before.app.app, Some(&ours), self.now()).await?;
        self.load_apps().await?;
        tracing::info!(app = name, by = by.name, "a log drain was added");
        let mut app = before.app;
        app.drains.insert(0, merge::drain(&drain, true, mark));
        self.look_after(&account, name, app).await
    }

    /// Removes a drain of an app to this instance: the one with this id, or the only one.
    ///
    /// # Errors
    /// As [`Engine::drains`]; also when there is none, when it must be said which, when it is being replaced, when it is the
    /// one that counts and another is there that does not, and for drains to elsewhere.
    pub async fn remove_drain(&self, name: &str, drain: Option<Uuid>, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        in_time(self.remove_now(name, drain, by)).await
    }

    async fn remove_now(&self, name: &str, drain: Option<Uuid>, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        let account = self.heroku()?;
        let before = self.fresh(&account, name).await?;
        let drain = chosen(&before, name, drain)?.clone();
        if let Some(rotation) = before.rotation.as_ref().filter(|rotation| rotation.next_at.is_some()) {
            return Err(HerokuProblem::Conflict(format!(
                "a drain of {name} is being replaced ({}): wait for its end, or end it with `dynowatch drain rotate --app {name} --abandon`",
                rotation.state.as_str()
            )));
        }
        if before.must_stay(&drain) {
            let ids: Vec<String> = before.silent.iter().map(Uuid::to_string).collect();
            return Err(HerokuProblem::Conflict(format!(
                "{} is the drain of {name} that counts; {} delivers as well and does not count: remove that one",
                drain.id,
                ids.join(", ")
            )));
        }
        self.store().audit(&by.did("drain.remove", name).with(drain.id.to_string()), self.now()).await?;
        match account.client.delete_log_drain(&before.app.heroku_id.to_string(), drain.id).await {
            Ok(()) => tracing::info!(app = name, drain = %drain.id, by = by.name, "a log drain was removed"),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let mut app = before.app;
        let now = self.now();
        app.drains.iter_mut().filter(|known| known.id == drain.id).for_each(|known| known.gone_at = Some(now));
        self.look_after(&account, name, app).await
    }

    /// Begins to replace the drain of an app to this instance by a new one: the one with this id, or the only one. The new
    /// one is added at once if Heroku answers; the loops of a running instance do the rest.
    ///
    /// # Errors
    /// As [`Engine::remove_drain`]; also when no URL can be made.
    pub async fn rotate_drain(&self, name: &str, drain: Option<Uuid>, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        in_time(self.rotate_now(name, drain, by)).await
    }

    async fn rotate_now(&self, name: &str, drain: Option<Uuid>, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        let account = self.heroku()?;
        let before = self.fresh(&account, name).await?;
        let old = chosen(&before, name, drain)?;
        let is_open = before.rotation.as_ref().is_some_and(|rotation| rotation.next_at.is_some());
        if !is_open && before.counts(old) == Some(false) {
            return Err(HerokuProblem::Conflict(format!(
                "{} delivers and does not count, so there is nothing to replace: `dynowatch drain remove --app {name} --drain \
                 {}` removes it",
                old.id, old.id
            )));
        }
        let old_mark = old.mark.clone();
        let old = DrainRef { id: old.id, token: old.token.clone() };
        let mark = fresh_mark();
        // What cannot be made need not be begun.
        self.rotation_url(&account, &before.app, &mark).await?;
        let now = self.now();
        let rotation =
            Rotation { old_mark, ..Rotation::new(RandomIds.new_id(now), before.app.app, mark, old, &by.name, now) };
        self.store().audit(&by.did("drain.rotate", name).with(rotation.old.id.to_string()), now).await?;
        self.store().begin_rotation(&rotation).await.map_err(|error| match error {
            dynowatch_store::StoreError::Conflict(problem) => HerokuProblem::Conflict(problem),
            error => error.into(),
        })?;
        tracing::info!(app = name, by = by.name, "a log drain is being replaced");
        self.load_sharing().await?;
        self.advance(&account, rotation).await?;
        self.look_after(&account, name, before.app).await
    }

    /// Ends a rotation: the old drain stays. Where that is too late, and a drain cannot be removed, nothing more is tried.
    ///
    /// # Errors
    /// When none is open, or the new drain has taken over and the old one is about to be removed.
    pub async fn abandon_rotation(&self, name: &str, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        in_time(self.tell_rotation(name, Event::Abandon, by)).await
    }

    /// Lets the new drain take over without waiting for its first delivery, for an app that is silent.
    ///
    /// # Errors
    /// When no rotation is open that waits for it.
    pub async fn proceed_rotation(&self, name: &str, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        in_time(self.tell_rotation(name, Event::Proceed, by)).await
    }

    async fn tell_rotation(&self, name: &str, event: Event, by: &Actor) -> Result<AppDrains, HerokuProblem> {
        let account = self.heroku()?;
        let app = self.heroku_app(&account, name).await?;
        let open = self.store().newest_rotation(app.app).await?.filter(|rotation| rotation.next_at.is_some());
        let rotation = open.ok_or_else(|| HerokuProblem::NotFound(format!("no drain of {name} is being replaced")))?;
        let action = if event == Event::Abandon { "drain.rotate.abandon" } else { "drain.rotate.proceed" };
        let next = rotation.step(event, self.now())?;
        self.store().audit(&by.did(action, name), self.now()).await?;
        tracing::info!(app = name, by = by.name, state = next.state.as_str(), "an operator moved a rotation on");
        if !self.store().save_rotation(&next).await? {
            return Err(HerokuProblem::Conflict("it has just moved on by itself: look, then try again".to_owned()));
        }
        self.load_sharing().await?;
        self.advance(&account, next).await?;
        self.look_after(&account, name, app).await
    }

    /// Asks for the lists of apps and add-ons now, or tells what they said if they were asked for seconds ago; what concerns
    /// single apps is due at once, and the loop reads it as its budget allows.
    ///
    /// # Errors
    /// Without a key, and when Heroku or the store does not answer.
    pub async fn heroku_lists_now(&self, by: &Actor) -> Result<SyncReport, HerokuProblem> {
        let account = self.heroku()?;
        self.store().audit(&by.did("heroku.sync", ""), self.now()).await?;
        let report = in_time(self.lists_again(&account)).await?;
        // Whoever asks has seen to what was wrong.
        let now = self.now();
        let unpaused = SyncState { next_at: now, done_at: None, problem: None };
        self.store().save_heroku_sync(PAUSE, &unpaused).await?;
        self.store().heroku_apps_due(now).await?;
        Ok(report)
    }

    /// Switches `log-runtime-metrics` of an app. It takes effect at the next restart of each dyno.
    ///
    /// # Errors
    /// As [`Engine::drains`].
    pub async fn set_runtime_metrics(&self, name: &str, on: bool, by: &Actor) -> Result<HerokuApp, HerokuProblem> {
        in_time(self.switch_now(name, on, by)).await
    }

    async fn switch_now(&self, name: &str, on: bool, by: &Actor) -> Result<HerokuApp, HerokuProblem> {
        let account = self.heroku()?;
        let mut app = self.heroku_app(&account, name).await?;
        if app.facts.fir {
            return Err(HerokuProblem::Fir(name.to_owned()));
        }
        let id = app.heroku_id.to_string();
        let act = by.did("app.runtime_metrics", name).with(if on { "on" } else { "off" });
        self.store().audit(&act, self.now()).await?;
        let feature = account.client.set_feature(&id, LOG_RUNTIME_METRICS, on).await?;
        tracing::info!(app = name, by = by.name, on, "log-runtime-metrics was switched");
        app.facts.runtime_metrics = Some(feature.enabled);
        self.store().save_heroku_app(&app, Part::Drains).await?;
        Ok(app)
    }
}

/// What tells a drain of ours from another one of its app.
fn fresh_mark() -> String {
    format!("{:016x}", u64::from_le_bytes(bytes()))
}

/// The drain that is meant.
fn chosen<'a>(drains: &'a AppDrains, name: &str, id: Option<Uuid>) -> Result<&'a Drain, HerokuProblem> {
    let ours: Vec<&Drain> = drains.ours().collect();
    if let Some(id) = id {
        let there = drains.app.drains.iter().find(|drain| drain.id == id && drain.gone_at.is_none());
        let drain = there.ok_or_else(|| HerokuProblem::NotFound(format!("{name} has no drain {id}")))?;
        if !drain.ours {
            return Err(HerokuProblem::Conflict(format!(
                "{id} delivers to {}, not here: `heroku drains:remove` removes it",
                drain.host
            )));
        }
        return Ok(drain);
    }
    match ours.as_slice() {
        [one] => Ok(one),
        [] => Err(HerokuProblem::NotFound(format!(
            "{name} has no drain to this instance; `dynowatch drain add --app {name}` adds one"
        ))),
        several => {
            let named = |drain: &&Drain| {
                let counts = if drains.counts(drain) == Some(true) { "counts" } else { "does not count" };
                format!("{} ({counts})", drain.id)
            };
            let ids: Vec<String> = several.iter().map(named).collect();
            Err(HerokuProblem::Conflict(format!(
                "{name} has several drains to this instance; say which: {}",
                ids.join(", ")
            )))
        }
    }
}
