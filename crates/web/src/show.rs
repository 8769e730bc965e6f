//! What may be shown, and in which words: other people's bytes made harmless, numbers with their units, decisions as
//! sentences. The same words serve the API and the pages.

use std::fmt::Write as _;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::alert::{Effect, Facts, NoticeKind, ResolveReason};
use dynowatch_domain::notice::Notice;
use dynowatch_domain::parse::show_ppm;
use dynowatch_engine::Engine;

/// Text of a log line for the API: masked. JSON takes care of the rest.
pub(crate) fn masked(engine: &Engine, text: &str) -> String {
    engine.masker().mask(text).into_owned()
}

/// Bytes of a log line for the API: what is not UTF-8 replaced, then masked.
pub(crate) fn masked_bytes(engine: &Engine, bytes: &[u8]) -> String {
    masked(engine, &String::from_utf8_lossy(bytes))
}

/// Text for an address: all bytes but ASCII letters, digits and those of `plain` as `%XX`.
pub(crate) fn percent_encoded(text: &str, plain: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || plain.contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Text of a log line for a page: characters that are not seen, or that change the order of what is seen, are written
/// out. Escaping for HTML is maud's.
pub(crate) fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\t' => out.push_str("  "),
            '\0'..='\x1f' => out.push(char::from_u32(0x2400 + u32::from(c)).unwrap_or('?')),
            '\x7f' => out.push('␡'),
            c if c.is_control() || is_invisible(c) => {
                // Writing to a String does not fail.
                let _written = write!(out, "⟨U+{:04X}⟩", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out
}

/// A message as plain text. Each line is made harmless by itself: a line break in somebody's bytes begins no new one.
pub(crate) fn message(engine: &Engine, notice: &Notice) -> String {
    let line = |text: &str| visible(&masked(engine, text));
    let facts = notice.facts().into_iter().map(|(name, value)| format!("{name}: {}", line(&value)));
    let evidence = notice.evidence.iter().map(|text| format!("> {}", line(text)));
    std::iter::once(line(&notice.title())).chain(facts).chain(evidence).collect::<Vec<_>>().join("\n")
}

/// Marks that turn the direction of text, joiners, separators, tags: good for passing one text off as another.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// The measured number with its unit, of a condition by name.
pub(crate) fn measured(condition: &str, facts: &Facts) -> String {
    let at_least = if facts.lower_bound { "at least " } else { "" };
    let plural = |word: &str| format!("{at_least}{} {word}{}", facts.count, if facts.count == 1 { "" } else { "s" });
    match (condition, facts.of) {
        (_, Some(all)) => {
            let share = facts.count.saturating_mul(1_000_000).checked_div(all).unwrap_or(0);
            format!("{at_least}{} of {all} requests ({})", facts.count, show_ppm(share / 1_000 * 1_000))
        }
        ("absence", None) => plural("line"),
        ("threshold", None) => level(facts),
        ("check", None) => plural("failed run"),
        _ => plural("event"),
    }
}

/// The measured value of a threshold.
fn level(facts: &Facts) -> String {
    let at_least = if facts.lower_bound { "at least " } else { "" };
    facts.level.as_ref().map_or_else(|| "no data".to_owned(), |level| format!("{at_least}{level}"))
}

/// Why an alert is over.
pub(crate) fn resolved_because(reason: &ResolveReason) -> String {
    match reason {
        ResolveReason::ConditionFalse => "the condition has been false for long enough".to_owned(),
        ResolveReason::ClosedByOperator { by } => format!("closed by {by}"),
        ResolveReason::RuleGone => "its rule was switched off, removed or changed".to_owned(),
    }
}

/// The name of a decision, for the API.
pub(crate) fn decision_name(effect: &Effect) -> &'static str {
    match effect {
        Effect::PendingBegan { .. } => "pending_began",
        Effect::PendingDropped { .. } => "pending_dropped",
        Effect::Fired { .. } => "fired",
        Effect::Notify { .. } => "notify",
        Effect::CooldownHeld { .. } => "cooldown_held",
        Effect::Merged { .. } => "merged",
        Effect::HeldUnknown { .. } => "held_unknown",
        Effect::Resolved { .. } => "resolved",
    }
}

/// A decision as a sentence: what was done and why. `condition` is the rule's kind, `receivers` who its rule tells.
pub(crate) fn decision(effect: &Effect, condition: &str, receivers: &[String]) -> String {
    match effect {
        Effect::PendingBegan { fires_at } => {
            format!("The condition began to hold; fires at {} if it goes on.", fires_at.for_people())
        }
        Effect::PendingDropped { at } => {
            format!("The condition broke at {} before it had held long enough.", at.for_people())
        }
        Effect::Fired { facts, silent_until: None, .. } => {
            format!("Fired: {} crossed the limit.", measured(condition, facts))
        }
        Effect::Fired { facts, silent_until: Some(until), .. } => format!(
            "Fired: {} crossed the limit, inside the cool-down of the alert before it; nobody is told before {}.",
            measured(condition, facts),
            until.for_people()
        ),
        Effect::Notify { kind, suppressed, cooldown_until, facts, .. } => {
            let what = match kind {
                NoticeKind::StillFiring => "Still firing",
                NoticeKind::Resolved => "The end",
                NoticeKind::Firing | NoticeKind::Test => "The alert",
            };
            let held =
                if *suppressed == 0 { String::new() } else { format!(", {suppressed} matches were held back before") };
            let numbers = measured(condition, facts);
            if receivers.is_empty() {
                return format!("{what} was recorded ({numbers}{held}) but sent to nobody: its rule has no receiver.");
            }
            format!(
                "{what} goes to {} ({numbers}{held}); silent until {}.",
                receivers.join(", "),
                cooldown_until.for_people()
            )
        }
        Effect::CooldownHeld { until, .. } => {
            format!("Further matches are not sent before {}: the cool-down runs.", until.for_people())
        }
        Effect::Merged { .. } => {
            "A match joined this alert although the condition no longer held; it sends nothing of its own.".to_owned()
        }
        Effect::HeldUnknown { .. } => {
            "The condition could not be judged because lines or values are missing; the alert stays as it is."
                .to_owned()
        }
        Effect::Resolved { reason, facts, told, .. } => {
            let nobody = if *told { "" } else { " Nobody had been told of it." };
            format!("Resolved: {} (last {}).{nobody}", resolved_because(reason), measured(condition, facts))
        }
    }
}

/// How long ago, in one unit: `12s`, `5m`, `3h`, `4d`.
pub(crate) fn ago(at: Timestamp, now: Timestamp) -> String {
    if at > now + Duration::from_secs(1) {
        return format!("in {}", coarse(at.since(now)));
    }
    format!("{} ago", coarse(now.since(at)))
}

/// A duration in its greatest unit.
pub(crate) fn coarse(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (unit_s, unit) = [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit_s, _)| seconds >= 2 * unit_s)
        .unwrap_or((1, "s"));
    format!("{}{unit}", seconds / unit_s)
}

/// A word as a shell takes it, whatever stands in it: people paste what pages show them at night.
pub(crate) fn shell_word(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// A drain token, recognisable and no more.
pub(crate) fn shortened(token: &str) -> String {
    let chars: Vec<char> = token.chars().collect();
    match (chars.first_chunk::<6>(), chars.last_chunk::<4>()) {
        (Some(head), Some(tail)) if chars.len() >= 16 => {
            format!("{}…{}", head.iter().collect::<String>(), tail.iter().collect::<String>())
        }
        _ => "…".to_owned(),
    }
}

/// A number with thin groups of three: `12 345 678`.
pub(crate) fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynowatch_domain::AlertId;

    #[test]
    fn nothing_hides() {
        let cases = [
            ("plain ✓ é", "plain ✓ é"),
            ("a\x1b[31mred\x07", "a␛[31mred␇"),
            ("a\r\nb\0", "a␍␊b␀"),
            ("abc\u{202e}fdp.exe", "abc⟨U+202E⟩fdp.exe"),
            ("zero\u{200b}width\u{85}", "zero⟨U+200B⟩width⟨U+0085⟩"),
        ];
        for (text, want) in cases {
            assert_eq!(visible(text), want);
        }
    }

    #[test]
    fn ages_and_numbers() {
        let t = Timestamp::from_seconds;
        for (seconds, want) in [
            (0, "0s ago"),
            (59, "59s ago"),
            (119, "119s ago"),
            (120, "2m ago"),
            (7_200, "2h ago"),
            (200_000, "2d ago"),
            (-90, "in 90s"),
        ] {
            assert_eq!(ago(t(1_000_000 - seconds), t(1_000_000)), want);
        }
        for (n, want) in [(0, "0"), (999, "999"), (1_000, "1\u{202f}000"), (1_234_567, "1\u{202f}234\u{202f}567")] {
            assert_eq!(grouped(n), want);
        }
    }

    #[test]
    fn nothing_breaks_out_of_a_shell_word() {
        assert_eq!(shell_word("h12/shop"), "'h12/shop'");
        assert_eq!(shell_word("x'; rm -rf ~; y"), r"'x'\''; rm -rf ~; y'");
    }

    #[test]
    fn tokens_are_recognisable_only() {
        assert_eq!(shortened("d.01234567-89ab-4cde-8f01-23456789abcd"), "d.0123…abcd");
        assert_eq!(shortened("d.short"), "…");
    }

    #[test]
    fn decisions_say_why() {
        let alert = AlertId("019e0178-2a00-7000-8000-0000000000aa".parse().unwrap());
        let t = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
        let facts = Facts { count: 4, of: None, level: None, lower_bound: true, at: t, first_at: t, last_at: t };
        let notify = Effect::Notify {
            alert,
            kind: NoticeKind::StillFiring,
            facts: facts.clone(),
            suppressed: 3,
            cooldown_until: t,
        };
        let cases = [
            (
                Effect::Fired { alert, previous: None, facts: facts.clone(), silent_until: None },
                "Fired: at least 4 events crossed the limit.",
            ),
            (
                notify.clone(),
                "Still firing goes to operator (at least 4 events, 3 matches were held back before); silent until 2026-05-07 08:06:12 UTC.",
            ),
            (
                Effect::CooldownHeld { alert, until: t },
                "Further matches are not sent before 2026-05-07 08:06:12 UTC: the cool-down runs.",
            ),
            (
                Effect::Resolved {
                    alert,
                    reason: ResolveReason::ClosedByOperator { by: "api:ci".into() },
                    facts,
                    told: false,
                },
                "Resolved: closed by api:ci (last at least 4 events). Nobody had been told of it.",
            ),
        ];
        for (effect, want) in cases {
            assert_eq!(decision(&effect, "count", &["operator".to_owned()]), want);
        }
        assert!(decision(&notify, "count", &[]).contains("sent to nobody"));
    }
}
