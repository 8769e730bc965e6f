//! A run told in full, for a terminal, a page and the API: what was done, what came back, what each assertion saw, and why
//! the outcome is what it is. Owns the order and the words; everything in it was masked before.

use std::fmt;

use dynowatch_domain::check::{Check, Observation};
use serde::{Deserialize, Serialize};

use crate::Run;
use crate::transcript::Transcript;

/// One run, told in full.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The check's name.
    pub check: String,
    /// `web`, `redis`, ….
    pub kind: String,
    /// What it found.
    pub observation: Observation,
    /// What it did.
    pub transcript: Transcript,
}

impl Explanation {
    pub(crate) fn new(check: &Check, run: Run) -> Self {
        let kind = check.kind.name().to_owned();
        Self { check: check.name.clone(), kind, observation: run.observation, transcript: run.transcript }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check, kind, observation, transcript } = self;
        write!(f, "{check} ({kind}) is {}", observation.outcome)?;
        if let Some(reason) = observation.reason {
            write!(f, ": {reason}\n{}\n{}", reason.sentence(), observation.detail)?;
            if reason.is_misconfigured() {
                write!(f, "\nThe check must be changed; the target is not said to be down.")?;
            }
        }
        writeln!(f, "\n\nwhat happened")?;
        write!(f, "{transcript}")?;
        writeln!(f, "\nphases")?;
        for (phase, micros) in observation.phases.parts() {
            writeln!(f, "  {:<11} {:>7}.{:03} ms", phase.name(), micros / 1000, micros % 1000)?;
        }
        let total = observation.phases.total_us;
        writeln!(f, "  {:<11} {:>7}.{:03} ms", "total", total / 1000, total % 1000)?;
        if let Some(phase) = observation.failed_phase {
            writeln!(f, "  it failed in {}", phase.name())?;
        }
        if let Some(peer) = &observation.peer {
            let parts = [peer.family(), &peer.protocol, &peer.tls];
            let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            writeln!(f, "\nserver\n  {} ({})", peer.address, parts.join(", "))?;
        }
        if let Some(chain) = &observation.certificate {
            writeln!(f, "\ncertificate (mode {})", chain.mode)?;
            for (place, certificate) in chain.presented.iter().enumerate() {
                let mark = if chain.verified_path.contains(&place) { "verified" } else { "" };
                let ends = certificate.not_after.for_people();
                writeln!(f, "  {}, until {ends} {mark}", certificate.subject)?;
            }
            if let Some(ends) = chain.expires_at {
                writeln!(f, "  holds until {}", ends.for_people())?;
            }
        }
        if observation.facts.iter().next().is_some() {
            writeln!(f, "\nmeasured")?;
        }
        for fact in observation.facts.iter() {
            let note = if fact.note.is_empty() { String::new() } else { format!(" ({})", fact.note) };
            writeln!(f, "  {:<20} {}{note}", fact.name, fact.value)?;
        }
        if !observation.assertions.is_empty() {
            writeln!(f, "\nassertions")?;
        }
        for result in &observation.assertions {
            let word = if result.reason.is_none() { "ok  " } else { "FAIL" };
            writeln!(f, "  {word} {} (seen: {})", result.text, result.seen)?;
        }
        for note in &observation.notes {
            writeln!(f, "\nnote {}: {}", note.name(), note.sentence())?;
        }
        Ok(())
    }
}
