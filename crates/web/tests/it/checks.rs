//! Checks in the console: what the pages say, who may do what, and what a form makes. What servers reply is scripted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::fact::Value;
use dynowatch_domain::check::heartbeat::{Expected, Heartbeat, Ping, PingKind};
use dynowatch_domain::check::kind::{CheckKind, RedisCheck, TcpCheck, TlsMode, WebCheck};
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Scope, When};
use dynowatch_domain::check::observation::{Observation, Peer, Phase, Pin};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::{AssertionResult, Check, Secret, Source};
use dynowatch_engine::checks::{ChecksConfig, Probe, ProbeJob, Probed, Probing};
use dynowatch_store::audit::AuditFilter;
use http::StatusCode;

use crate::accounts::join;
use crate::browser::Browser;
use crate::pages::text;
use crate::site::{KNOWN_SECRET, Site, rules, settings, settled};

/// What runs find, by check; up where nothing is said.
#[derive(Default)]
pub(crate) struct Script {
    finds: Mutex<HashMap<String, Reason>>,
    offers: Mutex<HashMap<String, String>>,
}

impl Script {
    pub(crate) fn finds(&self, check: &str, reason: Option<Reason>) {
        let mut finds = self.finds.lock().unwrap();
        match reason {
            Some(reason) => finds.insert(check.to_owned(), reason),
            None => finds.remove(check),
        };
    }
}

impl Probe for Script {
    fn run(&self, job: ProbeJob) -> Probing {
        let reason = self.finds.lock().unwrap().get(&job.check.name).copied();
        let offered = self.offers.lock().unwrap().get(&job.check.name).cloned();
        let detail = reason.map_or(String::new(), |_| format!("{KNOWN_SECRET} said <b>no</b>"));
        let mut found = Observation::bare(job.now, reason, detail);
        found.phases.set(Phase::Dns, 900);
        found.phases.set(Phase::Connect, 2_100);
        if reason.is_none() {
            found.phases.set(Phase::FirstByte, 31_000);
        }
        found.phases.total_us = if reason.is_some() { 3_000 } else { 35_500 };
        found.failed_phase = reason.map(|_| Phase::Connect);
        found.peer = Some(Peer {
            address: "203.0.113.5:443".parse().unwrap(),
            protocol: "HTTP/2".into(),
            tls: "TLS 1.3".into(),
        });
        found.facts.set("status", Value::from(200_u64));
        for assertion in &job.check.assertions {
            found.assertions.push(AssertionResult {
                text: assertion.as_str().to_owned(),
                outcome: if reason.is_some() { Outcome::Unknown } else { Outcome::Up },
                reason: reason.map(|_| Reason::NotMeasured),
                seen: if reason.is_some() { "absent: nothing was measured".into() } else { "200".into() },
                why: String::new(),
            });
        }
        let mut memory = job.memory;
        if let Some(offered) = offered {
            let pin = |key: &str| Some(Pin { key_sha256: key.to_owned(), first_seen_at: job.now });
            memory.pin = memory.pin.or(pin("aa11"));
            memory.pin_offered = memory.pin.as_ref().filter(|pinned| pinned.key_sha256 != offered).and(pin(&offered));
        }
        let transcript = serde_json::from_value(serde_json::json!({
            "lines": [{ "at_us": 900, "side": "note", "text": format!("dns: 203.0.113.5 {KNOWN_SECRET}") }]
        }));
        Box::pin(async move { Probed { observation: found, memory, transcript: transcript.unwrap() } })
    }
}

impl Site {
    /// With these checks, whose runs find what the script says.
    pub(crate) async fn checking(checks: Vec<Check>, windows: Vec<MaintenanceWindow>) -> (Self, Arc<Script>) {
        let site = Self::open().await;
        let config = ChecksConfig { checks, windows, ..ChecksConfig::default() };
        site.engine.reconfigure(settings(&site.folder, &rules(), None, config)).await.unwrap();
        let script = Arc::new(Script::default());
        site.engine.probe_with(Arc::<Script>::clone(&script));
        (site, script)
    }

    /// Lets so much time go by, with every run that is due.
    pub(crate) async fn play(&self, time: Duration) {
        let until = self.clock.now() + time;
        loop {
            self.engine.check_passes().await.unwrap();
            for job in self.engine.start_due_checks() {
                self.engine.clone().run_check(job).await;
            }
            self.engine.settle_checks().await.unwrap();
            let now = self.clock.now();
            if now >= until {
                break;
            }
            let next = self.engine.next_check_at().unwrap_or(until).min(now + Duration::from_secs(5)).min(until);
            self.clock.advance(next.since(now).max(Duration::from_millis(1)));
        }
        self.engine.flush_checks(true).await.unwrap();
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn web(name: &str) -> Check {
    Check {
        app: Some("shop".into()),
        receivers: vec!["operator".into()],
        runbook: Some("https://wiki.example/down".into()),
        assertions: vec!["status = 200".parse().unwrap()],
        ..Check::new(
            name,
            CheckKind::Web(WebCheck::get("https://ada:hunter2-hunter2@shop.example.com/health?token=s3cr3t")),
        )
    }
}

fn all_kinds() -> Vec<Check> {
    let redis = RedisCheck {
        url: Source::Url(Secret::new("rediss://:hunter2-hunter2@redis.example.com:6390")),
        key: Some("jobs".into()),
        family: Default::default(),
        tls: TlsMode::Pin,
    };
    let tcp = TcpCheck { host: "mail.example.com".into(), port: 25, family: Default::default() };
    let every = Expected::Every(Duration::from_secs(3_600));
    let nightly = Heartbeat { expected: every, grace: Duration::from_secs(300), run_max: None };
    vec![
        web("home"),
        web("checkout"),
        Check { paused: true, ..web("old") },
        Check::new("queue", CheckKind::Redis(redis)),
        Check::new("mail", CheckKind::Tcp(tcp)),
        Check::new("nightly", CheckKind::Heartbeat(nightly)),
    ]
}

fn window(site_now: dynowatch_domain::Timestamp) -> MaintenanceWindow {
    MaintenanceWindow {
        name: "mail-move".into(),
        scope: Scope::Checks(vec!["mail".parse().unwrap()]),
        when: When::Once { from: site_now, until: site_now + MINUTE * 60 },
        reason: "the mail server moves".into(),
    }
}

/// One down, one suspect, one that cannot be read, one in maintenance, a job that never reported, one paused.
async fn eventful() -> (Site, Arc<Script>) {
    let begin = dynowatch_testkit::clock::moment(crate::site::BEGIN);
    let (site, script) = Site::checking(all_kinds(), vec![window(begin)]).await;
    site.play(MINUTE * 20).await;
    script.finds("home", Some(Reason::ConnectRefused));
    script.finds("queue", Some(Reason::WrongType));
    site.play(MINUTE * 4).await;
    script.finds("checkout", Some(Reason::Timeout));
    site.play(MINUTE).await;
    (site, script)
}

/// A page's text, without the moments and days of which nothing is known.
fn said(site: &Site, page: &str) -> String {
    let text = settled(site, &text(page));
    let is_blank = |line: &&str| {
        line.contains("no data | no data |") || line.contains("-08: no data") || line.ends_with("UTC | no data |")
    };
    text.lines().filter(|line| !is_blank(line)).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_list_says_what_is_urgent_first() {
    let (site, _) = eventful().await;
    let page = site.local("/checks").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    insta::assert_snapshot!("checks", said(&site, &page.text));
    let narrowed = site.local("/checks?state=down&app=shop&kind=web").await.text;
    assert!(narrowed.contains("/checks/home") && !narrowed.contains("/checks/checkout"), "{narrowed}");
    assert!(site.local("/checks?app=nowhere").await.text.contains("No check fits"));
    assert_eq!(site.local("/checks?state=nonsense").await.status, StatusCode::BAD_REQUEST);
    for page in ["/checks", "/checks/home", "/checks/queue", "/checks/nightly", "/", "/apps/shop"] {
        let page = site.local(page).await.text;
        for secret in [KNOWN_SECRET, "s3cr3t", "<b>no"] {
            assert!(!page.contains(secret), "{secret}");
        }
    }
}

#[tokio::test]
async fn without_a_check_it_says_how_to_make_one() {
    let site = Site::open().await;
    insta::assert_snapshot!("checks_none", text(&site.local("/checks").await.text));
    assert!(!site.local("/").await.text.contains("checks-now"));
}

#[tokio::test]
async fn a_check_that_is_down() {
    let (site, _) = eventful().await;
    let page = site.local("/checks/home").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    insta::assert_snapshot!("check_down", said(&site, &page.text));
    let alert = page.text.split("href=\"/alerts/").nth(1).unwrap().split('"').next().unwrap();
    let alert = site.local(&format!("/alerts/{alert}")).await.text;
    assert!(alert.contains("href=\"/checks/home\""), "{alert}");
}

#[tokio::test]
async fn other_kinds_and_states() {
    let (site, _) = eventful().await;
    for (name, path) in [
        ("check_misconfigured", "/checks/queue"),
        ("check_maintenance", "/checks/mail"),
        ("check_heartbeat", "/checks/nightly"),
    ] {
        let page = site.local(path).await;
        insta::assert_snapshot!(name, said(&site, &page.text));
    }
    for (path, status) in [
        ("/checks/nowhere", 404),
        ("/checks/%FF", 404),
        ("/checks/home/charts/x.json", 404),
        ("/checks/nightly/charts/phases.json", 404),
    ] {
        assert_eq!(site.local(path).await.status.as_u16(), status, "{path}");
    }
}

#[tokio::test]
async fn the_chart_the_table_and_the_csv_agree() {
    let (site, _) = eventful().await;
    let json = site.local("/checks/home/charts/phases.json?range=2h").await.json();
    let names: Vec<&str> =
        json["series"].as_array().unwrap().iter().map(|series| series["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["DNS", "connect", "first byte", "slowest run"]);
    assert_eq!((&json["unit"], &json["step_s"]), (&"ms".into(), &60.into()));
    let csv = site.local("/checks/home/charts/phases.csv?range=2h").await.text;
    let rows: Vec<&str> = csv.lines().filter(|line| line.ends_with(",35.5")).collect();
    assert!(rows.len() >= 19 && rows[0].contains(",0.9,2.1,31,"), "{csv}");
    let page = site.local("/checks/home?range=2h").await.text;
    assert!(page.contains("/checks/home/charts/phases.json?range=2h"), "{page}");
}

#[tokio::test]
async fn the_first_page_and_the_apps_page_mention_checks() {
    let (site, script) = eventful().await;
    let now = site.local("/").await.text;
    assert!(text(&now).contains("4 of 6 checks are not up"), "{}", text(&now));
    let app = text(&site.local("/apps/shop").await.text);
    assert!(app.contains("## Checks") && app.contains("checkout") && !app.contains("nightly"), "{app}");
    for check in ["home", "checkout", "queue"] {
        script.finds(check, None);
    }
    site.play(MINUTE * 5).await;
    assert!(text(&site.local("/").await.text).contains("1 of 6 checks is not up"));
    let palette = site.local("/palette").await.text;
    assert!(palette.contains("\"/checks/home\""), "{palette}");
}

/// The newest entry about that.
async fn audited(site: &Site, action: &str) -> (String, String) {
    let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 1).await.unwrap();
    let entry = entries.into_iter().next().unwrap_or_else(|| panic!("{action} is not in the audit log"));
    (entry.actor, entry.subject)
}

#[tokio::test]
async fn operators_act_and_viewers_look() {
    let (site, script) = eventful().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "operator").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let token = site.engine.check_status("nightly").await.unwrap().row.unwrap().ping_token.unwrap();
    let seen = vic.get("/checks/nightly").await.text;
    assert!(!seen.contains(&token) && !seen.contains("check-acts") && seen.contains("operators see it"), "{seen}");
    let seen = bob.get("/checks/nightly").await.text;
    assert!(seen.contains(&format!("https://DYNOWATCH/ping/{token}")) && seen.contains("curl"), "{seen}");
    for act in ["run", "explain", "pause", "resume", "pin", "delete"] {
        vic.get("/checks/home").await;
        let answer = vic.post(&format!("/checks/home/{act}"), &[]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{act}");
    }
    bob.get("/checks/home").await;
    let answer = bob.post("/checks/home/pause", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::SEE_OTHER, "/checks/home"), "{}", answer.text);
    assert_eq!(audited(&site, "check.pause").await, ("user:bob".to_owned(), "home".to_owned()));
    let page = bob.get("/checks/home").await.text;
    assert!(page.contains("Paused by user:bob") && page.contains("Resume") && page.contains("is paused"), "{page}");
    bob.post("/checks/home/resume", &[]).await;
    bob.post("/checks/home/run", &[]).await;
    assert_eq!(audited(&site, "check.run").await.1, "home");
    script.finds("home", None);
    // A wish is heard with the next look at shares.
    site.play(Duration::from_secs(6)).await;
    assert!(bob.get("/checks/home").await.text.contains("is up"));
    let told = bob.post("/checks/home/explain", &[]).await;
    assert_eq!(told.status, StatusCode::OK, "{}", told.text);
    assert!(told.text.contains("It counts nowhere") && !told.text.contains(KNOWN_SECRET), "{}", told.text);
    let missing = bob.post("/checks/nowhere/run", &[]).await;
    assert_eq!(missing.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_new_key_is_shown_beside_the_old_one_and_accepted() {
    let (site, script) = eventful().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    script.finds("queue", None);
    script.offers.lock().unwrap().insert("queue".into(), "bb22".into());
    site.play(MINUTE * 2).await;
    let page = ada.get("/checks/queue").await.text;
    assert!(page.contains("aa11") && page.contains("bb22") && page.contains("Accept the new key"), "{page}");
    ada.post("/checks/queue/pin", &[]).await;
    site.play(MINUTE * 2).await;
    let page = ada.get("/checks/queue").await.text;
    assert!(!page.contains("aa11") && page.contains("bb22") && !page.contains("Accept the new key"), "{page}");
}

#[tokio::test]
async fn a_job_that_reported() {
    let (site, _) = eventful().await;
    let token = site.engine.check_status("nightly").await.unwrap().row.unwrap().ping_token.unwrap();
    let ping = |kind, note: &str| Ping { at: site.clock.now(), kind, run: Some("r7".into()), note: note.into() };
    site.engine.ping(&token, &ping(PingKind::Start, "")).await.unwrap();
    site.play(Duration::from_secs(30)).await;
    site.engine.ping(&token, &ping(PingKind::Finish, &format!("done {KNOWN_SECRET}"))).await.unwrap();
    site.play(MINUTE).await;
    let page = site.local("/checks/nightly").await.text;
    let plain = text(&page);
    assert!(plain.contains("is up") && plain.contains("finish of run r7") && plain.contains("It took: 30s"), "{plain}");
    assert!(!page.contains(KNOWN_SECRET));
}

/// The form of each kind, what is wrong in it at its fields, a trial that saves nothing, then the check itself.
#[tokio::test]
async fn a_check_is_made_in_the_console() {
    let (site, script) = eventful().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let kinds = ada.get("/checks/new").await.text;
    for kind in ["web", "redis", "postgres", "heartbeat", "heroku", "tls", "tcp", "dns"] {
        assert!(kinds.contains(&format!("/checks/new?kind={kind}\"")), "{kind}");
        let form = ada.get(&format!("/checks/new?kind={kind}&app=shop")).await;
        assert_eq!(form.status, StatusCode::OK, "{kind}");
        assert!(form.text.contains("value=\"shop\""), "{kind}");
    }
    insta::assert_snapshot!("check_new", text(&ada.get("/checks/new?kind=web").await.text));
    let fields = |assert| {
        [
            ("kind", "web"),
            ("name", "search"),
            ("url", "https://shop.example.com/search"),
            ("method", "GET"),
            ("assert", assert),
            ("failures", "1"),
            ("severity", "critical"),
            ("send_resolved", "yes"),
        ]
    };
    let trial = |what, assert| [&fields(assert)[..], &[("do", what)]].concat();
    let wrong = ada.post("/checks/new", &trial("try", "status is fine")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("aria-invalid=\"true\"") && wrong.text.contains("status is fine"), "{}", wrong.text);
    let tried = ada.post("/checks/new", &trial("try", "status = 200")).await;
    assert_eq!(tried.status, StatusCode::OK, "{}", tried.text);
    let plain = text(&tried.text);
    assert!(plain.contains("One run, made just now: up") && plain.contains("Nothing is saved"), "{plain}");
    assert!(tried.text.contains("value=\"https://shop.example.com/search\""), "what was typed is still there");
    assert!(!tried.text.contains(KNOWN_SECRET));
    assert_eq!(ada.get("/checks/search").await.status, StatusCode::NOT_FOUND);
    for taken in ["maintenance", "new", "home", "Not a name"] {
        let mut fields = fields("status = 200");
        fields[1].1 = taken;
        let refused = ada.post("/checks/new", &fields).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{taken}");
    }
    let made = ada.post("/checks/new", &fields("status = 200")).await;
    assert_eq!((made.status, made.header("location")), (StatusCode::SEE_OTHER, "/checks/search"), "{}", made.text);
    assert_eq!(audited(&site, "check.create").await, ("user:ada".to_owned(), "search".to_owned()));
    script.finds("search", Some(Reason::ConnectRefused));
    site.play(MINUTE * 2).await;
    assert!(ada.get("/checks/search").await.text.contains("search is down"));
    // Changed, then deleted.
    let edit = ada.get("/checks/search/edit").await.text;
    assert!(edit.contains("value=\"https://shop.example.com/search\"") && edit.contains("Delete it"), "{edit}");
    let changed = ada.post("/checks/search/edit", &[&fields("status = 200")[..], &[("failures", "7")]].concat()).await;
    assert_eq!(changed.status, StatusCode::SEE_OTHER);
    assert_eq!(ada.post("/checks/search/delete", &[("confirm", "home")]).await.status, StatusCode::BAD_REQUEST);
    let gone = ada.post("/checks/search/delete", &[("confirm", "search")]).await;
    assert_eq!((gone.status, gone.header("location")), (StatusCode::SEE_OTHER, "/checks"));
    assert_eq!(ada.get("/checks/search").await.status, StatusCode::NOT_FOUND);
    let mut vic = join(&mut ada, "vic", "viewer").await;
    for path in ["/checks/new", "/checks/home/edit", "/checks/maintenance/new"] {
        assert_eq!(vic.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(vic.post("/checks/new", &fields("status = 200")).await.status, StatusCode::FORBIDDEN);
}

/// A check of the file is not edited here; other thresholds can be tried on its past all the same.
#[tokio::test]
async fn thresholds_are_tried_on_the_past() {
    let (site, script) = eventful().await;
    for _ in 0..3 {
        script.finds("home", None);
        site.play(MINUTE * 5).await;
        script.finds("home", Some(Reason::Timeout));
        site.play(MINUTE * 2).await;
    }
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let form = ada.get("/checks/home/edit").await.text;
    assert!(form.contains("stands in the configuration file") && !form.contains("Delete it"), "{form}");
    let told = text(
        &ada.post(
            "/checks/home/edit",
            &[("do", "replay"), ("failures", "1"), ("recoveries", "1"), ("flapping_off", "yes")],
        )
        .await
        .text,
    );
    assert!(
        told.contains("These thresholds would have paged 4 times, after hours")
            || told.contains("would have paged 4 times"),
        "{told}"
    );
    let patient = text(&ada.post("/checks/home/edit", &[("do", "replay"), ("failures", "30")]).await.text);
    assert!(
        patient.contains("These thresholds would have paged nobody")
            && patient.contains("The present ones would have paged"),
        "{patient}"
    );
    let wrong = ada.post("/checks/home/edit", &[("do", "replay"), ("failures", "many")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("value=\"many\"") && wrong.text.contains("no number"), "{}", wrong.text);
    assert_eq!(ada.get("/checks/nowhere/edit").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn maintenance_is_planned_and_ended() {
    let (site, _) = eventful().await;
    let list = site.local("/checks/maintenance").await;
    insta::assert_snapshot!("maintenance", settled(&site, &text(&list.text)));
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let form = ada.get("/checks/maintenance/new?check=home").await.text;
    assert!(form.contains("value=\"home\"") && form.contains("value=\"2026-05-07T08:31\""), "{form}");
    let fields = |at| {
        [
            ("name", "deploy"),
            ("scope", "checks"),
            ("checks", "home"),
            ("when", "once"),
            ("at", at),
            ("for", "1h"),
            ("reason", "a <b>release"),
        ]
    };
    let wrong = ada.post("/checks/maintenance/new", &fields("soon")).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.text.contains("aria-invalid=\"true\""), "{}", wrong.text);
    let made = ada.post("/checks/maintenance/new", &fields("2026-05-07T08:30:00Z")).await;
    assert_eq!(made.status, StatusCode::SEE_OTHER, "{}", made.text);
    site.play(MINUTE * 2).await;
    let page = ada.get("/checks/home").await.text;
    assert!(page.contains("home is maintenance") || page.contains("is in maintenance"), "{page}");
    assert!(page.contains("a &lt;b&gt;release") && page.contains("deploy"), "{page}");
    let list = ada.get("/checks/maintenance").await.text;
    assert!(list.contains("in force") && list.contains("End it now"), "{list}");
    let ended = ada.post("/checks/maintenance/deploy/end", &[]).await;
    assert_eq!(ended.status, StatusCode::SEE_OTHER, "{}", ended.text);
    site.play(MINUTE).await;
    assert!(ada.get("/checks/home").await.text.contains("home is down"));
    assert!(text(&ada.get("/checks/maintenance").await.text).contains("over"));
    assert_eq!(ada.post("/checks/maintenance/deploy/end", &[]).await.status, StatusCode::CONFLICT);
    assert_eq!(ada.post("/checks/maintenance/mail-move/end", &[]).await.status, StatusCode::NOT_FOUND);
    let gone = ada.post("/checks/maintenance/deploy/delete", &[("confirm", "deploy")]).await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
}
