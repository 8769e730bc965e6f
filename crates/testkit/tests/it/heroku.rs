//! The fake Heroku: what it lets pass, what it holds against Heroku's schema.

use dynowatch_testkit::heroku::{FakeHeroku, KEY};
use dynowatch_testkit::http_client::{Answer, send};
use http::Method;

async fn ask(fake: &FakeHeroku, method: Method, path: &str, headers: &[(&str, &str)], body: &'static str) -> Answer {
    let key = format!("Bearer {KEY}");
    let mut all =
        vec![("accept", "application/vnd.heroku+json; version=3"), ("user-agent", "test"), ("authorization", &key)];
    for (name, value) in headers {
        all.retain(|(known, _)| known != name);
        all.push((name, value));
    }
    send(method, &format!("{}{path}", fake.url()), &all, body.into()).await.unwrap()
}

#[tokio::test]
async fn every_answer_fits_the_schema() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("shop");
        account.add_on("shop", "heroku-redis", "heroku-redis:mini", "REDIS_URL");
        account.release("shop", "Deploy 1", "dev@example.com", "2026-05-07T08:00:00Z", Some("1"));
        account.add_drain("shop", "https://x.example/");
        account.app("shop").releases[0].status = None;
    });
    let slug = fake.account(|account| account.app("shop").releases[0].slug.clone().unwrap().0);
    for path in ["", "/formation", "/dynos", "/releases", "/log-drains", "/features/log-runtime-metrics"] {
        let answer = ask(&fake, Method::GET, &format!("/apps/shop{path}"), &[], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
    }
    for path in ["/apps", "/addons", &format!("/apps/shop/slugs/{slug}"), "/account/rate-limits"] {
        assert_eq!(ask(&fake, Method::GET, path, &[], "").await.status, 200, "{path}");
    }
    assert_eq!(fake.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn what_does_not_fit_is_remembered() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| _ = account.create("shop"));
    for (method, path, body) in [
        (Method::POST, "/apps/shop/log-drains", r#"{"url":"https://x.example/","name":"more than the schema knows"}"#),
        (Method::POST, "/apps/shop/log-drains", "{}"),
        (Method::PATCH, "/apps/shop/features/x", r#"{"enabled":"yes"}"#),
        (Method::GET, "/apps/shop/webhooks", ""),
        (Method::GET, "/apps/shop/formation", r#"{"a":1}"#),
    ] {
        let _answer = ask(&fake, method.clone(), path, &[], body).await;
        assert!(!fake.violations().is_empty(), "{method} {path} {body}");
    }
    fake.account(|account| account.app("shop").stack = "heroku-24");
    fake.account(|account| account.app("shop").name = "Not A Name".to_owned());
    let _answer = ask(&fake, Method::GET, "/apps", &[], "").await;
    assert!(!fake.violations().is_empty(), "an answer is held against the schema too");
}

#[tokio::test]
async fn the_door_is_guarded() {
    let fake = FakeHeroku::start().await;
    for (headers, status, id) in [
        (&[("accept", "application/json")][..], 406, "not_acceptable"),
        (&[("authorization", "Bearer other")], 401, "unauthorized"),
        (&[("range", "shoe-size ..")], 416, "requested_range_not_satisfiable"),
        (&[("range", "id ..; max=0")], 416, "requested_range_not_satisfiable"),
    ] {
        let answer = ask(&fake, Method::GET, "/apps", headers, "").await;
        assert_eq!((answer.status.as_u16(), answer.json()["id"].as_str()), (status, Some(id)), "{headers:?}");
        assert!(answer.headers.contains_key("request-id"));
    }
}
