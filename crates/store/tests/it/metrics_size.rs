//! How large metrics become: an hour of generated values of 100 dynos through the store, its bytes, and what they come to in
//! the long run. Prints its figures: `cargo nextest run -p dynowatch-store --no-capture a_month_of_100_dynos`.

use std::collections::HashMap;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::chunk::{self, Entry};
use dynowatch_domain::metric::{Gauge, Kind, SLOT, SeriesKey, Sketch, Step, Value, dyno_type};
use dynowatch_store::metric_values::{Chunks, Found, Wanted};
use dynowatch_store::metrics::Chunk;

use crate::bed::{Bed, id, t};

const APPS: u64 = 10;
const DYNOS: u64 = 10;
/// A row's share of pages, keys and indexes besides its body.
const ROW_BYTES: f64 = 110.0;
/// The same of a chunk.
const CHUNK_BYTES: f64 = 160.0;

/// A reproducible stream of numbers.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n.max(1)
    }
}

fn key(metric: &str, kind: Kind, source: &str, label: &str) -> SeriesKey {
    SeriesKey { metric: metric.into(), kind, source: source.into(), label: label.into() }
}

/// What one dyno tells in ten seconds: runtime metrics every 20 s, and if it is a web dyno about 30 requests.
fn told(
    dyno: &str,
    slot: u64,
    numbers: &mut Numbers,
    walk: &mut HashMap<String, f64>,
    each: &mut dyn FnMut(SeriesKey, Value),
) {
    let odd = dyno.len() as u64 + dyno.bytes().map(u64::from).sum::<u64>();
    if (slot + odd).is_multiple_of(2) {
        for (metric, around) in [
            ("dyno.memory_total_mb", 310.0),
            ("dyno.memory_rss_mb", 290.0),
            ("dyno.memory_cache_mb", 12.0),
            ("dyno.memory_pgpgin_pages", 40_000.0),
            ("dyno.memory_pgpgout_pages", 30_000.0),
            ("dyno.memory_percent", 60.0),
            ("dyno.load_1m", 0.4),
            ("dyno.load_5m", 0.4),
            ("dyno.load_15m", 0.4),
        ] {
            let level = walk.entry(format!("{dyno}{metric}")).or_insert(around);
            let pages = metric.ends_with("_pages");
            *level +=
                if pages { numbers.below(50) as f64 } else { (numbers.below(201) as f64 - 100.0) * around / 20_000.0 };
            let shown = if pages { *level } else { (level.max(0.0) * 100.0).round() / 100.0 };
            each(key(metric, Kind::Gauge, dyno, ""), Value::Gauge(Gauge::once(shown)));
        }
        for (metric, level) in [("dyno.memory_swap_mb", 0.0), ("dyno.memory_quota_mb", 512.0)] {
            each(key(metric, Kind::Gauge, dyno, ""), Value::Gauge(Gauge::once(level)));
        }
    }
    if dyno.starts_with("web") {
        let requests = 20 + numbers.below(20);
        // Answers around 40 ms with a long tail.
        let service = Sketch::of((0..requests).map(|_| {
            let tail = if numbers.below(20) == 0 { numbers.below(2_000) } else { 0 };
            5 + numbers.below(40) + numbers.below(40) + tail
        }));
        each(key("router.service_ms", Kind::Distribution, dyno, ""), Value::Distribution(service));
        let connect = Sketch::of((0..requests).map(|_| numbers.below(2)));
        each(key("router.connect_ms", Kind::Distribution, dyno, ""), Value::Distribution(connect));
        each(
            key("router.bytes", Kind::Counter, dyno, ""),
            Value::Counter((requests * 2_000 + numbers.below(9_000)) as f64),
        );
        for (status, one_in) in [("200", 1), ("302", 2), ("404", 5), ("503", 40)] {
            if numbers.below(one_in) == 0 {
                let n = requests.div_ceil(one_in);
                each(key("router.requests", Kind::Counter, dyno, status), Value::Counter(n as f64));
            }
        }
    }
}

#[tokio::test]
async fn a_month_of_100_dynos_has_room() {
    let bed = Bed::sqlite().await;
    let start = t(0).floor(Duration::from_secs(3_600));
    let (mut numbers, mut walk) = (Numbers(7), HashMap::new());
    let mut chunk_bytes = 0;
    let mut apps = Vec::new();
    for a in 0..APPS {
        let app = bed.app(&format!("app-{a}")).await;
        apps.push(app);
        let dynos: Vec<String> =
            (1..=DYNOS).map(|d| if d <= 7 { format!("web.{d}") } else { format!("worker.{}", d - 7) }).collect();
        let mut known = HashMap::new();
        for slot in 0..360 {
            let at = start + SLOT * slot;
            let mut values = Vec::new();
            for dyno in &dynos {
                told(dyno, u64::from(slot), &mut numbers, &mut walk, &mut |key, value| values.push((key, value)));
            }
            values.push((key("app.lines", Kind::Counter, "", ""), Value::Counter(400.0)));
            let new: Vec<&SeriesKey> =
                values.iter().map(|(key, _)| key).filter(|key| !known.contains_key(*key)).collect();
            if !new.is_empty() {
                known.extend(bed.store.number_series(app, &new, at).await.unwrap());
            }
            let mut entries: Vec<Entry> =
                values.into_iter().map(|(key, value)| Entry { series: known[&key], at, value }).collect();
            let body = chunk::pack(&mut entries);
            chunk_bytes += body.len();
            bed.store.add_chunks(id(), &[Chunk { app, at, from: at, until: at + SLOT, body }]).await.unwrap();
        }
        while bed.store.fold(app, 60, at_end(start)).await.unwrap() > 0 {}
    }
    while bed.store.roll(Step::Minute, Step::TenMinutes, at_end(start), 1_000).await.unwrap() > 0 {}
    while bed.store.roll(Step::TenMinutes, Step::Hour, at_end(start), 1_000).await.unwrap() > 0 {}

    let (mut dyno, mut types, mut ten, mut hour) = (Sum::default(), Sum::default(), Sum::default(), Sum::default());
    for app in apps {
        let all = bed.store.series_of(app, start).await.unwrap();
        let dynos: Vec<u64> = all.iter().filter(|(_, k)| dyno_type(&k.source).is_some()).map(|(n, _)| *n).collect();
        let others: Vec<u64> = all.iter().filter(|(_, k)| dyno_type(&k.source).is_none()).map(|(n, _)| *n).collect();
        for (series, step, sum) in [
            (&dynos, Step::Minute, &mut dyno),
            (&others, Step::Minute, &mut types),
            (&others, Step::TenMinutes, &mut ten),
            (&others, Step::Hour, &mut hour),
        ] {
            let steps = [(step, false)];
            let wanted = Wanted {
                apps: &[app],
                from: start,
                until: at_end(start),
                series,
                steps: &steps,
                chunks: Chunks::Unfolded,
            };
            let take = |found| {
                let Found::Packed(row) = found else { return Ok(()) };
                sum.series.insert(row.series);
                sum.bytes += row.body.len();
                Ok(())
            };
            bed.store.metric_values(&wanted, take).await.unwrap();
        }
    }
    // Measured is one hour: an hour's row of minutes, a sixth of 24 rows' worth of ten minutes, one slot of a month.
    let day = |sum: &Sum, rows_a_day: f64| sum.bytes as f64 * 24.0 + sum.series.len() as f64 * rows_a_day * ROW_BYTES;
    let (dyno_day, type_day) = (day(&dyno, 24.0), day(&types, 24.0));
    let (ten_day, hour_day) = (day(&ten, 1.0), day(&hour, 1.0 / 30.0));
    let chunks = 2.0 * (chunk_bytes as f64 + (APPS * 360) as f64 * CHUNK_BYTES);
    let month = chunks + 7.0 * dyno_day + 30.0 * (type_day + ten_day + hour_day);
    let year = chunks + 7.0 * dyno_day + 30.0 * type_day + 90.0 * ten_day + 400.0 * hour_day;
    let mb = |bytes: f64| bytes / 1e6;
    let each = |name: &str, sum: &Sum, day: f64| {
        println!(
            "{name:<34}{:>7} series{:>9.0} bytes per series and day",
            sum.series.len(),
            day / sum.series.len() as f64
        );
    };
    println!("{} apps, {} dynos, 70 of them web with about 3 requests a second each", APPS, APPS * DYNOS);
    each("minutes of single dynos (7 d)", &dyno, dyno_day);
    each("minutes of types and apps (30 d)", &types, type_day);
    each("ten minutes (90 d)", &ten, ten_day);
    each("hours (400 d)", &hour, hour_day);
    println!("ten-second chunks of two hours: {:.1} MB", mb(chunks));
    println!("after a month: {:.0} MB; after 400 days: {:.0} MB", mb(month), mb(year));
    assert!(month < 500e6 && year < 800e6, "a month takes {month} bytes, 400 days {year}");
}

#[derive(Default)]
struct Sum {
    series: std::collections::BTreeSet<u64>,
    bytes: usize,
}

/// Long enough after for everything to be rolled.
fn at_end(start: Timestamp) -> Timestamp {
    start + Duration::from_secs(40 * 86_400)
}
