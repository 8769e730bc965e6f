//! The Heroku account: its apps, process types, dynos, add-ons and releases kept in step, and its log drains managed. The
//! protocol is `dynowatch_heroku`'s; what is kept is `store::heroku`'s; what may happen to a drain that is replaced is
//! `domain::drain_rotation`'s. Here is what is asked when ([`sync`]), and what operators ask for ([`drains`]).
//!
//! Everything else works without an account. One process asks at a time (a lease); what is due next stands in the rows.

mod budget;
pub mod drains;
mod merge;
mod rotate;
pub mod sync;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dynowatch_domain::Timestamp;
use dynowatch_domain::drain_rotation::Illegal;
use dynowatch_heroku::{Client, Error, ErrorId};
use dynowatch_store::StoreError;
use dynowatch_store::heroku::{SyncState, Wanted};
use secrecy::SecretString;
use uuid::Uuid;

use crate::Engine;
use crate::apps::lock;
use budget::Budget;
use sync::SyncReport;

/// How often the loop looks for what is due.
pub const HEROKU_PASS_EVERY: Duration = Duration::from_secs(1);
/// Who asks Heroku holds this lease; another process takes over when it runs out.
const LEASE: &str = "heroku";
const LEASE_TTL: Duration = Duration::from_secs(60);
/// A request takes at most 45 s with all its tries: so it ends while the lease holds.
const LEASE_RENEW: Duration = Duration::from_secs(10);
/// How long somebody waits for what they asked for: Heroku's router gives up on us after 30 s.
const ASKED_MAX: Duration = Duration::from_secs(25);
/// The row that says until when nothing is asked.
const PAUSE: &str = "pause";

/// Makes the URL of a drain of an app to this instance, with a mark in it or without; or says what is missing for one.
pub type DrainUrl = Arc<dyn Fn(&str, Option<&str>) -> Result<SecretString, String> + Send + Sync>;

/// An account to keep in step with.
#[derive(Clone)]
pub struct HerokuAccount {
    /// Who asks.
    pub client: Client,
    /// Where drains of this instance deliver to.
    pub drain_url: DrainUrl,
}

/// The account, if there is one, and what the loop remembers between rounds.
#[derive(Default)]
pub(crate) struct Connection {
    account: ArcSwapOption<HerokuAccount>,
    budget: Mutex<Budget>,
    lease_taken: Mutex<Option<Timestamp>>,
    /// What the lists said when somebody last asked for them: one asks at a time, and not at every press of a button.
    listed: tokio::sync::Mutex<Option<(Timestamp, SyncReport)>>,
    /// Apps whose drains were looked through for an adopted app's, and when.
    looked: Mutex<HashMap<Uuid, Timestamp>>,
}

impl Connection {
    /// The account, if there is one.
    pub(crate) fn account(&self) -> Option<Arc<HerokuAccount>> {
        self.account.load_full()
    }
}

/// What was asked for and cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HerokuProblem {
    /// No key.
    #[error(
        "HEROKU_API_KEY is not set, so nothing can be asked of Heroku: make a token with `heroku authorizations:create` \
         and set it; all else works without"
    )]
    NoKey,
    /// No app of that name, here or there.
    #[error("no app of the Heroku account is named {0:?}")]
    NoApp(String),
    /// An app that has no log drains.
    #[error(
        "{0} runs on Fir, where there are no Logplex drains: its logs leave by telemetry drains (OTLP), which dynowatch does \
         not read yet"
    )]
    Fir(String),
    /// No URL can be made.
    #[error("{0}")]
    NoDrainUrl(String),
    /// Not as things stand.
    #[error("{0}")]
    Conflict(String),
    /// No such drain.
    #[error("{0}")]
    NotFound(String),
    /// Not where the rotation stands.
    #[error(transparent)]
    Illegal(#[from] Illegal),
    /// Heroku did not do it.
    #[error(transparent)]
    Heroku(#[from] Error),
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HerokuProblem {
    /// Whether Heroku asks for the account's second factor.
    #[must_use]
    pub fn is_two_factor(&self) -> bool {
        matches!(self, Self::Heroku(error) if error.id() == Some(ErrorId::TwoFactor))
    }
}

/// How the account stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HerokuStatus {
    /// Whether there is a key.
    pub connected: bool,
    /// How the list of apps stands; `None` when it was never read.
    pub apps: Option<SyncState>,
    /// How the list of add-ons stands.
    pub addons: Option<SyncState>,
    /// Until when nothing is asked, and why.
    pub paused: Option<(Timestamp, Option<String>)>,
    /// How many apps of the account are known and not gone.
    pub known: usize,
    /// How many requests the account had left at this process's last one.
    pub remaining: Option<u32>,
}

impl Engine {
    /// Keeps in step with this account from now on, or with none.
    pub fn connect_heroku(&self, account: Option<HerokuAccount>) {
        self.shared.heroku.account.store(account.map(Arc::new));
    }

    /// Whether there is a key.
    #[must_use]
    pub fn is_heroku_connected(&self) -> bool {
        self.shared.heroku.account.load().is_some()
    }

    /// The account.
    ///
    /// # Errors
    /// [`HerokuProblem::NoKey`] without one.
    pub(crate) fn heroku(&self) -> Result<Arc<HerokuAccount>, HerokuProblem> {
        self.shared.heroku.account.load_full().ok_or(HerokuProblem::NoKey)
    }

    /// How the account stands.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn heroku_status(&self) -> Result<HerokuStatus, StoreError> {
        let (store, now) = (self.store(), self.now());
        let account = self.shared.heroku.account.load_full();
        let paused = store.heroku_sync(PAUSE).await?.filter(|pause| pause.next_at > now);
        Ok(HerokuStatus {
            connected: account.is_some(),
            apps: store.heroku_sync(sync::APPS).await?,
            addons: store.heroku_sync(sync::ADDONS).await?,
            paused: paused.map(|pause| (pause.next_at, pause.problem)),
            known: store.heroku_apps(Wanted::All).await?.iter().filter(|app| app.gone_at.is_none()).count(),
            remaining: account.and_then(|account| account.client.remaining()),
        })
    }

    /// Does what is due: drains being replaced first, then lists and apps as far as the budget goes.
    ///
    /// # Errors
    /// When the store does not answer. What Heroku does not answer stands in the rows, with the time of the next try.
    pub async fn heroku_pass(&self) -> Result<(), StoreError> {
        let Ok(account) = self.heroku() else { return Ok(()) };
        if !self.holds_heroku_lease().await? {
            return Ok(());
        }
        self.rotations_pass(&account).await?;
        let paused = self.store().heroku_sync(PAUSE).await?;
        if paused.is_some_and(|pause| pause.next_at > self.now()) {
            return Ok(());
        }
        if let Err(problem) = self.sync_due(&account).await {
            self.pause_after(problem).await?;
        }
        Ok(())
    }

    /// Whether this process is the one that asks. Taken anew well before its end rather than at every look: that is a write.
    pub(crate) async fn holds_heroku_lease(&self) -> Result<bool, StoreError> {
        let (shared, now) = (&self.shared, self.now());
        let taken = *lock(&shared.heroku.lease_taken);
        if taken.is_some_and(|at| at <= now && now.since(at) < LEASE_RENEW) {
            return Ok(true);
        }
        let held = shared.store.acquire_lease(LEASE, &shared.process.to_string(), now, LEASE_TTL).await?.is_some();
        *lock(&shared.heroku.lease_taken) = held.then_some(now);
        Ok(held)
    }

    /// Asks nothing for a while, and says why.
    async fn pause_after(&self, problem: HerokuProblem) -> Result<(), StoreError> {
        let error = match problem {
            HerokuProblem::Store(error) => return Err(error),
            HerokuProblem::Heroku(error) => error,
            other => {
                tracing::warn!(problem = %other, "the Heroku account is not in step");
                return Ok(());
            }
        };
        let pause = match error.id() {
            Some(ErrorId::RateLimit) => error.retry_after().unwrap_or(Duration::from_secs(60)),
            // Somebody must do something: seldom is enough.
            Some(id) if id != ErrorId::Server => Duration::from_secs(300),
            _ => Duration::from_secs(30),
        };
        let until = self.now() + pause.min(Duration::from_secs(3_600));
        tracing::warn!(%error, %until, "Heroku is not asked for a while");
        let state = SyncState { next_at: until, done_at: None, problem: Some(error.to_string()) };
        self.store().save_heroku_sync(PAUSE, &state).await
    }
}

/// Ends what somebody waits for in time. What Heroku did nevertheless shows with the next look.
async fn in_time<T>(asked: impl Future<Output = Result<T, HerokuProblem>>) -> Result<T, HerokuProblem> {
    match tokio::time::timeout(ASKED_MAX, Box::pin(asked)).await {
        Ok(done) => done,
        Err(_) => Err(Error::TimedOut { after: ASKED_MAX }.into()),
    }
}

/// Whether an error is about the account or the line to Heroku rather than about one app.
fn concerns_all(error: &Error) -> bool {
    match error.id() {
        Some(
            ErrorId::NotFound | ErrorId::Forbidden | ErrorId::InvalidParams | ErrorId::BadRequest | ErrorId::BadRange,
        ) => false,
        Some(_) => true,
        None => !matches!(error, Error::Malformed { .. }),
    }
}
