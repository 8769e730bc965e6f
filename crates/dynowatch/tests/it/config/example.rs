//! `dynowatch.example.toml` and `docs/configuration.md`, held against the keys and variables that are read.

use dynowatch::config::{VARIABLES, known_keys};
use dynowatch_domain::rule::{GroupBy, Origin, Severity};
use dynowatch_domain::signal::Kind;

use super::*;

fn read(path: &str) -> String {
    std::fs::read_to_string(from_root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn example() -> String {
    read("dynowatch.example.toml")
}

/// The example with every setting that it shows as a comment switched on.
fn whole_example() -> String {
    let uncommented = |line: &str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => setting.to_owned(),
        _ => line.to_owned(),
    };
    lines(example().lines().map(uncommented))
}

#[test]
fn the_example_is_a_good_file() {
    let config = good(&example());
    let own: Vec<&str> =
        config.rules.iter().filter(|rule| rule.origin == Origin::File).map(|rule| rule.name.as_str()).collect();
    assert_eq!(own, ["h12", "worker-timeout"]);
    assert_eq!(config.receivers.len(), 1);
}

#[test]
fn the_example_is_good_with_everything_uncommented() {
    let config = good(&whole_example());
    assert_eq!(config.rules.iter().filter(|rule| rule.origin == Origin::File).count(), 9);
    let kinds: Vec<&str> = config.checks.checks.iter().map(|check| check.kind.name()).collect();
    assert_eq!(
        kinds,
        ["web", "web", "web", "redis", "postgres", "tcp", "tls", "dns", "heartbeat", "heartbeat", "heroku"]
    );
    assert_eq!((config.checks.windows.len(), config.checks.controls.len()), (3, 2));
    assert_eq!((config.receivers.len(), config.rules[0].receivers.as_slice()), (5, ["operator".to_owned()].as_slice()));
}

#[test]
fn the_example_shows_the_defaults_that_hold() {
    // `public_url`, `environment` and `[defaults] receivers` have none, and the rest of the example's comments are examples.
    let values = |text: &str| -> Vec<String> {
        let config = good_in(text, &[]);
        config
            .provenance()
            .iter()
            .filter(|s| !["server.public_url", "server.environment"].contains(&s.key))
            .map(|s| format!("{} {}", s.key, s.value))
            .collect()
    };
    assert_eq!(values(&whole_example()), values(""));
}

#[test]
fn the_example_holds_the_runbooks_rules_as_they_are() {
    let runbook = include_str!("runbook.toml");
    let rules = runbook.get(runbook.find("[[rules]]").expect("rules")..).expect("rules");
    assert!(example().contains(rules));
}

/// Whether a line of TOML sets the key, in a table of its own or in one between braces.
fn sets(text: &str, key: &str) -> bool {
    text.lines().any(|line| {
        line.match_indices(&format!("{key} = "))
            .any(|(at, _)| line[..at].is_empty() || line[..at].ends_with(['{', ' ', ',']))
            || line.starts_with(&format!("[{key}]"))
            || line.starts_with(&format!("[[{key}]]"))
            || line.starts_with(&format!("[rule_pack.{key}."))
    })
}

#[test]
fn the_example_shows_every_key() {
    let text = whole_example();
    let missing: Vec<String> =
        known_keys().filter(|(_, key)| !sets(&text, key)).map(|(table, key)| format!("{table}.{key}")).collect();
    assert!(missing.is_empty(), "dynowatch.example.toml does not show: {missing:?}");
}

#[test]
fn the_manual_has_every_key_under_its_table() {
    let text = read("docs/configuration.md");
    let missing: Vec<String> = known_keys()
        .filter(|(table, key)| !text.contains(&format!("\n| `{table}.{key}` |")))
        .map(|(table, key)| format!("{table}.{key}"))
        .collect();
    assert!(missing.is_empty(), "docs/configuration.md has no row for: {missing:?}");
}

#[test]
fn the_manual_has_every_variable_and_every_word() {
    let text = read("docs/configuration.md");
    let words = Kind::ALL.iter().map(|kind| kind.as_str());
    let words = words.chain(GroupBy::ALL.iter().map(|by| by.as_str()));
    let words = words.chain(Severity::ALL.iter().map(|severity| severity.as_str()));
    let variables = VARIABLES.iter().map(|variable| variable.name);
    let missing: Vec<&str> = words.chain(variables).filter(|word| !text.contains(&format!("`{word}`"))).collect();
    assert!(missing.is_empty(), "docs/configuration.md does not name: {missing:?}");
}

#[test]
fn the_manuals_examples_are_good() {
    let text = read("docs/configuration.md");
    let blocks: Vec<&str> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect();
    assert!(blocks.len() >= 4, "the examples are gone");
    // They name one receiver and do not always bring it.
    let receiver = "\n[[receivers]]\nname = \"operator\"\nlog = {}\n";
    for block in blocks {
        let brings = block.contains("[[receivers]]");
        good(&format!("{block}{}", if brings { "" } else { receiver }));
    }
}
