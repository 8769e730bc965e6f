//! The evaluation transaction.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dynowatch_domain::alert::{Effect, Phase, ResolveReason, Track};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::release::{Release, ReleaseKind};
use dynowatch_domain::{AlertId, AppId};
use dynowatch_store::{Changes, Engine, EvaluateRequest, ResolvedAlert, Saved, StoreError, TrackChange};

use crate::bed::{Bed, change, counted, facts, firing, id, key, line, request, t};

pub(crate) async fn a_frame_counts_once_per_app(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let ask = |frames: &[(AppId, &str)]| {
        let frames = frames.iter().map(|(app, frame)| (*app, (*frame).to_owned())).collect();
        bed.store.evaluate(EvaluateRequest { now: t(0), frames, ..EvaluateRequest::default() }, |loaded| {
            (Changes::default(), loaded.new_frames)
        })
    };
    assert_eq!(ask(&[(shop, "a"), (shop, "a"), (shop, "b")]).await.unwrap(), [true, false, true]);
    assert_eq!(ask(&[(shop, "b"), (blog, "b"), (shop, "c")]).await.unwrap(), [false, true, true]);
    let long = "é".repeat(10_000);
    assert_eq!(ask(&[(shop, &long), (shop, "nul\0")]).await.unwrap(), [true, true]);
    assert_eq!(ask(&[(shop, &long), (shop, "nul\0")]).await.unwrap(), [false, false]);
    let forgotten = [(shop, "a"), (shop, long.as_str()), (blog, "nobody's")];
    bed.store.forget_frames(&forgotten.map(|(app, frame)| (app, frame.to_owned()))).await.unwrap();
    assert_eq!(ask(&[(shop, "a"), (shop, &long), (shop, "b"), (blog, "b")]).await.unwrap(), [true, true, false, false]);
    // Nor after a restart, and for an hour.
    let frames = ["a", "c", "d"].map(|frame| (shop, frame.to_owned())).to_vec();
    let ask = EvaluateRequest { now: t(3_600), frames, ..EvaluateRequest::default() };
    let new = bed.again().await.evaluate(ask, |loaded| (Changes::default(), loaded.new_frames)).await.unwrap();
    assert_eq!(new, [false, false, true]);
}

/// In one trip what two would do, or nothing at all.
pub(crate) async fn what_is_known_is_saved_at_once(bed: &Bed) {
    let app = bed.app("shop").await;
    let (h12, h13) = (key(app, "h12"), key(app, "h13"));
    let step = |key: &Key, version| TrackChange {
        events: vec![counted(version, version)],
        lines: vec![line(format!("{} {version}", key.rule).as_bytes())],
        ..change(key, version, Track::default())
    };
    for version in 1..=2 {
        let tracks = vec![step(&h12, version), step(&h13, version)];
        bed.save(t(version), Changes { tracks, ..Changes::default() }).await;
    }
    let ask = |frame: &str, known: &[(&Key, i64)]| EvaluateRequest {
        frames: vec![(app, frame.to_owned())],
        known: known.iter().map(|(key, version)| ((*key).clone(), *version)).collect(),
        ..request(t(9), &[h12.clone(), h13.clone()])
    };
    let both = |version| Changes { tracks: vec![step(&h12, version), step(&h13, version)], ..Changes::default() };
    let as_known = [(&h12, 2), (&h13, 2)];
    if bed.store.engine() == Engine::Postgres {
        assert_eq!(bed.store.save_known(&ask("a", &as_known), &both(3)).await.unwrap(), Saved::Not);
        return;
    }
    // Nobody has looked at the newest match yet; from then on it is known.
    assert_eq!(bed.again().await.save_known(&ask("a", &as_known), &both(3)).await.unwrap(), Saved::Not);
    assert_eq!(bed.store.save_known(&ask("a", &as_known), &both(3)).await.unwrap(), Saved::Yes);

    let other = |frames: &[&str], known: &[(&Key, i64)]| EvaluateRequest {
        frames: frames.iter().map(|frame| (app, (*frame).to_owned())).collect(),
        ..ask("", known)
    };
    let alert = AlertId(id());
    let with_decision = Changes { decisions: vec![(alert, t(9), Effect::PendingDropped { at: t(9) })], ..both(4) };
    for (name, request, changes) in [
        ("a frame that was counted", other(&["b", "a"], &[(&h12, 3), (&h13, 3)]), both(4)),
        ("a frame twice", other(&["c", "c"], &[(&h12, 3), (&h13, 3)]), both(4)),
        (
            "somebody else was faster",
            other(&["d"], &[(&h12, 3), (&h13, 4)]),
            Changes { tracks: vec![step(&h12, 4), step(&h13, 5)], ..Changes::default() },
        ),
        (
            "a key that is not stored",
            other(&["e"], &[(&h12, 3), (&key(app, "new"), 3)]),
            Changes { tracks: vec![step(&h12, 4), step(&key(app, "new"), 4)], ..Changes::default() },
        ),
        ("a key nobody knows", other(&["f"], &[(&h12, 3)]), both(4)),
    ] {
        assert_eq!(bed.store.save_known(&request, &changes).await.unwrap(), Saved::Not, "{name}");
    }
    // What else there is to save goes with it, or fails with it.
    bed.store.save_known(&other(&["g"], &[(&h12, 3), (&h13, 3)]), &with_decision).await.unwrap_err();

    let (second, _) = bed.fire(&key(app, "r14"), t(9), &[]).await;
    let with_decision = Changes { decisions: vec![(second, t(9), Effect::PendingDropped { at: t(9) })], ..both(4) };
    let last = other(&["b", "c", "d", "e", "f", "g"], &[(&h12, 3), (&h13, 3)]);
    // Nobody saw how the one before ended.
    assert_eq!(bed.store.save_known(&last, &with_decision).await.unwrap(), Saved::OthersWrote);
    assert_eq!(bed.store.save_known(&last, &with_decision).await.unwrap(), Saved::Yes);
    let loaded = bed.load(t(10), &[h12.clone(), h13.clone()]).await;
    for key in [&h12, &h13] {
        let track = &loaded.tracks[key];
        assert_eq!((track.version, track.events.len()), (4, 4));
        let lines: Vec<String> = track.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into()).collect();
        assert_eq!(lines, [1, 2, 3, 4].map(|version| format!("{} {version}", key.rule)));
    }
}

pub(crate) async fn a_key_comes_back_whole(bed: &Bed) {
    let key = Key { group: Group("dyno=web.1".into()), ..key(bed.app("shop").await, "h12") };
    let track = Track { cooldown_until: Some(t(300)), ..Track::default() };
    for version in 1..=3 {
        let lines = (0..6).map(|n| line(format!("{version}.{n} \0").as_bytes())).collect();
        let events = vec![counted(version, version), counted(-version, version)];
        let tracks = vec![TrackChange { events, lines, ..change(&key, version, track.clone()) }];
        bed.save(t(version), Changes { tracks, ..Changes::default() }).await;
    }
    let loaded = bed.load(t(10), std::slice::from_ref(&key)).await.tracks.remove(&key).unwrap();
    assert_eq!((loaded.version, loaded.track), (3, Some(track)));
    assert_eq!(loaded.events, [1, -1, 2, -2, 3, -3].map(|at: i64| counted(at, at.abs())));
    let lines: Vec<String> = loaded.lines.iter().map(|line| String::from_utf8_lossy(&line.text).into()).collect();
    assert_eq!(lines.len(), 10);
    assert_eq!((lines.first().unwrap().as_str(), lines.last().unwrap().as_str()), ("2.2 \0", "3.5 \0"));

    let known = HashMap::from([(key.clone(), 3)]);
    let request = EvaluateRequest { known, ..request(t(10), &[key.clone(), self::key(key.app, "other")]) };
    let loaded = bed.store.evaluate(request, |loaded| (Changes::default(), loaded)).await.unwrap();
    assert_eq!(loaded.tracks.len(), 1);
    let current = loaded.tracks.get(&key).unwrap();
    assert_eq!((current.version, &current.track, current.events.len()), (3, &None, 0));

    // What no window reaches is not loaded.
    let much_later = t(10) + Duration::from_secs(26 * 3_600);
    let loaded = bed.load(much_later, std::slice::from_ref(&key)).await.tracks.remove(&key).unwrap();
    assert_eq!((loaded.version, loaded.events.len()), (3, 0));
}

pub(crate) async fn what_an_alert_consumed_stays_gone(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let save = |version, now, events, consumed_before| {
        let tracks = vec![TrackChange { events, consumed_before, ..change(&key, version, Track::default()) }];
        bed.save(t(now), Changes { tracks, ..Changes::default() })
    };
    save(1, 10, vec![counted(1, 10), counted(2, 10)], None).await;
    save(2, 20, vec![counted(3, 20), counted(9, 20)], None).await;
    // Consumed up to 5; a line stamped 4 that comes with the same batch, or later, counts.
    save(3, 30, vec![counted(4, 30)], Some(t(5))).await;
    save(4, 40, vec![counted(2, 40)], None).await;
    let loaded = bed.load(t(50), std::slice::from_ref(&key)).await.tracks.remove(&key).unwrap();
    assert_eq!(loaded.events, [counted(9, 20), counted(4, 30), counted(2, 40)]);
}

pub(crate) async fn a_panic_leaves_nothing(bed: &Bed) {
    let app = bed.app("shop").await;
    let ask = |frame: &str| EvaluateRequest {
        now: t(0),
        frames: vec![(app, frame.to_owned())],
        ..EvaluateRequest::default()
    };
    let (store, first) = (bed.store.clone(), ask("a"));
    let done = tokio::spawn(async move { store.evaluate(first, |_| -> (Changes, ()) { panic!("a fault") }).await });
    assert!(done.await.unwrap_err().is_panic());
    let new = bed.store.evaluate(ask("a"), |loaded| (Changes::default(), loaded.new_frames)).await.unwrap();
    assert_eq!(new, [true]);
    // A failing write does the same: this track refers to no app.
    let tracks = vec![change(&key(AppId(id()), "h12"), 1, Track::default())];
    bed.store.evaluate(ask("b"), |_| (Changes { tracks, ..Changes::default() }, ())).await.unwrap_err();
    let new = bed.store.evaluate(ask("b"), |loaded| (Changes::default(), loaded.new_frames)).await.unwrap();
    assert_eq!(new, [true]);
}

pub(crate) async fn a_dropped_future_leaves_all_or_nothing(bed: &Bed) {
    let app = bed.app("shop").await;
    let mut kept = 0;
    for polls in 0..60 {
        let key = Key { group: Group(polls.to_string()), ..key(app, "h12") };
        let frames = vec![(app, format!("f{polls}"))];
        let ask = EvaluateRequest { now: t(0), frames: frames.clone(), ..request(t(0), std::slice::from_ref(&key)) };
        {
            let change = TrackChange { events: vec![counted(0, 0)], ..change(&key, 1, Track::default()) };
            let changes = Changes { tracks: vec![change], ..Changes::default() };
            let mut future = pin!(bed.store.evaluate(ask.clone(), |_| (changes, ())));
            for _ in 0..polls {
                let ready = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_ready())).await;
                if ready {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        let loaded = bed.store.evaluate(ask, |loaded| (Changes::default(), loaded)).await.unwrap();
        let there = loaded.tracks.get(&key).map(|track| track.events.len());
        assert_eq!(there, if loaded.new_frames == [true] { None } else { Some(1) }, "after {polls} polls");
        kept += usize::from(there.is_some());
    }
    assert!(kept < 60);
}

pub(crate) async fn hundreds_of_keys_at_once(bed: &Bed) {
    let app = bed.app("shop").await;
    let keys: Vec<Key> = (0..333).map(|n| Key { group: Group(format!("dyno=web.{n}")), ..key(app, "r14") }).collect();
    let tracks = keys.iter().map(|key| TrackChange { events: vec![counted(1, 1)], ..change(key, 1, Track::default()) });
    bed.save(t(1), Changes { tracks: tracks.collect(), ..Changes::default() }).await;
    let loaded = bed.load(t(2), &keys).await;
    assert_eq!(loaded.tracks.len(), 333);
    assert!(loaded.tracks.values().all(|track| track.version == 1 && track.events == [counted(1, 1)]));
}

pub(crate) async fn decisions_are_numbered_on(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let ((first, _), (second, _)) = (bed.fire(&key, t(0), &[]).await, bed.fire(&key, t(1), &[]).await);
    let held = |alert| Effect::CooldownHeld { alert, until: t(300) };
    for n in 0..3 {
        let decisions = vec![
            (first, t(n), held(first)),
            (second, t(n), held(second)),
            (first, t(n), Effect::Merged { alert: first }),
        ];
        bed.save(t(n), Changes { decisions, ..Changes::default() }).await;
    }
    let decisions = bed.store.alert(first).await.unwrap().decisions;
    let want: Vec<_> = (0..3).flat_map(|n| [(t(n), held(first)), (t(n), Effect::Merged { alert: first })]).collect();
    assert_eq!(decisions, want);
    assert_eq!(bed.store.alert(second).await.unwrap().decisions.len(), 3);
}

pub(crate) async fn lines_of_one_release_merge(bed: &Bed) {
    let app = bed.app("shop").await;
    let cause = Release {
        at: t(5),
        version: None,
        kind: ReleaseKind::AddOn,
        actor: Some("dev@example.com\0".into()),
        what: Some("Attach DATABASE".into()),
        from_api: None,
    };
    let created = Release { version: Some(124), kind: ReleaseKind::Unknown, actor: None, what: None, ..cause.clone() };
    let older = Release { at: t(1), version: Some(123), ..created.clone() };
    let save = |releases: Vec<Release>| {
        let releases = releases.into_iter().map(|release| (app, release)).collect();
        bed.save(t(6), Changes { releases, ..Changes::default() })
    };
    save(vec![older.clone(), created.clone(), created]).await;
    save(vec![cause.clone()]).await;
    let merged = Release { version: Some(124), actor: Some("dev@example.com\u{fffd}".into()), ..cause };
    for (before, want) in [(t(0), None), (t(4), Some(&older)), (t(5), Some(&merged)), (t(99), Some(&merged))] {
        assert_eq!(bed.store.newest_release(app, before).await.unwrap().as_ref(), want);
    }
}

pub(crate) async fn an_unknown_app_is_not_found(bed: &Bed) {
    let stranger = key(AppId(id()), "h12");
    let tracks = vec![change(&stranger, 1, Track::default())];
    let error =
        bed.store.evaluate(request(t(0), &[]), |_| (Changes { tracks, ..Changes::default() }, ())).await.unwrap_err();
    assert!(matches!(error, StoreError::NotFound(_)), "{error}");
}

pub(crate) async fn no_nul_reaches_the_database(bed: &Bed) {
    let key = key(bed.app("shop\0").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &["ops\0"]).await;
    let by = "someone\0\\\0".to_owned();
    let reason = ResolveReason::ClosedByOperator { by };
    let resolved = vec![ResolvedAlert { alert, at: t(9), reason, facts: facts(4) }];
    bed.save(t(9), Changes { resolved, ..Changes::default() }).await;
    let alert = bed.store.alert(alert).await.unwrap();
    let by = "someone\u{fffd}\\\u{fffd}".to_owned();
    assert_eq!(alert.row.resolve_reason, Some(ResolveReason::ClosedByOperator { by }));
    assert_eq!((alert.row.app_name.as_str(), alert.deliveries[0].receiver.as_str()), ("shop\u{fffd}", "ops\u{fffd}"));
    // Evidence is kept byte for byte all the same.
    assert_eq!(alert.evidence[1], line(b"caf\xe9 \0"));
    let track = bed.load(t(9), std::slice::from_ref(&key)).await.tracks.remove(&key).unwrap().track.unwrap();
    assert!(matches!(track.phase, Phase::Firing(_)));
    assert_eq!(track, firing(AlertId(track.previous.unwrap().0), t(0)));
}
