//! The replay beside the state machine itself, and beside a plain count.

use proptest::prelude::*;

use super::*;
use crate::check::Flapping;
use crate::check::observation::Phases;
use crate::check::outcome::Outcome;
use crate::check::run;

const MINUTE: Duration = Duration::from_secs(60);
const BEGIN: i64 = 1_778_140_800;

fn t(minute: i64) -> Timestamp {
    Timestamp::from_seconds(BEGIN + minute * 60)
}

/// One run a minute: `S`uccess, `F`ailure, `D`egraded, `U`nknown, `!` a decisive failure, `m` a failure in maintenance, `_` none.
fn runs(signs: &str) -> Vec<Run> {
    let run = |(minute, sign): (usize, char)| {
        let (outcome, reason) = match sign {
            'S' => (Outcome::Up, None),
            'D' => (Outcome::Degraded, Some(Reason::AssertionDegraded)),
            'U' => (Outcome::Unknown, Some(Reason::NotMeasured)),
            '!' => (Outcome::Down, Some(Reason::HeartbeatMissed)),
            '_' => return None,
            _ => (Outcome::Down, Some(Reason::Timeout)),
        };
        let at = t(i64::try_from(minute).unwrap());
        Some(Run { at, outcome, reason, maintenance: sign == 'm', lag_ms: 0, phases: Phases::default() })
    };
    signs.chars().enumerate().filter_map(run).collect()
}

fn plain(failures: u32, recoveries: u32) -> Thresholds {
    Thresholds { failures, recoveries, flapping: None, ..Thresholds::default() }
}

fn past(runs: &[Run]) -> Past<'_> {
    Past { runs, validity: MINUTE, paused: &[], parent_failing: &[] }
}

/// As minutes: when it would have paged, since when, until when.
fn minutes(replay: &Replay) -> Vec<(i64, i64, Option<i64>)> {
    let minute = |at: Timestamp| (at.as_seconds() - BEGIN) / 60;
    replay.pages.iter().map(|page| (minute(page.at), minute(page.began_at), page.ended_at.map(minute))).collect()
}

#[track_caller]
fn check(signs: &str, thresholds: &Thresholds, want: &[(i64, i64, Option<i64>)], untold: u64) {
    let runs = runs(signs);
    let replay = replay(&past(&runs), thresholds, t(0));
    assert_eq!((minutes(&replay), replay.untold, replay.runs), (want.to_vec(), untold, runs.len() as u64), "{signs}");
}

#[test]
fn pages_of_a_row_of_runs() {
    check("SFFSFFFFSFSS", &plain(3, 2), &[(6, 4, Some(10))], 0);
    check("SFFSFFFFSFSS", &plain(2, 1), &[(2, 1, Some(3)), (5, 4, Some(8))], 0);
    check("SFFSFFFFSFSS", &plain(5, 2), &[], 0);
    check("S!SS", &plain(9, 2), &[(1, 1, Some(2))], 0);
    check("SDDDS", &plain(2, 1), &[], 0);
    check("SDDDS", &Thresholds { tell_degraded: true, ..plain(2, 1) }, &[(2, 1, Some(4))], 0);
    check("SFUFS", &plain(2, 1), &[(3, 1, Some(4))], 0);
    check("SFF", &plain(2, 2), &[(2, 1, None)], 0);
    // In maintenance nobody is told; what is still true after it is, with the second run after it.
    check("SmmSS", &plain(1, 1), &[], 1);
    check("SmmFFSS", &plain(1, 1), &[(4, 1, Some(5))], 0);
    // Failing for so long: only time that was measured counts.
    let slowly = Thresholds { failing_for: Some(MINUTE * 3), ..plain(100, 1) };
    check("SFFFFS", &slowly, &[(4, 1, Some(5))], 0);
    check("SF__FFS", &slowly, &[], 0);
    let flapping = Some(Flapping { transitions: 4, window: MINUTE * 10, quiet: MINUTE * 3 });
    let flaps = Thresholds { flapping, ..plain(1, 1) };
    check("SFSFSFSSSSSS", &flaps, &[(1, 1, Some(2)), (3, 3, Some(6)), (4, 3, Some(6))], 0);
    let found = replay(&past(&runs("SFSFSFSSSSSS")), &flaps, t(0));
    let why: Vec<Why> = found.pages.iter().map(|page| page.why).collect();
    assert_eq!(why, [Why::Down, Why::Down, Why::Flapping]);
}

#[test]
fn what_lies_before_only_says_how_things_stood() {
    let runs = runs("SFFFFFFSSFFS");
    let found = replay(&past(&runs), &plain(2, 1), t(4));
    assert_eq!((minutes(&found), found.runs), (vec![(10, 9, Some(11))], 8));
}

#[test]
fn a_pause_ends_what_was_open_and_begins_anew() {
    let runs = runs("SFF__FFS");
    let paused = [t(3)];
    let found = replay(&Past { paused: &paused, ..past(&runs) }, &plain(2, 1), t(0));
    assert_eq!(minutes(&found), [(2, 1, Some(3)), (6, 5, Some(7))]);
}

#[test]
fn under_a_failing_parent_nobody_is_told() {
    let of_parent = runs("SFFFSSSSS");
    let parent_failing = failing(&past(&of_parent), &plain(1, 1));
    assert_eq!(parent_failing, [Span { from: t(1), until: t(4) }]);
    let found = |signs: &str| {
        let runs = runs(signs);
        let found = replay(&Past { parent_failing: &parent_failing, ..past(&runs) }, &plain(1, 1), t(0));
        (minutes(&found), found.untold)
    };
    assert_eq!(found("SFFFSSSSS"), (vec![], 1));
    // Still failing after it, and one run of grace.
    assert_eq!(found("SFFFFFSSS"), (vec![(5, 1, Some(6))], 0));
    assert_eq!(found("SSSSSSFSS"), (vec![(6, 6, Some(7))], 0));
}

#[test]
fn after_hours() {
    let berlin = zone::named("Europe/Berlin").unwrap();
    for (at, want) in [
        // A Thursday in summer: UTC+2.
        ("2026-05-07T06:59:59Z", true),
        ("2026-05-07T07:00:00Z", false),
        ("2026-05-07T15:59:59Z", false),
        ("2026-05-07T16:00:00Z", true),
        ("2026-05-09T10:00:00Z", true),
        // In winter: UTC+1.
        ("2026-01-08T07:30:00Z", true),
        ("2026-01-08T08:00:00Z", false),
    ] {
        assert_eq!(is_after_hours(Timestamp::parse(at).unwrap(), &berlin), want, "{at}");
    }
    assert!(is_after_hours(Timestamp::from_micros(i64::MAX), &berlin), "what is no date is no working day");
}

#[test]
fn in_words() {
    let page = |at: &str| Page { at: Timestamp::parse(at).unwrap(), why: Why::Down, began_at: t(0), ended_at: None };
    let (day, night) = (page("2026-05-07T10:00:00Z"), page("2026-05-07T22:00:00Z"));
    for (pages, want) in [
        (vec![], "would have paged nobody"),
        (vec![day], "would have paged once, within working hours"),
        (vec![night], "would have paged once, after hours"),
        (vec![day, night, night, night], "would have paged 4 times, 3 after hours"),
        (vec![night, night], "would have paged 2 times, after hours"),
    ] {
        assert_eq!(Replay { pages, ..Replay::default() }.show(&TimeZone::UTC), want);
    }
}

fn signs() -> impl Strategy<Value = String> {
    let sign =
        prop_oneof![4 => Just('S'), 4 => Just('F'), 1 => Just('D'), 1 => Just('U'), 1 => Just('m'), 1 => Just('_')];
    prop::collection::vec(sign, 0..120).prop_map(|signs| signs.into_iter().collect())
}

fn thresholds() -> impl Strategy<Value = Thresholds> {
    let flapping = prop::option::of((3_u32..8, 5_u64..30, 2_u64..10)).prop_map(|flapping| {
        flapping.map(|(transitions, window, quiet)| {
            let minutes = |n: u64| Duration::from_secs(n * 60);
            Flapping { transitions, window: minutes(window), quiet: minutes(quiet) }
        })
    });
    let time = || prop::option::of((1_u64..10).prop_map(|n| Duration::from_secs(n * 60)));
    (1_u32..5, time(), 1_u32..4, time(), flapping, any::<bool>()).prop_map(
        |(failures, failing_for, recoveries, recovering_for, flapping, tell_degraded)| Thresholds {
            failures,
            failing_for,
            recoveries,
            recovering_for,
            flapping,
            tell_degraded,
        },
    )
}

/// What the engine does: a step with each run, one more whenever a window opens or closes between two, state that went
/// through the store. Its pages: when, and of which outage.
fn lived(runs: &[Run], thresholds: &Thresholds) -> Vec<(Timestamp, Uuid)> {
    let (mut state, mut ids, mut told) = (CheckState::default(), Counting(0), Vec::new());
    let mut around = Around::default();
    for run in runs {
        let mut steps = Vec::new();
        if around.maintenance != run.maintenance {
            around.maintenance = run.maintenance;
            steps.push((run.at - Duration::from_secs(7), None));
        }
        steps.push((run.at, Some(ran(run))));
        for (now, ran) in steps {
            state = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
            for effect in state.step(thresholds, MINUTE, ran, &around, &mut ids, now) {
                if let Effect::Opened { id, .. } | Effect::Again { id, .. } = effect {
                    told.push((now, id));
                }
            }
        }
    }
    told
}

proptest! {
    /// The same thresholds give the pages that the check itself sent, from runs as they come back from their packed rows.
    #[test]
    fn the_same_thresholds_give_the_same_pages(signs in signs(), thresholds in thresholds()) {
        let made = runs(&signs);
        let (mut stored, mut row, mut before): (Vec<Run>, Vec<u8>, Option<Run>) = (Vec::new(), Vec::new(), None);
        for made in &made {
            if before.is_some_and(|before| before.row() != made.row()) {
                let from = before.take().unwrap().row();
                stored.extend(run::unpack(from, &std::mem::take(&mut row)).unwrap());
            }
            run::pack(&mut row, before.as_ref(), made);
            before = Some(*made);
        }
        stored.extend(before.map(|before| run::unpack(before.row(), &row).unwrap()).into_iter().flatten());
        prop_assert_eq!(&stored, &made);
        let told = lived(&made, &thresholds);
        let found = replay(&past(&stored), &thresholds, t(0));
        let pages: Vec<Timestamp> = found.pages.iter().map(|page| page.at).collect();
        prop_assert_eq!(pages, told.iter().map(|(at, _)| *at).collect::<Vec<_>>());
    }

    /// Beside a plain count of failures and successes in a row.
    #[test]
    fn a_plain_count_agrees(failed in prop::collection::vec(any::<bool>(), 0..200), fails in 1_u32..6, oks in 1_u32..4) {
        let signs: String = failed.iter().map(|failed| if *failed { 'F' } else { 'S' }).collect();
        let (mut open, mut row, mut want) = (false, (false, 0_u32), Vec::new());
        for (minute, failed) in (0_i64..).zip(failed) {
            row = if row.0 == failed { (failed, row.1 + 1) } else { (failed, 1) };
            if !open && failed && row.1 >= fails {
                open = true;
                want.push((minute, minute + 1 - i64::from(row.1), None));
            } else if open && !failed && row.1 >= oks {
                open = false;
                want.last_mut().unwrap().2 = Some(minute + 1 - i64::from(row.1));
            }
        }
        prop_assert_eq!(minutes(&replay(&past(&runs(&signs)), &plain(fails, oks), t(0))), want);
    }

    /// Who waits for more failures is never paged more often.
    #[test]
    fn more_patience_never_pages_more(signs in signs(), fails in 1_u32..6, oks in 1_u32..4) {
        let runs = runs(&signs);
        let count = |fails| replay(&past(&runs), &plain(fails, oks), t(0)).pages.len();
        prop_assert!(count(fails + 1) <= count(fails), "{} then {}", count(fails), count(fails + 1));
    }
}
