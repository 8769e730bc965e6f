//! TLS of real data services: pins, a given CA, servers without it, and the wrong scheme on either side.

use std::time::Duration;

use dynowatch_domain::check::kind::{Family, PostgresCheck, PostgresRole, RedisCheck, Source, TlsMode};
use dynowatch_domain::check::{Check, CheckKind, Note, Outcome, Phase, Reason};
use dynowatch_testkit::certificates::{Authority, Identity};
use dynowatch_testkit::postgres_server::{PostgresServer, Setup};
use dynowatch_testkit::redis::Redis;

use crate::common::*;

fn redis(url: String, tls: TlsMode) -> Check {
    check(CheckKind::Redis(RedisCheck { url: Source::Url(secret(url)), key: None, family: Family::Any, tls }), &[])
}

fn postgres(host: &str, port: u16, tls: TlsMode) -> Check {
    let url = Source::Url(secret(format!("postgres://postgres@{host}:{port}/postgres")));
    let role = PostgresRole::Leader;
    let kind = PostgresCheck { url, table: None, query: None, role, family: Family::Any, tls };
    check(CheckKind::Postgres(kind), &[])
}

fn self_signed() -> Identity {
    // As Heroku's: for a name that nobody dials.
    Identity::self_signed(&["ip-10-0-0-1.ec2.internal"], days(-100), days(3000))
}

/// A13.
#[tokio::test]
async fn a_redis_with_a_self_signed_certificate_is_pinned() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = self_signed().write_into(folder.path());
    let server = Redis::start_tls(&chain, &key, &["--requirepass", "s3cret-pw"]).await;
    let url = |port: u16| format!("rediss://:s3cret-pw@redis.test:{port}");
    let prober = prober(&[]);
    let unverified = run(&prober_roots(), &redis(url(server.port()), TlsMode::Verify)).await;
    assert_reason(&unverified, Reason::CertificateUntrusted, "self-signed");

    let first = run(&prober, &redis(url(server.port()), TlsMode::Pin)).await;
    assert_up(&first);
    assert_eq!(first.observation.notes, [Note::PinRecorded]);
    let pinned = first.memory.pin.clone().unwrap().key_sha256;

    let (chain, key) = self_signed().write_into(folder.path());
    let changed = Redis::start_tls(&chain, &key, &["--requirepass", "s3cret-pw"]).await;
    let check = redis(url(changed.port()), TlsMode::Pin);
    let alarmed = run_after(&prober, &check, &first.memory).await;
    assert_reason(&alarmed, Reason::PinChanged, &pinned);
    let offered = alarmed.memory.pin_offered.clone().unwrap().key_sha256;
    assert!(alarmed.observation.detail.contains(&offered) && offered != pinned);
    assert!(!alarmed.transcript.to_string().contains("AUTH"), "no password for a stranger:\n{}", alarmed.transcript);
    let mut memory = alarmed.memory;
    assert!(memory.accept_pin());
    assert_up(&run_after(&prober, &check, &memory).await);
    assert_hidden(&first, &["s3cret-pw"]);
}

fn prober_roots() -> dynowatch_probe::Prober {
    prober(&[&Authority::root("Public", days(-10), days(1000))])
}

#[tokio::test]
async fn the_wrong_scheme_is_a_mismatch_on_either_side() {
    let folder = tempfile::tempdir().unwrap();
    let (chain, key) = self_signed().write_into(folder.path());
    let (secure, plain) = (Redis::start_tls(&chain, &key, &[]).await, Redis::start(&[]).await);
    for url in [format!("redis://127.0.0.1:{}", secure.port()), format!("rediss://127.0.0.1:{}", plain.port())] {
        let mut check = redis(url, TlsMode::Pin);
        check.timeout = Duration::from_secs(2);
        let run = run(&prober(&[]), &check).await;
        assert_reason(&run, Reason::TlsMismatch, "the URL must begin with");
        assert!(run.observation.reason.unwrap().is_misconfigured());
    }
}

#[tokio::test]
async fn postgres_is_verified_pinned_or_refused() {
    let (own, public) =
        (Authority::root("Own", days(-10), days(3000)), Authority::root("Public", days(-10), days(3000)));
    let identity = own.server(&["db.test"], days(-1), days(60));
    let server = PostgresServer::start(&Setup { identity: Some(&identity), ..Setup::default() }).await;
    for (host, roots, mode, want) in [
        ("db.test", vec![&own], TlsMode::Verify, None),
        ("db.test", vec![&public], TlsMode::Ca(own.pem()), None),
        ("127.0.0.1", vec![&public], TlsMode::Pin, None),
        ("db.test", vec![&public], TlsMode::Verify, Some((Reason::CertificateUntrusted, "issuer CN=Own"))),
        (
            "other.test",
            vec![&own],
            TlsMode::Verify,
            Some((Reason::CertificateWrongName, "it is for db.test, not for other.test")),
        ),
    ] {
        let run = run(&prober(&roots), &postgres(host, server.port(), mode)).await;
        match want {
            None => {
                assert_up(&run);
                assert_eq!(run.observation.peer.as_ref().unwrap().tls, "TLS 1.3");
                let phases: Vec<Phase> = run.observation.phases.parts().iter().map(|(phase, _)| *phase).collect();
                assert!(phases.ends_with(&[Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Body]), "{phases:?}");
            }
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
    }
    let plain = PostgresServer::start(&Setup::default()).await;
    let refused = run(&prober(&[&own]), &postgres("db.test", plain.port(), TlsMode::Verify)).await;
    assert_reason(&refused, Reason::TlsRefused, "?sslmode=disable");
    assert_eq!(refused.observation.outcome, Outcome::Unknown);
    assert!(refused.observation.reason.unwrap().is_misconfigured());
}
