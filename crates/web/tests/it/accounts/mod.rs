//! Signing in and who may what, as a browser meets it.

mod factor;
pub(crate) mod faults;
mod first;
mod guards;
mod guesses;
mod own;
mod passwords;
mod people;
mod sign_in;
mod tokens;

use dynowatch_store::audit::AuditFilter;
use dynowatch_web::AccountOptions;
use http::StatusCode;

use crate::browser::{Browser, PASSWORD, between};
use crate::site::{Site, account_options, rules};

const OK: StatusCode = StatusCode::OK;
const SEE_OTHER: StatusCode = StatusCode::SEE_OTHER;
const FORBIDDEN: StatusCode = StatusCode::FORBIDDEN;
const UNAUTHORIZED: StatusCode = StatusCode::UNAUTHORIZED;

async fn published() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("store.db").display());
    let options = AccountOptions { trust_forwarded: true, ..account_options() };
    Site::signing_in(folder, &url, rules(), Some("https://watch.example".into()), options).await
}

/// The newest entry about that.
async fn audited(site: &Site, action: &str) -> (String, String, String) {
    let filter = AuditFilter { action: Some(action.into()), ..AuditFilter::default() };
    let entries = site.engine.store().audit_entries(&filter, 1).await.unwrap();
    let entry = entries.into_iter().next().unwrap_or_else(|| panic!("{action} is not in the audit log"));
    (entry.actor, entry.subject, entry.detail)
}

/// Invites someone and takes the link; both are signed in afterwards.
pub(crate) async fn join<'a>(admin: &mut Browser<'a>, name: &str, role: &str) -> Browser<'a> {
    admin.get("/settings/users").await;
    let page = admin.confirm("/settings/users", &[("name", name), ("role", role)], PASSWORD).await;
    let link = format!("/setup/{}", between(&page.text, "/setup/", "<").trim());
    let mut new = Browser { peer: admin.peer, headers: admin.headers.clone(), ..Browser::new(admin.site) };
    assert_eq!(new.get(&link).await.status, OK, "{link}");
    let password = format!("{PASSWORD} {}", name.len());
    let answer = new.post(&link, &[("password", &password), ("again", &password)]).await;
    assert_eq!((answer.status, answer.header("location")), (SEE_OTHER, "/"), "{}", answer.text);
    assert_eq!(new.get("/settings/security").await.status, OK);
    new
}

async fn id_of(site: &Site, name: &str) -> String {
    site.engine.store().user_by_name(name).await.unwrap().unwrap().id.to_string()
}
