//! Which charts an app has, and which questions each of them asks: a chart is a list of parts, a part is one question about
//! metrics and how its answer is drawn.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::metric::query::{Aggregation, Grouping, Labels, Sources};
use dynowatch_domain::metric::{SeriesQuery, Step, dyno_type};
use dynowatch_engine::metrics::query::MetricOfApp;

use crate::pages::chart::{Drawn, Shade};
use crate::pages::range::Range;

/// Points of a chart, about: its table shows every one of them.
const POINTS_AIM: u64 = 200;
/// Databases and Redis instances with charts of their own.
const DATA_SOURCES_MAX: usize = 6;

/// What time a page shows, in slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) from: Timestamp,
    pub(crate) until: Timestamp,
    pub(crate) step: Duration,
}

impl Span {
    /// The slots that cover a range.
    pub(crate) fn of(range: &Range, now: Timestamp) -> Self {
        const STEPS: [u64; 9] = [60, 300, 600, 1_800, 3_600, 14_400, 21_600, 43_200, 86_400];
        let kept = |step: &&Step| **step > Step::TenSeconds && now.since(range.from) <= step.kept();
        let finest = Step::ALL.iter().find(kept).unwrap_or(&Step::Hour).length().as_secs();
        let fits = |step: &u64| *step >= finest && range.length().as_secs() / step <= POINTS_AIM;
        let step = Duration::from_secs(STEPS.into_iter().find(fits).unwrap_or(86_400));
        let until = (range.to + step - Duration::from_micros(1)).floor(step);
        Self { from: range.from.floor(step), until, step }
    }
}

/// What a chart is about; its title and summary follow from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Response,
    Throughput,
    Memory,
    Share,
    Load,
    Dynos,
    Errors,
    Restarts,
    /// Of a database: the newest and the highest value of its first series.
    Level,
}

impl What {
    /// Whether its values are counted in a bucket, so that they grow with the bucket.
    pub(crate) fn is_count(self) -> bool {
        matches!(self, Self::Throughput | Self::Errors | Self::Restarts)
    }
}

/// What the series of a part are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Named {
    This(&'static str),
    Source,
    /// A status class, with its state as colour.
    Class,
    Label,
}

/// One question of a chart and how the answer is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    pub(crate) query: SeriesQuery,
    pub(crate) named: Named,
    pub(crate) drawn: Drawn,
    pub(crate) factor: f64,
}

/// A chart to be.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Unlike every other of its page; letters, digits and `-`.
    pub(crate) id: String,
    pub(crate) about: String,
    pub(crate) what: What,
    pub(crate) unit: &'static str,
    pub(crate) parts: Vec<Part>,
    pub(crate) shades: Vec<Shade>,
    /// The add-on that it belongs to.
    pub(crate) addon: Option<String>,
}

/// What is looked at: an app, or one of its dynos.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    /// Empty for the whole app.
    pub(crate) dyno: String,
    /// The process type whose memory is shown in megabytes.
    pub(crate) process: String,
}

const SOURCE: Grouping = Grouping { source: true, label: false, class: false };
const CLASS: Grouping = Grouping { source: false, label: false, class: true };
const LABEL: Grouping = Grouping { source: false, label: true, class: false };
const NONE: Grouping = Grouping { source: false, label: false, class: false };

struct Builder {
    span: Span,
    dyno: String,
}

impl Builder {
    fn query(&self, metric: &str, aggregation: Aggregation, sources: Sources, by: Grouping) -> SeriesQuery {
        let Span { from, until, step } = self.span;
        SeriesQuery { sources, by, aggregation: Some(aggregation), ..SeriesQuery::new(metric, from, until, step) }
    }

    /// All of the app, or the dyno that is looked at.
    fn whole(&self) -> Sources {
        if self.dyno.is_empty() { Sources::App } else { Sources::Named(self.dyno.clone()) }
    }

    fn part(&self, metric: &str, aggregation: Aggregation, named: Named, drawn: Drawn) -> Part {
        let by = match named {
            Named::This(_) => NONE,
            Named::Source => SOURCE,
            Named::Class => CLASS,
            Named::Label => LABEL,
        };
        let sources = if named == Named::Source && self.dyno.is_empty() { Sources::Each } else { self.whole() };
        Part { query: self.query(metric, aggregation, sources, by), named, drawn, factor: 1.0 }
    }

    fn of(mut part: Part, source: &str) -> Part {
        part.query.sources = Sources::Named(source.to_owned());
        part
    }

    fn requests(&self) -> [Plan; 2] {
        let line = |of, name| self.part("router.service_ms", of, Named::This(name), Drawn::Line);
        let response = vec![
            line(Aggregation::Quantile(0.5), "p50"),
            line(Aggregation::Quantile(0.95), "p95"),
            line(Aggregation::Quantile(0.99), "p99"),
            line(Aggregation::Max, "max"),
        ];
        let classes = vec![self.part("router.requests", Aggregation::Sum, Named::Class, Drawn::Stacked)];
        [
            plan("response", "Response time", What::Response, "ms", response),
            plan("throughput", "Requests", What::Throughput, "", classes),
        ]
    }

    fn memory(&self, process: &str) -> Plan {
        let source = if self.dyno.is_empty() { process } else { &self.dyno };
        let line = |metric, of, name, drawn| Self::of(self.part(metric, of, Named::This(name), drawn), source);
        let mut parts = vec![
            line("dyno.memory_quota_mb", Aggregation::Last, "quota", Drawn::Limit),
            line(
                "dyno.memory_total_mb",
                Aggregation::Max,
                if self.dyno.is_empty() { "highest dyno" } else { "highest" },
                Drawn::Line,
            ),
            line("dyno.memory_total_mb", Aggregation::Avg, "average", Drawn::Line),
            line("dyno.memory_rss_mb", Aggregation::Avg, "RSS", Drawn::Line),
        ];
        if !self.dyno.is_empty() {
            parts.push(line("dyno.memory_cache_mb", Aggregation::Avg, "cache", Drawn::Line));
        }
        parts.push(line("dyno.memory_swap_mb", Aggregation::Avg, "swap", Drawn::Line));
        let shade = |from, to, label, state| Shade { from, to, label, state, of: Some(0) };
        let about = if self.dyno.is_empty() { format!("Memory of {process}") } else { "Memory".to_owned() };
        let shades = vec![shade(1.0, Some(2.0), "R14", "degraded"), shade(2.0, None, "R15", "down")];
        Plan { about, shades, ..plan("memory", "", What::Memory, "MB", parts) }
    }

    fn dynos(&self) -> Vec<Plan> {
        let share = vec![self.part("dyno.memory_percent", Aggregation::Max, Named::Source, Drawn::Line)];
        let shade = |from, to, label, state| Shade { from, to, label, state, of: None };
        let shades = vec![shade(100.0, Some(200.0), "R14", "degraded"), shade(200.0, None, "R15", "down")];
        let load = if self.dyno.is_empty() {
            vec![self.part("dyno.load_1m", Aggregation::Max, Named::Source, Drawn::Line)]
        } else {
            let line = |metric, name| self.part(metric, Aggregation::Avg, Named::This(name), Drawn::Line);
            vec![line("dyno.load_1m", "1 min"), line("dyno.load_5m", "5 min"), line("dyno.load_15m", "15 min")]
        };
        let mut plans = vec![
            Plan { shades, ..plan("share", "Memory, share of quota", What::Share, "%", share) },
            plan("load", "Load", What::Load, "", load),
        ];
        if self.dyno.is_empty() {
            let count = vec![self.part("dyno.count", Aggregation::Last, Named::Source, Drawn::Step)];
            plans.push(plan("dynos", "Dynos", What::Dynos, "", count));
        }
        let errors = vec![self.part("platform.errors", Aggregation::Sum, Named::Label, Drawn::Bars)];
        plans.push(plan("errors", "Platform errors", What::Errors, "", errors));
        let bars = |metric, name| self.part(metric, Aggregation::Sum, Named::This(name), Drawn::Bars);
        let restarts = vec![bars("dyno.crashes", "crashes"), bars("dyno.restarts", "restarts")];
        plans.push(plan("restarts", "Restarts and crashes", What::Restarts, "", restarts));
        plans
    }

    /// The panels of one add-on, as far as it tells of what they show.
    fn data(&self, place: usize, source: &str, known: &[MetricOfApp]) -> Vec<Plan> {
        type Row = (&'static str, &'static str, &'static str, &'static [(&'static str, &'static str, f64, Drawn)]);
        #[rustfmt::skip]
        const PANELS: [Row; 11] = [
            ("pg-connections", "Connections", "", &[("postgres.connections_active", "active", 1.0, Drawn::Line), ("postgres.connections_waiting", "waiting", 1.0, Drawn::Line), ("postgres.connections_max", "plan's limit", 1.0, Drawn::Limit)]),
            ("pg-cache", "Cache hits", "%", &[("postgres.table_cache_hit_ratio", "tables", 100.0, Drawn::Line), ("postgres.index_cache_hit_ratio", "indexes", 100.0, Drawn::Line)]),
            ("pg-iops", "Operations a second", "", &[("postgres.read_iops", "reads", 1.0, Drawn::Line), ("postgres.write_iops", "writes", 1.0, Drawn::Line), ("postgres.iops_max", "plan's limit", 1.0, Drawn::Limit)]),
            ("pg-load", "Load per CPU", "", &[("postgres.load_1m", "1 min", 1.0, Drawn::Line), ("postgres.load_5m", "5 min", 1.0, Drawn::Line)]),
            ("pg-size", "Size", "GB", &[("postgres.db_size_bytes", "size", 1e-9, Drawn::Line), ("postgres.db_size_max_bytes", "plan's limit", 1e-9, Drawn::Limit)]),
            ("pg-wal", "Write-ahead log and follower", "", &[("postgres.wal_percentage_used", "WAL used, %", 1.0, Drawn::Line), ("postgres.follower_lag_commits", "commits behind", 1.0, Drawn::Line)]),
            ("bouncer", "Connection pool", "", &[("pgbouncer.clients_active", "clients", 1.0, Drawn::Line), ("pgbouncer.clients_waiting", "waiting", 1.0, Drawn::Line), ("pgbouncer.servers_active", "servers", 1.0, Drawn::Line)]),
            ("redis-memory", "Memory", "MB", &[("redis.memory_bytes", "used", 1e-6, Drawn::Line)]),
            ("redis-connections", "Connections", "", &[("redis.connections_active", "active", 1.0, Drawn::Line), ("redis.connections_max", "plan's limit", 1.0, Drawn::Limit)]),
            ("redis-hits", "Hits", "%", &[("redis.hit_ratio", "hits", 100.0, Drawn::Line)]),
            ("redis-evicted", "Evicted keys", "", &[("redis.evicted_keys", "evicted", 1.0, Drawn::Line)]),
        ];
        let tells =
            |metric: &str| known.iter().any(|known| known.name == metric && known.sources.iter().any(|s| s == source));
        let panel = |(id, about, unit, series): Row| {
            let parts: Vec<Part> = series
                .iter()
                .filter(|(metric, ..)| tells(metric))
                .map(|(metric, name, factor, drawn)| {
                    let part = self.part(metric, Aggregation::Avg, Named::This(name), *drawn);
                    Part { factor: *factor, ..Self::of(part, source) }
                })
                .collect();
            let plan = plan(&format!("{id}-{place}"), about, What::Level, unit, parts);
            (!plan.parts.is_empty()).then(|| Plan { addon: Some(source.to_owned()), ..plan })
        };
        PANELS.into_iter().filter_map(panel).collect()
    }
}

fn plan(id: &str, about: &str, what: What, unit: &'static str, parts: Vec<Part>) -> Plan {
    Plan { id: id.to_owned(), about: about.to_owned(), what, unit, parts, shades: Vec::new(), addon: None }
}

/// The process types that an app has told of, by name.
pub(crate) fn process_types(known: &[MetricOfApp]) -> Vec<String> {
    let of_dynos = known.iter().filter(|metric| metric.name.starts_with("dyno."));
    let types = of_dynos.flat_map(|metric| metric.sources.iter()).map(|source| dyno_type(source).unwrap_or(source));
    let mut types: Vec<String> = types.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    types.sort_unstable();
    types.dedup();
    types
}

/// The charts of an app or a dyno over a span, in the order of the page.
pub(crate) fn charts(span: Span, scope: &Scope, known: &[MetricOfApp]) -> Vec<Plan> {
    let builder = Builder { span, dyno: scope.dyno.clone() };
    let mut plans = Vec::new();
    // Heroku's router speaks to dynos of the type `web` alone: another one's charts of requests would always be empty.
    if scope.dyno.is_empty() || scope.dyno.starts_with("web.") {
        plans.extend(builder.requests());
    }
    plans.push(builder.memory(&scope.process));
    plans.extend(builder.dynos());
    if scope.dyno.is_empty() {
        let is_data =
            |metric: &&MetricOfApp| ["postgres.", "pgbouncer.", "redis."].iter().any(|of| metric.name.starts_with(of));
        let mut sources: Vec<&String> = known.iter().filter(is_data).flat_map(|metric| &metric.sources).collect();
        sources.sort_unstable();
        sources.dedup();
        for (place, source) in sources.into_iter().take(DATA_SOURCES_MAX).enumerate() {
            plans.extend(builder.data(place + 1, source, known));
        }
    }
    plans
}

/// A question about a few numbers: one metric, aggregated over slots of a span.
pub(crate) fn number(span: Span, metric: &str, aggregation: Aggregation, labels: Labels) -> SeriesQuery {
    let Span { from, until, step } = span;
    SeriesQuery { labels, aggregation: Some(aggregation), ..SeriesQuery::new(metric, from, until, step) }
}
