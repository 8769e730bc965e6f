//! Replays of logs of a few lines, fed in parts.

use std::time::Duration;

use dynowatch_domain::rule::{Condition, GroupBy, MatchSpec};
use dynowatch_domain::rule_pack;
use dynowatch_domain::signal::Code;
use dynowatch_domain::threshold::{NoData, Threshold};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::parse("2026-05-07T08:00:00Z").unwrap() + Duration::from_secs(seconds.unsigned_abs())
}

fn line(seconds: i64, app: &str, process: &str, text: &str) -> String {
    format!("<158>1 {} host {app} {process} - {text}\n", at(seconds))
}

fn framed(messages: &[String]) -> String {
    messages.iter().map(|message| format!("{} {message}", message.len())).collect()
}

fn count(name: &str, matches: MatchSpec, threshold: &str, window_s: u64) -> Rule {
    let window = Duration::from_secs(window_s);
    Rule::new(name, matches, Condition::Count { threshold: threshold.parse().unwrap(), window })
}

fn text(text: &str) -> MatchSpec {
    MatchSpec { text: vec![text.to_owned()], ..MatchSpec::default() }
}

fn replay(rules: Vec<Rule>) -> Replay {
    Replay::new(rules, "shop", Masker::default(), 2).unwrap()
}

/// `second what key count`, one for each happening.
fn shown(happenings: &[Happening]) -> Vec<String> {
    let show = |one: &Happening| {
        let count = one.count.map(|n| format!(" {n}")).unwrap_or_default();
        format!("{} {} {}{count}", one.at.since(at(0)).as_secs(), one.what, one.key)
    };
    happenings.iter().map(show).collect()
}

#[test]
fn a_text_that_was_cut_in_two_is_found_in_every_format() {
    let long = format!("{}WORKER TIMEOUT{}", "x".repeat(9_990), "y".repeat(500));
    let (first, second) = long.split_at(10_000);
    let (first, second) = (line(1, "app", "web.1", first), line(1, "app", "web.1", second));
    let other = line(1, "app", "web.2", "meanwhile");
    let whole = [first.clone(), other.clone(), second.clone()];
    let bare = [first.trim_end().to_owned(), other, second];
    for (format, messages) in [(Format::Logplex, bare), (Format::Syslog, whole)] {
        let mut replay = replay(vec![count("worker-timeout", text("WORKER TIMEOUT"), ">= 1", 60)]);
        // The file may be read in parts that end between the pieces.
        for message in messages {
            let part = if format == Format::Logplex { framed(&[message]) } else { message };
            replay.feed(format, part.as_bytes());
        }
        let (happenings, summary) = replay.finish();
        assert_eq!(shown(&happenings)[0], "1 firing worker-timeout/shop 1", "{format:?}");
        assert_eq!(summary.counts.lines(), 3, "each piece is a line of the log");
    }
}

/// The last piece was lost: what is there is looked at when the clock has gone on, not at the end of the log.
#[test]
fn a_line_that_never_ends_is_looked_at_all_the_same() {
    let first = format!("WORKER TIMEOUT{}", "x".repeat(9_986));
    let log: String = (0..40)
        .map(|s| line(s, "app", "web.2", "tick"))
        .chain([line(40, "app", "web.1", &first)])
        .chain((41..60).map(|s| line(s, "app", "web.2", "tick")))
        .collect();
    let mut replay = replay(vec![count("worker-timeout", text("WORKER TIMEOUT"), ">= 1", 60)]);
    replay.feed(Format::Syslog, log.as_bytes());
    assert_eq!(shown(&replay.happenings()), ["49 firing worker-timeout/shop 1"]);
}

#[test]
fn groups_over_the_limit_share_one_until_others_are_at_rest() {
    let rule = Rule {
        group_by: vec![GroupBy::Dyno],
        ..count(
            "r14",
            MatchSpec { code: Code::new(b'R', 14).into_iter().collect(), ..MatchSpec::default() },
            ">= 2",
            60,
        )
    };
    let r14 = |s: i64, dyno: &str| line(s, "heroku", dyno, "Error R14 (Memory quota exceeded)");
    let mut replay = replay(vec![rule]);
    let mut log: Vec<String> = (0..10).map(|s| line(s, "app", "web.9", "tick")).collect();
    log.extend(["web.1", "web.2", "web.3", "web.4"].map(|dyno| r14(10, dyno)));
    log.extend((0..90).map(|minute| line(20 + minute * 60, "app", "web.9", "tick")));
    log.extend([r14(5_400, "web.5"), r14(5_400, "web.5")]);
    replay.feed(Format::Syslog, log.concat().as_bytes());
    let (happenings, summary) = replay.finish();
    assert_eq!(shown(&happenings)[..1], ["10 firing r14/shop/other 2"]);
    assert!(shown(&happenings).contains(&"5400 firing r14/shop/dyno=web.5 2".to_owned()), "{:?}", shown(&happenings));
    assert_eq!(summary.groups_overflowed, 2);
}

#[test]
fn a_stamp_far_ahead_counts_as_arrived_now_and_moves_no_clock() {
    let mut log: Vec<String> = (0..20).map(|s| line(s, "app", "web.1", "tick")).collect();
    log.push(line(86_400 * 365, "app", "web.2", "boom"));
    log.extend((20..40).map(|s| line(s, "app", "web.1", "tick")));
    log.push(line(40, "app", "web.1", "boom"));
    let mut replay = replay(vec![count("boom", text("boom"), ">= 2", 60)]);
    replay.feed(Format::Syslog, log.concat().as_bytes());
    let (happenings, summary) = replay.finish();
    assert_eq!(shown(&happenings)[0], "40 firing boom/shop 2");
    assert_eq!((summary.counts.ahead, summary.until), (1, Some(at(40))));
}

/// A share is known by looking, and after its last line nobody looks.
#[test]
fn a_share_that_is_open_at_the_end_stays_open_and_a_count_runs_out() {
    let share = MatchSpec { status: vec!["5xx".parse().unwrap()], ..MatchSpec::default() };
    let condition =
        Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 5, window: Duration::from_secs(60) };
    let request = |s: i64| {
        line(
            s,
            "heroku",
            "router",
            "at=info method=GET path=\"/\" host=x dyno=web.1 connect=1ms service=2ms status=500 bytes=0",
        )
    };
    let rules = vec![Rule::new("share", share.clone(), condition), count("errors", share, ">= 5", 60)];
    let mut replay = replay(rules);
    replay.feed(Format::Syslog, (0..31).map(request).collect::<String>().as_bytes());
    let (happenings, _) = replay.finish();
    let words: Vec<(&str, &str)> = happenings.iter().map(|one| (one.what, one.rule.as_str())).collect();
    assert!(words.contains(&("firing", "share")) && words.contains(&("firing", "errors")), "{words:?}");
    assert!(words.contains(&("resolved", "errors")) && !words.contains(&("resolved", "share")), "{words:?}");
}

#[test]
fn blind_times_are_joined_and_bounded() {
    let loss = |s: i64| {
        let text = "Error L10 (output buffer overflow): 7 messages dropped since ";
        line(s, "heroku", "logplex", &format!("{text}{}.", at((s - 5).max(0))))
    };
    let mut replay = replay(vec![count("boom", text("boom"), ">= 1", 60)]);
    replay.feed(Format::Syslog, (0..500).map(|n| loss(n * 2)).collect::<String>().as_bytes());
    replay.finish_reading();
    assert_eq!(replay.blinds.len(), 1, "neighbours are one");
    assert_eq!((replay.blinds[0].1.from, replay.blinds[0].1.until), (at(0), at(998)));
}

fn limit(name: &str, threshold: Threshold) -> Rule {
    Rule {
        group_by: vec![GroupBy::App],
        resolve_after: Duration::from_secs(30),
        ..Rule::new(name, MatchSpec::default(), Condition::Threshold(threshold))
    }
}

fn on(metric: &str, fires: &str) -> Threshold {
    Threshold::new(metric, fires.parse().unwrap())
}

fn memory(s: i64, dyno: &str, used_mb: f64) -> String {
    let text = format!("source={dyno} dyno=heroku.1.u sample#memory_total={used_mb:.2}MB sample#memory_quota=512.00MB");
    line(s, "heroku", dyno, &text)
}

/// The pack's own rule: five minutes over 90 % of the quota, told with the value, over below 85 %.
#[test]
fn memory_over_its_limit() {
    let rule = rule_pack::rules().into_iter().find(|rule| rule.name == "memory-high").unwrap();
    let used = |s: i64| if (20..620).contains(&s) { 500.0 } else { 300.0 };
    let log: String =
        (0..1_200).step_by(20).map(|s| memory(s, "worker.1", used(s)) + &memory(s, "web.1", 200.0)).collect();
    let mut replay = replay(vec![rule]);
    for part in log.as_bytes().split_inclusive(|byte| *byte == b'\n') {
        replay.feed(Format::Syslog, part);
    }
    let (happenings, _) = replay.finish();
    let key = "memory-high/shop/process_type=worker";
    assert_eq!(
        shown(&happenings),
        [format!("330 firing {key}"), format!("340 cooldown {key}"), format!("970 resolved {key}")]
    );
    assert_eq!(happenings[0].measured.as_deref(), Some("97.66 %"));
    assert!(happenings[0].condition.contains("max of dyno.memory_percent > 90"), "{}", happenings[0].condition);
}

/// Whose silence is news fires without data; otherwise an open alert stays open, and that is said.
#[test]
fn no_data_is_an_outcome_of_its_own() {
    let rules = [NoData::Fire, NoData::Unknown, NoData::Ok]
        .map(|no_data| limit(no_data.as_str(), Threshold { no_data, ..on("custom.depth", "> 5") }));
    let mut log: String = (0..60).step_by(10).map(|s| line(s, "app", "worker.1", "sample#depth=9")).collect();
    log.extend((60..300).step_by(10).map(|s| line(s, "app", "web.1", "hello")));
    let mut replay = replay(rules.to_vec());
    replay.feed(Format::Syslog, log.as_bytes());
    let mut told = shown(&replay.finish().0);
    told.retain(|one| !one.contains("cooldown"));
    let want = [
        "10 firing fire/shop",
        "10 firing ok/shop",
        "10 firing unknown/shop",
        "120 held_unknown unknown/shop",
        "150 resolved ok/shop",
    ];
    assert_eq!(told, want);
}

/// After months without a line nothing that was open then is told again, and looks go on.
#[test]
fn a_gap_of_months_is_passed_over() {
    let depth = |s: i64, depth: i64| line(s, "app", "worker.1", &format!("sample#depth={depth}"));
    let month = 30 * 86_400;
    let mut log: String = (0..40).step_by(10).map(|s| depth(s, 9)).collect();
    log.extend((0..12).map(|n| depth(month + n * 10, 1)));
    let mut replay = replay(vec![limit("depth", on("custom.depth", "> 5"))]);
    replay.feed(Format::Syslog, log.as_bytes());
    let mut told = shown(&replay.finish().0);
    told.retain(|one| !one.contains("cooldown"));
    let resolved = format!("{} resolved depth/shop", month + 40);
    assert_eq!(told, ["10 firing depth/shop", "100 held_unknown depth/shop", resolved.as_str()]);
}

#[test]
fn what_no_rule_asks_for_is_not_gathered() {
    assert!(replay(vec![count("boom", text("boom"), ">= 1", 60)]).metrics.is_none());
    let other = Rule { apps: vec!["mail".parse().unwrap()], ..limit("depth", on("custom.depth", "> 5")) };
    assert!(replay(vec![other]).metrics.is_none(), "of another app");
    let off = Rule { enabled: false, ..limit("depth", on("custom.depth", "> 5")) };
    assert!(replay(vec![off]).metrics.is_none());
}
