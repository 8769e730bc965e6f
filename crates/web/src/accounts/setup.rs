//! Links by which someone sets a password: the first account, an invitation, a new password. A look at the link changes
//! nothing, so that a preview in a chat does not use it up.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use dynowatch_domain::NewId as _;
use dynowatch_domain::account::password;
use dynowatch_domain::account::{Role, user_name};
use dynowatch_engine::random::RandomIds;
use dynowatch_store::accounts::{Factor, Link, LinkKind, NewUser, User};
use maud::html;
use secrecy::ExposeSecret as _;

use super::client::Client;
use super::current::{begin, new_session};
use super::form::{Field, Fields, page_with, see_other_with};
use super::limits::{Guess, address_key};
use super::secret_hash;
use crate::pages::error::PageError;
use crate::router::Web;

/// What stands in a link is this long.
const TOKEN_CHARS: usize = 64;

/// What was wrong, by field.
#[derive(Default)]
struct Wrong {
    name: Option<String>,
    password: Option<String>,
    again: Option<&'static str>,
}

/// The form of a link.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    client: Client,
    Path(token): Path<String>,
) -> Result<Response, PageError> {
    let link = find(&web, &client, &token).await?;
    Ok(form(&token, &client, &link, "", &Wrong::default()))
}

async fn find(web: &Web, client: &Client, token: &str) -> Result<Link, PageError> {
    let guess = Guess::Address(address_key(&client.address));
    if !web.accounts.limits.take(&guess, web.engine.now()) {
        return Err(PageError::too_many());
    }
    let found = match token.len() {
        TOKEN_CHARS => web.engine.store().link(&secret_hash(token), web.engine.now()).await?,
        _ => None,
    };
    let found = found.ok_or_else(|| {
        PageError::new(
            StatusCode::NOT_FOUND,
            "This link was used, ran out, or was replaced by a newer one: ask for another.",
        )
    })?;
    web.accounts.limits.undo(&guess);
    Ok(found)
}

fn form(token: &str, client: &Client, link: &Link, name: &str, wrong: &Wrong) -> Response {
    if !client.can_sign_in() {
        let content = html! {
            p { "This page came over plain http from another machine: whoever is on the way could read your password. Open it by https, or as http://localhost on the machine itself." }
        };
        return page_with(StatusCode::FORBIDDEN, "Set a password", &content);
    }
    let is_wrong = wrong.name.is_some() || wrong.password.is_some() || wrong.again.is_some();
    let name_field = Field {
        value: name,
        autocomplete: "username",
        help: "Small letters, digits, and - _ . @ +, as in ada.",
        error: wrong.name.as_deref(),
        ..Field::new("name", "Your name", "text")
    };
    let new = Field {
        autocomplete: "new-password",
        help: "At least 8 characters, better 15: four words are good. Nothing that is tried first.",
        error: wrong.password.as_deref(),
        ..Field::new("password", "New password", "password")
    };
    let again =
        Field { autocomplete: "new-password", error: wrong.again, ..Field::new("again", "The same again", "password") };
    let (title, why) = match link.kind {
        LinkKind::Setup => ("The first account", "It may do everything, and invites the others."),
        LinkKind::Invitation => ("Welcome", "Set a password, and you are in."),
        LinkKind::Reset => ("A new password", "All your sign-ins end; your authenticator stays."),
    };
    let content = html! {
        p { (why) }
        form method="post" action={ "/setup/" (token) } {
            @match &link.user {
                Some(user) => {
                    p { "For " strong { (user.name) } "." }
                    input type="hidden" name="username" value=(user.name) autocomplete="username";
                }
                None => (name_field.show()),
            }
            (new.show())
            (again.show())
            p { button.primary type="submit" { "Set the password" } }
        }
    };
    page_with(if is_wrong { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK }, title, &content)
}

/// Judges a new password, as everywhere one is set.
pub(crate) fn judge(web: &Web, name: &str, fields: &Fields) -> (Option<String>, Option<&'static str>) {
    let (new, again) = (fields.text("password"), fields.text("again"));
    let host = web.engine.public_url().as_ref().clone().unwrap_or_default();
    let password = password::check(new, &[name, &host]).err();
    let again = (password.is_none() && new != again).then_some("The two are not the same.");
    (password, again)
}

/// Uses a link.
pub(crate) async fn submit(
    State(web): State<Arc<Web>>,
    client: Client,
    headers: HeaderMap,
    Path(token): Path<String>,
    fields: Fields,
) -> Result<Response, PageError> {
    let link = find(&web, &client, &token).await?;
    if !client.can_sign_in() {
        return Ok(form(&token, &client, &link, "", &Wrong::default()));
    }
    let typed = fields.text("name");
    let (name, name_error) = match &link.user {
        Some(user) => (user.name.clone(), None),
        None => user_name(typed).map_or_else(|error| (String::new(), Some(error)), |name| (name, None)),
    };
    let (password, again) = judge(&web, &name, &fields);
    let wrong = Wrong { name: name_error, password, again };
    if wrong.name.is_some() || wrong.password.is_some() || wrong.again.is_some() {
        return Ok(form(&token, &client, &link, typed, &wrong));
    }
    let hash = web.accounts.passwords.hash(fields.text("password")).await?;
    match link.user {
        None => first(&web, &client, &token, name, hash).await,
        Some(user) => known(&web, &client, &headers, &token, link.kind, &user, &hash).await,
    }
}

async fn first(web: &Web, client: &Client, token: &str, name: String, hash: String) -> Result<Response, PageError> {
    let now = web.engine.now();
    let new =
        NewUser { id: RandomIds.new_id(now), name: name.clone(), role: Role::Superadmin, password_hash: Some(hash) };
    let (session, secret) = new_session(web, client);
    let act = client.actor(format!("user:{name}")).did("user.setup", &name).with("the first account");
    web.engine.store().set_up(&secret_hash(token), &new, &session, &act, now).await?;
    Ok(see_other_with("/settings/security", client.set_cookie(secret.expose_secret())))
}

async fn known(
    web: &Web,
    client: &Client,
    headers: &HeaderMap,
    token: &str,
    kind: LinkKind,
    user: &User,
    hash: &str,
) -> Result<Response, PageError> {
    let action = if kind == LinkKind::Reset { "user.password_reset" } else { "user.joined" };
    let act = client.actor(format!("user:{}", user.name)).did(action, &user.name);
    web.engine.store().use_link(&secret_hash(token), user.id, hash, &act, web.engine.now()).await?;
    if kind == LinkKind::Invitation && user.authenticator_at.is_none() {
        return Ok(begin(web, client, headers, user, &Factor::None, "invitation", "/").await?);
    }
    // A new password is no way around the code.
    Ok(see_other_with("/sign-in", client.drop_cookie()))
}
