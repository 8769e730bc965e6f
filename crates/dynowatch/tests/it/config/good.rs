//! What good files resolve to: rules, receivers, precedence, the pack, warnings.

use std::time::Duration;

use dynowatch::config::{DrainConfig, FILE_DEFAULT, Provenance};
use dynowatch_domain::rule::{Condition, GroupBy, Lively, MatchSpec, Origin, Rule, Severity, StatusPattern};
use dynowatch_domain::rule_pack;
use dynowatch_domain::signal::{Code, Kind, Source};
use dynowatch_domain::threshold::{Aggregate, NoData, PercentOf, Threshold};
use dynowatch_notify::ReceiverKind;
use secrecy::ExposeSecret;

use super::*;

const MINUTE: Duration = Duration::from_secs(60);

/// The file that the runbook's two alerts become.
const RUNBOOK: &str = include_str!("runbook.toml");

fn rule<'a>(config: &'a Config, name: &str) -> &'a Rule {
    config.rules.iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no rule {name}"))
}

fn count(threshold: &str, minutes: u32) -> Condition {
    Condition::Count { threshold: threshold.parse().unwrap(), window: MINUTE * minutes }
}

fn built_in(name: &str) -> Rule {
    rule_pack::rules().into_iter().find(|rule| rule.name == name).unwrap_or_else(|| panic!("no built-in {name}"))
}

#[test]
fn the_runbooks_file_is_exactly_its_two_rules_beside_the_pack() {
    let config = good(RUNBOOK);
    let h12 = Rule {
        runbook: Some("docs/ops/runbooks/console-status-poller.md#failure-mode-h".to_owned()),
        receivers: vec!["operator".to_owned()],
        guidance: built_in("h12").guidance,
        ..Rule::new(
            "h12",
            MatchSpec { code: vec![Code::parse("H12").unwrap()], ..MatchSpec::default() },
            count("> 3", 5),
        )
    };
    let matches =
        MatchSpec { source: Some(Source::App), text: vec!["WORKER TIMEOUT".to_owned()], ..MatchSpec::default() };
    let timeout = Rule {
        receivers: vec!["operator".to_owned()],
        guidance: rule(&config, "worker-timeout").guidance.clone(),
        ..Rule::new("worker-timeout", matches, count("> 2", 2))
    };
    assert_eq!((rule(&config, "h12"), rule(&config, "worker-timeout")), (&h12, &timeout));
    assert_eq!(h12.cooldown, MINUTE * 5);

    let own: Vec<&str> =
        config.rules.iter().filter(|rule| rule.origin == Origin::File).map(|rule| rule.name.as_str()).collect();
    assert_eq!(own, ["h12", "worker-timeout"]);
    let replaced = rule_pack::rules().iter().filter(|rule| own.contains(&rule.name.as_str())).count();
    assert_eq!(config.rules.len(), rule_pack::rules().len() - replaced + 2, "the pack stays");

    assert_eq!(config.apps.len(), 1);
    assert_eq!(config.apps[0].name, "raxx-console-prod");
    assert_eq!(config.apps[0].drain_tokens, ["d.01234567-89ab-4cde-8f01-23456789abcd"]);
    let ReceiverKind::Slack { channel, token, api_url } = &config.receivers[0].kind else { panic!("not Slack") };
    assert_eq!((channel.as_str(), api_url.as_str()), ("D0AJ7K184TV", "https://slack.com/api"));
    assert_eq!(token.expose_secret(), "xoxb-0-test");
    assert_eq!(config.file.as_deref(), Some(FILE_DEFAULT));
    assert_eq!(config.serve_problems(), Vec::<String>::new());
}

#[test]
fn without_a_file_there_are_defaults_and_the_pack() {
    let config = config::load(None, &MapEnv::default()).expect("good defaults");
    assert_eq!(config.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.database_url.as_str(), "sqlite://dynowatch.db");
    let DrainConfig { enabled, secrets, body_bytes_max } = &config.drain;
    assert_eq!((*enabled, secrets.len(), *body_bytes_max), (true, 0, 8 << 20));
    assert_eq!((config.limits.apps, config.limits.groups_per_rule), (10_000, 1_000));
    assert_eq!((config.file, config.public_url, config.on_dyno), (None, None, false));
    assert!(config.apps.is_empty() && config.receivers.is_empty() && config.api_tokens.is_empty());
    assert_eq!(config.rules.len(), rule_pack::rules().len());
    assert!(config.rules.iter().all(|rule| rule.origin == Origin::BuiltIn && rule.receivers.is_empty()));
    assert_eq!(
        config.warnings[0],
        "environment: HEROKU_LOG_DRAIN_HMAC_SECRET: not set: every delivery is answered 501"
    );
    assert!(config.warnings[1].contains("sent to nobody"), "{:?}", config.warnings);
}

#[test]
fn every_key_of_a_threshold_is_read() {
    let config = good(
        r#"
        [[rules]]
        name = "whole"
        metric = "postgres.connections_active"
        value = ">= 80"
        clear = "< 70.5"
        aggregation = "max"
        percent_of = "postgres.connections_max"
        rate_per = "1m"
        no_data = "fire"
        sources = ["DATABASE", "HEROKU_*"]
        labels = "x"
        window = "10m"
        group_by = ["source", "label"]
        [[rules]]
        name = "short"
        metric = "custom.queue.depth"
        value = "< 5"
        percent_of = 20
        [rule_pack.rules.memory-high]
        value = "> 95"
        for = "10m"
        "#,
    );
    let Condition::Threshold(whole) = &rule(&config, "whole").condition else { panic!("not a threshold") };
    let want = Threshold {
        metric: "postgres.connections_active".into(),
        sources: vec!["DATABASE".parse().unwrap(), "HEROKU_*".parse().unwrap()],
        labels: vec!["x".parse().unwrap()],
        aggregation: Some(Aggregate::Max),
        percent_of: Some(PercentOf::Metric("postgres.connections_max".into())),
        rate_per: Some(MINUTE),
        fires: ">= 80".parse().unwrap(),
        clears: Some("< 70.5".parse().unwrap()),
        window: MINUTE * 10,
        no_data: NoData::Fire,
    };
    assert_eq!(
        (whole, rule(&config, "whole").group_by.as_slice()),
        (&want, [GroupBy::Source, GroupBy::Label].as_slice())
    );
    let short = Condition::Threshold(Threshold {
        percent_of: Some(PercentOf::Number("20".parse().unwrap())),
        ..Threshold::new("custom.queue.depth", "< 5".parse().unwrap())
    });
    let Condition::Threshold(found) = &rule(&config, "short").condition else { panic!("not a threshold") };
    assert_eq!(Condition::Threshold(Threshold { window: MINUTE, ..found.clone() }), short);
    assert_eq!(found.window, MINUTE * 3, "three times as long as such values are apart");
    let (memory, before) = (rule(&config, "memory-high"), built_in("memory-high"));
    assert_eq!(memory.condition.threshold(), before.condition.threshold().replace("> 90", "> 95"));
    assert_eq!((memory.pending_for, memory.group_by.clone()), (MINUTE * 10, before.group_by));
}

#[test]
fn every_key_of_a_rule_is_read() {
    let config = good(
        r#"
        [[receivers]]
        name = "team"
        log = { path = "alerts.log" }
        [[rules]]
        name = "share"
        match = { status = ["5xx", 404, "503"], code = "H12", path_prefix = ["/api/", "/v2"], dyno = "web.*", process = ["router"] }
        ratio = ">= 2.5%"
        requests_min = 50
        window = "10m"
        group_by = ["dyno", "status"]
        for = "1m30s"
        cooldown = "1h"
        resolve_after = "0s"
        severity = "critical"
        runbook = "https://example.com/runbook"
        receivers = ["team"]
        send_resolved = true
        apps = ["shop-*", "blog"]
        enabled = false
        [[rules]]
        name = "silent"
        absence = "< 1"
        window = "10m"
        lively = { lines = 60, within = "1h" }
        group_by = "process_type"
        apps = "shop-web"
        [[rules]]
        name = "many"
        match = { kind = ["app", "postgres_error"], source = "heroku", text = ["a", "b"], regex = "(?i)oops" }
        count = ">= 4"
        window = "90s"
        "#,
    );
    let share = rule(&config, "share");
    let statuses = [StatusPattern::Class(5), StatusPattern::Exactly(404), StatusPattern::Exactly(503)];
    assert_eq!(share.matches.status, statuses);
    assert_eq!(share.matches.path_prefix, ["/api/", "/v2"]);
    assert_eq!((share.matches.dyno[0].as_str(), share.matches.process[0].as_str()), ("web.*", "router"));
    assert_eq!(share.condition.to_string(), ">= 2.5% of at least 50 requests in 10m");
    assert_eq!(share.group_by, [GroupBy::Dyno, GroupBy::Status]);
    assert_eq!((share.pending_for, share.cooldown, share.resolve_after), (MINUTE * 3 / 2, MINUTE * 60, Duration::ZERO));
    assert_eq!((share.severity, share.send_resolved, share.enabled), (Severity::Critical, true, false));
    assert_eq!(share.runbook.as_deref(), Some("https://example.com/runbook"));
    assert!(share.wants_app("shop-web") && share.wants_app("blog") && !share.wants_app("blog-2"));

    let silent = rule(&config, "silent");
    let lively = Some(Lively { lines_min: 60, within: MINUTE * 60 });
    assert_eq!(silent.condition, Condition::Absence { fewer_than: 1, window: MINUTE * 10, lively });
    assert_eq!((silent.group_by.as_slice(), silent.apps[0].as_str()), ([GroupBy::ProcessType].as_slice(), "shop-web"));

    let many = &rule(&config, "many").matches;
    assert_eq!(
        (many.kind.as_slice(), many.source),
        ([Kind::App, Kind::PostgresError].as_slice(), Some(Source::Heroku))
    );
    assert_eq!(
        (many.text.as_slice(), many.regex.as_deref()),
        (["a".to_owned(), "b".to_owned()].as_slice(), Some("(?i)oops"))
    );
}

#[test]
fn the_pack_is_kept_changed_or_dropped() {
    let config = good(
        r#"
        [rule_pack]
        disable = ["h26"]
        [rule_pack.rules.h10]
        count = "> 10"
        severity = "info"
        apps = ["shop-*"]
        "#,
    );
    let (h10, before) = (rule(&config, "h10"), built_in("h10"));
    let Condition::Count { threshold, window } = &h10.condition else { panic!("not a count") };
    assert_eq!((threshold.to_string().as_str(), *window), ("> 10", before.condition.window()));
    assert_eq!((h10.severity, h10.apps.len(), h10.origin), (Severity::Info, 1, Origin::BuiltIn));
    assert_eq!((&h10.matches, &h10.guidance), (&before.matches, &before.guidance));
    assert!(!rule(&config, "h26").enabled && rule(&config, "h12").enabled == built_in("h12").enabled);
    assert_eq!(config.rules.len(), rule_pack::rules().len());

    let config = good("[rule_pack]\nenabled = false\n[rule_pack.rules.h12]\nenabled = true");
    let on: Vec<&str> = config.rules.iter().filter(|rule| rule.enabled).map(|rule| rule.name.as_str()).collect();
    assert_eq!(on, ["h12"], "one rule of a pack that is off");
}

#[test]
fn defaults_fill_what_a_rule_does_not_say() {
    let config = good(
        r#"
        [defaults]
        receivers = ["team"]
        cooldown = "10m"
        resolve_after = "7m"
        severity = "critical"
        send_resolved = true
        [[receivers]]
        name = "team"
        log = {}
        [[receivers]]
        name = "second"
        log = {}
        [[rules]]
        name = "mine"
        match = { code = "H12" }
        count = "> 3"
        window = "5m"
        [[rules]]
        name = "own"
        match = { code = "H12" }
        count = "> 3"
        window = "5m"
        cooldown = "1m"
        severity = "info"
        send_resolved = false
        receivers = []
        [rule_pack]
        receivers = ["second"]
        "#,
    );
    let (mine, own) = (rule(&config, "mine"), rule(&config, "own"));
    assert_eq!((mine.cooldown, mine.resolve_after), (MINUTE * 10, MINUTE * 7));
    assert_eq!((mine.severity, mine.send_resolved), (Severity::Critical, true));
    assert_eq!(mine.receivers, ["team"]);
    assert_eq!((own.cooldown, own.resolve_after), (MINUTE, MINUTE * 7));
    assert_eq!((own.severity, own.send_resolved, own.receivers.len()), (Severity::Info, false, 0));
    let h12 = rule(&config, "h12");
    assert_eq!((h12.severity, h12.receivers.as_slice()), (built_in("h12").severity, ["second".to_owned()].as_slice()));
}

#[test]
fn a_single_receiver_is_not_a_default_one() {
    let config = good("[[receivers]]\nname = \"team\"\nlog = {}");
    assert!(config.rules.iter().all(|rule| rule.receivers.is_empty()));
    let warnings = lines(&config.warnings);
    assert!(
        warnings.contains("sent to nobody") && warnings.contains("the receiver \"team\" is named by no rule"),
        "{warnings}"
    );
}

#[test]
fn the_environment_goes_before_the_file() {
    let file = "[server]\nlisten = \"10.0.0.1:9\"\npublic_url = \"https://file.example/\"\n[store]\nurl = \"sqlite://file.db\"";
    let config = good_in(file, &[]);
    assert_eq!(config.listen.to_string(), "10.0.0.1:9");
    assert_eq!(config.public_url.as_deref(), Some("https://file.example"));
    assert_eq!(config.database_url.as_str(), "sqlite://file.db");

    let changes = [
        ("PORT", "5000"),
        ("DYNOWATCH_PUBLIC_URL", "https://env.example/base/"),
        ("DATABASE_URL", "postgres://u:hunter2@db.example:5432/x"),
        ("DYNOWATCH_API_TOKEN", "first-token-of-the-api, second-token-of-the-api"),
        ("HEROKU_LOG_DRAIN_HMAC_SECRET", "new-new-new-new-new, old-old-old-old-old"),
    ];
    let config = good_in(file, &changes);
    assert_eq!(config.listen.to_string(), "0.0.0.0:5000");
    assert_eq!(config.public_url.as_deref(), Some("https://env.example/base"));
    assert_eq!(config.database_url.as_str(), "postgres://u:hunter2@db.example:5432/x");
    let secrets: Vec<&str> = config.drain.secrets.iter().map(ExposeSecret::expose_secret).collect();
    assert_eq!(secrets, ["new-new-new-new-new", "old-old-old-old-old"]);
    assert_eq!(config.api_tokens.len(), 2);
    let printed = format!("{config:?}{}", lines(config.provenance()));
    for secret in ["hunter2", "new-new", "first-token", "xoxb"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn provenance_is_printed_with_every_origin_and_no_secret() {
    let changes = [
        ("PORT", "5000"),
        ("DATABASE_URL", "postgres://u:p@db.example/x"),
        ("DYNO", "web.1"),
        ("SLACK_API_URL", "http://127.0.0.1:9/api/"),
    ];
    let config = good_in("[drain]\nenabled = true\nbody_bytes_max = 1_000_000\n", &changes);
    insta::assert_snapshot!(lines(config.provenance()), @r"
    server.listen = 0.0.0.0:5000 (environment: PORT)
    server.public_url = unset (default)
    server.environment = unset (default)
    store.url = postgres://…@db.example/x (environment: DATABASE_URL)
    store.metrics_bytes_max = 536870912 (default)
    drain.enabled = true (dynowatch.toml:2)
    drain.body_bytes_max = 1000000 (dynowatch.toml:3)
    HEROKU_LOG_DRAIN_HMAC_SECRET = set (1) (environment: HEROKU_LOG_DRAIN_HMAC_SECRET)
    limits.apps = 10000 (default)
    limits.groups_per_rule = 1000 (default)
    limits.drain_requests = 256 (default)
    limits.api_token_requests_per_min = 600 (default)
    limits.api_address_requests_per_min = 3000 (default)
    SLACK_API_URL = http://127.0.0.1:9/api (environment: SLACK_API_URL)
    HEROKU_API_URL = https://api.heroku.com (default)
    HEROKU_API_KEY = unset (default)
    DYNOWATCH_API_TOKEN = unset (default)
    DYNOWATCH_SECRET_KEY = unset (default)
    DYNOWATCH_OIDC_CLIENT_SECRET = unset (default)
    DYNO = web.1 (environment: DYNO)
    SLACK_BOT_TOKEN = set (environment: SLACK_BOT_TOKEN)
    ");
    let line = Provenance::File { file: "dynowatch.toml".to_owned(), line: 3 };
    assert!(config.provenance().iter().any(|setting| setting.from == line));
}

#[test]
fn either_switch_turns_the_drain_off() {
    let cases = [
        ("", "", true),
        ("", "true", true),
        ("", "false", false),
        ("", "0", false),
        ("", "OFF", false),
        ("", "no", false),
        ("[drain]\nenabled = true", "False", false),
        ("[drain]\nenabled = false", "true", false),
        ("[drain]\nenabled = false", "", false),
    ];
    for (file, flag, want) in cases {
        let config = good_in(file, &[("FLAG_CONSOLE_HEROKU_LOG_DRAIN_ALERTING", flag)]);
        assert_eq!(config.drain.enabled, want, "{file:?} {flag:?}");
        assert_eq!(config.warnings.iter().any(|warning| warning.contains("switched off")), !want);
    }
}

#[test]
fn a_dyno_without_postgres_must_not_serve() {
    let cases = [
        (vec![("DYNO", "web.1")], true),
        (vec![("DYNO", "web.1"), ("DATABASE_URL", "sqlite://x.db")], true),
        (vec![("DYNO", "web.1"), ("DATABASE_URL", "postgres://u:p@h/x")], false),
        (vec![("DATABASE_URL", "sqlite://x.db")], false),
    ];
    for (changes, refused) in cases {
        let problems = good_in("", &changes).serve_problems();
        assert_eq!(!problems.is_empty(), refused, "{changes:?} {problems:?}");
        let says = |part| problems.iter().all(|problem| problem.contains(part));
        assert!(says("DYNO is set") && says("DATABASE_URL") && says("heroku addons:create"), "{problems:?}");
    }
}

#[test]
fn forwarded_headers_are_believed_on_heroku_or_where_the_file_says_so() {
    let on_dyno: &[_] = &[("DYNO", "web.1"), ("DATABASE_URL", "postgres://u:p@h/x")];
    for (text, changes, want) in [
        ("", &[][..], false),
        ("[sign_in]\n", &[], false),
        ("[sign_in]\ntrust_forwarded = false\n", &[], false),
        ("[sign_in]\ntrust_forwarded = true\n", &[], true),
        ("", on_dyno, true),
    ] {
        assert_eq!(good_in(text, changes).accounts.trust_forwarded, want, "{text} {changes:?}");
    }
}

#[test]
fn receivers_of_every_kind() {
    let config = good(
        r#"
        [[receivers]]
        name = "second-team"
        slack = { channel = "C0123456789", token_env = "SECOND_SLACK_BOT_TOKEN" }
        [[receivers]]
        name = "hook"
        webhook = { url = "https://example.com/hook?x=1", secret_env = "HOOK_SECRET" }
        [[receivers]]
        name = "secret-hook"
        webhook = { url_env = "HOOK_URL" }
        [[receivers]]
        name = "page"
        log = { path = "alerts.log" }
        [[receivers]]
        name = "terminal"
        log = {}
        "#,
    );
    let shown: Vec<String> = config
        .receivers
        .iter()
        .map(|receiver| match &receiver.kind {
            ReceiverKind::Slack { channel, token, .. } => format!("{channel} {}", token.expose_secret()),
            ReceiverKind::Webhook { url, secret } => {
                format!("{url} {:?}", secret.as_ref().map(|secret| secret.expose_secret().to_owned()))
            }
            ReceiverKind::Log { path } => format!("{path:?}"),
        })
        .collect();
    assert_eq!(
        shown,
        [
            "C0123456789 xoxb-1-test",
            "https://example.com/hook?x=1 Some(\"a-secret-of-some-length\")",
            "https://user:password@example.com/hook None",
            "Some(\"alerts.log\")",
            "None",
        ]
    );
    assert!(
        config
            .warnings
            .iter()
            .any(|warning| warning.starts_with("dynowatch.toml:10: receivers[2].webhook: no secret_env"))
    );
}

#[test]
fn offline_a_missing_secret_is_a_warning() {
    let bare = MapEnv::default();
    assert!(config::parse(FILE_DEFAULT, RUNBOOK, &bare).is_err());
    let config = config::parse_offline(FILE_DEFAULT, RUNBOOK, &bare).expect("good without secrets");
    assert_eq!(rule(&config, "h12").receivers, ["operator"]);
    assert_eq!(config.receivers.len(), 1);
    assert!(
        config.warnings.iter().any(|warning| warning.starts_with("environment: SLACK_BOT_TOKEN: not set")),
        "{:?}",
        config.warnings
    );
}

#[test]
fn a_code_that_nobody_documents_is_only_odd() {
    let config = good("[[rules]]\nname = \"new\"\nmatch = { code = \"H98\" }\ncount = \"> 3\"\nwindow = \"5m\"");
    assert_eq!(rule(&config, "new").matches.code[0].to_string(), "H98");
    let want = "dynowatch.toml:3: rules[0].match.code: \"H98\" is not a code that Heroku documents; the rule waits for it all the same";
    assert!(config.warnings.iter().any(|warning| warning == want), "{:?}", config.warnings);
}

#[test]
fn the_file_is_named_on_the_command_line_or_by_a_variable() {
    let by_variable = env(&[("DYNOWATCH_CONFIG", "/etc/dynowatch.toml")]);
    assert_eq!(config::locate(Some(Path::new("a.toml")), &by_variable), Some("a.toml".into()));
    assert_eq!(config::locate(None, &by_variable), Some("/etc/dynowatch.toml".into()));
    assert_eq!(config::locate(None, &env(&[])), None, "there is none in this folder");
}
