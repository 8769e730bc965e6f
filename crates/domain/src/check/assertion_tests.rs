//! Tables of assertions: what they read as, what they say of values, and what is wrong with those that cannot be read.

use proptest::prelude::*;

use super::super::kind::{Family, RedisCheck, Secret, Source, TlsMode, WebCheck};
use super::super::{Check, CheckKind, json_path};
use super::*;

fn web() -> CheckKind {
    CheckKind::Web(WebCheck::get("https://shop.example"))
}

fn redis() -> CheckKind {
    let url = Source::Url(Secret::new("redis://h"));
    CheckKind::Redis(RedisCheck { url, key: Some("q".to_owned()), family: Family::Any, tls: TlsMode::Pin })
}

fn assertion(text: &str) -> Assertion {
    text.parse().unwrap_or_else(|error| panic!("{error}"))
}

/// Evaluates on a JSON body, a status of 200, a response of 412.5 ms and a header.
#[track_caller]
fn check(text: &str, body: &str, want: Result<(), (Reason, &str)>) {
    let assertion = assertion(text);
    assertion.fits(&web()).unwrap_or_else(|error| panic!("{error}"));
    let mut facts = Facts::default();
    facts.set("status", 200_u64);
    facts.set("response", Value::micros(412_500));
    facts.set("header.server", "nginx/1.25");
    facts.set("body", body);
    let subject = assertion.subject();
    if subject.root == "body" && !subject.steps.is_empty() {
        facts.set(subject.name.clone(), json_path::find(body, &subject.steps, &subject.name));
    }
    let result = assertion.evaluate(&facts, false);
    match want {
        Ok(()) => {
            assert_eq!((result.outcome, result.reason, result.why.as_str()), (Outcome::Up, None, ""), "{text} {body}")
        }
        Err((reason, part)) => {
            assert_eq!(result.reason, Some(reason), "{text} {body}: {}", result.why);
            assert_eq!(result.outcome, reason.outcome());
            assert!(result.why.contains(part), "{text} {body}: {:?} has no {part:?}", result.why);
        }
    }
}

#[test]
fn what_holds_and_what_does_not() {
    use Reason::{AssertionDegraded, AssertionFailed, BodyNotJson, NotMeasured, PathMissing, StatusUnexpected};
    let ok =
        r#"{"status":"ok","queue":{"depth":7},"load":0.97,"low":0.10,"flag":true,"none":null,"items":[{"id":1},2]}"#;
    for (text, want) in [
        ("status = 200", Ok(())),
        ("status in 200..299", Ok(())),
        ("status in 300..399", Err((StatusUnexpected, "status is 200, not in 300..399"))),
        ("status = 503", Err((StatusUnexpected, "status is 200, not = 503"))),
        ("body.status = \"ok\"", Ok(())),
        ("body.status != \"ok\"", Err((AssertionFailed, "body.status is \"ok\", not != \"ok\""))),
        ("body.queue.depth < 100", Ok(())),
        ("response < 500 ms", Ok(())),
        ("response < 0.4 s", Err((AssertionFailed, "response is 412.5 ms, not < 0.4 s"))),
        ("response < 0.4s else degraded", Err((AssertionDegraded, "412.5 ms"))),
        // Decimals are decimals.
        ("body.load <= 0.5", Err((AssertionFailed, "body.load is 0.97, not <= 0.5"))),
        ("body.low < 0.85", Ok(())),
        ("body.low = 0.1", Ok(())),
        // Types are not guessed.
        ("body.status < 3", Err((AssertionFailed, "body.status is a text, where a number is needed: \"ok\""))),
        ("body.flag = \"true\"", Err((AssertionFailed, "true or false, where a text"))),
        ("body.flag = true", Ok(())),
        ("body.none = null", Ok(())),
        ("body.none < 5", Err((AssertionFailed, "null, where a number"))),
        ("body.none exists", Ok(())),
        ("body.queue = null", Err((AssertionFailed, "an object of 1"))),
        ("body.queue != null", Ok(())),
        ("len(body.items) = 2", Ok(())),
        ("len(body.status) = 2", Ok(())),
        ("len(body.load) = 2", Err((AssertionFailed, "0.97"))),
        ("body.items[0].id = 1", Ok(())),
        ("body[\"queue\"].depth = 7", Ok(())),
        ("body.items[5].id = 1", Err((PathMissing, "there is no [5]"))),
        ("body.queue.size < 5", Err((PathMissing, "there is no key \"size\""))),
        // Not even a negation passes on what is not there.
        ("body.queue.size != 5", Err((PathMissing, "size"))),
        ("body.queue.size exists", Err((PathMissing, "size"))),
        ("header.server contains \"nginx\"", Ok(())),
        ("header.server not contains \"nginx\"", Err((AssertionFailed, "nginx/1.25"))),
        ("header.server matches \"^nginx/1\\.\"", Ok(())),
        ("header.x-none not matches \"a\"", Err((NotMeasured, "not measured"))),
        ("body contains \"queue\"", Ok(())),
    ] {
        check(text, ok, want);
    }
    let html = "<html>We are down for maintenance</html>";
    for text in ["body.status = \"ok\"", "body.queue.depth < 100", "body.queue.depth != 1", "body.a exists"] {
        check(text, html, Err((BodyNotJson, "body is not JSON (path body.")));
    }
}

#[test]
fn a_clear_level_holds_until_it_is_passed() {
    let assertion = assertion("length < 500 clear 450");
    assertion.fits(&redis()).unwrap();
    let mut failing = false;
    for (length, holds) in
        [(499_u64, true), (501, false), (480, false), (450, false), (449, true), (480, true), (500, false)]
    {
        let mut facts = Facts::default();
        facts.set("length", length);
        let result = assertion.evaluate(&facts, failing);
        assert_eq!(result.outcome == Outcome::Up, holds, "{length}: {}", result.why);
        assert_eq!(result.seen, length.to_string());
        failing = !holds;
    }
}

#[test]
fn errors_name_the_column_and_what_would_be_right() {
    for (text, column, part) in [
        ("", 1, "a value's name is expected"),
        ("status", 7, "a comparison is expected"),
        ("status ~ 5", 8, "a comparison is expected"),
        ("status = ", 10, "a value is expected"),
        ("status = ok", 10, "a text in double quotes"),
        ("body.status = \"ok", 15, "closing double quote"),
        ("body. = 3", 6, "a name is expected after the dot"),
        ("body[x] = 3", 6, "a place from 0 or a key"),
        ("body[1 = 3", 7, "`]` is expected"),
        ("len(body.items > 3", 16, "`)` is expected"),
        ("status = 200 and body", 14, "\"and\" is not a unit"),
        ("status = 20x", 12, "\"x\" is not a unit"),
        ("status = 2.", 10, "\"2.\" is not a number"),
        ("status in 299..200", 11, "the range is empty"),
        ("status in 200", 11, "as in `200..299`"),
        ("body.a < \"x\"", 10, "only numbers and times"),
        ("body.a not = 3", 12, "write `!=`"),
        ("body matches \"(\"", 14, "the regular expression cannot be used: unclosed group"),
        ("status = 200 else paged", 19, "`down` or `degraded`"),
        ("status = 200 \"x\"", 14, "nothing more is expected"),
        ("response < 5 s clear 3", 22, "the limit's unit"),
        ("response < 5 s clear 6 s", 22, "must not be above the limit"),
        ("body.n > 5 clear 4", 18, "must not be below the limit"),
        ("body.n = 5 clear 4", 18, "goes with <"),
    ] {
        match text.parse::<Assertion>() {
            Err(error) => {
                assert!(error.problem.contains(part), "{error}");
                assert_eq!(error.column, column, "{error}");
            }
            Ok(_) => panic!("{text} reads"),
        }
    }
    assert!(format!("body = \"{}\"", "x".repeat(ASSERTION_BYTES_MAX)).parse::<Assertion>().is_err());
    for (text, kind, column, part) in [
        ("response < 500", web(), 12, "write its limit with a unit"),
        ("status = \"200\"", web(), 10, "a number: compare it with one"),
        ("status contains \"2\"", web(), 17, "no text"),
        ("header = \"x\"", web(), 1, "does not measure \"header\""),
        ("header.a.b = \"x\"", web(), 1, "takes one name"),
        ("lag < 5 s", web(), 1, "a web check does not measure \"lag\"; it has status"),
        ("memory.percent < 5 s", redis(), 18, "a percentage"),
        ("role = 5", redis(), 8, "a text"),
    ] {
        let error = assertion(text).fits(&kind).unwrap_err();
        assert!(error.problem.contains(part), "{error}");
        assert_eq!(error.column, column, "{error}");
    }
    for text in
        ["memory.percent < 80 %", "memory.used < 25 MB", "memory.used < 25MiB else degraded", "length.per_min < 10"]
    {
        assertion(text).fits(&redis()).unwrap();
    }
}

#[test]
fn the_weightiest_result_speaks() {
    let mut facts = Facts::default();
    facts.set("role", "slave");
    facts.set("length", Value::absent(Reason::NoPermission, "NOPERM"));
    facts.set("memory.percent", Value::Number("95".parse().unwrap()));
    let results: Vec<_> =
        ["length < 5", "memory.percent < 90 % else degraded", "role = \"slave\"", "role = \"master\""]
            .into_iter()
            .map(|text| assertion(text).evaluate(&facts, false))
            .collect();
    assert_eq!(worst(&results).unwrap().reason, Some(Reason::AssertionFailed));
    assert_eq!(worst(&results[..3]).unwrap().reason, Some(Reason::AssertionDegraded));
    assert_eq!(worst(&results[..1]).unwrap().reason, Some(Reason::NoPermission));
    assert_eq!(worst(&results[2..3]), None);
}

fn value() -> impl Strategy<Value = Value> {
    prop_oneof![
        any::<i32>().prop_map(|n| Value::Number(i64::from(n).into())),
        any::<u32>().prop_map(|n| Value::micros(n.into())),
        ".{0,5}".prop_map(Value::Text),
        any::<bool>().prop_map(Value::Bool),
        Just(Value::Null),
        Just(Value::List(3)),
        Just(Value::absent(Reason::PathMissing, "gone")),
    ]
}

proptest! {
    /// Whatever is demanded, nothing passes on absent data.
    #[test]
    fn absent_data_never_passes(
        test in prop_oneof![
            Just("exists"), Just("= 0"), Just("!= 0"), Just("< 1"), Just(">= 0"), Just("in 0..9"), Just("= null"),
            Just("!= null"), Just("not contains \"x\""), Just("not matches \"x\""), Just("= false"), Just("!= \"x\""),
            Just("< 1 ms"), Just("< 5 clear 3 else degraded"),
        ],
        was_failing: bool,
        noted: bool,
    ) {
        let assertion = assertion(&format!("body.x {test}"));
        let mut facts = Facts::default();
        if noted {
            facts.set("body.x", Value::absent(Reason::BodyNotJson, "body is not JSON"));
        }
        let result = assertion.evaluate(&facts, was_failing);
        prop_assert!(result.outcome != Outcome::Up && result.reason.is_some());
        prop_assert!(!assertion.is_judged(&facts));
        prop_assert!(result.seen.starts_with("absent"));
    }

    /// A comparison and its opposite never both hold, and on numbers one of them does.
    #[test]
    fn opposites_exclude_each_other(value in value(), limit: i32) {
        let mut facts = Facts::default();
        facts.set("body.x", value.clone());
        for (sign, opposite) in [("<", ">="), (">", "<="), ("=", "!=")] {
            let holds = |sign: &str| assertion(&format!("body.x {sign} {limit}")).evaluate(&facts, false).outcome == Outcome::Up;
            let (one, other) = (holds(sign), holds(opposite));
            prop_assert!(!(one && other));
            prop_assert_eq!(one || other, matches!(value, Value::Number(_)), "{} {} {}", value, sign, limit);
        }
    }

    #[test]
    fn any_text_reads_or_says_why(text in "[a-z.\\[\\]\"=<>! 0-9()]{0,40}|.{0,40}") {
        match text.parse::<Assertion>() {
            Ok(assertion) => {
                _ = assertion.fits(&web());
                _ = assertion.evaluate(&Facts::default(), true);
            }
            Err(error) => {
                prop_assert!(error.column >= 1 && error.column <= text.chars().count() + 1);
                prop_assert!(!error.problem.is_empty());
            }
        }
    }
}

#[test]
fn a_checks_assertions_are_shown_as_written() {
    let mut check = Check::new("a", web());
    check.assertions = vec![assertion("  status  =  200 ")];
    assert_eq!(check.assertions[0].to_string(), "status  =  200");
    assert_eq!(check.assertions[0].failure(), Failure::Down);
    assert_eq!(assertion("status = 200 else degraded").failure(), Failure::Degraded);
}
