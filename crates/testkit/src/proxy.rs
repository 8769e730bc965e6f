//! A TCP proxy on loopback that can be cut, restored and stalled: how a test takes the store away.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinSet};

/// Passes connections on to one target. Dropping it ends all of them.
pub struct Proxy {
    address: SocketAddr,
    commands: mpsc::Sender<(Command, oneshot::Sender<()>)>,
    task: AbortHandle,
}

#[derive(Clone, Copy)]
enum Command {
    Cut,
    Restore,
    Stall,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When there is no free port, or outside of a tokio runtime.
    pub async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port on 127.0.0.1");
        let address = listener.local_addr().expect("the address of a listener");
        let (commands, received) = mpsc::channel(1);
        let task = tokio::spawn(run(listener, target, received)).abort_handle();
        Self { address, commands, task }
    }

    /// Where to connect to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all connections and refuses new ones. Done when this returns.
    pub async fn cut(&self) {
        self.send(Command::Cut).await;
    }

    /// Lets bytes and connections through again, after a cut or a stall.
    pub async fn restore(&self) {
        self.send(Command::Restore).await;
    }

    /// Keeps connections open and accepts new ones, but no byte passes: a network that swallows.
    pub async fn stall(&self) {
        self.send(Command::Stall).await;
    }

    async fn send(&self, command: Command) {
        let (done, wait) = oneshot::channel();
        self.commands.send((command, done)).await.expect("the proxy runs");
        wait.await.expect("the proxy runs");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The proxy's port, held in either state, so that no other process can take it while we refuse.
enum Port {
    Listening(TcpListener),
    /// Bound but not listening: the kernel refuses connections.
    Refusing(TcpSocket),
}

async fn run(listener: TcpListener, target: SocketAddr, mut commands: mpsc::Receiver<(Command, oneshot::Sender<()>)>) {
    let address = listener.local_addr().expect("the address of a listener");
    let mut port = Port::Listening(listener);
    let stalled = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        tokio::select! {
            command = commands.recv() => {
                let Some((command, done)) = command else { return };
                port = match (command, port) {
                    (Command::Cut, port) => {
                        drop(port);
                        connections.shutdown().await;
                        Port::Refusing(bind(address))
                    }
                    (_, Port::Refusing(socket)) => {
                        Port::Listening(socket.listen(1024).expect("a bound socket listens"))
                    }
                    (_, port) => port,
                };
                stalled.send_replace(matches!(command, Command::Stall));
                // Whoever asked may be gone.
                let _asker = done.send(());
            }
            Some(client) = accept(&port) => {
                connections.spawn(connect(client, target, stalled.subscribe()));
            }
        }
    }
}

/// The next connection; never while refusing.
async fn accept(port: &Port) -> Option<TcpStream> {
    match port {
        Port::Listening(listener) => listener.accept().await.ok().map(|(client, _)| client),
        Port::Refusing(_) => std::future::pending().await,
    }
}

fn bind(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_reuseaddr(true).expect("an option of every TCP socket");
    socket.bind(address).expect("the port was ours a moment ago");
    socket
}

async fn connect(client: TcpStream, target: SocketAddr, stalled: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _options = (client.set_nodelay(true), server.set_nodelay(true));
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // The first end of either direction ends the connection, which is all that Postgres and HTTP need.
    tokio::select! {
        () = pump(from_client, to_server, stalled.clone()) => {}
        () = pump(from_server, to_client, stalled.clone()) => {}
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut stalled: watch::Receiver<bool>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        if stalled.wait_for(|stalled| !stalled).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
