//! Checks by the API: made, asked, explained, replayed, deleted; who may what; and that no answer holds a credential.

use std::sync::Arc;

use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::outcome::Reason;
use dynowatch_engine::checks::Prober;
use dynowatch_probe::{Prober as ProberOf, Surroundings, certificate::Roots};
use dynowatch_store::audit::AuditFilter;
use dynowatch_testkit::stub_server::{Step, StubServer};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::browser::Browser;
use crate::check_script::web_check;
use crate::site::{KNOWN_SECRET, Site};

fn texts(value: &Value, key: &str) -> Vec<String> {
    value["items"].as_array().unwrap().iter().map(|item| item[key].as_str().unwrap_or_default().to_owned()).collect()
}

/// None of the credentials of [`web_check`], nor what the masker knows.
#[track_caller]
fn is_clean(text: &str) {
    for secret in ["hunter3", "hunter4", KNOWN_SECRET] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

#[tokio::test]
async fn a_checks_life() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &web_check()).await;
    site.make("away", &json!({"kind": "tcp", "host": "db.example", "port": 5432, "failures": 1, "app": "shop"})).await;
    let fresh = site.get("/api/v1/checks/home").await;
    assert_eq!((&fresh["state"], &fresh["last"], &fresh["origin"]), (&"new".into(), &Value::Null, &"store".into()));
    site.minutes(3).await;
    let list = site.get("/api/v1/checks").await;
    assert_eq!(
        (texts(&list, "name"), texts(&list, "state")),
        (vec!["away".into(), "home".into()], vec!["up".into(); 2])
    );
    assert_eq!(texts(&list, "target"), ["db.example:5432", "https://shop.example/health"]);
    for (query, want) in [
        ("state=up", 2),
        ("state=down", 0),
        ("app=shop", 2),
        ("app=mail", 0),
        ("kind=tcp", 1),
        ("kind=tcp&app=shop", 1),
        ("limit=1", 1),
    ] {
        assert_eq!(
            site.get(&format!("/api/v1/checks?{query}")).await["items"].as_array().unwrap().len(),
            want,
            "{query}"
        );
    }
    let next = site.get("/api/v1/checks?limit=1").await["next_cursor"].as_str().unwrap().to_owned();
    assert_eq!(texts(&site.get(&format!("/api/v1/checks?cursor={next}")).await, "name"), ["home"]);
    found.finds("home", Some(Reason::ConnectRefused));
    found.finds("away", Some(Reason::Timeout));
    site.minutes(4).await;
    let home = site.get("/api/v1/checks/home").await;
    assert_eq!(
        (&home["state"], &home["reason"], &home["counts_as"]),
        (&"down".into(), &"connect_refused".into(), &"down".into())
    );
    assert_eq!(home["last"]["failed_phase"], "connect");
    assert_eq!(home["last"]["phases"]["connect_us"], 2_100);
    assert_eq!(home["last"]["assertions"][0]["seen"], "200");
    assert_eq!(home["last"]["address"], "203.0.113.5:443");
    assert_eq!(home["thresholds"]["failures"], 2);
    assert!(home["next_run_at"].as_str().unwrap() > home["last_run_at"].as_str().unwrap());
    // Its alert says the same, and what fits it.
    let alert = site.get(&format!("/api/v1/alerts/{}", home["alert"].as_str().unwrap())).await;
    assert_eq!(alert["key"], "check:home/shop");
    assert!(alert["measured"].as_str().unwrap().starts_with("connect_refused in connect"), "{}", alert["measured"]);
    for said in [&alert["meaning"], &home["diagnosis"]] {
        assert!(said.as_str().unwrap().contains("1 of 1 other checks of this app fail"), "{said}");
    }
    let failures = site.get("/api/v1/checks/home/failures").await;
    assert_eq!(failures["items"][0]["observation"]["reason"], "connect_refused");
    assert_eq!(failures["items"][0]["observation"]["detail"], "[masked] said <b>no</b>");
    let outages = site.get("/api/v1/checks/home/outages").await;
    assert_eq!(outages["items"][0]["id"], home["alert"]);
    assert_eq!(outages["items"][0]["ended_at"], Value::Null);
    let runs = site.get("/api/v1/checks/home/history?limit=3").await;
    assert_eq!(texts(&runs, "outcome"), ["down"; 3]);
    let more = site.get(&format!("/api/v1/checks/home/history?cursor={}", runs["next_cursor"].as_str().unwrap())).await;
    assert!(texts(&more, "outcome").contains(&"up".to_owned()) && more["next_cursor"].is_null());
    let all = runs["items"].as_array().unwrap().len() + more["items"].as_array().unwrap().len();
    assert_eq!(all, found.asked().iter().filter(|check| check.name == "home").count());
    let uptime = site.get("/api/v1/checks/home/uptime?from=-1h").await;
    let percent = uptime["spent"]["uptime_percent"].as_f64().unwrap();
    assert!(percent > 10.0 && percent < 90.0, "{uptime}");
    assert_eq!(uptime["changes"].as_array().unwrap().last().unwrap()["counts_as"], "down");
    let days = site.get("/api/v1/checks/home/days?days=2&zone=europe/berlin").await;
    assert_eq!((&days["zone"], days["days"].as_array().unwrap().len()), (&"Europe/Berlin".into(), 2));
    assert_eq!(days["days"][0]["spent"]["shown"], "no data");
    assert_eq!(days["days"][1]["date"], "2026-05-07");
    // Another definition, and the end.
    let other = json!({"kind": "web", "url": "https://shop.example/", "app": "shop", "failures": 5});
    let changed = site.api(Method::PUT, "/api/v1/checks/home", &other.to_string()).await;
    assert_eq!((changed.status, &changed.json()["thresholds"]["failures"]), (StatusCode::OK, &5.into()));
    let gone = site.api(Method::DELETE, "/api/v1/checks/home", "").await;
    assert_eq!(gone.status, StatusCode::OK, "{}", gone.text);
    assert_eq!(site.api(Method::GET, "/api/v1/checks/home", "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(site.api(Method::DELETE, "/api/v1/checks/home", "").await.status, StatusCode::NOT_FOUND);
    for text in [list.to_string(), home.to_string(), alert.to_string(), failures.to_string(), fresh.to_string()] {
        is_clean(&text);
    }
    let audit = site.engine.store().audit_entries(&AuditFilter::default(), 50).await.unwrap();
    let acts: Vec<&str> =
        audit.iter().rev().map(|entry| entry.action.as_str()).filter(|act| act.starts_with("check.")).collect();
    assert_eq!(acts, ["check.create", "check.create", "check.change", "check.delete"]);
    is_clean(&format!("{audit:?}"));
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let site = Site::open().await;
    site.make("home", &web_check()).await;
    site.make("child", &json!({"kind": "web", "url": "https://a.example", "parent": "home"})).await;
    let put = |name: &str| format!("/api/v1/checks/{name}");
    for (method, path, body, status, part) in [
        (Method::PUT, put("added"), json!({"kind": "web", "url": "ftp://x"}), 400, "url: "),
        (Method::PUT, put("added"), json!({"kind": "quantum"}), 400, "kind: "),
        (Method::PUT, put("added"), json!({"name": "other", "url": "https://x.example"}), 400, "name: "),
        (Method::PUT, put("No%20Name"), web_check(), 400, "is not a name"),
        (Method::PUT, put("a%2Fb"), web_check(), 400, "is not a name"),
        (Method::PUT, put("added"), json!([1]), 400, "the body is not what is needed"),
        (Method::DELETE, put("home"), Value::Null, 400, "have it as their parent: child"),
        (Method::GET, put("nobody"), Value::Null, 404, "no check is named \"nobody\""),
        (Method::POST, put("nobody/run"), Value::Null, 404, "no check"),
        (Method::POST, put("nobody/pause"), Value::Null, 404, "no check"),
        (Method::POST, put("home/accept-pin"), json!({"key_sha256": "ab"}), 409, "offers no other key"),
        (Method::GET, put("?state=green"), Value::Null, 404, ""),
        (Method::GET, "/api/v1/checks?state=green".into(), Value::Null, 400, "state is \"green\": write new, up"),
        (Method::GET, "/api/v1/checks?kind=ftp".into(), Value::Null, 400, "write web, redis"),
        (Method::GET, "/api/v1/checks?colour=red".into(), Value::Null, 400, "unknown field"),
        (Method::GET, put("home/history?limit=1001"), Value::Null, 400, "write 1 to 1000"),
        (Method::GET, put("home/failures?limit=51"), Value::Null, 400, "write 1 to 50"),
        (Method::GET, put("home/history?cursor=x"), Value::Null, 400, "cursor is not one"),
        (Method::GET, put("home/uptime?from=2020-01-01T00:00:00Z"), Value::Null, 400, "longer than 800 days"),
        (Method::GET, put("home/days?days=401"), Value::Null, 400, "write 1 to 400"),
        (Method::GET, put("home/days?zone=Mars"), Value::Null, 400, "IANA"),
        (Method::POST, put("home/replay"), json!({"failures": 0}), 400, "failures is 0"),
        (Method::POST, put("home/replay"), json!({"failing_for": "9d"}), 400, "failing_for: write more than 0s"),
        (
            Method::POST,
            put("home/replay"),
            json!({"flapping": {"transitions": 2, "window": "1m", "quiet": "1m"}}),
            400,
            "write 3 to",
        ),
        (Method::POST, put("home/replay"), json!({"color": 1}), 400, "unknown field"),
        (Method::POST, "/api/v1/explain".into(), json!({"check": {"kind": "web", "url": "gopher://x"}}), 400, "url: "),
        (Method::POST, "/api/v1/explain".into(), json!({"check": web_check(), "name": "../x"}), 400, "is not a name"),
        (Method::PUT, "/api/v1/maintenance/night".into(), json!({"all": true, "at": "soon", "for": "1h"}), 400, "at: "),
        (Method::GET, "/api/v1/maintenance/night".into(), Value::Null, 404, "no maintenance window"),
        (Method::DELETE, "/api/v1/maintenance/night".into(), Value::Null, 404, "nothing is named"),
    ] {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = site.api(method.clone(), &path, &body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {path} {body}: {}", answer.text);
        let message = answer.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains(part), "{method} {path}: {message:?} has no {part:?}");
        is_clean(&answer.text);
    }
}

#[tokio::test]
async fn operators_ask_and_viewers_look() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &web_check()).await;
    site.minutes(2).await;
    let before = found.asked().len();
    let asked = site.api(Method::POST, "/api/v1/checks/home/run", "").await;
    assert_eq!(asked.status, StatusCode::ACCEPTED, "{}", asked.text);
    site.minutes(1).await;
    let ran = site.get("/api/v1/checks/home").await["last_run_at"].as_str().unwrap().to_owned();
    assert!(found.asked().len() >= before + 2 && ran.as_str() >= asked.json()["asked_at"].as_str().unwrap());
    for (what, changed, state) in [("pause", true, "paused"), ("pause", false, "paused"), ("resume", true, "up")] {
        let answer = site.api(Method::POST, &format!("/api/v1/checks/home/{what}"), "").await;
        assert_eq!((answer.status, &answer.json()["changed"]), (StatusCode::OK, &changed.into()), "{what}");
        site.minutes(3).await;
        assert_eq!(site.get("/api/v1/checks/home").await["state"], state, "{what}");
    }
    found.finds("home", Some(Reason::PinChanged));
    found.offers("home", "ab12");
    site.minutes(2).await;
    assert_eq!(site.get("/api/v1/checks/home").await["pin_offered"]["key_sha256"], "ab12");
    let wrong = site.api(Method::POST, "/api/v1/checks/home/accept-pin", r#"{"key_sha256": "cd"}"#).await;
    assert_eq!(wrong.status, StatusCode::CONFLICT);
    let right = site.api(Method::POST, "/api/v1/checks/home/accept-pin", r#"{"key_sha256": "ab12"}"#).await;
    assert_eq!(right.status, StatusCode::ACCEPTED, "{}", right.text);
    site.checks_pass().await;
    site.clock.advance(std::time::Duration::from_secs(6));
    site.checks_pass().await;
    assert_eq!(site.get("/api/v1/checks/home").await["pin"]["key_sha256"], "ab12");

    // Without a token: a viewer looks, and changes nothing; an operator's page may.
    let mut browser = Browser::new(&site);
    browser.set_up("ada").await;
    assert_eq!(browser.get("/api/v1/checks").await.status, StatusCode::OK);
    let body = web_check().to_string();
    let json = [("content-type", "application/json"), ("sec-fetch-site", "same-origin")];
    let forged = browser.send(Method::PUT, "/api/v1/checks/added", &json, &body).await;
    assert_eq!(forged.status, StatusCode::FORBIDDEN, "without the page's token");
    let csrf = browser.csrf.clone();
    let cross = [("content-type", "application/json"), ("sec-fetch-site", "cross-site"), ("x-csrf-token", &csrf)];
    assert_eq!(browser.send(Method::PUT, "/api/v1/checks/added", &cross, &body).await.status, StatusCode::FORBIDDEN);
    let own = [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", &csrf)];
    assert_eq!(browser.send(Method::PUT, "/api/v1/checks/added", &own, &body).await.status, StatusCode::CREATED);
    let mut viewer = crate::accounts::join(&mut browser, "vera", "viewer").await;
    assert_eq!(viewer.get("/api/v1/checks/home").await.status, StatusCode::OK);
    for (method, path) in [
        (Method::PUT, "/api/v1/checks/other"),
        (Method::DELETE, "/api/v1/checks/home"),
        (Method::POST, "/api/v1/checks/home/explain"),
        (Method::POST, "/api/v1/explain"),
        (Method::POST, "/api/v1/checks/home/pause"),
        (Method::PUT, "/api/v1/maintenance/night"),
    ] {
        let csrf = viewer.csrf.clone();
        let own = [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", &csrf)];
        let answer = viewer.send(method, path, &own, &json!({"check": web_check()}).to_string()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{path}: {}", answer.text);
    }
}

/// A token for one app sees its checks and may have them looked at; the others, and definitions, are not its business.
#[tokio::test]
async fn a_token_for_one_app() {
    let site = Site::open().await;
    site.probe();
    site.make("home", &web_check()).await;
    site.make("post", &json!({"kind": "web", "url": "https://mail.example", "app": "mail"})).await;
    site.make("bare", &json!({"kind": "web", "url": "https://bare.example"})).await;
    site.token_for("bot", "stored-token-7", &["shop"]).await;
    for (method, path, body, want) in [
        (Method::GET, "checks", "", 403),
        (Method::GET, "checks?app=shop", "", 200),
        (Method::GET, "checks?app=mail", "", 403),
        (Method::GET, "checks/home", "", 200),
        (Method::GET, "checks/post", "", 403),
        (Method::GET, "checks/bare", "", 403),
        (Method::GET, "checks/home/history", "", 200),
        (Method::GET, "checks/post/failures", "", 403),
        (Method::POST, "checks/home/explain", "", 200),
        (Method::POST, "checks/home/run", "", 202),
        (Method::POST, "checks/home/pause", "", 200),
        (Method::POST, "checks/post/pause", "", 403),
        (Method::POST, "checks/home/accept-pin", "{\"key_sha256\": \"a\"}", 403),
        (Method::PUT, "checks/home", "{\"url\": \"https://a.example\"}", 403),
        (Method::DELETE, "checks/home", "", 403),
        (Method::POST, "explain", "{\"check\": {\"url\": \"https://a.example\"}}", 403),
        (Method::GET, "maintenance", "", 403),
    ] {
        let answer = site.api_as("stored-token-7", method.clone(), &format!("/api/v1/{path}"), body).await;
        assert_eq!(answer.status.as_u16(), want, "{method} {path}: {}", answer.text);
    }
}

#[tokio::test]
async fn other_thresholds_on_the_stored_past() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &json!({"kind": "web", "url": "https://shop.example", "failures": 3})).await;
    for reason in [None, Some(Reason::Timeout), None, Some(Reason::Timeout), None, None] {
        found.finds("home", reason);
        site.minutes(2).await;
    }
    let asked = r#"{"failures": 2, "recoveries": 1, "flapping": false, "zone": "America/New_York"}"#;
    let answer = site.api(Method::POST, "/api/v1/checks/home/replay", asked).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
    let replay = answer.json();
    assert_eq!(replay["present"]["pages"], 0, "{replay}");
    assert_eq!(replay["present"]["shown"], "would have paged nobody");
    assert_eq!(replay["wanted"]["shown"], "would have paged 2 times, after hours", "{replay}");
    assert_eq!(replay["wanted"]["told"][0]["why"], "down");
    assert_eq!(replay["wanted"]["thresholds"]["flapping"], Value::Null);
    let same = site.api(Method::POST, "/api/v1/checks/home/replay", "{}").await.json();
    assert_eq!(same["wanted"], same["present"]);
    let day = site
        .api(Method::POST, "/api/v1/checks/home/replay", r#"{"failures": 2, "recoveries": 1, "zone": "Europe/Berlin"}"#)
        .await
        .json();
    assert_eq!(day["wanted"]["shown"], "would have paged 2 times, within working hours", "{day}");
}

/// A prober that may reach this machine.
fn reaching(ranges: &[&str]) -> Arc<Prober> {
    let allowed = ranges.iter().map(|range| range.parse().unwrap()).collect();
    Arc::new(Prober::new(ProberOf::new(Surroundings {
        policy: AddressPolicy::allowing(allowed),
        roots: Roots::system().0,
        lookup: dynowatch_probe::system_lookup(),
        nameserver: None,
    })))
}

/// (ASVS 13.2.4) Whoever may write a check makes the program speak to public and allow-listed addresses alone.
#[tokio::test]
async fn a_draft_goes_nowhere_a_check_could_not() {
    let site = Site::open().await;
    let inner = StubServer::answering(None, |_| vec![Step::http(200, "", "inside")]).await;
    let away = "location: http://169.254.169.254/latest/meta-data\r\n";
    let redirecting = StubServer::answering(None, move |_| vec![Step::http(302, away, "")]).await;
    let explain = |url: String, redirects: &'static str| {
        let body = json!({"check": {"kind": "web", "url": url, "redirects": redirects}});
        let site = &site;
        async move { site.api(Method::POST, "/api/v1/explain", &body.to_string()).await }
    };
    site.engine.probe_with(reaching(&[]));
    for url in [
        "http://169.254.169.254/latest/meta-data".to_owned(),
        format!("http://127.0.0.1:{}/", inner.port()),
        format!("http://localhost:{}/", inner.port()),
        format!("http://[::ffff:127.0.0.1]:{}/", inner.port()),
        format!("http://2130706433:{}/", inner.port()),
        "http://10.0.0.1/".to_owned(),
    ] {
        let answer = explain(url.clone(), "refuse").await;
        assert_eq!(answer.status, StatusCode::OK, "{url}: {}", answer.text);
        let told = answer.json();
        assert_eq!(told["observation"]["reason"], "address_refused", "{url}: {told}");
    }
    assert_eq!((inner.accepted(), redirecting.accepted()), (0, 0));
    // Where this machine is allow-listed the metadata service still is not, nor through a redirect.
    site.engine.probe_with(reaching(&["127.0.0.0/8", "169.254.0.0/16"]));
    let answer = explain(format!("http://127.0.0.1:{}/", redirecting.port()), "follow 3").await.json();
    assert_eq!(answer["observation"]["reason"], "address_refused", "{answer}");
    assert_eq!(redirecting.accepted(), 1);
    let whole =
        explain(format!("http://user:hunter3-hunter3@127.0.0.1:{}/x?key=hunter4-hunter4", inner.port()), "refuse")
            .await;
    let told = whole.json();
    assert_eq!(told["observation"]["outcome"], "up", "{told}");
    assert!(told["transcript"].as_array().unwrap().iter().any(|line| line["side"] == "sent"), "{told}");
    assert!(told["text"].as_str().unwrap().contains("this-check (web) is up"), "{told}");
    is_clean(&whole.text);
    // Nothing was saved, and it is written down who asked.
    assert_eq!(site.get("/api/v1/checks").await["items"], json!([]));
    let audit = site.engine.store().audit_entries(&AuditFilter::default(), 50).await.unwrap();
    assert_eq!(audit.iter().filter(|entry| entry.action == "check.explain").count(), 8);
    is_clean(&format!("{audit:?}"));
}

#[tokio::test]
async fn a_few_explain_at_once() {
    let site = Site::open().await;
    let found = site.probe();
    site.make("home", &web_check()).await;
    let held = found.hold().await;
    let ask = || site.api(Method::POST, "/api/v1/checks/home/explain", "");
    let (mut first, mut busy) = (futures_util::future::join_all((0..4).map(|_| ask())), 0);
    // The four hang; who comes now is told so.
    let fifth = tokio::select! {
        _ = &mut first => panic!("they hang"),
        answer = async {
            while found.asked().len() < 4 {
                tokio::task::yield_now().await;
            }
            ask().await
        } => answer,
    };
    busy += usize::from(fifth.status == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!((busy, &fifth.json()["error"]["code"]), (1, &"busy".into()));
    drop(held);
    for answer in first.await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        assert_eq!(answer.json()["check"], "home");
    }
    assert_eq!(ask().await.status, StatusCode::OK);
}

#[tokio::test]
async fn maintenance_windows() {
    let site = Site::open().await;
    site.probe();
    site.make("home", &web_check()).await;
    let window = json!({"checks": ["ho*"], "at": "2026-05-07T08:10:00Z", "for": "1h", "reason": "the database moves"});
    let made = site.api(Method::PUT, "/api/v1/maintenance/move", &window.to_string()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    assert_eq!((&made.json()["open"], &made.json()["concerns"]), (&false.into(), &json!(["home"])));
    assert_eq!(texts(&site.get("/api/v1/maintenance?open=true").await, "name"), Vec::<String>::new());
    site.minutes(6).await;
    let open = site.get("/api/v1/maintenance?open=true").await;
    assert_eq!(
        (texts(&open, "name"), &open["items"][0]["present"]["until"]),
        (vec!["move".into()], &"2026-05-07T09:10:00Z".into())
    );
    let home = site.get("/api/v1/checks/home").await;
    assert_eq!((&home["state"], &home["maintenance"]), (&"maintenance".into(), &json!(["move"])));
    let later = json!({"all": true, "at": "2026-05-08T08:10:00Z", "for": "1h"});
    let changed = site.api(Method::PUT, "/api/v1/maintenance/move", &later.to_string()).await;
    assert_eq!((changed.status, &changed.json()["all"]), (StatusCode::OK, &true.into()), "{}", changed.text);
    assert_eq!(changed.json()["next"]["from"], "2026-05-08T08:10:00Z");
    let gone = site.api(Method::DELETE, "/api/v1/maintenance/move", "").await;
    assert_eq!((gone.status, gone.text.as_str()), (StatusCode::OK, r#"{"name":"move"}"#));
    assert_eq!(site.get("/api/v1/maintenance").await["items"], json!([]));
}
