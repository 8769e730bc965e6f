//! What the manuals tell people to type, and the files they deploy with, against the program as it is.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dynowatch_testkit::process::Launch;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every page that people read, but the one that is made from the program's own help.
fn pages() -> Vec<String> {
    let names = std::fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    let docs = names.map(|name| format!("docs/{}", name.to_string_lossy())).filter(|name| name.ends_with(".md"));
    let others = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned);
    docs.filter(|name| name != "docs/cli.md").chain(others).collect()
}

/// The arguments of every `dynowatch …` on a page, in code blocks for a shell and between backticks.
fn commands(page: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut fence: Option<bool> = None;
    for line in page.lines() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            fence = if fence.is_some() { None } else { Some(kind == "sh") };
            continue;
        }
        match fence {
            Some(true) => found.extend(arguments(line)),
            Some(false) => {}
            None => found.extend(line.split('`').skip(1).step_by(2).filter_map(arguments)),
        }
    }
    found
}

/// What stands behind the program's name, where it is the command.
fn arguments(line: &str) -> Option<Vec<String>> {
    let words = words(line);
    let at = words.iter().position(|word| word == "dynowatch" || word == "target/release/dynowatch")?;
    let before = words.get(..at)?.join(" ");
    let is_command = before.is_empty()
        || before.starts_with("heroku run") && before.ends_with("--")
        || before == "docker exec dynowatch";
    is_command.then(|| words.get(at + 1..).unwrap_or_default().to_vec())
}

/// A shell's words, up to a comment, a pipe or a redirection.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in line.chars() {
        match (c, quote) {
            ('"' | '\'', None) => (quote, word) = (Some(c), Some(word.unwrap_or_default())),
            (c, Some(open)) if c == open => quote = None,
            (' ', None) => words.extend(word.take()),
            ('#' | '|' | '>', None) if word.is_none() => return words,
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[tokio::test]
async fn every_command_of_the_manuals_is_one() {
    let mut commands: BTreeSet<Vec<String>> = pages().iter().flat_map(|page| self::commands(&read(page))).collect();
    // The name alone is the program, not a command.
    commands.retain(|arguments| !arguments.is_empty());
    assert!(commands.len() > 20, "{commands:?}");
    for arguments in commands {
        // With the help asked for, nothing runs; what stands before it is read all the same.
        let done = Launch::new(env!("CARGO_BIN_EXE_dynowatch")).args(&arguments).arg("--help").run().await;
        assert_eq!(done.code(), 0, "dynowatch {}: {}", arguments.join(" "), done.stderr);
    }
}

/// The name that commands on Heroku begin with is a process of the Procfile, and what it and `web` start is what is built.
#[test]
fn the_procfile_starts_what_is_built() {
    let procfile = read("Procfile");
    let processes: Vec<(&str, &str)> = procfile.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(processes, [("web", "./target/release/dynowatch serve"), ("dynowatch", "./target/release/dynowatch")]);
}

/// A button that sets what the program reads, under its names, and brings the Postgres without which it refuses.
#[test]
fn the_button_sets_what_is_read() {
    let app: serde_json::Value = serde_json::from_str(&read("app.json")).unwrap();
    let manual = read("docs/configuration.md");
    for name in app["env"].as_object().unwrap().keys() {
        assert!(manual.contains(&format!("`{name}`")), "{name} is no variable of docs/configuration.md");
    }
    let addons = app["addons"].to_string();
    assert!(addons.contains("heroku-postgresql"), "{addons}");
}

/// One version of Rust everywhere, and time enough to stop.
#[test]
fn the_image_and_the_unit_fit_the_program() {
    let (image, toolchain, unit) = (read("Dockerfile"), read("rust-toolchain.toml"), read("deploy/dynowatch.service"));
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(image.contains(&format!("FROM rust:{channel}-")), "{channel}");
    assert!(image.contains(&format!("RUSTUP_TOOLCHAIN={channel}")), "{channel}");
    let seconds = unit.lines().find_map(|line| line.strip_prefix("TimeoutStopSec=")).unwrap();
    assert!(seconds.parse::<u32>().unwrap() > 10, "{seconds}");
    assert!(unit.contains("ExecStart=/usr/local/bin/dynowatch serve --config /etc/dynowatch/dynowatch.toml"));
}
