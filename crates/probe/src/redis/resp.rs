//! The Redis protocol, as much of it as a check needs: commands as arrays of texts, and replies that are no arrays.
//!
//! A client of our own, because a whole one hides what a check is about: the phases, the words of an error reply, the
//! chain of certificates, and one session that opens no second one. The protocol is a page long.

use dynowatch_domain::check::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connection::Connection;
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// The longest line of a reply.
const LINE_BYTES_MAX: usize = 4 << 10;
/// The longest text of a reply: INFO of a large server has some 10 kB.
const BULK_BYTES_MAX: usize = 256 << 10;

/// What one read may bring.
const READ_BYTES: usize = 4 << 10;

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reply {
    Simple(String),
    Error(String),
    Integer(i64),
    Bulk(Option<Vec<u8>>),
}

/// A connection that asks and waits for the answer, one at a time.
pub(super) struct Session {
    connection: Connection,
    read: Vec<u8>,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, read: Vec::with_capacity(READ_BYTES) }
    }

    pub(super) async fn ask(&mut self, words: &[&str], trace: &mut Trace) -> Result<Reply, Failure> {
        let shown = words.join(" ");
        self.ask_as(words, &shown, trace).await
    }

    /// `shown` goes into the transcript.
    pub(super) async fn ask_as(&mut self, words: &[&str], shown: &str, trace: &mut Trace) -> Result<Reply, Failure> {
        trace.sent(shown);
        // A server that refuses a client answers first and hangs up, so a failed write does not mean that there is
        // nothing to read.
        let written = self.write(words).await;
        let reply = match (self.reply().await, written) {
            (Ok(reply), _) => reply,
            (Err(failure), Ok(())) => return Err(failure),
            (Err(_), Err(failure)) => return Err(failure),
        };
        trace.received(match &reply {
            Reply::Simple(text) => text.clone(),
            Reply::Error(text) => format!("-{text}"),
            Reply::Integer(number) => number.to_string(),
            Reply::Bulk(bytes) => format!("{} bytes", bytes.as_ref().map_or(0, Vec::len)),
        });
        Ok(reply)
    }

    /// Says good-bye and closes.
    pub(super) async fn leave(&mut self, trace: &mut Trace) {
        trace.sent("QUIT");
        if self.write(&["QUIT"]).await.is_ok() {
            _ = self.reply().await;
        }
        _ = self.connection.shutdown().await;
    }

    async fn write(&mut self, words: &[&str]) -> Result<(), Failure> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            bytes.extend_from_slice(word.as_bytes());
            bytes.extend_from_slice(b"\r\n");
        }
        let sent = async {
            self.connection.write_all(&bytes).await?;
            self.connection.flush().await
        };
        sent.await.map_err(|error| io_failure(&error, "sending"))
    }

    async fn reply(&mut self) -> Result<Reply, Failure> {
        let line = self.line().await?;
        let Some(kind) = line.chars().next() else { return Err(bad("it begins with an empty line")) };
        let rest = line.get(kind.len_utf8()..).unwrap_or("").to_owned();
        match kind {
            '+' => Ok(Reply::Simple(rest)),
            '-' => Ok(Reply::Error(rest)),
            ':' => rest.parse().map(Reply::Integer).map_err(|_| bad("a number that is none")),
            '$' if rest == "-1" => Ok(Reply::Bulk(None)),
            '$' => {
                let length: usize = rest.parse().map_err(|_| bad("a length that is none"))?;
                if length > BULK_BYTES_MAX {
                    return Err(Failure::new(Reason::ReplyTooLarge, format!("a reply of {length} bytes")));
                }
                while self.read.len() < length + 2 {
                    self.more().await?;
                }
                let bytes: Vec<u8> = self.read.drain(..length + 2).take(length).collect();
                Ok(Reply::Bulk(Some(bytes)))
            }
            '\u{15}' | '\u{16}' | '\u{fffd}' => Err(Failure::new(
                Reason::TlsMismatch,
                "the server answers in TLS: the URL must begin with rediss:// instead of redis://",
            )),
            _ => Err(bad("it begins with no sign of the Redis protocol")),
        }
    }

    async fn line(&mut self) -> Result<String, Failure> {
        loop {
            // A TLS alert has no line end.
            if matches!(self.read.first(), Some(0x15 | 0x16)) {
                return Ok("\u{15}".to_owned());
            }
            if let Some(end) = self.read.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.read.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned());
            }
            if self.read.len() > LINE_BYTES_MAX {
                return Err(bad("its first line does not end"));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Failure> {
        let before = self.read.len();
        let read = self.connection.read_buf(&mut self.read).await;
        match read.map_err(|error| io_failure(&error, "reading"))? {
            0 if before == 0 => {
                Err(Failure::new(Reason::ClosedEarly, "the server closed the connection without an answer"))
            }
            0 => Err(Failure::new(Reason::ClosedEarly, "the server closed the connection within an answer")),
            _ => Ok(()),
        }
    }
}

fn bad(what: &str) -> Failure {
    Failure::new(Reason::BadReply, format!("the answer is not that of a Redis server: {what}"))
}
