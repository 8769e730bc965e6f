//! DNS checks: the records of a name, asked of one server over UDP and, where the answer does not fit, over TCP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use dynowatch_domain::check::kind::DnsCheck;
use dynowatch_domain::check::observation::Peer;
use dynowatch_domain::check::{Decimal, Phase, Reason, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use crate::Prober;
use crate::dns_message::{Reply, question, reply};
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// A question may get lost; it is asked again after this long, for as long as the run lasts.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// The longest answer over UDP that we take.
const DATAGRAM_BYTES_MAX: usize = 4 << 10;

pub(crate) async fn run(prober: &Prober, check: &DnsCheck, trace: &mut Trace) -> Result<(), Failure> {
    let server = server(prober, check)?;
    trace.peer = Some(Peer { address: server, protocol: "dns".to_owned(), tls: String::new() });
    let mut id = [0; 2];
    let randomness = prober.tls.provider.secure_random.fill(&mut id);
    randomness.map_err(|_| Failure::new(Reason::ProberFailed, "there is no randomness"))?;
    let id = u16::from_be_bytes(id);
    let asked = question(id, &check.name, check.record)
        .ok_or_else(|| Failure::new(Reason::TargetInvalid, "the name cannot be asked for"))?;
    trace.enter(Phase::FirstByte);
    trace.sent(format!("{} {} to {server}", check.record.name(), check.name));
    let mut answer = over_udp(server, &asked, id, check).await?;
    if answer.is_truncated {
        trace.note("the answer is too long for UDP; asks over TCP");
        answer = over_tcp(server, &asked, id, check).await?;
    }
    trace.leave();
    judge(check, answer, trace)
}

fn server(prober: &Prober, check: &DnsCheck) -> Result<SocketAddr, Failure> {
    let Some(text) = &check.server else {
        let none =
            || Failure::new(Reason::TargetInvalid, "the check names no DNS server, and this machine's is not known");
        // The machine's own server is where the machine says it is, which is often a loopback address.
        return prober.nameserver.ok_or_else(none);
    };
    let parsed = text.parse().or_else(|_| text.parse::<IpAddr>().map(|address| SocketAddr::new(address, 53)));
    let server: SocketAddr = parsed.map_err(|_| {
        Failure::new(Reason::TargetInvalid, "the DNS server is not an address such as 1.1.1.1 or [2606:4700::1111]:53")
    })?;
    prober.outbound.policy.judge(server.ip()).map_err(|why| Failure::new(Reason::AddressRefused, why))?;
    Ok(server)
}

async fn over_udp(server: SocketAddr, asked: &[u8], id: u16, check: &DnsCheck) -> Result<Reply, Failure> {
    let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let failed = |error: std::io::Error| io_failure(&error, &format!("{server}"));
    let socket = UdpSocket::bind((any, 0)).await.map_err(failed)?;
    socket.connect(server).await.map_err(failed)?;
    let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
    loop {
        socket.send(asked).await.map_err(failed)?;
        let answered = timeout(ASK_AGAIN_AFTER, async {
            loop {
                let length = socket.recv(&mut buffer).await?;
                // What is not an answer to this question is somebody's noise.
                if let Some(reply) = reply(buffer.get(..length).unwrap_or_default(), id, check.record) {
                    return Ok(reply);
                }
            }
        });
        if let Ok(reply) = answered.await {
            return reply.map_err(failed);
        }
    }
}

async fn over_tcp(server: SocketAddr, asked: &[u8], id: u16, check: &DnsCheck) -> Result<Reply, Failure> {
    let exchange = async {
        let mut stream = TcpStream::connect(server).await?;
        let mut framed = u16::try_from(asked.len()).unwrap_or(0).to_be_bytes().to_vec();
        framed.extend_from_slice(asked);
        stream.write_all(&framed).await?;
        let length = stream.read_u16().await?;
        let mut answer = vec![0; usize::from(length)];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer = exchange.await.map_err(|error| io_failure(&error, &format!("{server}")))?;
    reply(&answer, id, check.record)
        .ok_or_else(|| Failure::new(Reason::BadReply, "the answer is not that of a DNS server"))
}

/// The first name server of a `resolv.conf`, for [`crate::Surroundings::nameserver`]. Whoever may read files reads it.
#[must_use]
pub fn nameserver_of(resolv_conf: &str) -> Option<SocketAddr> {
    resolv_conf.lines().find_map(|line| {
        let address = line.trim().strip_prefix("nameserver")?.trim();
        // A zone behind an IPv6 address names an interface of this machine; without it the address leads nowhere.
        address.parse::<IpAddr>().ok().map(|address| SocketAddr::new(address, 53))
    })
}

fn judge(check: &DnsCheck, answer: Reply, trace: &mut Trace) -> Result<(), Failure> {
    match answer.code {
        0 => {}
        3 => return Err(Failure::new(Reason::DnsNotFound, format!("{} does not exist", check.name))),
        code => {
            let word = ["", "malformed question", "server failure", "", "not implemented", "refused"];
            let word = word.get(usize::from(code)).copied().unwrap_or_default();
            return Err(Failure::new(Reason::DnsFailed, format!("the server answers with code {code} {word}")));
        }
    }
    if answer.records.is_empty() {
        let detail = format!("{} has no {} record", check.name, check.record.name());
        return Err(Failure::new(Reason::DnsNoRecords, detail));
    }
    let mut texts: Vec<String> = answer.records.iter().map(|(text, _)| text.clone()).collect();
    texts.sort();
    let all = texts.join(" ");
    trace.received(&all);
    let ttl_s = answer.records.iter().map(|(_, ttl)| *ttl).min().unwrap_or(0);
    trace.facts.set("answers.count", u64::try_from(texts.len()).unwrap_or(u64::MAX));
    trace.facts.set("answers", all.as_str());
    trace.facts.set("ttl", Value::Duration(Decimal::from(u64::from(ttl_s)).times(1_000)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::nameserver_of;

    #[test]
    fn the_first_server_of_a_file_is_taken() {
        for (text, want) in [
            ("# comment\nsearch a.example\nnameserver 127.0.0.53\nnameserver 1.1.1.1\n", Some("127.0.0.53:53")),
            ("nameserver\t2606:4700::1111", Some("[2606:4700::1111]:53")),
            ("nameserver fe80::1%eth0\nnameserver 10.0.0.2", Some("10.0.0.2:53")),
            ("options ndots:2", None),
        ] {
            assert_eq!(nameserver_of(text), want.map(|want| want.parse().unwrap()), "{text}");
        }
    }
}
