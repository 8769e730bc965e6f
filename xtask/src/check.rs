//! `cargo xtask check`: everything a change must pass besides the tests. All steps run, so that one call shows all
//! that is wrong.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{command, tidy};

/// Runs each step; fails if any did.
pub(crate) fn run() -> Result<ExitCode> {
    let mut failed = Vec::new();

    step("format", "cargo fmt --all", &mut failed, command::cargo().args(["fmt", "--all", "--check"]))?;
    println!("xtask: tidy");
    if tidy::run()? != ExitCode::SUCCESS {
        failed.push("tidy (each finding names its remedy)".to_owned());
    }
    step(
        "clippy",
        "read the warnings above",
        &mut failed,
        command::cargo().args(["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    )?;
    step(
        "documentation",
        "read the warnings above",
        &mut failed,
        command::cargo().args(["doc", "--workspace", "--no-deps", "--locked"]).env("RUSTDOCFLAGS", "-Dwarnings"),
    )?;
    if command::succeeds(command::cargo().args(["deny", "--version"])) {
        step("cargo deny", "see deny.toml", &mut failed, command::cargo().args(["deny", "--workspace", "check"]))?;
    } else {
        println!(
            "xtask: NOTICE: cargo-deny is not installed, licences and advisories are not checked \
             (cargo install --locked cargo-deny)"
        );
    }

    if failed.is_empty() {
        println!("xtask: check passed");
        return Ok(ExitCode::SUCCESS);
    }
    println!("xtask: check FAILED");
    for step in failed {
        println!("  - {step}");
    }
    Ok(ExitCode::FAILURE)
}

fn step(name: &str, remedy: &str, failed: &mut Vec<String>, command: &mut Command) -> Result<()> {
    println!("xtask: {name}");
    if command::status(command)? != ExitCode::SUCCESS {
        failed.push(format!("{name} ({remedy})"));
    }
    Ok(())
}
