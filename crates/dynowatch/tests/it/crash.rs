//! Promise 1 over the real program: a storm over HTTP while it is killed again and again, at seeded random moments, or
//! stopped as a platform stops it.

use std::time::Duration;

use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::process::{Dynowatch, Launch};
use dynowatch_testkit::slack::FakeSlack;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::storm;

const POSTERS: usize = 3;
/// Promised: SIGTERM ends it within this, whatever it is doing.
const STOP_MAX: Duration = Duration::from_secs(10);

/// How it ends in the middle of a storm.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Kill,
    Stop,
}

/// Numbers that look random and are the same in every run (SplitMix64).
struct Seeded(u64);

impl Seeded {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// Ends and restarts it so often, spread over the storm: each time that many more batches were answered, and a moment
/// more has passed.
async fn end_meanwhile(
    end: End,
    launch: &Launch,
    mut dynowatch: Dynowatch,
    ends: usize,
    every: usize,
    mut answered: watch::Receiver<usize>,
) -> Dynowatch {
    let port = dynowatch.port();
    let mut random = Seeded(7);
    for nth in 1..=ends {
        answered.wait_for(|answered| *answered >= nth * every).await.expect("posters that go on");
        // The moment of the blow is to be anywhere in a commit: so many turns of the posters later.
        for _ in 0..random.below(3_000) {
            tokio::task::yield_now().await;
        }
        end_it(end, &mut dynowatch).await;
        // The posters meet a closed door meanwhile.
        dynowatch = launch.clone().port(port).start().await;
    }
    dynowatch
}

async fn end_it(end: End, dynowatch: &mut Dynowatch) {
    match end {
        End::Kill => dynowatch.kill9().await,
        End::Stop => {
            let began = Instant::now();
            let status = dynowatch.sigterm().await;
            assert!(status.success() && began.elapsed() < STOP_MAX, "{:?}: {}", began.elapsed(), dynowatch.stderr());
        }
    }
}

async fn storm_with_ends(end: End, database: Option<&TestDatabase>, batches: usize, ends: usize) {
    let slack = FakeSlack::start().await;
    let folder = tempfile::tempdir().unwrap();
    let mut launch = storm::launch(folder.path(), &storm::config(batches), &slack);
    if let Some(database) = database {
        launch = launch.env("DATABASE_URL", database.url());
    }
    let dynowatch = launch.clone().start().await;
    let url = dynowatch.url();
    let (answered, seen) = watch::channel(0);
    let posters: Vec<_> = (0..POSTERS)
        .map(|poster| {
            let (url, answered) = (url.clone(), answered.clone());
            tokio::spawn(async move {
                for n in (poster..batches).step_by(POSTERS) {
                    storm::deliver(&url, n).await;
                    answered.send_modify(|answered| *answered += 1);
                }
            })
        })
        .collect();
    let mut dynowatch = end_meanwhile(end, &launch, dynowatch, ends, batches / (ends + 1), seen).await;
    for poster in posters {
        poster.await.unwrap();
    }
    // Then once more, while messages are on their way.
    let port = dynowatch.port();
    end_it(end, &mut dynowatch).await;
    let mut dynowatch = launch.clone().port(port).start().await;
    storm::all_told(&slack, batches).await;
    // Logplex repeats what it is not sure of; all of it is known.
    for n in 0..batches {
        storm::deliver(&dynowatch.url(), n).await;
    }
    assert!(dynowatch.sigterm().await.success(), "{}", dynowatch.stderr());
    storm::nothing_repeated(&slack.messages(), batches);
    if end == End::Stop {
        assert_eq!(
            slack.messages().len(),
            batches + 1,
            "what was being sent was finished first, so nothing is told twice"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_on_sqlite() {
    storm_with_ends(End::Kill, None, 240, 12).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_repeated_on_postgres() {
    let database = TestDatabase::create().await;
    storm_with_ends(End::Kill, Some(&database), 240, 8).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_and_repeats_nothing_on_sqlite() {
    storm_with_ends(End::Stop, None, 160, 5).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_loses_and_repeats_nothing_on_postgres() {
    let database = TestDatabase::create().await;
    storm_with_ends(End::Stop, Some(&database), 160, 5).await;
}
