//! Signing in elsewhere, against an issuer that keeps state and can lie.

use dynowatch_domain::account::Role;
use dynowatch_store::audit::AuditFilter;
use dynowatch_testkit::issuer::{CLIENT_ID, FakeIssuer, Lie, Person};
use dynowatch_web::{AccountOptions, OidcOptions};
use http::StatusCode;
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::browser::{Browser, PASSWORD, code, field};
use crate::site::{Site, account_options, rules};

const SEE_OTHER: StatusCode = StatusCode::SEE_OTHER;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;
const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

async fn site(issuer: &FakeIssuer) -> Site {
    site_in(tempfile::tempdir().unwrap(), issuer).await
}

async fn site_in(folder: TempDir, issuer: &FakeIssuer) -> Site {
    site_of(folder, issuer.url()).await
}

async fn site_of(folder: TempDir, issuer: String) -> Site {
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let oidc = OidcOptions {
        issuer,
        client_id: CLIENT_ID.into(),
        client_secret: Some("client-secret".into()),
        name: "Team SSO".into(),
        scopes: vec!["profile".into()],
        groups_claim: "groups".into(),
        roles: vec![("developers".into(), Role::Operator), ("platform".into(), Role::Superadmin)],
        default_role: None,
    };
    let options = AccountOptions { trust_forwarded: true, oidc: Some(oidc), ..account_options() };
    Site::signing_in(folder, &url, rules(), Some("https://watch.example".into()), options).await
}

fn person(subject: &str, name: &str, groups: &[&str]) -> Person {
    Person {
        subject: subject.into(),
        name: name.into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    }
}

fn seconds(site: &Site) -> i64 {
    site.engine.now().as_micros() / 1_000_000
}

/// The way there; gives the path of the way back.
async fn there(browser: &mut Browser<'_>, issuer: &FakeIssuer, person: &Person) -> String {
    let leave = browser.get("/sign-in/oidc?next=/alerts").await;
    assert_eq!(leave.status, SEE_OTHER, "{}", leave.text);
    let back = issuer.approve(leave.header("location"), person, seconds(browser.site));
    back.strip_prefix("https://watch.example").unwrap().to_owned()
}

async fn why(site: &Site) -> String {
    let filter = AuditFilter { action: Some("sign_in.failed".into()), ..AuditFilter::default() };
    site.engine.store().audit_entries(&filter, 1).await.unwrap().remove(0).detail
}

#[tokio::test]
async fn in_by_the_issuers_word_with_the_role_of_ones_groups() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    Browser::elsewhere(&site, "203.0.113.1").set_up("ada").await;
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    assert!(bob.get("/sign-in").await.text.contains("Team SSO"));
    let back = there(&mut bob, &issuer, &person("sub-1", "Bob Builder", &["developers"])).await;
    let done = bob.get(&back).await;
    assert_eq!((done.status, done.header("location")), (SEE_OTHER, "/alerts"), "{}", done.text);
    let me = bob.get("/settings/security").await.text;
    assert!(me.contains("bobbuilder") && me.contains("operator"), "{me}");
    // The groups count anew at every sign-in; the identity is the subject, whatever the name.
    let back = there(&mut bob, &issuer, &person("sub-1", "ada", &["platform", "developers"])).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
    let users = site.engine.store().users().await.unwrap();
    let roles: Vec<(&str, Role)> = users.iter().map(|user| (user.name.as_str(), user.role)).collect();
    assert_eq!(roles, [("ada", Role::Superadmin), ("bobbuilder", Role::Superadmin)]);
    // Another subject of a known name is somebody else.
    let mut eve = Browser::elsewhere(&site, "203.0.113.3");
    let back = there(&mut eve, &issuer, &person("sub-2", "ada", &["developers"])).await;
    assert_eq!(eve.get(&back).await.status, SEE_OTHER);
    assert!(site.engine.store().user_by_name("ada-2").await.unwrap().is_some());
    // In no group, nobody gets in, neither new nor known.
    for subject in ["sub-1", "sub-9"] {
        let mut cy = Browser::elsewhere(&site, "203.0.113.4");
        let back = there(&mut cy, &issuer, &person(subject, "cy", &["sales"])).await;
        assert_eq!((cy.get(&back).await.status, cy.jar.contains_key("__Host-dynowatch")), (UNAUTHORIZED, false));
    }
    assert_eq!(issuer.refused(), Vec::<String>::new());
}

#[tokio::test]
async fn lies_open_nothing() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    let who = person("sub-1", "bob", &["platform"]);
    for lie in [
        Lie::Nonce,
        Lie::Audience,
        Lie::TwoAudiences,
        Lie::Expired,
        Lie::Issuer,
        Lie::Key,
        Lie::Unsigned,
        Lie::Changed,
        Lie::Missing,
    ] {
        issuer.lie(lie);
        let mut bob = Browser::elsewhere(&site, "203.0.113.2");
        let back = there(&mut bob, &issuer, &who).await;
        let refused = bob.get(&back).await;
        assert_eq!((refused.status, bob.jar.contains_key("__Host-dynowatch")), (UNAUTHORIZED, false), "{lie:?}");
        assert!(why(&site).await.starts_with("oidc: its "), "{lie:?}: {}", why(&site).await);
    }
    assert_eq!(site.engine.store().users().await.unwrap(), []);
    issuer.lie(Lie::None);
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    let back = there(&mut bob, &issuer, &who).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
}

#[tokio::test]
async fn the_way_back_is_for_the_browser_that_left_and_for_once() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    let who = person("sub-1", "bob", &["platform"]);
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    let back = there(&mut bob, &issuer, &who).await;
    let (code, state) = back.split_once("&state=").unwrap();
    // Without a state, with another one, in another browser: an attacker's code is not taken.
    for path in [code.to_owned(), format!("{code}&state="), format!("{code}&state={}", "0".repeat(64))] {
        assert_eq!(bob.get(&path).await.status, UNAUTHORIZED, "{path}");
    }
    let mut eve = Browser::elsewhere(&site, "203.0.113.3");
    assert_eq!(eve.get(&back).await.status, UNAUTHORIZED, "another browser");
    assert_eq!(bob.get(&back).await.status, UNAUTHORIZED, "and the state is spent");
    let back = there(&mut bob, &issuer, &who).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
    assert_eq!(bob.get(&back).await.status, UNAUTHORIZED, "the same once more");
    // A code that was used, in a new round.
    let fresh = there(&mut bob, &issuer, &who).await;
    let (_, state2) = fresh.split_once("&state=").unwrap();
    let replayed = format!("{}&state={state2}", back.split_once("&state=").unwrap().0);
    assert_eq!(bob.get(&replayed).await.status, UNAUTHORIZED);
    assert_eq!(issuer.refused(), ["the code is unknown, or was used"]);
    assert_ne!(state, state2);
    // Somebody else's code, with one's own state: PKCE.
    let theirs = there(&mut eve, &issuer, &person("sub-7", "eve", &["platform"])).await;
    let mine = there(&mut bob, &issuer, &who).await;
    let mixed = format!("{}&state={}", theirs.split_once("&state=").unwrap().0, mine.split_once("&state=").unwrap().1);
    assert_eq!(bob.get(&mixed).await.status, UNAUTHORIZED);
    assert_eq!(issuer.refused().last().unwrap(), "the verifier does not fit the challenge");
    // One that took too long.
    let late = there(&mut bob, &issuer, &who).await;
    site.clock.advance(std::time::Duration::from_secs(300));
    assert_eq!(bob.get(&late).await.status, UNAUTHORIZED);
}

/// (ASVS 16.5.2) Nobody gets in by an issuer that is away, all others do as ever.
#[tokio::test]
async fn an_issuer_that_is_away_hinders_nobody_else() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let site = site_of(tempfile::tempdir().unwrap(), format!("http://{gone}")).await;
    let mut ada = Browser::elsewhere(&site, "203.0.113.1");
    ada.set_up("ada").await;
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    let refused = bob.get("/sign-in/oidc?next=/alerts").await;
    assert_eq!((refused.status, bob.jar.is_empty(), refused.header("location")), (AWAY, true, ""));
    assert_eq!(refused.header("retry-after"), "30");
    for part in ["Team SSO does not answer", "Begin again", "has a password here", "href=\"/sign-in\""] {
        assert!(refused.text.contains(part), "{part}: {}", refused.text);
    }
    assert!(!refused.text.contains(&gone.to_string()), "{}", refused.text);
    assert!(why(&site).await.starts_with("oidc: its description cannot be read"), "{}", why(&site).await);
    assert_eq!(bob.get("/sign-in").await.status, StatusCode::OK);
    assert_eq!(bob.sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    assert_eq!((bob.get("/").await.status, ada.get("/").await.status), (StatusCode::OK, StatusCode::OK));
}

/// (ASVS 16.5.2) One that takes the question and never answers holds up those alone who asked it.
#[tokio::test]
async fn an_issuer_that_is_silent_hinders_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = site_of(tempfile::tempdir().unwrap(), format!("http://{}", silent.local_addr().unwrap())).await;
    Browser::elsewhere(&site, "203.0.113.1").set_up("ada").await;
    let asking = futures_util::future::join_all(
        (0..12).map(|_| async { Browser::elsewhere(&site, "203.0.113.2").get("/sign-in/oidc").await.status }),
    );
    let mut ada = Browser::elsewhere(&site, "203.0.113.3");
    tokio::select! {
        answers = asking => panic!("the issuer is silent: {answers:?}"),
        answer = ada.sign_in("ada", PASSWORD) => assert_eq!(answer.status, SEE_OTHER),
    }
}

/// (ASVS 16.5.2) One that goes away when somebody is with it lets nobody in, and costs them a new beginning, no more.
#[tokio::test]
async fn an_issuer_that_goes_away_midway_lets_nobody_in() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    let who = person("sub-1", "bob", &["platform"]);
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    let back = there(&mut bob, &issuer, &who).await;
    issuer.lie(Lie::Away);
    let refused = bob.get(&back).await;
    assert_eq!((refused.status, bob.jar.contains_key("__Host-dynowatch")), (AWAY, false));
    assert_eq!(refused.header("retry-after"), "30");
    assert!(refused.text.contains("Begin again") && !refused.text.contains("for now"), "{}", refused.text);
    assert!(!refused.text.contains("Load it again"), "the state is spent: {}", refused.text);
    assert_eq!(site.engine.store().users().await.unwrap(), []);
    issuer.lie(Lie::None);
    assert_eq!(bob.get(&back).await.status, UNAUTHORIZED, "the state is spent");
    let back = there(&mut bob, &issuer, &who).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
}

/// (ASVS 6.3.4) The issuer's word stands for the password, not for the code.
#[tokio::test]
async fn an_authenticator_asks_whoever_signs_in_elsewhere() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    let who = person("sub-1", "bob", &["developers"]);
    let mut bob = Browser::elsewhere(&site, "203.0.113.2");
    let back = there(&mut bob, &issuer, &who).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
    // Who has no password must have come in just now (ASVS 7.5.1).
    site.clock.advance(std::time::Duration::from_secs(300));
    bob.get("/settings/security").await;
    let late = bob.post("/settings/security/authenticator", &[]).await;
    assert!(late.status == StatusCode::FORBIDDEN && late.text.contains("/sign-in/oidc?next="), "{}", late.text);
    let back = there(&mut bob, &issuer, &who).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
    let (seed, _codes) = bob.enrol("").await;
    let mut phone = Browser::elsewhere(&site, "203.0.113.2");
    let back = there(&mut phone, &issuer, &who).await;
    let asked = phone.get(&back).await;
    assert_eq!((asked.status, phone.jar.contains_key("__Host-dynowatch")), (StatusCode::OK, false));
    let challenge = field(&asked.text, "challenge").unwrap();
    let wrong = phone.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await;
    assert_eq!((wrong.status, phone.jar.contains_key("__Host-dynowatch")), (UNAUTHORIZED, false));
    let right = phone.post("/sign-in/code", &[("challenge", &challenge), ("code", &code(&site, &seed))]).await;
    assert_eq!((right.status, right.header("location")), (SEE_OTHER, "/alerts"));
}

/// (ASVS 6.8.1) A subject is somebody with its issuer alone.
#[tokio::test]
async fn the_same_subject_of_another_issuer_is_somebody_else() {
    let (one, other) = (FakeIssuer::start().await, FakeIssuer::start().await);
    let first = site(&one).await;
    let mut bob = Browser::elsewhere(&first, "203.0.113.2");
    let back = there(&mut bob, &one, &person("sub-1", "bob", &["platform"])).await;
    assert_eq!(bob.get(&back).await.status, SEE_OTHER);
    let Site { folder, .. } = first;
    let second = site_in(folder, &other).await;
    let mut eve = Browser::elsewhere(&second, "203.0.113.3");
    let back = there(&mut eve, &other, &person("sub-1", "bob", &["developers"])).await;
    assert_eq!(eve.get(&back).await.status, SEE_OTHER);
    let users = second.engine.store().users().await.unwrap();
    let roles: Vec<(&str, Role)> = users.iter().map(|user| (user.name.as_str(), user.role)).collect();
    assert_eq!(roles, [("bob", Role::Superadmin), ("bob-2", Role::Operator)]);
}

/// Behind one address may be an office: who gets in has not guessed.
#[tokio::test]
async fn an_office_behind_one_address_gets_in() {
    let issuer = FakeIssuer::start().await;
    let site = site(&issuer).await;
    let ada = person("sub-1", "ada", &["developers"]);
    for n in 0..55 {
        let mut browser = Browser::elsewhere(&site, "203.0.113.9");
        let back = there(&mut browser, &issuer, &ada).await;
        assert_eq!(browser.get(&back).await.header("location"), "/alerts", "{n}");
    }
}
