//! What good `[[checks]]`, `[[maintenance]]` and `[prober]` tables resolve to.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::heartbeat::{Expected, Heartbeat};
use dynowatch_domain::check::kind::{
    DnsCheck, Family, HerokuCheck, HerokuTarget, HttpVersion, PostgresCheck, PostgresRole, RecordType, Redirects,
    RedisCheck, TcpCheck, TlsCheck, TlsMode, WebCheck,
};
use dynowatch_domain::check::maintenance::{Scope, When};
use dynowatch_domain::check::{Check, CheckKind, Flapping, Secret, Source, Thresholds};
use dynowatch_domain::rule::Severity;
use proptest::prelude::*;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The one check of a table.
fn check_of(table: &str) -> Check {
    let config = good(&format!("[[checks]]\nname = \"c\"\n{table}"));
    config.checks.checks.first().expect("a check").clone()
}

#[track_caller]
fn check(table: &str, want: CheckKind) {
    assert_eq!(check_of(table), Check::new("c", want), "{table}");
}

fn url(text: &str) -> Source {
    Source::Url(Secret::new(text))
}

fn config_var(name: &str) -> Source {
    Source::ConfigVar { app: "shop".to_owned(), name: name.to_owned() }
}

#[test]
fn each_kind_with_its_defaults() {
    check(
        "kind = \"web\"\nurl = \"https://a.example/x?y=z\"",
        CheckKind::Web(WebCheck::get("https://a.example/x?y=z")),
    );
    let redis = RedisCheck { url: url("redis://a.example"), key: None, family: Family::Any, tls: TlsMode::Verify };
    check("kind = \"redis\"\nurl = \"redis://a.example\"", CheckKind::Redis(redis));
    let postgres = PostgresCheck {
        url: url("postgres://shop:hunter2%40@db.example.com/shop"),
        table: None,
        query: None,
        role: PostgresRole::Leader,
        family: Family::Any,
        tls: TlsMode::Verify,
    };
    check("kind = \"postgres\"\nurl_env = \"SHOP_DATABASE_URL\"", CheckKind::Postgres(postgres));
    let host = || "a.example".to_owned();
    check(
        "kind = \"tcp\"\nhost = \"a.example\"\nport = 25",
        CheckKind::Tcp(TcpCheck { host: host(), port: 25, family: Family::Any }),
    );
    check(
        "kind = \"tls\"\nhost = \"a.example\"",
        CheckKind::Tls(TlsCheck { host: host(), port: 443, family: Family::Any, tls: TlsMode::Verify }),
    );
    check(
        "kind = \"dns\"\nhost = \"a.example\"",
        CheckKind::Dns(DnsCheck { name: host(), record: RecordType::A, server: None }),
    );
    check(
        "kind = \"heartbeat\"\nevery = \"36h\"",
        CheckKind::Heartbeat(Heartbeat {
            expected: Expected::Every(MINUTE * 60 * 36),
            grace: MINUTE * 5,
            run_max: None,
        }),
    );
    check(
        "kind = \"heartbeat\"\ncron = \"30 3 * * *\"\ntime_zone = \"Europe/Berlin\"\ngrace = \"1m\"\nrun_max = \"2m\"",
        CheckKind::Heartbeat(Heartbeat {
            expected: Expected::Cron { cron: "30 3 * * *".parse().unwrap(), zone: "Europe/Berlin".to_owned() },
            grace: MINUTE,
            run_max: Some(MINUTE * 2),
        }),
    );
}

#[test]
fn what_heroku_says_of_an_app() {
    let about = |target| {
        let kind = CheckKind::Heroku(HerokuCheck { app: "shop".to_owned(), target });
        Check { app: Some("shop".to_owned()), ..Check::new("c", kind) }
    };
    let of = |target: &str| check_of(&format!("kind = \"heroku\"\napp = \"shop\"\n{target}"));
    let dynos = |process_type: &str| HerokuTarget::Dynos { process_type: process_type.to_owned() };
    assert_eq!(of("target = \"dynos\""), about(dynos("web")));
    assert_eq!(of("target = \"dynos\"\nprocess_type = \"worker\""), about(dynos("worker")));
    assert_eq!(of("target = \"release\""), about(HerokuTarget::Release));
    assert_eq!(of("target = \"maintenance\""), about(HerokuTarget::Maintenance));
}

/// What Heroku itself runs cannot be verified; what stands in a config var is most often that.
#[test]
fn a_target_from_a_config_var_is_pinned() {
    let tls = |text: &str| check_of(&format!("app = \"shop\"\n{text}")).kind.tls().cloned();
    assert_eq!(tls("kind = \"redis\"\nconfig_var = \"REDIS_URL\""), Some(TlsMode::Pin));
    assert_eq!(tls("kind = \"postgres\"\nconfig_var = \"DATABASE_URL\""), Some(TlsMode::Pin));
    assert_eq!(tls("kind = \"redis\"\nconfig_var = \"REDIS_URL\"\ntls = \"verify\""), Some(TlsMode::Verify));
    assert_eq!(tls("kind = \"web\"\nconfig_var = \"HEALTH_URL\""), Some(TlsMode::Verify));
    let redis = check_of("kind = \"redis\"\napp = \"shop\"\nconfig_var = \"REDIS_URL\"\nkey = \"q\"");
    assert_eq!(redis.kind.source(), Some(&config_var("REDIS_URL")));
}

#[test]
fn every_key_of_a_web_check() {
    let text = "kind = \"web\"\napp = \"shop\"\nurl = \"https://a.example\"\nmethod = \"POST\"\nbody_env = \"SHOP_BODY\"\n\
                headers = { Accept = \"text/html\" }\nheaders_env = { authorization = \"SHOP_AUTHORIZATION\" }\n\
                redirects = \"same host 3\"\nhttp_version = \"2\"\nip_family = \"ipv6\"\nbody_bytes_max = 1000\ntls = \"pin\"\n\
                every = \"30s\"\nevery_when_suspect = \"5s\"\ntimeout = \"2s\"\nassert = \"status = 200\"\n\
                failures = 3\nfailing_for = \"2m\"\nrecoveries = 1\nrecovering_for = \"30s\"\ntell_degraded = true\n\
                flapping = { transitions = 4 }\nseverity = \"warning\"\nsend_resolved = false\nrunbook = \"docs/x.md\"\npaused = true\npublic = true";
    let mut want = Check::new(
        "c",
        CheckKind::Web(WebCheck {
            method: "POST".to_owned(),
            headers: vec![
                ("accept".to_owned(), Secret::new("text/html")),
                ("authorization".to_owned(), Secret::new("Bearer a-token-of-the-shop")),
            ],
            body: Some(Secret::new("{\"password\": \"hunter2\"}")),
            redirects: Redirects::SameHost(3),
            version: HttpVersion::Http2,
            family: Family::Ipv6,
            tls: TlsMode::Pin,
            body_bytes_max: 1_000,
            ..WebCheck::get("https://a.example")
        }),
    );
    want.app = Some("shop".to_owned());
    want.interval = Duration::from_secs(30);
    want.suspect_interval = Some(Duration::from_secs(5));
    want.timeout = Duration::from_secs(2);
    want.assertions = vec!["status = 200".parse().unwrap()];
    want.thresholds = Thresholds {
        failures: 3,
        failing_for: Some(MINUTE * 2),
        recoveries: 1,
        recovering_for: Some(Duration::from_secs(30)),
        flapping: Some(Flapping { transitions: 4, ..Flapping::default() }),
        tell_degraded: true,
    };
    want.severity = Severity::Warning;
    want.send_resolved = false;
    want.runbook = Some("docs/x.md".to_owned());
    want.paused = true;
    want.public = true;
    let config = good(&format!("[[checks]]\nname = \"c\"\n{text}"));
    assert_eq!(config.checks.checks, [want]);
    assert_eq!(check_of("kind = \"web\"\nurl = \"https://a.example\"\nflapping = false").thresholds.flapping, None);
    assert!(!check_of("kind = \"tls\"\nhost = \"a.example\"\ncertificate_warnings = false").warns_of_certificates());

    // What stands in variables is in no debug output, and is known to those who mask.
    let shown = format!("{config:?}");
    assert!(!shown.contains("hunter2") && !shown.contains("a-token-of-the-shop"), "{shown}");
    let known: Vec<&str> = config.known_secrets.iter().map(secrecy::ExposeSecret::expose_secret).collect();
    assert!(known.contains(&"a-token-of-the-shop") && known.contains(&"Bearer a-token-of-the-shop"));
}

#[test]
fn receivers_come_from_the_defaults_and_severity_does_not() {
    let text = "[defaults]\nreceivers = [\"operator\"]\nseverity = \"info\"\nsend_resolved = false\n[[receivers]]\nname = \"operator\"\nlog = {}\n\
                [[checks]]\nname = \"a\"\nkind = \"web\"\nurl = \"https://a.example\"\n\
                [[checks]]\nname = \"b\"\nkind = \"web\"\nurl = \"https://a.example\"\nreceivers = []\nparent = \"a\"\n";
    let checks = good(text).checks;
    let told: Vec<_> = checks.checks.iter().map(|check| check.receivers.as_slice()).collect();
    assert_eq!(told, [&["operator".to_owned()][..], &[]]);
    assert_eq!((checks.checks[0].severity, checks.checks[0].send_resolved), (Severity::Critical, true));
    assert_eq!(checks.checks[1].parent.as_deref(), Some("a"));
    assert_eq!(checks.blind_receivers, ["operator"]);
    let warnings = good(text).warnings.join("\n");
    assert!(warnings.contains("nobody is told when these checks are down") && warnings.contains(": b"), "{warnings}");
}

/// Who has no check dials nobody, not even to see whether it could.
#[test]
fn control_targets_are_there_with_the_first_check_that_dials() {
    let controls = |text: &str| {
        let controls = good(text).checks.controls;
        controls.iter().map(|check| dynowatch_domain::check::target::shown_target(&check.kind)).collect::<Vec<_>>()
    };
    let beat = "[[checks]]\nname = \"beat\"\nkind = \"heartbeat\"\nevery = \"1h\"\n";
    let port = "[[checks]]\nname = \"port\"\nkind = \"tcp\"\nhost = \"a.example\"\nport = 25\n";
    assert_eq!(controls(""), Vec::<String>::new());
    assert_eq!(controls(beat), Vec::<String>::new());
    assert_eq!(controls(port), ["api.heroku.com:443", "one.one.one.one:443"]);
    assert_eq!(controls(&format!("[prober]\ncontrol_targets = []\n{port}")), Vec::<String>::new());
    assert_eq!(
        controls(&format!("[prober]\ncontrol_targets = [\"10.0.0.1:80\", \"[fd00::1]:22\"]\n{port}")),
        ["10.0.0.1:80", "[fd00::1]:22"]
    );
    let allowed = good("[prober]\nallow_networks = [\"10.0.0.0/8\", \"::1\"]\n").checks.allowed;
    assert_eq!(allowed.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "::1/128"]);
}

/// A command that runs no check may be without the variable; one that runs it is told which is missing.
#[test]
fn offline_a_variable_may_be_missing() {
    let text = "[[checks]]\nname = \"db\"\nkind = \"postgres\"\nurl_env = \"NOWHERE_URL\"\n\
                [[checks]]\nname = \"shop\"\nkind = \"web\"\nurl = \"https://a.example\"\nheaders_env = { x-token = \"NO_TOKEN\" }\n";
    assert!(config::parse("dynowatch.toml", text, &env(&[])).is_err());
    let checks = config::parse_offline("dynowatch.toml", text, &env(&[])).unwrap().checks;
    assert_eq!(checks.checks.len(), 2);
    let unset: Vec<_> = checks.unset.iter().map(|(check, variable)| (check.as_str(), variable.as_str())).collect();
    assert_eq!(unset, [("db", "NOWHERE_URL"), ("shop", "NO_TOKEN")]);
}

#[test]
fn maintenance_in_three_ways() {
    let text = "[[checks]]\nname = \"a\"\nkind = \"web\"\napp = \"shop\"\nurl = \"https://a.example\"\n\
                [[maintenance]]\nname = \"once\"\napps = \"shop*\"\nat = \"2026-12-01T22:00\"\nfor = \"2h\"\ntime_zone = \"Europe/Berlin\"\nreason = \"why\"\n\
                [[maintenance]]\nname = \"utc\"\nall = true\nat = 2026-12-01T22:00:00+01:00\nfor = \"2h\"\n\
                [[maintenance]]\nname = \"weekly\"\nchecks = [\"a\", \"b\"]\nweekly = [\"Sat\", \"sun\"]\nat = \"23:30\"\nfor = \"3h\"\n\
                [[maintenance]]\nname = \"cron\"\nchecks = \"nothing\"\ncron = \"0 4 * * *\"\nfor = \"10m\"\n";
    let config = good(text);
    let windows = &config.checks.windows;
    let at = |text: &str| Timestamp::parse(text).unwrap();
    let once = When::Once { from: at("2026-12-01T21:00:00Z"), until: at("2026-12-01T23:00:00Z") };
    assert_eq!((&windows[0].when, &windows[1].when), (&once, &once));
    assert_eq!(windows[0].reason, "why");
    assert!(matches!(&windows[0].scope, Scope::Apps(apps) if apps[0].as_str() == "shop*"));
    assert!(matches!(&windows[2].when, When::Weekly { days, zone, .. } if days.len() == 2 && zone == "UTC"));
    assert!(matches!(&windows[3].when, When::Cron { lasts, .. } if *lasts == MINUTE * 10));
    assert!(config.warnings.iter().any(|text| text.contains("\"cron\" is for no check")), "{:?}", config.warnings);
}

fn duration() -> impl Strategy<Value = Duration> {
    (5_u64..3_600).prop_map(Duration::from_secs)
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    let flapping = (3_u32..50, duration(), duration()).prop_map(|(transitions, window, quiet)| Flapping {
        transitions,
        window: window.max(Duration::from_secs(10)),
        quiet: quiet.max(Duration::from_secs(10)),
    });
    let lasting = || prop::option::of(duration());
    (1_u32..=100, lasting(), 1_u32..=100, lasting(), prop::option::of(flapping), any::<bool>()).prop_map(
        |(failures, failing_for, recoveries, recovering_for, flapping, tell_degraded)| Thresholds {
            failures,
            failing_for,
            recoveries,
            recovering_for,
            flapping,
            tell_degraded,
        },
    )
}

fn kind() -> impl Strategy<Value = (CheckKind, String)> {
    let family = prop::sample::select(vec![(Family::Any, "any"), (Family::Ipv4, "ipv4"), (Family::Ipv6, "ipv6")]);
    let tls = prop::sample::select(vec![(TlsMode::Verify, "verify"), (TlsMode::Pin, "pin")]);
    let redirects = prop_oneof![
        Just(Redirects::Refuse),
        (1_u8..=10).prop_map(Redirects::Follow),
        (1_u8..=10).prop_map(Redirects::SameHost),
        Just(Redirects::Expect(308)),
    ];
    let web = ("[a-z]{1,10}", redirects, family.clone(), tls.clone(), "[ -~é\n]{0,20}").prop_map(
        |(host, redirects, (family, family_text), (tls, tls_text), body)| {
            let written = format!(
                "kind = \"web\"\nurl = \"https://{host}.example/\"\nredirects = \"{redirects}\"\nip_family = \"{family_text}\"\n\
                 tls = \"{tls_text}\"\nbody = {}\n",
                toml::Value::String(body.clone())
            );
            let web = WebCheck { redirects, family, tls, body: Some(Secret::new(body)), ..WebCheck::get(format!("https://{host}.example/")) };
            (CheckKind::Web(web), written)
        },
    );
    let redis = ("[a-z]{1,10}", "[ -~é]{1,20}", tls.clone()).prop_map(|(host, key, (tls, tls_text))| {
        let key_text = toml::Value::String(key.clone());
        let written =
            format!("kind = \"redis\"\nurl = \"rediss://{host}.example\"\ntls = \"{tls_text}\"\nkey = {key_text}\n");
        let url = url(&format!("rediss://{host}.example"));
        (CheckKind::Redis(RedisCheck { url, key: Some(key), family: Family::Any, tls }), written)
    });
    let tcp = ("[a-z]{1,10}", 1_u16.., family).prop_map(|(host, port, (family, text))| {
        let written = format!("kind = \"tcp\"\nhost = \"{host}\"\nport = {port}\nip_family = \"{text}\"\n");
        (CheckKind::Tcp(TcpCheck { host, port, family }), written)
    });
    let beat = (duration(), duration(), prop::option::of(duration())).prop_map(|(every, grace, run_max)| {
        let mut written =
            format!("kind = \"heartbeat\"\nevery = \"{}s\"\ngrace = \"{}s\"\n", every.as_secs(), grace.as_secs());
        if let Some(run_max) = run_max {
            written.push_str(&format!("run_max = \"{}s\"\n", run_max.as_secs()));
        }
        (CheckKind::Heartbeat(Heartbeat { expected: Expected::Every(every), grace, run_max }), written)
    });
    prop_oneof![web, redis, tcp, beat]
}

/// A check's keys as somebody would write them.
fn written(check: &Check, kind: &str) -> String {
    let seconds = |duration: Duration| format!("\"{}s\"", duration.as_secs());
    let mut text = format!("[[checks]]\nname = \"{}\"\n{kind}", check.name);
    let mut key = |key: &str, value: String| text.push_str(&format!("{key} = {value}\n"));
    let thresholds = &check.thresholds;
    if !matches!(check.kind, CheckKind::Heartbeat(_)) {
        key("every", seconds(check.interval));
        key("timeout", seconds(check.timeout));
    }
    key("failures", thresholds.failures.to_string());
    key("recoveries", thresholds.recoveries.to_string());
    key("tell_degraded", thresholds.tell_degraded.to_string());
    key("send_resolved", check.send_resolved.to_string());
    key("paused", check.paused.to_string());
    key("severity", format!("\"{}\"", check.severity.as_str()));
    match thresholds.flapping {
        None => key("flapping", "false".to_owned()),
        Some(flapping) => key(
            "flapping",
            format!(
                "{{ transitions = {}, window = {}, quiet = {} }}",
                flapping.transitions,
                seconds(flapping.window),
                seconds(flapping.quiet)
            ),
        ),
    }
    for (name, value) in [("failing_for", thresholds.failing_for), ("recovering_for", thresholds.recovering_for)] {
        if let Some(value) = value {
            key(name, seconds(value));
        }
    }
    text
}

proptest! {
    #[test]
    fn what_is_written_is_read((kind, kind_text) in kind(), thresholds in thresholds(), interval in duration(), timeout in 1_u64..=30,
                               severity in prop::sample::select(Severity::ALL.to_vec()), flags: (bool, bool)) {
        let mut check = Check::new("a-name", kind);
        if !matches!(check.kind, CheckKind::Heartbeat(_)) {
            check.interval = interval;
            check.timeout = Duration::from_secs(timeout);
        }
        check.thresholds = thresholds;
        check.severity = severity;
        (check.send_resolved, check.paused) = flags;
        let text = written(&check, &kind_text);
        prop_assert_eq!(&good(&text).checks.checks, &[check], "{}", text);
    }
}
