//! What stands around every page: the banner of the environment, navigation, freshness, the command palette, the help on
//! keys, the footer. Readable and usable without scripts: then links and forms do what keys and the palette do.
//!
//! Scripts find what they work on by `data-` attributes; what each means is said in `assets/console.js`.

use axum::response::Html;
use dynowatch_domain::account::Theme;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::assets;
use super::look::{Look, color_scheme};
use super::view::View;
use crate::events::Topic;
use crate::health::VERSION;
use crate::show::visible;

/// A place of the navigation: its path, its name, the keys that lead there.
pub(super) struct Place {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    keys: &'static str,
}

const fn place(path: &'static str, name: &'static str, keys: &'static str) -> Place {
    Place { path, name, keys }
}

/// Where the navigation leads. Only what exists: a link to a page that is not there yet is a lie.
static PLACES: [Place; 9] = [
    place("/", "Now", "g n"),
    place("/apps", "Apps", "g p"),
    place("/live", "Live", "g l"),
    place("/checks", "Checks", "g c"),
    place("/alerts", "Alerts", "g a"),
    place("/rules", "Rules", "g r"),
    place("/receivers", "Receivers", "g v"),
    place("/deliveries", "Deliveries", "g d"),
    place("/settings", "Settings", "g s"),
];

/// Addresses that stand elsewhere than below their place.
const ELSEWHERE: [(&str, &str); 4] =
    [("/lines", "/live"), ("/connect", "/apps"), ("/heroku", "/apps"), ("/step-up", "/settings")];

/// The place that an address belongs to.
pub(super) fn place_of(path: &str) -> Option<&'static Place> {
    let is_below =
        |path: &str, top: &str| path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let path = ELSEWHERE.iter().find(|(top, _)| is_below(path, top)).map_or(path, |(_, place)| *place);
    PLACES.iter().find(|place| is_below(path, place.path))
}

/// How htmx behaves here. Attributes are not inherited, history is the browser's, no style is injected, and a stream that
/// broke is tried again after half a second to five.
const HTMX_CONFIG: &str =
    r#"{"includeIndicatorCSS":false,"history":false,"sse":{"reconnectDelay":500,"reconnectMaxDelay":5000}}"#;

/// What a page says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head<'a> {
    title: &'a str,
    here: &'a str,
    topics: &'a [Topic],
    tail: Option<&'a str>,
    charts: bool,
    crumbs: &'a [(&'a str, &'a str)],
}

impl<'a> Head<'a> {
    /// A page with that title, below that place of the navigation (`""` for none).
    pub(crate) fn new(title: &'a str, here: &'a str) -> Self {
        Self { title, here, ..Self::default() }
    }

    /// Keeps these pieces of the page true.
    pub(crate) fn live(mut self, topics: &'a [Topic]) -> Self {
        self.topics = topics;
        self
    }

    /// Lets the page's stream bring lines of the log, too: what to add to its address.
    pub(crate) fn tail(mut self, query: Option<&'a str>) -> Self {
        self.tail = query;
        self
    }

    /// Loads what draws charts.
    pub(crate) fn charts(mut self) -> Self {
        self.charts = true;
        self
    }

    /// The pages above it, outermost first: address and name.
    pub(crate) fn below(mut self, crumbs: &'a [(&'a str, &'a str)]) -> Self {
        self.crumbs = crumbs;
        self
    }
}

/// A whole page.
pub(super) fn page(view: &View, head: &Head<'_>, content: &Markup) -> Html<String> {
    let environment = view.web.environment.as_deref();
    document(
        &view.look,
        head,
        &html! {
            @if let Some(environment) = environment {
                div.environment.(environment_class(environment)) { span { (environment) } }
            }
            (bar(view, head))
            main #main tabindex="-1" {
                @if !head.crumbs.is_empty() {
                    nav.crumbs aria-label="Above this page" { @for (path, name) in head.crumbs { a href=(path) { (name) } } }
                }
                (content)
            }
            (foot(view))
            (palette())
            (keys_help())
            div #notice.notice role="status" aria-live="polite" hidden {}
            @let topics: Vec<String> = head.topics.iter().map(Topic::name).collect();
            div #events hx-sse:connect={ "/events?topics=" (topics.join(",")) (head.tail.unwrap_or_default()) } hx-swap="none" hidden {}
        },
    )
}

/// A page where nothing is known of who looks.
pub(super) fn bare_page(look: &Look, title: &str, content: &Markup) -> Html<String> {
    document(
        look,
        &Head::new(title, ""),
        &html! {
            header.bar { (brand()) nav.places aria-label="Pages" { a href="/" { "Now" } } }
            main #main tabindex="-1" { (content) }
        },
    )
}

fn document(look: &Look, head: &Head<'_>, body: &Markup) -> Html<String> {
    let theme = (look.theme != Theme::System).then(|| look.theme.as_str());
    let page = html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] data-wall[look.wall] data-zone=(look.zone.name()) data-keys=[(!look.keys).then_some("off")] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content=(color_scheme(look.theme));
                meta name="robots" content="noindex";
                meta name="htmx-config" content=(HTMX_CONFIG);
                title { (head.title) " · dynowatch" }
                link rel="icon" href=(assets::icon_url()) type="image/svg+xml";
                link rel="stylesheet" href=(assets::style_url());
                @for url in assets::script_urls(head.charts) { script src=(url) defer {} }
            }
            body { a.skip href="#main" { "Skip to content" } (body) }
        }
    };
    Html(page.into_string())
}

fn environment_class(name: &str) -> &'static str {
    match name {
        "production" => "production",
        "demo" | "local" => "local",
        _ => "other",
    }
}

fn brand() -> Markup {
    html! { a.brand href="/" { (PreEscaped(assets::ICON_SVG)) span { "dynowatch" } } }
}

fn bar(view: &View, head: &Head<'_>) -> Markup {
    html! {
        header.bar {
            (brand())
            nav.places.wide aria-label="Pages" { (places(head)) }
            div.grow {}
            (freshness())
            button.search type="button" data-palette aria-haspopup="dialog" { (icon("search")) span { "Go to…" } kbd { "⌘K" } }
            (zone_toggle(view))
            details.menu {
                summary aria-label="Menu" { (icon("menu")) }
                nav aria-label="Menu" { div.places { (places(head)) } (theme_form(view)) div.me { (me(view)) } }
            }
        }
    }
}

/// Who looks, and what they may do.
fn me(view: &View) -> Markup {
    html! {
        @if view.viewer.is_guest { "Reading as a guest" }
        @else {
            a href="/settings/security" { (visible(&view.viewer.name)) } " · " (view.viewer.role.as_str())
            form.out method="post" action="/sign-out" { (view.viewer.csrf_field()) button.link type="submit" { "Sign out" } }
        }
    }
}

fn places(head: &Head<'_>) -> Markup {
    html! { @for place in &PLACES { a href=(place.path) data-keys=(place.keys) aria-current=[(place.path == head.here).then_some("page")] { (place.name) } } }
}

/// How fresh the page is. Scripts keep it true; without them, a page is as old as its loading.
fn freshness() -> Markup {
    html! {
        span #fresh.fresh data-state="loaded" title="How old the newest log line is, and whether this page is kept up to date" {
            span.dot aria-hidden="true" {} span data-text { "as loaded" }
        }
    }
}

/// UTC or local: one button, with the zone in force on it.
fn zone_toggle(view: &View) -> Markup {
    let (zone, other) = (&view.look.zone, if view.look.zone.is_utc() { "" } else { "UTC" });
    html! {
        form.zone method="post" action="/preferences" {
            input type="hidden" name="back" value=(view.here);
            @if zone.is_utc() {
                // Which zone is local only the browser knows; without scripts the settings have a list.
                button.quiet type="submit" name="zone" value=(other) data-local-zone disabled title="Show times in your own zone" { "UTC" }
            } @else {
                button.quiet type="submit" name="zone" value=(other) title="Show times in UTC" { (zone.name()) }
            }
        }
    }
}

/// The theme as three buttons of a form.
pub(super) fn theme_form(view: &View) -> Markup {
    html! {
        form.theme method="post" action="/preferences" aria-label="Theme" {
            input type="hidden" name="back" value=(view.here);
            @for theme in Theme::ALL {
                button type="submit" name="theme" value=(theme.as_str()) aria-pressed=(view.look.theme == theme) { (theme.as_str()) }
            }
        }
    }
}

fn foot(view: &View) -> Markup {
    html! {
        footer {
            p { "As of " (view.moment(view.now)) ". " a href=(view.here) { "Load again" } }
            nav aria-label="For machines" { a href="/readyz" { "Readiness" } a href="/metrics" { "Metrics" } a href="/api/v1/openapi.json" { "API" } }
            p { "dynowatch " (VERSION) span.for-keys { " · " button.link type="button" data-help hidden { "Keys" } } }
        }
    }
}

/// Filled by scripts from `/palette`; without them nothing opens it.
fn palette() -> Markup {
    html! {
        dialog #palette.palette aria-label="Go to" {
            form method="dialog" {
                label.visually-hidden for="palette-text" { "Page, app, rule or alert" }
                input #palette-text type="text" placeholder="Page, app, rule, alert…" autocomplete="off" spellcheck="false" role="combobox" aria-expanded="true" aria-controls="palette-list" aria-autocomplete="list";
                ul #palette-list role="listbox" aria-label="Places" {}
                p.hint { kbd { "↑" } kbd { "↓" } " choose " kbd { "Enter" } " open " kbd { "Esc" } " close" }
            }
        }
    }
}

/// The keys, and the switch that turns them off.
fn keys_help() -> Markup {
    let move_keys = [
        ("j k", "next and previous row"),
        ("Enter", "open the row"),
        ("Esc", "back, or close what is open"),
        ("[ ]", "earlier and later, on pages with a time range"),
        ("- =", "wider and narrower range"),
        ("t n", "back to now"),
        ("p", "pause the live log, and go on"),
        ("1-6", "a series of the chart on or off"),
    ];
    let other_keys = [("⌘K /", "go to…"), ("d", "light, dark, system"), ("u", "UTC or local time"), ("?", "this help")];
    html! {
        dialog #keys.keys aria-labelledby="keys-title" {
            form method="dialog" { h2 #keys-title { "Keys" } button.close type="submit" aria-label="Close" { "✕" } }
            dl {
                @for place in &PLACES { div { dt { (key(place.keys)) } dd { (place.name) } } }
                @for (keys, what) in move_keys.iter().chain(&other_keys) { div { dt { (key(keys)) } dd { (what) } } }
            }
            p { "None of them works while you type. " button type="button" data-keys-switch { "Turn single keys off" } }
        }
    }
}

fn key(keys: &str) -> Markup {
    html! { @for (i, key) in keys.split(' ').enumerate() { @if i > 0 { " " } kbd { (key) } } }
}

/// Small drawings for controls that also have words.
fn icon(name: &str) -> Markup {
    let path = match name {
        "search" => "M7 2.5a4.5 4.5 0 1 0 0 9 4.5 4.5 0 0 0 0-9zM10.5 10.5l3.5 3.5",
        _ => "M2 4h12M2 8h12M2 12h12",
    };
    html! { svg.icon viewBox="0 0 16 16" aria-hidden="true" { path d=(path) {} } }
}

/// What the command palette leads to besides apps, rules and alerts.
pub(super) fn palette_places() -> impl Iterator<Item = (&'static str, &'static str)> {
    PLACES.iter().map(|place| (place.path, place.name))
}
