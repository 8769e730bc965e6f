//! Restarts, reloads and crashes: nothing is lost, nothing is repeated but what may be.

use dynowatch_domain::rule::Rule;
use dynowatch_engine::Refused;
use dynowatch_store::alerts::AlertState;
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::postgres::TestDatabase;

use crate::harness::{
    Config, On, Stage, at, count, frame, h12, h12_rule, seconds, worker_timeout, worker_timeout_rule,
};

pub(crate) async fn s20_a_reload_drops_nothing_and_repeats_nothing(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule(), worker_timeout_rule()]).await;
    stage.post("2:00", "shop", &["2:00"; 4].map(h12)).await;
    stage.post("2:00", "mail", &["2:00"; 3].map(h12)).await;
    stage.post("2:00", "shop", &["2:00"; 2].map(worker_timeout)).await;
    stage.told(&["2:00 operator: [firing] h12 on shop"]);
    stage.until("3:00").await;
    stage.reload().await;
    stage.told(&[]);
    // Windows went on: the fourth, and the third.
    stage.post("3:30", "mail", &[h12("3:30")]).await;
    stage.post("3:31", "shop", &[worker_timeout("3:31")]).await;
    stage.told(&["3:30 operator: [firing] h12 on mail", "3:31 operator: [firing] worker-timeout on shop"]);
    // The cool-down, too: it ends at 7:00.
    stage.post("6:50", "shop", &["6:50"; 4].map(h12)).await;
    stage.told(&[]);
    // A rule that is gone closes what it had open, without a word; one that is new begins.
    stage.config.rules =
        vec![h12_rule(), Rule { send_resolved: true, ..count("h12-fast", h12_rule().matches, "> 1", 60) }];
    stage.until("6:55").await;
    stage.reload().await;
    stage.post("7:10", "shop", &["7:10"; 2].map(h12)).await;
    stage.post("7:11", "shop", &["7:11"; 3].map(worker_timeout)).await;
    stage.told_in_any_order(&[
        "7:10 operator: [firing] h12-fast on shop",
        "7:10 operator: [still firing] h12 on shop, 4 held back",
    ]);
    stage.until("20:00").await;
    stage.told(&["13:10 operator: [resolved] h12-fast on shop"]);
    stage.end().await;
}

pub(crate) async fn s42_a_restart_in_the_middle(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }]).await;
    stage.post("0:01", "shop", &["0:01"; 4].map(h12)).await;
    stage.told(&["0:01 operator: [firing] h12 on shop"]);
    stage.until("0:02").await;
    stage.restart().await;
    stage.post("0:05", "shop", &[h12("0:05")]).await;
    stage.until("4:00").await;
    stage.restart().await;
    stage.told(&[]);
    // Nobody is there when it resolves; it is told when somebody is.
    stage.crash();
    stage.nobody_until("12:00");
    stage.start().await;
    stage.told(&["12:00 operator: [resolved] h12 on shop"]);
    stage.restart().await;
    stage.end().await;
}

pub(crate) async fn windows_outlive_a_restart(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    for stamp in ["0:00", "1:00", "2:00"] {
        stage.post(stamp, "shop", &[h12(stamp)]).await;
        stage.restart().await;
    }
    stage.post("4:59", "shop", &[h12("4:59")]).await;
    stage.told(&["4:59 operator: [firing] h12 on shop"]);
    stage.end().await;
}

/// C24: the intent is there before the message.
pub(crate) async fn a_crash_before_sending_loses_nothing(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.until("0:10").await;
    stage.post_now("shop", &["0:10"; 4].map(h12)).await.unwrap();
    stage.crash();
    stage.nobody_until("0:15");
    stage.start().await;
    stage.told(&["0:15 operator: [firing] h12 on shop"]);
    stage.end().await;
}

/// C24, C26: what may have been accepted is sent again under the same key, and says so. On one SQLite file at once, on
/// Postgres, where another process might be at it, when the claim runs out.
pub(crate) async fn a_crash_between_acceptance_and_result_may_repeat(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.until("0:10").await;
    stage.post_now("shop", &["0:10"; 4].map(h12)).await.unwrap();
    // What a sender does, up to the moment before the result is stored.
    let engine = stage.engine();
    let claimed = engine.store().claim_deliveries(engine.now(), "a process about to die", 10, &[]).await.unwrap();
    engine.receivers().deliver(&claimed[0].outgoing, engine.now()).await;
    stage.collect();
    let first = stage.told(&["0:10 operator: [firing] h12 on shop"]).remove(0);
    drop(engine);
    stage.restart().await;
    stage.until("0:40").await;
    let again = match on {
        On::Sqlite => "0:10 operator: [firing] h12 on shop, perhaps again",
        On::Postgres => "0:30 operator: [firing] h12 on shop, perhaps again",
    };
    let second = stage.told(&[again]).remove(0);
    assert_eq!(first.idempotency_key, second.idempotency_key);
    stage.end().await;
}

/// C25.
pub(crate) async fn a_cooldown_outlives_a_restart(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.told(&["0:00 operator: [firing] h12 on shop"]);
    stage.until("4:00").await;
    stage.restart().await;
    stage.post("4:55", "shop", &["4:55"; 4].map(h12)).await;
    stage.told(&[]);
    stage.restart().await;
    stage.post("5:05", "shop", &[h12("5:05")]).await;
    stage.told(&["5:05 operator: [still firing] h12 on shop, 4 held back"]);
    stage.end().await;
}

/// A line that comes before the overdue timer is looked at meets what a punctual look would have left.
pub(crate) async fn a_resolve_that_was_late_forgets_as_a_punctual_one(on: On) {
    let old = || frame(at("-150000:00"), "heroku", "router", "at=error code=H12 desc=\"Request timeout\"");
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:00", "shop", &[old(), old(), old(), old()]).await;
    stage.told(&["0:00 operator: [firing] h12 on shop"]);
    stage.clock.set(at("30:00"));
    stage.post_now("shop", &[old(), old()]).await.unwrap();
    stage.passes().await;
    stage.told(&[]);
    assert_eq!(stage.alert().await.row.state, AlertState::Resolved);
    // What came with the late look counts, here and after a restart: these two and two more.
    stage.restart().await;
    stage.post("30:10", "shop", &[old()]).await;
    stage.told(&[]);
    stage.post("30:11", "shop", &[old()]).await;
    stage.told(&["30:11 operator: [firing] h12 on shop"]);
    stage.end().await;
}

pub(crate) async fn an_orderly_stop_keeps_everything(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:05", "shop", &["0:05"; 3].map(h12)).await;
    stage.stop().await;
    stage.start().await;
    stage.post("0:06", "shop", &[h12("0:06")]).await;
    let told = stage.told(&["0:06 operator: [firing] h12 on shop"]);
    assert!(!told[0].text.contains("Lower bound"), "we missed nothing: {}", told[0].text);
    stage.end().await;
}

/// A key that is due by the old rule and not by the new one is looked at once, not for ever.
pub(crate) async fn a_longer_calm_after_a_reload_keeps_nobody_busy(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.told(&["0:00 operator: [firing] h12 on shop"]);
    stage.config.rules = vec![Rule { send_resolved: true, resolve_after: seconds(1_200), ..h12_rule() }];
    stage.until("9:00").await;
    stage.reload().await;
    stage.until("10:01").await;
    assert_eq!(stage.engine().wake_pass().await.unwrap(), 0, "nothing is due before 25:00");
    assert_eq!(stage.engine().store().next_wake_at().await.unwrap(), Some(at("25:00")));
    stage.until("26:00").await;
    stage.told(&["25:00 operator: [resolved] h12 on shop"]);
    stage.end().await;
}

/// Promise 1: what the store did not take is refused, changes nothing, counts when it comes again, and the gap is kept.
#[tokio::test]
async fn while_the_store_is_away_nothing_is_promised() {
    let database = TestDatabase::proxied().await;
    let rule = Rule { receivers: vec!["hook".into()], ..h12_rule() };
    let mut stage = Stage::on_database(Some(database), Config::of(vec![rule])).await;
    stage.post("0:00", "shop", &["0:00"; 2].map(h12)).await;
    stage.until("0:30").await;
    stage.database().cut().await;
    let two = ["0:30"; 2].map(h12);
    assert_eq!(stage.post_frame("shop", "later", &two).await, Err(Refused::StoreAway));
    stage.database().restore().await;
    stage.passes().await;
    stage.told(&[]);
    stage.post_frame("shop", "later", &two).await.unwrap();
    stage.post_frame("shop", "later", &two).await.unwrap();
    stage.passes().await;
    let told = stage.told(&["0:30 hook: [firing] h12 on shop"]);
    assert_eq!(told[0].body["measured"], "at least 4 events");
    // It is written down, so that the next process knows of it.
    stage.until("0:45").await;
    stage.restart().await;
    stage.until("0:50").await;
    let blinds = stage.engine().store().all_blinds_between(at("0:00"), at("0:50")).await.unwrap();
    assert!(
        blinds.iter().any(|(_, blind)| blind.reason.as_str() == "refused" && blind.lines_lost == Some(2)),
        "{blinds:?}"
    );
    stage.hook.otherwise(Behaviour::Ok);
    stage.end().await;
}

/// A batch without a Frame-Id whose answer was lost, as when its process died after the commit, counts once when it comes
/// again, to whomever. What was answered and comes again was meant.
pub(crate) async fn a_body_whose_answer_was_lost_counts_once(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    let two = ["0:10"; 2].map(h12);
    stage.until("0:10").await;
    let app = stage.engine().app_named("shop").await.unwrap();
    stage.post_to(&app, None, &two).await.unwrap();
    // The answer never reached the sender.
    stage.restart().await;
    let app = stage.engine().app_named("shop").await.unwrap();
    stage.until("0:20").await;
    stage.post_to(&app, None, &two).await.unwrap();
    stage.passes().await;
    stage.told(&[]);
    // An equal one a minute later is no repetition.
    stage.until("1:25").await;
    stage.post_to(&app, None, &two).await.unwrap();
    stage.passes().await;
    stage.told(&["1:25 operator: [firing] h12 on shop"]);
    stage.end().await;
}

pub(crate) async fn equal_bodies_that_were_answered_count_each(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.until("0:10").await;
    let app = stage.engine().app_named("shop").await.unwrap();
    for _ in 0..2 {
        stage.post_to(&app, None, &[h12("0:10")]).await.unwrap();
    }
    // As soon as they are answered the store may forget them, and a process that answered none of them counts on.
    stage.engine().forget_answered().await.unwrap();
    stage.restart().await;
    let app = stage.engine().app_named("shop").await.unwrap();
    for _ in 0..2 {
        stage.post_to(&app, None, &[h12("0:10")]).await.unwrap();
    }
    stage.passes().await;
    stage.told(&["0:10 operator: [firing] h12 on shop"]);
    stage.end().await;
}

/// However soon the next process starts, the time between is known once the old one is known to be dead.
pub(crate) async fn a_short_absence_is_as_long_as_it_was(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.until("1:00").await;
    stage.crash();
    stage.nobody_until("1:03");
    stage.start().await;
    stage.until("1:30").await;
    let blinds = stage.engine().store().all_blinds_between(at("0:00"), at("2:00")).await.unwrap();
    let times: Vec<_> = blinds.iter().map(|(app, blind)| (*app, blind.from, blind.until)).collect();
    assert_eq!(times, [(None, at("1:00"), at("1:03"))]);
    stage.end().await;
}

/// Of several processes one removes old rows.
pub(crate) async fn housekeeping_is_one_processs_work(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    let long_ago = dynowatch_testkit::clock::moment("2024-01-01T00:00:00Z");
    let release = frame(long_ago, "app", "api", "Release v1 created by user dev@example.com");
    stage.post("0:01", "shop", &[release]).await;
    let engine = stage.engine();
    let kept = async || engine.store().releases_since(long_ago - seconds(1)).await.unwrap().len();
    assert_eq!(kept().await, 1);
    engine.store().acquire_lease("housekeeping", "another process", engine.now(), seconds(60)).await.unwrap().unwrap();
    engine.housekeeping_pass().await.unwrap();
    assert_eq!(kept().await, 1, "it is the other one's turn");
    stage.until("1:10").await;
    stage.engine().housekeeping_pass().await.unwrap();
    assert_eq!(kept().await, 0);
    stage.end().await;
}
