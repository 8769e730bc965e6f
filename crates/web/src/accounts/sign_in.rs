//! Signing in with a password and a code, signing out, and signing in again in between for a change. Whether a name is
//! known shows in nothing: not in the answer, not in its time, not in the limits.

use std::sync::Arc;

use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use dynowatch_domain::account::session::CHALLENGE;
use dynowatch_domain::account::user_name;
use dynowatch_store::accounts::{Factor, NewChallenge, User};
use maud::html;
use secrecy::ExposeSecret as _;
use serde::Deserialize;

use super::client::Client;
use super::confirm::{judged, proof_field, proved, wrong};
use super::current::begin;
use super::form::{Field, Fields, escaped, own_path, page_with, see_other, see_other_with};
use super::limits::{Guess, address_key};
use super::password::is_outdated;
use super::{new_secret, secret_hash};
use crate::pages::error::PageError;
use crate::router::Web;
use crate::viewer::{SignedIn, Viewer};

/// What is kept of why a sign-in failed.
const WHY_CHARS_MAX: usize = 300;
/// The same for an unknown name and a wrong password.
const WRONG: &str = "Name and password do not fit.";

/// Where to go afterwards.
#[derive(Deserialize)]
pub(crate) struct Next {
    #[serde(default)]
    next: String,
}

/// The form.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    client: Client,
    Query(query): Query<Next>,
) -> Result<Response, PageError> {
    if !web.accounts.any(web.engine.store()).await? {
        return Ok(nobody_yet());
    }
    Ok(form(&web, &client, &own_path(&query.next), "", None, StatusCode::OK))
}

fn nobody_yet() -> Response {
    let content = html! {
        p { "Nobody has an account here yet. On the machine that runs dynowatch, this command prints a link that makes the first one; it is good for 30 minutes:" }
        pre.command { code { "dynowatch setup-link" } }
        p { "On Heroku:" }
        pre.command { code { "heroku run --app NAME -- dynowatch setup-link" } }
    };
    page_with(StatusCode::OK, "Set up dynowatch", &content)
}

fn form(web: &Web, client: &Client, next: &str, name: &str, error: Option<&str>, status: StatusCode) -> Response {
    if !client.can_sign_in() {
        let content = html! {
            p { "This page came over plain http from another machine: whoever is on the way could read your password." }
            p { "Open it by https, or as http://localhost on the machine itself. If a proxy of yours speaks https for this instance, set " code { "trust_forwarded = true" } " under " code { "[sign_in]" } " in its configuration." }
        };
        return page_with(StatusCode::FORBIDDEN, "Sign in", &content);
    }
    let name = Field { value: name, autocomplete: "username", ..Field::new("name", "Name", "text") };
    let password = Field { autocomplete: "current-password", error, ..Field::new("password", "Password", "password") };
    let content = html! {
        form method="post" action="/sign-in" {
            input type="hidden" name="next" value=(next);
            (name.show())
            (password.show())
            p { button.primary type="submit" { "Sign in" } }
        }
        @if let Some(oidc) = &web.accounts.oidc {
            p { a href={ "/sign-in/oidc?next=" (escaped(next)) } { "Sign in with " (oidc.name()) } }
        }
        p { small { "No account, or the password forgotten? A superadmin of this instance can send you a link; on the machine itself, " code { "dynowatch users reset NAME" } " makes one." } }
    };
    page_with(status, "Sign in", &content)
}

/// Name and password.
pub(crate) async fn submit(
    State(web): State<Arc<Web>>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, PageError> {
    let next = own_path(fields.text("next"));
    if !client.can_sign_in() {
        return Ok(form(&web, &client, &next, "", None, StatusCode::FORBIDDEN));
    }
    let typed = fields.text("name").chars().take(80).collect::<String>();
    let name = user_name(&typed).unwrap_or_default();
    let (store, now) = (web.engine.store(), web.engine.now());
    let found = if name.is_empty() { None } else { store.user_by_name(&name).await? };
    let found = found.filter(|user| user.disabled_at.is_none());
    // What is not a name is counted as one: what is typed into the wrong field must not be kept.
    let guesses = guesses(&client, &name);
    let [pair, address, by_name] = &guesses;
    let may = match web.accounts.limits.take_from(address, [pair, by_name], now) {
        Some([true, by_name]) => by_name || knows(&web, found.as_ref(), &client).await?,
        _ => false,
    };
    if !may {
        failed(&web, &client, &name, "too many attempts").await?;
        return Err(PageError::too_many());
    }
    let hash = found.as_ref().and_then(|user| user.password_hash.clone());
    let password = fields.text("password");
    let fits = web.accounts.passwords.fits(password, hash.as_deref()).await?;
    let Some(user) = found.filter(|_| fits) else {
        failed(&web, &client, &name, "name or password").await?;
        return Ok(form(&web, &client, &next, &typed, Some(WRONG), StatusCode::UNAUTHORIZED));
    };
    forget(&web, &guesses);
    if let Some(old) = hash.filter(|hash| is_outdated(hash)) {
        let new = web.accounts.passwords.hash(password).await?;
        store.rehash_password(user.id, &old, &new).await?;
    }
    after_first(&web, &client, &headers, &user, "password", &next).await
}

async fn knows(web: &Web, user: Option<&User>, client: &Client) -> Result<bool, PageError> {
    Ok(match user {
        Some(user) => web.engine.store().knows_address(user.id, &client.address, web.engine.now()).await?,
        None => false,
    })
}

fn guesses(client: &Client, name: &str) -> [Guess; 3] {
    let address = address_key(&client.address);
    [Guess::Pair(name.to_owned(), address.clone()), Guess::Address(address), Guess::Name(name.to_owned())]
}

fn forget(web: &Web, guesses: &[Guess]) {
    for guess in guesses {
        match guess {
            Guess::Pair(..) => web.accounts.limits.clear(guess),
            _ => web.accounts.limits.undo(guess),
        }
    }
}

/// Writes a failure down; a flood of them goes to our own log alone, and there now and then.
pub(crate) async fn failed(web: &Web, client: &Client, name: &str, why: &str) -> Result<(), PageError> {
    let now = web.engine.now();
    // An issuer's words may be as long as its answer.
    let why: String = why.chars().take(WHY_CHARS_MAX).collect();
    if web.accounts.limits.take(&Guess::Audit, now) {
        tracing::warn!(name, address = client.address, why, "a sign-in failed");
        let name = if name.is_empty() { "(not a name)" } else { name };
        web.engine.store().audit(&client.actor("nobody").did("sign_in.failed", name).with(why), now).await?;
    } else if let Some(count) = web.accounts.failures.note(now) {
        tracing::warn!(count, name, address = client.address, why, "sign-ins failed, too many for the audit log");
    }
    Ok(())
}

/// After the password, or after another issuer's word: in, or on to the code.
pub(crate) async fn after_first(
    web: &Web,
    client: &Client,
    headers: &HeaderMap,
    user: &User,
    how: &str,
    next: &str,
) -> Result<Response, PageError> {
    if user.authenticator_at.is_none() {
        return Ok(begin(web, client, headers, user, &Factor::None, how, next).await?);
    }
    let (secret, now) = (new_secret(), web.engine.now());
    let new = NewChallenge {
        token_hash: secret_hash(secret.expose_secret()),
        kind: "sign_in",
        user: Some(user.id),
        session: None,
        digest: None,
        detail: format!("{how} {next}"),
        expires_at: now + CHALLENGE,
    };
    web.engine.store().put_challenge(&new, now).await?;
    Ok(code_form(secret.expose_secret(), None, StatusCode::OK))
}

fn code_form(token: &str, error: Option<&str>, status: StatusCode) -> Response {
    let code = Field {
        autocomplete: "one-time-code",
        help: "The six digits that your authenticator shows now; or, when it is lost, one of your recovery codes.",
        error,
        ..Field::new("code", "Code", "text")
    };
    let content = html! {
        form method="post" action="/sign-in/code" {
            input type="hidden" name="challenge" value=(token);
            (code.show())
            p.buttons { button.primary type="submit" { "Sign in" } a href="/sign-in" { "Begin again" } }
        }
    };
    page_with(status, "Your code", &content)
}

/// The code.
pub(crate) async fn code(
    State(web): State<Arc<Web>>,
    client: Client,
    headers: HeaderMap,
    fields: Fields,
) -> Result<Response, PageError> {
    let token = fields.text("challenge");
    let (store, hash, now) = (web.engine.store(), secret_hash(token), web.engine.now());
    let known = store.challenge(&hash, "sign_in", now).await?;
    let user = match known.as_ref().and_then(|known| known.user) {
        Some(id) => store.user(id).await?.filter(|user| user.disabled_at.is_none()),
        None => None,
    };
    let (Some(known), Some(user)) = (known, user) else {
        return Ok(form(
            &web,
            &client,
            "/",
            "",
            Some("That took too long, or too many codes were wrong: begin again."),
            StatusCode::UNAUTHORIZED,
        ));
    };
    let guesses = [Guess::CodeFrom(user.id, address_key(&client.address)), Guess::Code(user.id)];
    let [from, everywhere] = guesses.each_ref().map(|guess| web.accounts.limits.take(guess, now));
    if !(from && (everywhere || knows(&web, Some(&user), &client).await?)) {
        failed(&web, &client, &user.name, "too many codes").await?;
        return Err(PageError::too_many());
    }
    let Some(factor) = judged(&web, &user, fields.text("code"), true).await? else {
        store.fail_challenge(&hash).await?;
        failed(&web, &client, &user.name, "code").await?;
        return Ok(code_form(token, Some(wrong(&user)), StatusCode::UNAUTHORIZED));
    };
    forget(&web, &guesses);
    // Whoever comes second with the same answer finds nothing.
    if store.take_challenge(&hash, "sign_in", now).await?.is_none() {
        return Ok(form(
            &web,
            &client,
            "/",
            "",
            Some("This was answered already: begin again."),
            StatusCode::UNAUTHORIZED,
        ));
    }
    let (how, next) = known.detail.split_once(' ').unwrap_or(("password", "/"));
    let how = match factor {
        Factor::Recovery(_) => format!("{how} and a recovery code"),
        _ => format!("{how} and a code"),
    };
    Ok(begin(&web, &client, &headers, &user, &factor, &how, next).await?)
}

/// Signs out.
pub(crate) async fn out(State(web): State<Arc<Web>>, client: Client, viewer: Viewer) -> Result<Response, PageError> {
    if let Ok(SignedIn { user, session }) = viewer.signed_in() {
        let act = client.actor(format!("user:{}", viewer.name)).did("sign_out", &viewer.name);
        let _was = web.engine.store().end_session(user, session, &act, web.engine.now()).await?;
    }
    Ok(see_other_with("/sign-in", client.drop_cookie()))
}

/// Asks for a proof again, before a change.
pub(crate) async fn again(
    State(web): State<Arc<Web>>,
    viewer: Viewer,
    Query(query): Query<Next>,
) -> Result<Response, PageError> {
    let person = person(&web, &viewer).await?;
    Ok(again_form(&web, &viewer, &person, &own_path(&query.next), None))
}

async fn person(web: &Web, viewer: &Viewer) -> Result<User, PageError> {
    let SignedIn { user, .. } = viewer.signed_in()?;
    web.engine.store().user(user).await?.ok_or_else(PageError::signed_out)
}

fn again_form(web: &Web, viewer: &Viewer, person: &User, next: &str, error: Option<&str>) -> Response {
    let can_prove = person.authenticator_at.is_some() || person.password_hash.is_some();
    let content = html! {
        p { "Changing something asks for a sign-in of the last twelve hours. Looking goes on without." }
        @if can_prove {
            form method="post" action="/step-up" {
                (viewer.csrf_field())
                input type="hidden" name="next" value=(next);
                (proof_field(person, error))
                p.buttons { button.primary type="submit" { "Go on" } a href=(next) { "Just look" } }
            }
        }
        @if let Some(oidc) = web.accounts.oidc.as_ref().filter(|_| !can_prove) {
            p { a href={ "/sign-in/oidc?next=" (escaped(next)) } { "Sign in with " (oidc.name()) } }
        }
    };
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_with(status, "Sign in again", &content)
}

/// Takes the proof: the sign-in is fresh again, under a new secret.
pub(crate) async fn renew(
    State(web): State<Arc<Web>>,
    client: Client,
    viewer: Viewer,
    fields: Fields,
) -> Result<Response, PageError> {
    let (person, next) = (person(&web, &viewer).await?, own_path(fields.text("next")));
    let SignedIn { user, session } = viewer.signed_in()?;
    let Some(factor) = proved(&web, &person, fields.text("proof"), false).await? else {
        failed(&web, &client, &person.name, "signing in again").await?;
        return Ok(again_form(&web, &viewer, &person, &next, Some(wrong(&person))));
    };
    let secret = new_secret();
    let act = client.actor(format!("user:{}", person.name)).did("sign_in.renewed", &person.name);
    let (hash, now) = (secret_hash(secret.expose_secret()), web.engine.now());
    web.engine.store().renew_session(session, user, hash, &factor, &act, now).await?;
    Ok(see_other_with(&next, client.set_cookie(secret.expose_secret())))
}

/// For a page that nobody may see who is not signed in: leads to the form and back.
pub(crate) fn lead_in(request: &Request) -> Response {
    let wanted = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let wanted = own_path(wanted);
    if wanted == "/" { see_other("/sign-in") } else { see_other(&format!("/sign-in?next={}", escaped(&wanted))) }
}
