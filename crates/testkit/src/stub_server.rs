//! A server on loopback that does what a test scripts, well-behaved or hostile: drips, resets, lies about lengths, never
//! ends, hangs. In plain TCP or in TLS. It remembers what it was asked and which connections are open.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Only a failing test waits this long.
const DEADLINE: Duration = Duration::from_secs(20);
/// More of a request is not kept.
const REQUEST_BYTES_MAX: usize = 64 << 10;

/// What a connection does next. After the last step it is closed.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends bytes.
    Send(Vec<u8>),
    /// Sends bytes one by one, with a pause before each.
    Drip(Vec<u8>, Duration),
    /// Sends the same bytes until the other side has enough.
    Endless(Vec<u8>),
    /// Waits for more bytes of the other side.
    Read,
    /// Drops the connection with a reset.
    Reset,
    /// Says nothing until the other side closes.
    Hang,
}

impl Step {
    /// Sends a text.
    #[must_use]
    pub fn send(text: impl Into<String>) -> Self {
        Self::Send(text.into().into_bytes())
    }

    /// Sends a whole HTTP answer with a status, more headers (each ending in a line end) and a body.
    #[must_use]
    pub fn http(status: u16, headers: &str, body: &str) -> Self {
        Self::send(format!(
            "HTTP/1.1 {status} Stub\r\n{headers}content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        ))
    }
}

type Script = Arc<dyn Fn(&str) -> Vec<Step> + Send + Sync>;

/// A running server. Dropping it closes the port and every connection.
pub struct StubServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
}

struct Shared {
    script: Script,
    /// Whether it waits for a request before it does anything.
    listens_first: bool,
    requests: Mutex<Vec<String>>,
    open: watch::Sender<usize>,
    accepted: watch::Sender<usize>,
}

impl StubServer {
    /// Reads a request (up to an empty line, or what comes first of another protocol), then does what the script says of it.
    pub async fn answering(
        tls: Option<Arc<ServerConfig>>,
        script: impl Fn(&str) -> Vec<Step> + Send + Sync + 'static,
    ) -> Self {
        Self::start(tls, true, Arc::new(script)).await
    }

    /// Does the same on every connection, without waiting for a request.
    pub async fn speaking(tls: Option<Arc<ServerConfig>>, steps: Vec<Step>) -> Self {
        Self::start(tls, false, Arc::new(move |_| steps.clone())).await
    }

    async fn start(tls: Option<Arc<ServerConfig>>, listens_first: bool, script: Script) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a listener");
        let (open, accepted) = (watch::Sender::new(0), watch::Sender::new(0));
        let shared = Arc::new(Shared { script, listens_first, requests: Mutex::default(), open, accepted });
        let server =
            tokio::spawn(accept_loop(listener, tls.map(TlsAcceptor::from), Arc::clone(&shared))).abort_handle();
        Self { address, shared, server }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it was asked so far.
    ///
    /// # Panics
    /// Never.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many connections it accepted.
    #[must_use]
    pub fn accepted(&self) -> usize {
        *self.shared.accepted.borrow()
    }

    /// Waits until no connection is open.
    ///
    /// # Panics
    /// When one is still open after 20 s.
    pub async fn all_closed(&self) {
        let mut open = self.shared.open.subscribe();
        let closed = tokio::time::timeout(DEADLINE, open.wait_for(|open| *open == 0)).await;
        assert!(closed.is_ok(), "{} connections are still open", *self.shared.open.borrow());
    }
}

impl Drop for StubServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn accept_loop(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        shared.accepted.send_modify(|accepted| *accepted += 1);
        shared.open.send_modify(|open| *open += 1);
        let (tls, shared) = (tls.clone(), Arc::clone(&shared));
        connections.spawn(async move {
            serve(stream, tls, &shared).await;
            shared.open.send_modify(|open| *open -= 1);
        });
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, shared: &Shared) {
    let _option = stream.set_nodelay(true);
    match tls {
        None => {
            let (stream, resets) = play(stream, shared).await;
            if resets {
                let _option = stream.set_zero_linger();
            }
        }
        Some(acceptor) => {
            if let Ok(stream) = acceptor.accept(stream).await {
                let (mut stream, resets) = play(stream, shared).await;
                if resets {
                    let _option = stream.get_ref().0.set_zero_linger();
                } else {
                    _ = stream.shutdown().await;
                }
            }
        }
    }
}

/// Plays the script; whether the connection is to be reset.
async fn play<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: &Shared) -> (S, bool) {
    let request = if shared.listens_first { read_request(&mut stream).await } else { String::new() };
    if shared.listens_first {
        shared.requests.lock().unwrap().push(request.clone());
    }
    let mut buffer = vec![0; 4 << 10];
    for step in (shared.script)(&request) {
        let gone = match step {
            Step::Send(bytes) => stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err(),
            Step::Endless(bytes) => {
                while stream.write_all(&bytes).await.is_ok() {}
                true
            }
            Step::Drip(bytes, pause) => drip(&mut stream, &bytes, pause).await,
            Step::Read => !matches!(stream.read(&mut buffer).await, Ok(1..)),
            Step::Reset => return (stream, true),
            Step::Hang => {
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {}
                true
            }
        };
        if gone {
            break;
        }
    }
    (stream, false)
}

/// Whether the other side is gone; noticed at once, not with the next byte.
async fn drip<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &[u8], pause: Duration) -> bool {
    let mut ticks = tokio::time::interval(pause);
    ticks.tick().await;
    let mut ignored = [0; 256];
    for byte in bytes {
        loop {
            tokio::select! {
                _ = ticks.tick() => break,
                read = stream.read(&mut ignored) => {
                    if !matches!(read, Ok(1..)) {
                        return true;
                    }
                }
            }
        }
        if stream.write_all(&[*byte]).await.is_err() || stream.flush().await.is_err() {
            return true;
        }
    }
    false
}

async fn read_request<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    // Roomy from the start: a vector without room is read into piece by piece.
    let mut read = Vec::with_capacity(REQUEST_BYTES_MAX);
    while read.len() < REQUEST_BYTES_MAX {
        match stream.read_buf(&mut read).await {
            Ok(1..) => {}
            _ => break,
        }
        let is_http = read.first().is_some_and(u8::is_ascii_uppercase);
        if !is_http || read.windows(4).any(|end| end == b"\r\n\r\n") {
            break;
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}
