//! Replacing an app's log drain by another, so that its URL, and the secret in it, change and no line is lost or counted
//! twice. Heroku cannot change a drain: a second one is added, for a while both deliver every line, then the first is
//! removed.
//!
//! Which of the two counts is decided line by line, by the line's own stamp, which both carry: those before the
//! *cutover* count where the old drain delivers them, all others where the new one does. So it does not matter in which
//! order, batches or requests they arrive. The cutover is a moment in the near future, chosen when the new drain has
//! delivered for the first time and written down before it comes, so that every process knows of it in time.
//!
//! A [`Rotation`] is a row; [`Rotation::step`] is all that happens to it. Each open one has a next wake-up, and an
//! operator's way out: [`Event::Abandon`] and [`Event::Proceed`].

use std::time::Duration;

use serde::Serialize;
use uuid::Uuid;

use crate::{AppId, Timestamp};

/// From the decision to the cutover: every process looks at the rows every two seconds.
pub const NOTICE: Duration = Duration::from_secs(15);
/// From the cutover to the removal: what the old drain still has to deliver.
pub const GRACE: Duration = Duration::from_secs(60);
/// How late an abandonment may come before the cutover.
const ABANDON_BEFORE: Duration = Duration::from_secs(6);
/// If the old drain delivers and the new one has not for this long, the new one does not work.
pub const PROOF_MAX: Duration = Duration::from_secs(900);
/// If neither delivers for this long, the old one stays.
pub const SILENCE_MAX: Duration = Duration::from_secs(86_400);
/// How often a drain that has not delivered is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The same after [`PROOF_MAX`].
const LOOK_LATER: Duration = Duration::from_secs(60);
/// A call that adds a drain may do its work this long after it was given up: it takes 45 s with all its tries, and so may the
/// look before it.
const CREATE_SETTLES: Duration = Duration::from_secs(120);
/// How often such a late drain is looked for.
const LOOK_FOR_LATE: Duration = Duration::from_secs(15);
/// The longest wait before a call is made again.
const RETRY_MAX: Duration = Duration::from_secs(3_600);
/// For how long after its end the cutover is still looked at: for lines that come late.
pub const SHARES_KEPT: Duration = Duration::from_secs(86_400);

/// Which lines of a drain count: those stamped in `[from, until)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// The first moment that counts; `None`: from the beginning.
    pub from: Option<Timestamp>,
    /// The first moment that does not; `None`: for ever.
    pub until: Option<Timestamp>,
}

impl Share {
    /// Every line counts.
    pub const ALL: Self = Self { from: None, until: None };
    /// No line counts.
    pub const NONE: Self = Self { from: None, until: Some(Timestamp::from_micros(i64::MIN)) };

    /// Whether a line of this stamp counts.
    #[must_use]
    pub fn counts(&self, at: Timestamp) -> bool {
        self.from.is_none_or(|from| at >= from) && self.until.is_none_or(|until| at < until)
    }

    /// What both count.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        let until = match (self.until, other.until) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self { from: self.from.max(other.from), until }
    }
}

/// Where a rotation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The new drain is to be added, or was and nobody knows.
    Creating,
    /// It is there; its first delivery is waited for.
    Proving,
    /// The cutover is fixed.
    Cutting,
    /// The old drain is to be removed.
    Removing,
    /// It was abandoned: the new drain is to be removed.
    Reverting,
    /// The new drain took over.
    Done,
    /// The old drain stayed.
    Abandoned,
    /// The old drain stayed, because the new one could not be added or did not deliver.
    Failed,
    /// An operator left it where it stood: one drain too many is there, and does not count.
    Left,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Creating,
        Self::Proving,
        Self::Cutting,
        Self::Removing,
        Self::Reverting,
        Self::Done,
        Self::Abandoned,
        Self::Failed,
        Self::Left,
    ];

    /// The name used in the store and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::Proving => "proving",
            Self::Cutting => "cutting",
            Self::Removing => "removing",
            Self::Reverting => "reverting",
            Self::Done => "done",
            Self::Abandoned => "abandoned",
            Self::Failed => "failed",
            Self::Left => "left",
        }
    }

    /// The state of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }

    /// Nothing more happens by itself.
    #[must_use]
    pub fn is_end(self) -> bool {
        matches!(self, Self::Done | Self::Abandoned | Self::Failed | Self::Left)
    }
}

/// A drain as Heroku knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrainRef {
    /// Its id.
    pub id: Uuid,
    /// What Logplex sends with its deliveries.
    pub token: String,
}

/// A drain being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Its id.
    pub id: Uuid,
    /// Whose drain.
    pub app: AppId,
    /// Grows with every step.
    pub version: i64,
    /// Where it stands.
    pub state: State,
    /// What the new drain's URL carries, so that it is known before Heroku has told its token.
    pub mark: String,
    /// The drain that is replaced.
    pub old: DrainRef,
    /// What the old drain's URL carries, if it is the new one of an earlier rotation.
    pub old_mark: Option<String>,
    /// The one that replaces it, once there.
    pub new: Option<DrainRef>,
    /// When the old one last delivered since the rotation began.
    pub old_delivered_at: Option<Timestamp>,
    /// When the new one first delivered.
    pub new_delivered_at: Option<Timestamp>,
    /// From this stamp on the new one counts.
    pub cutover_at: Option<Timestamp>,
    /// When it goes on; `None` at its end.
    pub next_at: Option<Timestamp>,
    /// Calls in a row that did not work.
    pub attempts: u32,
    /// What went wrong last, in words.
    pub problem: Option<String>,
    /// Who asked for it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// When it last moved.
    pub changed_at: Timestamp,
}

/// What is to be done at Heroku.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// Nothing: time passes.
    Nothing,
    /// Add the new drain, unless it is there.
    Create,
    /// Remove the old drain.
    RemoveOld,
    /// Remove the new drain, if it is there.
    RemoveNew,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Its time came.
    Wake,
    /// The new drain is there.
    Created(DrainRef),
    /// What was to be removed is gone.
    Removed,
    /// A call did not work; another time it may.
    Delayed(String),
    /// A call will not work.
    Refused(String),
    /// An operator wants the old drain to stay; where that is too late, wants no more to be done.
    Abandon,
    /// An operator does not want to wait for the new drain's first delivery.
    Proceed,
}

/// What cannot be asked of a rotation where it stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rotation is {}: {what}", state.as_str())]
pub struct Illegal {
    state: State,
    what: &'static str,
}

impl Rotation {
    /// A rotation that begins now.
    #[must_use]
    pub fn new(id: Uuid, app: AppId, mark: String, old: DrainRef, by: &str, now: Timestamp) -> Self {
        Self {
            id,
            app,
            version: 1,
            state: State::Creating,
            mark,
            old,
            old_mark: None,
            new: None,
            old_delivered_at: None,
            new_delivered_at: None,
            cutover_at: None,
            next_at: Some(now),
            attempts: 0,
            problem: None,
            by: by.to_owned(),
            created_at: now,
            changed_at: now,
        }
    }

    /// What is to be done at Heroku now.
    #[must_use]
    pub fn call(&self) -> Call {
        match self.state {
            State::Creating => Call::Create,
            State::Removing => Call::RemoveOld,
            State::Reverting => Call::RemoveNew,
            _ => Call::Nothing,
        }
    }

    /// The next state.
    ///
    /// # Errors
    /// When the event cannot be where it stands.
    pub fn step(&self, event: Event, now: Timestamp) -> Result<Self, Illegal> {
        let next = Self { version: self.version + 1, changed_at: now, ..self.clone() };
        let illegal = |what| Err(Illegal { state: self.state, what });
        match (self.state, event) {
            (State::Creating, Event::Created(new)) => {
                Ok(Self { new: Some(new), ..next }.to(State::Proving, Some(now + LOOK_EVERY)))
            }
            (State::Creating, Event::Refused(why)) => Ok(next.to(State::Failed, None).because(why)),
            (State::Proving, Event::Wake) => Ok(next.look(now)),
            (State::Proving, Event::Proceed) => Ok(next.cut(now)),
            (State::Creating | State::Proving, Event::Abandon) => Ok(next.to(State::Reverting, Some(now))),
            (State::Cutting, Event::Abandon) => {
                if self.cutover_at.is_some_and(|cutover| now + ABANDON_BEFORE < cutover) {
                    Ok(Self { cutover_at: None, ..next }.to(State::Reverting, Some(now)))
                } else {
                    illegal("the new drain has taken over; wait until the old one is removed")
                }
            }
            (State::Cutting, Event::Wake) if self.next_at.is_none_or(|at| now >= at) => {
                Ok(next.to(State::Removing, Some(now)))
            }
            (State::Removing, Event::Removed) => Ok(next.to(State::Done, None)),
            // It was abandoned while the drain was being added: a call on its way may still add it.
            (State::Reverting, Event::Removed) if self.new.is_none() && now.since(self.changed_at) < CREATE_SETTLES => {
                Ok(Self { next_at: Some(now + LOOK_FOR_LATE), changed_at: self.changed_at, ..next })
            }
            (State::Reverting, Event::Removed) => {
                let end = if self.problem.is_some() { State::Failed } else { State::Abandoned };
                Ok(Self { problem: self.problem.clone(), ..next.to(end, None) })
            }
            (State::Removing | State::Reverting, Event::Abandon) => {
                let why = "left by an operator: a drain is there that does not count";
                Ok(next.to(State::Left, None).because(why.to_owned()))
            }
            (State::Creating | State::Removing, Event::Delayed(why)) | (State::Removing, Event::Refused(why)) => {
                Ok(next.again(now).because(why))
            }
            // Why it is reverted is worth more than why that takes long.
            (State::Reverting, Event::Delayed(_) | Event::Refused(_)) => Ok(next.again(now)),
            (state, Event::Wake) if !state.is_end() => Ok(next),
            (state, _) if state.is_end() => illegal("it has ended; begin another"),
            _ => illegal("that cannot be done now; wait for its next step"),
        }
    }

    fn to(self, state: State, next_at: Option<Timestamp>) -> Self {
        Self { state, next_at, attempts: 0, problem: None, ..self }
    }

    fn because(self, why: String) -> Self {
        Self { problem: Some(why), ..self }
    }

    fn again(self, now: Timestamp) -> Self {
        let wait = Duration::from_secs(5).saturating_mul(2_u32.saturating_pow(self.attempts.min(12)));
        Self { attempts: self.attempts.saturating_add(1), next_at: Some(now + wait.min(RETRY_MAX)), ..self }
    }

    fn cut(self, now: Timestamp) -> Self {
        let cutover = now + NOTICE;
        Self { cutover_at: Some(cutover), ..self }.to(State::Cutting, Some(cutover + GRACE))
    }

    fn look(self, now: Timestamp) -> Self {
        if self.new_delivered_at.is_some() {
            return self.cut(now);
        }
        let waited = now.since(self.created_at);
        let old_delivers = self.old_delivered_at.is_some_and(|at| at.since(self.created_at) >= PROOF_MAX / 2);
        if waited >= PROOF_MAX && old_delivers {
            let why = "the old drain delivers and the new one does not: see that its address reaches this instance";
            return self.to(State::Reverting, Some(now)).because(why.to_owned());
        }
        if waited >= SILENCE_MAX {
            let why = "neither drain delivered a line for a day, so the new one is not proved to work";
            return self.to(State::Reverting, Some(now)).because(why.to_owned());
        }
        let pause = if waited < PROOF_MAX { LOOK_EVERY } else { LOOK_LATER };
        Self { next_at: Some(now + pause), ..self }
    }

    /// How it stands, as the beginning of a sentence; `when` prints a moment.
    #[must_use]
    pub fn in_words(&self, when: impl Fn(Timestamp) -> String) -> String {
        let state = match self.state {
            State::Creating => "the new drain is being added".to_owned(),
            State::Proving => "the new drain is there; its first delivery is waited for".to_owned(),
            State::Cutting => match self.cutover_at {
                Some(at) => format!("the new drain takes over at {}; the old one is removed a minute later", when(at)),
                None => "the new drain takes over".to_owned(),
            },
            State::Removing => "the new drain has taken over; the old one is being removed".to_owned(),
            State::Reverting => "it was ended; the new drain is being removed".to_owned(),
            State::Done => format!("the drain was replaced at {}", when(self.changed_at)),
            State::Abandoned => "the last replacement was abandoned; the old drain stayed".to_owned(),
            State::Failed => "the last replacement failed; the old drain stayed".to_owned(),
            State::Left => {
                let old = format!("the old drain {}", self.old.id);
                let new =
                    self.new.as_ref().map_or("the new drain".to_owned(), |new| format!("the new drain {}", new.id));
                let (counts, too_many) = if self.cutover_at.is_some() { (new, old) } else { (old, new) };
                format!(
                    "the last replacement was left where it stood: {counts} counts, {too_many} does not and can be removed"
                )
            }
        };
        let problem = self.problem.as_ref().map(|problem| format!(" ({problem})")).unwrap_or_default();
        format!("{state}{problem}")
    }

    /// What counts of the old drain.
    #[must_use]
    pub fn old_share(&self) -> Share {
        Share { from: None, until: self.cutover_at }
    }

    /// What counts of the new drain: nothing before there is a cutover.
    #[must_use]
    pub fn new_share(&self) -> Share {
        self.cutover_at.map_or(Share::NONE, |cutover| Share { from: Some(cutover), until: None })
    }

    /// Whether lines may still come for which the shares matter.
    #[must_use]
    pub fn shares_matter(&self, now: Timestamp) -> bool {
        self.state != State::Done || now.since(self.changed_at) < SHARES_KEPT
    }
}

#[cfg(test)]
#[path = "drain_rotation_tests.rs"]
mod tests;
