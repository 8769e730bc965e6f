//! The settings: how pages look to this browser, how this instance stands, and what it keeps for how long.

use std::time::Duration;

use axum::response::Html;
use dynowatch_domain::account::{Role, Theme};
use dynowatch_domain::metric::{DYNO_MINUTES_KEPT, Step};
use dynowatch_store::Engine;
use dynowatch_store::checks::results::{FAILURES_KEPT, RESULTS_KEPT};
use dynowatch_store::housekeeping::{ALERTS_KEPT, DELIVERIES_KEPT, FRAMES_KEPT, MATCHES_KEPT, MATCHES_MAX};
use maud::{Markup, html};

use super::error::PageError;
use super::parts::{Stat, State, state, verdict};
use super::shell::Head;
use super::view::View;
use crate::api::drain::all_counts;
use crate::health::{Report, VERSION};
use crate::show::{coarse, grouped};
use crate::zone;

/// Blind times that are listed.
const BLINDS_MAX: usize = 20;
/// How far back they are listed.
const BLINDS_SHOWN: Duration = Duration::from_secs(86_400);

/// The pages under the settings: address, name, what is there.
const PAGES: [(&str, &str, &str); 3] = [
    ("/settings/health", "Health of this instance", "The store, the drain, messages on their way, open pages"),
    ("/settings/data", "Data and retention", "What is kept, for how long, and what bounds it"),
    ("/connect", "Connect an app", "One command, then watch its first line arrive"),
];

/// The pages about accounts, and who sees them.
const ACCOUNTS: [(&str, &str, &str, Role); 4] = [
    ("/settings/security", "Your account", "Password, authenticator, where you are signed in", Role::Viewer),
    ("/settings/users", "People", "Who there is, invitations, roles", Role::Superadmin),
    ("/settings/tokens", "Tokens", "What programs ask the API with", Role::Superadmin),
    ("/settings/audit", "Audit log", "Who changed what, and when", Role::Superadmin),
];

/// The index, with the looks on it.
pub(crate) async fn index(view: View) -> Html<String> {
    view.page(&Head::new("Settings", "/settings"), &html! {
        h1 { "Settings" }
        div.columns {
            div.main-column {
                ul.rows {
                    @for (path, name, what) in PAGES { li { p { a href=(path) { (name) } } p.quiet { (what) } } }
                    @for (path, name, what, _) in ACCOUNTS.iter().filter(|(.., role)| view.viewer.may(*role)) { li { p { a href=(path) { (name) } } p.quiet { (what) } } }
                }
                (looks(&view))
            }
            aside aria-label="You" {
                section.card {
                    h2 { "You" }
                    @if view.viewer.is_guest { p { "You read as a guest. A guest changes nothing but the looks of this browser." } }
                    @else { p { strong { (crate::show::visible(&view.viewer.name)) } ", " (view.viewer.role.as_str()) } }
                }
            }
        }
    })
}

fn looks(view: &View) -> Markup {
    html! {
        section #looks {
            h2 { "Looks and keys" }
            form.form method="post" action="/preferences" {
                input type="hidden" name="back" value="/settings";
                div.field {
                    span.label #theme-label { "Theme" }
                    div.choices role="radiogroup" aria-labelledby="theme-label" {
                        @for theme in Theme::ALL { label { input type="radio" name="theme" value=(theme.as_str()) checked[theme == view.look.theme]; (theme.as_str()) } }
                    }
                }
                div.field {
                    label for="zone" { "Time zone" }
                    input #zone type="text" name="zone" value=(view.look.zone.name()) list="zones" autocomplete="off" spellcheck="false" aria-describedby="zone-hint";
                    datalist #zones { @for name in zone::names() { option value=(name) {} } }
                    p.hint #zone-hint { "An IANA name, as in Europe/Berlin, or UTC. Times always name their zone." }
                }
                div.field {
                    span.label #keys-label { "Single keys" }
                    div.choices role="radiogroup" aria-labelledby="keys-label" {
                        label { input type="radio" name="keys" value="on" checked[view.look.keys]; "on" }
                        label { input type="radio" name="keys" value="off" checked[!view.look.keys]; "off" }
                    }
                }
                div.buttons { button.primary type="submit" { "Save" } a href="/?wall=1" { "Open as a wall screen" } }
            }
        }
    }
}

/// How this instance stands.
pub(crate) async fn health(view: View) -> Result<Html<String>, PageError> {
    let report = Report::of(&view.web).await;
    let (stats, counts) = (view.web.engine.stats(), all_counts(&view.web.engine));
    let warnings = report.warnings();
    let level = match (report.is_ready(), warnings.is_empty()) {
        (false, _) => State::Down,
        (true, false) => State::Degraded,
        (true, true) => State::Up,
    };
    let sentence = match warnings.len() {
        0 => "This instance does all of its work.".to_owned(),
        1 => "One thing works only in part.".to_owned(),
        n => format!("{n} things work only in part."),
    };
    let blinds =
        view.web.engine.store().all_blinds_between(view.now - BLINDS_SHOWN, view.now).await.unwrap_or_default();
    let streams = view.web.events.stats();
    let number = |label, value: u64, limit| Stat { label, value: Some(grouped(value)), limit, ..Stat::default() };
    let waiting = report.oldest_pending_age().map(coarse);
    let malformed: u64 = counts.malformed.iter().sum();
    let head = Head::new("Health of this instance", "/settings").below(&[("/settings", "Settings")]);
    Ok(view.page(&head, &html! {
        (verdict(level, &html! { (sentence) }, &html! { p.quiet { "dynowatch " (VERSION) ", running since " (view.moment_ago(report.started_at)) } }))
        @if !warnings.is_empty() { ul.warnings { @for warning in &warnings { li { (view.outside(warning)) } } } }
        section { h2 { "The drain" }
            p.quiet { @if report.drain_on { "It is on." } @else { "It is off." } " Counted since this process began." }
            div.stats {
                (number("Batches accepted", stats.batches_accepted.get(), None).markup())
                (number("Lines", counts.lines(), None).markup())
                (number("Refused, sent again", stats.batches_sent_again(), Some("503 and 500: Logplex sends them twice more")).markup())
                (number("Refused, lost", stats.batches_unauthorized.get() + stats.batches_too_large.get(), Some("401 and 413")).markup())
                (number("Frames not readable", malformed, None).markup())
            }
        }
        section { h2 { "Messages" }
            div.stats {
                (Stat { label: "Oldest that waits", value: Some(waiting.unwrap_or_else(|| "none".to_owned())), limit: Some("more than 60 s is too long"), ..Stat::default() }.markup())
                (Stat { label: "Given up in 24 h", value: report.outbox.map(|outbox| grouped(outbox.failed_24h)), limit: Some("each is in Deliveries"), ..Stat::default() }.markup())
                (number("Receivers", report.receivers as u64, None).markup())
            }
        }
        section { h2 { "Pages" }
            div.stats {
                (number("Open now", streams.streams as u64, Some("at most 1 000")).markup())
                (number("Refused", streams.refused as u64, None).markup())
                (number("Refused to one", streams.refused_to_one as u64, Some("50 to an account, 300 to an address")).markup())
                (number("Pieces kept true", streams.pieces as u64, None).markup())
            }
        }
        section { h2 { "When not everything was seen" }
            @if blinds.is_empty() { p { (state(State::Up, "Nothing was missed in the last 24 hours.")) } } @else {
                p.quiet { "Counts over these times are lower bounds; shares and absences over them are unknown." }
                table.data {
                    thead { tr { th scope="col" { "From" } th scope="col" { "Until" } th scope="col" { "Why" } th.number scope="col" { "Lines lost" } } }
                    tbody { @for (_, blind) in blinds.iter().rev().take(BLINDS_MAX) { tr {
                        th scope="row" { (view.moment(blind.from)) }
                        td { (view.moment(blind.until)) }
                        td { (blind.reason.as_str().replace('_', " ")) }
                        td.number { @match blind.lines_lost { Some(lines) => (grouped(lines)), None => span.quiet { "unknown" } } }
                    } } }
                }
            }
        }
    }))
}

/// What is kept, and for how long.
pub(crate) async fn data(view: View) -> Result<Html<String>, PageError> {
    let counts = view.web.engine.store().alert_counts().await?;
    let engine = view.web.engine.store().engine();
    let days = |kept: Duration| format!("{} days", kept.as_secs() / 86_400);
    let rows = [
        ("Alerts, with evidence and decisions", days(ALERTS_KEPT), "after they are over; open ones stay".to_owned()),
        ("Deliveries, with attempts and answers", days(DELIVERIES_KEPT), "after they were sent or given up".to_owned()),
        (
            "Lines that matched a rule",
            days(MATCHES_KEPT),
            format!("at most {} in all", grouped(MATCHES_MAX.unsigned_abs())),
        ),
        (
            "Metrics by the minute",
            days(Step::Minute.kept()),
            format!(
                "those of single dynos {}; steps of ten seconds {}",
                days(DYNO_MINUTES_KEPT),
                coarse(Step::TenSeconds.kept())
            ),
        ),
        ("Metrics by ten minutes", days(Step::TenMinutes.kept()), String::new()),
        ("Metrics by the hour", days(Step::Hour.kept()), String::new()),
        ("Runs of checks", days(RESULTS_KEPT), format!("failed ones whole {}; outages for ever", days(FAILURES_KEPT))),
        ("Batches seen, to count none twice", coarse(FRAMES_KEPT), "where something in them mattered".to_owned()),
        ("All other lines", "not kept".to_owned(), "counted, then forgotten".to_owned()),
    ];
    let head = Head::new("Data and retention", "/settings").below(&[("/settings", "Settings")]);
    Ok(view.page(&head, &html! {
        h1 { "Data and retention" }
        p { "The store is " @match engine { Engine::Sqlite => "SQLite", Engine::Postgres => "Postgres" } ". It holds " (grouped(counts.firing)) " open alerts and " (grouped(counts.resolved)) " that are over." }
        table.data {
            thead { tr { th scope="col" { "What" } th scope="col" { "Kept for" } th.wide scope="col" { "Bound" } } }
            tbody { @for (what, kept, bound) in &rows { tr { th scope="row" { (what) span.narrow.quiet { (bound) } } td.short { (kept) } td.wide.quiet { (bound) } } } }
        }
        p { "Text of log lines is masked whenever it leaves the store: in messages, on pages, in the API. " code { "dynowatch backup" } " copies the whole store, and moves it to the other engine." }
    }))
}
