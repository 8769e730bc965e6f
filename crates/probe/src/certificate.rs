//! Whether a server's certificate is accepted. Owns the three modes (public roots, a given CA, the first key seen), what is
//! recorded of the chain, and the reasons of refusal. There is no mode that accepts anything.
//!
//! The chain is recorded before it is judged, so that an expired certificate still tells when it expired. Its end is that
//! of the path that was verified: what else a server presents, such as an expired cross-signed root, concerns nobody.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::kind::TlsMode;
use dynowatch_domain::check::observation::{ChainFacts, Pin};
use dynowatch_domain::check::{Memory, Note, Reason};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, TrustAnchor, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};
use webpki::{EndEntityCert, RawPublicKeyEntity};

use crate::der;
use crate::trace::Failure;

/// More certificates of one chain are not looked at.
const CHAIN_MAX: usize = 10;

/// Trusted roots.
#[derive(Clone, Default)]
pub struct Roots(Arc<Vec<TrustAnchor<'static>>>);

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} roots", self.0.len())
    }
}

impl Roots {
    /// The machine's own, and what was wrong with those that could not be read.
    #[must_use]
    pub fn system() -> (Self, Vec<String>) {
        let found = rustls_native_certs::load_native_certs();
        let problems = found.errors.iter().map(ToString::to_string).collect();
        (Self::from_der(&found.certs), problems)
    }

    /// These certificates. What is none is left out.
    #[must_use]
    pub fn from_der(certificates: &[CertificateDer<'_>]) -> Self {
        let anchors =
            certificates.iter().filter_map(|der| Some(webpki::anchor_from_trusted_cert(der).ok()?.to_owned()));
        Self(Arc::new(anchors.collect()))
    }

    /// Every certificate of a PEM text.
    ///
    /// # Errors
    /// When there is none, or one cannot be read.
    pub fn from_pem(pem: &str) -> Result<Self, String> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let certificates = read.map_err(|error| format!("the CA is not in PEM: {error}"))?;
        let roots = Self::from_der(&certificates);
        if roots.0.is_empty() {
            return Err(
                "the CA has no certificate: paste it with its BEGIN CERTIFICATE and END CERTIFICATE lines".to_owned()
            );
        }
        Ok(roots)
    }

    /// Whether there is none, so that nothing can be verified.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a certificate is judged by.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    Roots(Roots),
    /// The key that is expected, if any was seen; until when another one is a rotation.
    Pin {
        expected: Option<Pin>,
        rotation_until: Option<Timestamp>,
    },
}

impl Trust {
    pub(crate) fn of(mode: &TlsMode, public: &Roots, memory: &Memory) -> Result<Self, Failure> {
        match mode {
            TlsMode::Verify if public.is_empty() => Err(Failure::new(
                Reason::ProberFailed,
                "this machine has no public roots (Debian: the package ca-certificates), so no certificate can be verified",
            )),
            TlsMode::Verify => Ok(Self::Roots(public.clone())),
            TlsMode::Ca(pem) => {
                Roots::from_pem(pem).map(Self::Roots).map_err(|why| Failure::new(Reason::TargetInvalid, why))
            }
            TlsMode::Pin => Ok(Self::Pin { expected: memory.pin.clone(), rotation_until: memory.rotation_until }),
        }
    }
}

/// What a handshake showed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shown {
    pub(crate) chain: ChainFacts,
    pub(crate) failure: Option<Failure>,
    /// In pin mode: the key to remember, and what that means.
    pub(crate) pin: Option<(Pin, Option<Note>)>,
    /// Another key than the expected one.
    pub(crate) offered: Option<Pin>,
}

/// Judges one handshake and keeps what it showed.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    mode: &'static str,
    /// The run's time: a handshake lasts no time that matters to a certificate.
    now: Timestamp,
    provider: Arc<CryptoProvider>,
    shown: Mutex<Shown>,
}

impl Verifier {
    pub(crate) fn new(trust: Trust, mode: &'static str, now: Timestamp, provider: Arc<CryptoProvider>) -> Self {
        Self { trust, mode, now, provider, shown: Mutex::default() }
    }

    pub(crate) fn shown(&self) -> Shown {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn judge(&self, leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>], name: &ServerName<'_>) -> Shown {
        let others = others.get(..others.len().min(CHAIN_MAX - 1)).unwrap_or_default();
        let all = std::iter::once(leaf).chain(others);
        let presented: Vec<_> = all.filter_map(|certificate| der::facts(certificate)).collect();
        let leaf_ends = presented.first().map(|leaf| leaf.not_after);
        let chain =
            ChainFacts { presented, mode: self.mode.to_owned(), expires_at: leaf_ends, ..ChainFacts::default() };
        let mut shown = Shown { chain, ..Shown::default() };
        match &self.trust {
            Trust::Roots(roots) => match self.verify(roots, leaf, others, name) {
                Ok(path) => {
                    let ends = path.iter().filter_map(|at| shown.chain.presented.get(*at)).map(|cert| cert.not_after);
                    shown.chain.expires_at = ends.min();
                    shown.chain.verified_path = path;
                }
                Err(error) => shown.failure = Some(refusal(&error, &shown.chain, name)),
            },
            Trust::Pin { expected, rotation_until } => self.judge_pin(expected.as_ref(), *rotation_until, &mut shown),
        }
        shown.chain.problem = shown.failure.as_ref().map(|failure| failure.detail.clone()).unwrap_or_default();
        shown
    }

    /// The places in the presented chain of a path that holds.
    fn verify(
        &self,
        roots: &Roots,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
    ) -> Result<Vec<usize>, webpki::Error> {
        let certificate = EndEntityCert::try_from(leaf)?;
        let seconds = u64::try_from(self.now.as_seconds()).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let algorithms = self.provider.signature_verification_algorithms.all;
        let path = certificate.verify_for_usage(
            algorithms,
            &roots.0,
            others,
            time,
            webpki::KeyUsage::server_auth(),
            None,
            None,
        )?;
        let mut places = vec![0];
        for intermediate in path.intermediate_certificates() {
            let der = intermediate.der();
            places.extend(others.iter().position(|other| *other == der).map(|at| at + 1));
        }
        certificate.verify_is_valid_for_subject_name(name)?;
        Ok(places)
    }

    fn judge_pin(&self, expected: Option<&Pin>, rotation_until: Option<Timestamp>, shown: &mut Shown) {
        let Some(leaf) = shown.chain.presented.first() else {
            shown.failure = Some(Failure::new(Reason::CertificateInvalid, "the certificate cannot be read"));
            return;
        };
        let found = Pin { key_sha256: leaf.key_sha256.clone(), first_seen_at: self.now };
        match expected {
            None => shown.pin = Some((found, Some(Note::PinRecorded))),
            Some(expected) if expected.key_sha256 == found.key_sha256 => shown.pin = Some((expected.clone(), None)),
            Some(_) if rotation_until.is_some_and(|until| self.now <= until) => {
                shown.pin = Some((found, Some(Note::PinRotated)));
            }
            Some(expected) => {
                let detail = format!(
                    "the key with SHA-256 {} was expected (first seen {}), the server shows {}; no credentials were sent",
                    expected.key_sha256,
                    expected.first_seen_at.for_people(),
                    found.key_sha256
                );
                shown.failure = Some(Failure::new(Reason::PinChanged, detail));
                shown.offered = Some(found);
            }
        }
    }

    /// The public key with which a pinned server must sign. Read by us, since self-signed certificates are often of
    /// version 1, which webpki does not read.
    fn signed_by_pinned(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let bad = || Error::InvalidCertificate(CertificateError::BadEncoding);
        let key = SubjectPublicKeyInfoDer::from(der::parse(certificate).ok_or_else(bad)?.public_key);
        let key = RawPublicKeyEntity::try_from(&key).map_err(|_| bad())?;
        let known = self.provider.signature_verification_algorithms.mapping.iter();
        let mut algorithms =
            known.filter(|(scheme, _)| *scheme == signed.scheme).flat_map(|(_, algorithms)| *algorithms);
        match algorithms.find(|algorithm| key.verify_signature(**algorithm, message, signed.signature()).is_ok()) {
            Some(_) => Ok(HandshakeSignatureValid::assertion()),
            None => Err(Error::InvalidCertificate(CertificateError::BadSignature)),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let shown = self.judge(end_entity, intermediates, server_name);
        let accepted = shown.failure.is_none();
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
        if accepted {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        match &self.trust {
            Trust::Roots(_) => {
                verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
            }
            Trust::Pin { .. } => self.signed_by_pinned(message, cert, dss),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        match &self.trust {
            Trust::Roots(_) => verify_tls13_signature(message, cert, dss, algorithms),
            Trust::Pin { .. } => {
                let bad = Error::InvalidCertificate(CertificateError::BadEncoding);
                let key = SubjectPublicKeyInfoDer::from(der::parse(cert).ok_or(bad)?.public_key);
                verify_tls13_signature_with_raw_key(message, &key, dss, algorithms)
            }
        }
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn refusal(error: &webpki::Error, chain: &ChainFacts, name: &ServerName<'_>) -> Failure {
    use webpki::Error as E;
    let leaf = chain.presented.first();
    let name = name.to_str();
    match error {
        E::CertExpired { .. } => {
            let expired = |at: Option<Timestamp>| at.map(Timestamp::for_people).unwrap_or_default();
            Failure::new(Reason::CertificateExpired, format!("expired {}", expired(leaf.map(|leaf| leaf.not_after))))
        }
        E::CertNotValidYet { .. } => {
            let from = leaf.map(|leaf| leaf.not_before.for_people()).unwrap_or_default();
            Failure::new(Reason::CertificateNotYetValid, format!("valid from {from}"))
        }
        E::CertNotValidForName(_) => {
            let names = leaf.map(|leaf| leaf.names.join(", ")).unwrap_or_default();
            Failure::new(Reason::CertificateWrongName, format!("it is for {names}, not for {name}"))
        }
        E::UnknownIssuer | E::CaUsedAsEndEntity | E::UnsupportedCertVersion => {
            let words = match leaf {
                Some(leaf) if leaf.subject == leaf.issuer => "it is self-signed",
                _ if chain.presented.len() < 2 => {
                    "its issuer is not trusted, and the server presents no intermediate certificate"
                }
                _ => "its issuer is not trusted",
            };
            let issuer = leaf.map(|leaf| leaf.issuer.as_str()).unwrap_or_default();
            Failure::new(Reason::CertificateUntrusted, format!("{words} (issuer {issuer})"))
        }
        other => Failure::new(Reason::CertificateInvalid, other.to_string()),
    }
}
