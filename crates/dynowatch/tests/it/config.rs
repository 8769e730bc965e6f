//! The configuration: bad files beside the errors they must give, good ones beside what they resolve to, and the
//! example and the manual held against the keys that are read.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dynowatch::config::{self, Config, MapEnv};

mod bad;
mod checks;
mod example;
mod good;

/// Enough of an environment for every receiver of these tests.
const ENV: [(&str, &str); 9] = [
    ("HEROKU_LOG_DRAIN_HMAC_SECRET", "0123456789abcdef0123456789abcdef"),
    ("SLACK_BOT_TOKEN", "xoxb-0-test"),
    ("HOOK_URL", "https://user:password@example.com/hook"),
    ("HOOK_SECRET", "a-secret-of-some-length"),
    ("SECOND_SLACK_BOT_TOKEN", "xoxb-1-test"),
    ("REMOTE_WRITE_PASSWORD", "0-password-of-remote-write"),
    ("SHOP_AUTHORIZATION", "Bearer a-token-of-the-shop"),
    ("SHOP_DATABASE_URL", "postgres://shop:hunter2%40@db.example.com/shop"),
    ("SHOP_BODY", "{\"password\": \"hunter2\"}"),
];

/// The environment of these tests with some values in place of its own.
fn env(changes: &[(&str, &str)]) -> MapEnv {
    let mut all = ENV.to_vec();
    all.extend(changes);
    all.as_slice().into()
}

fn good(text: &str) -> Config {
    good_in(text, &[])
}

fn good_in(text: &str, changes: &[(&str, &str)]) -> Config {
    config::parse("dynowatch.toml", text, &env(changes)).unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn from_root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Lines, each with an end.
fn lines<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    items.into_iter().fold(String::new(), |mut out, item| {
        writeln!(out, "{item}").expect("a String takes everything");
        out
    })
}
