//! Callers of the API that ask too often (S43), and what stays as it was meanwhile.

use std::time::Duration;

use dynowatch_domain::rule::Rule;
use dynowatch_domain::rule_pack;
use dynowatch_web::ApiLimits;
use http::{Method, StatusCode};

use crate::site::{Answer, Site, TOKEN};

const PATH: &str = "/api/v1/rules";

/// The built-in rule, told to `operator`.
fn rules() -> Vec<Rule> {
    let rule = rule_pack::rules().into_iter().find(|rule| rule.name == "api-limited").unwrap();
    vec![Rule { receivers: vec!["operator".into()], ..rule }]
}

async fn limited(per_token: u32, per_address: u32) -> Site {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let limits = ApiLimits { per_token, per_address, behind_heroku: false };
    Site::limited(folder, &url, rules(), limits).await
}

async fn ask(site: &Site, token: &str, peer: &str) -> Answer {
    site.ask(Method::GET, PATH, peer, &[("authorization", &format!("Bearer {token}"))], "").await
}

#[track_caller]
fn is_refused(answer: &Answer, seconds: &str) {
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (StatusCode::TOO_MANY_REQUESTS, seconds),
        "{}",
        answer.text
    );
    let json = answer.json();
    assert_eq!(json["error"]["code"], "too_many_requests");
    assert!(json["error"]["message"].as_str().unwrap().contains(&format!("wait {seconds} s")), "{json}");
    assert_eq!(answer.header("cache-control"), "no-store");
}

/// Every message of the rule that was sent, once `noted` refusals are stored.
async fn messages(site: &Site, noted: u64) -> Vec<String> {
    let stored = async {
        while site.engine.stats().commits.get() < noted {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stored).await.unwrap();
    assert_eq!(site.engine.stats().commits.get(), noted);
    site.engine.send_pass().await.unwrap();
    let text = std::fs::read_to_string(site.folder.path().join("messages.txt")).unwrap_or_default();
    text.lines().filter(|line| line.contains("api-limited on")).map(str::to_owned).collect()
}

/// S43: one a minute by each token, three a minute over all from one address.
#[tokio::test]
async fn the_second_post_and_the_fourth_source() {
    let site = limited(1, 3).await;
    for name in ["a", "b", "c"] {
        site.token(name, &format!("token-{name}")).await;
    }
    let peer = "203.0.113.9:40000";
    assert_eq!(ask(&site, "token-a", peer).await.status, StatusCode::OK);
    is_refused(&ask(&site, "token-a", peer).await, "60");
    assert_eq!(ask(&site, "token-b", peer).await.status, StatusCode::OK);
    let fourth = ask(&site, "token-c", peer).await;
    is_refused(&fourth, "20");
    assert!(fourth.text.contains("the address 203.0.113.9"), "{}", fourth.text);
    // Another address has an allowance of its own, another token of its own.
    assert_eq!(ask(&site, "token-c", "203.0.113.10:40000").await.status, StatusCode::OK);
    is_refused(&ask(&site, "token-b", "203.0.113.10:40001").await, "60");
    assert_eq!((messages(&site, 1).await.len(), site.get_count()), (1, (2, 1)));
}

/// A flood of an hour: one alert, one message; afterwards it resolves without another.
#[tokio::test]
async fn a_flood_is_told_once() {
    let site = limited(1, 10_000).await;
    assert_eq!(ask(&site, TOKEN, "203.0.113.9:1").await.status, StatusCode::OK);
    for _ in 0..100 {
        is_refused(&ask(&site, TOKEN, "203.0.113.9:1").await, "60");
    }
    assert_eq!(messages(&site, 1).await.len(), 1);
    for minute in 1..=50 {
        site.clock.advance(Duration::from_secs(59));
        ask(&site, TOKEN, "203.0.113.9:1").await;
        ask(&site, TOKEN, "203.0.113.9:1").await;
        assert_eq!(messages(&site, minute + 1).await.len(), 1);
    }
    let text = std::fs::read_to_string(site.folder.path().join("messages.txt")).unwrap();
    assert!(text.contains("api-limited on dynowatch") && text.contains("by the token api:environment"), "{text}");
    assert!(!text.contains(TOKEN), "{text}");
    let metrics = site.local("/metrics").await.text;
    let refused = site.get_count().0;
    assert!(metrics.contains(&format!("dynowatch_api_limited_total{{by=\"token\"}} {refused}")), "{metrics}");
    site.clock.advance(Duration::from_secs(3_600));
    site.engine.wake_pass().await.unwrap();
    assert_eq!(messages(&site, 51).await.len(), 1);
    let alerts = site.get("/api/v1/alerts").await;
    assert_eq!((alerts["items"].as_array().unwrap().len(), &alerts["items"][0]["state"]), (1, &"resolved".into()));
}

/// Guessing tokens costs the address its allowance, and the store is not asked any more; health and pages go on.
#[tokio::test]
async fn guessing_is_limited_by_address() {
    let site = limited(100, 5).await;
    for n in 0..5 {
        let answer = ask(&site, &format!("guess-{n}"), "[2001:db8::1]:1").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{n}");
    }
    is_refused(&ask(&site, "guess-5", "[2001:db8::2]:1").await, "12");
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/metrics", "/api/v1/openapi.json", "/api/nowhere"] {
        let answer = site.ask(Method::GET, path, "[2001:db8::3]:1", &[], "").await;
        is_refused(&answer, "12");
    }
    is_refused(&site.ask(Method::GET, "/", "[2001:db8::3]:1", &[("authorization", &bearer)], "").await, "12");
    assert_eq!(site.ask(Method::GET, "/", "[2001:db8::3]:1", &[], "").await.status, StatusCode::SEE_OTHER);
    for (path, details) in [("/healthz", false), ("/readyz", false)] {
        let answer = site.ask(Method::GET, path, "[2001:db8::4]:1", &[("authorization", &bearer)], "").await;
        assert_eq!((answer.status, answer.json().get("details").is_some()), (StatusCode::OK, details), "{path}");
    }
    assert_eq!(ask(&site, TOKEN, "[2001:db8:0:1::1]:1").await.status, StatusCode::OK, "another network");
    site.clock.advance(Duration::from_secs(12));
    let answer = site.ask(Method::GET, "/readyz", "[2001:db8::4]:1", &[("authorization", &bearer)], "").await;
    assert!(answer.json().get("details").is_some(), "the allowance is back: {}", answer.text);
}

impl Site {
    /// Refusals by token and by address.
    fn get_count(&self) -> (u64, u64) {
        let stats = self.engine.stats();
        (stats.api_limited_token.get(), stats.api_limited_address.get())
    }
}
