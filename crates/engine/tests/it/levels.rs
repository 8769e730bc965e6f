//! Shares and silences, and what we did not see: it fires nothing and resolves nothing.

use dynowatch_domain::rule::{Condition, MatchSpec, Rule};
use dynowatch_store::alerts::AlertState;

use crate::harness::{On, Stage, app_line, at, request, seconds};

fn silence() -> Rule {
    let condition = Condition::Absence { fewer_than: 2, window: seconds(30), lively: None };
    Rule {
        receivers: vec!["operator".into()],
        resolve_after: seconds(10),
        cooldown: seconds(10),
        send_resolved: true,
        apps: vec!["shop".parse().unwrap()],
        ..Rule::new("silent", MatchSpec::default(), condition)
    }
}

fn share() -> Rule {
    let condition = Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 20, window: seconds(60) };
    let matches = MatchSpec { status: vec!["5xx".parse().unwrap()], ..MatchSpec::default() };
    Rule {
        receivers: vec!["operator".into()],
        resolve_after: seconds(30),
        send_resolved: true,
        ..Rule::new("errors", matches, condition)
    }
}

async fn chatter(stage: &mut Stage, stamps: &[&str]) {
    for stamp in stamps {
        stage.post(stamp, "shop", &["GET", "200", "ok"].map(|text| app_line(stamp, "web.1", text))).await;
    }
}

pub(crate) async fn s10_the_silence_of_an_app(on: On) {
    let mut stage = Stage::with(on, vec![silence()]).await;
    stage.until("0:29").await;
    stage.told(&[]);
    chatter(&mut stage, &["0:29"]).await;
    stage.until("0:59").await;
    stage.told(&[]);
    // Ten-second buckets: up to ten seconds late, never early.
    stage.until("1:10").await;
    stage.told(&["1:00 operator: [firing] silent on shop"]);
    chatter(&mut stage, &["1:31", "1:41", "1:51", "2:01"]).await;
    stage.told(&["1:50 operator: [resolved] silent on shop"]);
    stage.until("2:29").await;
    stage.told(&[]);
    stage.until("2:45").await;
    stage.told(&["2:40 operator: [firing] silent on shop"]);
    stage.end().await;
}

/// We were not there: whether the app was silent nobody can say, until a full window was seen.
pub(crate) async fn a_silence_outlives_our_own_blindness(on: On) {
    let mut stage = Stage::with(on, vec![silence()]).await;
    chatter(&mut stage, &["0:05", "0:15", "0:25"]).await;
    stage.crash();
    stage.nobody_until("5:00");
    stage.start().await;
    stage.until("5:29").await;
    stage.told(&[]);
    stage.until("5:35").await;
    stage.told(&["5:30 operator: [firing] silent on shop"]);
    stage.end().await;
}

/// An open silence stays open while nobody looked, and is judged again when a full window was seen.
pub(crate) async fn a_silent_app_is_not_resolved_by_our_absence(on: On) {
    let mut stage = Stage::with(on, vec![silence()]).await;
    stage.until("0:35").await;
    stage.told(&["0:30 operator: [firing] silent on shop"]);
    stage.crash();
    stage.nobody_until("30:00");
    stage.start().await;
    stage.until("31:00").await;
    stage.told(&[]);
    assert_eq!(stage.alert().await.row.state, AlertState::Firing);
    chatter(&mut stage, &["31:05", "31:15", "31:25"]).await;
    stage.told(&["31:20 operator: [resolved] silent on shop"]);
    stage.crash();
    stage.nobody_until("32:00");
    stage.start().await;
    stage.until("32:20").await;
    stage.told(&[]);
    stage.until("33:00").await;
    stage.told(&["32:30 operator: [firing] silent on shop"]);
    stage.end().await;
}

fn requests(stamp: &str, good: usize, bad: usize) -> Vec<String> {
    let good = (0..good).map(|_| request(at(stamp), "web.1", "", 200));
    good.chain((0..bad).map(|_| request(at(stamp), "web.1", "H12", 503))).collect()
}

pub(crate) async fn a_share_of_errors(on: On) {
    let mut stage = Stage::with(on, vec![share()]).await;
    stage.post("0:01", "shop", &requests("0:01", 10, 9)).await;
    stage.until("0:55").await;
    stage.told(&[]);
    stage.post("1:31", "shop", &requests("1:31", 95, 5)).await;
    stage.until("1:45").await;
    stage.told(&[]);
    stage.post("1:46", "shop", &requests("1:46", 0, 1)).await;
    stage.until("1:55").await;
    let told = stage.told(&["1:50 operator: [firing] errors on shop"]);
    assert!(told[0].text.contains("6 of 101 requests (5.9%)"), "{}", told[0].text);
    stage.until("4:00").await;
    stage.told(&["3:10 operator: [resolved] errors on shop"]);
    stage.end().await;
}

pub(crate) async fn a_share_is_unknown_while_we_were_blind(on: On) {
    let mut stage = Stage::with(on, vec![share()]).await;
    stage.post("0:05", "shop", &requests("0:05", 10, 10)).await;
    stage.until("0:15").await;
    stage.told(&["0:10 operator: [firing] errors on shop"]);
    stage.crash();
    stage.nobody_until("0:40");
    stage.start().await;
    // Half of the requests seen fail, but what of those we did not see?
    stage.post("0:41", "mail", &requests("0:41", 50, 50)).await;
    stage.until("1:39").await;
    stage.told(&[]);
    assert_eq!(stage.alert().await.row.state, AlertState::Firing);
    // From here on the whole window was seen.
    stage.until("2:30").await;
    stage.told(&[
        "1:40 operator: [firing] errors on mail",
        "2:10 operator: [resolved] errors on shop",
        "2:20 operator: [resolved] errors on mail",
    ]);
    // A batch that was turned away is a gap like any other.
    stage.post("5:01", "shop", &requests("5:01", 50, 50)).await;
    let engine = stage.engine();
    engine.refuse(&engine.app_named("shop").await.unwrap());
    stage.until("5:55").await;
    stage.told(&[]);
    stage.end().await;
}

/// A killed process takes its last ten seconds along, however soon the next one starts: a share over them is unknown. A
/// count is not: what was answered is kept.
pub(crate) async fn a_kill_is_known_however_short(on: On) {
    let mut stage = Stage::with(on, vec![share(), crate::harness::h12_rule()]).await;
    let some = |stamp: &str, status| vec![request(at(stamp), "web.1", "", status); 20];
    stage.post("0:52", "shop", &some("0:52", 503)).await;
    stage.until("1:00").await;
    stage.told(&["1:00 operator: [firing] errors on shop"]);
    // It says that it lives, takes lines, and is killed; the next one is there at once.
    stage.post("1:10", "shop", &some("1:10", 503)).await;
    stage.restart().await;
    let h12s: Vec<String> = ["1:11"; 4].map(crate::harness::h12).to_vec();
    stage.post("1:11", "shop", &h12s).await;
    let told = stage.told(&["1:11 operator: [firing] h12 on shop"]);
    assert!(!told[0].text.contains("Lower bound"), "{}", told[0].text);
    for stamp in ["1:22", "1:32", "1:42", "1:52", "2:02", "2:12", "2:22"] {
        let many = [some(stamp, 200), some(stamp, 200), some(stamp, 200)].concat();
        stage.post(stamp, "shop", &many).await;
    }
    stage.until("2:30").await;
    let blinds = stage.engine().store().all_blinds_between(at("0:00"), at("2:00")).await.unwrap();
    let times: Vec<_> = blinds.iter().map(|(app, blind)| (*app, blind.from, blind.until)).collect();
    assert_eq!(times, [(None, at("1:10"), at("1:10"))], "from the last word of the old process on");
    let alerts = stage.alerts().await;
    let share = alerts.iter().find(|alert| alert.row.key.rule == "errors").unwrap();
    assert!(format!("{share:?}").contains("HeldUnknown"), "{share:?}");
    assert!(
        stage.take_told().iter().all(|told| !told.title.contains("errors")),
        "it is not resolved by what is missing"
    );
    // One that ends in order loses nothing.
    stage.stop().await;
    stage.start().await;
    stage.until("2:50").await;
    assert_eq!(stage.engine().store().all_blinds_between(at("2:00"), at("3:00")).await.unwrap(), []);
    stage.stop().await;
}
