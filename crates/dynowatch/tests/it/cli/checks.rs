//! `checks` and `maintenance` by the command line: without a server, beside one, and with what must never be printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};

use dynowatch_testkit::process::{Dynowatch, Finished, Launch};
use dynowatch_testkit::stub_server::{Step, StubServer};
use serde_json::Value;

use super::{folder_with, program_in};

/// In the URL of the target, and in nothing that is printed.
const PASSWORD: &str = "hunter2-of-the-target";

/// A page that answers with the status that stands in the cell.
pub(crate) async fn target() -> (StubServer, Arc<AtomicU16>) {
    let status = Arc::new(AtomicU16::new(200));
    let answered = Arc::clone(&status);
    let stub = StubServer::answering(None, move |_| {
        vec![Step::http(answered.load(Relaxed), "content-type: application/json\r\n", "{\"queue\": 7}")]
    })
    .await;
    (stub, status)
}

/// Checks of that target from a machine without a way out.
fn file(stub: &StubServer) -> String {
    let port = stub.port();
    format!(
        r#"
[rule_pack]
enabled = false

[prober]
allow_networks = ["127.0.0.1"]
control_targets = []

[[checks]]
name = "shop"
kind = "web"
app = "shop"
url_env = "SHOP_URL"
every = "5s"
assert = ["status = 200", "body.queue < 10"]

[[checks]]
name = "refused"
kind = "web"
url = "http://127.0.0.2:{port}/"

[[checks]]
name = "unset"
kind = "redis"
url_env = "NOWHERE_URL"

[[checks]]
name = "far"
kind = "redis"
app = "shop"
config_var = "REDIS_URL"

[[checks]]
name = "nightly"
kind = "heartbeat"
cron = "30 3 * * *"
"#
    )
}

fn with_target(folder: &tempfile::TempDir, stub: &StubServer) -> Launch {
    program_in(folder.path()).env("SHOP_URL", format!("http://user:{PASSWORD}@127.0.0.1:{}/health", stub.port()))
}

async fn run(folder: &tempfile::TempDir, stub: &StubServer, arguments: &[&str]) -> Finished {
    let done = with_target(folder, stub).args(arguments).run().await;
    let all = format!("{}{}", done.stdout, done.stderr);
    assert!(!all.contains(PASSWORD) && !all.contains("panicked"), "{arguments:?}: {all}");
    done
}

/// Asks again until an answer is as wanted; each command takes a moment of its own.
async fn until(
    folder: &tempfile::TempDir,
    stub: &StubServer,
    arguments: &[&str],
    wanted: impl Fn(&str) -> bool,
) -> String {
    for _ in 0..300 {
        let said = run(folder, stub, arguments).await.stdout;
        if wanted(&said) {
            return said;
        }
    }
    panic!("{arguments:?} never said what was wanted");
}

fn json(done: &Finished) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|error| panic!("{error}: {}", done.stdout))
}

#[tokio::test]
async fn explain_needs_no_server() {
    let (stub, status) = target().await;
    let folder = folder_with(&file(&stub));
    let up = run(&folder, &stub, &["checks", "explain", "shop"]).await;
    assert_eq!(up.code(), 0, "{}", up.stderr);
    for part in [
        "shop (web) is up",
        "what happened",
        "> GET http://127.0.0.1",
        "ok   status = 200 (seen: 200)",
        "ok   body.queue < 10 (seen: 7)",
        "kept nowhere",
    ] {
        assert!(up.stdout.contains(part), "{part}: {}", up.stdout);
    }
    assert!(!folder.path().join("dynowatch.db").exists(), "nothing was made");

    status.store(503, Relaxed);
    let down = run(&folder, &stub, &["--json", "checks", "explain", "shop"]).await;
    assert_eq!(down.code(), 1);
    let said = json(&down);
    assert_eq!((&said["check"], &said["observation"]["outcome"]), (&"shop".into(), &"down".into()));
    assert_eq!(said["observation"]["assertions"][0]["seen"], "503");

    // Only 127.0.0.1 was allow-listed.
    let refused = run(&folder, &stub, &["checks", "explain", "refused"]).await;
    assert_eq!(refused.code(), 1);
    assert!(
        refused.stdout.contains("address_refused") && refused.stdout.contains("allow-listed"),
        "{}",
        refused.stdout
    );

    for (name, code, said) in [
        ("unset", 2, "the environment variable NOWHERE_URL is not set"),
        ("far", 2, "HEROKU_API_KEY is not set, and the target stands in the config var REDIS_URL of shop"),
        ("nightly", 2, "a heartbeat is heard, not run"),
        ("shpo", 1, "no check is named \"shpo\"; did you mean \"shop\"?"),
    ] {
        let done = run(&folder, &stub, &["checks", "explain", name]).await;
        assert_eq!(done.code(), code, "{name}: {}", done.stderr);
        assert!(done.stderr.contains(said), "{name}: {}", done.stderr);
    }
}

#[tokio::test]
async fn without_a_store_checks_are_those_of_the_file() {
    let (stub, _status) = target().await;
    let text = format!(
        "{}\n[[maintenance]]\nname = \"batch\"\nchecks = [\"shop\", \"ni*\"]\ncron = \"* * * * *\"\nfor = \"1h\"\nreason = \"why\"\n\
         [[maintenance]]\nname = \"gone\"\nall = true\nat = \"2020-01-01T00:00\"\nfor = \"1h\"\n",
        file(&stub)
    );
    let folder = folder_with(&text);
    let list = run(&folder, &stub, &["checks", "list"]).await.expect_success();
    insta::assert_snapshot!(list.replace(&stub.port().to_string(), "PORT"), @r#"
    STATE  LAST RUN (UTC)  TOOK  CHECK    LOOKS AT
    new    -               -     far      redis shop REDIS_URL
    new    -               -     nightly  heartbeat 30 3 * * * (UTC)
    new    -               -     refused  web http://127.0.0.2:PORT/
    new    -               -     shop     web http://127.0.0.1:PORT/health
    new    -               -     unset    redis by NOWHERE_URL, which is not set here
    "#);
    let show = run(&folder, &stub, &["checks", "show", "shop"]).await.expect_success();
    insta::assert_snapshot!(show.replace(&stub.port().to_string(), "PORT"), @r#"
    check     shop
    looks at  web http://127.0.0.1:PORT/health
    app       shop
    runs      every 5s, for 10s at most
    demands   status = 200
    demands   body.queue < 10
    down      after 2 runs
    up again  after 2 runs
    severity  critical
    tells     nobody
    state     new
    "#);
    let windows = run(&folder, &stub, &["maintenance", "list"]).await.expect_success();
    assert!(
        windows.contains("until 20") && windows.contains("shop, ni*    why") && windows.contains("over"),
        "{windows}"
    );
    let checked = run(&folder, &stub, &["config", "check", "--offline"]).await.expect_success();
    assert!(
        checked.contains("shop (web http://127.0.0.1:") && checked.contains("far (redis shop REDIS_URL)"),
        "{checked}"
    );
    assert!(checked.contains("checks may reach: 127.0.0.1/32"), "{checked}");
}

async fn server(folder: &tempfile::TempDir, stub: &StubServer) -> Dynowatch {
    // What a server needs must be there: it runs every check.
    let launch = with_target(folder, stub).env("NOWHERE_URL", format!("redis://127.0.0.1:{}", stub.port()));
    launch.start().await
}

#[tokio::test]
async fn beside_a_server() {
    let (stub, status) = target().await;
    let folder = folder_with(&file(&stub));
    let _server = server(&folder, &stub).await;
    let ran = run(&folder, &stub, &["checks", "run", "shop"]).await;
    assert!(ran.stdout.starts_with("shop is up at 20"), "{}{}", ran.stdout, ran.stderr);
    until(&folder, &stub, &["checks", "list", "--state", "up"], |said| said.contains("shop")).await;

    status.store(500, Relaxed);
    until(&folder, &stub, &["checks", "list", "--app", "shop", "--state", "down"], |said| {
        said.contains("status_unexpected") || said.contains("assertion_failed")
    })
    .await;
    let show = run(&folder, &stub, &["checks", "show", "shop"]).await.expect_success();
    assert!(show.contains("FAIL status = 200 (seen: 500)"), "{show}");
    let ran = run(&folder, &stub, &["--json", "checks", "run", "shop"]).await;
    assert_eq!((ran.code(), &json(&ran)["outcome"]), (1, &"down".into()));
    let history =
        until(&folder, &stub, &["checks", "history", "shop", "--full"], |said| said.contains("Failures (UTC)")).await;
    for part in ["uptime  ", "Outages (UTC)", "goes on; told at", "  down", "> GET http://127.0.0.1"] {
        assert!(history.contains(part), "{part}: {history}");
    }
    let told: Value =
        json(&run(&folder, &stub, &["--json", "checks", "history", "shop", "--from", "1h", "--runs", "1"]).await);
    assert_eq!((told["runs"].as_array().map(Vec::len), told["outages"].as_array().map(Vec::len)), (Some(1), Some(1)));

    assert_eq!(run(&folder, &stub, &["checks", "pause", "shop"]).await.expect_success(), "shop is paused\n");
    assert_eq!(run(&folder, &stub, &["checks", "pause", "shop"]).await.expect_success(), "shop was paused before\n");
    until(&folder, &stub, &["alerts", "list", "--rule", "check:shop"], |said| said.contains("resolved")).await;
    let ran = run(&folder, &stub, &["checks", "run", "shop"]).await;
    assert!(ran.code() == 1 && ran.stderr.contains("is paused"), "{}", ran.stderr);
    assert_eq!(run(&folder, &stub, &["checks", "resume", "shop"]).await.expect_success(), "shop runs again\n");
    let pin = run(&folder, &stub, &["checks", "accept-pin", "shop"]).await;
    assert!(pin.code() == 1 && pin.stderr.contains("shows no other key"), "{}", pin.stderr);
    for (arguments, code, said) in [
        (&["checks", "history", "shop", "--from", "soon"][..], 2, "is not a moment"),
        (&["checks", "history", "shop", "--from", "1h", "--until", "2h"], 2, "--from must be before --until"),
        (&["checks", "pause", "shp"], 1, "did you mean \"shop\"?"),
        (&["checks", "run", "shop", "--wait", "1d"], 2, "at most 10m"),
        (&["checks", "list", "--state", "sleepy"], 2, "write one of new, up"),
    ] {
        let done = run(&folder, &stub, arguments).await;
        assert_eq!(done.code(), code, "{arguments:?}: {}", done.stderr);
        assert!(done.stderr.contains(said), "{arguments:?}: {}", done.stderr);
    }
    let heard = run(&folder, &stub, &["checks", "show", "nightly"]).await.expect_success();
    assert!(heard.contains("ping URL  http"), "{heard}");
}

/// A reload puts new checks in force, and new places where checks may go.
#[tokio::test]
async fn a_reload_takes_checks_and_ranges() {
    let (stub, _status) = target().await;
    let folder = folder_with(&file(&stub));
    let server = server(&folder, &stub).await;
    let reason = async || {
        let ran = run(&folder, &stub, &["--json", "checks", "run", "refused"]).await;
        json(&ran)["reason"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(reason().await, "address_refused");
    let port = stub.port();
    let more =
        format!("[[checks]]\nname = \"port\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\nevery = \"5s\"\n");
    let text = file(&stub).replace("[\"127.0.0.1\"]", "[\"127.0.0.0/8\"]") + &more;
    std::fs::write(folder.path().join("dynowatch.toml"), text).unwrap();
    server.signal("HUP").await;
    server.wait_for_stderr("1 check added: port").await;
    server.wait_for_stderr("prober.allow_networks was 127.0.0.1/32, is 127.0.0.0/8").await;
    until(&folder, &stub, &["checks", "list", "--state", "up"], |said| said.contains("port")).await;
    assert_eq!(reason().await, "connect_refused");
}

/// Nobody runs it: the wish waits, the command does not.
#[tokio::test]
async fn a_run_that_nobody_makes() {
    let (stub, _status) = target().await;
    let folder = folder_with(&file(&stub));
    let mut server = server(&folder, &stub).await;
    assert!(server.sigterm().await.success());
    let done = run(&folder, &stub, &["checks", "run", "far", "--wait", "1s"]).await;
    assert_eq!(done.code(), 1);
    assert!(done.stderr.contains("no run of far within 1s: does a server run?"), "{}", done.stderr);
}
