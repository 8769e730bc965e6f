//! What a recorder gathers: `serve` everything, `replay` what some rule asks for.

use std::collections::BTreeSet;

use dynowatch_logplex::Feed;

/// What is gathered.
#[derive(Default)]
pub(super) enum Wants {
    /// Every metric, and paths.
    #[default]
    All,
    /// These metrics alone; whether one of them comes from requests, and which metric lines may have one.
    Only { metrics: BTreeSet<String>, requests: bool, feeds: Vec<Feed> },
}

impl Wants {
    /// These metrics.
    pub(super) fn only(metrics: &BTreeSet<String>) -> Self {
        let requests = OF_REQUESTS.iter().any(|metric| metrics.contains(*metric));
        let has = |begin: &str| metrics.iter().any(|metric| metric.starts_with(begin));
        let feeds = FEEDS.into_iter().filter(|(_, begins)| begins.iter().any(|begin| has(begin))).map(|(feed, _)| feed);
        Self::Only { metrics: metrics.clone(), requests, feeds: feeds.collect() }
    }

    #[inline]
    pub(super) fn requests(&self) -> bool {
        matches!(self, Self::All | Self::Only { requests: true, .. })
    }

    /// Whether a metric line of that feed may have something.
    #[inline]
    pub(super) fn feed(&self, feed: Feed) -> bool {
        match self {
            Self::All => true,
            Self::Only { feeds, .. } => feeds.contains(&feed),
        }
    }

    #[inline]
    pub(super) fn paths(&self) -> bool {
        matches!(self, Self::All)
    }

    /// Whether a metric is among them.
    pub(super) fn metric(&self, metric: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only { metrics, .. } => metrics.contains(metric),
        }
    }
}

/// How the metrics of a feed begin.
const FEEDS: [(Feed, &[&str]); 5] = [
    (Feed::Runtime, &["dyno."]),
    (Feed::Postgres, &["postgres."]),
    (Feed::Pgbouncer, &["pgbouncer."]),
    (Feed::Redis, &["redis."]),
    (Feed::Custom, &["custom.", "router.queue_ms"]),
];

/// What the lines of requests tell.
const OF_REQUESTS: [&str; 5] =
    ["router.requests", "router.bytes", "router.service_ms", "router.connect_ms", "platform.errors"];
