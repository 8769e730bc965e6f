//! The stage of every scenario: one engine in this process, on a store of its own, under a clock that is moved by hand,
//! with receivers that speak HTTP. Lines are posted, time passes, and every message that arrived must be named by the
//! test, with its moment; one that no test expected is a failure like a missing one.
//!
//! The engine's loops are not started: whenever time moves, its passes are made by hand at every moment something falls
//! due, so that a scenario of an hour takes a second and has one outcome.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::check::Check;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::rule::{Condition, MatchSpec, Rule};
use dynowatch_domain::signal::Code;
use dynowatch_domain::{Clock as _, Timestamp};
use dynowatch_engine::checks::ChecksConfig;
use dynowatch_engine::{App, Engine, EngineOptions, Limits, Loops, Refused, Settings, Taken};
use dynowatch_notify::{ReceiverKind, ReceiverSpec, Receivers};
use dynowatch_store::alerts::{Alert, AlertFilter};
use dynowatch_store::{Store, StoreError, StoreOptions};
use dynowatch_testkit::clock::{TestClock, moment};
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::slack::{FakeSlack, TOKEN};
use dynowatch_testkit::webhook_sink::WebhookSink;
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::script::Script;

/// Which store a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Sqlite,
    Postgres,
}

/// How long after the last act a scenario is watched for messages nobody expected.
const AFTERMATH: Duration = Duration::from_secs(15 * 60);
const LEVEL_EVERY: Duration = Duration::from_secs(10);

/// A message as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at: Timestamp,
    pub(crate) receiver: String,
    pub(crate) title: String,
    /// All that a reader sees.
    pub(crate) text: String,
    pub(crate) idempotency_key: String,
    pub(crate) body: serde_json::Value,
}

impl Told {
    /// `0:30 operator: [firing] h12 on shop`, with what is worth knowing behind it.
    fn show(&self) -> String {
        let mut text = format!("{} {}: {}", offset(self.at), self.receiver, self.title);
        let held_back = self.text.lines().find_map(|line| line.strip_prefix("Held back: ")?.split(' ').next());
        if let Some(n) = held_back {
            text.push_str(&format!(", {n} held back"));
        }
        if self.text.contains("Possible duplicate") || self.body["possible_duplicate"] == true {
            text.push_str(", perhaps again");
        }
        text
    }
}

/// A moment of the play: minutes and seconds after 8 o'clock, as in `4:59` or `-0:40`.
#[track_caller]
pub(crate) fn at(offset: &str) -> Timestamp {
    let (sign, text) = offset.strip_prefix('-').map_or((1, offset), |text| (-1, text));
    let (minutes, seconds) = text.split_once(':').expect("minutes and seconds");
    let micros = minutes.parse::<i64>().unwrap() * 60_000_000 + (seconds.parse::<f64>().unwrap() * 1e6).round() as i64;
    Timestamp::from_micros(begin().as_micros() + sign * micros)
}

fn begin() -> Timestamp {
    moment("2026-05-07T08:00:00Z")
}

/// The other way round.
pub(crate) fn offset(at: Timestamp) -> String {
    let millis = (at.as_micros() - begin().as_micros()) / 1_000;
    let (sign, millis) = if millis < 0 { ("-", -millis) } else { ("", millis) };
    let fraction = if millis % 1_000 == 0 { String::new() } else { format!(".{:03}", millis % 1_000) };
    format!("{sign}{}:{:02}{fraction}", millis / 60_000, millis / 1_000 % 60)
}

// --- Lines ---

/// An octet-counted frame.
pub(crate) fn frame(at: Timestamp, app: &str, process: &str, text: &str) -> String {
    let message = format!("<158>1 {at} host {app} {process} - {text}\n");
    format!("{} {message}", message.len())
}

/// A router line with H12.
pub(crate) fn h12(stamp: &str) -> String {
    request(at(stamp), "web.1", "H12", 503)
}

/// A router line; an empty code is a request that went well.
pub(crate) fn request(at: Timestamp, dyno: &str, code: &str, status: u16) -> String {
    let error =
        if code.is_empty() { "at=info ".to_owned() } else { format!("at=error code={code} desc=\"Request timeout\" ") };
    let text = format!(
        "{error}method=GET path=\"/orders/7\" host=shop.example.com request_id=0af3 fwd=\"203.0.113.9\" dyno={dyno} connect=0ms service=30000ms status={status} bytes=0 protocol=https"
    );
    frame(at, "heroku", "router", &text)
}

/// A Gunicorn worker timeout, as the app writes it.
pub(crate) fn worker_timeout(stamp: &str) -> String {
    app_line(stamp, "web.1", "[CRITICAL] WORKER TIMEOUT (pid:17)")
}

/// A line of the app itself.
pub(crate) fn app_line(stamp: &str, dyno: &str, text: &str) -> String {
    frame(at(stamp), "app", dyno, text)
}

/// A memory error of a dyno.
pub(crate) fn r14(stamp: &str, dyno: &str) -> String {
    frame(at(stamp), "heroku", dyno, "Error R14 (Memory quota exceeded)")
}

// --- Rules ---

pub(crate) fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Lines with this code.
pub(crate) fn by_code(letter: u8, number: u16) -> MatchSpec {
    MatchSpec { code: Code::new(letter, number).into_iter().collect(), ..MatchSpec::default() }
}

/// The runbook's first rule: H12 `> 3` in 5 minutes, told to `operator`.
pub(crate) fn h12_rule() -> Rule {
    count("h12", by_code(b'H', 12), "> 3", 300)
}

/// The runbook's second rule: WORKER TIMEOUT `> 2` in 2 minutes.
pub(crate) fn worker_timeout_rule() -> Rule {
    count("worker-timeout", MatchSpec { text: vec!["WORKER TIMEOUT".into()], ..MatchSpec::default() }, "> 2", 120)
}

pub(crate) fn count(name: &str, matches: MatchSpec, threshold: &str, window_s: u64) -> Rule {
    let condition = Condition::Count { threshold: threshold.parse().unwrap(), window: seconds(window_s) };
    Rule {
        receivers: vec!["operator".into()],
        runbook: Some(format!("docs/runbooks/{name}.md")),
        ..Rule::new(name, matches, condition)
    }
}

// --- The stage ---

/// What the configuration file would say.
pub(crate) struct Config {
    pub(crate) rules: Vec<Rule>,
    pub(crate) limits: Limits,
    pub(crate) attempt_timeout: Duration,
    pub(crate) public_url: Option<String>,
    /// Whether ratios and absences are judged, and this process's life is noted, every ten seconds.
    pub(crate) levels: bool,
    pub(crate) checks: ChecksConfig,
    /// Whether metrics may find no room.
    pub(crate) may_be_full: bool,
    /// What answers runs of checks.
    pub(crate) script: Option<Arc<Script>>,
}

impl Config {
    pub(crate) fn of(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            limits: Limits::default(),
            attempt_timeout: seconds(5),
            public_url: Some("https://dynowatch.example.com".into()),
            levels: true,
            checks: ChecksConfig::default(),
            may_be_full: false,
            script: None,
        }
    }

    /// With these checks, whose runs find what a script says.
    pub(crate) fn checks(checks: Vec<Check>) -> Self {
        let checks = ChecksConfig { checks, ..ChecksConfig::default() };
        Self { checks, script: Some(Arc::default()), ..Self::of(Vec::new()) }
    }
}

pub(crate) struct Stage {
    pub(crate) clock: Arc<TestClock>,
    pub(crate) slack: FakeSlack,
    pub(crate) hook: WebhookSink,
    pub(crate) config: Config,
    /// Messages that arrived and that the test has not named yet.
    told: Vec<Told>,
    seen: BTreeMap<&'static str, usize>,
    frames: u32,
    levels_due: Timestamp,
    running: Option<(Engine, Loops)>,
    /// Runs of checks on their way.
    runs: JoinSet<()>,
    options: StoreOptions,
    database: Option<TestDatabase>,
    _folder: TempDir,
}

impl Stage {
    /// An engine with these rules, started at 0:00 on an empty store.
    pub(crate) async fn with(on: On, rules: Vec<Rule>) -> Self {
        Self::configured(on, Config::of(rules)).await
    }

    pub(crate) async fn configured(on: On, config: Config) -> Self {
        let database = if on == On::Postgres { Some(TestDatabase::create().await) } else { None };
        Self::on_database(database, config).await
    }

    /// On that database, or on a new SQLite file.
    pub(crate) async fn on_database(database: Option<TestDatabase>, config: Config) -> Self {
        // Another test of this process may have installed it.
        let _installed = rustls::crypto::ring::default_provider().install_default();
        let folder = tempfile::tempdir().unwrap();
        let url = database.as_ref().map_or_else(
            || format!("sqlite://{}", folder.path().join("dynowatch.db").display()),
            |database| database.url().to_owned(),
        );
        let mut stage = Self {
            clock: Arc::new(TestClock::at_time(begin())),
            slack: FakeSlack::start().await,
            hook: WebhookSink::start().await,
            config,
            told: Vec::new(),
            seen: BTreeMap::new(),
            frames: 0,
            levels_due: begin(),
            running: None,
            runs: JoinSet::new(),
            options: StoreOptions::new(&url),
            database,
            _folder: folder,
        };
        stage.start().await;
        stage
    }

    /// Starts the engine and lets it do what is due.
    pub(crate) async fn start(&mut self) {
        let options = EngineOptions {
            clock: self.clock.clone(),
            store: self.store_of_the_server().await,
            settings: self.settings(),
            limits: self.config.limits,
            commits: tokio::runtime::Handle::current(),
        };
        self.running = Some(Engine::start(options).await.unwrap());
        if let Some(script) = &self.config.script {
            self.engine().probe_with(script.clone());
        }
        self.levels_due = self.clock.now();
        self.passes().await;
    }

    /// The server's own: on SQLite there is one at a time.
    async fn store_of_the_server(&self) -> Store {
        let options = StoreOptions { exclusive: true, ..self.options.clone() };
        // Tasks of an engine that was ended are dropped when they are next looked at.
        for _ in 0..1_000 {
            match Store::open(&options).await {
                Err(StoreError::Conflict(_)) => tokio::task::yield_now().await,
                opened => return opened.unwrap(),
            }
        }
        panic!("the test itself holds the engine that was ended");
    }

    /// Ends the engine as `kill -9` would: nothing is flushed, nothing is said.
    pub(crate) fn crash(&mut self) {
        assert!(self.running.take().is_some(), "it runs");
        self.runs = JoinSet::new();
        if let Some(script) = &self.config.script {
            script.let_go();
        }
    }

    /// Ends the engine as SIGTERM would.
    pub(crate) async fn stop(&mut self) {
        let (_, loops) = self.running.take().expect("it runs");
        loops.stop().await;
    }

    /// A crash and a start, at the same moment.
    pub(crate) async fn restart(&mut self) {
        self.crash();
        self.start().await;
    }

    /// A stop and a start with so much room for metrics.
    pub(crate) async fn restart_with_room(&mut self, metrics_bytes_max: u64) {
        self.stop().await;
        self.options.metrics_bytes_max = metrics_bytes_max;
        self.config.may_be_full = true;
        self.start().await;
    }

    /// The present configuration, put in force as a reload would.
    pub(crate) async fn reload(&mut self) {
        self.engine().reconfigure(self.settings()).await.unwrap();
        self.passes().await;
    }

    pub(crate) fn settings(&self) -> Settings {
        let slack = ReceiverSpec {
            name: "operator".into(),
            kind: ReceiverKind::Slack { channel: "D0AJ7K184TV".into(), token: TOKEN.into(), api_url: self.slack.url() },
        };
        let hook =
            ReceiverSpec { name: "hook".into(), kind: ReceiverKind::Webhook { url: self.hook.url(), secret: None } };
        Settings {
            rules: self.config.rules.clone(),
            apps: ["shop", "mail"].map(|name| (name.to_owned(), vec![format!("d.{name}")])).to_vec(),
            receivers: Receivers::build(&[slack, hook], &[]).unwrap().with_attempt_timeout(self.config.attempt_timeout),
            masker: Masker::with_values(vec!["drain-secret-7c1f".to_owned()]),
            public_url: self.config.public_url.clone(),
            checks: self.config.checks.clone(),
            compose: None,
        }
    }

    pub(crate) fn engine(&self) -> Engine {
        self.running.as_ref().expect("it runs").0.clone()
    }

    pub(crate) fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("a scenario on Postgres")
    }

    /// The store, opened once more: as a command line or another process would.
    pub(crate) async fn another_store(&self) -> Store {
        Store::open(&self.options).await.unwrap()
    }

    /// Another process on the same store, that only does what it is told.
    pub(crate) async fn another_engine(&self) -> Engine {
        let options = EngineOptions {
            clock: self.clock.clone(),
            store: self.another_store().await,
            settings: self.settings(),
            limits: self.config.limits,
            commits: tokio::runtime::Handle::current(),
        };
        Engine::attach(options).await.unwrap()
    }

    // --- Time ---

    /// Lets time pass until then. Whatever falls due on the way is done when it does.
    pub(crate) async fn until(&mut self, offset: &str) {
        self.until_time(at(offset)).await;
    }

    pub(crate) async fn until_time(&mut self, target: Timestamp) {
        assert!(self.clock.now() <= target, "the play is past {} already", offset(target));
        while self.clock.now() < target {
            let next = self.next_due().await.min(target);
            self.clock.set(next);
            self.passes().await;
        }
    }

    /// Time passes while nothing runs.
    pub(crate) fn nobody_until(&mut self, offset: &str) {
        assert!(self.running.is_none(), "it runs");
        self.clock.set(at(offset));
    }

    async fn next_due(&self) -> Timestamp {
        let engine = self.engine();
        let now = self.clock.now();
        let (wake, delivery) =
            (engine.store().next_wake_at().await.unwrap(), engine.store().next_delivery_at().await.unwrap());
        let levels = self.config.levels.then_some(self.levels_due);
        // Shares, windows and pings are looked at now and then, whether a check is due or not.
        let looks = self.config.script.is_some().then(|| now + seconds(5));
        let checks = engine.next_check_at().into_iter().chain(looks).map(|at| at.max(now + Duration::from_millis(1)));
        let checks = checks.min();
        // What is overdue and yet not done, such as a message held by a dead process, is looked at every second.
        let dues = [wake, delivery].into_iter().flatten().map(|due| if due > now { due } else { now + seconds(1) });
        dues.chain(levels).chain(checks).min().unwrap_or(Timestamp::from_micros(i64::MAX))
    }

    /// What the loops would do now.
    pub(crate) async fn passes(&mut self) {
        self.passes_but_sending().await;
        self.engine().send_pass().await.unwrap();
        self.collect();
    }

    pub(crate) async fn passes_but_sending(&mut self) {
        let (engine, now) = (self.engine(), self.clock.now());
        engine.wake_pass().await.unwrap();
        if self.config.script.is_some() {
            Box::pin(self.check_round()).await;
        }
        if self.config.levels && now >= self.levels_due {
            match engine.level_pass().await {
                Err(StoreError::Full(_)) if self.config.may_be_full => {}
                looked => looked.unwrap(),
            }
            engine.refresh_pass().await.unwrap();
            self.levels_due = now + LEVEL_EVERY;
        }
    }

    /// What the loops of checks would do now: everything due is run, and settled.
    pub(crate) async fn check_round(&mut self) {
        let engine = self.engine();
        engine.check_passes().await.unwrap();
        self.run_due().await;
        engine.settle_checks().await.unwrap();
    }

    /// Runs what is due, until all have ended but those that hang.
    pub(crate) async fn run_due(&mut self) {
        let (engine, script) = (self.engine(), self.config.script.clone().expect("a script"));
        for job in engine.start_due_checks() {
            self.runs.spawn(engine.clone().run_check(job));
        }
        while self.runs.len() > script.hung() {
            tokio::select! {
                ended = self.runs.join_next() => ended.unwrap().unwrap(),
                () = tokio::task::yield_now() => {}
            }
        }
    }

    /// Exactly these messages have arrived since the last call, in this order, whenever it was. Returns them.
    #[track_caller]
    pub(crate) fn told_of(&mut self, expected: &[&str]) -> Vec<Told> {
        let told = std::mem::take(&mut self.told);
        let titles: Vec<&str> = told.iter().map(|told| told.title.as_str()).collect();
        assert_eq!(titles, expected, "at {}", offset(self.clock.now()));
        told
    }

    /// What people see of a check.
    pub(crate) async fn shown(&self, check: &str) -> String {
        let engine = self.engine();
        engine.flush_checks(true).await.unwrap();
        engine.check_status(check).await.unwrap().row.unwrap().shown.as_str().to_owned()
    }

    // --- Lines ---

    /// At that moment a batch of the app comes in and is answered.
    pub(crate) async fn post(&mut self, when: &str, app: &str, lines: &[String]) {
        self.until(when).await;
        self.post_now(app, lines).await.unwrap();
        self.passes().await;
    }

    /// Each line comes in at its own stamp, in a batch of its own.
    pub(crate) async fn live(&mut self, app: &str, line: fn(&str) -> String, stamps: &[&str]) {
        for stamp in stamps {
            self.post(stamp, app, &[line(stamp)]).await;
        }
    }

    /// A batch comes in now, with a Frame-Id of its own.
    pub(crate) async fn post_now(&mut self, app: &str, lines: &[String]) -> Result<u64, Refused> {
        self.frames += 1;
        let id = format!("frame-{}", self.frames);
        self.post_frame(app, &id, lines).await
    }

    /// The same with this Frame-Id. Nothing is sent yet.
    pub(crate) async fn post_frame(&mut self, app: &str, id: &str, lines: &[String]) -> Result<u64, Refused> {
        let engine = self.engine();
        let app = engine.app_named(app).await.unwrap();
        self.post_to(&app, Some(id), lines).await
    }

    pub(crate) async fn post_to(&mut self, app: &Arc<App>, id: Option<&str>, lines: &[String]) -> Result<u64, Refused> {
        let engine = self.engine();
        match engine.take(app, id, &bytes::Bytes::from(lines.concat())) {
            Taken::Done { lines, .. } => Ok(lines),
            Taken::Pending(pending) => engine.keep(pending).await,
        }
    }

    // --- Messages ---

    /// Looks what has arrived since the last look.
    pub(crate) fn collect(&mut self) {
        let now = self.clock.now();
        let slack: Vec<Told> = self
            .slack
            .messages()
            .into_iter()
            .map(|message| {
                let title = message.text.lines().next().unwrap_or_default().to_owned();
                let idempotency_key = message.idempotency_key().unwrap_or_default().to_owned();
                Told {
                    at: now,
                    receiver: "operator".into(),
                    title,
                    text: message.text,
                    idempotency_key,
                    body: message.body,
                }
            })
            .collect();
        let hook: Vec<Told> = self
            .hook
            .messages()
            .into_iter()
            .map(|message| {
                let text = |name: &str| message.body[name].as_str().unwrap_or_default().to_owned();
                let idempotency_key = message.idempotency_key().unwrap_or_default().to_owned();
                Told {
                    at: now,
                    receiver: "hook".into(),
                    title: text("title"),
                    text: text("text"),
                    idempotency_key,
                    body: message.body,
                }
            })
            .collect();
        for (name, all) in [("operator", slack), ("hook", hook)] {
            let seen = self.seen.entry(name).or_default();
            let new = all.get(*seen..).unwrap_or_default();
            *seen = all.len();
            self.told.extend_from_slice(new);
        }
    }

    /// Exactly these messages have arrived since the last call, in this order. Returns them.
    #[track_caller]
    pub(crate) fn told(&mut self, expected: &[&str]) -> Vec<Told> {
        let told = std::mem::take(&mut self.told);
        let shown: Vec<String> = told.iter().map(Told::show).collect();
        assert_eq!(shown, expected, "at {}", offset(self.clock.now()));
        told
    }

    /// The same whatever the order: receivers are told side by side.
    #[track_caller]
    pub(crate) fn told_in_any_order(&mut self, expected: &[&str]) -> Vec<Told> {
        self.told.sort_by_key(|told| (told.at, told.receiver.clone(), told.title.clone()));
        self.told(expected)
    }

    /// What has arrived and was not named, for tests with a model of their own.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// A quarter of an hour later, nothing else has arrived.
    pub(crate) async fn end(mut self) {
        // Counts need no looks every ten seconds, and nobody changes anything any more.
        self.config.levels = self.config.rules.iter().any(|rule| !matches!(rule.condition, Condition::Count { .. }));
        let end = self.clock.now() + AFTERMATH;
        self.until_time(end).await;
        self.told(&[]);
    }

    // --- The store ---

    /// Every alert, oldest first, with all that is known of it.
    pub(crate) async fn alerts(&self) -> Vec<Alert> {
        let store = self.engine().store().clone();
        let mut alerts = Vec::new();
        for row in store.alerts(&AlertFilter { limit: 100, ..AlertFilter::default() }).await.unwrap().into_iter().rev()
        {
            if let Some(id) = row.id {
                alerts.push(store.alert(id).await.unwrap());
            }
        }
        // Those of one moment by their apps.
        alerts.sort_by_key(|alert| (alert.row.since, alert.row.app_name.clone()));
        alerts
    }

    /// The only alert.
    pub(crate) async fn alert(&self) -> Alert {
        let mut alerts = self.alerts().await;
        assert_eq!(alerts.len(), 1, "{alerts:#?}");
        alerts.remove(0)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.told.is_empty(), "nobody expected {:#?}", self.told);
        }
    }
}
