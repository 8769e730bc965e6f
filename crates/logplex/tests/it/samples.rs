//! Metric lines: keys, numbers, units.

use crate::support::{of, text};
use dynowatch_logplex::{Feed, Record, Samples, Unit, record};

fn shown(line: &str) -> String {
    Samples::parse(Feed::Custom, line.as_bytes())
        .map(|s| format!("{:?} {}={}{}", s.kind, text(s.name), s.value, s.unit.as_str()))
        .collect::<Vec<_>>()
        .join(", ")
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn lines() {
    for (line, expected) in [
        ("source=web.1 dyno=heroku.1.a sample#load_avg_1m=2.46 sample#load_avg_15m=0.99", "Sample load_avg_1m=2.46, Sample load_avg_15m=0.99"),
        ("source=web.1 dyno=heroku.1.a sample#memory_total=0.50MB sample#memory_pgpgin=348836pages sample#memory_quota=512.00MB", "Sample memory_total=524288bytes, Sample memory_pgpgin=348836pages, Sample memory_quota=536870912bytes"),
        ("source=D addon=a sample#db_size=5004001792bytes sample#memory-total=4000000kB sample#memory-free=15405636.0kB sample#tmp-disk-used=500000000     ", "Sample db_size=5004001792bytes, Sample memory-total=4096000000bytes, Sample memory-free=15775371264bytes, Sample tmp-disk-used=500000000"),
        ("sample#connections-percentage-used=0.25 sample#x=25%", "Sample connections-percentage-used=0.25, Sample x=25%"),
        ("measure#a.b=12ms count#c=1 gauge#d=-0.5s counter#e=+7 measure#f=3us", "Measure a.b=12ms, Count c=1, Gauge d=-0.5s, Counter e=7, Measure f=3us"),
        ("sample#a=1e3 sample#b=1.5E-2 sample#c=1e sample#d=.5 sample#e=5.", "Sample a=1000, Sample b=0.015, Sample c=1, Sample d=0.5, Sample e=5"),
        ("sample#bad=x sample# sample#=1 sample#y sample#no sample#q= sample#ok=1", "Sample ok=1"),
        ("sample#gap between=1 sample#ok=2", "Sample ok=2"),
        ("sample#inf=inf sample#nan=nan sample#huge=1e999 sample#ok=1", "Sample ok=1"),
        ("noise sample#a=1 k=\"quoted sample#b=2\" sample#c=3", "Sample a=1, Sample c=3"),
        ("k=\"open sample#b=2", "Sample b=2"),
        ("sample#w=3furlongs", "Sample w=3"),
        ("", ""),
        ("   ", ""),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
}

#[test]
fn whose() {
    let line = Samples::parse(Feed::Runtime, b"source=web.1 dyno=heroku.2808254.d97d sample#a=1");
    assert_eq!((line.source(), line.dyno_id(), line.addon()), (&b"web.1"[..], Some(&b"heroku.2808254.d97d"[..]), None));
    let line = Samples::parse(Feed::Postgres, b"source=DATABASE addon=pg-1 sample#a=1");
    assert_eq!((line.source(), line.dyno_id(), line.addon()), (&b"DATABASE"[..], None, Some(&b"pg-1"[..])));
    let line = Samples::parse(Feed::Postgres, b"source=DATABASE sample#a=1");
    assert_eq!((line.source(), line.addon(), line.count()), (&b"DATABASE"[..], None, 1));
    let line = Samples::parse(Feed::Custom, b"measure#a=1ms source=web.2 x=1");
    assert_eq!((line.source(), line.count()), (&b"web.2"[..], 1));
    assert_eq!(Samples::parse(Feed::Custom, b"measure#a=1ms").source(), b"");
}

/// The lines of the project that first asked for this, with other addresses and ids.
#[test]
#[rustfmt::skip] // a table reads by rows
fn lines_seen_in_the_wild() {
    let of_kind = |proc: &str, line: &str| {
        let m = of(if proc.starts_with("heroku-") { "app" } else { "heroku" }, proc, line);
        let Record::Samples(samples) = record(&m) else { panic!("{line}") };
        samples.map(|s| (text(s.name), s.written, s.unit)).collect::<Vec<_>>()
    };
    let memory = of_kind("worker.1", "source=worker.1 dyno=heroku.80178655.00ef45ff-41d2-40c8-87c8-a1f847fe2576 sample#memory_total=407.75MB sample#memory_rss=392.41MB sample#memory_cache=15.34MB sample#memory_swap=0.00MB sample#memory_pgpgin=129484pages sample#memory_pgpgout=27656pages sample#memory_quota=512.00MB");
    assert_eq!(memory.len(), 7);
    assert_eq!(memory[1], ("memory_rss".into(), 392.41, Unit::Bytes));
    assert_eq!(memory[5], ("memory_pgpgout".into(), 27_656.0, Unit::Pages));
    let postgres = of_kind("heroku-postgres", "source=HEROKU_POSTGRESQL_ROSE addon=postgresql-clear-67109 sample#current_transaction=2445712089 sample#db_size=37066259591bytes sample#tables=150 sample#active-connections=84 sample#waiting-connections=0 sample#index-cache-hit-rate=0.98701 sample#table-cache-hit-rate=0.96767 sample#load-avg-1m=0.06 sample#load-avg-5m=0.115 sample#load-avg-15m=0.165 sample#read-iops=17.711 sample#write-iops=6.7273 sample#tmp-disk-used=33849344 sample#tmp-disk-available=72944943104 sample#memory-total=4044972kB sample#memory-free=87596kB sample#memory-cached=3350760kB sample#memory-postgres=375912kB     ");
    assert_eq!(postgres.len(), 18);
    assert_eq!(postgres[11], ("write-iops".into(), 6.7273, Unit::None));
    assert_eq!(postgres[17], ("memory-postgres".into(), 375_912.0, Unit::Bytes));
}
