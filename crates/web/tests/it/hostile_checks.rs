//! Whoever holds a token may send anything, and whoever knows none may knock: no request for checks, pings or badges takes
//! more than it should, is answered 5xx, or gets back what it must not.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::check_script::web_check;
use crate::site::{KNOWN_SECRET, Site};

const STRANGER: &str = "198.51.100.7:5000";

/// Every request that takes a body.
const WITH_BODY: [(&str, &str); 5] = [
    ("PUT", "/api/v1/checks/added"),
    ("POST", "/api/v1/explain"),
    ("POST", "/api/v1/checks/home/replay"),
    ("POST", "/api/v1/checks/home/accept-pin"),
    ("PUT", "/api/v1/maintenance/night"),
];

/// Names that no check has and no path should be taken apart by.
const NAMES: [&str; 12] = [
    "..",
    "%2e%2e%2f%2e%2e%2fetc%2fpasswd",
    "a%2Fb",
    "%00",
    "%ff%fe",
    "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
    "'%20OR%201=1--",
    "%E2%80%AEgpj.exe",
    "home%20",
    "HOME",
    "home;rm%20-rf",
    "%F0%9F%92%A3",
];

#[tokio::test]
async fn bodies_of_every_wrong_kind() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &web_check()).await;
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    let nested = format!("{}1{}", r#"{"check":"#.repeat(500), "}".repeat(500));
    let wide: Value = (0..3_000).map(|n| (format!("k{n}"), json!(n))).collect::<serde_json::Map<_, _>>().into();
    let bodies = [
        String::new(),
        "{".to_owned(),
        "null".to_owned(),
        "true".to_owned(),
        "1e999".to_owned(),
        "\"text\"".to_owned(),
        "[1, 2]".to_owned(),
        "{\"a\": 1, \"a\": 2}".to_owned(),
        "\u{0}\u{1}\u{2}".to_owned(),
        deep,
        nested,
        wide.to_string(),
        json!({"check": 7, "failures": "many", "key_sha256": [], "url": {}, "all": "yes", "for": 3}).to_string(),
        json!({"check": {"kind": ["web"], "url": 7, "every": {}, "assert": "x", "failures": -1, "app": null}})
            .to_string(),
        json!({"kind": "web", "url": "https://a.example", "failures": 1.5}).to_string(),
        json!({"kind": "web", "url": "x".repeat(50_000)}).to_string(),
        json!({"failures": u64::MAX, "flapping": {"transitions": -3, "window": "", "quiet": "99999999999999999999d"}})
            .to_string(),
        json!({"from": "999999999-01-01T00:00:00Z", "until": "-292277022399y", "zone": "../../etc/passwd"}).to_string(),
    ];
    for (method, path) in WITH_BODY {
        for body in &bodies {
            let answer = site.api(method.parse().unwrap(), path, body).await;
            let shown = body.get(..body.len().min(60)).unwrap_or_default();
            assert_eq!(answer.status.as_u16(), 400, "{method} {path} {shown}: {}", answer.text);
            let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
            assert!(!message.is_empty() && message.len() < 4_000, "{method} {path}: {} bytes", message.len());
        }
        let long = "x".repeat(70 * 1024);
        let answer = site.api(method.parse().unwrap(), path, &long).await;
        assert_eq!(answer.status, StatusCode::PAYLOAD_TOO_LARGE, "{method} {path}: {}", answer.text);
        assert_eq!(answer.json()["error"]["code"], "too_large");
    }
    assert_eq!(found.asked().len(), 0, "nothing was sent");
    assert_eq!(site.get("/api/v1/checks").await["items"].as_array().unwrap().len(), 1);
    assert_eq!(site.get("/api/v1/maintenance").await["items"], json!([]));
}

#[tokio::test]
async fn names_that_are_none() {
    let site = Site::open().await;
    site.probe();
    site.make("home", &web_check()).await;
    let long = "x".repeat(5_000);
    for name in NAMES.into_iter().chain([long.as_str()]) {
        for (method, path) in [
            ("GET", ""),
            ("PUT", ""),
            ("DELETE", ""),
            ("POST", "/run"),
            ("POST", "/pause"),
            ("POST", "/explain"),
            ("POST", "/replay"),
            ("GET", "/history"),
            ("GET", "/failures"),
            ("GET", "/uptime"),
            ("GET", "/days"),
        ] {
            let path = format!("/api/v1/checks/{name}{path}");
            let body = if method == "PUT" { web_check().to_string() } else { "{}".to_owned() };
            let answer = site.api(method.parse().unwrap(), &path, &body).await;
            assert!(
                matches!(answer.status.as_u16(), 400 | 404 | 405),
                "{method} {path:.80}: {} {}",
                answer.status,
                answer.text
            );
        }
        let answer = site.api(Method::GET, &format!("/api/v1/maintenance/{name}"), "").await;
        assert!(matches!(answer.status.as_u16(), 400 | 404), "{name:.80}: {}", answer.text);
        for path in [format!("/badge/checks/{name}.svg"), format!("/ping/{name}"), format!("/ping/{name}/start")] {
            let answer = site.ask(Method::GET, &path, STRANGER, &[], "").await;
            assert!(matches!(answer.status.as_u16(), 400 | 404), "{path:.80}: {}", answer.status);
            assert!(!answer.text.contains("script") && !answer.text.contains("passwd"), "{path:.80}: {}", answer.text);
        }
    }
    assert_eq!(site.get("/api/v1/checks").await["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn strangers_reach_nothing() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &web_check()).await;
    let document = site.local("/api/v1/openapi.json").await.json();
    let mut asked = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        if !["/checks", "/maintenance", "/explain"].iter().any(|part| path.starts_with(&format!("/api/v1{part}"))) {
            continue;
        }
        for method in item.as_object().unwrap().keys() {
            let path = path.replace("{name}", "home");
            let answer =
                site.ask(method.to_uppercase().parse().unwrap(), &path, STRANGER, &[], &web_check().to_string()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}: {}", answer.text);
            asked += 1;
        }
    }
    assert_eq!((asked, found.asked().len()), (20, 0));
    assert_eq!(site.get("/api/v1/checks/home").await["state"], "new");
}

#[tokio::test]
async fn what_a_job_writes_stays_a_text() {
    let site = Site::open().await;
    site.probe();
    site.make("job", &json!({"kind": "heartbeat", "every": "10m"})).await;
    let url = site.get("/api/v1/checks/job").await["ping_url"].as_str().unwrap().to_owned();
    let payload = format!("</pre><script>alert(1)</script>\u{202e}\u{0}\u{1b}[31m {KNOWN_SECRET} \"'");
    for body in [payload.as_str(), &"\u{0}".repeat(100_000), &"é".repeat(40_000), "{\"a\": [1,", "%00%ff"] {
        let path = format!("{url}/fail?rid=%3Cb%3E%00&x={}", "y".repeat(2_000));
        let answer = site.ask(Method::POST, &path, STRANGER, &[("content-type", "multipart/form-data")], body).await;
        assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, "OK\n"));
        site.clock.advance(std::time::Duration::from_secs(2));
        site.checks_pass().await;
        let job = site.get("/api/v1/checks/job").await;
        let output = job["heartbeat"]["output"].as_str().unwrap();
        assert!(output.len() <= 1_000 && !output.contains(KNOWN_SECRET) && !output.contains('\u{0}'), "{output:?}");
    }
    let page = site.local("/checks/job").await;
    assert_eq!(page.status, StatusCode::OK);
    crate::hostile::check("/checks/job", &page.text);
}
