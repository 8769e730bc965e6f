//! Backup and restore.

use std::os::unix::fs::PermissionsExt as _;

use dynowatch_domain::alert::Effect;
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::key::Group;
use dynowatch_domain::rollup::Bucket;
use dynowatch_domain::{AlertId, AppId};
use dynowatch_store::alerts::AlertFilter;
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::levels::LevelRow;
use dynowatch_store::{Changes, Store, StoreError, TrackChange};

use crate::bed::{Bed, act, change, counted, firing, id, key, line, t, token};

async fn fill(bed: &Bed) -> AlertId {
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &["ops"]).await;
    let lines = vec![line(b"\xff\0 H12")];
    let track = TrackChange { events: vec![counted(1, 2)], lines, ..change(&key, 2, firing(alert, t(0))) };
    let blind = Blind { reason: BlindReason::Refused, from: t(0), until: t(1), lines_lost: None };
    let changes = Changes {
        tracks: vec![track],
        decisions: vec![(alert, t(0), Effect::Merged { alert })],
        blinds: vec![(None, blind.clone()), (Some(key.app), blind)],
        ..Changes::default()
    };
    bed.save(t(2), changes).await;
    bed.store.claim_deliveries(t(2), "w", 1, &[]).await.unwrap();
    bed.store.adopt_app(AppId(id()), "d.1", "d.1", AppOrigin::Adopted, t(0)).await.unwrap();
    bed.store.create_api_token(&token(id(), "ci", 255), None, &act(), t(0)).await.unwrap();
    let bucket = Bucket { at: t(0), total: 7, matched: 1 };
    let rows: Vec<LevelRow> =
        (0..250).map(|n| LevelRow { rule: format!("r{n}"), app: key.app, group: Group::default(), bucket }).collect();
    bed.store.add_levels(&rows).await.unwrap();
    alert
}

pub(crate) async fn a_backup_moves_to_the_other_engine(bed: &Bed) {
    let alert = fill(bed).await;
    let (file, back) = (bed.folder.path().join("a.jsonl"), bed.folder.path().join("b.jsonl"));
    let moved = bed.store.backup(&file).await.unwrap();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "secrets are in it");
    let other = bed.other().await;
    other.store.close().await;
    assert_eq!(Store::restore(&file, &other.options).await.unwrap(), moved);
    let store = other.again().await;
    assert_eq!(store.backup(&back).await.unwrap(), moved);
    let sorted = |path| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        lines.sort_by_key(ToString::to_string);
        lines
    };
    assert_eq!(sorted(&file), sorted(&back));
    assert_eq!(store.alert(alert).await.unwrap(), bed.store.alert(alert).await.unwrap());
    // Counters go on behind the restored rows.
    let down = Blind { reason: BlindReason::Down, from: t(5), until: t(6), lines_lost: None };
    store.record_blind(None, &down).await.unwrap();
    assert_eq!(store.all_blinds_between(t(-1), t(9)).await.unwrap().len(), 3);
}

pub(crate) async fn a_filled_store_is_refused(bed: &Bed) {
    let file = bed.folder.path().join("a.jsonl");
    bed.app("shop").await;
    bed.store.backup(&file).await.unwrap();
    let error = Store::restore(&file, &bed.options).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("empty") && text.contains("apps")), "{error}");
    assert_eq!(bed.store.apps().await.unwrap().len(), 1);
}

pub(crate) async fn broken_backups_change_nothing(bed: &Bed) {
    fill(bed).await;
    let whole = bed.folder.path().join("a.jsonl");
    bed.store.backup(&whole).await.unwrap();
    let text = std::fs::read_to_string(&whole).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n");
    let without_a_row = [&lines[..3], &lines[4..]].concat().join("\n");
    let cases = [
        (String::new(), "no dynowatch backup"),
        ("hello\n".to_owned(), "no dynowatch backup"),
        (text.replacen("\"dynowatch_backup\":1", "\"dynowatch_backup\":7", 1), "format 7"),
        (text.replacen("\"schema\":", "\"schema\":9", 1), "newer"),
        (without_end, "cut off"),
        (without_a_row, "rows were written"),
        (text.replacen("\"table\":\"matches\"", "\"table\":\"cats\"", 1), "cats"),
        (text.replacen("\"created_at\":", "\"created_at\":\"x\",\"was\":", 1), "created_at"),
    ];
    let other = bed.other().await;
    for (text, want) in cases {
        let file = bed.folder.path().join("broken.jsonl");
        std::fs::write(&file, text).unwrap();
        let error = Store::restore(&file, &other.options).await.unwrap_err();
        assert!(error.to_string().contains(want), "{error} ({want})");
        assert_eq!(other.store.apps().await.unwrap(), []);
    }
    assert_eq!(other.store.alerts(&AlertFilter { limit: 9, ..AlertFilter::default() }).await.unwrap(), []);
    Store::restore(&whole, &other.options).await.unwrap();
    assert_eq!(other.store.apps().await.unwrap().len(), 2);
}
