//! What is wrong with a configuration: where it stands, what it says, what would be right. Owns the printed form and
//! the order of errors; finding them is the readers' work.

use std::fmt;

use serde::Serialize;

/// The file of errors that stand in the environment.
pub const ENVIRONMENT: &str = "environment";

/// One error. Its text never holds a secret's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigError {
    /// The file as it was named on the command line, or [`ENVIRONMENT`].
    pub file: String,
    /// The line, from 1; `None` for the environment and for a file that cannot be read.
    pub line: Option<u32>,
    /// The column in characters, from 1.
    pub column: Option<u32>,
    /// The key, as in `rules[2].count` (lists count from 0), or the variable's name; empty for the file as a whole.
    pub key: String,
    /// The value, what is wrong with it, and what would be right.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        match (self.key.as_str(), self.column) {
            ("", Some(column)) => write!(f, ":{column}")?,
            ("", None) => {}
            (key, _) => write!(f, ": {key}")?,
        }
        write!(f, ": {}", self.problem)
    }
}

/// Everything that is wrong, in the order of the file, the environment last. Printed one per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(transparent)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// Sorts the errors as they are printed.
    pub(super) fn new(mut errors: Vec<ConfigError>) -> Self {
        errors.sort_by_key(|error| (error.line.is_none(), error.line, error.column));
        Self(errors)
    }

    /// The errors; at least one.
    #[must_use]
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, error) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}
