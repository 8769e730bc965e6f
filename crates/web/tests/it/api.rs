//! The JSON API: what it lists, how it pages, what it changes and in whose name, and how it says no.

use std::time::Duration;

use dynowatch_domain::alert::{Effect, ResolveReason};
use http::{Method, StatusCode};
use serde_json::json;

use crate::site::{KNOWN_SECRET, Site, app_line, frame, h12, request};

#[tokio::test]
async fn an_alert_with_its_proof() {
    let site = Site::open().await;
    site.storm().await;
    let list = site.get("/api/v1/alerts").await;
    let first = &list["items"][0];
    assert_eq!(list["next_cursor"], json!(null));
    let firing: Vec<_> = list["items"].as_array().unwrap().iter().map(|a| a["key"].as_str().unwrap()).collect();
    assert!(firing.contains(&"h12/shop") && firing.contains(&"5xx-by-path/shop/path_prefix=/orders"), "{firing:?}");
    let id = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    let alert = site.get(&format!("/api/v1/alerts/{id}")).await;
    for (field, want) in [
        ("measured", json!("4 events")),
        ("threshold", json!("> 3")),
        ("window", json!("5m")),
        ("state", json!("firing")),
        ("told", json!(true)),
        ("app", json!("shop")),
    ] {
        assert_eq!(alert[field], want, "{field}");
    }
    assert_eq!(alert["first_at"], "2026-05-07T08:06:01Z");
    let roles: Vec<_> =
        alert["evidence"].as_array().unwrap().iter().map(|line| line["role"].as_str().unwrap()).collect();
    assert!(roles.iter().filter(|role| **role == "match").count() == 4 && roles.contains(&"same_dyno"), "{roles:?}");
    let text = alert.to_string();
    assert!(!text.contains("Zm9vYmFy") && text.contains("[masked]"), "{text}");
    let decisions: Vec<_> = alert["decisions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| (d["decision"].as_str().unwrap(), d["because"].as_str().unwrap()))
        .collect();
    assert_eq!(decisions[0], ("fired", "Fired: 4 events crossed the limit."));
    assert_eq!(
        decisions[1],
        ("notify", "The alert goes to operator (4 events); silent until 2026-05-07 08:11:12 UTC.")
    );
    let delivery = alert["deliveries"][0]["id"].as_str().unwrap();
    let delivery = site.get(&format!("/api/v1/deliveries/{delivery}")).await;
    assert_eq!((&delivery["state"], &delivery["attempt_log"][0]["outcome"]), (&json!("sent"), &json!("accepted")));
    assert_eq!(delivery["title"], "[firing] h12 on shop");
    assert!(delivery["text"].as_str().unwrap().contains("Condition: 4 events in 5m (threshold > 3)"));
    assert!(first["id"].is_string());
}

/// C38: where the log router lost lines a count is a lower bound, and the API says so and why.
#[tokio::test]
async fn a_lower_bound_and_its_reason() {
    let site = Site::open().await;
    let loss = "Error L10 (output buffer overflow): 112 messages dropped since 2026-05-07T08:05:30Z.";
    site.post("shop", frame("2026-05-07T08:06:00Z", "heroku", "logplex", loss).as_bytes()).await;
    site.storm().await;
    let alert = site.get("/api/v1/alerts?rule=h12").await["items"][0].clone();
    assert_eq!((&alert["lower_bound"], &alert["measured"]), (&json!(true), &json!("at least 4 events")));
    let alert = site.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap())).await;
    assert_eq!(alert["lower_bound_because"], json!(["blind 08:05:30-08:06:00 UTC (log_loss, 112 lines lost)"]));
}

#[tokio::test]
async fn filters() {
    let site = Site::open().await;
    site.storm().await;
    site.post("other", request("2026-05-07T08:06:12Z", "/x", "", 500).as_bytes()).await;
    let cases = [
        ("alerts?state=firing", 3),
        ("alerts?state=resolved", 0),
        ("alerts?state=pending", 0),
        ("alerts?app=shop", 2),
        ("alerts?app=shop&rule=h12", 1),
        ("alerts?rule=nothing", 0),
        ("deliveries", 3),
        ("deliveries?state=sent", 2),
        ("deliveries?state=pending&receiver=operator", 1),
        ("deliveries?receiver=nobody", 0),
        ("rules", 4),
        ("receivers", 1),
        ("apps", 2),
    ];
    for (path, want) in cases {
        assert_eq!(site.get(&format!("/api/v1/{path}")).await["items"].as_array().unwrap().len(), want, "{path}");
    }
}

/// Every list gives each item once, whatever the size of its pages.
#[tokio::test]
async fn pages_meet_everything_once() {
    let site = Site::open().await;
    for n in 0..7 {
        site.post(&format!("app-{n}"), request("2026-05-07T08:06:12Z", &format!("/{n}"), "", 503).as_bytes()).await;
        // Half of them share a moment: the id then decides.
        site.clock.advance(Duration::from_secs(n % 2));
    }
    for (list, by, total) in [("alerts", "id", 7), ("deliveries", "id", 7), ("apps", "name", 8), ("rules", "name", 4)] {
        for size in [1, 3, 7, 8] {
            let (mut seen, mut cursor) = (Vec::new(), String::new());
            loop {
                let page = site.get(&format!("/api/v1/{list}?limit={size}{cursor}")).await;
                seen.extend(page["items"].as_array().unwrap().iter().map(|item| item[by].as_str().unwrap().to_owned()));
                let Some(next) = page["next_cursor"].as_str() else { break };
                cursor = format!("&cursor={next}");
                assert!(seen.len() < 50, "{list} by {size} does not end");
            }
            let count = seen.len();
            seen.sort();
            seen.dedup();
            assert_eq!((count, seen.len()), (total, total), "{list} by {size}");
        }
    }
}

#[tokio::test]
async fn an_app_and_its_counts() {
    let site = Site::open().await;
    site.storm().await;
    site.post("shop", format!("{}12 not syslog", request("2026-05-07T08:06:11Z", "/", "", 200)).as_bytes()).await;
    let app = site.get("/api/v1/apps/shop").await;
    assert_eq!(
        (&app["lines"], &app["platform_errors"], &app["last_line_at"]),
        (&json!(7), &json!(4), &json!("2026-05-07T08:06:12Z"))
    );
    assert_eq!(app["codes"], json!([{"code": "H12", "count": 4}]));
    assert_eq!(app["status_classes"], json!([{"class": "2xx", "requests": 1}, {"class": "5xx", "requests": 4}]));
    assert_eq!(app["service_ms"], json!(150_000));
    assert_eq!(app["malformed"].as_array().unwrap().len(), 1, "{}", app["malformed"]);
    assert_eq!(app["tokens"][0]["token"], "d.0123…abcd");
    let names: Vec<_> = app["samples"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["dyno.load_1m", "dyno.memory_total_mb"]);
}

#[tokio::test]
async fn an_app_is_renamed() {
    let site = Site::open().await;
    site.storm().await;
    let rename = async |from: &str, body: &str| site.api(Method::PATCH, &format!("/api/v1/apps/{from}"), body).await;
    site.post("other", b"").await;
    let cases = [
        ("shop", r#"{"name": "other"}"#, 409, "conflict"),
        ("shop", r#"{"name": "a b"}"#, 400, "bad_request"),
        ("shop", r#"{"name": ""}"#, 400, "bad_request"),
        ("shop", r#"{"nmae": "x"}"#, 400, "bad_request"),
        ("shop", "", 400, "bad_request"),
        ("nobody", r#"{"name": "x"}"#, 404, "not_found"),
    ];
    for (from, body, status, code) in cases {
        let answer = rename(from, body).await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (status, Some(code)),
            "{from} {body}: {}",
            answer.text
        );
    }
    let answer = rename("shop", r#"{"name": "boutique"}"#).await;
    assert_eq!((answer.status, &answer.json()["name"]), (StatusCode::OK, &json!("boutique")));
    assert_eq!(site.get("/api/v1/alerts?rule=h12").await["items"][0]["key"], "h12/boutique");
}

#[tokio::test]
async fn an_alert_is_closed_by_key_and_by_whom() {
    let site = Site::open().await;
    site.token("deploy-bot", "stored-token-1").await;
    site.storm().await;
    let id = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    for (want, key) in [(true, "h12/shop"), (false, "h12/shop"), (false, "nothing/shop"), (false, "h12/nobody")] {
        let answer = site
            .api_as("stored-token-1", Method::POST, "/api/v1/alerts/resolve", &json!({"key": key}).to_string())
            .await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"key": key, "was_open": want})));
    }
    let alert = site.get(&format!("/api/v1/alerts/{id}")).await;
    assert_eq!((&alert["state"], &alert["resolved_because"]), (&json!("resolved"), &json!("closed by api:deploy-bot")));
    let stored = site.engine.store().alert(id.parse().unwrap()).await.unwrap();
    let by = ResolveReason::ClosedByOperator { by: "api:deploy-bot".into() };
    assert!(
        stored.decisions.iter().any(|(_, effect)| matches!(effect, Effect::Resolved { reason, .. } if *reason == by))
    );
    let answer = site.api(Method::POST, "/api/v1/alerts/resolve", r#"{"key": "h12"}"#).await;
    assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains("is not a key"), "{}", answer.text);
}

/// A group that holds a secret is shown masked, and closes by the key as shown.
#[tokio::test]
async fn a_masked_key_closes_too() {
    let site = Site::open().await;
    site.post("shop", request("2026-05-07T08:06:12Z", &format!("/{KNOWN_SECRET}/x"), "", 500).as_bytes()).await;
    let key = site.get("/api/v1/alerts").await["items"][0]["key"].as_str().unwrap().to_owned();
    assert_eq!(key, "5xx-by-path/shop/path_prefix=/[masked]");
    let answer = site.api(Method::POST, "/api/v1/alerts/resolve", &json!({"key": key}).to_string()).await;
    assert_eq!(answer.json(), json!({"key": key, "was_open": true}));
}

#[tokio::test]
async fn a_rule_is_quieted_for_a_night() {
    let site = Site::open().await;
    site.storm().await;
    let disable =
        async |rule: &str, body: &str| site.api(Method::POST, &format!("/api/v1/rules/{rule}/disable"), body).await;
    for (rule, body, status) in [
        ("nothing", r#"{"for": "2h"}"#, 404),
        ("h12", r#"{"for": "soon"}"#, 400),
        ("h12", r#"{"for": "0s"}"#, 400),
        ("h12", r#"{"for": "31d"}"#, 400),
    ] {
        assert_eq!(disable(rule, body).await.status.as_u16(), status, "{rule} {body}");
    }
    let rule = disable("h12", r#"{"for": "2h"}"#).await.json();
    assert_eq!((&rule["enabled"], &rule["active"]), (&json!(true), &json!(false)));
    assert_eq!(
        rule["quieted"],
        json!({"until": "2026-05-07T10:06:12Z", "by": "api:environment", "since": "2026-05-07T08:06:12Z"})
    );
    let alert = &site.get("/api/v1/alerts?rule=h12").await["items"][0];
    assert_eq!(alert["state"], "resolved");
    let rule = site.api(Method::POST, "/api/v1/rules/h12/enable", "").await.json();
    assert_eq!((&rule["active"], &rule["quieted"]), (&json!(true), &json!(null)));
    let off = site.get("/api/v1/rules/off").await;
    assert_eq!((&off["enabled"], &off["active"]), (&json!(false), &json!(false)));
}

#[tokio::test]
async fn a_receiver_is_tried_out() {
    let site = Site::open().await;
    let answer = site.api(Method::POST, "/api/v1/receivers/operator/test", "").await;
    assert_eq!(answer.status, StatusCode::ACCEPTED);
    let id = answer.json()["delivery"].as_str().unwrap().to_owned();
    assert_eq!(site.get(&format!("/api/v1/deliveries/{id}")).await["state"], "pending");
    site.engine.send_pass().await.unwrap();
    let delivery = site.get(&format!("/api/v1/deliveries/{id}")).await;
    assert_eq!(
        (&delivery["state"], &delivery["kind"], &delivery["alert"]),
        (&json!("sent"), &json!("test"), &json!(null))
    );
    let receivers = site.get("/api/v1/receivers").await;
    assert_eq!(receivers["items"], json!([{"name": "operator", "kind": "log", "pending": 0, "sent": 1, "failed": 0}]));
    let answer = site.api(Method::POST, "/api/v1/receivers/nobody/test", "").await;
    assert!(answer.status == StatusCode::NOT_FOUND && answer.text.contains("known are: operator"), "{}", answer.text);
}

#[tokio::test]
async fn a_reload_is_asked_for() {
    let mut site = Site::open().await;
    for (reply, status, code) in [
        (Ok(()), 200, None),
        (Err("dynowatch.toml:3: rules[0].count: \"lots\"".to_owned()), 422, Some("config_invalid")),
    ] {
        let (router, mut reloads) = (site.router.clone(), site.reloads);
        let binary = tokio::spawn(async move {
            let request = reloads.recv().await.unwrap();
            _ = request.reply.send(reply);
            reloads
        });
        let (reload, reloads) = tokio::sync::mpsc::channel(1);
        drop(reload);
        site.reloads = reloads;
        site.router = router;
        let answer = site.api(Method::POST, "/api/v1/config/reload", "").await;
        assert_eq!(
            (answer.status.as_u16(), answer.json()["error"]["code"].as_str()),
            (status, code),
            "{}",
            answer.text
        );
        site.reloads = binary.await.unwrap();
    }
    site.reloads.close();
    let answer = site.api(Method::POST, "/api/v1/config/reload", "").await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (503, Some("busy")));
}

#[tokio::test]
async fn errors_have_one_form() {
    let site = Site::open().await;
    let cases = [
        (Method::GET, "/api/v1/nowhere", 404, "not_found"),
        (Method::GET, "/api/", 404, "not_found"),
        (Method::DELETE, "/api/v1/apps", 405, "method_not_allowed"),
        (Method::GET, "/api/v1/alerts/resolve", 405, "method_not_allowed"),
        (Method::GET, "/api/v1/alerts/nonsense", 404, "not_found"),
        (Method::GET, "/api/v1/alerts/019e0178-2a00-7000-8000-0000000000aa", 404, "not_found"),
        (Method::GET, "/api/v1/deliveries/019e0178-2a00-7000-8000-0000000000aa", 404, "not_found"),
        (Method::GET, "/api/v1/apps/nobody", 404, "not_found"),
        (Method::GET, "/api/v1/apps/%FF", 400, "bad_request"),
        (Method::GET, "/api/v1/rules/nothing", 404, "not_found"),
        (Method::GET, "/api/v1/alerts?limit=0", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?limit=lots", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?limit=201", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?cursor=!", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?state=open", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?sate=firing", 400, "bad_request"),
        (Method::GET, "/api/v1/alerts?app=nobody", 404, "not_found"),
        (Method::GET, "/api/v1/deliveries?state=lost", 400, "bad_request"),
        (Method::GET, "/api/v1/apps?cursor=%C3%BC", 400, "bad_request"),
    ];
    for (method, path, status, code) in cases {
        let answer = site.api(method.clone(), path, "").await;
        let error = answer.json()["error"].clone();
        assert_eq!(
            (answer.status.as_u16(), error["code"].as_str()),
            (status, Some(code)),
            "{method} {path}: {}",
            answer.text
        );
        assert!(error["message"].as_str().unwrap().len() > 5, "{path}");
    }
    let answer =
        site.api(Method::POST, "/api/v1/alerts/resolve", &format!("{{\"key\": \"{}\"}}", "x".repeat(70_000))).await;
    assert_eq!((answer.status.as_u16(), answer.json()["error"]["code"].as_str()), (413, Some("too_large")));
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let site = Site::open().await;
    site.post("shop", app_line("2026-05-07T08:06:12Z", "web.1", "kaboom").as_bytes()).await;
    let ready = site.local("/readyz").await.json();
    assert_eq!(ready["details"]["warnings"], json!(["alerts of these rules are sent to nobody: kaboom"]));
    assert_eq!(ready["details"]["rules_without_receivers"], json!(["kaboom"]));
    let drain = site.get("/api/v1/drain").await;
    assert_eq!((&drain["on"], &drain["lines"], &drain["blind"]), (&json!(true), &json!(1), &json!([])));
    let alert = &site.get("/api/v1/alerts").await["items"][0];
    let alert = site.get(&format!("/api/v1/alerts/{}", alert["id"].as_str().unwrap())).await;
    assert_eq!(
        alert["decisions"][1]["because"],
        "The alert was recorded (1 event) but sent to nobody: its rule has no receiver."
    );
    assert_eq!(alert["deliveries"], json!([]));
}

#[tokio::test]
async fn a_pending_alert_has_its_rules_numbers() {
    let mut rules = crate::site::rules();
    rules[0].pending_for = Duration::from_secs(60);
    let site = Site::with(rules).await;
    let body: String = [1, 4, 8, 12].map(|second| h12(&format!("2026-05-07T08:06:{second:02}Z"))).concat();
    site.post("shop", body.as_bytes()).await;
    let list = site.get("/api/v1/alerts?state=pending").await;
    let alert = &list["items"][0];
    assert_eq!(
        (&alert["id"], &alert["key"], &alert["threshold"], &alert["measured"]),
        (&json!(null), &json!("h12/shop"), &json!("> 3"), &json!("4 events"))
    );
    assert_eq!(list["items"].as_array().unwrap().len(), 1);
}
