//! The fast readers against naive ones.

use crate::support::{framed, walked};
use dynowatch_logplex::{FRAME_BYTES_MAX, Feed, RouterLine, Samples, StampCache, message};
use proptest::prelude::*;

/// Section 1.2's grammar, word for word.
fn naive_walk(mut body: &[u8]) -> Vec<String> {
    let mut out = Vec::new();
    while !body.is_empty() {
        let digits = body.iter().take_while(|c| c.is_ascii_digit()).count();
        if digits > 8 {
            out.push("!bad_count".into());
            break;
        }
        if digits == body.len() {
            out.push("!truncated".into());
            break;
        }
        let count = std::str::from_utf8(&body[..digits]).unwrap();
        if digits == 0 || body[digits] != b' ' || (count.len() > 1 && count.starts_with('0')) {
            out.push("!bad_count".into());
            break;
        }
        let count: usize = count.parse().unwrap();
        let rest = &body[digits + 1..];
        if rest.len() < count {
            out.push("!truncated".into());
            break;
        }
        out.push(match count {
            0 => "!empty".into(),
            n if n > FRAME_BYTES_MAX => "!oversized".into(),
            n => String::from_utf8_lossy(&rest[..n]).into_owned(),
        });
        body = &rest[count..];
    }
    out
}

fn bodies() -> impl Strategy<Value = Vec<u8>> {
    let text = prop::collection::vec(any::<u8>(), 0..40);
    let part = prop_oneof![
        6 => text.clone().prop_map(|text| framed("app", "web.1", &text)),
        1 => text,
        1 => "[0-9]{0,10} ?".prop_map(String::into_bytes),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

/// Text that a client may put into a path, a host, an address list.
fn hostile() -> impl Strategy<Value = String> {
    let words = [
        "/",
        "\"",
        " ",
        "=",
        "status=503",
        "dyno=web.9",
        "service=99999ms",
        "bytes=1",
        "protocol=evil",
        " host=",
        "\" host=evil",
        " fwd=\"",
        "fwd=6.6.6.6",
        "request_id=x",
        "at=error code=H12",
        "code=H99",
        "\" dyno=web.9 connect=0ms service=1ms status=503 bytes=0",
        "é",
        "\\",
        "&",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..12).prop_map(|words| words.concat())
}

/// Whole days since 1970 by counting them.
fn naive_days(year: i64, month: i64, day: i64) -> i64 {
    let leap = |y: i64| (y % 4 == 0 && y % 100 != 0) || y % 400 == 0;
    let month_days = |y: i64, m: i64| [31, 28 + leap(y) as i64, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][m as usize - 1];
    let years: i64 = if year >= 1970 {
        (1970..year).map(|y| 365 + leap(y) as i64).sum()
    } else {
        -(year..1970).map(|y| 365 + leap(y) as i64).sum::<i64>()
    };
    years + (1..month).map(|m| month_days(year, m)).sum::<i64>() + day - 1
}

proptest! {
    #[test]
    fn the_walk_equals_the_grammar(body in bodies()) {
        prop_assert_eq!(walked(&body), naive_walk(&body));
    }

    #[test]
    fn a_client_forges_nothing(
        path in hostile(), fwd in hostile(), host in hostile(), method in hostile(),
        status in 100u16..1000, service in 0u32..100_000, bytes in any::<u32>(), dyno in 1u32..200, modern in any::<bool>(),
    ) {
        let protocol = if modern { "http1.1 tls=true tls_version=tls1.3" } else { "https" };
        let line = format!(
            "at=info method={method} path=\"{path}\" host={host} request_id=r fwd=\"{fwd}\" dyno=web.{dyno} connect=1ms service={service}ms status={status} bytes={bytes} protocol={protocol}"
        );
        let r = RouterLine::parse(line.as_bytes());
        prop_assert_eq!(r.code(), None);
        prop_assert_eq!(r.status(), Some(status));
        prop_assert_eq!(r.service_ms(), Some(service));
        prop_assert_eq!(r.bytes(), Some(bytes as u64));
        prop_assert_eq!(r.tls(), Some(true));
        let dyno = format!("web.{dyno}");
        prop_assert_eq!(r.dyno(), dyno.as_bytes());
    }

    /// With one client value hostile at a time, what is read is true or unknown.
    #[test]
    fn fields_are_true_or_unknown(path in hostile(), fwd in hostile()) {
        for (path, fwd) in [(path.as_str(), "1.1.1.1"), ("/", fwd.as_str()), (path.as_str(), fwd.as_str())] {
            let line = format!("at=info method=GET path=\"{path}\" host=h.example request_id=r-1 fwd=\"{fwd}\" dyno=web.1 connect=1ms service=1ms status=200 bytes=1");
            let f = RouterLine::parse(line.as_bytes()).fields();
            prop_assert!(f.host.is_none_or(|host| host == b"h.example"), "{line}");
            prop_assert!(f.request_id.is_none_or(|id| id == b"r-1"), "{line}");
            prop_assert!(path.as_bytes().starts_with(f.path.unwrap_or(b"")), "{line}");
            prop_assert_eq!(f.method, Some(&b"GET"[..]));
            if !path.contains('"') && !fwd.contains('"') {
                prop_assert!(!f.ambiguous);
                prop_assert_eq!(f.path, Some(path.as_bytes()));
                prop_assert_eq!(f.fwd, Some(fwd.as_bytes()));
            }
        }
    }

    /// The fixed-order reader of the tail and the backward one agree: an unknown key forces the latter.
    #[test]
    fn both_readers_of_the_tail_agree(
        dyno in "[a-z0-9.-]{0,12}", connect in "([0-9]{1,6}(ms)?|[a-z]?)", service in "([0-9]{1,12}(ms)?|[a-z]?)",
        status in "[0-9]{0,4}", bytes in "[0-9]{0,22}",
        rest in prop::sample::select(vec!["", " protocol=https", " protocol=http2.0 tls=true tls_version=tls1.3", " tls_version=tls1.2 protocol=https", " protocol= tls=x", " tls_version=a tls_version=b", " protocol=a protocol=b"]),
    ) {
        let line = format!("at=info method=GET path=\"/\" host=h request_id=r fwd=\"1.1.1.1\" dyno={dyno} connect={connect} service={service} status={status} bytes={bytes}{rest}");
        let slow = format!("{line} zz=1");
        let (a, b) = (RouterLine::parse(line.as_bytes()), RouterLine::parse(slow.as_bytes()));
        prop_assert_eq!(
            (a.dyno(), a.connect_ms(), a.service_ms(), a.status(), a.bytes(), a.protocol(), a.tls(), a.tls_version()),
            (b.dyno(), b.connect_ms(), b.service_ms(), b.status(), b.bytes(), b.protocol(), b.tls(), b.tls_version())
        );
    }

    #[test]
    fn stamps_equal_counting(
        year in 1600i64..2400, month in 1i64..=12, day in 1i64..=28, second in 0i64..86_400, fraction in "[0-9]{0,9}",
        offset in prop::option::of(-1439i64..=1439),
    ) {
        let zone = offset.map_or("Z".into(), |o| format!("{}{:02}:{:02}", if o < 0 { '-' } else { '+' }, o.abs() / 60, o.abs() % 60));
        let point = if fraction.is_empty() { "" } else { "." };
        let stamp = format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}{point}{fraction}{zone}",
            second / 3600, second / 60 % 60, second % 60
        );
        let us: i64 = format!("{fraction:0<6}")[..6].parse().unwrap();
        let expected = (naive_days(year, month, day) * 86_400 + second - offset.unwrap_or(0) * 60) * 1_000_000 + us;
        let raw = format!("<190>1 {stamp} host app web.1 - x");
        let mut cache = StampCache::default();
        for _ in 0..2 {
            prop_assert_eq!(message(raw.as_bytes(), &mut cache).map(|m| m.at_us), Ok(expected), "{}", &stamp);
        }
    }

    #[test]
    fn numbers_equal_the_standard_library(number in "[+-]?([0-9]{1,20}(\\.[0-9]{0,20})?|\\.[0-9]{1,12})([eE][+-]?[0-9]{1,2})?", rest in "( x|MB| )?") {
        let line = format!("sample#x={number}{rest}");
        let sample = Samples::parse(Feed::Custom, line.as_bytes()).next();
        prop_assert_eq!(sample.map(|s| s.written.to_bits()), number.parse::<f64>().ok().map(f64::to_bits), "{}", &line);
    }
}
