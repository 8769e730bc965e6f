//! All apps, worst first, with how each stood over a day and what it does now; narrowed by name in the address. Below them
//! the Heroku account, with those of its apps that are not connected.

use std::collections::HashMap;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::AppId;
use dynowatch_store::alerts::{AlertFilter, AlertState};
use dynowatch_store::heroku::HerokuApp;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::heroku::{Note, account_part, is_unconnected, of_account};
use super::overview::{AppRow, failed, number, rows, word};
use super::palette::encoded;
use super::parts::{empty, filter_bar, sparkline, state, strip};
use super::shell::Head;
use super::standing::{age_note, numbers, strip_words};
use super::view::View;

/// Open alerts that are looked at.
const OPEN_MAX: u32 = 500;
/// Apps on the page.
const APPS_MAX: usize = 500;

/// Which apps.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    /// Part of the name.
    #[serde(default)]
    q: String,
}

/// The page.
pub(crate) async fn show(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |_| PageError::new(StatusCode::BAD_REQUEST, "The link to this page is cut off or was changed.");
    let Query(Asked { q }) = query.map_err(bad)?;
    let store = view.web.engine.store();
    let filter = AlertFilter { state: Some(AlertState::Firing), limit: OPEN_MAX, ..AlertFilter::default() };
    let firing = store.alerts(&filter).await?;
    let numbers = numbers(&view.web, view.now).await?;
    let of_account = of_account(&view).await?;
    let mut rows = rows(&view, store.apps().await?, &firing, &numbers);
    let account = account_part(&view, &rows, &of_account).await?;
    // What never delivered a line stands with the account: nothing can be said of how it is.
    rows.retain(|row| !is_unconnected(row));
    let all = rows.len();
    let needle = q.trim().to_lowercase();
    rows.retain(|row| row.app.name.to_lowercase().contains(&needle));
    let field = html! { label.facet { span { "Name" } input type="search" name="q" value=(q) maxlength="100" autocomplete="off" spellcheck="false"; } };
    Ok(view.page(&Head::new("Apps", "/apps"), &html! {
        div.title-row { h1 { "Apps" } @if all > 0 { p.quiet { (all) @if all == 1 { " app" } @else { " apps" } ", worst first" } } }
        @if all > 0 { (filter_bar("/apps", &field, !needle.is_empty())) }
        @if all == 0 { (empty("No app yet.", &html! { "An app is here once its log arrives." br; a.button.primary href="/connect" { "Connect an app" } })) }
        @else if rows.is_empty() { (empty("No app has that in its name.", &html! { a href="/apps" { "All apps" } })) }
        @else { (age_note(&view, &numbers)) (table(&view, &rows, &of_account)) }
        @if rows.len() > APPS_MAX { p.quiet { (APPS_MAX) " of " (rows.len()) " are shown: narrow by name." } }
        (account)
    }))
}

fn table(view: &View, rows: &[AppRow], of_account: &HashMap<AppId, HerokuApp>) -> Markup {
    html! {
        table.data.apps-table {
            thead { tr { th scope="col" { "App" } th scope="col" { "State" } th.wide scope="col" { "24 h" } th.wide scope="col" { "p95, 24 h" } th.number scope="col" { "p95" } th.number.wide scope="col" { "Requests" } th.number.wide scope="col" { "Failed" } th.when.wide scope="col" { "Last line" } } }
            tbody {
                @for row in rows.iter().take(APPS_MAX) {
                    tr {
                        th scope="row" {
                            a.row href={ "/apps/" (encoded(&row.app.name)) } { (view.outside(&row.app.name)) }
                            @if let Some(host) = &row.app.host_hint { " " span.quiet { (view.outside(host)) } }
                            @if row.numbers.rpm.is_some() { span.narrow { (number(row.numbers.rpm, "rpm")) @if let Some(share) = row.numbers.now.failed_percent() { " · " (failed(Some(share))) } } }
                            @for note in of_account.get(&row.app.id).map(Note::of).unwrap_or_default() { " " (note.markup()) }
                        }
                        td.state-cell { (state(row.state, &if row.open > 0 { format!("{} open", row.open) } else { word(row.state).to_owned() })) }
                        td.wide.strip-cell { (strip(&row.numbers.strip, &strip_words(&row.numbers.strip))) }
                        td.wide.spark-cell { (sparkline(&row.numbers.spark, "p95 in ms over 24 h")) }
                        td.number { (number(row.numbers.now.p95, "ms")) }
                        td.number.wide { (number(row.numbers.rpm, "rpm")) }
                        td.number.wide { @match row.numbers.now.failed_percent() { Some(share) => (failed(Some(share))), None => span.unknown { "–" } } }
                        td.when.wide { @match row.last_line_at { Some(at) => (view.ago(at)), None => "never" } }
                    }
                }
            }
        }
    }
}
