//! The referee: another harness with its own workload (`logplex-gen`), client (`logplex-load`) and yardsticks
//! (`limit-http`). Built here, never copied; its folder is only read.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::process::{self, Server};
use super::report::{self, Run, Table};
use super::set::Set;
use super::{Bench, Checked, SECRET, SETS};
use crate::command;

/// Seconds its longest set spans, with some to spare; its timeline must stay inside one day.
const TIMELINE_S: u64 = 10_800;
const DAY_S: u64 = 86_400;
/// Its latency is read at 20,000 lines a second of b100.
const LATENCY_SET: &str = "b100";
const LATENCY_RATE: &str = "200";

struct Referee {
    programs: PathBuf,
    connections: usize,
}

/// Builds it, writes its sets, and drives its yardsticks and dynowatch in turn with its client.
pub(crate) async fn run(bench: &Bench<'_>, folder: &Path) -> Result<Table> {
    let work = bench.folder.join("referee");
    println!("referee: building {}", folder.display());
    let built = command::status(
        command::cargo()
            .args(["build", "--release", "--locked", "--quiet", "--manifest-path"])
            .arg(folder.join("Cargo.toml"))
            .arg("--target-dir")
            .arg(&work),
    )?;
    ensure!(built == ExitCode::SUCCESS, "the referee does not build");
    let referee = Referee { programs: work.join("release"), connections: bench.options.connections };

    let data = work.join("data");
    let start = report::utc(start_s(bench.now_s))?;
    command::output(
        referee
            .program("logplex-gen")
            .arg("--out")
            .arg(&data)
            .args(["--seed", &bench.options.seed.to_string()])
            .args(["--scale", &bench.options.scale.to_string()])
            .args(["--start", &start]),
    )?;
    let sets: Vec<Arc<Set>> =
        SETS.iter().map(|name| Set::read(&data.join(name)).map(Arc::new)).collect::<Result<_>>()?;

    let mut table = Table::default();
    for set in sets.iter().filter(|set| bench.sets().contains(&set.name.as_str())) {
        referee.set(bench, set, &sets, &data, &mut table).await?;
    }
    table.print("referee's workload and client", "hyper full");
    Ok(table)
}

/// As near to now as one day allows.
fn start_s(now_s: u64) -> u64 {
    let midnight_s = now_s - now_s % DAY_S;
    if now_s - midnight_s >= TIMELINE_S { now_s - TIMELINE_S } else { midnight_s - TIMELINE_S }
}

impl Referee {
    fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(name))
    }

    async fn yardstick(&self, work: &str) -> Result<Server> {
        let address = process::free_address()?;
        let mut serve = self.program("limit-http");
        serve.args(["hyper", work, &address.to_string(), "1"]);
        let log = self.programs.join(format!("limit-http-{work}.log"));
        Server::spawn(&mut serve, address, &log).await
    }

    async fn set(
        &self,
        bench: &Bench<'_>,
        set: &Arc<Set>,
        all: &[Arc<Set>],
        data: &Path,
        table: &mut Table,
    ) -> Result<()> {
        let discard = self.yardstick("discard").await?;
        let full = self.yardstick("full").await?;
        let dynowatch = bench.spawn_dynowatch(&format!("referee-{}", set.name), all).await?;
        let checked = Checked::new(&dynowatch, set).await?;
        let mut passes = 1;
        let servers = [("hyper discard", &discard), ("hyper full", &full), ("dynowatch", &dynowatch)];
        for round in 0..bench.options.rounds {
            for (name, server) in servers {
                let requests = (bench.passes(set) * set.len()).to_string();
                let warmup = set.len().to_string();
                let arguments = ["--requests", &requests, "--warmup", &warmup];
                let run = self.load(&data.join(&set.name), server, &arguments)?;
                println!(
                    "  {} round {}: {name} {} lines/CPU-s",
                    set.name,
                    round + 1,
                    report::short(run.lines_per_cpu_s())
                );
                table.add(&set.name, name, run);
            }
            passes += 1 + bench.passes(set);
        }
        if set.name == LATENCY_SET {
            for (name, server) in servers {
                let requests = set.len().to_string();
                let arguments = ["--requests", &requests, "--warmup", "0", "--rate", LATENCY_RATE];
                let run = self.load(&data.join(&set.name), server, &arguments)?;
                println!(
                    "  {} at {LATENCY_RATE} requests/s: {name} p50 {:.2} ms, p99 {:.2} ms",
                    set.name,
                    f64::from(run.p50_us) / 1_000.0,
                    f64::from(run.p99_us) / 1_000.0
                );
            }
            passes += 1;
        }
        checked.equals_oracle(&dynowatch, passes).await?;
        table.set_memory(&set.name, dynowatch.usage()?.peak_kib, dynowatch.rest_kib);
        Ok(())
    }

    /// One run of its client; it fails by itself when an answer is not a 2xx.
    fn load(&self, set: &Path, server: &Server, arguments: &[&str]) -> Result<Run> {
        let text = command::output(
            self.program("logplex-load")
                .arg("--set")
                .arg(set)
                .args(["--addr", &server.address.to_string()])
                .args(["--conns", &self.connections.to_string()])
                .args(["--pid", &server.pid().to_string()])
                .args(["--secret", SECRET, "--json"])
                .args(arguments),
        )?;
        parse(&text)
    }
}

/// The one JSON object that `logplex-load --json` prints.
fn parse(text: &str) -> Result<Run> {
    let json: Value = serde_json::from_str(text.trim()).context("the referee's report")?;
    let number = |key: &str| json[key].as_f64().with_context(|| format!("the referee's report has no number {key}"));
    Ok(Run {
        lines: number("lines_ok")? as u64,
        wall_s: number("seconds")?,
        cpu_s: number("server_cpu_s")?,
        p50_us: number("p50_us")? as u32,
        p99_us: number("p99_us")? as u32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_near_now_and_leaves_its_day_whole() {
        let noon = 20_000 * DAY_S + DAY_S / 2;
        let early = 20_000 * DAY_S + 600;
        assert_eq!(start_s(noon), noon - TIMELINE_S);
        assert_eq!(start_s(early), 20_000 * DAY_S - TIMELINE_S);
        for now_s in [noon, early] {
            let start_s = start_s(now_s);
            assert_eq!(start_s / DAY_S, (start_s + TIMELINE_S - 1) / DAY_S);
        }
    }

    #[test]
    fn its_report_is_read_or_refused() {
        let text =
            r#"{"set":"b1","requests":2,"seconds":0.5,"lines_ok":200,"server_cpu_s":0.25,"p50_us":120,"p99_us":900}"#;
        let run = parse(text).unwrap();
        assert_eq!((run.lines_per_s(), run.lines_per_cpu_s(), run.p99_us), (400.0, 800.0, 900));
        assert!(parse("{}").is_err() && parse("requests 2").is_err());
    }
}
