//! From chunks into packed minutes and on into longer steps, by whichever process holds the lease; also what is forgotten.
//! In slices, each a transaction of its own, with a breath in between: neither the flush nor the drain waits for long.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use dynowatch_domain::metric::Step;
use dynowatch_store::StoreError;

use crate::{Engine, Shared};

/// How often chunks go into packed rows.
pub const FOLD_EVERY: Duration = Duration::from_secs(600);
/// Who folds holds this lease.
const LEASE: &str = "metrics";
/// Longer than any slice takes; renewed before each.
const LEASE_TTL: Duration = Duration::from_secs(60);
/// Chunks per transaction: ten minutes of one process.
const CHUNKS_MAX: u32 = 60;
/// Packed rows per transaction.
const ROWS_MAX: u32 = 1_000;
/// Between two transactions, so that others get their turn at the one writer of SQLite.
const BREATH: Duration = Duration::from_millis(5);
/// Lines come late; what is younger waits for the next fold.
const GRACE: Duration = Duration::from_secs(300);
/// Paths are kept as long as hours of single dynos would be of use.
const PATHS_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// Events are kept as long as the longest step.
const EVENTS_KEPT: Duration = Duration::from_secs(400 * 86_400);
const STATES_KEPT: Duration = Duration::from_secs(30 * 86_400);
/// From here on the log and `/readyz` warn.
pub const ROOM_WARN_PERCENT: u64 = 80;
/// From here on the oldest minutes go.
const ROOM_PRUNE_PERCENT: u64 = 95;
/// Slices of old rows per pass; the next pass goes on.
const PRUNE_SLICES_MAX: u32 = 50;

impl Engine {
    /// Takes the chunks of all apps into packed rows, those into longer steps, and forgets what is old, if it is this
    /// process's turn. Returns how many chunks and rows it took.
    ///
    /// # Errors
    /// When the store does not answer; the next pass goes on where this one stopped.
    pub async fn fold_pass(&self) -> Result<u64, StoreError> {
        let shared = &*self.shared;
        if !my_turn(shared).await? {
            return Ok(0);
        }
        let now = shared.clock.now();
        let mut taken = 0;
        for app in shared.store.apps_to_fold(now).await? {
            loop {
                let folded = shared.store.fold(app, CHUNKS_MAX, now).await?;
                taken += u64::from(folded);
                if folded < CHUNKS_MAX || !breathe(shared).await? {
                    break;
                }
            }
        }
        for (fine, coarse) in [(Step::Minute, Step::TenMinutes), (Step::TenMinutes, Step::Hour)] {
            loop {
                let rolled = shared.store.roll(fine, coarse, now - GRACE, ROWS_MAX).await?;
                taken += u64::from(rolled);
                if rolled < ROWS_MAX || !breathe(shared).await? {
                    break;
                }
            }
        }
        self.prune_metrics().await?;
        Ok(taken)
    }

    /// Forgets values whose time is over, and the oldest minutes when metrics take more room than they may.
    async fn prune_metrics(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let now = shared.clock.now();
        self.keep_room().await?;
        for _ in 0..PRUNE_SLICES_MAX {
            let chunks = shared.store.prune_chunks(now - Step::TenSeconds.kept(), now - PATHS_KEPT).await?;
            let packs = shared.store.prune_packs(now).await?;
            let events = shared.store.prune_app_events(now - EVENTS_KEPT, now - STATES_KEPT).await?;
            if chunks + packs + events == 0 || !breathe(shared).await? {
                break;
            }
        }
        Ok(())
    }
}

impl Engine {
    /// Warns before the room of metrics ends, and makes room near its end.
    async fn keep_room(&self) -> Result<(), StoreError> {
        let shared = &*self.shared;
        let mut room = shared.store.measure_metrics().await?;
        let warn = room.above(ROOM_WARN_PERCENT);
        if warn && !shared.metrics.short.swap(true, Relaxed) {
            tracing::warn!(
                bytes = room.bytes,
                bytes_max = room.bytes_max,
                "metrics take over {ROOM_WARN_PERCENT} % of their room (store.metrics_bytes_max); near its end the oldest minutes go"
            );
        } else if !warn {
            shared.metrics.short.store(false, Relaxed);
        }
        for _ in 0..PRUNE_SLICES_MAX {
            if !room.above(ROOM_PRUNE_PERCENT) {
                break;
            }
            let gone = shared.store.prune_for_room(shared.clock.now()).await?;
            shared.stats.metric_rows_pruned_for_room.add(gone);
            room = shared.store.measure_metrics().await?;
            if gone == 0 || !breathe(shared).await? {
                break;
            }
        }
        Ok(())
    }
}

async fn my_turn(shared: &Shared) -> Result<bool, StoreError> {
    let lease = shared.store.acquire_lease(LEASE, &shared.process.to_string(), shared.clock.now(), LEASE_TTL).await?;
    Ok(lease.is_some())
}

/// Lets others write, and asks whether it is still this process's turn.
async fn breathe(shared: &Shared) -> Result<bool, StoreError> {
    tokio::time::sleep(BREATH).await;
    my_turn(shared).await
}
