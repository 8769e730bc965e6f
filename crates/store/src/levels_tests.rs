//! Metrics that find no room stop, and state goes on.

use dynowatch_domain::alert::Track;
use dynowatch_domain::key::Key;

use super::*;
use crate::apps::AppOrigin;
use crate::{Changes, EvaluateRequest, StoreOptions, TrackChange};

fn rows(rule: &str, n: i64) -> Vec<LevelRow> {
    let app = AppId(Uuid::from_u128(1));
    let bucket = |at| Bucket { at: Timestamp::from_seconds(at), total: 1, matched: 1 };
    (0..n).map(|at| LevelRow { rule: rule.into(), app, group: Group::default(), bucket: bucket(at) }).collect()
}

async fn open(change: impl FnOnce(&mut StoreOptions)) -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let mut options = StoreOptions::new(&format!("sqlite://{}", folder.path().join("a.db").display()));
    change(&mut options);
    let store = Store::open(&options).await.unwrap();
    (folder, store)
}

async fn page_limit(db: &Db, more: i64) {
    let Db::Lite { w, .. } = db else { panic!("not SQLite") };
    let mut held = w.hold().await.unwrap();
    let pages: i64 =
        sqlx::query_scalar("SELECT page_count FROM pragma_page_count").fetch_one(&mut held.conn).await.unwrap();
    let limit = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {}", pages + more));
    sqlx::query(limit).execute(&mut held.conn).await.unwrap();
    held.keep();
}

/// Saves one key of an app with that many events.
async fn save(store: &Store, events: i64) -> Result<()> {
    let now = Timestamp::from_seconds(1);
    let app = store.ensure_app(AppId(Uuid::from_u128(1)), "shop", AppOrigin::File, now).await?.id;
    let key = Key { app, rule: "h12".into(), group: Group::default() };
    let event = |n: i64| dynowatch_domain::window::Counted { at: Timestamp::from_micros(n * n * 7_919), arrived: now };
    let change = TrackChange {
        moved: true,
        key,
        version: 1,
        track: Track::default(),
        next_wake_at: None,
        events: (0..events).map(event).collect(),
        lines: Vec::new(),
        consumed_before: None,
    };
    let changes = Changes { tracks: vec![change], ..Changes::default() };
    store.evaluate(EvaluateRequest::default(), |_| (changes, ())).await
}

#[tokio::test]
async fn metrics_stop_when_their_file_is_full_and_state_goes_on() {
    let (_folder, store) = open(|_| ()).await;
    page_limit(&store.metrics, 4).await;
    let error = store.add_levels(&rows("share", 2_000)).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    assert!(store.metrics_stopped() && !error.is_retryable());
    save(&store, 10).await.unwrap();
    // A flush that fits starts them again; what failed left nothing.
    store.add_levels(&rows("share", 3)).await.unwrap();
    assert!(!store.metrics_stopped());
    assert_eq!(store.load_levels(&["share"], Timestamp::UNIX_EPOCH).await.unwrap().len(), 3);
}

#[tokio::test]
async fn metrics_keep_to_their_share() {
    let (_folder, store) = open(|options| options.metrics_bytes_max = 200_000).await;
    let mut flushes = 0;
    let error = loop {
        match store.add_levels(&rows(&format!("share-{flushes}"), 500)).await {
            Ok(()) => flushes += 1,
            Err(error) => break error,
        }
        assert!(flushes < 20);
    };
    assert!(flushes > 0 && store.metrics_stopped(), "{error}");
    // Pruned, there is room again, although the file is as long as it was.
    assert!(store.prune_levels(Timestamp::from_seconds(9_999)).await.unwrap() > 0);
    store.add_levels(&rows("share", 3)).await.unwrap();
    assert!(!store.metrics_stopped());
}

#[tokio::test]
async fn metrics_leave_room_on_the_disk() {
    let (_folder, store) = open(|options| options.disk_reserve_bytes = u64::MAX).await;
    let error = store.add_levels(&rows("share", 1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Full(text) if text.contains("left on the disk")), "{error}");
    save(&store, 10).await.unwrap();
}

#[tokio::test]
async fn a_full_state_says_so_and_loses_nothing() {
    let (_folder, store) = open(|_| ()).await;
    save(&store, 1).await.unwrap();
    page_limit(&store.state, 2).await;
    let error = save(&store, 20_000).await.unwrap_err();
    assert!(matches!(error, StoreError::Full(_)), "{error}");
    // Reading works, and so does a write that fits.
    assert_eq!(store.apps().await.unwrap().len(), 1);
    save(&store, 1).await.unwrap();
}
