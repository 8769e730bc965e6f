//! How rules are found. Each is reached in one way only, by its most telling part: its codes, else rare kinds, else its
//! texts, else its regex, else statuses, else beginnings of paths, else names of dynos or processes, else the kinds it may
//! fit. That part is looked up in a table or found by one pass over the text (a sieve, then one automaton).
//!
//! Entries are count rules, or what ratio and absence rules count; whose they are is the parent's business, and so is
//! comparing the other parts.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::lines::{Known, Lines};
use super::paths::Prefixes;
use super::texts::{TextSet, TextSets};
use super::{Class, MatcherError, RuleIndex};
use crate::parse::Glob;
use crate::rule::{MatchSpec, Rule};
use crate::signal::{Code, Kind, Signal, Source};

/// Statuses that are told apart.
pub(super) const STATUSES: usize = 1_000;
/// Fewer rules by name than this are asked one by one: that is cheaper than looking up every line's names.
const NAMED_MIN: usize = 8;

/// An entry: its place, its match, and the same compiled.
pub(super) type Entry<'a> = (RuleIndex, &'a Rule, &'a Lines);

/// Tables of entries.
#[derive(Debug)]
pub(super) struct Index {
    by_code: BTreeMap<Code, Vec<RuleIndex>>,
    by_status: StatusLists<RuleIndex>,
    by_path: Prefixes,
    by_dyno: Names,
    by_process: Names,
    /// By source, then by kind: entries that any line of that kind may fit.
    by_kind: [Vec<Vec<RuleIndex>>; 2],
    texts: [Option<TextSet>; 3],
}

type Names = HashMap<Box<[u8]>, Vec<RuleIndex>>;

/// For each status the things that want it; equal lists are kept once.
#[derive(Debug)]
pub(super) struct StatusLists<T> {
    /// By status, the place of its list; the list at 0 is empty.
    places: Box<[u16]>,
    lists: Vec<Vec<T>>,
}

impl<T: Copy + PartialEq> StatusLists<T> {
    pub(super) fn new(wanting: &[T], wants: impl Fn(T, u16) -> bool) -> Self {
        let mut lists = vec![Vec::new()];
        let mut places = vec![0; STATUSES].into_boxed_slice();
        if wanting.is_empty() {
            return Self { places, lists };
        }
        for (status, place) in (0_u16..).zip(&mut places) {
            let list: Vec<T> = wanting.iter().copied().filter(|one| wants(*one, status)).collect();
            let known = lists.iter().position(|other| *other == list).unwrap_or_else(|| {
                lists.push(list);
                lists.len() - 1
            });
            *place = u16::try_from(known).unwrap_or(0);
        }
        Self { places, lists }
    }

    #[inline]
    pub(super) fn of(&self, status: u16) -> &[T] {
        match self.places.get(usize::from(status)) {
            Some(place @ 1..) => self.lists.get(usize::from(*place)).map_or(&[], Vec::as_slice),
            _ => &[],
        }
    }
}

/// The part by which an entry is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Code,
    Text,
    Regex,
    Status,
    Path,
    Dyno,
    Process,
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
        } else if are_names(&spec.dyno) {
            Self::Dyno
        } else if are_names(&spec.process) {
            Self::Process
        } else {
            Self::Kind
        }
    }
}

/// Kinds that come by the minute rather than by the request.
fn is_rare(kind: Kind) -> bool {
    !matches!(kind, Kind::Router | Kind::App | Kind::HerokuOther | Kind::PostgresLog | Kind::CustomMetrics)
}

/// Whether these are names, not patterns.
fn are_names(globs: &[Glob]) -> bool {
    !globs.is_empty() && globs.iter().all(|glob| !glob.as_str().contains(['*', '?']))
}

impl Index {
    /// Tables of `entries`. `blamed` holds the rule to name in errors at the place of every entry.
    pub(super) fn new(entries: &[Entry<'_>], blamed: &[Arc<Rule>]) -> Result<Self, MatcherError> {
        let mut index = Self {
            by_code: BTreeMap::new(),
            by_status: StatusLists::new(&[], |_, _| false),
            by_path: Prefixes::default(),
            by_dyno: Names::new(),
            by_process: Names::new(),
            by_kind: [vec![Vec::new(); Kind::ALL.len()], vec![Vec::new(); Kind::ALL.len()]],
            texts: [None, None, None],
        };
        let mut texts = TextSets::default();
        let (mut prefixes, mut statuses, mut named) = (Vec::new(), Vec::new(), Vec::new());
        for &entry in entries {
            let (at, rule, lines) = entry;
            let spec = &rule.matches;
            match Way::of(spec) {
                Way::Code => spec.code.iter().for_each(|code| push_once(index.by_code.entry(*code).or_default(), at)),
                Way::Text => texts.add_texts(at, rule, lines)?,
                Way::Regex => texts.add_regex(at, rule, lines)?,
                Way::Status => statuses.push((at, rule)),
                Way::Path => prefixes.extend(spec.path_prefix.iter().map(|prefix| (prefix.as_bytes(), at))),
                Way::Dyno | Way::Process => named.push(entry),
                Way::Kind => index.add_by_kind(entry),
            }
        }
        let many = named.len() >= NAMED_MIN;
        named.into_iter().for_each(|entry| if many { index.add_by_name(entry) } else { index.add_by_kind(entry) });
        let of: HashMap<RuleIndex, &Rule> = statuses.iter().copied().collect();
        let statuses: Vec<RuleIndex> = statuses.into_iter().map(|(at, _)| at).collect();
        index.by_status = StatusLists::new(&statuses, |at, status| {
            of.get(&at).is_some_and(|rule| rule.matches.status.iter().any(|s| s.matches(status)))
        });
        index.by_path = Prefixes::new(prefixes);
        index.texts = texts.build(blamed)?;
        Ok(index)
    }

    fn add_by_kind(&mut self, (at, _, lines): Entry<'_>) {
        for (source, kinds) in [Source::App, Source::Heroku].into_iter().zip(&mut self.by_kind) {
            let fitting = kinds.iter_mut().zip(Kind::ALL).filter(|(_, kind)| lines.may_be(source, **kind));
            fitting.for_each(|(list, _)| list.push(at));
        }
    }

    fn add_by_name(&mut self, (at, rule, _): Entry<'_>) {
        let spec = &rule.matches;
        let (names, globs) = match Way::of(spec) {
            Way::Dyno => (&mut self.by_dyno, &spec.dyno),
            _ => (&mut self.by_process, &spec.process),
        };
        globs.iter().for_each(|glob| push_once(names.entry(glob.as_str().as_bytes().into()).or_default(), at));
    }

    /// By [`Class`]: whether any of the entries that are `wanted` reads the text.
    pub(super) fn texts_read(&self, wanted: impl Fn(RuleIndex) -> bool) -> [bool; 3] {
        Class::ALL.map(|class| self.texts[class as usize].as_ref().is_some_and(|set| set.any_rule(&wanted)))
    }

    /// Appends the entries that take this line, each once: those found that `fits` says yes to. `texts` says for which
    /// classes of lines the text is worth reading.
    #[inline]
    pub(super) fn hits(
        &self,
        signal: &Signal<'_>,
        texts: [bool; 3],
        fits: impl Fn(RuleIndex, Known) -> bool,
        out: &mut Vec<RuleIndex>,
    ) {
        let verify = |list: &[RuleIndex], out: &mut Vec<RuleIndex>| {
            out.extend(list.iter().copied().filter(|at| fits(*at, Known::default())));
        };
        if let Some(code) = signal.code
            && let Some(list) = self.by_code.get(&code)
        {
            verify(list, out);
        }
        if let Some(status) = signal.status {
            verify(self.by_status.of(status), out);
        }
        if let Some(path) = signal.path
            && !self.by_path.is_empty()
        {
            let start = out.len();
            // `/a` and `/a/b` may both be of one entry.
            self.by_path.of(path, |list| verify_new(list, start, &fits, out));
        }
        if !self.by_dyno.is_empty()
            && let Some(list) = self.by_dyno.get(signal.dyno)
        {
            verify(list, out);
        }
        if !self.by_process.is_empty() {
            // `web` and `web.1` may both be of one entry.
            let start = out.len();
            for name in [signal.process, Signal::process_type(signal.process)] {
                self.by_process.get(name).into_iter().for_each(|list| verify_new(list, start, &fits, out));
            }
        }
        let by_kind = &self.by_kind[signal.source as usize][signal.kind.index()];
        if !by_kind.is_empty() {
            verify(by_kind, out);
        }
        let class = Class::of(signal) as usize;
        if texts[class]
            && let Some(set) = &self.texts[class]
        {
            set.scan(signal.text, |at, known| {
                if fits(at, known) {
                    out.push(at);
                }
            });
        }
    }
}

/// The same for entries that may have been found already, behind `start`.
fn verify_new(list: &[RuleIndex], start: usize, fits: &impl Fn(RuleIndex, Known) -> bool, out: &mut Vec<RuleIndex>) {
    for &at in list {
        let known = out.get(start..).is_some_and(|found| found.contains(&at));
        if !known && fits(at, Known::default()) {
            out.push(at);
        }
    }
}

pub(super) fn push_once<T: Copy + PartialEq>(list: &mut Vec<T>, one: T) {
    if list.last() != Some(&one) {
        list.push(one);
    }
}
