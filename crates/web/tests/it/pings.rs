//! Where jobs report: every way to say it, what becomes of it, and that nothing tells a token.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use crate::site::{Answer, KNOWN_SECRET, Site};

const JOB: &str = "198.51.100.7:5000";

impl Site {
    /// Makes a heartbeat, and says where its job reports.
    async fn job(&self, name: &str) -> String {
        self.make(name, &json!({"kind": "heartbeat", "every": "10m"})).await;
        let url = self.get(&format!("/api/v1/checks/{name}")).await["ping_url"].as_str().unwrap().to_owned();
        assert!(url.starts_with("/ping/") && url.len() == 38, "{url}");
        url
    }

    async fn ping(&self, method: Method, path: &str, body: &str) -> Answer {
        self.ask(method, path, JOB, &[], body).await
    }
}

#[tokio::test]
async fn a_job_reports() {
    let site = Site::open().await;
    site.probe();
    let url = site.job("backup").await;
    for (method, path, body) in [
        (Method::GET, url.clone(), ""),
        (Method::HEAD, url.clone(), ""),
        (Method::POST, format!("{url}/start?rid=run-1"), ""),
        (Method::POST, format!("{url}/finish?rid=run-1"), "wrote 7 files"),
        (Method::POST, format!("{url}/0"), ""),
    ] {
        let answer = site.ping(method.clone(), &path, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{method} {path}");
        assert_eq!(answer.text, if method == Method::HEAD { "" } else { "OK\n" });
        site.clock.advance(Duration::from_secs(30));
        site.checks_pass().await;
    }
    let said = site.get("/api/v1/checks/backup").await;
    assert_eq!((&said["state"], &said["heartbeat"]["reported"]), (&"up".into(), &"finish".into()), "{said}");
    assert_eq!(said["every"], "every 10m");
    let output = format!("traceback\n{KNOWN_SECRET} password=hunter5-hunter5\n{}\nout of disk", "x ".repeat(900));
    let answer = site.ping(Method::POST, &format!("{url}/137"), &output).await;
    assert_eq!(answer.status, StatusCode::OK);
    site.clock.advance(Duration::from_secs(2));
    site.checks_pass().await;
    let said = site.get("/api/v1/checks/backup").await;
    let note = said["heartbeat"]["output"].as_str().unwrap();
    assert!(note.starts_with("exit code 137: …x ") && note.ends_with("out of disk") && note.len() <= 1_000, "{note}");
    assert_eq!((&said["reason"], &said["heartbeat"]["reported"]), (&"heartbeat_failed".into(), &"fail".into()));
    // What it says is masked before it is kept.
    site.ping(Method::POST, &format!("{url}/fail"), &format!("{KNOWN_SECRET} password=hunter5-hunter5")).await;
    site.clock.advance(Duration::from_secs(2));
    site.checks_pass().await;
    let pings = site.engine.store().check_pings(1, site.at(), 20).await.unwrap();
    assert_eq!(pings.len(), 7);
    assert!(!format!("{pings:?}").contains("hunter"), "{pings:?}");
    assert!(pings[0].note.contains("[masked]"), "{pings:?}");
    // Then it says nothing any more.
    site.ping(Method::GET, &url, "").await;
    site.minutes(13).await;
    assert_eq!(site.get("/api/v1/checks/backup").await["reason"], "heartbeat_missed");
}

#[tokio::test]
async fn what_is_no_token_is_not_found() {
    let site = Site::open().await;
    site.probe();
    let url = site.job("backup").await;
    let unknown = format!("/ping/{}", "0".repeat(32));
    for path in [
        unknown.as_str(),
        &format!("{unknown}/start"),
        &format!("{url}/nonsense"),
        &format!("{url}/256"),
        "/ping/x",
        "/ping/%00",
        "/ping/..%2f..%2fetc",
        &format!("/ping/{}", "x".repeat(5_000)),
        "/ping/'%20OR%201=1",
    ] {
        let answer = site.ping(Method::POST, path, "x").await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::NOT_FOUND, "not found\n"), "{path}");
    }
    assert_eq!(site.ping(Method::PUT, &url, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(site.ping(Method::DELETE, &url, "").await.status, StatusCode::METHOD_NOT_ALLOWED);
    let metrics = site.local("/metrics").await.text;
    assert!(metrics.contains("dynowatch_check_pings_total{result=\"unknown\"} 9"), "{metrics}");
    let token = url.trim_start_matches("/ping/");
    assert!(!metrics.contains(token));
    // Only those who may operate are shown it.
    let list = site.get("/api/v1/checks").await.to_string();
    assert!(!list.contains(token), "{list}");
    // A check that is gone has none any more; one of the same name would.
    site.api(Method::DELETE, "/api/v1/checks/backup", "").await;
    assert_eq!(site.ping(Method::GET, &url, "").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_that_never_stops_is_held_and_others_are_not() {
    let site = Site::open().await;
    site.probe();
    let (loud, quiet) = (site.job("loud").await, site.job("quiet").await);
    let mut answers = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..300 {
        *answers.entry(site.ping(Method::GET, &loud, "").await.status.as_u16()).or_default() += 1;
    }
    // The first proves the token.
    assert_eq!(answers.into_iter().collect::<Vec<_>>(), [(200, 121), (429, 179)]);
    let limited = site.ping(Method::GET, &loud, "").await;
    assert_eq!((limited.status, limited.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "1"));
    assert_eq!(site.ping(Method::GET, &quiet, "").await.status, StatusCode::OK);
    // Whoever makes tokens up is held by the address, and crowds nobody out.
    let mut limited = 0;
    for n in 0..4_000_u32 {
        let path = format!("/ping/{n:032x}");
        let answer = site.ask(Method::GET, &path, "192.0.2.66:1", &[], "").await;
        assert!(matches!(answer.status.as_u16(), 404 | 429), "{}", answer.status);
        limited += usize::from(answer.status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(limited, 1_000);
    assert_eq!(site.ping(Method::GET, &quiet, "").await.status, StatusCode::OK);
    assert_eq!(site.get("/api/v1/checks/quiet").await["name"], "quiet", "the API has allowances of its own");
    let metrics = site.local("/metrics").await.text;
    assert!(metrics.contains("dynowatch_check_pings_total{result=\"limited_token\"} 180"), "{metrics}");
    assert!(metrics.contains("dynowatch_check_pings_total{result=\"limited_address\"} 1000"), "{metrics}");
}

#[tokio::test]
async fn a_store_that_is_away_says_try_again() {
    let site = Site::open().await;
    site.probe();
    let url = site.job("backup").await;
    site.engine.store().close().await;
    let answer = site.ping(Method::POST, &url, "").await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (StatusCode::SERVICE_UNAVAILABLE, "10"),
        "{}",
        answer.text
    );
    assert_eq!(answer.text, "not taken: try again\n");
}
