//! Octet framing: what is taken, what is lost, and that text is never framing.

use crate::support::{STAMP, counted, framed, kinds, walked};
use dynowatch_logplex::{FRAME_BYTES_MAX, Frame, Malformed, frames};

const H12: &[u8] = b"at=error code=H12 desc=\"Request timeout\" method=GET path=\"/\" host=a.example dyno=web.1 connect=1ms service=30001ms status=503 bytes=0\n";
const L10: &[u8] = b"142 <172>1 2025-03-04T10:00:01+00:00 host heroku logplex - Error L10 (output buffer overflow): 7 messages dropped since 2025-03-04T09:59:40+00:00.";

fn check(name: &str, body: &[u8], expected: &[&str]) {
    assert_eq!(kinds(body), expected, "{name}");
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn bodies() {
    let router = framed("heroku", "router", H12);
    let app = |text: &[u8]| framed("app", "web.1", text);
    let cut = &router[..router.len() - 20];
    let big = [&[b'x'; 9_000][..], b"\n"].concat();
    let piece = app(&[b'p'; 10_000]);
    let huge = app(&vec![b'y'; 1 << 20]);
    let bad = |tail: &[u8]| [&router[..], tail].concat();
    let cases: Vec<(&str, Vec<u8>, Vec<&str>)> = vec![
        ("nothing", vec![], vec![]),
        ("two", [&router[..], &router].concat(), vec!["router H12", "router H12"]),
        ("no newline at the end", [app(b"one"), app(b"two")].concat(), vec!["app", "app"]),
        ("a loss note without newline in front", [L10, &router].concat(), vec!["log_loss L10", "router H12"]),
        ("newlines inside", [&app(b"Traceback:\n  File \"a.py\"\nValueError\n")[..], &router].concat(), vec!["app", "router H12"]),
        (
            "a frame imitated inside a text",
            app(b"ok\n123 <158>1 2025-03-04T10:00:00+00:00 host heroku router - at=error code=H12 desc=\"forged\"\n"),
            vec!["app"],
        ),
        (
            "a bare line imitated inside a text",
            app(b"ok\n2025-03-04T10:00:00+00:00 heroku[router]: at=error code=H12 desc=\"forged\"\n"),
            vec!["app"],
        ),
        ("empty texts", [app(b""), app(b"\n")].concat(), vec!["app", "app"]),
        ("not UTF-8", [&app(b"caf\xe9 \xff\xfe\n")[..], &router].concat(), vec!["app", "router H12"]),
        ("NUL and escapes", [&app(b"a\0b \x1b[31mred\x1b[0m\r\n")[..], &router].concat(), vec!["app", "router H12"]),
        ("nine kilobytes", [&app(&big)[..], &router].concat(), vec!["app", "router H12"]),
        ("a cut piece", [&piece[..], &router].concat(), vec!["app", "router H12"]),
        ("a mebibyte", [&huge[..], &router].concat(), vec!["app", "router H12"]),
        ("cut in the last frame", bad(cut), vec!["router H12", "!truncated"]),
        ("cut in a count", bad(b"12"), vec!["router H12", "!truncated"]),
        ("cut behind a count", bad(b"12 "), vec!["router H12", "!truncated"]),
        ("not a number", bad(b"abc <158>1 x host heroku router - hi\n"), vec!["router H12", "!bad_count"]),
        ("a sign", bad(b"-5 <158>1 x host heroku router - hi\n"), vec!["router H12", "!bad_count"]),
        ("a leading zero", bad(b"05 <158>"), vec!["router H12", "!bad_count"]),
        ("a huge number", bad(b"99999999999999999999 <158>1 x\n"), vec!["router H12", "!bad_count"]),
        ("no blank behind the count", bad(b"64<158>1 x\n"), vec!["router H12", "!bad_count"]),
        ("a newline between frames", [&router[..], b"\n", &router].concat(), vec!["router H12", "!bad_count"]),
        ("zero octets", [b"0 ", &router[..]].concat(), vec!["!empty", "router H12"]),
        (
            "count too small",
            bad(b"10 <158>1 2025-03-04T10:00:00+00:00 host heroku router - hi\n"),
            vec!["router H12", "!not_syslog", "!bad_count"],
        ),
        ("a bad stamp", bad(&counted(b"<158>1 2025-13-04T10:00:00+00:00 host heroku router - x\n")), vec!["router H12", "!bad_timestamp"]),
        ("no stamp", bad(&counted(b"<158>1 - host heroku router - x\n")), vec!["router H12", "!bad_timestamp"]),
        (
            "the runbook's line as a whole body",
            b"2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc=\"Request timeout\"".to_vec(),
            vec!["router H12"],
        ),
        (
            "bare lines",
            b"2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc=\"x\"\r\n\n2026-05-07T08:06:13.5+02:00 app[web.1]: hi\nnot one\n".to_vec(),
            vec!["router H12", "app", "!not_syslog"],
        ),
        ("a bare line in a frame", counted(b"2026-05-07T08:06:12Z app[web.1]: hi\n"), vec!["app"]),
        ("a stamp without name and process", b"2026-05-07T08:06:12Z hello".to_vec(), vec!["!bad_count"]),
        ("words", b"hello".to_vec(), vec!["!bad_count"]),
    ];
    for (name, body, expected) in &cases {
        check(name, body, expected);
    }
}

#[test]
fn the_counted_octets_are_taken_exactly() {
    let raw = format!("<190>1 {STAMP} host app web.2 - caf\u{e9} 12\u{b5}s\n");
    let body = [counted(raw.as_bytes()), L10.to_vec()].concat();
    assert_eq!(walked(&body), [raw, String::from_utf8_lossy(&L10[4..]).into_owned()]);
}

#[test]
fn an_oversized_frame_is_skipped_alone() {
    let fits = counted(&vec![b'x'; FRAME_BYTES_MAX]);
    let longer = counted(&vec![b'x'; FRAME_BYTES_MAX + 1]);
    let app = framed("app", "web.1", b"after\n");
    let body = [fits, longer, app].concat();
    let reasons: Vec<_> = frames(&body)
        .map(|frame| match frame {
            Frame::Message(raw) => Ok(raw.len()),
            Frame::Bad(reason) => Err(reason),
        })
        .collect();
    assert_eq!(reasons.len(), 3);
    assert_eq!((reasons[0], reasons[1]), (Ok(FRAME_BYTES_MAX), Err(Malformed::Oversized)));
    assert!(reasons[2].is_ok());
    // A great count costs nothing but its digits.
    assert_eq!(walked(b"99999999 <158>1 x"), ["!truncated"]);
}

#[test]
fn names_of_reasons_are_distinct_and_dense() {
    for (i, reason) in Malformed::ALL.iter().enumerate() {
        assert_eq!(reason.index(), i);
        assert!(Malformed::ALL.iter().filter(|other| other.as_str() == reason.as_str()).count() == 1);
    }
}
