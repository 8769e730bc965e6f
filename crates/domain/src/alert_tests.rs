//! The life of an alert as scenarios (S01-S10 of the behaviour contract) over a moved clock, and as invariants over random
//! storms. A count rule is driven as the engine drives it: window first, then the track.

use std::collections::HashSet;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::blind::{Blind, BlindReason};
use crate::rollup::{Bucket, judge};
use crate::rule::{Condition, MatchSpec};
use crate::window::{Counted, Window};

struct Counter(u128);

impl NewId for Counter {
    fn new_id(&mut self, _: Timestamp) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

/// `0:30` in seconds.
fn clock(text: &str) -> i64 {
    let (minutes, seconds) = text.split_once(':').unwrap();
    minutes.parse::<i64>().unwrap() * 60 + seconds.parse::<i64>().unwrap()
}

fn show(at: Timestamp) -> String {
    format!("{}:{:02}", at.as_seconds() / 60, at.as_seconds() % 60)
}

fn count_rule(threshold: &str, window: u64) -> Rule {
    let condition = Condition::Count { threshold: threshold.parse().unwrap(), window: Duration::from_secs(window) };
    Rule::new("h12", MatchSpec::default(), condition)
}

/// One key with its rule, its window and its track, and what happened to it.
struct Scene {
    rule: Rule,
    window: Window,
    track: Track,
    now: i64,
    ids: Counter,
    effects: Vec<(i64, Effect)>,
}

impl Scene {
    fn new(rule: Rule) -> Self {
        Self { rule, window: Window::default(), track: Track::default(), now: 0, ids: Counter(0), effects: Vec::new() }
    }

    fn take(&mut self, effects: Vec<Effect>) {
        if effects.iter().any(|e| matches!(e, Effect::Resolved { .. })) {
            self.window.consume(t(self.now), self.rule.condition.window());
        }
        self.effects.extend(effects.into_iter().map(|effect| (self.now, effect)));
    }

    /// Moves the clock, waking the track whenever it asks for it.
    fn advance(&mut self, to: i64) {
        while let Some(due) = self.track.next_wake(&self.rule).filter(|due| *due <= t(to)) {
            self.now = self.now.max(due.as_seconds());
            let effects = self.track.wake(&self.rule, t(self.now), &mut self.ids);
            assert!(!effects.is_empty(), "woken for nothing at {}", show(t(self.now)));
            self.take(effects);
            let next = self.track.next_wake(&self.rule);
            assert!(next.is_none_or(|next| next > t(self.now)), "wakes again at once");
        }
        self.now = self.now.max(to);
    }

    /// A line stamped `at` arrives at `now`.
    fn line_at(&mut self, now: i64, at: i64) {
        self.advance(now);
        self.arrive(at);
    }

    fn arrive(&mut self, at: i64) {
        let Condition::Count { threshold, window } = self.rule.condition else { panic!("not a count") };
        let reading = self.window.push(Counted { at: t(at), arrived: t(self.now) }, threshold.needed(), window);
        let facts =
            Facts { count: reading.count as u64, at: t(at), first_at: t(at), last_at: t(at), ..Facts::default() };
        let verdict = match reading.holds_until {
            Some(until) => Verdict::Holds { facts, until, fresh: true },
            None => Verdict::Fails { matched: Some(facts) },
        };
        self.observe(verdict);
    }

    fn line(&mut self, at: i64) {
        self.line_at(at.max(self.now), at);
    }

    fn observe(&mut self, verdict: Verdict) {
        let effects = self.track.observe(&self.rule, verdict, t(self.now), &mut self.ids);
        self.take(effects);
    }

    /// What happened, one line each: time, what, and for messages how many matches were held back.
    fn story(&self) -> Vec<String> {
        let word = |effect: &Effect| match effect {
            Effect::PendingBegan { fires_at } => format!("pending until {}", show(*fires_at)),
            Effect::PendingDropped { at } => format!("pending dropped at {}", show(*at)),
            Effect::Fired { previous, silent_until, .. } => {
                let again = if previous.is_some() { " again" } else { "" };
                format!(
                    "fired{again}{}",
                    silent_until.map(|at| format!(", silent until {}", show(at))).unwrap_or_default()
                )
            }
            Effect::Notify { kind, facts, suppressed, .. } => {
                format!("told {} {} +{suppressed}", kind.as_str(), facts.count)
            }
            Effect::CooldownHeld { .. } => "held back".into(),
            Effect::Merged { .. } => "merged".into(),
            Effect::HeldUnknown { .. } => "unknown".into(),
            Effect::Resolved { told, .. } => {
                if *told {
                    "resolved".into()
                } else {
                    "resolved, untold".into()
                }
            }
        };
        self.effects.iter().map(|(at, effect)| format!("{} {}", show(t(*at)), word(effect))).collect()
    }

    fn told(&self) -> Vec<String> {
        self.story().into_iter().filter(|line| line.contains(" told ") || line.contains(" resolved")).collect()
    }
}

/// Lines stamped and arriving at these times, then an hour of calm.
#[track_caller]
fn check(threshold: &str, window: &str, lines: &[&str], want: &[&str]) {
    let mut scene = Scene::new(count_rule(threshold, clock(window).unsigned_abs()));
    for line in lines {
        scene.line(clock(line));
    }
    scene.advance(scene.now + 3_600);
    assert_eq!(scene.told(), want, "{lines:?}");
}

#[test]
fn s01_the_fourth_trips() {
    // The fourth at 4:59 leaves 0:00 in the window until 5:00; the fifth at 5:30 sees 1:00 to 5:30 and prolongs it to 6:00.
    check("> 3", "5:00", &["0:00", "1:00", "2:00", "4:59", "5:30"], &["4:59 told firing 4 +0", "11:00 resolved"]);
    check("> 3", "5:00", &["0:00", "1:00", "2:00"], &[]);
}

#[test]
fn s02_exactly_the_threshold_is_quiet() {
    check("> 3", "5:00", &["0:00", "0:05", "0:10"], &[]);
    check("> 2", "2:00", &["0:00", "0:10"], &[]);
    check("> 2", "2:00", &["0:00", "0:10", "1:59"], &["1:59 told firing 3 +0", "7:00 resolved"]);
    check("> 2", "2:00", &["0:00", "0:10", "2:00"], &[]);
    check(">= 3", "2:00", &["0:00", "0:10", "1:59"], &["1:59 told firing 3 +0", "7:00 resolved"]);
}

#[test]
fn s03_no_boundary_hides_a_burst() {
    check("> 3", "5:00", &["4:58", "4:59", "5:01", "5:02"], &["5:02 told firing 4 +0", "14:58 resolved"]);
}

#[test]
fn s04_a_sustained_storm() {
    let mut scene = Scene::new(count_rule("> 3", 300));
    (0..=96).for_each(|i| scene.line(i * 10));
    scene.advance(7_200);
    let want = [
        "0:30 told firing 4 +0",
        "5:30 told still_firing 30 +29",
        "10:30 told still_firing 30 +29",
        "15:30 told still_firing 30 +29",
        "25:30 resolved",
    ];
    assert_eq!(scene.told(), want);
}

#[test]
fn s05_keys_do_not_share_a_cooldown() {
    let (mut a, mut b) = (Scene::new(count_rule("> 3", 300)), Scene::new(count_rule("> 3", 300)));
    (0..4).for_each(|i| a.line(i));
    (60..64).for_each(|i| b.line(i));
    assert_eq!(
        (a.told(), b.told()),
        (vec!["0:03 told firing 4 +0".to_owned()], vec!["1:03 told firing 4 +0".to_owned()])
    );
}

#[test]
fn s06_disorder() {
    check("> 3", "5:00", &["0:10", "0:40", "0:20", "0:30"], &["0:40 told firing 4 +0", "10:10 resolved"]);
    check("> 3", "5:00", &["0:00", "6:00", "12:00", "3:00"], &[]);
}

/// S07 is the engine's (a frame that was seen is not evaluated); here: the same two stamps in one batch count as two.
#[test]
fn s07_equal_stamps_are_two_events() {
    check("> 1", "5:00", &["0:10", "0:10"], &["0:10 told firing 2 +0", "10:10 resolved"]);
}

#[test]
fn s08_a_flap_under_for() {
    let mut rule = count_rule(">= 1", 30);
    rule.pending_for = Duration::from_secs(60);
    let mut scene = Scene::new(rule);
    scene.line(0);
    scene.advance(90);
    [90, 110, 130, 149].into_iter().for_each(|at| scene.line(at));
    scene.advance(200);
    let want = [
        "0:00 pending until 1:00",
        "0:30 pending dropped at 0:30",
        "1:30 pending until 2:30",
        "2:30 fired",
        "2:30 told firing 2 +0",
    ];
    assert_eq!(scene.story(), want);
}

/// A share or a silence, looked at every ten seconds from buckets.
fn look(scene: &mut Scene, buckets: &[Bucket], blind: &[Blind], until: i64) {
    while scene.now < until {
        let next = scene.now + 10;
        scene.advance(next);
        let seen: Vec<Bucket> = buckets.iter().filter(|b| b.at < t(next)).copied().collect();
        let verdict = judge(&scene.rule, &seen, blind, t(0), scene.track.firing().is_some(), t(next));
        scene.observe(verdict);
    }
}

fn absence(resolve_after: u64) -> Rule {
    let condition = Condition::Absence { fewer_than: 2, window: Duration::from_secs(30), lively: None };
    Rule { resolve_after: Duration::from_secs(resolve_after), ..Rule::new("silent", MatchSpec::default(), condition) }
}

fn bucket(at: i64, total: u64, matched: u64) -> Bucket {
    Bucket { at: t(at), total, matched }
}

#[test]
fn s10_silence_of_an_app() {
    let cases: [(u64, &[Bucket], &[&str]); 4] = [
        // Nothing yet: not before the first full window.
        (300, &[], &["0:30 told firing 0 +0"]),
        // Ten lines, then nothing; judged late by at most a bucket.
        (300, &[bucket(10, 10, 0)], &["0:50 told firing 0 +0"]),
        // Lines return.
        (0, &[bucket(10, 10, 0), bucket(70, 5, 0), bucket(90, 5, 0)], &["0:50 told firing 0 +0", "1:20 resolved"]),
        (20, &[bucket(10, 10, 0), bucket(70, 5, 0), bucket(90, 5, 0)], &["0:50 told firing 0 +0", "1:40 resolved"]),
    ];
    for (resolve_after, buckets, want) in cases {
        let mut scene = Scene::new(absence(resolve_after));
        look(&mut scene, buckets, &[], 120);
        assert_eq!(scene.told(), want, "{buckets:?}");
    }
}

#[test]
fn blind_time_neither_fires_nor_resolves() {
    let blind = Blind { reason: BlindReason::Down, from: t(60), until: t(400), lines_lost: None };
    let mut scene = Scene::new(absence(60));
    look(&mut scene, &[], &[blind], 430);
    assert_eq!(scene.story(), ["0:30 fired", "0:30 told firing 0 +0", "1:00 unknown"]);
    let again: Vec<Bucket> = (43..60).map(|i| bucket(i * 10, 9, 0)).collect();
    look(&mut scene, &again, &[], 600);
    assert_eq!(scene.told(), ["0:30 told firing 0 +0", "8:20 resolved"]);
}

fn share(pending_for: u64) -> Rule {
    let condition =
        Condition::Ratio { threshold: "> 5%".parse().unwrap(), requests_min: 10, window: Duration::from_secs(60) };
    Rule { pending_for: Duration::from_secs(pending_for), ..Rule::new("5xx-share", MatchSpec::default(), condition) }
}

#[test]
fn a_share_can_be_pending() {
    let storm: Vec<Bucket> = (0..15).map(|i| bucket(i * 10, 100, 50)).collect();
    let mut scene = Scene::new(share(60));
    look(&mut scene, &storm, &[], 900);
    assert_eq!(
        scene.story(),
        ["0:10 pending until 1:10", "1:10 fired", "1:10 told firing 300 +0", "1:20 held back", "8:30 resolved"]
    );

    let mut short = Scene::new(share(120));
    look(&mut short, &storm[..3], &[], 300);
    assert_eq!(short.story(), ["0:10 pending until 2:10", "1:30 pending dropped at 1:30"]);
}

/// Looks are no matches: what was held back is not counted in looks.
#[test]
fn a_share_that_goes_on_is_told_again() {
    let storm: Vec<Bucket> = (0..70).map(|i| bucket(i * 10, 100, 50)).collect();
    let mut scene = Scene::new(share(0));
    look(&mut scene, &storm, &[], 1_300);
    assert_eq!(
        scene.told(),
        ["0:10 told firing 50 +0", "5:10 told still_firing 300 +0", "10:10 told still_firing 300 +0", "17:40 resolved"]
    );
}

#[test]
fn a_pending_share_starts_over_after_blindness() {
    let storm: Vec<Bucket> = (0..30).map(|i| bucket(i * 10, 100, 50)).collect();
    let mut scene = Scene::new(share(60));
    let blind = Blind { reason: BlindReason::Refused, from: t(41), until: t(42), lines_lost: None };
    look(&mut scene, &storm, &[blind], 200);
    // The gap is in the window, and the share unknown, for a minute.
    assert_eq!(
        scene.story(),
        [
            "0:10 pending until 1:10",
            "0:50 pending dropped at 0:50",
            "1:50 pending until 2:50",
            "2:50 fired",
            "2:50 told firing 300 +0",
            "3:00 held back"
        ]
    );
}

#[test]
fn a_refire_inside_the_cooldown_is_silent_until_it_ends() {
    let mut rule = count_rule("> 0", 10);
    (rule.cooldown, rule.resolve_after) = (Duration::from_secs(600), Duration::from_secs(60));
    let mut scene = Scene::new(rule);
    scene.line(0);
    scene.line(300);
    scene.line(550);
    scene.line(590);
    scene.advance(3_600);
    let want = [
        "0:00 fired",
        "0:00 told firing 1 +0",
        "1:10 resolved",
        "5:00 fired again, silent until 10:00",
        "6:10 resolved, untold",
        "9:10 fired again, silent until 10:00",
        "9:50 held back",
        "10:00 told firing 1 +1",
        "11:00 resolved",
    ];
    assert_eq!(scene.story(), want);
}

/// After an outage in which both the end of the cool-down and the end of the alert were missed, it is told all the same.
#[test]
fn what_was_to_be_told_is_told_late() {
    let mut rule = count_rule("> 0", 10);
    (rule.cooldown, rule.resolve_after) = (Duration::from_secs(600), Duration::from_secs(60));
    let mut scene = Scene::new(rule);
    scene.line(0);
    scene.line(590);
    scene.now = 5_000;
    scene.advance(5_000);
    assert_eq!(scene.told()[2..], ["83:20 told firing 1 +0".to_owned(), "83:20 resolved".to_owned()]);
}

#[test]
fn months_old_stamps_fire_once_and_resolve() {
    let mut scene = Scene::new(count_rule("> 3", 300));
    let now = 90 * 86_400;
    (0..4).for_each(|i| scene.line_at(now + i, 100));
    scene.advance(now + 7_200);
    assert_eq!(scene.story(), ["129600:03 fired", "129600:03 told firing 4 +0", "129605:03 resolved"]);
    // Three more of them are not four: what resolved is forgotten.
    (0..3).for_each(|_| scene.line_at(now + 7_200, 100));
    assert_eq!(scene.effects.len(), 3);
}

#[test]
fn close_by_key() {
    let by = || ResolveReason::ClosedByOperator { by: "ann".into() };
    let mut scene = Scene::new(count_rule("> 3", 300));
    assert_eq!(scene.track.close(by()), []);
    (0..4).for_each(|i| scene.line(i));
    let closed = scene.track.close(by());
    assert!(
        matches!(&closed[..], [Effect::Resolved { reason: ResolveReason::ClosedByOperator { by }, told: true, .. }] if by == "ann")
    );
    assert_eq!((scene.track.close(by()), scene.track.next_wake(&scene.rule)), (vec![], None));
    // The cool-down outlives the alert: the next one waits for its end, and links back.
    scene.take(closed);
    (10..14).for_each(|i| scene.line(i));
    assert_eq!(scene.story()[3], "0:10 fired again, silent until 5:03");
    assert!(!scene.track.is_idle(t(10_000)));

    let mut pending = Scene::new(Rule { pending_for: Duration::from_secs(60), ..count_rule("> 0", 300) });
    pending.line(5);
    assert!(matches!(pending.track.close(by())[..], [Effect::PendingDropped { .. }]));
    assert!(pending.track.is_idle(t(5)));
}

#[test]
fn waking_early_or_twice_does_nothing() {
    let mut scene = Scene::new(count_rule("> 3", 300));
    (0..4).for_each(|i| scene.line(i));
    let (rule, due) = (scene.rule.clone(), scene.track.next_wake(&scene.rule).unwrap());
    assert_eq!(due, t(600));
    for (now, effects) in [(4, 0), (4, 0), (599, 0), (600, 1), (600, 0), (9_999, 0)] {
        assert_eq!(scene.track.wake(&rule, t(now), &mut scene.ids).len(), effects, "{now}");
    }
}

/// Matches below the threshold join an open alert and are told with the next message (C8).
#[test]
fn stray_matches_are_merged() {
    let mut scene = Scene::new(count_rule("> 3", 60));
    [0, 1, 2, 3, 100, 200, 400, 401, 402, 403].into_iter().for_each(|at| scene.line(at));
    assert_eq!(
        scene.story(),
        [
            "0:03 fired",
            "0:03 told firing 4 +0",
            "1:40 merged",
            "6:00 resolved",
            "6:43 fired again",
            "6:43 told firing 4 +0"
        ]
    );
    let mut scene = Scene::new(Rule { resolve_after: Duration::from_secs(3_600), ..count_rule("> 3", 60) });
    [0, 1, 2, 3, 100, 200, 400, 401, 402, 403].into_iter().for_each(|at| scene.line(at));
    assert_eq!(scene.told(), ["0:03 told firing 4 +0", "6:43 told still_firing 4 +5"]);
}

#[test]
fn a_clock_that_goes_back_repeats_nothing() {
    let mut scene = Scene::new(count_rule("> 3", 300));
    (1_000..1_004).for_each(|i| scene.line(i));
    scene.now = 500;
    scene.arrive(500);
    assert_eq!(scene.track.wake(&scene.rule, t(500), &mut Counter(100)), []);
    assert_eq!(scene.told().len(), 1);
}

/// What happens to a key, for properties. Seconds are steps forward.
#[derive(Debug, Clone)]
enum Step {
    /// A line arrives after so long, stamped so much earlier.
    Line {
        after: i64,
        late: i64,
    },
    /// Time passes.
    Wait(i64),
    /// Time passes and nobody looks.
    Outage(i64),
    /// A look at a level.
    Look {
        after: i64,
        verdict: u8,
    },
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_i64..60, prop_oneof![4 => Just(0_i64), 1 => 0_i64..400, 1 => Just(9_000_000_i64)]).prop_map(|(after, late)| Step::Line { after, late }),
        2 => (0_i64..700).prop_map(Step::Wait),
        1 => (0_i64..2_000).prop_map(Step::Outage),
        1 => Just(Step::Close),
    ]
}

fn look_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => (1_i64..15, 0_u8..4).prop_map(|(after, verdict)| Step::Look { after, verdict }),
        1 => (0_i64..700).prop_map(Step::Wait),
        1 => (0_i64..2_000).prop_map(Step::Outage),
        1 => Just(Step::Close),
    ]
}

fn any_level() -> impl Strategy<Value = Rule> {
    any_rule().prop_map(|rule| Rule { condition: share(0).condition, ..rule })
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let seconds = |list: &'static [u64]| prop::sample::select(list).prop_map(Duration::from_secs);
    (
        prop::sample::select(&["> 0", "> 1", "> 3"][..]),
        seconds(&[10, 60, 300]),
        seconds(&[0, 0, 20, 60]),
        seconds(&[0, 60, 300]),
        seconds(&[0, 30, 300]),
    )
        .prop_map(|(threshold, window, pending_for, cooldown, resolve_after)| Rule {
            pending_for,
            cooldown,
            resolve_after,
            ..count_rule(threshold, window.as_secs())
        })
}

fn run(rule: &Rule, steps: &[Step], saved: bool) -> Scene {
    let mut scene = Scene::new(rule.clone());
    for step in steps {
        match step {
            Step::Line { after, late } => scene.line_at(scene.now + after, scene.now + after - late),
            Step::Wait(seconds) => scene.advance(scene.now + seconds),
            Step::Outage(seconds) => scene.now += seconds,
            Step::Look { after, verdict } => {
                scene.advance(scene.now + after);
                let now = t(scene.now);
                let facts = Facts { count: 9, of: Some(10), at: now, first_at: now, last_at: now, ..Facts::default() };
                scene.observe(match verdict {
                    0 | 1 => Verdict::Holds { facts, until: now + LOOK_HOLDS, fresh: *verdict == 0 },
                    2 => Verdict::Fails { matched: None },
                    _ => Verdict::Unknown,
                });
            }
            Step::Close => {
                let effects = scene.track.close(ResolveReason::RuleGone);
                scene.take(effects);
            }
        }
        if saved {
            scene.track = serde_json::from_str(&serde_json::to_string(&scene.track).unwrap()).unwrap();
        }
    }
    scene.advance(scene.now + 10_000);
    scene
}

/// What holds of every story (C5, C6, C9).
fn invariants(scene: &Scene, steps: &[Step]) -> Result<(), TestCaseError> {
    let (mut fired, mut open, mut last_told, mut told_first) = (HashSet::new(), None, None, HashSet::new());
    for (at, effect) in &scene.effects {
        match effect {
            Effect::Fired { alert, previous, .. } => {
                prop_assert!(open.is_none() && fired.insert(*alert), "one open alert at a time");
                prop_assert_eq!(previous.is_some(), fired.len() > 1);
                open = Some(*alert);
            }
            Effect::Notify { alert, kind, cooldown_until, .. } => {
                prop_assert_eq!(Some(*alert), open, "told of what is open");
                prop_assert!(
                    last_told.is_none_or(|last: i64| t(*at) >= t(last) + scene.rule.cooldown),
                    "inside the cool-down"
                );
                prop_assert_eq!(*cooldown_until, t(*at) + scene.rule.cooldown);
                prop_assert_eq!(
                    *kind == NoticeKind::Firing,
                    told_first.insert(*alert),
                    "firing first and once, then still firing"
                );
                last_told = Some(*at);
            }
            Effect::Resolved { alert, told, .. } => {
                prop_assert_eq!(open.take(), Some(*alert), "resolved once, after it fired");
                prop_assert_eq!(*told, told_first.contains(alert));
            }
            _ => {}
        }
    }
    prop_assert!(open.is_none() && scene.track.phase == Phase::Quiet, "it ends when all is calm: {:?}", steps);
    prop_assert!(scene.track.is_idle(t(scene.now)));
    Ok(())
}

proptest! {
    #[test]
    fn counts_keep_the_contract(rule in any_rule(), steps in prop::collection::vec(step(), 0..60)) {
        let scene = run(&rule, &steps, false);
        invariants(&scene, &steps)?;
        prop_assert_eq!(scene.effects, run(&rule, &steps, true).effects, "saving and loading changes nothing");
    }

    #[test]
    fn levels_keep_the_contract(rule in any_level(), steps in prop::collection::vec(look_step(), 0..60)) {
        let scene = run(&rule, &steps, false);
        invariants(&scene, &steps)?;
        prop_assert_eq!(scene.effects, run(&rule, &steps, true).effects, "saving and loading changes nothing");
    }

    /// Only a new match repeats a message.
    #[test]
    fn still_firing_needs_a_match(rule in any_level(), steps in prop::collection::vec(look_step(), 0..60)) {
        let stale: Vec<Step> = steps.into_iter().map(|step| match step {
            Step::Look { after, verdict: 0 } => Step::Look { after, verdict: 1 },
            other => other,
        }).collect();
        let scene = run(&rule, &stale, false);
        let still = |effect: &Effect| matches!(effect, Effect::Notify { kind: NoticeKind::StillFiring, .. });
        prop_assert_eq!(scene.effects.iter().find(|(_, effect)| still(effect)), None);
    }
}
