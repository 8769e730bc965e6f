//! The numbers of all apps: the present of all, the days of a few at a time; before anybody looks, where that is wished; and
//! never old without a word.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use dynowatch_web::server::Peer;
use dynowatch_web::{ApiLimits, WebOptions, router};
use http::Request;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

use crate::site::{Site, account_options, request};

/// More apps than one reading renews the days of, and more than are asked about in one call.
const APPS: usize = 45;
/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);

/// Apps with a request each.
async fn many_apps() -> Site {
    let site = Site::open().await;
    for n in 0..APPS {
        site.post(&format!("app-{n:02}"), request("2026-05-07T08:06:05Z", "/", "", 200).as_bytes()).await;
    }
    site.engine.level_pass().await.unwrap();
    site
}

/// How many rows of the list of apps have no day, a day in which something was seen, and a response time of the present.
fn rows(page: &str) -> (usize, usize, usize) {
    let count = |text: &str| page.matches(text).count();
    (
        count("Last 24 h: not read yet"),
        count("Last 24 h: well 0.5 h, unknown 23.5 h"),
        count("<span class=\"unit\">ms</span>"),
    )
}

#[tokio::test]
async fn days_are_read_a_few_at_a_time() {
    let site = many_apps().await;
    // One more is `shop` of the configuration, which has said nothing.
    let mut unread = APPS + 1;
    for _ in 0..3 {
        let (no_day, seen, present) = rows(&site.local("/apps").await.text);
        unread = unread.saturating_sub(20);
        assert_eq!((no_day, present), (unread, APPS));
        assert!((APPS - unread..=APPS + 1 - unread).contains(&seen), "{seen} of {unread}");
        // What is older than two minutes is read again while one waits.
        site.clock.advance(Duration::from_secs(121));
    }
    assert_eq!(unread, 0);
}

#[tokio::test]
async fn old_numbers_say_how_old_they_are() {
    let site = many_apps().await;
    const SAID: &str = "These numbers were read";
    for path in ["/", "/apps"] {
        assert!(!site.local(path).await.text.contains(SAID), "{path}");
        site.clock.advance(Duration::from_secs(45));
        let page = site.local(path).await.text;
        assert!(page.contains(SAID) && page.contains("45s ago"), "{path}: {page}");
        // That one looked has them read again, behind the answer.
        let renewed = async {
            while site.local(path).await.text.contains(SAID) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, renewed).await.unwrap();
    }
}

#[tokio::test]
async fn they_are_there_before_anybody_looks() {
    let site = many_apps().await;
    let (stop, stopped) = watch::channel(false);
    let ahead = router(WebOptions {
        engine: site.engine.clone(),
        drain: Arc::clone(&site.drain),
        api_tokens: Vec::new(),
        api_limits: ApiLimits::default(),
        reload: mpsc::channel(1).0,
        environment: None,
        stop: stopped,
        read_ahead: true,
        accounts: account_options(),
    });
    // The clock stands still: those who look have nothing read again, and yet every day comes.
    let all_read = async {
        loop {
            let mut request = Request::get("/apps").body(Body::empty()).unwrap();
            request.extensions_mut().insert(Peer("127.0.0.1:40000".parse().unwrap()));
            let body = ahead.clone().oneshot(request).await.unwrap().into_body().collect().await.unwrap();
            if rows(&String::from_utf8_lossy(&body.to_bytes())).0 == 0 {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, all_read).await.unwrap();
    stop.send_replace(true);
}
