//! 2,000 checks every 30 s against targets on this machine: how late they start, and what they cost. Not a micro-benchmark:
//! it runs for as long as it says and prints a table.
//!
//! `cargo bench -p dynowatch-engine --bench checks -- --seconds 120 --checks 2000`

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark prints, and ends where something is wrong"
)]

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::check::Check;
use dynowatch_domain::check::kind::{CheckKind, WebCheck};
use dynowatch_domain::check::outcome::Outcome;
use dynowatch_domain::mask::Masker;
use dynowatch_domain::{Clock, Timestamp};
use dynowatch_engine::checks::{ChecksConfig, Prober};
use dynowatch_engine::{Engine, EngineOptions, Limits, Settings};
use dynowatch_notify::Receivers;
use dynowatch_store::{Store, StoreOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// The clock on the wall.
struct Wall;

impl Clock for Wall {
    #[expect(clippy::disallowed_methods, reason = "a benchmark measures the present")]
    fn now(&self) -> Timestamp {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Timestamp::from_micros(i64::try_from(now.as_micros()).unwrap())
    }
}

/// Answers everything with 200.
async fn target() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1_024];
                let _read = stream.read(&mut request).await;
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
                let _sent = stream.write_all(answer).await;
            });
        }
    });
    address.to_string()
}

/// CPU seconds of this process, and its resident bytes.
fn used() -> (f64, u32) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<u32>().ok()).unwrap_or(0);
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = |line: &str| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse().ok();
    (f64::from(ticks(11) + ticks(12)) / 100.0, status.lines().find_map(resident).unwrap_or(0))
}

fn argument(name: &str, default: u32) -> u32 {
    let arguments: Vec<String> = std::env::args().collect();
    let place = arguments.iter().position(|argument| argument == name);
    place.and_then(|place| arguments.get(place + 1)?.parse().ok()).unwrap_or(default)
}

fn percentile(sorted: &[u64], per_mille: usize) -> u64 {
    sorted.get((sorted.len() * per_mille / 1_000).min(sorted.len().saturating_sub(1))).copied().unwrap_or(0)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run());
}

async fn start(folder: &std::path::Path, count: u32) -> (Engine, dynowatch_engine::Loops) {
    let mut targets = Vec::new();
    for _ in 0..50 {
        targets.push(target().await);
    }
    let checks = (0..).zip(targets.iter().cycle()).take(count as usize).map(|(place, address): (u32, _)| Check {
        interval: Duration::from_secs(30),
        ..Check::new(format!("check-{place:04}"), CheckKind::Web(WebCheck::get(format!("http://{address}/{place}"))))
    });
    let settings = Settings {
        rules: Vec::new(),
        apps: Vec::new(),
        receivers: Receivers::build(&[], &[]).unwrap(),
        masker: Masker::default(),
        public_url: None,
        checks: ChecksConfig { checks: checks.collect(), ..ChecksConfig::default() },
        compose: None,
    };
    let url = format!("sqlite://{}", folder.join("dynowatch.db").display());
    let options = EngineOptions {
        clock: Arc::new(Wall),
        store: Store::open(&StoreOptions::new(&url)).await.unwrap(),
        settings,
        limits: Limits::default(),
        commits: tokio::runtime::Handle::current(),
    };
    let (engine, mut loops) = Engine::start(options).await.unwrap();
    let (prober, _problems) = Prober::of_this_machine(vec!["127.0.0.0/8".parse().unwrap()], None);
    engine.probe_with(Arc::new(prober));
    loops.run();
    (engine, loops)
}

async fn run() {
    let _installed_before = rustls::crypto::ring::default_provider().install_default();
    let (count, length) = (argument("--checks", 2_000), argument("--seconds", 120));
    let folder = tempfile::tempdir().unwrap();
    let (engine, loops) = start(folder.path(), count).await;
    let at_rest = used();
    // First runs come within ten seconds; what is measured begins after them.
    tokio::time::sleep(Duration::from_secs(40)).await;
    let (from, before, runs_before) = (engine.now(), used(), engine.stats().check_runs.get());
    tokio::time::sleep(Duration::from_secs(length.into())).await;
    let (until, after, runs) = (engine.now(), used(), engine.stats().check_runs.get() - runs_before);
    engine.flush_checks(true).await.expect("the store takes results");
    let (mut lags, mut wrong, mut total_us) = (Vec::new(), 0, 0);
    for place in 0..count {
        for run in engine.check_history(&format!("check-{place:04}"), from, until).await.unwrap() {
            lags.push(run.lag_ms);
            total_us += run.phases.total_us;
            wrong += u32::from(run.outcome != Outcome::Up);
        }
    }
    lags.sort_unstable();
    let kept = lags.len() as u64;
    println!("checks {count}, every 30 s, measured for {length} s, 50 targets on this machine");
    println!("runs               {runs}, {kept} of them kept, {wrong} not up");
    let [half, most, nearly_all] = [500, 990, 999].map(|per_mille| percentile(&lags, per_mille));
    println!(
        "start lag          p50 {half} ms, p99 {most} ms (limit 250), p99.9 {nearly_all} ms, max {} ms",
        lags.last().unwrap_or(&0)
    );
    println!("a run takes        {} µs on average", total_us / kept.max(1));
    println!(
        "CPU                {:.2} % of one core, the targets' included",
        (after.0 - before.0) * 100.0 / f64::from(length)
    );
    let mib = |kib: u32| f64::from(kib) / 1_024.0;
    println!("memory             {:.1} MiB, at the start {:.1} MiB", mib(after.1), mib(at_rest.1));
    loops.stop().await;
    assert!(kept > 0 && wrong == 0, "{wrong} of {kept} runs were not up");
    assert!(most < 250, "start lag p99 is {most} ms");
}
