//! What one commit costs the server's CPU on SQLite: keys known to the caller, each with one new match, two frames; appended
//! to the journal with its share of folding, and loaded and written. `cargo bench -p dynowatch-store`. CPU rather than wall
//! time, because a commit waits for the disk; what the disk itself costs the kernel is left out with `TMPDIR=/dev/shm`.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a bench reports, and ends when it fails")]

use std::collections::HashMap;

use dynowatch_domain::alert::Track;
use dynowatch_domain::evidence::{EvidenceLine, Role};
use dynowatch_domain::key::{Group, Key};
use dynowatch_domain::signal::Source;
use dynowatch_domain::window::Counted;
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::{Changes, EvaluateRequest, Saved, Store, StoreOptions, TrackChange};
use uuid::Uuid;

const CALLS: i64 = 3_000;

/// User and system time of this process, in microseconds (Linux counts in hundredths of a second).
fn cpu_us() -> i64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: i64 = [11, 12].iter().map(|&at: &usize| fields.get(at).unwrap().parse::<i64>().unwrap()).sum();
    ticks * 10_000
}

async fn commit(way: &str, store: &Store, keys: &[Key], round: i64) {
    let now = Timestamp::from_micros(1_780_000_000_000_000 + round * 20_000);
    let app = keys.first().map(|key| key.app).unwrap();
    let request = EvaluateRequest {
        now,
        frames: (0..2).map(|n| (app, format!("{way}-{}-{round:06}-{n}", keys.len()))).collect(),
        keys: keys.to_vec(),
        known: keys.iter().map(|key| (key.clone(), round)).collect::<HashMap<_, _>>(),
    };
    let text = b"at=error code=H12 desc=\"Request timeout\" method=GET path=\"/orders/7\" host=shop.example.com dyno=web.1 status=503";
    let line = EvidenceLine::new(now, Source::Heroku, b"router", text, Role::Match);
    let tracks = keys.iter().map(|key| TrackChange {
        key: key.clone(),
        version: round + 1,
        moved: false,
        track: Track { cooldown_until: Some(now), ..Track::default() },
        next_wake_at: Some(now),
        events: vec![Counted { at: now, arrived: now }],
        lines: vec![line.clone()],
        consumed_before: None,
    });
    let changes = Changes { tracks: tracks.collect(), ..Changes::default() };
    match way {
        "append" => assert_eq!(store.save_known(&request, &changes).await.unwrap(), Saved::Yes),
        _ => store.evaluate(request, |_| (changes, ())).await.unwrap(),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite://{}", folder.path().join("bench.db").display());
        let store = Store::open(&StoreOptions { exclusive: true, ..StoreOptions::new(&url) }).await.unwrap();
        let now = Timestamp::from_seconds(0);
        let app = store.ensure_app(AppId(Uuid::from_u128(1)), "shop", AppOrigin::File, now).await.unwrap().id;
        for (way, keys_max) in ["append", "evaluate"].into_iter().flat_map(|way| [1, 8, 64].map(|max| (way, max))) {
            let key = |n| Key { app, rule: format!("{way}-{keys_max}-{n}"), group: Group::default() };
            let keys: Vec<Key> = (0..keys_max).map(key).collect();
            for round in 0..100 {
                commit("evaluate", &store, &keys, round).await;
            }
            let (cpu, wall) = (cpu_us(), tokio::time::Instant::now());
            for round in 100..100 + CALLS {
                commit(way, &store, &keys, round).await;
            }
            let (cpu, wall) = (cpu_us() - cpu, wall.elapsed());
            println!("{way}, {keys_max:2} keys: {:4} us CPU, {:4} us wall", cpu / CALLS, wall.as_micros() / 3_000);
        }
    });
}
