//! The outbox.

use dynowatch_domain::alert::{NoticeKind, ResolveReason};
use dynowatch_domain::delivery::{DeliveryState, LEASE, Next, Outcome};
use dynowatch_domain::{AlertId, DeliveryId, Timestamp};
use dynowatch_store::deliveries::{Claimed, DeliveryCursor, DeliveryFilter};
use dynowatch_store::{Changes, NewDelivery, ResolveNotice, ResolvedAlert};

use crate::bed::{Bed, act, facts, firing_to, id, key, notice, t};

fn accepted() -> Outcome {
    Outcome::Accepted { detail: "ok\0".into() }
}

fn retry() -> Outcome {
    Outcome::Retry { detail: "503".into(), retry_after: None }
}

async fn claim(bed: &Bed, now: Timestamp) -> Vec<Claimed> {
    bed.store.claim_deliveries(now, "w1", 10, &[]).await.unwrap()
}

/// Claims the one due delivery.
async fn claim_one(bed: &Bed, now: Timestamp) -> Claimed {
    let mut claimed = claim(bed, now).await;
    assert_eq!(claimed.len(), 1, "{claimed:?}");
    claimed.remove(0)
}

async fn accept(bed: &Bed, claimed: &Claimed, now: Timestamp) -> bool {
    bed.store.finish_attempt(claimed.outgoing.id, claimed.attempts, &accepted(), &Next::Sent, now).await.unwrap()
}

async fn resolve(bed: &Bed, alert: AlertId, at: Timestamp) {
    let changes = Changes {
        resolved: vec![ResolvedAlert { alert, at, reason: ResolveReason::ConditionFalse, facts: facts(4) }],
        resolve_notices: vec![ResolveNotice { alert, notice: notice(NoticeKind::Resolved, Some(alert)), at }],
        ..Changes::default()
    };
    bed.save(at, changes).await;
}

async fn kinds(bed: &Bed, alert: AlertId, receiver: &str) -> Vec<(NoticeKind, DeliveryState)> {
    let filter =
        DeliveryFilter { alert: Some(alert), receiver: Some(receiver.into()), limit: 100, ..DeliveryFilter::default() };
    let mut found = bed.store.deliveries(&filter).await.unwrap();
    found.sort_by_key(|delivery| (delivery.intended_at, delivery.kind.as_str()));
    found.iter().map(|delivery| (delivery.kind, delivery.state)).collect()
}

pub(crate) async fn oldest_first_and_fair(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &[]).await;
    let mut deliveries: Vec<NewDelivery> = (0..5).map(|n| firing_to(alert, "slow", t(n))).collect();
    deliveries.push(firing_to(alert, "ops", t(7)));
    deliveries.push(firing_to(alert, "busy", t(1)));
    deliveries.push(firing_to(alert, "later", t(100)));
    bed.save(t(8), Changes { deliveries: deliveries.clone(), ..Changes::default() }).await;
    // The same intents once more are the same rows.
    bed.save(t(8), Changes { deliveries, ..Changes::default() }).await;
    assert_eq!(bed.store.next_delivery_at().await.unwrap(), Some(t(0)));
    let claimed = bed.store.claim_deliveries(t(9), "w1", 3, &[("busy".into(), 0)]).await.unwrap();
    let got: Vec<_> = claimed.iter().map(|c| (c.outgoing.receiver.as_str(), c.intended_at, c.attempts)).collect();
    assert_eq!(got, [("slow", t(0), 1), ("ops", t(7), 1), ("slow", t(1), 1)]);
    assert!(claimed.iter().all(|c| !c.outgoing.possible_duplicate && c.outgoing.notice.resolved_at.is_none()));
    // Of the three that are left for it, it gets what it has a place for.
    let claimed = bed.store.claim_deliveries(t(9), "w1", 10, &[("slow".into(), 1)]).await.unwrap();
    let mut got: Vec<_> = claimed.iter().map(|c| c.outgoing.receiver.as_str()).collect();
    got.sort_unstable();
    assert_eq!(got, ["busy", "slow"]);
    assert_eq!(claim(bed, t(9)).await.len(), 2);
    assert_eq!(claim(bed, t(9)).await.len(), 0);
    assert_eq!(bed.store.next_delivery_at().await.unwrap(), Some(t(9) + LEASE));
}

pub(crate) async fn a_claim_is_fenced_and_leased(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    bed.fire(&key, t(0), &["ops"]).await;
    let first = claim_one(bed, t(0)).await;
    assert_eq!(claim(bed, t(19)).await.len(), 0);
    let second = claim_one(bed, t(20)).await;
    assert_eq!((first.attempts, second.attempts), (1, 2));
    assert!(second.outgoing.possible_duplicate && !first.outgoing.possible_duplicate);
    assert_eq!(first.outgoing.id, second.outgoing.id);
    // The first comes back from the dead: what it says is noted, and changes nothing.
    assert!(!accept(bed, &first, t(21)).await);
    assert_eq!(bed.store.delivery(first.outgoing.id).await.unwrap().0.state, DeliveryState::Pending);
    assert!(accept(bed, &second, t(22)).await);
    assert!(!accept(bed, &second, t(22)).await);
    let (delivery, attempts) = bed.store.delivery(first.outgoing.id).await.unwrap();
    assert_eq!((delivery.state, delivery.attempts, delivery.finished_at), (DeliveryState::Sent, 2, Some(t(22))));
    let said: Vec<_> = attempts.iter().map(|a| (a.number, a.finished_at, a.detail.as_deref())).collect();
    assert_eq!(said, [(1, Some(t(21)), Some("ok\u{fffd}")), (2, Some(t(22)), Some("ok\u{fffd}"))]);
}

pub(crate) async fn retries_and_ends(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    bed.fire(&key, t(0), &["ops"]).await;
    let first = claim_one(bed, t(0)).await;
    let id = first.outgoing.id;
    assert!(bed.store.finish_attempt(id, 1, &retry(), &Next::At(t(5)), t(1)).await.unwrap());
    assert_eq!(bed.store.next_delivery_at().await.unwrap(), Some(t(5)));
    assert_eq!(claim(bed, t(4)).await.len(), 0);
    let second = claim_one(bed, t(5)).await;
    assert!(!second.outgoing.possible_duplicate);
    let gone = Outcome::Rejected { detail: "404".into() };
    assert!(bed.store.finish_attempt(id, 2, &gone, &Next::Failed("404".into()), t(6)).await.unwrap());
    assert_eq!(bed.store.next_delivery_at().await.unwrap(), None);
    assert_eq!(bed.store.oldest_pending_delivery().await.unwrap(), None);
    let (delivery, attempts) = bed.store.delivery(id).await.unwrap();
    assert_eq!((delivery.state, delivery.detail.as_deref()), (DeliveryState::Failed, Some("404")));
    let outcomes: Vec<_> = attempts.iter().map(|attempt| attempt.outcome.as_deref()).collect();
    assert_eq!(outcomes, [Some("retry"), Some("rejected")]);
    for (since, want) in [(t(6), 1), (t(7), 0)] {
        assert_eq!(bed.store.failed_deliveries_since(since).await.unwrap(), want);
    }
    let counts = bed.store.delivery_counts().await.unwrap();
    assert_eq!(
        counts.iter().map(|c| (c.receiver.as_str(), c.state, c.count)).collect::<Vec<_>>(),
        [("ops", DeliveryState::Failed, 1)]
    );
}

pub(crate) async fn the_end_is_told_to_those_who_were_told(bed: &Bed) {
    use DeliveryState::{Failed, Pending, Sent};
    use NoticeKind::{Firing, Resolved};
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &["told", "never", "waiting"]).await;
    let quiet = NewDelivery { send_resolved: false, ..firing_to(alert, "quiet", t(0)) };
    bed.save(t(0), Changes { deliveries: vec![quiet], ..Changes::default() }).await;
    for claimed in claim(bed, t(1)).await {
        let (outcome, next) = match claimed.outgoing.receiver.as_str() {
            "told" | "quiet" => (accepted(), Next::Sent),
            "never" => (Outcome::Rejected { detail: "404".into() }, Next::Failed("404".into())),
            _ => (retry(), Next::At(t(60))),
        };
        bed.store.finish_attempt(claimed.outgoing.id, claimed.attempts, &outcome, &next, t(2)).await.unwrap();
    }
    resolve(bed, alert, t(50)).await;
    // A second resolve of the same alert tells nothing new.
    resolve(bed, alert, t(51)).await;
    let cases = [
        ("told", vec![(Firing, Sent), (Resolved, Pending)]),
        ("never", vec![(Firing, Failed)]),
        ("waiting", vec![(Firing, Pending)]),
        ("quiet", vec![(Firing, Sent)]),
    ];
    for (receiver, want) in &cases {
        assert_eq!(&kinds(bed, alert, receiver).await, want, "{receiver}");
    }
    let notice = claim_one(bed, t(55)).await;
    assert_eq!((notice.outgoing.receiver.as_str(), notice.outgoing.notice.kind), ("told", Resolved));
    accept(bed, &notice, t(56)).await;
    // The message that waited tells both (C23), and nothing follows.
    let combined = claim_one(bed, t(60)).await;
    assert_eq!((combined.outgoing.notice.kind, combined.outgoing.notice.resolved_at), (Firing, Some(t(50))));
    accept(bed, &combined, t(61)).await;
    assert_eq!(kinds(bed, alert, "waiting").await, [(Firing, Sent)]);
    assert_eq!(bed.store.next_delivery_at().await.unwrap(), None);
}

pub(crate) async fn a_late_acceptance_is_followed_by_the_end(bed: &Bed) {
    use NoticeKind::{Firing, Resolved, StillFiring};
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &["ops"]).await;
    let sending = claim_one(bed, t(1)).await;
    resolve(bed, alert, t(2)).await;
    accept(bed, &sending, t(3)).await;
    let end = claim_one(bed, t(4)).await;
    assert_eq!((end.outgoing.notice.kind, end.outgoing.notice.resolved_at), (Resolved, Some(t(2))));
    accept(bed, &end, t(5)).await;

    // Told that it began; the reminder is under way when it ends, and is then refused for good.
    let (alert, _) = bed.fire(&key, t(10), &["ops"]).await;
    let first = claim_one(bed, t(10)).await;
    accept(bed, &first, t(11)).await;
    let again =
        NewDelivery { kind: StillFiring, notice: notice(StillFiring, Some(alert)), ..firing_to(alert, "ops", t(12)) };
    bed.save(t(12), Changes { deliveries: vec![again], ..Changes::default() }).await;
    let reminder = claim_one(bed, t(12)).await;
    resolve(bed, alert, t(13)).await;
    assert_eq!(claim(bed, t(13)).await.len(), 0);
    let refused = Outcome::Rejected { detail: "400".into() };
    bed.store.finish_attempt(reminder.outgoing.id, 1, &refused, &Next::Failed("400".into()), t(14)).await.unwrap();
    assert_eq!(claim_one(bed, t(15)).await.outgoing.notice.kind, Resolved);
    let all: Vec<NoticeKind> = kinds(bed, alert, "ops").await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(all, [Firing, StillFiring, Resolved]);
}

pub(crate) async fn leases_are_given_back(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    bed.fire(&key, t(0), &["a", "b"]).await;
    assert_eq!(bed.store.claim_deliveries(t(0), "w1", 1, &[]).await.unwrap().len(), 1);
    assert_eq!(bed.store.claim_deliveries(t(0), "w2", 1, &[]).await.unwrap().len(), 1);
    assert_eq!(bed.store.release_leases(Some("w1")).await.unwrap(), 1);
    let again = claim_one(bed, t(1)).await;
    assert_eq!((again.outgoing.receiver.as_str(), again.attempts, again.outgoing.possible_duplicate), ("a", 2, true));
    assert_eq!(bed.store.release_leases(None).await.unwrap(), 2);
    assert_eq!(claim(bed, t(1)).await.len(), 2);
}

pub(crate) async fn pages_of_deliveries(bed: &Bed) {
    let key = key(bed.app("shop").await, "h12");
    let (alert, _) = bed.fire(&key, t(0), &[]).await;
    let deliveries: Vec<NewDelivery> =
        (0..25).map(|n| firing_to(alert, ["a", "b"][n % 2], t((n / 5) as i64))).collect();
    let mut want: Vec<(Timestamp, DeliveryId)> = deliveries.iter().map(|new| (new.intended_at, new.id)).collect();
    want.sort_unstable_by(|a, b| b.cmp(a));
    bed.save(t(9), Changes { deliveries, ..Changes::default() }).await;
    let (mut got, mut before) = (Vec::new(), None);
    loop {
        let page =
            bed.store.deliveries(&DeliveryFilter { before, limit: 7, ..DeliveryFilter::default() }).await.unwrap();
        let Some(last) = page.last() else { break };
        before = Some(DeliveryCursor { intended_at: last.intended_at, id: last.id });
        got.extend(page.iter().map(|delivery| (delivery.intended_at, delivery.id)));
    }
    assert_eq!(got, want);
    let filters = [
        (DeliveryFilter { receiver: Some("a".into()), ..DeliveryFilter::default() }, 13),
        (DeliveryFilter { state: Some(DeliveryState::Pending), ..DeliveryFilter::default() }, 25),
        (DeliveryFilter { state: Some(DeliveryState::Sent), ..DeliveryFilter::default() }, 0),
        (DeliveryFilter { alert: Some(AlertId(id())), ..DeliveryFilter::default() }, 0),
    ];
    for (filter, want) in filters {
        assert_eq!(bed.store.deliveries(&DeliveryFilter { limit: 100, ..filter }).await.unwrap().len(), want);
    }
}

pub(crate) async fn a_test_message(bed: &Bed) {
    let new = DeliveryId(id());
    bed.store.insert_test_delivery(new, "ops", &notice(NoticeKind::Test, None), &act(), t(0)).await.unwrap();
    let claimed = claim_one(bed, t(0)).await;
    assert_eq!((claimed.outgoing.id, claimed.outgoing.notice.clone()), (new, notice(NoticeKind::Test, None)));
    assert!(accept(bed, &claimed, t(1)).await);
    let error = bed.store.delivery(DeliveryId(id())).await.unwrap_err();
    assert!(error.to_string().contains("not found"));
}
