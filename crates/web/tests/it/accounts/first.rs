//! The first account: what one may before there is one, and the link that makes it.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited};
use crate::browser::{Browser, PASSWORD, setup_link};
use crate::site::Site;

#[tokio::test]
async fn before_the_first_account_one_looks_and_changes_nothing() {
    let site = Site::open().await;
    let mut guest = Browser::new(&site);
    for path in ["/", "/deliveries", "/api/v1/alerts", "/metrics"] {
        assert_eq!(guest.get(path).await.status, OK, "{path}");
    }
    assert!(guest.get("/sign-in").await.text.contains("dynowatch setup-link"));
    for path in ["/settings/users", "/settings/tokens", "/settings/audit", "/settings/security"] {
        assert_eq!(guest.get(path).await.status, UNAUTHORIZED, "{path}");
    }
    for path in ["/settings/users", "/settings/tokens", "/sign-out"] {
        assert_eq!(guest.post(path, &[("name", "eve"), ("role", "superadmin")]).await.status, FORBIDDEN, "{path}");
    }
    let json = [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", "")];
    let answer = guest.send(Method::POST, "/api/v1/rules/h12/disable", &json, r#"{"for":"1h"}"#).await;
    assert_eq!(answer.status, UNAUTHORIZED);
}

#[tokio::test]
async fn the_first_account_by_a_link_that_works_once() {
    let site = Site::open().await;
    let (mut ada, mut eve) = (Browser::new(&site), Browser::new(&site));
    let old = setup_link(&site).await;
    let link = setup_link(&site).await;
    assert_eq!(ada.get(&format!("/setup/{old}")).await.status, StatusCode::NOT_FOUND, "replaced");
    let path = format!("/setup/{link}");
    assert_eq!(ada.get(&path).await.status, OK);
    assert_eq!(ada.get(&path).await.status, OK, "looking does not use it up");
    for (name, password, again, want) in [
        ("ada", "short", "short", "at least 8"),
        ("ada", "P@ssw0rd2024!", "P@ssw0rd2024!", "tried first"),
        ("ada", PASSWORD, "another", "not the same"),
        ("a b", PASSWORD, PASSWORD, "a name has"),
    ] {
        let answer = ada.post(&path, &[("name", name), ("password", password), ("again", again)]).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{password}");
        assert!(answer.text.contains(want), "{want}: {}", answer.text);
        assert!(!answer.text.contains("P@ssw0rd"), "no password comes back");
    }
    let fields = [("name", "Ada"), ("password", PASSWORD), ("again", PASSWORD)];
    assert_eq!(ada.post(&path, &fields).await.status, SEE_OTHER);
    assert_eq!(eve.post(&path, &fields).await.status, StatusCode::NOT_FOUND, "used");
    assert_eq!(audited(&site, "user.setup").await.0, "user:ada");
    // Now everyone signs in.
    assert_eq!(eve.get("/").await.header("location"), "/sign-in");
    assert_eq!(eve.get("/alerts/x?a=b").await.header("location"), "/sign-in?next=/alerts/x%3Fa%3Db");
    assert_eq!(eve.get("/api/v1/alerts").await.status, UNAUTHORIZED);
    assert_eq!(ada.get("/").await.status, OK);
}

#[tokio::test]
async fn a_setup_link_runs_out() {
    let site = Site::open().await;
    let link = setup_link(&site).await;
    site.clock.advance(Duration::from_secs(1_800));
    assert_eq!(Browser::new(&site).get(&format!("/setup/{link}")).await.status, StatusCode::NOT_FOUND);
}
