//! The rules that come with dynowatch: what Heroku's codes, crashes and silences mean, when they are worth a message, the
//! first command to type, and what it usually was. The tables are in the submodules, one row per rule; this file turns
//! rows into [`Rule`]s and into `docs/rules.md`.
//!
//! How thresholds were chosen: what users see as failing requests pages at more than a few in five minutes; what
//! happens once per dyno and always matters (`R15`, a damaged slug) pages at the first line; what is the client's doing,
//! an intended state, or part of every deploy is in the pack but switched off, and its meaning says why. Rules about
//! dynos group by process type: a leak in every `web` dyno is one problem, told once. Limits of metrics fire before the
//! codes do, after minutes without a break: where there is time, there is time to be sure.

mod app;
mod data;
mod drain;
mod dyno;
mod router;

use std::fmt::Write as _;
use std::time::Duration;

use crate::parse::{Comparison, CountThreshold, show_duration};
use crate::rule::{Condition, GroupBy, Guidance, MatchSpec, Origin, Rule, Severity};
use crate::signal::Code;

/// One row of a table: a count rule and its help.
struct Row {
    /// A code such as `H12`, whose lower-case form is the rule's name; or a name with `lines` below.
    name: &'static str,
    lines: fn() -> MatchSpec,
    more_than: u64,
    minutes: u64,
    cooldown_minutes: u64,
    resolve_after_minutes: u64,
    severity: Severity,
    group_by: &'static [GroupBy],
    enabled: bool,
    meaning: &'static str,
    first_command: &'static str,
    usual_causes: &'static [&'static str],
}

/// What most rows have in common. A row whose `lines` ask nothing takes the code that it is named after.
const ROW: Row = Row {
    name: "",
    lines: MatchSpec::default,
    more_than: 3,
    minutes: 5,
    cooldown_minutes: 5,
    resolve_after_minutes: 5,
    severity: Severity::Warning,
    group_by: &[],
    enabled: true,
    meaning: "",
    first_command: "heroku logs -a {app} -n 200",
    usual_causes: &[],
};

impl Row {
    fn rule(&self) -> Rule {
        let mut matches = (self.lines)();
        if matches == MatchSpec::default() {
            matches.code.extend(Code::parse(self.name));
        }
        // "> 0" and ">= 1" are the same; people read the second.
        let threshold = match self.more_than {
            0 => CountThreshold { comparison: Comparison::AtLeast, number: 1 },
            number => CountThreshold { comparison: Comparison::Above, number },
        };
        let condition = Condition::Count { threshold, window: minutes(self.minutes) };
        Rule {
            group_by: self.group_by.to_vec(),
            cooldown: minutes(self.cooldown_minutes),
            resolve_after: minutes(self.resolve_after_minutes),
            severity: self.severity,
            enabled: self.enabled,
            ..built_in(
                &self.name.to_lowercase(),
                matches,
                condition,
                self.meaning,
                self.first_command,
                self.usual_causes,
            )
        }
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}

fn built_in(
    name: &str,
    matches: MatchSpec,
    condition: Condition,
    meaning: &str,
    first_command: &str,
    causes: &[&str],
) -> Rule {
    let guidance = Guidance {
        meaning: meaning.to_owned(),
        first_command: first_command.to_owned(),
        usual_causes: causes.iter().map(|&cause| cause.to_owned()).collect(),
    };
    Rule { origin: Origin::BuiltIn, guidance, ..Rule::new(name, matches, condition) }
}

/// A heading of `docs/rules.md` and its rules.
struct Chapter {
    title: &'static str,
    rules: Vec<Rule>,
}

fn chapters() -> Vec<Chapter> {
    let of = |rows: &[Row]| rows.iter().map(Row::rule).collect::<Vec<_>>();
    vec![
        Chapter {
            title: "Requests: what the router saw",
            rules: [of(router::ROWS), vec![router::share_of_5xx()]].concat(),
        },
        Chapter { title: "Dynos: what the dyno manager saw", rules: of(dyno::ROWS) },
        Chapter { title: "The app's own words", rules: of(app::ROWS) },
        Chapter { title: "Limits: memory, load, databases", rules: data::rules() },
        Chapter { title: "Logs and the drain itself", rules: [of(drain::ROWS), vec![drain::silent()]].concat() },
    ]
}

/// The built-in rules, disabled ones too. Names are stable: a rule of the file with such a name replaces it.
#[must_use]
pub fn rules() -> Vec<Rule> {
    chapters().into_iter().flat_map(|chapter| chapter.rules).collect()
}

/// `docs/rules.md`, whole.
#[must_use]
pub fn markdown() -> String {
    let mut page = String::from(HEAD);
    for chapter in chapters() {
        let _ = write!(page, "\n## {}\n\n{COLUMNS}", chapter.title);
        for rule in &chapter.rules {
            row(&mut page, rule);
        }
    }
    page.push_str(LEFT_OUT);
    page
}

const HEAD: &str = "<!-- Generated from crates/domain/src/rule_pack: edit there, then run
     DYNOWATCH_UPDATE=1 cargo test -p dynowatch-domain rule_pack -->

# The built-in rules

On by default unless the table says *off*. A rule in your file with one of these names replaces it; single keys are
changed, and rules switched off, under `[rule_pack]` (see [configuration.md](configuration.md)). `{app}` stands for the
app's name. Where nothing else is said, the cool-down is 5m, an alert resolves after 5m of calm, and alerts are one per
app.

A code counts only where Heroku itself says it: H codes on router lines, R codes on lines of the dyno manager, L codes on
lines of the log router. A line of your app that quotes `code=H12` is not one.
";

const COLUMNS: &str =
    "| rule | fires on | severity | meaning | first command | usual causes |\n|---|---|---|---|---|---|\n";

const LEFT_OUT: &str = "
## Codes without a rule

| code | why |
|---|---|
| H16 | retired; it was a redirect, not an error |
| H23 | not emitted since March 2025 |
| H70, R11 | retired with the Bamboo stack |
| L20 | an answer to a tail request; it never reaches a drain |

A code that has no rule is counted in `dynowatch_platform_errors_total` all the same, and a rule of your own can name it.
";

fn row(page: &mut String, rule: &Rule) {
    let mut fires = match &rule.condition {
        Condition::Threshold(threshold) => {
            format!("`metric`: {threshold}, seen over {}", show_duration(threshold.window))
        }
        condition => format!("{}: {condition}", takes(&rule.matches)),
    };
    if !rule.pending_for.is_zero() {
        let _ = write!(fires, ", for {}", show_duration(rule.pending_for));
    }
    if let Condition::Absence { lively: Some(lively), .. } = &rule.condition {
        let _ = write!(fires, ", after at least {} lines in {}", lively.lines_min, show_duration(lively.within));
    }
    if !rule.group_by.is_empty() {
        let names: Vec<&str> = rule.group_by.iter().map(|by| by.as_str()).collect();
        let _ = write!(fires, ", by {}", names.join(", "));
    }
    for (name, length) in [("cool-down", rule.cooldown), ("resolves after", rule.resolve_after)] {
        if length != minutes(5) {
            let _ = write!(fires, ", {name} {}", show_duration(length));
        }
    }
    let off = if rule.enabled { "" } else { " *off*" };
    let Guidance { meaning, first_command, usual_causes } = &rule.guidance;
    let causes = usual_causes.join("; ");
    let severity = rule.severity.as_str();
    let _ =
        writeln!(page, "| `{}`{off} | {fires} | {severity} | {meaning} | `{first_command}` | {causes} |", rule.name);
}

/// Which lines, in the words of the rule language.
fn takes(spec: &MatchSpec) -> String {
    let mut parts: Vec<String> = spec.code.iter().map(|code| format!("`code = \"{code}\"`")).collect();
    parts.extend(spec.kind.iter().map(|kind| format!("`kind = \"{}\"`", kind.as_str())));
    parts.extend(spec.status.iter().map(|status| format!("`status = \"{status}\"`")));
    if !spec.text.is_empty() {
        parts.push(format!(
            "`text` {}",
            spec.text.iter().map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(" or ")
        ));
    }
    if parts.is_empty() { "any line".to_owned() } else { parts.join(" and ") }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use super::*;
    use crate::matcher::Matcher;

    #[test]
    fn every_rule_is_good_and_has_its_help() {
        let rules = rules();
        let mut names = BTreeSet::new();
        for rule in &rules {
            assert_eq!(rule.problems(), [], "{}", rule.name);
            assert!(names.insert(rule.name.clone()), "{} twice", rule.name);
            assert_eq!(rule.origin, Origin::BuiltIn);
            let Guidance { meaning, first_command, usual_causes } = &rule.guidance;
            assert!(
                meaning.ends_with('.') && first_command.contains("{app}") && !usual_causes.is_empty(),
                "{}",
                rule.name
            );
            assert!(
                rule.name.len() <= 24
                    && rule.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            );
            let shown = format!("{meaning}{first_command}{}", usual_causes.concat());
            assert!(!shown.contains('|') && !shown.contains('\n'), "{} breaks the table", rule.name);
        }
        Matcher::new(rules.into_iter().map(Arc::new).collect()).unwrap();
    }

    #[test]
    fn every_code_of_the_platform_has_its_rule() {
        let names: BTreeSet<String> = rules().into_iter().map(|rule| rule.name).collect();
        let h =
            [10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 24, 25, 26, 27, 28, 31, 32, 33, 34, 80, 81, 82, 83, 99]
                .map(|n| format!("h{n}"));
        let r = [10, 12, 13, 14, 15, 16, 17, 99, 151].map(|n| format!("r{n}"));
        let l = [10, 11, 12, 13, 14, 15].map(|n| format!("l{n}"));
        let other = [
            "5xx-share",
            "boot-failed",
            "crash-loop",
            "worker-timeout",
            "worker-killed",
            "out-of-memory",
            "postgres-connections",
            "drain-silent",
            "drain-rejected",
            "memory-high",
            "load-high",
            "postgres-conns-high",
            "table-cache-low",
            "index-cache-low",
            "postgres-wal-high",
            "redis-memory-high",
            "redis-evictions",
            "api-limited",
            "metrics-unwritten",
        ];
        let want: BTreeSet<String> = h.into_iter().chain(r).chain(l).chain(other.map(str::to_owned)).collect();
        assert_eq!(names, want);
    }

    /// A rule named after a code takes that code and nothing else.
    #[test]
    fn codes_are_what_names_say() {
        for rule in rules().iter().filter(|rule| !rule.matches.code.is_empty()) {
            assert_eq!(
                rule.matches.code.iter().map(|c| c.to_string().to_lowercase()).collect::<Vec<_>>(),
                [rule.name.as_str()]
            );
        }
    }

    #[test]
    fn the_page_is_up_to_date() {
        let page = markdown();
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rules.md");
        #[expect(clippy::disallowed_methods, reason = "the switch of this one test, as other snapshots have theirs")]
        if std::env::var_os("DYNOWATCH_UPDATE").is_some() {
            std::fs::write(path, &page).unwrap();
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == page,
            "docs/rules.md is out of date: DYNOWATCH_UPDATE=1 cargo test -p dynowatch-domain rule_pack"
        );
    }
}
