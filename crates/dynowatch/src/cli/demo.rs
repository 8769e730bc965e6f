//! `demo`: a whole instance in a folder of its own, with a simulated team whose traffic enters as a drain's would. Owns the
//! folder, the configuration of the demo and what it says on the terminal; the traffic is [`crate::traffic`]'s.

mod checks;
mod feed;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use data_encoding::HEXLOWER;
use dynowatch_engine::random;
use secrecy::SecretString;
use tokio::sync::watch;

use super::accounts;
use super::context::Context;
use super::failure::Failure;
use super::serve::{self, Signals, Woken};
use crate::config::{self, Config, Env as _, MapEnv};
use crate::server::{Server, open_store};
use crate::traffic::Team;

use checks::Target;
use feed::Feed;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where to listen; otherwise on $PORT, on 127.0.0.1:8080, or on a free port when that is taken
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// The same seed gives the same names, dynos and stories
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// A folder that goes away with this value.
struct Folder(PathBuf);

impl Folder {
    fn new() -> std::io::Result<Self> {
        let path = std::env::temp_dir().join(format!("dynowatch-demo-{}", HEXLOWER.encode(&random::bytes::<8>())));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "the demo's folder could not be removed");
        }
    }
}

/// Runs the demo until a signal.
pub(crate) fn run(ctx: &mut Context, args: &Args) -> Result<(), Failure> {
    let folder = Folder::new()?;
    let token = format!("dw_{}", HEXLOWER.encode(&random::bytes::<16>()));
    let secret = HEXLOWER.encode(&random::bytes::<32>());
    let team = Team::new(args.seed);
    let target = Target::new()?;
    let config = configuration(ctx, args, &team, &folder.0, (&secret, &token), &target)?;
    let runtime = serve::runtime()?;
    let ended = runtime.block_on(Box::pin(play(ctx, config, (args.seed, target), &folder.0, secret.into(), &token)));
    runtime.shutdown_timeout(std::time::Duration::from_millis(100));
    ended
}

async fn play(
    ctx: &mut Context,
    config: Config,
    (seed, target): (u64, Target),
    folder: &Path,
    secret: SecretString,
    token: &str,
) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    // The folder is new: nobody else has it.
    let store = open_store(&config, false).await?;
    checks::remember(&store, &config.checks.checks, ctx.clock().now()).await?;
    store.close().await;
    let mut server = Server::start(&config, ctx.clock()).await?;
    crate::panics::know(&server.engine);
    let port = server.address.port();
    let url = format!("http://127.0.0.1:{port}");
    say(ctx, &url, folder, token)?;
    accounts::offer_setup(ctx, server.engine.store(), &format!("http://localhost:{port}")).await?;
    ctx.out.flush()?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(target.serve(tokio::time::Instant::now(), stopped.clone()));
    tokio::spawn(checks::job(server.engine.clone(), stopped.clone()));
    let feed = Feed::new(seed, &url, &secret, ctx.clock())?;
    let feed = tokio::spawn(feed.run(stopped));
    loop {
        match signals.wait(&mut server).await {
            Woken::Stop => break,
            Woken::Reload => tracing::warn!("the demo has no configuration file to read again"),
            Woken::Asked(request) => {
                let _told = request.reply.send(Err("the demo has no configuration file to read again".to_owned()));
            }
        }
    }
    stop.send_replace(true);
    let _ended = feed.await;
    serve::stop(server, &mut signals).await?;
    ctx.out.line("The demo is over; its folder is removed.")
}

/// An ordinary configuration: everything the demo does can be had by a file like this one.
fn configuration(
    ctx: &Context,
    args: &Args,
    team: &Team,
    folder: &Path,
    (secret, token): (&str, &str),
    target: &Target,
) -> Result<Config, Failure> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut text = format!(
        "[server]\nenvironment = \"demo\"\n[defaults]\nreceivers = [\"file\", \"terminal\"]\nsend_resolved = true\n\
         [[receivers]]\nname = \"file\"\nlog = {{ path = {} }}\n[[receivers]]\nname = \"terminal\"\nlog = {{}}\n",
        toml::Value::from(path("alerts.log"))
    );
    for app in Team::apps() {
        let token = team.drain_token(app).unwrap_or_default();
        text.push_str(&format!("[[apps]]\nname = \"{app}\"\ndrain_tokens = [\"{token}\"]\n"));
    }
    text.push_str(&target.configuration()?);
    let (store, port) = (format!("sqlite://{}", path("dynowatch.db")), ctx.env.get("PORT").unwrap_or_default());
    let env = [
        ("HEROKU_LOG_DRAIN_HMAC_SECRET", secret),
        ("DYNOWATCH_API_TOKEN", token),
        ("DATABASE_URL", store.as_str()),
        ("PORT", port.as_str()),
    ];
    let mut config = config::parse("the demo's own configuration", &text, &MapEnv::from(env.as_slice()))?;
    config.listen =
        args.listen.unwrap_or_else(|| if port.is_empty() { free_or_any(config.listen) } else { config.listen });
    Ok(config)
}

/// The address, or a free port when it is taken: a second demo must not fail for want of an argument.
fn free_or_any(wanted: SocketAddr) -> SocketAddr {
    match TcpListener::bind(wanted) {
        Ok(_free) => wanted,
        Err(_) => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
    }
}

fn say(ctx: &mut Context, url: &str, folder: &Path, token: &str) -> Result<(), Failure> {
    let log = folder.join("alerts.log");
    ctx.out.text(&format!(
        "dynowatch demo: four simulated apps drain their logs into {url}

Look at
  {url}/                what is open now
  {url}/checks          what is looked at from outside, with thirty days of past
  {url}/deliveries      messages and what became of them
  {}

Ask the API
  curl -H 'Authorization: Bearer {token}' {url}/api/v1/alerts
  curl -H 'Authorization: Bearer {token}' {url}/api/v1/apps
  curl {url}/metrics

What happens, in rounds of ten minutes; the first minute is filled in at once, two quiet hours before it within
another:
  shop-web        H12 and Gunicorn worker timeouts: alerts at once and within half a minute
  billing-worker  a worker leaks: R14 at once, R15 after about half a minute
  api-prod        a bad release, a crash loop and H10: at once; its check is down after half a minute; rolled back
                  after two minutes
  reports         nothing; its job reports every half minute

Messages are printed below as they are sent. Ctrl-C ends the demo.
",
        log.display()
    ))?;
    Ok(ctx.out.flush()?)
}
