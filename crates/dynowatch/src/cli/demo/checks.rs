//! The checks of the demo: a small web server on loopback that they look at, a job that reports, and thirty days of past, so
//! that every chart has content at once. The past is made by the same state machine that goes on with it.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::heartbeat::{HeartbeatState, Ping, PingKind};
use dynowatch_domain::check::observation::{Memory, Observation, Phase};
use dynowatch_domain::check::outcome::Reason;
use dynowatch_domain::check::run::{self, Run};
use dynowatch_domain::check::state::{Around, CheckState, Effect, Ran};
use dynowatch_domain::check::uptime::Flip;
use dynowatch_domain::check::{Check, CheckKind};
use dynowatch_engine::Engine;
use dynowatch_engine::random::RandomIds;
use dynowatch_store::Store;
use dynowatch_store::checks::{CheckChange, CheckRow, Failure, OutageRow, ResultRow};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::feed::BACKFILL;

/// How far back the past reaches, and its runs.
const PAST: Duration = Duration::from_secs(30 * 86_400);
const RUNS: Duration = Duration::from_secs(7 * 86_400);
/// A run each minute, in the past.
const STEP: Duration = Duration::from_secs(60);
/// The last run of the past is as old as this.
const HANDED_OVER: Duration = Duration::from_secs(2);
/// A round of the story, and for how long of it the API is down.
const ROUND_S: u64 = 600;
const API_DOWN_S: u64 = 120;
/// In each round the shop is slow from then on, for a minute.
const SHOP_SLOW_S: std::ops::Range<u64> = 300..360;
/// How often the job reports.
const JOB_EVERY: Duration = Duration::from_secs(30);
/// The longest request that the small server reads.
const REQUEST_BYTES_MAX: usize = 8 * 1024;
/// Who holds the checks while their past is written.
const OWNER: &str = "demo";
/// The check of the job.
const JOB: &str = "nightly-report";

/// The small server, before it serves.
pub(super) struct Target(TcpListener);

impl Target {
    pub(super) fn new() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self(listener))
    }

    /// The checks that look at it, as a file would hold them.
    pub(super) fn configuration(&self) -> std::io::Result<String> {
        let port = self.0.local_addr()?.port();
        Ok(format!(
            r#"
[prober]
allow_networks = ["127.0.0.1"]
control_targets = ["127.0.0.1:{port}"]

[[checks]]
name = "shop-home"
kind = "web"
app = "shop-web"
url = "http://127.0.0.1:{port}/shop/health"
assert = ["status = 200", "body.status = \"ok\"", "response < 500 ms else degraded"]
every = "10s"

[[checks]]
name = "api-health"
kind = "web"
app = "api-prod"
url = "http://127.0.0.1:{port}/api/health"
assert = ["status = 200", "body.queue.depth < 100"]
every = "10s"
every_when_suspect = "5s"
runbook = "docs/ops/runbooks/api.md"

[[checks]]
name = "api-search"
kind = "web"
app = "api-prod"
url = "http://127.0.0.1:{port}/api/search"
parent = "api-health"
every = "15s"

[[checks]]
name = "billing-port"
kind = "tcp"
app = "billing-worker"
host = "127.0.0.1"
port = {port}
every = "15s"

[[checks]]
name = "{JOB}"
kind = "heartbeat"
app = "reports"
every = "60s"
grace = "60s"

[[checks]]
name = "old-landing-page"
kind = "web"
app = "shop-web"
url = "http://127.0.0.1:{port}/old"
paused = true

[[maintenance]]
name = "weekend-batch"
checks = ["billing-*"]
weekly = ["sun"]
at = "03:00"
for = "2h"
reason = "the weekly billing run"
"#
        ))
    }

    /// Answers until told to stop. `begun` is the moment of the demo's start.
    pub(super) async fn serve(self, begun: tokio::time::Instant, mut stop: watch::Receiver<bool>) {
        let listener = match tokio::net::TcpListener::from_std(self.0) {
            Ok(listener) => listener,
            Err(error) => return tracing::warn!(%error, "the demo's checks have nothing to look at"),
        };
        loop {
            tokio::select! {
                _ = stop.changed() => return,
                accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                    let at = (begun.elapsed() + BACKFILL).as_secs() % ROUND_S;
                    // Who goes away before the answer is no news.
                    tokio::spawn(async move { let _gone = answer(stream, at).await; });
                }
            }
        }
    }
}

/// Reads a request and answers as the story has it at that second of the round.
async fn answer(mut stream: TcpStream, at: u64) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|four| four == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        let mut piece = [0; 1_024];
        match stream.read(&mut piece).await? {
            0 => return Ok(()),
            n => request.extend(piece.iter().take(n)),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or_default();
    let jitter = u64::from(dynowatch_engine::random::bytes::<1>()[0]) / 8;
    let wait = if path.starts_with("/shop") && SHOP_SLOW_S.contains(&at) { 620 } else { 18 };
    tokio::time::sleep(Duration::from_millis(wait + jitter)).await;
    let (status, body) = match path {
        _ if path.starts_with("/api") && at < API_DOWN_S => ("503 Service Unavailable", r#"{"error":"no worker"}"#),
        "/shop/health" => ("200 OK", r#"{"status":"ok"}"#),
        "/api/health" => ("200 OK", r#"{"status":"ok","queue":{"depth":7}}"#),
        "/api/search" => ("200 OK", r#"{"hits":40711}"#),
        _ => ("404 Not Found", "{}"),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The job that reports, until told to stop.
pub(super) async fn job(engine: Engine, mut stop: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(JOB_EVERY);
    for n in 1_u64.. {
        tokio::select! {
            _ = stop.changed() => return,
            _ = ticks.tick() => {}
        }
        let token = match engine.store().check_row(JOB).await {
            Ok(row) => row.and_then(|row| row.ping_token),
            Err(error) => {
                tracing::warn!(%error, "the demo's job cannot report");
                None
            }
        };
        // Its address is made with the first look at shares, within seconds.
        let Some(token) = token else {
            ticks.reset_after(Duration::from_secs(1));
            continue;
        };
        let says = |kind| Ping { at: engine.now(), kind, run: Some(format!("run-{n}")), note: String::new() };
        for kind in [PingKind::Start, PingKind::Finish] {
            if let Err(error) = engine.ping(&token, &says(kind)).await {
                tracing::warn!(%error, "the demo's job cannot report");
            }
        }
    }
}

/// Writes the past of the checks, before anybody runs them.
pub(super) async fn remember(store: &Store, checks: &[Check], now: Timestamp) -> anyhow::Result<()> {
    let names: Vec<(String, Option<String>)> = checks.iter().map(|check| (check.name.clone(), None)).collect();
    store.register_checks(&names, now - PAST).await?;
    store.share_checks(OWNER, names.len() as u64, &[], now).await?;
    let (mut changes, mut rows, mut failures) = (Vec::new(), Vec::new(), Vec::new());
    for row in store.check_rows().await? {
        let Some(check) = checks.iter().find(|check| check.name == row.name && !check.paused) else { continue };
        let past = Past::of(check, now);
        rows.extend(past.rows.into_iter().map(|(from, body)| ResultRow { number: row.number, from, body }));
        failures.extend(past.failures.into_iter().map(|failure| (row.number, failure)));
        changes.push(change(check, &row, past.state, (past.flips, past.outages), past.last, now));
    }
    store.save_checks(&changes).await?;
    store.write_check_results(&rows, &failures).await?;
    store.give_back_checks(Some(OWNER)).await?;
    Ok(())
}

fn change(
    check: &Check,
    row: &CheckRow,
    state: CheckState,
    (flips, outages): (Vec<Flip>, Vec<OutageRow>),
    last: Option<Observation>,
    now: Timestamp,
) -> CheckChange {
    let mut heartbeat = HeartbeatState::default();
    if matches!(check.kind, CheckKind::Heartbeat(_)) {
        let ping = |at, kind| Ping { at, kind, run: Some("run-0".to_owned()), note: String::new() };
        heartbeat.take(ping(now - STEP / 2, PingKind::Start));
        heartbeat.take(ping(now - STEP / 6, PingKind::Finish));
    }
    CheckChange {
        number: row.number,
        owner: OWNER.to_owned(),
        version: row.version,
        state,
        memory: Memory::default(),
        heartbeat,
        last,
        missed: 0,
        asked_until: None,
        pings: Vec::new(),
        flips,
        outages,
    }
}

/// What a check went through.
#[derive(Default)]
struct Past {
    state: CheckState,
    flips: Vec<Flip>,
    outages: Vec<OutageRow>,
    rows: Vec<(Timestamp, Vec<u8>)>,
    failures: Vec<Failure>,
    last: Option<Observation>,
}

impl Past {
    fn of(check: &Check, now: Timestamp) -> Self {
        let mut past = Self::default();
        let dials = !matches!(check.kind, CheckKind::Heartbeat(_));
        let mut before: Option<Run> = None;
        // The last one is of a moment ago, so that those of the present go on with it.
        let mut at = now - PAST + (STEP - HANDED_OVER);
        while at < now {
            if let Some(reason) = found(&check.name, now.since(at)) {
                let seen = observation(check, at, reason);
                past.step(check, &seen);
                if dials && now.since(at) <= RUNS {
                    past.keep(&seen, &mut before);
                }
                past.last = Some(seen);
            }
            at = at + STEP;
        }
        past
    }

    fn step(&mut self, check: &Check, seen: &Observation) {
        let at = seen.started_at;
        let ran = Ran { at, outcome: seen.outcome, misconfigured: false, decisive: false };
        let effects = self.state.step(&check.thresholds, STEP, Some(ran), &Around::default(), &mut RandomIds, at);
        for effect in effects {
            match effect {
                Effect::Flip(flip) => self.flips.push(flip),
                Effect::Opened { id, began_at, .. } => self.outages.push(OutageRow {
                    id,
                    began_at,
                    ended_at: None,
                    opened_at: Some(at),
                    flapping: false,
                    held: None,
                }),
                Effect::Resolved { id, ended_at, .. } => {
                    for outage in self.outages.iter_mut().filter(|outage| outage.id == id) {
                        outage.ended_at = Some(ended_at);
                    }
                }
                _ => {}
            }
        }
    }

    fn keep(&mut self, seen: &Observation, before: &mut Option<Run>) {
        let run = Run::of(seen, false, Duration::from_millis(3));
        match self.rows.last_mut().filter(|(from, _)| *from == run.row()) {
            Some((_, body)) => run::pack(body, before.as_ref(), &run),
            None => {
                let mut body = Vec::new();
                run::pack(&mut body, None, &run);
                self.rows.push((run.row(), body));
            }
        }
        *before = Some(run);
        if seen.reason.is_some() {
            let transcript = format!("{:>9}.000 ms * the run failed: {}\n", seen.phases.total_us / 1_000, seen.detail);
            self.failures.push(Failure { observation: seen.clone(), transcript });
        }
    }
}

/// What a check found so long ago: `None`, nobody looked; else why it was not up, if it was not.
fn found(check: &str, ago: Duration) -> Option<Option<Reason>> {
    let minutes = ago.as_secs() / 60;
    let day = 1_440;
    let within = |from_day: u64, minute: u64, lasts: u64| {
        let begin = from_day * day + minute;
        (begin..begin + lasts).contains(&minutes)
    };
    // Nobody looked for two hours, twelve days ago.
    if within(12, 300, 120) {
        return None;
    }
    let reason = match check {
        "api-health" if within(0, 95, 7) || within(2, 610, 14) || within(9, 80, 42) || within(21, 900, 5) => {
            Some(Reason::StatusUnexpected)
        }
        "api-search" if within(0, 95, 7) || within(2, 610, 14) || within(9, 80, 42) => Some(Reason::StatusUnexpected),
        "shop-home" if within(5, 200, 4) => Some(Reason::ConnectRefused),
        "shop-home" if minutes % day > 200 && minutes % day < 212 && minutes / day % 3 == 1 => {
            Some(Reason::AssertionDegraded)
        }
        "billing-port" if within(16, 30, 9) => Some(Reason::Timeout),
        JOB if within(3, 60, 12) => Some(Reason::HeartbeatMissed),
        _ => None,
    };
    Some(reason)
}

fn observation(check: &Check, at: Timestamp, reason: Option<Reason>) -> Observation {
    let detail = match reason {
        Some(Reason::StatusUnexpected) => "status 503, where 2xx is expected".to_owned(),
        Some(reason) => reason.sentence().to_owned(),
        None => String::new(),
    };
    let mut seen = Observation::bare(at, reason, detail);
    if matches!(check.kind, CheckKind::Heartbeat(_)) {
        return seen;
    }
    // Slower by day than by night, and never twice the same.
    let minute = u64::try_from(at.as_seconds().rem_euclid(86_400) / 60).unwrap_or(0);
    let by_day = 720_u64.abs_diff(minute.abs_diff(840)) * 20;
    let odd = u64::try_from(at.as_seconds().rem_euclid(7_919)).unwrap_or(0).wrapping_mul(2_654_435_761) % 17_000;
    let connect = 400 + odd % 300;
    let first_byte = match reason {
        Some(Reason::AssertionDegraded) => 620_000 + odd,
        Some(Reason::ConnectRefused | Reason::Timeout) => 0,
        _ if matches!(check.kind, CheckKind::Tcp(_)) => 0,
        _ => 18_000 + by_day + odd,
    };
    seen.phases.set(Phase::Connect, connect);
    if first_byte > 0 {
        seen.phases.set(Phase::FirstByte, first_byte);
        seen.phases.set(Phase::Body, 180 + odd % 90);
    }
    seen.phases.total_us = connect + first_byte + 600;
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynowatch_domain::check::kind::WebCheck;
    use dynowatch_domain::check::state::Shown;

    #[test]
    fn the_past_has_an_outage_in_the_last_two_hours_and_is_over() {
        let now = Timestamp::from_seconds(1_778_141_160);
        let check = Check::new("api-health", CheckKind::Web(WebCheck::get("http://127.0.0.1/")));
        let past = Past::of(&check, now);
        assert_eq!(past.state.shown(), Shown::Up);
        assert_eq!(past.outages.len(), 4);
        let last = past.outages.last().unwrap();
        assert!(now.since(last.began_at) < Duration::from_secs(7_200) && last.ended_at.is_some(), "{last:?}");
        let runs: usize = past.rows.iter().map(|(from, body)| run::unpack(*from, body).unwrap().len()).sum();
        assert_eq!(runs, 7 * 1_440);
        assert!(past.flips.len() > 8 && past.flips.is_sorted_by_key(|flip| flip.at), "{:?}", past.flips);
        assert_eq!(past.failures.len(), 7 + 14);
    }
}
