//! Metrics over the real program and `kill -9`: what was written stays, at most the last ten seconds are gone, and they
//! are unknown, not zero. SIGTERM costs none.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_testkit::http_client;
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::process::Launch;
use tokio::time::Instant;

use crate::storm::drain_token;

const SECRET: &str = "a-secret-of-these-tests";
const LOGPLEX: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
const API: (&str, &str) = ("authorization", "Bearer environment-token-0123456789");
const SLOT: Duration = Duration::from_secs(10);
/// Values are written every ten seconds; the rest is for a busy machine.
const WRITTEN_WITHIN: Duration = Duration::from_secs(13);
/// A dead process on Postgres is known to be dead after some seconds. Only a failing test waits so long.
const KNOWN_WITHIN: Duration = Duration::from_secs(30);

fn time(value: &serde_json::Value) -> Timestamp {
    Timestamp::parse(value.as_str().unwrap()).unwrap()
}

async fn ask(url: &str, span: &str) -> serde_json::Value {
    let url = format!("{url}/api/v1/series?app=shop&metric=router.requests&step=10s&{span}");
    let answer = http_client::get(&url, &[API]).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// What is known of requests since then, in steps of ten seconds.
struct Known {
    from: Timestamp,
    points: Vec<Option<f64>>,
    blind: Vec<(Timestamp, Timestamp)>,
}

impl Known {
    /// The two minutes from then on.
    async fn since(url: &str, from: Timestamp) -> Self {
        let answer = ask(url, &format!("from={from}&until={}", from + 12 * SLOT)).await;
        let points = answer["series"][0]["points"].as_array().cloned().unwrap_or_default();
        let blind = answer["blind"].as_array().unwrap();
        Self {
            from: time(&answer["from"]),
            points: points.iter().map(serde_json::Value::as_f64).collect(),
            blind: blind.iter().map(|span| (time(&span["from"]), time(&span["until"]))).collect(),
        }
    }

    fn sum(&self) -> f64 {
        self.points.iter().flatten().sum()
    }

    fn at(&self, moment: Timestamp) -> Option<f64> {
        let place = moment.since(self.from).as_secs() / SLOT.as_secs();
        self.points.get(usize::try_from(place).unwrap()).copied().flatten()
    }
}

/// Requests of this slot, answered 204. Returns their stamp.
async fn requests(url: &str, count: usize) -> Timestamp {
    // The beginning of the present slot, by the program's own clock: an answer ends with that slot.
    let now = time(&ask(url, "from=-1m").await["until"]) - SLOT;
    let message = format!(
        "<158>1 {now} host heroku router - at=info method=GET path=\"/\" host=h request_id=r fwd=\"f\" dyno=web.1 connect=1ms service=9ms status=200 bytes=1 protocol=https\n"
    );
    let body = format!("{} {message}", message.len()).repeat(count);
    let target = format!("{url}/drain?drain_token={}", drain_token(SECRET, LOGPLEX));
    let answer = http_client::post(&target, &[("logplex-drain-token", LOGPLEX)], body).await.unwrap();
    assert_eq!(answer.status, 204);
    now
}

/// Waits until that is so, and returns how long it took.
async fn until(url: &str, from: Timestamp, within: Duration, known: impl Fn(&Known) -> bool) -> Duration {
    let began = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    loop {
        looks.tick().await;
        let last = Known::since(url, from).await;
        if known(&last) {
            return began.elapsed();
        }
        assert!(began.elapsed() < within, "after {within:?}: {:?}, blind {:?}", last.points, last.blind);
    }
}

/// The program with one app, in that folder.
fn launch(folder: &std::path::Path, database: Option<&TestDatabase>) -> Launch {
    let config = format!("[[apps]]\nname = \"shop\"\ndrain_tokens = [\"{LOGPLEX}\"]\n[rule_pack]\nenabled = false\n");
    std::fs::write(folder.join("dynowatch.toml"), config).unwrap();
    let launch = Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
        .args(["serve", "--config", "dynowatch.toml"])
        .folder(folder)
        .env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
        .env("DYNOWATCH_API_TOKEN", API.1.trim_start_matches("Bearer "))
        .env("RUST_LOG", "warn");
    match database {
        Some(database) => launch.env("DATABASE_URL", database.url()),
        None => launch,
    }
}

async fn killed(database: Option<&TestDatabase>) {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), database);
    let mut dynowatch = launch.clone().start().await;
    let (url, port) = (dynowatch.url(), dynowatch.port());
    let first = requests(&url, 3).await;
    let from = first.floor(SLOT);
    until(&url, from, WRITTEN_WITHIN, |known| known.sum() == 3.0).await;
    // The next ten seconds begin: these are answered, and not written yet.
    let lost = requests(&url, 4).await;
    dynowatch.kill9().await;
    let away = Instant::now();
    let mut looks = tokio::time::interval(Duration::from_millis(50));
    // A shorter absence is no blind time.
    while away.elapsed() < Duration::from_millis(1_100) {
        looks.tick().await;
    }
    let mut dynowatch = launch.port(port).start().await;
    let second = requests(&url, 5).await;
    until(&url, from, KNOWN_WITHIN, |known| known.sum() == 8.0 && !known.blind.is_empty()).await;
    let known = Known::since(&url, from).await;
    let slots = [first, lost, second].map(|at| at.floor(SLOT));
    let expected = |slot: Timestamp| {
        let told = [(slots[0], 3.0), (slots[2], 5.0)];
        told.iter().filter(|(at, _)| *at == slot).map(|(_, n)| *n).reduce(|a, b| a + b)
    };
    let mut slot = slots[0];
    while slot <= slots[2] {
        assert_eq!(
            known.at(slot),
            expected(slot),
            "{slot}: what nobody wrote is unknown, not zero; {:?}",
            known.points
        );
        slot = slot + SLOT;
    }
    assert!(known.blind.iter().any(|(from, until)| *from <= lost && lost <= *until), "{lost}: {:?}", known.blind);
    assert!(dynowatch.sigterm().await.success(), "{}", dynowatch.stderr());
}

/// What was answered and not yet written is written on the way out.
async fn stopped(database: Option<&TestDatabase>) {
    let folder = tempfile::tempdir().unwrap();
    let launch = launch(folder.path(), database);
    let mut dynowatch = launch.clone().start().await;
    let first = requests(&dynowatch.url(), 4).await;
    assert!(dynowatch.sigterm().await.success(), "{}", dynowatch.stderr());
    let mut dynowatch = launch.start().await;
    let known = Known::since(&dynowatch.url(), first.floor(SLOT)).await;
    assert_eq!((known.at(first), known.sum()), (Some(4.0), 4.0), "{:?}", known.points);
    assert!(dynowatch.sigterm().await.success(), "{}", dynowatch.stderr());
}

#[tokio::test]
async fn a_stop_loses_no_metrics_on_sqlite() {
    stopped(None).await;
}

#[tokio::test]
async fn a_stop_loses_no_metrics_on_postgres() {
    stopped(Some(&TestDatabase::create().await)).await;
}

#[tokio::test]
async fn a_kill_loses_ten_seconds_of_metrics_on_sqlite() {
    killed(None).await;
}

#[tokio::test]
async fn a_kill_loses_ten_seconds_of_metrics_on_postgres() {
    killed(Some(&TestDatabase::create().await)).await;
}
