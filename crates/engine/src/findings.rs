//! What one batch of log lines holds for us: counts for its totals, the lines that rules take, releases, losses. Pure but
//! for the names of series that it looks up; `serve` fills one per batch, `replay` one per line.

use dynowatch_domain::Timestamp;
use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::{EVIDENCE_LINES_MAX, EvidenceLine, Role};
use dynowatch_domain::key::Group;
use dynowatch_domain::matcher::{AppRules, Matcher, RuleIndex};
use dynowatch_domain::release::Release;
use dynowatch_domain::signal::{Kind, Signal};
use dynowatch_domain::window::{AHEAD_MAX, Counted};
use dynowatch_logplex::{Malformed, Message, Record, record};

use crate::adapter;
use crate::metrics::Recorder;
use crate::totals::BatchTotals;

/// Events of one key in one batch. No window keeps this many, so more would only be dropped there.
const EVENTS_PER_KEY_MAX: usize = 50_000;
/// Different keys in one batch. Later ones join the rule's "other" group.
const KEYS_PER_BATCH_MAX: usize = 2_000;

/// The lines that one rule takes from one batch, for one group.
#[derive(Debug, Clone)]
pub(crate) struct KeyMatches {
    pub(crate) rule: RuleIndex,
    pub(crate) group: Group,
    pub(crate) events: Vec<Counted>,
    /// The newest of them, for evidence.
    pub(crate) lines: Vec<EvidenceLine>,
    /// The request and the dyno of the newest, for context.
    pub(crate) request_id: Vec<u8>,
    pub(crate) dyno: Vec<u8>,
}

/// What lines are read with.
pub(crate) struct Reading<'a> {
    pub(crate) matcher: &'a Matcher,
    pub(crate) app: &'a AppRules,
    /// The moment of arrival.
    pub(crate) now: Timestamp,
    /// Where names of series are looked up; without it no metrics are gathered.
    pub(crate) recorder: Option<&'a mut Recorder>,
}

/// What was found, and scratch room that is kept from batch to batch.
#[derive(Default)]
pub(crate) struct Findings {
    pub(crate) totals: BatchTotals,
    pub(crate) keys: Vec<KeyMatches>,
    pub(crate) releases: Vec<Release>,
    pub(crate) losses: Vec<Blind>,
    /// A host of a router line, for naming an adopted app.
    pub(crate) host: Option<String>,
    pub(crate) want_host: bool,
    hits: Vec<RuleIndex>,
    /// Scratch room for what ratios and absences count.
    populations: Vec<RuleIndex>,
}

impl Findings {
    /// Empties it, keeping its room.
    pub(crate) fn clear(&mut self) {
        self.totals.clear();
        self.keys.clear();
        self.releases.clear();
        self.losses.clear();
        self.host = None;
        self.hits.clear();
    }

    /// Whether something must be committed before the batch is answered.
    pub(crate) fn must_commit(&self) -> bool {
        !(self.keys.is_empty() && self.releases.is_empty() && self.losses.is_empty())
    }

    pub(crate) fn malformed(&mut self, reason: Malformed) {
        if let Some(count) = self.totals.counts.malformed.get_mut(reason.index()) {
            *count += 1;
        }
    }

    /// Takes one message.
    #[inline]
    pub(crate) fn line(&mut self, with: &mut Reading<'_>, message: &Message<'_>) {
        let record = record(message);
        let signal = self.signal(with, message, &record);
        self.count_line(with, &signal);
        self.look(with, message, &record, &signal);
    }

    /// A piece of a longer line: a line of the log, whose text is looked at once it is whole.
    pub(crate) fn piece(&mut self, with: &mut Reading<'_>, message: &Message<'_>) {
        let record = record(message);
        let signal = self.signal(with, message, &record);
        self.count_line(with, &signal);
    }

    /// A line that was put together from pieces, each of which was counted.
    pub(crate) fn joined(&mut self, with: &mut Reading<'_>, message: &Message<'_>) {
        let record = record(message);
        let signal = self.signal(with, message, &record);
        self.look(with, message, &record, &signal);
    }

    #[inline]
    fn signal<'a>(&mut self, with: &Reading<'_>, message: &Message<'a>, record: &Record<'a>) -> Signal<'a> {
        let mut at = Timestamp::from_micros(message.at_us);
        if at > with.now + AHEAD_MAX {
            self.totals.counts.ahead += 1;
            at = with.now;
        }
        adapter::signal(message, record, at, with.matcher.needs_path())
    }

    #[inline]
    fn count_line(&mut self, with: &Reading<'_>, signal: &Signal<'_>) {
        self.totals.newest_at = self.totals.newest_at.max(signal.at);
        if let Some(count) = self.totals.counts.kinds.get_mut(signal.kind.index()) {
            *count += 1;
        }
        let totals = &mut self.totals;
        with.matcher.level_hits(with.app, signal, &mut self.populations, |population, place| {
            if population.group_by().is_empty() {
                totals.level(place, signal.at);
            } else {
                totals.level_of_group(place, Group::of(population.group_by(), signal), signal.at);
            }
        });
    }

    /// Takes a line's values and asks the rules.
    #[inline]
    fn look(&mut self, with: &mut Reading<'_>, message: &Message<'_>, record: &Record<'_>, signal: &Signal<'_>) {
        self.count(with, record, signal);
        with.matcher.hits(with.app, signal, &mut self.hits);
        if !self.hits.is_empty() {
            self.matched(with, message, record, signal);
        }
    }

    #[inline]
    fn count(&mut self, with: &mut Reading<'_>, record: &Record<'_>, signal: &Signal<'_>) {
        let totals = &mut self.totals;
        if let Some(recorder) = with.recorder.as_deref_mut() {
            recorder.line(&mut totals.metrics, record, signal);
        }
        if let Some(code) = signal.code {
            totals.code(code);
        }
        match record {
            Record::Router(line) => {
                let class = signal.status.map_or(0, |status| usize::from(status / 100));
                if let Some(count) = totals.counts.status_classes.get_mut(class) {
                    *count += 1;
                }
                totals.counts.service_ms += u64::from(line.service_ms().unwrap_or(0));
                totals.counts.connect_ms += u64::from(line.connect_ms().unwrap_or(0));
                totals.counts.bytes = totals.counts.bytes.saturating_add(line.bytes().unwrap_or(0));
                if self.want_host && self.host.is_none() {
                    self.host = line.host().map(|host| {
                        String::from_utf8_lossy(host).chars().filter(|c| !c.is_control()).take(120).collect()
                    });
                }
            }
            Record::Samples(samples) => {
                totals.counts.samples += match with.recorder.as_deref_mut() {
                    Some(recorder) => recorder.samples(&mut totals.metrics, samples, signal),
                    None => samples.count() as u64,
                };
            }
            Record::Api(_) => self.releases.extend(adapter::release(record, signal.at)),
            Record::Loss(_) => self.losses.extend(adapter::log_loss(record, signal.at)),
            _ => {}
        }
    }

    #[cold]
    fn matched(&mut self, with: &Reading<'_>, message: &Message<'_>, record: &Record<'_>, signal: &Signal<'_>) {
        self.totals.counts.matched += 1;
        let request_id = match record {
            Record::Router(line) => line.request_id().unwrap_or(b""),
            _ => b"",
        };
        let hits = std::mem::take(&mut self.hits);
        for &rule in &hits {
            let mut group = Group::of(&with.matcher.rule(rule).group_by, signal);
            if self.keys.len() >= KEYS_PER_BATCH_MAX && !self.keys.iter().any(|k| k.rule == rule && k.group == group) {
                group = Group::other();
            }
            let line = EvidenceLine::new(signal.at, signal.source, signal.process, message.text, Role::Match);
            self.match_of(rule, group).push(
                Counted { at: signal.at, arrived: with.now },
                line,
                request_id,
                signal.dyno,
            );
        }
        // Its room is kept.
        self.hits = hits;
        self.hits.clear();
    }

    fn match_of(&mut self, rule: RuleIndex, group: Group) -> &mut KeyMatches {
        let at = match self.keys.iter().position(|k| k.rule == rule && k.group == group) {
            Some(at) => at,
            None => {
                self.keys.push(KeyMatches {
                    rule,
                    group,
                    events: Vec::new(),
                    lines: Vec::new(),
                    request_id: Vec::new(),
                    dyno: Vec::new(),
                });
                self.keys.len() - 1
            }
        };
        &mut self.keys[at]
    }

    /// A made-up line of our own, such as a rejected delivery, for the rules that look for its kind.
    pub(crate) fn own(&mut self, with: &Reading<'_>, kind: Kind, text: &str) {
        let signal = Signal {
            at: with.now,
            source: dynowatch_domain::signal::Source::Heroku,
            kind,
            process: b"dynowatch",
            dyno: b"",
            code: None,
            status: None,
            path: None,
            text: text.as_bytes(),
        };
        with.matcher.hits(with.app, &signal, &mut self.hits);
        for rule in std::mem::take(&mut self.hits) {
            let group = Group::of(&with.matcher.rule(rule).group_by, &signal);
            let line = EvidenceLine::new(with.now, signal.source, signal.process, signal.text, Role::Match);
            self.match_of(rule, group).push(Counted { at: with.now, arrived: with.now }, line, b"", b"");
        }
    }
}

impl KeyMatches {
    fn push(&mut self, event: Counted, line: EvidenceLine, request_id: &[u8], dyno: &[u8]) {
        if self.events.len() < EVENTS_PER_KEY_MAX {
            self.events.push(event);
        }
        if self.lines.len() == EVIDENCE_LINES_MAX {
            self.lines.remove(0);
        }
        self.lines.push(line);
        self.request_id = request_id.to_vec();
        self.dyno = dyno.to_vec();
    }
}
