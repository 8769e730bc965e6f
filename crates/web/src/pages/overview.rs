//! The overview: one sentence that says how things stand, then what is wrong, the apps, the drain, the last messages.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Html;
use dynowatch_domain::Timestamp;
use dynowatch_domain::delivery::DeliveryState;
use dynowatch_domain::rule::Severity;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};
use dynowatch_store::apps::App;
use dynowatch_store::deliveries::{Delivery, DeliveryFilter};
use maud::{Markup, html};

use super::error::PageError;
use super::{alert_name, layout, moment, moment_ago, outside};
use crate::api::alerts::limits;
use crate::api::apps::seen;
use crate::api::drain::all_counts;
use crate::health::Report;
use crate::router::Web;
use crate::show::{ago, coarse, grouped, measured, visible};

/// Open alerts that are listed.
const OPEN_MAX: u32 = 50;
/// Alerts that are over, and messages, that are listed.
const RECENT_MAX: u32 = 8;
/// Apps that are named beside the verdict.
const WORST_APPS_MAX: usize = 5;
/// Apps that are listed.
const APPS_MAX: usize = 200;
/// When no line arrived for this long, calm cannot be told from blindness.
const SILENCE_MAX: Duration = Duration::from_secs(600);

/// One app's row.
struct AppRow {
    app: App,
    lines: u64,
    errors: u64,
    last_line_at: Option<Timestamp>,
    open: usize,
}

/// How things stand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Verdict {
    /// The class of the sentence: `bad`, `warn`, `unknown` or `good`.
    level: &'static str,
    sentence: String,
}

/// The page.
pub(crate) async fn show(State(web): State<Arc<Web>>) -> Result<Html<String>, PageError> {
    let store = web.engine.store();
    let list = |state, limit| AlertFilter { state: Some(state), limit, ..AlertFilter::default() };
    let mut firing = store.alerts(&list(AlertState::Firing, OPEN_MAX)).await?;
    // The worst first, then the newest.
    firing.sort_by_key(|row| std::cmp::Reverse(row.severity));
    let pending = store.alerts(&list(AlertState::Pending, OPEN_MAX)).await?;
    let resolved = store.alerts(&list(AlertState::Resolved, RECENT_MAX)).await?;
    let counts = store.alert_counts().await?;
    let messages = store.deliveries(&DeliveryFilter { limit: RECENT_MAX, ..DeliveryFilter::default() }).await?;
    let apps = app_rows(&web, store.apps().await?, &firing);
    let report = Report::of(&web).await;
    let now = report.now;
    let newest = apps.iter().filter_map(|row| row.last_line_at).max();
    let verdict = verdict(&firing, counts.firing, counts.pending, apps.len(), newest, &report);
    Ok(layout(
        &verdict.sentence,
        "/",
        Some(now),
        &html! {
            div.verdict.(verdict.level) role="status" {
                h1.sentence { (verdict.sentence) }
                @if !firing.is_empty() { p.quiet { @for (i, row) in apps.iter().filter(|row| row.open > 0).take(WORST_APPS_MAX).enumerate() { @if i > 0 { " · " } (outside(&web, &row.app.name)) " " (row.open) } } }
            }
            @let warnings = report.warnings();
            @if !warnings.is_empty() { ul.warnings { @for warning in warnings { li { (warning) } } } }
            (alerts(&web, "Firing", &firing, "Nothing is firing.", now))
            @if counts.firing > u64::from(OPEN_MAX) { p { "The newest " (OPEN_MAX) " of " (counts.firing) " are shown; GET /api/v1/alerts has all." } }
            @if !pending.is_empty() { (alerts(&web, "Pending", &pending, "", now)) }
            (app_table(&web, &apps, now))
            (drain_health(&web, now))
            (recent_messages(&web, &messages, now))
            @if !resolved.is_empty() { (alerts(&web, "Recently over", &resolved, "", now)) }
        },
    ))
}

fn verdict(
    firing: &[AlertRow],
    open: u64,
    pending: u64,
    apps: usize,
    newest: Option<Timestamp>,
    report: &Report,
) -> Verdict {
    let be = |n: u64, what: &str| if n == 1 { format!("1 alert is {what}") } else { format!("{n} alerts are {what}") };
    let say = |level, sentence: String| Verdict { level, sentence };
    if open > 0 {
        let worst = firing.iter().filter_map(|row| row.severity).max().unwrap_or(Severity::Info);
        let level = if worst == Severity::Critical { "bad" } else { "warn" };
        return say(level, format!("{}, the worst {}.", be(open, "firing"), worst.as_str()));
    }
    let silent_for = newest.map(|at| report.now.since(at)).filter(|silence| *silence > SILENCE_MAX);
    match (report.drain_on, newest, silent_for) {
        (false, ..) => say("unknown", "Unknown: the drain is off, nothing is seen.".to_owned()),
        (true, None, _) => say("unknown", "Nothing is watched yet: no line has arrived.".to_owned()),
        (true, Some(_), Some(silence)) => {
            say("unknown", format!("Unknown: no line has arrived for {}.", coarse(silence)))
        }
        (true, Some(_), None) if pending > 0 => say("warn", format!("{}, none is firing.", be(pending, "pending"))),
        (true, Some(_), None) => {
            let watched = if apps == 1 { "1 app is watched".to_owned() } else { format!("{apps} apps are watched") };
            say("good", format!("Nothing is firing; {watched}."))
        }
    }
}

fn app_rows(web: &Web, apps: Vec<App>, firing: &[AlertRow]) -> Vec<AppRow> {
    let mut rows: Vec<AppRow> = apps
        .into_iter()
        .map(|app| {
            let (lines, errors, last_line_at) = seen(web, &app);
            let open = firing.iter().filter(|row| row.key.app == app.id).count();
            AppRow { app, lines, errors, last_line_at, open }
        })
        .collect();
    // Trouble first, then by name.
    rows.sort_by(|a, b| b.open.cmp(&a.open).then_with(|| a.app.name.cmp(&b.app.name)));
    rows
}

fn alerts(web: &Web, title: &str, rows: &[AlertRow], none: &str, now: Timestamp) -> Markup {
    html! {
        section {
            h2 { (title) }
            @if rows.is_empty() { p.quiet { (none) } } @else { ul.rows.alerts { @for row in rows { (alert_row(web, row, now)) } } }
        }
    }
}

fn alert_row(web: &Web, row: &AlertRow, now: Timestamp) -> Markup {
    let (condition, threshold, window) = limits(web, row);
    let name = alert_name(web, row);
    let severity = row.severity.map_or("unknown", |severity| severity.as_str());
    html! {
        li.(severity) {
            p.name { @match row.id { Some(id) => a href={ "/alerts/" (id) } { (name) }, None => (name) } }
            p.severity { @if row.severity.is_some() { span.tag { (severity) } } }
            p.measured { (measured(&condition, &row.facts)) " in " (window) " (threshold " (threshold) ")" }
            @match row.resolved_at {
                Some(at) => p.quiet.when { "over " (ago(at, now)) ", began " (moment(row.since)) },
                None => p.quiet.when { "since " (moment_ago(row.since, now)) @if !row.told && row.id.is_some() { ", nobody was told" } },
            }
        }
    }
}

fn app_table(web: &Web, apps: &[AppRow], now: Timestamp) -> Markup {
    html! {
        section {
            h2 { "Apps" }
            @if apps.is_empty() {
                p { "No app yet. " code { "dynowatch drain url --app NAME --public-url URL" } " prints the address for " code { "heroku drains:add" } "." }
            } @else {
                table {
                        thead { tr { th scope="col" { "App" } th scope="col" { "Last line" } th.number scope="col" { "Lines" } th.number scope="col" { "Errors" } } }
                        tbody {
                            @for row in apps.iter().take(APPS_MAX) {
                                tr {
                                    th scope="row" {
                                        (visible(&row.app.name))
                                        @if row.open > 0 { " " span.tag.bad { (row.open) " firing" } }
                                        @if let Some(host) = &row.app.host_hint { br; span.quiet { (outside(web, host)) } }
                                    }
                                    td { @match row.last_line_at { Some(at) => time datetime=(at) { (ago(at, now)) }, None => "never" } }
                                    td.number { (grouped(row.lines)) }
                                    td.number { (grouped(row.errors)) }
                                }
                            }
                        }
                    }
                p.quiet { "Lines and platform errors (H, R and L codes) are counted since this process began, " (ago(web.engine.started_at(), now)) "." }
                @if apps.len() > APPS_MAX { p { (APPS_MAX) " of " (apps.len()) " apps are shown; GET /api/v1/apps has all." } }
            }
        }
    }
}

fn drain_health(web: &Web, now: Timestamp) -> Markup {
    let (stats, counts) = (web.engine.stats(), all_counts(&web.engine));
    let malformed: u64 = counts.malformed.iter().sum();
    let refused = stats.batches_overloaded.get() + stats.batches_store_away.get();
    let rows = [
        ("Batches accepted", stats.batches_accepted.get(), false),
        ("Refused with 401 (lost)", stats.batches_unauthorized.get(), true),
        ("Refused with 503 (sent again)", refused, true),
        ("Refused with 413 (lost)", stats.batches_too_large.get(), true),
        ("Lines", counts.lines(), false),
        ("Frames that could not be read", malformed, true),
    ];
    html! {
        section {
            h2 { "Drain" }
            p.quiet { @if web.drain.is_on() { "The drain is on." } @else { "The drain is off." } " Counted since this process began, " (ago(web.engine.started_at(), now)) "." }
            dl.numbers { @for (name, n, bad) in rows { div.bad[bad && n > 0] { dt { (name) } dd { (grouped(n)) } } } }
        }
    }
}

fn recent_messages(web: &Web, messages: &[Delivery], now: Timestamp) -> Markup {
    html! {
        section {
            h2 { "Messages" }
            @if messages.is_empty() { p.quiet { "No message was sent yet." } } @else {
                ul.rows {
                    @for message in messages {
                        li {
                            p { a href={ "/deliveries#" (message.id) } { (outside(web, &message.notice.title())) } }
                            p.quiet { span.tag.(state_class(message.state)) { (message.state.as_str()) } " to " (visible(&message.receiver)) ", " (ago(message.intended_at, now)) }
                        }
                    }
                }
                p { a.next href="/deliveries" { "All messages" } }
            }
        }
    }
}

/// The colour of a delivery's state.
pub(super) fn state_class(state: DeliveryState) -> &'static str {
    match state {
        DeliveryState::Pending => "warn",
        DeliveryState::Sent => "good",
        DeliveryState::Failed => "bad",
    }
}

/// Names that stand more than once in a list stand once.
pub(super) fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::tests::well;

    /// Missing data is unknown, never green.
    #[test]
    fn the_verdict() {
        let now = well().now;
        let fresh = Some(now - Duration::from_secs(5));
        let stale = Some(now - Duration::from_secs(3_600));
        let off = Report { drain_on: false, ..well() };
        let cases = [
            (0, 0, fresh, well(), "good", "Nothing is firing; 4 apps are watched."),
            (0, 2, fresh, well(), "warn", "2 alerts are pending, none is firing."),
            (1, 0, fresh, well(), "warn", "1 alert is firing, the worst info."),
            (0, 0, None, well(), "unknown", "Nothing is watched yet: no line has arrived."),
            (0, 0, stale, well(), "unknown", "Unknown: no line has arrived for 60m."),
            (0, 0, fresh, off, "unknown", "Unknown: the drain is off, nothing is seen."),
        ];
        for (open, pending, newest, report, level, sentence) in cases {
            assert_eq!(
                verdict(&[], open, pending, 4, newest, &report),
                Verdict { level, sentence: sentence.to_owned() }
            );
        }
    }
}
