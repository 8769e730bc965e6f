//! Router lines: every shape that Heroku has written, and every forgery thought of.

use crate::support::text;
use dynowatch_logplex::RouterLine;

/// `code status service connect bytes dyno protocol tls version`, `-` for none.
fn shown(line: &str) -> String {
    let r = RouterLine::parse(line.as_bytes());
    let o = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let t = |value: &[u8]| {
        if value.is_empty() { "-".to_string() } else { text(value) }
    };
    [
        o(r.code().map(|v| v.to_string())),
        o(r.status().map(|v| v.to_string())),
        o(r.service_ms().map(|v| v.to_string())),
        o(r.connect_ms().map(|v| v.to_string())),
        o(r.bytes().map(|v| v.to_string())),
        t(r.dyno()),
        t(r.protocol()),
        o(r.tls().map(|v| v.to_string())),
        t(r.tls_version()),
    ]
    .join(" ")
}

const ID: &str = "11111111-2222-4333-8444-555555555555";

fn check(name: &str, line: &str, expected: &str) {
    assert_eq!(shown(&line.replace("ID", ID)), expected, "{name}: {line}");
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn shapes() {
    for (name, line, expected) in [
        ("legacy", r#"at=info method=GET path="/orders?id=7" host=shop.example.com request_id=ID fwd="198.51.100.7, 203.0.113.9" dyno=web.1 connect=1ms service=18ms status=200 bytes=1742 protocol=https"#, "- 200 18 1 1742 web.1 https true -"),
        ("plain http", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.12 connect=12ms service=123456ms status=304 bytes=0 protocol=http"#, "- 304 123456 12 0 web.12 http false -"),
        ("private space", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=1ms service=18ms status=200 bytes=1742 tls_version=tls1.2 protocol=https"#, "- 200 18 1 1742 web.1 https true tls1.2"),
        ("router 2.0", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=0ms service=49ms status=200 bytes=812 protocol=http2.0 tls=true tls_version=tls1.3"#, "- 200 49 0 812 web.1 http2.0 true tls1.3"),
        ("router 2.0, no TLS", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=7001ms service=49ms status=200 bytes=99999999999 protocol=http1.1 tls=false"#, "- 200 49 7001 99999999999 web.1 http1.1 false -"),
        ("fir-like dyno", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web-1a2b3c-4d5e6 connect=0ms service=1ms status=200 bytes=1 protocol=http1.1 tls=true tls_version=unknown"#, "- 200 1 0 1 web-1a2b3c-4d5e6 http1.1 true unknown"),
        ("H14", r#"at=error code=H14 desc="No web processes running" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= connect= service= status=503 bytes=0 protocol=https"#, "H14 503 - - 0 - https true -"),
        ("H19", r#"at=error code=H19 desc="Backend connection timeout" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=5001ms service= status=503 bytes=0 protocol=https"#, "H19 503 - 5001 0 web.1 https true -"),
        ("H24, no status", r#"at=error code=H24 desc="Forced close" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=1ms service=80000ms status= bytes=18 protocol=https"#, "H24 - 80000 1 18 web.1 https true -"),
        ("H25, no ms", r#"at=error code=H25 desc="HTTP restriction: oversized header" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=0 service=1 status=502 bytes=0"#, "H25 502 1 0 0 web.1 - - -"),
        ("H26, cause", r#"at=error code=H26 desc="Request Error" cause="bad chunk" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= connect= service= status=400 bytes= protocol=http"#, "H26 400 - - - - http false -"),
        ("H27, sock", r#"sock=client at=warning code=H27 desc="Client Request Interrupted" method=POST path="/upload" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=1ms service=9001ms status=499 bytes=0 protocol=https"#, "H27 499 9001 1 0 web.1 https true -"),
        ("H31, agent", r#"at=error code=H31 desc="Misdirected Request" agent="curl/8 (x; y=z)" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= connect= service= status=421 bytes=0 protocol=http2.0 tls=true tls_version=tls1.3"#, "H31 421 - - 0 - http2.0 true tls1.3"),
        ("H80 at info", r#"at=info code=H80 desc="Maintenance mode" method=GET path="/" host=h fwd="1.1.1.1" dyno= connect= service= status=503 bytes="#, "H80 503 - - - - - - -"),
        ("unquoted path and fwd", "at=info method=GET path=/ host=myapp.example.com fwd=17.17.17.17 dyno=web.1 connect=1ms service=18ms status=200 bytes=13", "- 200 18 1 13 web.1 - - -"),
        ("quoted path, unquoted fwd", r#"at=error code=H10 desc="App crashed" method=GET path="/" host=myapp.herokuapp.com fwd=17.17.17.17 dyno= connect= service= status=503 bytes="#, "H10 503 - - - - - - -"),
        ("neither id nor fwd", r#"at=error code=H12 desc="Request timeout" method=GET path="/" host=a.example dyno=web.1 connect=1ms service=30001ms status=503 bytes=0"#, "H12 503 30001 1 0 web.1 - - -"),
        ("very old", "Error H10 (App crashed) -> GET myapp.example.com/ dyno=web.1 queue=0 wait=0ms service=0ms bytes=0", "H10 - 0 - 0 web.1 - - -"),
        ("the smoke line", r#"at=error code=H12 desc="Request timeout""#, "H12 - - - - - - - -"),
        ("unknown keys behind", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=1ms service=18ms status=200 bytes=7 protocol=https region=eu hop=2"#, "- 200 18 1 7 web.1 https true -"),
        ("unknown keys between, other order", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 tries=3 status=200 service=18ms connect=1ms bytes=7"#, "- 200 18 1 7 web.1 - - -"),
        ("blanks at the end", "at=info method=GET path=\"/\" host=h request_id=ID fwd=\"1.1.1.1\" dyno=web.1 connect=1ms service=18ms status=200 bytes=7  ", "- 200 18 1 7 web.1 - - -"),
        ("not numbers", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=fast service=1.5ms status=2xx bytes=-1 protocol=https"#, "- - - - - web.1 https true -"),
        ("numbers too great", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=99999999999ms service=1ms status=2000 bytes=1 protocol=https"#, "- - 1 - 1 web.1 https true -"),
        ("a repeated key: the last counts", r#"at=info method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 connect=1ms service=1ms status=200 bytes=1 status=503"#, "- 503 1 1 1 web.1 - - -"),
        ("empty", "", "- - - - - - - - -"),
    ] {
        check(name, line, expected);
    }
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn forgeries() {
    const TAIL: &str = "dyno=web.1 connect=1ms service=18ms status=200 bytes=7 protocol=http1.1 tls=true tls_version=tls1.3";
    const TRUE: &str = "- 200 18 1 7 web.1 http1.1 true tls1.3";
    const FAKE: &str = "dyno=web.9 connect=0ms service=99999ms status=503 bytes=0 protocol=evil tls=false tls_version=evil";
    let paths = [
        "/x status=503".to_string(),
        format!("/x {FAKE}"),
        format!("/x\" {FAKE}"),
        format!("/x\" {FAKE} y=\""),
        format!("/x\" host=evil request_id=ID fwd=\"6.6.6.6\" {FAKE}"),
        format!("/x\" host=evil request_id=ID fwd=\"6.6.6.6\" {FAKE} z=\""),
        "/?q=at=error code=H12 desc=\"Request timeout\"".to_string(),
        "/\" at=error code=H12 desc=\"Request timeout".to_string(),
        "at=error code=H99".to_string(),
        "\"".to_string(),
        "\"\"\" \" = \" ".to_string(),
    ];
    for p in &paths {
        check("path", &format!(r#"at=info method=GET path="{p}" host=h request_id=ID fwd="1.1.1.1" {TAIL}"#), TRUE);
        check("fwd", &format!(r#"at=info method=GET path="/" host=h request_id=ID fwd="{p}, 1.1.1.1" {TAIL}"#), TRUE);
        check("host", &format!(r#"at=info method=GET path="/" host={p} request_id=ID fwd="1.1.1.1" {TAIL}"#), TRUE);
        check("method", &format!(r#"at=info method={p} path="/" host=h request_id=ID fwd="1.1.1.1" {TAIL}"#), TRUE);
        let error = format!(r#"at=error code=H31 desc="Misdirected Request" agent="{p}" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" {TAIL}"#);
        check("agent", &error, &TRUE.replacen('-', "H31", 1));
    }
    // Lines that end before the router's own part: nothing of a client's value is taken for it.
    for cut in [
        "at=info method=GET path=\"/x status=503",
        "at=info method=GET path=\"/x dyno=web.9 status=503",
        "at=info method=GET path=\"/x host=h status=503",
        "at=info method=GET path=\"/x fwd=1.1.1.1 dyno=web.9 status=503",
        "status=503 dyno=web.9",
        "x status=503",
    ] {
        check("cut", cut, "- - - - - - - - -");
    }
    check(
        "very old",
        "Error H10 (App crashed) -> GET h/ status=200 protocol=evil service=7ms dyno=web.1 queue=0 wait=0ms service=0ms bytes=0",
        "H10 - 0 - 0 web.1 - - -",
    );
    check("an old beginning, a new end", "Error H10 (App crashed) -> GET \"h\" x dyno=web.9 status=503", "H10 - - - - - - - -");
    // A code stands at the very beginning or nowhere, and is an H code.
    for line in [
        "method=GET at=error code=H12",
        " at=error code=H12",
        "at=error  code=H12",
        "at=error desc=\"x\" code=H12",
        "at=error code=R14 desc=\"Memory quota exceeded\"",
        "at=error code=L10",
        "at=error code=H1",
        "at=error code=H1234",
        "at=error code=h12",
        "code=H12",
        "x=\"at=error code=H12\"",
        "Error R14 (Memory quota exceeded)",
    ] {
        assert_eq!(RouterLine::parse(line.as_bytes()).code(), None, "{line}");
    }
}

#[test]
#[rustfmt::skip] // a table reads by rows
fn fields_of_the_client() {
    let shown = |line: &str| {
        let line = line.replace("ID", ID);
        let f = RouterLine::parse(line.as_bytes()).fields();
        let all = [f.sock, f.at, f.desc, f.cause, f.agent, f.method, f.path, f.host, f.request_id, f.fwd];
        let all: Vec<_> = all.iter().map(|v| v.map_or("-".into(), text)).collect();
        format!("{}{}", all.join("|").replace(ID, "ID"), if f.ambiguous { " ambiguous" } else { "" })
    };
    for (line, expected) in [
        (r#"at=info method=GET path="/a?b=c d" host=h.example request_id=ID fwd="1.1.1.1, 2.2.2.2" dyno=web.1 connect=1ms service=1ms status=200 bytes=1"#, "-|info|-|-|-|GET|/a?b=c d|h.example|ID|1.1.1.1, 2.2.2.2"),
        (r#"sock=backend at=error code=H18 desc="Server Request Interrupted" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 status=503"#, "backend|error|Server Request Interrupted|-|-|GET|/|h|ID|1.1.1.1"),
        (r#"at=error code=H26 desc="Request Error" cause="bad header" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= status=400"#, "-|error|Request Error|bad header|-|GET|/|h|ID|1.1.1.1"),
        (r#"at=error code=H31 desc="Misdirected Request" agent="a \"b\" c" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= status=421"#, "-|error|Misdirected Request|-|a \\\"b\\\" c|GET|/|h|ID|1.1.1.1"),
        ("at=info method=GET path=/ host=h fwd=1.1.1.1 dyno=web.1 status=200", "-|info|-|-|-|GET|/|h|-|1.1.1.1"),
        (r#"at=error code=H12 desc="Request timeout" method=GET path="/" host=a.example dyno=web.1 status=503"#, "-|error|Request timeout|-|-|GET|/|a.example|-|-"),
        (r#"at=error code=H12 desc="Request timeout""#, "-|error|Request timeout|-|-|-|-|-|-|-"),
        // A quote alone does no harm, since no second reading comes from it.
        (r#"at=info method=GET path="/a"b" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 status=200"#, "-|info|-|-|-|GET|/a\"b|h|ID|1.1.1.1"),
        // Whose host is it? Nobody can say.
        (r#"at=info method=GET path="/a" host=evil request_id=ID fwd="6.6.6.6" host=h request_id=ID fwd="1.1.1.1" dyno=web.1 status=200"#, "-|info|-|-|-|GET|/a|-|-|- ambiguous"),
        (r#"at=info method=GET path="/a" host=h request_id=ID fwd="x" host=evil request_id=ID fwd="6.6.6.6, 1.1.1.1" dyno=web.1 status=200"#, "-|info|-|-|-|GET|/a|-|-|- ambiguous"),
        (r#"at=error code=H31 desc="d" agent="x" method=PUT path="/f" method=GET path="/" host=h request_id=ID fwd="1.1.1.1" dyno= status=421"#, "-|error|d|-|x|PUT|/f\" method=GET path=\"/|-|-|- ambiguous"),
    ] {
        assert_eq!(shown(line), expected, "{line}");
    }
}
