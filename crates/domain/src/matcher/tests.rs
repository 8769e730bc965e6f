//! The matcher against the meaning of a match, read aloud rule by rule.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::Timestamp;
use crate::parse::Glob;
use crate::rule::{MatchSpec, StatusPattern};
use crate::signal::Code;

fn rule(name: &str, matches: MatchSpec) -> Rule {
    let condition = Condition::Count { threshold: "> 3".parse().unwrap(), window: Duration::from_secs(300) };
    Rule::new(name, matches, condition)
}

fn matcher(rules: impl IntoIterator<Item = Rule>) -> Matcher {
    Matcher::new(rules.into_iter().map(Arc::new).collect()).unwrap()
}

fn line<'a>(source: Source, kind: Kind, process: &'a str, text: &'a [u8]) -> Signal<'a> {
    let process = process.as_bytes();
    Signal {
        at: Timestamp::UNIX_EPOCH,
        source,
        kind,
        process,
        dyno: process,
        code: None,
        status: None,
        path: None,
        text,
    }
}

fn request<'a>(dyno: &'a str, code: Option<&str>, status: u16, path: &'a str) -> Signal<'a> {
    let code = code.and_then(Code::parse);
    let (dyno, path) = (dyno.as_bytes(), Some(path.as_bytes()));
    Signal {
        dyno,
        code,
        status: Some(status),
        path,
        ..line(Source::Heroku, Kind::Router, "router", b"at=info host=timeout")
    }
}

fn globs(texts: &[&str]) -> Vec<Glob> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn codes(texts: &[&str]) -> Vec<Code> {
    texts.iter().map(|text| Code::parse(text).unwrap()).collect()
}

fn statuses(texts: &[&str]) -> Vec<StatusPattern> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn which_lines_a_rule_takes() {
    let none = MatchSpec::default;
    let timeout = b"[2026-05-07 08:06:12 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:17)";
    let app = |kind, text| line(Source::App, kind, "web.1", text);
    let heroku = |kind, process, text| line(Source::Heroku, kind, process, text);
    let h12 = request("web.2", Some("H12"), 503, "/orders/7");
    let runbook = MatchSpec { source: Some(Source::App), text: texts(&["WORKER TIMEOUT"]), ..none() };
    let cases: Vec<(&str, MatchSpec, Signal<'_>, bool)> = vec![
        ("the runbook's code", MatchSpec { code: codes(&["H12"]), ..none() }, h12, true),
        ("another code", MatchSpec { code: codes(&["H13", "R14"]), ..none() }, h12, false),
        (
            "a line that quotes a code",
            MatchSpec { code: codes(&["H12"]), ..none() },
            app(Kind::App, b"at=error code=H12"),
            false,
        ),
        ("the runbook's text", runbook.clone(), app(Kind::WorkerTimeout, timeout), true),
        ("a decoy with the runbook's text", runbook.clone(), app(Kind::App, b"note: WORKER TIMEOUT is bad"), true),
        ("an api line with the text", runbook.clone(), app(Kind::Api, b"Set WORKER TIMEOUT"), true),
        ("the platform saying the text", runbook, heroku(Kind::HerokuOther, "web.1", timeout), false),
        (
            "text without a source: app",
            MatchSpec { text: texts(&["TIMEOUT"]), ..none() },
            app(Kind::App, timeout),
            true,
        ),
        (
            "text without a source: heroku",
            MatchSpec { text: texts(&["TIMEOUT"]), ..none() },
            heroku(Kind::DynoExit, "web.1", timeout),
            false,
        ),
        (
            "heroku's text",
            MatchSpec { source: Some(Source::Heroku), text: texts(&["SIGKILL"]), ..none() },
            heroku(Kind::DynoEvent, "web.1", b"with SIGKILL"),
            true,
        ),
        (
            "heroku's text, router",
            MatchSpec { source: Some(Source::Heroku), text: texts(&["timeout"]), ..none() },
            h12,
            false,
        ),
        (
            "the router by name",
            MatchSpec {
                source: Some(Source::Heroku),
                process: globs(&["router"]),
                text: texts(&["timeout"]),
                ..none()
            },
            h12,
            true,
        ),
        ("the router by kind", MatchSpec { kind: vec![Kind::Router], text: texts(&["timeout"]), ..none() }, h12, true),
        (
            "the router by code",
            MatchSpec { code: codes(&["H12"]), regex: Some("host=time".into()), ..none() },
            h12,
            true,
        ),
        (
            "the router by code, other text",
            MatchSpec { code: codes(&["H12"]), text: texts(&["shop"]), ..none() },
            h12,
            false,
        ),
        (
            "a kind and a text",
            MatchSpec { kind: vec![Kind::DynoCrash], text: texts(&["starting"]), ..none() },
            heroku(Kind::DynoCrash, "web.1", b"State changed from starting to crashed"),
            true,
        ),
        (
            "one of several texts",
            MatchSpec { text: texts(&["a", "WORKER", "TIMEOUT"]), ..none() },
            app(Kind::App, timeout),
            true,
        ),
        (
            "text and regex, one fails",
            MatchSpec { text: texts(&["WORKER"]), regex: Some("pid:18".into()), ..none() },
            app(Kind::App, timeout),
            false,
        ),
        (
            "bytes that are not UTF-8",
            MatchSpec { regex: Some("caf(?-u:.)!".into()), ..none() },
            app(Kind::App, b"\0caf\xe9!"),
            true,
        ),
        (
            "regex without literals",
            MatchSpec { regex: Some(r"\d{4}-\d\d".into()), ..none() },
            app(Kind::App, timeout),
            true,
        ),
        (
            "regex in any case",
            MatchSpec { regex: Some("(?i)worker timeout".into()), ..none() },
            app(Kind::App, timeout),
            true,
        ),
        ("status class", MatchSpec { status: statuses(&["5xx"]), ..none() }, h12, true),
        ("status", MatchSpec { status: statuses(&["404", "502"]), ..none() }, h12, false),
        (
            "process type",
            MatchSpec { source: Some(Source::App), process: globs(&["web"]), ..none() },
            app(Kind::App, b""),
            true,
        ),
        ("process, whole", MatchSpec { process: globs(&["web.2"]), ..none() }, app(Kind::App, b""), false),
        ("dyno that served", MatchSpec { dyno: globs(&["web.*"]), ..none() }, h12, true),
        ("no dyno is no dyno's", MatchSpec { dyno: globs(&["*"]), ..none() }, request("", None, 503, "/"), false),
        ("path", MatchSpec { path_prefix: texts(&["/o", "/orders", "/x"]), ..none() }, h12, true),
        ("path within", MatchSpec { path_prefix: texts(&["/7"]), ..none() }, h12, false),
        (
            "status and path",
            MatchSpec { status: statuses(&["200"]), path_prefix: texts(&["/orders"]), ..none() },
            h12,
            false,
        ),
        (
            "our own kind",
            MatchSpec { kind: vec![Kind::DrainRejected], ..none() },
            heroku(Kind::DrainRejected, "dynowatch", b""),
            true,
        ),
    ];
    for (name, spec, signal, want) in cases {
        let matcher = matcher([rule("rule", spec.clone())]);
        let mut hits = Vec::new();
        matcher.hits(&matcher.for_app("shop"), &signal, &mut hits);
        assert_eq!(hits, if want { vec![RuleIndex(0)] } else { vec![] }, "{name}");
        assert_eq!(naive(&spec, &signal), want, "{name}, naively");
    }
}

#[test]
fn rules_for_other_apps_are_left_out() {
    let spec = || MatchSpec { text: texts(&["x"]), ..MatchSpec::default() };
    let mut shop = rule("shop", spec());
    shop.apps = globs(&["shop-*"]);
    let matcher = matcher([shop, rule("all", spec())]);
    for (app, want) in [("shop-web", vec![RuleIndex(0), RuleIndex(1)]), ("blog", vec![RuleIndex(1)])] {
        let mut hits = Vec::new();
        matcher.hits(&matcher.for_app(app), &line(Source::App, Kind::App, "web.1", b"xx"), &mut hits);
        hits.sort_unstable();
        assert_eq!(hits, want, "{app}");
    }
}

#[test]
fn levels_see_their_lines() {
    let ratio =
        Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 50, window: Duration::from_secs(300) };
    let absence = Condition::Absence { fewer_than: 1, window: Duration::from_secs(600), lively: None };
    let none = MatchSpec::default;
    let app_line = line(Source::App, Kind::App, "clock.1", b"nightly job done");
    let (good, bad) = (request("web.1", None, 200, "/orders"), request("web.1", Some("H12"), 503, "/orders"));
    let cases: [(&str, &Condition, MatchSpec, [Option<bool>; 3]); 5] = [
        ("share of all", &ratio, MatchSpec { status: statuses(&["5xx"]), ..none() }, [Some(false), Some(true), None]),
        ("share by code", &ratio, MatchSpec { code: codes(&["H13"]), ..none() }, [Some(false), Some(false), None]),
        (
            "share of some",
            &ratio,
            MatchSpec { status: statuses(&["5xx"]), path_prefix: texts(&["/api"]), ..none() },
            [None, None, None],
        ),
        ("any line", &absence, none(), [Some(false), Some(false), Some(false)]),
        ("a job", &absence, MatchSpec { text: texts(&["job done"]), ..none() }, [None, None, Some(false)]),
    ];
    for (name, condition, spec, want) in cases {
        let rule = Rule::new(name, spec, condition.clone());
        let matcher = matcher([rule]);
        let app = matcher.for_app("shop");
        let seen = |signal| seen(&matcher, &app, &signal).remove(name);
        assert_eq!([good, bad, app_line].map(seen), want, "{name}");
        let mut hits = Vec::new();
        matcher.hits(&app, &bad, &mut hits);
        assert!(hits.is_empty(), "{name}");
    }
}

/// What a line is to each ratio and absence rule that counts it: whether it fits the share.
fn seen(matcher: &Matcher, app: &AppRules, signal: &Signal<'_>) -> BTreeMap<String, bool> {
    let mut seen = BTreeMap::new();
    matcher.level_hits(app, signal, &mut Vec::new(), |population, place| {
        for (rule, share) in population.rules().filter(|(_, share)| place.share.is_none() || *share == place.share) {
            let first = seen.insert(rule.name.clone(), place.share.is_some()).is_none();
            assert!(first || share.is_some(), "{} counts a line twice", rule.name);
        }
    });
    seen
}

#[test]
fn many_level_rules_see_what_each_sees_alone() {
    let ratio =
        Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 50, window: Duration::from_secs(300) };
    let absence = Condition::Absence { fewer_than: 1, window: Duration::from_secs(600), lively: None };
    let none = MatchSpec::default;
    let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
    let mut specs = Vec::new();
    for i in 0..12 {
        let (dyno, process) = (format!("web.{i}"), format!("worker{i}"));
        specs.push((&absence, MatchSpec { dyno: names(&[dyno.as_str()]), ..none() }));
        specs.push((&absence, MatchSpec { process: names(&[process.as_str(), &format!("{process}.1")]), ..none() }));
        specs.push((&absence, MatchSpec { text: texts(&[&format!("job {i} done")]), ..none() }));
        specs.push((&ratio, MatchSpec { status: statuses(&[&format!("50{}", i % 10)]), ..none() }));
        specs.push((
            &ratio,
            MatchSpec { status: statuses(&["5xx"]), path_prefix: texts(&["/", &format!("/a{i}")]), ..none() },
        ));
        specs.push((
            &ratio,
            MatchSpec { code: codes(&[&format!("H1{}", i % 10), "H27"]), status: statuses(&["503"]), ..none() },
        ));
    }
    specs.push((&absence, none()));
    specs.push((&absence, MatchSpec { regex: Some("job [0-9]+ (began|done)".into()), ..none() }));
    specs.push((&absence, MatchSpec { process: names(&["wor*"]), ..none() }));
    specs.push((&ratio, MatchSpec { status: statuses(&["4xx", "5xx"]), dyno: names(&["web.*"]), ..none() }));
    let rules: Vec<Rule> = specs
        .into_iter()
        .enumerate()
        .map(|(i, (condition, spec))| Rule::new(&format!("rule-{i}"), spec, condition.clone()))
        .collect();
    let lines = [
        request("web.1", None, 200, "/orders"),
        request("web.2", Some("H12"), 503, "/a1/b"),
        request("web.11", Some("H27"), 503, "/a11"),
        request("web.11", Some("H27"), 499, "/a11"),
        request("run.1", None, 502, "*"),
        line(Source::App, Kind::App, "worker3.1", b"job 3 done"),
        line(Source::App, Kind::App, "worker11", b"job 11 began"),
        line(Source::App, Kind::App, "web.4", b"job 1 done, job 10 done"),
        line(Source::Heroku, Kind::DynoState, "web.5", b"State changed from up to crashed"),
    ];
    let together = matcher(rules.clone());
    for signal in lines {
        let all = seen(&together, &together.for_app("shop"), &signal);
        for rule in &rules {
            let alone = matcher([rule.clone()]);
            let want = seen(&alone, &alone.for_app("shop"), &signal).remove(&rule.name);
            assert_eq!(all.get(&rule.name).copied(), want, "{} of {:?}", rule.name, rule.matches);
        }
    }
}

/// A line costs a population, not its rules.
#[test]
fn rules_about_the_same_lines_share_their_sums() {
    let condition = |percent: usize| Condition::Ratio {
        threshold: format!("> {}%", percent % 100).parse().unwrap(),
        requests_min: 50,
        window: Duration::from_secs(300),
    };
    let spec = MatchSpec { status: statuses(&["5xx"]), ..MatchSpec::default() };
    let all = matcher((0..1_000).map(|i| Rule::new(&format!("rule-{i}"), spec.clone(), condition(i))));
    let mut sums = 0;
    all.level_hits(&all.for_app("shop"), &request("web.1", None, 503, "/"), &mut Vec::new(), |_, _| sums += 1);
    assert_eq!(sums, 2, "one for the requests, one for the share");
}

#[test]
fn the_path_is_asked_for_only_when_some_rule_reads_it() {
    let mut grouped = rule("grouped", MatchSpec { code: codes(&["H12"]), ..MatchSpec::default() });
    assert!(!matcher([grouped.clone()]).needs_path());
    grouped.group_by = vec![GroupBy::PathPrefix];
    assert!(matcher([grouped]).needs_path());
    assert!(matcher([rule("path", MatchSpec { path_prefix: texts(&["/"]), ..MatchSpec::default() })]).needs_path());
}

#[test]
fn errors_name_the_rule_and_the_key() {
    let long = "x".repeat(1_000);
    let cases: [(MatchSpec, &str, &str); 4] = [
        (
            MatchSpec { regex: Some("(a".into()), ..MatchSpec::default() },
            "match.regex",
            "unclosed group, at character 1",
        ),
        (
            MatchSpec { regex: Some(r"x\w{5000}".into()), ..MatchSpec::default() },
            "match.regex",
            "takes more than 1048576 bytes of memory",
        ),
        (
            MatchSpec { regex: Some("((a{100}){100}){100}".into()), ..MatchSpec::default() },
            "match.regex",
            "takes more than",
        ),
        (
            MatchSpec { text: (0..600).map(|i| format!("{i}{long}")).collect(), ..MatchSpec::default() },
            "match.text",
            "longer than 524288 bytes together",
        ),
    ];
    for (spec, key, text) in cases {
        let error = Matcher::new(vec![Arc::new(rule("mine", spec))]).unwrap_err();
        assert!(error.rule == "mine" && error.key == key && error.text.contains(text), "{error}");
    }
}

/// A thousand rules, and each line finds its own.
#[test]
fn a_thousand_rules() {
    let rules = (0..1_000).map(|i| {
        let spec = match i % 4 {
            0 => MatchSpec { text: vec![format!("marker-{i:04}-text")], ..MatchSpec::default() },
            1 => MatchSpec { regex: Some(format!("took \\d+ms in step {i:04}$")), ..MatchSpec::default() },
            2 => MatchSpec { path_prefix: vec![format!("/area/{i:04}/")], ..MatchSpec::default() },
            _ => MatchSpec {
                text: vec![format!("other-{i:04}"), "common words".into()],
                regex: Some("^begin".into()),
                ..MatchSpec::default()
            },
        };
        rule(&format!("r{i}"), spec)
    });
    let matcher = matcher(rules);
    let app = matcher.for_app("shop");
    let hits = |signal: Signal<'_>| {
        let mut hits = Vec::new();
        matcher.hits(&app, &signal, &mut hits);
        hits
    };
    let text = |text: &str| hits(line(Source::App, Kind::App, "web.1", text.as_bytes()));
    assert_eq!(text("begin marker-0400-text, marker-0400-text"), [RuleIndex(400)]);
    assert_eq!(text("took 17ms in step 0401"), [RuleIndex(401)]);
    assert_eq!(text("took 17ms in step 0401."), []);
    assert_eq!(hits(request("web.1", None, 200, "/area/0402/x")), [RuleIndex(402)]);
    assert_eq!(text("begin other-0403").len(), 1);
    assert_eq!(text("begin with common words").len(), 250);
}

/// What a match means, without any index.
fn naive(spec: &MatchSpec, signal: &Signal<'_>) -> bool {
    let contains = |text: &String| signal.text.windows(text.len()).any(|window| window == text.as_bytes());
    let is_router = signal.source == Source::Heroku && signal.kind == Kind::Router;
    let names_router = spec.process.iter().any(|glob| glob.as_str() == "router")
        || spec.kind.contains(&Kind::Router)
        || spec.code.iter().any(|code| code.letter() == b'H');
    let text_elsewhere = spec.source.is_some() || !spec.code.is_empty() || !spec.kind.is_empty();
    let text_fits_here = !spec.reads_text()
        || if is_router { names_router && text_elsewhere } else { text_elsewhere || signal.source == Source::App };
    text_fits_here
        && spec.source.is_none_or(|source| source == signal.source)
        && (spec.kind.is_empty() || spec.kind.contains(&signal.kind))
        && (spec.code.is_empty() || signal.code.is_some_and(|code| spec.code.contains(&code)))
        && (spec.status.is_empty() || signal.status.is_some_and(|s| spec.status.iter().any(|p| p.matches(s))))
        && (spec.process.is_empty()
            || spec
                .process
                .iter()
                .any(|g| g.matches(signal.process) || g.matches(Signal::process_type(signal.process))))
        && (spec.dyno.is_empty() || !signal.dyno.is_empty() && spec.dyno.iter().any(|g| g.matches(signal.dyno)))
        && (spec.path_prefix.is_empty()
            || signal.path.is_some_and(|path| spec.path_prefix.iter().any(|p| path.starts_with(p.as_bytes()))))
        && (spec.text.is_empty() || spec.text.iter().any(contains))
        && spec.regex.as_ref().is_none_or(|regex| regex::bytes::Regex::new(regex).unwrap().is_match(signal.text))
}

fn some_of<T: Clone + std::fmt::Debug + 'static>(values: &[T]) -> impl Strategy<Value = Vec<T>> + use<T> {
    // Mostly none, so that most rules ask few parts and fit something.
    let values = values.to_vec();
    let len = values.len();
    prop_oneof![3 => Just(Vec::new()), 2 => prop::sample::subsequence(values, 1..=len.min(3))]
}

const REGEXES: [&str; 7] = ["ab+c", r"\d\d", "(?i)abc", "^a", "abc|bcd", "(abc)?d", "[ab]$"];

fn spec() -> impl Strategy<Value = MatchSpec> {
    let kinds = [Kind::Router, Kind::App, Kind::DynoCrash, Kind::HerokuOther, Kind::WorkerTimeout];
    (
        some_of(&codes(&["H12", "H13", "R14"])),
        some_of(&kinds),
        prop_oneof![Just(None), Just(Some(Source::App)), Just(Some(Source::Heroku))],
        some_of(&globs(&["web", "router", "w*", "web.1"])),
        some_of(&globs(&["web.*", "*", "worker.1"])),
        some_of(&texts(&["a", "abc", "bc", "bcd", "abcabc", "d", "abcdabcd", "cd abcd"])),
        prop_oneof![3 => Just(None), 1 => prop::sample::select(&REGEXES[..]).prop_map(|r| Some(r.to_owned()))],
        some_of(&statuses(&["5xx", "404", "200"])),
        some_of(&texts(&["/", "/a", "/a/b", "/ab"])),
    )
        .prop_map(|(code, kind, source, process, dyno, text, regex, status, path_prefix)| MatchSpec {
            code,
            kind,
            source,
            process,
            dyno,
            text,
            regex,
            status,
            path_prefix,
        })
}

proptest! {
    #[test]
    fn agrees_with_the_meaning(
        specs in prop::collection::vec(spec(), 1..30),
        lines in prop::collection::vec((0_usize..6, prop::sample::select(&["web.1", "web.2", "router", "worker.1", ""][..]), "[abcdABC0-9 ]{0,12}(abcdabcd|cd abcd|abcdabc)?[a-d]{0,9}", "(/[ab]{0,2}){0,3}", prop::sample::select(&[200_u16, 404, 503][..])), 1..20),
    ) {
        let matcher = matcher(specs.iter().enumerate().map(|(i, spec)| rule(&format!("r{i}"), spec.clone())));
        let app = matcher.for_app("shop");
        for (shape, name, text, path, status) in &lines {
            let text = text.as_bytes();
            let signal = match shape {
                0 => Signal { text, ..request(name, None, *status, path) },
                1 => Signal { text, ..request(name, Some("H12"), *status, path) },
                2 => Signal { code: Code::parse("R14"), ..line(Source::Heroku, Kind::DynoError, name, text) },
                3 => line(Source::Heroku, Kind::DynoCrash, name, text),
                4 => line(Source::App, Kind::WorkerTimeout, name, text),
                _ => line(Source::App, Kind::App, name, text),
            };
            let mut hits = vec![RuleIndex(9_999)];
            matcher.hits(&app, &signal, &mut hits);
            hits.sort_unstable();
            let want: Vec<RuleIndex> = (0..).map(RuleIndex).zip(&specs).filter(|(_, spec)| naive(spec, &signal)).map(|(at, _)| at).collect();
            prop_assert_eq!(&hits[..hits.len() - 1], &want[..], "{:?}", signal);
        }
    }
}
