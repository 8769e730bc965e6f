//! Files: which format, and which entries.

use crate::support::framed;
use dynowatch_logplex::{Format, Frame, complete_prefix, detect, entries};

fn shown(format: Format, data: &[u8]) -> Vec<String> {
    entries(format, data)
        .map(|frame| match frame {
            Frame::Message(raw) => String::from_utf8_lossy(raw).into_owned(),
            Frame::Bad(reason) => format!("!{reason}"),
        })
        .collect()
}

#[test]
fn formats() {
    let frame = framed("app", "web.1", b"x");
    for (data, expected) in [
        (&frame[..], Format::Logplex),
        (b"\n83 <40>1 2012-11-30T06:45:26+00:00 host app web.3 - x", Format::Logplex),
        (b"<190>1 2025-03-04T10:00:00+00:00 host app web.1 - x\n", Format::Syslog),
        (b"2025-03-04T10:00:00.1+00:00 app[web.1]: x\n", Format::HerokuLogs),
        (b"2010-10-06T21:51:12-07:00 heroku[router]: at=error code=H10", Format::HerokuLogs),
        (b"\xef\xbb\xbf2025-03-04T10:00:00Z app[web.1]: x\r\n", Format::HerokuLogs),
        (b"$ heroku logs -n 100\n2025-03-04T10:00:00Z app[web.1]: <190>1 x\n", Format::HerokuLogs),
        (b"$ nc -l 601\n<190>1 2025-03-04T10:00:00+00:00 host app web.1 - x\n", Format::Syslog),
        (b"12 monkeys\n", Format::HerokuLogs),
        (b"", Format::HerokuLogs),
    ] {
        assert_eq!(detect(data), expected, "{}", String::from_utf8_lossy(data));
    }
}

#[test]
fn walks() {
    assert_eq!(shown(Format::HerokuLogs, b"a\n\n  \nb\r\nc"), ["a\n", "b\r\n", "c"]);
    assert_eq!(shown(Format::Logplex, b"1 a\n2 bc\r\n\n3 d\nf"), ["a", "bc", "d\nf"]);
    assert_eq!(shown(Format::Logplex, b"1 a\nx 2 bc"), ["a", "!bad_count"]);
    assert_eq!(shown(Format::Logplex, b"1 a9 bc"), ["a", "!truncated"]);
    assert_eq!(shown(Format::Logplex, b"\n\n"), [""; 0]);
}

#[test]
fn chunks_lose_nothing() {
    let mut logplex = Vec::new();
    for i in 0..40 {
        logplex.extend(framed("app", "web.1", format!("line {i}\nof text").as_bytes()));
        if i % 7 == 0 {
            logplex.push(b'\n');
        }
    }
    let lines: Vec<u8> = (0..40).flat_map(|i| format!("line {i}\n").into_bytes()).collect();
    for (format, data) in [(Format::Logplex, &logplex), (Format::Syslog, &lines)] {
        let whole = shown(format, data);
        assert!(whole.len() == 40);
        for size in [1, 7, 64, 1000] {
            let (mut pending, mut out) = (Vec::new(), Vec::new());
            for chunk in data.chunks(size) {
                pending.extend_from_slice(chunk);
                let ready = complete_prefix(format, &pending);
                out.extend(shown(format, &pending[..ready]));
                pending.drain(..ready);
            }
            out.extend(shown(format, &pending));
            assert_eq!(out, whole, "{format:?} in chunks of {size}");
        }
    }
}

#[test]
fn a_truncated_entry_is_not_consumed() {
    let mut walk = entries(Format::Logplex, b"1 a9 bc");
    assert_eq!(walk.by_ref().count(), 2);
    assert_eq!(walk.consumed(), 3);
}
