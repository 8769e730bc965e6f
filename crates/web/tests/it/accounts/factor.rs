//! The authenticator: codes that count once, recovery codes, limits.

use std::time::Duration;

use dynowatch_store::audit::AuditFilter;
use dynowatch_web::AccountOptions;
use http::StatusCode;

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED};
use crate::browser::{Browser, PASSWORD, code, field};
use crate::site::{Site, rules};

#[tokio::test]
async fn an_authenticator_asks_and_each_code_counts_once() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, recovery) = ada.enrol(PASSWORD).await;
    assert_eq!(recovery.len(), 10);
    let mut phone = Browser::new(&site);
    let asked = phone.sign_in("ada", PASSWORD).await;
    assert_eq!((asked.status, phone.jar.is_empty()), (OK, true), "the password alone opens nothing");
    let challenge = field(&asked.text, "challenge").unwrap();
    assert_eq!(phone.get("/settings/security").await.status, SEE_OTHER);
    assert_eq!(
        phone.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await.status,
        UNAUTHORIZED
    );
    let now = code(&site, &seed);
    let fields = [("challenge", challenge.as_str()), ("code", now.as_str())];
    assert_eq!(phone.post("/sign-in/code", &fields).await.status, SEE_OTHER);
    assert_eq!(phone.get("/settings/security").await.status, OK);
    // The same code again, in another sign-in.
    let mut thief = Browser::new(&site);
    let challenge = field(&thief.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
    let fields = [("challenge", challenge.as_str()), ("code", now.as_str())];
    assert_eq!(thief.post("/sign-in/code", &fields).await.status, UNAUTHORIZED);
    // Nor for a confirmation.
    phone.get("/settings/users").await;
    let refused = phone.confirm("/settings/users", &[("name", "bob"), ("role", "viewer")], &now).await;
    assert_eq!(refused.status, FORBIDDEN);
    site.clock.advance(Duration::from_secs(30));
    let taken = phone.confirm("/settings/users", &[("name", "bob"), ("role", "viewer")], &code(&site, &seed)).await;
    assert!(taken.text.contains("/setup/"), "{}", taken.text);
    // A recovery code opens once; it confirms nothing.
    let refused = phone.confirm("/settings/users", &[("name", "eve"), ("role", "viewer")], &recovery[0]).await;
    assert_eq!(refused.status, FORBIDDEN);
    for want in [SEE_OTHER, UNAUTHORIZED] {
        let mut lost = Browser::new(&site);
        let challenge = field(&lost.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
        let fields = [("challenge", challenge.as_str()), ("code", recovery[1].as_str())];
        assert_eq!(lost.post("/sign-in/code", &fields).await.status, want);
    }
    // What is kept of a code is not a code.
    let filter = AuditFilter { action: Some("sign_in".into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 20).await.unwrap();
    assert!(entries.iter().any(|entry| entry.detail == "password and a recovery code"), "{entries:?}");
}

#[tokio::test]
async fn one_code_in_two_hands_at_once_opens_once() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, _) = ada.enrol(PASSWORD).await;
    let now = code(&site, &seed);
    let mut hands = Vec::new();
    for _ in 0..6 {
        let mut hand = Browser::new(&site);
        let challenge = field(&hand.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
        hands.push((hand, challenge));
    }
    let tries = hands.iter_mut().map(|(hand, challenge)| {
        let (challenge, now) = (challenge.clone(), now.clone());
        async move { hand.post("/sign-in/code", &[("challenge", &challenge), ("code", &now)]).await.status }
    });
    let outcomes = futures_util::future::join_all(tries).await;
    assert_eq!(outcomes.iter().filter(|status| **status == SEE_OTHER).count(), 1, "{outcomes:?}");
}

#[tokio::test]
async fn five_wrong_codes_end_a_question_ten_end_asking_for_a_while() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, _) = ada.enrol(PASSWORD).await;
    let mut eve = Browser::new(&site);
    let challenge = field(&eve.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
    for _ in 0..5 {
        let answer = eve.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await;
        assert!(answer.text.contains("code of this moment"), "{}", answer.text);
    }
    let dead = eve.post("/sign-in/code", &[("challenge", &challenge), ("code", &code(&site, &seed))]).await;
    assert!(dead.status == UNAUTHORIZED && dead.text.contains("begin again"), "{}", dead.text);
    let challenge = field(&eve.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
    for _ in 0..5 {
        eve.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await;
    }
    let challenge = field(&eve.sign_in("ada", PASSWORD).await.text, "challenge").unwrap();
    let paused = eve.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await;
    assert_eq!((paused.status, paused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "900"));
    // Who is in stays in.
    assert_eq!(ada.get("/").await.status, OK);
}

#[tokio::test]
async fn without_a_key_no_authenticator_is_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let site = Site::signing_in(folder, &url, rules(), None, AccountOptions::default()).await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    assert!(ada.get("/settings/security").await.text.contains("DYNOWATCH_SECRET_KEY"));
    let refused = ada.post("/settings/security/authenticator", &[("proof", PASSWORD)]).await;
    assert!(
        refused.status == StatusCode::SERVICE_UNAVAILABLE && refused.text.contains("DYNOWATCH_SECRET_KEY"),
        "{}",
        refused.text
    );
}
