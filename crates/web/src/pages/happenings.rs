//! What happened, three ways: as marks of charts, as the strip that all charts of a page share, and as a feed. Texts are
//! from log lines and are masked here.

use dynowatch_domain::Timestamp;
use dynowatch_engine::metrics::strip::{Happening, HappeningKind};
use maud::{Markup, html};

use super::chart::Event;
use super::palette::encoded;
use super::view::View;
use crate::router::Web;
use crate::show::{masked, visible};

/// Places of the strip; what falls into the same one is one mark with a number.
const PLACES: i64 = 48;
/// Rows of the table under the strip.
const ROWS_MAX: usize = 200;

/// The shape of a kind on the strip.
pub(super) fn shape(kind: HappeningKind) -> &'static str {
    match kind {
        HappeningKind::Release => "▲",
        HappeningKind::Config => "◆",
        HappeningKind::Scale => "●",
        HappeningKind::Restart => "↻",
        HappeningKind::Crash => "✕",
        HappeningKind::Alert => "▮",
        HappeningKind::Resolved => "✓",
    }
}

/// Of several at one place, the one that is most worth a look.
fn weight(kind: HappeningKind) -> u8 {
    match kind {
        HappeningKind::Alert => 5,
        HappeningKind::Release => 4,
        HappeningKind::Config => 3,
        HappeningKind::Crash => 2,
        HappeningKind::Scale => 1,
        HappeningKind::Restart | HappeningKind::Resolved => 0,
    }
}

/// In words: `v214 by ada@example.com: Deploy 0a1b2c3d`.
pub(super) fn label(web: &Web, happening: &Happening) -> String {
    let text = |text: &str| visible(&masked(&web.engine, text));
    let mut out = happening.version.map_or(String::new(), |version| format!("v{version}"));
    if let Some(actor) = &happening.actor {
        out.push_str(if out.is_empty() { "by " } else { " by " });
        out.push_str(&text(actor));
    }
    if !out.is_empty() {
        out.push_str(": ");
    }
    out.push_str(&text(&happening.what));
    out
}

/// Where to read on: the alert, or the hours around a release.
pub(super) fn href(app: &str, happening: &Happening) -> Option<String> {
    if let Some(alert) = happening.alert {
        return Some(format!("/alerts/{alert}"));
    }
    let at = happening.at.as_seconds();
    match happening.kind {
        HappeningKind::Release | HappeningKind::Config => {
            Some(format!("/apps/{}?from={}&to={}&release={at}#releases", encoded(app), at - 3_600, at + 3_600))
        }
        _ if happening.source.contains('.') => {
            let (app, dyno) = (encoded(app), encoded(&happening.source));
            Some(format!("/apps/{app}/dynos/{dyno}?from={}&to={}", at - 3_600, at + 3_600))
        }
        _ => None,
    }
}

/// As marks of charts, the oldest first.
pub(super) fn events(web: &Web, app: &str, happenings: &[Happening], max: usize) -> Vec<Event> {
    let event = |happening: &Happening| Event {
        at: happening.at.as_seconds(),
        kind: happening.kind.as_str(),
        label: label(web, happening),
        href: href(app, happening),
    };
    let mut events: Vec<Event> = happenings.iter().take(max).map(event).collect();
    events.reverse();
    events
}

/// The strip under all charts of a page, and its table. Readable without scripts; with them its marks and the charts'
/// cursors point at each other.
pub(super) fn strip(view: &View, app: &str, happenings: &[Happening], from: Timestamp, until: Timestamp) -> Markup {
    let length = i64::try_from(until.since(from).as_secs()).unwrap_or(i64::MAX).max(1);
    let place = |happening: &Happening| (happening.at.as_seconds() - from.as_seconds()) * PLACES / length;
    let mut marks: Vec<(i64, Vec<&Happening>)> = Vec::new();
    for happening in happenings.iter().rev() {
        match marks.last_mut().filter(|(at, _)| *at == place(happening)) {
            Some((_, at_place)) => at_place.push(happening),
            None => marks.push((place(happening), vec![happening])),
        }
    }
    html! {
        figure.happened aria-labelledby="happened-title" {
            figcaption { h3 #happened-title { "What happened" } p.quiet { (count(happenings)) } }
            svg.marks role="group" aria-label={ "What happened: " (count(happenings)) } {
                line x1="0" x2="100%" y1="14" y2="14" {}
                @for (at, at_place) in &marks {
                    @if let Some(first) = at_place.iter().max_by_key(|happening| weight(happening.kind)) {
                        @let x = format!("{:.2}%", (*at as f64 + 0.5) * 100.0 / PLACES as f64);
                        a.(first.kind.as_str()) href=[href(app, first)] data-at=(first.at.as_seconds()) {
                            title { (view.look.zone.full(first.at)) ": " (label(&view.web, first)) @if at_place.len() > 1 { " and " (at_place.len() - 1) " more" } }
                            circle cx=(x) cy="14" r="12" {}
                            text x=(x) y="19" { (shape(first.kind)) }
                            @if at_place.len() > 1 { text.more x=(x) y="9" dx="11" { (at_place.len()) } }
                        }
                    }
                }
            }
            @if happenings.is_empty() { p.quiet { "No release, no config change, no scaling, no restart and no alert in this range." } }
            @else { details { summary { "View as table" } (table(view, app, happenings)) } }
        }
    }
}

fn count(happenings: &[Happening]) -> String {
    let of = |kind: HappeningKind| happenings.iter().filter(|happening| happening.kind == kind).count();
    let kinds = [
        (HappeningKind::Alert, "alert", "alerts"),
        (HappeningKind::Release, "release", "releases"),
        (HappeningKind::Config, "config change", "config changes"),
        (HappeningKind::Scale, "scaling", "scalings"),
        (HappeningKind::Restart, "restart", "restarts"),
        (HappeningKind::Crash, "crash", "crashes"),
        (HappeningKind::Resolved, "alert resolved", "alerts resolved"),
    ];
    let said = kinds.into_iter().filter(|(kind, ..)| of(*kind) > 0).map(|(kind, one, many)| {
        let n = of(kind);
        format!("{}\u{a0}{n} {}", shape(kind), if n == 1 { one } else { many })
    });
    let all = said.collect::<Vec<_>>().join(", ");
    if all.is_empty() { "nothing".to_owned() } else { all }
}

fn table(view: &View, app: &str, happenings: &[Happening]) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="What happened, as a table" {
            table.data {
                thead { tr { th scope="col" { "Time" } th scope="col" { "Kind" } th scope="col" { "What" } th scope="col" { "By" } } }
                tbody {
                    @for happening in happenings.iter().take(ROWS_MAX) {
                        tr {
                            th scope="row" { (view.moment(happening.at)) }
                            td { (shape(happening.kind)) " " (happening.kind.as_str()) }
                            td.said {
                                @let what = view.outside(&happening.what);
                                @if let Some(version) = happening.version { "v" (version) " " }
                                @match href(app, happening) { Some(href) => a href=(href) { (what) }, None => (what) }
                            }
                            td.said { (happening.actor.as_deref().map(|actor| view.outside(actor)).unwrap_or_default()) }
                        }
                    }
                }
            }
        }
        @if happenings.len() > ROWS_MAX { p.quiet { "The newest " (ROWS_MAX) " of " (happenings.len()) "." } }
    }
}

/// A feed of several apps, the newest first: moment, shape, what, whose.
pub(super) fn feed(view: &View, items: &[(String, Happening)]) -> Markup {
    html! {
        @if items.is_empty() { p.quiet { "Nothing happened in the last day." } } @else {
            ol.feed {
                @for (app, happening) in items {
                    li.(happening.kind.as_str()) {
                        span.mark aria-hidden="true" { (shape(happening.kind)) }
                        p.said {
                            @let what = label(&view.web, happening);
                            span.visually-hidden { (happening.kind.as_str()) ": " }
                            @match href(app, happening) { Some(href) => a href=(href) { (what) }, None => (what) }
                        }
                        p.quiet { a href={ "/apps/" (encoded(app)) } { (view.outside(app)) } " · " (view.ago(happening.at)) }
                    }
                }
            }
        }
    }
}
