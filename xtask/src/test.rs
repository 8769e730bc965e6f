//! `cargo xtask test`: all tests on a Postgres of their own, with a Prometheus to write to and Redis to check. The last
//! line printed is the runner's summary, which a CI may read.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::services::{POSTGRES_URL, Postgres, ensure_prometheus, ensure_redis};
use crate::{browser, command};

/// Without options: everything, documentation tests included.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this (repeatable)
    #[arg(long)]
    filter: Vec<String>,
    /// Only the tests of this crate (repeatable)
    #[arg(long, short)]
    package: Vec<String>,
}

/// Fails if a test fails or a service is missing. Postgres is stopped in any case.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    ensure_prometheus()?;
    ensure_redis()?;
    let postgres = Postgres::start()?;

    // First, because the summary of the many tests is to be the last line.
    if options.package.is_empty() && options.filter.is_empty() {
        println!("xtask: documentation tests");
        let documentation = command::status(
            command::cargo()
                .args(["test", "--doc", "--workspace", "--locked", "--quiet"])
                .env(POSTGRES_URL, postgres.url()),
        )?;
        if documentation != ExitCode::SUCCESS {
            return Ok(documentation);
        }
        let browser = browser::run_unless_skipped()?;
        if browser != ExitCode::SUCCESS {
            return Ok(browser);
        }
    }

    if command::succeeds(command::cargo().args(["nextest", "--version"])) {
        println!("xtask: cargo nextest run");
        let mut nextest = command::cargo();
        nextest.args(["nextest", "run", "--locked", "--no-fail-fast"]).args(options.packages()).args(&options.filter);
        return command::status(nextest.env(POSTGRES_URL, postgres.url()));
    }
    println!("xtask: cargo test (cargo-nextest is not installed; with it a hanging test is named and ended)");
    let mut test = command::cargo();
    test.args(["test", "--lib", "--bins", "--tests", "--no-fail-fast", "--locked"])
        .args(options.packages())
        .arg("--")
        .args(&options.filter)
        .env(POSTGRES_URL, postgres.url());
    with_total(&mut test)
}

impl Options {
    fn packages(&self) -> Vec<String> {
        if self.package.is_empty() {
            return vec!["--workspace".to_owned()];
        }
        self.package.iter().map(|name| format!("--package={name}")).collect()
    }
}

/// `cargo test` ends with the summary of whichever program came last; adds one line of the same shape for all.
fn with_total(test: &mut Command) -> Result<ExitCode> {
    let mut child = test.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {test:?}"))?;
    let mut total = Total::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            total.add(&line);
            println!("{line}");
        }
    }
    let success = child.wait()?.success();
    println!("{}", total.summary(success));
    Ok(if success { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[derive(Default)]
struct Total {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Total {
    /// Takes lines like `test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; …`; others count nothing.
    fn add(&mut self, line: &str) {
        let Some(counts) = line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". ")) else {
            return;
        };
        for count in counts.1.split("; ") {
            match count.split_once(' ').map(|(number, name)| (number.parse::<u64>().unwrap_or(0), name)) {
                Some((number, "passed")) => self.passed += number,
                Some((number, "failed")) => self.failed += number,
                Some((number, "ignored")) => self.ignored += number,
                _ => {}
            }
        }
    }

    fn summary(&self, success: bool) -> String {
        let verdict = if success { "ok" } else { "FAILED" };
        let Self { passed, failed, ignored } = self;
        format!("test result: {verdict}. {passed} passed; {failed} failed; {ignored} ignored; all crates together")
    }
}

#[cfg(test)]
mod tests {
    use super::Total;

    #[test]
    fn summaries_of_several_programs_add_up() {
        let mut total = Total::default();
        for line in [
            "running 2 tests",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
        ] {
            total.add(line);
        }
        assert_eq!(total.summary(false), "test result: FAILED. 15 passed; 2 failed; 1 ignored; all crates together");
    }
}
