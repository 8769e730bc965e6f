//! A rule: which lines it takes, what must be true of them, and what then happens. Owns the meaning and the limits of
//! every field; how a rule is written in a file is the configuration's business, which lines it takes is decided by
//! [`crate::matcher`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::parse::{CountThreshold, Glob, Invalid, ShareThreshold, show_duration};
use crate::rollup::BUCKET;
use crate::signal::{Code, Kind, Source};
use crate::threshold::Threshold;

/// The longest window of a rule.
pub const WINDOW_MAX: Duration = Duration::from_secs(86_400);
/// The longest rule, app or receiver name.
pub const NAME_BYTES_MAX: usize = 100;
/// The most rules of one instance.
pub const RULES_MAX: usize = 5_000;
/// The longest text or regex of a match.
pub const PATTERN_BYTES_MAX: usize = 1_000;
/// After this much quiet a cool-down is over, unless the rule says otherwise.
pub const COOLDOWN_DEFAULT: Duration = Duration::from_secs(300);
/// An alert whose condition was false for this long is resolved, unless the rule says otherwise.
pub const RESOLVE_AFTER_DEFAULT: Duration = Duration::from_secs(300);

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Info,
    /// Look at it in working hours.
    #[default]
    Warning,
    /// A human must act now.
    Critical,
}

impl Severity {
    /// Every severity, least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The name used in rules, messages and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// Where a rule, app or receiver was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// In the configuration file; edited there.
    File,
    /// Comes with dynowatch.
    BuiltIn,
    /// Made through the CLI, the API or the console, or adopted from a drain; lives in the store.
    Store,
}

impl Origin {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::BuiltIn => "built_in",
            Self::Store => "store",
        }
    }
}

/// A status or a class of them: `503` or `5xx`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusPattern {
    /// One status.
    Exactly(u16),
    /// All statuses of a class, 1 to 5.
    Class(u8),
}

impl StatusPattern {
    /// Whether a request's status fits.
    #[must_use]
    pub fn matches(self, status: u16) -> bool {
        match self {
            Self::Exactly(wanted) => status == wanted,
            Self::Class(class) => status / 100 == u16::from(class),
        }
    }
}

impl std::str::FromStr for StatusPattern {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => Ok(Self::Class(class - b'0')),
            [b'1'..=b'5', _, _] => text.parse().map(Self::Exactly).map_err(|_| status_invalid(text)),
            _ => Err(status_invalid(text)),
        }
    }
}

fn status_invalid(text: &str) -> Invalid {
    Invalid(format!("{text:?} is not a status: write \"503\" or a class such as \"5xx\""))
}

impl std::fmt::Display for StatusPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

/// Which lines a rule takes. Every part that is given must fit; inside a part one of its values must. An empty part
/// asks nothing. A match without any part takes every line and is only good for `absence`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MatchSpec {
    /// Codes said by Heroku itself, in their true places: a line that quotes `code=H12` has none.
    pub code: Vec<Code>,
    /// Parsed kinds.
    pub kind: Vec<Kind>,
    /// Who wrote the line. `text` and `regex` look at app lines unless this says `heroku`, or a `code` or a `kind` leads
    /// them elsewhere; at the router's lines only when these are named: by process `router`, kind `router` or an H code.
    pub source: Option<Source>,
    /// Process types, or `router` and kin: `web`, `heroku-*`.
    pub process: Vec<Glob>,
    /// Dynos: `web.1`, `worker.*`; for a request the dyno that served it.
    pub dyno: Vec<Glob>,
    /// Texts, any of which stands in the line, byte for byte.
    pub text: Vec<String>,
    /// A regular expression that finds something in the line's text (bytes; `(?i)` and kin work).
    pub regex: Option<String>,
    /// Statuses of requests.
    pub status: Vec<StatusPattern>,
    /// Beginnings of a request's path.
    pub path_prefix: Vec<String>,
}

impl MatchSpec {
    /// Whether some part looks at the text, and so at app lines unless `source` says otherwise.
    #[must_use]
    pub fn reads_text(&self) -> bool {
        !self.text.is_empty() || self.regex.is_some()
    }

    /// Whether some part can only fit a request.
    #[must_use]
    pub fn requests_only(&self) -> bool {
        !self.status.is_empty() || !self.path_prefix.is_empty()
    }
}

/// The precondition of an absence: silence is only news where there was life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lively {
    /// At least this many lines …
    pub lines_min: u64,
    /// … in this long before the silent window.
    pub within: Duration,
}

/// What must be true of the lines a rule takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// So many lines stamped in `(t - window, t]`. Exact.
    Count {
        /// How many.
        threshold: CountThreshold,
        /// The length of the window.
        window: Duration,
    },
    /// Among the requests of the window, the share that fits `status` and `code`. Read from ten-second buckets.
    Ratio {
        /// The share.
        threshold: ShareThreshold,
        /// Fewer requests than this say nothing.
        requests_min: u64,
        /// The length of the window.
        window: Duration,
    },
    /// Fewer than this many lines in the last `window`. Read from ten-second buckets.
    Absence {
        /// This many lines are enough to be alive.
        fewer_than: u64,
        /// How long the silence must last.
        window: Duration,
        /// Only where there was life before; without it, from the moment the rule is enabled.
        lively: Option<Lively>,
    },
    /// A metric is beyond a limit. Takes no lines: read from what they have told.
    Threshold(Threshold),
    /// A check does not work. Takes no lines and is not judged: the check's state machine says when.
    Check {
        /// What its run found.
        measured: String,
        /// How many failed runs it takes.
        threshold: String,
    },
}

impl Condition {
    /// The length of the window.
    #[must_use]
    pub fn window(&self) -> Duration {
        match self {
            Self::Count { window, .. } | Self::Ratio { window, .. } | Self::Absence { window, .. } => *window,
            Self::Threshold(threshold) => threshold.window,
            Self::Check { .. } => Duration::ZERO,
        }
    }

    /// Whether it is judged from the ten-second buckets of [`crate::rollup`].
    #[must_use]
    pub fn reads_buckets(&self) -> bool {
        matches!(self, Self::Ratio { .. } | Self::Absence { .. })
    }

    /// `count`, `ratio`, `absence`, `threshold` or `check`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Count { .. } => "count",
            Self::Ratio { .. } => "ratio",
            Self::Absence { .. } => "absence",
            Self::Threshold(_) => "threshold",
            Self::Check { .. } => "check",
        }
    }

    /// The limit alone, as written: `> 3`, `> 5% of at least 50 requests`, `< 1`.
    #[must_use]
    pub fn threshold(&self) -> String {
        match self {
            Self::Count { threshold, .. } => threshold.to_string(),
            Self::Ratio { threshold, requests_min, .. } => format!("{threshold} of at least {requests_min} requests"),
            Self::Absence { fewer_than, .. } => format!("< {fewer_than}"),
            Self::Threshold(threshold) => threshold.to_string(),
            Self::Check { threshold, .. } => threshold.clone(),
        }
    }
}

/// The whole condition in words: `> 3 in 5m`.
impl std::fmt::Display for Condition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} in {}", self.threshold(), show_duration(self.window()))
    }
}

/// What separates one alert of a rule from another, besides the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupBy {
    /// The app. Always part of a key; naming it changes nothing.
    App,
    /// `web` of `web.1`.
    ProcessType,
    /// The dyno.
    Dyno,
    /// The first segment of a request's path.
    PathPrefix,
    /// The error code.
    Code,
    /// The answer's status.
    Status,
    /// What a metric is about: a dyno, a database. For thresholds.
    Source,
    /// What a metric counts apart: a status, a code. For thresholds.
    Label,
}

impl GroupBy {
    /// Every way to group.
    pub const ALL: [Self; 8] = [
        Self::App,
        Self::ProcessType,
        Self::Dyno,
        Self::PathPrefix,
        Self::Code,
        Self::Status,
        Self::Source,
        Self::Label,
    ];

    /// Whether the series of a metric can be told apart by it.
    #[must_use]
    pub fn is_of_series(self) -> bool {
        matches!(self, Self::App | Self::ProcessType | Self::Dyno | Self::Source | Self::Label)
    }

    /// Whether lines can be told apart by it.
    #[must_use]
    pub fn is_of_lines(self) -> bool {
        !matches!(self, Self::Source | Self::Label)
    }

    /// The name used in rules and keys.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::App => "app",
            Self::ProcessType => "process_type",
            Self::Dyno => "dyno",
            Self::PathPrefix => "path_prefix",
            Self::Code => "code",
            Self::Status => "status",
            Self::Source => "source",
            Self::Label => "label",
        }
    }
}

/// Help for whoever is woken: shown with the alert, printed by `rules show`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Guidance {
    /// What it means when this fires.
    pub meaning: String,
    /// The first command to type; `{app}` stands for the app's name.
    pub first_command: String,
    /// What it usually was.
    pub usual_causes: Vec<String>,
}

/// A rule. See `docs/configuration.md` for how one is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Unique; part of every key. 1 to [`NAME_BYTES_MAX`] bytes of `a-z 0-9 - _ .`.
    pub name: String,
    /// Where it was written.
    pub origin: Origin,
    /// Which lines it takes.
    pub matches: MatchSpec,
    /// What must be true of them.
    pub condition: Condition,
    /// What separates its alerts, besides the app.
    pub group_by: Vec<GroupBy>,
    /// The condition must hold this long, without a break, before an alert fires.
    pub pending_for: Duration,
    /// After a message, this long without another for the same key.
    pub cooldown: Duration,
    /// The condition must be false this long before the alert resolves.
    pub resolve_after: Duration,
    /// How urgent.
    pub severity: Severity,
    /// Where to read on: a URL, or a path in the team's repository.
    pub runbook: Option<String>,
    /// Names of receivers; none means the defaults of the configuration, already filled in here.
    pub receivers: Vec<String>,
    /// Whether those who were told that it fired are told that it resolved.
    pub send_resolved: bool,
    /// Names of the apps it is for; none means all.
    pub apps: Vec<Glob>,
    /// Switched off in the file or by an operator, it is neither matched nor evaluated.
    pub enabled: bool,
    /// Help for whoever is woken.
    pub guidance: Guidance,
}

impl Rule {
    /// A rule with every default: any app, no receiver, 5 minutes of cool-down and of calm.
    #[must_use]
    pub fn new(name: &str, matches: MatchSpec, condition: Condition) -> Self {
        Self {
            name: name.to_owned(),
            origin: Origin::File,
            matches,
            condition,
            group_by: Vec::new(),
            pending_for: Duration::ZERO,
            cooldown: COOLDOWN_DEFAULT,
            resolve_after: RESOLVE_AFTER_DEFAULT,
            severity: Severity::default(),
            runbook: None,
            receivers: Vec::new(),
            send_resolved: false,
            apps: Vec::new(),
            enabled: true,
            guidance: Guidance::default(),
        }
    }

    /// Whether the rule is for the app of that name.
    #[must_use]
    pub fn wants_app(&self, app_name: &str) -> bool {
        self.apps.is_empty() || self.apps.iter().any(|glob| glob.matches(app_name.as_bytes()))
    }

    /// What cannot be true together: every problem, each with what would be right. Empty for a good rule.
    #[must_use]
    pub fn problems(&self) -> Vec<RuleProblem> {
        let mut found = Vec::new();
        let mut problem = |key: &'static str, text: String| found.push(RuleProblem { key, text });
        let window = self.condition.window();
        if window.is_zero() || window > WINDOW_MAX {
            problem("window", format!("a window lasts between 1s and {}", show_duration(WINDOW_MAX)));
        } else if window < BUCKET && self.condition.reads_buckets() {
            let (name, least) = (self.condition.name(), show_duration(BUCKET));
            problem(
                "window",
                format!("a rule of {name} is read in steps of {least}: its window lasts at least {least}"),
            );
        }
        let is_threshold = matches!(self.condition, Condition::Threshold(_));
        for by in self.group_by.iter().filter(|by| if is_threshold { !by.is_of_series() } else { !by.is_of_lines() }) {
            let (of, known) = if is_threshold {
                ("lines", GroupBy::ALL.into_iter().filter(|by| by.is_of_series()).collect::<Vec<_>>())
            } else {
                ("metrics", GroupBy::ALL.into_iter().filter(|by| by.is_of_lines()).collect())
            };
            let known: Vec<&str> = known.into_iter().map(GroupBy::as_str).collect();
            problem("group_by", format!("`{}` is of {of}: here one groups by {}", by.as_str(), known.join(", ")));
        }
        let m = &self.matches;
        if m.reads_text() && m.requests_only() {
            problem("match", "`status` and `path_prefix` are of requests, `text` and `regex` of other lines: one rule cannot ask both".into());
        }
        if m.text.iter().any(|t| t.is_empty() || t.len() > PATTERN_BYTES_MAX) {
            problem("match.text", format!("a text is 1 to {PATTERN_BYTES_MAX} bytes long"));
        }
        if m.path_prefix.iter().any(|p| !p.starts_with('/') || p.len() > PATTERN_BYTES_MAX) {
            problem("match.path_prefix", format!("a path begins with / and has at most {PATTERN_BYTES_MAX} bytes"));
        }
        match &self.condition {
            Condition::Count { .. } if *m == MatchSpec::default() => {
                problem("match", "a count needs a match: without one it would count every line".into());
            }
            Condition::Ratio { .. } if m.status.is_empty() && m.code.is_empty() => {
                problem("match", "a ratio is the share of requests with a `status` or a `code`: name one, as in { status = \"5xx\" }".into());
            }
            Condition::Ratio { .. } if m.reads_text() => {
                problem("match", "a ratio is of requests: `text` and `regex` do not apply".into())
            }
            Condition::Threshold(_) if *m != MatchSpec::default() => problem(
                "match",
                "a threshold takes no lines: choose what it reads by `sources`, `labels` and `apps`".into(),
            ),
            Condition::Threshold(threshold) => {
                threshold.problems().into_iter().for_each(|(key, text)| problem(key, text));
            }
            Condition::Absence { fewer_than: 0, .. } => {
                problem("absence", "fewer than 0 lines cannot be: write \"< 1\"".into())
            }
            _ => {}
        }
        if m.requests_only() && m.source == Some(Source::App) {
            problem("match.source", "requests are logged by the router, which is `heroku`".into());
        }
        found
    }
}

/// One thing that is wrong with a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleProblem {
    /// The key to blame, as in the file.
    pub key: &'static str,
    /// What is wrong and what would be right.
    pub text: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_silences_are_read_in_steps_of_ten_seconds() {
        let of = |condition| {
            Rule::new("x", MatchSpec { status: vec![StatusPattern::Class(5)], ..MatchSpec::default() }, condition)
        };
        for (seconds, problems) in [(9, 1), (10, 0)] {
            let window = Duration::from_secs(seconds);
            let ratio = Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 1, window };
            let absence = Condition::Absence { fewer_than: 1, window, lively: None };
            for rule in [of(ratio), of(absence)] {
                let found = rule.problems();
                assert_eq!(found.len(), problems, "{found:?}");
                assert!(found.iter().all(|p| p.key == "window" && p.text.contains("at least 10s")), "{found:?}");
            }
            assert_eq!(of(Condition::Count { threshold: "> 1".parse().unwrap(), window }).problems(), []);
        }
    }
}
