//! Who may deliver, and whose app it is.

use dynowatch_domain::signal::Kind;
use dynowatch_web::drain::{app_subject, credential_text};

use super::{CREDENTIAL, DRAIN_TOKEN, Served, batch, target};
use crate::site::SECRET;

#[tokio::test]
async fn a_credential_is_what_the_runbook_says() {
    assert_eq!(credential_text(&SECRET.into(), DRAIN_TOKEN).unwrap(), CREDENTIAL);
}

#[tokio::test]
async fn refused_credentials() {
    let served = Served::open().await;
    let token = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let upper = CREDENTIAL.to_uppercase();
    let named = credential_text(&SECRET.into(), &app_subject("shop")).unwrap();
    let basic = |user: &str, password: &str| {
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("{user}:{password}").as_bytes()))
    };
    let cases = [
        ("no credential", "/drain".to_owned(), token.clone()),
        ("an empty one", "/drain?drain_token=".to_owned(), token.clone()),
        ("a wrong one", format!("/drain?drain_token={}", "0".repeat(64)), token.clone()),
        ("a cut one", format!("/drain?drain_token={}", &CREDENTIAL[..63]), token.clone()),
        ("in capitals", format!("/drain?drain_token={upper}"), token.clone()),
        ("no drain token", target(), String::new()),
        ("another's drain token", target(), "Logplex-Drain-Token: d.other\r\n".to_owned()),
        (
            "a drain token that poses as an app",
            format!("/drain?drain_token={named}"),
            "Logplex-Drain-Token: app:shop\r\n".to_owned(),
        ),
        ("app without password", "/drain/shop".to_owned(), String::new()),
        ("app with a wrong password", "/drain/shop".to_owned(), basic("drain", "nonsense")),
        ("app with another user", "/drain/shop".to_owned(), basic("root", &named)),
        ("another app", "/drain/other".to_owned(), basic("drain", &named)),
        ("an app that is no name", "/drain/a%20b".to_owned(), basic("drain", &named)),
        ("an app that is no name, for a client", "/drain/%2e%2e".to_owned(), basic("drain", &named)),
        ("two apps", "/drain/a/b".to_owned(), basic("drain", &named)),
        ("two slashes", "/drain//".to_owned(), basic("drain", &named)),
        ("no app", "/drain/".to_owned(), basic("drain", &named)),
    ];
    let count = cases.len() as u64;
    for (name, target, headers) in cases {
        assert_eq!(served.post(&target, &headers, batch().as_bytes()).await.status, 401, "{name}");
    }
    assert_eq!((served.lines("shop"), served.site.engine.stats().batches_unauthorized.get()), (0, count));
    let ready = served.site.local("/readyz").await.json();
    assert_eq!(ready["details"]["deliveries_unauthorized"], count);
    assert!(ready["details"]["warnings"].to_string().contains("refused with 401"));
    // Rules can see it, too: under the app whose drain it was, or our own where nobody is known.
    let rejected = |app: &str| {
        served
            .site
            .engine
            .apps()
            .by_name(app)
            .map_or(0, |app| served.site.engine.totals(app, |t| t.counts.kinds[Kind::DrainRejected.index()]))
    };
    assert!(rejected("shop") + rejected("dynowatch") <= 1, "at most one a second is kept");
}

#[tokio::test]
async fn an_app_by_its_name() {
    let served = Served::open().await;
    let password = credential_text(&SECRET.into(), &app_subject("space-app")).unwrap();
    let auth =
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("drain:{password}").as_bytes()));
    // A Private Space sends no Logplex headers at all.
    assert_eq!(served.post("/drain/space-app", &auth, batch().as_bytes()).await.status, 204);
    assert_eq!((served.lines("space-app"), served.h12s("space-app")), (3, 1));
    assert_eq!(served.site.get("/api/v1/apps/space-app").await["origin"], "url");
}

/// Whoever wrote the drain's URL by hand may have ended it with a slash, or escaped what needs no escaping.
#[tokio::test]
async fn paths_as_people_write_them() {
    let served = Served::open().await;
    let token = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let password = credential_text(&SECRET.into(), &app_subject("space-app")).unwrap();
    let auth =
        format!("Authorization: Basic {}\r\n", data_encoding::BASE64.encode(format!("drain:{password}").as_bytes()));
    let cases = [
        ("/drain", &token),
        ("/drain/", &token),
        ("/api/internal/heroku-log-drain", &token),
        ("/api/internal/heroku-log-drain/", &token),
        ("/drain/space-app", &auth),
        ("/drain/space-app/", &auth),
        ("/drain/space%2Dapp", &auth),
        ("/drain/sp%61ce-app/", &auth),
    ];
    for (path, headers) in cases {
        let target = format!("{path}?drain_token={CREDENTIAL}");
        assert_eq!(served.post(&target, headers, batch().as_bytes()).await.status, 204, "{path}");
    }
    assert_eq!((served.lines("shop"), served.lines("space-app")), (12, 12));
}

/// A token that would break the URLs of its app is adopted under a name that does not.
#[tokio::test]
async fn an_odd_token_makes_an_app_with_a_plain_name() {
    let served = Served::open().await;
    for token in ["d/../x y?#", "..", "a/b", "a-b"] {
        let target = format!("/drain?drain_token={}", credential_text(&SECRET.into(), token).unwrap());
        let headers = format!("Logplex-Drain-Token: {token}\r\n");
        assert_eq!(served.post(&target, &headers, batch().as_bytes()).await.status, 204, "{token}");
    }
    let apps = served.site.get("/api/v1/apps").await;
    let names: Vec<&str> = apps["items"].as_array().unwrap().iter().map(|app| app["name"].as_str().unwrap()).collect();
    assert_eq!(names.len(), 5, "no two tokens became one app: {names:?}");
    for name in names {
        let app = served.site.get(&format!("/api/v1/apps/{name}")).await;
        assert_eq!(app["name"], name);
    }
    for wrong in ["a/b", "..", "", "ü", "a b"] {
        let body = serde_json::json!({ "name": wrong }).to_string();
        let answer = served.site.api(http::Method::PATCH, "/api/v1/apps/a-b", &body).await;
        assert_eq!(answer.status.as_u16(), 400, "{wrong}");
        assert!(answer.text.contains("is not a name for an app: use 1 to 100 letters, digits"), "{}", answer.text);
    }
}

#[tokio::test]
async fn an_unknown_drain_makes_an_app() {
    let served = Served::open().await;
    let token = "d.aaaaaaaa-89ab-4cde-8f01-23456789abcd";
    let target = format!("/drain?drain_token={}", credential_text(&SECRET.into(), token).unwrap());
    for _ in 0..2 {
        assert_eq!(
            served.post(&target, &format!("Logplex-Drain-Token: {token}\r\n"), batch().as_bytes()).await.status,
            204
        );
    }
    served.site.engine.refresh_pass().await.unwrap();
    let app = served.site.get(&format!("/api/v1/apps/{token}")).await;
    assert_eq!(
        (&app["origin"], &app["host_hint"], &app["lines"]),
        (&"adopted".into(), &"shop.example.com".into(), &6.into())
    );
}

#[tokio::test]
async fn secrets_rotate() {
    let served = Served::open().await;
    let with = |secret: &str| format!("/drain?drain_token={}", credential_text(&secret.into(), DRAIN_TOKEN).unwrap());
    let headers = format!("Logplex-Drain-Token: {DRAIN_TOKEN}\r\n");
    let phases: [(&[&str], [u16; 2]); 3] =
        [(&["old"], [204, 401]), (&["new", "old"], [204, 204]), (&["new"], [401, 204])];
    for (secrets, wants) in phases {
        served.settings(|settings| settings.secrets = secrets.iter().map(|secret| (*secret).into()).collect());
        for (secret, want) in ["old", "new"].into_iter().zip(wants) {
            // Twice: the second time the credential is remembered.
            for _ in 0..2 {
                assert_eq!(served.post(&with(secret), &headers, b"").await.status, want, "{secret} under {secrets:?}");
            }
        }
    }
}

#[tokio::test]
async fn switched_off_or_without_a_secret() {
    let served = Served::open().await;
    served.settings(|settings| settings.enabled = false);
    assert_eq!(served.deliver("", batch().as_bytes()).await, 501);
    served.settings(|settings| settings.secrets.clear());
    assert_eq!(served.deliver("", batch().as_bytes()).await, 501);
    assert_eq!(served.post("/drain", "", b"").await.status, 501);
    assert_eq!(served.site.engine.stats().batches_disabled.get(), 3);
    assert!(served.site.local("/readyz").await.text.contains("the drain is off"));
    served.settings(|_| {});
    assert_eq!(served.deliver("", batch().as_bytes()).await, 204);
}
