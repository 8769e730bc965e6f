//! HTTP/2 checks against a server of h2: agreed by TLS, or by prior knowledge.

use std::sync::Arc;

use bytes::Bytes;
use dynowatch_domain::check::Reason;
use dynowatch_domain::check::kind::HttpVersion;
use dynowatch_testkit::certificates::Authority;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::common::*;

/// Answers every request with what it was asked; returns its port.
async fn serve(tls: Option<Arc<ServerConfig>>, resets: bool) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            match &tls {
                None => answer(stream, resets).await,
                Some(config) => match TlsAcceptor::from(Arc::clone(config)).accept(stream).await {
                    Ok(stream) => answer(stream, resets).await,
                    Err(_) => continue,
                },
            }
        }
    });
    port
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(stream: S, resets: bool) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        if resets {
            respond.send_reset(h2::Reason::INTERNAL_ERROR);
            continue;
        }
        let asked = format!("{} {}", request.method(), request.uri());
        let answer = http::Response::builder().status(200).header("x-asked", asked).body(()).unwrap();
        let mut body = respond.send_response(answer, false).unwrap();
        body.send_data(Bytes::from_static(b"{\"ok\":true}"), true).unwrap();
    }
}

#[tokio::test]
async fn http2_is_agreed_by_tls_or_known() {
    let root = Authority::root("Root", days(-10), days(1000));
    let identity = root.server(&["shop.test"], days(-1), days(60));
    let secure = serve(Some(identity.server_config(&[b"h2", b"http/1.1"])), false).await;
    let plain = serve(None, false).await;
    let wanted = ["protocol = \"HTTP/2\"", "body.ok = true", "status = 200"];
    for (url, version) in [
        (format!("https://shop.test:{secure}/a?b=c"), HttpVersion::Any),
        (format!("https://shop.test:{secure}/a?b=c"), HttpVersion::Http2),
        (format!("http://shop.test:{plain}/a?b=c"), HttpVersion::Http2),
    ] {
        let asked = format!("header.x-asked = \"GET {url}\"");
        let mut wanted = wanted.to_vec();
        wanted.push(&asked);
        let run = run(&prober(&[&root]), &web_with(&url, &wanted, |web| web.version = version)).await;
        assert_up(&run);
        assert_eq!(run.observation.peer.as_ref().unwrap().protocol, "HTTP/2");
        assert!(run.observation.phases.first_byte_us.is_some() && run.observation.phases.body_us.is_some());
    }
}

#[tokio::test]
async fn a_server_without_http2_is_told_so() {
    let root = Authority::root("Root", days(-10), days(1000));
    let identity = root.server(&["shop.test"], days(-1), days(60));
    let port = serve(Some(identity.server_config(&[])), false).await;
    let check = web_with(&format!("https://shop.test:{port}/"), &[], |web| web.version = HttpVersion::Http2);
    assert_reason(&run(&prober(&[&root]), &check).await, Reason::BadReply, "does not offer HTTP/2");
    let port = serve(None, true).await;
    let check = web_with(&format!("http://shop.test:{port}/"), &[], |web| web.version = HttpVersion::Http2);
    assert_reason(&run(&prober(&[]), &check).await, Reason::BadReply, "HTTP/2: ");
}
