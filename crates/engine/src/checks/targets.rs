//! Targets that stand in config vars: read from Heroku when they are needed, kept in memory alone, read again when a
//! release of the app changed its config, when the server refuses the credentials, and now and then. A reading that does not
//! work is not made again at once; a few are made side by side, one for each value.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Secret;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::release::ReleaseKind;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;

use crate::Shared;
use crate::apps::lock;

/// A value that nothing said had changed is read again after this long.
const KEPT: Duration = Duration::from_secs(1_800);
/// Heroku is asked for one value not more often than this; after each failure in a row half as often as before.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The longest wait after failures.
const AGAIN_MAX: Duration = Duration::from_secs(900);
/// The most values kept.
const VALUES_MAX: usize = 5_000;
/// Readings at a time.
const READINGS_MAX: usize = 4;
/// How long a run waits for its turn to read.
const TURN_MAX: Duration = Duration::from_secs(10);

/// App and name.
type Key = (String, String);

/// The values, by app and name.
pub(crate) struct Targets {
    values: Mutex<HashMap<Key, Known>>,
    readings: Semaphore,
}

impl Default for Targets {
    fn default() -> Self {
        Self { values: Mutex::default(), readings: Semaphore::new(READINGS_MAX) }
    }
}

/// What is known of one value.
#[derive(Default)]
struct Known {
    value: Option<Value>,
    /// Why the last reading did not work.
    failure: Option<Failure>,
    /// Who reads it.
    reading: Arc<tokio::sync::Mutex<()>>,
}

struct Value {
    secret: Option<Secret>,
    read_at: Timestamp,
    /// It changed with the last reading, and no run knows it yet.
    changed: bool,
}

struct Failure {
    at: Timestamp,
    /// In a row.
    tries: u32,
    /// When it is tried again, unless the config changes before.
    again_at: Timestamp,
    /// What was known before is no longer good enough: Heroku does not let us read it.
    refused: bool,
    problem: Problem,
}

/// A value as a run gets it.
pub(crate) struct Found {
    pub(crate) secret: Secret,
    /// It has just changed.
    pub(crate) changed: bool,
}

type Problem = (Reason, String);

impl Targets {
    /// The value, from memory or from Heroku.
    pub(crate) async fn get(&self, shared: &Shared, app: &str, name: &str) -> Result<Found, Problem> {
        let key = (app.to_owned(), name.to_owned());
        if !self.is_settled(shared, &key) {
            let reading = self.reading(&key);
            let _one = reading.lock().await;
            if !self.is_settled(shared, &key) {
                self.read(shared, &key).await?;
            }
        }
        self.told(&key)
    }

    /// The value if it is another one by now: the server refused the old one.
    pub(crate) async fn again(&self, shared: &Shared, app: &str, name: &str, old: &Secret) -> Option<Secret> {
        let key = (app.to_owned(), name.to_owned());
        let reading = self.reading(&key);
        let _one = reading.lock().await;
        let now = shared.clock.now();
        let read_at = lock(&self.values).get(&key).and_then(|known| known.value.as_ref()).map(|value| value.read_at);
        if read_at.is_none_or(|at| now.since(at) >= AGAIN_AFTER) && !self.is_backing_off(shared, &key) {
            self.read(shared, &key).await.ok()?;
        }
        let mut values = lock(&self.values);
        let value = values.get_mut(&key)?.value.as_mut()?;
        value.changed = false;
        value.secret.clone().filter(|secret| secret != old)
    }

    fn reading(&self, key: &Key) -> Arc<tokio::sync::Mutex<()>> {
        let mut values = lock(&self.values);
        if values.len() >= VALUES_MAX && !values.contains_key(key) {
            values.clear();
        }
        Arc::clone(&values.entry(key.clone()).or_default().reading)
    }

    /// What is known, after a reading or without one.
    fn told(&self, key: &Key) -> Result<Found, Problem> {
        let mut values = lock(&self.values);
        let known = values.get_mut(key);
        if let Some(Known { value, failure, .. }) = known {
            let refused = failure.as_ref().is_some_and(|failure| failure.refused);
            if let Some(Value { secret: Some(secret), changed, .. }) = value.as_mut().filter(|_| !refused) {
                return Ok(Found { secret: secret.clone(), changed: std::mem::take(changed) });
            }
            if let Some(failure) = failure {
                return Err(failure.problem.clone());
            }
        }
        let (app, name) = key;
        Err((Reason::TargetMissing, format!("{app} has no config var {name}")))
    }

    /// Whether nothing need be read: it is fresh, or was tried in vain a moment ago.
    fn is_settled(&self, shared: &Shared, key: &Key) -> bool {
        self.is_backing_off(shared, key) || self.is_fresh(shared, key)
    }

    fn is_fresh(&self, shared: &Shared, key: &Key) -> bool {
        let now = shared.clock.now();
        let read_at = match lock(&self.values).get(key) {
            Some(Known { value: Some(value), failure: None, .. }) => value.read_at,
            _ => return false,
        };
        now.since(read_at) < KEPT && now >= read_at && !changed_since(shared, &key.0, read_at, now)
    }

    fn is_backing_off(&self, shared: &Shared, key: &Key) -> bool {
        let now = shared.clock.now();
        let failure =
            lock(&self.values).get(key).and_then(|known| known.failure.as_ref().map(|one| (one.at, one.again_at)));
        failure.is_some_and(|(at, again_at)| at <= now && now < again_at && !changed_since(shared, &key.0, at, now))
    }

    /// Reads it, and notes what came of it.
    async fn read(&self, shared: &Shared, key: &Key) -> Result<(), Problem> {
        let (app, name) = key;
        let Some(account) = shared.heroku.account() else {
            let detail = "HEROKU_API_KEY is not set, so the config var cannot be read".to_owned();
            return Err((Reason::HerokuRefused, detail));
        };
        let Ok(Ok(_turn)) = tokio::time::timeout(TURN_MAX, self.readings.acquire()).await else {
            if lock(&self.values).get(key).is_some_and(|known| known.value.is_some()) {
                return Ok(());
            }
            let detail =
                format!("the config vars of {app} could not be read yet: others are being read, and that takes long");
            return Err((Reason::HerokuUnavailable, detail));
        };
        let read_at = shared.clock.now();
        let read = account.client.config_var(app, name).await;
        let mut values = lock(&self.values);
        let known = values.entry(key.clone()).or_default();
        match read {
            Ok(value) => {
                let secret = value.map(|value| Secret::new(value.expose_secret()));
                let before = known.value.as_ref().and_then(|value| value.secret.as_ref());
                let changed = before.is_some() && before != secret.as_ref();
                known.value = Some(Value { secret, read_at, changed });
                known.failure = None;
            }
            Err(error) => {
                let refused = error.id().is_some() && !error.is_passing();
                let reason = if refused { Reason::HerokuRefused } else { Reason::HerokuUnavailable };
                let tries = known.failure.as_ref().map_or(0, |failure| failure.tries).saturating_add(1);
                let wait = AGAIN_AFTER.saturating_mul(2_u32.saturating_pow(tries.min(10) - 1)).min(AGAIN_MAX);
                let wait = wait.max(error.retry_after().unwrap_or_default().min(AGAIN_MAX));
                let problem = (reason, format!("the config vars of {app} cannot be read: {error}"));
                let at = shared.clock.now();
                known.failure = Some(Failure { at, tries, again_at: at + wait, refused, problem });
            }
        }
        Ok(())
    }
}

/// Whether the app's config changed since then; what came within the same second was seen.
fn changed_since(shared: &Shared, app: &str, since: Timestamp, now: Timestamp) -> bool {
    now.since(since) >= Duration::from_secs(1) && config_changed(shared, app, since)
}

/// Whether a release since then changed the app's config: of config vars, or of an add-on that has some.
fn config_changed(shared: &Shared, app: &str, since: Timestamp) -> bool {
    let Some(app) = shared.apps.load().by_name(app).map(|app| app.id) else { return false };
    lock(&shared.releases).get(&app).is_some_and(|releases| {
        releases.iter().any(|release| {
            release.at >= since
                && matches!(
                    release.kind,
                    ReleaseKind::Config | ReleaseKind::AddOn | ReleaseKind::Rollback | ReleaseKind::Unknown
                )
        })
    })
}
