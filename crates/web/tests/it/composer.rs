//! A reader of console objects for these tests: small, but of the same contract as the configuration file's.

use std::path::{Path, PathBuf};

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::heartbeat::{Expected, Heartbeat};
use dynowatch_domain::check::kind::{TcpCheck, WebCheck};
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Scope, When};
use dynowatch_domain::check::{AssertionError, Check, CheckKind};
use dynowatch_domain::mask::Masker;
use dynowatch_domain::parse::{Invalid, duration};
use dynowatch_domain::rule::{Condition, MatchSpec, Origin, Rule};
use dynowatch_engine::checks::ChecksConfig;
use dynowatch_engine::objects::{Compose, Composed, Objects, Problem};
use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
use dynowatch_store::objects::ObjectKind;
use serde_json::Value;

use crate::site::KNOWN_SECRET;

pub(crate) struct Composer {
    folder: PathBuf,
    rules: Vec<Rule>,
    /// Checks and windows of the file.
    checks: ChecksConfig,
}

impl Composer {
    pub(crate) fn new(folder: &Path, rules: Vec<Rule>, checks: ChecksConfig) -> Self {
        Self { folder: folder.to_owned(), rules, checks }
    }
}

/// A check of the console: a web page, a port, or a job.
fn check(name: &str, body: &Value) -> Result<Check, Problem> {
    let problem = |key: &str, text: String| Problem { key: key.to_owned(), text };
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let kind = match text("kind") {
        "heartbeat" => {
            let every = duration(text("every")).map_err(|e| problem("every", e.0))?;
            let grace = std::time::Duration::from_secs(60);
            CheckKind::Heartbeat(Heartbeat { expected: Expected::Every(every), grace, run_max: None })
        }
        "tcp" => {
            let port = body["port"].as_u64().and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or_else(|| problem("port", "write 1 to 65535".to_owned()))?;
            CheckKind::Tcp(TcpCheck { host: text("host").to_owned(), port, family: Default::default() })
        }
        "" | "web" => {
            let mut web = WebCheck::get(text("url"));
            if let Some(redirects) = body["redirects"].as_str() {
                web.redirects = redirects.parse().map_err(|e: Invalid| problem("redirects", e.0))?;
            }
            CheckKind::Web(web)
        }
        other => return Err(problem("kind", format!("{other:?} is no kind of check"))),
    };
    let mut check = Check::new(name, kind);
    for (i, one) in body["assert"].as_array().into_iter().flatten().enumerate() {
        let one = one.as_str().unwrap_or_default();
        check
            .assertions
            .push(one.parse().map_err(|e: AssertionError| problem(&format!("assert[{i}]"), e.to_string()))?);
    }
    if let Some(failures) = body.get("failures") {
        let number = failures.as_u64().and_then(|n| u32::try_from(n).ok());
        check.thresholds.failures =
            number.ok_or_else(|| problem("failures", format!("{failures} is no number of runs")))?;
    }
    if let Some(timeout) = body["timeout"].as_str() {
        check.timeout = duration(timeout).map_err(|e| problem("timeout", e.0))?;
    }
    check.app = body["app"].as_str().map(str::to_owned);
    check.parent = body["parent"].as_str().map(str::to_owned);
    check.public = body["public"] == true;
    check.paused = body["paused"] == true;
    check.receivers = vec!["operator".to_owned()];
    match check.problems().into_iter().next() {
        Some((key, invalid)) => Err(problem(key, invalid.0)),
        None => Ok(check),
    }
}

/// A maintenance window of the console: once.
fn window(name: &str, body: &Value) -> Result<MaintenanceWindow, Problem> {
    let problem = |key: &str, text: &str| Problem { key: key.to_owned(), text: text.to_owned() };
    let from = Timestamp::parse(body["at"].as_str().unwrap_or_default()).map_err(|_| problem("at", "no moment"))?;
    let lasts = duration(body["for"].as_str().unwrap_or_default()).map_err(|e| problem("for", &e.0))?;
    let names =
        body["checks"].as_array().into_iter().flatten().filter_map(|name| name.as_str()?.parse().ok()).collect();
    let scope = if body["all"] == true { Scope::All } else { Scope::Checks(names) };
    let reason = body["reason"].as_str().unwrap_or_default().to_owned();
    Ok(MaintenanceWindow { name: name.to_owned(), scope, when: When::Once { from, until: from + lasts }, reason })
}

impl Compose for Composer {
    fn compose(&self, objects: &Objects) -> Result<Composed, String> {
        let mut rules = self.rules.clone();
        for object in &objects.rules {
            let text = object.body["match"]["text"].as_array().map(Vec::as_slice).unwrap_or_default();
            let matches = MatchSpec {
                text: text.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect(),
                ..MatchSpec::default()
            };
            let threshold = object.body["count"].as_str().unwrap_or_default().parse().map_err(|e| format!("{e:?}"))?;
            let window = std::time::Duration::from_secs(300);
            let rule = Rule::new(&object.name, matches, Condition::Count { threshold, window });
            rules.push(Rule { origin: Origin::Store, ..rule });
        }
        let log = |name: &str| ReceiverSpec {
            name: name.to_owned(),
            kind: ReceiverKind::Log { path: Some(self.folder.join("messages.txt")) },
        };
        let specs: Vec<ReceiverSpec> = std::iter::once("operator")
            .chain(objects.receivers.iter().map(|object| object.name.as_str()))
            .map(log)
            .collect();
        let mut checks = self.checks.clone();
        for object in &objects.checks {
            checks.checks.push(check(&object.name, &object.body).map_err(|problem| problem.text)?);
        }
        for object in &objects.windows {
            checks.windows.push(window(&object.name, &object.body).map_err(|problem| problem.text)?);
        }
        Ok(Composed {
            rules,
            receivers: Receivers::build(&specs, &[]).map_err(|error| error.to_string())?,
            masker: Masker::with_values(vec![KNOWN_SECRET.to_owned()]),
            checks,
            unusable: Vec::new(),
        })
    }

    fn problems(&self, objects: &Objects, kind: ObjectKind, name: &str) -> Vec<Problem> {
        let body = objects.of(kind).iter().find(|object| object.name == name).map(|object| &object.body);
        let count = body.and_then(|body| body["count"].as_str()).unwrap_or_default();
        if kind == ObjectKind::Rule && count.parse::<dynowatch_domain::parse::CountThreshold>().is_err() {
            return vec![Problem { key: "count".into(), text: format!("{count:?} is no count: write \"> 3\"") }];
        }
        let nothing = Value::Null;
        let body = body.unwrap_or(&nothing);
        match kind {
            ObjectKind::Check => check(name, body).err().into_iter().collect(),
            ObjectKind::Maintenance => window(name, body).err().into_iter().collect(),
            _ => Vec::new(),
        }
    }
}
