//! C26, S41: two real processes on one Postgres are one instance.

use std::time::Duration;

use dynowatch_testkit::http_fake::Behaviour;
use dynowatch_testkit::postgres::TestDatabase;
use dynowatch_testkit::slack::FakeSlack;
use tokio::time::Instant;

use crate::storm;

/// Promised: whoever is left takes over within this.
const TAKE_OVER_MAX: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_two_are_told_adds_up() {
    const BATCHES: usize = 60;
    let database = TestDatabase::create().await;
    let slack = FakeSlack::start().await;
    let (one_folder, two_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = storm::config(BATCHES);
    let start = |folder| storm::launch(folder, &config, &slack).env("DATABASE_URL", database.url()).start();
    let (mut one, mut two) = tokio::join!(start(one_folder.path()), start(two_folder.path()));
    let urls = [one.url(), two.url()];
    let posters = urls.clone().into_iter().enumerate().map(|(side, url)| {
        tokio::spawn(async move {
            for n in (side..BATCHES).step_by(2) {
                storm::deliver(&url, n).await;
            }
        })
    });
    for poster in posters.collect::<Vec<_>>() {
        poster.await.unwrap();
    }
    // Logplex may well repeat a batch to the other one.
    for n in 0..BATCHES {
        storm::deliver(&urls[(n + 1) % 2], n).await;
    }
    storm::all_told(&slack, BATCHES).await;
    assert!(one.sigterm().await.success(), "{}", one.stderr());
    assert!(two.sigterm().await.success(), "{}", two.stderr());
    let messages = slack.messages();
    storm::nothing_repeated(&messages, BATCHES);
    assert_eq!(messages.len(), BATCHES + 1, "nobody died, so nothing was told twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_survivor_takes_over() {
    const BATCHES: usize = 6;
    let database = TestDatabase::create().await;
    let slack = FakeSlack::start().await;
    let (one_folder, two_folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let config = storm::config(BATCHES);
    let start = |folder| storm::launch(folder, &config, &slack).env("DATABASE_URL", database.url()).start();
    let (mut one, mut two) = tokio::join!(start(one_folder.path()), start(two_folder.path()));
    // Whoever wants to tell now, waits: messages are under way in the first process, and others queue behind them.
    slack.otherwise(Behaviour::Hang);
    for n in 0..BATCHES {
        storm::deliver(&one.url(), n).await;
    }
    slack.wait_for_requests(4).await;
    one.kill9().await;
    let died_at = Instant::now();
    slack.otherwise(Behaviour::Ok);
    // What the survivor has under way goes on; what the dead one had, nobody answers for.
    slack.release();
    storm::all_told(&slack, BATCHES).await;
    assert!(died_at.elapsed() < TAKE_OVER_MAX, "taken over after {:?}", died_at.elapsed());
    assert!(two.sigterm().await.success(), "{}", two.stderr());
    let messages = slack.messages();
    storm::nothing_repeated(&messages, BATCHES);
    assert!(
        messages.iter().any(|message| message.visible_text().contains("Possible duplicate")),
        "the dead one had some under way"
    );
}
