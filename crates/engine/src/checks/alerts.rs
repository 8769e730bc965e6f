//! From a check's outage to its alert: the rule it stands under, its key and its evidence; the diagnosis comes from
//! `evidence`. The alert then takes the way of every alert: track, decisions, outbox, resolve.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::check::Check;
use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::check::state::Why;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::parse::show_duration;
use dynowatch_domain::rule::{Condition, MatchSpec, Origin, Rule, Severity};
use dynowatch_domain::signal::Source;

/// What stands before a check's name in the key of its alert. No rule's name has a colon.
pub const RULE_PREFIX: &str = "check:";
/// The alert that says that this instance is blind.
pub const BLIND_RULE: &str = "checks:blind";
/// An outage holds until its end is known; the track is told this much.
pub(crate) const HOLDS: Duration = Duration::from_secs(100 * 365 * 86_400);

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
