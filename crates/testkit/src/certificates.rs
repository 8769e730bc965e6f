//! Certificates that are wrong in one way each, made when a test runs: expired, for another name, self-signed,
//! cross-signed. Keys are drawn anew each time; nothing is kept.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

/// A name, a key, and the right to sign others.
pub struct Authority {
    params: CertificateParams,
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

/// A server's key with the chain that it presents.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: KeyPair,
}

impl Authority {
    /// A root that signed itself.
    ///
    /// # Panics
    /// Never, unless the machine has no randomness.
    #[must_use]
    pub fn root(name: &str, from: Timestamp, until: Timestamp) -> Self {
        let (params, key) = (authority(name, from, until), KeyPair::generate().expect("a key"));
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { params, key, certificate }
    }

    /// An authority that this one signed.
    ///
    /// # Panics
    /// Never, unless the machine has no randomness.
    #[must_use]
    pub fn authority(&self, name: &str, from: Timestamp, until: Timestamp) -> Self {
        let (params, key) = (authority(name, from, until), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, &self.issuer()).expect("a certificate").der().clone();
        Self { params, key, certificate }
    }

    /// This authority's name and key, signed by another one: a second way to a root.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn cross_signed_by(&self, other: &Self, from: Timestamp, until: Timestamp) -> CertificateDer<'static> {
        let mut params = self.params.clone();
        set_validity(&mut params, from, until);
        params.signed_by(&self.key, &other.issuer()).expect("a certificate").der().clone()
    }

    /// A server's certificate for names and addresses, presented alone.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn server(&self, names: &[&str], from: Timestamp, until: Timestamp) -> Identity {
        let (params, key) = (server(names, from, until), KeyPair::generate().expect("a key"));
        let certificate = params.signed_by(&key, &self.issuer()).expect("a certificate").der().clone();
        Identity { chain: vec![certificate], key }
    }

    /// The certificate.
    #[must_use]
    pub fn der(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    /// The certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.certificate)
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

impl Identity {
    /// A server's certificate that signed itself.
    ///
    /// # Panics
    /// When a name is none.
    #[must_use]
    pub fn self_signed(names: &[&str], from: Timestamp, until: Timestamp) -> Self {
        let (params, key) = (server(names, from, until), KeyPair::generate().expect("a key"));
        let certificate = params.self_signed(&key).expect("a certificate").der().clone();
        Self { chain: vec![certificate], key }
    }

    /// The same, presenting more certificates behind its own.
    #[must_use]
    pub fn presenting(mut self, more: &[CertificateDer<'static>]) -> Self {
        self.chain.extend_from_slice(more);
        self
    }

    /// This key with another's certificates, as a thief would show them.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn showing(&self, other: &Self) -> Self {
        let key = KeyPair::try_from(self.key.serialized_der()).expect("the same key");
        Self { chain: other.chain.clone(), key }
    }

    /// The same as a certificate of version 1, without extensions, as old tools make them. Its signature no longer fits:
    /// good only for those who look at the key alone.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn version_1(mut self) -> Self {
        let (certificate, _) = element(self.chain.first().expect("a certificate"));
        let (to_be_signed, signature) = element(certificate);
        let mut fields = Vec::new();
        let mut rest = to_be_signed;
        while let Some(tag) = rest.first() {
            let (_, after) = element(rest);
            // The version and the extensions, which are all that make it version 3.
            if !matches!(tag, 0xa0 | 0xa3) {
                fields.extend_from_slice(&rest[..rest.len() - after.len()]);
            }
            rest = after;
        }
        let mut content = sequence(&fields);
        content.extend_from_slice(signature);
        self.chain = vec![CertificateDer::from(sequence(&content))];
        self
    }

    /// For a TLS server of rustls that offers these protocols.
    #[must_use]
    pub fn server_config(&self, alpn: &[&[u8]]) -> Arc<ServerConfig> {
        self.server_config_with(alpn, rustls::DEFAULT_VERSIONS)
    }

    /// The same that speaks no more than TLS 1.2.
    #[must_use]
    pub fn server_config_tls12(&self) -> Arc<ServerConfig> {
        self.server_config_with(&[], &[&rustls::version::TLS12])
    }

    fn server_config_with(
        &self,
        alpn: &[&[u8]],
        versions: &[&'static rustls::SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let key = provider.key_provider.load_private_key(key).expect("a key");
        // Not looked at: certificates here are wrong in one way each.
        let certified = CertifiedKey::new(self.chain.clone(), key);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .expect("usual versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Arc::new(config)
    }

    /// The chain in PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// Writes chain and key into a folder, for servers that read files.
    ///
    /// # Panics
    /// When the folder cannot be written.
    #[must_use]
    pub fn write_into(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (chain, key) = (folder.join("server.crt"), folder.join("server.key"));
        std::fs::write(&chain, self.chain_pem()).expect("the certificate is written");
        std::fs::write(&key, self.key_pem()).expect("the key is written");
        (chain, key)
    }
}

fn authority(name: &str, from: Timestamp, until: Timestamp) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    set_validity(&mut params, from, until);
    params
}

fn server(names: &[&str], from: Timestamp, until: Timestamp) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let common = names.first().cloned().unwrap_or_default();
    let mut params = CertificateParams::new(names).expect("names of hosts");
    params.distinguished_name.push(DnType::CommonName, common);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    set_validity(&mut params, from, until);
    params
}

/// rcgen's times are of a crate of their own; this one starts from the type it hands out.
fn set_validity(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let since_1970 = |moment: Timestamp| Duration::from_secs(u64::try_from(moment.as_seconds()).unwrap_or(0));
    params.not_before = date_time_ymd(1970, 1, 1) + since_1970(from);
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(until);
}

/// The content of the first DER element, and what is behind it.
fn element(der: &[u8]) -> (&[u8], &[u8]) {
    let (length, header) = match der[1] {
        short @ ..=0x7f => (usize::from(short), 2),
        0x81 => (usize::from(der[2]), 3),
        _ => (usize::from(der[2]) << 8 | usize::from(der[3]), 4),
    };
    (&der[header..header + length], &der[header + length..])
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("a short certificate").to_be_bytes();
    let mut out = vec![0x30, 0x82, length[0], length[1]];
    out.extend_from_slice(content);
    out
}

fn pem(label: &str, der: &[u8]) -> String {
    let body = data_encoding::BASE64.encode(der);
    let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}
