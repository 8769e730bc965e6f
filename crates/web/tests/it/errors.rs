//! Pages of errors: each says what happened, and leads on. Who may read keeps the navigation; strangers, and everyone while
//! nobody can say who they are, get a plain page.

use std::time::Duration;

use http::{Method, StatusCode};

use crate::accounts::join;
use crate::browser::Browser;
use crate::pages::text;
use crate::site::{Answer, Site, settled};

/// What only stands around pages for who may read.
const FRAME: [&str; 6] = [
    "href=\"/alerts\"",
    "href=\"/rules\"",
    "href=\"/settings\"",
    "id=\"fresh\"",
    "id=\"palette\"",
    "action=\"/sign-out\"",
];

#[track_caller]
fn leads_on(place: &str, answer: &Answer, status: u16, framed: bool, parts: &[&str]) {
    assert_eq!(answer.status.as_u16(), status, "{place}: {}", answer.text);
    assert!(answer.header("content-type").starts_with("text/html"), "{place}: {}", answer.text);
    for part in FRAME {
        assert_eq!(answer.text.contains(part), framed, "{place}: {part}: {}", answer.text);
    }
    let main = answer.text.split_once("<main").unwrap().1;
    for part in parts.iter().chain(&["<h1>", "href=\"/\""]) {
        assert!(main.contains(part), "{place}: {part}: {main}");
    }
}

#[tokio::test]
async fn who_is_in_keeps_the_navigation() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let rules = "class=\"button\" href=\"/rules\"";
    type Case<'a> = (&'a str, u16, &'a [&'a str]);
    let asked: [Case<'_>; 12] = [
        ("/settings/users", 403, &["superadmin", "/settings/users</code>", "href=\"/settings/security\"", "vic"]),
        ("/settings/audit", 403, &["superadmin", "class=\"button\" href=\"/settings\""]),
        ("/rules/new", 403, &["changed by operators", "the role operator; you have the role viewer", rules]),
        ("/rules/nowhere", 404, &["The list shows what there is", rules]),
        ("/alerts/nonsense", 404, &["class=\"button\" href=\"/alerts\""]),
        ("/apps/nowhere", 404, &["class=\"button\" href=\"/apps\""]),
        ("/checks/nowhere", 404, &["class=\"button\" href=\"/checks\""]),
        ("/nowhere", 404, &["There is no such page."]),
        ("/rules/h12/switch", 405, &["the address of a form", rules]),
        ("/deliveries?state=%3Cb%3E", 400, &["class=\"button\" href=\"/deliveries\""]),
        ("/settings/security?since=now", 400, &["cut off or was changed", "class=\"button\" href=\"/settings\""]),
        ("/sign-in/oidc", 404, &["no other place to sign in at"]),
    ];
    for (path, status, parts) in asked {
        leads_on(path, &vic.get(path).await, status, true, parts);
    }
    vic.get("/rules").await;
    let sent: [Case<'_>; 4] = [
        ("/rules/h12/switch", 403, &["operator", rules]),
        ("/settings/security/sessions/all/end", 400, &["cut off or was changed", "href=\"/settings\""]),
        ("/preferences", 400, &["no such theme"]),
        ("/rules", 405, &["This page can only be read.", rules]),
    ];
    for (path, status, parts) in sent {
        let answer = vic.post(path, &[("theme", "pink")]).await;
        leads_on(path, &answer, status, true, parts);
        // A form's address has nothing to load: nothing on the page leads back to it.
        for leads in ["href", "value"].map(|name| format!("{name}=\"{path}\"")) {
            assert!(!answer.text.contains(&leads) || path == "/rules", "{leads}: {}", answer.text);
        }
        vic.get("/rules").await;
    }
    vic.csrf = "0".repeat(64);
    let old = vic.post("/settings/security/preferences", &[]).await;
    leads_on("a form that is out of date", &old, 403, true, &["out of date", "href=\"/settings\""]);
    assert!(!old.text.contains("superadmin"), "no role helps here: {}", old.text);
    site.clock.advance(Duration::from_secs(13 * 3_600));
    ada.get("/settings/tokens").await;
    leads_on("stale", &ada.post("/settings/tokens/revoke", &[]).await, 403, true, &["href=\"/step-up\""]);
    let allow = vic.send(Method::PUT, "/alerts", &[], "").await;
    leads_on("PUT", &allow, 405, true, &["href=\"/alerts\""]);
    assert!(allow.header("allow").contains("GET"), "{:?}", allow.headers);
}

#[tokio::test]
async fn what_they_say() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let mut pages = String::new();
    for path in
        ["/settings/users", "/rules/new", "/rules/nowhere", "/nowhere", "/rules/h12/switch", "/deliveries?state=x"]
    {
        let answer = vic.get(path).await;
        pages.push_str(&format!("# {path}\n\n{}\n\n", text(&answer.text)));
    }
    insta::assert_snapshot!("errors", settled(&site, &pages));
}

/// A guest on this machine sees what others see, and how to become more than a guest.
#[tokio::test]
async fn a_guest_is_told_how_to_get_an_account() {
    let site = Site::open().await;
    let answer = site.local("/rules/new").await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    for part in ["id=\"fresh\"", "Reading as a guest", "dynowatch setup-link", "changed by operators"] {
        assert!(answer.text.contains(part), "{part}: {}", answer.text);
    }
    assert!(!answer.text.contains("superadmin can make"), "{}", answer.text);
}

#[tokio::test]
async fn strangers_get_a_plain_page() {
    let site = Site::open().await;
    Browser::new(&site).set_up("ada").await;
    let mut eve = Browser::new(&site);
    for (path, status) in [("/nowhere", 404), ("/setup/nonsense", 404), ("/sign-in/oidc", 404)] {
        leads_on(path, &eve.get(path).await, status, false, &[]);
    }
    eve.jar.insert("dynowatch".into(), "0".repeat(64));
    leads_on("a cookie of nobody", &eve.get("/nowhere").await, 404, false, &[]);
}

/// The page itself needs no store: while that is away, nobody knows who asks, and the page is plain.
#[tokio::test]
async fn without_a_store_the_page_is_plain() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut eve = Browser::new(&site);
    site.engine.store().close().await;
    for path in ["/live", "/settings/tokens"] {
        let answer = ada.get(path).await;
        leads_on(
            path,
            &answer,
            503,
            false,
            &["The store does not answer", &format!("href=\"{path}\""), "Load it again"],
        );
        assert_eq!(answer.header("retry-after"), "10", "{path}");
    }
    leads_on("nowhere", &ada.get("/nowhere").await, 404, false, &["There is no such page."]);
    let form = eve.sign_in("ada", crate::browser::PASSWORD).await;
    leads_on("a form", &form, 503, false, &["look before you send the form again"]);
}
