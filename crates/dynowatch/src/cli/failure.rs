//! How a command fails: one clear sentence on standard error and an exit code.

use std::io::{self, Write as _};
use std::process::ExitCode;

use dynowatch_engine::checks::operate::CheckProblem;
use dynowatch_engine::heroku::HerokuProblem;
use dynowatch_engine::operate::OperateError;
use dynowatch_notify::inert;
use dynowatch_store::StoreError;

use crate::config::ConfigErrors;

/// Why a command did not end well.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line or the configuration is wrong: exit code 2. One line each.
    Wrong(Vec<String>),
    /// It was tried and failed, or the answer is no: exit code 1.
    Failed(String),
    /// The answer is no, and all of it was printed: exit code 1.
    Said,
    /// Nobody reads our output any more (`… | head`): that is how such commands end.
    Unread,
}

impl Failure {
    /// Wrong usage or configuration, in one sentence.
    pub(crate) fn wrong(what: impl Into<String>) -> Self {
        Self::Wrong(vec![what.into()])
    }

    /// A failure or a no, in one sentence.
    pub(crate) fn failed(what: impl Into<String>) -> Self {
        Self::Failed(what.into())
    }

    /// Prints it and gives the exit code.
    pub(crate) fn report(self) -> ExitCode {
        let (lines, code) = match self {
            Self::Wrong(lines) => (lines, 2),
            Self::Failed(line) => (vec![line], 1),
            Self::Said => (Vec::new(), 1),
            Self::Unread => (Vec::new(), 0),
        };
        let mut stderr = io::stderr().lock();
        for line in lines {
            // Without a standard error the exit code must do.
            let _written = writeln!(stderr, "dynowatch: {}", inert(&line));
        }
        ExitCode::from(code)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(error.to_string()),
        }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<CheckProblem> for Failure {
    fn from(problem: CheckProblem) -> Self {
        Self::Failed(problem.to_string())
    }
}

impl From<OperateError> for Failure {
    fn from(error: OperateError) -> Self {
        match error {
            OperateError::BadKey(_) | OperateError::BadName(_) => Self::wrong(error.to_string()),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl From<HerokuProblem> for Failure {
    fn from(problem: HerokuProblem) -> Self {
        match problem {
            HerokuProblem::NoKey | HerokuProblem::NoDrainUrl(_) => Self::wrong(problem.to_string()),
            problem => Self::Failed(problem.to_string()),
        }
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(format!("cannot be written as JSON: {error}"))
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Wrong(errors.all().iter().map(ToString::to_string).collect())
    }
}
