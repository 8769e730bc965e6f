//! R codes and the life of dynos, as the dyno manager logs them.

use super::{ROW, Row};
use crate::rule::GroupBy::{self, ProcessType};
use crate::rule::MatchSpec;
use crate::rule::Severity::{Critical, Info};
use crate::signal::Kind;

const BY_TYPE: &[GroupBy] = &[ProcessType];
const PS: &str = "heroku ps -a {app}";
const RELEASES: &str = "heroku releases -a {app} -n 5";

fn crash() -> MatchSpec {
    MatchSpec { kind: vec![Kind::DynoCrash], ..MatchSpec::default() }
}

fn crash_at_boot() -> MatchSpec {
    MatchSpec { text: vec!["from starting to crashed".to_owned()], ..crash() }
}

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "crash-loop",
        lines: crash,
        more_than: 2,
        // A crashing dyno is restarted at once, then after ten minutes, then ever later: a window of fifteen
        // minutes sees the third crash of a single dyno, and an hour of calm outlasts the pauses that follow.
        minutes: 15,
        cooldown_minutes: 30,
        resolve_after_minutes: 60,
        severity: Critical,
        group_by: BY_TYPE,
        meaning: "Dynos of this type crash again and again. Heroku waits longer and longer before it tries again, so silence is no recovery.",
        first_command: PS,
        usual_causes: &[
            "a bad release: `heroku rollback`",
            "a config var changed or removed",
            "a database or service it needs at start is down",
        ],
        ..ROW
    },
    Row {
        name: "boot-failed",
        lines: crash_at_boot,
        more_than: 1,
        cooldown_minutes: 15,
        severity: Critical,
        group_by: BY_TYPE,
        meaning: "Dynos of this type crash while starting: the release, its config or what it needs at start is broken.",
        first_command: RELEASES,
        usual_causes: &["an exception at import or boot", "a missing config var", "too slow to bind $PORT (see r10)"],
        ..ROW
    },
    Row {
        name: "R10",
        more_than: 0,
        severity: Critical,
        group_by: BY_TYPE,
        meaning: "Boot timeout: a web dyno did not bind $PORT in time and was killed.",
        first_command: RELEASES,
        usual_causes: &[
            "migrations or downloads at start",
            "listening on a fixed port",
            "waiting for a service that is down",
        ],
        ..ROW
    },
    Row {
        name: "R12",
        enabled: false,
        severity: Info,
        more_than: 10,
        group_by: BY_TYPE,
        meaning: "Exit timeout: a process ignored SIGTERM for 30 s and was killed. Off: common in deploys and daily restarts.",
        first_command: PS,
        usual_causes: &[
            "no handler for SIGTERM",
            "long jobs that do not stop",
            "a shell between Heroku and the process",
        ],
        ..ROW
    },
    Row {
        name: "R13",
        enabled: false,
        severity: Info,
        meaning: "Attach error: a one-off dyno could not be attached to. Off: whoever typed `heroku run` sees it.",
        first_command: PS,
        usual_causes: &["a broken connection", "a blocked port 5000"],
        ..ROW
    },
    Row {
        name: "R14",
        // The pair of lines repeats every 20 s per dyno for as long as it is true: more than five in five minutes is
        // one dyno swapping for two minutes, or many at once. By type, for a leak in all web dynos is one problem.
        more_than: 5,
        cooldown_minutes: 60,
        resolve_after_minutes: 10,
        group_by: BY_TYPE,
        meaning: "Memory quota exceeded for two minutes or more: dynos of this type swap and get slow; at twice the quota they are killed (r15).",
        first_command: "heroku ps -a {app} # then restart one: heroku ps:restart TYPE.N",
        usual_causes: &[
            "a leak since the last release",
            "too many workers or threads per dyno",
            "one huge request or job",
        ],
        ..ROW
    },
    Row {
        name: "R15",
        more_than: 0,
        cooldown_minutes: 15,
        severity: Critical,
        group_by: BY_TYPE,
        meaning: "Memory quota vastly exceeded: the dyno was killed, with all it was working on.",
        first_command: PS,
        usual_causes: &["a leak", "one huge request or job", "a dyno size too small"],
        ..ROW
    },
    Row {
        name: "R16",
        enabled: false,
        severity: Info,
        meaning: "Detached: a one-off process did not end when its terminal went away. Off: it is a single person's session.",
        first_command: PS,
        usual_causes: &["a closed laptop", "a script that ignores SIGHUP"],
        ..ROW
    },
    Row {
        name: "R17",
        more_than: 0,
        severity: Critical,
        meaning: "Checksum error: the slug is damaged and the dyno cannot start.",
        first_command: RELEASES,
        usual_causes: &["a fault of Heroku's storage: deploy again", "an incident at Heroku"],
        ..ROW
    },
    Row {
        name: "R99",
        more_than: 2,
        minutes: 10,
        meaning: "Platform error: Heroku failed to launch a dyno. Not the app's fault; look at its status page first.",
        first_command: "heroku status # then heroku ps -a {app}",
        usual_causes: &["an incident at Heroku"],
        ..ROW
    },
    Row {
        name: "R151",
        more_than: 0,
        cooldown_minutes: 15,
        group_by: BY_TYPE,
        meaning: "Memory far over the quota, as r15; Heroku lists the code without describing it.",
        first_command: PS,
        usual_causes: &["as for r15"],
        ..ROW
    },
];
