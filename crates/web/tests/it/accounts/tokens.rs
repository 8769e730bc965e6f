//! Tokens of the API, the audit log, and what the store keeps of secrets. Numbers in brackets are those of ASVS 5.0.

use std::time::Duration;

use http::Method;

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited};
use crate::browser::{Browser, PASSWORD, between};
use crate::site::{Site, TOKEN};

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
        made.push(format!("dw_{}", between(&page.text, "<code><span>dw_", "</span>")));
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

/// (6.4.5) What ends is announced a week before, where it is made anew; so is what has ended.
#[tokio::test]
async fn a_token_that_ends_is_announced() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for (name, days) in [("weekly", "8"), ("quarterly", "90")] {
        ada.get("/settings/tokens").await;
        ada.confirm("/settings/tokens", &[("name", name), ("read", "yes"), ("days", days)], PASSWORD).await;
    }
    site.token("for-ever", "stored-token-1").await;
    let told = async |ada: &mut Browser<'_>| {
        let page = ada.get("/settings/tokens").await.text;
        let of = |name: &str| {
            let row = between(&page, &format!("<strong>{name}</strong>"), "</tr>");
            let state = between(row, "data-of=\"State\">", "</td>");
            state.trim_start_matches("<strong>").trim_end_matches("</strong>").to_owned()
        };
        let states = ["weekly", "quarterly", "for-ever"].map(of);
        let notice = |begin: &str| page.contains(begin).then(|| between(&page, begin, ".").to_owned());
        (states, notice("Ending within 7 days: "), notice("Ended: "))
    };
    let states = |weekly: &str, quarterly: &str| [weekly, quarterly, "good"].map(str::to_owned);
    let named = |name: &str| Some(name.to_owned());
    assert_eq!(told(&mut ada).await, (states("good", "good"), None, None));
    site.clock.advance(Duration::from_secs(86_400));
    assert_eq!(told(&mut ada).await, (states("ends soon", "good"), named("weekly"), None));
    site.clock.advance(Duration::from_secs(7 * 86_400));
    assert_eq!(told(&mut ada).await, (states("over", "good"), None, named("weekly")));
    // One that was replaced and revoked needs no word any more.
    assert_eq!(ada.sign_in("ada", PASSWORD).await.status, SEE_OTHER);
    ada.get("/settings/tokens").await;
    ada.post("/settings/tokens/revoke", &[("name", "weekly")]).await;
    site.clock.advance(Duration::from_secs(75 * 86_400));
    ada.sign_in("ada", PASSWORD).await;
    assert_eq!(told(&mut ada).await, (states("revoked", "ends soon"), named("quarterly"), None));
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
async fn secrets_are_neither_in_the_store_nor_in_the_audit_log() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (seed, recovery) = ada.enrol(PASSWORD).await;
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
