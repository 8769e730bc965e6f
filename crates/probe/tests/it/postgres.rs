//! Postgres checks against real servers, each set up to fail in its own way.

use std::time::Duration;

use dynowatch_domain::check::kind::{Family, PostgresCheck, PostgresRole, Source, TlsMode};
use dynowatch_domain::check::{Check, CheckKind, Note, Outcome, Phase, Reason};
use dynowatch_testkit::postgres_server::{PostgresServer, Setup};
use dynowatch_testkit::stub_server::{Step, StubServer};

use crate::common::*;

struct Asked<'a> {
    user: &'a str,
    database: &'a str,
    table: Option<&'a str>,
    query: Option<&'a str>,
    role: PostgresRole,
    assertions: &'a [&'a str],
}

const ALIVE: Asked<'static> = Asked {
    user: "postgres",
    database: "postgres",
    table: None,
    query: None,
    role: PostgresRole::Leader,
    assertions: &[],
};

fn postgres(port: u16, asked: &Asked<'_>) -> Check {
    let Asked { user, database, table, query, role, assertions } = *asked;
    let url = Source::Url(secret(format!("postgres://{user}@127.0.0.1:{port}/{database}?sslmode=disable")));
    let (table, query) = (table.map(str::to_owned), query.map(str::to_owned));
    let tls = TlsMode::Verify;
    check(CheckKind::Postgres(PostgresCheck { url, table, query, role, family: Family::Any, tls }), assertions)
}

async fn server() -> PostgresServer {
    PostgresServer::start(&Setup { hba: "host all weak 127.0.0.1/32 trust", ..Setup::default() }).await
}

#[tokio::test]
async fn a_sound_server_is_up() {
    let server = server().await;
    let assertions = [
        "connections.used >= 1",
        "connections.limit = 97",
        "connections.percent < 50 %",
        "recovery = false",
        "version matches \"^1[0-9]\"",
        "response < 9 s",
    ];
    let run = run(&prober(&[]), &postgres(server.port(), &Asked { assertions: &assertions, ..ALIVE })).await;
    assert_up(&run);
    let phases: Vec<Phase> = run.observation.phases.parts().iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Connect, Phase::FirstByte, Phase::Body]);
    let left = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'dynowatch check'";
    assert_eq!(server.number(left).await, 0, "a session is left behind");
}

/// A16.
#[tokio::test]
async fn tables_are_there_or_not_or_not_to_be_seen() {
    let server = server().await;
    server
        .execute(
            "CREATE TABLE orders (id int); CREATE TABLE \"Orders\" (id int); CREATE ROLE weak LOGIN; \
             CREATE SCHEMA hidden; CREATE TABLE hidden.orders (id int);",
        )
        .await;
    for (user, table, want) in [
        ("postgres", "public.orders", None),
        ("postgres", "orders", None),
        ("postgres", "public.\"Orders\"", None),
        ("postgres", "hidden.orders", None),
        ("postgres", "public.dropped", Some((Reason::TableMissing, "public.dropped does not exist"))),
        ("postgres", "nowhere.orders", Some((Reason::TableMissing, "nowhere.orders does not exist"))),
        ("postgres", "o'rders", Some((Reason::TableMissing, "o'rders does not exist"))),
        (
            "postgres",
            "public.Gone",
            Some((Reason::TableMissing, "a name with capitals must be quoted: \"public\".\"Gone\"")),
        ),
        ("postgres", "a.b.c.d", Some((Reason::QueryInvalid, "improper"))),
        ("weak", "hidden.orders", Some((Reason::CannotSeeSchema, "permission denied for schema hidden"))),
    ] {
        let asked = Asked { user, table: Some(table), ..ALIVE };
        let run = run(&prober(&[]), &postgres(server.port(), &asked)).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
    }
    // Existence is proved even where nothing may be read.
    let asked = Asked { user: "weak", table: Some("orders"), assertions: &["table.exists = true"], ..ALIVE };
    let unread = run(&prober(&[]), &postgres(server.port(), &asked)).await;
    assert_up(&unread);
    assert_eq!(
        (unread.observation.notes.as_slice(), fact(&unread, "table.readable")),
        (&[Note::NoSelect][..], "false".to_owned())
    );
    // Capitals fold: the table is there, under the name in quotes.
    server.execute("DROP TABLE orders").await;
    let asked = Asked { table: Some("public.Orders"), ..ALIVE };
    let folded = run(&prober(&[]), &postgres(server.port(), &asked)).await;
    assert_reason(&folded, Reason::UnquotedCapitals, "quote the name: \"public\".\"Orders\"");
    assert!(folded.observation.reason.unwrap().is_misconfigured());
    // Dropped, the plain name is missing.
    let asked = Asked { table: Some("public.orders"), ..ALIVE };
    assert_reason(&run(&prober(&[]), &postgres(server.port(), &asked)).await, Reason::TableMissing, "");
}

#[tokio::test]
async fn queries_are_read_only_and_typed() {
    let server = server().await;
    server
        .execute(
            "CREATE TABLE jobs (id int, cost numeric); INSERT INTO jobs VALUES (1, 0.10), (2, 0.97); \
             CREATE ROLE weak LOGIN; CREATE ROLE slow LOGIN;",
        )
        .await;
    let port = server.port();
    for (user, query, assertions, want) in [
        ("postgres", "SELECT count(*) FROM jobs", &["query = 2", "query.rows = 1"][..], None),
        (
            "postgres",
            "SELECT max(cost) FROM jobs;",
            &["query <= 0.5"],
            Some((Reason::AssertionFailed, "query is 0.97, not <= 0.5")),
        ),
        (
            "postgres",
            "SELECT min(cost) AS low, true AS ok, 'x'::text AS t FROM jobs",
            &["query.low = 0.1", "query.ok = true", "query.t = \"x\""],
            None,
        ),
        (
            "postgres",
            "SELECT id AS \"Max Id\" FROM jobs ORDER BY id DESC",
            &["query[\"Max Id\"] = 2", "query.rows = 2"],
            None,
        ),
        (
            "postgres",
            "SELECT null::int AS n",
            &["query.n < 5"],
            Some((Reason::AssertionFailed, "null, where a number")),
        ),
        (
            "postgres",
            "SELECT id FROM jobs WHERE false",
            &["query < 5"],
            Some((Reason::QueryFailed, "0 rows of 1 columns, not one value")),
        ),
        ("postgres", "SELECT id FROM jobs WHERE false", &["query.id < 5"], Some((Reason::QueryFailed, "no row"))),
        ("postgres", "SELECT 1 AS a", &["query.b = 1"], Some((Reason::QueryFailed, "no column \"b\""))),
        ("postgres", "SELECT 1 AS a, 2 AS a", &["query.a = 1"], Some((Reason::QueryFailed, "two columns are called"))),
        ("postgres", "SELECT generate_series(1, 5000)", &["query.rows = 1000"], None),
        ("postgres", "SELEC 1", &[], Some((Reason::QueryInvalid, "syntax error"))),
        ("postgres", "SELECT 1/0", &["query = 1"], Some((Reason::QueryFailed, "division by zero"))),
        ("postgres", "SELECT * FROM nowhere", &[], Some((Reason::TableMissing, "nowhere"))),
        (
            "weak",
            "SELECT count(*) FROM jobs",
            &["query > 0"],
            Some((Reason::NoPermission, "permission denied for table jobs")),
        ),
        // However it is tried, nothing is written.
        ("postgres", "INSERT INTO jobs VALUES (3, 1)", &[], Some((Reason::QueryWrites, "read-only transaction"))),
        ("postgres", "DELETE FROM jobs RETURNING id", &["query > 0"], Some((Reason::QueryWrites, "read-only"))),
        ("postgres", "SELECT 1; DROP TABLE jobs", &[], Some((Reason::QueryInvalid, "multiple commands"))),
        ("postgres", "COMMIT; INSERT INTO jobs VALUES (3, 1)", &[], Some((Reason::QueryInvalid, "multiple commands"))),
    ] {
        let asked = Asked { user, query: Some(query), assertions, ..ALIVE };
        let run = run(&prober(&[]), &postgres(port, &asked)).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
    }
    assert_eq!(server.number("SELECT count(*) FROM jobs").await, 2);
    // The server gives up before we do, and says so.
    let mut slow = postgres(port, &Asked { query: Some("SELECT pg_sleep(30)"), ..ALIVE });
    slow.timeout = Duration::from_millis(1_000);
    assert_reason(&run(&prober(&[]), &slow).await, Reason::QueryTimeout, "statement timeout");
}

/// A21: what is refused is told, the password is not.
#[tokio::test]
async fn passwords_in_every_way_and_in_no_output() {
    let hba = "host all scram 127.0.0.1/32 scram-sha-256\nhost all old 127.0.0.1/32 md5\nhost all plain 127.0.0.1/32 password\n\
               host all nologin 127.0.0.1/32 trust\nhostssl all secure 127.0.0.1/32 trust";
    let server = PostgresServer::start(&Setup { hba, ..Setup::default() }).await;
    server
        .execute(
            "CREATE ROLE scram LOGIN PASSWORD 'p@ss/w:rd'; CREATE ROLE plain LOGIN PASSWORD 'p@ss/w:rd'; CREATE ROLE nologin; \
             CREATE ROLE secure LOGIN; SET password_encryption = 'md5'; CREATE ROLE old LOGIN PASSWORD 'p@ss/w:rd'",
        )
        .await;
    for (user, database, want) in [
        ("scram:p%40ss%2Fw%3Ard", "postgres", None),
        ("old:p%40ss%2Fw%3Ard", "postgres", None),
        ("plain:p%40ss%2Fw%3Ard", "postgres", None),
        (
            "scram:p%40ss%2Fw%3Arx",
            "postgres",
            Some((Reason::AuthFailed, "password authentication failed for user \"scram\" (SQLSTATE 28P01)")),
        ),
        ("old:wrong-p%40ss%2Fw%3Ard", "postgres", Some((Reason::AuthFailed, "28P01"))),
        ("scram", "postgres", Some((Reason::AuthRequired, "the URL has none"))),
        ("nologin", "postgres", Some((Reason::AuthFailed, "not permitted to log in"))),
        ("nobody", "postgres", Some((Reason::AuthFailed, "no pg_hba.conf entry"))),
        ("secure", "postgres", Some((Reason::TlsRequired, "no encryption"))),
        ("postgres", "gone", Some((Reason::NoDatabase, "database \"gone\" does not exist"))),
    ] {
        let run = run(&prober(&[]), &postgres(server.port(), &Asked { user, database, ..ALIVE })).await;
        match (user, want) {
            (_, None) => assert_up(&run),
            // Without an entry for the user, the words are the same as for one that needs TLS.
            ("nobody", _) => {
                assert_eq!(run.observation.reason, Some(Reason::TlsRequired), "{}", run.observation.detail)
            }
            (_, Some((reason, detail))) => assert_reason(&run, reason, detail),
        }
        assert_hidden(&run, &["p@ss/w:rd", "p%40ss%2Fw%3Ard", "p@ss/w:rx", "p%40ss%2Fw%3Arx"]);
    }
}

/// A17.
#[tokio::test]
async fn no_connection_left_is_told_apart() {
    let setup = Setup { options: "-c max_connections=5", hba: "host all weak 127.0.0.1/32 trust", ..Setup::default() };
    let server = PostgresServer::start(&setup).await;
    server.execute("CREATE ROLE weak LOGIN").await;
    let held = [server.hold("weak").await, server.hold("weak").await];
    let check = postgres(server.port(), &Asked { user: "weak", ..ALIVE });
    let full = run(&prober(&[]), &check).await;
    assert_reason(&full, Reason::TooManyConnections, "remaining connection slots are reserved");
    assert_eq!(full.observation.outcome, Outcome::Down);
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'weak'";
    assert_eq!(server.number(sessions).await, 2, "only those that were held");
    for session in held {
        session.end().await;
    }
    // A limit of the user is nearer than that of the server.
    server.execute("ALTER ROLE weak CONNECTION LIMIT 1").await;
    let asked = Asked { user: "weak", assertions: &["connections.percent < 100 % else degraded"], ..ALIVE };
    let near = run(&prober(&[]), &postgres(server.port(), &asked)).await;
    assert_reason(&near, Reason::AssertionDegraded, "1 of 1 of this user");
    let held = server.hold("weak").await;
    assert_reason(&run(&prober(&[]), &check).await, Reason::TooManyConnections, "too many connections for role");
    held.end().await;
}

#[tokio::test]
async fn followers_and_servers_that_start() {
    let leader = server().await;
    leader.execute("CREATE TABLE t (id int)").await;
    let follower = PostgresServer::start(&Setup { leader: Some(leader.port()), ..Setup::default() }).await;
    let prober = prober(&[]);
    let read_only = run(&prober, &postgres(follower.port(), &ALIVE)).await;
    assert_reason(&read_only, Reason::ReadOnly, "in recovery");
    assert_eq!(read_only.observation.outcome, Outcome::Degraded);
    // A leader with nothing to say leaves nobody behind, however long ago it spoke.
    let lag = Asked { role: PostgresRole::Follower, assertions: &["lag <= 60 s", "recovery = true"], ..ALIVE };
    assert_up(&run(&prober, &postgres(follower.port(), &lag)).await);
    let of_leader =
        run(&prober, &postgres(leader.port(), &Asked { role: PostgresRole::Any, assertions: &["lag < 5 s"], ..ALIVE }))
            .await;
    assert_reason(&of_leader, Reason::NotMeasured, "");
    // Cut off, it can only count from the last transaction.
    leader.execute("INSERT INTO t VALUES (1)").await;
    drop(leader);
    follower.execute("SELECT 1").await;
    let cut = Asked { role: PostgresRole::Follower, assertions: &["lag < 1 ms"], ..ALIVE };
    let check = postgres(follower.port(), &cut);
    let mut behind = run(&prober, &check).await;
    for _ in 0..1_000 {
        // Until the server has noticed.
        if behind.observation.notes.contains(&Note::NoWalReceiver) {
            break;
        }
        behind = run(&prober, &check).await;
    }
    assert_reason(&behind, Reason::AssertionFailed, "lag is ");
    // A follower that serves nobody says that it starts.
    let leader = server().await;
    let options = "-c hot_standby=off";
    let starting = PostgresServer::start(&Setup { leader: Some(leader.port()), options, ..Setup::default() }).await;
    let starting = run(&prober, &postgres(starting.port(), &ALIVE)).await;
    assert_reason(&starting, Reason::Starting, "57P03");
    assert_eq!(starting.observation.outcome, Outcome::Degraded);
}

#[tokio::test]
async fn a_server_set_to_read_only_is_degraded() {
    let server = server().await;
    server.execute("CREATE DATABASE frozen").await;
    server.execute("ALTER DATABASE frozen SET default_transaction_read_only = on").await;
    let frozen = run(&prober(&[]), &postgres(server.port(), &Asked { database: "frozen", ..ALIVE })).await;
    assert_reason(&frozen, Reason::ReadOnly, "default_transaction_read_only");
    assert_up(&run(&prober(&[]), &postgres(server.port(), &ALIVE)).await);
}

fn message(sign: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![sign];
    out.extend(u32::try_from(content.len() + 4).unwrap().to_be_bytes());
    out.extend(content);
    out
}

#[tokio::test]
async fn replies_that_are_none() {
    let welcome = message(b'R', &[0, 0, 0, 0]);
    let mut endless = vec![b'E'];
    endless.extend(u32::MAX.to_be_bytes());
    for (steps, want) in [
        (vec![], Reason::ClosedEarly),
        (vec![Step::Reset], Reason::ConnectionReset),
        (vec![Step::send("HTTP/1.1 400 Bad Request\r\n\r\n")], Reason::ReplyTooLarge),
        (vec![Step::send("\r\nhello, who is there?")], Reason::BadReply),
        (vec![Step::Send(endless)], Reason::ReplyTooLarge),
        (vec![Step::Send(welcome), Step::send("x")], Reason::ClosedEarly),
        (vec![Step::Send(message(b'R', &[0, 0, 0, 9]))], Reason::BadReply),
        (vec![Step::Send(message(b'E', b"SFATAL\0C57P01\0Mterminating\0\0"))], Reason::ShuttingDown),
    ] {
        let server = StubServer::answering(None, move |_| steps.clone()).await;
        assert_reason(&run(&prober(&[]), &postgres(server.port(), &ALIVE)).await, want, "");
        server.all_closed().await;
    }
}

/// A pooler refuses settings of the session; the run then does without them.
#[tokio::test]
async fn a_pooler_is_asked_once_more_without_settings() {
    let server = StubServer::answering(None, |request| {
        let error = b"SFATAL\0C08P01\0Munsupported startup parameter: statement_timeout\0\0";
        if request.contains("statement_timeout") {
            return vec![Step::Send(message(b'E', error))];
        }
        let mut ready = message(b'R', &[0, 0, 0, 0]);
        ready.extend(message(b'Z', b"I"));
        vec![Step::Send(ready), Step::Read, Step::Send(message(b'E', b"SERROR\0C53200\0Mout of memory\0\0"))]
    })
    .await;
    let run = run(&prober(&[]), &postgres(server.port(), &ALIVE)).await;
    assert_reason(&run, Reason::OutOfResources, "out of memory");
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(!requests[1].contains("statement_timeout") && requests[1].contains("application_name"), "{requests:?}");
}
