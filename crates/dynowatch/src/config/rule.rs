//! One rule of the file, in two steps: what is written ([`Draft`]), then what it resolves to, either as a rule of its
//! own or laid over a built-in one. What may not be true together is asked of the domain.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::matcher::regex_problem;
use dynowatch_domain::parse::{CountThreshold, Glob, ShareThreshold};
use dynowatch_domain::rule::{
    Condition, GroupBy, Lively, MatchSpec, NAME_BYTES_MAX, Origin, PATTERN_BYTES_MAX, Rule, Severity, StatusPattern,
};
use dynowatch_domain::signal::{Code, Kind, Source};

use super::keys;
use super::names::{did_you_mean, is_name};
use super::reader::{Node, Table, shortened};
use super::threshold::{self, ThresholdDraft};

/// The most values in one list of a match.
const VALUES_MAX: usize = 1_000;
/// The keys that say what a rule asks; it has one of them.
const CONDITIONS: [&str; 4] = ["count", "ratio", "absence", METRIC];
const METRIC: &str = "metric";
const COUNT_WANTED: &str = "a text such as \"> 3\" or \">= 4\"";

/// What rules may refer to, and what they get where they say nothing.
pub(super) struct Context<'a> {
    /// Names of receivers, in the order of the file.
    pub(super) receivers: &'a [&'a str],
    pub(super) defaults: &'a Defaults,
    /// Every code that some built-in rule knows.
    pub(super) codes: &'a [Code],
}

/// `[defaults]`.
#[derive(Debug, Clone, Default)]
pub(super) struct Defaults {
    pub(super) receivers: Vec<String>,
    pub(super) cooldown: Option<Duration>,
    pub(super) resolve_after: Option<Duration>,
    pub(super) severity: Option<Severity>,
    pub(super) send_resolved: Option<bool>,
}

/// What stands in a rule's table. `None` where nothing stands, or nothing that can be used.
pub(super) struct Draft<'a> {
    table: Table<'a>,
    matches: Option<MatchSpec>,
    count: Option<CountThreshold>,
    ratio: Option<ShareThreshold>,
    absence: Option<u64>,
    threshold: Option<ThresholdDraft>,
    window: Option<Duration>,
    requests_min: Option<u64>,
    lively: Option<Lively>,
    group_by: Option<Vec<GroupBy>>,
    pending_for: Option<Duration>,
    cooldown: Option<Duration>,
    resolve_after: Option<Duration>,
    severity: Option<Severity>,
    runbook: Option<String>,
    receivers: Option<Vec<String>>,
    send_resolved: Option<bool>,
    apps: Option<Vec<Glob>>,
    enabled: Option<bool>,
    /// Whether some value could not be used, and was said so.
    spoiled: bool,
}

impl<'a> Draft<'a> {
    /// Reads every key but `name`.
    pub(super) fn read(table: &Table<'a>, context: &Context<'_>) -> Self {
        let errors_before = table.report.errors_len();
        let get = |key| table.get(key);
        let duration = |key| get(key).and_then(|node| node.duration());
        let mut draft = Self {
            table: table.clone(),
            matches: get("match").and_then(|node| read_match(&node, context)),
            count: get("count").and_then(|node| node.parsed(COUNT_WANTED)),
            ratio: get("ratio").and_then(|node| node.parsed("a text such as \"> 5%\"")),
            absence: get("absence").and_then(|node| read_absence(&node)),
            threshold: Some(ThresholdDraft::read(table)),
            window: duration("window"),
            requests_min: get("requests_min").and_then(|node| node.number(1..=1_000_000, "requests")),
            lively: get("lively").and_then(|node| read_lively(&node)),
            group_by: get("group_by").map(|node| read_group_by(&node)),
            pending_for: duration("for"),
            cooldown: duration("cooldown"),
            resolve_after: duration("resolve_after"),
            severity: get("severity").and_then(|node| read_severity(&node)),
            runbook: get("runbook").and_then(|node| read_runbook(&node)),
            receivers: get("receivers").and_then(|node| read_receivers(&node, context.receivers)),
            send_resolved: get("send_resolved").and_then(|node| node.flag()),
            apps: get("apps").map(|node| read_globs(&node, "an app's name, as in \"shop-*\"")),
            enabled: get("enabled").and_then(|node| node.flag()),
            spoiled: false,
        };
        draft.spoiled = table.report.errors_len() > errors_before;
        draft
    }

    /// The rule that the table writes, with the defaults filled in.
    pub(super) fn into_rule(mut self, name: &str, context: &Context<'_>) -> Option<Rule> {
        let condition = self.condition();
        let mut rule = Rule::new(name, self.matches.clone().unwrap_or_default(), condition?);
        rule.origin = Origin::File;
        let defaults = context.defaults;
        rule.severity = defaults.severity.unwrap_or(rule.severity);
        rule.cooldown = defaults.cooldown.unwrap_or(rule.cooldown);
        rule.resolve_after = defaults.resolve_after.unwrap_or(rule.resolve_after);
        rule.send_resolved = defaults.send_resolved.unwrap_or(rule.send_resolved);
        rule.receivers.clone_from(&defaults.receivers);
        self.finish(rule)
    }

    /// The built-in rule with the written keys in place of its own.
    pub(super) fn over(mut self, mut rule: Rule) -> Option<Rule> {
        if let Some(matches) = &self.matches {
            rule.matches = matches.clone();
        }
        let changed = self.changed_condition(&rule.condition)?;
        rule.condition = changed;
        self.finish(rule)
    }

    /// Lays the plain keys over a rule and asks the domain whether it makes sense as a whole.
    fn finish(self, mut rule: Rule) -> Option<Rule> {
        if self.spoiled {
            return None;
        }
        set(&mut rule.group_by, self.group_by);
        set(&mut rule.pending_for, self.pending_for);
        set(&mut rule.cooldown, self.cooldown);
        set(&mut rule.resolve_after, self.resolve_after);
        set(&mut rule.severity, self.severity);
        set(&mut rule.receivers, self.receivers);
        set(&mut rule.send_resolved, self.send_resolved);
        set(&mut rule.apps, self.apps);
        set(&mut rule.enabled, self.enabled);
        if self.runbook.is_some() {
            rule.runbook = self.runbook;
        }
        let problems = rule.problems();
        for problem in &problems {
            fail_at(&self.table, problem.key, &problem.text);
        }
        problems.is_empty().then_some(rule)
    }

    /// The condition of a rule that stands for itself: exactly one of four, with all it needs.
    fn condition(&mut self) -> Option<Condition> {
        let written: Vec<Node<'_>> = CONDITIONS.iter().filter_map(|key| self.table.get(key)).collect();
        let kind = match written.as_slice() {
            [] => {
                return self.table.fail(
                    "",
                    "nothing to fire on: write one of count = \"> 3\", ratio = \"> 5%\", absence = \"< 1\" or metric = \"dyno.memory_percent\"",
                );
            }
            [only] => only.key.rsplit('.').next().unwrap_or_default().to_owned(),
            [first, second, ..] => {
                return second.fail(format!(
                    "a rule has one condition, and line {} has {} already: make two rules of it",
                    first.line(),
                    first.key.rsplit('.').next().unwrap_or_default()
                ));
            }
        };
        self.refuse_foreign(&kind);
        if kind == METRIC {
            let draft = self.threshold.take()?;
            return draft.threshold(&self.table, self.window).map(Condition::Threshold);
        }
        if !self.table.has("window") {
            self.table.fail::<()>("window", "missing: write how long to look back, as in window = \"5m\"");
        }
        if kind == "ratio" && !self.table.has("requests_min") {
            self.table.fail::<()>(
                "requests_min",
                "missing: a share of few requests says little; write from how many on it counts, as in requests_min = 50",
            );
        }
        match kind.as_str() {
            "count" => Some(Condition::Count { threshold: self.count?, window: self.window? }),
            "ratio" => Some(Condition::Ratio {
                threshold: self.ratio?,
                requests_min: self.requests_min?,
                window: self.window?,
            }),
            _ => Some(Condition::Absence { fewer_than: self.absence?, window: self.window?, lively: self.lively }),
        }
    }

    /// A built-in condition with the written parts in place of its own. It stays of its kind: another kind is another
    /// rule, and is written as one.
    fn changed_condition(&mut self, base: &Condition) -> Option<Condition> {
        let own = match base {
            Condition::Threshold(_) => METRIC,
            _ => base.name(),
        };
        let foreign = CONDITIONS.into_iter().filter(|key| *key != own);
        for node in foreign.filter_map(|key| self.table.get(key)) {
            node.fail::<()>(format!(
                "this built-in rule is made of `{}`: change that, or write a rule of its name under [[rules]], which replaces it",
                own
            ));
        }
        self.refuse_foreign(own);
        let mut changed = base.clone();
        match &mut changed {
            Condition::Count { threshold, window } => {
                set(threshold, self.count);
                set(window, self.window);
            }
            Condition::Ratio { threshold, requests_min, window } => {
                set(threshold, self.ratio);
                set(requests_min, self.requests_min);
                set(window, self.window);
            }
            Condition::Absence { fewer_than, window, lively } => {
                set(fewer_than, self.absence);
                set(window, self.window);
                if self.lively.is_some() {
                    *lively = self.lively;
                }
            }
            Condition::Threshold(threshold) => self.threshold.take()?.over(threshold, self.window),
            // Made of a check, never of a file.
            Condition::Check { .. } => {}
        }
        Some(changed)
    }

    /// Keys that belong to another kind of condition.
    fn refuse_foreign(&self, kind: &str) {
        let of_metrics = threshold::KEYS.iter().map(|key| (*key, METRIC));
        for (key, owner) in [("requests_min", "ratio"), ("lively", "absence")].into_iter().chain(of_metrics) {
            if let Some(node) = self.table.get(key).filter(|_| kind != owner) {
                node.fail::<()>(format!("belongs to `{owner}`, and this rule has `{kind}`: leave it out"));
            }
        }
    }
}

/// What is wrong with a rule as a whole, said at the value that the domain blames, where it is written.
pub(super) fn fail_at(table: &Table<'_>, key: &str, problem: &str) {
    let (first, rest) = key.split_once('.').map_or((key, None), |(first, rest)| (first, Some(rest)));
    let outer = table.get(first);
    let inner = outer.as_ref().zip(rest).and_then(|(node, rest)| node.any_table("")?.get(rest));
    match inner.or(outer) {
        Some(node) => node.fail(problem),
        None => table.fail::<()>(key, problem),
    };
}

pub(super) fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn read_match(node: &Node<'_>, context: &Context<'_>) -> Option<MatchSpec> {
    let table = node.table(keys::MATCH, "a table such as { code = \"H12\" }")?;
    let values = |key: &str| {
        let values = table.get(key).map(|node| node.one_or_more()).unwrap_or_default();
        if values.len() > VALUES_MAX {
            table.fail::<()>(key, format!("has {} values: write at most {VALUES_MAX}", values.len()));
        }
        values
    };
    let kinds: Vec<(&str, Kind)> = Kind::ALL.iter().map(|kind| (kind.as_str(), *kind)).collect();
    let sources = [Source::App, Source::Heroku].map(|source| (source.as_str(), source));
    Some(MatchSpec {
        code: values("code").iter().filter_map(|node| read_code(node, context.codes)).collect(),
        kind: values("kind").iter().filter_map(|node| node.one_of("a kind of line", &kinds)).collect(),
        source: table.get("source").and_then(|node| node.one_of("a source", &sources)),
        process: table
            .get("process")
            .map(|node| read_globs(&node, "a process type, as in \"web\""))
            .unwrap_or_default(),
        dyno: table.get("dyno").map(|node| read_globs(&node, "a dyno, as in \"web.*\"")).unwrap_or_default(),
        text: values("text").iter().filter_map(|node| read_text(node, "a text to look for")).collect(),
        regex: table.get("regex").and_then(|node| read_regex(&node)),
        status: values("status").iter().filter_map(read_status).collect(),
        path_prefix: values("path_prefix")
            .iter()
            .filter_map(|node| read_text(node, "a path, as in \"/api/\""))
            .collect(),
    })
}

fn read_text(node: &Node<'_>, wanted: &str) -> Option<String> {
    node.text(wanted).map(str::to_owned)
}

fn read_code(node: &Node<'_>, known: &[Code]) -> Option<Code> {
    let text = node.text("a code such as \"H12\"")?;
    let Some(code) = Code::parse(text) else {
        let upper = text.trim().to_uppercase();
        return match Code::parse(&upper) {
            Some(meant) => node.fail(format!("{:?} is not a code: did you mean \"{meant}\"?", shortened(text))),
            None => node.fail(format!(
                "{:?} is not a code: write H (router), R (dyno) or L (logs) and two or three digits, as in \"H12\"",
                shortened(text)
            )),
        };
    };
    if !known.contains(&code) {
        node.warn(format!("\"{code}\" is not a code that Heroku documents; the rule waits for it all the same"));
    }
    Some(code)
}

fn read_status(node: &Node<'_>) -> Option<StatusPattern> {
    let text = node.text_or_digits("a status such as 503 or a class such as \"5xx\"")?;
    match shortened(text).parse() {
        Ok(status) => Some(status),
        Err(invalid) => node.invalid(&invalid),
    }
}

fn read_regex(node: &Node<'_>) -> Option<String> {
    let text = node.text("a regular expression")?;
    if text.is_empty() || text.len() > PATTERN_BYTES_MAX {
        return node.fail(format!("a regular expression is 1 to {PATTERN_BYTES_MAX} bytes long"));
    }
    match regex_problem(text) {
        None => Some(text.to_owned()),
        Some(problem) => node.fail(format!("{:?} is not a regular expression: {problem}", shortened(text))),
    }
}

pub(super) fn read_globs(node: &Node<'_>, wanted: &str) -> Vec<Glob> {
    node.one_or_more().iter().filter_map(|node| node.parsed(wanted)).collect()
}

fn read_group_by(node: &Node<'_>) -> Vec<GroupBy> {
    let known = GroupBy::ALL.map(|by| (by.as_str(), by));
    node.one_or_more().iter().filter_map(|node| node.one_of("a way to group", &known)).collect()
}

pub(super) fn read_severity(node: &Node<'_>) -> Option<Severity> {
    node.one_of("a severity", &Severity::ALL.map(|severity| (severity.as_str(), severity)))
}

pub(super) fn read_runbook(node: &Node<'_>) -> Option<String> {
    match node.text("a URL, or a path in your repository")? {
        text if text.is_empty() || text.len() > 2_000 || text.chars().any(char::is_control) => {
            node.fail("a runbook is a URL or a path of 1 to 2000 bytes without control characters")
        }
        text => Some(text.to_owned()),
    }
}

/// Names of receivers; an empty list is a choice, too: record and show, send to nobody.
pub(super) fn read_receivers(node: &Node<'_>, known: &[&str]) -> Option<Vec<String>> {
    let items = node.list("a list of receivers, as in [\"operator\"]")?;
    let mut names: Vec<String> = Vec::with_capacity(items.len());
    for item in &items {
        let Some(name) = item.text("the name of a receiver") else {
            continue;
        };
        if !known.contains(&name) {
            item.fail::<()>(format!("there is no receiver {:?}: {}", shortened(name), did_you_mean(name, known)));
        } else if names.iter().any(|listed| listed == name) {
            item.fail::<()>(format!("{name:?} stands in this list twice: one message is enough"));
        } else {
            names.push(name.to_owned());
        }
    }
    Some(names)
}

fn read_absence(node: &Node<'_>) -> Option<u64> {
    let text = node.text("a text such as \"< 1\"")?;
    match text.trim().strip_prefix('<').map(|number| number.trim().parse::<u64>()) {
        Some(Ok(number)) => Some(number),
        _ => node.fail(format!(
            "{:?} is not an absence: write \"< 1\" (not a single line) or \"< 10\" (fewer than ten)",
            shortened(text)
        )),
    }
}

fn read_lively(node: &Node<'_>) -> Option<Lively> {
    let table = node.table(keys::LIVELY, "a table such as { lines = 60, within = \"1h\" }")?;
    let (lines, within) = (table.get("lines"), table.get("within"));
    if lines.is_none() || within.is_none() {
        return table.fail("", "needs both: { lines = 60, within = \"1h\" }");
    }
    let lines_min = lines.and_then(|node| node.number(1..=1_000_000, "lines"));
    let within = within.and_then(|node| match node.duration()? {
        zero if zero.is_zero() => node.fail("no line fits into no time: write a duration such as \"1h\""),
        within => Some(within),
    });
    Some(Lively { lines_min: lines_min?, within: within? })
}

/// The `name` of a table under `[[apps]]`, `[[receivers]]` or `[[rules]]`, told apart from those before it.
pub(super) fn read_name<'a>(table: &Table<'a>, seen: &mut BTreeMap<&'a str, u32>, what: &str) -> Option<&'a str> {
    let Some(node) = table.get("name") else {
        return table.fail("name", format!("missing: every {what} has a name of its own, as in name = \"web\""));
    };
    let name = node.text("a text such as \"web\"")?;
    if !is_name(name) {
        return node
            .fail(format!("{:?} is not a name: write 1 to {NAME_BYTES_MAX} of a-z, 0-9, - _ and .", shortened(name)));
    }
    if let Some(line) = seen.get(name) {
        return node.fail(format!("{name:?} is the name of the {what} in line {line} already: give each its own"));
    }
    seen.insert(name, node.line());
    Some(name)
}
