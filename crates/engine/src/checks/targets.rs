//! Targets that stand in config vars: read from Heroku when they are needed, kept in memory alone, read again when a
//! release of the app changed its config, when the server refuses the credentials, and now and then.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Secret;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::release::ReleaseKind;
use secrecy::ExposeSecret;

use crate::Shared;
use crate::apps::lock;

/// A value that nothing said had changed is read again after this long.
const KEPT: Duration = Duration::from_secs(1_800);
/// Heroku is asked for one value not more often than this.
const AGAIN_AFTER: Duration = Duration::from_secs(30);
/// The most values kept.
const VALUES_MAX: usize = 5_000;

/// The values, by app and name.
#[derive(Default)]
pub(crate) struct Targets {
    values: Mutex<HashMap<(String, String), Value>>,
    /// One question to Heroku at a time.
    asking: tokio::sync::Mutex<()>,
}

struct Value {
    secret: Option<Secret>,
    read_at: Timestamp,
    /// It changed with the last reading, and no run knows it yet.
    changed: bool,
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
        if !self.is_fresh(shared, &key) {
            let _one = self.asking.lock().await;
            if !self.is_fresh(shared, &key) {
                self.read(shared, &key).await?;
            }
        }
        let mut values = lock(&self.values);
        match values.get_mut(&key) {
            Some(Value { secret: Some(secret), changed, .. }) => {
                Ok(Found { secret: secret.clone(), changed: std::mem::take(changed) })
            }
            _ => Err((Reason::TargetMissing, format!("{app} has no config var {name}"))),
        }
    }

    /// The value if it is another one by now: the server refused the old one.
    pub(crate) async fn again(&self, shared: &Shared, app: &str, name: &str, old: &Secret) -> Option<Secret> {
        let key = (app.to_owned(), name.to_owned());
        let _one = self.asking.lock().await;
        let now = shared.clock.now();
        let recent = lock(&self.values).get(&key).is_some_and(|value| now.since(value.read_at) < AGAIN_AFTER);
        if !recent {
            self.read(shared, &key).await.ok()?;
        }
        let mut values = lock(&self.values);
        let value = values.get_mut(&key)?;
        value.changed = false;
        value.secret.clone().filter(|secret| secret != old)
    }

    fn is_fresh(&self, shared: &Shared, key: &(String, String)) -> bool {
        let now = shared.clock.now();
        let Some(read_at) = lock(&self.values).get(key).map(|value| value.read_at) else { return false };
        let age = now.since(read_at);
        age < KEPT && (age < Duration::from_secs(1) || !config_changed(shared, &key.0, read_at)) && now >= read_at
    }

    async fn read(&self, shared: &Shared, key: &(String, String)) -> Result<(), Problem> {
        let (app, name) = key;
        let Some(account) = shared.heroku.account() else {
            let detail = "HEROKU_API_KEY is not set, so the config var cannot be read".to_owned();
            return Err((Reason::HerokuRefused, detail));
        };
        let read_at = shared.clock.now();
        let secret = match account.client.config_var(app, name).await {
            Ok(value) => value.map(|value| Secret::new(value.expose_secret())),
            Err(error) if error.id().is_some() && !error.is_passing() => {
                return Err((Reason::HerokuRefused, format!("the config vars of {app} cannot be read: {error}")));
            }
            // What was known is still good enough to try.
            Err(_) if lock(&self.values).get(key).is_some_and(|value| value.secret.is_some()) => return Ok(()),
            Err(error) => {
                return Err((Reason::HerokuUnavailable, format!("the config vars of {app} cannot be read: {error}")));
            }
        };
        let mut values = lock(&self.values);
        if values.len() >= VALUES_MAX && !values.contains_key(key) {
            values.clear();
        }
        let changed = values.get(key).is_some_and(|before| before.secret.is_some() && before.secret != secret);
        values.insert(key.clone(), Value { secret, read_at, changed });
        Ok(())
    }
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
