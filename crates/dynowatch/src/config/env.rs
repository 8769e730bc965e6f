//! The environment as an interface, and the one place of the whole program that reads the real one. Which variables
//! there are is said in [`VARIABLES`]; what each means is decided where its value is used.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Where the values of environment variables come from.
pub trait Env {
    /// The variable's value; `None` when it is not set. A value that is not UTF-8 counts as not set.
    fn get(&self, name: &str) -> Option<String>;

    /// The same environment for longer than a command.
    fn shared(&self) -> Arc<dyn Env + Send + Sync>;
}

/// The environment of this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealEnv;

impl Env for RealEnv {
    fn get(&self, name: &str) -> Option<String> {
        #[expect(clippy::disallowed_methods, reason = "this is the `config::Env` that everyone else is sent to")]
        std::env::var(name).ok()
    }

    fn shared(&self) -> Arc<dyn Env + Send + Sync> {
        Arc::new(*self)
    }
}

/// An environment made of a map, for tests and for trying out a file without its secrets.
#[derive(Debug, Clone, Default)]
pub struct MapEnv(BTreeMap<String, String>);

impl Env for MapEnv {
    fn get(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }

    fn shared(&self) -> Arc<dyn Env + Send + Sync> {
        Arc::new(self.clone())
    }
}

impl<const N: usize> From<[(&str, &str); N]> for MapEnv {
    fn from(pairs: [(&str, &str); N]) -> Self {
        pairs.as_slice().into()
    }
}

impl From<&[(&str, &str)]> for MapEnv {
    fn from(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

/// One variable that the configuration reads by itself. A file can name more: `token_env`, `secret_env`, `url_env`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether its value is never printed.
    pub secret: bool,
    /// What it does, in one line.
    pub meaning: &'static str,
}

const fn variable(name: &'static str, secret: bool, meaning: &'static str) -> Variable {
    Variable { name, secret, meaning }
}

pub(super) const PORT: &str = "PORT";
pub(super) const DATABASE_URL: &str = "DATABASE_URL";
pub(super) const DYNO: &str = "DYNO";
pub(super) const DRAIN_SECRET: &str = "HEROKU_LOG_DRAIN_HMAC_SECRET";
pub(super) const DRAIN_FLAG: &str = "FLAG_CONSOLE_HEROKU_LOG_DRAIN_ALERTING";
pub(super) const SLACK_TOKEN: &str = "SLACK_BOT_TOKEN";
pub(super) const SLACK_API: &str = "SLACK_API_URL";
pub(super) const HEROKU_KEY: &str = "HEROKU_API_KEY";
pub(super) const HEROKU_API: &str = "HEROKU_API_URL";
pub(super) const PUBLIC_URL: &str = "DYNOWATCH_PUBLIC_URL";
pub(super) const ENVIRONMENT_NAME: &str = "DYNOWATCH_ENVIRONMENT";
pub(super) const API_TOKEN: &str = "DYNOWATCH_API_TOKEN";
pub(super) const SECRET_KEY: &str = "DYNOWATCH_SECRET_KEY";
pub(super) const OIDC_SECRET: &str = "DYNOWATCH_OIDC_CLIENT_SECRET";
pub(super) const CONFIG_FILE: &str = "DYNOWATCH_CONFIG";

/// Secrets that often stand in the environment beside ours. They are not used, only masked wherever they turn up.
pub(super) const SECRET_ELSEWHERE: &[&str] = &["HEROKU_API_KEY", "REDIS_URL", "REDIS_TLS_URL"];

/// Every variable that is read whatever the file says.
pub const VARIABLES: &[Variable] = &[
    variable(CONFIG_FILE, false, "path of the configuration file, when --config is not given"),
    variable(PORT, false, "listen on 0.0.0.0 and this port"),
    variable(DATABASE_URL, true, "the store: postgres://… or sqlite://…"),
    variable(DYNO, false, "set by Heroku on a dyno; there the store must be Postgres"),
    variable(DRAIN_SECRET, true, "secrets that drain URLs are signed with, newest first, separated by commas"),
    variable(DRAIN_FLAG, false, "false, 0, off or no switches the drain off"),
    variable(SLACK_TOKEN, true, "bot token of Slack receivers that name no token_env"),
    variable(SLACK_API, false, "base URL of the Slack API, for tests"),
    variable(HEROKU_KEY, true, "token of the Heroku account whose apps, releases and drains are kept in step"),
    variable(HEROKU_API, false, "base URL of the Heroku Platform API, for tests"),
    variable(PUBLIC_URL, false, "where people reach this instance; makes the links in messages"),
    variable(ENVIRONMENT_NAME, false, "what this instance is to its team, as in production; the banner of every page"),
    variable(API_TOKEN, true, "bearer tokens of the JSON API, separated by commas"),
    variable(
        SECRET_KEY,
        true,
        "key that secrets in the store are sealed with: 64 hex digits; newest first, with commas",
    ),
    variable(OIDC_SECRET, true, "secret of this instance at the issuer of [oidc]"),
];
