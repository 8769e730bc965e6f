//! Which grammar applies where, and what each reads.

use crate::support::{of, shown};
use dynowatch_logplex::{Code, Kind, Letter, LogLoss, PostgresLine, Record, config_names, formation, record};

#[test]
#[rustfmt::skip] // a table reads by rows
fn kinds_by_place() {
    for (name, proc, text, expected) in [
        // R codes: on dyno lines of the platform, at the start, in full shape.
        ("heroku", "web.1", "Error R14 (Memory quota exceeded)", "dyno_error R14"),
        ("heroku", "web.1", "Error R10 (Boot timeout) -> Web process failed to bind to $PORT within 60 seconds of launch", "dyno_error R10"),
        ("heroku", "run.4231", "Error R13 (Attach error) -> Failed to attach to process", "dyno_error R13"),
        ("app", "run.4231", "Error R13 (Attach error) -> Failed to attach to process", "dyno_error R13"),
        ("heroku", "web.1", "Error R17 (Checksum error) -> Checksum does match expected value. Expected: SHA256:a Actual: SHA256:b", "dyno_error R17"),
        ("heroku", "web.1", "Error R151 (Memory quota vastly exceeded)", "dyno_error R151"),
        ("app", "web.1", "Error R14 (Memory quota exceeded)", "app"),
        ("app", "run.4231", "Error R14 (Memory quota exceeded)", "app"),
        ("app", "run.4231", "Error R13", "app"),
        ("app", "web.1", "Error R13 (Attach error) -> Failed to attach to process", "app"),
        ("heroku", "router", "Error R14 (Memory quota exceeded)", "router"),
        ("heroku", "web.1", "saw Error R14 (Memory quota exceeded)", "heroku_other"),
        ("heroku", "web.1", "Error R14 something else", "heroku_other"),
        ("heroku", "web.1", "Error H12 (Request timeout)", "heroku_other"),
        ("heroku", "web.1", "Error R14 (Memory quota exceeded", "heroku_other"),
        ("other", "web.1", "Error R14 (Memory quota exceeded)", "app"),
        // H codes: on router lines only.
        ("app", "web.1", "[INFO] alerts: saw at=error code=H12 from drain", "app"),
        ("app", "web.1", "at=error code=H12 desc=\"Request timeout\"", "app"),
        ("heroku", "web.1", "at=error code=H12 desc=\"Request timeout\"", "heroku_other"),
        ("app", "router", "at=error code=H12 desc=\"Request timeout\"", "app"),
        ("heroku", "router", "at=error code=H12 desc=\"Request timeout\"", "router H12"),
        // L codes.
        ("heroku", "logplex", "Error L10 (output buffer overflow): 7 messages dropped since 2025-03-04T09:59:40+00:00.", "log_loss L10"),
        ("app", "log-shuttle", "Error L12: 3 messages dropped since 2025-03-04T09:59:40+00:00.", "log_loss L12"),
        ("app", "web.1", "Error L10 (output buffer overflow): 7 messages dropped since 2025-03-04T09:59:40+00:00.", "app"),
        ("heroku", "web.1", "Error L10 (output buffer overflow): 7 messages dropped since x", "heroku_other"),
        ("heroku", "logplex", "Error R14 (Memory quota exceeded)", "heroku_other"),
        ("heroku", "logplex", "hello", "heroku_other"),
        // Lifecycle.
        ("heroku", "web.1", "State changed from starting to up", "dyno_state"),
        ("heroku", "web.1", "Process exited with status 137", "dyno_exit"),
        ("heroku", "web.1", "Process exited", "dyno_exit"),
        ("heroku", "web.1", "Process exited with status x", "heroku_other"),
        ("heroku", "web.1", "Cycling", "dyno_event"),
        ("heroku", "web.1", "Restarting", "dyno_event"),
        ("heroku", "web.1", "Idling", "dyno_event"),
        ("heroku", "web.1", "Unidling", "dyno_event"),
        ("heroku", "web.1", "Stopping all processes with SIGTERM", "dyno_event"),
        ("heroku", "web.1", "Stopping remaining processes with SIGKILL", "dyno_event"),
        ("heroku", "web.1", "Process running mem=600M(117.2%)", "dyno_event"),
        ("heroku", "worker.1", "Process running mem=1028MB(103.3%)", "dyno_event"),
        ("heroku", "run.1", "Awaiting client", "dyno_event"),
        ("heroku", "run.1", "Client connection closed. Sending SIGHUP to all processes", "dyno_event"),
        ("heroku", "web.1", "Starting process with command `bin/web -p 5000`", "dyno_event"),
        ("app", "web.1", "State changed from starting to up", "app"),
        ("app", "web.1", "Process exited with status 1", "app"),
        // Metrics.
        ("heroku", "web.1", "source=web.1 dyno=heroku.1.a sample#load_avg_1m=2.46", "runtime_metrics"),
        ("app", "heroku-postgres", "source=DATABASE addon=a sample#tables=48", "postgres_metrics"),
        ("app", "heroku-postgres", "source=DATABASE sample#tables=48", "postgres_metrics"),
        ("app", "heroku-postgres", "something new", "app"),
        ("app", "heroku-pgbouncer", "source=pgbouncer addon=a sample#client_active=12", "pgbouncer_metrics"),
        ("app", "heroku-redis", "source=REDIS addon=a sample#hit-rate=0.8", "redis_metrics"),
        ("app", "heroku-kafka", "source=KAFKA addon=a sample#x=1", "custom_metrics"),
        ("app", "web.1", "source=web.1 dyno=heroku.1.a sample#memory_total=21.22MB", "custom_metrics"),
        ("app", "web.1", "measure#db.latency=12ms source=web.1", "custom_metrics"),
        ("app", "web.1", "count#jobs=1", "custom_metrics"),
        ("app", "web.1", "source=web.1 hello", "app"),
        ("app", "web.1", "counted sample#x=1", "app"),
        // The API.
        ("app", "api", "Release v42 created by user dev@example.com", "release"),
        ("heroku", "api", "Deploy abc1234 by dev@example.com", "release"),
        ("app", "api", "Rollback to v40 by user dev@example.com", "release"),
        ("app", "api", "Initial release by user dev@example.com", "release"),
        ("app", "api", "Set FLAG_NEW_CHECKOUT, LOG_LEVEL config vars by user dev@example.com", "config"),
        ("app", "api", "Remove OLD_FLAG config vars by user dev@example.com", "config"),
        ("app", "api", "Scaled to web@2:Standard-1X worker@1:Basic by user dev@example.com", "scale"),
        ("app", "api", "Scale to web=1 by dev@example.com", "scale"),
        ("app", "api", "Build started by user dev@example.com", "build"),
        ("app", "api", "Build succeeded", "build"),
        ("app", "api", "Build failed -- check your build output: https://dashboard.heroku.com/apps/x", "build"),
        ("app", "api", "Attach DATABASE (@ref:postgresql-flat-12345) by user dev@example.com", "api"),
        ("app", "api", "Something new by user dev@example.com", "api"),
        ("app", "web.1", "Release v42 created by user dev@example.com", "app"),
        // Postgres.
        ("app", "postgres.26875", "[RED] [1846263-1]  sql_error_code = 23503 ERROR:  insert or update", "postgres_log"),
        ("app", "postgres.26875", "hello", "app"),
        ("app", "postgres", "[RED] [1-1]  LOG:  x", "app"),
        // Symptoms, in their runtimes' own shape.
        ("app", "web.1", "[2025-03-04 10:00:00 +0000] [2] [CRITICAL] WORKER TIMEOUT (pid:17)", "worker_timeout"),
        ("app", "web.1", "[2025-03-04 10:00:00 -0530] [2] [CRITICAL] WORKER TIMEOUT (pid: 17)", "worker_timeout"),
        ("app", "web.1", "[2025-03-04 10:00:00 +0000] [1234] [CRITICAL] WORKER TIMEOUT (pid:17) again", "app"),
        ("app", "web.1", "[2025-03-04 10:00:00 +0000] [2] [INFO] WORKER TIMEOUT (pid:17)", "app"),
        ("app", "web.1", "[2025-03-04 10:00:00 +0000] [x] [CRITICAL] WORKER TIMEOUT (pid:17)", "app"),
        ("app", "web.1", " [2025-03-04 10:00:00 +0000] [2] [CRITICAL] WORKER TIMEOUT (pid:17)", "app"),
        ("app", "web.1", "saw [2025-03-04 10:00:00 +0000] [2] [CRITICAL] WORKER TIMEOUT (pid:17)", "app"),
        ("app", "worker.1", "[INFO] runbook: WORKER TIMEOUT rule is >2 in 120s, now 1", "app"),
        ("app", "web.1", "[2025-03-04 10:00:01 +0000] [2] [ERROR] Worker (pid:17) was sent SIGKILL! Perhaps out of memory?", "worker_killed"),
        ("app", "web.1", "[2025-03-04 10:00:01 +0000] [2] [WARNING] Worker with pid 17 was terminated due to signal 9", "worker_killed"),
        ("app", "web.1", "[2025-03-04 10:00:01 +0000] [2] [WARNING] Worker with pid 17 was terminated due to signal 15", "app"),
        ("app", "web.1", "[2025-03-04 10:00:00 +0000] [17] [INFO] Worker exiting (pid: 17)", "app"),
        ("app", "web.1", "[2025-03-04 10:00:01 +0000] [29] [INFO] Booting worker with pid: 29", "app"),
        ("app", "web.1", "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory", "out_of_memory"),
        ("app", "web.1", "Rack::Timeout::RequestTimeoutException (Request ran for longer than 15000ms)", "request_timeout"),
        ("app", "web.1", "saw JavaScript heap out of memory", "app"),
        ("app", "web.1", "", "app"),
        ("heroku", "web.1", "", "heroku_other"),
    ] {
        assert_eq!(shown(&record(&of(name, proc, text))), expected, "{name}[{proc}]: {text}");
    }
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn lifecycle_values() {
    for (text, expected) in [
        ("State changed from up to crashed", r#"DynoState { from: "up", to: "crashed" }"#),
        ("Process exited with status 143", "DynoExit { status: Some(143) }"),
        ("Process exited with status -1", "DynoExit { status: Some(-1) }"),
        ("Process exited", "DynoExit { status: None }"),
        ("Process running mem=600M(117.2%)", "DynoOther(MemoryRunning { mb: 600.0, percent: 117.2 })"),
        ("Process running mem=1028MB(103.3%)", "DynoOther(MemoryRunning { mb: 1028.0, percent: 103.3 })"),
        ("Stopping remaining processes with SIGKILL", r#"DynoOther(Stopping { signal: "SIGKILL" })"#),
        ("Starting process with command `bin/web -p 5000`", r#"DynoOther(Starting { command: "bin/web -p 5000", user: None })"#),
        ("Starting process with command: `bin/web`", r#"DynoOther(Starting { command: "bin/web", user: None })"#),
        ("Starting process with command `echo `date`` by user dev@example.com", r#"DynoOther(Starting { command: "echo `date`", user: Some("dev@example.com") })"#),
        ("Error R14 (Memory quota exceeded)", r#"DynoError { code: R14, title: "Memory quota exceeded", detail: "" }"#),
        ("Error R12 (Exit timeout) -> Process failed to exit", r#"DynoError { code: R12, title: "Exit timeout", detail: "Process failed to exit" }"#),
    ] {
        let record = record(&of("heroku", "web.1", text));
        assert_eq!(readable(&format!("{record:?}")), expected);
    }
}

/// `[104, 105]` in a debug text as `"hi"`.
fn readable(debug: &str) -> String {
    let mut out = String::new();
    let mut rest = debug;
    while let Some(open) = rest.find('[') {
        let close = open + rest[open..].find(']').unwrap();
        let bytes: Vec<u8> = rest[open + 1..close].split(", ").filter_map(|n| n.parse().ok()).collect();
        out += &format!("{}{:?}", &rest[..open], String::from_utf8_lossy(&bytes));
        rest = &rest[close + 1..];
    }
    out + rest
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn api_values() {
    for (text, expected) in [
        ("Release v42 created by user dev@example.com", r#"Release { version: 42 } by "dev@example.com""#),
        ("Deploy 0a1b2c3d by user dev@example.com", r#"Deploy { commit: "0a1b2c3d" } by "dev@example.com""#),
        ("Deploy abc1234 by dev@example.com", r#"Deploy { commit: "abc1234" } by "dev@example.com""#),
        ("Rollback to v40 by user dev@example.com", r#"Rollback { version: 40 } by "dev@example.com""#),
        ("Set A, B config vars by user dev@example.com", r#"ConfigSet { names: "A, B" } by "dev@example.com""#),
        ("Remove A config vars by user dev@example.com", r#"ConfigRemoved { names: "A" } by "dev@example.com""#),
        ("Scaled to web@2:Basic by user dev@example.com", r#"Scaled { formation: "web@2:Basic" } by "dev@example.com""#),
        ("Build started by user dev@example.com", r#"BuildStarted by "dev@example.com""#),
        ("Build succeeded", "BuildSucceeded"),
        ("Build failed -- check your build output: https://x", r#"BuildFailed { detail: "check your build output: https://x" }"#),
        ("Attach DATABASE (@ref:pg-1) by user dev@example.com", r#"Attach { name: "DATABASE", addon: "pg-1" } by "dev@example.com""#),
        ("Detach PAPERTRAIL by user dev@example.com", r#"Detach { name: "PAPERTRAIL", addon: "" } by "dev@example.com""#),
        ("@ref:papertrail-calm-1 completed provisioning, setting PAPERTRAIL_API_TOKEN.", r#"Provisioned { addon: "papertrail-calm-1" }"#),
        ("Update PAPERTRAIL by user dev@example.com", r#"AddonUpdated { name: "PAPERTRAIL" } by "dev@example.com""#),
        ("Enable Logplex by user dev@example.com", r#"Enabled { feature: "Logplex" } by "dev@example.com""#),
        ("Stack changed from heroku-22 to heroku-24 by user dev@example.com", r#"StackChanged { from: "heroku-22", to: "heroku-24" } by "dev@example.com""#),
        ("Upgrade stack to heroku-24 by user dev@example.com", r#"StackChanged { from: "", to: "heroku-24" } by "dev@example.com""#),
        ("Starting process with command `bin/nightly` by user scheduler@addons.heroku.com", r#"Starting { command: "bin/nightly" } by "scheduler@addons.heroku.com""#),
        ("Release vX created by user dev@example.com", r#"Other by "dev@example.com""#),
        ("hello", "Other"),
    ] {
        let Record::Api(line) = record(&of("app", "api", text)) else { panic!("{text}") };
        let actor = line.actor.map_or(String::new(), |a| format!(" by {:?}", String::from_utf8_lossy(a)));
        assert_eq!(readable(&format!("{:?}", line.event)) + &actor, expected);
    }
    let names: Vec<_> = config_names(b"FLAG_NEW, LOG_LEVEL, X").collect();
    assert_eq!(names, [&b"FLAG_NEW"[..], b"LOG_LEVEL", b"X"]);
    let parts: Vec<_> = formation(b"web@2:Standard-1X worker@0 web=3 nonsense @1:x")
        .map(|q| (q.process.to_vec(), q.dynos, q.size.to_vec()))
        .collect();
    assert_eq!(
        parts,
        [(b"web".to_vec(), 2, b"Standard-1X".to_vec()), (b"worker".to_vec(), 0, vec![]), (b"web".to_vec(), 3, vec![])]
    );
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn losses() {
    let since = Some(1_741_082_380_000_000);
    for (text, expected) in [
        ("Error L10 (output buffer overflow): 7 messages dropped since 2025-03-04T09:59:40+00:00.", Some(("L10", Some(7), since))),
        ("Error L10 (output buffer overflow): 491 messages dropped since 2025-03-04T09:59:40.000000+00:00.", Some(("L10", Some(491), since))),
        ("Error L11 (Tail buffer overflow) -> This tail session dropped 12 messages since 2025-03-04T09:59:40+00:00.", Some(("L11", Some(12), since))),
        ("L11 (Tail buffer overflow) -> This tail session dropped 12 messages since 2025-03-04T09:59:40+00:00.", Some(("L11", Some(12), since))),
        ("Error L12: 3 messages dropped since 2025-03-04T09:59:40+00:00.", Some(("L12", Some(3), since))),
        ("Error L13: 4 messages lost since 2025-03-04T09:59:40+00:00.", Some(("L13", Some(4), since))),
        ("Error L14 (certificate validation): error=\"bad certificate\" uri=\"syslog+tls://logs.example.com:6514/\"", Some(("L14", None, None))),
        ("L15: Error displaying log lines. Please try again.", Some(("L15", None, None))),
        ("Error L10 (output buffer overflow)", None),
        ("Error H10 (x): 1 messages dropped since x", None),
        ("", None),
    ] {
        let loss = LogLoss::parse(text.as_bytes());
        assert_eq!(loss.map(|l| (l.code.to_string(), l.dropped, l.since_us)), expected.map(|(c, d, s)| (c.to_string(), d, s)), "{text}");
    }
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn postgres_lines() {
    for (text, expected) in [
        (
            "[YELLOW] [12-1]  sql_error_code = 00000 time_ms = \"2025-03-04 10:00:00.250 UTC\" pid=\"4242\" proc_start_time=\"x\" vtid=\"3/1\" tid=\"0\" log_line=\"10\" database=\"d1\" application_name=\"puma\" LOG:  duration: 3100.000 ms  statement: SELECT 1",
            r#"YELLOW 12-1 00000 Log duration: 3100.000 ms  statement: SELECT 1"#,
        ),
        ("[YELLOW] [12-2] \tFROM orders", "YELLOW 12-2 - - FROM orders"),
        ("[YELLOW] [12-2] \tERROR:  a word in a statement", "YELLOW 12-2 - - ERROR:  a word in a statement"),
        ("[GREEN] [16-1]  sql_error_code = 55P03 ERROR:  could not obtain lock", "GREEN 16-1 55P03 Error could not obtain lock"),
        ("[GREEN] [16-2]  sql_error_code = 55P03 STATEMENT:  SELECT x", "GREEN 16-2 55P03 Statement SELECT x"),
        ("[15521-1]  [CHARCOAL] LOG:  checkpoint starting", "CHARCOAL 15521-1 - Log checkpoint starting"),
        ("[3-1]  FATAL:  too many connections", " 3-1 - Fatal too many connections"),
        ("[RED] [1-1]  some words: here", "RED 1-1 - - some words: here"),
    ] {
        let line = PostgresLine::parse(text.as_bytes()).unwrap();
        let s = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let shown = format!(
            "{} {}-{} {} {} {}",
            s(line.color),
            line.entry,
            line.line,
            line.sql_error_code.map_or("-".into(), s),
            line.level.map_or("-".into(), |level| format!("{level:?}")),
            s(line.text)
        );
        assert_eq!(shown, expected);
    }
    for text in ["", "hello", "[RED] x", "[1-] x", "[-1] x", "[a-b] x"] {
        assert_eq!(PostgresLine::parse(text.as_bytes()), None, "{text}");
    }
}

#[test]
fn codes() {
    for code in ["H10", "R14", "L20", "R151", "H99", "H00", "L05"] {
        let parsed = Code::parse(code.as_bytes()).unwrap();
        assert_eq!(parsed.to_string(), code);
        assert_eq!(Code::from_index(parsed.index()), Some(parsed));
        assert_eq!(Code::new(parsed.letter(), parsed.number()), Some(parsed));
    }
    for text in ["", "H", "H1", "H1x", "h12", "X12", "H1234", "H012", " H12", "H12 ", "H\u{b2}3"] {
        assert_eq!(Code::parse(text.as_bytes()), None, "{text}");
    }
    assert_eq!(Code::new(Letter::H, 1000), None);
    assert_eq!(Code::from_index(Code::COUNT), None);
}

#[test]
fn kinds_are_named_and_dense() {
    for (i, kind) in Kind::ALL.iter().enumerate() {
        assert_eq!(kind.index(), i);
        assert_eq!(Kind::parse(kind.as_str()), Some(*kind));
    }
    assert_eq!(Kind::COUNT, Kind::ALL.len());
}
