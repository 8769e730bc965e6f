//! Headers: layouts, stamps, and what is part of the text.

use crate::support::text;
use dynowatch_logplex::{Malformed, StampCache, message};

const TOKEN: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
const TS: &str = "2025-03-04T10:00:00+00:00";

/// name, raw, then `app proc token pri newline|text`.
fn check(name: &str, raw: &str, expected: &str) {
    let shown = match message(raw.as_bytes(), &mut StampCache::default()) {
        Err(reason) => format!("!{reason}"),
        Ok(m) => format!(
            "{} {} {} {} {}|{}",
            text(m.app_name),
            text(m.proc_id),
            m.drain_token.map_or("-".into(), text),
            m.pri.map_or("-".into(), |pri| pri.to_string()),
            m.newline,
            text(m.text)
        ),
    };
    assert_eq!(shown, expected, "{name}: {raw:?}");
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn layouts() {
    let t = |raw: &str| raw.replace("TS", TS).replace("TOKEN", TOKEN);
    let cases = [
        ("https", "<190>1 TS host app web.1 - hello\n", "app web.1 - 190 true|hello"),
        ("https, platform", "<45>1 TS host heroku web.1 - State changed", "heroku web.1 - 45 false|State changed"),
        ("one digit of PRI", "<6>1 TS host heroku router - x", "heroku router - 6 false|x"),
        ("one newline only", "<190>1 TS host app web.1 - hello\n\n", "app web.1 - 190 true|hello\n"),
        ("CR LF", "<190>1 TS host app web.1 - hello\r\n", "app web.1 - 190 true|hello"),
        ("empty text", "<190>1 TS host app worker.2 - \n", "app worker.2 - 190 true|"),
        ("no text", "<190>1 TS host app worker.2 -\n", "app worker.2 - 190 true|"),
        ("no text at all", "<190>1 TS host app worker.2 -", "app worker.2 - 190 false|"),
        ("MSGID", "<190>1 TS host app web.1 ID7 hello", "app web.1 - 190 false|hello"),
        ("a dash is text", "<190>1 TS host app web.1 - - item", "app web.1 - 190 false|- item"),
        ("a bracket is text", "<190>1 TS host app web.1 - [2025-03-04 10:00:00 +0000] [2] hi", "app web.1 - 190 false|[2025-03-04 10:00:00 +0000] [2] hi"),
        ("an element is text", "<190>1 TS host app web.1 - [a b=\"c\"] hi", "app web.1 - 190 false|[a b=\"c\"] hi"),
        ("old layout", "<40>1 TS heroku web.3 TOKEN - State changed", "heroku web.3 TOKEN 40 false|State changed"),
        ("syslog drain", "<190>1 TS TOKEN app web.1 - - hello\n", "app web.1 TOKEN 190 true|hello"),
        ("syslog drain, empty", "<190>1 TS TOKEN app web.1 - -", "app web.1 TOKEN 190 false|"),
        ("syslog drain, element", "<190>1 TS TOKEN app web.1 - [meta sequenceId=\"518\"] hi", "app web.1 TOKEN 190 false|hi"),
        ("two elements, escapes", "<190>1 TS TOKEN app web.1 - [a b=\"\\\"]\\]\"][c d=\"\"] hi", "app web.1 TOKEN 190 false|[a b=\"\\\"]\\]\"][c d=\"\"] hi"),
        ("escapes", "<190>1 TS TOKEN app web.1 - [a b=\"\\\"\\]\"][c d=\"\"] hi", "app web.1 TOKEN 190 false|hi"),
        ("no parameter, so no element", "<190>1 TS TOKEN app web.1 - [2] [INFO] hi", "app web.1 TOKEN 190 false|[2] [INFO] hi"),
        ("foreign host", "<190>1 TS box.example app web.1 - - hello", "app web.1 - 190 false|hello"),
        ("bare", "TS heroku[router]: at=info", "heroku router - - false|at=info"),
        ("bare, empty", "TS app[web.1]:", "app web.1 - - false|"),
        ("bare, brackets in the text", "TS app[web.1]: a[b]: c", "app web.1 - - false|a[b]: c"),
        ("no blank after the process", "TS app[web.1]:x", "!not_syslog"),
        ("a name with a blank", "TS my app[web.1]: x", "!not_syslog"),
        ("four digits of PRI", "<1900>1 TS host app web.1 - x", "!not_syslog"),
        ("no PRI", "<>1 TS host app web.1 - x", "!not_syslog"),
        ("other version", "<190>2 TS host app web.1 - x", "!not_syslog"),
        ("no process", "<190>1 TS host app", "!not_syslog"),
        ("empty field", "<190>1 TS host  web.1 - x", "!not_syslog"),
        ("no MSGID", "<190>1 TS host app web.1 ", "!not_syslog"),
        ("no stamp", "<190>1 - host app web.1 - x", "!bad_timestamp"),
        ("nothing", "", "!empty"),
        ("a newline", "\n", "!not_syslog"),
        ("words", "hello there", "!not_syslog"),
    ];
    for (name, raw, expected) in cases {
        check(name, &t(raw), &t(expected));
    }
    check("short stamp, host at byte 32", "<158>1 2026-05-07T08:06:12Z host heroku router - x", "heroku router - 158 false|x");
    check("short stamp, bare", "2026-05-07T08:06:12Z app[api]: Set A b", "app api - - false|Set A b");
}

fn us(stamp: &str) -> Result<i64, Malformed> {
    let raw = format!("<190>1 {stamp} host app web.1 - x");
    message(raw.as_bytes(), &mut StampCache::default()).map(|m| m.at_us)
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn stamps() {
    const SECOND: i64 = 1_741_082_400; // 2025-03-04T10:00:00Z
    let at = |micros: i64| Ok(SECOND * 1_000_000 + micros);
    let cases = [
        ("2025-03-04T10:00:00+00:00", at(0)),
        ("2025-03-04T10:00:00Z", at(0)),
        ("2025-03-04T10:00:00.123456+00:00", at(123_456)),
        ("2025-03-04T10:00:00.61556+00:00", at(615_560)),
        ("2025-03-04T10:00:00.2+00:00", at(200_000)),
        ("2025-03-04T10:00:00.000001Z", at(1)),
        ("2025-03-04T10:00:00.123456999Z", at(123_456)),
        ("2025-03-04T12:30:00.5+02:30", at(500_000)),
        ("2025-03-04T02:00:00-08:00", at(0)),
        ("2025-03-04T10:00:00-00:00", at(0)),
        ("2025-03-04T10:00:00.123456+05:30", at(123_456 - 19_800_000_000)),
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("1969-12-31T23:59:59.5Z", Ok(-500_000)),
        ("2024-02-29T00:00:00Z", Ok(1_709_164_800_000_000)),
        ("2000-02-29T00:00:00Z", Ok(951_782_400_000_000)),
        ("9999-12-31T23:59:59.999999Z", Ok(253_402_300_799_999_999)),
        ("0000-01-01T00:00:00Z", Ok(-62_167_219_200_000_000)),
    ];
    for (stamp, expected) in cases {
        assert_eq!(us(stamp), expected, "{stamp}");
    }
    for stamp in [
        "2025-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2025-00-01T00:00:00Z", "2025-13-01T00:00:00Z", "2025-04-31T00:00:00Z",
        "2025-03-00T00:00:00Z", "2025-03-04T24:00:00Z", "2025-03-04T10:60:00Z", "2025-03-04T10:00:60Z", "2025-03-04T10:00:00",
        "2025-03-04T10:00:00.Z", "2025-03-04T10:00:00.1234567890Z", "2025-03-04T10:00:00+24:00", "2025-03-04T10:00:00+00:60",
        "2025-03-04T10:00:00+0000", "2025-03-04T10:00:00ZZ", "2025-03-04t10:00:00Z", "2025/03/04T10:00:00Z", "2025-03-04T10:00:0xZ",
        "2025-03-04T10:00:00.12345x+00:00", "2025-03-04T10:00:00.123456+00.00", "x", "-",
    ] {
        assert_eq!(us(stamp), Err(Malformed::BadTimestamp), "{stamp}");
    }
}
