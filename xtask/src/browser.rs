//! `cargo xtask browser` and `cargo xtask pictures`: the console in a real Chromium over the real program's demo. Owns
//! finding or installing Node's packages and Chromium; what is tested stands in `browser/specs`. A build never needs any
//! of this.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail, ensure};

use crate::command;

/// Names under which Chromium is found on the path.
const CHROMIUM_NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
/// The program that plays Heroku: an example of `dynowatch-testkit`.
const FAKE_HEROKU: &str = "fake_heroku";
/// Set to leave the browser tests out where there is no Node: the only way to skip them.
const SKIP: &str = "DYNOWATCH_SKIP_BROWSER";

/// Everything that is needed, once it is there.
struct Bench {
    folder: PathBuf,
    dynowatch: PathBuf,
    fake_heroku: PathBuf,
    chromium: PathBuf,
}

/// Without options: every spec.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
}

/// Runs the specs. Fails if one does, or if something that is needed is missing.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let bench = Bench::new()?;
    println!("xtask: browser tests");
    let mut node = bench.node();
    node.args(["--test", "--test-concurrency=1"]);
    if let Some(filter) = &options.filter {
        node.arg(format!("--test-name-pattern={filter}"));
    }
    for spec in specs(&bench.folder)? {
        node.arg(spec);
    }
    command::status(&mut node)
}

/// As [`run`] with every spec, unless the caller asked to leave them out.
pub(crate) fn run_unless_skipped() -> Result<ExitCode> {
    if std::env::var_os(SKIP).is_some() {
        println!("xtask: NOTICE: {SKIP} is set, the browser tests are left out");
        return Ok(ExitCode::SUCCESS);
    }
    run(&Options { filter: None })
}

/// Takes the pictures into `target/pictures`.
pub(crate) fn pictures() -> Result<ExitCode> {
    let bench = Bench::new()?;
    let folder = command::target_folder()?.join("pictures");
    let mut node = bench.node();
    command::status(node.arg("pictures.mjs").arg(folder))
}

/// Prints what pages cost. Figures are for people to judge: nothing fails because of one.
pub(crate) fn budgets() -> Result<ExitCode> {
    let mut bench = command::cargo();
    let measured =
        command::status(bench.args(["bench", "--package", "dynowatch-web", "--bench", "console", "--locked"]))?;
    ensure!(measured == ExitCode::SUCCESS, "the bench of the pages failed");
    let mut node = Bench::of("release")?.node();
    command::status(node.arg("budgets.mjs"))
}

impl Bench {
    fn new() -> Result<Self> {
        Self::of("debug")
    }

    /// With that build of the program.
    fn of(profile: &str) -> Result<Self> {
        let folder = command::root().join("browser");
        ensure!(
            command::succeeds(Command::new("node").arg("--version")),
            "the browser tests need Node 20 or newer (Debian: nodejs and npm); {SKIP}=1 leaves them out"
        );
        if !folder.join("node_modules/playwright-core").is_dir() {
            println!("xtask: npm ci in browser/");
            let npm =
                command::status(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder))?;
            ensure!(npm == ExitCode::SUCCESS, "npm ci failed");
        }
        let dynowatch = build(profile, &["--package", "dynowatch"])?.join("dynowatch");
        let fake_heroku = build("debug", &["--package", "dynowatch-testkit", "--example", FAKE_HEROKU])?
            .join("examples")
            .join(FAKE_HEROKU);
        Ok(Self { dynowatch, fake_heroku, chromium: chromium()?, folder })
    }

    fn node(&self) -> Command {
        let mut node = Command::new("node");
        node.current_dir(&self.folder).env("DYNOWATCH", &self.dynowatch).env("CHROMIUM", &self.chromium);
        node.env("FAKE_HEROKU", &self.fake_heroku);
        node
    }
}

fn specs(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder.join("specs"))?.collect::<std::io::Result<Vec<_>>>()?;
    let mut specs: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    specs.retain(|path| path.to_string_lossy().ends_with(".test.mjs"));
    specs.sort();
    ensure!(!specs.is_empty(), "browser/specs is empty");
    Ok(specs)
}

/// Builds something of the workspace and says in which folder programs of that build lie.
fn build(profile: &str, what: &[&str]) -> Result<PathBuf> {
    let mut cargo = command::cargo();
    cargo.arg("build").args(what).arg("--locked");
    if profile == "release" {
        cargo.arg("--release");
    }
    let built = command::status(&mut cargo)?;
    ensure!(built == ExitCode::SUCCESS, "`cargo build {}` failed", what.join(" "));
    Ok(command::target_folder()?.join(profile))
}

fn chromium() -> Result<PathBuf> {
    if let Some(found) = on_path() {
        return Ok(found);
    }
    install()?;
    on_path().context("Chromium is installed, but none of its names is on the path")
}

fn on_path() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| CHROMIUM_NAMES.map(|name| folder.join(name)))
        .find(|candidate| candidate.is_file())
}

/// Debian's package, where we may install one.
fn install() -> Result<()> {
    let root = command::output(Command::new("id").arg("-u")).is_ok_and(|uid| uid.trim() == "0");
    let apt = command::succeeds(Command::new("apt-get").arg("--version"));
    if !(root && apt) {
        bail!("the browser tests need Chromium (Debian: apt-get install chromium); {SKIP}=1 leaves them out");
    }
    println!("xtask: installing Chromium");
    let get = |arguments: &[&str]| {
        let mut apt = Command::new("apt-get");
        apt.args(["-o", "DPkg::Lock::Timeout=300"]).args(arguments).env("DEBIAN_FRONTEND", "noninteractive");
        command::status(&mut apt)
    };
    // An old list still may be good enough; the install decides.
    let _updated = get(&["update", "--quiet"])?;
    let installed = get(&["install", "--yes", "--quiet", "--no-install-recommends", "chromium", "fonts-dejavu-core"])?;
    ensure!(installed == ExitCode::SUCCESS, "apt-get could not install Chromium");
    Ok(())
}
