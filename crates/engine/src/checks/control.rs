//! The guard against our own blindness: a few targets that must be reachable whenever anything is. When none of them
//! answers, it is we who cannot see, and no check is called down for it.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::observation::Memory;
use dynowatch_domain::check::outcome::Outcome;

use super::runs::ProbeJob;
use crate::Shared;
use crate::apps::lock;

/// How often the control targets are looked at when nothing fails.
pub(crate) const CONTROL_EVERY: Duration = Duration::from_secs(15);

/// What the last look said.
#[derive(Default)]
pub(crate) struct Control {
    /// When the last look began. Held while one is made, so that many failures ask once.
    looked_at: tokio::sync::Mutex<Option<Timestamp>>,
    blind: AtomicBool,
    since: Mutex<Option<Timestamp>>,
}

impl Control {
    pub(crate) fn is_blind(&self) -> bool {
        self.blind.load(Relaxed)
    }

    /// Since when this process has been blind.
    pub(crate) fn since(&self) -> Option<Timestamp> {
        *lock(&self.since)
    }

    /// Whether we are blind, by a look that began at or after `at`.
    pub(crate) async fn blind_since_look(&self, shared: &Shared, at: Timestamp) -> bool {
        let mut looked_at = self.looked_at.lock().await;
        if looked_at.is_none_or(|looked_at| looked_at < at) {
            *looked_at = Some(shared.clock.now());
            self.look(shared).await;
        }
        self.is_blind()
    }

    /// A look if the last one is old.
    pub(crate) async fn look_if_due(&self, shared: &Shared) {
        let now = shared.clock.now();
        let mut looked_at = self.looked_at.lock().await;
        let due = looked_at.is_none_or(|looked_at| now.since(looked_at) >= CONTROL_EVERY || now < looked_at);
        if due {
            *looked_at = Some(now);
            self.look(shared).await;
        }
    }

    async fn look(&self, shared: &Shared) {
        let book = shared.checks.book.load_full();
        let probe = lock(&shared.checks.probe).clone();
        let Some(probe) = probe.filter(|_| !book.controls.is_empty()) else {
            self.set(shared, false);
            return;
        };
        let mut looks = tokio::task::JoinSet::new();
        for check in &book.controls {
            let job = ProbeJob {
                check: std::sync::Arc::clone(check),
                url: None,
                memory: Memory::default(),
                now: shared.clock.now(),
            };
            looks.spawn(tokio::time::timeout(check.timeout, probe.run(job)));
        }
        // One that answers is enough.
        let mut seen = false;
        while let Some(look) = looks.join_next().await {
            if let Ok(Ok(probed)) = look
                && matches!(probed.observation.outcome, Outcome::Up | Outcome::Degraded)
            {
                seen = true;
                break;
            }
        }
        self.set(shared, !seen);
    }

    fn set(&self, shared: &Shared, blind: bool) {
        if self.blind.swap(blind, Relaxed) == blind {
            return;
        }
        *lock(&self.since) = blind.then(|| shared.clock.now());
        if blind {
            tracing::error!("no control target answers: this process is blind, and no check is called down for it");
        } else {
            tracing::info!("a control target answers again: this process is not blind any more");
        }
        shared.checks.look_at_all(shared);
        shared.checks.changed.notify_one();
    }
}
