//! The oracle: what is truly in a set, counted while it is made and not by reading it back.

use std::collections::BTreeMap;

use serde::Serialize;

use super::SetSummary;
use super::mix::{App, Drawn, Kind};
use crate::traffic::line::stamp;
use crate::traffic::rng::Fnv;

/// `expected.json`. Sums and counts are those of one pass over the set.
#[derive(Debug, Serialize)]
pub(super) struct Expected {
    set: &'static str,
    seed: u64,
    start: String,
    bodies: u64,
    lines: u64,
    body_bytes: u64,
    bodies_fnv1a64: String,
    lines_log_fnv1a64: String,
    #[serde(flatten)]
    totals: Counts,
    /// How many lines a search for the bare text would find: more than there are true ones.
    substring_code_h12: u64,
    substring_worker_timeout: u64,
    lines_per_token: BTreeMap<String, u64>,
    apps: BTreeMap<&'static str, AppCounts>,
}

#[derive(Debug, Serialize)]
struct AppCounts {
    lines: u64,
    #[serde(flatten)]
    counts: Counts,
}

#[derive(Debug, Default, Clone, Serialize)]
struct Counts {
    kinds: BTreeMap<&'static str, u64>,
    /// Platform errors by code.
    codes: BTreeMap<&'static str, u64>,
    router_status: BTreeMap<&'static str, u64>,
    router_service_ms_sum: u64,
    router_bytes_sum: u64,
    /// `sample#` values in platform and data-service lines.
    samples: u64,
    memory_rss_centi_mb_sum: u64,
}

impl Counts {
    fn line(&mut self, drawn: &Drawn) {
        *self.kinds.entry(drawn.kind.name()).or_default() += 1;
        if let Some(code) = drawn.kind.code() {
            *self.codes.entry(code).or_default() += 1;
        }
        if let Some(router) = drawn.router {
            *self.router_status.entry(status_class(router.status)).or_default() += 1;
            self.router_service_ms_sum += router.service_ms;
            self.router_bytes_sum += router.bytes;
        }
        self.samples += samples(drawn.kind);
        self.memory_rss_centi_mb_sum += drawn.memory_rss;
    }
}

/// How many values each kind of sample line holds; a change of a text in `text.rs` must change it here, the tests see to that.
fn samples(kind: Kind) -> u64 {
    match kind {
        Kind::RuntimeLoad => 3,
        Kind::RuntimeMemory => 7,
        Kind::Postgres => 19,
        Kind::Redis => 15,
        _ => 0,
    }
}

fn status_class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}

/// Running counts of a set.
#[derive(Debug, Default)]
pub(super) struct Tally {
    bodies: u64,
    position: Position,
    bodies_hash: Fnv,
    lines_hash: Fnv,
    totals: Counts,
    substring_code_h12: u64,
    substring_worker_timeout: u64,
    apps: BTreeMap<&'static str, AppCounts>,
}

/// How far the set is written.
#[derive(Debug, Default, Clone)]
pub(super) struct Position {
    pub(super) lines: u64,
    pub(super) body_bytes: u64,
}

impl Tally {
    pub(super) fn clone_position(&self) -> Position {
        self.position.clone()
    }

    pub(super) fn line(&mut self, app: &App, drawn: &Drawn, plain: &[u8]) {
        self.position.lines += 1;
        self.lines_hash.write(plain);
        self.totals.line(drawn);
        let counts = self.apps.entry(app.name).or_insert_with(|| AppCounts { lines: 0, counts: Counts::default() });
        counts.lines += 1;
        counts.counts.line(drawn);
        self.substring_code_h12 += u64::from(drawn.line.text.contains("code=H12"));
        self.substring_worker_timeout += u64::from(drawn.line.text.contains("WORKER TIMEOUT"));
    }

    pub(super) fn body(&mut self, body: &[u8]) {
        self.bodies += 1;
        self.position.body_bytes += body.len() as u64;
        self.bodies_hash.write(body);
    }

    pub(super) fn summary(&self, name: &'static str) -> SetSummary {
        SetSummary {
            name,
            bodies: self.bodies,
            lines: self.position.lines,
            body_bytes: self.position.body_bytes,
            bodies_fnv1a64: self.bodies_hash.finish(),
        }
    }

    pub(super) fn expected(&mut self, set: &'static str, seed: u64, start_us: i64, apps: &[App]) -> Expected {
        let lines_per_token =
            apps.iter().filter_map(|app| Some((app.token.clone(), self.apps.get(app.name)?.lines))).collect();
        Expected {
            set,
            seed,
            start: stamp(start_us),
            bodies: self.bodies,
            lines: self.position.lines,
            body_bytes: self.position.body_bytes,
            bodies_fnv1a64: format!("{:016x}", self.bodies_hash.finish()),
            lines_log_fnv1a64: format!("{:016x}", self.lines_hash.finish()),
            totals: self.totals.clone(),
            substring_code_h12: self.substring_code_h12,
            substring_worker_timeout: self.substring_worker_timeout,
            lines_per_token,
            apps: std::mem::take(&mut self.apps),
        }
    }
}
