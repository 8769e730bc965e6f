//! From what a run did to what it says: assertions are evaluated, and the weightiest of all findings speaks. Owns that
//! order, and that everything which leaves is masked and bounded.

use dynowatch_domain::check::assertion::worst;
use dynowatch_domain::check::fact::Value;
use dynowatch_domain::check::{AssertionResult, Check, Memory, Observation, Outcome, Reason};

use crate::Run;
use crate::trace::Trace;

/// More results of one reason are counted, not quoted.
const QUOTED_MAX: usize = 3;

pub(crate) fn run(check: &Check, mut trace: Trace) -> Run {
    // An answer that did not come took no time: `response` is there only if the run came to its end.
    let is_complete = trace.failed_phase.is_none() && !trace.findings.iter().any(|finding| is_dead_end(finding.reason));
    if is_complete {
        trace.facts.set("response", Value::micros(trace.phases.total_us));
    }
    let assertions: Vec<AssertionResult> = check
        .assertions
        .iter()
        .map(|assertion| assertion.evaluate(&trace.facts, trace.memory.failing.contains(assertion.as_str())))
        .collect();
    remember(check, &assertions, &mut trace);
    for result in &assertions {
        let word = if result.reason.is_none() { "holds" } else { "does not hold" };
        trace.note(format!("{} {word}: {}", result.text, result.seen));
    }
    let (reason, detail) = match weightiest(&trace, &assertions) {
        Some((reason, detail)) => (Some(reason), trace.masked(&detail)),
        None => (None, String::new()),
    };
    let outcome = reason.map_or(Outcome::Up, Reason::outcome);
    if reason.is_some() && !trace.body.is_empty() {
        trace.received(format!("body: {}", trace.body));
    }
    trace.note(match reason {
        None => "up".to_owned(),
        Some(reason) => format!("{outcome}, {reason}: {detail}"),
    });
    let mut facts = trace.facts.clone();
    facts.map_texts(|text| trace.masked(text));
    let masked = |result: AssertionResult| AssertionResult {
        seen: trace.masked(&result.seen),
        why: trace.masked(&result.why),
        ..result
    };
    let assertions = assertions.into_iter().map(masked).collect();
    let observation = Observation {
        started_at: trace.now,
        outcome,
        reason,
        detail,
        failed_phase: trace.failed_phase,
        phases: trace.phases,
        peer: trace.peer,
        facts: facts.bounded(),
        assertions,
        certificate: trace.chain,
        notes: trace.notes,
    };
    Run { observation, memory: trace.memory, transcript: trace.transcript }
}

/// Whether nothing was asked because of it.
fn is_dead_end(reason: Reason) -> bool {
    matches!(reason, Reason::TargetMissing | Reason::TargetInvalid | Reason::AddressRefused | Reason::ProberFailed)
}

/// An assertion that could not be judged keeps its former state: its clear level is not lost with one timeout.
fn remember(check: &Check, results: &[AssertionResult], trace: &mut Trace) {
    let texts = check.assertions.iter().map(|assertion| assertion.as_str().to_owned()).collect();
    let memory: &mut Memory = &mut trace.memory;
    memory.failing = memory.failing.intersection(&texts).cloned().collect();
    for (assertion, result) in check.assertions.iter().zip(results) {
        if assertion.is_judged(&trace.facts) {
            if result.reason.is_none() {
                memory.failing.remove(&result.text);
            } else {
                memory.failing.insert(result.text.clone());
            }
        }
    }
}

/// Findings of the run come before assertions of the same weight: they are the cause.
fn weightiest(trace: &Trace, assertions: &[AssertionResult]) -> Option<(Reason, String)> {
    let found = trace.findings.iter().reduce(
        |worst, next| {
            if next.reason.weight() > worst.reason.weight() { next } else { worst }
        },
    );
    let asserted = worst(assertions).and_then(|result| result.reason);
    match (found, asserted) {
        (Some(found), Some(asserted)) if asserted.weight() > found.reason.weight() => {
            Some((asserted, quoted(assertions, asserted)))
        }
        (Some(found), _) => Some((found.reason, found.detail.clone())),
        (None, Some(asserted)) => Some((asserted, quoted(assertions, asserted))),
        (None, None) => None,
    }
}

fn quoted(assertions: &[AssertionResult], reason: Reason) -> String {
    let of_reason: Vec<&str> =
        assertions.iter().filter(|result| result.reason == Some(reason)).map(|result| result.why.as_str()).collect();
    let mut text = of_reason.iter().take(QUOTED_MAX).copied().collect::<Vec<_>>().join("; ");
    if of_reason.len() > QUOTED_MAX {
        text.push_str(&format!("; and {} more", of_reason.len() - QUOTED_MAX));
    }
    text
}
