//! Runs a check once, and says what it found. One module a kind: `web`, `redis`, `postgres`, `tcp` (TLS, too), `dns`; what
//! they share is the way out (`outbound`), the judging of certificates ([`certificate`]), and the record of a run (`trace`,
//! [`transcript`]). Which addresses it may dial is `dynowatch_domain::address`'s.
//!
//! Every run has one total deadline, dials one address per connection, keeps no connection, and writes credentials into
//! nothing. What a check is and what its outcomes mean is `domain`'s; when it runs, what is stored and who is told is
//! `engine`'s. Heartbeats and Heroku-native checks dial nobody and are `engine`'s, too.

pub mod certificate;
mod connection;
mod der;
mod dns;
mod dns_message;
mod explain;
mod outbound;
mod postgres;
mod redis;
mod tcp;
mod trace;
pub mod transcript;
mod verdict;
mod web;

use std::net::SocketAddr;
use std::sync::Arc;

use dynowatch_domain::Timestamp;
use dynowatch_domain::address::AddressPolicy;
use dynowatch_domain::check::target::{Target, UrlKind};
use dynowatch_domain::check::{Check, CheckKind, Memory, Observation, Reason, Secret, Source};
use tokio::time::timeout_at;

use certificate::Roots;
use connection::Tls;
pub use dns::nameserver_of;
pub use explain::Explanation;
use outbound::Outbound;
pub use outbound::{Answer, Lookup, system_lookup};
use trace::{Failure, Trace};
use transcript::{Transcript, Veil};

/// What a prober needs of its surroundings.
pub struct Surroundings {
    /// Which addresses may be reached.
    pub policy: AddressPolicy,
    /// The public roots: [`Roots::system`].
    pub roots: Roots,
    /// How names become addresses: [`system_lookup`].
    pub lookup: Lookup,
    /// The machine's DNS server, for DNS checks that name none: [`nameserver_of`].
    pub nameserver: Option<SocketAddr>,
}

/// Runs checks. Cheap to share; keeps nothing between runs.
pub struct Prober {
    outbound: Outbound,
    tls: Tls,
    nameserver: Option<SocketAddr>,
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub struct Request<'r> {
    /// What is checked.
    pub check: &'r Check,
    /// The value of the config var that names the target, if the check has its target from one and it is there.
    pub url: Option<&'r Secret>,
    /// What the run before left.
    pub memory: &'r Memory,
    /// The present.
    pub now: Timestamp,
}

/// What came of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// What it found.
    pub observation: Observation,
    /// What the next run is to be given.
    pub memory: Memory,
    /// What it did, line by line: the forensics of a failure.
    pub transcript: Transcript,
}

impl Prober {
    /// A prober in these surroundings.
    #[must_use]
    pub fn new(surroundings: Surroundings) -> Self {
        let Surroundings { policy, roots, lookup, nameserver } = surroundings;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        Self { outbound: Outbound { policy, lookup }, tls: Tls { roots, provider }, nameserver }
    }

    /// Runs a check once. It takes at most the check's timeout, however the target behaves.
    pub async fn run(&self, request: &Request<'_>) -> Run {
        let target = target(request);
        let mut trace = Trace::new(request.now, veil(request, target.as_ref().ok()), request.memory.clone());
        let failure = match target {
            Err(failure) => Some(failure),
            Ok(target) => {
                let deadline = trace.began() + request.check.timeout;
                let probing = Box::pin(self.probe(request.check, target, &mut trace));
                match timeout_at(deadline, probing).await {
                    Ok(probed) => probed.err(),
                    Err(_) => Some(timed_out(request.check, &trace)),
                }
            }
        };
        trace.finish(failure);
        verdict::run(request.check, trace)
    }

    /// Runs a check once for the one who asks why: the same run, told in full. Nothing of it is to be kept.
    pub async fn explain(&self, request: &Request<'_>) -> Explanation {
        Explanation::new(request.check, self.run(request).await)
    }

    async fn probe(&self, check: &Check, target: Option<Target>, trace: &mut Trace) -> Result<(), Failure> {
        let assertions = &check.assertions;
        match (&check.kind, target) {
            (CheckKind::Web(web), Some(target)) => web::run(self, web, assertions, target, trace).await,
            (CheckKind::Redis(redis), Some(target)) => {
                redis::run(self, redis, assertions, &target, check.timeout, trace).await
            }
            (CheckKind::Postgres(postgres), Some(target)) => {
                let timeout_ms = u64::try_from(check.timeout.as_millis()).unwrap_or(u64::MAX);
                postgres::run(self, postgres, assertions, &target, timeout_ms, trace).await
            }
            (CheckKind::Tcp(tcp), _) => tcp::run_tcp(self, tcp, trace).await,
            (CheckKind::Tls(tls), _) => tcp::run_tls(self, tls, trace).await,
            (CheckKind::Dns(dns), _) => dns::run(self, dns, trace).await,
            (kind, _) => Err(Failure::new(Reason::ProberFailed, format!("a {} check dials nobody", kind.name()))),
        }
    }
}

/// The target of a kind that has a URL, taken apart.
fn target(request: &Request<'_>) -> Result<Option<Target>, Failure> {
    let kind = match request.check.kind {
        CheckKind::Web(_) => UrlKind::Web,
        CheckKind::Redis(_) => UrlKind::Redis,
        CheckKind::Postgres(_) => UrlKind::Postgres,
        _ => return Ok(None),
    };
    let url = match (request.check.kind.source(), request.url) {
        (Some(Source::Url(url)), _) => url,
        (Some(Source::ConfigVar { .. }), Some(url)) => url,
        (Some(Source::ConfigVar { app, name }), None) => {
            return Err(Failure::new(Reason::TargetMissing, format!("{app} has no config var {name}")));
        }
        (None, _) => return Ok(None),
    };
    Target::parse(url, kind).map(Some).map_err(|invalid| Failure::new(Reason::TargetInvalid, invalid.0))
}

/// Everything of a check that may not be told.
fn veil(request: &Request<'_>, target: Option<&Option<Target>>) -> Veil {
    let mut secrets: Vec<Secret> = target.into_iter().flatten().flat_map(|target| target.secrets.clone()).collect();
    if let CheckKind::Web(web) = &request.check.kind {
        let told = |name: &str| ["accept", "accept-language", "content-type", "user-agent", "host"].contains(&name);
        let headers = web.headers.iter().filter(|(name, _)| !told(&name.to_ascii_lowercase()));
        for (_, value) in headers {
            // "Bearer x": the server may echo the token alone.
            secrets.extend(value.expose().split_whitespace().map(Secret::new));
            secrets.push(value.clone());
        }
        secrets.extend(web.body.clone());
    }
    Veil::new(secrets)
}

fn timed_out(check: &Check, trace: &Trace) -> Failure {
    let phase = trace.phase().map_or("a pause", dynowatch_domain::check::Phase::name);
    let limit = dynowatch_domain::parse::show_duration(check.timeout);
    Failure::new(Reason::Timeout, format!("not complete after {limit}, in phase {phase}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    /// Runs are spawned side by side.
    #[tokio::test]
    async fn runs_may_move_between_threads() {
        let (lookup, roots) = (system_lookup(), Roots::default());
        let prober = Prober::new(Surroundings { policy: AddressPolicy::default(), roots, lookup, nameserver: None });
        let check = Check::new("c", CheckKind::Web(dynowatch_domain::check::kind::WebCheck::get("http://127.0.0.1/")));
        let request = Request { check: &check, url: None, memory: &Memory::default(), now: Timestamp::UNIX_EPOCH };
        let run = prober.run(&request);
        is_send(&run);
        assert_eq!(run.await.observation.reason, Some(Reason::AddressRefused));
    }
}
