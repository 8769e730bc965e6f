//! A prober that speaks to nobody: each check finds what the test says, and may hang until the test lets go.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::Secret;
use dynowatch_domain::check::observation::{CertificateFacts, ChainFacts, Observation};
use dynowatch_domain::check::outcome::Reason;
use dynowatch_engine::checks::{Probe, ProbeJob, Probed, Probing};
use tokio::sync::watch;

/// What a run finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Finds {
    Up,
    Wrong(Reason),
    /// It is up, with a certificate that was made for 90 days and ends then.
    Ends(Timestamp),
    /// It is up with this URL from a config var, and refuses any other.
    Accepts(&'static str),
    /// It does not end until the test lets go; then it is up.
    Hangs,
}

/// See the module.
pub(crate) struct Script {
    finds: Mutex<HashMap<String, Finds>>,
    /// By check, when its runs began.
    begun: Mutex<BTreeMap<String, Vec<Timestamp>>>,
    flying: Arc<Mutex<HashMap<String, usize>>>,
    most_flying: Mutex<HashMap<String, usize>>,
    hung: Arc<AtomicUsize>,
    go: watch::Sender<u64>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            finds: Mutex::default(),
            begun: Mutex::default(),
            flying: Arc::default(),
            most_flying: Mutex::default(),
            hung: Arc::default(),
            go: watch::channel(0).0,
        }
    }
}

impl Script {
    /// From now on runs of that check find this.
    pub(crate) fn finds(&self, check: &str, finds: Finds) {
        self.finds.lock().unwrap().insert(check.to_owned(), finds);
    }

    pub(crate) fn hung(&self) -> usize {
        self.hung.load(SeqCst)
    }

    /// Lets all that hang go on.
    pub(crate) fn let_go(&self) {
        self.hung.store(0, SeqCst);
        self.go.send_modify(|turn| *turn += 1);
    }

    /// When runs of that check began.
    pub(crate) fn begun(&self, check: &str) -> Vec<Timestamp> {
        self.begun.lock().unwrap().get(check).cloned().unwrap_or_default()
    }

    /// The most runs of that check at one time.
    pub(crate) fn most_flying(&self, check: &str) -> usize {
        self.most_flying.lock().unwrap().get(check).copied().unwrap_or(0)
    }
}

fn certificate(ends_at: Timestamp) -> ChainFacts {
    let leaf = CertificateFacts {
        subject: "CN=home.example.com".to_owned(),
        issuer: "CN=a CA".to_owned(),
        names: vec!["home.example.com".to_owned()],
        not_before: ends_at - std::time::Duration::from_secs(90 * 86_400),
        not_after: ends_at,
        key_sha256: "00".to_owned(),
    };
    ChainFacts { presented: vec![leaf], verified_path: vec![0], ..ChainFacts::default() }
}

impl Probe for Script {
    fn run(&self, job: ProbeJob) -> Probing {
        let name = job.check.name.clone();
        self.begun.lock().unwrap().entry(name.clone()).or_default().push(job.now);
        {
            let mut flying = self.flying.lock().unwrap();
            let now = flying.entry(name.clone()).or_default();
            *now += 1;
            let mut most = self.most_flying.lock().unwrap();
            let most = most.entry(name.clone()).or_default();
            *most = (*most).max(*now);
        }
        let finds = self.finds.lock().unwrap().get(&name).copied().unwrap_or(Finds::Up);
        let mut go = self.go.subscribe();
        if finds == Finds::Hangs {
            self.hung.fetch_add(1, SeqCst);
        }
        let flying = Arc::clone(&self.flying);
        Box::pin(async move {
            let reason = match finds {
                Finds::Up | Finds::Ends(_) => None,
                Finds::Wrong(reason) => Some(reason),
                Finds::Accepts(url) => {
                    (job.url.as_ref().map(Secret::expose) != Some(url)).then_some(Reason::AuthFailed)
                }
                Finds::Hangs => {
                    let _gone = go.changed().await;
                    None
                }
            };
            *flying.lock().unwrap().entry(name).or_default() -= 1;
            let mut observation = Observation::bare(job.now, reason, reason.map_or("", Reason::sentence));
            if let Finds::Ends(ends_at) = finds {
                observation.certificate = Some(certificate(ends_at));
            }
            Probed { observation, memory: job.memory, transcript: Default::default() }
        })
    }
}
