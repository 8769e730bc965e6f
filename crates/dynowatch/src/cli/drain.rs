//! `drain url|token|verify`: credentials of drains, and a look at an instance from where a drain stands.
//! `drain list|add|rotate|remove` ask Heroku: see [`manage`].

mod manage;
mod verify;

use dynowatch_domain::app_name::{APP_NAME_WANTED, is_app_name};
use dynowatch_web::drain::{DRAIN_USER, TOKEN_BYTES_MAX, app_subject, credential_text};
use reqwest::Url;
use secrecy::SecretString;
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use crate::config::Config;
use crate::heroku;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Print a complete drain URL for an app: one step, no placeholder
    ///
    /// The URL holds a password that is made from HEROKU_LOG_DRAIN_HMAC_SECRET and the app's name. It works for
    /// Private Spaces, too.
    Url {
        /// The app's name, as in `heroku apps`
        #[arg(long, value_name = "NAME")]
        app: String,
        /// Where Heroku reaches this instance; else public_url of the configuration
        #[arg(long, value_name = "URL")]
        public_url: Option<String>,
    },
    /// Print the drain_token of a Logplex drain token, for URLs of the form /drain?drain_token=…
    Token {
        /// What `heroku drains` prints in parentheses, as in d.01234567-89ab-4cde-8f01-23456789abcd
        logplex_token: String,
    },
    /// The log drains of an app at Heroku, and how the replacement of one stands
    List(manage::Target),
    /// Add a drain of an app to this instance
    ///
    /// The URL is that of `drain url`; Heroku is told it, nobody else.
    Add(manage::Target),
    /// Replace an app's drain to this instance by a new one, without losing or doubling a line
    ///
    /// A second drain is added, signed with the newest secret. While both deliver, each line counts once, by its own
    /// stamp. When the second has delivered, the first is removed a minute later. A running server does all that comes
    /// after the first step; `drain list` says how it stands.
    Rotate(manage::Rotate),
    /// Remove an app's drain to this instance
    Remove(manage::Which),
    /// Post a signed, marked test line to a running instance and report what each step saw
    ///
    /// The line matches no built-in rule. It is posted as the drain of --app or --drain-token would be, else as the app
    /// dynowatch.
    Verify(verify::Args),
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Url { app, public_url } => url(ctx, &app, public_url.as_deref()),
        Command::Token { logplex_token } => token(ctx, &logplex_token),
        Command::List(target) => manage::list(ctx, target).await,
        Command::Add(target) => manage::add(ctx, target).await,
        Command::Rotate(args) => manage::rotate(ctx, args).await,
        Command::Remove(which) => manage::remove(ctx, which).await,
        Command::Verify(args) => verify::run(ctx, &args).await,
    }
}

fn url(ctx: &mut Context, app: &str, public_url: Option<&str>) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    check_app(app)?;
    let base = public_url.or(config.public_url.as_deref()).ok_or_else(|| {
        Failure::wrong(
            "--public-url is missing, and the configuration has no public_url: where does Heroku reach this instance?",
        )
    })?;
    base_url(base)?;
    let secret = secret(&config)?;
    let url = heroku::drain_url(base, secret, app).ok_or_else(|| not_a_base(base))?;
    let password = credential(secret, &app_subject(app))?;
    let command = format!("heroku drains:add '{url}' --app {app}");
    if ctx.json {
        return ctx.out.json(
            &json!({ "app": app, "url": url.as_str(), "user": DRAIN_USER, "password": password, "command": command }),
        );
    }
    ctx.out.line(url.as_str())?;
    ctx.out.line("")?;
    ctx.out.line("Add it with")?;
    ctx.out.line(format!("  {command}"))?;
    if url.scheme() == "http" {
        ctx.out.line("With http the password and every log line travel in the clear: use https, except for tests.")?;
    }
    Ok(())
}

fn token(ctx: &mut Context, logplex_token: &str) -> Result<(), Failure> {
    check_token(logplex_token)?;
    let config = ctx.load_offline()?;
    let drain_token = credential(secret(&config)?, logplex_token)?;
    if ctx.json {
        return ctx.out.json(&json!({ "logplex_token": logplex_token, "drain_token": drain_token }));
    }
    ctx.out.line(drain_token)
}

/// The newest secret: new URLs are made with it.
fn secret(config: &Config) -> Result<&SecretString, Failure> {
    config.drain.secrets.first().ok_or_else(|| {
        Failure::wrong("HEROKU_LOG_DRAIN_HMAC_SECRET is not set: set it to the secret of the server, or make one with `openssl rand -hex 32`")
    })
}

fn credential(secret: &SecretString, subject: &str) -> Result<String, Failure> {
    credential_text(secret, subject).ok_or_else(|| Failure::wrong("HEROKU_LOG_DRAIN_HMAC_SECRET cannot sign anything"))
}

fn check_app(app: &str) -> Result<(), Failure> {
    if is_app_name(app) {
        return Ok(());
    }
    Err(Failure::wrong(format!("{app:?} is not a name for an app: use {APP_NAME_WANTED}")))
}

fn check_token(token: &str) -> Result<(), Failure> {
    let good = (1..=TOKEN_BYTES_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
    if good && !token.starts_with("app:") {
        return Ok(());
    }
    Err(Failure::wrong(format!(
        "{token:?} is not a drain token: write what `heroku drains` prints in parentheses, as in d.01234567-89ab-4cde-8f01-23456789abcd"
    )))
}

/// Where an instance is, as a URL to which paths are appended.
fn base_url(text: &str) -> Result<Url, Failure> {
    let url = Url::parse(text).map_err(|_| not_a_base(text))?;
    let plain =
        url.username().is_empty() && url.password().is_none() && url.query().is_none() && url.fragment().is_none();
    if matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        return Ok(url);
    }
    Err(not_a_base(text))
}

fn not_a_base(text: &str) -> Failure {
    // A user and a password in it would be somebody's secret.
    let shown = if text.contains('@') { "what was given".to_owned() } else { format!("{text:?}") };
    Failure::wrong(format!("{shown} is not a base URL: write one such as https://dynowatch.example.com"))
}
