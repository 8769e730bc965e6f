//! Codes of authenticators and recovery codes: working them out and judging what was typed. Using them up is the store's,
//! in the transaction of what they allow.

use data_encoding::BASE32_NOPAD;
use dynowatch_domain::account::totp::{self, RECOVERY_BYTES, RECOVERY_CODES, STEP_SECONDS};
use dynowatch_engine::random;
use dynowatch_store::accounts::{Authenticator, Factor};
use totp_rs::{Algorithm, Builder, Totp};
use uuid::Uuid;

use super::seal::SealError;
use super::secret_hash;
use crate::pages::error::PageError;
use crate::router::Web;

/// What a seed is sealed for.
pub(crate) fn purpose(user: Uuid) -> String {
    format!("authenticators/seed/{user}")
}

/// The code of a step. Authenticator apps all know this kind (SHA-1, six digits, thirty seconds), and many know no other.
pub(crate) fn code_of(seed: &[u8], step: i64) -> String {
    let seconds = u64::try_from(step.saturating_mul(STEP_SECONDS)).unwrap_or(0);
    totp_of(seed).map(|totp| totp.generate(seconds).to_string()).unwrap_or_default()
}

fn totp_of(seed: &[u8]) -> Option<Totp> {
    let builder = Builder::new().with_algorithm(Algorithm::SHA1).with_digits(6).with_skew(0).with_step_duration(30);
    builder.with_secret(seed.to_vec()).build().ok()
}

/// The step of the code that was typed, if it may be used now.
pub(crate) fn judge(web: &Web, user: Uuid, known: &Authenticator, typed: &str) -> Result<Option<i64>, SealError> {
    let seed = web.accounts.sealer.open(&known.seed, &purpose(user))?;
    Ok(totp::accept(typed, web.engine.now(), known.last_step, |step| code_of(&seed, step)))
}

/// What someone with an authenticator typed: a code of it, or, where they are let, a recovery code.
pub(crate) async fn typed(
    web: &Web,
    user: Uuid,
    known: &Authenticator,
    text: &str,
    recovery_counts: bool,
) -> Result<Option<Factor>, PageError> {
    match judge(web, user, known, text) {
        Ok(Some(step)) => return Ok(Some(Factor::Step(step))),
        Ok(None) => {}
        // A recovery code still opens when the key is lost.
        Err(error) if !recovery_counts => return Err(PageError::from(error)),
        Err(error) => tracing::error!(%error, "the seed of an authenticator cannot be opened"),
    }
    let code = totp::recovery_code(text);
    if !recovery_counts || code.is_empty() {
        return Ok(None);
    }
    let hash = recovery_hash(user, &code);
    Ok(web.engine.store().has_recovery_code(user, &hash).await?.then_some(Factor::Recovery(hash)))
}

/// Recovery codes are 120 random bits, so a plain hash keeps them; it holds whose they are.
fn recovery_hash(user: Uuid, code: &str) -> [u8; 32] {
    secret_hash(&format!("{user}/{code}"))
}

/// New recovery codes: as they are shown, and what is kept of them.
pub(crate) fn recovery_codes(user: Uuid) -> Vec<(String, [u8; 32])> {
    let new = || {
        let code = BASE32_NOPAD.encode(&random::bytes::<RECOVERY_BYTES>());
        let hash = recovery_hash(user, &code);
        let groups: Vec<String> =
            code.as_bytes().chunks(6).map(|part| String::from_utf8_lossy(part).into_owned()).collect();
        (groups.join("-"), hash)
    };
    (0..RECOVERY_CODES).map(|_| new()).collect()
}

/// The address that an authenticator app reads from the picture.
pub(crate) fn otpauth(seed: &[u8], name: &str, host: &str) -> String {
    let (name, host) = (super::form::escaped(name), super::form::escaped(host));
    format!("otpauth://totp/dynowatch%20{host}:{name}?secret={}&issuer=dynowatch%20{host}", BASE32_NOPAD.encode(seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_rfc_6238() {
        let seed = b"12345678901234567890";
        for (seconds, want) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
        ] {
            assert_eq!(code_of(seed, seconds / STEP_SECONDS), want, "{seconds}");
        }
    }

    #[test]
    fn recovery_codes_are_long_and_all_different() {
        let codes = recovery_codes(Uuid::from_u128(7));
        assert_eq!(codes.len(), RECOVERY_CODES);
        for (i, (text, hash)) in codes.iter().enumerate() {
            assert_eq!(text.len(), 27, "{text}");
            assert_eq!(*hash, recovery_hash(Uuid::from_u128(7), &totp::recovery_code(&text.to_lowercase())));
            assert!(codes.iter().skip(i + 1).all(|(other, _)| other != text));
        }
    }
}
