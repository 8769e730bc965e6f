//! The tables, in Markdown, so that they can go into `docs/performance.md` as they are.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::Result;

use super::client::Outcome;
use crate::command;

/// One run against one server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) lines: u64,
    pub(crate) wall_s: f64,
    pub(crate) cpu_s: f64,
    pub(crate) p50_us: u32,
    pub(crate) p99_us: u32,
}

impl Run {
    pub(crate) fn lines_per_s(&self) -> f64 {
        self.lines as f64 / self.wall_s
    }

    /// A run shorter than one tick of the CPU clock counts as one tick.
    pub(crate) fn lines_per_cpu_s(&self) -> f64 {
        self.lines as f64 / self.cpu_s.max(0.01)
    }
}

/// All runs, by set and server, round by round.
#[derive(Default)]
pub(crate) struct Table {
    sets: Vec<String>,
    runs: BTreeMap<(String, String), Vec<Run>>,
    latencies: Vec<(String, String, Outcome)>,
    /// Peak and rest of dynowatch, KiB.
    memory: BTreeMap<String, (u64, u64)>,
}

impl Table {
    pub(crate) fn add(&mut self, set: &str, server: &str, run: Run) {
        if !self.sets.iter().any(|known| known == set) {
            self.sets.push(set.to_owned());
        }
        self.runs.entry((set.to_owned(), server.to_owned())).or_default().push(run);
    }

    pub(crate) fn add_latency(&mut self, set: &str, server: &str, outcome: Outcome) {
        self.latencies.push((set.to_owned(), server.to_owned(), outcome));
    }

    pub(crate) fn set_memory(&mut self, set: &str, peak_kib: u64, rest_kib: u64) {
        self.memory.insert(set.to_owned(), (peak_kib, rest_kib));
    }

    fn runs(&self, set: &str, server: &str) -> &[Run] {
        self.runs.get(&(set.to_owned(), server.to_owned())).map_or(&[], Vec::as_slice)
    }

    /// Median over the rounds of lines per CPU-second against a yardstick's in the same round.
    pub(crate) fn ratio(&self, set: &str, yardstick: &str) -> Option<f64> {
        let ours = self.runs(set, "dynowatch").iter();
        let ratios: Vec<f64> = ours
            .zip(self.runs(set, yardstick))
            .map(|(ours, yardstick)| ours.lines_per_cpu_s() / yardstick.lines_per_cpu_s())
            .collect();
        median(&ratios)
    }

    /// Every set and server, with ratios to `yardstick` and, for dynowatch, memory.
    pub(crate) fn print(&self, title: &str, yardstick: &str) {
        println!("\n{title}: medians\n");
        println!(
            "| set | server | lines/s wall | lines per CPU-s | of {yardstick} | p50 ms | p99 ms | peak RSS (over rest) |"
        );
        println!("|---|---|---|---|---|---|---|---|");
        for set in &self.sets {
            for ((_, server), runs) in self.runs.iter().filter(|((of, _), _)| of == set) {
                let mid = |value: fn(&Run) -> f64| median(&runs.iter().map(value).collect::<Vec<_>>()).unwrap_or(0.0);
                let ours = server == "dynowatch";
                let ratio = self.ratio(set, yardstick).filter(|_| ours).map_or(String::new(), percent);
                let memory = self.memory.get(set).filter(|_| ours).map_or(String::new(), |(peak, rest)| {
                    format!("{} ({})", mib(*peak), mib(peak.saturating_sub(*rest)))
                });
                println!(
                    "| {set} | {server} | {} | {} | {ratio} | {:.2} | {:.2} | {memory} |",
                    short(mid(Run::lines_per_s)),
                    short(mid(Run::lines_per_cpu_s)),
                    mid(|run| f64::from(run.p50_us)) / 1_000.0,
                    mid(|run| f64::from(run.p99_us)) / 1_000.0,
                );
            }
        }
        println!();
    }

    /// Latency at a fixed rate, batches with and without matches apart.
    pub(crate) fn print_latency(&self, lines_per_s: u64) {
        println!("latency at {lines_per_s} lines/s, from the time a request was due, in ms\n");
        println!("| set | server | batches | count | p50 | p99 | max |");
        println!("|---|---|---|---|---|---|---|");
        for (set, server, outcome) in &self.latencies {
            let rows = if server == "dynowatch" {
                vec![("without matches", outcome.unmatched.clone()), ("with matches", outcome.matched.clone())]
            } else {
                vec![("all", outcome.all())]
            };
            for (batches, latencies) in rows {
                let ms = |share: f64| f64::from(latencies.quantile(share)) / 1_000.0;
                println!(
                    "| {set} | {server} | {batches} | {} | {:.2} | {:.2} | {:.2} |",
                    latencies.len(),
                    ms(0.5),
                    ms(0.99),
                    ms(1.0)
                );
            }
        }
        println!();
    }
}

/// How far our own bench and the referee agree: dynowatch against the bare hyper server of each.
pub(crate) fn agreement(ours: &Table, theirs: &Table) {
    println!("dynowatch's share of hyper discard, and of the referee's hyper full, in lines per CPU-second\n");
    println!("| set | own bench | referee | referee: of hyper full |");
    println!("|---|---|---|---|");
    for set in &theirs.sets {
        let cell = |ratio: Option<f64>| ratio.map_or_else(|| "-".to_owned(), percent);
        println!(
            "| {set} | {} | {} | {} |",
            cell(ours.ratio(set, "discard")),
            cell(theirs.ratio(set, "hyper discard")),
            cell(theirs.ratio(set, "hyper full"))
        );
    }
    println!();
}

/// Where and when the figures were made.
pub(crate) fn machine() -> Result<()> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpuinfo = read("/proc/cpuinfo");
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("unknown CPU", |rest| rest.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let revision =
        command::output(Command::new("git").args(["rev-parse", "--short", "HEAD"]).current_dir(command::root()));
    println!(
        "{} UTC, revision {}; {cores} x {model}, Linux {}, {}; load {}",
        command::output(Command::new("date").args(["-u", "+%F %H:%M"]))?.trim(),
        revision.as_deref().map_or("unknown", str::trim),
        read("/proc/sys/kernel/osrelease").trim(),
        command::output(Command::new("rustc").arg("--version"))?.trim(),
        read("/proc/loadavg").trim()
    );
    Ok(())
}

/// `YYYY-MM-DDTHH:MM:SS` in UTC. GNU `date` knows the calendar, so that this program need not.
pub(crate) fn utc(epoch_s: u64) -> Result<String> {
    let mut date = Command::new("date");
    date.args(["-u", "-d", &format!("@{epoch_s}"), "+%Y-%m-%dT%H:%M:%S"]);
    Ok(command::output(&mut date)?.trim().to_owned())
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get((sorted.len() - 1) / 2)?;
    Some((upper + lower) / 2.0)
}

/// Three figures with k or M.
pub(crate) fn short(value: f64) -> String {
    match value {
        value if value >= 1e7 => format!("{:.1} M", value / 1e6),
        value if value >= 1e6 => format!("{:.2} M", value / 1e6),
        value if value >= 1e3 => format!("{:.0} k", value / 1e3),
        value => format!("{value:.0}"),
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.0} %", ratio * 100.0)
}

pub(crate) fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1_024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(lines: u64, cpu_s: f64) -> Run {
        Run { lines, wall_s: 1.0, cpu_s, p50_us: 1, p99_us: 2 }
    }

    #[test]
    fn medians_of_few() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0]), Some(2.5));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn a_ratio_is_taken_within_each_round() {
        let mut table = Table::default();
        for (ours, yardstick) in [(50, 100), (30, 100), (90, 100)] {
            table.add("b1", "dynowatch", run(ours, 1.0));
            table.add("b1", "discard", run(yardstick, 1.0));
        }
        assert_eq!(table.ratio("b1", "discard"), Some(0.5));
        assert_eq!(table.ratio("b1", "hyper full"), None);
    }

    #[test]
    fn numbers_are_short() {
        let check = |value: f64, want: &str| assert_eq!(short(value), want);
        check(14_200_000.0, "14.2 M");
        check(3_600_000.0, "3.60 M");
        check(254_321.0, "254 k");
        check(12.0, "12");
        assert_eq!(mib(3_584), "3.5 MiB");
    }

    #[test]
    fn gnu_date_knows_the_calendar() {
        assert_eq!(utc(951_782_400).unwrap(), "2000-02-29T00:00:00");
    }
}
