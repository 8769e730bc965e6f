//! What a matched line costs its window, quiet and in a storm.

use std::time::Duration;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use dynowatch_domain::Timestamp;
use dynowatch_domain::window::{Counted, Window};

fn main() {
    divan::main();
}

const FIVE_MINUTES: Duration = Duration::from_secs(300);

/// `count` events, one each `step_ms`; every seventh comes twenty seconds late.
fn events(count: i64, step_ms: i64) -> Vec<Counted> {
    (0..count)
        .map(|i| {
            let arrived = Timestamp::from_micros(i * step_ms * 1_000);
            let late = if i % 7 == 0 { Duration::from_secs(20) } else { Duration::ZERO };
            Counted { at: arrived - late, arrived }
        })
        .collect()
}

/// Milliseconds between events: an hour's trickle, one a second, a storm.
#[divan::bench(args = [30_000, 1_000, 10])]
fn push(bencher: Bencher<'_, '_>, step_ms: i64) {
    let events = events(10_000, step_ms);
    bencher.counter(ItemsCount::new(events.len())).bench(|| {
        let mut window = Window::default();
        for event in &events {
            black_box(window.push(*event, 4, FIVE_MINUTES));
        }
    });
}

/// As after a restart.
#[divan::bench]
fn restore(bencher: Bencher<'_, '_>) {
    let events = events(1_024, 250);
    bencher.counter(ItemsCount::new(events.len())).bench(|| Window::restore(events.iter().copied(), 4));
}
