//! The Heroku account kept in step, and its drains replaced without a line lost or counted twice.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Clock as _;
use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::drain_rotation::State;
use dynowatch_engine::heroku::{HerokuAccount, HerokuProblem};
use dynowatch_engine::{Engine, Taken};
use dynowatch_heroku::{Client, ClientOptions};
use dynowatch_store::heroku::{HerokuApp, Wanted};
use dynowatch_testkit::heroku::{FakeDyno, FakeHeroku, KEY, Trouble};

use crate::harness::{On, Stage, at, by_code, count, h12, h12_rule, seconds};

fn dev() -> Actor {
    Actor::here("user:dev")
}

/// What no output may show.
const PASSWORD: &str = "canary-drain-password";

pub(crate) fn account(fake: &FakeHeroku) -> HerokuAccount {
    let options = ClientOptions {
        base_url: fake.url(),
        retry_wait: Duration::from_millis(1),
        request_max: seconds(5),
        ..ClientOptions::new(KEY.into())
    };
    let drain_url = Arc::new(|app: &str, mark: Option<&str>| {
        let mark = mark.map(|mark| format!("?drain={mark}")).unwrap_or_default();
        Ok(format!("https://drain:{PASSWORD}@dynowatch.example.com/drain/{app}{mark}").into())
    });
    HerokuAccount { client: Client::new(options).unwrap(), drain_url }
}

/// A stage beside a Heroku with one app, whose drain delivers here.
async fn stage(on: On) -> (Stage, FakeHeroku) {
    let stage = Stage::with(on, vec![count("h12", by_code(b'H', 12), "> 1000", 300)]).await;
    let fake = FakeHeroku::start().await;
    fake.account(|account| _ = account.create("api-prod"));
    stage.engine().connect_heroku(Some(account(&fake)));
    (stage, fake)
}

async fn row(engine: &Engine, name: &str) -> HerokuApp {
    engine.store().heroku_apps(Wanted::Named(name)).await.unwrap().pop().unwrap()
}

/// Time passes, and the loops look every other second.
async fn pass(stage: &mut Stage, lasting: u64) {
    for _ in 0..lasting.div_ceil(2) {
        stage.clock.advance(seconds(2));
        let engine = stage.engine();
        engine.heroku_pass().await.unwrap();
        engine.refresh_pass().await.unwrap();
    }
}

fn names(engine: &Engine) -> Vec<String> {
    let mut names: Vec<String> = engine.apps().iter().map(|app| app.name.clone()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn the_account_is_kept_in_step() {
    for on in [On::Sqlite, On::Postgres] {
        let (mut stage, fake) = stage(on).await;
        fake.account(|account| {
            account.add_on("api-prod", "heroku-postgresql", "heroku-postgresql:standard-0", "DATABASE_URL");
            account.create("on-fir");
            account.app("on-fir").generation = Some("fir");
        });
        pass(&mut stage, 4).await;
        let engine = stage.engine();
        assert_eq!(names(&engine), ["api-prod", "mail", "on-fir", "shop"]);
        let api = row(&engine, "api-prod").await;
        assert_eq!((api.formation[0].quantity, api.dynos[0].name.as_str(), api.addons.len()), (1, "web.1", 1));
        assert_eq!(
            (api.facts.fir, api.facts.runtime_metrics, api.facts.region.as_deref()),
            (false, Some(false), Some("eu"))
        );
        assert!(row(&engine, "on-fir").await.facts.fir);
        assert_eq!(fake.count("/on-fir/log-drains") + fake.count("config-vars"), 0);

        // A dyno comes and another goes, an add-on is added, the app is renamed, the other one is removed.
        fake.account(|account| {
            let id = account.id();
            let app = account.app("api-prod");
            app.dynos = vec![FakeDyno { id, name: "web.2".into(), state: "starting", size: "Standard-2X", release: 2 }];
            app.formation[0].quantity = 3;
            account.add_on("api-prod", "heroku-redis", "heroku-redis:mini", "REDIS_URL");
            account.app("api-prod").name = "api-live".into();
            account.apps.retain(|app| app.name != "on-fir");
        });
        pass(&mut stage, 620).await;
        assert_eq!(names(&engine), ["api-live", "mail", "on-fir", "shop"], "its alerts stay with it");
        let live = row(&engine, "api-live").await;
        assert_eq!((live.app, live.heroku_id), (api.app, api.heroku_id));
        let dynos: Vec<_> = live.dynos.iter().map(|dyno| (dyno.name.as_str(), dyno.gone_at.is_some())).collect();
        assert_eq!(dynos, [("web.2", false), ("web.1", true)]);
        assert_eq!((live.formation[0].quantity, live.addons.len()), (3, 2));
        let all = engine.store().heroku_apps(Wanted::All).await.unwrap();
        assert!(all.iter().find(|app| app.name == "on-fir").unwrap().gone_at.is_some(), "gone, and still there");
        // Ten minutes of two apps: lists, dynos, drains. No more than the table in `heroku::sync` says.
        assert!(fake.asked().len() < 70, "{} requests", fake.asked().len());
    }
}

#[tokio::test]
async fn a_list_that_lies_removes_nothing() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    pass(&mut stage, 2).await;
    fake.trouble("GET /apps", Trouble::Lie("[]"));
    stage.clock.advance(seconds(400));
    pass(&mut stage, 2).await;
    assert_eq!(fake.untrouble(), 0);
    assert_eq!(row(&stage.engine(), "api-prod").await.gone_at, None);
}

#[tokio::test]
async fn what_heroku_refuses_is_left_alone_for_a_while() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    let engine = stage.engine();
    fake.trouble("GET /apps", Trouble::Refuse { status: 429, id: "rate_limit", retry_after: Some(120) });
    pass(&mut stage, 100).await;
    assert_eq!(fake.asked().len(), 1, "nothing is asked while it is paused");
    let status = engine.heroku_status().await.unwrap();
    assert!(status.paused.unwrap().1.unwrap().contains("rate_limit"));
    pass(&mut stage, 30).await;
    assert_eq!(engine.heroku_status().await.unwrap().known, 1);
    // Trouble with one app concerns no other.
    fake.account(|account| _ = account.create("blog"));
    stage.clock.advance(seconds(300));
    fake.trouble("GET /apps", Trouble::Lie("nothing"));
    pass(&mut stage, 400).await;
    assert_eq!(row(&engine, "blog").await.problem, None);
}

#[tokio::test]
async fn a_hang_holds_up_nobody_for_long() {
    let (stage, fake) = stage(On::Sqlite).await;
    let quick = ClientOptions {
        base_url: fake.url(),
        retry_wait: Duration::from_millis(1),
        request_max: Duration::from_millis(40),
        ..ClientOptions::new(KEY.into())
    };
    let engine = stage.engine();
    engine.connect_heroku(Some(HerokuAccount { client: Client::new(quick).unwrap(), ..account(&fake) }));
    (0..3).for_each(|_| fake.trouble("GET /apps", Trouble::Hang));
    engine.heroku_pass().await.unwrap();
    let paused = engine.heroku_status().await.unwrap().paused.unwrap();
    assert!(paused.1.unwrap().contains("did not answer"));
}

#[tokio::test]
async fn without_a_key_it_is_said() {
    let stage = Stage::with(On::Sqlite, vec![h12_rule()]).await;
    let engine = stage.engine();
    engine.heroku_pass().await.unwrap();
    let problem = engine.heroku_sync_now().await.unwrap_err();
    assert!(matches!(problem, HerokuProblem::NoKey) && problem.to_string().contains("HEROKU_API_KEY is not set"));
    assert!(!engine.heroku_status().await.unwrap().connected);
}

#[tokio::test]
async fn releases_carry_their_author_and_whether_the_code_changed() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    fake.account(|account| {
        account.release(
            "api-prod",
            "Deploy 0a1b2c3d",
            "dev@example.com",
            "2026-05-07T07:00:00Z",
            Some("0a1b2c3d4e5f6071"),
        );
        account.release("api-prod", "Set LOG_LEVEL config vars", "ops@example.com", "2026-05-07T07:30:00Z", None);
    });
    pass(&mut stage, 4).await;
    let engine = stage.engine();
    let app = row(&engine, "api-prod").await.app;
    let releases = engine.store().releases_since(at("-120:00")).await.unwrap();
    let told: Vec<_> = releases
        .iter()
        .map(|(of, release)| {
            let api = release.from_api.as_ref().unwrap();
            assert_eq!(*of, app);
            (release.version, release.actor.as_deref(), api.code_changed, api.commit.as_deref())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Some(1), Some("dev@example.com"), Some(true), Some("0a1b2c3d4e5f6071")),
            (Some(2), Some("ops@example.com"), Some(false), None)
        ]
    );
    // The drain tells of a release first, with a finer stamp; Heroku's API then says who made it.
    let line = crate::harness::frame(at("1:00.25"), "app", "api", "Release v3 created by user robot@example.com");
    let ours = engine.apps().by_name("api-prod").cloned().unwrap();
    if let Taken::Pending(pending) = engine.take(&ours, None, &line.into()) {
        engine.keep(pending).await.unwrap();
    }
    fake.account(|account| {
        _ = account.release("api-prod", "Deploy 77", "true@example.com", "2026-05-07T08:01:00Z", Some("77"))
    });
    pass(&mut stage, 130).await;
    let releases = engine.store().releases_since(at("0:30")).await.unwrap();
    assert_eq!(releases.len(), 1, "one release, from two sources: {releases:?}");
    assert_eq!((releases[0].1.at, releases[0].1.actor.as_deref()), (at("1:00.25"), Some("true@example.com")));
    assert_eq!(fake.count("slugs"), 2, "a commit is asked for once");
}

/// A line of the app in that slot, and the flush after it.
async fn seen(stage: &mut Stage, stamp: &str, flushed: &str) {
    stage.until(stamp).await;
    let engine = stage.engine();
    let app = engine.apps().by_name("api-prod").cloned().unwrap();
    let line = crate::harness::frame(at(stamp), "app", "web.1", "hello");
    if let Taken::Pending(pending) = engine.take(&app, None, &line.into()) {
        engine.keep(pending).await.unwrap();
    }
    stage.until(flushed).await;
}

/// The number of dynos is known before anybody scales, and follows what is scaled where no line tells it.
#[tokio::test]
async fn the_formation_counts_dynos() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    fake.account(|account| account.app("api-prod").formation[0].quantity = 2);
    pass(&mut stage, 4).await;
    seen(&mut stage, "0:21", "0:31").await;
    seen(&mut stage, "0:41", "0:51").await;
    fake.account(|account| account.app("api-prod").formation[0].quantity = 5);
    stage.engine().heroku_sync_now().await.unwrap();
    seen(&mut stage, "1:01", "1:11").await;
    seen(&mut stage, "1:21", "1:31").await;
    let engine = stage.engine();
    let app = engine.apps().by_name("api-prod").unwrap().id;
    let query = dynowatch_domain::metric::SeriesQuery {
        sources: dynowatch_domain::metric::query::Sources::parse("web"),
        ..dynowatch_domain::metric::SeriesQuery::new("dyno.count", at("0:20"), at("1:30"), seconds(10))
    };
    let answer = engine.series_all(app, std::slice::from_ref(&query)).await.unwrap().remove(0).answer;
    let points: Vec<_> = answer.series[0].points.iter().flatten().copied().collect();
    assert_eq!(points, [2.0, 2.0, 5.0, 5.0], "{:?}", answer.series[0].points);
    // A line that tells of a scaling is newer than the answer.
    let app = engine.apps().by_name("api-prod").cloned().unwrap();
    let line = crate::harness::frame(at("1:35"), "app", "api", "Scaled to web@1:Standard-1X by user a@example.com");
    stage.until("1:35").await;
    if let Taken::Pending(pending) = engine.take(&app, None, &line.into()) {
        engine.keep(pending).await.unwrap();
    }
    stage.until("1:45").await;
    seen(&mut stage, "1:51", "2:05").await;
    let query = dynowatch_domain::metric::SeriesQuery { from: at("1:50"), until: at("2:00"), ..query };
    let answer = engine.series_all(app.id, &[query]).await.unwrap().remove(0).answer;
    assert_eq!(answer.series[0].points, [Some(1.0)]);
}

/// Dynos have their states without a line of log, too; what the log says later goes before.
#[tokio::test]
async fn dynos_have_their_states_from_heroku() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    fake.account(|account| {
        let (id, one_off) = (account.id(), account.id());
        let dyno = |id, name: &str, state| FakeDyno { id, name: name.into(), state, size: "Standard-1X", release: 2 };
        account.app("api-prod").dynos.extend([dyno(id, "worker.1", "crashed"), dyno(one_off, "run.4711", "up")]);
    });
    pass(&mut stage, 4).await;
    let engine = stage.engine();
    let app = row(&engine, "api-prod").await.app;
    let states = async || -> Vec<(String, String)> {
        let all = engine.store().dyno_states(app).await.unwrap();
        all.into_iter().map(|state| (state.dyno, state.state)).collect()
    };
    let pair = |dyno: &str, state: &str| (dyno.to_owned(), state.to_owned());
    assert_eq!(states().await, [pair("web.1", "up"), pair("worker.1", "crashed")]);
    fake.account(|account| account.app("api-prod").dynos.retain(|dyno| dyno.name == "web.1"));
    engine.heroku_sync_now().await.unwrap();
    assert_eq!(states().await, [pair("web.1", "up"), pair("worker.1", "down")]);
}

#[tokio::test]
async fn an_adopted_app_gets_its_name() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    let engine = stage.engine();
    let token = fake
        .account(|account| account.add_drain("api-prod", "https://dynowatch.example.com/drain?drain_token=canary-x"));
    let adopted = engine.app_of_token(&token).await.unwrap().id;
    pass(&mut stage, 2).await;
    assert_eq!(engine.apps().by_name("api-prod").unwrap().id, adopted);
    assert_eq!(names(&engine), ["api-prod", "mail", "shop"]);
}

#[tokio::test]
async fn a_renamed_apps_drain_stays_its_own() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    let engine = stage.engine();
    engine.add_drain("api-prod", &dev()).await.unwrap();
    let token = fake.account(|account| account.app("api-prod").drains[0].token.clone());
    let id = row(&engine, "api-prod").await.app;
    fake.account(|account| {
        account.app("api-prod").name = "api-live".into();
        account.create("api-prod");
    });
    pass(&mut stage, 320).await;
    // The drain's URL still says `api-prod`, and so does a new app.
    let apps = engine.apps();
    assert_eq!(apps.by_url("api-prod", Some(&token)).unwrap().id, id);
    assert_ne!(apps.by_url("api-prod", Some("d.other")).unwrap().id, id);
    assert_eq!(apps.by_id(id).unwrap().name, "api-live");
}

// --- Drains ---

/// Both drains deliver one H12 of that moment, each in a batch of its own.
async fn deliver(stage: &Stage, fake: &FakeHeroku, stamp: &str) {
    deliver_with(stage, fake, stamp, true).await;
}

/// The same; from Private Spaces there is no token.
async fn deliver_with(stage: &Stage, fake: &FakeHeroku, stamp: &str, token: bool) {
    let drains = fake.account(|account| account.app("api-prod").drains.clone());
    let engine = stage.engine();
    for (i, drain) in drains.iter().enumerate() {
        let mark = drain.url.split_once("?drain=").map(|(_, mark)| mark);
        let app = engine.apps().by_url("api-prod", token.then_some(drain.token.as_str())).cloned().unwrap();
        let token = token.then_some(drain.token.as_str());
        let share = match engine.share(app.id, token, mark) {
            Some(share) => share,
            None => {
                engine.learn_mark(mark.unwrap()).await.unwrap();
                engine.share(app.id, token, mark).unwrap()
            }
        };
        let frame = format!("{stamp}-{i}");
        if let Taken::Pending(pending) = engine.take_share(&app, share, Some(&frame), &h12(stamp).into()) {
            engine.keep(pending).await.unwrap();
        }
        engine.delivered(app.id, token, mark);
    }
}

/// Router lines counted for the app by this process.
fn counted(engine: &Engine) -> u64 {
    let app = engine.apps().by_name("api-prod").cloned().unwrap();
    engine.totals(&app, |totals| totals.codes.values().sum())
}

async fn with_drain(on: On) -> (Stage, FakeHeroku) {
    let (mut stage, fake) = stage(on).await;
    pass(&mut stage, 2).await;
    stage.engine().add_drain("api-prod", &dev()).await.unwrap();
    (stage, fake)
}

async fn state(engine: &Engine) -> State {
    let app = row(engine, "api-prod").await.app;
    engine.store().newest_rotation(app).await.unwrap().unwrap().state
}

fn drains(fake: &FakeHeroku) -> Vec<String> {
    fake.account(|account| account.app("api-prod").drains.iter().map(|drain| drain.token.clone()).collect())
}

#[tokio::test]
async fn a_rotation_counts_every_line_once() {
    for (on, token) in [(On::Sqlite, true), (On::Postgres, true), (On::Sqlite, false)] {
        let (mut stage, fake) = with_drain(on).await;
        let engine = stage.engine();
        let mut sent = 0;
        // The second time the old drain is the new one of the first time.
        for round in 1..=2 {
            let old = drains(&fake);
            engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
            assert_eq!(drains(&fake).len(), 2, "the second drain first");
            let before = sent;
            // Every two seconds a line, delivered by all drains there are.
            while state(&engine).await != State::Done {
                let stamp = crate::harness::offset(stage.clock.now());
                deliver_with(&stage, &fake, &stamp, token).await;
                sent += 1;
                assert_eq!(counted(&engine), sent, "{on:?} {token} round {round} at {stamp}");
                pass(&mut stage, 2).await;
                assert!(sent < 200, "it does not end: {:?}", state(&engine).await);
            }
            let now = drains(&fake);
            assert!(now.len() == 1 && now != old, "then the old one is removed: {now:?}");
            assert!((35..=45).contains(&(sent - before)), "75 seconds and a bit: {}", sent - before);
        }
        deliver_with(&stage, &fake, &crate::harness::offset(stage.clock.now()), token).await;
        assert_eq!(counted(&engine), sent + 1);
    }
}

#[tokio::test]
async fn the_second_process_knows_in_time() {
    let (mut stage, fake) = with_drain(On::Postgres).await;
    let other = stage.another_engine().await;
    let engine = stage.engine();
    let app = row(&engine, "api-prod").await.app;
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    // The new drain's first delivery comes to the process that has not heard of it.
    let drain = fake.account(|account| account.app("api-prod").drains[1].clone());
    let mark = drain.url.split_once("?drain=").map(|(_, mark)| mark);
    assert_eq!(other.share(app, Some(&drain.token), mark), None);
    other.learn_mark(mark.unwrap()).await.unwrap();
    let share = other.share(app, Some(&drain.token), mark).unwrap();
    assert!(!share.counts(stage.clock.now()), "the old one counts");
    other.delivered(app, Some(&drain.token), mark);
    other.refresh_pass().await.unwrap();
    pass(&mut stage, 6).await;
    assert_eq!(state(&engine).await, State::Cutting);
    other.refresh_pass().await.unwrap();
    let late = stage.clock.now() + seconds(30);
    assert_eq!(engine.share(app, Some(&drain.token), mark), other.share(app, Some(&drain.token), mark));
    assert!(other.share(app, Some(&drain.token), mark).unwrap().counts(late));
}

/// A crash between Heroku's doing and our writing: the call has worked, and its answer is lost. And one before the call.
#[tokio::test]
async fn a_crash_at_any_step_is_gone_on_from() {
    for (call, trouble) in [
        ("POST /apps", Trouble::DropAfterDone),
        ("POST /apps", Trouble::Drop),
        ("DELETE /apps", Trouble::DropAfterDone),
        ("DELETE /apps", Trouble::Drop),
    ] {
        let (mut stage, fake) = with_drain(On::Sqlite).await;
        fake.trouble(call, trouble.clone());
        stage.engine().rotate_drain("api-prod", None, &dev()).await.unwrap();
        let mut sent = 0;
        while state(&stage.engine()).await != State::Done {
            // The process dies at every single step.
            stage.crash();
            stage.start().await;
            stage.engine().connect_heroku(Some(account(&fake)));
            deliver(&stage, &fake, &crate::harness::offset(stage.clock.now())).await;
            assert_eq!(counted(&stage.engine()), 1, "{call} {trouble:?}: this process counts each line once");
            let count = drains(&fake).len();
            assert!((1..=2).contains(&count), "{call} {trouble:?}: {count} drains");
            pass(&mut stage, 6).await;
            sent += 1;
            assert!(sent < 120, "{call} {trouble:?}: it does not end: {:?}", state(&stage.engine()).await);
        }
        assert_eq!((drains(&fake).len(), fake.untrouble()), (1, 0), "{call} {trouble:?}");
        assert!(fake.count("POST") <= 3, "{call} {trouble:?}: one drain was added, not several");
    }
}

#[tokio::test]
async fn a_new_drain_that_does_not_deliver_is_taken_back() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let old = drains(&fake);
    let engine = stage.engine();
    let app = row(&engine, "api-prod").await.app;
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    for _ in 0..95 {
        assert!(engine.share(app, Some(&old[0]), None).unwrap().counts(stage.clock.now()));
        engine.delivered(app, Some(&old[0]), None);
        pass(&mut stage, 10).await;
    }
    assert_eq!((state(&engine).await, drains(&fake)), (State::Failed, old));
    let rotation = engine.drains("api-prod").await.unwrap().rotation.unwrap();
    assert!(rotation.problem.unwrap().contains("the new one does not"));
}

#[tokio::test]
async fn operators_end_what_waits() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    let old = drains(&fake);
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    let error = engine.rotate_drain("api-prod", None, &dev()).await.unwrap_err();
    assert!(error.to_string().contains("several drains") || error.to_string().contains("already"), "{error}");
    let error = engine.remove_drain("api-prod", None, &dev()).await.unwrap_err();
    assert!(matches!(error, HerokuProblem::Conflict(_)), "{error}");
    assert_eq!(engine.abandon_rotation("api-prod", &dev()).await.unwrap().rotation.unwrap().state, State::Abandoned);
    assert_eq!(drains(&fake), old);
    assert!(engine.abandon_rotation("api-prod", &dev()).await.unwrap_err().to_string().contains("no drain of"));
    // A silent app: nobody waits for its first line.
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    assert_eq!(engine.proceed_rotation("api-prod", &dev()).await.unwrap().rotation.unwrap().state, State::Cutting);
    pass(&mut stage, 80).await;
    assert_eq!(state(&engine).await, State::Done);
    assert_eq!(drains(&fake).len(), 1);
    assert_ne!(drains(&fake), old);
}

#[tokio::test]
async fn drains_are_added_listed_and_removed() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    let engine = stage.engine();
    fake.account(|account| {
        account.add_drain("api-prod", "https://logs.example/canary-path-secret");
        account.create("on-fir");
        account.app("on-fir").generation = Some("fir");
    });
    let error = engine.remove_drain("api-prod", None, &dev()).await.unwrap_err();
    assert!(error.to_string().contains("drain add --app api-prod"), "{error}");
    let added = engine.add_drain("api-prod", &dev()).await.unwrap();
    let seen: Vec<_> = added.app.drains.iter().map(|drain| (drain.host.as_str(), drain.ours)).collect();
    assert_eq!(seen, [("logs.example", false), ("dynowatch.example.com", true)]);
    assert!(engine.add_drain("api-prod", &dev()).await.unwrap_err().to_string().contains("already"));
    let other = added.app.drains[0].id;
    assert!(engine.remove_drain("api-prod", Some(other), &dev()).await.unwrap_err().to_string().contains("not here"));
    let removed = engine.remove_drain("api-prod", None, &dev()).await.unwrap();
    assert_eq!((removed.ours().count(), drains(&fake).len()), (0, 1));
    for error in [
        engine.add_drain("on-fir", &dev()).await.unwrap_err(),
        engine.set_runtime_metrics("on-fir", true, &dev()).await.unwrap_err(),
    ] {
        assert!(matches!(error, HerokuProblem::Fir(_)) && error.to_string().contains("no Logplex drains"), "{error}");
    }
    assert!(matches!(engine.drains("nobody").await.unwrap_err(), HerokuProblem::NoApp(_)));
    assert_eq!(engine.set_runtime_metrics("api-prod", true, &dev()).await.unwrap().facts.runtime_metrics, Some(true));
    assert_eq!(fake.account(|account| account.app("api-prod").features.clone()), ["log-runtime-metrics"]);
    pass(&mut stage, 4).await;
    let all = engine.store().heroku_apps(Wanted::All).await.unwrap();
    let file = tempfile::tempdir().unwrap();
    engine.store().backup(&file.path().join("b.jsonl")).await.unwrap();
    let kept = std::fs::read_to_string(file.path().join("b.jsonl")).unwrap();
    assert!(!kept.contains("canary") && !format!("{all:?}").contains("canary"), "no secret is kept");
}

#[tokio::test]
async fn what_one_drain_lost_is_news_from_that_drain() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    engine.proceed_rotation("api-prod", &dev()).await.unwrap();
    let app = row(&engine, "api-prod").await.app;
    let cutover = engine.store().newest_rotation(app).await.unwrap().unwrap().cutover_at.unwrap();
    pass(&mut stage, 30).await;
    let old = drains(&fake)[0].clone();
    let share = engine.share(app, Some(&old), None).unwrap();
    let ours = engine.apps().by_id(app).cloned().unwrap();
    for (since, want) in [(cutover + seconds(1), 0), (cutover - seconds(2), 1)] {
        let text = format!("Error L10 (output buffer overflow): 7 messages dropped since {since}.");
        let line = crate::harness::frame(cutover + seconds(5), "heroku", "logplex", &text);
        if let Taken::Pending(pending) = engine.take_share(&ours, share, None, &line.into()) {
            engine.keep(pending).await.unwrap();
        }
        assert_eq!(engine.store().blinds_between(app, at("-9:00"), at("30:00")).await.unwrap().len(), want, "{since}");
    }
}

/// What waits for whoever presses the button is two requests, however many apps there are, and not at every press.
#[tokio::test]
async fn who_asks_for_the_account_waits_for_its_lists_alone() {
    let (mut stage, fake) = stage(On::Sqlite).await;
    fake.account(|account| (0..40).for_each(|n| _ = account.create(&format!("app-{n}"))));
    let engine = stage.engine();
    let report = engine.heroku_lists_now(&dev()).await.unwrap();
    assert_eq!((report.apps, report.new.len(), report.requests, fake.asked().len()), (41, 41, 2, 2));
    let again = engine.heroku_lists_now(&dev()).await.unwrap();
    assert_eq!((again.apps, again.requests, fake.asked().len()), (41, 0, 2), "a second press is no second question");
    // The rest is due and comes at the pace of the loop.
    pass(&mut stage, 600).await;
    let all = engine.store().heroku_apps(Wanted::All).await.unwrap();
    let read = all.iter().filter(|app| app.dynos_at.is_some() && app.drains_at.is_some()).count();
    assert_eq!(read, 41, "where requests are few all become rarer, and nothing is left out");
    let asked = fake.asked().len();
    engine.heroku_lists_now(&dev()).await.unwrap();
    let due = engine.store().heroku_apps(Wanted::DrainsDue(stage.clock.now(), 100)).await.unwrap();
    assert_eq!((due.len(), fake.asked().len()), (41, asked + 2));
}

/// The drains of apps that are not ours are looked through within the budget, and not at every look at the list.
#[tokio::test]
async fn apps_beyond_the_limit_cost_no_requests() {
    let limits = dynowatch_engine::Limits { apps: 4, ..dynowatch_engine::Limits::default() };
    let config = crate::harness::Config { limits, ..crate::harness::Config::of(vec![h12_rule()]) };
    let mut stage = Stage::configured(On::Sqlite, config).await;
    let fake = FakeHeroku::start().await;
    fake.account(|account| (0..200).for_each(|n| _ = account.create(&format!("app-{n:03}"))));
    let engine = stage.engine();
    // An app that was named after its token: any of the account's may be it.
    engine.app_of_token("d.unknown").await.unwrap();
    // Our own takes no place of theirs.
    engine.app_named("dynowatch").await.unwrap();
    engine.connect_heroku(Some(account(&fake)));
    engine.heroku_pass().await.unwrap();
    assert!(fake.asked().len() <= 95, "{}: no more than what is saved up", fake.asked().len());
    assert_eq!(engine.apps().len(), 4 + 1);
    // Half an hour of four apps, and one look at each of the others.
    pass(&mut stage, 1_800).await;
    let looked = fake.count("/log-drains");
    assert!((195..=300).contains(&looked), "{looked}");
    assert!(fake.asked().len() < 30 * 45 + 90, "{}", fake.asked().len());
}

/// A rotation that an operator left: of the two drains it is known which counts, and that one cannot be removed by mistake.
#[tokio::test]
async fn of_two_that_were_left_the_one_that_counts_stays() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    let old = engine.drains("api-prod").await.unwrap().app.drains[0].id;
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    engine.proceed_rotation("api-prod", &dev()).await.unwrap();
    (0..40).for_each(|_| fake.trouble("DELETE /apps", Trouble::refuse(503, "")));
    pass(&mut stage, 90).await;
    assert_eq!(state(&engine).await, State::Removing);
    engine.abandon_rotation("api-prod", &dev()).await.unwrap();
    _ = fake.untrouble();
    let left = engine.drains("api-prod").await.unwrap();
    let new = left.ours().find(|drain| drain.id != old).unwrap().id;
    assert_eq!((state(&engine).await, &left.silent[..], left.counted_twice()), (State::Left, &[old][..], false));
    deliver(&stage, &fake, &crate::harness::offset(stage.clock.now())).await;
    assert_eq!(counted(&engine), 1);
    let words = left.rotation.unwrap().in_words(|at| at.to_string());
    assert!(words.contains(&format!("the new drain {new} counts, the old drain {old} does not")), "{words}");
    for refused in [
        engine.remove_drain("api-prod", Some(new), &dev()).await.unwrap_err(),
        engine.rotate_drain("api-prod", Some(old), &dev()).await.unwrap_err(),
        engine.remove_drain("api-prod", None, &dev()).await.unwrap_err(),
    ] {
        assert!(refused.to_string().contains(&old.to_string()), "{refused}");
    }
    assert_eq!(drains(&fake).len(), 2);
    engine.remove_drain("api-prod", Some(old), &dev()).await.unwrap();
    deliver(&stage, &fake, &crate::harness::offset(stage.clock.now() + seconds(1))).await;
    assert_eq!((counted(&engine), drains(&fake).len()), (2, 1));
    engine.remove_drain("api-prod", Some(new), &dev()).await.unwrap();
}

/// From a Private Space there is no token: a drain that is added after a rotation must not be taken for the one that was
/// replaced.
#[tokio::test]
async fn a_drain_that_is_added_after_a_rotation_counts() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    engine.proceed_rotation("api-prod", &dev()).await.unwrap();
    pass(&mut stage, 90).await;
    assert_eq!(state(&engine).await, State::Done);
    engine.remove_drain("api-prod", None, &dev()).await.unwrap();
    engine.add_drain("api-prod", &dev()).await.unwrap();
    assert!(engine.drains("api-prod").await.unwrap().silent.is_empty());
    deliver_with(&stage, &fake, &crate::harness::offset(stage.clock.now()), false).await;
    assert_eq!((counted(&engine), drains(&fake).len()), (1, 1));
}

/// The call that adds the new drain does its work after the rotation was abandoned.
#[tokio::test]
async fn a_drain_that_comes_late_is_taken_back() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    let old = drains(&fake);
    fake.trouble("POST /apps", Trouble::Drop);
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    engine.abandon_rotation("api-prod", &dev()).await.unwrap();
    pass(&mut stage, 40).await;
    let mark = engine.store().rotations().await.unwrap().pop().unwrap().mark;
    let url = format!("https://drain:{PASSWORD}@dynowatch.example.com/drain/api-prod?drain={mark}");
    fake.account(|account| _ = account.add_drain("api-prod", &url));
    pass(&mut stage, 120).await;
    assert_eq!((state(&engine).await, drains(&fake)), (State::Abandoned, old));
}

/// A delivery that was refused proves nothing, and proof that the store did not take is not lost.
#[tokio::test]
async fn a_new_drain_is_proved_by_what_was_kept() {
    let (mut stage, fake) = with_drain(On::Sqlite).await;
    let engine = stage.engine();
    engine.rotate_drain("api-prod", None, &dev()).await.unwrap();
    let app = row(&engine, "api-prod").await.app;
    let drain = fake.account(|account| account.app("api-prod").drains[1].clone());
    let mark = drain.url.split_once("?drain=").map(|(_, mark)| mark);
    // Its share is asked for, and then the batch is not kept.
    assert!(engine.share(app, Some(&drain.token), mark).is_some());
    pass(&mut stage, 6).await;
    assert_eq!(state(&engine).await, State::Proving);
    engine.delivered(app, Some(&drain.token), mark);
    pass(&mut stage, 6).await;
    assert_eq!(state(&engine).await, State::Cutting);
}
