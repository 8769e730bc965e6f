//! Series, chunks and packed rows: every value counts once, whatever breaks off.

use std::time::Duration;

use dynowatch_domain::app_event::{AppEvent, DynoState, EventKind};
use dynowatch_domain::metric::chunk::{self, Entry};
use dynowatch_domain::metric::paths::TopPaths;
use dynowatch_domain::metric::{Gauge, Kind, SLOT, SeriesKey, Step, Value, pack};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::Store;
use dynowatch_store::metric_values::{Chunks, Found, Wanted};
use dynowatch_store::metrics::{Chunk, PathsOfHour};

use crate::bed::{Bed, id, t};

fn key(metric: &str, kind: Kind, source: &str) -> SeriesKey {
    SeriesKey { metric: metric.into(), kind, source: source.into(), label: "".into() }
}

/// A chunk with one counted event and one level of each dyno.
async fn chunk_at(store: &Store, app: AppId, at: Timestamp, dynos: &[&str]) {
    let keys: Vec<SeriesKey> = dynos
        .iter()
        .flat_map(|dyno| [key("dyno.starts", Kind::Counter, dyno), key("dyno.load_1m", Kind::Gauge, dyno)])
        .collect();
    let numbers = store.number_series(app, &keys.iter().collect::<Vec<_>>(), at).await.unwrap();
    let mut entries: Vec<Entry> = keys
        .iter()
        .map(|key| Entry {
            series: numbers[key],
            at: at.floor(SLOT),
            value: if key.kind == Kind::Counter { Value::Counter(1.0) } else { Value::Gauge(Gauge::once(0.5)) },
        })
        .collect();
    let from = at.floor(SLOT);
    let chunk = Chunk { app, at, from, until: from + SLOT, body: chunk::pack(&mut entries) };
    store.add_chunks(id(), &[chunk]).await.unwrap();
}

/// The sum of what a series' packed rows of a step hold, and how many of its chunks are in none.
async fn sums(store: &Store, app: AppId, step: Step, source: &str) -> (f64, usize) {
    let (from, until) = (t(-10_000_000), t(100_000_000));
    let all = store.series_of(app, from).await.unwrap();
    let series: Vec<u64> =
        all.iter().filter(|(_, k)| *k == key("dyno.starts", Kind::Counter, source)).map(|(id, _)| *id).collect();
    let wanted =
        Wanted { apps: &[app], from, until, series: &series, steps: &[(step, false)], chunks: Chunks::Unfolded };
    let (mut packed, mut chunks) = (Vec::new(), 0);
    let take = |found| {
        match found {
            Found::Packed(row) => packed.push(row),
            Found::Chunk(_) => chunks += 1,
        }
        Ok(())
    };
    store.metric_values(&wanted, take).await.unwrap();
    let slots = packed.iter().flat_map(|row| pack::unpack(Kind::Counter, &row.body).unwrap());
    let sum = slots.map(|(_, value)| if let Value::Counter(n) = value { n } else { panic!("{value:?}") }).sum();
    (sum, chunks)
}

pub(crate) async fn series_have_one_number(bed: &Bed) {
    let (shop, mail) = (bed.app("shop").await, bed.app("mail").await);
    let (a, b) = (key("router.requests", Kind::Counter, "web.1"), key("router.requests", Kind::Counter, "web.2"));
    let first = bed.store.number_series(shop, &[&a, &b, &a], t(0)).await.unwrap();
    let again = bed.again().await.number_series(shop, &[&b, &a], t(5)).await.unwrap();
    assert_eq!((&first, first.len()), (&again, 2));
    assert!(
        !bed.store.number_series(mail, &[&a], t(0)).await.unwrap().values().any(|n| first.values().any(|m| m == n))
    );
    assert_eq!(bed.store.series_of(shop, t(6)).await.unwrap(), []);
    assert_eq!(bed.store.series_of(shop, t(5)).await.unwrap().len(), 2);
    // By name, of several apps: what was not asked for, or not seen since, is not among them.
    let starts = key("dyno.starts", Kind::Counter, "web.1");
    bed.store.number_series(mail, &[&starts], t(5)).await.unwrap();
    let both = [shop, mail];
    let named = |metrics: &'static [&'static str], since| bed.store.series_named(&both, metrics, since);
    let all = named(&["router.requests", "dyno.starts"], t(0)).await.unwrap();
    let of = |app| all.iter().filter(|(of, ..)| *of == app).map(|(_, _, key)| key.clone()).collect::<Vec<_>>();
    assert_eq!((of(shop), of(mail)), (vec![a.clone(), b.clone()], vec![starts, a.clone()]));
    assert!(all.iter().all(|(of, number, key)| *of != shop || first.get(key) == Some(number)));
    assert_eq!(named(&["router.requests"], t(1)).await.unwrap().len(), 2);
    assert_eq!(named(&["router.bytes"], t(0)).await.unwrap(), []);
    // Many at once, from two sides.
    let keys: Vec<SeriesKey> = (0..500).map(|i| key("custom.x", Kind::Gauge, &format!("s{i}"))).collect();
    let (there, back): (Vec<_>, Vec<_>) = (keys.iter().collect(), keys.iter().rev().collect());
    let other = bed.again().await;
    let (one, two) = tokio::join!(bed.store.number_series(shop, &there, t(7)), other.number_series(shop, &back, t(7)));
    assert_eq!(one.unwrap(), two.unwrap());
}

/// A fold that is broken off anywhere has done all or nothing; done again and again, every value is there once.
pub(crate) async fn a_fold_broken_off_counts_once(bed: &Bed) {
    let app = bed.app("shop").await;
    for i in 0..40 {
        chunk_at(&bed.store, app, t(i * 10), &["web.1", "web.2", "DATABASE"]).await;
    }
    assert_eq!(bed.store.apps_to_fold(t(1)).await.unwrap(), [app]);
    assert_eq!(bed.store.apps_to_fold(t(0)).await.unwrap(), []);
    let (mut broken, mut tries) = (0, 0_u64);
    loop {
        tries += 1;
        let store = bed.again().await;
        match tokio::time::timeout(Duration::from_micros(400 * tries), store.fold(app, 3, t(400))).await {
            Ok(Ok(0)) => break,
            Ok(done) => drop(done.unwrap()),
            Err(_) => broken += 1,
        }
        store.close().await;
        assert!(tries < 10_000, "it ends");
    }
    assert!(broken > 0, "some were broken off");
    assert_eq!(sums(&bed.store, app, Step::Minute, "web.1").await, (40.0, 0));
    assert_eq!(sums(&bed.store, app, Step::Minute, "DATABASE").await, (40.0, 0));
    assert_eq!(sums(&bed.store, app, Step::Minute, "web").await, (80.0, 0));
}

/// Longer steps hold what shorter ones held; single dynos stay behind; a late value is there in all of them.
pub(crate) async fn rows_roll_into_longer_steps(bed: &Bed) {
    let app = bed.app("shop").await;
    let start = t(0).floor(Duration::from_secs(86_400));
    for hour in 0..30 {
        chunk_at(&bed.store, app, start + Duration::from_secs(hour * 3_600 + 5), &["web.1", "web.2"]).await;
    }
    let now = start + Duration::from_secs(40 * 86_400);
    let pass = async || {
        while bed.store.fold(app, 10, now).await.unwrap() > 0 {}
        while bed.store.roll(Step::Minute, Step::TenMinutes, now, 7).await.unwrap() > 0 {}
        while bed.store.roll(Step::TenMinutes, Step::Hour, now, 7).await.unwrap() > 0 {}
    };
    for late in [0.0, 1.0, 2.0] {
        pass().await;
        for step in [Step::Minute, Step::TenMinutes, Step::Hour] {
            assert_eq!(sums(&bed.store, app, step, "web").await, (60.0 + 2.0 * late, 0), "{step:?}");
        }
        assert_eq!(sums(&bed.store, app, Step::TenMinutes, "web.1").await, (0.0, 0));
        if late < 2.0 {
            chunk_at(&bed.store, app, start + Duration::from_secs(7_205), &["web.1", "web.2"]).await;
        }
    }
    // When room runs out, minutes go, not those of the last day; longer steps stay.
    assert_eq!(bed.store.prune_for_room(start + Duration::from_secs(86_400)).await.unwrap(), 0);
    assert_eq!(bed.store.prune_for_room(now).await.unwrap(), 180);
    assert_eq!(sums(&bed.store, app, Step::Minute, "web").await.0, 0.0);
    pass().await;
    assert_eq!(sums(&bed.store, app, Step::Hour, "web").await.0, 60.0 + 2.0 * 2.0);
}

pub(crate) async fn old_values_are_forgotten(bed: &Bed) {
    let app = bed.app("shop").await;
    chunk_at(&bed.store, app, t(0), &["web.1"]).await;
    let day = |days: u64| t(0) + Duration::from_secs(days * 86_400);
    // What is in no row yet stays, however old.
    assert_eq!(bed.store.prune_chunks(day(1), t(0)).await.unwrap(), 0);
    while bed.store.fold(app, 10, t(20)).await.unwrap() > 0 {}
    assert_eq!(bed.store.prune_chunks(day(1), t(0)).await.unwrap(), 1);
    while bed.store.roll(Step::Minute, Step::TenMinutes, day(2), 100).await.unwrap() > 0 {}
    while bed.store.roll(Step::TenMinutes, Step::Hour, day(3), 100).await.unwrap() > 0 {}
    for (days, gone) in [(6, 0), (8, 4), (29, 0), (32, 2), (89, 0), (92, 2), (399, 0), (432, 4)] {
        // Rows, and series that have none left.
        assert_eq!(bed.store.prune_packs(day(days)).await.unwrap(), gone, "{days}");
    }
    assert_eq!(bed.store.series_of(app, t(-1_000)).await.unwrap(), []);
}

pub(crate) async fn large_chunks_come_in_order(bed: &Bed) {
    let app = bed.app("shop").await;
    // The second fills a reading, the fourth is larger than any; the store does not look into them.
    let bodies: Vec<Vec<u8>> =
        (1_u8..).zip([100, 256 << 10, 100, 300 << 10, 100, 100]).map(|(fill, bytes)| vec![fill; bytes]).collect();
    for (at, body) in (0..).zip(&bodies) {
        let at = t(10 * at);
        let chunk = Chunk { app, at, from: at, until: at + SLOT, body: body.clone() };
        bed.store.add_chunks(id(), &[chunk]).await.unwrap();
    }
    let all = Wanted { apps: &[app], from: t(0), until: t(60), series: &[], steps: &[], chunks: Chunks::All };
    let mut found = Vec::new();
    let take = |one| {
        found.push(one);
        Ok(())
    };
    bed.store.metric_values(&all, take).await.unwrap();
    assert!(found.into_iter().eq(bodies.iter().cloned().map(Found::Chunk)));

    let recent = bed.store.chunks_since(t(10)).await.unwrap();
    assert_eq!(recent.iter().map(|chunk| chunk.at).collect::<Vec<_>>(), [t(10), t(20), t(30), t(40), t(50)]);
    let (mut read, mut rest) = (Vec::new(), &recent[..]);
    while !rest.is_empty() {
        let some = bed.store.chunk_bodies(rest).await.unwrap();
        rest = &rest[some.len()..];
        read.push(some);
    }
    assert_eq!(read.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1, 1, 2]);
    assert!(read.into_iter().flatten().eq(bodies[1..].iter().cloned().map(Some)));
    assert_eq!(bed.store.chunk_bodies(&[]).await.unwrap(), Vec::<Option<Vec<u8>>>::new());

    // Gone meanwhile: said, not skipped.
    chunk_at(&bed.store, app, t(100), &["web.1"]).await;
    let mail = bed.app("mail").await;
    chunk_at(&bed.store, mail, t(100), &["web.1"]).await;
    let recent = bed.store.chunks_since(t(100)).await.unwrap();
    while bed.store.fold(mail, 10, t(120)).await.unwrap() > 0 {}
    assert_eq!(bed.store.prune_chunks(t(1_000), t(0)).await.unwrap(), 1);
    let some = bed.store.chunk_bodies(&recent).await.unwrap();
    assert_eq!(some.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false]);
}

pub(crate) async fn paths_add_up(bed: &Bed) {
    let app = bed.app("shop").await;
    let hour = |from: Timestamp, errors, n| {
        let mut paths = TopPaths::default();
        paths.add("/orders/:id", n);
        PathsOfHour { app, errors, from, paths }
    };
    let other = bed.again().await;
    let (one, two) = ([hour(t(0), false, 3), hour(t(0), true, 1)], [hour(t(0), false, 4), hour(t(3_600), false, 5)]);
    let (a, b) = tokio::join!(bed.store.add_paths(&one), other.add_paths(&two));
    a.unwrap();
    b.unwrap();
    let count = async |errors, until| {
        let paths = bed.store.paths(app, errors, t(0), until).await.unwrap();
        paths.top().first().map(|(path, hits)| (path.to_string(), hits.count))
    };
    assert_eq!(count(false, t(1)).await, Some(("/orders/:id".to_owned(), 7)));
    assert_eq!(count(false, t(4_000)).await, Some(("/orders/:id".to_owned(), 12)));
    assert_eq!(count(true, t(4_000)).await, Some(("/orders/:id".to_owned(), 1)));
    assert_eq!(bed.store.prune_chunks(t(0), t(1)).await.unwrap(), 2);
}

pub(crate) async fn events_and_states(bed: &Bed) {
    let app = bed.app("shop").await;
    let event = |at, kind, source: &str, what: &str| {
        let what = Some(what.to_owned()).filter(|what| !what.is_empty());
        (app, AppEvent { at: t(at), kind, source: source.to_owned(), actor: None, what })
    };
    let state =
        |at, dyno: &str, state: &str| (app, DynoState { dyno: dyno.to_owned(), state: state.to_owned(), at: t(at) });
    let events = [
        event(5, EventKind::Scale, "", "web@2"),
        event(5, EventKind::Scale, "", "web@2"),
        event(7, EventKind::Crash, "web.1\0", ""),
        event(9, EventKind::Scale, "", "web@3"),
    ];
    let states = [state(7, "web.1", "crashed"), state(3, "web.1", "up"), state(4, "web.2", "down")];
    bed.store.add_app_events(&events, &states).await.unwrap();
    bed.store.add_app_events(&events[..1], &[state(6, "web.1", "starting")]).await.unwrap();
    let found = bed.store.app_events(app, t(0), t(100)).await.unwrap();
    assert_eq!(found.iter().map(|e| e.at).collect::<Vec<_>>(), [t(9), t(7), t(5)]);
    let scaled = bed.store.newest_scalings(t(0)).await.unwrap();
    assert_eq!((scaled.len(), scaled[0].1.what.as_deref()), (1, Some("web@3")));
    assert_eq!(bed.store.newest_scalings(t(9)).await.unwrap(), []);
    let states = bed.store.dyno_states(app).await.unwrap();
    let shown: Vec<(&str, &str)> = states.iter().map(|s| (s.dyno.as_str(), s.state.as_str())).collect();
    assert_eq!(shown, [("web.1", "crashed"), ("web.2", "down")]);
    // The newest scaling and a crashed dyno stay.
    assert_eq!(bed.store.prune_app_events(t(100), t(100)).await.unwrap(), 3);
    assert_eq!(bed.store.app_events(app, t(0), t(100)).await.unwrap().len(), 1);
}
