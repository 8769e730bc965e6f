//! The smallest HTTP client that can misbehave: it writes the bytes it is given, in the pieces it is told, and reads
//! whole answers from one connection.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One connection.
pub(crate) struct Raw {
    stream: TcpStream,
    read: Vec<u8>,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// Sends in pieces, giving the other side a turn after each.
    pub(crate) async fn send_in_pieces(&mut self, bytes: &[u8], piece: usize) {
        for piece in bytes.chunks(piece) {
            self.send(piece).await;
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn answer(&mut self) -> RawAnswer {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            assert!(self.more().await, "no whole head: {:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status: u16 = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
        while self.read.len() < end + length {
            assert!(self.more().await, "no whole body");
        }
        let body = self.read[end..end + length].to_vec();
        self.read.drain(..end + length);
        RawAnswer { status, head, body }
    }

    /// The next answer, or `None` when the other side closes without one.
    pub(crate) async fn answer_or_end(&mut self) -> Option<RawAnswer> {
        if self.read.is_empty() && !self.more().await { None } else { Some(self.answer().await) }
    }

    /// Whether the other side closes, having said nothing more.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.more().await
    }

    async fn more(&mut self) -> bool {
        let mut buffer = [0; 4_096];
        let n = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.read.extend_from_slice(&buffer[..n]);
        n > 0
    }
}
