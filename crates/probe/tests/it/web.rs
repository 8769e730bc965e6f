//! Web checks against a server that does what is scripted.

use std::time::Duration;

use dynowatch_domain::check::kind::Redirects;
use dynowatch_domain::check::{Memory, Outcome, Phase, Reason};
use dynowatch_testkit::certificates::Authority;
use dynowatch_testkit::stub_server::{Step, StubServer};
use tokio::time::Instant;

use crate::common::*;

const FOUR: [&str; 4] = ["status = 200", "body.status = \"ok\"", "body.queue.depth < 100", "response < 500 ms"];

fn answers(status: u16, headers: &'static str, body: &'static str) -> impl Fn(&str) -> Vec<Step> + Send + Sync {
    move |_| vec![Step::http(status, headers, body)]
}

/// A1: over TLS, so that every phase is there.
#[tokio::test]
async fn a_sound_answer_is_up_with_every_value_shown() {
    let root = Authority::root("Root", days(-10), days(1000));
    let identity = root.server(&["shop.test"], days(-1), days(60));
    let body = r#"{"status":"ok","queue":{"depth":7}}"#;
    let tls = identity.server_config(&[b"http/1.1"]);
    let server = StubServer::answering(Some(tls), answers(200, "", body)).await;
    // The first handshake of an unoptimised build takes its time.
    let mut all = FOUR;
    all[3] = "response < 9 s";
    let run = run(&prober(&[&root]), &web(&format!("https://shop.test:{}/health", server.port()), &all)).await;
    assert_up(&run);
    let seen: Vec<&str> = run.observation.assertions.iter().map(|result| result.seen.as_str()).collect();
    assert_eq!(&seen[..3], ["200", "\"ok\"", "7"]);
    assert!(seen[3].ends_with(" ms"), "{seen:?}");
    let phases: Vec<Phase> = run.observation.phases.parts().iter().map(|(phase, _)| *phase).collect();
    assert_eq!(phases, [Phase::Dns, Phase::Connect, Phase::Tls, Phase::FirstByte, Phase::Body]);
    let peer = run.observation.peer.as_ref().unwrap();
    assert_eq!((peer.family(), peer.protocol.as_str(), peer.tls.as_str()), ("IPv4", "HTTP/1.1", "TLS 1.3"));
    assert_eq!(fact(&run, "certificate.days"), "60");
    let request = &server.requests()[0];
    assert!(request.starts_with("GET /health HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: shop.test:{}\r\n", server.port())), "{request}");
}

/// A2.
#[tokio::test]
async fn a_maintenance_page_is_never_up() {
    let server =
        StubServer::answering(None, answers(200, "content-type: text/html\r\n", "<html>Back soon</html>")).await;
    let run = run(&prober(&[]), &web(&format!("http://shop.test:{}/", server.port()), &FOUR)).await;
    assert_reason(&run, Reason::BodyNotJson, "body is not JSON (path body.queue.depth)");
    assert_eq!(run.observation.outcome, Outcome::Down);
    assert!(run.transcript.to_string().contains("Back soon"), "the forensics show the page");
}

/// A3.
#[tokio::test]
async fn decimals_are_compared_as_decimals() {
    for (body, assertion, want) in [
        ("{\"load\":0.97}", "body.load <= 0.5", Some("body.load is 0.97, not <= 0.5")),
        ("{\"load\":0.10}", "body.load < 0.85", None),
        ("{\"load\":\"0.10\"}", "body.load < 0.85", Some("a text, where a number is needed")),
    ] {
        let server = StubServer::answering(None, answers(200, "", body)).await;
        let run = run(&prober(&[]), &web(&format!("http://shop.test:{}/", server.port()), &[assertion])).await;
        match want {
            None => assert_up(&run),
            Some(detail) => assert_reason(&run, Reason::AssertionFailed, detail),
        }
    }
}

/// A4.
#[tokio::test]
async fn a_closed_port_is_down_at_once() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let (prober, check) = (prober(&[]), web(&format!("http://127.0.0.1:{port}/"), &["response < 500 ms"]));
    let run = run(&prober, &check).await;
    assert_reason(&run, Reason::ConnectRefused, "");
    assert_eq!(run.observation.failed_phase, Some(Phase::Connect));
    // Another program may have had the processor once, not every time.
    let mut fastest_us = run.observation.phases.total_us;
    for _ in 0..4 {
        fastest_us = fastest_us.min(crate::common::run(&prober, &check).await.observation.phases.total_us);
    }
    assert!(fastest_us < 100_000, "{fastest_us} µs");
    assert!(run.observation.assertions[0].seen.starts_with("absent"), "a refused connection has no response time");
}

/// A5.
#[tokio::test]
async fn a_dripping_server_is_left_at_the_deadline() {
    let drip = Step::Drip(vec![b'x'; 100], Duration::from_millis(200));
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n";
    let server = StubServer::answering(None, move |_| vec![Step::send(head), drip.clone()]).await;
    let mut check = web(&format!("http://127.0.0.1:{}/", server.port()), &[]);
    check.timeout = Duration::from_millis(700);
    let began = Instant::now();
    let run = run(&prober(&[]), &check).await;
    assert!(began.elapsed() < Duration::from_millis(1_200), "{:?}", began.elapsed());
    assert_reason(&run, Reason::Timeout, "not complete after 700ms, in phase body");
    assert_eq!(run.observation.failed_phase, Some(Phase::Body));
    server.all_closed().await;
}

#[tokio::test]
async fn hostile_servers_have_their_reasons() {
    let long_head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x-a: b\r\n".repeat(20_000));
    let cases: Vec<(Vec<Step>, Reason, Phase)> = vec![
        (vec![Step::Reset], Reason::ConnectionReset, Phase::FirstByte),
        (vec![], Reason::ClosedEarly, Phase::FirstByte),
        (vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nshort")], Reason::ClosedEarly, Phase::Body),
        (
            vec![Step::send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabcde\r\n")],
            Reason::ClosedEarly,
            Phase::Body,
        ),
        (
            vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 4\r\n\r\nabc")],
            Reason::BadReply,
            Phase::FirstByte,
        ),
        (
            vec![Step::send("HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nx"), Step::Reset],
            Reason::ConnectionReset,
            Phase::Body,
        ),
        (vec![Step::send("SSH-2.0-OpenSSH_9.2\r\n")], Reason::BadReply, Phase::FirstByte),
        (vec![Step::send(long_head)], Reason::ReplyTooLarge, Phase::FirstByte),
    ];
    for (steps, want, phase) in cases {
        let server = StubServer::answering(None, move |_| steps.clone()).await;
        let run =
            run(&prober(&[]), &web(&format!("http://127.0.0.1:{}/", server.port()), &["body contains \"a\""])).await;
        assert_reason(&run, want, "");
        assert_eq!(run.observation.failed_phase, Some(phase), "{want}");
        server.all_closed().await;
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_cap() {
    let head = "HTTP/1.1 200 OK\r\n\r\n";
    let server = StubServer::answering(None, move |_| vec![Step::send(head), Step::Endless(vec![b'a'; 1000])]).await;
    let check = web_with(&format!("http://127.0.0.1:{}/", server.port()), &["body contains \"a\""], |web| {
        web.body_bytes_max = 10_000;
    });
    let run = run(&prober(&[]), &check).await;
    assert_reason(&run, Reason::ReplyTooLarge, "goes on after 10000 bytes");
    assert_eq!(fact(&run, "body_bytes"), "10000");
    // What was read of it passes nothing.
    assert_eq!(run.observation.assertions[0].reason, Some(Reason::ReplyTooLarge));
    server.all_closed().await;
}

#[tokio::test]
async fn a_status_is_judged_even_if_nobody_asks() {
    for (status, assertions, want) in [
        (204, &[][..], None),
        (503, &[], Some((Reason::StatusUnexpected, "status 503, where 2xx"))),
        (503, &["response < 10 s"], Some((Reason::StatusUnexpected, "status 503"))),
        (503, &["status = 503"], None),
        (200, &["status in 400..499"], Some((Reason::StatusUnexpected, "status is 200, not in 400..499"))),
        (404, &["status < 400 else degraded"], Some((Reason::AssertionDegraded, "404"))),
    ] {
        let server = StubServer::answering(None, answers(status, "", "")).await;
        let run = run(&prober(&[]), &web(&format!("http://127.0.0.1:{}/", server.port()), assertions)).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
    }
}

#[tokio::test]
async fn redirects_follow_the_policy() {
    let script = |request: &str| {
        let path = request.split(' ').nth(1).unwrap_or("");
        vec![match path {
            "/login" => Step::http(200, "", "sign in"),
            "/here" => Step::http(302, "location: /login\r\n", ""),
            "/there" => Step::http(301, "location: http://other.test:1/\r\n", ""),
            "/ring" => Step::http(307, "location: /ring\r\n", ""),
            "/nowhere" => Step::http(302, "", ""),
            "/ftp" => Step::http(302, "location: ftp://shop.test/\r\n", ""),
            _ => Step::http(404, "", ""),
        }]
    };
    for (path, redirects, want) in [
        ("/here", "refuse", Some((Reason::RedirectUnexpected, "status 302"))),
        ("/here", "follow 1", None),
        ("/here", "same host 3", None),
        ("/here", "expect 302", None),
        ("/here", "expect 301", Some((Reason::StatusUnexpected, "status 302, where the redirect 301"))),
        ("/login", "expect 302", Some((Reason::StatusUnexpected, "status 200"))),
        ("/there", "same host 3", Some((Reason::RedirectToOtherHost, "http://other.test:1/"))),
        ("/ring", "follow 3", Some((Reason::RedirectTooMany, "after 3"))),
        ("/nowhere", "follow 3", Some((Reason::BadReply, "no Location"))),
        ("/ftp", "follow 3", Some((Reason::BadReply, "leads to no web address"))),
    ] {
        let server = StubServer::answering(None, script).await;
        let check = web_with(&format!("http://shop.test:{}{path}", server.port()), &[], |web| {
            web.redirects = redirects.parse().unwrap();
        });
        let run = run(&prober(&[]), &check).await;
        match want {
            None => assert_up(&run),
            Some((reason, detail)) => assert_reason(&run, reason, detail),
        }
        if path == "/ring" {
            assert_eq!(server.requests().len(), 4);
        }
    }
}

/// Nothing of the check's own goes to another host, not even after the way leads back.
#[tokio::test]
async fn credentials_stay_with_the_host_they_are_for() {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let elsewhere_port = listener.local_addr().unwrap().port();
    let first = StubServer::answering(None, move |request| {
        vec![match request.split(' ').nth(1) {
            Some("/same") => Step::http(302, "location: /go\r\n", ""),
            Some("/go") => Step::http(302, &format!("location: http://u:evil@other.test:{elsewhere_port}/x\r\n"), ""),
            _ => Step::http(200, "", "home"),
        }]
    })
    .await;
    let home = first.port();
    let (sent, received) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        let back = format!("HTTP/1.1 302 x\r\nlocation: http://shop.test:{home}/end\r\ncontent-length: 0\r\n\r\n");
        stream.write_all(back.as_bytes()).await.unwrap();
        sent.send(String::from_utf8_lossy(&request[..length]).into_owned()).unwrap();
    });
    let check = web_with(&format!("http://user:pass-word@shop.test:{home}/same"), &[], |web| {
        web.redirects = Redirects::Follow(5);
        web.headers = vec![("x-api-key".to_owned(), secret("key-12345")), ("accept".to_owned(), secret("text/plain"))];
    });
    let run = run(&prober(&[]), &check).await;
    assert_up(&run);
    let basic = "authorization: Basic dXNlcjpwYXNzLXdvcmQ=";
    let requests = first.requests();
    assert_eq!(requests.len(), 3);
    for request in &requests[..2] {
        assert!(request.contains(basic) && request.contains("x-api-key: key-12345"), "{request}");
    }
    for request in [&received.await.unwrap(), &requests[2]] {
        let lower = request.to_lowercase();
        assert!(!lower.contains("authorization") && !lower.contains("x-api-key"), "{request}");
        assert!(lower.contains("accept: text/plain"), "{request}");
    }
    assert_hidden(&run, &["pass-word", "key-12345", "dXNlcjpwYXNzLXdvcmQ", "evil"]);
}

#[tokio::test]
async fn a_body_is_not_sent_to_another_host() {
    let server = StubServer::answering(None, |request| {
        vec![match request.split(' ').nth(1) {
            Some("/307") => Step::http(307, "location: http://other.test/\r\n", ""),
            Some("/303") => Step::http(303, "location: /end\r\n", ""),
            _ => Step::http(200, "", ""),
        }]
    })
    .await;
    let check = |path: &str| {
        web_with(&format!("http://shop.test:{}{path}", server.port()), &[], |web| {
            web.method = "POST".to_owned();
            web.body = Some(secret("{\"token\":\"s3cr3t-body\"}"));
            web.redirects = Redirects::Follow(3);
        })
    };
    let refused = run(&prober(&[]), &check("/307")).await;
    assert_reason(&refused, Reason::RedirectToOtherHost, "http://other.test/");
    let followed = run(&prober(&[]), &check("/303")).await;
    assert_up(&followed);
    let requests = server.requests();
    assert!(requests[1].starts_with("POST /303") && requests[2].starts_with("GET /end"), "{requests:?}");
    assert_hidden(&followed, &["s3cr3t-body"]);
}

/// What a server echoes of our secrets is masked wherever it is told.
#[tokio::test]
async fn echoed_secrets_are_masked() {
    let server = StubServer::answering(None, |request| {
        let echoed = request.lines().find(|line| line.starts_with("authorization")).unwrap_or_default().to_owned();
        vec![Step::http(401, "www-authenticate: Bearer\r\n", &format!("you sent {echoed} p%40ss p@ss t0ken-in-query"))]
    })
    .await;
    let check = web_with(
        &format!("http://me:p%40ss@127.0.0.1:{}/?key=t0ken-in-query", server.port()),
        &["body contains \"welcome\"", "header.www-authenticate = \"None\""],
        |web| web.headers = vec![("authorization".to_owned(), secret("Bearer abcdef123456"))],
    );
    let run = run(&prober(&[]), &check).await;
    assert_eq!(run.observation.outcome, Outcome::Down);
    assert_hidden(&run, &["abcdef123456", "p@ss", "p%40ss", "t0ken-in-query"]);
    let told = explain(&prober(&[]), &check).await;
    let text = format!("{told}{}", serde_json::to_string(&told).unwrap());
    for hidden in ["abcdef123456", "p@ss", "p%40ss", "t0ken-in-query"] {
        assert!(!text.contains(hidden), "{hidden}: {text}");
    }
}

#[tokio::test]
async fn headers_and_encodings_are_facts() {
    let server = StubServer::answering(None, |request| {
        vec![match request.split(' ').nth(1) {
            Some("/gzip") => Step::http(200, "content-encoding: gzip\r\n", "abc"),
            _ => Step::http(200, "x-a: 1\r\nX-A: 2\r\n", "abc"),
        }]
    })
    .await;
    let url = |path: &str| format!("http://127.0.0.1:{}{path}", server.port());
    let plain =
        run(&prober(&[]), &web(&url("/"), &["header.X-A = \"1, 2\"", "len(body) = 3", "header.x-b exists"])).await;
    assert_reason(&plain, Reason::HeaderMissing, "no header x-b");
    let passed: Vec<bool> = plain.observation.assertions.iter().map(|result| result.reason.is_none()).collect();
    assert_eq!(passed, [true, true, false]);
    let encoded = run(&prober(&[]), &web(&url("/gzip"), &["body contains \"a\""])).await;
    assert_reason(&encoded, Reason::BodyNotText, "encoded (gzip)");
}

/// A clear level holds over runs, and over a run that could not judge.
#[tokio::test]
async fn what_failed_is_remembered() {
    let prober = prober(&[]);
    let mut memory = Memory::default();
    for (body, up) in
        [("{\"n\":501}", false), ("{\"n\":480}", false), ("oops", false), ("{\"n\":480}", false), ("{\"n\":449}", true)]
    {
        let server = StubServer::answering(None, answers(200, "", body)).await;
        let check = web(&format!("http://127.0.0.1:{}/", server.port()), &["body.n < 500 clear 450"]);
        let run = run_after(&prober, &check, &memory).await;
        assert_eq!(run.observation.outcome == Outcome::Up, up, "{body}: {}", run.observation.detail);
        memory = run.memory;
    }
    assert!(memory.failing.is_empty());
}

#[tokio::test]
async fn an_explanation_reads_from_top_to_bottom() {
    let server = StubServer::answering(None, answers(200, "", "{\"depth\":7}")).await;
    let check = web(&format!("http://shop.test:{}/health", server.port()), &["body.depth < 5", "status = 200"]);
    let told = explain(&prober(&[]), &check).await.to_string();
    let told = told.replace(&format!(":{}", server.port()), ":PORT");
    // Times differ from run to run.
    let without_times = |line: &str| match line.find(" ms") {
        Some(end) => {
            let start = line[..end].rfind(' ').map_or(0, |at| at + 1);
            format!("{} TIME{}", line[..start].trim_end(), &line[end..])
        }
        None => line.to_owned(),
    };
    let told: Vec<String> = told.lines().map(without_times).collect();
    insta::assert_snapshot!(told.join("\n"));
}
