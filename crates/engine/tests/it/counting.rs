//! Counts: windows, keys, cool-downs, resolution, and what operators do to them.

use dynowatch_domain::alert::{Effect, ResolveReason};
use dynowatch_domain::rule::{GroupBy, Rule};
use dynowatch_engine::Limits;
use dynowatch_store::alerts::AlertState;

use crate::harness::{
    Config, On, Stage, app_line, at, by_code, count, frame, h12, h12_rule, r14, seconds, worker_timeout,
    worker_timeout_rule,
};

pub(crate) async fn s01_the_fourth_h12_trips(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.live("shop", h12, &["0:00", "1:00", "2:00"]).await;
    stage.until("4:58").await;
    stage.told(&[]);
    stage.live("shop", h12, &["4:59"]).await;
    let text = stage.told(&["4:59 operator: [firing] h12 on shop"]).remove(0).text;
    for part in ["4 events in 5m (threshold &gt; 3)", "At: 2026-05-07 08:04:59 UTC", "Runbook: docs/runbooks/h12.md"] {
        assert!(text.contains(part), "{part:?} is missing in {text}");
    }
    stage.live("shop", h12, &["5:30"]).await;
    stage.told(&[]);
    stage.end().await;
}

pub(crate) async fn s02_exactly_the_threshold_is_quiet(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule(), worker_timeout_rule()]).await;
    stage.live("shop", h12, &["0:00", "0:05", "0:10"]).await;
    stage.live("shop", worker_timeout, &["0:11", "0:21"]).await;
    stage.until("2:09").await;
    stage.told(&[]);
    stage.live("shop", worker_timeout, &["2:10"]).await;
    stage.told(&["2:10 operator: [firing] worker-timeout on shop"]);
    stage.end().await;
}

pub(crate) async fn s03_a_window_has_no_fixed_edges(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.live("shop", h12, &["4:58", "4:59", "5:01"]).await;
    stage.told(&[]);
    stage.live("shop", h12, &["5:02"]).await;
    stage.told(&["5:02 operator: [firing] h12 on shop"]);
    // Open at its beginning: with a line that is just five minutes old, four do not make it.
    stage.live("mail", h12, &["6:00", "7:00", "8:00", "11:00"]).await;
    stage.told(&[]);
    stage.end().await;
}

pub(crate) async fn s04_a_sustained_storm_repeats_and_resolves_once(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }]).await;
    let stamps: Vec<String> = (0..=96).map(|i| format!("{}:{:02}", i * 10 / 60, i * 10 % 60)).collect();
    let stamps: Vec<&str> = stamps.iter().map(String::as_str).collect();
    stage.live("shop", h12, &stamps).await;
    stage.until("30:00").await;
    stage.told(&[
        "0:30 operator: [firing] h12 on shop",
        "5:30 operator: [still firing] h12 on shop, 29 held back",
        "10:30 operator: [still firing] h12 on shop, 29 held back",
        "15:30 operator: [still firing] h12 on shop, 29 held back",
        "25:30 operator: [resolved] h12 on shop",
    ]);
    let alert = stage.alert().await;
    assert_eq!(
        (alert.row.state, alert.row.facts.first_at, alert.row.facts.last_at),
        (AlertState::Resolved, at("0:00"), at("16:00"))
    );
    let held = alert.decisions.iter().filter(|(_, effect)| matches!(effect, Effect::CooldownHeld { .. })).count();
    assert_eq!(held, 4, "one line for each cool-down, however long the storm: {:#?}", alert.decisions);
    stage.end().await;
}

pub(crate) async fn s05_keys_share_no_cooldown(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule(), worker_timeout_rule()]).await;
    let storm = |stamp: &str| [h12(stamp), h12(stamp), h12(stamp), h12(stamp)];
    stage.post("0:00", "shop", &storm("0:00")).await;
    stage.post("1:00", "mail", &storm("1:00")).await;
    stage.post("1:30", "shop", &[worker_timeout("1:30"), worker_timeout("1:30"), worker_timeout("1:30")]).await;
    stage.told(&[
        "0:00 operator: [firing] h12 on shop",
        "1:00 operator: [firing] h12 on mail",
        "1:30 operator: [firing] worker-timeout on shop",
    ]);
    stage.end().await;
}

pub(crate) async fn s06_disorder_counts_at_its_own_stamps(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    for stamp in ["0:10", "0:40", "0:20", "0:30"] {
        stage.post("0:45", "shop", &[h12(stamp)]).await;
    }
    stage.told(&["0:45 operator: [firing] h12 on shop"]);
    for stamp in ["0:00", "6:00", "12:00", "3:00"] {
        stage.post("12:05", "mail", &[h12(stamp)]).await;
    }
    stage.told(&[]);
    stage.end().await;
}

pub(crate) async fn s07_a_repeated_frame_counts_once(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.until("0:10").await;
    let two = [h12("0:05"), h12("0:06")];
    for _ in 0..3 {
        stage.post_frame("shop", "again", &two).await.unwrap();
    }
    // The process that took it is gone.
    stage.restart().await;
    stage.post_frame("shop", "again", &two).await.unwrap();
    stage.until("4:50").await;
    stage.post_frame("shop", "again", &two).await.unwrap();
    // Another app may well use the same id.
    stage.post_frame("mail", "again", &[h12("4:50"), h12("4:50"), h12("4:50")]).await.unwrap();
    stage.post("4:51", "shop", &[h12("4:51")]).await;
    stage.told(&[]);
    stage.post("4:52", "shop", &[h12("4:52")]).await;
    let told = stage.told(&["4:52 operator: [firing] h12 on shop"]);
    assert!(told[0].text.contains("4 events"), "{}", told[0].text);
    // C3: for an hour at least, and to a process that never saw it as well.
    stage.config.levels = false;
    stage.until("59:50").await;
    stage.restart().await;
    stage.post_frame("shop", "again", &two).await.unwrap();
    let lines = async |stage: &Stage| {
        let shop = stage.engine().app_named("shop").await.unwrap();
        stage.engine().totals(&shop, |totals| totals.counts.lines())
    };
    assert_eq!(lines(&stage).await, 0);
    stage.post_frame("shop", "another", &two).await.unwrap();
    assert_eq!(lines(&stage).await, 2);
    stage.end().await;
}

/// True from 0:00 to 0:30, and again from 1:30 on.
pub(crate) async fn s08_a_flap_under_for_stays_quiet(on: On) {
    let rule = count("h12", h12_rule().matches, ">= 2", 30);
    let mut stage = Stage::with(on, vec![Rule { pending_for: seconds(60), ..rule }]).await;
    stage.post("0:00", "shop", &[h12("0:00"), h12("0:00")]).await;
    assert_eq!(stage.engine().store().alert_counts().await.unwrap().pending, 1);
    stage.until("0:31").await;
    assert_eq!(stage.engine().store().alert_counts().await.unwrap().pending, 0, "dropped");
    for stamp in ["1:30", "1:50", "2:10", "2:20"] {
        stage.post(stamp, "shop", &[h12(stamp), h12(stamp)]).await;
    }
    stage.until("2:29").await;
    stage.told(&[]);
    stage.until("2:31").await;
    stage.told(&["2:30 operator: [firing] h12 on shop"]);
    stage.end().await;
}

pub(crate) async fn s09_dynos_recover_one_by_one(on: On) {
    let rule = count("r14", by_code(b'R', 14), ">= 2", 60);
    let rule = Rule {
        group_by: vec![GroupBy::Dyno],
        send_resolved: true,
        resolve_after: seconds(60),
        cooldown: seconds(3_600),
        ..rule
    };
    let mut stage = Stage::with(on, vec![rule]).await;
    let two = |stamp: &str, dyno: &str| [r14(stamp, dyno), r14(stamp, dyno)];
    stage.post("0:00", "shop", &[two("0:00", "web.1"), two("0:00", "web.2"), two("0:00", "web.3")].concat()).await;
    stage.told_in_any_order(&[
        "0:00 operator: [firing] r14 on shop (web.1)",
        "0:00 operator: [firing] r14 on shop (web.2)",
        "0:00 operator: [firing] r14 on shop (web.3)",
    ]);
    stage.post("1:00", "shop", &[two("1:00", "web.2"), two("1:00", "web.3")].concat()).await;
    stage.post("2:00", "shop", &two("2:00", "web.3")).await;
    stage.until("3:30").await;
    assert_eq!(stage.engine().store().alert_counts().await.unwrap().firing, 1, "the third goes on");
    stage.until("4:30").await;
    stage.told(&[
        "2:00 operator: [resolved] r14 on shop (web.1)",
        "3:00 operator: [resolved] r14 on shop (web.2)",
        "4:00 operator: [resolved] r14 on shop (web.3)",
    ]);
    stage.end().await;
}

pub(crate) async fn a_batch_fires_by_itself(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:10", "shop", &["0:01", "0:02", "0:03", "0:04", "0:05"].map(h12)).await;
    let told = stage.told(&["0:10 operator: [firing] h12 on shop"]);
    assert!(told[0].text.contains("4 events"), "as of the line that tipped it: {}", told[0].text);
    assert_eq!(stage.alert().await.row.facts.count, 5, "and what came after joined it");
    stage.end().await;
}

/// C2: the window it completes is past, yet it was true.
pub(crate) async fn a_late_line_fires_once(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:20", "shop", &["0:00", "0:10", "0:20"].map(h12)).await;
    stage.post("16:40", "shop", &[h12("16:40")]).await;
    stage.told(&[]);
    stage.post("16:41", "shop", &[h12("0:15")]).await;
    stage.told(&["16:41 operator: [firing] h12 on shop"]);
    stage.post("16:42", "shop", &[h12("0:16")]).await;
    stage.end().await;
}

pub(crate) async fn stamps_of_months_ago_fire_once(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: false, ..h12_rule() }]).await;
    let old = || frame(at("-150000:00"), "heroku", "router", "at=error code=H12 desc=\"Request timeout\"");
    for when in ["0:00", "0:01", "0:02", "0:03", "0:04"] {
        stage.post(when, "shop", &[old()]).await;
    }
    stage.told(&["0:03 operator: [firing] h12 on shop"]);
    stage.until("10:00").await;
    assert_eq!(stage.alert().await.row.state, AlertState::Resolved);
    // What resolved is forgotten: an echo counts from one.
    stage.post("10:00", "shop", &[old(), old(), old()]).await;
    stage.told(&[]);
    stage.end().await;
}

pub(crate) async fn stamps_ahead_count_as_now(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    stage.post("0:00", "shop", &[h12("5:01"), h12("90:00"), h12("180:00")]).await;
    stage.told(&[]);
    // Up to five minutes ahead a clock is believed: 4:59 and 0:00 lie in one window.
    stage.post("0:01", "shop", &[h12("4:59")]).await;
    stage.told(&["0:01 operator: [firing] h12 on shop"]);
    let engine = stage.engine();
    let shop = engine.app_named("shop").await.unwrap();
    assert_eq!(engine.totals(&shop, |totals| totals.counts.ahead), 3);
    stage.end().await;
}

/// C9 inside C5: fires again while its predecessor's cool-down runs.
pub(crate) async fn a_refire_waits_for_the_cooldown(on: On) {
    let rule = Rule {
        resolve_after: seconds(10),
        cooldown: seconds(600),
        send_resolved: true,
        ..count("h12", h12_rule().matches, "> 3", 60)
    };
    let mut stage = Stage::with(on, vec![rule]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.until("1:10").await;
    stage.told(&["0:00 operator: [firing] h12 on shop", "1:10 operator: [resolved] h12 on shop"]);
    // It fires at 5:00 and is kept up until the cool-down of 0:00 ends at 10:00.
    for stamp in ["5:00", "5:50", "6:40", "7:30", "8:20", "9:10"] {
        stage.post(stamp, "shop", &[stamp; 4].map(h12)).await;
    }
    stage.told(&[]);
    stage.until("10:05").await;
    stage.told(&["10:00 operator: [firing] h12 on shop, 20 held back"]);
    stage.until("11:00").await;
    stage.told(&["10:20 operator: [resolved] h12 on shop"]);
    let alerts = stage.alerts().await;
    assert_eq!(alerts.len(), 2);
    assert_eq!(alerts[1].row.previous, alerts[0].row.id, "a new alert links to the one before it");
    stage.end().await;
}

/// It fired and resolved while its predecessor's cool-down ran: nobody was to be told.
pub(crate) async fn a_short_refire_is_told_or_not_at_all(on: On) {
    let rule = Rule {
        resolve_after: seconds(10),
        cooldown: seconds(600),
        send_resolved: true,
        ..count("h12", h12_rule().matches, "> 3", 60)
    };
    let mut stage = Stage::with(on, vec![rule]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.post("3:00", "shop", &["3:00"; 4].map(h12)).await;
    stage.until("9:00").await;
    stage.told(&["0:00 operator: [firing] h12 on shop", "1:10 operator: [resolved] h12 on shop"]);
    let alerts = stage.alerts().await;
    assert_eq!(alerts.iter().map(|alert| alert.row.told).collect::<Vec<_>>(), [true, false]);
    assert!(alerts.iter().all(|alert| alert.row.state == AlertState::Resolved));
    stage.end().await;
}

pub(crate) async fn groups_over_the_limit_share_one(on: On) {
    let rule = count("r14", by_code(b'R', 14), ">= 2", 300);
    let rule = Rule { group_by: vec![GroupBy::Dyno], ..rule };
    let limits = Limits { groups_per_rule: 2, ..Limits::default() };
    let mut stage = Stage::configured(on, Config { limits, ..Config::of(vec![rule]) }).await;
    // All at once, so that the limit must hold within one commit, too.
    stage.post("0:00", "shop", &["web.1", "web.2", "web.3", "web.4"].map(|dyno| r14("0:00", dyno))).await;
    stage.told(&["0:00 operator: [firing] r14 on shop (groups over the limit)"]);
    stage.post("0:30", "shop", &["web.5", "web.6"].map(|dyno| r14("0:30", dyno))).await;
    stage.post("0:31", "shop", &[r14("0:31", "web.2")]).await;
    stage.told(&["0:31 operator: [firing] r14 on shop (web.2)"]);
    assert!(stage.engine().stats().groups_overflowed.get() >= 2, "an operator sees it");
    stage.end().await;
}

/// What is over `limits.apps` is counted together, alerts under its own name, and takes no place of the apps there are.
pub(crate) async fn apps_over_the_limit_share_one(on: On) {
    // The stage has two of its own.
    let limits = Limits { apps: 3, ..Limits::default() };
    let mut stage = Stage::configured(on, Config { limits, ..Config::of(vec![h12_rule()]) }).await;
    let engine = stage.engine();
    assert_eq!(engine.app_of_token("d.third").await.unwrap().name, "d.third");
    assert_eq!(engine.app_named("fourth").await.unwrap().name, "other", "by the drain's URL");
    assert_eq!(engine.app_of_token("d.fifth").await.unwrap().name, "other", "by the drain's token");
    assert_eq!(engine.app_named("dynowatch").await.unwrap().name, "dynowatch", "ours is not turned away");
    assert_eq!(engine.app_of_token("d.third").await.unwrap().name, "d.third");
    assert_eq!((engine.apps().len(), engine.stats().apps_overflowed.get()), (5, 2), "an operator sees it");
    drop(engine);
    // Two apps of which nobody knows, and one that is known: each pair of lines is one app's.
    for app in ["fourth", "sixth", "mail"] {
        stage.post("0:10", app, &["0:10"; 2].map(h12)).await;
    }
    stage.told(&["0:10 operator: [firing] h12 on other"]);
    stage.restart().await;
    assert_eq!(stage.engine().app_named("seventh").await.unwrap().name, "other");
    stage.end().await;
}

pub(crate) async fn closing_by_key_touches_no_other(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.post("0:00", "mail", &["0:00"; 4].map(h12)).await;
    stage.told(&["0:00 operator: [firing] h12 on shop", "0:00 operator: [firing] h12 on mail"]);
    let engine = stage.engine();
    for unknown in ["h12/nobody", "nothing/shop", "h12/shop/dyno=web.1"] {
        assert!(!engine.close_alert(unknown, &ops()).await.unwrap(), "{unknown}: nothing to do is success");
    }
    stage.until("1:00").await;
    assert!(engine.close_alert("h12/shop", &ops()).await.unwrap());
    assert!(!engine.close_alert("h12/shop", &ops()).await.unwrap(), "closed already");
    stage.passes().await;
    stage.told(&["1:00 operator: [resolved] h12 on shop"]);
    let alerts = stage.alerts().await;
    assert_eq!(alerts[0].row.state, AlertState::Firing, "mail");
    assert_eq!(alerts[1].row.resolve_reason, Some(ResolveReason::ClosedByOperator { by: "ops".into() }));
    stage.until("10:30").await;
    stage.told(&["10:00 operator: [resolved] h12 on mail"]);
    stage.end().await;
}

pub(crate) async fn a_rule_is_switched_off_for_a_while(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }, worker_timeout_rule()]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.told(&["0:00 operator: [firing] h12 on shop"]);
    assert_eq!(stage.engine().disable_rule("h12", seconds(1_200), &ops()).await.unwrap(), at("20:00"));
    stage.passes().await;
    assert_eq!(stage.alert().await.row.resolve_reason, Some(ResolveReason::RuleGone));
    stage.post("6:00", "shop", &["6:00"; 4].map(h12)).await;
    // A restart does not switch it on again, and other rules go on.
    stage.restart().await;
    stage.post("7:00", "shop", &["7:00"; 4].map(h12)).await;
    stage.post("7:01", "shop", &["7:01"; 3].map(worker_timeout)).await;
    stage.told(&["7:01 operator: [firing] worker-timeout on shop"]);
    stage.until("20:10").await;
    stage.post("20:20", "shop", &["20:20"; 4].map(h12)).await;
    stage.told(&["20:20 operator: [firing] h12 on shop"]);
    // Switched on again before its time.
    stage.engine().disable_rule("h12", seconds(3_600), &ops()).await.unwrap();
    stage.until("26:00").await;
    assert!(stage.engine().enable_rule("h12", &ops()).await.unwrap());
    stage.post("26:00", "shop", &["26:00"; 4].map(h12)).await;
    stage.told(&["26:00 operator: [firing] h12 on shop"]);
    stage.until("37:00").await;
    stage.told(&["36:00 operator: [resolved] h12 on shop"]);
    stage.end().await;
}

pub(crate) async fn an_adopted_app_keeps_its_state_when_renamed(on: On) {
    let token = "d.01234567-89ab-4cde-8f01-23456789abcd";
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    let app = stage.engine().app_of_token(token).await.unwrap();
    assert_eq!(app.name, token);
    stage.post_to(&app, None, &["0:00"; 3].map(h12)).await.unwrap();
    stage.until("0:30").await;
    let adopted = stage.engine().app_of_token(token).await.unwrap();
    assert_eq!(adopted.host_hint.as_deref(), Some("shop.example.com"), "a hint for naming it");
    stage.engine().rename_app(token, "store-front", &ops()).await.unwrap();
    let renamed = stage.engine().app_of_token(token).await.unwrap();
    assert_eq!((renamed.id, renamed.name.as_str()), (app.id, "store-front"));
    stage.post_to(&renamed, None, &[h12("0:30")]).await.unwrap();
    stage.passes().await;
    stage.told(&["0:30 operator: [firing] h12 on store-front"]);
    // One that still holds the old handle counts for the same app.
    stage.post_to(&app, None, &[h12("0:31")]).await.unwrap();
    assert_eq!(stage.alerts().await.len(), 1);
    stage.end().await;
}

/// C27.
pub(crate) async fn the_clock_goes_backwards(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..h12_rule() }]).await;
    stage.until("30:00").await;
    stage.post("30:00", "shop", &["30:00"; 4].map(h12)).await;
    stage.told(&["30:00 operator: [firing] h12 on shop"]);
    stage.clock.set(at("20:00"));
    stage.passes().await;
    stage.post_now("shop", &["20:00"; 4].map(h12)).await.unwrap();
    stage.post_now("shop", &[app_line("20:00", "web.1", "nothing new")]).await.unwrap();
    stage.until("30:30").await;
    stage.told(&[]);
    stage.until("40:30").await;
    stage.told(&["40:00 operator: [resolved] h12 on shop"]);
    stage.end().await;
}

/// Someone at the machine.
fn ops() -> dynowatch_domain::account::audit::Actor {
    dynowatch_domain::account::audit::Actor::here("ops")
}
