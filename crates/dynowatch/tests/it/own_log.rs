//! dynowatch on a dyno whose app drains into it: what it says of a delivery must not become the next delivery.

use dynowatch_testkit::http_client;
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::process::{Dynowatch, Launch};

use crate::storm::drain_token;

const SECRET: &str = "a-secret-of-these-tests";
const SHOP: &str = "d.00000000-0000-4000-8000-000000000001";
const OWN: &str = "d.00000000-0000-4000-8000-000000000002";
const SAID: &str = "heroku_log_drain: processed";

/// Posts lines as the drain of that token does.
async fn deliver(server: &Dynowatch, token: &str, lines: &str) {
    let target = format!("{}/drain?drain_token={}", server.url(), drain_token(SECRET, token));
    let frames = lines.lines().map(|line| {
        let message = format!("<190>1 2026-05-07T08:06:12+00:00 host app web.1 - {line}\n");
        format!("{} {message}", message.len())
    });
    let answer =
        http_client::post(&target, &[("logplex-drain-token", token)], frames.collect::<String>()).await.unwrap();
    assert_eq!(answer.status, 204);
}

#[tokio::test]
async fn its_own_log_is_no_echo() {
    let database = TestDatabase::create().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dynowatch.toml"), "[rule_pack]\nenabled = false\n").unwrap();
    let mut server = Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
        .arg("serve")
        .folder(folder.path())
        .env("DYNO", "web.1")
        .env("DATABASE_URL", database.url())
        .env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
        .env("RUST_LOG", "info,dynowatch_web=debug")
        .start()
        .await;
    // Another app's delivery is told of at this level, one by one.
    deliver(&server, SHOP, "hello").await;
    server.wait_for_stderr("processed 1 lines from logplex delivery").await;
    // All it said so far comes back by its own drain, and then whatever it says of that.
    let mut heard = 0;
    for _ in 0..5 {
        let log = server.stderr();
        deliver(&server, OWN, log.get(heard..).unwrap_or_default()).await;
        heard = log.len();
    }
    server.wait_for_stderr("dynowatch drains its own log").await;
    // What is said is said in order: by now nothing of those deliveries is to come.
    deliver(&server, SHOP, "hello\nagain").await;
    server.wait_for_stderr("processed 2 lines from logplex delivery").await;
    let log = server.stderr();
    let own: Vec<&str> = log.lines().filter(|line| line.contains(SAID) && line.contains(OWN)).collect();
    assert_eq!(own, Vec::<&str>::new());
    // The summary tells of the others alone.
    assert!(server.sigterm().await.success());
    let log = server.stderr();
    let summary = log.lines().filter(|line| line.contains("INFO") && line.contains(SAID)).collect::<Vec<_>>();
    let lines: u32 = summary
        .iter()
        .filter_map(|line| line.split(SAID).nth(1)?.split_ascii_whitespace().next()?.parse::<u32>().ok())
        .sum();
    assert_eq!(lines, 3, "{summary:?}");
}
