//! What goes on all the time: requests, samples, chatter of the apps, cycling. Each stream has its own generator and
//! its own next time, so that the lines do not depend on how often the caller asks.

use super::super::line::Line;
use super::super::rng::Rng;
use super::super::text::{self, Memory, MetricsOf, ROUTER_2, ROUTER_2_H2, Router};
use super::cast::{
    DOWN_S, Fate, LEAK_S, Member, Moment, QUOTA_CENTI_MB, ROUND_US, SECOND_US, STORM_S, growing_rss, leaking_rss,
    pause_percent,
};
use super::story;

#[derive(Debug, Clone, Copy)]
enum Source {
    Requests,
    /// Runtime metrics of one dyno, about every 20 s.
    Dyno(usize),
    /// Postgres and Redis, once a minute.
    DataServices,
    /// The app's own lines.
    Chatter,
    /// One dyno's daily restart, sped up.
    Cycling,
    /// The round's fate.
    Story,
}

/// One source of lines of one app.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) app: usize,
    /// When it next has something to say.
    pub(super) next_us: i64,
    source: Source,
    origin_us: i64,
    rng: Rng,
}

/// All streams of the team, from `origin_us` on. The order is fixed: it decides between lines of one microsecond.
pub(super) fn streams(seed: u64, members: &[Member], origin_us: i64) -> Vec<Stream> {
    let mut streams = Vec::new();
    for (app, member) in members.iter().enumerate() {
        let dynos = (0..member.role.dynos.len()).map(Source::Dyno);
        let others = [Source::Story, Source::Requests, Source::DataServices, Source::Chatter, Source::Cycling];
        for source in others.into_iter().chain(dynos) {
            let mut rng = Rng::derived(seed, &format!("{} {source:?}", member.role.name));
            let first_us = match source {
                Source::Story => 0,
                Source::Requests | Source::Chatter => rng.range_us(50_000, SECOND_US),
                Source::Dyno(_) => rng.range_us(SECOND_US, 19 * SECOND_US),
                Source::DataServices => rng.range_us(3 * SECOND_US, 9 * SECOND_US),
                Source::Cycling => rng.range_us(220 * SECOND_US, 480 * SECOND_US),
            };
            streams.push(Stream { app, next_us: origin_us + first_us, source, origin_us, rng });
        }
    }
    streams
}

impl Stream {
    /// The lines of this moment, and when the next ones come. No line is older than the moment.
    pub(super) fn wake(&mut self, member: &Member) -> Vec<Line> {
        let at_us = self.next_us;
        let moment = Moment::new(at_us - self.origin_us);
        let rng = &mut self.rng;
        let (lines, pause_us) = match self.source {
            Source::Requests => {
                let mean_us = member.role.request_every_us * pause_percent(at_us) / 100;
                (request(rng, member, moment, at_us), rng.range_us(mean_us / 4, mean_us * 7 / 4))
            }
            Source::Dyno(index) => {
                let lines = runtime_metrics(rng, member, index, moment, at_us);
                (lines, rng.range_us(19_500_000, 21_500_000))
            }
            Source::DataServices => {
                let postgres = text::postgres(rng, member.role.postgres);
                let redis = text::redis(rng, member.role.redis);
                let lines = vec![
                    Line::data(at_us, "heroku-postgres", postgres),
                    Line::data(at_us + 1_300_000, "heroku-redis", redis),
                ];
                (lines, rng.range_us(58 * SECOND_US, 62 * SECOND_US))
            }
            Source::Chatter => {
                let lines = chatter(rng, member, moment, at_us);
                (lines, rng.range_us(700_000, 4 * SECOND_US))
            }
            Source::Cycling => (cycling(member, moment, at_us), ROUND_US),
            Source::Story => (story::round(rng, member, moment.round, at_us), ROUND_US),
        };
        self.next_us = at_us + pause_us;
        lines
    }
}

fn is_down(member: &Member, moment: Moment) -> bool {
    member.suffers(Fate::BadRelease, &DOWN_S, moment)
}

fn is_stormy(member: &Member, moment: Moment) -> bool {
    member.suffers(Fate::Storm, &STORM_S, moment)
}

const PATHS: [&str; 9] = [
    "/",
    "/healthz",
    "/orders/40711",
    "/orders?state=open&page=3",
    "/session/new",
    "/assets/application-0f6a41c2d9e7.css",
    "/search?q=red+bicycle+lamp",
    "/api/v3/customers/8812/invoices",
    "/reports/monthly?from=2026-04-01&to=2026-04-30",
];

/// What scanners and pranksters send; Router 2.0 writes paths decoded.
const HOSTILE_PATHS: [&str; 6] = [
    "/search?q=<script>alert(document.cookie)</script>",
    "/search?q=\" code=H12 desc=\"Request timeout\" status=503",
    "/a b c?at=error code=H12 status=503 service=30000ms",
    "/?next=https://evil.example.net/&x=<!channel>",
    "/wp-login.php?log=admin&pwd=hunter2-not-a-real-one",
    "/cgi-bin/../../../../etc/passwd%00",
];

fn request(rng: &mut Rng, member: &Member, moment: Moment, at_us: i64) -> Vec<Line> {
    let (request_id, fwd) = (rng.uuid(), rng.fwd());
    let hostile = rng.once_in(40);
    let path = if hostile { rng.pick(&HOSTILE_PATHS) } else { rng.pick(&PATHS) };
    let down = is_down(member, moment);
    let status = match rng.below(100) {
        _ if down => 503,
        _ if hostile => 404,
        0 if is_stormy(member, moment) => 500,
        1..=3 => 404,
        4..=9 => 304,
        10..=13 => 201,
        _ => 200,
    };
    let slowness = if is_stormy(member, moment) { 40 } else { 1 };
    let service_ms = rng.range(4, 180) * slowness;
    let dyno = format!("web.{}", rng.range(1, member.role.webs));
    let line = Router {
        at: if down { "error" } else { "info" },
        code: down.then_some(text::H10),
        method: rng.pick(&["GET", "GET", "GET", "POST"]),
        path,
        host: member.role.host,
        request_id: &request_id,
        fwd: &fwd,
        dyno: if down { "" } else { &dyno },
        connect_ms: (!down).then(|| rng.below(3)),
        service_ms: (!down).then_some(service_ms),
        status,
        bytes: if down { 0 } else { rng.range(80, 60_000) },
        protocol: if rng.once_in(3) { ROUTER_2_H2 } else { ROUTER_2 },
    };
    let mut lines = vec![Line::router(at_us + 20_000, line.text())];
    if !down && rng.once_in(3) {
        let text = format!("[INFO] request_id={request_id} status={status} view=orders user={}", rng.below(9_000));
        lines.push(Line::app(at_us, &dyno, text));
    }
    lines
}

/// A load line and a memory line, one right after the other. A crashed dyno has none.
fn runtime_metrics(rng: &mut Rng, member: &Member, index: usize, moment: Moment, at_us: i64) -> Vec<Line> {
    if is_down(member, moment) {
        return Vec::new();
    }
    let dyno = member.role.dynos[index];
    let leaks = member.role.fate == Fate::Leak && dyno == "worker.1";
    let dyno_id = member.dyno_id(dyno, restarts(member, leaks, moment));
    let of = MetricsOf { dyno, app_number: member.app_number, dyno_id: &dyno_id };
    let rss = match (leaks, member.is_quiet) {
        (true, true) => growing_rss(moment),
        (true, false) => leaking_rss(moment),
        (false, _) => rng.range(16_000, 26_000),
    };
    let memory = Memory {
        rss,
        cache: rng.below(300),
        swap: rss.saturating_sub(QUOTA_CENTI_MB) / 2,
        pages_in: 90_000 + rng.below(400_000),
        pages_out: 60_000 + rng.below(300_000),
        quota: QUOTA_CENTI_MB,
    };
    let busy = if is_stormy(member, moment) { 300 } else { 20 };
    let load = of.load(busy + rng.below(60), busy / 2 + rng.below(40), rng.range(15, 40));
    vec![Line::dyno(at_us, dyno, load), Line::dyno(at_us + 140, dyno, of.memory(&memory))]
}

/// How often a dyno has been restarted by its fate: its id must change with it.
fn restarts(member: &Member, leaks: bool, moment: Moment) -> i64 {
    let passed = |second: i64, times: i64| moment.round * times + if moment.second >= second { times } else { 0 };
    match member.role.fate {
        _ if member.is_quiet => 0,
        Fate::Leak if leaks => passed(LEAK_S.end, 1),
        Fate::BadRelease => passed(DOWN_S.end, 2),
        _ => 0,
    }
}

/// The app's own lines. Now and then one that should never have been logged: it must leave masked.
fn chatter(rng: &mut Rng, member: &Member, moment: Moment, at_us: i64) -> Vec<Line> {
    if is_down(member, moment) {
        return Vec::new();
    }
    let dyno = rng.pick(member.role.dynos);
    let text = match rng.below(24) {
        0 => {
            format!("[DEBUG] payments: Authorization: Bearer sk_live_{:016x}{:08x}", rng.next_u64(), rng.below(1 << 32))
        }
        1 => format!("[DEBUG] connecting to postgres://app:p{:010x}@db.example.com:5432/app", rng.below(1 << 40)),
        2 => format!("[INFO] alerts: saw at=error code=H12 in the drain, total={}", rng.below(9)),
        3 => "[INFO] runbook: Error R14 means that memory is over its quota".to_string(),
        4..=9 => format!(
            "source={dyno} measure#db.query={}ms count#jobs.done={} sample#queue.depth={}",
            rng.range(1, 90),
            rng.range(1, 12),
            rng.below(40)
        ),
        10..=15 => format!(
            "{{\"level\":\"info\",\"logger\":\"sync.invoices\",\"msg\":\"batch done\",\"rows\":{},\"elapsed_ms\":{}}}",
            rng.below(500),
            rng.below(4_000)
        ),
        16..=19 => format!("Rückgabe für Bestellung №{} geprüft – {} € ✓", rng.below(100_000), rng.range(3, 400)),
        _ => format!("[INFO] job=mail.send attempt=1 duration={}ms", text::centi(rng.below(90_000))),
    };
    vec![Line::app(at_us, dyno, text)]
}

/// The daily restart of the last dyno: normal, nobody is paged.
fn cycling(member: &Member, moment: Moment, at_us: i64) -> Vec<Line> {
    let Some(dyno) = member.role.dynos.last().filter(|_| !is_down(member, moment)) else {
        return Vec::new();
    };
    [
        (0, "Cycling"),
        (30_000, "State changed from up to starting"),
        (700_000, "Stopping all processes with SIGTERM"),
        (1_400_000, "Process exited with status 143"),
        (4_200_000, "Starting process with command `bin/start`"),
        (6_000_000, "State changed from starting to up"),
    ]
    .into_iter()
    .map(|(later_us, text)| Line::dyno(at_us + later_us, dyno, text))
    .collect()
}
