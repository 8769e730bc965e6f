//! What a message looks like in Slack: a heading, a bar in the colour of the severity, facts, evidence in code blocks,
//! and the same as plain text for notifications and screen readers. Pure.
//!
//! Slack reads markup in what it is sent, so every text is made inert: `&`, `<` and `>` escaped, so that nothing becomes
//! a link or a mention; characters that format put into inline code; code fences broken up; automatic links, names and
//! previews off. Limits are Slack's, counted in UTF-16 units after escaping, the strictest way to count.

use dynowatch_domain::alert::NoticeKind;
use dynowatch_domain::delivery::Outgoing;
use dynowatch_domain::notice::{NOTICE_EVIDENCE_LINES_MAX, Notice};
use dynowatch_domain::rule::Severity;
use serde_json::{Value, json};

use crate::inert::inert_notice;

/// Of a `header` block.
const HEADING_MAX: usize = 150;
/// Of the text of a `section`.
const SECTION_MAX: usize = 3_000;
/// Of the plain text; Slack advises no more than 4,000.
const TEXT_MAX: usize = 3_900;
/// Of one fact. Facts and evidence together stay within [`TEXT_MAX`] unless many are long.
const FACT_MAX: usize = 600;
/// Of one evidence line in the plain text.
const TEXT_EVIDENCE_MAX: usize = 700;
/// The evidence of the longest kind leaves room for the title and three facts of the longest kind.
const _: () = assert!(NOTICE_EVIDENCE_LINES_MAX * (TEXT_EVIDENCE_MAX + 1) + 4 * FACT_MAX <= TEXT_MAX);
/// More sections of facts are not shown, for the same reason.
const FACT_SECTIONS_MAX: usize = 3;
/// A longer URL is shown as text: cut, it would lead elsewhere.
const URL_MAX: usize = 500;
/// Invisible, and joins what it stands between: breaks a run of characters without a visible change.
const JOINER: char = '\u{2060}';

const DUPLICATE: &str = "Possible duplicate: an earlier attempt to send this message had no known outcome.";

/// The body of `chat.postMessage`.
pub(crate) fn message(channel: &str, outgoing: &Outgoing) -> Value {
    let notice = inert_notice(&outgoing.notice);
    let mut body = plain_message(channel, outgoing);
    let heading = escape(&notice.title(), HEADING_MAX);
    let mut top = vec![json!({"type": "header", "text": {"type": "plain_text", "text": heading, "emoji": false}})];
    if outgoing.possible_duplicate {
        top.push(json!({"type": "context", "elements": [mrkdwn(DUPLICATE.to_owned())]}));
    }
    let facts = notice.facts().into_iter().map(|(name, value)| format!("*{name}:* {}", fact(&value)));
    let mut details: Vec<Value> = sections(facts).into_iter().map(section).collect();
    details.extend(notice.evidence.iter().take(NOTICE_EVIDENCE_LINES_MAX).map(|line| section(code_block(line))));
    body["blocks"] = top.into();
    body["attachments"] = json!([{"color": colour(&notice), "blocks": details}]);
    body
}

/// The same without layout, for a Slack that refuses the layout.
pub(crate) fn plain_message(channel: &str, outgoing: &Outgoing) -> Value {
    json!({
        "channel": channel,
        "client_msg_id": outgoing.id.to_string(),
        "text": plain_text(outgoing),
        "mrkdwn": false,
        "parse": "none",
        "link_names": false,
        "unfurl_links": false,
        "unfurl_media": false,
    })
}

/// Title, facts, evidence. Evidence has its place reserved; facts that do not fit beside it are left out.
fn plain_text(outgoing: &Outgoing) -> String {
    let notice = inert_notice(&outgoing.notice);
    let evidence: Vec<String> = notice
        .evidence
        .iter()
        .take(NOTICE_EVIDENCE_LINES_MAX)
        .map(|line| format!("\n{}", escape(&format!("> {line}"), TEXT_EVIDENCE_MAX)))
        .collect();
    let mut room = TEXT_MAX.saturating_sub(evidence.iter().map(|line| units(line)).sum());
    let mut text = String::new();
    let title = escape(&notice.title(), FACT_MAX);
    let duplicate = outgoing.possible_duplicate.then(|| DUPLICATE.to_owned());
    let facts = notice.facts().into_iter().map(|(name, value)| format!("{name}: {}", escape(&value, FACT_MAX)));
    for line in [title].into_iter().chain(duplicate).chain(facts) {
        if units(&line) < room {
            room -= units(&line) + 1;
            if !text.is_empty() {
                text.push('\n');
            }
            text.push_str(&line);
        }
    }
    text.extend(evidence);
    text
}

fn colour(notice: &Notice) -> &'static str {
    match (notice.kind, notice.severity) {
        (NoticeKind::Test, _) => "#6b7280",
        (NoticeKind::Resolved, _) => "#2e7d32",
        _ if notice.resolved_at.is_some() => "#2e7d32",
        (_, Severity::Critical) => "#b3261e",
        (_, Severity::Warning) => "#e8a317",
        (_, Severity::Info) => "#4a7fb5",
    }
}

/// Lines packed into as few section texts as their limit allows.
fn sections(lines: impl Iterator<Item = String>) -> Vec<String> {
    let mut sections: Vec<String> = Vec::new();
    for line in lines {
        match sections.last_mut() {
            Some(last) if units(last) + 1 + units(&line) <= SECTION_MAX => {
                last.push('\n');
                last.push_str(&line);
            }
            _ => sections.push(line),
        }
    }
    sections.truncate(FACT_SECTIONS_MAX);
    sections
}

fn section(text: String) -> Value {
    json!({"type": "section", "text": mrkdwn(text)})
}

fn mrkdwn(text: String) -> Value {
    json!({"type": "mrkdwn", "text": text, "verbatim": true})
}

/// A value behind its name: a link if that is all it is, inline code if its characters would format, else as it is.
fn fact(value: &str) -> String {
    if is_link(value) {
        // Slack unescapes URLs, so an escaped one leads to the right place.
        return format!("<{}>", escape(value, usize::MAX));
    }
    if formats(value) {
        // Nothing can stand for a backtick within inline code; a look-alike does no harm.
        return format!("`{}`", escape(&value.replace('`', "ˋ"), FACT_MAX));
    }
    escape(value, FACT_MAX)
}

/// Whether the whole value is a URL that Slack can take between angle brackets.
fn is_link(value: &str) -> bool {
    (value.starts_with("https://") || value.starts_with("http://"))
        && value.len() <= URL_MAX
        && value.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'<' | b'>' | b'|' | b'`' | b'"'))
}

/// Whether Slack would show the value otherwise than written: emphasis, code, or an emoji's name between colons.
fn formats(value: &str) -> bool {
    let emoji = |name: &str| {
        name.bytes().any(|b| b.is_ascii_lowercase())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'+' | b'\''))
    };
    let colons = value.matches(':').count();
    value.contains(['*', '_', '~', '`']) || value.split(':').take(colons).skip(1).any(emoji)
}

/// A line in a code block of its own. The fence cannot be closed from within: no run of backticks survives.
fn code_block(line: &str) -> String {
    let mut inside = String::with_capacity(line.len());
    for c in line.chars() {
        if c == '`' && inside.ends_with('`') {
            inside.push(JOINER);
        }
        inside.push(c);
    }
    format!("```\n{}\n```", escape(&inside, SECTION_MAX - 8))
}

/// Escapes Slack's control characters and cuts to `units_max` UTF-16 units, with `…` where something is missing. The
/// words that call a whole channel are broken up too, should a workspace read plain text for names after all.
fn escape(text: &str, units_max: usize) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    let mut used = 0;
    // Where to cut back to when the end does not fit: the last place that leaves room for `…`.
    let mut cut_at = 0;
    for (at, c) in text.char_indices() {
        let before = out.len();
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '@' if calls_everyone(&text[at + 1..]) => out.extend(['@', JOINER]),
            c => out.push(c),
        }
        used += units(&out[before..]);
        if used > units_max {
            out.truncate(cut_at);
            out.push('…');
            return out;
        }
        if used < units_max {
            cut_at = out.len();
        }
    }
    out
}

fn calls_everyone(word: &str) -> bool {
    ["here", "channel", "everyone"]
        .iter()
        .any(|name| word.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name)))
}

/// The length as Slack may count it.
fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
#[path = "slack_message_tests.rs"]
mod tests;
