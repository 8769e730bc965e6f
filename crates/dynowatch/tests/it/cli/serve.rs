//! `serve` and `demo`: start, reload, stop, refusal.

use std::time::Duration;

use dynowatch_testkit::http_client;
use dynowatch_testkit::process::Launch;
use tokio::time::Instant;

use super::{FILE, H12, folder_with, post, program, program_in};

#[tokio::test]
async fn sigterm_ends_it_within_ten_seconds_and_the_next_start_goes_on() {
    let folder = folder_with(FILE);
    let mut server = program_in(folder.path()).start().await;
    assert_eq!(post(&server, H12).await, 204);
    let begun = Instant::now();
    let status = server.sigterm().await;
    assert!(status.success() && begun.elapsed() < Duration::from_secs(10), "{status} {}", server.stderr());
    let said = server.stdout();
    assert!(said.contains("listens on http://") && said.contains("1 rule on, 1 app, 1 receiver"), "{said}");
    assert!(said.contains("drain     open"), "{said}");

    let server = program_in(folder.path()).arg("serve").start().await;
    for _ in 0..3 {
        assert_eq!(post(&server, H12).await, 204);
    }
    let alerts = program_in(folder.path()).args(["alerts", "list", "--state", "firing"]).run().await.expect_success();
    assert!(alerts.contains("h12/shop") && alerts.contains("4 events in 5m"), "{alerts}");
}

#[tokio::test]
async fn a_hung_request_holds_nothing_up() {
    let folder = folder_with(FILE);
    let mut server = program_in(folder.path()).start().await;
    // A delivery whose body never comes.
    let mut half = tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.unwrap();
    let head = format!(
        "POST /drain?drain_token={} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {}\r\nContent-Length: 100\r\n\r\n",
        super::DRAIN_TOKEN,
        super::TOKEN
    );
    tokio::io::AsyncWriteExt::write_all(&mut half, head.as_bytes()).await.unwrap();
    assert_eq!(post(&server, H12).await, 204);
    let begun = Instant::now();
    let status = server.sigterm().await;
    assert!(begun.elapsed() < Duration::from_millis(9_900), "{status} after {:?}", begun.elapsed());
}

#[tokio::test]
async fn a_reload_takes_a_good_file_and_leaves_a_broken_one() {
    let folder = folder_with(FILE);
    let file = folder.path().join("dynowatch.toml");
    let server = program_in(folder.path()).start().await;

    std::fs::write(&file, format!("{FILE}\ncounts = 3\n[server]\nlisten = 5\n")).unwrap();
    server.signal("HUP").await;
    server.wait_for_stderr("server.listen").await;
    let log = server.stderr();
    assert!(log.contains("rules[0].counts") && log.contains("the old one stays in force"), "{log}");

    let more = "[[rules]]\nname = \"mine\"\nmatch = { code = \"H13\" }\ncount = \"> 1\"\nwindow = \"1m\"\n[server]\nlisten = \"127.0.0.1:1\"\n";
    // Windows are not dropped by a reload: two before, two after.
    assert_eq!(post(&server, &format!("{H12}\n{H12}\n")).await, 204);
    std::fs::write(&file, format!("{FILE}{more}")).unwrap();
    server.signal("HUP").await;
    server.wait_for_stderr("1 rule added: mine").await;
    // PORT goes before the file, so the address did not change.
    assert!(!server.stderr().contains("after a restart"), "{}", server.stderr());
    assert_eq!(post(&server, &format!("{H12}\n{H12}\n")).await, 204);
    let alerts = program_in(folder.path()).args(["alerts", "list"]).run().await.expect_success();
    assert!(alerts.contains("4 events"), "{alerts}");

    std::fs::write(&file, format!("{FILE}[limits]\napps = 7\n")).unwrap();
    server.signal("HUP").await;
    server.wait_for_stderr("limits.apps (10000 to 7)").await;
    server.wait_for_stderr("1 rule removed: mine").await;
}

#[tokio::test]
async fn the_api_reloads_too() {
    let folder = folder_with(FILE);
    let server = program_in(folder.path()).env("DYNOWATCH_API_TOKEN", "dw_0123456789abcdef").start().await;
    let reload = |token: &'static str| {
        program_in(folder.path()).args(["config", "reload", "--url", &server.url(), "--token", token]).run()
    };
    assert_eq!(reload("dw_0123456789abcdef").await.expect_success(), "the configuration was read again\n");
    let wrong = reload("dw_wrong").await;
    assert_eq!(wrong.code(), 1);
    assert!(wrong.stderr.contains("does not know this token"), "{}", wrong.stderr);
    std::fs::write(folder.path().join("dynowatch.toml"), "[drain]\nenabled = 1\n").unwrap();
    let broken = reload("dw_0123456789abcdef").await;
    assert_eq!(broken.code(), 1);
    assert!(broken.stderr.contains("drain.enabled"), "{}", broken.stderr);
}

#[tokio::test]
async fn on_a_dyno_a_store_that_is_lost_every_day_is_refused() {
    let done = program().arg("serve").env("DYNO", "web.1").env("PORT", "0").run().await;
    assert_eq!(done.code(), 2);
    assert!(done.stderr.contains("heroku addons:create heroku-postgresql"), "{}", done.stderr);
}

#[tokio::test]
async fn a_second_server_on_one_file_is_refused() {
    let folder = folder_with(FILE);
    let _first = program_in(folder.path()).start().await;
    let second = program_in(folder.path()).env("PORT", "0").run().await;
    assert_eq!(second.code(), 1);
    assert!(second.stderr.contains("another dynowatch server"), "{}", second.stderr);
}

#[tokio::test]
async fn the_demo_alerts_by_itself_and_cleans_up() {
    let temp = tempfile::tempdir().unwrap();
    let launch: Launch = program().arg("demo").env("TMPDIR", temp.path());
    let mut demo = launch.start().await;
    demo.wait_for_stdout("[firing] h12 on shop-web").await;
    demo.wait_for_stdout("[firing] boot-failed on api-prod").await;
    let said = demo.stdout();
    let token = said.split("Bearer ").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    let bearer = format!("Bearer {token}");
    let apps = http_client::get(&format!("{}/api/v1/apps", demo.url()), &[("authorization", &bearer)]).await.unwrap();
    assert_eq!(apps.status, 200, "{}", apps.text());
    assert!(apps.text().contains("billing-worker"), "{}", apps.text());
    let status = demo.sigterm().await;
    assert!(status.success(), "{}", demo.stderr());
    assert_eq!(std::fs::read_dir(temp.path()).unwrap().count(), 0, "the demo leaves nothing behind");
}
