//! What the command palette leads to: pages, apps, checks, rules, open alerts. Names only; the browser narrows them.

use axum::Json;
use axum::extract::State;
use dynowatch_store::alerts::{AlertFilter, AlertState};
use serde::Serialize;

use super::error::PageError;
use super::shell::palette_places;
use super::view::View;
use crate::router::Web;
use crate::show::{percent_encoded, visible};
use std::sync::Arc;

/// Open alerts among the entries.
const ALERTS_MAX: u32 = 100;
/// Apps, checks and rules among the entries, each.
const NAMES_MAX: usize = 1_000;

/// One entry.
#[derive(Serialize)]
struct Entry {
    /// `page`, `app`, `check`, `rule` or `alert`.
    kind: &'static str,
    name: String,
    href: String,
}

/// All of them.
pub(crate) async fn list(State(web): State<Arc<Web>>, view: View) -> Result<Json<impl Serialize>, PageError> {
    let mut entries: Vec<Entry> = palette_places()
        .map(|(href, name)| Entry { kind: "page", name: name.to_owned(), href: href.to_owned() })
        .collect();
    let filter = AlertFilter { state: Some(AlertState::Firing), limit: ALERTS_MAX, ..AlertFilter::default() };
    for row in web.engine.store().alerts(&filter).await? {
        let Some(id) = row.id else { continue };
        let name = view.outside(&row.key.show(&row.app_name).to_string());
        entries.push(Entry { kind: "alert", name, href: format!("/alerts/{id}") });
    }
    let mut apps: Vec<String> = web.engine.apps().iter().map(|app| app.name.clone()).collect();
    apps.sort_unstable();
    entries.extend(apps.into_iter().take(NAMES_MAX).map(|name| Entry {
        kind: "app",
        href: format!("/apps/{}", encoded(&name)),
        name: view.outside(&name),
    }));
    entries.extend(web.engine.check_book().checks.keys().take(NAMES_MAX).map(|name| Entry {
        kind: "check",
        href: format!("/checks/{}", encoded(name)),
        name: visible(name),
    }));
    entries.extend(web.engine.rules().iter().take(NAMES_MAX).map(|rule| Entry {
        kind: "rule",
        href: format!("/rules/{}", encoded(&rule.name)),
        name: visible(&rule.name),
    }));
    Ok(Json(entries))
}

/// A text as part of an address.
pub(crate) fn encoded(text: &str) -> String {
    percent_encoded(text, b"-_.~")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stay_one_part_of_an_address() {
        for (text, want) in [("shop-web", "shop-web"), ("a b&c=d/é", "a%20b%26c%3Dd%2F%C3%A9"), ("<\">", "%3C%22%3E")]
        {
            assert_eq!(encoded(text), want);
        }
    }
}
