//! What the client asks, and what it reads of the answers.

use dynowatch_heroku::{Client, ClientOptions, Generation, LOG_RUNTIME_METRICS};
use dynowatch_testkit::heroku::{FakeHeroku, KEY, Trouble};
use secrecy::ExposeSecret as _;

/// A client that waits as little as it can.
pub(crate) fn client(fake: &FakeHeroku) -> Client {
    crate::with_tls();
    let options = ClientOptions {
        base_url: fake.url(),
        retry_wait: std::time::Duration::from_millis(1),
        request_max: std::time::Duration::from_secs(5),
        ..ClientOptions::new(KEY.into())
    };
    Client::new(options).unwrap()
}

#[tokio::test]
async fn every_page_of_a_list_is_read() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| (0..23).for_each(|i| _ = account.create(&format!("app-{i:02}"))));
    for page in [1, 5, 22, 23, 24] {
        fake.page_by(page);
        let before = fake.asked().len();
        let mut names: Vec<String> = client(&fake).apps().await.unwrap().into_iter().map(|app| app.name).collect();
        names.sort_unstable();
        assert_eq!(names, (0..23).map(|i| format!("app-{i:02}")).collect::<Vec<_>>(), "{page}");
        assert_eq!(fake.asked().len() - before, 23_usize.div_ceil(page), "{page}");
    }
}

#[tokio::test]
async fn one_config_var_and_no_other() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("shop-web");
        let vars = [("REDIS_URL", "rediss://:canary-one@redis.example"), ("OTHER_KEY", "canary-two")];
        account.app("shop-web").vars = vars.map(|(name, value)| (name, value.to_owned())).to_vec();
    });
    let client = client(&fake);
    let found = client.config_var("shop-web", "REDIS_URL").await.unwrap().unwrap();
    assert_eq!(found.expose_secret(), "rediss://:canary-one@redis.example");
    assert!(!format!("{found:?}").contains("canary"));
    assert!(client.config_var("shop-web", "redis_url").await.unwrap().is_none());
    assert!(client.config_var("gone", "REDIS_URL").await.is_err());
    // What is no such object is refused without a word of what it held.
    for lie in ["[\"canary-three\"]", "{\"REDIS_URL\": 7, \"X\": \"canary-three\"}", "{\"REDIS_URL\": \"canary-three\""]
    {
        fake.trouble("GET /apps/shop-web/config-vars", Trouble::Lie(lie));
        let error = client.config_var("shop-web", "REDIS_URL").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}

#[tokio::test]
async fn an_app_with_all_it_has() {
    let fake = FakeHeroku::start().await;
    let id = fake.account(|account| {
        let id = account.create("shop-web");
        account.add_on("shop-web", "heroku-postgresql", "heroku-postgresql:standard-0", "DATABASE_URL");
        account.release("shop-web", "Deploy 0a1b2c3d", "dev@example.com", "2026-05-07T08:00:00Z", Some("0a1b2c3d4e5f"));
        account.release("shop-web", "Set LOG_LEVEL config vars", "ops@example.com", "2026-05-07T08:05:00Z", None);
        account.add_drain("shop-web", "https://drain:canary-password@ops.example/drain/shop-web");
        id
    });
    let client = client(&fake);
    let app = client.app("shop-web").await.unwrap();
    assert_eq!((app.id, app.generation(), app.stack()), (id, Generation::Cedar, Some("heroku-24")));
    assert_eq!((app.owner(), app.region(), app.maintenance), (Some("owner@example.com"), Some("eu"), Some(false)));
    let formation = client.formation("shop-web").await.unwrap();
    assert_eq!(
        (formation[0].process_type.as_str(), formation[0].quantity, formation[0].size.as_str()),
        ("web", 1, "Standard-1X")
    );
    let dynos = client.dynos("shop-web").await.unwrap();
    assert_eq!((dynos[0].name.as_str(), dynos[0].state.as_str(), dynos[0].release()), ("web.1", "up", Some(1)));
    let addons = client.addons().await.unwrap();
    assert_eq!(
        (addons[0].app_id(), addons[0].service(), addons[0].config_vars.as_slice()),
        (id, Some("heroku-postgresql"), &["DATABASE_URL".to_owned()][..])
    );
    let releases = client.newest_releases("shop-web", 10).await.unwrap();
    assert_eq!(releases.iter().map(|release| release.version).collect::<Vec<_>>(), [2, 1], "the newest first");
    assert_eq!(releases[0].code(), releases[1].code(), "a change of configuration keeps the slug");
    assert_eq!(releases[0].author(), Some("ops@example.com"));
    let slug = client.slug("shop-web", releases[1].slug().unwrap()).await.unwrap();
    assert_eq!(slug.commit.as_deref(), Some("0a1b2c3d4e5f"));
    let drains = client.log_drains("shop-web").await.unwrap();
    assert!(drains[0].url.expose_secret().contains("canary-password"));
    assert_eq!(client.remaining(), Some(4_500 - 7));
    assert_eq!(client.rate_limit().await.unwrap(), 4_500 - 7);
    let shown = format!("{app:?} {formation:?} {dynos:?} {addons:?} {releases:?} {slug:?} {drains:?} {client:?}");
    assert!(!shown.contains("canary"), "{shown}");
    assert!(!shown.contains(KEY), "{shown}");
    assert_eq!(fake.count("config-vars"), 0);
}

#[tokio::test]
async fn newest_releases_are_one_page() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("shop");
        for i in 0..30 {
            account.release("shop", &format!("Deploy {i}"), "dev@example.com", "2026-05-07T08:00:00Z", Some("0a"));
        }
    });
    let releases = client(&fake).newest_releases("shop", 5).await.unwrap();
    assert_eq!(releases.iter().map(|release| release.version).collect::<Vec<_>>(), [30, 29, 28, 27, 26]);
    assert_eq!(fake.count("releases"), 1);
}

#[tokio::test]
async fn drains_and_features_change() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| _ = account.create("shop"));
    let client = client(&fake);
    let url = "https://drain:canary-password@ops.example/drain/shop".into();
    let drain = client.create_log_drain("shop", &url).await.unwrap();
    assert!(drain.token.starts_with("d.") && drain.addon().is_none());
    let error = client.create_log_drain("shop", &url).await.unwrap_err();
    assert_eq!(error.id(), Some(dynowatch_heroku::ErrorId::InvalidParams));
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    client.delete_log_drain("shop", drain.id).await.unwrap();
    assert!(client.delete_log_drain("shop", drain.id).await.unwrap_err().is_not_found());
    assert!(!client.feature("shop", LOG_RUNTIME_METRICS).await.unwrap().enabled);
    assert!(client.set_feature("shop", LOG_RUNTIME_METRICS, true).await.unwrap().enabled);
    assert!(client.feature("shop", LOG_RUNTIME_METRICS).await.unwrap().enabled);
}

#[tokio::test]
async fn fir_apps_are_told() {
    let fake = FakeHeroku::start().await;
    fake.account(|account| {
        account.create("by-generation");
        account.create("by-stack");
        account.app("by-generation").generation = Some("fir");
        let app = account.app("by-stack");
        (app.generation, app.stack) = (None, "cnb");
    });
    for name in ["by-generation", "by-stack"] {
        assert_eq!(client(&fake).app(name).await.unwrap().generation(), Generation::Fir, "{name}");
    }
}
