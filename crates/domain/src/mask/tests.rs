//! Planted secrets are masked, ordinary lines are left alone.

use proptest::prelude::*;

use super::*;

/// Put together here, so that no scanner takes this file's examples for leaks.
fn glued(parts: &[&str]) -> String {
    parts.concat()
}

#[test]
fn secrets_go_and_what_helps_stays() {
    let cases: &[(&str, &str)] = &[
        ("Authorization: Bearer abc.def-123", "Authorization: Bearer [masked]"),
        ("authorization=Basic dXNlcjpwdw==", "authorization=Basic [masked]"),
        (r#"{"authorization":"Token 0a1b2c","x":1}"#, r#"{"authorization":"Token [masked]","x":1}"#),
        (
            r#"curl -H "Authorization: Bearer s3cr3t" https://api.example.com/x"#,
            r#"curl -H "Authorization: Bearer [masked]" https://api.example.com/x"#,
        ),
        ("Proxy-Authorization: abcdef", "Proxy-Authorization: [masked]"),
        ("sent Bearer 9f86d081884c7d65", "sent Bearer [masked]"),
        ("Cookie: a=1; _shop_session=dGhlIHNlY3JldA==; b=2", "Cookie: [masked]"),
        ("Set-Cookie: sid=abc; Path=/; HttpOnly\nnext line", "Set-Cookie: [masked]\nnext line"),
        (r#"{"cookie": "a=b; c=d", "status": 200}"#, r#"{"cookie": "[masked]", "status": 200}"#),
        ("postgres://shop:hunter2@db.example.com:5432/shop", "postgres://shop:[masked]@db.example.com:5432/shop"),
        ("redis://:p4ss@cache.example.com:6379", "redis://:[masked]@cache.example.com:6379"),
        ("https://user:pa/ss@w0rd@host.example.com/x", "https://user:[masked]@host.example.com/x"),
        ("https://0123456789abcdef0123456789abcdef@sentry.example.com/7", "https://[masked]@sentry.example.com/7"),
        ("url=amqps://u:p@mq.example.com, next", "url=amqps://u:[masked]@mq.example.com, next"),
        ("login failed password=hunter2 user=bob", "login failed password=[masked] user=bob"),
        ("password: 'correct horse battery' ok", "password: '[masked]' ok"),
        ("passwd=a&b;c,d user=x", "passwd=[masked] user=x"),
        ("POST /login?user=bob&password=hunter2&next=/", "POST /login?user=bob&password=[masked]&next=/"),
        (r#"path="/drain?drain_token=0123456789abcdef" host=x"#, r#"path="/drain?drain_token=[masked]" host=x"#),
        (
            r#"Parameters: {"user"=>"bob", "password"=>"hunter2"}"#,
            r#"Parameters: {"user"=>"bob", "password"=>"[masked]"}"#,
        ),
        (r#"{"client_secret":"a\"b","ok":true}"#, r#"{"client_secret":"[masked]","ok":true}"#),
        (r#"body="{\"apiKey\":\"k-1\",\"n\":2}""#, r#"body="{\"apiKey\":\"[masked]\",\"n\":2}""#),
        ("{'api_key': 'k-1', 'n': 2}", "{'api_key': '[masked]', 'n': 2}"),
        (
            "FOO_SECRET=abc STRIPE_SECRET_KEY_LIVE=def DEBUG=1",
            "FOO_SECRET=[masked] STRIPE_SECRET_KEY_LIVE=[masked] DEBUG=1",
        ),
        ("SECRET_KEY_BASE: 0a1b", "SECRET_KEY_BASE: [masked]"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG", "aws_secret_access_key = [masked]"),
        ("x-api-key: 77", "x-api-key: [masked]"),
        (
            "access_token=ya.b refresh_token=zz csrf_token: Ab12Cd34",
            "access_token=[masked] refresh_token=[masked] csrf_token: [masked]",
        ),
        ("session_id=9f86d081 sessionId=abc", "session_id=[masked] sessionId=[masked]"),
        ("mysqldump --password hunter2 shop", "mysqldump --password [masked] shop"),
        ("heroku api key 01234567-89ab-4cde-8f01-23456789abcd", "heroku api key [masked]"),
        ("HEROKU_API_KEY=01234567-89ab-4cde-8f01-23456789abcd", "HEROKU_API_KEY=[masked]"),
        (
            "POST https://hooks.slack.com/services/T0/B0/xyz failed",
            "POST https://hooks.slack.com/services/[masked] failed",
        ),
        ("password%3Dhunter2", "password%3D[masked]"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- after", "[masked] after"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE and no end", "[masked]"),
        ("secret=ünïcödé! ok", "secret=[masked] ok"),
    ];
    for (text, want) in cases {
        assert_eq!(mask(text), *want, "{text}");
        assert_eq!(mask(want), *want, "masking again changes nothing");
    }
}

#[test]
fn whole_shapes_go_wherever_they_stand() {
    let shapes = [
        glued(&["AK", "IAIOSFODNN7EXAMPLE"]),
        glued(&["gh", "p_0123456789abcdefghijABCDEFGHIJ012345"]),
        glued(&["gh", "o_0123456789abcdefghijABCDEFGHIJ012345"]),
        glued(&["github", "_pat_11ABCDEFG0123456789_abcdefghij"]),
        glued(&["xo", "xb-123456789012-abcdefghijkl"]),
        glued(&["xo", "xp-123456789012-abcdefghijkl"]),
        glued(&["xa", "pp-1-A012-345-abcdef"]),
        glued(&["sk", "_live_0123456789abcdefghijklmn"]),
        glued(&["rk", "_live_0123456789abcdefghijklmn"]),
        glued(&["wh", "sec_0123456789abcdefghij"]),
        glued(&["dw", "_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"]),
        glued(&["HR", "KU-01234567-89ab-4cde-8f01-23456789abcd"]),
        glued(&["SG", ".0123456789abcdefghijkl.0123456789abcdefghijklmnopqrstuvwxyzABCDEFG"]),
        glued(&["AI", "zaSyA0123456789abcdefghijklmnopqrstuv"]),
        glued(&["np", "m_0123456789abcdefghijABCDEFGHIJ012345"]),
        glued(&["ey", "JhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"]),
        glued(&["MIIEpAIBAAKCAQEA7vF1", "wz0xkJt3mGQyM2pZb8YqS4nC5dE6fH7jK9lM0nP1"]) + "oQrS",
    ];
    for shape in shapes {
        for text in [shape.clone(), format!("got {shape}"), format!("({shape}\n")] {
            assert!(!mask(&text).contains(&shape), "{text} -> {}", mask(&text));
        }
    }
}

/// Lines of an ordinary day stay as they are, to the byte.
#[test]
fn ordinary_lines_stay() {
    let lines = [
        r#"at=info method=GET path="/orders?id=7" host=shop.example.com request_id=11111111-2222-4333-8444-555555555555 fwd="198.51.100.7" dyno=web.1 connect=1ms service=18ms status=200 bytes=1742 protocol=https"#,
        "source=web.1 dyno=heroku.2808254.d97d0ea7-cf3d-411b-b453-d2943a50b456 sample#memory_total=21.22MB",
        "[2025-03-04 10:00:00 +0000] [2] [CRITICAL] WORKER TIMEOUT (pid:17)",
        "Deploy 0a1b2c3d4e5f60718293a4b5c6d7e8f901234567 by user dev@example.com",
        "Set FLAG_NEW_CHECKOUT, API_TOKEN, SECRET_KEY_BASE config vars by user dev@example.com",
        "Starting process with command `bin/web -p 5000` by user someone@example.com",
        "FATAL:  password authentication failed for user \"shop\"",
        "JSON::ParserError: unexpected token at 'else'",
        "SyntaxError: Unexpected token: punc (})",
        "prompt_tokens=812 max_tokens: 4096 token_count=17 token_type=bearer",
        "session: started, session_duration=17ms sessions=12 session=17",
        "Basic authentication failed, bearer authentication required",
        "secretary=Bob cookies_enabled=true author=Ann authored: yes",
        "GET https://shop.example.com:8080/a@b?by=x@y.example.com",
        "git clone ssh://git@github.com/example/shop.git",
        "password=[FILTERED] token=null secret=nil api_key=*** pwd=",
        "PWD=/app HOME=/app",
        "the pass was missed; passing; 3 passed, 0 failed",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "  Rendered layouts/application.html.erb (Duration: 14.2ms | Allocations: 5123)",
        "task-scheduler-for-nightly-inventory-sync disk-usage-monitor-service-01",
        "2026-05-07T08:06:12Z app[web.1]: Error R14 (Memory quota exceeded)",
        "user said: ключ 鍵 🔑",
        "",
    ];
    for line in lines {
        assert!(matches!(mask(line), Cow::Borrowed(same) if same == line), "{line} -> {}", mask(line));
    }
}

#[test]
fn own_values_go_too() {
    let masker = Masker::with_values(vec!["drain-hmac".into(), "drain-hmac-longer".into(), "short".into()]);
    assert_eq!(masker.mask("a drain-hmac-longer b drain-hmac c short"), "a [masked] b [masked] c short");
    assert_eq!(masker.mask("password=x drain-hmac"), "password=[masked] [masked]");
    assert!(matches!(masker.mask("plain"), Cow::Borrowed("plain")));
    assert_eq!(Masker::default().mask("drain-hmac"), "drain-hmac");
}

/// Hostile lines: many beginnings and no end.
#[test]
fn long_lines_are_masked_in_linear_time() {
    for piece in [
        "password=",
        "\"token\":\"",
        "a://b:",
        "Cookie: ",
        "-----BEGIN PRIVATE KEY-----",
        "Bearer ",
        "eyJaaaaa.",
        "\\\"secret\\\":\\\"",
        "token=1 ",
    ] {
        let _ = mask(&piece.repeat(10_000 / piece.len()));
    }
}

/// How a secret gets into a line. `#` is its place.
const PLANTS: [&str; 14] = [
    "password=#",
    "Authorization: Bearer #",
    "{\"secret\": \"#\"}",
    "postgres://app:#@db.example.com/x",
    "redis://:#@h",
    "FOO_TOKEN=#",
    "Cookie: sid=#",
    "?drain_token=#&x=1",
    "\"api_key\"=>\"#\"",
    "'client_secret': '#'",
    "ghp_#",
    "xoxb-#",
    "sk_live_#",
    "eyJ#.#.#",
];

proptest! {
    #[test]
    fn a_planted_secret_never_survives(
        before in "(?s).{0,60}",
        after in "(?s).{0,60}",
        plant in prop::sample::select(&PLANTS[..]),
        secret in "[A-Z][a-z][0-9][A-Za-z0-9]{13,30}",
    ) {
        let text = format!("{before} {} {after}", plant.replace('#', &secret));
        prop_assert!(!mask(&text).contains(&secret), "{} -> {}", text, mask(&text));
    }

    #[test]
    fn any_text_is_taken(text in "(?s).{0,200}", glue in prop::collection::vec(prop::sample::select(&["password", "=", "\"", ":", "\\", "://", "@", "token", " ", "Cookie", "ü", "Bearer "][..]), 0..30)) {
        let text = format!("{text}{}", glue.concat());
        let once = mask(&text).into_owned();
        prop_assert!(once.len() <= text.len() * 10 + 20);
    }
}
