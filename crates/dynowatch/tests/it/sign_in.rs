//! Signing in over real sockets, to the real program: across a restart, across two processes on one Postgres, and with
//! the commands beside it.

use std::collections::BTreeMap;

use dynowatch_testkit::http_client;
use dynowatch_testkit::postgres::TestDatabase;
use http::Method;
use tempfile::TempDir;

use crate::cli::{folder_with, program_in};

const PASSWORD: &str = "four words of mine";
/// A key that is none of anybody's.
const KEY: &str = "8f1d6f0c2b7e4a9356d0c1e2f3a4b5c67d8e9fa0b1c2d3e4f5061728394a5b6c";

/// A browser: it keeps cookies and the token of the newest page.
#[derive(Default)]
struct Browser {
    jar: BTreeMap<String, String>,
    csrf: String,
}

struct Seen {
    status: u16,
    location: String,
    text: String,
}

impl Browser {
    async fn ask(&mut self, method: Method, url: &str, body: Option<String>) -> Seen {
        let cookies = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("; ");
        let headers = [
            ("cookie", cookies.as_str()),
            ("sec-fetch-site", "same-origin"),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer = http_client::send(method, url, &headers, body.unwrap_or_default().into()).await.unwrap();
        for line in answer.headers.get_all("set-cookie") {
            let (name, value) = line.to_str().unwrap().split(';').next().unwrap().split_once('=').unwrap();
            self.jar.insert(name.to_owned(), value.to_owned());
        }
        let text = answer.text();
        if let Some(token) = field(&text, "csrf") {
            self.csrf = token;
        }
        let location = answer.headers.get("location").map_or("", |value| value.to_str().unwrap()).to_owned();
        Seen { status: answer.status.as_u16(), location, text }
    }

    async fn get(&mut self, url: &str) -> Seen {
        self.ask(Method::GET, url, None).await
    }

    async fn post(&mut self, url: &str, fields: &[(&str, &str)]) -> Seen {
        let mut body = format!("csrf={}", self.csrf);
        for (name, value) in fields {
            body.push_str(&format!("&{name}={}", value.replace(' ', "+")));
        }
        self.ask(Method::POST, url, Some(body)).await
    }
}

fn field(page: &str, name: &str) -> Option<String> {
    let rest = page.split(&format!("name=\"{name}\" value=\"")).nth(1)?;
    Some(rest.split('"').next()?.to_owned())
}

async fn run(folder: &TempDir, env: &[(&str, &str)], arguments: &[&str]) -> String {
    let program = env.iter().fold(program_in(folder.path()), |program, (name, value)| program.env(name, value));
    program.args(arguments.iter().copied()).run().await.expect_success()
}

/// Makes the first account by the command's link.
async fn set_up(browser: &mut Browser, folder: &TempDir, env: &[(&str, &str)], server: &str) {
    let link = run(folder, env, &["setup-link"]).await;
    let token = link.lines().next().unwrap().split("/setup/").nth(1).unwrap().to_owned();
    let url = format!("{server}/setup/{token}");
    assert_eq!(browser.get(&url).await.status, 200);
    let done = browser.post(&url, &[("name", "ada"), ("password", PASSWORD), ("again", PASSWORD)]).await;
    assert_eq!((done.status, done.location.as_str()), (303, "/settings/security"), "{}", done.text);
}

#[tokio::test]
async fn a_sign_in_survives_a_restart_and_its_end_counts_at_once() {
    let folder = folder_with("");
    let mut server = program_in(folder.path()).start().await;
    let mut ada = Browser::default();
    set_up(&mut ada, &folder, &[], &server.url()).await;
    let cookie = ada.jar["dynowatch"].clone();
    assert!(server.stdout().contains("dynowatch setup-link"), "without a terminal the command is named");
    for said in [server.stdout(), server.stderr()] {
        assert!(!said.contains("/setup/") && !said.contains(&cookie) && !said.contains(PASSWORD), "{said}");
    }
    assert!(server.sigterm().await.success());
    let server = program_in(folder.path()).start().await;
    assert_eq!(ada.get(&format!("{}/settings/security", server.url())).await.status, 200);
    // The key beside the database is its owner's alone.
    use std::os::unix::fs::PermissionsExt as _;
    let key = std::fs::metadata(folder.path().join("dynowatch.db.key")).unwrap();
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let said = run(&folder, &[], &["users", "add", "bob", "--role", "superadmin"]).await;
    assert!(said.contains("/setup/"), "{said}");
    assert!(run(&folder, &[], &["users", "list"]).await.contains("superadmin"));
    let last = program_in(folder.path()).args(["users", "disable", "ada"]).run().await;
    assert!(last.code() == 1 && last.stderr.contains("last superadmin"), "bob has no password yet: {}", last.stderr);
    let again = program_in(folder.path()).arg("setup-link").run().await;
    assert!(again.code() == 1 && again.stderr.contains("accounts already"), "{}", again.stderr);
    let whole = run(&folder, &[], &["audit", "verify"]).await;
    let head = whole.lines().nth(1).unwrap().to_owned();
    assert!(run(&folder, &[], &["audit", "verify", "--head", &head]).await.contains("whole"));
    let wrong = format!("1:{}", "0".repeat(64));
    assert_eq!(program_in(folder.path()).args(["audit", "verify", "--head", &wrong]).run().await.code(), 1);
    let exported = run(&folder, &[], &["audit", "export"]).await;
    assert!(exported.contains("\"action\":\"user.setup\"") && exported.contains("\"actor\":\"cli:"), "{exported}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_share_sign_ins_and_questions() {
    let database = TestDatabase::create().await;
    let (one_folder, two_folder) = (folder_with(""), folder_with(""));
    let env = [("DATABASE_URL", database.url()), ("DYNOWATCH_SECRET_KEY", KEY)];
    let start =
        |folder: &TempDir| env.iter().fold(program_in(folder.path()), |p, (name, value)| p.env(name, value)).start();
    let (one, two) = tokio::join!(start(&one_folder), start(&two_folder));
    let mut ada = Browser::default();
    set_up(&mut ada, &one_folder, &env, &one.url()).await;
    assert_eq!(ada.get(&format!("{}/settings/tokens", two.url())).await.status, 200, "signed in at the other, too");
    // A question that one puts is answered to the other, once.
    let fields = [("name", "ci"), ("read", "yes"), ("days", "7")];
    let question = ada.post(&format!("{}/settings/tokens", one.url()), &fields).await;
    let challenge = field(&question.text, "challenge").unwrap();
    let mut answer = fields.to_vec();
    answer.extend([("challenge", challenge.as_str()), ("proof", PASSWORD)]);
    let made = ada.post(&format!("{}/settings/tokens", two.url()), &answer).await;
    assert!(made.status == 200 && made.text.contains("dw_"), "{}", made.text);
    assert_eq!(ada.post(&format!("{}/settings/tokens", one.url()), &answer).await.status, 409, "used");
    // A sign-out at one is one at the other.
    assert_eq!(ada.post(&format!("{}/sign-out", two.url()), &[]).await.status, 303);
    assert_eq!(ada.get(&format!("{}/", one.url())).await.status, 303);
    assert!(run(&one_folder, &env, &["audit", "verify"]).await.contains("whole"));
}
