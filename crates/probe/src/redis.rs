//! Redis and Valkey: log in, choose the database, PING, the length of a key by its type, INFO where an assertion asks for
//! it, QUIT. Owns the order of commands, what each error reply means, and the facts; the wire is `resp`'s.
//!
//! A user with `+ping +type +llen ~list` (or zcard, xlen, scard, hlen) is enough; what it may not run is unknown, not down.

mod resp;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use dynowatch_domain::check::kind::RedisCheck;
use dynowatch_domain::check::observation::LengthSample;
use dynowatch_domain::check::target::Target;
use dynowatch_domain::check::{Assertion, Decimal, Note, Phase, Reason, Secret, Value};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Prober;
use crate::connection::Connection;
use crate::trace::{Failure, Trace};
use resp::{Reply, Session};

/// Values of INFO, by the first word of the assertions that need them.
const INFO_ROOTS: [&str; 6] = ["memory", "clients", "role", "evicted_keys", "master_link", "version"];

pub(crate) async fn run(
    prober: &Prober,
    check: &RedisCheck,
    assertions: &[Assertion],
    target: &Target,
    check_timeout: Duration,
    trace: &mut Trace,
) -> Result<(), Failure> {
    let stream = prober.outbound.dial(&target.host, target.port, check.family, trace).await?;
    let connection = if target.tls {
        let address = stream.peer_addr().ok();
        let mut handshake = pin!(prober.tls.handshake(stream, &target.host, &check.tls, &[], trace));
        match timeout(check_timeout / 2, &mut handshake).await {
            Ok(connection) => connection?,
            Err(_) if speaks_plain(address).await => {
                let detail = "the server speaks without TLS: the URL must begin with redis:// instead of rediss://";
                return Err(Failure::new(Reason::TlsMismatch, detail));
            }
            Err(_) => handshake.await?,
        }
    } else {
        Connection::Plain(stream)
    };
    trace.protocol("redis");
    trace.enter(Phase::FirstByte);
    let mut session = Session::new(connection);
    match greet(&mut session, target, trace).await {
        Err(failure) if !target.tls && is_silence(&failure) && trace.phase() == Some(Phase::FirstByte) => {
            return Err(or_mismatch(prober, check, target, failure, trace).await);
        }
        greeted => greeted?,
    }
    if let Some(key) = &check.key {
        length(&mut session, key, trace).await?;
    }
    if assertions.iter().any(|assertion| INFO_ROOTS.contains(&assertion.subject().root.as_str())) {
        info(&mut session, trace).await?;
    }
    // The answer is of no use to anyone, and a server that does not give it has given all the others.
    session.leave(trace).await;
    trace.leave();
    Ok(())
}

/// A cut-off replica, a loading server and a missing password all answer here, and are so by their own words.
async fn greet(session: &mut Session, target: &Target, trace: &mut Trace) -> Result<(), Failure> {
    log_in(session, target, trace).await?;
    let pong = session.ask(&["PING"], trace).await?;
    trace.enter(Phase::Body);
    accept(pong).map(|_| ())
}

/// A plain server waits for ever for the end of what it takes for a command: a TLS handshake has a zero byte where it looks
/// for one. So it is asked, at the same address, in words that any server answers and that hold no secret.
async fn speaks_plain(address: Option<SocketAddr>) -> bool {
    let asked = async {
        let mut stream = TcpStream::connect(address.ok_or(io::ErrorKind::NotConnected)?).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read_u8().await
    };
    matches!(asked.await, Ok(b'+' | b'-'))
}

fn is_silence(failure: &Failure) -> bool {
    matches!(failure.reason, Reason::ConnectionReset | Reason::ClosedEarly)
}

/// A server that hangs up at the first command, without a word, may be one that speaks TLS alone: it is asked.
async fn or_mismatch(
    prober: &Prober,
    check: &RedisCheck,
    target: &Target,
    failure: Failure,
    trace: &mut Trace,
) -> Failure {
    trace.note("the server hung up without a word; does it speak TLS?");
    trace.failed_phase = Some(Phase::FirstByte);
    let Ok(stream) = prober.outbound.dial(&target.host, target.port, check.family, trace).await else { return failure };
    if prober.tls.is_spoken(stream, &target.host, trace.now).await {
        let detail = "the server speaks TLS: the URL must begin with rediss:// instead of redis://";
        return Failure::new(Reason::TlsMismatch, detail);
    }
    failure
}

async fn log_in(session: &mut Session, target: &Target, trace: &mut Trace) -> Result<(), Failure> {
    if let Some(password) = &target.password {
        // "default" is what Heroku writes for "no user", and servers before 6 know no users at all.
        let user = Some(target.user.as_str()).filter(|user| !user.is_empty() && *user != "default");
        let reply = session.authenticate(user, password, trace).await?;
        trace.enter(Phase::Body);
        accept(reply).map_err(|failure| match failure.reason {
            Reason::BadReply => Failure { reason: Reason::AuthFailed, ..failure },
            _ => failure,
        })?;
    }
    let database = target.database.trim_end_matches('/');
    if !database.is_empty() && database != "0" {
        if database.parse::<u32>().is_err() {
            return Err(Failure::new(Reason::RedisNoDatabase, "the path of the URL is no number of a database"));
        }
        let reply = session.ask(&["SELECT", database], trace).await?;
        trace.enter(Phase::Body);
        accept(reply)?;
    }
    Ok(())
}

/// The reply, unless it is an error.
fn accept(reply: Reply) -> Result<Reply, Failure> {
    match reply {
        Reply::Error(text) => Err(Failure::new(reason(&text), text)),
        reply => Ok(reply),
    }
}

/// What a server means by an error. Replies begin with a code word; servers of all versions keep to it, save for `ERR`,
/// where the words count.
fn reason(text: &str) -> Reason {
    let (code, words) = text.split_once(' ').unwrap_or((text, ""));
    let words = words.to_ascii_lowercase();
    match code {
        "NOAUTH" => Reason::AuthRequired,
        "WRONGPASS" => Reason::AuthFailed,
        "LOADING" => Reason::Loading,
        "MASTERDOWN" => Reason::MasterDown,
        "NOPERM" => Reason::NoPermission,
        "WRONGTYPE" => Reason::WrongType,
        "OOM" => Reason::OutOfMemory,
        "MISCONF" => Reason::WritesRefused,
        "READONLY" => Reason::ReadOnly,
        "BUSY" => Reason::Busy,
        "CLUSTERDOWN" | "TRYAGAIN" => Reason::ClusterDown,
        "MOVED" | "ASK" => Reason::KeyElsewhere,
        "DENIED" => Reason::ProtectedMode,
        "ERR" if words.contains("max number of clients") => Reason::MaxClients,
        "ERR" if words.contains("db index") || words.contains("select is not allowed") => Reason::RedisNoDatabase,
        "ERR" if words.contains("invalid password") || words.contains("no password is set") => Reason::AuthFailed,
        "ERR" if words.contains("without any password configured") => Reason::AuthFailed,
        "ERR" if words.contains("operation not permitted") => Reason::AuthRequired,
        _ => Reason::BadReply,
    }
}

/// The command that tells how long a value of a type is.
fn length_command(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "list" => "LLEN",
        "zset" => "ZCARD",
        "stream" => "XLEN",
        "set" => "SCARD",
        "hash" => "HLEN",
        _ => return None,
    })
}

async fn length(session: &mut Session, key: &str, trace: &mut Trace) -> Result<(), Failure> {
    let kind = match session.ask(&["TYPE", key], trace).await? {
        Reply::Simple(kind) => Some(kind),
        // Without TYPE a list is the likeliest; the server says if it is not one.
        Reply::Error(text) if reason(&text) == Reason::NoPermission => None,
        reply => return unexpected(reply, "TYPE"),
    };
    if let Some(kind) = &kind {
        trace.facts.set("key.type", kind.as_str());
    } else {
        trace.facts.set("key.type", Value::absent(Reason::NoPermission, "the user may not run TYPE"));
    }
    if kind.as_deref() == Some("none") {
        if !trace.memory.key_seen {
            trace.notes.push(Note::KeyNeverSeen);
            trace.note(format!("{key:?} is not there and never was"));
        }
        note_length(0, trace);
        return Ok(());
    }
    let command = match kind.as_deref() {
        None => "LLEN",
        Some(kind) => match length_command(kind) {
            Some(command) => command,
            None => return wrong_type(key, kind, trace),
        },
    };
    match session.ask(&[command, key], trace).await? {
        Reply::Integer(length) => note_length(u64::try_from(length).unwrap_or(0), trace),
        Reply::Error(text) if reason(&text) == Reason::NoPermission => {
            trace.facts.set("length", Value::absent(Reason::NoPermission, text.clone()));
            trace.facts.set("length.per_min", Value::absent(Reason::NoPermission, text.clone()));
            trace.find(Reason::NoPermission, text);
        }
        Reply::Error(text) if reason(&text) == Reason::WrongType => {
            return wrong_type(key, "value of another type than a list", trace);
        }
        reply => return unexpected(reply, command),
    }
    Ok(())
}

fn wrong_type(key: &str, kind: &str, trace: &mut Trace) -> Result<(), Failure> {
    let detail = format!(
        "WRONGTYPE: {key:?} is a {kind}; lengths are measured of a list (LLEN), sorted set (ZCARD), stream (XLEN), set \
         (SCARD) or hash (HLEN)"
    );
    for name in ["length", "length.per_min"] {
        trace.facts.set(name, Value::absent(Reason::WrongType, detail.clone()));
    }
    trace.find(Reason::WrongType, detail);
    Ok(())
}

fn note_length(length: u64, trace: &mut Trace) {
    trace.facts.set("length", length);
    trace.memory.key_seen |= length > 0;
    let before = trace.memory.length.replace(LengthSample { at: trace.now, length });
    let growth = before.and_then(|before| growth(before, length, trace));
    let first = || Value::absent(Reason::NotMeasured, "growth is measured from the run before, and there was none");
    trace.facts.set("length.per_min", growth.map_or_else(first, Value::Number));
}

/// Per minute, with three decimals.
fn growth(before: LengthSample, length: u64, trace: &Trace) -> Option<Decimal> {
    let elapsed_us = i128::try_from(trace.now.since(before.at).as_micros()).ok().filter(|elapsed| *elapsed > 0)?;
    let grown = i128::from(length) - i128::from(before.length);
    Some(Decimal::scaled(grown.checked_mul(60_000_000_000)? / elapsed_us, 3))
}

fn unexpected(reply: Reply, command: &str) -> Result<(), Failure> {
    match reply {
        Reply::Error(text) => Err(Failure::new(reason(&text), text)),
        _ => Err(Failure::new(Reason::BadReply, format!("the reply to {command} is of another kind"))),
    }
}

async fn info(session: &mut Session, trace: &mut Trace) -> Result<(), Failure> {
    match session.ask(&["INFO"], trace).await? {
        Reply::Bulk(Some(bytes)) => note_info(&String::from_utf8_lossy(&bytes), trace),
        Reply::Error(text) if reason(&text) == Reason::NoPermission => {
            for name in INFO_FACTS {
                trace.facts.set(*name, Value::absent(Reason::NoPermission, text.clone()));
            }
        }
        reply => return unexpected(reply, "INFO"),
    }
    Ok(())
}

const INFO_FACTS: &[&str] = &[
    "memory.used",
    "memory.max",
    "memory.percent",
    "clients.connected",
    "clients.max",
    "clients.percent",
    "evicted_keys",
    "role",
    "master_link",
    "version",
];

fn note_info(text: &str, trace: &mut Trace) {
    let field = |name: &str| {
        let of_line = |line: &'_ str| line.strip_prefix(name)?.strip_prefix(':').map(|value| value.trim().to_owned());
        text.lines().find_map(of_line)
    };
    let number = |name: &str| field(name).and_then(|value| value.parse::<u64>().ok());
    let valkey = field("valkey_version");
    if valkey.is_some() {
        trace.protocol("valkey");
    }
    let not_told = |name: &str| Value::absent(Reason::NotMeasured, format!("INFO does not tell {name}"));
    let or_absent = |value: Option<u64>, name: &str| value.map_or_else(|| not_told(name), Value::from);
    let text_or_absent = |value: Option<String>, name: &str| value.map_or_else(|| not_told(name), Value::Text);

    let (used, max) = (number("used_memory"), number("maxmemory"));
    trace.facts.set("memory.used", or_absent(used, "used_memory"));
    let unlimited = || Value::absent(Reason::NotMeasured, "the server has no limit of memory (maxmemory is 0)");
    trace.facts.set("memory.max", if max == Some(0) { unlimited() } else { or_absent(max, "maxmemory") });
    let share = used.zip(max).and_then(|(used, max)| Decimal::percent(used, max));
    trace.facts.set("memory.percent", share.map_or_else(unlimited, Value::Number));
    let (connected, most) = (number("connected_clients"), number("maxclients"));
    trace.facts.set("clients.connected", or_absent(connected, "connected_clients"));
    trace.facts.set("clients.max", or_absent(most, "maxclients"));
    let share = connected.zip(most).and_then(|(connected, most)| Decimal::percent(connected, most));
    trace.facts.set("clients.percent", share.map_or_else(|| not_told("maxclients"), Value::Number));
    trace.facts.set("evicted_keys", or_absent(number("evicted_keys"), "evicted_keys"));
    trace.facts.set("role", text_or_absent(field("role"), "role"));
    let link = || Value::absent(Reason::NotMeasured, "the server is not a replica");
    trace.facts.set("master_link", field("master_link_status").map_or_else(link, Value::Text));
    trace.facts.set("version", text_or_absent(valkey.or_else(|| field("redis_version")), "redis_version"));

    let is_full = used.zip(max).is_some_and(|(used, max)| max > 0 && used >= max);
    if is_full && field("maxmemory_policy").as_deref() == Some("noeviction") {
        let detail = format!(
            "{} of {} bytes are used and nothing is evicted (noeviction): writes get OOM",
            used.unwrap_or(0),
            max.unwrap_or(0)
        );
        trace.find(Reason::OutOfMemory, detail);
    }
}

/// What is said in place of a password.
pub(crate) fn shown_auth(user: Option<&str>) -> String {
    match user {
        Some(user) => format!("AUTH {user} [masked]"),
        None => "AUTH [masked]".to_owned(),
    }
}

impl Session {
    async fn authenticate(
        &mut self,
        user: Option<&str>,
        password: &Secret,
        trace: &mut Trace,
    ) -> Result<Reply, Failure> {
        let mut words = vec!["AUTH"];
        words.extend(user);
        words.push(password.expose());
        self.ask_as(&words, &shown_auth(user), trace).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The replies as servers write them.
    #[test]
    fn every_error_has_its_reason() {
        for (text, want) in [
            ("NOAUTH Authentication required.", Reason::AuthRequired),
            ("ERR operation not permitted", Reason::AuthRequired),
            ("WRONGPASS invalid username-password pair or user is disabled.", Reason::AuthFailed),
            ("ERR invalid password", Reason::AuthFailed),
            ("ERR Client sent AUTH, but no password is set", Reason::AuthFailed),
            (
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                Reason::AuthFailed,
            ),
            ("ERR max number of clients reached", Reason::MaxClients),
            ("LOADING Redis is loading the dataset in memory", Reason::Loading),
            ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", Reason::MasterDown),
            ("NOPERM this user has no permissions to run the 'llen' command", Reason::NoPermission),
            ("WRONGTYPE Operation against a key holding the wrong kind of value", Reason::WrongType),
            ("ERR DB index is out of range", Reason::RedisNoDatabase),
            ("ERR invalid DB index", Reason::RedisNoDatabase),
            ("ERR SELECT is not allowed in cluster mode", Reason::RedisNoDatabase),
            ("OOM command not allowed when used memory > 'maxmemory'.", Reason::OutOfMemory),
            (
                "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
                Reason::WritesRefused,
            ),
            ("BUSY Redis is busy running a script.", Reason::Busy),
            ("CLUSTERDOWN Hash slot not served", Reason::ClusterDown),
            ("MOVED 3999 127.0.0.1:6381", Reason::KeyElsewhere),
            ("DENIED Redis is running in protected mode", Reason::ProtectedMode),
            ("READONLY You can't write against a read only replica.", Reason::ReadOnly),
            ("ERR unknown command", Reason::BadReply),
            ("", Reason::BadReply),
        ] {
            assert_eq!(reason(text), want, "{text}");
        }
    }
}
