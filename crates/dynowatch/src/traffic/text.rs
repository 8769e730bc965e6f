//! The texts of platform lines: router, runtime metrics, data services. Their grammar, no story.

use super::rng::Rng;

/// A router line's fields, in the order the router writes them.
#[derive(Debug, Clone)]
pub(super) struct Router<'a> {
    pub(super) at: &'a str,
    /// `code` and `desc`, for errors.
    pub(super) code: Option<(&'a str, &'a str)>,
    pub(super) method: &'a str,
    /// Written as it is: Router 2.0 decodes percent signs and may escape nothing.
    pub(super) path: &'a str,
    pub(super) host: &'a str,
    pub(super) request_id: &'a str,
    pub(super) fwd: &'a str,
    /// Empty when no dyno took the request.
    pub(super) dyno: &'a str,
    pub(super) connect_ms: Option<u64>,
    pub(super) service_ms: Option<u64>,
    pub(super) status: u16,
    pub(super) bytes: u64,
    /// The last fields: [`ROUTER_2`] or [`ROUTER_LEGACY`].
    pub(super) protocol: &'a str,
}

pub(super) const ROUTER_2: &str = "protocol=http1.1 tls=true tls_version=tls1.3";
pub(super) const ROUTER_2_H2: &str = "protocol=http2.0 tls=true tls_version=tls1.3";
pub(super) const ROUTER_LEGACY: &str = "protocol=https";

pub(super) const H10: (&str, &str) = ("H10", "App crashed");
pub(super) const H12: (&str, &str) = ("H12", "Request timeout");
pub(super) const H13: (&str, &str) = ("H13", "Connection closed without response");

impl Router<'_> {
    pub(super) fn text(&self) -> String {
        let code = self.code.map(|(code, desc)| format!(" code={code} desc=\"{desc}\"")).unwrap_or_default();
        let ms = |value: Option<u64>| value.map(|ms| format!("{ms}ms")).unwrap_or_default();
        format!(
            "at={}{code} method={} path=\"{}\" host={} request_id={} fwd=\"{}\" dyno={} connect={} service={} status={} bytes={} {}",
            self.at,
            self.method,
            self.path,
            self.host,
            self.request_id,
            self.fwd,
            self.dyno,
            ms(self.connect_ms),
            ms(self.service_ms),
            self.status,
            self.bytes,
            self.protocol,
        )
    }
}

/// Hundredths as a decimal number with two places.
pub(super) fn centi(value: u64) -> String {
    format!("{}.{:02}", value / 100, value % 100)
}

/// Thousandths as a ratio or a small number with three places.
fn milli(value: u64) -> String {
    format!("{}.{:03}", value / 1_000, value % 1_000)
}

/// Who a runtime-metrics line is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct MetricsOf<'a> {
    /// Stable series key, such as `web.1`.
    pub(super) dyno: &'a str,
    pub(super) app_number: u64,
    /// Changes with every restart.
    pub(super) dyno_id: &'a str,
}

impl MetricsOf<'_> {
    fn head(&self) -> String {
        format!("source={} dyno=heroku.{}.{}", self.dyno, self.app_number, self.dyno_id)
    }

    /// The load line; load averages in hundredths.
    pub(super) fn load(&self, centi_1m: u64, centi_5m: u64, centi_15m: u64) -> String {
        format!(
            "{} sample#load_avg_1m={} sample#load_avg_5m={} sample#load_avg_15m={}",
            self.head(),
            centi(centi_1m),
            centi(centi_5m),
            centi(centi_15m)
        )
    }

    /// The memory line; sizes in hundredths of a megabyte.
    pub(super) fn memory(&self, memory: &Memory) -> String {
        format!(
            "{} sample#memory_total={}MB sample#memory_rss={}MB sample#memory_cache={}MB sample#memory_swap={}MB \
             sample#memory_pgpgin={}pages sample#memory_pgpgout={}pages sample#memory_quota={}MB",
            self.head(),
            centi(memory.rss + memory.cache + memory.swap),
            centi(memory.rss),
            centi(memory.cache),
            centi(memory.swap),
            memory.pages_in,
            memory.pages_out,
            centi(memory.quota),
        )
    }
}

/// Memory of a dyno in hundredths of a megabyte, pages as counted by the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Memory {
    pub(super) rss: u64,
    pub(super) cache: u64,
    pub(super) swap: u64,
    pub(super) pages_in: u64,
    pub(super) pages_out: u64,
    pub(super) quota: u64,
}

/// A Heroku Postgres sample line.
pub(super) fn postgres(rng: &mut Rng, addon: &str) -> String {
    format!(
        "source=DATABASE addon={addon} sample#current_transaction={} sample#db_size={}bytes sample#tables=48 \
         sample#active-connections={} sample#waiting-connections={} sample#index-cache-hit-rate={} \
         sample#table-cache-hit-rate={} sample#load-avg-1m={} sample#load-avg-5m={} sample#load-avg-15m={} \
         sample#read-iops={} sample#write-iops={} sample#tmp-disk-used={} sample#tmp-disk-available=70000000000 \
         sample#memory-total=4000000kB sample#memory-free={}kB sample#memory-cached={}kB sample#memory-postgres={}kB \
         sample#wal-percentage-used={}",
        7_300_000 + rng.below(90_000),
        5_004_001_792 + rng.below(90_000_000),
        rng.range(4, 40),
        rng.below(2),
        milli(rng.range(985, 999)),
        milli(rng.range(970, 999)),
        milli(rng.range(20, 600)),
        milli(rng.range(20, 500)),
        milli(rng.range(20, 400)),
        milli(rng.below(9_000)),
        milli(rng.below(4_000)),
        rng.range(30_000_000, 500_000_000),
        rng.range(60_000, 200_000),
        rng.range(2_900_000, 3_300_000),
        rng.range(20_000, 60_000),
        milli(rng.range(50, 90)),
    )
}

/// A Heroku Key-Value Store sample line.
pub(super) fn redis(rng: &mut Rng, addon: &str) -> String {
    let connections = rng.range(3, 30);
    format!(
        "source=REDIS addon={addon} sample#active-connections={connections} sample#max-connections=40 \
         sample#connection-percentage-used={} sample#load-avg-1m={} sample#load-avg-5m={} sample#load-avg-15m={} \
         sample#read-iops=0 sample#write-iops={} sample#memory-total=16000000kB sample#memory-free={}kB \
         sample#memory-percentage-used={} sample#memory-cached={}kB sample#memory-redis={}bytes sample#hit-rate={} \
         sample#evicted-keys={}",
        milli(connections * 25),
        milli(rng.below(300)),
        milli(rng.below(300)),
        milli(rng.below(300)),
        milli(rng.below(900)),
        rng.range(9_000_000, 12_000_000),
        milli(rng.range(250, 450)),
        rng.range(2_000_000, 3_000_000),
        rng.range(400_000, 9_000_000),
        milli(rng.range(600, 990)),
        0,
    )
}
