//! Who may see what: from where, with which token, through which proxy.

use dynowatch_domain::account::audit::Actor;
use http::{Method, StatusCode};

use crate::site::{Site, TOKEN};

const LOCAL: &str = "127.0.0.1:40000";
const REMOTE: &str = "203.0.113.9:40000";

#[tokio::test]
async fn the_matrix() {
    let site = Site::open().await;
    site.token("phone", "stored-token-1").await;
    let (bearer, stored) = (format!("Bearer {TOKEN}"), "Bearer stored-token-1".to_owned());
    let basic = format!("Basic {}", data_encoding::BASE64.encode(format!("anyone:{TOKEN}").as_bytes()));
    // peer, headers, then whether, while nobody has an account: a page, the metrics, the API, readiness in full.
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], [bool; 4]);
    let cases: [Case<'_>; 11] = [
        ("local", LOCAL, &[], [true, true, true, true]),
        ("local, bearer", LOCAL, &[("authorization", &bearer)], [true, true, true, true]),
        ("local, wrong bearer", LOCAL, &[("authorization", "Bearer nonsense")], [true, true, false, true]),
        ("local by a foreign name", LOCAL, &[("host", "evil.example")], [false, false, false, false]),
        ("forwarded", LOCAL, &[("x-forwarded-for", "203.0.113.9")], [false, false, false, false]),
        (
            "forwarded, bearer",
            LOCAL,
            &[("x-forwarded-for", "203.0.113.9"), ("authorization", &bearer)],
            [false, true, true, true],
        ),
        ("remote", REMOTE, &[], [false, false, false, false]),
        ("remote that claims to be local", REMOTE, &[("x-forwarded-for", "127.0.0.1")], [false, false, false, false]),
        ("remote, bearer", REMOTE, &[("authorization", &bearer)], [false, true, true, true]),
        ("remote, bearer of the store", REMOTE, &[("authorization", &stored)], [false, true, true, true]),
        ("remote, basic", REMOTE, &[("authorization", &basic)], [false, false, false, false]),
    ];
    for (name, peer, headers, [page, metrics, api, ready]) in cases {
        for path in ["/", "/deliveries"] {
            let answer = site.ask(Method::GET, path, peer, headers, "").await;
            let want = if page { StatusCode::OK } else { StatusCode::SEE_OTHER };
            assert_eq!(answer.status, want, "{name}: {path}");
            assert_eq!(answer.header("location").starts_with("/sign-in"), !page, "{name}: {path}");
        }
        for (path, may) in [("/metrics", metrics), ("/api/v1/apps", api)] {
            let answer = site.ask(Method::GET, path, peer, headers, "").await;
            let want = if may { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(answer.status, want, "{name}: {path}");
            assert_eq!(!answer.header("www-authenticate").is_empty(), !may, "{name}: {path}");
        }
        let answer = site.ask(Method::GET, "/readyz", peer, headers, "").await;
        assert_eq!((answer.status, answer.json().get("details").is_some()), (StatusCode::OK, ready), "{name}");
        let answer = site.ask(Method::GET, "/healthz", peer, headers, "").await;
        assert_eq!((answer.status, answer.json()["status"].as_str()), (StatusCode::OK, Some("ok")), "{name}");
        let answer = site.ask(Method::GET, "/api/v1/openapi.json", peer, headers, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn a_revoked_token_opens_nothing() {
    let site = Site::open().await;
    site.token("phone", "stored-token-1").await;
    assert_eq!(site.api_as("stored-token-1", Method::GET, "/api/v1/apps", "").await.status, StatusCode::OK);
    assert!(
        site.engine
            .store()
            .revoke_api_token("phone", &Actor::here("test").did("token.revoke", "phone"), site.engine.now())
            .await
            .unwrap()
    );
    assert_eq!(site.api_as("stored-token-1", Method::GET, "/api/v1/apps", "").await.status, StatusCode::UNAUTHORIZED);
    for odd in ["", " ", "ü", &"x".repeat(5_000)] {
        assert_eq!(
            site.api_as(odd, Method::GET, "/api/v1/apps", "").await.status,
            StatusCode::UNAUTHORIZED,
            "{odd:.10}"
        );
    }
}

/// The page leads to the sign-in and back, the API asks for a token in JSON.
#[tokio::test]
async fn each_is_refused_in_its_own_form() {
    let site = Site::open().await;
    let page = site.ask(Method::GET, "/alerts/x", REMOTE, &[], "").await;
    assert_eq!((page.status, page.header("location")), (StatusCode::SEE_OTHER, "/sign-in?next=/alerts/x"));
    let api = site.ask(Method::GET, "/api/v1/alerts", REMOTE, &[], "").await;
    assert!(api.header("www-authenticate").starts_with("Bearer "));
    assert_eq!(api.json()["error"]["code"], "unauthorized");
    let metrics = site.ask(Method::GET, "/metrics", REMOTE, &[], "").await;
    assert!(metrics.header("www-authenticate").starts_with("Bearer "));
}

#[tokio::test]
async fn every_answer_is_guarded() {
    let site = Site::open().await;
    for path in [
        "/",
        "/deliveries",
        "/nowhere",
        "/sign-in",
        "/setup/nonsense",
        "/api/v1/apps",
        "/api/v1/openapi.json",
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/nowhere",
    ] {
        let answer = site.local(path).await;
        let policy = answer.header("content-security-policy");
        assert!(
            policy.starts_with("default-src 'self';") && policy.contains("frame-ancestors 'none'"),
            "{path}: {policy}"
        );
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(
            (answer.header("x-content-type-options"), answer.header("cache-control")),
            ("nosniff", "no-store"),
            "{path}"
        );
        assert_eq!(answer.header("cross-origin-opener-policy"), "same-origin", "{path}");
        assert_eq!(answer.header("referrer-policy"), "no-referrer", "{path}");
    }
}
