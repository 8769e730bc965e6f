//! How long the server takes for its first page with many apps, and for the page of an app over seven days, on generated
//! values: `cargo xtask budgets`, or `cargo bench -p dynowatch-web --bench console`. Each request is for another app, so that no
//! charts are answered from memory, and comes a second of the server's clock after the one before it but at once on the
//! machine's: so the numbers of all apps are read anew at every tenth request, and the ones after it meet that reading. `DYNOWATCH_BENCH_APPS` and `DYNOWATCH_BENCH_DAYS`
//! make it smaller; figures and machine are in docs/performance.md.

#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "a bench reports, and ends when it fails")]
#![expect(clippy::disallowed_methods, reason = "a bench measures with the machine's clock")]

#[path = "../tests/it/composer.rs"]
mod composer;
#[path = "../tests/it/site.rs"]
#[expect(dead_code, reason = "tests use the rest")]
mod site;

use std::time::{Duration, Instant};

use dynowatch_domain::{Clock as _, Timestamp};
use http::Method;
use site::{Site, frame, request_to};

/// Requests of each page.
const ASKED: usize = 200;
/// How far the clock moves between two bodies of an app.
const STEP: Duration = Duration::from_secs(600);
/// The dynos of each app.
const DYNOS: [&str; 3] = ["web.1", "web.2", "worker.1"];

fn number(name: &str, otherwise: usize) -> usize {
    std::env::var(name).ok().map_or(otherwise, |value| value.parse().unwrap())
}

fn app_name(n: usize) -> String {
    format!("app-{n:03}")
}

/// What one app says in ten minutes.
fn body(app: usize, step: usize, at: Timestamp) -> String {
    let stamp = |seconds: u64| (at + Duration::from_secs(seconds)).to_string();
    let mut out = String::new();
    for n in 0..4_u64 {
        let status = if (app + step).is_multiple_of(17) && n == 3 { 503 } else { 200 };
        let service = format!("service={}ms", 20 + (app * 7 + step * 3) % 400 + n as usize * 40);
        let host = format!("{}.example.com", app_name(app));
        out.push_str(&request_to(&stamp(n * 120), &host, "/orders/7", "", status).replace("service=30000ms", &service));
    }
    for (n, dyno) in DYNOS.into_iter().enumerate() {
        let text = format!(
            "source={dyno} dyno=heroku.1.u sample#load_avg_1m=0.{:02} sample#memory_total={}.00MB sample#memory_rss={}.00MB sample#memory_swap=0.00MB sample#memory_quota=512.00MB",
            (step + n) % 90,
            200 + (app + step) % 200,
            190 + (app + step) % 200,
        );
        out.push_str(&frame(&stamp(30 + n as u64), "heroku", dyno, &text));
    }
    let database = format!(
        "source=DATABASE addon=postgresql-flat-1 sample#current_transaction={step} sample#db_size=900000000bytes sample#tables=40 sample#active-connections={} sample#waiting-connections=0 sample#index-cache-hit-rate=0.99991 sample#table-cache-hit-rate=0.98765 sample#load-avg-1m=0.2 sample#read-iops=12 sample#write-iops=40",
        step % 20,
    );
    out.push_str(&frame(&stamp(60), "app", "heroku-postgres", &database));
    if step.is_multiple_of(97) {
        let release = format!("Release v{} created by user ada@example.com", step / 97 + 1);
        out.push_str(&frame(&stamp(70), "app", "api", &release));
    }
    out
}

/// Apps with days of values behind them.
async fn filled(apps: usize, days: usize) -> Site {
    let site = Site::open().await;
    let steps = days * 86_400 / STEP.as_secs() as usize;
    for step in 0..steps {
        let at = site.clock.now();
        for app in 0..apps {
            site.post(&app_name(app), body(app, step, at).as_bytes()).await;
        }
        site.clock.advance(STEP);
        site.engine.level_pass().await.unwrap();
        if step % 6 == 5 {
            site.engine.fold_pass().await.unwrap();
        }
    }
    site
}

/// Asks for pages one after the other and prints what they took.
async fn measure(site: &Site, name: &str, budget_ms: f64, path: impl Fn(usize) -> String) {
    let mut took_ms = Vec::with_capacity(ASKED);
    let mut bytes = 0;
    for n in 0..ASKED {
        site.clock.advance(Duration::from_secs(1));
        let begun = Instant::now();
        let answer = site.ask(Method::GET, &path(n), "127.0.0.1:40000", &[], "").await;
        took_ms.push(begun.elapsed().as_secs_f64() * 1_000.0);
        assert_eq!(answer.status, 200, "{}", path(n));
        bytes = answer.text.len();
    }
    took_ms.sort_by(f64::total_cmp);
    let at = |share: f64| took_ms[((took_ms.len() - 1) as f64 * share) as usize];
    println!(
        "{name:<28} p50 {:>7.1} ms   p99 {:>7.1} ms   budget {budget_ms:.0} ms   {} KB of HTML",
        at(0.5),
        at(0.99),
        bytes / 1_024
    );
}

fn main() {
    let (apps, days) = (number("DYNOWATCH_BENCH_APPS", 100), number("DYNOWATCH_BENCH_DAYS", 7));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let begun = Instant::now();
        let site = filled(apps, days).await;
        println!("{apps} apps with {days} days of values, made in {:.0} s", begun.elapsed().as_secs_f64());
        measure(&site, "Now", 30.0, |n| format!("/?app={}", app_name(n % apps))).await;
        measure(&site, "App, 2 hours", 60.0, |n| format!("/apps/{}?range=2h", app_name(n % apps))).await;
        measure(&site, "App, 7 days", 60.0, |n| format!("/apps/{}?range=7d", app_name(n % apps))).await;
        measure(&site, "Apps", 30.0, |_| "/apps".to_owned()).await;
    });
}
