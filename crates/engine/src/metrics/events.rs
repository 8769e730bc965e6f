//! What platform lines say besides numbers: scaling, restarts, crashes, and the state each dyno is in. Kept until the next
//! flush writes it down; a line that comes twice is written once.

use std::collections::BTreeMap;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::app_event::{AppEvent, DynoState, EventKind};
use dynowatch_domain::metric::dyno_type;
use dynowatch_logplex::{ApiEvent, ApiLine};

use super::recorder::is_one_off;
use crate::adapter::clean;

/// Events and states that may wait for a flush. Later ones are dropped: a flush is ten seconds away.
const WAITING_MAX: usize = 5_000;
/// Restarts of a process type within this time are one event.
const RESTARTS_JOIN: Duration = Duration::from_secs(60);

/// A counter to be raised.
pub(super) struct Told {
    pub(super) metric: String,
    pub(super) label: String,
}

/// Events that wait to be written.
#[derive(Default)]
pub(crate) struct Events {
    pub(super) waiting: Vec<AppEvent>,
    pub(super) states: Vec<DynoState>,
    restarted: BTreeMap<String, Timestamp>,
}

impl Events {
    /// A dyno has a new state.
    pub(super) fn state(&mut self, at: Timestamp, dyno: &[u8], state: &str) {
        let dyno = dynowatch_domain::metric::name_of(dyno);
        // A one-off dyno comes once and is of no interest when it is gone.
        if dyno_type(&dyno).is_none_or(is_one_off) {
            return;
        }
        if state == "crashed" {
            self.push(AppEvent { at, kind: EventKind::Crash, source: dyno.clone(), actor: None, what: None });
        }
        if self.states.len() < WAITING_MAX {
            self.states.push(DynoState { dyno, state: state.to_owned(), at });
        }
    }

    /// A dyno restarts for a reason.
    pub(super) fn restart(&mut self, at: Timestamp, dyno: &[u8]) {
        let dyno = dynowatch_domain::metric::name_of(dyno);
        let Some(process) = dyno_type(&dyno).filter(|process| !is_one_off(process)) else { return };
        let joined = self.restarted.get(process).is_some_and(|last| at.since(*last) < RESTARTS_JOIN && at >= *last);
        if !joined {
            if self.restarted.len() >= WAITING_MAX {
                self.restarted.clear();
            }
            self.restarted.insert(process.to_owned(), at);
            // The beginning of the minute, so that two processes that each saw some of them write one event.
            let at = at.floor(RESTARTS_JOIN);
            self.push(AppEvent { at, kind: EventKind::Restart, source: process.to_owned(), actor: None, what: None });
        }
    }

    /// Somebody did something through the API.
    pub(super) fn api(&mut self, at: Timestamp, line: &ApiLine<'_>) {
        if let ApiEvent::Scaled { formation } = line.event {
            self.push(AppEvent {
                at,
                kind: EventKind::Scale,
                source: String::new(),
                actor: line.actor.map(|actor| clean(actor, 120)),
                what: Some(clean(formation, 400)),
            });
        }
    }

    fn push(&mut self, event: AppEvent) {
        if self.waiting.len() < WAITING_MAX {
            self.waiting.push(event);
        }
    }

    /// Hands over what waits.
    pub(crate) fn take(&mut self) -> (Vec<AppEvent>, Vec<DynoState>) {
        (std::mem::take(&mut self.waiting), std::mem::take(&mut self.states))
    }
}
