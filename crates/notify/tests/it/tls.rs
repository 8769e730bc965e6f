//! A webhook behind TLS with a certificate of a private authority: taken when the platform's roots (`SSL_CERT_FILE`) hold
//! that authority and the name fits, refused as a fault of the configuration otherwise.
//!
//! The roots are read from the environment, once, and a test may not change its own: each case runs in a child, which is
//! this same program asked for this same test, and told by a variable to send instead of to judge.
//!
//! The certificates in `tls/` are good from 2020 to 2120, for the name `localhost` alone; the authority's key is gone.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::Arc;

use dynowatch_domain::delivery::Outcome;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::support::{deliver, install_tls, webhook};

const CERTIFICATE: &[u8] = include_bytes!("tls/server.pem");
const KEY: &[u8] = include_bytes!("tls/server.key");
const AUTHORITY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/ca.pem");
/// Roots that hold an authority, but not the one that matters.
const STRANGER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/tls/server.pem");
/// Where the child is to send.
const URL: &str = "DYNOWATCH_TEST_TLS_URL";
/// The test, as the test program knows it.
const NAME: &str = "tls::private_authorities_are_trusted_when_the_platform_does";
/// How the child says what became of it.
const OUTCOME: &str = "outcome: ";

/// A server that takes anything over TLS and answers 204, for as long as the test lives. Returns its port.
fn server() -> u16 {
    install_tls();
    let certificate = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
    let key = PrivateKeyDer::from_pem_slice(KEY).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    let (listener, config) = (TcpListener::bind(("127.0.0.1", 0)).unwrap(), Arc::new(config));
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut tls = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = Stream::new(&mut tls, &mut stream);
            let mut request = Vec::new();
            let mut piece = [0; 4_096];
            // A client that does not trust us hangs up.
            while let Ok(bytes @ 1..) = tls.read(&mut piece) {
                request.extend_from_slice(&piece[..bytes]);
                if is_whole(&request) {
                    _ = tls.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
                    break;
                }
            }
        }
    });
    port
}

/// Whether a request is there with all of its body.
fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request).to_ascii_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    length.is_some_and(|length| body.len() >= length)
}

/// What becomes of one message to `url` in a process with these roots.
fn outcome(url: &str, roots: &str) -> String {
    let done = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", NAME, "--nocapture"])
        .env(URL, url)
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let outcome = said.lines().find_map(|line| line.split_once(OUTCOME)).map(|(_, outcome)| outcome.to_owned());
    outcome.unwrap_or_else(|| format!("none: {said}\n{}", String::from_utf8_lossy(&done.stderr)))
}

#[tokio::test]
async fn private_authorities_are_trusted_when_the_platform_does() {
    #[expect(clippy::disallowed_methods, reason = "how the parent tells its child what to do")]
    if let Ok(url) = std::env::var(URL) {
        return send(url).await;
    }
    let port = server();
    let (good, wrong_name) = (format!("https://localhost:{port}/hook"), format!("https://127.0.0.1:{port}/hook"));
    let cases = [
        (&good, AUTHORITY, "accepted", ""),
        (&wrong_name, AUTHORITY, "misconfigured", "not valid for"),
        (&good, STRANGER, "misconfigured", "certificate"),
    ];
    for (url, roots, want, because) in cases {
        let outcome = outcome(url, roots);
        assert!(outcome.starts_with(want) && outcome.contains(because), "{url} with {roots}: {outcome}");
        assert!(!outcome.contains("/hook"), "tokens live in URLs: {outcome}");
    }
}

/// What the child does.
async fn send(url: String) {
    let (word, detail) = match deliver(webhook(url)).await {
        Outcome::Accepted { detail } => ("accepted", detail),
        Outcome::Unknown { detail } => ("unknown", detail),
        Outcome::Retry { detail, .. } => ("retry", detail),
        Outcome::Misconfigured { detail } => ("misconfigured", detail),
        Outcome::Rejected { detail } => ("rejected", detail),
    };
    #[expect(clippy::print_stdout, reason = "how the child tells its parent what became of it")]
    {
        println!("\n{OUTCOME}{word} {detail}");
    }
}
