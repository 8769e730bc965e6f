//! Drains being replaced, step by step: one call to Heroku, then one write. A process that dies in between leaves the row
//! as it was; whoever goes on looks first whether the call has done its work.

use dynowatch_domain::drain_rotation::{Call, DrainRef, Event, Rotation};
use dynowatch_heroku::{Error, ErrorId, LogDrain};
use dynowatch_store::StoreError;
use dynowatch_store::heroku::{HerokuApp, Part, Wanted};
use secrecy::SecretString;

use super::{HerokuAccount, HerokuProblem};
use crate::Engine;
use crate::sharing::MARK_PARAM;

impl Engine {
    /// Moves every rotation on whose time has come.
    pub(super) async fn rotations_pass(&self, account: &HerokuAccount) -> Result<(), StoreError> {
        for rotation in self.store().due_rotations(self.now()).await? {
            if !self.holds_heroku_lease().await? {
                return Ok(());
            }
            self.advance(account, rotation).await?;
        }
        Ok(())
    }

    /// Makes the call that a rotation waits for, and writes down what came of it.
    pub(super) async fn advance(&self, account: &HerokuAccount, rotation: Rotation) -> Result<(), StoreError> {
        if rotation.next_at.is_none_or(|at| at > self.now()) {
            return Ok(());
        }
        let Some(app) = self.store().heroku_apps(Wanted::App(rotation.app)).await?.pop() else {
            return self.move_on(rotation, Event::Delayed("the app is not known at Heroku any more".to_owned())).await;
        };
        let event = match rotation.call() {
            Call::Nothing => Event::Wake,
            Call::Create => self.create(account, &app, &rotation).await?,
            Call::RemoveOld => removed(account, &app, rotation.old.id).await,
            Call::RemoveNew => match self.find_new(account, &app, &rotation).await {
                Ok(Some(drain)) => removed(account, &app, drain.id).await,
                Ok(None) => Event::Removed,
                Err(error) => Event::Delayed(error.to_string()),
            },
        };
        let gone = event == Event::Removed;
        self.move_on(rotation, event).await?;
        if gone {
            // The list of drains changed.
            self.store().save_heroku_app(&HerokuApp { next_drains_at: self.now(), ..app }, Part::Schedule).await?;
        }
        Ok(())
    }

    async fn move_on(&self, rotation: Rotation, event: Event) -> Result<(), StoreError> {
        let next = match rotation.step(event, self.now()) {
            Ok(next) => next,
            Err(illegal) => {
                tracing::error!(%illegal, "a rotation was to do what it cannot");
                return Ok(());
            }
        };
        if !self.store().save_rotation(&next).await? {
            // Somebody else moved it; the next pass sees where it stands.
            return Ok(());
        }
        if next.state != rotation.state {
            tracing::info!(state = next.state.as_str(), problem = next.problem, "a log drain is being replaced");
        }
        self.load_sharing().await
    }

    /// Adds the new drain, unless an earlier try did.
    async fn create(&self, account: &HerokuAccount, app: &HerokuApp, rotation: &Rotation) -> Result<Event, StoreError> {
        let created = match self.find_new(account, app, rotation).await {
            Ok(Some(drain)) => Ok(drain),
            Ok(None) => match self.rotation_url(account, app, &rotation.mark).await {
                Ok(url) => account.client.create_log_drain(&app.heroku_id.to_string(), &url).await,
                Err(HerokuProblem::Store(error)) => return Err(error),
                Err(problem) => return Ok(Event::Refused(problem.to_string())),
            },
            Err(error) => Err(error),
        };
        match created {
            Ok(drain) => {
                let name = self.store().app_name(app.app).await?;
                self.store().learn_token(&drain.token, app.app, name.as_deref(), self.now()).await?;
                self.load_apps().await?;
                Ok(Event::Created(DrainRef { id: drain.id, token: drain.token }))
            }
            // Another process was faster with the same URL: the next try finds its drain.
            Err(error) if error.id() == Some(ErrorId::InvalidParams) => {
                match self.find_new(account, app, rotation).await {
                    Ok(None) => Ok(Event::Refused(error.to_string())),
                    _ => Ok(Event::Delayed(error.to_string())),
                }
            }
            Err(error) if is_final(&error) => Ok(Event::Refused(error.to_string())),
            Err(error) => Ok(Event::Delayed(error.to_string())),
        }
    }

    async fn find_new(
        &self,
        account: &HerokuAccount,
        app: &HerokuApp,
        rotation: &Rotation,
    ) -> Result<Option<LogDrain>, Error> {
        let id = rotation.new.as_ref().map(|new| new.id);
        let drains = account.client.log_drains(&app.heroku_id.to_string()).await?;
        Ok(drains.into_iter().find(|drain| {
            let mark = drain.place().and_then(|place| place.query(MARK_PARAM));
            Some(drain.id) == id || mark.as_deref() == Some(&rotation.mark)
        }))
    }

    /// The URL of the new drain.
    pub(super) async fn rotation_url(
        &self,
        account: &HerokuAccount,
        app: &HerokuApp,
        mark: &str,
    ) -> Result<SecretString, HerokuProblem> {
        let name = self.store().app_name(app.app).await?.unwrap_or_else(|| app.name.clone());
        (account.drain_url)(&name, Some(mark)).map_err(HerokuProblem::NoDrainUrl)
    }
}

async fn removed(account: &HerokuAccount, app: &HerokuApp, drain: uuid::Uuid) -> Event {
    match account.client.delete_log_drain(&app.heroku_id.to_string(), drain).await {
        Ok(()) => Event::Removed,
        Err(error) if error.is_not_found() => Event::Removed,
        Err(error) => Event::Delayed(error.to_string()),
    }
}

/// Trying again changes nothing.
fn is_final(error: &Error) -> bool {
    matches!(error.id(), Some(ErrorId::NotFound | ErrorId::Forbidden | ErrorId::BadRequest))
        || matches!(error, Error::Unusable(_))
}
