//! What is taken of a delivery, and how it is answered.

use dynowatch_web::drain::{app_subject, credential_text};

use super::{CREDENTIAL, DRAIN_TOKEN, SMOKE, Served, batch, post, target};
use crate::raw::Raw;
use crate::site::{SECRET, frame, h12};

#[tokio::test]
async fn accepted_deliveries() {
    // Name, headers, whether content type and count are odd.
    let headers = [
        (
            "as Logplex sends it",
            "Content-Type: application/logplex-1\r\nLogplex-Msg-Count: 3\r\nLogplex-Frame-Id: 09C557EAFCFB6CF2740EE62F62971098\r\nUser-Agent: Logplex/v49\r\n",
            [0, 0],
        ),
        ("no content type", "Logplex-Msg-Count: 3\r\n", [1, 0]),
        ("another content type", "Content-Type: text/html; charset=latin-1\r\n", [1, 0]),
        ("a count that disagrees", "Content-Type: application/logplex-1\r\nLogplex-Msg-Count: 999\r\n", [0, 1]),
        ("a count that is none", "Logplex-Msg-Count: many\r\n", [1, 1]),
        ("a frame id that is none", "Logplex-Frame-Id: \r\n", [1, 0]),
        ("an overlong frame id", &format!("Logplex-Frame-Id: {}\r\n", "f".repeat(500)), [1, 0]),
    ];
    let served = Served::open().await;
    let stats = served.site.engine.stats();
    let odd = || [stats.batches_odd_content_type.get(), stats.batches_odd_msg_count.get()];
    for (i, (name, more, wants)) in headers.into_iter().enumerate() {
        let before = odd();
        assert_eq!(served.deliver(more, batch().as_bytes()).await, 204, "{name}");
        assert_eq!(served.lines("shop"), 3 * (i as u64 + 1), "{name}");
        assert_eq!(odd(), [before[0] + wants[0], before[1] + wants[1]], "{name}");
    }
    // Frames that cannot be read were counted by Logplex as well, and what comes again was counted the first time.
    let (broken, before) = ([b"11 hello world".as_slice(), batch().as_bytes()].concat(), odd());
    for _ in 0..2 {
        let typed = "Content-Type: application/logplex-1\r\nLogplex-Msg-Count: 4\r\nLogplex-Frame-Id: f4\r\n";
        assert_eq!((served.deliver(typed, &broken).await, odd()), (204, before));
    }
    assert!(served.site.local("/metrics").await.text.contains("dynowatch_batches_odd_total{what=\"msg_count\"} 2"));
    let lower = format!("logplex-drain-token: {DRAIN_TOKEN}\r\nlogplex-msg-count: 3\r\nlogplex-frame-id: FRAME\r\n");
    let old_path = format!("/api/internal/heroku-log-drain?drain_token={CREDENTIAL}");
    let before = served.lines("shop");
    for target in [target(), old_path, format!("/drain?a=b&drain_token={CREDENTIAL}")] {
        assert_eq!(
            served.post(&target, &lower.replace("FRAME", &target.len().to_string()), batch().as_bytes()).await.status,
            204,
            "{target}"
        );
    }
    assert_eq!(served.lines("shop"), before + 9);
    assert_eq!(stats.batches_accepted.get(), 12);
}

/// An answer has nothing that a simple client would stumble over.
#[tokio::test]
async fn answers_are_plain() {
    let served = Served::open().await;
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let answer = served.post(&target(), &headers, batch().as_bytes()).await;
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    for odd in ["transfer-encoding", "set-cookie", "content-encoding", "connection: close"] {
        assert!(!answer.head.contains(odd), "{}", answer.head);
    }
}

#[tokio::test]
async fn bad_frames_cost_nothing_but_themselves() {
    let served = Served::open().await;
    let bodies: [(&str, Vec<u8>, u64, u64); 6] = [
        ("empty", Vec::new(), 0, 0),
        ("a broken tail", [batch().as_bytes(), b"999 <13>1 cut"].concat(), 3, 1),
        ("a frame that is no syslog", [b"11 hello world".as_slice(), batch().as_bytes()].concat(), 3, 1),
        ("noise", b"\xff\xfe\x00\x01".to_vec(), 0, 1),
        ("a declared length beyond everything", b"99999999 x".to_vec(), 0, 1),
        (
            "lines of bytes that are no text",
            frame("2026-05-07T08:06:11Z", "app", "web.1", "x").replace('x', "\u{1}").into_bytes(),
            1,
            0,
        ),
    ];
    for (name, body, lines, bad) in bodies {
        let app = served.site.engine.apps().by_name("shop").cloned().unwrap();
        let before = served.site.engine.totals(&app, |t| (t.counts.lines(), t.counts.malformed.iter().sum::<u64>()));
        assert_eq!(served.deliver("", &body).await, 204, "{name}");
        let after = served.site.engine.totals(&app, |t| (t.counts.lines(), t.counts.malformed.iter().sum::<u64>()));
        assert_eq!((after.0 - before.0, after.1 - before.1), (lines, bad), "{name}");
    }
}

/// Logplex does not compress. Whatever claims to be compressed is read as it came: nothing is ever unpacked, so a small
/// body stays small, and what is no frame is counted.
#[tokio::test]
async fn nothing_is_unpacked() {
    let served = Served::open().await;
    let zeros = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0xed, 0xc1, 1, 1, 0, 0, 0, 0x80, 0x90, 0xfe, 0xaf, 0xee, 8];
    assert_eq!(served.deliver("Content-Encoding: gzip\r\n", &zeros).await, 204);
    assert_eq!(served.lines("shop"), 0);
    let app = served.site.engine.apps().by_name("shop").cloned().unwrap();
    let malformed = served.site.engine.totals(&app, |totals| totals.counts.malformed.iter().sum::<u64>());
    assert!((1..=zeros.len() as u64).contains(&malformed), "{malformed}");
    assert_eq!(
        served.deliver("Content-Encoding: gzip\r\n", batch().as_bytes()).await,
        204,
        "a wrong header costs nothing"
    );
    assert_eq!(served.lines("shop"), 3);
}

/// A delivery of which nothing is sent yet but its head, which says no length.
async fn chunked(served: &Served) -> Raw {
    let mut raw = Raw::connect(served.address).await;
    let head = format!("POST {} HTTP/1.1\r\nHost: x\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\n", target());
    raw.send(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await;
    raw
}

#[tokio::test]
async fn too_long_a_body() {
    let served = Served::open().await;
    served.settings(|settings| settings.body_bytes_max = 1_000);
    assert_eq!(served.deliver("", &vec![b'x'; 1_001]).await, 413);
    assert_eq!(served.deliver("", &vec![b'x'; 1_000]).await, 204);
    // Without a length: the limit is met while reading.
    let mut raw = chunked(&served).await;
    for _ in 0..3 {
        raw.send(format!("190\r\n{}\r\n", "x".repeat(0x190)).as_bytes()).await;
    }
    assert_eq!(raw.answer().await.status, 413);
    assert_eq!(served.site.engine.stats().batches_too_large.get(), 2);
}

#[tokio::test]
async fn a_frame_counts_once() {
    let served = Served::open().await;
    let (with, without) = (h12("2026-05-07T08:06:12Z"), frame("2026-05-07T08:06:11Z", "app", "web.1", "hello"));
    // Logplex may put a loss note in front when it sends a frame again.
    let loss = "Error L10 (output buffer overflow): 7 messages dropped since 2026-05-07T08:05:12+00:00.";
    let with_loss = frame("2026-05-07T08:06:13Z", "heroku", "logplex", loss) + &with;
    for (id, body, lines) in [
        ("aa", &with, 1),
        ("aa", &with, 1),
        ("aa", &with_loss, 1),
        ("bb", &without, 2),
        ("bb", &without, 2),
        ("aa", &with, 2),
        ("cc", &with, 3),
    ] {
        assert_eq!(served.deliver(&format!("Logplex-Frame-Id: {id}\r\n"), body.as_bytes()).await, 204);
        assert_eq!(served.lines("shop"), lines, "{id}");
    }
    assert_eq!(served.h12s("shop"), 2);
    // Another app's frame of the same id is another frame.
    let password = credential_text(&SECRET.into(), &app_subject("other")).unwrap();
    let auth = format!(
        "Logplex-Frame-Id: aa\r\nAuthorization: Basic {}\r\n",
        data_encoding::BASE64.encode(format!("drain:{password}").as_bytes())
    );
    assert_eq!(served.post("/drain/other", &auth, with.as_bytes()).await.status, 204);
    assert_eq!(served.h12s("other"), 1);
}

/// The runbook's smoke line, posted four times: an alert.
#[tokio::test]
async fn the_smoke_line() {
    let served = Served::open().await;
    for n in 1..=4 {
        assert_eq!(served.deliver("Content-Type: text/plain\r\n", SMOKE.as_bytes()).await, 204);
        assert_eq!(served.h12s("shop"), n);
    }
    let alerts = served.site.get("/api/v1/alerts?rule=h12").await;
    assert_eq!((&alerts["items"][0]["key"], &alerts["items"][0]["count"]), (&"h12/shop".into(), &4.into()));
}

/// A body is a body, however TCP cuts it: in the middle of a count, of a stamp, of a header.
#[tokio::test]
async fn bytes_in_any_pieces() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let body_at = bytes.len() - batch().len();
    let mut want = 0;
    for piece in [1, 2, 3, 7, 64, 200] {
        let mut raw = Raw::connect(served.address).await;
        raw.send_in_pieces(&bytes, piece).await;
        want += 3;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want), "pieces of {piece}");
    }
    for cut in [body_at, body_at + 1, body_at + 2, body_at + 3, body_at + 40, bytes.len() - 1] {
        let mut raw = Raw::connect(served.address).await;
        raw.send(&bytes[..cut]).await;
        // A whole exchange on another connection: by now the first piece has been read alone.
        assert_eq!(served.deliver("", b"").await, 204);
        raw.send(&bytes[cut..]).await;
        want += 3;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want), "cut at {cut}");
    }
    // In chunks, as a proxy may send it on.
    let mut raw = chunked(&served).await;
    for piece in batch().as_bytes().chunks(5) {
        raw.send(format!("{:x}\r\n", piece.len()).as_bytes()).await;
        raw.send(&[piece, b"\r\n"].concat()).await;
    }
    raw.send(b"0\r\n\r\n").await;
    assert_eq!((raw.answer().await.status, served.lines("shop")), (204, want + 3));
}

/// A sender that goes away in the middle leaves nothing behind.
#[tokio::test]
async fn half_a_delivery_counts_nothing() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let mut raw = Raw::connect(served.address).await;
    raw.send(&bytes[..bytes.len() - 20]).await;
    drop(raw);
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
    assert_eq!(served.lines("shop"), 3);
}

/// Only a POST is a delivery; the same paths otherwise are ordinary requests.
#[tokio::test]
async fn other_methods_are_no_deliveries() {
    let served = Served::open().await;
    for method in ["GET", "PUT"] {
        let mut raw = Raw::connect(served.address).await;
        raw.send(format!("{method} /drain HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n").as_bytes()).await;
        assert_eq!(raw.answer().await.status, 404, "{method}");
    }
    assert_eq!(served.site.engine.stats().batches_unauthorized.get(), 0);
}
