//! What is made of receivers that fail, and of receivers that are not right in the first place.

use std::time::Duration;

use dynowatch_domain::delivery::{Outcome, Outgoing};
use dynowatch_notify::{BuildError, Problem, ReceiverKind, Receivers};
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::slack::FakeSlack;
use dynowatch_testkit::webhook_sink::WebhookSink;

use crate::support::*;

/// Class, then what the detail must contain.
#[track_caller]
fn check(outcome: &Outcome, class: &str, part: &str) {
    assert_eq!(outcome.as_str(), class, "{outcome:?}");
    assert!(outcome.detail().contains(part), "{part:?} in {outcome:?}");
    assert!(outcome.detail().len() <= 500);
}

fn asked(outcome: &Outcome) -> Option<Duration> {
    match outcome {
        Outcome::Retry { retry_after, .. } => *retry_after,
        _ => None,
    }
}

#[tokio::test]
async fn slack_fails_in_its_ways() {
    let slack_api = FakeSlack::start().await;
    let no = |reason: &str| Behaviour::OkFalse(reason.into());
    let cases = [
        (no("internal_error"), "retry", "Slack: internal_error", None),
        (no("channel_not_found"), "rejected", "channel_not_found; check the channel's id", None),
        (Behaviour::too_many(30), "retry", "HTTP 429", Some(30)),
        (Behaviour::status(500), "retry", "HTTP 500", None),
        (Behaviour::status(302), "rejected", "HTTP 302", None),
        (Behaviour::Garbage, "retry", "not Slack's JSON", None),
        (Behaviour::DropAfterAccept, "unknown", "", None),
    ];
    for (behaviour, class, part, after) in cases {
        slack_api.script([behaviour]);
        let outcome = deliver(slack(slack_api.url())).await;
        check(&outcome, class, part);
        assert_eq!(asked(&outcome), after.map(Duration::from_secs), "{outcome:?}");
    }
    slack_api.script([Behaviour::Hang]);
    check(&deliver_impatiently(slack(slack_api.url())).await, "unknown", "no answer within 50ms");
}

#[tokio::test]
async fn a_webhook_fails_in_its_ways() {
    let sink = WebhookSink::start().await;
    let cases = [
        (Behaviour::too_many(7), "retry", "HTTP 429", Some(7)),
        (Behaviour::status(408), "retry", "HTTP 408", None),
        (Behaviour::status(503), "retry", "HTTP 503", None),
        (Behaviour::status(404), "rejected", "HTTP 404", None),
        (Behaviour::DropAfterAccept, "unknown", "", None),
        // Any 2xx is a yes here, whatever the body.
        (Behaviour::Garbage, "accepted", "HTTP 200", None),
    ];
    for (behaviour, class, part, after) in cases {
        sink.script([behaviour]);
        let outcome = deliver(webhook(sink.url())).await;
        check(&outcome, class, part);
        assert_eq!(asked(&outcome), after.map(Duration::from_secs), "{outcome:?}");
    }
    sink.script([Behaviour::Hang]);
    check(&deliver_impatiently(webhook(sink.url())).await, "unknown", "no answer within 50ms");
}

#[tokio::test]
async fn a_date_may_say_when_to_come_back() {
    let answer = "HTTP/1.1 503 Busy\r\nRetry-After: Thu, 07 May 2026 08:07:13 GMT\r\nContent-Length: 0\r\n\r\n";
    for kind in [webhook(canned(answer).await), slack(canned(answer).await)] {
        let outcome = deliver(kind).await;
        assert_eq!(asked(&outcome), Some(Duration::from_secs(60)), "{outcome:?}");
    }
}

/// (ASVS 13.2.4) Whoever may write a receiver reads the answers to its messages; those of metadata services are nobody's.
#[tokio::test]
async fn no_receiver_leads_to_a_metadata_service() {
    for host in ["169.254.169.254", "2852039166", "0xa9.0xfe.0xa9.0xfe", "[::ffff:169.254.169.254]", "[fe80::1]"] {
        let url = format!("http://{host}/latest/meta-data");
        check(&deliver(webhook(&url)).await, "misconfigured", "link-local");
        check(&deliver(slack(&url)).await, "misconfigured", "nothing is ever sent there");
        assert!(dynowatch_notify::refused(&url).is_some(), "{host}");
    }
    check(&deliver(webhook("http://[fd00:ec2::254]/")).await, "misconfigured", "a cloud's metadata service");
    // A name is judged by what it stands for; `localhost` shows that names still lead somewhere.
    let sink = WebhookSink::start().await;
    let by_name = sink.url().replace("127.0.0.1", "localhost");
    assert_ne!(by_name, sink.url());
    check(&deliver(webhook(by_name)).await, "accepted", "");
    for url in ["https://hooks.example.com/x", "http://10.0.0.1/", "http://127.0.0.1/", "no url"] {
        assert_eq!(dynowatch_notify::refused(url), None, "{url}");
    }
}

/// (ASVS 13.2.4) Nobody who is spoken to sends us elsewhere.
#[tokio::test]
async fn redirects_are_refused() {
    let (slack_api, sink) = (FakeSlack::start().await, WebhookSink::start().await);
    for status in ["301 Moved", "307 Temporary", "308 Permanent"] {
        let answer = |to: &str| format!("HTTP/1.1 {status}\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n");
        let to = format!("{}/chat.postMessage", slack_api.url());
        check(&deliver(slack(canned(answer(&to)).await)).await, "rejected", "HTTP 30");
        check(&deliver(webhook(canned(answer(&sink.url())).await)).await, "rejected", "redirects are not followed");
    }
    assert!(slack_api.requests().is_empty() && sink.requests().is_empty());
}

#[tokio::test]
async fn an_endless_answer_is_not_read_to_its_end() {
    // Never finished: whoever waits for the end of it times out.
    let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n".to_vec();
    answer.resize(answer.len() + (1 << 20), b'x');
    check(&deliver(webhook(canned(answer.clone()).await)).await, "accepted", "HTTP 200: xxx");
    check(&deliver(slack(canned(answer).await)).await, "retry", "not Slack's JSON");
}

#[tokio::test]
async fn tls_errors_are_the_configurations_fault_and_closed_ports_are_not() {
    let slack_api = FakeSlack::start().await;
    let https = slack_api.url().replace("http://", "https://");
    check(&deliver(slack(https)).await, "misconfigured", "");
    let sink = WebhookSink::start().await;
    let https = format!("{}/token-in-path", sink.url().replace("http://", "https://"));
    let outcome = deliver(webhook(https)).await;
    check(&outcome, "misconfigured", "");
    assert!(!outcome.detail().contains("token-in-path"), "{outcome:?}");

    let closed = sink.url();
    drop(sink);
    check(&deliver(webhook(closed)).await, "retry", "");
}

#[tokio::test]
async fn an_unknown_receiver_names_the_known_ones() {
    install_tls();
    let log = || ReceiverKind::Log { path: None };
    let receivers = Receivers::build(&[spec("ops", log()), spec("dev", log())], &[]).unwrap();
    let outgoing = Outgoing { receiver: "opps".into(), ..outgoing() };
    let outcome = receivers.deliver(&outgoing, now()).await;
    check(&outcome, "rejected", r#"there is no receiver "opps"; configured are: dev, ops"#);
    let none = Receivers::build(&[], &[]).unwrap().deliver(&outgoing, now()).await;
    check(&none, "rejected", "none is configured");
    assert_eq!(receivers.names().collect::<Vec<_>>(), ["dev", "ops"]);
    assert_eq!(receivers.get("dev").map(dynowatch_notify::Receiver::kind), Some("log"));
}

#[tokio::test]
async fn all_that_is_wrong_is_said_at_once() {
    install_tls();
    let slack = |channel: &str, token: &str, api_url: &str| ReceiverKind::Slack {
        channel: channel.into(),
        token: token.into(),
        api_url: api_url.into(),
    };
    let hook =
        |url: &str, secret: Option<&str>| ReceiverKind::Webhook { url: url.into(), secret: secret.map(Into::into) };
    let specs = [
        spec("a", slack(" ", "xoxb-1", "https://slack.com/api")),
        spec("b", slack("C1", "", "https://slack.com/api")),
        spec("c", slack("C1", "xoxb-\n1", "https://slack.com/api")),
        spec("d", slack("C1", "xoxb-1", "slack.com/api")),
        spec("e", hook("ftp://token@x.example", None)),
        spec("f", hook("https://x.example", Some(""))),
        spec("g", hook("https://x.example", None)),
        spec("g", ReceiverKind::Log { path: None }),
    ];
    let error = Receivers::build(&specs, &[]).unwrap_err();
    assert_eq!(
        error.to_string().split("; receiver ").collect::<Vec<_>>(),
        [
            r#"receiver "a": `channel` is empty; it is an id such as C0123456789 or D0123456789"#,
            r#""b": the Slack token is empty; set SLACK_BOT_TOKEN"#,
            r#""c": the Slack token holds characters that no token has, such as a line break"#,
            r#""d": `api_url` is not a URL with http or https: relative URL without a base"#,
            r#""e": `url` is not a URL with http or https: its scheme is "ftp""#,
            r#""f": `secret` is empty; leave it out to send without a signature"#,
            r#""g": the name is used twice"#,
        ]
    );
    let BuildError::Receivers(problems) = error else { panic!("{error}") };
    assert_eq!(problems[6], ("g".to_owned(), Problem::DuplicateName));
}
