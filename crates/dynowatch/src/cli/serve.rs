//! `serve`: one instance until a signal. Owns signals, what is said at the start, and how long the end may take.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use dynowatch_web::ReloadRequest;
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::accounts;
use super::context::{Context, missing_sqlite};
use super::failure::Failure;
use super::out::plural;
use super::reload;
use crate::config::{self, Config};
use crate::server::Server;

/// The end takes less than ten seconds, whatever hangs: Heroku sends SIGKILL after thirty, systemd after ninety.
const STOP_TIME_MAX: Duration = Duration::from_millis(9_500);
/// Threads for everything but deliveries, which have one of their own.
const WORKERS: usize = 2;

#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Where to listen, as in 127.0.0.1:8080; goes before $PORT and the file
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

/// The signals that a server listens to.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

/// What woke a server.
pub(crate) enum Woken {
    /// SIGTERM or Ctrl-C.
    Stop,
    /// SIGHUP.
    Reload,
    /// The API asked for a reload.
    Asked(ReloadRequest),
}

impl Signals {
    /// Takes the signals over; needs a runtime.
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal or for a request to reload.
    pub(crate) async fn wait(&mut self, server: &mut Server) -> Woken {
        tokio::select! {
            _ = self.terminate.recv() => Woken::Stop,
            _ = self.interrupt.recv() => Woken::Stop,
            _ = self.hang_up.recv() => Woken::Reload,
            Some(request) = server.reloads.recv() => Woken::Asked(request),
        }
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Runs an instance.
pub(crate) fn run(ctx: &mut Context, args: Args) -> Result<(), Failure> {
    let config = load(ctx, &args)?;
    let problems = config.serve_problems();
    if !problems.is_empty() {
        return Err(Failure::Wrong(problems));
    }
    let runtime = runtime()?;
    let ended = runtime.block_on(Box::pin(until_signal(ctx, &args, config)));
    // Whatever still blocks a thread by now is not waited for.
    runtime.shutdown_timeout(Duration::from_millis(100));
    ended
}

/// The runtime of a server.
pub(crate) fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).enable_all().build()
}

fn load(ctx: &Context, args: &Args) -> Result<Config, Failure> {
    Ok(with_listen(ctx.load()?, args))
}

fn with_listen(mut config: Config, args: &Args) -> Config {
    config.listen = args.listen.unwrap_or(config.listen);
    config
}

async fn until_signal(ctx: &mut Context, args: &Args, config: Config) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let new_store = missing_sqlite(&config).is_some();
    let mut server = Server::start(&config, ctx.clock()).await?;
    crate::panics::know(&server.engine);
    greet(ctx, &config, server.address, new_store)?;
    let base = config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", server.address.port()));
    accounts::offer_setup(ctx, server.engine.store(), &base).await?;
    ctx.out.flush()?;
    let file = ctx.file();
    let mut current = config;
    loop {
        match signals.wait(&mut server).await {
            Woken::Stop => break,
            Woken::Reload => {
                tracing::info!("SIGHUP: the configuration is read again");
                let _logged = take(ctx, args, file.as_ref(), &server, &mut current).await;
            }
            Woken::Asked(request) => {
                let outcome = take(ctx, args, file.as_ref(), &server, &mut current).await;
                // Whoever asked may have gone.
                let _told = request.reply.send(outcome);
            }
        }
    }
    stop(server, &mut signals).await
}

/// Reads the configuration again and takes it, or logs everything that is wrong with it and stays as it was.
async fn take(
    ctx: &Context,
    args: &Args,
    file: Option<&PathBuf>,
    server: &Server,
    current: &mut Config,
) -> Result<(), String> {
    let next = match config::load(file.map(PathBuf::as_path), &ctx.env) {
        Ok(next) => with_listen(next, args),
        Err(errors) => {
            for error in errors.all() {
                tracing::error!(%error, "the new configuration is wrong; the old one stays in force");
            }
            return Err(errors.to_string());
        }
    };
    if let Err(error) = server.reconfigure(&next).await {
        tracing::error!(
            error = format!("{error:#}"),
            "the new configuration was not taken; the old one stays in force"
        );
        return Err(format!("{error:#}"));
    }
    for fixed in reload::needs_restart(current, &next) {
        tracing::warn!("changed in the file, but in force only after a restart: {fixed}");
    }
    let changes = reload::changes(current, &next);
    if changes.is_empty() {
        tracing::info!("configuration read again: nothing that is in force changed");
    }
    for change in &changes {
        tracing::info!("configuration: {change}");
    }
    for warning in &next.warnings {
        tracing::warn!("{warning}");
    }
    // What needs a restart is compared with what is in force, not with the file before.
    *current = reload::in_force(current, next);
    Ok(())
}

/// Stops everything in order, but not for longer than promised; a second signal ends it at once.
pub(crate) async fn stop(server: Server, signals: &mut Signals) -> Result<(), Failure> {
    tracing::info!("stopping: what was accepted is finished first");
    tokio::select! {
        stopped = tokio::time::timeout(STOP_TIME_MAX, server.stop()) => match stopped {
            Ok(stopped) => stopped?,
            Err(_elapsed) => {
                tracing::error!("still not stopped after {STOP_TIME_MAX:?}; ending now. What was answered 204 is stored; messages on their way are sent again");
                std::process::exit(1);
            }
        },
        () = signals.stop() => {
            tracing::error!("a second signal: ending now. What was answered 204 is stored");
            std::process::exit(1);
        }
    }
    tracing::info!("stopped");
    Ok(())
}

/// Says where it listens and what is missing.
fn greet(ctx: &mut Context, config: &Config, address: SocketAddr, new_store: bool) -> Result<(), Failure> {
    let rules = config.rules.iter().filter(|rule| rule.enabled).count();
    let file = config.file.as_deref().unwrap_or("no file");
    let store = if new_store { ", made now" } else { "" };
    let drain = match (config.drain.enabled, config.drain.secrets.is_empty()) {
        (false, _) => "off; every delivery is answered 501".to_owned(),
        (true, true) => "closed: HEROKU_LOG_DRAIN_HMAC_SECRET is not set, so every delivery is answered 501".to_owned(),
        (true, false) => "open; `dynowatch drain url --app NAME` makes a drain URL".to_owned(),
    };
    if ctx.json {
        ctx.out.json(&json!({
            "version": env!("CARGO_PKG_VERSION"), "listens_on": format!("http://{address}"), "config": config.file,
            "rules_on": rules, "apps": config.apps.len(), "receivers": config.receivers.len(),
            "store": config.database_url.to_string(), "store_made": new_store,
            "drain_on": config.drain.enabled && !config.drain.secrets.is_empty(), "warnings": config.warnings,
        }))?;
        return Ok(ctx.out.flush()?);
    }
    let (apps, receivers) = (plural(config.apps.len(), "app"), plural(config.receivers.len(), "receiver"));
    let out = &mut ctx.out;
    out.line(format!("dynowatch {} listens on http://{address}", env!("CARGO_PKG_VERSION")))?;
    out.line(format!("  config    {file}: {} on, {apps}, {receivers}", plural(rules, "rule")))?;
    out.line(format!("  store     {}{store}", config.database_url))?;
    out.line(format!("  drain     {drain}"))?;
    for warning in &config.warnings {
        out.line(format!("  warning   {warning}"))?;
    }
    Ok(out.flush()?)
}
