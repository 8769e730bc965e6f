//! What metrics of many dynos cost a running server, in percent of a core: its CPU time over some seconds of traffic in
//! real time. Besides the recorder and the flush this holds the drain's own work and the loops that never rest; three rows
//! tell them apart. The fold, which comes every ten minutes, falls into the time only if that is as long.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use bytes::Bytes;
use data_encoding::BASE64;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval};

use super::{Bench, report, set};

const APPS: usize = 10;
/// Of the dynos of an app, this many of ten are web dynos.
const WEB_OF_TEN: usize = 7;
const REQUESTS_PER_DYNO_S: usize = 3;
/// A dyno reports its memory and its load this often.
const REPORT_EVERY_S: usize = 20;

/// Who sends how much: every row has as many requests, from fewer or more dynos.
struct Team {
    dynos_per_app: usize,
    requests_per_app_s: usize,
}

impl Bench<'_> {
    /// Prints a row for a server at rest, one for few dynos, one for 1,000 with the same number of requests.
    pub(super) async fn dynos(&self, seconds: u64) -> Result<()> {
        let requests_per_app_s = 100 * WEB_OF_TEN / 10 * REQUESTS_PER_DYNO_S;
        let server = self.spawn_dynowatch("dynos", &[]).await?;
        println!("metrics of many dynos, {seconds} s each, {APPS} apps\n");
        println!("| dynos | lines/s | of a core | resident |");
        println!("|---|---|---|---|");
        for (dynos_per_app, requests_per_app_s) in [(0, 0), (1, requests_per_app_s), (100, requests_per_app_s)] {
            let team = Team { dynos_per_app, requests_per_app_s };
            let before = server.usage()?.cpu;
            let lines = team.traffic(server.address, seconds).await?;
            let after = server.usage()?;
            println!(
                "| {} | {} | {:.2} % | {} |",
                report::short((dynos_per_app * APPS) as f64),
                report::short(lines as f64 / seconds as f64),
                (after.cpu - before).as_secs_f64() / seconds as f64 * 100.0,
                report::mib(after.resident_kib),
            );
        }
        println!();
        Ok(())
    }
}

impl Team {
    /// One batch per app and second, stamped with the second. Returns the number of lines.
    async fn traffic(&self, address: SocketAddr, seconds: u64) -> Result<u64> {
        let mut ticks = interval(Duration::from_secs(1));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut lines = 0;
        let mut connections = Vec::new();
        for app in 0..APPS {
            connections.push(Connection::open(address, app).await?);
        }
        // The first tick comes at once.
        ticks.tick().await;
        for second in 0..seconds {
            ticks.tick().await;
            let stamp = report::utc(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?;
            let messages = self.messages(usize::try_from(second)?, &stamp);
            if messages.is_empty() {
                continue;
            }
            let body: Bytes = messages.iter().map(|one| format!("{} {one}", one.len())).collect::<String>().into();
            for connection in &mut connections {
                connection.post(body.clone()).await?;
                lines += messages.len() as u64;
            }
        }
        Ok(lines)
    }

    /// What one app's dynos say in a second.
    fn messages(&self, second: usize, stamp: &str) -> Vec<String> {
        let web = (self.dynos_per_app * WEB_OF_TEN).div_ceil(10);
        let name =
            |dyno: usize| if dyno < web { format!("web.{}", dyno + 1) } else { format!("worker.{}", dyno + 1 - web) };
        let mut messages = Vec::new();
        let requests = if web > 0 { self.requests_per_app_s } else { 0 };
        for n in 0..requests {
            let (dyno, id, service) = (name(n % web), n * 31 + second, 5 + (n * 7_919 + second * 104_729) % 400);
            let status = if n % 50 == 0 { 404 } else { 200 };
            messages.push(format!("<158>1 {stamp}.{:06}+00:00 host heroku router - at=info method=GET path=\"/orders/{id}\" host=www.example.com request_id=1f2e3d4c-5b6a-4978-8a9b-0c1d2e3f4a5b fwd=\"203.0.113.9\" dyno={dyno} connect=1ms service={service}ms status={status} bytes=2048 protocol=https\n", n * 1_000));
        }
        for dyno in (0..self.dynos_per_app).filter(|dyno| dyno % REPORT_EVERY_S == second % REPORT_EVERY_S) {
            let (dyno, used) = (name(dyno), 300 + (dyno * 13 + second) % 80);
            let head = format!("<45>1 {stamp}.500000+00:00 host heroku {dyno} - source={dyno} dyno=heroku.1.5b6a4978");
            messages.push(format!(
                "{head} sample#load_avg_1m=0.{used} sample#load_avg_5m=0.{used} sample#load_avg_15m=0.{used}\n"
            ));
            messages.push(format!("{head} sample#memory_total={used}.50MB sample#memory_rss={used}.25MB sample#memory_cache=4.00MB sample#memory_swap=0.00MB sample#memory_pgpgin=348836pages sample#memory_pgpgout=343403pages sample#memory_quota=512.00MB\n"));
        }
        messages
    }
}

/// A kept connection, of one app.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    path: String,
    host: String,
    authorization: String,
}

impl Connection {
    async fn open(address: SocketAddr, app: usize) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let app = format!("dynos-{app}");
        let password = set::drain_mac(&format!("app:{app}"))?;
        let authorization = format!("Basic {}", BASE64.encode(format!("drain:{password}").as_bytes()));
        Ok(Self { sender, path: format!("/drain/{app}"), host: address.to_string(), authorization })
    }

    async fn post(&mut self, body: Bytes) -> Result<()> {
        let request = Request::post(&self.path)
            .header(HOST, &self.host)
            .header(AUTHORIZATION, &self.authorization)
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        answer.into_body().collect().await?;
        ensure!(status.is_success(), "{}: {status}", self.path);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dyno_reports_once_in_its_time() {
        let team = Team { dynos_per_app: 100, requests_per_app_s: 210 };
        let all: Vec<String> =
            (0..REPORT_EVERY_S).flat_map(|second| team.messages(second, "2026-05-07T08:06:12")).collect();
        let of = |part: &str| all.iter().filter(|message| message.contains(part)).count();
        assert_eq!((of(" router - "), of("memory_quota"), of("load_avg_1m")), (210 * REPORT_EVERY_S, 100, 100));
        assert_eq!((of("source=web.70 "), of("source=worker.30 "), of("source=worker.31 ")), (2, 2, 0));
        assert!(Team { dynos_per_app: 0, requests_per_app_s: 0 }.messages(0, "").is_empty());
    }
}
