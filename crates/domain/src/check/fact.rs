//! What a run measured, as named typed values. A value that could not be had is a value, too: absent, with the reason why.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::decimal::Decimal;
use super::outcome::Reason;

/// The most bytes of a text that is kept and shown; an assertion is evaluated on the whole.
pub const SHOWN_BYTES_MAX: usize = 300;
/// The most facts of one run; what comes after is not kept.
pub const FACTS_MAX: usize = 100;

/// One measured value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "value", rename_all = "snake_case")]
pub enum Value {
    /// A number, exact.
    Number(Decimal),
    /// A length of time in milliseconds, exact to the microsecond.
    Duration(Decimal),
    /// A text.
    Text(String),
    /// True or false.
    Bool(bool),
    /// JSON's or SQL's null: it is there and says nothing.
    Null,
    /// An array with so many values.
    List(u64),
    /// An object with so many keys.
    Object(u64),
    /// Not there. No comparison with it holds.
    Absent {
        /// What that says of the target.
        reason: Reason,
        /// In words.
        why: String,
    },
}

impl Value {
    /// Not there, and why.
    #[must_use]
    pub fn absent(reason: Reason, why: impl Into<String>) -> Self {
        Self::Absent { reason, why: why.into() }
    }

    /// A time that was measured in microseconds.
    #[must_use]
    pub fn micros(micros: u64) -> Self {
        Self::Duration(Decimal::scaled(i128::from(micros), 3))
    }

    /// "a number", "a text": for sentences.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Duration(_) => "a time",
            Self::Text(_) => "a text",
            Self::Bool(_) => "true or false",
            Self::Null => "null",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
            Self::Absent { .. } => "absent",
        }
    }

    /// The same with texts cut to [`SHOWN_BYTES_MAX`].
    #[must_use]
    pub fn bounded(&self) -> Self {
        match self {
            Self::Text(text) => Self::Text(bounded(text)),
            Self::Absent { reason, why } => Self::Absent { reason: *reason, why: bounded(why) },
            other => other.clone(),
        }
    }
}

/// As an assertion shows what it saw.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(f, "{number}"),
            Self::Duration(ms) => write!(f, "{ms} ms"),
            Self::Text(text) => write!(f, "{:?}", bounded(text)),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::List(count) => write!(f, "a list of {count}"),
            Self::Object(count) => write!(f, "an object of {count}"),
            Self::Absent { why, .. } => write!(f, "absent: {}", bounded(why)),
        }
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Number(value.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

/// At most [`SHOWN_BYTES_MAX`] of a text, cut between characters and marked if anything is missing; control characters
/// become blanks, since a server wrote them.
#[must_use]
pub fn bounded(text: &str) -> String {
    let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    if text.len() <= SHOWN_BYTES_MAX {
        return clean(text);
    }
    let end = (0..=SHOWN_BYTES_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    format!("{}…", clean(text.get(..end).unwrap_or("")))
}

/// A named value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// As assertions name it: `body.queue.depth`.
    pub name: String,
    /// What was measured.
    pub value: Value,
    /// Words that make the value readable, as the date at which a certificate expires. May be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// What a run measured, in the order it was measured.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Facts(Vec<Fact>);

impl Facts {
    /// Notes a value; one of the same name is replaced. Beyond [`FACTS_MAX`] nothing is noted, and an assertion on it
    /// finds it absent.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.set_with(name, value, "");
    }

    /// The same with words beside it.
    pub fn set_with(&mut self, name: impl Into<String>, value: impl Into<Value>, note: impl Into<String>) {
        let fact = Fact { name: name.into(), value: value.into(), note: note.into() };
        let room = self.0.len() < FACTS_MAX;
        match self.0.iter_mut().find(|known| known.name == fact.name) {
            Some(known) => *known = fact,
            None if room => self.0.push(fact),
            None => {}
        }
    }

    /// The fact of that name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.0.iter().find(|fact| fact.name == name)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Fact> {
        self.0.iter()
    }

    /// The same with every text short enough to be kept.
    #[must_use]
    pub fn bounded(&self) -> Self {
        let facts = self.0.iter();
        let facts = facts.map(|fact| Fact { value: fact.value.bounded(), note: bounded(&fact.note), ..fact.clone() });
        Self(facts.collect())
    }

    /// The same with every text rewritten: how secrets are masked.
    pub fn map_texts(&mut self, rewrite: impl Fn(&str) -> String) {
        for fact in &mut self.0 {
            fact.note = rewrite(&fact.note);
            match &mut fact.value {
                Value::Text(text) | Value::Absent { why: text, .. } => *text = rewrite(text),
                _ => {}
            }
        }
    }
}
