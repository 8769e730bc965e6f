//! The past of a check as pictures and tables: its states over a range, its uptime by day, how long the phases of its runs
//! took, its outages. Every picture has its numbers as a table.

use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Check;
use dynowatch_domain::check::observation::Phase;
use dynowatch_domain::check::run::Run;
use dynowatch_domain::check::state::Held;
use dynowatch_domain::check::uptime::{Day, Spent, Standing, Stretch};
use dynowatch_domain::parse::show_duration;
use dynowatch_store::alerts::AlertRow;
use dynowatch_store::checks::OutageRow;
use maud::{Markup, html};

use super::super::chart::{Data, Drawn, Event, Series};
use super::super::parts::{State, state};
use super::super::range::Range;
use super::super::view::View;
use super::uptime_of;
use super::words::{of_standing, took};
use crate::show::visible;

/// Width and height of the bar of states.
const WIDTH: f64 = 1_000.0;
const HEIGHT: f64 = 24.0;
/// What lasted shorter than this part of the range is still seen.
const WIDTH_MIN: f64 = 3.0;
/// Rows of the table under it.
const ROWS_MAX: usize = 200;
/// Points of the chart of phases.
const POINTS: u64 = 144;
/// Its steps, in seconds.
const STEPS_S: [u64; 9] = [10, 30, 60, 300, 600, 1_800, 3_600, 7_200, 21_600];

/// The phases of a run and what the chart calls them.
const PHASES: [(Phase, &str); 5] = [
    (Phase::Dns, "DNS"),
    (Phase::Connect, "connect"),
    (Phase::Tls, "TLS"),
    (Phase::FirstByte, "first byte"),
    (Phase::Body, "transfer"),
];

/// What a cell of a strip shows: down or degraded if any of it was, else what most of it was; unknown where it held nothing.
pub(super) fn cell(stretches: &[Stretch]) -> State {
    let all = || stretches.iter().map(|stretch| of_standing(stretch.standing));
    let bad = all().filter(|state| matches!(state, State::Down | State::Degraded)).max();
    let of = |state| -> Duration {
        let mine = stretches.iter().filter(|stretch| of_standing(stretch.standing) == state);
        mine.map(|stretch| stretch.until.since(stretch.from)).sum()
    };
    bad.or_else(|| all().max_by_key(|state| of(*state))).unwrap_or(State::Unknown)
}

/// A strip in words: `Last 24 h: up 22 h, down 30 min`.
pub(super) fn strip_words(cells: &[State], cell: Duration) -> String {
    let of = [
        (State::Down, "down"),
        (State::Degraded, "degraded"),
        (State::Up, "up"),
        (State::Maintenance, "maintenance or paused"),
        (State::Unknown, "not observed"),
    ];
    let said = of.into_iter().filter_map(|(state, word)| {
        let count = u32::try_from(cells.iter().filter(|cell| **cell == state).count()).unwrap_or(0);
        (count > 0).then(|| format!("{word} {}", show_duration(cell * count)))
    });
    format!("Last 24 h, by half hours: {}", said.collect::<Vec<_>>().join(", "))
}

/// How tall a state stands in the bar: what is worse is taller, so that colour is not needed to see it.
fn tall(standing: Standing) -> f64 {
    match standing {
        Standing::Down => 1.0,
        Standing::Degraded => 0.75,
        Standing::Up => 0.5,
        Standing::Maintenance | Standing::Paused => 0.3,
        Standing::Unknown => 0.15,
    }
}

/// The states over a range, as a bar and as a table.
pub(super) fn timeline(view: &View, stretches: &[Stretch], spent: &Spent, range: &Range) -> Markup {
    let length = range.length().as_secs_f64().max(1.0);
    let x = |at: Timestamp| at.since(range.from).as_secs_f64() / length * WIDTH;
    let words = spent_words(spent);
    html! {
        figure.chart.states aria-labelledby="states-title" {
            figcaption { p.about { "State" } h3 #states-title { (words) } }
            svg.timebar viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label={ "State over the range: " (words) } {
                @for stretch in stretches {
                    @let height = HEIGHT * tall(stretch.standing);
                    @let width = (x(stretch.until) - x(stretch.from)).max(WIDTH_MIN);
                    rect.(of_standing(stretch.standing).class()) x=(format!("{:.1}", x(stretch.from).min(WIDTH - WIDTH_MIN))) y=(format!("{:.1}", HEIGHT - height)) width=(format!("{width:.1}")) height=(format!("{height:.1}")) {
                        title { (stretch.standing.as_str()) " from " (view.look.zone.full(stretch.from)) " for " (lasted(stretch.until.since(stretch.from))) }
                    }
                }
            }
            p.ends aria-hidden="true" { span { (view.look.zone.short(range.from)) } span { @if range.preset.is_some() { "now" } @else { (view.look.zone.short(range.to)) } } }
            details {
                summary { "View as table" }
                div.scroll tabindex="0" role="region" aria-label="States as a table" {
                    table.data {
                        thead { tr { th scope="col" { "From" } th scope="col" { "Counted as" } th.number scope="col" { "For" } } }
                        tbody {
                            @for stretch in stretches.iter().rev().take(ROWS_MAX) {
                                tr { th scope="row" { (view.moment(stretch.from)) } td { (state(of_standing(stretch.standing), stretch.standing.as_str())) } td.number { (lasted(stretch.until.since(stretch.from))) } }
                            }
                        }
                    }
                }
                @if stretches.len() > ROWS_MAX { p.quiet { "The newest " (ROWS_MAX) " of " (stretches.len()) "." } }
            }
        }
    }
}

/// `up 23h 48m, down 12m`.
fn spent_words(spent: &Spent) -> String {
    let of = [
        (spent.down_us, "down"),
        (spent.degraded_us, "degraded"),
        (spent.up_us, "up"),
        (spent.maintenance_us, "maintenance"),
        (spent.unknown_us, "not observed"),
    ];
    let said = of.into_iter().filter(|(micros, _)| *micros > 0);
    let said: Vec<String> =
        said.map(|(micros, word)| format!("{word} {}", lasted(Duration::from_micros(micros)))).collect();
    if said.is_empty() { "no data in this range".to_owned() } else { said.join(", ") }
}

/// A length of time in its two greatest units: `1d 2h`, `12m 30s`.
pub(super) fn lasted(time: Duration) -> String {
    let seconds = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let Some(first) = units.iter().position(|(unit, _)| seconds >= *unit) else { return "0s".to_owned() };
    let (mut rest, mut parts) = (seconds, Vec::new());
    for (unit, name) in units.iter().skip(first).take(2) {
        if rest >= *unit {
            parts.push(format!("{}{name}", rest / unit));
        }
        rest %= unit;
    }
    parts.join(" ")
}

/// How a day is coloured, and in a word.
fn of_day(spent: &Spent) -> (State, &'static str) {
    match spent {
        _ if spent.known_us() == 0 && spent.maintenance_us > 0 => (State::Maintenance, "maintenance"),
        _ if spent.known_us() == 0 => (State::Unknown, "no data"),
        _ if spent.down_us > 0 => (State::Down, "down"),
        _ if spent.degraded_us > 0 => (State::Degraded, "degraded"),
        _ => (State::Up, "up"),
    }
}

/// Uptime by day: a bar for each, and a table. A bar is as tall as the day was bad.
pub(super) fn days(view: &View, days: &[Day]) -> Markup {
    let observed = days.iter().filter(|day| day.spent.known_us() > 0).count();
    let with_outage = days.iter().filter(|day| day.spent.down_us > 0).count();
    let words = match (observed, with_outage) {
        (0, _) => "no data yet".to_owned(),
        (n, 0) => format!("{n} day{} observed, none with an outage", if n == 1 { "" } else { "s" }),
        (n, bad) => format!("{n} day{} observed, {bad} with an outage", if n == 1 { "" } else { "s" }),
    };
    let bar = |spent: &Spent| {
        let share = spent.down_us as f64 / spent.known_us().max(1) as f64;
        // An hour of a day is seen at a glance, and a whole day is the full height.
        if spent.known_us() == 0 { 4.0 } else { 14.0 + 22.0 * (share * 6.0).min(1.0) }
    };
    html! {
        figure.chart.days aria-labelledby="days-title" {
            figcaption { p.about { "Uptime by day, " (view.look.zone.name()) } h3 #days-title { (words) } }
            svg.daybars viewBox={ "0 0 " (days.len() * 8) " 36" } preserveAspectRatio="none" role="img" aria-label={ "Uptime of the last " (days.len()) " days: " (words) } {
                @for (i, day) in days.iter().enumerate() {
                    @let height = bar(&day.spent);
                    rect.(of_day(&day.spent).0.class()) x=(i * 8) y=(format!("{:.1}", 36.0 - height)) width="6" height=(format!("{height:.1}")) { title { (day.date) ": " (day.spent.show()) } }
                }
            }
            p.ends aria-hidden="true" { span { (days.len()) " days ago" } span { "today" } }
            details {
                summary { "View as table" }
                div.scroll tabindex="0" role="region" aria-label="Uptime by day as a table" {
                    table.data {
                        thead { tr { th scope="col" { "Day" } th scope="col" { "State" } th.number scope="col" { "Uptime" } th.number scope="col" { "Down" } } }
                        tbody {
                            @for day in days.iter().rev().filter(|day| day.spent != Spent::default()) {
                                @let (how, word) = of_day(&day.spent);
                                tr { th scope="row" { (day.date) } td { (state(how, word)) } td.number { (uptime_of(&day.spent)) } td.number { @if day.spent.down_us > 0 { (lasted(Duration::from_micros(day.spent.down_us))) } @else { "–" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How long the phases of runs took, on average over each step, and the slowest run of each.
pub(super) fn phases(check: &Check, runs: &[Run], range: &Range, outages: &[OutageRow]) -> Data {
    let wanted = (range.length().as_secs() / POINTS).max(check.interval.as_secs());
    let step_s = STEPS_S.into_iter().find(|step| *step >= wanted).unwrap_or(86_400);
    let step = Duration::from_secs(step_s);
    let begin = range.from.floor(step);
    let count = usize::try_from(range.to.since(begin).as_secs().div_ceil(step_s)).unwrap_or(0);
    let place = |at: Timestamp| usize::try_from(at.since(begin).as_secs() / step_s).unwrap_or(usize::MAX);
    let mut sums = vec![[0_u64; 5]; count];
    let (mut slowest, mut counts) = (vec![0_u64; count], vec![0_u64; count]);
    let mut seen = [false; 5];
    for run in runs.iter().filter(|run| run.phases.total_us > 0) {
        let at = place(run.at);
        let (Some(sum), Some(slow), Some(n)) = (sums.get_mut(at), slowest.get_mut(at), counts.get_mut(at)) else {
            continue;
        };
        *n += 1;
        *slow = (*slow).max(run.phases.total_us);
        for (phase, micros) in run.phases.parts() {
            let i = PHASES.iter().position(|(one, _)| *one == phase).unwrap_or(PHASES.len());
            if let (Some(sum), Some(seen)) = (sum.get_mut(i), seen.get_mut(i)) {
                *sum += micros;
                *seen = true;
            }
        }
    }
    let ms = |micros: u64, n: u64| (n > 0).then(|| (micros as f64 / n as f64).round() / 1_000.0);
    let mut series = Vec::new();
    for (i, (_, name)) in PHASES.iter().enumerate().filter(|(i, _)| seen.get(*i).copied().unwrap_or(false)) {
        let values = sums.iter().zip(&counts).map(|(sum, n)| sum.get(i).and_then(|micros| ms(*micros, *n))).collect();
        series.push(Series {
            name: (*name).to_owned(),
            drawn: Drawn::Stacked,
            values,
            samples: None,
            state: None,
            dim: false,
        });
    }
    let values = slowest.iter().zip(&counts).map(|(micros, n)| ms(*micros, u64::from(*n > 0))).collect();
    series.push(Series {
        name: "slowest run".to_owned(),
        drawn: Drawn::Line,
        values,
        samples: None,
        state: None,
        dim: true,
    });
    let x = (0..count).map(|i| (begin + step * u32::try_from(i).unwrap_or(u32::MAX)).as_seconds()).collect();
    let events = outages.iter().filter(|outage| outage.began_at >= range.from && outage.began_at < range.to);
    let events = events.map(|outage| Event {
        at: outage.began_at.as_seconds(),
        kind: "alert",
        label: "outage".to_owned(),
        href: outage.opened_at.map(|_| format!("/alerts/{}", outage.id)),
    });
    let step_s = i64::try_from(step_s).unwrap_or(i64::MAX);
    Data {
        x,
        step_s,
        unit: "ms",
        series,
        events: events.collect(),
        incomplete: range.preset.is_some(),
        ..Data::default()
    }
}

/// What the chart of phases shows, as an answer.
pub(super) fn phases_title(runs: &[Run]) -> String {
    let mut totals: Vec<u64> = runs.iter().map(|run| run.phases.total_us).filter(|micros| *micros > 0).collect();
    totals.sort_unstable();
    match (totals.get(totals.len() / 2), totals.last()) {
        (Some(median), Some(slowest)) => {
            format!("half of {} runs within {}, the slowest {}", totals.len(), took(*median), took(*slowest))
        }
        _ => "no run is kept of this range".to_owned(),
    }
}

/// Times of not working, newest first.
pub(super) fn outages(view: &View, outages: &[OutageRow], alerts: &[AlertRow]) -> Markup {
    html! {
        @if outages.is_empty() { p.quiet { "None is kept." } } @else {
            table.data {
                thead { tr { th scope="col" { "Began" } th.number scope="col" { "Lasted" } th scope="col" { "Told" } } }
                tbody {
                    @for outage in outages {
                        tr {
                            th scope="row" { (view.moment(outage.began_at)) @if outage.flapping { " " span.tag.flapping { "flapping" } } }
                            td.number { @match outage.ended_at { Some(at) => (lasted(at.since(outage.began_at))), None => span.tag.down { "goes on" } } }
                            td { (told(view, outage, alerts)) }
                        }
                    }
                }
            }
        }
    }
}

/// Who was told. Outages are kept for ever, their alerts for a time.
fn told(view: &View, outage: &OutageRow, alerts: &[AlertRow]) -> Markup {
    let has_alert = alerts.iter().any(|alert| alert.id.is_some_and(|id| id.0 == outage.id));
    html! {
        @match (outage.opened_at, &outage.held) {
            (Some(at), _) if has_alert => a href={ "/alerts/" (outage.id) } { "alert " (view.look.zone.short(at)) },
            (Some(at), _) => (view.look.zone.short(at)),
            (None, Some(Held::Maintenance)) => "nobody: maintenance",
            (None, Some(Held::Parent { name })) => { "nobody: " a href={ "/checks/" (super::super::palette::encoded(name)) } { (visible(name)) } " failed, too" },
            (None, None) => "nobody yet",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dynowatch_domain::check::CheckKind;
    use dynowatch_domain::check::kind::WebCheck;
    use dynowatch_domain::check::observation::Phases;
    use dynowatch_domain::check::outcome::Outcome;

    #[test]
    fn lengths_have_two_units() {
        for (seconds, want) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (750, "12m 30s"),
            (3_600, "1h"),
            (3_605, "1h"),
            (93_600, "1d 2h"),
            (86_460, "1d"),
        ] {
            assert_eq!(lasted(Duration::from_secs(seconds)), want, "{seconds}");
        }
    }

    #[test]
    fn a_cell_shows_trouble_else_what_most_of_it_was() {
        let t = Timestamp::from_seconds;
        let of = |parts: &[(Standing, i64, i64)]| {
            let stretch =
                |&(standing, from, until): &(Standing, i64, i64)| Stretch { standing, from: t(from), until: t(until) };
            cell(&parts.iter().map(stretch).collect::<Vec<_>>())
        };
        assert_eq!(of(&[]), State::Unknown);
        assert_eq!(of(&[(Standing::Up, 0, 1_700), (Standing::Unknown, 1_700, 1_800)]), State::Up);
        assert_eq!(of(&[(Standing::Up, 0, 100), (Standing::Unknown, 100, 1_800)]), State::Unknown);
        assert_eq!(of(&[(Standing::Up, 0, 1_790), (Standing::Down, 1_790, 1_800)]), State::Down);
        assert_eq!(of(&[(Standing::Degraded, 0, 1), (Standing::Maintenance, 1, 1_800)]), State::Degraded);
    }

    /// A step holds the mean of its runs, phase by phase, and gaps stay gaps.
    #[test]
    fn phases_are_averaged_by_step() {
        let check = Check::new("home", CheckKind::Web(WebCheck::get("https://shop.example")));
        let from = Timestamp::from_seconds(1_000_000_200);
        let range = Range { from, to: from + Duration::from_secs(7_200), preset: Some("2h") };
        let run = |second: u64, connect_us, total_us| Run {
            at: from + Duration::from_secs(second),
            outcome: Outcome::Up,
            reason: None,
            maintenance: false,
            lag_ms: 0,
            phases: Phases { connect_us: Some(connect_us), first_byte_us: Some(1_000), total_us, ..Phases::default() },
        };
        let runs = [run(0, 2_000, 5_000), run(30, 4_000, 9_000), run(120, 1_000, 3_000)];
        let data = phases(&check, &runs, &range, &[]);
        assert_eq!((data.step_s, data.x.len(), data.x[0]), (60, 120, 1_000_000_200));
        let names: Vec<&str> = data.series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["connect", "first byte", "slowest run"]);
        assert_eq!(data.series[0].values[..4], [Some(3.0), None, Some(1.0), None]);
        assert_eq!(data.series[2].values[..3], [Some(9.0), None, Some(3.0)]);
        assert_eq!(phases_title(&runs), "half of 3 runs within 5.0 ms, the slowest 9.0 ms");
        assert_eq!(phases_title(&[]), "no run is kept of this range");
    }
}
