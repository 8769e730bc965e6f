//! L codes, the drain itself (whether what we count is all there was), and what else dynowatch refuses.

use super::{ROW, Row, built_in, minutes};
use crate::rule::Severity::Info;
use crate::rule::{Condition, Lively, MatchSpec, Rule};
use crate::signal::Kind;

const DRAINS: &str = "heroku drains -a {app}";

/// Nothing arrives from an app that was lively.
pub(super) fn silent() -> Rule {
    let lively = Lively { lines_min: 60, within: minutes(60) };
    let condition = Condition::Absence { fewer_than: 1, window: minutes(10), lively: Some(lively) };
    let meaning =
        "Not one line arrived for ten minutes from an app that had been logging: no rule can see this app now.";
    let causes = [
        "the drain was removed or its URL changed",
        "the app is stopped or scaled to zero",
        "Heroku's log router is in trouble",
    ];
    built_in("drain-silent", MatchSpec::default(), condition, meaning, DRAINS, &causes)
}

fn rejected() -> MatchSpec {
    MatchSpec { kind: vec![Kind::DrainRejected], ..MatchSpec::default() }
}

fn limited() -> MatchSpec {
    MatchSpec { kind: vec![Kind::ApiLimited], ..MatchSpec::default() }
}

fn unwritten() -> MatchSpec {
    MatchSpec { kind: vec![Kind::MetricsUnwritten], ..MatchSpec::default() }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "L10",
        more_than: 2,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "Drain buffer overflow: Heroku dropped lines before they reached us. Counts of that time are lower bounds and say so.",
        first_command: DRAINS,
        usual_causes: &["a burst of logging", "dynowatch too slow or away (see its /metrics)", "debug logging left on"],
        ..ROW
    },
    Row {
        name: "L11",
        enabled: false,
        severity: Info,
        meaning: "Tail buffer overflow: a `heroku logs --tail` session was too slow. Off: it is about that session only.",
        first_command: DRAINS,
        usual_causes: &["a slow terminal"],
        ..ROW
    },
    Row {
        name: "L12",
        more_than: 2,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "A local buffer of log-shuttle overflowed: lines were lost before they reached Heroku's log router.",
        first_command: DRAINS,
        usual_causes: &["a burst of logging"],
        ..ROW
    },
    Row {
        name: "L13",
        more_than: 2,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "log-shuttle failed to deliver: lines were lost before they reached Heroku's log router.",
        first_command: DRAINS,
        usual_causes: &["network trouble in the platform", "an incident at Heroku"],
        ..ROW
    },
    Row {
        name: "L14",
        more_than: 0,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "Certificate validation: a syslog drain's certificate is not accepted, so that drain gets nothing. Said in tails only.",
        first_command: DRAINS,
        usual_causes: &["an expired certificate at a log service", "a host name that does not fit it"],
        ..ROW
    },
    Row {
        name: "L15",
        enabled: false,
        severity: Info,
        meaning: "Heroku could not show log lines in a tail. Off: the one who asked has seen it.",
        first_command: DRAINS,
        usual_causes: &["a moment's trouble at Heroku"],
        ..ROW
    },
    Row {
        name: "drain-rejected",
        lines: rejected,
        more_than: 4,
        cooldown_minutes: 60,
        meaning: "Deliveries are refused because their token is wrong or missing. Heroku drops each such batch for good.",
        first_command: "heroku drains -a {app} --json # compare with: dynowatch drain url --app {app}",
        usual_causes: &[
            "the HMAC secret was changed and the drain's URL was not",
            "a drain added with a placeholder in its URL",
            "a stranger",
        ],
        ..ROW
    },
    Row {
        name: "api-limited",
        lines: limited,
        more_than: 0,
        cooldown_minutes: 60,
        resolve_after_minutes: 15,
        meaning: "Requests to dynowatch's own API come too fast and are answered 429 (see [limits] in the configuration). Deliveries of logs are not limited.",
        first_command: "dynowatch token list # {app} itself: the evidence names the token or the address",
        usual_causes: &[
            "a script that asks in a loop",
            "a scraper with too short an interval",
            "a stranger guessing tokens",
        ],
        ..ROW
    },
    Row {
        name: "metrics-unwritten",
        lines: unwritten,
        more_than: 0,
        cooldown_minutes: 60,
        resolve_after_minutes: 15,
        meaning: "dynowatch has no room to write metrics. Counts and their alerts go on; shares, absences and rules on metrics are unknown until there is room: they neither fire nor resolve.",
        first_command: "df -h # on the machine of {app} itself; or: heroku pg:info, for a plan that is full",
        usual_causes: &[
            "the disk or the database plan is full",
            "store.metrics_bytes_max is too small for so many dynos",
        ],
        ..ROW
    },
];
