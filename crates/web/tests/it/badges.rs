//! Badges: what they say, to whom, and for how long it may be kept.

use dynowatch_domain::check::outcome::Reason;
use http::{Method, StatusCode};
use serde_json::json;

use crate::check_script::web_check;
use crate::site::{Answer, Site};

const ANYONE: &str = "198.51.100.7:5000";

async fn badge(site: &Site, path: &str) -> Answer {
    site.ask(Method::GET, &format!("/badge/checks/{path}"), ANYONE, &[], "").await
}

#[track_caller]
fn says(answer: &Answer, title: &str, colour: &str) {
    assert!(answer.text.contains(&format!("<title>{title}</title>")), "{title}: {}", answer.text);
    assert!(answer.text.contains(colour), "{colour}: {}", answer.text);
    assert_eq!(answer.header("content-type"), "image/svg+xml; charset=utf-8");
    assert!(answer.text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\"") && !answer.text.contains("script"));
}

#[tokio::test]
async fn a_public_check_says_how_it_stands() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("shop.home", &json!({"kind": "web", "url": "https://shop.example", "public": true, "failures": 1})).await;
    says(&badge(&site, "shop.home.svg").await, "shop.home: no result yet", "#57606a");
    says(&badge(&site, "shop.home.svg?uptime=7d").await, "shop.home uptime 7d: no data", "#57606a");
    site.minutes(2).await;
    let up = badge(&site, "shop.home.svg").await;
    says(&up, "shop.home: up", "#1a7f37");
    assert_eq!((up.status, up.header("cache-control")), (StatusCode::OK, "public, max-age=30"));
    assert_eq!(up.header("cross-origin-resource-policy"), "cross-origin");
    found.finds("shop.home", Some(Reason::Timeout));
    site.minutes(2).await;
    says(&badge(&site, "shop.home.svg").await, "shop.home: down", "#cf222e");
    let uptime = badge(&site, "shop.home.svg?uptime=30d").await;
    assert!(uptime.text.contains("<title>shop.home uptime 30d: ") && uptime.text.contains(" %"), "{}", uptime.text);
    // Planned is planned, whatever runs find.
    let window = json!({"all": true, "at": "2026-05-07T08:00:00Z", "for": "1h"});
    site.api(Method::PUT, "/api/v1/maintenance/move", &window.to_string()).await;
    site.minutes(1).await;
    says(&badge(&site, "shop.home.svg").await, "shop.home: maintenance", "#0969da");
    site.api(Method::DELETE, "/api/v1/maintenance/move", "").await;
    found.finds("shop.home", None);
    site.minutes(3).await;
    says(&badge(&site, "shop.home.svg").await, "shop.home: up", "#1a7f37");
    // Nobody looks any more: what is not known is not green.
    site.clock.advance(std::time::Duration::from_secs(600));
    says(&badge(&site, "shop.home.svg").await, "shop.home: unknown", "#57606a");
    site.api(Method::POST, "/api/v1/checks/shop.home/pause", "").await;
    site.clock.advance(std::time::Duration::from_secs(20));
    says(&badge(&site, "shop.home.svg").await, "shop.home: paused", "#57606a");
    let wrong = badge(&site, "shop.home.svg?uptime=1y").await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST);
    says(&wrong, "uptime: write 7d, 30d or 90d", "#57606a");
}

#[tokio::test]
async fn of_others_a_stranger_learns_nothing() {
    let site = Site::open().await;
    site.probe();
    site.make("inner", &web_check()).await;
    site.minutes(2).await;
    let hidden = badge(&site, "inner.svg").await;
    for path in ["nobody.svg", "inner", "inner.png", ".svg", "%3Cscript%3E.svg", "a%2Fb.svg", "inner.svg.svg"] {
        let answer = badge(&site, path).await;
        assert_eq!((answer.status, &answer.text), (StatusCode::NOT_FOUND, &hidden.text), "{path}");
        assert_eq!(answer.headers.get("cache-control"), hidden.headers.get("cache-control"));
    }
    says(&hidden, "check: not found", "#57606a");
    // Who may read sees it, and nobody keeps it for others.
    let seen = site.api(Method::GET, "/badge/checks/inner.svg", "").await;
    says(&seen, "inner: up", "#1a7f37");
    assert_eq!(
        (seen.header("cache-control"), seen.header("cross-origin-resource-policy")),
        ("no-store", "same-origin")
    );
    let local = site.local("/badge/checks/inner.svg").await;
    says(&local, "inner: up", "#1a7f37");
}
