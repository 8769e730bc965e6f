//! What Heroku's API adds to an app's page: its mode, its process types, its add-ons, and releases with their true author
//! and what each changed. Names of config vars only; their values are never asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::release::{Release, ReleaseKind};
use dynowatch_engine::App;
use dynowatch_store::heroku::{Dyno, HerokuApp, Wanted};
use maud::{Markup, html};

use crate::api::heroku::FIR_NOTICE;
use crate::pages::error::PageError;
use crate::pages::heroku::Note;
use crate::pages::palette::encoded;
use crate::pages::parts::{State, stale, state};
use crate::pages::view::View;

/// How far back releases are listed.
const RELEASES_BACK: Duration = Duration::from_secs(30 * 86_400);
/// Releases in the table.
const RELEASES_MAX: usize = 12;
/// Letters of a commit that are shown.
const COMMIT_CHARS: usize = 8;

/// The app as the account has it.
pub(super) async fn of(view: &View, app: &App) -> Result<Option<HerokuApp>, PageError> {
    Ok(view.web.engine.store().heroku_apps(Wanted::App(app.id)).await?.pop())
}

/// What everyone must know first: maintenance, Fir, no drain, gone.
pub(super) fn notes(view: &View, app: &HerokuApp, name: &str) -> Markup {
    let href = format!("/connect?app={}", encoded(name));
    html! {
        @for note in Note::of(app) {
            p {
                (note.markup())
                @match note {
                    Note::Gone => ". What it delivered stays.",
                    Note::Maintenance => ": visitors see a page of Heroku's, not the app.",
                    Note::Fir => { ". " (FIR_NOTICE) }
                    Note::NoDrain => { ": its log lines do not arrive. " a href=(href) { "Add one" } }
                }
            }
        }
        @if let Some(problem) = &app.problem { (stale(&html! { "Heroku could not be asked about it: " (view.outside(problem)) })) }
    }
}

/// Process types, add-ons and where it runs.
pub(super) fn section(view: &View, app: &App, at: &HerokuApp) -> Markup {
    html! {
        section #heroku.flow {
            div.title-row { h2 { "At Heroku" } a href={ "/apps/" (encoded(&app.name)) "/drains" } { "Log drains" } }
            (facts(view, at))
            (formation(view, at))
            (rollout(at))
            (addons(view, at))
            p.quiet { @match at.dynos_at { Some(at) => { "Read " (view.ago(at)) "." } None => "Not read yet." } }
        }
    }
}

fn facts(view: &View, at: &HerokuApp) -> Markup {
    let facts = &at.facts;
    let all = [
        ("Stack", &facts.stack),
        ("Region", &facts.region),
        ("Team", &facts.team),
        ("Space", &facts.space),
        ("Owner", &facts.owner),
    ];
    let metrics = match facts.runtime_metrics {
        Some(true) => "on",
        Some(false) => "off",
        None => "not known",
    };
    html! {
        dl.facts {
            @for (name, value) in all { @if let Some(value) = value { dt { (name) } dd { (view.outside(value)) } } }
            @if !facts.fir { dt { "log-runtime-metrics" } dd { (metrics) } }
        }
    }
}

fn formation(view: &View, at: &HerokuApp) -> Markup {
    let running = |process: &str| {
        let of = |dyno: &&Dyno| dyno.gone_at.is_none() && dyno.process_type == process;
        at.dynos.iter().filter(of).filter(|dyno| dyno.state == "up").count()
    };
    html! {
        @if !at.formation.is_empty() {
            table.data {
                caption.visually-hidden { "Process types" }
                thead { tr { th scope="col" { "Process type" } th.number scope="col" { "Dynos" } th.number scope="col" { "Up" } th scope="col" { "Size" } } }
                tbody {
                    @for process in at.formation.iter().filter(|process| process.gone_at.is_none()) {
                        tr {
                            th scope="row" { (view.outside(&process.process_type)) }
                            td.number { (process.quantity) }
                            td.number { (running(&process.process_type)) }
                            td { (view.outside(&process.size)) }
                        }
                    }
                }
            }
        }
    }
}

/// Says so when dynos run different releases: a rollout that goes on, or stands still.
fn rollout(at: &HerokuApp) -> Markup {
    let mut releases: BTreeMap<i64, usize> = BTreeMap::new();
    let is_counted =
        |dyno: &&Dyno| dyno.gone_at.is_none() && at.formation.iter().any(|of| of.process_type == dyno.process_type);
    for release in at.dynos.iter().filter(is_counted).filter_map(|dyno| dyno.release) {
        *releases.entry(release).or_default() += 1;
    }
    html! {
        @if releases.len() > 1 {
            p { (state(State::Degraded, "Dynos run different releases")) ": " @for (i, (release, dynos)) in releases.iter().rev().enumerate() { @if i > 0 { ", " } "v" (release) " on " (dynos) } "." }
        }
    }
}

fn addons(view: &View, at: &HerokuApp) -> Markup {
    let text = |text: &Option<String>| text.as_deref().map(|text| view.outside(text)).unwrap_or_default();
    html! {
        @if !at.addons.is_empty() {
            h3 { "Add-ons" }
            table.data {
                thead { tr { th scope="col" { "Add-on" } th.wide scope="col" { "Plan" } th scope="col" { "State" } th.wide scope="col" { "Config vars" } } }
                tbody {
                    @for addon in &at.addons {
                        tr {
                            th scope="row" { (view.outside(&addon.name)) span.narrow.quiet { (text(&addon.plan)) } }
                            td.wide { (text(&addon.plan)) }
                            td { @if let Some(gone) = addon.gone_at { (state(State::Unknown, "gone")) " " (view.ago(gone)) } @else { (addon_state(view, &addon.state)) } }
                            td.wide { @for (i, name) in addon.config_vars.iter().enumerate() { @if i > 0 { ", " } code { (view.outside(name)) } } }
                        }
                    }
                }
            }
        }
    }
}

fn addon_state(view: &View, word: &str) -> Markup {
    match word {
        "provisioned" => state(State::Up, word),
        "provisioning" => state(State::Info, word),
        _ => state(State::Unknown, &view.outside(word)),
    }
}

/// The newest releases: who made each and what it changed.
pub(super) async fn releases(view: &View, app: &App) -> Result<Markup, PageError> {
    let store = view.web.engine.store();
    let releases = store.releases_between(app.id, view.now - RELEASES_BACK, view.now + RELEASES_BACK).await?;
    Ok(html! {
        @if !releases.is_empty() {
            section #release-list {
                h2 { "Releases" }
                div.sideways tabindex="0" role="region" aria-label="Releases" {
                    table.data {
                        thead { tr { th scope="col" { "Release" } th scope="col" { "Changed" } th.wide scope="col" { "By" } th.wide scope="col" { "Said" } th.when scope="col" { "When" } } }
                        tbody {
                            @for release in releases.iter().take(RELEASES_MAX) {
                                tr {
                                    th scope="row" { @match release.version { Some(version) => { "v" (version) } None => "–" } (failed(release)) }
                                    td {
                                        (changed(view, release))
                                        @if let Some(actor) = &release.actor { span.narrow.quiet { "by " (view.outside(actor)) } }
                                    }
                                    td.wide { (release.actor.as_deref().map(|actor| view.outside(actor)).unwrap_or_default()) }
                                    td.said.wide { (release.what.as_deref().map(|what| view.outside(what)).unwrap_or_default()) }
                                    td.when { (view.ago(release.at)) }
                                }
                            }
                        }
                    }
                }
                @if releases.iter().take(RELEASES_MAX).any(|release| release.from_api.is_none()) {
                    p.quiet { "Where Heroku was not asked, this is what the log told: the author is who the log names." }
                }
            }
        }
    })
}

fn failed(release: &Release) -> Markup {
    let status = release.from_api.as_ref().and_then(|api| api.status.as_deref());
    html! {
        @match status {
            Some("failed") => { " " (state(State::Down, "failed")) }
            Some("pending") => { " " (state(State::Info, "pending")) }
            _ => {}
        }
    }
}

/// What a release changed: the slug tells of code, the description of names of config vars.
fn changed(view: &View, release: &Release) -> Markup {
    let code = release.from_api.as_ref().and_then(|api| api.code_changed);
    let commit = release.from_api.as_ref().and_then(|api| api.commit.as_deref());
    let vars = release.config_vars();
    html! {
        @match (release.kind, code) {
            (ReleaseKind::Rollback, Some(true)) => "code and config vars, back",
            (ReleaseKind::Rollback, Some(false)) => "config vars, back; the code is the same",
            (_, Some(true)) => "code",
            (kind, _) => (kind.as_str()),
        }
        @if let Some(commit) = commit { " " code { (view.outside(&commit.chars().take(COMMIT_CHARS).collect::<String>())) } }
        @for (i, name) in vars.iter().enumerate() { @if i == 0 { " " } @else { ", " } code { (view.outside(name)) } }
        @if code == Some(false) && release.kind == ReleaseKind::Code { " " span.quiet { "(the slug is the same)" } }
    }
}
