//! The smaller concepts: tokens, quiet rules, leases, processes, blind times, buckets, keys at rest, forgetting.

use std::time::Duration;

use dynowatch_domain::alert::{Phase, ResolveReason, Track};
use dynowatch_domain::blind::{Blind, BlindReason};
use dynowatch_domain::delivery::{Next, Outcome};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::rollup::Bucket;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::leases::Lived;
use dynowatch_store::levels::LevelRow;
use dynowatch_store::objects::{Object, ObjectKind};
use dynowatch_store::rules::RuleOverride;
use dynowatch_store::tokens::NewApiToken;
use dynowatch_store::{Changes, EvaluateRequest, ResolvedAlert, StoreError, TrackChange};

use crate::bed::{Bed, act, change, counted, facts, firing_to, id, key, line, t, token};

pub(crate) async fn api_tokens(bed: &Bed) {
    let ours = id();
    let new = NewApiToken { expires_at: Some(t(85)), ..token(ours, "ci", 1) };
    bed.store.create_api_token(&new, None, &act(), t(0)).await.unwrap();
    for (name, hash) in [("ci", 2), ("other", 3)] {
        let done = bed.store.create_api_token(&token(id(), name, hash), None, &act(), t(0)).await;
        assert_eq!(matches!(done, Err(StoreError::Conflict(_))), name == "ci", "{done:?}");
    }
    assert_eq!(bed.store.find_api_token(&[9; 32], t(0)).await.unwrap(), None);
    let used = |seconds| async move {
        bed.store.find_api_token(&[1; 32], t(seconds)).await.unwrap().map(|token| token.last_used_at)
    };
    assert_eq!(used(10).await, Some(None));
    assert_eq!(used(69).await, Some(Some(t(10))));
    assert_eq!(used(70).await, Some(Some(t(10))));
    assert_eq!(used(71).await, Some(Some(t(70))));
    assert!(used(84).await.is_some());
    assert_eq!(used(85).await, None, "it is over");
    assert!(bed.store.revoke_api_token("ci", &act(), t(80)).await.unwrap());
    assert!(!bed.store.revoke_api_token("ci", &act(), t(81)).await.unwrap());
    assert_eq!(used(82).await, None);
    let all = bed.store.api_tokens().await.unwrap();
    assert_eq!((all[0].id, all[0].name.as_str(), all[0].revoked_at), (ours, "ci", Some(t(80))));
}

pub(crate) async fn objects_of_the_console(bed: &Bed) {
    let object = |name: &str, body: serde_json::Value| Object {
        name: name.into(),
        body,
        by_whom: "user:ada\0".into(),
        created_at: t(1),
        changed_at: t(1),
    };
    for kind in ObjectKind::ALL {
        let before = bed.store.objects_version().await.unwrap();
        let body = serde_json::json!({ "match": { "text": ["a\u{0}b"] }, "count": "> 3" });
        bed.store.create_object(kind, &object("slow", body.clone()), &act()).await.unwrap();
        let again = bed.store.create_object(kind, &object("slow", body), &act()).await;
        assert!(matches!(again, Err(StoreError::Conflict(_))), "{again:?}");
        let kept = bed.store.objects(kind).await.unwrap();
        assert_eq!((kept[0].by_whom.as_str(), &kept[0].body["count"]), ("user:ada\u{fffd}", &"> 3".into()));
        assert_eq!(kept[0].body["match"]["text"][0], "a\u{fffd}b");
        let made = bed.store.objects_version().await.unwrap();
        assert_ne!(made, before);
        bed.store
            .change_object(kind, "slow", &serde_json::json!({ "count": "> 4" }), "user:bo", &act(), t(9))
            .await
            .unwrap();
        let changed = bed.store.objects(kind).await.unwrap();
        assert_eq!(
            (changed[0].created_at, changed[0].changed_at, changed[0].by_whom.as_str()),
            (t(1), t(9), "user:bo")
        );
        assert_ne!(bed.store.objects_version().await.unwrap(), made);
        let gone = bed.store.change_object(kind, "fast", &serde_json::json!({}), "user:bo", &act(), t(9)).await;
        assert!(matches!(gone, Err(StoreError::NotFound(_))), "{gone:?}");
        assert!(bed.store.delete_object(kind, "slow", &act(), t(9)).await.unwrap());
        assert!(!bed.store.delete_object(kind, "slow", &act(), t(9)).await.unwrap());
        assert_eq!(bed.store.objects_version().await.unwrap(), before);
    }
}

pub(crate) async fn rules_are_quiet_for_a_while(bed: &Bed) {
    let quiet =
        |until| RuleOverride { rule: "h12".into(), disabled_until: t(until), by_whom: "dev".into(), created_at: t(0) };
    bed.store.disable_rule(&quiet(10), &act()).await.unwrap();
    bed.store.disable_rule(&quiet(20), &act()).await.unwrap();
    assert_eq!(bed.store.disabled_rules(t(19)).await.unwrap(), [quiet(20)]);
    assert_eq!(bed.store.disabled_rules(t(20)).await.unwrap(), []);
    assert!(bed.store.enable_rule("h12", &act(), t(1)).await.unwrap());
    assert!(!bed.store.enable_rule("h12", &act(), t(1)).await.unwrap());
    assert_eq!(bed.store.disabled_rules(t(0)).await.unwrap(), []);
}

pub(crate) async fn leases_have_fences(bed: &Bed) {
    let ten = Duration::from_secs(10);
    let acquire = |holder, now| bed.store.acquire_lease("rules", holder, t(now), ten);
    assert_eq!(acquire("a", 0).await.unwrap(), Some(1));
    assert_eq!(acquire("b", 9).await.unwrap(), None);
    assert!(bed.store.renew_lease("rules", "a", 1, t(9), ten).await.unwrap());
    assert_eq!(acquire("b", 18).await.unwrap(), None);
    assert_eq!(acquire("b", 19).await.unwrap(), Some(2));
    assert!(!bed.store.renew_lease("rules", "a", 1, t(19), ten).await.unwrap());
    bed.store.release_lease("rules", "a", 1).await.unwrap();
    assert_eq!(acquire("a", 20).await.unwrap(), None);
    bed.store.release_lease("rules", "b", 2).await.unwrap();
    assert_eq!(acquire("a", 20).await.unwrap(), Some(3));
}

pub(crate) async fn processes_know_when_anyone_was_alive(bed: &Bed) {
    let lived = |from, until| Lived { started_at: t(from), seen_at: t(until) };
    let (first, second) = (id(), id());
    assert_eq!(bed.store.start_process(first, t(0)).await.unwrap(), None);
    bed.store.beat_process(first, t(10)).await.unwrap();
    bed.store.beat_process(first, t(5)).await.unwrap();
    assert_eq!(bed.store.last_seen().await.unwrap(), Some(t(10)));
    assert_eq!(bed.store.start_process(second, t(20)).await.unwrap(), Some(t(10)));
    // The last to end leaves its last beat; one that ends while others live leaves nothing.
    bed.store.end_process(second, t(30), t(24)).await.unwrap();
    let third = id();
    assert_eq!(bed.store.start_process(third, t(40)).await.unwrap(), Some(t(30)));
    let (dead, left) = bed.store.take_dead_processes(third, t(34)).await.unwrap();
    assert_eq!((dead[0], dead[1].seen_at, dead.len(), left), (lived(0, 10), t(30), 2, vec![]));
    assert_eq!(dead.iter().map(Lived::ended_in_order).collect::<Vec<_>>(), [false, true]);
    assert_eq!(bed.store.take_dead_processes(third, t(34)).await.unwrap(), (vec![], vec![]));
    let fourth = id();
    bed.store.start_process(fourth, t(41)).await.unwrap();
    assert_eq!(bed.store.take_dead_processes(third, t(34)).await.unwrap(), (vec![], vec![lived(41, 41)]));
    bed.store.end_process(fourth, t(42), t(36)).await.unwrap();
    assert_eq!(bed.store.take_dead_processes(third, t(100)).await.unwrap(), (vec![], vec![]));
}

pub(crate) async fn blind_times(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let blind =
        |from, until, lines_lost| Blind { reason: BlindReason::LogLoss, from: t(from), until: t(until), lines_lost };
    let down = Blind { reason: BlindReason::Down, ..blind(0, 5, None) };
    bed.store.record_blind(None, &down).await.unwrap();
    let blinds = vec![(Some(shop), blind(10, 20, Some(112))), (Some(blog), blind(11, 12, None))];
    bed.save(t(20), Changes { blinds, ..Changes::default() }).await;
    let cases: [(AppId, i64, i64, &[Blind]); 5] = [
        (shop, 0, 30, &[down.clone(), blind(10, 20, Some(112))]),
        (blog, 0, 30, &[down.clone(), blind(11, 12, None)]),
        (shop, 5, 9, &[]),
        (shop, 19, 30, &[blind(10, 20, Some(112))]),
        (shop, 20, 30, &[]),
    ];
    for (app, from, until, want) in cases {
        assert_eq!(bed.store.blinds_between(app, t(from), t(until)).await.unwrap(), want, "{from}..{until}");
    }
    assert_eq!(bed.store.all_blinds_between(t(-1), t(30)).await.unwrap().len(), 3);
}

fn level(rule: &str, app: AppId, at: i64, total: u64) -> LevelRow {
    LevelRow {
        rule: rule.into(),
        app,
        group: Group::default(),
        bucket: Bucket { at: t(at), total, matched: total / 2 },
    }
}

pub(crate) async fn buckets_add_up(bed: &Bed) {
    let (shop, blog) = (AppId(id()), AppId(id()));
    let mut rows: Vec<LevelRow> = (0..700).rev().map(|n| level("share", shop, n * 10, 2)).collect();
    rows.push(level("share", shop, 0, 10));
    rows.push(level("silent", blog, 0, 3));
    bed.store.add_levels(&[]).await.unwrap();
    bed.store.add_levels(&rows).await.unwrap();
    bed.store.add_levels(&[level("share", shop, 0, 4)]).await.unwrap();
    let loaded = bed.store.load_levels(&["share"], t(0)).await.unwrap();
    assert_eq!((loaded.len(), loaded[0].clone()), (700, level("share", shop, 0, 16)));
    assert!(loaded.iter().skip(1).all(|row| (row.bucket.total, row.bucket.matched) == (2, 1)));
    assert_eq!(bed.store.load_levels(&["share", "silent", "none"], t(10)).await.unwrap().len(), 699);
    assert_eq!(bed.store.prune_levels(t(6_000)).await.unwrap(), 601);
    assert_eq!(bed.store.load_levels(&["share", "silent"], t(0)).await.unwrap().len(), 100);
    assert!(!bed.store.metrics_stopped());
}

pub(crate) async fn due_keys_and_groups(bed: &Bed) {
    let app = bed.app("shop").await;
    let pending =
        Track { phase: Phase::Pending { since: t(0), holds_until: t(9), facts: facts(3) }, ..Track::default() };
    let keys: Vec<Key> = (0..4).map(|n| Key { group: Group(n.to_string()), ..key(app, "h12") }).collect();
    let wakes = [Some(t(7)), Some(t(5)), None, Some(t(20))];
    let mut tracks: Vec<TrackChange> = keys
        .iter()
        .zip(wakes)
        .map(|(key, next_wake_at)| TrackChange { next_wake_at, ..change(key, 5, pending.clone()) })
        .collect();
    tracks.push(change(&key(app, "r14"), 1, Track::default()));
    bed.save(t(0), Changes { tracks, ..Changes::default() }).await;
    assert_eq!(bed.store.next_wake_at().await.unwrap(), Some(t(5)));
    assert_eq!(bed.store.due_keys(t(4), 10).await.unwrap(), []);
    assert_eq!(bed.store.due_keys(t(7), 10).await.unwrap(), [keys[1].clone(), keys[0].clone()]);
    assert_eq!(bed.store.due_keys(t(7), 1).await.unwrap(), [keys[1].clone()]);
    assert_eq!(bed.store.open_tracks_of_rules_not_in(&["h12"]).await.unwrap(), []);
    assert_eq!(bed.store.open_tracks_of_rules_not_in(&["r14"]).await.unwrap(), keys);
    let open = bed.store.load_open().await.unwrap();
    assert_eq!((open.len(), &open[0]), (4, &(keys[0].clone(), 5, pending)));
}

pub(crate) async fn sweeping_forgets_what_is_old(bed: &Bed) {
    let app = bed.app("shop").await;
    let (open, over) = (key(app, "open"), key(app, "over"));
    let (open_alert, _) = bed.fire(&open, t(0), &["ops"]).await;
    let (over_alert, _) = bed.fire(&over, t(0), &[]).await;
    let lines = vec![line(b"code=H12")];
    let quiet = TrackChange { events: vec![counted(0, 0)], lines, ..change(&over, 2, Track::default()) };
    let again = TrackChange { events: vec![counted(1, 1)], ..change(&over, 3, Track::default()) };
    let resolved =
        vec![ResolvedAlert { alert: over_alert, at: t(9), reason: ResolveReason::ConditionFalse, facts: facts(4) }];
    bed.save(t(9), Changes { tracks: vec![quiet], resolved, ..Changes::default() }).await;
    bed.save(t(9), Changes { tracks: vec![again], ..Changes::default() }).await;
    let sent = firing_to(over_alert, "ops", t(0));
    bed.save(t(9), Changes { deliveries: vec![sent.clone()], ..Changes::default() }).await;
    for claimed in bed.store.claim_deliveries(t(9), "w", 9, &[]).await.unwrap() {
        if claimed.outgoing.id == sent.id {
            let outcome = Outcome::Accepted { detail: String::new() };
            bed.store.finish_attempt(sent.id, 1, &outcome, &Next::Sent, t(9)).await.unwrap();
        }
    }
    let frames = vec![(app, "f".to_owned())];
    let ask = EvaluateRequest { now: t(9), frames, ..EvaluateRequest::default() };
    bed.store.evaluate(ask, |_| (Changes::default(), ())).await.unwrap();
    bed.store.start_process(id(), t(9)).await.unwrap();

    let after = |days: u64| -> Timestamp { t(10) + Duration::from_secs(days * 86_400) };
    let swept = bed.store.sweep(t(10)).await.unwrap();
    assert_eq!(swept, dynowatch_store::housekeeping::Swept::default());
    let swept = bed.store.sweep(after(9)).await.unwrap();
    // Two rows of matches were written; the last one always stays.
    assert_eq!((swept.frames, swept.matches, swept.tracks, swept.alerts), (1, 1, 1, 0));
    let swept = bed.store.sweep(after(91)).await.unwrap();
    assert_eq!((swept.deliveries, swept.others, swept.alerts), (1, 1, 0));
    assert_eq!(bed.store.sweep(after(401)).await.unwrap().alerts, 1);
    // What is open stays, and so does its message that is not sent yet.
    assert_eq!(bed.store.alert(open_alert).await.unwrap().deliveries.len(), 1);
    assert!(bed.store.alert(over_alert).await.is_err());
}
