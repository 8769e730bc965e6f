//! Batches already counted, by (app, Frame-Id). Logplex sends the same batch again when it did not like our answer; those
//! that had an effect are remembered by the store for hours, all others here, in a ring of fixed size.

use std::collections::{HashSet, VecDeque};
use std::hash::BuildHasher;

use dynowatch_domain::AppId;
use hashbrown::DefaultHashBuilder;

/// How many batches are remembered. Logplex repeats within seconds.
pub(crate) const FRAMES_MAX: usize = 8_192;

/// The newest batches, as hashes under a key that is drawn at start: a sender cannot aim for a collision.
#[derive(Default)]
pub(crate) struct FrameRing {
    hasher: DefaultHashBuilder,
    known: HashSet<u64, DefaultHashBuilder>,
    order: VecDeque<u64>,
}

impl FrameRing {
    pub(crate) fn contains(&self, app: AppId, frame_id: &str) -> bool {
        self.known.contains(&self.hasher.hash_one((app, frame_id)))
    }

    pub(crate) fn insert(&mut self, app: AppId, frame_id: &str) {
        let hash = self.hasher.hash_one((app, frame_id));
        if self.known.insert(hash) {
            self.order.push_back(hash);
            if self.order.len() > FRAMES_MAX
                && let Some(oldest) = self.order.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remembers_by_app_and_forgets_the_oldest() {
        let (app, other) = (AppId(uuid::Uuid::from_u128(1)), AppId(uuid::Uuid::from_u128(2)));
        let mut ring = FrameRing::default();
        ring.insert(app, "first");
        assert!(ring.contains(app, "first") && !ring.contains(other, "first"));
        for i in 0..FRAMES_MAX {
            ring.insert(app, &i.to_string());
        }
        assert!(!ring.contains(app, "first") && ring.contains(app, "0"));
    }
}
