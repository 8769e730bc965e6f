//! What is counted: per batch in a plain struct without locks or maps, then added to the app's totals once. Owns the
//! numbers behind `/metrics` and the ten-second buckets of ratios and absences; how they are shown or stored is not here.

use std::collections::BTreeMap;
use std::sync::Arc;

use dynowatch_domain::Timestamp;
use dynowatch_domain::key::Group;
use dynowatch_domain::matcher::{LevelPlace, Matcher, Population};
use dynowatch_domain::rollup::BUCKET;
use dynowatch_domain::rule::Rule;
use dynowatch_domain::signal::{Code, Kind};
/// The reasons behind [`Counts::malformed`], for those who show them.
pub use dynowatch_logplex::Malformed;
use hashbrown::HashMap;

use crate::metrics::BatchMetrics;

/// Number of kinds of lines.
pub const KINDS: usize = Kind::ALL.len();
/// Status classes, 1xx to 5xx, and at index 0 requests without a status.
pub const STATUS_CLASSES: usize = 6;
/// Groups of level rules that one app may have open between two flushes. Later ones are counted under "other".
pub const LEVEL_GROUPS_MAX: usize = 5_000;

/// Counts of one batch.
#[derive(Debug, Default, Clone)]
pub(crate) struct BatchTotals {
    pub(crate) counts: Counts,
    pub(crate) codes: Vec<(Code, u64)>,
    pub(crate) levels: Vec<LevelCount>,
    pub(crate) newest_at: Timestamp,
    /// What it adds to metrics.
    pub(crate) metrics: BatchMetrics,
    /// Lines of neighbouring moments fall into one bucket: its sums, until another begins.
    open: OpenBucket,
}

#[derive(Debug, Default, Clone)]
struct OpenBucket {
    at: Timestamp,
    until: Timestamp,
    /// By slot. All are zero but those of `touched`.
    sums: Vec<u64>,
    touched: Vec<LevelPlace>,
}

/// The count of one place in one bucket.
#[derive(Debug, Clone)]
pub(crate) struct LevelCount {
    pub(crate) place: LevelPlace,
    pub(crate) group: Option<Group>,
    pub(crate) at: Timestamp,
    pub(crate) lines: u64,
}

/// Plain counters.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Lines by [`Kind::index`].
    pub kinds: [u64; KINDS],
    /// Requests by status class.
    pub status_classes: [u64; STATUS_CLASSES],
    /// Frames that did not parse, by [`Malformed::index`].
    pub malformed: [u64; Malformed::ALL.len()],
    /// Sum of the router's `service=`, in milliseconds.
    pub service_ms: u64,
    /// Sum of the router's `connect=`, in milliseconds.
    pub connect_ms: u64,
    /// Sum of the router's `bytes=`.
    pub bytes: u64,
    /// Values of metric lines.
    pub samples: u64,
    /// Lines whose stamp was too far ahead and which count as arrived now.
    pub ahead: u64,
    /// Lines that some rule took.
    pub matched: u64,
    /// Batches.
    pub batches: u64,
    /// Batches that had been counted before.
    pub duplicates: u64,
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            kinds: [0; KINDS],
            status_classes: [0; STATUS_CLASSES],
            malformed: [0; Malformed::ALL.len()],
            service_ms: 0,
            connect_ms: 0,
            bytes: 0,
            samples: 0,
            ahead: 0,
            matched: 0,
            batches: 0,
            duplicates: 0,
        }
    }
}

impl Counts {
    /// Lines of every kind.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.kinds.iter().sum()
    }

    pub(crate) fn add(&mut self, other: &Self) {
        add(&mut self.kinds, &other.kinds);
        add(&mut self.status_classes, &other.status_classes);
        add(&mut self.malformed, &other.malformed);
        self.service_ms += other.service_ms;
        self.connect_ms += other.connect_ms;
        self.bytes += other.bytes;
        self.samples += other.samples;
        self.ahead += other.ahead;
        self.matched += other.matched;
        self.batches += other.batches;
        self.duplicates += other.duplicates;
    }
}

fn add<const N: usize>(to: &mut [u64; N], from: &[u64; N]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

impl BatchTotals {
    /// Empties it for the next batch, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.counts = Counts::default();
        self.codes.clear();
        self.levels.clear();
        self.metrics.clear();
        self.newest_at = Timestamp::UNIX_EPOCH;
        let OpenBucket { mut sums, mut touched, .. } = std::mem::take(&mut self.open);
        sums.clear();
        touched.clear();
        self.open = OpenBucket { sums, touched, ..OpenBucket::default() };
    }

    #[inline]
    pub(crate) fn code(&mut self, code: Code) {
        match self.codes.iter_mut().find(|(known, _)| *known == code) {
            Some((_, count)) => *count += 1,
            None => self.codes.push((code, 1)),
        }
    }

    /// Counts a line of an ungrouped population, or of a share of it.
    #[inline]
    pub(crate) fn level(&mut self, place: LevelPlace, at: Timestamp) {
        if at < self.open.at || at >= self.open.until {
            self.next_bucket(at);
        }
        let slot = place.slot as usize;
        if slot >= self.open.sums.len() {
            self.open.sums.resize(slot + 1, 0);
        }
        if let Some(sum) = self.open.sums.get_mut(slot) {
            if *sum == 0 {
                self.open.touched.push(place);
            }
            *sum += 1;
        }
    }

    /// Counts a line for one group of a population, or of a share of it.
    pub(crate) fn level_of_group(&mut self, place: LevelPlace, group: Group, at: Timestamp) {
        self.add_level(LevelCount { place, group: Some(group), at: at.floor(BUCKET), lines: 1 });
    }

    /// Moves the sums of the open bucket to [`BatchTotals::levels`]. To be called before those are read.
    pub(crate) fn close_bucket(&mut self) {
        let at = self.open.at;
        let mut touched = std::mem::take(&mut self.open.touched);
        for place in touched.drain(..) {
            let lines = self.open.sums.get_mut(place.slot as usize).map_or(0, std::mem::take);
            self.add_level(LevelCount { place, group: None, at, lines });
        }
        self.open.touched = touched;
    }

    #[cold]
    fn next_bucket(&mut self, at: Timestamp) {
        self.close_bucket();
        let at = at.floor(BUCKET);
        (self.open.at, self.open.until) = (at, at + BUCKET);
    }

    fn add_level(&mut self, new: LevelCount) {
        let known = self
            .levels
            .iter_mut()
            .rev()
            .take(64)
            .find(|l| l.place == new.place && l.at == new.at && l.group == new.group);
        match known {
            Some(level) => level.lines += new.lines,
            None => self.levels.push(new),
        }
    }
}

/// Counts of one app since the process began, and its buckets since the last flush.
#[derive(Debug, Default)]
pub struct AppTotals {
    /// Plain counters.
    pub counts: Counts,
    /// Platform errors by code.
    pub codes: BTreeMap<Code, u64>,
    /// The newest stamp seen.
    pub newest_at: Timestamp,
    /// By the population's address, which the value keeps alive: an index would mean another one after a reload.
    pub(crate) levels: HashMap<(usize, Group, Timestamp), LevelSum>,
    /// Lines that were counted under "other" because there were too many groups.
    pub level_overflow: u64,
}

/// A bucket's sums since the last flush.
#[derive(Debug)]
pub(crate) struct LevelSum {
    population: Arc<Population>,
    total: u64,
    /// By share.
    matched: Vec<(u16, u64)>,
}

impl LevelSum {
    /// What each rule is to know: how many lines there were, and how many of them were of its share.
    pub(crate) fn by_rule(&self) -> impl Iterator<Item = (&Arc<Rule>, u64, u64)> {
        self.population.rules().map(|(rule, share)| {
            let of_share = |wanted| self.matched.iter().find(|(share, _)| *share == wanted).map_or(0, |(_, n)| *n);
            (rule, self.total, share.map_or(0, of_share))
        })
    }
}

impl AppTotals {
    pub(crate) fn merge(&mut self, batch: &BatchTotals, matcher: &Matcher) {
        self.counts.add(&batch.counts);
        self.newest_at = self.newest_at.max(batch.newest_at);
        for (code, count) in &batch.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.merge_levels(&batch.levels, matcher);
    }

    /// Adds buckets. A population comes before its shares.
    pub(crate) fn merge_levels(&mut self, levels: &[LevelCount], matcher: &Matcher) {
        for level in levels {
            let Some(population) = matcher.population(level.place.population) else { continue };
            let group = level.group.clone();
            let mut key = (Arc::as_ptr(population) as usize, group.unwrap_or_default(), level.at);
            // What is not grouped has few buckets, and must not be lost among others.
            if level.group.is_some() && self.levels.len() >= LEVEL_GROUPS_MAX && !self.levels.contains_key(&key) {
                self.level_overflow += if level.place.share.is_none() { level.lines } else { 0 };
                key.1 = Group::other();
            }
            let sum = self.levels.entry(key).or_insert_with(|| LevelSum {
                population: Arc::clone(population),
                total: 0,
                matched: Vec::new(),
            });
            match level.place.share {
                None => sum.total += level.lines,
                Some(share) => match sum.matched.iter_mut().find(|(known, _)| *known == share) {
                    Some((_, matched)) => *matched += level.lines,
                    None => sum.matched.push((share, level.lines)),
                },
            }
        }
    }
}
