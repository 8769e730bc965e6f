//! What the API answers is what its document says: field by field, no more and no less.

use std::collections::{BTreeMap, BTreeSet};

use http::Method;
use serde_json::{Value, json};

use crate::site::{Site, frame};

struct Document(Value);

impl Document {
    /// The schema of an answer.
    fn answer(&self, method: &str, path: &str, status: u16) -> Value {
        let answer = &self.0["paths"][path][method]["responses"][status.to_string()];
        let schema = &answer["content"]["application/json"]["schema"];
        assert!(schema.is_object(), "{method} {path} {status} is not documented: {answer}");
        schema.clone()
    }

    fn resolve<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str() {
            Some(name) => self.resolve(self.0.pointer(&name[1..]).unwrap_or_else(|| panic!("{name} is missing"))),
            None => schema,
        }
    }

    /// The fields of an object, those of its parts included.
    fn fields<'a>(&'a self, schema: &'a Value, into: &mut BTreeMap<String, &'a Value>) {
        let schema = self.resolve(schema);
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.fields(part, into);
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            into.insert(name.clone(), field);
        }
    }

    /// Everything that is wrong with a value.
    fn check(&self, schema: &Value, value: &Value, place: &str, wrong: &mut Vec<String>) {
        let schema = self.resolve(schema);
        if let Some(choices) = schema["oneOf"].as_array() {
            let fits = choices.iter().any(|choice| {
                let mut problems = Vec::new();
                self.check(choice, value, place, &mut problems);
                problems.is_empty()
            });
            if !fits {
                wrong.push(format!("{place}: {value} fits none of {choices:?}"));
            }
            return;
        }
        match value {
            Value::Object(object) => {
                let mut fields = BTreeMap::new();
                self.fields(schema, &mut fields);
                let (have, want): (BTreeSet<_>, BTreeSet<_>) = (
                    object.keys().collect(),
                    fields.keys().filter(|name| *name != "detail" || object.contains_key("detail")).collect(),
                );
                if have != want {
                    wrong.push(format!("{place}: has {have:?}, documented are {want:?}"));
                }
                for (name, value) in object {
                    if let Some(field) = fields.get(name) {
                        self.check(field, value, &format!("{place}.{name}"), wrong);
                    }
                }
            }
            Value::Array(items) => {
                if schema["items"].is_null() {
                    wrong.push(format!("{place}: a list is not documented"));
                }
                for item in items {
                    self.check(&schema["items"], item, &format!("{place}[]"), wrong);
                }
            }
            plain => {
                let name = match plain {
                    Value::Null => "null",
                    Value::Bool(_) => "boolean",
                    Value::Number(n) if n.is_u64() || n.is_i64() => "integer",
                    Value::Number(_) => "number",
                    _ => "string",
                };
                let allowed: Vec<&str> = match &schema["type"] {
                    Value::Array(types) => types.iter().filter_map(Value::as_str).collect(),
                    one => one.as_str().into_iter().collect(),
                };
                let fits = allowed.contains(&name) || (name == "integer" && allowed.contains(&"number"));
                if !fits {
                    wrong.push(format!("{place}: {plain} is {name}, documented is {allowed:?}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn answers_have_exactly_the_documented_fields() {
    let site = Site::open().await;
    site.storm().await;
    let release = frame("2026-05-07T08:05:40Z", "app", "api", "Release v124 created by user dev@example.com")
        + &frame("2026-05-07T08:05:40Z", "app", "api", "Deploy 0a1b2c3d by user dev@example.com");
    site.post("shop", release.as_bytes()).await;
    site.post("shop", b"12 not syslog").await;
    let loss = frame(
        "2026-05-07T08:06:10Z",
        "heroku",
        "logplex",
        "Error L10 (output buffer overflow): 112 messages dropped since 2026-05-07T08:06:00Z.",
    );
    site.post("shop", loss.as_bytes()).await;
    site.api(Method::POST, "/api/v1/rules/h12/disable", r#"{"for": "2h"}"#).await;
    let document = Document(site.local("/api/v1/openapi.json").await.json());
    let (alert, delivery) = (
        site.newest_alert().await,
        site.get("/api/v1/deliveries").await["items"][0]["id"].as_str().unwrap().to_owned(),
    );
    let mut samples: Vec<(&str, &str, String, &str, u16)> = [
        ("/api/v1/apps", "apps"),
        ("/api/v1/alerts", "alerts"),
        ("/api/v1/deliveries", "deliveries"),
        ("/api/v1/rules", "rules"),
        ("/api/v1/receivers", "receivers"),
        ("/api/v1/drain", "drain"),
        ("/api/v1/apps/{name}", "apps/shop"),
        ("/api/v1/rules/{name}", "rules/h12"),
        (
            "/api/v1/series",
            "series?app=shop&metric=router.requests&by=class&from=2026-05-07T08:00:00Z&until=2026-05-07T08:10:00Z",
        ),
        ("/api/v1/apps/{name}/metrics", "apps/shop/metrics"),
        ("/api/v1/apps/{name}/paths", "apps/shop/paths"),
        ("/api/v1/apps/{name}/events", "apps/shop/events?from=2026-05-07T00:00:00Z&until=2026-05-08T00:00:00Z"),
        ("/api/v1/apps/{name}/dynos", "apps/shop/dynos"),
    ]
    .into_iter()
    .map(|(path, real)| ("get", path, format!("/api/v1/{real}"), "", 200))
    .collect();
    samples.push(("get", "/api/v1/alerts/{id}", format!("/api/v1/alerts/{alert}"), "", 200));
    samples.push(("get", "/api/v1/deliveries/{id}", format!("/api/v1/deliveries/{delivery}"), "", 200));
    samples.push(("post", "/api/v1/rules/{name}/enable", "/api/v1/rules/h12/enable".into(), "", 200));
    samples.push((
        "post",
        "/api/v1/rules/{name}/disable",
        "/api/v1/rules/kaboom/disable".into(),
        r#"{"for": "1h"}"#,
        200,
    ));
    samples.push(("post", "/api/v1/receivers/{name}/test", "/api/v1/receivers/operator/test".into(), "", 202));
    samples.push(("post", "/api/v1/alerts/resolve", "/api/v1/alerts/resolve".into(), r#"{"key": "h12/shop"}"#, 200));
    samples.push(("patch", "/api/v1/apps/{name}", "/api/v1/apps/shop".into(), r#"{"name": "boutique"}"#, 200));
    samples.push(("patch", "/api/v1/apps/{name}", "/api/v1/apps/nobody".into(), r#"{"name": "x"}"#, 404));
    samples.push(("get", "/api/v1/alerts/{id}", "/api/v1/alerts/x".into(), "", 404));
    samples.push(("get", "/api/v1/apps", "/api/v1/apps?limit=0".into(), "", 400));
    let mut wrong = Vec::new();
    for (method, path, real, body, status) in samples {
        let answer = site.api(method.to_uppercase().parse().unwrap(), &real, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {real}: {}", answer.text);
        document.check(&document.answer(method, path, status), &answer.json(), &format!("{method} {path}"), &mut wrong);
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The same for checks and maintenance windows.
#[tokio::test]
async fn checks_answer_with_exactly_the_documented_fields() {
    let site = Site::open().await;
    let found = site.probe();
    let parts = (
        json!({"kind": "web", "url": "https://a.example", "app": "shop"}),
        json!({"kind": "heartbeat", "every": "10m"}),
    );
    site.make("home", &parts.0).await;
    site.make("job", &parts.1).await;
    let url = site.get("/api/v1/checks/job").await["ping_url"].as_str().unwrap().to_owned();
    site.ask(Method::POST, &format!("{url}/start?rid=1"), "198.51.100.7:1", &[], "").await;
    site.minutes(2).await;
    found.finds("home", Some(dynowatch_domain::check::outcome::Reason::PinChanged));
    found.offers("home", "ab");
    site.minutes(4).await;
    let document = Document(site.local("/api/v1/openapi.json").await.json());
    let window = r#"{"all": true, "at": "2026-05-07T08:00:00Z", "for": "2h"}"#;
    let draft = json!({"check": parts.0}).to_string();
    let mut wrong = Vec::new();
    for (method, path, real, body, status) in [
        ("get", "", "", "", 200),
        ("get", "", "?limit=0", "", 400),
        ("get", "/{name}", "/home", "", 200),
        ("get", "/{name}", "/job", "", 200),
        ("get", "/{name}", "/nobody", "", 404),
        ("put", "/{name}", "/home", &*parts.0.to_string(), 200),
        ("put", "/{name}", "/other", &*parts.0.to_string(), 201),
        ("put", "/{name}", "/other", "{}", 400),
        ("get", "/{name}/history", "/home/history", "", 200),
        ("get", "/{name}/failures", "/home/failures", "", 200),
        ("get", "/{name}/outages", "/home/outages", "", 200),
        ("get", "/{name}/uptime", "/home/uptime", "", 200),
        ("get", "/{name}/days", "/home/days", "", 200),
        ("post", "/{name}/replay", "/home/replay", r#"{"failures": 1, "failing_for": "5m"}"#, 200),
        ("post", "/{name}/explain", "/home/explain", "", 200),
        ("post", "/{name}/run", "/home/run", "", 202),
        ("post", "/{name}/run", "/job/run", "", 409),
        ("post", "/{name}/accept-pin", "/home/accept-pin", r#"{"key_sha256": "ab"}"#, 202),
        ("post", "/{name}/accept-pin", "/job/accept-pin", r#"{"key_sha256": "ab"}"#, 409),
        ("post", "/{name}/pause", "/home/pause", "", 200),
        ("post", "/{name}/resume", "/home/resume", "", 200),
        ("delete", "/{name}", "/other", "", 200),
        ("delete", "/{name}", "/other", "", 404),
    ] {
        let answer = site.api(method.to_uppercase().parse().unwrap(), &format!("/api/v1/checks{real}"), body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {real}: {}", answer.text);
        let schema = document.answer(method, &format!("/api/v1/checks{path}"), status);
        document.check(&schema, &answer.json(), &format!("{method} {path}"), &mut wrong);
    }
    for (body, status) in [(&*draft, 200), ("{}", 400)] {
        let answer = site.api(Method::POST, "/api/v1/explain", body).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        document.check(&document.answer("post", "/api/v1/explain", status), &answer.json(), "explain", &mut wrong);
    }
    for (method, path, real, body, status) in [
        ("put", "/{name}", "/move", window, 201),
        ("put", "/{name}", "/move", window, 200),
        ("put", "/{name}", "/move", "{}", 400),
        ("get", "", "", "", 200),
        ("get", "/{name}", "/move", "", 200),
        ("get", "/{name}", "/other", "", 404),
        ("delete", "/{name}", "/move", "", 200),
    ] {
        let answer =
            site.api(method.to_uppercase().parse().unwrap(), &format!("/api/v1/maintenance{real}"), body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {real}: {}", answer.text);
        let schema = document.answer(method, &format!("/api/v1/maintenance{path}"), status);
        document.check(&schema, &answer.json(), &format!("{method} {path}"), &mut wrong);
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// The same for what the Heroku account says and does.
#[tokio::test]
async fn heroku_answers_have_exactly_the_documented_fields() {
    let site = Site::open().await;
    let fake = site.heroku().await;
    fake.account(|account| {
        account.create("shop");
        account.add_on("shop", "heroku-redis", "heroku-redis:mini", "REDIS_URL");
        account.release("shop", "Deploy 1", "dev@example.com", "2026-05-07T08:00:00Z", Some("0a1b"));
        account.create("on-fir");
        account.app("on-fir").generation = Some("fir");
    });
    let document = Document(site.local("/api/v1/openapi.json").await.json());
    let mut wrong = Vec::new();
    let drains = "/api/v1/apps/{name}/drains";
    let rotate = "/api/v1/apps/{name}/drains/rotate";
    for (method, path, real, body, status) in [
        ("post", "/api/v1/heroku/sync", "heroku/sync", "", 200),
        ("get", "/api/v1/heroku", "heroku", "", 200),
        ("get", "/api/v1/apps/{name}", "apps/shop", "", 200),
        ("get", "/api/v1/apps/{name}", "apps/on-fir", "", 200),
        ("post", drains, "apps/shop/drains", "", 201),
        ("post", drains, "apps/shop/drains", "", 409),
        ("post", drains, "apps/on-fir/drains", "", 409),
        ("get", drains, "apps/shop/drains", "", 200),
        ("get", drains, "apps/on-fir/drains", "", 200),
        ("get", drains, "apps/nobody/drains", "", 404),
        ("post", rotate, "apps/shop/drains/rotate", "{}", 202),
        ("post", rotate, "apps/shop/drains/rotate", "{}", 409),
        ("post", "/api/v1/apps/{name}/drains/rotate/proceed", "apps/shop/drains/rotate/proceed", "", 200),
        ("post", "/api/v1/apps/{name}/drains/rotate/abandon", "apps/shop/drains/rotate/abandon", "", 200),
        ("post", "/api/v1/apps/{name}/drains/rotate/abandon", "apps/shop/drains/rotate/abandon", "", 404),
        ("delete", "/api/v1/apps/{name}/drains/{id}", "apps/shop/drains/x", "", 404),
        ("post", "/api/v1/apps/{name}/runtime-metrics", "apps/shop/runtime-metrics", r#"{"enabled": true}"#, 200),
        ("post", "/api/v1/apps/{name}/runtime-metrics", "apps/on-fir/runtime-metrics", r#"{"enabled": true}"#, 409),
    ] {
        let answer = site.api(method.to_uppercase().parse().unwrap(), &format!("/api/v1/{real}"), body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {real}: {}", answer.text);
        assert!(!answer.text.contains("canary"), "{method} {real}: {}", answer.text);
        document.check(&document.answer(method, path, status), &answer.json(), &format!("{method} {path}"), &mut wrong);
    }
    let id = site.get("/api/v1/apps/shop/drains").await["items"][0]["id"].as_str().unwrap().to_owned();
    let removed = site.api(Method::DELETE, &format!("/api/v1/apps/shop/drains/{id}"), "").await;
    assert_eq!(removed.status.as_u16(), 200, "{}", removed.text);
    document.check(
        &document.answer("delete", "/api/v1/apps/{name}/drains/{id}", 200),
        &removed.json(),
        "delete",
        &mut wrong,
    );
    // Who asks again at once gets the same answer.
    site.clock.advance(std::time::Duration::from_secs(11));
    fake.trouble("GET /apps", dynowatch_testkit::heroku::Trouble::refuse(401, "unauthorized"));
    let refused = site.api(Method::POST, "/api/v1/heroku/sync", "").await;
    assert_eq!(
        (refused.status.as_u16(), &refused.json()["error"]["code"]),
        (502, &"heroku".into()),
        "{}",
        refused.text
    );
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn without_a_key_the_api_says_so() {
    let site = Site::open().await;
    for (method, path) in
        [(Method::POST, "heroku/sync"), (Method::GET, "apps/shop/drains"), (Method::POST, "apps/shop/drains")]
    {
        let answer = site.api(method, &format!("/api/v1/{path}"), "").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["error"]["code"]), (409, &"no_heroku_key".into()), "{path}");
    }
    assert_eq!(site.get("/api/v1/heroku").await["connected"], false);
    assert!(site.get("/api/v1/apps/shop").await["heroku"].is_null());
}

/// The check itself sees what is too much, too little, and of another kind.
#[test]
fn the_check_finds_differences() {
    let document = Document(json!({"components": {"schemas": {
        "Base": {"type": "object", "properties": {"a": {"type": "integer"}}},
        "All": {"allOf": [{"$ref": "#/components/schemas/Base"}, {"type": "object", "properties": {"b": {"type": ["string", "null"]}, "c": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Base"}]}}}]},
    }}}));
    let schema = json!({"type": "array", "items": {"$ref": "#/components/schemas/All"}});
    let cases = [
        (json!([{"a": 1, "b": null, "c": null}, {"a": 1, "b": "x", "c": {"a": 2}}]), 0),
        (json!([{"a": 1, "b": null}]), 1),
        (json!([{"a": 1, "b": null, "c": null, "d": 1}]), 1),
        (json!([{"a": "1", "b": null, "c": null}]), 1),
        (json!([{"a": 1, "b": 2, "c": {"z": 1}}]), 2),
    ];
    for (value, problems) in cases {
        let mut wrong = Vec::new();
        document.check(&schema, &value, "x", &mut wrong);
        assert_eq!(wrong.len(), problems, "{value}: {wrong:?}");
    }
}

/// The pages for people name every route and every metric.
#[tokio::test]
async fn the_manual_is_complete() {
    let site = Site::open().await;
    site.storm().await;
    let document = site.local("/api/v1/openapi.json").await.json();
    let manual = include_str!("../../../../docs/api.md");
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let row = format!("| `{} {path}` |", method.to_uppercase());
            assert!(manual.contains(&row), "docs/api.md lacks {row}");
        }
    }
    let manual = include_str!("../../../../docs/metrics.md");
    let named: BTreeSet<&str> =
        manual.lines().filter_map(|line| line.strip_prefix("| `dynowatch_")?.split('`').next()).collect();
    let metrics = site.local("/metrics").await.text;
    let families = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE dynowatch_")?.split_once(' '));
    let told: BTreeSet<String> = families
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    // Current values of the apps' metrics come and go; the second table names them all.
    let of_apps = |name: &str| name.starts_with("custom") || manual.contains(&format!(" | `dynowatch_{name}` | "));
    assert_eq!(named, told.iter().map(String::as_str).filter(|name| named.contains(name) || !of_apps(name)).collect());
}
