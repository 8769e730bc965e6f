//! The drain endpoint over real sockets, as Logplex and everything between meets it: every answer of the contract, and
//! bytes in any pieces.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::blind::BlindReason;
use dynowatch_domain::signal::Kind;
use dynowatch_engine::Limits;
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_web::drain::{DrainSettings, app_subject, credential_text};
use dynowatch_web::server::{Parts, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::raw::{Raw, RawAnswer};
use crate::site::{SECRET, Site, frame, h12, request, rules};

pub(crate) const DRAIN_TOKEN: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
/// hex HMAC-SHA256("drain-secret", DRAIN_TOKEN), worked out elsewhere.
const CREDENTIAL: &str = "d7969b5f4a6f1b008e61a562cac0b6ef4d0a1309b7c1656a06969ef2871e5db1";
const SMOKE: &str = "2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc=\"Request timeout\"";

pub(crate) struct Served {
    pub(crate) site: Site,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn open() -> Self {
        Self::of(Site::open().await).await
    }

    pub(crate) async fn of(site: Site) -> Self {
        Self::with(site, 100).await
    }

    async fn with(site: Site, connections_max: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let parts = Parts {
            drain: Arc::clone(&site.drain),
            router: site.router.clone(),
            general: tokio::runtime::Handle::current(),
            connections_max,
        };
        let server = tokio::spawn(serve(listener, parts, stopped));
        Self { site, address, stop, server }
    }

    pub(crate) fn settings(&self, change: impl FnOnce(&mut DrainSettings)) {
        let mut settings = DrainSettings {
            enabled: true,
            secrets: vec![SECRET.into()],
            body_bytes_max: 64 * 1024,
            requests_max: 64,
            on_dyno: false,
        };
        change(&mut settings);
        self.site.drain.reconfigure(settings);
    }

    pub(crate) async fn post(&self, target: &str, headers: &str, body: &[u8]) -> RawAnswer {
        let mut raw = Raw::connect(self.address).await;
        raw.send(&post(target, headers, body)).await;
        raw.answer().await
    }

    /// A delivery of the known drain.
    pub(crate) async fn deliver(&self, more_headers: &str, body: &[u8]) -> u16 {
        let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n{more_headers}");
        self.post(&target(), &headers, body).await.status
    }

    pub(crate) fn lines(&self, app: &str) -> u64 {
        let app = self.site.engine.apps().by_name(app).cloned();
        app.map_or(0, |app| self.site.engine.totals(&app, |totals| totals.counts.lines()))
    }

    fn h12s(&self, app: &str) -> u64 {
        let app = self.site.engine.apps().by_name(app).cloned();
        app.map_or(0, |app| self.site.engine.totals(&app, |totals| totals.codes.values().sum()))
    }
}

pub(crate) fn target() -> String {
    format!("/drain?drain_token={CREDENTIAL}")
}

fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST {target} HTTP/1.1\r\nHost: watch.example\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Two lines that no rule wants and one that one does.
pub(crate) fn batch() -> String {
    request("2026-05-07T08:06:10Z", "/", "", 200)
        + &frame("2026-05-07T08:06:11Z", "app", "web.1", "hello")
        + &h12("2026-05-07T08:06:12Z")
}

#[tokio::test]
async fn a_credential_is_what_the_runbook_says() {
    assert_eq!(credential_text(&SECRET.into(), DRAIN_TOKEN).unwrap(), CREDENTIAL);
}

#[tokio::test]
async fn accepted_deliveries() {
    let headers = [
        (
            "as Logplex sends it",
            "Content-Type: application/logplex-1\r\nLogplex-Msg-Count: 3\r\nLogplex-Frame-Id: 09C557EAFCFB6CF2740EE62F62971098\r\nUser-Agent: Logplex/v49\r\n",
        ),
        ("no content type", "Logplex-Msg-Count: 3\r\n"),
        ("another content type", "Content-Type: text/html; charset=latin-1\r\n"),
        ("a count that disagrees", "Content-Type: application/logplex-1\r\nLogplex-Msg-Count: 999\r\n"),
        ("a count that is none", "Logplex-Msg-Count: many\r\n"),
        ("a frame id that is none", "Logplex-Frame-Id: \r\n"),
        ("an overlong frame id", &format!("Logplex-Frame-Id: {}\r\n", "f".repeat(500))),
    ];
    let served = Served::open().await;
    for (i, (name, more)) in headers.into_iter().enumerate() {
        assert_eq!(served.deliver(more, batch().as_bytes()).await, 204, "{name}");
        assert_eq!(served.lines("shop"), 3 * (i as u64 + 1), "{name}");
    }
    let lower = format!("logplex-drain-token: {DRAIN_TOKEN}\r\nlogplex-msg-count: 3\r\nlogplex-frame-id: FRAME\r\n");
    let old_path = format!("/api/internal/heroku-log-drain?drain_token={CREDENTIAL}");
    let before = served.lines("shop");
    for target in [target(), old_path, format!("/drain?a=b&drain_token={CREDENTIAL}")] {
        assert_eq!(
            served.post(&target, &lower.replace("FRAME", &target.len().to_string()), batch().as_bytes()).await.status,
            204,
            "{target}"
        );
    }
    assert_eq!(served.lines("shop"), before + 9);
    assert_eq!(served.site.engine.stats().batches_accepted.get(), 10);
}

/// An answer has nothing that a simple client would stumble over.
#[tokio::test]
async fn answers_are_plain() {
    let served = Served::open().await;
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let answer = served.post(&target(), &headers, batch().as_bytes()).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    for odd in ["transfer-encoding", "set-cookie", "content-encoding", "connection: close"] {
        assert!(!answer.head.contains(odd), "{}", answer.head);
    }
}

#[tokio::test]
async fn bad_frames_cost_nothing_but_themselves() {
    let served = Served::open().await;
    let bodies: [(&str, Vec<u8>, u64, u64); 6] = [
        ("empty", Vec::new(), 0, 0),
        ("a broken tail", [batch().as_bytes(), b"999 <13>1 cut"].concat(), 3, 1),
        ("a frame that is no syslog", [b"11 hello world".as_slice(), batch().as_bytes()].concat(), 3, 1),
        ("noise", b"\xff\xfe\x00\x01".to_vec(), 0, 1),
        ("a declared length beyond everything", b"99999999 x".to_vec(), 0, 1),
        (
            "lines of bytes that are no text",
            frame("2026-05-07T08:06:11Z", "app", "web.1", "x").replace('x', "\u{1}").into_bytes(),
            1,
            0,
        ),
    ];
    for (name, body, lines, bad) in bodies {
        let app = served.site.engine.apps().by_name("shop").cloned().unwrap();
        let before = served.site.engine.totals(&app, |t| (t.counts.lines(), t.counts.malformed.iter().sum::<u64>()));
        assert_eq!(served.deliver("", &body).await, 204, "{name}");
        let after = served.site.engine.totals(&app, |t| (t.counts.lines(), t.counts.malformed.iter().sum::<u64>()));
        assert_eq!((after.0 - before.0, after.1 - before.1), (lines, bad), "{name}");
    }
}

#[tokio::test]
async fn refused_credentials() {
    let served = Served::open().await;
    let token = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let upper = CREDENTIAL.to_uppercase();
    let named = credential_text(&SECRET.into(), &app_subject("shop")).unwrap();
    let basic = |user: &str, password: &str| {
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
    };
    let cases = [
        ("no credential", "/drain".to_owned(), token.clone()),
        ("an empty one", "/drain?drain_token=".to_owned(), token.clone()),
        ("a wrong one", format!("/drain?drain_token={}", "0".repeat(64)), token.clone()),
        ("a cut one", format!("/drain?drain_token={}", &CREDENTIAL[..63]), token.clone()),
        ("in capitals", format!("/drain?drain_token={upper}"), token.clone()),
        ("no drain token", target(), String::new()),
        ("another's drain token", target(), "Logplex-Drain-Token: d.other\r\n".to_owned()),
        (
            "a drain token that poses as an app",
            format!("/drain?drain_token={named}"),
            "Logplex-Drain-Token: app:shop\r\n".to_owned(),
        ),
        ("app without password", "/drain/shop".to_owned(), String::new()),
        ("app with a wrong password", "/drain/shop".to_owned(), basic("drain", "nonsense")),
        ("app with another user", "/drain/shop".to_owned(), basic("root", &named)),
        ("another app", "/drain/other".to_owned(), basic("drain", &named)),
        ("an app that is no name", "/drain/a%20b".to_owned(), basic("drain", &named)),
        ("an app that is no name, for a client", "/drain/%2e%2e".to_owned(), basic("drain", &named)),
        ("two apps", "/drain/a/b".to_owned(), basic("drain", &named)),
        ("two slashes", "/drain//".to_owned(), basic("drain", &named)),
        ("no app", "/drain/".to_owned(), basic("drain", &named)),
    ];
    let count = cases.len() as u64;
    for (name, target, headers) in cases {
        assert_eq!(served.post(&target, &headers, batch().as_bytes()).await.status, 401, "{name}");
    }
    assert_eq!((served.lines("shop"), served.site.engine.stats().batches_unauthorized.get()), (0, count));
    let ready = served.site.local("/readyz").await.json();
    assert_eq!(ready["details"]["deliveries_unauthorized"], count);
    assert!(ready["details"]["warnings"].to_string().contains("refused with 401"));
    // Rules can see it, too: under the app whose drain it was, or our own where nobody is known.
    let rejected = |app: &str| {
        served
            .site
            .engine
            .apps()
            .by_name(app)
            .map_or(0, |app| served.site.engine.totals(app, |t| t.counts.kinds[Kind::DrainRejected.index()]))
    };
    assert!(rejected("shop") + rejected("dynowatch") <= 1, "at most one a second is kept");
}

#[tokio::test]
async fn an_app_by_its_name() {
    let served = Served::open().await;
    let password = credential_text(&SECRET.into(), &app_subject("space-app")).unwrap();
    let auth =
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("drain:{password}").as_bytes()));
    // A Private Space sends no Logplex headers at all.
    assert_eq!(served.post("/drain/space-app", &auth, batch().as_bytes()).await.status, 204);
    assert_eq!((served.lines("space-app"), served.h12s("space-app")), (3, 1));
    assert_eq!(served.site.get("/api/v1/apps/space-app").await["origin"], "url");
}

/// Whoever wrote the drain's URL by hand may have ended it with a slash, or escaped what needs no escaping.
#[tokio::test]
async fn paths_as_people_write_them() {
    let served = Served::open().await;
    let token = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let password = credential_text(&SECRET.into(), &app_subject("space-app")).unwrap();
    let auth =
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("drain:{password}").as_bytes()));
    let cases = [
        ("/drain", &token),
        ("/drain/", &token),
        ("/api/internal/heroku-log-drain", &token),
        ("/api/internal/heroku-log-drain/", &token),
        ("/drain/space-app", &auth),
        ("/drain/space-app/", &auth),
        ("/drain/space%2Dapp", &auth),
        ("/drain/sp%61ce-app/", &auth),
    ];
    for (path, headers) in cases {
        let target = format!("{path}?drain_token={CREDENTIAL}");
        assert_eq!(served.post(&target, headers, batch().as_bytes()).await.status, 204, "{path}");
    }
    assert_eq!((served.lines("shop"), served.lines("space-app")), (12, 12));
}

/// A token that would break the URLs of its app is adopted under a name that does not.
#[tokio::test]
async fn an_odd_token_makes_an_app_with_a_plain_name() {
    let served = Served::open().await;
    for token in ["d/../x y?#", "..", "a/b", "a-b"] {
        let target = format!("/drain?drain_token={}", credential_text(&SECRET.into(), token).unwrap());
        let headers = format!("Logplex-Drain-Token: {token}\r\n");
        assert_eq!(served.post(&target, &headers, batch().as_bytes()).await.status, 204, "{token}");
    }
    let apps = served.site.get("/api/v1/apps").await;
    let names: Vec<&str> = apps["items"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "no two tokens became one app: {names:?}");
    for name in names {
        let app = served.site.get(&format!("/api/v1/apps/{name}")).await;
        assert_eq!(app["name"], name);
    }
    for wrong in ["a/b", "..", "", "ü", "a b"] {
        let body = serde_json::json!({ "name": wrong }).to_string();
        let answer = served.site.api(http::Method::PATCH, "/api/v1/apps/a-b", &body).await;
        assert_eq!(answer.status.as_u16(), 400, "{wrong}");
        assert!(answer.text.contains("is not a name for an app: use 1 to 100 letters, digits"), "{}", answer.text);
    }
}

/// Deliveries beyond the places for them wait; what was begun before them ends in time, and so they are taken.
#[tokio::test]
async fn deliveries_wait_for_a_place() {
    let served = Served::open().await;
    served.settings(|settings| settings.requests_max = 1);
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let (mut first, mut second) = (Raw::connect(served.address).await, Raw::connect(served.address).await);
    first.send(&bytes[..bytes.len() - 10]).await;
    // An answer on another connection proves that the first has its place by now.
    assert_eq!(served.post("/drain", "", b"").await.status, 401);
    second.send(&bytes).await;
    assert_eq!(served.post("/drain", "", b"").await.status, 401);
    let stats = served.site.engine.stats();
    assert_eq!((stats.batches_in_progress.get(), stats.batches_accepted.get()), (2, 0));
    first.send(&bytes[bytes.len() - 10..]).await;
    assert_eq!((first.answer().await.status, second.answer().await.status), (204, 204));
    assert_eq!((stats.batches_in_progress.get(), stats.batches_accepted.get()), (0, 2));
}

/// Connections beyond the limit wait to be accepted, and are then answered.
#[tokio::test]
async fn connections_wait_for_room() {
    let served = Served::with(Site::open().await, 2).await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let (mut first, mut second) = (Raw::connect(served.address).await, Raw::connect(served.address).await);
    for raw in [&mut first, &mut second] {
        raw.send(&bytes).await;
        assert_eq!(raw.answer().await.status, 204);
    }
    let mut third = Raw::connect(served.address).await;
    third.send(&bytes).await;
    for raw in [&mut first, &mut second] {
        raw.send(&bytes).await;
        assert_eq!(raw.answer().await.status, 204);
    }
    let stats = served.site.engine.stats();
    assert_eq!(stats.batches_accepted.get(), 4, "the third waits");
    drop(first);
    assert_eq!(third.answer().await.status, 204);
    assert_eq!(stats.batches_accepted.get(), 5);
}

/// Logplex does not compress. Whatever claims to be compressed is read as it came: nothing is ever unpacked, so a small
/// body stays small, and what is no frame is counted.
#[tokio::test]
async fn nothing_is_unpacked() {
    let served = Served::open().await;
    let zeros = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8];
    assert_eq!(served.deliver("Content-Encoding: gzip\r\n", &zeros).await, 204);
    assert_eq!(served.lines("shop"), 0);
    let app = served.site.engine.apps().by_name("shop").cloned().unwrap();
    let malformed = served.site.engine.totals(&app, |totals| totals.counts.malformed.iter().sum::<u64>());
    assert!((1..=zeros.len() as u64).contains(&malformed), "{malformed}");
    assert_eq!(
        served.deliver("Content-Encoding: gzip\r\n", batch().as_bytes()).await,
        204,
        "a wrong header costs nothing"
    );
    assert_eq!(served.lines("shop"), 3);
}

#[tokio::test]
async fn an_unknown_drain_makes_an_app() {
    let served = Served::open().await;
    let token = "d.aaaaaaaa-89ab-4cde-8f01-23456789abcd";
    let target = format!("/drain?drain_token={}", credential_text(&SECRET.into(), token).unwrap());
    for _ in 0..2 {
        assert_eq!(
            served.post(&target, &format!("Logplex-Drain-Token: {token}\r\n"), batch().as_bytes()).await.status,
            204
        );
    }
    served.site.engine.refresh_pass().await.unwrap();
    let app = served.site.get(&format!("/api/v1/apps/{token}")).await;
    assert_eq!(
        (&app["origin"], &app["host_hint"], &app["lines"]),
        (&"adopted".into(), &"shop.example.com".into(), &6.into())
    );
}

#[tokio::test]
async fn secrets_rotate() {
    let served = Served::open().await;
    let with = |secret: &str| format!("/drain?drain_token={}", credential_text(&secret.into(), DRAIN_TOKEN).unwrap());
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let phases: [(&[&str], [u16; 2]); 3] =
        [(&["old"], [204, 401]), (&["new", "old"], [204, 204]), (&["new"], [401, 204])];
    for (secrets, wants) in phases {
        served.settings(|settings| settings.secrets = secrets.iter().map(|secret| (*secret).into()).collect());
        for (secret, want) in ["old", "new"].into_iter().zip(wants) {
            // Twice: the second time the credential is remembered.
            for _ in 0..2 {
                assert_eq!(served.post(&with(secret), &headers, b"").await.status, want, "{secret} under {secrets:?}");
            }
        }
    }
}

#[tokio::test]
async fn switched_off_or_without_a_secret() {
    let served = Served::open().await;
    served.settings(|settings| settings.enabled = false);
    assert_eq!(served.deliver("", batch().as_bytes()).await, 501);
    served.settings(|settings| settings.secrets.clear());
    assert_eq!(served.deliver("", batch().as_bytes()).await, 501);
    assert_eq!(served.post("/drain", "", b"").await.status, 501);
    assert_eq!(served.site.engine.stats().batches_disabled.get(), 3);
    assert!(served.site.local("/readyz").await.text.contains("the drain is off"));
    served.settings(|_| {});
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
}

#[tokio::test]
async fn too_long_a_body() {
    let served = Served::open().await;
    served.settings(|settings| settings.body_bytes_max = 1_000);
    assert_eq!(served.deliver("", &vec![b'x'; 1_001]).await, 413);
    assert_eq!(served.deliver("", &vec![b'x'; 1_000]).await, 204);
    // Without a length: the limit is met while reading.
    let mut raw = Raw::connect(served.address).await;
    raw.send(
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n",
            target()
        )
        .as_bytes(),
    )
    .await;
    for _ in 0..3 {
        raw.send(format!("190\r\n{}\r\n", "x".repeat(0x190)).as_bytes()).await;
    }
    assert_eq!(raw.answer().await.status, 413);
    assert_eq!(served.site.engine.stats().batches_too_large.get(), 2);
}

#[tokio::test]
async fn a_frame_counts_once() {
    let served = Served::open().await;
    let (with, without) = (h12("2026-05-07T08:06:12Z"), frame("2026-05-07T08:06:11Z", "app", "web.1", "hello"));
    // Logplex may put a loss note in front when it sends a frame again.
    let loss = "Error L10 (output buffer overflow): 7 messages dropped since 2026-05-07T08:05:12+00:00.";
    let with_loss = frame("2026-05-07T08:06:13Z", "heroku", "logplex", loss) + &with;
    for (id, body, lines) in [
        ("aa", &with, 1),
        ("aa", &with, 1),
        ("aa", &with_loss, 1),
        ("bb", &without, 2),
        ("bb", &without, 2),
        ("aa", &with, 2),
        ("cc", &with, 3),
    ] {
        assert_eq!(served.deliver(&format!("Logplex-Frame-Id: {id}\r\n"), body.as_bytes()).await, 204);
        assert_eq!(served.lines("shop"), lines, "{id}");
    }
    assert_eq!(served.h12s("shop"), 2);
    // Another app's frame of the same id is another frame.
    let password = credential_text(&SECRET.into(), &app_subject("other")).unwrap();
    let auth = format!(
        "Logplex-Frame-Id: aa\r\nAuthorization: Basic {}\r\n",
        data_encoding::BASE64.encode(format!("drain:{password}").as_bytes())
    );
    assert_eq!(served.post("/drain/other", &auth, with.as_bytes()).await.status, 204);
    assert_eq!(served.h12s("other"), 1);
}

/// The runbook's smoke line, posted four times: an alert.
#[tokio::test]
async fn the_smoke_line() {
    let served = Served::open().await;
    for n in 1..=4 {
        assert_eq!(served.deliver("Content-Type: text/plain\r\n", SMOKE.as_bytes()).await, 204);
        assert_eq!(served.h12s("shop"), n);
    }
    let alerts = served.site.get("/api/v1/alerts?rule=h12").await;
    assert_eq!((&alerts["items"][0]["key"], &alerts["items"][0]["count"]), (&"h12/shop".into(), &4.into()));
}

#[tokio::test]
async fn connections_are_kept() {
    let served = Served::open().await;
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let mut raw = Raw::connect(served.address).await;
    for n in 1..=5 {
        raw.send(&post(&target(), &headers, batch().as_bytes())).await;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, 3 * n));
    }
    // Between deliveries, anything else on the same connection.
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer().await;
    assert!(answer.status == 200 && answer.body.starts_with(b"{\"status\":\"ok\""), "{answer:?}");
    // A refusal does not end it either.
    raw.send(&post("/drain", &headers, b"")).await;
    assert_eq!(raw.answer().await.status, 401);
    // Two at once are answered in their order.
    raw.send(&[post(&target(), &headers, batch().as_bytes()), post("/drain", &headers, b"")].concat()).await;
    assert_eq!([raw.answer().await.status, raw.answer().await.status], [204, 401]);
    raw.send(&post(&target(), &format!("{headers}Connection: close\r\n"), b"")).await;
    let answer = raw.answer().await;
    assert!(answer.status == 204 && raw.is_closed().await, "{answer:?}");
}

#[tokio::test]
async fn an_old_client() {
    let served = Served::open().await;
    let mut raw = Raw::connect(served.address).await;
    let body = batch();
    raw.send(
        format!(
            "POST {} HTTP/1.0\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            target(),
            body.len()
        )
        .as_bytes(),
    )
    .await;
    assert_eq!(raw.answer().await.status, 204);
    assert!(raw.is_closed().await);
    assert_eq!(served.lines("shop"), 3);
}

/// A body is a body, however TCP cuts it: in the middle of a count, of a stamp, of a header.
#[tokio::test]
async fn bytes_in_any_pieces() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let body_at = bytes.len() - batch().len();
    let mut want = 0;
    for piece in [1, 2, 3, 7, 64, 200] {
        let mut raw = Raw::connect(served.address).await;
        raw.send_in_pieces(&bytes, piece).await;
        want += 3;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want), "pieces of {piece}");
    }
    for cut in [body_at, body_at + 1, body_at + 2, body_at + 3, body_at + 40, bytes.len() - 1] {
        let mut raw = Raw::connect(served.address).await;
        raw.send(&bytes[..cut]).await;
        // A whole exchange on another connection: by now the first piece has been read alone.
        assert_eq!(served.deliver("", b"").await, 204);
        raw.send(&bytes[cut..]).await;
        want += 3;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want), "cut at {cut}");
    }
    // In chunks, as a proxy may send it on.
    let mut raw = Raw::connect(served.address).await;
    raw.send(
        format!(
            "POST {} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n",
            target()
        )
        .as_bytes(),
    )
    .await;
    for piece in batch().as_bytes().chunks(5) {
        raw.send(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        raw.send(&[piece, b"\r\n"].concat()).await;
    }
    raw.send(b"0\r\n\r\n").await;
    assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want + 3));
}

/// A sender that goes away in the middle leaves nothing behind.
#[tokio::test]
async fn half_a_delivery_counts_nothing() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let mut raw = Raw::connect(served.address).await;
    raw.send(&bytes[..bytes.len() - 20]).await;
    drop(raw);
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
    assert_eq!(served.lines("shop"), 3);
}

/// Only a POST is a delivery; the same paths otherwise are ordinary requests.
#[tokio::test]
async fn other_methods_are_no_deliveries() {
    let served = Served::open().await;
    for method in ["GET", "PUT"] {
        let mut raw = Raw::connect(served.address).await;
        raw.send(format!("{method} /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.status, 404, "{method}");
    }
    assert_eq!(served.site.engine.stats().batches_unauthorized.get(), 0);
}

/// A stop lets a delivery in progress end, and takes no new one.
#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let mut raw = Raw::connect(served.address).await;
    raw.send(&bytes[..bytes.len() - 10]).await;
    assert_eq!(served.deliver("", b"").await, 204);
    served.stop.send_replace(true);
    raw.send(&bytes[bytes.len() - 10..]).await;
    assert_eq!(raw.answer().await.status, 204);
    assert!(raw.is_closed().await);
    served.server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
    assert_eq!(served.site.engine.stats().batches_accepted.get(), 2);
}

/// The store is away: what matters is refused with 503 after a wait and nothing of it counts; what does not matter is
/// taken; the gap is remembered, and afterwards all is as before.
async fn store_away(database: TestDatabase, silent: bool) {
    let served = Served::of(Site::on(tempfile::tempdir().unwrap(), database.url(), rules()).await).await;
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
    if silent {
        database.stall().await;
    } else {
        database.cut().await;
    }
    let began = tokio::time::Instant::now();
    assert_eq!(served.deliver("Logplex-Frame-Id: aa\r\n", batch().as_bytes()).await, 503);
    let took = began.elapsed();
    assert!(took < Duration::from_millis(4_900), "Logplex has given up after {took:?}");
    assert_eq!((served.lines("shop"), served.site.engine.stats().batches_store_away.get()), (3, 1));
    assert_eq!(served.deliver("", frame("2026-05-07T08:06:11Z", "app", "web.1", "hello").as_bytes()).await, 204);
    assert_eq!(served.site.local("/healthz").await.status.as_u16(), 200);
    let site = &served.site;
    let (ready, metrics, page, api) = tokio::join!(
        site.local("/readyz"),
        site.local("/metrics"),
        site.local("/"),
        site.api(http::Method::GET, "/api/v1/alerts", "")
    );
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (503, &"not_ready".into()));
    assert!(
        metrics.text.contains("dynowatch_store_up 0") && !metrics.text.contains("dynowatch_alerts{"),
        "{}",
        metrics.text
    );
    assert!(page.status.as_u16() == 503 && page.text.contains("The store does not answer"), "{}", page.text);
    assert_eq!((api.status.as_u16(), &api.json()["error"]["code"]), (503, &"store_away".into()));
    database.restore().await;
    // Logplex tries again with the same frame: it counts, once.
    let mut status = 0;
    for _ in 0..2 {
        status = served.deliver("Logplex-Frame-Id: aa\r\n", batch().as_bytes()).await;
    }
    assert_eq!((status, served.h12s("shop")), (204, 2));
    let engine = &served.site.engine;
    engine.level_pass().await.unwrap();
    let blinds = engine
        .store()
        .all_blinds_between(engine.now() - Duration::from_secs(60), engine.now() + Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(blinds.iter().map(|(_, blind)| blind.reason).collect::<Vec<_>>(), [BlindReason::Refused]);
    // What it found a moment ago is good for a second.
    assert_eq!(served.site.local("/readyz").await.status.as_u16(), 503);
    served.site.clock.advance(Duration::from_secs(1));
    assert_eq!(served.site.local("/readyz").await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_cut_off() {
    store_away(TestDatabase::proxied().await, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_silent() {
    store_away(TestDatabase::proxied().await, true).await;
}

/// More waits to be committed than has room. A delivery waits for its place for as long as Logplex waits for us, then it is
/// refused; one too many to wait is refused at once. Nothing of either counts, and the gap is remembered.
#[tokio::test]
async fn a_full_queue_is_waited_for() {
    let (handle, handles) = std::sync::mpsc::channel();
    let (go, gone) = std::sync::mpsc::channel::<()>();
    // Commits are worked out on a thread that stands still until it is let go.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        handle.send(runtime.handle().clone()).unwrap();
        if gone.recv().is_ok() {
            runtime.block_on(std::future::pending::<()>());
        }
    });
    let limits = Limits { commit_queue: 1, commit_waiters: 1, ..Limits::default() };
    let served = Served::of(Site::bounded(limits, handles.recv().unwrap()).await).await;
    let stats = served.site.engine.stats();
    let waiting = async |n| {
        while stats.commit_queue.get() < n {
            tokio::task::yield_now().await;
        }
    };
    let batch = batch();
    let deliver = async |id: &str| {
        let began = tokio::time::Instant::now();
        (served.deliver(&format!("Logplex-Frame-Id: {id}\r\n"), batch.as_bytes()).await, began.elapsed())
    };
    let in_queue = deliver("aa");
    let in_wait = async {
        waiting(1).await;
        deliver("bb").await
    };
    let one_too_many = async {
        waiting(2).await;
        deliver("cc").await
    };
    let ((first, _), (second, waited), (third, at_once)) = tokio::join!(in_queue, in_wait, one_too_many);
    assert_eq!((first, second, third), (503, 503, 503));
    assert!(waited > Duration::from_millis(3_900) && waited < Duration::from_millis(4_900), "{waited:?}");
    assert!(at_once < Duration::from_secs(2), "{at_once:?}");
    assert_eq!((stats.batches_store_away.get(), stats.batches_overloaded.get()), (1, 2));
    assert_eq!((served.lines("shop"), served.h12s("shop"), stats.commit_queue.get()), (0, 0, 0));

    go.send(()).unwrap();
    assert_eq!(deliver("bb").await.0, 204);
    assert_eq!((served.lines("shop"), served.h12s("shop")), (3, 1), "only what was answered 204 counts");
    let engine = &served.site.engine;
    engine.level_pass().await.unwrap();
    let app = engine.apps().by_name("shop").unwrap().id;
    let minute = Duration::from_secs(60);
    let blinds = engine.store().all_blinds_between(engine.now() - minute, engine.now() + minute).await.unwrap();
    assert!(!blinds.is_empty(), "the gap is remembered");
    assert!(blinds.iter().all(|(of, blind)| *of == Some(app) && blind.reason == BlindReason::Refused), "{blinds:?}");
}
