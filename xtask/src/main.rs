//! `cargo xtask`: every chore of the project, one file per chore.
//!
//! The rules of the code base live here as code too (`tidy`), so that a broken rule names its remedy instead of
//! waiting for a reviewer. What a chore needs from outside (Postgres, cargo-nextest, cargo-deny) is looked for at
//! run time: the first is installed where that is allowed, the other two have a fallback that says so.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a chore runner talks to the terminal and reads the caller's environment"
)]

mod bench;
mod browser;
mod check;
mod command;
mod packages;
mod release;
mod services;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

/// Every chore of dynowatch.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    task: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Everything but the tests: format, tidy, clippy and documentation with warnings denied, cargo-deny
    Check,
    /// Only the rules of the code base (seconds)
    Tidy,
    /// All tests, on a Postgres of their own; installs what is missing where it may
    Test(test::Options),
    /// The console in a real Chromium, over the demo (needs Node; not for a build)
    Browser(browser::Options),
    /// Pictures of every main page, at 1440 and 360, light and dark, into target/pictures
    Pictures,
    /// What pages cost: server time on generated values, sizes, and 200 people who watch; a release build
    Budgets,
    /// That Postgres in the foreground, for testing one crate in seconds
    Services,
    /// Lines per CPU-second beside what the machine can do, memory, latency (Linux; release builds)
    Bench(bench::Options),
    /// The program as it is shipped: a release build along a profile of the main job; prints where it is
    Release,
    /// That profile anew, after changes of the hot path or of the compiler (needs llvm-profdata; two release builds)
    Profile,
    /// The demo in a debug build: four simulated apps, alerts within a minute
    Dev,
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().task {
        None => list(),
        Some(Task::Check) => check::run(),
        Some(Task::Tidy) => tidy::run(),
        Some(Task::Test(options)) => test::run(&options),
        Some(Task::Browser(options)) => browser::run(&options),
        Some(Task::Pictures) => browser::pictures(),
        Some(Task::Budgets) => browser::budgets(),
        Some(Task::Services) => services::run(),
        Some(Task::Bench(options)) => bench::run(&options),
        Some(Task::Release) => release::run(),
        Some(Task::Profile) => release::profile(),
        Some(Task::Dev) => dev(),
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("xtask: {error:#}");
        ExitCode::FAILURE
    })
}

/// What a bare `cargo xtask` shows.
fn list() -> Result<ExitCode> {
    Cli::command().print_long_help()?;
    Ok(ExitCode::SUCCESS)
}

fn dev() -> Result<ExitCode> {
    println!("xtask: building and starting `dynowatch demo` (debug); Ctrl-C ends it");
    command::status(command::cargo().args(["run", "--package", "dynowatch", "--", "demo"]))
}
