//! Messages as Slack gets them, and that nothing in them acts.

use super::*;
use crate::samples;

#[test]
fn every_kind_of_message() {
    for (name, outgoing) in samples::all() {
        insta::assert_json_snapshot!(format!("slack_{name}"), message("D0AJ7K184TV", &outgoing));
    }
}

#[test]
fn escapes_and_cuts_within_the_limit() {
    let cases = [
        ("a<b>&c", 99, "a&lt;b&gt;&amp;c"),
        ("<!channel>", 99, "&lt;!channel&gt;"),
        ("@here @HERE @heron @you", 99, "@\u{2060}here @\u{2060}HERE @heron @you"),
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("a<<", 6, "a&lt;…"),
        ("a<<", 5, "a…"),
        ("🚂🚂", 3, "🚂…"),
        ("🚂🚂", 4, "🚂🚂"),
    ];
    for (text, max, want) in cases {
        let got = escape(text, max);
        assert_eq!(got, want);
        assert!(units(&got) <= max, "{got}");
    }
}

#[test]
fn facts_keep_their_characters() {
    let cases = [
        ("4 events in 5m", "4 events in 5m"),
        ("2026-05-07 08:06:12 UTC", "2026-05-07 08:06:12 UTC"),
        ("docs/a_b.md", "`docs/a_b.md`"),
        ("it is :fire: now", "`it is :fire: now`"),
        ("key: value, at 08:06:12", "key: value, at 08:06:12"),
        ("web:worker", "web:worker"),
        ("a `b`", "`a ˋbˋ`"),
        ("https://a.example/x?y=1&z=2", "<https://a.example/x?y=1&amp;z=2>"),
        ("https://a.example/x|y", "https://a.example/x|y"),
        ("javascript:alert(1)", "javascript:alert(1)"),
    ];
    for (value, want) in cases {
        assert_eq!(fact(value), want);
    }
}

/// Walks the strings of a message.
fn strings<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.values().for_each(|item| strings(item, found)),
        _ => {}
    }
}

#[test]
fn a_message_stays_within_slacks_limits_and_mentions_nobody() {
    let mut notice = samples::hostile();
    notice.evidence = vec!["<`\u{1b}🚂".repeat(2_000); 40];
    notice.lower_bound = vec!["*<!channel>".repeat(2_000)];
    notice.release = "v_1 <@U1>".repeat(2_000);
    notice.app = "x".repeat(9_000);
    notice.group = vec![("path".into(), "<!here>".repeat(999)); 3];
    notice.meaning = "m <!everyone>".repeat(900);
    let message = message("C1", &samples::outgoing(notice));

    let blocks = message["attachments"][0]["blocks"].as_array().unwrap();
    assert!(blocks.len() + message["blocks"].as_array().unwrap().len() <= 50);
    for block in blocks {
        let text = block["text"]["text"].as_str().unwrap();
        assert!(units(text) <= SECTION_MAX);
        // Exactly the fences that we wrote, or none.
        assert_eq!(text.matches("```").count(), if text.starts_with("```\n") { 2 } else { 0 });
    }
    assert!(units(message["blocks"][0]["text"]["text"].as_str().unwrap()) <= HEADING_MAX);
    assert!(units(message["text"].as_str().unwrap()) <= TEXT_MAX);
    let mut all = Vec::new();
    strings(&message, &mut all);
    for text in all {
        for markup in ["<!", "<@", "<#"] {
            assert!(!text.contains(markup), "{text}");
        }
    }
}
