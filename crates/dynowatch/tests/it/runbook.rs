//! The runbook's smoke test, word for word: its file, its command, its old line, and one message at the end.

use std::path::Path;

use dynowatch_testkit::http_client;
use dynowatch_testkit::process::{Dynowatch, Launch};
use dynowatch_testkit::slack::{FakeSlack, TOKEN};

use crate::storm::drain_token;

const SECRET: &str = "5f6c1d7f0b9e4c2a8d3e6f7081928374655463728190a0b0c0d0e0f0a1b2c3d4";
const TEST_LOGPLEX: &str = "t.test-smoke-1778140800";
const LINE: &str = r#"2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc="Request timeout""#;
const CURL: &str = "/usr/bin/curl";

/// The command as it stands in the runbook, but for host and secret; returns what it prints.
async fn curl(dynowatch: &Dynowatch) -> String {
    let script = format!(
        r#"
DRAIN_TOKEN={}
TEST_LOGPLEX={TEST_LOGPLEX}
{CURL} -sS -X POST \
  "{}/api/internal/heroku-log-drain?drain_token=$DRAIN_TOKEN" \
  -H "Content-Type: application/logplex-1" \
  -H "Logplex-Drain-Token: $TEST_LOGPLEX" \
  -d '{LINE}' \
  -w "\nHTTP %{{http_code}}\n"
"#,
        drain_token(SECRET, TEST_LOGPLEX),
        dynowatch.url()
    );
    Launch::new("/bin/sh").arg("-c").arg(script).run().await.expect_success()
}

/// The same request where there is no curl.
async fn without_curl(dynowatch: &Dynowatch) -> String {
    let url =
        format!("{}/api/internal/heroku-log-drain?drain_token={}", dynowatch.url(), drain_token(SECRET, TEST_LOGPLEX));
    let headers = [
        ("user-agent", "curl/7.88.1"),
        ("accept", "*/*"),
        ("content-type", "application/logplex-1"),
        ("logplex-drain-token", TEST_LOGPLEX),
    ];
    let answer = http_client::post(&url, &headers, LINE).await.unwrap();
    format!("{}\nHTTP {}\n", answer.text(), answer.status.as_u16())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_smoke_line_four_times_is_one_message() {
    let slack = FakeSlack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runbook.toml");
    std::fs::write(&file, include_str!("config/runbook.toml")).unwrap();
    let mut dynowatch = Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
        .arg("serve")
        .arg("--config")
        .arg(&file)
        .folder(folder.path())
        .env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
        .env("SLACK_BOT_TOKEN", TOKEN)
        .env("SLACK_API_URL", slack.url())
        .start()
        .await;
    for number in 1..=4 {
        let printed = if Path::new(CURL).exists() { curl(&dynowatch).await } else { without_curl(&dynowatch).await };
        assert_eq!(printed, "\nHTTP 204\n", "post {number}");
        if number < 4 {
            slack.expect_no_more();
        }
    }
    let message = slack.next().await;
    assert_eq!(message.channel, "D0AJ7K184TV");
    // The token was not seen before, so its app is named after it.
    let first = message.text.lines().next().unwrap_or_default();
    assert_eq!(first, format!("[firing] h12 on {TEST_LOGPLEX}"));
    for part in [
        "4 events in 5m (threshold &gt; 3)",
        "2026-05-07 08:06:12 UTC",
        "code=H12",
        "console-status-poller.md#failure-mode-h",
    ] {
        assert!(message.text.contains(part), "{part:?} is missing in {}", message.text);
    }
    assert_eq!(without_curl(&dynowatch).await, "\nHTTP 204\n", "with or without curl");
    dynowatch.signal("TERM").await;
    assert!(dynowatch.wait().await.success());
    assert!(
        dynowatch.stderr().contains("heroku_log_drain: processed 5 lines from logplex delivery"),
        "{}",
        dynowatch.stderr()
    );
    slack.finish();
}
