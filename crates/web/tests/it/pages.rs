//! What people and Prometheus read, as text: the pages without their tags, and the metrics.

use std::time::Duration;

use dynowatch_domain::Clock as _;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::delivery::{Next, Outcome};
use dynowatch_store::audit::AuditFilter;
use dynowatch_store::objects::ObjectKind;
use http::StatusCode;

use crate::accounts::join;
use crate::browser::Browser;
use crate::site::{Site, app_line, h12, request, settled};

/// A page's text: one line for each block.
pub(crate) fn text(html: &str) -> String {
    // What stands around every page is looked at once, in its own test.
    let body = html.split_once("<main").map_or(html, |(_, body)| body);
    let body = body.split_once('>').map_or(body, |(_, body)| body);
    let body = body.split_once("</main>").map_or(body, |(body, _)| body);
    let mut out = String::new();
    for (i, part) in body.split('<').enumerate() {
        if i == 0 {
            out.push_str(part);
            continue;
        }
        let (tag, rest) = part.split_once('>').unwrap();
        let name = tag.split(' ').next().unwrap_or_default();
        out.push_str(match name {
            "/p" | "/div" | "/main" | "/label" | "/form" | "/button" | "/nav" | "/summary" | "/li" | "/h1" | "/h2"
            | "/h3" | "/tr" | "/dd" | "/pre" | "br" | "/header" => "\n",
            "h2" | "h3" => "\n## ",
            "/dt" => ": ",
            "/a" if out.ends_with(|c: char| c.is_alphanumeric()) && rest.is_empty() => " | ",
            "/td" | "/th" => " | ",
            _ => "",
        });
        out.push_str(rest);
    }
    for (escaped, plain) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")] {
        out = out.replace(escaped, plain);
    }
    let mut lines: Vec<&str> = out.lines().map(str::trim_end).collect();
    lines.dedup_by(|b, a| a.is_empty() && b.is_empty());
    lines.join("\n").trim().to_owned()
}

/// A failed message, an alert that is over, one that goes on.
async fn eventful() -> Site {
    let site = Site::open().await;
    site.storm().await;
    site.clock.advance(Duration::from_secs(90));
    site.post("shop", request("2026-05-07T08:07:40Z", "/cart/9", "", 502).as_bytes()).await;
    site.engine.send_pass().await.unwrap();
    site.api(http::Method::POST, "/api/v1/alerts/resolve", r#"{"key": "5xx-by-path/shop/path_prefix=/orders"}"#).await;
    site
}

#[tokio::test]
async fn the_overview() {
    let site = eventful().await;
    insta::assert_snapshot!("overview", settled(&site, &text(&site.local("/").await.text)));
}

#[tokio::test]
async fn the_overview_of_a_new_instance() {
    let site = Site::open().await;
    insta::assert_snapshot!("overview_new", settled(&site, &text(&site.local("/").await.text)));
}

#[tokio::test]
async fn an_alert() {
    let site = eventful().await;
    let id = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("alert", settled(&site, &text(&site.local(&format!("/alerts/{id}")).await.text)));
}

#[tokio::test]
async fn an_alert_that_is_over() {
    let site = eventful().await;
    let id = site.get("/api/v1/alerts?state=resolved").await["items"][0]["id"].as_str().unwrap().to_owned();
    insta::assert_snapshot!("alert_over", settled(&site, &text(&site.local(&format!("/alerts/{id}")).await.text)));
}

#[tokio::test]
async fn an_operator_closes_an_alert() {
    let site = eventful().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "operator").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let id = site.get("/api/v1/alerts?rule=h12").await["items"][0]["id"].as_str().unwrap().to_owned();
    let (page, form) = (format!("/alerts/{id}"), format!("/alerts/{id}/resolve"));
    let seen = vic.get(&page).await.text;
    assert!(!seen.contains(&form) && text(&seen).contains("dynowatch alerts resolve 'h12/shop'"), "{seen}");
    assert_eq!(vic.post(&form, &[]).await.status, StatusCode::FORBIDDEN);
    assert!(bob.get(&page).await.text.contains(&form), "a button");
    let answer = bob.post(&form, &[]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, page.as_str()), "{}", answer.text);
    let seen = bob.get(&page).await.text;
    assert!(seen.contains("closed by user:bob") && !seen.contains(&form), "{seen}");
    let filter = AuditFilter { action: Some("alert.resolve".into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 1).await.unwrap();
    assert_eq!((entries[0].actor.as_str(), entries[0].subject.as_str()), ("user:bob", "h12/shop"));
    // Who still has the old page open does not close what fired since.
    site.clock.advance(Duration::from_secs(600));
    let again: String = (0..4).map(|second| h12(&format!("2026-05-07T08:17:{second:02}Z"))).collect();
    site.post("shop", again.as_bytes()).await;
    assert_eq!(bob.post(&form, &[]).await.status, StatusCode::SEE_OTHER);
    let newest = site.get("/api/v1/alerts?rule=h12&state=firing").await;
    assert_ne!(newest["items"][0]["id"].as_str().unwrap(), id, "another one, which goes on");
    for (id, status) in [("x", 404), ("019e0178-2a00-7000-8000-0000000000aa", 404)] {
        bob.get("/alerts").await;
        assert_eq!(bob.post(&format!("/alerts/{id}/resolve"), &[]).await.status.as_u16(), status, "{id}");
    }
}

#[tokio::test]
async fn messages() {
    let site = eventful().await;
    insta::assert_snapshot!("deliveries", settled(&site, &text(&site.local("/deliveries?state=sent").await.text)));
}

#[tokio::test]
async fn the_other_pages() {
    let site = eventful().await;
    for (name, path) in [
        ("alerts", "/alerts"),
        ("alerts_narrowed", "/alerts?state=resolved&app=shop&within=24h"),
        ("alerts_none", "/alerts?app=nowhere"),
        ("rules", "/rules"),
        ("rule_of_the_file", "/rules/5xx-by-path"),
        ("receivers", "/receivers"),
        ("receiver", "/receivers/operator"),
        ("connect", "/connect"),
        ("connect_an_app", "/connect?app=shop"),
        ("connect_wrong", "/connect?app=Not%20a%20name"),
        ("settings_health", "/settings/health"),
        ("settings_data", "/settings/data"),
    ] {
        let answer = site.local(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        insta::assert_snapshot!(name, settled(&site, &text(&answer.text)));
    }
    // A guest changes nothing, and is told so.
    for path in ["/rules/new", "/receivers/new"] {
        let answer = site.local(path).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}");
        assert!(answer.text.contains("changed by operators"), "{path}");
    }
}

/// What is made in the console is in force at once, here by the engine's own way and elsewhere by the refresh.
#[tokio::test]
async fn objects_of_the_console() {
    let site = Site::open().await;
    let body = |count: &str| serde_json::json!({ "match": { "text": ["boom <b>"] }, "count": count });
    let save = async |name: &str, count: &str, is_new| {
        site.engine.save_object(ObjectKind::Rule, name, &body(count), &Actor::here("user:ada"), is_new).await
    };
    save("boom", ">= 1", true).await.unwrap();
    for (name, count, what) in [
        ("boom", ">= 1", "already"),
        ("kaboom", ">= 1", "already"),
        ("Boom", ">= 1", "is not a name"),
        ("bang", "many", "is no count"),
    ] {
        let refused = save(name, count, true).await.unwrap_err().to_string();
        assert!(refused.contains(what), "{name}: {refused}");
    }
    let page = site.local("/rules/boom").await.text;
    assert!(page.contains("made in the console") && page.contains("boom &lt;b&gt;"), "{page}");
    site.post("shop", app_line("2026-05-07T08:06:12Z", "web.1", "boom <b>").as_bytes()).await;
    assert_eq!(site.get("/api/v1/alerts?rule=boom").await["items"][0]["state"], "firing");
    // Another process changes it; this one sees it with its next refresh.
    let store = site.engine.store();
    let (later, bo) = (site.clock.now() + Duration::from_secs(1), Actor::here("user:bo"));
    let act = bo.did("rule.change", "boom");
    store.change_object(ObjectKind::Rule, "boom", &body("> 7"), &bo.name, &act, later).await.unwrap();
    site.engine.refresh_pass().await.unwrap();
    assert_eq!(site.get("/api/v1/rules/boom").await["condition"], "> 7 in 5m");
    // A receiver that a rule needs stays; a rule that is gone takes its open alert with it.
    assert!(site.engine.delete_object(ObjectKind::Receiver, "operator", &Actor::here("user:ada")).await.is_err());
    assert!(site.engine.delete_object(ObjectKind::Rule, "boom", &Actor::here("user:ada")).await.unwrap());
    assert_eq!(site.local("/rules/boom").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.get("/api/v1/alerts?rule=boom").await["items"][0]["state"], "resolved");
}

#[tokio::test]
async fn older_messages_are_a_link_away() {
    let site = Site::open().await;
    for n in 0..25 {
        site.post("shop", request("2026-05-07T08:06:12Z", &format!("/p{n}"), "", 500).as_bytes()).await;
    }
    let first = site.local("/deliveries").await.text;
    let next = first.split("rel=\"next\" href=\"").nth(1).unwrap().split('"').next().unwrap().replace("&amp;", "&");
    let second = site.local(&next).await.text;
    assert_eq!([first, second].map(|page| page.matches("<article").count()), [20, 5]);
}

/// A receiver that is away for long has the same answer for each attempt: the newest two stand open.
#[tokio::test]
async fn earlier_attempts_are_folded() {
    let site = Site::open().await;
    site.post("shop", request("2026-05-07T08:06:12Z", "/p", "", 500).as_bytes()).await;
    let store = site.engine.store();
    let attempts = async || site.local("/deliveries").await.text.matches(">Attempt ").count();
    for n in 1..=5 {
        let now = site.clock.now();
        let claimed = store.claim_deliveries(now, "worker", 1, &[]).await.unwrap();
        let refused = Outcome::Retry { detail: "connection refused".to_owned(), retry_after: None };
        store.finish_attempt(claimed[0].outgoing.id, n, &refused, &Next::At(now), now).await.unwrap();
        let folded = site.local("/deliveries").await.text.contains("earlier attempts</summary>");
        assert_eq!((attempts().await, folded), (n as usize, n > 3));
    }
    assert!(site.local("/deliveries").await.text.contains(">3 earlier attempts</summary>"));
}

#[tokio::test]
async fn metrics() {
    let site = eventful().await;
    let answer = site.local("/metrics").await;
    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    // How long commits took is not the test's to say.
    let stable: Vec<&str> = answer
        .text
        .lines()
        .filter(|line| {
            !line.starts_with("dynowatch_commit_duration_seconds_bucket")
                && !line.starts_with("dynowatch_commit_duration_seconds_sum")
        })
        .collect();
    insta::assert_snapshot!("metrics", settled(&site, &stable.join("\n")));
}

#[tokio::test]
async fn no_page_is_a_dead_end() {
    let site = Site::open().await;
    for (path, status) in [
        ("/nowhere", 404),
        ("/alerts/x", 404),
        ("/alerts/%FF", 404),
        ("/alerts/019e0178-2a00-7000-8000-0000000000aa", 404),
        ("/deliveries?cursor=x", 400),
        ("/deliveries?state=x", 400),
        ("/assets/console.css", 404),
    ] {
        let answer = site.local(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(answer.text.contains("<h1>") && answer.text.contains("href=\"/\""), "{path}: {}", answer.text);
    }
    let answer = site.ask(http::Method::POST, "/", "127.0.0.1:1", &[], "").await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.text.contains("href=\"/\""));
}

/// What a page loads is there, and may be kept for good.
#[tokio::test]
async fn what_pages_load() {
    let site = Site::open().await;
    let page = site.local("/").await.text;
    let urls: Vec<&str> = page.split("href=\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let scripts: Vec<&str> = page.split("src=\"/assets/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    assert_eq!((urls.len(), scripts.len()), (2, 4), "{urls:?} {scripts:?}");
    let urls: Vec<&str> = urls.into_iter().chain(scripts).collect();
    for url in urls {
        let answer = site.ask(http::Method::GET, &format!("/assets/{url}"), "203.0.113.9:1", &[], "").await;
        assert_eq!(
            (answer.status, answer.header("cache-control")),
            (StatusCode::OK, "public, max-age=31536000, immutable"),
            "{url}"
        );
        let kinds = ["text/css; charset=utf-8", "image/svg+xml", "text/javascript; charset=utf-8"];
        assert!(kinds.contains(&answer.header("content-type")), "{url}");
    }
    for never in ["<script>", " style=", "hx-on", "js:", "http-equiv"] {
        assert!(!page.contains(never), "{never}");
    }
}
