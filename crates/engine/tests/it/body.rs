//! What an alert and its messages say: numbers, evidence, release, lower bounds, and never a secret.

use dynowatch_domain::evidence::Role;
use dynowatch_domain::rule::{GroupBy, Guidance, MatchSpec, Rule};

use crate::harness::{On, Stage, Told, app_line, at, by_code, count, frame, h12, h12_rule, r14, seconds};

fn to_both(rule: Rule) -> Rule {
    Rule { receivers: vec!["hook".into(), "operator".into()], ..rule }
}

/// Every string that a reader of the message could see, with its path.
fn strings(path: &str, value: &serde_json::Value, out: &mut Vec<(String, String)>) {
    match value {
        serde_json::Value::String(text) => out.push((path.to_owned(), text.clone())),
        serde_json::Value::Array(items) => items.iter().for_each(|item| strings(&format!("{path}[]"), item, out)),
        serde_json::Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| strings(&format!("{path}.{name}"), value, out))
        }
        _ => {}
    }
}

fn seen(told: &Told) -> Vec<(String, String)> {
    let mut all = Vec::new();
    strings("", &told.body, &mut all);
    all
}

pub(crate) async fn s11_the_body_says_it_all(on: On) {
    let guidance = Guidance {
        meaning: "Requests took longer than 30 s.".into(),
        first_command: "heroku ps --app {app}".into(),
        usual_causes: vec!["a slow query".into()],
    };
    let rule = count("r14", by_code(b'R', 14), "> 3", 300);
    let rule = Rule { guidance, group_by: vec![GroupBy::Dyno], send_resolved: true, ..to_both(rule) };
    let mut stage = Stage::with(on, vec![rule]).await;
    stage.post("0:30", "shop", &["0:00", "0:10", "0:20", "0:30"].map(|stamp| r14(stamp, "web.1"))).await;
    stage.until("10:30").await;
    let told = stage.told_in_any_order(&[
        "0:30 hook: [firing] r14 on shop (web.1)",
        "0:30 operator: [firing] r14 on shop (web.1)",
        "10:00 hook: [resolved] r14 on shop (web.1)",
        "10:00 operator: [resolved] r14 on shop (web.1)",
    ]);
    let alert = stage.alert().await;
    let body = &told[0].body;
    let expected = [
        ("rule", "r14"),
        ("app", "shop"),
        ("key", "r14/shop/dyno=web.1"),
        ("severity", "warning"),
        ("status", "firing"),
        ("meaning", "Requests took longer than 30 s."),
        ("measured", "4 events"),
        ("threshold", "> 3"),
        ("window", "5m"),
        ("at", "2026-05-07T08:00:30Z"),
        ("first_at", "2026-05-07T08:00:00Z"),
        ("last_at", "2026-05-07T08:00:30Z"),
        ("release", "no release in the last 30 min"),
        ("runbook", "docs/runbooks/r14.md"),
    ];
    for (name, want) in expected {
        assert_eq!(body[name], want, "{name}");
    }
    assert_eq!(body["group"]["dyno"], "web.1");
    assert_eq!(body["link"], format!("https://dynowatch.example.com/alerts/{}", alert.row.id.unwrap()));
    assert_eq!(body["evidence"][0], "2026-05-07T08:00:00Z heroku[web.1]: Error R14 (Memory quota exceeded)");
    assert_eq!(body["evidence"][1], "2026-05-07T08:00:30Z heroku[web.1]: Error R14 (Memory quota exceeded)");
    for told in &told {
        for (path, text) in seen(told) {
            assert!(!text.trim().is_empty() && !text.contains("null") && !text.contains("{}"), "{path} of {told:#?}");
        }
    }
    let details = &alert.row.details;
    assert_eq!((details.first_command.as_str(), details.receivers.len()), ("heroku ps --app shop", 2));
    stage.end().await;
}

pub(crate) async fn evidence_is_kept_byte_for_byte_with_its_context(on: On) {
    let mut stage = Stage::with(on, vec![h12_rule()]).await;
    let odd = "request_id=0af3 caf\u{e9} \u{1b}[31m <!channel> `rm -rf` \"quoted\" a\\b\ttab";
    let lines = [
        app_line("0:01", "web.1", odd),
        app_line("0:02", "web.2", "nothing to do with it"),
        app_line("0:03", "web.1", "just before"),
        h12("0:04"),
        h12("0:05"),
        h12("0:06"),
        h12("0:07"),
        app_line("0:08", "web.1", "just after"),
    ];
    stage.post("0:10", "shop", &lines).await;
    stage.told(&["0:10 operator: [firing] h12 on shop"]);
    let evidence = stage.alert().await.evidence;
    let of = |role: Role| -> Vec<String> {
        evidence
            .iter()
            .filter(|line| line.role == role)
            .map(|line| String::from_utf8(line.text.clone()).unwrap())
            .collect()
    };
    assert_eq!(of(Role::SameRequest), [odd], "byte for byte");
    assert_eq!(of(Role::SameDyno), ["just before", "just after"]);
    let matched = of(Role::Match);
    assert_eq!(matched.len(), 4);
    assert!(matched.iter().all(|text| h12("0:04").trim_end().ends_with(text.as_str())), "{matched:#?}");
    stage.end().await;
}

/// The lines of last week's alert prove nothing today.
pub(crate) async fn evidence_is_of_this_episode(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    stage.post("0:00", "shop", &["0:00"; 4].map(h12)).await;
    stage.told_in_any_order(&["0:00 hook: [firing] h12 on shop", "0:00 operator: [firing] h12 on shop"]);
    stage.until("40:00").await;
    stage.post("40:00", "shop", &["39:57", "39:58", "39:59", "40:00"].map(h12)).await;
    let told = stage.told_in_any_order(&["40:00 hook: [firing] h12 on shop", "40:00 operator: [firing] h12 on shop"]);
    assert!(told[0].body["evidence"][0].as_str().unwrap().starts_with("2026-05-07T08:39:57Z"), "{}", told[0].body);
    let evidence = &stage.alerts().await[1].evidence;
    assert!(
        evidence.iter().filter(|line| line.role == Role::Match).all(|line| line.at >= at("39:57")),
        "{evidence:#?}"
    );
    stage.end().await;
}

pub(crate) async fn the_release_is_named_with_its_distance(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    let api = |stamp: &str, text: &str| frame(at(stamp), "app", "api", text);
    stage
        .post(
            "0:00",
            "shop",
            &[
                api("0:00", "Release v124 created by user dev@example.com"),
                api("0:00", "Deploy 0a1b2c3d by user dev@example.com"),
            ],
        )
        .await;
    // It is known after a restart, too.
    stage.restart().await;
    stage.post("0:50", "shop", &["0:40", "0:45", "0:48", "0:50"].map(h12)).await;
    stage.post("0:51", "mail", &["0:51"; 4].map(h12)).await;
    let told = stage.told_in_any_order(&[
        "0:50 hook: [firing] h12 on shop",
        "0:50 operator: [firing] h12 on shop",
        "0:51 hook: [firing] h12 on mail",
        "0:51 operator: [firing] h12 on mail",
    ]);
    assert_eq!(
        told[0].body["release"],
        "v124 (code, Deploy 0a1b2c3d, by dev@example.com), 40 s before the first evidence"
    );
    assert_eq!(
        told[2].body["release"], "no release in the last 30 min",
        "another app's release is nobody's business here"
    );
    let alerts = stage.alerts().await;
    assert_eq!(alerts[0].row.details.release.as_ref().and_then(|release| release.version), Some(124));
    assert_eq!(alerts[1].row.details.release, None);
    // Long ago is no cause.
    stage.post("31:00", "shop", &["31:00"; 4].map(h12)).await;
    let told = stage.told_in_any_order(&["31:00 hook: [firing] h12 on shop", "31:00 operator: [firing] h12 on shop"]);
    assert_eq!(told[0].body["release"], "no release in the last 30 min");
    stage.end().await;
}

/// C38, for Logplex's own words and for our absence.
pub(crate) async fn lost_lines_make_a_lower_bound(on: On) {
    let mut stage = Stage::with(on, vec![to_both(h12_rule())]).await;
    let loss = frame(
        at("0:20"),
        "heroku",
        "logplex",
        "Error L10 (output buffer overflow): 7 messages dropped since 2026-05-07T08:00:05+00:00.",
    );
    stage.post("0:20", "shop", &[loss]).await;
    stage.post("0:30", "shop", &["0:30"; 4].map(h12)).await;
    stage.post("0:30", "mail", &["0:30"; 4].map(h12)).await;
    let told = stage.told_in_any_order(&[
        "0:30 hook: [firing] h12 on mail",
        "0:30 hook: [firing] h12 on shop",
        "0:30 operator: [firing] h12 on mail",
        "0:30 operator: [firing] h12 on shop",
    ]);
    let of = |app: &str| told.iter().find(|told| told.body["app"] == app).unwrap().body.clone();
    assert_eq!(of("shop")["measured"], "at least 4 events");
    assert_eq!(of("shop")["lower_bound"][0], "blind 08:00:05-08:00:20 UTC (log_loss, 7 lines lost)");
    assert_eq!(
        (of("mail")["measured"].as_str(), of("mail")["lower_bound"].as_array().unwrap().len()),
        (Some("4 events"), 0)
    );
    assert!(stage.alerts().await.iter().all(|alert| alert.row.facts.lower_bound == (alert.row.app_name == "shop")));
    // We were away from 20:00 on (a look every ten seconds says so), and back a minute later.
    stage.until("20:00").await;
    stage.crash();
    stage.nobody_until("21:00");
    stage.start().await;
    stage.post("21:30", "mail", &["21:30"; 4].map(h12)).await;
    let told = stage.told_in_any_order(&["21:30 hook: [firing] h12 on mail", "21:30 operator: [firing] h12 on mail"]);
    assert_eq!(told[0].body["lower_bound"][0], "blind 08:20:00-08:21:00 UTC (down)");
    stage.end().await;
}

/// C37.
pub(crate) async fn secrets_stay_in_the_store(on: On) {
    let secrets = [
        "hunter2",
        "AKIAIOSFODNN7EXAMPLE",
        "s3cr3tpass",
        "drain-secret-7c1f",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefghijklmnop",
    ];
    let line = |stamp: &str| {
        let [password, aws, basic, own, jwt] = secrets;
        app_line(
            stamp,
            "web.1",
            &format!(
                "WORKER TIMEOUT password={password} key {aws} https://ops:{basic}@db.example.com/ {own} Authorization: Bearer {jwt}"
            ),
        )
    };
    let rule =
        count("worker-timeout", MatchSpec { text: vec!["WORKER TIMEOUT".into()], ..MatchSpec::default() }, "> 2", 120);
    let mut stage =
        Stage::with(on, vec![Rule { send_resolved: true, resolve_after: seconds(10), ..to_both(rule) }]).await;
    stage.post("0:00", "shop", &["0:00"; 3].map(line)).await;
    stage.until("3:00").await;
    let told = stage.told_in_any_order(&[
        "0:00 hook: [firing] worker-timeout on shop",
        "0:00 operator: [firing] worker-timeout on shop",
        "2:10 hook: [resolved] worker-timeout on shop",
        "2:10 operator: [resolved] worker-timeout on shop",
    ]);
    for told in &told {
        assert!(told.text.contains("WORKER TIMEOUT"), "{}", told.text);
        for secret in secrets {
            assert!(!told.body.to_string().contains(secret), "{secret} left in {:#}", told.body);
        }
    }
    let evidence = stage.alert().await.evidence;
    let kept = String::from_utf8(evidence[0].text.clone()).unwrap();
    assert!(secrets.iter().all(|secret| kept.contains(secret)), "the bytes stay whole at home: {kept}");
    stage.end().await;
}
