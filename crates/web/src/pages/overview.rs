//! The overview: one sentence that says how things stand, then what is wrong, the apps, the drain, the last messages.

use std::time::Duration;

use axum::response::Html;
use dynowatch_domain::Timestamp;
use dynowatch_domain::rule::Severity;
use dynowatch_store::alerts::{AlertFilter, AlertRow, AlertState};
use dynowatch_store::apps::App;
use dynowatch_store::deliveries::{Delivery, DeliveryFilter};
use maud::{Markup, html};

use super::alerts::table;
use super::deliveries::state_of;
use super::error::PageError;
use super::partial;
use super::parts::{State, empty, state, verdict as verdict_box};
use super::shell::Head;
use super::view::View;
use crate::api::apps::seen;
use crate::api::drain::all_counts;
use crate::events::Topic;
use crate::health::Report;
use crate::router::Web;
use crate::show::{coarse, grouped, visible};

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
    state: State,
    sentence: String,
}

/// The page.
pub(crate) async fn show(view: View) -> Result<Html<String>, PageError> {
    let (verdict, content) = content(&view).await?;
    Ok(view.page(&Head::new(&verdict.sentence, "/").live(&[Topic::Now]), &html! { div #now { (content) } }))
}

/// All of it, for pages that are open.
pub(crate) async fn live(view: &View) -> Result<Markup, PageError> {
    let (_, content) = content(view).await?;
    Ok(partial("now", &content))
}

async fn content(view: &View) -> Result<(Verdict, Markup), PageError> {
    let store = view.web.engine.store();
    let list = |state, limit| AlertFilter { state: Some(state), limit, ..AlertFilter::default() };
    let mut firing = store.alerts(&list(AlertState::Firing, OPEN_MAX)).await?;
    // The worst first, then the newest.
    firing.sort_by_key(|row| std::cmp::Reverse(row.severity));
    let pending = store.alerts(&list(AlertState::Pending, OPEN_MAX)).await?;
    let resolved = store.alerts(&list(AlertState::Resolved, RECENT_MAX)).await?;
    let counts = store.alert_counts().await?;
    let messages = store.deliveries(&DeliveryFilter { limit: RECENT_MAX, ..DeliveryFilter::default() }).await?;
    let apps = app_rows(&view.web, store.apps().await?, &firing);
    let report = Report::of(&view.web).await;
    let newest = apps.iter().filter_map(|row| row.last_line_at).max();
    let verdict = verdict(&firing, counts.firing, counts.pending, apps.len(), newest, &report);
    let worst = html! { @if !firing.is_empty() { p.quiet { @for (i, row) in apps.iter().filter(|row| row.open > 0).take(WORST_APPS_MAX).enumerate() { @if i > 0 { " · " } (view.outside(&row.app.name)) " " (row.open) } } } };
    let warnings = report.warnings();
    let content = html! {
        (verdict_box(verdict.state, &html! { (verdict.sentence) }, &worst))
        @if !warnings.is_empty() { ul.warnings { @for warning in warnings { li { (warning) } } } }
        (alerts(view, "Firing", &firing, "Nothing is firing."))
        @if counts.firing > u64::from(OPEN_MAX) { p { "The newest " (OPEN_MAX) " of " (counts.firing) " are shown; " a href="/alerts?state=firing" { "all that are firing" } "." } }
        @if !pending.is_empty() { (alerts(view, "Pending", &pending, "")) }
        (app_table(view, &apps))
        (drain_health(view))
        (recent_messages(view, &messages))
        @if !resolved.is_empty() { (alerts(view, "Recently over", &resolved, "")) }
    };
    Ok((verdict, content))
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
    let say = |state, sentence: String| Verdict { state, sentence };
    if open > 0 {
        let worst = firing.iter().filter_map(|row| row.severity).max().unwrap_or(Severity::Info);
        let state = if worst == Severity::Critical { State::Down } else { State::Degraded };
        return say(state, format!("{}, the worst {}.", be(open, "firing"), worst.as_str()));
    }
    let silent_for = newest.map(|at| report.now.since(at)).filter(|silence| *silence > SILENCE_MAX);
    match (report.drain_on, newest, silent_for) {
        (false, ..) => say(State::Unknown, "Unknown: the drain is off, nothing is seen.".to_owned()),
        (true, None, _) => say(State::Unknown, "Nothing is watched yet: no line has arrived.".to_owned()),
        (true, Some(_), Some(silence)) => {
            say(State::Unknown, format!("Unknown: no line has arrived for {}.", coarse(silence)))
        }
        (true, Some(_), None) if pending > 0 => {
            say(State::Degraded, format!("{}, none is firing.", be(pending, "pending")))
        }
        (true, Some(_), None) => {
            let watched = if apps == 1 { "1 app is watched".to_owned() } else { format!("{apps} apps are watched") };
            say(State::Up, format!("Nothing is firing; {watched}."))
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

fn alerts(view: &View, title: &str, rows: &[AlertRow], none: &str) -> Markup {
    html! {
        section {
            h2 { (title) }
            @if rows.is_empty() { p.quiet { (none) } } @else { (table(view, &rows.iter().collect::<Vec<_>>())) }
        }
    }
}

fn app_table(view: &View, apps: &[AppRow]) -> Markup {
    html! {
        section {
            h2 { "Apps" }
            @if apps.is_empty() {
                (empty("No app yet.", &html! { code { "dynowatch drain url --app NAME --public-url URL" } " prints the address for " code { "heroku drains:add" } "." }))
            } @else {
                table.data {
                    thead { tr { th scope="col" { "App" } th scope="col" { "Last line" } th.number scope="col" { "Lines" } th.number scope="col" { "Errors" } } }
                    tbody {
                        @for row in apps.iter().take(APPS_MAX) {
                            tr {
                                th scope="row" {
                                    (visible(&row.app.name))
                                    @if row.open > 0 { " " span.tag.down { (row.open) " firing" } }
                                    @if let Some(host) = &row.app.host_hint { br; span.quiet { (view.outside(host)) } }
                                }
                                td { @match row.last_line_at { Some(at) => (view.ago(at)), None => "never" } }
                                td.number { (grouped(row.lines)) }
                                td.number { (grouped(row.errors)) }
                            }
                        }
                    }
                }
                p.quiet { "Lines and platform errors (H, R and L codes) are counted since this process began, " (view.ago(view.web.engine.started_at())) "." }
                @if apps.len() > APPS_MAX { p { (APPS_MAX) " of " (apps.len()) " apps are shown; GET /api/v1/apps has all." } }
            }
        }
    }
}

fn drain_health(view: &View) -> Markup {
    let (stats, counts) = (view.web.engine.stats(), all_counts(&view.web.engine));
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
            p.quiet { @if view.web.drain.is_on() { "The drain is on." } @else { "The drain is off." } " Counted since this process began, " (view.ago(view.web.engine.started_at())) "." }
            dl.numbers { @for (name, n, bad) in rows { div.down[bad && n > 0] { dt { (name) } dd { (grouped(n)) } } } }
        }
    }
}

fn recent_messages(view: &View, messages: &[Delivery]) -> Markup {
    html! {
        section {
            h2 { "Deliveries" }
            @if messages.is_empty() { p.quiet { "No message was sent yet." } } @else {
                ul.rows {
                    @for message in messages {
                        li {
                            p { a href={ "/deliveries#" (message.id) } { (view.outside(&message.notice.title())) } }
                            p.quiet { (state(state_of(message.state), message.state.as_str())) " to " (visible(&message.receiver)) ", " (view.ago(message.intended_at)) }
                        }
                    }
                }
                p { a.next href="/deliveries" { "All deliveries" } }
            }
        }
    }
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
            (0, 0, fresh, well(), State::Up, "Nothing is firing; 4 apps are watched."),
            (0, 2, fresh, well(), State::Degraded, "2 alerts are pending, none is firing."),
            (1, 0, fresh, well(), State::Degraded, "1 alert is firing, the worst info."),
            (0, 0, None, well(), State::Unknown, "Nothing is watched yet: no line has arrived."),
            (0, 0, stale, well(), State::Unknown, "Unknown: no line has arrived for 60m."),
            (0, 0, fresh, off, State::Unknown, "Unknown: the drain is off, nothing is seen."),
        ];
        for (open, pending, newest, report, state, sentence) in cases {
            assert_eq!(
                verdict(&[], open, pending, 4, newest, &report),
                Verdict { state, sentence: sentence.to_owned() }
            );
        }
    }
}
