//! One's own account: sign-ins, the zone, and word of what was changed.

use std::time::Duration;

use http::StatusCode;

use super::{OK, SEE_OTHER, UNAUTHORIZED, id_of, join};
use crate::browser::{Browser, PASSWORD, between};
use crate::site::Site;

#[tokio::test]
async fn own_sign_ins_are_listed_and_ended() {
    let site = Site::open().await;
    let (mut ada, mut tv) = (Browser::new(&site), Browser::new(&site));
    ada.set_up("ada").await;
    tv.headers.push(("user-agent", "Wall <b>screen</b>".into()));
    tv.sign_in("ada", PASSWORD).await;
    let page = ada.get("/settings/security").await.text;
    assert!(page.contains("Wall &lt;b&gt;screen"), "{page}");
    let id = between(&page, "/settings/security/sessions/", "/end").to_owned();
    assert_eq!(ada.post(&format!("/settings/security/sessions/{id}/end"), &[]).await.status, SEE_OTHER);
    assert_eq!((tv.get("/").await.status, ada.get("/").await.status), (SEE_OTHER, OK));
    tv.sign_in("ada", PASSWORD).await;
    ada.get("/settings/security").await;
    let new = "entirely other words here";
    let fields = [("current", PASSWORD), ("password", new), ("again", new)];
    let wrong =
        ada.post("/settings/security/password", &[("current", "no no no"), ("password", new), ("again", new)]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(ada.post("/settings/security/password", &fields).await.status, SEE_OTHER);
    assert_eq!(
        (tv.get("/").await.status, ada.get("/").await.status),
        (SEE_OTHER, OK),
        "a new password ends the others"
    );
    assert_eq!(tv.sign_in("ada", PASSWORD).await.status, UNAUTHORIZED);
    assert_eq!(ada.get("/settings/security").await.status, OK);
    assert_eq!(ada.post("/sign-out", &[]).await.status, SEE_OTHER);
    assert!(ada.jar.is_empty());
    assert_eq!(ada.get("/").await.status, SEE_OTHER);
}

/// Times of account pages are the reader's, with the zone named; a zone is one of the tz database.
#[tokio::test]
async fn account_pages_tell_the_readers_time() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let prefer = async |ada: &mut Browser<'_>, zone: &str| {
        ada.post("/settings/security/preferences", &[("zone", zone), ("theme", "dark")]).await
    };
    for wrong in ["", "Mars/Olympus", "Europe/Berlin2", "CEST7", "../../etc/passwd", "<b>"] {
        let answer = prefer(&mut ada, wrong).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
        assert!(answer.text.contains("no such time zone"), "{wrong}");
    }
    ada.get("/settings/security").await;
    assert_eq!(prefer(&mut ada, " europe/berlin ").await.status, SEE_OTHER);
    assert_eq!(site.engine.store().user_by_name("ada").await.unwrap().unwrap().zone, "Europe/Berlin");
    ada.confirm("/settings/tokens", &[("name", "ci"), ("read", "yes"), ("days", "7")], PASSWORD).await;
    for page in ["/settings/security", "/settings/users", "/settings/tokens", "/settings/audit"] {
        let text = ada.get(page).await.text;
        assert!(text.contains("2026-05-07 10:06:12 CEST"), "{page}: {text}");
    }
}

/// Whose way to sign in was changed is told at the next sign-in, and finds it on their page.
#[tokio::test]
async fn a_change_of_how_one_signs_in_is_told() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "operator").await;
    let password = format!("{PASSWORD} 3");
    bob.jar.clear();
    site.clock.advance(Duration::from_secs(60));
    assert_eq!(bob.sign_in("bob", &password).await.header("location"), "/", "nothing to tell");
    // Somebody at bob's open browser.
    site.clock.advance(Duration::from_secs(60));
    bob.get("/settings/security").await;
    let new = "quite another password";
    let fields = [("current", password.as_str()), ("password", new), ("again", new)];
    assert_eq!(bob.post("/settings/security/password", &fields).await.status, SEE_OTHER);
    let (_seed, _codes) = bob.enrol(new).await;
    bob.get("/settings/security").await;
    let bob_id = id_of(&site, "bob").await;
    ada.get("/settings/users").await;
    ada.confirm(&format!("/settings/users/{bob_id}/authenticator"), &[], PASSWORD).await;
    bob.jar.clear();
    site.clock.advance(Duration::from_secs(60));
    let fields = [("name", "bob"), ("password", new), ("next", "/alerts?app=shop")];
    let answer = bob.post("/sign-in", &fields).await;
    let notice = answer.header("location").to_owned();
    assert!(notice.starts_with("/settings/security?since="), "{notice}");
    let page = bob.get(&notice).await.text;
    for part in [
        "3 things were",
        "The password was changed",
        "An authenticator was set up",
        "removed by someone else",
        "user:ada",
        "127.0.0.1",
        "href=\"/alerts?app=shop\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    // Told once; the page keeps it.
    bob.jar.clear();
    site.clock.advance(Duration::from_secs(60));
    assert_eq!(bob.post("/sign-in", &fields).await.header("location"), "/alerts?app=shop");
    let page = bob.get("/settings/security").await.text;
    assert!(page.contains("The password was changed") && !page.contains("Since your last sign-in"), "{page}");
    // What stands in the address leads nowhere else and is no text of anybody's.
    let page = bob.get("/settings/security?since=0&next=//evil.example").await.text;
    assert!(page.contains("Since your last sign-in") && !page.contains("href=\"//evil"), "{page}");
    assert!(!ada.get("/settings/security").await.text.contains("removed by someone else"), "told to whom it concerns");
}
