//! The parts that pages are put together from. Each is a function from plain values to markup, so that a page, a piece of
//! it that is sent live, and a test all show the same.
//!
//! - [`State`], [`glyph`], [`state`]: how something stands, always as shape, word and colour together.
//! - [`verdict`]: the sentence that a page begins with.
//! - [`Stat`]: a number that does not stand alone: unit, change, sparkline, limit.
//! - [`sparkline`], [`strip`]: a series, or how something stood over a day, in the height of a line.
//! - [`facet`], [`filter_bar`], [`chips`]: narrowing a list, in the address.
//! - [`empty`], [`stale`], [`no_permission`], [`LOADING`]: the designed states of a page that has nothing (yet) to show;
//!   errors are [`super::error`]'s.
//! - [`copyable`], [`prose`], [`reference`]: what is typed, what is said, what leads elsewhere.
//!
//! Tables are plain `<table class="data">`: `scope` on every heading, numbers in cells of class `number`, and the link of a
//! row in its first heading with class `row`, which makes the whole row its target and lets `j` and `k` move.

use std::fmt::Write as _;

use maud::{Markup, PreEscaped, html};

use crate::show::visible;

/// How something stands. Order is from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    /// Well: a tick in a circle.
    Up,
    /// Good to know, and no more: an i in a ring.
    Info,
    /// Not known: a hollow diamond.
    Unknown,
    /// Looked after on purpose: a hatched square.
    Maintenance,
    /// To and fro: a zigzag.
    Flapping,
    /// Not well: a mark in a triangle.
    Degraded,
    /// Broken: a cross in an octagon.
    Down,
}

impl State {
    /// The class that colours it.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Info => "info",
            Self::Unknown => "unknown",
            Self::Maintenance => "maintenance",
            Self::Flapping => "flapping",
            Self::Degraded => "degraded",
            Self::Down => "down",
        }
    }

    /// Its shape, in a box of 16 by 16.
    fn shape(self) -> &'static str {
        match self {
            Self::Up => r#"<circle class="fill" cx="8" cy="8" r="7"/><path class="cut" d="M4.7 8.3l2.2 2.2 4.4-4.8"/>"#,
            Self::Info => r#"<circle class="line" cx="8" cy="8" r="6.4"/><path class="line" d="M8 7.3v3.9M8 4.8V5"/>"#,
            Self::Unknown => {
                r#"<path class="line" d="M8 1.4L14.6 8 8 14.6 1.4 8z"/><path class="line" d="M6.4 6.3c.2-1 .8-1.5 1.7-1.5 1 0 1.6.6 1.6 1.4 0 1.2-1.6 1.3-1.6 2.6M8.1 11v.3"/>"#
            }
            Self::Maintenance => {
                r#"<rect class="line" x="1.8" y="1.8" width="12.4" height="12.4" rx="1"/><path class="line" d="M2 7l5-5M2 12.5L12.5 2M5.5 14L14 5.5M11 14l3-3"/>"#
            }
            Self::Flapping => r#"<path class="line thick" d="M1.5 12L5 4l3 8 3-8 3.5 8"/>"#,
            Self::Degraded => {
                r#"<path class="fill" d="M8 1.2c.4 0 .8.2 1 .6l6 11c.4.8-.1 1.7-1 1.7H2c-.9 0-1.4-.9-1-1.7l6-11c.2-.4.6-.6 1-.6z"/><path class="cut" d="M8 5.6v4M8 12v.2"/>"#
            }
            Self::Down => {
                r#"<path class="fill" d="M5.1 1h5.8L15 5.1v5.8L10.9 15H5.1L1 10.9V5.1z"/><path class="cut" d="M5.4 5.4l5.2 5.2M10.6 5.4l-5.2 5.2"/>"#
            }
        }
    }
}

/// The shape of a state, for where its word stands beside it.
pub(crate) fn glyph(state: State) -> Markup {
    html! { svg.glyph.(state.class()) viewBox="0 0 16 16" aria-hidden="true" { (PreEscaped(state.shape())) } }
}

/// A state as shape, word and colour.
pub(crate) fn state(state: State, word: &str) -> Markup {
    html! { span.state.(state.class()) { (glyph(state)) span { (word) } } }
}

/// What a page begins with: how it stands in one sentence, and what belongs right below it.
pub(crate) fn verdict(state: State, sentence: &Markup, below: &Markup) -> Markup {
    html! {
        div.verdict.(state.class()) {
            (glyph(state))
            div { h1 { (sentence) } (below) }
        }
    }
}

/// Whether more is better, for the colour of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Good {
    #[cfg_attr(not(test), expect(dead_code, reason = "of what pages show so far, less is better"))]
    More,
    Less,
    Neither,
}

/// How a number changed against another time.
#[derive(Debug, Clone)]
pub(crate) struct Delta {
    /// In percent, signed.
    pub(crate) percent: f64,
    /// Against what: `same hour last week`.
    pub(crate) against: &'static str,
    /// Which way is better.
    pub(crate) good: Good,
}

/// A number with what it needs to mean something.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stat<'a> {
    pub(crate) label: &'a str,
    /// As people write it; `None` when it is not known, which is not zero.
    pub(crate) value: Option<String>,
    pub(crate) unit: &'a str,
    pub(crate) delta: Option<Delta>,
    /// The recent past; `None` where nothing is known.
    pub(crate) spark: &'a [Option<f64>],
    /// The limit it is judged by, in words.
    pub(crate) limit: Option<&'a str>,
    pub(crate) state: Option<State>,
}

impl Stat<'_> {
    pub(crate) fn markup(&self) -> Markup {
        html! {
            div.stat {
                div.label { @if let Some(state) = self.state { (glyph(state)) } (self.label) }
                div.value {
                    @match &self.value { Some(value) => { strong { (value) } " " span.unit { (self.unit) } }, None => strong.unknown { "unknown" } }
                    @if let Some(delta) = &self.delta { " " (change(delta)) }
                }
                @if !self.spark.is_empty() { (sparkline(self.spark, self.label)) }
                @if let Some(limit) = self.limit { div.limit { (limit) } }
            }
        }
    }
}

pub(crate) fn change(delta: &Delta) -> Markup {
    let rounded = delta.percent.round();
    let (sign, up) = if rounded > 0.0 {
        ("▲", true)
    } else if rounded < 0.0 {
        ("▼", false)
    } else {
        ("=", true)
    };
    let class = match (delta.good, rounded == 0.0) {
        (Good::Neither, _) | (_, true) => "even",
        (Good::More, false) => {
            if up {
                "better"
            } else {
                "worse"
            }
        }
        (Good::Less, false) => {
            if up {
                "worse"
            } else {
                "better"
            }
        }
    };
    html! { span.delta.(class) title={ "against the " (delta.against) } { (sign) @if rounded != 0.0 { (rounded.abs()) " %" } } }
}

/// A series in the height of a line. Gaps stay gaps.
pub(crate) fn sparkline(values: &[Option<f64>], label: &str) -> Markup {
    const WIDTH: f64 = 96.0;
    const HEIGHT: f64 = 24.0;
    let known = || values.iter().flatten().copied().filter(|value| value.is_finite());
    let max = known().fold(f64::MIN_POSITIVE, f64::max);
    let step = WIDTH / values.len().saturating_sub(1).max(1) as f64;
    let (mut path, mut pen_down) = (String::new(), false);
    for (i, value) in values.iter().enumerate() {
        let Some(value) = value.filter(|value| value.is_finite()) else {
            pen_down = false;
            continue;
        };
        let (x, y) = (i as f64 * step, HEIGHT - 1.0 - (value / max) * (HEIGHT - 2.0));
        // Writing to a String does not fail.
        let _written = write!(path, "{}{x:.1} {y:.1}", if pen_down { "L" } else { "M" });
        pen_down = true;
    }
    let (first, last) = (known().next(), known().next_back());
    let words = match (first, last) {
        (Some(first), Some(last)) => format!("{label}: from {first:.0} to {last:.0}, at most {max:.0}"),
        _ => format!("{label}: no data"),
    };
    html! { svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-label=(words) preserveAspectRatio="none" { path d=(path) {} } }
}

/// How something stood over a day, a cell for each part of it, oldest first.
pub(crate) fn strip(cells: &[State], label: &str) -> Markup {
    html! {
        svg.strip viewBox={ "0 0 " (cells.len() * 4) " 12" } role="img" aria-label=(label) preserveAspectRatio="none" {
            @for (i, cell) in cells.iter().enumerate() { rect.(cell.class()) x=(i * 4) y="0" width="3" height="12" rx="1" {} }
        }
    }
}

/// One way of narrowing a list: the name of the form's field, its label, its choices (value, words), and the one chosen.
pub(crate) fn facet(name: &str, label: &str, choices: &[(String, String)], chosen: &str) -> Markup {
    html! {
        label.facet {
            span { (label) }
            select name=(name) data-submit {
                option value="" { "any" }
                @for (value, words) in choices { option value=(value) selected[value == chosen] { (words) } }
                // What stands in the address and is not (any more) among the choices is still what is asked for.
                @if !chosen.is_empty() && !choices.iter().any(|(value, _)| value == chosen) { option value=(chosen) selected { (visible(chosen)) } }
            }
        }
    }
}

/// The form around facets: all of it in the address, so that a list can be sent to someone.
pub(crate) fn filter_bar(action: &str, facets: &Markup, narrowed: bool) -> Markup {
    html! {
        form.filters method="get" action=(action) role="search" aria-label="Narrow the list" {
            (facets)
            button type="submit" { "Apply" }
            @if narrowed { a.clear href=(action) { "Clear" } }
        }
    }
}

/// The same, folded on a phone, where it would push the list from the first screen. `named` says by what it is narrowed.
pub(crate) fn folded_filter_bar(action: &str, facets: &Markup, named: &[(&str, &str)]) -> Markup {
    let given: Vec<String> = named
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| format!("{name} {}", visible(value)))
        .collect();
    html! {
        details.fold {
            summary { @if given.is_empty() { "Narrow the list" } @else { "Narrowed: " (given.join(", ")) } }
            (filter_bar(action, facets, !given.is_empty()))
        }
    }
}

/// A few choices as links: address, words, and whether it is this one.
pub(crate) fn chips<'a>(label: &str, choices: impl IntoIterator<Item = (String, &'a str, bool)>) -> Markup {
    html! {
        nav.chips aria-label=(label) {
            @for (href, words, here) in choices { a href=(href) aria-current=[here.then_some("page")] { (words) } }
        }
    }
}

/// Nothing here, and what to do about it.
pub(crate) fn empty(title: &str, next: &Markup) -> Markup {
    html! { div.nothing { (glyph(State::Unknown)) p.title { (title) } p { (next) } } }
}

/// What is shown is old.
pub(crate) fn stale(what: &Markup) -> Markup {
    html! { div.stale role="status" { (glyph(State::Unknown)) p { (what) } } }
}

/// Something is there, but not for whoever looks: what it needs, and who can give them that.
pub(crate) fn no_permission(what: &str, who_gives: &Markup) -> Markup {
    html! { div.forbidden { p.title { (what) } (who_gives) } }
}

/// Rows that are still to come. Shown only after 200 ms, so that what is quick does not flicker.
#[expect(dead_code, reason = "for pages whose rows come later")]
pub(crate) const LOADING: PreEscaped<&str> = PreEscaped(
    r#"<div class="loading" role="status"><span class="visually-hidden">Loading</span><span></span><span></span><span></span></div>"#,
);

/// A command to be copied. Its words stay whole where lines wrap: `--source` is no `--` and a `source`.
pub(crate) fn copyable(text: &str) -> Markup {
    let shown = visible(text);
    html! {
        div.copyable {
            pre.command { code { @for (i, word) in shown.split(' ').enumerate() { @if i > 0 { " " } span { (word) } } } }
            button type="button" data-copy hidden { "Copy" }
        }
    }
}

/// A sentence of ours in which backticks set off what is typed.
pub(crate) fn prose(text: &str) -> Markup {
    html! { @for (i, part) in text.split('`').enumerate() { @if i % 2 == 1 { code { (visible(part)) } } @else { (visible(part)) } } }
}

/// Whether a text is an address that may be followed: only http and https lead anywhere from here.
pub(crate) fn is_link(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    (lower.starts_with("https://") || lower.starts_with("http://"))
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// A link, if that is what it is.
pub(crate) fn reference(text: &str) -> Markup {
    html! {
        @if is_link(text) { a href=(text) rel="noreferrer noopener" { (visible(text)) } } @else { code { (visible(text)) } }
    }
}

/// Where a list goes on.
pub(crate) fn older(href: Option<String>, words: &str) -> Markup {
    html! { @if let Some(href) = href { p.more { a.button rel="next" href=(href) { (words) } } } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backticks_set_off_what_is_typed() {
        assert_eq!(
            prose("a bad release: `heroku rollback`").into_string(),
            "a bad release: <code>heroku rollback</code>"
        );
        assert_eq!(prose("<b>`").into_string(), "&lt;b&gt;<code></code>");
    }

    #[test]
    fn only_urls_become_links() {
        let cases = [
            ("https://wiki.example/h12", true),
            ("HTTP://wiki.example/h12", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("docs/ops/runbook.md", false),
            ("https://a b", false),
            ("//evil.example", false),
            ("", false),
        ];
        for (text, want) in cases {
            assert_eq!(reference(text).into_string().contains("<a "), want, "{text}");
        }
        assert!(!reference("https://x/\"onmouseover=\"y").into_string().contains("\"onmouseover"));
    }

    #[test]
    fn gaps_stay_gaps() {
        let drawn = sparkline(&[Some(1.0), Some(2.0), None, Some(f64::NAN), Some(4.0)], "rpm").into_string();
        assert!(drawn.contains("M0.0 17.5L24.0 12.0M96.0 1.0"), "{drawn}");
        assert!(drawn.contains("rpm: from 1 to 4, at most 4"), "{drawn}");
        assert!(sparkline(&[None, None], "rpm").into_string().contains("rpm: no data"));
        assert!(sparkline(&[Some(0.0)], "rpm").into_string().contains("M0.0 23.0"));
    }

    #[test]
    fn a_change_is_good_or_bad_by_what_it_changes() {
        let of = |percent, good| change(&Delta { percent, against: "hour before", good }).into_string();
        for (percent, good, class, words) in [
            (38.2, Good::Less, "worse", "▲38 %"),
            (38.2, Good::More, "better", "▲38 %"),
            (-12.0, Good::Less, "better", "▼12 %"),
            (0.2, Good::Less, "even", "="),
            (50.0, Good::Neither, "even", "▲50 %"),
        ] {
            let markup = of(percent, good);
            assert!(markup.contains(&format!("delta {class}\"")) && markup.contains(words), "{markup}");
        }
    }

    #[test]
    fn what_is_asked_for_stays_asked_for() {
        let choices = [("h12".to_owned(), "h12".to_owned())];
        assert!(facet("rule", "Rule", &choices, "h12").into_string().contains("<option value=\"h12\" selected>"));
        let gone = facet("rule", "Rule", &choices, "\"><script>").into_string();
        assert!(gone.contains("selected>&quot;&gt;&lt;script&gt;</option>"), "{gone}");
    }

    /// An unknown number says so; it is not zero.
    #[test]
    fn numbers_do_not_stand_alone() {
        let stat = Stat { label: "p95", value: None, unit: "ms", ..Stat::default() };
        assert!(stat.markup().into_string().contains("unknown"));
        let full = Stat {
            label: "p95",
            value: Some("412".into()),
            unit: "ms",
            delta: Some(Delta { percent: 38.0, against: "same hour last week", good: Good::Less }),
            spark: &[Some(1.0), Some(2.0)],
            limit: Some("limit 500 ms"),
            state: Some(State::Degraded),
        };
        let markup = full.markup().into_string();
        for part in ["412", "ms", "▲38 %", "same hour last week", "<path", "limit 500 ms", "degraded"] {
            assert!(markup.contains(part), "{part}: {markup}");
        }
    }
}
