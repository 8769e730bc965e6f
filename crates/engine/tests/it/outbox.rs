//! Messages on their way: receivers that fail, stall and refuse, and who is told of the end.

use dynowatch_domain::delivery::DeliveryState;
use dynowatch_domain::rule::{GroupBy, Rule};
use dynowatch_store::deliveries::DeliveryFilter;
use dynowatch_testkit::http_fake::Behaviour;

use crate::harness::{Config, On, Stage, by_code, count, h12, h12_rule, r14, seconds};

fn to_both(rule: Rule) -> Rule {
    Rule { receivers: vec!["hook".into(), "operator".into()], ..rule }
}

pub(crate) async fn s39_one_good_and_one_bad_receiver(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    stage.hook.otherwise(Behaviour::status(503));
    stage.post("0:01", "shop", &["0:01"; 4].map(h12)).await;
    stage.until("0:04").await;
    stage.told(&["0:01 operator: [firing] h12 on shop"]);
    stage.hook.otherwise(Behaviour::Ok);
    stage.until("0:07").await;
    let told = stage.take_told();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!((told[0].receiver.as_str(), told[0].title.as_str()), ("hook", "[firing] h12 on shop"));
    let requests = stage.hook.requests();
    assert!(requests.len() > 3, "it was tried again and again: {}", requests.len());
    assert!(requests.iter().all(|request| request.header("idempotency-key") == Some(&told[0].idempotency_key)));
    stage.end().await;
}

pub(crate) async fn s40_a_receiver_that_times_out(on: On) {
    let config =
        Config { attempt_timeout: std::time::Duration::from_millis(100), ..Config::of(vec![to_both(h12_rule())]) };
    let mut stage = Stage::configured(on, config).await;
    stage.hook.script([Behaviour::Hang, Behaviour::Hang]);
    stage.post("0:01", "shop", &["0:01"; 4].map(h12)).await;
    stage.told(&["0:01 operator: [firing] h12 on shop"]);
    stage.until("0:04").await;
    let told = stage.take_told();
    assert_eq!(told.iter().map(|told| told.receiver.as_str()).collect::<Vec<_>>(), ["hook"]);
    let delivery = stage.alert().await.deliveries.into_iter().find(|delivery| delivery.receiver == "hook").unwrap();
    let (delivery, attempts) = stage.engine().store().delivery(delivery.id).await.unwrap();
    assert_eq!((delivery.state, attempts.len()), (DeliveryState::Sent, 3));
    assert_eq!(attempts[0].detail.as_deref(), Some("no answer within 100ms"));
    stage.end().await;
}

/// Nobody knows whether a message without an answer arrived: it goes out again under its key, and says so. An answer that
/// says no leaves no doubt.
pub(crate) async fn a_lost_answer_makes_a_possible_duplicate(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    stage.slack.script([Behaviour::DropAfterAccept]);
    stage.hook.script([Behaviour::status(503)]);
    stage.post("0:01", "shop", &["0:01"; 4].map(h12)).await;
    stage.until("0:05").await;
    let mut told = stage.take_told();
    told.retain(|told| told.receiver == "operator");
    let last = told.pop().unwrap();
    assert!(last.text.contains("Possible duplicate"), "{}", last.text);
    assert!(told.iter().all(|first| first.idempotency_key == last.idempotency_key), "{told:#?}");
    let hook = stage.hook.requests();
    assert!(hook.iter().all(|request| !String::from_utf8_lossy(&request.body).contains("\"possible_duplicate\":true")));
    stage.end().await;
}

/// C22: a 4xx is final, and an operator sees it.
pub(crate) async fn a_refusal_is_final_and_loud(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    stage.hook.script([Behaviour::status(404)]);
    stage.slack.script([Behaviour::OkFalse("channel_not_found".into())]);
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.told(&[]);
    let store = stage.engine().store().clone();
    let failed = store
        .deliveries(&DeliveryFilter { state: Some(DeliveryState::Failed), limit: 10, ..DeliveryFilter::default() })
        .await
        .unwrap();
    let mut details: Vec<&str> = failed.iter().filter_map(|delivery| delivery.detail.as_deref()).collect();
    details.sort_unstable();
    assert_eq!(details.len(), 2, "{failed:#?}");
    assert!(details[0].contains("404") && details[1].contains("channel_not_found"), "{details:?}");
    assert_eq!(store.failed_deliveries_since(crate::harness::at("-1:00")).await.unwrap(), 2);
    stage.end().await;
}

/// C22: "wait" is obeyed, and a storm of alerts does not become a storm of requests.
pub(crate) async fn a_slow_receiver_is_sent_a_few_at_a_time(on: On) {
    let rule = count("r14", by_code(b'R', 14), ">= 1", 60);
    let rule = Rule { group_by: vec![GroupBy::Dyno], receivers: vec!["hook".into()], ..rule };
    let mut stage = Stage::with(on, vec![rule]).await;
    let dynos: Vec<String> = (1..=12).map(|i| r14("0:00", &format!("web.{i}"))).collect();
    stage.hook.otherwise(Behaviour::Hang);
    stage.post_now("shop", &dynos).await.unwrap();
    let engine = stage.engine();
    let sending = tokio::spawn(async move { engine.send_pass().await });
    stage.hook.wait_for_requests(4).await;
    // Were there more on their way, they would arrive while a further request makes the whole way.
    dynowatch_testkit::http_client::get(&stage.slack.url(), &[]).await.unwrap();
    assert_eq!(stage.hook.requests().len(), 4);
    stage.hook.otherwise(Behaviour::Ok);
    stage.hook.release();
    assert_eq!(sending.await.unwrap().unwrap(), 12);
    stage.collect();
    assert_eq!(stage.take_told().len(), 12);
    stage.slack.otherwise(Behaviour::Ok);
    stage.end().await;
}

/// C6.
pub(crate) async fn resolve_notices_go_to_those_who_were_told(on: On) {
    let mut stage = Stage::with(on, vec![Rule { send_resolved: true, ..to_both(h12_rule()) }]).await;
    stage.hook.script([Behaviour::status(410)]);
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.until("11:00").await;
    stage.told(&["0:00 operator: [firing] h12 on shop", "10:00 operator: [resolved] h12 on shop"]);
    stage.end().await;
}

/// C23.
pub(crate) async fn what_is_over_before_it_was_told_is_told_once(on: On) {
    let rule = Rule {
        send_resolved: true,
        resolve_after: seconds(10),
        ..to_both(count("h12", h12_rule().matches, "> 3", 60))
    };
    let mut stage = Stage::with(on, vec![rule]).await;
    stage.hook.script([Behaviour::too_many(180)]);
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.until("2:59").await;
    stage.told(&["0:00 operator: [firing] h12 on shop", "1:10 operator: [resolved] h12 on shop"]);
    stage.until("4:00").await;
    let told = stage.told(&["3:00 hook: [fired and resolved] h12 on shop"]);
    assert_eq!(
        (told[0].body["status"].as_str(), told[0].body["resolved_at"].as_str()),
        (Some("resolved"), Some("2026-05-07T08:01:10Z"))
    );
    stage.end().await;
}
