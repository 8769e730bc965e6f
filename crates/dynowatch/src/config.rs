//! The configuration of an instance: one file that a team keeps in git, and the environment that holds its secrets.
//!
//! Owns the file's keys, the order of precedence (environment, file, default), and errors that say file, line, key,
//! value and what would be right, all of them at once. Reads no file but the one it is given, and no variable but
//! through [`Env`]. What a rule means is the domain's; what a receiver does is `notify`'s. `docs/configuration.md` is
//! the manual, `dynowatch.example.toml` the complete example; tests hold both against the keys read here.
//!
//! The way of a file: `toml` gives values with their places, `reader` gives types, one module per section gives
//! meaning, and [`Config`] holds what it all resolves to.

mod accounts;
mod apps;
mod check_kind;
mod checks;
mod env;
mod error;
mod keys;
mod maintenance;
mod names;
mod reader;
mod receivers;
mod remote_write;
mod rule;
mod rules;
mod settings;
mod threshold;
mod urls;
mod variables;

use std::io::Read;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dynowatch_domain::rule::Rule;
use dynowatch_domain::rule_pack;
use dynowatch_notify::ReceiverSpec;
use secrecy::SecretString;
use toml::de::DeTable;

pub use accounts::AccountsConfig;
pub use apps::AppConfig;
pub use checks::CheckConfig;
pub use env::{Env, MapEnv, RealEnv, VARIABLES, Variable};
pub use error::{ConfigError, ConfigErrors, ENVIRONMENT};
pub use keys::known_keys;
pub use remote_write::RemoteWriteConfig;
pub use settings::{
    BODY_BYTES_MAX_DEFAULT, DrainConfig, HerokuConfig, Limits, METRICS_BYTES_MAX_DEFAULT, Provenance, Setting,
};
pub use urls::DatabaseUrl;

use reader::{Report, Table};
use rule::{Context, Defaults};
use settings::Settings;
use variables::{MissingSecrets, Variables};

/// The largest configuration file.
pub const FILE_BYTES_MAX: u64 = 4 << 20;
/// The file that is read when none is named and it is there.
pub const FILE_DEFAULT: &str = "dynowatch.toml";

/// Everything an instance was told. Its `Debug` form shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, as it was named; `None` when there was none.
    pub file: Option<String>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where people reach this instance, without a trailing `/`. Without it messages hold no link.
    pub public_url: Option<String>,
    /// What this instance is to its team: `production`, `staging`, `demo`.
    pub environment: Option<String>,
    /// Where the store is.
    pub database_url: DatabaseUrl,
    /// The most bytes of metrics that are kept.
    pub metrics_bytes_max: u64,
    /// The drain endpoint.
    pub drain: DrainConfig,
    /// Bounds.
    pub limits: Limits,
    /// The Heroku account.
    pub heroku: HerokuConfig,
    /// Bearer tokens of the JSON API, besides those that the CLI created.
    pub api_tokens: Vec<SecretString>,
    /// Whether this process runs on a dyno, whose disk is emptied at every restart.
    pub on_dyno: bool,
    /// How people sign in.
    pub accounts: AccountsConfig,
    /// The apps that the file names.
    pub apps: Vec<AppConfig>,
    /// Where metrics are written to, besides the store.
    pub remote_write: Option<RemoteWriteConfig>,
    /// The receivers.
    pub receivers: Vec<ReceiverSpec>,
    /// The built-in rules as the file leaves them, then the file's own; receivers and defaults filled in, rules that
    /// are switched off among them. No two have one name.
    pub rules: Vec<Rule>,
    /// Checks, maintenance windows, and where checks may go.
    pub checks: CheckConfig,
    /// What is allowed but odd; one sentence each, to be printed by `config check` and at the start.
    pub warnings: Vec<String>,
    /// Every secret of the environment, for those who mask: drain secrets, tokens, keys, passwords in URLs.
    pub known_secrets: Vec<SecretString>,
    settings: Vec<Setting>,
    /// What it was read from, to be read again together with what was made in the console.
    pub source: Source,
}

/// A file's text and the environment beside it.
#[derive(Clone)]
pub struct Source {
    /// What errors call the file.
    pub name: String,
    /// Its text; empty when there was none.
    pub text: String,
    /// The environment.
    pub env: Arc<dyn Env + Send + Sync>,
}

/// The environment holds secrets, and the text is long.
impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Config {
    /// Every single value with its origin, in the order of the manual. Secrets are `set` or `unset`.
    #[must_use]
    pub fn provenance(&self) -> &[Setting] {
        &self.settings
    }

    /// Why `serve` must not start with this configuration, although all of it is well written. Empty when it may.
    #[must_use]
    pub fn serve_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.on_dyno && !self.database_url.is_postgres() {
            problems.push(format!(
                "this is a dyno ({} is set) and the store is {}: a dyno loses its files at every restart, at least once a \
                 day, and with them every alert, cool-down and undelivered message. Attach a database with \
                 `heroku addons:create heroku-postgresql:essential-0`, which sets {}, or run dynowatch elsewhere",
                env::DYNO,
                self.database_url,
                env::DATABASE_URL
            ));
        }
        problems
    }
}

/// The file to read: the one that was named, else that of `DYNOWATCH_CONFIG`, else [`FILE_DEFAULT`] when it is there.
#[must_use]
pub fn locate(named: Option<&Path>, env: &dyn Env) -> Option<PathBuf> {
    named
        .map(Path::to_owned)
        .or_else(|| env.get(env::CONFIG_FILE).filter(|path| !path.trim().is_empty()).map(PathBuf::from))
        .or_else(|| Some(PathBuf::from(FILE_DEFAULT)).filter(|path| path.is_file()))
}

/// Reads a file; without one, the defaults, the built-in rules and the environment.
///
/// # Errors
/// Everything that is wrong with the file or the environment, a missing secret of a receiver included.
pub fn load(path: Option<&Path>, env: &dyn Env) -> Result<Config, ConfigErrors> {
    let (name, text) = read_file(path)?;
    resolve(name.as_deref(), &text, env, MissingSecrets::Refuse)
}

/// As [`load`], for commands that send nothing (`replay`, `config check` without the secrets): a secret that is not
/// set is a warning, and an empty one stands in its place.
///
/// # Errors
/// As [`load`], missing secrets left aside.
pub fn load_offline(path: Option<&Path>, env: &dyn Env) -> Result<Config, ConfigErrors> {
    let (name, text) = read_file(path)?;
    resolve(name.as_deref(), &text, env, MissingSecrets::Accept)
}

/// Reads a file's text; `file_name` is what errors call it.
///
/// # Errors
/// As [`load`].
pub fn parse(file_name: &str, text: &str, env: &dyn Env) -> Result<Config, ConfigErrors> {
    resolve(Some(file_name), text, env, MissingSecrets::Refuse)
}

/// As [`parse`], for commands that send nothing; see [`load_offline`].
///
/// # Errors
/// As [`load_offline`].
pub fn parse_offline(file_name: &str, text: &str, env: &dyn Env) -> Result<Config, ConfigErrors> {
    resolve(Some(file_name), text, env, MissingSecrets::Accept)
}

fn read_file(path: Option<&Path>) -> Result<(Option<String>, String), ConfigErrors> {
    let Some(path) = path else {
        return Ok((None, String::new()));
    };
    let name = path.display().to_string();
    let fail = |problem: String| {
        ConfigErrors::new(vec![ConfigError {
            file: name.clone(),
            line: None,
            column: None,
            key: String::new(),
            problem,
        }])
    };
    let file = std::fs::File::open(path).map_err(|error| fail(format!("cannot be opened: {error}")))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(|error| fail(format!("cannot be read: {error}")))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let line = error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|&&b| b == b'\n').count() + 1;
        fail(format!("line {line} is not UTF-8: save the file in that encoding"))
    })?;
    Ok((Some(name), text))
}

fn resolve(name: Option<&str>, text: &str, env: &dyn Env, missing: MissingSecrets) -> Result<Config, ConfigErrors> {
    let file = name.unwrap_or(FILE_DEFAULT);
    let report = Report::new(file, text);
    if text.len() as u64 > FILE_BYTES_MAX {
        report.error(0, "", &format!("a configuration has at most {FILE_BYTES_MAX} bytes"));
        return Err(ConfigErrors::new(report.into_parts().0));
    }
    let (document, syntax) = DeTable::parse_recoverable(text);
    for error in &syntax {
        let span = error.span().unwrap_or_default();
        // Only a doubled key is repeated: what else cannot be read may be a secret without its quotes.
        let key =
            Some(error.message()).filter(|message| *message == "duplicate key").and_then(|_| text.get(span.clone()));
        report.error(span.start, key.unwrap_or_default(), &format!("not TOML: {}", error.message()));
    }
    // What was recovered from a broken file is not what its writer meant: errors in it would mislead.
    let config =
        if syntax.is_empty() { read_all(name, &Table::root(&report, document.get_ref()), env, missing) } else { None };
    let (errors, warnings) = report.into_parts();
    match config {
        Some(config) if errors.is_empty() => Ok(Config { warnings, ..config }),
        _ => Err(ConfigErrors::new(errors)),
    }
}

fn read_all(name: Option<&str>, root: &Table<'_>, env: &dyn Env, missing: MissingSecrets) -> Option<Config> {
    root.refuse_unknown(keys::FILE);
    let variables = Variables::new(env, root.report, missing);
    let settings = Settings::read(root, &variables)?;
    let accounts = accounts::read(root, &variables, settings.on_dyno, settings.public_url.as_deref());
    let receivers = receivers::read(root, &variables, &settings.slack_api_url);
    let remote_write = remote_write::read(root, &variables);
    let defaults = read_defaults(root, &receivers.names);
    let apps = apps::read(root, settings.limits.apps);
    let built_in = rule_pack::rules();
    let codes: Vec<_> = built_in.iter().flat_map(|rule| rule.matches.code.iter().copied()).collect();
    let context = Context { receivers: &receivers.names, defaults: &defaults, codes: &codes };
    let rules = rules::read(root, &context, built_in);
    let context = checks::Context { receivers: &receivers.names, defaults: &defaults, variables: &variables };
    let checks = checks::read(root, &context);
    warn(root, &settings, &receivers.specs, &rules, &checks);
    Some(Config {
        file: name.map(str::to_owned),
        listen: settings.listen,
        public_url: settings.public_url,
        environment: settings.environment,
        database_url: settings.database_url,
        metrics_bytes_max: settings.metrics_bytes_max,
        drain: settings.drain,
        limits: settings.limits,
        heroku: settings.heroku,
        api_tokens: settings.api_tokens,
        on_dyno: settings.on_dyno,
        accounts,
        apps,
        remote_write,
        receivers: receivers.specs,
        rules,
        checks,
        warnings: Vec::new(),
        known_secrets: variables.known(),
        settings: settings.list,
        source: Source {
            name: name.unwrap_or(FILE_DEFAULT).to_owned(),
            text: root.report.text().to_owned(),
            env: env.shared(),
        },
    })
}

fn read_defaults(root: &Table<'_>, receivers: &[&str]) -> Defaults {
    let Some(table) = root.table("defaults", keys::DEFAULTS) else {
        return Defaults::default();
    };
    let duration = |key| table.get(key).and_then(|node| node.duration());
    Defaults {
        receivers: table.get("receivers").and_then(|node| rule::read_receivers(&node, receivers)).unwrap_or_default(),
        cooldown: duration("cooldown"),
        resolve_after: duration("resolve_after"),
        severity: table.get("severity").and_then(|node| rule::read_severity(&node)),
        send_resolved: table.get("send_resolved").and_then(|node| node.flag()),
    }
}

/// What is allowed but will surprise somebody at night.
fn warn(root: &Table<'_>, settings: &Settings, receivers: &[ReceiverSpec], rules: &[Rule], checks: &CheckConfig) {
    let warn = |text: String| root.report.warn(text);
    if !settings.drain.enabled {
        warn("the drain is switched off: every delivery is answered 501".to_owned());
    } else if settings.drain.secrets.is_empty() {
        warn(format!("{ENVIRONMENT}: {}: not set: every delivery is answered 501", env::DRAIN_SECRET));
    }
    let active = || rules.iter().filter(|rule| rule.enabled);
    let silent: Vec<&str> = active().filter(|rule| rule.receivers.is_empty()).map(|rule| rule.name.as_str()).collect();
    if !silent.is_empty() {
        let (first, more) = silent.split_at(silent.len().min(5));
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        warn(format!(
            "alerts of {} rules are recorded and shown, but sent to nobody, since neither the rule nor [defaults] names receivers: {}{more}",
            silent.len(),
            first.join(", ")
        ));
    }
    let silent: Vec<&str> =
        checks.checks.iter().filter(|check| check.receivers.is_empty()).map(|check| check.name.as_str()).collect();
    if let Some((first, more)) = silent.split_first() {
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        warn(format!(
            "nobody is told when these checks are down, since neither they nor [defaults] name receivers: {first}{more}"
        ));
    }
    for receiver in receivers {
        let of_checks = checks.checks.iter().any(|check| check.receivers.contains(&receiver.name));
        if !of_checks && !active().any(|rule| rule.receivers.contains(&receiver.name)) {
            warn(format!("the receiver {:?} is named by no rule that is on, and not by [defaults]", receiver.name));
        }
    }
}
