//! `workload`: seeded traffic in files, for benchmarks.

use std::path::PathBuf;

use super::context::Context;
use super::failure::Failure;
use super::out::grouped;
use crate::traffic::{WorkloadArgs, write_workload};

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder for the sets
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Same seed, start and scale: same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// First stamp, UTC, as in 2026-05-07T08:00:00
    #[arg(long, value_name = "STAMP")]
    start: String,
    /// Number of bodies in percent of the full workload
    #[arg(long, value_name = "PERCENT", default_value_t = 100)]
    scale: u64,
}

/// Writes the sets and says what they are.
pub(crate) fn run(ctx: &mut Context, args: Args) -> Result<(), Failure> {
    let Args { out, seed, start, scale } = args;
    let summary = write_workload(&WorkloadArgs { out, seed, start, scale_percent: scale })?;
    if ctx.json {
        let sets: Vec<_> = summary
            .sets
            .iter()
            .map(|set| {
                serde_json::json!({
                    "name": set.name, "bodies": set.bodies, "lines": set.lines, "body_bytes": set.body_bytes,
                    "bodies_fnv1a64": format!("{:016x}", set.bodies_fnv1a64),
                })
            })
            .collect();
        return ctx.out.json(&sets);
    }
    let rows: Vec<_> = summary
        .sets
        .iter()
        .map(|set| {
            let fingerprint = format!("{:016x}", set.bodies_fnv1a64);
            vec![set.name.to_owned(), grouped(set.bodies), grouped(set.lines), grouped(set.body_bytes), fingerprint]
        })
        .collect();
    ctx.out.table(&["SET", "BODIES", "LINES", "BYTES", "FNV-1A"], &rows)
}
