//! The same rules over a file: what would they have told? The clock is the log's own (see `clock`), nothing is stored and
//! nothing is sent. Reading the file and printing what was found is the CLI's.
//!
//! Lines are decided on as `serve` decides, by the same code: pieces of long lines are put together, groups beyond the
//! limit share one, blind times are joined, and every ten seconds ratios and absences are judged, and rules on metrics (see
//! `metrics`). What is open when the log ends runs out if time alone ends it; the others stay open, for nobody knows how
//! it went on.

mod clock;
mod colours;
mod happening;
mod metrics;

pub mod input;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::alert::{Phase, Verdict};
use dynowatch_domain::blind::Blind;
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::mask::Masker;
use dynowatch_domain::matcher::{AppRules, MatcherError};
use dynowatch_domain::release::Release;
use dynowatch_domain::rollup::{self, BUCKET, Bucket};
use dynowatch_domain::rule::{Condition, Rule, WINDOW_MAX};
use dynowatch_domain::window::LATE_MAX;
use dynowatch_domain::{AppId, NewId, Timestamp};
use dynowatch_logplex::rejoin::PIECE_BYTES;
use dynowatch_logplex::{Format, Frame, Malformed, Message, StampCache, entries, message};
use dynowatch_store::Changes;
use uuid::Uuid;

use self::clock::{LogClock, Ruled};
pub use self::happening::Happening;
use self::happening::Tell;
use self::metrics::Metrics;
use crate::commit::IDLE_AFTER;
use crate::evaluate::{self, Held, Input, NewMatches, Scene};
use crate::findings::{Findings, Reading};
use crate::groups::Groups;
use crate::metrics::SlotValue;
use crate::pieces::Pieces;
use crate::ring::{Ring, Wanted};
use crate::rules::RuleBook;
use crate::timers::HOUSEKEEPING_EVERY;
use crate::totals::{AppTotals, Counts};

/// What a replay went through.
#[derive(Debug, Default)]
pub struct Summary {
    /// Counts of all lines.
    pub counts: Counts,
    /// Events of groups beyond the limit, counted in the group "other".
    pub groups_overflowed: u64,
    /// Platform errors by code.
    pub codes: BTreeMap<String, u64>,
    /// The first and the last stamp.
    pub from: Option<Timestamp>,
    /// The last stamp.
    pub until: Option<Timestamp>,
}

/// A replay in progress. Feed it entries in the order of the file.
pub struct Replay {
    book: RuleBook,
    app_name: String,
    app_id: AppId,
    app: AppRules,
    now: Timestamp,
    clock: LogClock,
    /// Entries are lines of a text file: that one ends tells nothing of a piece.
    is_text: bool,
    next_level_at: Option<Timestamp>,
    /// Without a line for so long, no look says anything new.
    looks_end: Duration,
    next_wake_at: Option<Timestamp>,
    armed_at: Timestamp,
    findings: Findings,
    cache: StampCache,
    pieces: Pieces,
    ring: Ring,
    held: HashMap<Key, Held>,
    groups: Groups,
    groups_per_rule: usize,
    forgot_at: Timestamp,
    /// Only for the bound on groups of ratios and absences.
    totals: AppTotals,
    /// For rules on metrics; `None` when there are none.
    metrics: Option<Metrics>,
    /// Buckets by rule and group.
    levels: HashMap<String, BTreeMap<Group, Vec<Bucket>>>,
    releases: HashMap<AppId, VecDeque<Release>>,
    blinds: Vec<(Option<AppId>, Blind)>,
    masker: Masker,
    ids: Counting,
    happenings: Vec<Happening>,
    summary: Summary,
}

/// Ids that only need to differ.
#[derive(Default)]
struct Counting(u128);

impl NewId for Counting {
    fn new_id(&mut self, _now: Timestamp) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

impl Replay {
    /// A replay of one app's log. `groups_per_rule` is as in [`crate::Limits`].
    ///
    /// # Errors
    /// When a rule's pattern does not compile.
    pub fn new(rules: Vec<Rule>, app_name: &str, masker: Masker, groups_per_rule: usize) -> Result<Self, MatcherError> {
        let book = RuleBook::new(rules.into_iter().map(Arc::new), std::collections::BTreeSet::new())?;
        let app = book.matcher.for_app(app_name);
        let metrics = Metrics::of(book.iter().filter(|rule| rule.enabled && rule.wants_app(app_name)));
        let looks_end = book.iter().map(|rule| looks_end(rule)).max().unwrap_or_default();
        Ok(Self {
            book,
            metrics,
            app_name: app_name.to_owned(),
            app_id: AppId(Uuid::nil()),
            app,
            now: Timestamp::from_micros(i64::MIN),
            clock: LogClock::default(),
            is_text: false,
            next_level_at: None,
            looks_end,
            next_wake_at: None,
            armed_at: Timestamp::UNIX_EPOCH,
            findings: Findings::default(),
            cache: StampCache::default(),
            pieces: Pieces::default(),
            ring: Ring::default(),
            held: HashMap::new(),
            groups: Groups::default(),
            groups_per_rule,
            forgot_at: Timestamp::UNIX_EPOCH,
            totals: AppTotals::default(),
            levels: HashMap::new(),
            releases: HashMap::new(),
            blinds: Vec::new(),
            masker,
            ids: Counting::default(),
            happenings: Vec::new(),
            summary: Summary::default(),
        })
    }

    /// Takes a part of the file that ends where an entry ends.
    pub fn feed(&mut self, format: Format, data: &[u8]) {
        self.is_text = format != Format::Logplex;
        for frame in entries(format, data) {
            match frame {
                Frame::Message(raw) => self.line(raw),
                Frame::Bad(reason) => self.findings.malformed(reason),
            }
        }
        // What is noted of metrics is bounded by the part.
        self.take_metrics();
    }

    /// Takes values of ten seconds of metrics, in order, as they were stored, and looks as `serve` did, to the end of the
    /// span; what happens is handed on as it comes. Only for rules on metrics.
    pub(crate) fn feed_values(
        &mut self,
        values: Vec<SlotValue>,
        until: Timestamp,
        mut each: impl FnMut(Vec<Happening>),
    ) {
        let mut slot = None;
        for (key, at, value) in values {
            // Looks in between see what was there by then, and no more.
            if slot != Some(at) {
                self.advance(at);
                slot = Some(at);
            }
            if let Some(metrics) = &mut self.metrics {
                metrics.know(&key, at, &value);
            }
            if !self.happenings.is_empty() {
                each(self.happenings());
            }
        }
        self.advance(until);
        each(self.happenings());
    }

    /// Times in which not everything was seen.
    pub(crate) fn know_blinds(&mut self, blinds: Vec<Blind>) {
        let widened = blinds.into_iter().map(|blind| (None, crate::thresholds::unflushed(blind)));
        self.blinds.extend(widened);
    }

    /// Counts what the reader of the file had to leave out, such as a line too long to be held.
    pub fn left_out(&mut self, reason: Malformed) {
        self.findings.malformed(reason);
    }

    #[inline]
    fn line(&mut self, raw: &[u8]) {
        match self.read(raw) {
            Ok(message) => {
                let at = Timestamp::from_micros(message.at_us);
                if self.clock.trusts(at) { self.take(raw, &message, true) } else { self.doubt(at, raw) }
            }
            Err(reason) => self.findings.malformed(reason),
        }
    }

    #[inline]
    fn read<'a>(&mut self, raw: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let message = message(raw, &mut self.cache)?;
        let newline = message.newline && !(self.is_text && message.text.len() == PIECE_BYTES);
        Ok(Message { newline, ..message })
    }

    #[cold]
    fn doubt(&mut self, at: Timestamp, raw: &[u8]) {
        let decided = self.clock.doubt(at, raw);
        self.take_ruled(decided);
    }

    fn take_ruled(&mut self, lines: Vec<Ruled>) {
        for Ruled { raw, trusted, .. } in lines {
            match self.read(&raw) {
                Ok(message) => self.take(&raw, &message, trusted),
                Err(reason) => self.findings.malformed(reason),
            }
        }
    }

    /// Takes a line; the clock follows it only if it is trusted.
    #[inline]
    fn take(&mut self, raw: &[u8], message: &Message<'_>, trusted: bool) {
        let at = Timestamp::from_micros(message.at_us);
        if trusted && at > self.now {
            self.advance(at);
        }
        let recorder = self.metrics.as_mut().map(Metrics::recorder);
        let mut with = Reading { matcher: &self.book.matcher, app: &self.app, now: self.now, recorder };
        self.pieces.line(&mut self.findings, &mut with, message);
        self.ring.push_message(raw);
        if self.findings.must_commit() {
            self.commit();
        }
    }

    /// Heroku sends the pieces of a line together: what waits for longer gets none any more.
    #[cold]
    fn end_pieces(&mut self, until: Timestamp) {
        let recorder = self.metrics.as_mut().map(Metrics::recorder);
        let mut with = Reading { matcher: &self.book.matcher, app: &self.app, now: self.now, recorder };
        self.pieces.end(&mut self.findings, &mut with, until.as_micros());
        if self.findings.must_commit() {
            self.commit();
        }
    }

    /// Moves the clock to a new stamp, doing on the way what falls due.
    fn advance(&mut self, at: Timestamp) {
        if self.pieces.is_waiting() {
            self.end_pieces(at - BUCKET);
        }
        if self.summary.from.is_none() {
            self.forgot_at = at;
            (self.summary.from, self.armed_at) = (Some(at), at);
            self.next_level_at = Some(at.floor(BUCKET) + BUCKET);
        }
        while let Some(due) = self.next_due().filter(|due| *due <= at) {
            self.now = due;
            if self.next_wake_at.is_some_and(|wake| wake <= due) {
                self.wake();
            }
            if self.next_level_at.is_some_and(|level| level <= due) {
                self.judge();
                self.look_at_metrics();
                // A log may skip months, of which only the beginning can hold news.
                let next = due.floor(BUCKET) + BUCKET;
                let news_until = self.summary.until.unwrap_or(at) + self.looks_end;
                self.next_level_at = Some(if next > news_until { at.floor(BUCKET).max(next) } else { next });
            }
        }
        self.now = at;
        self.clock.moved(at);
        self.summary.until = Some(at);
        if at.since(self.forgot_at) >= HOUSEKEEPING_EVERY {
            self.forget_idle();
        }
    }

    /// Keys at rest free their group's place, as in `serve`; their state goes once no window can reach it, which there the
    /// store has.
    #[cold]
    fn forget_idle(&mut self) {
        self.forgot_at = self.now;
        let (now, groups) = (self.now, &mut self.groups);
        self.held.retain(|key, held| {
            if held.is_idle(now, IDLE_AFTER) {
                groups.forget(key);
            }
            !held.is_idle(now, WINDOW_MAX + LATE_MAX)
        });
    }

    fn next_due(&self) -> Option<Timestamp> {
        [self.next_wake_at, self.next_level_at].into_iter().flatten().min()
    }

    fn commit(&mut self) {
        let losses = std::mem::take(&mut self.findings.losses);
        if !losses.is_empty() {
            let losses = losses.into_iter().map(|loss| (Some(self.app_id), loss)).collect();
            crate::learn_blinds(&mut self.blinds, losses, self.now);
        }
        for release in std::mem::take(&mut self.findings.releases) {
            crate::merge_release(self.releases.entry(self.app_id).or_default(), release);
        }
        for matches in std::mem::take(&mut self.findings.keys) {
            let rule = Arc::clone(self.book.matcher.rule(matches.rule));
            let key = Key { app: self.app_id, rule: rule.name.clone(), group: matches.group };
            let admitted = self.groups.admit(key, self.groups_per_rule, &mut Groups::default());
            let key = admitted.unwrap_or_else(|other| {
                self.summary.groups_overflowed += 1;
                other
            });
            self.groups.know(&key);
            let input = NewMatches {
                events: matches.events,
                lines: matches.lines,
                request_id: matches.request_id,
                dyno: matches.dyno,
            };
            self.apply(&key, &rule, Input::Matches(input));
        }
    }

    fn wake(&mut self) {
        let due: Vec<Key> = self
            .held
            .iter()
            .filter(|(key, held)| {
                self.book.active(&key.rule).and_then(|rule| held.next_wake(rule)).is_some_and(|at| at <= self.now)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in due {
            if let Some(rule) = self.book.active(&key.rule).cloned() {
                self.apply(&key, &rule, Input::Wake);
            }
        }
        self.set_next_wake();
    }

    fn set_next_wake(&mut self) {
        self.next_wake_at =
            self.held.iter().filter_map(|(key, held)| held.next_wake(self.book.active(&key.rule)?)).min();
    }

    fn judge(&mut self) {
        self.collect_levels();
        let levels: Vec<Arc<Rule>> = self
            .book
            .iter()
            .filter(|rule| rule.enabled && rule.wants_app(&self.app_name) && rule.condition.reads_buckets())
            .cloned()
            .collect();
        let blinds: Vec<Blind> = self.blinds.iter().map(|(_, blind)| blind.clone()).collect();
        for rule in levels {
            let mut by_group = self.levels.remove(&rule.name).unwrap_or_default();
            if rule.group_by.is_empty() {
                by_group.entry(Group::default()).or_default();
            }
            let from = self.now - rollup::horizon(&rule.condition) - BUCKET;
            by_group.retain(|group, buckets| {
                buckets.retain(|bucket| bucket.at >= from);
                let key = Key { app: self.app_id, rule: rule.name.clone(), group: group.clone() };
                let firing = self.held.get(&key).is_some_and(|held| held.track.firing().is_some());
                let verdict = rollup::judge(&rule, buckets, &blinds, self.armed_at, firing, self.now);
                // A key at rest whose condition does not hold stays at rest.
                if self.held.contains_key(&key) || matches!(verdict, Verdict::Holds { .. }) {
                    self.apply(&key, &rule, Input::Verdict(verdict));
                }
                firing || !buckets.is_empty()
            });
            self.levels.insert(rule.name.clone(), by_group);
        }
    }

    fn take_metrics(&mut self) {
        if let Some(metrics) = &mut self.metrics {
            metrics.take(&mut self.findings.totals.metrics, self.now);
        }
    }

    fn look_at_metrics(&mut self) {
        self.take_metrics();
        let Some(metrics) = &mut self.metrics else { return };
        let is_open = |(key, held): &(&Key, &Held)| held.track.phase != Phase::Quiet && metrics.has(&key.rule);
        let open = self.held.iter().filter(is_open);
        let mut open = open.map(|(key, held)| (key.clone(), held.track.firing().is_some())).collect();
        let looked = metrics.look(self.app_id, &self.blinds, &mut open, self.groups_per_rule, self.now);
        self.summary.groups_overflowed += looked.overflowed;
        for (key, rule, verdict) in looked.verdicts {
            self.apply(&key, &rule, Input::Verdict(verdict));
        }
    }

    fn collect_levels(&mut self) {
        self.findings.totals.close_bucket();
        self.totals.merge_levels(&self.findings.totals.levels, &self.book.matcher);
        self.findings.totals.levels.clear();
        for ((_, group, at), sum) in std::mem::take(&mut self.totals.levels) {
            for (rule, total, matched) in sum.by_rule().filter(|(rule, ..)| rule.wants_app(&self.app_name)) {
                let by_group = self.levels.entry(rule.name.clone()).or_default();
                let buckets = by_group.entry(group.clone()).or_default();
                match buckets.iter_mut().rev().find(|bucket| bucket.at == at) {
                    Some(bucket) => {
                        bucket.total += total;
                        bucket.matched += matched;
                    }
                    None => buckets.push(Bucket { at, total, matched }),
                }
            }
        }
    }

    fn apply(&mut self, key: &Key, rule: &Rule, input: Input) {
        let mut changes = Changes::default();
        let ring = &self.ring;
        let (app_name, public_url) = (&self.app_name, None);
        let scene = Scene {
            now: self.now,
            app_names: &|_| app_name.clone(),
            releases: &self.releases,
            blinds: &self.blinds,
            context: &|_, matches, evidence| {
                ring.context(&Wanted { request_id: &matches.request_id, dyno: &matches.dyno, matches: evidence })
            },
            masker: &self.masker,
            public_url,
        };
        evaluate::apply(
            self.held.entry(key.clone()).or_default(),
            key,
            rule,
            input,
            &scene,
            &mut self.ids,
            &mut changes,
        );
        for change in &changes.tracks {
            if let Some(at) = change.next_wake_at {
                self.next_wake_at = Some(self.next_wake_at.map_or(at, |known| known.min(at)));
            }
        }
        let app = self.app_name.as_str();
        let tell = Tell { key, rule, app, now: self.now, masker: &self.masker, changes: &changes };
        self.happenings.extend(tell.happenings());
    }

    /// What has happened since the last call.
    pub fn happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Takes what waits for lines that will not come.
    fn finish_reading(&mut self) {
        let undecided = self.clock.end();
        self.take_ruled(undecided);
        self.end_pieces(Timestamp::from_micros(i64::MAX));
    }

    /// Lets every timer run out that the end of the log leaves open, and sums up.
    pub fn finish(mut self) -> (Vec<Happening>, Summary) {
        self.finish_reading();
        let until = self.summary.until;
        let mut rounds = 0;
        while let Some(due) = self.next_wake_at.filter(|_| rounds < 10_000) {
            self.now = self.now.max(due);
            self.wake();
            rounds += 1;
        }
        self.summary.until = until;
        self.summary.counts = self.findings.totals.counts.clone();
        self.summary.codes =
            self.findings.totals.codes.iter().map(|(code, count)| (code.to_string(), *count)).collect();
        (self.happenings, self.summary)
    }
}

/// How long after the last line looks at a rule may still say something new: until nothing is left in its window, what was
/// pending has fired, and what was open is over.
fn looks_end(rule: &Rule) -> Duration {
    match &rule.condition {
        // A log holds no runs of checks.
        Condition::Count { .. } | Condition::Check { .. } => Duration::ZERO,
        Condition::Ratio { .. } | Condition::Absence { .. } | Condition::Threshold(_) => {
            2 * rollup::horizon(&rule.condition) + rule.pending_for + rule.resolve_after
        }
    }
}

#[cfg(test)]
mod tests;
