//! What shows when something inside breaks: that it broke, and nothing of how. The detail is in our own log. Numbers in
//! brackets are those of ASVS 5.0.

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};

use axum::routing::get;
use dynowatch_testkit::postgres::TestDatabase;
use http::{Method, StatusCode};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use super::{OK, SEE_OTHER};
use crate::browser::{Browser, PASSWORD};
use crate::drain::Served;
use crate::raw::Raw;
use crate::site::{Answer, Site, rules};

const BROKEN: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
const AWAY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;

/// Our own log, of this thread.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join("\n")
    }
}

struct Words<'a>(&'a mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {field}={value:?}").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("dynowatch")
    }

    fn new_span(&self, _span: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _span: &Id, _values: &Record<'_>) {}

    fn record_follows_from(&self, _span: &Id, _follows: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = event.metadata().level().to_string();
        event.record(&mut Words(&mut line));
        self.0.lock().unwrap().push(line);
    }

    fn enter(&self, _span: &Id) {}

    fn exit(&self, _span: &Id) {}
}

/// What no answer may hold: words of the database, of the program's text, of its machine.
#[track_caller]
pub(crate) fn tells_nothing(place: &str, answer: &str) {
    for word in [
        "relation",
        "sqlx",
        "sqlite",
        "Postgres",
        "postgres",
        "42P01",
        "SELECT ",
        "INSERT ",
        "DELETE ",
        "api_tokens",
        "pool",
        "panicked",
        "thread '",
        "backtrace",
        "unwrap",
        ".rs",
        "src/",
        "/home/",
        "/tmp/",
        "127.0.0.1",
    ] {
        assert!(!answer.contains(word), "{place} says {word:?}: {answer}");
    }
}

/// Asks the page, the form and the API, which all need what is broken.
async fn all(site: &Site, ada: &mut Browser<'_>) -> Vec<(&'static str, Answer)> {
    vec![
        ("page", ada.get("/settings/tokens").await),
        ("form", ada.post("/settings/tokens/revoke", &[("name", "ci")]).await),
        ("API", site.api_as("dw_unknown", Method::GET, "/api/v1/apps", "").await),
        ("metrics", site.api_as("dw_unknown", Method::GET, "/metrics", "").await),
    ]
}

/// (16.5.1, 13.4.2) A fault that nobody thought of is told in general words; our own log has the particulars.
#[tokio::test]
async fn a_fault_is_told_in_general_words() {
    let log = Log::default();
    let _heard = tracing::subscriber::set_default(log.clone());
    let database = TestDatabase::create().await;
    let site = Site::on(tempfile::tempdir().unwrap(), database.url(), rules()).await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    database.drop_table("api_tokens").await;
    log.take();
    for (place, answer) in all(&site, &mut ada).await {
        assert_eq!((answer.status, answer.header("set-cookie")), (BROKEN, ""), "{place}: {}", answer.text);
        tells_nothing(place, &answer.text);
        if ["page", "form"].contains(&place) {
            assert!(answer.text.contains("Something broke in dynowatch; its log says what."), "{}", answer.text);
        }
        if place == "API" {
            assert_eq!(answer.json()["error"]["code"], "internal", "{}", answer.text);
        }
    }
    let said = log.take();
    assert!(said.contains("ERROR") && said.contains("api_tokens"), "the log has the particulars: {said}");
    // Where even people cannot be read, nobody comes in.
    database.drop_table("users").await;
    let mut eve = Browser::new(&site);
    let answer = eve.sign_in("ada", PASSWORD).await;
    assert_eq!((answer.status, eve.jar.is_empty()), (BROKEN, true), "{}", answer.text);
    tells_nothing("sign-in", &answer.text);
}

/// (16.5.1) Nor does an answer tell why the store is away.
#[tokio::test]
async fn a_store_that_was_closed_is_told_in_general_words() {
    let log = Log::default();
    let _heard = tracing::subscriber::set_default(log.clone());
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    site.engine.store().close().await;
    log.take();
    for (place, answer) in all(&site, &mut ada).await {
        assert_eq!((answer.status, answer.header("set-cookie")), (AWAY, ""), "{place}: {}", answer.text);
        tells_nothing(place, &answer.text);
    }
    let mut eve = Browser::new(&site);
    let answer = eve.sign_in("ada", PASSWORD).await;
    assert_eq!((answer.status, eve.jar.is_empty()), (AWAY, true), "{}", answer.text);
    let said = log.take();
    assert!(said.contains("WARN") && said.contains("pool"), "the log has the particulars: {said}");
}

/// What even the router's own answer to a panic does not reach.
async fn broken() -> String {
    let read = "forty-two".parse::<u16>();
    read.unwrap_or_else(|error| panic!("forty-two of SELECT in src/secret.rs: {error}")).to_string()
}

/// (13.4.2, 16.5.1) A handler that panics ends one request, with nothing in its answer, and the next is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_shows_nothing() {
    let mut site = Site::open().await;
    site.router = site.router.clone().route("/broken", get(broken));
    let served = Served::of(site).await;
    let mut raw = Raw::connect(served.address).await;
    raw.send(b"GET /broken HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer().await;
    let body = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, BROKEN.as_u16(), "{}", answer.head);
    for (place, text) in [("head", &answer.head), ("body", &body)] {
        tells_nothing(place, text);
        assert!(!text.contains("forty-two"), "{place}: {text}");
    }
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(raw.answer().await.status, OK.as_u16());
}

/// (13.4.2) There is no debug mode: no endpoint of one, no switch for one, no file of ours.
#[tokio::test]
async fn there_is_nothing_to_debug_by() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    for path in [
        "/debug",
        "/debug/pprof/",
        "/debug/vars",
        "/_debug",
        "/__debug__/",
        "/console",
        "/trace",
        "/tracing",
        "/pprof",
        "/profile",
        "/heap",
        "/threads",
        "/tokio",
        "/actuator",
        "/actuator/env",
        "/env",
        "/info",
        "/status",
        "/server-status",
        "/phpinfo.php",
        "/metrics/debug",
        "/api/v1/debug",
        "/api/debug",
        "/api/v1/env",
        "/api/docs",
        "/swagger",
        "/.env",
        "/.git/config",
        "/dynowatch.toml",
        "/dynowatch.db",
        "/assets/..%2FCargo.toml",
        "/assets/../Cargo.toml",
        "/assets/.map",
    ] {
        let answer = ada.get(path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}: {}", answer.text);
        tells_nothing(path, &answer.text);
    }
    let traced = ada.send(Method::TRACE, "/", &[("x-canary", "hunter2")], "").await;
    assert!(traced.status.is_client_error() && !traced.text.contains("hunter2"), "{}", traced.text);
    // Who asks for more is told no more.
    let plain = ada.get("/alerts/nonsense").await;
    for query in ["debug=1", "trace=1", "verbose=1", "XDEBUG_SESSION=1"] {
        let asked = ada.get(&format!("/alerts/nonsense?{query}")).await;
        assert_eq!(asked.status, plain.status, "{query}");
        tells_nothing(query, &asked.text);
        let refused = site.api(Method::GET, &format!("/api/v1/alerts?{query}"), "").await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{query}");
        tells_nothing(query, &refused.text);
    }
    let headers = [("x-debug", "1"), ("x-debug-token", "1"), ("pragma", "trace")];
    assert_eq!(ada.send(Method::GET, "/alerts/nonsense", &headers, "").await.text, plain.text);
    for header in ["server", "x-powered-by", "x-debug-token", "x-runtime", "server-timing"] {
        assert_eq!(plain.header(header), "", "{header}");
    }
    assert_eq!(ada.get("/sign-out").await.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(ada.post("/sign-out", &[]).await.status, SEE_OTHER);
}
