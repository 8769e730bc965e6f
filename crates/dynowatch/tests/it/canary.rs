//! One word stands in every secret that the program is given, and in everything that a log line can carry. It must come out
//! nowhere: not on a page, in the API, in `/metrics`, in a message, in the log, nor on a terminal.

use dynowatch_testkit::http_client;
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::process::{Dynowatch, Launch};
use dynowatch_testkit::slack::FakeSlack;
use dynowatch_testkit::webhook_sink::WebhookSink;
use tempfile::TempDir;

use crate::storm::drain_token;

/// No shape of a secret: only who knows the values can know it.
const CANARY: &str = "zebra-crossing";
const SLACK: &str = "zebra-crossing-slack-1";
const DRAIN: &str = "zebra-crossing-drain-2";
const DRAIN_OLD: &str = "zebra-crossing-drain-3";
const API: &str = "zebra-crossing-api-4";
const API_SECOND: &str = "zebra-crossing-api-5";
const HEROKU: &str = "zebra-crossing-heroku-6";
const HOOK_SECRET: &str = "zebra-crossing-hook-7";
const HOOK_PASSWORD: &str = "zebra-crossing-url-8";
const DATABASE: &str = "zebra-crossing-database-9";
const REDIS: &str = "zebra-crossing-redis-10";

const LOGPLEX: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";

const FILE: &str = r#"
[[apps]]
name = "shop"
drain_tokens = ["d.01234567-89ab-4cde-8f01-23456789abcd"]

[[receivers]]
name = "slack"
slack = { channel = "C0123456789" }

[[receivers]]
name = "hook"
webhook = { url_env = "HOOK_URL", secret_env = "HOOK_SECRET" }

[[receivers]]
name = "file"
log = { path = "alerts.log" }

[[receivers]]
name = "printed"
log = {}

[defaults]
receivers = ["slack", "hook", "file", "printed"]

[[rules]]
name = "kaboom"
match = { source = "app", text = "kaboom" }
count = ">= 1"
window = "5m"
group_by = "dyno"

[[rules]]
name = "by-path"
match = { status = "5xx" }
count = ">= 1"
window = "5m"
group_by = "path_prefix"
"#;

struct Bed {
    folder: TempDir,
    database_url: String,
    slack: FakeSlack,
    hook: WebhookSink,
}

impl Bed {
    /// The program with every secret there is.
    fn launch(&self) -> Launch {
        let hook = self.hook.url().replace("http://", &format!("http://hook:{HOOK_PASSWORD}@"));
        Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
            .folder(self.folder.path())
            .env("RUST_LOG", "debug")
            .env("SLACK_API_URL", self.slack.url())
            .env("SLACK_BOT_TOKEN", SLACK)
            .env("HEROKU_LOG_DRAIN_HMAC_SECRET", format!("{DRAIN},{DRAIN_OLD}"))
            .env("DYNOWATCH_API_TOKEN", format!("{API},{API_SECOND}"))
            .env("HEROKU_API_KEY", HEROKU)
            .env("HEROKU_API_URL", "http://127.0.0.1:1")
            .env("HOOK_SECRET", HOOK_SECRET)
            .env("HOOK_URL", hook)
            .env("DATABASE_URL", &self.database_url)
            .env("REDIS_URL", format!("redis://:{REDIS}@127.0.0.1:1"))
    }

    async fn run(&self, arguments: &[&str]) -> (String, String) {
        let done = self.launch().args(arguments).run().await;
        (format!("dynowatch {}", arguments.join(" ")), format!("{}\n{}", done.stdout, done.stderr))
    }
}

fn all_secrets() -> String {
    [SLACK, DRAIN, DRAIN_OLD, API, API_SECOND, HEROKU, HOOK_SECRET, HOOK_PASSWORD, DATABASE, REDIS].join(" ")
}

/// Lines of an app whose people print what they should not.
fn lines() -> String {
    let secrets = all_secrets();
    let mut lines = String::new();
    let mut line = |text: String| lines.push_str(&format!("2026-05-07T08:06:12Z {text}\n"));
    line(format!("app[api]: Release v7 created by user {HEROKU}"));
    line(format!("app[api]: Deploy {DRAIN} by user {HEROKU}"));
    line(format!("app[web.1]: before {secrets}"));
    line(format!("app[web.1]: kaboom {secrets}"));
    line(format!("app[{HEROKU}]: kaboom"));
    for secret in secrets.split(' ') {
        line(format!(
            "heroku[router]: at=error code=H12 desc=\"Request timeout\" method=GET path=\"/{secret}/{secret}\" host={secret}.example.com request_id=0af3 fwd=\"203.0.113.9\" dyno={secret} connect=1ms service=30000ms status=503 bytes=0 protocol=https"
        ));
        line(format!("heroku[web.1]: source=web.1 dyno=heroku.1.2 sample#{secret}=1"));
    }
    lines
}

async fn pages(server: &Dynowatch) -> Vec<(String, String)> {
    let bearer = format!("Bearer {API}");
    let mut seen = Vec::new();
    let mut ids = Vec::new();
    for path in ["alerts?limit=200", "deliveries?limit=200"] {
        let url = format!("{}/api/v1/{path}", server.url());
        let answer = http_client::get(&url, &[("authorization", &bearer)]).await.unwrap();
        let items = answer.json()["items"].as_array().unwrap().clone();
        assert!(items.len() >= 10, "{path}: {}", items.len());
        let kind = path.split('?').next().unwrap();
        ids.extend(items.iter().filter_map(|item| Some(format!("{kind}/{}", item["id"].as_str()?))));
        seen.push((path.to_owned(), answer.text()));
    }
    let api = ["apps", "apps/shop", "rules", "rules/kaboom", "receivers", "drain", "openapi.json", "apps/nobody"];
    let wrong = ["alerts/zebra", "deliveries?state=zebra"];
    let api = api.into_iter().chain(wrong).map(str::to_owned).chain(ids.iter().cloned());
    let rest = ["/", "/deliveries", "/metrics", "/healthz", "/readyz", "/nowhere"].map(str::to_owned);
    let alerts = ids.iter().filter(|id| id.starts_with("alerts")).map(|id| format!("/{id}"));
    for path in api.map(|path| format!("/api/v1/{path}")).chain(rest).chain(alerts) {
        let url = format!("{}{path}", server.url());
        seen.push((path, http_client::get(&url, &[("authorization", &bearer)]).await.unwrap().text()));
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_comes_out_anywhere() {
    let database = TestDatabase::create().await;
    let joint = if database.url().contains('?') { '&' } else { '?' };
    let bed = Bed {
        folder: tempfile::tempdir().unwrap(),
        // The test server asks for no password, and takes any.
        database_url: format!("{}{joint}password={DATABASE}", database.url()),
        slack: FakeSlack::start_with_token(SLACK).await,
        hook: WebhookSink::start_with_secret(HOOK_SECRET).await,
    };
    std::fs::write(bed.folder.path().join("dynowatch.toml"), FILE).unwrap();
    std::fs::write(bed.folder.path().join("app.log"), lines()).unwrap();
    let mut server = bed.launch().start().await;

    let url = format!("{}/drain?drain_token={}", server.url(), drain_token(DRAIN, LOGPLEX));
    let headers = [("logplex-drain-token", LOGPLEX), ("content-type", "application/logplex-1")];
    assert_eq!(http_client::post(&url, &headers, lines()).await.unwrap().status.as_u16(), 204);
    // Refused: with the secret itself where its HMAC belongs, and with one as a token.
    let wrong = format!("{}/drain?drain_token={DRAIN}", server.url());
    assert_eq!(
        http_client::post(&wrong, &[("logplex-drain-token", HEROKU)], lines()).await.unwrap().status.as_u16(),
        401
    );
    bed.slack.wait_for(10).await;
    bed.hook.wait_for(10).await;

    let mut seen = pages(&server).await;
    let commands: &[&[&str]] = &[
        &["config", "check"],
        &["apps", "list"],
        &["alerts", "list"],
        &["deliveries"],
        &["rules", "list"],
        &["rules", "show", "kaboom"],
        &["token", "list"],
        &["token", "create", "ci"],
        &["receiver", "test", "hook"],
        &["receiver", "test", "slack"],
        &["replay", "app.log", "--verbose"],
        &["drain", "url", "--app", "shop", "--public-url", "https://watch.example.com"],
        &["drain", "token", LOGPLEX],
        &["config", "reload"],
    ];
    for command in commands {
        seen.push(bed.run(command).await);
        seen.push(bed.run(&[&["--json"], *command].concat()).await);
    }
    server.sigterm().await;
    seen.push(("the server's log".to_owned(), server.stderr()));
    seen.push(("the server's output".to_owned(), server.stdout()));
    let file = std::fs::read_to_string(bed.folder.path().join("alerts.log")).unwrap();
    seen.push(("the file's messages".to_owned(), file));
    for message in bed.slack.messages() {
        seen.push(("a message to Slack".to_owned(), String::from_utf8_lossy(&message.request.body).into_owned()));
    }
    for message in bed.hook.messages() {
        seen.push(("a message to the webhook".to_owned(), message.body.to_string()));
    }
    let masked = seen.iter().filter(|(_, text)| text.contains("[masked]")).count();
    assert!(masked > 30, "what was to be masked was shown in {masked} places of {}", seen.len());
    for (place, text) in &seen {
        let at = text.find(CANARY).map(|at| text.get(at.saturating_sub(200)..(at + 100).min(text.len())));
        assert_eq!(at, None, "{place} shows a secret");
    }
}
