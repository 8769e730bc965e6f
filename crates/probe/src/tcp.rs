//! TCP and TLS checks: a port that takes connections, a certificate that holds. Nothing is said over the connection.

use dynowatch_domain::check::kind::{TcpCheck, TlsCheck};

use crate::Prober;
use crate::trace::{Failure, Trace};

pub(crate) async fn run_tcp(prober: &Prober, check: &TcpCheck, trace: &mut Trace) -> Result<(), Failure> {
    let _closed_at_once = prober.outbound.dial(&check.host, check.port, check.family, trace).await?;
    Ok(())
}

pub(crate) async fn run_tls(prober: &Prober, check: &TlsCheck, trace: &mut Trace) -> Result<(), Failure> {
    let stream = prober.outbound.dial(&check.host, check.port, check.family, trace).await?;
    let _closed_at_once = prober.tls.handshake(stream, &check.host, &check.tls, &[], trace).await?;
    if let Some(version) = trace.peer.as_ref().map(|peer| peer.tls.clone()) {
        trace.facts.set("tls", version.as_str());
    }
    Ok(())
}
