//! Signing in and what it lasts: cookies, proxies, limits, forms that come from our own pages alone. Numbers in brackets
//! are those of ASVS 5.0.

use std::time::Duration;

use http::{Method, StatusCode};

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited, published};
use crate::browser::{Browser, PASSWORD};
use crate::site::Site;

#[tokio::test]
async fn cookies_over_http_https_and_elsewhere() {
    let site = published().await;
    let mut ada = Browser::elsewhere(&site, "203.0.113.9");
    ada.set_up("ada").await;
    assert_eq!(ada.jar.keys().collect::<Vec<_>>(), ["__Host-dynowatch"]);
    ada.jar.clear();
    let answer = ada.sign_in("ada", PASSWORD).await;
    let cookie = answer.header("set-cookie");
    for part in ["__Host-dynowatch=", "; Path=/", "; HttpOnly", "; SameSite=Lax", "; Secure", "; Max-Age=2592000"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain"), "{cookie}");
    assert_eq!(answer.header("strict-transport-security"), "max-age=31536000");
    // The address is the one that our proxy wrote, not the one that was sent along.
    let sessions = ada.get("/settings/security").await.text;
    assert!(sessions.contains("203.0.113.9") && !sessions.contains("6.6.6.6"), "{sessions}");
    // Plain http from elsewhere is no way to sign in.
    let mut plain = Browser::elsewhere(&site, "203.0.113.9");
    plain.headers.retain(|(name, _)| *name != "x-forwarded-proto");
    let answer = plain.sign_in("ada", PASSWORD).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (FORBIDDEN, ""));
    // On the machine itself it is.
    let mut local = Browser::new(&site);
    let answer = local.sign_in("ada", PASSWORD).await;
    assert!(answer.header("set-cookie").starts_with("dynowatch=") && !answer.header("set-cookie").contains("Secure"));
    assert_eq!(local.get("/settings/security").await.status, OK);
}

#[tokio::test]
async fn headers_of_proxies_count_only_where_they_are_trusted() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut eve = Browser::elsewhere(&site, "203.0.113.9");
    let answer = eve.sign_in("ada", PASSWORD).await;
    assert_eq!((answer.status, answer.header("set-cookie")), (FORBIDDEN, ""));
    assert_eq!(answer.header("strict-transport-security"), "");
}

#[tokio::test]
async fn unknown_names_and_wrong_passwords_look_alike() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut eve = Browser::new(&site);
    let wrong = eve.sign_in("ada", "not the password").await;
    let unknown = eve.sign_in("bob", "not the password").await;
    assert_eq!((wrong.status, unknown.status), (UNAUTHORIZED, UNAUTHORIZED));
    assert_eq!(wrong.text.replace("ada", "bob"), unknown.text);
    assert_eq!(audited(&site, "sign_in.failed").await, ("nobody".into(), "bob".into(), "name or password".into()));
    assert!(eve.jar.is_empty());
}

#[tokio::test]
async fn a_sign_in_takes_a_new_secret_whatever_came_along() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let first = ada.jar["dynowatch"].clone();
    // A secret that somebody else chose opens nothing and is never taken over.
    let mut fixed = Browser::new(&site);
    fixed.jar.insert("dynowatch".into(), "f".repeat(64));
    assert_eq!(fixed.get("/settings/security").await.status, SEE_OTHER);
    assert_eq!(fixed.sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    assert_ne!(fixed.jar["dynowatch"], "f".repeat(64));
    // Signing in again ends what this browser had before.
    ada.sign_in("ada", PASSWORD).await;
    assert_ne!(ada.jar["dynowatch"], first);
    let mut thief = Browser::new(&site);
    thief.jar.insert("dynowatch".into(), first);
    assert_eq!(thief.get("/settings/security").await.status, SEE_OTHER);
}

#[tokio::test]
async fn looking_lasts_thirty_days_changing_twelve_hours() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    site.clock.advance(Duration::from_secs(12 * 3_600));
    assert_eq!(ada.get("/").await.status, OK);
    let refused = ada.post("/settings/security/sessions/end-others", &[]).await;
    assert_eq!(refused.status, FORBIDDEN);
    assert!(refused.text.contains("/step-up"), "{}", refused.text);
    let json =
        [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", ada.csrf.as_str())];
    let json = json.map(|(name, value)| (name, value.to_owned()));
    let json: Vec<(&str, &str)> = json.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let answer = ada.send(Method::POST, "/api/v1/rules/h12/disable", &json, r#"{"for":"1h"}"#).await;
    assert_eq!(answer.status, FORBIDDEN, "scripts, too");
    let before = ada.jar["dynowatch"].clone();
    ada.get("/step-up?next=/settings/security").await;
    assert_eq!(ada.post("/step-up", &[("proof", "wrong"), ("next", "/")]).await.status, FORBIDDEN);
    let renewed = ada.post("/step-up", &[("proof", PASSWORD), ("next", "//evil.example")]).await;
    assert_eq!((renewed.status, renewed.header("location")), (SEE_OTHER, "/"));
    assert_ne!(ada.jar["dynowatch"], before, "a new secret");
    ada.get("/settings/security").await;
    assert_eq!(ada.post("/settings/security/sessions/end-others", &[]).await.status, SEE_OTHER);
    site.clock.advance(Duration::from_secs(30 * 86_400));
    assert_eq!(ada.get("/").await.status, SEE_OTHER);
}

#[tokio::test]
async fn forms_come_from_our_own_pages_alone() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let csrf = ada.csrf.clone();
    let path = "/settings/security/preferences";
    let form = |token: &str| {
        vec![("csrf".to_owned(), token.to_owned()), ("zone".into(), "UTC".into()), ("theme".into(), "dark".into())]
    };
    let mut other = Browser::new(&site);
    other.sign_in("ada", PASSWORD).await;
    other.get("/settings/security").await;
    let foreign = other.csrf.clone();
    for (from, token, want) in [
        ("same-origin", csrf.as_str(), SEE_OTHER),
        ("same-origin", "", FORBIDDEN),
        ("same-origin", "0000", FORBIDDEN),
        ("same-origin", foreign.as_str(), FORBIDDEN),
        ("same-site", csrf.as_str(), FORBIDDEN),
        ("cross-site", csrf.as_str(), FORBIDDEN),
        ("none", csrf.as_str(), FORBIDDEN),
    ] {
        let fields = form(token);
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(ada.post_as(from, path, &fields).await.status, want, "{from} {token}");
    }
    // What is refused is written down.
    let not_ours = "POST: This form was not sent by a page of this instance.";
    assert_eq!(audited(&site, "request.denied").await, ("user:ada".into(), path.into(), not_ours.into()));
    // Without the browser's own word, the origin must be ours.
    let body = format!("csrf={csrf}&zone=UTC&theme=dark");
    for (headers, want) in [
        (vec![("origin", "http://localhost:8080")], SEE_OTHER),
        (vec![("origin", "http://evil.example")], FORBIDDEN),
        (vec![("origin", "null")], FORBIDDEN),
        (vec![], FORBIDDEN),
    ] {
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend(headers.clone());
        assert_eq!(ada.send(Method::POST, path, &all, &body).await.status, want, "{headers:?}");
    }
    // The doors, too: nobody is signed in by another site as somebody of its choice.
    let fields = [("name", "ada"), ("password", PASSWORD)];
    assert_eq!(Browser::new(&site).post_as("cross-site", "/sign-in", &fields).await.status, FORBIDDEN);
    assert_eq!(audited(&site, "request.denied").await, ("nobody".into(), "/sign-in".into(), not_ours.into()));
    // Scripts send the header; the cookie alone is not enough, nor is a form in disguise.
    for (kind, token, want) in [
        ("application/json", csrf.as_str(), OK),
        ("application/json", "", FORBIDDEN),
        ("text/plain", csrf.as_str(), FORBIDDEN),
        ("application/x-www-form-urlencoded", csrf.as_str(), FORBIDDEN),
    ] {
        let headers = [("content-type", kind), ("sec-fetch-site", "same-origin"), ("x-csrf-token", token)];
        let answer = ada.send(Method::POST, "/api/v1/rules/h12/disable", &headers, r#"{"for":"1h"}"#).await;
        assert_eq!(answer.status, want, "{kind} {token}: {}", answer.text);
    }
    assert_eq!(audited(&site, "rule.disable").await.0, "user:ada");
    assert_eq!(audited(&site, "request.denied").await.1, "/api/v1/rules/h12/disable");
    // Nothing is changed by looking.
    assert_eq!(ada.get("/sign-out").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

/// (6.1.1) Strangers who guess are slowed down; nobody is locked out by them.
#[tokio::test]
async fn guessing_is_slowed_and_locks_nobody_out() {
    let site = published().await;
    let mut ada = Browser::elsewhere(&site, "203.0.113.9");
    ada.set_up("ada").await;
    // One name from one address: ten.
    let mut eve = Browser::elsewhere(&site, "198.51.100.1");
    for n in 0..10 {
        assert_eq!(eve.sign_in("ada", "wrong wrong").await.status, UNAUTHORIZED, "{n}");
    }
    assert_eq!(eve.sign_in("ada", "wrong wrong").await.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(eve.sign_in("ada", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    // One name from a hundred addresses: strangers are kept out, who was here before is not.
    for n in 2..=100 {
        Browser::elsewhere(&site, &format!("198.51.100.{n}")).sign_in("ada", "wrong wrong").await;
    }
    let mut stranger = Browser::elsewhere(&site, "192.0.2.1");
    assert_eq!(stranger.sign_in("ada", PASSWORD).await.status, StatusCode::TOO_MANY_REQUESTS);
    let mut known = Browser::elsewhere(&site, "203.0.113.9");
    assert_eq!(known.sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    site.clock.advance(Duration::from_secs(900));
    assert_eq!(stranger.sign_in("ada", PASSWORD).await.status, SEE_OTHER);
}
