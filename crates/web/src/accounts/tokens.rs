//! Tokens of the API: which there are, making one (shown once), revoking. Each change is confirmed.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use data_encoding::HEXLOWER;
use dynowatch_domain::account::{Scope, Scopes};
use dynowatch_domain::rule::NAME_BYTES_MAX;
use dynowatch_domain::{NewId as _, Timestamp};
use dynowatch_engine::random::{self, RandomIds};
use dynowatch_store::tokens::{ApiToken, NewApiToken, TokenState};
use maud::{Markup, html};

use super::client::Client;
use super::confirm::{Change, confirmed, done};
use super::form::{Field, Fields, moment, page, places, see_other};
use crate::auth::token_hash;
use crate::pages::error::PageError;
use crate::pages::look::Look;
use crate::pages::parts::copyable;
use crate::router::Web;
use crate::show::visible;
use crate::viewer::{SuperadminOnly, Viewer};
use crate::zone::Zone;

const HERE: &str = "/settings/tokens";
/// What every token begins with, so that scanners for leaked secrets can know it.
const PREFIX: &str = "dw_";
/// How long a token is good, unless said otherwise.
pub const TOKEN_DAYS: u64 = 90;
/// The longest time.
pub const TOKEN_DAYS_MAX: u64 = 3_650;

/// A new token: what its holder sends, and what the store keeps.
#[must_use]
pub fn new_token() -> (String, [u8; 32]) {
    let token = format!("{PREFIX}{}", HEXLOWER.encode(&random::bytes::<32>()));
    let hash = token_hash(&token);
    (token, hash)
}

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    look: Look,
    SuperadminOnly(viewer): SuperadminOnly,
) -> Result<Response, PageError> {
    let (tokens, now) = (web.engine.store().api_tokens().await?, web.engine.now());
    let content = html! {
        (places(HERE, true))
        (endings(&tokens, now))
        @if tokens.is_empty() { p { "No tokens yet." } } @else {
            table {
                thead { tr { th scope="col" { "Name" } th scope="col" { "May" } th scope="col" { "State" } th scope="col" { "Made" } th scope="col" { "Last used" } th scope="col" { "Good until" } th scope="col" { "" } } }
                tbody { @for token in &tokens { (row(&viewer, &look.zone, token, token.state(now))) } }
            }
        }
        h2 { "Make a token" }
        form method="post" action=(HERE) {
            (viewer.csrf_field())
            (Field { help: "What it is for, as in ci or grafana.", ..Field::new("name", "Name", "text") }.show())
            fieldset {
                legend { "It may" }
                @for (scope, what) in [(Scope::Read, "look"), (Scope::Operate, "close alerts, switch rules, rename apps, test receivers"), (Scope::Admin, "have the configuration read again")] {
                    p { label { input type="checkbox" name=(scope.as_str()) value="yes" checked[scope == Scope::Read]; " " (scope.as_str()) ": " (what) } }
                }
            }
            p.field { label for="apps" { "Only for these apps" } input id="apps" name="apps" type="text" autocomplete="off"; small.help { "Names with blanks between; empty means all." } }
            (Field { value: &TOKEN_DAYS.to_string(), ..Field::new("days", "Good for this many days", "number") }.show())
            p { button.primary type="submit" { "Make it" } }
        }
    };
    Ok(page("Tokens", &content))
}

/// Names what is to be made anew, before what uses it stands still.
fn endings(tokens: &[ApiToken], now: Timestamp) -> Markup {
    let names = |state: TokenState| {
        let of = tokens.iter().filter(|token| token.state(now) == state);
        of.map(|token| visible(&token.name)).collect::<Vec<_>>().join(", ")
    };
    let (soon, over) = (names(TokenState::EndsSoon), names(TokenState::Over));
    html! {
        @if !soon.is_empty() {
            p { strong { "Ending within 7 days: " (soon) "." } " Make another in time, put it in its place, then revoke the old one." }
        }
        @if !over.is_empty() { p { "Ended: " (over) ". What still uses them is refused." } }
    }
}

fn row(viewer: &Viewer, zone: &Zone, token: &ApiToken, state: TokenState) -> Markup {
    html! {
        tr {
            td data-of="Name" { strong { (visible(&token.name)) } }
            td data-of="May" { (visible(&token.scopes.to_string())) }
            td data-of="State" { @if state == TokenState::EndsSoon { strong { (state.as_str()) } } @else { (state.as_str()) } }
            td data-of="Made" { (moment(zone, token.created_at)) }
            td data-of="Last used" { @if let Some(at) = token.last_used_at { (moment(zone, at)) } @else { "never" } }
            td data-of="Good until" { @if let Some(at) = token.expires_at { (moment(zone, at)) } @else { "for ever" } }
            td {
                @if token.revoked_at.is_none() {
                    form method="post" action={ (HERE) "/revoke" } {
                        (viewer.csrf_field())
                        input type="hidden" name="name" value=(token.name);
                        button type="submit" { "Revoke" }
                    }
                }
            }
        }
    }
}

/// What the form of a new token says.
fn wanted(fields: &Fields) -> Result<(String, Scopes, u64), String> {
    let name = fields.text("name").trim().to_owned();
    if name.is_empty() || name.len() > NAME_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("The name has 1 to {NAME_BYTES_MAX} bytes of text."));
    }
    let given = |scope: &Scope| fields.given(scope.as_str()).is_some();
    let scopes: Vec<Scope> = Scope::ALL.into_iter().filter(given).collect();
    if scopes.is_empty() {
        return Err("Choose what it may: at least one thing.".to_owned());
    }
    let apps = fields.text("apps").split([' ', ',']).filter(|app| !app.is_empty()).map(str::to_owned).collect();
    let days = fields.text("days").trim().parse::<u64>().ok().filter(|days| (1..=TOKEN_DAYS_MAX).contains(days));
    let days = days.ok_or_else(|| format!("Say for how many days it is good: 1 to {TOKEN_DAYS_MAX}."))?;
    Ok((name, Scopes { scopes, apps }, days))
}

/// Makes a token.
pub(crate) async fn create(
    State(web): State<Arc<Web>>,
    client: Client,
    SuperadminOnly(viewer): SuperadminOnly,
    fields: Fields,
) -> Result<Response, PageError> {
    let (name, scopes, days) =
        wanted(&fields).map_err(|error| PageError::new(StatusCode::UNPROCESSABLE_ENTITY, &error))?;
    let (apps, text) = (scopes.apps.join(" "), days.to_string());
    let mut params = vec![("name", name.as_str()), ("apps", &apps), ("days", &text)];
    params.extend(scopes.scopes.iter().map(|scope| (scope.as_str(), "yes")));
    let change = Change {
        action: "token.create",
        path: HERE,
        summary: &format!("A token {name:?} that may {scopes}, good for {days} days."),
        params: &params,
    };
    let confirmed = match confirmed(&web, &viewer, &client, &change, &fields).await? {
        Ok(confirmed) => confirmed,
        Err(question) => return Ok(question),
    };
    let now = web.engine.now();
    let (token, hash) = new_token();
    let act = client.actor(format!("user:{}", viewer.name)).did("token.create", &name);
    let act = act.with(format!("may {scopes}, {days} days"));
    let new = NewApiToken {
        id: RandomIds.new_id(now),
        name,
        hash,
        scopes,
        expires_at: Some(now + Duration::from_secs(days * 86_400)),
        user: Some(confirmed.user),
    };
    web.engine.store().create_api_token(&new, Some(&confirmed), &act, now).await?;
    let content = html! {
        p { "This is shown once. Send it as " code { "Authorization: Bearer TOKEN" } "." }
        (copyable(&token))
        p { a href=(HERE) { "I have it" } }
    };
    Ok(done("A new token", &content))
}

/// Revokes a token. Not confirmed: who finds a token in the wrong place must be quick.
pub(crate) async fn revoke(
    State(web): State<Arc<Web>>,
    client: Client,
    SuperadminOnly(viewer): SuperadminOnly,
    fields: Fields,
) -> Result<Response, PageError> {
    let name = fields.text("name");
    let act = client.actor(format!("user:{}", viewer.name)).did("token.revoke", name);
    let _was = web.engine.store().revoke_api_token(name, &act, web.engine.now()).await?;
    Ok(see_other(HERE))
}
