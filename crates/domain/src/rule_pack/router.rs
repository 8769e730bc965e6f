//! H codes: what the router says of requests that went wrong.

use super::{ROW, Row, built_in, minutes};
use crate::parse::{Comparison, ShareThreshold};
use crate::rule::Severity::{Critical, Info};
use crate::rule::{Condition, MatchSpec, Rule, StatusPattern};

const PS: &str = "heroku ps -a {app}";
const ROUTER: &str = "heroku logs -a {app} -n 200 --source heroku -d router";
const RELEASES: &str = "heroku releases -a {app} -n 5";

/// The share of requests answered 5xx, whatever the reason.
pub(super) fn share_of_5xx() -> Rule {
    let threshold = ShareThreshold { comparison: Comparison::Above, limit_ppm: 50_000 };
    let condition = Condition::Ratio { threshold, requests_min: 50, window: minutes(5) };
    let matches = MatchSpec { status: vec![StatusPattern::Class(5)], ..MatchSpec::default() };
    let meaning =
        "More than one request in twenty fails on the server's side, whoever answered: the app or the router.";
    let causes = ["a bad release", "a dependency that is down", "a database out of connections"];
    Rule { severity: Critical, ..built_in("5xx-share", matches, condition, meaning, RELEASES, &causes) }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "H10",
        severity: Critical,
        meaning: "App crashed: the web dyno crashed or never came up, so each request is answered 503.",
        first_command: PS,
        usual_causes: &["a release that fails at boot", "a missing config var", "out of memory at start"],
        ..ROW
    },
    Row {
        name: "H11",
        severity: Critical,
        meaning: "Backlog too deep: the router already queues as many requests as it may and refuses more.",
        first_command: PS,
        usual_causes: &["slow requests on all dynos", "too few web dynos for the traffic", "a flood from one client"],
        ..ROW
    },
    Row {
        name: "H12",
        severity: Critical,
        meaning: "Request timeout: no first byte within 30 s. The user got a 503; the dyno goes on working on it.",
        first_command: ROUTER,
        usual_causes: &[
            "a slow query or a lock in the database",
            "a slow service that the app calls",
            "workers all busy, so that requests queue",
        ],
        ..ROW
    },
    Row {
        name: "H13",
        severity: Critical,
        meaning: "Connection closed without response: the process serving the request went away before it answered.",
        usual_causes: &[
            "a worker killed in mid-request (see worker-timeout)",
            "a keep-alive of the app shorter than the router's",
            "a crash",
        ],
        ..ROW
    },
    Row {
        name: "H14",
        severity: Critical,
        meaning: "No web dynos running: every request is answered 503. Also the intended state of a parked app.",
        first_command: PS,
        usual_causes: &[
            "web scaled to zero",
            "a formation that was never scaled up",
            "an app that is parked: switch this rule off for it",
        ],
        ..ROW
    },
    Row {
        name: "H15",
        more_than: 20,
        meaning: "Idle connection: 55 s went by without a byte in either direction, and the router closed it.",
        first_command: ROUTER,
        usual_causes: &[
            "long polls or server-sent events without keep-alive bytes",
            "a stalled stream",
            "clients that vanish",
        ],
        ..ROW
    },
    Row {
        name: "H17",
        more_than: 10,
        meaning: "Poorly formatted HTTP response: the router could not read what the app answered.",
        first_command: ROUTER,
        usual_causes: &["a hand-made response", "a body longer than its Content-Length", "a change of the web server"],
        ..ROW
    },
    Row {
        name: "H18",
        more_than: 10,
        meaning: "Server request interrupted: the dyno closed the connection after it had begun to answer. The status may say 200.",
        usual_causes: &["a worker killed while streaming", "an upload refused before it was read", "a crash"],
        ..ROW
    },
    Row {
        name: "H19",
        severity: Critical,
        meaning: "Backend connection timeout: a web dyno did not accept the connection within 5 s.",
        first_command: PS,
        usual_causes: &["a dyno too busy to accept", "an event loop that is blocked", "a full listen queue"],
        ..ROW
    },
    Row {
        name: "H20",
        severity: Critical,
        meaning: "App boot timeout: requests waited 75 s for a web dyno that is still starting.",
        first_command: PS,
        usual_causes: &[
            "a slow boot",
            "migrations or downloads at start",
            "a release that never binds $PORT (see r10)",
        ],
        ..ROW
    },
    Row {
        name: "H21",
        severity: Critical,
        meaning: "Backend connection refused: nothing listens in the web dyno, although it is up.",
        first_command: PS,
        usual_causes: &[
            "the server process died inside a living dyno",
            "listening on another port than $PORT",
            "restarting",
        ],
        ..ROW
    },
    Row {
        name: "H22",
        severity: Critical,
        meaning: "Connection limit reached: a dyno has as many open connections as the router allows.",
        first_command: PS,
        usual_causes: &["slow responses under load", "clients that keep connections open", "too few web dynos"],
        ..ROW
    },
    Row {
        name: "H24",
        more_than: 5,
        meaning: "Forced close: the app did not finish a response in time and the router cut it off.",
        first_command: ROUTER,
        usual_causes: &["a stuck stream", "a dyno shutting down with open requests"],
        ..ROW
    },
    Row {
        name: "H25",
        more_than: 10,
        meaning: "HTTP restriction: a response broke a limit of the router (content length, cookie, header or status line).",
        first_command: ROUTER,
        usual_causes: &[
            "a session kept in a cookie that grew",
            "a header built from user input",
            "a wrong Content-Length",
        ],
        ..ROW
    },
    Row {
        name: "H26",
        more_than: 50,
        minutes: 10,
        meaning: "Request error: the client's request was malformed; `cause` in the line says how. Many at once may be a broken client of ours.",
        first_command: ROUTER,
        usual_causes: &["a broken or hostile client", "an unusual Expect header", "a bad chunk from an uploader"],
        ..ROW
    },
    Row {
        name: "H27",
        enabled: false,
        severity: Info,
        more_than: 100,
        meaning: "Client request interrupted: the user went away. Off: it is no error of the app and happens all day.",
        first_command: ROUTER,
        usual_causes: &["closed tabs", "impatient users of a slow page", "mobile networks"],
        ..ROW
    },
    Row {
        name: "H28",
        enabled: false,
        severity: Info,
        more_than: 100,
        meaning: "Client connection idle: the client sent nothing for 55 s. Off: it is the client's doing.",
        first_command: ROUTER,
        usual_causes: &["uploads over bad networks", "clients that open connections early"],
        ..ROW
    },
    Row {
        name: "H31",
        more_than: 20,
        meaning: "Misdirected request: a client used one connection for another host name.",
        first_command: "heroku domains -a {app}",
        usual_causes: &["connection re-use across names on one certificate", "a proxy in front of the app"],
        ..ROW
    },
    Row {
        name: "H32",
        more_than: 5,
        meaning: "TLS certificate mismatch: the name asked for and the certificate do not fit.",
        first_command: "heroku certs -a {app}",
        usual_causes: &[
            "an expired or removed certificate",
            "a domain without one",
            "DNS that points to the wrong target",
        ],
        ..ROW
    },
    Row {
        name: "H33",
        more_than: 50,
        meaning: "HTTP/2 stream broken: a stream ended before its time. Single ones are noise.",
        first_command: ROUTER,
        usual_causes: &["clients that cancel", "a dyno that goes away while streaming"],
        ..ROW
    },
    Row {
        name: "H34",
        severity: Critical,
        meaning: "All dynos are quarantined: each one refused connections lately, so the router tries none for a moment.",
        first_command: PS,
        usual_causes: &["all web dynos down or stuck", "a bad release"],
        ..ROW
    },
    Row {
        name: "H80",
        enabled: false,
        severity: Info,
        more_than: 100,
        meaning: "Maintenance mode: someone switched it on. Off: it is an intended state.",
        first_command: "heroku maintenance -a {app}",
        usual_causes: &["planned work", "maintenance mode left on"],
        ..ROW
    },
    Row {
        name: "H81",
        enabled: false,
        severity: Info,
        more_than: 100,
        meaning: "Blank app: no code was ever deployed. Off: it is the state of a new app.",
        first_command: RELEASES,
        usual_causes: &["a new app", "a domain that points to the wrong app"],
        ..ROW
    },
    Row {
        name: "H82",
        more_than: 0,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "The account's pool of dyno hours is used up, so the app sleeps until next month.",
        first_command: PS,
        usual_causes: &["Eco dynos that never sleep", "too many apps on one pool"],
        ..ROW
    },
    Row {
        name: "H83",
        more_than: 0,
        minutes: 10,
        cooldown_minutes: 60,
        meaning: "Planned service degradation: Heroku degrades the app on purpose, as announced.",
        first_command: "heroku status # and the announcements for {app}",
        usual_causes: &["a product that ends", "a deadline that passed"],
        ..ROW
    },
    Row {
        name: "H99",
        meaning: "Platform error: Heroku's fault, not the app's. Look at its status page before changing anything.",
        first_command: "heroku status # then heroku ps -a {app}",
        usual_causes: &["an incident at Heroku"],
        ..ROW
    },
];
