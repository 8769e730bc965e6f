//! What only a terminal is shown: the link that makes the first account. `script` (util-linux) gives the program a real
//! pseudo-terminal; that nothing secret is printed without one is in [`crate::sign_in`].

use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use dynowatch_testkit::http_client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use crate::cli::folder_with;

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_first_link_is_for_a_terminal() {
    let folder = folder_with("");
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let command = format!("exec {} serve", env!("CARGO_BIN_EXE_dynowatch"));
    let mut terminal = Command::new("/usr/bin/script")
        .args(["--quiet", "--flush", "--command", &command, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .env("TERM", "dumb")
        .env("PORT", port.to_string())
        .env("HEROKU_LOG_DRAIN_HMAC_SECRET", "terminal-test-secret")
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut keys, mut screen) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut shown = String::new();
    let link = async {
        let mut bytes = [0; 4_096];
        loop {
            let n = screen.read(&mut bytes).await.unwrap();
            assert!(n > 0, "it ended: {shown}");
            shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
            // The whole line, so that no link is read by half.
            if let Some((_, rest)) = shown.split_once("/setup/")
                && rest.contains('\n')
            {
                return rest.split_whitespace().next().unwrap().to_owned();
            }
        }
    };
    let token = tokio::time::timeout(DEADLINE, link).await.unwrap();
    let page = http_client::get(&format!("http://127.0.0.1:{port}/setup/{token}"), &[]).await.unwrap();
    assert!(page.status == 200 && page.text().contains("The first account"), "{}", page.text());
    // Ctrl-C, as somebody at the keyboard ends it.
    keys.write_all(b"\x03").await.unwrap();
    let rest = async {
        let mut rest = Vec::new();
        screen.read_to_end(&mut rest).await.unwrap();
        terminal.wait().await.unwrap()
    };
    assert!(tokio::time::timeout(DEADLINE, rest).await.unwrap().success());
}
