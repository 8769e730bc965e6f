//! The shortest way to a working drain: choose or type the app, press one button (with `HEROKU_API_KEY`) or copy one command,
//! watch the first line arrive, try a receiver.

use std::collections::HashMap;

use axum::extract::Query;
use axum::response::Html;
use dynowatch_domain::AppId;
use dynowatch_domain::account::Role;
use dynowatch_domain::app_name::{APP_NAME_WANTED, is_app_name};
use dynowatch_store::heroku::HerokuApp;
use maud::{Markup, html};
use serde::Deserialize;

use super::error::PageError;
use super::heroku::of_account;
use super::palette::encoded;
use super::partial;
use super::parts::{State, copyable, state};
use super::shell::Head;
use super::view::View;
use crate::api::apps::seen;
use crate::api::heroku::FIR_NOTICE;
use crate::drain::{DRAIN_USER, app_subject};
use crate::events::Topic;
use crate::show::{grouped, shell_word, visible};

/// Apps without a drain that are offered as links.
const NAMED_MAX: usize = 24;

/// Which app.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    app: String,
}

/// The page.
pub(crate) async fn show(view: View, Query(asked): Query<Asked>) -> Result<Html<String>, PageError> {
    let app = asked.app.trim();
    let named = is_app_name(app);
    let topics = [Topic::Connect(app.to_owned())];
    let mut head = Head::new("Connect an app", "/settings").below(&[("/settings", "Settings")]);
    let at = if named { at_heroku(&view, app).await? } else { None };
    // There is nothing to add and nothing to wait for.
    let on_fir = at.as_ref().is_some_and(|at| at.facts.fir);
    if named && !on_fir {
        head = head.live(&topics);
    }
    let one_click = at.map(|at| one_click(&view, app, &at));
    let of_account = of_account(&view).await?;
    let arrived = if named {
        arrivals(&view, app).await?
    } else {
        html! {}
    };
    Ok(view.page(
        &head,
        &html! {
            h1 { "Connect an app" }
            ol.timeline {
                li.flow { h2 { "Which app" } (which(&view, app, named, &of_account)) }
                @if named {
                    @if on_fir { li.flow { h2 { "Its drain" } p { (state(State::Info, "Fir, no Logplex drain")) ". " (FIR_NOTICE) } } }
                    @else {
                        @match &one_click { Some(part) => li.flow { h2 { "Its drain" } (part) details { summary { "Or by a command" } (one_command(&view, app)) } }, None => li { h2 { "One command" } (one_command(&view, app)) } }
                        li { h2 { "Its first line" } div #arrivals role="status" { (arrived) } }
                        li { h2 { "Who is told" } (receivers(&view)) }
                    }
                }
            }
        },
    ))
}

/// The lines that arrived, for pages that are open.
pub(crate) async fn live(view: &View, app: &str) -> Result<Markup, PageError> {
    Ok(partial("arrivals", &arrivals(view, app).await?))
}

fn which(view: &View, app: &str, named: bool, of_account: &HashMap<AppId, HerokuApp>) -> Markup {
    let mut names: Vec<String> = view.web.engine.apps().iter().map(|app| app.name.clone()).collect();
    names.sort_unstable();
    html! {
        form.form method="get" action="/connect" {
            div.field {
                label for="app" { "Its name on Heroku" }
                input #app type="text" name="app" value=(app) list="apps" required autocomplete="off" spellcheck="false" aria-invalid=[(!app.is_empty() && !named).then_some("true")] aria-describedby="app-about";
                datalist #apps { @for name in &names { option value=(name) {} } }
                div #app-about {
                    @if !app.is_empty() && !named { p.problem { span aria-hidden="true" { "✕" } (visible(app)) " is no name of an app: write " (APP_NAME_WANTED) "." } }
                    p.hint { @if view.web.engine.is_heroku_connected() { "One of the account's, or any other: as " } @else { "As " } code { "heroku apps" } " prints it." }
                }
            }
            div.buttons { button.primary type="submit" { "Go on" } }
        }
        (unconnected(view, app, of_account))
    }
}

/// The account's apps that have no drain to here, each a link.
fn unconnected(view: &View, app: &str, of_account: &HashMap<AppId, HerokuApp>) -> Markup {
    let mut names: Vec<String> = of_account
        .values()
        .filter(|at| at.gone_at.is_none() && !at.facts.fir && !has_drain(at))
        .filter_map(|at| view.web.engine.apps().by_id(at.app).map(|ours| ours.name.clone()))
        .collect();
    names.sort_unstable();
    html! {
        @if !names.is_empty() {
            p { "In the Heroku account, without a drain to here:" }
            div.buttons { @for name in names.iter().take(NAMED_MAX) { a.button href={ "/connect?app=" (encoded(name)) } aria-current=[(name == app).then_some("true")] { (visible(name)) } } }
            @if names.len() > NAMED_MAX { p.quiet { "and " (names.len() - NAMED_MAX) " more, all of them on " a href="/apps#heroku" { "Apps" } "." } }
        }
    }
}

fn has_drain(at: &HerokuApp) -> bool {
    at.drains.iter().any(|drain| drain.ours && drain.gone_at.is_none())
}

/// The app as the account has it; `None` where a button cannot help: no key, or the account does not have the app.
async fn at_heroku(view: &View, app: &str) -> Result<Option<HerokuApp>, PageError> {
    if !view.web.engine.is_heroku_connected() {
        return Ok(None);
    }
    Ok(view.web.engine.known_heroku_app(app).await?.filter(|at| at.gone_at.is_none()))
}

/// The drain by a button.
fn one_click(view: &View, app: &str, at: &HerokuApp) -> Markup {
    let drains = format!("/apps/{}/drains", encoded(app));
    html! {
        @if has_drain(at) {
            p { (state(State::Up, "It has a drain to here.")) " " a href=(drains) { "Its log drains" } }
        } @else if view.viewer.may(Role::Operator) {
            form method="post" action=(drains) {
                (view.viewer.csrf_field())
                input type="hidden" name="back" value="connect";
                div.buttons { button.primary type="submit" { "Add the drain" } }
            }
            p.quiet { "It is added with the key of the Heroku account, and signed for this app alone." }
        } @else { p.quiet { "An operator adds it here with one click." } }
    }
}

/// The command. It holds a password, so only operators see it whole; everyone sees how to make it.
fn one_command(view: &View, app: &str) -> Markup {
    let public_url = view.web.engine.public_url();
    let url = (*public_url).as_deref();
    let credential = view.web.drain.credential(&app_subject(app));
    html! {
        @match (url.and_then(|url| url.split_once("://")), credential) {
            (Some((scheme, host)), Some(password)) if view.viewer.may(Role::Operator) => {
                p { "It holds a password that is made for this app; who has it can send lines in its name." }
                (copyable(&format!("heroku drains:add '{scheme}://{DRAIN_USER}:{password}@{host}/drain/{app}' --app {app}")))
            },
            (_, None) => {
                p { (state(State::Degraded, "The drain is closed")) " Set " code { "HEROKU_LOG_DRAIN_HMAC_SECRET" } " to a secret (" code { "openssl rand -hex 32" } ") and start dynowatch again." }
            },
            (url, Some(_)) => {
                p { "This prints the command with the password that is made for this app:" }
                (copyable(&format!("dynowatch drain url --app {}{}", shell_word(app), if url.is_some() { "" } else { " --public-url https://…" })))
                @if url.is_none() { p.quiet { "With " code { "server.public_url" } " in the configuration, or " code { "DYNOWATCH_PUBLIC_URL" } ", the address need not be typed." } }
            },
        }
    }
}

/// What arrived of an app so far.
async fn arrivals(view: &View, app: &str) -> Result<Markup, PageError> {
    let stored = view.web.engine.store().app_by_name(app).await?;
    let seen = stored.as_ref().map(|stored| seen(&view.web, stored));
    Ok(match seen {
        Some((lines, _, Some(at))) => html! {
            p { (state(State::Up, "It delivers.")) " " @if lines > 0 { (grouped(lines)) " lines since this process began, the newest " } @else { "The newest line came " } (view.ago(at)) "." }
            p { a.button href={ "/alerts?app=" (encoded(app)) } { "Its alerts" } }
        },
        _ => html! {
            p { (state(State::Unknown, "Waiting for its first line")) }
            p.quiet { "Heroku begins within a minute, when the app writes something. To make it: open the app, or restart a dyno. A drain that was added under another name shows up under its token on the first page." }
        },
    })
}

fn receivers(view: &View) -> Markup {
    let receivers = view.web.engine.receivers();
    let names: Vec<&str> = receivers.names().collect();
    html! {
        @if names.is_empty() { p { "Nobody yet: there is no receiver. " a href="/receivers" { "Receivers" } " says how to make one." } }
        @else {
            p { "Built-in rules watch the app from its first line. To see a message arrive, send a test:" }
            ul.rows { @for name in names {
                li {
                    p { a href={ "/receivers/" (encoded(name)) } { (visible(name)) } }
                    p.quiet { @if view.viewer.may(Role::Operator) { "open it and press “Send a test message”" } @else { code { "dynowatch receiver test " (shell_word(name)) } } }
                }
            } }
        }
    }
}
