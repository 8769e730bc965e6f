//! What a check demands of what was measured: `body.queue.depth < 100`, `lag <= 30 s else degraded`. Owns the meaning of an
//! assertion and its evaluation; its grammar is read in `grammar`, which values each kind of check has is said in `subject`.
//!
//! It fails closed. A value that is not there passes nothing, whatever the comparison; a text is never taken for a number;
//! numbers are compared as decimals, never as floats. Every result shows the value that was seen.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use regex::Regex;
use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use super::fact::{Fact, Facts, Value, bounded};
use super::grammar::{AssertionError, read};
use super::json_path::Step;
use super::outcome::{Outcome, Reason};

/// The longest assertion.
pub const ASSERTION_BYTES_MAX: usize = 500;
/// The most assertions of one check.
pub const ASSERTIONS_MAX: usize = 30;

/// One demand on one value.
#[derive(Debug, Clone)]
pub struct Assertion {
    /// As written.
    pub(super) text: String,
    pub(super) subject: SubjectPath,
    pub(super) test: Test,
    /// Once it does not hold, it takes this value in place of the limit until it holds again.
    pub(super) clear: Option<Literal>,
    /// What its failure means.
    pub(super) severity: Failure,
    /// Columns, from 1, of the subject and of the value: errors point there.
    pub(super) columns: (usize, usize),
}

/// What an assertion is about: a name, and for a value inside of a JSON body the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubjectPath {
    /// The name of the fact, with its way: `body.queue.depth`.
    pub name: String,
    /// The first word: `body`.
    pub root: String,
    /// The steps behind it.
    pub steps: Vec<Step>,
    /// Whether the number of its values is meant: `len(body.items)`.
    pub is_length: bool,
}

#[derive(Debug, Clone)]
pub(super) enum Test {
    Exists,
    Compare(Sign, Literal),
    Contains { text: String, negated: bool },
    Matches { regex: Regex, negated: bool },
    Within(Decimal, Decimal),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Equal,
    Unequal,
    Below,
    AtMost,
    Above,
    AtLeast,
}

impl Sign {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::Unequal => order.is_ne(),
            Self::Below => order.is_lt(),
            Self::AtMost => order.is_le(),
            Self::Above => order.is_gt(),
            Self::AtLeast => order.is_ge(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    /// A number without a unit, or in bytes.
    Number(Decimal),
    /// With a percent sign.
    Percent(Decimal),
    /// In milliseconds.
    Duration(Decimal),
    Text(String),
    Bool(bool),
    Null,
}

/// What it means when an assertion does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Failure {
    /// The target is down.
    #[default]
    Down,
    /// It is degraded.
    Degraded,
}

/// An assertion and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssertionResult {
    /// The assertion as written.
    pub text: String,
    /// `up` if it holds.
    pub outcome: Outcome,
    /// Why not; `None` exactly if it holds.
    pub reason: Option<Reason>,
    /// The value that was seen, bounded; what is absent says so.
    pub seen: String,
    /// In words, if it does not hold: `503, not = 200`. Empty if it holds.
    pub why: String,
}

impl Assertion {
    /// As written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What it is about.
    #[must_use]
    pub fn subject(&self) -> &SubjectPath {
        &self.subject
    }

    /// What its failure means.
    #[must_use]
    pub fn failure(&self) -> Failure {
        self.severity
    }

    /// Judges. `was_failing`: it did not hold when it was last evaluated, so that its clear level applies.
    #[must_use]
    pub fn evaluate(&self, facts: &Facts, was_failing: bool) -> AssertionResult {
        let fact = facts.get(&self.subject.name);
        let (seen, judged) = match fact {
            None => ("absent: it was not measured".to_owned(), Err(Problem::absent(Reason::NotMeasured))),
            Some(Fact { value: Value::Absent { reason, why }, .. }) => {
                (format!("absent: {}", bounded(why)), Err(Problem { reason: *reason, why: why.clone() }))
            }
            Some(fact) => {
                let value = if self.subject.is_length { length(&fact.value) } else { fact.value.clone() };
                (with_note(&value, &fact.note), self.judge(&value, was_failing, &fact.note))
            }
        };
        let text = self.text.clone();
        match judged {
            Ok(()) => AssertionResult { text, outcome: Outcome::Up, reason: None, seen, why: String::new() },
            Err(Problem { reason, why }) => {
                AssertionResult { text, outcome: reason.outcome(), reason: Some(reason), seen, why: bounded(&why) }
            }
        }
    }

    /// Whether it was judged on a value that was there; only then does it count for the clear level.
    #[must_use]
    pub fn is_judged(&self, facts: &Facts) -> bool {
        facts.get(&self.subject.name).is_some_and(|fact| !matches!(fact.value, Value::Absent { .. }))
    }

    fn judge(&self, value: &Value, was_failing: bool, note: &str) -> Result<(), Problem> {
        let clear = self.clear.as_ref().filter(|_| was_failing);
        let holds = match &self.test {
            Test::Exists => Ok(true),
            Test::Compare(sign, literal) => compare(*sign, value, clear.unwrap_or(literal)),
            Test::Contains { text, negated } => match value {
                Value::Text(seen) => Ok(seen.contains(text.as_str()) != *negated),
                _ => Err("text"),
            },
            Test::Matches { regex, negated } => match value {
                Value::Text(seen) => Ok(regex.is_match(seen) != *negated),
                _ => Err("text"),
            },
            Test::Within(low, high) => match value {
                Value::Number(seen) => Ok(low <= seen && seen <= high),
                _ => Err("number"),
            },
        };
        let name = &self.subject.name;
        let seen = with_note(value, note);
        match holds {
            Ok(true) => Ok(()),
            Ok(false) => {
                let wanted = self.text.trim().strip_prefix(name.as_str()).map_or(self.text.trim(), str::trim);
                let clear = if clear.is_some() { "; it was over its limit and is not clear yet" } else { "" };
                Err(Problem { reason: self.reason(), why: format!("{name} is {seen}, not {wanted}{clear}") })
            }
            Err(wanted) => Err(Problem {
                reason: self.reason(),
                why: format!("{name} is {}, where a {wanted} is needed: {seen}", value.kind()),
            }),
        }
    }

    fn reason(&self) -> Reason {
        match (self.severity, self.subject.name.as_str()) {
            (Failure::Degraded, _) => Reason::AssertionDegraded,
            (Failure::Down, "status") => Reason::StatusUnexpected,
            (Failure::Down, _) => Reason::AssertionFailed,
        }
    }
}

struct Problem {
    reason: Reason,
    why: String,
}

impl Problem {
    fn absent(reason: Reason) -> Self {
        Self { reason, why: "it was not measured".to_owned() }
    }
}

fn with_note(value: &Value, note: &str) -> String {
    if note.is_empty() { value.to_string() } else { format!("{value} ({})", bounded(note)) }
}

fn length(value: &Value) -> Value {
    match value {
        Value::List(count) | Value::Object(count) => Value::from(*count),
        Value::Text(text) => Value::from(u64::try_from(text.chars().count()).unwrap_or(u64::MAX)),
        other => other.clone(),
    }
}

/// The error: which type would be needed.
fn compare(sign: Sign, value: &Value, literal: &Literal) -> Result<bool, &'static str> {
    let equality = |equal: bool| match sign {
        Sign::Equal => equal,
        Sign::Unequal => !equal,
        _ => false,
    };
    match (literal, value) {
        (Literal::Number(wanted) | Literal::Percent(wanted), Value::Number(seen))
        | (Literal::Duration(wanted), Value::Duration(seen)) => Ok(sign.holds(seen.cmp(wanted))),
        (Literal::Text(wanted), Value::Text(seen)) => Ok(equality(wanted == seen)),
        (Literal::Bool(wanted), Value::Bool(seen)) => Ok(equality(wanted == seen)),
        // Null is a value of its own: it can be asked for, and anything else is not it.
        (Literal::Null, seen) => Ok(equality(matches!(seen, Value::Null))),
        (Literal::Number(_) | Literal::Percent(_), _) => Err("number"),
        (Literal::Duration(_), _) => Err("time"),
        (Literal::Text(_), _) => Err("text"),
        (Literal::Bool(_), _) => Err("true or false"),
    }
}

/// The result that speaks for all: the one with the weightiest reason, the first of equals. `None` when all hold.
#[must_use]
pub fn worst(results: &[AssertionResult]) -> Option<&AssertionResult> {
    let failed = results.iter().filter(|result| result.reason.is_some());
    failed.reduce(|worst, next| {
        let weight = |result: &AssertionResult| result.reason.map(Reason::weight);
        if weight(next) > weight(worst) { next } else { worst }
    })
}

impl FromStr for Assertion {
    type Err = AssertionError;
    /// Reads one by its grammar alone. Whether a kind of check has such a value: `fits`.
    fn from_str(text: &str) -> Result<Self, AssertionError> {
        read(text)
    }
}

impl fmt::Display for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Assertion {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Assertion {}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;
