//! The limits on guessing, as docs/accounts.md states them: each holds where it says, and none is a way to lock somebody
//! out. Numbers in brackets are those of ASVS 5.0.

use std::time::Duration;

use http::StatusCode;

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited, published};
use crate::browser::{Browser, PASSWORD, between, code, field};
use crate::site::Site;

const DOCUMENTED: &str = include_str!("../../../../../docs/accounts.md");
const HOME: &str = "203.0.113.9";
const PAUSED: StatusCode = StatusCode::TOO_MANY_REQUESTS;

/// The number in that row of the table in docs/accounts.md.
fn most(what: &str) -> usize {
    between(DOCUMENTED, &format!("| {what} | "), " |").parse().unwrap()
}

fn stranger(n: usize) -> String {
    format!("198.51.100.{n}")
}

/// Sends a wrong code, or the right one, to a question of its own.
async fn answer(browser: &mut Browser<'_>, code: &str) -> StatusCode {
    let asked = browser.sign_in("ada", PASSWORD).await;
    let challenge = field(&asked.text, "challenge").unwrap();
    browser.post("/sign-in/code", &[("challenge", &challenge), ("code", code)]).await.status
}

/// (6.1.1) The documented numbers of passwords are those that hold, and the pause is for whoever guessed.
#[tokio::test]
async fn as_many_passwords_as_documented() {
    let site = published().await;
    Browser::elsewhere(&site, HOME).set_up("ada").await;
    let mut eve = Browser::elsewhere(&site, &stranger(1));
    for n in 0..most("passwords for one name from one address") {
        assert_eq!(eve.sign_in("ada", "not the password").await.status, UNAUTHORIZED, "{n}");
    }
    let paused = eve.sign_in("ada", PASSWORD).await;
    assert_eq!((paused.status, paused.header("retry-after")), (PAUSED, "900"));
    assert!(paused.text.contains("Wait a quarter of an hour"), "{}", paused.text);
    // The right password from elsewhere is the right password.
    assert_eq!(Browser::elsewhere(&site, &stranger(2)).sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    // From one address, whatever the name.
    let mut eve = Browser::elsewhere(&site, &stranger(3));
    let most_from_one = most("names, passwords and links from one address (of IPv6: from one /64)");
    for n in 0..most_from_one {
        assert_eq!(eve.get(&format!("/setup/{n:064}")).await.status, StatusCode::NOT_FOUND, "{n}");
    }
    assert_eq!(eve.sign_in("ada", PASSWORD).await.status, PAUSED);
    assert_eq!(Browser::elsewhere(&site, &stranger(4)).sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    site.clock.advance(Duration::from_secs(900));
    assert_eq!(eve.sign_in("ada", PASSWORD).await.status, SEE_OTHER, "after the pause");
    // That of a name is held by `guessing_is_slowed_and_locks_nobody_out`.
    assert_eq!(most("passwords for one name from everywhere"), 100);
}

/// (6.1.1) Whoever has learned a password and guesses at codes is stopped; whose password it is gets in with theirs.
#[tokio::test]
async fn guessing_codes_locks_nobody_out() {
    let site = published().await;
    let mut ada = Browser::elsewhere(&site, HOME);
    ada.set_up("ada").await;
    let (seed, recovery) = ada.enrol(PASSWORD).await;
    let mut eve = Browser::elsewhere(&site, &stranger(1));
    let asked = eve.sign_in("ada", PASSWORD).await;
    let challenge = field(&asked.text, "challenge").unwrap();
    let per_question = most("codes for one question at a sign-in");
    for n in 0..per_question {
        let wrong = eve.post("/sign-in/code", &[("challenge", &challenge), ("code", "000000")]).await;
        assert!(wrong.status == UNAUTHORIZED && wrong.text.contains("code of this moment"), "{n}: {}", wrong.text);
    }
    let dead = eve.post("/sign-in/code", &[("challenge", &challenge), ("code", &code(&site, &seed))]).await;
    assert!(dead.status == UNAUTHORIZED && dead.text.contains("begin again"), "{}", dead.text);
    // One person's codes, from everywhere.
    for n in per_question..most("codes of one person at sign-ins, from everywhere") {
        let mut eve = Browser::elsewhere(&site, &stranger(n + 2));
        assert_eq!(answer(&mut eve, "000000").await, UNAUTHORIZED, "{n}");
    }
    assert_eq!(answer(&mut Browser::elsewhere(&site, &stranger(99)), "000000").await, PAUSED);
    assert_eq!(audited(&site, "sign_in.failed").await, ("nobody".into(), "ada".into(), "too many codes".into()));
    assert_eq!(answer(&mut Browser::elsewhere(&site, &stranger(99)), &recovery[0]).await, PAUSED);
    // At home one signs in, and changes what one wants.
    let mut phone = Browser::elsewhere(&site, HOME);
    assert_eq!(answer(&mut phone, &code(&site, &seed)).await, SEE_OTHER);
    site.clock.advance(Duration::from_secs(30));
    phone.get("/settings/users").await;
    let made = phone.confirm("/settings/users", &[("name", "bob"), ("role", "viewer")], &code(&site, &seed)).await;
    assert!(made.text.contains("/setup/"), "{}", made.text);
    // There, too, guesses are counted.
    let mut home = Browser::elsewhere(&site, HOME);
    for n in 0..most("codes of one person at sign-ins, from one address") {
        assert_eq!(answer(&mut home, "000000").await, UNAUTHORIZED, "{n}");
    }
    assert_eq!(answer(&mut home, &code(&site, &seed)).await, PAUSED);
    site.clock.advance(Duration::from_secs(900));
    let elsewhere = &mut Browser::elsewhere(&site, &stranger(99));
    assert_eq!(answer(elsewhere, &code(&site, &seed)).await, SEE_OTHER, "after the pause");
}

/// (6.1.1) An open browser in the wrong hands: what asks for a proof pauses, signing in and looking go on.
#[tokio::test]
async fn failed_proofs_pause_changes_and_no_sign_in() {
    for with_authenticator in [false, true] {
        let site = Site::open().await;
        let mut ada = Browser::new(&site);
        ada.set_up("ada").await;
        let seed = if with_authenticator { Some(ada.enrol(PASSWORD).await.0) } else { None };
        ada.get("/step-up").await;
        for n in 0..most("codes and passwords that one person is asked for in between") {
            assert_eq!(ada.post("/step-up", &[("proof", "000000"), ("next", "/")]).await.status, FORBIDDEN, "{n}");
        }
        let right = |site: &Site| seed.as_ref().map_or_else(|| PASSWORD.to_owned(), |seed| code(site, seed));
        let proof = right(&site);
        assert_eq!(ada.post("/step-up", &[("proof", &proof), ("next", "/")]).await.status, PAUSED);
        assert_eq!(ada.get("/").await.status, OK, "looking goes on");
        let mut phone = Browser::new(&site);
        let signed_in = match &seed {
            Some(seed) => answer(&mut phone, &code(&site, seed)).await,
            None => phone.sign_in("ada", PASSWORD).await.status,
        };
        assert_eq!((signed_in, phone.get("/").await.status), (SEE_OTHER, OK), "so does signing in");
        site.clock.advance(Duration::from_secs(900));
        ada.get("/step-up").await;
        let renewed = ada.post("/step-up", &[("proof", &right(&site)), ("next", "/")]).await;
        assert_eq!(renewed.status, SEE_OTHER, "after the pause");
    }
}
