//! The bounds in numbers of rows, on filled tables.

use dynowatch_domain::AppId;
use dynowatch_testkit::postgres::TestDatabase;
use uuid::Uuid;

use super::*;
use crate::StoreOptions;
use crate::apps::AppOrigin;

const NOW: Timestamp = Timestamp::from_seconds(1_780_000_000);

async fn ids(store: &Store, sql: &'static str) -> Vec<i64> {
    read!(&store.state, |pool| sqlx::query_scalar(sql).fetch_all(pool)).unwrap()
}

/// Of what rules counted the newest rows stay, and the newest of these with their lines: limits of rows are limits of
/// numbers, since rows are numbered in the order of arrival.
async fn matches_are_bounded(store: &Store, app: AppId) {
    let newest = MATCHES_MAX + 3;
    let first_with_lines = newest - MATCHES_WITH_LINES_MAX + 1;
    let numbers = [1, 2, 3, 4, 5, first_with_lines - 1, first_with_lines, newest];
    for id in numbers {
        let sql = "INSERT INTO matches (id, app_id, rule, grp, arrived_at, count, events, lines, previous_id) \
                   VALUES ($1, $2, 'h12', '', $3, 1, $4, '[1]', NULL)";
        let done: Result<u64> =
            change!(&store.state, sqlx::query(sql).bind(id).bind(app.0).bind(NOW.as_micros()).bind(vec![0_u8]));
        assert_eq!(done.unwrap(), 1);
    }
    for (round, removed) in [3, 0].into_iter().enumerate() {
        assert_eq!(store.sweep(NOW).await.unwrap().matches, removed, "round {round}");
        assert_eq!(ids(store, "SELECT id FROM matches ORDER BY id").await, numbers[3..], "round {round}");
        let with_lines = ids(store, "SELECT id FROM matches WHERE lines <> '[]' ORDER BY id").await;
        assert_eq!(with_lines, [first_with_lines, newest], "round {round}");
    }
}

/// A table that was filled overnight is emptied in slices, all in one run.
async fn old_frames_go_in_slices(store: &Store, app: AppId) {
    let many = 2 * SLICE + 1;
    let sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) \
               INSERT INTO frames (app_id, frame_id, seen_at) SELECT $2, 'f' || i, $3 FROM n";
    for (at, kept) in [(NOW - FRAMES_KEPT - Duration::from_micros(1), false), (NOW - FRAMES_KEPT, true)] {
        let done: Result<u64> =
            change!(&store.state, sqlx::query(sql).bind(i32::try_from(many).unwrap()).bind(app.0).bind(at.as_micros()));
        assert_eq!(done.unwrap(), many.unsigned_abs());
        let removed = if kept { 0 } else { many.unsigned_abs() };
        assert_eq!(store.sweep(NOW).await.unwrap().frames, removed, "kept: {kept}");
    }
    assert_eq!(ids(store, "SELECT COUNT(*) FROM frames").await, [many]);
}

#[tokio::test]
async fn filled_tables_come_back_to_their_bounds() {
    let (folder, database) = (tempfile::tempdir().unwrap(), TestDatabase::create().await);
    for url in [format!("sqlite://{}", folder.path().join("a.db").display()), database.url().to_owned()] {
        let store = Store::open(&StoreOptions::new(&url)).await.unwrap();
        let app = store.ensure_app(AppId(Uuid::from_u128(1)), "shop", AppOrigin::File, NOW).await.unwrap().id;
        matches_are_bounded(&store, app).await;
        old_frames_go_in_slices(&store, app).await;
    }
}
