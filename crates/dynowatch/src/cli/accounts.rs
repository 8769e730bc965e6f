//! `setup-link`, `users`, `audit`: people and the audit log, from the machine itself. Whoever may run these reads the store
//! anyway, so nothing is confirmed; everything is audited.

use std::io::IsTerminal as _;

use data_encoding::HEXLOWER;
use dynowatch_domain::account::audit::Verifier;
use dynowatch_domain::account::session::{INVITATION, SETUP_LINK};
use dynowatch_domain::account::{Role, user_name};
use dynowatch_domain::{NewId as _, Timestamp};
use dynowatch_engine::random::RandomIds;
use dynowatch_store::accounts::{Factor, NewUser, User};
use dynowatch_store::audit::{AUDIT_PAGE_MAX, audit_hash};
use dynowatch_store::{Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;

use super::context::Context;
use super::failure::Failure;
use super::out::{when, when_any};
use crate::config::Config;
use crate::server;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Users {
    /// Everyone who has an account
    List,
    /// Invite someone, and print the link to hand over
    Add {
        /// What they sign in as
        name: String,
        /// viewer, operator or superadmin
        #[arg(long, default_value = "viewer", value_parser = role)]
        role: Role,
    },
    /// Shut someone out at once: sign-ins end, tokens are revoked
    Disable {
        /// Who
        name: String,
    },
    /// Let someone in again
    Enable {
        /// Who
        name: String,
    },
    /// Give someone another role
    Role {
        /// Who
        name: String,
        /// viewer, operator or superadmin
        #[arg(value_parser = role)]
        role: Role,
    },
    /// Print a link by which someone sets a new password; their authenticator stays
    Reset {
        /// Who
        name: String,
        /// Also remove their authenticator, when phone and recovery codes are lost
        #[arg(long)]
        authenticator: bool,
    },
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Audit {
    /// Walk the whole chain of the audit log, and print its newest entry and hash
    Verify {
        /// A place and its hash that were printed earlier, as in 120:9f86d0…; the log must still hold them
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
    },
    /// Print the audit log as lines of JSON, oldest first
    Export,
}

fn role(text: &str) -> Result<Role, String> {
    Role::named(text).ok_or_else(|| "write viewer, operator or superadmin".to_owned())
}

/// `setup-link`.
pub(crate) async fn setup_link(ctx: &mut Context) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    // The first link may come before the first start, so this command makes the store.
    let store = server::open_store(&config, false).await?;
    let made = make_setup_link(ctx, &store).await;
    store.close().await;
    let (secret, until) = match made {
        Err(StoreError::Conflict(_)) => {
            return Err(Failure::failed(
                "there are accounts already: `dynowatch users reset NAME` makes a link for one of them, `dynowatch users add` invites someone",
            ));
        }
        made => made?,
    };
    let link = url(&config, &secret);
    if ctx.json {
        return ctx.out.json(&json!({ "link": link, "expires_at": until.to_string() }));
    }
    ctx.out.line(&link)?;
    ctx.out.line(format!("It makes the first account, once, until {}.", until.for_people()))
}

async fn make_setup_link(ctx: &Context, store: &Store) -> Result<(SecretString, Timestamp), StoreError> {
    let (secret, hash) = dynowatch_web::new_link();
    let until = ctx.now() + SETUP_LINK;
    store.make_setup_link(hash, until, &ctx.actor().did("setup.link", ""), ctx.now()).await?;
    Ok((secret, until))
}

/// Says at a start how the first account is made, while there is none. The link itself goes to a terminal alone: what is
/// written into a log is read by others.
pub(crate) async fn offer_setup(ctx: &mut Context, store: &Store, base: &str) -> Result<(), Failure> {
    if store.has_users().await? {
        return Ok(());
    }
    if ctx.json {
        return ctx.out.json(&json!({ "accounts": 0, "make_the_first_with": "dynowatch setup-link" }));
    }
    if !std::io::stdout().is_terminal() {
        return ctx.out.line("  accounts  none yet: `dynowatch setup-link` prints a link that makes the first one");
    }
    let (secret, _until) = make_setup_link(ctx, store).await?;
    ctx.out.line(format!(
        "  accounts  none yet: {base}/setup/{} makes the first one, within 30 minutes",
        secret.expose_secret()
    ))
}

fn url(config: &Config, secret: &SecretString) -> String {
    let base = config.public_url.clone().unwrap_or_else(|| format!("http://localhost:{}", config.listen.port()));
    format!("{base}/setup/{}", secret.expose_secret())
}

/// `users`.
pub(crate) async fn users(ctx: &mut Context, command: Users) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let store = ctx.store(&config).await?;
    let done = change(ctx, &config, &store, command).await;
    store.close().await;
    done
}

async fn change(ctx: &mut Context, config: &Config, store: &Store, command: Users) -> Result<(), Failure> {
    let (actor, now) = (ctx.actor(), ctx.now());
    match command {
        Users::List => list(ctx, &store.users().await?),
        Users::Add { name, role } => {
            let name = user_name(&name).map_err(Failure::wrong)?;
            let (secret, hash) = dynowatch_web::new_link();
            let new = NewUser { id: RandomIds.new_id(now), name: name.clone(), role, password_hash: None };
            let act = actor.did("user.invite", &name).with(format!("as {}", role.as_str()));
            store.invite(&new, hash, now + INVITATION, None, &act, now).await?;
            hand_over(ctx, config, &name, &secret, now + INVITATION)
        }
        Users::Disable { name } => {
            let user = find(store, &name).await?;
            store.set_disabled(user.id, true, None, &actor.did("user.disable", &user.name), now).await?;
            said(ctx, &user.name, "shut out; all sign-ins ended, all tokens are revoked")
        }
        Users::Enable { name } => {
            let user = find(store, &name).await?;
            store.set_disabled(user.id, false, None, &actor.did("user.enable", &user.name), now).await?;
            said(ctx, &user.name, "let in again; revoked tokens stay revoked")
        }
        Users::Role { name, role } => {
            let user = find(store, &name).await?;
            let was = format!("{} instead of {}", role.as_str(), user.role.as_str());
            store.set_role(user.id, role, None, &actor.did("user.role", &user.name).with(was), now).await?;
            said(ctx, &user.name, role.as_str())
        }
        Users::Reset { name, authenticator } => {
            let user = find(store, &name).await?;
            if authenticator {
                let act = actor.did("user.authenticator", &user.name).with("removed");
                store.remove_authenticator(user.id, &Factor::None, None, &act, now).await?;
            }
            let (secret, hash) = dynowatch_web::new_link();
            let act = actor.did("user.reset", &user.name);
            store.make_reset_link(user.id, hash, now + SETUP_LINK, None, &act, now).await?;
            hand_over(ctx, config, &user.name, &secret, now + SETUP_LINK)
        }
    }
}

async fn find(store: &Store, name: &str) -> Result<User, Failure> {
    let found = store.user_by_name(&name.trim().to_lowercase()).await?;
    found.ok_or_else(|| Failure::failed(format!("nobody is called {name:?}; `dynowatch users list` shows all")))
}

fn hand_over(
    ctx: &mut Context,
    config: &Config,
    name: &str,
    secret: &SecretString,
    until: Timestamp,
) -> Result<(), Failure> {
    let link = url(config, secret);
    if ctx.json {
        return ctx.out.json(&json!({ "name": name, "link": link, "expires_at": until.to_string() }));
    }
    ctx.out.line(&link)?;
    ctx.out
        .line(format!("Send it to {name} by a way that only they read. It opens once, until {}.", until.for_people()))
}

fn said(ctx: &mut Context, name: &str, what: &str) -> Result<(), Failure> {
    if ctx.json { ctx.out.json(&json!({ "name": name, "now": what })) } else { ctx.out.line(format!("{name}: {what}")) }
}

fn list(ctx: &mut Context, users: &[User]) -> Result<(), Failure> {
    if ctx.json {
        let users: Vec<_> = users
            .iter()
            .map(|user| {
                json!({
                    "id": user.id, "name": user.name, "role": user.role.as_str(),
                    "created_at": user.created_at.to_string(),
                    "disabled_at": user.disabled_at.map(|at| at.to_string()),
                    "signed_in_at": user.signed_in_at.map(|at| at.to_string()),
                    "authenticator": user.authenticator_at.is_some(),
                })
            })
            .collect();
        return ctx.out.json(&users);
    }
    if users.is_empty() {
        return ctx
            .out
            .line("nobody has an account yet; `dynowatch setup-link` prints a link that makes the first one");
    }
    let rows: Vec<_> = users
        .iter()
        .map(|user| {
            let state = if user.disabled_at.is_some() { "off" } else { "on" };
            let code = if user.authenticator_at.is_some() { "yes" } else { "no" };
            vec![
                state.to_owned(),
                user.role.as_str().to_owned(),
                code.to_owned(),
                when(user.created_at),
                when_any(user.signed_in_at),
                user.name.clone(),
            ]
        })
        .collect();
    ctx.out.table(&["STATE", "ROLE", "AUTHENTICATOR", "CREATED (UTC)", "SIGNED IN (UTC)", "NAME"], &rows)
}

/// `audit`.
pub(crate) async fn audit(ctx: &mut Context, command: Audit) -> Result<(), Failure> {
    let config = ctx.load_offline()?;
    let store = ctx.store(&config).await?;
    let done = match command {
        Audit::Verify { head } => verify(ctx, &store, head.as_deref()).await,
        Audit::Export => export(ctx, &store).await,
    };
    store.close().await;
    done
}

async fn verify(ctx: &mut Context, store: &Store, head: Option<&str>) -> Result<(), Failure> {
    let noted = head.map(|head| {
        let parts = head.split_once(':').and_then(|(seq, hash)| Some((seq.parse::<i64>().ok()?, hash.to_lowercase())));
        parts.ok_or_else(|| Failure::wrong("--head is a place and a hash, as `audit verify` prints them: 120:9f86d0…"))
    });
    let noted = noted.transpose()?;
    let (mut verifier, mut at, mut found) = (Verifier::default(), 0, noted.is_none());
    loop {
        let entries = store.audit_after(at, AUDIT_PAGE_MAX).await?;
        let Some(last) = entries.last() else { break };
        at = last.seq;
        for entry in &entries {
            verifier
                .take(entry, audit_hash)
                .map_err(|broken| Failure::failed(format!("the audit log is broken: {broken}")))?;
            if let Some((seq, hash)) = &noted {
                found |= entry.seq == *seq && HEXLOWER.encode(&entry.hash) == *hash;
            }
        }
    }
    if !found {
        return Err(Failure::failed(
            "the chain is whole, but it does not hold the entry that was noted: the log was written anew",
        ));
    }
    let newest = verifier.head().map(|(seq, hash)| (seq, HEXLOWER.encode(&hash)));
    match (ctx.json, newest) {
        (true, newest) => {
            ctx.out.json(&json!({ "whole": true, "head": newest.map(|(seq, hash)| format!("{seq}:{hash}")) }))
        }
        (false, None) => ctx.out.line("the audit log is empty"),
        (false, Some((seq, hash))) => {
            ctx.out.line(format!("whole: {seq} entries, each follows the one before"))?;
            ctx.out.line(format!("{seq}:{hash}"))?;
            ctx.out.line("Note this line elsewhere; `--head` holds a later log against it.")
        }
    }
}

async fn export(ctx: &mut Context, store: &Store) -> Result<(), Failure> {
    store.audit(&ctx.actor().did("audit.export", ""), ctx.now()).await?;
    let mut at = 0;
    loop {
        let entries = store.audit_after(at, AUDIT_PAGE_MAX).await?;
        let Some(last) = entries.last() else { return Ok(()) };
        at = last.seq;
        for entry in &entries {
            ctx.out.json(&json!({
                "seq": entry.seq, "at": entry.at.to_string(), "at_us": entry.at.as_micros(),
                "actor": entry.actor, "address": entry.address, "action": entry.action, "subject": entry.subject,
                "detail": entry.detail, "previous": HEXLOWER.encode(&entry.previous), "hash": HEXLOWER.encode(&entry.hash),
            }))?;
        }
    }
}
