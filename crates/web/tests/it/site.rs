//! A running instance for one test: an engine on a store of its own under a clock that stands still, with the router
//! before it, asked without a socket.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use dynowatch_domain::account::Scopes;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{Condition, GroupBy, MatchSpec, Rule};
use dynowatch_domain::{Clock, Timestamp, rule_pack};
use dynowatch_engine::checks::ChecksConfig;
use dynowatch_engine::heroku::HerokuAccount;
use dynowatch_engine::{Engine, EngineOptions, Limits, Loops, Settings, Taken};
use dynowatch_heroku::{Client, ClientOptions};
use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
use dynowatch_store::tokens::NewApiToken;
use dynowatch_store::{Store, StoreOptions};
use dynowatch_testkit::clock::TestClock;
use dynowatch_testkit::heroku::{FakeHeroku, KEY};
use dynowatch_web::drain::{Drain, DrainSettings};
use dynowatch_web::server::Peer;
use dynowatch_web::{AccountOptions, ApiLimits, ReloadRequest, WebOptions, router, token_hash};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tower::ServiceExt as _;

/// A token of the configuration.
pub(crate) const TOKEN: &str = "environment-token-0123456789";
/// A secret of the drain.
pub(crate) const SECRET: &str = "drain-secret";
/// A value that only the masker knows as a secret.
pub(crate) const KNOWN_SECRET: &str = "hunter2-hunter2";
/// When every test begins.
pub(crate) const BEGIN: &str = "2026-05-07T08:06:12Z";

pub(crate) struct Site {
    pub(crate) engine: Engine,
    pub(crate) drain: Arc<Drain>,
    pub(crate) router: Router,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) fuse: Arc<Fuse>,
    pub(crate) reloads: mpsc::Receiver<ReloadRequest>,
    pub(crate) folder: TempDir,
    /// Ends what never ends by itself.
    pub(crate) stop: watch::Sender<bool>,
    _loops: Loops,
}

/// The clock of a site, which can be made to break: what asks for the time then panics, and says a secret.
pub(crate) struct Fuse {
    clock: Arc<TestClock>,
    left: AtomicU32,
}

impl Fuse {
    /// Lets the `n`th question from now on panic, and no other.
    pub(crate) fn break_at(&self, n: u32) {
        self.left.store(n, Ordering::SeqCst);
    }

    /// Whether that has happened, or was never asked for.
    pub(crate) fn is_out(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

impl Clock for Fuse {
    fn now(&self) -> Timestamp {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        assert_ne!(left, Ok(1), "forty-two of SELECT in src/secret.rs: {KNOWN_SECRET}");
        self.clock.now()
    }
}

/// A whole answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// The built-in H12 (told to `operator`), and a rule whose groups come from paths.
pub(crate) fn rules() -> Vec<Rule> {
    let h12 = rule_pack::rules().into_iter().find(|rule| rule.name == "h12").unwrap();
    let count =
        |threshold: &str| Condition::Count { threshold: threshold.parse().unwrap(), window: Duration::from_secs(300) };
    let h12 = Rule {
        condition: count("> 3"),
        receivers: vec!["operator".into()],
        runbook: Some("https://wiki.example/h12?a=1&b=2".into()),
        ..h12
    };
    let status = MatchSpec { status: vec!["5xx".parse().unwrap()], ..MatchSpec::default() };
    let by_path = Rule {
        group_by: vec![GroupBy::PathPrefix],
        receivers: vec!["operator".into()],
        runbook: Some("javascript:alert(1)".into()),
        ..Rule::new("5xx-by-path", status, count(">= 1"))
    };
    let text = MatchSpec { text: vec!["kaboom".into()], ..MatchSpec::default() };
    let silent = Rule { enabled: true, ..Rule::new("kaboom", text, count(">= 1")) };
    let off = Rule {
        enabled: false,
        ..Rule::new("off", MatchSpec { text: vec!["x".into()], ..MatchSpec::default() }, count("> 1"))
    };
    vec![h12, by_path, silent, off]
}

/// What the engine is given.
pub(crate) fn settings(folder: &TempDir, rules: &[Rule], public_url: Option<String>, checks: ChecksConfig) -> Settings {
    let log = ReceiverSpec {
        name: "operator".into(),
        kind: ReceiverKind::Log { path: Some(folder.path().join("messages.txt")) },
    };
    Settings {
        rules: rules.to_vec(),
        apps: vec![("shop".into(), vec!["d.01234567-89ab-4cde-8f01-23456789abcd".into()])],
        receivers: Receivers::build(&[log], &[]).unwrap(),
        masker: Masker::with_values(vec![KNOWN_SECRET.to_owned()]),
        public_url,
        checks: checks.clone(),
        compose: Some(Arc::new(crate::composer::Composer::new(folder.path(), rules.to_vec(), checks))),
    }
}

/// Signing in with a key for seeds, and no proxy.
pub(crate) fn account_options() -> AccountOptions {
    AccountOptions { trust_forwarded: false, secret_keys: vec![[7; 32]], oidc: None }
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::with(rules()).await
    }

    pub(crate) async fn with(rules: Vec<Rule>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        Self::on(folder, &url, rules).await
    }

    pub(crate) async fn on(folder: TempDir, url: &str, rules: Vec<Rule>) -> Self {
        Self::limited(folder, url, rules, ApiLimits::default()).await
    }

    pub(crate) async fn limited(folder: TempDir, url: &str, rules: Vec<Rule>, limits: ApiLimits) -> Self {
        let commits = tokio::runtime::Handle::current();
        Self::made(folder, url, rules, limits, None, account_options(), (Limits::default(), commits)).await
    }

    /// With other bounds inside, and commits elsewhere.
    pub(crate) async fn bounded(limits: Limits, commits: tokio::runtime::Handle) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("store.db").display());
        Self::made(folder, &url, rules(), ApiLimits::default(), None, account_options(), (limits, commits)).await
    }

    pub(crate) async fn signing_in(
        folder: TempDir,
        url: &str,
        rules: Vec<Rule>,
        public_url: Option<String>,
        options: AccountOptions,
    ) -> Self {
        let engine = (Limits::default(), tokio::runtime::Handle::current());
        Self::made(folder, url, rules, ApiLimits::default(), public_url, options, engine).await
    }

    async fn made(
        folder: TempDir,
        url: &str,
        rules: Vec<Rule>,
        limits: ApiLimits,
        public_url: Option<String>,
        options: AccountOptions,
        (engine_limits, commits): (Limits, tokio::runtime::Handle),
    ) -> Self {
        _ = rustls::crypto::ring::default_provider().install_default();
        let clock = Arc::new(TestClock::at(BEGIN));
        let fuse = Arc::new(Fuse { clock: clock.clone(), left: AtomicU32::new(0) });
        let store = Store::open(&StoreOptions::new(url)).await.unwrap();
        let settings = settings(&folder, &rules, public_url, ChecksConfig::default());
        let (engine, loops) =
            Engine::start(EngineOptions { clock: fuse.clone(), store, settings, limits: engine_limits, commits })
                .await
                .unwrap();
        let settings = DrainSettings {
            enabled: true,
            secrets: vec![SECRET.into()],
            body_bytes_max: 64 * 1024,
            requests_max: 64,
            on_dyno: false,
        };
        let drain = Arc::new(Drain::new(engine.clone(), settings));
        let (reload, reloads) = mpsc::channel(1);
        let (stop, stopped) = watch::channel(false);
        let router = router(WebOptions {
            engine: engine.clone(),
            drain: Arc::clone(&drain),
            api_tokens: vec![TOKEN.into()],
            api_limits: limits,
            reload,
            environment: Some("production".to_owned()),
            stop: stopped,
            read_ahead: false,
            accounts: options,
        });
        Self { stop, engine, drain, router, clock, fuse, reloads, folder, _loops: loops }
    }

    /// A Heroku account, and the engine connected to it.
    pub(crate) async fn heroku(&self) -> FakeHeroku {
        let fake = FakeHeroku::start().await;
        self.connect(&fake, Duration::from_secs(20));
        fake
    }

    /// Connects the engine to an account, with so much time for each request.
    pub(crate) fn connect(&self, fake: &FakeHeroku, request_max: Duration) {
        let options = ClientOptions {
            base_url: fake.url(),
            retry_wait: Duration::from_millis(1),
            request_max,
            ..ClientOptions::new(KEY.into())
        };
        let client = Client::new(options).unwrap();
        let drain_url = Arc::new(|app: &str, mark: Option<&str>| {
            let mark = mark.unwrap_or("none");
            Ok(format!("https://drain:canary-password@watch.example.com/drain/{app}?drain={mark}").into())
        });
        self.engine.connect_heroku(Some(HerokuAccount { client, drain_url }));
    }

    /// Asks from `peer`.
    pub(crate) async fn ask(
        &self,
        method: Method,
        path: &str,
        peer: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Body::from(body.to_owned())).unwrap();
        request.extensions_mut().insert(Peer(peer.parse::<SocketAddr>().unwrap()));
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Asks from this machine, without a token.
    pub(crate) async fn local(&self, path: &str) -> Answer {
        self.ask(Method::GET, path, "127.0.0.1:40000", &[], "").await
    }

    /// Asks the API with the configured token.
    pub(crate) async fn api(&self, method: Method, path: &str, body: &str) -> Answer {
        self.api_as(TOKEN, method, path, body).await
    }

    pub(crate) async fn api_as(&self, token: &str, method: Method, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {token}");
        self.ask(method, path, "203.0.113.9:40000", &[("authorization", &bearer)], body).await
    }

    /// Reads the API; anything but 200 is a failure.
    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        let answer = self.api(Method::GET, path, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
        answer.json()
    }

    /// Makes a token in the store.
    pub(crate) async fn token(&self, name: &str, token: &str) {
        let id = uuid::Uuid::from_u128(u128::from_be_bytes(token_hash(token)[..16].try_into().unwrap()));
        let scopes = Scopes::all();
        let new = NewApiToken { id, name: name.into(), hash: token_hash(token), scopes, expires_at: None, user: None };
        let act = Actor::here("test").did("token.create", name);
        self.engine.store().create_api_token(&new, None, &act, self.clock.now()).await.unwrap();
    }

    /// Makes a token in the store that is for some apps only.
    pub(crate) async fn token_for(&self, name: &str, token: &str, apps: &[&str]) {
        let id = uuid::Uuid::from_u128(u128::from_be_bytes(token_hash(token)[..16].try_into().unwrap()));
        let scopes = Scopes { apps: apps.iter().map(|app| (*app).to_owned()).collect(), ..Scopes::all() };
        let new = NewApiToken { id, name: name.into(), hash: token_hash(token), scopes, expires_at: None, user: None };
        let act = Actor::here("test").did("token.create", name);
        self.engine.store().create_api_token(&new, None, &act, self.clock.now()).await.unwrap();
    }

    /// Takes a batch as the drain would, and commits it.
    pub(crate) async fn post(&self, app: &str, body: &[u8]) {
        let app = self.engine.app_named(app).await.unwrap();
        if let Taken::Pending(pending) = self.engine.take(&app, None, &bytes::Bytes::copy_from_slice(body)) {
            self.engine.keep(pending).await.unwrap();
        }
    }

    /// Four H12 and what stands around them: an alert, and its message, sent.
    pub(crate) async fn storm(&self) {
        let mut body =
            app_line("2026-05-07T08:05:58Z", "web.1", "checkout token=Zm9vYmFyYmF6cXV4MTIzNDU2Nzg5 <b>slow</b>");
        for second in [1, 4, 8, 12] {
            body.push_str(&h12(&format!("2026-05-07T08:06:{second:02}Z")));
        }
        body.push_str(&frame(
            "2026-05-07T08:06:12Z",
            "heroku",
            "web.1",
            "source=web.1 dyno=heroku.1.2 sample#memory_total=512.5MB sample#load_avg_1m=0.25",
        ));
        self.post("shop", body.as_bytes()).await;
        self.engine.send_pass().await.unwrap();
    }

    /// The id of the newest alert.
    pub(crate) async fn newest_alert(&self) -> String {
        self.get("/api/v1/alerts?limit=1").await["items"][0]["id"].as_str().unwrap().to_owned()
    }
}

/// An octet-counted frame.
pub(crate) fn frame(at: &str, app: &str, process: &str, text: &str) -> String {
    let message = format!("<158>1 {at} host {app} {process} - {text}\n");
    format!("{} {message}", message.len())
}

/// A router line with H12.
pub(crate) fn h12(at: &str) -> String {
    request(at, "/orders/7", "code=H12 desc=\"Request timeout\"", 503)
}

/// A router line.
pub(crate) fn request(at: &str, path: &str, error: &str, status: u16) -> String {
    request_to(at, "shop.example.com", path, error, status)
}

/// A router line of a request to some host.
pub(crate) fn request_to(at: &str, host: &str, path: &str, error: &str, status: u16) -> String {
    let level = if error.is_empty() { "at=info".to_owned() } else { format!("at=error {error}") };
    let text = format!(
        "{level} method=GET path=\"{path}\" host={host} request_id=0af3 fwd=\"203.0.113.9\" dyno=web.1 connect=1ms service=30000ms status={status} bytes=10 protocol=https"
    );
    frame(at, "heroku", "router", &text)
}

/// A line of the app itself.
pub(crate) fn app_line(at: &str, dyno: &str, text: &str) -> String {
    frame(at, "app", dyno, text)
}

/// Ids that are drawn at random, and paths of temporary folders, made the same for every run.
pub(crate) fn settled(site: &Site, text: &str) -> String {
    let text =
        text.replace(&site.folder.path().display().to_string(), "FOLDER").replace(env!("CARGO_PKG_VERSION"), "VERSION");
    let mut out = String::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        if let Some((head, tail)) = rest.split_at_checked(36)
            && head
                .bytes()
                .enumerate()
                .all(|(i, b)| if [8, 13, 18, 23].contains(&i) { b == b'-' } else { b.is_ascii_hexdigit() })
        {
            out.push_str("ID");
            rest = tail;
        } else {
            let next = rest.chars().next().map_or(0, char::len_utf8);
            out.push_str(&rest[..next]);
            rest = &rest[next..];
        }
    }
    out
}
