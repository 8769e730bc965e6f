//! From a host's name to a session: dial, ask for TLS, start, prove the password. Owns the start message and the ways of
//! logging in; SCRAM's arithmetic is `scram`'s.

use data_encoding::HEXLOWER;
use dynowatch_domain::check::kind::PostgresCheck;
use dynowatch_domain::check::target::Target;
use dynowatch_domain::check::{Phase, Reason, Secret};
use md5::{Digest, Md5};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::scram::{BadChallenge, Scram};
use super::wire::{Fields, Message, ServerError, Session, bad, framed, length, server_error};
use crate::Prober;
use crate::connection::Connection;
use crate::outbound::io_failure;
use crate::trace::{Failure, Trace};

/// "Do you speak TLS?", in place of a start message.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
const PROTOCOL_3_0: [u8; 4] = [0, 3, 0, 0];
/// More messages do not come before a session is ready.
const MESSAGES_MAX: usize = 100;

/// A session that is ready.
pub(super) async fn open(
    prober: &Prober,
    check: &PostgresCheck,
    target: &Target,
    statement_ms: u64,
    trace: &mut Trace,
) -> Result<Session, Failure> {
    let settings =
        [("statement_timeout", statement_ms.to_string()), ("default_transaction_read_only", "on".to_owned())];
    match start(prober, check, target, &settings, trace).await? {
        Ok(session) => Ok(session),
        // A connection pooler lends out sessions and takes no settings for them. It refused before there was a session,
        // so this is still the only one. Every transaction is read-only and timed by itself, too.
        Err(error) if error.code == "08P01" && error.message.contains("startup parameter") => {
            trace.note("a connection pooler: once more without settings of the session");
            trace.next_hop();
            start(prober, check, target, &[], trace).await?.map_err(|error| super::failure(&error))
        }
        Err(error) => Err(super::failure(&error)),
    }
}

async fn start(
    prober: &Prober,
    check: &PostgresCheck,
    target: &Target,
    settings: &[(&str, String)],
    trace: &mut Trace,
) -> Result<Result<Session, ServerError>, Failure> {
    let stream = prober.outbound.dial(&target.host, target.port, check.family, trace).await?;
    trace.protocol("postgres");
    let connection = if target.tls {
        let stream = ask_for_tls(stream, trace).await?;
        prober.tls.handshake(stream, &target.host, &check.tls, &[], trace).await?
    } else {
        Connection::Plain(stream)
    };
    trace.enter(Phase::FirstByte);
    let mut session = Session::new(connection);
    let database = if target.database.is_empty() { &target.user } else { &target.database };
    trace.sent(format!("start as {} in database {database}", target.user));
    session.send(&start_message(target, database, settings)).await?;
    let mut login = Login { target, prober, scram: None, proof: None };
    for _ in 0..MESSAGES_MAX {
        let message = session.message().await?;
        match message.sign {
            b'E' => {
                let error = server_error(&message.content);
                trace.received(format!("error {}: {}", error.code, error.message));
                return Ok(Err(error));
            }
            b'R' => {
                if let Some(answer) = login.answer(&message, trace)? {
                    session.send(&answer).await?;
                }
            }
            // The key to cancel with is of no use to us.
            b'K' | b'v' => {}
            b'Z' => {
                trace.received(format!("ready, server {}", session.version));
                return Ok(Ok(session));
            }
            _ => return Err(bad("a message has no place in a start")),
        }
    }
    Err(bad("the start does not end"))
}

async fn ask_for_tls(mut stream: TcpStream, trace: &mut Trace) -> Result<TcpStream, Failure> {
    trace.enter(Phase::Tls);
    trace.sent("asks for TLS");
    let mut answer = [0];
    let asked = async {
        stream.write_all(&SSL_REQUEST).await?;
        // One byte and no more: what follows belongs to the handshake.
        stream.read_exact(&mut answer).await
    };
    asked.await.map_err(|error| io_failure(&error, "asking for TLS"))?;
    match answer {
        [b'S'] => Ok(stream),
        [b'N'] => Err(Failure::new(
            Reason::TlsRefused,
            "the server does not speak TLS; if that is meant, the URL says so with ?sslmode=disable",
        )),
        _ => Err(bad("it is not that of a Postgres server")),
    }
}

fn start_message(target: &Target, database: &str, settings: &[(&str, String)]) -> Vec<u8> {
    let mut body = PROTOCOL_3_0.to_vec();
    let fixed = [
        ("user", target.user.as_str()),
        ("database", database),
        ("application_name", "dynowatch check"),
        ("client_encoding", "UTF8"),
    ];
    for (name, value) in fixed.into_iter().chain(settings.iter().map(|(name, value)| (*name, value.as_str()))) {
        for text in [name, value] {
            // A zero byte would end the text; no name has one.
            body.extend(text.bytes().filter(|byte| *byte != 0));
            body.push(0);
        }
    }
    body.push(0);
    let mut message = length(body.len() + 4).to_vec();
    message.extend(body);
    message
}

struct Login<'t> {
    target: &'t Target,
    prober: &'t Prober,
    scram: Option<Scram>,
    /// What the server must prove in the end.
    proof: Option<String>,
}

impl Login<'_> {
    /// What is said to a demand; nothing to "welcome".
    fn answer(&mut self, message: &Message, trace: &mut Trace) -> Result<Option<Vec<u8>>, Failure> {
        let mut fields = Fields(&message.content);
        let kind = fields.u32().ok_or_else(|| bad("a demand for a password cannot be read"))?;
        match kind {
            0 => {
                // With SCRAM a server that does not know the password must not pass for the one that does.
                if self.scram.is_some() && self.proof.is_some() {
                    return Err(Failure::new(
                        Reason::BadReply,
                        "the server welcomes us without proving that it knows the password",
                    ));
                }
                trace.received("welcome");
                Ok(None)
            }
            3 => {
                trace.received("wants the password");
                trace.sent("password [masked]");
                Ok(Some(password_message(self.password()?.expose())))
            }
            5 => {
                trace.received("wants the password by MD5");
                let salt = fields.take(4).ok_or_else(|| bad("a demand for a password cannot be read"))?;
                let inner = hex_md5(&[self.password()?.expose().as_bytes(), self.target.user.as_bytes()]);
                let outer = hex_md5(&[inner.as_bytes(), salt]);
                trace.sent("password [masked]");
                Ok(Some(password_message(&format!("md5{outer}"))))
            }
            10 => self.begin_scram(fields, trace).map(Some),
            11 => self.continue_scram(fields, trace).map(Some),
            12 => self.end_scram(fields).map(|()| None),
            other => Err(bad(&format!("it wants a login of kind {other}, which checks do not know"))),
        }
    }

    fn password(&self) -> Result<&Secret, Failure> {
        self.target
            .password
            .as_ref()
            .ok_or_else(|| Failure::new(Reason::AuthRequired, "the server wants a password and the URL has none"))
    }

    fn begin_scram(&mut self, mut fields: Fields<'_>, trace: &mut Trace) -> Result<Vec<u8>, Failure> {
        let mut offered = std::iter::from_fn(|| fields.text());
        if !offered.any(|name| name == "SCRAM-SHA-256") {
            return Err(bad("it offers no SCRAM-SHA-256"));
        }
        trace.received("wants the password by SCRAM-SHA-256");
        // The randomness of the TLS library: a nonce of the same kind as those in its handshakes.
        let mut nonce = [0; 18];
        self.prober
            .tls
            .provider
            .secure_random
            .fill(&mut nonce)
            .map_err(|_| Failure::new(Reason::ProberFailed, "there is no randomness"))?;
        let scram = Scram::new(self.password()?.expose(), data_encoding::BASE64URL.encode(&nonce));
        let first = scram.first();
        self.scram = Some(scram);
        let mut body = b"SCRAM-SHA-256\0".to_vec();
        body.extend(length(first.len()));
        body.extend(first.as_bytes());
        trace.sent("proof of the password [masked]");
        Ok(framed(b'p', &body))
    }

    fn continue_scram(&mut self, fields: Fields<'_>, _trace: &mut Trace) -> Result<Vec<u8>, Failure> {
        let challenge = std::str::from_utf8(fields.0).map_err(|_| bad("a challenge is no text"))?;
        let scram = self.scram.as_ref().ok_or_else(|| bad("a challenge comes unasked"))?;
        let (answer, proof) =
            scram.answer(challenge).map_err(|BadChallenge(why)| bad(&format!("a challenge of SCRAM: {why}")))?;
        self.proof = Some(proof);
        Ok(framed(b'p', answer.as_bytes()))
    }

    fn end_scram(&mut self, fields: Fields<'_>) -> Result<(), Failure> {
        let given = std::str::from_utf8(fields.0).unwrap_or_default();
        match self.proof.take() {
            Some(proof) if given.split(',').next() == Some(&proof) => Ok(()),
            _ => Err(Failure::new(Reason::BadReply, "the server cannot prove that it knows the password")),
        }
    }
}

fn password_message(text: &str) -> Vec<u8> {
    let mut body = text.as_bytes().to_vec();
    body.push(0);
    framed(b'p', &body)
}

fn hex_md5(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    for part in parts {
        hash.update(part);
    }
    HEXLOWER.encode(&hash.finalize())
}
