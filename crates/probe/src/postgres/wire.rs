//! Postgres's protocol, version 3, as much of it as a check needs: start, one statement after the other, leave.
//!
//! A client of our own: sqlx, which the store uses, connects in one step, shows neither the phases nor the chain of
//! certificates, and keeps what it learns of an error's code behind its own types. Messages are read with a cap, since a
//! length is whatever the other side says.

use dynowatch_domain::check::Reason;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::connection::Connection;
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// The longest message that is read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;
/// What one read may bring.
const READ_BYTES: usize = 8 << 10;
/// The most rows that are kept of a result.
pub(super) const ROWS_MAX: u32 = 1_000;

/// An error that the server reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    /// SQLSTATE.
    pub(super) code: String,
    pub(super) message: String,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The server says why.
    Server(ServerError),
    /// It does not.
    Wire(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Wire(failure)
    }
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The number of its type in `pg_type`.
    pub(super) oid: u32,
}

/// A result, its values as texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) columns: Vec<Column>,
    /// At most [`ROWS_MAX`].
    pub(super) rows: Vec<Vec<Option<String>>>,
    /// How many there were.
    pub(super) count: u64,
}

/// One message: its sign and its content.
pub(super) struct Message {
    pub(super) sign: u8,
    pub(super) content: Vec<u8>,
}

/// A connection with what was read of it.
pub(super) struct Session {
    connection: Connection,
    read: Vec<u8>,
    /// What the server said of itself when it started: `server_version`.
    pub(super) version: String,
}

impl Session {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection, read: Vec::with_capacity(READ_BYTES), version: String::new() }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let sent = async {
            self.connection.write_all(bytes).await?;
            self.connection.flush().await
        };
        sent.await.map_err(|error| io_failure(&error, "sending"))
    }

    /// The next message that is no notice.
    pub(super) async fn message(&mut self) -> Result<Message, Failure> {
        loop {
            while self.read.len() < 5 {
                self.more().await?;
            }
            let sign = self.read.first().copied().unwrap_or(0);
            let length = self.read.get(1..5).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_be_bytes);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            if !sign.is_ascii_alphanumeric() || length < 4 {
                return Err(bad("it is not that of a Postgres server"));
            }
            if length > MESSAGE_BYTES_MAX {
                return Err(Failure::new(Reason::ReplyTooLarge, format!("a message of {length} bytes")));
            }
            while self.read.len() < length + 1 {
                self.more().await?;
            }
            let content: Vec<u8> = self.read.drain(..=length).skip(5).collect();
            // Notices and parameters may come at any time.
            match sign {
                b'N' | b'A' => {}
                b'S' => self.parameter(&content),
                _ => return Ok(Message { sign, content }),
            }
        }
    }

    fn parameter(&mut self, content: &[u8]) {
        let mut fields = Fields(content);
        if let (Some(name), Some(value)) = (fields.text(), fields.text())
            && name == "server_version"
        {
            self.version = value;
        }
    }

    async fn more(&mut self) -> Result<(), Failure> {
        let read = self.connection.read_buf(&mut self.read).await;
        match read.map_err(|error| io_failure(&error, "reading"))? {
            0 => Err(Failure::new(Reason::ClosedEarly, "the server closed the connection without a word")),
            _ => Ok(()),
        }
    }

    /// Statements of ours, by the simple protocol: the rows of the last one that has any.
    pub(super) async fn ask(&mut self, sql: &str) -> Result<Rows, Trouble> {
        let mut body = sql.as_bytes().to_vec();
        body.push(0);
        self.send(&framed(b'Q', &body)).await?;
        self.result().await
    }

    /// One statement of the check's, by the extended protocol, which takes no second one behind a semicolon; at most
    /// [`ROWS_MAX`] rows are fetched.
    pub(super) async fn ask_one(&mut self, sql: &str) -> Result<Rows, Trouble> {
        let mut parse = vec![0];
        parse.extend_from_slice(sql.as_bytes());
        parse.extend_from_slice(&[0, 0, 0]);
        let mut bytes = framed(b'P', &parse);
        // Unnamed portal of the unnamed statement; no parameters; results as text.
        bytes.extend(framed(b'B', &[0, 0, 0, 0, 0, 0, 0, 0]));
        bytes.extend(framed(b'D', b"P\0"));
        let mut execute = vec![0];
        execute.extend_from_slice(&ROWS_MAX.to_be_bytes());
        bytes.extend(framed(b'E', &execute));
        bytes.extend(framed(b'S', &[]));
        self.send(&bytes).await?;
        self.result().await
    }

    /// Everything up to `ReadyForQuery`. An error does not end it: the server still says when it is ready.
    async fn result(&mut self) -> Result<Rows, Trouble> {
        let (mut rows, mut error) = (Rows::default(), None);
        loop {
            let message = match self.message().await {
                Ok(message) => message,
                // A server that ends a session says why and hangs up.
                Err(failure) => return Err(error.map_or(Trouble::Wire(failure), Trouble::Server)),
            };
            match message.sign {
                b'T' => {
                    let columns = columns(&message.content).ok_or_else(|| bad("its columns cannot be read"))?;
                    rows = Rows { columns, ..Rows::default() };
                }
                b'D' => {
                    rows.count += 1;
                    if rows.rows.len() < ROWS_MAX as usize {
                        rows.rows.push(values(&message.content).ok_or_else(|| bad("a row cannot be read"))?);
                    }
                }
                b'E' => error = error.or_else(|| Some(server_error(&message.content))),
                b'Z' => return error.map_or(Ok(rows), |error| Err(Trouble::Server(error))),
                // Completion of each step, an empty result, more rows than asked for.
                b'C' | b'1' | b'2' | b'n' | b's' | b'I' => {}
                _ => return Err(bad("a message has no place there").into()),
            }
        }
    }

    /// Says good-bye and closes.
    pub(super) async fn leave(&mut self, trace: &mut Trace) {
        trace.sent("Terminate");
        _ = self.send(&framed(b'X', &[])).await;
        _ = self.connection.shutdown().await;
    }
}

pub(super) fn bad(what: &str) -> Failure {
    Failure::new(Reason::BadReply, format!("the answer cannot be used: {what}"))
}

/// A message with its sign and length.
pub(super) fn framed(sign: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![sign];
    out.extend_from_slice(&length(body.len() + 4));
    out.extend_from_slice(body);
    out
}

pub(super) fn length(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

/// Fields of a message, one after the other.
pub(super) struct Fields<'m>(pub(super) &'m [u8]);

impl<'m> Fields<'m> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    /// Up to the next zero byte.
    pub(super) fn text(&mut self) -> Option<String> {
        let end = self.0.iter().position(|byte| *byte == 0)?;
        let text = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.take(1)?;
        Some(text)
    }
}

fn columns(content: &[u8]) -> Option<Vec<Column>> {
    let mut fields = Fields(content);
    let count = fields.u16()?;
    let mut columns = Vec::new();
    for _ in 0..count {
        let name = fields.text()?;
        fields.take(6)?; // table and number of the column
        let oid = fields.u32()?;
        fields.take(8)?; // size, modifier, format
        columns.push(Column { name, oid });
    }
    Some(columns)
}

fn values(content: &[u8]) -> Option<Vec<Option<String>>> {
    let mut fields = Fields(content);
    let count = fields.u16()?;
    let mut values = Vec::new();
    for _ in 0..count {
        values.push(match fields.u32()? {
            u32::MAX => None,
            length => Some(String::from_utf8_lossy(fields.take(usize::try_from(length).ok()?)?).into_owned()),
        });
    }
    Some(values)
}

pub(super) fn server_error(content: &[u8]) -> ServerError {
    let mut fields = Fields(content);
    let mut error = ServerError { code: String::new(), message: String::new() };
    while let Some(&[kind]) = fields.take(1) {
        let Some(text) = fields.text() else { break };
        match kind {
            b'C' => error.code = text,
            b'M' => error.message = text,
            _ => {}
        }
    }
    error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn errors_are_read() {
        let error = server_error(b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0Fauth.c\0\0");
        assert_eq!((error.code.as_str(), error.message.as_str()), ("28P01", "password authentication failed"));
        assert_eq!(server_error(b"").code, "");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            _ = columns(&bytes);
            _ = values(&bytes);
            _ = server_error(&bytes);
        }
    }
}
