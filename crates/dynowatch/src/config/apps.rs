//! `[[apps]]`: apps by name, with the drain tokens that are theirs. Apps that are not here are adopted when a valid
//! delivery comes from them, so this list is for names and for order, not a gate.

use std::collections::BTreeMap;

use super::keys;
use super::reader::{Node, Table, shortened};
use super::rule::read_name;

/// The longest drain token; Logplex's have 38 bytes.
const DRAIN_TOKEN_BYTES_MAX: usize = 128;
/// The most drains of one app.
const DRAIN_TOKENS_MAX: usize = 50;

/// An app that the file names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppConfig {
    /// Unique, 1 to 100 bytes of `a-z 0-9 - _ .`.
    pub name: String,
    /// Values of `Logplex-Drain-Token` that mean this app; none for an app that is drained by its name.
    pub drain_tokens: Vec<String>,
}

/// Reads every app; `apps_max` is `[limits] apps`.
pub(super) fn read(root: &Table<'_>, apps_max: usize) -> Vec<AppConfig> {
    let tables = root.tables("apps", keys::APP);
    if tables.len() > apps_max {
        root.fail::<()>(
            "apps",
            format!("{} apps are over the limit of {apps_max}: raise `apps` under [limits]", tables.len()),
        );
    }
    let (mut names, mut tokens) = (BTreeMap::new(), BTreeMap::new());
    let mut apps = Vec::with_capacity(tables.len());
    for table in &tables {
        let name = read_name(table, &mut names, "app");
        let drain_tokens = table.get("drain_tokens").map(|node| read_tokens(&node, &mut tokens)).unwrap_or_default();
        apps.extend(name.map(|name| AppConfig { name: name.to_owned(), drain_tokens }));
    }
    apps
}

fn read_tokens<'a>(node: &Node<'a>, seen: &mut BTreeMap<&'a str, u32>) -> Vec<String> {
    let items =
        node.list("a list of drain tokens, as in [\"d.01234567-89ab-4cde-8f01-23456789abcd\"]").unwrap_or_default();
    if items.len() > DRAIN_TOKENS_MAX {
        node.fail::<()>(format!("{} drain tokens are too many for one app: at most {DRAIN_TOKENS_MAX}", items.len()));
    }
    items.iter().filter_map(|item| read_token(item, seen)).collect()
}

fn read_token<'a>(node: &Node<'a>, seen: &mut BTreeMap<&'a str, u32>) -> Option<String> {
    let token = node.text("a drain token, as in \"d.01234567-89ab-4cde-8f01-23456789abcd\"")?;
    if token.is_empty() || token.len() > DRAIN_TOKEN_BYTES_MAX || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return node.fail(format!(
            "{:?} is not a drain token: write what `heroku drains` prints in parentheses, as in \"d.01234567-89ab-4cde-8f01-23456789abcd\"",
            shortened(token)
        ));
    }
    if let Some(line) = seen.get(token) {
        return node.fail(format!("{token:?} stands in line {line} already: a drain belongs to one app"));
    }
    seen.insert(token, node.line());
    if !looks_like_logplex(token) {
        node.warn(format!("{token:?} does not look like a token of Logplex, which is d. and a UUID"));
    }
    Some(token.to_owned())
}

fn looks_like_logplex(token: &str) -> bool {
    token.strip_prefix("d.").is_some_and(|id| id.len() == 36 && uuid::Uuid::try_parse(id).is_ok())
}
