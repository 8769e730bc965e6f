//! The state machine of a check: what a row of runs means, and who is to be told. Owns the state and its transitions; the
//! alert of an outage takes the way of every alert, and what a run found is [`super::outcome`]'s.
//!
//! ```text
//!          fail          fails >= F, or failing for Tf          oks >= S, and ok for Ts
//!  up ────────▶ suspect ───────────────────▶ down ────────────▶ recovering ────────▶ up
//!   ▲     ok       │                           ▲       ok           │
//!   └──────────────┘                           └────── fail ────────┘
//! ```
//!
//! Around it stand states that say how far it can be trusted: paused, maintenance, blind (our own way out is broken),
//! misconfigured, flapping. What could not be measured is neither a failure nor a success: it changes no count.
//!
//! An outage has one id from its first word to its last, which is its alert's. It begins with the first failure of the row
//! that confirmed it and ends with the first success of the row that ended it. It may be held: during maintenance, and
//! while the check's parent fails, nobody is told; only opening is held, never measuring and never resolving. What is
//! still true after that is told after one more failing run.
//!
//! `now` and ids come in, effects come out, and everything that is remembered is in [`CheckState`], so a restart changes
//! nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Thresholds;
use super::outcome::Outcome;
use super::uptime::{Flip, Standing};
use crate::time::micros;
use crate::{NewId, Timestamp};

/// The most changes that may be asked for before it is flapping.
pub const FLAP_TRANSITIONS_MAX: u32 = 50;

/// What one run said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// When it began.
    pub at: Timestamp,
    /// What it came to.
    pub outcome: Outcome,
    /// The check is at fault, not the target. Goes with [`Outcome::Unknown`].
    pub misconfigured: bool,
    /// A failure that needs no second one, as a heartbeat that did not come.
    pub decisive: bool,
}

/// What surrounds a check at the moment of a step.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Around {
    /// A maintenance window is open for it.
    pub maintenance: bool,
    /// Our own way out is broken.
    pub blind: bool,
    /// An operator paused it.
    pub paused: bool,
    /// The parent's name while the parent fails.
    pub failing_parent: Option<String>,
}

impl Around {
    /// Why nobody is told of what begins now.
    fn held(&self) -> Option<Held> {
        let parent = || self.failing_parent.clone().map(|name| Held::Parent { name });
        if self.maintenance { Some(Held::Maintenance) } else { parent() }
    }
}

/// Where the machine stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// No result yet.
    #[default]
    New,
    /// The last result was a success.
    Up,
    /// Failing, not yet for long enough.
    Suspect,
    /// Failing.
    Down,
    /// Succeeding again, not yet for long enough.
    Recovering,
}

impl Phase {
    fn is_down(self) -> bool {
        matches!(self, Self::Down | Self::Recovering)
    }
}

/// What people see of a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// No result yet.
    New,
    /// It works.
    Up,
    /// It works, but not as it should.
    Degraded,
    /// Failing, not yet for long enough.
    Suspect,
    /// It does not work.
    Down,
    /// Working again, not yet for long enough.
    Recovering,
    /// Now this, now that.
    Flapping,
    /// It could not be measured.
    Unknown,
    /// Planned.
    Maintenance,
    /// Our own way out is broken.
    Blind,
    /// Switched off by an operator.
    Paused,
    /// The check must be changed before it can say anything.
    Misconfigured,
}

impl Shown {
    /// Each of them.
    pub const ALL: [Self; 12] = [
        Self::New,
        Self::Up,
        Self::Degraded,
        Self::Suspect,
        Self::Down,
        Self::Recovering,
        Self::Flapping,
        Self::Unknown,
        Self::Maintenance,
        Self::Blind,
        Self::Paused,
        Self::Misconfigured,
    ];

    /// The name in the store, the API and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Suspect => "suspect",
            Self::Down => "down",
            Self::Recovering => "recovering",
            Self::Flapping => "flapping",
            Self::Unknown => "unknown",
            Self::Maintenance => "maintenance",
            Self::Blind => "blind",
            Self::Paused => "paused",
            Self::Misconfigured => "misconfigured",
        }
    }

    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|shown| shown.as_str() == name)
    }
}

/// Results of one kind in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Streak {
    failing: bool,
    count: u32,
    /// Time between results that followed each other; what lies around an unknown one is not in it.
    lasted_us: i64,
    /// The first of them.
    since: Timestamp,
    /// The last one, unless something unknown followed.
    last_at: Option<Timestamp>,
}

/// Why nobody was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Held {
    /// A maintenance window is or was open.
    Maintenance,
    /// The parent fails or failed.
    Parent {
        /// Its name.
        name: String,
    },
}

/// A time of not working, from its first failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outage {
    /// Its id, the alert's too.
    pub id: Uuid,
    /// The first failure.
    pub began_at: Timestamp,
    /// Whether the alert was opened.
    pub opened: bool,
    /// Why it was not.
    pub held: Option<Held>,
}

/// Why an alert is opened, or spoken of again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// It is down.
    Down,
    /// It is flapping: nothing more is told until it settles.
    Flapping,
    /// It was flapping, and is down now.
    SettledDown,
}

/// What follows from a step, in the order to carry it out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// From then on it counts as something else. A later flip of the same moment replaces an earlier one.
    Flip(Flip),
    /// The alert of this id fires.
    Opened {
        /// The outage.
        id: Uuid,
        /// Why.
        why: Why,
        /// The first failure.
        began_at: Timestamp,
    },
    /// The open alert is told again.
    Again {
        /// The outage.
        id: Uuid,
        /// Why.
        why: Why,
    },
    /// An outage began, or goes on, and nobody is told.
    Held {
        /// The outage.
        id: Uuid,
        /// The first failure.
        began_at: Timestamp,
        /// Why nobody is told.
        by: Held,
    },
    /// The alert is over.
    Resolved {
        /// The outage.
        id: Uuid,
        /// The first failure.
        began_at: Timestamp,
        /// The first success.
        ended_at: Timestamp,
        /// It was flapping before.
        settled: bool,
    },
    /// An outage of which nobody was told is over: recorded, never told.
    Suppressed {
        /// The outage.
        id: Uuid,
        /// The first failure.
        began_at: Timestamp,
        /// The first success.
        ended_at: Timestamp,
        /// Why nobody was told.
        by: Option<Held>,
    },
    /// The check was paused: its open alert is closed without a word.
    Dropped {
        /// The outage.
        id: Uuid,
    },
}

/// All that is remembered of a check from run to run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CheckState {
    phase: Phase,
    streak: Streak,
    /// Whether the last known result was a failure, for flapping.
    raw_failing: Option<bool>,
    /// When results changed lately.
    changes: Vec<Timestamp>,
    flapping: bool,
    outage: Option<Outage>,
    /// The last known outcome, and the last ones that were a success and a failure.
    last: Option<Outcome>,
    last_ok: Option<Outcome>,
    last_fail: Option<Outcome>,
    /// The last run said nothing.
    unknown: bool,
    misconfigured: bool,
    /// Something held it at the last step.
    held: bool,
    /// The next run after a hold opens nothing.
    grace: bool,
    maintenance: bool,
    blind: bool,
    paused: bool,
    /// When the last run began, whatever it said.
    last_run_at: Option<Timestamp>,
    flip: Option<Flip>,
}

impl CheckState {
    /// What people see.
    #[must_use]
    pub fn shown(&self) -> Shown {
        match self.phase {
            _ if self.paused => Shown::Paused,
            _ if self.maintenance => Shown::Maintenance,
            _ if self.blind => Shown::Blind,
            _ if self.misconfigured => Shown::Misconfigured,
            _ if self.flapping => Shown::Flapping,
            Phase::Suspect => Shown::Suspect,
            Phase::Recovering => Shown::Recovering,
            Phase::Down if self.last_fail == Some(Outcome::Degraded) => Shown::Degraded,
            Phase::Down => Shown::Down,
            _ if self.unknown => Shown::Unknown,
            Phase::New => Shown::New,
            Phase::Up if self.last_ok == Some(Outcome::Degraded) => Shown::Degraded,
            Phase::Up => Shown::Up,
        }
    }

    /// Where the machine stands, whatever surrounds it.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The outage that goes on.
    #[must_use]
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// Since when it counts as what it counts as.
    #[must_use]
    pub fn flip(&self) -> Option<Flip> {
        self.flip
    }

    /// Since when people see what they see: the first failure of an outage or of a row that may become one, else the last
    /// flip.
    #[must_use]
    pub fn since(&self) -> Option<Timestamp> {
        match self.shown() {
            Shown::Suspect => Some(self.streak.since),
            Shown::Down | Shown::Recovering | Shown::Flapping => {
                self.outage.as_ref().map(|outage| outage.began_at).or(self.flip.map(|flip| flip.at))
            }
            _ => self.flip.map(|flip| flip.at),
        }
    }

    /// How many runs of the same kind there were in a row, while it is not decided what they mean.
    #[must_use]
    pub fn undecided_runs(&self) -> u32 {
        if matches!(self.phase, Phase::Suspect | Phase::Recovering) { self.streak.count } else { 0 }
    }

    /// When the last run began.
    #[must_use]
    pub fn last_run_at(&self) -> Option<Timestamp> {
        self.last_run_at
    }

    /// Whether children are not told of because of it: it fails, or is not yet known to work again.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        matches!(self.phase, Phase::Suspect | Phase::Down | Phase::Recovering)
    }

    /// How often it is run now: faster while it is not yet decided whether it is down.
    #[must_use]
    pub fn interval(&self, interval: Duration, suspect_interval: Duration) -> Duration {
        if self.phase == Phase::Suspect { suspect_interval.min(interval) } else { interval }
    }

    /// One step: what surrounds the check, and a run if there was one. `interval` is how long a result speaks for the
    /// present.
    pub fn step(
        &mut self,
        thresholds: &Thresholds,
        interval: Duration,
        ran: Option<Ran>,
        around: &Around,
        ids: &mut dyn NewId,
        now: Timestamp,
    ) -> Vec<Effect> {
        let mut effects = Vec::new();
        if around.paused {
            self.pause(now, &mut effects);
            return effects;
        }
        if std::mem::take(&mut self.paused) {
            // It begins anew; only its history stays.
            *self = Self { flip: self.flip, ..Self::default() };
        }
        self.surround(around);
        let mut taken = Taken::default();
        if let Some(ran) = ran {
            self.bridge(interval, ran.at, &mut effects);
            taken = self.take(thresholds, &ran, around, ids, &mut effects);
        }
        let at = ran.map_or(now, |ran| ran.at);
        self.flip_to(self.standing(), at, taken.confirmed, &mut effects);
        if taken.failed {
            self.tell(around, taken.graced, &mut effects);
        }
        effects
    }

    fn pause(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        self.paused = true;
        self.phase = Phase::New;
        if let Some(outage) = self.outage.take().filter(|outage| outage.opened) {
            effects.push(Effect::Dropped { id: outage.id });
        }
        self.flip_to(Standing::Paused, now, false, effects);
    }

    /// Notes what surrounds it, and that a hold has ended.
    fn surround(&mut self, around: &Around) {
        let held = around.held().is_some();
        self.grace |= self.held && !held;
        self.held = held;
        self.maintenance = around.maintenance;
        self.blind = around.blind;
    }

    /// A result speaks for one interval. Where the next one is late by more, nobody measured in between.
    fn bridge(&mut self, interval: Duration, at: Timestamp, effects: &mut Vec<Effect>) {
        let Some(last) = self.last_run_at.replace(at) else { return };
        if at.since(last) > interval * super::schedule::GAP_INTERVALS {
            self.streak.last_at = None;
            if matches!(self.flip, Some(Flip { standing: Standing::Up | Standing::Degraded | Standing::Down, .. })) {
                self.flip_to(Standing::Unknown, last + interval, false, effects);
            }
        }
    }

    /// Takes a run.
    fn take(
        &mut self,
        thresholds: &Thresholds,
        ran: &Ran,
        around: &Around,
        ids: &mut dyn NewId,
        effects: &mut Vec<Effect>,
    ) -> Taken {
        let failing = match ran.outcome {
            _ if around.blind => None,
            Outcome::Up => Some(false),
            Outcome::Degraded => Some(thresholds.tell_degraded),
            Outcome::Down => Some(true),
            Outcome::Unknown => None,
        };
        self.unknown = failing.is_none();
        self.misconfigured = failing.is_none() && ran.misconfigured && !around.blind;
        let Some(failing) = failing else {
            self.streak.last_at = None;
            return Taken::default();
        };
        let graced = !self.held && std::mem::take(&mut self.grace);
        self.last = Some(ran.outcome);
        *if failing { &mut self.last_fail } else { &mut self.last_ok } = self.last;
        self.count(failing, ran.at);
        let flapped = self.flap(thresholds, failing, ran.at);
        let before = self.phase;
        self.move_on(thresholds, failing, ran.decisive);
        let (was_down, is_down) = (before.is_down(), self.phase.is_down());
        if is_down && !was_down {
            self.begin(self.streak.since, ids, ran.at);
        }
        match flapped {
            Flapped::Began => self.flapping_began(ran.at, around, graced, ids, effects),
            Flapped::Ended => self.settle(ran.at, effects),
            Flapped::No if self.phase == Phase::Up && !self.flapping => self.end(self.streak.since, false, effects),
            Flapped::No => {}
        }
        Taken { failed: failing, graced, confirmed: was_down != is_down }
    }

    fn count(&mut self, failing: bool, at: Timestamp) {
        if self.streak.count == 0 || self.streak.failing != failing {
            self.streak = Streak { failing, count: 0, lasted_us: 0, since: at, last_at: None };
        }
        let seen = self.streak.last_at.map_or(0, |last| micros(at.since(last)));
        self.streak.count = self.streak.count.saturating_add(1);
        self.streak.lasted_us = self.streak.lasted_us.saturating_add(seen);
        self.streak.last_at = Some(at);
    }

    fn move_on(&mut self, thresholds: &Thresholds, failing: bool, decisive: bool) {
        let enough = |count: u32| self.streak.count >= count.max(1);
        let long = |time: Duration| self.streak.lasted_us >= micros(time);
        let down = decisive || enough(thresholds.failures) || thresholds.failing_for.is_some_and(long);
        let up = enough(thresholds.recoveries) && thresholds.recovering_for.is_none_or(long);
        self.phase = match (self.phase, failing) {
            (Phase::Down | Phase::Recovering, true) => Phase::Down,
            (_, true) => {
                if down {
                    Phase::Down
                } else {
                    Phase::Suspect
                }
            }
            (Phase::Down | Phase::Recovering, false) => {
                if up {
                    Phase::Up
                } else {
                    Phase::Recovering
                }
            }
            (_, false) => Phase::Up,
        };
    }

    fn flap(&mut self, thresholds: &Thresholds, failing: bool, at: Timestamp) -> Flapped {
        let changed = self.raw_failing.replace(failing).is_some_and(|before| before != failing);
        let Some(flap) = thresholds.flapping else {
            self.changes.clear();
            return if std::mem::take(&mut self.flapping) { Flapped::Ended } else { Flapped::No };
        };
        if changed {
            self.changes.push(at);
        }
        // The newest change stays, for the quiet to be measured from.
        let newest = self.changes.last().copied();
        self.changes.retain(|change| at.since(*change) <= flap.window || Some(*change) == newest);
        let most = usize::try_from(FLAP_TRANSITIONS_MAX).unwrap_or(usize::MAX);
        let surplus = self.changes.len().saturating_sub(most);
        self.changes.drain(..surplus);
        let needed = usize::try_from(flap.transitions.clamp(2, FLAP_TRANSITIONS_MAX)).unwrap_or(usize::MAX);
        if self.flapping {
            let quiet = newest.is_none_or(|newest| at.since(newest) >= flap.quiet);
            if quiet {
                self.flapping = false;
                self.changes.clear();
                return Flapped::Ended;
            }
        } else if changed && self.changes.len() >= needed {
            self.flapping = true;
            return Flapped::Began;
        }
        Flapped::No
    }

    fn begin(&mut self, began_at: Timestamp, ids: &mut dyn NewId, now: Timestamp) {
        if self.outage.is_none() {
            self.outage = Some(Outage { id: ids.new_id(now), began_at, opened: false, held: None });
        }
    }

    /// The change that makes it flapping may be to the better: that it flaps is told all the same.
    fn flapping_began(
        &mut self,
        at: Timestamp,
        around: &Around,
        graced: bool,
        ids: &mut dyn NewId,
        effects: &mut Vec<Effect>,
    ) {
        let first = self.changes.first().copied().unwrap_or(at);
        self.begin(first, ids, at);
        match &self.outage {
            Some(outage) if outage.opened => effects.push(Effect::Again { id: outage.id, why: Why::Flapping }),
            _ => self.tell(around, graced, effects),
        }
    }

    fn settle(&mut self, at: Timestamp, effects: &mut Vec<Effect>) {
        match (self.phase, &self.outage) {
            (Phase::Up | Phase::New | Phase::Suspect, _) => {
                let since = if self.streak.failing { at } else { self.streak.since };
                self.end(since, true, effects);
            }
            (_, Some(outage)) if outage.opened => effects.push(Effect::Again { id: outage.id, why: Why::SettledDown }),
            _ => {}
        }
    }

    fn end(&mut self, ended_at: Timestamp, settled: bool, effects: &mut Vec<Effect>) {
        let Some(Outage { id, began_at, opened, held }) = self.outage.take() else { return };
        effects.push(if opened {
            Effect::Resolved { id, began_at, ended_at, settled }
        } else {
            Effect::Suppressed { id, began_at, ended_at, by: held }
        });
    }

    /// Opens the alert of an outage that nobody knows of, unless something holds it.
    fn tell(&mut self, around: &Around, graced: bool, effects: &mut Vec<Effect>) {
        let why = match self.phase {
            _ if self.flapping => Why::Flapping,
            Phase::Down => Why::Down,
            _ => return,
        };
        let Some(outage) = self.outage.as_mut().filter(|outage| !outage.opened) else { return };
        match around.held() {
            Some(by) => {
                if outage.held.as_ref() != Some(&by) {
                    effects.push(Effect::Held { id: outage.id, began_at: outage.began_at, by: by.clone() });
                    outage.held = Some(by);
                }
            }
            None if graced => {}
            None => {
                outage.opened = true;
                effects.push(Effect::Opened { id: outage.id, why, began_at: outage.began_at });
            }
        }
    }

    /// What the present counts as.
    fn standing(&self) -> Standing {
        let of = |outcome: Option<Outcome>| match outcome {
            Some(Outcome::Up) => Standing::Up,
            Some(Outcome::Degraded) => Standing::Degraded,
            Some(Outcome::Down) => Standing::Down,
            Some(Outcome::Unknown) | None => Standing::Unknown,
        };
        match self.phase {
            _ if self.maintenance => Standing::Maintenance,
            _ if self.blind || self.unknown => Standing::Unknown,
            _ if self.flapping => of(self.last),
            Phase::New => Standing::Unknown,
            Phase::Up | Phase::Suspect => of(self.last_ok),
            Phase::Down | Phase::Recovering => of(self.last_fail),
        }
    }

    /// What a row of runs confirmed counts from its first run, unless something else was written since.
    fn flip_to(&mut self, standing: Standing, at: Timestamp, confirmed: bool, effects: &mut Vec<Effect>) {
        let written = self.flip.map_or(self.streak.since, |flip| flip.at);
        if self.flip.is_some_and(|flip| flip.standing == standing) {
            return;
        }
        let known = matches!(standing, Standing::Up | Standing::Degraded | Standing::Down);
        let at = if confirmed && known && self.streak.since >= written { self.streak.since } else { at };
        let flip = Flip { at: self.flip.map_or(at, |flip| at.max(flip.at)), standing };
        self.flip = Some(flip);
        effects.push(Effect::Flip(flip));
    }
}

/// What became of a run.
#[derive(Clone, Copy, Default)]
struct Taken {
    failed: bool,
    /// It is the first after a hold: it opens nothing.
    graced: bool,
    /// It confirmed that the check is down, or up again.
    confirmed: bool,
}

/// What became of flapping with a run.
enum Flapped {
    No,
    Began,
    Ended,
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
