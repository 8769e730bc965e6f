//! What a replay prints: one block for each message the rules would have sent, one line for what was held back, and a
//! summary. As JSON one object per line.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::signal::Kind;
use dynowatch_engine::replay::{Happening, Summary};
use dynowatch_logplex::{Format, Malformed};
use serde_json::{Map, Value, json};

use super::super::failure::Failure;
use super::super::out::{Out, grouped};

/// Where the lines came from, and how fast.
pub(crate) struct Source<'a> {
    pub(crate) format: Format,
    pub(crate) app: &'a str,
    /// Place of the octet count that made the rest unreadable.
    pub(crate) unreadable: Option<u64>,
    pub(crate) took: Duration,
}

/// Prints as it goes and remembers the totals.
pub(crate) struct Report {
    json: bool,
    verbose: bool,
    /// By what happened, then by rule.
    totals: BTreeMap<&'static str, BTreeMap<String, u64>>,
    messages: u64,
}

impl Report {
    pub(crate) fn new(json: bool, verbose: bool) -> Self {
        Self { json, verbose, totals: BTreeMap::new(), messages: 0 }
    }

    /// Prints what happened.
    pub(crate) fn happenings(&mut self, out: &mut Out, happenings: Vec<Happening>) -> Result<(), Failure> {
        for happening in happenings {
            *self.totals.entry(happening.what).or_default().entry(happening.rule.clone()).or_default() += 1;
            self.messages += u64::from(matches!(happening.what, "firing" | "still_firing"));
            if self.json {
                out.json(&as_json(&happening)?)?;
            } else {
                self.block(out, &happening)?;
            }
        }
        Ok(())
    }

    fn block(&self, out: &mut Out, happening: &Happening) -> Result<(), Failure> {
        let what = match happening.what {
            "firing" => "FIRING",
            "still_firing" => "STILL FIRING",
            "fired_silently" => "fired inside the cool-down, told at its end",
            "resolved" => "resolved",
            "cooldown" => "further matches are held back",
            "held_unknown" => "there is no data to judge it by: the alert stays open",
            // It goes on in the same alert: one line per alert is enough, and only for those who ask.
            _ if !self.verbose => return Ok(()),
            "merged" => "further matches join the open alert",
            other => other,
        };
        out.line(format!("{}  {}  {what}", happening.at.for_people(), happening.key))?;
        if matches!(happening.what, "cooldown" | "merged" | "held_unknown") {
            return Ok(());
        }
        let measured = happening.measured.as_deref().unwrap_or("nothing measured");
        let held_back = match happening.suppressed {
            0 => String::new(),
            n => format!(", {} held back before", grouped(n)),
        };
        out.line(format!("    {measured}, the limit is {}{held_back}", happening.condition))?;
        if matches!(happening.what, "firing" | "still_firing") {
            let to = if happening.receivers.is_empty() {
                "nobody: the rule names no receiver".to_owned()
            } else {
                happening.receivers.join(", ")
            };
            out.line(format!("    to {to}"))?;
        }
        if let Some(release) = happening.release.as_deref().filter(|release| !release.is_empty()) {
            out.line(format!("    {release}"))?;
        }
        self.evidence(out, happening)
    }

    fn evidence(&self, out: &mut Out, happening: &Happening) -> Result<(), Failure> {
        let (matches, context) = happening.evidence.split_at(happening.matches.min(happening.evidence.len()));
        if self.verbose {
            matches.iter().try_for_each(|line| out.line(format!("    > {line}")))?;
            return context.iter().try_for_each(|line| out.line(format!("      {line}")));
        }
        let ends = [("first", matches.first()), ("last ", matches.last().filter(|_| matches.len() > 1))];
        for (which, line) in ends {
            if let Some(line) = line {
                out.line(format!("    {which} > {line}"))?;
            }
        }
        Ok(())
    }

    /// Prints the totals.
    pub(crate) fn summary(&self, out: &mut Out, source: &Source<'_>, summary: &Summary) -> Result<(), Failure> {
        if self.json {
            return out.json(&json!({ "summary": self.summary_json(source, summary) }));
        }
        let counts = &summary.counts;
        let (lines, rate) = (counts.lines(), rate(counts.lines(), source.took));
        if self.messages > 0 {
            out.line("")?;
        }
        let span = match (summary.from, summary.until) {
            (Some(from), Some(until)) => format!(", {} to {}", from.for_people(), until.for_people()),
            _ => String::new(),
        };
        out.line(format!("{} lines of {} ({}){span}", grouped(lines), source.app, source.format.as_str()))?;
        out.line(format!("{} lines/s, {:.3} s", grouped(rate), source.took.as_secs_f64()))?;
        let total = |what: &str| self.totals.get(what).map_or(0, |rules| rules.values().sum());
        let (fired, silent, again) = (total("firing"), total("fired_silently"), total("still_firing"));
        let mut rows = vec![
            row("messages", self.messages),
            row("  firing", fired),
            row("  still firing", again),
            row("fired inside a cool-down", silent),
            row("resolved", total("resolved")),
        ];
        rows.extend(kinds(summary).map(|(name, n)| row(&format!("kind {name}"), n)));
        rows.extend(summary.codes.iter().map(|(code, n)| row(&format!("code {code}"), *n)));
        rows.extend(malformed(summary).map(|(name, n)| row(&format!("malformed {name}"), n)));
        let bounds =
            [("stamps too far ahead", counts.ahead), ("events of groups over the limit", summary.groups_overflowed)];
        rows.extend(bounds.into_iter().filter(|(_, n)| *n > 0).map(|(name, n)| row(name, n)));
        let width = rows.iter().map(|(_, n)| n.len()).max().unwrap_or(0);
        for (name, number) in rows {
            out.line(format!("  {number:>width$}  {name}"))?;
        }
        if lines == 0 && malformed(summary).next().is_some() {
            out.line("Nothing in it is a log that is read here: what `heroku logs` prints without colours, Logplex bodies, lines of syslog; each also as .gz")?;
        }
        if let Some(at) = source.unreadable {
            out.line(format!("From byte {at} on the file is unreadable: no octet count stands there, and where the next frame begins cannot be known"))?;
        }
        Ok(())
    }

    fn summary_json(&self, source: &Source<'_>, summary: &Summary) -> Value {
        let map = |items: &mut dyn Iterator<Item = (&'static str, u64)>| {
            items.map(|(name, n)| (name.to_owned(), Value::from(n))).collect::<Map<_, _>>()
        };
        json!({
            "app": source.app,
            "format": source.format.as_str(),
            "lines": summary.counts.lines(),
            "kinds": map(&mut kinds(summary)),
            "codes": summary.codes,
            "malformed": map(&mut malformed(summary)),
            "stamps_ahead": summary.counts.ahead,
            "groups_overflowed": summary.groups_overflowed,
            "from": summary.from.map(|at| at.to_string()),
            "until": summary.until.map(|at| at.to_string()),
            "messages": self.messages,
            "happenings": self.totals,
            "unreadable_from_byte": source.unreadable,
            "seconds": source.took.as_secs_f64(),
            "lines_per_s": rate(summary.counts.lines(), source.took),
        })
    }
}

fn row(name: &str, number: u64) -> (String, String) {
    (name.to_owned(), grouped(number))
}

/// Times as text: microseconds are for programs that know.
fn as_json(happening: &Happening) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(happening)?;
    if let Some(at) = value.get_mut("at") {
        *at = Value::from(happening.at.to_string());
    }
    Ok(value)
}

fn kinds(summary: &Summary) -> impl Iterator<Item = (&'static str, u64)> {
    let counts = Kind::ALL.iter().zip(summary.counts.kinds);
    counts.filter(|(_, n)| *n > 0).map(|(kind, n)| (kind.as_str(), n))
}

fn malformed(summary: &Summary) -> impl Iterator<Item = (&'static str, u64)> {
    let counts = Malformed::ALL.iter().zip(summary.counts.malformed);
    counts.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.as_str(), n))
}

fn rate(lines: u64, took: Duration) -> u64 {
    let micros = took.as_micros().max(1);
    u64::try_from(u128::from(lines) * 1_000_000 / micros).unwrap_or(u64::MAX)
}
