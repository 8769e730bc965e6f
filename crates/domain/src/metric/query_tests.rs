//! Questions over a handful of values, and the gaps between them.

use super::*;
use crate::metric::Gauge;

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_780_000_020 + seconds)
}

fn key(metric: &str, kind: Kind, source: &str, label: &str) -> SeriesKey {
    SeriesKey { metric: metric.into(), kind, source: source.into(), label: label.into() }
}

fn query(metric: &str, points: u64, step_s: u64) -> SeriesQuery {
    SeriesQuery::new(metric, t(0), t(0) + Duration::from_secs(points * step_s), Duration::from_secs(step_s))
}

fn requests() -> Window {
    let mut window = Window::default();
    for (source, label, slot, n) in [
        ("web.1", "200", 0, 5.0),
        ("web.2", "200", 0, 3.0),
        ("web.2", "503", 1, 2.0),
        ("", "503", 1, 1.0),
        ("web.1", "500", 1, 4.0),
    ] {
        window.add(&key("router.requests", Kind::Counter, source, label), t(slot * 10), Value::Counter(n));
    }
    for slot in [0, 1, 2] {
        window.add(&key(SEEN_METRIC, Kind::Counter, "", ""), t(slot * 10), Value::Counter(9.0));
    }
    window
}

/// `source label: points`, a `-` for what is not known.
fn show(answer: &Answer) -> Vec<String> {
    let point = |p: &Option<f64>| p.map_or_else(|| "-".to_owned(), |p| p.to_string());
    answer
        .series
        .iter()
        .map(|s| format!("{}/{}: {}", s.source, s.label, s.points.iter().map(point).collect::<Vec<_>>().join(" ")))
        .collect()
}

#[track_caller]
fn check(window: &Window, query: SeriesQuery, want: &[&str]) {
    assert_eq!(show(&window.answer(&query, &[])), want, "{query:?}");
}

#[test]
fn sources_labels_and_groups() {
    let by = |text: &str| text.parse::<Grouping>().unwrap();
    let ask = |source: &str, label: &str, group: &str| SeriesQuery {
        sources: Sources::parse(source),
        labels: Labels::parse(label),
        by: by(group),
        ..query("router.requests", 4, 10)
    };
    let cases: [(SeriesQuery, &[&str]); 10] = [
        (ask("", "", "none"), &["/: 8 7 0 -"]),
        (ask("", "", "class"), &["/2xx: 8 0 0 -", "/5xx: 0 7 0 -"]),
        (ask("", "5xx", "label"), &["/500: 0 4 0 -", "/503: 0 3 0 -"]),
        (ask("*", "", "source"), &["web/: 8 6 0 -"]),
        (ask("web.*", "", "source"), &["web.1/: 5 4 0 -", "web.2/: 3 2 0 -"]),
        (ask("*.*", "503", "source,label"), &["web.2/503: 0 2 0 -"]),
        (ask("web.2", "", ""), &["/: 3 2 0 -"]),
        (ask("web", "50*", ""), &["/: 0 6 0 -"]),
        (ask("worker", "", ""), &["/: 0 0 0 -"]),
        (ask("", "500,503", ""), &["/: 0 7 0 -"]),
    ];
    for (query, want) in cases {
        check(&requests(), query, want);
    }
}

#[test]
fn packed_rows_have_types_already() {
    let query = query("router.requests", 1, 60);
    let mut merger = Merger::new(&query);
    for (source, n) in [("web.1", 5.0), ("web.2", 3.0), ("web", 8.0), ("", 1.0)] {
        let key = key("router.requests", Kind::Counter, source, "200");
        if let Some(place) = merger.place(&key, Origin::Packed) {
            merger.add(place, t(0), &Value::Counter(n));
        }
    }
    assert_eq!(show(&merger.finish(&[])), ["/: 9"]);
}

#[test]
fn aggregations_of_levels() {
    let mut window = Window::default();
    for (source, slot, value) in
        [("web.1", 0, 10.0), ("web.1", 1, 30.0), ("web.2", 1, 5.0), ("web.1", 7, 20.0), ("web.1", 8, 50.0)]
    {
        window.add(&key("dyno.memory_rss_mb", Kind::Gauge, source, ""), t(slot * 10), Value::Gauge(Gauge::once(value)));
    }
    for (aggregation, want) in [
        ("avg", "/: 15 35 -"),
        ("min", "/: 5 20 -"),
        ("max", "/: 30 50 -"),
        ("last", "/: 5 50 -"),
        ("sum", "/: 25 35 -"),
        ("count", "/: 3 2 -"),
    ] {
        let aggregation = Some(aggregation.parse().unwrap());
        check(&window, SeriesQuery { aggregation, ..query("dyno.memory_rss_mb", 3, 60) }, &[want]);
    }
    // From 30 to 50 in a minute; the second dyno has one value only.
    let rate = SeriesQuery { aggregation: Some(Aggregation::Rate), ..query("dyno.memory_rss_mb", 3, 60) };
    let found = window.answer(&rate, &[]).series[0].points.clone();
    assert!((found[1].unwrap() - 20.0 / 60.0).abs() < 1e-9 && found[0].is_none(), "{found:?}");
}

#[test]
fn percentiles_are_of_all_requests() {
    let mut window = Window::default();
    let service = |source, values: &[u64]| {
        (
            key("router.service_ms", Kind::Distribution, source, ""),
            Value::Distribution(Sketch::of(values.iter().copied())),
        )
    };
    for (slot, (key, value)) in [(0, service("web.1", &[10; 99])), (1, service("web.2", &[100]))] {
        window.add(&key, t(slot * 10), value);
    }
    for (aggregation, want) in [("p50", 10.0), ("p99", 10.0), ("p100", 100.0), ("avg", 10.9), ("count", 100.0)] {
        let query =
            SeriesQuery { aggregation: Some(aggregation.parse().unwrap()), ..query("router.service_ms", 1, 60) };
        assert_eq!(window.answer(&query, &[]).series[0].points, [Some(want)], "{aggregation}");
    }
}

/// D1: what nobody told is a gap, and a counter is zero only where the app was seen and we were not blind.
#[test]
fn gaps_stay_gaps() {
    let mut window = Window::default();
    for slot in [0, 1, 5, 30] {
        window.add(&key(SEEN_METRIC, Kind::Counter, "", ""), t(slot * 10), Value::Counter(1.0));
    }
    window.add(&key("router.requests", Kind::Counter, "web.1", "200"), t(0), Value::Counter(4.0));
    window.add(&key("dyno.load_1m", Kind::Gauge, "web.1", ""), t(50), Value::Gauge(Gauge::once(0.5)));
    let counted = |blind: &[(Timestamp, Timestamp)], points| {
        show(&window.answer(&query("router.requests", points, 10), blind)).remove(0)
    };
    assert_eq!(counted(&[], 7), "/: 4 0 0 0 0 0 -");
    assert_eq!(counted(&[(t(20), t(35))], 7), "/: 4 0 - - 0 0 -");
    // 250 s without a line are unknown.
    assert!(counted(&[], 31).contains(" - - - "));
    assert_eq!(show(&window.answer(&query("dyno.load_1m", 7, 10), &[])), ["/: - - - - - 0.5 -"]);
}

#[test]
fn words_are_read() {
    for text in ["avg", "min", "max", "last", "sum", "rate", "count", "p50", "p99.9"] {
        assert_eq!(text.parse::<Aggregation>().unwrap().to_string(), text);
    }
    for text in ["", "mean", "p", "p101", "95"] {
        assert!(text.parse::<Aggregation>().unwrap_err().contains("p95"), "{text}");
    }
    assert!("dyno".parse::<Grouping>().unwrap_err().contains("source"));
    assert!(!Aggregation::Avg.suits(Kind::Counter) && !Aggregation::Last.suits(Kind::Distribution));
}
