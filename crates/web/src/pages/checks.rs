//! The checks: all of them, the most urgent first, each with why it stands as it does, its last day and its uptime; narrowed
//! by state, app and kind in the address. [`one`] is the page of a single check, [`words`] says the same of a check
//! wherever it is mentioned.

pub(crate) mod act;
pub(crate) mod edit;
pub(crate) mod history;
mod kinds;
pub(crate) mod maintenance;
pub(crate) mod one;
mod replay;
pub(crate) mod run;
pub(crate) mod words;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::Query;
use axum::extract::rejection::QueryRejection;
use axum::http::StatusCode;
use axum::response::Html;
use dynowatch_domain::account::Role;
use dynowatch_domain::check::state::Shown;
use dynowatch_domain::check::uptime::{self, Flip, Spent};
use dynowatch_engine::checks::CheckStatus;
use dynowatch_store::objects::ObjectKind;
use maud::{Markup, html};
use serde::Deserialize;

use self::words::{shown, state, took, urgency, why};
use super::error::PageError;
use super::palette::encoded;
use super::partial;
use super::parts::{State, empty, facet, folded_filter_bar, glyph, strip};
use super::rules::make_button;
use super::shell::Head;
use super::view::View;
use crate::cached::Cached;
use crate::events::Topic;
use crate::show::visible;

/// Checks on the page; who has more narrows.
const CHECKS_MAX: usize = 500;
/// How far back the uptime of the list reaches.
const WEEK: Duration = Duration::from_secs(7 * 86_400);
const DAY: Duration = Duration::from_secs(86_400);
/// A cell of the strip of a day.
const CELL: Duration = Duration::from_secs(1_800);
/// How old the past of the list may be; how things stand now is as new as the store.
const PAST_GOOD_FOR: Duration = Duration::from_secs(10);

/// A check as the configuration file holds it.
const FIRST: &str = r#"[[checks]]
name = "shop-home"
kind = "web"
url = "https://shop.example.com/health"
assert = ["status = 200", "response < 2 s"]"#;

/// The last week of every check, by its number.
pub(crate) type Pasts = Cached<(), BTreeMap<u64, Vec<Flip>>>;

pub(crate) fn pasts() -> Pasts {
    Cached::new(PAST_GOOD_FOR)
}

/// Which checks.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    state: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    kind: String,
}

impl Asked {
    fn is_narrowed(&self) -> bool {
        [&self.state, &self.app, &self.kind].iter().any(|part| !part.is_empty())
    }

    fn takes(&self, status: &CheckStatus) -> bool {
        (self.state.is_empty() || shown(status).as_str() == self.state)
            && (self.app.is_empty() || status.check.app.as_deref() == Some(&self.app))
            && (self.kind.is_empty() || status.check.kind.name() == self.kind)
    }
}

/// A check with its last week.
struct Row {
    status: CheckStatus,
    strip: Vec<State>,
    week: Spent,
}

/// The page.
pub(crate) async fn list(view: View, query: Result<Query<Asked>, QueryRejection>) -> Result<Html<String>, PageError> {
    let bad = |what| PageError::new(StatusCode::BAD_REQUEST, what);
    let Query(asked) = query.map_err(|_| bad("The link to this page is cut off or was changed."))?;
    if !asked.state.is_empty() && Shown::named(&asked.state).is_none() {
        return Err(bad("There is no such state of a check."));
    }
    let statuses = view.web.engine.check_statuses().await?;
    let unusable = view.web.engine.unusable_objects().await;
    let facets = facets(&statuses, &asked);
    let none = statuses.is_empty();
    let wanted = statuses.into_iter().filter(|status| asked.takes(status)).collect();
    let is_live = !none && !asked.is_narrowed();
    let topics: &[Topic] = if is_live { &[Topic::Checks] } else { &[] };
    let content = content(&view, wanted).await?;
    Ok(view.page(&Head::new("Checks", "/checks").live(topics), &html! {
        div.title-row {
            h1 { "Checks" }
            div.buttons { a.button href="/checks/maintenance" { "Maintenance" } (make_button(&view, "/checks/new", "New check")) }
        }
        @for (_, name, problem) in unusable.iter().filter(|(kind, ..)| *kind == ObjectKind::Check) {
            ul.warnings { li { "The check " a href={ "/checks/" (encoded(name)) "/edit" } { (visible(name)) } " of the console cannot be used: " (view.outside(problem)) } }
        }
        @if none { (first_one(&view)) } @else {
            (facets)
            section #all-checks aria-label="Checks, the most urgent first" { (content) }
        }
    }))
}

/// What changes of it, for pages that are open.
pub(crate) async fn live(view: &View) -> Result<Markup, PageError> {
    let statuses = view.web.engine.check_statuses().await?;
    Ok(partial("all-checks", &content(view, statuses).await?))
}

async fn content(view: &View, statuses: Vec<CheckStatus>) -> Result<Markup, PageError> {
    let rows = rows(view, statuses).await?;
    Ok(html! {
        (words::blind(view))
        @if rows.is_empty() { (empty("No check fits.", &html! { a href="/checks" { "Show all checks" } })) }
        @else { (counts(&rows)) (table(view, &rows)) }
        @if rows.len() > CHECKS_MAX { p.quiet { (CHECKS_MAX) " of " (rows.len()) " are shown: narrow by state, app or kind." } }
    })
}

/// The most urgent first; among equals the newest trouble, then by name.
async fn rows(view: &View, statuses: Vec<CheckStatus>) -> Result<Vec<Row>, PageError> {
    let (web, now) = (&view.web, view.now);
    let store = web.engine.store();
    // A little more than a week, so that what is kept for some seconds still has all of it.
    let pasts = web.check_pasts.get((), now, store.all_check_flips(now - WEEK - PAST_GOOD_FOR, now)).await?;
    let cells = u32::try_from(DAY.as_secs() / CELL.as_secs()).unwrap_or(0);
    let from = (now - DAY).floor(CELL) + CELL;
    let row = |status: CheckStatus| {
        let flips = status.row.as_ref().and_then(|row| pasts.get(&row.number)).map(Vec::as_slice).unwrap_or_default();
        let known_until = status.known_until(now);
        let cell = |i: u32| {
            let (begin, end) = (from + CELL * i, (from + CELL * (i + 1)).min(now));
            history::cell(&uptime::stretches(flips, known_until, begin, end))
        };
        let week = uptime::spent(flips, known_until, now - WEEK, now);
        Row { strip: (0..cells).map(cell).collect(), week, status }
    };
    let mut rows: Vec<Row> = statuses.into_iter().map(row).collect();
    let since = |row: &Row| row.status.row.as_ref().and_then(|row| row.state.since());
    rows.sort_by(|a, b| {
        let first = urgency(shown(&a.status)).cmp(&urgency(shown(&b.status)));
        let calm = words::is_calm(shown(&a.status));
        let second = if calm { std::cmp::Ordering::Equal } else { since(b).cmp(&since(a)) };
        first.then(second).then_with(|| a.status.check.name.cmp(&b.status.check.name))
    });
    Ok(rows)
}

fn counts(rows: &[Row]) -> Markup {
    let mut states: Vec<Shown> = Shown::ALL.to_vec();
    states.sort_by_key(|state| urgency(*state));
    let count = |state: Shown| rows.iter().filter(|row| shown(&row.status) == state).count();
    html! {
        p.check-counts {
            @for state in states {
                @let n = count(state);
                @if n > 0 { span.state.(words::state_of(state).class()) { (glyph(words::state_of(state))) span { (n) " " (state.as_str()) } } }
            }
        }
    }
}

fn facets(statuses: &[CheckStatus], asked: &Asked) -> Markup {
    let (mut states, mut apps, mut kinds) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for status in statuses {
        let shown = shown(status);
        *states.entry((urgency(shown), shown.as_str())).or_insert(0_usize) += 1;
        *kinds.entry(status.check.kind.name()).or_insert(0_usize) += 1;
        if let Some(app) = &status.check.app {
            *apps.entry(app.as_str()).or_insert(0_usize) += 1;
        }
    }
    let choice = |(name, n): (&str, usize)| (name.to_owned(), format!("{} ({n})", visible(name)));
    let states: Vec<_> = states.into_iter().map(|((_, name), n)| choice((name, n))).collect();
    let apps: Vec<_> = apps.into_iter().map(choice).collect();
    let kinds: Vec<_> = kinds.into_iter().map(choice).collect();
    folded_filter_bar(
        "/checks",
        &html! {
            (facet("state", "State", &states, &asked.state))
            (facet("app", "App", &apps, &asked.app))
            (facet("kind", "Kind", &kinds, &asked.kind))
        },
        &[("state", &asked.state), ("app", &asked.app), ("kind", &asked.kind)],
    )
}

fn first_one(view: &View) -> Markup {
    html! {
        (empty("No check yet.", &html! {
            "A check asks a target from outside whether it works: a web page, a Redis, a Postgres, a port, a certificate, a job that should report. "
            @if view.viewer.may(Role::Operator) { br; a.button.primary href="/checks/new" { "Make the first one" } }
            @else { "Operators make one here, or it is written into the configuration file:" }
        }))
        details open[!view.viewer.may(Role::Operator)] {
            summary { "Or in the configuration file" }
            pre.command { (FIRST) }
        }
    }
}

fn table(view: &View, rows: &[Row]) -> Markup {
    html! {
        table.data.checks {
            thead { tr { th scope="col" { "State" } th scope="col" { "Check" } th.wide scope="col" { "App" } th.wide scope="col" { "24 h" } th.number scope="col" { "Uptime 7 d" } th.number.wide scope="col" { "Last run" } th.when.wide scope="col" { "Since" } } }
            tbody { @for row in rows.iter().take(CHECKS_MAX) { (table_row(view, row)) } }
        }
    }
}

fn table_row(view: &View, row: &Row) -> Markup {
    let (check, shown) = (&row.status.check, shown(&row.status));
    let (why, stored) = (why(view, &row.status), row.status.row.as_ref());
    let since = stored.and_then(|stored| stored.state.since());
    html! {
        tr.(words::state_of(shown).class()) {
            td.state-cell { (state(shown)) @if let Some(since) = since { span.narrow.quiet { (view.ago(since)) } } }
            th scope="row" {
                a.row href={ "/checks/" (encoded(&check.name)) } { (visible(&check.name)) }
                " " span.quiet { (check.kind.name()) @if let Some(app) = &check.app { span.narrow-inline { " · " (visible(app)) } } }
                @if !why.is_empty() { span.why { (why) } }
            }
            td.wide { @match &check.app { Some(app) => (visible(app)), None => span.quiet { "–" } } }
            td.wide.strip-cell { (strip(&row.strip, &history::strip_words(&row.strip, CELL))) }
            td.number { (uptime_of(&row.week)) }
            td.number.wide { @match stored.and_then(last_took) { Some(micros) => (took(micros)), None => span.quiet { "–" } } }
            td.when.wide { @match since { Some(since) => (view.ago(since)), None => "–" } }
        }
    }
}

/// How long the last run took, where it had a way to go.
fn last_took(row: &dynowatch_store::checks::CheckRow) -> Option<u64> {
    let micros = row.last.as_ref().map(|last| last.phases.total_us).filter(|micros| *micros > 0);
    let job = row.heartbeat.took.and_then(|took| u64::try_from(took.as_micros()).ok());
    micros.or(job)
}

/// Uptime, cut at its last digit, with how much of the time was observed where that was not all of it.
pub(crate) fn uptime_of(spent: &Spent) -> Markup {
    html! {
        @match (spent.uptime(2), spent.coverage(1)) {
            (Some(uptime), Some(coverage)) => {
                (uptime)
                @if !coverage.is_at_least(999) { span.coverage { "of " (coverage) " observed" } }
            }
            _ => span.quiet { "no data" },
        }
    }
}

/// The checks of an app, the most urgent first.
pub(crate) async fn of_app(view: &View, app: &str) -> Result<Markup, PageError> {
    let mut statuses = view.web.engine.check_statuses().await?;
    statuses.retain(|status| status.check.app.as_deref() == Some(app));
    let rows = rows(view, statuses).await?;
    Ok(html! {
        @if !rows.is_empty() {
            h2 { "Checks" }
            (table(view, &rows))
        }
    })
}

/// The checks that need somebody, for the first page; and how many there are in all.
pub(crate) async fn needing(view: &View) -> Result<(Vec<CheckStatus>, usize), PageError> {
    let mut statuses = view.web.engine.check_statuses().await?;
    let all = statuses.len();
    statuses.retain(|status| !words::is_calm(shown(status)));
    statuses.sort_by_key(|status| (urgency(shown(status)), status.check.name.clone()));
    Ok((statuses, all))
}

/// What was asked of a check and cannot be had, as a page.
pub(crate) fn refused(problem: dynowatch_engine::checks::operate::CheckProblem) -> PageError {
    use dynowatch_engine::checks::operate::CheckProblem;
    match problem {
        CheckProblem::NoCheck { .. } => {
            PageError::not_found("There is no check of that name (any more). Checks shows all of them.")
        }
        CheckProblem::Store(error) => error.into(),
    }
}

/// Whether the console made it.
pub(crate) async fn is_of_console(web: &Arc<crate::router::Web>, name: &str) -> Result<bool, PageError> {
    let objects = web.engine.store().objects(ObjectKind::Check).await?;
    Ok(objects.iter().any(|object| object.name == name))
}
