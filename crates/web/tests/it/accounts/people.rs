//! Who may what, and what superadmins do to others: each change confirmed by its own.

use std::time::Duration;

use dynowatch_store::audit::AuditFilter;
use http::{Method, StatusCode};

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited, id_of, join};
use crate::browser::{Browser, PASSWORD, between, code, field};
use crate::site::Site;

/// Rows of the audit log stay for ever: nobody who may only look can fill it.
#[tokio::test]
async fn denials_do_not_fill_the_audit_log() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    for _ in 0..130 {
        assert_eq!(vic.get("/settings/users").await.status, FORBIDDEN);
    }
    let filter = AuditFilter { action: Some("request.denied".into()), ..AuditFilter::default() };
    let written = async || site.engine.store().audit_entries(&filter, 500).await.unwrap().len();
    assert_eq!(written().await, 100);
    // A quarter of an hour later it is news again.
    site.clock.advance(Duration::from_secs(900));
    vic.get("/settings/users").await;
    assert_eq!(written().await, 101);
}

#[tokio::test]
async fn roles_are_kept_and_denials_written_down() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "operator").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    for (who, name) in [(&mut bob, "bob"), (&mut vic, "vic")] {
        for path in ["/settings/users", "/settings/tokens", "/settings/audit"] {
            assert_eq!(who.get(path).await.status, FORBIDDEN, "{name} {path}");
            assert_eq!(
                audited(&site, "request.denied").await,
                (format!("user:{name}"), path.into(), "GET needs superadmin".into())
            );
        }
        let denied = who.post("/settings/users", &[("name", "eve"), ("role", "superadmin")]).await;
        assert_eq!(denied.status, FORBIDDEN, "{name}");
    }
    for (is_bob, path, want) in [
        (false, "/api/v1/rules/h12/disable", FORBIDDEN),
        (true, "/api/v1/rules/h12/disable", OK),
        (true, "/api/v1/config/reload", FORBIDDEN),
    ] {
        let who = if is_bob { &mut bob } else { &mut vic };
        who.get("/settings/security").await;
        let csrf = who.csrf.clone();
        let headers =
            [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", csrf.as_str())];
        assert_eq!(who.send(Method::POST, path, &headers, r#"{"for":"1h"}"#).await.status, want, "{path}");
    }
    // A change of role counts at once.
    let path = format!("/settings/users/{}/role", id_of(&site, "vic").await);
    ada.get("/settings/users").await;
    assert_eq!(ada.confirm(&path, &[("role", "superadmin")], PASSWORD).await.status, SEE_OTHER);
    assert_eq!(vic.get("/settings/users").await.status, OK);
    assert_eq!(
        audited(&site, "user.role").await,
        ("user:ada".into(), "vic".into(), "superadmin instead of viewer".into())
    );
}

#[tokio::test]
async fn shut_out_is_out_at_once_but_never_the_last_superadmin() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "superadmin").await;
    bob.get("/settings/tokens").await;
    let made = bob
        .confirm("/settings/tokens", &[("name", "bobs"), ("read", "yes"), ("days", "7")], &format!("{PASSWORD} 3"))
        .await;
    let token = between(&made.text, "<code><span>dw_", "</span>").to_owned();
    let token = format!("dw_{token}");
    assert_eq!(site.api_as(&token, Method::GET, "/api/v1/apps", "").await.status, OK);
    let (ada_id, bob_id) = (id_of(&site, "ada").await, id_of(&site, "bob").await);
    ada.get("/settings/users").await;
    assert_eq!(ada.confirm(&format!("/settings/users/{bob_id}/disable"), &[], PASSWORD).await.status, SEE_OTHER);
    assert_eq!(bob.get("/").await.status, SEE_OTHER, "the sign-in is over");
    assert_eq!(site.api_as(&token, Method::GET, "/api/v1/apps", "").await.status, UNAUTHORIZED, "the token is revoked");
    assert_eq!(bob.sign_in("bob", &format!("{PASSWORD} 3")).await.status, UNAUTHORIZED);
    for (path, fields) in [
        (format!("/settings/users/{ada_id}/disable"), vec![]),
        (format!("/settings/users/{ada_id}/role"), vec![("role", "viewer")]),
    ] {
        let refused = ada.confirm(&path, &fields, PASSWORD).await;
        assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("last superadmin"), "{}", refused.text);
    }
    assert_eq!(ada.get("/settings/users").await.status, OK);
}

#[tokio::test]
async fn a_confirmation_is_for_one_change_of_one_sign_in() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    ada.get("/settings/users").await;
    let question = ada.post("/settings/users", &[("name", "bob"), ("role", "viewer")]).await;
    assert!(question.text.contains("bob is invited as viewer"), "one sees what one confirms");
    let challenge = field(&question.text, "challenge").unwrap();
    let with = |name: &'static str, role: &'static str, proof: &'static str| {
        [("name", name.to_owned()), ("role", role.into()), ("challenge", challenge.clone()), ("proof", proof.into())]
    };
    async fn send(who: &mut Browser<'_>, fields: [(&'static str, String); 4]) -> StatusCode {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        who.post("/settings/users", &fields).await.status
    }
    assert_eq!(send(&mut ada, with("bob", "superadmin", PASSWORD)).await, StatusCode::CONFLICT, "another role");
    assert_eq!(send(&mut ada, with("eve", "viewer", PASSWORD)).await, StatusCode::CONFLICT, "another person");
    let mut other = Browser::new(&site);
    other.sign_in("ada", PASSWORD).await;
    other.get("/settings/users").await;
    assert_eq!(send(&mut other, with("bob", "viewer", PASSWORD)).await, StatusCode::CONFLICT, "another sign-in");
    assert_eq!(send(&mut ada, with("bob", "viewer", "wrong wrong")).await, FORBIDDEN);
    assert_eq!(audited(&site, "confirm.failed").await.1, "user.invite");
    assert_eq!(send(&mut ada, with("bob", "viewer", PASSWORD)).await, OK);
    assert_eq!(send(&mut ada, with("bob", "viewer", PASSWORD)).await, StatusCode::CONFLICT, "used");
    // One that waited too long.
    let question = ada.post("/settings/users", &[("name", "cy"), ("role", "viewer")]).await;
    let challenge = field(&question.text, "challenge").unwrap();
    site.clock.advance(Duration::from_secs(300));
    let fields = [("name", "cy"), ("role", "viewer"), ("challenge", challenge.as_str()), ("proof", PASSWORD)];
    assert_eq!(ada.post("/settings/users", &fields).await.status, StatusCode::CONFLICT);
    assert_eq!(site.engine.store().users().await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_reset_ends_sign_ins_and_is_no_way_around_the_code() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "viewer").await;
    let (seed, _) = bob.enrol(&format!("{PASSWORD} 3")).await;
    let id = id_of(&site, "bob").await;
    ada.get("/settings/users").await;
    let page = ada.confirm(&format!("/settings/users/{id}/reset"), &[], PASSWORD).await;
    assert!(!page.text.contains("type=\"password\""), "a superadmin chooses nobody's password");
    let link = format!("/setup/{}", between(&page.text, "/setup/", "<").trim());
    assert_eq!(bob.get("/").await.status, OK, "until the link is used");
    let mut new = Browser::new(&site);
    assert!(new.get(&link).await.text.contains("bob"));
    let fields = [("password", "other words of bobs"), ("again", "other words of bobs")];
    let answer = new.post(&link, &fields).await;
    assert_eq!((answer.status, answer.header("location")), (SEE_OTHER, "/sign-in"));
    assert!(new.jar.is_empty(), "not signed in by it");
    assert_eq!(bob.get("/").await.status, SEE_OTHER, "all sign-ins ended");
    let asked = new.sign_in("bob", "other words of bobs").await;
    let challenge = field(&asked.text, "challenge").unwrap();
    let fields = [("challenge", challenge.as_str()), ("code", &code(&site, &seed))];
    assert_eq!(new.post("/sign-in/code", &fields).await.status, SEE_OTHER);
}
