//! Alerts as people see them.

use dynowatch_domain::alert::{Effect, Phase, ResolveReason, Track};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::{AlertId, Timestamp};
use dynowatch_store::alerts::{AlertCounts, AlertCursor, AlertFilter, AlertState};
use dynowatch_store::{AlertUpdate, Changes, ResolvedAlert, TrackChange};

use crate::bed::{Bed, change, counted, facts, firing, id, key, line, t};

fn filter() -> AlertFilter {
    AlertFilter { limit: 100, ..AlertFilter::default() }
}

pub(crate) async fn open_alerts_show_their_newest_numbers(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &[]).await;
    let mut track = firing(alert, t(0));
    if let Phase::Firing(firing) = &mut track.phase {
        firing.facts = facts(99);
    }
    bed.save(t(5), Changes { tracks: vec![change(&key, 2, track)], ..Changes::default() }).await;
    let rows = bed.store.alerts(&filter()).await.unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].id, rows[0].state, rows[0].facts.count), (Some(alert), AlertState::Firing, 99));
    assert_eq!((rows[0].app_name.as_str(), rows[0].details.threshold.as_str()), ("shop", "> 3"));

    let update = AlertUpdate { alert, facts: facts(98), told: true, evidence: None };
    bed.save(t(5), Changes { updates: vec![update], ..Changes::default() }).await;
    let resolved = ResolvedAlert { alert, at: t(9), reason: ResolveReason::ConditionFalse, facts: facts(100) };
    let again = ResolvedAlert { at: t(10), reason: ResolveReason::RuleGone, ..resolved.clone() };
    let tracks = vec![change(&key, 3, Track::default())];
    bed.save(t(9), Changes { tracks, resolved: vec![resolved], ..Changes::default() }).await;
    bed.save(t(10), Changes { resolved: vec![again], ..Changes::default() }).await;
    let row = bed.store.alerts(&filter()).await.unwrap().remove(0);
    assert_eq!((row.state, row.resolved_at, row.facts.count), (AlertState::Resolved, Some(t(9)), 100));
    assert_eq!(row.resolve_reason, Some(ResolveReason::ConditionFalse));
}

/// For trying a rule on the past: what rules took, and evidence, in pages from the newest.
pub(crate) async fn lines_that_are_kept(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let none = bed.store.matched_lines(None, 10).await.unwrap();
    assert_eq!((none.0.len(), none.1), (0, None));
    assert_eq!(bed.store.evidence_lines(None, 10).await.unwrap().0.len(), 0);
    for n in 0..5 {
        let key = key(if n % 2 == 0 { shop } else { blog }, &format!("r{n}"));
        let lines = vec![line(format!("a{n}").as_bytes()), line(b"b")];
        let track = TrackChange { lines, events: vec![counted(n, n)], ..change(&key, 1, Track::default()) };
        bed.save(t(n), Changes { tracks: vec![track], ..Changes::default() }).await;
        bed.fire(&Key { rule: format!("f{n}"), ..key }, t(n), &[]).await;
    }
    let (mut matched, mut before) = (Vec::new(), None);
    loop {
        let (page, next) = bed.store.matched_lines(before, 2).await.unwrap();
        assert!(page.len() <= 2);
        matched.extend(page);
        before = next;
        if next.is_none() {
            break;
        }
    }
    let of_r: Vec<_> = matched.iter().filter(|(_, lines)| lines.len() == 2).collect();
    let texts: Vec<&[u8]> = of_r.iter().map(|(_, lines)| &lines[0].text[..]).collect();
    assert_eq!(texts, [b"a4", b"a3", b"a2", b"a1", b"a0"]);
    assert_eq!((of_r[0].0, of_r[1].0), (shop, blog));
    let (mut evidence, mut before) = (0, None);
    loop {
        let (page, next) = bed.store.evidence_lines(before, 2).await.unwrap();
        evidence += page.len();
        before = next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(evidence, 5);
}

pub(crate) async fn pages_of_alerts(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let mut want: Vec<(Timestamp, AlertId)> = Vec::new();
    for n in 0..12 {
        let key = key(if n % 3 == 0 { blog } else { shop }, if n % 2 == 0 { "h12" } else { "r14" });
        let key = Key { group: Group(n.to_string()), ..key };
        want.push((t(n / 4), bed.fire(&key, t(n / 4), &[]).await.0));
    }
    let pending =
        Track { phase: Phase::Pending { since: t(7), holds_until: t(9), facts: facts(3) }, ..Track::default() };
    bed.save(t(7), Changes { tracks: vec![change(&key(shop, "slow"), 1, pending)], ..Changes::default() }).await;
    let over = ResolvedAlert { alert: want[0].1, at: t(9), reason: ResolveReason::RuleGone, facts: facts(4) };
    bed.save(t(9), Changes { resolved: vec![over], ..Changes::default() }).await;
    want.sort_unstable_by(|a, b| b.cmp(a));

    let first = bed.store.alerts(&AlertFilter { limit: 5, ..filter() }).await.unwrap();
    assert_eq!((first[0].id, first[0].state, first[0].since), (None, AlertState::Pending, t(7)));
    let (mut got, mut page) = (Vec::new(), first);
    while let Some(last) = page.last() {
        let before = Some(AlertCursor { fired_at: last.since, id: last.id.unwrap() });
        got.extend(page.iter().filter_map(|row| Some((row.since, row.id?))));
        page = bed.store.alerts(&AlertFilter { before, limit: 5, ..filter() }).await.unwrap();
    }
    assert_eq!(got, want);

    let cases = [
        (AlertFilter { state: Some(AlertState::Pending), ..filter() }, 1),
        (AlertFilter { state: Some(AlertState::Firing), ..filter() }, 11),
        (AlertFilter { state: Some(AlertState::Resolved), ..filter() }, 1),
        (AlertFilter { app: Some(blog), ..filter() }, 4),
        (AlertFilter { app: Some(shop), rule: Some("slow".into()), ..filter() }, 1),
        (AlertFilter { rule: Some("h12".into()), ..filter() }, 6),
        (AlertFilter { rule: Some("nothing".into()), ..filter() }, 0),
    ];
    for (filter, want) in cases {
        assert_eq!(bed.store.alerts(&filter).await.unwrap().len(), want, "{filter:?}");
    }
    // The tracks of the test still fire; only their alert's row is over.
    let counts = bed.store.alert_counts().await.unwrap();
    assert_eq!(counts, AlertCounts { pending: 1, firing: 12, resolved: 1 });
}

pub(crate) async fn open_keys_are_found(bed: &Bed) {
    let key = Key { group: Group("dyno=web.1".into()), ..key(bed.app("shop").await, "r14") };
    assert_eq!(bed.store.find_open_by_key("r14", "shop", "dyno=web.1").await.unwrap(), None);
    let (alert, _) = bed.fire(&key, t(0), &[]).await;
    assert_eq!(
        bed.store.find_open_by_key("r14", "shop", "dyno=web.1").await.unwrap(),
        Some((key.clone(), Some(alert)))
    );
    for (rule, app, group) in [("r15", "shop", "dyno=web.1"), ("r14", "blog", "dyno=web.1"), ("r14", "shop", "")] {
        assert_eq!(bed.store.find_open_by_key(rule, app, group).await.unwrap(), None);
    }
    bed.save(t(9), Changes { tracks: vec![change(&key, 2, Track::default())], ..Changes::default() }).await;
    assert_eq!(bed.store.find_open_by_key("r14", "shop", "dyno=web.1").await.unwrap(), None);
}

pub(crate) async fn an_alert_with_its_proof(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let (alert, deliveries) = bed.fire(&key, t(0), &["a", "b"]).await;
    let decisions = vec![(alert, t(0), Effect::Merged { alert })];
    bed.save(t(0), Changes { decisions: decisions.clone(), ..Changes::default() }).await;
    let found = bed.store.alert(alert).await.unwrap();
    assert_eq!(found.evidence, [line(b"code=H12"), line(b"caf\xe9 \0")]);
    assert_eq!(found.decisions, [(t(0), Effect::Merged { alert })]);
    assert_eq!(found.deliveries.iter().rev().map(|d| d.id).collect::<Vec<_>>(), deliveries);
    let update = AlertUpdate { alert, facts: facts(5), told: true, evidence: Some(vec![line(b"more")]) };
    bed.save(t(1), Changes { updates: vec![update], ..Changes::default() }).await;
    assert_eq!(bed.store.alert(alert).await.unwrap().evidence, [line(b"more")]);
    assert!(bed.store.alert(AlertId(id())).await.unwrap_err().to_string().contains("not found"));
}
