//! What each step of reading a drain costs, on generated lines in the mix of a busy app: two thirds router lines, a tenth runtime
//! metrics, some data-service metrics, the rest app text. `cargo bench -p dynowatch-logplex`.

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use dynowatch_logplex::{Feed, Frame, Message, Record, RouterLine, Samples, StampCache, frames, message, record};
use std::fmt::Write as _;

fn main() {
    divan::main();
}

/// Lines of the workload: enough that a processor cannot learn them by heart.
const LINES: usize = 6_000;
/// Lines in one POST body.
const BODY_LINES: usize = 100;

/// A small generator (splitmix64), so that every run has the same lines.
struct Rng(u64);

impl Rng {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }

    fn uuid(&mut self) -> String {
        let (a, b) = (self.below(u64::MAX), self.below(u64::MAX));
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            a >> 32,
            a >> 16 & 0xffff,
            a & 0xfff,
            b >> 48 & 0xfff,
            b & 0xffff_ffff_ffff
        )
    }
}

fn router_line(r: &mut Rng) -> String {
    let head = match r.below(100) {
        0 => "at=error code=H12 desc=\"Request timeout\"",
        _ => "at=info",
    };
    let path =
        ["/", "/login", "/api/v1/orders/88213/items", "/search?q=blue+shoes&page=3&per_page=50"][r.below(4) as usize];
    let id = r.uuid();
    let status = [200, 200, 200, 201, 304, 404, 500][r.below(7) as usize];
    let protocol =
        ["http1.1 tls=true tls_version=tls1.3", "http2.0 tls=true tls_version=tls1.3", "https"][r.below(3) as usize];
    let second = if r.below(4) == 0 { format!(", 172.70.{}.{}", r.below(256), r.below(256)) } else { String::new() };
    format!(
        "{head} method=GET path=\"{path}\" host=shop.example.com request_id={id} fwd=\"198.51.{}.{}{second}\" dyno=web.{} connect={}ms service={}ms status={status} bytes={} protocol={protocol}",
        r.below(256),
        r.below(256),
        1 + r.below(4),
        r.below(3),
        1 + r.below(400),
        80 + r.below(90_000)
    )
}

fn runtime_line(r: &mut Rng) -> String {
    let mut line = "source=web.1 dyno=heroku.103402527.d97d0ea7-cf3d-411b-b453-d2943a50b456".to_string();
    if r.below(2) == 0 {
        for key in ["load_avg_1m", "load_avg_5m", "load_avg_15m"] {
            let _ = write!(line, " sample#{key}={}.{:02}", r.below(4), r.below(100));
        }
    } else {
        for key in ["memory_total", "memory_rss", "memory_cache", "memory_swap", "memory_quota"] {
            let _ = write!(line, " sample#{key}={}.{:02}MB", r.below(1000), r.below(100));
        }
        let _ = write!(
            line,
            " sample#memory_pgpgin={}pages sample#memory_pgpgout={}pages",
            r.below(600_000),
            r.below(400_000)
        );
    }
    line
}

fn postgres_line(r: &mut Rng) -> String {
    let mut line = "source=DATABASE addon=postgresql-flat-12345".to_string();
    for key in ["current_transaction", "tables", "active-connections", "waiting-connections", "tmp-disk-used"] {
        let _ = write!(line, " sample#{key}={}", r.below(1 << 30));
    }
    for key in ["index-cache-hit-rate", "table-cache-hit-rate", "load-avg-1m", "load-avg-5m", "read-iops", "write-iops"]
    {
        let _ = write!(line, " sample#{key}=0.{:05}", r.below(100_000));
    }
    for key in ["memory-total", "memory-free", "memory-cached", "memory-postgres"] {
        let _ = write!(line, " sample#{key}={}kB", r.below(4_000_000));
    }
    line
}

fn app_line(r: &mut Rng) -> String {
    format!(
        "[INFO] request_id={} user_id={} action=checkout.create duration={}.{}ms cache=hit",
        r.uuid(),
        r.below(1_000_000),
        r.below(900),
        r.below(100)
    )
}

/// Source, process and text of every line.
fn lines() -> Vec<(&'static str, &'static str, String)> {
    let mut r = Rng(1);
    (0..LINES)
        .map(|_| match r.below(100) {
            0..=70 => ("heroku", "router", router_line(&mut r)),
            71..=80 => ("heroku", "web.1", runtime_line(&mut r)),
            81..=83 => ("app", "heroku-postgres", postgres_line(&mut r)),
            84 => ("heroku", "web.1", "State changed from starting to up".to_string()),
            _ => ("app", "web.1", app_line(&mut r)),
        })
        .collect()
}

fn texts(source: &str) -> Vec<String> {
    lines().into_iter().filter(|line| line.1 == source).map(|line| line.2).collect()
}

fn bodies() -> Vec<Vec<u8>> {
    let (mut us, lines) = (0, lines());
    lines
        .chunks(BODY_LINES)
        .map(|chunk| {
            let mut body = Vec::new();
            for (name, process, text) in chunk {
                us += 35_000;
                let raw = format!(
                    "<158>1 2026-05-07T08:{:02}:{:02}.{:06}+00:00 host {name} {process} - {text}\n",
                    us / 60_000_000,
                    us / 1_000_000 % 60,
                    us % 1_000_000
                );
                body.extend(format!("{} {raw}", raw.len()).into_bytes());
            }
            body
        })
        .collect()
}

fn raws(bodies: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> {
    bodies.iter().flat_map(|body| frames(body)).filter_map(|frame| match frame {
        Frame::Message(raw) => Some(raw),
        Frame::Bad(_) => None,
    })
}

fn bytes(bodies: &[Vec<u8>]) -> BytesCount {
    BytesCount::new(bodies.iter().map(Vec::len).sum::<usize>())
}

#[divan::bench]
fn framing(bencher: Bencher) {
    let bodies = bodies();
    bencher
        .counter(ItemsCount::new(LINES))
        .counter(bytes(&bodies))
        .bench(|| raws(black_box(&bodies)).map(<[u8]>::len).sum::<usize>());
}

#[divan::bench]
fn framing_and_header(bencher: Bencher) {
    let bodies = bodies();
    let mut cache = StampCache::default();
    bencher.counter(ItemsCount::new(LINES)).counter(bytes(&bodies)).bench_local(|| {
        raws(black_box(&bodies))
            .filter_map(|raw| message(raw, &mut cache).ok())
            .map(|m| m.at_us ^ m.text.len() as i64)
            .fold(0, |a, b| a ^ b)
    });
}

#[divan::bench]
fn router_both_ends(bencher: Bencher) {
    let texts = texts("router");
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        texts.iter().map(|text| read_router(&RouterLine::parse(black_box(text.as_bytes())))).fold(0, u64::wrapping_add)
    });
}

#[divan::bench]
fn router_all_fields(bencher: Bencher) {
    let texts = texts("router");
    bencher.counter(ItemsCount::new(texts.len())).bench(|| {
        texts
            .iter()
            .filter_map(|text| RouterLine::parse(black_box(text.as_bytes())).fields().request_id)
            .map(<[u8]>::len)
            .sum::<usize>()
    });
}

#[divan::bench(args = ["web.1", "heroku-postgres"])]
fn samples(bencher: Bencher, source: &str) {
    let texts: Vec<_> = texts(source).into_iter().filter(|text| text.starts_with("source=")).collect();
    let values: usize = texts.iter().map(|text| Samples::parse(Feed::Custom, text.as_bytes()).count()).sum();
    bencher.counter(ItemsCount::new(values)).bench(|| {
        texts
            .iter()
            .flat_map(|text| Samples::parse(Feed::Custom, black_box(text.as_bytes())))
            .map(|s| s.value)
            .sum::<f64>()
    });
}

/// Everything: frames, headers, records, the router's fields and every metric value.
#[divan::bench]
fn whole_bodies(bencher: Bencher) {
    let bodies = bodies();
    let mut cache = StampCache::default();
    bencher.counter(ItemsCount::new(LINES)).counter(bytes(&bodies)).bench_local(|| {
        let mut sum = 0;
        for raw in raws(black_box(&bodies)) {
            if let Ok(m) = message(raw, &mut cache) {
                sum ^= read(&m);
            }
        }
        sum
    });
}

fn read(m: &Message<'_>) -> u64 {
    match &record(m) {
        Record::Router(line) => read_router(line),
        Record::Samples(samples) => samples.map(|s| s.value.to_bits()).fold(0, |a, b| a ^ b),
        other => other.kind().index() as u64,
    }
}

fn read_router(line: &RouterLine<'_>) -> u64 {
    line.code().map_or(0, |code| code.index() as u64)
        + line.status().unwrap_or(0) as u64
        + line.service_ms().unwrap_or(0) as u64
        + line.connect_ms().unwrap_or(0) as u64
        + line.bytes().unwrap_or(0)
        + line.dyno().len() as u64
}
