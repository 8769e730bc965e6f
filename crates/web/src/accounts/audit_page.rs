//! The audit log as a page, newest first, with a filter. Reading it is written into it.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::response::Response;
use dynowatch_store::audit::AuditFilter;
use maud::html;
use serde::Deserialize;

use super::client::Client;
use super::form::{escaped, moment, outside, page, places};
use crate::pages::error::PageError;
use crate::pages::look::Look;
use crate::pages::parts::filter_bar;
use crate::router::Web;
use crate::viewer::SuperadminOnly;

/// Entries of a page.
const SHOWN: u32 = 100;

/// Which entries.
#[derive(Deserialize, Default)]
pub(crate) struct Asked {
    #[serde(default)]
    actor: String,
    #[serde(default)]
    action: String,
    #[serde(default)]
    subject: String,
    before: Option<i64>,
}

/// The page.
pub(crate) async fn show(
    State(web): State<Arc<Web>>,
    client: Client,
    look: Look,
    SuperadminOnly(viewer): SuperadminOnly,
    Query(asked): Query<Asked>,
) -> Result<Response, PageError> {
    let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
    let filter = AuditFilter {
        actor: some(&asked.actor),
        action: some(&asked.action),
        subject: some(&asked.subject),
        before: asked.before,
    };
    let (store, now) = (web.engine.store(), web.engine.now());
    if asked.before.is_none() {
        let act = client.actor(format!("user:{}", viewer.name)).did("audit.read", "");
        store.audit(&act, now).await?;
    }
    let entries = store.audit_entries(&filter, SHOWN).await?;
    let older = entries.last().filter(|_| entries.len() == SHOWN as usize).map(|last| {
        let (actor, action, subject) = (escaped(&asked.actor), escaped(&asked.action), escaped(&asked.subject));
        format!("/settings/audit?actor={actor}&action={action}&subject={subject}&before={}", last.seq)
    });
    let field = |name: &'static str, label: &'static str, value: &str| {
        html! { label.facet { span { (label) } input type="text" name=(name) value=(value) autocomplete="off" spellcheck="false"; } }
    };
    let content = html! {
        (places("/settings/audit", true))
        (filter_bar("/settings/audit", &html! {
            (field("actor", "Who", &asked.actor))
            (field("action", "What (its beginning)", &asked.action))
            (field("subject", "To what", &asked.subject))
        }, [&asked.actor, &asked.action, &asked.subject].iter().any(|text| !text.is_empty())))
        table {
            thead { tr { th scope="col" { "No." } th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "From" } th scope="col" { "What" } th scope="col" { "To what" } th scope="col" { "More" } } }
            tbody {
                @for entry in &entries {
                    tr {
                        td data-of="No." { (entry.seq) }
                        td data-of="When" { (moment(&look.zone, entry.at)) }
                        td data-of="Who" { (outside(&web, &entry.actor)) }
                        td data-of="From" { (outside(&web, &entry.address)) }
                        td data-of="What" { (outside(&web, &entry.action)) }
                        td data-of="To what" { (outside(&web, &entry.subject)) }
                        td data-of="More" { (outside(&web, &entry.detail)) }
                    }
                }
            }
        }
        @if entries.is_empty() { p { "Nothing fits." } }
        @if let Some(older) = older { p { a href=(older) rel="next" { "Older" } } }
        p { small { "Entries are chained by their hashes; " code { "dynowatch audit verify" } " walks the chain, " code { "dynowatch audit export" } " writes it out." } }
    };
    Ok(page("Audit log", &content))
}
