//! The accept loop. One port for everything: deliveries to the drain go to a bare service on the loop's own thread, all
//! other requests to the axum router on the general runtime, so that no page can hold up a delivery. Owns limits on
//! connections and headers, and the order of stopping.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tower::ServiceExt;

use crate::drain::{Drain, Target, is_astray, plain};
use crate::idle::{HEAD_TIME_MAX, Patience};

/// The most connections at a time of any server.
pub const CONNECTIONS_MAX: usize = 4_096;
/// The read buffer of a connection; a body arrives in pieces of at most this size.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Connections that cannot be accepted are logged so often, however many they are.
const FAILURES_LOGGED_EVERY: Duration = Duration::from_secs(10);
/// Requests in progress are given this long to end after the stop.
pub const STOP_TIME_MAX: Duration = Duration::from_secs(8);

type Answer = Response<Either<Empty<Bytes>, Body>>;

/// Who a request came from, as axum handlers see it.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// What a server answers with, and where.
pub struct Parts {
    /// Answers deliveries.
    pub drain: Arc<Drain>,
    /// Answers everything else.
    pub router: Router,
    /// Runs everything but deliveries.
    pub general: tokio::runtime::Handle,
    /// Connections at a time, [`CONNECTIONS_MAX`] at most. Beyond that, new ones wait to be accepted.
    pub connections_max: usize,
}

/// Serves until `stop` says so, then finishes what was begun.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(listener: TcpListener, parts: Parts, mut stop: watch::Receiver<bool>) -> std::io::Result<()> {
    let Parts { drain, router, general, connections_max } = parts;
    let connections_max = connections_max.clamp(1, CONNECTIONS_MAX);
    let room = Arc::new(Semaphore::new(connections_max));
    let graceful = GracefulShutdown::new();
    let (mut failed, mut logged_at) = (0_u64, None::<Instant>);
    loop {
        let permit = tokio::select! {
            permit = Arc::clone(&room).acquire_owned() => permit,
            _ = stop.changed() => break,
        };
        let Ok(permit) = permit else { break };
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of file handles, most likely: waiting is all that helps.
                    failed += 1;
                    if logged_at.is_none_or(|at| at.elapsed() >= FAILURES_LOGGED_EVERY) {
                        tracing::error!(%error, count = failed, "connections could not be accepted");
                        (failed, logged_at) = (0, Some(Instant::now()));
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = stop.changed() => break,
        };
        let (drain, router, general) = (Arc::clone(&drain), router.clone(), general.clone());
        let answered = Arc::new(AtomicBool::new(false));
        let patience = Patience::new(Arc::clone(&answered), Arc::clone(&room), connections_max);
        let front = Front { drain, router, general, peer, answered };
        let watched = graceful.watch(connection(stream, patience, front));
        tokio::spawn(async move {
            // A connection that breaks off is the other side's affair.
            let _broken = watched.await;
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(STOP_TIME_MAX, graceful.shutdown()).await.is_err() {
        tracing::warn!("some requests did not end in time and were cut off");
    }
    Ok(())
}

/// What answers the requests of one connection.
struct Front {
    drain: Arc<Drain>,
    router: Router,
    general: tokio::runtime::Handle,
    peer: SocketAddr,
    /// Whether a request of this connection was one: from then on it may be silent for longer.
    answered: Arc<AtomicBool>,
}

impl Service<Request<Incoming>> for Front {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.answered.store(true, Relaxed);
        if Target::of(request.method(), request.uri().path()).is_some() || is_astray(&request) {
            let drain = Arc::clone(&self.drain);
            return Box::pin(async move { Ok(plain::<Empty<Bytes>>(drain.handle(request).await).map(Either::Left)) });
        }
        let (router, general, peer) = (self.router.clone(), self.general.clone(), self.peer);
        Box::pin(async move { Ok(page(request, peer, router, general).await) })
    }
}

fn connection(stream: TcpStream, patience: Patience, front: Front) -> http1::Connection<TokioIo<TcpStream>, Front> {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's delay");
    }
    http1::Builder::new()
        .timer(patience)
        .header_read_timeout(HEAD_TIME_MAX)
        .max_buf_size(BUFFER_BYTES_MAX)
        .pipeline_flush(true)
        .serve_connection(TokioIo::new(stream), front)
}

async fn page(request: Request<Incoming>, peer: SocketAddr, router: Router, general: tokio::runtime::Handle) -> Answer {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    match general.spawn(router.oneshot(request)).await {
        Ok(Ok(response)) => response.map(Either::Right),
        // A panic before the router's own answer to one, or the end of the runtime. Its words are not ours to log here.
        Err(error) => {
            tracing::error!(panicked = error.is_panic(), "a request handler ended without an answer");
            plain::<Empty<Bytes>>(StatusCode::INTERNAL_SERVER_ERROR).map(Either::Left)
        }
    }
}
