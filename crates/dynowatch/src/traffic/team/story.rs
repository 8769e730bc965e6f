//! What goes wrong: each fate's lines for one round, all made at the round's start with stamps of their own.

use super::super::line::Line;
use super::super::rng::Rng;
use super::super::text::{self, ROUTER_2, Router, centi};
use super::cast::{
    BAD_RELEASE, BAD_RELEASE_S, DOWN_S, Fate, GOOD_RELEASE, GOOD_RELEASE_ROUND, LEAK_S, Member, Moment, QUOTA_CENTI_MB,
    ROLLBACK_S, SECOND_US, STORM_S, leaking_rss,
};

const ACTOR: &str = "dana@example.com";

/// All lines of a fate in a round that starts at `start_us`.
pub(super) fn round(rng: &mut Rng, member: &Member, round: i64, start_us: i64) -> Vec<Line> {
    let mut scene = Scene { rng, member, start_us, lines: Vec::new() };
    match member.role.fate {
        Fate::BadRelease if member.is_quiet => scene.quiet_release(round),
        _ if member.is_quiet => scene.formation(round),
        Fate::Storm => scene.storm(),
        Fate::Leak => scene.leak(round),
        Fate::BadRelease => scene.bad_release(round),
        Fate::Healthy => scene.nightly_job(),
    }
    scene.lines
}

struct Scene<'a> {
    rng: &'a mut Rng,
    member: &'a Member,
    start_us: i64,
    lines: Vec<Line>,
}

impl Scene<'_> {
    /// A time of the round, in milliseconds from its start, moved by up to a tenth of a second.
    fn at(&mut self, millis: i64) -> i64 {
        self.start_us + millis * 1_000 + self.rng.range_us(0, 99_999)
    }

    /// H12 every 3 to 6 s. Gunicorn's own limit is as long as the router's, so its worker timeout comes with it.
    fn storm(&mut self) {
        let mut millis = STORM_S.start * 1_000;
        while millis < STORM_S.end * 1_000 {
            let at_us = self.at(millis);
            let dyno = self.rng.pick(&["web.1", "web.2"]);
            let request_id = self.rng.uuid();
            self.slow_request(at_us, dyno, &request_id);
            self.router_error(at_us + 30_200, text::H12, dyno, &request_id, Some(30_000));
            self.worker_timeout(at_us + 60_000, dyno);
            if self.rng.once_in(3) {
                let request_id = self.rng.uuid();
                self.router_error(at_us + 1_300_000, text::H13, dyno, &request_id, Some(12_840));
            }
            millis += self.rng.range_us(3_000, 6_000);
        }
    }

    fn slow_request(&mut self, at_us: i64, dyno: &str, request_id: &str) {
        let text = format!(
            "[WARN] request_id={request_id} checkout: waiting for a row lock on orders, {} s so far",
            self.rng.range(20, 29)
        );
        self.lines.push(Line::app(at_us, dyno, text));
    }

    fn worker_timeout(&mut self, at_us: i64, dyno: &str) {
        let pid = self.rng.range(12, 90);
        let prefix = format!("[{} +0000]", super::super::line::stamp(at_us)[..19].replace('T', " "));
        let texts = [
            (0, format!("{prefix} [4] [CRITICAL] WORKER TIMEOUT (pid:{pid})")),
            (4_000, format!("{prefix} [{pid}] [INFO] Worker exiting (pid: {pid})")),
            (980_000, format!("{prefix} [4] [ERROR] Worker (pid:{pid}) was sent SIGKILL! Perhaps out of memory?")),
            (1_010_000, format!("{prefix} [{0}] [INFO] Booting worker with pid: {0}", pid + 12)),
        ];
        self.lines.extend(texts.map(|(later_us, text)| Line::app(at_us + later_us, dyno, text)));
    }

    fn router_error(&mut self, at_us: i64, code: (&str, &str), dyno: &str, request_id: &str, service_ms: Option<u64>) {
        let line = Router {
            at: "error",
            code: Some(code),
            method: self.rng.pick(&["GET", "POST"]),
            path: self.rng.pick(&["/checkout", "/cart", "/orders/40711/pay"]),
            host: self.member.role.host,
            request_id,
            fwd: &self.rng.fwd(),
            dyno,
            connect_ms: service_ms.map(|_| 0),
            service_ms,
            status: 503,
            bytes: 0,
            protocol: ROUTER_2,
        };
        self.lines.push(Line::router(at_us, line.text()));
    }

    /// `Process running` and R14 every 21 s from the moment the quota is passed, then R15 and a restart.
    fn leak(&mut self, round: i64) {
        let worker = "worker.1";
        let mut second = LEAK_S.start + 22;
        while second < LEAK_S.end - 5 {
            let at_us = self.at(second * 1_000);
            self.memory_error(at_us, worker, round, second, "Error R14 (Memory quota exceeded)");
            second += 21;
        }
        let at_us = self.at(LEAK_S.end * 1_000 - 1_500);
        self.memory_error(at_us, worker, round, LEAK_S.end - 1, "Error R15 (Memory quota vastly exceeded)");
        let texts = [
            (40_000, "Stopping process with SIGKILL"),
            (310_000, "Process exited with status 137"),
            (360_000, "State changed from up to crashed"),
            (410_000, "State changed from crashed to starting"),
            (3_900_000, "Starting process with command `bin/billing-worker`"),
            (5_200_000, "State changed from starting to up"),
        ];
        self.lines.extend(texts.map(|(later_us, text)| Line::dyno(at_us + later_us, worker, text)));
    }

    fn memory_error(&mut self, at_us: i64, dyno: &str, round: i64, second: i64, error: &str) {
        let rss = leaking_rss(Moment { round, second });
        let running = format!("Process running mem={}M({}%)", rss / 100, tenths(rss * 1_000 / QUOTA_CENTI_MB));
        self.lines.push(Line::dyno(at_us, dyno, running));
        self.lines.push(Line::dyno(at_us + 180, dyno, error));
    }

    /// A deploy whose dynos exit at once, three tries each, until somebody rolls back.
    fn bad_release(&mut self, round: i64) {
        let version = BAD_RELEASE + 2 * round;
        let commit = format!("{:08x}", self.rng.next_u64() >> 32);
        let released_us = self.at(BAD_RELEASE_S * 1_000);
        self.build(released_us - 9 * SECOND_US);
        self.release(released_us, &format!("Deploy {commit} by user {ACTOR}"), version);
        self.restart(released_us + 1_200_000, "up");
        for dyno in self.member.role.dynos {
            for (number, second) in [DOWN_S.start, DOWN_S.start + 9, DOWN_S.start + 38].into_iter().enumerate() {
                let at_us = self.at(second * 1_000);
                self.failed_boot(at_us, dyno, number == 0);
            }
        }
        let rollback_us = self.at(ROLLBACK_S * 1_000);
        self.release(rollback_us, &format!("Rollback to v{} by user {ACTOR}", version - 1), version + 1);
        self.restart(rollback_us + 1_200_000, "crashed");
        let up_us = self.at(DOWN_S.end * 1_000 - 1_000);
        for dyno in self.member.role.dynos {
            self.lines.push(Line::dyno(up_us, dyno, "Starting process with command `bin/api`"));
            self.lines.push(Line::dyno(up_us + 700_000, dyno, "State changed from starting to up"));
        }
    }

    /// What the team runs, told as Heroku tells it: once.
    fn formation(&mut self, round: i64) {
        if round != 0 {
            return;
        }
        let role = self.member.role;
        let (webs, others) = (role.webs, role.dynos.len() as u64 - role.webs);
        let at_us = self.at(1_000);
        let scaled = format!("Scaled to web@{webs}:Standard-1X worker@{others}:Standard-1X by user {ACTOR}");
        self.lines.push(Line::api(at_us, scaled));
        for dyno in role.dynos {
            self.lines.push(Line::dyno(at_us + 6_000_000, dyno, "State changed from starting to up"));
        }
    }

    /// A deploy that goes well.
    fn quiet_release(&mut self, round: i64) {
        self.formation(round);
        if round != GOOD_RELEASE_ROUND {
            return;
        }
        let released_us = self.at(BAD_RELEASE_S * 1_000);
        self.build(released_us - 9 * SECOND_US);
        self.release(released_us, &format!("Deploy 1f0c9a7e by user {ACTOR}"), GOOD_RELEASE);
        self.restart(released_us + 1_200_000, "up");
        for dyno in self.member.role.dynos {
            let at_us = released_us + 12 * SECOND_US;
            self.lines.push(Line::dyno(at_us, dyno, "Starting process with command `bin/api`"));
            self.lines.push(Line::dyno(at_us + 700_000, dyno, "State changed from starting to up"));
        }
    }

    /// Build lines carry whole seconds.
    fn build(&mut self, at_us: i64) {
        let whole_us = at_us - at_us.rem_euclid(SECOND_US) + SECOND_US;
        self.lines.push(Line::api(whole_us, format!("Build started by user {ACTOR}")));
        self.lines.push(Line::api(whole_us + 7 * SECOND_US, "Build succeeded".into()));
    }

    /// The cause and the release share one stamp; either may come first.
    fn release(&mut self, at_us: i64, cause: &str, version: i64) {
        let release = format!("Release v{version} created by user {ACTOR}");
        let texts = if self.rng.once_in(2) { [cause.to_string(), release] } else { [release, cause.to_string()] };
        self.lines.extend(texts.map(|text| Line::api(at_us, text)));
    }

    /// Every dyno is told to go; those that were up exit with SIGTERM's status.
    fn restart(&mut self, at_us: i64, from: &str) {
        for dyno in self.member.role.dynos {
            self.lines.push(Line::dyno(at_us, dyno, "Restarting"));
            self.lines.push(Line::dyno(at_us + 9_000, dyno, format!("State changed from {from} to starting")));
            if from == "up" {
                self.lines.push(Line::dyno(at_us + 600_000, dyno, "Stopping all processes with SIGTERM"));
                self.lines.push(Line::dyno(at_us + 900_000, dyno, "Process exited with status 143"));
            }
        }
    }

    fn failed_boot(&mut self, at_us: i64, dyno: &str, first: bool) {
        if !first {
            let starting = "State changed from crashed to starting";
            self.lines.push(Line::dyno(at_us - 4 * SECOND_US, dyno, starting));
        }
        self.lines.push(Line::dyno(at_us - 2 * SECOND_US, dyno, "Starting process with command `bin/api`"));
        let error = "KeyError: 'PAYMENTS_API_URL'";
        for (later_us, text) in [
            (0, "Traceback (most recent call last):"),
            (90, "  File \"/app/config.py\", line 31, in <module>"),
            (170, error),
        ] {
            self.lines.push(Line::app(at_us - 500_000 + later_us, dyno, text));
        }
        // Both orders are seen in production.
        let (exit, state) = if self.rng.once_in(2) { (0, 3_000) } else { (3_000, 0) };
        self.lines.push(Line::dyno(at_us + exit, dyno, "Process exited with status 1"));
        self.lines.push(Line::dyno(at_us + state, dyno, "State changed from starting to crashed"));
    }

    /// A scheduler run that goes well.
    fn nightly_job(&mut self) {
        let dyno = format!("scheduler.{}", self.rng.range(1_000, 9_999));
        let at_us = self.at(41_000);
        let command = "Starting process with command `bin/nightly-report`";
        self.lines.push(Line::api(at_us, format!("{command} by user scheduler@addons.heroku.com")));
        self.lines.push(Line::dyno(at_us + 3_200_000, &dyno, command));
        self.lines.push(Line::dyno(at_us + 3_900_000, &dyno, "State changed from starting to up"));
        let rows = self.rng.range(9_000, 40_000);
        self.lines.push(Line::app(at_us + 15_000_000, &dyno, format!("nightly: wrote {rows} rows")));
        self.lines.push(Line::dyno(at_us + 16_100_000, &dyno, "Process exited with status 0"));
        self.lines.push(Line::dyno(at_us + 16_200_000, &dyno, "State changed from up to complete"));
    }
}

/// Tenths as a decimal number with one place.
fn tenths(value: u64) -> String {
    let two_places = centi(value * 10);
    two_places[..two_places.len() - 1].to_string()
}
