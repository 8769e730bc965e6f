//! The Heroku account in the console: its apps connected by one click, drains changed by buttons, what Heroku refuses told
//! in words, and what it says of an app on that app's page.

use std::time::Duration;

use dynowatch_store::audit::AuditFilter;
use dynowatch_testkit::heroku::{FakeDyno, FakeHeroku, FakeProcess, Trouble};
use http::{Method, StatusCode};

use crate::accounts::join;
use crate::browser::Browser;
use crate::hostile::check;
use crate::pages::text;
use crate::site::{KNOWN_SECRET, Site, frame, settled};

const OK: StatusCode = StatusCode::OK;
const SEE_OTHER: StatusCode = StatusCode::SEE_OTHER;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;

/// An account with three apps: one to connect, one with drains elsewhere, one on Fir.
async fn account(site: &Site) -> FakeHeroku {
    let fake = site.heroku().await;
    fake.account(|account| {
        account.create("shop");
        account.add_on("shop", "heroku-postgresql", "heroku-postgresql:standard-0", "DATABASE_URL");
        account.release("shop", "Deploy 0a1b2c3d", "ada@example.com", "2026-05-07T07:00:00Z", Some("0a1b2c3d4e5f"));
        account.release("shop", "Set LOG_LEVEL, DEBUG config vars", "bo@example.com", "2026-05-07T07:30:00Z", None);
        let shop = account.app("shop");
        shop.maintenance = true;
        shop.team = Some("storefront");
        shop.formation.push(FakeProcess { kind: "worker", quantity: 2, size: "Standard-2X", command: "bin/worker" });
        account.create("blog");
        account.add_drain("blog", "https://logs.example/canary-path-secret");
        account.create("on-fir");
        account.app("on-fir").generation = Some("fir");
    });
    site.engine.heroku_sync_now().await.unwrap();
    fake
}

async fn ada(site: &Site) -> Browser<'_> {
    let mut ada = Browser::new(site);
    ada.set_up("ada").await;
    ada
}

/// Who did what, the newest first.
async fn audited(site: &Site, action: &str) -> Vec<(String, String, String)> {
    let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 10).await.unwrap();
    entries.into_iter().map(|entry| (entry.actor, entry.action, entry.subject)).collect()
}

fn drains(fake: &FakeHeroku, app: &str) -> Vec<String> {
    fake.account(|account| account.app(app).drains.iter().map(|drain| drain.id.to_string()).collect())
}

#[tokio::test]
async fn an_app_is_connected_by_one_click() {
    let site = Site::open().await;
    let fake = account(&site).await;
    let mut ada = ada(&site).await;
    let apps = ada.get("/apps").await.text;
    insta::assert_snapshot!("heroku_apps", settled(&site, &text(&apps)));
    insta::assert_snapshot!("heroku_connect", settled(&site, &text(&ada.get("/connect?app=blog").await.text)));
    let added = ada.post("/apps/blog/drains", &[("back", "connect")]).await;
    assert_eq!((added.status, added.header("location")), (SEE_OTHER, "/connect?app=blog"), "{}", added.text);
    assert_eq!(drains(&fake, "blog").len(), 2);
    let page = ada.get("/connect?app=blog").await.text;
    assert!(page.contains("It has a drain to here.") && page.contains("Waiting for its first line"), "{page}");
    let token = fake.account(|account| account.app("blog").drains[1].token.clone());
    assert_eq!(site.engine.apps().by_token(&token).unwrap().name, "blog", "its deliveries are known as its own");
    site.post("blog", frame("2026-05-07T08:06:10Z", "app", "web.1", "hello").as_bytes()).await;
    assert!(ada.get("/connect?app=blog").await.text.contains("It delivers."));
    assert_eq!(audited(&site, "drain.add").await, [("user:ada".into(), "drain.add".into(), "blog".into())]);
    // A second one would count every line twice.
    let again = ada.post("/apps/blog/drains", &[]).await;
    assert!(again.status == StatusCode::CONFLICT && again.text.contains("already"), "{}", again.text);
    assert_eq!(drains(&fake, "blog").len(), 2);
    let fir = ada.get("/connect?app=on-fir").await.text;
    assert!(fir.contains("no Logplex drains") && !fir.contains("Add the drain"), "{fir}");
    let fir = ada.post("/apps/on-fir/drains", &[]).await;
    assert!(fir.status == StatusCode::CONFLICT && fir.text.contains("no Logplex drains"), "{}", fir.text);
}

#[tokio::test]
async fn drains_are_changed_by_buttons() {
    let site = Site::open().await;
    let fake = account(&site).await;
    let mut ada = ada(&site).await;
    assert_eq!(ada.post("/apps/blog/drains", &[]).await.header("location"), "/apps/blog/drains");
    let page = ada.get("/apps/blog/drains").await.text;
    insta::assert_snapshot!("heroku_drains", settled(&site, &text(&page)));
    assert!(!page.contains("canary"), "no URL of a drain is shown");
    let old = drains(&fake, "blog")[1].clone();
    // What will be done is shown first, and nothing is done by looking.
    let question = ada.get(&format!("/apps/blog/drains/rotate?drain={old}")).await.text;
    insta::assert_snapshot!("heroku_drain_rotate", settled(&site, &text(&question)));
    assert_eq!(drains(&fake, "blog").len(), 2);
    assert_eq!(ada.post("/apps/blog/drains/rotate", &[("drain", &old)]).await.status, SEE_OTHER);
    assert_eq!(drains(&fake, "blog").len(), 3, "the second drain first");
    let page = text(&ada.get("/apps/blog/drains").await.text);
    insta::assert_snapshot!("heroku_drains_rotating", settled(&site, &page));
    assert_eq!(ada.post("/apps/blog/drains/rotate/abandon", &[]).await.status, SEE_OTHER);
    assert!(ada.get("/apps/blog/drains").await.text.contains("the old drain stayed"));
    assert_eq!(ada.post("/apps/blog/drains/rotate", &[("drain", &old)]).await.status, SEE_OTHER);
    assert_eq!(ada.post("/apps/blog/drains/rotate/proceed", &[]).await.status, SEE_OTHER);
    assert!(ada.get("/apps/blog/drains").await.text.contains("the new drain takes over at"));
    for _ in 0..45 {
        site.clock.advance(Duration::from_secs(2));
        site.engine.heroku_pass().await.unwrap();
    }
    let left = drains(&fake, "blog");
    assert!(left.len() == 2 && !left.contains(&old), "then the old one is removed");
    assert_eq!(ada.post("/apps/blog/drains/read", &[]).await.status, SEE_OTHER);
    let (elsewhere, ours) = (left[0].clone(), left[1].clone());
    let remove = format!("/apps/blog/drains/{ours}/remove");
    let question = ada.get(&remove).await.text;
    assert!(question.contains(&format!("DELETE /apps/blog/log-drains/{ours}")), "{question}");
    let wrong = ada.post(&remove, &[("confirm", "shop")]).await;
    assert!(wrong.status == StatusCode::BAD_REQUEST && drains(&fake, "blog").len() == 2, "{}", wrong.text);
    let other = ada.post(&format!("/apps/blog/drains/{elsewhere}/remove"), &[("confirm", "blog")]).await;
    assert!(other.status == StatusCode::CONFLICT && other.text.contains("not here"), "{}", other.text);
    assert_eq!(ada.post(&remove, &[("confirm", "blog")]).await.status, SEE_OTHER);
    assert_eq!(drains(&fake, "blog"), [elsewhere]);
    assert_eq!(ada.post("/apps/blog/runtime-metrics", &[("enabled", "true")]).await.status, SEE_OTHER);
    assert_eq!(fake.account(|account| account.app("blog").features.clone()), ["log-runtime-metrics"]);
    assert!(ada.get("/apps/blog/drains").await.text.contains("Switch it off"));
    assert_eq!(ada.post("/apps/blog/runtime-metrics", &[("enabled", "false")]).await.status, SEE_OTHER);
    assert_eq!(fake.account(|account| account.app("blog").features.clone()), [""; 0]);
    let done: Vec<String> = audited(&site, "drain.").await.into_iter().map(|(_, action, _)| action).collect();
    assert_eq!(
        done,
        ["drain.remove", "drain.rotate.proceed", "drain.rotate", "drain.rotate.abandon", "drain.rotate", "drain.add"]
    );
    assert_eq!(audited(&site, "app.runtime_metrics").await.len(), 2);
    assert_eq!(ada.post("/heroku/sync", &[]).await.header("location"), "/apps#heroku");
    assert_eq!(audited(&site, "heroku.sync").await[0].0, "user:ada");
}

/// Each change asks for the role, a form of ours, and a sign-in that is fresh.
#[tokio::test]
async fn changes_are_for_operators() {
    let site = Site::open().await;
    let fake = account(&site).await;
    let asked = fake.asked().len();
    let mut ada = ada(&site).await;
    let mut vic = join(&mut ada, "vic", "viewer").await;
    let mut guest = Browser::new(&site);
    let id = "019e0178-2a00-7000-8000-0000000000aa";
    let paths = [
        "/apps/blog/drains".to_owned(),
        "/apps/blog/drains/read".to_owned(),
        "/apps/blog/drains/rotate".to_owned(),
        "/apps/blog/drains/rotate/abandon".to_owned(),
        "/apps/blog/drains/rotate/proceed".to_owned(),
        format!("/apps/blog/drains/{id}/remove"),
        "/apps/blog/runtime-metrics".to_owned(),
        "/heroku/sync".to_owned(),
    ];
    for path in &paths {
        let fields = [("confirm", "blog"), ("enabled", "true")];
        assert_eq!(vic.post(path, &fields).await.status, FORBIDDEN, "{path}");
        assert!(vic.send(Method::GET, path, &[], "").await.status != StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(guest.post(path, &fields).await.status, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(ada.post_as("cross-site", path, &fields).await.status, FORBIDDEN, "{path}");
        assert_eq!(ada.post_as("same-origin", path, &fields).await.status, FORBIDDEN, "{path}: no token");
    }
    assert_eq!(vic.get("/apps/blog/drains/rotate").await.status, FORBIDDEN);
    let page = vic.get("/apps/blog/drains").await.text;
    assert!(page.contains("by operators") && !page.contains("<button class=\"primary\""), "{page}");
    ada.get("/apps/blog/drains").await;
    site.clock.advance(Duration::from_secs(12 * 3_600 + 1));
    for path in &paths {
        let refused = ada.post(path, &[("confirm", "blog")]).await;
        assert!(refused.status == FORBIDDEN && refused.text.contains("/step-up"), "{path}: {}", refused.text);
    }
    assert_eq!(fake.asked().len(), asked, "nothing was asked of Heroku");
}

/// Whatever Heroku answers becomes words on a page, with its error id and the id of the request; never a fault of ours.
#[tokio::test]
async fn what_heroku_refuses_is_told_in_words() {
    let site = Site::open().await;
    let fake = account(&site).await;
    let mut ada = ada(&site).await;
    ada.get("/apps/blog/drains").await;
    let refuse = |status, id| Trouble::refuse(status, id);
    for (line, trouble, words) in [
        (
            "POST /apps",
            refuse(403, "forbidden"),
            &["403 forbidden", "drains and features need", "[request fake-request-"][..],
        ),
        ("POST /apps", refuse(422, "verification_needed"), &["verification_needed", "[request fake-request-"]),
        ("GET /apps", refuse(401, "unauthorized"), &["401 unauthorized", "HEROKU_API_KEY"]),
        ("GET /apps", refuse(403, "two_factor"), &["two_factor", "second factor", "needs none"]),
        ("GET /apps", refuse(403, "suspended"), &["suspended", "dashboard.heroku.com/account"]),
        (
            "GET /apps",
            Trouble::Refuse { status: 429, id: "rate_limit", retry_after: Some(60) },
            &["429 rate_limit", "used up"],
        ),
        ("GET /apps", refuse(404, "not_found"), &["404 not_found", "[request fake-request-"]),
        ("POST /apps", refuse(503, ""), &["503 without an id", "done all the same"]),
        ("POST /apps", Trouble::Drop, &["could not be reached", "done all the same"]),
        ("GET /apps", Trouble::Lie("<html>"), &["cannot be right"]),
    ] {
        // Reading is tried again by itself.
        let times = if line.starts_with("GET") { 3 } else { 1 };
        (0..times).for_each(|_| fake.trouble(line, trouble.clone()));
        let page = ada.post("/apps/blog/drains", &[]).await;
        _ = fake.untrouble();
        assert_eq!(page.status, StatusCode::BAD_GATEWAY, "{trouble:?}: {}", page.text);
        for word in words {
            assert!(page.text.contains(word), "{trouble:?} {word}: {}", text(&page.text));
        }
        assert!(page.text.contains("Log drains of blog"), "{trouble:?}: one is still on the page of drains");
        assert_eq!(drains(&fake, "blog").len(), 1, "{trouble:?}");
    }
    let nobody = ada.post("/apps/nobody/drains", &[]).await;
    assert!(nobody.status == StatusCode::NOT_FOUND && nobody.text.contains("no app of the Heroku account"));
    site.connect(&fake, Duration::from_millis(30));
    (0..3).for_each(|_| fake.trouble("GET /apps", Trouble::Hang));
    let hung = ada.post("/apps/blog/drains/read", &[]).await;
    assert!(hung.status == StatusCode::BAD_GATEWAY && hung.text.contains("did not answer within"), "{}", hung.text);
    _ = fake.untrouble();
    site.connect(&fake, Duration::from_secs(20));
    (0..3).for_each(|_| fake.trouble("GET /apps", Trouble::refuse(500, "")));
    let refused = ada.post("/heroku/sync", &[]).await;
    assert_eq!(refused.status, StatusCode::BAD_GATEWAY, "{}", refused.text);
    // A drain that was added is no failure because the look after it failed.
    _ = fake.untrouble();
    fake.trouble("GET /apps", Trouble::Lie("[]"));
    assert_eq!(ada.post("/apps/blog/drains", &[]).await.status, SEE_OTHER);
    assert_eq!(drains(&fake, "blog").len(), 2);
    // Without a key the page still shows what was told, and says what is missing.
    site.engine.connect_heroku(None);
    let page = ada.get("/apps/blog/drains").await.text;
    assert!(page.contains("HEROKU_API_KEY") && page.contains("logs.example") && !page.contains("Replace it"), "{page}");
    let refused = ada.post("/apps/blog/drains", &[]).await;
    assert!(refused.status == StatusCode::CONFLICT && refused.text.contains("HEROKU_API_KEY is not set"));
}

#[tokio::test]
async fn without_a_key_it_is_said_how_else() {
    let site = Site::open().await;
    let page = site.local("/apps/shop/drains").await;
    assert!(page.status == OK && text(&page.text).contains("heroku drains --app"), "{}", page.text);
    assert_eq!(site.local("/apps/nobody/drains").await.status, StatusCode::NOT_FOUND);
    assert!(!site.local("/apps").await.text.contains("The Heroku account"));
}

#[tokio::test]
async fn what_heroku_says_of_an_app() {
    let site = Site::open().await;
    let fake = account(&site).await;
    insta::assert_snapshot!("heroku_app", settled(&site, &text(&site.local("/apps/shop?range=2h").await.text)));
    let fir = text(&site.local("/apps/on-fir").await.text);
    assert!(fir.contains("Fir, no Logplex drain") && fir.contains("OTLP"), "{fir}");
    // That an app has no drain is no news of how things stand.
    let now = text(&site.local("/").await.text);
    assert!(!now.contains("blog") && !now.contains("on-fir"), "{now}");
    // A process dies, another runs an older release: the table of dynos knows without a drain.
    fake.account(|account| {
        let id = account.id();
        let dyno = |state, release| FakeDyno { id, name: "web.2".into(), state, size: "Standard-1X", release };
        account.app("blog").dynos.push(dyno("crashed", 7));
    });
    site.engine.heroku_sync_now().await.unwrap();
    let page = text(&site.local("/apps/blog").await.text);
    assert!(page.contains("web.1 |  | up") && page.contains("web.2 |  | crashed"), "{page}");
    assert!(page.contains("Dynos run different releases: v7 on 1, v1 on 1."), "{page}");
}

/// Everything that Heroku answers may be somebody's attempt.
#[tokio::test]
async fn no_page_takes_anything_from_heroku() {
    let site = Site::open().await;
    let nasty = "\"><img src=x onerror=alert(1)><script>";
    let fake = site.heroku().await;
    fake.account(|account| {
        account.create("shop");
        account.release("shop", &format!("Deploy {nasty} {KNOWN_SECRET}"), nasty, "2026-05-07T07:00:00Z", Some(nasty));
        account.add_drain("shop", "https://logs.example/x");
        account.add_on("shop", "heroku-redis", "heroku-redis:mini", "REDIS_URL");
        let shop = account.app("shop");
        shop.team = Some("\"><img src=x onerror=alert(1)><script>");
        shop.stack = "</table><b onclick=x>";
        shop.drains[0].addon = Some(nasty.to_owned());
        shop.addons[0].config_vars = vec!["<i>"];
        shop.dynos[0].state = "<script>";
        shop.dynos[0].size = "<b>";
    });
    site.engine.heroku_sync_now().await.unwrap();
    _ = fake.violations();
    for page in ["/apps", "/apps/shop", "/apps/shop/drains", "/connect?app=shop", "/apps/%3Cscript%3E/drains", "/"] {
        let answer = site.local(page).await;
        check(page, &answer.text);
        assert!(!answer.text.contains("canary"), "{page}");
    }
}
