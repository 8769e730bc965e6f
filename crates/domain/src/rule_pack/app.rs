//! What app servers, runtimes and the database say in lines that dynowatch reads as kinds of their own. By kind and not by
//! text, so that a line which merely quotes the words is not counted.

use super::{ROW, Row};
use crate::rule::GroupBy::{self, ProcessType};
use crate::rule::MatchSpec;
use crate::rule::Severity::Critical;
use crate::signal::Kind;

const BY_TYPE: &[GroupBy] = &[ProcessType];

fn of(kind: Kind) -> MatchSpec {
    MatchSpec { kind: vec![kind], ..MatchSpec::default() }
}

fn out_of_connections() -> MatchSpec {
    let texts = ["too many connections", "remaining connection slots are reserved", "too many clients already"];
    MatchSpec { text: texts.map(str::to_owned).to_vec(), ..of(Kind::PostgresError) }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "worker-timeout",
        lines: || of(Kind::WorkerTimeout),
        more_than: 2,
        minutes: 2,
        severity: Critical,
        meaning: "Gunicorn killed workers that were silent for too long, 30 s by default: the same limit at which the router says H12.",
        usual_causes: &[
            "a slow query or a lock in the database",
            "a service that the app calls without a timeout",
            "swapping (see r14)",
        ],
        ..ROW
    },
    Row {
        name: "worker-killed",
        lines: || of(Kind::WorkerKilled),
        more_than: 2,
        group_by: BY_TYPE,
        meaning: "Gunicorn's workers were killed from outside, perhaps for want of memory.",
        first_command: "heroku ps -a {app}",
        usual_causes: &["out of memory (see r14 and r15)", "worker timeouts (see worker-timeout)"],
        ..ROW
    },
    Row {
        name: "out-of-memory",
        lines: || of(Kind::OutOfMemory),
        more_than: 0,
        cooldown_minutes: 15,
        severity: Critical,
        group_by: BY_TYPE,
        meaning: "A runtime gave up for want of memory, and its process with it.",
        first_command: "heroku ps -a {app}",
        usual_causes: &[
            "a heap limit below the dyno's memory (--max-old-space-size)",
            "a leak",
            "one huge request or job",
        ],
        ..ROW
    },
    Row {
        name: "postgres-connections",
        lines: out_of_connections,
        severity: Critical,
        meaning: "Postgres refuses connections because all are taken.",
        first_command: "heroku pg:info -a {app}",
        usual_causes: &[
            "more dynos times workers times pool size than the plan allows",
            "connections leaked or idle in a transaction",
            "old dynos still up during a deploy",
        ],
        ..ROW
    },
];
