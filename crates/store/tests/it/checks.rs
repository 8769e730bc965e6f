//! Checks: where each stands, who runs it, its history, its runs, what jobs said.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Thresholds;
use dynowatch_domain::check::heartbeat::{Ping, PingKind};
use dynowatch_domain::check::observation::{Observation, Phase};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::run::{self, ROW, Run};
use dynowatch_domain::check::state::{Around, Effect, Held, Ran, Shown};
use dynowatch_domain::check::uptime::{Flip, Standing};
use dynowatch_store::checks::shares::SHARE;
use dynowatch_store::checks::{CheckChange, CheckRow, Failure, OutageRow, Paused, ResultRow};
use dynowatch_store::objects::{Object, ObjectKind};
use dynowatch_store::{Changes, StoreError};
use dynowatch_testkit::clock::CountingIds;
use serde_json::json;

use crate::bed::{Bed, act, fired, id, key, request, t};

fn names(names: &[&str]) -> Vec<(String, Option<String>)> {
    names.iter().map(|name| ((*name).to_owned(), None)).collect()
}

async fn row(bed: &Bed, name: &str) -> CheckRow {
    bed.store.check_row(name).await.unwrap().unwrap()
}

/// Some checks of one owner.
async fn owned(bed: &Bed, checks: &[&str]) -> Vec<u64> {
    bed.store.register_checks(&names(checks), t(0)).await.unwrap();
    bed.store.share_checks("a", 1_000, &[], t(0)).await.unwrap()
}

fn change(row: &CheckRow) -> CheckChange {
    CheckChange {
        number: row.number,
        owner: "a".to_owned(),
        version: row.version,
        state: row.state.clone(),
        memory: row.memory.clone(),
        heartbeat: row.heartbeat.clone(),
        last: row.last.clone(),
        missed: row.missed,
        asked_until: None,
        pings: Vec::new(),
        flips: Vec::new(),
        outages: Vec::new(),
    }
}

/// The state of a check that is down, and what came of it.
fn down(row: &CheckRow) -> CheckChange {
    let mut change = change(row);
    let thresholds = Thresholds { failures: 1, ..Thresholds::default() };
    let ran = Ran { at: t(60), outcome: Outcome::Down, misconfigured: false, decisive: false };
    let mut ids = CountingIds::default();
    for effect in
        change.state.step(&thresholds, Duration::from_secs(60), Some(ran), &Around::default(), &mut ids, t(60))
    {
        match effect {
            Effect::Flip(flip) => change.flips.push(flip),
            Effect::Opened { began_at, .. } => change.outages.push(OutageRow {
                id: id(),
                began_at,
                ended_at: None,
                opened_at: Some(t(60)),
                flapping: false,
                held: None,
            }),
            other => panic!("{other:?}"),
        }
    }
    change.last = Some(Observation::bare(t(60), Some(Reason::ConnectRefused), "port 443 is closed\0"));
    change.missed = 3;
    change
}

pub(crate) async fn a_check_has_one_number_for_ever(bed: &Bed) {
    let checks = [("home".to_owned(), None), ("job".to_owned(), Some("token-1".to_owned()))];
    bed.store.register_checks(&checks, t(0)).await.unwrap();
    let numbers: Vec<u64> = bed.store.check_rows().await.unwrap().iter().map(|row| row.number).collect();
    let again = [("job".to_owned(), Some("token-2".to_owned())), ("new".to_owned(), None), ("home".to_owned(), None)];
    bed.store.register_checks(&again, t(10)).await.unwrap();
    let rows = bed.store.check_rows().await.unwrap();
    assert_eq!(rows.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["home", "job", "new"]);
    assert_eq!(rows[..2].iter().map(|row| row.number).collect::<Vec<_>>(), numbers);
    // A token that jobs know stays.
    assert_eq!(rows[1].ping_token.as_deref(), Some("token-1"));
    assert_eq!((rows[0].shown, rows[0].version, rows[0].created_at), (Shown::New, 1, t(0)));
    assert_eq!(bed.store.check_row("none").await.unwrap(), None);
    let many: Vec<String> = (0..40).map(|n| format!("c{n}")).chain(["job".to_owned()]).collect();
    for asked in [&many[..], &many[40..]] {
        let found = bed.store.check_rows_named(asked).await.unwrap();
        assert_eq!(found.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["job"]);
    }
}

pub(crate) async fn state_comes_back_and_is_written_by_its_owner_only(bed: &Bed) {
    owned(bed, &["home"]).await;
    let before = row(bed, "home").await;
    let change = down(&before);
    bed.store.save_checks(std::slice::from_ref(&change)).await.unwrap();
    let after = row(bed, "home").await;
    assert_eq!((after.version, after.shown, after.last_run_at), (2, Shown::Down, Some(t(60))));
    assert_eq!((after.state, after.missed), (change.state.clone(), 3));
    assert_eq!(after.last.unwrap().reason, Some(Reason::ConnectRefused));
    // An old version, and another owner.
    for wrong in [change.clone(), CheckChange { version: 2, owner: "b".into(), ..change }] {
        let refused = bed.store.save_checks(&[wrong]).await;
        assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    }
    assert_eq!(row(bed, "home").await.version, 2);
}

pub(crate) async fn a_check_and_its_alert_are_one(bed: &Bed) {
    owned(bed, &["home", "other"]).await;
    let app = bed.app("shop").await;
    let key = key(app, "check:home");
    let good = down(&row(bed, "home").await);
    let stale = CheckChange { version: 7, ..down(&row(bed, "other").await) };
    let alert = dynowatch_domain::AlertId(good.outages[0].id);
    let changes = |checks| Changes { fired: vec![fired(alert, &key, t(60))], checks, ..Changes::default() };
    let both = vec![good.clone(), stale];
    let refused = bed.store.evaluate(request(t(60), &[]), |_| (changes(both), ())).await;
    assert!(matches!(refused, Err(StoreError::Conflict(_))), "{refused:?}");
    assert!(bed.store.alert(alert).await.is_err());
    assert_eq!(row(bed, "home").await.shown, Shown::New);
    bed.save(t(60), changes(vec![good])).await;
    assert_eq!(bed.store.alert(alert).await.unwrap().row.id, Some(alert));
    assert_eq!(row(bed, "home").await.shown, Shown::Down);
}

pub(crate) async fn checks_are_shared_out(bed: &Bed) {
    let all: Vec<String> = (0..10).map(|n| format!("c{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    bed.store.register_checks(&names(&all), t(0)).await.unwrap();
    let share = |owner: &'static str, share, keep: &'static [u64], now| bed.store.share_checks(owner, share, keep, now);
    let a = share("a", 10, &[], t(0)).await.unwrap();
    assert_eq!(a.len(), 10);
    // Another comes: it gets what is given back, and never what is held.
    assert_eq!(share("b", 5, &[], t(1)).await.unwrap(), Vec::<u64>::new());
    let mut a = share("a", 5, &[], t(2)).await.unwrap();
    let mut b = share("b", 5, &[], t(3)).await.unwrap();
    a.sort_unstable();
    b.sort_unstable();
    assert_eq!((a.len(), b.len()), (5, 5));
    assert!(a.iter().all(|number| !b.contains(number)));
    // One that goes silent loses all when its time is over.
    let end = t(3) + SHARE;
    assert_eq!(share("a", 10, &[], end - Duration::from_secs(1)).await.unwrap().len(), 5);
    assert_eq!(share("a", 10, &[], end).await.unwrap().len(), 10);
    assert_eq!(share("b", 5, &[], end).await.unwrap(), Vec::<u64>::new());
    // What runs is not given back.
    let keep: Vec<u64> = share("a", 10, &[], end).await.unwrap();
    let kept = bed.store.share_checks("a", 0, &keep[..3], end).await.unwrap();
    assert_eq!(kept.len(), 3);
    assert_eq!(bed.store.give_back_checks(Some("a")).await.unwrap(), 3);
    assert_eq!(share("b", 100, &[], end).await.unwrap().len(), 10);
    assert_eq!(bed.store.give_back_checks(None).await.unwrap(), 10);
}

pub(crate) async fn a_check_has_one_owner_in_any_race(bed: &Bed) {
    let all: Vec<String> = (0..60).map(|n| format!("c{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    bed.store.register_checks(&names(&all), t(0)).await.unwrap();
    let mut claims = tokio::task::JoinSet::new();
    for owner in ["a", "b", "c", "d"] {
        let store = bed.store.clone();
        claims.spawn(async move {
            let mut held = Vec::new();
            for _ in 0..5 {
                held = store.share_checks(owner, 15, &[], t(0)).await.unwrap();
            }
            held
        });
    }
    let mut held: Vec<u64> = claims.join_all().await.into_iter().flatten().collect();
    let count = held.len();
    held.sort_unstable();
    held.dedup();
    assert_eq!((count, held.len()), (60, 60));
}

pub(crate) async fn wishes_wait_until_they_are_fulfilled(bed: &Bed) {
    owned(bed, &["home"]).await;
    let paused = Paused { at: t(5), by: "ada".into() };
    assert!(bed.store.pause_check("home", Some(&paused), &act(), t(5)).await.unwrap());
    assert!(!bed.store.pause_check("home", Some(&paused), &act(), t(6)).await.unwrap());
    assert_eq!(row(bed, "home").await.paused, Some(paused));
    assert!(bed.store.check_heads().await.unwrap()[0].paused);
    assert!(bed.store.pause_check("home", None, &act(), t(7)).await.unwrap());
    assert!(matches!(bed.store.pause_check("none", None, &act(), t(7)).await, Err(StoreError::NotFound(_))));

    assert!(bed.store.ask_check_pin("home", &act(), t(8)).await.unwrap());
    assert!(!bed.store.ask_check_run("none", &act(), t(8)).await.unwrap());
    let wish = |row: &CheckRow| (row.run_asked_at, row.pin_asked_at);
    assert_eq!(wish(&row(bed, "home").await), (Some(t(8)), Some(t(8))));
    // One that came meanwhile stays.
    let done = CheckChange { asked_until: Some(t(8)), ..change(&row(bed, "home").await) };
    assert!(bed.store.ask_check_run("home", &act(), t(9)).await.unwrap());
    bed.store.save_checks(&[done]).await.unwrap();
    assert_eq!(wish(&row(bed, "home").await), (Some(t(9)), None));
    let done = CheckChange { asked_until: Some(t(9)), ..change(&row(bed, "home").await) };
    bed.store.save_checks(&[done]).await.unwrap();
    assert_eq!(wish(&row(bed, "home").await), (None, None));
}

pub(crate) async fn flips_and_outages(bed: &Bed) {
    owned(bed, &["home"]).await;
    let flip = |at, standing| Flip { at: t(at), standing };
    let (first, second) = (id(), id());
    let outage = |id, began, ended: Option<i64>, held| OutageRow {
        id,
        began_at: t(began),
        ended_at: ended.map(t),
        opened_at: None,
        flapping: false,
        held,
    };
    let home = row(bed, "home").await;
    let number = home.number;
    let begun = CheckChange {
        // The last word about a moment counts, in one writing and in two.
        flips: vec![flip(0, Standing::Unknown), flip(0, Standing::Up), flip(60, Standing::Down)],
        outages: vec![outage(first, 60, None, Some(Held::Parent { name: "db".into() }))],
        ..change(&home)
    };
    bed.store.save_checks(&[begun]).await.unwrap();
    let ended = CheckChange {
        flips: vec![flip(60, Standing::Degraded), flip(120, Standing::Up)],
        outages: vec![
            OutageRow { opened_at: Some(t(90)), ..outage(first, 60, Some(120), None) },
            OutageRow { flapping: true, ..outage(second, 200, None, Some(Held::Maintenance)) },
        ],
        ..change(&row(bed, "home").await)
    };
    bed.store.save_checks(&[ended]).await.unwrap();
    let flips = |from, until| bed.store.check_flips(number, t(from), t(until));
    let all = [flip(0, Standing::Up), flip(60, Standing::Degraded), flip(120, Standing::Up)];
    assert_eq!(flips(0, 1_000).await.unwrap(), all);
    assert_eq!(flips(-100, 1_000).await.unwrap(), all);
    // The one before the time is among them, what comes after it is not.
    assert_eq!(flips(100, 120).await.unwrap(), all[1..2]);
    assert_eq!(flips(120, 1_000).await.unwrap(), all[2..]);
    assert_eq!(flips(-100, 0).await.unwrap(), []);
    let of_all = |from, until| bed.store.all_check_flips(t(from), t(until));
    assert_eq!(of_all(-100, 1_000).await.unwrap().remove(&number).unwrap(), all);
    assert_eq!(of_all(100, 120).await.unwrap().remove(&number).unwrap(), all[1..2]);
    assert!(of_all(-100, 0).await.unwrap().is_empty());
    let outages = bed.store.check_outages(number, t(1_000), 10).await.unwrap();
    assert_eq!(outages.iter().map(|outage| outage.id).collect::<Vec<_>>(), [second, first]);
    assert_eq!((outages[1].ended_at, outages[1].opened_at), (Some(t(120)), Some(t(90))));
    assert_eq!(outages[1].held, Some(Held::Parent { name: "db".into() }));
    assert!(outages[0].flapping && !outages[1].flapping);
    assert_eq!(bed.store.check_outages(number, t(200), 10).await.unwrap().len(), 1);
}

pub(crate) async fn runs_come_back(bed: &Bed) {
    let number = owned(bed, &["home"]).await[0];
    let from = t(0).floor(ROW);
    let mut observation = Observation::bare(from, Some(Reason::Timeout), "nothing came\0");
    observation.phases.set(Phase::Connect, 1_234);
    observation.phases.total_us = 10_000_000;
    let mut runs: Vec<Run> = Vec::new();
    let mut rows = [from, from + ROW].map(|from| ResultRow { number, from, body: Vec::new() });
    for place in 0..40 {
        let at = from + Duration::from_secs(30 * place);
        let run =
            Run::of(&Observation { started_at: at, ..observation.clone() }, place % 2 == 0, Duration::from_millis(3));
        let row = if place < 20 { &mut rows[0] } else { &mut rows[1] };
        run::pack(&mut row.body, runs.last().filter(|before| before.row() == run.row()), &run);
        runs.push(run);
        bed.store.write_check_results(&rows, &[]).await.unwrap();
    }
    assert_eq!(bed.store.check_runs(number, from, from + ROW + ROW).await.unwrap(), runs);
    let part =
        bed.store.check_runs(number, from + Duration::from_secs(45), from + Duration::from_secs(600)).await.unwrap();
    assert_eq!(part, runs[2..20]);
    assert_eq!(bed.store.check_result_rows(from + ROW + Duration::from_secs(7)).await.unwrap(), rows[1..]);

    let failure = |second| {
        let observation = Observation { started_at: t(second), ..observation.clone() };
        (number, Failure { observation, transcript: "> PING\0".to_owned() })
    };
    bed.store.write_check_results(&[], &[failure(1), failure(2), failure(3)]).await.unwrap();
    let found = bed.store.check_failures(number, t(3), 10).await.unwrap();
    assert_eq!(found.iter().map(|found| found.observation.started_at).collect::<Vec<_>>(), [t(2), t(1)]);
    assert_eq!(found[0].observation.phases, observation.phases);
    assert_eq!(found[0].transcript, "> PING\u{fffd}");

    bed.store.sweep(t(8 * 86_400)).await.unwrap();
    assert_eq!(bed.store.check_runs(number, from, from + ROW + ROW).await.unwrap(), []);
    assert_eq!(bed.store.check_failures(number, t(10), 10).await.unwrap().len(), 3);
    bed.store.sweep(t(91 * 86_400)).await.unwrap();
    assert_eq!(bed.store.check_failures(number, t(10), 10).await.unwrap().len(), 0);
}

pub(crate) async fn pings_are_taken_in_once(bed: &Bed) {
    let checks = [("job".to_owned(), Some("secret".to_owned())), ("home".to_owned(), None)];
    bed.store.register_checks(&checks, t(0)).await.unwrap();
    let ping = |second, kind, run: Option<&str>, note: &str| Ping {
        at: t(second),
        kind,
        run: run.map(str::to_owned),
        note: note.to_owned(),
    };
    let long = "é".repeat(2_000);
    let first = ping(1, PingKind::Start, Some("run\0-7"), &long);
    assert_eq!(bed.store.add_ping("secret", &first).await.unwrap().as_deref(), Some("job"));
    assert_eq!(bed.store.add_ping("guessed", &first).await.unwrap(), None);
    assert_eq!(bed.store.add_ping("", &first).await.unwrap(), None);
    bed.store.add_ping("secret", &ping(2, PingKind::Finish, None, "")).await.unwrap();
    assert_eq!(bed.store.new_pings("a").await.unwrap(), []);
    bed.store.share_checks("a", 10, &[], t(2)).await.unwrap();
    let new = bed.store.new_pings("a").await.unwrap();
    assert_eq!(new.iter().map(|new| new.ping.kind).collect::<Vec<_>>(), [PingKind::Start, PingKind::Finish]);
    assert_eq!(new[0].ping.note.len(), 1_000);
    let taken = CheckChange { pings: new.iter().map(|new| new.id).collect(), ..change(&row(bed, "job").await) };
    bed.store.save_checks(&[taken]).await.unwrap();
    assert_eq!(bed.store.new_pings("a").await.unwrap(), []);
    // They stay in the history for a while.
    let number = row(bed, "job").await.number;
    assert_eq!(bed.store.check_pings(number, t(10), 10).await.unwrap()[0], ping(2, PingKind::Finish, None, ""));
    bed.store.sweep(t(31 * 86_400)).await.unwrap();
    assert_eq!(bed.store.check_pings(number, t(10), 10).await.unwrap(), []);
}

pub(crate) async fn blindness_counts_while_a_process_lives(bed: &Bed) {
    let (one, two) = (id(), id());
    bed.store.start_process(one, t(0)).await.unwrap();
    bed.store.start_process(two, t(0)).await.unwrap();
    assert_eq!(bed.store.processes_alive(t(0)).await.unwrap(), 2);
    let alive = |since: Timestamp| bed.store.blind_processes(since);
    assert_eq!(alive(t(0)).await.unwrap(), None);
    bed.store.set_blind(one, Some(t(5))).await.unwrap();
    bed.store.set_blind(one, Some(t(9))).await.unwrap();
    bed.store.set_blind(two, Some(t(7))).await.unwrap();
    assert_eq!(alive(t(0)).await.unwrap(), Some((t(5), 2)));
    bed.store.beat_process(two, t(20)).await.unwrap();
    // The other has died; it is blind no more.
    assert_eq!(alive(t(14)).await.unwrap(), Some((t(7), 1)));
    bed.store.set_blind(two, None).await.unwrap();
    assert_eq!(alive(t(14)).await.unwrap(), None);
}

pub(crate) async fn checks_and_windows_of_the_console(bed: &Bed) {
    let version = bed.store.objects_version().await.unwrap();
    for kind in [ObjectKind::Check, ObjectKind::Maintenance] {
        let object = Object {
            name: "night".into(),
            body: json!({"url": "https://example.com"}),
            by_whom: "ada".into(),
            created_at: t(0),
            changed_at: t(0),
        };
        bed.store.create_object(kind, &object, &act()).await.unwrap();
        assert_eq!(bed.store.objects(kind).await.unwrap(), [object]);
        bed.store.change_object(kind, "night", &json!({}), "bo", &act(), t(1)).await.unwrap();
        assert_eq!(bed.store.objects(kind).await.unwrap()[0].by_whom, "bo");
    }
    let after = bed.store.objects_version().await.unwrap();
    assert_eq!((&after[..2], after[2], after[3]), (&version[..2], (1, t(1)), (1, t(1))));
    assert!(bed.store.delete_object(ObjectKind::Check, "night", &act(), t(2)).await.unwrap());
    assert_eq!(bed.store.objects(ObjectKind::Check).await.unwrap(), []);
}

pub(crate) async fn what_nobody_wants_is_forgotten_in_the_end(bed: &Bed) {
    owned(bed, &["home", "gone"]).await;
    for name in ["home", "gone"] {
        let change = down(&row(bed, name).await);
        bed.store.save_checks(&[change]).await.unwrap();
    }
    let gone = row(bed, "gone").await.number;
    let year = 86_400 * 401;
    bed.store.register_checks(&names(&["home"]), t(year)).await.unwrap();
    bed.store.sweep(t(year)).await.unwrap();
    let left: Vec<String> = bed.store.check_rows().await.unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(left, ["home"]);
    let home = row(bed, "home").await.number;
    let flips = async |number| bed.store.check_flips(number, t(0), t(year)).await.unwrap().len();
    let outages = async |number| bed.store.check_outages(number, t(year), 10).await.unwrap().len();
    assert_eq!((flips(home).await, outages(home).await), (1, 1));
    assert_eq!((flips(gone).await, outages(gone).await), (0, 0));
}
