//! What becomes of calls that go wrong.

use std::time::Duration;

use dynowatch_heroku::{Client, ClientOptions, Error, ErrorId};
use dynowatch_testkit::heroku::{FakeHeroku, KEY, Trouble};

use crate::calls::client;

async fn one_app() -> FakeHeroku {
    crate::with_tls();
    let fake = FakeHeroku::start().await;
    fake.account(|account| _ = account.create("shop"));
    fake
}

#[tokio::test]
async fn reading_is_tried_again_where_that_may_help() {
    type Case = (Vec<Trouble>, usize, Option<ErrorId>);
    let refused = Trouble::refuse;
    let soon = |status, id| Trouble::Refuse { status, id, retry_after: Some(0) };
    let cases: [Case; 12] = [
        (vec![refused(500, "server_error")], 2, None),
        (vec![refused(503, ""), Trouble::Drop], 3, None),
        (vec![refused(500, ""), refused(502, ""), refused(503, "")], 3, Some(ErrorId::Server)),
        (vec![Trouble::DropAfterDone], 2, None),
        (vec![soon(429, "rate_limit")], 2, None),
        (vec![refused(429, "rate_limit")], 1, Some(ErrorId::RateLimit)),
        (vec![Trouble::Refuse { status: 429, id: "rate_limit", retry_after: Some(60) }], 1, Some(ErrorId::RateLimit)),
        (vec![refused(401, "unauthorized")], 1, Some(ErrorId::Unauthorized)),
        (vec![refused(402, "delinquent")], 1, Some(ErrorId::Delinquent)),
        (vec![refused(403, "suspended")], 1, Some(ErrorId::Suspended)),
        (vec![refused(404, "not_found")], 1, Some(ErrorId::NotFound)),
        (vec![refused(416, "requested_range_not_satisfiable")], 1, Some(ErrorId::BadRange)),
    ];
    for (troubles, requests, want) in cases {
        let fake = one_app().await;
        troubles.iter().for_each(|trouble| fake.trouble("GET /apps", trouble.clone()));
        let done = client(&fake).apps().await;
        assert_eq!(done.as_ref().err().and_then(Error::id), want, "{troubles:?}: {done:?}");
        assert_eq!(done.is_ok(), want.is_none(), "{troubles:?}: {done:?}");
        assert_eq!(fake.asked().len(), requests, "{troubles:?}");
        if let Err(error) = done {
            assert!(error.to_string().contains("fake-request-"), "names its request: {error}");
        }
    }
}

#[tokio::test]
async fn what_changes_something_is_not_done_twice() {
    let url = "https://drain:pw@ops.example/drain/shop".into();
    let cases = [
        (Trouble::DropAfterDone, 1, true),
        (Trouble::Drop, 1, true),
        (Trouble::refuse(503, ""), 1, true),
        (Trouble::refuse(422, "invalid_params"), 1, false),
    ];
    for (trouble, requests, maybe_done) in cases {
        let fake = one_app().await;
        fake.trouble("POST", trouble.clone());
        let error = client(&fake).create_log_drain("shop", &url).await.unwrap_err();
        assert_eq!((fake.asked().len(), error.maybe_done()), (requests, maybe_done), "{trouble:?}: {error}");
    }
    let fake = one_app().await;
    fake.trouble("POST", Trouble::Refuse { status: 429, id: "rate_limit", retry_after: Some(0) });
    client(&fake).create_log_drain("shop", &url).await.unwrap();
    assert_eq!(
        fake.account(|account| account.app("shop").drains.len()),
        1,
        "what was refused for its number is tried again"
    );
}

#[tokio::test]
async fn nobody_there_means_nothing_was_done() {
    let gone = one_app().await.url();
    let options =
        ClientOptions { base_url: gone, retry_wait: Duration::from_millis(1), ..ClientOptions::new(KEY.into()) };
    let error =
        Client::new(options).unwrap().create_log_drain("shop", &"https://u:canary@x.example".into()).await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { maybe_done: false, .. }), "{error:?}");
    assert!(!format!("{error} {error:?}").contains("canary") && !format!("{error:?}").contains(KEY), "{error:?}");
}

#[tokio::test]
async fn a_hang_ends() {
    let fake = one_app().await;
    (0..3).for_each(|_| fake.trouble("GET", Trouble::Hang));
    let options = ClientOptions {
        base_url: fake.url(),
        retry_wait: Duration::from_millis(1),
        request_max: Duration::from_millis(50),
        ..ClientOptions::new(KEY.into())
    };
    let error = Client::new(options).unwrap().apps().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
    assert_eq!(fake.untrouble(), 0);
}

#[tokio::test]
async fn lies_are_told_from_lists() {
    for trouble in [
        Trouble::Lie("<html>sign in</html>"),
        Trouble::Lie("{}"),
        Trouble::Lie(r#"[{"id":"no uuid","name":"x"}]"#),
        Trouble::Lie("["),
        Trouble::HalfList,
        Trouble::SameRange,
    ] {
        let fake = one_app().await;
        fake.trouble("GET /apps", trouble.clone());
        let error = client(&fake).apps().await.unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{trouble:?}: {error:?}");
    }
}

#[tokio::test]
async fn two_factors() {
    let fake = one_app().await;
    fake.demand_two_factor("123456");
    let client = client(&fake);
    let error = client.apps().await.unwrap_err();
    assert_eq!(error.id(), Some(ErrorId::TwoFactor));
    assert!(error.to_string().contains("--two-factor-code"), "{error}");
    assert_eq!(client.with_two_factor_code("000000".into()).apps().await.unwrap_err().id(), Some(ErrorId::TwoFactor));
    assert_eq!(client.with_two_factor_code("123456".into()).apps().await.unwrap().len(), 1);
    let odd = client.with_two_factor_code("12\n34".into()).apps().await.unwrap_err();
    assert!(matches!(odd, Error::Unusable(_)) && !odd.to_string().contains("34"), "{odd}");
}

#[tokio::test]
async fn the_allowance_is_read_and_ends() {
    let fake = one_app().await;
    fake.allow(Some(2));
    let client = client(&fake);
    assert_eq!(client.remaining(), None);
    for left in [1, 0] {
        client.apps().await.unwrap();
        assert_eq!(client.remaining(), Some(left));
    }
    assert_eq!(client.apps().await.unwrap_err().id(), Some(ErrorId::RateLimit));
    assert_eq!(client.rate_limit().await.unwrap(), 0, "asking how many are left costs none");
}

#[test]
fn what_is_no_address_or_key_is_said_without_it() {
    crate::with_tls();
    for (base_url, key) in [("canary://x", KEY), ("not a canary", KEY), ("https://x.example", "canary\n")] {
        let error =
            Client::new(ClientOptions { base_url: base_url.into(), ..ClientOptions::new(key.into()) }).unwrap_err();
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}
