//! What every command needs: the environment, the configuration, the clock, the output, and ways to the store.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::{Clock, Timestamp};
use dynowatch_engine::heroku::{HerokuAccount, HerokuProblem};
use dynowatch_engine::{Engine, EngineOptions, Settings};
use dynowatch_notify::{Receivers, inert};
use dynowatch_store::Store;

use super::failure::Failure;
use super::out::Out;
use crate::clock::SystemClock;
use crate::compose::Composer;
use crate::config::{self, Config, Env, RealEnv};
use crate::heroku;
use crate::server;

/// What a command works with.
pub(crate) struct Context {
    /// The environment.
    pub(crate) env: RealEnv,
    /// Whether to print JSON.
    pub(crate) json: bool,
    /// Where to print.
    pub(crate) out: Out,
    file: Option<PathBuf>,
}

impl Context {
    pub(crate) fn new(file: Option<PathBuf>, json: bool) -> Self {
        Self { env: RealEnv, json, out: Out::new(), file }
    }

    /// The configuration file that is meant, if any.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        config::locate(self.file.as_deref(), &self.env)
    }

    /// The configuration, for what sends messages: its secrets must be there.
    pub(crate) fn load(&self) -> Result<Config, Failure> {
        Ok(config::load(self.file().as_deref(), &self.env)?)
    }

    /// The configuration, for what sends nothing.
    pub(crate) fn load_offline(&self) -> Result<Config, Failure> {
        Ok(config::load_offline(self.file().as_deref(), &self.env)?)
    }

    pub(crate) fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(SystemClock)
    }

    pub(crate) fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    /// Who is typing, as far as known.
    pub(crate) fn operator(&self) -> String {
        let user = self.env.get("USER").filter(|user| !user.is_empty());
        let name: String = user.as_deref().map_or("cli".into(), inert).chars().take(64).collect();
        name
    }

    /// The same for the audit log.
    pub(crate) fn actor(&self) -> Actor {
        Actor::here(format!("cli:{}", self.operator()))
    }

    /// Opens the store beside a server that may be running. A SQLite store that is not there is not made: an empty list
    /// from the wrong folder would be a wrong answer.
    pub(crate) async fn store(&self, config: &Config) -> Result<Store, Failure> {
        if let Some(path) = missing_sqlite(config) {
            return Err(Failure::wrong(format!(
                "there is no store at {}: run this in the folder of the server, or name its configuration with --config or its store with DATABASE_URL",
                path.display()
            )));
        }
        Ok(server::open_store(config, false).await?)
    }

    /// An engine on that store that only does what it is asked.
    pub(crate) async fn engine(&self, config: &Config) -> Result<Engine, Failure> {
        let store = self.store(config).await?;
        let settings = Settings {
            rules: config.rules.clone(),
            apps: Vec::new(),
            receivers: Receivers::build(&[], &[]).map_err(anyhow::Error::from)?,
            masker: server::masker(config),
            public_url: config.public_url.clone(),
            checks: config.checks.for_engine(),
            compose: Some(Composer::new(config, true)),
        };
        let limits = dynowatch_engine::Limits {
            groups_per_rule: config.limits.groups_per_rule,
            apps: config.limits.apps,
            ..dynowatch_engine::Limits::default()
        };
        let options =
            EngineOptions { clock: self.clock(), store, settings, limits, commits: tokio::runtime::Handle::current() };
        Ok(Engine::attach(options).await.map_err(anyhow::Error::from)?)
    }

    /// The same with the Heroku account, and a code of its second factor if one is given.
    pub(crate) async fn heroku_engine(&self, config: &Config, code: Option<String>) -> Result<Engine, Failure> {
        let account = heroku::account(config).map_err(|error| Failure::wrong(error.to_string()))?;
        let account = account.ok_or_else(|| Failure::wrong(HerokuProblem::NoKey.to_string()))?;
        let client = match code {
            Some(code) => account.client.with_two_factor_code(code.into()),
            None => account.client.clone(),
        };
        let engine = self.engine(config).await?;
        engine.connect_heroku(Some(HerokuAccount { client, ..account }));
        Ok(engine)
    }

    /// The configuration with what was made in the console beside it, as a server has it. Where there is no store yet,
    /// nothing was made.
    pub(crate) async fn whole(&self, config: Config) -> Result<Config, Failure> {
        if missing_sqlite(&config).is_some() {
            return Ok(config);
        }
        let engine = self.engine(&config).await?;
        let objects = engine.objects().await?;
        engine.store().close().await;
        Composer::new(&config, true).whole(&objects).map_err(Failure::failed)
    }
}

/// The path of a SQLite store that is not there yet.
pub(crate) fn missing_sqlite(config: &Config) -> Option<PathBuf> {
    let url = config.database_url.as_str();
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    let path = Path::new(path.split('?').next().unwrap_or(path));
    (!path.exists()).then(|| path.to_owned())
}
