//! Connections: how many, how long, and how they end.

use super::{DRAIN_TOKEN, Served, batch, post, target};
use crate::raw::Raw;
use crate::site::Site;

/// Deliveries beyond the places for them wait; what was begun before them ends in time, and so they are taken.
#[tokio::test]
async fn deliveries_wait_for_a_place() {
    let served = Served::open().await;
    served.settings(|settings| settings.requests_max = 1);
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let (mut first, mut second) = (Raw::connect(served.address).await, Raw::connect(served.address).await);
    first.send(&bytes[..bytes.len() - 10]).await;
    // An answer on another connection proves that the first has its place by now.
    assert_eq!(served.post("/drain", "", b"").await.status, 401);
    second.send(&bytes).await;
    assert_eq!(served.post("/drain", "", b"").await.status, 401);
    let stats = served.site.engine.stats();
    assert_eq!((stats.batches_in_progress.get(), stats.batches_accepted.get()), (2, 0));
    first.send(&bytes[bytes.len() - 10..]).await;
    assert_eq!((first.answer().await.status, second.answer().await.status), (204, 204));
    assert_eq!((stats.batches_in_progress.get(), stats.batches_accepted.get()), (0, 2));
}

/// Connections beyond the limit wait to be accepted, and are then answered.
#[tokio::test]
async fn connections_wait_for_room() {
    let served = Served::with(Site::open().await, 2).await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let (mut first, mut second) = (Raw::connect(served.address).await, Raw::connect(served.address).await);
    for raw in [&mut first, &mut second] {
        raw.send(&bytes).await;
        assert_eq!(raw.answer().await.status, 204);
    }
    let mut third = Raw::connect(served.address).await;
    third.send(&bytes).await;
    for raw in [&mut first, &mut second] {
        raw.send(&bytes).await;
        assert_eq!(raw.answer().await.status, 204);
    }
    let stats = served.site.engine.stats();
    assert_eq!(stats.batches_accepted.get(), 4, "the third waits");
    drop(first);
    assert_eq!(third.answer().await.status, 204);
    assert_eq!(stats.batches_accepted.get(), 5);
}

#[tokio::test]
async fn connections_are_kept() {
    let served = Served::open().await;
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let mut raw = Raw::connect(served.address).await;
    for n in 1..=5 {
        raw.send(&post(&target(), &headers, batch().as_bytes())).await;
        assert_eq!((raw.answer().await.status, served.lines("shop")), (204, 3 * n));
    }
    // Between deliveries, anything else on the same connection.
    raw.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let answer = raw.answer().await;
    assert!(answer.status == 200 && answer.body.starts_with(b"{\"status\":\"ok\""), "{answer:?}");
    // A refusal does not end it either.
    raw.send(&post("/drain", &headers, b"")).await;
    assert_eq!(raw.answer().await.status, 401);
    // Two at once are answered in their order.
    raw.send(&[post(&target(), &headers, batch().as_bytes()), post("/drain", &headers, b"")].concat()).await;
    assert_eq!([raw.answer().await.status, raw.answer().await.status], [204, 401]);
    raw.send(&post(&target(), &format!("{headers}Connection: close\r\n"), b"")).await;
    let answer = raw.answer().await;
    assert!(answer.status == 204 && raw.is_closed().await, "{answer:?}");
}

#[tokio::test]
async fn an_old_client() {
    let served = Served::open().await;
    let mut raw = Raw::connect(served.address).await;
    let body = batch();
    raw.send(
        format!(
            "POST {} HTTP/1.0\r\nLogplex-Drain-Token: {DRAIN_TOKEN}\r\nContent-Length: {}\r\n\r\n{body}",
            target(),
            body.len()
        )
        .as_bytes(),
    )
    .await;
    assert_eq!(raw.answer().await.status, 204);
    assert!(raw.is_closed().await);
    assert_eq!(served.lines("shop"), 3);
}

/// A stop lets a delivery in progress end, and takes no new one.
#[tokio::test]
async fn a_stop_finishes_what_was_begun() {
    let served = Served::open().await;
    let bytes = post(&target(), &format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n"), batch().as_bytes());
    let mut raw = Raw::connect(served.address).await;
    raw.send(&bytes[..bytes.len() - 10]).await;
    assert_eq!(served.deliver("", b"").await, 204);
    served.stop.send_replace(true);
    raw.send(&bytes[bytes.len() - 10..]).await;
    assert_eq!(raw.answer().await.status, 204);
    assert!(raw.is_closed().await);
    served.server.await.unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(served.address).await.is_err());
    assert_eq!(served.site.engine.stats().batches_accepted.get(), 2);
}
