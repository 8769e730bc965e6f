//! Deliveries that are refused with 503: the store is away, or too much waits for it.

use std::time::Duration;

use dynowatch_domain::blind::BlindReason;
use dynowatch_engine::Limits;
use dynowatch_testkit::postgres::TestDatabase;

use super::{Served, batch};
use crate::site::{Site, frame, rules};

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
