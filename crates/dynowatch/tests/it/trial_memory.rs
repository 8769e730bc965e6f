//! What the trial of a rule on a log costs: a log is read through, however long it is, and what comes of it is bounded.

use std::io::Write as _;

use dynowatch_testkit::http_client;
use dynowatch_testkit::process::{Dynowatch, Launch};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

const TOKEN: &str = "a-token-of-this-test";
const LINE_BYTES: usize = 400;
const MIB: usize = 1 << 20;

/// So many lines of an app, packed: each fits the rule, every one is of one of a thousand dynos.
fn log(lines: usize) -> String {
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    let padding = "x".repeat(LINE_BYTES);
    for n in 0..lines {
        let (hour, minute, second) = (n / 100 / 3_600, n / 100 / 60 % 60, n / 100 % 60);
        let stamp = format!("2026-05-07T{hour:02}:{minute:02}:{second:02}.{:06}+00:00", n % 100);
        let line = format!("{stamp} app[web.{}]: kaboom {padding}", n % 1_000);
        writeln!(to, "{}", &line[..LINE_BYTES - 1]).unwrap();
    }
    data_encoding::BASE64.encode(&to.finish().unwrap())
}

async fn tried(server: &Dynowatch, lines: usize) -> Value {
    let rule = json!({ "match": { "text": ["kaboom"] }, "count": ">= 1", "window": "1m", "group_by": ["dyno"] });
    let body = json!({ "rule": rule, "log_base64": log(lines), "app": "shop" }).to_string();
    let headers = [("authorization", format!("Bearer {TOKEN}")), ("content-type", "application/json".to_owned())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = http_client::post(&format!("{}/api/v1/backtest", server.url()), &headers, body).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let told = answer.json();
    assert_eq!((told["matched"].as_u64(), told["fired"].as_u64() > Some(500)), (Some(lines as u64), true), "{told}");
    told
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_log_takes_no_more_memory_than_a_short_one() {
    let folder = tempfile::tempdir().unwrap();
    let server = Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
        .args(["serve"])
        .folder(folder.path())
        .env("DYNOWATCH_API_TOKEN", TOKEN)
        .env("RUST_LOG", "warn")
        .start()
        .await;
    tried(&server, 2 * MIB / LINE_BYTES).await;
    let before = server.peak_memory_bytes();
    let told = tried(&server, 32 * MIB / LINE_BYTES).await;
    let grown = server.peak_memory_bytes() - before;
    assert!(grown < 16 * MIB as u64, "{} MiB more for a log of 32 MiB", grown / MIB as u64);
    // All alerts are counted, the first ones told.
    assert_eq!(told["happenings"].as_array().map(Vec::len), Some(100));
}
