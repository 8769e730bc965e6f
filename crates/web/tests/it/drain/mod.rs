//! The drain endpoint over real sockets, as Logplex and everything between meets it: every answer of the contract, and
//! bytes in any pieces.

mod bodies;
mod connections;
mod credentials;
mod hostile;
mod refused;

use std::net::SocketAddr;
use std::sync::Arc;

use dynowatch_web::drain::DrainSettings;
use dynowatch_web::server::{Parts, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::raw::{Raw, RawAnswer};
use crate::site::{SECRET, Site, frame, h12, request};

pub(crate) const DRAIN_TOKEN: &str = "d.01234567-89ab-4cde-8f01-23456789abcd";
/// hex HMAC-SHA256("drain-secret", DRAIN_TOKEN), worked out elsewhere.
const CREDENTIAL: &str = "d7969b5f4a6f1b008e61a562cac0b6ef4d0a1309b7c1656a06969ef2871e5db1";
const SMOKE: &str = "2026-05-07T08:06:12Z heroku[router]: at=error code=H12 desc=\"Request timeout\"";

pub(crate) struct Served {
    pub(crate) site: Site,
    pub(crate) address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<std::io::Result<()>>,
}

impl Served {
    pub(crate) async fn open() -> Self {
        Self::of(Site::open().await).await
    }

    pub(crate) async fn of(site: Site) -> Self {
        Self::with(site, 100).await
    }

    async fn with(site: Site, connections_max: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = watch::channel(false);
        let parts = Parts {
            drain: Arc::clone(&site.drain),
            router: site.router.clone(),
            general: tokio::runtime::Handle::current(),
            connections_max,
        };
        let server = tokio::spawn(serve(listener, parts, stopped));
        Self { site, address, stop, server }
    }

    pub(crate) fn settings(&self, change: impl FnOnce(&mut DrainSettings)) {
        let mut settings = DrainSettings {
            enabled: true,
            secrets: vec![SECRET.into()],
            body_bytes_max: 64 * 1024,
            requests_max: 64,
            on_dyno: false,
        };
        change(&mut settings);
        self.site.drain.reconfigure(settings);
    }

    pub(crate) async fn post(&self, target: &str, headers: &str, body: &[u8]) -> RawAnswer {
        let mut raw = Raw::connect(self.address).await;
        raw.send(&post(target, headers, body)).await;
        raw.answer().await
    }

    /// A delivery of the known drain.
    pub(crate) async fn deliver(&self, more_headers: &str, body: &[u8]) -> u16 {
        let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n{more_headers}");
        self.post(&target(), &headers, body).await.status
    }

    pub(crate) fn lines(&self, app: &str) -> u64 {
        let app = self.site.engine.apps().by_name(app).cloned();
        app.map_or(0, |app| self.site.engine.totals(&app, |totals| totals.counts.lines()))
    }

    fn h12s(&self, app: &str) -> u64 {
        let app = self.site.engine.apps().by_name(app).cloned();
        app.map_or(0, |app| self.site.engine.totals(&app, |totals| totals.codes.values().sum()))
    }
}

pub(crate) fn target() -> String {
    format!("/drain?drain_token={CREDENTIAL}")
}

fn post(target: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes =
        format!("POST {target} HTTP/1.1\r\nHost: watch.example\r\nContent-Length: {}\r\n{headers}\r\n", body.len())
            .into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Two lines that no rule wants and one that one does.
pub(crate) fn batch() -> String {
    request("2026-05-07T08:06:10Z", "/", "", 200)
        + &frame("2026-05-07T08:06:11Z", "app", "web.1", "hello")
        + &h12("2026-05-07T08:06:12Z")
}
