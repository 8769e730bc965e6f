//! Other thresholds on the past: the state machine once more over the runs that are stored, and every page it would have
//! sent. Owns the walk and what counts as after hours; which runs there are is the store's business.
//!
//! What it cannot know: a check that is suspect runs more often, so thresholds that make it suspect at other times would
//! have seen other runs. It looks at those there were.

use std::time::Duration;

use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use uuid::Uuid;

use super::Thresholds;
use super::maintenance::Span;
use super::outcome::Reason;
use super::run::Run;
use super::state::{Around, CheckState, Effect, Ran, Why};
use crate::{NewId, Timestamp, zone};

/// Working hours begin at this hour, Monday to Friday,
pub const HOURS_FROM: i8 = 9;
/// and end at this one.
pub const HOURS_UNTIL: i8 = 18;

/// What is known of a check's past.
#[derive(Debug, Clone, Copy)]
pub struct Past<'a> {
    /// Its runs, oldest first.
    pub runs: &'a [Run],
    /// How long a result spoke for the present.
    pub validity: Duration,
    /// When an operator paused it, in order.
    pub paused: &'a [Timestamp],
    /// When its parent failed, in order: no alert was opened then.
    pub parent_failing: &'a [Span],
}

/// A message to the one on call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Page {
    /// When: with which run.
    pub at: Timestamp,
    /// Why.
    pub why: Why,
    /// The first failure of the outage.
    pub began_at: Timestamp,
    /// The first success after it; none while it goes on.
    pub ended_at: Option<Timestamp>,
}

impl Page {
    /// How long the outage lasted, as far as it is over.
    #[must_use]
    pub fn lasted(&self) -> Option<Duration> {
        self.ended_at.map(|ended_at| ended_at.since(self.began_at))
    }

    /// Whether it would have come outside of Monday to Friday, 9 to 18 o'clock.
    #[must_use]
    pub fn is_after_hours(&self, zone: &TimeZone) -> bool {
        is_after_hours(self.at, zone)
    }
}

/// What thresholds would have done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Replay {
    /// Every page, oldest first. An outage of which is told again, as of one that flaps, has several.
    pub pages: Vec<Page>,
    /// Outages of which nobody would have been told: in maintenance, under a parent that failed, or over right after that.
    pub untold: u64,
    /// Runs that were looked at.
    pub runs: u64,
}

impl Replay {
    /// `would have paged 4 times, 3 after hours`.
    #[must_use]
    pub fn show(&self, zone: &TimeZone) -> String {
        let times = match self.pages.len() {
            0 => return "would have paged nobody".to_owned(),
            1 => "once".to_owned(),
            n => format!("{n} times"),
        };
        match (self.after_hours(zone), self.pages.len()) {
            (0, _) => format!("would have paged {times}, within working hours"),
            (after, all) if after == all => format!("would have paged {times}, after hours"),
            (after, _) => format!("would have paged {times}, {after} after hours"),
        }
    }

    /// Pages outside of working hours.
    #[must_use]
    pub fn after_hours(&self, zone: &TimeZone) -> usize {
        self.pages.iter().filter(|page| page.is_after_hours(zone)).count()
    }
}

/// Whether a moment lies outside of Monday to Friday, 9 to 18 o'clock.
#[must_use]
pub fn is_after_hours(at: Timestamp, zone: &TimeZone) -> bool {
    let Some(local) = zone::local(zone, at) else { return true };
    let weekend = matches!(local.date().weekday(), Weekday::Saturday | Weekday::Sunday);
    weekend || !(HOURS_FROM..HOURS_UNTIL).contains(&local.hour())
}

/// What these thresholds would have done from `from` on; what lies before only says how things stood then.
#[must_use]
pub fn replay(past: &Past<'_>, thresholds: &Thresholds, from: Timestamp) -> Replay {
    let mut found = Replay::default();
    // By page: its outage.
    let mut outages: Vec<Uuid> = Vec::new();
    walk(past, thresholds, |at, is_run, _, effects| {
        found.runs += u64::from(is_run && at >= from);
        for effect in effects {
            match effect {
                Effect::Opened { id, why, began_at } => {
                    outages.push(id);
                    found.pages.push(Page { at, why, began_at, ended_at: None });
                }
                Effect::Again { id, why } => {
                    let first = outages.iter().position(|known| *known == id);
                    let began_at = first.and_then(|place| found.pages.get(place)).map_or(at, |page| page.began_at);
                    outages.push(id);
                    found.pages.push(Page { at, why, began_at, ended_at: None });
                }
                Effect::Resolved { id, ended_at, .. } => end(&mut found.pages, &outages, id, ended_at),
                Effect::Dropped { id } => end(&mut found.pages, &outages, id, at),
                Effect::Suppressed { ended_at, .. } => found.untold += u64::from(ended_at >= from),
                Effect::Held { .. } | Effect::Flip(_) => {}
            }
        }
    });
    found.pages.retain(|page| page.at >= from);
    found
}

/// The pages of an outage are the last ones: no other begins before it is over.
fn end(pages: &mut [Page], outages: &[Uuid], id: Uuid, ended_at: Timestamp) {
    for (page, _) in pages.iter_mut().zip(outages).rev().take_while(|(_, outage)| **outage == id) {
        page.ended_at = Some(ended_at);
    }
}

/// When a check failed, or was not yet known to work again: then its children are not told of.
#[must_use]
pub fn failing(past: &Past<'_>, thresholds: &Thresholds) -> Vec<Span> {
    let mut spans: Vec<Span> = Vec::new();
    let mut since = None;
    walk(past, thresholds, |at, _, state, _| match (since, state.is_failing()) {
        (None, true) => since = Some(at),
        (Some(from), false) => {
            spans.push(Span { from, until: at });
            since = None;
        }
        _ => {}
    });
    spans.extend(since.map(|from| Span { from, until: Timestamp::from_micros(i64::MAX) }));
    spans
}

/// Steps through the past: with each moment, whether it was a run, the state after it, and what follows.
fn walk(past: &Past<'_>, thresholds: &Thresholds, mut each: impl FnMut(Timestamp, bool, &CheckState, Vec<Effect>)) {
    let (mut state, mut ids) = (CheckState::default(), Counting(0));
    let (mut paused, mut parent) = (past.paused.iter().peekable(), past.parent_failing.iter().peekable());
    for run in past.runs {
        while let Some(at) = paused.next_if(|at| **at <= run.at) {
            let around = Around { paused: true, ..Around::default() };
            let effects = state.step(thresholds, past.validity, None, &around, &mut ids, *at);
            each(*at, false, &state, effects);
        }
        while parent.next_if(|span| span.until <= run.at).is_some() {}
        let failing = parent.peek().is_some_and(|span| span.from <= run.at);
        let around =
            Around { maintenance: run.maintenance, failing_parent: failing.then(String::new), ..Around::default() };
        let effects = state.step(thresholds, past.validity, Some(ran(run)), &around, &mut ids, run.at);
        each(run.at, true, &state, effects);
    }
}

/// A stored run as the state machine takes it.
fn ran(run: &Run) -> Ran {
    Ran {
        at: run.at,
        outcome: run.outcome,
        misconfigured: run.reason.is_some_and(Reason::is_misconfigured),
        decisive: run.reason.is_some_and(Reason::is_decisive),
    }
}

/// Ids that only this walk knows.
struct Counting(u128);

impl NewId for Counting {
    fn new_id(&mut self, _now: Timestamp) -> Uuid {
        self.0 += 1;
        Uuid::from_u128(self.0)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
