//! Signing in, and everything about who may: first account, invitations, passwords, authenticators, sign-ins, people, tokens,
//! the audit log. The rules are `domain::account`'s, the rows the store's; here are forms, cookies and hashing.
//!
//! [`client`] says from where and how a request came, [`password`] hashes, [`seal`] keeps seeds from who reads the database,
//! [`limits`] slows down guessing, [`current`] finds the viewer of a cookie, [`confirm`] asks before a change of who may
//! what. Each other module is a page with its forms.

pub(crate) mod audit_page;
mod changes;
pub(crate) mod client;
pub(crate) mod confirm;
pub(crate) mod current;
pub(crate) mod factor;
pub(crate) mod form;
pub(crate) mod limits;
pub(crate) mod oidc;
pub(crate) mod password;
pub(crate) mod seal;
pub(crate) mod security;
pub(crate) mod setup;
pub(crate) mod sign_in;
pub(crate) mod tokens;
pub(crate) mod users;

use std::sync::atomic::{AtomicBool, Ordering};

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Act;
use dynowatch_engine::random;
use dynowatch_store::{Store, StoreError};
use secrecy::SecretString;
use sha2::{Digest as _, Sha256};

use crate::sparing::Sparing;

pub use oidc::OidcOptions;

/// What the binary says of accounts.
#[derive(Clone, Default)]
pub struct AccountOptions {
    /// Whether `X-Forwarded-For` and `X-Forwarded-Proto` are written by a proxy that is ours (Heroku's router, or one that the
    /// configuration vouches for).
    pub trust_forwarded: bool,
    /// Keys that seeds are sealed with, newest first; 32 bytes each. None: authenticators cannot be set up.
    pub secret_keys: Vec<[u8; 32]>,
    /// Signing in elsewhere.
    pub oidc: Option<OidcOptions>,
}

/// What the pages of accounts share.
pub(crate) struct Accounts {
    pub(crate) trust_forwarded: bool,
    pub(crate) sealer: seal::Sealer,
    pub(crate) passwords: password::Passwords,
    pub(crate) limits: limits::Limits,
    pub(crate) oidc: Option<oidc::Oidc>,
    /// Failures beyond what the audit log takes.
    pub(crate) failures: Sparing,
    /// Once anyone has an account, that stays so: accounts are switched off, not removed.
    any: AtomicBool,
}

impl Accounts {
    pub(crate) fn new(options: AccountOptions) -> Self {
        Self {
            trust_forwarded: options.trust_forwarded,
            sealer: seal::Sealer::new(options.secret_keys),
            passwords: password::Passwords::new(),
            limits: limits::Limits::default(),
            oidc: options.oidc.map(oidc::Oidc::new),
            failures: Sparing::default(),
            any: AtomicBool::new(false),
        }
    }

    /// Writes down that somebody wanted what they may not; a flood of it goes to our own log alone, and there now and then.
    pub(crate) async fn denied(&self, store: &Store, who: &str, act: &Act, now: Timestamp) -> Result<(), StoreError> {
        if self.limits.take(&limits::Guess::Denied(who.to_owned()), now) {
            return store.audit(act, now).await;
        }
        if let Some(count) = self.failures.note(now) {
            tracing::warn!(count, who, "requests were denied, too many for the audit log");
        }
        Ok(())
    }

    /// Whether anyone has an account: then everyone signs in.
    pub(crate) async fn any(&self, store: &Store) -> Result<bool, StoreError> {
        if self.any.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let any = store.has_users().await?;
        if any {
            self.any.store(true, Ordering::Relaxed);
        }
        Ok(any)
    }
}

/// A secret nobody can guess, for a cookie or a link: 256 bits in hex.
pub(crate) fn new_secret() -> SecretString {
    data_encoding::HEXLOWER.encode(&random::bytes::<32>()).into()
}

/// What the store keeps of it. Such secrets are long and random, so no slow hash is needed.
pub(crate) fn secret_hash(secret: &str) -> [u8; 32] {
    Sha256::digest(secret.as_bytes()).into()
}

/// A new link by which someone sets a password: what stands in it, and what the store keeps.
#[must_use]
pub fn new_link() -> (SecretString, [u8; 32]) {
    use secrecy::ExposeSecret as _;
    let secret = new_secret();
    let hash = secret_hash(secret.expose_secret());
    (secret, hash)
}
