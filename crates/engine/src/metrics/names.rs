//! What Heroku and apps call a value, and what we call it: one metric name per thing, the unit last, sizes and shares in one
//! unit each. Keys of data services that are new to us keep their name behind the service's.

use dynowatch_domain::metric::{Kind, name_of};
use dynowatch_logplex::{Feed, Sample, SampleKind, Unit};

/// What a written value is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Convert {
    /// As it is, in the base unit of its suffix.
    Plain,
    /// Bytes to MB (MiB, as Heroku counts them).
    Megabytes,
    /// A ratio to percent.
    Percent,
}

impl Convert {
    /// The value to keep.
    #[inline]
    pub(super) fn apply(self, sample: &Sample<'_>) -> f64 {
        match self {
            // A power of two: nothing is rounded.
            Self::Megabytes if sample.unit == Unit::Bytes => sample.value / (1024.0 * 1024.0),
            // 0.07 in a hundred parts is 7, not 7.000000000000001.
            Self::Percent if sample.unit != Unit::Percent => (sample.value * 1e6).round() / 1e4,
            _ => sample.value,
        }
    }
}

/// What is known of a service's names.
type Names = fn(&str) -> Option<(&'static str, Convert)>;

/// The metric, its kind and its unit of a value in a metric line.
pub(super) fn metric(feed: Feed, sample: &Sample<'_>) -> (String, Kind, Convert) {
    let kind = match sample.kind {
        SampleKind::Sample | SampleKind::Gauge => Kind::Gauge,
        SampleKind::Measure => Kind::Distribution,
        SampleKind::Count | SampleKind::Counter => Kind::Counter,
    };
    let name = name_of(sample.name);
    let (service, known): (&str, Names) = match feed {
        Feed::Runtime => ("dyno", runtime),
        Feed::Postgres => ("postgres", postgres),
        Feed::Pgbouncer => ("pgbouncer", pgbouncer),
        Feed::Redis => ("redis", redis),
        Feed::Custom => return custom(&name, kind, sample.unit),
    };
    match known(&name) {
        Some((metric, convert)) => (metric.to_owned(), kind, convert),
        None => (bounded(format!("{service}.{}", name.replace('-', "_"))), kind, Convert::Plain),
    }
}

fn bounded(mut name: String) -> String {
    name.truncate(dynowatch_domain::metric::NAME_BYTES_MAX);
    name
}

/// The team's own: `custom.NAME`, with the unit at the end unless the name has it there.
fn custom(name: &str, kind: Kind, unit: Unit) -> (String, Kind, Convert) {
    let queue =
        matches!(name, "queue" | "queue_ms" | "queue_time" | "queue_time_ms" | "request.queue" | "request_queue");
    if queue && kind == Kind::Distribution && matches!(unit, Unit::None | Unit::Milliseconds) {
        return ("router.queue_ms".to_owned(), kind, Convert::Plain);
    }
    let unit = if unit == Unit::Percent { "percent" } else { unit.as_str() };
    let has = unit.is_empty() || name.strip_suffix(unit).is_some_and(|name| name.ends_with(['_', '.', '-']));
    let name = if has { format!("custom.{name}") } else { format!("custom.{name}_{unit}") };
    (bounded(name), kind, Convert::Plain)
}

fn runtime(name: &str) -> Option<(&'static str, Convert)> {
    use Convert::{Megabytes, Plain};
    Some(match name {
        "memory_total" => ("dyno.memory_total_mb", Megabytes),
        "memory_rss" => ("dyno.memory_rss_mb", Megabytes),
        "memory_cache" => ("dyno.memory_cache_mb", Megabytes),
        "memory_swap" => ("dyno.memory_swap_mb", Megabytes),
        "memory_quota" => ("dyno.memory_quota_mb", Megabytes),
        "memory_pgpgin" => ("dyno.memory_pgpgin_pages", Plain),
        "memory_pgpgout" => ("dyno.memory_pgpgout_pages", Plain),
        "load_avg_1m" => ("dyno.load_1m", Plain),
        "load_avg_5m" => ("dyno.load_5m", Plain),
        "load_avg_15m" => ("dyno.load_15m", Plain),
        _ => return None,
    })
}

fn postgres(name: &str) -> Option<(&'static str, Convert)> {
    use Convert::{Percent, Plain};
    Some(match name {
        "active-connections" => ("postgres.connections_active", Plain),
        "waiting-connections" => ("postgres.connections_waiting", Plain),
        "max-connections" => ("postgres.connections_max", Plain),
        "connections-percentage-used" => ("postgres.connections_percent", Percent),
        "table-cache-hit-rate" => ("postgres.table_cache_hit_ratio", Plain),
        "index-cache-hit-rate" => ("postgres.index_cache_hit_ratio", Plain),
        "db_size" => ("postgres.db_size_bytes", Plain),
        "db-max-size" => ("postgres.db_size_max_bytes", Plain),
        "db-size-percentage-used" => ("postgres.db_size_percent", Percent),
        "current_transaction" => ("postgres.transactions", Plain),
        "load-avg-1m" => ("postgres.load_1m", Plain),
        "load-avg-5m" => ("postgres.load_5m", Plain),
        "load-avg-15m" => ("postgres.load_15m", Plain),
        "max-iops" => ("postgres.iops_max", Plain),
        "iops-percentage-used" => ("postgres.iops_percent", Percent),
        "tmp-disk-used" => ("postgres.tmp_disk_used_bytes", Plain),
        "tmp-disk-available" => ("postgres.tmp_disk_available_bytes", Plain),
        "memory-total" => ("postgres.memory_total_bytes", Plain),
        "memory-free" => ("postgres.memory_free_bytes", Plain),
        "memory-cached" => ("postgres.memory_cached_bytes", Plain),
        "memory-postgres" => ("postgres.memory_used_bytes", Plain),
        "memory-percentage-used" => ("postgres.memory_percent", Percent),
        "wal-percentage-used" => ("postgres.wal_percentage_used", Percent),
        _ => return None,
    })
}

fn pgbouncer(name: &str) -> Option<(&'static str, Convert)> {
    Some(match name {
        "client_active" => ("pgbouncer.clients_active", Convert::Plain),
        "client_waiting" => ("pgbouncer.clients_waiting", Convert::Plain),
        "server_active" => ("pgbouncer.servers_active", Convert::Plain),
        "server_idle" => ("pgbouncer.servers_idle", Convert::Plain),
        "max_wait" => ("pgbouncer.max_wait_s", Convert::Plain),
        "avg_query" => ("pgbouncer.avg_query_us", Convert::Plain),
        "avg_recv" => ("pgbouncer.avg_recv_bytes", Convert::Plain),
        "avg_sent" => ("pgbouncer.avg_sent_bytes", Convert::Plain),
        _ => return None,
    })
}

fn redis(name: &str) -> Option<(&'static str, Convert)> {
    use Convert::{Percent, Plain};
    Some(match name {
        "active-connections" => ("redis.connections_active", Plain),
        "max-connections" => ("redis.connections_max", Plain),
        "connection-percentage-used" | "connections-percentage-used" => ("redis.connections_percent", Percent),
        "load-avg-1m" => ("redis.load_1m", Plain),
        "load-avg-5m" => ("redis.load_5m", Plain),
        "load-avg-15m" => ("redis.load_15m", Plain),
        "max-iops" => ("redis.iops_max", Plain),
        "iops-percentage-used" => ("redis.iops_percent", Percent),
        "memory-redis" => ("redis.memory_bytes", Plain),
        "memory-total" => ("redis.memory_total_bytes", Plain),
        "memory-free" => ("redis.memory_free_bytes", Plain),
        "memory-cached" => ("redis.memory_cached_bytes", Plain),
        "memory-percentage-used" => ("redis.memory_percent", Percent),
        "hit-rate" => ("redis.hit_ratio", Plain),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use dynowatch_domain::metric::catalogue;
    use dynowatch_logplex::{Message, Record, record};

    use super::*;

    fn read(process: &[u8], text: &str) -> Vec<String> {
        let source: &[u8] =
            if process.contains(&b'.') && text.starts_with("source=web.1 dyno=") { b"heroku" } else { b"app" };
        let message = Message {
            at_us: 0,
            app_name: source,
            proc_id: process,
            drain_token: None,
            pri: None,
            text: text.as_bytes(),
            newline: true,
        };
        let Record::Samples(samples) = record(&message) else { panic!("no samples in {text}") };
        samples
            .map(|sample| {
                let (name, kind, convert) = metric(samples.feed(), &sample);
                if let Some(info) = catalogue::info(&name) {
                    assert_eq!(info.kind, kind, "{name}");
                }
                format!("{name} {} {}", kind.as_str(), convert.apply(&sample))
            })
            .collect()
    }

    #[test]
    fn every_line_of_heroku_has_its_names() {
        let cases: [(&[u8], &str, &[&str]); 6] = [
            (
                b"web.1",
                "source=web.1 dyno=heroku.1.u sample#memory_total=21.22MB sample#memory_pgpgin=348836pages sample#load_avg_1m=2.46",
                &[
                    "dyno.memory_total_mb gauge 21.22",
                    "dyno.memory_pgpgin_pages gauge 348836",
                    "dyno.load_1m gauge 2.46",
                ],
            ),
            (
                b"heroku-postgres",
                "source=DATABASE addon=p sample#db_size=5004001792bytes sample#active-connections=9 sample#wal-percentage-used=0.07 sample#memory-free=90000kB sample#read-iops=1.5 sample#new-thing=3",
                &[
                    "postgres.db_size_bytes gauge 5004001792",
                    "postgres.connections_active gauge 9",
                    "postgres.wal_percentage_used gauge 7",
                    "postgres.memory_free_bytes gauge 92160000",
                    "postgres.read_iops gauge 1.5",
                    "postgres.new_thing gauge 3",
                ],
            ),
            (
                b"heroku-pgbouncer",
                "source=pgbouncer addon=p sample#client_active=12 sample#max_wait=0",
                &["pgbouncer.clients_active gauge 12", "pgbouncer.max_wait_s gauge 0"],
            ),
            (
                b"heroku-redis",
                "source=REDIS addon=r sample#connection-percentage-used=0.25 sample#evicted-keys=0 sample#memory-redis=500000bytes",
                &[
                    "redis.connections_percent gauge 25",
                    "redis.evicted_keys gauge 0",
                    "redis.memory_bytes gauge 500000",
                ],
            ),
            (
                b"worker.1",
                "measure#db.query=12.5ms count#jobs=3 sample#heap=2MB measure#step_ms=4ms",
                &[
                    "custom.db.query_ms distribution 12.5",
                    "custom.jobs counter 3",
                    "custom.heap_bytes gauge 2097152",
                    "custom.step_ms distribution 4",
                ],
            ),
            (b"web.1", "measure#queue=17ms", &["router.queue_ms distribution 17"]),
        ];
        for (process, text, want) in cases {
            assert_eq!(read(process, text), want, "{text}");
        }
    }
}
