//! `/metrics`: everything counted, as Prometheus reads it (OpenMetrics text). A snapshot is taken when it is asked for, so
//! nothing is counted twice. Names and labels are a promise; `docs/metrics.md` explains each.
//!
//! Counters count since the process began, each process for itself. What comes from the store (alerts, outbox) is left
//! out while the store is away: a number that is not known is not zero.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_domain::metric::exposition::exposed;
use dynowatch_domain::metric::{Kind as MetricKind, catalogue};
use dynowatch_domain::signal::Kind;
use dynowatch_engine::stats::{LAG_BOUNDS_S, LATENCY_BOUNDS_S};
use dynowatch_engine::totals::{Counts, Malformed};
use dynowatch_store::StoreError;
use dynowatch_store::alerts::AlertCounts;
use dynowatch_store::deliveries::DeliveryCount;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::api::apps::STATUS_CLASSES;
use crate::api::drain::all_counts;
use crate::health::{Report, VERSION};
use crate::router::Web;

/// A level that was not told for this long is not current any more, and left out: what is not known has no value.
const CURRENT_FOR: Duration = Duration::from_secs(300);
/// The most series of current values. Those beyond are counted in `dynowatch_series_left_out`.
const VALUES_MAX: usize = 20_000;
/// Counted above all others, over all dynos.
const TOLD_ELSEWHERE: [&str; 2] = ["platform.errors", "app.lines"];

/// The store must answer within this time, or its numbers are left out.
const STORE_TIME_MAX: Duration = Duration::from_secs(2);
const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics.
pub(crate) async fn show(State(web): State<Arc<Web>>) -> Response {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot::of(&web).await));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics could not be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Everything there is to tell, at one moment.
#[derive(Debug)]
struct Snapshot {
    apps: Vec<AppSnapshot>,
    all: Counts,
    /// Batches by answer.
    batches: [(&'static str, u64); 8],
    duplicates: u64,
    /// Accepted batches by what is odd of them.
    odd: [(&'static str, u64); 2],
    deliveries: Vec<(String, &'static str, u64)>,
    queues: [(&'static str, u64); 3],
    commits: (Vec<u64>, f64),
    commit_failures: u64,
    values: Values,
    remote_write: [(&'static str, u64); 4],
    remote_write_waiting: u64,
    checks: Checks,
    overflows: [(&'static str, u64); 11],
    limited: [(&'static str, u64); 2],
    faults: [(&'static str, u64); 3],
    streams_refused: [(&'static str, u64); 2],
    store_failures: Vec<(&'static str, u64)>,
    flush_failures: u64,
    buckets_dropped: u64,
    report: Report,
    stored: Option<Stored>,
}

#[derive(Debug)]
struct AppSnapshot {
    name: String,
    counts: Counts,
    codes: Vec<(String, u64)>,
    newest_at_s: Option<i64>,
}

/// What checks do in this process.
#[derive(Debug)]
struct Checks {
    held: u64,
    waiting: u64,
    missed: u64,
    blind: bool,
    /// Runs by outcome.
    runs: [(&'static str, u64); 4],
    start_lag: (Vec<u64>, f64),
    /// Pings by what became of them.
    pings: [(&'static str, u64); 5],
}

impl Checks {
    fn of(web: &Web) -> Self {
        let (engine, stats) = (&web.engine, web.engine.stats());
        let (held, missed) = engine.checks_run_here();
        Self {
            held: held as u64,
            waiting: engine.checks_waiting() as u64,
            missed,
            blind: engine.blind_since().is_some(),
            runs: [
                ("up", stats.check_runs_up.get()),
                ("degraded", stats.check_runs_degraded.get()),
                ("down", stats.check_runs_down.get()),
                ("unknown", stats.check_runs_unknown.get()),
            ],
            start_lag: stats.check_start_lag(),
            pings: [
                ("taken", stats.pings_taken.get()),
                ("unknown", stats.pings_unknown.get()),
                ("limited_token", stats.pings_limited_token.get()),
                ("limited_address", stats.pings_limited_address.get()),
                ("store_away", stats.pings_failed.get()),
            ],
        }
    }
}

/// What only the store knows.
#[derive(Debug)]
struct Stored {
    alerts: AlertCounts,
    deliveries: Vec<DeliveryCount>,
    /// Checks in force by state.
    checks: BTreeMap<&'static str, u64>,
}

impl Snapshot {
    async fn of(web: &Web) -> Self {
        let report = Report::of(web).await;
        let stored = match report.outbox {
            Some(_) => tokio::time::timeout(STORE_TIME_MAX, stored(web)).await.ok().and_then(Result::ok),
            None => None,
        };
        let (engine, stats, streams) = (&web.engine, web.engine.stats(), web.events.stats());
        let mut apps: Vec<AppSnapshot> = engine
            .apps()
            .iter()
            .map(|app| {
                engine.totals(app, |totals| AppSnapshot {
                    name: app.name.clone(),
                    counts: totals.counts.clone(),
                    codes: totals.codes.iter().map(|(code, n)| (code.to_string(), *n)).collect(),
                    newest_at_s: Some(totals.newest_at.as_seconds()).filter(|at| *at > 0),
                })
            })
            .collect();
        apps.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Self {
            apps,
            all: all_counts(engine),
            batches: [
                ("accepted", stats.batches_accepted.get()),
                ("unauthorized", stats.batches_unauthorized.get()),
                ("too_large", stats.batches_too_large.get()),
                ("disabled", stats.batches_disabled.get()),
                ("overloaded", stats.batches_overloaded.get()),
                ("store_away", stats.batches_store_away.get()),
                ("incomplete", stats.batches_incomplete.get()),
                ("fault", stats.batches_faulty.get()),
            ],
            duplicates: stats.batches_duplicate.get(),
            odd: [
                ("content_type", stats.batches_odd_content_type.get()),
                ("msg_count", stats.batches_odd_msg_count.get()),
            ],
            deliveries: engine.delivery_results(),
            queues: [
                ("drain_requests", stats.batches_in_progress.get()),
                ("commit", stats.commit_queue.get()),
                ("gaps", report.gaps_waiting as u64),
            ],
            commits: stats.commit_latency(),
            commit_failures: stats.commit_failures.get(),
            values: Values::of(web),
            remote_write: [
                ("sent", stats.remote_write_sent.get()),
                ("rejected", stats.remote_write_rejected.get()),
                ("dropped", stats.remote_write_dropped.get()),
                ("retried", stats.remote_write_retries.get()),
            ],
            remote_write_waiting: stats.remote_write_waiting.get(),
            checks: Checks::of(web),
            overflows: engine.overflows(),
            limited: [("token", stats.api_limited_token.get()), ("address", stats.api_limited_address.get())],
            faults: [
                ("drain", stats.batches_faulty.get()),
                ("api", stats.faults_api.get()),
                ("page", stats.faults_page.get()),
            ],
            streams_refused: [("all", streams.refused as u64), ("one", streams.refused_to_one as u64)],
            store_failures: engine.store_failures(),
            flush_failures: stats.level_flush_failures.get(),
            buckets_dropped: stats.level_buckets_dropped.get(),
            report,
            stored,
        }
    }
}

async fn stored(web: &Web) -> Result<Stored, StoreError> {
    let store = web.engine.store();
    let mut checks: BTreeMap<&'static str, u64> = Shown::ALL.iter().map(|shown| (shown.as_str(), 0)).collect();
    let (book, heads) = (web.engine.check_book(), store.check_heads().await?);
    let shown: BTreeMap<&str, Shown> = heads.iter().map(|head| (head.name.as_str(), head.shown)).collect();
    for name in book.checks.keys() {
        let shown = shown.get(name.as_str()).copied().unwrap_or(Shown::New);
        *checks.entry(shown.as_str()).or_default() += 1;
    }
    Ok(Stored { alerts: store.alert_counts().await?, deliveries: store.delivery_counts().await?, checks })
}

impl Collector for Snapshot {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        self.lines(&mut out)?;
        self.requests(&mut out)?;
        self.drain(&mut out)?;
        self.alerts(&mut out)?;
        self.checks(&mut out)?;
        self.process(&mut out)?;
        self.remote_write(&mut out)?;
        self.values.encode(&mut out)
    }
}

impl Snapshot {
    fn lines(&self, out: &mut Out<'_>) -> fmt::Result {
        let kinds = self.apps.iter().flat_map(|app| {
            Kind::ALL
                .iter()
                .zip(app.counts.kinds)
                .map(move |(kind, n)| ([("app", app.name.as_str()), ("kind", kind.as_str())], n))
        });
        out.counters("dynowatch_lines", "Lines by app and kind", kinds.filter(|(_, n)| *n > 0))?;
        let codes = self.apps.iter().flat_map(|app| {
            app.codes.iter().map(move |(code, n)| ([("app", app.name.as_str()), ("code", code.as_str())], *n))
        });
        out.counters("dynowatch_platform_errors", "Heroku's H, R and L codes", codes)?;
        out.counters("dynowatch_samples", "Values of metric lines", self.by_app(|counts| counts.samples))?;
        out.counters(
            "dynowatch_lines_ahead",
            "Lines with a stamp too far ahead, counted as arrived at once",
            self.by_app(|counts| counts.ahead),
        )?;
        let newest = self.apps.iter().filter_map(|app| Some(([("app", app.name.as_str())], app.newest_at_s?)));
        out.gauges("dynowatch_newest_line_timestamp_seconds", "The newest stamp seen", newest)
    }

    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let classes = self.apps.iter().flat_map(|app| {
            STATUS_CLASSES
                .iter()
                .zip(app.counts.status_classes)
                .map(move |(class, n)| ([("app", app.name.as_str()), ("status_class", *class)], n))
        });
        out.counters(
            "dynowatch_router_requests",
            "Requests by the class of their status",
            classes.filter(|(_, n)| *n > 0),
        )?;
        out.counters(
            "dynowatch_router_service_ms",
            "Sum of the router's service times, in milliseconds",
            self.by_app(|counts| counts.service_ms),
        )?;
        out.counters(
            "dynowatch_router_connect_ms",
            "Sum of the router's connect times, in milliseconds",
            self.by_app(|counts| counts.connect_ms),
        )?;
        out.counters("dynowatch_router_bytes", "Sum of the bytes answered", self.by_app(|counts| counts.bytes))
    }

    fn drain(&self, out: &mut Out<'_>) -> fmt::Result {
        let reasons =
            Malformed::ALL.iter().zip(self.all.malformed).map(|(reason, n)| ([("reason", reason.as_str())], n));
        out.counters("dynowatch_malformed_frames", "Frames that could not be read, by reason", reasons)?;
        out.counters(
            "dynowatch_batches",
            "Batches (POSTs of Logplex) by answer",
            self.batches.iter().map(|(result, n)| ([("result", *result)], *n)),
        )?;
        out.counter("dynowatch_batches_duplicate", "Accepted batches that had been counted before", self.duplicates)?;
        out.counters(
            "dynowatch_batches_odd",
            "Accepted batches that are not as Logplex writes them, by what is odd",
            self.odd.iter().map(|(what, n)| ([("what", *what)], *n)),
        )?;
        out.gauge("dynowatch_drain_on", "1 when the drain takes deliveries", i64::from(self.report.drain_on))
    }

    fn alerts(&self, out: &mut Out<'_>) -> fmt::Result {
        out.counters(
            "dynowatch_deliveries",
            "Attempts to deliver a message, by receiver and outcome",
            self.deliveries
                .iter()
                .map(|(receiver, result, n)| ([("receiver", receiver.as_str()), ("result", *result)], *n)),
        )?;
        let (receivers, silent) = (self.report.receivers, self.report.rules_without_receivers.len());
        out.gauge("dynowatch_receivers", "Receivers that are configured", signed(receivers as u64))?;
        out.gauge("dynowatch_rules_without_receivers", "Rules in force that tell nobody", signed(silent as u64))?;
        out.gauge("dynowatch_store_up", "1 when the store answers", i64::from(self.stored.is_some()))?;
        let full = i64::from(self.report.store_full);
        out.gauge("dynowatch_store_full", "1 while the store refuses what must be kept for want of room", full)?;
        let Some(stored) = &self.stored else { return Ok(()) };
        let states = [
            ("pending", stored.alerts.pending),
            ("firing", stored.alerts.firing),
            ("resolved", stored.alerts.resolved),
        ];
        out.gauges(
            "dynowatch_alerts",
            "Alerts by state, as far as they are kept",
            states.into_iter().map(|(state, n)| ([("state", state)], signed(n))),
        )?;
        let of = |state| {
            stored
                .deliveries
                .iter()
                .filter(move |count| count.state == state)
                .map(|count| ([("receiver", count.receiver.as_str())], signed(count.count)))
        };
        out.gauges("dynowatch_outbox_pending", "Messages to be sent", of(DeliveryState::Pending))?;
        out.gauges("dynowatch_outbox_failed", "Messages given up, as far as they are kept", of(DeliveryState::Failed))?;
        let age = self.report.oldest_pending_age().unwrap_or_default().as_secs_f64();
        out.gauge(
            "dynowatch_outbox_oldest_age_seconds",
            "For how long the oldest message to be sent has waited; 0 when none does",
            age,
        )
    }

    fn checks(&self, out: &mut Out<'_>) -> fmt::Result {
        let Checks { held, waiting, missed, blind, runs, start_lag, pings } = &self.checks;
        if let Some(stored) = &self.stored {
            out.gauges(
                "dynowatch_checks",
                "Checks by state, whichever process runs them",
                stored.checks.iter().map(|(state, n)| ([("state", *state)], signed(*n))),
            )?;
        }
        out.gauge("dynowatch_checks_held", "Checks that this process runs", signed(*held))?;
        out.gauge("dynowatch_checks_waiting", "Checks that are due and wait for room", signed(*waiting))?;
        out.gauge("dynowatch_checks_blind", "1 while no control target answers this process", i64::from(*blind))?;
        out.counter("dynowatch_check_slots_missed", "Slots in which a check was due and did not run", *missed)?;
        out.counters(
            "dynowatch_check_runs",
            "Runs of checks by what they came to",
            runs.iter().map(|(outcome, n)| ([("outcome", *outcome)], *n)),
        )?;
        out.counters(
            "dynowatch_check_pings",
            "Pings of jobs by what became of them",
            pings.iter().map(|(result, n)| ([("result", *result)], *n)),
        )?;
        let help = "How long after their slot runs of checks began";
        out.histogram("dynowatch_check_start_lag_seconds", help, start_lag, &LAG_BOUNDS_S)
    }

    fn process(&self, out: &mut Out<'_>) -> fmt::Result {
        out.gauges(
            "dynowatch_queue_depth",
            "What waits in this process",
            self.queues.iter().map(|(queue, n)| ([("queue", *queue)], signed(*n))),
        )?;
        let help = "How long commits took";
        out.histogram("dynowatch_commit_duration_seconds", help, &self.commits, &LATENCY_BOUNDS_S)?;
        out.counter(
            "dynowatch_commit_failures",
            "Commits that failed and were tried again or given up",
            self.commit_failures,
        )?;
        out.counters(
            "dynowatch_overflows",
            "What was counted under other, or not kept, because a limit was met",
            self.overflows.iter().map(|(what, n)| ([("what", *what)], *n)),
        )?;
        out.counters(
            "dynowatch_api_limited",
            "Requests to the API answered 429, by what asked too often",
            self.limited.iter().map(|(by, n)| ([("by", *by)], *n)),
        )?;
        out.counters(
            "dynowatch_faults",
            "Requests that ended in a panic and were answered 500, by what was asked",
            self.faults.iter().map(|(of, n)| ([("of", *of)], *n)),
        )?;
        out.counters(
            "dynowatch_streams_refused",
            "Streams of open pages that were refused, because all had too many or one viewer had",
            self.streams_refused.iter().map(|(by, n)| ([("by", *by)], *n)),
        )?;
        out.counters(
            "dynowatch_store_failures",
            "What the store did not take, by kind of work",
            self.store_failures.iter().map(|(work, n)| ([("work", *work)], *n)),
        )?;
        out.counter(
            "dynowatch_level_flush_failures",
            "Flushes of ten-second buckets that failed and wait for the next",
            self.flush_failures,
        )?;
        out.counter(
            "dynowatch_level_buckets_dropped",
            "Buckets of ratios and absences that were lost",
            self.buckets_dropped,
        )?;
        out.gauge(
            "dynowatch_metrics_written",
            "0 while the disk or the database is too full for metrics",
            i64::from(self.report.metrics_written),
        )?;
        out.gauge("dynowatch_start_time_seconds", "When this process began", self.report.started_at.as_seconds())?;
        out.gauges("dynowatch_build_info", "1, with the version as label", [([("version", VERSION)], 1)].into_iter())
    }

    fn remote_write(&self, out: &mut Out<'_>) -> fmt::Result {
        out.counters(
            "dynowatch_remote_write_samples",
            "Samples of remote write by what became of them; for `retried`, attempts",
            self.remote_write.iter().map(|(result, n)| ([("result", *result)], *n)),
        )?;
        out.gauge(
            "dynowatch_remote_write_waiting",
            "Samples that wait for the receiver of remote write",
            signed(self.remote_write_waiting),
        )
    }

    fn by_app(&self, value: impl Fn(&Counts) -> u64) -> impl Iterator<Item = ([(&str, &str); 1], u64)> {
        self.apps.iter().map(move |app| ([("app", app.name.as_str())], value(&app.counts)))
    }
}

/// A series' labels, as name and value.
type Labels = Vec<(String, String)>;

/// The newest value of every series this process has seen, by family.
#[derive(Debug, Default)]
struct Values {
    families: BTreeMap<(String, bool), Vec<(Labels, f64)>>,
    left_out: usize,
}

impl Values {
    fn of(web: &Web) -> Self {
        let (mut values, mut room) = (Self::default(), VALUES_MAX);
        let now: Timestamp = web.engine.now();
        let apps = web.engine.apps().clone();
        for app in apps.iter() {
            for latest in web.engine.latest(app) {
                let counted = latest.key.kind == MetricKind::Counter;
                let old = !counted && now.since(latest.at) > CURRENT_FOR;
                if old || TOLD_ELSEWHERE.contains(&&*latest.key.metric) {
                    continue;
                }
                if room == 0 {
                    values.left_out += 1;
                    continue;
                }
                room -= 1;
                let exposed = exposed(&latest.key);
                let labels = std::iter::once(("app", app.name.as_str())).chain(exposed.labels);
                let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
                values.families.entry((exposed.family, counted)).or_default().push((labels, latest.value));
            }
        }
        values
    }

    fn encode(&self, out: &mut Out<'_>) -> fmt::Result {
        for ((family, counted), values) in &self.families {
            let info = catalogue::CATALOGUE
                .iter()
                .find(|info| *family == format!("dynowatch_{}", info.name.replace('.', "_")));
            let help = info.map_or("Values of the team's own lines, newest", |info| info.help.trim_end_matches('.'));
            let kind = if *counted { MetricType::Counter } else { MetricType::Gauge };
            let mut encoder = out.0.encode_descriptor(family, help, None, kind)?;
            for (labels, value) in values {
                let mut metric = encoder.encode_family(labels)?;
                if *counted {
                    metric.encode_counter::<NoLabelSet, _, u64>(value, None)?;
                } else {
                    metric.encode_gauge(value)?;
                }
            }
        }
        out.gauge(
            "dynowatch_series_left_out",
            "Series of current values that found no room on this page",
            signed(self.left_out as u64),
        )
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Writes families. The encoder itself adds `_total` to the names of counters.
struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn counters<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    fn gauges<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        values: impl Iterator<Item = (L, i64)>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            family.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    fn histogram(&mut self, name: &str, help: &str, (counts, sum): &(Vec<u64>, f64), bounds: &[f64]) -> fmt::Result {
        let bounds = bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts.iter().copied()).collect();
        let mut family = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }
}
