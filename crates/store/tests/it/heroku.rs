//! What the Heroku account says, and drains being replaced.

use dynowatch_domain::drain_rotation::{DrainRef, Event, Rotation, State};
use dynowatch_domain::release::{FromApi, Release, ReleaseKind};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::heroku::{AddOn, Drain, Dyno, Facts, HerokuApp, Part, Process, SyncState, Wanted};
use dynowatch_store::releases::ApiRelease;
use dynowatch_store::{Changes, StoreError};
use uuid::Uuid;

use crate::bed::{Bed, id, t};

fn app(app: AppId, name: &str, heroku_id: Uuid) -> HerokuApp {
    HerokuApp {
        app,
        heroku_id,
        name: name.to_owned(),
        facts: Facts { stack: Some("heroku-24\0".to_owned()), released_at: Some(t(5)), ..Facts::default() },
        formation: vec![Process { process_type: "web".into(), quantity: 2, size: "Standard-1X".into(), gone_at: None }],
        dynos: vec![Dyno {
            name: "web.1".into(),
            process_type: "web".into(),
            state: "up".into(),
            size: "Standard-1X".into(),
            release: Some(7),
            changed_at: Some(t(1)),
            gone_at: Some(t(2)),
        }],
        addons: vec![AddOn {
            id: id(),
            name: "postgresql-flat-1".into(),
            service: Some("heroku-postgresql".into()),
            plan: None,
            state: "provisioned".into(),
            config_vars: vec!["DATABASE_URL".into()],
            gone_at: None,
        }],
        drains: vec![Drain {
            id: id(),
            token: "d.1".into(),
            ours: true,
            host: "ops.example".into(),
            addon: None,
            mark: None,
            created_at: None,
            gone_at: None,
        }],
        seen_at: t(1),
        gone_at: None,
        dynos_at: Some(t(2)),
        drains_at: None,
        releases_at: None,
        next_dynos_at: t(60),
        next_drains_at: t(900),
        problem: None,
    }
}

pub(crate) async fn apps_of_the_account(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let first = app(shop, "shop", id());
    bed.store.save_heroku_app(&first, Part::All).await.unwrap();
    bed.store.save_heroku_app(&HerokuApp { next_dynos_at: t(10), ..app(blog, "blog", id()) }, Part::All).await.unwrap();
    let found = bed.store.heroku_apps(Wanted::App(shop)).await.unwrap();
    let stack = Some("heroku-24\u{fffd}".to_owned());
    let want = HerokuApp { facts: Facts { stack, ..first.facts.clone() }, ..first.clone() };
    assert_eq!(found, [want]);
    let names = async |wanted| {
        let apps = bed.store.heroku_apps(wanted).await.unwrap();
        apps.into_iter().map(|app| app.name).collect::<Vec<_>>()
    };
    assert_eq!(names(Wanted::All).await, ["blog", "shop"]);
    assert_eq!(names(Wanted::DynosDue(t(9), 5)).await, Vec::<String>::new());
    assert_eq!(names(Wanted::DynosDue(t(60), 5)).await, ["blog", "shop"]);
    assert_eq!(names(Wanted::DynosDue(t(60), 1)).await, ["blog"]);
    // What is gone is not asked for, but there.
    bed.store.save_heroku_app(&HerokuApp { gone_at: Some(t(50)), ..first.clone() }, Part::All).await.unwrap();
    assert_eq!(names(Wanted::DynosDue(t(60), 5)).await, ["blog"]);
    assert_eq!(names(Wanted::Named("shop")).await, Vec::<String>::new());
    assert_eq!(names(Wanted::All).await.len(), 2);
    // The same app of Heroku now stands behind another of ours.
    let diary = bed.app("diary").await;
    bed.store.save_heroku_app(&HerokuApp { app: diary, ..first }, Part::All).await.unwrap();
    assert_eq!(bed.store.heroku_apps(Wanted::App(shop)).await.unwrap(), []);
    assert_eq!(names(Wanted::Named("shop")).await, ["shop"]);
}

/// Two that each read a part do not undo each other.
pub(crate) async fn parts_of_a_row_are_written_apart(bed: &Bed) {
    let shop = bed.app("shop").await;
    let before = HerokuApp { drains: Vec::new(), ..app(shop, "shop", id()) };
    bed.store.save_heroku_app(&before, Part::All).await.unwrap();
    let full = app(shop, "renamed", before.heroku_id);
    let with_drains = HerokuApp { drains: full.drains.clone(), drains_at: Some(t(70)), ..before.clone() };
    let with_dynos = HerokuApp { formation: Vec::new(), dynos_at: Some(t(71)), ..before.clone() };
    for (part, row) in [
        (Part::Drains, &with_drains),
        (Part::Dynos, &with_dynos),
        (Part::AddOns, &HerokuApp { addons: Vec::new(), ..before.clone() }),
        (Part::App, &HerokuApp { name: "renamed".into(), ..before.clone() }),
        (Part::Schedule, &HerokuApp { problem: Some("away".into()), ..before.clone() }),
    ] {
        bed.store.save_heroku_app(row, part).await.unwrap();
    }
    let found = bed.store.heroku_apps(Wanted::App(shop)).await.unwrap().pop().unwrap();
    assert_eq!((found.drains, found.drains_at), (full.drains, Some(t(70))));
    assert_eq!((found.formation.len(), found.dynos_at, found.addons.len()), (0, Some(t(71)), 0));
    assert_eq!((found.name.as_str(), found.problem.as_deref()), ("renamed", Some("away")));
    // Whoever asks for all of it makes it due.
    bed.store.heroku_apps_due(t(90)).await.unwrap();
    assert_eq!(bed.store.heroku_apps(Wanted::DrainsDue(t(90), 9)).await.unwrap().len(), 1);
    assert_eq!(bed.store.heroku_apps(Wanted::DynosDue(t(89), 9)).await.unwrap().len(), 0);
    // What is counted is read again only where it was read anew.
    assert_eq!(bed.store.heroku_formations(t(70)).await.unwrap(), [(shop, t(71), Vec::new())]);
    assert_eq!(bed.store.heroku_formations(t(71)).await.unwrap(), []);
}

pub(crate) async fn lists_know_when_they_were_read(bed: &Bed) {
    assert_eq!(bed.store.heroku_sync("apps").await.unwrap(), None);
    let done = SyncState { next_at: t(300), done_at: Some(t(1)), problem: None };
    bed.store.save_heroku_sync("apps", &done).await.unwrap();
    assert_eq!(bed.store.heroku_sync("apps").await.unwrap(), Some(done));
    let failed = SyncState { next_at: t(60), done_at: None, problem: Some("away".into()) };
    bed.store.save_heroku_sync("apps", &failed).await.unwrap();
    let want = SyncState { done_at: Some(t(1)), ..failed };
    assert_eq!(bed.store.heroku_sync("apps").await.unwrap(), Some(want));
}

fn rotation(app: AppId, mark: &str, at: Timestamp) -> Rotation {
    let old = DrainRef { id: id(), token: format!("d.old-{mark}") };
    Rotation::new(id(), app, mark.to_owned(), old, "dev", at)
}

pub(crate) async fn rotations_go_one_step_at_a_time(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    let first = rotation(shop, "m1", t(0));
    bed.store.begin_rotation(&first).await.unwrap();
    let error = bed.store.begin_rotation(&rotation(shop, "m2", t(1))).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict(_)), "{error}");
    bed.store.begin_rotation(&rotation(blog, "m3", t(5))).await.unwrap();
    assert_eq!(bed.store.due_rotations(t(1)).await.unwrap(), std::slice::from_ref(&first));
    let created = first.step(Event::Created(DrainRef { id: id(), token: "d.new".into() }), t(2)).unwrap();
    assert!(bed.store.save_rotation(&created).await.unwrap());
    // Whoever decided on what is no longer so is told.
    let late = first.step(Event::Delayed("away".into()), t(2)).unwrap();
    assert!(!bed.store.save_rotation(&late).await.unwrap());
    for (name, at) in [("m1", 10), ("d.new", 20), ("d.old-m1", 11), ("d.old-m1", 12), ("nobody", 13)] {
        bed.store.note_drain_delivery(name, t(at)).await.unwrap();
    }
    let found = bed.store.newest_rotation(shop).await.unwrap().unwrap();
    let want = Rotation { new_delivered_at: Some(t(10)), old_delivered_at: Some(t(12)), ..created };
    assert_eq!(found, want);
    // An end makes room for another, and is forgotten in time; one that was left is not.
    let left = found.step(Event::Abandon, t(20)).unwrap().step(Event::Abandon, t(21)).unwrap();
    assert!(bed.store.save_rotation(&Rotation { version: left.version - 1, ..left.clone() }).await.unwrap());
    bed.store.begin_rotation(&rotation(shop, "m4", t(30))).await.unwrap();
    let ended = Rotation {
        state: State::Done,
        next_at: None,
        version: 2,
        ..bed.store.newest_rotation(shop).await.unwrap().unwrap()
    };
    assert!(bed.store.save_rotation(&ended).await.unwrap());
    bed.store.sweep(t(40 * 86_400)).await.unwrap();
    let marks: Vec<String> = bed.store.rotations().await.unwrap().into_iter().map(|rotation| rotation.mark).collect();
    assert_eq!(marks, ["m1", "m3"]);
}

pub(crate) async fn the_api_completes_releases(bed: &Bed) {
    let shop = bed.app("shop").await;
    let told = |version, at, kind| Release {
        at,
        version: Some(version),
        kind,
        actor: Some("log@example.com".into()),
        what: None,
        from_api: None,
    };
    let changes = Changes { releases: vec![(shop, told(7, t(100), ReleaseKind::Unknown))], ..Changes::default() };
    bed.save(t(100), changes).await;
    assert!(bed.store.has_unverified_releases(shop, t(0)).await.unwrap());
    let api = |version, at| ApiRelease {
        id: Uuid::from_u128(u128::from(version)),
        release: Release {
            kind: ReleaseKind::Code,
            actor: Some("true@example.com".into()),
            what: Some("Deploy 0a1b".into()),
            from_api: Some(FromApi {
                code_changed: Some(true),
                commit: Some("0a1b2c".into()),
                status: Some("succeeded".into()),
            }),
            ..told(version, at, ReleaseKind::Code)
        },
    };
    let all = [api(6, t(50)), api(7, t(99)), api(8, t(200))];
    assert_eq!(bed.store.save_api_releases(shop, &all, t(150)).await.unwrap(), 2);
    assert_eq!(bed.store.save_api_releases(shop, &all, t(150)).await.unwrap(), 2, "the same again");
    let releases = bed.store.releases_since(t(0)).await.unwrap();
    let seen: Vec<_> = releases.iter().map(|(_, r)| (r.version, r.at, r.actor.as_deref())).collect();
    let author = Some("true@example.com");
    assert_eq!(
        seen,
        [(Some(6), t(50), author), (Some(7), t(100), author)],
        "the log's stamp stays; v8 may still be told"
    );
    assert_eq!(releases[1].1.from_api, api(7, t(99)).release.from_api);
    assert_eq!(bed.store.newest_release(shop, t(100)).await.unwrap().as_ref(), Some(&releases[1].1));
    assert!(!bed.store.has_unverified_releases(shop, t(0)).await.unwrap());
    assert_eq!(bed.store.verified_releases(shop).await.unwrap().len(), 2);
}

pub(crate) async fn the_account_names_tokens(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    bed.store.assign_token("d.file", shop, AppOrigin::File, t(0)).await.unwrap();
    for token in ["d.file", "d.new"] {
        bed.store.learn_token(token, blog, Some("blog"), t(1)).await.unwrap();
    }
    let tokens = bed.store.drain_tokens(None).await.unwrap();
    let seen: Vec<_> =
        tokens.iter().map(|token| (token.token.as_str(), token.app, token.url_name.as_deref())).collect();
    assert_eq!(seen, [("d.file", shop, Some("blog")), ("d.new", blog, Some("blog"))]);
}
