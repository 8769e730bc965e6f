//! Limits of metrics: memory and load of dynos, databases and key-value stores near the end of what their plan gives. By
//! value and not by line, so that they are told before a code or an error says that it is too late.
//!
//! Each fires at a limit, after some minutes without a break, and is over a little below it, so that a value that swings
//! around the limit is one alert.

use super::{built_in, minutes};
use crate::parse::Comparison::{self, Above, Below};
use crate::rule::GroupBy::{self, ProcessType, Source};
use crate::rule::{Condition, MatchSpec, Rule};
use crate::threshold::{Aggregate, LOAD_LIMIT, Limit, Number, PercentOf, Threshold, default_window};

/// One row: a threshold and its help.
struct Row {
    name: &'static str,
    metric: &'static str,
    aggregation: Aggregate,
    /// Percent of what Heroku calls acceptable for the dyno's size.
    of_load_limit: bool,
    /// The change in an hour, seen over ten minutes.
    hourly: bool,
    fires: Limit,
    clears: Option<Limit>,
    for_minutes: u64,
    group_by: GroupBy,
    meaning: &'static str,
    first_command: &'static str,
    usual_causes: &'static [&'static str],
}

const fn limit(comparison: Comparison, number: i32) -> Limit {
    Limit { comparison, number: Number::whole(number) }
}

const ROW: Row = Row {
    name: "",
    metric: "",
    aggregation: Aggregate::Max,
    of_load_limit: false,
    hourly: false,
    fires: limit(Above, 80),
    clears: Some(limit(Below, 75)),
    for_minutes: 5,
    group_by: Source,
    meaning: "",
    first_command: "heroku pg:info -a {app}",
    usual_causes: &[],
};

impl Row {
    fn rule(&self) -> Rule {
        let mut threshold = Threshold::new(self.metric, self.fires);
        threshold.aggregation = Some(self.aggregation);
        threshold.clears = self.clears;
        threshold.window = default_window(self.metric);
        threshold.percent_of = self.of_load_limit.then(|| PercentOf::Metric(LOAD_LIMIT.to_owned()));
        if self.hourly {
            threshold.rate_per = Some(minutes(60));
            threshold.window = minutes(10);
        }
        let condition = Condition::Threshold(threshold);
        let matches = MatchSpec::default();
        Rule {
            group_by: vec![self.group_by],
            pending_for: minutes(self.for_minutes),
            // A level that stays where it is needs no repeating; whoever was told knows.
            cooldown: minutes(60),
            ..built_in(self.name, matches, condition, self.meaning, self.first_command, self.usual_causes)
        }
    }
}

/// All of them.
pub(super) fn rules() -> Vec<Rule> {
    ROWS.iter().map(Row::rule).collect()
}

/// `< 0.95`
const CACHE_LOW: Limit = Limit { comparison: Below, number: Number::hundredths(95) };
const PS: &str = "heroku ps -a {app}";
const CACHE: &str = "heroku pg:diagnose -a {app}";
const REDIS: &str = "heroku redis:info -a {app}";

const ROWS: &[Row] = &[
    Row {
        name: "memory-high",
        metric: "dyno.memory_percent",
        fires: limit(Above, 90),
        clears: Some(limit(Below, 85)),
        group_by: ProcessType,
        meaning: "A dyno of this type uses more than 90 % of its memory; at 100 % it begins to swap and gets slow (r14).",
        first_command: "heroku ps -a {app} # then restart the dyno: heroku ps:restart TYPE.N",
        usual_causes: &[
            "a leak since the last release",
            "too many workers or threads per dyno",
            "one huge request or job",
        ],
        ..ROW
    },
    Row {
        name: "load-high",
        metric: "dyno.load_5m",
        of_load_limit: true,
        fires: limit(Above, 150),
        clears: Some(limit(Below, 120)),
        for_minutes: 10,
        group_by: ProcessType,
        meaning: "A dyno of this type has half as much work again as its CPUs can do. What is acceptable is told by the dyno's size, and the size by its memory quota; 1 where no line has told it.",
        first_command: PS,
        usual_causes: &[
            "too many workers or threads per dyno",
            "a slow release",
            "more traffic than the dynos can take",
        ],
        ..ROW
    },
    Row {
        name: "postgres-conns-high",
        metric: "postgres.connections_percent",
        meaning: "More than 80 % of the connections that the plan allows are taken; at 100 % Postgres refuses new ones (postgres-connections).",
        usual_causes: &[
            "more dynos times workers times pool size than the plan allows",
            "connections leaked or idle in a transaction",
            "old dynos still up during a deploy",
        ],
        ..ROW
    },
    Row {
        name: "table-cache-low",
        metric: "postgres.table_cache_hit_ratio",
        aggregation: Aggregate::Avg,
        fires: CACHE_LOW,
        clears: None,
        for_minutes: 15,
        meaning: "More than one table read in twenty goes to disk: queries get slow, and slower under load.",
        first_command: CACHE,
        usual_causes: &[
            "data outgrew the plan's memory",
            "a new query that scans a large table",
            "a restart: the cache is still cold",
        ],
        ..ROW
    },
    Row {
        name: "index-cache-low",
        metric: "postgres.index_cache_hit_ratio",
        aggregation: Aggregate::Avg,
        fires: CACHE_LOW,
        clears: None,
        for_minutes: 15,
        meaning: "More than one index read in twenty goes to disk: even queries with a good plan get slow.",
        first_command: CACHE,
        usual_causes: &[
            "indexes outgrew the plan's memory",
            "indexes nobody needs",
            "a restart: the cache is still cold",
        ],
        ..ROW
    },
    Row {
        name: "postgres-wal-high",
        metric: "postgres.wal_percentage_used",
        // Heroku slows writes down from about 75 %.
        fires: limit(Above, 60),
        clears: Some(limit(Below, 50)),
        meaning: "The disk for the write-ahead log fills; from about 75 % on Heroku slows writes down, and then refuses connections.",
        usual_causes: &[
            "a bulk load or a migration that rewrites a table",
            "a follower or a logical slot that lags behind",
        ],
        ..ROW
    },
    Row {
        name: "redis-memory-high",
        metric: "redis.memory_percent",
        meaning: "The key-value store uses more than 80 % of its memory; when it is full it evicts keys or refuses writes, as its policy says.",
        first_command: REDIS,
        usual_causes: &["keys without an expiry", "a queue that is not worked off", "a plan too small"],
        ..ROW
    },
    Row {
        name: "redis-evictions",
        metric: "redis.evicted_keys",
        // The count only grows while keys are thrown out, so its change is what matters.
        hourly: true,
        fires: limit(Above, 0),
        clears: None,
        for_minutes: 0,
        meaning: "The key-value store throws keys out for want of memory: what was put there may be gone before it is read.",
        first_command: REDIS,
        usual_causes: &["keys without an expiry", "a plan too small", "sessions or jobs in a store meant as a cache"],
        ..ROW
    },
];
