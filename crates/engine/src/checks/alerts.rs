//! From a check's outage to its alert: the rule it stands under, its key, its evidence and its diagnosis. The alert then
//! takes the way of every alert: track, decisions, outbox, resolve.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::check::diagnosis::{self, Active, Drain, Passive, Siblings};
use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::check::state::Why;
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::parse::show_duration;
use dynowatch_domain::rule::{Condition, MatchSpec, Origin, Rule, Severity};
use dynowatch_domain::signal::{Code, Source};
use dynowatch_domain::{AppId, Timestamp};

use crate::Shared;
use crate::apps::lock;

/// What stands before a check's name in the key of its alert. No rule's name has a colon.
pub const RULE_PREFIX: &str = "check:";
/// The alert that says that this instance is blind.
pub const BLIND_RULE: &str = "checks:blind";
/// An outage holds until its end is known; the track is told this much.
pub(crate) const HOLDS: Duration = Duration::from_secs(100 * 365 * 86_400);
/// How far back "lately" reaches in a diagnosis.
const LATELY: Duration = Duration::from_secs(300);
/// How often the totals of apps are noted.
const NOTED_EVERY: Duration = Duration::from_secs(30);
/// Notes kept of one app: twice [`LATELY`] and one more.
const NOTES_MAX: usize = 22;

/// The name under which a check's alerts stand.
#[must_use]
pub fn rule_name(check: &str) -> String {
    format!("{RULE_PREFIX}{check}")
}

/// The rule that a check's alert stands under at this moment; `measured` is what is told of it.
pub(crate) fn rule_of(check: &Check, measured: String, diagnosis: String) -> Arc<Rule> {
    let thresholds = &check.thresholds;
    let runs = match thresholds.failures {
        1 => "1 failed run".to_owned(),
        n => format!("{n} failed runs in a row"),
    };
    let threshold = match thresholds.failing_for {
        Some(time) => format!("{runs}, or failing for {}", show_duration(time)),
        None => runs,
    };
    let mut rule = told_at_once(&rule_name(&check.name), measured, threshold);
    rule.severity = check.severity;
    rule.runbook.clone_from(&check.runbook);
    rule.receivers.clone_from(&check.receivers);
    rule.send_resolved = check.send_resolved;
    rule.guidance.meaning = diagnosis;
    Arc::new(rule)
}

/// A rule without cool-down and calm: when to tell is decided by the state machine.
fn told_at_once(name: &str, measured: String, threshold: String) -> Rule {
    Rule {
        origin: Origin::Store,
        cooldown: Duration::ZERO,
        resolve_after: Duration::ZERO,
        ..Rule::new(name, MatchSpec::default(), Condition::Check { measured, threshold })
    }
}

/// The rule of the alert about our own blindness.
pub(crate) fn blind_rule(receivers: &[String], measured: String) -> Arc<Rule> {
    let mut rule = told_at_once(BLIND_RULE, measured, "no control target answers".to_owned());
    rule.severity = Severity::Critical;
    rule.receivers = receivers.to_vec();
    rule.send_resolved = true;
    "Our own way out is broken: nothing is known of any target, and no check is called down."
        .clone_into(&mut rule.guidance.meaning);
    Arc::new(rule)
}

/// `connect_refused in connect: Nothing listens on that port. (203.0.113.5:443)`.
pub(crate) fn seen(observation: &Observation) -> String {
    let mut text =
        observation.reason.map_or_else(|| observation.outcome.name().to_owned(), |reason| reason.name().to_owned());
    if let Some(phase) = observation.failed_phase {
        text.push_str(" in ");
        text.push_str(phase.name());
    }
    let detail = match observation.reason {
        Some(reason) if observation.detail.is_empty() => reason.sentence(),
        _ => &observation.detail,
    };
    if !detail.is_empty() {
        text.push_str(": ");
        text.push_str(detail);
    }
    text
}

/// What a message says of an outage.
pub(crate) fn measured(why: Why, observation: &Observation) -> String {
    match why {
        Why::Down => seen(observation),
        Why::Flapping => format!("flapping; the last run: {}", seen(observation)),
        Why::SettledDown => format!("no longer flapping, and not up: {}", seen(observation)),
    }
}

/// A failed run as a line of evidence.
pub(crate) fn line(check: &Check, observation: &Observation) -> EvidenceLine {
    let mut text = format!("{} {} {}", check.name, observation.outcome.name(), seen(observation));
    let parts = observation.phases.parts();
    if observation.phases.total_us > 0 {
        let parts: Vec<String> =
            parts.iter().map(|(phase, micros)| format!("{} {} ms", phase.name(), micros / 1_000)).collect();
        text.push_str(&format!(" [total {} ms", observation.phases.total_us / 1_000));
        if !parts.is_empty() {
            text.push_str(&format!(": {}", parts.join(", ")));
        }
        text.push(']');
    }
    if let Some(peer) = &observation.peer {
        text.push_str(&format!(" {} {}", peer.address, peer.family()));
    }
    for failed in observation.assertions.iter().filter(|result| !result.why.is_empty()).take(5) {
        text.push_str(&format!("; {}: {}", failed.text, failed.why));
    }
    EvidenceLine::new(observation.started_at, Source::Dynowatch, b"check", text.as_bytes(), Role::Match)
}

/// The line of diagnosis, from what is known beside the check.
pub(crate) fn diagnose(
    shared: &Shared,
    check: &Check,
    app: Option<AppId>,
    observation: &Observation,
    now: Timestamp,
) -> String {
    let passive = Passive {
        drain: app
            .filter(|_| check.app.is_some() && is_of_traffic(check))
            .and_then(|app| shared.checks.drains.of(shared, app, now)),
        siblings: siblings(shared, check),
    };
    diagnosis::line(Active { outcome: observation.outcome, reason: observation.reason }, &passive)
}

/// Whether the drain's requests say something of what this check looks at.
fn is_of_traffic(check: &Check) -> bool {
    matches!(check.kind, CheckKind::Web(_) | CheckKind::Tcp(_) | CheckKind::Tls(_) | CheckKind::Dns(_))
}

fn siblings(shared: &Shared, check: &Check) -> Siblings {
    let Some(app) = &check.app else { return Siblings::default() };
    let mut found = Siblings::default();
    let failing = lock(&shared.checks.failing);
    for other in shared.checks.book.load().checks.values() {
        if other.app.as_ref() == Some(app) && other.name != check.name {
            found.of += 1;
            found.failing += u32::from(failing.contains(&other.name));
        }
    }
    found
}

/// What the drains of apps said lately, as this process saw it: totals, noted now and then.
#[derive(Default)]
pub(crate) struct Drains(Mutex<HashMap<AppId, VecDeque<Noted>>>);

struct Noted {
    at: Timestamp,
    requests: u64,
    failed: u64,
    codes: HashMap<Code, u64>,
}

impl Drains {
    /// Notes the totals of apps that checks are about.
    pub(crate) fn note(&self, shared: &Shared, now: Timestamp) {
        let book = shared.checks.book.load();
        let directory = shared.apps.load();
        let wanted: Vec<_> =
            book.checks.values().filter_map(|check| directory.by_name(check.app.as_deref()?)).collect();
        let mut notes = lock(&self.0);
        notes.retain(|app, _| wanted.iter().any(|wanted| wanted.id == *app));
        for app in wanted {
            let of_app = notes.entry(app.id).or_default();
            if of_app.back().is_some_and(|last| now >= last.at && now.since(last.at) < NOTED_EVERY) {
                continue;
            }
            if of_app.len() == NOTES_MAX {
                of_app.pop_front();
            }
            of_app.push_back(noted(app, now));
        }
    }

    fn of(&self, shared: &Shared, app: AppId, now: Timestamp) -> Option<Drain> {
        let directory = shared.apps.load();
        let app = directory.by_id(app)?;
        let newest_at = lock(&app.live.totals).newest_at;
        if newest_at == Timestamp::UNIX_EPOCH {
            return None;
        }
        let notes = lock(&self.0);
        let of_app = notes.get(&app.id)?;
        let before = |at: Timestamp| of_app.iter().rev().find(|noted| noted.at <= at);
        let (present, middle) = (noted(app, now), before(now - LATELY)?);
        let first = before(middle.at - LATELY);
        let mut codes: Vec<(Code, u64, u64)> = Vec::new();
        for (code, count) in &present.codes {
            let then = middle.codes.get(code).copied().unwrap_or(0);
            let earlier = first.map_or(0, |first| first.codes.get(code).copied().unwrap_or(0));
            codes.push((
                *code,
                count.saturating_sub(then),
                if first.is_some() { then.saturating_sub(earlier) } else { 0 },
            ));
        }
        codes.sort_unstable();
        Some(Drain {
            window: LATELY,
            silent_for: now.since(newest_at),
            requests: present.requests.saturating_sub(middle.requests),
            failed: present.failed.saturating_sub(middle.failed),
            codes,
        })
    }
}

fn noted(app: &crate::App, now: Timestamp) -> Noted {
    let totals = lock(&app.live.totals);
    let classes = &totals.counts.status_classes;
    Noted {
        at: now,
        requests: classes.iter().sum(),
        failed: classes.last().copied().unwrap_or(0),
        codes: totals.codes.iter().map(|(code, count)| (*code, *count)).collect(),
    }
}
