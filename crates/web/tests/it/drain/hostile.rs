//! The drain endpoint and requests that no Logplex sends: broken by a proxy, by hand, or on purpose. Whatever it is, it gets
//! one of the five answers or none at all: any other 4xx would make Logplex drop a batch that nobody had counted.

use dynowatch_testkit::postgres::TestDatabase;

use super::{DRAIN_TOKEN, Served, batch, target};
use crate::raw::Raw;
use crate::site::{Site, frame, rules};

/// What a request comes to.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(u16),
    /// Closed without a word: Logplex tries again.
    Closed,
}

use Outcome::{Answered, Closed};

async fn outcome(served: &Served, bytes: &[u8]) -> Outcome {
    let mut raw = Raw::connect(served.address).await;
    raw.send(bytes).await;
    raw.answer_or_end().await.map_or(Closed, |answer| Answered(answer.status))
}

#[tokio::test]
async fn odd_heads() {
    let served = Served::open().await;
    let (body, token) = (batch(), format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"));
    let length = format!("Content-Length: {}\r\n", body.len());
    let many = |n: usize| (0..n).map(|i| format!("X-{i}: a\r\n")).collect::<String>();
    let to = |target: &str, version: &str, headers: &str| {
        format!("POST {target} {version}\r\nHost: watch.example\r\n{token}{headers}\r\n{body}").into_bytes()
    };
    let with = |headers: &str| to(&target(), "HTTP/1.1", headers);
    let target_of = |target: &str| to(target, "HTTP/1.1", &length);
    // Name, request, outcome, whether the lines in it count.
    let cases = [
        ("two lengths that agree", with(&length.repeat(2)), Answered(204), true),
        ("two lengths that differ", with(&format!("{length}Content-Length: 3\r\n")), Closed, false),
        ("a length that is none", with("Content-Length: abc\r\n"), Closed, false),
        ("a length below zero", with("Content-Length: -1\r\n"), Closed, false),
        ("a length beyond all numbers", with("Content-Length: 99999999999999999999\r\n"), Closed, false),
        ("the longest length there is", with("Content-Length: 9223372036854775807\r\n"), Answered(413), false),
        ("packed for the journey", with("Transfer-Encoding: gzip\r\n"), Closed, false),
        ("an upgrade", with(&format!("{length}Connection: Upgrade\r\nUpgrade: websocket\r\n")), Answered(204), true),
        (
            "an upgrade to HTTP/2",
            with(&format!("{length}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA\r\n")),
            Answered(204),
            true,
        ),
        ("a long header", with(&format!("{length}X-A: {}\r\n", "a".repeat(40_000))), Answered(204), true),
        ("many headers", with(&format!("{length}{}", many(90))), Answered(204), true),
        ("too many headers", with(&format!("{length}{}", many(150))), Closed, false),
        ("a long URL", target_of(&format!("{}&x={}", target(), "a".repeat(10_000))), Answered(204), true),
        ("no UTF-8 in the URL", target_of(&format!("{}&x=é", target())), Answered(204), true),
        ("a percent sign astray", target_of(&format!("{}&x=%zz", target())), Answered(204), true),
        ("a fragment", target_of(&format!("{}#x", target())), Answered(204), true),
        ("a blank in the URL", target_of(&format!("{} x", target())), Closed, false),
        ("as to a proxy", target_of(&format!("http://watch.example{}", target())), Answered(204), true),
        (
            "as to a proxy, with a port",
            target_of(&format!("https://watch.example:443{}", target())),
            Answered(204),
            true,
        ),
        ("another version", to(&target(), "HTTP/3.0", &length), Closed, false),
        ("an expectation nobody knows", with(&format!("{length}Expect: nonsense\r\n")), Answered(204), true),
        ("two hosts", with(&format!("{length}Host: other.example\r\n")), Answered(204), true),
        ("a host that is none", with(&format!("{length}Host: <>@//\r\n")), Answered(204), true),
        ("NUL in a header", with(&format!("{length}X-A: a\0b\r\n")), Closed, false),
        ("a header's name with a blank", with(&format!("{length}X A: b\r\n")), Closed, false),
        ("a folded header", with(&format!("{length}X-A: a\r\n b\r\n")), Closed, false),
        ("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), Closed, false),
        ("a TLS greeting", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 \r\n\r\n".to_vec(), Closed, false),
    ];
    let mut want = 0;
    for (name, bytes, outcome_wanted, counts) in cases {
        assert_eq!(outcome(&served, &bytes).await, outcome_wanted, "{name}");
        want += if counts { 3 } else { 0 };
        assert_eq!(served.lines("shop"), want, "{name}");
    }
    // Line ends as a careless program writes them, and no host at all.
    let bare = String::from_utf8(with(&length)).unwrap().replace("\r\n", "\n").replace("Host: watch.example\n", "");
    assert_eq!(outcome(&served, bare.as_bytes()).await, Answered(204));
    assert_eq!(served.lines("shop"), want + 3);
}

/// A client that asks first is told to go on, or at once that there is no point.
#[tokio::test]
async fn who_asks_first_is_answered_first() {
    let served = Served::open().await;
    let body = batch();
    let head = |target: &str| {
        format!(
            "POST {target} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            body.len()
        )
    };
    let mut raw = Raw::connect(served.address).await;
    raw.send(head(&target()).as_bytes()).await;
    assert_eq!(raw.answer().await.status, 100);
    raw.send(body.as_bytes()).await;
    assert_eq!((raw.answer().await.status, served.lines("shop")), (204, 3));
    let mut raw = Raw::connect(served.address).await;
    raw.send(head("/drain?drain_token=0").as_bytes()).await;
    assert_eq!(raw.answer().await.status, 401);
}

/// Bodies that break off, are no chunks, or never come: 503 or no answer, within Logplex's five seconds. Nothing of them
/// counts, the gap is remembered, and it shows in the numbers.
#[tokio::test]
async fn bodies_that_do_not_come() {
    let served = Served::open().await;
    let head = |more: &str| {
        format!("POST {} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\n{more}\r\n\r\n", target())
    };
    let chunked = head("Transfer-Encoding: chunked");
    for (name, body) in [
        ("no number", "zz\r\nabc"),
        ("a number beyond all", "fffffffffffffffff\r\nabc"),
        ("an endless remark", &format!("1;{}", "a".repeat(70_000))),
    ] {
        let outcome = outcome(&served, format!("{chunked}{body}").as_bytes()).await;
        assert!([Closed, Answered(503)].contains(&outcome), "{name}: {outcome:?}");
    }
    let before = served.site.engine.stats().batches_incomplete.get();
    let slow = [head("Content-Length: 10") + "abc", chunked + "5\r\nab"];
    let began = tokio::time::Instant::now();
    let both = tokio::join!(outcome(&served, slow[0].as_bytes()), outcome(&served, slow[1].as_bytes()));
    assert_eq!(both, (Answered(503), Answered(503)));
    assert!(began.elapsed() < std::time::Duration::from_millis(4_900), "Logplex has given up");
    let stats = served.site.engine.stats();
    assert_eq!((stats.batches_incomplete.get(), served.lines("shop")), (before + 2, 0));
    assert!(served.site.local("/metrics").await.text.contains("dynowatch_batches_total{result=\"incomplete\"}"));
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204, "the next is taken as if nothing had been");
}

/// What Logplex posts to a path that nobody listens at would be lost without anyone knowing. It is refused where refusals
/// are counted, logged and told; all other requests to such a path are ordinary ones.
#[tokio::test]
async fn deliveries_that_went_astray_are_seen() {
    let served = Served::open().await;
    let token = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let typed = "Content-Type: application/logplex-1\r\n";
    let query = target().split_once('?').unwrap().1.to_owned();
    let cases = [
        ("two slashes", format!("//drain?{query}"), token.as_str(), 401),
        ("in capitals", format!("/DRAIN?{query}"), token.as_str(), 401),
        ("no path", format!("/?{query}"), token.as_str(), 401),
        ("another's", "/logs".to_owned(), "Logplex-Msg-Count: 3\r\n", 401),
        ("from a Private Space", "/drains/shop".to_owned(), typed, 401),
        ("somebody else's request", "/logs".to_owned(), "Content-Type: text/plain\r\n", 404),
        ("a log for the API", "/api/v1/nothing".to_owned(), typed, 404),
    ];
    for (name, target, headers, want) in cases {
        assert_eq!(served.post(&target, headers, batch().as_bytes()).await.status, want, "{name}");
    }
    assert_eq!((served.lines("shop"), served.site.engine.stats().batches_unauthorized.get()), (0, 5));
    assert!(served.site.local("/readyz").await.text.contains("log deliveries refused with 401, and lost: 5"));
    served.settings(|settings| settings.enabled = false);
    assert_eq!(served.post("/logs", typed, b"").await.status, 501, "while the drain is off, that comes first");
}

/// A batch too long is lost for good, so it is said where people look.
#[tokio::test]
async fn what_was_too_long_is_told() {
    let served = Served::open().await;
    served.settings(|settings| settings.body_bytes_max = 100);
    let long = frame("2026-05-07T08:06:11Z", "app", "web.1", &"x".repeat(200));
    assert_eq!(served.deliver("", long.as_bytes()).await, 413);
    let ready = served.site.local("/readyz").await.text;
    assert!(ready.contains("log deliveries longer than drain.body_bytes_max, and lost: 1"), "{ready}");
    let engine = &served.site.engine;
    engine.level_pass().await.unwrap();
    let minute = std::time::Duration::from_secs(60);
    let blinds = engine.store().all_blinds_between(engine.now() - minute, engine.now() + minute).await.unwrap();
    assert_eq!(blinds.len(), 1, "counts over this moment are lower bounds: {blinds:?}");
}

/// Nothing fits into the store any more. What matters is refused at once and nothing of it counts, what does not is taken,
/// and whoever asks how it stands is told; once there is room, all is as before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_is_full() {
    let database = TestDatabase::create().await;
    let served = Served::of(Site::on(tempfile::tempdir().unwrap(), database.url(), rules()).await).await;
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
    database.fill_up().await;
    assert_eq!(served.deliver("Logplex-Frame-Id: aa\r\n", batch().as_bytes()).await, 503);
    assert_eq!(served.lines("shop"), 3);
    let dull = frame("2026-05-07T08:06:11Z", "app", "web.1", "hello");
    assert_eq!((served.deliver("", dull.as_bytes()).await, served.lines("shop")), (204, 4));
    let (ready, metrics) = (served.site.local("/readyz").await, served.site.local("/metrics").await);
    assert_eq!((ready.status.as_u16(), &ready.json()["details"]["store"]), (503, &"full".into()));
    assert!(ready.text.contains("the store is full"), "{}", ready.text);
    assert!(metrics.text.contains("dynowatch_store_full 1") && metrics.text.contains("dynowatch_store_up 1"));
    assert!(served.site.local("/").await.text.contains("store is full"));
    // Whether or not anything that matters comes, the next look tells.
    database.make_room().await;
    served.site.engine.refresh_pass().await.unwrap();
    served.site.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(served.site.local("/readyz").await.status.as_u16(), 200);
    assert_eq!(served.deliver("Logplex-Frame-Id: aa\r\n", batch().as_bytes()).await, 204);
    assert_eq!(served.lines("shop"), 7, "the batch that comes again counts once");
}
