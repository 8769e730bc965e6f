//! Passwords: taken as they are typed, changed by who knows them, hashed as is right today; and what is written down of how
//! people come in. Numbers in brackets are those of ASVS 5.0.

use std::collections::BTreeSet;
use std::time::Duration;

use argon2::{Algorithm, Argon2, Params, Version};
use data_encoding::BASE64_NOPAD;
use dynowatch_domain::account::audit::Actor;
use dynowatch_store::audit::AuditFilter;
use http::StatusCode;
use tokio::time::Instant;

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED};
use crate::browser::{Browser, PASSWORD, between, code, field, setup_link};
use crate::site::Site;

/// (6.2.8, 6.2.9) Every character counts: nothing is cut off, trimmed or folded.
#[tokio::test]
async fn a_password_is_what_was_typed() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let long: String = (10..42).map(|n| format!("{n}xK")).collect();
    let same = |text: &str| text.to_owned();
    let mut present = PASSWORD.to_owned();
    for (password, others) in [
        (same("  Four words, 2 blanks  "), vec![same("Four words, 2 blanks"), same("  four words, 2 blanks  ")]),
        (long.clone(), vec![long[..127].to_owned(), long[..72].to_owned(), format!("{}L", &long[..127])]),
        (same("vier Wörter & mehr=%20+"), vec![same("vier Worter & mehr=%20+"), same("vier Wörter & mehr= +")]),
    ] {
        ada.get("/settings/security").await;
        let fields = [("current", present.as_str()), ("password", &password), ("again", &password)];
        let changed = ada.post("/settings/security/password", &fields).await;
        assert_eq!(changed.status, SEE_OTHER, "{password}: {}", changed.text);
        for other in others {
            assert_eq!(Browser::new(&site).sign_in("ada", &other).await.status, UNAUTHORIZED, "{other:?}");
        }
        assert_eq!(Browser::new(&site).sign_in("ada", &password).await.status, SEE_OTHER, "{password:?}");
        present = password;
    }
    ada.get("/settings/security").await;
    let longer = format!("{long}?");
    let fields = [("current", present.as_str()), ("password", &longer), ("again", &longer)];
    assert_eq!(ada.post("/settings/security/password", &fields).await.status, StatusCode::UNPROCESSABLE_ENTITY);
}

/// (6.2.6, 6.2.7) Fields of passwords hide what is typed, and let a password manager fill them.
#[tokio::test]
async fn password_managers_know_the_fields() {
    let site = Site::open().await;
    let link = setup_link(&site).await;
    let mut ada = Browser::new(&site);
    let mut pages = vec![("setup", ada.get(&format!("/setup/{link}")).await.text)];
    ada.set_up("ada").await;
    pages.push(("sign-in", Browser::new(&site).get("/sign-in").await.text));
    pages.push(("account", ada.get("/settings/security").await.text));
    pages.push(("step-up", ada.get("/step-up").await.text));
    for (name, page) in pages {
        let secret = |input: &&str| {
            ["password", "again", "current", "proof"].iter().any(|of| input.contains(&format!("name=\"{of}\"")))
        };
        let inputs: Vec<&str> =
            page.split("<input").skip(1).map(|rest| rest.split('>').next().unwrap()).filter(secret).collect();
        assert!(!inputs.is_empty(), "{name}");
        for input in inputs {
            assert!(input.contains("type=\"password\""), "{name}: {input}");
            assert!(
                ["new-password", "current-password"]
                    .iter()
                    .any(|kind| input.contains(&format!("autocomplete=\"{kind}\""))),
                "{name}: {input}"
            );
            assert!(!input.contains("maxlength") && !input.contains("onpaste"), "{name}: {input}");
        }
    }
}

/// (11.4.2) A hash that was made with less than today's parameters is made anew when its password is typed.
#[tokio::test]
async fn an_old_hash_is_made_anew() {
    let site = Site::open().await;
    Browser::new(&site).set_up("ada").await;
    let (store, salt) = (site.engine.store(), [7; 16]);
    let mut hash = [0; 32];
    let argon = Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(1_024, 1, 1, Some(32)).unwrap());
    argon.hash_password_into(PASSWORD.as_bytes(), &salt, &mut hash).unwrap();
    let old = format!("$argon2id$v=19$m=1024,t=1,p=1${}${}", BASE64_NOPAD.encode(&salt), BASE64_NOPAD.encode(&hash));
    let id = store.user_by_name("ada").await.unwrap().unwrap().id;
    let act = Actor::here("test").did("user.password", "ada");
    store.set_password(id, &old, None, &act, site.engine.now()).await.unwrap();
    let kept = async || store.user_by_name("ada").await.unwrap().unwrap().password_hash.unwrap();
    assert_eq!(Browser::new(&site).sign_in("ada", "not the password").await.status, UNAUTHORIZED);
    assert_eq!(kept().await, old);
    assert_eq!(Browser::new(&site).sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    assert!(kept().await.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_eq!(Browser::new(&site).sign_in("ada", PASSWORD).await.status, SEE_OTHER);
}

/// (6.3.8) Somebody unknown is hashed for as well: their answer takes as long.
#[tokio::test]
async fn nobody_takes_as_long_as_somebody() {
    let site = Site::open().await;
    Browser::new(&site).set_up("ada").await;
    let fastest = async |name: &str| {
        let mut fastest = Duration::MAX;
        for _ in 0..3 {
            let began = Instant::now();
            assert_eq!(Browser::new(&site).sign_in(name, "not the password").await.status, UNAUTHORIZED);
            fastest = fastest.min(began.elapsed());
        }
        fastest
    };
    let (known, unknown) = (fastest("ada").await, fastest("eve").await);
    assert!(unknown * 3 > known, "{unknown:?} for nobody, {known:?} for somebody");
}

/// (6.2.10) A password is good until it is changed: nothing asks for another one after some time.
#[tokio::test]
async fn a_password_does_not_grow_old() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for years in 1..=7 {
        site.clock.advance(Duration::from_secs(366 * 86_400));
        assert_eq!(ada.get("/").await.header("location"), "/sign-in", "the sign-in is over after {years} years");
        let answer = ada.sign_in("ada", PASSWORD).await;
        assert_eq!((answer.status, answer.header("location")), (SEE_OTHER, "/"), "{years}: {}", answer.text);
        // In, and let do everything.
        assert_eq!(ada.get("/").await.status, OK);
        ada.get("/settings/users").await;
        let name = format!("person-{years}");
        let made = ada.confirm("/settings/users", &[("name", &name), ("role", "viewer")], PASSWORD).await;
        assert!(made.text.contains("/setup/"), "{}", made.text);
    }
    let account = ada.get("/settings/security").await.text.to_lowercase();
    for word in ["password expires", "password is old", "too old", "change your password", "rotate"] {
        assert!(!account.contains(word), "{word}: {account}");
    }
}

/// (6.4.2) No form on the way in asks for a hint or for the answer to a question of old, and none shows one: each has the
/// fields that it needs and no other.
#[tokio::test]
async fn there_are_no_hints_and_no_secret_questions() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    let link = setup_link(&site).await;
    let mut pages = vec![("set-up", ada.get(&format!("/setup/{link}")).await.text)];
    ada.set_up("ada").await;
    ada.get("/settings/users").await;
    let made = ada.confirm("/settings/users", &[("name", "bob"), ("role", "viewer")], PASSWORD).await;
    let mut bob = Browser::new(&site);
    let link = format!("/setup/{}", between(&made.text, "/setup/", "<").trim());
    pages.push(("invitation", bob.get(&link).await.text));
    let first = "four words of bobs";
    bob.post(&link, &[("password", first), ("again", first)]).await;
    let id = site.engine.store().user_by_name("bob").await.unwrap().unwrap().id;
    ada.get("/settings/users").await;
    pages.push(("asking for a reset", ada.post(&format!("/settings/users/{id}/reset"), &[]).await.text));
    let made = ada.confirm(&format!("/settings/users/{id}/reset"), &[], PASSWORD).await;
    let link = format!("/setup/{}", between(&made.text, "/setup/", "<").trim());
    pages.push(("reset", bob.get(&link).await.text));
    let own = "other words of bobs";
    bob.post(&link, &[("password", own), ("again", own)]).await;
    pages.push(("sign-in", bob.get("/sign-in").await.text));
    pages.push(("wrong password", bob.sign_in("bob", "not the password").await.text));
    bob.sign_in("bob", own).await;
    pages.push(("step-up", bob.get("/step-up").await.text));
    bob.enrol(own).await;
    pages.push(("code", Browser::new(&site).sign_in("bob", own).await.text));
    let needed = ["csrf", "next", "name", "username", "password", "again", "challenge", "proof", "code"];
    for (place, page) in pages {
        let page = page.split_once("<main").map_or(page.as_str(), |(_, rest)| rest.split("</main>").next().unwrap());
        let mut fields = 0;
        for tag in ["<input", "<select", "<textarea"] {
            for field in page.split(tag).skip(1) {
                let inside = field.split('>').next().unwrap();
                let name = between(inside, "name=\"", "\"");
                fields += 1;
                assert!(needed.contains(&name), "{place}: {tag}{inside}>");
            }
        }
        assert!(fields > 0, "{place}: {page}");
        let said = page.to_lowercase();
        for word in ["hint", "secret question", "security question", "maiden", "your first pet", "remind"] {
            assert!(!said.contains(word), "{place} says {word}: {page}");
        }
        assert!(!page.contains(PASSWORD) && !page.contains("words of bobs"), "{place} shows a password");
    }
}

/// (7.5.1) An open screen is not enough to bind somebody's account to another phone.
#[tokio::test]
async fn an_authenticator_is_begun_with_the_password() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for proof in ["", "not the password"] {
        let refused = ada.post("/settings/security/authenticator", &[("proof", proof)]).await;
        assert_eq!(refused.status, FORBIDDEN, "{proof:?}");
        assert!(!refused.text.contains("type the key"), "{}", refused.text);
    }
    let id = site.engine.store().user_by_name("ada").await.unwrap().unwrap().id;
    assert!(site.engine.store().authenticator(id).await.unwrap().is_none());
    let (_seed, codes) = ada.enrol(PASSWORD).await;
    assert_eq!(codes.len(), 10);
}

/// (7.2.3, 11.5.1) 256 random bits each.
#[tokio::test]
async fn secrets_are_long_and_all_different() {
    let site = Site::open().await;
    let mut secrets = BTreeSet::new();
    let is_long = |secret: &str| secret.len() == 64 && secret.bytes().all(|b| b.is_ascii_hexdigit());
    for n in 0..4 {
        let link = setup_link(&site).await;
        let token = dynowatch_web::new_token().0;
        let token = token.strip_prefix("dw_").unwrap().to_owned();
        assert!(is_long(&link) && is_long(&token), "{link} {token}");
        assert!(secrets.insert(link) && secrets.insert(token), "{n}");
    }
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for n in 0..3 {
        ada.sign_in("ada", PASSWORD).await;
        let cookie = ada.jar["dynowatch"].clone();
        assert!(is_long(&cookie) && secrets.insert(cookie), "{n}");
    }
}

/// (16.3.1) Every way in and every proof is written down, those that failed, too.
#[tokio::test]
async fn every_way_in_is_in_the_audit_log() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    ada.sign_in("ada", "not the password").await;
    ada.sign_in("ada", PASSWORD).await;
    ada.get("/settings/security").await;
    ada.post("/settings/security/password", &[("current", "no no no"), ("password", "x"), ("again", "x")]).await;
    ada.post("/settings/security/authenticator", &[("proof", "no no no")]).await;
    let (seed, recovery) = ada.enrol(PASSWORD).await;
    let answer = async |browser: &mut Browser<'_>, code: &str| {
        let asked = browser.sign_in("ada", PASSWORD).await;
        let challenge = field(&asked.text, "challenge").unwrap();
        browser.post("/sign-in/code", &[("challenge", &challenge), ("code", code)]).await;
    };
    answer(&mut ada, "000000").await;
    answer(&mut ada, &code(&site, &seed)).await;
    answer(&mut ada, &recovery[0]).await;
    assert_eq!(ada.get("/settings/security").await.status, OK);
    for path in ["codes", "remove"] {
        ada.post(&format!("/settings/security/authenticator/{path}"), &[("proof", "000000")]).await;
    }
    ada.post("/step-up", &[("proof", "000000"), ("next", "/")]).await;
    site.clock.advance(Duration::from_secs(30));
    ada.post("/step-up", &[("proof", &code(&site, &seed)), ("next", "/")]).await;
    ada.get("/settings/security").await;
    ada.post("/sign-out", &[]).await;
    let entries = site.engine.store().audit_entries(&AuditFilter::default(), 100).await.unwrap();
    let told: Vec<String> = entries
        .iter()
        .rev()
        .skip_while(|entry| entry.action != "sign_in.failed")
        .map(|entry| format!("{} {} {}", entry.action, entry.subject, entry.detail).trim_end().to_owned())
        .collect();
    assert_eq!(
        told,
        [
            "sign_in.failed ada name or password",
            "sign_in ada password",
            "sign_in.failed ada the present password",
            "sign_in.failed ada setting up an authenticator",
            "authenticator.begin ada",
            "authenticator.confirm ada",
            "sign_in.failed ada code",
            "sign_in ada password and a code",
            "sign_in ada password and a recovery code",
            "sign_in.failed ada new recovery codes",
            "sign_in.failed ada removing the authenticator",
            "sign_in.failed ada signing in again",
            "sign_in.renewed ada",
            "sign_out ada",
        ]
    );
}
