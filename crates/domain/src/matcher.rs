//! Which rules take a line: the compiled form of all enabled rules.
//!
//! The cost of a line grows with its bytes and with what it matched, never with the number of rules. Each count rule is
//! reached in one way only, by its most telling part: see `index`. Only rules found so have their other parts compared. A
//! request with an ordinary status passes through a few table look-ups. What ratio and absence rules count is found in the
//! same way, see `levels`.
//!
//! What a match means, part by part, is documented at [`crate::rule::MatchSpec`]; counting is [`crate::window`]'s, buckets
//! are [`crate::rollup`]'s.

mod index;
mod levels;
mod lines;
mod literals;
mod paths;
mod sieve;
mod texts;

use std::sync::Arc;

use self::index::Index;
use self::levels::Levels;
pub use self::levels::{LevelPlace, Population, PopulationIndex};
use self::lines::Lines;
pub use self::literals::regex_problem;
use crate::rule::{Condition, GroupBy, Rule};
use crate::signal::{Kind, Signal, Source};

/// A compiled regex may take this much memory; `\w{1000}` and kin are refused with a reason.
pub const REGEX_BYTES_MAX: usize = 1 << 20;
/// All regexes without a literal in them, together.
pub const REGEX_SET_BYTES_MAX: usize = 8 << 20;
/// All texts of all rules, and the literals found in regexes, together. It bounds the automaton's memory.
pub const TEXT_BYTES_MAX: usize = 512 << 10;

/// The place of a rule in [`Matcher::rules`]. Good for one matcher only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleIndex(pub u32);

impl RuleIndex {
    fn of(place: usize) -> Self {
        Self(u32::try_from(place).unwrap_or(u32::MAX))
    }

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
            (Source::Heroku | Source::Dynowatch, _) => Self::Platform,
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
    /// Of every rule, what a line must be.
    lines: Vec<Arc<Lines>>,
    /// How count rules are found.
    counts: Index,
    /// What ratios and absences count.
    levels: Levels,
    needs_path: bool,
}

/// What one app has to do with the rules of a matcher. Made once per app and configuration.
#[derive(Debug, Clone)]
pub struct AppRules {
    counts: Wanted,
    /// Of the populations of ratios and absences.
    levels: Wanted,
}

/// Which entries of an index are for an app.
#[derive(Debug, Clone)]
struct Wanted {
    /// A bit per entry; `None` when all are wanted, as is usual.
    bits: Option<Box<[u64]>>,
    /// By [`Class`]: whether any entry for this app reads the text.
    texts: [bool; 3],
}

impl Wanted {
    fn new(wanted: &[bool], index: &Index) -> Self {
        let mut bits = vec![0_u64; wanted.len().div_ceil(64)].into_boxed_slice();
        for at in (0..wanted.len()).filter(|at| wanted.get(*at) == Some(&true)) {
            if let Some(word) = bits.get_mut(at / 64) {
                *word |= 1 << (at % 64);
            }
        }
        let texts = index.texts_read(|at| bit_of(&bits, at.usize()));
        Self { texts, bits: wanted.contains(&false).then_some(bits) }
    }

    #[inline]
    fn has(&self, at: RuleIndex) -> bool {
        self.bits.as_ref().is_none_or(|bits| bit_of(bits, at.usize()))
    }
}

fn bit_of(bits: &[u64], at: usize) -> bool {
    bits.get(at / 64).is_some_and(|word| word & (1 << (at % 64)) != 0)
}

impl Matcher {
    /// Compiles `rules`. Disabled ones must have been left out.
    ///
    /// # Errors
    /// For a regex that is none or is too big, and for more text than [`TEXT_BYTES_MAX`]; the error names rule and key.
    pub fn new(rules: Vec<Arc<Rule>>) -> Result<Self, MatcherError> {
        let lines = rules.iter().map(|rule| Lines::new(rule).map(Arc::new)).collect::<Result<Vec<_>, _>>()?;
        let counted = |at: RuleIndex| {
            let rule = rules.get(at.usize())?;
            let lines = lines.get(at.usize())?;
            matches!(rule.condition, Condition::Count { .. }).then_some((at, &**rule, &**lines))
        };
        let entries: Vec<_> = (0..rules.len()).map(RuleIndex::of).filter_map(counted).collect();
        let counts = Index::new(&entries, &rules)?;
        let levels = Levels::new(&rules)?;
        Ok(Self { needs_path: rules.iter().any(|rule| reads_path(rule)), counts, levels, rules, lines })
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
        let wanted: Vec<bool> = self.rules.iter().map(|rule| rule.wants_app(app_name)).collect();
        let populations: Vec<bool> =
            self.levels.all().iter().map(|of| of.rules().any(|(rule, _)| rule.wants_app(app_name))).collect();
        AppRules { counts: Wanted::new(&wanted, &self.counts), levels: Wanted::new(&populations, self.levels.index()) }
    }

    /// Whether some rule reads the path of requests, which is costly to find in a line.
    #[must_use]
    pub fn needs_path(&self) -> bool {
        self.needs_path
    }

    /// Appends the count rules that take this line, each once.
    #[inline]
    pub fn hits(&self, app: &AppRules, signal: &Signal<'_>, out: &mut Vec<RuleIndex>) {
        let fits = |at: RuleIndex, known| {
            app.counts.has(at) && self.lines.get(at.usize()).is_some_and(|lines| lines.fit(signal, known))
        };
        self.counts.hits(signal, app.counts.texts, fits, out);
    }

    /// Calls `count` for everything that ratio and absence rules count of this line: first the population it belongs to,
    /// then those of its shares that it fits. `found` is scratch room.
    #[inline]
    pub fn level_hits<'m>(
        &'m self,
        app: &AppRules,
        signal: &Signal<'_>,
        found: &mut Vec<RuleIndex>,
        count: impl FnMut(&'m Population, LevelPlace),
    ) {
        self.levels.hits(&app.levels, signal, found, count);
    }

    /// The population at an index that this matcher gave out.
    #[must_use]
    pub fn population(&self, index: PopulationIndex) -> Option<&Arc<Population>> {
        self.levels.all().get(index.0 as usize)
    }
}

fn reads_path(rule: &Rule) -> bool {
    !rule.matches.path_prefix.is_empty() || rule.group_by.contains(&GroupBy::PathPrefix)
}

#[cfg(test)]
mod tests;
