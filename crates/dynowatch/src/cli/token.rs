//! `token create|list|revoke`: tokens of the API. A token is printed once; the store keeps its hash.

use std::time::Duration;

use dynowatch_domain::NewId as _;
use dynowatch_domain::account::Scopes;
use dynowatch_domain::parse::{duration, show_duration};
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_engine::random::RandomIds;
use dynowatch_store::tokens::NewApiToken;
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::{when, when_any};
use crate::server;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it, this once
    Create {
        /// What it is for, as in ci or grafana
        name: String,
        /// What it may: read, operate, admin; may be given several times
        #[arg(long, value_name = "SCOPE", default_value = "read")]
        scope: Vec<String>,
        /// Only for this app; may be given several times
        #[arg(long, value_name = "APP")]
        app: Vec<String>,
        /// How long it is good, as in 90d; `never` for a token without an end
        #[arg(long, value_name = "TIME", default_value = "90d")]
        expires: String,
    },
    /// All tokens, revoked ones too, without their secrets
    List,
    /// Take a token out of use for good
    Revoke {
        /// Its name
        name: String,
    },
}

/// Does what the command says.
pub(crate) async fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { name, scope, app, expires } => create(ctx, &name, &scope, app, &expires).await,
        Command::List => list(ctx).await,
        Command::Revoke { name } => revoke(ctx, &name).await,
    }
}

async fn create(
    ctx: &mut Context,
    name: &str,
    scope: &[String],
    apps: Vec<String>,
    expires: &str,
) -> Result<(), Failure> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Failure::wrong(format!(
            "{name:?} is not a name for a token: use 1 to {NAME_BYTES_MAX} bytes of text"
        )));
    }
    let scopes = Scopes { scopes: Scopes::read(&scope.join(" ")).map_err(Failure::wrong)?, apps };
    let lasting = lasting(expires)?;
    let config = ctx.load_offline()?;
    // A first token may come before the first start, so this command makes the store.
    let store = server::open_store(&config, false).await?;
    let (token, hash) = dynowatch_web::new_token();
    let now = ctx.now();
    let id = RandomIds.new_id(now);
    let expires_at = lasting.map(|lasting| now + lasting);
    let act = ctx.actor().did("token.create", name).with(format!("may {scopes}, {expires}"));
    let new = NewApiToken { id, name: name.to_owned(), hash, scopes, expires_at, user: None };
    let made = store.create_api_token(&new, None, &act, now).await;
    store.close().await;
    made?;
    if ctx.json {
        return ctx.out.json(&json!({ "id": id, "name": name, "token": token }));
    }
    ctx.out.line(&token)?;
    ctx.out.line(format!("This is shown once. It is good for the API of the server on {}:", config.database_url))?;
    ctx.out.line("  Authorization: Bearer TOKEN")
}

/// How long a token is good; none for ever.
fn lasting(text: &str) -> Result<Option<Duration>, Failure> {
    const MAX: Duration = Duration::from_secs(dynowatch_web::TOKEN_DAYS_MAX * 86_400);
    if text == "never" {
        return Ok(None);
    }
    let lasting = duration(text).map_err(|error| Failure::wrong(format!("--expires: {}", error.0)))?;
    if lasting.is_zero() || lasting > MAX {
        return Err(Failure::wrong(format!("--expires: write more than 0s and at most {}", show_duration(MAX))));
    }
    Ok(Some(lasting))
}

async fn list(ctx: &mut Context) -> Result<(), Failure> {
    let store = ctx.store(&ctx.load_offline()?).await?;
    let (tokens, now) = (store.api_tokens().await?, ctx.now());
    if ctx.json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| {
                json!({
                    "id": token.id, "name": token.name, "state": token.state(now).as_str(),
                    "created_at": token.created_at.to_string(),
                    "last_used_at": token.last_used_at.map(|at| at.to_string()),
                    "revoked_at": token.revoked_at.map(|at| at.to_string()),
                    "expires_at": token.expires_at.map(|at| at.to_string()),
                    "scopes": token.scopes.words(), "apps": token.scopes.apps,
                })
            })
            .collect();
        return ctx.out.json(&tokens);
    }
    if tokens.is_empty() {
        return ctx.out.line("no tokens; `dynowatch token create NAME` makes one");
    }
    let rows: Vec<_> = tokens
        .iter()
        .map(|token| {
            let state = token.state(now).as_str();
            let until = token.expires_at.map_or_else(|| "never".to_owned(), when);
            let may = token.scopes.to_string();
            vec![state.to_owned(), until, when(token.created_at), when_any(token.last_used_at), may, token.name.clone()]
        })
        .collect();
    ctx.out.table(&["STATE", "EXPIRES (UTC)", "CREATED (UTC)", "LAST USED (UTC)", "MAY", "NAME"], &rows)
}

async fn revoke(ctx: &mut Context, name: &str) -> Result<(), Failure> {
    let store = ctx.store(&ctx.load_offline()?).await?;
    let was_good = store.revoke_api_token(name, &ctx.actor().did("token.revoke", name), ctx.now()).await?;
    store.close().await;
    if !was_good {
        return Err(Failure::failed(format!("no token in use is named {name:?}; `dynowatch token list` shows all")));
    }
    if ctx.json {
        ctx.out.json(&json!({ "name": name, "revoked": true }))
    } else {
        ctx.out.line(format!("{name} is revoked"))
    }
}
