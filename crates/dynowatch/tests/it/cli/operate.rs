//! What operators do beside a running server: look, close, switch off, rename, back up.

use dynowatch_domain::Timestamp;
use dynowatch_domain::account::audit::Actor;
use dynowatch_store::objects::{Object, ObjectKind};
use dynowatch_store::{Store, StoreOptions};
use dynowatch_testkit::http_client;
use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::process::Dynowatch;
use dynowatch_testkit::webhook_sink::WebhookSink;
use serde_json::json;

use super::{FILE, H12, TOKEN, folder_with, post, program, program_in};

/// A server on which the rule has fired.
async fn firing(folder: &tempfile::TempDir) -> Dynowatch {
    let server = program_in(folder.path()).start().await;
    let body: String = (0..4).map(|_| format!("{H12}\n")).collect();
    assert_eq!(post(&server, &body).await, 204);
    server
}

/// What a command prints, if it ends well.
async fn run(folder: &tempfile::TempDir, arguments: &[&str]) -> String {
    program_in(folder.path()).args(arguments).run().await.expect_success()
}

#[tokio::test]
async fn config_check_says_everything() {
    let folder = folder_with(FILE);
    insta::assert_snapshot!(run(&folder, &["config", "check"]).await, @r#"
    file: dynowatch.toml

    KEY                                  VALUE                   FROM
    server.listen                        127.0.0.1:8080          default
    server.public_url                    unset                   default
    server.environment                   unset                   default
    store.url                            sqlite://dynowatch.db   default
    store.metrics_bytes_max              536870912               default
    drain.enabled                        true                    default
    drain.body_bytes_max                 8388608                 default
    HEROKU_LOG_DRAIN_HMAC_SECRET         set (1)                 environment: HEROKU_LOG_DRAIN_HMAC_SECRET
    limits.apps                          10000                   default
    limits.groups_per_rule               1000                    default
    limits.drain_requests                256                     default
    limits.api_token_requests_per_min    600                     default
    limits.api_address_requests_per_min  3000                    default
    SLACK_API_URL                        https://slack.com/api   default
    HEROKU_API_URL                       https://api.heroku.com  default
    HEROKU_API_KEY                       unset                   default
    DYNOWATCH_API_TOKEN                  unset                   default
    DYNOWATCH_SECRET_KEY                 unset                   default
    DYNOWATCH_OIDC_CLIENT_SECRET         unset                   default
    DYNO                                 unset                   default
    SLACK_BOT_TOKEN                      unset                   default

    rules: 1 on, 59 off; 1 of those on tell somebody
    apps: shop
    receivers: file (log alerts.log)
    checks: none
    WARNING: environment: HEROKU_LOG_DRAIN_HMAC_SECRET: a secret of fewer than 16 bytes can be guessed: make one with `openssl rand -hex 32`
    store: sqlite://dynowatch.db, made at the first start
    "#);
    let checked: serde_json::Value = serde_json::from_str(&run(&folder, &["--json", "config", "check"]).await).unwrap();
    assert_eq!((&checked["ok"], &checked["rules_on"]), (&true.into(), &1.into()));

    let broken = folder_with("[server]\nlisten = 5\n[[rules]]\nname = \"x\"\n");
    let done = program().folder(broken.path()).args(["config", "check"]).run().await;
    assert_eq!(done.code(), 1);
    insta::assert_snapshot!(done.stdout, @r#"
    2 errors:
    dynowatch.toml:2: server.listen: 5 is an integer: write an address such as "127.0.0.1:8080"
    dynowatch.toml:3: rules[0]: nothing to fire on: write one of count = "> 3", ratio = "> 5%", absence = "< 1" or metric = "dyno.memory_percent"
    "#);

    let unreachable = program_in(folder.path()).env("DATABASE_URL", "postgres://u:secret-word@127.0.0.1:1/x");
    let done = unreachable.args(["config", "check", "--store"]).run().await;
    assert_eq!(done.code(), 1);
    assert!(done.stdout.contains("ERROR: the store postgres://…@127.0.0.1:1/x does not open"), "{}", done.stdout);
    assert!(!format!("{}{}", done.stdout, done.stderr).contains("secret-word"));
}

#[tokio::test]
async fn an_alert_is_listed_shown_and_closed() {
    let folder = folder_with(FILE);
    let server = firing(&folder).await;
    let list = run(&folder, &["alerts", "list", "--app", "shop", "--rule", "h12"]).await;
    assert!(list.lines().nth(1).unwrap().starts_with("firing ") && list.contains("h12/shop"), "{list}");
    assert!(list.lines().all(|line| line.len() <= 100), "{list}");

    let show = run(&folder, &["alerts", "show", "h12/shop"]).await;
    assert!(show.contains("> 2026-05-07T08:06:12Z heroku[router]: at=error code=H12"), "{show}");
    assert!(show.contains("told      file") && show.contains("  fired"), "{show}");

    assert_eq!(run(&folder, &["alerts", "resolve", "h12/shop"]).await, "h12/shop is closed\n");
    assert_eq!(run(&folder, &["alerts", "resolve", "h12/shop"]).await, "nothing is open under h12/shop\n");
    let shown: serde_json::Value =
        serde_json::from_str(&run(&folder, &["--json", "alerts", "show", "h12/shop"]).await).unwrap();
    assert_eq!((&shown["state"], &shown["resolve_reason"]["why"]), (&"resolved".into(), &"closed_by_operator".into()));
    // The command came and went without the server noticing a restart.
    assert_eq!(post(&server, H12).await, 204);
    for field in ["takes", "meaning", "first_command", "usual_causes", "lower_bound_because"] {
        assert!(!shown[field].is_null(), "{field}: {shown}");
    }
    // What is no key and no name is wrong usage, before anything is done.
    let wrong: [(&[&str], &str); 2] = [
        (&["alerts", "resolve", "h12"], "\"h12\" is not a key"),
        (&["apps", "rename", "shop", "a b"], "\"a b\" is not a name for an app"),
    ];
    for (arguments, said) in wrong {
        let none = program_in(folder.path()).args(arguments).run().await;
        assert!(none.code() == 2 && none.stderr.contains(said), "{arguments:?}: {} {}", none.code(), none.stderr);
    }
}

/// Rules and receivers of the console are as good as those of the file, beside a server and without one.
#[tokio::test]
async fn what_was_made_in_the_console_is_known_here() {
    let folder = folder_with(FILE);
    let mut server = firing(&folder).await;
    let url = format!("sqlite://{}", folder.path().join("dynowatch.db").display());
    let store = Store::open(&StoreOptions::new(&url)).await.unwrap();
    let at = Timestamp::from_seconds(1_778_140_800);
    for (kind, name, body) in [
        (ObjectKind::Receiver, "hook", json!({ "log": { "path": "hook.log" } })),
        (
            ObjectKind::Rule,
            "slow",
            json!({ "match": { "text": "slow" }, "count": "> 1", "window": "5m", "receivers": ["hook"] }),
        ),
    ] {
        let object = Object { name: name.into(), body, by_whom: "ops".into(), created_at: at, changed_at: at };
        store.create_object(kind, &object, &Actor::here("ops").did("object.create", name)).await.unwrap();
    }
    store.close().await;
    for running in [true, false] {
        if !running {
            assert!(server.sigterm().await.success(), "{}", server.stderr());
        }
        assert!(run(&folder, &["rules", "list"]).await.contains("slow"), "{running}");
        let rule: serde_json::Value =
            serde_json::from_str(&run(&folder, &["--json", "rules", "show", "slow"]).await).unwrap();
        assert_eq!((&rule["origin"], &rule["receivers"]), (&"store".into(), &json!(["hook"])), "{running}");
        assert!(run(&folder, &["rules", "disable", "slow", "--for", "2h"]).await.starts_with("slow is off until 20"));
        assert_eq!(run(&folder, &["rules", "enable", "slow"]).await, "slow is on again\n");
        assert!(run(&folder, &["receiver", "list"]).await.contains("hook      1      log hook.log"), "{running}");
        assert_eq!(run(&folder, &["receiver", "test", "hook"]).await, "hook: accepted: written to hook.log\n");
    }
    let none = program_in(folder.path()).args(["rules", "disable", "slwo", "--for", "2h"]).run().await;
    assert!(none.code() == 1 && none.stderr.contains("did you mean \"slow\"?"), "{}", none.stderr);
}

/// What nobody got is told where the configuration is looked at.
#[tokio::test]
async fn config_check_tells_what_failed_for_good() {
    let sink = WebhookSink::start().await;
    sink.otherwise(Behaviour::status(404));
    let folder = folder_with(
        &FILE.replace("log = { path = \"alerts.log\" }", &format!("webhook = {{ url = \"{}\" }}", sink.url())),
    );
    let server = firing(&folder).await;
    server.wait_for_stderr("message failed for good").await;
    let said = run(&folder, &["config", "check"]).await;
    assert!(
        said.contains("WARNING: a message to \"file\" failed for good at 20") && said.contains("HTTP 404"),
        "{said}"
    );
    let said: serde_json::Value = serde_json::from_str(&run(&folder, &["--json", "config", "check"]).await).unwrap();
    assert_eq!(said["store"]["failed_deliveries"][0]["receiver"], "file", "{said}");
    // And where a scraper looks; `/readyz` may answer what it knew a second ago.
    let metrics = http_client::get(&format!("{}/metrics", server.url()), &[]).await.unwrap().text();
    assert!(metrics.contains("dynowatch_outbox_failed{receiver=\"file\"} 1"), "{metrics}");
    drop(server);

    let nobody = folder_with("");
    let said = run(&nobody, &["config", "check"]).await;
    assert!(said.contains("receivers: NONE; alerts are recorded and shown, but sent to nobody"), "{said}");
}

/// Every command that prints something prints JSON when asked to: one value per line, and nothing else.
#[tokio::test]
async fn everything_is_printed_as_json_too() {
    let folder = folder_with(FILE);
    std::fs::write(folder.path().join("one.log"), format!("{H12}\n")).unwrap();
    let launch = program_in(folder.path()).args(["--json", "serve"]).env("DYNOWATCH_API_TOKEN", "dw_0123456789abcdef");
    let server = launch.start().await;
    let body: String = (0..4).map(|_| format!("{H12}\n")).collect();
    assert_eq!(post(&server, &body).await, 204);
    server.wait_for_stderr("message delivered").await;
    let deliveries: serde_json::Value = serde_json::from_str(&run(&folder, &["--json", "deliveries"]).await).unwrap();
    let (delivery, url) = (deliveries[0]["id"].as_str().unwrap(), server.url());
    let commands: &[&[&str]] = &[
        &["alerts", "list"],
        &["alerts", "show", "h12/shop"],
        &["alerts", "resolve", "h12/shop"],
        &["apps", "list"],
        &["apps", "rename", "shop", "store"],
        &["audit", "verify"],
        &["audit", "export"],
        &["backup", "all.backup"],
        &["checks", "list"],
        &["config", "check"],
        &["config", "reload", "--url", &url, "--token", "dw_0123456789abcdef"],
        &["deliveries", "list"],
        &["deliveries", "show", delivery],
        &["drain", "token", TOKEN],
        &["drain", "url", "--app", "shop", "--public-url", "https://watch.example.com"],
        &["drain", "verify", "--url", &url],
        &["maintenance", "list"],
        &["receiver", "list"],
        &["receiver", "test", "file"],
        &["replay", "one.log"],
        &["rules", "list"],
        &["rules", "show", "h12"],
        &["rules", "disable", "h12", "--for", "2h"],
        &["rules", "enable", "h12"],
        &["setup-link"],
        &["token", "create", "ci"],
        &["token", "list"],
        &["token", "revoke", "ci"],
        &["users", "list"],
    ];
    let is_json = |text: &str| text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok());
    for arguments in commands {
        let said = program_in(folder.path()).arg("--json").args(*arguments).run().await.expect_success();
        assert!(!said.is_empty() && is_json(&said), "{arguments:?}: {said}");
    }
    let elsewhere = folder_with(FILE);
    let backup = folder.path().join("all.backup").display().to_string();
    let said = run(&elsewhere, &["--json", "restore", &backup]).await;
    assert!(is_json(&said), "{said}");
    let said = server.stdout();
    assert!(is_json(&said), "{said}");
    let first: serde_json::Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&first["rules_on"], &first["drain_on"]), (&1.into(), &true.into()), "{first}");
    assert_eq!(first["listens_on"], format!("http://0.0.0.0:{}", server.port()));
}

#[tokio::test]
async fn a_rule_is_quiet_for_a_while() {
    let folder = folder_with(FILE);
    let server = firing(&folder).await;
    let said = run(&folder, &["rules", "disable", "h12", "--for", "2h"]).await;
    assert!(said.starts_with("h12 is off until 20"), "{said}");
    assert!(run(&folder, &["rules", "list"]).await.contains("quiet"));
    // The server sees it by itself and closes what was open.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(100));
    for tries in 0.. {
        ticks.tick().await;
        if run(&folder, &["alerts", "list"]).await.contains("resolved") {
            break;
        }
        assert!(tries < 150, "{}", server.stderr());
    }
    assert_eq!(run(&folder, &["rules", "enable", "h12"]).await, "h12 is on again\n");
    assert_eq!(run(&folder, &["rules", "enable", "h12"]).await, "h12 was not switched off for a while\n");
    assert!(run(&folder, &["rules", "show", "h12"]).await.contains("condition > 3 in 5m"));
}

#[tokio::test]
async fn an_app_is_renamed() {
    let folder = folder_with(FILE);
    let _server = firing(&folder).await;
    let said = run(&folder, &["apps", "rename", "shop", "store"]).await;
    assert!(said.contains("shop is now store") && said.contains("still names shop"), "{said}");
    assert!(run(&folder, &["apps", "list"]).await.contains("store"));
    assert!(run(&folder, &["alerts", "list"]).await.contains("h12/store"));
}

#[tokio::test]
async fn a_receiver_is_tested_and_messages_are_listed() {
    let folder = folder_with(FILE);
    let said = run(&folder, &["receiver", "test", "file"]).await;
    assert_eq!(said, "file: accepted: written to alerts.log\n");
    assert!(std::fs::read_to_string(folder.path().join("alerts.log")).unwrap().contains("[test]"));
    assert_eq!(run(&folder, &["receiver", "list"]).await, "RECEIVER  RULES  KIND\nfile      1      log alerts.log\n");

    let server = firing(&folder).await;
    server.wait_for_stderr("message delivered").await;
    let list = run(&folder, &["deliveries"]).await;
    assert!(list.contains("file, firing h12/shop"), "{list}");
    let list: serde_json::Value = serde_json::from_str(&run(&folder, &["--json", "deliveries", "list"]).await).unwrap();
    let show = run(&folder, &["deliveries", "show", list[0]["id"].as_str().unwrap()]).await;
    assert!(show.contains("[firing] h12 on shop") && show.contains("attempt 1 at"), "{show}");
}

#[tokio::test]
async fn a_token_opens_the_api_until_it_is_revoked() {
    let folder = folder_with(FILE);
    let created = run(&folder, &["token", "create", "ci"]).await;
    let token = created.lines().next().unwrap().to_owned();
    assert!(token.starts_with("dw_") && token.len() == 67, "{created}");
    let server = program_in(folder.path()).start().await;
    let status = async |token: &str| {
        let bearer = format!("Bearer {token}");
        http_client::get(&format!("{}/api/v1/apps", server.url()), &[("authorization", &bearer)]).await.unwrap().status
    };
    assert_eq!((status(&token).await.as_u16(), status("dw_wrong").await.as_u16()), (200, 401));
    let list = run(&folder, &["token", "list"]).await;
    assert!(list.contains("good") && !list.contains(&token), "{list}");
    run(&folder, &["token", "create", "short", "--expires", "7d"]).await;
    let list = run(&folder, &["token", "list"]).await;
    assert!(list.lines().any(|line| line.starts_with("ends soon") && line.ends_with("short")), "{list}");
    let list: serde_json::Value = serde_json::from_str(&run(&folder, &["--json", "token", "list"]).await).unwrap();
    assert_eq!((&list[0]["state"], &list[1]["state"]), (&"good".into(), &"ends soon".into()), "{list}");
    let twice = program_in(folder.path()).args(["token", "create", "ci"]).run().await;
    assert_eq!(twice.code(), 1);
    assert_eq!(run(&folder, &["token", "revoke", "ci"]).await, "ci is revoked\n");
    assert_eq!(status(&token).await, 401);
}

#[tokio::test]
async fn a_backup_of_a_running_server_is_restored_elsewhere() {
    let folder = folder_with(FILE);
    let _server = firing(&folder).await;
    let said = run(&folder, &["backup", "all.backup"]).await;
    assert!(said.contains("written to all.backup"), "{said}");

    let elsewhere = folder_with(FILE);
    let backup = folder.path().join("all.backup").display().to_string();
    let said = run(&elsewhere, &["restore", &backup]).await;
    assert!(said.contains("restored into sqlite://dynowatch.db"), "{said}");
    let twice = program_in(elsewhere.path()).args(["restore", &backup]).run().await;
    assert_eq!(twice.code(), 1);
    assert!(twice.stderr.contains("empty store only"), "{}", twice.stderr);

    let other = program_in(elsewhere.path()).start().await;
    let alerts = run(&elsewhere, &["alerts", "list"]).await;
    assert!(alerts.contains("h12/shop") && alerts.contains("4 events"), "{alerts}");
    drop(other);
}
