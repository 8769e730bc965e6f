//! A chart drawn on the server from the same [`Data`]: what is seen before scripts have drawn, and all that is seen without
//! them. Lines, areas, bars and limits in a box of fixed size that is stretched; words stand beside it as text.

use std::fmt::Write as _;

use dynowatch_domain::Timestamp;
use maud::{Markup, html};

use super::chart::{Data, Drawn, Series, shown, value_at};
use super::view::View;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 150.0;
/// As many series have a colour of their own.
const COLOURED_MAX: usize = 6;

/// Where values stand in the box.
struct Scale {
    top: f64,
    /// The least that is drawn, where the scale is logarithmic.
    log_from: Option<f64>,
}

impl Scale {
    fn of(data: &Data, stacked: &[Vec<Option<f64>>]) -> Self {
        let plain = data.series.iter().filter(|series| !is_sum(series.drawn)).flat_map(|series| series.values.iter());
        let all = || plain.clone().chain(stacked.iter().flatten()).flatten().copied().filter(|value| value.is_finite());
        let top = all().fold(0.0_f64, f64::max) * 1.06;
        let least = all().filter(|value| *value > 0.0).fold(f64::INFINITY, f64::min).max(0.1);
        Self { top: if top > 0.0 { top } else { 1.06 }, log_from: (data.log && least < top).then_some(least) }
    }

    fn y(&self, value: f64) -> f64 {
        let share = match self.log_from {
            Some(from) => (value.max(from) / from).ln() / (self.top / from).ln(),
            None => value / self.top,
        };
        HEIGHT * (1.0 - share.clamp(0.0, 1.0))
    }
}

fn is_sum(drawn: Drawn) -> bool {
    matches!(drawn, Drawn::Stacked | Drawn::Bars)
}

/// The class that colours a series, as `assets/chart.js` colours it.
fn colour(data: &Data, i: usize) -> String {
    let Some(series) = data.series.get(i) else { return String::new() };
    let has_own = |series: &Series| !series.dim && series.state.is_none() && series.drawn != Drawn::Limit;
    let before = data.series.iter().take(i).filter(|series| has_own(series)).count();
    match series.state {
        Some(state) => state.to_owned(),
        None if series.drawn == Drawn::Limit => "down".to_owned(),
        None if series.dim || before >= COLOURED_MAX => "dim".to_owned(),
        None => format!("s{}", before + 1),
    }
}

/// Sums: of areas all up to each, of bars all from each on, so that what is drawn later lies in front.
fn sums(data: &Data) -> Vec<Vec<Option<f64>>> {
    let of = |i: usize, series: &Series| {
        let is_part = |(at, other): &(usize, &Series)| {
            other.drawn == series.drawn && if series.drawn == Drawn::Bars { *at >= i } else { *at <= i }
        };
        let sum_at = |x: usize| {
            value_at(series, x)?;
            Some(data.series.iter().enumerate().filter(is_part).filter_map(|(_, other)| value_at(other, x)).sum())
        };
        (0..data.x.len()).map(sum_at).collect()
    };
    data.series.iter().enumerate().map(|(i, s)| if is_sum(s.drawn) { of(i, s) } else { Vec::new() }).collect()
}

/// The picture, with its highest value and its ends in words.
pub(super) fn picture(view: &View, data: &Data) -> Markup {
    let known = data.series.iter().any(|series| (0..data.x.len()).any(|i| value_at(series, i).is_some()));
    let (Some(first), Some(last), true) = (data.x.first(), data.x.last(), known) else {
        return html! { p.quiet { "No data in this range" } };
    };
    let sums = sums(data);
    let scale = Scale::of(data, &sums);
    let moment = |at: i64| view.look.zone.short(Timestamp::from_seconds(at));
    // Areas begin with the highest sum, which the lower ones then cover.
    let order = data.series.iter().enumerate().filter(|(_, series)| series.drawn == Drawn::Stacked).rev();
    let order = order.chain(data.series.iter().enumerate().filter(|(_, series)| series.drawn != Drawn::Stacked));
    html! {
        svg.picture viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" aria-hidden="true" {
            @for (i, series) in order {
                @let values = sums.get(i).filter(|sums| !sums.is_empty()).unwrap_or(&series.values);
                @let d = path(series.drawn, values, &scale);
                @match series.drawn {
                    Drawn::Stacked | Drawn::Bars => path.area.(colour(data, i)) d=(d) {},
                    Drawn::Limit => path.limit.(colour(data, i)) d=(d) {},
                    Drawn::Line | Drawn::Step => path.line.(colour(data, i)) d=(d) {},
                }
            }
        }
        p.ends aria-hidden="true" { span { (moment(*first)) } span { "top " (shown(scale.top / 1.06)) " " (data.unit) } span { (moment(*last)) } }
    }
}

/// A series as a path. Gaps stay gaps.
fn path(drawn: Drawn, values: &[Option<f64>], scale: &Scale) -> String {
    let slot = WIDTH / values.len().max(1) as f64;
    let mut out = String::new();
    let mut pen: Option<f64> = None;
    for (i, value) in values.iter().enumerate() {
        let x = i as f64 * slot;
        let Some(value) = value.filter(|value| value.is_finite()) else {
            if let Some(until) = pen.take().filter(|_| drawn == Drawn::Stacked) {
                let _written = write!(out, "L{until:.0} {HEIGHT}z");
            }
            continue;
        };
        let y = scale.y(value);
        // Writing to a String does not fail.
        let _written = match (drawn, pen) {
            (Drawn::Bars, _) if value > 0.0 => {
                write!(out, "M{x:.1} {HEIGHT}V{y:.1}h{:.1}V{HEIGHT}z", (slot * 0.8).max(0.5))
            }
            (Drawn::Bars, _) => Ok(()),
            (Drawn::Stacked, None) => write!(out, "M{x:.0} {HEIGHT}L{x:.0} {y:.1}"),
            (Drawn::Step | Drawn::Limit, Some(_)) => write!(out, "V{y:.1}h{slot:.2}"),
            (Drawn::Step | Drawn::Limit, None) => write!(out, "M{x:.1} {y:.1}h{slot:.2}"),
            (Drawn::Line, None) => write!(out, "M{x:.1} {y:.1}h0.1"),
            (Drawn::Line | Drawn::Stacked, Some(_)) => write!(out, "L{x:.0} {y:.1}"),
        };
        pen = Some(x);
    }
    if let Some(until) = pen.filter(|_| drawn == Drawn::Stacked) {
        let _written = write!(out, "L{until:.0} {HEIGHT}z");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scale() -> Scale {
        Scale { top: 100.0, log_from: None }
    }

    #[test]
    fn gaps_stay_gaps() {
        let values = [Some(50.0), Some(100.0), None, Some(f64::NAN), Some(0.0)];
        for (drawn, want) in [
            (Drawn::Line, "M0.0 75.0h0.1L120 0.0M480.0 150.0h0.1"),
            (Drawn::Stacked, "M0 150L0 75.0L120 0.0L120 150zM480 150L480 150.0L480 150z"),
            (Drawn::Limit, "M0.0 75.0h120.00V0.0h120.00M480.0 150.0h120.00"),
            (Drawn::Bars, "M0.0 150V75.0h96.0V150zM120.0 150V0.0h96.0V150z"),
        ] {
            assert_eq!(path(drawn, &values, &scale()), want, "{drawn:?}");
        }
    }

    #[test]
    fn a_logarithm_needs_something_to_begin_with() {
        let log = Scale { top: 1_000.0, log_from: Some(1.0) };
        assert_eq!((log.y(1.0), log.y(1_000.0), log.y(0.0)), (HEIGHT, 0.0, HEIGHT));
        assert!((log.y(31.622_776_6) - HEIGHT / 2.0).abs() < 0.01);
    }
}
