//! Child processes, with a shell in the part of the program.

use dynowatch_testkit::process::{Dynowatch, Launch};
use dynowatch_testkit::slack::FakeSlack;

#[tokio::test]
async fn commands_run_with_a_clean_environment_in_a_folder_of_their_own() {
    let script = "echo \"home=$HOME port=$PORT key=$KEY\"; cat; ls -A | wc -l; echo oops >&2; exit 3";
    let launch = Launch::new("/bin/sh").args(["-c", script]).env("KEY", "value").env("PATH", "/usr/bin:/bin");
    let finished = launch.run_with_input(b"in\n").await;
    assert_eq!(finished.stdout, "home= port= key=value\nin\n0\n");
    assert_eq!((finished.code(), &*finished.stderr), (3, "oops\n"));
}

#[tokio::test]
#[should_panic(expected = "no such setting: colour")]
async fn a_server_that_ends_early_shows_why() {
    let _never = Launch::new("/bin/sh").args(["-c", "echo no such setting: colour >&2; exit 2"]).start().await;
}

#[tokio::test]
async fn a_taken_port_is_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    // Fails once; the second time it says something else, which ends the attempts.
    let script = "if [ -e tried ]; then echo second >&2; else : >tried; echo address already in use >&2; fi; exit 1";
    let launch = Launch::new("/bin/sh").args(["-c", script]).folder(folder.path());
    let panic = tokio::spawn(async move { launch.start().await.port() }).await.unwrap_err().into_panic();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("second"), "{message}");
}

/// A shell that answers no HTTP; the fake on its port does.
async fn server(fake: &FakeSlack, script: &str) -> Dynowatch {
    Launch::new("/bin/sh").args(["-c", script]).env("PATH", "/usr/bin:/bin").port(fake.address().port()).start().await
}

#[tokio::test]
async fn sigterm_lets_a_server_say_goodbye() {
    let fake = FakeSlack::start().await;
    let script = "trap 'kill $!; echo bye; exit 7' TERM; sleep 60 & echo up >&2; wait";
    let mut server = server(&fake, script).await;
    server.wait_for_stderr("up").await;
    assert_eq!(server.sigterm().await.code(), Some(7));
    server.wait_for_stdout("bye").await;
    assert_eq!(fake.requests()[0].path, "/readyz");
}

#[tokio::test]
async fn kill9_asks_nobody() {
    let fake = FakeSlack::start().await;
    let mut server = server(&fake, "trap 'echo bye' EXIT; trap '' TERM; echo up >&2; exec sleep 60").await;
    server.wait_for_stderr("up").await;
    server.kill9().await;
    assert_eq!(server.wait().await.code(), None, "ended by a signal");
    assert_eq!(server.stdout(), "");
}
