//! Uptime and coverage over flips, calendar days and changes of the clock.

use proptest::prelude::*;

use super::*;

const HOUR: i64 = 3_600;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn flips(list: &[(i64, Standing)]) -> Vec<Flip> {
    list.iter().map(|&(at, standing)| Flip { at: t(at), standing }).collect()
}

#[track_caller]
fn check(list: &[(i64, Standing)], known_until: i64, want: &str) {
    assert_eq!(spent(&flips(list), t(known_until), t(0), t(1_000_000)).show(), want, "{list:?}");
}

#[test]
fn what_is_shown() {
    use Standing::{Degraded, Down, Maintenance, Paused, Unknown, Up};
    check(&[], 1_000_000, "no data");
    check(&[(0, Unknown)], 1_000_000, "no data");
    check(&[(0, Maintenance)], 1_000_000, "no data");
    check(&[(2_000_000, Up)], 2_000_000, "no data");
    check(&[(0, Up)], 1_000_000, "100.00 %");
    check(&[(-50, Down), (0, Up)], 1_000_000, "100.00 %");
    check(&[(0, Degraded)], 1_000_000, "100.00 %");
    check(&[(0, Down)], 1_000_000, "0.00 %");
    // One second of a million: cut, not rounded.
    check(&[(0, Up), (500_000, Down), (500_001, Up)], 1_000_000, "99.99 %");
    check(&[(0, Down), (999_999, Up)], 1_000_000, "0.00 %");
    check(&[(0, Up), (500_000, Down), (500_500, Unknown), (513_500, Up)], 1_000_000, "99.94 % of 98.7 % observed");
    check(&[(0, Up), (500_000, Paused)], 1_000_000, "100.00 % of 50.0 % observed");
    // Maintenance is on neither side.
    check(&[(0, Up), (200_000, Maintenance), (700_000, Down), (750_000, Up)], 1_000_000, "90.00 %");
    // A check that began late has no time before.
    check(&[(900_000, Up)], 1_000_000, "100.00 %");
    // Nobody has measured since.
    check(&[(0, Up)], 400_000, "100.00 % of 40.0 % observed");
    check(&[(0, Up), (400_000, Maintenance)], 400_000, "100.00 %");
}

#[test]
fn stretches_follow_each_other() {
    let list = flips(&[
        (-50, Standing::Up),
        (100, Standing::Down),
        (150, Standing::Up),
        (150, Standing::Up),
        (300, Standing::Up),
    ]);
    let found = stretches(&list, t(400), t(0), t(1_000));
    let seen: Vec<_> = found.iter().map(|one| (one.standing, one.from.as_seconds(), one.until.as_seconds())).collect();
    let want =
        [(Standing::Up, 0, 100), (Standing::Down, 100, 150), (Standing::Up, 150, 400), (Standing::Unknown, 400, 1_000)];
    assert_eq!(seen, want);
    assert_eq!(stretches(&list[1..2], t(0), t(0), t(50)), []);
}

#[test]
fn percentages_are_cut() {
    for (part, whole, decimals, want) in [
        (99_999, 100_000, 2, "99.99 %"),
        (1, 3, 0, "33 %"),
        (2, 3, 3, "66.666 %"),
        (u64::MAX, u64::MAX, 9, "100.00000 %"),
    ] {
        assert_eq!(Percent::of(part, whole, decimals).unwrap().to_string(), want);
    }
    assert_eq!(Percent::of(0, 0, 2), None);
}

#[test]
fn days_of_a_zone_are_as_long_as_they_are() {
    let zone = crate::zone::named("Europe/Berlin").unwrap();
    // Up all the time but for 02:30-03:30 of each day, UTC.
    let begin = Timestamp::parse("2026-03-20T00:00:00Z").unwrap().as_seconds();
    let mut list = vec![(begin, Standing::Up)];
    for day in 0..20 {
        list.push((begin + day * 24 * HOUR + 150 * 60, Standing::Down));
        list.push((begin + day * 24 * HOUR + 210 * 60, Standing::Up));
    }
    let now = Timestamp::parse("2026-03-31T12:00:00Z").unwrap();
    let shown: Vec<String> = days(&flips(&list), now, &zone, now, 4)
        .iter()
        .map(|day| {
            let hours = day.until.since(day.from).as_secs() / 3_600;
            format!("{} {hours} h, {} s down, {}", day.date, day.spent.down_us / 1_000_000, day.spent.show())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "2026-03-28 24 h, 3600 s down, 95.83 %",
            "2026-03-29 23 h, 3600 s down, 95.65 %",
            "2026-03-30 24 h, 3600 s down, 95.83 %",
            "2026-03-31 14 h, 3600 s down, 92.85 %",
        ]
    );
    let autumn = Timestamp::parse("2026-10-25T23:00:00Z").unwrap();
    let day = days(&[], autumn, &zone, autumn, 2).remove(0);
    assert_eq!((day.until.since(day.from).as_secs() / 3_600, day.spent.show().as_str()), (25, "no data"));
}

fn standing() -> impl Strategy<Value = Standing> {
    prop::sample::select(Standing::ALL.to_vec())
}

proptest! {
    /// Against looking at every second.
    #[test]
    fn as_a_naive_walk_counts_it(
        changes in prop::collection::vec((1_i64..40, standing()), 0..12), from in 0_i64..150, long in 0_i64..200, known in 0_i64..300,
    ) {
        let mut at = 20;
        let mut list = Vec::new();
        for (gap, standing) in changes {
            list.push((at, standing));
            at += gap;
        }
        let last = list.last().map_or(0, |last| last.0);
        let known = known.max(last);
        let mut want = Spent::default();
        for second in from..from + long {
            let Some(&(since, standing)) = list.iter().rev().find(|(at, _)| *at <= second) else { continue };
            let planned = matches!(standing, Standing::Maintenance | Standing::Paused);
            let standing = if since == last && !planned && second >= known { Standing::Unknown } else { standing };
            want.spend(standing, Duration::from_secs(1));
        }
        let got = spent(&flips(&list), t(known), t(from), t(from + long));
        prop_assert_eq!(got, want);
        // What is shown never says more than there is.
        if let (Some(share), Some(cut)) = (want.uptime(5), want.uptime(1)) {
            prop_assert!(share.units >= cut.units * 10_000);
            prop_assert_eq!(cut.to_string() == "100.0 %", want.down_us == 0);
        }
    }

    /// Days add up to the whole, in any zone.
    #[test]
    fn days_add_up(begin in 1_760_000_000_i64..1_800_000_000, changes in prop::collection::vec((60_i64..90_000, standing()), 1..30),
        zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Kathmandu"])) {
        let zone = crate::zone::named(zone).unwrap();
        let mut at = begin;
        let mut list = Vec::new();
        for (gap, standing) in changes {
            list.push((at, standing));
            at += gap;
        }
        let list = flips(&list);
        let now = t(at);
        let days = days(&list, now, &zone, now, 60);
        let mut sum = Spent::default();
        for pair in days.windows(2) {
            prop_assert_eq!(pair[0].until, pair[1].from);
            prop_assert!((22..=26).contains(&(pair[0].until.since(pair[0].from).as_secs() / 3_600)));
        }
        days.iter().for_each(|day| sum.add(&day.spent));
        prop_assert_eq!(sum, spent(&list, now, days[0].from, now));
    }
}
