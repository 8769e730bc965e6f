//! A storm of which everything is known: what is posted to real processes, and what must be told of it.
//!
//! Every batch holds two requests that time out and one memory error of a dyno that no other batch speaks of. So the
//! number of H12 lines that count is known to one, and each batch owes one message of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use dynowatch_testkit::http_client;
use dynowatch_testkit::process::Launch;
use dynowatch_testkit::slack::{FakeSlack, SlackMessage, TOKEN};
use dynowatch_testkit::webhook_sink;

const SECRET: &str = "a-secret-of-these-tests";
const TOKEN_OF_DRAIN: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
/// A claim lasts 20 s; only a failing test waits longer.
const TOLD_WITHIN: Duration = Duration::from_secs(45);
const H12_PER_BATCH: usize = 2;

/// Rules under which a storm of that many batches gives one message per batch and one more, whatever happens: `all`
/// fires with the very last H12 and not before, `too-many` if one counts twice.
pub(crate) fn config(batches: usize) -> String {
    let all = batches * H12_PER_BATCH;
    format!(
        r#"
[rule_pack]
enabled = false

[[apps]]
name = "shop"
drain_tokens = ["{TOKEN_OF_DRAIN}"]

[[receivers]]
name = "operator"
slack = {{ channel = "D0AJ7K184TV" }}

[defaults]
receivers = ["operator"]
cooldown = "1h"
resolve_after = "1h"

[[rules]]
name = "all"
match = {{ code = "H12" }}
count = ">= {all}"
window = "1h"

[[rules]]
name = "too-many"
match = {{ code = "H12" }}
count = "> {all}"
window = "1h"

[[rules]]
name = "each"
match = {{ code = "R14" }}
group_by = ["dyno"]
count = ">= 1"
window = "1h"
"#
    )
}

/// The program in that folder, with that configuration, told to that Slack.
pub(crate) fn launch(folder: &Path, config: &str, slack: &FakeSlack) -> Launch {
    let file = folder.join("dynowatch.toml");
    std::fs::write(&file, config).unwrap();
    Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
        .arg("serve")
        .arg("--config")
        .arg(file)
        .folder(folder)
        .env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
        .env("SLACK_BOT_TOKEN", TOKEN)
        .env("SLACK_API_URL", slack.url())
        .env("RUST_LOG", "warn")
}

/// `hex(HMAC-SHA256(secret, token))`, as the runbook computes it.
pub(crate) fn drain_token(secret: &str, logplex_token: &str) -> String {
    webhook_sink::signature(secret, logplex_token.as_bytes()).replace("sha256=", "")
}

/// Batch number `n`, stamped months ago: what counts does not depend on when it comes.
pub(crate) fn batch(n: usize) -> String {
    let h12 = "<158>1 2026-05-07T08:06:12.250000+00:00 host heroku router - at=error code=H12 desc=\"Request timeout\" method=GET path=\"/\"\n";
    let r14 =
        format!("<45>1 2026-05-07T08:06:12.250000+00:00 host heroku worker.{n} - Error R14 (Memory quota exceeded)\n");
    [h12, h12, &r14].map(|message| format!("{} {message}", message.len())).concat()
}

/// Posts a batch as Logplex does: again, with the same Frame-Id, until somebody says 204. Logplex gives up after three
/// times; this one does not, so that what was answered is what was sent.
pub(crate) async fn deliver(url: &str, n: usize) {
    let url = format!("{url}/drain?drain_token={}", drain_token(SECRET, TOKEN_OF_DRAIN));
    let frame_id = format!("{n:032x}");
    let headers = [
        ("content-type", "application/logplex-1"),
        ("logplex-msg-count", "3"),
        ("logplex-drain-token", TOKEN_OF_DRAIN),
        ("logplex-frame-id", &frame_id),
    ];
    let mut pauses = tokio::time::interval(Duration::from_millis(10));
    loop {
        pauses.tick().await;
        match http_client::post(&url, &headers, batch(n)).await {
            Ok(answer) if answer.status == 204 => return,
            // Nobody there, gone half-way, or busy: all of that comes again.
            Err(_) => {}
            Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
        }
    }
}

/// The alert a message is about: its title without the state.
fn about(message: &SlackMessage) -> String {
    message.text.lines().next().unwrap_or_default().replace("[firing] ", "")
}

/// Every alert of a storm that was told so far.
pub(crate) fn told(messages: &[SlackMessage]) -> BTreeSet<String> {
    messages.iter().map(about).collect()
}

/// What a storm of that many batches must tell.
pub(crate) fn owed(batches: usize) -> BTreeSet<String> {
    let each = (0..batches).map(|n| format!("each on shop (worker.{n})"));
    each.chain(["all on shop".to_owned()]).collect()
}

/// Waits until everything owed was told. What a dead process had under way may be taken over only after its claim ends.
pub(crate) async fn all_told(slack: &FakeSlack, batches: usize) {
    let owed = owed(batches);
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    for _ in 0..TOLD_WITHIN.as_millis() / looks.period().as_millis() {
        looks.tick().await;
        if told(&slack.messages()).is_superset(&owed) {
            return;
        }
    }
    let told = told(&slack.messages());
    panic!("after {TOLD_WITHIN:?} nothing was told of {:?}", owed.difference(&told).collect::<Vec<_>>());
}

/// Nothing but what was owed was told, and what was told again said so and came under the same key (C24).
pub(crate) fn nothing_repeated(messages: &[SlackMessage], batches: usize) {
    assert_eq!(told(messages), owed(batches));
    let mut by_alert: BTreeMap<String, Vec<&SlackMessage>> = BTreeMap::new();
    for message in messages {
        by_alert.entry(about(message)).or_default().push(message);
    }
    for (alert, messages) in by_alert {
        let keys: BTreeSet<_> = messages.iter().map(|message| message.idempotency_key().unwrap()).collect();
        assert_eq!(keys.len(), 1, "{alert} was told as different messages");
        for again in messages.iter().skip(1) {
            assert!(
                again.visible_text().contains("Possible duplicate"),
                "{alert} was told again without a word: {}",
                again.text
            );
        }
    }
}
