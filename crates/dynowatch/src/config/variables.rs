//! Reading the environment: one value at a time, each judged on the spot, none ever printed when it is a secret. Owns
//! what counts as set and what happens when a secret is missing.

use std::cell::RefCell;

use secrecy::SecretString;

use super::env::{self, Env, VARIABLES};
use super::error::{ConfigError, ENVIRONMENT};
use super::reader::Report;
use super::urls;

/// The most secrets or tokens in one variable. Each request may be compared with all of them.
const SECRETS_MAX: usize = 10;
/// Secrets shorter than this can be guessed.
const SECRET_BYTES_GOOD: usize = 16;

/// A shorter part of a secret URL is rather a word than a token.
const URL_PART_BYTES_MIN: usize = 16;

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
    /// Every secret that was read, whatever it is for, so that it can be masked wherever it turns up.
    known: RefCell<Vec<SecretString>>,
}

impl<'a> Variables<'a> {
    pub(super) fn new(env: &'a dyn Env, report: &'a Report<'a>, missing: MissingSecrets) -> Self {
        let variables = Self { env, report, missing, known: RefCell::default() };
        let secret = VARIABLES.iter().filter(|variable| variable.secret).map(|variable| variable.name);
        for name in secret.chain(env::SECRET_ELSEWHERE.iter().copied()) {
            match variables.value(name) {
                // Only a part of it is secret, and the rest is a host that people look for.
                Some(url) if url.contains("://") => variables.know_url(&url),
                Some(value) => variables.know(&value),
                None => {}
            }
        }
        variables
    }

    /// Every secret that was read so far.
    pub(super) fn known(&self) -> Vec<SecretString> {
        self.known.borrow().clone()
    }

    /// Remembers a secret, and the parts of one that is a list.
    fn know(&self, value: &str) {
        let parts = value.split(',').map(str::trim).filter(|part| *part != value);
        self.known.borrow_mut().extend(parts.chain([value]).map(SecretString::from));
    }

    /// Remembers what is secret in a URL: its password, as it is written and as it is meant.
    fn know_url(&self, url: &str) {
        for password in urls::passwords(url) {
            self.know(&password);
        }
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
            Some(value) if is_plain(&value) => {
                self.know(&value);
                Some(value.into())
            }
            Some(_) => {
                fail(format!("the environment variable {name} holds a blank or a character that is not visible ASCII"));
                None
            }
            None => self.missing(name, fail, what).map(|()| SecretString::default()),
        }
    }

    /// A URL that is secret as a whole, since tokens live in its path as well as in its user and password.
    pub(super) fn secret_url(&self, name: &str) -> Option<String> {
        let url = self.value(name)?;
        self.know(&url);
        self.know_url(&url);
        for part in url.split(['/', '?', '&', '=']).skip(3).filter(|part| part.len() >= URL_PART_BYTES_MIN) {
            self.know(part);
        }
        Some(url)
    }

    /// A secret that may hold blanks, as a header's `Bearer …` does: each long word of it is a secret, too.
    pub(super) fn secret_words(&self, name: &str) -> Option<String> {
        let value = self.value(name)?;
        self.know(&value);
        for word in value.split_whitespace().filter(|word| word.len() >= URL_PART_BYTES_MIN) {
            self.know(word);
        }
        Some(value)
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
