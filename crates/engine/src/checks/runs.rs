//! One run of a check, from its start to the queue of results: the target is looked up, the probe asked under a deadline,
//! a failure doubted as long as our own way out may be the cause, and the result handed on without waiting.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::observation::{Memory, Observation};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::{Check, CheckKind, Secret, Source};

use dynowatch_domain::address::{AddressPolicy, Network};
use dynowatch_probe::certificate::Roots;
use dynowatch_probe::transcript::Transcript;
use dynowatch_probe::{Explanation, Request, Surroundings};

use super::board::Job;
use super::heartbeats;
use crate::apps::lock;
use crate::{Engine, Shared};

/// A run that its probe does not end is broken off this long after its deadline.
const OVERTIME: Duration = Duration::from_secs(2);
/// After a config var changed, a server's new key is taken for a rotation for this long.
const ROTATION: Duration = Duration::from_secs(600);

/// What a probe is asked.
#[derive(Clone)]
pub struct ProbeJob {
    /// The check.
    pub check: Arc<Check>,
    /// The URL, where it stands in a config var. It is in no output.
    pub url: Option<Secret>,
    /// What the check remembers.
    pub memory: Memory,
    /// The present moment, by the engine's clock.
    pub now: Timestamp,
}

/// What a probe found.
#[derive(Debug, Clone)]
pub struct Probed {
    /// What the run found.
    pub observation: Observation,
    /// What the check remembers from now on.
    pub memory: Memory,
    /// What it did, line by line.
    pub transcript: Transcript,
}

/// A future that a probe returns.
pub type Probing = Pin<Box<dyn Future<Output = Probed> + Send>>;

/// Makes runs. The real one speaks to servers, tests have a script.
pub trait Probe: Send + Sync {
    /// One run, ended within the check's timeout.
    fn run(&self, job: ProbeJob) -> Probing;
}

/// A result on its way to [`super::settle`].
pub(crate) struct Finished {
    pub(crate) number: u64,
    /// None: nothing was run, but what surrounds the check changed.
    pub(crate) observation: Option<Observation>,
    pub(crate) memory: Option<Memory>,
    pub(crate) transcript: String,
    pub(crate) lag: Duration,
}

/// The probe of servers as they are.
pub struct Prober(Arc<dynowatch_probe::Prober>);

impl Prober {
    /// With the roots and the resolver of this machine. `allowed` are ranges of private addresses that checks may reach.
    /// `nameserver` is the machine's DNS server, for DNS checks that name none. Also says what is wrong with the machine's
    /// roots.
    #[must_use]
    pub fn of_this_machine(allowed: Vec<Network>, nameserver: Option<SocketAddr>) -> (Self, Vec<String>) {
        let (roots, problems) = Roots::system();
        let surroundings = Surroundings {
            policy: AddressPolicy::allowing(allowed),
            roots,
            lookup: dynowatch_probe::system_lookup(),
            nameserver,
        };
        (Self::new(dynowatch_probe::Prober::new(surroundings)), problems)
    }

    /// In other surroundings.
    #[must_use]
    pub fn new(prober: dynowatch_probe::Prober) -> Self {
        Self(Arc::new(prober))
    }
}

impl Probe for Prober {
    fn run(&self, job: ProbeJob) -> Probing {
        let prober = Arc::clone(&self.0);
        Box::pin(async move {
            let ProbeJob { check, url, memory, now } = job;
            let request = Request { check: &check, url: url.as_ref(), memory: &memory, now };
            let dynowatch_probe::Run { observation, memory, transcript } = prober.run(&request).await;
            Probed { observation, memory, transcript }
        })
    }
}

impl Engine {
    /// Makes a run that [`Engine::start_due_checks`] gave out, and hands its result on.
    pub async fn run_check(self, job: Job) {
        let shared = &*self.shared;
        let (number, lag) = (job.number, job.lag);
        shared.stats.check_runs.up();
        shared.stats.check_lag(lag);
        let found = match &job.check.kind {
            CheckKind::Heartbeat(_) => heartbeats::look(shared, &job),
            CheckKind::Heroku(_) => Some((self.look_at_heroku(&job.check).await, None, String::new())),
            _ => {
                let Probed { observation, memory, transcript } = probe(shared, &job).await;
                // Of what is well nobody asks how it went.
                let told = if observation.outcome == Outcome::Up { String::new() } else { transcript.to_string() };
                Some((doubt(shared, observation).await, Some(memory), told))
            }
        };
        if let Some((observation, ..)) = &found {
            shared.stats.check_ran(observation.outcome);
        }
        let wanted = {
            let (mut board, now) = (lock(&shared.checks.board), shared.clock.now());
            let wanted = board.ended(number, now);
            if let (CheckKind::Heartbeat(heartbeat), Some(entry)) = (&job.check.kind, board.entry(number))
                && let Some(at) = heartbeat.judge(&entry.live.heartbeat, now).look_at
            {
                board.look_by(number, at);
            }
            wanted
        };
        shared.checks.changed.notify_one();
        if let Some((observation, memory, transcript)) = found.filter(|_| wanted) {
            let observation = Some(observation);
            shared.checks.hand_on(shared, Finished { number, observation, memory, transcript, lag });
        }
    }

    /// One run at once, besides the schedule, whose result counts nowhere: for "explain", and for trying a check out before
    /// it is saved. It is tried with what the check of that name remembers, such as its pin.
    pub async fn explain_check(&self, check: Arc<Check>) -> Explanation {
        let mine = lock(&self.shared.checks.board).by_name(&check.name).map(|entry| entry.live.memory.clone());
        let memory = match mine {
            Some(memory) => memory,
            // Another process runs it, or none; without the store it is tried as if for the first time.
            None => self.store().check_row(&check.name).await.ok().flatten().map(|row| row.memory).unwrap_or_default(),
        };
        let job = Job { number: 0, check: Arc::clone(&check), memory, lag: Duration::ZERO };
        let (observation, transcript) = match &check.kind {
            CheckKind::Heroku(_) => (self.look_at_heroku(&check).await, Transcript::default()),
            CheckKind::Heartbeat(_) => {
                let detail = "a heartbeat is heard, not run";
                (Observation::bare(self.now(), Some(Reason::ProberFailed), detail), Transcript::default())
            }
            _ => {
                let Probed { observation, transcript, .. } = probe(&self.shared, &job).await;
                (observation, transcript)
            }
        };
        Explanation { check: check.name.clone(), kind: check.kind.name().to_owned(), observation, transcript }
    }
}

/// Asks the probe. Where the target stands in a config var and its server does not take the credentials, the config var is
/// read again: they may have been rotated.
async fn probe(shared: &Shared, job: &Job) -> Probed {
    let mut memory = job.memory.clone();
    let Some(Source::ConfigVar { app, name }) = job.check.kind.source() else {
        return ask(shared, job, None, memory).await;
    };
    let unusable = |reason, detail: String| Observation::bare(shared.clock.now(), Some(reason), detail);
    let url = match shared.checks.targets.get(shared, app, name).await {
        Ok(found) => found,
        Err((reason, detail)) => {
            return Probed { observation: unusable(reason, detail), memory, transcript: Transcript::default() };
        }
    };
    let rotated = |memory: &mut Memory| memory.rotation_until = Some(shared.clock.now() + ROTATION);
    if url.changed {
        rotated(&mut memory);
    }
    let probed = ask(shared, job, Some(url.secret.clone()), memory).await;
    let refused = matches!(probed.observation.reason, Some(Reason::AuthFailed | Reason::AuthRequired));
    let lost = matches!(
        probed.observation.reason,
        Some(Reason::DnsNotFound | Reason::ConnectRefused | Reason::Unreachable | Reason::NoDatabase)
    );
    if !refused && !lost {
        return probed;
    }
    match shared.checks.targets.again(shared, app, name, &url.secret).await {
        Some(new) => {
            let mut memory = probed.memory;
            rotated(&mut memory);
            ask(shared, job, Some(new), memory).await
        }
        None => probed,
    }
}

async fn ask(shared: &Shared, job: &Job, url: Option<Secret>, memory: Memory) -> Probed {
    let now = shared.clock.now();
    let failed = |reason, detail: &str| Probed {
        observation: Observation::bare(now, Some(reason), detail),
        memory: job.memory.clone(),
        transcript: Transcript::default(),
    };
    let Some(probe) = lock(&shared.checks.probe).clone() else {
        return failed(Reason::ProberFailed, "this process makes no runs");
    };
    let asked = ProbeJob { check: Arc::clone(&job.check), url, memory, now };
    let run = tokio::time::timeout(job.check.timeout + OVERTIME, probe.run(asked)).await;
    run.unwrap_or_else(|_elapsed| failed(Reason::Timeout, "the run did not end in time and was broken off"))
}

/// While our own way out is broken nothing is known of any target. A failure is believed only once the control targets have
/// answered after it began.
async fn doubt(shared: &Shared, observation: Observation) -> Observation {
    let failed = observation.outcome == Outcome::Down;
    let blind = if failed {
        shared.checks.control.blind_since_look(shared, observation.started_at).await
    } else {
        shared.checks.control.is_blind()
    };
    if !blind {
        return observation;
    }
    let detail = "the control targets do not answer either";
    Observation {
        phases: observation.phases,
        ..Observation::bare(observation.started_at, Some(Reason::ProberBlind), detail)
    }
}
