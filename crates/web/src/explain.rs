//! One run of a check for somebody who asks why: a few at once, each with a deadline and an entry in the audit log. The API
//! and the console come here; what a run may reach is the probe's business and the same for all runs.

use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::account::audit::Actor;
use dynowatch_domain::check::Check;
use dynowatch_domain::check::target::shown_target;
use dynowatch_engine::Engine;
use dynowatch_engine::checks::Explanation;
use dynowatch_store::StoreError;
use tokio::sync::Semaphore;

use crate::faults::joined;

/// Runs at one time.
const AT_ONCE: usize = 4;
/// The longest: Heroku's router waits 30 s for an answer.
const LONGEST: Duration = Duration::from_secs(28);
/// The longest run of a check with a longer timeout of its own, so that its transcript is told before that.
const TIMEOUT_MAX: Duration = Duration::from_secs(25);

/// Places for runs.
pub(crate) struct Explains(Arc<Semaphore>);

/// Why no run was made, or is not told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotExplained {
    /// All places are taken.
    #[error("others are explaining checks: try again in a few seconds")]
    Busy,
    /// It did not end in time.
    #[error("the run did not end within 28 s")]
    TooLong,
    /// It could not be written down who asked, so nothing was sent.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Default for Explains {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Explains {
    /// Runs a check once; its result counts nowhere.
    pub(crate) async fn run(
        &self,
        engine: &Engine,
        check: Arc<Check>,
        by: &Actor,
    ) -> Result<Explanation, NotExplained> {
        let place = Arc::clone(&self.0).try_acquire_owned().map_err(|_full| NotExplained::Busy)?;
        let act = by.did("check.explain", &check.name).with(shown_target(&check.kind));
        engine.store().audit(&act, engine.now()).await?;
        let check = if check.timeout > TIMEOUT_MAX {
            Arc::new(Check { timeout: TIMEOUT_MAX, ..Check::clone(&check) })
        } else {
            check
        };
        let engine = engine.clone();
        // A task of its own: who hangs up gives the place back when the run is over, not before.
        let run = tokio::spawn(async move {
            let _place = place;
            tokio::time::timeout(LONGEST, engine.explain_check(check)).await
        });
        joined(run.await).and_then(Result::ok).ok_or(NotExplained::TooLong)
    }
}
