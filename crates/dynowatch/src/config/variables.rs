//! Reading the environment: one value at a time, each judged on the spot, none ever printed when it is a secret. Owns
//! what counts as set and what happens when a secret is missing.

use secrecy::SecretString;

use super::env::Env;
use super::error::{ConfigError, ENVIRONMENT};
use super::reader::Report;

/// The most secrets or tokens in one variable. Each request may be compared with all of them.
const SECRETS_MAX: usize = 10;
/// Secrets shorter than this can be guessed.
const SECRET_BYTES_GOOD: usize = 16;

/// What to do when a secret that the file asks for is not in the environment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MissingSecrets {
    /// An error: messages could not be sent.
    Refuse,
    /// A warning: nothing will be sent anyway.
    Accept,
}

pub(super) struct Variables<'a> {
    env: &'a dyn Env,
    report: &'a Report<'a>,
    missing: MissingSecrets,
}

impl<'a> Variables<'a> {
    pub(super) fn new(env: &'a dyn Env, report: &'a Report<'a>, missing: MissingSecrets) -> Self {
        Self { env, report, missing }
    }

    /// The value without blanks around it. Set to nothing is not set, as on Heroku, where nothing is how one unsets.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let value = self.env.get(name)?;
        let value = value.trim();
        (!value.is_empty()).then(|| value.to_owned())
    }

    /// A value that `read` understands. What `read` says of a bad one must name what would be right.
    pub(super) fn read<T>(&self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        match read(&self.value(name)?) {
            Ok(value) => Some(value),
            Err(problem) => self.fail(name, &problem),
        }
    }

    pub(super) fn fail<T>(&self, name: &str, problem: &str) -> Option<T> {
        self.report.push(ConfigError {
            file: ENVIRONMENT.to_owned(),
            line: None,
            column: None,
            key: name.to_owned(),
            problem: problem.to_owned(),
        });
        None
    }

    /// Secrets separated by commas, in their order.
    pub(super) fn secrets(&self, name: &str) -> Vec<SecretString> {
        let Some(value) = self.value(name) else {
            return Vec::new();
        };
        let parts: Vec<&str> = value.split(',').map(str::trim).collect();
        if parts.iter().any(|part| part.is_empty()) {
            self.fail::<()>(name, "there is nothing between two commas or at an end: write secrets as first,second");
        } else if !parts.iter().all(|part| is_plain(part)) {
            self.fail::<()>(name, "a secret holds a blank or a character that is not visible ASCII");
        } else if parts.len() > SECRETS_MAX {
            self.fail::<()>(name, &format!("holds {} secrets: write at most {SECRETS_MAX}", parts.len()));
        }
        if parts.iter().any(|part| part.len() < SECRET_BYTES_GOOD) {
            self.report.warn(format!(
                "{ENVIRONMENT}: {name}: a secret of fewer than {SECRET_BYTES_GOOD} bytes can be guessed: make one with `openssl rand -hex 32`"
            ));
        }
        parts.into_iter().map(SecretString::from).collect()
    }

    /// The one secret in a variable that the file needs. `fail` says what is wrong at the place that needs it.
    pub(super) fn needed_secret(
        &self,
        name: &str,
        fail: &dyn Fn(String) -> Option<()>,
        what: &str,
    ) -> Option<SecretString> {
        match self.value(name) {
            Some(value) if is_plain(&value) => Some(value.into()),
            Some(_) => {
                fail(format!("the environment variable {name} holds a blank or a character that is not visible ASCII"));
                None
            }
            None => self.missing(name, fail, what).map(|()| SecretString::default()),
        }
    }

    /// Says that a variable is missing; `Some` when that is no error here.
    pub(super) fn missing(&self, name: &str, fail: &dyn Fn(String) -> Option<()>, what: &str) -> Option<()> {
        match self.missing {
            MissingSecrets::Refuse => {
                fail(format!("the environment variable {name} is not set: set it to {what}"));
                None
            }
            MissingSecrets::Accept => {
                self.report.warn(format!("{ENVIRONMENT}: {name}: not set; `serve` needs it: {what}"));
                Some(())
            }
        }
    }
}

/// Can stand in a header.
fn is_plain(secret: &str) -> bool {
    secret.bytes().all(|b| b.is_ascii_graphic())
}
