//! The same rules over a file: what would they have told? The clock is the log's own newest stamp, nothing is stored and
//! nothing is sent. Reading the file and printing what was found is the CLI's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use dynowatch_domain::alert::{Effect, Facts, NoticeKind};
use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::mask::Masker;
use dynowatch_domain::matcher::{AppRules, MatcherError};
use dynowatch_domain::release::Release;
use dynowatch_domain::rollup::{self, BUCKET, Bucket};
use dynowatch_domain::rule::Rule;
use dynowatch_domain::{AlertId, AppId, NewId, Timestamp};
use dynowatch_logplex::{Format, Frame, Malformed, StampCache, entries, message};
use dynowatch_store::{Changes, FiredAlert};
use uuid::Uuid;

use crate::evaluate::{self, Held, Input, NewMatches, Scene};
use crate::findings::{Findings, Reading};
use crate::notices::measured;
use crate::ring::{Ring, Wanted};
use crate::rules::RuleBook;
use crate::totals::Counts;

/// One thing the rules would have done.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Happening {
    /// `firing`, `still_firing`, `resolved`, `pending`, `pending_dropped`, `cooldown` or `merged`.
    pub what: &'static str,
    /// The stamp of the line that did it, or when a timer ended.
    pub at: Timestamp,
    /// The key, as in `h12/shop-web`, masked.
    pub key: String,
    /// The rule's name.
    pub rule: String,
    /// The app's name.
    pub app: String,
    /// Events in the window.
    pub count: Option<u64>,
    /// The count with its unit.
    pub measured: Option<String>,
    /// The whole condition.
    pub condition: String,
    /// Matches held back since the last message.
    pub suppressed: u64,
    /// Receivers that would have been told.
    pub receivers: Vec<String>,
    /// The sentence about releases, masked.
    pub release: Option<String>,
    /// Evidence, then context, masked.
    pub evidence: Vec<String>,
    /// How many lines of `evidence` are matches; the others are context.
    pub matches: usize,
}

/// What a replay went through.
#[derive(Debug, Default)]
pub struct Summary {
    /// Counts of all lines.
    pub counts: Counts,
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
    next_level_at: Option<Timestamp>,
    next_wake_at: Option<Timestamp>,
    armed_at: Timestamp,
    findings: Findings,
    cache: StampCache,
    ring: Ring,
    held: HashMap<Key, Held>,
    levels: HashMap<(String, Group), Vec<Bucket>>,
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
    /// A replay of one app's log.
    ///
    /// # Errors
    /// When a rule's pattern does not compile.
    pub fn new(rules: Vec<Rule>, app_name: &str, masker: Masker) -> Result<Self, MatcherError> {
        let book = RuleBook::new(rules.into_iter().map(Arc::new), std::collections::BTreeSet::new())?;
        let app = book.matcher.for_app(app_name);
        Ok(Self {
            book,
            app_name: app_name.to_owned(),
            app_id: AppId(Uuid::nil()),
            app,
            now: Timestamp::from_micros(i64::MIN),
            next_level_at: None,
            next_wake_at: None,
            armed_at: Timestamp::UNIX_EPOCH,
            findings: Findings::default(),
            cache: StampCache::default(),
            ring: Ring::default(),
            held: HashMap::new(),
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
        for frame in entries(format, data) {
            match frame {
                Frame::Message(raw) => self.line(raw),
                Frame::Bad(reason) => self.findings.malformed(reason),
            }
        }
    }

    /// Counts what the reader of the file had to leave out, such as a line too long to be held.
    pub fn left_out(&mut self, reason: Malformed) {
        self.findings.malformed(reason);
    }

    #[inline]
    fn line(&mut self, raw: &[u8]) {
        let message = match message(raw, &mut self.cache) {
            Ok(message) => message,
            Err(reason) => return self.findings.malformed(reason),
        };
        let at = Timestamp::from_micros(message.at_us);
        if at > self.now {
            self.advance(at);
        }
        let mut with = Reading { matcher: &self.book.matcher, app: &self.app, now: self.now, recorder: None };
        self.findings.line(&mut with, &message);
        self.ring.push_message(raw);
        if self.findings.must_commit() {
            self.commit();
        }
    }

    /// Moves the clock to a new stamp, doing on the way what falls due.
    fn advance(&mut self, at: Timestamp) {
        if self.summary.from.is_none() {
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
                // A log may skip months: nothing is judged in a gap longer than any window.
                let next = due.floor(BUCKET) + BUCKET;
                let longest = self.book.iter().map(|rule| rollup::horizon(&rule.condition)).max().unwrap_or_default();
                self.next_level_at = Some(if at > next + longest + longest { at.floor(BUCKET) } else { next });
            }
        }
        self.now = at;
        self.summary.until = Some(at);
    }

    fn next_due(&self) -> Option<Timestamp> {
        [self.next_wake_at, self.next_level_at].into_iter().flatten().min()
    }

    fn commit(&mut self) {
        let losses = std::mem::take(&mut self.findings.losses);
        self.blinds.extend(losses.into_iter().map(|loss| (Some(self.app_id), loss)));
        for release in std::mem::take(&mut self.findings.releases) {
            crate::merge_release(self.releases.entry(self.app_id).or_default(), release);
        }
        for matches in std::mem::take(&mut self.findings.keys) {
            let rule = Arc::clone(self.book.matcher.rule(matches.rule));
            let key = Key { app: self.app_id, rule: rule.name.clone(), group: matches.group };
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
                self.book.active(&key.rule).and_then(|rule| held.track.next_wake(rule)).is_some_and(|at| at <= self.now)
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
            self.held.iter().filter_map(|(key, held)| held.track.next_wake(self.book.active(&key.rule)?)).min();
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
            let mut groups: Vec<Group> =
                self.levels.keys().filter(|(name, _)| *name == rule.name).map(|(_, group)| group.clone()).collect();
            if !groups.contains(&Group::default()) && rule.group_by.is_empty() {
                groups.push(Group::default());
            }
            for group in groups {
                let buckets = self.levels.get(&(rule.name.clone(), group.clone())).map_or(&[][..], Vec::as_slice);
                let key = Key { app: self.app_id, rule: rule.name.clone(), group };
                let firing = self.held.get(&key).is_some_and(|held| held.track.firing().is_some());
                let verdict = rollup::judge(&rule, buckets, &blinds, self.armed_at, firing, self.now);
                self.apply(&key, &rule, Input::Verdict(verdict));
            }
        }
    }

    fn collect_levels(&mut self) {
        self.findings.totals.close_bucket();
        for level in std::mem::take(&mut self.findings.totals.levels) {
            let rule = self.book.matcher.rule(level.rule);
            let buckets = self.levels.entry((rule.name.clone(), level.group.unwrap_or_default())).or_default();
            match buckets.iter_mut().rev().take(8).find(|bucket| bucket.at == level.at) {
                Some(bucket) => {
                    bucket.total += level.total;
                    bucket.matched += level.matched;
                }
                None => buckets.push(Bucket { at: level.at, total: level.total, matched: level.matched }),
            }
            let horizon = self.now - rollup::horizon(&rule.condition) - BUCKET;
            buckets.retain(|bucket| bucket.at >= horizon);
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
        self.tell(key, rule, &changes);
    }

    fn tell(&mut self, key: &Key, rule: &Rule, changes: &Changes) {
        let show = |line: &EvidenceLine| self.masker.mask(&line.show()).into_owned();
        let matches = |fired: &FiredAlert| fired.evidence.iter().filter(|line| line.role == Role::Match).count();
        let mut evidence: HashMap<AlertId, (Vec<String>, usize)> = changes
            .fired
            .iter()
            .map(|fired| (fired.id, (fired.evidence.iter().map(show).collect(), matches(fired))))
            .collect();
        for (alert, _, effect) in &changes.decisions {
            let (what, facts, suppressed): (&'static str, Option<&Facts>, u64) = match effect {
                Effect::Notify { kind: NoticeKind::StillFiring, facts, suppressed, .. } => {
                    ("still_firing", Some(facts), *suppressed)
                }
                Effect::Notify { facts, suppressed, .. } => ("firing", Some(facts), *suppressed),
                Effect::Fired { facts, silent_until: Some(_), .. } => ("fired_silently", Some(facts), 0),
                Effect::Resolved { facts, .. } => ("resolved", Some(facts), 0),
                Effect::CooldownHeld { .. } => ("cooldown", None, 0),
                Effect::Merged { .. } => ("merged", None, 0),
                Effect::Fired { .. }
                | Effect::PendingBegan { .. }
                | Effect::PendingDropped { .. }
                | Effect::HeldUnknown { .. } => continue,
            };
            let told = matches!(effect, Effect::Notify { .. })
                || (matches!(effect, Effect::Resolved { .. }) && rule.send_resolved);
            let sentence = matches!(effect, Effect::Notify { .. })
                .then(|| {
                    changes
                        .fired
                        .iter()
                        .find(|fired| fired.id == *alert)
                        .map(|fired| self.masker.mask(&fired.details.release_sentence).into_owned())
                })
                .flatten();
            let (evidence, matches) = evidence.remove(alert).unwrap_or_default();
            self.happenings.push(Happening {
                what,
                at: self.now,
                key: self.masker.mask(&key.show(&self.app_name).to_string()).into_owned(),
                rule: rule.name.clone(),
                app: self.app_name.clone(),
                count: facts.map(|facts| facts.count),
                measured: facts.map(|facts| measured(&rule.condition, facts)),
                condition: rule.condition.to_string(),
                suppressed,
                receivers: if told { rule.receivers.clone() } else { Vec::new() },
                release: sentence,
                evidence,
                matches,
            });
        }
    }

    /// What has happened since the last call.
    pub fn happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// Lets every timer run out that the end of the log leaves open, and sums up.
    pub fn finish(mut self) -> (Vec<Happening>, Summary) {
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
