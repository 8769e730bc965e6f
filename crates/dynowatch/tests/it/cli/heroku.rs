//! The Heroku account by the command line: beside a running server, and without a key.

use dynowatch_testkit::heroku::{FakeHeroku, KEY};
use dynowatch_testkit::process::{Finished, Launch};
use serde_json::Value;

use super::{FILE, folder_with, program_in};

fn with_key(folder: &tempfile::TempDir, fake: &FakeHeroku) -> Launch {
    program_in(folder.path())
        .env("HEROKU_API_KEY", KEY)
        .env("HEROKU_API_URL", fake.url())
        .env("DYNOWATCH_PUBLIC_URL", "https://watch.example.com")
}

/// What is printed holds neither the key nor the password of a drain.
fn harmless(fake: &FakeHeroku, done: &Finished) {
    let urls = fake.account(|account| {
        account.apps.iter().flat_map(|app| app.drains.clone()).map(|drain| drain.url).collect::<Vec<_>>()
    });
    let passwords =
        urls.iter().filter_map(|url| url.split_once("drain:")?.1.split_once('@').map(|(password, _)| password));
    for secret in passwords.chain([KEY]) {
        assert!(!done.stdout.contains(secret) && !done.stderr.contains(secret), "{} {}", done.stdout, done.stderr);
    }
}

#[tokio::test]
async fn the_account_by_command() {
    let folder = folder_with(FILE);
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("shop");
        account.create("on-fir");
        account.app("on-fir").generation = Some("fir");
        account.add_drain("shop", "https://logs.example/canary");
    });
    let server = program_in(folder.path()).start().await;
    let run = async |arguments: &[&str]| {
        let done = with_key(&folder, &fake).args(arguments).run().await;
        harmless(&fake, &done);
        done
    };
    let synced: Value = serde_json::from_str(&run(&["--json", "apps", "sync"]).await.expect_success()).unwrap();
    assert_eq!((&synced["apps"], &synced["problems"]), (&2.into(), &serde_json::json!([])));
    let added = run(&["drain", "add", "--app", "shop"]).await.expect_success();
    assert!(added.contains("here") && added.contains("to logs.example"), "{added}");
    assert_eq!(run(&["drain", "add", "--app", "shop"]).await.code(), 1);
    let rotated: Value =
        serde_json::from_str(&run(&["--json", "drain", "rotate", "--app", "shop"]).await.expect_success()).unwrap();
    assert_eq!(
        (&rotated["rotation"]["state"], rotated["drains"].as_array().map(Vec::len)),
        (&"proving".into(), Some(3))
    );
    let abandoned = run(&["drain", "rotate", "--app", "shop", "--abandon"]).await.expect_success();
    assert!(abandoned.contains("the old drain stayed"), "{abandoned}");
    let removed = run(&["drain", "remove", "--app", "shop"]).await.expect_success();
    assert!(!removed.contains("here"), "{removed}");
    let metrics = run(&["apps", "runtime-metrics", "--app", "shop"]).await.expect_success();
    assert!(metrics.contains("is on"), "{metrics}");
    let fir = run(&["drain", "list", "--app", "on-fir"]).await;
    assert!(fir.code() == 1 && fir.stderr.contains("no Logplex drains"), "{}", fir.stderr);
    let nobody = run(&["drain", "list", "--app", "nobody"]).await;
    assert!(nobody.code() == 1 && nobody.stderr.contains("no app of the Heroku account"), "{}", nobody.stderr);
    fake.demand_two_factor("123456");
    let refused = run(&["drain", "list", "--app", "shop"]).await;
    assert!(refused.code() == 1 && refused.stderr.contains("--two-factor-code"), "{}", refused.stderr);
    let listed = run(&["drain", "list", "--app", "shop", "--two-factor-code", "123456"]).await.expect_success();
    assert!(listed.contains("logs.example"), "{listed}");
    drop(server);
}

#[tokio::test]
async fn without_a_key_it_says_what_is_missing() {
    let folder = folder_with(FILE);
    for arguments in [&["apps", "sync"][..], &["drain", "list", "--app", "shop"], &["drain", "rotate", "--app", "shop"]]
    {
        let done = program_in(folder.path()).args(arguments).run().await;
        assert_eq!(done.code(), 2, "{arguments:?}");
        assert!(done.stderr.contains("HEROKU_API_KEY is not set"), "{arguments:?}: {}", done.stderr);
    }
}

/// The loop of a real server does the same by itself.
#[tokio::test]
async fn a_server_keeps_in_step() {
    let folder = folder_with(FILE);
    let fake = FakeHeroku::start().await;
    fake.account(|account| _ = account.create("blog"));
    let server = with_key(&folder, &fake).env("RUST_LOG", "debug").start().await;
    // Apps, add-ons, process types, dynos, releases, drains, features.
    fake.wait_for_requests(7).await;
    drop(server);
    let apps = program_in(folder.path()).args(["apps", "list"]).run().await.expect_success();
    assert!(apps.contains("blog"), "{apps}");
}
