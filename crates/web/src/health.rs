//! Is it well? `/healthz` speaks of the process alone, for whoever restarts it. `/readyz` says whether it can do its work,
//! and names aloud what works only in part: the page and `/metrics` draw on the same [`Report`].

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use dynowatch_domain::Timestamp;
use dynowatch_engine::metrics::ROOM_WARN_PERCENT;
use dynowatch_store::StoreError;
use dynowatch_store::levels::MetricsRoom;
use serde::Serialize;

use crate::api::Time;
use crate::auth::may_read;
use crate::flood::may_ask_from;
use crate::router::Web;
use crate::show::coarse;

/// The version of this program.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The store must answer within this time to count as reachable.
const STORE_TIME_MAX: Duration = Duration::from_secs(2);
/// An answer of the store to `/readyz` is good for this long.
const RECENT_MAX: Duration = Duration::from_secs(1);
/// Messages given up within this time are named.
const FAILED_SHOWN: Duration = Duration::from_secs(86_400);
/// A message that has waited longer is named.
const OUTBOX_AGE_MAX: Duration = Duration::from_secs(60);
/// The most rules without a receiver that are named.
const RULES_NAMED_MAX: usize = 10;

/// What the process says of itself.
#[derive(Serialize)]
struct Alive {
    status: &'static str,
    version: &'static str,
}

/// The process answers; that is all this says.
pub(crate) async fn healthz() -> Response {
    Json(Alive { status: "ok", version: VERSION }).into_response()
}

/// What the store says of the outbox.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outbox {
    pub(crate) failed_24h: u64,
    pub(crate) oldest_pending: Option<Timestamp>,
}

/// How it stands with this process.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) now: Timestamp,
    pub(crate) started_at: Timestamp,
    /// `None` when the store does not answer.
    pub(crate) outbox: Option<Outbox>,
    /// Whether the store refuses what must be kept for want of room.
    pub(crate) store_full: bool,
    pub(crate) drain_on: bool,
    pub(crate) metrics_written: bool,
    pub(crate) metrics_room: MetricsRoom,
    pub(crate) metric_values_dropped: u64,
    /// Rules in force whose alerts nobody is told of, by name.
    pub(crate) rules_without_receivers: Vec<String>,
    pub(crate) receivers: usize,
    pub(crate) groups_overflowed: u64,
    pub(crate) apps_overflowed: u64,
    pub(crate) unauthorized: u64,
    /// Deliveries answered 413.
    pub(crate) too_large: u64,
    pub(crate) buckets_dropped: u64,
    pub(crate) gaps_waiting: usize,
}

/// What was found a moment ago, so that however many ask, the store is asked once. Those who come while it is being
/// asked wait for that answer, at most as long as it may take.
pub(crate) struct Recent<T>(tokio::sync::Mutex<Option<(Timestamp, Option<T>)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(tokio::sync::Mutex::new(None))
    }
}

impl<T: Copy> Recent<T> {
    /// What was found within [`RECENT_MAX`], or else what `look` finds now. That nothing was found is kept as well.
    async fn get(&self, now: Timestamp, look: impl Future<Output = Option<T>>) -> Option<T> {
        let mut found = self.0.lock().await;
        if let Some((at, value)) = *found
            && at <= now
            && now.since(at) < RECENT_MAX
        {
            return value;
        }
        let value = look.await;
        *found = Some((now, value));
        value
    }
}

impl Report {
    /// Asks the store and looks around.
    pub(crate) async fn of(web: &Web) -> Self {
        Self::with(web, Self::outbox(web).await)
    }

    /// As [`Report::of`], but what the store says may be a second old: for those whom nobody knows.
    async fn recent(web: &Web) -> Self {
        Self::with(web, web.outbox.get(web.engine.now(), Self::outbox(web)).await)
    }

    async fn outbox(web: &Web) -> Option<Outbox> {
        match tokio::time::timeout(STORE_TIME_MAX, outbox(web, web.engine.now())).await {
            Ok(Ok(outbox)) => Some(outbox),
            Ok(Err(error)) => {
                tracing::warn!(%error, "the store did not answer a look at its health");
                None
            }
            Err(_) => {
                tracing::warn!("the store did not answer a look at its health in time");
                None
            }
        }
    }

    fn with(web: &Web, outbox: Option<Outbox>) -> Self {
        let (engine, now) = (&web.engine, web.engine.now());
        let (book, stats) = (engine.rules(), engine.stats());
        let silent = book.iter().filter(|rule| rule.receivers.is_empty() && book.active(&rule.name).is_some());
        Self {
            now,
            started_at: engine.started_at(),
            outbox,
            store_full: stats.store_full.get() > 0,
            drain_on: web.drain.is_on(),
            metrics_written: engine.metrics_written(),
            metrics_room: engine.store().metrics_room(),
            metric_values_dropped: stats.metric_values_dropped.get(),
            rules_without_receivers: silent.map(|rule| rule.name.clone()).collect(),
            receivers: engine.receivers().iter().count(),
            groups_overflowed: stats.groups_overflowed.get(),
            apps_overflowed: stats.apps_overflowed.get(),
            unauthorized: stats.batches_unauthorized.get(),
            too_large: stats.batches_too_large.get(),
            buckets_dropped: stats.level_buckets_dropped.get(),
            gaps_waiting: engine.gaps_waiting(),
        }
    }

    /// Whether the store can be read and written: without it nothing that matters is taken or told.
    pub(crate) fn is_ready(&self) -> bool {
        self.outbox.is_some() && !self.store_full
    }

    /// Since how long the oldest message waits.
    pub(crate) fn oldest_pending_age(&self) -> Option<Duration> {
        self.outbox?.oldest_pending.map(|since| self.now.since(since))
    }

    /// What works only in part, in words, the worst first.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let mut warn = |when: bool, text: String| {
            if when {
                warnings.push(text);
            }
        };
        warn(
            self.outbox.is_none(),
            "the store does not answer: deliveries of logs in which something matters are refused with 503".to_owned(),
        );
        warn(
            self.store_full,
            "the store is full (disk or database): deliveries of logs in which something matters are refused with 503, \
             and no alert is written until there is room"
                .to_owned(),
        );
        let failed = self.outbox.map_or(0, |outbox| outbox.failed_24h);
        warn(failed > 0, format!("{failed} messages of the last 24 h were given up: see /deliveries"));
        let age = self.oldest_pending_age().unwrap_or_default();
        warn(age > OUTBOX_AGE_MAX, format!("a message has waited for {} to be sent: see /deliveries", coarse(age)));
        warn(!self.drain_on, "the drain is off: set drain.enabled and HEROKU_LOG_DRAIN_HMAC_SECRET".to_owned());
        warn(
            self.unauthorized > 0,
            format!("log deliveries refused with 401, and lost: {}; check the drain's URL", self.unauthorized),
        );
        warn(
            self.too_large > 0,
            format!("log deliveries longer than drain.body_bytes_max, and lost: {}", self.too_large),
        );
        warn(
            !self.metrics_written,
            "metrics are not written (disk or database full?): alerts on counts go on; ratios, absences and rules on \
             metrics are unknown, and neither fire nor resolve"
                .to_owned(),
        );
        let room = self.metrics_room;
        warn(
            room.above(ROOM_WARN_PERCENT),
            format!(
                "metrics take {} of {} MiB (store.metrics_bytes_max): near the limit the oldest minutes go",
                room.bytes >> 20,
                room.bytes_max >> 20
            ),
        );
        warn(
            self.metric_values_dropped > 0,
            format!("{} values of metrics were dropped while the store was away", self.metric_values_dropped),
        );
        warn(self.buckets_dropped > 0, format!("{} buckets of ratios and absences were dropped", self.buckets_dropped));
        warn(
            self.gaps_waiting > 0,
            format!("times of refused deliveries, still to be written down: {}", self.gaps_waiting),
        );
        warn(
            self.groups_overflowed > 0,
            format!(
                "{} events came from more groups than limits.groups_per_rule allows and were counted under \"other\"",
                self.groups_overflowed
            ),
        );
        warn(
            self.apps_overflowed > 0,
            format!(
                "{} deliveries came from more apps than limits.apps allows and were counted under \"other\"",
                self.apps_overflowed
            ),
        );
        warn(
            self.receivers == 0,
            "no receiver is configured: alerts are recorded and shown, but sent to nobody".to_owned(),
        );
        let silent = &self.rules_without_receivers;
        warn(
            self.receivers > 0 && !silent.is_empty(),
            format!("alerts of these rules are sent to nobody: {}", some_of(silent)),
        );
        warnings
    }
}

async fn outbox(web: &Web, now: Timestamp) -> Result<Outbox, StoreError> {
    web.engine.check().await?;
    let store = web.engine.store();
    Ok(Outbox {
        failed_24h: store.failed_deliveries_since(now - FAILED_SHOWN).await?,
        oldest_pending: store.oldest_pending_delivery().await?,
    })
}

fn some_of(names: &[String]) -> String {
    let shown = names.iter().take(RULES_NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(RULES_NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The body of `/readyz`. `details` is for those who may read.
#[derive(Serialize)]
struct Ready {
    status: &'static str,
    version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Details>,
}

#[derive(Serialize)]
struct Details {
    started_at: Time,
    store: &'static str,
    migrations: &'static str,
    drain_on: bool,
    failed_deliveries_24h: Option<u64>,
    oldest_pending_delivery_s: Option<u64>,
    receivers: usize,
    rules_without_receivers: Vec<String>,
    metrics_written: bool,
    metrics_bytes: u64,
    metrics_bytes_max: u64,
    groups_overflowed: u64,
    apps_overflowed: u64,
    deliveries_unauthorized: u64,
    gaps_waiting: usize,
    warnings: Vec<String>,
}

/// Whether it can do its work. 503 while the store is away or full.
pub(crate) async fn readyz(State(web): State<Arc<Web>>, request: Request) -> Response {
    let report = Report::recent(&web).await;
    let ready = report.is_ready();
    // Guessing tokens here is limited as at the API, but whoever asks for the state alone is always told it.
    let may_try = !request.headers().contains_key(header::AUTHORIZATION) || may_ask_from(&web, &request).is_ok();
    let (parts, _) = request.into_parts();
    // Who cannot prove a token because the store is away gets the short answer.
    let details = (may_try && may_read(&web, &parts).await.unwrap_or(false)).then(|| details(report));
    let (code, status) = if ready { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not_ready") };
    (code, Json(Ready { status, version: VERSION, details })).into_response()
}

fn details(report: Report) -> Details {
    Details {
        started_at: report.started_at.into(),
        store: match (report.outbox.is_some(), report.store_full) {
            (false, _) => "away",
            (true, true) => "full",
            (true, false) => "reachable",
        },
        // A store is not opened before it is migrated.
        migrations: "done",
        drain_on: report.drain_on,
        failed_deliveries_24h: report.outbox.map(|outbox| outbox.failed_24h),
        oldest_pending_delivery_s: report.oldest_pending_age().map(|age| age.as_secs()),
        receivers: report.receivers,
        warnings: report.warnings(),
        rules_without_receivers: report.rules_without_receivers,
        metrics_written: report.metrics_written,
        metrics_bytes: report.metrics_room.bytes,
        metrics_bytes_max: report.metrics_room.bytes_max,
        groups_overflowed: report.groups_overflowed,
        apps_overflowed: report.apps_overflowed,
        deliveries_unauthorized: report.unauthorized,
        gaps_waiting: report.gaps_waiting,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A process with nothing to complain of.
    pub(crate) fn well() -> Report {
        let now = Timestamp::from_seconds(1_000_000);
        Report {
            now,
            started_at: now,
            outbox: Some(Outbox { failed_24h: 0, oldest_pending: None }),
            store_full: false,
            drain_on: true,
            metrics_written: true,
            metrics_room: MetricsRoom { bytes: 80, bytes_max: 100 },
            metric_values_dropped: 0,
            rules_without_receivers: Vec::new(),
            receivers: 1,
            groups_overflowed: 0,
            apps_overflowed: 0,
            unauthorized: 0,
            too_large: 0,
            buckets_dropped: 0,
            gaps_waiting: 0,
        }
    }

    #[tokio::test]
    async fn the_store_is_asked_once_however_many_ask() {
        let (recent, asked) = (Recent::default(), std::cell::Cell::new(0));
        let look = |value: Option<u32>| {
            let asked = &asked;
            async move {
                asked.set(asked.get() + 1);
                tokio::task::yield_now().await;
                value
            }
        };
        let (begin, second) = (Timestamp::from_seconds(1_000), Duration::from_secs(1));
        let all = tokio::join!(
            recent.get(begin, look(Some(1))),
            recent.get(begin, look(Some(2))),
            recent.get(begin + second / 2, look(Some(3)))
        );
        assert_eq!((all, asked.get()), ((Some(1), Some(1), Some(1)), 1));
        assert_eq!(recent.get(begin + second, look(None)).await, None, "a second later it is asked again");
        assert_eq!(recent.get(begin + second, look(Some(5))).await, None, "a failure is kept, too");
        assert_eq!(recent.get(begin, look(Some(6))).await, Some(6), "a clock set back keeps nothing");
        assert_eq!(asked.get(), 3);
        // Who hangs up while it is being asked leaves the others a chance.
        assert!(
            tokio::time::timeout(Duration::ZERO, recent.get(begin + second, std::future::pending())).await.is_err()
        );
        assert_eq!(recent.get(begin + second, look(Some(7))).await, Some(7));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(well().warnings(), Vec::<String>::new());
        let since =
            |seconds| Some(Outbox { failed_24h: 0, oldest_pending: Some(well().now - Duration::from_secs(seconds)) });
        assert_eq!(Report { outbox: since(60), ..well() }.warnings(), Vec::<String>::new());
        let many: Vec<String> = (0..12).map(|n| format!("r{n}")).collect();
        let cases = [
            (Report { outbox: None, ..well() }, "store does not answer"),
            (Report { store_full: true, ..well() }, "the store is full"),
            (Report { outbox: Some(Outbox { failed_24h: 2, oldest_pending: None }), ..well() }, "2 messages"),
            (Report { outbox: since(300), ..well() }, "waited for 5m"),
            (Report { drain_on: false, ..well() }, "the drain is off"),
            (Report { unauthorized: 7, ..well() }, "refused with 401, and lost: 7"),
            (Report { too_large: 2, ..well() }, "body_bytes_max, and lost: 2"),
            (Report { metrics_written: false, ..well() }, "metrics are not written"),
            (
                Report { metrics_room: MetricsRoom { bytes: 420 << 20, bytes_max: 512 << 20 }, ..well() },
                "420 of 512 MiB",
            ),
            (Report { metric_values_dropped: 1, ..well() }, "values of metrics were dropped"),
            (Report { buckets_dropped: 1, ..well() }, "buckets"),
            (Report { gaps_waiting: 1, ..well() }, "still to be written"),
            (Report { groups_overflowed: 3, ..well() }, "groups_per_rule"),
            (Report { apps_overflowed: 3, ..well() }, "limits.apps"),
            (Report { receivers: 0, rules_without_receivers: many.clone(), ..well() }, "no receiver is configured"),
            (Report { rules_without_receivers: many, ..well() }, "r9 and 2 more"),
        ];
        for (report, want) in cases {
            let warnings = report.warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(want), "{want}: {warnings:?}");
        }
    }
}
