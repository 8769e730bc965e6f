//! Pieces of long lines.

use dynowatch_logplex::{Message, Now, Rejoiner, StampCache, message};

const TS: &str = "2025-03-04T10:00:00.000001+00:00";
const LATER: &str = "2025-03-04T10:00:00.000002+00:00";

fn raw(ts: &str, proc: &str, text: &str) -> Vec<u8> {
    format!("<190>1 {ts} host app {proc} - {text}").into_bytes()
}

fn read(raw: &[u8]) -> Message<'_> {
    message(raw, &mut StampCache::default()).unwrap()
}

/// `given up, now` as lengths: `whole`, `kept`, or `N bytes of P pieces`.
fn push(r: &mut Rejoiner, raw: &[u8]) -> String {
    let out = r.push(&read(raw));
    let joined = |j: dynowatch_logplex::Joined<'_>| {
        format!(
            "{}:{} in {}{}{}",
            String::from_utf8_lossy(j.proc_id),
            j.text.len(),
            j.pieces,
            if j.cut { " cut" } else { "" },
            if j.ended { "" } else { " unfinished" }
        )
    };
    let now = match out.now {
        Now::Whole => "whole".into(),
        Now::Kept => "kept".into(),
        Now::Ended(j) => joined(j),
    };
    match out.given_up {
        Some(j) => format!("{}, {now}", joined(j)),
        None => now,
    }
}

#[test]
fn pieces_become_one_line() {
    let piece = "é".repeat(5_000);
    let mut r = Rejoiner::new(1 << 20, 4);
    assert_eq!(push(&mut r, &raw(TS, "web.1", "short\n")), "whole");
    assert_eq!(push(&mut r, &raw(TS, "web.1", &piece)), "kept");
    assert_eq!(push(&mut r, &raw(TS, "web.2", "another process\n")), "whole");
    assert_eq!(push(&mut r, &raw(TS, "web.1", &piece)), "kept");
    assert_eq!(push(&mut r, &raw(TS, "web.1", "end\n")), "web.1:20003 in 3");
    assert_eq!(r.open(), 0);
    // A line of exactly the limit with its newline is whole.
    assert_eq!(push(&mut r, &raw(TS, "web.1", &format!("{piece}\n"))), "whole");
}

#[test]
fn a_torn_character_is_whole_again() {
    let text = format!("x{}", "é".repeat(6_000));
    let (a, b) = text.as_bytes().split_at(10_000);
    let head = |text: &[u8]| [&raw(TS, "web.1", "")[..], text].concat();
    let mut r = Rejoiner::new(1 << 20, 4);
    let (a, b) = (head(a), head(b));
    assert_eq!(r.push(&read(&a)).now, Now::Kept);
    let Now::Ended(joined) = r.push(&read(&b)).now else { panic!() };
    assert_eq!(joined.text, text.as_bytes());
    assert_eq!(joined.at_us, read(&a).at_us);
}

#[test]
fn bounds() {
    let piece = "x".repeat(10_000);
    let mut r = Rejoiner::new(15_000, 2);
    assert_eq!(push(&mut r, &raw(TS, "web.1", &piece)), "kept");
    assert_eq!(push(&mut r, &raw(TS, "web.1", &piece)), "kept");
    assert_eq!(push(&mut r, &raw(TS, "web.1", "end")), "web.1:15000 in 3 cut");
    for proc in ["web.1", "web.2"] {
        assert_eq!(push(&mut r, &raw(TS, proc, &piece)), "kept");
    }
    assert_eq!(push(&mut r, &raw(TS, "web.3", &piece)), "web.1:10000 in 1 unfinished, kept");
    // The end of a line that was given up is a line of its own.
    assert_eq!(push(&mut r, &raw(TS, "web.1", "end")), "whole");
    // A new stamp ends the old line of that process.
    assert_eq!(push(&mut r, &raw(LATER, "web.2", "new\n")), "web.2:10000 in 1 unfinished, whole");
    assert!(r.give_up(0).is_none());
    assert_eq!(r.give_up(i64::MAX).map(|j| j.text.len()), Some(10_000));
    assert!(r.give_up(i64::MAX).is_none());
}
