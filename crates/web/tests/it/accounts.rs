//! Signing in and who may what, as a browser meets it.

use std::time::Duration;

use dynowatch_store::audit::AuditFilter;
use dynowatch_web::AccountOptions;
use http::{Method, StatusCode};

use crate::browser::{Browser, PASSWORD, between, code, field, setup_link};
use crate::site::{Site, TOKEN, account_options, rules};

const OK: StatusCode = StatusCode::OK;
const SEE_OTHER: StatusCode = StatusCode::SEE_OTHER;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

async fn published() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let options = AccountOptions { trust_forwarded: true, ..account_options() };
    Site::signing_in(folder, &url, rules(), Some("https://watch.example".into()), options).await
}

/// The newest entry about that.
async fn audited(site: &Site, action: &str) -> (String, String, String) {
    let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 1).await.unwrap();
    let entry = entries.into_iter().next().unwrap_or_else(|| panic!("{action} is not in the audit log"));
    (entry.actor, entry.subject, entry.detail)
}

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
    // Nothing is changed by looking.
    assert_eq!(ada.get("/sign-out").await.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn an_authenticator_asks_and_each_code_counts_once() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, recovery) = ada.enrol().await;
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
    let (seed, _) = ada.enrol().await;
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
    let (seed, _) = ada.enrol().await;
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

/// Invites someone and takes the link; both are signed in afterwards.
pub(crate) async fn join<'a>(admin: &mut Browser<'a>, name: &str, role: &str) -> Browser<'a> {
    admin.get("/settings/users").await;
    let page = admin.confirm("/settings/users", &[("name", name), ("role", role)], PASSWORD).await;
    let link = format!("/setup/{}", between(&page.text, "/setup/", "<").trim());
    let mut new = Browser { peer: admin.peer, headers: admin.headers.clone(), ..Browser::new(admin.site) };
    assert_eq!(new.get(&link).await.status, OK, "{link}");
    let password = format!("{PASSWORD} {}", name.len());
    let answer = new.post(&link, &[("password", &password), ("again", &password)]).await;
    assert_eq!((answer.status, answer.header("location")), (SEE_OTHER, "/"), "{}", answer.text);
    assert_eq!(new.get("/settings/security").await.status, OK);
    new
}

async fn id_of(site: &Site, name: &str) -> String {
    site.engine.store().user_by_name(name).await.unwrap().unwrap().id.to_string()
}

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
    let token = between(&made.text, "<code>dw_", "</code>").to_owned();
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
    let (seed, _) = bob.enrol().await;
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

#[tokio::test]
async fn tokens_have_scopes_apps_and_an_end() {
    let site = Site::open().await;
    site.storm().await;
    site.engine.app_named("blog").await.unwrap();
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut made = Vec::new();
    for (name, scopes, apps) in [("reader", vec!["read"], ""), ("worker", vec!["read", "operate"], "shop")] {
        ada.get("/settings/tokens").await;
        let mut fields = vec![("name", name), ("apps", apps), ("days", "90")];
        fields.extend(scopes.into_iter().map(|scope| (scope, "yes")));
        let page = ada.confirm("/settings/tokens", &fields, PASSWORD).await;
        made.push(format!("dw_{}", between(&page.text, "<code>dw_", "</code>")));
        assert!(!ada.get("/settings/tokens").await.text.contains(made.last().unwrap().as_str()), "shown once");
    }
    let [reader, worker] = made.as_slice() else { panic!("two tokens") };
    let body = r#"{"for":"1h"}"#;
    let (get, post) = (Method::GET, Method::POST);
    for (token, method, path, body, want) in [
        (reader, &get, "/api/v1/apps", "", OK),
        (reader, &get, "/api/v1/rules", "", OK),
        (reader, &post, "/api/v1/rules/h12/disable", body, FORBIDDEN),
        (reader, &post, "/api/v1/config/reload", "", FORBIDDEN),
        (worker, &get, "/api/v1/apps/shop", "", OK),
        (worker, &get, "/api/v1/apps/blog", "", FORBIDDEN),
        (worker, &get, "/api/v1/alerts", "", FORBIDDEN),
        (worker, &get, "/api/v1/alerts?app=shop", "", OK),
        (worker, &get, "/api/v1/alerts?app=blog", "", FORBIDDEN),
        (worker, &get, "/api/v1/rules", "", FORBIDDEN),
        (worker, &get, "/api/v1/deliveries", "", FORBIDDEN),
        (worker, &post, "/api/v1/rules/h12/disable", body, FORBIDDEN),
        (worker, &post, "/api/v1/alerts/resolve", r#"{"key":"h12/blog"}"#, FORBIDDEN),
        (worker, &post, "/api/v1/alerts/resolve", r#"{"key":"h12/shop"}"#, OK),
    ] {
        let answer = site.api_as(token, method.clone(), path, body).await;
        assert_eq!(answer.status, want, "{method} {path}: {}", answer.text);
    }
    let listed = site.api_as(worker, get.clone(), "/api/v1/apps", "").await.json();
    let names: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["shop"]);
    assert_eq!(audited(&site, "alert.resolve").await, ("api:worker".into(), "h12/shop".into(), String::new()));
    site.clock.advance(Duration::from_secs(90 * 86_400));
    assert_eq!(site.api_as(reader, get, "/api/v1/apps", "").await.status, UNAUTHORIZED, "over");
    assert_eq!(site.api_as(TOKEN, Method::GET, "/api/v1/apps", "").await.status, OK, "that of the environment is not");
}

#[tokio::test]
async fn operators_acts_are_in_the_audit_log_with_their_actor() {
    let site = Site::open().await;
    site.storm().await;
    for (path, body, action, subject) in [
        ("/api/v1/rules/h12/disable", r#"{"for":"1h"}"#, "rule.disable", "h12"),
        ("/api/v1/rules/h12/enable", "", "rule.enable", "h12"),
        ("/api/v1/receivers/operator/test", "", "receiver.test", "operator"),
        (
            "/api/v1/alerts/resolve",
            r#"{"key":"5xx-by-path/shop/path=\/orders"}"#,
            "alert.resolve",
            "5xx-by-path/shop/path=/orders",
        ),
    ] {
        let answer = site.api(Method::POST, path, body).await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text);
        if action != "alert.resolve" || answer.json()["was_open"] == true {
            let (actor, of, _) = audited(&site, action).await;
            assert_eq!((actor.as_str(), of.as_str()), ("api:environment", subject), "{action}");
        }
    }
    let answer = site.api(Method::PATCH, "/api/v1/apps/shop", r#"{"name":"store-front"}"#).await;
    assert_eq!(answer.status, OK, "{}", answer.text);
    assert_eq!(audited(&site, "app.rename").await, ("api:environment".into(), "shop".into(), "now store-front".into()));
    // The page, with its filter; a look at it is an entry, too.
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let page = ada.get("/settings/audit?action=rule.").await.text;
    assert!(page.contains("rule.disable") && page.contains("rule.enable") && !page.contains("receiver.test"), "{page}");
    assert_eq!(audited(&site, "audit.read").await.0, "user:ada");
}

#[tokio::test]
async fn without_a_key_no_authenticator_is_set_up() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let site = Site::signing_in(folder, &url, rules(), None, AccountOptions::default()).await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    assert!(ada.get("/settings/security").await.text.contains("DYNOWATCH_SECRET_KEY"));
    let refused = ada.post("/settings/security/authenticator", &[]).await;
    assert!(
        refused.status == StatusCode::SERVICE_UNAVAILABLE && refused.text.contains("DYNOWATCH_SECRET_KEY"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn secrets_are_neither_in_the_store_nor_in_the_audit_log() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, recovery) = ada.enrol().await;
    let cookie = ada.jar["dynowatch"].clone();
    let file = site.folder.path().join("all.jsonl");
    site.engine.store().backup(&file).await.unwrap();
    let all = std::fs::read_to_string(&file).unwrap();
    let base64 = data_encoding::BASE64.encode(&seed);
    for secret in [PASSWORD, &cookie, &base64, &recovery[0], &recovery[0].replace('-', "")] {
        assert!(!all.contains(secret), "{secret}");
    }
    assert!(all.contains("$argon2id$"));
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
    let (_seed, _codes) = bob.enrol().await;
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
