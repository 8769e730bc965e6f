//! The viewer of a request: by the cookie of a sign-in, or a guest on this very machine while nobody has an account.

use axum::http::request::Parts;
use axum::response::Response;
use data_encoding::HEXLOWER;
use dynowatch_domain::NewId as _;
use dynowatch_domain::account::audit::Act;
use dynowatch_domain::account::session;
use dynowatch_engine::random::{self, RandomIds};
use dynowatch_store::StoreError;
use dynowatch_store::accounts::{Factor, NewSession, User};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::ExposeSecret as _;
use sha2::Sha256;

use super::changes;
use super::client::Client;
use super::form::see_other_with;
use super::{new_secret, secret_hash};
use crate::auth::{is_local, is_published};
use crate::router::Web;
use crate::viewer::{SignedIn, Viewer};

/// Who looks; none when they must sign in first.
pub(crate) async fn viewer(web: &Web, parts: &Parts) -> Result<Option<Viewer>, StoreError> {
    let (store, now) = (web.engine.store(), web.engine.now());
    if let Some(token) = parts.extensions.get::<Client>().and_then(|client| client.token(&parts.headers))
        && let Some((found, user)) = store.session(&secret_hash(token), now).await?
        && session::is_alive(found.signed_in_at, now)
    {
        return Ok(Some(Viewer {
            name: user.name.clone(),
            role: user.role,
            csrf: csrf(token),
            zone: user.zone.clone(),
            theme: user.theme,
            is_fresh: session::is_fresh(found.signed_in_at, now),
            is_guest: false,
            signed_in: Some(SignedIn { user: user.id, session: found.id }),
            address: parts.extensions.get::<Client>().map(|client| client.address.clone()).unwrap_or_default(),
        }));
    }
    let may_guess = is_local(parts) && !is_published(web);
    Ok((may_guess && !web.accounts.any(store).await?).then(Viewer::guest))
}

/// What forms of a sign-in carry: it follows from the cookie's secret, which no other page can read.
fn csrf(token: &str) -> String {
    match Hmac::<Sha256>::new_from_slice(token.as_bytes()) {
        Ok(mac) => HEXLOWER.encode(&mac.chain_update(b"dynowatch form").finalize().into_bytes()),
        // An empty token fits nothing.
        Err(_wrong_length) => String::new(),
    }
}

/// A sign-in that begins now in this browser, and its cookie's secret.
pub(crate) fn new_session(web: &Web, client: &Client) -> (NewSession, secrecy::SecretString) {
    let secret = new_secret();
    let new = NewSession {
        id: RandomIds.new_id(web.engine.now()),
        token_hash: secret_hash(secret.expose_secret()),
        address: client.address.clone(),
        agent: client.agent.clone(),
    };
    (new, secret)
}

/// Signs someone in and leads on.
pub(crate) async fn begin(
    web: &Web,
    client: &Client,
    headers: &axum::http::HeaderMap,
    user: &User,
    factor: &Factor,
    how: &str,
    next: &str,
) -> Result<Response, StoreError> {
    let (new, secret) = new_session(web, client);
    let act: Act = client.actor(format!("user:{}", user.name)).did("sign_in", &user.name).with(how);
    let next = changes::way_in(web.engine.store(), &user.name, user.signed_in_at, next).await?;
    let replaced = client.token_hash(headers);
    web.engine.store().begin_session(user.id, &new, replaced, factor, &act, web.engine.now()).await?;
    Ok(see_other_with(&next, client.set_cookie(secret.expose_secret())))
}

/// Random bytes for a seed.
pub(crate) fn new_seed() -> [u8; dynowatch_domain::account::totp::SEED_BYTES] {
    random::bytes()
}
