//! The metrics that dynowatch knows by name: unit, kind, meaning. `docs/metrics.md` carries this table, and a test holds
//! it there. Besides these there are the team's own (`custom.NAME`) and keys of data services that are new to us
//! (`postgres.NAME`, …), whose kind the line itself says.

use super::query::Aggregation;
use super::{Kind, Step};

/// What is known of a metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricInfo {
    /// Its name, the unit last where it has one.
    pub name: &'static str,
    /// What its values are counted in; empty for plain numbers and ratios from 0 to 1.
    pub unit: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// How often it is told, in seconds, while all is well; 0 for what is counted as it happens.
    pub every_s: u64,
    /// What it means, in a sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, help: &'static str) -> MetricInfo {
    MetricInfo { name, unit: "", kind: Kind::Counter, every_s: 0, help }
}

const fn gauge(name: &'static str, unit: &'static str, every_s: u64, help: &'static str) -> MetricInfo {
    MetricInfo { name, unit, kind: Kind::Gauge, every_s, help }
}

const fn spread(name: &'static str, unit: &'static str, help: &'static str) -> MetricInfo {
    MetricInfo { name, unit, kind: Kind::Distribution, every_s: 0, help }
}

/// Dynos report about every 20 s.
const DYNO: u64 = 20;
/// Data services report about every minute.
const DATA: u64 = 60;

/// All metrics known by name.
#[rustfmt::skip]
pub const CATALOGUE: &[MetricInfo] = &[
    counter("app.lines", "Lines of the app, of any kind. Where there are some, a counter without a value is zero; where there are none, it is unknown."),
    counter("router.requests", "Requests, by status (`200`; `none` where the router wrote none). Ask for a class as `5xx`."),
    spread("router.service_ms", "ms", "Time from the dyno's accepting to the end of the answer."),
    spread("router.connect_ms", "ms", "Time to connect to the dyno."),
    spread("router.queue_ms", "ms", "Time a request waited before the app took it, where the app prints it (`measure#queue=12ms`): the router has not said so since 2013."),
    MetricInfo { name: "router.bytes", unit: "bytes", kind: Kind::Counter, every_s: 0, help: "Bytes sent to clients." },
    counter("platform.errors", "Heroku's errors, by code (`H12`, `R14`, `L10`). Ask for a letter as `H*`."),
    gauge("dyno.count", "", 0, "Dynos per process type, as last scaled, or as Heroku tells them."),
    counter("dyno.states", "Changes of a dyno's state, by the new state (`starting`, `up`, `crashed`, `down`, `idle`, `complete`)."),
    counter("dyno.starts", "Dynos that began to start."),
    counter("dyno.restarts", "Restarts, by reason: `restart` (a release, a config change, a person) and `cycle` (the daily one)."),
    counter("dyno.crashes", "Dynos that crashed."),
    counter("dyno.exits", "Processes that ended, by exit status (`unknown` where the line has none)."),
    gauge("dyno.memory_total_mb", "MB", DYNO, "Memory in use: RSS, cache and swap."),
    gauge("dyno.memory_rss_mb", "MB", DYNO, "Memory in RAM, without cache."),
    gauge("dyno.memory_cache_mb", "MB", DYNO, "Disk cache in RAM."),
    gauge("dyno.memory_swap_mb", "MB", DYNO, "Memory on disk."),
    gauge("dyno.memory_quota_mb", "MB", DYNO, "Memory beyond which R14 begins; it steps when the dyno's size changes."),
    gauge("dyno.memory_percent", "%", DYNO, "Memory in use as a share of the quota that the same line names."),
    gauge("dyno.memory_pgpgin_pages", "pages", DYNO, "Pages read from disk since the dyno started; ask for `rate`."),
    gauge("dyno.memory_pgpgout_pages", "pages", DYNO, "Pages written to disk since the dyno started; ask for `rate`."),
    gauge("dyno.load_1m", "", DYNO, "Runnable tasks, averaged over a minute."),
    gauge("dyno.load_5m", "", DYNO, "Runnable tasks, averaged over five minutes."),
    gauge("dyno.load_15m", "", DYNO, "Runnable tasks, averaged over a quarter of an hour."),
    gauge("postgres.connections_active", "", DATA, "Connections in use."),
    gauge("postgres.connections_waiting", "", DATA, "Connections that wait for a lock."),
    gauge("postgres.connections_max", "", DATA, "Connections that the plan allows."),
    gauge("postgres.connections_percent", "%", DATA, "Connections in use as a share of the plan's."),
    gauge("postgres.table_cache_hit_ratio", "", DATA, "Table reads answered from memory, 0 to 1."),
    gauge("postgres.index_cache_hit_ratio", "", DATA, "Index reads answered from memory, 0 to 1."),
    gauge("postgres.db_size_bytes", "bytes", DATA, "Size of the database."),
    gauge("postgres.db_size_max_bytes", "bytes", DATA, "Size that the plan allows."),
    gauge("postgres.db_size_percent", "%", DATA, "Size as a share of the plan's."),
    gauge("postgres.tables", "", DATA, "Tables."),
    gauge("postgres.transactions", "", DATA, "Transaction counter of the server; ask for `rate`."),
    gauge("postgres.load_1m", "", DATA, "Load per CPU over a minute; 1 is all CPUs busy."),
    gauge("postgres.load_5m", "", DATA, "Load per CPU over five minutes."),
    gauge("postgres.load_15m", "", DATA, "Load per CPU over a quarter of an hour."),
    gauge("postgres.read_iops", "", DATA, "Reads a second, of 16 kB."),
    gauge("postgres.write_iops", "", DATA, "Writes a second, of 16 kB."),
    gauge("postgres.iops_max", "", DATA, "Operations a second that the plan allows."),
    gauge("postgres.iops_percent", "%", DATA, "Operations as a share of the plan's."),
    gauge("postgres.tmp_disk_used_bytes", "bytes", DATA, "Temporary disk in use."),
    gauge("postgres.tmp_disk_available_bytes", "bytes", DATA, "Temporary disk left."),
    gauge("postgres.memory_total_bytes", "bytes", DATA, "Memory of the server."),
    gauge("postgres.memory_free_bytes", "bytes", DATA, "Memory of the server that is free."),
    gauge("postgres.memory_cached_bytes", "bytes", DATA, "Memory that the system uses as cache."),
    gauge("postgres.memory_used_bytes", "bytes", DATA, "Memory of the database's processes."),
    gauge("postgres.memory_percent", "%", DATA, "Memory in use as a share of the plan's."),
    gauge("postgres.wal_percentage_used", "%", DATA, "Space for write-ahead log in use; from about 75 Heroku slows writes down."),
    gauge("postgres.follower_lag_commits", "", DATA, "Commits that a follower is behind."),
    gauge("pgbouncer.clients_active", "", DATA, "Clients that are linked to a server connection."),
    gauge("pgbouncer.clients_waiting", "", DATA, "Clients that wait for one."),
    gauge("pgbouncer.servers_active", "", DATA, "Server connections in use."),
    gauge("pgbouncer.servers_idle", "", DATA, "Server connections that are idle."),
    gauge("pgbouncer.max_wait_s", "s", DATA, "How long the first client in the queue has waited."),
    gauge("pgbouncer.avg_query_us", "us", DATA, "Average time of a query."),
    gauge("pgbouncer.avg_recv_bytes", "bytes", DATA, "Bytes a second received from clients."),
    gauge("pgbouncer.avg_sent_bytes", "bytes", DATA, "Bytes a second sent to clients."),
    gauge("redis.connections_active", "", DATA, "Connections in use."),
    gauge("redis.connections_max", "", DATA, "Connections that the plan allows."),
    gauge("redis.connections_percent", "%", DATA, "Connections in use as a share of the plan's."),
    gauge("redis.load_1m", "", DATA, "Load per CPU over a minute."),
    gauge("redis.load_5m", "", DATA, "Load per CPU over five minutes."),
    gauge("redis.load_15m", "", DATA, "Load per CPU over a quarter of an hour."),
    gauge("redis.read_iops", "", DATA, "Reads a second."),
    gauge("redis.write_iops", "", DATA, "Writes a second."),
    gauge("redis.iops_max", "", DATA, "Operations a second that the plan allows."),
    gauge("redis.iops_percent", "%", DATA, "Operations as a share of the plan's."),
    gauge("redis.memory_bytes", "bytes", DATA, "Memory of the store itself."),
    gauge("redis.memory_total_bytes", "bytes", DATA, "Memory of its server."),
    gauge("redis.memory_free_bytes", "bytes", DATA, "Memory of its server that is free."),
    gauge("redis.memory_cached_bytes", "bytes", DATA, "Memory that the system uses as cache."),
    gauge("redis.memory_percent", "%", DATA, "Memory in use as a share of the plan's."),
    gauge("redis.hit_ratio", "", DATA, "Reads that found their key, 0 to 1."),
    gauge("redis.evicted_keys", "", DATA, "Keys thrown out for lack of memory."),
];

/// The metric of that name, if it is one of [`CATALOGUE`].
#[must_use]
pub fn info(name: &str) -> Option<&'static MetricInfo> {
    CATALOGUE.iter().find(|info| info.name == name)
}

/// What the whole numbers of a distribution are multiplied with to be in the metric's unit: the router speaks in whole
/// milliseconds; what a team measures is kept to a thousandth.
#[must_use]
pub fn resolution(metric: &str) -> f64 {
    if matches!(metric, "router.service_ms" | "router.connect_ms") { 1.0 } else { 0.001 }
}

/// What is meant when nobody says how to aggregate.
#[must_use]
pub fn default_aggregation(metric: &str, kind: Kind) -> Aggregation {
    match kind {
        _ if metric == "dyno.count" => Aggregation::Sum,
        Kind::Counter => Aggregation::Sum,
        Kind::Gauge => Aggregation::Avg,
        Kind::Distribution => Aggregation::Quantile(0.95),
    }
}

/// The shortest step in which every slot of a healthy source has a value.
#[must_use]
pub fn finest(metric: &str) -> Step {
    match info(metric).map(|info| info.every_s) {
        Some(0) => Step::TenSeconds,
        // A custom metric may come as it happens; a level that is told every 20 s leaves holes between ten seconds.
        _ => Step::Minute,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_in_the_documentation_is_this_one() {
        let documented = include_str!("../../../../docs/metrics.md");
        for MetricInfo { name, unit, kind, help, .. } in CATALOGUE {
            let row = format!("| `{name}` | {} | {unit} | {help} |", kind.as_str());
            assert!(documented.contains(&row), "docs/metrics.md lacks: {row}");
        }
    }

    #[test]
    fn names_are_unique_and_say_their_unit() {
        let names: BTreeSet<&str> = CATALOGUE.iter().map(|info| info.name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
        for MetricInfo { name, unit, help, .. } in CATALOGUE {
            let ending = match *unit {
                "" => continue,
                "MB" => "_mb",
                "%" if name.ends_with("_percentage_used") => continue,
                "%" => "_percent",
                "bytes" if *name == "router.bytes" => continue,
                "bytes" => "_bytes",
                "ms" => "_ms",
                "us" => "_us",
                "s" => "_s",
                other => &format!("_{other}"),
            };
            assert!(name.ends_with(ending), "{name}");
            assert!(help.ends_with('.'), "{name}");
        }
    }
}
