//! The benchmark's workload: four sets of POST bodies that differ in size only, and the oracle of each.
//!
//! A set is a folder:
//!
//! | file            | content |
//! |-----------------|---------|
//! | `bodies.bin`    | POST bodies, back to back |
//! | `index.tsv`     | offset, length, msg_count, frame_id, drain_token, app, matches (0 or 1); one row per body |
//! | `lines.log`     | the same lines as `heroku logs` prints them, all apps |
//! | `expected.json` | true counts and sums: what a receiver's counters must show after one pass |
//!
//! `matches` is 1 when the body holds a line that the bench's rules count: H12, H13, R14, a worker timeout,
//! or an app line that quotes `WORKER TIMEOUT` (the runbook's text rule counts that as well).

mod mix;
mod tally;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};

use super::line::parse_stamp;
use super::rng::Rng;
use mix::App;
use tally::Tally;

/// Every set spans this many seconds from its start, whatever its number of lines. A start of "now minus this"
/// gives stamps that end at now and never lie ahead.
pub const TIMELINE_S: i64 = 3_600;

/// Name, bodies at 100 percent, lines per body (give or take a fifth).
const SETS: [(&str, u64, u64); 4] =
    [("b1", 20_000, 1), ("b10", 10_000, 10), ("b100", 3_000, 100), ("b1000", 200, 1_000)];

/// What to write, and where.
#[derive(Debug, Clone)]
pub struct WorkloadArgs {
    /// Folder for the sets; made when missing, files in it are replaced.
    pub out: PathBuf,
    /// Same seed, start and scale: same bytes.
    pub seed: u64,
    /// First stamp, `YYYY-MM-DDTHH:MM:SS`, UTC. No byte count depends on it.
    pub start: String,
    /// Number of bodies in percent of the full workload: 1 to 10,000. 100 is some 620,000 lines and 370 MB of files.
    pub scale_percent: u64,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadSummary {
    /// One entry per set, smallest bodies first.
    pub sets: Vec<SetSummary>,
}

/// One set's size and fingerprint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetSummary {
    /// `b1`, `b10`, `b100` or `b1000`.
    pub name: &'static str,
    /// POST bodies.
    pub bodies: u64,
    /// Log lines in all bodies.
    pub lines: u64,
    /// Bytes of all bodies.
    pub body_bytes: u64,
    /// FNV-1a of `bodies.bin`.
    pub bodies_fnv1a64: u64,
}

/// Writes all sets.
///
/// # Errors
/// When `start` or `scale_percent` is not as described in [`WorkloadArgs`], or a file cannot be written.
pub fn write_workload(args: &WorkloadArgs) -> anyhow::Result<WorkloadSummary> {
    let start_us =
        parse_stamp(&args.start).with_context(|| format!("start `{}`: want YYYY-MM-DDTHH:MM:SS in UTC", args.start))?;
    ensure!(
        (1..=10_000).contains(&args.scale_percent),
        "scale {}: want a percentage from 1 to 10000",
        args.scale_percent
    );
    let sets = SETS
        .iter()
        .map(|&(name, bodies, lines_per_body)| {
            let set = Set {
                name,
                bodies: (bodies * args.scale_percent / 100).max(1),
                lines_per_body,
                seed: args.seed,
                start_us,
            };
            set.write(&args.out.join(name)).with_context(|| format!("writing set {name}"))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(WorkloadSummary { sets })
}

/// One set to write.
#[derive(Debug)]
struct Set {
    name: &'static str,
    bodies: u64,
    lines_per_body: u64,
    seed: u64,
    start_us: i64,
}

impl Set {
    fn write(&self, dir: &Path) -> anyhow::Result<SetSummary> {
        fs::create_dir_all(dir)?;
        let create = |name: &str| File::create(dir.join(name)).map(BufWriter::new);
        let (mut bodies, mut index, mut lines) = (create("bodies.bin")?, create("index.tsv")?, create("lines.log")?);
        let mut rng = Rng::derived(self.seed, self.name);
        // The apps and their tokens are those of the seed, the same in every set: one configuration serves all.
        let apps = mix::apps(&mut Rng::derived(self.seed, "apps"));
        let mut tally = Tally::default();
        let mut timeline = self.timeline();
        let mut body = Vec::new();
        for _ in 0..self.bodies {
            let app = mix::pick_app(&mut rng, &apps);
            let before = tally.clone_position();
            body.clear();
            let mut matches = false;
            for _ in 0..self.body_lines(&mut rng) {
                let at_us = timeline.next(&mut rng);
                let drawn = mix::draw(&mut rng, app, at_us);
                matches |= drawn.kind.matches_a_rule();
                drawn.line.frame_into(&mut body);
                let plain = drawn.line.plain();
                lines.write_all(plain.as_bytes())?;
                tally.line(app, &drawn, plain.as_bytes());
            }
            tally.body(&body);
            bodies.write_all(&body)?;
            writeln!(index, "{}", index_row(&before, &body, &tally, &mut rng, app, matches))?;
        }
        for file in [&mut bodies, &mut index, &mut lines] {
            file.flush()?;
        }
        let expected = tally.expected(self.name, self.seed, self.start_us, &apps);
        fs::write(dir.join("expected.json"), serde_json::to_vec_pretty(&expected)?)?;
        Ok(tally.summary(self.name))
    }

    fn body_lines(&self, rng: &mut Rng) -> u64 {
        let jitter = self.lines_per_body / 5;
        rng.range(self.lines_per_body - jitter, self.lines_per_body + jitter)
    }

    fn timeline(&self) -> Timeline {
        let span_us = TIMELINE_S * 1_000_000;
        let mean_us = span_us / i64::try_from(self.bodies * self.lines_per_body).unwrap_or(i64::MAX).max(1);
        Timeline { now_us: self.start_us, last_us: self.start_us + span_us - 1, mean_us: mean_us.max(1) }
    }
}

/// One row of `index.tsv`, without its newline.
fn index_row(before: &tally::Position, body: &[u8], tally: &Tally, rng: &mut Rng, app: &App, matches: bool) -> String {
    format!(
        "{}\t{}\t{}\t{:016X}{:016X}\t{}\t{}\t{}",
        before.body_bytes,
        body.len(),
        tally.clone_position().lines - before.lines,
        rng.next_u64(),
        rng.next_u64(),
        app.token,
        app.name,
        u8::from(matches)
    )
}

/// Stamps that only go up, about evenly spread, and never leave the span.
#[derive(Debug)]
struct Timeline {
    now_us: i64,
    last_us: i64,
    mean_us: i64,
}

impl Timeline {
    fn next(&mut self, rng: &mut Rng) -> i64 {
        self.now_us = (self.now_us + rng.range_us(1, 2 * self.mean_us - 1)).min(self.last_us);
        self.now_us
    }
}

#[cfg(test)]
mod tests;
