//! What was found a moment ago, so that however many look at the same, the store is asked once. Those who come while it
//! is being asked wait for that answer.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dynowatch_domain::Timestamp;

/// Answers that are kept. Beyond that the old ones are forgotten, or, if none is old, all.
const KEPT_MAX: usize = 128;

type Slot<V> = Arc<tokio::sync::Mutex<Option<(Timestamp, Arc<V>)>>>;

/// Answers by what was asked.
pub(crate) struct Cached<K, V> {
    slots: Mutex<HashMap<K, (Timestamp, Slot<V>)>>,
    good_for: Duration,
}

impl<K: Eq + Hash, V> Cached<K, V> {
    pub(crate) fn new(good_for: Duration) -> Self {
        Self { slots: Mutex::default(), good_for }
    }

    /// What was found lately, or else what `look` finds. Errors are not kept.
    pub(crate) async fn get<E>(
        &self,
        key: K,
        now: Timestamp,
        look: impl Future<Output = Result<V, E>>,
    ) -> Result<Arc<V>, E> {
        let slot = self.slot(key, now);
        let mut found = slot.lock().await;
        if let Some((at, value)) = &*found
            && *at <= now
            && now.since(*at) < self.good_for
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(look.await?);
        *found = Some((now, Arc::clone(&value)));
        Ok(value)
    }

    fn slot(&self, key: K, now: Timestamp) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= KEPT_MAX && !slots.contains_key(&key) {
            slots.retain(|_, (asked_at, _)| now.since(*asked_at) < self.good_for);
            if slots.len() >= KEPT_MAX {
                slots.clear();
            }
        }
        let (asked_at, slot) = slots.entry(key).or_insert_with(|| (now, Slot::default()));
        *asked_at = now;
        Arc::clone(slot)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;

    use super::*;

    #[tokio::test]
    async fn many_look_once_is_asked() {
        let (cached, asked) = (Cached::new(Duration::from_secs(10)), Cell::new(0));
        let look = || {
            let asked = &asked;
            async move {
                tokio::task::yield_now().await;
                asked.set(asked.get() + 1);
                Ok::<_, Infallible>(asked.get())
            }
        };
        let at = Timestamp::from_seconds;
        let both = tokio::join!(cached.get("a", at(100), look()), cached.get("a", at(105), look()));
        assert_eq!((*both.0.unwrap(), *both.1.unwrap()), (1, 1));
        assert_eq!(*cached.get("b", at(105), look()).await.unwrap(), 2);
        assert_eq!(*cached.get("a", at(110), look()).await.unwrap(), 3);
        assert_eq!(cached.get("c", at(110), async { Err::<i32, _>("away") }).await, Err("away"));
        assert_eq!(*cached.get("c", at(110), look()).await.unwrap(), 4);
    }

    #[tokio::test]
    async fn it_does_not_grow_without_end() {
        let cached = Cached::new(Duration::from_secs(10));
        for key in 0..1_000 {
            let found = cached.get(key, Timestamp::from_seconds(100), async { Ok::<_, Infallible>(key) }).await;
            assert_eq!(*found.unwrap(), key);
            assert!(cached.slots.lock().unwrap().len() <= KEPT_MAX);
        }
    }
}
