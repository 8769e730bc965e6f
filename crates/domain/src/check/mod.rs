//! Checks: what is looked at and how often, what one run can find, what is demanded of it. Owns the definition of a check
//! and its validation, outcomes and reasons, observations, and assertions. How a run is made is `probe`'s business; what
//! follows from a row of observations is the state machine's; rows and loops are `store`'s and `engine`'s.

pub mod assertion;
pub mod certificate;
pub mod cron;
pub mod decimal;
pub mod diagnosis;
pub mod fact;
mod grammar;
pub mod heartbeat;
pub mod json_path;
pub mod kind;
pub mod maintenance;
pub mod observation;
pub mod outcome;
pub mod replay;
pub mod run;
pub mod schedule;
pub mod state;
mod subject;
pub mod target;
pub mod uptime;

use std::collections::BTreeSet;
use std::time::Duration;

pub use assertion::{Assertion, AssertionResult};
pub use decimal::Decimal;
pub use fact::{Fact, Facts, Value};
pub use grammar::AssertionError;
pub use kind::{CheckKind, CostClass, Secret, Source};
pub use observation::{Memory, Note, Observation, Phase, Phases};
pub use outcome::{Outcome, Reason};
pub use subject::{Subject, SubjectType};

use crate::parse::{Invalid, show_duration};
use crate::rule::{NAME_BYTES_MAX, Severity};
use target::{Target, UrlKind};

/// The shortest interval of a check.
pub const INTERVAL_MIN: Duration = Duration::from_secs(5);
/// The longest.
pub const INTERVAL_MAX: Duration = Duration::from_secs(86_400);
/// The interval where a check names none.
pub const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
/// The longest run: Heroku's router waits no longer either.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// The shortest.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// The longest run where a check says nothing.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Names that no check may have: the console has pages at their addresses.
pub const NAMES_TAKEN: [&str; 2] = ["new", "maintenance"];
/// The most checks of one instance.
pub const CHECKS_MAX: usize = 5_000;

/// How many runs, or how long, it takes to change the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thresholds {
    /// So many failed runs in a row make it down.
    pub failures: u32,
    /// Or failing for so long.
    pub failing_for: Option<Duration>,
    /// So many good runs in a row make it up again.
    pub recoveries: u32,
    /// And being good for so long; a failed run starts it anew.
    pub recovering_for: Option<Duration>,
    /// When the raw result changes too often.
    pub flapping: Option<Flapping>,
    /// Whether degraded counts as a failed run, so that somebody is told.
    pub tell_degraded: bool,
}

impl Default for Thresholds {
    fn default() -> Self {
        Self {
            failures: 2,
            failing_for: None,
            recoveries: 2,
            recovering_for: None,
            flapping: Some(Flapping::default()),
            tell_degraded: false,
        }
    }
}

/// When a check counts as flapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flapping {
    /// So many changes of the raw result
    pub transitions: u32,
    /// within this time.
    pub window: Duration,
    /// It ends after so long without a change.
    pub quiet: Duration,
}

impl Default for Flapping {
    fn default() -> Self {
        Self { transitions: 6, window: Duration::from_secs(600), quiet: Duration::from_secs(600) }
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Unique; letters, digits, `-`, `_` and `.`.
    pub name: String,
    /// What it looks at.
    pub kind: CheckKind,
    /// The app it belongs to, if any: its alerts are that app's.
    pub app: Option<String>,
    /// How often it runs.
    pub interval: Duration,
    /// How often while a failure is not yet confirmed; the interval if none.
    pub suspect_interval: Option<Duration>,
    /// One run's total deadline, from the look-up of the name to the last byte.
    pub timeout: Duration,
    /// What must hold of what is measured.
    pub assertions: Vec<Assertion>,
    /// What it takes to change the state.
    pub thresholds: Thresholds,
    /// Who is told; empty for the default receivers.
    pub receivers: Vec<String>,
    /// How urgent its alerts are.
    pub severity: Severity,
    /// Whether those who were told that it is down are told that it is up again.
    pub send_resolved: bool,
    /// Where the one on call reads what to do.
    pub runbook: Option<String>,
    /// The name of a check whose failure explains this one's: while that is down, no alert of this one opens.
    pub parent: Option<String>,
    /// Whether it is paused.
    pub paused: bool,
    /// Whether somebody is warned before the certificate of its server ends, where one is verified.
    pub certificate_warnings: bool,
    /// Whether everyone may see its badge: its name, its state, its uptime, and nothing more.
    pub public: bool,
}

impl Check {
    /// A check with every default.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: CheckKind) -> Self {
        Self {
            name: name.into(),
            kind,
            app: None,
            interval: INTERVAL_DEFAULT,
            suspect_interval: None,
            timeout: TIMEOUT_DEFAULT,
            assertions: Vec::new(),
            thresholds: Thresholds::default(),
            receivers: Vec::new(),
            severity: Severity::Critical,
            send_resolved: true,
            runbook: None,
            parent: None,
            paused: false,
            certificate_warnings: true,
            public: false,
        }
    }

    /// How often it is looked at while a failure is not yet confirmed.
    #[must_use]
    pub fn suspect_interval(&self) -> Duration {
        self.suspect_interval.unwrap_or(self.interval)
    }

    /// For how long a result speaks for the present: until the next one is due, however long that may take.
    #[must_use]
    pub fn validity(&self) -> Duration {
        self.interval.max(self.timeout)
    }

    /// Whether it warns before a certificate ends. A pinned key is no certificate that anybody renews.
    #[must_use]
    pub fn warns_of_certificates(&self) -> bool {
        self.certificate_warnings && matches!(self.kind.tls(), Some(kind::TlsMode::Verify | kind::TlsMode::Ca(_)))
    }

    /// Everything that is wrong with it: the key and what would be right. Empty if it can be used.
    #[must_use]
    pub fn problems(&self) -> Vec<(&'static str, Invalid)> {
        let mut problems = Vec::new();
        let mut wrong = |key, problem: String| problems.push((key, Invalid(problem)));
        let name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.name.is_empty() || self.name.len() > NAME_BYTES_MAX || !self.name.chars().all(name) {
            wrong("name", format!("a check's name is 1 to {NAME_BYTES_MAX} letters, digits, - _ or ."));
        } else if NAMES_TAKEN.contains(&self.name.as_str()) {
            wrong("name", format!("{:?} is the address of a page: choose another name", self.name));
        }
        between(self.interval, INTERVAL_MIN, INTERVAL_MAX, "interval", &mut wrong);
        if let Some(suspect) = self.suspect_interval {
            between(suspect, INTERVAL_MIN, self.interval, "suspect_interval", &mut wrong);
        }
        between(self.timeout, TIMEOUT_MIN, TIMEOUT_MAX, "timeout", &mut wrong);
        if self.thresholds.failures == 0 || self.thresholds.recoveries == 0 {
            wrong("thresholds", "it takes at least one run to go down and one to recover".to_owned());
        }
        let most = state::FLAP_TRANSITIONS_MAX;
        if self.thresholds.flapping.is_some_and(|flapping| !(3..=most).contains(&flapping.transitions)) {
            wrong("flapping", format!("flapping is between 3 and {most} changes"));
        }
        if self.parent.as_deref() == Some(&self.name) {
            wrong("parent", "a check cannot be its own parent".to_owned());
        }
        if self.assertions.len() > assertion::ASSERTIONS_MAX {
            wrong("assertions", format!("a check has at most {} assertions", assertion::ASSERTIONS_MAX));
        }
        let mut seen = BTreeSet::new();
        for assertion in &self.assertions {
            if let Err(error) = assertion.fits(&self.kind) {
                wrong("assertions", error.to_string());
            }
            if !seen.insert(assertion.as_str()) {
                wrong("assertions", format!("{:?} stands there twice", assertion.as_str()));
            }
        }
        kind_problems(&self.kind, &self.assertions, &mut wrong);
        problems
    }
}

fn between(
    value: Duration,
    min: Duration,
    max: Duration,
    key: &'static str,
    wrong: &mut impl FnMut(&'static str, String),
) {
    if value < min || value > max {
        let [value, min, max] = [value, min, max].map(show_duration);
        wrong(key, format!("{value} is out of range: write {min} to {max}"));
    }
}

fn kind_problems(kind: &CheckKind, assertions: &[Assertion], wrong: &mut impl FnMut(&'static str, String)) {
    let url_kind = match kind {
        CheckKind::Web(_) => UrlKind::Web,
        CheckKind::Redis(_) => UrlKind::Redis,
        _ => UrlKind::Postgres,
    };
    match kind.source() {
        Some(Source::Url(url)) => {
            if let Err(error) = Target::parse(url, url_kind) {
                wrong("url", error.0);
            }
        }
        Some(Source::ConfigVar { app, name }) if app.is_empty() || name.is_empty() => {
            wrong(
                "config_var",
                "name both the app and the config var, as in app = \"shop\" and config_var = \"REDIS_URL\"".to_owned(),
            );
        }
        _ => {}
    }
    if let Some(kind::TlsMode::Ca(pem)) = kind.tls()
        && (!pem.contains("-----BEGIN CERTIFICATE-----") || pem.len() > kind::CA_BYTES_MAX)
    {
        wrong(
            "ca",
            format!("paste the CA in PEM, BEGIN CERTIFICATE line included, in at most {} bytes", kind::CA_BYTES_MAX),
        );
    }
    let uses = |root: &str| assertions.iter().any(|assertion| assertion.subject().root == root);
    let text = |text: &str| text.trim().is_empty() || text.len() > kind::TEXT_BYTES_MAX;
    match kind {
        CheckKind::Web(web) => web_problems(web, wrong),
        CheckKind::Redis(redis) => {
            if redis.key.as_deref().is_some_and(|key| key.is_empty() || key.len() > kind::TEXT_BYTES_MAX) {
                wrong("key", "the key is empty or too long".to_owned());
            }
            if redis.key.is_none() && (uses("length") || uses("key")) {
                wrong("key", "an assertion speaks of a key, but the check names none".to_owned());
            }
        }
        CheckKind::Postgres(postgres) => {
            for (key, value, root) in [("table", &postgres.table, "table"), ("query", &postgres.query, "query")] {
                if value.as_deref().is_some_and(text) {
                    wrong(key, format!("the {key} is empty or too long"));
                }
                if value.is_none() && uses(root) {
                    wrong(key, format!("an assertion speaks of the {key}, but the check names none"));
                }
            }
        }
        CheckKind::Tcp(kind::TcpCheck { host, port, .. }) | CheckKind::Tls(kind::TlsCheck { host, port, .. }) => {
            if host.is_empty() || host.len() > 255 || host.contains(['/', ' ', '@']) {
                wrong("host", "a host is a name or an address, without a scheme and a port".to_owned());
            }
            if *port == 0 {
                wrong("port", "a port is a number from 1 to 65535".to_owned());
            }
        }
        CheckKind::Dns(dns) => {
            if dns.name.is_empty() || dns.name.len() > 253 || dns.name.split('.').any(|label| label.len() > 63) {
                wrong("host", "a DNS name has at most 253 bytes, 63 between two dots".to_owned());
            }
        }
        CheckKind::Heartbeat(heartbeat) => {
            heartbeat.problems().into_iter().for_each(|(key, problem)| wrong(key, problem.0));
        }
        CheckKind::Heroku(_) => {}
    }
}

fn web_problems(web: &kind::WebCheck, wrong: &mut impl FnMut(&'static str, String)) {
    const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    /// What the request's framing depends on is ours.
    const OURS: [&str; 6] = ["content-length", "transfer-encoding", "connection", "upgrade", "te", "accept-encoding"];
    if !METHODS.contains(&web.method.as_str()) {
        wrong("method", format!("{:?} is not one of {}", web.method, METHODS.join(", ")));
    }
    if web.headers.len() > kind::HEADERS_MAX {
        wrong("headers", format!("a check sends at most {} headers", kind::HEADERS_MAX));
    }
    for (name, value) in &web.headers {
        let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || name.len() > 100 || !name.chars().all(token) {
            wrong("headers", format!("{name:?} is not the name of a header"));
        } else if OURS.iter().any(|ours| name.eq_ignore_ascii_case(ours)) {
            wrong("headers", format!("the header {name:?} is set by the check itself"));
        }
        let value = value.expose();
        if value.len() > kind::HEADER_BYTES_MAX || value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 127)
        {
            wrong("headers", format!("the value of {name:?} is too long or has control characters"));
        }
    }
    if web.body.as_ref().is_some_and(|body| body.expose().len() > kind::TEXT_BYTES_MAX) {
        wrong("body", format!("a body has at most {} bytes", kind::TEXT_BYTES_MAX));
    }
    if web.body_bytes_max == 0 || web.body_bytes_max > kind::BODY_BYTES_MAX {
        wrong("body_bytes_max", format!("write 1 to {} bytes", kind::BODY_BYTES_MAX));
    }
}

#[cfg(test)]
mod docs_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use kind::{RedisCheck, TlsMode, WebCheck};

    fn web(url: &str) -> Check {
        Check::new("shop", CheckKind::Web(WebCheck::get(url)))
    }

    #[track_caller]
    fn check(check: &Check, want: &[(&str, &str)]) {
        let problems = check.problems();
        let found: Vec<_> = problems.iter().map(|(key, invalid)| (*key, invalid.0.as_str())).collect();
        assert_eq!(found.len(), want.len(), "{found:?}");
        for ((key, text), (want_key, part)) in found.iter().zip(want) {
            assert!(key == want_key && text.contains(part), "{key}: {text}, not {want_key}: {part}");
        }
    }

    #[test]
    fn a_plain_check_is_sound() {
        check(&web("https://shop.example/health"), &[]);
    }

    #[test]
    fn every_problem_is_named_with_its_key() {
        let mut wrong = web("ftp://shop.example");
        wrong.name = "a shop".to_owned();
        wrong.interval = Duration::from_secs(1);
        wrong.timeout = Duration::from_secs(31);
        wrong.thresholds.failures = 0;
        wrong.parent = Some("a shop".to_owned());
        wrong.assertions =
            vec!["length > 3".parse().unwrap(), "status = 200".parse().unwrap(), "status = 200".parse().unwrap()];
        check(
            &wrong,
            &[
                ("name", "letters, digits"),
                ("interval", "1s is out of range: write 5s to 1d"),
                ("timeout", "31s is out of range: write 100ms to 30s"),
                ("thresholds", "at least one run"),
                ("parent", "its own parent"),
                ("assertions", "a web check does not measure \"length\"; it has status, response, header.*"),
                ("assertions", "\"status = 200\" stands there twice"),
                ("url", "must begin with https:// or http://"),
            ],
        );
    }

    #[test]
    fn requests_are_judged() {
        let mut check_ = web("https://shop.example");
        if let CheckKind::Web(web) = &mut check_.kind {
            web.method = "FETCH".to_owned();
            web.headers = vec![
                ("Content-Length".to_owned(), Secret::new("3")),
                ("x y".to_owned(), Secret::new("3")),
                ("x".to_owned(), Secret::new("a\r\nb: c")),
            ];
            web.body_bytes_max = 0;
        }
        check(
            &check_,
            &[
                ("method", "\"FETCH\" is not one of GET"),
                ("headers", "set by the check itself"),
                ("headers", "\"x y\" is not the name"),
                ("headers", "control characters"),
                ("body_bytes_max", "write 1 to"),
            ],
        );
        assert!(!format!("{check_:?}").contains("b: c"), "values of headers are secrets");
    }

    #[test]
    fn assertions_need_what_they_speak_of() {
        let url = Source::ConfigVar { app: "shop".to_owned(), name: String::new() };
        let redis = RedisCheck { url, key: None, family: kind::Family::Any, tls: TlsMode::Pin };
        let mut redis = Check::new("queue", CheckKind::Redis(redis));
        redis.assertions = vec!["length <= 500 clear 450".parse().unwrap()];
        check(&redis, &[("config_var", "name both"), ("key", "names none")]);
    }

    #[test]
    fn a_ca_is_a_certificate() {
        let mut ca = web("https://shop.example");
        if let CheckKind::Web(web) = &mut ca.kind {
            web.tls = TlsMode::Ca("ca.pem".to_owned());
        }
        check(&ca, &[("ca", "BEGIN CERTIFICATE")]);
    }

    #[test]
    fn redirects_read_and_print() {
        for text in ["refuse", "follow 5", "same host 1", "expect 301"] {
            assert_eq!(text.parse::<kind::Redirects>().unwrap().to_string(), text);
        }
        for text in ["", "follow", "follow 0", "follow 11", "expect 200", "same host"] {
            assert!(text.parse::<kind::Redirects>().is_err(), "{text}");
        }
    }
}
