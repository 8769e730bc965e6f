//! The time range of a page: in its address, so that it can be sent to someone. Presets move with the present; what was
//! panned or zoomed has absolute ends, and "Now" leads back.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use maud::{Markup, html};
use serde::Deserialize;

use super::view::View;

/// The presets, matching the steps of the rollups.
pub(crate) const PRESETS: [(&str, Duration); 5] = [
    ("2h", Duration::from_secs(2 * 3_600)),
    ("24h", Duration::from_secs(24 * 3_600)),
    ("72h", Duration::from_secs(72 * 3_600)),
    ("7d", Duration::from_secs(7 * 86_400)),
    ("30d", Duration::from_secs(30 * 86_400)),
];
/// The shortest and the longest range.
const LENGTH_MIN: Duration = Duration::from_secs(600);
const LENGTH_MAX: Duration = Duration::from_secs(400 * 86_400);

/// What an address says of it.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct Asked {
    /// A preset.
    #[serde(default)]
    pub(crate) range: Option<String>,
    /// Absolute ends, in seconds since 1970.
    #[serde(default)]
    pub(crate) from: Option<i64>,
    #[serde(default)]
    pub(crate) to: Option<i64>,
}

/// A range of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) from: Timestamp,
    pub(crate) to: Timestamp,
    /// The preset, if it moves with the present.
    pub(crate) preset: Option<&'static str>,
}

impl Range {
    /// The range that is asked for; the preset of that name where nothing usable is.
    pub(crate) fn of(asked: &Asked, default: &str, now: Timestamp) -> Self {
        if let (Some(from), Some(to)) = (asked.from, asked.to) {
            let (from, to) = (Timestamp::from_seconds(from), Timestamp::from_seconds(to));
            let length = to.since(from);
            if (LENGTH_MIN..=LENGTH_MAX).contains(&length) {
                return Self { from, to, preset: None };
            }
        }
        let named = |name: &str| PRESETS.into_iter().find(|(preset, _)| *preset == name);
        let chosen = asked.range.as_deref().and_then(named).or_else(|| named(default));
        let (preset, length) = chosen.unwrap_or(("2h", Duration::from_secs(2 * 3_600)));
        Self { from: now - length, to: now, preset: Some(preset) }
    }

    pub(crate) fn length(&self) -> Duration {
        self.to.since(self.from)
    }

    /// As the end of an address: `range=24h`, or `from=…&to=…`.
    pub(crate) fn query(&self) -> String {
        match self.preset {
            Some(preset) => format!("range={preset}"),
            None => format!("from={}&to={}", self.from.as_seconds(), self.to.as_seconds()),
        }
    }

    /// Half a length earlier or later.
    fn moved(&self, later: bool) -> Self {
        let half = self.length() / 2;
        let shift = |at: Timestamp| if later { at + half } else { at - half };
        Self { from: shift(self.from), to: shift(self.to), preset: None }
    }

    /// Twice or half as long, around its middle.
    fn zoomed(&self, wider: bool) -> Self {
        let quarter = self.length() / 4;
        let (from, to) = if wider {
            (self.from - quarter * 2, self.to + quarter * 2)
        } else {
            (self.from + quarter, self.to - quarter)
        };
        Self { from, to, preset: None }
    }

    /// The picker: presets, earlier and later, wider and narrower, and back to now. `path` is the page's own, and `rest`
    /// what else its address says, ending in `&` where it is not empty.
    pub(crate) fn picker(&self, view: &View, path: &str, rest: &str) -> Markup {
        let href = |query: &str| format!("{path}?{rest}{query}");
        html! {
            nav.range aria-label="Time range" data-from=(self.from.as_seconds()) data-to=(self.to.as_seconds()) {
                div.presets { @for (preset, _) in PRESETS { a href=(href(&format!("range={preset}"))) aria-current=[(self.preset == Some(preset)).then_some("page")] { (preset) } } }
                div.steps {
                    a href=(href(&self.moved(false).query())) data-key="[" aria-label="Earlier" title="Earlier" { "◀" }
                    a href=(href(&self.zoomed(true).query())) data-key="-" aria-label="Wider" title="Wider" { "−" }
                    @if self.length() / 2 >= LENGTH_MIN { a href=(href(&self.zoomed(false).query())) data-key="=" aria-label="Narrower" title="Narrower" { "+" } }
                    @if self.preset.is_none() {
                        a href=(href(&self.moved(true).query())) data-key="]" aria-label="Later" title="Later" { "▶" }
                        a href=(href("")) data-key="t n" { "Now" }
                    }
                }
                // A preset says it itself.
                p.quiet.visually-hidden[self.preset.is_some()] { (view.look.zone.short(self.from)) " to " @if self.preset.is_some() { "now" } @else { (view.look.zone.short(self.to)) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ranges() {
        let now = Timestamp::from_seconds(1_000_000);
        let asked = |range: Option<&str>, from, to| Asked { range: range.map(str::to_owned), from, to };
        let cases = [
            (asked(None, None, None), "range=24h", 86_400),
            (asked(Some("7d"), None, None), "range=7d", 7 * 86_400),
            (asked(Some("<b>"), None, None), "range=24h", 86_400),
            (asked(Some("7d"), Some(990_000), Some(1_000_000)), "from=990000&to=1000000", 10_000),
            (asked(None, Some(1_000_000), Some(990_000)), "range=24h", 86_400),
            (asked(None, Some(i64::MIN), Some(i64::MAX)), "range=24h", 86_400),
            (asked(None, Some(999_999), Some(1_000_000)), "range=24h", 86_400),
        ];
        for (asked, query, length_s) in cases {
            let range = Range::of(&asked, "24h", now);
            assert_eq!((range.query().as_str(), range.length().as_secs()), (query, length_s), "{asked:?}");
        }
    }

    #[test]
    fn moving_and_zooming_have_absolute_ends() {
        let range = Range::of(&Asked::default(), "2h", Timestamp::from_seconds(100_000));
        assert_eq!(range.moved(false).query(), "from=89200&to=96400");
        assert_eq!(range.zoomed(true).query(), "from=89200&to=103600");
        assert_eq!(range.zoomed(false).query(), "from=94600&to=98200");
    }
}
