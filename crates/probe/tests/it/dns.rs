//! DNS checks against a server that answers as scripted, over UDP and TCP on one port.

use std::time::Duration;

use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::kind::{DnsCheck, RecordType};
use dynowatch_domain::check::{Check, CheckKind, Outcome, Reason};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};

use crate::common::*;

/// The question with flags and records of type A behind it.
fn answer(question: &[u8], flags: u16, addresses: &[[u8; 4]]) -> Vec<u8> {
    let mut out = question.to_vec();
    out[2..4].copy_from_slice(&flags.to_be_bytes());
    out[7] = u8::try_from(addresses.len()).unwrap();
    for (place, address) in addresses.iter().enumerate() {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60 + u8::try_from(place).unwrap(), 0, 4]);
        out.extend(address);
    }
    out
}

/// A server: `udp` for datagrams (none: silent), `tcp` for the rest. Returns its port.
async fn serve(udp: Option<(u16, Vec<[u8; 4]>)>, tcp: Vec<[u8; 4]>) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
    tokio::spawn(async move {
        let mut buffer = vec![0; 1000];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            if let Some((flags, addresses)) = &udp {
                // Noise of somebody else's comes first.
                let mut noise = answer(&buffer[..length], 0x8180, &[[9, 9, 9, 9]]);
                noise[0] ^= 1;
                socket.send_to(&noise, from).await.unwrap();
                socket.send_to(&answer(&buffer[..length], *flags, addresses), from).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let length = stream.read_u16().await.unwrap();
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await.unwrap();
            let answer = answer(&question, 0x8180, &tcp);
            stream.write_u16(u16::try_from(answer.len()).unwrap()).await.unwrap();
            stream.write_all(&answer).await.unwrap();
        }
    });
    port
}

fn dns(server: &str, assertions: &[&str]) -> Check {
    let kind = DnsCheck { name: "shop.test".to_owned(), record: RecordType::A, server: Some(server.to_owned()) };
    check(CheckKind::Dns(kind), assertions)
}

#[tokio::test]
async fn records_are_measured() {
    let two = vec![[2, 2, 2, 2], [1, 1, 1, 1]];
    let wanted = ["answers = \"1.1.1.1 2.2.2.2\"", "answers.count = 2", "ttl >= 60 s"];
    for (udp, tcp) in [((0x8180, two.clone()), vec![]), ((0x8380, vec![[2, 2, 2, 2]]), two)] {
        let port = serve(Some(udp), tcp).await;
        assert_up(&run(&prober(&[]), &dns(&format!("127.0.0.1:{port}"), &wanted)).await);
    }
}

#[tokio::test]
async fn what_is_not_there_has_its_reason() {
    for (flags, want, detail) in [
        (0x8183, Reason::DnsNotFound, "shop.test does not exist"),
        (0x8180, Reason::DnsNoRecords, "no A record"),
        (0x8182, Reason::DnsFailed, "server failure"),
        (0x8185, Reason::DnsFailed, "refused"),
    ] {
        let port = serve(Some((flags, vec![])), vec![]).await;
        assert_reason(&run(&prober(&[]), &dns(&format!("127.0.0.1:{port}"), &[])).await, want, detail);
    }
    let silent = serve(None, vec![]).await;
    let mut check = dns(&format!("127.0.0.1:{silent}"), &[]);
    check.timeout = Duration::from_millis(200);
    assert_reason(&run(&prober(&[]), &check).await, Reason::Timeout, "not complete after 200ms");
}

#[tokio::test]
async fn a_server_is_judged_like_any_address() {
    let prober = prober_with(AddressPolicy::default(), &[], at_home());
    let refused = run(&prober, &dns("169.254.169.253", &[])).await;
    assert_reason(&refused, Reason::AddressRefused, "link-local");
    assert_eq!(refused.observation.outcome, Outcome::Unknown);
    assert_reason(&run(&prober, &dns("dns.example", &[])).await, Reason::TargetInvalid, "not an address");
}
