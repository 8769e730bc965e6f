//! Servers that answer with noise, or with a sound answer that is spoilt in one place: every run ends, and none is up on
//! noise.

use std::time::Duration;

use dynowatch_domain::check::kind::{
    Family, HttpVersion, PostgresCheck, PostgresRole, RedisCheck, Source, TlsCheck, TlsMode,
};
use dynowatch_domain::check::{Check, CheckKind, Outcome};
use dynowatch_testkit::stub_server::{Step, StubServer};
use tokio::time::Instant;

use crate::common::*;

/// The same noise in every run of the test.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, most: u64) -> Vec<u8> {
        let length = self.next() % most + 1;
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

fn every_kind(port: u16) -> Vec<Check> {
    let url = |scheme: &str, rest: &str| Source::Url(secret(format!("{scheme}://u:pw@127.0.0.1:{port}/{rest}")));
    let family = Family::Any;
    let (table, query, role, tls) =
        (Some("t".to_owned()), Some("SELECT 1".to_owned()), PostgresRole::Any, TlsMode::Pin);
    let plain =
        PostgresCheck { url: url("postgres", "d?sslmode=disable"), table, query, role, family, tls: tls.clone() };
    let kinds = [
        CheckKind::Redis(RedisCheck { url: url("redis", "0"), key: Some("k".to_owned()), family, tls: tls.clone() }),
        CheckKind::Redis(RedisCheck { url: url("rediss", "0"), key: None, family, tls: tls.clone() }),
        CheckKind::Postgres(PostgresCheck { url: url("postgres", "d"), ..plain.clone() }),
        CheckKind::Postgres(plain),
        CheckKind::Tls(TlsCheck { host: "127.0.0.1".to_owned(), port, family, tls }),
    ];
    let mut checks: Vec<Check> = kinds.into_iter().map(|kind| check(kind, &[])).collect();
    for version in [HttpVersion::Http1, HttpVersion::Http2] {
        let body = ["body.a = 1"];
        checks.push(web_with(&format!("http://127.0.0.1:{port}/"), &body, |web| web.version = version));
    }
    for check in &mut checks {
        check.timeout = Duration::from_millis(500);
    }
    checks
}

#[tokio::test]
async fn noise_is_never_up() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    for _ in 0..25 {
        let bytes = noise.bytes(200);
        let server = StubServer::answering(None, move |_| vec![Step::Send(bytes.clone())]).await;
        for check in every_kind(server.port()) {
            let run = run(&prober(&[]), &check).await;
            assert_ne!(run.observation.outcome, Outcome::Up, "{}\n{}", check.kind.name(), run.transcript);
        }
        server.all_closed().await;
    }
}

fn message(sign: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![sign];
    out.extend(u32::try_from(content.len() + 4).unwrap().to_be_bytes());
    out.extend(content);
    out
}

/// What a sound server would say, all at once.
fn sound_answers() -> Vec<Vec<u8>> {
    let http = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{\"a\":1}".to_vec();
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7\r\n{\"a\":1}\r\n0\r\n\r\n".to_vec();
    let redis = b"+OK\r\n+PONG\r\n+list\r\n:3\r\n+OK\r\n".to_vec();
    let mut postgres = message(b'R', &[0, 0, 0, 0]);
    postgres.extend(message(b'S', b"server_version\x0015.1\0"));
    postgres.extend(message(b'Z', b"I"));
    postgres.extend(message(b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"));
    postgres.extend(message(b'D', b"\0\x01\0\0\0\x011"));
    postgres.extend(message(b'C', b"SELECT 1\0"));
    postgres.extend(message(b'Z', b"I"));
    vec![http, chunked, redis, postgres]
}

#[tokio::test]
async fn spoilt_answers_end_every_run() {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    for answer in sound_answers() {
        for _ in 0..25 {
            let mut spoilt = answer.clone();
            let (at, byte) = (noise.next(), noise.next());
            let at = usize::try_from(at % u64::try_from(spoilt.len()).unwrap()).unwrap();
            spoilt[at] = byte.to_le_bytes()[0];
            let server = StubServer::answering(None, move |_| vec![Step::Send(spoilt.clone())]).await;
            for check in every_kind(server.port()) {
                let began = Instant::now();
                // That it is sound in itself is judged there.
                let run = run(&prober(&[]), &check).await;
                assert!(began.elapsed() < Duration::from_secs(2), "{}\n{}", check.kind.name(), run.transcript);
            }
            server.all_closed().await;
        }
    }
}
