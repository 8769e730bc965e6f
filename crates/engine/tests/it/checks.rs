//! What is told of checks, and when nobody is: scenarios of the catalog (A9 to A19) over a whole engine, its store and its
//! receivers. What servers reply is scripted; that the words come from their replies is shown in `probe`.

use dynowatch_domain::Clock as _;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::check::heartbeat::{Expected, Heartbeat, Ping, PingKind};
use dynowatch_domain::check::kind::{CheckKind, RedisCheck, TcpCheck, TlsMode, WebCheck};
use dynowatch_domain::check::maintenance::{MaintenanceWindow, Scope, When};
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::check::state::Held;
use dynowatch_domain::check::uptime::Standing;
use dynowatch_domain::check::{Check, Flapping, Source, Thresholds};
use dynowatch_testkit::heroku::{FakeHeroku, Trouble};

use crate::harness::{Config, On, Stage, at, seconds};
use crate::script::Finds;

/// A web check each minute, told to `operator`, that is down after so many failures and up after so many successes.
pub(crate) fn web(name: &str, failures: u32, recoveries: u32) -> Check {
    let url = format!("https://{name}.example.com/health");
    Check {
        receivers: vec!["operator".into()],
        runbook: Some(format!("docs/{name}.md")),
        app: Some("shop".into()),
        thresholds: Thresholds { failures, recoveries, flapping: None, ..Thresholds::default() },
        ..Check::new(name, CheckKind::Web(WebCheck::get(url)))
    }
}

pub(crate) const DOWN: Finds = Finds::Wrong(Reason::ConnectRefused);

async fn play(on: On, checks: Vec<Check>) -> Stage {
    Stage::configured(on, Config::checks(checks)).await
}

impl Stage {
    pub(crate) fn finds(&self, check: &str, finds: Finds) {
        self.config.script.as_ref().unwrap().finds(check, finds);
    }

    /// Lets the check run so many times more.
    pub(crate) async fn runs(&mut self, check: &str, runs: usize) {
        let script = self.config.script.clone().unwrap();
        let wanted = script.begun(check).len() + runs;
        while script.begun(check).len() < wanted {
            let next = self.engine().next_check_at().unwrap_or(self.clock.now() + seconds(5));
            let next = next.max(self.clock.now() + seconds(0)).min(self.clock.now() + seconds(5));
            self.until_time(next.max(self.clock.now() + std::time::Duration::from_millis(1))).await;
        }
    }

    /// The machine sleeps until then, and the check runs twice: what was a gap is over with the second.
    async fn sleeps_until(&mut self, at: dynowatch_domain::Timestamp) {
        self.clock.set(at);
        self.passes().await;
        self.runs("home", 2).await;
    }

    /// One run for each sign: `S`uccess or `F`ailure.
    pub(crate) async fn row(&mut self, check: &str, signs: &str) {
        for sign in signs.chars() {
            self.finds(check, if sign == 'F' { DOWN } else { Finds::Up });
            self.runs(check, 1).await;
        }
    }
}

pub(crate) async fn a9_thresholds_and_one_id(on: On) {
    let mut play = play(on, vec![web("home", 3, 2)]).await;
    play.row("home", "FFSFFF").await;
    let told = play.told_of(&["[firing] check:home on shop"]);
    for part in [
        "Found: connect_refused: Nothing listens on that port.",
        "Threshold: 3 failed runs in a row",
        "Runbook: docs/home.md",
        "Severity: critical",
        "dynowatch[check]: home down connect_refused",
        "no release in the last 30 min",
    ] {
        assert!(told[0].text.contains(part), "{part:?} is not in {}", told[0].text);
    }
    play.row("home", "FSFS").await;
    play.told_of(&[]);
    let id = play.alert().await.row.id;
    play.row("home", "S").await;
    let told = play.told_of(&["[resolved] check:home on shop"]);
    assert!(told[0].text.contains("Found: up again after 6m"), "{}", told[0].text);
    // One id on everything.
    let alert = play.alert().await;
    assert_eq!((alert.row.id, alert.row.resolved_at.is_some()), (id, true));
    let outages = play.engine().check_outages("home", play.clock.now(), 10).await.unwrap();
    assert_eq!(outages.iter().map(|outage| Some(outage.id)).collect::<Vec<_>>(), [id.map(|id| id.0)]);
    assert!(!alert.evidence.is_empty());
    play.end().await;
}

/// 21, 7 and 1 days before its end, across a restart, and never twice; a new one resolves it.
pub(crate) async fn a_certificate_is_warned_of_three_times(on: On) {
    let day = |days: u64| seconds(days * 86_400);
    let mut play = play(on, vec![web("home", 2, 1)]).await;
    let ends_at = play.clock.now() + day(30);
    play.finds("home", Finds::Ends(ends_at));
    play.runs("home", 2).await;
    play.told_of(&[]);
    play.sleeps_until(ends_at - day(20)).await;
    let told = play.told_of(&["[firing] check:home on shop (about certificate)"]);
    for part in [
        "Found: CN=home.example.com ends at",
        "in 19 days",
        "Severity: warning",
        "issued by CN=a CA, for home.example.com",
    ] {
        assert!(told[0].text.contains(part), "{part:?} is not in {}", told[0].text);
    }
    play.restart().await;
    play.runs("home", 3).await;
    play.sleeps_until(ends_at - day(8)).await;
    play.told_of(&[]);
    play.sleeps_until(ends_at - day(6)).await;
    assert!(play.told_of(&["[still firing] check:home on shop (about certificate)"])[0].text.contains("in 5 days"));
    // A failure is told apart from it, and ends without it.
    play.row("home", "FFS").await;
    play.told_of(&["[firing] check:home on shop", "[resolved] check:home on shop"]);
    play.finds("home", Finds::Ends(ends_at));
    play.sleeps_until(ends_at - seconds(80_000)).await;
    let told = play.told_of(&["[still firing] check:home on shop (about certificate)"]);
    assert!(told[0].text.contains("in 22 h") && told[0].text.contains("Severity: critical"), "{}", told[0].text);
    // A new one, and an hour later nobody sees the old one any more.
    play.finds("home", Finds::Ends(ends_at + day(90)));
    play.runs("home", 2).await;
    play.told_of(&[]);
    play.sleeps_until(ends_at - seconds(70_000)).await;
    assert!(
        play.told_of(&["[resolved] check:home on shop (about certificate)"])[0]
            .text
            .contains("was replaced by one that holds until")
    );
    assert_eq!(play.shown("home").await, "up");
    play.end().await;
}

pub(crate) async fn a10_flapping_is_told_once(on: On) {
    let mut check = web("home", 1, 1);
    check.thresholds.flapping = Some(Flapping { transitions: 6, window: seconds(600), quiet: seconds(300) });
    let mut play = play(on, vec![check]).await;
    play.row("home", "SFSFSFS").await;
    let told = play.told_of(&[
        "[firing] check:home on shop",
        "[resolved] check:home on shop",
        "[firing] check:home on shop",
        "[resolved] check:home on shop",
        "[firing] check:home on shop",
        "[still firing] check:home on shop",
    ]);
    assert!(told[5].text.contains("Found: flapping"), "{}", told[5].text);
    play.row("home", "FSFSFSFSFSFSFS").await;
    play.told_of(&[]);
    assert_eq!(play.shown("home").await, "flapping");
    play.row("home", "SSSSS").await;
    let told = play.told_of(&["[resolved] check:home on shop"]);
    assert!(told[0].text.contains("flapping is over, and it is up"), "{}", told[0].text);
    play.end().await;
}

pub(crate) async fn a12_an_outage_survives_a_kill(on: On) {
    let mut play = play(on, vec![web("home", 2, 1)]).await;
    play.row("home", "SFF").await;
    play.told_of(&["[firing] check:home on shop"]);
    let before = play.alert().await.row;
    let first_failure = play.engine().check_outages("home", play.clock.now(), 1).await.unwrap()[0].began_at;
    let slots = play.config.script.as_ref().unwrap().begun("home");
    play.crash();
    play.nobody_until("6:00");
    play.start().await;
    play.runs("home", 2).await;
    play.told_of(&[]);
    play.row("home", "S").await;
    let told = play.told_of(&["[resolved] check:home on shop"]);
    let alert = play.alert().await.row;
    assert_eq!(alert.id, before.id);
    // The true duration, and the same places in the minute as before.
    let now = play.clock.now();
    let lasted = dynowatch_domain::parse::show_duration(seconds(now.since(first_failure).as_secs()));
    assert!(told[0].text.contains(&format!("up again after {lasted}")), "{}", told[0].text);
    assert_eq!(now.since(*slots.last().unwrap()).as_micros() % 60_000_000, 0);
    // While nobody looked, nothing is known.
    let uptime = play.engine().check_uptime("home", at("0:00"), now).await.unwrap();
    assert!(uptime.flips.iter().any(|flip| flip.standing == Standing::Unknown && flip.at > at("2:00")));
    play.end().await;
}

pub(crate) async fn a15_a_misconfigured_check_pages_nobody(on: On) {
    let mut play = play(on, vec![web("home", 1, 1)]).await;
    play.row("home", "S").await;
    play.finds("home", Finds::Wrong(Reason::WrongType));
    play.runs("home", 5).await;
    assert_eq!(play.shown("home").await, "misconfigured");
    let failures = play.engine().check_failures("home", play.clock.now() + seconds(1), 10).await.unwrap();
    assert_eq!(failures[0].observation.reason, Some(Reason::WrongType));
    play.told_of(&[]);
    play.row("home", "S").await;
    play.end().await;
}

fn window(from: &str, until: &str, scope: Scope) -> MaintenanceWindow {
    let when = When::Once { from: at(from), until: at(until) };
    MaintenanceWindow { name: "move".into(), scope, when, reason: "the database moves".into() }
}

pub(crate) async fn a18_maintenance(on: On) {
    let mut config = Config::checks(vec![web("home", 1, 1), web("away", 1, 1)]);
    let only_home = Scope::Checks(vec!["home".parse().unwrap()]);
    config.checks.windows = vec![window("10:00", "70:00", only_home)];
    let mut play = Stage::configured(on, config).await;
    play.until("20:00").await;
    play.finds("home", DOWN);
    play.until("22:00").await;
    assert_eq!((play.shown("home").await.as_str(), play.shown("away").await.as_str()), ("maintenance", "up"));
    // Another that begins and ends inside is recorded, and never told.
    play.row("home", "SS").await;
    play.finds("home", DOWN);
    play.until("70:00").await;
    play.told_of(&[]);
    let script = play.config.script.clone().unwrap();
    let inside = script.begun("home").len();
    // Its end, and one run of grace.
    play.runs("home", 1).await;
    play.told_of(&[]);
    play.runs("home", 1).await;
    play.told_of(&["[firing] check:home on shop"]);
    assert_eq!(script.begun("home").len(), inside + 2);
    play.row("home", "S").await;
    play.told_of(&["[resolved] check:home on shop"]);
    let now = play.clock.now();
    let outages = play.engine().check_outages("home", now, 10).await.unwrap();
    let told: Vec<_> = outages.iter().map(|outage| (outage.opened_at.is_some(), outage.held.clone())).collect();
    assert_eq!(told, [(true, Some(Held::Maintenance)), (false, Some(Held::Maintenance))]);
    // That hour is on neither side.
    let spent = play.engine().check_uptime("home", at("0:00"), now).await.unwrap().spent;
    assert_eq!(spent.maintenance_us, 3_600_000_000);
    assert!(spent.down_us < 180_000_000 && spent.up_us < 11 * 60_000_000, "{spent:?}");
    let runs = play.engine().check_history("home", at("21:00"), at("69:00")).await.unwrap();
    assert!(runs.len() > 40 && runs.iter().all(|run| run.maintenance), "{}", runs.len());
    play.end().await;
}

fn control(name: &str) -> Check {
    let tcp = TcpCheck { host: format!("{name}.example.com"), port: 443, family: Default::default() };
    Check::new(name, CheckKind::Tcp(tcp))
}

pub(crate) async fn a19_a_blind_prober(on: On) {
    let names: Vec<String> = (0..30).map(|n| format!("c{n:02}")).collect();
    let mut config = Config::checks(names.iter().map(|name| web(name, 1, 1)).collect());
    config.checks.controls = vec![control("one"), control("two")];
    config.checks.blind_receivers = vec!["operator".into()];
    let mut play = Stage::configured(on, config).await;
    play.until("3:00").await;
    // One of two answers: whoever fails is down.
    play.finds("one", DOWN);
    play.finds("c07", DOWN);
    play.until("4:30").await;
    play.told_of(&["[firing] check:c07 on shop"]);
    play.finds("c07", Finds::Up);
    play.until("5:45").await;
    play.told_of(&["[resolved] check:c07 on shop"]);
    let begin = play.clock.now();
    for name in names.iter().map(String::as_str).chain(["two"]) {
        play.finds(name, DOWN);
    }
    play.until("10:45").await;
    let told = play.told_of(&["[firing] checks:blind on dynowatch"]);
    assert!(told[0].text.contains("none of one, two answers"), "{}", told[0].text);
    for name in &names {
        assert_eq!(play.shown(name).await, "blind");
    }
    for name in names.iter().map(String::as_str).chain(["two"]) {
        play.finds(name, Finds::Up);
    }
    play.until("13:00").await;
    play.told_of(&["[resolved] checks:blind on dynowatch"]);
    for name in names.iter().filter(|name| *name != "c07") {
        let uptime = play.engine().check_uptime(name, at("2:00"), play.clock.now()).await.unwrap();
        assert_eq!(uptime.spent.down_us, 0, "{name}");
        let unknown = uptime.spent.unknown_us / 1_000_000;
        assert!((240..=380).contains(&unknown), "{name}: {unknown} s unknown since {begin}");
        assert!(uptime.spent.show().starts_with("100.00 % of "), "{}", uptime.spent.show());
    }
    play.end().await;
}

pub(crate) async fn one_outage_one_page(on: On) {
    let child = |name: &str| Check { parent: Some("db".into()), ..web(name, 2, 1) };
    let mut play = play(on, vec![web("db", 1, 1), child("shop-api"), child("shop-jobs")]).await;
    play.until("2:00").await;
    for name in ["db", "shop-api", "shop-jobs"] {
        play.finds(name, DOWN);
    }
    play.until("8:00").await;
    play.told_of(&["[firing] check:db on shop"]);
    // What is measured is not held back.
    assert_eq!(play.shown("shop-api").await, "down");
    for name in ["db", "shop-api"] {
        play.finds(name, Finds::Up);
    }
    play.until("15:00").await;
    // One went with its parent; the other is broken by itself.
    let told = play.told_of(&["[resolved] check:db on shop", "[firing] check:shop-jobs on shop"]);
    assert!(told[1].text.contains("Diagnosis: No other check of this app fails."), "{}", told[1].text);
    let outage = play.engine().check_outages("shop-api", play.clock.now(), 5).await.unwrap().remove(0);
    assert_eq!((outage.opened_at, outage.held), (None, Some(Held::Parent { name: "db".into() })));
    // What was told before the parent fails again is resolved all the same.
    play.finds("db", DOWN);
    play.until("17:00").await;
    play.told_of(&["[firing] check:db on shop"]);
    play.finds("shop-jobs", Finds::Up);
    play.until("19:00").await;
    play.told_of(&["[resolved] check:shop-jobs on shop"]);
    play.finds("db", Finds::Up);
    play.until("21:00").await;
    play.told_of(&["[resolved] check:db on shop"]);
    play.end().await;
}

pub(crate) async fn paused_and_removed_checks_close_without_a_word(on: On) {
    let mut play = play(on, vec![web("home", 1, 1), web("away", 1, 1)]).await;
    for name in ["home", "away"] {
        play.finds(name, DOWN);
    }
    play.until("2:00").await;
    assert_eq!(play.take_told().len(), 2);
    let (engine, by) = (play.engine(), Actor::here("ada"));
    assert!(engine.pause_check("home", &by).await.unwrap());
    assert!(!engine.pause_check("home", &by).await.unwrap());
    assert!(engine.pause_check("none", &by).await.is_err());
    play.config.checks.checks.retain(|check| check.name == "home");
    play.reload().await;
    let begun = play.config.script.as_ref().unwrap().begun("away").len();
    play.until("6:00").await;
    play.told_of(&[]);
    let open: Vec<_> = play.alerts().await.into_iter().filter(|alert| alert.row.resolved_at.is_none()).collect();
    assert!(open.is_empty(), "{open:#?}");
    assert_eq!(play.shown("home").await, "paused");
    let script = play.config.script.clone().unwrap();
    assert_eq!(script.begun("away").len(), begun);
    // It begins anew: the same failure is another outage.
    assert!(engine.resume_check("home", &by).await.unwrap());
    play.until("8:00").await;
    play.told_of(&["[firing] check:home on shop"]);
    play.row("home", "S").await;
    play.told_of(&["[resolved] check:home on shop"]);
    play.end().await;
}

pub(crate) async fn an_operator_closes_by_key(on: On) {
    let mut play = play(on, vec![web("home", 1, 1)]).await;
    play.row("home", "FF").await;
    play.told_of(&["[firing] check:home on shop"]);
    assert!(play.engine().close_alert("check:home/shop", &Actor::here("ada")).await.unwrap());
    play.passes().await;
    play.told_of(&["[resolved] check:home on shop"]);
    // It is known: further failures of the same outage tell nothing, nor does its end.
    play.row("home", "FFS").await;
    play.told_of(&[]);
    play.row("home", "F").await;
    play.told_of(&["[firing] check:home on shop"]);
    play.row("home", "S").await;
    play.told_of(&["[resolved] check:home on shop"]);
    play.end().await;
}

fn job(name: &str, every_s: u64, grace_s: u64) -> Check {
    let heartbeat = Heartbeat { expected: Expected::Every(seconds(every_s)), grace: seconds(grace_s), run_max: None };
    Check { kind: CheckKind::Heartbeat(heartbeat), ..web(name, 2, 1) }
}

impl Stage {
    async fn ping(&mut self, check: &str, kind: PingKind) {
        let engine = self.engine();
        let token = engine.check_status(check).await.unwrap().row.unwrap().ping_token.unwrap();
        let ping = Ping { at: self.clock.now(), kind, run: None, note: String::new() };
        assert_eq!(engine.ping(&token, &ping).await.unwrap().as_deref(), Some(check));
        self.until_time(self.clock.now() + seconds(2)).await;
    }
}

pub(crate) async fn jobs_that_report(on: On) {
    let mut play = play(on, vec![job("nightly", 600, 60)]).await;
    // What never reported is not missed.
    play.until("30:00").await;
    play.told_of(&[]);
    play.ping("nightly", PingKind::Finish).await;
    assert_eq!(play.shown("nightly").await, "up");
    play.until("40:00").await;
    play.ping("nightly", PingKind::Finish).await;
    // Silence is told at its deadline, at once and once.
    play.until("50:59").await;
    play.told_of(&[]);
    play.until("51:06").await;
    let told = play.told_of(&["[firing] check:nightly on shop"]);
    assert!(told[0].text.contains("heartbeat_missed: no ping since"), "{}", told[0].text);
    play.until("75:00").await;
    play.told_of(&[]);
    play.ping("nightly", PingKind::Finish).await;
    play.told_of(&["[resolved] check:nightly on shop"]);
    // Failures that it tells itself count one by one.
    play.ping("nightly", PingKind::Fail).await;
    play.until("80:00").await;
    play.told_of(&[]);
    assert_eq!(play.shown("nightly").await, "suspect");
    play.ping("nightly", PingKind::Fail).await;
    let told = play.told_of(&["[firing] check:nightly on shop"]);
    assert!(told[0].text.contains("heartbeat_failed"), "{}", told[0].text);
    play.ping("nightly", PingKind::Finish).await;
    play.told_of(&["[resolved] check:nightly on shop"]);
    // A run that began must end.
    play.ping("nightly", PingKind::Start).await;
    play.until_time(play.clock.now() + seconds(70)).await;
    let told = play.told_of(&["[firing] check:nightly on shop"]);
    assert!(told[0].text.contains("heartbeat_unfinished"), "{}", told[0].text);
    play.ping("nightly", PingKind::Finish).await;
    play.told_of(&["[resolved] check:nightly on shop"]);
    assert_eq!(
        play.engine()
            .ping("guessed", &Ping { at: play.clock.now(), kind: PingKind::Finish, run: None, note: String::new() })
            .await
            .unwrap(),
        None
    );
}

pub(crate) async fn what_a_job_said_while_nobody_listened(on: On) {
    let mut play = play(on, vec![job("nightly", 600, 60)]).await;
    play.until("1:00").await;
    play.ping("nightly", PingKind::Finish).await;
    play.until("5:00").await;
    play.crash();
    play.nobody_until("20:00");
    play.start().await;
    // It was due while we were away: nothing is known until it is due again.
    play.until("22:00").await;
    play.told_of(&[]);
    assert_eq!(play.shown("nightly").await, "unknown");
    play.until("30:55").await;
    play.told_of(&[]);
    play.until("31:10").await;
    play.told_of(&["[firing] check:nightly on shop"]);
    play.ping("nightly", PingKind::Finish).await;
    play.told_of(&["[resolved] check:nightly on shop"]);
}

pub(crate) async fn a_check_is_run_and_a_pin_accepted_when_asked(on: On) {
    let slow = Check { interval: seconds(86_400), ..web("home", 1, 1) };
    let mut play = play(on, vec![slow]).await;
    play.until("1:00").await;
    let script = play.config.script.clone().unwrap();
    let begun = script.begun("home").len();
    // One that never ran is run soon, however long its interval.
    assert!(begun >= 1);
    let by = Actor::here("ada");
    play.engine().ask_check_run("home", &by).await.unwrap();
    play.until_time(play.clock.now() + seconds(6)).await;
    assert_eq!(script.begun("home").len(), begun + 1);
    play.engine().accept_check_pin("home", &by).await.unwrap();
    play.until_time(play.clock.now() + seconds(12)).await;
    assert_eq!(script.begun("home").len(), begun + 2);
    let row = {
        play.shown("home").await;
        play.engine().check_status("home").await.unwrap().row.unwrap()
    };
    assert_eq!((row.run_asked_at, row.pin_asked_at), (None, None));
    play.told_of(&[]);
}

pub(crate) async fn a_target_in_a_config_var_follows_its_rotation(on: On) {
    let (old, new) = ("rediss://:canary-old@redis.example:6380", "rediss://:canary-new@redis.example:6390");
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("shop");
        account.app("shop").vars = vec![("REDIS_URL", old.to_owned()), ("OTHER", "canary-other".to_owned())];
    });
    let url = Source::ConfigVar { app: "shop".into(), name: "REDIS_URL".into() };
    let redis = RedisCheck { url, key: None, family: Default::default(), tls: TlsMode::Pin };
    let check = Check { kind: CheckKind::Redis(redis), ..web("queue", 1, 1) };
    let mut play = play(on, vec![check]).await;
    // Without a key to Heroku nothing is known, and nobody is paged.
    play.runs("queue", 0).await;
    play.until("2:00").await;
    assert_eq!(play.shown("queue").await, "misconfigured");
    play.engine().connect_heroku(Some(crate::heroku::account(&fake)));
    play.finds("queue", Finds::Accepts(old));
    play.until("4:00").await;
    assert_eq!(play.shown("queue").await, "up");
    let asked = fake.asked().len();
    assert_eq!(asked, 1);
    // The credentials are rotated: the old ones are refused, and the new ones read before anybody is told.
    fake.account(|account| account.app("shop").vars[0].1 = new.to_owned());
    play.finds("queue", Finds::Accepts(new));
    play.until("7:00").await;
    assert_eq!((play.shown("queue").await.as_str(), fake.asked().len()), ("up", asked + 1));
    let row = play.engine().check_status("queue").await.unwrap().row.unwrap();
    assert!(row.memory.rotation_until.is_some());
    // A server that refuses the present ones is down; Heroku is asked, and not all the time.
    play.finds("queue", Finds::Wrong(Reason::AuthFailed));
    play.until("9:00").await;
    play.told_of(&["[firing] check:queue on shop"]);
    assert!(fake.asked().len() <= asked + 4, "{}", fake.asked().len());
    // The var is gone.
    fake.account(|account| account.app("shop").vars.clear());
    play.finds("queue", Finds::Accepts(new));
    play.until("12:00").await;
    assert_eq!(play.shown("queue").await, "up");
    play.told_of(&["[resolved] check:queue on shop"]);
    let stored = format!("{:?} {:?}", play.engine().store().check_rows().await.unwrap(), play.alerts().await);
    assert!(!stored.contains("canary"), "{stored}");
}

/// A config var that cannot be read is not asked for at every run, and holds up no other.
pub(crate) async fn config_vars_that_cannot_be_read_are_left_alone(on: On) {
    let url = "rediss://:canary-one@redis.example:6380";
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        for name in ["shop", "mail"] {
            account.create(name);
            account.app(name).vars = vec![("REDIS_URL", url.to_owned())];
        }
    });
    let check = |app: &str| {
        let url = Source::ConfigVar { app: app.into(), name: "REDIS_URL".into() };
        let redis = RedisCheck { url, key: None, family: Default::default(), tls: TlsMode::Pin };
        Check { kind: CheckKind::Redis(redis), ..web(app, 1, 1) }
    };
    let mut play = play(on, vec![check("shop"), check("mail")]).await;
    play.engine().connect_heroku(Some(crate::heroku::account(&fake)));
    for name in ["shop", "mail"] {
        play.finds(name, Finds::Accepts(url));
    }
    (0..200).for_each(|_| fake.trouble("GET /apps/shop/config-vars", Trouble::refuse(403, "forbidden")));
    play.until("60:00").await;
    assert_eq!((play.shown("shop").await.as_str(), play.shown("mail").await.as_str()), ("misconfigured", "up"));
    let asked = fake.count("/apps/shop/config-vars");
    assert!((4..=10).contains(&asked), "{asked} times in an hour of a run each minute");
    // A release that changes the config is a reason to ask at once.
    _ = fake.untrouble();
    let line = crate::harness::frame(play.clock.now(), "app", "api", "Set REDIS_URL config vars by user a@example.com");
    play.post_now("shop", &[line]).await.unwrap();
    play.until("62:30").await;
    assert_eq!(play.shown("shop").await, "up");
    assert_eq!(fake.count("/apps/shop/config-vars"), asked + 1);
}
