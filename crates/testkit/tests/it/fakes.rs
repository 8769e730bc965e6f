//! Scripted receivers: what is accepted, what is answered, what counts as a surplus.

use dynowatch_testkit::http_client::{Answer, get, post};
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::slack::{FakeSlack, TOKEN};
use dynowatch_testkit::webhook_sink::{SIGNATURE_HEADER, WebhookSink, signature};
use serde_json::json;

async fn send(slack: &FakeSlack, token: &str, channel: &str, text: &str) -> anyhow::Result<Answer> {
    let headers = [
        ("authorization", &*format!("Bearer {token}")),
        ("content-type", "application/json; charset=utf-8"),
        ("idempotency-key", "k1"),
    ];
    let body = json!({"channel": channel, "text": text}).to_string();
    post(&format!("{}/chat.postMessage", slack.url()), &headers, body).await
}

#[tokio::test]
async fn slack_keeps_what_it_accepted() {
    let slack = FakeSlack::start().await;
    let answer = send(&slack, TOKEN, "D0AJ7K184TV", "H12").await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.json()["ok"]), (200, &json!(true)));

    let message = slack.next().await;
    assert_eq!((&*message.channel, &*message.text), ("D0AJ7K184TV", "H12"));
    assert_eq!(message.idempotency_key(), Some("k1"));
    slack.finish();
}

#[tokio::test]
async fn slack_checks_tokens_and_arguments() {
    let slack = FakeSlack::start().await;
    let unauthorised = post(&format!("{}/auth.test", slack.url()), &[], "").await.unwrap();
    assert_eq!(unauthorised.json(), json!({"ok": false, "error": "not_authed"}));
    let wrong = send(&slack, "xoxb-other", "C1", "a").await.unwrap();
    assert_eq!(wrong.json(), json!({"ok": false, "error": "invalid_auth"}));
    let empty = send(&slack, TOKEN, "C1", "").await.unwrap();
    assert_eq!(empty.json(), json!({"ok": false, "error": "no_text"}));

    let bearer = format!("Bearer {TOKEN}");
    let test = post(&format!("{}/auth.test", slack.url()), &[("authorization", &bearer)], "").await.unwrap();
    assert_eq!(test.json()["ok"], json!(true));
    assert_eq!(slack.requests().len(), 4);
    slack.finish();
}

#[tokio::test]
async fn behaviours_come_in_order_and_refusals_are_not_accepted() {
    let slack = FakeSlack::start().await;
    slack.script([
        Behaviour::too_many(7),
        Behaviour::status(500),
        Behaviour::OkFalse("channel_not_found".to_owned()),
        Behaviour::Garbage,
        Behaviour::DropAfterAccept,
    ]);
    slack.script_for("C2", [Behaviour::status(404)]);

    let limited = send(&slack, TOKEN, "C1", "a").await.unwrap();
    assert_eq!(limited.status.as_u16(), 429);
    assert_eq!(limited.headers["retry-after"], "7");
    assert_eq!(send(&slack, TOKEN, "C2", "a").await.unwrap().status.as_u16(), 404);
    assert_eq!(send(&slack, TOKEN, "C1", "a").await.unwrap().status.as_u16(), 500);
    assert_eq!(send(&slack, TOKEN, "C1", "a").await.unwrap().json()["error"], json!("channel_not_found"));
    assert!(send(&slack, TOKEN, "C1", "a").await.unwrap().text().contains("<html>"));
    assert!(slack.messages().is_empty());

    assert!(send(&slack, TOKEN, "C1", "kept").await.is_err(), "the connection closes without an answer");
    assert_eq!(slack.wait_for(1).await[0].text, "kept");
    assert_eq!(slack.requests().len(), 6);
    slack.finish();
}

#[tokio::test]
async fn a_hanging_message_is_accepted_when_released() {
    let slack = std::sync::Arc::new(FakeSlack::start().await);
    slack.script([Behaviour::Hang]);
    let sender = tokio::spawn({
        let slack = std::sync::Arc::clone(&slack);
        async move { send(&slack, TOKEN, "C1", "a").await }
    });
    slack.wait_for_requests(1).await;
    assert!(slack.messages().is_empty());
    send(&slack, TOKEN, "C1", "another is not delayed").await.unwrap();
    slack.release();
    assert!(sender.await.unwrap().unwrap().status.is_success());
    let texts: Vec<String> = slack.wait_for(2).await.into_iter().map(|message| message.text).collect();
    assert_eq!(texts, ["another is not delayed", "a"]);
    slack.expect_no_more();
}

#[tokio::test]
#[should_panic(expected = "0 messages were expected, 1 more came")]
async fn a_surplus_message_fails_the_test() {
    let slack = FakeSlack::start().await;
    send(&slack, TOKEN, "C1", "a").await.unwrap();
    slack.finish();
}

#[tokio::test]
#[should_panic(expected = "behaviours that no message met: [Hang]")]
async fn a_script_that_was_not_played_fails_the_test() {
    let slack = FakeSlack::start().await;
    slack.script([Behaviour::Hang]);
    slack.finish();
}

#[tokio::test]
async fn webhooks_must_be_signed_where_there_is_a_secret() {
    let sink = WebhookSink::start_with_secret("s3cret").await;
    let body = r#"{"event":"alert.firing"}"#;
    let missing = post(&sink.url(), &[], body).await.unwrap();
    let wrong = post(&sink.url(), &[(SIGNATURE_HEADER, &signature("other", body.as_bytes()))], body).await.unwrap();
    assert_eq!((missing.status.as_u16(), wrong.status.as_u16()), (401, 401));
    let right = signature("s3cret", body.as_bytes());
    assert!(post(&sink.url(), &[(SIGNATURE_HEADER, &right)], body).await.unwrap().status.is_success());
    assert_eq!(sink.next().await.body["event"], json!("alert.firing"));
    assert_eq!(get(&sink.url(), &[]).await.unwrap().status.as_u16(), 401);
    sink.finish();
}
