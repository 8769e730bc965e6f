//! Pings, their absence and their runs.

use proptest::prelude::*;

use super::*;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn every(seconds: u64, grace: u64) -> Heartbeat {
    Heartbeat {
        expected: Expected::Every(Duration::from_secs(seconds)),
        grace: Duration::from_secs(grace),
        run_max: None,
    }
}

/// `10 start a`, `12 finish a`, `15 fail`, `20 deaf`.
fn heard(words: &[&str]) -> HeartbeatState {
    let mut state = HeartbeatState::default();
    for word in words {
        let parts: Vec<&str> = word.split(' ').collect();
        let at = t(parts[0].parse().unwrap());
        match PingKind::named(parts[1]) {
            Some(kind) => {
                let run = parts.get(2).map(|run| (*run).to_owned());
                state.take(Ping { at, kind, run, note: String::new() });
            }
            None => state.deaf(at),
        }
    }
    state
}

#[track_caller]
fn check(heartbeat: &Heartbeat, words: &[&str], now: i64, want: &str) {
    let judged = heartbeat.judge(&heard(words), t(now));
    let said = match judged.reason {
        Some(reason) => reason.name(),
        None if judged.unknown => "unknown",
        None => "up",
    };
    let look = judged.look_at.map_or_else(|| "-".to_owned(), |at| at.as_seconds().to_string());
    assert_eq!(format!("{said} {look}"), want, "{words:?} at {now}: {}", judged.detail);
}

#[test]
fn what_silence_means() {
    let job = every(60, 10);
    check(&job, &[], 1_000_000, "unknown -");
    check(&job, &["100 finish"], 169, "up 170");
    // At the deadline, not after it.
    check(&job, &["100 finish"], 170, "heartbeat_missed -");
    check(&job, &["100 finish", "200 finish"], 201, "up 270");
    check(&job, &["100 fail"], 101, "heartbeat_failed 170");
    check(&job, &["100 fail"], 170, "heartbeat_missed -");
    check(&job, &["100 fail", "120 finish"], 121, "up 190");
    // A start alone arms it; its end is due within the grace.
    check(&job, &["100 start"], 109, "up 110");
    check(&job, &["100 start"], 110, "heartbeat_unfinished -");
    check(&job, &["100 start a", "105 finish a"], 111, "up 175");
    // A start does not stand for an end.
    check(
        &Heartbeat { run_max: Some(Duration::from_secs(500)), ..job.clone() },
        &["100 finish", "165 start"],
        170,
        "heartbeat_missed -",
    );
}

#[test]
fn runs_are_told_apart() {
    let job = every(600, 30);
    check(&job, &["100 start a", "110 start b", "120 finish b"], 129, "up 130");
    check(&job, &["100 start a", "110 start b", "120 finish b"], 130, "heartbeat_unfinished -");
    check(&job, &["100 start a", "110 finish"], 140, "up 740");
    check(&job, &["100 start a", "105 start b", "110 finish"], 112, "up 130");
    let many: Vec<String> = (0..40).map(|n| format!("{n} start r{n}")).collect();
    let words: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(heard(&words).running.len(), RUNS_MAX);
    assert_eq!(heard(&["100 start a", "130 finish a"]).took, Some(Duration::from_secs(30)));
}

#[test]
fn what_we_could_not_hear_is_not_held_against_it() {
    let job = every(60, 10);
    // Away from before the deadline until 300: it may have reported, and is due again 70 s after that.
    check(&job, &["100 finish", "300 deaf"], 301, "unknown 370");
    check(&job, &["100 finish", "300 deaf"], 370, "heartbeat_missed -");
    check(&job, &["100 finish", "300 deaf", "310 finish"], 311, "up 380");
    // Back before the deadline: nothing was missed yet, but what came may have been.
    check(&job, &["100 finish", "150 deaf"], 160, "up 170");
    check(&job, &["100 finish", "150 deaf"], 170, "unknown 220");
    check(&job, &["100 start", "105 deaf"], 115, "up 170");
}

#[test]
fn cron_jobs_are_due_by_the_clock_on_the_wall() {
    let job = Heartbeat {
        expected: Expected::Cron { cron: "30 2 * * *".parse().unwrap(), zone: "Europe/Berlin".into() },
        grace: Duration::from_secs(600),
        run_max: None,
    };
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let mut state = HeartbeatState::default();
    state.take(Ping { at: at("2026-03-28T01:31:00Z"), kind: PingKind::Finish, run: None, note: String::new() });
    // On the day of the change 02:30 does not exist: it is due at 03:00.
    for (now, want) in [("2026-03-29T01:09:59Z", None), ("2026-03-29T01:10:00Z", Some(Reason::HeartbeatMissed))] {
        assert_eq!(job.judge(&state, at(now)).reason, want, "{now}");
    }
    assert_eq!(job.problems(), []);
    let never = Expected::Cron { cron: "0 0 30 2 *".parse().unwrap(), zone: "UTC".into() };
    assert!(Heartbeat { expected: never, ..job.clone() }.problems()[0].1.0.contains("never"));
    assert_eq!(every(60, 0).problems()[0].0, "grace");
}

proptest! {
    /// However often it is looked at: between pings in time it is never missed, and a silence is found at its deadline.
    #[test]
    fn a_look_at_any_time_says_the_same(gaps in prop::collection::vec(1_i64..200, 1..30), look in 0_i64..3_000) {
        let job = every(60, 10);
        let mut state = HeartbeatState::default();
        let (mut at, mut last) = (1_000, None);
        for gap in gaps {
            if at > 1_000 + look {
                break;
            }
            state.take(Ping { at: t(at), kind: PingKind::Finish, run: None, note: String::new() });
            last = Some(at);
            at += gap;
        }
        let now = t(1_000 + look);
        let judged = job.judge(&state, now);
        let silent = now.since(t(last.unwrap())) >= Duration::from_secs(70);
        prop_assert_eq!(judged.reason == Some(Reason::HeartbeatMissed), silent);
        prop_assert_eq!(judged.look_at.is_some(), !silent);
        prop_assert!(judged.look_at.is_none_or(|look| look > now));
    }
}
