//! A connection, plain or in TLS, as bytes in and out. Owns the handshake and what its errors mean.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::fact::Value;
use dynowatch_domain::check::kind::TlsMode;
use dynowatch_domain::check::{Phase, Reason};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ProtocolVersion};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::certificate::{Roots, Shown, Trust, Verifier};
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// What a handshake needs besides the connection.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) roots: Roots,
    pub(crate) provider: Arc<CryptoProvider>,
}

pub(crate) enum Connection {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Connection {
    /// What the server chose of the protocols offered.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }
}

impl Tls {
    /// Speaks TLS over a connection. What the server showed is noted whether or not it is accepted.
    pub(crate) async fn handshake(
        &self,
        stream: TcpStream,
        host: &str,
        mode: &TlsMode,
        alpn: &[&[u8]],
        trace: &mut Trace,
    ) -> Result<Connection, Failure> {
        trace.enter(Phase::Tls);
        let trust = Trust::of(mode, &self.roots, &trace.memory)?;
        let verifier = Arc::new(Verifier::new(trust, mode.name(), trace.now, Arc::clone(&self.provider)));
        let (connector, name) = self.connector(&verifier, host, alpn)?;
        let connected = connector.connect(name, stream).await;
        let shown = verifier.shown();
        let refused = shown.failure.clone();
        note_chain(shown, trace);
        let stream = connected.map_err(|error| refused.unwrap_or_else(|| tls_failure(&error)))?;
        let version = match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => "TLS 1.3",
            Some(ProtocolVersion::TLSv1_2) => "TLS 1.2",
            _ => "TLS",
        };
        if let Some(peer) = &mut trace.peer {
            version.clone_into(&mut peer.tls);
        }
        trace.leave();
        trace.note(format!("{version} agreed"));
        Ok(Connection::Tls(Box::new(stream)))
    }

    fn connector(
        &self,
        verifier: &Arc<Verifier>,
        host: &str,
        alpn: &[&[u8]],
    ) -> Result<(TlsConnector, ServerName<'static>), Failure> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Failure::new(Reason::TargetInvalid, "the host is no name that a certificate can bear"))?;
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| Failure::new(Reason::ProberFailed, error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(verifier) as Arc<_>)
            .with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        // Every run shows the server's certificate anew.
        config.resumption = rustls::client::Resumption::disabled();
        Ok((TlsConnector::from(Arc::new(config)), name))
    }

    /// Whether the other side shows a certificate. Nothing is said over the connection, whatever it shows.
    pub(crate) async fn is_spoken(&self, stream: TcpStream, host: &str, now: Timestamp) -> bool {
        let trust = Trust::Pin { expected: None, rotation_until: None };
        let verifier = Arc::new(Verifier::new(trust, "pin", now, Arc::clone(&self.provider)));
        let Ok((connector, name)) = self.connector(&verifier, host, &[]) else { return false };
        let _closed_at_once = connector.connect(name, stream).await;
        !verifier.shown().chain.presented.is_empty()
    }
}

fn note_chain(shown: Shown, trace: &mut Trace) {
    if shown.chain.presented.is_empty() && shown.failure.is_none() {
        return;
    }
    for certificate in &shown.chain.presented {
        trace.received(format!(
            "certificate {} from {}, {} to {}, key {}",
            certificate.subject,
            certificate.issuer,
            certificate.not_before.for_people(),
            certificate.not_after.for_people(),
            certificate.key_sha256
        ));
    }
    if let Some((pin, note)) = shown.pin {
        trace.memory.pin = Some(pin);
        trace.memory.pin_offered = None;
        if let Some(note) = note {
            trace.memory.rotation_until = None;
            trace.notes.push(note);
            trace.note(note.sentence());
        }
    }
    if let Some(offered) = shown.offered {
        // The same key offered again keeps the time at which it was first seen.
        if trace.memory.pin_offered.as_ref().is_none_or(|known| known.key_sha256 != offered.key_sha256) {
            trace.memory.pin_offered = Some(offered);
        }
    }
    if let Some(ends) = shown.chain.expires_at {
        let days = (ends.as_micros().saturating_sub(trace.now.as_micros())).div_euclid(86_400_000_000);
        trace.facts.set_with("certificate.days", Value::Number(days.into()), format!("expires {}", ends.for_people()));
    }
    trace.chain = Some(shown.chain);
}

fn tls_failure(error: &io::Error) -> Failure {
    use rustls::Error as E;
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<E>()) else {
        return io_failure(error, "the TLS handshake");
    };
    match tls {
        E::InvalidMessage(_) => Failure::new(
            Reason::TlsMismatch,
            "the server's answer to a TLS handshake is not TLS: the port speaks plain text",
        ),
        E::AlertReceived(alert) => {
            Failure::new(Reason::TlsFailed, format!("the server refused the handshake: {alert:?}"))
        }
        other => Failure::new(Reason::TlsFailed, other.to_string()),
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
