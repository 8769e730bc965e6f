//! Remote write against a receiver that fails and lies, and against a real Prometheus.

use std::time::Duration;

use dynowatch_domain::{Clock, Timestamp};
use dynowatch_engine::remote_write::{REQUEST_SAMPLES_MAX, RemoteWrite, RemoteWriteOptions};
use dynowatch_notify::remote_write::{Credentials, RemoteWriteSpec, RemoteWriteTarget, STALE, Series};
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::prometheus::Prometheus;
use dynowatch_testkit::remote_write_sink::RemoteWriteSink;

use crate::harness::*;

fn remote(stage: &Stage, url: &str, credentials: Credentials) -> RemoteWrite {
    let target = RemoteWriteTarget::new(RemoteWriteSpec { url: url.into(), credentials }).unwrap();
    let target = target.with_attempt_timeout(Duration::from_secs(5));
    let labels = vec![("environment".to_owned(), "test".to_owned()), ("app".to_owned(), "never".to_owned())];
    RemoteWrite::new(stage.engine(), target, RemoteWriteOptions { interval: seconds(60), labels })
}

fn sample(name: &str, value: f64, at: Timestamp) -> Series {
    Series::new(name, [("app", "shop-web")]).with(value, at)
}

/// Sent, rejected, dropped, retries, waiting.
fn counts(stage: &Stage) -> [u64; 5] {
    let engine = stage.engine();
    let stats = engine.stats();
    [
        stats.remote_write_sent.get(),
        stats.remote_write_rejected.get(),
        stats.remote_write_dropped.get(),
        stats.remote_write_retries.get(),
        stats.remote_write_waiting.get(),
    ]
}

#[tokio::test]
async fn each_answer_has_its_consequence() {
    let stage = Stage::with(On::Sqlite, vec![]).await;
    let sink = RemoteWriteSink::start().await;
    let remote = remote(&stage, &sink.url(), Credentials::None);
    let now = stage.clock.now();
    remote.offer(&[sample("a", 1.0, now)]);
    remote.offer(&[sample("b", 2.0, now)]);

    // Later: nothing is lost, nothing overtakes.
    for behaviour in [Behaviour::status(500), Behaviour::DropAfterAccept, Behaviour::status(503)] {
        sink.script([behaviour]);
        assert_eq!(remote.send_due().await, 0);
        assert_eq!(remote.send_due().await, 0, "not before its time");
        stage.clock.advance(Duration::from_secs(2));
    }
    assert_eq!(counts(&stage), [0, 0, 0, 3, 2]);
    // What was taken without an answer goes out again, and a receiver that has it already takes it as the same.
    assert_eq!(remote.send_due().await, 2);
    let names: Vec<String> = sink.wait_for(3).await.iter().map(|written| written.series[0].show()).collect();
    assert_eq!(names, [r#"a{app="shop-web"}"#, r#"a{app="shop-web"}"#, r#"b{app="shop-web"}"#]);
    assert_eq!(counts(&stage), [2, 0, 0, 3, 0]);

    // Told when to come back.
    remote.offer(&[sample("c", 3.0, now)]);
    sink.script([Behaviour::too_many(90)]);
    assert_eq!(remote.send_due().await, 0);
    stage.clock.advance(seconds(89));
    assert_eq!(remote.send_due().await, 0);
    stage.clock.advance(seconds(1));
    assert_eq!(remote.send_due().await, 1);

    // Never: the next request is not held up.
    sink.wait_for(4).await;
    sink.script([Behaviour::status(400), Behaviour::status(302)]);
    remote.offer(&[sample("d", 4.0, now)]);
    remote.offer(&[sample("e", 5.0, now)]);
    remote.offer(&[sample("f", 6.0, now)]);
    assert_eq!(remote.send_due().await, 1);
    assert_eq!(counts(&stage), [4, 2, 0, 4, 0]);
    assert_eq!(sink.wait_for(5).await[4].series[0].samples, [(6.0, now.as_micros() / 1_000)]);
    sink.finish();
}

#[tokio::test]
async fn a_receiver_that_is_away_costs_the_oldest_samples_and_no_more_memory() {
    let stage = Stage::with(On::Sqlite, vec![]).await;
    let sink = RemoteWriteSink::start().await;
    const WAITING_BYTES_MAX: usize = 400_000;
    let remote = remote(&stage, &sink.url(), Credentials::None).with_waiting_bytes_max(WAITING_BYTES_MAX);
    sink.script([Behaviour::status(503)]);
    let now = stage.clock.now();
    // Names that do not compress, so that the buffer fills soon.
    let mut bytes = 0;
    let mut made = 0_u64;
    while bytes < WAITING_BYTES_MAX + WAITING_BYTES_MAX / 4 {
        let series: Vec<Series> = (0..REQUEST_SAMPLES_MAX)
            .map(|_| {
                made += 1;
                let noise = format!("{:x}", u128::from(made).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
                Series::new("m", [("noise", noise.as_str()), ("n", made.to_string().as_str())]).with(1.0, now)
            })
            .collect();
        bytes += dynowatch_notify::remote_write::encode(&series).unwrap().len();
        remote.offer(&series);
        if made == REQUEST_SAMPLES_MAX as u64 {
            assert_eq!(remote.send_due().await, 0);
        }
    }
    let [sent, _, dropped, _, waiting] = counts(&stage);
    assert_eq!(sent, 0);
    assert!(dropped > 0 && dropped + waiting == made, "{dropped} + {waiting} of {made}");
    stage.clock.advance(seconds(120));
    remote.send_due().await;
    let [sent, .., waiting_now] = counts(&stage);
    assert_eq!((sent, waiting_now), (waiting, 0));
    // The newest is among what came.
    let last = sink.wait_for(1).await;
    assert_eq!(last.last().unwrap().series.last().unwrap().labels["n"], made.to_string());
}

#[tokio::test]
async fn credentials_are_sent_and_refusals_do_not_hold_anything_up() {
    let stage = Stage::with(On::Sqlite, vec![]).await;
    let now = stage.clock.now();
    let basic = Credentials::Basic { username: "shop".into(), password: "hunter2".into() };
    for (wanted, credentials) in
        [("Basic c2hvcDpodW50ZXIy", basic), ("Bearer t0ken", Credentials::Bearer("t0ken".into()))]
    {
        let sink = RemoteWriteSink::start_with_authorization(wanted).await;
        let remote = remote(&stage, &sink.url(), credentials);
        remote.offer(&[sample("a", 1.0, now)]);
        assert_eq!(remote.send_due().await, 1, "{wanted}");
    }
    let sink = RemoteWriteSink::start_with_authorization("Bearer other").await;
    let remote = remote(&stage, &sink.url(), Credentials::None);
    remote.offer(&[sample("a", 1.0, now)]);
    assert_eq!((remote.send_due().await, remote.due_at()), (0, None));
}

/// The proof that the bytes are right: Prometheus itself takes them and answers with the values.
#[tokio::test]
async fn a_real_prometheus_takes_it() {
    let stage = Stage::with(On::Sqlite, vec![]).await;
    let prometheus = Prometheus::start().await;
    let remote = remote(&stage, &prometheus.write_url(), Credentials::None);
    let start = stage.clock.now();
    let labels = [("app", "shop-web"), ("source", "web.1 \"quoted\" \u{1f980}"), ("empty", "")];
    let mut series = Series::new("dynowatch_dyno_memory_percent", labels);
    for minute in 0..3_u32 {
        series.push(80.0 + f64::from(minute), start + seconds(60) * minute);
    }
    remote.offer(&[series, sample("dynowatch_router_requests_total", 7.0, start)]);
    assert_eq!(remote.send_due().await, 1);
    remote.offer(&[Series::new("dynowatch_dyno_memory_percent", labels).with(STALE, start + seconds(180))]);
    assert_eq!(remote.send_due().await, 1);
    assert_eq!(counts(&stage), [5, 0, 0, 0, 0]);

    let at = start.as_seconds();
    let found = prometheus.query("dynowatch_dyno_memory_percent{app=\"shop-web\"}", at + 130).await;
    assert_eq!(found[0]["value"][1], "82", "{found}");
    assert_eq!(
        found[0]["metric"],
        serde_json::json!({"__name__": "dynowatch_dyno_memory_percent", "app": "shop-web", "source": labels[1].1})
    );
    // The stale marker ends the series at once, not five minutes later.
    assert_eq!(prometheus.query("dynowatch_dyno_memory_percent", at + 181).await, serde_json::json!([]));
    let found = prometheus.query("sum(dynowatch_router_requests_total)", at + 60).await;
    assert_eq!(found[0]["value"][1], "7", "{found}");

    // What comes out of order is refused for good, and is not tried for ever.
    remote.offer(&[Series::new("dynowatch_dyno_memory_percent", labels).with(1.0, start)]);
    assert_eq!((remote.send_due().await, remote.due_at()), (0, None));
    assert_eq!(counts(&stage), [5, 1, 0, 0, 0]);
}

fn memory(stamp: &str, dyno: &str, used_mb: f64) -> String {
    let text = format!("source={dyno} dyno=heroku.1.x sample#memory_total={used_mb:.2}MB sample#memory_quota=512.00MB");
    frame(at(stamp), "heroku", dyno, &text)
}

/// From lines of a drain to the answers of a real Prometheus: levels, running sums, summaries, and the end of a series.
#[tokio::test]
async fn metrics_arrive_at_a_real_prometheus() {
    let mut stage = Stage::with(On::Sqlite, vec![]).await;
    let prometheus = Prometheus::start().await;
    let remote = remote(&stage, &prometheus.write_url(), Credentials::None);
    remote.collect().await.unwrap();
    for minute in 0..12 {
        let stamp = format!("{minute}:15");
        let mut lines =
            vec![request(at(&stamp), "web.1", "", 200), app_line(&stamp, "web.1", "count#jobs=2 sample#queue.depth=7")];
        if minute < 3 {
            lines
                .extend([request(at(&stamp), "web.1", "H12", 503), memory(&stamp, "web.1", 256.0 + f64::from(minute))]);
        }
        stage.post(&stamp, "shop", &lines).await;
        stage.until(&format!("{minute}:45")).await;
        remote.collect().await.unwrap();
        remote.send_due().await;
    }
    let begin = at("0:00").as_seconds();
    let one = async |expression: &str, minute: i64| {
        let found = prometheus.query(expression, begin + minute * 60 + 1).await;
        match found.as_array().map(Vec::as_slice) {
            Some([one]) => one["value"][1].as_str().unwrap().to_owned(),
            other => format!("{other:?}"),
        }
    };
    let labels = r#"{app="shop",environment="test",process_type="web",dyno="web.1"}"#;
    assert_eq!(one(&format!("dynowatch_dyno_memory_total_mb{labels}"), 2).await, "257");
    assert_eq!(one(&format!("round(dynowatch_dyno_memory_percent{labels})"), 3).await, "50");
    assert_eq!(one(r#"dynowatch_router_requests_total{status="200"}"#, 5).await, "5");
    // Counted three times and then no more: the sum stands.
    assert_eq!(one(r#"dynowatch_platform_errors_total{code="H12"}"#, 10).await, "3");
    assert_eq!(one("dynowatch_router_service_ms_count", 4).await, "7");
    assert_eq!(one(r#"round(dynowatch_router_service_ms{quantile="0.95"}, 1000)"#, 4).await, "30000");
    assert_eq!(one(r#"dynowatch_custom{metric="custom.queue.depth"}"#, 6).await, "7");
    assert_eq!(one(r#"dynowatch_custom_count_total{metric="custom.jobs"}"#, 6).await, "12");
    // Five minutes without a word, and the level has ended; nothing was out of order.
    assert_eq!(one("count(dynowatch_dyno_memory_percent)", 7).await, "1");
    assert_eq!(prometheus.query("dynowatch_dyno_memory_percent", begin + 8 * 60 + 1).await, serde_json::json!([]));
    let [sent, rejected, dropped, ..] = counts(&stage);
    assert!(sent > 0 && rejected == 0 && dropped == 0, "{:?}", counts(&stage));
}

/// Of two processes on one store one writes.
#[tokio::test]
async fn one_of_two_processes_writes() {
    let mut stage = Stage::with(On::Sqlite, vec![]).await;
    let sink = RemoteWriteSink::start().await;
    let first = remote(&stage, &sink.url(), Credentials::None);
    let store = stage.another_store().await;
    store.acquire_lease("remote_write", "another process", stage.clock.now(), seconds(75)).await.unwrap().unwrap();
    stage.post("0:15", "shop", &[app_line("0:15", "web.1", "ok")]).await;
    stage.until("1:05").await;
    first.collect().await.unwrap();
    assert_eq!(first.due_at(), None, "the other does it");
    // The other has died, its lease runs out; what it did not come to is made up for.
    stage.post("1:15", "shop", &[app_line("1:15", "web.1", "ok")]).await;
    stage.until("2:35").await;
    first.collect().await.unwrap();
    assert_eq!(first.send_due().await, 2);
    let written = sink.wait_for(2).await;
    for (written, total, minute) in [(&written[0], 1.0, "1:00"), (&written[1], 2.0, "2:00")] {
        assert_eq!(written.series[0].show(), r#"dynowatch_app_lines_total{app="shop",environment="test"}"#);
        assert_eq!(written.series[0].samples, [(total, at(minute).as_micros() / 1_000)]);
    }
}
