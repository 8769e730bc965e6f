//! Names for Prometheus: what a series is called on `/metrics` and in remote write. One rule for both, so that a dashboard
//! works with either. Names and labels are a promise; `docs/metrics.md` explains them.

use super::catalogue::info;
use super::{Kind, SeriesKey, dyno_type};

/// A series' family and labels, the app's name apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exposed<'a> {
    /// The family: `dynowatch_dyno_memory_percent`. Counters have no `_total` here.
    pub family: String,
    /// Labels, without empty ones.
    pub labels: Vec<(&'static str, &'a str)>,
}

/// How a series is exposed. Metrics of the catalogue have a family each; what a team or a new data service prints shares
/// one per kind with the name as a label, so that no line of a log can make a family.
#[must_use]
pub fn exposed(key: &SeriesKey) -> Exposed<'_> {
    let known = info(&key.metric).filter(|info| info.kind == key.kind);
    let mut labels = Vec::with_capacity(4);
    let family = match (known, key.kind) {
        (Some(info), _) => format!("dynowatch_{}", info.name.replace('.', "_")),
        (None, kind) => {
            labels.push(("metric", &*key.metric));
            let family = match kind {
                Kind::Gauge => "dynowatch_custom",
                Kind::Counter => "dynowatch_custom_count",
                Kind::Distribution => "dynowatch_custom_measure",
            };
            family.to_owned()
        }
    };
    let of_dynos = ["dyno.", "router.", "platform."].iter().any(|begin| key.metric.starts_with(begin));
    match dyno_type(&key.source) {
        Some(process) => labels.extend([("process_type", process), ("dyno", &*key.source)]),
        None if key.source.is_empty() => {}
        None if of_dynos => labels.push(("process_type", &key.source)),
        None => labels.push(("source", &key.source)),
    }
    if !key.label.is_empty() {
        let name = match &*key.metric {
            "router.requests" | "dyno.exits" => "status",
            "platform.errors" => "code",
            "dyno.states" => "state",
            "dyno.restarts" => "reason",
            _ => "label",
        };
        labels.push((name, &key.label));
    }
    Exposed { family, labels }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::catalogue::CATALOGUE;
    use super::*;

    fn show(metric: &str, kind: Kind, source: &str, label: &str) -> String {
        let key = SeriesKey { metric: metric.into(), kind, source: source.into(), label: label.into() };
        let Exposed { family, labels } = exposed(&key);
        let labels: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{family}{{{}}}", labels.join(","))
    }

    #[test]
    fn names_and_labels() {
        let cases = [
            (
                "dyno.memory_percent",
                Kind::Gauge,
                "web.1",
                "",
                r#"dynowatch_dyno_memory_percent{process_type="web",dyno="web.1"}"#,
            ),
            ("dyno.count", Kind::Gauge, "web", "", r#"dynowatch_dyno_count{process_type="web"}"#),
            (
                "postgres.db_size_bytes",
                Kind::Gauge,
                "DATABASE",
                "",
                r#"dynowatch_postgres_db_size_bytes{source="DATABASE"}"#,
            ),
            (
                "router.requests",
                Kind::Counter,
                "web.1",
                "503",
                r#"dynowatch_router_requests{process_type="web",dyno="web.1",status="503"}"#,
            ),
            ("platform.errors", Kind::Counter, "", "L10", r#"dynowatch_platform_errors{code="L10"}"#),
            (
                "custom.queue.depth",
                Kind::Gauge,
                "worker.1",
                "",
                r#"dynowatch_custom{metric="custom.queue.depth",process_type="worker",dyno="worker.1"}"#,
            ),
            ("custom.jobs", Kind::Counter, "", "", r#"dynowatch_custom_count{metric="custom.jobs"}"#),
            ("postgres.new-key", Kind::Gauge, "RED", "", r#"dynowatch_custom{metric="postgres.new-key",source="RED"}"#),
            ("dyno.count", Kind::Counter, "", "", r#"dynowatch_custom_count{metric="dyno.count"}"#),
        ];
        for (metric, kind, source, label, want) in cases {
            assert_eq!(show(metric, kind, source, label), want);
        }
    }

    #[test]
    fn the_manual_has_every_metric() {
        let manual = include_str!("../../../../docs/metrics.md");
        for info in CATALOGUE {
            let key = SeriesKey { metric: info.name.into(), kind: info.kind, source: "".into(), label: "".into() };
            let total = if info.kind == Kind::Counter { "_total" } else { "" };
            let (kind, family) = (info.kind.as_str(), exposed(&key).family);
            let row = format!("| `{}` | {} | {kind} | `{family}{total}` | {} |\n", info.name, info.unit, info.help);
            assert!(manual.contains(&row), "docs/metrics.md needs this row:\n{row}");
        }
    }

    #[test]
    fn no_two_metrics_share_a_family() {
        let families: BTreeSet<String> = CATALOGUE.iter().map(|info| show(info.name, info.kind, "", "")).collect();
        assert_eq!(families.len(), CATALOGUE.len());
        assert!(!families.iter().any(|family| family.starts_with("dynowatch_custom")));
    }
}
