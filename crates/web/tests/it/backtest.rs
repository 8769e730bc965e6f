//! A rule on the past, before it is saved: by the API and from its form, on what this instance has and on a log.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dynowatch_domain::rule::Rule;

use dynowatch_web::server::Peer;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::accounts::join;
use crate::browser::{Browser, between};
use crate::pages::text;
use crate::site::{Answer, KNOWN_SECRET, Site, TOKEN, app_line, settled};

/// Lines of which one rule takes some; then what is in memory is driven out by others.
async fn past() -> Site {
    let site = Site::open().await;
    for (second, say) in [(10, "kaboom payment declined"), (11, "calm"), (12, "kaboom payment declined again")] {
        let line = app_line(&format!("2026-05-07T08:06:{second}Z"), "web.1", &format!("{say} token={KNOWN_SECRET}"));
        site.post("shop", line.as_bytes()).await;
    }
    site.clock.advance(Duration::from_secs(600));
    site.engine.wake_pass().await.unwrap();
    let much = app_line("2026-05-07T08:16:00Z", "web.1", &"x".repeat(900)).repeat(15);
    for _ in 0..12 {
        site.post("shop", much.as_bytes()).await;
    }
    site.post("billing", app_line("2026-05-07T08:16:10Z", "web.1", "payment declined here").as_bytes()).await;
    site
}

fn rule(texts: &[&str], count: &str) -> Value {
    json!({ "match": { "text": texts }, "count": count })
}

async fn ask(site: &Site, body: &Value) -> Value {
    let answer = site.api(Method::POST, "/api/v1/backtest", &body.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(!answer.text.contains(KNOWN_SECRET));
    answer.json()
}

#[tokio::test]
async fn on_what_this_instance_has() {
    let site = past().await;
    let before = site.get("/api/v1/alerts?limit=200").await;
    let tried = ask(&site, &json!({ "rule": rule(&["payment declined"], ">= 1") })).await;
    assert_eq!((&tried["fired"], &tried["matched"]), (&json!(2), &json!(3)), "{tried}");
    let fired: Vec<&Value> = tried["happenings"].as_array().unwrap().iter().filter(|h| h["what"] == "firing").collect();
    assert_eq!((&fired[0]["on"], &fired[0]["at"]), (&json!("shop"), &json!("2026-05-07T08:06:10Z")));
    assert!(fired[0]["evidence"][0].as_str().unwrap().ends_with("kaboom payment declined token=[masked]"), "{tried}");
    assert_eq!(fired[1]["on"], "billing");
    let coverage = &tried["coverage"];
    assert_eq!(
        (&coverage["of"], &coverage["from"], &coverage["until"]),
        (&json!("stored"), &json!("2026-05-07T08:06:10Z"), &json!("2026-05-07T08:16:10Z"))
    );
    assert_eq!(coverage["apps"], json!(["billing", "shop"]));
    // A line that no rule took and that left the memory is not there; all lines are there only since.
    let calm = ask(&site, &json!({ "rule": rule(&["calm"], ">= 1") })).await;
    assert_eq!((&calm["fired"], &calm["coverage"]["lines"]), (&json!(0), &coverage["lines"]));
    assert!(coverage["missing"][0].as_str().unwrap().contains("Lines are not archived"));
    let whole = coverage["whole_since"].as_array().unwrap();
    assert!(whole.contains(&json!({ "app": "shop", "since": "2026-05-07T08:16:00Z" })), "{coverage}");
    // Nothing was saved, nothing fired.
    assert_eq!(site.get("/api/v1/alerts?limit=200").await, before);
    assert_eq!(site.api(Method::GET, "/api/v1/rules/this-rule", "").await.status, StatusCode::NOT_FOUND);
}

fn log(lines: &[(&str, &str)]) -> String {
    lines.iter().map(|(at, text)| format!("2026-05-07T{at}.000000+00:00 app[web.1]: {text}\n")).collect()
}

#[tokio::test]
async fn on_a_log() {
    let site = Site::open().await;
    let text = log(&[
        ("08:00:00", "calm"),
        ("08:00:01", "boom"),
        ("08:00:02", "boom password=verysecretvalue1"),
        ("08:30:00", "calm"),
    ]);
    let tried = ask(&site, &json!({ "rule": rule(&["boom"], "> 1"), "log": text, "app": "blog" })).await;
    assert_eq!(
        (&tried["fired"], &tried["matched"], &tried["coverage"]["lines"]),
        (&json!(1), &json!(2), &json!(4)),
        "{tried}"
    );
    assert_eq!(tried["happenings"][0]["on"], "blog");
    assert_eq!(tried["happenings"][1]["what"], "resolved");
    assert!(!tried.to_string().contains("verysecretvalue1"));
    assert_eq!(
        (&tried["coverage"]["from"], &tried["coverage"]["missing"]),
        (&json!("2026-05-07T08:00:00Z"), &json!([]))
    );
    let mut to = GzEncoder::new(Vec::new(), Compression::fast());
    to.write_all(text.as_bytes()).unwrap();
    let packed = data_encoding::BASE64.encode(&to.finish().unwrap());
    let again = ask(&site, &json!({ "rule": rule(&["boom"], "> 1"), "log_base64": packed, "app": "blog" })).await;
    assert_eq!(again, tried);
    for (body, status, words) in [
        (json!({ "rule": rule(&["x"], "many") }), 400, "is no count"),
        (json!({ "rule": rule(&["x"], ">= 1"), "log": "a", "log_base64": "YQ==" }), 400, "not both"),
        (json!({ "rule": rule(&["x"], ">= 1"), "log_base64": "%" }), 400, "no base64"),
        (json!({ "rule": rule(&["x"], ">= 1"), "log": "hello\nthere\n" }), 400, "no line that can be read"),
        (json!({ "rules": [] }), 400, "unknown field"),
        (json!({ "rule": rule(&["x"], ">= 1"), "log": "x".repeat(17 << 20) }), 413, "too long"),
    ] {
        let answer = site.api(Method::POST, "/api/v1/backtest", &body.to_string()).await;
        assert_eq!(answer.status.as_u16(), status, "{words}: {}", answer.text);
        assert!(answer.text.contains(words), "{words}: {}", answer.text);
    }
}

/// A place is taken before anything of the body is read, and given back when it does not come.
#[tokio::test]
async fn who_finds_no_place_sends_nothing() {
    let site = Site::open().await;
    let asked = |body: axum::body::Body| {
        let request = http::Request::post("/api/v1/backtest").header("authorization", format!("Bearer {TOKEN}"));
        let mut request = request.body(body).unwrap();
        request.extensions_mut().insert(Peer("203.0.113.9:40000".parse().unwrap()));
        tower::ServiceExt::oneshot(site.router.clone(), request)
    };
    let endless =
        || axum::body::Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let slow = [endless(), endless()].map(|body| tokio::spawn(asked(body)));
    let read = Arc::new(AtomicBool::new(false));
    let answer = loop {
        let flag = Arc::clone(&read);
        flag.store(false, Relaxed);
        let body = futures_util::stream::once(async move {
            flag.store(true, Relaxed);
            Ok::<_, std::io::Error>(bytes::Bytes::from_static(b"{}"))
        });
        let answer = asked(axum::body::Body::from_stream(body)).await.unwrap();
        // Until both of the others have begun.
        if answer.status() != StatusCode::BAD_REQUEST {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((answer.status(), read.load(Relaxed)), (StatusCode::SERVICE_UNAVAILABLE, false));
    for slow in slow {
        slow.abort();
        _ = slow.await;
    }
    ask(&site, &json!({ "rule": rule(&["x"], ">= 1") })).await;
}

/// A log may be long, a rule may not.
#[tokio::test]
async fn a_rule_has_a_bound_of_its_own() {
    let site = Site::open().await;
    let texts = vec!["x"; 100_000];
    let body = json!({ "rule": rule(&texts, ">= 1") });
    let answer = site.api(Method::POST, "/api/v1/backtest", &body.to_string()).await;
    assert!(answer.status == StatusCode::BAD_REQUEST && answer.text.contains("64 KiB"), "{}", answer.text);
}

/// No rule's name is a word of ours.
#[tokio::test]
async fn a_rule_may_be_named_backtest() {
    let named = Rule { name: "backtest".to_owned(), ..crate::site::rules().remove(0) };
    let site = Site::with(vec![named]).await;
    assert_eq!(site.get("/api/v1/rules/backtest").await["name"], "backtest");
}

/// Sends the form as a browser would, with a file.
async fn upload(browser: &mut Browser<'_>, site: &str, csrf: &str, fields: &[(&str, &str)], log: &str) -> Answer {
    let mut body = String::new();
    for (name, value) in [("csrf", csrf)].iter().chain(fields) {
        body.push_str(&format!("--xYz\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"));
    }
    body.push_str(&format!(
        "--xYz\r\nContent-Disposition: form-data; name=\"log\"; filename=\"a.log\"\r\nContent-Type: text/plain\r\n\r\n{log}\r\n--xYz--\r\n"
    ));
    let headers = [("content-type", "multipart/form-data; boundary=xYz"), ("sec-fetch-site", site)];
    browser.send(Method::POST, "/rules/new/backtest", &headers, &body).await
}

#[tokio::test]
async fn from_the_form() {
    let site = past().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let form = ada.get("/rules/new").await.text;
    assert!(form.contains("formaction=\"/rules/new/backtest\" formenctype=\"multipart/form-data\""), "{form}");
    let csrf = ada.csrf.clone();
    let fields = [
        ("name", "declined"),
        ("match.text", "payment declined\r\n<b>"),
        ("apps", "shop"),
        ("count", ">= 1"),
        ("window", "5m"),
        ("severity", "warning"),
    ];
    let with = |attempt: &'static str| [&fields[..], &[("try", attempt)]].concat();
    let answer = upload(&mut ada, "same-origin", &csrf, &with("stored"), "").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    assert!(!answer.text.contains(KNOWN_SECRET) && !answer.text.contains("<b>"));
    assert!(answer.text.contains("name=\"name\" value=\"declined\""), "what was typed stays");
    let shown = text(&answer.text);
    insta::assert_snapshot!("backtest", settled(&site, shown.split("Try it on the past").next().unwrap()));
    let lines = log(&[("08:00:01", "payment declined"), ("08:00:02", "calm")]);
    let answer = upload(&mut ada, "same-origin", &csrf, &with("log"), &lines).await;
    let shown = between(&answer.text, "id=\"trial\"", "</section>");
    assert!(shown.contains("It would have raised 1 alert") && shown.contains("of shop."), "{shown}");
    for (attempt, log, field, words) in
        [("log", "", "log", "choose a log first"), ("log", "no log at all", "log", "no line that can be read")]
    {
        let answer = upload(&mut ada, "same-origin", &csrf, &with(attempt), log).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(between(&answer.text, &format!("id=\"{field}-about\""), "</div>").contains(words), "{}", answer.text);
    }
    let wrong = [("name", "x"), ("count", "many"), ("try", "stored")];
    let answer = upload(&mut ada, "same-origin", &csrf, &wrong, "").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(between(&answer.text, "id=\"count-about\"", "</div>").contains("is no count"), "{}", answer.text);
    // Who may not: without the token, from elsewhere, with too much, with another role, unsigned.
    for (site_of, token, log, status) in [
        ("same-origin", "", String::new(), StatusCode::FORBIDDEN),
        ("same-origin", "abc", String::new(), StatusCode::FORBIDDEN),
        ("cross-site", csrf.as_str(), String::new(), StatusCode::FORBIDDEN),
        ("same-origin", csrf.as_str(), "x".repeat(17 << 20), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let answer = upload(&mut ada, site_of, token, &with("stored"), &log).await;
        assert_eq!(answer.status, status, "{site_of} {token}");
        assert!(!answer.text.contains("id=\"trial\""));
    }
    vic.get("/rules").await;
    let token = vic.csrf.clone();
    assert_eq!(upload(&mut vic, "same-origin", &token, &with("stored"), "").await.status, StatusCode::FORBIDDEN);
    assert_eq!(
        upload(&mut Browser::new(&site), "same-origin", "", &with("stored"), "").await.status,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(ada.get("/rules/declined").await.status, StatusCode::NOT_FOUND, "nothing was saved");
}
