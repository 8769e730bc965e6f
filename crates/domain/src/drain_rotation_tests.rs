//! Every state with every event, and what counts at any moment.

use proptest::prelude::*;

use super::*;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_780_000_000 + seconds)
}

fn drain(n: u128) -> DrainRef {
    DrainRef { id: Uuid::from_u128(n), token: format!("d.{n}") }
}

fn begun() -> Rotation {
    Rotation::new(Uuid::from_u128(1), AppId(Uuid::from_u128(2)), "m1".into(), drain(1), "dev", t(0))
}

fn created() -> Rotation {
    begun().step(Event::Created(drain(2)), t(1)).unwrap()
}

fn proved() -> Rotation {
    Rotation { new_delivered_at: Some(t(10)), ..created() }
}

fn cutting() -> Rotation {
    proved().step(Event::Wake, t(11)).unwrap()
}

#[test]
fn the_straight_way() {
    let rotation = begun();
    assert_eq!((rotation.call(), rotation.next_at), (Call::Create, Some(t(0))));
    assert_eq!((rotation.old_share(), rotation.new_share()), (Share::ALL, Share::NONE));
    let rotation = created();
    assert_eq!((rotation.state, rotation.call(), rotation.next_at), (State::Proving, Call::Nothing, Some(t(3))));
    let waiting = rotation.step(Event::Wake, t(3)).unwrap();
    assert_eq!((waiting.state, waiting.next_at, waiting.new_share()), (State::Proving, Some(t(5)), Share::NONE));
    let rotation = cutting();
    assert_eq!((rotation.state, rotation.cutover_at, rotation.next_at), (State::Cutting, Some(t(26)), Some(t(86))));
    assert_eq!(rotation.step(Event::Wake, t(85)).unwrap().state, State::Cutting, "the old drain has a minute");
    let rotation = rotation.step(Event::Wake, t(86)).unwrap();
    assert_eq!((rotation.state, rotation.call()), (State::Removing, Call::RemoveOld));
    let rotation = rotation.step(Event::Removed, t(87)).unwrap();
    assert_eq!((rotation.state, rotation.next_at, rotation.problem.as_deref()), (State::Done, None, None));
    assert!(rotation.shares_matter(t(88)) && !rotation.shares_matter(t(90_000)));
}

#[test]
fn what_goes_wrong_is_tried_again_or_ends() {
    let refused = begun().step(Event::Refused("no".into()), t(1)).unwrap();
    assert_eq!((refused.state, refused.next_at, refused.problem.as_deref()), (State::Failed, None, Some("no")));
    let mut rotation = begun();
    let mut waits = Vec::new();
    for _ in 0..12 {
        rotation = rotation.step(Event::Delayed("away".into()), t(0)).unwrap();
        waits.push(rotation.next_at.unwrap().since(t(0)).as_secs());
    }
    assert_eq!((rotation.state, &waits[..4], waits[11]), (State::Creating, &[5, 10, 20, 40][..], 3_600));
    assert_eq!(rotation.step(Event::Created(drain(2)), t(9)).unwrap().attempts, 0);
    // The old drain delivers, the new one does not.
    let deaf = Rotation { old_delivered_at: Some(t(800)), ..created() };
    assert_eq!(deaf.step(Event::Wake, t(899)).unwrap().state, State::Proving);
    let deaf = deaf.step(Event::Wake, t(901)).unwrap();
    assert_eq!((deaf.state, deaf.call()), (State::Reverting, Call::RemoveNew));
    let ended = deaf.step(Event::Delayed("away".into()), t(902)).unwrap().step(Event::Removed, t(950)).unwrap();
    assert_eq!(ended.state, State::Failed);
    assert!(ended.problem.unwrap().contains("the new one does not"));
    // Neither delivers.
    let silent = created();
    assert_eq!(silent.step(Event::Wake, t(901)).unwrap().next_at, Some(t(961)));
    assert_eq!(silent.step(Event::Wake, t(86_401)).unwrap().state, State::Reverting);
}

#[test]
fn an_operator_has_a_way_out_of_every_open_state() {
    let reverting = created().step(Event::Abandon, t(1)).unwrap();
    assert_eq!(reverting.step(Event::Removed, t(2)).unwrap().state, State::Abandoned);
    assert_eq!(reverting.step(Event::Abandon, t(2)).unwrap().state, State::Left);
    assert_eq!(created().step(Event::Proceed, t(5)).unwrap().cutover_at, Some(t(20)));
    let early = cutting().step(Event::Abandon, t(12)).unwrap();
    assert_eq!((early.state, early.new_share(), early.old_share()), (State::Reverting, Share::NONE, Share::ALL));
    assert!(cutting().step(Event::Abandon, t(21)).unwrap_err().to_string().contains("taken over"));
    let removing = cutting().step(Event::Wake, t(86)).unwrap();
    let stuck = removing.step(Event::Refused("forbidden".into()), t(87)).unwrap();
    assert_eq!((stuck.state, stuck.problem.as_deref()), (State::Removing, Some("forbidden")));
    let left = stuck.step(Event::Abandon, t(88)).unwrap();
    assert_eq!((left.state, left.next_at), (State::Left, None));
    assert!(left.shares_matter(t(9_000_000)), "the drain that was left must never count");
    assert!(left.step(Event::Abandon, t(89)).unwrap_err().to_string().contains("has ended"));
}

/// Whoever abandons while the drain is being added does not know whether the call on its way does its work.
#[test]
fn a_drain_that_comes_late_is_waited_for() {
    let mut rotation = begun().step(Event::Abandon, t(1)).unwrap();
    for after in [2, 20, 60, 120] {
        rotation = rotation.step(Event::Removed, t(after)).unwrap();
        assert_eq!((rotation.state, rotation.next_at), (State::Reverting, Some(t(after + 15))));
    }
    assert_eq!(rotation.step(Event::Removed, t(121)).unwrap().state, State::Abandoned);
}

/// Which of the two it is can be read from what is said.
#[test]
fn what_is_left_is_said_by_name() {
    let words = |rotation: &Rotation| rotation.in_words(|at| at.to_string());
    let (old, new) = (drain(1).id, drain(2).id);
    let back = created().step(Event::Abandon, t(1)).unwrap().step(Event::Abandon, t(2)).unwrap();
    assert!(words(&back).contains(&format!("the old drain {old} counts, the new drain {new} does not")));
    let on = cutting().step(Event::Wake, t(86)).unwrap().step(Event::Abandon, t(88)).unwrap();
    assert!(
        words(&on).contains(&format!("the new drain {new} counts, the old drain {old} does not")),
        "{}",
        words(&on)
    );
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Wake),
        2 => Just(Event::Created(drain(2))),
        2 => Just(Event::Removed),
        1 => Just(Event::Delayed("d".into())),
        1 => Just(Event::Refused("r".into())),
        1 => Just(Event::Abandon),
        1 => Just(Event::Proceed),
    ]
}

proptest! {
    /// Whatever happens in whatever order: an open rotation has a wake-up, an ended one has none, every stamp counts in
    /// exactly one of the two drains, and the old one is only removed when the new one counts.
    #[test]
    fn always_one_counts(events in proptest::collection::vec((any_event(), prop_oneof![0_i64..20, 0_i64..4_000], any::<bool>()), 0..30)) {
        let (mut rotation, mut now) = (begun(), 0);
        for (event, after, delivers) in events {
            now += after;
            if delivers && rotation.new.is_some() {
                rotation.new_delivered_at.get_or_insert(t(now));
            }
            if let Ok(next) = rotation.step(event, t(now)) {
                prop_assert_eq!(next.version, rotation.version + 1);
                rotation = next;
            }
            prop_assert_eq!(rotation.next_at.is_none(), rotation.state.is_end());
            for stamp in [t(now - 100), t(now), t(now + 16), t(now + 100)] {
                prop_assert!(rotation.old_share().counts(stamp) ^ rotation.new_share().counts(stamp));
            }
            if matches!(rotation.state, State::Removing | State::Done) {
                prop_assert!(rotation.new_share().counts(t(now)) && rotation.new.is_some());
            }
        }
    }

    /// Shares of a drain that was new once and is old now.
    #[test]
    fn shares_meet(a in -50_i64..50, b in -50_i64..50, at in -60_i64..60) {
        let (new, old) = (Share { from: Some(t(a)), until: None }, Share { from: None, until: Some(t(b)) });
        prop_assert_eq!(new.and(old).counts(t(at)), new.counts(t(at)) && old.counts(t(at)));
        prop_assert_eq!(new.and(Share::ALL), new);
        prop_assert!(!new.and(Share::NONE).counts(t(at)));
    }
}
