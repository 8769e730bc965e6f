//! Confirming a change of who may what: before it happens, the person is shown exactly what will change and proves once
//! more who they are. The question is bound to the person, the sign-in, the action and its parameters (OWASP, transaction
//! authorisation), lives five minutes, and is used up in the transaction of the change.
//!
//! The form of the change is sent twice: first plain, which is answered by the question; then again with the question's
//! token and the proof.

use axum::http::StatusCode;
use axum::response::Response;
use dynowatch_domain::account::session::CHALLENGE;
use dynowatch_store::accounts::{Confirmed, Factor, NewChallenge, User};
use maud::{Markup, html};
use secrecy::ExposeSecret as _;
use sha2::{Digest as _, Sha256};

use super::client::Client;
use super::form::{Field, Fields, page_with};
use super::limits::Guess;
use super::{factor, new_secret, secret_hash};
use crate::pages::error::PageError;
use crate::router::Web;
use crate::viewer::{SignedIn, Viewer};

/// A change that is to be confirmed.
pub(crate) struct Change<'a> {
    /// What, as the audit log calls it.
    pub(crate) action: &'a str,
    /// Where its form goes.
    pub(crate) path: &'a str,
    /// In words: what will be different.
    pub(crate) summary: &'a str,
    /// Everything that decides what happens, by the names of the form's fields.
    pub(crate) params: &'a [(&'a str, &'a str)],
}

impl Change<'_> {
    fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        part(self.action);
        part(self.path);
        for (name, value) in self.params {
            part(name);
            part(value);
        }
        hash.finalize().into()
    }
}

/// The proof of a change, or the answer that asks for it.
pub(crate) async fn confirmed(
    web: &Web,
    viewer: &Viewer,
    client: &Client,
    change: &Change<'_>,
    fields: &Fields,
) -> Result<Result<Confirmed, Response>, PageError> {
    let SignedIn { user, session } = viewer.signed_in()?;
    let person = web.engine.store().user(user).await?.ok_or_else(PageError::signed_out)?;
    if person.authenticator_at.is_none() && person.password_hash.is_none() {
        let what =
            "You sign in elsewhere. To change who may what, set up an authenticator first: Settings, Your account.";
        return Err(PageError::new(StatusCode::FORBIDDEN, what).leading("/settings/security", "Your account"));
    }
    let (Some(token), Some(proof)) = (fields.given("challenge"), fields.given("proof")) else {
        return Ok(Err(ask(web, viewer, &person, change).await?));
    };
    let (hash, digest, now) = (secret_hash(token), change.digest(), web.engine.now());
    let known = web.engine.store().challenge(&hash, "confirm", now).await?;
    let is_this = known.is_some_and(|known| {
        known.user == Some(user) && known.session == Some(session) && known.digest.as_deref() == Some(&digest[..])
    });
    if !is_this {
        let what = "This question was answered, ran out, or was about another change. Go back and begin again.";
        return Err(PageError::new(StatusCode::CONFLICT, what));
    }
    match proved(web, &person, proof, false).await? {
        Some(factor) => Ok(Ok(Confirmed { token_hash: hash, user, session, digest, factor })),
        None => {
            web.engine.store().fail_challenge(&hash).await?;
            let act = client.actor(format!("user:{}", person.name)).did("confirm.failed", change.action);
            web.engine.store().audit(&act.with(change.summary), now).await?;
            Ok(Err(question(viewer, &person, change, token, Some(wrong(&person)))))
        }
    }
}

async fn ask(web: &Web, viewer: &Viewer, person: &User, change: &Change<'_>) -> Result<Response, PageError> {
    let (secret, now) = (new_secret(), web.engine.now());
    let signed_in = viewer.signed_in()?;
    let new = NewChallenge {
        token_hash: secret_hash(secret.expose_secret()),
        kind: "confirm",
        user: Some(signed_in.user),
        session: Some(signed_in.session),
        digest: Some(change.digest()),
        detail: change.action.to_owned(),
        expires_at: now + CHALLENGE,
    };
    web.engine.store().put_challenge(&new, now).await?;
    Ok(question(viewer, person, change, secret.expose_secret(), None))
}

fn question(viewer: &Viewer, person: &User, change: &Change<'_>, token: &str, error: Option<&str>) -> Response {
    let content = html! {
        p { strong { (crate::show::visible(change.summary)) } }
        form method="post" action=(change.path) {
            (viewer.csrf_field())
            input type="hidden" name="challenge" value=(token);
            @for (name, value) in change.params { input type="hidden" name=(name) value=(value); }
            (proof_field(person, error))
            p.buttons { button.primary type="submit" { "Confirm" } a href="/settings/security" { "Do nothing" } }
        }
    };
    let status = if error.is_some() { StatusCode::FORBIDDEN } else { StatusCode::OK };
    page_with(status, "Confirm this change", &content)
}

/// Asks for the code of an authenticator, or, without one, for the password.
pub(crate) fn proof_field(person: &User, error: Option<&str>) -> Markup {
    let field = if person.authenticator_at.is_some() {
        Field {
            autocomplete: "one-time-code",
            help: "The six digits that your authenticator shows now. A code works once: after signing in with one, wait for the next.",
            error,
            ..Field::new("proof", "Code", "text")
        }
    } else {
        Field { autocomplete: "current-password", error, ..Field::new("proof", "Your password", "password") }
    };
    field.show()
}

/// What to say of a wrong proof.
pub(crate) fn wrong(person: &User) -> &'static str {
    if person.authenticator_at.is_some() {
        "This is not the code of this moment, or it was used already: take the next one."
    } else {
        "This is not your password."
    }
}

/// Judges a proof: with an authenticator its code, else the password. Guessing is counted.
pub(crate) async fn proved(
    web: &Web,
    person: &User,
    proof: &str,
    recovery_counts: bool,
) -> Result<Option<Factor>, PageError> {
    let guess = Guess::Proof(person.id);
    if !web.accounts.limits.take(&guess, web.engine.now()) {
        return Err(PageError::too_many());
    }
    let factor = judged(web, person, proof, recovery_counts).await?;
    if factor.is_some() {
        web.accounts.limits.undo(&guess);
    }
    Ok(factor)
}

/// The same for who counts the guesses.
pub(crate) async fn judged(
    web: &Web,
    person: &User,
    proof: &str,
    recovery_counts: bool,
) -> Result<Option<Factor>, PageError> {
    let known = web.engine.store().authenticator(person.id).await?.filter(|known| known.confirmed_at.is_some());
    Ok(match known {
        Some(known) => factor::typed(web, person.id, &known, proof, recovery_counts).await?,
        None => {
            let fits = web.accounts.passwords.fits(proof, person.password_hash.as_deref()).await?;
            fits.then_some(Factor::None)
        }
    })
}

/// A page that says what was done.
pub(crate) fn done(title: &str, content: &Markup) -> Response {
    page_with(StatusCode::OK, title, content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_holds_every_part() {
        let base = Change { action: "user.role", path: "/a", summary: "", params: &[("id", "1"), ("role", "viewer")] };
        let others = [
            Change { action: "user.rol", path: "e/a", ..base },
            Change { path: "/b", ..base },
            Change { params: &[("id", "1"), ("role", "operator")], ..base },
            Change { params: &[("id", "1r"), ("ole", "viewer")], ..base },
            Change { params: &[("id", "1")], ..base },
        ];
        for other in others {
            assert_ne!(base.digest(), other.digest());
        }
    }
}
