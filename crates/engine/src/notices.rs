//! From what was decided to what is said: builds the [`Notice`] of a message, masked. How a channel renders it is `notify`'s.

use dynowatch_domain::alert::{Facts, NoticeKind};
use dynowatch_domain::evidence::EvidenceLine;
use dynowatch_domain::key::Key;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::notice::{NOTICE_EVIDENCE_CHARS_MAX, NOTICE_EVIDENCE_LINES_MAX, Notice};
use dynowatch_domain::parse::{show_duration, show_ppm};
use dynowatch_domain::rule::{Condition, Rule, Severity};
use dynowatch_domain::{AlertId, Timestamp};

/// What a notice is made of.
pub(crate) struct NoticeParts<'a> {
    pub(crate) kind: NoticeKind,
    pub(crate) alert: AlertId,
    pub(crate) key: &'a Key,
    pub(crate) rule: &'a Rule,
    pub(crate) app_name: String,
    pub(crate) facts: &'a Facts,
    pub(crate) suppressed: u64,
    pub(crate) lower_bound: Vec<String>,
    pub(crate) evidence: Vec<&'a EvidenceLine>,
    pub(crate) release: String,
    pub(crate) masker: &'a Masker,
    pub(crate) public_url: Option<&'a str>,
    pub(crate) resolved_at: Option<Timestamp>,
}

/// The notice, with every text that may come from a log line masked.
pub(crate) fn notice(parts: &NoticeParts<'_>) -> Notice {
    let mask = |text: &str| parts.masker.mask(text).into_owned();
    Notice {
        kind: parts.kind,
        alert: Some(parts.alert),
        key: mask(&parts.key.show(&parts.app_name).to_string()),
        rule: parts.rule.name.clone(),
        severity: parts.rule.severity,
        app: parts.app_name.clone(),
        group: parts.key.group.pairs().map(|(name, value)| (name.to_owned(), mask(value))).collect(),
        meaning: parts.rule.guidance.meaning.clone(),
        measured: mask(&measured(&parts.rule.condition, parts.facts)),
        threshold: parts.rule.condition.threshold(),
        window: window(&parts.rule.condition),
        at: parts.facts.at,
        first_at: parts.facts.first_at,
        last_at: parts.facts.last_at,
        suppressed: parts.suppressed,
        lower_bound: parts.lower_bound.clone(),
        evidence: parts.evidence.iter().take(NOTICE_EVIDENCE_LINES_MAX).map(|line| cut(&mask(&line.show()))).collect(),
        release: mask(&parts.release),
        runbook: parts.rule.runbook.clone(),
        link: parts.public_url.map(|url| format!("{}/alerts/{}", url.trim_end_matches('/'), parts.alert)),
        resolved_at: parts.resolved_at,
    }
}

/// A test message for one receiver.
#[must_use]
pub fn test_notice(receiver: &str, now: Timestamp) -> Notice {
    Notice {
        kind: NoticeKind::Test,
        alert: None,
        key: format!("test/{receiver}"),
        rule: receiver.to_owned(),
        severity: Severity::Info,
        app: String::new(),
        group: Vec::new(),
        meaning: String::new(),
        measured: String::new(),
        threshold: String::new(),
        window: String::new(),
        at: now,
        first_at: now,
        last_at: now,
        suppressed: 0,
        lower_bound: Vec::new(),
        evidence: Vec::new(),
        release: String::new(),
        runbook: None,
        link: None,
        resolved_at: None,
    }
}

/// The window in words; empty where there is none.
pub(crate) fn window(condition: &Condition) -> String {
    match condition {
        Condition::Check { .. } => String::new(),
        other => show_duration(other.window()),
    }
}

/// The measured number with its unit.
pub(crate) fn measured(condition: &Condition, facts: &Facts) -> String {
    let at_least = if facts.lower_bound { "at least " } else { "" };
    let plural = |n: u64, word: &str| format!("{at_least}{n} {word}{}", if n == 1 { "" } else { "s" });
    match (condition, facts.of) {
        (Condition::Ratio { .. }, Some(all)) => {
            let share = facts.count.saturating_mul(1_000_000).checked_div(all).unwrap_or(0);
            format!("{} of {all} requests ({})", facts.count, show_ppm(share / 1_000 * 1_000))
        }
        (Condition::Threshold(_), _) => {
            facts.level.as_ref().map_or_else(|| "no data".to_owned(), |level| format!("{at_least}{level}"))
        }
        (Condition::Check { measured, .. }, _) => measured.clone(),
        (Condition::Absence { .. }, _) => plural(facts.count, "line"),
        (Condition::Count { .. } | Condition::Ratio { .. }, _) => plural(facts.count, "event"),
    }
}

fn cut(text: &str) -> String {
    let mut chars = text.chars();
    let kept: String = chars.by_ref().take(NOTICE_EVIDENCE_CHARS_MAX).collect();
    if chars.next().is_some() { format!("{kept} …") } else { kept }
}
