//! The alert that says that a certificate will end, beside the one that says that its check is down: its key, its words, its
//! evidence. When there is something to say, [`dynowatch_domain::check::certificate`] decides.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::alert::{Facts, ResolveReason, Verdict};
use dynowatch_domain::check::Check;
use dynowatch_domain::check::certificate::{News, WARNED_AT_DAYS};
use dynowatch_domain::check::observation::Observation;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::rule::{Condition, Rule, Severity};
use dynowatch_domain::signal::Source;

use super::alerts::{self, HOLDS};
use crate::evaluate::Input;

/// The group of such alerts under the rule of their check.
pub(crate) const GROUP: &str = "about=certificate";

/// The rule that such an alert stands under at this moment, and what happens to it.
pub(crate) fn told(check: &Check, news: News, observation: &Observation, now: Timestamp) -> (Arc<Rule>, Input) {
    let subject = observation.certificate.as_ref().and_then(|chain| chain.presented.first());
    let subject = subject.map_or("the certificate", |leaf| leaf.subject.as_str());
    match news {
        News::Ends { ends_at, days, since } => {
            let severity = if days > 1 { check.severity.min(Severity::Warning) } else { check.severity };
            let measured = format!("{subject} ends at {}, in {}", ends_at.for_people(), days_left(ends_at.since(now)));
            let facts = Facts { count: 1, at: now, first_at: since, last_at: now, ..Facts::default() };
            // Each of the days is told, although the alert is open since the first of them.
            let verdict = Verdict::Holds { facts, until: now + HOLDS, fresh: true };
            let lines = vec![line(check, observation, &measured)];
            (rule(check, measured, severity), Input::Check { alert: None, verdict, lines })
        }
        News::Replaced { ends_at } => {
            let measured = format!("{subject} was replaced by one that holds until {}", ends_at.for_people());
            let input = Input::Check { alert: None, verdict: Verdict::Fails { matched: None }, lines: Vec::new() };
            (rule(check, measured, check.severity), input)
        }
        News::Dropped => {
            let measured = "this check does not warn of certificates any more".to_owned();
            (rule(check, measured, check.severity), Input::Close(ResolveReason::RuleGone))
        }
    }
}

fn rule(check: &Check, measured: String, severity: Severity) -> Arc<Rule> {
    let meaning =
        "Once a certificate has ended, nobody can connect any more. Renew it, or find out why it was not renewed.";
    let mut rule = Rule::clone(&alerts::rule_of(check, String::new(), meaning.to_owned()));
    let days = WARNED_AT_DAYS.map(|days| days.to_string()).join(", ");
    rule.condition = Condition::Check { measured, threshold: format!("told {days} days before its end") };
    rule.severity = severity;
    Arc::new(rule)
}

fn line(check: &Check, observation: &Observation, measured: &str) -> EvidenceLine {
    let leaf = observation.certificate.as_ref().and_then(|chain| chain.presented.first());
    let more = leaf.map(|leaf| format!("; issued by {}, for {}", leaf.issuer, leaf.names.join(", ")));
    let peer = observation.peer.as_ref().map(|peer| format!(" {} {}", peer.address, peer.family()));
    let text = format!("{} {measured}{}{}", check.name, more.unwrap_or_default(), peer.unwrap_or_default());
    EvidenceLine::new(observation.started_at, Source::Dynowatch, b"check", text.as_bytes(), Role::Match)
}

/// `6 days`; under two days `23 h`.
fn days_left(left: Duration) -> String {
    match left.as_secs() / 86_400 {
        days @ 2.. => format!("{days} days"),
        _ => format!("{} h", left.as_secs() / 3_600),
    }
}
