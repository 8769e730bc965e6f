//! Certificates that are wrong in one way each, pins that change, and what is told of a chain: A13 and A20.

use dynowatch_domain::check::kind::{Family, TlsCheck, TlsMode};
use dynowatch_domain::check::{Check, CheckKind, Memory, Note, Outcome, Phase, Reason};
use dynowatch_probe::Run;
use dynowatch_testkit::certificates::{Authority, Identity};
use dynowatch_testkit::stub_server::{Step, StubServer};

use crate::common::*;

fn tls(port: u16, mode: TlsMode, assertions: &[&str]) -> Check {
    let kind = TlsCheck { host: "shop.test".to_owned(), port, family: Family::Any, tls: mode };
    check(CheckKind::Tls(kind), assertions)
}

fn root() -> Authority {
    Authority::root("Root", days(-1000), days(1000))
}

async fn serve(identity: &Identity) -> StubServer {
    StubServer::speaking(Some(identity.server_config(&[])), vec![Step::Read]).await
}

async fn judged(root: &Authority, identity: &Identity, assertions: &[&str]) -> Run {
    let server = serve(identity).await;
    run(&prober(&[root]), &tls(server.port(), TlsMode::Verify, assertions)).await
}

#[tokio::test]
async fn a_certificate_is_wrong_in_one_way_each() {
    let (root, other) = (root(), Authority::root("Other", days(-10), days(1000)));
    let middle = root.authority("Middle", days(-10), days(500));
    let cases: Vec<(Identity, Option<(Reason, &str)>)> = vec![
        (root.server(&["shop.test"], days(-1), days(60)), None),
        (middle.server(&["shop.test"], days(-1), days(60)).presenting(&[middle.der()]), None),
        (
            middle.server(&["shop.test"], days(-1), days(60)),
            Some((Reason::CertificateUntrusted, "presents no intermediate certificate")),
        ),
        (
            root.server(&["shop.test"], days(-60), days(-2)),
            Some((Reason::CertificateExpired, "expired 2026-11-19 12:00:00 UTC")),
        ),
        (
            root.server(&["shop.test"], days(2), days(60)),
            Some((Reason::CertificateNotYetValid, "valid from 2026-11-23")),
        ),
        (
            root.server(&["other.test", "x.test"], days(-1), days(60)),
            Some((Reason::CertificateWrongName, "it is for other.test, x.test, not for shop.test")),
        ),
        (other.server(&["shop.test"], days(-1), days(60)), Some((Reason::CertificateUntrusted, "issuer CN=Other"))),
        (
            Identity::self_signed(&["shop.test"], days(-1), days(60)),
            Some((Reason::CertificateUntrusted, "it is self-signed")),
        ),
    ];
    for (identity, want) in cases {
        let run = judged(&root, &identity, &[]).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => {
                assert_reason(&run, reason, detail);
                assert_eq!(run.observation.failed_phase, Some(Phase::Tls));
                let chain = run.observation.certificate.as_ref().unwrap();
                assert!(chain.problem.contains(detail), "{}", chain.problem);
            }
        }
        // The chain is known whatever came of it, and with it when it ends.
        let chain = run.observation.certificate.as_ref().unwrap();
        assert!(!chain.presented.is_empty());
        assert_ne!(fact(&run, "certificate.days"), "nothing");
    }
}

/// A20, first half.
#[tokio::test]
async fn a_certificate_that_ends_soon_is_degraded_then_down() {
    let root = root();
    for (ends, want) in [(60, None), (10, Some(Reason::AssertionDegraded)), (2, Some(Reason::AssertionFailed))] {
        let identity = root.server(&["shop.test"], days(-1), days(ends));
        let run = judged(&root, &identity, &["certificate.days > 14 else degraded", "certificate.days > 3"]).await;
        match want {
            None => assert_up(&run),
            Some(reason) => {
                let date = days(ends).for_people();
                assert_reason(&run, reason, &format!("certificate.days is {ends} (expires {date})"));
            }
        }
    }
}

/// A20, second half: what lies beside the verified path concerns nobody.
#[tokio::test]
async fn an_expired_cross_signed_root_is_no_warning() {
    let (root, old) = (root(), Authority::root("Old", days(-3000), days(-5)));
    let middle = root.authority("Middle", days(-10), days(500));
    let crossed = root.cross_signed_by(&old, days(-3000), days(-5));
    let identity = middle.server(&["shop.test"], days(-1), days(60)).presenting(&[middle.der(), crossed, old.der()]);
    let run = judged(&root, &identity, &["certificate.days > 14"]).await;
    assert_up(&run);
    let chain = run.observation.certificate.as_ref().unwrap();
    assert_eq!(chain.presented.len(), 4);
    assert_eq!(chain.verified_path, [0, 1]);
    assert_eq!(chain.expires_at, Some(days(60)));
    // An intermediate that ends before its leaf ends the path.
    let short = root.authority("Short", days(-10), days(5));
    let identity = short.server(&["shop.test"], days(-1), days(60)).presenting(&[short.der()]);
    let run = judged(&root, &identity, &["certificate.days > 14 else degraded"]).await;
    assert_reason(&run, Reason::AssertionDegraded, "certificate.days is 5");
}

#[tokio::test]
async fn a_given_ca_is_the_only_one_trusted() {
    let (public, own) = (root(), Authority::root("Own", days(-10), days(1000)));
    for (authority, want) in [(&own, None), (&public, Some(Reason::CertificateUntrusted))] {
        let server = serve(&authority.server(&["shop.test"], days(-1), days(60))).await;
        let run = run(&prober(&[&public]), &tls(server.port(), TlsMode::Ca(own.pem()), &[])).await;
        match want {
            None => assert_up(&run),
            Some(reason) => assert_reason(&run, reason, ""),
        }
    }
    let server = serve(&own.server(&["shop.test"], days(-1), days(60))).await;
    let none = run(
        &prober(&[&public]),
        &tls(
            server.port(),
            TlsMode::Ca("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned()),
            &[],
        ),
    )
    .await;
    assert_reason(&none, Reason::TargetInvalid, "the CA has no certificate");
    let rootless = run(&prober(&[]), &tls(server.port(), TlsMode::Verify, &[])).await;
    assert_reason(&rootless, Reason::ProberFailed, "no public roots");
}

/// A13, without Redis around it.
#[tokio::test]
async fn a_key_is_pinned_on_first_use() {
    let identity = Identity::self_signed(&["other.name"], days(-100), days(-1));
    let server = serve(&identity).await;
    let first = run(&prober(&[]), &tls(server.port(), TlsMode::Pin, &["certificate.days < 0"])).await;
    assert_up(&first);
    assert_eq!(first.observation.notes, [Note::PinRecorded]);
    let pinned = first.memory.pin.clone().unwrap();
    assert_eq!(pinned.key_sha256, first.observation.certificate.as_ref().unwrap().presented[0].key_sha256);

    let again = run_after(&prober(&[]), &tls(server.port(), TlsMode::Pin, &[]), &first.memory).await;
    assert_up(&again);
    assert_eq!((again.memory.pin.as_ref(), again.observation.notes.len()), (Some(&pinned), 0));

    let changed = serve(&Identity::self_signed(&["other.name"], days(-1), days(100))).await;
    let check = tls(changed.port(), TlsMode::Pin, &[]);
    let alarmed = run_after(&prober(&[]), &check, &again.memory).await;
    assert_reason(&alarmed, Reason::PinChanged, &pinned.key_sha256);
    let offered = alarmed.memory.pin_offered.clone().unwrap();
    assert!(alarmed.observation.detail.contains(&offered.key_sha256), "both keys are shown");
    assert_eq!(alarmed.observation.outcome, Outcome::Down);
    assert_eq!(alarmed.memory.pin.as_ref(), Some(&pinned));

    // It stays so until somebody accepts.
    let still = run_after(&prober(&[]), &check, &alarmed.memory).await;
    assert_reason(&still, Reason::PinChanged, "");
    let mut accepted = still.memory;
    assert!(accepted.accept_pin());
    assert_up(&run_after(&prober(&[]), &check, &accepted).await);

    // Or a rotation was expected.
    let mut expected = Memory { pin: Some(pinned), rotation_until: Some(now()), ..Memory::default() };
    let rotated = run_after(&prober(&[]), &check, &expected).await;
    assert_up(&rotated);
    assert_eq!(rotated.observation.notes, [Note::PinRotated]);
    assert_eq!((rotated.memory.pin.unwrap().key_sha256, rotated.memory.rotation_until), (offered.key_sha256, None));
    expected.rotation_until = Some(days(-1));
    assert_reason(&run_after(&prober(&[]), &check, &expected).await, Reason::PinChanged, "");
}

#[tokio::test]
async fn a_port_without_tls_is_a_mismatch() {
    for (steps, want) in [
        (vec![Step::Read, Step::http(400, "", "plain HTTP")], Reason::TlsMismatch),
        (vec![Step::Read, Step::send("-ERR unknown command\r\n")], Reason::TlsMismatch),
        (vec![Step::Reset], Reason::ConnectionReset),
        (vec![Step::Read], Reason::ClosedEarly),
    ] {
        let server = StubServer::speaking(None, steps).await;
        let run = run(&prober(&[&root()]), &tls(server.port(), TlsMode::Verify, &[])).await;
        assert_reason(&run, want, "");
        assert_eq!(run.observation.failed_phase, Some(Phase::Tls));
    }
}

/// Certificates of version 1 and servers that stay with TLS 1.2 are pinned, too; a pin is of the key that signs.
#[tokio::test]
async fn old_certificates_and_old_servers_are_pinned() {
    let old = || Identity::self_signed(&["x.test"], days(-10), days(60)).version_1();
    for config in [old().server_config(&[]), old().server_config_tls12()] {
        let server = StubServer::speaking(Some(config), vec![Step::Read]).await;
        let run = run(&prober(&[]), &tls(server.port(), TlsMode::Pin, &["certificate.days = 60"])).await;
        assert_up(&run);
        assert!(run.memory.pin.is_some());
        let again = run_after(&prober(&[]), &tls(server.port(), TlsMode::Pin, &[]), &run.memory).await;
        assert_up(&again);
    }
    let root = root();
    let config = root.server(&["shop.test"], days(-1), days(60)).server_config_tls12();
    let server = StubServer::speaking(Some(config), vec![Step::Read]).await;
    assert_up(&run(&prober(&[&root]), &tls(server.port(), TlsMode::Verify, &["tls = \"TLS 1.2\""])).await);
}

/// Who shows the pinned certificate must hold its key.
#[tokio::test]
async fn a_stolen_certificate_is_not_enough() {
    let (real, thief) = (
        Identity::self_signed(&["x.test"], days(-10), days(60)),
        Identity::self_signed(&["x.test"], days(-10), days(60)),
    );
    let server = serve(&real).await;
    let first = run(&prober(&[]), &tls(server.port(), TlsMode::Pin, &[])).await;
    assert_up(&first);
    for config in [thief.showing(&real).server_config(&[]), thief.showing(&real).server_config_tls12()] {
        let server = StubServer::speaking(Some(config), vec![Step::Read]).await;
        let stolen = run_after(&prober(&[]), &tls(server.port(), TlsMode::Pin, &[]), &first.memory).await;
        assert_reason(&stolen, Reason::TlsFailed, "");
    }
}
