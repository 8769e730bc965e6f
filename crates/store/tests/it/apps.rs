//! Apps and drain tokens.

use dynowatch_domain::AppId;
use dynowatch_store::StoreError;
use dynowatch_store::apps::AppOrigin;

use crate::bed::{Bed, act, id, t};

pub(crate) async fn names_and_renames(bed: &Bed) {
    let shop = bed.app("shop").await;
    assert_eq!(bed.app("shop").await, shop);
    let blog = bed.app("blog").await;
    let error = bed.store.rename_app(blog, "shop", &act(), t(1)).await.unwrap_err();
    assert!(matches!(&error, StoreError::Conflict(text) if text.contains("shop")), "{error}");
    assert!(matches!(bed.store.rename_app(AppId(id()), "x", &act(), t(1)).await.unwrap_err(), StoreError::NotFound(_)));
    bed.store.rename_app(blog, "diary", &act(), t(1)).await.unwrap();
    bed.store.set_host_hint(blog, "diary.example.com").await.unwrap();
    let apps = bed.store.apps().await.unwrap();
    assert_eq!(apps.iter().map(|app| app.name.as_str()).collect::<Vec<_>>(), ["diary", "shop"]);
    assert_eq!((apps[0].id, apps[0].host_hint.as_deref()), (blog, Some("diary.example.com")));
    assert_eq!((apps[1].origin, apps[1].created_at, apps[1].last_line_at), (AppOrigin::File, t(0), None));
    assert_eq!(bed.store.app_by_name("blog").await.unwrap(), None);
}

pub(crate) async fn adoption_is_one_app_under_races(bed: &Bed) {
    let other = bed.again().await;
    let adopt = |n: usize| {
        let store = if n.is_multiple_of(2) { bed.store.clone() } else { other.clone() };
        tokio::spawn(
            async move { store.adopt_app(AppId(id()), "d.1", "d.1", AppOrigin::Adopted, t(0)).await.unwrap().id },
        )
    };
    let racing: Vec<_> = (0..12).map(adopt).collect();
    let mut ids = Vec::new();
    for task in racing {
        ids.push(task.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    // Renamed, it is still the app of its token.
    bed.store.rename_app(ids[0], "shop", &act(), t(1)).await.unwrap();
    let again = bed.store.adopt_app(AppId(id()), "d.1", "d.1", AppOrigin::Adopted, t(9)).await.unwrap();
    assert_eq!((again.id, again.name.as_str(), again.created_at), (ids[0], "shop", t(0)));
    assert_eq!(bed.store.apps().await.unwrap().len(), 1);
}

pub(crate) async fn tokens_move(bed: &Bed) {
    let shop = bed.app("shop").await;
    let adopted = bed.store.adopt_app(AppId(id()), "d.1", "d.1", AppOrigin::Adopted, t(0)).await.unwrap().id;
    assert_eq!(bed.store.app_of_token("d.1").await.unwrap().unwrap().id, adopted);
    bed.store.assign_token("d.1", shop, AppOrigin::File, t(1)).await.unwrap();
    bed.store.assign_token("d.2", shop, AppOrigin::File, t(1)).await.unwrap();
    assert_eq!(bed.store.app_of_token("d.1").await.unwrap().unwrap().id, shop);
    for (app, want) in [(None, 2), (Some(shop), 2), (Some(adopted), 0)] {
        assert_eq!(bed.store.drain_tokens(app).await.unwrap().len(), want);
    }
    assert!(bed.store.remove_token("d.1").await.unwrap());
    assert!(!bed.store.remove_token("d.1").await.unwrap());
    assert_eq!(bed.store.app_of_token("d.1").await.unwrap(), None);
}

pub(crate) async fn last_lines(bed: &Bed) {
    let (shop, blog) = (bed.app("shop").await, bed.app("blog").await);
    bed.store.touch_apps(&[]).await.unwrap();
    bed.store.touch_apps(&[(shop, t(3)), (blog, t(1)), (shop, t(5)), (shop, t(4)), (AppId(id()), t(1))]).await.unwrap();
    bed.store.touch_apps(&[(shop, t(2)), (blog, t(2))]).await.unwrap();
    let apps = bed.store.apps().await.unwrap();
    assert_eq!(apps.iter().map(|app| app.last_line_at).collect::<Vec<_>>(), [Some(t(2)), Some(t(5))]);
}
