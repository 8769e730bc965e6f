//! A notice: what a message says, as data. It is made once, when the intent is written, already masked; every channel
//! renders the same notice its own way, and [`Notice::text`] is the plain one. No channel's markup here.

use serde::{Deserialize, Serialize};

use crate::alert::NoticeKind;
use crate::key::OTHER_GROUP;
use crate::rule::Severity;
use crate::{AlertId, Timestamp};

/// What a message says. Every text is masked; texts from log lines are still to be escaped by the channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What kind of message.
    pub kind: NoticeKind,
    /// The alert; none for a test message.
    pub alert: Option<AlertId>,
    /// The key, as in `h12/shop-web`. The deduplication key for whoever receives it.
    pub key: String,
    /// The rule's name.
    pub rule: String,
    /// How urgent.
    pub severity: Severity,
    /// The app's name when it fired.
    pub app: String,
    /// Name and value of each part of the group.
    pub group: Vec<(String, String)>,
    /// What the rule's guidance says it means; empty when it says nothing.
    pub meaning: String,
    /// The count with its unit, as in `4 events`, `12 of 80 requests`, `0 lines`; `at least` for a lower bound.
    pub measured: String,
    /// The limit, as in `> 3`.
    pub threshold: String,
    /// The window, as in `5m`.
    pub window: String,
    /// The stamp of the line that tipped it.
    pub at: Timestamp,
    /// The first event of the episode.
    pub first_at: Timestamp,
    /// The newest event.
    pub last_at: Timestamp,
    /// Matches held back since the last message.
    pub suppressed: u64,
    /// Why counts may be too low: lost lines, our own blind time.
    pub lower_bound: Vec<String>,
    /// First and last evidence lines, masked.
    pub evidence: Vec<String>,
    /// The sentence about the newest release.
    pub release: String,
    /// Where to read on.
    pub runbook: Option<String>,
    /// The alert's page, when the instance knows its public URL.
    pub link: Option<String>,
    /// For a resolve notice, and for a firing notice that could not be sent in time: when it was over.
    pub resolved_at: Option<Timestamp>,
}

/// The most evidence lines of a message; the page shows all.
pub const NOTICE_EVIDENCE_LINES_MAX: usize = 2;
/// A longer evidence line is cut in a message.
pub const NOTICE_EVIDENCE_CHARS_MAX: usize = 600;

impl Notice {
    /// The first line: what happens to whom.
    #[must_use]
    pub fn title(&self) -> String {
        let group = group_in_words(self.group.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let group = if group.is_empty() { group } else { format!(" ({group})") };
        let what = match (self.kind, self.resolved_at) {
            (NoticeKind::Test, _) => return format!("[test] dynowatch reaches this receiver ({})", self.rule),
            (NoticeKind::Resolved, _) => "resolved",
            (_, Some(_)) => "fired and resolved",
            (NoticeKind::Firing, None) => "firing",
            (NoticeKind::StillFiring, None) => "still firing",
        };
        format!("[{what}] {} on {}{group}", self.rule, self.app)
    }

    /// The lines below the title, as name and text. Only lines that have something to say.
    #[must_use]
    pub fn facts(&self) -> Vec<(&'static str, String)> {
        if self.kind == NoticeKind::Test {
            return vec![("Sent", format!("{}, by hand; no alert is behind it", self.at.for_people()))];
        }
        let mut facts = vec![("Severity", self.severity.as_str().to_owned())];
        let mut add = |name, text: String| {
            if !text.is_empty() {
                facts.push((name, text));
            }
        };
        if self.window.is_empty() {
            // A check has no window; what is known beside it is its diagnosis.
            add("Found", self.measured.clone());
            add("Threshold", self.threshold.clone());
            add("Diagnosis", self.meaning.clone());
        } else {
            add("Meaning", self.meaning.clone());
            add("Condition", format!("{} in {} (threshold {})", self.measured, self.window, self.threshold));
        }
        add("At", self.at.for_people());
        add("Since", if self.first_at == self.at { String::new() } else { self.first_at.for_people() });
        add(
            "Held back",
            if self.suppressed == 0 {
                String::new()
            } else {
                format!("{} more matches since the last message", self.suppressed)
            },
        );
        add("Lower bound", self.lower_bound.join("; "));
        add("Release", self.release.clone());
        add("Resolved", self.resolved_at.map(Timestamp::for_people).unwrap_or_default());
        add("Runbook", self.runbook.clone().unwrap_or_default());
        add("Alert", self.link.clone().unwrap_or_default());
        facts
    }

    /// The whole message as plain text, evidence last.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = self.title();
        for (name, value) in self.facts() {
            text.push_str(&format!("\n{name}: {value}"));
        }
        for line in &self.evidence {
            text.push_str("\n> ");
            text.push_str(line);
        }
        text
    }
}

/// A group as people say it: `web`, `web.1`, `/orders, status 503`. Empty for none.
#[must_use]
pub fn group_in_words<'a>(group: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let parts = group.into_iter().map(|(name, value)| match name {
        // What these say is clear from their form.
        "process_type" | "dyno" | "path_prefix" | "code" if !value.is_empty() => value.to_owned(),
        "group" if value == OTHER_GROUP => "groups over the limit".to_owned(),
        _ => format!("{} {}", name.replace('_', " "), if value.is_empty() { "unknown" } else { value }),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
#[path = "notice_tests.rs"]
mod tests;
