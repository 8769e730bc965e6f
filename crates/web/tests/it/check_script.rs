//! Checks in a site of a test: what runs find is scripted, and the engine's passes are made by hand.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dynowatch_domain::Clock as _;
use dynowatch_domain::check::fact::Value;
use dynowatch_domain::check::observation::{Observation, Peer, Phase, Pin};
use dynowatch_domain::check::outcome::{Outcome, Reason};
use dynowatch_domain::check::{AssertionResult, Check};
use dynowatch_engine::checks::{Probe, ProbeJob, Probed, Probing};
use serde_json::{Value as Json, json};

use crate::site::{KNOWN_SECRET, Site};

/// What runs find, by check; up where nothing is said.
#[derive(Default)]
pub(crate) struct Found {
    finds: Mutex<HashMap<String, Reason>>,
    offers: Mutex<HashMap<String, String>>,
    asked: Mutex<Vec<Arc<Check>>>,
    hold: tokio::sync::Mutex<()>,
}

impl Found {
    pub(crate) fn finds(&self, check: &str, reason: Option<Reason>) {
        let mut finds = self.finds.lock().unwrap();
        match reason {
            Some(reason) => finds.insert(check.to_owned(), reason),
            None => finds.remove(check),
        };
    }

    /// The server of that check shows another key than the pinned one.
    pub(crate) fn offers(&self, check: &str, key: &str) {
        self.offers.lock().unwrap().insert(check.to_owned(), key.to_owned());
    }

    /// Runs hang as long as this is held.
    pub(crate) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.hold.lock().await
    }

    pub(crate) fn asked(&self) -> Vec<Arc<Check>> {
        self.asked.lock().unwrap().clone()
    }
}

/// A [`Found`] as a probe.
pub(crate) struct Scripted(pub(crate) Arc<Found>);

impl Probe for Scripted {
    fn run(&self, job: ProbeJob) -> Probing {
        let found = Arc::clone(&self.0);
        Box::pin(async move {
            found.asked.lock().unwrap().push(Arc::clone(&job.check));
            drop(found.hold.lock().await);
            let reason = found.finds.lock().unwrap().get(&job.check.name).copied();
            let detail = reason.map_or(String::new(), |_| format!("{KNOWN_SECRET} said <b>no</b>"));
            let mut observation = Observation::bare(job.now, reason, detail);
            observation.phases.set(Phase::Connect, 2_100);
            observation.phases.total_us = 3_000;
            observation.failed_phase = reason.map(|_| Phase::Connect);
            let address = "203.0.113.5:443".parse().unwrap();
            observation.peer = Some(Peer { address, protocol: "HTTP/2".into(), tls: "TLS 1.3".into() });
            observation.facts.set("status", Value::from(200_u64));
            observation.assertions.push(AssertionResult {
                text: "status = 200".into(),
                outcome: Outcome::Up,
                reason: None,
                seen: "200".into(),
                why: String::new(),
            });
            let mut memory = job.memory;
            if let Some(key) = found.offers.lock().unwrap().get(&job.check.name) {
                memory.pin_offered = Some(Pin { key_sha256: key.clone(), first_seen_at: job.now });
            }
            Probed { observation, memory, transcript: Default::default() }
        })
    }
}

/// A web check of the console.
pub(crate) fn web_check() -> Json {
    json!({"kind": "web", "url": "https://user:hunter3-hunter3@shop.example/health?key=hunter4-hunter4", "app": "shop"})
}

impl Site {
    /// With a scripted prober, and control over what it finds.
    pub(crate) fn probe(&self) -> Arc<Found> {
        let found = Arc::new(Found::default());
        self.engine.probe_with(Arc::new(Scripted(Arc::clone(&found))));
        found
    }

    /// Makes a check.
    pub(crate) async fn make(&self, name: &str, body: &Json) {
        let answer = self.api(http::Method::PUT, &format!("/api/v1/checks/{name}"), &body.to_string()).await;
        assert_eq!(answer.status, http::StatusCode::CREATED, "{name}: {}", answer.text);
    }

    /// Time passes, and all that is due is done.
    pub(crate) async fn minutes(&self, minutes: u64) {
        for _ in 0..minutes * 6 {
            self.clock.advance(Duration::from_secs(10));
            self.checks_pass().await;
        }
    }

    pub(crate) async fn checks_pass(&self) {
        self.engine.refresh_pass().await.unwrap();
        self.engine.check_passes().await.unwrap();
        for job in self.engine.start_due_checks() {
            self.engine.clone().run_check(job).await;
        }
        self.engine.settle_checks().await.unwrap();
        self.engine.flush_checks(true).await.unwrap();
        self.engine.send_pass().await.unwrap();
    }

    pub(crate) fn at(&self) -> dynowatch_domain::Timestamp {
        self.clock.now()
    }
}
