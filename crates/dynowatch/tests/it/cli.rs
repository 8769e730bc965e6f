//! The command line, by the real binary: what it prints, how it ends, what it does beside a running server.

pub(crate) mod checks;
mod drain;
mod heroku;
mod operate;
mod replay;
mod serve;

use std::path::Path;

use dynowatch_testkit::http_client;
use dynowatch_testkit::process::{Dynowatch, Launch};
use http::StatusCode;

/// The secret of the documented examples.
const SECRET: &str = "drain-secret";
/// The Logplex token of the documented examples.
const TOKEN: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
/// What goes with it: the runbook's step B gives this value.
const DRAIN_TOKEN: &str = "d7969b5f4a6f1b008e61a562cac0b6ef4d0a1309b7c1656a06969ef2871e5db1";

/// A rule that fires at once, an app, and a receiver that writes a file.
const FILE: &str = r#"
[[apps]]
name = "shop"
drain_tokens = ["d.01234567-89ab-4cde-8f01-23456789abcd"]

[[receivers]]
name = "file"
log = { path = "alerts.log" }

[rule_pack]
enabled = false

[[rules]]
name = "h12"
match = { code = "H12" }
count = "> 3"
window = "5m"
receivers = ["file"]
"#;

/// The line of the runbook's smoke test.
const H12: &str = r#"2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc="Request timeout""#;

/// The program, without arguments and with nothing in its environment.
fn program() -> Launch {
    Launch::new(env!("CARGO_BIN_EXE_dynowatch"))
}

/// The program in a folder that holds [`FILE`], with the secret of the examples.
pub(crate) fn program_in(folder: &Path) -> Launch {
    program().folder(folder).env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
}

/// A new folder with a `dynowatch.toml`.
pub(crate) fn folder_with(text: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("dynowatch.toml"), text).unwrap();
    folder
}

/// Posts a body as the drain of the examples does.
async fn post(server: &Dynowatch, body: &str) -> StatusCode {
    let url = format!("{}/drain?drain_token={DRAIN_TOKEN}", server.url());
    let headers = [("logplex-drain-token", TOKEN), ("content-type", "application/logplex-1")];
    http_client::post(&url, &headers, body.to_owned()).await.unwrap().status
}

#[test]
fn the_manual_is_what_the_help_texts_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/cli.md");
    let manual = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        manual == dynowatch::cli::reference(),
        "docs/cli.md is out of date: run `cargo run -- reference > docs/cli.md`"
    );
}

#[tokio::test]
async fn exit_codes() {
    let folder = folder_with(FILE);
    let broken = folder_with("[server]\nlissten = \"x\"\n");
    let cases: &[(&Path, &[&str], i32, &str)] = &[
        (folder.path(), &["--version"], 0, ""),
        (folder.path(), &["no-such-command"], 2, "unrecognized subcommand"),
        (folder.path(), &["replay"], 2, "required arguments"),
        (folder.path(), &["replay", "no-such-file.log"], 1, "no-such-file.log cannot be read"),
        (folder.path(), &["--config", "none.toml", "rules", "list"], 2, "none.toml: cannot be opened"),
        (folder.path(), &["rules", "show", "h12x"], 1, "did you mean \"h12\"?"),
        (folder.path(), &["alerts", "list"], 2, "there is no store at dynowatch.db"),
        (folder.path(), &["receiver", "test", "nobody"], 1, "known are: file"),
        (folder.path(), &["rules", "disable", "h12", "--for", "soon"], 2, "is not a duration"),
        (folder.path(), &["drain", "url", "--app", "shop"], 2, "--public-url is missing"),
        (folder.path(), &["drain", "url", "--app", "a b", "--public-url", "https://x.example"], 2, "not a name"),
        (
            folder.path(),
            &["drain", "url", "--app", "a", "--public-url", "https://u:pass@x.example"],
            2,
            "not a base URL",
        ),
        (broken.path(), &["rules", "list"], 2, "dynowatch.toml:2: server.lissten"),
        (broken.path(), &["serve"], 2, "dynowatch.toml:2: server.lissten"),
    ];
    for (folder, arguments, code, said) in cases {
        let done = program_in(folder).args(*arguments).run().await;
        assert_eq!(done.code(), *code, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(said), "{arguments:?}: {}", done.stderr);
        assert!(!done.stderr.contains("panicked") && !done.stderr.contains("pass@"), "{arguments:?}: {}", done.stderr);
    }
}
