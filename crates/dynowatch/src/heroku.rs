//! The Heroku account as the configuration names it, and the URLs of drains to this instance.

use std::sync::Arc;

use dynowatch_engine::heroku::HerokuAccount;
use dynowatch_engine::{MARK_PARAM, random};
use dynowatch_heroku::{Client, ClientOptions};
use dynowatch_web::drain::{DRAIN_USER, app_subject, credential_text};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};

use crate::config::Config;

/// The account, if there is a key.
///
/// # Errors
/// When the key or the address cannot be used.
pub(crate) fn account(config: &Config) -> Result<Option<HerokuAccount>, dynowatch_heroku::Error> {
    let Some(key) = config.heroku.api_key.clone() else { return Ok(None) };
    let options = ClientOptions {
        base_url: config.heroku.api_url.clone(),
        seed: u64::from_le_bytes(random::bytes()),
        ..ClientOptions::new(key)
    };
    let client = Client::new(options)?;
    let (base, secret) = (config.public_url.clone(), config.drain.secrets.first().cloned());
    let drain_url = Arc::new(move |app: &str, mark: Option<&str>| {
        let base = base.as_deref().ok_or(
            "no drain can be added while public_url is not set: where does Heroku reach this instance? Set \
             server.public_url or DYNOWATCH_PUBLIC_URL",
        )?;
        let secret = secret.as_ref().ok_or("HEROKU_LOG_DRAIN_HMAC_SECRET is not set: drain URLs are signed with it")?;
        let mut url = drain_url(base, secret, app).ok_or_else(|| format!("{base} is not a base URL for a drain"))?;
        if let Some(mark) = mark {
            url.query_pairs_mut().append_pair(MARK_PARAM, mark);
        }
        Ok(SecretString::from(String::from(url)))
    });
    Ok(Some(HerokuAccount { client, drain_url }))
}

/// The URL of a drain that names its app; `None` when the base is none.
pub(crate) fn drain_url(base: &str, secret: &SecretString, app: &str) -> Option<Url> {
    let password = SecretString::from(credential_text(secret, &app_subject(app))?);
    let mut url = Url::parse(base).ok()?;
    url.path_segments_mut().ok()?.pop_if_empty().extend(["drain", app]);
    url.set_username(DRAIN_USER).ok()?;
    url.set_password(Some(password.expose_secret())).ok()?;
    Some(url)
}
