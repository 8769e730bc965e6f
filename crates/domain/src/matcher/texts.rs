//! Texts of many rules, found in one pass over a line. Owns the automaton, the literals of regexes in it, and the set of
//! regexes that have none.

use std::collections::HashMap;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, AhoCorasickKind, MatchKind};
use regex::bytes::{RegexSet, RegexSetBuilder};

use super::lines::{Known, Lines};
use super::sieve::{self, Sieve};
use super::{Class, MatcherError, REGEX_SET_BYTES_MAX, RuleIndex, TEXT_BYTES_MAX, literals};
use crate::rule::Rule;

/// Up to this many bytes of patterns the automaton is a full table of transitions, at some 256 bytes per byte of pattern;
/// above, the compact form, which is slower, but sees few lines behind a sieve.
const TABLE_BYTES_MAX: usize = 4 << 10;

/// Everything that rules look for in lines of one class.
#[derive(Debug)]
pub(super) struct TextSet {
    /// Short patterns and the others: one short pattern must not cost all others their sieve.
    parts: Vec<Part>,
    /// By pattern: who looks for it.
    owners: Vec<Vec<Owner>>,
    regexes: Option<RegexSet>,
    /// By regex of the set: whose it is.
    regex_owners: Vec<RuleIndex>,
    /// One more than the greatest index of a rule.
    rules: usize,
}

#[derive(Debug)]
struct Part {
    /// Keeps most lines from the automaton.
    sieve: Option<Sieve>,
    automaton: AhoCorasick,
    /// The number of its first pattern among all.
    first: usize,
}

#[derive(Debug, Clone, Copy)]
struct Owner {
    rule: RuleIndex,
    /// The pattern is one of the rule's texts, not only a part of its regex.
    is_text: bool,
}

impl TextSet {
    pub(super) fn any_rule(&self, wants: impl Fn(RuleIndex) -> bool) -> bool {
        self.owners.iter().flatten().map(|owner| owner.rule).chain(self.regex_owners.iter().copied()).any(wants)
    }

    /// Calls `take` once for each rule whose text, or a literal of whose regex, stands in `text`.
    pub(super) fn scan(&self, text: &[u8], mut take: impl FnMut(RuleIndex, Known)) {
        let mut seen: Option<Seen> = None;
        for part in &self.parts {
            if part.sieve.as_ref().is_some_and(|sieve| !sieve.passes(text)) {
                continue;
            }
            for found in part.automaton.find_overlapping_iter(text) {
                let pattern = part.first + found.pattern().as_usize();
                let seen = seen.get_or_insert_with(|| Seen::new(self.owners.len() + self.rules));
                if !seen.first(pattern) {
                    continue;
                }
                for owner in self.owners.get(pattern).into_iter().flatten() {
                    if seen.first(self.owners.len() + owner.rule.usize()) {
                        take(owner.rule, Known { text: owner.is_text, regex: false });
                    }
                }
            }
        }
        // Asking first whether any matches spares the allocation of the answer.
        if let Some(regexes) = self.regexes.as_ref().filter(|set| set.is_match(text)) {
            for at in regexes.matches(text) {
                if let Some(&rule) = self.regex_owners.get(at) {
                    take(rule, Known { text: false, regex: true });
                }
            }
        }
    }
}

/// Which patterns and rules were met in this line. On the stack for most sets.
struct Seen {
    few: [u64; 16],
    many: Vec<u64>,
}

impl Seen {
    fn new(bits: usize) -> Self {
        let few = [0; 16];
        let many = if bits > few.len() * 64 { vec![0; bits.div_ceil(64)] } else { Vec::new() };
        Self { few, many }
    }

    /// Whether this is the first time; marks it.
    fn first(&mut self, at: usize) -> bool {
        let words: &mut [u64] = if self.many.is_empty() { &mut self.few } else { &mut self.many };
        let Some(word) = words.get_mut(at / 64) else {
            return false;
        };
        let bit = 1 << (at % 64);
        let first = *word & bit == 0;
        *word |= bit;
        first
    }
}

/// Collects what the text sets of all classes are to hold.
#[derive(Debug, Default)]
pub(super) struct TextSets {
    classes: [Wanted; 3],
    bytes: usize,
}

#[derive(Debug, Default)]
struct Wanted {
    patterns: HashMap<Vec<u8>, Vec<Owner>>,
    regexes: Vec<(String, RuleIndex)>,
}

impl TextSets {
    pub(super) fn add_texts(&mut self, at: RuleIndex, rule: &Rule, lines: &Lines) -> Result<(), MatcherError> {
        let texts: Vec<Vec<u8>> = rule.matches.text.iter().map(|text| text.as_bytes().to_vec()).collect();
        self.add(texts, Owner { rule: at, is_text: true }, rule, "match.text", lines)
    }

    pub(super) fn add_regex(&mut self, at: RuleIndex, rule: &Rule, lines: &Lines) -> Result<(), MatcherError> {
        let Some(pattern) = &rule.matches.regex else {
            return Ok(());
        };
        match literals::required(pattern) {
            Some(found) => self.add(found, Owner { rule: at, is_text: false }, rule, "match.regex", lines),
            None => {
                let reading = self.classes.iter_mut().zip(Class::ALL).filter(|(_, class)| lines.reads(*class));
                reading.for_each(|(wanted, _)| wanted.regexes.push((pattern.clone(), at)));
                Ok(())
            }
        }
    }

    fn add(
        &mut self,
        patterns: Vec<Vec<u8>>,
        owner: Owner,
        rule: &Rule,
        key: &'static str,
        lines: &Lines,
    ) -> Result<(), MatcherError> {
        for pattern in patterns {
            self.bytes += pattern.len();
            for (wanted, _) in self.classes.iter_mut().zip(Class::ALL).filter(|(_, class)| lines.reads(*class)) {
                wanted.patterns.entry(pattern.clone()).or_default().push(owner);
            }
        }
        if self.bytes > TEXT_BYTES_MAX {
            let text = format!("with this one the texts of all rules are longer than {TEXT_BYTES_MAX} bytes together");
            return Err(MatcherError::new(rule, key, text));
        }
        Ok(())
    }

    pub(super) fn build(self, rules: &[Arc<Rule>]) -> Result<[Option<TextSet>; 3], MatcherError> {
        let [app, platform, router] = self.classes;
        Ok([app.build(rules)?, platform.build(rules)?, router.build(rules)?])
    }
}

impl Wanted {
    fn build(self, rules: &[Arc<Rule>]) -> Result<Option<TextSet>, MatcherError> {
        let mut patterns: Vec<(Vec<u8>, Vec<Owner>)> = self.patterns.into_iter().collect();
        patterns.sort_unstable_by(|(a, _), (b, _)| {
            (a.len() >= sieve::TEXT_BYTES_MIN, a).cmp(&(b.len() >= sieve::TEXT_BYTES_MIN, b))
        });
        let blame = |owner: Option<RuleIndex>, key, text| {
            let rule = owner.and_then(|at| rules.get(at.usize())).map(|rule| rule.name.clone()).unwrap_or_default();
            MatcherError { rule, key, text }
        };
        let parts = parts(&patterns).map_err(|error| {
            let longest = patterns.iter().max_by_key(|(pattern, _)| pattern.len());
            blame(longest.and_then(|(_, owners)| owners.first()).map(|o| o.rule), "match.text", error.to_string())
        })?;
        let regexes = regex_set(&self.regexes).map_err(|_| {
            let text = format!(
                "this and {} other regexes hold no text of three bytes or more to look for, and take more than {REGEX_SET_BYTES_MAX} bytes of memory together",
                self.regexes.len().saturating_sub(1)
            );
            blame(self.regexes.iter().max_by_key(|(pattern, _)| pattern.len()).map(|(_, at)| *at), "match.regex", text)
        })?;
        let set = TextSet {
            parts,
            owners: patterns.into_iter().map(|(_, owners)| owners).collect(),
            regexes,
            regex_owners: self.regexes.into_iter().map(|(_, at)| at).collect(),
            rules: rules.len(),
        };
        Ok((!set.parts.is_empty() || set.regexes.is_some()).then_some(set))
    }
}

/// `patterns` come with the short ones first.
fn parts(patterns: &[(Vec<u8>, Vec<Owner>)]) -> Result<Vec<Part>, aho_corasick::BuildError> {
    let long_from = patterns.partition_point(|(pattern, _)| pattern.len() < sieve::TEXT_BYTES_MIN);
    let (short, long) = patterns.split_at(long_from);
    let mut parts = Vec::new();
    for (first, patterns) in [(0, short), (long_from, long)] {
        if patterns.is_empty() {
            continue;
        }
        let texts = || patterns.iter().map(|(pattern, _)| pattern.as_slice());
        let bytes: usize = texts().map(<[u8]>::len).sum();
        let kind = if bytes <= TABLE_BYTES_MAX { AhoCorasickKind::DFA } else { AhoCorasickKind::ContiguousNFA };
        let automaton = AhoCorasickBuilder::new().match_kind(MatchKind::Standard).kind(Some(kind)).build(texts())?;
        parts.push(Part { sieve: Sieve::new(texts()), automaton, first });
    }
    Ok(parts)
}

fn regex_set(regexes: &[(String, RuleIndex)]) -> Result<Option<RegexSet>, regex::Error> {
    if regexes.is_empty() {
        return Ok(None);
    }
    let patterns = regexes.iter().map(|(pattern, _)| pattern);
    RegexSetBuilder::new(patterns).size_limit(REGEX_SET_BYTES_MAX).dfa_size_limit(REGEX_SET_BYTES_MAX).build().map(Some)
}
