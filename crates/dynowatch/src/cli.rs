//! The command line: which commands there are, what they take, how they end. Owns words, exit codes and the printed forms;
//! what is done is done by the crates below. One module per group of commands.
//!
//! Everything printed goes through `out`, which makes control characters harmless: much of it comes from log lines.
//! `docs/cli.md` is made from the definitions here ([`reference()`]), and a test holds it against them.

mod accounts;
mod alerts;
mod apps;
mod backup;
mod checks;
mod config;
mod context;
mod deliveries;
mod demo;
mod drain;
mod failure;
mod logging;
mod maintenance;
mod out;
mod receiver;
mod reference;
mod reload;
mod replay;
mod rules;
mod serve;
mod token;
mod workload;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use reference::reference;

use context::Context;
use failure::Failure;

/// Said below every help text.
const EXIT_CODES: &str =
    "Exit codes: 0 done; 1 it failed, or the answer is no; 2 wrong usage or a wrong configuration.";

/// Watches Heroku apps through their log drains and tells people when something is wrong.
///
/// Without a command, `serve` runs.
#[derive(Debug, Parser)]
#[command(name = "dynowatch", version, after_help = EXIT_CODES, propagate_version = true)]
pub(crate) struct Cli {
    /// Configuration file; else $DYNOWATCH_CONFIG, else dynowatch.toml if it is there
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON instead of text for people
    #[arg(long, global = true)]
    json: bool,
    /// Form of log lines on standard error; $RUST_LOG sets what is logged
    #[arg(long, global = true, value_name = "FORM", value_enum, default_value = "text")]
    log_format: logging::Format,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server: drain endpoint, rules, messages, API and pages (the default)
    ///
    /// SIGTERM and Ctrl-C end it within 10 seconds, after what was accepted is finished. SIGHUP reads the configuration
    /// again; when something is wrong with it, all of that is logged and what was in force stays.
    Serve(serve::Args),
    /// Run a server with a simulated team of four apps, in a folder of its own that is removed at the end
    Demo(demo::Args),
    /// Say what the rules would have done with a log file: alerts, messages, what was held back
    ///
    /// Reads the output of `heroku logs` (with the colours of a terminal, too), raw Logplex bodies, or syslog lines; it tells
    /// them apart by itself, and reads gzip as well. The log's own stamps are the clock. Nothing is stored, nothing is sent,
    /// no secret is needed.
    Replay(replay::Args),
    /// Make drain URLs, and see whether an instance takes what a drain sends
    #[command(subcommand)]
    Drain(drain::Command),
    /// Check the configuration, or have a running server read it again
    #[command(subcommand)]
    Config(config::Command),
    /// Alerts: list, look at one with its evidence, close
    #[command(subcommand)]
    Alerts(alerts::Command),
    /// Apps: list, rename
    #[command(subcommand)]
    Apps(apps::Command),
    /// Rules: list, explain, switch off for a while
    #[command(subcommand)]
    Rules(rules::Command),
    /// Checks: how they stand, run one, explain one, what it found, pause
    #[command(subcommand)]
    Checks(checks::Command),
    /// Planned times in which nobody is told of checks
    #[command(subcommand)]
    Maintenance(maintenance::Command),
    /// Receivers: list, send a test message
    #[command(subcommand)]
    Receiver(receiver::Command),
    /// Messages: which were sent, which failed and why
    Deliveries(deliveries::Args),
    /// Tokens of the API: create, list, revoke
    #[command(subcommand)]
    Token(token::Command),
    /// Print a link that makes the first account; good once, for 30 minutes
    SetupLink,
    /// People who sign in: list, invite, roles, shut out, links for a new password
    #[command(subcommand)]
    Users(accounts::Users),
    /// The audit log: check that nothing in it was changed, print it
    #[command(subcommand)]
    Audit(accounts::Audit),
    /// Write the whole store to a file; works while a server runs
    ///
    /// The file holds log lines with whatever secrets stand in them: keep it as you would the database.
    Backup {
        /// Where to; it appears under this name when it is complete
        file: PathBuf,
    },
    /// Read a backup into an empty store, before the server starts; also the way from SQLite to Postgres
    Restore {
        /// A file that `backup` wrote
        file: PathBuf,
    },
    /// Write seeded traffic to files, for benchmarks
    #[command(hide = true)]
    Workload(workload::Args),
    /// Print docs/cli.md
    #[command(hide = true)]
    Reference,
}

/// Runs the program: reads the command line, does what it says, and tells how it went by the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    // An error would mean that someone installed one before; any will do.
    let _first = rustls::crypto::ring::default_provider().install_default();
    let Cli { config, json, log_format, command } = cli;
    let command = command.unwrap_or_else(|| Command::Serve(serve::Args::default()));
    let mut ctx = Context::new(config, json);
    logging::init(&ctx, log_format, command.logs_by_default());
    crate::panics::log_masked();
    let done = run(&mut ctx, command).and_then(|()| Ok(ctx.out.flush()?));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What was printed before the failure comes first; if it cannot be printed there is nothing left to say it to.
            let _flushed = ctx.out.flush();
            failure.report()
        }
    }
}

impl Command {
    /// What is logged when $RUST_LOG says nothing: a server tells how it goes, a command only what is wrong.
    fn logs_by_default(&self) -> &'static str {
        match self {
            Self::Serve(_) => "info",
            _ => "warn",
        }
    }
}

fn run(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::run(ctx, args),
        Command::Demo(args) => demo::run(ctx, &args),
        Command::Replay(args) => replay::run(ctx, &args),
        Command::Workload(args) => workload::run(ctx, args),
        Command::Reference => ctx.out.text(reference().trim_end()),
        other => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(Box::pin(run_once(ctx, other)))
        }
    }
}

/// Commands that ask or change something and end.
async fn run_once(ctx: &mut Context, command: Command) -> Result<(), Failure> {
    match command {
        Command::Drain(command) => Box::pin(drain::run(ctx, command)).await,
        Command::Config(command) => config::run(ctx, command).await,
        Command::Alerts(command) => alerts::run(ctx, command).await,
        Command::Apps(command) => apps::run(ctx, command).await,
        Command::Rules(command) => rules::run(ctx, command).await,
        Command::Checks(command) => checks::run(ctx, command).await,
        Command::Maintenance(command) => maintenance::run(ctx, command).await,
        Command::Receiver(command) => receiver::run(ctx, command).await,
        Command::Deliveries(args) => deliveries::run(ctx, args).await,
        Command::Token(command) => token::run(ctx, command).await,
        Command::SetupLink => accounts::setup_link(ctx).await,
        Command::Users(command) => accounts::users(ctx, command).await,
        Command::Audit(command) => accounts::audit(ctx, command).await,
        Command::Backup { file } => backup::backup(ctx, &file).await,
        Command::Restore { file } => backup::restore(ctx, &file).await,
        Command::Serve(_) | Command::Demo(_) | Command::Replay(_) | Command::Workload(_) | Command::Reference => Ok(()),
    }
}
