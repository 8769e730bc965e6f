//! What operators and drains ask of the engine outside the flow of lines: apps are adopted and renamed, alerts closed, rules
//! switched off for a while, receivers tried out. The CLI and the API say the same things through here.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::alert::ResolveReason;
use dynowatch_domain::app_name::{APP_NAME_WANTED, adopted_name, is_app_name};
use dynowatch_domain::key::Key;
use dynowatch_domain::{AppId, DeliveryId, NewId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::rules::RuleOverride;

use crate::apps::App;
use crate::evaluate::{Input, gone};
use crate::random::RandomIds;
use crate::{Engine, test_notice};

/// The app that stands for this instance, where no other is to blame.
pub const OWN_APP: &str = "dynowatch";
/// Where lines of apps beyond the limit are counted.
pub const OTHER_APP: &str = "other";
/// Apps that stand for something else: this instance itself, and those beyond the limit.
const STAND_INS: [&str; 2] = [OWN_APP, OTHER_APP];

/// Whether an app of that name is no app of the team's.
pub(crate) fn is_stand_in(name: &str) -> bool {
    STAND_INS.contains(&name)
}

/// What an operator asked for and cannot have.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// No app of that name.
    #[error("no app is named {name:?}; known are: {known}")]
    NoApp {
        /// The name.
        name: String,
        /// Some names that exist.
        known: String,
    },
    /// No rule of that name.
    #[error("no rule is named {name:?}; `dynowatch rules list` shows all")]
    NoRule {
        /// The name.
        name: String,
    },
    /// No receiver of that name.
    #[error("no receiver is named {name:?}; known are: {known}")]
    NoReceiver {
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// Not a name.
    #[error("{0}")]
    BadName(String),
    /// Not a key.
    #[error("{0:?} is not a key: write rule/app or rule/app/group, as `dynowatch alerts list` prints it")]
    BadKey(String),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Engine {
    /// The app of a drain token whose delivery was authentic. A token not seen before makes an app named after it.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn app_of_token(&self, token: &str) -> Result<Arc<App>, StoreError> {
        if let Some(app) = self.apps().by_token(token) {
            return Ok(Arc::clone(app));
        }
        let shared = &*self.shared;
        let now = shared.clock.now();
        if self.apps_are_full(0) {
            shared.stats.apps_overflowed.up();
            return self.app_named(OTHER_APP).await;
        }
        let (id, name) = (AppId(RandomIds.new_id(now)), adopted_name(token));
        let app = shared.store.adopt_app(id, token, &name, AppOrigin::Adopted, now).await?;
        tracing::info!(
            app = app.name,
            "a drain not seen before delivers; its app is named after its token until it is renamed"
        );
        self.load_apps().await?;
        let directory = self.apps();
        directory.by_id(app.id).cloned().ok_or_else(|| StoreError::NotFound(format!("app {}", app.name)))
    }

    /// The app of that name, made on first use. For drains whose URL names the app.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn app_named(&self, name: &str) -> Result<Arc<App>, StoreError> {
        if let Some(app) = self.apps().by_name(name) {
            return Ok(Arc::clone(app));
        }
        let shared = &*self.shared;
        let now = shared.clock.now();
        let name = if !is_stand_in(name) && self.apps_are_full(0) {
            shared.stats.apps_overflowed.up();
            if let Some(other) = self.apps().by_name(OTHER_APP) {
                return Ok(Arc::clone(other));
            }
            OTHER_APP
        } else {
            name
        };
        let app = shared.store.ensure_app(AppId(RandomIds.new_id(now)), name, AppOrigin::Url, now).await?;
        self.load_apps().await?;
        let directory = self.apps();
        directory.by_id(app.id).cloned().ok_or_else(|| StoreError::NotFound(format!("app {}", app.name)))
    }

    /// Whether no further app may be made, when so many more are under way. Stand-ins take no place of anybody's.
    pub(crate) fn apps_are_full(&self, under_way: usize) -> bool {
        let apps = self.apps();
        let stand_ins = STAND_INS.iter().filter(|name| apps.by_name(name).is_some()).count();
        apps.len().saturating_sub(stand_ins) + under_way >= self.shared.limits.apps
    }

    /// Gives an app another name. Its alerts, windows and drains stay its own.
    ///
    /// # Errors
    /// When there is no such app, the name is taken or no name, or the store does not answer.
    pub async fn rename_app(&self, from: &str, to: &str, by: &Actor) -> Result<(), OperateError> {
        let app = self.find_app(from)?;
        if !is_app_name(to) {
            return Err(OperateError::BadName(format!("{to:?} is not a name for an app: use {APP_NAME_WANTED}")));
        }
        let act = by.did("app.rename", from).with(format!("now {to}"));
        self.shared.store.rename_app(app.id, to, &act, self.now()).await?;
        self.load_apps().await?;
        Ok(())
    }

    fn find_app(&self, name: &str) -> Result<Arc<App>, OperateError> {
        let apps = self.apps();
        apps.by_name(name).cloned().ok_or_else(|| {
            let mut known: Vec<&str> = apps.iter().map(|app| app.name.as_str()).collect();
            known.sort_unstable();
            known.truncate(10);
            OperateError::NoApp { name: name.to_owned(), known: known.join(", ") }
        })
    }

    /// Closes the alert that is open under a key such as `h12/shop-web`. Closing what is not open does nothing.
    /// Returns whether something was open.
    ///
    /// # Errors
    /// When the key is not one, or the store does not answer.
    pub async fn close_alert(&self, key: &str, by: &Actor) -> Result<bool, OperateError> {
        let act = by.did("alert.resolve", key);
        let mut parts = key.splitn(3, '/');
        let (Some(rule), Some(app)) = (parts.next(), parts.next()) else {
            return Err(OperateError::BadKey(key.to_owned()));
        };
        let group = parts.next().unwrap_or_default().to_owned();
        // An app that is not known has nothing open.
        let Some(found) = self.apps().by_name(app).map(|app| app.id) else { return Ok(false) };
        let key = Key { app: found, rule: rule.to_owned(), group: dynowatch_domain::key::Group(group) };
        let shared = &*self.shared;
        if shared.store.find_open_by_key(&key.rule, app, &key.group.0).await?.is_none() {
            return Ok(false);
        }
        let rule = shared.book.load().get(&key.rule).cloned();
        let rule = rule.or_else(|| shared.checks.rule(&key.rule)).unwrap_or_else(|| gone(&key));
        let input = Input::Close(ResolveReason::ClosedByOperator { by: by.name.clone() });
        shared.evaluator.lock().await.apply(shared, vec![(key, rule, input)], vec![act]).await?;
        shared.deliveries_due.notify_one();
        Ok(true)
    }

    /// Switches a rule off until then. What is open under it is closed without a message.
    ///
    /// # Errors
    /// When there is no such rule or the store does not answer.
    pub async fn disable_rule(&self, name: &str, lasting: Duration, by: &Actor) -> Result<Timestamp, OperateError> {
        if self.rules().get(name).is_none() {
            return Err(OperateError::NoRule { name: name.to_owned() });
        }
        let now = self.now();
        let until = now + lasting;
        let over =
            RuleOverride { rule: name.to_owned(), disabled_until: until, by_whom: by.name.clone(), created_at: now };
        let act = by.did("rule.disable", name).with(format!("until {until}"));
        self.shared.store.disable_rule(&over, &act).await?;
        self.refresh_pass().await?;
        Ok(until)
    }

    /// Switches a rule on again before its time. Returns whether it was switched off.
    ///
    /// # Errors
    /// When there is no such rule or the store does not answer.
    pub async fn enable_rule(&self, name: &str, by: &Actor) -> Result<bool, OperateError> {
        if self.rules().get(name).is_none() {
            return Err(OperateError::NoRule { name: name.to_owned() });
        }
        let was = self.shared.store.enable_rule(name, &by.did("rule.enable", name), self.now()).await?;
        self.refresh_pass().await?;
        Ok(was)
    }

    /// Puts a marked test message for a receiver into the outbox, where it takes the way of every message.
    ///
    /// # Errors
    /// When there is no such receiver or the store does not answer.
    pub async fn test_receiver(&self, name: &str, by: &Actor) -> Result<DeliveryId, OperateError> {
        let receivers = self.receivers();
        if receivers.get(name).is_none() {
            let known = receivers.names().collect::<Vec<_>>().join(", ");
            return Err(OperateError::NoReceiver { name: name.to_owned(), known });
        }
        let now = self.now();
        let id = DeliveryId(RandomIds.new_id(now));
        self.shared
            .store
            .insert_test_delivery(id, name, &test_notice(name, now), &by.did("receiver.test", name), now)
            .await?;
        self.shared.deliveries_due.notify_one();
        Ok(id)
    }
}
