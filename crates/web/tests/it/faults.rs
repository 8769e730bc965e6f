//! What answers when something in here panics, wherever in a request that is: the clock of the site breaks at each place
//! where it is asked, one after the other.

use http::{Method, StatusCode};

use crate::accounts::faults::{Log, tells_nothing};
use crate::browser::Browser;
use crate::drain::{DRAIN_TOKEN, Served};
use crate::site::{Answer, KNOWN_SECRET, Site, TOKEN, app_line};

const BROKEN: StatusCode = StatusCode::INTERNAL_SERVER_ERROR;
const ID: &str = "8f14e45f-ceea-467f-a0e6-2b1b1a9c0001";

/// Asks again and again, with the clock broken a little later each time, until it is asked no more. Every answer to a panic
/// is looked at, and the next is whole again. Gives how many there were.
async fn wherever_it_breaks(site: &Site, log: &Log, ask: impl AsyncFn() -> Answer, look: impl Fn(&Answer)) -> u32 {
    let whole = ask().await;
    assert!(whole.status.is_success(), "{}", whole.text);
    for n in 1..200 {
        log.take();
        site.fuse.break_at(n);
        let answer = ask().await;
        if !site.fuse.is_out() {
            site.fuse.break_at(0);
            assert_eq!(answer.status, whole.status, "{}", answer.text);
            return n - 1;
        }
        assert_eq!(answer.status, BROKEN, "question {n}: {}", answer.text);
        look(&answer);
        tells_nothing("the answer", &answer.text);
        let said = log.take();
        assert!(said.contains("ERROR") && said.contains(ID) && said.contains("forty-two"), "{said}");
        for text in [&answer.text, &said] {
            assert!(!text.contains(KNOWN_SECRET), "{text}");
        }
        assert!(!answer.text.contains("forty-two"), "{}", answer.text);
        assert_eq!(ask().await.status, whole.status, "after question {n}");
    }
    panic!("the clock is asked without end");
}

/// How often `/metrics` says that something of this kind broke.
async fn counted(site: &Site, of: &str) -> u32 {
    let metrics = site.local("/metrics").await.text;
    let line = format!("dynowatch_faults_total{{of=\"{of}\"}} ");
    metrics.lines().find_map(|text| text.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_page_that_breaks_says_so() {
    let log = Log::default();
    let _heard = tracing::subscriber::set_default(log.clone());
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let cookie = format!("dynowatch={}", ada.jar["dynowatch"]);
    let mut broke = 0;
    for path in ["/", "/rules", "/alerts", "/settings/users", "/setup/nonsense", "/nowhere-at-all"] {
        let ask = async || {
            let headers = [("host", "localhost:8080"), ("cookie", cookie.as_str()), ("x-request-id", ID)];
            let mut answer = site.ask(Method::GET, path, "127.0.0.1:40000", &headers, "").await;
            if answer.status == StatusCode::NOT_FOUND {
                // That is what it says when nothing breaks.
                answer.status = StatusCode::OK;
            }
            answer
        };
        let times = wherever_it_breaks(&site, &log, ask, |answer| {
            assert!(answer.header("content-type").starts_with("text/html"), "{path}: {:?}", answer.headers);
            assert!(answer.header("content-security-policy").contains("default-src"), "{path}: {:?}", answer.headers);
            for part in ["500 Internal Server Error", "Something broke in dynowatch", ID, "See what is wrong now"] {
                assert!(answer.text.contains(part), "{path}: {part}: {}", answer.text);
            }
        })
        .await;
        assert!(times > 0, "{path}");
        broke += times;
    }
    assert_eq!((counted(&site, "page").await, counted(&site, "api").await), (broke, 0));
    // Who is in keeps the navigation: the page broke, not the session.
    site.fuse.break_at(2);
    let answer = ada.get("/alerts").await;
    assert!(answer.status == BROKEN && answer.text.contains("action=\"/sign-out\""), "{}", answer.text);
}

#[tokio::test]
async fn the_api_that_breaks_says_so_in_its_own_form() {
    let log = Log::default();
    let _heard = tracing::subscriber::set_default(log.clone());
    let site = Site::open().await;
    let bearer = format!("Bearer {TOKEN}");
    let mut broke = 0;
    for path in ["/api/v1/apps", "/api/v1/drain", "/readyz"] {
        let ask = async || {
            let headers = [("authorization", bearer.as_str()), ("x-request-id", ID)];
            site.ask(Method::GET, path, "203.0.113.9:40000", &headers, "").await
        };
        let times = wherever_it_breaks(&site, &log, ask, |answer| {
            let error = &answer.json()["error"];
            assert_eq!(error["code"], "internal", "{path}");
            assert_eq!(error["detail"], format!("request {ID}"), "{path}");
        })
        .await;
        assert!(times > 0, "{path}");
        broke += times;
    }
    assert_eq!((counted(&site, "page").await, counted(&site, "api").await), (0, broke));
    // Without a name of its own, a request gets one.
    site.fuse.break_at(1);
    let answer = site.api(Method::GET, "/api/v1/apps", "").await;
    let detail = answer.json()["error"]["detail"].as_str().unwrap().to_owned();
    assert!(log.take().contains(detail.strip_prefix("request ").unwrap()), "{detail}");
}

/// Logplex sends again what was answered 500. The batch counts nowhere as taken, and what it may have held is a gap.
#[tokio::test]
async fn a_delivery_that_breaks_is_not_taken() {
    let log = Log::default();
    let _heard = tracing::subscriber::set_default(log.clone());
    let served = Served::open().await;
    let body = app_line("2026-05-07T08:06:12Z", "web.1", "hello");
    assert_eq!(served.deliver("", body.as_bytes()).await, 204);
    let app = served.site.engine.apps().by_token(DRAIN_TOKEN).unwrap().name.clone();
    log.take();
    served.site.fuse.break_at(1);
    let frame = "Logplex-Frame-Id: 09C557EAFCFB6CF2740EE62F62971098\r\n";
    assert_eq!(served.deliver(frame, body.as_bytes()).await, 500);
    assert!(served.site.fuse.is_out());
    let said = log.take();
    assert!(said.contains("09C557EAFCFB6CF2740EE62F62971098") && said.contains(&app), "{said}");
    assert!(said.contains("forty-two") && !said.contains(KNOWN_SECRET), "{said}");
    assert_eq!(served.site.engine.stats().batches_accepted.get(), 1);
    assert_eq!(served.lines(&app), 1);
    assert_eq!(counted(&served.site, "drain").await, 1);
    // Sent again, it is taken and counts once.
    assert_eq!(served.deliver(frame, body.as_bytes()).await, 204);
    assert_eq!((served.lines(&app), served.site.engine.stats().batches_in_progress.get()), (2, 0));
    served.site.engine.level_pass().await.unwrap();
    let drain = served.site.get("/api/v1/drain").await;
    assert_eq!(drain["batches"]["fault"], 1, "{drain}");
    assert_eq!(drain["blind"][0]["reason"], "refused", "{drain}");
}
