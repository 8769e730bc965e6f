//! The alerts: what is open, worst first, then what is over, newest first; narrowed by state, severity, app, rule and time,
//! all of it in the address.

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::rule::Severity;
use dynowatch_domain::{AlertId, Timestamp};
use dynowatch_store::alerts::{AlertCursor, AlertFilter, AlertRow, AlertState};
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::palette::encoded;
use super::partial;
use super::parts::{State, chips, empty, facet, folded_filter_bar, glyph, older};
use super::range::PRESETS;
use super::shell::Head;
use super::view::View;
use crate::api::alerts::limits;
use crate::api::{time_and_id, time_cursor};
use crate::events::Topic;
use crate::show::{measured, visible};

/// Alerts on one page.
const PAGE_MAX: u32 = 50;
/// Open alerts that are kept true while somebody looks.
const LIVE_MAX: u32 = 200;

/// Which alerts.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    severity: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    rule: String,
    /// A preset of [`PRESETS`].
    #[serde(default)]
    within: String,
    cursor: Option<String>,
}

impl Asked {
    fn is_narrowed(&self) -> bool {
        [&self.severity, &self.app, &self.rule, &self.within].iter().any(|part| !part.is_empty())
    }

    /// The address of the same list with another state or another page.
    fn href(&self, state: &str, cursor: Option<&str>) -> String {
        let mut parts = Vec::new();
        let all = [("severity", &self.severity), ("app", &self.app), ("rule", &self.rule), ("within", &self.within)];
        if !state.is_empty() {
            parts.push(format!("state={state}"));
        }
        parts.extend(all.iter().filter(|(_, value)| !value.is_empty()).map(|(k, v)| format!("{k}={}", encoded(v))));
        parts.extend(cursor.map(|cursor| format!("cursor={cursor}")));
        if parts.is_empty() { "/alerts".to_owned() } else { format!("/alerts?{}", parts.join("&")) }
    }
}

/// The page.
pub(crate) async fn show(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |what| PageError::new(StatusCode::BAD_REQUEST, what);
    let Query(asked) = query.map_err(|_| bad("The link to this page is cut off or was changed."))?;
    let known_app = app_of(&view, &asked).await?;
    // Of an app that is not known there are no alerts; the form still shows what was asked.
    let filter = match known_app {
        None => None,
        Some(app) => Some(AlertFilter { app, ..filter(&view, &asked)? }),
    };
    let (rows, next) = match &filter {
        Some(filter) => page_of(&view, filter).await?,
        None => (Vec::new(), None),
    };
    // The first page of everything open is what people leave on a screen.
    let is_live = filter.as_ref().is_some_and(|filter| filter.before.is_none())
        && !asked.is_narrowed()
        && asked.state != "resolved";
    let topics: &[Topic] = if is_live { &[Topic::Alerts] } else { &[] };
    let counts = view.web.engine.store().alert_counts().await?;
    let states = [
        ("", "All".to_owned()),
        ("firing", format!("Firing {}", counts.firing)),
        ("pending", format!("Pending {}", counts.pending)),
        ("resolved", format!("Resolved {}", counts.resolved)),
    ];
    let states = states.iter().map(|(state, words)| (asked.href(state, None), words.as_str(), asked.state == *state));
    let (open, over): (Vec<&AlertRow>, Vec<&AlertRow>) = rows.iter().partition(|row| row.state != AlertState::Resolved);
    Ok(view.page(&Head::new("Alerts", "/alerts").live(topics), &html! {
        div.title-row { h1 { "Alerts" } }
        (chips("State", states))
        (facets(&view, &asked))
        @if is_live { section #open-alerts aria-label="Open" { (open_alerts(&view, &worst_first(&rows))) } }
        @else if !open.is_empty() { section aria-label="Open" { (table(&view, &open)) } }
        @if !over.is_empty() { section { h2 { "Over" } (table(&view, &over)) } }
        @if rows.is_empty() && (!is_live || asked.state.is_empty()) && (asked.is_narrowed() || !is_live) { (nothing(&asked)) }
        (older(next.map(|cursor| asked.href(&asked.state, Some(&cursor))), "Older alerts"))
    }))
}

/// The open alerts, for pages that are open.
pub(crate) async fn live(view: &View) -> Result<Markup, PageError> {
    let list = |state| AlertFilter { state: Some(state), limit: LIVE_MAX, ..AlertFilter::default() };
    let store = view.web.engine.store();
    let mut rows = store.alerts(&list(AlertState::Firing)).await?;
    rows.extend(store.alerts(&list(AlertState::Pending)).await?);
    Ok(partial("open-alerts", &open_alerts(view, &worst_first(&rows))))
}

fn worst_first(rows: &[AlertRow]) -> Vec<&AlertRow> {
    let mut open: Vec<&AlertRow> = rows.iter().filter(|row| row.state != AlertState::Resolved).collect();
    open.sort_by_key(|row| (std::cmp::Reverse(row.severity), std::cmp::Reverse(row.since)));
    open
}

fn open_alerts(view: &View, rows: &[&AlertRow]) -> Markup {
    html! {
        @if rows.is_empty() { (empty("Nothing is firing.", &html! { "What is over stands under " a href="/alerts?state=resolved" { "Resolved" } ". Whether anything is seen at all, " a href="/" { "Now" } " shows." })) }
        @else { (table(view, rows)) }
    }
}

async fn page_of(view: &View, filter: &AlertFilter) -> Result<(Vec<AlertRow>, Option<String>), PageError> {
    // One more than shown tells whether there is a next page.
    let filter = AlertFilter { limit: PAGE_MAX + 1, ..filter.clone() };
    let mut rows = view.web.engine.store().alerts(&filter).await?;
    let pending = rows.iter().filter(|row| row.id.is_none()).count();
    let more = rows.len() - pending > PAGE_MAX as usize;
    rows.truncate(pending + PAGE_MAX as usize);
    let next = rows.last().filter(|_| more).and_then(|row| Some(time_cursor(row.since, row.id?.0)));
    Ok((rows, next))
}

/// The app that is asked for: `None` when it is not known, `Some(None)` when none is asked for.
async fn app_of(view: &View, asked: &Asked) -> Result<Option<Option<dynowatch_domain::AppId>>, PageError> {
    if asked.app.is_empty() {
        return Ok(Some(None));
    }
    Ok(view.web.engine.store().app_by_name(&asked.app).await?.map(|app| Some(app.id)))
}

fn filter(view: &View, asked: &Asked) -> Result<AlertFilter, PageError> {
    let bad = |what| PageError::new(StatusCode::BAD_REQUEST, what);
    let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let state = given(&asked.state)
        .map(|name| AlertState::named(&name).ok_or_else(|| bad("There is no such state of an alert.")))
        .transpose()?;
    let severity = given(&asked.severity)
        .map(|name| {
            Severity::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| bad("There is no such severity."))
        })
        .transpose()?;
    let since: Option<Timestamp> = given(&asked.within)
        .map(|name| {
            PRESETS.into_iter().find(|(preset, _)| *preset == name).ok_or_else(|| bad("There is no such time."))
        })
        .transpose()?
        .map(|(_, length)| view.now - length);
    let before = time_and_id(asked.cursor.as_deref())
        .map_err(|_| bad("The link to this page is cut off or was changed."))?
        .map(|(fired_at, id)| AlertCursor { fired_at, id: AlertId(id) });
    Ok(AlertFilter { state, app: None, rule: given(&asked.rule), severity, since, before, limit: PAGE_MAX })
}

fn facets(view: &View, asked: &Asked) -> Markup {
    let same = |names: Vec<String>| names.into_iter().map(|name| (name.clone(), visible(&name))).collect::<Vec<_>>();
    let mut apps: Vec<String> = view.web.engine.apps().iter().map(|app| app.name.clone()).collect();
    apps.sort_unstable();
    let rules = view.web.engine.rules().iter().map(|rule| rule.name.clone()).collect();
    let severities = Severity::ALL.iter().rev().map(|one| one.as_str().to_owned()).collect();
    let times = PRESETS.iter().map(|(name, _)| ((*name).to_owned(), format!("last {name}"))).collect::<Vec<_>>();
    folded_filter_bar(
        "/alerts",
        &html! {
            @if !asked.state.is_empty() { input type="hidden" name="state" value=(asked.state); }
            (facet("severity", "Severity", &same(severities), &asked.severity))
            (facet("app", "App", &same(apps), &asked.app))
            (facet("rule", "Rule", &same(rules), &asked.rule))
            (facet("within", "Fired", &times, &asked.within))
        },
        &[("severity", &asked.severity), ("app", &asked.app), ("rule", &asked.rule), ("last", &asked.within)],
    )
}

fn nothing(asked: &Asked) -> Markup {
    let title = if asked.is_narrowed() { "No alert fits." } else { "No alert here." };
    empty(
        title,
        &html! {
            @if asked.is_narrowed() { a href=(asked.href(&asked.state, None).split('?').next().unwrap_or("/alerts")) { "Show all alerts" } }
            @else { "An alert appears when a rule's condition holds for long enough." }
        },
    )
}

/// How an alert's urgency and state look.
pub(crate) fn state_of(row: &AlertRow) -> State {
    match (row.state, row.severity) {
        (AlertState::Resolved, _) => State::Up,
        (AlertState::Pending, _) => State::Unknown,
        (AlertState::Firing, Some(Severity::Critical)) => State::Down,
        (AlertState::Firing, Some(Severity::Warning)) => State::Degraded,
        (AlertState::Firing, _) => State::Info,
    }
}

/// Alerts as rows.
pub(crate) fn table(view: &View, rows: &[&AlertRow]) -> Markup {
    html! {
        table.data.alerts {
            thead { tr { th scope="col" { "State" } th scope="col" { "Alert" } th.wide scope="col" { "Measured" } th scope="col" { "Since" } } }
            tbody { @for row in rows { (table_row(view, row)) } }
        }
    }
}

fn table_row(view: &View, row: &AlertRow) -> Markup {
    let (condition, threshold, window) = limits(&view.web, row);
    let name = view.alert_name(row);
    let word = if row.state == AlertState::Firing {
        row.severity.map_or("firing", Severity::as_str)
    } else {
        row.state.as_str()
    };
    let measured = measured(&condition, &row.facts);
    html! {
        tr.(state_of(row).class()) id=[row.id.map(|id| format!("row-{id}"))] {
            td.state-cell { span.state.(state_of(row).class()) { (glyph(state_of(row))) span { (word) } } }
            th scope="row" {
                @match row.id { Some(id) => a.row href={ "/alerts/" (id) } { (name) }, None => (name) }
                span.narrow.quiet { (measured) @if !window.is_empty() { " in " (window) } }
                @if row.state == AlertState::Firing && !row.told && row.id.is_some() { " " span.tag.degraded { "nobody was told" } }
            }
            td.wide { (measured) span.quiet { @if !window.is_empty() { " in " (window) } ", limit " (threshold) @if row.state == AlertState::Firing { ", as of " (view.ago(row.facts.at)) } } }
            td.when {
                @match row.resolved_at {
                    Some(at) => { "over " (view.ago(at)) },
                    None => (view.ago(row.since)),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_keep_what_narrows() {
        let asked = Asked { app: "a&b".into(), within: "7d".into(), ..Asked::default() };
        assert_eq!(asked.href("firing", Some("c")), "/alerts?state=firing&app=a%26b&within=7d&cursor=c");
        assert_eq!(Asked::default().href("", None), "/alerts");
    }
}
