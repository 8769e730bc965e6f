//! A chart: a figure that is whole without scripts (its title is an answer, its summary a sentence, its table the values),
//! and that scripts draw from the same values. Owns the figure and the form of its data; `assets/chart.js` draws.
//!
//! The page gives a [`Figure`] and answers its two addresses from one [`Data`]: `….json` with [`Data`] as JSON, `….csv` with
//! [`Data::csv`]. The table in the page is [`Data::table`], so that table, CSV and picture cannot differ.

use maud::{Markup, html};
use serde::Serialize;

use super::view::View;
use dynowatch_domain::Timestamp;

/// Rows of the table under a chart; the CSV has all.
const TABLE_ROWS_MAX: usize = 300;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Drawn {
    /// A line, for latency and the like.
    Line,
    /// An area on top of the areas before it, for parts of a whole.
    Stacked,
    /// A line in steps, for counts that stay until they change.
    Step,
    /// Bars, for counts of events.
    Bars,
    /// A dashed line: a quota, a limit.
    Limit,
}

/// One series. Values stand at the moments of [`Data::x`]; `None` where nothing is known.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) drawn: Drawn,
    pub(crate) values: Vec<Option<f64>>,
    /// How many samples each value rests on, where that is known; under 20 a value is a dot, not a line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) samples: Option<Vec<u64>>,
    /// The state that colours it (`up`, `degraded`, `down`), instead of the colour of its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) state: Option<&'static str>,
    /// Grey: one of many that are not among the highest.
    pub(crate) dim: bool,
}

/// Something that happened, on the strip under the charts.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Event {
    /// Seconds since 1970.
    pub(crate) at: i64,
    /// `release`, `config`, `scale`, `restart`, `alert`, `maintenance`: the shape.
    pub(crate) kind: &'static str,
    pub(crate) label: String,
    /// Where to read on.
    pub(crate) href: Option<String>,
}

/// A shaded part of the plot between two values: R14 above the quota.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Shade {
    /// From this value on.
    pub(crate) from: f64,
    /// Up to this value; to the top where it is `None`.
    pub(crate) to: Option<f64>,
    pub(crate) label: &'static str,
    /// `degraded` or `down`.
    pub(crate) state: &'static str,
    /// The series, by its place, of which both ends are multiples: then the shade steps with the quota.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) of: Option<usize>,
}

/// Everything a chart shows.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Data {
    /// Beginnings of the buckets, in seconds since 1970, growing.
    pub(crate) x: Vec<i64>,
    /// The length of a bucket, in seconds.
    pub(crate) step_s: i64,
    pub(crate) unit: &'static str,
    /// Logarithmic; the axis says so.
    pub(crate) log: bool,
    pub(crate) series: Vec<Series>,
    pub(crate) events: Vec<Event>,
    pub(crate) shades: Vec<Shade>,
    /// The newest bucket goes on; it is dashed.
    pub(crate) incomplete: bool,
    /// Buckets of which it is known that there was nothing to measure: not the same as not knowing.
    #[serde(skip)]
    pub(crate) idle: Vec<bool>,
}

impl Data {
    /// Comma-separated values: a column of moments in UTC, then one for each series; nothing where nothing is known.
    pub(crate) fn csv(&self) -> String {
        let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
        let mut out = String::from("time");
        for series in &self.series {
            out.push(',');
            // A name that a spreadsheet would take for a formula is a text.
            let name = if series.name.starts_with(['=', '+', '-', '@', '\t']) {
                format!("'{}", series.name)
            } else {
                series.name.clone()
            };
            out.push_str(&quoted(&name));
        }
        out.push_str("\r\n");
        for (i, at) in self.x.iter().enumerate() {
            out.push_str(&Timestamp::from_seconds(*at).to_string());
            for series in &self.series {
                out.push(',');
                if let Some(value) = value_at(series, i) {
                    out.push_str(&value.to_string());
                }
            }
            out.push_str("\r\n");
        }
        out
    }

    /// The same as a table, newest first.
    pub(crate) fn table(&self, view: &View) -> Markup {
        let zone = &view.look.zone;
        html! {
            div.scroll tabindex="0" role="region" aria-label="Values as a table" {
                table.data {
                    thead { tr { th scope="col" { "Time" } @for series in &self.series { th.number scope="col" { (view.outside(&series.name)) @if !self.unit.is_empty() { " " span.unit { (self.unit) } } } } } }
                    tbody {
                        @for (i, at) in self.x.iter().enumerate().rev().take(TABLE_ROWS_MAX) {
                            tr {
                                th scope="row" { (zone.short(Timestamp::from_seconds(*at))) }
                                @for series in &self.series { td { @match value_at(series, i) { Some(value) => (shown(value)), None => "no data" } } }
                            }
                        }
                    }
                }
            }
            @if self.x.len() > TABLE_ROWS_MAX { p.quiet { "The newest " (TABLE_ROWS_MAX) " of " (self.x.len()) " moments; the CSV has all." } }
        }
    }

    /// What is not known, in words: since when there is anything, and for how long there was nothing after that.
    /// `None` where all is known, or nothing at all: the plot says that itself.
    pub(crate) fn gaps(&self, view: &View) -> Option<String> {
        let begins = self.begins()?;
        let since = self.x.get(begins).filter(|_| begins > 0);
        let since = since.map(|at| format!("from {}", view.look.zone.short(Timestamp::from_seconds(*at))));
        let unknown_s = self.unknown_s();
        let unknown = (unknown_s >= 60).then(|| format!("{} without data", minutes(unknown_s)));
        let said: Vec<String> = since.into_iter().chain(unknown).collect();
        (!said.is_empty()).then(|| said.join(", "))
    }

    /// The first bucket of which anything is known.
    fn begins(&self) -> Option<usize> {
        (0..self.x.len()).find(|i| !self.is_blind(*i))
    }

    fn is_blind(&self, i: usize) -> bool {
        let is_idle = self.idle.get(i).copied().unwrap_or(false);
        !is_idle && self.series.iter().all(|series| value_at(series, i).is_none())
    }

    /// For how long nothing was known after the first value, in seconds: buckets in which every series has nothing.
    fn unknown_s(&self) -> i64 {
        // Of the newest one not all has come yet.
        let over = self.x.len().saturating_sub(usize::from(self.incomplete));
        let buckets = (self.begins().unwrap_or(over)..over).filter(|i| self.is_blind(*i)).count();
        self.step_s.saturating_mul(i64::try_from(buckets).unwrap_or(i64::MAX))
    }
}

pub(super) fn value_at(series: &Series, i: usize) -> Option<f64> {
    series.values.get(i).copied().flatten().filter(|value| value.is_finite())
}

/// A value for people: three digits that count.
pub(crate) fn shown(value: f64) -> String {
    if value == value.trunc() || value.abs() >= 100.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

/// A chart's place in a page.
#[derive(Debug, Clone)]
pub(crate) struct Figure<'a> {
    /// Unlike every other on the page; letters, digits and `-`.
    pub(crate) id: &'a str,
    /// What it is about, in a word or two: `Response time`.
    pub(crate) about: &'a str,
    /// What it shows, as an answer: `p95 412 ms, up 38 %`.
    pub(crate) title: String,
    /// The same in a sentence for who cannot see it.
    pub(crate) summary: String,
    /// Where its [`Data`] is, as JSON.
    pub(crate) json: String,
    /// Where it is as CSV.
    pub(crate) csv: String,
    /// For a chart that shares its cursor and its range with the others of that name.
    pub(crate) group: &'a str,
}

impl Figure<'_> {
    /// The figure. `data` fills the table; the script asks for the JSON when the figure comes into sight.
    pub(crate) fn markup(&self, view: &View, data: &Data) -> Markup {
        let gaps = data.gaps(view);
        html! {
            figure.chart id=(self.id) data-chart=(self.json) data-group=(self.group) aria-labelledby={ (self.id) "-title" } {
                figcaption {
                    p.about { (self.about) " " @if let Some(gaps) = &gaps { span.gap { (gaps) } } }
                    h3 id={ (self.id) "-title" } { (self.title) }
                    p.visually-hidden id={ (self.id) "-summary" } { (self.summary) @if let Some(gaps) = &gaps { " Known: " (gaps) "." } }
                }
                div.plot hx-morph-skip-children role="img" tabindex="0" aria-label={ (self.about) ": " (self.title) } aria-describedby={ (self.id) "-summary" } data-plot { (super::picture::picture(view, data)) }
                div.legend hx-morph-skip-children data-legend {}
                details {
                    summary { "View as table" }
                    (data.table(view))
                }
                p.tools { a href=(self.csv) download { "CSV" } a href={ "#" (self.id) } data-copy-link { "Copy link" } }
            }
        }
    }
}

/// A length of time as people say it of a gap: `10 min`, `3 h`, `2 d`.
fn minutes(seconds: i64) -> String {
    match seconds / 60 {
        minutes @ ..120 => format!("{minutes} min"),
        minutes @ ..2_880 => format!("{} h", minutes / 60),
        minutes => format!("{} d", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Data {
        let series = |name: &str, values: &[Option<f64>]| Series {
            name: name.to_owned(),
            drawn: Drawn::Line,
            values: values.to_vec(),
            samples: None,
            state: None,
            dim: false,
        };
        Data {
            x: vec![1_778_141_160, 1_778_141_220, 1_778_141_280],
            step_s: 60,
            unit: "ms",
            series: vec![series("p95", &[Some(412.0), None, Some(f64::NAN)]), series("=cmd|' /c calc'!A1", &[None; 3])],
            ..Data::default()
        }
    }

    #[test]
    fn csv_has_gaps_and_no_formulas() {
        assert_eq!(
            data().csv(),
            "time,\"p95\",\"'=cmd|' /c calc'!A1\"\r\n2026-05-07T08:06:00Z,412,\r\n2026-05-07T08:07:00Z,,\r\n2026-05-07T08:08:00Z,,\r\n"
        );
    }

    #[test]
    fn unknown_is_counted_and_is_null() {
        assert_eq!(data().unknown_s(), 120);
        // Before the first value nobody looked: that is a beginning, no gap.
        let mut late = data();
        late.series[0].values = vec![None, Some(1.0), None];
        assert_eq!((late.begins(), late.unknown_s()), (Some(1), 60));
        late.series[0].values = vec![None; 3];
        assert_eq!((late.begins(), late.unknown_s()), (None, 0));
        let json = serde_json::to_value(data()).unwrap();
        assert_eq!(json["series"][0]["values"], serde_json::json!([412.0, null, null]));
        assert_eq!(json["series"][0]["drawn"], "line");
    }

    #[test]
    fn three_digits_count() {
        for (value, want) in [(0.0, "0"), (3.0, "3"), (0.123, "0.12"), (412.4, "412"), (99.99, "99.99")] {
            assert_eq!(shown(value), want);
        }
    }
}
