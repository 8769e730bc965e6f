//! `drain url|token|verify`.

use super::{DRAIN_TOKEN, FILE, SECRET, TOKEN, folder_with, program, program_in};

#[tokio::test]
async fn credentials_are_those_of_the_runbook() {
    let folder = folder_with(FILE);
    let token = program_in(folder.path()).args(["drain", "token", TOKEN]).run().await.expect_success();
    assert_eq!(token, format!("{DRAIN_TOKEN}\n"));
    let token = program_in(folder.path()).args(["--json", "drain", "token", TOKEN]).run().await.expect_success();
    assert_eq!(token, format!("{{\"drain_token\":\"{DRAIN_TOKEN}\",\"logplex_token\":\"{TOKEN}\"}}\n"));

    let arguments = ["drain", "url", "--app", "shop", "--public-url", "https://watch.example.com/"];
    let url = program_in(folder.path()).args(arguments).run().await.expect_success();
    insta::assert_snapshot!(url, @r#"
    https://drain:bb8ce85ae3e260990e4fb2924b7fdc4ea5c54f1477aa46e0d96316eaa506ca46@watch.example.com/drain/shop

    Add it with
      heroku drains:add 'https://drain:bb8ce85ae3e260990e4fb2924b7fdc4ea5c54f1477aa46e0d96316eaa506ca46@watch.example.com/drain/shop' --app shop
    "#);
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let done = program().args(["drain", "token", TOKEN]).run().await;
    assert_eq!(done.code(), 2);
    assert!(done.stderr.contains("HEROKU_LOG_DRAIN_HMAC_SECRET is not set"), "{}", done.stderr);
}

#[tokio::test]
async fn verify_tells_each_step() {
    let folder = folder_with(FILE);
    let mut server = program_in(folder.path()).start().await;
    let verify = |secret: &str, url: &str, more: &[&str]| {
        let launch = program().folder(folder.path()).env("HEROKU_LOG_DRAIN_HMAC_SECRET", secret);
        launch.args(["drain", "verify", "--url", url]).args(more).run()
    };
    for more in [&[][..], &["--app", "shop"], &["--drain-token", TOKEN]] {
        let done = verify(SECRET, &server.url(), more).await;
        let steps: Vec<&str> = done.stdout.lines().skip(1).filter_map(|line| line.split_whitespace().nth(1)).collect();
        assert_eq!((done.code(), steps), (0, vec!["dns", "connect", "post", "healthz", "readyz"]), "{}", done.stdout);
        assert!(done.stdout.contains("204 accepted"), "{}", done.stdout);
    }
    let refused = verify("another-secret", &server.url(), &[]).await;
    assert_eq!(refused.code(), 1);
    assert!(refused.stdout.contains("FAIL post     401 refused"), "{}", refused.stdout);
    // What the instance itself has to say of it.
    let ready = "  ok   readyz   200 ready, but log deliveries refused with 401, and lost: 1; check the drain's URL\n";
    assert!(
        refused.stdout.contains("  ok   healthz  200 ok\n") && refused.stdout.ends_with(ready),
        "{}",
        refused.stdout
    );
    // The test line is counted, and no rule took it.
    let alerts = program_in(folder.path()).args(["alerts", "list"]).run().await.expect_success();
    assert_eq!(alerts, "no alerts\n");

    let url = server.url();
    server.kill9().await;
    let away = verify(SECRET, &url, &[]).await;
    assert_eq!(away.code(), 1);
    assert!(away.stdout.contains("FAIL connect") && !away.stdout.contains("post"), "{}", away.stdout);
}
