//! Two handles on one store: two processes on Postgres, a server and a command on SQLite.

use std::collections::HashSet;
use std::time::Duration;

use dynowatch_domain::alert::Track;
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rollup::Bucket;
use dynowatch_domain::{AppId, DeliveryId};
use dynowatch_store::evaluate::EVALUATE_MAX;
use dynowatch_store::levels::LevelRow;
use dynowatch_store::{Changes, EvaluateRequest, NewDelivery, Store, StoreOptions, TrackChange};
use dynowatch_testkit::postgres::TestDatabase;

use crate::bed::{Bed, change, counted, firing_to, id, key, request, t};

pub(crate) async fn claims_never_double(bed: &Bed) {
    let (alert, _) = bed.fire(&key(bed.app("shop").await, "h12"), t(0), &[]).await;
    let deliveries: Vec<NewDelivery> = (0..200).map(|n| firing_to(alert, &format!("r{}", n % 7), t(n))).collect();
    let all: HashSet<DeliveryId> = deliveries.iter().map(|new| new.id).collect();
    bed.save(t(0), Changes { deliveries, ..Changes::default() }).await;
    let stores = [bed.store.clone(), bed.again().await];
    let workers: Vec<_> = (0..6).map(|n| tokio::spawn(drain(stores[n % 2].clone(), format!("w{n}")))).collect();
    let mut got = Vec::new();
    for worker in workers {
        got.extend(worker.await.unwrap());
    }
    assert_eq!(got.len(), 200);
    assert_eq!(got.into_iter().collect::<HashSet<_>>(), all);
}

/// Claims until nothing is left.
async fn drain(store: Store, worker: String) -> Vec<DeliveryId> {
    let mut got = Vec::new();
    loop {
        let claimed = store.claim_deliveries(t(1_000), &worker, 9, &[]).await.unwrap();
        assert!(claimed.iter().all(|claimed| claimed.attempts == 1));
        // Others may have locked all of it just now: only when nothing is due any more is it over.
        if claimed.is_empty() && store.next_delivery_at().await.unwrap().is_none_or(|at| at > t(1_000)) {
            return got;
        }
        got.extend(claimed.into_iter().map(|claimed| claimed.outgoing.id));
    }
}

pub(crate) async fn evaluations_of_one_app_take_turns(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let stores = [bed.store.clone(), bed.again().await];
    let tasks: Vec<_> = (0..6).map(|n| tokio::spawn(count_up(stores[n % 2].clone(), key.clone(), 10))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let loaded = bed.load(t(9), std::slice::from_ref(&key)).await.tracks.remove(&key).unwrap();
    assert_eq!((loaded.version, loaded.events.len()), (60, 60));
}

/// Adds one event and one to the version, so many times.
async fn count_up(store: Store, key: Key, times: usize) {
    for _ in 0..times {
        let asked = key.clone();
        let step = move |loaded: dynowatch_store::Loaded| {
            let version = loaded.tracks.get(&asked).map_or(0, |track| track.version);
            let track = TrackChange { events: vec![counted(1, 1)], ..change(&asked, version + 1, Track::default()) };
            (Changes { tracks: vec![track], ..Changes::default() }, ())
        };
        store.evaluate(request(t(1), std::slice::from_ref(&key)), step).await.unwrap();
    }
}

pub(crate) async fn evaluations_of_many_apps_do_not_deadlock(bed: &Bed) {
    let mut apps = Vec::new();
    for n in 0..6 {
        apps.push(bed.app(&format!("app-{n}")).await);
    }
    let stores = [bed.store.clone(), bed.again().await];
    let tasks = (0..6).map(|n| {
        let (store, mut apps) = (stores[n % 2].clone(), apps.clone());
        apps.rotate_left(n);
        tokio::spawn(async move {
            for round in 0..8 {
                let frames = apps.iter().map(|app| (*app, format!("{n}.{round}"))).collect();
                let keys: Vec<Key> = apps.iter().map(|app| key(*app, "h12")).collect();
                let ask = EvaluateRequest { now: t(1), frames, keys: keys.clone(), ..EvaluateRequest::default() };
                let step = |loaded: dynowatch_store::Loaded| {
                    let version = |key| loaded.tracks.get(key).map_or(0, |track| track.version);
                    let tracks = keys.iter().map(|key| change(key, version(key) + 1, Track::default())).collect();
                    (Changes { tracks, ..Changes::default() }, ())
                };
                store.evaluate(ask, step).await.unwrap();
                store.touch_apps(&apps.iter().map(|app| (*app, t(round))).collect::<Vec<_>>()).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let keys: Vec<Key> = apps.iter().map(|app| key(*app, "h12")).collect();
    assert!(bed.load(t(9), &keys).await.tracks.values().all(|track| track.version == 48));
}

pub(crate) async fn buckets_from_two_sides(bed: &Bed) {
    let app = AppId(id());
    let stores = [bed.store.clone(), bed.again().await];
    let tasks = (0..2).map(|n| {
        let store = stores[n].clone();
        tokio::spawn(async move {
            for _ in 0..10 {
                let row = |at| LevelRow {
                    rule: "share".into(),
                    app,
                    group: Group::default(),
                    bucket: Bucket { at: t(at), total: 1, matched: 0 },
                };
                let mut rows: Vec<LevelRow> = (0..300).map(row).collect();
                if n == 1 {
                    rows.reverse();
                }
                store.add_levels(&rows).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let loaded = bed.store.load_levels(&["share"], t(0)).await.unwrap();
    assert!(loaded.len() == 300 && loaded.iter().all(|row| row.bucket.total == 20));
}

/// A Postgres that is gone, and one that is silent: an answer comes in time, it is "try again", and afterwards all is well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_away_is_said_in_time() {
    let database = TestDatabase::proxied().await;
    let store = Store::open(&StoreOptions::new(database.url())).await.unwrap();
    for silent in [false, true] {
        if silent {
            database.stall().await;
        } else {
            database.cut().await;
        }
        let begun = tokio::time::Instant::now();
        let error = store.evaluate(EvaluateRequest::default(), |_| (Changes::default(), ())).await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        assert!(begun.elapsed() < EVALUATE_MAX + Duration::from_millis(300), "{:?}", begun.elapsed());
        database.restore().await;
        // Connections that died are found out and replaced.
        let mut tries = 0;
        while let Err(error) = store.ping().await {
            tries += 1;
            assert!(tries < 9, "{error}");
        }
    }
}
