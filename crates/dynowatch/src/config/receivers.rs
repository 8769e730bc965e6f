//! `[[receivers]]`: where messages go. Owns which kinds there are and that no secret stands in the file: keys ending
//! in `_env` name the environment variable that holds one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use dynowatch_notify::{ReceiverKind, ReceiverSpec};
use secrecy::SecretString;

use super::env;
use super::keys;
use super::names::is_variable_name;
use super::reader::{Node, Table, shortened};
use super::rule::read_name;
use super::urls;
use super::variables::Variables;

/// The most receivers of one instance.
const RECEIVERS_MAX: usize = 1_000;
const KINDS_WANTED: &str = "slack = { channel = \"C0123456789\" }, webhook = { url = \"https://…\" } or log = {}";

/// What the file says of receivers.
pub(super) struct Receivers<'a> {
    /// Those that can be used.
    pub(super) specs: Vec<ReceiverSpec>,
    /// The names of all, the spoiled ones too, so that one error is not reported as many.
    pub(super) names: Vec<&'a str>,
}

/// Reads every receiver. `slack_api_url` is where Slack is.
pub(super) fn read<'a>(root: &Table<'a>, variables: &Variables<'_>, slack_api_url: &str) -> Receivers<'a> {
    let tables = root.tables("receivers", keys::RECEIVER);
    if tables.len() > RECEIVERS_MAX {
        root.fail::<()>("receivers", format!("{} receivers are too many: at most {RECEIVERS_MAX}", tables.len()));
    }
    let mut lines = BTreeMap::new();
    let (mut specs, mut names) = (Vec::new(), Vec::new());
    for table in &tables {
        let name = read_name(table, &mut lines, "receiver");
        let kind = read_kind(table, variables, slack_api_url);
        names.extend(name);
        if let (Some(name), Some(kind)) = (name, kind) {
            specs.push(ReceiverSpec { name: name.to_owned(), kind });
        }
    }
    Receivers { specs, names }
}

fn read_kind(table: &Table<'_>, variables: &Variables<'_>, slack_api_url: &str) -> Option<ReceiverKind> {
    let written: Vec<(&str, Node<'_>)> =
        ["slack", "webhook", "log"].into_iter().filter_map(|kind| Some((kind, table.get(kind)?))).collect();
    match written.as_slice() {
        [] => table.fail("", format!("a receiver without a kind reaches nobody: write {KINDS_WANTED}")),
        [(kind, node)] => match *kind {
            "slack" => read_slack(node, variables, slack_api_url),
            "webhook" => read_webhook(node, variables),
            _ => read_log(node),
        },
        [(first, at), (second, node), ..] => node.fail(format!(
            "a receiver has one kind, and line {} has {first} already: write a receiver of its own for {second}",
            at.line()
        )),
    }
}

fn read_slack(node: &Node<'_>, variables: &Variables<'_>, api_url: &str) -> Option<ReceiverKind> {
    let table = node.table(keys::SLACK, "a table such as { channel = \"C0123456789\" }")?;
    let channel = match table.get("channel") {
        Some(node) => read_channel(&node),
        None => table.fail("channel", "missing: write a channel's or a person's id, as in channel = \"C0123456789\""),
    };
    let token = match table.get("token_env") {
        Some(node) => named_secret(&node, variables, "the bot token of your Slack app, as in xoxb-…"),
        None => variables.needed_secret(
            env::SLACK_TOKEN,
            &|problem| table.fail("token_env", problem),
            "the bot token of your Slack app, as in xoxb-…",
        ),
    };
    Some(ReceiverKind::Slack { channel: channel?, token: token?, api_url: api_url.to_owned() })
}

fn read_channel(node: &Node<'_>) -> Option<String> {
    let text = node.text("a channel's or a person's id, as in \"C0123456789\"")?;
    let id = text.len() <= 40
        && text.starts_with(['C', 'D', 'G', 'U', 'W'])
        && text.len() > 1
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if id {
        return Some(text.to_owned());
    }
    node.fail(format!(
        "{:?} is not a Slack id: write the one at the end of the channel's details, as in \"C0123456789\" (a channel) or \"D0123456789\" (a direct message)",
        shortened(text)
    ))
}

fn read_webhook(node: &Node<'_>, variables: &Variables<'_>) -> Option<ReceiverKind> {
    let table = node.table(keys::WEBHOOK, "a table such as { url = \"https://example.com/hook\" }")?;
    let missing = "missing: write where to post, as in url = \"https://example.com/hook\", or url_env = \"HOOK_URL\"";
    let url = read_url(&table, variables, "a URL such as \"https://example.com/hook\"", missing);
    let secret = match table.get("secret_env") {
        Some(node) => Some(named_secret(&node, variables, "the secret that messages are signed with")?),
        None => {
            node.warn("no secret_env: messages are not signed, so their reader cannot tell who sent them");
            None
        }
    };
    Some(ReceiverKind::Webhook { url: url?, secret })
}

/// The URL of a table, which stands there or in an environment variable that is named there. `wanted` says what would be
/// right where it is no text, `missing` where there is none.
pub(super) fn read_url(
    table: &Table<'_>,
    variables: &Variables<'_>,
    wanted: &str,
    missing: &'static str,
) -> Option<String> {
    match (table.get("url"), table.get("url_env")) {
        (Some(_), Some(by_name)) => by_name.fail("`url` stands here already: keep one of the two"),
        (Some(node), None) => {
            let text = node.text(wanted)?;
            match urls::http_problem(text).or_else(|| dynowatch_notify::refused(text)) {
                None => Some(text.to_owned()),
                Some(problem) => node.fail(problem),
            }
        }
        (None, Some(node)) => read_url_by_name(&node, variables),
        (None, None) => table.fail("url", missing),
    }
}

/// A URL that holds a credential is a secret as a whole, and is judged without being shown.
fn read_url_by_name(node: &Node<'_>, variables: &Variables<'_>) -> Option<String> {
    let name = variable_name(node)?;
    match variables.secret_url(name) {
        Some(url) if dynowatch_notify::refused(&url).is_some() => node.fail(format!(
            "the environment variable {name} leads to a link-local address or a metadata service; nothing is ever sent there"
        )),
        Some(url) if urls::is_http(&url) => Some(url),
        Some(_) => node.fail(format!("the environment variable {name} does not hold an http:// or https:// URL")),
        None => variables.missing(name, &|problem| node.fail(problem), "the URL to post to").map(|()| String::new()),
    }
}

fn read_log(node: &Node<'_>) -> Option<ReceiverKind> {
    let table = node.table(keys::LOG, "a table such as {} or { path = \"alerts.log\" }")?;
    let Some(node) = table.get("path") else {
        return Some(ReceiverKind::Log { path: None });
    };
    match node.text("a path such as \"alerts.log\"")? {
        path if path.is_empty() || path.contains('\0') => node.fail("an empty path names no file"),
        path => Some(ReceiverKind::Log { path: Some(PathBuf::from(path)) }),
    }
}

pub(super) fn named_secret(node: &Node<'_>, variables: &Variables<'_>, what: &str) -> Option<SecretString> {
    variables.needed_secret(variable_name(node)?, &|problem| node.fail(problem), what)
}

/// The name of a variable. What is none is not shown: it may be the secret itself.
pub(super) fn variable_name<'a>(node: &Node<'a>) -> Option<&'a str> {
    match node.text("the name of an environment variable, as in \"SLACK_BOT_TOKEN\"")? {
        name if is_variable_name(name) => Some(name),
        _ => node.fail(
            "this is not the name of an environment variable (it is not shown, since it may be a secret): put the secret into a variable and write the variable's name, as in \"SLACK_BOT_TOKEN\"",
        ),
    }
}
