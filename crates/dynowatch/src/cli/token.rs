//! `token create|list|revoke`: tokens of the API. A token is printed once; the store keeps its hash.

use data_encoding::HEXLOWER;
use dynowatch_domain::NewId as _;
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_engine::random::{self, RandomIds};
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::{when, when_any};
use crate::server;

/// What every token begins with, so that scanners for leaked secrets can know it.
const PREFIX: &str = "dw_";

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Make a token and print it, this once
    Create {
        /// What it is for, as in ci or grafana
        name: String,
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
        Command::Create { name } => create(ctx, &name).await,
        Command::List => list(ctx).await,
        Command::Revoke { name } => revoke(ctx, &name).await,
    }
}

async fn create(ctx: &mut Context, name: &str) -> Result<(), Failure> {
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(Failure::wrong(format!(
            "{name:?} is not a name for a token: use 1 to {NAME_BYTES_MAX} bytes of text"
        )));
    }
    let config = ctx.load_offline()?;
    // A first token may come before the first start, so this command makes the store.
    let store = server::open_store(&config, false).await?;
    let token = format!("{PREFIX}{}", HEXLOWER.encode(&random::bytes::<32>()));
    let now = ctx.now();
    let id = RandomIds.new_id(now);
    store.create_api_token(id, name, &dynowatch_web::token_hash(&token), now).await?;
    store.close().await;
    if ctx.json {
        return ctx.out.json(&json!({ "id": id, "name": name, "token": token }));
    }
    ctx.out.line(&token)?;
    ctx.out.line(format!("This is shown once. It is good for the API of the server on {}:", config.database_url))?;
    ctx.out.line("  Authorization: Bearer TOKEN")
}

async fn list(ctx: &mut Context) -> Result<(), Failure> {
    let store = ctx.store(&ctx.load_offline()?).await?;
    let tokens = store.api_tokens().await?;
    if ctx.json {
        let tokens: Vec<_> = tokens
            .iter()
            .map(|token| {
                json!({
                    "id": token.id, "name": token.name, "created_at": token.created_at.to_string(),
                    "last_used_at": token.last_used_at.map(|at| at.to_string()),
                    "revoked_at": token.revoked_at.map(|at| at.to_string()),
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
            let state = if token.revoked_at.is_some() { "revoked" } else { "good" };
            vec![state.to_owned(), when(token.created_at), when_any(token.last_used_at), token.name.clone()]
        })
        .collect();
    ctx.out.table(&["STATE", "CREATED (UTC)", "LAST USED (UTC)", "NAME"], &rows)
}

async fn revoke(ctx: &mut Context, name: &str) -> Result<(), Failure> {
    let store = ctx.store(&ctx.load_offline()?).await?;
    let was_good = store.revoke_api_token(name, ctx.now()).await?;
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
