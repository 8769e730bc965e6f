//! Which values each kind of check measures, with their types: what an assertion may speak of. A wrong name or a number
//! compared with a text is found when the check is read, not at three in the morning.

use super::CheckKind;
use super::assertion::{Assertion, Literal, Test};
use super::grammar::AssertionError;

/// What type a value has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectType {
    /// A number, bytes included.
    Number,
    /// A number of 0 to 100.
    Percent,
    /// A time; its limit needs a unit.
    Duration,
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// Whatever the target says.
    Any,
}

/// A value that assertions may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject {
    /// Its name; `header.*` stands for any header.
    pub name: &'static str,
    /// Its type.
    pub kind: SubjectType,
    /// What it is, in a few words.
    pub meaning: &'static str,
}

const fn subject(name: &'static str, kind: SubjectType, meaning: &'static str) -> Subject {
    Subject { name, kind, meaning }
}

use SubjectType::{Any, Bool, Duration, Number, Percent, Text};

const RESPONSE: Subject = subject("response", Duration, "from the start of the run to its last byte");
const CERTIFICATE_DAYS: Subject =
    subject("certificate.days", Number, "whole days until the verified path of the certificate ends");

const WEB: &[Subject] = &[
    subject("status", Number, "status of the last answer"),
    RESPONSE,
    subject("header.*", Text, "a header of the last answer"),
    subject("body", Text, "the whole body as text"),
    subject("body.*", Any, "a value in a JSON body, as in body.queue.depth or body.items[0].id"),
    subject("body_bytes", Number, "length of the body"),
    subject("redirects", Number, "redirects followed"),
    subject("protocol", Text, "HTTP/1.1 or HTTP/2"),
    subject("url", Text, "where the last answer came from, without credentials"),
    CERTIFICATE_DAYS,
];

const REDIS: &[Subject] = &[
    RESPONSE,
    subject("length", Number, "length of the key: list, sorted set, stream, set or hash"),
    subject("length.per_min", Number, "growth of the length per minute since the run before"),
    subject("key.type", Text, "type of the key; none if it is not there"),
    subject("memory.used", Number, "bytes of memory used"),
    subject("memory.max", Number, "bytes of memory allowed"),
    subject("memory.percent", Percent, "memory used of allowed"),
    subject("clients.connected", Number, "clients connected, this check included"),
    subject("clients.max", Number, "clients allowed"),
    subject("clients.percent", Percent, "clients connected of allowed"),
    subject("evicted_keys", Number, "keys evicted since the server started"),
    subject("role", Text, "master or slave, in the server's words"),
    subject("master_link", Text, "a replica's link to its master: up or down"),
    subject("version", Text, "version of the server"),
    CERTIFICATE_DAYS,
];

const POSTGRES: &[Subject] = &[
    RESPONSE,
    subject("table.exists", Bool, "whether the table is there"),
    subject("table.readable", Bool, "whether the user may select from it"),
    subject("query", Any, "the value of a query with one row and one column"),
    subject("query.rows", Number, "rows of the query, at most 1000"),
    subject("query.*", Any, "a column of the query's first row, as in query.oldest"),
    subject("connections.used", Number, "client connections, this check included, against the tightest limit"),
    subject("connections.limit", Number, "the tightest limit: of server, database or user"),
    subject("connections.percent", Percent, "connections used of the tightest limit"),
    subject("lag", Duration, "how far a follower is behind; zero when it has replayed all it received"),
    subject("recovery", Bool, "whether the server is a follower"),
    subject("version", Text, "version of the server"),
    CERTIFICATE_DAYS,
];

const TCP: &[Subject] = &[RESPONSE];
const TLS: &[Subject] = &[RESPONSE, CERTIFICATE_DAYS, subject("tls", Text, "version of TLS, as in TLS 1.3")];

const DNS: &[Subject] = &[
    RESPONSE,
    subject("answers", Text, "all records of the wanted type, sorted, separated by a blank"),
    subject("answers.count", Number, "how many records"),
    subject("ttl", Duration, "the shortest time to live"),
];

impl CheckKind {
    /// The values that assertions of this kind of check may name.
    #[must_use]
    pub const fn subjects(&self) -> &'static [Subject] {
        match self {
            Self::Web(_) => WEB,
            Self::Redis(_) => REDIS,
            Self::Postgres(_) => POSTGRES,
            Self::Tcp(_) => TCP,
            Self::Tls(_) => TLS,
            Self::Dns(_) => DNS,
            Self::Heartbeat(_) | Self::Heroku(_) => &[],
        }
    }
}

impl Assertion {
    /// Whether a kind of check has this value, and of that type.
    ///
    /// # Errors
    /// Names the column and what would be right.
    pub fn fits(&self, kind: &CheckKind) -> Result<(), AssertionError> {
        let (subject_column, value_column) = self.columns;
        let name = &self.subject.name;
        let known = kind.subjects();
        if known.is_empty() {
            let problem = format!("{} checks take no assertions", kind.name());
            return Err(AssertionError::new(&self.text, subject_column, problem));
        }
        let by_name = known.iter().find(|subject| subject.name == name);
        let found = by_name.or_else(|| {
            let family = |subject: &&Subject| {
                subject.name.strip_suffix('*').is_some_and(|start| start.trim_end_matches('.') == self.subject.root)
            };
            known.iter().find(family).filter(|_| !self.subject.steps.is_empty())
        });
        let Some(found) = found else {
            let names: Vec<&str> = known.iter().map(|subject| subject.name).collect();
            let problem = format!("a {} check does not measure {name:?}; it has {}", kind.name(), names.join(", "));
            return Err(AssertionError::new(&self.text, subject_column, problem));
        };
        if found.name != "body.*" && found.name != name && self.subject.steps.len() != 1 {
            let problem = format!("{} takes one name behind the dot", found.name);
            return Err(AssertionError::new(&self.text, subject_column, problem));
        }
        let kind = if self.subject.is_length { Number } else { found.kind };
        self.type_problem(kind).map_or(Ok(()), |problem| {
            Err(AssertionError::new(&self.text, value_column, format!("{name} is {problem}")))
        })
    }

    fn type_problem(&self, kind: SubjectType) -> Option<&'static str> {
        const NUMBER: &str = "a number: compare it with one, as in `< 100`";
        const DURATION: &str = "a time: write its limit with a unit, as in `< 500 ms`";
        const PERCENT: &str = "a percentage: compare it with one, as in `< 80 %`";
        const TEXT: &str = "a text: compare it with one in double quotes, or use contains or matches";
        const BOOL: &str = "true or false: write `= true` or `= false`";
        let literal = match &self.test {
            Test::Exists => return None,
            Test::Within(..) => {
                return (!matches!(kind, Number | Percent | Any)).then_some("no number: a range goes with numbers");
            }
            Test::Contains { .. } | Test::Matches { .. } => {
                return (!matches!(kind, Text | Any)).then_some("no text: contains and matches go with texts");
            }
            Test::Compare(_, literal) => literal,
        };
        match (kind, literal) {
            (Any, _)
            | (Number, Literal::Number(_))
            | (Percent, Literal::Number(_) | Literal::Percent(_))
            | (Duration, Literal::Duration(_))
            | (Text, Literal::Text(_))
            | (Bool, Literal::Bool(_)) => None,
            (Number, _) => Some(NUMBER),
            (Percent, _) => Some(PERCENT),
            (Duration, _) => Some(DURATION),
            (Text, _) => Some(TEXT),
            (Bool, _) => Some(BOOL),
        }
    }
}
