//! The way to a server: look up the name, judge every answer, dial one address. Owns the look-up, the dialling and what
//! their errors mean; which addresses may be reached is [`dynowatch_domain::address`]'s, what is said over the connection is the
//! kinds' business.
//!
//! A name is looked up once per connection and the very address that was judged is dialled, so that a DNS answer which
//! changes in between changes nothing.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::Arc;

use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::kind::Family;
use dynowatch_domain::check::observation::Peer;
use dynowatch_domain::check::{Phase, Reason};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::trace::{Failure, Trace};

/// The most look-ups at one time: each holds a thread for as long as the machine's resolver takes. A run that finds none
/// free waits within its own deadline.
const LOOKUPS_MAX: usize = 32;
/// More answers of one name are not looked at.
const ANSWERS_MAX: usize = 64;

/// The answer of a look-up that may take its time.
pub type Answer = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send>>;
/// How a name becomes addresses.
pub type Lookup = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// The machine's own resolver (`getaddrinfo`): its hosts file, its servers, its search list.
#[must_use]
pub fn system_lookup() -> Lookup {
    let places = Arc::new(Semaphore::new(LOOKUPS_MAX));
    Arc::new(move |host| {
        let places = Arc::clone(&places);
        Box::pin(async move {
            let place = places.acquire_owned().await.map_err(io::Error::other)?;
            let looked_up = tokio::task::spawn_blocking(move || {
                // Held by the thread, not by the run: a run that gives up does not free the thread.
                let _place = place;
                (host.as_str(), 0_u16).to_socket_addrs().map(|answers| answers.map(|answer| answer.ip()).collect())
            });
            looked_up.await.map_err(io::Error::other)?
        })
    })
}

/// The way out.
#[derive(Clone)]
pub(crate) struct Outbound {
    pub(crate) policy: AddressPolicy,
    pub(crate) lookup: Lookup,
}

impl Outbound {
    /// One connection to one address of the host.
    pub(crate) async fn dial(
        &self,
        host: &str,
        port: u16,
        family: Family,
        trace: &mut Trace,
    ) -> Result<TcpStream, Failure> {
        let address = SocketAddr::new(self.resolve(host, family, trace).await?, port);
        trace.enter(Phase::Connect);
        trace.peer = Some(Peer { address, protocol: String::new(), tls: String::new() });
        let stream = TcpStream::connect(address).await.map_err(|error| io_failure(&error, &format!("{address}")))?;
        // Many small questions and answers: none of them waits for the next.
        let _option = stream.set_nodelay(true);
        trace.leave();
        trace.note(format!("connected to {address}"));
        Ok(stream)
    }

    /// The address to dial. Every answer is judged: a name of which one address is refused is refused as a whole, since
    /// which one comes first is in the hands of whoever answers.
    async fn resolve(&self, host: &str, family: Family, trace: &mut Trace) -> Result<IpAddr, Failure> {
        if let Ok(address) = host.parse() {
            return self.pick(host, &[address], family);
        }
        trace.enter(Phase::Dns);
        let answers = (self.lookup)(host.to_owned()).await.map_err(|error| lookup_failure(host, &error))?;
        trace.leave();
        let mut seen: Vec<IpAddr> = Vec::new();
        for address in answers.into_iter().take(ANSWERS_MAX) {
            if !seen.contains(&address) {
                seen.push(address);
            }
        }
        let shown: Vec<String> = seen.iter().map(ToString::to_string).collect();
        trace.note(format!("{host} is {}", if shown.is_empty() { "nothing".to_owned() } else { shown.join(", ") }));
        self.pick(host, &seen, family)
    }

    fn pick(&self, host: &str, answers: &[IpAddr], family: Family) -> Result<IpAddr, Failure> {
        for address in answers {
            if let Err(why) = self.policy.judge(*address) {
                return Err(Failure::new(Reason::AddressRefused, format!("{host}: {why}")));
            }
        }
        let fits = |address: &&IpAddr| match family {
            Family::Any => true,
            Family::Ipv4 => address.is_ipv4(),
            Family::Ipv6 => address.is_ipv6(),
        };
        answers.iter().find(fits).copied().ok_or_else(|| {
            let wanted = match family {
                Family::Any => "any",
                Family::Ipv4 => "an IPv4",
                Family::Ipv6 => "an IPv6",
            };
            Failure::new(Reason::DnsNoRecords, format!("{host} does not have {wanted} address"))
        })
    }
}

fn lookup_failure(host: &str, error: &io::Error) -> Failure {
    let text = error.to_string();
    let reason = if text.contains("not known") || text.contains("not found") || error.kind() == io::ErrorKind::NotFound
    {
        Reason::DnsNotFound
    } else if text.contains("No address associated") {
        Reason::DnsNoRecords
    } else {
        Reason::DnsFailed
    };
    Failure::new(reason, format!("{host}: {text}"))
}

/// What an error of a socket says of the server, or of ourselves.
pub(crate) fn io_failure(error: &io::Error, what: &str) -> Failure {
    use io::ErrorKind as Kind;
    /// Too many open files, of the process or the machine: the same numbers on Linux and macOS.
    const TOO_MANY_FILES: [i32; 2] = [24, 23];
    let reason = match error.kind() {
        Kind::ConnectionRefused => Reason::ConnectRefused,
        Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::NotConnected => {
            Reason::ConnectionReset
        }
        Kind::UnexpectedEof => Reason::ClosedEarly,
        Kind::TimedOut => Reason::Timeout,
        Kind::HostUnreachable | Kind::NetworkUnreachable | Kind::AddrNotAvailable | Kind::NetworkDown => {
            Reason::Unreachable
        }
        _ if error.raw_os_error().is_some_and(|code| TOO_MANY_FILES.contains(&code)) => Reason::ProberFailed,
        _ => Reason::BadReply,
    };
    Failure::new(reason, format!("{what}: {error}"))
}
