//! What pages say of the Heroku account: how it stands, which of its apps deliver nothing here, and what Heroku refused, in
//! words. Heroku's texts were cleaned where they came in (`dynowatch_heroku::Error`); here they are masked once more.

use std::collections::HashMap;

use axum::http::StatusCode;
use dynowatch_domain::AppId;
use dynowatch_domain::account::Role;
use dynowatch_engine::heroku::{HerokuProblem, HerokuStatus};
use dynowatch_store::StoreError;
use dynowatch_store::apps::AppOrigin;
use dynowatch_store::heroku::{HerokuApp, Wanted};
use maud::{Markup, html};

use super::drains::button;
use super::error::PageError;
use super::overview::AppRow;
use super::palette::encoded;
use super::parts::{State, stale, state};
use super::view::View;

/// Apps that are named as not connected.
const NAMED_MAX: usize = 200;

/// What Heroku, or what stands in the way of asking it, says to people: a status and a sentence.
pub(super) fn refusal(view: &View, problem: HerokuProblem) -> Result<(StatusCode, String), PageError> {
    let status = status_of(&problem);
    match problem {
        HerokuProblem::Store(error) => Err(error.into()),
        problem => Ok((status, view.outside(&sentence(&problem)))),
    }
}

fn status_of(problem: &HerokuProblem) -> StatusCode {
    match problem {
        HerokuProblem::NoApp(_) | HerokuProblem::NotFound(_) => StatusCode::NOT_FOUND,
        HerokuProblem::Heroku(_) => StatusCode::BAD_GATEWAY,
        _ => StatusCode::CONFLICT,
    }
}

fn sentence(problem: &HerokuProblem) -> String {
    let begin = match problem {
        HerokuProblem::Heroku(_) => "Not done: ",
        _ => "Nothing was changed: ",
    };
    let doubt = match problem {
        HerokuProblem::Heroku(error) if error.maybe_done() => {
            " It may have been done all the same: reading the drains again tells."
        }
        _ => "",
    };
    format!("{begin}{problem}.{doubt}")
}

impl From<HerokuProblem> for PageError {
    fn from(problem: HerokuProblem) -> Self {
        match problem {
            HerokuProblem::Store(error) => error.into(),
            problem => Self::new(status_of(&problem), &sentence(&problem)),
        }
    }
}

/// The account's apps by our ids, for pages that list apps.
pub(super) async fn of_account(view: &View) -> Result<HashMap<AppId, HerokuApp>, StoreError> {
    let all = view.web.engine.store().heroku_apps(Wanted::All).await?;
    Ok(all.into_iter().map(|app| (app.app, app)).collect())
}

/// Whether an app is only known because the account has it: it never delivered a line.
pub(super) fn is_unconnected(row: &AppRow) -> bool {
    row.app.origin == AppOrigin::Heroku && row.last_line_at.is_none()
}

/// What is worth a word beside an app's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// The account does not have it any more.
    Gone,
    /// Visitors do not reach it.
    Maintenance,
    /// Its logs leave by no drain.
    Fir,
    /// No drain delivers here.
    NoDrain,
}

impl Note {
    /// All that there is to say of an app.
    pub(super) fn of(app: &HerokuApp) -> Vec<Self> {
        if app.gone_at.is_some() {
            return vec![Self::Gone];
        }
        let is_ours = app.drains.iter().any(|drain| drain.ours && drain.gone_at.is_none());
        let maintenance = app.facts.maintenance.then_some(Self::Maintenance);
        let drain = match app.facts.fir {
            true => Some(Self::Fir),
            false => (app.drains_at.is_some() && !is_ours).then_some(Self::NoDrain),
        };
        maintenance.into_iter().chain(drain).collect()
    }

    /// As shape, word and colour.
    pub(super) fn markup(self) -> Markup {
        match self {
            Self::Gone => state(State::Unknown, "gone from Heroku"),
            Self::Maintenance => state(State::Maintenance, "maintenance mode"),
            Self::Fir => state(State::Info, "Fir, no Logplex drain"),
            Self::NoDrain => state(State::Unknown, "no drain to here"),
        }
    }
}

/// The part of the page of apps that is about the account; nothing without one.
pub(super) async fn account_part(
    view: &View,
    rows: &[AppRow],
    of_account: &HashMap<AppId, HerokuApp>,
) -> Result<Markup, PageError> {
    let status = view.web.engine.heroku_status().await?;
    if !status.connected && of_account.is_empty() {
        return Ok(html! {});
    }
    let left: Vec<(&AppRow, &HerokuApp)> = rows
        .iter()
        .filter(|row| is_unconnected(row))
        .filter_map(|row| Some((row, of_account.get(&row.app.id)?)))
        .filter(|(_, app)| app.gone_at.is_none())
        .collect();
    Ok(html! {
        section #heroku.flow {
            div.title-row {
                h2 { "The Heroku account" }
                @if status.connected && view.viewer.may(Role::Operator) { (button(view, "/heroku/sync", "Read it again", "")) }
            }
            (how_it_stands(view, &status))
            @if left.is_empty() { p.quiet { "Each of its apps has delivered a line here, or is gone." } } @else {
                p { @if left.len() == 1 { "One of its apps has" } @else { (left.len()) " of its apps have" } " not delivered a line yet:" }
                table.data {
                    thead { tr { th scope="col" { "App" } th scope="col" { "State" } th.wide scope="col" { "Team" } th.wide scope="col" { "Region" } } }
                    tbody {
                        @for (row, app) in left.iter().take(NAMED_MAX) {
                            @let notes = Note::of(app);
                            @let href = if app.facts.fir { format!("/apps/{}", encoded(&row.app.name)) } else { format!("/connect?app={}", encoded(&row.app.name)) };
                            tr {
                                th scope="row" { a.row href=(href) { (view.outside(&row.app.name)) } }
                                td {
                                    @for note in &notes { (note.markup()) " " }
                                    @if notes.is_empty() { (state(State::Unknown, if app.drains_at.is_some() { "waits for its first line" } else { "drains not read yet" })) }
                                }
                                td.wide { (app.facts.team.as_deref().map(|team| view.outside(team)).unwrap_or_default()) }
                                td.wide { (app.facts.region.as_deref().map(|region| view.outside(region)).unwrap_or_default()) }
                            }
                        }
                    }
                }
                @if left.len() > NAMED_MAX { p.quiet { (NAMED_MAX) " of them are shown." } }
            }
        }
    })
}

fn how_it_stands(view: &View, status: &HerokuStatus) -> Markup {
    let read_at = status.apps.as_ref().and_then(|list| list.done_at);
    html! {
        @if !status.connected { (stale(&html! { code { "HEROKU_API_KEY" } " is not set any more: this is what the account told last." })) }
        @if let Some((until, why)) = &status.paused {
            (stale(&html! { "Heroku is not asked until " (view.moment(*until)) @if let Some(why) = why { ": " (view.outside(why)) } }))
        }
        p.quiet {
            (status.known) @if status.known == 1 { " app" } @else { " apps" }
            @match read_at { Some(at) => { ", read " (view.ago(at)) } None => ", not read yet" } "."
            @if let Some(left) = status.remaining { " Heroku allows " (crate::show::grouped(left.into())) " more requests this hour." }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refusal_is_a_fault_of_ours() {
        for (problem, want) in [
            (HerokuProblem::NoKey, 409),
            (HerokuProblem::NoApp("x".into()), 404),
            (HerokuProblem::Fir("x".into()), 409),
            (HerokuProblem::NoDrainUrl("x".into()), 409),
            (HerokuProblem::Conflict("x".into()), 409),
            (HerokuProblem::NotFound("x".into()), 404),
        ] {
            assert_eq!(status_of(&problem).as_u16(), want, "{problem}");
        }
    }
}
