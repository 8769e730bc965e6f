//! What arrives when all goes well.

use dynowatch_domain::delivery::{Outcome, Outgoing};
use dynowatch_notify::{ReceiverKind, Receivers};
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::slack::{FakeSlack, TOKEN};
use dynowatch_testkit::webhook_sink::WebhookSink;
use secrecy::SecretString;

use crate::support::*;

fn accepted(detail: &str) -> Outcome {
    Outcome::Accepted { detail: detail.into() }
}

#[tokio::test]
async fn slack_gets_the_message_with_its_key() {
    let slack_api = FakeSlack::start().await;
    let outcome = deliver(slack(slack_api.url())).await;
    assert_eq!(outcome, accepted("channel D0AJ7K184TV, ts 1778140800.000001"));
    let [message] = slack_api.messages().try_into().unwrap();
    assert_eq!(message.channel, "D0AJ7K184TV");
    assert_eq!(message.request.header("idempotency-key"), Some(ID));
    assert_eq!(message.body["client_msg_id"], ID);
    for part in ["h12", "shop-web", "4 events", "5m", "&gt; 3", "2026-05-07 08:06:12 UTC", "code=H12"] {
        assert!(message.text.contains(part), "{part} in {}", message.text);
    }
}

#[tokio::test]
async fn a_slack_that_refuses_the_layout_gets_plain_text() {
    let slack_api = FakeSlack::start().await;
    slack_api.script([Behaviour::OkFalse("invalid_blocks".into())]);
    let outcome = deliver(slack(slack_api.url())).await;
    assert!(outcome.detail().ends_with("in plain text: the layout met invalid_blocks"), "{outcome:?}");
    let [message] = slack_api.messages().try_into().unwrap();
    assert!(message.blocks.is_null() && message.text.contains("code=H12"));
}

#[tokio::test]
async fn a_webhook_gets_signed_json() {
    let sink = WebhookSink::start_with_secret("s3cret-of-the-hook").await;
    assert_eq!(deliver(webhook(sink.url())).await, accepted(r#"HTTP 200: {"received":1}"#));
    let [message] = sink.messages().try_into().unwrap();
    assert_eq!(message.idempotency_key(), Some(ID));
    assert_eq!(message.body["version"], 1);
    assert_eq!(message.body["sent_at"], "2026-05-07T08:06:13Z");
    assert_eq!(message.body["evidence"][0], "at=error code=H12");
}

#[tokio::test]
async fn a_wrongly_signed_webhook_is_rejected() {
    let sink = WebhookSink::start_with_secret("another").await;
    let outcome = deliver(webhook(sink.url())).await;
    assert_eq!(outcome, Outcome::Rejected { detail: r#"HTTP 401: {"error":"wrong or missing signature"}"#.into() });
}

#[tokio::test]
async fn a_log_file_grows_by_whole_messages() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("alerts.log");
    let receivers = receivers(ReceiverKind::Log { path: Some(path.clone()) });
    let (outgoing, clone) = (outgoing(), receivers.clone());
    let (first, second) = tokio::join!(receivers.deliver(&outgoing, now()), clone.deliver(&outgoing, now()));
    assert_eq!(first, second);
    assert_eq!(first, accepted(&format!("written to {}", path.display())));
    let written = std::fs::read_to_string(&path).unwrap();
    assert_eq!(written.matches("==== 2026-05-07 08:06:13 UTC to r, delivery 019e0178").count(), 2);
    let outcome = deliver(ReceiverKind::Log { path: Some(folder.path().join("no/such/folder")) }).await;
    assert_eq!(outcome.as_str(), "misconfigured", "{outcome:?}");
}

#[tokio::test]
async fn known_secrets_leave_in_no_message_and_no_detail() {
    install_tls();
    let sink = WebhookSink::start().await;
    let url = format!("{}/T000/path-token", sink.url());
    let specs = [spec("r", webhook(&url)), spec("s", slack("http://127.0.0.1:1/api"))];
    let receivers = Receivers::build(&specs, &[SecretString::from("drain-secret-1")]).unwrap();
    let mut outgoing = outgoing();
    outgoing.notice.evidence = vec![format!("a=drain-secret-1 b={TOKEN} c={url} d=s3cret-of-the-hook.")];
    outgoing.notice.group = vec![("path".into(), "/drain-secret-1".into())];
    assert_eq!(receivers.deliver(&outgoing, now()).await.as_str(), "accepted");
    let [message] = sink.messages().try_into().unwrap();
    assert_eq!(message.body["evidence"][0], "a=[masked] b=[masked] c=[masked] d=[masked].");
    assert_eq!(message.body["group"]["path"], "/[masked]");

    let shown = format!("{specs:?} {receivers:?}");
    for secret in [TOKEN, "s3cret-of-the-hook", "path-token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let gone = Outgoing { receiver: "s".into(), ..outgoing };
    let refused = receivers.deliver(&gone, now()).await;
    assert!(!refused.detail().contains(TOKEN), "{refused:?}");
}
