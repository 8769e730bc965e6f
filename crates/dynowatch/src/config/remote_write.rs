//! `[remote_write]`: where metrics are written to, besides the store. Owns that there is one way to prove who we are, and
//! that no secret stands in the file.

use std::time::Duration;

use dynowatch_notify::remote_write::{Credentials, RemoteWriteSpec};
use secrecy::SecretString;

use super::keys;
use super::reader::{Node, Table, shortened};
use super::receivers::{named_secret, read_url};
use super::variables::Variables;

/// How often values are written without a word in the file.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(60);
const INTERVAL_MAX: Duration = Duration::from_secs(3_600);
/// The most labels that the file may add.
const LABELS_MAX: usize = 20;

/// What the file says of remote write.
#[derive(Debug, Clone)]
pub struct RemoteWriteConfig {
    /// Where to.
    pub spec: RemoteWriteSpec,
    /// How often.
    pub interval: Duration,
    /// Labels of every series.
    pub labels: Vec<(String, String)>,
}

/// Reads the table; `None` when there is none, or when it cannot be used.
pub(super) fn read(root: &Table<'_>, variables: &Variables<'_>) -> Option<RemoteWriteConfig> {
    let table = root.table("remote_write", keys::REMOTE_WRITE)?;
    let wanted = "a URL such as \"https://prometheus.example.com/api/v1/write\"";
    let missing = "missing: write the whole address, as in url = \"https://prometheus.example.com/api/v1/write\"";
    let url = read_url(&table, variables, wanted, missing);
    let credentials = credentials(&table, variables);
    let interval = table.get("interval").map_or(Some(INTERVAL_DEFAULT), |node| read_interval(&node));
    let labels = table.get("labels").map_or(Some(Vec::new()), |node| read_labels(&node));
    let spec = RemoteWriteSpec { url: SecretString::from(url?), credentials: credentials? };
    Some(RemoteWriteConfig { spec, interval: interval?, labels: labels? })
}

fn credentials(table: &Table<'_>, variables: &Variables<'_>) -> Option<Credentials> {
    match (table.get("username"), table.get("password_env"), table.get("token_env")) {
        (None, None, None) => Some(Credentials::None),
        (None, None, Some(token)) => named_secret(&token, variables, "the bearer token").map(Credentials::Bearer),
        (Some(username), Some(password), None) => {
            let name = username.text("a user's name")?;
            if name.is_empty() || name.contains(':') || name.chars().any(char::is_control) {
                return username.fail("a user's name is not empty and holds no colon and no control character");
            }
            let password = named_secret(&password, variables, "the password")?;
            Some(Credentials::Basic { username: name.to_owned(), password })
        }
        (Some(_), None, _) => {
            table.fail("password_env", "missing: `username` needs the name of the variable that holds the password")
        }
        (None, Some(_), _) => table.fail("username", "missing: `password_env` is the password of a user"),
        (Some(_), Some(_), Some(token)) => {
            token.fail("`username` stands here already: keep one way to prove who you are")
        }
    }
}

fn read_interval(node: &Node<'_>) -> Option<Duration> {
    let interval = node.duration()?;
    let tens = interval.as_millis() % 10_000 == 0 && !interval.is_zero();
    if tens && interval <= INTERVAL_MAX {
        return Some(interval);
    }
    node.fail("values are kept for ten seconds each: write a multiple of \"10s\", at most \"1h\"")
}

fn read_labels(node: &Node<'_>) -> Option<Vec<(String, String)>> {
    let wanted = "a table such as { environment = \"production\" }";
    let entries = node.any_table(wanted)?.entries();
    if entries.len() > LABELS_MAX {
        return node.fail(format!("{} labels are too many: at most {LABELS_MAX}", entries.len()));
    }
    let mut labels = Vec::with_capacity(entries.len());
    for (name, node) in entries {
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && name.len() <= 100;
        if !plain || name.is_empty() || name.starts_with("__") || name.starts_with(|c: char| c.is_ascii_digit()) {
            node.fail::<()>(format!(
                "{:?} is not the name of a label: write letters, digits and _, with neither a digit nor __ at the beginning",
                shortened(name)
            ));
        } else if let Some(value) = node.text("a text such as \"production\"") {
            if value.is_empty() || value.len() > 200 || value.chars().any(char::is_control) {
                node.fail::<()>("a label's value is 1 to 200 bytes long, without control characters");
            }
            labels.push((name.to_owned(), value.to_owned()));
        }
    }
    Some(labels)
}
