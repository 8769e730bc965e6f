//! The state of one run while it goes on: which phase it is in, what it has found, what it has said. It outlives the run's
//! future, so that a run that is cut off by its deadline still tells how far it came.

use dynowatch_domain::Timestamp;
use dynowatch_domain::check::fact::Facts;
use dynowatch_domain::check::observation::{ChainFacts, Peer};
use dynowatch_domain::check::{Memory, Note, Phase, Phases, Reason};
use tokio::time::Instant;

use crate::transcript::{Side, Transcript, Veil};

/// Why a run is not up, or cannot go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) reason: Reason,
    /// In words, with what was seen. Masked before it leaves.
    pub(crate) detail: String,
}

impl Failure {
    pub(crate) fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

pub(crate) struct Trace {
    /// When the run began, by the wall clock.
    pub(crate) now: Timestamp,
    began: Instant,
    current: Option<(Phase, Instant)>,
    pub(crate) phases: Phases,
    pub(crate) peer: Option<Peer>,
    pub(crate) chain: Option<ChainFacts>,
    pub(crate) facts: Facts,
    pub(crate) notes: Vec<Note>,
    /// What is wrong and does not keep the run from going on.
    pub(crate) findings: Vec<Failure>,
    pub(crate) failed_phase: Option<Phase>,
    pub(crate) memory: Memory,
    pub(crate) transcript: Transcript,
    /// What the server said at length; told if the run is not up.
    pub(crate) body: String,
    veil: Veil,
}

impl Trace {
    pub(crate) fn new(now: Timestamp, veil: Veil, memory: Memory) -> Self {
        Self {
            now,
            began: Instant::now(),
            current: None,
            phases: Phases::default(),
            peer: None,
            chain: None,
            facts: Facts::default(),
            notes: Vec::new(),
            findings: Vec::new(),
            failed_phase: None,
            memory,
            transcript: Transcript::default(),
            body: String::new(),
            veil,
        }
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// Microseconds since the run began.
    pub(crate) fn elapsed_us(&self) -> u64 {
        micros(self.began, Instant::now())
    }

    /// A phase begins; the one before it ends.
    pub(crate) fn enter(&mut self, phase: Phase) {
        let now = Instant::now();
        self.close(now);
        self.current = Some((phase, now));
    }

    /// The phase ends, and none begins.
    pub(crate) fn leave(&mut self) {
        self.close(Instant::now());
    }

    fn close(&mut self, now: Instant) {
        if let Some((phase, since)) = self.current.take() {
            self.phases.set(phase, micros(since, now));
        }
    }

    /// Another server is asked: the phases are those of the last one.
    pub(crate) fn next_hop(&mut self) {
        self.leave();
        self.phases = Phases::default();
        (self.peer, self.chain) = (None, None);
    }

    pub(crate) fn phase(&self) -> Option<Phase> {
        self.current.map(|(phase, _)| phase)
    }

    /// The run is over.
    pub(crate) fn finish(&mut self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.failed_phase = self.failed_phase.or_else(|| self.phase());
            self.note(format!("{}: {}", failure.reason, failure.detail));
            self.findings.push(failure);
        }
        self.leave();
        self.phases.total_us = self.elapsed_us();
    }

    pub(crate) fn find(&mut self, reason: Reason, detail: impl Into<String>) {
        let failure = Failure::new(reason, detail);
        self.note(format!("{}: {}", failure.reason, failure.detail));
        self.findings.push(failure);
    }

    pub(crate) fn note(&mut self, text: impl AsRef<str>) {
        self.say(Side::Note, text);
    }

    pub(crate) fn sent(&mut self, text: impl AsRef<str>) {
        self.say(Side::Sent, text);
    }

    pub(crate) fn received(&mut self, text: impl AsRef<str>) {
        self.say(Side::Received, text);
    }

    fn say(&mut self, side: Side, text: impl AsRef<str>) {
        let text = self.masked(text.as_ref());
        self.transcript.push(self.elapsed_us(), side, text);
    }

    pub(crate) fn masked(&self, text: &str) -> String {
        self.veil.text(text)
    }

    pub(crate) fn protocol(&mut self, name: &str) {
        if let Some(peer) = &mut self.peer {
            name.clone_into(&mut peer.protocol);
        }
    }
}

fn micros(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.saturating_duration_since(from).as_micros()).unwrap_or(u64::MAX)
}
