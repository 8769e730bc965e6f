//! A12 over the real program: a check that is down is told once, however often the process dies, and its end is told under
//! the same id; with two processes on one Postgres the one that is left goes on with the checks of the other.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::process::Launch;
use dynowatch_testkit::stub_server::StubServer;
use dynowatch_testkit::webhook_sink::{WebhookMessage, WebhookSink};
use serde_json::Value;
use tokio::time::Instant;

use crate::cli::checks::target;

/// Promised for checks whose process died, and one interval more until the next run.
const TAKE_OVER_MAX: Duration = Duration::from_secs(30 + 5);
/// Only a failing test waits longer.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// So many checks of one page, each down with its first failure.
fn config(checks: usize, stub: &StubServer, sink: &WebhookSink) -> String {
    let head = format!(
        "[rule_pack]\nenabled = false\n[defaults]\nreceivers = [\"sink\"]\n[[receivers]]\nname = \"sink\"\nwebhook = {{ url = \"{}\" }}\n\
         [prober]\nallow_networks = [\"127.0.0.1\"]\ncontrol_targets = [\"127.0.0.1:{}\"]\n",
        sink.url(),
        stub.port()
    );
    let one = |n| {
        format!(
            "[[checks]]\nname = \"c{n}\"\nkind = \"web\"\nurl = \"http://127.0.0.1:{}/c{n}\"\nevery = \"5s\"\nfailures = 1\nrecoveries = 1\n",
            stub.port()
        )
    };
    (0..checks).fold(head, |text, n| text + &one(n))
}

fn launch(folder: &Path, config: &str) -> Launch {
    std::fs::write(folder.join("dynowatch.toml"), config).unwrap();
    Launch::new(env!("CARGO_BIN_EXE_dynowatch")).folder(folder).env("RUST_LOG", "warn")
}

/// Waits until each check's page was asked for again so many times.
async fn asked(stub: &StubServer, checks: usize, times: usize) {
    let count = || {
        let requests = stub.requests();
        move |n: usize| requests.iter().filter(|request| request.contains(&format!("GET /c{n} "))).count()
    };
    let before = count();
    let waited = tokio::time::timeout(WAIT_MAX, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            let now = count();
            if (0..checks).all(|n| now(n) >= before(n) + times) {
                return;
            }
        }
    });
    waited.await.expect("checks that run");
}

/// Waits for so many messages, longer than a lease lasts.
async fn told(sink: &WebhookSink, count: usize) -> Vec<WebhookMessage> {
    let waited = tokio::time::timeout(WAIT_MAX, async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while sink.messages().len() < count {
            ticks.tick().await;
        }
    });
    assert!(waited.await.is_ok(), "{} of {count} messages", sink.messages().len());
    sink.messages()
}

/// Waits until the store knows that every message was taken.
async fn recorded(launch: &Launch) {
    for _ in 0..300 {
        let done = launch.clone().args(["--json", "deliveries", "list"]).run().await;
        let said: Value = serde_json::from_str(&done.expect_success()).unwrap();
        let said = said.as_array().unwrap();
        if !said.is_empty() && said.iter().all(|delivery| delivery["state"] == "sent") {
            return;
        }
    }
    panic!("a message without an outcome");
}

fn text<'a>(message: &'a WebhookMessage, key: &str) -> &'a str {
    message.body[key].as_str().unwrap_or_default()
}

/// Where the starts of a check lie within its interval, in milliseconds: what was late is counted back.
async fn places(launch: &Launch) -> Vec<i64> {
    let done = launch.clone().args(["--json", "checks", "history", "c0", "--runs", "100"]).run().await;
    let said: Value = serde_json::from_str(&done.expect_success()).unwrap();
    let place = |run: &Value| {
        let at = dynowatch_domain::Timestamp::parse(run["at"].as_str().unwrap()).unwrap().as_micros() / 1_000;
        (at - run["lag_ms"].as_i64().unwrap()).rem_euclid(5_000)
    };
    said["runs"].as_array().unwrap().iter().map(place).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn down_is_told_once_and_its_end_under_the_same_id() {
    let (stub, status) = target().await;
    let sink = WebhookSink::start().await;
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), &config(1, &stub, &sink));
    let mut dynowatch = launch.clone().start().await;
    asked(&stub, 1, 1).await;
    status.store(500, Relaxed);
    let down = sink.next().await;
    assert_eq!((text(&down, "status"), text(&down, "rule")), ("firing", "check:c0"), "{}", down.body);

    // A message whose answer nobody wrote down is sent again, marked as a possible duplicate: not what is shown here.
    recorded(&launch).await;
    let port = dynowatch.port();
    for _ in 0..2 {
        dynowatch.kill9().await;
        dynowatch = launch.clone().port(port).start().await;
        asked(&stub, 1, 2).await;
    }
    let messages = sink.messages();
    assert_eq!(messages.len(), 1, "still down is no news: {:?}", messages.last().map(|message| &message.body));

    status.store(200, Relaxed);
    let up = told(&sink, 2).await.pop().unwrap();
    assert_eq!((text(&up, "status"), text(&up, "alert_id")), ("resolved", text(&down, "alert_id")), "{}", up.body);
    assert_eq!(text(&up, "first_at"), text(&down, "first_at"), "the outage as a whole");
    asked(&stub, 1, 1).await;
    assert!(dynowatch.sigterm().await.success(), "{}", dynowatch.stderr());
    assert_eq!(sink.messages().len(), 2);

    // Each start kept its place in the schedule. The run that a server makes of what it takes over is on it, too.
    let places = places(&launch).await;
    let (least, most) = (places.iter().min().unwrap(), places.iter().max().unwrap());
    assert!(places.len() >= 2 && most - least <= 2, "{places:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_survivor_goes_on_with_the_checks_of_the_dead() {
    const CHECKS: usize = 6;
    let database = TestDatabase::create().await;
    let (stub, status) = target().await;
    let sink = WebhookSink::start().await;
    let (one_folder, two_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = config(CHECKS, &stub, &sink);
    let start = |folder| launch(folder, &config).env("DATABASE_URL", database.url()).start();
    let (mut one, mut two) = tokio::join!(start(one_folder.path()), start(two_folder.path()));
    asked(&stub, CHECKS, 2).await;
    one.kill9().await;
    let died_at = Instant::now();
    status.store(500, Relaxed);
    let down = told(&sink, CHECKS).await;
    assert!(died_at.elapsed() < TAKE_OVER_MAX, "taken over after {:?}", died_at.elapsed());
    asked(&stub, CHECKS, 2).await;
    status.store(200, Relaxed);
    let all = told(&sink, 2 * CHECKS).await;
    assert!(two.sigterm().await.success(), "{}", two.stderr());
    assert_eq!(sink.messages().len(), 2 * CHECKS, "each was told once, and its end once");
    let ids = |messages: &[WebhookMessage], status: &str| -> BTreeMap<String, String> {
        let of = messages.iter().filter(|message| text(message, "status") == status);
        of.map(|message| (text(message, "rule").to_owned(), text(message, "alert_id").to_owned())).collect()
    };
    assert_eq!(ids(&down, "firing").len(), CHECKS);
    assert_eq!(ids(&all, "resolved"), ids(&down, "firing"), "under the same ids");
}
