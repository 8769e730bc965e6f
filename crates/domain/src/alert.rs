//! The life of an alert: quiet, pending, firing, resolved. One [`Track`] per key holds where it stands; every change is
//! `(track, input, now) -> effects`, and each effect says why. The same effects become rows, messages and the
//! "why it fired, why it was not sent" of a page.
//!
//! Times are absolute and `now` comes in, so a track that was saved, lost its process and was loaded again goes on as if
//! nothing had happened. [`Track::next_wake`] says when it must be looked at even if nothing arrives.
//!
//! Meaning of the parts (contract C1-C10): an alert fires with the line that makes its condition true (after
//! `pending_for`, when given); from then on the key is silent for `cooldown`; a match at or after its end while the
//! condition holds is told as "still firing", with what was held back; it resolves when the condition was false for
//! `resolve_after`. If it fires again inside the cool-down of its predecessor, the message waits for its end.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rule::{Condition, Rule};
use crate::threshold::Level;
use crate::{AlertId, NewId, Timestamp};

/// What a look at a share or a silence says is taken to hold for this long. Looks come every ten seconds; one may be
/// missed before "without a break" can no longer be said.
pub const LOOK_HOLDS: Duration = Duration::from_secs(20);

/// Where a key stands between events.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is wrong.
    #[default]
    Quiet,
    /// The condition holds, but not yet for `pending_for`.
    Pending {
        /// Since when it has held without a break.
        since: Timestamp,
        /// Until when it will, if nothing more arrives.
        holds_until: Timestamp,
        /// What to say if it fires.
        facts: Facts,
    },
    /// An alert is open.
    Firing(Firing),
}

/// An open alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// Its id.
    pub alert: AlertId,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Whether anyone was told, or was to be told.
    pub told: bool,
    /// Until when the condition holds, or held. It resolves `resolve_after` later.
    pub holds_until: Timestamp,
    /// The newest numbers.
    pub facts: Facts,
    /// Matches since the last message.
    pub suppressed: u64,
    /// The decisions about held-back matches that were already recorded since the last message.
    pub noted: Noted,
}

/// Which decisions were recorded since the last message: one line each is enough, however long the storm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Noted {
    /// A match fell into the cool-down.
    pub cooldown: bool,
    /// A match joined the open alert without making its condition true.
    pub merged: bool,
    /// The condition could not be judged.
    pub unknown: bool,
}

/// The numbers a message speaks of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Facts {
    /// Events in the window; for a ratio the requests that fit, for an absence the lines seen.
    pub count: u64,
    /// For a ratio, all requests of the window.
    pub of: Option<u64>,
    /// For a threshold, what was measured; `None` when it fired for want of data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<Level>,
    /// The count may be too low: lines were lost or no longer kept.
    pub lower_bound: bool,
    /// The stamp of the line that made it true, or the end of the window that did.
    pub at: Timestamp,
    /// The first event of this episode.
    pub first_at: Timestamp,
    /// The newest event.
    pub last_at: Timestamp,
}

/// Everything that is remembered of a key between events, besides its window.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Track {
    /// Where it stands.
    #[serde(flatten)]
    pub phase: Phase,
    /// No message before this.
    pub cooldown_until: Option<Timestamp>,
    /// The last alert of this key, which a new one links to.
    pub previous: Option<AlertId>,
}

/// What a message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoticeKind {
    /// It began.
    Firing,
    /// It goes on, after a cool-down.
    StillFiring,
    /// It is over.
    Resolved,
    /// A human tried out the receiver.
    Test,
}

impl NoticeKind {
    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::StillFiring => "still_firing",
            Self::Resolved => "resolved",
            Self::Test => "test",
        }
    }
}

/// Why an alert is over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum ResolveReason {
    /// The condition was false for `resolve_after`.
    ConditionFalse,
    /// Someone closed it by its key.
    ClosedByOperator {
        /// Who, as far as known.
        by: String,
    },
    /// Its rule was switched off, removed or changed into another.
    RuleGone,
}

/// What follows from an event. The order is the order to carry them out in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub enum Effect {
    /// The condition began to hold; it must go on for `pending_for`.
    PendingBegan {
        /// When the alert fires if it does.
        fires_at: Timestamp,
    },
    /// The condition broke before `pending_for` was over.
    PendingDropped {
        /// When it broke.
        at: Timestamp,
    },
    /// An alert fired.
    Fired {
        /// Its id.
        alert: AlertId,
        /// The alert of the same key before it.
        previous: Option<AlertId>,
        /// Its numbers.
        facts: Facts,
        /// It is inside the cool-down of its predecessor: nobody is told before this.
        silent_until: Option<Timestamp>,
    },
    /// Tell the rule's receivers.
    Notify {
        /// The alert.
        alert: AlertId,
        /// What to tell.
        kind: NoticeKind,
        /// The numbers.
        facts: Facts,
        /// Matches that were not told.
        suppressed: u64,
        /// No further message before this.
        cooldown_until: Timestamp,
    },
    /// Matches from here on are held back until then.
    CooldownHeld {
        /// The alert.
        alert: AlertId,
        /// When the next message may go.
        until: Timestamp,
    },
    /// Matches joined an open alert whose condition no longer holds.
    Merged {
        /// The alert.
        alert: AlertId,
    },
    /// The condition cannot be judged, so the open alert stays as it is.
    HeldUnknown {
        /// The alert.
        alert: AlertId,
    },
    /// The alert is over.
    Resolved {
        /// The alert.
        alert: AlertId,
        /// Why.
        reason: ResolveReason,
        /// Its last numbers.
        facts: Facts,
        /// Whether anyone was told of it at all.
        told: bool,
    },
}

impl Effect {
    /// The alert this is about, if one is open.
    #[must_use]
    pub fn alert(&self) -> Option<AlertId> {
        match self {
            Self::PendingBegan { .. } | Self::PendingDropped { .. } => None,
            Self::Fired { alert, .. }
            | Self::Notify { alert, .. }
            | Self::CooldownHeld { alert, .. }
            | Self::Merged { alert }
            | Self::HeldUnknown { alert }
            | Self::Resolved { alert, .. } => Some(*alert),
        }
    }
}

/// What a rule's condition says when it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds, and does so until then if nothing more arrives.
    Holds {
        /// The numbers.
        facts: Facts,
        /// Until when.
        until: Timestamp,
        /// Whether something new happened. Only a new match may repeat a message.
        fresh: bool,
    },
    /// It does not hold.
    Fails {
        /// For a count, the numbers with the match that happened all the same. `None` for a share or a silence that was
        /// looked at: it has ended by now, however long the last look took it to hold.
        matched: Option<Facts>,
    },
    /// Our own blindness does not let us say.
    Unknown,
}

impl Track {
    /// Takes a verdict. Due timers go first, so that a late look gives what a punctual one would have given.
    pub fn observe(&mut self, rule: &Rule, verdict: Verdict, now: Timestamp, ids: &mut dyn NewId) -> Vec<Effect> {
        let mut effects = Vec::new();
        match verdict {
            Verdict::Holds { facts, until, fresh } => {
                effects.extend(self.wake(rule, now, ids));
                self.holds(rule, facts, until, fresh, now, ids, &mut effects);
            }
            Verdict::Fails { matched: Some(facts) } => {
                effects.extend(self.wake(rule, now, ids));
                self.matched(facts, &mut effects);
            }
            // What is seen now goes before timers that rest on the last look.
            Verdict::Fails { matched: None } => {
                self.ended(now, &mut effects);
                effects.extend(self.wake(rule, now, ids));
            }
            // While we are blind, an open alert neither resolves nor repeats.
            Verdict::Unknown => self.unknown(rule, now, &mut effects),
        }
        effects
    }

    /// Does what is due at `now`, in the order in which it fell due. Calling it early or twice does nothing, and
    /// afterwards [`Track::next_wake`] lies ahead of `now`.
    pub fn wake(&mut self, rule: &Rule, now: Timestamp, ids: &mut dyn NewId) -> Vec<Effect> {
        let mut effects = Vec::new();
        // Each turn ends a phase or tells what was untold, so three turns are the most there can be.
        while self.next_wake(rule).is_some_and(|due| due <= now) {
            match &mut self.phase {
                Phase::Quiet => break,
                Phase::Pending { since, holds_until, facts } => {
                    let (fires_at, breaks_at, facts) = (*since + rule.pending_for, *holds_until, facts.clone());
                    // That a share or a silence still holds is known by looking only.
                    if fires_at <= breaks_at && is_count(rule) {
                        self.fire(rule, facts, breaks_at, now, ids, &mut effects);
                    } else {
                        self.phase = Phase::Quiet;
                        effects.push(Effect::PendingDropped { at: breaks_at });
                    }
                }
                Phase::Firing(firing) => {
                    let resolve_at = firing.resolve_at(rule);
                    // Even when both are overdue, as after an outage: what was to be told is told.
                    if firing.tell_at(self.cooldown_until).is_some_and(|tell_at| tell_at < resolve_at) {
                        notify(firing, &mut self.cooldown_until, NoticeKind::Firing, rule.cooldown, now, &mut effects);
                    } else {
                        self.resolve(ResolveReason::ConditionFalse, &mut effects);
                    }
                }
            }
        }
        effects
    }

    /// Closes an open alert, whatever its condition says. Nothing open is nothing to do.
    pub fn close(&mut self, reason: ResolveReason) -> Vec<Effect> {
        let mut effects = Vec::new();
        match self.phase {
            Phase::Quiet => {}
            Phase::Pending { since, .. } => {
                self.phase = Phase::Quiet;
                effects.push(Effect::PendingDropped { at: since });
            }
            Phase::Firing(_) => self.resolve(reason, &mut effects),
        }
        effects
    }

    /// When [`Track::wake`] must be called next; `None` when nothing will happen by itself.
    #[must_use]
    pub fn next_wake(&self, rule: &Rule) -> Option<Timestamp> {
        match &self.phase {
            Phase::Quiet => None,
            Phase::Pending { since, holds_until, .. } if is_count(rule) => {
                Some((*since + rule.pending_for).min(*holds_until))
            }
            Phase::Pending { holds_until, .. } => Some(*holds_until),
            Phase::Firing(firing) => {
                let resolve_at = firing.resolve_at(rule);
                Some(firing.tell_at(self.cooldown_until).map_or(resolve_at, |tell_at| tell_at.min(resolve_at)))
            }
        }
    }

    /// Whether nothing is open and no cool-down runs, so that the row may be forgotten.
    #[must_use]
    pub fn is_idle(&self, now: Timestamp) -> bool {
        self.phase == Phase::Quiet && self.cooldown_until.is_none_or(|until| until <= now)
    }

    /// The open alert, if any.
    #[must_use]
    pub fn firing(&self) -> Option<&Firing> {
        match &self.phase {
            Phase::Firing(firing) => Some(firing),
            Phase::Quiet | Phase::Pending { .. } => None,
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one verdict, taken apart once, here")]
    fn holds(
        &mut self,
        rule: &Rule,
        facts: Facts,
        until: Timestamp,
        fresh: bool,
        now: Timestamp,
        ids: &mut dyn NewId,
        effects: &mut Vec<Effect>,
    ) {
        match &mut self.phase {
            Phase::Quiet if rule.pending_for.is_zero() => self.fire(rule, facts, until, now, ids, effects),
            Phase::Quiet => {
                let fires_at = now + rule.pending_for;
                self.phase = Phase::Pending { since: now, holds_until: until.max(now), facts };
                effects.push(Effect::PendingBegan { fires_at });
            }
            Phase::Pending { since, holds_until, facts: known } => {
                *holds_until = until.max(*holds_until);
                *known = Facts { first_at: known.first_at.min(facts.first_at), ..facts };
                if !is_count(rule) && *since + rule.pending_for <= now {
                    let (facts, holds_until) = (known.clone(), *holds_until);
                    self.fire(rule, facts, holds_until, now, ids, effects);
                }
            }
            Phase::Firing(firing) => {
                firing.holds_until = firing.holds_until.max(until).max(now);
                firing.join(facts);
                if fresh {
                    // A share or a level is looked at again and again: those looks are no matches.
                    let matches = u64::from(is_count(rule));
                    firing.suppressed += matches;
                    match self.cooldown_until.filter(|until| now < *until) {
                        Some(until) if !firing.noted.cooldown => {
                            firing.noted.cooldown = true;
                            effects.push(Effect::CooldownHeld { alert: firing.alert, until });
                        }
                        Some(_) => {}
                        // The match that breaks the silence is told, not suppressed.
                        None => {
                            firing.suppressed -= matches;
                            notify(
                                firing,
                                &mut self.cooldown_until,
                                NoticeKind::StillFiring,
                                rule.cooldown,
                                now,
                                effects,
                            );
                        }
                    }
                }
            }
        }
    }

    /// A match that does not make the condition true joins an open alert.
    fn matched(&mut self, facts: Facts, effects: &mut Vec<Effect>) {
        if let Phase::Firing(firing) = &mut self.phase {
            firing.join(facts);
            firing.suppressed += 1;
            if !firing.noted.merged {
                firing.noted.merged = true;
                effects.push(Effect::Merged { alert: firing.alert });
            }
        }
    }

    /// A share or a silence that was looked at is over.
    fn ended(&mut self, now: Timestamp, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Quiet => {}
            Phase::Pending { holds_until, .. } => {
                effects.push(Effect::PendingDropped { at: now.min(*holds_until) });
                self.phase = Phase::Quiet;
            }
            // Holding until the next look was a guess; now it is known when it ended.
            Phase::Firing(firing) => firing.holds_until = firing.holds_until.min(now),
        }
    }

    fn unknown(&mut self, rule: &Rule, now: Timestamp, effects: &mut Vec<Effect>) {
        match &mut self.phase {
            Phase::Quiet => {}
            // "Without a break" cannot be said of a time we did not see: it starts over.
            Phase::Pending { .. } => {
                self.phase = Phase::Quiet;
                effects.push(Effect::PendingDropped { at: now });
            }
            Phase::Firing(firing) => {
                firing.holds_until = firing.holds_until.max(now + LOOK_HOLDS);
                // That it fired is known, and the message about it has waited long enough.
                if firing.tell_at(self.cooldown_until).is_some_and(|tell_at| tell_at <= now) {
                    notify(firing, &mut self.cooldown_until, NoticeKind::Firing, rule.cooldown, now, effects);
                }
                if !firing.noted.unknown {
                    firing.noted.unknown = true;
                    effects.push(Effect::HeldUnknown { alert: firing.alert });
                }
            }
        }
    }

    fn fire(
        &mut self,
        rule: &Rule,
        facts: Facts,
        holds_until: Timestamp,
        now: Timestamp,
        ids: &mut dyn NewId,
        effects: &mut Vec<Effect>,
    ) {
        let alert = AlertId(ids.new_id(now));
        let silent_until = self.cooldown_until.filter(|until| now < *until);
        let previous = self.previous.replace(alert);
        effects.push(Effect::Fired { alert, previous, facts: facts.clone(), silent_until });
        let mut firing = Firing {
            alert,
            fired_at: now,
            told: false,
            holds_until: holds_until.max(now),
            facts,
            suppressed: 0,
            noted: Noted::default(),
        };
        if silent_until.is_none() {
            notify(&mut firing, &mut self.cooldown_until, NoticeKind::Firing, rule.cooldown, now, effects);
        }
        self.phase = Phase::Firing(firing);
    }

    fn resolve(&mut self, reason: ResolveReason, effects: &mut Vec<Effect>) {
        if let Phase::Firing(firing) = std::mem::take(&mut self.phase) {
            effects.push(Effect::Resolved { alert: firing.alert, reason, facts: firing.facts, told: firing.told });
        }
    }
}

impl Firing {
    fn resolve_at(&self, rule: &Rule) -> Timestamp {
        self.holds_until.max(self.fired_at) + rule.resolve_after
    }

    /// When the first message goes out, while it still waits for a cool-down.
    fn tell_at(&self, cooldown_until: Option<Timestamp>) -> Option<Timestamp> {
        (!self.told).then(|| cooldown_until.unwrap_or(self.fired_at))
    }

    /// Takes newer numbers, keeping the episode's first event and its newest.
    fn join(&mut self, facts: Facts) {
        let (first_at, last_at) = (self.facts.first_at.min(facts.first_at), self.facts.last_at.max(facts.last_at));
        self.facts = Facts { first_at, last_at, ..facts };
    }
}

fn is_count(rule: &Rule) -> bool {
    matches!(rule.condition, Condition::Count { .. })
}

fn notify(
    firing: &mut Firing,
    cooldown: &mut Option<Timestamp>,
    kind: NoticeKind,
    length: Duration,
    now: Timestamp,
    effects: &mut Vec<Effect>,
) {
    let cooldown_until = now + length;
    effects.push(Effect::Notify {
        alert: firing.alert,
        kind,
        facts: firing.facts.clone(),
        suppressed: firing.suppressed,
        cooldown_until,
    });
    *cooldown = Some(cooldown_until);
    firing.told = true;
    firing.suppressed = 0;
    firing.noted = Noted::default();
}

#[cfg(test)]
#[path = "alert_tests.rs"]
mod tests;
