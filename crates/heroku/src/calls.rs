//! The calls, one method each. Where an app is asked for, its id or its name will do.

use secrecy::SecretString;
use uuid::Uuid;

use crate::client::{Client, Request};
use crate::error::Error;
use crate::list::secret_body;
use crate::types::{AddOn, App, Dyno, Feature, Formation, LogDrain, Release, Slug};

impl Client {
    /// Every app that the account can see.
    ///
    /// # Errors
    /// See [`Error`]; never a part of the list.
    pub async fn apps(&self) -> Result<Vec<App>, Error> {
        self.list(&["apps"]).await
    }

    /// One app.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn app(&self, app: &str) -> Result<App, Error> {
        self.one(Request::get(&["apps", app])).await
    }

    /// The process types of an app.
    ///
    /// # Errors
    /// See [`Error`]; never a part of the list.
    pub async fn formation(&self, app: &str) -> Result<Vec<Formation>, Error> {
        self.list(&["apps", app, "formation"]).await
    }

    /// The dynos of an app.
    ///
    /// # Errors
    /// See [`Error`]; never a part of the list.
    pub async fn dynos(&self, app: &str) -> Result<Vec<Dyno>, Error> {
        self.list(&["apps", app, "dynos"]).await
    }

    /// Every add-on that the account can see, of all apps.
    ///
    /// # Errors
    /// See [`Error`]; never a part of the list.
    pub async fn addons(&self) -> Result<Vec<AddOn>, Error> {
        self.list(&["addons"]).await
    }

    /// The newest releases of an app, the newest first; at most `max` (1 to 1,000).
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn newest_releases(&self, app: &str, max: u16) -> Result<Vec<Release>, Error> {
        // The list's own order is by id: its last element is not the newest.
        let range = format!("version ..; max={}, order=desc", max.clamp(1, 1_000));
        self.first_page(&["apps", app, "releases"], &range).await
    }

    /// What is known of a slug.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn slug(&self, app: &str, slug: Uuid) -> Result<Slug, Error> {
        self.one(Request::get(&["apps", app, "slugs", &slug.to_string()])).await
    }

    /// One config var of an app, by its name. Heroku answers with all of them; the others are dropped while parsing. `None`:
    /// the app has no such config var.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn config_var(&self, app: &str, name: &str) -> Result<Option<SecretString>, Error> {
        self.one_value(Request::get(&["apps", app, "config-vars"]), name).await
    }

    /// The log drains of an app.
    ///
    /// # Errors
    /// See [`Error`]; never a part of the list.
    pub async fn log_drains(&self, app: &str) -> Result<Vec<LogDrain>, Error> {
        self.list(&["apps", app, "log-drains"]).await
    }

    /// Adds a log drain. Not tried again when nobody knows whether it was made: look at [`Client::log_drains`] then.
    ///
    /// # Errors
    /// See [`Error`]; `invalid_params` when the app has a drain with that very URL already.
    pub async fn create_log_drain(&self, app: &str, url: &SecretString) -> Result<LogDrain, Error> {
        self.one(Request::post(&["apps", app, "log-drains"], secret_body("url", url), url)).await
    }

    /// Removes a log drain.
    ///
    /// # Errors
    /// See [`Error`]; `not_found` when it is gone already.
    pub async fn delete_log_drain(&self, app: &str, drain: Uuid) -> Result<(), Error> {
        self.send(Request::delete(&["apps", app, "log-drains", &drain.to_string()])).await.map(drop)
    }

    /// A feature of an app.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn feature(&self, app: &str, feature: &str) -> Result<Feature, Error> {
        self.one(Request::get(&["apps", app, "features", feature])).await
    }

    /// Switches a feature of an app.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn set_feature(&self, app: &str, feature: &str, enabled: bool) -> Result<Feature, Error> {
        let body = serde_json::json!({ "enabled": enabled });
        self.one(Request::patch(&["apps", app, "features", feature], body)).await
    }

    /// How many requests the account has left. Costs none.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn rate_limit(&self) -> Result<u32, Error> {
        #[derive(serde::Deserialize)]
        struct RateLimit {
            remaining: u32,
        }
        Ok(self.one::<RateLimit>(Request::get(&["account", "rate-limits"])).await?.remaining)
    }
}
