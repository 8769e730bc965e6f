//! Two drains of one app at once: which lines of a delivery count. Made from the rows of drains being replaced; who decides
//! on the shares is `domain::drain_rotation`.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use arc_swap::ArcSwap;
use dynowatch_domain::drain_rotation::{Rotation, Share, State};
use dynowatch_domain::{AppId, Timestamp};
use dynowatch_store::StoreError;
use dynowatch_store::heroku::HerokuApp;
use uuid::Uuid;

use crate::Engine;
use crate::apps::lock;

/// The query parameter in a drain's URL that tells it from another drain of the same app to this instance.
pub const MARK_PARAM: &str = "drain";
/// A longer mark is none of ours.
pub const MARK_BYTES_MAX: usize = 32;
/// Marks that are in no row, so that the store is not asked for them again. Beyond this it is.
const STRANGE_MARKS_MAX: usize = 10_000;

/// The drains that share their app with another.
#[derive(Default)]
pub(crate) struct Drains {
    current: ArcSwap<Sharing>,
    strange: Mutex<HashSet<String>>,
    /// When drains that are waited for delivered.
    delivered: Mutex<HashMap<String, Timestamp>>,
}

/// By token or by mark.
#[derive(Default)]
struct Sharing {
    shares: HashMap<String, Share>,
    marks: HashSet<String>,
    watched: HashSet<String>,
    /// The tokens of watched drains whose deliveries may have neither token nor mark.
    unmarked: HashMap<String, String>,
}

/// What stands for a drain whose deliveries have neither token nor mark.
fn nameless(app: AppId) -> String {
    format!("app:{app}")
}

impl Sharing {
    fn of(rotations: &[Rotation], now: Timestamp) -> Self {
        let mut sharing = Self::default();
        for rotation in rotations {
            sharing.marks.insert(rotation.mark.clone());
            let tokens = rotation.new.iter().map(|new| &new.token);
            let new: Vec<&String> = std::iter::once(&rotation.mark).chain(tokens).collect();
            // Deliveries of Private Spaces have no token: then the mark tells, or that there is none.
            let unmarked = rotation.old_mark.is_none().then(|| nameless(rotation.app));
            let old: Vec<&String> =
                [&rotation.old.token].into_iter().chain(&rotation.old_mark).chain(&unmarked).collect();
            if rotation.shares_matter(now) {
                new.iter().for_each(|name| sharing.limit(name, rotation.new_share()));
                old.iter().for_each(|name| sharing.limit(name, rotation.old_share()));
            }
            if matches!(rotation.state, State::Creating | State::Proving) {
                sharing.watched.extend(new.into_iter().chain([&rotation.old.token]).chain(&rotation.old_mark).cloned());
                if let Some(unmarked) = &unmarked {
                    sharing.unmarked.insert(unmarked.clone(), rotation.old.token.clone());
                }
            }
        }
        sharing
    }

    fn limit(&mut self, name: &str, share: Share) {
        let known = self.shares.entry(name.to_owned()).or_insert(Share::ALL);
        *known = known.and(share);
    }

    fn share(&self, name: Option<&str>) -> Share {
        name.and_then(|name| self.shares.get(name)).copied().unwrap_or(Share::ALL)
    }
}

/// The drains of an app that deliver here and whose lines do not count now, because another one's do.
pub(crate) fn silent(app: &HerokuApp, rotations: &[Rotation], now: Timestamp) -> Vec<Uuid> {
    let sharing = Sharing::of(rotations, now);
    // From Private Spaces there is no token, and where there is no mark either, the app's own name stands for it.
    let unmarked = app.facts.space.as_ref().map(|_| nameless(app.app));
    let there = app.drains.iter().filter(|drain| drain.ours && drain.gone_at.is_none());
    let silent = there.filter(|drain| {
        let mark = drain.mark.as_deref().or(unmarked.as_deref());
        !sharing.share(Some(&drain.token)).and(sharing.share(mark)).counts(now)
    });
    silent.map(|drain| drain.id).collect()
}

impl Engine {
    /// Which lines of a delivery of an app count: of the drain with this token, and this mark in its URL. `None` when the mark is new
    /// to this process: then [`Engine::learn_mark`] asks the store.
    #[must_use]
    pub fn share(&self, app: AppId, token: Option<&str>, mark: Option<&str>) -> Option<Share> {
        let drains = &self.shared.sharing;
        let sharing = drains.current.load();
        if let Some(mark) = mark
            && !sharing.marks.contains(mark)
            && !lock(&drains.strange).contains(mark)
        {
            return None;
        }
        if sharing.shares.is_empty() {
            return Some(Share::ALL);
        }
        if token.is_none() && mark.is_none() {
            return Some(sharing.share(Some(&nameless(app))));
        }
        Some(sharing.share(token).and(sharing.share(mark)))
    }

    /// Takes note that this drain has delivered: the proof that a new one works. To be called when a delivery was kept, for
    /// one that is refused proves nothing yet.
    pub fn delivered(&self, app: AppId, token: Option<&str>, mark: Option<&str>) {
        let drains = &self.shared.sharing;
        let sharing = drains.current.load();
        if sharing.watched.is_empty() {
            return;
        }
        // Bounded: only names that stand in an open row.
        for name in [token, mark].into_iter().flatten().filter(|name| sharing.watched.contains(*name)) {
            lock(&drains.delivered).insert(name.to_owned(), self.now());
        }
        if token.is_none()
            && mark.is_none()
            && let Some(token) = sharing.unmarked.get(&nameless(app))
        {
            lock(&drains.delivered).insert(token.clone(), self.now());
        }
    }

    /// Looks up a mark that this process does not know. A drain being added may deliver before the next look at the rows,
    /// and its lines must not count until it is its turn.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn learn_mark(&self, mark: &str) -> Result<(), StoreError> {
        self.load_sharing().await?;
        let drains = &self.shared.sharing;
        if !drains.current.load().marks.contains(mark) {
            let mut strange = lock(&drains.strange);
            if strange.len() >= STRANGE_MARKS_MAX {
                strange.clear();
            }
            strange.insert(mark.to_owned());
        }
        Ok(())
    }

    pub(crate) async fn load_sharing(&self) -> Result<(), StoreError> {
        let rotations = self.shared.store.rotations().await?;
        self.shared.sharing.current.store(std::sync::Arc::new(Sharing::of(&rotations, self.now())));
        Ok(())
    }

    /// Writes down which of the drains that are waited for have delivered. What the store does not take waits.
    pub(crate) async fn note_drain_deliveries(&self) -> Result<(), StoreError> {
        let delivered = &self.shared.sharing.delivered;
        let mut noted = std::mem::take(&mut *lock(delivered)).into_iter();
        while let Some((name, at)) = noted.next() {
            if let Err(error) = self.shared.store.note_drain_delivery(&name, at).await {
                let mut waiting = lock(delivered);
                // What came meanwhile is newer.
                std::iter::once((name, at)).chain(noted).for_each(|(name, at)| _ = waiting.entry(name).or_insert(at));
                return Err(error);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a store that is away does not take is not forgotten.
    #[tokio::test]
    async fn proof_that_is_not_stored_waits() {
        let bed = crate::bed::Bed::new().await;
        let noted = || lock(&bed.engine.shared.sharing.delivered).len();
        for name in ["d.a", "d.b", "d.c"] {
            lock(&bed.engine.shared.sharing.delivered).insert(name.to_owned(), bed.engine.now());
        }
        bed.engine.store().close().await;
        bed.engine.note_drain_deliveries().await.unwrap_err();
        assert_eq!(noted(), 3);
    }
}
