//! A notice, receivers around a fake, and a server that says exactly what it is told.

use std::time::Duration;

use dynowatch_domain::alert::NoticeKind;
use dynowatch_domain::delivery::{Outcome, Outgoing};
use dynowatch_domain::notice::Notice;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{DeliveryId, Timestamp};
use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
use dynowatch_testkit::slack::TOKEN;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The delivery of every test.
pub(crate) const ID: &str = "019e0178-2a00-7000-8000-000000000001";

pub(crate) fn now() -> Timestamp {
    Timestamp::parse("2026-05-07T08:06:13Z").unwrap()
}

/// To the receiver named `r`.
pub(crate) fn outgoing() -> Outgoing {
    let at = Timestamp::parse("2026-05-07T08:06:12Z").unwrap();
    let notice = Notice {
        kind: NoticeKind::Firing,
        alert: None,
        key: "h12/shop-web".into(),
        rule: "h12".into(),
        severity: Severity::Critical,
        app: "shop-web".into(),
        group: Vec::new(),
        meaning: String::new(),
        measured: "4 events".into(),
        threshold: "> 3".into(),
        window: "5m".into(),
        at,
        first_at: at,
        last_at: at,
        suppressed: 0,
        lower_bound: Vec::new(),
        evidence: vec!["at=error code=H12".into()],
        release: String::new(),
        runbook: None,
        link: None,
        resolved_at: None,
    };
    Outgoing { id: DeliveryId(ID.parse().unwrap()), receiver: "r".into(), notice, possible_duplicate: false }
}

pub(crate) fn slack(api_url: impl Into<String>) -> ReceiverKind {
    ReceiverKind::Slack { channel: "D0AJ7K184TV".into(), token: TOKEN.into(), api_url: api_url.into() }
}

pub(crate) fn webhook(url: impl Into<String>) -> ReceiverKind {
    ReceiverKind::Webhook { url: url.into(), secret: Some("s3cret-of-the-hook".into()) }
}

pub(crate) fn spec(name: &str, kind: ReceiverKind) -> ReceiverSpec {
    ReceiverSpec { name: name.into(), kind }
}

/// One receiver named `r`.
pub(crate) fn receivers(kind: ReceiverKind) -> Receivers {
    install_tls();
    Receivers::build(&[spec("r", kind)], &[]).unwrap()
}

/// As the binary does first thing.
pub(crate) fn install_tls() {
    // Fails when another test was first.
    _ = rustls::crypto::ring::default_provider().install_default();
}

/// One attempt.
pub(crate) async fn deliver(kind: ReceiverKind) -> Outcome {
    receivers(kind).deliver(&outgoing(), now()).await
}

/// One attempt that the receiver is expected to sit out. Real sockets and a paused clock do not go together, so the
/// limit is short instead.
pub(crate) async fn deliver_impatiently(kind: ReceiverKind) -> Outcome {
    receivers(kind).with_attempt_timeout(Duration::from_millis(50)).deliver(&outgoing(), now()).await
}

/// Answers whatever comes in on a port of its own with these bytes, and never closes first. Returns the base URL.
pub(crate) async fn canned(answer: impl Into<Vec<u8>>) -> String {
    let answer = answer.into();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 4096];
                _ = stream.read(&mut request).await;
                // The client may hang up before it has all: that is the point of some answers.
                _ = stream.write_all(&answer).await;
                while stream.read(&mut request).await.is_ok_and(|bytes| bytes > 0) {}
            });
        }
    });
    url
}
