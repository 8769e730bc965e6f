//! What a replay tells: decisions as the stage of a log shows them, masked. How they are printed is the CLI's.

use std::collections::HashMap;

use dynowatch_domain::alert::{Effect, Facts, NoticeKind};
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::key::Key;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{Condition, Rule};
use dynowatch_domain::{AlertId, Timestamp};
use dynowatch_store::{Changes, FiredAlert};

use crate::notices::measured;

/// One thing the rules would have done.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Happening {
    /// `firing`, `still_firing`, `fired_silently`, `resolved`, `cooldown`, `merged`, or `held_unknown`: there was nothing to
    /// judge an open alert by.
    pub what: &'static str,
    /// The stamp of the line that did it, or when a timer ended.
    pub at: Timestamp,
    /// The key, as in `h12/shop-web`, masked.
    pub key: String,
    /// The rule's name.
    pub rule: String,
    /// The app's name.
    pub app: String,
    /// Events in the window; `None` for a rule on a metric.
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

/// The changes of one key, to be told.
pub(super) struct Tell<'a> {
    pub(super) key: &'a Key,
    pub(super) rule: &'a Rule,
    pub(super) app: &'a str,
    pub(super) now: Timestamp,
    pub(super) masker: &'a Masker,
    pub(super) changes: &'a Changes,
}

impl Tell<'_> {
    /// What happened, in its order.
    pub(super) fn happenings(&self) -> Vec<Happening> {
        let Self { rule, changes, .. } = self;
        let mut happenings = Vec::new();
        let show = |line: &EvidenceLine| self.masker.mask(&line.show()).into_owned();
        let matches = |fired: &FiredAlert| fired.evidence.iter().filter(|line| line.role == Role::Match).count();
        let mut evidence: HashMap<AlertId, (Vec<String>, usize)> = changes
            .fired
            .iter()
            .map(|fired| (fired.id, (fired.evidence.iter().map(show).collect(), matches(fired))))
            .collect();
        let counted = !matches!(rule.condition, Condition::Threshold(_));
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
                Effect::HeldUnknown { .. } => ("held_unknown", None, 0),
                Effect::Fired { .. } | Effect::PendingBegan { .. } | Effect::PendingDropped { .. } => continue,
            };
            let told = matches!(effect, Effect::Notify { .. })
                || (matches!(effect, Effect::Resolved { told: true, .. }) && rule.send_resolved);
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
            happenings.push(Happening {
                what,
                at: self.now,
                key: self.masker.mask(&self.key.show(self.app).to_string()).into_owned(),
                rule: rule.name.clone(),
                app: self.app.to_owned(),
                count: facts.filter(|_| counted).map(|facts| facts.count),
                measured: facts.map(|facts| measured(&rule.condition, facts)),
                condition: rule.condition.to_string(),
                suppressed,
                receivers: if told { rule.receivers.clone() } else { Vec::new() },
                release: sentence,
                evidence,
                matches,
            });
        }
        happenings
    }
}
