//! What a line costs the matcher, by the number of rules: the promise is that 1 and 1,000 cost nearly the same.

#![expect(clippy::expect_used, reason = "a bench with a broken set-up has nothing to measure")]

use std::sync::Arc;
use std::time::Duration;

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use dynowatch_domain::Timestamp;
use dynowatch_domain::matcher::{Matcher, RuleIndex};
use dynowatch_domain::rule::{Condition, MatchSpec, Rule};
use dynowatch_domain::rule_pack;
use dynowatch_domain::signal::{Kind, Signal, Source};

fn main() {
    divan::main();
}

const PATTERNS: [usize; 4] = [0, 1, 100, 1_000];

/// Texts as people write them: words of the domain, one of them rare.
fn pattern(i: usize) -> String {
    const VERBS: [&str; 8] = ["charge", "refund", "import", "export", "upload", "sync", "render", "deliver"];
    const ENDS: [&str; 5] =
        ["failed permanently", "gave up after retries", "was rejected", "timed out", "lost its lease"];
    format!("{} {:04} {}", VERBS[i % VERBS.len()], i, ENDS[i % ENDS.len()])
}

/// `patterns` rules of one text each, and the built-in pack as on every instance.
fn matcher(patterns: usize) -> Matcher {
    let condition = Condition::Count { threshold: "> 3".parse().expect("a count"), window: Duration::from_secs(300) };
    let own = (0..patterns).map(|i| {
        let matches = MatchSpec { text: vec![pattern(i)], ..MatchSpec::default() };
        Rule::new(&format!("own-{i}"), matches, condition.clone())
    });
    let pack = rule_pack::rules().into_iter().filter(|rule| rule.enabled);
    Matcher::new(pack.chain(own).map(Arc::new).collect()).expect("good rules")
}

fn line(source: Source, kind: Kind, process: &'static str, status: Option<u16>, text: &str) -> Signal<'static> {
    let text: &'static [u8] = Box::leak(text.to_owned().into_bytes().into_boxed_slice());
    let dyno = if kind == Kind::Router { "web.1" } else { process };
    Signal {
        at: Timestamp::UNIX_EPOCH,
        source,
        kind,
        process: process.as_bytes(),
        dyno: dyno.as_bytes(),
        code: None,
        status,
        path: (kind == Kind::Router).then_some(b"/orders?id=7"),
        text,
    }
}

fn app_lines() -> Vec<Signal<'static>> {
    let texts = [
        "Started GET \"/orders/7193\" for 198.51.100.7 at 2026-05-07 08:06:12 +0000",
        "  Rendered layouts/application.html.erb (Duration: 14.2ms | Allocations: 5123)",
        "{\"level\":\"info\",\"msg\":\"job finished\",\"job\":\"SyncInventory\",\"took_ms\":183,\"queue\":\"default\"}",
        "[2026-05-07 08:06:12 +0000] [17] [INFO] delivered 3 messages to shop.example.com in 81ms",
    ];
    (0..1_000)
        .map(|i| line(Source::App, Kind::App, "web.1", None, &format!("{} {i}", texts[i % texts.len()])))
        .collect()
}

fn router_lines() -> Vec<Signal<'static>> {
    let text = "at=info method=GET path=\"/orders?id=7\" host=shop.example.com request_id=11111111-2222-4333-8444-555555555555 fwd=\"198.51.100.7\" dyno=web.1 connect=1ms service=18ms status=200 bytes=1742 protocol=https";
    (0..1_000).map(|_| line(Source::Heroku, Kind::Router, "router", Some(200), text)).collect()
}

/// Six in ten lines are the router's, as on most apps.
fn mixed_lines() -> Vec<Signal<'static>> {
    router_lines()
        .into_iter()
        .zip(app_lines())
        .enumerate()
        .map(|(i, (router, app))| if i % 10 < 6 { router } else { app })
        .collect()
}

fn run(bencher: Bencher<'_, '_>, patterns: usize, lines: Vec<Signal<'static>>) {
    let matcher = matcher(patterns);
    let app = matcher.for_app("shop-web");
    let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
    let mut hits: Vec<RuleIndex> = Vec::new();
    bencher.counter(ItemsCount::new(lines.len())).counter(BytesCount::new(bytes)).bench_local(|| {
        for line in &lines {
            hits.clear();
            matcher.hits(&app, black_box(line), &mut hits);
            black_box(&hits);
        }
    });
}

#[divan::bench(args = PATTERNS)]
fn app(bencher: Bencher<'_, '_>, patterns: usize) {
    run(bencher, patterns, app_lines());
}

#[divan::bench(args = PATTERNS)]
fn router(bencher: Bencher<'_, '_>, patterns: usize) {
    run(bencher, patterns, router_lines());
}

#[divan::bench(args = PATTERNS)]
fn mixed(bencher: Bencher<'_, '_>, patterns: usize) {
    run(bencher, patterns, mixed_lines());
}

/// `rules` ratios and absences of every sort that a team writes many of, and the built-in pack.
fn level_matcher(rules: usize) -> Matcher {
    let window = Duration::from_secs(300);
    let ratio = Condition::Ratio { threshold: "> 5%".parse().expect("a share"), requests_min: 50, window };
    let absence = Condition::Absence { fewer_than: 1, window, lively: None };
    let name = |text: String| vec![text.parse().expect("a name")];
    let status = |text: String| vec![text.parse().expect("a status")];
    let none = MatchSpec::default;
    let own = (0..rules).map(|i| {
        let (condition, matches) = match i % 6 {
            0 => {
                (&ratio, MatchSpec { status: status("5xx".into()), path_prefix: vec![format!("/area-{i}/")], ..none() })
            }
            1 => (&ratio, MatchSpec { status: status(format!("{}", 400 + i % 200)), ..none() }),
            2 => (&ratio, MatchSpec { status: status("5xx".into()), dyno: name(format!("api{i}.1")), ..none() }),
            3 => (&absence, MatchSpec { text: vec![pattern(i)], ..none() }),
            4 => (&absence, MatchSpec { process: name(format!("worker-{i}")), ..none() }),
            _ => (&absence, none()),
        };
        Rule::new(&format!("own-{i}"), matches, condition.clone())
    });
    let pack = rule_pack::rules().into_iter().filter(|rule| rule.enabled);
    Matcher::new(pack.chain(own).map(Arc::new).collect()).expect("good rules")
}

#[divan::bench(args = PATTERNS)]
fn levels(bencher: Bencher<'_, '_>, rules: usize) {
    let matcher = level_matcher(rules);
    let app = matcher.for_app("shop-web");
    let lines = mixed_lines();
    let mut found = Vec::new();
    bencher.counter(ItemsCount::new(lines.len())).bench_local(|| {
        for line in &lines {
            matcher.level_hits(&app, black_box(line), &mut found, |_, place| {
                black_box(place);
            });
        }
    });
}

#[divan::bench(args = PATTERNS)]
fn compile(bencher: Bencher<'_, '_>, patterns: usize) {
    bencher.bench(|| matcher(patterns));
}
