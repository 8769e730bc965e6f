//! Rules, receivers, checks and maintenance windows that were made in the console: how they come into force beside those of the file, in this process
//! and in every other. What such an object means is said by the reader of the configuration file, which the binary hands
//! in as a [`Compose`]; the rows are the store's.

use std::sync::Arc;

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{NAME_BYTES_MAX, Origin, Rule};
use dynowatch_notify::Receivers;
use dynowatch_store::objects::{Object, ObjectKind, ObjectsVersion};
use dynowatch_store::{Store, StoreError};
use serde_json::Value;

use crate::checks::ChecksConfig;
use crate::rules::RuleBook;
use crate::{Engine, Shared, timers};

/// Objects of one kind. The console is for a handful; who has more writes a file.
pub const OBJECTS_MAX: usize = 500;

/// All objects of the store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Rules, by name.
    pub rules: Vec<Object>,
    /// Receivers, by name.
    pub receivers: Vec<Object>,
    /// Checks, by name.
    pub checks: Vec<Object>,
    /// Maintenance windows, by name.
    pub windows: Vec<Object>,
}

impl Objects {
    /// Those of a kind.
    #[must_use]
    pub fn of(&self, kind: ObjectKind) -> &[Object] {
        match kind {
            ObjectKind::Rule => &self.rules,
            ObjectKind::Receiver => &self.receivers,
            ObjectKind::Check => &self.checks,
            ObjectKind::Maintenance => &self.windows,
        }
    }

    /// The same with one object of that name in place of another, or beside the others.
    #[must_use]
    pub fn with(mut self, kind: ObjectKind, name: &str, body: &Value) -> Self {
        let objects = match kind {
            ObjectKind::Rule => &mut self.rules,
            ObjectKind::Receiver => &mut self.receivers,
            ObjectKind::Check => &mut self.checks,
            ObjectKind::Maintenance => &mut self.windows,
        };
        objects.retain(|object| object.name != name);
        let at = Timestamp::UNIX_EPOCH;
        let by_whom = String::new();
        objects.push(Object { name: name.to_owned(), body: body.clone(), by_whom, created_at: at, changed_at: at });
        self
    }
}

/// What is in force when the file and the objects are put together.
pub struct Composed {
    /// All rules; those of objects have [`Origin::Store`].
    pub rules: Vec<Rule>,
    /// All receivers.
    pub receivers: Receivers,
    /// What must never leave, the secrets of the objects' receivers among it.
    pub masker: Masker,
    /// Checks, maintenance windows, control targets.
    pub checks: ChecksConfig,
    /// Objects that cannot be used: what kind, which, and why.
    pub unusable: Vec<(ObjectKind, String, String)>,
}

/// What is wrong with an object, at one of its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key in the object's table, as in `match.regex`; empty for the object as a whole.
    pub key: String,
    /// What is wrong and what would be right.
    pub text: String,
}

/// Puts the configuration file and objects together.
pub trait Compose: Send + Sync {
    /// Everything in force. An object that cannot be used is left out and named.
    ///
    /// # Errors
    /// When even the file alone cannot be used any more.
    fn compose(&self, objects: &Objects) -> Result<Composed, String>;

    /// What is wrong with one object among the others. Empty when nothing is.
    fn problems(&self, objects: &Objects, kind: ObjectKind, name: &str) -> Vec<Problem>;
}

/// Why an object was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Its values, key by key.
    #[error("{}", .0.iter().map(|problem| format!("{}: {}", problem.key, problem.text)).collect::<Vec<_>>().join("; "))]
    Wrong(Vec<Problem>),
    /// This instance has no way to read objects.
    #[error("this instance takes rules and receivers from its file only")]
    FileOnly,
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ObjectError {
    pub(crate) fn at(key: &str, text: String) -> Self {
        Self::Wrong(vec![Problem { key: key.to_owned(), text }])
    }
}

/// What the composed configuration was made from.
#[derive(Default)]
pub(crate) struct Composition {
    /// None: the file alone counts.
    pub(crate) compose: Option<Arc<dyn Compose>>,
    pub(crate) version: Option<ObjectsVersion>,
    pub(crate) unusable: Vec<(ObjectKind, String, String)>,
}

/// All objects, as they are now.
pub(crate) async fn load(store: &Store) -> Result<Objects, StoreError> {
    Ok(Objects {
        rules: store.objects(ObjectKind::Rule).await?,
        receivers: store.objects(ObjectKind::Receiver).await?,
        checks: store.objects(ObjectKind::Check).await?,
        windows: store.objects(ObjectKind::Maintenance).await?,
    })
}

impl Engine {
    /// All objects of the console.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn objects(&self) -> Result<Objects, StoreError> {
        load(&self.shared.store).await
    }

    /// Whether objects can be made in the console.
    pub async fn takes_objects(&self) -> bool {
        self.shared.configuring.lock().await.compose.is_some()
    }

    /// Objects that cannot be used as things stand: what kind, which, and why.
    pub async fn unusable_objects(&self) -> Vec<(ObjectKind, String, String)> {
        self.shared.configuring.lock().await.unusable.clone()
    }

    /// What is wrong with an object, before it is kept. Empty when nothing is.
    ///
    /// # Errors
    /// When the store does not answer or this instance takes no objects.
    pub async fn object_problems(
        &self,
        kind: ObjectKind,
        name: &str,
        body: &Value,
    ) -> Result<Vec<Problem>, ObjectError> {
        let compose = self.shared.configuring.lock().await.compose.clone().ok_or(ObjectError::FileOnly)?;
        let objects = self.objects().await?.with(kind, name, body);
        Ok(compose.problems(&objects, kind, name))
    }

    /// Keeps an object and puts it in force; here at once, elsewhere with the next refresh. `is_new` refuses a name that
    /// is taken, as names of the file are in any case.
    ///
    /// # Errors
    /// When something is wrong with it, or the store does not answer; then nothing changed.
    pub async fn save_object(
        &self,
        kind: ObjectKind,
        name: &str,
        body: &Value,
        by: &Actor,
        is_new: bool,
    ) -> Result<(), ObjectError> {
        let objects = self.objects().await?;
        if is_new && !is_name(name) {
            return Err(ObjectError::at(
                "name",
                format!("{name:?} is not a name: write 1 to {NAME_BYTES_MAX} of a-z, 0-9, - _ and ."),
            ));
        }
        if is_new && (objects.of(kind).iter().any(|object| object.name == name) || self.is_taken(kind, name)) {
            return Err(ObjectError::at("name", format!("there is a {} named {name:?} already", kind.as_str())));
        }
        if is_new && objects.of(kind).len() >= OBJECTS_MAX {
            return Err(ObjectError::at(
                "",
                format!("there are {OBJECTS_MAX} of them already: write further ones into the file"),
            ));
        }
        let problems = self.object_problems(kind, name, body).await?;
        if !problems.is_empty() {
            return Err(ObjectError::Wrong(problems));
        }
        let (store, now) = (&self.shared.store, self.now());
        if is_new {
            let (name, body, by_whom) = (name.to_owned(), body.clone(), by.name.clone());
            let act = by.did(created(kind), &name);
            store.create_object(kind, &Object { name, body, by_whom, created_at: now, changed_at: now }, &act).await?;
        } else {
            store.change_object(kind, name, body, &by.name, &by.did(changed(kind), name), now).await?;
        }
        tracing::info!(kind = kind.as_str(), name, by = by.name, is_new, "an object of the console was saved");
        self.apply_objects(true).await?;
        if kind == ObjectKind::Check {
            // It has its row at once, and its token if it is a heartbeat.
            self.register(now).await?;
        }
        Ok(())
    }

    /// Forgets an object. What is open under a rule that is gone is closed. Returns whether it was there.
    ///
    /// # Errors
    /// When another object needs it, or the store does not answer.
    pub async fn delete_object(&self, kind: ObjectKind, name: &str, by: &Actor) -> Result<bool, ObjectError> {
        if kind == ObjectKind::Receiver {
            let (rules, book) = (self.rules(), self.check_book());
            let sends = |receivers: &[String]| receivers.iter().any(|receiver| receiver == name);
            let of_rules = rules.iter().filter(|rule| sends(&rule.receivers)).map(|rule| rule.name.as_str());
            let of_checks = book.checks.values().filter(|check| sends(&check.receivers)).map(|check| &*check.name);
            needed_by("these send to it", of_rules.chain(of_checks).collect())?;
        }
        if kind == ObjectKind::Check {
            let book = self.check_book();
            let children = book.checks.values().filter(|check| check.parent.as_deref() == Some(name));
            needed_by("these checks have it as their parent", children.map(|check| &*check.name).collect())?;
        }
        self.is_free(kind, name)?;
        let was = self.shared.store.delete_object(kind, name, &by.did(deleted(kind), name), self.now()).await?;
        if was {
            tracing::info!(kind = kind.as_str(), name, by = by.name, "an object of the console was deleted");
            self.apply_objects(true).await?;
            self.close_orphans().await?;
        }
        Ok(was)
    }

    /// Whether no check needs it: as its receiver, or as its parent.
    fn is_free(&self, kind: ObjectKind, name: &str) -> Result<(), ObjectError> {
        let book = self.check_book();
        let needs = |check: &&Arc<dynowatch_domain::check::Check>| match kind {
            ObjectKind::Receiver => check.receivers.iter().any(|receiver| receiver == name),
            ObjectKind::Check => check.parent.as_deref() == Some(name),
            ObjectKind::Rule | ObjectKind::Maintenance => false,
        };
        let users: Vec<&str> = book.checks.values().filter(needs).map(|check| check.name.as_str()).collect();
        if users.is_empty() {
            return Ok(());
        }
        let how = if kind == ObjectKind::Check { "have it as their parent" } else { "send to it" };
        Err(ObjectError::at("", format!("these checks {how}: {}. Change them first", users.join(", "))))
    }

    fn is_taken(&self, kind: ObjectKind, name: &str) -> bool {
        match kind {
            // A built-in rule may be replaced, as by the file.
            ObjectKind::Rule => self.rules().get(name).is_some_and(|rule| rule.origin != Origin::BuiltIn),
            ObjectKind::Receiver => self.receivers().get(name).is_some(),
            ObjectKind::Check => self.check_book().checks.contains_key(name),
            ObjectKind::Maintenance => self.check_book().windows.iter().any(|window| window.name == name),
        }
    }

    /// Puts the objects of the store in force, if they changed or `always`.
    ///
    /// # Errors
    /// When the store does not answer; what was in force stays.
    pub(crate) async fn apply_objects(&self, always: bool) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let mut composition = shared.configuring.lock().await;
        let Some(compose) = composition.compose.clone() else { return Ok(()) };
        let version = shared.store.objects_version().await?;
        if !always && composition.version == Some(version) {
            return Ok(());
        }
        let objects = load(&shared.store).await?;
        match compose.compose(&objects) {
            Ok(composed) => composition.unusable = shared.put_in_force(composed),
            Err(error) => tracing::error!(error, "objects of the console were not put in force; what was stays"),
        }
        composition.version = Some(version);
        drop(composition);
        self.load_apps().await
    }
}

impl Shared {
    /// Replaces rules, receivers and masks; under the lock of the configuration. Returns what cannot be used.
    pub(crate) fn put_in_force(&self, composed: Composed) -> Vec<(ObjectKind, String, String)> {
        let Composed { rules, receivers, masker, checks, mut unusable } = composed;
        self.checks.configure(checks);
        let before = self.book.load_full();
        match RuleBook::new(rules.into_iter().map(Arc::new), before.quieted().clone()) {
            Ok(book) => {
                timers::arm(&self.timers, &before, &book, self.clock.now());
                self.book.store(Arc::new(book));
                self.receivers.store(Arc::new(receivers));
                self.masker.store(Arc::new(masker));
            }
            Err(error) => unusable.push((ObjectKind::Rule, error.rule.clone(), error.to_string())),
        }
        for (kind, name, problem) in &unusable {
            tracing::error!(kind = kind.as_str(), name, problem, "an object of the console cannot be used");
        }
        unusable
    }
}

/// What can stand in an address: `.` and `..` would lead elsewhere.
pub(crate) fn is_name(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

/// Refuses to delete what others need.
fn needed_by(how: &str, users: Vec<&str>) -> Result<(), ObjectError> {
    if users.is_empty() {
        return Ok(());
    }
    Err(ObjectError::at("", format!("{how}: {}. Change them first", users.join(", "))))
}

/// What the audit log calls a change of an object.
fn created(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rule => "rule.create",
        ObjectKind::Receiver => "receiver.create",
        ObjectKind::Check => "check.create",
        ObjectKind::Maintenance => "maintenance.create",
    }
}

fn changed(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rule => "rule.change",
        ObjectKind::Receiver => "receiver.change",
        ObjectKind::Check => "check.change",
        ObjectKind::Maintenance => "maintenance.change",
    }
}

fn deleted(kind: ObjectKind) -> &'static str {
    match kind {
        ObjectKind::Rule => "rule.delete",
        ObjectKind::Receiver => "receiver.delete",
        ObjectKind::Check => "check.delete",
        ObjectKind::Maintenance => "maintenance.delete",
    }
}
