//! Which lines the workload holds, and how often: the mix of a busy team with a few errors in it.
//!
//! 70 % router, 15 % app, 10 % runtime metrics, 3 % Postgres and Redis, 1 % dyno state, 0.5 % H12, H13 and 5xx, 0.1 % worker
//! timeouts and R14; about 300 bytes a frame. A few lines are decoys that only quote what the others mean.

use crate::traffic::line::Line;
use crate::traffic::rng::Rng;
use crate::traffic::text::{self, Memory, MetricsOf, ROUTER_2, ROUTER_LEGACY, Router};

/// What a line truly is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    RouterInfo,
    /// A good request whose path quotes `code=H12` and other fields, blanks included.
    RouterDecoy,
    RouterH12,
    RouterH13,
    /// A 5xx the app itself has answered.
    Router5xx,
    WorkerTimeout,
    DynoR14,
    DynoState,
    RuntimeLoad,
    RuntimeMemory,
    Postgres,
    Redis,
    /// An app line that quotes a router error.
    AppDecoyH12,
    /// An app line that quotes `WORKER TIMEOUT` without being one.
    AppDecoyTimeout,
    App,
}

/// Parts per hundred thousand.
const MIX: [(Kind, u64); 15] = [
    (Kind::RouterInfo, 69_980),
    (Kind::RouterDecoy, 20),
    (Kind::RouterH12, 200),
    (Kind::RouterH13, 100),
    (Kind::Router5xx, 200),
    (Kind::WorkerTimeout, 60),
    (Kind::DynoR14, 40),
    (Kind::DynoState, 1_000),
    (Kind::RuntimeLoad, 5_000),
    (Kind::RuntimeMemory, 5_000),
    (Kind::Postgres, 2_000),
    (Kind::Redis, 1_000),
    (Kind::AppDecoyH12, 20),
    (Kind::AppDecoyTimeout, 10),
    (Kind::App, 15_370),
];
const MIX_TOTAL: u64 = 100_000;

impl Kind {
    /// The name in `expected.json`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::RouterInfo => "router_info",
            Kind::RouterDecoy => "router_decoy_h12",
            Kind::RouterH12 => "router_h12",
            Kind::RouterH13 => "router_h13",
            Kind::Router5xx => "router_5xx",
            Kind::WorkerTimeout => "worker_timeout",
            Kind::DynoR14 => "dyno_r14",
            Kind::DynoState => "dyno_state",
            Kind::RuntimeLoad => "runtime_load",
            Kind::RuntimeMemory => "runtime_memory",
            Kind::Postgres => "postgres",
            Kind::Redis => "redis",
            Kind::AppDecoyH12 => "app_decoy_h12",
            Kind::AppDecoyTimeout => "app_decoy_timeout",
            Kind::App => "app",
        }
    }

    /// The platform error code that the line reports.
    pub(super) fn code(self) -> Option<&'static str> {
        match self {
            Kind::RouterH12 => Some("H12"),
            Kind::RouterH13 => Some("H13"),
            Kind::DynoR14 => Some("R14"),
            _ => None,
        }
    }

    /// Whether one of the bench's rules counts the line: what must be committed before the batch is answered.
    pub(super) fn matches_a_rule(self) -> bool {
        self.code().is_some() || matches!(self, Kind::WorkerTimeout | Kind::AppDecoyTimeout)
    }
}

/// One simulated app.
#[derive(Debug)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) host: &'static str,
    pub(super) token: String,
    webs: u64,
    number: u64,
    dynos: Vec<Dyno>,
}

#[derive(Debug)]
struct Dyno {
    name: String,
    id: String,
}

const APPS: [(&str, &str, u64, u64); 8] = [
    ("shop-web", "shop.example.com", 4, 1),
    ("api-prod", "api.example.com", 3, 2),
    ("billing-worker", "billing.example.com", 1, 2),
    ("reports", "reports.example.com", 1, 1),
    ("console-prod", "console.example.com", 2, 1),
    ("search", "search.example.com", 3, 1),
    ("mailer", "mailer.example.com", 1, 2),
    ("partner-api", "partners.example.com", 2, 1),
];

pub(super) fn apps(rng: &mut Rng) -> Vec<App> {
    APPS.iter()
        .map(|&(name, host, webs, workers)| {
            let names = (1..=webs)
                .map(|number| format!("web.{number}"))
                .chain((1..=workers).map(|number| format!("worker.{number}")));
            App {
                name,
                host,
                token: format!("d.{}", rng.uuid()),
                webs,
                number: rng.range(100_000_000, 199_999_999),
                dynos: names.map(|name| Dyno { name, id: rng.uuid() }).collect(),
            }
        })
        .collect()
}

/// The lower of two draws: the first app gets nearly a quarter of the bodies, the last a few percent.
pub(super) fn pick_app<'a>(rng: &mut Rng, apps: &'a [App]) -> &'a App {
    let count = apps.len() as u64;
    &apps[rng.below(count).min(rng.below(count)) as usize]
}

/// A line with the truth about it.
#[derive(Debug)]
pub(super) struct Drawn {
    pub(super) kind: Kind,
    pub(super) line: Line,
    pub(super) router: Option<RouterFacts>,
    /// Hundredths of a megabyte; 0 for all but memory lines.
    pub(super) memory_rss: u64,
}

/// What a receiver must read out of a router line.
#[derive(Debug, Clone, Copy)]
pub(super) struct RouterFacts {
    pub(super) status: u16,
    pub(super) service_ms: u64,
    pub(super) bytes: u64,
}

pub(super) fn draw(rng: &mut Rng, app: &App, at_us: i64) -> Drawn {
    let mut ticket = rng.below(MIX_TOTAL);
    let kind = MIX
        .iter()
        .find(|(_, share)| {
            let hit = ticket < *share;
            ticket = ticket.saturating_sub(*share);
            hit
        })
        .map_or(Kind::App, |(kind, _)| *kind);
    let mut drawn = Drawn { kind, line: Line::app(at_us, "", ""), router: None, memory_rss: 0 };
    drawn.line = match kind {
        Kind::RouterInfo | Kind::RouterDecoy | Kind::RouterH12 | Kind::RouterH13 | Kind::Router5xx => {
            let (line, facts) = router(rng, app, at_us, kind);
            drawn.router = Some(facts);
            line
        }
        Kind::RuntimeMemory => {
            let memory = Memory {
                rss: rng.range(20_000, 90_000),
                cache: rng.below(2_000),
                swap: rng.below(6_000),
                pages_in: rng.below(600_000),
                pages_out: rng.below(400_000),
                quota: 102_400,
            };
            drawn.memory_rss = memory.rss;
            let dyno = any_dyno(rng, app);
            Line::dyno(at_us, &dyno.name, metrics_of(app, dyno).memory(&memory))
        }
        Kind::RuntimeLoad => {
            let dyno = any_dyno(rng, app);
            let load = metrics_of(app, dyno).load(rng.below(400), rng.below(400), rng.below(400));
            Line::dyno(at_us, &dyno.name, load)
        }
        Kind::Postgres => Line::data(at_us, "heroku-postgres", text::postgres(rng, "postgresql-flat-12345")),
        Kind::Redis => Line::data(at_us, "heroku-redis", text::redis(rng, "redis-calm-54321")),
        Kind::DynoR14 => Line::dyno(at_us, &any_dyno(rng, app).name, "Error R14 (Memory quota exceeded)"),
        Kind::DynoState => Line::dyno(at_us, &any_dyno(rng, app).name, rng.pick(&STATES)),
        Kind::WorkerTimeout => {
            let dyno = format!("web.{}", rng.range(1, app.webs));
            let pid = rng.range(5, 900);
            Line::app(at_us, &dyno, format!("[2026-05-07 08:06:12 +0000] [4] [CRITICAL] WORKER TIMEOUT (pid:{pid})"))
        }
        Kind::AppDecoyH12 => Line::app(
            at_us,
            "web.1",
            format!("[INFO] alerts: saw at=error code=H12 from drain, total={} window=300s", rng.below(9)),
        ),
        Kind::AppDecoyTimeout => Line::app(
            at_us,
            "worker.1",
            format!("[INFO] runbook: the WORKER TIMEOUT rule is > 2 in 120s, now {}", rng.below(2)),
        ),
        Kind::App => Line::app(at_us, &any_dyno(rng, app).name, app_text(rng)),
    };
    drawn
}

/// Lines of an ordinary deploy or cycling; none of them is a crash.
const STATES: [&str; 6] = [
    "State changed from starting to up",
    "State changed from up to starting",
    "Cycling",
    "Stopping all processes with SIGTERM",
    "Process exited with status 143",
    "Starting process with command `gunicorn shop.wsgi:app --workers 4 --timeout 30`",
];

const PATHS: [&str; 10] = [
    "/",
    "/orders/40711",
    "/orders?state=open&page=3&per_page=50",
    "/session/new",
    "/healthz",
    "/assets/application-0f6a41c2d9e7.css",
    "/search?q=red+bicycle+lamp&sort=price&page=2&per_page=48",
    "/reports/monthly?from=2026-04-01&to=2026-04-30&format=csv",
    "/api/v3/customers/8812/invoices",
    "/hooks/payments",
];

const DECOY_PATH: &str = "/search?q=at=error code=H12 desc=none status=503 service=30000ms";

fn router(rng: &mut Rng, app: &App, at_us: i64, kind: Kind) -> (Line, RouterFacts) {
    let code = match kind {
        Kind::RouterH12 => Some(text::H12),
        Kind::RouterH13 => Some(text::H13),
        _ => None,
    };
    let facts = RouterFacts {
        status: match kind {
            Kind::RouterH12 | Kind::RouterH13 => 503,
            Kind::Router5xx => [500, 502, 500, 504][rng.below(4) as usize],
            Kind::RouterDecoy => 200,
            _ => good_status(rng),
        },
        service_ms: match kind {
            Kind::RouterH12 => rng.range(30_000, 30_004),
            _ if rng.once_in(50) => rng.range(1_000, 9_999),
            _ => rng.range(1, 400),
        },
        bytes: if code.is_some() { 0 } else { rng.range(80, 90_000) },
    };
    let line = Router {
        at: if code.is_some() { "error" } else { "info" },
        code,
        method: rng.pick(&["GET", "GET", "GET", "POST", "PUT"]),
        path: if kind == Kind::RouterDecoy { DECOY_PATH } else { rng.pick(&PATHS) },
        host: app.host,
        request_id: &rng.uuid(),
        fwd: &rng.fwd(),
        dyno: &format!("web.{}", rng.range(1, app.webs)),
        connect_ms: Some(rng.below(3)),
        service_ms: Some(facts.service_ms),
        status: facts.status,
        bytes: facts.bytes,
        protocol: if rng.once_in(10) { ROUTER_LEGACY } else { ROUTER_2 },
    };
    (Line::router(at_us, line.text()), facts)
}

fn good_status(rng: &mut Rng) -> u16 {
    match rng.below(100) {
        0..=79 => 200,
        80..=84 => 201,
        85..=91 => 304,
        92..=93 => 302,
        94..=97 => 404,
        _ => 422,
    }
}

fn any_dyno<'a>(rng: &mut Rng, app: &'a App) -> &'a Dyno {
    &app.dynos[rng.below(app.dynos.len() as u64) as usize]
}

fn metrics_of<'a>(app: &App, dyno: &'a Dyno) -> MetricsOf<'a> {
    MetricsOf { dyno: &dyno.name, app_number: app.number, dyno_id: &dyno.id }
}

/// What web frameworks, job runners and JSON loggers print, some of it not ASCII.
fn app_text(rng: &mut Rng) -> String {
    match rng.below(6) {
        0 => format!(
            "[INFO] request_id={} user={} action=cart.update duration={}ms db={}ms view={}ms cache=hit shard=eu-2",
            rng.uuid(),
            rng.below(1_000_000),
            text::centi(rng.below(90_000)),
            text::centi(rng.below(9_000)),
            text::centi(rng.below(6_000))
        ),
        1 => format!(
            "Started GET \"/orders/{}\" for {} at 2026-05-07 08:06:12 +0000",
            rng.below(100_000),
            rng.client_address()
        ),
        2 => format!(
            "{{\"level\":\"info\",\"logger\":\"sync.invoices\",\"msg\":\"batch done\",\"rows\":{},\"tenant\":\"t_{:x}\",\
             \"trace\":\"{:016x}\",\"elapsed_ms\":{}}}",
            rng.below(500),
            rng.below(1 << 24),
            rng.next_u64(),
            rng.below(4_000)
        ),
        3 => format!(
            "2026-05-07 08:06:12 [worker] DEBUG db SELECT id, total, state FROM orders WHERE customer_id = {} ORDER BY \
             created_at DESC LIMIT 50 -- {:08x}",
            rng.below(1_000_000),
            rng.below(1 << 32)
        ),
        4 => format!(
            "Rückgabe für Bestellung №{} geprüft – {} € (café ✓) sitzung={}",
            rng.below(100_000),
            rng.range(3, 400),
            rng.uuid()
        ),
        _ => format!(
            "10.1.{}.{} - - [07/May/2026:08:06:12 +0000] \"GET /healthz HTTP/1.1\" 200 {} \"-\" \"Mozilla/5.0 (X11; Linux \
             x86_64) AppleWebKit/537.36 Chrome/124.0 Safari/537.36\"",
            rng.below(256),
            rng.below(256),
            rng.below(5_000)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mix_adds_up() {
        assert_eq!(MIX.iter().map(|(_, share)| share).sum::<u64>(), MIX_TOTAL);
    }
}
