//! Several processes on one Postgres: checks are shared out, run by one of them at a time, and taken over within 30 s.

use std::collections::BTreeMap;

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_engine::{Engine, EngineOptions, Loops};

use crate::checks::web;
use crate::harness::{Config, On, Stage, seconds};
use crate::script::Finds;

/// Another process beside the stage's own.
async fn another(play: &Stage) -> (Engine, Loops) {
    let options = EngineOptions {
        clock: play.clock.clone(),
        store: play.another_store().await,
        settings: play.settings(),
        limits: play.config.limits,
        commits: tokio::runtime::Handle::current(),
    };
    let (engine, loops) = Engine::start(options).await.unwrap();
    engine.probe_with(play.config.script.clone().unwrap());
    (engine, loops)
}

/// What its loops would do now.
async fn round(engine: &Engine) {
    engine.refresh_pass().await.unwrap();
    engine.check_passes().await.unwrap();
    for job in engine.start_due_checks() {
        engine.clone().run_check(job).await;
    }
    engine.settle_checks().await.unwrap();
    engine.send_pass().await.unwrap();
}

/// How many checks each process holds.
async fn owners(engine: &Engine) -> BTreeMap<String, usize> {
    let mut owners = BTreeMap::new();
    for row in engine.store().check_rows().await.unwrap() {
        let owner = row.owner.filter(|(_, until)| *until > engine.now()).map_or_else(String::new, |(owner, _)| owner);
        *owners.entry(owner).or_default() += 1;
    }
    owners
}

#[tokio::test]
async fn shared_out_and_taken_over() {
    let names: Vec<String> = (0..20).map(|n| format!("c{n:02}")).collect();
    let config = Config::checks(names.iter().map(|name| web(name, 1, 1)).collect());
    let mut play = Stage::configured(On::Postgres, config).await;
    let script = play.config.script.clone().unwrap();
    play.until("2:00").await;
    let (second, _loops) = another(&play).await;
    for _ in 0..40 {
        play.until_time(play.clock.now() + seconds(1)).await;
        play.engine().refresh_pass().await.unwrap();
        round(&second).await;
    }
    assert_eq!(owners(&second).await.into_values().collect::<Vec<_>>(), [10, 10]);
    // Each is run once a minute, by one of them.
    let before: Vec<usize> = names.iter().map(|name| script.begun(name).len()).collect();
    for name in &names {
        script.finds(name, Finds::Wrong(Reason::Timeout));
    }
    for _ in 0..60 {
        play.until_time(play.clock.now() + seconds(1)).await;
        play.engine().refresh_pass().await.unwrap();
        round(&second).await;
    }
    for (name, before) in names.iter().zip(before) {
        assert_eq!(script.begun(name).len(), before + 1, "{name}");
    }
    play.passes().await;
    let fired = play.take_told();
    assert_eq!(fired.len(), 20, "{fired:#?}");
    let ids: Vec<_> = play.alerts().await.into_iter().map(|alert| alert.row.id).collect();

    // One of them dies.
    play.crash();
    for _ in 0..30 {
        play.clock.set(play.clock.now() + seconds(1));
        round(&second).await;
    }
    assert_eq!(owners(&second).await.into_values().collect::<Vec<_>>(), [20]);
    for name in &names {
        script.finds(name, Finds::Up);
    }
    for _ in 0..75 {
        play.clock.set(play.clock.now() + seconds(1));
        round(&second).await;
    }
    play.collect();
    let told = play.take_told();
    let resolved = told.iter().filter(|told| told.title.starts_with("[resolved]")).count();
    assert_eq!((resolved, told.len()), (20, 20), "{told:#?}");
    play.start().await;
    let after: Vec<_> = play.alerts().await.into_iter().map(|alert| alert.row.id).collect();
    assert_eq!(after, ids);
    play.take_told();
}
