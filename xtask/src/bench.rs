//! `cargo xtask bench`: how many log lines a CPU-second buys, beside what the machine can do at best. Linux only: it
//! reads `/proc`.
//!
//! For each set of the seeded workload (`dynowatch workload`) a yardstick, a bare hyper server that throws bodies
//! away, and `dynowatch serve` run side by side and are loaded in turn, so that a busy machine is unfair to both
//! alike. The figure to trust is lines per CPU-second of the server and its ratio to the yardstick; wall-clock rates
//! move with whatever else runs. Correctness comes first: when the server's own counters differ from the workload's
//! oracle, no speed is printed.
//!
//! Another harness beside the checkout (`../shared/bench`, or `--referee DIR`), if there is one, is built and run as
//! a referee, with its own workload, client and yardsticks.

mod client;
mod counters;
mod discard;
mod dynos;
mod process;
mod referee;
mod report;
mod set;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};

use crate::{command, release};
use client::Plan;
use process::Server;
use report::{Run, Table};
use set::Set;

/// The secret of every server that is measured; it signs nothing else.
pub(crate) const SECRET: &str = "bench-secret";
/// Seconds from the workload's first stamp to its last, `dynowatch workload`'s own constant.
const TIMELINE_S: u64 = 3_600;
const SETS: [&str; 4] = ["b1", "b10", "b100", "b1000"];
const REPLAY_RUNS: u64 = 5;

/// Without options: all sets, three rounds, and the referee when it is there.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    yardstick: Option<Yardstick>,
    /// Only this set (repeatable)
    #[arg(long = "set", value_parser = SETS)]
    sets: Vec<String>,
    /// Requests per run, rounded up to whole passes over the set; otherwise a number that suits the set
    #[arg(long)]
    requests: Option<usize>,
    /// Rounds; the servers take turns in each, and medians are printed
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=99))]
    rounds: u32,
    /// Keep-alive connections
    #[arg(long, default_value_t = 8)]
    connections: usize,
    /// Lines per second of the latency run
    #[arg(long, default_value_t = 20_000)]
    rate: u64,
    /// Seconds of the latency run, rounded up to whole passes
    #[arg(long, default_value_t = 8)]
    rate_seconds: u64,
    /// Also send many lines of b100 and print the memory over the process at rest
    #[arg(long)]
    rss: bool,
    /// Lines of that run
    #[arg(long, default_value_t = 30_000_000)]
    rss_lines: u64,
    /// Seconds of each row of the table about 1,000 dynos; none for 0
    #[arg(long, default_value_t = 60)]
    dynos_seconds: u64,
    /// Only that table
    #[arg(long, conflicts_with = "referee_only")]
    dynos_only: bool,
    /// Only checks: how late 2,000 of them start that run every 30 s, and what they cost
    #[arg(long)]
    checks: bool,
    /// Seconds of that run
    #[arg(long, default_value_t = 120)]
    checks_seconds: u32,
    /// How many checks
    #[arg(long, default_value_t = 2_000)]
    checks_count: u32,
    /// Folder of the referee's harness; otherwise ../shared/bench when it exists
    #[arg(long, value_name = "DIR")]
    referee: Option<PathBuf>,
    /// Only the referee's runs
    #[arg(long, conflicts_with = "no_referee")]
    referee_only: bool,
    /// Not the referee, though it is there
    #[arg(long)]
    no_referee: bool,
    /// Measure this program, instead of the one that `cargo xtask release` builds
    #[arg(long, value_name = "PROGRAM")]
    server: Option<PathBuf>,
    /// Seed of the workload
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Bodies of the workload in percent
    #[arg(long, default_value_t = 100)]
    scale: u64,
}

#[derive(clap::Subcommand)]
enum Yardstick {
    /// The yardstick alone: a bare hyper server that reads each body, drops it and answers 204
    Discard {
        /// Address to listen on
        #[arg(long, default_value = "127.0.0.1:0")]
        listen: SocketAddr,
    },
}

/// Fails when a counter is wrong, an answer is not a 2xx, or a server does not start.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    if let Some(Yardstick::Discard { listen }) = options.yardstick {
        discard::serve(listen)?;
        return Ok(ExitCode::SUCCESS);
    }
    if options.checks {
        return run_checks(options);
    }
    let target = command::target_folder()?;
    if cfg!(debug_assertions) {
        return run_in_release(options, &target);
    }
    let bench = Bench::new(options, &target)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(bench.run())?;
    Ok(ExitCode::SUCCESS)
}

/// The benchmark of the engine's checks, in its own process.
fn run_checks(options: &Options) -> Result<ExitCode> {
    let (seconds, count) = (options.checks_seconds.to_string(), options.checks_count.to_string());
    let mut bench = command::cargo();
    bench.args(["bench", "-p", "dynowatch-engine", "--bench", "checks", "--"]);
    bench.args(["--seconds", &seconds, "--checks", &count]);
    command::status(&mut bench)
}

/// Builds the server as it is shipped and this program in release, and starts over there: a debug load client would be the
/// bottleneck. Two builds, so that no feature of xtask's dependencies gets into the measured binary.
fn run_in_release(options: &Options, target: &Path) -> Result<ExitCode> {
    if options.server.is_none() {
        release::build()?;
    }
    println!("xtask: building xtask (release)");
    let built = command::status(command::cargo().args(["build", "--release", "--locked", "--package", "xtask"]))?;
    if built != ExitCode::SUCCESS {
        return Ok(built);
    }
    let mut again = Command::new(target.join("release/xtask"));
    command::status(again.args(std::env::args_os().skip(1)).current_dir(command::root()))
}

/// Everything a run needs to know.
pub(crate) struct Bench<'a> {
    options: &'a Options,
    dynowatch: PathBuf,
    /// `target/bench`: workloads and the servers' folders.
    folder: PathBuf,
    now_s: u64,
}

impl<'a> Bench<'a> {
    fn new(options: &'a Options, target: &Path) -> Result<Self> {
        let dynowatch = options.server.clone().unwrap_or_else(|| release::program(target));
        // Whole, since servers run in folders of their own.
        let dynowatch = dynowatch
            .canonicalize()
            .with_context(|| format!("{} is missing; `cargo xtask release` builds it", dynowatch.display()))?;
        let folder = target.join("bench");
        std::fs::create_dir_all(&folder)?;
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        Ok(Bench { options, dynowatch, folder, now_s })
    }

    async fn run(&self) -> Result<()> {
        report::machine()?;
        if self.options.dynos_only {
            return self.dynos(self.options.dynos_seconds.max(1)).await;
        }
        let referee = self.referee_folder()?;
        let mut ours = Table::default();
        if !self.options.referee_only {
            ours = self.own_sets().await?;
        }
        if let Some(folder) = referee {
            let theirs = referee::run(self, &folder).await?;
            report::agreement(&ours, &theirs);
        }
        Ok(())
    }

    /// The referee to run, if any. One that was asked for must be there.
    fn referee_folder(&self) -> Result<Option<PathBuf>> {
        if self.options.no_referee {
            return Ok(None);
        }
        let asked = self.options.referee.is_some() || self.options.referee_only;
        let folder = self.options.referee.clone().unwrap_or_else(|| command::root().join("../shared/bench"));
        let found = folder.join("Cargo.toml").is_file();
        ensure!(found || !asked, "no referee in {}: want the folder of its Cargo.toml", folder.display());
        if !found {
            println!("(no referee at {}; own workload and yardstick only)\n", folder.display());
        }
        Ok(found.then_some(folder))
    }

    pub(crate) fn sets(&self) -> Vec<&str> {
        if self.options.sets.is_empty() {
            SETS.to_vec()
        } else {
            self.options.sets.iter().map(String::as_str).collect()
        }
    }

    /// Passes over a set that give every server enough CPU time to be read from a clock of 10 ms.
    pub(crate) fn passes(&self, set: &Set) -> usize {
        let requests = self.options.requests.unwrap_or(match set.name.as_str() {
            "b1" | "b10" => 120_000,
            "b100" => 60_000,
            _ => 6_000,
        });
        requests.div_ceil(set.len()).max(1)
    }

    async fn own_sets(&self) -> Result<Table> {
        let data = self.folder.join("data");
        self.write_workload(&data)?;
        let sets: Vec<Arc<Set>> =
            SETS.iter().map(|name| Set::read(&data.join(name)).map(Arc::new)).collect::<Result<_>>()?;
        let mut table = Table::default();
        for set in sets.iter().filter(|set| self.sets().contains(&set.name.as_str())) {
            self.own_set(set, &sets, &mut table).await?;
        }
        table.print("own workload and client", "discard");
        table.print_latency(self.options.rate);
        if self.options.rss {
            self.memory(&sets).await?;
        }
        self.replay(&data.join("b100/lines.log"), &sets)?;
        if self.options.dynos_seconds > 0 {
            self.dynos(self.options.dynos_seconds).await?;
        }
        Ok(table)
    }

    fn write_workload(&self, data: &Path) -> Result<()> {
        let start = report::utc(self.now_s - TIMELINE_S)?;
        println!(
            "workload: seed {}, {} %, from {start} UTC, in {}",
            self.options.seed,
            self.options.scale,
            data.display()
        );
        let mut workload = Command::new(&self.dynowatch);
        workload
            .arg("workload")
            .arg("--out")
            .arg(data)
            .args(["--seed", &self.options.seed.to_string()])
            .args(["--scale", &self.options.scale.to_string()])
            .args(["--start", &start]);
        command::output(&mut workload).map(drop)
    }

    async fn own_set(&self, set: &Arc<Set>, all: &[Arc<Set>], table: &mut Table) -> Result<()> {
        let yardstick = discard::spawn(&self.folder).await?;
        let dynowatch = self.spawn_dynowatch(&set.name, all).await?;
        println!(
            "{}: discard {} (pid {}), dynowatch {} (pid {})",
            set.name,
            yardstick.url(),
            yardstick.pid(),
            dynowatch.url(),
            dynowatch.pid()
        );
        let checked = Checked::new(&dynowatch, set).await?;

        let passes = self.passes(set);
        for round in 0..self.options.rounds {
            for (name, server) in [("discard", &yardstick), ("dynowatch", &dynowatch)] {
                let plan = Plan::closed_loop(server.address, passes * set.len(), self.options.connections);
                let run = measure(server, set, &plan).await?;
                println!("  round {}: {name} {} lines/CPU-s", round + 1, report::short(run.lines_per_cpu_s()));
                table.add(&set.name, name, run);
            }
        }

        let rate_passes = self.rate_passes(set);
        for (name, server) in [("discard", &yardstick), ("dynowatch", &dynowatch)] {
            let requests = rate_passes * set.len();
            let mut plan = Plan::closed_loop(server.address, requests, self.options.connections);
            plan.every = Some(self.pause_between(set));
            table.add_latency(&set.name, name, client::run(set, &plan).await?);
        }

        let total = 1 + passes * self.options.rounds as usize + rate_passes;
        checked.equals_oracle(&dynowatch, total).await?;
        table.set_memory(&set.name, dynowatch.usage()?.peak_kib, dynowatch.rest_kib);
        Ok(())
    }

    fn rate_passes(&self, set: &Set) -> usize {
        let lines = self.options.rate * self.options.rate_seconds;
        usize::try_from(lines.div_ceil(set.lines().max(1))).unwrap_or(1).max(1)
    }

    /// From the due time of one request to that of the next, for the wanted lines per second.
    fn pause_between(&self, set: &Set) -> Duration {
        let requests_per_s = self.options.rate as f64 * set.len() as f64 / set.lines().max(1) as f64;
        Duration::from_secs_f64(1.0 / requests_per_s.max(0.1))
    }

    /// A fresh instance with SQLite files of its own, the runbook's two rules and the built-in ones, and no receiver.
    /// It knows the drain tokens of all sets.
    pub(crate) async fn spawn_dynowatch(&self, name: &str, sets: &[Arc<Set>]) -> Result<Server> {
        let home = self.home(name, sets)?;
        let address = process::free_address()?;
        let mut serve = Command::new(&self.dynowatch);
        serve
            .args(["serve", "--config", "bench.toml", "--listen", &address.to_string()])
            .current_dir(&home)
            .env("HEROKU_LOG_DRAIN_HMAC_SECRET", SECRET)
            // The bench's answer must not depend on what the caller's shell happens to hold.
            .env_remove("PORT")
            .env_remove("DATABASE_URL")
            .env_remove("DYNO")
            .env_remove("SLACK_BOT_TOKEN")
            .env_remove("DYNOWATCH_API_TOKEN")
            .env_remove("FLAG_CONSOLE_HEROKU_LOG_DRAIN_ALERTING")
            .env_remove("RUST_LOG");
        Server::spawn(&mut serve, address, &home.join("serve.log")).await
    }

    /// An empty folder with a configuration file.
    fn home(&self, name: &str, sets: &[Arc<Set>]) -> Result<PathBuf> {
        let home = self.folder.join(format!("serve-{name}"));
        if home.exists() {
            std::fs::remove_dir_all(&home)?;
        }
        std::fs::create_dir_all(&home)?;
        std::fs::write(home.join("bench.toml"), set::configuration(sets))?;
        Ok(home)
    }

    /// Peak memory after many lines of b100, over the process at rest.
    async fn memory(&self, sets: &[Arc<Set>]) -> Result<()> {
        let set = sets.iter().find(|set| set.name == "b100").context("no set b100")?;
        let dynowatch = self.spawn_dynowatch("rss", sets).await?;
        let passes = usize::try_from(self.options.rss_lines.div_ceil(set.lines().max(1)))?;
        let checked = Checked::new(&dynowatch, set).await?;
        let plan = Plan::closed_loop(dynowatch.address, passes * set.len(), self.options.connections);
        measure(&dynowatch, set, &plan).await?;
        checked.equals_oracle(&dynowatch, 1 + passes).await?;
        let usage = dynowatch.usage()?;
        println!(
            "memory after {} lines of b100: peak {}, at rest {}, over rest {}\n",
            report::short((set.lines() * passes as u64) as f64),
            report::mib(usage.peak_kib),
            report::mib(dynowatch.rest_kib),
            report::mib(usage.peak_kib.saturating_sub(dynowatch.rest_kib))
        );
        Ok(())
    }

    /// `dynowatch replay` over the plain text of b100, start and end of the process included.
    fn replay(&self, lines_log: &Path, sets: &[Arc<Set>]) -> Result<()> {
        let home = self.home("replay", sets)?;
        let lines = sets.iter().find(|set| set.name == "b100").map_or(0, |set| set.lines());
        let before = process::children_cpu()?;
        for _ in 0..REPLAY_RUNS {
            let mut replay = Command::new(&self.dynowatch);
            replay
                .args(["replay", "--config", "bench.toml", "--json"])
                .arg(lines_log)
                .current_dir(&home)
                .env_remove("DATABASE_URL")
                .env_remove("RUST_LOG");
            command::output(&mut replay)?;
        }
        let cpu = process::children_cpu()? - before;
        println!(
            "replay of b100/lines.log: {} lines/CPU-s ({REPLAY_RUNS} runs of {lines} lines, {:.2} CPU-s)\n",
            report::short((lines * REPLAY_RUNS) as f64 / cpu.as_secs_f64()),
            cpu.as_secs_f64()
        );
        Ok(())
    }
}

/// A server whose counters have been found right for one pass over a set.
pub(crate) struct Checked {
    before: counters::Snapshot,
    set: Arc<Set>,
}

impl Checked {
    /// Sends the set once and compares.
    pub(crate) async fn new(server: &Server, set: &Arc<Set>) -> Result<Self> {
        let checked = Checked { before: counters::read(server.address).await?, set: Arc::clone(set) };
        client::run(set, &Plan::closed_loop(server.address, set.len(), 8)).await?;
        checked.equals_oracle(server, 1).await?;
        Ok(checked)
    }

    /// Compares what has been counted since the beginning with so many passes over the set. The server may fold its
    /// counters a moment after its answer.
    pub(crate) async fn equals_oracle(&self, server: &Server, passes: usize) -> Result<()> {
        let mut differences = Vec::new();
        for _ in 0..10 {
            let counted = counters::read(server.address).await?.since(&self.before);
            differences = self.set.expected.differences(&counted, passes as u64);
            if differences.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!(
            "{}: the server's counters differ from expected.json times {passes}, so no speed is worth printing:\n  {}",
            self.set.name,
            differences.join("\n  ")
        )
    }
}

/// One run with the server's CPU time, read when the server has gone quiet.
pub(crate) async fn measure(server: &Server, set: &Arc<Set>, plan: &Plan) -> Result<Run> {
    let before = server.usage()?.cpu;
    let outcome = client::run(set, plan).await?;
    let cpu = server.quiet().await?.cpu - before;
    Ok(Run {
        lines: outcome.lines,
        wall_s: outcome.wall.as_secs_f64(),
        cpu_s: cpu.as_secs_f64(),
        p50_us: outcome.all().quantile(0.5),
        p99_us: outcome.all().quantile(0.99),
    })
}
