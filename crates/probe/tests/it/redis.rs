//! Redis checks against real servers, each set up to fail in its own way.

use std::time::Duration;

use dynowatch_domain::check::kind::{Family, RedisCheck, Source, TlsMode};
use dynowatch_domain::check::{Check, CheckKind, Memory, Note, Outcome, Reason};
use dynowatch_testkit::redis::Redis;
use dynowatch_testkit::stub_server::{Step, StubServer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::common::*;

fn redis(url: &str, key: Option<&str>, assertions: &[&str]) -> Check {
    let (url, key) = (Source::Url(secret(url)), key.map(str::to_owned));
    check(CheckKind::Redis(RedisCheck { url, key, family: Family::Any, tls: TlsMode::Pin }), assertions)
}

fn at(server: &Redis) -> String {
    format!("redis://127.0.0.1:{}", server.port())
}

#[tokio::test]
async fn lengths_are_measured_by_type() {
    let server = Redis::start(&[]).await;
    for command in [
        "RPUSH list a b c",
        "ZADD zset 1 a 2 b",
        "XADD stream * a b",
        "SADD set a b c d",
        "HSET hash a 1",
        "SET text hello",
    ] {
        server.command(&command.split(' ').collect::<Vec<_>>()).await;
    }
    let prober = prober(&[]);
    for (key, length) in [("list", 3), ("zset", 2), ("stream", 1), ("set", 4), ("hash", 1)] {
        let assertion = format!("length = {length}");
        let kind = format!("key.type = \"{key}\"");
        assert_up(&run(&prober, &redis(&at(&server), Some(key), &[&assertion, &kind])).await);
    }
    // A15: not down, and nobody is paged.
    let wrong = run(&prober, &redis(&at(&server), Some("text"), &["length < 5"])).await;
    assert_reason(&wrong, Reason::WrongType, "WRONGTYPE: \"text\" is a string");
    assert!(wrong.observation.detail.contains("ZCARD"), "{}", wrong.observation.detail);
    assert_eq!(wrong.observation.outcome, Outcome::Unknown);
    assert!(wrong.observation.reason.unwrap().is_misconfigured());
    // The session is not left behind.
    let clients = server.command(&["CLIENT", "LIST"]).await;
    assert_eq!(clients.lines().count(), 1, "{clients}");
}

/// A14, and how fast it grows.
#[tokio::test]
async fn a_threshold_clears_at_its_clear_level() {
    let server = Redis::start(&[]).await;
    let prober = prober(&[]);
    let check = redis(&at(&server), Some("queue"), &["length < 500 clear 450"]);
    let mut memory = Memory::default();
    for (length, up) in [(499, true), (501, false), (480, false), (449, true)] {
        server.command(&["DEL", "queue"]).await;
        server
            .command(&["EVAL", "for i = 1, ARGV[1] do redis.call('RPUSH', 'queue', i) end", "0", &length.to_string()])
            .await;
        let run = run_after(&prober, &check, &memory).await;
        assert_eq!(run.observation.outcome == Outcome::Up, up, "{length}: {}", run.observation.detail);
        assert_eq!(run.observation.assertions[0].seen, length.to_string());
        memory = run.memory;
    }
    // Half a minute later there are 30 more: 60 a minute.
    let growing = redis(&at(&server), Some("queue"), &["length.per_min <= 59"]);
    let mut before = memory.clone();
    let sample = before.length.as_mut().unwrap();
    (sample.at, sample.length) = (now() - Duration::from_secs(30), 419);
    let grown = run_after(&prober, &growing, &before).await;
    assert_reason(&grown, Reason::AssertionFailed, "length.per_min is 60, not <= 59");
    let first = run(&prober, &growing).await;
    assert_reason(&first, Reason::NotMeasured, "growth is measured from the run before");
}

#[tokio::test]
async fn a_key_that_never_was_is_told() {
    let server = Redis::start(&[]).await;
    let (prober, check) = (prober(&[]), redis(&at(&server), Some("quueue"), &["length < 5"]));
    let typo = run(&prober, &check).await;
    assert_up(&typo);
    assert_eq!(typo.observation.notes, [Note::KeyNeverSeen]);
    assert_eq!((fact(&typo, "length"), fact(&typo, "key.type")), ("0".to_owned(), "\"none\"".to_owned()));
    server.command(&["RPUSH", "quueue", "a"]).await;
    let seen = run_after(&prober, &check, &typo.memory).await;
    assert!(seen.memory.key_seen);
    server.command(&["DEL", "quueue"]).await;
    // An empty list is no list for Redis: it was there, and that is enough.
    let empty = run_after(&prober, &check, &seen.memory).await;
    assert_up(&empty);
    assert!(empty.observation.notes.is_empty());
}

#[tokio::test]
async fn passwords_and_users() {
    let server = Redis::start(&["--requirepass", "s3cret/pw"]).await;
    let cli = |words: &'static str| {
        let mut all = vec!["--no-auth-warning", "-a", "s3cret/pw"];
        all.extend(words.split(' '));
        all
    };
    server.command(&cli("ACL SETUSER watcher on >w4tcher resetkeys ~queue +ping +type +llen")).await;
    server.command(&cli("ACL SETUSER blind on >bl1nd-pw ~queue +ping")).await;
    server.command(&cli("ACL SETUSER listing on >l1sting ~queue +ping +llen")).await;
    server.command(&cli("RPUSH queue a b")).await;
    let port = server.port();
    let prober = prober(&[]);
    for (user, assertions, want) in [
        (":s3cret%2Fpw@", &["length = 2"][..], None),
        ("default:s3cret%2Fpw@", &["length = 2"], None),
        ("watcher:w4tcher@", &["length = 2"], None),
        ("listing:l1sting@", &["length = 2"], None),
        ("", &[], Some((Reason::AuthRequired, "NOAUTH"))),
        (":wr0ng-pw@", &[], Some((Reason::AuthFailed, "WRONGPASS"))),
        ("nobody:wr0ng-pw@", &[], Some((Reason::AuthFailed, "WRONGPASS"))),
        // What the user may not see is unknown, not down.
        ("blind:bl1nd-pw@", &["length = 2"], Some((Reason::NoPermission, "NOPERM"))),
        ("watcher:w4tcher@", &["length = 2", "memory.used > 0"], Some((Reason::NoPermission, "NOPERM"))),
    ] {
        let check = redis(&format!("redis://{user}127.0.0.1:{port}"), Some("queue"), assertions);
        let run = run(&prober, &check).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => {
                assert_reason(&run, reason, detail);
                assert_eq!(run.observation.outcome, reason.outcome());
            }
        }
        assert_hidden(&run, &["s3cret/pw", "s3cret%2Fpw", "w4tcher", "wr0ng-pw", "bl1nd-pw", "l1sting"]);
    }
    // Only the assertion that it concerns is unknown.
    let check =
        redis(&format!("redis://watcher:w4tcher@127.0.0.1:{port}"), Some("queue"), &["length = 2", "memory.used > 0"]);
    let partly = run(&prober, &check).await;
    let outcomes: Vec<Outcome> = partly.observation.assertions.iter().map(|result| result.outcome).collect();
    assert_eq!(outcomes, [Outcome::Up, Outcome::Unknown]);
    // A password where none is wanted.
    let open = Redis::start(&[]).await;
    let check = redis(&format!("redis://:n0t-wanted@127.0.0.1:{}", open.port()), None, &[]);
    assert_reason(&run(&prober, &check).await, Reason::AuthFailed, "without any password configured");
}

#[tokio::test]
async fn databases_are_numbered() {
    let server = Redis::start(&["--databases", "4"]).await;
    server.command(&["-n", "3", "RPUSH", "queue", "a"]).await;
    let prober = prober(&[]);
    assert_up(&run(&prober, &redis(&format!("{}/3", at(&server)), Some("queue"), &["length = 1"])).await);
    for path in ["/4", "/x"] {
        let wrong = run(&prober, &redis(&format!("{}{path}", at(&server)), None, &[])).await;
        assert_reason(&wrong, Reason::RedisNoDatabase, "");
        assert_eq!(wrong.observation.reason.unwrap().name(), "no_database");
        assert!(wrong.observation.reason.unwrap().is_misconfigured());
    }
}

/// A connection that the server has let in: it may not yet have noticed that whoever asked whether it is up has gone.
async fn the_only_place(port: u16) -> TcpStream {
    for _ in 0..1_000 {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        connection.write_all(b"PING\r\n").await.unwrap();
        let mut answer = [0; 5];
        if connection.read_exact(&mut answer).await.is_ok() && answer == *b"+PONG" {
            return connection;
        }
    }
    panic!("the server lets nobody in");
}

#[tokio::test]
async fn a_full_house_is_told_apart() {
    let server = Redis::start(&["--maxclients", "1"]).await;
    let held = the_only_place(server.port()).await;
    let full = run(&prober(&[]), &redis(&at(&server), None, &[])).await;
    assert_reason(&full, Reason::MaxClients, "max number of clients reached");
    assert_eq!(full.observation.outcome, Outcome::Down);
    drop(held);
}

#[tokio::test]
async fn memory_clients_and_role_come_from_info() {
    let server = Redis::start(&["--maxmemory", "500kb"]).await;
    let wanted = [
        "clients.connected >= 1",
        "clients.percent < 5 %",
        "role = \"master\"",
        "evicted_keys = 0",
        "version matches \"^[0-9]\"",
    ];
    let prober = prober(&[]);
    // Half a megabyte is less than an empty server uses, and by default nothing is evicted.
    let full = run(&prober, &redis(&at(&server), None, &wanted)).await;
    assert_reason(&full, Reason::OutOfMemory, "writes get OOM");
    assert_eq!(full.observation.outcome, Outcome::Degraded);
    assert!(
        full.observation.assertions.iter().all(|result| result.reason.is_none()),
        "{:?}",
        full.observation.assertions
    );
    assert!(server.command(&["SET", "a", "b"]).await.starts_with("OOM"), "it does refuse");
    let roomy = Redis::start(&["--maxmemory", "1gb"]).await;
    assert_up(&run(&prober, &redis(&at(&roomy), None, &["memory.percent < 50 %", "memory.max = 1GiB"])).await);
    // No limit is no share of one.
    let open = Redis::start(&[]).await;
    let unknown = run(&prober, &redis(&at(&open), None, &["memory.percent < 50 %"])).await;
    assert_reason(&unknown, Reason::NotMeasured, "");
}

#[tokio::test]
async fn a_replica_without_its_master_is_down() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port().to_string();
    drop(closed);
    let strict = Redis::start(&["--replicaof", "127.0.0.1", &port, "--replica-serve-stale-data", "no"]).await;
    assert_reason(&run(&prober(&[]), &redis(&at(&strict), None, &[])).await, Reason::MasterDown, "MASTERDOWN");
    let stale = Redis::start(&["--replicaof", "127.0.0.1", &port]).await;
    let check = redis(&at(&stale), None, &["role = \"slave\"", "master_link = \"up\""]);
    assert_reason(&run(&prober(&[]), &check).await, Reason::AssertionFailed, "master_link is \"down\"");
}

#[tokio::test]
async fn a_server_that_loads_its_data_is_degraded() {
    let server = Redis::start(&["--enable-debug-command", "yes"]).await;
    server.command(&["DEBUG", "POPULATE", "20000"]).await;
    assert_eq!(server.command(&["SAVE"]).await, "OK");
    // A key takes a millisecond: loading lasts far longer than this test.
    let loading =
        server.restart(&["--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024"]).await;
    let run = run(&prober(&[]), &redis(&at(&loading), None, &[])).await;
    assert_reason(&run, Reason::Loading, "LOADING");
    assert_eq!(run.observation.outcome, Outcome::Degraded);
}

#[tokio::test]
async fn replies_that_are_none() {
    for (steps, want) in [
        (vec![], Reason::ClosedEarly),
        (vec![Step::Reset], Reason::ConnectionReset),
        (vec![Step::send("HTTP/1.1 400 Bad Request\r\n\r\n")], Reason::BadReply),
        (vec![Step::send("x".repeat(10_000))], Reason::BadReply),
        (vec![Step::send(":12\r\n"), Step::Read, Step::send("$999999999\r\n")], Reason::ReplyTooLarge),
        (vec![Step::send("+PONG\r\n"), Step::Read, Step::send("$5\r\nab")], Reason::ClosedEarly),
    ] {
        let server = StubServer::answering(None, move |_| steps.clone()).await;
        let check = redis(&format!("redis://127.0.0.1:{}", server.port()), None, &["memory.used > 0"]);
        assert_reason(&run(&prober(&[]), &check).await, want, "");
        server.all_closed().await;
    }
    let silent = StubServer::answering(None, |_| vec![Step::Hang]).await;
    let mut check = redis(&format!("redis://127.0.0.1:{}", silent.port()), None, &[]);
    check.timeout = Duration::from_millis(200);
    assert_reason(&run(&prober(&[]), &check).await, Reason::Timeout, "in phase first_byte");
    silent.all_closed().await;
}

#[tokio::test]
async fn valkey_says_so() {
    let info = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1\r\nrole:master\r\n";
    let steps = vec![
        Step::send("+PONG\r\n"),
        Step::Read,
        Step::send(format!("${}\r\n{info}\r\n", info.len())),
        Step::Read,
        Step::send("+OK\r\n"),
    ];
    let server = StubServer::answering(None, move |_| steps.clone()).await;
    let check =
        redis(&format!("redis://127.0.0.1:{}", server.port()), None, &["version = \"8.0.1\"", "role = \"master\""]);
    let run = run(&prober(&[]), &check).await;
    assert_up(&run);
    assert_eq!(run.observation.peer.unwrap().protocol, "valkey");
    // What INFO of an old or foreign server leaves out is absent, not zero.
    assert_eq!(run.observation.facts.get("memory.used").unwrap().value.kind(), "absent");
}
