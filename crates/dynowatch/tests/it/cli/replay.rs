//! `replay` over small made-up logs in every format.

use std::io::Write as _;

use dynowatch_testkit::process::Finished;

use super::{FILE, folder_with, program};

/// Five timeouts, a healthy request, an app line that quotes the code, and one line that is none.
fn lines() -> Vec<(u32, &'static str, &'static str, String)> {
    let request = |rest: &str| {
        format!(
            "{rest} method=GET path=\"/cart?token=0123456789abcdef0123\" host=shop.example.com dyno=web.1 connect=1ms service=30000ms status=503 bytes=0"
        )
    };
    let mut lines: Vec<_> = (0..5)
        .map(|minute| (minute, "heroku", "router", request("at=error code=H12 desc=\"Request timeout\"")))
        .collect();
    lines.push((
        4,
        "heroku",
        "router",
        "at=info method=GET path=\"/\" host=shop.example.com dyno=web.1 connect=1ms service=8ms status=200 bytes=512"
            .into(),
    ));
    lines.push((4, "app", "web.1", "we saw code=H12 again \u{1b}[2J\u{9b}31m".into()));
    lines
}

fn heroku_logs() -> String {
    let mut text = String::from("$ heroku logs --app shop\n");
    for (minute, source, process, line) in lines() {
        text.push_str(&format!("2026-05-07T08:0{minute}:12.000000+00:00 {source}[{process}]: {line}\n"));
    }
    text
}

/// The same as it is shown on a terminal.
fn painted_logs() -> String {
    let mut text = String::from("$ heroku logs --app shop\r\n");
    for (minute, source, process, line) in lines() {
        let head = format!("2026-05-07T08:0{minute}:12.000000+00:00 {source}[{process}]:");
        let line = match process {
            "router" => line
                .replace("at=error", "\u{1b}[2mat=\u{1b}[22m\u{1b}[31merror\u{1b}[39m")
                .replace("status=503", "\u{1b}[2mstatus=\u{1b}[22m\u{1b}[31m503\u{1b}[39m"),
            _ => line,
        };
        text.push_str(&format!("\u{1b}[1m\u{1b}[32m{head}\u{1b}[39m\u{1b}[22m {line}\r\n"));
    }
    text
}

fn syslog() -> String {
    let line = |(minute, source, process, line): (u32, &str, &str, String)| {
        format!("<158>1 2026-05-07T08:0{minute}:12.000000+00:00 host {source} {process} - {line}\n")
    };
    lines().into_iter().map(line).collect()
}

fn logplex() -> String {
    syslog().split_inclusive('\n').map(|message| format!("{} {message}", message.len())).collect()
}

fn packed(text: &str) -> Vec<u8> {
    let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    to.write_all(text.as_bytes()).unwrap();
    to.finish().unwrap()
}

async fn replay(input: &[u8], more: &[&str]) -> Finished {
    let folder = folder_with(FILE);
    program().folder(folder.path()).args(["replay", "-", "--app", "shop"]).args(more).run_with_input(input).await
}

/// Without the line that says how long it took.
fn timeless(text: &str) -> String {
    text.lines().filter(|line| !line.contains("lines/s")).map(|line| format!("{line}\n")).collect()
}

#[tokio::test]
async fn heroku_logs_for_people() {
    let text = replay(heroku_logs().as_bytes(), &[]).await.expect_success();
    insta::assert_snapshot!(timeless(&text), @r#"
    2026-05-07 08:03:12 UTC  h12/shop  FIRING
        4 events, the limit is > 3 in 5m
        to file
        no release in the last 30 min
        first > 2026-05-07T08:00:12Z heroku[router]: at=error code=H12 desc="Request timeout" method=GET path="/cart?token=[masked]" host=shop.example.com dyno=web.1 connect=1ms service=30000ms status=503 bytes=0
        last  > 2026-05-07T08:03:12Z heroku[router]: at=error code=H12 desc="Request timeout" method=GET path="/cart?token=[masked]" host=shop.example.com dyno=web.1 connect=1ms service=30000ms status=503 bytes=0
    2026-05-07 08:04:12 UTC  h12/shop  further matches are held back
    2026-05-07 08:11:12 UTC  h12/shop  resolved
        5 events, the limit is > 3 in 5m

    7 lines of shop (heroku-logs), 2026-05-07 08:00:12 UTC to 2026-05-07 08:04:12 UTC
      1  messages
      1    firing
      0    still firing
      0  fired inside a cool-down
      1  resolved
      6  kind router
      1  kind app
      5  code H12
      1  malformed not_syslog
    "#);
}

#[tokio::test]
async fn with_context_for_those_who_ask() {
    let text = replay(heroku_logs().as_bytes(), &["--verbose"]).await.expect_success();
    let shown: Vec<&str> =
        text.lines().filter(|line| line.starts_with("    > ") || line.starts_with("      ")).collect();
    assert_eq!(shown.len(), 4, "{text}");
}

#[tokio::test]
async fn every_format_gives_the_same() {
    let want = replay(syslog().as_bytes(), &[]).await.expect_success();
    let want: Vec<&str> = want.lines().take_while(|line| !line.is_empty()).collect();
    assert!(want.len() > 4, "{want:?}");
    let cut = heroku_logs().find("08:03").unwrap();
    let (start, end) = heroku_logs().split_at(cut).pipe(|(a, b)| (packed(a), packed(b)));
    let inputs = [
        ("logplex", logplex().into_bytes()),
        ("heroku-logs", heroku_logs().into_bytes()),
        ("logplex", packed(&logplex())),
        ("heroku-logs", [start, end].concat()),
        ("heroku-logs", painted_logs().into_bytes()),
    ];
    let folder = folder_with(FILE);
    for (format, input) in inputs {
        let text = replay(&input, &[]).await.expect_success();
        // The same from a file, whatever its name.
        std::fs::write(folder.path().join("captured"), &input).unwrap();
        let named = program().folder(folder.path()).args(["replay", "captured", "--app", "shop"]).run().await;
        assert_eq!(timeless(&named.expect_success()), timeless(&text), "{format}");
        assert!(text.contains(&format!("({format})")), "{text}");
        let got: Vec<&str> = text.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(got, want, "{format}");
    }
}

#[tokio::test]
async fn as_json_one_object_per_line() {
    let text = replay(heroku_logs().as_bytes(), &["--json"]).await.expect_success();
    let values: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let what: Vec<&str> = values.iter().filter_map(|value| value["what"].as_str()).collect();
    assert_eq!(what, ["firing", "cooldown", "resolved"]);
    let summary = &values.last().unwrap()["summary"];
    assert_eq!(summary["lines"], 7);
    assert_eq!(summary["codes"]["H12"], 5);
    assert_eq!(summary["malformed"]["not_syslog"], 1);
    assert_eq!(summary["happenings"]["firing"]["h12"], 1);
    assert_eq!(values[0]["at"], "2026-05-07T08:03:12Z");
}

#[tokio::test]
async fn no_line_moves_a_terminal_or_gives_away_a_secret() {
    let rule = "[[rules]]\nname = \"quoted\"\nmatch = { text = \"code=H12\" }\ncount = \">= 1\"\nwindow = \"5m\"\n";
    let folder = folder_with(rule);
    for more in [&[][..], &["--verbose"], &["--json"]] {
        let launch = program().folder(folder.path()).args(["replay", "-"]).args(more);
        let text = launch.run_with_input(heroku_logs().as_bytes()).await.expect_success();
        assert!(text.contains("code=H12 again"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
        assert!(!text.contains("0123456789abcdef0123"), "{text}");
    }
}

#[tokio::test]
async fn an_empty_file_and_rubbish_are_summed_up_too() {
    let text = replay(b"", &[]).await.expect_success();
    insta::assert_snapshot!(timeless(&text), @r#"
    0 lines of shop (heroku-logs)
      0  messages
      0    firing
      0    still firing
      0  fired inside a cool-down
      0  resolved
    "#);
    let text = replay(b"what\nis\nthis\n", &[]).await.expect_success();
    insta::assert_snapshot!(timeless(&text), @r#"
    0 lines of shop (heroku-logs)
      0  messages
      0    firing
      0    still firing
      0  fired inside a cool-down
      0  resolved
      3  malformed not_syslog
    Nothing in it is a log that is read here: what `heroku logs` prints without colours, Logplex bodies, lines of syslog; each also as .gz
    "#);
}

#[tokio::test]
async fn behind_a_broken_count_nothing_is_guessed() {
    let body = logplex();
    let text = replay(format!("{body}x{body}").as_bytes(), &[]).await.expect_success();
    assert!(text.contains(&format!("From byte {} on the file is unreadable", body.len())), "{text}");
}

trait Pipe: Sized {
    /// `self` through a function, in the order of reading.
    fn pipe<T>(self, f: impl FnOnce(Self) -> T) -> T {
        f(self)
    }
}

impl<T> Pipe for T {}
