//! Who may deliver: the credentials of drain tokens and of app names, and room for so many deliveries at a time.

use std::sync::{Arc, Mutex, PoisonError};

use dynowatch_domain::app_name::is_app_name;
use hashbrown::HashMap;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, header};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;
use subtle::{Choice, ConstantTimeEq};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use super::{DrainSettings, Target};

/// The longest drain token that is read.
pub const TOKEN_BYTES_MAX: usize = 128;
/// Tokens whose expected credentials are remembered, of those that have proved themselves.
const KNOWN_MAX: usize = 4_096;
/// The user name of drain URLs that name their app.
pub const DRAIN_USER: &str = "drain";

/// Why a delivery is not authentic. Nothing of it is told to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Denied {
    NoToken,
    NoCredential,
    WrongCredential,
    BadAppName,
    WrongPath,
}

impl Denied {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::NoToken => "no Logplex-Drain-Token header",
            Self::NoCredential => "no drain_token in the URL, or no basic authentication",
            Self::WrongCredential => "the credential does not fit its drain and any configured secret",
            Self::BadAppName => "the path names no possible app",
            Self::WrongPath => "the path is none of the drain's",
        }
    }
}

/// Settings and what follows from them, replaced together.
pub(super) struct Keys {
    pub(super) settings: DrainSettings,
    macs: Vec<Hmac<Sha256>>,
    room: Semaphore,
    /// Expected credentials by subject, for subjects that have proved themselves.
    known: Mutex<HashMap<String, Arc<[Credential]>>>,
}

type Credential = [u8; 64];

/// Who proved to be who.
pub(super) enum Subject<'a> {
    Token(&'a str),
    App(&'a str),
}

impl Keys {
    pub(super) fn new(settings: DrainSettings) -> Self {
        let macs = settings
            .secrets
            .iter()
            .filter_map(|secret| Hmac::new_from_slice(secret.expose_secret().as_bytes()).ok())
            .collect();
        let room = Semaphore::new(settings.requests_max.clamp(1, Semaphore::MAX_PERMITS));
        Self { settings, macs, room, known: Mutex::default() }
    }

    /// Whether anything is taken: the endpoint is on, and there is a secret to prove oneself with.
    pub(super) fn is_on(&self) -> bool {
        self.settings.enabled && !self.macs.is_empty()
    }

    /// A place among the deliveries that are worked on at once; `None` when there was none for too long.
    pub(super) async fn place(&self, until: Instant) -> Option<SemaphorePermit<'_>> {
        if let Ok(place) = self.room.try_acquire() {
            return Some(place);
        }
        Box::pin(tokio::time::timeout_at(until, self.room.acquire())).await.ok()?.ok()
    }

    pub(super) fn authenticate<'a>(
        &self,
        target: &'a Target<'a>,
        query: Option<&str>,
        headers: &'a HeaderMap,
    ) -> Result<Subject<'a>, Denied> {
        match target {
            Target::Token => {
                let token = token_of(headers).ok_or(Denied::NoToken)?;
                let given = query
                    .and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("drain_token=")))
                    .ok_or(Denied::NoCredential)?;
                self.check(token, given.as_bytes()).then_some(Subject::Token(token)).ok_or(Denied::WrongCredential)
            }
            Target::App(name) => {
                if !is_app_name(name) {
                    return Err(Denied::BadAppName);
                }
                let given = basic_password(headers).ok_or(Denied::NoCredential)?;
                self.check(&app_subject(name), &given).then_some(Subject::App(name)).ok_or(Denied::WrongCredential)
            }
        }
    }

    /// Whether `given` is the subject's credential under any secret. Every secret is compared, in constant time.
    fn check(&self, subject: &str, given: &[u8]) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(subject).cloned();
        let expected =
            known.clone().unwrap_or_else(|| self.macs.iter().map(|mac| credential(mac.clone(), subject)).collect());
        let fits: bool = expected.iter().fold(Choice::from(0), |fits, one| fits | one[..].ct_eq(given)).into();
        if fits && known.is_none() {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() < KNOWN_MAX {
                known.insert(subject.to_owned(), expected);
            }
        }
        fits
    }
}

/// What the credential of a drain URL that names its app is made of.
#[must_use]
pub fn app_subject(app_name: &str) -> String {
    format!("app:{app_name}")
}

/// The credential of a subject (a drain token, or [`app_subject`]) under one secret: lower-case hex HMAC-SHA256.
#[must_use]
pub fn credential_text(secret: &SecretString, subject: &str) -> Option<String> {
    let mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes()).ok()?;
    String::from_utf8(credential(mac, subject).to_vec()).ok()
}

fn credential(mut mac: Hmac<Sha256>, subject: &str) -> Credential {
    mac.update(subject.as_bytes());
    let mut hex = [0; 64];
    data_encoding::HEXLOWER.encode_mut(&mac.finalize().into_bytes(), &mut hex);
    hex
}

pub(super) fn token_of(headers: &HeaderMap) -> Option<&str> {
    // A token of this form would share its credential with a drain URL that names an app.
    header_text(headers, "logplex-drain-token", TOKEN_BYTES_MAX).filter(|token| !token.starts_with("app:"))
}

pub(super) fn header_text<'a>(headers: &'a HeaderMap, name: &'static str, bytes_max: usize) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty() && text.len() <= bytes_max)
}

fn basic_password(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, encoded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > 1_024 {
        return None;
    }
    let decoded = data_encoding::BASE64.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    (decoded.get(..colon) == Some(DRAIN_USER.as_bytes())).then(|| decoded.get(colon + 1..).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_waits_too_long_for_a_place_gets_none() {
        let keys = Keys::new(DrainSettings { requests_max: 1, ..DrainSettings::default() });
        let first = keys.place(Instant::now()).await;
        assert!(first.is_some() && keys.place(Instant::now()).await.is_none());
        drop(first);
        assert!(keys.place(Instant::now()).await.is_some());
    }
}
