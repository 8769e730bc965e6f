//! `[[checks]]` and `[prober]`: what is looked at, how often, and where checks may go. Owns the keys that all kinds share;
//! the kinds' own are `check_kind`'s, windows `maintenance`'s. What a check means as a whole is asked of the domain.
//!
//! A check that was made in the console is read here, too: its object has the keys of its table.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::address::Network;
use dynowatch_domain::check::kind::{Family, TcpCheck};
use dynowatch_domain::check::maintenance::MaintenanceWindow;
use dynowatch_domain::check::state::FLAP_TRANSITIONS_MAX;
use dynowatch_domain::check::{Assertion, CHECKS_MAX, Check, CheckKind, Flapping, INTERVAL_MAX, Thresholds};
use dynowatch_domain::mask::mask;
use dynowatch_domain::parse::show_duration;
use dynowatch_engine::checks::ChecksConfig;

use super::check_kind::{self, Surroundings};
use super::keys;
use super::maintenance;
use super::names::{did_you_mean, is_name};
use super::reader::{Node, Table, shortened};
use super::rule::{Defaults, fail_at, read_name, read_receivers, read_runbook, read_severity, set};
use super::variables::Variables;

/// The most runs in a row that a threshold may ask for.
const RUNS_MAX: u64 = 100;
/// The longest time that a threshold may ask for.
const LASTING_MAX: Duration = Duration::from_secs(7 * 86_400);
/// The most ranges of private addresses, and the most control targets.
const PROBER_VALUES_MAX: usize = 50;
/// What answers whenever anything does: by a name, so that a broken resolver counts as blindness, too.
const CONTROLS_DEFAULT: [(&str, u16); 2] = [("api.heroku.com", 443), ("one.one.one.one", 443)];
/// A control target that takes longer does not answer.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);

/// What an instance was told of checks. Its `Debug` form shows no secret.
#[derive(Debug, Clone, Default)]
pub struct CheckConfig {
    /// The checks. No two have one name.
    pub checks: Vec<Check>,
    /// The maintenance windows.
    pub windows: Vec<MaintenanceWindow>,
    /// Ranges of addresses that are not public and that checks may reach.
    pub allowed: Vec<Network>,
    /// What must be reachable whenever anything is. Empty while no check dials anybody.
    pub controls: Vec<Check>,
    /// Who is told that no control target answers.
    pub blind_receivers: Vec<String>,
    /// Checks whose variable is not set, with its name. They cannot be run; only where secrets may be missing.
    pub unset: BTreeMap<String, String>,
}

impl CheckConfig {
    /// The engine's part.
    #[must_use]
    pub fn for_engine(&self) -> ChecksConfig {
        ChecksConfig {
            checks: self.checks.clone(),
            windows: self.windows.clone(),
            controls: self.controls.clone(),
            blind_receivers: self.blind_receivers.clone(),
        }
    }
}

/// What checks may refer to, and what they get where they say nothing.
pub(super) struct Context<'a> {
    /// Names of receivers, in the order of the file.
    pub(super) receivers: &'a [&'a str],
    pub(super) defaults: &'a Defaults,
    pub(super) variables: &'a Variables<'a>,
}

/// Reads every check, every window and the prober's table.
pub(super) fn read(root: &Table<'_>, context: &Context<'_>) -> CheckConfig {
    let mut config = CheckConfig::default();
    let tables = root.tables("checks", &keys::of_checks());
    if tables.len() > CHECKS_MAX {
        root.fail::<()>("checks", format!("{} checks are too many: at most {CHECKS_MAX}", tables.len()));
    }
    let mut lines = BTreeMap::new();
    let mut parents = BTreeMap::new();
    for table in &tables {
        let name = read_name(table, &mut lines, "check");
        let surroundings = Surroundings { variables: context.variables, unset: None };
        // A check without a usable name is read to its end all the same: its other errors are news, too.
        let (check, unset) = read_check(table, name.unwrap_or("unnamed"), context, surroundings);
        if let (Some(name), Some(node)) = (name, table.get("parent")) {
            parents.extend(node.text("the name of a check").map(|parent| (name, (parent, node))));
        }
        if let (Some(name), Some(variable)) = (name, unset) {
            config.unset.insert(name.to_owned(), variable);
        }
        config.checks.extend(check.filter(|_| name.is_some()));
    }
    judge_parents(&parents, &lines.keys().copied().collect::<Vec<_>>());
    config.windows = maintenance::read(root, &config.checks);
    read_prober(root, context, &mut config);
    config
}

/// A parent must be there, and nobody is its own ancestor: both would hold each other's alerts for ever.
fn judge_parents(parents: &BTreeMap<&str, (&str, Node<'_>)>, known: &[&str]) {
    for (name, (parent, node)) in parents {
        if !known.contains(parent) {
            node.fail::<()>(format!("there is no check {:?}: {}", shortened(parent), did_you_mean(parent, known)));
            continue;
        }
        // That a check is its own parent, the domain says.
        let mut at = if parent == name { "" } else { *parent };
        for _ in 0..parents.len() {
            if at == *name {
                node.fail::<()>(format!("{name:?} is its own parent by way of {parent:?}: leave one of them out"));
                break;
            }
            match parents.get(at) {
                Some((next, _)) => at = next,
                None => break,
            }
        }
    }
}

/// One check, and the variable that it needs and that is not set.
fn read_check(
    table: &Table<'_>,
    name: &str,
    context: &Context<'_>,
    mut surroundings: Surroundings<'_>,
) -> (Option<Check>, Option<String>) {
    let errors_before = table.report.errors_len();
    let get = |key| table.get(key);
    let duration = |key| get(key).and_then(|node| node.duration());
    let app = get("app").and_then(|node| read_app(&node));
    let kind = check_kind::read(table, app.as_deref(), &mut surroundings);
    let thresholds = read_thresholds(table);
    let assertions = get("assert").map(|node| read_assertions(&node, kind.as_ref())).unwrap_or_default();
    let severity = get("severity").and_then(|node| read_severity(&node));
    let send_resolved = get("send_resolved").and_then(|node| node.flag());
    let receivers = get("receivers").and_then(|node| read_receivers(&node, context.receivers));
    let runbook = get("runbook").and_then(|node| read_runbook(&node));
    let (paused, public) = (get("paused").and_then(|node| node.flag()), get("public").and_then(|node| node.flag()));
    // What a heartbeat is expected every so often is read with its kind.
    let interval = if matches!(kind, Some(CheckKind::Heartbeat(_))) { None } else { duration("every") };
    let warnings = get("certificate_warnings").and_then(|node| node.flag());
    let (suspect_interval, timeout) = (duration("every_when_suspect"), duration("timeout"));
    let spoiled = table.report.errors_len() > errors_before;
    let Some(kind) = kind.filter(|_| !spoiled) else { return (None, surroundings.unset) };
    let mut check = Check::new(name, kind);
    check.app = app;
    set(&mut check.interval, interval);
    set(&mut check.timeout, timeout);
    set(&mut check.severity, severity);
    set(&mut check.send_resolved, send_resolved);
    set(&mut check.paused, paused);
    set(&mut check.public, public);
    set(&mut check.certificate_warnings, warnings);
    check.suspect_interval = suspect_interval;
    check.thresholds = thresholds;
    check.assertions = assertions;
    check.receivers = receivers.unwrap_or_else(|| context.defaults.receivers.clone());
    check.runbook = runbook;
    check.parent = get("parent").and_then(|node| node.text("").map(str::to_owned));
    let problems = check.problems();
    for (key, problem) in &problems {
        fail_at(table, written_key(key), &mask(&problem.0));
    }
    (Some(check).filter(|_| problems.is_empty()), surroundings.unset)
}

/// The key under which a field of the domain is written.
fn written_key(field: &'static str) -> &'static str {
    match field {
        "interval" => "every",
        "suspect_interval" => "every_when_suspect",
        "thresholds" => "failures",
        "assertions" => "assert",
        "zone" => "time_zone",
        other => other,
    }
}

/// The name of a Heroku app.
pub(super) fn read_app(node: &Node<'_>) -> Option<String> {
    match node.text("an app's name, as in \"shop\"")? {
        name if is_name(name) => Some(name.to_owned()),
        other => node.fail(format!("{:?} is not the name of an app: write one such as \"shop\"", shortened(other))),
    }
}

fn read_thresholds(table: &Table<'_>) -> Thresholds {
    let runs = |key| table.get(key).and_then(|node| u32::try_from(node.number(1..=RUNS_MAX, "runs")?).ok());
    let lasting = |key| table.get(key).and_then(|node| within(&node, Duration::from_secs(1), LASTING_MAX));
    let mut thresholds = Thresholds {
        failing_for: lasting("failing_for"),
        recovering_for: lasting("recovering_for"),
        ..Thresholds::default()
    };
    set(&mut thresholds.failures, runs("failures"));
    set(&mut thresholds.recoveries, runs("recoveries"));
    set(&mut thresholds.flapping, table.get("flapping").and_then(|node| read_flapping(&node)));
    set(&mut thresholds.tell_degraded, table.get("tell_degraded").and_then(|node| node.flag()));
    thresholds
}

/// A duration between two others.
pub(super) fn within(node: &Node<'_>, least: Duration, most: Duration) -> Option<Duration> {
    match node.duration()? {
        value if value < least || value > most => {
            let [value, least, most] = [value, least, most].map(show_duration);
            node.fail(format!("{value} is out of range: write {least} to {most}"))
        }
        value => Some(value),
    }
}

/// `false`, or a table whose keys are laid over the default.
fn read_flapping(node: &Node<'_>) -> Option<Option<Flapping>> {
    const WANTED: &str = "false, or a table such as { transitions = 6, window = \"10m\", quiet = \"10m\" }";
    if node.is_flag() {
        return match node.flag()? {
            false => Some(None),
            true => node.fail(format!("true says nothing new: leave the key out, or write {WANTED}")),
        };
    }
    let table = node.table(keys::FLAPPING, WANTED)?;
    let mut flapping = Flapping::default();
    let lasting = |key| table.get(key).and_then(|node| within(&node, Duration::from_secs(10), INTERVAL_MAX));
    let transitions = table.get("transitions").and_then(|node| node.number(3..=FLAP_TRANSITIONS_MAX.into(), "changes"));
    set(&mut flapping.transitions, transitions.and_then(|number| u32::try_from(number).ok()));
    set(&mut flapping.window, lasting("window"));
    set(&mut flapping.quiet, lasting("quiet"));
    Some(Some(flapping))
}

/// Each is judged at its own place; whether one stands there twice is asked of the domain.
fn read_assertions(node: &Node<'_>, kind: Option<&CheckKind>) -> Vec<Assertion> {
    let mut assertions = Vec::new();
    for item in node.one_or_more() {
        let Some(text) = item.text("an assertion such as \"status = 200\"") else { continue };
        let read = text.parse::<Assertion>();
        let judged = read.and_then(|assertion| match kind {
            Some(kind) => assertion.fits(kind).map(|()| assertion),
            None => Ok(assertion),
        });
        match judged {
            Ok(assertion) => assertions.push(assertion),
            Err(error) => {
                item.fail::<()>(mask(&error.to_string()));
            }
        }
    }
    assertions
}

/// `[prober]`.
fn read_prober(root: &Table<'_>, context: &Context<'_>, config: &mut CheckConfig) {
    let table = root.table("prober", keys::PROBER);
    let values = |key: &str, wanted: &str| {
        let nodes = table.as_ref().and_then(|table| table.get(key)?.list(wanted));
        if let Some(table) = table.as_ref().filter(|_| nodes.as_ref().is_some_and(|n| n.len() > PROBER_VALUES_MAX)) {
            table.fail::<()>(key, format!("write at most {PROBER_VALUES_MAX} values"));
        }
        nodes
    };
    let networks = values("allow_networks", "a list of ranges of addresses, as in [\"10.0.0.0/8\"]");
    let network = |node: &Node<'_>| node.parsed::<Network>("a range of addresses such as \"10.0.0.0/8\"");
    config.allowed = networks.unwrap_or_default().iter().filter_map(network).collect();
    let controls = match values("control_targets", "a list of hosts with ports, as in [\"api.heroku.com:443\"]") {
        Some(nodes) => nodes.iter().filter_map(read_control).collect(),
        None => CONTROLS_DEFAULT.map(|(host, port)| control(host, port)).to_vec(),
    };
    // Who has no check that dials anybody dials nobody either.
    let dials = config.checks.iter().any(|check| !matches!(check.kind, CheckKind::Heartbeat(_)));
    config.controls = if dials { controls } else { Vec::new() };
    let receivers = table.as_ref().and_then(|table| read_receivers(&table.get("receivers")?, context.receivers));
    config.blind_receivers = receivers.unwrap_or_else(|| context.defaults.receivers.clone());
}

fn read_control(node: &Node<'_>) -> Option<Check> {
    let text = node.text("a host with a port, as in \"api.heroku.com:443\"")?;
    let parts = text.rsplit_once(':').map(|(host, port)| (host.trim_matches(['[', ']']), port.parse::<u16>()));
    let found = match parts {
        Some((host, Ok(port))) => Some(control(host, port)).filter(|control| control.problems().is_empty()),
        _ => None,
    };
    found.or_else(|| {
        node.fail(format!(
            "{:?} is not a control target: write a host with a port, as in \"api.heroku.com:443\"",
            shortened(text)
        ))
    })
}

/// A port that takes connections. Its name is for messages, where a check's colon and brackets do no harm.
fn control(host: &str, port: u16) -> Check {
    let kind = CheckKind::Tcp(TcpCheck { host: host.to_owned(), port, family: Family::Any });
    let name: String =
        format!("{host}-{port}").chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
    let mut check = Check::new(name, kind);
    check.timeout = CONTROL_TIMEOUT;
    check
}
