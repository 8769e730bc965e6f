//! People: who there is, inviting, roles, switching off, links for a new password. Each change is confirmed.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::account::session::{INVITATION, SETUP_LINK};
use dynowatch_domain::account::{Role, user_name};
use dynowatch_domain::{NewId as _, Timestamp};
use dynowatch_engine::random::RandomIds;
use dynowatch_store::accounts::{Factor, NewUser, User};
use maud::{Markup, html};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use super::client::Client;
use super::confirm::{Change, confirmed, done};
use super::form::{Field, Fields, moment, page, places, see_other};
use super::new_link;
use crate::pages::error::PageError;
use crate::pages::look::Look;
use crate::pages::parts::copyable;
use crate::router::Web;
use crate::viewer::{SuperadminOnly, Viewer};
use crate::zone::Zone;

const HERE: &str = "/settings/users";

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    look: Look,
    SuperadminOnly(viewer): SuperadminOnly,
) -> Result<Response, PageError> {
    let users = web.engine.store().users().await?;
    let content = html! {
        (places(HERE, true))
        table {
            thead { tr { th scope="col" { "Name" } th scope="col" { "Role" } th scope="col" { "State" } th scope="col" { "Authenticator" } th scope="col" { "Last signed in" } th scope="col" { "" } } }
            tbody { @for user in &users { (row(&viewer, &look.zone, user)) } }
        }
        h2 { "Invite someone" }
        form method="post" action=(HERE) {
            (viewer.csrf_field())
            (Field { help: "Small letters, digits, and - _ . @ +, as in ada.", ..Field::new("name", "Name", "text") }.show())
            (role_field(Role::Viewer, false))
            p { button.primary type="submit" { "Invite" } }
        }
        dl {
            dt { "viewer" } dd { "looks" }
            dt { "operator" } dd { "closes alerts, writes rules, reveals lines" }
            dt { "superadmin" } dd { "also people, tokens, the configuration and the audit log" }
        }
    };
    Ok(page("People", &content))
}

/// In a table the head says what it is to those who see it.
fn role_field(present: Role, in_table: bool) -> Markup {
    html! {
        p.field {
            label { span.visually-hidden[in_table] { "Role" } select name="role" {
                @for role in Role::ALL { option value=(role.as_str()) selected[role == present] { (role.as_str()) } }
            } }
        }
    }
}

fn row(viewer: &Viewer, zone: &Zone, user: &User) -> Markup {
    let state = match (user.disabled_at, &user.password_hash) {
        (Some(_), _) => "switched off",
        (None, None) if user.signed_in_at.is_none() => "invited",
        (None, _) => "in",
    };
    let post = |what: &str, label: &str, more: Markup| {
        html! {
            form method="post" action={ (HERE) "/" (user.id) "/" (what) } {
                (viewer.csrf_field()) (more)
                button type="submit" { (label) }
            }
        }
    };
    html! {
        tr {
            td data-of="Name" { strong { (user.name) } }
            td data-of="Role" { (post("role", "Change role", role_field(user.role, true))) }
            td data-of="State" { (state) }
            td data-of="Authenticator" { @if user.authenticator_at.is_some() { "yes " (post("authenticator", "Remove", html! {})) } @else { "no" } }
            td data-of="Last signed in" { @if let Some(at) = user.signed_in_at { (moment(zone, at)) } @else { "never" } }
            td {
                @if user.disabled_at.is_some() { (post("enable", "Switch on", html! {})) }
                @else { (post("reset", "Link for a new password", html! {})) " " (post("disable", "Switch off", html! {})) }
            }
        }
    }
}

fn role(fields: &Fields) -> Result<Role, PageError> {
    let bad = || PageError::new(StatusCode::UNPROCESSABLE_ENTITY, "Choose a role: viewer, operator or superadmin.");
    Role::named(fields.text("role")).ok_or_else(bad)
}

async fn find(web: &Web, id: Uuid) -> Result<User, PageError> {
    let found = web.engine.store().user(id).await?;
    found.ok_or_else(|| PageError::not_found("There is nobody of that id."))
}

fn did(client: &Client, viewer: &Viewer, action: &'static str, name: &str) -> Act {
    client.actor(format!("user:{}", viewer.name)).did(action, name)
}

/// Invites someone.
pub(crate) async fn invite(
    State(web): State<Arc<Web>>,
    client: Client,
    look: Look,
    SuperadminOnly(viewer): SuperadminOnly,
    fields: Fields,
) -> Result<Response, PageError> {
    let name = user_name(fields.text("name"));
    let name =
        name.map_err(|error| PageError::new(StatusCode::UNPROCESSABLE_ENTITY, &format!("The name: {error}.")))?;
    let role = role(&fields)?;
    let change = Change {
        action: "user.invite",
        path: HERE,
        summary: &format!("{name} is invited as {}.", role.as_str()),
        params: &[("name", &name), ("role", role.as_str())],
    };
    let confirmed = match confirmed(&web, &viewer, &client, &change, &fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let now = web.engine.now();
    let new = NewUser { id: RandomIds.new_id(now), name: name.clone(), role, password_hash: None };
    let (secret, hash) = new_link();
    let until = now + INVITATION;
    let act = did(&client, &viewer, "user.invite", &name).with(format!("as {}", role.as_str()));
    web.engine.store().invite(&new, hash, until, Some(&confirmed), &act, now).await?;
    Ok(link_page(&web, &look.zone, &name, &secret, until))
}

fn link_page(web: &Web, zone: &Zone, name: &str, secret: &SecretString, until: Timestamp) -> Response {
    let base = web.engine.public_url().as_ref().clone().unwrap_or_default();
    let content = html! {
        p { "Send this link to " strong { (name) } " by a way that only they read. It opens once, until " (moment(zone, until)) ", and is shown this once." }
        (copyable(&format!("{base}/setup/{}", secret.expose_secret())))
        @if base.is_empty() { p { "The address of this instance goes before it: " code { "public_url" } " is not set." } }
        p { a href=(HERE) { "Back to the people" } }
    };
    done("A link to hand over", &content)
}

/// Another role.
pub(crate) async fn set_role(
    State(web): State<Arc<Web>>,
    client: Client,
    SuperadminOnly(viewer): SuperadminOnly,
    Path(id): Path<Uuid>,
    fields: Fields,
) -> Result<Response, PageError> {
    let (user, role) = (find(&web, id).await?, role(&fields)?);
    let change = Change {
        action: "user.role",
        path: &format!("{HERE}/{id}/role"),
        summary: &format!("{} is {} from now on, not {}.", user.name, role.as_str(), user.role.as_str()),
        params: &[("role", role.as_str())],
    };
    let confirmed = match confirmed(&web, &viewer, &client, &change, &fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let was = format!("{} instead of {}", role.as_str(), user.role.as_str());
    let act = did(&client, &viewer, "user.role", &user.name).with(was);
    web.engine.store().set_role(id, role, Some(&confirmed), &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}

/// Shuts someone out.
pub(crate) async fn disable(
    state: State<Arc<Web>>,
    client: Client,
    who: SuperadminOnly,
    Path(id): Path<Uuid>,
    fields: Fields,
) -> Result<Response, PageError> {
    switch(&state, &client, &who.0, id, true, &fields).await
}

/// Lets someone in again.
pub(crate) async fn enable(
    state: State<Arc<Web>>,
    client: Client,
    who: SuperadminOnly,
    Path(id): Path<Uuid>,
    fields: Fields,
) -> Result<Response, PageError> {
    switch(&state, &client, &who.0, id, false, &fields).await
}

async fn switch(
    web: &Web,
    client: &Client,
    viewer: &Viewer,
    id: Uuid,
    off: bool,
    fields: &Fields,
) -> Result<Response, PageError> {
    let user = find(web, id).await?;
    let (action, word, summary) = if off {
        (
            "user.disable",
            "disable",
            format!("{} is shut out at once: all sign-ins end, all tokens are revoked.", user.name),
        )
    } else {
        ("user.enable", "enable", format!("{} may sign in again; revoked tokens stay revoked.", user.name))
    };
    let path = format!("{HERE}/{id}/{word}");
    let change = Change { action, path: &path, summary: &summary, params: &[] };
    let confirmed = match confirmed(web, viewer, client, &change, fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let act = did(client, viewer, action, &user.name);
    web.engine.store().set_disabled(id, off, Some(&confirmed), &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}

/// A link by which someone sets a new password.
pub(crate) async fn reset(
    State(web): State<Arc<Web>>,
    client: Client,
    look: Look,
    SuperadminOnly(viewer): SuperadminOnly,
    Path(id): Path<Uuid>,
    fields: Fields,
) -> Result<Response, PageError> {
    let user = find(&web, id).await?;
    let change = Change {
        action: "user.reset",
        path: &format!("{HERE}/{id}/reset"),
        summary: &format!("{} gets a link to set a new password; it is good for 30 minutes.", user.name),
        params: &[],
    };
    let confirmed = match confirmed(&web, &viewer, &client, &change, &fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let (secret, hash) = new_link();
    let now = web.engine.now();
    let until = now + SETUP_LINK;
    let act = did(&client, &viewer, "user.reset", &user.name);
    web.engine.store().make_reset_link(id, hash, until, Some(&confirmed), &act, now).await?;
    Ok(link_page(&web, &look.zone, &user.name, &secret, until))
}

/// Takes someone's authenticator away, when phone and recovery codes are lost.
pub(crate) async fn remove_authenticator(
    State(web): State<Arc<Web>>,
    client: Client,
    SuperadminOnly(viewer): SuperadminOnly,
    Path(id): Path<Uuid>,
    fields: Fields,
) -> Result<Response, PageError> {
    let user = find(&web, id).await?;
    let change = Change {
        action: "user.authenticator",
        path: &format!("{HERE}/{id}/authenticator"),
        summary: &format!("The authenticator of {} is removed: their password alone opens.", user.name),
        params: &[],
    };
    let confirmed = match confirmed(&web, &viewer, &client, &change, &fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let act = did(&client, &viewer, "user.authenticator", &user.name).with("removed");
    web.engine.store().remove_authenticator(id, &Factor::None, Some(&confirmed), &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}
