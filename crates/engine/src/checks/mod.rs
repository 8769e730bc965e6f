//! Checks in this process: which of them it runs, when, and what becomes of their results. What a check is and what its
//! results mean is `domain::check`'s, how a run is made is `probe`'s (handed in as a [`Probe`]), rows are `store`'s.
//!
//! A check's way: the board (`board`) gives out what is due, a run (`runs`) asks the probe and puts what it found into a
//! bounded queue, and results are settled (`settle`): one step of the state machine each, written with the alert it may
//! cause. Runs wait for neither the store nor for messages: they have a thread of their own.
//!
//! Among several processes checks are shared out by leases (`Engine::share_pass`); one that dies loses its checks to the
//! others within 30 s. All that matters is in the store, so whoever takes a check over goes on where the last one was.

pub mod alerts;
mod board;
mod certificates;
mod control;
mod evidence;
mod heartbeats;
mod native;
pub mod operate;
mod passes;
mod runs;
mod settle;
mod targets;
pub mod trial;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Check;
use dynowatch_domain::check::maintenance::MaintenanceWindow;
use dynowatch_store::checks::{Failure, ResultRow};
use tokio::sync::{Notify, mpsc};

pub use board::{DATA_RUNS_MAX, HOST_RUNS_MAX, Job, WEB_RUNS_MAX};
pub use dynowatch_probe::Explanation;
pub use dynowatch_probe::transcript::{Line as TranscriptLine, Side};
pub use operate::{CheckStatus, CheckUptime};
pub use passes::{FLUSH_EVERY, LOOK_EVERY, SHARE_EVERY};
pub use runs::{Probe, ProbeJob, Probed, Prober, Probing};
pub use trial::CheckReplay;

use crate::Shared;
use crate::apps::lock;
use board::Board;
use runs::Finished;

/// Results that may wait for the store. What comes beyond is counted, and its check unknown for that time.
const RESULTS_MAX: usize = 4_096;

/// What the configuration says of checks.
#[derive(Clone, Default)]
pub struct ChecksConfig {
    /// All checks, those made in the console among them.
    pub checks: Vec<Check>,
    /// All maintenance windows.
    pub windows: Vec<MaintenanceWindow>,
    /// What must be reachable whenever anything is: when none of these is up, this instance is blind. None: it never is.
    pub controls: Vec<Check>,
    /// Who is told that it is blind.
    pub blind_receivers: Vec<String>,
}

/// The checks in force.
#[derive(Default)]
pub struct CheckBook {
    /// By name.
    pub checks: BTreeMap<String, Arc<Check>>,
    /// Maintenance windows, open or not.
    pub windows: Vec<MaintenanceWindow>,
    /// Control targets.
    pub controls: Vec<Arc<Check>>,
    /// Who is told that this instance is blind.
    pub blind_receivers: Vec<String>,
}

impl From<ChecksConfig> for CheckBook {
    fn from(config: ChecksConfig) -> Self {
        let ChecksConfig { checks, windows, controls, blind_receivers } = config;
        Self {
            checks: checks.into_iter().map(|check| (check.name.clone(), Arc::new(check))).collect(),
            windows,
            controls: controls.into_iter().map(Arc::new).collect(),
            blind_receivers,
        }
    }
}

/// Everything about checks that is in memory.
pub(crate) struct Checks {
    pub(crate) book: ArcSwap<CheckBook>,
    pub(crate) probe: Mutex<Option<Arc<dyn Probe>>>,
    pub(crate) board: Mutex<Board>,
    pub(crate) control: control::Control,
    pub(crate) targets: targets::Targets,
    pub(crate) heard: evidence::Heard,
    /// Windows that are open now.
    open: ArcSwap<Vec<MaintenanceWindow>>,
    /// Names of checks that fail, whoever runs them.
    pub(crate) failing: Mutex<HashSet<String>>,
    results: mpsc::Sender<Finished>,
    pub(crate) queue: tokio::sync::Mutex<Queue>,
    /// Something may be due earlier than before.
    pub(crate) changed: Notify,
    /// A result waits.
    pub(crate) handed_on: Notify,
    /// Rows whose time is over and that are not written yet.
    pub(crate) full_rows: Mutex<Vec<ResultRow>>,
    /// Failures that are not written yet.
    pub(crate) failures: Mutex<Vec<(u64, Failure)>>,
    passes: Mutex<passes::Passes>,
}

/// The end of the queue of results.
pub(crate) struct Queue {
    pub(crate) results: mpsc::Receiver<Finished>,
    /// The second result of a check, which must not be settled together with its first.
    pub(crate) next: Vec<Finished>,
    pub(crate) unwritten: Vec<settle::Pending>,
}

impl Checks {
    pub(crate) fn new(config: ChecksConfig) -> Self {
        let (results, receiver) = mpsc::channel(RESULTS_MAX);
        Self {
            book: ArcSwap::from_pointee(CheckBook::from(config)),
            probe: Mutex::default(),
            board: Mutex::default(),
            control: control::Control::default(),
            targets: targets::Targets::default(),
            heard: evidence::Heard::default(),
            open: ArcSwap::default(),
            failing: Mutex::default(),
            results,
            queue: tokio::sync::Mutex::new(Queue { results: receiver, next: Vec::new(), unwritten: Vec::new() }),
            changed: Notify::new(),
            handed_on: Notify::new(),
            full_rows: Mutex::default(),
            failures: Mutex::default(),
            passes: Mutex::default(),
        }
    }

    /// Takes new checks and windows; what runs goes on, what is gone is given up by the next pass.
    pub(crate) fn configure(&self, config: ChecksConfig) {
        self.book.store(Arc::new(CheckBook::from(config)));
        lock(&self.passes).hurry();
        self.changed.notify_one();
    }

    /// Hands a result on. If there is no room it is lost, and its check unknown for that time.
    pub(crate) fn hand_on(&self, shared: &Shared, finished: Finished) {
        let number = finished.number;
        let at = finished.observation.as_ref().map(|observation| observation.started_at);
        if self.results.try_send(finished).is_err()
            && let Some(at) = at
        {
            shared.stats.check_results_dropped.up();
            if let Some(entry) = lock(&self.board).entry(number) {
                entry.live.lost_at = Some(at);
            }
        }
        self.handed_on.notify_one();
    }

    /// Lets each check see what surrounds it now.
    pub(crate) fn look_at_all(&self, shared: &Shared) {
        let numbers: Vec<u64> = lock(&self.board).entries().map(|entry| entry.number).collect();
        for number in numbers {
            self.look_at(shared, number);
        }
    }

    pub(crate) fn look_at(&self, shared: &Shared, number: u64) {
        let lag = std::time::Duration::ZERO;
        self.hand_on(shared, Finished { number, observation: None, memory: None, transcript: String::new(), lag });
    }

    /// Whether a maintenance window is open for a check.
    pub(crate) fn in_maintenance(&self, check: &Check) -> bool {
        self.open.load().iter().any(|window| window.is_for(&check.name, check.app.as_deref()))
    }

    /// Notes whether a check fails, for its children.
    pub(crate) fn note_failing(&self, name: &str, failing: bool) {
        let mut known = lock(&self.failing);
        if failing {
            known.insert(name.to_owned());
        } else {
            known.remove(name);
        }
    }

    /// Names of rules under which alerts of checks may be open.
    pub(crate) fn rule_names(&self) -> Vec<String> {
        let book = self.book.load();
        let of_checks = book.checks.keys().map(|name| alerts::rule_name(name));
        of_checks.chain([alerts::BLIND_RULE.to_owned()]).collect()
    }

    /// The rule that stands for a check, to close its alert with.
    pub(crate) fn rule(&self, name: &str) -> Option<Arc<dynowatch_domain::rule::Rule>> {
        let book = self.book.load();
        if name == alerts::BLIND_RULE {
            return Some(alerts::blind_rule(&book.blind_receivers, "closed by hand".to_owned()));
        }
        let check = book.checks.get(name.strip_prefix(alerts::RULE_PREFIX)?)?;
        Some(alerts::rule_of(check, "closed by hand".to_owned(), String::new()))
    }
}

impl crate::Engine {
    /// Checks are run by this from now on. Without it this process runs none, and leaves them to others.
    pub fn probe_with(&self, probe: Arc<dyn Probe>) {
        *lock(&self.shared.checks.probe) = Some(probe);
        lock(&self.shared.checks.passes).hurry();
    }

    /// Gives out the checks that are due and for which there is room. Each must be run ([`crate::Engine::run_check`]).
    #[must_use]
    pub fn start_due_checks(&self) -> Vec<Job> {
        lock(&self.shared.checks.board).start_due(self.now())
    }

    /// When the next check is due that this process runs.
    #[must_use]
    pub fn next_check_at(&self) -> Option<Timestamp> {
        lock(&self.shared.checks.board).next_due()
    }
}
