//! What one run of a check found, whole: outcome, phases, address, facts, assertions, certificate; and the little that a
//! run remembers for the next. Owns the shapes, which are stored as they are; how a run is made is `probe`'s business.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::assertion::AssertionResult;
use super::certificate::Warnings;
use super::fact::Facts;
use super::outcome::{Outcome, Reason};
use crate::Timestamp;

/// A stretch of a run. A failure names the one in which it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The name is looked up.
    Dns,
    /// The TCP connection is made.
    Connect,
    /// The TLS handshake, certificates included.
    Tls,
    /// From the request (or the first command) to the first byte of its answer.
    FirstByte,
    /// The rest of the answer; `body` for a web check. For Redis and Postgres: all further commands.
    Body,
}

impl Phase {
    /// As in tables and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::FirstByte => "first_byte",
            Self::Body => "body",
        }
    }
}

/// How long the phases took, in microseconds. `None`: the run did not come so far, or has no such phase. They do not
/// overlap, so their sum is at most the total. After redirects they are those of the last hop; the total is of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Phases {
    /// [`Phase::Dns`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dns_us: Option<u64>,
    /// [`Phase::Connect`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_us: Option<u64>,
    /// [`Phase::Tls`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_us: Option<u64>,
    /// [`Phase::FirstByte`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_us: Option<u64>,
    /// [`Phase::Body`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_us: Option<u64>,
    /// From the start of the run to its end.
    pub total_us: u64,
}

impl Phases {
    /// Notes how long a phase took.
    pub fn set(&mut self, phase: Phase, micros: u64) {
        *match phase {
            Phase::Dns => &mut self.dns_us,
            Phase::Connect => &mut self.connect_us,
            Phase::Tls => &mut self.tls_us,
            Phase::FirstByte => &mut self.first_byte_us,
            Phase::Body => &mut self.body_us,
        } = Some(micros);
    }

    /// The phases that were measured, in order, with their microseconds.
    #[must_use]
    pub fn parts(&self) -> Vec<(Phase, u64)> {
        let all = [
            (Phase::Dns, self.dns_us),
            (Phase::Connect, self.connect_us),
            (Phase::Tls, self.tls_us),
            (Phase::FirstByte, self.first_byte_us),
            (Phase::Body, self.body_us),
        ];
        all.into_iter().filter_map(|(phase, micros)| Some((phase, micros?))).collect()
    }
}

/// Whom we spoke to, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// The one address that was dialled; its family is that of the run.
    pub address: SocketAddr,
    /// `HTTP/2`, `redis`, `valkey`, `postgres`; empty before that is known.
    pub protocol: String,
    /// `TLS 1.3`; empty without TLS.
    pub tls: String,
}

impl Peer {
    /// `IPv4` or `IPv6`.
    #[must_use]
    pub const fn family(&self) -> &'static str {
        if self.address.is_ipv4() { "IPv4" } else { "IPv6" }
    }
}

/// One certificate of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CertificateFacts {
    /// Whom it is for, as in `CN=shop.example`; bounded.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The names it is good for; at most 20.
    pub names: Vec<String>,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// SHA-256 of the public key (SubjectPublicKeyInfo), hex: what is pinned.
    pub key_sha256: String,
}

/// The chain that a server showed, recorded even if it was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ChainFacts {
    /// As presented, leaf first; at most 10.
    pub presented: Vec<CertificateFacts>,
    /// The places in `presented` of the path that was verified, leaf first. Empty when none was, or none was asked for.
    pub verified_path: Vec<usize>,
    /// Until when that path holds: the earliest end of its certificates, the trusted root left out. With a pinned key: the
    /// leaf's end. What else the server presents does not matter.
    pub expires_at: Option<Timestamp>,
    /// `verify`, `ca` or `pin`.
    pub mode: String,
    /// Why it was not accepted; empty if it was.
    pub problem: String,
}

/// Something worth telling that does not change the outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Note {
    /// The key is not there and never was: the name may be mistyped.
    KeyNeverSeen,
    /// The table exists, but the user may not read it.
    NoSelect,
    /// The server's key was pinned by this run, the first one.
    PinRecorded,
    /// The server's key changed while a rotation was expected, and the new one was pinned.
    PinRotated,
    /// The follower has no connection to its leader, so how far it is behind is counted from its last transaction.
    NoWalReceiver,
}

impl Note {
    /// As in tables and pages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::KeyNeverSeen => "key_never_seen",
            Self::NoSelect => "no_select",
            Self::PinRecorded => "pin_recorded",
            Self::PinRotated => "pin_rotated",
            Self::NoWalReceiver => "no_wal_receiver",
        }
    }

    /// One plain sentence.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::KeyNeverSeen => "The key was never there so far; if that is not meant, its name may be mistyped.",
            Self::NoSelect => "The table exists, but the user of this check may not read it.",
            Self::PinRecorded => "This run pinned the server's key; later runs expect the same.",
            Self::PinRotated => "The server's key changed within the rotation window; the new one is pinned now.",
            Self::NoWalReceiver => "The follower is not connected to its leader.",
        }
    }
}

/// What one run of a check found. Every text in it is masked and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// When the run began.
    pub started_at: Timestamp,
    /// What it says of the target.
    pub outcome: Outcome,
    /// Why not `up`; `None` exactly if the outcome is `up`.
    pub reason: Option<Reason>,
    /// The reason in words, with what was seen; empty when up.
    pub detail: String,
    /// In which phase it failed, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed_phase: Option<Phase>,
    /// How long the phases took.
    pub phases: Phases,
    /// Whom we spoke to; `None` if no address was dialled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<Peer>,
    /// What was measured.
    #[serde(default)]
    pub facts: Facts,
    /// Every assertion, evaluated or not, with the value it saw.
    #[serde(default)]
    pub assertions: Vec<AssertionResult>,
    /// What the server presented, with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<ChainFacts>,
    /// Things worth telling.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

impl Observation {
    /// One without any measurement: heartbeats, Heroku-native checks, a prober that is blind.
    #[must_use]
    pub fn bare(started_at: Timestamp, reason: Option<Reason>, detail: impl Into<String>) -> Self {
        Self {
            started_at,
            outcome: reason.map_or(Outcome::Up, Reason::outcome),
            reason,
            detail: detail.into(),
            failed_phase: None,
            phases: Phases::default(),
            peer: None,
            facts: Facts::default(),
            assertions: Vec::new(),
            certificate: None,
            notes: Vec::new(),
        }
    }
}

/// A key that a server showed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// SHA-256 of the public key, hex.
    pub key_sha256: String,
    /// When it was first seen.
    pub first_seen_at: Timestamp,
}

/// A length and when it was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthSample {
    /// When.
    pub at: Timestamp,
    /// How long the list was.
    pub length: u64,
}

/// What a check remembers from run to run; a row beside its state. Losing it loses no alert: pins are recorded anew, a
/// threshold with a clear level starts from its upper limit.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Texts of the assertions that did not hold when last evaluated: their clear level applies.
    pub failing: BTreeSet<String>,
    /// Whether the Redis key was ever there.
    pub key_seen: bool,
    /// The last length, for the rate of growth.
    pub length: Option<LengthSample>,
    /// The key that is expected.
    pub pin: Option<Pin>,
    /// Another key that the server shows; [`Self::accept_pin`] makes it the expected one.
    pub pin_offered: Option<Pin>,
    /// Until then a changed key is taken as a rotation (the config var changed, a release says so).
    pub rotation_until: Option<Timestamp>,
    /// Which ends of certificates were told.
    #[serde(skip_serializing_if = "Warnings::is_empty")]
    pub certificates: Warnings,
}

impl Memory {
    /// An operator accepts the key that the server shows now. Whether there was one.
    pub fn accept_pin(&mut self) -> bool {
        match self.pin_offered.take() {
            Some(offered) => {
                self.pin = Some(offered);
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_survives_storage() {
        let mut observation =
            Observation::bare(Timestamp::from_seconds(1), Some(Reason::RedisNoDatabase), "database 99");
        observation.facts.set("length", 7_u64);
        observation.facts.set("load", super::super::Value::Number("0.10".parse().unwrap()));
        observation.phases.set(Phase::Tls, 12);
        observation.certificate = Some(ChainFacts::default());
        observation.notes.push(Note::KeyNeverSeen);
        let text = serde_json::to_string(&observation).unwrap();
        assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), observation, "{text}");
        assert!(text.contains("\"0.10\""), "{text}");
        assert_eq!(serde_json::from_str::<Memory>("{}").unwrap(), Memory::default());
    }

    #[test]
    fn an_offered_pin_is_accepted_once() {
        let offered = Pin { key_sha256: "ab".to_owned(), first_seen_at: Timestamp::from_seconds(5) };
        let mut memory = Memory { pin_offered: Some(offered.clone()), ..Memory::default() };
        assert!(memory.accept_pin());
        assert_eq!((&memory.pin, &memory.pin_offered), (&Some(offered), &None));
        assert!(!memory.accept_pin());
    }
}
