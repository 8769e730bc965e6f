//! What a chart says in words: its title, which is an answer, and a sentence for those who cannot see it.

use super::plan::What;
use crate::pages::chart::{Data, Drawn, Series, shown, value_at};
use crate::show::grouped;

/// A highest value so many times the middle one is shown on a logarithmic axis.
const WIDE: f64 = 25.0;

/// The newest value of a complete slot, or else of the one that goes on.
fn newest(data: &Data, series: &Series) -> Option<f64> {
    let complete = data.x.len().saturating_sub(usize::from(data.incomplete));
    (0..complete).rev().find_map(|i| value_at(series, i)).or_else(|| value_at(series, complete))
}

fn known(data: &Data, series: &Series) -> Vec<f64> {
    (0..data.x.len()).filter_map(|i| value_at(series, i)).collect()
}

fn highest(data: &Data, series: &Series) -> Option<f64> {
    known(data, series).into_iter().reduce(f64::max)
}

fn middle(data: &Data, series: &Series) -> Option<f64> {
    let mut values = known(data, series);
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Whether values lie so far apart that a plain axis shows the highest only.
pub(super) fn is_wide(data: &Data) -> bool {
    let median = data.series.first().and_then(|series| middle(data, series));
    let top = data.series.iter().filter_map(|series| highest(data, series)).reduce(f64::max);
    median.zip(top).is_some_and(|(median, top)| median > 0.0 && top / median > WIDE)
}

/// A number as people say it: `12 340`, `0.42`.
pub(crate) fn said(value: f64) -> String {
    if value.abs() < 10.0 && value != value.trunc() {
        return format!("{value:.1}");
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "rounded, bounded and positive")]
    let whole = value.abs().min(1e15).round() as u64;
    format!("{}{}", if value < 0.0 { "−" } else { "" }, grouped(whole))
}

/// How the newest value stands to what is usual in this range.
fn against_usual(newest: f64, usual: f64) -> String {
    if usual <= 0.0 {
        return String::new();
    }
    let percent = (newest / usual - 1.0) * 100.0;
    if percent.abs() < 5.0 {
        return ", as usual here".to_owned();
    }
    // Beyond that a percentage says less than how many times.
    if percent >= 300.0 {
        return format!(", {:.0} times the usual here", newest / usual);
    }
    format!(", {:.0} % {} usual here", percent.abs(), if percent > 0.0 { "above" } else { "below" })
}

/// Title and summary of a chart.
pub(super) fn words(what: What, data: &Data) -> (String, String) {
    if !data.series.iter().any(|series| !known(data, series).is_empty()) {
        let none = match what {
            What::Dynos => "Not known before the formation is scaled or Heroku is asked",
            _ => "No data in this range",
        };
        let none = none.to_owned();
        return (none.clone(), format!("{none}."));
    }
    match what {
        What::Response => response(data),
        What::Throughput => throughput(data),
        What::Memory => memory(data),
        What::Share => worst(data, " %", " of its quota"),
        What::Load => worst(data, "", ""),
        What::Dynos => dynos(data),
        What::Errors => counts(data, "error", "errors"),
        What::Restarts => restarts(data),
        What::Level => level(data),
    }
}

fn named<'a>(data: &'a Data, name: &str) -> Option<&'a Series> {
    data.series.iter().find(|series| series.name == name)
}

fn response(data: &Data) -> (String, String) {
    let of = |name| named(data, name).and_then(|series| newest(data, series));
    let Some(p95) = of("p95") else {
        return ("No request in this range".to_owned(), "No request in this range.".to_owned());
    };
    let usual = named(data, "p95").and_then(|series| middle(data, series)).unwrap_or(p95);
    let top = named(data, "max").and_then(|series| highest(data, series)).unwrap_or(p95);
    let title = format!("p95 {} ms{}", said(p95), against_usual(p95, usual));
    let p50 = of("p50").map_or("unknown".to_owned(), said);
    let summary = format!("{title}. Half of the requests take {p50} ms or less; the slowest took {} ms.", said(top));
    (title, summary)
}

fn throughput(data: &Data) -> (String, String) {
    let at = |i: usize| -> Option<f64> {
        let values: Vec<f64> = data.series.iter().filter_map(|series| value_at(series, i)).collect();
        (!values.is_empty()).then(|| values.iter().sum())
    };
    let complete = data.x.len().saturating_sub(usize::from(data.incomplete));
    let newest = (0..complete).rev().find_map(at).or_else(|| at(complete)).unwrap_or(0.0);
    let rpm = newest * 60.0 / data.step_s.max(1) as f64;
    let total: f64 = data.series.iter().flat_map(|series| known(data, series)).sum();
    let failed: f64 = named(data, "5xx").map(|series| known(data, series).iter().sum()).unwrap_or(0.0);
    let share = if total > 0.0 { failed / total * 100.0 } else { 0.0 };
    let title = format!("{} a minute, {} % of all 5xx", said(rpm), percent(share));
    let summary =
        format!("{} requests in this range, {} of them 5xx. Now {} a minute.", said(total), said(failed), said(rpm));
    (title, summary)
}

/// A share of a hundred: never 0 where there is something, never 100 where something is missing.
pub(crate) fn percent(share: f64) -> String {
    if share == 0.0 || share == 100.0 {
        format!("{share:.0}")
    } else if share < 0.01 {
        "under 0.01".to_owned()
    } else if share < 1.0 {
        format!("{share:.2}")
    } else {
        format!("{:.1}", share.min(99.9))
    }
}

fn memory(data: &Data) -> (String, String) {
    let quota = data.series.iter().find(|series| series.drawn == Drawn::Limit).and_then(|series| newest(data, series));
    let Some(total) = data.series.get(1) else { return Default::default() };
    let (now, top) = (newest(data, total).unwrap_or(0.0), highest(data, total).unwrap_or(0.0));
    let title = match quota {
        Some(quota) if quota > 0.0 => {
            format!("{} of {} MB, {} %", said(now), said(quota), said(now / quota * 100.0))
        }
        _ => format!("{} MB, quota unknown", said(now)),
    };
    let summary = format!("{title}; at most {} MB in this range.", said(top));
    (title, summary)
}

/// Of several lines the one that is highest now.
fn worst(data: &Data, unit: &str, rest: &str) -> (String, String) {
    let now = data.series.iter().filter_map(|series| Some((newest(data, series)?, series)));
    let Some((value, series)) = now.max_by(|a, b| a.0.total_cmp(&b.0)) else { return Default::default() };
    let top = highest(data, series).unwrap_or(value);
    let title = format!("{} at {}{unit}{rest}, at most {}{unit}", series.name, said(value), said(top));
    let others =
        data.series.iter().filter_map(|series| Some(format!("{} {}{unit}", series.name, said(newest(data, series)?))));
    let summary = format!("{title}. Now: {}.", others.take(8).collect::<Vec<_>>().join(", "));
    (title, summary)
}

fn dynos(data: &Data) -> (String, String) {
    let counts: Vec<(&str, f64)> =
        data.series.iter().filter_map(|series| Some((series.name.as_str(), newest(data, series)?))).collect();
    let total: f64 = counts.iter().map(|(_, n)| n).sum();
    let each: Vec<String> = counts.iter().map(|(name, n)| format!("{name} {n:.0}")).collect();
    let title = format!("{total:.0} {}: {}", if total == 1.0 { "dyno" } else { "dynos" }, each.join(", "));
    (title.clone(), format!("{title}, as the formation stands."))
}

fn counts(data: &Data, one: &str, many: &str) -> (String, String) {
    let mut sums: Vec<(&str, f64)> =
        data.series.iter().map(|series| (series.name.as_str(), known(data, series).iter().sum())).collect();
    sums.retain(|(_, n)| *n > 0.0);
    sums.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = sums.iter().map(|(_, n)| n).sum();
    let title = match sums.first() {
        None => format!("No {one} in this range"),
        Some((code, n)) if sums.len() == 1 => format!("{} {code}", said(*n)),
        Some((code, n)) => format!("{} {many}, most of them {code} ({})", said(total), said(*n)),
    };
    let all: Vec<String> = sums.iter().take(8).map(|(code, n)| format!("{} {code}", said(*n))).collect();
    let summary = if all.is_empty() { format!("{title}.") } else { format!("{title}. In all: {}.", all.join(", ")) };
    (title, summary)
}

fn restarts(data: &Data) -> (String, String) {
    let sum = |name| named(data, name).map_or(0.0, |series| known(data, series).iter().sum::<f64>());
    let (crashes, restarts) = (sum("crashes"), sum("restarts"));
    let plural = |n: f64, one: &str, many: &str| format!("{} {}", said(n), if n == 1.0 { one } else { many });
    let title = match (crashes > 0.0, restarts > 0.0) {
        (false, false) => "No restart, no crash".to_owned(),
        (false, true) => format!("{}, no crash", plural(restarts, "restart", "restarts")),
        (true, _) => format!("{}, {}", plural(crashes, "crash", "crashes"), plural(restarts, "restart", "restarts")),
    };
    (title.clone(), format!("{title} in this range."))
}

fn level(data: &Data) -> (String, String) {
    let Some(first) = data.series.iter().find(|series| series.drawn != Drawn::Limit) else { return Default::default() };
    let (now, top) = (newest(data, first), highest(data, first));
    let unit = if data.unit.is_empty() { String::new() } else { format!(" {}", data.unit) };
    let number = |value: Option<f64>| value.map_or("unknown".to_owned(), |value| format!("{}{unit}", said(value)));
    let limit = data.series.iter().find(|series| series.drawn == Drawn::Limit).and_then(|series| newest(data, series));
    let limit = limit.map_or(String::new(), |limit| format!(" of {}{unit}", said(limit)));
    let title = format!("{}{limit}, at most {}", number(now), number(top));
    let others: Vec<String> = data
        .series
        .iter()
        .map(|series| format!("{} {}", series.name, newest(data, series).map_or("unknown".to_owned(), shown)))
        .collect();
    (title.clone(), format!("{title}. Now: {}.", others.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(series: &[(&str, Drawn, &[f64])]) -> Data {
        let one = |(name, drawn, values): &(&str, Drawn, &[f64])| Series {
            name: (*name).to_owned(),
            drawn: *drawn,
            values: values.iter().map(|value| (*value >= 0.0).then_some(*value)).collect(),
            samples: None,
            state: None,
            dim: false,
        };
        let length = series.iter().map(|(_, _, values)| i64::try_from(values.len()).unwrap()).max().unwrap_or(0);
        Data {
            x: (0..length).map(|i| i * 60).collect(),
            step_s: 60,
            series: series.iter().map(one).collect(),
            ..Data::default()
        }
    }

    /// A title is an answer. What is below zero here is a gap.
    #[test]
    fn titles_answer() {
        use Drawn::{Bars, Limit, Line, Stacked, Step};
        type Case<'a> = (What, &'a [(&'a str, Drawn, &'a [f64])], &'a str);
        let cases: [Case<'_>; 15] = [
            (
                What::Response,
                &[("p50", Line, &[90.0, 90.0]), ("p95", Line, &[300.0, 300.0, 412.0]), ("max", Line, &[900.0])],
                "p95 412 ms, 37 % above usual here",
            ),
            (What::Response, &[("p95", Line, &[300.0, 301.0, 300.0])], "p95 300 ms, as usual here"),
            (
                What::Response,
                &[("p95", Line, &[300.0, 300.0, 9_000.0])],
                "p95 9\u{202f}000 ms, 30 times the usual here",
            ),
            (What::Response, &[("p95", Line, &[-1.0, -1.0])], "No data in this range"),
            (
                What::Throughput,
                &[("2xx", Stacked, &[1_000.0, 1_190.0]), ("5xx", Stacked, &[0.0, 10.0])],
                "1\u{202f}200 a minute, 0.45 % of all 5xx",
            ),
            (What::Throughput, &[("2xx", Stacked, &[0.0, 0.0])], "0 a minute, 0 % of all 5xx"),
            (
                What::Memory,
                &[("quota", Limit, &[512.0, 1024.0]), ("highest dyno", Line, &[500.0, 512.0])],
                "512 of 1\u{202f}024 MB, 50 %",
            ),
            (What::Memory, &[("quota", Limit, &[-1.0]), ("highest dyno", Line, &[500.0])], "500 MB, quota unknown"),
            (
                What::Share,
                &[("web", Line, &[60.0, 68.0]), ("worker", Line, &[99.0, 40.0])],
                "web at 68 % of its quota, at most 68 %",
            ),
            (What::Load, &[("web", Line, &[0.4, 0.8])], "web at 0.8, at most 0.8"),
            (What::Dynos, &[("web", Step, &[2.0, 3.0]), ("worker", Step, &[1.0, 1.0])], "4 dynos: web 3, worker 1"),
            (
                What::Errors,
                &[("H12", Bars, &[8.0, 0.0]), ("R14", Bars, &[0.0, 3.0])],
                "11 errors, most of them H12 (8)",
            ),
            (What::Errors, &[("H12", Bars, &[0.0, 0.0])], "No error in this range"),
            (What::Restarts, &[("crashes", Bars, &[1.0]), ("restarts", Bars, &[2.0])], "1 crash, 2 restarts"),
            (
                What::Level,
                &[("active", Line, &[40.0, 31.0]), ("plan's limit", Limit, &[120.0, 120.0])],
                "31 of 120, at most 40",
            ),
        ];
        for (what, series, want) in cases {
            assert_eq!(words(what, &data(series)).0, want, "{what:?}");
        }
    }

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        for (share, want) in
            [(0.0, "0"), (0.001, "under 0.01"), (0.42, "0.42"), (12.34, "12.3"), (99.99, "99.9"), (100.0, "100")]
        {
            assert_eq!(percent(share), want);
        }
    }
}
