//! When checks run, whatever the probes, the store and the receivers do (A6 to A8, A11).

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::kind::{CheckKind, RedisCheck, TlsMode};
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::check::schedule::offset;
use dynowatch_domain::check::uptime::Standing;
use dynowatch_domain::check::{Check, Source};
use dynowatch_testkit::heroku::{FakeHeroku, Trouble};
use tokio::task::JoinSet;

use crate::checks::web;
use crate::harness::{Config, On, Stage, at, seconds};
use crate::script::Finds;

fn every(name: &str, interval_s: u64) -> Check {
    Check { interval: seconds(interval_s), timeout: seconds(10), ..web(name, 2, 1) }
}

async fn play(on: On, checks: Vec<Check>) -> Stage {
    Stage::configured(on, Config::checks(checks)).await
}

pub(crate) async fn a6_no_overlap_and_the_grid(on: On) {
    let mut play = play(on, vec![every("slow", 1)]).await;
    play.until("0:10").await;
    let script = play.config.script.clone().unwrap();
    play.finds("slow", Finds::Hangs);
    let from = script.begun("slow").len();
    // Each run takes five seconds and a bit, for twenty seconds.
    for _ in 0..4 {
        while script.hung() == 0 {
            play.until_time(play.clock.now() + Duration::from_millis(100)).await;
        }
        play.until_time(play.clock.now() + Duration::from_millis(5_250)).await;
        script.let_go();
        play.run_due().await;
        play.check_round().await;
    }
    let begun = script.begun("slow");
    assert_eq!(script.most_flying("slow"), 1);
    assert!(begun.len() - from >= 4);
    // On the grid of one second, at the same place in it.
    let place = |at: &dynowatch_domain::Timestamp| at.as_micros().rem_euclid(1_000_000);
    assert!(begun[from..].iter().all(|at| place(at) == place(&begun[1])), "{begun:?}");
    play.finds("slow", Finds::Up);
    script.let_go();
    play.until_time(play.clock.now() + seconds(40)).await;
    let status = play.engine().check_status("slow").await.unwrap().row.unwrap();
    assert!((16..=24).contains(&status.missed), "{} missed", status.missed);
    play.told_of(&[]);
}

pub(crate) async fn a7_offsets_are_spread_and_stay(on: On) {
    let names: Vec<String> = (0..60).map(|n| format!("c{n:02}")).collect();
    let mut play = play(on, names.iter().map(|name| web(name, 1, 1)).collect()).await;
    let script = play.config.script.clone().unwrap();
    play.until("3:00").await;
    let last = |name: &str| *script.begun(name).last().unwrap();
    let before: Vec<_> = names.iter().map(|name| last(name)).collect();
    let mut buckets: BTreeMap<i64, u32> = BTreeMap::new();
    for at in &before {
        *buckets.entry(at.as_seconds().rem_euclid(60)).or_default() += 1;
    }
    assert!(buckets.values().all(|starts| *starts <= 4), "{buckets:?}");
    play.crash();
    play.nobody_until("9:30");
    play.start().await;
    play.until("12:00").await;
    for (name, before) in names.iter().zip(before) {
        assert_eq!(last(name).since(before).as_micros() % 60_000_000, 0, "{name}");
    }
    let row = play.engine().check_status("c00").await.unwrap().row.unwrap();
    let place = Duration::from_micros(last("c00").as_micros().rem_euclid(60_000_000).unsigned_abs());
    assert_eq!(place, offset(row.number, seconds(60)));
    play.told_of(&[]);
}

pub(crate) async fn a8_black_holes_starve_nobody(on: On) {
    let holes: Vec<String> = (0..8).map(|n| format!("hole{n}")).collect();
    let healthy: Vec<String> = (0..20).map(|n| format!("fine{n:02}")).collect();
    let checks = holes.iter().chain(&healthy).map(|name| every(name, 10)).collect();
    let mut play = play(on, checks).await;
    for hole in &holes {
        play.finds(hole, Finds::Hangs);
    }
    let script = play.config.script.clone().unwrap();
    play.until("0:30").await;
    for _ in 0..30 {
        play.until_time(play.clock.now() + seconds(10)).await;
        script.let_go();
        play.check_round().await;
    }
    for name in &healthy {
        let number = play.engine().check_status(name).await.unwrap().row.unwrap().number;
        let place = offset(number, seconds(10)).as_micros() as i64;
        let begun = script.begun(name);
        let runs: Vec<_> = begun.iter().filter(|begun| **begun > at("0:30")).collect();
        assert!(runs.len() >= 29, "{name}: {} runs", runs.len());
        for run in runs {
            let late = (run.as_micros() - place).rem_euclid(10_000_000);
            assert!(late <= 1_000_000, "{name} began {late} µs late");
        }
    }
    play.take_told();
}

pub(crate) async fn a11_a_receiver_that_hangs_holds_up_no_check(on: On) {
    let mut play = play(on, vec![web("home", 1, 1), every("other", 10)]).await;
    play.until("1:00").await;
    play.finds("home", Finds::Wrong(Reason::Timeout));
    let script = play.config.script.clone().unwrap();
    let before = script.begun("other").len();
    // Nobody sends for two minutes.
    for _ in 0..120 {
        play.clock.set(play.clock.now() + seconds(1));
        play.passes_but_sending().await;
    }
    assert!((11..=13).contains(&(script.begun("other").len() - before)));
    play.passes().await;
    play.told_of(&["[firing] check:home on shop"]);
    play.finds("home", Finds::Up);
    play.until_time(play.clock.now() + seconds(70)).await;
    play.told_of(&["[resolved] check:home on shop"]);
}

pub(crate) async fn a_store_that_is_away_holds_up_no_run(on: On) {
    let mut play = play(on, vec![every("home", 10)]).await;
    play.until("1:00").await;
    let script = play.config.script.clone().unwrap();
    let before = script.begun("home").len();
    play.finds("home", Finds::Wrong(Reason::Timeout));
    // Two minutes in which nothing is settled and no pass is made: only what is due is run.
    for _ in 0..120 {
        play.clock.set(play.clock.now() + seconds(1));
        play.run_due().await;
    }
    assert_eq!(script.begun("home").len() - before, 12);
    play.told_of(&[]);
    // It is told, late, and every run counted.
    play.passes().await;
    play.told_of(&["[firing] check:home on shop"]);
    let runs = {
        play.shown("home").await;
        play.engine().check_history("home", at("1:00"), at("3:01")).await.unwrap()
    };
    assert_eq!(runs.len(), 12);
    play.finds("home", Finds::Up);
    play.until_time(play.clock.now() + seconds(20)).await;
    play.told_of(&["[resolved] check:home on shop"]);
}

pub(crate) async fn results_that_find_no_room_are_unknown(on: On) {
    let mut play = play(on, vec![every("home", 1)]).await;
    play.until("1:00").await;
    // More results than the queue takes, none of them settled.
    for _ in 0..4_200 {
        play.clock.set(play.clock.now() + seconds(1));
        play.run_due().await;
    }
    let dropped = play.engine().stats().check_results_dropped.get();
    assert!((90..=110).contains(&dropped), "{dropped} dropped");
    play.passes().await;
    play.until_time(play.clock.now() + seconds(5)).await;
    play.shown("home").await;
    let uptime = play.engine().check_uptime("home", at("0:30"), play.clock.now()).await.unwrap();
    let unknown = uptime.spent.unknown_us / 1_000_000;
    assert!((70..=120).contains(&unknown), "{unknown} s unknown");
    play.told_of(&[]);
}

pub(crate) async fn a_clock_that_jumps_leaves_a_gap(on: On) {
    let mut play = play(on, vec![every("home", 10)]).await;
    play.until("1:00").await;
    let script = play.config.script.clone().unwrap();
    let before = script.begun("home").len();
    // The machine sleeps for ten minutes: no burst of runs afterwards, and nobody knows what was.
    play.clock.set(at("11:00"));
    play.passes().await;
    play.until("11:30").await;
    assert!((3..=4).contains(&(script.begun("home").len() - before)));
    play.shown("home").await;
    let uptime = play.engine().check_uptime("home", at("0:20"), at("11:30")).await.unwrap();
    let unknown = uptime.spent.unknown_us / 1_000_000;
    assert!((580..=610).contains(&unknown), "{unknown} s unknown: {:?}", uptime.flips);
    assert!(uptime.flips.iter().any(|flip| flip.standing == Standing::Unknown));
    let row = play.engine().check_status("home").await.unwrap().row.unwrap();
    assert!((58..=61).contains(&row.missed), "{} missed", row.missed);
    // It goes back: checks go on within their interval.
    play.clock.set(at("5:00"));
    let before = script.begun("home").len();
    for _ in 0..25 {
        play.clock.set(play.clock.now() + seconds(1));
        play.passes().await;
    }
    assert!(script.begun("home").len() - before >= 2);
    play.told_of(&[]);
}

pub(crate) async fn suspect_checks_run_faster(on: On) {
    let check = Check { suspect_interval: Some(seconds(10)), ..web("home", 3, 1) };
    let mut play = play(on, vec![check]).await;
    play.until("3:00").await;
    let script = play.config.script.clone().unwrap();
    let calm = script.begun("home").len();
    play.finds("home", Finds::Wrong(Reason::Timeout));
    let mut waited = 0;
    while play.take_told().is_empty() {
        play.until_time(play.clock.now() + seconds(1)).await;
        waited += 1;
    }
    // At most a minute to the first failure, then ten seconds to each other.
    assert!(waited <= 82, "{waited} s");
    let begun = script.begun("home");
    let gaps: Vec<u64> = begun[calm..].windows(2).map(|pair| pair[1].since(pair[0]).as_secs()).collect();
    assert_eq!(gaps.len(), 2);
    assert!(gaps.iter().all(|gap| *gap <= 10), "{gaps:?}");
    // Down is down: the calm interval again.
    play.until_time(play.clock.now() + seconds(120)).await;
    assert!(script.begun("home").len() - begun.len() <= 3);
    play.finds("home", Finds::Up);
    play.until_time(play.clock.now() + seconds(61)).await;
    play.told_of(&["[resolved] check:home on shop"]);
}

/// Many values that are needed at once are read from Heroku four at a time.
pub(crate) async fn four_config_vars_are_read_at_a_time(on: On) {
    const URL: &str = "rediss://:canary-one@redis.example:6380";
    let names: Vec<String> = (0..12).map(|n| format!("shop-{n:02}")).collect();
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        for name in &names {
            account.create(name);
            account.app(name).vars = vec![("REDIS_URL", URL.to_owned())];
        }
    });
    let check = |app: &String| {
        let url = Source::ConfigVar { app: app.clone(), name: "REDIS_URL".into() };
        let redis = RedisCheck { url, key: None, family: Default::default(), tls: TlsMode::Pin };
        Check { kind: CheckKind::Redis(redis), ..web(app, 1, 1) }
    };
    let mut play = play(on, names.iter().map(check).collect()).await;
    play.until("2:00").await;
    for name in &names {
        play.finds(name, Finds::Accepts(URL));
        fake.trouble("/config-vars", Trouble::Wait);
    }
    play.engine().connect_heroku(Some(crate::heroku::account(&fake)));
    // All of them are due by then.
    play.clock.set(at("3:00"));
    let engine = play.engine();
    engine.check_passes().await.unwrap();
    let mut runs = JoinSet::new();
    for job in engine.start_due_checks() {
        runs.spawn(engine.clone().run_check(job));
    }
    assert_eq!(runs.len(), names.len());
    for answered in 0..names.len() {
        let asked = (answered + 4).min(names.len());
        fake.wait_for_requests(asked).await;
        assert_eq!(fake.asked().len(), asked, "after {answered} answers");
        fake.let_go();
    }
    while let Some(ended) = runs.join_next().await {
        ended.unwrap();
    }
    engine.settle_checks().await.unwrap();
    for name in &names {
        assert_eq!(play.shown(name).await, "up", "{name}");
    }
    play.take_told();
}
