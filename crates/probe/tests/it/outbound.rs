//! Where checks may not go: A22 (ASVS 13.2.4).

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::kind::{Family, Redirects, Source, TcpCheck, WebCheck};
use dynowatch_domain::check::{Check, CheckKind, Memory, Outcome, Phase, Reason};
use dynowatch_probe::{Lookup, Request};
use dynowatch_testkit::stub_server::{Step, StubServer};

use crate::common::*;

fn closed() -> AddressPolicy {
    AddressPolicy::default()
}

#[tokio::test]
async fn refused_addresses_are_never_dialled() {
    let server = StubServer::answering(None, |_| vec![Step::http(200, "", "")]).await;
    let lookup = || {
        names(&[
            ("home.test", &["127.0.0.1"]),
            ("meta.test", &["169.254.169.254"]),
            ("mixed.test", &["93.184.216.34", "127.0.0.1"]),
            ("mapped.test", &["::ffff:127.0.0.1"]),
        ])
    };
    for host in [
        "127.0.0.1",
        "home.test",
        "[::1]",
        "meta.test",
        "169.254.169.254",
        "mixed.test",
        "mapped.test",
        "2130706433",
        "0x7f.1",
    ] {
        let check = web(&format!("http://{host}:{}/", server.port()), &[]);
        let run = run(&prober_with(closed(), &[], lookup()), &check).await;
        assert_reason(&run, Reason::AddressRefused, "");
        assert_eq!(run.observation.outcome, Outcome::Unknown);
        assert_eq!(run.observation.peer, None, "{host} was dialled");
    }
    assert_eq!(server.accepted(), 0);
    // Metadata stays closed even if everything is allowed.
    let open = AddressPolicy::allowing(vec!["0.0.0.0/0".parse().unwrap(), "::/0".parse().unwrap()]);
    let run = run(&prober_with(open, &[], lookup()), &web("http://meta.test/", &[])).await;
    assert_reason(
        &run,
        Reason::AddressRefused,
        "169.254.169.254 is link-local, where metadata services live; checks never",
    );
}

#[tokio::test]
async fn a_redirect_is_judged_like_the_first_request() {
    let server =
        StubServer::answering(None, |_| vec![Step::http(302, "location: http://169.254.169.254/latest/\r\n", "")])
            .await;
    let check =
        web_with(&format!("http://shop.test:{}/", server.port()), &[], |web| web.redirects = Redirects::Follow(3));
    let run = run(&prober(&[]), &check).await;
    assert_reason(&run, Reason::AddressRefused, "169.254.169.254");
    // By a name, too.
    let lookup = names(&[("shop.test", &["127.0.0.1"]), ("inner.test", &["10.0.0.1"])]);
    let server = StubServer::answering(None, |_| vec![Step::http(302, "location: http://inner.test/\r\n", "")]).await;
    let check =
        web_with(&format!("http://shop.test:{}/", server.port()), &[], |web| web.redirects = Redirects::Follow(3));
    let policy = AddressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
    let found = crate::common::run(&prober_with(policy, &[], lookup), &check).await;
    assert_reason(&found, Reason::AddressRefused, "inner.test: 10.0.0.1 is private");
}

/// DNS that changes between look-up and connect has nothing to change: one look-up a connection, and its answer is dialled.
#[tokio::test]
async fn the_address_that_was_judged_is_the_one_that_is_dialled() {
    let server = StubServer::answering(None, |_| vec![Step::http(200, "", "")]).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup: Lookup = {
        let asked = Arc::clone(&asked);
        Arc::new(move |_| {
            let first = asked.fetch_add(1, Ordering::Relaxed) == 0;
            Box::pin(async move { Ok(vec![IpAddr::from(if first { [127, 0, 0, 1] } else { [127, 0, 0, 2] })]) })
        })
    };
    let policy = AddressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
    let prober = prober_with(policy, &[], lookup);
    let check = web(&format!("http://rebind.test:{}/", server.port()), &[]);
    let first = run(&prober, &check).await;
    assert_up(&first);
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(first.observation.peer.unwrap().address, server.address());
    // The next run asks anew, and judges anew.
    assert_reason(&run(&prober, &check).await, Reason::AddressRefused, "127.0.0.2");
}

#[tokio::test]
async fn one_address_of_the_wanted_family_is_dialled() {
    let server = StubServer::answering(None, |_| vec![Step::http(200, "", "")]).await;
    let lookup = || names(&[("four.test", &["127.0.0.1"]), ("none.test", &[])]);
    for (host, family, want) in [
        ("four.test", Family::Any, None),
        ("four.test", Family::Ipv4, None),
        ("four.test", Family::Ipv6, Some((Reason::DnsNoRecords, "an IPv6 address"))),
        ("none.test", Family::Any, Some((Reason::DnsNoRecords, "any address"))),
        ("gone.test", Family::Any, Some((Reason::DnsNotFound, "gone.test"))),
    ] {
        let check = web_with(&format!("http://{host}:{}/", server.port()), &[], |web| web.family = family);
        let policy = AddressPolicy::allowing(vec!["127.0.0.1".parse().unwrap()]);
        let run = run(&prober_with(policy, &[], lookup()), &check).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
    }
}

#[tokio::test]
async fn a_port_that_takes_connections_is_up() {
    let server = StubServer::speaking(None, vec![]).await;
    let tcp = |port| {
        let kind = CheckKind::Tcp(TcpCheck { host: "127.0.0.1".to_owned(), port, family: Family::Any });
        check(kind, &["response < 9 s"])
    };
    let up = run(&prober(&[]), &tcp(server.port())).await;
    assert_up(&up);
    server.all_closed().await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let down = run(&prober(&[]), &tcp(port)).await;
    assert_reason(&down, Reason::ConnectRefused, "");
    assert_eq!(down.observation.failed_phase, Some(Phase::Connect));
}

#[tokio::test]
async fn a_target_from_a_config_var_is_what_it_is_given() {
    let server = StubServer::answering(None, |_| vec![Step::http(200, "", "")]).await;
    let source = Source::ConfigVar { app: "shop".to_owned(), name: "SHOP_URL".to_owned() };
    let check = Check::new("c", CheckKind::Web(WebCheck { url: source, ..WebCheck::get("") }));
    let (prober, memory) = (prober(&[]), Memory::default());
    let given = secret(format!("http://u:hidden-pw@127.0.0.1:{}/", server.port()));
    let up = prober.run(&Request { check: &check, url: Some(&given), memory: &memory, now: now() }).await;
    assert_up(&up);
    assert_hidden(&up, &["hidden-pw"]);
    let gone = prober.run(&Request { check: &check, url: None, memory: &memory, now: now() }).await;
    assert_reason(&gone, Reason::TargetMissing, "shop has no config var SHOP_URL");
    let bad = secret("postgres://u:hidden-pw/x@db/y");
    let bad = prober.run(&Request { check: &check, url: Some(&bad), memory: &memory, now: now() }).await;
    assert_reason(&bad, Reason::TargetInvalid, "the URL");
    assert_hidden(&bad, &["hidden-pw"]);
}
