//! The line of diagnosis on a check's alert: the drain and the app's other checks speak to it, whichever process heard them.

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::Check;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_engine::{Engine, EngineOptions, Loops, Taken};

use crate::checks::{DOWN, web};
use crate::harness::{Config, On, Stage, request, seconds};
use crate::script::Finds;

/// A process that takes the drain in and runs no check.
async fn front(play: &Stage) -> (Engine, Loops) {
    let options = EngineOptions {
        clock: play.clock.clone(),
        store: play.another_store().await,
        settings: play.settings(),
        limits: play.config.limits,
        commits: tokio::runtime::Handle::current(),
    };
    Engine::start(options).await.unwrap()
}

async fn take(engine: &Engine, play: &Stage, lines: &[(&str, u16)]) {
    let at = play.clock.now();
    let body: String = lines.iter().map(|(code, status)| request(at, "web.1", code, *status)).collect();
    let app = engine.app_named("shop").await.unwrap();
    if let Taken::Pending(pending) = engine.take(&app, None, &bytes::Bytes::from(body)) {
        engine.keep(pending).await.unwrap();
    }
}

/// Some seconds in which the app serves, and in the later of them fails.
async fn serve(play: &mut Stage, by: Option<&Engine>, seconds_long: u64, lines: &[(&str, u16)]) {
    for _ in 0..seconds_long / 10 {
        let engine = by.cloned().unwrap_or_else(|| play.engine());
        take(&engine, play, lines).await;
        play.until_time(play.clock.now() + seconds(10)).await;
        engine.level_pass().await.unwrap();
        engine.refresh_pass().await.unwrap();
    }
}

/// What the newest alert says it means.
async fn meaning(play: &Stage) -> String {
    let alerts = play.alerts().await;
    alerts.last().unwrap().row.details.meaning.clone()
}

async fn fails(play: &mut Stage, check: &str, reason: Reason) {
    play.finds(check, Finds::Wrong(reason));
    play.runs(check, 2).await;
    play.take_told();
}

async fn recovers(play: &mut Stage, check: &str) {
    play.finds(check, Finds::Up);
    play.runs(check, 2).await;
    play.take_told();
}

pub(crate) async fn a_check_and_its_apps_own_log(on: On) {
    let child = Check { app: Some("mail".into()), ..web("post", 1, 1) };
    let mut play = Stage::configured(on, Config::checks(vec![web("home", 1, 1), web("cart", 1, 1), child])).await;
    // The router serves as ever: it is the way there.
    serve(&mut play, None, 700, &[("", 200), ("", 200), ("", 500)]).await;
    fails(&mut play, "home", Reason::Timeout).await;
    let said = meaning(&play).await;
    assert!(said.contains("while the router served ") && said.contains("look at the way there"), "{said}");
    assert!(said.ends_with("; no other check of this app fails."), "{said}");
    let status = play.engine().check_status("home").await.unwrap();
    // And the same is said when one asks, of the minutes before that.
    let asked = play.engine().check_diagnosis(&status).await;
    assert!(
        asked.contains("look at the way there") && asked.ends_with("; no other check of this app fails."),
        "{asked}"
    );
    // A drain is asked once in ten seconds, however many checks fail.
    take(&play.engine(), &play, &[("", 200)]).await;
    play.engine().level_pass().await.unwrap();
    assert_eq!(play.engine().check_diagnosis(&status).await, asked);
    play.until_time(play.clock.now() + seconds(11)).await;
    assert_ne!(play.engine().check_diagnosis(&status).await, asked);
    recovers(&mut play, "home").await;
    // The app answers with errors of the platform, and another of its checks fails.
    serve(&mut play, None, 100, &[("", 200), ("H12", 503), ("H12", 503), ("H10", 503)]).await;
    play.finds("cart", DOWN);
    fails(&mut play, "home", Reason::Timeout).await;
    let said = meaning(&play).await;
    assert!(said.contains("H12") && said.contains("H10 in 5m): the app itself"), "{said}");
    assert!(said.contains("1 other check") || said.contains("1 of 1 other checks of this app fail"), "{said}");
    play.finds("cart", Finds::Up);
    recovers(&mut play, "home").await;
    // Nothing is heard of it any more.
    play.until_time(play.clock.now() + seconds(700)).await;
    fails(&mut play, "home", Reason::Timeout).await;
    let said = meaning(&play).await;
    assert!(said.contains("the drain has been silent for 1"), "{said}");
    // An app that never had a drain, and no other check.
    fails(&mut play, "post", Reason::Timeout).await;
    let of_post = play.alerts().await.into_iter().find(|alert| alert.row.key.rule == "check:post").unwrap();
    assert_eq!(of_post.row.details.meaning, "");
    recovers(&mut play, "home").await;
    recovers(&mut play, "post").await;
}

#[tokio::test]
async fn another_process_hears_the_drain() {
    let mut play = Stage::configured(On::Postgres, Config::checks(vec![web("home", 1, 1)])).await;
    // This process heard the app once, long ago.
    serve(&mut play, None, 60, &[("", 200)]).await;
    let (other, _loops) = front(&play).await;
    serve(&mut play, Some(&other), 900, &[("", 200), ("", 200)]).await;
    let mine = play.engine();
    let app = mine.apps().by_name("shop").cloned().unwrap();
    let heard_here = mine.totals(&app, |totals| totals.newest_at);
    assert!(play.clock.now().since(heard_here) > seconds(800));
    fails(&mut play, "home", Reason::Timeout).await;
    let said = meaning(&play).await;
    assert!(said.contains("while the router served ") && !said.contains("silent"), "{said}");
    recovers(&mut play, "home").await;
    serve(&mut play, Some(&other), 120, &[("H12", 503), ("H12", 503)]).await;
    fails(&mut play, "home", Reason::Timeout).await;
    let said = meaning(&play).await;
    assert!(said.contains("H12 in 5m): the app itself"), "{said}");
    recovers(&mut play, "home").await;
}
