//! A rule on the past, before it is kept: what would it have told? Over the lines that this instance still has (what rules
//! took, evidence of alerts, the rings), a rule on a metric over the values of the last two hours, or over a log that
//! somebody brings; through [`crate::replay`], so that the answer is the one that `serve` would have given. Owns saying what
//! the answer rests on, since it rests on little: lines are not archived.
//!
//! Apps are tried one after the other, so that at most one ring is held, and what happens is counted as it comes.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::Arc;

use dynowatch_domain::blind::Blind;
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::metric::{SLOT, Step};
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::signal::Source;
use dynowatch_domain::threshold::Threshold;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_logplex::Format;
use dynowatch_store::StoreError;
use dynowatch_store::objects::ObjectKind;
use serde_json::Value;

use crate::metrics::SlotValue;
use crate::objects::{ObjectError, Problem};
use crate::replay::input::{Input, Piece};
use crate::replay::{Happening, Replay};
use crate::{App, Engine};

/// Lines of this instance that a rule is tried on, the newest.
const LINES_MAX: usize = 100_000;
/// Their texts, together.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Pages of rows that are read for them.
const PAGES_MAX: usize = 100;
/// Values of metrics that a rule is tried on.
const VALUES_MAX: usize = 2_000_000;
/// Lines between two looks at what happened.
const LINES_AT_ONCE: usize = 500;
/// Bytes of a log that somebody brings, unpacked.
pub const LOG_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Alerts that are told one by one; all are counted.
pub const ALERTS_MAX: usize = 50;

/// What a rule was tried on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// What it was: `stored` lines of this instance, or a `log` that was brought.
    pub of: Tried,
    /// Lines that were looked at, of the rule's apps.
    pub lines: u64,
    /// Values of metrics that were looked at, of ten seconds each.
    pub values: u64,
    /// Lines that could not be read.
    pub malformed: u64,
    /// The stamps of the oldest and the newest.
    pub from: Option<Timestamp>,
    /// The newest.
    pub until: Option<Timestamp>,
    /// The apps they are of, by name.
    pub apps: Vec<String>,
    /// Since when all lines of each app were there, where they were: what its ring still holds.
    pub whole_since: Vec<(String, Timestamp)>,
    /// What is missing, in sentences.
    pub missing: Vec<String>,
}

/// On which lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// Those of this instance.
    Stored,
    /// Those of a log that was brought.
    Log,
}

impl Tried {
    /// The name of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Log => "log",
        }
    }
}

/// What the rule would have done.
#[derive(Debug)]
pub struct Backtest {
    /// What it was tried on.
    pub coverage: Coverage,
    /// Lines that it takes.
    pub matched: u64,
    /// Alerts that would have fired.
    pub fired: u64,
    /// Messages that would have been sent, to each of its receivers.
    pub messages: u64,
    /// The first [`ALERTS_MAX`] alerts as they fire and resolve, oldest first, masked.
    pub happenings: Vec<Happening>,
}

/// Why a rule was not tried.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// Something is wrong with the rule.
    #[error(transparent)]
    Rule(#[from] ObjectError),
    /// The log cannot be read.
    #[error("{0}")]
    Log(String),
}

impl From<StoreError> for BacktestError {
    fn from(error: StoreError) -> Self {
        Self::Rule(error.into())
    }
}

impl Engine {
    /// The rule that this object would be. Nothing is kept.
    ///
    /// # Errors
    /// What is wrong with it, at which key.
    pub async fn rule_of(&self, name: &str, body: &Value) -> Result<Rule, ObjectError> {
        let problems = self.object_problems(ObjectKind::Rule, name, body).await?;
        if !problems.is_empty() {
            return Err(ObjectError::Wrong(problems));
        }
        let compose = self.shared.configuring.lock().await.compose.clone().ok_or(ObjectError::FileOnly)?;
        let composed = compose.compose(&self.objects().await?.with(ObjectKind::Rule, name, body));
        let wrong = |text: String| ObjectError::Wrong(vec![Problem { key: String::new(), text }]);
        let rule = composed.map_err(wrong)?.rules.into_iter().find(|rule| rule.name == name);
        // One that is switched off is tried as if it were on.
        rule.map(|rule| Rule { enabled: true, ..rule })
            .ok_or_else(|| wrong("a rule of the file has this name, and names of the file win".to_owned()))
    }

    /// Tries a rule on the lines that this instance has.
    ///
    /// # Errors
    /// When the store does not answer or the rule does not compile.
    pub async fn backtest_stored(&self, rule: &Rule) -> Result<Backtest, BacktestError> {
        if let Condition::Threshold(threshold) = &rule.condition {
            return self.backtest_values(rule, threshold).await;
        }
        let mut stored = Stored::default();
        self.gather_matches(&mut stored).await?;
        self.gather_evidence(&mut stored).await?;
        let (engine, rule) = (self.clone(), rule.clone());
        let tried = tokio::task::spawn_blocking(move || engine.try_stored(&rule, stored)).await;
        tried.map_err(|error| BacktestError::Log(format!("the trial broke off: {error}")))?
    }

    /// Tries a rule on a metric on the values that rules in force were judged by: of ten seconds, of the last two hours.
    async fn backtest_values(&self, rule: &Rule, threshold: &Threshold) -> Result<Backtest, BacktestError> {
        let now = self.now();
        let from = (now - Step::TenSeconds.kept()).floor(Step::TenSeconds.length());
        let blinds = self.store().all_blinds_between(from, now).await?;
        let mut apps: Vec<(AppId, String)> = self.apps().iter().map(|app| (app.id, app.name.clone())).collect();
        apps.retain(|(_, name)| rule.wants_app(name));
        apps.sort_unstable_by(|(_, a), (_, b)| a.cmp(b));
        let mut trial = Trial::new(Coverage::new(Tried::Stored));
        trial.coverage.missing.push(format!(
            "Values older than two hours (before {}): they are kept in longer steps, and a rule on a metric is judged by ten seconds.",
            from.for_people()
        ));
        let mut left = VALUES_MAX;
        let mut apps = apps.into_iter();
        for (app, name) in apps.by_ref() {
            let values = self.ten_second_values(app, &threshold.reads(), from, now, left).await?;
            left = left.saturating_sub(values.len());
            let of_app = blinds.iter().filter(|(of, _)| of.is_none_or(|of| of == app));
            let of_app: Vec<Blind> = of_app.map(|(_, blind)| blind.clone()).collect();
            let replay = self.replay(rule, &name)?;
            let tried = tokio::task::spawn_blocking(move || {
                trial.values(replay, &name, values, of_app, now);
                trial
            });
            trial = tried.await.map_err(|error| BacktestError::Log(format!("the trial broke off: {error}")))?;
            if left == 0 {
                break;
            }
        }
        let rest = apps.count();
        if rest > 0 {
            let words = format!("{rest} more apps: {VALUES_MAX} values were looked at. Name the apps that it is for.");
            trial.coverage.missing.push(words);
        }
        Ok(trial.done())
    }

    async fn gather_matches(&self, stored: &mut Stored) -> Result<(), StoreError> {
        let mut before = None;
        for _ in 0..PAGES_MAX {
            let (page, next) = self.store().matched_lines(before, 200).await?;
            stored.add(page);
            before = next;
            if before.is_none() || stored.is_cut {
                return Ok(());
            }
        }
        stored.is_cut = true;
        Ok(())
    }

    async fn gather_evidence(&self, stored: &mut Stored) -> Result<(), StoreError> {
        let mut before = None;
        for _ in 0..PAGES_MAX {
            let (page, next) = self.store().evidence_lines(before, 200).await?;
            stored.add(page);
            before = next;
            if before.is_none() || stored.is_cut {
                return Ok(());
            }
        }
        stored.is_cut = true;
        Ok(())
    }

    fn try_stored(&self, rule: &Rule, mut stored: Stored) -> Result<Backtest, BacktestError> {
        let directory = self.apps();
        let mut trial = Trial::new(Coverage::new(Tried::Stored));
        trial.coverage.missing = missing(rule, stored.is_cut.then_some(stored.lines));
        // The directory has no order of its own.
        let mut apps: Vec<&Arc<App>> = directory.iter().filter(|app| rule.wants_app(&app.name)).collect();
        apps.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        // Shares and silences are of all lines, and these are not all.
        let judgeable = matches!(rule.condition, Condition::Count { .. });
        for app in apps {
            let ring = self.ring_lines(app);
            trial.coverage.whole_since.extend(ring.first().map(|line| (app.name.clone(), line.at)));
            let mut lines = stored.apps.remove(&app.id).unwrap_or_default();
            lines.extend(ring);
            let lines = in_order(lines);
            trial.saw(&app.name, &lines);
            if judgeable && !lines.is_empty() {
                let mut replay = self.replay(rule, &app.name)?;
                let mut body = Vec::new();
                for some in lines.chunks(LINES_AT_ONCE) {
                    body.clear();
                    some.iter().for_each(|line| frame(line, &mut body));
                    replay.feed(Format::Logplex, &body);
                    trial.took(replay.happenings());
                }
                trial.ended(replay);
            }
        }
        Ok(trial.done())
    }

    /// Tries a rule on a log, plain or packed with gzip, as if it were of the app of that name. Reads it to its end or to
    /// [`LOG_BYTES_MAX`]: not for a thread that must answer others.
    ///
    /// # Errors
    /// When the log cannot be read or the rule does not compile.
    pub fn backtest_log(
        &self,
        rule: &Rule,
        app: &str,
        log: impl Read + Send + 'static,
    ) -> Result<Backtest, BacktestError> {
        // The rule is asked for this log, whatever apps it is for otherwise.
        let rule = Rule { apps: Vec::new(), ..rule.clone() };
        let unreadable = |error: std::io::Error| BacktestError::Log(format!("the log cannot be read: {error}"));
        let mut input = Input::new(Box::new(log), LOG_BYTES_MAX).map_err(unreadable)?;
        let format = input.format();
        let mut trial = Trial::new(Coverage::new(Tried::Log));
        trial.coverage.apps.push(app.to_owned());
        let mut replay = self.replay(&rule, app)?;
        while let Some(piece) = input.next_piece().map_err(unreadable)? {
            match piece {
                Piece::Entries(data) => replay.feed(format, data),
                Piece::LeftOut(reason) => replay.left_out(reason),
            }
            trial.took(replay.happenings());
        }
        if let Some(at) = input.unreadable_from() {
            trial
                .coverage
                .missing
                .push(format!("What stands behind byte {at}: a broken octet count makes it unreadable."));
        }
        if input.is_cut() {
            trial
                .coverage
                .missing
                .push(format!("What stands behind the first {} MiB, unpacked.", LOG_BYTES_MAX / (1024 * 1024)));
        }
        if let Condition::Threshold(threshold) = &rule.condition
            && threshold.metric == "dyno.count"
        {
            trial.coverage.missing.push(
                "The number of dynos before the log's first scaling: Heroku's API tells it, no line does.".to_owned(),
            );
        }
        trial.ended(replay);
        if trial.coverage.lines == 0 {
            return Err(BacktestError::Log(
                "the log holds no line that can be read: it is none of `heroku logs`, of a drain, or of Papertrail, plain or packed with gzip".to_owned(),
            ));
        }
        Ok(trial.done())
    }

    fn replay(&self, rule: &Rule, app: &str) -> Result<Replay, BacktestError> {
        let masker = (*self.masker()).clone();
        Replay::new(vec![rule.clone()], app, masker, self.shared.limits.groups_per_rule).map_err(|error| {
            ObjectError::Wrong(vec![Problem { key: "match.regex".into(), text: error.to_string() }]).into()
        })
    }
}

/// What is missing when a rule is tried on what this instance has.
fn missing(rule: &Rule, cut_after: Option<usize>) -> Vec<String> {
    let mut missing = vec![
        "Lines are not archived: only those that rules took, those around alerts, and the newest of each app in memory are there. A line that no rule took is missing if it is older than that.".to_owned(),
        "Of a storm, the newest ten lines of each commit are stored: counts are lower bounds.".to_owned(),
    ];
    match rule.condition {
        // Nobody writes a rule of a check: it is the check's own.
        Condition::Count { .. } | Condition::Check { .. } | Condition::Threshold(_) => {}
        Condition::Ratio { .. } | Condition::Absence { .. } => missing.push(
            "A share or an absence is of all lines, so it was not judged: bring a log that holds them all.".to_owned(),
        ),
    }
    if let Some(lines) = cut_after {
        missing.push(format!("Older stored lines: the newest {lines}, of all apps together, were looked at."));
    }
    missing
}

/// Lines by app, within bounds.
#[derive(Default)]
struct Stored {
    apps: HashMap<AppId, Vec<EvidenceLine>>,
    lines: usize,
    bytes: usize,
    /// There were more.
    is_cut: bool,
}

impl Stored {
    /// Takes the lines of a page as long as there is room.
    fn add(&mut self, page: Vec<(AppId, Vec<EvidenceLine>)>) {
        for (app, line) in page.into_iter().flat_map(|(app, lines)| lines.into_iter().map(move |line| (app, line))) {
            let bytes = self.bytes + line.text.len();
            if self.lines == LINES_MAX || bytes > BYTES_MAX {
                self.is_cut = true;
                return;
            }
            (self.lines, self.bytes) = (self.lines + 1, bytes);
            self.apps.entry(app).or_default().push(line);
        }
    }
}

/// By their stamps, each once: a line may have been taken by several rules, and stand in evidence and in the ring as well.
fn in_order(mut lines: Vec<EvidenceLine>) -> Vec<EvidenceLine> {
    let order = |a: &EvidenceLine, b: &EvidenceLine| {
        (a.at, a.source.as_str(), &a.process, &a.text).cmp(&(b.at, b.source.as_str(), &b.process, &b.text))
    };
    lines.sort_unstable_by(order);
    lines.dedup_by(|a, b| order(a, b).is_eq());
    lines
}

/// The line as a drain would bring it.
fn frame(line: &EvidenceLine, out: &mut Vec<u8>) {
    let source = if line.source == Source::Heroku { "heroku" } else { "app" };
    // A blank would end the name; Heroku's names have none.
    let process: Vec<u8> = line.process.iter().map(|&b| if b == b' ' { b'_' } else { b }).collect();
    let mut message = format!("<190>1 {} host {source} ", line.at).into_bytes();
    message.extend_from_slice(if process.is_empty() { b"-" } else { &process });
    message.extend_from_slice(b" - ");
    message.extend_from_slice(&line.text);
    message.push(b'\n');
    out.extend_from_slice(message.len().to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(&message);
}

impl Coverage {
    fn new(of: Tried) -> Self {
        Self {
            of,
            lines: 0,
            values: 0,
            malformed: 0,
            from: None,
            until: None,
            apps: Vec::new(),
            whole_since: Vec::new(),
            missing: Vec::new(),
        }
    }

    fn covers(&mut self, from: Timestamp, until: Timestamp) {
        self.from = Some(self.from.map_or(from, |known| known.min(from)));
        self.until = Some(self.until.map_or(until, |known| known.max(until)));
    }
}

/// A trial in progress.
struct Trial {
    coverage: Coverage,
    matched: u64,
    counts: BTreeMap<&'static str, u64>,
    happenings: Vec<Happening>,
}

impl Trial {
    fn new(coverage: Coverage) -> Self {
        Self { coverage, matched: 0, counts: BTreeMap::new(), happenings: Vec::new() }
    }

    fn saw(&mut self, app: &str, lines: &[EvidenceLine]) {
        if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
            self.coverage.apps.push(app.to_owned());
            self.coverage.covers(first.at, last.at);
        }
        self.coverage.lines += lines.len() as u64;
    }

    fn values(&mut self, mut replay: Replay, app: &str, values: Vec<SlotValue>, blinds: Vec<Blind>, until: Timestamp) {
        if let (Some((_, first, _)), Some((_, last, _))) = (values.first(), values.last()) {
            self.coverage.apps.push(app.to_owned());
            self.coverage.covers(*first, *last + SLOT);
            self.coverage.values += values.len() as u64;
            replay.know_blinds(blinds);
            replay.feed_values(values, until, |happenings| self.took(happenings));
            self.ended(replay);
        }
    }

    fn took(&mut self, happenings: Vec<Happening>) {
        for happening in happenings {
            *self.counts.entry(happening.what).or_default() += 1;
            if matches!(happening.what, "firing" | "fired_silently" | "resolved")
                && self.happenings.len() < 2 * ALERTS_MAX
            {
                self.happenings.push(happening);
            }
        }
    }

    fn ended(&mut self, replay: Replay) {
        let (last, summary) = replay.finish();
        self.took(last);
        self.matched += summary.counts.matched;
        if self.coverage.of == Tried::Log {
            self.coverage.lines += summary.counts.lines();
            self.coverage.malformed += summary.counts.malformed.iter().sum::<u64>();
            if let (Some(from), Some(until)) = (summary.from, summary.until) {
                self.coverage.covers(from, until);
            }
        }
    }

    fn done(mut self) -> Backtest {
        let count = |what: &str| self.counts.get(what).copied().unwrap_or(0);
        let (firing, silent, still) = (count("firing"), count("fired_silently"), count("still_firing"));
        self.happenings.sort_by_key(|happening| happening.at);
        Backtest {
            coverage: self.coverage,
            matched: self.matched,
            fired: firing + silent,
            messages: firing + still,
            happenings: self.happenings,
        }
    }
}

#[cfg(test)]
mod tests {
    use dynowatch_domain::evidence::Role;

    use super::*;

    /// What is kept of pages of ten lines of so many bytes each, until there is no room: lines, bytes.
    fn kept(bytes: usize) -> (usize, usize) {
        let text = vec![b'x'; bytes];
        let line = EvidenceLine::new(Timestamp::from_seconds(0), Source::App, b"web.1", &text, Role::Match);
        let mut stored = Stored::default();
        while !stored.is_cut {
            stored.add(vec![(AppId(uuid::Uuid::nil()), vec![line.clone(); 10])]);
        }
        let lines = stored.apps.values().flatten();
        let counted = lines.fold((0, 0), |(lines, bytes), line| (lines + 1, bytes + line.text.len()));
        assert_eq!((stored.lines, stored.bytes), counted);
        counted
    }

    #[test]
    fn as_much_is_gathered_as_there_is_room_for() {
        for (bytes, want) in [(100, (LINES_MAX, 100 * LINES_MAX)), (10_000, (1_677, 16_770_000))] {
            assert_eq!(kept(bytes), want, "lines of {bytes} bytes");
        }
    }
}
