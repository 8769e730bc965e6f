//! Metrics over HTTP: values, gaps, tables, and what goes with them.

use axum::http::Method;
use serde_json::json;

use crate::site::{Site, app_line, frame, request};

const SPAN: &str = "from=2026-05-07T08:00:00Z&until=2026-05-07T08:10:00Z&step=1m";

/// Requests at 8:02 and 8:05, memory at 8:02, a scaling; flushed.
async fn site() -> Site {
    let site = Site::open().await;
    let lines = [
        request("2026-05-07T08:02:11Z", "/orders/7?token=secret", "", 200),
        request("2026-05-07T08:02:12Z", "/orders/8", "", 503),
        frame(
            "2026-05-07T08:02:13Z",
            "heroku",
            "web.1",
            "source=web.1 dyno=heroku.1.u sample#memory_total=256.00MB sample#memory_quota=512.00MB",
        ),
        frame("2026-05-07T08:02:14Z", "app", "api", "Scaled to web@2:Standard-1X by user ada@example.com"),
        frame("2026-05-07T08:02:15Z", "heroku", "web.2", "State changed from starting to up"),
        frame("2026-05-07T08:02:16Z", "app", "web.1", "sample#<script>=1"),
        request("2026-05-07T08:05:01Z", "/orders/9", "", 200),
    ];
    site.post("shop", lines.concat().as_bytes()).await;
    site.engine.level_pass().await.unwrap();
    site
}

#[tokio::test]
async fn values_and_gaps() {
    let site = site().await;
    let answer = site.get(&format!("/api/v1/series?app=shop&metric=router.requests&by=class&{SPAN}")).await;
    assert_eq!(
        (&answer["kind"], &answer["aggregation"], &answer["step_s"]),
        (&json!("counter"), &json!("sum"), &json!(60))
    );
    assert_eq!(
        answer["series"].as_array().unwrap().iter().map(|s| (&s["label"], &s["points"])).collect::<Vec<_>>(),
        [
            (&json!("2xx"), &json!([null, null, 1.0, null, null, 1.0, null, null, null, null])),
            (&json!("5xx"), &json!([null, null, 1.0, null, null, 0.0, null, null, null, null])),
        ]
    );
    let answer = site.get(&format!("/api/v1/series?app=shop&metric=dyno.memory_percent&source=web.1&{SPAN}")).await;
    assert_eq!((&answer["unit"], &answer["series"][0]["points"][2]), (&json!("%"), &json!(50.0)));
    // Of a metric that nobody has seen there is nothing.
    let answer = site.get(&format!("/api/v1/series?app=shop&metric=custom.nothing&{SPAN}")).await;
    assert_eq!((&answer["kind"], &answer["series"]), (&json!(null), &json!([])));

    let table =
        site.api(Method::GET, &format!("/api/v1/series?app=shop&metric=router.requests&format=csv&{SPAN}"), "").await;
    assert_eq!(table.header("content-type"), "text/csv; charset=utf-8");
    let lines: Vec<&str> = table.text.lines().collect();
    assert_eq!(
        (lines.len(), lines[0], lines[1], lines[3]),
        (11, "time,source,label,value,n", "2026-05-07T08:00:00Z,,,,0", "2026-05-07T08:02:00Z,,,2,2")
    );
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let site = site().await;
    for (query, status, want) in [
        ("app=nobody&metric=router.requests", 404, "nobody"),
        ("app=shop", 400, "metric"),
        ("app=shop&metric=router.requests&aggregation=mean", 400, "p95"),
        ("app=shop&metric=router.requests&aggregation=p95", 400, "router.requests is a counter"),
        ("app=shop&metric=router.requests&step=7s", 400, "ten seconds"),
        ("app=shop&metric=router.requests&step=fast", 400, "step"),
        ("app=shop&metric=router.requests&from=-30d&step=10s", 400, "more than 5000"),
        ("app=shop&metric=router.requests&from=later", 400, "from"),
        ("app=shop&metric=router.requests&from=-1h&until=-2h", 400, "empty"),
        ("app=shop&metric=router.requests&by=dyno", 400, "source"),
        ("app=shop&metric=router.requests&format=xml", 400, "csv"),
        ("app=shop&metric=router.requests&color=red", 400, "color"),
    ] {
        let answer = site.api(Method::GET, &format!("/api/v1/series?{query}"), "").await;
        assert_eq!(answer.status.as_u16(), status, "{query}: {}", answer.text);
        assert!(answer.text.contains(want), "{query}: {}", answer.text);
    }
}

#[tokio::test]
async fn names_events_dynos_and_paths() {
    let site = site().await;
    let names = site.get("/api/v1/apps/shop/metrics").await;
    let requests = names.as_array().unwrap().iter().find(|m| m["name"] == "router.requests").unwrap();
    assert_eq!((&requests["labels"], &requests["sources"]), (&json!(["200", "503"]), &json!(["web.1"])));
    assert!(!names.to_string().contains("<script>"), "{names}");

    let events = site.get("/api/v1/apps/shop/events?from=2026-05-07T08:00:00Z&until=2026-05-07T09:00:00Z").await;
    let kinds: Vec<&str> = events["items"].as_array().unwrap().iter().map(|e| e["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"alert"), "{kinds:?}");
    let event = &events["items"][kinds.iter().position(|kind| *kind == "scale").unwrap()];
    assert_eq!((&event["kind"], &event["what"]), (&json!("scale"), &json!("Scaled to web@2:Standard-1X")));
    assert_eq!(event["actor"], "ada@example.com");

    assert_eq!(
        site.get("/api/v1/apps/shop/dynos").await,
        json!([{"dyno": "web.2", "state": "up", "since": "2026-05-07T08:02:15Z"}])
    );

    // Paths are written every minute.
    site.post("shop", app_line("2026-05-07T08:06:00Z", "web.1", "hello").as_bytes()).await;
    let paths =
        site.get("/api/v1/apps/shop/paths?errors=true&from=2026-05-07T08:00:00Z&until=2026-05-07T09:00:00Z").await;
    assert_eq!(paths["paths"], json!([{"path": "/orders/:id", "requests": 1, "over": 0}]));
    let paths = site.get("/api/v1/apps/shop/paths?from=2026-05-07T08:00:00Z&until=2026-05-07T09:00:00Z").await;
    assert_eq!(paths["paths"], json!([{"path": "/orders/:id", "requests": 3, "over": 0}]));
}
