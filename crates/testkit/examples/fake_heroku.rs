//! The fake Heroku as a program, for the console's browser specs: an account with an app of each kind. It prints its address
//! and its key in one line, and ends with its standard input; with an error if what it was asked did not fit Heroku's schema.
//! The only argument is the present, as in `2026-05-07T08:06:12Z`: releases lie before it.

#![expect(clippy::expect_used, clippy::print_stdout, reason = "test code: it prints where it is, and breaks loudly")]

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_testkit::heroku::{Account, FakeDyno, FakeHeroku, FakeProcess, KEY};
use tokio::io::AsyncReadExt as _;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let now = std::env::args().nth(1).expect("the present as argument");
    let now = Timestamp::parse(&now).expect("a time in RFC 3339");
    let fake = FakeHeroku::start().await;
    fake.account(|account| fill(account, now));
    println!("{} {KEY}", fake.url());
    // Whoever started it holds the other end.
    let _ended = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}

fn fill(account: &mut Account, now: Timestamp) {
    let ago = |minutes: u64| (now - Duration::from_secs(minutes * 60)).to_string();
    account.create("shop");
    account.add_on("shop", "heroku-postgresql", "heroku-postgresql:standard-0", "DATABASE_URL");
    account.add_on("shop", "heroku-redis", "heroku-redis:premium-0", "REDIS_URL");
    account.release(
        "shop",
        "Deploy 0a1b2c3d",
        "ada@example.com",
        &ago(95),
        Some("0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"),
    );
    account.release("shop", "Set LOG_LEVEL, CHECKOUT_TIMEOUT config vars", "bo@example.com", &ago(40), None);
    account.release(
        "shop",
        "Deploy 9f8e7d6c",
        "cleo@example.com",
        &ago(12),
        Some("9f8e7d6c5b4a39281706f5e4d3c2b1a098765432"),
    );
    let dynos: Vec<_> = ["web.2", "worker.1"].map(|name| (account.id(), name.to_owned())).into();
    let shop = account.app("shop");
    shop.team = Some("storefront");
    shop.formation[0].quantity = 2;
    shop.formation.push(FakeProcess { kind: "worker", quantity: 1, size: "Standard-2X", command: "bin/worker" });
    shop.dynos[0].release = 3;
    shop.dynos.extend(dynos.into_iter().map(|(id, name)| FakeDyno {
        id,
        name,
        state: "up",
        size: "Standard-1X",
        release: 3,
    }));
    account.create("blog");
    account.add_drain("blog", "https://logs.example.com/somewhere-else");
    account.create("newsletter");
    account.app("newsletter").maintenance = true;
    account.create("search-on-fir");
    account.app("search-on-fir").generation = Some("fir");
}
