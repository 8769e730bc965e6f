//! The keys of a rule on a metric: what is written, and what it resolves to. Owns which of them belong together and that a
//! metric is one there can be; what may not be true at once is asked of the domain.

use std::time::Duration;

use dynowatch_domain::metric::catalogue::CATALOGUE;
use dynowatch_domain::parse::Glob;
use dynowatch_domain::threshold::{
    Aggregate, LOAD_LIMIT, Limit, NoData, Number, PercentOf, Threshold, default_window, is_metric,
};

use super::names::nearest;
use super::reader::{Node, Table, shortened};
use super::rule::{read_globs, set};

/// The keys that only a rule on a metric has, `metric` itself apart.
pub(super) const KEYS: &[&str] =
    &["value", "clear", "aggregation", "percent_of", "rate_per", "no_data", "sources", "labels"];
const LIMIT_WANTED: &str = "a text such as \"> 90\" or \"< 0.95\"";

/// What stands in a rule's table about a metric. `None` where nothing stands, or nothing that can be used.
pub(super) struct ThresholdDraft {
    metric: Option<String>,
    fires: Option<Limit>,
    clears: Option<Limit>,
    aggregation: Option<Aggregate>,
    percent_of: Option<PercentOf>,
    rate_per: Option<Duration>,
    no_data: Option<NoData>,
    sources: Option<Vec<Glob>>,
    labels: Option<Vec<Glob>>,
}

impl ThresholdDraft {
    pub(super) fn read(table: &Table<'_>) -> Self {
        let get = |key| table.get(key);
        let no_data = NoData::ALL.map(|no_data| (no_data.as_str(), no_data));
        Self {
            metric: get("metric").and_then(|node| read_metric(&node)),
            fires: get("value").and_then(|node| node.parsed(LIMIT_WANTED)),
            clears: get("clear").and_then(|node| node.parsed(LIMIT_WANTED)),
            aggregation: get("aggregation").and_then(|node| node.parsed("a text such as \"max\" or \"p95\"")),
            percent_of: get("percent_of").and_then(|node| read_percent_of(&node)),
            rate_per: get("rate_per").and_then(|node| node.duration()),
            no_data: get("no_data").and_then(|node| node.one_of("a meaning of missing data", &no_data)),
            sources: get("sources")
                .map(|node| read_globs(&node, "a process type, a dyno or a database, as in \"web\"")),
            labels: get("labels").map(|node| read_globs(&node, "a status or a code, as in \"5xx\"")),
        }
    }

    /// The threshold of a rule that stands for itself.
    pub(super) fn threshold(self, table: &Table<'_>, window: Option<Duration>) -> Option<Threshold> {
        if !table.has("value") {
            return table.fail("value", "missing: write the limit of the metric, as in value = \"> 90\"");
        }
        let metric = self.metric.clone()?;
        let mut threshold = Threshold::new(&metric, self.fires?);
        threshold.window = default_window(&metric);
        self.over(&mut threshold, window);
        Some(threshold)
    }

    /// Lays what is written over a threshold.
    pub(super) fn over(self, threshold: &mut Threshold, window: Option<Duration>) {
        set(&mut threshold.metric, self.metric);
        set(&mut threshold.fires, self.fires);
        threshold.clears = self.clears.or(threshold.clears);
        threshold.aggregation = self.aggregation.or(threshold.aggregation);
        threshold.percent_of = self.percent_of.or(threshold.percent_of.take());
        threshold.rate_per = self.rate_per.or(threshold.rate_per);
        set(&mut threshold.no_data, self.no_data);
        set(&mut threshold.sources, self.sources);
        set(&mut threshold.labels, self.labels);
        set(&mut threshold.window, window);
    }
}

/// The name of a metric.
fn read_metric(node: &Node<'_>) -> Option<String> {
    let name = node.text("the name of a metric, as in \"dyno.memory_percent\"")?;
    if is_metric(name) {
        return Some(name.to_owned());
    }
    let known: Vec<&str> = CATALOGUE.iter().map(|info| info.name).collect();
    let near = nearest(name, &known).map(|name| format!("did you mean {name:?}? ")).unwrap_or_default();
    node.fail(format!(
        "there is no metric {:?}: {near}docs/metrics.md lists all; values of your own lines are \"custom.NAME\"",
        shortened(name)
    ))
}

/// A metric, or a number that no line tells.
fn read_percent_of(node: &Node<'_>) -> Option<PercentOf> {
    let wanted = "a metric such as \"postgres.connections_max\", or a number such as 20";
    let text = node.text_or_digits(wanted)?;
    match text.parse::<Number>() {
        Ok(number) if number > Number::whole(0) => Some(PercentOf::Number(number)),
        Ok(_) => node.fail(format!("nothing is a percentage of that: write {wanted}")),
        Err(_) if text == LOAD_LIMIT => Some(PercentOf::Metric(text.to_owned())),
        Err(_) => read_metric(node).map(PercentOf::Metric),
    }
}
