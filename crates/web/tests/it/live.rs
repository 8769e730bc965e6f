//! Pages that stay open: the stream of what changes, its resumption and its end; and how pages look to whom.

use std::time::Duration;

use axum::body::Body;
use dynowatch_web::server::Peer;
use http::{Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::browser::Browser;
use crate::site::{Site, request};

/// An open stream.
pub(crate) struct Stream {
    body: Body,
}

impl Stream {
    pub(crate) async fn open(site: &Site, topics: &str, last_event_id: &str) -> Self {
        Self::open_with(site, topics, last_event_id, "").await
    }

    async fn open_with(site: &Site, topics: &str, last_event_id: &str, cookie: &str) -> Self {
        Self::try_open(site, topics, last_event_id, cookie).await.unwrap()
    }

    /// A page of somebody at that address, or why not.
    async fn open_from(site: &Site, peer: &str) -> Result<Self, (StatusCode, String)> {
        Self::try_open_from(site, peer, "now", "", "").await
    }

    /// The same, or why not.
    async fn try_open(
        site: &Site,
        topics: &str,
        last_event_id: &str,
        cookie: &str,
    ) -> Result<Self, (StatusCode, String)> {
        Self::try_open_from(site, "127.0.0.1:40000", topics, last_event_id, cookie).await
    }

    async fn try_open_from(
        site: &Site,
        peer: &str,
        topics: &str,
        last_event_id: &str,
        cookie: &str,
    ) -> Result<Self, (StatusCode, String)> {
        let mut request = Request::builder()
            .uri(format!("/events?topics={topics}"))
            .header("host", "localhost:8080")
            .header("last-event-id", last_event_id)
            .header("cookie", cookie)
            .body(Body::empty())
            .unwrap();
        request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        let response = site.router.clone().oneshot(request).await.unwrap();
        if response.status() != StatusCode::OK {
            let (head, body) = response.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            return Err((head.status, String::from_utf8(body.to_vec()).unwrap()));
        }
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert!(!response.headers().contains_key("content-encoding"));
        Ok(Self { body: response.into_body() })
    }

    /// The next event; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<String> {
        let frame = tokio::time::timeout(Duration::from_secs(30), self.body.frame()).await.unwrap();
        frame.map(|frame| String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    }

    /// The next event of that name.
    pub(crate) async fn named(&mut self, name: &str) -> String {
        loop {
            let event = self.next().await.unwrap();
            if event.contains(&format!("event: {name}\n")) {
                return event;
            }
        }
    }

    /// The next event that is a piece of a page.
    async fn piece(&mut self) -> String {
        loop {
            let event = self.next().await.unwrap();
            if event.starts_with("id: ") {
                return event;
            }
            assert!(event.starts_with("event: beat\n"), "{event}");
        }
    }
}

fn id_of(event: &str) -> &str {
    event.lines().next().unwrap().strip_prefix("id: ").unwrap()
}

/// Nobody takes all places: so many pages are open by one account, and so many from one address.
#[tokio::test]
async fn one_viewer_has_so_many_pages_open() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let cookie = format!("dynowatch={}", ada.jar["dynowatch"]);
    let mut open = Vec::new();
    for _ in 0..50 {
        open.push(Stream::open_with(&site, "now", "", &cookie).await);
    }
    let (status, words) = Stream::try_open(&site, "now", "", &cookie).await.err().unwrap();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(words.contains("50 pages are open by this account already"), "{words}");
    let health = ada.get("/settings/health").await.text;
    assert!(crate::pages::text(&health).contains("Refused to one"), "{health}");
    // One that is closed makes room, once its end was seen.
    open.pop();
    while Stream::try_open(&site, "now", "", &cookie).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_address_has_so_many_pages_open() {
    let site = Site::open().await;
    let (here, elsewhere) = ("127.0.0.1:40000", "[::1]:40000");
    let mut open = Vec::new();
    for _ in 0..300 {
        open.push(Stream::open_from(&site, here).await.unwrap());
    }
    let (status, words) = Stream::open_from(&site, here).await.err().unwrap();
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(words.contains("300 pages are open from this address already"), "{words}");
    // Others have their own places.
    let _other = Stream::open_from(&site, elsewhere).await.unwrap();
    open.pop();
    while Stream::open_from(&site, here).await.is_err() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_page_gets_what_changed_and_no_more() {
    let site = Site::open().await;
    let mut stream = Stream::open(&site, "alerts,deliveries,nonsense,alert.x", "").await;
    let first = stream.next().await.unwrap();
    assert!(first.starts_with("event: beat\ndata: {\"now_ms\":1778141172000,\"line_ms\":null,"), "{first}");
    let mut calm = String::new();
    while !calm.contains("#open-alerts") {
        calm = stream.piece().await;
    }
    assert!(calm.contains("hx-target=\"#open-alerts\"") && calm.contains("Nothing is firing."), "{calm}");
    site.storm().await;
    // Two pieces changed; they may come in one event or in two.
    let mut news = String::new();
    while !(news.contains("h12 on shop") && news.contains("to <strong>operator")) {
        news.push_str(&stream.piece().await);
    }
    assert!(!news.contains("<b>slow</b>"), "{news}");
    assert!(news.lines().all(|line| line.is_empty() || line.starts_with("data: ") || line.starts_with("id: ")));
    // Who comes back gets the pieces that changed meanwhile, and not those that did not.
    let known = id_of(news.rsplit_once("id: ").map(|(_, last)| format!("id: {last}")).unwrap().as_str()).to_owned();
    drop(stream);
    let mut again = Stream::open(&site, "alerts,deliveries", &known).await;
    site.post("shop", request("2026-05-07T08:06:20Z", "/cart/9", "", 502).as_bytes()).await;
    // The end of the storm may not have been told before the stream was dropped; then it comes first.
    let mut news = String::new();
    while !news.contains("/cart") {
        news = again.piece().await;
    }
}

/// The process stops although pages are open.
#[tokio::test]
async fn a_stream_ends_when_the_process_stops() {
    let site = Site::open().await;
    let mut stream = Stream::open(&site, "now", "").await;
    stream.piece().await;
    site.stop.send_replace(true);
    let mut last = String::new();
    while let Some(event) = stream.next().await {
        last = event;
    }
    assert_eq!(last, "event: bye\ndata: stopping\n\n");
}

/// Whoever may not look any more is told so within a minute, and the stream ends.
#[tokio::test]
async fn a_stream_ends_with_its_sign_in() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let cookie = format!("dynowatch={}", ada.jar["dynowatch"]);
    let mut stream = Stream::open_with(&site, "alerts", "", &cookie).await;
    stream.piece().await;
    // A minute passes, and the sign-in is still good.
    site.clock.advance(Duration::from_secs(61));
    site.storm().await;
    let news = stream.piece().await;
    assert!(news.contains("h12"), "{news}");
    assert_eq!(ada.post("/sign-out", &[]).await.status, StatusCode::SEE_OTHER);
    site.clock.advance(Duration::from_secs(61));
    site.post("shop", request("2026-05-07T08:06:20Z", "/cart/9", "", 502).as_bytes()).await;
    let mut last = String::new();
    while let Some(event) = stream.next().await {
        last = event;
    }
    assert_eq!(last, "event: signed-out\ndata: signed out\n\n");
    let again = site.ask(Method::GET, "/events?topics=now", "127.0.0.1:1", &[("cookie", &cookie)], "").await;
    assert_ne!(again.status, StatusCode::OK);
}

#[tokio::test]
async fn streams_are_for_readers() {
    let site = Site::open().await;
    let answer = site.ask(Method::GET, "/events?topics=now", "203.0.113.9:1", &[], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    let answer = site.ask(Method::GET, "/palette", "203.0.113.9:1", &[], "").await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

/// Theme and zone are there with the first bytes, on errors too; nothing in a cookie gets into a page.
#[tokio::test]
async fn pages_look_as_chosen() {
    let site = Site::open().await;
    site.storm().await;
    let id = site.newest_alert().await;
    let ask = async |path: &str, cookie: &str| {
        site.ask(Method::GET, path, "127.0.0.1:1", &[("cookie", cookie)], "").await.text
    };
    let path = format!("/alerts/{id}");
    let plain = ask(&path, "").await;
    assert!(plain.contains("2026-05-07 08:06:12 UTC") && !plain.contains("data-theme"));
    assert!(plain.contains("<meta name=\"color-scheme\" content=\"light dark\">"));
    let chosen = "dynowatch_theme=dark; dynowatch_zone=Europe/Berlin";
    let berlin = ask(&path, chosen).await;
    assert!(berlin.contains("2026-05-07 10:06:12 CEST") && berlin.contains("data-theme=\"dark\""));
    for missing in ["/alerts/x", "/deliveries?state=x"] {
        assert!(ask(missing, chosen).await.contains("data-theme=\"dark\""), "{missing}");
    }
    assert!(ask("/?wall=1", "").await.contains("data-wall"));
    let save = async |site_of: &str, body: &str| {
        let headers = [("sec-fetch-site", site_of), ("content-type", "application/x-www-form-urlencoded")];
        site.ask(Method::POST, "/preferences", "203.0.113.9:1", &headers, body).await
    };
    let kept = save("same-origin", "theme=dark&zone=europe%2Fberlin&back=%2Falerts").await;
    assert_eq!((kept.status, kept.header("location")), (StatusCode::SEE_OTHER, "/alerts"));
    let cookies: Vec<&str> = kept.headers.get_all("set-cookie").iter().map(|value| value.to_str().unwrap()).collect();
    assert_eq!(
        cookies,
        [
            "dynowatch_theme=dark; Path=/; Max-Age=31536000; SameSite=Lax",
            "dynowatch_zone=Europe/Berlin; Path=/; Max-Age=31536000; SameSite=Lax"
        ]
    );
    assert_eq!(save("cross-site", "theme=dark").await.status, StatusCode::FORBIDDEN);
    for wrong in ["theme=pink", "zone=Mars%2FOlympus"] {
        assert_eq!(save("same-origin", wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let odd = ask("/", "dynowatch_theme=\"><script>; dynowatch_zone=<b>").await;
    assert!(!odd.contains("<b>") && !odd.contains("\"><script>"));
}

#[tokio::test]
async fn the_shell() {
    let site = Site::open().await;
    let page = site.local("/").await.text;
    for part in [
        "<a class=\"skip\" href=\"#main\">",
        "<div class=\"environment production\">",
        "aria-current=\"page\"",
        "hx-sse:connect=\"/events?topics=now.",
        "<main id=\"main\"",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // No link of the shell is dead.
    let links: Vec<&str> = page.split("href=\"/").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    for link in links {
        let answer = site.local(&format!("/{link}")).await;
        assert_eq!(answer.status, StatusCode::OK, "{link}");
    }
}

/// Pages are compressed for who takes it.
#[tokio::test]
async fn pages_are_small() {
    let site = Site::open().await;
    let mut request = Request::builder().uri("/").header("accept-encoding", "gzip").body(Body::empty()).unwrap();
    request.extensions_mut().insert(Peer("127.0.0.1:40000".parse().unwrap()));
    let response = site.router.clone().oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    assert!(bytes.len() < 100 * 1024 && bytes.starts_with(&[0x1f, 0x8b]), "{}", bytes.len());
}
