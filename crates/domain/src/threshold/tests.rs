//! Thresholds: tables for each part, and properties of a key's whole life under a moving value.

use proptest::prelude::*;

use super::*;
use crate::NewId;
use crate::alert::{Effect, Phase, Track};
use crate::rule::{Condition, MatchSpec, Rule};

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn threshold(fires: &str, clears: Option<&str>, no_data: NoData) -> Threshold {
    Threshold {
        clears: clears.map(|text| text.parse().unwrap()),
        no_data,
        ..Threshold::new("dyno.memory_percent", fires.parse().unwrap())
    }
}

fn reading(value: Option<f64>) -> Reading {
    Reading { value, adds_up: false, blind: false, first_at: t(0) }
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Holds { .. } => "holds",
        Verdict::Fails { .. } => "fails",
        Verdict::Unknown => "unknown",
    }
}

#[test]
fn numbers_are_exact() {
    for (text, shown) in
        [("90", "90"), ("0.95", "0.95"), ("-1.50", "-1.5"), ("1_000", "1000"), ("0.000001", "0.000001")]
    {
        assert_eq!(text.parse::<Number>().map(|n| n.to_string()), Ok(shown.to_owned()), "{text}");
    }
    for text in ["", ".", "1.", ".5", "1e5", "NaN", "inf", "0.0000001", "--1", "1.2.3", "99999999999999", "٣"] {
        assert!(text.parse::<Number>().is_err(), "{text}");
    }
    assert_eq!((Number::from_f64(f64::NAN), Number::from_f64(1e13)), (None, None));
}

#[test]
fn limits_mean_what_they_say() {
    let cases = [
        ("> 90", [false, false, true]),
        (">= 90", [false, true, true]),
        ("<90 %", [true, false, false]),
        ("<= 90", [true, true, false]),
    ];
    for (text, want) in cases {
        let limit: Limit = text.parse().unwrap();
        assert_eq!([89.9, 90.0, 90.1].map(|value| limit.holds(value)), want, "{text}");
        assert_eq!(limit.to_string().parse::<Limit>(), Ok(limit));
    }
    for text in ["90", "= 90", "> x", "", ">", "!= 3"] {
        assert!(text.parse::<Limit>().is_err(), "{text}");
    }
}

#[test]
fn aggregations() {
    for text in ["avg", "min", "max", "last", "sum", "count", "p50", "p95", "p99.9"] {
        assert_eq!(text.parse::<Aggregate>().unwrap().to_string(), text);
    }
    assert_eq!("p95".parse(), Ok(Aggregate::Quantile(950_000)));
    for text in ["p0", "p100", "p-1", "p", "mean", "P95", ""] {
        assert!(text.parse::<Aggregate>().is_err(), "{text}");
    }
}

#[test]
fn sources_and_labels_are_chosen() {
    let globs = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
    type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str, bool);
    let cases: [Case<'_>; 9] = [
        (&[], &[], "web.1", "", true),
        (&["web"], &[], "web.1", "", true),
        (&["web"], &[], "worker.1", "", false),
        (&["web.1"], &[], "web.1", "", true),
        (&["web.1"], &[], "web.2", "", false),
        (&["HEROKU_*"], &[], "HEROKU_POSTGRESQL_RED", "", true),
        (&[], &["5xx"], "", "503", true),
        (&[], &["503"], "", "504", false),
        (&["web"], &["H12"], "web.1", "H13", false),
    ];
    for (sources, labels, source, label, want) in cases {
        let mut threshold = threshold("> 1", None, NoData::Unknown);
        (threshold.sources, threshold.labels) = (globs(sources), globs(labels));
        assert_eq!(threshold.wants(source, label), want, "{sources:?} {labels:?} {source} {label}");
    }
}

#[test]
fn clear_lies_on_the_other_side() {
    for (fires, clears, good) in [
        ("> 90", "< 85", true),
        ("> 90", "<= 90", true),
        ("> 90", "> 85", false),
        ("> 90", "< 91", false),
        ("< 0.95", "> 0.97", true),
        ("< 0.95", ">= 0.95", true),
        ("< 0.95", "> 0.9", false),
    ] {
        assert_eq!(threshold(fires, Some(clears), NoData::Ok).clears_problem().is_none(), good, "{fires} {clears}");
    }
}

#[test]
fn a_reading_is_judged() {
    let plain = |no_data| threshold("> 90", None, no_data);
    let band = || threshold("> 90", Some("< 85"), NoData::Unknown);
    let blind = |value| Reading { blind: true, ..reading(value) };
    let sum = |value, blind| Reading { blind, adds_up: true, ..reading(value) };
    let cases: [(&str, Threshold, Reading, bool, &str); 18] = [
        ("over", plain(NoData::Unknown), reading(Some(90.1)), false, "holds"),
        ("at it", plain(NoData::Unknown), reading(Some(90.0)), false, "fails"),
        ("fired and at it", plain(NoData::Unknown), reading(Some(90.0)), true, "fails"),
        ("in the band, quiet", band(), reading(Some(87.0)), false, "fails"),
        ("in the band, fired", band(), reading(Some(87.0)), true, "holds"),
        ("at the band's edge, fired", band(), reading(Some(85.0)), true, "holds"),
        ("below the band", band(), reading(Some(84.9)), true, "fails"),
        ("nothing", plain(NoData::Unknown), reading(None), true, "unknown"),
        ("nothing is well", plain(NoData::Ok), reading(None), true, "fails"),
        ("nothing is wrong", plain(NoData::Fire), reading(None), false, "holds"),
        ("blind says nothing", plain(NoData::Fire), blind(None), false, "unknown"),
        ("blind says nothing good", plain(NoData::Ok), blind(None), true, "unknown"),
        ("a level seen is a level", plain(NoData::Unknown), blind(Some(91.0)), false, "holds"),
        ("a level seen is a level, low", plain(NoData::Unknown), blind(Some(10.0)), true, "fails"),
        ("a sum that is enough", plain(NoData::Unknown), sum(Some(91.0), true), false, "holds"),
        ("a sum that may be enough", plain(NoData::Unknown), sum(Some(10.0), true), true, "unknown"),
        ("no number", plain(NoData::Unknown), reading(Some(f64::NAN)), true, "unknown"),
        ("a sum, all seen", plain(NoData::Unknown), sum(Some(10.0), false), true, "fails"),
    ];
    for (name, threshold, reading, firing, want) in cases {
        assert_eq!(word(&judge(&threshold, &reading, firing, t(60))), want, "{name}");
    }
    let low = threshold("< 0.95", None, NoData::Unknown);
    assert_eq!(word(&judge(&low, &sum(Some(0.1), true), false, t(60))), "unknown", "too little seen is not too little");
}

#[test]
fn levels_are_shown_to_four_digits() {
    for (value, want) in
        [(93.456, "93.46 %"), (1_234_567.8, "1234568 %"), (0.949_949, "0.9499 %"), (0.0, "0 %"), (-5.0, "-5 %")]
    {
        assert_eq!(Level::of(value, "%").unwrap().to_string(), want);
    }
}

#[derive(Default)]
struct Ids(u64);

impl NewId for Ids {
    fn new_id(&mut self, _now: Timestamp) -> uuid::Uuid {
        self.0 += 1;
        uuid::Uuid::from_u64_pair(0, self.0)
    }
}

/// Looks every ten seconds at these values. Returns what happened, with the number of the look.
fn live(threshold: &Threshold, pending_for: Duration, values: &[Option<f64>]) -> Vec<(usize, &'static str)> {
    let condition = Condition::Threshold(threshold.clone());
    let rule = Rule { pending_for, resolve_after: Duration::ZERO, ..Rule::new("r", MatchSpec::default(), condition) };
    let (mut track, mut ids, mut happened) = (Track::default(), Ids::default(), Vec::new());
    for (look, value) in values.iter().enumerate() {
        let now = t(look as i64 * 10);
        let firing = track.firing().is_some();
        let verdict = judge(threshold, &reading(*value), firing, now);
        for effect in track.observe(&rule, verdict, now, &mut ids) {
            match effect {
                Effect::Fired { .. } => happened.push((look, "fired")),
                Effect::Resolved { .. } => happened.push((look, "resolved")),
                _ => {}
            }
        }
        assert!(
            firing || !matches!(track.phase, Phase::Firing(_)) || value.is_some() || threshold.no_data == NoData::Fire
        );
    }
    happened
}

#[test]
fn memory_over_ninety_percent_for_five_minutes() {
    let rule = threshold("> 90", Some("< 85"), NoData::Unknown);
    let five = Duration::from_secs(300);
    let over = |n: usize| vec![Some(95.0); n];
    // The look at 300 s is the 31st.
    assert_eq!(live(&rule, five, &over(30)), []);
    assert_eq!(live(&rule, five, &over(31)), [(30, "fired")]);
    // One look below, or one without data, and it starts over.
    for broken in [Some(88.0), None] {
        let values = [over(30), vec![broken], over(31)].concat();
        assert_eq!(live(&rule, five, &values), [(61, "fired")], "{broken:?}");
    }
    // Through the band and through a gap it goes on; below the band it is over.
    let values = [over(31), vec![Some(86.0); 20], vec![None; 20], vec![Some(84.0)]].concat();
    assert_eq!(live(&rule, five, &values), [(30, "fired"), (71, "resolved")]);
}

fn values() -> impl Strategy<Value = Vec<Option<f64>>> {
    prop::collection::vec(prop_oneof![3 => (70.0..100.0_f64).prop_map(Some), 1 => Just(None)], 0..120)
}

proptest! {
    /// A plain model: an alert opens when the limit was passed at every look of `for`, and closes at the first look beyond
    /// `clear`. Gaps neither open nor close it, and inside the band nothing changes.
    #[test]
    fn a_whole_life_is_as_the_model_says(values in values(), looks in 0_usize..6) {
        let rule = threshold("> 90", Some("< 85"), NoData::Unknown);
        let (mut want, mut open, mut run) = (Vec::new(), false, 0);
        for (look, value) in values.iter().enumerate() {
            match value {
                _ if open => if value.is_some_and(|value| value < 85.0) {
                    (open, run) = (false, 0);
                    want.push((look, "resolved"));
                },
                Some(value) if *value > 90.0 => {
                    run += 1;
                    if run > looks {
                        open = true;
                        want.push((look, "fired"));
                    }
                }
                _ => run = 0,
            }
        }
        prop_assert_eq!(live(&rule, Duration::from_secs(10 * looks as u64), &values), want);
    }

    /// Inside the band nothing ever happens, whichever side it was entered from.
    #[test]
    fn the_band_never_flaps(band in prop::collection::vec(85.0..=90.0_f64, 1..60), fired in any::<bool>()) {
        let rule = threshold("> 90", Some("< 85"), NoData::Unknown);
        let begin = if fired { 95.0 } else { 80.0 };
        let values: Vec<Option<f64>> = std::iter::once(begin).chain(band).map(Some).collect();
        let happened = live(&rule, Duration::ZERO, &values);
        prop_assert_eq!(happened, if fired { vec![(0, "fired")] } else { vec![] });
    }

    /// A gap does what `no_data` says, and what it says alone.
    #[test]
    fn a_gap_is_its_own_outcome(gap in 1_usize..60, fired in any::<bool>(), which in 0_usize..3) {
        let no_data = NoData::ALL[which];
        let rule = threshold("> 90", None, no_data);
        let values = [vec![Some(if fired { 95.0 } else { 10.0 })], vec![None; gap]].concat();
        let happened = live(&rule, Duration::ZERO, &values);
        let want: Vec<(usize, &str)> = match (fired, no_data) {
            (true, NoData::Ok) => vec![(0, "fired"), (1, "resolved")],
            (true, _) => vec![(0, "fired")],
            (false, NoData::Fire) => vec![(1, "fired")],
            (false, _) => vec![],
        };
        prop_assert_eq!(happened, want);
    }
}
