//! The yardstick: the least a hyper server can do with a drain POST. One thread, no authentication.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::process::{self, Server};

/// This program again, as the yardstick; its output goes into `folder`.
pub(crate) async fn spawn(folder: &Path) -> Result<Server> {
    let address = process::free_address()?;
    let mut serve = Command::new(std::env::current_exe()?);
    serve.args(["bench", "discard", "--listen", &address.to_string()]);
    Server::spawn(&mut serve, address, &folder.join("discard.log")).await
}

/// Serves until it is killed.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async move {
        let listener = TcpListener::bind(address).await?;
        println!("http://{} pid {}", listener.local_addr()?, std::process::id());
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(discard)));
        }
    })
}

async fn discard(request: Request<Incoming>) -> Result<Response<Empty<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    let mut response = Response::new(Empty::new());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(response)
}
