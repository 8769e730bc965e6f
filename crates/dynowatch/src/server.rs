//! A running instance, wired together: store, engine, drain endpoint, API and pages, on one port. Owns the order of starting
//! and stopping, and what a new configuration replaces. `serve` runs one until a signal, `demo` beside its traffic.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, bail};
use dynowatch_domain::Clock;
use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::mask::Masker;
use dynowatch_engine::checks::Prober;
use dynowatch_engine::remote_write::{RemoteWrite, RemoteWriteOptions};
use dynowatch_engine::{Engine, EngineOptions, Loops, Settings};
use dynowatch_notify::Receivers;
use dynowatch_notify::remote_write::RemoteWriteTarget;
use dynowatch_probe::Surroundings;
use dynowatch_probe::certificate::Roots;
use dynowatch_store::{Store, StoreOptions};
use dynowatch_web::drain::{Drain, DrainSettings};
use dynowatch_web::server::{CONNECTIONS_MAX, Parts};
use dynowatch_web::{AccountOptions, ApiLimits, ReloadRequest, WebOptions};
use secrecy::ExposeSecret;
use tokio::sync::{mpsc, oneshot, watch};

use crate::compose::Composer;
use crate::config::Config;
use crate::heroku;
use crate::key_file;

/// How often what the drain took is summed up in the log.
const SUMMARY_EVERY: Duration = Duration::from_secs(10);

/// Open files that are not connections to the server: stores, messages and checks on their way, all with room to spare.
const FILES_KEPT: usize = 256;

/// Where the machine names its DNS server.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// A running instance.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its engine.
    pub engine: Engine,
    /// Requests to read the configuration again, from the API.
    pub reloads: mpsc::Receiver<ReloadRequest>,
    drain: Arc<Drain>,
    loops: Loops,
    stop: watch::Sender<bool>,
    /// Says that the last request has ended.
    serving: oneshot::Receiver<anyhow::Result<()>>,
    /// Lets the thread of the requests end.
    release: oneshot::Sender<()>,
    ingest: JoinHandle<()>,
}

impl Server {
    /// Opens the store, starts the engine and listens.
    ///
    /// # Errors
    /// When the configuration forbids it, the store is away or newer, or the address is taken.
    pub async fn start(config: &Config, clock: Arc<dyn Clock>) -> anyhow::Result<Self> {
        let problems = config.serve_problems();
        if !problems.is_empty() {
            bail!("dynowatch cannot serve: {}", problems.join("; "));
        }
        let store = open_store(config, true).await?;
        let settings = settings(config)?;
        let limits = dynowatch_engine::Limits {
            groups_per_rule: config.limits.groups_per_rule,
            apps: config.limits.apps,
            ..dynowatch_engine::Limits::default()
        };
        let runtime = IngestRuntime(Some(tokio::runtime::Builder::new_current_thread().enable_all().build()?));
        let options = EngineOptions { clock, store, settings, limits, commits: runtime.handle()? };
        let (engine, mut loops) = Engine::start(options).await.context("the engine did not start")?;
        engine.connect_heroku(heroku::account(config)?);
        engine.probe_with(Arc::new(prober(config)));
        let drain = Arc::new(Drain::new(engine.clone(), drain_settings(config)));
        let (reload, reloads) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let router = dynowatch_web::router(WebOptions {
            engine: engine.clone(),
            drain: Arc::clone(&drain),
            api_tokens: config.api_tokens.clone(),
            api_limits: api_limits(config),
            reload,
            environment: config.environment.clone(),
            stop: stopped.clone(),
            read_ahead: true,
            accounts: account_options(config)?,
        });
        let listener = std::net::TcpListener::bind(config.listen)
            .with_context(|| format!("cannot listen on {}", config.listen))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (release, released) = oneshot::channel();
        let (served, serving) = oneshot::channel();
        let ingest = ingest_thread(
            runtime,
            Ingest { listener, drain: Arc::clone(&drain), router, stopped: stopped.clone(), served, released },
        )?;
        tokio::spawn(summaries(Arc::clone(&drain), stopped));
        loops.run();
        if let Some(remote) = remote_write(config, &engine)? {
            loops.remote_write(remote);
        }
        Ok(Self { address, engine, reloads, drain, loops, stop, serving, release, ingest })
    }

    /// Takes a new configuration. What cannot change while running is named in the answer.
    ///
    /// # Errors
    /// When a rule or a receiver cannot be built; what was in force stays.
    pub async fn reconfigure(&self, config: &Config) -> anyhow::Result<()> {
        let account = heroku::account(config)?;
        self.engine.reconfigure(settings(config)?).await?;
        self.engine.connect_heroku(account);
        self.engine.probe_with(Arc::new(prober(config)));
        self.drain.reconfigure(drain_settings(config));
        Ok(())
    }

    /// Stops in order: no new connection, requests in progress end, timers and messages end, buckets are flushed.
    ///
    /// # Errors
    /// When the listener had broken.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        let served = self.serving.await.context("the accept loop panicked").flatten();
        self.loops.stop().await;
        self.drain.log_summary();
        self.engine.store().close().await;
        // Connections of the store may belong to that thread's runtime, so it ends last.
        let _ended = self.release.send(());
        let ingest = self.ingest;
        tokio::task::spawn_blocking(move || ingest.join())
            .await?
            .map_err(|_| anyhow::anyhow!("the ingest thread panicked"))?;
        served
    }
}

/// Where metrics are written to, if anywhere.
fn remote_write(config: &Config, engine: &Engine) -> anyhow::Result<Option<RemoteWrite>> {
    let Some(written) = &config.remote_write else { return Ok(None) };
    let target = RemoteWriteTarget::new(written.spec.clone()).context("remote_write cannot begin")?;
    let options = RemoteWriteOptions { interval: written.interval, labels: written.labels.clone() };
    Ok(Some(RemoteWrite::new(engine.clone(), target, options)))
}

/// Opens the store of a configuration. `exclusive` is for the one server of a SQLite file.
///
/// # Errors
/// When it cannot be reached, or a newer dynowatch wrote it.
pub async fn open_store(config: &Config, exclusive: bool) -> anyhow::Result<Store> {
    let mut options = StoreOptions::new(config.database_url.as_str());
    options.exclusive = exclusive;
    options.metrics_bytes_max = config.metrics_bytes_max;
    Store::open(&options).await.with_context(|| format!("the store {} does not open", config.database_url))
}

/// The engine's part of a configuration.
///
/// # Errors
/// When a receiver cannot be built.
pub fn settings(config: &Config) -> anyhow::Result<Settings> {
    let secrets = &config.known_secrets;
    Ok(Settings {
        rules: config.rules.clone(),
        apps: config.apps.iter().map(|app| (app.name.clone(), app.drain_tokens.clone())).collect(),
        receivers: Receivers::build(&config.receivers, secrets)?,
        masker: masker(config),
        public_url: config.public_url.clone(),
        checks: config.checks.for_engine(),
        compose: Some(Composer::new(config, false)),
    })
}

/// What checks are run with: this machine's roots and DNS server, and where the configuration lets them go.
pub(crate) fn surroundings(config: &Config) -> Surroundings {
    let (roots, problems) = Roots::system();
    for problem in problems {
        tracing::warn!(problem, "a root certificate of this machine cannot be used");
    }
    let resolv_conf = std::fs::read_to_string(RESOLV_CONF).unwrap_or_default();
    Surroundings {
        policy: AddressPolicy::allowing(config.checks.allowed.clone()),
        roots,
        lookup: dynowatch_probe::system_lookup(),
        nameserver: dynowatch_probe::nameserver_of(&resolv_conf),
    }
}

/// What runs checks in a server.
fn prober(config: &Config) -> Prober {
    Prober::new(dynowatch_probe::Prober::new(surroundings(config)))
}

/// What must neither leave nor be printed: secrets by shape, and the instance's own.
pub(crate) fn masker(config: &Config) -> Masker {
    Masker::with_values(config.known_secrets.iter().map(|secret| secret.expose_secret().to_owned()).collect())
}

fn api_limits(config: &Config) -> ApiLimits {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    ApiLimits {
        per_token: number(config.limits.api_token_requests_per_min),
        per_address: number(config.limits.api_address_requests_per_min),
        behind_heroku: config.on_dyno,
    }
}

/// How people sign in. On SQLite without a key in the environment, one is made beside the database, for its owner alone.
fn account_options(config: &Config) -> anyhow::Result<AccountOptions> {
    let accounts = &config.accounts;
    let mut secret_keys = accounts.secret_keys.clone();
    if let Some(database) = config.database_url.sqlite_path().filter(|_| secret_keys.is_empty()) {
        secret_keys.push(key_file::of(database)?);
    }
    Ok(AccountOptions { trust_forwarded: accounts.trust_forwarded, secret_keys, oidc: accounts.oidc.clone() })
}

fn drain_settings(config: &Config) -> DrainSettings {
    DrainSettings {
        enabled: config.drain.enabled,
        secrets: config.drain.secrets.clone(),
        body_bytes_max: config.drain.body_bytes_max,
        requests_max: config.limits.drain_requests,
        on_dyno: config.on_dyno,
    }
}

/// The runtime of the ingest thread, until that thread has it. A start that fails drops it inside another runtime, which
/// tokio only allows in this way.
struct IngestRuntime(Option<tokio::runtime::Runtime>);

impl IngestRuntime {
    fn handle(&self) -> anyhow::Result<tokio::runtime::Handle> {
        Ok(self.0.as_ref().context("the ingest runtime is in use")?.handle().clone())
    }
}

impl Drop for IngestRuntime {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the ingest thread works with.
struct Ingest {
    listener: std::net::TcpListener,
    drain: Arc<Drain>,
    router: dynowatch_web::Router,
    stopped: watch::Receiver<bool>,
    served: oneshot::Sender<anyhow::Result<()>>,
    released: oneshot::Receiver<()>,
}

/// Deliveries and their commits have a thread and a runtime of their own: one core takes millions of lines a second, and
/// no page, query or message can get in their way.
fn ingest_thread(mut runtime: IngestRuntime, ingest: Ingest) -> anyhow::Result<JoinHandle<()>> {
    let general = tokio::runtime::Handle::current();
    let runtime = runtime.0.take().context("the ingest runtime is in use")?;
    let thread = std::thread::Builder::new().name("ingest".to_owned()).spawn(move || {
        let Ingest { listener, drain, router, stopped, served, released } = ingest;
        runtime.block_on(async move {
            let outcome = match tokio::net::TcpListener::from_std(listener) {
                Ok(listener) => {
                    let parts = Parts { drain, router, general, connections_max: connections_max() };
                    dynowatch_web::server::serve(listener, parts, stopped).await
                }
                Err(error) => Err(error),
            };
            // Whoever started the server may have gone; then nobody waits.
            let _gone = served.send(outcome.map_err(anyhow::Error::from));
            let _gone = released.await;
        });
    })?;
    Ok(thread)
}

/// As many connections as the system lets this process have files, less those that it needs itself: one that cannot be
/// accepted cannot be told from one that is not answered.
fn connections_max() -> usize {
    let files = std::fs::read_to_string("/proc/self/limits").ok().and_then(|limits| files_max(&limits));
    files.map_or(CONNECTIONS_MAX, |files| files.saturating_sub(FILES_KEPT).clamp(1, CONNECTIONS_MAX))
}

/// The soft limit on open files out of what Linux says of a process; `None` for none.
fn files_max(limits: &str) -> Option<usize> {
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

async fn summaries(drain: Arc<Drain>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SUMMARY_EVERY);
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = ticks.tick() => drain.log_summary(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_as_linux_writes_them() {
        let limits = |soft: &str| {
            format!(
                "Limit                     Soft Limit           Hard Limit           Units     \nMax processes             7                    7                    processes \nMax open files            {soft}                 1048576              files     \n"
            )
        };
        let cases = [("1024", Some(1_024)), ("1048576", Some(1_048_576)), ("unlimited", None)];
        for (soft, want) in cases {
            assert_eq!(files_max(&limits(soft)), want, "{soft}");
        }
        assert_eq!(files_max("no such thing"), None);
        assert!((1..=CONNECTIONS_MAX).contains(&connections_max()));
    }
}
