//! What stands between a stranger and a change: the role that every path asks for, whose page sent a form, the order of
//! steps, and doors that stay shut where the store does not answer. Numbers in brackets are those of ASVS 5.0.

use std::time::Duration;

use dynowatch_testkit::postgres::TestDatabase;
use http::{Method, StatusCode};

use super::{FORBIDDEN, OK, SEE_OTHER, UNAUTHORIZED, audited, join};
use crate::browser::{Browser, PASSWORD, between, field};
use crate::site::{Site, TOKEN, rules};

/// The router's own tables: a path that is added is in these tests by itself.
const ROUTER: &str = include_str!("../../../src/router.rs");
const SOME_ID: &str = "00000000-0000-0000-0000-000000000001";
const REMOTE: &str = "203.0.113.9:40000";

/// The paths of a table with their methods, each with something in its places.
fn routes(table: &str) -> Vec<(Method, String)> {
    let lines = between(ROUTER, &format!("fn {table}() -> Vec<Route> {{"), "\n}\n").lines();
    let mut routes = Vec::new();
    for line in lines.filter(|line| line.trim_start().starts_with("(\"")) {
        let path = line.split('"').nth(3).unwrap();
        let path = ["{id}", "{drain}"].iter().fold(path.to_owned(), |path, place| path.replace(place, SOME_ID));
        let path = path.replace("{name}", "h12").replace("{dyno}", "web.1").replace("{file}", "a.csv");
        let handlers = [("get(", Method::GET), ("post(", Method::POST), ("put(", Method::PUT)];
        let handlers = handlers.into_iter().chain([("patch(", Method::PATCH), ("delete(", Method::DELETE)]);
        let of = handlers
            .filter(|(handler, _)| line.contains(&format!(" {handler}")) || line.contains(&format!(".{handler}")));
        routes.extend(of.map(|(_, method)| (method, path.clone())));
    }
    assert!(routes.len() > 40, "{table}: {routes:?}");
    routes
}

/// What everyone does with their own account.
fn is_own(path: &str) -> bool {
    path == "/sign-out" || path == "/step-up" || path.starts_with("/settings/security")
}

/// (8.2.1, 8.3.1, 3.5.1, 3.5.3, 7.5.3) Every form of the console asks for a role, for a fresh sign-in, and to be sent by a page
/// of this instance; none is sent by looking.
#[tokio::test]
async fn no_form_is_open() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut bob = join(&mut ada, "bob", "operator").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let all = routes("page_routes");
    let forms: Vec<&String> = all.iter().filter(|(method, _)| method == Method::POST).map(|(_, path)| path).collect();
    for path in &forms {
        assert_eq!(Browser::new(&site).post(path, &[]).await.status, UNAUTHORIZED, "nobody {path}");
        let token = ada.csrf.clone();
        for (from, token) in [("cross-site", token.as_str()), ("same-site", &token), ("same-origin", "")] {
            assert_eq!(ada.post_as(from, path, &[("csrf", token)]).await.status, FORBIDDEN, "{from} {path}");
        }
        if !is_own(path) {
            let answer = vic.post(path, &[]).await;
            assert!(
                answer.status == FORBIDDEN && answer.text.contains("This needs the role"),
                "{path}: {}",
                answer.text
            );
        }
        if path.starts_with("/settings/users") || path.starts_with("/settings/tokens") {
            let answer = bob.post(path, &[]).await;
            assert!(answer.status == FORBIDDEN && answer.text.contains("role superadmin"), "{path}: {}", answer.text);
        }
        if !all.contains(&(Method::GET, (*path).clone())) {
            assert_eq!(ada.get(path).await.status, StatusCode::METHOD_NOT_ALLOWED, "{path}");
        }
    }
    site.clock.advance(Duration::from_secs(12 * 3_600));
    for path in forms
        .into_iter()
        .filter(|path| !["/sign-out", "/step-up", "/settings/security/preferences"].contains(&path.as_str()))
    {
        let answer = ada.post(path, &[]).await;
        assert!(answer.status == FORBIDDEN && answer.text.contains("/step-up"), "{path}: {}", answer.text);
    }
}

/// The same for the API, by tokens and by a person's own page.
#[tokio::test]
async fn no_call_is_open() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    ada.get("/settings/tokens").await;
    let made = ada.confirm("/settings/tokens", &[("name", "reader"), ("read", "yes"), ("days", "7")], PASSWORD).await;
    let reader = format!("dw_{}", between(&made.text, "<code><span>dw_", "</span>"));
    for (method, path) in routes("api_routes") {
        let answer = site.ask(method.clone(), &path, REMOTE, &[], "{}").await;
        assert_eq!(answer.status, UNAUTHORIZED, "nobody: {method} {path}");
        if method == Method::GET {
            continue;
        }
        let answer = site.api_as(&reader, method.clone(), &path, "{}").await;
        assert!(answer.status == FORBIDDEN && answer.text.contains("this needs the scope"), "{path}: {}", answer.text);
        let token = ada.csrf.clone();
        let viewers = vic.csrf.clone();
        for (is_ada, kind, from, token) in [
            (false, "application/json", "same-origin", viewers.as_str()),
            (true, "application/json", "cross-site", &token),
            (true, "application/json", "same-origin", ""),
            (true, "text/plain", "same-origin", &token),
        ] {
            let who = if is_ada { &mut ada } else { &mut vic };
            let headers = [("content-type", kind), ("sec-fetch-site", from), ("x-csrf-token", token)];
            let answer = who.send(method.clone(), &path, &headers, "{}").await;
            let why = if is_ada { "only pages of this instance" } else { "this needs the scope" };
            assert!(answer.status == FORBIDDEN && answer.text.contains(why), "{kind} {from} {path}: {}", answer.text);
        }
    }
}

/// (6.3.4, 14.2.1) A token counts alone, and only in its header.
#[tokio::test]
async fn a_token_and_a_sign_in_do_not_add_up() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    ada.get("/settings/tokens").await;
    let made = ada.confirm("/settings/tokens", &[("name", "reader"), ("read", "yes"), ("days", "7")], PASSWORD).await;
    let reader = format!("Bearer dw_{}", between(&made.text, "<code><span>dw_", "</span>"));
    ada.get("/settings/tokens").await;
    let csrf = ada.csrf.clone();
    let own =
        [("content-type", "application/json"), ("sec-fetch-site", "same-origin"), ("x-csrf-token", csrf.as_str())];
    let path = "/api/v1/rules/h12/disable";
    for (bearer, want) in
        [(reader.as_str(), FORBIDDEN), ("Bearer nonsense", UNAUTHORIZED), ("Basic YWRhOng=", UNAUTHORIZED)]
    {
        let headers = [&own[..], &[("authorization", bearer)]].concat();
        assert_eq!(ada.send(Method::POST, path, &headers, r#"{"for":"1h"}"#).await.status, want, "{bearer}");
    }
    assert_eq!(ada.send(Method::POST, path, &own, r#"{"for":"1h"}"#).await.status, OK);
    for query in ["token", "access_token", "api_key", "authorization"] {
        let api = site.ask(Method::GET, &format!("/api/v1/apps?{query}={TOKEN}"), REMOTE, &[], "").await;
        assert_eq!(api.status, UNAUTHORIZED, "{query}");
    }
    let header = [("x-api-key", TOKEN)];
    assert_eq!(site.ask(Method::GET, "/api/v1/apps", REMOTE, &header, "").await.status, UNAUTHORIZED);
    // (3.4.2) No other site's script reads an answer, whether it is allowed for or not.
    for (method, path) in [(Method::GET, "/"), (Method::GET, "/api/v1/apps"), (Method::OPTIONS, "/api/v1/apps")] {
        let asks = [("origin", "https://evil.example"), ("access-control-request-method", "POST")];
        let answer = ada.send(method.clone(), path, &asks, "").await;
        assert!(!answer.headers.keys().any(|name| name.as_str().starts_with("access-control-")), "{method} {path}");
    }
}

/// (2.3.1) Steps are taken in their order, each with its own question.
#[tokio::test]
async fn no_step_is_left_out() {
    let site = Site::open().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    ada.get("/settings/users").await;
    let invite = [("name", "bob"), ("role", "viewer")];
    let question = ada.post("/settings/users", &invite).await;
    let of_invitation = field(&question.text, "challenge").unwrap();
    // A code without a password, with a question of nobody's or of another kind.
    let mut eve = Browser::new(&site);
    for challenge in ["", "0000", of_invitation.as_str()] {
        let answer = eve.post("/sign-in/code", &[("challenge", challenge), ("code", "000000")]).await;
        assert_eq!((answer.status, eve.jar.is_empty()), (UNAUTHORIZED, true), "{challenge}");
    }
    // A proof without its question, and one for the question of a sign-in.
    for challenge in ["", " "] {
        let fields = [&invite[..], &[("challenge", challenge), ("proof", PASSWORD)]].concat();
        let asked = ada.post("/settings/users", &fields).await;
        assert!(asked.status == OK && asked.text.contains("bob is invited as viewer"), "{}", asked.text);
    }
    // An authenticator that nobody began.
    ada.get("/settings/security").await;
    let answer = ada.post("/settings/security/authenticator/confirm", &[("code", "000000")]).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    let (_seed, _codes) = ada.enrol(PASSWORD).await;
    let asked = Browser::new(&site).sign_in("ada", PASSWORD).await;
    let of_sign_in = field(&asked.text, "challenge").unwrap();
    let fields = [&invite[..], &[("challenge", of_sign_in.as_str()), ("proof", "000000")]].concat();
    assert_eq!(ada.post("/settings/users", &fields).await.status, StatusCode::CONFLICT);
    assert_eq!(site.engine.store().users().await.unwrap().len(), 1, "nobody was invited");
}

/// (16.5.3) Where the store does not answer, nobody is let in, and nobody who was in goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_store_nothing_opens() {
    let database = TestDatabase::proxied().await;
    let site = Site::on(tempfile::tempdir().unwrap(), database.url(), rules()).await;
    site.token("phone", "stored-token-1").await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let (cookie, csrf) = (format!("dynowatch={}", ada.jar["dynowatch"]), ada.csrf.clone());
    database.cut().await;
    let local = "127.0.0.1:40000";
    let signed_in = [("cookie", cookie.as_str()), ("host", "localhost:8080"), ("sec-fetch-site", "same-origin")];
    let bearer = [("authorization", "Bearer stored-token-1")];
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let json = [("content-type", "application/json"), ("x-csrf-token", csrf.as_str())];
    let (forms, scripts) = ([&signed_in[..], &form].concat(), [&signed_in[..], &json].concat());
    let body = format!("csrf={csrf}&name=eve&role=superadmin");
    let answers = tokio::join!(
        site.ask(Method::GET, "/", local, &signed_in, ""),
        site.ask(Method::GET, "/settings/users", local, &signed_in, ""),
        site.ask(Method::POST, "/settings/users", local, &forms, &body),
        site.ask(Method::POST, "/sign-in", local, &forms, "name=ada&password=four+words+of+mine"),
        site.ask(Method::GET, "/api/v1/apps", REMOTE, &bearer, ""),
        site.ask(Method::GET, "/metrics", REMOTE, &bearer, ""),
        site.ask(Method::POST, "/api/v1/rules/h12/disable", local, &scripts, r#"{"for":"1h"}"#),
        site.ask(Method::GET, "/events?topics=now", local, &signed_in, ""),
    );
    let answers: [_; 8] = answers.into();
    for answer in answers {
        assert_eq!(
            (answer.status, answer.header("set-cookie")),
            (StatusCode::SERVICE_UNAVAILABLE, ""),
            "{}",
            answer.text
        );
    }
    database.restore().await;
    let mut tries = 0;
    while ada.get("/settings/users").await.status != OK {
        tries += 1;
        assert!(tries < 20, "and goes on when it does again");
    }
    assert_eq!(site.engine.store().users().await.unwrap().len(), 1);
}

/// (7.4.4) Whoever is in finds the way out on every page.
#[tokio::test]
async fn every_page_has_the_way_out() {
    let site = Site::open().await;
    site.storm().await;
    let mut ada = Browser::new(&site);
    ada.set_up("ada").await;
    let mut seen = 0;
    for (_, path) in routes("page_routes").into_iter().filter(|(method, _)| method == Method::GET) {
        if ["/events", "/palette"].contains(&path.as_str()) {
            continue;
        }
        let page = ada.get(&path).await;
        if page.status == OK && page.header("content-type").starts_with("text/html") {
            seen += 1;
            assert!(page.text.contains("action=\"/sign-out\""), "{path}");
        }
    }
    assert!(seen > 20, "{seen} pages");
    assert_eq!(ada.post("/sign-out", &[]).await.status, SEE_OTHER);
    assert_eq!(audited(&site, "sign_out").await.0, "user:ada");
}
