//! `[[maintenance]]`: planned times in which nobody is told. Owns the three ways to write one (once, weekly, cron); when it
//! is open is the domain's.

use std::collections::BTreeMap;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Check;
use dynowatch_domain::check::cron::Cron;
use dynowatch_domain::check::maintenance::{
    MaintenanceWindow, Scope, WINDOWS_MAX, When, moment, time_of_day, weekdays,
};
use dynowatch_domain::parse::Glob;

use super::check_kind::read_zone;
use super::keys;
use super::reader::{Node, Table, shortened};
use super::rule::{fail_at, read_globs, read_name};

const WHEN_WANTED: &str =
    "write at = \"2026-12-01T22:00\" (once), weekly = [\"sat\"] with at = \"23:30\", or cron = \"30 23 * * 6\"";

/// Reads every window. `checks` are there to say which window is for none of them.
pub(super) fn read(root: &Table<'_>, checks: &[Check]) -> Vec<MaintenanceWindow> {
    let tables = root.tables("maintenance", keys::MAINTENANCE);
    if tables.len() > WINDOWS_MAX {
        root.fail::<()>("maintenance", format!("{} windows are too many: at most {WINDOWS_MAX}", tables.len()));
    }
    let mut lines = BTreeMap::new();
    let mut windows = Vec::with_capacity(tables.len());
    for table in &tables {
        let name = read_name(table, &mut lines, "window");
        let window = read_window(table, name.unwrap_or("unnamed"));
        if let (Some(window), Some(_)) = (window, name) {
            if !checks.iter().any(|check| window.is_for(&check.name, check.app.as_deref())) {
                table.warn(format!("the window {:?} is for no check there is", window.name));
            }
            windows.push(window);
        }
    }
    windows
}

fn read_window(table: &Table<'_>, name: &str) -> Option<MaintenanceWindow> {
    let errors_before = table.report.errors_len();
    let scope = read_scope(table);
    let when = read_when(table);
    let reason = table.get("reason").and_then(|node| node.text("a sentence")).unwrap_or_default().to_owned();
    if table.report.errors_len() > errors_before {
        return None;
    }
    let window = MaintenanceWindow { name: name.to_owned(), scope: scope?, when: when?, reason };
    let problems = window.problems();
    for problem in &problems {
        let (key, text) = match problem.0.split_once(": ") {
            Some(("reason", text)) => ("reason", text),
            Some(("days", text)) => ("weekly", text),
            _ => ("for", problem.0.as_str()),
        };
        fail_at(table, key, text);
    }
    problems.is_empty().then_some(window)
}

fn read_scope(table: &Table<'_>) -> Option<Scope> {
    let written: Vec<(&str, Node<'_>)> =
        ["checks", "apps", "all"].into_iter().filter_map(|key| Some((key, table.get(key)?))).collect();
    let globs = |node: &Node<'_>| -> Vec<Glob> { read_globs(node, "a name, as in \"shop-*\"") };
    match written.as_slice() {
        [] => table.fail("", "for whom? write checks = [\"shop-*\"], apps = [\"shop\"] or all = true"),
        [("all", node)] => match node.flag()? {
            true => Some(Scope::All),
            false => node.fail("a window that is for nothing: write all = true, or name checks or apps"),
        },
        [("checks", node)] => Some(Scope::Checks(globs(node))),
        [(_, node)] => Some(Scope::Apps(globs(node))),
        [(first, _), (_, second), ..] => {
            second.fail(format!("`{first}` stands here already: a window is for one of them"))
        }
    }
}

fn read_when(table: &Table<'_>) -> Option<When> {
    let lasts = match table.get("for") {
        Some(node) => node.duration(),
        None => table.fail("for", "missing: write how long it lasts, as in for = \"2h\""),
    };
    let zone = match table.get("time_zone") {
        Some(node) => read_zone(&node),
        None => Some("UTC".to_owned()),
    };
    match (table.get("weekly"), table.get("cron"), table.get("at")) {
        (Some(_), Some(cron), _) => cron.fail("`weekly` stands here already: keep one of the two"),
        (None, Some(_), Some(at)) => at.fail("`cron` says when it begins: leave this out"),
        (None, Some(node), None) => {
            let cron = node.parsed::<Cron>("five fields, as in \"30 23 * * 6\"");
            Some(When::Cron { cron: cron?, lasts: lasts?, zone: zone? })
        }
        (Some(node), None, at) => {
            let days: Vec<_> = node.one_or_more().iter().filter_map(read_day).collect();
            let at = match at {
                Some(at) => read_time(&at),
                None => table.fail("at", "missing: write at what time of day it begins, as in at = \"23:30\""),
            };
            Some(When::Weekly { days, at: at?, lasts: lasts?, zone: zone? })
        }
        (None, None, Some(node)) => {
            let from = read_moment(&node, &zone?)?;
            Some(When::Once { from, until: from + lasts? })
        }
        (None, None, None) => table.fail("at", format!("missing: {WHEN_WANTED}")),
    }
}

fn read_day(node: &Node<'_>) -> Option<jiff::civil::Weekday> {
    let text = node.text("a day such as \"sat\"")?;
    weekdays::named(text)
        .or_else(|| node.fail(format!("{:?} is no day: write mon, tue, wed, thu, fri, sat or sun", shortened(text))))
}

fn read_time(node: &Node<'_>) -> Option<jiff::civil::Time> {
    let text = node.text_or_time("a time of day such as \"23:30\"")?;
    let short = text.strip_suffix(":00").filter(|short| short.contains(':')).unwrap_or(&text);
    time_of_day::read(short)
        .or_else(|| node.fail(format!("{:?} is not a time of day: write one such as \"23:30\"", shortened(&text))))
}

fn read_moment(node: &Node<'_>, zone: &str) -> Option<Timestamp> {
    let text = node.text_or_time("a date and time such as \"2026-12-01T22:00\"")?;
    moment(&text, zone).or_else(|| {
        node.fail(format!(
            "{:?} is not a date and time: write one such as \"2026-12-01T22:00\" in the window's time_zone, or with its own, as in \"2026-12-01T22:00:00Z\"",
            shortened(&text)
        ))
    })
}
