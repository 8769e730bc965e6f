//! An app's log drains at Heroku: which there are and how each stands, one being replaced by another, and whether dynos
//! tell their memory and load. What changes them is in [`change`]; each change that cannot be taken back is shown first,
//! on a page of its own, with the calls it will make. No URL of a drain is ever shown: it holds a password.

pub(crate) mod change;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use dynowatch_domain::AppId;
use dynowatch_domain::account::Role;
use dynowatch_domain::drain_rotation::Rotation;
use dynowatch_engine::heroku::HerokuProblem;
use dynowatch_engine::heroku::drains::AppDrains;
use dynowatch_store::heroku::{Drain, HerokuApp, Wanted};
use maud::{Markup, html};

use super::app::SILENCE_MAX;
use super::error::PageError;
use super::heroku::refusal;
use super::palette::encoded;
use super::partial;
use super::parts::{State, copyable, empty, prose, stale, state};
use super::shell::Head;
use super::view::View;
use crate::api::apps::seen;
use crate::api::heroku::FIR_NOTICE;
use crate::events::Topic;
use crate::show::{shell_word, shortened};

/// What is known of an app's drains.
struct Known {
    drains: AppDrains,
    /// Whether lines of it arrived lately.
    arrives: bool,
    /// Whether any ever did.
    arrived: bool,
}

/// The page.
pub(crate) async fn show(view: View, path: Result<Path<String>, PathRejection>) -> Result<Response, PageError> {
    let Path(name) = path.map_err(|_| PageError::not_found("There is no such app: its address is not readable."))?;
    page(&view, &name, None).await
}

/// The page, below what Heroku just refused.
async fn page(view: &View, name: &str, problem: Option<HerokuProblem>) -> Result<Response, PageError> {
    let engine = &view.web.engine;
    let app = engine.known_heroku_app(name).await?;
    if app.is_none() && engine.apps().by_name(name).is_none() {
        return Err(problem.map_or_else(
            || PageError::not_found("No app has that name, here or in the Heroku account."),
            PageError::from,
        ));
    }
    let (status, refused) = match problem {
        Some(problem) => {
            let (status, words) = refusal(view, problem)?;
            (status, Some(words))
        }
        None => (StatusCode::OK, None),
    };
    let is_connected = engine.is_heroku_connected();
    let shown = view.outside(name);
    let href = format!("/apps/{}", encoded(name));
    let crumbs = [("/apps", "Apps"), (href.as_str(), shown.as_str())];
    let topics: Vec<Topic> = app.iter().map(|app| Topic::Drains(app.app)).collect();
    let title = format!("Log drains of {shown}");
    let head = Head::new(&title, "/apps").below(&crumbs).live(&topics);
    let content = html! {
        div.title-row {
            h1 { "Log drains of " (shown) }
            @if is_connected && view.viewer.may(Role::Operator) { (button(view, &format!("{href}/drains/read"), "Read them again", "")) }
        }
        @if let Some(words) = &refused { div role="alert" { ul.warnings { li { (prose(words)) } } } }
        @match &app {
            Some(app) => {
                div #drains.flow { (standing(view, app).await?) }
                @if is_connected { (changes(view, app, name, &href).await?) } @else { (no_key()) }
            }
            None if is_connected => (empty("The Heroku account does not have it", &html! { "The account is read every five minutes. An app of another account has drains of its own: " code { "heroku drains -a APP" } " lists them." })),
            None => (by_hand(name)),
        }
    };
    Ok((status, view.page(&head, &content)).into_response())
}

/// How the drains stand, for pages that are open.
pub(crate) async fn live(view: &View, app: AppId) -> Result<Markup, PageError> {
    let row = view.web.engine.store().heroku_apps(Wanted::App(app)).await?.pop();
    let row = row.ok_or_else(|| PageError::not_found("This app is not in the Heroku account (any more)."))?;
    Ok(partial("drains", &standing(view, &row).await?))
}

async fn known(view: &View, app: &HerokuApp) -> Result<Known, PageError> {
    let store = view.web.engine.store();
    let drains = view.web.engine.stored_drains(app.clone()).await?;
    let stored = store.apps().await?.into_iter().find(|stored| stored.id == app.app);
    let newest = stored.as_ref().and_then(|stored| seen(&view.web, stored).2);
    let arrives = newest.is_some_and(|at| view.now.since(at) <= SILENCE_MAX);
    Ok(Known { drains, arrives, arrived: newest.is_some() })
}

/// What is the same for everyone who looks.
async fn standing(view: &View, app: &HerokuApp) -> Result<Markup, PageError> {
    if app.facts.fir {
        return Ok(html! { p { (state(State::Info, "Fir, no Logplex drain")) ". " (FIR_NOTICE) } });
    }
    let known = known(view, app).await?;
    let AppDrains { app, rotation, .. } = &known.drains;
    Ok(html! {
        @if app.gone_at.is_some() { (stale(&html! { "The Heroku account does not have this app any more." })) }
        @if let Some(problem) = &app.problem { (stale(&html! { "It could not be read last: " (view.outside(problem)) })) }
        @if known.drains.counted_twice() {
            ul.warnings { li { "Several drains deliver here and none is being replaced: every line is counted more than once. Remove all but one." } }
        }
        @if known.drains.counts_nothing() {
            ul.warnings { li { "The drain that counted is gone, and the one that is left does not count: no line of this app is counted. Remove it, then add a new one." } }
        }
        @if app.drains.is_empty() {
            (empty(if app.drains_at.is_some() { "It has no log drain." } else { "Its drains were not read yet." }, &html! { "With a drain to here, each of its log lines arrives within seconds." }))
        } @else { (table(view, &known)) }
        @if let Some(rotation) = rotation { (replacement(view, rotation)) }
        p.quiet { @match app.drains_at { Some(at) => { "As Heroku told it " (view.ago(at)) "." } None => "Heroku was not asked yet." } }
    })
}

fn table(view: &View, known: &Known) -> Markup {
    html! {
        table.data {
            thead { tr { th scope="col" { "Delivers" } th scope="col" { "State" } th.wide scope="col" { "Token" } th.wide scope="col" { "Drain" } th.when.wide scope="col" { "Since" } } }
            tbody {
                @for drain in &known.drains.app.drains {
                    @let (how, words) = drain_state(known, drain);
                    tr {
                        th scope="row" { @if drain.ours { "here" } @else { "to " (view.outside(&drain.host)) @if let Some(addon) = &drain.addon { " " span.quiet { "(add-on " (view.outside(addon)) ")" } } } }
                        td { (state(how, words)) @if let Some(at) = drain.gone_at { " " (view.ago(at)) } }
                        td.wide { code { (view.outside(&shortened(&drain.token))) } }
                        td.wide { code { (drain.id) } }
                        td.when.wide { @if let Some(at) = drain.created_at { (view.moment(at)) } }
                    }
                }
            }
        }
    }
}

fn drain_state(known: &Known, drain: &Drain) -> (State, &'static str) {
    let open = known.drains.rotation.as_ref().filter(|rotation| rotation.next_at.is_some());
    let is_old = open.is_some_and(|rotation| rotation.old.id == drain.id);
    let is_new = open.and_then(|rotation| rotation.new.as_ref()).is_some_and(|new| new.id == drain.id);
    match drain {
        _ if drain.gone_at.is_some() => (State::Unknown, "gone"),
        _ if !drain.ours => (State::Info, "elsewhere"),
        _ if is_old => (State::Maintenance, "being replaced"),
        _ if is_new => (State::Maintenance, "takes over"),
        _ if known.drains.counts(drain) == Some(false) => (State::Unknown, "does not count"),
        _ if known.drains.must_stay(drain) => (State::Up, "counts"),
        _ if known.arrives => (State::Up, "delivers"),
        _ if known.arrived => (State::Unknown, "silent"),
        _ => (State::Unknown, "no line yet"),
    }
}

fn replacement(view: &View, rotation: &Rotation) -> Markup {
    let words = rotation.in_words(|at| view.look.zone.full(at));
    html! {
        section.flow {
            h2 { "The last replacement" }
            p { "How it stands: " (view.outside(&words)) @if rotation.next_at.is_some() { ". It goes on by itself." } @else { "." } }
            p.quiet { "Asked for by " (view.outside(&rotation.by)) ", " (view.ago(rotation.created_at)) "." }
        }
    }
}

/// What may be done, for who may do it.
async fn changes(view: &View, app: &HerokuApp, name: &str, href: &str) -> Result<Markup, PageError> {
    if app.facts.fir || app.gone_at.is_some() {
        return Ok(html! {});
    }
    if !view.viewer.may(Role::Operator) {
        return Ok(html! { p.quiet { "Drains are added, replaced and removed by operators." } });
    }
    let drains = view.web.engine.stored_drains(app.clone()).await?;
    let is_open = drains.rotation.as_ref().is_some_and(|rotation| rotation.next_at.is_some());
    let ours: Vec<&Drain> = drains.ours().collect();
    Ok(html! {
        section.flow {
            h2 { "Change them" }
            @if is_open {
                p { "One is being replaced. For an app that writes no log, the new drain can take over without having delivered." }
                div.buttons {
                    (button(view, &format!("{href}/drains/rotate/proceed"), "Do not wait for the first line", ""))
                    (button(view, &format!("{href}/drains/rotate/abandon"), "End the replacement", ""))
                }
            } @else if ours.is_empty() {
                p { "A drain to here is added with a URL that is signed for this app alone." }
                (button(view, &format!("{href}/drains"), "Add the drain", "primary"))
                p.quiet { a href={ "/connect?app=" (encoded(name)) } { "Connect an app" } " watches the first line arrive." }
            } @else {
                @for drain in ours {
                    @let (counts, must_stay) = (drains.counts(drain) == Some(true), drains.must_stay(drain));
                    p {
                        "The drain to here " code { (view.outside(&shortened(&drain.token))) }
                        @if !counts { ", whose lines do not count" }
                        @if must_stay { ", whose lines count; it can be removed once the other one is" }
                        ":"
                    }
                    div.buttons {
                        @if counts { a.button href={ (href) "/drains/rotate?drain=" (drain.id) } { "Replace it…" } }
                        @if !must_stay { a.button.danger href={ (href) "/drains/" (drain.id) "/remove" } { "Remove it…" } }
                    }
                }
            }
        }
        (runtime_metrics(view, app, href))
    })
}

/// Whether dynos tell their memory and load, and the switch.
fn runtime_metrics(view: &View, app: &HerokuApp, href: &str) -> Markup {
    let (how, word, action, enabled) = match app.facts.runtime_metrics {
        Some(true) => (State::Up, "on", "Switch it off", "false"),
        Some(false) => (State::Info, "off", "Switch it on", "true"),
        None => (State::Unknown, "not known", "Switch it on", "true"),
    };
    html! {
        section #runtime-metrics.flow {
            h2 { "Memory and load of dynos" }
            p { (state(how, word)) ". Heroku writes them into the log when " code { "log-runtime-metrics" } " is on. A dyno follows at its next restart." }
            form method="post" action={ (href) "/runtime-metrics" } {
                (view.viewer.csrf_field())
                input type="hidden" name="enabled" value=(enabled);
                div.buttons { button type="submit" { (action) } }
            }
        }
    }
}

/// A button that posts, for what may be done again or taken back.
pub(super) fn button(view: &View, action: &str, words: &str, class: &str) -> Markup {
    html! {
        form method="post" action=(action) {
            (view.viewer.csrf_field())
            div.buttons { button.(class) type="submit" { (words) } }
        }
    }
}

fn no_key() -> Markup {
    html! { p.quiet { "This is what the Heroku account last told. " code { "HEROKU_API_KEY" } " is not set any more, so nothing can be asked or changed." } }
}

fn by_hand(name: &str) -> Markup {
    html! {
        p { "Without " code { "HEROKU_API_KEY" } " drains are listed and changed with Heroku's own command:" }
        (copyable(&format!("heroku drains --app {}", shell_word(name))))
        p { a href={ "/connect?app=" (encoded(name)) } { "Connect an app" } " has the command that adds one." }
    }
}

#[cfg(test)]
mod tests {
    use dynowatch_domain::Timestamp;
    use uuid::Uuid;

    use super::*;
    use dynowatch_domain::drain_rotation::DrainRef;
    use dynowatch_store::heroku::Facts;

    fn drain(id: u128, ours: bool) -> Drain {
        let (token, host) = (format!("d.{id}"), "watch.example".to_owned());
        let id = Uuid::from_u128(id);
        Drain { id, token, ours, host, addon: None, mark: None, created_at: None, gone_at: None }
    }

    fn known(drains: Vec<Drain>, rotation: Option<Rotation>, arrives: bool, arrived: bool) -> Known {
        let now = Timestamp::from_seconds(0);
        let app = HerokuApp {
            app: AppId(Uuid::from_u128(1)),
            heroku_id: Uuid::from_u128(2),
            name: "shop".to_owned(),
            facts: Facts::default(),
            formation: Vec::new(),
            dynos: Vec::new(),
            addons: Vec::new(),
            drains,
            seen_at: now,
            gone_at: None,
            dynos_at: None,
            drains_at: None,
            releases_at: None,
            next_dynos_at: now,
            next_drains_at: now,
            problem: None,
        };
        Known { drains: AppDrains { app, rotation, silent: Vec::new() }, arrives, arrived }
    }

    #[test]
    fn every_drain_has_a_state_in_a_word() {
        let now = Timestamp::from_seconds(0);
        let old = DrainRef { id: Uuid::from_u128(3), token: "d.3".to_owned() };
        let mut rotation = Rotation::new(Uuid::from_u128(9), AppId(Uuid::from_u128(1)), "m".into(), old, "ada", now);
        rotation.new = Some(DrainRef { id: Uuid::from_u128(4), token: "d.4".to_owned() });
        let gone = Drain { gone_at: Some(now), ..drain(3, true) };
        for (drain, rotation, arrives, arrived, want) in [
            (drain(3, true), None, true, true, "delivers"),
            (drain(3, true), None, false, true, "silent"),
            (drain(3, true), None, false, false, "no line yet"),
            (drain(3, false), None, true, true, "elsewhere"),
            (gone, None, true, true, "gone"),
            (drain(3, true), Some(rotation.clone()), true, true, "being replaced"),
            (drain(4, true), Some(rotation), true, true, "takes over"),
        ] {
            let known = known(vec![drain.clone()], rotation, arrives, arrived);
            assert_eq!(drain_state(&known, &drain).1, want);
        }
    }

    #[test]
    fn of_two_that_deliver_it_is_said_which_counts() {
        let mut known = known(vec![drain(3, true), drain(4, true)], None, true, true);
        assert!(known.drains.counted_twice());
        known.drains.silent = vec![drain(3, true).id];
        let states: Vec<_> = known.drains.app.drains.iter().map(|drain| drain_state(&known, drain).1).collect();
        assert_eq!((states, known.drains.counted_twice()), (vec!["does not count", "counts"], false));
        known.drains.app.drains.pop();
        assert!(known.drains.counts_nothing());
    }
}
