//! What ratio and absence rules count. Unlike a match, of which there are few, nearly every line is counted by some of
//! them; so a line is not counted for rules, but for [`Population`]s: lines of one sort, grouped in one way. However many
//! rules ask about the same population (every silence of a whole drain, every share of all requests), a line costs one
//! sum, and one more for each sort of share that it fits. Populations are found as count rules are, by an index.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::index::{Index, StatusLists, push_once};
use super::lines::{Known, Lines};
use super::{MatcherError, RuleIndex, Wanted};
use crate::rule::{Condition, GroupBy, MatchSpec, Rule, StatusPattern};
use crate::signal::{Code, Signal};

/// The place of a population in its matcher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PopulationIndex(pub u32);

/// What a line is counted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LevelPlace {
    /// A number among all places of the matcher, from 0, for sums in a list.
    pub slot: u32,
    /// The population.
    pub population: PopulationIndex,
    /// The share of it; `None` for the population itself.
    pub share: Option<u16>,
}

/// Lines of one sort, grouped in one way, that some rules count.
#[derive(Debug)]
pub struct Population {
    place: LevelPlace,
    group_by: Vec<GroupBy>,
    rules: Vec<(Arc<Rule>, Option<u16>)>,
    shares: Shares,
}

impl Population {
    /// What tells its groups apart, besides the app; mostly nothing.
    #[must_use]
    pub fn group_by(&self) -> &[GroupBy] {
        &self.group_by
    }

    /// The rules that ask about it, each with the share it asks for; an absence asks for none.
    pub fn rules(&self) -> impl Iterator<Item = (&Arc<Rule>, Option<u16>)> {
        self.rules.iter().map(|(rule, share)| (rule, *share))
    }
}

/// The parts of a population that ratios ask for: requests of some statuses, or with some codes.
#[derive(Debug)]
struct Shares {
    lines: Vec<Lines>,
    by_code: BTreeMap<Code, Vec<u16>>,
    by_status: StatusLists<u16>,
}

/// What makes a share.
type ShareSpec = (Vec<Code>, Vec<StatusPattern>);

impl Shares {
    fn new(specs: &[ShareSpec]) -> Self {
        let mut by_code: BTreeMap<Code, Vec<u16>> = BTreeMap::new();
        let mut by_status = Vec::new();
        for (at, (codes, _)) in (0_u16..).zip(specs) {
            codes.iter().for_each(|code| push_once(by_code.entry(*code).or_default(), at));
            if codes.is_empty() {
                by_status.push(at);
            }
        }
        let wants = |at: u16, status| {
            specs.get(usize::from(at)).is_some_and(|(_, statuses)| statuses.iter().any(|s| s.matches(status)))
        };
        let lines = specs.iter().map(|(code, status)| {
            Lines::share(&MatchSpec { code: code.clone(), status: status.clone(), ..MatchSpec::default() })
        });
        Self { lines: lines.collect(), by_status: StatusLists::new(&by_status, wants), by_code }
    }

    #[inline]
    fn hits(&self, signal: &Signal<'_>, mut take: impl FnMut(u16)) {
        if let Some(status) = signal.status {
            self.by_status.of(status).iter().for_each(|at| take(*at));
        }
        if let Some(code) = signal.code
            && let Some(list) = self.by_code.get(&code)
        {
            let fits = |at: &&u16| self.lines.get(usize::from(**at)).is_some_and(|l| l.fit(signal, Known::default()));
            list.iter().filter(fits).for_each(|at| take(*at));
        }
    }
}

/// All populations.
#[derive(Debug)]
pub(super) struct Levels {
    populations: Vec<Arc<Population>>,
    lines: Vec<Lines>,
    index: Index,
}

/// A population as its rules are gathered.
struct Gathered {
    /// The first of its rules, with the population's match in place of its own.
    example: Arc<Rule>,
    lines: Lines,
    rules: Vec<(Arc<Rule>, Option<u16>)>,
    shares: Vec<ShareSpec>,
}

impl Levels {
    pub(super) fn new(rules: &[Arc<Rule>]) -> Result<Self, MatcherError> {
        let gathered = gather(rules)?;
        let examples: Vec<Arc<Rule>> = gathered.iter().map(|one| Arc::clone(&one.example)).collect();
        let entries: Vec<_> =
            gathered.iter().enumerate().map(|(at, one)| (RuleIndex::of(at), &*one.example, &one.lines)).collect();
        let index = Index::new(&entries, &examples)?;
        let (mut populations, mut lines, mut slot) = (Vec::new(), Vec::new(), 0);
        for (at, one) in (0_u32..).zip(gathered) {
            let place = LevelPlace { slot, population: PopulationIndex(at), share: None };
            slot += 1 + u32::try_from(one.shares.len()).unwrap_or(0);
            populations.push(Arc::new(Population {
                place,
                group_by: groups(&one.example),
                rules: one.rules,
                shares: Shares::new(&one.shares),
            }));
            lines.push(one.lines);
        }
        Ok(Self { populations, lines, index })
    }

    pub(super) fn all(&self) -> &[Arc<Population>] {
        &self.populations
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    #[inline]
    pub(super) fn hits<'m>(
        &'m self,
        wanted: &Wanted,
        signal: &Signal<'_>,
        found: &mut Vec<RuleIndex>,
        mut count: impl FnMut(&'m Population, LevelPlace),
    ) {
        found.clear();
        let fits =
            |at: RuleIndex, known| wanted.has(at) && self.lines.get(at.usize()).is_some_and(|l| l.fit(signal, known));
        self.index.hits(signal, wanted.texts, fits, found);
        for at in found.iter() {
            let Some(population) = self.populations.get(at.usize()) else { continue };
            let place = population.place;
            count(population, place);
            population.shares.hits(signal, |share| {
                count(population, LevelPlace { slot: place.slot + 1 + u32::from(share), share: Some(share), ..place });
            });
        }
    }
}

/// What tells groups apart, besides the app.
fn groups(rule: &Rule) -> Vec<GroupBy> {
    rule.group_by.iter().copied().filter(|by| *by != GroupBy::App).collect()
}

fn gather(rules: &[Arc<Rule>]) -> Result<Vec<Gathered>, MatcherError> {
    let mut gathered: Vec<Gathered> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for rule in rules.iter().filter(|rule| rule.condition.reads_buckets()) {
        let is_ratio = matches!(rule.condition, Condition::Ratio { .. });
        let mut spec = rule.matches.clone();
        let share: Option<ShareSpec> =
            is_ratio.then(|| (std::mem::take(&mut spec.code), std::mem::take(&mut spec.status)));
        // Equal text, equal lines: a population is known by what it asks.
        let name = format!("{is_ratio} {spec:?} {:?}", groups(rule));
        let at = match known.get(&name) {
            Some(at) => *at,
            None => {
                let example = Arc::new(Rule { matches: spec, ..(**rule).clone() });
                let lines = if is_ratio { Lines::of_requests(&example)? } else { Lines::new(&example)? };
                gathered.push(Gathered { example, lines, rules: Vec::new(), shares: Vec::new() });
                known.insert(name, gathered.len() - 1);
                gathered.len() - 1
            }
        };
        let Some(population) = gathered.get_mut(at) else { continue };
        let share = share.map(|spec| {
            let at = population.shares.iter().position(|other| *other == spec).unwrap_or_else(|| {
                population.shares.push(spec);
                population.shares.len() - 1
            });
            u16::try_from(at).unwrap_or(u16::MAX)
        });
        population.rules.push((Arc::clone(rule), share));
    }
    Ok(gathered)
}
