//! `cargo xtask release`: the program as it is shipped, optimised along a profile of its main job. What a CPU-second then
//! buys is in `docs/performance.md`. `cargo xtask profile` takes that profile anew, after changes of the hot path or of the
//! compiler; it stands in the repository, so that a release needs no more than a compiler.
//!
//! How it is done: <https://doc.rust-lang.org/rustc/profile-guided-optimization.html>.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::command;

/// The folder of its build, within cargo's.
const SHIPPED: &str = "shipped";

/// The compiler in use: names of functions in a profile differ from one version to the next.
struct Compiler {
    /// As in `1.95.0`.
    release: String,
    host: String,
    llvm_major: u32,
}

/// Builds it and says where it is.
pub(crate) fn run() -> Result<ExitCode> {
    println!("{}", build()?.display());
    Ok(ExitCode::SUCCESS)
}

/// Builds it, beside the plain release build, which keeps its own files.
pub(crate) fn build() -> Result<PathBuf> {
    let profile = Compiler::find()?.profile();
    ensure!(profile.is_file(), "{} is missing: `cargo xtask profile` makes it", profile.display());
    println!("xtask: building dynowatch (release, along {})", profile.display());
    build_with(&format!("-Cprofile-use={}", profile.display()), SHIPPED)
}

/// Where [`build`] puts it.
pub(crate) fn program(target: &Path) -> PathBuf {
    built(&target.join(SHIPPED))
}

/// Builds a program that counts how often it takes each branch, puts it through the bench, and keeps what it counted.
pub(crate) fn profile() -> Result<ExitCode> {
    let compiler = Compiler::find()?;
    let merge = compiler.llvm_profdata()?;
    let raw = command::target_folder()?.join("profile/raw");
    println!("xtask: building dynowatch (release, counting)");
    let counting = build_with(&format!("-Cprofile-generate={}", raw.display()), "profile")?;
    // Build scripts and macros counted as well, and an earlier run may have.
    if raw.exists() {
        std::fs::remove_dir_all(&raw)?;
    }
    let mut load = command::cargo();
    load.args(["run", "--quiet", "--package", "xtask", "--", "bench", "--no-referee", "--rounds", "1"]);
    load.args(["--requests", "10000", "--dynos-seconds", "0", "--server"]).arg(&counting);
    let loaded = command::status(&mut load)?;
    ensure!(loaded == ExitCode::SUCCESS, "the bench did not end well: no profile");
    let profile = compiler.profile();
    // Without what was never run: it would be most of the file.
    command::output(Command::new(merge).args(["merge", "--sparse", "-o"]).arg(&profile).arg(&raw))?;
    println!("xtask: wrote {}", profile.display());
    Ok(ExitCode::SUCCESS)
}

fn build_with(flag: &str, folder: &str) -> Result<PathBuf> {
    let target = command::target_folder()?.join(folder);
    // Encoded, so that a folder's name may hold a blank. The caller's own flags stay.
    let callers = std::env::var("RUSTFLAGS").unwrap_or_default();
    let flags: Vec<&str> = callers.split_whitespace().chain([flag]).collect();
    let mut build = command::cargo();
    build.args(["build", "--release", "--locked", "--package", "dynowatch", "--target-dir"]).arg(&target);
    let ended = command::status(build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}")))?;
    ensure!(ended == ExitCode::SUCCESS, "the build failed");
    Ok(built(&target))
}

fn built(folder: &Path) -> PathBuf {
    folder.join("release/dynowatch")
}

impl Compiler {
    fn find() -> Result<Self> {
        Self::of(&command::output(Command::new("rustc").arg("-vV").current_dir(command::root()))?)
    }

    /// Reads what `rustc -vV` prints.
    fn of(said: &str) -> Result<Self> {
        let value = |key: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.with_context(|| format!("rustc -vV does not say its {key}"))
        };
        let llvm_major = major(value("LLVM version")?).context("rustc -vV says an LLVM version that is no number")?;
        Ok(Self { release: value("release")?.to_owned(), host: value("host")?.to_owned(), llvm_major })
    }

    fn profile(&self) -> PathBuf {
        command::root().join(format!("deploy/rust-{}.profdata", self.release))
    }

    /// The program that merges counts: rustup's, or a system's of the same LLVM or a newer one.
    fn llvm_profdata(&self) -> Result<PathBuf> {
        let sysroot = command::output(Command::new("rustc").args(["--print", "sysroot"]).current_dir(command::root()))?;
        let of_rustup = Path::new(sysroot.trim()).join("lib/rustlib").join(&self.host).join("bin/llvm-profdata");
        for program in [of_rustup, format!("llvm-profdata-{}", self.llvm_major).into(), "llvm-profdata".into()] {
            // What is not there, or does not say its version, is not the one.
            let said = command::output(Command::new(&program).arg("--version")).unwrap_or_default();
            let version = said.lines().find_map(|line| major(line.split_once("LLVM version ")?.1));
            if version.is_some_and(|version| version >= self.llvm_major) {
                return Ok(program);
            }
        }
        bail!(
            "llvm-profdata of LLVM {} or newer is needed: `rustup component add llvm-tools`, or Debian's llvm-{}",
            self.llvm_major,
            self.llvm_major
        )
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_compiler_says_what_it_is() {
        let said = "rustc 1.95.0 (59807616e 2026-04-14)\nbinary: rustc\nhost: x86_64-unknown-linux-gnu\nrelease: 1.95.0\n\
                    LLVM version: 22.1.2\n";
        let compiler = Compiler::of(said).unwrap();
        assert!(compiler.profile().ends_with("deploy/rust-1.95.0.profdata"));
        assert_eq!((compiler.host.as_str(), compiler.llvm_major), ("x86_64-unknown-linux-gnu", 22));
        assert!(Compiler::of("release: 1.95.0\nhost: x\nLLVM version: new").is_err());
        assert!(Compiler::of("host: x").is_err());
    }

    /// Whoever changes the compiler learns here, and not at the next release, that it has no profile.
    #[test]
    fn there_is_a_profile_for_the_compiler_of_the_project() {
        let chosen = std::fs::read_to_string(command::root().join("rust-toolchain.toml")).unwrap();
        let channel = chosen.lines().find_map(|line| line.strip_prefix("channel = \"")?.strip_suffix('"')).unwrap();
        let compiler = Compiler { release: channel.to_owned(), host: String::new(), llvm_major: 0 };
        let profile = compiler.profile();
        assert!(profile.is_file(), "{} is missing: `cargo xtask profile` makes it", profile.display());
    }
}
