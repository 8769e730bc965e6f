//! Which rules take a line: the compiled form of all enabled rules.
//!
//! The cost of a line grows with its bytes and with what it matched, never with the number of rules. Each count rule is
//! reached in one way only, by its most telling part: its codes, else rare kinds, else its texts, else its regex, else
//! statuses, else beginnings of paths, else the kinds it may fit. That part is looked up in a table or found by one
//! pass over the text (a sieve, then one automaton); only rules found so have their other parts compared. A request with an
//! ordinary status passes through a few table look-ups.
//!
//! What a match means, part by part, is documented at [`MatchSpec`]; counting is [`crate::window`]'s, buckets are
//! [`crate::rollup`]'s. Ratio and absence rules look at nearly every line, so they are not searched for but asked one
//! by one, see [`LevelRule`]; a team has few of them.

mod lines;
mod literals;
mod paths;
mod sieve;
mod texts;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::lines::{Known, Lines};
pub use self::literals::regex_problem;
use self::paths::Prefixes;
use self::texts::{TextSet, TextSets};
use crate::rule::{Condition, GroupBy, MatchSpec, Rule};
use crate::signal::{Code, Kind, Signal, Source};

/// A compiled regex may take this much memory; `\w{1000}` and kin are refused with a reason.
pub const REGEX_BYTES_MAX: usize = 1 << 20;
/// All regexes without a literal in them, together.
pub const REGEX_SET_BYTES_MAX: usize = 8 << 20;
/// All texts of all rules, and the literals found in regexes, together. It bounds the automaton's memory.
pub const TEXT_BYTES_MAX: usize = 512 << 10;

const STATUSES: usize = 1_000;

/// The place of a rule in [`Matcher::rules`]. Good for one matcher only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    fn usize(self) -> usize {
        self.0 as usize
    }
}

/// Why rules cannot be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {key}: {text}")]
pub struct MatcherError {
    /// The rule's name.
    pub rule: String,
    /// The key to blame, as in the file.
    pub key: &'static str,
    /// What is wrong, and what would be right.
    pub text: String,
}

impl MatcherError {
    fn new(rule: &Rule, key: &'static str, text: String) -> Self {
        Self { rule: rule.name.clone(), key, text }
    }
}

/// Who wrote a line, as far as reading its text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// APPNAME `app`.
    App,
    /// The platform, but not its router.
    Platform,
    /// The router: most of all lines, and read by text only when a rule asks for it by name.
    Router,
}

impl Class {
    const ALL: [Self; 3] = [Self::App, Self::Platform, Self::Router];

    #[inline]
    fn of(signal: &Signal<'_>) -> Self {
        match (signal.source, signal.kind) {
            (Source::App, _) => Self::App,
            (Source::Heroku, Kind::Router) => Self::Router,
            (Source::Heroku, _) => Self::Platform,
        }
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// All enabled rules, compiled. Immutable; shared by `Arc` and swapped whole.
#[derive(Debug)]
pub struct Matcher {
    rules: Vec<Arc<Rule>>,
    /// Of every rule, what a line must be; for a ratio, what a request must be to be counted at all.
    lines: Vec<Arc<Lines>>,
    by_code: BTreeMap<Code, Vec<RuleIndex>>,
    /// For each status the place of its list in `status_lists`; the list at 0 is empty.
    by_status: Box<[u16]>,
    status_lists: Vec<Vec<RuleIndex>>,
    by_path: Prefixes,
    /// By source, then by kind: rules that any line of that kind may fit.
    by_kind: [Vec<Vec<RuleIndex>>; 2],
    texts: [Option<TextSet>; 3],
    needs_path: bool,
}

/// What one app has to do with the rules of a matcher. Made once per app and configuration.
#[derive(Debug, Clone)]
pub struct AppRules {
    /// A bit per rule; `None` when all are wanted, as is usual.
    wanted: Option<Box<[u64]>>,
    /// By [`Class`]: whether any rule for this app reads the text.
    texts: [bool; 3],
    levels: Vec<LevelRule>,
}

impl AppRules {
    /// The ratio and absence rules for this app.
    #[must_use]
    pub fn levels(&self) -> &[LevelRule] {
        &self.levels
    }

    #[inline]
    fn wants(&self, rule: RuleIndex) -> bool {
        self.wanted.as_ref().is_none_or(|bits| bit_of(bits, rule.usize()))
    }
}

fn bit_of(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
}

/// A ratio or an absence rule, ready to be asked about every line.
#[derive(Debug, Clone)]
pub struct LevelRule {
    rule: RuleIndex,
    grouped: bool,
    lines: Arc<Lines>,
    /// For a ratio, what the counted share must be.
    share: Option<Arc<Lines>>,
    quick: Quick,
}

/// The two shapes that nearly every level rule has. Each line of an app is asked about them, so they are one branch.
#[derive(Debug, Clone)]
enum Quick {
    /// Every line counts, as for a silent drain.
    AnyLine,
    /// All requests, and by status those of the share, as for a share of 5xx.
    Requests(Box<[bool]>),
    /// Anything else.
    No,
}

impl Quick {
    fn of(rule: &Rule) -> Self {
        let status_only = MatchSpec { status: rule.matches.status.clone(), ..MatchSpec::default() };
        match rule.condition {
            Condition::Absence { .. } if rule.matches == MatchSpec::default() => Self::AnyLine,
            Condition::Ratio { .. } if rule.matches == status_only => {
                let share = |status| rule.matches.status.iter().any(|wanted| wanted.matches(status));
                Self::Requests((0..STATUSES).map(|status| u16::try_from(status).is_ok_and(share)).collect())
            }
            _ => Self::No,
        }
    }
}

impl LevelRule {
    /// Which rule this is.
    #[must_use]
    pub fn rule(&self) -> RuleIndex {
        self.rule
    }

    /// Whether it groups by more than the app.
    #[must_use]
    pub fn grouped(&self) -> bool {
        self.grouped
    }

    /// What the line is to this rule. `None`: nothing, it is not counted. For a ratio, every request that fits the other
    /// parts of the match is counted, and `Some(true)` says that it fits `status` and `code` as well; for an absence a
    /// line that fits is `Some(false)`.
    #[inline]
    #[must_use]
    pub fn sees(&self, signal: &Signal<'_>) -> Option<bool> {
        match &self.quick {
            Quick::AnyLine => return Some(false),
            Quick::Requests(share) => {
                let fits = |status: u16| share.get(usize::from(status)).copied().unwrap_or(false);
                return (signal.kind == Kind::Router).then(|| signal.status.is_some_and(fits));
            }
            Quick::No => {}
        }
        if !self.lines.fit(signal, Known::default()) {
            return None;
        }
        Some(self.share.as_ref().is_some_and(|share| share.fit(signal, Known::default())))
    }
}

/// The part by which a count rule is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Code,
    Text,
    Regex,
    Status,
    Path,
    Kind,
}

impl Way {
    fn of(spec: &MatchSpec) -> Self {
        if !spec.code.is_empty() {
            Self::Code
        } else if !spec.kind.is_empty() && spec.kind.iter().all(|kind| is_rare(*kind)) {
            // Looking closer at every line of a rare kind is cheaper than one more text in the automaton.
            Self::Kind
        } else if !spec.text.is_empty() {
            Self::Text
        } else if spec.regex.is_some() {
            Self::Regex
        } else if !spec.status.is_empty() {
            Self::Status
        } else if !spec.path_prefix.is_empty() {
            Self::Path
        } else {
            Self::Kind
        }
    }
}

/// Kinds that come by the minute rather than by the request.
fn is_rare(kind: Kind) -> bool {
    !matches!(kind, Kind::Router | Kind::App | Kind::HerokuOther | Kind::PostgresLog | Kind::CustomMetrics)
}

impl Matcher {
    /// Compiles `rules`. Disabled ones must have been left out.
    ///
    /// # Errors
    /// For a regex that is none or is too big, and for more text than [`TEXT_BYTES_MAX`]; the error names rule and key.
    pub fn new(rules: Vec<Arc<Rule>>) -> Result<Self, MatcherError> {
        let mut lines = Vec::with_capacity(rules.len());
        for rule in &rules {
            lines.push(Arc::new(match rule.condition {
                Condition::Ratio { .. } => Lines::of_requests(rule)?,
                Condition::Count { .. } | Condition::Absence { .. } | Condition::Threshold(_) => Lines::new(rule)?,
            }));
        }
        let mut matcher = Self {
            needs_path: rules.iter().any(|rule| reads_path(rule)),
            by_code: BTreeMap::new(),
            by_status: vec![0; STATUSES].into(),
            status_lists: vec![Vec::new()],
            by_path: Prefixes::default(),
            by_kind: [vec![Vec::new(); Kind::ALL.len()], vec![Vec::new(); Kind::ALL.len()]],
            texts: [None, None, None],
            rules,
            lines,
        };
        matcher.index()?;
        Ok(matcher)
    }

    fn index(&mut self) -> Result<(), MatcherError> {
        let mut texts = TextSets::default();
        let (mut prefixes, mut statuses) = (Vec::new(), Vec::new());
        for (at, (rule, lines)) in self.rules.iter().zip(&self.lines).enumerate() {
            let at = RuleIndex(u32::try_from(at).unwrap_or(u32::MAX));
            if !matches!(rule.condition, Condition::Count { .. }) {
                continue;
            }
            let spec = &rule.matches;
            match Way::of(spec) {
                Way::Code => spec.code.iter().for_each(|code| push_once(self.by_code.entry(*code).or_default(), at)),
                Way::Text => texts.add_texts(at, rule, lines)?,
                Way::Regex => texts.add_regex(at, rule, lines)?,
                Way::Status => statuses.push(at),
                Way::Path => prefixes.extend(spec.path_prefix.iter().map(|prefix| (prefix.as_bytes(), at))),
                Way::Kind => {
                    for (source, kinds) in [Source::App, Source::Heroku].into_iter().zip(&mut self.by_kind) {
                        let fitting = kinds.iter_mut().zip(Kind::ALL).filter(|(_, kind)| lines.may_be(source, **kind));
                        fitting.for_each(|(list, _)| list.push(at));
                    }
                }
            }
        }
        self.by_path = Prefixes::new(prefixes);
        self.index_statuses(&statuses);
        self.texts = texts.build(&self.rules)?;
        Ok(())
    }

    fn index_statuses(&mut self, rules: &[RuleIndex]) {
        for (status, place) in (0_u16..).zip(&mut self.by_status) {
            let fits = |at: &&RuleIndex| self.rules[at.usize()].matches.status.iter().any(|s| s.matches(status));
            let list: Vec<RuleIndex> = rules.iter().filter(fits).copied().collect();
            let known = self.status_lists.iter().position(|other| *other == list).unwrap_or_else(|| {
                self.status_lists.push(list);
                self.status_lists.len() - 1
            });
            *place = u16::try_from(known).unwrap_or(0);
        }
    }

    /// Every rule, in the order given.
    #[must_use]
    pub fn rules(&self) -> &[Arc<Rule>] {
        &self.rules
    }

    /// The rule at an index that this matcher gave out.
    ///
    /// # Panics
    /// For an index of another matcher with more rules.
    #[must_use]
    pub fn rule(&self, index: RuleIndex) -> &Arc<Rule> {
        &self.rules[index.usize()]
    }

    /// What the app of that name has to do with these rules.
    #[must_use]
    pub fn for_app(&self, app_name: &str) -> AppRules {
        let mut bits = vec![0_u64; self.rules.len().div_ceil(64)].into_boxed_slice();
        let mut all = true;
        for (at, rule) in self.rules.iter().enumerate() {
            match bits.get_mut(at / 64) {
                Some(word) if rule.wants_app(app_name) => *word |= 1 << (at % 64),
                _ => all = false,
            }
        }
        let wants = |at: RuleIndex| bit_of(&bits, at.usize());
        let texts = Class::ALL.map(|class| self.texts[class as usize].as_ref().is_some_and(|set| set.any_rule(wants)));
        let levels = (0..).map(RuleIndex).zip(&self.rules).filter(|(at, _)| wants(*at));
        let levels = levels.filter_map(|(at, rule)| self.level(at, rule)).collect();
        AppRules { texts, levels, wanted: (!all).then_some(bits) }
    }

    fn level(&self, at: RuleIndex, rule: &Rule) -> Option<LevelRule> {
        let share = match rule.condition {
            // A threshold takes no line: metrics are recorded whatever rules there are.
            Condition::Count { .. } | Condition::Threshold(_) => return None,
            Condition::Ratio { .. } => Some(Arc::new(Lines::share(&rule.matches))),
            Condition::Absence { .. } => None,
        };
        let grouped = rule.group_by.iter().any(|by| *by != GroupBy::App);
        let quick = Quick::of(rule);
        Some(LevelRule { rule: at, grouped, lines: Arc::clone(self.lines.get(at.usize())?), share, quick })
    }

    /// Whether some rule reads the path of requests, which is costly to find in a line.
    #[must_use]
    pub fn needs_path(&self) -> bool {
        self.needs_path
    }

    /// Appends the count rules that take this line, each once.
    #[inline]
    pub fn hits(&self, app: &AppRules, signal: &Signal<'_>, out: &mut Vec<RuleIndex>) {
        if let Some(code) = signal.code
            && let Some(list) = self.by_code.get(&code)
        {
            self.verify(app, signal, list, out);
        }
        if let Some(status) = signal.status
            && let Some(place @ 1..) = self.by_status.get(usize::from(status)).copied()
        {
            self.verify(app, signal, &self.status_lists[usize::from(place)], out);
        }
        if let Some(path) = signal.path
            && !self.by_path.is_empty()
        {
            self.path_hits(app, signal, path, out);
        }
        let by_kind = &self.by_kind[signal.source as usize][signal.kind.index()];
        if !by_kind.is_empty() {
            self.verify(app, signal, by_kind, out);
        }
        let class = Class::of(signal) as usize;
        if app.texts[class]
            && let Some(set) = &self.texts[class]
        {
            set.scan(signal.text, |rule, known| {
                if app.wants(rule) && self.lines[rule.usize()].fit(signal, known) {
                    out.push(rule);
                }
            });
        }
    }

    fn verify(&self, app: &AppRules, signal: &Signal<'_>, list: &[RuleIndex], out: &mut Vec<RuleIndex>) {
        let fits = |at: &&RuleIndex| app.wants(**at) && self.lines[at.usize()].fit(signal, Known::default());
        out.extend(list.iter().filter(fits));
    }

    fn path_hits(&self, app: &AppRules, signal: &Signal<'_>, path: &[u8], out: &mut Vec<RuleIndex>) {
        let start = out.len();
        self.by_path.of(path, |list| {
            for &at in list {
                // `/a` and `/a/b` may both be of one rule.
                let known = out.get(start..).is_some_and(|found| found.contains(&at));
                if !known && app.wants(at) && self.lines[at.usize()].fit(signal, Known::default()) {
                    out.push(at);
                }
            }
        });
    }
}

fn reads_path(rule: &Rule) -> bool {
    !rule.matches.path_prefix.is_empty() || rule.group_by.contains(&GroupBy::PathPrefix)
}

fn push_once(list: &mut Vec<RuleIndex>, at: RuleIndex) {
    if list.last() != Some(&at) {
        list.push(at);
    }
}

#[cfg(test)]
mod tests;
