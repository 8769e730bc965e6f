//! The single values of an instance, each from the environment, the file or a default, in that order, and a record of
//! which it was. Owns that order and the limits of the values.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use dynowatch_heroku::API_URL as HEROKU_API_URL;
use dynowatch_notify::SLACK_API_URL;
use secrecy::SecretString;
use serde::Serialize;

use super::env;
use super::keys;
use super::names::is_name;
use super::reader::{Node, Table, shortened};
use super::urls::{self, DatabaseUrl};
use super::variables::Variables;

/// `drain.body_bytes_max` without a file. Logplex posts at most about 1 MiB.
pub const BODY_BYTES_MAX_DEFAULT: u64 = 8 << 20;
/// `store.metrics_bytes_max` without a file.
pub const METRICS_BYTES_MAX_DEFAULT: u64 = 512 << 20;
/// The longest name of an environment: it stands in a narrow banner.
const ENVIRONMENT_BYTES_MAX: usize = 32;
const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const DATABASE_URL_DEFAULT: &str = "sqlite://dynowatch.db";

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Provenance {
    /// Nobody said anything.
    Default,
    /// The configuration file.
    File {
        /// As named on the command line.
        file: String,
        /// From 1.
        line: u32,
    },
    /// The environment variable of that name.
    Variable(String),
}

impl fmt::Display for Provenance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Variable(name) => write!(f, "environment: {name}"),
        }
    }
}

/// One value with its origin, for `config check`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The key in the file, or the variable's name for what cannot stand in a file.
    pub key: &'static str,
    /// The value; `set` or `unset` for secrets.
    pub value: String,
    /// Where it came from.
    pub from: Provenance,
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} = {} ({})", self.key, self.value, self.from)
    }
}

/// What the drain endpoint needs.
#[derive(Debug, Clone)]
pub struct DrainConfig {
    /// Off: every delivery is answered 501.
    pub enabled: bool,
    /// Secrets that drain URLs are signed with, newest first. None: every delivery is answered 501.
    pub secrets: Vec<SecretString>,
    /// Longer bodies are answered 413.
    pub body_bytes_max: u64,
}

/// Bounds on what grows with what comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Apps, adopted ones among them. Deliveries of further ones are counted under the app `other`.
    pub apps: usize,
    /// Groups of one rule over all apps. Further ones are counted together in the group `other`.
    pub groups_per_rule: usize,
    /// Deliveries that are worked on at once. Further ones wait, then are answered 503.
    pub drain_requests: usize,
    /// Requests to the API with one token in a minute. Further ones are answered 429.
    pub api_token_requests_per_min: usize,
    /// Requests to the API from one address in a minute, likewise.
    pub api_address_requests_per_min: usize,
}

/// The Heroku account.
#[derive(Debug, Clone)]
pub struct HerokuConfig {
    /// Its token; without one, nothing is asked of Heroku.
    pub api_key: Option<SecretString>,
    /// Where the Platform API is.
    pub api_url: String,
}

/// All single values.
pub(super) struct Settings {
    pub(super) listen: SocketAddr,
    pub(super) public_url: Option<String>,
    pub(super) environment: Option<String>,
    pub(super) database_url: DatabaseUrl,
    pub(super) metrics_bytes_max: u64,
    pub(super) drain: DrainConfig,
    pub(super) limits: Limits,
    pub(super) slack_api_url: String,
    pub(super) heroku: HerokuConfig,
    pub(super) api_tokens: Vec<SecretString>,
    pub(super) on_dyno: bool,
    pub(super) list: Vec<Setting>,
}

impl Settings {
    /// Reads `[server]`, `[store]`, `[drain]`, `[limits]` and the variables. A bad value leaves its default behind; it
    /// is never used, since the error ends the start.
    pub(super) fn read(root: &Table<'_>, variables: &Variables<'_>) -> Option<Self> {
        let mut picker = Picker { variables, file: root.report.file().to_owned(), list: Vec::new() };
        let Server { listen, public_url, environment } = server(root, &mut picker);
        let (database_url, metrics_bytes_max) = store(root, &mut picker);
        let drain = drain(root, &mut picker);
        let limits = limits(root, &mut picker);
        let slack_api_url = picker.pick(
            env::SLACK_API,
            variables.read(env::SLACK_API, urls::base),
            Some(env::SLACK_API),
            None,
            SLACK_API_URL.to_owned(),
        );
        let heroku = heroku(&mut picker);
        let api_tokens = picker.secrets(env::API_TOKEN);
        for name in [env::SECRET_KEY, env::OIDC_SECRET] {
            picker.variable(name, variables.value(name).map(|_| "set".to_owned()));
        }
        let dyno = variables.value(env::DYNO);
        picker.variable(env::DYNO, dyno.clone().map(|name| shortened(&name)));
        picker.variable(env::SLACK_TOKEN, variables.value(env::SLACK_TOKEN).map(|_| "set".to_owned()));
        Some(Self {
            listen,
            public_url,
            environment,
            database_url: database_url?,
            metrics_bytes_max,
            drain,
            limits,
            slack_api_url,
            heroku,
            api_tokens,
            on_dyno: dyno.is_some(),
            list: picker.list,
        })
    }
}

/// Chooses between environment, file and default, and writes down which it was.
struct Picker<'a> {
    variables: &'a Variables<'a>,
    file: String,
    list: Vec<Setting>,
}

impl Picker<'_> {
    fn pick<T: fmt::Display>(
        &mut self,
        key: &'static str,
        from_env: Option<T>,
        variable: Option<&str>,
        from_file: Option<(T, u32)>,
        default: T,
    ) -> T {
        let (value, from) = match (from_env, from_file) {
            (Some(value), _) => (value, Provenance::Variable(variable.unwrap_or(key).to_owned())),
            (None, Some((value, line))) => (value, Provenance::File { file: self.file.clone(), line }),
            (None, None) => (default, Provenance::Default),
        };
        self.list.push(Setting { key, value: value.to_string(), from });
        value
    }

    /// A number that only the file sets.
    fn number(
        &mut self,
        table: Option<&Table<'_>>,
        key: &'static str,
        range: std::ops::RangeInclusive<u64>,
        unit: &str,
        default: u64,
    ) -> u64 {
        let name = key.rsplit('.').next().unwrap_or(key);
        let from_file = at_line(table, name, |node| node.number(range, unit));
        self.pick(key, None, None, from_file, default)
    }

    fn secrets(&mut self, name: &'static str) -> Vec<SecretString> {
        let secrets = self.variables.secrets(name);
        self.variable(name, (!secrets.is_empty()).then(|| format!("set ({})", secrets.len())));
        secrets
    }

    /// Writes down a value that only the environment has.
    fn variable(&mut self, name: &'static str, value: Option<String>) {
        let from = if value.is_some() { Provenance::Variable(name.to_owned()) } else { Provenance::Default };
        self.list.push(Setting { key: name, value: value.unwrap_or_else(|| "unset".to_owned()), from });
    }
}

/// The value under a key with its line.
fn at_line<'a, T>(table: Option<&Table<'a>>, key: &str, read: impl FnOnce(&Node<'a>) -> Option<T>) -> Option<(T, u32)> {
    let node = table?.get(key)?;
    let value = read(&node)?;
    Some((value, node.line()))
}

/// `[server]`.
struct Server {
    listen: SocketAddr,
    public_url: Option<String>,
    environment: Option<String>,
}

fn server(root: &Table<'_>, picker: &mut Picker<'_>) -> Server {
    let table = root.table("server", keys::SERVER);
    let port = picker.variables.read(env::PORT, |text| {
        text.parse::<u16>().map_err(|_| {
            format!("{:?} is not a port: write a number from 0 to 65535 (0 takes a free one)", shortened(text))
        })
    });
    let from_env = port.map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port));
    let from_file = at_line(table.as_ref(), "listen", |node| {
        let text = node.text("an address such as \"127.0.0.1:8080\"")?;
        match text.parse::<SocketAddr>() {
            Ok(address) => Some(address),
            Err(_) => node.fail(format!(
                "{:?} is not an address: write an IP address and a port, as in \"127.0.0.1:8080\" or \"[::]:8080\"",
                shortened(text)
            )),
        }
    });
    let listen = picker.pick("server.listen", from_env, Some(env::PORT), from_file, LISTEN_DEFAULT);
    let from_env = picker.variables.read(env::PUBLIC_URL, urls::base);
    let from_file = at_line(table.as_ref(), "public_url", |node| {
        match urls::base(node.text("a URL such as \"https://dynowatch.example.com\"")?) {
            Ok(url) => Some(url),
            Err(problem) => node.fail(problem),
        }
    });
    let none = "unset".to_owned();
    let public_url = picker.pick("server.public_url", from_env, Some(env::PUBLIC_URL), from_file, none.clone());
    let from_env = picker.variables.read(env::ENVIRONMENT_NAME, environment);
    let from_file =
        at_line(table.as_ref(), "environment", |node| match environment(node.text("a word such as \"production\"")?) {
            Ok(name) => Some(name),
            Err(problem) => node.fail(problem),
        });
    let named = picker.pick("server.environment", from_env, Some(env::ENVIRONMENT_NAME), from_file, none.clone());
    let set = |value: String| Some(value).filter(|value| *value != none);
    Server { listen, public_url: set(public_url), environment: set(named) }
}

fn environment(text: &str) -> Result<String, String> {
    if is_name(text) && text.len() <= ENVIRONMENT_BYTES_MAX {
        return Ok(text.to_owned());
    }
    Err(format!(
        "{:?} is not a name for an environment: write 1 to {ENVIRONMENT_BYTES_MAX} of a-z, 0-9, - _ and ., as in \"production\"",
        shortened(text)
    ))
}

fn store(root: &Table<'_>, picker: &mut Picker<'_>) -> (Option<DatabaseUrl>, u64) {
    let table = root.table("store", keys::STORE);
    let from_env = picker.variables.read(env::DATABASE_URL, DatabaseUrl::new);
    let from_file = at_line(table.as_ref(), "url", |node| {
        match DatabaseUrl::new(node.text("a URL such as \"sqlite:///var/lib/dynowatch/dynowatch.db\"")?) {
            Ok(url) if url.has_password() => node.fail(format!(
                "a password does not stand in the file (it is not shown): set the environment variable {} instead",
                env::DATABASE_URL
            )),
            Ok(url) => Some(url),
            Err(problem) => node.fail(problem),
        }
    });
    let url = DatabaseUrl::new(DATABASE_URL_DEFAULT)
        .ok()
        .map(|default| picker.pick("store.url", from_env, Some(env::DATABASE_URL), from_file, default));
    let range = 1 << 20..=1 << 50;
    (url, picker.number(table.as_ref(), "store.metrics_bytes_max", range, "bytes", METRICS_BYTES_MAX_DEFAULT))
}

fn drain(root: &Table<'_>, picker: &mut Picker<'_>) -> DrainConfig {
    let table = root.table("drain", keys::DRAIN);
    let from_file = at_line(table.as_ref(), "enabled", Node::flag);
    let flag = picker.variables.read(env::DRAIN_FLAG, read_flag);
    // Two switches in a row: the variable can only switch off, so that one set to true years ago opens nothing that
    // the file closes.
    let from_env = flag.filter(|on| !on);
    let enabled = picker.pick("drain.enabled", from_env, Some(env::DRAIN_FLAG), from_file, true);
    let body_bytes_max =
        picker.number(table.as_ref(), "drain.body_bytes_max", 1 << 16..=1 << 30, "bytes", BODY_BYTES_MAX_DEFAULT);
    DrainConfig { enabled, secrets: picker.secrets(env::DRAIN_SECRET), body_bytes_max }
}

fn heroku(picker: &mut Picker<'_>) -> HerokuConfig {
    let api_url = picker.pick(
        env::HEROKU_API,
        picker.variables.read(env::HEROKU_API, urls::base),
        Some(env::HEROKU_API),
        None,
        HEROKU_API_URL.to_owned(),
    );
    let api_key = picker.variables.read(env::HEROKU_KEY, |text| {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        let key = || SecretString::from(text);
        plain.then(key).ok_or_else(|| "a token holds no blank and only visible ASCII (it is not shown)".to_owned())
    });
    picker.variable(env::HEROKU_KEY, api_key.as_ref().map(|_| "set".to_owned()));
    HerokuConfig { api_key, api_url }
}

fn read_flag(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "false" | "0" | "off" | "no" | "f" | "n" => Ok(false),
        "true" | "1" | "on" | "yes" | "t" | "y" => Ok(true),
        _ => Err(format!(
            "{:?} is neither true nor false: write true, 1, on or yes, or false, 0, off or no",
            shortened(text)
        )),
    }
}

fn limits(root: &Table<'_>, picker: &mut Picker<'_>) -> Limits {
    let table = root.table("limits", keys::LIMITS);
    let mut number = |key, max, unit, default| {
        usize::try_from(picker.number(table.as_ref(), key, 1..=max, unit, default)).unwrap_or(usize::MAX)
    };
    Limits {
        apps: number("limits.apps", 100_000, "apps", 10_000),
        groups_per_rule: number("limits.groups_per_rule", 100_000, "groups", 1_000),
        drain_requests: number("limits.drain_requests", 100_000, "requests", 256),
        api_token_requests_per_min: number("limits.api_token_requests_per_min", 1_000_000, "requests", 600),
        api_address_requests_per_min: number("limits.api_address_requests_per_min", 1_000_000, "requests", 3_000),
    }
}
