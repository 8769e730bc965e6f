//! Secrets this instance knows by value (its own tokens, keys and receivers' URLs) never leave in a message, whoever
//! wrote them into a log line. The second net: `domain::mask` takes out what merely looks like a secret, when the
//! notice is written.

use dynowatch_domain::delivery::Outcome;
use dynowatch_domain::mask::mask;
use dynowatch_domain::notice::Notice;
use secrecy::{ExposeSecret, SecretString};

use crate::inert::map_texts;

/// A shorter value is as likely to be a word; replacing it would only make messages unreadable.
const SECRET_BYTES_MIN: usize = 8;
/// What stands in its place.
const REPLACEMENT: &str = "[masked]";

/// The known values, longest first, so that one containing another goes whole.
#[derive(Clone)]
pub(crate) struct Redactor(Vec<SecretString>);

impl Redactor {
    pub(crate) fn new(secrets: impl IntoIterator<Item = SecretString>) -> Self {
        let mut secrets: Vec<_> =
            secrets.into_iter().filter(|secret| secret.expose_secret().len() >= SECRET_BYTES_MIN).collect();
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose_secret().len()));
        Self(secrets)
    }

    fn redact(&self, text: &mut String) {
        for secret in &self.0 {
            if text.contains(secret.expose_secret()) {
                *text = text.replace(secret.expose_secret(), REPLACEMENT);
            }
        }
    }

    /// The notice without known secrets.
    pub(crate) fn notice(&self, notice: &Notice) -> Notice {
        let mut notice = notice.clone();
        map_texts(&mut notice, |text| self.redact(text));
        notice
    }

    /// The outcome without secrets: a receiver may quote what it was sent.
    pub(crate) fn outcome(&self, mut outcome: Outcome) -> Outcome {
        let (Outcome::Accepted { detail }
        | Outcome::Unknown { detail }
        | Outcome::Retry { detail, .. }
        | Outcome::Misconfigured { detail }
        | Outcome::Rejected { detail }) = &mut outcome;
        self.redact(detail);
        *detail = mask(detail).into_owned();
        outcome
    }
}
