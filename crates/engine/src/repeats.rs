//! Batches without a Frame-Id, told from their repetition by what is in them. A sender that did not get our answer sends
//! the same body again within seconds, perhaps to another process; a person who tries the drain out may send one body
//! several times and mean each of them.
//!
//! So a batch is known by its body and by how often this process has answered that body before: a repetition of what was
//! answered is another batch, one of what was not answered is the same. The store knows such a batch for [`KNOWN_MIN`] to
//! twice that, unless it was answered: then it is forgotten there at once, so that an equal one counts at any process.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use dynowatch_domain::{AppId, Timestamp};
use sha2::{Digest as _, Sha256};

/// For how long at least a batch without a Frame-Id is known, and at most twice as long. Logplex repeats within seconds.
pub(crate) const KNOWN_MIN: Duration = Duration::from_secs(30);
/// Bodies whose answers are counted; the oldest are forgotten.
const BODIES_MAX: usize = 8_192;
/// Answered batches that the store is to forget. Beyond that it forgets them by their age.
const SETTLED_MAX: usize = 8_192;

/// Enough of the SHA-256 of a body, of one app.
pub(crate) type Body = (AppId, [u8; 16]);

/// A batch without a Frame-Id: its body, and how many equal ones were answered before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unnamed {
    body: Body,
    number: u32,
}

impl Unnamed {
    /// What the store knows it by. Time goes in steps; a batch belongs to its own and to the one before, so that one that
    /// comes at the end of a step is known in the next.
    pub(crate) fn frame_ids(&self, now: Timestamp) -> Vec<String> {
        let step = now.floor(KNOWN_MIN).as_seconds();
        let length = i64::try_from(KNOWN_MIN.as_secs()).unwrap_or(i64::MAX);
        let name = self.body.1.iter().fold(String::from("body:"), |name, byte| name + &format!("{byte:02x}"));
        [step, step - length].map(|step| format!("{name}:{}@{step}", self.number)).into()
    }
}

/// How often each body was answered.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    bodies: HashMap<Body, Known>,
    /// In the order in which they were first seen.
    order: VecDeque<Body>,
    /// Answered batches that the store still knows.
    settled: Vec<(AppId, String)>,
}

#[derive(Debug)]
struct Known {
    next: u32,
    /// Numbers of batches that were not answered with a yes, so that they may come again.
    open: Vec<u32>,
    seen_at: Timestamp,
}

impl Answered {
    /// A batch with this body begins.
    pub(crate) fn begin(&mut self, app: AppId, body: &[u8], now: Timestamp) -> Unnamed {
        let mut short = [0; 16];
        short.iter_mut().zip(Sha256::digest(body)).for_each(|(to, byte)| *to = byte);
        let body = (app, short);
        let order = &mut self.order;
        let known = self.bodies.entry(body).or_insert_with(|| {
            order.push_back(body);
            Known { next: 0, open: Vec::new(), seen_at: now }
        });
        if now.since(known.seen_at) > KNOWN_MIN + KNOWN_MIN {
            (known.next, known.open) = (0, Vec::new());
        }
        known.seen_at = now;
        let number = if known.open.is_empty() {
            known.next += 1;
            known.next - 1
        } else {
            known.open.remove(0)
        };
        if self.order.len() > BODIES_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.bodies.remove(&oldest);
        }
        Unnamed { body, number }
    }

    /// It was answered with a yes: the store may forget what it was known by.
    pub(crate) fn answered(&mut self, batch: Unnamed, begun: Timestamp) {
        if self.settled.len() < SETTLED_MAX {
            self.settled.extend(batch.frame_ids(begun).into_iter().map(|id| (batch.body.0, id)));
        }
    }

    /// What the store may forget, which is the caller's to tell it from now on.
    pub(crate) fn take_settled(&mut self) -> Vec<(AppId, String)> {
        std::mem::take(&mut self.settled)
    }

    /// It was not answered with a yes, or the requester was gone: it may come again.
    pub(crate) fn unanswered(&mut self, batch: Unnamed) {
        if let Some(known) = self.bodies.get_mut(&batch.body)
            && !known.open.contains(&batch.number)
        {
            known.open.push(batch.number);
            known.open.sort_unstable();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app() -> AppId {
        AppId(uuid::Uuid::from_u128(1))
    }

    #[test]
    fn what_was_answered_is_another_batch_and_what_was_not_is_the_same() {
        let t = Timestamp::from_seconds;
        let mut answered = Answered::default();
        let first = answered.begin(app(), b"one", t(0));
        let second = answered.begin(app(), b"one", t(1));
        assert_ne!(first, second);
        answered.unanswered(first);
        assert_eq!(answered.begin(app(), b"one", t(2)), first, "its repetition");
        assert_eq!(answered.begin(app(), b"one", t(3)).number, 2);
        assert_eq!(answered.begin(app(), b"two", t(3)).number, 0);
        assert_eq!(answered.begin(app(), b"one", t(64)).number, 0, "what is too old is no repetition");
        // Another process has answered nothing.
        assert_eq!(Answered::default().begin(app(), b"one", t(0)), first);
    }

    #[test]
    fn what_was_answered_is_to_be_forgotten_once() {
        let t = Timestamp::from_seconds;
        let mut answered = Answered::default();
        let batch = answered.begin(app(), b"one", t(0));
        answered.answered(batch, t(0));
        let forgotten: Vec<String> = answered.take_settled().into_iter().map(|(_, id)| id).collect();
        assert_eq!(forgotten, batch.frame_ids(t(0)));
        assert!(answered.take_settled().is_empty());
        (0..2 * SETTLED_MAX).for_each(|_| answered.answered(batch, t(0)));
        assert!(answered.take_settled().len() <= SETTLED_MAX + 1);
    }

    #[test]
    fn it_is_known_for_half_a_minute_to_a_minute() {
        let t = Timestamp::from_seconds;
        let batch = Answered::default().begin(app(), b"one", t(0));
        for begun in [0, 1, 29] {
            let before = batch.frame_ids(t(begun));
            let known = |at| batch.frame_ids(t(at)).iter().any(|id| before.contains(id));
            assert!(known(begun + 30) && !known(begun + 61), "{before:?}");
        }
        assert!(batch.frame_ids(t(1_778_000_000)).iter().all(|id| id.len() < 100));
    }

    #[test]
    fn it_stays_within_its_bound() {
        let mut answered = Answered::default();
        for n in 0..BODIES_MAX + 10 {
            answered.begin(app(), n.to_string().as_bytes(), Timestamp::UNIX_EPOCH);
        }
        assert_eq!((answered.bodies.len(), answered.order.len()), (BODIES_MAX, BODIES_MAX));
    }
}
